//! A reader of fragmented MP4 of its own, so that what is served is not judged by the code that made it. It reads sources and
//! what is served alike, trusts both, and panics at what it does not understand.

use std::collections::BTreeMap;
use std::ops::Range;

/// A box: its type, and where its content lies.
#[derive(Clone, Debug)]
pub(crate) struct Box {
    pub(crate) name: [u8; 4],
    pub(crate) start: usize,
    pub(crate) content: Range<usize>,
}

/// The boxes in `range` of `bytes`.
pub(crate) fn boxes(bytes: &[u8], range: Range<usize>) -> Vec<Box> {
    let mut found = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let name = bytes[at + 4..at + 8].try_into().unwrap();
        let (head, size) = match u32(bytes, at) {
            0 => (8, range.end - at),
            1 => (16, u64(bytes, at + 8) as usize),
            size => (8, size as usize),
        };
        assert!(size >= head && at + size <= range.end, "a box of {size} bytes at {at}, {} left", range.end - at);
        found.push(Box { name, start: at, content: at + head..at + size });
        at += size;
    }
    found
}

/// The boxes called `name` within `parent`.
pub(crate) fn children<'a>(bytes: &'a [u8], parent: &Box, name: &'a [u8; 4]) -> impl Iterator<Item = Box> + 'a {
    boxes(bytes, parent.content.clone()).into_iter().filter(move |found| found.name == *name)
}

/// The box at the end of `path` within `parent`.
pub(crate) fn descend(bytes: &[u8], parent: &Box, path: &[&[u8; 4]]) -> Option<Box> {
    let mut at = parent.clone();
    for name in path {
        at = children(bytes, &at, name).next()?;
    }
    Some(at)
}

pub(crate) fn u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

pub(crate) fn u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn version(bytes: &[u8], full: &Box) -> u8 {
    bytes[full.content.start]
}

fn flags(bytes: &[u8], full: &Box) -> u32 {
    u32(bytes, full.content.start) & 0x00ff_ffff
}

/// A sample, edits applied.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Sample {
    /// Decode time, on the presentation's timeline.
    pub(crate) decode: i64,
    /// Presentation time.
    pub(crate) presented: i64,
    pub(crate) duration: u32,
    pub(crate) is_sync: bool,
    pub(crate) bytes: Vec<u8>,
    /// What senc says of it; empty where nothing does.
    pub(crate) protection: Vec<u8>,
}

/// A track with all its samples.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) id: u32,
    pub(crate) handler: [u8; 4],
    pub(crate) timescale: u32,
    /// The sample descriptions, byte for byte.
    pub(crate) stsd: Vec<u8>,
    /// What the edit list takes off, less what it adds.
    shift: i64,
    defaults: [u32; 4],
    next_decode: i64,
    pub(crate) samples: Vec<Sample>,
    /// Decode time, edits not applied, of the first sample of each fragment, as its tfdt says it.
    pub(crate) decode_times: Vec<i64>,
}

impl Track {
    /// When presentation ends.
    pub(crate) fn end(&self) -> i64 {
        self.samples.iter().map(|sample| sample.presented + i64::from(sample.duration)).max().unwrap()
    }

    /// When presentation begins.
    pub(crate) fn start(&self) -> i64 {
        self.samples.iter().map(|sample| sample.presented).min().unwrap()
    }
}

/// All tracks of the movie in `bytes`: a file, or an initialization segment and its media segments.
pub(crate) fn read(bytes: &[u8]) -> BTreeMap<u32, Track> {
    let mut tracks = BTreeMap::new();
    for top in boxes(bytes, 0..bytes.len()) {
        match &top.name {
            b"moov" => tracks = movie(bytes, &top),
            b"moof" => fragment(bytes, &top, &mut tracks),
            _ => {}
        }
    }
    tracks
}

fn movie(bytes: &[u8], moov: &Box) -> BTreeMap<u32, Track> {
    let mvhd = descend(bytes, moov, &[b"mvhd"]).unwrap();
    let movie_timescale = u32(bytes, mvhd.content.start + if version(bytes, &mvhd) == 1 { 20 } else { 12 });
    let mut tracks = BTreeMap::new();
    for trak in children(bytes, moov, b"trak") {
        let of = |path: &[&[u8; 4]]| descend(bytes, &trak, path);
        let tkhd = of(&[b"tkhd"]).unwrap();
        let id = u32(bytes, tkhd.content.start + if version(bytes, &tkhd) == 1 { 20 } else { 12 });
        let mdhd = of(&[b"mdia", b"mdhd"]).unwrap();
        let timescale = u32(bytes, mdhd.content.start + if version(bytes, &mdhd) == 1 { 20 } else { 12 });
        let hdlr = of(&[b"mdia", b"hdlr"]).unwrap();
        let handler = bytes[hdlr.content.start + 8..hdlr.content.start + 12].try_into().unwrap();
        let stbl = of(&[b"mdia", b"minf", b"stbl"]).unwrap();
        let stsd = descend(bytes, &stbl, &[b"stsd"]).unwrap();
        // A progressive file has no mvex.
        let mvex = descend(bytes, moov, &[b"mvex"]);
        let trex =
            mvex.and_then(|mvex| children(bytes, &mvex, b"trex").find(|trex| u32(bytes, trex.content.start + 4) == id));
        let defaults =
            trex.map_or([0; 4], |trex| [0, 1, 2, 3].map(|field| u32(bytes, trex.content.start + 8 + 4 * field)));
        let mut shift = 0;
        if let Some(elst) = of(&[b"edts", b"elst"]) {
            let at = elst.content.start + 8;
            for entry in 0..u32(bytes, at - 4) as usize {
                let (duration, media_time) = match version(bytes, &elst) {
                    1 => (u64(bytes, at + entry * 20), u64(bytes, at + entry * 20 + 8) as i64),
                    _ => (u32(bytes, at + entry * 12).into(), i64::from(u32(bytes, at + entry * 12 + 4) as i32)),
                };
                if media_time < 0 {
                    shift -= (duration * u64::from(timescale) / u64::from(movie_timescale)) as i64;
                } else {
                    shift += media_time;
                }
            }
        }
        let mut track = Track {
            id,
            handler,
            timescale,
            stsd: bytes[stsd.start..stsd.content.end].to_vec(),
            shift,
            defaults,
            next_decode: 0,
            samples: Vec::new(),
            decode_times: Vec::new(),
        };
        listed(bytes, &stbl, &mut track);
        tracks.insert(id, track);
    }
    tracks
}

/// The samples that the moov itself lists (ISO/IEC 14496-12 §8.6, §8.7).
fn listed(bytes: &[u8], stbl: &Box, track: &mut Track) {
    let table = |name: &[u8; 4], head: usize, columns: usize| -> Vec<Vec<u32>> {
        let Some(found) = descend(bytes, stbl, &[name]) else { return Vec::new() };
        let at = found.content.start + head;
        (0..u32(bytes, at - 4) as usize)
            .map(|row| (0..columns).map(|column| u32(bytes, at + (row * columns + column) * 4)).collect())
            .collect()
    };
    let runs = |rows: Vec<Vec<u32>>| -> Vec<u32> {
        rows.iter().flat_map(|row| std::iter::repeat_n(row[1], row[0] as usize)).collect()
    };
    let durations = runs(table(b"stts", 8, 2));
    let offsets = runs(table(b"ctts", 8, 2));
    let stsz = descend(bytes, stbl, &[b"stsz"]).unwrap();
    let sizes: Vec<u32> = match u32(bytes, stsz.content.start + 4) {
        0 => table(b"stsz", 12, 1).into_iter().map(|row| row[0]).collect(),
        one => vec![one; u32(bytes, stsz.content.start + 8) as usize],
    };
    let syncs = descend(bytes, stbl, &[b"stss"]).map(|_| table(b"stss", 8, 1));
    let chunks: Vec<u32> = table(b"stco", 8, 1).into_iter().map(|row| row[0]).collect();
    let per_chunk = table(b"stsc", 8, 3);
    let mut index = 0;
    for (chunk, &offset) in chunks.iter().enumerate() {
        let row = per_chunk.iter().rev().find(|row| row[0] as usize <= chunk + 1).unwrap();
        let mut at = offset as usize;
        for _ in 0..row[1] {
            let size = sizes[index] as usize;
            let composition = offsets.get(index).map_or(0, |&offset| i64::from(offset as i32));
            let is_sync = syncs.as_ref().is_none_or(|list| list.iter().any(|row| row[0] as usize == index + 1));
            push(track, durations[index], composition, is_sync, bytes[at..at + size].to_vec(), Vec::new());
            at += size;
            index += 1;
        }
    }
    assert_eq!(index, sizes.len());
}

fn push(track: &mut Track, duration: u32, composition: i64, is_sync: bool, bytes: Vec<u8>, protection: Vec<u8>) {
    let decode = track.next_decode - track.shift;
    track.samples.push(Sample { decode, presented: decode + composition, duration, is_sync, bytes, protection });
    track.next_decode += i64::from(duration);
}

fn fragment(bytes: &[u8], moof: &Box, tracks: &mut BTreeMap<u32, Track>) {
    let mut end_of_data = None;
    for traf in children(bytes, moof, b"traf") {
        let tfhd = descend(bytes, &traf, &[b"tfhd"]).unwrap();
        let set = flags(bytes, &tfhd);
        let mut at = tfhd.content.start + 4;
        let mut next = |present: bool, width: usize| {
            at += if present { width } else { 0 };
            present.then(|| at - width)
        };
        let id = u32(bytes, next(true, 4).unwrap());
        let base = next(set & 1 != 0, 8).map(|at| u64(bytes, at) as usize);
        next(set & 2 != 0, 4);
        let own = [8, 0x10, 0x20].map(|flag| next(set & flag != 0, 4).map(|at| u32(bytes, at)));
        let track = tracks.get_mut(&id).unwrap();
        let [duration, size, sample_flags] = [0, 1, 2].map(|field| own[field].unwrap_or(track.defaults[field + 1]));
        let default_base_is_moof = set & 0x02_0000 != 0;
        // §8.8.7: without either, data begin where those of the traf before end.
        let base = base.unwrap_or(if default_base_is_moof { moof.start } else { end_of_data.unwrap_or(moof.start) });
        if let Some(tfdt) = descend(bytes, &traf, &[b"tfdt"]) {
            let at = tfdt.content.start + 4;
            track.next_decode = if version(bytes, &tfdt) == 1 { u64(bytes, at) as i64 } else { u32(bytes, at).into() };
        }
        track.decode_times.push(track.next_decode);
        let mut protection = protection(bytes, &traf).into_iter();
        let mut data = base;
        for trun in children(bytes, &traf, b"trun") {
            let set = flags(bytes, &trun);
            let count = u32(bytes, trun.content.start + 4);
            let mut at = trun.content.start + 8;
            let mut field = |present: bool| {
                at += if present { 4 } else { 0 };
                present.then(|| u32(bytes, at - 4))
            };
            if let Some(offset) = field(set & 1 != 0) {
                data = (base as i64 + i64::from(offset as i32)) as usize;
            }
            let first_flags = field(set & 4 != 0);
            for index in 0..count {
                let duration = field(set & 0x100 != 0).unwrap_or(duration);
                let size = field(set & 0x200 != 0).unwrap_or(size) as usize;
                let own = field(set & 0x400 != 0);
                let flags = own.or(first_flags.filter(|_| index == 0)).unwrap_or(sample_flags);
                let composition = field(set & 0x800 != 0).unwrap_or(0);
                // Version 0 is unsigned (§8.8.8.2), but none here exceeds 31 bits.
                let composition = i64::from(composition as i32);
                let sample = bytes[data..data + size].to_vec();
                push(
                    track,
                    duration,
                    composition,
                    flags & 0x1_0000 == 0,
                    sample,
                    protection.next().unwrap_or_default(),
                );
                data += size;
            }
        }
        end_of_data = Some(data);
    }
}

/// The entries of senc (ISO/IEC 23001-7 §7.2), each as its bytes: by saiz if there is one; else the width of its initialization
/// vectors follows from what they add up to.
fn protection(bytes: &[u8], traf: &Box) -> Vec<Vec<u8>> {
    let Some(senc) = descend(bytes, traf, &[b"senc"]) else { return Vec::new() };
    if let Some(saiz) = descend(bytes, traf, &[b"saiz"]) {
        let at = saiz.content.start + 4 + if flags(bytes, &saiz) & 1 == 1 { 8 } else { 0 };
        let mut rest = &bytes[senc.content.start + 8..senc.content.end];
        let size = |sample| if bytes[at] == 0 { bytes[at + 5 + sample] } else { bytes[at] };
        let mut entry = |sample| rest.split_off(..size(sample).into()).expect("saiz adds up to senc").to_vec();
        return (0..u32(bytes, at + 1) as usize).map(&mut entry).collect();
    }
    let has_subsamples = flags(bytes, &senc) & 2 != 0;
    let count = u32(bytes, senc.content.start + 4) as usize;
    for iv_bytes in [8, 16, 0] {
        let mut at = senc.content.start + 8;
        let mut entries = Vec::new();
        for _ in 0..count {
            let start = at;
            at += iv_bytes;
            if has_subsamples && at + 2 <= senc.content.end {
                at += 2 + 6 * usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            }
            if at > senc.content.end {
                break;
            }
            entries.push(bytes[start..at].to_vec());
        }
        if at == senc.content.end && entries.len() == count {
            return entries;
        }
    }
    panic!("senc of {count} entries that fit no width");
}
