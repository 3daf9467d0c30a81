//! What requests tell of segments: whether one is whole is known when the next begins, and sometimes with the end of a request.
//!
//! | a request is | a segment is whole |
//! |---|---|
//! | a file of a packager | with its request, whatever is in it |
//! | hours, or a chunk | where the next one begins |
//! | a GOP, or several | with the request behind which the next one begins, since that will begin with a sync sample as those before did |
//!
//! So the same media is cut in one way, however it is sent. Of sound, which may be cut before every chunk, nothing has to be foreseen.

use serde::{Deserialize, Serialize};

/// Requests in a row that began with a sync sample, before the next one is taken to do so: of those that are chunks every other one does,
/// at most.
const ALIKE: u32 = 3;

/// How the requests and the segments of a track go together.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    /// Requests in a row that began with a sync sample.
    alike: u32,
    /// Whether one did not: then it is chunks that are sent one by one.
    are_chunks: bool,
    /// How many began in the segment under way, and in the one before.
    within: (u32, u32),
}

impl Requests {
    /// A chunk came that begins a request or not, and with a sync sample or not.
    pub fn note(&mut self, begins: bool, starts_with_sync: bool) {
        if begins {
            self.alike = if starts_with_sync { self.alike.saturating_add(1) } else { 0 };
            self.are_chunks |= !starts_with_sync;
            self.within.0 = self.within.0.saturating_add(1);
        }
    }

    /// The segment under way is over.
    pub fn segment_ends(&mut self) {
        self.within = (0, self.within.0);
    }

    /// Whether a request has the whole of the segment that it ends in, as far as those before tell.
    pub fn are_whole(self) -> bool {
        !self.are_chunks && self.within.0 <= 1 && self.within.1 <= 1
    }

    /// Whether the next request begins with a sync sample.
    pub fn begin_with_sync(self) -> bool {
        self.alike >= ALIKE && !self.are_chunks
    }
}
