//! Places of those who wait for what is live. What is there already takes none, however many wait: who is refused is who asks for what comes next.
//!
//! ```text
//!   places   | of channel a ……………… | of b ……………… | free ……………… |     b gets another one while it has fewer than are free
//! ```
//!
//! A channel by itself has half of them; of channels that are equally wanted each has as many as stay free for the next. So none has to be
//! told its share beforehand, and none shuts out the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The places of all channels.
#[derive(Debug)]
pub(crate) struct Waits {
    taken: AtomicUsize,
    places: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Waits>);

impl Waits {
    /// `places` for all channels together.
    pub(crate) fn new(places: usize) -> Waits {
        Waits { taken: AtomicUsize::new(0), places }
    }

    /// A place for somebody of a channel that has `own`, if there is one.
    pub(crate) fn enter(self: &Arc<Waits>, own: usize) -> Option<Waiting> {
        let has_room = |taken: usize| (own < self.places.saturating_sub(taken)).then_some(taken + 1);
        let entered = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room);
        entered.ok().map(|_| Waiting(Arc::clone(self)))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of each channel get a place, where all of them ask in turns, `rounds` times.
    fn shares(places: usize, channels: usize, rounds: usize) -> Vec<usize> {
        let waits = Arc::new(Waits::new(places));
        let mut waiting: Vec<Vec<Waiting>> = (0..channels).map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for own in &mut waiting {
                own.extend(waits.enter(own.len()));
            }
        }
        waiting.iter().map(Vec::len).collect()
    }

    #[test]
    fn a_channel_leaves_as_many_places_as_it_has() {
        assert_eq!(shares(100, 1, 1000), [50]);
        assert_eq!(shares(100, 3, 1000), [25, 25, 25]);
        assert_eq!(shares(1, 2, 10), [1, 0], "at least one");
        let waits = Arc::new(Waits::new(100));
        let alone: Vec<Waiting> = (0..).map_while(|own| waits.enter(own)).collect();
        let second: Vec<Waiting> = (0..).map_while(|own| waits.enter(own)).collect();
        assert_eq!((alone.len(), second.len()), (50, 25), "who comes late gets some at once");
        drop((alone, second));
        assert_eq!(waits.taken.load(Ordering::Relaxed), 0);
    }
}
