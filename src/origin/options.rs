//! How the origin behaves.

use std::time::Duration;

/// How the origin behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Bytes of memory that all instances of the cache together may keep.
    pub cache_bytes: u64,
    /// URI of a content key in HLS, with `{kid}` for the key's id in hexadecimal digits; `None`: presentations whose keys
    /// nothing else tells are not offered as HLS.
    pub key_uri: Option<String>,
    /// Segments that are made ahead of the one asked for. None by default: a CDN asks for what its viewers watch, and reading
    /// ahead doubles what a disk has to give to who jumps.
    pub prefetch: u32,
    /// Objects being made at once. Each keeps about a segment, a few megabytes, and one read of a source.
    pub flights_max: usize,
    /// Files of opened presentations that are kept open, so that a replaced one can still be played. A share of the descriptors
    /// a process may have; beyond it presentations are closed and opened again when they are asked for.
    pub open_files_max: usize,
    /// How long a playlist or MPD on demand may be used without asking again: a replaced source is seen after that.
    pub manifest_max_age: Duration,
    /// Whether answers say what they are (CMSD-Static, CTA-5006): some fifty bytes each, for CDNs that read it.
    pub sends_cmsd: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache_bytes: 512 << 20,
            key_uri: None,
            prefetch: 0,
            flights_max: 256,
            open_files_max: 4096,
            manifest_max_age: Duration::from_secs(120),
            sends_cmsd: false,
        }
    }
}

/// What of the budget indexes may take, in hundredths.
pub(crate) const INDEX_SHARE: u64 = 19;

impl Options {
    /// What of the budget indexes may take.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.cache_bytes / 100 * INDEX_SHARE
    }
}
