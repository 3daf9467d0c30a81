//! How the origin behaves.

use std::time::Duration;

/// How objects are made and kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of memory that all caches together may keep alive: 512 MiB here; the program takes a share of what there is.
    pub cache_bytes: u64,
    /// Where players of HLS find keys: a URI with `{kid}` for the key's id. Without it HLS of encrypted media needs `pssh` boxes.
    pub key_uri: Option<String>,
    /// How many segments after a requested one are made before they are asked for: 0, since a CDN that wants them will ask.
    pub prefetch: u32,
    /// How many objects may be made at once before others are refused with 503: 256, each with a segment in memory.
    pub flights_max: usize,
    /// How long master playlists and MPDs of presentations on demand may be used without asking again: 60 s.
    pub manifest_max_age: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            cache_bytes: 512 << 20,
            key_uri: None,
            prefetch: 0,
            flights_max: 256,
            manifest_max_age: Duration::from_secs(60),
        }
    }
}
