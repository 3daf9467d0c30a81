//! A clip: a stretch of the media between an in point and an out point, and what of each track belongs to it.
//!
//! ```text
//!   sync points of the video   |       |       |       |
//!   wanted                          [in             out]
//!   taken                      [video          ]
//!                               [audio          ]     from its first sample in there to the last that begins in there
//!                              [text           ]      whose first and last samples are shortened
//! ```
//!
//! Both points mean the sync point at or before them, so that what ends at a time and what begins at it show every picture once.

use std::fmt;
use std::ops::Range;

use crate::media::sample::Sample;
use crate::media::track::{Kind, Track};
use crate::time::{MediaTime, Rounding};

/// The ends of a clip, on the timeline of its media.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cut {
    /// The in point; `None`: all from the first sample on.
    pub from: Option<MediaTime>,
    /// The out point; `None`: all until the last.
    pub until: Option<MediaTime>,
}

/// Why nothing lies between two points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutError {
    /// The media end at or before the in point.
    AfterEnd {
        /// When they end.
        end: MediaTime,
    },
    /// Both points mean the same sync point, or the out point comes first.
    Empty {
        /// The sync point of the in point.
        from: MediaTime,
    },
    /// There is nothing to cut.
    NoTrack,
}

impl fmt::Display for CutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CutError::AfterEnd { .. } => f.write_str("the in point lies behind the end"),
            CutError::Empty { .. } => f.write_str("no sync point lies between the in point and the out point"),
            CutError::NoTrack => f.write_str("there is no track in it"),
        }
    }
}

impl std::error::Error for CutError {}

impl Cut {
    /// The sync points, of `syncs` (ascending), that the points mean: the last at or before each, `tolerance` later at most. An out
    /// point at `end` or after it means the end, and the first sync point is no cut.
    pub fn snapped(&self, syncs: &[MediaTime], end: MediaTime, tolerance: MediaTime) -> Result<Cut, CutError> {
        let Some(&first) = syncs.first() else { return Err(CutError::NoTrack) };
        let reached = |sync: MediaTime, point: MediaTime| sync <= point || sync.is_within(point, tolerance);
        let at_or_before =
            |point: MediaTime| syncs[..syncs.partition_point(|&sync| reached(sync, point))].last().copied();
        if self.from.is_some_and(|from| reached(end, from)) {
            return Err(CutError::AfterEnd { end });
        }
        let from = self.from.and_then(at_or_before).unwrap_or(first);
        let until = match self.until.filter(|&until| !reached(end, until)) {
            None => None,
            Some(until) => Some(at_or_before(until).filter(|&sync| sync > from).ok_or(CutError::Empty { from })?),
        };
        Ok(Cut { from: Some(from).filter(|&from| from > first), until })
    }
}

/// Samples of video between two of its sync samples, each found up to `tolerance` beside where it is said to be.
pub fn of_video(track: &Track, cut: &Cut, tolerance: MediaTime) -> Range<u32> {
    let slack = tolerance.to(track.timescale, Rounding::Up);
    let found = |time: Option<MediaTime>| {
        let wanted = time?.to(track.timescale, Rounding::Up).saturating_sub(slack).saturating_add(track.media_time);
        track.samples.sync_from(0, wanted).map(|(index, _)| index)
    };
    let start = found(cut.from).unwrap_or(0);
    start..found(cut.until).unwrap_or(track.samples.len()).max(start)
}

/// Samples of audio: from the first sync sample that is presented at or after `from` until the first sample at or after `until`.
fn of_audio(track: &Track, cut: &Cut) -> Range<u32> {
    let count = track.samples.len();
    let ticks = |time: MediaTime| time.to(track.timescale, Rounding::Up).saturating_add(track.media_time);
    let from = cut.from.map_or(Some(0), |from| track.samples.sync_from(0, ticks(from)).map(|(index, _)| index));
    let start = from.unwrap_or(count);
    let end = cut.until.and_then(|until| {
        let until = ticks(until);
        (start..count).zip(track.samples.iter(start..count)).find(|(_, sample)| presented(sample) >= until)
    });
    start..end.map_or(count, |(index, _)| index)
}

fn presented(sample: &Sample) -> i64 {
    sample.decode_time.saturating_add(sample.composition_offset.into())
}

/// Takes from a track of text what is shown in the clip: the first sample begins with it and the last ends with it, for a sample of
/// text says what is shown as long as it lasts (ISO/IEC 14496-30 §4). Of encrypted text, whose fragments must stay whole, that
/// begins in it. Empty if there is nothing.
fn of_text(track: &mut Track, cut: &Cut) -> Range<u32> {
    if track.is_protected() {
        return of_audio(track, cut);
    }
    let ticks = |time: MediaTime| time.to(track.timescale, Rounding::Up).saturating_add(track.media_time);
    let (from, until) = (cut.from.map_or(i64::MIN, ticks), cut.until.map_or(i64::MAX, ticks));
    let count = track.samples.len();
    let is_shown = |sample: &Sample| presented(sample) < until && presented(sample) + i64::from(sample.duration) > from;
    let shown =
        || (0..count).zip(track.samples.iter(0..count)).filter(|(_, sample)| is_shown(sample)).map(|(index, _)| index);
    let (Some(first), Some(last)) = (shown().next(), shown().last()) else { return 0..0 };
    let end = last + 1;
    let shortened = |_, mut sample: Sample| {
        let late = (from.saturating_sub(presented(&sample))).max(0);
        let ends_late = (presented(&sample) + i64::from(sample.duration)).saturating_sub(until).max(0);
        sample.decode_time += late;
        sample.duration = sample.duration.saturating_sub((late + ends_late) as u32);
        sample
    };
    let changed = |index: u32| track.samples.get(index) != shortened(index, track.samples.get(index));
    let (starts_late, ends_early) = (changed(first), changed(last));
    let samples = track.samples.slice(first..end, shortened);
    let mut fragments = Vec::with_capacity(track.fragments.len());
    for index in 0..track.fragments.len() {
        let whole = track.fragment_samples(index);
        let part = whole.start.max(first)..whole.end.min(end);
        if part.is_empty() {
            continue;
        }
        let mut fragment = track.fragments[index].clone();
        let is_as_it_was = part == whole && !(starts_late && part.start == first) && !(ends_early && part.end == end);
        fragment.intact = fragment.intact.filter(|_| is_as_it_was);
        fragment.first_sample = part.start - first;
        fragments.push(fragment);
    }
    (track.samples, track.fragments) = (samples, fragments);
    0..track.samples.len()
}

/// What of a track that is not video belongs to the clip.
pub fn of_others(track: &mut Track, cut: &Cut) -> Range<u32> {
    if track.kind == Kind::Text { of_text(track, cut) } else { of_audio(track, cut) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timescale;

    fn seconds(list: &[f64]) -> Vec<MediaTime> {
        list.iter().map(|s| MediaTime::new((s * 1000.0) as i64, Timescale::MILLI)).collect()
    }

    fn snapped(from: Option<f64>, until: Option<f64>) -> Result<(Option<f64>, Option<f64>), CutError> {
        let at = |point: Option<f64>| point.map(|s| seconds(&[s])[0]);
        let cut = Cut { from: at(from), until: at(until) };
        let syncs = seconds(&[1.0, 3.0, 5.0, 7.0]);
        let cut = cut.snapped(&syncs, seconds(&[8.5])[0], seconds(&[0.02])[0])?;
        Ok((cut.from.map(MediaTime::seconds), cut.until.map(MediaTime::seconds)))
    }

    #[test]
    fn both_points_mean_the_sync_point_at_or_before() {
        assert_eq!(snapped(Some(3.0), Some(5.0)), Ok((Some(3.0), Some(5.0))));
        assert_eq!(snapped(Some(4.9), Some(7.9)), Ok((Some(3.0), Some(7.0))));
        assert_eq!(snapped(None, None), Ok((None, None)));
        assert_eq!(snapped(Some(0.0), Some(100.0)), Ok((None, None)));
        assert_eq!(snapped(Some(2.0), Some(8.49)), Ok((None, None)), "the start and the end are no cuts");
    }

    #[test]
    fn a_time_written_in_milliseconds_fell_short_of_its_sync_point() {
        assert_eq!(snapped(Some(2.985), Some(4.981)), Ok((Some(3.0), Some(5.0))));
    }

    #[test]
    fn points_with_nothing_between_them() {
        let end = seconds(&[8.5])[0];
        assert_eq!(snapped(Some(8.5), None), Err(CutError::AfterEnd { end }));
        assert_eq!(snapped(Some(9.0), Some(12.0)), Err(CutError::AfterEnd { end }));
        assert_eq!(snapped(Some(3.2), Some(4.8)), Err(CutError::Empty { from: seconds(&[3.0])[0] }));
        assert_eq!(snapped(Some(5.0), Some(3.0)), Err(CutError::Empty { from: seconds(&[5.0])[0] }));
        assert_eq!(Cut::default().snapped(&[], end, MediaTime::ZERO), Err(CutError::NoTrack));
    }
}
