//! Time shift: the stretch of a broadcast that is played from one moment on, or from one to another.

use std::sync::Arc;

use crate::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack, Segments, after_start_us};
use crate::time::{MediaTime, Rounding, Timescale, Utc};

/// When a stretch ends is known that long after it, whether media came or not.
const LATE_TARGETS: u64 = 3;

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

/// The stretch of `all` that `shift` names. If `is_over`, nothing will follow, and it begins at 0; else its numbers and times are those
/// of `all`.
pub fn shifted(all: &Broadcast, shift: &Shift, is_over: bool) -> Broadcast {
    let newest = all.periods.last().map(|period| period.number);
    let periods = all.periods.iter().filter_map(|period| {
        let goes_on = !is_over && newest == Some(period.number);
        let tracks = period.tracks.iter().map(|track| Arc::new(inside(all, period, track, shift, goes_on)));
        let tracks: Vec<Arc<LiveTrack>> = tracks.filter(|track| goes_on || track.segments.last().is_some()).collect();
        (!tracks.is_empty()).then(|| LivePeriod { tracks, ..LivePeriod::clone(period) })
    });
    let mut periods: Vec<LivePeriod> = periods.collect();
    let mut out = Broadcast { ended: is_over, periods: Vec::new(), starts_over: !is_over, ..Broadcast::clone(all) };
    if is_over {
        (out.timing.part_target_ms, out.timing.low_latency) = (None, None);
        let begin_ms = begin_us(&periods).div_euclid(1000);
        out.started = Utc(all.started.0.saturating_add_signed(begin_ms));
        rebase(&mut periods, begin_ms * 1000);
    } else {
        out.timing.window_ms = all.published.0.saturating_sub(shift.from.0).max(all.timing.window_ms);
    }
    out.periods = periods.into_iter().map(Arc::new).collect();
    out
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

/// When the first media begins, in microseconds after the broadcast's start.
fn begin_us(periods: &[LivePeriod]) -> i64 {
    let Some(period) = periods.first() else { return 0 };
    let first = |track: &Arc<LiveTrack>| {
        let first = track.segments.iter().find(|segment| !segment.is_gap)?;
        Some(after_start_us(period, track, first.time))
    };
    period.tracks.iter().filter_map(first).min().unwrap_or(0)
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
