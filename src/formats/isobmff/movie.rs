//! The movie box (ISO/IEC 14496-12 §8.2): what it says of its tracks, and the initialization segment of one of them.

use bytes::Bytes;

use super::boxes::{BoxRef, Boxes, FourCc, find, write_box, write_full_box};
use super::groups::{self, KeyGroups};
use super::quicktime;
use super::sample_entry::{self, SampleEntry};
use crate::formats::error::Malformed;
use crate::time::Timescale;

/// The most tracks of a movie that are looked at.
pub const TRACKS_MAX: usize = 64;
/// The most `pssh` boxes of one box that are taken: there are not so many systems.
const PSSH_MAX: usize = 64;
/// The largest `pssh` box that is taken: those of real systems have a few kilobytes, and every key that a playlist names repeats one.
const PSSH_BYTES_MAX: usize = 64 << 10;
/// The most bytes of all that are taken of one box: every track's initialization segment repeats them.
const PSSH_BYTES_TOTAL_MAX: usize = 256 << 10;
/// The longest language tag: RFC 5646 §4.4.1 has none above 35 characters that anybody needs.
const LANGUAGE_BYTES_MAX: usize = 255;
/// The most entries of an edit list that are looked at.
const EDITS_MAX: usize = 1024;

/// A `moov`.
#[derive(Clone, Debug)]
pub struct Movie {
    /// mvhd timescale, of edit durations.
    pub timescale: Timescale,
    /// The tracks that can be read.
    pub tracks: Vec<TrackHeader>,
    /// Why others can't: their track_ID if it is known, and what is wrong.
    pub rejected: Vec<(Option<u32>, Malformed)>,
    /// `pssh` boxes, whole.
    pub pssh: Vec<Bytes>,
    /// How many others are left out: too large, or too many.
    pub pssh_left_out: usize,
    /// Whether there is an `mvex`: movie fragments may follow.
    pub is_fragmented: bool,
}

/// A `trak`, as far as it is not carried verbatim.
#[derive(Clone, Debug)]
pub struct TrackHeader {
    /// track_ID.
    pub id: u32,
    /// track_enabled (§8.3.2.3).
    pub is_enabled: bool,
    /// hdlr handler_type: `vide`, `soun`, `text`, `subt`, …
    pub handler: FourCc,
    /// hdlr name.
    pub name: String,
    /// mdhd timescale.
    pub timescale: Timescale,
    /// mdhd language, packed ISO 639-2/T.
    pub language: u16,
    /// elng extended_language, BCP 47 (§8.4.6).
    pub extended_language: Option<String>,
    /// The edit list; empty if there is none.
    pub edits: Vec<Edit>,
    /// Its first sample entry; others are like it in codec and protection.
    pub entry: SampleEntry,
    /// How many sample entries there are.
    pub entry_count: u32,
    /// Number of samples that the `moov` itself lists.
    pub sample_count: u32,
    /// The size of all of them, if it is one (stsz sample_size): then their number is claimed, and nothing written down for each.
    pub sample_size: Option<u32>,
    /// Defaults of its fragments.
    pub trex: TrackExtends,
    /// `kind` boxes (§8.10.4): scheme and value.
    pub kinds: Vec<(String, String)>,
    /// track_IDs of the tracks that list its chapters (`tref`, `chap`).
    pub chapters: Vec<u32>,
}

/// An entry of an edit list (§8.6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// In the movie's timescale; 0 of a fragmented movie means to the end.
    pub segment_duration: u64,
    /// In the media's timescale; -1 for an empty edit.
    pub media_time: i64,
}

/// Defaults of a track's fragments (§8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TrackExtends {
    /// default_sample_description_index.
    pub description_index: u32,
    /// default_sample_duration.
    pub duration: u32,
    /// default_sample_size.
    pub size: u32,
    /// default_sample_flags.
    pub flags: u32,
}

impl Movie {
    /// Reads a `moov` that began at `offset` of its file.
    pub fn parse(moov: BoxRef<'_>) -> Result<Movie, Malformed> {
        let mvhd = moov.required(b"mvhd")?;
        let timescale = header_timescale(mvhd, 8).map_err(|e| e.within("moov/mvhd"))?;
        let mut movie = Movie {
            timescale,
            tracks: Vec::new(),
            rejected: Vec::new(),
            pssh: Vec::new(),
            pssh_left_out: 0,
            is_fragmented: false,
        };
        let mut room = PsshRoom::default();
        let mut extends = Vec::new();
        for child in moov.children() {
            let child = child.map_err(|e| e.within("moov"))?;
            match &child.kind.0 {
                b"mvex" => {
                    movie.is_fragmented = true;
                    for trex in child.children() {
                        let trex = trex.map_err(|e| e.within("moov/mvex"))?;
                        if trex.kind.0 == *b"trex" {
                            extends.push(track_extends(trex).map_err(|e| e.within("moov/mvex/trex"))?);
                        }
                    }
                }
                b"pssh" if room.takes(child.bytes()) => movie.pssh.push(Bytes::copy_from_slice(child.bytes())),
                b"pssh" => movie.pssh_left_out += 1,
                b"trak" if movie.tracks.len() + movie.rejected.len() > TRACKS_MAX => {}
                b"trak" if movie.tracks.len() + movie.rejected.len() == TRACKS_MAX => {
                    let what = format!("more than {TRACKS_MAX} tracks");
                    movie.rejected.push((None, Malformed::new(what, child.offset).within("moov")));
                }
                b"trak" => match TrackHeader::parse(child) {
                    Ok(track) => movie.tracks.push(track),
                    Err(error) => movie.rejected.push((track_id(child).ok(), error.within("moov"))),
                },
                _ => {}
            }
        }
        for track in &mut movie.tracks {
            if let Some((_, trex)) = extends.iter().find(|(id, _)| *id == track.id) {
                track.trex = *trex;
            }
        }
        Ok(movie)
    }
}

/// Which of the `pssh` boxes of a `moov` or `moof` are taken: as long as they are few and small.
#[derive(Default)]
pub(super) struct PsshRoom {
    count: usize,
    bytes: usize,
}

impl PsshRoom {
    pub(super) fn takes(&mut self, pssh: &[u8]) -> bool {
        let bytes = self.bytes + pssh.len();
        let takes = pssh.len() <= PSSH_BYTES_MAX && bytes <= PSSH_BYTES_TOTAL_MAX && self.count < PSSH_MAX;
        if takes {
            (self.bytes, self.count) = (bytes, self.count + 1);
        }
        takes
    }
}

pub(super) fn header_timescale(header: BoxRef<'_>, times: usize) -> Result<Timescale, Malformed> {
    let mut fields = header.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(if version == 1 { 2 * times } else { times })?;
    let at = fields.offset();
    Timescale::new(fields.u32()?).ok_or_else(|| Malformed::new("a timescale of 0", at))
}

pub(super) fn track_extends(trex: BoxRef<'_>) -> Result<(u32, TrackExtends), Malformed> {
    let mut fields = trex.fields();
    fields.version_and_flags()?;
    let id = fields.u32()?;
    let (description_index, duration, size, flags) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    Ok((id, TrackExtends { description_index, duration, size, flags }))
}

pub(super) fn track_id(trak: BoxRef<'_>) -> Result<u32, Malformed> {
    let tkhd = trak.required(b"tkhd")?;
    let mut fields = tkhd.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    fields.u32()
}

/// The `trak` in `moov` whose track_ID is `id`.
pub(super) fn track(moov: BoxRef<'_>, id: u32) -> Result<BoxRef<'_>, Malformed> {
    for trak in moov.children() {
        let trak = trak?;
        if trak.kind.0 == *b"trak" && track_id(trak)? == id {
            return Ok(trak);
        }
    }
    Err(Malformed::new(format!("no track {id}"), moov.offset).within(moov.kind))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

impl TrackHeader {
    fn parse(trak: BoxRef<'_>) -> Result<TrackHeader, Malformed> {
        let id = track_id(trak)?;
        let (_, track_flags) = trak.required(b"tkhd")?.fields().version_and_flags()?;
        let mdia = trak.required(b"mdia")?;
        let within = |e: Malformed| e.within("trak");
        let mdhd = mdia.required(b"mdhd").map_err(within)?;
        let timescale = header_timescale(mdhd, 8).map_err(|e| e.within("trak/mdia/mdhd"))?;
        let mut fields = mdhd.fields();
        let (version, _) = fields.version_and_flags()?;
        fields.skip(if version == 1 { 16 + 4 + 8 } else { 8 + 4 + 4 })?;
        let language = fields.u16()?;
        let extended_language = match mdia.child(b"elng").map_err(within)? {
            Some(elng) => Some(text(elng.payload().get(4..).unwrap_or(&[])))
                .filter(|tag| (1..=LANGUAGE_BYTES_MAX).contains(&tag.len())),
            None => None,
        };
        let mut hdlr = mdia.required(b"hdlr").map_err(within)?.fields();
        hdlr.skip(8)?;
        let handler = hdlr.take(4)?;
        let handler = FourCc([handler[0], handler[1], handler[2], handler[3]]);
        hdlr.skip(12)?;
        let name = text(hdlr.rest());
        let minf = mdia.required(b"minf").map_err(within)?;
        let stbl = minf.required(b"stbl").map_err(|e| e.within("trak/mdia"))?;
        let stsd = stbl.required(b"stsd").map_err(|e| e.within("trak/mdia/minf"))?;
        let mut entries = stsd.children_after(8).map(|entry| entry.and_then(sample_entry::parse));
        let entry = entries.next().unwrap_or_else(|| Err(Malformed::new("no sample entry", stsd.offset)));
        let mut entry = entry.map_err(|e| e.within("trak/mdia/minf/stbl/stsd"))?;
        // A clear lead in one track, or two codecs: what is said of the first would be wrong of the others.
        let kind = |entry: &SampleEntry| (entry.format, entry.codecs.clone(), entry.protection.clone());
        let (first, mut entry_count) = (kind(&entry), 1);
        let mut alike = |other: &SampleEntry| {
            entry_count += 1;
            kind(other) == first
        };
        if !entries.all(|other| other.as_ref().is_ok_and(&mut alike)) {
            let what = "several sample entries that differ in codec or protection";
            return Err(Malformed::new(what, stsd.offset).within("trak/mdia/minf/stbl/stsd"));
        }
        if let Some(protection) = &mut entry.protection {
            let mut described = stbl.children().map_while(Result::ok).filter(|b| b.kind.0 == *b"sgpd");
            if let Some(sgpd) = described.find(|b| groups::grouping_type(*b) == Some(*b"seig")) {
                protection.groups = KeyGroups::parse(sgpd).map_err(|e| e.within("trak/mdia/minf/stbl/sgpd"))?;
            }
        }
        let (stsz, stz2) = (stbl.child(b"stsz").map_err(within)?, stbl.child(b"stz2").map_err(within)?);
        let (sample_size, sample_count) = match stsz.or(stz2) {
            Some(sizes) => {
                let mut fields = sizes.fields();
                fields.version_and_flags()?;
                let (size, count) = (fields.u32()?, fields.u32()?);
                // In stz2 it is the width of a size.
                (Some(size).filter(|&size| size > 0 && stsz.is_some()), count)
            }
            None => (None, 0),
        };
        let edits = match trak.child(b"edts")? {
            Some(edts) => match edts.child(b"elst").map_err(within)? {
                Some(elst) => edit_list(elst).map_err(|e| e.within("trak/edts/elst"))?,
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        let mut kinds = Vec::new();
        if let Some(udta) = trak.child(b"udta")? {
            // QuickTime ends user data with a 32-bit zero, so a stray tail is no fault.
            for kind in udta.children().map_while(Result::ok).filter(|b| b.kind.0 == *b"kind") {
                let strings = kind.payload().get(4..).unwrap_or(&[]);
                let scheme = text(strings);
                let value = text(strings.get(scheme.len() + 1..).unwrap_or(&[]));
                kinds.push((scheme, value));
            }
        }
        let chapters = match trak.child(b"tref")? {
            Some(tref) => tref.child(b"chap").map_err(within)?.map_or(&[][..], |chap| chap.payload()),
            None => &[],
        };
        let chapters = chapters.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(TrackHeader {
            id,
            is_enabled: track_flags & 1 != 0,
            handler,
            name,
            timescale,
            language,
            extended_language,
            edits,
            entry,
            entry_count,
            sample_count,
            sample_size,
            trex: TrackExtends { description_index: 1, ..TrackExtends::default() },
            kinds,
            chapters,
        })
    }
}

fn edit_list(elst: BoxRef<'_>) -> Result<Vec<Edit>, Malformed> {
    let mut fields = elst.fields();
    let (version, _) = fields.version_and_flags()?;
    let count = fields.u32()? as usize;
    let mut edits = Vec::new();
    for _ in 0..count.min(EDITS_MAX) {
        let segment_duration = fields.u32_or_u64(version == 1)?;
        let media_time = if version == 1 { fields.u64()? as i64 } else { i64::from(fields.u32()? as i32) };
        fields.skip(4)?;
        edits.push(Edit { segment_duration, media_time });
    }
    Ok(edits)
}

/// The initialization segment (`ftyp` and `moov`) of track `id` alone.
///
/// The sample entries go through as they are, but for those laid out as in QuickTime. The edit list becomes one edit that
/// begins at `media_time`, or none if that is zero: an initial delay lies in the decode times of the fragments (ISO/IEC
/// 23000-19 §7.5.13). Durations become 0, "not known here", since they speak of the whole source.
pub fn write_init(moov: BoxRef<'_>, id: u32, media_time: i64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(1024);
    write_box(&mut out, b"ftyp", |out| out.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41"));
    let mut result = Ok(());
    write_box(&mut out, b"moov", |out| result = write_moov(out, moov, id, media_time));
    result.map(|()| out)
}

fn write_moov(out: &mut Vec<u8>, moov: BoxRef<'_>, id: u32, media_time: i64) -> Result<(), Malformed> {
    write_without_duration(out, moov.required(b"mvhd")?, 12);
    for trak in moov.children() {
        let trak = trak?;
        if trak.kind.0 == *b"trak" && track_id(trak)? == id {
            let mut result = Ok(());
            write_box(out, b"trak", |out| result = write_trak(out, trak, media_time));
            result?;
        }
    }
    let trex = match moov.child(b"mvex")? {
        Some(mvex) => {
            let mut all = mvex.children().map_while(Result::ok).filter(|b| b.kind.0 == *b"trex");
            all.find(|trex| track_extends(*trex).is_ok_and(|(found, _)| found == id)).map(|trex| trex.bytes())
        }
        None => None,
    };
    write_box(out, b"mvex", |out| match trex {
        Some(trex) => out.extend_from_slice(trex),
        None => write_full_box(out, b"trex", 0, 0, |out| {
            for value in [id, 1, 0, 0, 0] {
                out.extend_from_slice(&value.to_be_bytes());
            }
        }),
    });
    let mut room = PsshRoom::default();
    let boxes = moov.children().map_while(Result::ok).filter(|b| b.kind.0 == *b"pssh");
    for pssh in boxes.filter(|pssh| room.takes(pssh.bytes())) {
        out.extend_from_slice(pssh.bytes());
    }
    Ok(())
}

/// Copies `mvhd`, `mdhd` (duration after `before` bytes of version 0 fields) with the duration set to 0.
fn write_without_duration(out: &mut Vec<u8>, header: BoxRef<'_>, before: usize) {
    let start = out.len();
    out.extend_from_slice(header.bytes());
    let head = header.bytes().len() - header.payload().len();
    let wide = header.payload().first() == Some(&1);
    // Version 1 widens the two times before the duration, and the duration itself.
    let at = start + head + 4 + before + if wide { 8 } else { 0 };
    if let Some(duration) = out.get_mut(at..at + if wide { 8 } else { 4 }) {
        duration.fill(0);
    }
}

fn write_trak(out: &mut Vec<u8>, trak: BoxRef<'_>, media_time: i64) -> Result<(), Malformed> {
    for child in trak.children() {
        let child = child?;
        match &child.kind.0 {
            b"tkhd" => {
                let start = out.len();
                // creation, modification, track_ID, reserved; then the duration.
                write_without_duration(out, child, 16);
                let head = child.bytes().len() - child.payload().len();
                // track_enabled, track_in_movie (§8.3.2.3): alone in its file, a track that was one of several is to be played.
                out[start + head + 3] |= 3;
                if media_time != 0 {
                    write_edit(out, media_time);
                }
            }
            // Edits are rewritten, and the tracks that `tref` speaks of are not there.
            b"edts" | b"tref" => {}
            b"mdia" => {
                let mut result = Ok(());
                write_box(out, b"mdia", |out| result = write_mdia(out, child));
                result?;
            }
            _ => out.extend_from_slice(child.bytes()),
        }
    }
    Ok(())
}

fn write_edit(out: &mut Vec<u8>, media_time: i64) {
    write_box(out, b"edts", |out| {
        let narrow = i32::try_from(media_time);
        write_full_box(out, b"elst", u8::from(narrow.is_err()), 0, |out| {
            out.extend_from_slice(&1u32.to_be_bytes());
            match narrow {
                Ok(media_time) => {
                    out.extend_from_slice(&0u32.to_be_bytes());
                    out.extend_from_slice(&media_time.to_be_bytes());
                }
                Err(_) => {
                    out.extend_from_slice(&0u64.to_be_bytes());
                    out.extend_from_slice(&media_time.to_be_bytes());
                }
            }
            out.extend_from_slice(&[0, 1, 0, 0]);
        });
    });
}

fn write_mdia(out: &mut Vec<u8>, mdia: BoxRef<'_>) -> Result<(), Malformed> {
    for child in mdia.children() {
        let child = child?;
        match &child.kind.0 {
            b"mdhd" => write_without_duration(out, child, 12),
            b"minf" => {
                let mut result = Ok(());
                write_box(out, b"minf", |out| result = write_minf(out, child));
                result?;
            }
            _ => out.extend_from_slice(child.bytes()),
        }
    }
    Ok(())
}

fn write_minf(out: &mut Vec<u8>, minf: BoxRef<'_>) -> Result<(), Malformed> {
    for child in minf.children() {
        let child = child?;
        if child.kind.0 != *b"stbl" {
            out.extend_from_slice(child.bytes());
            continue;
        }
        let stsd = child.required(b"stsd")?;
        let mut result = Ok(());
        write_box(out, b"stbl", |out| {
            result = quicktime::write_descriptions(out, stsd);
            for kind in [b"stts", b"stsc"] {
                write_full_box(out, kind, 0, 0, |out| out.extend_from_slice(&[0; 4]));
            }
            write_full_box(out, b"stsz", 0, 0, |out| out.extend_from_slice(&[0; 8]));
            write_full_box(out, b"stco", 0, 0, |out| out.extend_from_slice(&[0; 4]));
            // Fragments may map their samples to groups that are described here (ISO/IEC 14496-12 §8.9.4).
            for sgpd in child.children().map_while(Result::ok).filter(|b| b.kind.0 == *b"sgpd") {
                out.extend_from_slice(sgpd.bytes());
            }
        });
        result?;
    }
    Ok(())
}

/// The `moov` among the boxes of `bytes`.
pub fn find_moov(bytes: &[u8]) -> Result<Option<BoxRef<'_>>, Malformed> {
    find(Boxes::new(bytes, 0), b"moov")
}
