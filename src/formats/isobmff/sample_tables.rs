//! Sample tables (ISO/IEC 14496-12 §8.6, §8.7): the samples that a `moov` lists itself, column by column as they are written down.
//!
//! ```text
//!   stts  (samples, duration)…    ctts  (samples, composition offset)…    stss  number of a sync sample…
//!   stsz, stz2  size…             stsc  (first chunk, samples a chunk)…   stco, co64  where a chunk begins…
//! ```
//!
//! Two hours list half a million samples, so nothing is done a sample that can be done a run or a chunk.

use std::fmt;
use std::ops::Range;

use super::boxes::{BoxRef, FourCc, find};
use super::movie;
use crate::formats::error::Malformed;

/// The most samples of a track: two days of AAC, twice over.
pub const SAMPLES_MAX: u32 = 1 << 25;

/// sample_depends_on = 2: a sync sample; and = 1 with sample_is_non_sync_sample (§8.8.3.1).
const FLAGS: [u32; 2] = [0x0101_0000, 0x0200_0000];

/// The samples of a track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Size of each, in bytes.
    pub sizes: Vec<u32>,
    /// Durations in ticks, each with how many samples in a row have it.
    pub durations: Vec<(u32, u32)>,
    /// Composition offset of each, in ticks; empty if all are zero.
    pub composition_offsets: Vec<i32>,
    /// Sample flags (§8.8.3.1), each with the first sample from which on they hold.
    pub flags: Vec<(u32, u32)>,
    /// sample_description_index (§8.7.4), each with the first sample from which on it holds.
    pub descriptions: Vec<(u32, u32)>,
    /// Where the bytes lie in the file, in the order of the samples.
    pub stretches: Vec<Stretch>,
}

/// Bytes of samples that follow one another: those of a chunk, or of neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first sample in it.
    pub first_sample: u32,
    /// Where it lies in the file.
    pub bytes: Range<u64>,
}

/// One sample of a [`Listed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSample {
    /// In ticks.
    pub duration: u32,
    /// In bytes.
    pub size: u32,
    /// Whether decoding may begin with it.
    pub is_sync: bool,
    /// In ticks.
    pub composition_offset: i32,
    /// Where its bytes begin in the file.
    pub place: u64,
}

impl fmt::Display for ListedSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ListedSample { duration, size, is_sync, composition_offset, place } = self;
        let sync = if *is_sync { ", a sync sample" } else { "" };
        write!(f, "{size} bytes at {place}, {duration} ticks, composition offset {composition_offset}{sync}")
    }
}

impl Listed {
    /// The samples, spelled out one by one.
    pub fn samples(&self) -> impl Iterator<Item = ListedSample> + '_ {
        let durations = self.durations.iter().flat_map(|&(run, duration)| std::iter::repeat_n(duration, run as usize));
        let (mut flag, mut stretch, mut offset) = (0, 0, 0);
        durations.zip(&self.sizes).enumerate().map(move |(index, (duration, &size))| {
            flag += usize::from(self.flags.get(flag + 1).is_some_and(|run| run.0 as usize == index));
            if let Some(next) = self.stretches.get(stretch).filter(|next| next.first_sample as usize == index) {
                offset = next.bytes.start;
                stretch += 1;
            }
            let place = offset;
            offset += u64::from(size);
            let composition_offset = self.composition_offsets.get(index).copied().unwrap_or(0);
            ListedSample { duration, size, is_sync: self.flags[flag].1 == FLAGS[1], composition_offset, place }
        })
    }

    /// Makes every sample a sync sample, if none is. Returns whether it did.
    pub fn make_sync_if_none_is(&mut self) -> bool {
        let none = !self.flags.is_empty() && self.flags.iter().all(|&(_, flags)| flags != FLAGS[1]);
        if none {
            self.flags = vec![(0, FLAGS[1])];
        }
        none
    }

    /// Leaves out the samples decoded after the last whose composition time is before `end`, in ticks from where decoding begins.
    /// Returns how many are left that are composed at `end` or later: others may need them to be decoded.
    pub fn end_before(&mut self, end: i64) -> usize {
        let latest = self.composition_offsets.iter().max().copied().unwrap_or(0);
        let mut index = self.sizes.len();
        let (mut count, mut late) = (None, 0);
        // No sum leaves 64 bits: a track has less than 2^25 samples, and a duration 32 bits.
        let mut time: i64 =
            self.durations.iter().map(|&(count, duration)| i64::from(count) * i64::from(duration)).sum();
        let durations =
            self.durations.iter().rev().flat_map(|&(run, duration)| std::iter::repeat_n(duration, run as usize));
        for duration in durations {
            index -= 1;
            time -= i64::from(duration);
            let offset = self.composition_offsets.get(index).copied().unwrap_or(0);
            match time + i64::from(offset) < end {
                true => _ = count.get_or_insert(index + 1),
                false => late += usize::from(count.is_some()),
            }
            if count.is_some() && time + i64::from(latest) < end {
                break;
            }
        }
        match count {
            Some(count) => self.truncate(count),
            None => late = self.sizes.len(),
        }
        late
    }

    /// Leaves out the samples before the last sync sample that is composed by `begin` less `lead`, in ticks from where decoding begins, unless
    /// something before it is composed at `begin` or later. Returns the ticks of decoding that are left out.
    pub fn begin_at(&mut self, begin: i64, lead: i64) -> i64 {
        let by = begin.saturating_sub(lead);
        if by <= 0 {
            return 0;
        }
        let earliest = self.composition_offsets.iter().min().copied().unwrap_or(0);
        let (mut time, mut latest, mut flag) = (0i64, i64::MIN, 0);
        let mut first = (0, 0);
        let durations = self.durations.iter().flat_map(|&(run, duration)| std::iter::repeat_n(duration, run as usize));
        for (index, duration) in durations.enumerate() {
            if time + i64::from(earliest) > by || latest >= begin {
                break;
            }
            flag += usize::from(self.flags.get(flag + 1).is_some_and(|run| run.0 as usize == index));
            let composed = time + i64::from(self.composition_offsets.get(index).copied().unwrap_or(0));
            if composed <= by && self.flags[flag].1 == FLAGS[1] {
                first = (index, time);
            }
            latest = latest.max(composed);
            time += i64::from(duration);
        }
        self.skip(first.0);
        first.1
    }

    fn skip(&mut self, count: usize) {
        let covers = |first: u32| first as usize <= count;
        let stretch = self.stretches.partition_point(|stretch| covers(stretch.first_sample)).saturating_sub(1);
        self.stretches.drain(..stretch);
        if let Some(first) = self.stretches.first_mut() {
            first.bytes.start += sum(&self.sizes[first.first_sample as usize..count]);
        }
        for runs in [&mut self.flags, &mut self.descriptions] {
            let before = runs.partition_point(|&(first, _)| covers(first)).saturating_sub(1);
            runs.drain(..before);
            runs.iter_mut().for_each(|(first, _)| *first = first.saturating_sub(count as u32));
        }
        self.stretches
            .iter_mut()
            .for_each(|stretch| stretch.first_sample = stretch.first_sample.saturating_sub(count as u32));
        self.sizes.drain(..count);
        self.composition_offsets.drain(..count.min(self.composition_offsets.len()));
        let mut left = count as u32;
        for (run, _) in &mut self.durations {
            let gone = left.min(*run);
            *run -= gone;
            left -= gone;
        }
        self.durations.retain(|&(run, _)| run > 0);
    }

    fn truncate(&mut self, count: usize) {
        let is_kept = |first: u32| (first as usize) < count;
        self.sizes.truncate(count);
        self.composition_offsets.truncate(count);
        self.flags.retain(|&(first, _)| is_kept(first));
        self.descriptions.retain(|&(first, _)| is_kept(first));
        self.stretches.retain(|stretch| is_kept(stretch.first_sample));
        if let Some(last) = self.stretches.last_mut() {
            last.bytes.end = last.bytes.start + sum(&self.sizes[last.first_sample as usize..]);
        }
        let mut left = count as u32;
        for (run, _) in &mut self.durations {
            *run = left.min(*run);
            left -= *run;
        }
        self.durations.retain(|&(run, _)| run > 0);
    }
}

fn sum(sizes: &[u32]) -> u64 {
    sizes.iter().map(|&size| u64::from(size)).sum()
}

/// The samples of the `trak` whose track_ID is `id`, in a file with `media_bytes` of media.
pub fn read(moov: BoxRef<'_>, id: u32, media_bytes: u64) -> Result<Listed, Malformed> {
    let minf = movie::track(moov, id)?.required(b"mdia")?.required(b"minf")?;
    read_tables(minf.required(b"stbl")?, media_bytes).map_err(|error| error.within("moov/trak/mdia/minf/stbl"))
}

fn read_tables(stbl: BoxRef<'_>, media_bytes: u64) -> Result<Listed, Malformed> {
    let optional = |kind| find(stbl.children(), kind);
    let required =
        |kind| optional(kind)?.ok_or_else(|| Malformed::new(format!("no {} box", FourCc(*kind)), stbl.offset));
    let sizes = match optional(b"stsz")? {
        Some(stsz) => sizes(stsz, media_bytes)?,
        None => sizes(required(b"stz2")?, media_bytes)?,
    };
    let count = sizes.len() as u32;
    let durations = durations(entries(required(b"stts")?)?, count);
    let composition_offsets = match optional(b"ctts")? {
        Some(ctts) => composition_offsets(entries(ctts)?, count),
        None => Vec::new(),
    };
    let flags = match optional(b"stss")? {
        Some(stss) => flags(entries(stss)?, count),
        None => vec![(0, FLAGS[1])],
    };
    let stsc = entries(required(b"stsc")?)?;
    let stretches = match optional(b"stco")? {
        Some(stco) => stretches(&sizes, stsc, entries(stco)?.iter().map(|&at| u32::from_be_bytes(at).into())),
        None => stretches(&sizes, stsc, entries(required(b"co64")?)?.iter().map(|&at| u64::from_be_bytes(at))),
    };
    let (stretches, descriptions) = stretches.ok_or_else(|| {
        Malformed::new(format!("the chunks of stsc and stco hold fewer than the {count} samples"), stbl.offset)
    })?;
    Ok(Listed { sizes, durations, composition_offsets, flags, descriptions, stretches })
}

/// The entries of `N` bytes each that follow their number in `table`.
fn entries<const N: usize>(table: BoxRef<'_>) -> Result<&[[u8; N]], Malformed> {
    let mut fields = table.fields();
    let count = fields.version_and_flags().and_then(|_| fields.u32()).map_err(|error| error.within(table.kind))?;
    let (entries, _) = fields.rest().as_chunks();
    entries.get(..count as usize).ok_or_else(|| few(count, entries.len(), table))
}

fn few(count: u32, room: usize, table: BoxRef<'_>) -> Malformed {
    Malformed::new(format!("{count} entries, and room for {room}"), table.offset).within(table.kind)
}

/// An entry of two fields.
fn pair(entry: &[u8; 8]) -> (u32, u32) {
    let both = u64::from_be_bytes(*entry);
    ((both >> 32) as u32, both as u32)
}

/// Sizes: those of `stsz`, where one may stand for all, or of `stz2`, which has 4, 8 or 16 bits for each (§8.7.3).
fn sizes(table: BoxRef<'_>, media_bytes: u64) -> Result<Vec<u32>, Malformed> {
    let wrong = |what: String| Malformed::new(what, table.offset).within(table.kind);
    let mut fields = table.fields();
    let head = fields.version_and_flags().and_then(|_| Ok((fields.u32()?, fields.u32()?)));
    let (size, count) = head.map_err(|error| error.within(table.kind))?;
    if count > SAMPLES_MAX {
        return Err(wrong(format!("{count} samples, at most {SAMPLES_MAX} are read")));
    }
    let is_compact = table.kind.0 == *b"stz2";
    if size > 0 && !is_compact {
        if u64::from(size) * u64::from(count) > media_bytes {
            return Err(wrong(format!("{count} samples of {size} bytes in {media_bytes} bytes of media")));
        }
        return Ok(vec![size; count as usize]);
    }
    let (bytes, wanted) = (fields.rest(), count as usize);
    let sizes: Vec<u32> = match if is_compact { size & 0xff } else { 32 } {
        4 => bytes.iter().flat_map(|&byte| [byte >> 4, byte & 15]).take(wanted).map(u32::from).collect(),
        8 => bytes.iter().take(wanted).map(|&byte| byte.into()).collect(),
        16 => bytes.as_chunks().0.iter().take(wanted).map(|&size| u16::from_be_bytes(size).into()).collect(),
        32 => bytes.as_chunks().0.iter().take(wanted).map(|&size| u32::from_be_bytes(size)).collect(),
        bits => return Err(wrong(format!("sizes of {bits} bits"))),
    };
    if sizes.len() < wanted { Err(few(count, sizes.len(), table)) } else { Ok(sizes) }
}

/// Runs of durations of `count` samples; of those that the table leaves out the last is taken.
fn durations(stts: &[[u8; 8]], count: u32) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    let mut left = count;
    for (run, duration) in stts.iter().map(pair) {
        let run = run.min(left);
        left -= run;
        match runs.last_mut() {
            _ if run == 0 => {}
            Some((last, of_last)) if *of_last == duration => *last += run,
            _ => runs.push((run, duration)),
        }
    }
    match runs.last_mut() {
        Some((last, _)) => *last += left,
        None if left > 0 => runs.push((left, 0)),
        None => {}
    }
    runs
}

/// Composition offsets of `count` samples. In version 0, too, what would be more than 2^31 is negative: many writers leave the version at 0
/// (§8.6.1.3 has negative ones in version 1 alone). Those that the table leaves out are zero.
fn composition_offsets(ctts: &[[u8; 8]], count: u32) -> Vec<i32> {
    let runs = || ctts.iter().map(pair).map(|(run, offset)| (run as usize, offset as i32));
    if runs().all(|(_, offset)| offset == 0) {
        return Vec::new();
    }
    let count = count as usize;
    let mut offsets = Vec::with_capacity(count);
    for (run, offset) in runs() {
        let run = run.min(count - offsets.len());
        if run == 1 {
            offsets.push(offset);
        } else {
            offsets.resize(offsets.len() + run, offset);
        }
    }
    offsets.resize(count, 0);
    offsets
}

/// Runs of flags of `count` samples, of which those numbered in the table, in rising order from 1, are sync samples.
fn flags(stss: &[[u8; 4]], count: u32) -> Vec<(u32, u32)> {
    let mut runs = Vec::new();
    let mut next = 0;
    for number in stss.iter().map(|&number| u32::from_be_bytes(number)) {
        let Some(index) = number.checked_sub(1).filter(|index| (next..count).contains(index)) else { continue };
        if index > next {
            runs.push((next, FLAGS[0]));
        }
        if index > next || index == 0 {
            runs.push((index, FLAGS[1]));
        }
        next = index + 1;
    }
    if next < count {
        runs.push((next, FLAGS[0]));
    }
    runs
}

/// Where the samples with `sizes` lie in chunks that begin at `offsets` (§8.7.4, §8.7.5), and what describes them. `None` if the chunks
/// hold fewer, or one does not end within 64 bits.
#[expect(clippy::type_complexity, reason = "two columns of one table")]
fn stretches(
    sizes: &[u32],
    stsc: &[[u8; 12]],
    mut offsets: impl ExactSizeIterator<Item = u64>,
) -> Option<(Vec<Stretch>, Vec<(u32, u32)>)> {
    let entry = |entry: &[u8; 12]| {
        let (first_chunk, rest) = entry.split_first_chunk().expect("an entry is longer than that");
        let (samples_per_chunk, rest) = rest.split_first_chunk().expect("likewise");
        let (description_index, _) = rest.split_first_chunk().expect("likewise");
        let samples_per_chunk = u32::from_be_bytes(*samples_per_chunk) as usize;
        (u32::from_be_bytes(*first_chunk).into(), samples_per_chunk, u32::from_be_bytes(*description_index))
    };
    let mut descriptions: Vec<(u32, u32)> = Vec::new();
    let mut stretches: Vec<Stretch> = Vec::with_capacity(offsets.len().min(sizes.len()));
    let (mut chunk, mut first, mut per_chunk, mut description) = (1, 0, 0, 1);
    // Each entry holds until the next one's chunk; before the first, chunks are empty.
    for (until, from_then, description_then) in stsc.iter().map(entry).chain([(u64::MAX, 0, 1)]) {
        for start in offsets.by_ref().take(usize::try_from(until.saturating_sub(chunk)).unwrap_or(usize::MAX)) {
            chunk += 1;
            let next = sizes.len().min(first + per_chunk);
            if next > first {
                let end = start.checked_add(sum(&sizes[first..next]))?;
                if descriptions.last().is_none_or(|&(_, last)| last != description) {
                    descriptions.push((first as u32, description));
                }
                match stretches.last_mut() {
                    Some(last) if last.bytes.end == start => last.bytes.end = end,
                    _ => stretches.push(Stretch { first_sample: first as u32, bytes: start..end }),
                }
                first = next;
            }
            if first == sizes.len() {
                return Some((stretches, descriptions));
            }
        }
        (per_chunk, description) = (from_then, description_then);
    }
    (first == sizes.len()).then_some((stretches, descriptions))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::{Boxes, write_box, write_full_box};
    use crate::formats::isobmff::second_reading::{self, SecondReading};
    use crate::formats::isobmff::wvtt;
    use crate::time::Timescale;
    use proptest::prelude::*;

    /// A sample of a table: duration, size, whether it is a sync sample, composition offset.
    type One = (u32, u32, bool, i32);

    /// How tables are written.
    #[derive(Clone, Copy, Debug)]
    struct How {
        /// Samples a chunk.
        per_chunk: usize,
        /// Bytes between chunks.
        gap: u64,
        /// Whether places have 64 bits.
        wide: bool,
        /// The bits of a size in `stz2`; else sizes are in `stsz`.
        compact: Option<u32>,
    }

    fn how() -> impl Strategy<Value = How> {
        let compact = prop::option::of(prop::sample::select(vec![4, 8, 16]));
        (1usize..7, 0u64..20, any::<bool>(), compact).prop_map(|(per_chunk, gap, wide, compact)| How {
            per_chunk,
            gap,
            wide,
            compact,
        })
    }

    fn samples() -> impl Strategy<Value = Vec<One>> {
        prop::collection::vec((0u32..3, 1u32..4, any::<bool>(), -2i32..3), 1..60)
    }

    /// A `moov` of one track with the tables of `list`; and where each sample lies.
    fn written(list: &[One], how: How) -> (Vec<u8>, Vec<u64>) {
        let put = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_be_bytes());
        let runs = |out: &mut Vec<u8>, values: &mut dyn Iterator<Item = u32>| {
            let mut runs: Vec<(u32, u32)> = Vec::new();
            for value in values {
                match runs.last_mut() {
                    Some((count, last)) if *last == value => *count += 1,
                    _ => runs.push((1, value)),
                }
            }
            put(out, runs.len() as u32);
            runs.iter().for_each(|&(count, value)| [count, value].iter().for_each(|&v| put(out, v)));
        };
        let (mut places, mut chunks, mut offset) = (Vec::new(), Vec::new(), 40);
        for (index, &(_, size, ..)) in list.iter().enumerate() {
            if index % how.per_chunk == 0 {
                offset += how.gap;
                chunks.push(offset);
            }
            places.push(offset);
            offset += u64::from(size);
        }
        let mut stbl = Vec::new();
        write_full_box(&mut stbl, b"stsd", 0, 0, |out| {
            put(out, 1);
            write_box(out, b"free", |_| {});
        });
        write_full_box(&mut stbl, b"stts", 0, 0, |out| runs(out, &mut list.iter().map(|s| s.0)));
        if list.iter().any(|s| s.3 != 0) {
            write_full_box(&mut stbl, b"ctts", 1, 0, |out| runs(out, &mut list.iter().map(|s| s.3 as u32)));
        }
        if list.iter().any(|s| !s.2) {
            let syncs: Vec<u32> = (1..).zip(list).filter(|(_, s)| s.2).map(|(number, _)| number).collect();
            write_full_box(&mut stbl, b"stss", 0, 0, |out| {
                put(out, syncs.len() as u32);
                syncs.iter().for_each(|&number| put(out, number));
            });
        }
        let count = list.len() as u32;
        let sizes = list.iter().map(|s| s.1);
        if let Some(bits) = how.compact {
            write_full_box(&mut stbl, b"stz2", 0, 0, |out| {
                [bits, count].iter().for_each(|&v| put(out, v));
                let sizes: Vec<u32> = sizes.collect();
                match bits {
                    4 => out.extend(sizes.chunks(2).map(|two| (two[0] << 4 | two.get(1).unwrap_or(&0)) as u8)),
                    8 => out.extend(sizes.iter().map(|&size| size as u8)),
                    _ => out.extend(sizes.iter().flat_map(|&size| (size as u16).to_be_bytes())),
                }
            });
        } else {
            let one_size = Some(list[0].1).filter(|size| sizes.clone().all(|other| other == *size));
            write_full_box(&mut stbl, b"stsz", 0, 0, |out| {
                [one_size.unwrap_or(0), count].iter().for_each(|&v| put(out, v));
                sizes.filter(|_| one_size.is_none()).for_each(|size| put(out, size));
            });
        }
        let rest = list.len() % how.per_chunk;
        write_full_box(&mut stbl, b"stsc", 0, 0, |out| {
            let entries = [(1, how.per_chunk), (chunks.len(), rest)];
            let entries = &entries[usize::from(chunks.len() == 1 && rest > 0)..1 + usize::from(rest > 0)];
            put(out, entries.len() as u32);
            entries
                .iter()
                .for_each(|&(first, count)| [first as u32, count as u32, 1].iter().for_each(|&v| put(out, v)));
        });
        write_full_box(&mut stbl, if how.wide { b"co64" } else { b"stco" }, 0, 0, |out| {
            put(out, chunks.len() as u32);
            for &chunk in &chunks {
                if how.wide { out.extend_from_slice(&chunk.to_be_bytes()) } else { put(out, chunk as u32) }
            }
        });
        // The heads of a movie of ours, with these tables.
        let init = wvtt::write_init(1, Timescale::MILLI, None, &[], "");
        let moov = find(Boxes::new(&init, 0), b"moov").expect("well formed").expect("there");
        let trak = moov.required(b"trak").expect("there");
        let mdia = trak.required(b"mdia").expect("there");
        let mut out = Vec::new();
        write_box(&mut out, b"moov", |out| {
            out.extend_from_slice(moov.required(b"mvhd").expect("there").bytes());
            write_box(out, b"trak", |out| {
                out.extend_from_slice(trak.required(b"tkhd").expect("there").bytes());
                write_box(out, b"mdia", |out| {
                    [b"mdhd", b"hdlr"].iter().for_each(|kind| out.extend(mdia.required(kind).expect("there").bytes()));
                    write_box(out, b"minf", |out| {
                        write_box(out, b"dinf", |out| {
                            write_full_box(out, b"dref", 0, 0, |out| {
                                put(out, 1);
                                write_full_box(out, b"url ", 0, 1, |_| {});
                            });
                        });
                        write_box(out, b"stbl", |out| out.extend_from_slice(&stbl));
                    });
                });
            });
        });
        (out, places)
    }

    fn read_moov(moov: &[u8], media_bytes: u64) -> Result<Listed, Malformed> {
        read(find(Boxes::new(moov, 0), b"moov").expect("well formed").expect("there"), 1, media_bytes)
    }

    /// Each sample, and where it lies.
    fn spelled_out(listed: &Listed) -> Vec<(One, u64)> {
        listed.samples().map(|s| ((s.duration, s.size, s.is_sync, s.composition_offset), s.place)).collect()
    }

    proptest! {
        #[test]
        fn what_tables_say_is_read(list in samples(), how in how()) {
            let (moov, places) = written(&list, how);
            let listed = read_moov(&moov, 1000).expect("well formed");
            let expected: Vec<(One, u64)> = list.iter().copied().zip(places).collect();
            prop_assert_eq!(spelled_out(&listed), expected);
            let ends: Vec<u64> = listed.stretches.iter().map(|stretch| stretch.bytes.end).collect();
            let starts = listed.stretches.iter().skip(1).map(|stretch| stretch.bytes.start);
            prop_assert!(ends.iter().zip(starts).all(|(&end, start)| end < start), "neighbours are one");
            if how.compact.is_none() {
                let moov = find(Boxes::new(&moov, 0), b"moov").expect("well formed").expect("there");
                prop_assert_eq!(second_reading::compare(moov, 1, &listed).expect("well formed"), SecondReading::Agrees);
                let mut other = listed.clone();
                *other.sizes.last_mut().expect("there is one") += 1;
                let said = second_reading::compare(moov, 1, &other).expect("well formed");
                prop_assert!(matches!(said, SecondReading::Differs(_)), "{:?}", said);
            }
        }

        #[test]
        fn what_is_composed_after_the_end_is_left_out(list in samples(), how in how(), end in -5i64..130) {
            let mut listed = read_moov(&written(&list, how).0, 1000).expect("well formed");
            let whole = spelled_out(&listed);
            let late = listed.end_before(end);
            let mut time = 0;
            let mut kept = whole.len();
            let mut composed = Vec::new();
            for (index, ((duration, _, _, offset), _)) in whole.iter().enumerate() {
                composed.push(time + i64::from(*offset));
                if composed[index] < end {
                    kept = index + 1;
                }
                time += i64::from(*duration);
            }
            prop_assert_eq!(late, composed[..kept].iter().filter(|&&time| time >= end).count());
            prop_assert_eq!(spelled_out(&listed), &whole[..kept]);
            prop_assert_eq!(listed.flags.iter().filter(|run| run.0 as usize >= kept).count(), 0);
            let last = &listed.stretches.last().expect("a sample is left").bytes;
            let ((_, size, ..), offset) = whole[kept - 1];
            prop_assert_eq!(last.end, offset + u64::from(size));
        }
    }

    proptest! {
        #[test]
        fn what_no_sample_that_is_shown_needs_is_left_out(list in samples(), how in how(), begin in -5i64..130, lead in 0i64..20) {
            let mut listed = read_moov(&written(&list, how).0, 1000).expect("well formed");
            let whole = spelled_out(&listed);
            let skipped = listed.begin_at(begin, lead);
            let (mut time, mut latest, mut first, mut expected) = (0, i64::MIN, 0, 0);
            for (index, ((duration, _, is_sync, offset), _)) in whole.iter().enumerate() {
                let composed = time + i64::from(*offset);
                if begin > lead && *is_sync && composed <= begin - lead && latest < begin {
                    (first, expected) = (index, time);
                }
                latest = latest.max(composed);
                time += i64::from(*duration);
            }
            prop_assert_eq!(skipped, expected);
            prop_assert_eq!(spelled_out(&listed), &whole[first..]);
            prop_assert_eq!(listed.durations.iter().map(|run| run.0 as usize).sum::<usize>(), whole.len() - first);
            let bytes: u64 = listed.stretches.iter().map(|stretch| stretch.bytes.end - stretch.bytes.start).sum();
            prop_assert_eq!(bytes, whole[first..].iter().map(|((_, size, ..), _)| u64::from(*size)).sum::<u64>());
        }
    }

    const PLAIN: How = How { per_chunk: 1, gap: 3, wide: false, compact: None };

    #[test]
    fn a_table_of_size_0_reaches_to_the_end_and_is_read_once() {
        let list = [(10, 5, true, 0), (10, 6, true, 0)];
        let (mut moov, places) = written(&list, PLAIN);
        let kind_at = moov.windows(4).position(|kind| kind == b"stco").expect("there");
        moov[kind_at - 4..kind_at].fill(0);
        let listed = read_moov(&moov, 1000).expect("well formed");
        assert_eq!(spelled_out(&listed), list.into_iter().zip(places).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_left_out_of_a_table_is_as_the_last_or_nothing() {
        assert_eq!(durations(&[[0, 0, 0, 2, 0, 0, 0, 7], [0, 0, 0, 1, 0, 0, 0, 9]], 5), [(2, 7), (3, 9)]);
        assert_eq!(durations(&[[0, 0, 0, 9, 0, 0, 0, 7]], 5), [(5, 7)]);
        assert_eq!(durations(&[], 5), [(5, 0)]);
        assert_eq!(composition_offsets(&[[0, 0, 0, 2, 0, 0, 0, 7]], 4), [7, 7, 0, 0]);
        assert_eq!(composition_offsets(&[[255, 255, 255, 255, 255, 255, 255, 255]], 2), [-1, -1]);
        assert_eq!(
            flags(&[[0, 0, 0, 2], [0, 0, 0, 1], [0, 0, 0, 3], [0, 0, 1, 0]], 4),
            [(0, FLAGS[0]), (1, FLAGS[1]), (3, FLAGS[0])]
        );
        assert_eq!(flags(&[], 4), [(0, FLAGS[0])]);
    }

    #[test]
    fn a_table_that_claims_more_than_it_holds_is_an_error() {
        for (kind, what) in [
            (b"stsz", "4294967295 samples, at most 33554432 are read (moov/trak/mdia/minf/stbl/stsz"),
            (b"stts", "4294967295 entries, and room for 1 (moov/trak/mdia/minf/stbl/stts"),
            (b"stsc", "4294967295 entries, and room for 1 (moov/trak/mdia/minf/stbl/stsc"),
            (b"stco", "4294967295 entries, and room for 2 (moov/trak/mdia/minf/stbl/stco"),
        ] {
            let (mut moov, _) = written(&[(10, 5, true, 0), (10, 6, true, 0)], PLAIN);
            let kind_at = moov.windows(4).position(|other| other == kind).expect("there");
            let count_at = kind_at + if kind == b"stsz" { 12 } else { 8 };
            moov[count_at..count_at + 4].fill(0xff);
            let said = read_moov(&moov, 1000).expect_err("it claims too much").to_string();
            assert!(said.starts_with(what), "{said}");
        }
        let (mut moov, _) = written(&[(10, 5, true, 0), (10, 6, true, 0)], PLAIN);
        let count_at = moov.windows(4).position(|kind| kind == b"stco").expect("there") + 8;
        moov[count_at + 3] = 1;
        let said = read_moov(&moov, 1000).expect_err("a chunk is missing").to_string();
        assert!(said.starts_with("the chunks of stsc and stco hold fewer than the 2 samples"), "{said}");
    }
}
