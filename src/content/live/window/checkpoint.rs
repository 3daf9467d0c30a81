//! What a window has to know besides the records that follow: so that a log may be read from the middle on, and old media be forgotten.
//!
//! Media itself is no part of it. Files are kept for so long that a segment which was under way at a checkpoint, and whose begin is missing
//! when reading begins there, has left every playlist.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::content::live::cadence::Cadence;
use crate::content::live::kept::{Time, hex, media_time, time, unhex};
use crate::content::live::pushed::Init;
use crate::content::live::requests::Requests;
use crate::content::live::window::given_up::{EventFeed, GivenUp};
use crate::content::live::window::{Feed, Gathering, Options, Window, rotated};
use crate::formats::isobmff::emsg::EventScheme;
use crate::formats::isobmff::prft::Produced;
use crate::media::event::{LiveEvent, Timeline, cues};
use crate::media::live::{LivePeriod, LiveTrack, LowLatency, OpenSegment, Timing};
use crate::media::track::{Track, Version};
use crate::time::{Rounding, Utc};

/// The most bytes of events that a checkpoint has: a thousand cues of SCTE 35, several times over.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// A window without its media.
#[derive(Serialize, Deserialize)]
struct Checkpoint {
    /// Since when what came is needed.
    needed_from: u64,
    sequence: u64,
    published: u64,
    media_at: u64,
    started: u64,
    ended: bool,
    #[serde(default)]
    ended_at: u64,
    #[serde(default)]
    is_settled: bool,
    /// target_s, part_target_ms, window_ms.
    timing: Option<(u64, Option<u64>, u64)>,
    /// chunk_ms, segment_ms, target_ms.
    #[serde(default)]
    low_latency: Option<(u64, u64, u64)>,
    #[serde(default)]
    is_locked: bool,
    next_period: u64,
    period: Option<Period>,
    gathering: Option<Gathered>,
    feeds: BTreeMap<String, Fed>,
    /// Initialization segments of tracks of events, in hexadecimal digits.
    #[serde(default)]
    event_tracks: BTreeMap<String, String>,
    /// When something of these came last.
    #[serde(default)]
    event_tracks_heard: BTreeMap<String, u64>,
    /// Of the tracks that made room for others: the next number, and the second that named the last of them.
    #[serde(default)]
    given_up: (u64, u64),
    /// What holds for the records that follow.
    #[serde(default)]
    options: Option<Said>,
    /// Whether what comes next is announced anew.
    #[serde(default)]
    is_anew: bool,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    next_event: Option<u64>,
}

/// How a channel behaves: durations in nanoseconds.
#[derive(Serialize, Deserialize)]
struct Said {
    target: u64,
    part_target: u64,
    window: u64,
    gather: u64,
    end_after: Option<u64>,
    cadence: Option<String>,
    latency: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Event {
    #[serde(default)]
    number: u64,
    /// On whose timeline it is, unless that is said otherwise.
    period: u64,
    /// Whether it counts from where the broadcast began.
    #[serde(default)]
    is_rooted: bool,
    /// Of what waits for media: when what it came in is, and when that came.
    #[serde(default)]
    waits: Option<(Time, u64)>,
    time: Time,
    duration: Option<Time>,
    /// Of the scheme: URI and value.
    scheme: (String, String),
    id: u32,
    /// In hexadecimal digits.
    data: String,
    is_inband: bool,
}

#[derive(Serialize, Deserialize)]
struct Period {
    number: u64,
    start: Time,
    origin: Time,
    cuts: Vec<i64>,
    tracks: Vec<String>,
    /// Of those that are in another one by now: version, next number, and next time.
    #[serde(default)]
    gone: BTreeMap<String, (u64, u64, Time)>,
}

#[derive(Serialize, Deserialize)]
struct Gathered {
    number: u64,
    since: u64,
    anchor: Option<(u64, Time)>,
    goes_on: Option<(Time, Time)>,
}

#[derive(Serialize, Deserialize)]
struct Fed {
    /// The initialization segment, in hexadecimal digits.
    init: String,
    #[serde(default)]
    named_s: u64,
    period: Option<u64>,
    version: u64,
    frame_rate: Option<(u32, u32)>,
    next_number: u64,
    next_time: i64,
    /// Of its stretch: when it begins, and a hash of its first chunk.
    #[serde(default)]
    first: (i64, u64),
    decode_end: i64,
    shift: i64,
    last_at: u64,
    #[serde(default)]
    heard_at: Option<u64>,
    #[serde(default)]
    stopped: Option<i64>,
    push: u64,
    #[serde(default)]
    encoder: u32,
    /// Of other encoders: their initialization segments, in hexadecimal digits.
    #[serde(default)]
    others: Vec<(u32, String)>,
    chunk_max: i64,
    ended: bool,
    rate: (u64, u64),
    measured: (u64, u64, i64),
    /// Of the segment that grows: number, time, duration, whether it begins with a sync sample.
    open: Option<(u64, i64, i64, bool)>,
    /// When that one ends, if it is known.
    #[serde(default)]
    due: Option<i64>,
    /// Whether nothing more comes of it.
    #[serde(default)]
    is_over: bool,
    #[serde(default)]
    frame: i64,
    #[serde(default)]
    late_ms: Option<i64>,
    #[serde(default)]
    kept: Option<(u32, u32)>,
    /// When, media time, whether it was captured then.
    #[serde(default)]
    produced: Option<(u64, u64, bool)>,
    /// Schemes of its events: URI and value.
    #[serde(default)]
    schemes: Vec<(String, String)>,
    #[serde(default)]
    requests: Requests,
    /// The first key that its media was under, but for that of the initialization segment, in hexadecimal digits.
    #[serde(default)]
    other_key: Option<String>,
    #[serde(default)]
    is_renumbered: bool,
    #[serde(default)]
    began: Option<i64>,
}

impl Window {
    /// What the records after this moment build on.
    pub fn checkpoint(&self) -> Vec<u8> {
        let current = &self.current;
        let period = current.periods.last().map(|period| Period {
            number: period.number,
            start: time(period.start),
            origin: time(period.origin),
            cuts: period.cuts.clone(),
            tracks: period.tracks.iter().map(|track| track.face.name.clone()).collect(),
            gone: (period.tracks.iter())
                .filter(|track| self.feeds.get(&track.face.name).is_some_and(|feed| feed.period != Some(period.number)))
                .map(|own| {
                    let next_time = (own.next_time, own.face.timescale.get());
                    (own.face.name.clone(), (own.face.version.0, own.next_number, next_time))
                })
                .collect(),
        });
        let gathering = self.gathering.as_ref().map(|gathering| Gathered {
            number: gathering.number,
            since: gathering.since.0,
            anchor: gathering.anchor.map(|(at, media)| (at.0, time(media))),
            goes_on: gathering.goes_on.map(|(start, media)| (time(start), time(media))),
        });
        let feed = |feed: &Feed| Fed {
            init: hex(&feed.init.raw),
            named_s: feed.named_s,
            period: feed.period,
            version: feed.live.face.version.0,
            frame_rate: feed.live.face.frame_rate,
            next_number: feed.live.next_number,
            next_time: feed.live.next_time,
            first: (feed.first_time, feed.first_hash),
            decode_end: feed.decode_end,
            shift: feed.shift,
            last_at: feed.last_at.0,
            heard_at: Some(feed.heard_at.0),
            stopped: feed.stopped,
            push: feed.push,
            encoder: feed.encoder,
            others: feed.others.iter().map(|(encoder, init)| (*encoder, hex(&init.raw))).collect(),
            chunk_max: feed.chunk_max,
            ended: feed.ended,
            rate: feed.live.rate,
            measured: (feed.peak, feed.bits, feed.ticks),
            open: feed.live.open.as_ref().map(|open| (open.number, open.time, open.duration, open.starts_with_sync)),
            due: feed.live.open.as_ref().and_then(|open| open.due),
            is_over: feed.live.open.as_ref().is_some_and(|open| open.is_over),
            frame: feed.frame,
            late_ms: Some(feed.late_ms),
            kept: Some((feed.kept, feed.wanted)),
            produced: feed.live.produced.map(|own| (own.at.0, own.media_time, own.is_captured)),
            schemes: feed.live.face.events.iter().map(said_scheme).collect(),
            requests: feed.requests,
            other_key: feed.live.face.keys.first().map(|own| hex(&own.kid)),
            is_renumbered: feed.is_renumbered,
            began: feed.begun(),
        };
        let timing = self.timing.or((!current.periods.is_empty()).then_some(current.timing));
        let checkpoint = Checkpoint {
            needed_from: self.needed_from().0,
            sequence: current.sequence,
            published: current.published.0,
            media_at: current.media_at.0,
            started: current.started.0,
            ended: current.ended,
            ended_at: current.ended_at.0,
            is_settled: current.is_settled,
            timing: timing.map(|timing| (timing.target_s, timing.part_target_ms, timing.window_ms)),
            low_latency: (timing.and_then(|timing| timing.low_latency))
                .map(|own| (own.chunk_ms, own.segment_ms, own.target_ms)),
            is_locked: self.is_locked,
            next_period: self.next_period,
            period,
            gathering,
            event_tracks: self.event_tracks.iter().map(|(name, own)| (name.clone(), hex(&own.init.raw))).collect(),
            event_tracks_heard: self.event_tracks.iter().map(|(name, own)| (name.clone(), own.heard_at.0)).collect(),
            given_up: (self.given_up.next_number, self.given_up.named_s),
            feeds: self.feeds.iter().map(|(name, own)| (name.clone(), feed(own))).collect(),
            options: Some(Said::of(&self.options)),
            is_anew: self.timing.is_none() && timing.is_some(),
            events: self.said_events(),
            next_event: Some(self.next_event),
        };
        serde_json::to_vec(&checkpoint).expect("numbers and strings")
    }

    /// The newest events, as many as are not too much for a checkpoint.
    fn said_events(&self) -> Vec<Event> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in self.events.iter().rev() {
            bytes += event.data.len() + event.scheme.uri.len() + event.scheme.value.len();
            if bytes > EVENT_BYTES_MAX {
                break;
            }
            let (period, is_rooted, waits) = match event.timeline {
                Timeline::Period(number) => (number, false, None),
                Timeline::Broadcast => (0, true, None),
                Timeline::Unknown { beside, since } => (0, false, Some((time(beside), since.0))),
            };
            events.push(Event {
                number: event.number,
                period,
                is_rooted,
                waits,
                time: time(event.time),
                duration: event.duration.map(time),
                scheme: said_scheme(&event.scheme),
                id: event.id,
                data: hex(&event.data),
                is_inband: event.is_inband,
            });
        }
        events.reverse();
        events
    }

    /// What `bytes` say of how the channel behaves after their moment; `None` if they do not.
    pub fn options_of(bytes: &[u8]) -> Option<Options> {
        let checkpoint: Checkpoint = serde_json::from_slice(bytes).ok()?;
        checkpoint.options?.options()
    }

    /// The window that `bytes` say, where what came shortly before was not written; `None` if they say none.
    pub fn resumed(options: Options, bytes: &[u8]) -> Option<Window> {
        Window::restored(options, bytes).map(|window| Window { is_resumed: true, ..window })
    }

    /// Since when what came before the moment of `bytes` is needed; `None` if they do not say.
    pub fn needed_by(bytes: &[u8]) -> Option<Utc> {
        serde_json::from_slice(bytes).ok().map(|checkpoint: Checkpoint| Utc(checkpoint.needed_from))
    }

    /// The window that `bytes` say; `None` if they say none. It behaves as they say, or by `options`.
    pub fn restored(options: Options, bytes: &[u8]) -> Option<Window> {
        let checkpoint: Checkpoint = serde_json::from_slice(bytes).ok()?;
        let mut window = Window::new(checkpoint.options.and_then(Said::options).unwrap_or(options));
        for (name, fed) in checkpoint.feeds {
            let feed = fed.feed(&name)?;
            window.feeds.insert(name, feed);
        }
        for (name, init) in checkpoint.event_tracks {
            let init = Init::read(Bytes::from(unhex(&init)?), &name).ok()?;
            let heard_at = Utc(checkpoint.event_tracks_heard.get(&name).copied().unwrap_or(checkpoint.media_at));
            window.event_tracks.insert(name, EventFeed { init: Arc::new(init), heard_at });
        }
        let low_latency = (checkpoint.low_latency).map(|(chunk_ms, segment_ms, target_ms)| LowLatency {
            chunk_ms,
            segment_ms,
            target_ms,
        });
        let timing = checkpoint.timing.map(|(target_s, part_target_ms, window_ms)| Timing {
            target_s,
            part_target_ms,
            window_ms,
            low_latency,
        });
        window.timing = timing.filter(|_| !checkpoint.is_anew);
        // Before they had numbers they were in order.
        let numbered = |(index, event): (usize, Event)| match checkpoint.next_event {
            Some(_) => event.event(),
            None => Event { number: index as u64, ..event }.event(),
        };
        window.next_event = checkpoint.next_event.unwrap_or(checkpoint.events.len() as u64);
        window.events =
            Arc::new(checkpoint.events.into_iter().enumerate().filter_map(numbered).map(Arc::new).collect());
        window.is_locked = checkpoint.is_locked;
        window.next_period = checkpoint.next_period;
        let (next_number, named_s) = checkpoint.given_up;
        window.given_up = GivenUp { next_number, named_s };
        window.gathering = match checkpoint.gathering {
            None => None,
            Some(gathered) => Some(gathered.gathering()?),
        };
        let mut current = crate::media::live::Broadcast::clone(&window.current);
        current.sequence = checkpoint.sequence;
        current.published = Utc(checkpoint.published);
        current.media_at = Utc(checkpoint.media_at);
        current.started = Utc(checkpoint.started);
        (current.ended, current.is_settled) = (checkpoint.ended, checkpoint.is_settled);
        current.ended_at = Utc(checkpoint.ended_at);
        current.timing = timing.unwrap_or_default();
        current.events = Arc::clone(&window.events);
        if let Some(period) = checkpoint.period {
            let live = |name: &String| {
                let live = window.feeds.get(name)?.live.clone();
                let Some(&(version, next_number, next_time)) = period.gone.get(name) else {
                    return Some(Arc::new(live));
                };
                let next_time = media_time(next_time)?.to(live.face.timescale, Rounding::Nearest);
                let face = Arc::new(Track { version: Version(version), ..Track::clone(&live.face) });
                let listed_from = next_number;
                Some(Arc::new(LiveTrack { face, open: None, listed_from, next_number, next_time, ..live }))
            };
            current.periods.push(Arc::new(LivePeriod {
                number: period.number,
                start: media_time(period.start)?,
                origin: media_time(period.origin)?,
                end: None,
                cuts: period.cuts,
                tracks: period.tracks.iter().filter_map(live).collect(),
            }));
        }
        window.current = Arc::new(current);
        Some(window)
    }
}

fn said_scheme(scheme: &EventScheme) -> (String, String) {
    (scheme.uri.clone(), scheme.value.clone())
}

impl Said {
    fn of(options: &Options) -> Said {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Said {
            target: ns(options.target),
            part_target: ns(options.part_target),
            window: ns(options.window),
            gather: ns(options.gather),
            end_after: options.end_after.map(ns),
            cadence: options.cadence.map(|cadence| cadence.to_string()),
            latency: options.latency.map(ns),
        }
    }

    fn options(self) -> Option<Options> {
        let cadence: Option<Cadence> = self.cadence.map(|cadence| cadence.parse()).transpose().ok()?;
        Some(Options {
            target: Duration::from_nanos(self.target),
            part_target: Duration::from_nanos(self.part_target),
            window: Duration::from_nanos(self.window),
            gather: Duration::from_nanos(self.gather),
            end_after: self.end_after.map(Duration::from_nanos),
            cadence,
            latency: self.latency.map(Duration::from_nanos),
        })
    }
}

impl Event {
    fn event(self) -> Option<LiveEvent> {
        let duration = match self.duration {
            None => None,
            Some(duration) => Some(media_time(duration)?),
        };
        let timeline = match self.waits {
            Some((beside, since)) => Timeline::Unknown { beside: media_time(beside)?, since: Utc(since) },
            None if self.is_rooted => Timeline::Broadcast,
            None => Timeline::Period(self.period),
        };
        let (uri, value) = self.scheme;
        let (scheme, data) = (EventScheme { uri, value }, Bytes::from(unhex(&self.data)?));
        let cues = cues(&scheme, &data);
        let (number, id, is_inband) = (self.number, self.id, self.is_inband);
        Some(LiveEvent { number, timeline, time: media_time(self.time)?, duration, scheme, id, data, is_inband, cues })
    }
}

impl Gathered {
    fn gathering(self) -> Option<Gathering> {
        let anchor = match self.anchor {
            None => None,
            Some((at, media)) => Some((Utc(at), media_time(media)?)),
        };
        let goes_on = match self.goes_on {
            None => None,
            Some((start, media)) => Some((media_time(start)?, media_time(media)?)),
        };
        Some(Gathering { number: self.number, since: Utc(self.since), anchor, goes_on })
    }
}

impl Fed {
    fn feed(self, name: &str) -> Option<Feed> {
        let init = Init::read(Bytes::from(unhex(&self.init)?), name).ok()?;
        let events = self.schemes.into_iter().map(|(uri, value)| EventScheme { uri, value }).collect();
        let mut face =
            Track { version: Version(self.version), frame_rate: self.frame_rate, events, ..init.face.clone() };
        if let Some(kid) = self.other_key.as_deref().and_then(unhex).and_then(|kid| kid.try_into().ok()) {
            face.keys = rotated(kid);
        }
        let mut feed = Feed::new(init, Utc(self.last_at));
        let open = self.open.map(|(number, time, duration, starts_with_sync)| {
            let chunks = Vec::new();
            Arc::new(OpenSegment {
                number,
                time,
                begun: Utc(self.last_at),
                starts_with_sync,
                parts: Vec::new(),
                growing: None,
                chunks,
                duration,
                is_torn: true,
                is_over: self.is_over,
                due: self.due,
            })
        });
        feed.live = LiveTrack {
            face: Arc::new(face),
            rate: self.rate,
            listed_from: self.open.map_or(self.next_number, |(number, ..)| number),
            open,
            next_number: self.next_number,
            next_time: self.next_time,
            produced: (self.produced).map(|(at, media_time, is_captured)| Produced {
                at: Utc(at),
                media_time,
                is_captured,
            }),
            ..feed.live
        };
        (feed.period, feed.named_s) = (self.period, self.named_s);
        ((feed.first_time, feed.first_hash), feed.decode_end) = (self.first, self.decode_end);
        feed.shift = self.shift;
        feed.heard_at = self.heard_at.map_or(feed.last_at, Utc);
        feed.stopped = self.stopped;
        feed.push = self.push;
        feed.encoder = self.encoder;
        for (encoder, init) in self.others {
            feed.remember(encoder, Arc::new(Init::read(Bytes::from(unhex(&init)?), name).ok()?));
        }
        feed.chunk_max = self.chunk_max;
        feed.ended = self.ended;
        feed.frame = self.frame;
        feed.late_ms = self.late_ms.unwrap_or(i64::MIN);
        (feed.kept, feed.wanted) = self.kept.unwrap_or((feed.kept, feed.wanted));
        feed.requests = self.requests;
        feed.is_renumbered = self.is_renumbered;
        feed.began = self.began;
        (feed.peak, feed.bits, feed.ticks) = self.measured;
        Some(feed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::emsg::{EventMessage, EventTime};
    use crate::time::{MediaTime, Timescale};

    #[test]
    fn other_keys_and_numbers_that_say_nothing_are_in_a_checkpoint_and_where_a_track_ended_that_gathers() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/packaging/video/init.mp4");
        let init = Init::read(Bytes::from(std::fs::read(file).expect("a file")), "v").expect("it is read");
        let mut window = Window::new(Options::default());
        let mut feed = Feed::new(init, Utc(7));
        let ended = Arc::new(LiveTrack { next_number: 9, next_time: 18, ..feed.live.clone() });
        let face = Track { version: Version(5), keys: rotated([7; 16]), ..Track::clone(&feed.live.face) };
        (feed.live.face, feed.live.next_number, feed.is_renumbered, feed.period) = (Arc::new(face), 11, true, Some(1));
        window.feeds.insert("v".to_owned(), feed);
        let period = LivePeriod {
            number: 0,
            start: MediaTime::ZERO,
            origin: MediaTime::ZERO,
            end: None,
            cuts: Vec::new(),
            tracks: vec![Arc::clone(&ended)],
        };
        let mut current = crate::media::live::Broadcast::clone(&window.current);
        current.periods.push(Arc::new(period));
        window.current = Arc::new(current);
        let restored = Window::restored(Options::default(), &window.checkpoint()).expect("a checkpoint");
        let feed = &restored.feeds["v"];
        assert_eq!((&feed.live.face.keys, feed.live.face.version), (&rotated([7; 16]), Version(5)));
        assert_eq!((feed.live.next_number, feed.is_renumbered), (11, true));
        let track = &restored.current.periods[0].tracks[0];
        assert_eq!((track.face.version, track.next_number, track.next_time), (ended.face.version, 9, 18));
    }

    #[test]
    fn events_and_options_are_in_a_checkpoint() {
        let cadence = Some("60060/30000".parse::<Cadence>().expect("a cadence"));
        let options = Options { cadence, latency: Some(Duration::from_millis(2500)), ..Options::default() };
        let mut window = Window::new(options.clone());
        let of_a_break = |id: u32, duration: Option<u32>| EventMessage {
            scheme: EventScheme { uri: "urn:scte:scte35:2013:bin".to_owned(), value: "1".to_owned() },
            timescale: Timescale::MILLI,
            time: EventTime::At(1_900_000_000_000),
            duration,
            id,
            data: Bytes::from(vec![0xfc, id as u8]),
        };
        let said = |first: u32| vec![of_a_break(first, Some(60_000)), of_a_break(first + 1, None)];
        let waits = Timeline::Unknown { beside: MediaTime::new(7, Timescale::MILLI), since: Utc(9) };
        for (first, timeline) in [(1, Timeline::Period(3)), (3, Timeline::Broadcast), (5, waits)] {
            assert!(window.note_events(said(first), timeline, MediaTime::ZERO, true));
        }
        let bytes = window.checkpoint();
        let restored = Window::restored(Options::default(), &bytes).expect("a checkpoint");
        assert_eq!(restored.events, window.events);
        assert_eq!((&restored.broadcast().events, restored.next_event), (&window.events, 6));
        assert_eq!((restored.options(), Window::options_of(&bytes)), (&options, Some(options.clone())));
        // As they were written before.
        let mut old: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let fields = old.as_object_mut().expect("an object");
        ["options", "is_anew", "events"].into_iter().for_each(|name| drop(fields.remove(name)));
        let restored = Window::restored(Options::default(), &serde_json::to_vec(&old).expect("JSON"));
        assert_eq!(restored.expect("a checkpoint").options(), &Options::default());
    }
}
