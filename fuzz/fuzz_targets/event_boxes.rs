//! What encoders say beside the media: boxes `emsg` and `emib`, samples of tracks of events, and sections of SCTE 35. A message that is written
//! anew is the same event; what a section says has a limit, and says the same in a section of its own.
#![no_main]

use std::sync::Arc;

use headwater::formats::isobmff::boxes::{BoxRef, Boxes};
use headwater::formats::isobmff::emsg::{self, EventMessage, EventTime, VERSION_1_LONGER_BYTES};
use headwater::formats::isobmff::event_track::EventTrack;
use headwater::formats::isobmff::movie::TrackExtends;
use headwater::formats::scte35::{self, Cue, EventId, Way};
use headwater::media::event::{LiveEvent, Timeline, ranges};
use headwater::time::{MediaTime, Rounding, Timescale};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &[u8])| {
    let (begins, bytes) = input;
    section(bytes);
    let begins = MediaTime::new(begins.into(), Timescale::MILLI);
    Boxes::new(bytes, 0)
        .map_while(Result::ok)
        .filter(|own| own.kind.0 == *b"emsg")
        .for_each(|own| message(own, begins));
    let mut all = Vec::new();
    for uri in [None, Some(scte35::SCHEME.to_owned())] {
        let track = EventTrack { id: 1, timescale: Timescale::MILLI, trex: TrackExtends::default(), uri };
        let events = track.events(bytes).unwrap_or_default();
        assert!(events.len() <= 64 && events.iter().map(|event| event.data.len()).sum::<usize>() <= bytes.len());
        all.extend(events);
    }
    ranges_of(all, begins);
});

fn message(emsg: BoxRef<'_>, begins: MediaTime) {
    let Ok(message) = emsg::event_message(emsg) else { return };
    assert_eq!(emsg::event_scheme(emsg), Ok(message.scheme.clone()));
    assert_eq!(emsg::counts_from_segment(emsg), matches!(message.time, EventTime::After(_)));
    if !emsg::counts_from_segment(emsg) {
        return;
    }
    let mut out = Vec::new();
    let at = |timescale| begins.to(timescale, Rounding::Nearest);
    emsg::write_version_1(&mut out, emsg, at).expect("it was read");
    let head = emsg.bytes().len() - emsg.payload().len();
    assert_eq!(out.len() as u64, emsg.bytes().len() as u64 - (head as u64 - 8) + VERSION_1_LONGER_BYTES);
    let again = Boxes::new(&out, 0).next().and_then(Result::ok).expect("a box");
    assert_eq!(emsg::event_message(again), Ok(message.counted_from(begins)));
}

fn section(bytes: &[u8]) {
    let Ok(cues) = scte35::cues(bytes) else { return };
    assert!((1..=32).contains(&cues.len()));
    for (index, cue) in cues.iter().enumerate() {
        assert!(cue.duration.is_none_or(|ticks| ticks < 1 << 40));
        assert!(cue.of.is_some() || cues.len() == 1, "what names nothing is told alone");
        assert!(cues[..index].iter().all(|other| (other.of, other.way) != (cue.of, cue.way)), "once");
        if let Some(section) = written(cue) {
            assert_eq!(scte35::cues(&section), Ok(vec![*cue]));
        }
    }
}

/// A section that says nothing but `cue` (ANSI/SCTE 35 §9.6); `None` if it is of a kind that has no other.
fn written(cue: &Cue) -> Option<Vec<u8>> {
    let ticks = |prefix: u8, ticks: u64| [&[prefix | (ticks >> 32) as u8][..], &(ticks as u32).to_be_bytes()].concat();
    let (kind, command, descriptors) = match cue.of? {
        EventId::Splice(id) => {
            let mut command = id.to_be_bytes().to_vec();
            if cue.way == Way::Cancels {
                command.push(0xff);
            } else {
                let lasts = cue.duration.map(|length| ticks(if cue.returns { 0xfe } else { 0x7e }, length));
                let flags = if cue.way == Way::Out { 0x80 } else { 0 } | if lasts.is_some() { 0x20 } else { 0 };
                command.extend_from_slice(&[0x7f, 0x5f | flags]);
                command.extend(lasts.unwrap_or_default());
                command.extend_from_slice(&[0, 1, 0, 0]);
            }
            (5, command, Vec::new())
        }
        EventId::Segments(id) => (6, vec![0x7f], [&[2, 9][..], b"CUEI", &id.to_be_bytes(), &[0xff]].concat()),
        EventId::Segment(id, begins) => {
            let lasts =
                cue.duration.map(|length| [&[(length >> 32) as u8][..], &(length as u32).to_be_bytes()].concat());
            let flags = 0x9f | if lasts.is_some() { 0x40 } else { 0 };
            let kind = if cue.way == Way::In { begins | 1 } else { begins };
            let tail = [&lasts.unwrap_or_default()[..], &[0, 0, kind, 1, 1]].concat();
            let body = [&b"CUEI"[..], &id.to_be_bytes(), &[0x7f, flags], &tail].concat();
            (6, vec![0x7f], [&[2, body.len() as u8][..], &body].concat())
        }
    };
    let mut out = vec![0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, command.len() as u8, kind];
    out.extend(command);
    out.extend_from_slice(&(descriptors.len() as u16).to_be_bytes());
    out.extend(descriptors);
    out.extend_from_slice(&[0; 4]);
    Some(out)
}

/// As they are told of: each range has its end behind its begin, and each event is of one range or ends one.
fn ranges_of(messages: Vec<EventMessage>, begins: MediaTime) {
    let of = |(number, message): (usize, EventMessage)| LiveEvent {
        number: number as u64,
        ..LiveEvent::of(message, Timeline::Broadcast, begins, false)
    };
    let events: Vec<Arc<LiveEvent>> = messages.into_iter().enumerate().map(of).map(Arc::new).collect();
    let us = |event: &LiveEvent| Some(event.time.to(Timescale::MICRO, Rounding::Nearest));
    let ranges = ranges(&events, us);
    assert!(ranges.len() <= events.iter().map(|event| event.cues.len().max(1)).sum());
    for range in &ranges {
        assert!(range.ends_us() >= range.begins_us, "{range:?}");
        assert!(!range.is_open || range.back.is_none());
    }
    for event in &events {
        assert!(event.is_again(event, us), "{event:?}");
    }
}
