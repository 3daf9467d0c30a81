//! Tracks of events, which have no media: event message tracks (`evte`, ISO/IEC 23001-18), and timed metadata (`urim`) that carries `emsg` boxes
//! or sections of SCTE 35 (DASH-IF Live Media Ingest §6.7).
//!
//! ```text
//!   sample: emib… | emsg… | emeb | splice_info_section
//! ```

use bytes::Bytes;

use super::boxes::{BoxRef, Boxes, FourCc};
use super::emsg::{EventMessage, EventScheme, EventTime, event_instance, event_message};
use super::movie::{TrackExtends, header_timescale, track_extends, track_id};
use crate::formats::error::Malformed;
use crate::formats::scte35;
use crate::time::Timescale;

/// The most events of a sample.
const EVENTS_MAX: usize = 64;
/// The longest URI of samples that is read.
const URI_BYTES_MAX: usize = 1024;

/// A track of events.
#[derive(Clone, Debug)]
pub struct EventTrack {
    /// track_ID.
    pub id: u32,
    /// Of its samples.
    pub timescale: Timescale,
    /// What fragments leave unsaid.
    pub trex: TrackExtends,
    /// What samples are, if their `uri ` says so (ISO/IEC 14496-12 §12.3.3.4).
    pub uri: Option<String>,
}

impl EventTrack {
    /// The only track of `moov`, if it is one of events.
    pub fn read(moov: BoxRef<'_>) -> Result<Option<EventTrack>, Malformed> {
        let trak = moov.required(b"trak")?;
        let mdia = trak.required(b"mdia")?;
        let mut hdlr = mdia.required(b"hdlr")?.fields();
        hdlr.skip(8)?;
        if hdlr.take(4)? != b"meta" {
            return Ok(None);
        }
        let stsd = mdia.required(b"minf")?.required(b"stbl")?.required(b"stsd")?;
        let Some(entry) = stsd.children_after(8).next().transpose()? else { return Ok(None) };
        if !matches!(&entry.kind.0, b"evte" | b"urim") {
            return Ok(None);
        }
        let uri = entry.children_after(8).map_while(Result::ok).find(|own| own.kind == FourCc(*b"uri "));
        let uri = uri.and_then(|uri| uri.payload().get(4..)).map(|text| {
            let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(&text[..text.len().min(URI_BYTES_MAX)]).into_owned()
        });
        let (id, timescale) = (track_id(trak)?, header_timescale(mdia.required(b"mdhd")?, 8)?);
        let mut trex = TrackExtends { description_index: 1, ..TrackExtends::default() };
        if let Some(mvex) = moov.child(b"mvex")? {
            for own in mvex.children().map_while(Result::ok).filter(|own| own.kind == FourCc(*b"trex")) {
                let (of, extends) = track_extends(own)?;
                if of == id {
                    trex = extends;
                }
            }
        }
        Ok(Some(EventTrack { id, timescale, trex, uri }))
    }

    /// The events of a sample; `None` if it is of another form.
    pub fn events(&self, sample: &[u8]) -> Option<Vec<EventMessage>> {
        if let Some(section) = self.section(sample) {
            return Some(vec![section]);
        }
        let mut events = Vec::new();
        for own in Boxes::new(sample, 0).take(EVENTS_MAX) {
            let own = own.ok()?;
            match &own.kind.0 {
                b"emib" => events.extend(event_instance(own, self.timescale).ok()),
                b"emsg" => events.extend(event_message(own).ok()),
                // Nothing is on (ISO/IEC 23001-18 §6.2).
                b"emeb" => {}
                _ => return None,
            }
        }
        Some(events)
    }

    /// `sample` as an event, if it is a section of SCTE 35 by itself.
    fn section(&self, sample: &[u8]) -> Option<EventMessage> {
        if self.uri.as_deref() != Some(scte35::SCHEME) || scte35::cues(sample).is_err() {
            return None;
        }
        // What tells it from others is its CRC_32.
        let id = u32::from_be_bytes(*sample.last_chunk()?);
        let scheme = EventScheme { uri: scte35::SCHEME.to_owned(), value: String::new() };
        let (time, data) = (EventTime::After(0), Bytes::copy_from_slice(sample));
        Some(EventMessage { scheme, timescale: self.timescale, time, duration: None, id, data })
    }
}
