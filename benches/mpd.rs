//! Writing the DASH MPD of an opened presentation of three tracks, 10 minutes and 2 hours long; and of a broadcast of five, whose window
//! is 6 hours long and has no holes, some, and one every half a minute, with as many events as are kept.

mod common;
#[path = "common/timed.rs"]
mod timed;

use std::sync::Arc;

use bytes::Bytes;
use common::{open, origin, synthetic};
use criterion::Throughput;
use headwater::formats::isobmff::emsg::EventScheme;
use headwater::formats::scte35::{self, Cue, EventId, Way};
use headwater::media::event::{self, EVENTS_MAX, LiveEvent, Timeline};
use headwater::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack, Timing};
use headwater::media::presentation::Presentation;
use headwater::media::track::Track;
use headwater::packager::{dash, rate};
use headwater::time::{MediaTime, Timescale, Utc};
use tempfile::TempDir;

const WINDOW_S: i64 = 6 * 3600;
const SEGMENT_S: i64 = 2;

/// Five tracks like those of `presentation`, with so many holes of a segment each, and breaks that all have one id.
fn broadcast(presentation: &Presentation, holes: i64) -> Broadcast {
    let timing = Timing { target_s: SEGMENT_S as u64, ..Timing::default() };
    let (start, origin) = (MediaTime::ZERO, MediaTime::ZERO);
    let mut period = LivePeriod { number: 0, start, origin, end: None, cuts: Vec::new(), tracks: Vec::new() };
    let segments = WINDOW_S / SEGMENT_S;
    let tracks: Vec<&Track> = presentation.tracks().collect();
    for (index, like) in tracks.iter().cycle().take(5).enumerate() {
        let face = Track {
            version: like.version,
            init: like.init.clone(),
            ..Track::new(format!("t{index}"), like.kind, like.timescale, like.entry.clone())
        };
        let mut live = LiveTrack::new(Arc::new(face));
        let ticks = SEGMENT_S * i64::from(like.timescale.get());
        for number in 0..segments {
            let mut segment = LiveSegment::gap(number as u64, number * ticks, ticks, Utc(0));
            segment.is_gap = (number + 1) * holes / segments > number * holes / segments && number + 1 < segments;
            if segment.is_gap {
                period.cut(&live, [segment.time, segment.end()], timing.near_us());
            }
            live.segments.push(Arc::new(segment));
        }
        period.tracks.push(Arc::new(live));
    }
    let event = |number: i64| {
        let way = if number % 2 == 0 { Way::Out } else { Way::In };
        Arc::new(LiveEvent {
            number: number as u64,
            timeline: Timeline::Broadcast,
            time: MediaTime::new(number * WINDOW_S * 1000 / EVENTS_MAX as i64, Timescale::MILLI),
            duration: None,
            scheme: EventScheme { uri: scte35::SCHEME.into(), value: String::new() },
            id: 1,
            data: Bytes::from_static(&[0xfc; 30]),
            is_inband: false,
            cues: vec![Cue { of: Some(EventId::Splice(1)), way, duration: None, returns: false }],
        })
    };
    let events = Arc::new((0..EVENTS_MAX as i64).map(event).collect());
    Broadcast { timing, periods: vec![Arc::new(period)], events, ..Broadcast::default() }
}

fn main() {
    let mut criterion = timed::criterion();
    let folder = TempDir::new().expect("a folder");
    for (name, seconds) in [("10min", 600), ("2h", 7200)] {
        synthetic::write(&folder.path().join(name), &synthetic::TRACKS, seconds, 16);
    }
    let origin = origin(folder.path(), 1 << 20);
    let mut group = criterion.benchmark_group("mpd");
    for name in ["10min", "2h"] {
        let presentation = open(&origin, name).presentation;
        let segments: usize = presentation.tracks().map(|track| track.segments.len()).sum();
        group.throughput(Throughput::Elements(segments as u64));
        let rates = rate::measure(&presentation);
        group.bench_function(name, |bencher| {
            bencher.iter(|| dash::mpd(&presentation, &rates).expect("DASH can say it"))
        });
        // Bit rates are measured once, when a presentation is opened.
        group.bench_function(format!("rates_{name}"), |bencher| bencher.iter(|| rate::measure(&presentation)));
    }
    let presentation = open(&origin, "10min").presentation;
    for holes in [0, 72, 720] {
        let live = broadcast(&presentation, holes);
        let tracks = live.periods.iter().flat_map(|period| &period.tracks);
        let rates = rate::so_far(tracks.map(|track| (&*track.face, (1_000_000, 900_000))));
        group.throughput(Throughput::Elements((WINDOW_S / SEGMENT_S * 5) as u64));
        group.bench_function(format!("live_6h_{holes}_holes"), |bencher| {
            bencher.iter(|| dash::live::mpd(&live, &rates, "/time").expect("DASH can say it"))
        });
    }
    let live = broadcast(&presentation, 0);
    group.throughput(Throughput::Elements(EVENTS_MAX as u64));
    group.bench_function("ranges", |bencher| bencher.iter(|| event::ranges(&live.events, |own| live.event_us(own))));
    group.finish();
    criterion.final_summary();
}
