//! `wvtt` samples as WebVTT segments: players take no WebVTT in fragmented MP4 from HLS.
//!
//! A cue is one, though the track splits it over the samples that it lasts (ISO/IEC 14496-30 §7.1), and a segment has every cue
//! that it shows with its whole extent. So the samples around the segment may be needed: the caller starts with the segment's
//! own and is told what else to read.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use crate::formats::error::Malformed;
use crate::formats::isobmff::wvtt::{self, CueBox};
use crate::formats::webvtt::{self, Cue};
use crate::media::track::Track;
use crate::time::{MediaTime, Rounding, Timescale, rescale};

/// Segments that are looked at on each side of the one wanted. A cue that lasts longer is given the extent seen: at six
/// seconds a segment this is more than six minutes, and no reader needs longer.
const SEGMENTS_AROUND_MAX: usize = 64;

/// What a call leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A cue of the segment goes on beyond the window: call again with this one, which holds the last.
    Need(Range<u32>),
    /// The segment.
    Ready(Vec<u8>),
}

/// What is wrong with the samples.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextError {
    /// A sample's bytes are no cues.
    Sample {
        /// Index of the sample in its track.
        sample: u32,
        /// What is wrong; its offset counts from the sample's first byte.
        cause: Malformed,
    },
    /// The initialization segment has no readable `wvtt` entry.
    Init(Malformed),
    /// Not as many bytes as the samples of the window have.
    Length {
        /// What they have.
        expected: u64,
        /// What was given.
        given: u64,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Sample { sample, cause } => write!(f, "sample {sample}: {cause}"),
            TextError::Init(cause) => write!(f, "initialization segment: {cause}"),
            TextError::Length { expected, given } => write!(f, "{given} bytes of samples, {expected} expected"),
        }
    }
}

impl std::error::Error for TextError {}

/// A cue, and the samples that it lasts.
struct Extent<'a> {
    cue: CueBox<'a>,
    start: i64,
    end: i64,
    samples: Range<u32>,
}

/// WebVTT segment `index` of `track`, a `wvtt` track in the clear, where `data` holds all samples of `window` one after another.
/// Begin with `window = track.segment_samples(index)`; every [`Step::Need`] is larger, and there are at most six.
///
/// Cue times are presentation times, as those of the other tracks: X-TIMESTAMP-MAP maps each to itself, and says so of `origin`, where
/// the period begins. (Before it knows the media of a discontinuity, hls.js 1.7.4 takes a map of zero for one of where that begins.)
///
/// # Panics
/// If `window` is not within the track's samples.
pub fn webvtt_segment(
    track: &Track,
    origin: MediaTime,
    index: usize,
    window: Range<u32>,
    data: &[u8],
) -> Result<Step, TextError> {
    let (expected, given) = (track.samples.size(window.clone()), data.len() as u64);
    if expected != given {
        return Err(TextError::Length { expected, given });
    }
    let own = track.segment_samples(index);
    let mut extents = extents(track, window.clone(), data)?;
    extents.retain(|extent| extent.samples.start < own.end && extent.samples.end > own.start);

    let limit = limit(track, index);
    let goes_back = window.start > limit.start && extents.iter().any(|extent| extent.samples.start == window.start);
    let goes_on = window.end < limit.end && extents.iter().any(|extent| extent.samples.end == window.end);
    if goes_back || goes_on {
        return Ok(Step::Need(larger(track, index, window, goes_back, goes_on)));
    }

    extents.sort_by_key(|extent| (extent.start, extent.samples.start));
    let mut out = Vec::with_capacity(128 + 2 * data.len());
    let head = wvtt::head(&track.init).map_err(TextError::Init)?;
    let origin_ms = u64::try_from(origin.to(Timescale::MILLI, Rounding::Nearest)).unwrap_or(0);
    let map =
        format!("X-TIMESTAMP-MAP=MPEGTS:{},LOCAL:{}", origin_ms * 90 % (1 << 33), webvtt::written_time(origin_ms));
    webvtt::write_head(&mut out, &[&map], head);
    let ms =
        |ticks: i64| u64::try_from(rescale(ticks, track.timescale, Timescale::MILLI, Rounding::Nearest)).unwrap_or(0);
    for Extent { cue, start, end, .. } in extents {
        let CueBox { id, settings, payload, .. } = cue;
        webvtt::write_cue(&mut out, &Cue { id, start_ms: ms(start), end_ms: ms(end), settings, payload });
    }
    Ok(Step::Ready(out))
}

/// The cues of `window`, by first appearance. One goes on where the next sample, if it follows at once, has its equal: cues of
/// equal text without `vsid` that follow at once can't be told from one.
fn extents<'a>(track: &Track, window: Range<u32>, data: &'a [u8]) -> Result<Vec<Extent<'a>>, TextError> {
    let mut extents: Vec<Extent<'a>> = Vec::new();
    let mut open: HashMap<CueBox<'a>, usize> = HashMap::new();
    let mut rest = data;
    for (index, sample) in window.clone().zip(track.samples.iter(window)) {
        let (bytes, after) = rest.split_at(sample.size as usize);
        rest = after;
        let start = sample.decode_time + i64::from(sample.composition_offset) - track.media_time;
        let end = start + i64::from(sample.duration);
        let cues = wvtt::cues(bytes).map_err(|cause| TextError::Sample { sample: index, cause })?;
        let mut shown = HashMap::with_capacity(cues.len());
        for cue in cues.into_iter().filter(|cue| !cue.payload.is_empty()) {
            let at = match open.get(&cue).copied().filter(|&at| extents[at].end == start) {
                Some(at) => at,
                // Twice the same in one sample is one cue to a reader.
                None if shown.contains_key(&cue) => continue,
                None => {
                    extents.push(Extent { cue, start, end, samples: index..index });
                    extents.len() - 1
                }
            };
            (extents[at].end, extents[at].samples.end) = (end, index + 1);
            shown.insert(cue, at);
        }
        open = shown;
    }
    Ok(extents)
}

/// Samples of the segments that may be looked at for segment `index`.
fn limit(track: &Track, index: usize) -> Range<u32> {
    let last = (index + SEGMENTS_AROUND_MAX).min(track.segments.len() - 1);
    track.segment_samples(index.saturating_sub(SEGMENTS_AROUND_MAX)).start..track.segment_samples(last).end
}

/// `window`, twice as far from segment `index` on the sides asked for, within the limit; at least a segment more.
fn larger(track: &Track, index: usize, window: Range<u32>, back: bool, on: bool) -> Range<u32> {
    let holds =
        |sample: u32| track.segments.partition_point(|segment| segment.first_sample <= sample).saturating_sub(1);
    let limit = limit(track, index);
    let start = if back {
        let first = holds(window.start).min(index);
        let further = index.saturating_sub(2 * (index - first).max(1));
        // A window that begins within a segment is completed first.
        track.segment_samples(further.min(first)).start.max(limit.start)
    } else {
        window.start
    };
    let end = if on {
        let last = holds(window.end - 1).max(index);
        let further = (index + 2 * (last - index).max(1)).min(track.segments.len() - 1);
        track.segment_samples(further.max(last)).end.min(limit.end)
    } else {
        window.end
    };
    debug_assert!(
        start <= window.start && end >= window.end && (start..end) != window,
        "{start}..{end} after {window:?}"
    );
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::write_box;
    use crate::packager::fixture;
    use proptest::prelude::*;

    fn sample(cues: &[(Option<u32>, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (source_id, payload) in cues {
            write_box(&mut out, b"vttc", |out| {
                if let Some(id) = source_id {
                    write_box(out, b"vsid", |out| out.extend_from_slice(&id.to_be_bytes()));
                }
                write_box(out, b"payl", |out| out.extend_from_slice(payload.as_bytes()));
            });
        }
        if cues.is_empty() {
            write_box(&mut out, b"vtte", |_| {});
        }
        out
    }

    fn init() -> Vec<u8> {
        let mut entry = Vec::new();
        write_box(&mut entry, b"wvtt", |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            write_box(out, b"vttC", |out| out.extend_from_slice(b"WEBVTT\n\nSTYLE\n::cue {}"));
        });
        let stsd = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &entry].concat();
        [b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"].iter().fold(stsd, |payload, kind| {
            let mut out = Vec::new();
            write_box(&mut out, kind, |out| out.extend_from_slice(&payload));
            out
        })
    }

    /// A track of these segments of samples (milliseconds, bytes), and all its bytes.
    fn track(segments: &[Vec<(u32, Vec<u8>)>]) -> (Track, Vec<u8>) {
        let build = fixture::text("t", b"wvtt").with(|track| track.init = init().into());
        let sizes = |segment: &Vec<(u32, Vec<u8>)>| -> Vec<(u32, u32)> {
            segment.iter().map(|(ms, bytes)| (bytes.len() as u32, *ms)).collect()
        };
        let track = segments.iter().fold(build, |build, segment| build.segment(&sizes(segment))).done();
        (track, segments.iter().flatten().flat_map(|(_, bytes)| bytes.clone()).collect())
    }

    /// The segment, and how often more was needed.
    fn segment(track: &Track, data: &[u8], index: usize) -> (String, usize) {
        let mut window = track.segment_samples(index);
        for needs in 0.. {
            let bytes = track.samples.size(0..window.start) as usize..track.samples.size(0..window.end) as usize;
            match webvtt_segment(track, MediaTime::ZERO, index, window.clone(), &data[bytes]).expect("well formed") {
                Step::Ready(bytes) => return (String::from_utf8(bytes).expect("text"), needs),
                Step::Need(larger) => {
                    assert!(larger.start <= window.start && larger.end >= window.end && larger.len() > window.len());
                    window = larger;
                }
            }
        }
        unreachable!("windows end at the limit")
    }

    #[test]
    fn a_cue_over_samples_and_segments_is_one() {
        let both = [(None, "over there"), (None, "Hello,\nworld")];
        let (track, data) = track(&[
            vec![(2000, sample(&[])), (2000, sample(&both[..1])), (2000, sample(&both))],
            vec![(1500, sample(&both[1..])), (4500, sample(&[]))],
            vec![(6000, sample(&[]))],
        ]);
        let (first, needs) = segment(&track, &data, 0);
        assert_eq!(needs, 1);
        insta::assert_snapshot!(first, @"
        WEBVTT
        X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000

        STYLE
        ::cue {}

        00:00:02.000 --> 00:00:06.000
        over there

        00:00:04.000 --> 00:00:07.500
        Hello,
        world
        ");
        insta::assert_snapshot!(segment(&track, &data, 1).0, @"
        WEBVTT
        X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000

        STYLE
        ::cue {}

        00:00:04.000 --> 00:00:07.500
        Hello,
        world
        ");
        insta::assert_snapshot!(segment(&track, &data, 2).0, @"
        WEBVTT
        X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000

        STYLE
        ::cue {}
        ");
    }

    #[test]
    fn the_map_is_that_of_where_the_period_begins_in_33_bits() {
        let (track, data) = track(&[vec![(1000, sample(&[]))]]);
        let map = |seconds: i64| {
            let origin = MediaTime::new(seconds * 1000, Timescale::MILLI);
            let Ok(Step::Ready(text)) = webvtt_segment(&track, origin, 0, 0..1, &data) else { panic!("no segment") };
            String::from_utf8(text).expect("text").lines().nth(1).expect("a map").to_owned()
        };
        assert_eq!(map(8), "X-TIMESTAMP-MAP=MPEGTS:720000,LOCAL:00:00:08.000");
        assert_eq!(map(100_000), "X-TIMESTAMP-MAP=MPEGTS:410065408,LOCAL:27:46:40.000");
    }

    #[test]
    fn times_are_those_after_the_edit() {
        let (mut track, data) =
            track(&[vec![(1000, sample(&[])), (1000, sample(&[(None, "x")])), (1000, sample(&[]))]]);
        track.media_time = 500;
        assert!(segment(&track, &data, 0).0.ends_with("\n00:00:00.500 --> 00:00:01.500\nx\n"));
    }

    #[test]
    fn cues_of_another_source_are_another_cue() {
        let (track, data) =
            track(&[vec![(1000, sample(&[(Some(1), "x")])), (1000, sample(&[(Some(2), "x")])), (1000, sample(&[]))]]);
        let text = segment(&track, &data, 0).0;
        assert!(text.ends_with("\n00:00:00.000 --> 00:00:01.000\nx\n\n00:00:01.000 --> 00:00:02.000\nx\n"), "{text}");
    }

    #[test]
    fn a_cue_that_never_ends_is_looked_after_as_far_as_the_limit() {
        let segments = vec![vec![(1000, sample(&[(None, "logo")]))]; 200];
        let (track, data) = track(&segments);
        let (text, needs) = segment(&track, &data, 100);
        assert!(text.ends_with("\n00:00:36.000 --> 00:02:45.000\nlogo\n"), "{text}");
        assert_eq!(needs, 6);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (track, _) = track(&[vec![(1000, sample(&[])), (1000, b"\0\0\0\x09vttc".to_vec())]]);
        let data = [sample(&[]), b"\0\0\0\x09vttc".to_vec()].concat();
        let error = webvtt_segment(&track, MediaTime::ZERO, 0, 0..2, &data).expect_err("a box too long");
        assert_eq!(error.to_string(), "sample 1: a box of 9 bytes, 8 left in what holds it (vttc at 0x0)");
        let error = webvtt_segment(&track, MediaTime::ZERO, 0, 0..2, &data[1..]).expect_err("short");
        assert_eq!(error.to_string(), "15 bytes of samples, 16 expected");
    }

    proptest! {
        /// However a list of cues is cut into samples and segments, every segment shows exactly the cues that touch it, whole.
        #[test]
        fn every_cue_is_whole_in_every_segment_it_touches(
            cues in prop::collection::vec((0u32..200, 1u32..60), 0..20),
            cuts in prop::collection::btree_set(1u32..260, 0..12),
        ) {
            let cues: Vec<_> = cues.iter().map(|&(start, lasts)| (start, start + lasts)).collect();
            let end = 260;
            let mut edges: Vec<u32> = cues.iter().flat_map(|&(a, b)| [a, b]).chain(cuts.iter().copied()).chain([0, end]).collect();
            edges.sort_unstable();
            edges.dedup();
            let mut segments: Vec<Vec<(u32, Vec<u8>)>> = Vec::new();
            for pair in edges.windows(2) {
                let shown = cues.iter().enumerate().filter(|(_, cue)| cue.0 < pair[1] && cue.1 > pair[0]);
                let names: Vec<String> = shown.map(|(index, _)| format!("cue {index}")).collect();
                let shown: Vec<_> = names.iter().map(|name| (None, &name[..])).collect();
                if pair[0] == 0 || cuts.contains(&pair[0]) {
                    segments.push(Vec::new());
                }
                segments.last_mut().expect("the first edge is 0").push((pair[1] - pair[0], sample(&shown)));
            }
            let (track, data) = track(&segments);
            for (index, range) in track.segments.iter().enumerate() {
                let (text, _) = segment(&track, &data, index);
                let (from, to) = (range.time as u32, (range.time + range.duration) as u32);
                for (name, cue) in cues.iter().enumerate() {
                    let written = format!("\n00:00:00.{:03} --> 00:00:00.{:03}\ncue {name}\n", cue.0, cue.1);
                    prop_assert_eq!(text.matches(&written).count(), usize::from(cue.0 < to && cue.1 > from), "{} in {}", written, text);
                }
                let expected = cues.iter().filter(|cue| cue.0 < to && cue.1 > from).count();
                prop_assert_eq!(text.matches("-->").count(), expected);
            }
        }
    }
}
