//! Events of a broadcast as EXT-X-DATERANGE (rfc8216bis §4.4.5.1): breaks as SCTE 35 has them, and what came in a track of its own.
//!
//! A break is one range: it begins with what leads out, and what leads back ends it.

use crate::formats::scte35::{self, Cue, Way};
use crate::media::event::LiveEvent;
use crate::media::live::Broadcast;
use crate::packager::push;
use crate::time::Utc;

/// Ticks of cues a second.
const TICKS_S: u64 = scte35::TICKS_S as u64;

/// A range under way.
struct Range<'a> {
    begins_us: i64,
    ends_us: Option<i64>,
    event: &'a LiveEvent,
    cue: Option<Cue>,
    /// What leads back, and when.
    back: Option<(&'a LiveEvent, i64)>,
}

/// Appends what ends after `from_us`, in microseconds after the broadcast's start.
pub(super) fn push(out: &mut Vec<u8>, broadcast: &Broadcast, from_us: i64) {
    let mut ranges: Vec<Range<'_>> = Vec::new();
    for event in broadcast.events.iter().map(|event| &**event) {
        let Some((begins_us, ends_us)) = broadcast.event_us(event) else { continue };
        let is_cue = event.scheme.uri == scte35::SCHEME;
        let cue = if is_cue { scte35::cue(&event.data).ok() } else { None };
        // Other events that are in segments are found there.
        if cue.is_none() && event.is_inband {
            continue;
        }
        if let Some(Cue { way: Way::In, event_id: Some(id), .. }) = cue {
            let leads_out = |range: &&mut Range<'_>| {
                let own = range.cue.filter(|own| own.way == Way::Out && own.event_id == Some(id));
                own.is_some() && range.back.is_none() && range.begins_us <= begins_us
            };
            if let Some(range) = ranges.iter_mut().rev().find(leads_out) {
                range.back = Some((event, begins_us));
                continue;
            }
        }
        ranges.push(Range { begins_us, ends_us, event, cue, back: None });
    }
    for range in ranges.iter().filter(|range| range.is_after(from_us)) {
        range.push(out, broadcast);
    }
}

impl Range<'_> {
    /// How long it is meant to last, in microseconds.
    fn planned_us(&self) -> Option<u64> {
        let of_cue = self.cue.and_then(|cue| cue.duration).map(|ticks| (ticks * 1_000_000 + TICKS_S / 2) / TICKS_S);
        of_cue.or_else(|| u64::try_from(self.ends_us? - self.begins_us).ok())
    }

    fn is_after(&self, from_us: i64) -> bool {
        let planned = self.begins_us.saturating_add_unsigned(self.planned_us().unwrap_or(0));
        self.back.map_or(planned, |(_, ends_us)| ends_us) >= from_us
    }

    fn push(&self, out: &mut Vec<u8>, broadcast: &Broadcast) {
        let text = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
        let at_us = (broadcast.started.0 * 1000).saturating_add_signed(self.begins_us);
        let id = self.cue.and_then(|cue| cue.event_id).unwrap_or(self.event.id);
        text(out, "#EXT-X-DATERANGE:ID=\"");
        push::decimal(out, id.into());
        text(out, "-");
        push::decimal(out, (at_us + 500) / 1000);
        text(out, "\"");
        if self.cue.is_none() {
            text(out, ",CLASS=\"");
            quoted(out, &self.event.scheme.uri);
            text(out, "\"");
        }
        text(out, ",START-DATE=\"");
        text(out, &Utc((at_us + 500) / 1000).to_string());
        text(out, "\"");
        if let Some((_, ends_us)) = self.back {
            text(out, ",DURATION=");
            push::seconds(out, u64::try_from(ends_us - self.begins_us).unwrap_or(0));
        }
        if let Some(planned_us) = self.planned_us() {
            text(out, ",PLANNED-DURATION=");
            push::seconds(out, planned_us);
        }
        match self.cue.map(|cue| cue.way) {
            Some(Way::Out) => message(out, ",SCTE35-OUT=0x", self.event),
            Some(Way::In) => message(out, ",SCTE35-IN=0x", self.event),
            Some(Way::Neither) => message(out, ",SCTE35-CMD=0x", self.event),
            None => {
                text(out, ",X-VALUE=\"");
                quoted(out, &self.event.scheme.value);
                text(out, "\"");
                if !self.event.data.is_empty() {
                    message(out, ",X-MESSAGE=0x", self.event);
                }
            }
        }
        if let Some((back, _)) = self.back {
            message(out, ",SCTE35-IN=0x", back);
        }
        text(out, "\n");
    }
}

fn message(out: &mut Vec<u8>, name: &str, event: &LiveEvent) {
    out.extend_from_slice(name.as_bytes());
    // Hexadecimal-sequences are in upper case (rfc8216bis §4.2).
    let start = out.len();
    push::hex(out, &event.data);
    out[start..].make_ascii_uppercase();
}

/// A quoted-string has no quotation marks (rfc8216bis §4.2); control characters are refused where events are read.
fn quoted(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|byte| if byte == b'"' { b'\'' } else { byte }));
}
