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
    /// How long a playlist or MPD on demand may be used without asking again: a replaced source is seen after that.
    pub manifest_max_age: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache_bytes: 512 << 20,
            key_uri: None,
            prefetch: 0,
            flights_max: 256,
            manifest_max_age: Duration::from_secs(120),
        }
    }
}
