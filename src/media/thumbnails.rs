//! Thumbnails: small pictures of a presentation, many to a sheet, for who looks for a place in it.
//!
//! ```text
//!   sheet 1   0 s   5 s  10 s        columns 3, rows 2, one every 5 s
//!            15 s  20 s  25 s
//! ```

use crate::formats::image::Format;
use crate::media::sample::SourceRange;
use crate::media::track::Version;

/// The thumbnails of a presentation, from its beginning on.
#[derive(Clone, Debug)]
pub struct Thumbnails {
    /// The name in URLs, unlike that of any track.
    pub name: String,
    /// A hash of what the sheets are and hold.
    pub version: Version,
    /// What the sheets are coded as.
    pub format: Format,
    /// Pixels of a sheet.
    pub width: u32,
    /// Pixels of a sheet.
    pub height: u32,
    /// Thumbnails side by side.
    pub columns: u32,
    /// Thumbnails one below the other.
    pub rows: u32,
    /// Milliseconds from one to the next.
    pub interval_ms: u64,
    /// The files, in order, each whole; at least one.
    pub sheets: Vec<SourceRange>,
}

impl Thumbnails {
    /// Milliseconds from one sheet to the next.
    pub fn sheet_ms(&self) -> u64 {
        self.interval_ms * u64::from(self.columns) * u64::from(self.rows)
    }

    /// Pixels of a thumbnail.
    pub fn size(&self) -> (u32, u32) {
        (self.width / self.columns, self.height / self.rows)
    }

    /// How many sheets there are something to show of within `duration_ms`.
    pub fn shown(&self, duration_ms: u64) -> usize {
        let needed = duration_ms.div_ceil(self.sheet_ms().max(1));
        self.sheets.len().min(usize::try_from(needed).unwrap_or(usize::MAX))
    }

    /// Bits a second of the largest sheet.
    pub fn peak(&self) -> u64 {
        let largest = self.sheets.iter().map(SourceRange::len).max().unwrap_or(0);
        (largest.saturating_mul(8000) / self.sheet_ms().max(1)).max(1)
    }
}
