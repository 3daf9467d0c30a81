//! A broadcast as it stands: what a viewer may be told and given at one moment.
//!
//! ```text
//!   Broadcast > LivePeriod > LiveTrack > Segments: sealed blocks, shared, and a short tail | OpenSegment: parts, chunks
//! ```
//!
//! Values only, never changed once they are made: a new state shares all but the end of the old one, so that publishing costs the same
//! however long the window is. Only `content::live::window` makes them.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::cache::Lease;
use crate::formats::isobmff::prft::Produced;
use crate::media::event::{LiveEvent, Timeline};
use crate::media::presentation::{Period, Presentation, SwitchingSet};
use crate::media::sample::SourceRange;
use crate::media::switching;
use crate::media::track::{Kind, Segment, Track, Version};
use crate::rope::{Rope, SLICES_MAX};
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

/// Segments of a sealed block: so few that what stays of an expired one is little, so many that a day of them are few blocks.
const BLOCK_SEGMENTS: usize = 128;

/// A Period waits for tracks that lack something in it until it is so many target durations long.
const PERIOD_WAITS_TARGETS: i64 = 3;

/// A live presentation as it stands.
#[derive(Clone, Debug, Default)]
pub struct Broadcast {
    /// Counts the states: a greater one is a later one.
    pub sequence: u64,
    /// When it became what it is.
    pub published: Utc,
    /// When media last came.
    pub media_at: Utc,
    /// What `LivePeriod::start` counts from (DASH availabilityStartTime).
    pub started: Utc,
    /// In order; empty before the first is announced.
    pub periods: Vec<Arc<LivePeriod>>,
    /// Whether nothing will follow.
    pub ended: bool,
    /// When it ended, or the latest moment at which it had not.
    pub ended_at: Utc,
    /// Whether it has ended for so long that who watched it knows: what is said of it may have a timeline of its own then.
    pub is_settled: bool,
    /// Whether it is meant to be played from where it begins, although it goes on.
    pub starts_over: bool,
    /// What holds of all of it.
    pub timing: Timing,
    /// What is said beside the media, in the order in which it came.
    pub events: Arc<Vec<Arc<LiveEvent>>>,
}

/// What is fixed when a broadcast is first announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timing {
    /// No segment, rounded to seconds, is longer (EXT-X-TARGETDURATION).
    pub target_s: u64,
    /// No part is longer; `None` if chunks come too seldom for parts.
    pub part_target_ms: Option<u64>,
    /// How long a segment is listed after it ended.
    pub window_ms: u64,
    /// How near to the live edge DASH may be played, where segments keep a cadence.
    pub low_latency: Option<LowLatency>,
}

impl LowLatency {
    /// For who waits for whole segments. Shaka 5.2 takes it for the distance from the end of the last segment that is listed, plus what
    /// segments are offered early by: so it is as much more, and half of what that segment lacks on average.
    pub fn delay_ms(self) -> u64 {
        let early_ms = self.segment_ms.saturating_sub(self.chunk_ms);
        self.target_ms + early_ms + early_ms / 2
    }
}

impl Timing {
    /// Whether viewers are told of something of `open`, so that it stays what it is: by its parts, or at low latency in DASH by its first
    /// chunk. (What is torn will be a gap, whatever comes.)
    pub fn tells_of(&self, open: &OpenSegment) -> bool {
        let in_parts = self.part_target_ms.is_some() && !open.parts.is_empty();
        open.is_torn || in_parts || (self.low_latency.is_some() && open.due.is_some())
    }

    /// Half a segment: what lies less apart is one place in several tracks.
    pub fn near_us(&self) -> i64 {
        let segment_ms = self.low_latency.map_or(self.target_s * 1000, |own| own.segment_ms);
        i64::try_from(segment_ms * 500).unwrap_or(i64::MAX)
    }

    /// What begins sooner, in microseconds, is before `cut`.
    fn behind_us(&self, cut: i64) -> i64 {
        cut.saturating_sub(self.near_us())
    }

    /// Whether what begins and ends then, in microseconds, is behind `cut`. What was cut short where a hole begins is before the hole.
    fn is_behind(&self, cut: i64, begins_us: i64, ends_us: i64) -> bool {
        self.behind_us(cut) <= begins_us && cut < ends_us
    }
}

/// What players are told who fetch a segment while it grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LowLatency {
    /// The longest chunk.
    pub chunk_ms: u64,
    /// Length of segments.
    pub segment_ms: u64,
    /// What lies between `utc_us` of a picture and its presentation.
    pub target_ms: u64,
}

/// A stretch of a broadcast on one timeline.
#[derive(Clone, Debug)]
pub struct LivePeriod {
    /// From 0; its discontinuity sequence number.
    pub number: u64,
    /// After the broadcast's start.
    pub start: MediaTime,
    /// Media time of all its tracks at `start`.
    pub origin: MediaTime,
    /// When it ended, after the broadcast's start; `None` of the last.
    pub end: Option<MediaTime>,
    /// Where media was missing, from when until when, in microseconds after the broadcast's start, ascending: what is near to one another
    /// in several tracks is one.
    pub cuts: Vec<i64>,
    /// By name.
    pub tracks: Vec<Arc<LiveTrack>>,
}

/// A track of a period.
#[derive(Clone, Debug)]
pub struct LiveTrack {
    /// What it is. It has no samples and no segments.
    pub face: Arc<Track>,
    /// Peak and average bits a second, so far.
    pub rate: (u64, u64),
    /// Those that are whole, and still kept.
    pub segments: Segments,
    /// The first that is listed.
    pub listed_from: u64,
    /// The one that grows.
    pub open: Option<Arc<OpenSegment>>,
    /// The number of the next segment that begins.
    pub next_number: u64,
    /// When in ticks it begins, as far as is known.
    pub next_time: i64,
    /// What the producer said of a moment of this stretch.
    pub produced: Option<Produced>,
}

/// A segment that is whole, or that will never be.
#[derive(Debug)]
pub struct LiveSegment {
    /// Media sequence number.
    pub number: u64,
    /// Earliest presentation time in ticks: its name.
    pub time: i64,
    /// In ticks.
    pub duration: i64,
    /// The duration that was announced when it began, which holds in manifests; mostly it is the same.
    pub announced: i64,
    /// Whether decoding may begin with it.
    pub starts_with_sync: bool,
    /// Whether there is no media: it was lost, or never came.
    pub is_gap: bool,
    /// When the rest of what its number stands for ends, in ticks, if that is missing: where numbers follow from times the rest has none of
    /// its own. It is known when the segment is closed, or the segment is not closed yet.
    pub lacks_until: Option<i64>,
    /// What it was while it grew.
    pub parts: Vec<Part>,
    /// Bytes.
    pub len: u64,
    /// A hash of its bytes.
    pub hash: u64,
    /// When the first of it came.
    pub begun: Utc,
    /// When it became whole.
    pub closed: Utc,
    /// Where the spool has it, as ranges of numbered files; empty if it does not.
    pub places: Vec<SourceRange>,
    /// Ends when it is forgotten.
    pub lease: Arc<Lease>,
    /// Its bytes, while they are kept in memory.
    body: Mutex<Option<Rope>>,
}

/// Whole chunks of a segment, addressable while the segment is young (rfc8216bis §4.4.4.9).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Earliest presentation time in ticks: its name.
    pub time: i64,
    /// In ticks.
    pub duration: i64,
    /// Whether decoding may begin with it.
    pub is_independent: bool,
    /// Bytes of its segment.
    pub bytes: std::ops::Range<u64>,
}

/// A segment that grows.
#[derive(Clone, Debug)]
pub struct OpenSegment {
    /// Media sequence number.
    pub number: u64,
    /// Earliest presentation time in ticks: its name.
    pub time: i64,
    /// When the first of it came.
    pub begun: Utc,
    /// Whether decoding may begin with it.
    pub starts_with_sync: bool,
    /// Those that are whole.
    pub parts: Vec<Part>,
    /// The one that grows.
    pub growing: Option<Part>,
    /// All that came.
    pub chunks: Vec<Bytes>,
    /// Ticks from its time to the end of the last chunk.
    pub duration: i64,
    /// Whether its beginning was lost: it will be a gap.
    pub is_torn: bool,
    /// Whether nothing more comes of it, and it is not known yet what follows.
    pub is_over: bool,
    /// When it ends, in ticks, if that is known: it may be announced then.
    pub due: Option<i64>,
}

/// The segments of a track that are whole, by number, without a hole.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    /// Shared whole: a state is made for every chunk, a block for every 128 segments.
    sealed: Arc<Vec<Arc<[Arc<LiveSegment>]>>>,
    tail: Vec<Arc<LiveSegment>>,
}

impl Segments {
    /// Appends the next one.
    pub fn push(&mut self, segment: Arc<LiveSegment>) {
        debug_assert!(self.last().is_none_or(|last| last.number < segment.number && last.time < segment.time));
        self.tail.push(segment);
        if self.tail.len() == BLOCK_SEGMENTS {
            Arc::make_mut(&mut self.sealed).push(std::mem::take(&mut self.tail).into());
        }
    }

    /// Lets go of the blocks in which `is_over` holds of every segment.
    pub fn forget(&mut self, is_over: impl Fn(&LiveSegment) -> bool) {
        let over = self.sealed.iter().take_while(|block| block.last().is_some_and(|last| is_over(last))).count();
        if over > 0 {
            Arc::make_mut(&mut self.sealed).drain(..over);
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<LiveSegment>> {
        self.sealed.iter().flat_map(|block| block.iter()).chain(&self.tail)
    }

    /// Those from `number` on.
    pub fn from(&self, number: u64) -> impl Iterator<Item = &Arc<LiveSegment>> {
        self.after(move |segment| segment.number < number)
    }

    /// Those that come after all of which `is_before` holds: numbers and times ascend, so that it holds of the first and of none behind them.
    fn after(&self, is_before: impl Fn(&LiveSegment) -> bool) -> impl Iterator<Item = &Arc<LiveSegment>> {
        let whole = self.sealed.partition_point(|block| block.last().is_some_and(|last| is_before(last)));
        let mut slices = self.sealed[whole..].iter().map(|block| &**block).chain([&*self.tail]);
        let first = slices.next().unwrap_or_default();
        let before = first.partition_point(|segment| is_before(segment));
        first[before..].iter().chain(slices.flatten())
    }

    /// The one whose name is `time`.
    pub fn at(&self, time: i64) -> Option<&Arc<LiveSegment>> {
        self.at_or_before(time).filter(|segment| segment.time == time)
    }

    /// The last that begins at `time` or before it.
    pub fn at_or_before(&self, time: i64) -> Option<&Arc<LiveSegment>> {
        let in_slice = |slice: &'_ [Arc<LiveSegment>]| slice.partition_point(|segment| segment.time <= time);
        match in_slice(&self.tail) {
            0 => {}
            after => return self.tail.get(after - 1),
        }
        let blocks = self.sealed.partition_point(|block| block.first().is_some_and(|first| first.time <= time));
        let block = self.sealed.get(blocks.checked_sub(1)?)?;
        block.get(in_slice(block).checked_sub(1)?)
    }

    /// The last.
    pub fn last(&self) -> Option<&Arc<LiveSegment>> {
        self.tail.last().or_else(|| self.sealed.last().and_then(|block| block.last()))
    }
}

impl LiveSegment {
    /// What `open` is when nothing more will come, as of `now`.
    pub fn close(open: &OpenSegment, duration: i64, now: Utc, places: Vec<SourceRange>) -> LiveSegment {
        let mut hasher = blake3::Hasher::new();
        open.chunks.iter().for_each(|chunk| {
            hasher.update(chunk);
        });
        let body = rope(&open.chunks);
        LiveSegment {
            number: open.number,
            time: open.time,
            duration,
            announced: open.due.map_or(duration, |due| due - open.time),
            starts_with_sync: open.starts_with_sync,
            is_gap: false,
            lacks_until: None,
            parts: open.parts.iter().chain(&open.growing).cloned().collect(),
            len: body.len(),
            hash: first_u64(hasher.finalize().as_bytes()),
            begun: open.begun,
            closed: now,
            places,
            lease: Arc::default(),
            body: Mutex::new(Some(body)),
        }
    }

    /// A segment that never came.
    pub fn gap(number: u64, time: i64, duration: i64, now: Utc) -> LiveSegment {
        LiveSegment {
            number,
            time,
            duration,
            announced: duration,
            starts_with_sync: true,
            is_gap: true,
            lacks_until: None,
            parts: Vec::new(),
            len: 0,
            hash: 0,
            begun: now,
            closed: now,
            places: Vec::new(),
            lease: Arc::default(),
            body: Mutex::new(None),
        }
    }

    /// The same, of which the rest until `lacks_until` is missing.
    pub fn lacking(self, lacks_until: Option<i64>) -> LiveSegment {
        LiveSegment { lacks_until, ..self }
    }

    /// Its bytes, if they are in memory.
    pub fn body(&self) -> Option<Rope> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of its bytes in memory, if the spool has them.
    pub fn cool(&self) {
        if !self.places.is_empty() {
            *self.body.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Forgets its bytes, as of `now`: what it is stays.
    pub fn release(&self, now: Utc) {
        self.lease.end(now);
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// When it ends, in ticks.
    pub fn end(&self) -> i64 {
        self.time + self.duration
    }
}

impl OpenSegment {
    /// The bytes of a part of it.
    pub fn part(&self, part: &Part) -> Rope {
        let (mut at, mut chunks) = (0, Vec::new());
        for chunk in &self.chunks {
            if part.bytes.contains(&at) {
                chunks.push(chunk.clone());
            }
            at += chunk.len() as u64;
        }
        rope(&chunks)
    }
}

/// `chunks` one after another; gathered in one allocation if they are more than are sent at once.
pub fn rope(chunks: &[Bytes]) -> Rope {
    if chunks.len() > SLICES_MAX { Rope::from(Bytes::from(chunks.concat())) } else { Rope::new(chunks.iter().cloned()) }
}

/// What `chunks` have from byte `at` on, or the first of it: as many slices as are sent at once.
pub fn rope_from(chunks: &[Bytes], at: u64) -> Rope {
    let mut end = 0;
    let rest = chunks.iter().filter_map(|chunk| {
        let begin = end;
        end += chunk.len() as u64;
        (at < end).then(|| chunk.slice(at.saturating_sub(begin) as usize..))
    });
    Rope::new(rest.filter(|slice| !slice.is_empty()).take(SLICES_MAX))
}

/// The first eight bytes of a hash.
pub fn first_u64(hash: &[u8; 32]) -> u64 {
    let (first, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first)
}

/// A segment that is asked for by its name.
#[derive(Debug)]
pub enum Found<'a> {
    /// Whole.
    Whole(&'a Arc<LiveSegment>),
    /// Growing.
    Open(&'a Arc<OpenSegment>),
}

/// A part that is asked for by its name.
#[derive(Debug)]
pub enum FoundPart<'a> {
    /// Its bytes.
    Here(Rope),
    /// What it is of, whose bytes are not in memory.
    Of(&'a Arc<LiveSegment>, &'a Part),
}

impl LiveTrack {
    /// A track of which nothing has come.
    pub fn new(face: Arc<Track>) -> LiveTrack {
        LiveTrack {
            face,
            rate: (0, 0),
            segments: Segments::default(),
            listed_from: 0,
            open: None,
            next_number: 0,
            next_time: 0,
            produced: None,
        }
    }

    /// Those that are listed.
    pub fn listed(&self) -> impl Iterator<Item = &Arc<LiveSegment>> {
        self.segments.from(self.listed_from)
    }

    /// The segment whose name is `time`.
    pub fn segment(&self, time: i64) -> Option<Found<'_>> {
        if let Some(open) = self.open.as_ref().filter(|open| open.time == time) {
            return Some(Found::Open(open));
        }
        self.segments.at(time).map(Found::Whole)
    }

    /// The part whose name is `time`.
    pub fn part(&self, time: i64) -> Option<FoundPart<'_>> {
        if let Some(open) = self.open.as_ref().filter(|open| open.time <= time) {
            return open.parts.iter().find(|part| part.time == time).map(|part| FoundPart::Here(open.part(part)));
        }
        let segment = self.segments.at_or_before(time)?;
        let part = segment.parts.iter().find(|part| part.time == time)?;
        Some(match segment.body() {
            Some(body) => FoundPart::Here(body.slice(part.bytes.clone())),
            None => FoundPart::Of(segment, part),
        })
    }

    /// When what came of it ends, in ticks, be it forgotten.
    pub fn end(&self) -> i64 {
        let open = self.open.as_ref().map(|open| open.time + open.duration);
        open.or_else(|| self.segments.last().map(|last| last.end())).unwrap_or(self.next_time)
    }

    /// When the last segment begins of which media came, in ticks.
    pub fn begun(&self) -> Option<i64> {
        let whole = || self.segments.iter().rev().find(|segment| !segment.is_gap).map(|segment| segment.time);
        self.open.as_ref().map(|open| open.time).or_else(whole)
    }

    /// The time at which the next part begins that is not whole yet.
    pub fn next_part_time(&self) -> i64 {
        let open = self.open.as_ref();
        open.map_or(self.next_time, |open| open.parts.last().map_or(open.time, |last| last.time + last.duration))
    }
}

impl LivePeriod {
    /// Notes that media of `track` is missing from the one time until the other, in ticks; what lies within `near_us` of what is noted is
    /// that. Text that has nothing to say ends no Period, which would cost pictures at both its ends: there the next `S@t` says so (ISO/IEC 23009-1
    /// §5.3.9.6).
    pub fn cut(&mut self, track: &LiveTrack, hole: [i64; 2], near_us: i64) {
        if track.face.kind == Kind::Text {
            return;
        }
        for ticks in hole {
            let cut = after_start_us(self, track, ticks);
            // Who caught up with the others has media of before it begins.
            let is_inside = cut > self.start.to(Timescale::MICRO, Rounding::Nearest);
            if is_inside && self.cuts.iter().all(|other| (other - cut).abs() > near_us) {
                self.cuts.push(cut);
            }
        }
        self.cuts.sort_unstable();
    }

    /// Whether `newest`, the last stretch of it, has all the tracks that it will have. Players take no AdaptationSet that comes later: dash.js 5.2
    /// goes on without sound, and stops (2026-11-26).
    fn is_whole_in(&self, newest: &Period) -> bool {
        let goes_on = |track: &&Arc<LiveTrack>| {
            let is_missing = track.open.is_none() && track.segments.last().is_none_or(|last| last.is_gap);
            track.face.kind != Kind::Text && !is_missing
        };
        let has = |live: &Arc<LiveTrack>| {
            newest.sets.iter().flat_map(|set| &set.tracks).any(|track| track.name == live.face.name)
        };
        self.tracks.iter().filter(goes_on).all(has)
    }

    /// The track of this name.
    pub fn track(&self, name: &str) -> Option<&Arc<LiveTrack>> {
        self.tracks.iter().find(|track| track.face.name == name)
    }

    /// `ticks` of `timescale` after the broadcast's start, in that timescale.
    pub fn offset(&self, ticks: i64, timescale: Timescale) -> i64 {
        self.offset_in(timescale)(ticks)
    }

    fn offset_in(&self, timescale: Timescale) -> impl Fn(i64) -> i64 + Copy + use<> {
        let [origin, start] = [self.origin, self.start].map(|time| time.to(timescale, Rounding::Nearest));
        move |ticks| ticks.saturating_sub(origin).saturating_add(start)
    }
}

impl Broadcast {
    /// When `event` begins, in microseconds after the broadcast's start; `None` if what it counts on is not listed.
    pub fn event_us(&self, event: &LiveEvent) -> Option<i64> {
        let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        let number = match event.timeline {
            Timeline::Broadcast => return Some(us(event.time)),
            Timeline::Period(number) => number,
            Timeline::Unknown { .. } => return None,
        };
        let period = self.periods.iter().find(|period| period.number == number)?;
        Some(us(event.time).saturating_sub(us(period.origin)).saturating_add(us(period.start)))
    }

    /// The track of this name and version, with its period.
    pub fn track(&self, name: &str, version: Version) -> Option<(&Arc<LivePeriod>, &Arc<LiveTrack>)> {
        let of = |period: &'_ Arc<LivePeriod>| {
            period.tracks.iter().position(|track| track.face.version == version && track.face.name == name)
        };
        self.periods.iter().rev().find_map(|period| of(period).map(|at| (period, &period.tracks[at])))
    }

    /// The tracks of this name and version, the newest first: a track may go on in a later period.
    pub fn versions(&self, name: &str, version: Version) -> impl Iterator<Item = &Arc<LiveTrack>> {
        let is_it = move |track: &&Arc<LiveTrack>| track.face.version == version && track.face.name == name;
        self.periods.iter().rev().filter_map(move |period| period.tracks.iter().find(is_it))
    }

    /// The tracks of this name, with their periods, in order.
    pub fn tracks_called(&self, name: &str) -> impl Iterator<Item = (&Arc<LivePeriod>, &Arc<LiveTrack>)> {
        self.periods.iter().filter_map(move |period| period.track(name).map(|track| (period, track)))
    }

    /// When `ticks` of `timescale` in `period` were, in microseconds since 1970.
    pub fn utc_us(&self, period: &LivePeriod, ticks: i64, timescale: Timescale) -> u64 {
        let offset = MediaTime::new(period.offset(ticks, timescale), timescale);
        (self.started.0 * 1000).saturating_add_signed(offset.to(Timescale::MICRO, Rounding::Nearest))
    }

    /// When what came of `period` ends, in microseconds since 1970; `None` if nothing did. Texts are sent ahead of what they are shown with.
    pub fn end_us(&self, period: &LivePeriod) -> Option<u64> {
        let end = |track: &Arc<LiveTrack>| self.utc_us(period, track.end(), track.face.timescale);
        let (texts, others): (Vec<_>, Vec<_>) = period.tracks.iter().partition(|track| track.face.kind == Kind::Text);
        others.into_iter().map(end).max().or_else(|| texts.into_iter().map(end).max())
    }

    /// What is listed, as a presentation like any other: every track with its listed segments. Where media is missing a period ends, and
    /// the next begins where it comes back, without the tracks that lack it (ISO/IEC 23009-1 knows no holes in a SegmentTimeline).
    pub fn presentation(&self) -> Presentation {
        let mut periods = Vec::new();
        for period in &self.periods {
            let is_first = periods.is_empty();
            periods.extend(self.without_holes(period, is_first));
        }
        Presentation { periods, thumbnails: Vec::new(), warnings: Vec::new() }
    }

    /// Whether `presentation` has a Period: mostly the first segment that it looks at says so.
    pub fn lists_media(&self) -> bool {
        let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        let is_listed = |period: &LivePeriod, live: &LiveTrack, s: &LiveSegment| {
            let [begins_us, ends_us] = [s.time, s.end()].map(clock(period, live));
            let last = period.cuts.iter().rev().find(|cut| self.timing.is_behind(**cut, begins_us, ends_us));
            // See `stretch`: none begins behind the end of its period.
            last.is_none_or(|cut| period.end.is_none_or(|limit| us(limit) >= *cut))
        };
        let lists =
            |period: &LivePeriod, live: &LiveTrack| live.listed().any(|s| !s.is_gap && is_listed(period, live, s));
        self.periods.iter().rev().any(|period| period.tracks.iter().any(|live| lists(period, live)))
    }

    /// The stretches of `period`; `is_first`, if nothing of those before is listed.
    fn without_holes(&self, period: &LivePeriod, is_first: bool) -> Vec<Period> {
        let begins = || [i64::MIN].into_iter().chain(period.cuts.iter().copied());
        let ends = period.cuts.iter().copied().chain([i64::MAX]);
        let stretches = begins().zip(ends).map(|(from, until)| self.stretch(period, from..until, from == i64::MIN));
        let mut stretches: Vec<Option<Period>> = stretches.collect();
        let has_earlier = !is_first || stretches.iter().flatten().count() > 1;
        if !self.ended && period.end.is_none() && has_earlier {
            // Nothing may be behind the last hole yet, or a track's first segment be under way.
            let waits = |newest: &mut Period| {
                let long_ms = PERIOD_WAITS_TARGETS * self.timing.target_s as i64 * 1000;
                newest.duration.to(Timescale::MILLI, Rounding::Down) < long_ms && !period.is_whole_in(newest)
            };
            stretches.last_mut().and_then(|newest| newest.take_if(waits));
        }
        stretches.into_iter().flatten().collect()
    }

    /// The segments of `period` that begin in `range`, of microseconds after the broadcast's start, or shortly before and end in it; `None` if
    /// there are none.
    fn stretch(&self, period: &LivePeriod, range: std::ops::Range<i64>, is_first: bool) -> Option<Period> {
        let mut end = i64::MIN;
        let cut = range.end;
        let tracks = period.tracks.iter().filter_map(|live| {
            let inside = self.inside(period, live, range.clone()).map(|(s, ends_us)| {
                end = end.max(ends_us);
                Segment {
                    first_sample: 0,
                    time: s.time.max(0),
                    duration: s.announced,
                    starts_with_sync: s.starts_with_sync,
                }
            });
            let segments: Vec<Segment> = inside.collect();
            (!segments.is_empty()).then(|| Track { segments, ..Track::clone(&live.face) })
        });
        let tracks: Vec<Track> = tracks.collect();
        if tracks.is_empty() {
            return None;
        }
        let micros = |ticks: i64| MediaTime::new(ticks, Timescale::MICRO);
        let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        // Not by what is listed: where a period begins never changes.
        let (id, start, origin) = match is_first {
            true => (period.number.to_string(), period.start, period.origin),
            false => {
                let later = range.start - us(period.start);
                (format!("{}.{}", period.number, later / 1000), micros(range.start), micros(us(period.origin) + later))
            }
        };
        // The next Period may begin before the hole that this one would be behind: it would come after it.
        if !is_first && period.end.is_some_and(|limit| us(limit) < us(start)) {
            return None;
        }
        // Nor where one ends that is cut: sound that was under way there may be listed later than what comes after the hole.
        let end = if cut == i64::MAX { end } else { cut };
        let end = period.end.map_or(end, |limit| end.min(us(limit))).max(us(start));
        let duration = micros(end - us(start));
        let mut sets = switching::group(tracks);
        if self.timing.low_latency.is_some() {
            let until = if cut == i64::MAX { cut } else { self.timing.behind_us(cut) };
            let range = self.timing.behind_us(range.start)..until;
            sets.iter_mut().for_each(|set| announce_open(period, set, range.clone()));
        }
        Some(Period { id, start, duration, origin, sets })
    }

    /// The segments of `live` that are listed in this stretch of `period`, each with when it ends. Holes may be many, and windows long: it
    /// looks at few others.
    fn inside<'a>(
        &self,
        period: &LivePeriod,
        live: &'a LiveTrack,
        range: std::ops::Range<i64>,
    ) -> impl Iterator<Item = (&'a Arc<LiveSegment>, i64)> {
        let (timing, from, cut) = (self.timing, range.start, range.end);
        let us = clock(period, live);
        let is_before = move |s: &LiveSegment| s.number < live.listed_from || us(s.time) < timing.behind_us(from);
        let timed = live.segments.after(is_before).map(move |s| (s, us(s.time), us(s.end())));
        // What begins later is behind it, since nothing ends before it begins.
        let near = timed.take_while(move |(_, begins_us, _)| *begins_us <= cut);
        let is_inside = move |(s, begins_us, ends_us): &(&Arc<LiveSegment>, i64, i64)| {
            let is_behind = |cut: i64| timing.is_behind(cut, *begins_us, *ends_us);
            !s.is_gap && is_behind(from) && !is_behind(cut)
        };
        near.filter(is_inside).map(|(s, _, ends_us)| (s, ends_us))
    }
}

/// Lists the segment that grows, if every track of `set` has begun it, knows its end and goes on with it in `range`: what is announced
/// of a set is there of all its tracks.
fn announce_open(period: &LivePeriod, set: &mut SwitchingSet, range: std::ops::Range<i64>) {
    let open_of = |track: &Track| {
        let live = period.track(&track.name)?;
        let open = live.open.as_ref().filter(|open| !open.is_torn)?;
        let last = track.segments.last()?;
        let goes_on =
            last.time + last.duration == open.time && range.contains(&after_start_us(period, live, open.time));
        goes_on.then_some(Segment {
            first_sample: 0,
            time: open.time,
            duration: open.due? - open.time,
            starts_with_sync: open.starts_with_sync,
        })
    };
    let found: Option<Vec<Segment>> = set.tracks.iter().map(open_of).collect();
    for (track, segment) in set.tracks.iter_mut().zip(found.unwrap_or_default()) {
        track.segments.push(segment);
    }
}

/// `ticks` of `track` in microseconds after the broadcast's start.
pub fn after_start_us(period: &LivePeriod, track: &LiveTrack, ticks: i64) -> i64 {
    clock(period, track)(ticks)
}

/// The same of any ticks, for who asks for many.
fn clock(period: &LivePeriod, track: &LiveTrack) -> impl Fn(i64) -> i64 + Copy + use<> {
    let timescale = track.face.timescale;
    let offset = period.offset_in(timescale);
    move |ticks| rescale(offset(ticks), timescale, Timescale::MICRO, Rounding::Nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::FourCc;
    use crate::formats::isobmff::sample_entry::{Media, SampleEntry};
    use proptest::prelude::*;

    const TIMESCALES: [u32; 6] = [1, 1000, 12_800, 44_100, 90_000, 10_000_000];

    fn ms(ms: i64) -> MediaTime {
        MediaTime::new(ms, Timescale::MILLI)
    }

    /// A track that begins at `begins_ms`, of segments of so many milliseconds. The number before them says what they are: before a hole (0), cut short
    /// (1), lasting into the next (2), of no length (3), a gap (4), or whole.
    fn track(name: &str, timescale: u32, begins_ms: i64, segments: &[(u8, i64)]) -> LiveTrack {
        let timescale = Timescale::new(timescale).expect("not zero");
        let media = Media::Text;
        let entry = SampleEntry {
            format: FourCc(*b"wvtt"),
            codecs: "wvtt".into(),
            supplemental_codecs: None,
            media,
            protection: None,
        };
        let mut live = LiveTrack::new(Arc::new(Track::new(name, Kind::Audio, timescale, entry)));
        let ticks = |ms: i64| rescale(ms, Timescale::MILLI, timescale, Rounding::Nearest);
        let mut time = ticks(begins_ms);
        for (number, &(what, lasts_ms)) in (7..).zip(segments) {
            let lasts = ticks(lasts_ms).max(1);
            let (duration, next) = match what {
                0 => (lasts, lasts + ticks(lasts_ms * 5)),
                1 => (lasts / 2, lasts),
                2 => (lasts + lasts / 3, lasts),
                3 => (0, lasts),
                _ => (lasts, lasts),
            };
            let gap = LiveSegment::gap(number, time, duration, Utc(0));
            live.segments.push(Arc::new(LiveSegment { is_gap: what == 4, ..gap }));
            time += next;
        }
        live
    }

    prop_compose! {
        /// A broadcast of one period, whose cuts are those of the holes and others.
        fn broadcast()(
            target_s in 1u64..5,
            own in prop::collection::vec(
                (0usize..TIMESCALES.len(), -5000i64..5000, prop::collection::vec((0u8..40, 1i64..4000), 0..300), 0u64..400),
                1..5,
            ),
            cuts in prop::collection::vec(0i64..400_000_000, 0..12),
            end_ms in prop::option::of(0i64..400_000),
            [start_ms, origin_ms] in [0i64..20_000, -20_000i64..20_000],
        ) -> Broadcast {
            let timing = Timing { target_s, ..Timing::default() };
            let [start, origin] = [start_ms, origin_ms].map(ms);
            let end = end_ms.map(|after_ms| ms(start_ms + after_ms));
            let mut period = LivePeriod { number: 3, start, origin, end, cuts: Vec::new(), tracks: Vec::new() };
            for (index, (timescale, begins_ms, segments, listed_from)) in own.into_iter().enumerate() {
                let live = track(&format!("t{index}"), TIMESCALES[timescale], origin_ms + begins_ms, &segments);
                let live = LiveTrack { listed_from, ..live };
                let times: Vec<[i64; 2]> = live.segments.iter().filter(|s| s.is_gap).map(|s| [s.time, s.end()]).collect();
                times.into_iter().for_each(|hole| period.cut(&live, hole, timing.near_us()));
                period.tracks.push(Arc::new(live));
            }
            period.cuts.extend(cuts);
            period.cuts.sort_unstable();
            Broadcast { timing, periods: vec![Arc::new(period)], ..Broadcast::default() }
        }
    }

    proptest! {
        #[test]
        fn a_stretch_has_what_a_look_at_every_segment_finds(broadcast in broadcast()) {
            let (period, near) = (&broadcast.periods[0], broadcast.timing.near_us());
            let bounds: Vec<i64> = [&[i64::MIN][..], &period.cuts, &[i64::MAX]].concat();
            for live in &period.tracks {
                let us = |ticks| after_start_us(period, live, ticks);
                let is_behind = |cut: i64, s: &LiveSegment| {
                    let from = if cut == i64::MIN || cut == i64::MAX { cut } else { cut - near };
                    from <= us(s.time) && cut < us(s.end())
                };
                let listed: Vec<&Arc<LiveSegment>> =
                    live.segments.iter().filter(|s| s.number >= live.listed_from && !s.is_gap).collect();
                let mut found = 0;
                for pair in bounds.windows(2) {
                    let looked = listed.iter().filter(|s| is_behind(pair[0], s) && !is_behind(pair[1], s));
                    let looked: Vec<(u64, i64)> = looked.map(|s| (s.number, us(s.end()))).collect();
                    let inside = broadcast.inside(period, live, pair[0]..pair[1]);
                    let inside: Vec<(u64, i64)> = inside.map(|(s, ends_us)| (s.number, ends_us)).collect();
                    found += inside.len();
                    prop_assert_eq!(inside, looked);
                }
                prop_assert_eq!(found, listed.len(), "each is in one stretch");
            }
        }

        #[test]
        fn media_is_listed_if_there_is_a_period(broadcast in broadcast()) {
            prop_assert_eq!(broadcast.lists_media(), !broadcast.presentation().periods.is_empty());
        }

        #[test]
        fn segments_from_a_number_on_are_all_that_have_it_or_a_greater_one(segments in prop::collection::vec((5u8..6, 1i64..4000), 0..400), asked in 0u64..420) {
            let live = track("t", 90_000, 0, &segments);
            let from: Vec<u64> = live.segments.from(asked).map(|s| s.number).collect();
            let looked: Vec<u64> = live.segments.iter().map(|s| s.number).filter(|number| *number >= asked).collect();
            prop_assert_eq!(from, looked);
        }
    }
}
