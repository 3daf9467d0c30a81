//! Sample tables read a second time, by the `mp4` crate: what two readers of different hands agree on is hardly misread.
//!
//! The crate gets a copy of nothing but the boxes it needs, each of them checked by our own walk first, with a sample entry that it passes
//! over, and goes from sample to sample: time enough for `headwater inspect`, and nothing is served of it.

use std::io::Cursor;
use std::iter::{repeat, repeat_n};

use mp4::{BoxHeader, MoovBox, ReadBox};

use super::boxes::{BoxRef, write_box, write_full_box};
use super::movie;
use super::sample_tables::{Listed, ListedSample};
use crate::formats::error::Malformed;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondReading {
    /// Every sample has the same size, duration, composition offset, place, and is or is not a sync sample in both.
    Agrees,
    /// The first difference, or why the crate can't read the tables.
    Differs(String),
}

/// Compares `listed`, the samples of the `trak` whose track_ID is `id`, with what the crate reads.
pub fn compare(moov: BoxRef<'_>, id: u32, listed: &Listed) -> Result<SecondReading, Malformed> {
    let scratch = scratch_movie(moov, id)?;
    let theirs = match read(&scratch, listed.sizes.len()) {
        Ok(samples) => samples,
        Err(error) => return Ok(SecondReading::Differs(error)),
    };
    if theirs.len() != listed.sizes.len() {
        let (ours, theirs) = (listed.sizes.len(), theirs.len());
        return Ok(SecondReading::Differs(format!("{ours} samples, or {theirs}")));
    }
    let other = (1..).zip(listed.samples().zip(theirs)).find(|(_, (ours, theirs))| ours != theirs);
    Ok(other.map_or(SecondReading::Agrees, |(number, (ours, theirs))| {
        SecondReading::Differs(format!("sample {number} is {ours}, or {theirs}"))
    }))
}

/// The samples of the only track in `scratch`, `max` of them at most.
fn read(scratch: &[u8], max: usize) -> Result<Vec<ListedSample>, String> {
    let mut reader = Cursor::new(scratch);
    let movie = BoxHeader::read(&mut reader)
        .and_then(|header| MoovBox::read_box(&mut reader, header.size))
        .map_err(|error| error.to_string())?;
    let tables = &movie.traks.first().ok_or("no track")?.mdia.minf.stbl;
    let sizes: Vec<u32> = match tables.stsz.sample_size {
        0 => tables.stsz.sample_sizes.clone(),
        size => vec![size; max.min(tables.stsz.sample_count as usize)],
    };
    let runs = |count: u32| max.min(count as usize);
    let last = tables.stts.entries.last().map_or(0, |entry| entry.sample_delta);
    let durations = tables.stts.entries.iter().flat_map(|entry| repeat_n(entry.sample_delta, runs(entry.sample_count)));
    let offsets = tables.ctts.iter().flat_map(|ctts| &ctts.entries);
    let offsets = offsets.flat_map(|entry| repeat_n(entry.sample_offset, runs(entry.sample_count)));
    let mut syncs = tables.stss.as_ref().map(|stss| stss.entries.iter().copied().peekable());
    let chunks: Vec<u64> = match (&tables.stco, &tables.co64) {
        (Some(stco), _) => stco.entries.iter().map(|&offset| offset.into()).collect(),
        (None, Some(co64)) => co64.entries.clone(),
        (None, None) => Vec::new(),
    };
    let mut entries = tables.stsc.entries.iter().peekable();
    let (mut per_chunk, mut places) = (0, Vec::with_capacity(sizes.len()));
    for (chunk, mut place) in (1..).zip(chunks) {
        while let Some(entry) = entries.next_if(|entry| entry.first_chunk <= chunk) {
            per_chunk = entry.samples_per_chunk as usize;
        }
        let first = places.len();
        for &size in sizes.iter().skip(first).take(per_chunk) {
            places.push(place);
            place = place.saturating_add(size.into());
        }
    }
    let columns = sizes.into_iter().zip(durations.chain(repeat(last))).zip(offsets.chain(repeat(0))).zip(places);
    Ok((1..)
        .zip(columns)
        .map(|(number, (((size, duration), composition_offset), place))| {
            let is_sync = syncs.as_mut().is_none_or(|syncs| {
                while syncs.next_if(|&sync| sync < number).is_some() {}
                syncs.next_if_eq(&number).is_some()
            });
            ListedSample { duration, size, is_sync, composition_offset, place }
        })
        .collect())
}

/// A `moov` of one `trak` that holds what the tables need and nothing else.
fn scratch_movie(moov: BoxRef<'_>, id: u32) -> Result<Vec<u8>, Malformed> {
    let trak = movie::track(moov, id)?;
    let (mvhd, tkhd, mdia) = (moov.required(b"mvhd")?, trak.required(b"tkhd")?, trak.required(b"mdia")?);
    let (mdhd, hdlr, minf) = (mdia.required(b"mdhd")?, mdia.required(b"hdlr")?, mdia.required(b"minf")?);
    let mut tables = Vec::new();
    for child in minf.required(b"stbl")?.children() {
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

/// `child` with its size written out: 0, to the end of what is around it (§4.2.2), sends the crate round for ever.
fn copy(out: &mut Vec<u8>, child: BoxRef<'_>) {
    write_box(out, &child.kind.0, |out| out.extend_from_slice(child.payload()));
}
