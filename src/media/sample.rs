//! The samples of a track: times, sizes, flags and places, a few bytes each.
//!
//! Progressive and fragmented sources fill the same table. What repeats is stored as runs; a sample costs 4 bytes for its
//! size and 4 for its composition offset, if the track has any.

use std::ops::Range;

use crate::formats::isobmff::sample_tables::Listed;

/// Sample flags as ISO/IEC 14496-12 §8.8.3.1 packs them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SampleFlags(pub u32);

impl SampleFlags {
    /// A sync sample on which nothing else depends being known: `sample_depends_on` = 2.
    pub const SYNC: SampleFlags = SampleFlags(0x0200_0000);
    /// Not a sync sample: `sample_depends_on` = 1, `sample_is_non_sync_sample`.
    pub const NON_SYNC: SampleFlags = SampleFlags(0x0101_0000);

    /// Whether decoding may start here.
    pub fn is_sync(self) -> bool {
        self.0 & 0x0001_0000 == 0
    }
}

/// Where bytes lie: a range of one of the presentation's source files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceRange {
    /// Index into the files of the source.
    pub file: u32,
    /// Bytes of that file.
    pub range: Range<u64>,
}

impl SourceRange {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

/// One access unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Decode time in ticks of the track, edits not applied.
    pub decode_time: i64,
    /// Ticks until the next sample is decoded.
    pub duration: u32,
    /// Composition time less decode time, in ticks.
    pub composition_offset: i32,
    /// Bytes.
    pub size: u32,
    /// Dependency and sync.
    pub flags: SampleFlags,
}

#[derive(Clone, Copy, Debug)]
struct TimeRun {
    first: u32,
    decode_time: i64,
    duration: u32,
}

#[derive(Clone, Copy, Debug)]
struct FlagRun {
    first: u32,
    flags: SampleFlags,
}

/// Samples whose bytes follow each other in a source file.
#[derive(Clone, Copy, Debug)]
struct ByteRun {
    first: u32,
    file: u32,
    offset: u64,
}

/// All samples of a track, in decode order.
#[derive(Clone, Debug, Default)]
pub struct SampleTable {
    times: Vec<TimeRun>,
    sizes: Vec<u32>,
    /// Empty while every offset is zero.
    composition_offsets: Vec<i32>,
    flags: Vec<FlagRun>,
    bytes: Vec<ByteRun>,
    end: i64,
    next_byte: Option<(u32, u64)>,
}

impl SampleTable {
    /// Number of samples.
    pub fn len(&self) -> u32 {
        self.sizes.len() as u32
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The decode time at which the last sample ends, in ticks; 0 of an empty table.
    pub fn end(&self) -> i64 {
        self.end
    }

    /// Bytes of memory that the table keeps.
    pub fn weight(&self) -> usize {
        self.times.capacity() * size_of::<TimeRun>()
            + self.sizes.capacity() * 4
            + self.composition_offsets.capacity() * 4
            + self.flags.capacity() * size_of::<FlagRun>()
            + self.bytes.capacity() * size_of::<ByteRun>()
    }

    /// Appends a sample whose bytes begin at `offset` of source file `file`.
    ///
    /// # Panics
    /// Beyond `u32::MAX` samples; readers bound their number first.
    pub fn push(&mut self, sample: Sample, file: u32, offset: u64) {
        self.extend([sample], file, offset);
    }

    /// Appends samples whose bytes follow one another from `offset` of source file `file` on.
    ///
    /// # Panics
    /// Beyond `u32::MAX` samples; readers bound their number first.
    pub fn extend(&mut self, samples: impl IntoIterator<Item = Sample>, file: u32, offset: u64) {
        let first = self.sizes.len();
        let mut duration = self.times.last().map(|run| run.duration);
        let mut flags = self.flags.last().map(|run| run.flags);
        let mut bytes = 0;
        for sample in samples {
            let index = u32::try_from(self.sizes.len()).expect("readers bound the samples of a track");
            if sample.decode_time != self.end || duration != Some(sample.duration) {
                duration = Some(sample.duration);
                self.times.push(TimeRun { first: index, decode_time: sample.decode_time, duration: sample.duration });
            }
            if flags != Some(sample.flags) {
                flags = Some(sample.flags);
                self.flags.push(FlagRun { first: index, flags: sample.flags });
            }
            if sample.composition_offset != 0 || !self.composition_offsets.is_empty() {
                if self.composition_offsets.is_empty() {
                    self.composition_offsets.resize(index as usize, 0);
                }
                self.composition_offsets.push(sample.composition_offset);
            }
            self.sizes.push(sample.size);
            self.end = sample.decode_time.saturating_add(sample.duration.into());
            bytes += u64::from(sample.size);
        }
        if self.sizes.len() > first {
            if self.next_byte != Some((file, offset)) {
                self.bytes.push(ByteRun { first: first as u32, file, offset });
            }
            self.next_byte = Some((file, offset + bytes));
        }
    }

    /// The samples that a `moov` lists: the first is decoded at `decode_time`, and their bytes lie in source file `file`.
    pub fn of_listed(listed: Listed, file: u32, decode_time: i64) -> SampleTable {
        let Listed { sizes, durations, composition_offsets, flags, stretches, .. } = listed;
        let (mut first, mut end) = (0, decode_time);
        let mut times = Vec::with_capacity(durations.len());
        for (count, duration) in durations {
            times.push(TimeRun { first, decode_time: end, duration });
            first += count;
            end = end.saturating_add(i64::from(count) * i64::from(duration));
        }
        debug_assert_eq!(first as usize, sizes.len());
        SampleTable {
            times,
            sizes,
            composition_offsets,
            flags: flags.into_iter().map(|(first, flags)| FlagRun { first, flags: SampleFlags(flags) }).collect(),
            next_byte: stretches.last().map(|last| (file, last.bytes.end)),
            // Into memory of its own, which is of the right length: that of the stretches would be half as long again.
            bytes: (stretches.iter())
                .map(|stretch| ByteRun { first: stretch.first_sample, file, offset: stretch.bytes.start })
                .collect(),
            end,
        }
    }

    /// A table of the samples in `range`, each as `change` (given its index here) makes it; where its bytes lie stays.
    ///
    /// # Panics
    /// Past the end.
    pub fn slice(&self, range: Range<u32>, mut change: impl FnMut(u32, Sample) -> Sample) -> SampleTable {
        let mut table = SampleTable::default();
        let mut run = self.bytes.partition_point(|run| run.first <= range.start).saturating_sub(1);
        let mut index = range.start;
        while index < range.end {
            let ByteRun { first, file, offset } = self.bytes[run];
            let end = self.bytes.get(run + 1).map_or(self.len(), |next| next.first).min(range.end);
            let samples = (index..end).zip(self.iter(index..end)).map(|(index, sample)| change(index, sample));
            table.extend(samples, file, offset + self.size(first..index));
            index = end;
            run += 1;
        }
        table.shrink_to_fit();
        table
    }

    /// Gives back memory that growing reserved.
    pub fn shrink_to_fit(&mut self) {
        self.times.shrink_to_fit();
        self.sizes.shrink_to_fit();
        self.composition_offsets.shrink_to_fit();
        self.flags.shrink_to_fit();
        self.bytes.shrink_to_fit();
    }

    /// Sample `index`.
    ///
    /// # Panics
    /// Past the end.
    pub fn get(&self, index: u32) -> Sample {
        self.iter(index..index + 1).next().expect("the index is below len()")
    }

    /// Sizes in bytes of the samples in `range`.
    pub fn sizes(&self, range: Range<u32>) -> &[u32] {
        &self.sizes[range.start as usize..range.end as usize]
    }

    /// Bytes of all samples in `range`.
    pub fn size(&self, range: Range<u32>) -> u64 {
        self.sizes(range).iter().map(|&size| u64::from(size)).sum()
    }

    /// Whether any sample of the track is presented at another time than it is decoded.
    pub fn has_composition_offsets(&self) -> bool {
        !self.composition_offsets.is_empty()
    }

    /// Decode time of sample `index`; of `len()`, the end.
    pub fn decode_time(&self, index: u32) -> i64 {
        if index >= self.len() {
            return self.end;
        }
        let run = self.times[self.times.partition_point(|run| run.first <= index) - 1];
        run.decode_time + i64::from(run.duration) * i64::from(index - run.first)
    }

    /// The samples of `range`, in decode order.
    pub fn iter(&self, range: Range<u32>) -> impl Iterator<Item = Sample> + '_ {
        assert!(range.end <= self.len(), "samples {range:?} of {}", self.len());
        let mut time = self.times.partition_point(|run| run.first <= range.start).saturating_sub(1);
        let mut flag = self.flags.partition_point(|run| run.first <= range.start).saturating_sub(1);
        range.map(move |index| {
            time += usize::from(self.times.get(time + 1).is_some_and(|run| run.first <= index));
            flag += usize::from(self.flags.get(flag + 1).is_some_and(|run| run.first <= index));
            let run = self.times[time];
            Sample {
                decode_time: run.decode_time + i64::from(run.duration) * i64::from(index - run.first),
                duration: run.duration,
                composition_offset: self.composition_offset(index),
                size: self.sizes[index as usize],
                flags: self.flags[flag].flags,
            }
        })
    }

    /// When the first of the samples in `range` is presented and when the last of them has been, in ticks, edits not applied.
    ///
    /// # Panics
    /// If the range is empty, or runs past the end.
    pub fn presented(&self, range: Range<u32>) -> Range<i64> {
        assert!(!range.is_empty() && range.end <= self.len(), "samples {range:?} of {}", self.len());
        let (mut earliest, mut latest) = (i64::MAX, i64::MIN);
        let mut index = range.start;
        for (run, until) in self.time_runs(range) {
            let duration = i64::from(run.duration);
            let start = run.decode_time + duration * i64::from(index - run.first);
            let end = start + duration * i64::from(until - index);
            // Of one duration: the extremes are those of `k * duration + offset`.
            let offsets = self.composition_offsets.get(index as usize..until as usize).unwrap_or(&[]);
            let times = offsets.iter().zip(0..).map(|(&offset, k)| start + duration * k + i64::from(offset));
            let (first, last) = match offsets {
                [] => (start, end - duration),
                _ => times.fold((i64::MAX, i64::MIN), |(first, last), time| (first.min(time), last.max(time))),
            };
            (earliest, latest) = (earliest.min(first), latest.max(last + duration));
            index = until;
        }
        earliest..latest
    }

    /// The runs of equal durations that `range` touches, each with where it ends within the range.
    fn time_runs(&self, range: Range<u32>) -> impl Iterator<Item = (TimeRun, u32)> + '_ {
        let first = self.times.partition_point(|run| run.first <= range.start).saturating_sub(1);
        let ends = self.times[first..].iter().skip(1).map(|run| run.first).chain([self.len()]);
        let runs = self.times[first..].iter().zip(ends).take_while(move |(run, _)| run.first < range.end);
        runs.map(move |(run, end)| (*run, end.min(range.end)))
    }

    /// Whether every sample is a sync sample.
    pub fn all_sync(&self) -> bool {
        self.flags.iter().all(|run| run.flags.is_sync())
    }

    /// Makes every sample a sync sample, if none is. Returns whether it did.
    pub fn make_sync_if_none_is(&mut self) -> bool {
        let none = !self.flags.is_empty() && self.flags.iter().all(|run| !run.flags.is_sync());
        if none {
            self.flags = vec![FlagRun { first: 0, flags: SampleFlags::SYNC }];
        }
        none
    }

    /// Indices of the sync samples, ascending, each with its composition time in ticks: decode time and offset.
    pub fn syncs(&self) -> impl Iterator<Item = (u32, i64)> + '_ {
        let ends = self.flags.iter().skip(1).map(|run| run.first).chain([self.len()]);
        let syncs = self.flags.iter().zip(ends).filter(|(run, _)| run.flags.is_sync());
        let mut time = 0;
        syncs.flat_map(|(run, end)| run.first..end).map(move |index| {
            time += self.times[time + 1..].iter().take_while(|run| run.first <= index).count();
            let run = self.times[time];
            let decode_time = run.decode_time + i64::from(run.duration) * i64::from(index - run.first);
            (index, decode_time.saturating_add(self.composition_offset(index).into()))
        })
    }

    /// The first sync sample from `index` on whose composition time is `time` or later, and that time, in ticks.
    pub fn sync_from(&self, index: u32, time: i64) -> Option<(u32, i64)> {
        let flag = self.flags.partition_point(|run| run.first <= index).saturating_sub(1);
        let ends = self.flags[flag..].iter().skip(1).map(|run| run.first).chain([self.len()]);
        let syncs = self.flags[flag..].iter().zip(ends).filter(|(run, _)| run.flags.is_sync());
        syncs.map(|(run, end)| run.first.max(index)..end).find_map(|range| self.composed_from(range, time))
    }

    /// The first sample in `range` whose composition time is `time` or later, and that time.
    fn composed_from(&self, range: Range<u32>, time: i64) -> Option<(u32, i64)> {
        let mut first = range.start;
        self.time_runs(range).find_map(|(run, until)| {
            let samples = std::mem::replace(&mut first, until)..until;
            let decode_time = |index: u32| run.decode_time + i64::from(run.duration) * i64::from(index - run.first);
            if self.composition_offsets.is_empty() {
                // Of sound there are hundreds of thousands, one as long as the other.
                let missing = u64::try_from(time.saturating_sub(decode_time(samples.start))).unwrap_or(0);
                let passed = if missing == 0 { 0 } else { missing.div_ceil(u64::from(run.duration).max(1)) };
                let index = u32::try_from(passed).ok().and_then(|passed| samples.start.checked_add(passed))?;
                return (samples.contains(&index) && decode_time(index) >= time).then(|| (index, decode_time(index)));
            }
            samples
                .map(|index| (index, decode_time(index).saturating_add(self.composition_offset(index).into())))
                .find(|&(_, composed)| composed >= time)
        })
    }

    fn composition_offset(&self, index: u32) -> i32 {
        self.composition_offsets.get(index as usize).copied().unwrap_or(0)
    }

    /// Where the bytes of the samples in `range` lie, neighbours merged, in decode order.
    pub fn places(&self, range: Range<u32>) -> Vec<SourceRange> {
        let mut places: Vec<SourceRange> = Vec::new();
        if range.is_empty() {
            return places;
        }
        let mut run = self.bytes.partition_point(|run| run.first <= range.start) - 1;
        let mut index = range.start;
        while index < range.end {
            let ByteRun { first, file, offset } = self.bytes[run];
            let end = self.bytes.get(run + 1).map_or(self.len(), |next| next.first).min(range.end);
            let start = offset + self.size(first..index);
            let bytes = start..start + self.size(index..end);
            match places.last_mut() {
                Some(last) if last.file == file && last.range.end == bytes.start => last.range.end = bytes.end,
                _ if bytes.is_empty() => {}
                _ => places.push(SourceRange { file, range: bytes }),
            }
            index = end;
            run += 1;
        }
        places
    }

    /// The most common interval between samples as they are presented, in ticks: what a frame rate is named after. `None` if
    /// there are none. Looks at the first thousands where durations vary.
    pub fn usual_interval(&self) -> Option<u32> {
        if self.times.iter().all(|run| run.duration == self.times[0].duration) {
            return self.usual_duration();
        }
        let mut times: Vec<i64> = (self.iter(0..self.len().min(INTERVALS_LOOKED_AT)))
            .map(|sample| sample.decode_time.saturating_add(sample.composition_offset.into()))
            .collect();
        times.sort_unstable();
        let intervals =
            times.windows(2).filter_map(|pair| u32::try_from(pair[1] - pair[0]).ok()).filter(|&interval| interval > 0);
        most_common(intervals.map(|interval| (interval, 1))).or_else(|| self.usual_duration())
    }

    /// The most common duration of a sample, in ticks. `None` of an empty table.
    pub fn usual_duration(&self) -> Option<u32> {
        let ends = self.times.iter().skip(1).map(|run| run.first).chain([self.len()]);
        most_common(self.times.iter().zip(ends).map(|(run, end)| (run.duration, end - run.first)))
    }
}

/// How many samples tell a frame rate.
const INTERVALS_LOOKED_AT: u32 = 4096;

fn most_common(counted: impl Iterator<Item = (u32, u32)>) -> Option<u32> {
    let mut counts = std::collections::BTreeMap::<u32, u64>::new();
    for (value, count) in counted {
        *counts.entry(value).or_default() += u64::from(count);
    }
    counts.into_iter().filter(|&(value, _)| value > 0).max_by_key(|&(_, count)| count).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn samples() -> impl Strategy<Value = Vec<(Sample, u64)>> {
        let one = (0u32..3, -2i32..3, 1u32..50, any::<bool>(), 0u64..3);
        prop::collection::vec(one, 1..60).prop_map(|list| {
            let (mut time, mut offset) = (0, 100);
            let mut out = Vec::new();
            for (duration, composition_offset, size, sync, gap) in list {
                let flags = if sync { SampleFlags::SYNC } else { SampleFlags::NON_SYNC };
                offset += gap / 2 * 10;
                out.push((Sample { decode_time: time, duration, composition_offset, size, flags }, offset));
                time += i64::from(duration);
                offset += u64::from(size);
            }
            out
        })
    }

    proptest! {
        #[test]
        fn what_was_pushed_is_read(list in samples(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
            let mut table = SampleTable::default();
            for (sample, offset) in &list {
                table.push(*sample, 0, *offset);
            }
            let whole: Vec<Sample> = list.iter().map(|(sample, _)| *sample).collect();
            let (a, b) = (from.index(list.len()), to.index(list.len()));
            let range = a.min(b)..a.max(b) + 1;
            let read: Vec<Sample> = table.iter(range.start as u32..range.end as u32).collect();
            prop_assert_eq!(&read, &whole[range.clone()]);
            let presented = |sample: &Sample| sample.decode_time + i64::from(sample.composition_offset);
            let extent = table.presented(range.start as u32..range.end as u32);
            prop_assert_eq!(Some(extent.start), read.iter().map(presented).min());
            prop_assert_eq!(Some(extent.end), read.iter().map(|s| presented(s) + i64::from(s.duration)).max());
            for index in range.clone() {
                prop_assert_eq!(table.decode_time(index as u32), whole[index].decode_time);
            }
            let syncs: Vec<(u32, i64)> = (0..table.len())
                .map(|index| (index, table.get(index)))
                .filter(|(_, sample)| sample.flags.is_sync())
                .map(|(index, sample)| (index, sample.decode_time + i64::from(sample.composition_offset)))
                .collect();
            for time in -3..table.end() + 3 {
                let from = range.start as u32;
                let expected = syncs.iter().copied().find(|&(index, composed)| index >= from && composed >= time);
                prop_assert_eq!(table.sync_from(from, time), expected);
            }
            prop_assert_eq!(table.syncs().collect::<Vec<_>>(), syncs);
            let part = table.slice(range.start as u32..range.end as u32, |_, sample| sample);
            prop_assert_eq!(&part.iter(0..part.len()).collect::<Vec<_>>(), &whole[range.clone()]);
            prop_assert_eq!(part.places(0..part.len()), table.places(range.start as u32..range.end as u32));
            let bytes: Vec<u64> = table.places(range.start as u32..range.end as u32).into_iter().flat_map(|p| p.range).collect();
            let expected: Vec<u64> = list[range].iter().flat_map(|(s, offset)| *offset..offset + u64::from(s.size)).collect();
            prop_assert_eq!(bytes, expected);
        }
    }
}
