//! Events of a broadcast as EXT-X-DATERANGE (rfc8216bis §4.4.5.1): breaks as SCTE 35 has them, and what came in a track of its own.
//!
//! A break is one range: it begins with what leads out, and what leads back ends it. What is said of a range never changes, and is only added to.

use crate::formats::scte35::{Cue, EventId, Way};
use crate::media::event::{LiveEvent, Range, ranges};
use crate::media::live::Broadcast;
use crate::packager::push;
use crate::time::Utc;

/// Appends what ends after `from_us`, in microseconds after the broadcast's start.
pub(super) fn push(out: &mut Vec<u8>, broadcast: &Broadcast, from_us: i64) {
    let ranges = ranges(&broadcast.events, |event| broadcast.event_us(event));
    // Other events that are in segments are found there; what is cancelled is not told (§4.4.5.1.1).
    let is_told = |range: &&Range<'_>| {
        (range.cue.is_some() || !range.event.is_inband) && range.cancelled.is_none() && range.ends_us() >= from_us
    };
    for range in ranges.iter().filter(is_told) {
        push_range(range, out, broadcast);
    }
}

fn push_range(range: &Range<'_>, out: &mut Vec<u8>, broadcast: &Broadcast) {
    let at_us = (broadcast.started.0 * 1000).saturating_add_signed(range.begins_us);
    let at = Utc((at_us + 500) / 1000);
    text(out, "#EXT-X-DATERANGE:ID=\"");
    push_id(range, at, out);
    text(out, "\"");
    if range.cue.is_none() {
        text(out, ",CLASS=\"");
        quoted(out, &range.event.scheme.uri);
        text(out, "\"");
    }
    text(out, ",START-DATE=\"");
    text(out, &at.to_string());
    text(out, "\"");
    if let Some((_, ends_us)) = range.back {
        text(out, ",DURATION=");
        push::seconds(out, u64::try_from(ends_us.saturating_sub(range.begins_us)).unwrap_or(0));
    }
    if let Some(planned_us) = range.planned_us {
        text(out, ",PLANNED-DURATION=");
        push::seconds(out, u64::try_from(planned_us).unwrap_or(0));
    }
    match range.cue.map(|cue| cue.way) {
        Some(Way::Out) => message(out, ",SCTE35-OUT=0x", range.event),
        Some(Way::In) => message(out, ",SCTE35-IN=0x", range.event),
        Some(Way::Neither | Way::Cancels) => message(out, ",SCTE35-CMD=0x", range.event),
        None => {
            text(out, ",X-VALUE=\"");
            quoted(out, &range.event.scheme.value);
            text(out, "\"");
            if !range.event.data.is_empty() {
                message(out, ",X-MESSAGE=0x", range.event);
            }
        }
    }
    if let Some((back, _)) = range.back {
        message(out, ",SCTE35-IN=0x", back);
    }
    text(out, "\n");
}

/// What no other range of the playlist has, and this one as long as it is there: ids of events are of their scheme, and may come again later.
fn push_id(range: &Range<'_>, at: Utc, out: &mut Vec<u8>) {
    let number = |out: &mut Vec<u8>, number: u64| push::decimal(out, number);
    match range.cue {
        Some(Cue { of: Some(of), way, .. }) => {
            text(out, "scte35-");
            match of {
                EventId::Splice(id) | EventId::Segments(id) => number(out, id.into()),
                EventId::Segment(id, kind) => {
                    number(out, id.into());
                    text(out, "-");
                    push::hex(out, &[kind]);
                }
            }
            // It ends what nobody knows of.
            text(out, if way == Way::In { "-in-" } else { "-" });
        }
        Some(_) => {
            text(out, "scte35-cmd-");
            number(out, range.event.id.into());
            text(out, "-");
        }
        None => {
            number(out, range.event.id.into());
            text(out, "-");
        }
    }
    number(out, at.0);
    if range.cue.is_none() {
        text(out, " ");
        quoted(out, &range.event.scheme.uri);
        text(out, " ");
        quoted(out, &range.event.scheme.value);
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn message(out: &mut Vec<u8>, name: &str, event: &LiveEvent) {
    text(out, name);
    // Hexadecimal-sequences are in upper case (rfc8216bis §4.2).
    let start = out.len();
    push::hex(out, &event.data);
    out[start..].make_ascii_uppercase();
}

/// A quoted-string has no quotation marks (rfc8216bis §4.2); control characters are refused where events are read.
fn quoted(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().map(|byte| if byte == b'"' { b'\'' } else { byte }));
}
