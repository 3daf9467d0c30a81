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
    /// Reads of local files under way at once that wait for a disk, each on a thread of its own: what keeps disks and a network mount busy. Four times
    /// as many wait for their turn; more would come too late for who asked.
    pub reads_max: usize,
    /// Bytes that bodies may keep alive beside the cache: being read, or evicted and still held by readers who are slow. Beyond it nothing more
    /// is read.
    pub in_flight_bytes: u64,
    /// Requests that wait for something to be made. What lies in the cache takes microseconds and does not count, so this many mean that
    /// sources are too slow, and more waiting would only spend memory.
    pub requests_max: usize,
    /// Requests that wait for what is live: a connection that waits keeps some kilobytes. One channel alone has half of them.
    pub waits_max: usize,
    /// Files of opened presentations that are kept open, so that a replaced one can still be played. A share of the descriptors
    /// a process may have; beyond it presentations are closed and opened again when they are asked for.
    pub open_files_max: usize,
    /// How long a request waits for a presentation of remote storage to be opened, before it is told to come again: a player waits
    /// about as long.
    pub open_wait: Duration,
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
            reads_max: 32,
            in_flight_bytes: 256 << 20,
            requests_max: 4096,
            waits_max: 64 << 10,
            open_files_max: 4096,
            open_wait: Duration::from_secs(8),
            manifest_max_age: Duration::from_secs(120),
            sends_cmsd: false,
        }
    }
}

/// What of the budget indexes may take, in hundredths.
pub(crate) const INDEX_SHARE: u64 = 19;

/// How long a playlist or MPD may be used while it is asked for again (RFC 5861 §3), at most: then nobody waits for a render. Old versions are
/// answered that much longer.
const STALE_WHILE_REVALIDATE_MAX: Duration = Duration::from_secs(30);

impl Options {
    /// How long a playlist or MPD may be used while it is asked for again.
    pub(crate) fn stale_while_revalidate(&self) -> Duration {
        self.manifest_max_age.min(STALE_WHILE_REVALIDATE_MAX)
    }

    /// What of the budget indexes may take.
    pub(crate) fn index_bytes(&self) -> u64 {
        self.cache_bytes / 100 * INDEX_SHARE
    }
}
