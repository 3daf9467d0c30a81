//! Where a presentation is cut into segments, and cutting a track there.
//!
//! Boundaries depend on the media and the wanted duration alone, so that tracks, nodes and restarts agree without talking:
//! at a sync sample where `floor(t / target)` changes and at least half a target has passed.

use std::ops::Range;
use std::time::Duration;

use crate::media::sample::SampleTable;
use crate::media::track::Segment;
use crate::time::{MediaTime, Rounding, Timescale};

/// Presentation times at which a player may start, ascending, edits applied.
pub fn sync_times(samples: &SampleTable, media_time: i64, timescale: Timescale) -> Vec<MediaTime> {
    let time =
        |(_, composition_time): (u32, i64)| MediaTime::new(composition_time.saturating_sub(media_time), timescale);
    let mut times: Vec<MediaTime> = samples.syncs().map(time).collect();
    times.sort();
    times
}

/// The members of `a` that `b` has too, within `tolerance`. Both ascend.
pub fn common(a: &[MediaTime], b: &[MediaTime], tolerance: MediaTime) -> Vec<MediaTime> {
    let mut rest = b.iter().peekable();
    let mut found = Vec::new();
    for &time in a {
        while rest.next_if(|&&other| other < time && !time.is_within(other, tolerance)).is_some() {}
        if rest.peek().is_some_and(|&&other| time.is_within(other, tolerance)) {
            found.push(time);
        }
    }
    found
}

/// The boundaries, of `candidates` (ascending), that segments of about `target` begin at: the first one, those that are among
/// `forced` (ascending) too, and others in between; at most [`SEGMENTS_MAX`].
pub fn boundaries(candidates: &[MediaTime], forced: &[MediaTime], target: Duration) -> Vec<MediaTime> {
    let mut chosen: Vec<MediaTime> = Vec::new();
    for &time in candidates {
        let is_forced = forced.binary_search(&time).is_ok();
        let passes = chosen.last().is_none_or(|&last| is_forced || starts_segment(last, time, target));
        if passes {
            chosen.push(time);
        }
        if chosen.len() as i64 == SEGMENTS_MAX {
            break;
        }
    }
    chosen
}

/// `boundaries` (ascending) with `forced` (ascending) among them, which take the place of those less than a quarter of `target`
/// away.
pub fn with_forced(boundaries: &[MediaTime], forced: &[MediaTime], target: Duration) -> Vec<MediaTime> {
    let quarter = MediaTime::new(i64::try_from(target.as_millis() / 4).unwrap_or(i64::MAX), Timescale::MILLI);
    let mut chosen = Vec::with_capacity(boundaries.len() + forced.len());
    let mut before = 0;
    for &boundary in boundaries {
        let after = before + forced[before..].iter().take_while(|&&time| time <= boundary).count();
        chosen.extend_from_slice(&forced[before..after]);
        before = after;
        let mut neighbours = forced[before.saturating_sub(1)..].iter().take(2);
        if !neighbours.any(|time| time.is_within(boundary, quarter)) {
            chosen.push(boundary);
        }
    }
    chosen.extend_from_slice(&forced[before..]);
    chosen
}

/// Whether a segment that began at `last` ends where another may begin at `time`.
fn starts_segment(last: MediaTime, time: MediaTime, target: Duration) -> bool {
    let target_ns = target.as_nanos().max(1) as i128;
    // In nanoseconds times the timescale everything is whole.
    let cell =
        |t: MediaTime| (i128::from(t.ticks) * 1_000_000_000).div_euclid(target_ns * i128::from(t.timescale.get()));
    let (a, b) = (i128::from(last.timescale.get()), i128::from(time.timescale.get()));
    let passed = (i128::from(time.ticks) * a - i128::from(last.ticks) * b) * 1_000_000_000;
    cell(time) != cell(last) && passed * 2 >= target_ns * a * b
}

/// Multiples of `target` after `last`, as boundaries of what no video leads, up to `end`.
pub fn grid(last: MediaTime, end: MediaTime, target: Duration) -> Vec<MediaTime> {
    let target_ms = (target.as_millis() as i64).max(1);
    let first = last.to(Timescale::MILLI, Rounding::Down).div_euclid(target_ms) + 1;
    let stop = end.to(Timescale::MILLI, Rounding::Up).div_euclid(target_ms);
    let stop = stop.min(first.saturating_add(SEGMENTS_MAX));
    let mut chosen = vec![last];
    for time in (first..=stop).map(|k| MediaTime::new(k.saturating_mul(target_ms), Timescale::MILLI)) {
        if time < end && starts_segment(*chosen.last().expect("it began with one"), time, target) {
            chosen.push(time);
        }
    }
    chosen.split_off(1)
}

/// The most segments that boundaries or a grid give: more than two days of 2 s segments. A decode time may claim to be any number, and a
/// few bytes that every sample of millions is a sync sample as long as a segment.
pub const SEGMENTS_MAX: i64 = 100_000;

/// Cuts the samples `played` of a track, all but in a clip, at `boundaries` (ascending): a segment begins at the first sync sample
/// that is presented at or after a boundary less `tolerance`, and the first at the first sample.
pub fn cut(
    samples: &SampleTable,
    played: Range<u32>,
    media_time: i64,
    boundaries: &[MediaTime],
    timescale: Timescale,
    tolerance: MediaTime,
) -> Vec<Segment> {
    let slack = tolerance.to(timescale, Rounding::Up);
    let mut firsts: Vec<u32> = vec![played.start];
    let wanted =
        |boundary: &MediaTime| boundary.to(timescale, Rounding::Up).saturating_sub(slack).saturating_add(media_time);
    let mut wanted = boundaries.iter().map(wanted).peekable();
    let mut next = played.start;
    while let Some(boundary) = wanted.next() {
        let Some((index, composition_time)) = samples.sync_from(next, boundary) else { break };
        if index >= played.end {
            break;
        }
        if index > played.start {
            firsts.push(index);
        }
        while wanted.next_if(|&boundary| boundary <= composition_time).is_some() {}
        next = index + 1;
    }
    let ends: Vec<u32> = firsts.iter().skip(1).copied().chain([played.end]).collect();
    let mut segments: Vec<Segment> = Vec::with_capacity(firsts.len());
    let mut latest = 0;
    for (&first, &end) in firsts.iter().zip(&ends) {
        let presented = samples.presented(first..end);
        latest = latest.max(presented.end.saturating_sub(media_time));
        let time = presented.start.saturating_sub(media_time).max(0);
        // What an edit trims away whole adds no segment: its samples stay with the first.
        if segments.last().is_none_or(|previous| previous.time < time) {
            let starts_with_sync = samples.get(first).flags.is_sync();
            segments.push(Segment { first_sample: first, time, duration: 0, starts_with_sync });
        }
    }
    // A last sample may claim no duration, but a segment without one can't be listed (ISO/IEC 23009-1 §5.3.9.6: no `d="0"`).
    let least = i64::from(samples.usual_duration().unwrap_or(1));
    for index in 0..segments.len() {
        let end = segments.get(index + 1).map_or(latest, |next| next.time);
        segments[index].duration = if end > segments[index].time { end - segments[index].time } else { least };
    }
    segments
}

/// Segments that follow one another, equally long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// When the first begins, in ticks.
    pub time: i64,
    /// How long each lasts, in ticks; more than 0.
    pub duration: i64,
    /// How many they are, at least 1.
    pub count: u64,
}

/// The runs of `segments`, the time and duration of each in ticks. One without duration has nothing to present, and is in none.
pub fn runs(segments: impl Iterator<Item = (i64, i64)>) -> impl Iterator<Item = Run> {
    let mut segments = segments.filter(|&(_, duration)| duration > 0).peekable();
    std::iter::from_fn(move || {
        let (time, duration) = segments.next()?;
        let (mut end, mut count) = (time + duration, 1);
        while segments.next_if_eq(&(end, duration)).is_some() {
            end += duration;
            count += 1;
        }
        Some(Run { time, duration, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sample::{Sample, SampleFlags};
    use proptest::prelude::*;

    fn seconds(list: &[f64]) -> Vec<MediaTime> {
        list.iter().map(|s| MediaTime::new((s * 1000.0) as i64, Timescale::MILLI)).collect()
    }

    #[test]
    fn boundaries_follow_the_grid() {
        let target = Duration::from_secs(6);
        let gops = seconds(&[0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0]);
        assert_eq!(boundaries(&gops, &[], target), seconds(&[0.0, 6.0, 12.0]));
        // 10 s is the first, 12 s comes too soon after it.
        let late = seconds(&[10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
        assert_eq!(boundaries(&late, &[], target), seconds(&[10.0, 14.0, 18.0]));
        // GOPs of 4 s: 4 s is still in the first cell, 8 s in the second, 12 s starts the third.
        let long = seconds(&[0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0]);
        assert_eq!(boundaries(&long, &[], target), seconds(&[0.0, 8.0, 12.0, 20.0, 24.0]));
        // GOPs longer than the target are segments of their own.
        assert_eq!(boundaries(&seconds(&[0.0, 10.0, 20.0]), &[], target), seconds(&[0.0, 10.0, 20.0]));
    }

    #[test]
    fn forced_boundaries_stand_and_the_others_keep_their_distance() {
        let target = Duration::from_secs(6);
        let gops = seconds(&[0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
        let chosen = boundaries(&gops, &seconds(&[10.0, 20.0]), target);
        assert_eq!(chosen, seconds(&[0.0, 6.0, 10.0, 14.0, 18.0, 20.0]));
        // Audio that changes its key a frame sooner, or elsewhere, or before and after all of them.
        let near = with_forced(&chosen, &seconds(&[9.98, 16.0, 20.01]), target);
        assert_eq!(near, seconds(&[0.0, 6.0, 9.98, 14.0, 16.0, 18.0, 20.01]));
        let ends = with_forced(&seconds(&[6.0]), &seconds(&[1.0, 2.0, 30.0]), target);
        assert_eq!(ends, seconds(&[1.0, 2.0, 6.0, 30.0]));
        assert_eq!(with_forced(&[], &seconds(&[1.0]), target), seconds(&[1.0]));
    }

    #[test]
    fn what_no_video_leads_is_cut_at_multiples_of_the_target() {
        let [start, end] = [0.0, 20.0].map(|s| seconds(&[s])[0]);
        assert_eq!(grid(start, end, Duration::from_secs(6)), seconds(&[6.0, 12.0, 18.0]));
    }

    #[test]
    fn a_last_decode_time_far_away_cost_memory_without_bound() {
        let end = MediaTime::new(i64::MAX / 4, Timescale::MILLI);
        assert_eq!(grid(MediaTime::ZERO, end, Duration::from_secs(6)).len() as i64, SEGMENTS_MAX + 1);
    }

    #[test]
    fn a_million_long_sync_samples_were_a_million_segments() {
        let times: Vec<MediaTime> =
            (0..SEGMENTS_MAX + 10).map(|s| MediaTime::new(s * 6000, Timescale::MILLI)).collect();
        assert_eq!(boundaries(&times, &[], Duration::from_secs(6)).len() as i64, SEGMENTS_MAX);
    }

    #[test]
    fn common_sync_samples_may_differ_by_the_tolerance() {
        let tolerance = MediaTime::new(20, Timescale::MILLI);
        let (a, b) = (seconds(&[0.0, 2.0, 4.0, 6.0]), seconds(&[0.01, 1.0, 3.99, 6.03]));
        assert_eq!(common(&a, &b, tolerance), seconds(&[0.0, 4.0]));
    }

    proptest! {
        #[test]
        fn segments_tile_the_track(
            durations in prop::collection::vec(1u32..50, 1..200),
            every in 1usize..20,
            trim in 0i64..60,
            target_ms in 20u64..400,
        ) {
            let mut samples = SampleTable::default();
            let mut time = 0;
            for (index, &duration) in durations.iter().enumerate() {
                let flags = if index % every == 0 { SampleFlags::SYNC } else { SampleFlags::NON_SYNC };
                samples.push(Sample { decode_time: time, duration, composition_offset: 0, size: 1, flags }, 0, index as u64);
                time += i64::from(duration);
            }
            let target = Duration::from_millis(target_ms);
            let syncs = sync_times(&samples, trim, Timescale::MILLI);
            let segments =
                cut(&samples, 0..samples.len(), trim, &boundaries(&syncs, &[], target), Timescale::MILLI, MediaTime::ZERO);
            prop_assert_eq!(segments[0].first_sample, 0);
            prop_assert_eq!(segments[0].time, 0);
            for pair in segments.windows(2) {
                prop_assert_eq!(pair[0].time + pair[0].duration, pair[1].time);
                prop_assert!(pair[0].first_sample < pair[1].first_sample);
                prop_assert!(pair[1].starts_with_sync);
            }
            prop_assert!(segments.iter().all(|s| s.duration > 0));
            let end = segments.last().map(|s| s.time + s.duration);
            prop_assert!(end == Some(time - trim) || time <= trim);
        }
    }
}
