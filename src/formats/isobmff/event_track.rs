//! Tracks of events, which have no media: event message tracks (`evte`, ISO/IEC 23001-18), and timed metadata that carries `emsg` boxes
//! (`urim`, DASH-IF Live Media Ingest).

use super::boxes::{BoxRef, Boxes, FourCc};
use super::emsg::{EventMessage, event_instance, event_message};
use super::movie::{TrackExtends, header_timescale, track_extends, track_id};
use crate::formats::error::Malformed;
use crate::time::Timescale;

/// The most events of a sample.
const EVENTS_MAX: usize = 64;

/// A track of events.
#[derive(Clone, Copy, Debug)]
pub struct EventTrack {
    /// track_ID.
    pub id: u32,
    /// Of its samples.
    pub timescale: Timescale,
    /// What fragments leave unsaid.
    pub trex: TrackExtends,
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
        let entry = stsd.children_after(8).next().transpose()?;
        if !entry.is_some_and(|entry| matches!(&entry.kind.0, b"evte" | b"urim")) {
            return Ok(None);
        }
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
        Ok(Some(EventTrack { id, timescale, trex }))
    }

    /// The events of a sample.
    pub fn events(&self, sample: &[u8]) -> Vec<EventMessage> {
        let boxes = Boxes::new(sample, 0).map_while(Result::ok).take(EVENTS_MAX);
        let event = |own: BoxRef<'_>| match &own.kind.0 {
            b"emib" => event_instance(own, self.timescale).ok(),
            b"emsg" => event_message(own).ok(),
            _ => None,
        };
        boxes.filter_map(event).collect()
    }
}
