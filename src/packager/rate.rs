//! Bit rates, measured on the segments as they are sent.

use std::collections::BTreeMap;

use crate::media::presentation::{Presentation, rounded_s};
use crate::media::timeline::{self, Run};
use crate::media::track::{Segment, Track, Version};
use crate::media::trick;
use crate::packager::cmaf;
use crate::time::{Rounding, Timescale};

/// How much of a connection a track takes, in bits a second, rounded up; both count everything a segment consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// The largest bit rate of contiguous segments that together last 0.5 to 1.5 target durations (rfc8216bis §4.4.6.2, "peak
    /// segment bit rate"); never below the average.
    pub peak: u64,
    /// All bits over the whole duration.
    pub average: u64,
}

/// The pictures by which a track is gone through quickly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trick {
    /// What they take, each of them shown as long as what it stands for.
    pub rate: Rate,
    /// How many they are, at least two.
    pub pictures: u64,
    /// When they are shown.
    pub shown: Box<[Run]>,
}

/// The rates of all tracks of a presentation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    by_name: BTreeMap<String, Vec<Measured>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Measured {
    version: Version,
    rate: Rate,
    trick: Option<Trick>,
}

impl Rates {
    /// The rate of `track`.
    ///
    /// # Panics
    /// If the presentation that was measured has no such track.
    pub fn of(&self, track: &Track) -> Rate {
        self.measured(track).rate
    }

    /// The pictures by which `track` is gone through quickly; `None` if that is not offered.
    ///
    /// # Panics
    /// If the presentation that was measured has no such track.
    pub fn of_trick(&self, track: &Track) -> Option<&Trick> {
        self.measured(track).trick.as_ref()
    }

    /// Bytes of memory it keeps, besides some for each track.
    pub fn weight(&self) -> usize {
        let tricks = self.by_name.values().flatten().filter_map(|measured| measured.trick.as_ref());
        tricks.map(|trick| size_of_val(&trick.shown[..])).sum()
    }

    fn measured(&self, track: &Track) -> &Measured {
        let versions = self.by_name.get(&track.name).map_or(&[][..], |versions| versions);
        let found = versions.iter().find(|measured| measured.version == track.version);
        found.expect("rates are those of the presentation whose tracks are asked for")
    }
}

/// Those of the tracks of a broadcast: what of each was measured so far, as (peak, average).
pub fn so_far<'a>(tracks: impl Iterator<Item = (&'a Track, (u64, u64))>) -> Rates {
    let mut rates = Rates::default();
    for (track, (peak, average)) in tracks {
        let rate = Rate { peak: peak.max(average), average };
        let measured = Measured { version: track.version, rate, trick: None };
        rates.by_name.entry(track.name.clone()).or_default().push(measured);
    }
    rates
}

/// Measures every track. Costs a look at every segment, so its result is kept.
pub fn measure(presentation: &Presentation) -> Rates {
    let target = presentation.target_duration_s();
    let mut rates = Rates::default();
    for track in presentation.tracks() {
        let (rate, trick) = (of_sequence(&[track], target), of_pictures(track));
        rates.by_name.entry(track.name.clone()).or_default().push(Measured { version: track.version, rate, trick });
    }
    rates
}

/// How many segments the target duration spans at most where it matters: more are those of a file with one very long segment.
const WINDOW_SEGMENTS_MAX: usize = 256;

/// The rate of `tracks` that play one after another, where the target duration is `target_s` seconds.
pub(crate) fn of_sequence(tracks: &[&Track], target_s: u64) -> Rate {
    let common = common_timescale(tracks);
    let of_track = |track: &Track| -> Vec<(u64, u64)> {
        let ticks = |segment: &Segment| track.time(segment.duration).to(common, Rounding::Down);
        (track.segments.iter().enumerate())
            .map(|(index, segment)| (cmaf::segment_len(track, index), u64::try_from(ticks(segment)).unwrap_or(0)))
            .collect()
    };
    let segments: Vec<(u64, u64)> = tracks.iter().flat_map(|track| of_track(track)).collect();
    of_segments(&segments, common, target_s)
}

/// Those of `track`.
fn of_pictures(track: &Track) -> Option<Trick> {
    let (rate, pictures) = of_trick_sequence(&[track])?;
    let shown = timeline::runs(trick::frames(track).map(|frame| (frame.time, frame.duration))).collect();
    Some(Trick { rate, pictures, shown })
}

/// The most pictures that trick play is offered of: two every second for a day and a half. A list of them is several megabytes, and
/// a file can claim by a few bytes that every other one of its millions of samples is a sync sample.
const PICTURES_MAX: usize = 1 << 18;

/// What the pictures take by which `tracks`, which play one after another, are gone through quickly. `None` if that is not
/// offered: there are not several, or too many, a track has none, or they are all that there is, and the tracks their own trick play.
pub(crate) fn of_trick_sequence(tracks: &[&Track]) -> Option<(Rate, u64)> {
    let common = common_timescale(tracks);
    let (mut segments, mut target_s, mut all) = (Vec::new(), 1, 0);
    for track in tracks {
        let before = segments.len();
        for frame in trick::frames(track) {
            if segments.len() == PICTURES_MAX {
                return None;
            }
            let duration = track.time(frame.duration);
            let ticks = u64::try_from(duration.to(common, Rounding::Down)).unwrap_or(0);
            segments.push((cmaf::trick_len(track, &frame), ticks));
            target_s = target_s.max(rounded_s(duration));
        }
        if segments.len() == before {
            return None;
        }
        all += u64::from(trick::played_samples(track));
    }
    let pictures = segments.len() as u64;
    (1 < pictures && pictures < all).then(|| (of_segments(&segments, common, target_s), pictures))
}

/// That of `tracks`; of several, nanoseconds.
fn common_timescale(tracks: &[&Track]) -> Timescale {
    let own = tracks.first().map_or(Timescale::NANO, |track| track.timescale);
    if tracks.iter().all(|track| track.timescale == own) { own } else { Timescale::NANO }
}

/// The rate of `segments`, (bytes, ticks) each, that play one after another.
fn of_segments(segments: &[(u64, u64)], timescale: Timescale, target_s: u64) -> Rate {
    let timescale = u128::from(timescale.get());
    let bits_a_second = |bytes: u64, ticks: u64| -> u64 {
        let bits = u128::from(bytes) * 8 * timescale;
        u64::try_from(bits.div_ceil(u128::from(ticks.max(1)))).unwrap_or(u64::MAX)
    };
    let (bytes, ticks) = segments.iter().fold((0, 0), |(b, t), (bytes, ticks)| (b + bytes, t + ticks));
    let average = bits_a_second(bytes, ticks);

    let target = u128::from(target_s) * timescale;
    let mut peak = None;
    for first in 0..segments.len() {
        let (mut bytes, mut ticks) = (0, 0);
        for &(segment_bytes, segment_ticks) in segments[first..].iter().take(WINDOW_SEGMENTS_MAX) {
            (bytes, ticks) = (bytes + segment_bytes, ticks + segment_ticks);
            if u128::from(ticks) * 2 > target * 3 {
                break;
            }
            if u128::from(ticks) * 2 >= target {
                peak = peak.max(Some(bits_a_second(bytes, ticks)));
            }
        }
    }
    // Only segments beyond 1.5 target durations (text may have them), or less than half of one in all.
    let longest = || {
        segments.iter().filter(|(_, ticks)| u128::from(*ticks) * 2 >= target).map(|&(b, t)| bits_a_second(b, t)).max()
    };
    Rate { peak: peak.or_else(longest).unwrap_or(0).max(average), average }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packager::fixture;

    /// Segments of (bytes, ticks at 1000 Hz) in a period whose longest segment elsewhere lasts `target_s`.
    fn measured(segments: &[(u32, u32)], target_s: u32) -> Rate {
        let track = fixture::audio("a").timescale(1000).cut(segments).done();
        let long = fixture::audio("long").timescale(1000).cut(&[(1, target_s * 1000)]).done();
        let presentation = fixture::presentation(vec![fixture::set(vec![track]), fixture::set(vec![long])]);
        measure(&presentation).of(presentation.track("a").expect("there").1)
    }

    #[test]
    fn peak_is_that_of_the_busiest_stretch() {
        assert_eq!(measured(&[(1000, 4000), (3000, 4000), (2000, 4000)], 4), Rate { peak: 6000, average: 4000 });
    }

    #[test]
    fn a_short_last_segment_counts_only_with_its_neighbours() {
        // 0.1 s at 80 kbit/s is no peak; with the 4 s before it, it is one: (2000 + 1000) * 8 / 4.1
        assert_eq!(measured(&[(1000, 4000), (2000, 4000), (1000, 100)], 4), Rate { peak: 5854, average: 3951 });
    }

    #[test]
    fn trick_play_of_more_pictures_than_a_list_may_name_is_not_offered() {
        let track = |pictures: usize| {
            (0..pictures).fold(fixture::video("v"), |build, _| build.segment(&[(10, 2), (1, 2)])).done()
        };
        let (most, more) = (track(PICTURES_MAX), track(PICTURES_MAX + 1));
        assert_eq!(of_trick_sequence(&[&most]).map(|(_, pictures)| pictures), Some(PICTURES_MAX as u64));
        assert_eq!(of_trick_sequence(&[&more]), None);
    }

    #[test]
    fn a_track_of_short_segments_only_has_a_rate() {
        assert_eq!(measured(&[(1000, 500)], 4), Rate { peak: 16_000, average: 16_000 });
        assert_eq!(measured(&[(100, 1000), (400, 1000), (100, 1000)], 4), Rate { peak: 2000, average: 1600 });
    }

    #[test]
    fn segments_beyond_the_target_have_a_rate() {
        assert_eq!(measured(&[(1000, 10_000), (4000, 10_000)], 4).average, 2000);
        let text = fixture::text("t", b"wvtt").timescale(1000).cut(&[(1000, 10_000), (4000, 10_000)]).done();
        let video = fixture::video("v").timescale(1000).cut(&[(1, 4000)]).done();
        let presentation = fixture::presentation(vec![fixture::set(vec![video]), fixture::set(vec![text])]);
        assert_eq!(
            measure(&presentation).of(presentation.track("t").expect("there").1),
            Rate { peak: 3200, average: 2000 }
        );
    }

    #[test]
    fn target_is_what_no_written_duration_rounds_above() {
        let target = |ticks: u32, timescale: u32| {
            let track = fixture::video("v").timescale(timescale).cut(&[(1, ticks)]).done();
            fixture::presentation(vec![fixture::set(vec![track])]).target_duration_s()
        };
        assert_eq!(target(6000, 1000), 6);
        assert_eq!(target(6499, 1000), 6);
        assert_eq!(target(6500, 1000), 7);
        assert_eq!(target(64_999_999, 10_000_000), 7, "6.4999999 s is written as 6.500000");
        assert_eq!(target(10, 1000), 1);
    }
}
