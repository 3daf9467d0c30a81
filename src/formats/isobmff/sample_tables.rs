//! Sample tables (ISO/IEC 14496-12 §8.6, §8.7): the samples that a `moov` lists itself.
//!
//! The `mp4` crate reads the tables. It gets a scratch `trak` of nothing but the boxes it needs, each of them checked by our
//! own walk first, with a sample entry it passes over: what an entry holds is none of its business here.

use std::io::Cursor;

use mp4::{BoxHeader, MoovBox, ReadBox};

use super::boxes::{BoxRef, write_box, write_full_box};
use super::fragment::RunSample;
use crate::formats::error::Malformed;

/// The most samples of a track: two days of AAC, twice over.
pub const SAMPLES_MAX: u32 = 1 << 25;

/// A sample and where its bytes begin in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSample {
    /// Duration, size, flags and composition offset.
    pub sample: RunSample,
    /// Offset in the file, in bytes.
    pub offset: u64,
}

/// sample_depends_on = 2: a sync sample; and = 1 with sample_is_non_sync_sample (§8.8.3.1).
const FLAGS: [u32; 2] = [0x0101_0000, 0x0200_0000];

/// The samples of the `trak` whose track_ID is `id`, in a file with `media_bytes` of media.
pub fn read(moov: BoxRef<'_>, id: u32, media_bytes: u64) -> Result<Vec<TableSample>, Malformed> {
    let scratch = scratch_movie(moov, id)?;
    let mut reader = Cursor::new(scratch.as_slice());
    let unread = |error: mp4::Error| Malformed::new(format!("sample tables: {error}"), moov.offset).within("moov");
    let header = BoxHeader::read(&mut reader).map_err(unread)?;
    let movie = MoovBox::read_box(&mut reader, header.size).map_err(unread)?;
    let tables = &movie.traks.first().ok_or_else(|| Malformed::new("no such track", moov.offset))?.mdia.minf.stbl;
    let count = tables.stsz.sample_count;
    let inconsistent = |what: &'static str| Malformed::new(what, moov.offset).within("moov/trak/mdia/minf/stbl");
    if count > SAMPLES_MAX {
        return Err(inconsistent("more samples than any track may have"));
    }
    if u64::from(count) * u64::from(tables.stsz.sample_size) > media_bytes {
        return Err(inconsistent("stsz: more bytes of samples than there are of media"));
    }
    if tables.stsz.sample_size == 0 && tables.stsz.sample_sizes.len() != count as usize {
        return Err(inconsistent("stsz: fewer sizes than samples"));
    }
    let mut durations = tables.stts.entries.iter().flat_map(|e| repeat(e.sample_delta, e.sample_count));
    let offsets = tables.ctts.as_ref().map(|ctts| ctts.entries.as_slice()).unwrap_or_default();
    let mut offsets = offsets.iter().flat_map(|e| repeat(e.sample_offset, e.sample_count));
    let mut syncs = tables.stss.as_ref().map(|stss| stss.entries.iter().copied().peekable());
    let mut places = ChunkWalk::new(
        tables.stsc.entries.iter().map(|e| (e.first_chunk.saturating_sub(1), e.samples_per_chunk)).collect(),
    );
    let chunk_offset = |chunk: u32| match (&tables.stco, &tables.co64) {
        (Some(stco), _) => stco.entries.get(chunk as usize).map(|&offset| u64::from(offset)),
        (None, Some(co64)) => co64.entries.get(chunk as usize).copied(),
        (None, None) => None,
    };
    let mut samples = Vec::new();
    let mut last_duration = 0;
    for index in 0..count {
        let duration = durations.next().unwrap_or(last_duration);
        last_duration = duration;
        let sync = match &mut syncs {
            None => true,
            Some(syncs) => {
                while syncs.next_if(|&number| number < index + 1).is_some() {}
                syncs.next_if_eq(&(index + 1)).is_some()
            }
        };
        let size = match tables.stsz.sample_size {
            0 => tables.stsz.sample_sizes[index as usize],
            size => size,
        };
        let offset = places
            .next(size, chunk_offset)
            .ok_or_else(|| inconsistent("stsc and stco name fewer samples than stsz"))?;
        let composition_offset = offsets.next().unwrap_or(0);
        samples.push(TableSample {
            sample: RunSample { duration, size, flags: FLAGS[usize::from(sync)], composition_offset },
            offset,
        });
    }
    Ok(samples)
}

fn repeat<T: Copy>(value: T, count: u32) -> impl Iterator<Item = T> {
    std::iter::repeat_n(value, count as usize)
}

/// Goes from sample to sample through the chunks (§8.7.4, §8.7.5).
struct ChunkWalk {
    /// first_chunk, counted from 0, and samples_per_chunk.
    entries: std::iter::Peekable<std::vec::IntoIter<(u32, u32)>>,
    per_chunk: u32,
    next_chunk: u32,
    left: u32,
    offset: u64,
}

impl ChunkWalk {
    fn new(entries: Vec<(u32, u32)>) -> ChunkWalk {
        ChunkWalk { entries: entries.into_iter().peekable(), per_chunk: 0, next_chunk: 0, left: 0, offset: 0 }
    }

    /// Where the next sample, of `size` bytes, begins.
    fn next(&mut self, size: u32, chunk_offset: impl Fn(u32) -> Option<u64>) -> Option<u64> {
        while self.left == 0 {
            while let Some((_, per_chunk)) = self.entries.next_if(|&(first, _)| first <= self.next_chunk) {
                self.per_chunk = per_chunk;
            }
            self.offset = chunk_offset(self.next_chunk)?;
            self.left = self.per_chunk;
            self.next_chunk += 1;
        }
        let offset = self.offset;
        self.offset = offset.checked_add(size.into())?;
        self.left -= 1;
        Some(offset)
    }
}

/// `child` with its size written out: 0, to the end of what is around it (§4.2.2), sends the crate round for ever.
fn copy(out: &mut Vec<u8>, child: BoxRef<'_>) {
    write_box(out, &child.kind.0, |out| out.extend_from_slice(child.payload()));
}

/// A `moov` of one `trak` that holds what the tables need and nothing else.
fn scratch_movie(moov: BoxRef<'_>, id: u32) -> Result<Vec<u8>, Malformed> {
    let mut found = None;
    for trak in moov.children() {
        let trak = trak?;
        if trak.kind.0 == *b"trak" {
            let tkhd = trak.required(b"tkhd")?;
            let at = if tkhd.payload().first() == Some(&1) { 20 } else { 12 };
            if tkhd.payload().get(at..at + 4) == Some(&id.to_be_bytes()) {
                found = Some((trak, tkhd));
                break;
            }
        }
    }
    let (trak, tkhd) = found.ok_or_else(|| Malformed::new(format!("no track {id}"), moov.offset))?;
    let mvhd = moov.required(b"mvhd")?;
    let mdia = trak.required(b"mdia")?;
    let (mdhd, hdlr, minf) = (mdia.required(b"mdhd")?, mdia.required(b"hdlr")?, mdia.required(b"minf")?);
    let stbl = minf.required(b"stbl")?;
    let mut tables = Vec::new();
    for child in stbl.children() {
        let child = child?;
        if matches!(&child.kind.0, b"stts" | b"ctts" | b"stsc" | b"stsz" | b"stco" | b"co64" | b"stss") {
            copy(&mut tables, child);
        }
    }
    let mut out = Vec::with_capacity(tables.len() + 1024);
    write_box(&mut out, b"moov", |out| {
        copy(out, mvhd);
        write_box(out, b"trak", |out| {
            copy(out, tkhd);
            write_box(out, b"mdia", |out| {
                copy(out, mdhd);
                copy(out, hdlr);
                write_box(out, b"minf", |out| {
                    write_box(out, b"dinf", |out| {
                        write_full_box(out, b"dref", 0, 0, |out| {
                            out.extend_from_slice(&1u32.to_be_bytes());
                            write_full_box(out, b"url ", 0, 1, |_| {});
                        });
                    });
                    write_box(out, b"stbl", |out| {
                        write_full_box(out, b"stsd", 0, 0, |out| {
                            out.extend_from_slice(&1u32.to_be_bytes());
                            write_box(out, b"free", |_| {});
                        });
                        out.extend_from_slice(&tables);
                    });
                });
            });
        });
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::{Boxes, find};
    use crate::formats::isobmff::wvtt;
    use crate::time::Timescale;
    use proptest::prelude::*;

    /// A `moov` of one track with these tables, its chunks of `per_chunk` samples `gap` bytes apart; and what is in it.
    fn written(list: &[(u32, u32, bool, i32)], per_chunk: usize, gap: u64, wide: bool) -> (Vec<u8>, Vec<TableSample>) {
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
        let (mut samples, mut chunks, mut offset) = (Vec::new(), Vec::new(), 40);
        for (index, &(duration, size, sync, composition_offset)) in list.iter().enumerate() {
            if index % per_chunk == 0 {
                offset += gap;
                chunks.push(offset);
            }
            let flags = FLAGS[usize::from(sync)];
            samples.push(TableSample { sample: RunSample { duration, size, flags, composition_offset }, offset });
            offset += u64::from(size);
        }
        let mut stbl = Vec::new();
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
        let one_size = Some(list[0].1).filter(|size| list.iter().all(|s| s.1 == *size));
        write_full_box(&mut stbl, b"stsz", 0, 0, |out| {
            put(out, one_size.unwrap_or(0));
            put(out, list.len() as u32);
            list.iter().filter(|_| one_size.is_none()).for_each(|s| put(out, s.1));
        });
        let rest = list.len() % per_chunk;
        write_full_box(&mut stbl, b"stsc", 0, 0, |out| {
            let entries = [(1, per_chunk), (chunks.len(), rest)];
            let entries = &entries[usize::from(chunks.len() == 1 && rest > 0)..1 + usize::from(rest > 0)];
            put(out, entries.len() as u32);
            entries
                .iter()
                .for_each(|&(first, count)| [first as u32, count as u32, 1].iter().for_each(|&v| put(out, v)));
        });
        write_full_box(&mut stbl, if wide { b"co64" } else { b"stco" }, 0, 0, |out| {
            put(out, chunks.len() as u32);
            for &chunk in &chunks {
                if wide { out.extend_from_slice(&chunk.to_be_bytes()) } else { put(out, chunk as u32) }
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
                    write_box(out, b"minf", |out| write_box(out, b"stbl", |out| out.extend_from_slice(&stbl)));
                });
            });
        });
        (out, samples)
    }

    proptest! {
        #[test]
        fn what_tables_say_is_read(
            list in prop::collection::vec((0u32..3, 1u32..4, any::<bool>(), -2i32..3), 1..60),
            per_chunk in 1usize..7,
            gap in 0u64..20,
            wide in any::<bool>(),
        ) {
            let (moov, samples) = written(&list, per_chunk, gap, wide);
            let moov = find(Boxes::new(&moov, 0), b"moov").expect("well formed").expect("there");
            prop_assert_eq!(read(moov, 1, 1000), Ok(samples));
        }
    }

    #[test]
    fn a_table_of_size_0_reaches_to_the_end_and_is_read_once() {
        let (mut moov, samples) = written(&[(10, 5, true, 0), (10, 6, true, 0)], 1, 3, false);
        let kind_at = moov.windows(4).position(|kind| kind == b"stco").expect("there");
        moov[kind_at - 4..kind_at].fill(0);
        let moov = find(Boxes::new(&moov, 0), b"moov").expect("well formed").expect("there");
        assert_eq!(read(moov, 1, 1000), Ok(samples));
    }

    #[test]
    fn chunks_are_walked() {
        // Two chunks of two samples, then one of one.
        let mut walk = ChunkWalk::new(vec![(0, 2), (2, 1)]);
        let chunks = [100u64, 200, 300];
        let at = |chunk: u32| chunks.get(chunk as usize).copied();
        let found: Vec<_> = (0..6).map(|_| walk.next(10, at)).collect();
        assert_eq!(found, [Some(100), Some(110), Some(200), Some(210), Some(300), None]);
    }
}
