//! What a window keeps of names beside their media: of those that made room for others, and of tracks of events.

use std::sync::Arc;

use crate::content::live::pushed::Init;
use crate::time::Utc;

/// What the tracks had that made room for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct GivenUp {
    /// Numbers are as high at least.
    pub(super) next_number: u64,
    /// Stretches are named by later seconds.
    pub(super) named_s: u64,
}

/// A track that is no media.
#[derive(Debug)]
pub(super) struct EventFeed {
    pub(super) init: Arc<Init>,
    pub(super) heard_at: Utc,
}
