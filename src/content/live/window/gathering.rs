//! A period that gathers its tracks: nobody is told of it.

use crate::time::{MediaTime, Utc};

/// A period that is not announced yet.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) number: u64,
    pub(super) since: Utc,
    /// A moment, and the media time that it was then.
    pub(super) anchor: Option<(Utc, MediaTime)>,
    /// Where tracks go on that were in the period before; `None` if this is another timeline.
    pub(super) goes_on: Option<(MediaTime, MediaTime)>,
    /// Who was the first of them, if one left the period before for it.
    pub(super) leader: Option<Leader>,
}

/// The first that left the newest period for the one that gathers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leader {
    pub(super) at: Utc,
    /// How long its segments are.
    pub(super) lasts_us: i64,
}

impl Gathering {
    pub(super) fn new(number: u64, now: Utc) -> Gathering {
        Gathering { number, since: now, anchor: None, goes_on: None, leader: None }
    }

    /// Who has segments of `lasts_us` leaves the period before for it, and goes on at `place`.
    pub(super) fn is_left_for(&mut self, lasts_us: i64, place: (MediaTime, MediaTime), now: Utc) {
        if self.goes_on.is_none() {
            (self.goes_on, self.leader) = (Some(place), Some(Leader { at: now, lasts_us }));
        }
    }
}
