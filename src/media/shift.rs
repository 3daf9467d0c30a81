//! Time shift: the stretch of a broadcast that is played from one moment on, or from one to another.

use std::sync::Arc;

use crate::media::event::{LiveEvent, Timeline};
use crate::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack, Segments, Timing, after_start_us};
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

/// When a stretch ends is known that long after it, whether media came or not.
const LATE_TARGETS: u64 = 3;
/// Tracks that begin or end less apart do so together: about a chunk of sound.
const TOGETHER_US: i64 = 500_000;
/// How often what ends later than others is left out, until what is left ends together.
const CUTS_MAX: usize = 8;

/// From when until when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Shift {
    /// Segments that end at this moment or before are left out.
    pub from: Utc,
    /// So are those that begin at this one or after it; `None`: nothing is.
    pub to: Option<Utc>,
}

impl Shift {
    /// Whether nothing will follow what `live` has of it, as things stand: an encoder may come back.
    pub fn is_over(&self, live: &Broadcast) -> bool {
        live.ended || self.is_past(live)
    }

    /// Whether what `live` has of it has a timeline of its own: nothing will follow, and who watched it while it went on knows.
    pub fn is_settled(&self, live: &Broadcast) -> bool {
        live.is_settled || self.is_past(live)
    }

    /// Whether `live` has all that the stretch will ever have.
    pub fn is_past(&self, live: &Broadcast) -> bool {
        let (Some(to), Some(period)) = (self.to, live.periods.last()) else { return false };
        let has_come = |track: &Arc<LiveTrack>| {
            let end = track.segments.last().map(|last| live.utc_us(period, last.end(), track.face.timescale));
            end.is_some_and(|end| end >= to.0 * 1000)
        };
        let late = to.0.saturating_add(live.timing.target_s * 1000 * LATE_TARGETS);
        live.published.0 >= late || period.tracks.iter().all(has_come)
    }
}

/// The stretch of `all` that `shift` names. If it `is_settled`, nothing will follow, and it begins at 0; else its numbers and times are those
/// of `all`.
pub fn shifted(all: &Broadcast, shift: &Shift, is_settled: bool) -> Broadcast {
    let newest = all.periods.last().map(|period| period.number);
    let periods = all.periods.iter().filter_map(|period| {
        let goes_on = !is_settled && newest == Some(period.number);
        let tracks = period.tracks.iter().map(|track| Arc::new(inside(all, period, track, shift, goes_on)));
        let tracks: Vec<Arc<LiveTrack>> = tracks.filter(|track| goes_on || track.segments.last().is_some()).collect();
        (!tracks.is_empty()).then(|| LivePeriod { tracks, ..LivePeriod::clone(period) })
    });
    let mut periods: Vec<LivePeriod> = periods.collect();
    let mut out = Broadcast {
        ended: is_settled || all.ended,
        is_settled,
        periods: Vec::new(),
        starts_over: !is_settled,
        ..Broadcast::clone(all)
    };
    if is_settled {
        if let Some(first) = periods.first_mut() {
            begin_together(first, out.timing);
        }
        if let Some(last) = periods.last_mut().filter(|last| !all.ended || is_cut(all, last)) {
            end_together(last, out.timing);
        }
        periods.retain(|period| !period.tracks.is_empty());
        (out.timing.part_target_ms, out.timing.low_latency) = (None, None);
        let begin_ms = begin_us(&periods).div_euclid(1000);
        out.started = Utc(all.started.0.saturating_add_signed(begin_ms));
        let end_us = end_us(&periods);
        rebase(&mut periods, begin_ms * 1000);
        out.events = Arc::new(events_until(all, end_us, begin_ms * 1000));
    } else {
        out.timing.window_ms = all.published.0.saturating_sub(shift.from.0).max(all.timing.window_ms);
    }
    out.periods = periods.into_iter().map(Arc::new).collect();
    out.timing.target_s = out.timing.target_s.max(longest_s(&out));
    out
}

/// How long the longest segment of `out` is, in seconds as they are announced: a stretch may have what was broadcast before, which was announced
/// otherwise.
fn longest_s(out: &Broadcast) -> u64 {
    let tracks = out.periods.iter().flat_map(|period| &period.tracks);
    let longest = tracks.filter_map(|track| {
        let longest = track.segments.iter().map(|segment| segment.duration).max()?;
        Some(rescale(longest, track.face.timescale, Timescale::MILLI, Rounding::Down))
    });
    longest.max().map_or(0, |ms| (ms + 500) / 1000) as u64
}

/// `track` with those of its segments that lie in the stretch.
fn inside(all: &Broadcast, period: &LivePeriod, track: &LiveTrack, shift: &Shift, goes_on: bool) -> LiveTrack {
    let timescale = track.face.timescale;
    let utc_us = |ticks: i64| all.utc_us(period, ticks, timescale);
    let (from_us, to_us) =
        (shift.from.0.saturating_mul(1000), shift.to.map_or(u64::MAX, |to| to.0.saturating_mul(1000)));
    let mut segments = Segments::default();
    let is_inside = |s: &&Arc<LiveSegment>| utc_us(s.end()) > from_us && utc_us(s.time) < to_us;
    track.segments.iter().filter(is_inside).for_each(|segment| segments.push(Arc::clone(segment)));
    let first = segments.iter().next().map_or(track.next_number, |first| first.number);
    let next = segments.last().map_or(track.next_number, |last| last.number + 1);
    LiveTrack {
        segments,
        listed_from: first,
        open: track.open.clone().filter(|_| goes_on),
        next_number: if goes_on { track.next_number } else { next },
        ..track.clone()
    }
}

/// Lets sound and pictures of `period`, the first, begin together: of what overlaps the begin of the stretch one may begin much earlier.
fn begin_together(period: &mut LivePeriod, timing: Timing) {
    let begins = |period: &LivePeriod| ends_of(period, |track| track.segments.iter().next().map(|first| first.time));
    let Some(earliest) = begins(period).into_iter().min() else { return };
    let near = begins(period).into_iter().filter(|begin| begin - earliest <= late_us(timing));
    let Some(common) = near.max() else { return };
    keep(period, |period, track, s| after_start_us(period, track, s.time) >= common - TOGETHER_US);
}

/// Lets sound and pictures of `period`, the last, end together: where the encoder or the server ended, one has a segment more than the other,
/// which is left out. What a track lacks for longer is a gap.
fn end_together(period: &mut LivePeriod, timing: Timing) {
    let ends = |period: &LivePeriod| ends_of(period, |track| track.segments.last().map(|last| last.end()));
    let mut end = i64::MAX;
    for _ in 0..CUTS_MAX {
        let ends = ends(period);
        let Some(latest) = ends.iter().copied().max() else { return };
        end = ends.into_iter().filter(|end| latest - end <= late_us(timing)).min().unwrap_or(latest);
        if latest - end <= TOGETHER_US {
            break;
        }
        keep(period, |period, track, s| after_start_us(period, track, s.end()) <= end + TOGETHER_US);
    }
    for index in 0..period.tracks.len() {
        let track = Arc::clone(&period.tracks[index]);
        let own = track.segments.last().map(|last| after_start_us(period, &track, last.end()));
        if is_timed(&track) && own.is_some_and(|own| end - own > TOGETHER_US) {
            let (filled, from) = filled(period, &track, end, timing.target_s);
            period.cut(&filled, [from, from], timing.near_us());
            period.tracks[index] = Arc::new(filled);
        }
    }
}

/// Text comes when there is some.
fn is_timed(track: &LiveTrack) -> bool {
    track.face.kind != Kind::Text
}

/// What is further apart is not one end.
fn late_us(timing: Timing) -> i64 {
    i64::try_from(timing.target_s * LATE_TARGETS * 1_000_000).unwrap_or(i64::MAX)
}

/// What `end` says of sound and pictures of `period`, in microseconds after the broadcast's start.
fn ends_of(period: &LivePeriod, end: impl Fn(&LiveTrack) -> Option<i64>) -> Vec<i64> {
    let timed = period.tracks.iter().filter(|track| is_timed(track));
    timed.filter_map(|track| Some(after_start_us(period, track, end(track)?))).collect()
}

/// Leaves out the segments of sound and pictures that `is_kept` does not hold of.
fn keep(period: &mut LivePeriod, is_kept: impl Fn(&LivePeriod, &LiveTrack, &LiveSegment) -> bool) {
    let kept = |track: &Arc<LiveTrack>| {
        let is_kept = |segment: &&Arc<LiveSegment>| is_kept(period, track, segment);
        if !is_timed(track) || track.segments.iter().all(|segment| is_kept(&segment)) {
            return Arc::clone(track);
        }
        let mut segments = Segments::default();
        track.segments.iter().filter(is_kept).for_each(|segment| segments.push(Arc::clone(segment)));
        let listed_from = segments.iter().next().map_or(track.listed_from, |first| first.number);
        let next_number = segments.last().map_or(listed_from, |last| last.number + 1);
        Arc::new(LiveTrack { segments, listed_from, next_number, ..LiveTrack::clone(track) })
    };
    let tracks: Vec<Arc<LiveTrack>> = period.tracks.iter().map(kept).collect();
    period.tracks = tracks.into_iter().filter(|track| track.segments.last().is_some()).collect();
}

/// `track`, with what it lacks until `end_us` as gaps, and since when it lacks it, in ticks.
fn filled(period: &LivePeriod, track: &LiveTrack, end_us: i64, target_s: u64) -> (LiveTrack, i64) {
    let timescale = track.face.timescale;
    let micros = |ticks| rescale(ticks, Timescale::MICRO, timescale, Rounding::Nearest);
    let (mut filled, target) = (track.clone(), i64::try_from(target_s).unwrap_or(1) * i64::from(timescale.get()));
    let (begin, closed) = track.segments.last().map_or((0, Utc(0)), |last| (last.end(), last.closed));
    let end = begin.saturating_add(micros(end_us - after_start_us(period, track, begin)));
    let mut from = begin;
    while from < end {
        let to = end.min(from + target);
        filled.segments.push(Arc::new(LiveSegment::gap(filled.next_number, from, to - from, closed)));
        filled.next_number += 1;
        from = to;
    }
    (filled, begin)
}

/// Whether `all` has more of `period` than that does.
fn is_cut(all: &Broadcast, period: &LivePeriod) -> bool {
    let last = |track: &Arc<LiveTrack>| track.segments.last().map(|last| last.number);
    let whole = all.periods.iter().find(|whole| whole.number == period.number);
    whole.is_some_and(|whole| whole.tracks.iter().any(|own| period.track(&own.face.name).and_then(last) != last(own)))
}

/// When the first pictures begin, in microseconds after the broadcast's start; without any, the first media. What comes before a Period's start
/// is not presented (ISO/IEC 23009-1 §5.3.9.2): of sound a browser leaves out just that, of pictures all up to the next sync sample.
fn begin_us(periods: &[LivePeriod]) -> i64 {
    let Some(period) = periods.first() else { return 0 };
    let first = |is_asked: fn(&LiveTrack) -> bool| {
        let begin = |track: &Arc<LiveTrack>| {
            let first = track.segments.iter().find(|segment| !segment.is_gap)?;
            Some(after_start_us(period, track, first.time))
        };
        period.tracks.iter().filter(|track| is_asked(track)).filter_map(begin).min()
    };
    first(|track| track.face.kind == Kind::Video).or_else(|| first(|_| true)).unwrap_or(0)
}

/// When the last media ends, in microseconds after the broadcast's start.
fn end_us(periods: &[LivePeriod]) -> i64 {
    let ends = periods.iter().flat_map(|period| {
        let end = |track: &Arc<LiveTrack>| track.segments.last().map(|last| after_start_us(period, track, last.end()));
        period.tracks.iter().filter_map(end)
    });
    ends.max().unwrap_or(0)
}

/// The events of `all` that begin before `end_us`, as they are where `begin_us` is the beginning. Those that are over by then nobody tells.
fn events_until(all: &Broadcast, end_us: i64, begin_us: i64) -> Vec<Arc<LiveEvent>> {
    let inside = |event: &Arc<LiveEvent>| {
        let us = all.event_us(event).filter(|us| *us < end_us)?;
        let time = MediaTime::new(us - begin_us, Timescale::MICRO);
        Some(Arc::new(LiveEvent { timeline: Timeline::Broadcast, time, ..LiveEvent::clone(event) }))
    };
    all.events.iter().filter_map(inside).collect()
}

/// Makes `begin_us` the beginning.
fn rebase(periods: &mut [LivePeriod], begin_us: i64) {
    let micros = |ticks: i64| MediaTime::new(ticks, Timescale::MICRO);
    let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
    for period in periods {
        let start = us(period.start) - begin_us;
        if start < 0 {
            period.origin = micros(us(period.origin) - start);
        }
        period.start = micros(start.max(0));
        period.end = period.end.map(|end| micros((us(end) - begin_us).max(0)));
        period.cuts.iter_mut().for_each(|cut| *cut -= begin_us);
        period.cuts.retain(|cut| *cut > 0);
    }
}
