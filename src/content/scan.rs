//! Finding what a movie is made of: its `moov`, and its fragments wherever they lie. Media is passed over, not read.

use std::ops::Range;

use crate::content::file::SourceError;
use crate::content::source::{Source, Window};
use crate::formats::error::Malformed;
use crate::formats::isobmff::boxes::{BoxHead, Boxes, HEAD_MAX};
use crate::formats::isobmff::emsg::{EventScheme, counts_from_segment, event_scheme};
use crate::formats::isobmff::fragment::MovieFragment;
use crate::formats::isobmff::movie::Movie;

/// A larger `moov` is no index but an attack: two days of samples need a tenth of it.
const MOOV_BYTES_MAX: u64 = 256 << 20;
/// A larger `moof` likewise.
const MOOF_BYTES_MAX: u64 = 16 << 20;
/// More fragments than a day has frames, nearly.
const FRAGMENTS_MAX: usize = 1 << 20;
/// The most event messages of one fragment that are looked at.
const EVENTS_MAX: usize = 16;
/// A larger `emsg` is carried, but not looked at.
const EMSG_BYTES_MAX: u64 = 64 << 10;
/// All `moof` of one movie together, held while it is opened.
const MOOF_BYTES_TOTAL_MAX: usize = 512 << 20;
/// How much of the media's two ends tells one file from another.
const FINGERPRINT_BYTES: u64 = 64 << 10;

/// Why a movie can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Reading failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The bytes are not what they should be.
    #[error("{file}: {error}")]
    Malformed {
        /// Name of the file.
        file: String,
        /// What is wrong, and where.
        error: Malformed,
    },
}

/// A fragment as it lies in a file.
#[derive(Clone, Debug)]
pub struct ScannedFragment {
    /// Index of the file in its source.
    pub file: u32,
    /// Where it begins: at its `moof`, or at `prft` and `emsg` boxes right before.
    pub start: u64,
    /// Where its `moof` lies.
    pub moof: Range<u64>,
    bytes: Range<usize>,
    /// The payload of the `mdat` that follows it directly.
    pub mdat: Option<Range<u64>>,
    /// Whether that `mdat` says its size, and has it: one that runs to the end of its file would swallow what is sent after it.
    pub is_sized: bool,
    /// Of the `emsg` boxes right before it: scheme and value.
    pub events: Vec<EventScheme>,
    /// How many of them count from where their segment begins.
    pub relative_events: u32,
}

/// A movie: one file, or an initialization segment and its media segments.
#[derive(Clone, Debug)]
pub struct ScannedMovie {
    /// The `moov`.
    pub moov: Vec<u8>,
    /// Where it lies in its file.
    pub moov_offset: u64,
    /// In the order of files and offsets.
    pub fragments: Vec<ScannedFragment>,
    /// The `moof` of all of them, one after another: thousands of small allocations cost more than what they hold.
    moofs: Vec<u8>,
    /// The payloads of all `mdat`, with the files they lie in, in that order.
    pub mdats: Vec<(u32, Range<u64>)>,
    /// Hash of what tells this movie from another: lengths, index bytes, both ends of the media.
    pub fingerprint: [u8; 32],
    /// What is odd, in sentences.
    pub warnings: Vec<String>,
}

impl ScannedMovie {
    /// The `moof` of `fragment`, which is one of these.
    pub fn moof(&self, fragment: &ScannedFragment) -> &[u8] {
        &self.moofs[fragment.bytes.clone()]
    }
}

/// Scans the movie that the files `files` of `source` hold; the first has the `moov`.
pub fn scan(source: &Source, files: Range<u32>) -> Result<ScannedMovie, ScanError> {
    let mut scan = Scan {
        moov: None,
        fragments: Vec::new(),
        moofs: Vec::new(),
        fingerprint: Fingerprint::default(),
        mdats: Vec::new(),
        warnings: Vec::new(),
    };
    for file in files.clone() {
        scan.file(source, file)?;
    }
    let first = name(source, files.start);
    let Some((moov_offset, moov)) = scan.moov else {
        let what = if scan.fragments.is_empty() {
            "no moov box: not an MP4 file"
        } else {
            "movie fragments, but no moov box before them"
        };
        return Err(ScanError::Malformed { file: first, error: Malformed::new(what, 0) });
    };
    let tags: Option<Vec<&str>> = files.clone().map(|file| source.tag(file)).collect();
    if let Some(tags) = tags {
        // Whoever keeps the bytes tells them apart already.
        tags.iter().for_each(|tag| scan.fingerprint.add(tag.as_bytes()));
    } else if let (Some((first, head)), Some((last, tail))) = (scan.mdats.first(), scan.mdats.last()) {
        for (file, range) in [
            (*first, head.start..head.end.min(head.start + FINGERPRINT_BYTES)),
            (*last, tail.start.max(tail.end.saturating_sub(FINGERPRINT_BYTES))..tail.end),
        ] {
            scan.fingerprint.add(source.window(file)?.at(range.start, (range.end - range.start) as usize)?);
        }
    }
    Ok(ScannedMovie {
        moov,
        moov_offset,
        fragments: scan.fragments,
        moofs: scan.moofs,
        mdats: scan.mdats,
        fingerprint: scan.fingerprint.finish(),
        warnings: scan.warnings,
    })
}

/// What the first boxes of a file make it look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looks {
    /// A `moov` with samples or fragments after it: a file to itself.
    Movie,
    /// A `moov` and nothing to play.
    Init,
    /// Fragments without a `moov`.
    Segment,
    /// None of these.
    Other,
}

/// How far `looks` goes before it decides: boxes of a file's top level.
const BOXES_LOOKED_AT_MAX: usize = 64;

/// Looks at the top-level boxes of file `index`.
pub fn looks(source: &Source, index: u32) -> Result<Looks, SourceError> {
    let mut window = source.window(index)?;
    let (mut offset, mut moov) = (0, false);
    for _ in 0..BOXES_LOOKED_AT_MAX {
        let Ok(Some(head)) = BoxHead::parse(window.at(offset, HEAD_MAX)?) else { break };
        match &head.kind.0 {
            b"moov" => moov = true,
            b"moof" if !moov => return Ok(Looks::Segment),
            b"moof" => return Ok(Looks::Movie),
            b"mdat" if moov => return Ok(Looks::Movie),
            _ => {}
        }
        match head.size.and_then(|size| offset.checked_add(size)) {
            Some(next) if next < window.len() => offset = next,
            _ => break,
        }
    }
    Ok(if moov { if has_samples(&mut window)? { Looks::Movie } else { Looks::Init } } else { Looks::Other })
}

/// Whether an `mdat` comes before the `moov` that ends the file: a progressive file.
fn has_samples(window: &mut Window<'_>) -> Result<bool, SourceError> {
    let mut offset = 0;
    for _ in 0..BOXES_LOOKED_AT_MAX {
        let Ok(Some(head)) = BoxHead::parse(window.at(offset, HEAD_MAX)?) else { break };
        if head.kind.0 == *b"mdat" {
            return Ok(true);
        }
        match head.size.and_then(|size| offset.checked_add(size)) {
            Some(next) => offset = next,
            None => break,
        }
    }
    Ok(false)
}

/// The track_IDs of the tracks in the `moov`, or of the fragments in the first `moof`, of file `index`.
pub fn track_ids(source: &Source, index: u32) -> Result<Vec<u32>, SourceError> {
    let mut window = source.window(index)?;
    let mut offset = 0;
    while let Ok(Some(head)) = BoxHead::parse(window.at(offset, HEAD_MAX)?) {
        let Some(size) = head.size else { break };
        if matches!(&head.kind.0, b"moov" | b"moof") && size <= MOOF_BYTES_MAX {
            let bytes = window.at(offset, size as usize)?;
            let Some(Ok(found)) = Boxes::new(bytes, offset).next() else { break };
            if head.kind.0 == *b"moov" {
                return Ok(Movie::parse(found).map(|m| m.tracks.iter().map(|t| t.id).collect()).unwrap_or_default());
            }
            return Ok(MovieFragment::parse(found)
                .map(|m| m.trafs.iter().map(|t| t.track_id).collect())
                .unwrap_or_default());
        }
        match offset.checked_add(size) {
            Some(next) if next < window.len() => offset = next,
            _ => break,
        }
    }
    Ok(Vec::new())
}

fn name(source: &Source, file: u32) -> String {
    source.path(file).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

struct Scan {
    moov: Option<(u64, Vec<u8>)>,
    fragments: Vec<ScannedFragment>,
    moofs: Vec<u8>,
    fingerprint: Fingerprint,
    mdats: Vec<(u32, Range<u64>)>,
    warnings: Vec<String>,
}

/// A hash that is given little at a time: blake3 takes many blocks at once several times faster than one after another.
#[derive(Default)]
struct Fingerprint {
    hasher: blake3::Hasher,
    waiting: Vec<u8>,
}

/// What blake3 is given at once: enough for the widest vectors there are (16 chunks of 1 KiB), a few times over.
const HASHED_BYTES: usize = 64 << 10;

impl Fingerprint {
    fn add(&mut self, bytes: &[u8]) {
        let many = bytes.len() >= HASHED_BYTES;
        if !many {
            self.waiting.extend_from_slice(bytes);
        }
        if many || self.waiting.len() >= HASHED_BYTES {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
        if many {
            self.hasher.update(bytes);
        }
    }

    fn finish(mut self) -> [u8; 32] {
        *self.hasher.update(&self.waiting).finalize().as_bytes()
    }
}

impl Scan {
    /// Walks one file. What is wrong behind the `moov` costs what comes after it, and is a warning.
    fn file(&mut self, source: &Source, file: u32) -> Result<(), ScanError> {
        let mut window = source.window(file)?;
        self.fingerprint.add(&window.len().to_be_bytes());
        match self.boxes(&mut window, file) {
            Ok(()) => Ok(()),
            Err(ScanError::Malformed { error, .. }) if self.moov.is_some() => {
                let name = name(source, file);
                self.warnings.push(format!("{name}: {error}; what lies behind is left out"));
                Ok(())
            }
            Err(ScanError::Malformed { error, .. }) => Err(ScanError::Malformed { file: name(source, file), error }),
            Err(error) => Err(error),
        }
    }

    fn boxes(&mut self, window: &mut Window<'_>, file: u32) -> Result<(), ScanError> {
        let wrong = |error| ScanError::Malformed { file: String::new(), error };
        if window.is_empty() {
            return Err(wrong(Malformed::new("the file is empty", 0)));
        }
        let mut offset = 0;
        // Where the prft and emsg boxes right before the next moof begin.
        let mut prefix = None;
        let mut events = Vec::new();
        let mut relative_events = 0;
        while offset < window.len() {
            let left = window.len() - offset;
            let head = BoxHead::parse(window.at(offset, HEAD_MAX)?)
                .and_then(|head| {
                    head.ok_or_else(|| Malformed::new(format!("{left} stray bytes, too few for a box"), 0))
                })
                .map_err(|error| wrong(error.shifted(offset)))?;
            let size = head.size.unwrap_or(left);
            let cut = size > left;
            let too_long = || {
                let known = matches!(
                    &head.kind.0,
                    b"ftyp" | b"styp" | b"moov" | b"moof" | b"mdat" | b"free" | b"skip" | b"sidx"
                );
                if offset == 0 && !known {
                    return wrong(Malformed::new("not an MP4 file: it does not begin with a box", 0));
                }
                let what = format!("a box of {size} bytes, {left} left in the file");
                wrong(Malformed::new(what, offset).within(head.kind))
            };
            let end = offset + size.min(left);
            match &head.kind.0 {
                b"moov" | b"moof" if cut => return Err(too_long()),
                b"moov" | b"moof" => {
                    let limit = if head.kind.0 == *b"moov" { MOOV_BYTES_MAX } else { MOOF_BYTES_MAX };
                    if size > limit {
                        let what = format!("a box of {size} bytes, at most {limit} are read");
                        return Err(wrong(Malformed::new(what, offset).within(head.kind)));
                    }
                    if head.kind.0 == *b"moov" {
                        let bytes = window.take(offset, size as usize)?;
                        self.fingerprint.add(&bytes);
                        self.moov.get_or_insert((offset, bytes));
                    } else {
                        let bytes = window.at(offset, size as usize)?;
                        self.fingerprint.add(bytes);
                        let from = self.moofs.len();
                        if self.fragments.len() >= FRAGMENTS_MAX {
                            return Err(wrong(Malformed::new(format!("more than {FRAGMENTS_MAX} fragments"), offset)));
                        }
                        if from + bytes.len() > MOOF_BYTES_TOTAL_MAX {
                            let what = format!("more than {MOOF_BYTES_TOTAL_MAX} bytes of moof");
                            return Err(wrong(Malformed::new(what, offset)));
                        }
                        self.moofs.extend_from_slice(bytes);
                        let start = prefix.unwrap_or(offset);
                        self.fragments.push(ScannedFragment {
                            file,
                            start,
                            moof: offset..end,
                            bytes: from..self.moofs.len(),
                            mdat: None,
                            is_sized: false,
                            events: std::mem::take(&mut events),
                            relative_events: std::mem::take(&mut relative_events),
                        });
                    }
                }
                b"mdat" => {
                    let payload = offset + u64::from(head.head_len)..end;
                    if let Some(last) = self.fragments.last_mut().filter(|f| f.file == file && f.moof.end == offset) {
                        last.mdat = Some(payload.clone());
                        last.is_sized = head.size.is_some() && !cut;
                    }
                    self.mdats.push((file, payload));
                    if cut {
                        return Err(too_long());
                    }
                }
                _ if cut => return Err(too_long()),
                _ => {}
            }
            if matches!(&head.kind.0, b"prft" | b"emsg") {
                // They go out with the fragment, so what they say is part of what tells one file from another.
                let bytes = window.at(offset, size.min(EMSG_BYTES_MAX) as usize)?;
                self.fingerprint.add(bytes);
                let whole = Boxes::new(bytes, offset).next().and_then(Result::ok);
                if let Some(emsg) = whole.filter(|b| b.kind.0 == *b"emsg" && events.len() < EVENTS_MAX)
                    && let Ok(scheme) = event_scheme(emsg)
                {
                    events.push(scheme);
                    relative_events += u32::from(counts_from_segment(emsg));
                }
            }
            prefix = match &head.kind.0 {
                b"prft" | b"emsg" => prefix.or(Some(offset)),
                _ => {
                    events.clear();
                    relative_events = 0;
                    None
                }
            };
            offset = end;
        }
        Ok(())
    }
}
