//! Sheets of thumbnails beside the media, as a `presentation.toml` names them: what they hold is read from their heads.

use std::ops::Range;
use std::path::PathBuf;

use crate::content::source::Source;
use crate::formats::image::Head;
use crate::media::sample::SourceRange;
use crate::media::thumbnails::Thumbnails;
use crate::media::track::{FORMAT_VERSION, Version};

/// The most sheets of a presentation: a day of a sheet every minute and a half.
pub const SHEETS_MAX: usize = 1000;
/// The most thumbnails in a row or a column.
pub const TILES_MAX: u32 = 100;
/// The largest sheet in bytes: players fetch one to show a small picture.
const SHEET_BYTES_MAX: u64 = 16 << 20;
/// How much of a sheet is read for its size where its first bytes were not enough, since a camera's notes come first.
const HEAD_BYTES_MAX: u64 = 256 << 10;
/// How much of either end of a sheet is hashed, beside its length; in the first its size is looked for.
const HASHED_BYTES: u64 = 4 << 10;

/// Thumbnails, and where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThumbnailFiles {
    /// What they are called in URLs, unless that is taken.
    pub name: String,
    /// The sheets in order; at least one, at most [`SHEETS_MAX`].
    pub files: Vec<PathBuf>,
    /// Thumbnails side by side, 1 to [`TILES_MAX`].
    pub columns: u32,
    /// Thumbnails one below the other, likewise.
    pub rows: u32,
    /// Milliseconds from one to the next, not 0.
    pub interval_ms: u64,
}

impl ThumbnailFiles {
    /// Reads the heads of its sheets, which are `files` of `source`. The error says why there are no thumbnails. Blocks.
    pub fn read(&self, source: &Source, files: Range<u32>) -> Result<Thumbnails, String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&FORMAT_VERSION.to_be_bytes());
        hasher.update(&self.columns.to_be_bytes());
        hasher.update(&self.rows.to_be_bytes());
        hasher.update(&self.interval_ms.to_be_bytes());
        let mut common: Option<Head> = None;
        let mut sheets = Vec::with_capacity(files.len());
        // Either end of every sheet in one read: a storage far away answers several at once.
        let mut ends = Vec::with_capacity(2 * files.len());
        for file in files.clone() {
            let len = source.file_len(file);
            ends.push(SourceRange { file, range: 0..len.min(HASHED_BYTES) });
            ends.push(SourceRange { file, range: len.saturating_sub(HASHED_BYTES)..len });
        }
        let unread = |error| format!("{error}; no thumbnails are offered");
        let mut read = source.read(&ends).map_err(unread)?;
        for (file, ends) in files.zip(ends.chunks_exact(2)) {
            let name = source.path(file).file_name().unwrap_or_default().to_string_lossy();
            let wrong = |why: String| format!("{name}: {why}; no thumbnails are offered");
            let len = source.file_len(file);
            if len > SHEET_BYTES_MAX {
                return Err(wrong(format!("{len} bytes, at most {SHEET_BYTES_MAX} are served as a sheet")));
            }
            let first = read.split_to(ends[0].len() as usize);
            let last = read.split_to(ends[1].len() as usize);
            let head = match Head::parse(&first) {
                Ok(head) => head,
                Err(_) => {
                    let more = SourceRange { file, range: 0..len.min(HEAD_BYTES_MAX) };
                    let more = source.read(&[more]).map_err(unread)?;
                    Head::parse(&more).map_err(|error| wrong(error.to_string()))?
                }
            };
            match common {
                None => common = Some(head),
                Some(first) if first == head => {}
                Some(first) => {
                    let pair = format!("{}x{}", head.width, head.height);
                    return Err(wrong(format!("{pair} pixels, the first sheet has {}x{}", first.width, first.height)));
                }
            }
            hasher.update(&len.to_be_bytes());
            hasher.update(&first);
            hasher.update(&last);
            sheets.push(SourceRange { file, range: 0..len });
        }
        let Some(Head { format, width, height }) = common else { return Err("no sheets".to_owned()) };
        let &ThumbnailFiles { columns, rows, interval_ms, .. } = self;
        if width < columns || height < rows {
            return Err(format!("{width}x{height} pixels hold no {columns}x{rows} thumbnails; none are offered"));
        }
        let hash = hasher.finalize();
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        let version = Version(u64::from_be_bytes(*first));
        Ok(Thumbnails { name: self.name.clone(), version, format, width, height, columns, rows, interval_ms, sheets })
    }
}
