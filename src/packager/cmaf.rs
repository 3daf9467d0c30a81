//! CMAF segments (ISO/IEC 23000-19 §7.3): fragments passed through as they came where they can be, rebuilt around the same
//! media where they must be.
//!
//! ```text
//!   source     [moof|mdat      ][moof|mdat      ][moof|mdat      ]
//!   segment            |<--------------------------->|
//!   plan       made moof|rest of mdat, the fragment as it is, made moof|begin of mdat
//! ```
//!
//! A fragment is rebuilt if the segment cuts it, if it came with other tracks, or if a player could not use it as it is (data
//! counted from elsewhere than its `moof`, no decode time, an initial delay to add). Neighbours that are rebuilt become one.

use std::ops::Range;

use bytes::Bytes;

use crate::formats::error::Malformed;
use crate::formats::isobmff::boxes::Boxes;
use crate::formats::isobmff::cenc::{self, CutProtection};
use crate::formats::isobmff::emsg::{VERSION_1_LONGER_BYTES, counts_from_segment, write_version_1};
use crate::formats::isobmff::fragment::{MovieFragment, NewFragment, RunSample, Shape, TrackFragment};
use crate::media::sample::{Sample, SourceRange};
use crate::media::track::{Fragment, Track};
use crate::media::trick::TrickFrame;
use crate::packager::plan::Plan;
use crate::time::{Rounding, rescale};

/// What comes of planning: more to read first, or the plan.
#[derive(Debug)]
pub enum Step {
    /// Read these, and ask again with them.
    Need(Vec<SourceRange>),
    /// Done.
    Ready(Plan),
}

/// How often planning asks at most: for the `moof` of what it cuts, then for auxiliary information that these point to.
pub const ROUNDS_MAX: usize = 2;

/// What was read for a plan so far.
#[derive(Clone, Debug, Default)]
pub struct Given(Vec<(SourceRange, Bytes)>);

impl Given {
    /// Adds the `bytes` of `ranges`, which follow one another.
    pub fn add(&mut self, ranges: Vec<SourceRange>, mut bytes: Bytes) {
        for range in ranges {
            let part = bytes.split_to(range.len() as usize);
            self.0.push((range, part));
        }
    }

    fn get(&self, range: &SourceRange) -> Option<&Bytes> {
        self.0.iter().find(|(have, _)| have == range).map(|(_, bytes)| bytes)
    }
}

/// A stretch of a segment.
enum Stretch<'a> {
    /// A fragment as it is.
    Intact {
        /// Its index.
        fragment: usize,
        /// Where it lies.
        range: &'a SourceRange,
    },
    /// Samples of consecutive fragments, to be put in one new fragment.
    Rebuilt {
        samples: Range<u32>,
        /// Indices of the fragments they come from.
        fragments: Range<usize>,
    },
}

/// Plans segment `index` of `track`.
///
/// Of clear tracks, and of fragments that pass as they are, the answer comes at once. The error says what is wrong with the
/// protection of a fragment.
pub fn segment(track: &Track, index: usize, given: &Given) -> Result<Step, Malformed> {
    let mut plan = Plan::default();
    let mut needs = Vec::new();
    for stretch in stretches(track, track.segment_samples(index)) {
        match stretch {
            Stretch::Intact { fragment, range } => match moved_events(track, index, fragment, range) {
                None => plan.source(range.clone()),
                Some((before, rest)) => match given.get(&before) {
                    None => needs.push(before),
                    Some(bytes) => {
                        plan.made(Bytes::from(timed_events(track, fragment, bytes, before.range.start)?));
                        plan.source(rest);
                    }
                },
            },
            Stretch::Rebuilt { samples, fragments } => {
                let Some(protection) = protection(track, samples.clone(), fragments.clone(), given, &mut needs)? else {
                    continue;
                };
                plan.made(Bytes::from(new_fragment(track, samples.clone(), fragments, protection).write()));
                for place in track.samples.places(samples) {
                    plan.source(place);
                }
            }
        }
    }
    Ok(if needs.is_empty() { Step::Ready(plan) } else { Step::Need(needs) })
}

/// Bytes of segment `index` of `track` as it is sent; of a protected fragment that is cut, what each sample has of its
/// protection is taken to be equal, since only reading would tell.
pub fn segment_len(track: &Track, index: usize) -> u64 {
    let len = |stretch: Stretch<'_>| match stretch {
        Stretch::Intact { fragment, range } => {
            let moved = moved_events(track, index, fragment, range).is_some();
            let events = if moved { u64::from(track.fragments[fragment].relative_events) } else { 0 };
            range.len() + events * VERSION_1_LONGER_BYTES
        }
        Stretch::Rebuilt { samples, fragments } => {
            let whole: u64 = fragments.clone().map(|index| u64::from(track.fragments[index].protection_bytes)).sum();
            let count = fragments.clone().map(|index| track.fragment_samples(index).len() as u64).sum::<u64>().max(1);
            let protection = (whole * samples.len() as u64).div_ceil(count);
            protection + Shape::of(track.samples.iter(samples).map(run_sample)).len()
        }
    };
    stretches(track, track.segment_samples(index)).map(len).sum()
}

/// What lies before the `moof` of `fragment`, and the rest of it, if there are event messages whose time counts from where their segment
/// begins (ISO/IEC 23009-1 §5.10.3.3), and segment `index` begins elsewhere.
fn moved_events(
    track: &Track,
    index: usize,
    fragment: usize,
    range: &SourceRange,
) -> Option<(SourceRange, SourceRange)> {
    let Fragment { first_sample, relative_events, moof, .. } = &track.fragments[fragment];
    if *relative_events == 0 || *first_sample == track.segment_samples(index).start {
        return None;
    }
    let moof = moof.as_ref()?.range.start;
    let before = SourceRange { file: range.file, range: range.range.start..moof };
    let rest = SourceRange { file: range.file, range: moof..range.range.end };
    (before.len() <= EVENT_BYTES_MAX).then_some((before, rest))
}

/// The most bytes before a `moof` that are read for its event messages: what is longer stays as it is.
const EVENT_BYTES_MAX: u64 = 1 << 20;

/// The boxes in `bytes`, from `offset` of their file on, which come before the `moof` of `fragment`; messages that count from where it begins
/// say so.
fn timed_events(track: &Track, fragment: usize, bytes: &[u8], offset: u64) -> Result<Vec<u8>, Malformed> {
    let begins = track.samples.presented(track.fragment_samples(fragment)).start - track.media_time;
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let mut left = track.fragments[fragment].relative_events;
    for found in Boxes::new(bytes, offset) {
        let found = found?;
        if left > 0 && found.kind.0 == *b"emsg" && counts_from_segment(found) {
            left -= 1;
            write_version_1(&mut out, found, |timescale| {
                rescale(begins, track.timescale, timescale, Rounding::Nearest)
            })?;
        } else {
            out.extend_from_slice(found.bytes());
        }
    }
    Ok(out)
}

/// Plans the segment of `frame` of `track` alone: a fragment of its own, which lasts until the next one is shown.
pub fn trick(track: &Track, frame: &TrickFrame, given: &Given) -> Result<Step, Malformed> {
    let samples = frame.sample..frame.sample + 1;
    let fragments = fragment_of(track, frame.sample);
    let mut needs = Vec::new();
    let Some(protection) = protection(track, samples.clone(), fragments.clone(), given, &mut needs)? else {
        return Ok(Step::Need(needs));
    };
    let mut fragment = new_fragment(track, samples.clone(), fragments, protection);
    fragment.sequence_number = samples.end;
    fragment.samples = vec![trick_sample(track, frame)];
    let mut plan = Plan::default();
    plan.made(Bytes::from(fragment.write()));
    track.samples.places(samples).into_iter().for_each(|place| plan.source(place));
    Ok(Step::Ready(plan))
}

/// Bytes of the segment of `frame` of `track`; of a protected one, what each sample of its fragment has of the protection is
/// taken to be equal, since only reading would tell.
pub fn trick_len(track: &Track, frame: &TrickFrame) -> u64 {
    let clear = Shape::of(std::iter::once(trick_sample(track, frame))).len();
    if !track.is_protected() {
        return clear;
    }
    let fragment = fragment_of(track, frame.sample).start;
    let whole = u64::from(track.fragments[fragment].protection_bytes);
    let share = whole.div_ceil(track.fragment_samples(fragment).len().max(1) as u64);
    (share + PROTECTION_BOXES_BYTES).min(whole) + clear
}

/// `senc`, `saiz` and `saio` of one sample, without what it has in `senc`.
const PROTECTION_BOXES_BYTES: u64 = 53;

fn trick_sample(track: &Track, frame: &TrickFrame) -> RunSample {
    let duration = u32::try_from(frame.duration).unwrap_or(u32::MAX);
    RunSample { duration, ..run_sample(track.samples.get(frame.sample)) }
}

/// The fragment that `sample` came in, as a range of indices.
fn fragment_of(track: &Track, sample: u32) -> Range<usize> {
    let index = track.fragments.partition_point(|fragment| fragment.first_sample <= sample).saturating_sub(1);
    index..index + 1
}

fn stretches(track: &Track, samples: Range<u32>) -> impl Iterator<Item = Stretch<'_>> {
    let mut next = track.fragments.partition_point(|f| f.first_sample <= samples.start).saturating_sub(1);
    // What of fragment `index` belongs to `samples`; and its bytes, if it passes as it is.
    let part = move |index: usize| {
        let fragment = track.fragments.get(index)?;
        let whole = track.fragment_samples(index);
        let part = whole.start.max(samples.start)..whole.end.min(samples.end);
        let intact = fragment.intact.as_ref().filter(|_| part == whole);
        (!part.is_empty()).then_some((part, intact))
    };
    std::iter::from_fn(move || {
        let first = next;
        let (mut samples, intact) = part(first)?;
        next += 1;
        if let Some(range) = intact {
            return Some(Stretch::Intact { fragment: first, range });
        }
        while let Some((more, None)) = part(next).filter(|(more, _)| continues(track, first, next, more.start)) {
            samples.end = more.end;
            next += 1;
        }
        Some(Stretch::Rebuilt { samples, fragments: first..next })
    })
}

/// Whether the samples from `sample` on, of fragment `index`, may join a new fragment that began in fragment `first`.
fn continues(track: &Track, first: usize, index: usize, sample: u32) -> bool {
    let before = track.samples.get(sample - 1);
    let follows = before.decode_time + i64::from(before.duration) == track.samples.decode_time(sample);
    let alike = track.fragments[first].description_index == track.fragments[index].description_index;
    // Keys may change with every fragment, and groups are numbered in each.
    follows && alike && track.entry.protection.is_none()
}

fn new_fragment(track: &Track, samples: Range<u32>, fragments: Range<usize>, protection: CutProtection) -> NewFragment {
    let fragment = &track.fragments[fragments.start];
    NewFragment {
        // Samples of the moov come in no fragment that had a number; theirs rise with them (ISO/IEC 14496-12 §8.8.5.3).
        sequence_number: if fragment.moof.is_some() { fragment.sequence_number } else { samples.start + 1 },
        track_id: track.id,
        description_index: fragment.description_index,
        base_media_decode_time: u64::try_from(track.samples.decode_time(samples.start)).unwrap_or(0),
        samples: track.samples.iter(samples).map(run_sample).collect(),
        groups: protection.groups,
        encryption: protection.encryption,
        pssh: protection.pssh,
    }
}

fn run_sample(sample: Sample) -> RunSample {
    let Sample { duration, size, composition_offset, flags, .. } = sample;
    RunSample { duration, size, flags: flags.0, composition_offset }
}

/// What `samples` keep of the protection of the fragment they are cut from; `None` if something must be read for it first.
fn protection(
    track: &Track,
    samples: Range<u32>,
    fragments: Range<usize>,
    given: &Given,
    needs: &mut Vec<SourceRange>,
) -> Result<Option<CutProtection>, Malformed> {
    let (Some(default), Some(place)) = (&track.entry.protection, &track.fragments[fragments.start].moof) else {
        return Ok(Some(CutProtection::default()));
    };
    let Some(bytes) = given.get(place) else {
        needs.push(place.clone());
        return Ok(None);
    };
    let moof = Boxes::new(bytes, place.range.start)
        .next()
        .unwrap_or_else(|| Err(Malformed::new("no moof", place.range.start)))?;
    let moof = MovieFragment::parse(moof)?;
    let whole = track.fragment_samples(fragments.start);
    let count = whole.end - whole.start;
    // A track may have several trafs in one moof (ISO/IEC 14496-12 §8.8.6).
    let traf = moof.trafs.get(track.fragments[fragments.start].traf as usize);
    let Some(traf) = traf.filter(|traf| traf.track_id == track.id && sample_count(traf) == count) else {
        let what = format!("the {count} samples that were in the fragment when it was opened are not there");
        return Err(Malformed::new(what, place.range.start));
    };
    let runs: Vec<u32> = traf.runs.iter().map(|run| run.sample_count).collect();
    let ranges = cenc::auxiliary_ranges(&traf.protection, &runs, data_base(track, whole.clone(), traf))?;
    let ranges: Vec<SourceRange> = ranges.into_iter().map(|range| SourceRange { file: place.file, range }).collect();
    let missing = needs.len();
    needs.extend(ranges.iter().filter(|range| given.get(range).is_none()).cloned());
    if needs.len() > missing {
        return Ok(None);
    }
    let auxiliary: Vec<u8> = ranges.iter().filter_map(|range| given.get(range)).flatten().copied().collect();
    let auxiliary = (!ranges.is_empty()).then_some(&auxiliary[..]);
    let within = samples.start - whole.start..samples.end - whole.start;
    let mut cut = cenc::cut(&traf.protection, default, auxiliary, within, count)?;
    cut.pssh = moof.pssh.iter().map(|pssh| pssh.to_vec()).collect();
    Ok(Some(cut))
}

/// Where the data_offsets of `traf`, which has `samples`, count from (ISO/IEC 14496-12 §8.8.7.1): found from where these lie,
/// since the base may be where the data of another track end.
fn data_base(track: &Track, samples: Range<u32>, traf: &TrackFragment<'_>) -> u64 {
    let mut offset = 0;
    for run in &traf.runs {
        offset = run.data_offset.unwrap_or(offset);
        if run.sample_count > 0 {
            break;
        }
    }
    let data = track.samples.places(samples);
    data.first().map_or(0, |place| place.range.start).saturating_add_signed(-i64::from(offset))
}

fn sample_count(traf: &TrackFragment<'_>) -> u32 {
    traf.runs.iter().map(|run| run.sample_count).sum()
}
