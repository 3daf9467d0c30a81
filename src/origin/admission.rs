//! What is let in when too much is wanted: kinds of work, of which the less urgent stop first, and the memory that bodies keep
//! alive, wherever they are.
//!
//! ```text
//!   places     0 ……………………………… 1/4 ……………… 1/2 ………………………… 7/8 ……… 15/16 … flights-max
//!              made ahead      ┘               │                   │             │         │
//!              presentations opened            ┘                   │             │         │
//!              segments                                            ┘             │         │
//!              playlists and MPDs, which wait for no storage                     ┘         │
//!              what is live                                                                ┘
//! ```
//!
//! What lies in the cache takes no place: it is never refused for the sake of what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;

/// Kinds of work, the most urgent first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// A segment of a channel, which the spool has: who asks for it plays now, and can't wait. What memory still has of a channel, and its
    /// playlists, take no place at all.
    Live,
    /// A playlist or MPD of an opened presentation: without it nobody plays, and it costs milliseconds.
    Manifest,
    /// A segment: somebody plays.
    Segment,
    /// Opening a presentation: somebody wants to play. It reads most.
    Opening,
    /// A segment that nobody has asked for yet.
    Ahead,
}

/// Places for work, in order of urgency.
#[derive(Debug)]
pub struct Admission {
    taken: AtomicUsize,
    places: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place(Arc<Admission>);

impl Admission {
    /// `places` for all kinds together.
    pub fn new(places: usize) -> Admission {
        Admission { taken: AtomicUsize::new(0), places }
    }

    /// Places that `work` may fill, those of other kinds counted: at least one.
    fn limit(&self, work: Work) -> usize {
        let share = match work {
            Work::Live => self.places,
            Work::Manifest => self.places - self.places / 16,
            Work::Segment => self.places - self.places / 8,
            Work::Opening => self.places / 2,
            Work::Ahead => self.places / 4,
        };
        share.max(1)
    }

    /// A place for `work`, if there is one.
    pub fn enter(self: &Arc<Admission>, work: Work) -> Option<Place> {
        let limit = self.limit(work);
        let entered =
            self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < limit).then_some(taken + 1));
        entered.ok().map(|_| Place(Arc::clone(self)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The memory of bodies: those in the cache, those being read, and those that only a slow reader holds any more.
#[derive(Debug)]
pub struct Memory {
    alive_bytes: AtomicU64,
    ceiling_bytes: u64,
}

/// Some of it, until it is dropped.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Memory {
    /// Up to `ceiling_bytes`.
    pub fn new(ceiling_bytes: u64) -> Memory {
        Memory { alive_bytes: AtomicU64::new(0), ceiling_bytes }
    }

    /// Room for `bytes`, if there is. One body is let in whatever its size, or it could never be made.
    pub fn reserve(self: &Arc<Memory>, bytes: u64) -> Option<Share> {
        let reserved = self.alive_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |alive| {
            let after = alive.saturating_add(bytes);
            (after <= self.ceiling_bytes || alive == 0).then_some(after)
        });
        reserved.ok().map(|_| Share { memory: Arc::clone(self), bytes })
    }

    /// Bytes that are alive now.
    pub fn alive_bytes(&self) -> u64 {
        self.alive_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.alive_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Share {
    /// `bytes` in this share: it is given back with the last slice of them.
    pub fn hold(self, bytes: Bytes) -> Bytes {
        struct Held {
            bytes: Bytes,
            _share: Share,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Held { bytes, _share: self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_less_urgent_stops_first() {
        let admission = Arc::new(Admission::new(16));
        let mut places = Vec::new();
        let limits =
            [(Work::Ahead, 4), (Work::Opening, 8), (Work::Segment, 14), (Work::Manifest, 15), (Work::Live, 16)];
        for (work, taken) in limits {
            while let Some(place) = admission.enter(work) {
                places.push(place);
            }
            assert_eq!(places.len(), taken, "{work:?}");
        }
        places.truncate(13);
        assert!(admission.enter(Work::Opening).is_none());
        assert!(admission.enter(Work::Segment).is_some());
        let one = Arc::new(Admission::new(1));
        for work in [Work::Live, Work::Manifest, Work::Segment, Work::Opening, Work::Ahead] {
            assert!(one.enter(work).is_some(), "{work:?} is possible at all");
        }
    }

    #[test]
    fn memory_is_given_back_with_the_last_slice() {
        let memory = Arc::new(Memory::new(100));
        let body = memory.reserve(80).unwrap().hold(Bytes::from(vec![7; 80]));
        let slice = body.slice(10..20);
        assert!(memory.reserve(30).is_none());
        drop(body);
        assert_eq!(memory.alive_bytes(), 80, "a slow reader holds a slice");
        drop(slice);
        assert_eq!(memory.alive_bytes(), 0);
        assert!(memory.reserve(1000).is_some(), "one that is larger than all is let in alone");
    }
}
