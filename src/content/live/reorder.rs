//! Chunks that came before those they follow: a packager that sends each segment by a request of its own has several under way, and the
//! last to begin may be the first to arrive. They are held for a moment, so that the late one is no gap.
//!
//! ```text
//!   taken …4 |  6 7 held  | 5 comes: 5 6 7 are taken
//!            |            | 5 does not come in time, or too much is held: 6 7 are taken, 5 is a gap
//! ```
//!
//! It is before the spool, so that the log has what happened in the order of the media. A kill loses what is held; nobody was told of it.

use std::time::Duration;

use crate::time::Utc;

/// How long a chunk waits for those before it: as long as a segment, which is what a second connection is late by.
pub const HELD_MAX: Duration = Duration::from_secs(2);
/// How far ahead of what was taken a chunk may be to be held: more is an outage, and nobody is late.
pub const AHEAD_MAX: Duration = Duration::from_secs(20);
/// The most that is held of a track: a few segments of many chunks, ten seconds of which every picture is one.
const ITEMS_MAX: usize = 1024;
/// The most bytes that are held of a track: a segment of ten seconds at 50 Mb/s.
const BYTES_MAX: usize = 64 << 20;

/// What is held of one track, in the order of the media.
#[derive(Debug)]
pub struct Held<T> {
    items: Vec<Item<T>>,
    bytes: usize,
}

/// One thing that is held.
#[derive(Debug)]
pub struct Item<T> {
    /// Decode time of its first sample, in ticks.
    pub time: i64,
    /// When what follows it is decoded, in ticks.
    pub end: i64,
    /// Which push it is of.
    pub push: u64,
    /// What it keeps alive.
    pub bytes: usize,
    /// When it came.
    pub since: Utc,
    /// What it is.
    pub what: T,
}

impl<T> Default for Held<T> {
    fn default() -> Held<T> {
        Held { items: Vec::new(), bytes: 0 }
    }
}

impl<T> Held<T> {
    /// Holds `item`; gives it back if that would be too much.
    pub fn put(&mut self, item: Item<T>) -> Result<(), Item<T>> {
        if self.items.len() >= ITEMS_MAX || self.bytes + item.bytes > BYTES_MAX {
            return Err(item);
        }
        let at = self.items.partition_point(|other| other.time <= item.time);
        self.bytes += item.bytes;
        self.items.insert(at, item);
        Ok(())
    }

    /// Holds `what` as what follows the last that is held of `push`; gives it back if nothing is.
    pub fn put_after(&mut self, push: u64, since: Utc, what: T) -> Result<(), T> {
        let Some(last) = self.items.iter().rposition(|item| item.push == push) else { return Err(what) };
        let end = self.items[last].end;
        self.items.insert(last + 1, Item { time: end, end, push, bytes: 0, since, what });
        Ok(())
    }

    /// The first, if it goes on where `end` is, within `slack` ticks, or before it.
    pub fn next(&mut self, end: i64, slack: i64) -> Option<T> {
        self.take_if(|first| first.time <= end.saturating_add(slack))
    }

    /// Whether something was held too long as of `now`.
    pub fn is_overdue(&self, now: Utc) -> bool {
        self.items.iter().any(|item| now >= item.since.after(HELD_MAX))
    }

    /// The first, if something was held too long as of `now`.
    pub fn overdue(&mut self, now: Utc) -> Option<T> {
        let is_overdue = self.is_overdue(now);
        self.take_if(|_| is_overdue)
    }

    /// The first, whatever it waits for.
    pub fn first(&mut self) -> Option<T> {
        self.take_if(|_| true)
    }

    fn take_if(&mut self, is_wanted: impl FnOnce(&Item<T>) -> bool) -> Option<T> {
        self.items.first().filter(|first| is_wanted(first))?;
        let item = self.items.remove(0);
        self.bytes -= item.bytes;
        Some(item.what)
    }

    /// The first.
    pub fn peek(&self) -> Option<&Item<T>> {
        self.items.first()
    }

    /// Where the first is that `is_wanted`.
    pub fn position(&self, is_wanted: impl Fn(&T) -> bool) -> Option<usize> {
        self.items.iter().position(|item| is_wanted(&item.what))
    }

    /// Keeps what `is_wanted`.
    pub fn retain(&mut self, mut is_wanted: impl FnMut(&T) -> bool) {
        self.items.retain(|item| is_wanted(&item.what));
        self.bytes = self.items.iter().map(|item| item.bytes).sum();
    }

    /// All of it, in order.
    pub fn into_items(self) -> impl Iterator<Item = Item<T>> {
        self.items.into_iter()
    }

    /// What it keeps alive.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(time: i64, push: u64, since: u64) -> Item<i64> {
        Item { time, end: time + 10, push, bytes: 1000, since: Utc(since), what: time }
    }

    #[test]
    fn what_is_held_comes_out_in_the_order_of_the_media() {
        let mut held = Held::default();
        for (time, push) in [(40, 4), (30, 3), (50, 4)] {
            held.put(item(time, push, 0)).unwrap();
        }
        held.put_after(3, Utc(0), -3).unwrap();
        assert_eq!(held.put_after(9, Utc(0), -9), Err(-9), "nothing of that push is held");
        assert_eq!(held.next(20, 2), None, "10 ticks are missing");
        assert_eq!(held.next(29, 2), Some(30));
        let rest: Vec<i64> = std::iter::from_fn(|| held.first()).collect();
        assert_eq!(rest, [-3, 40, 50], "the end of a push follows its last chunk");
        assert!(held.is_empty() && held.bytes == 0);
    }

    #[test]
    fn nothing_is_held_for_long_and_not_much_of_it() {
        let mut held = Held::default();
        held.put(item(30, 1, 1000)).unwrap();
        held.put(item(20, 2, 2000)).unwrap();
        assert_eq!(held.overdue(Utc(2999)), None);
        assert_eq!(held.overdue(Utc(3000)), Some(20), "what is before it goes with it");
        assert_eq!(held.overdue(Utc(3000)), Some(30));
        let mut count = 0;
        while held.put(item(count, 1, 0)).is_ok() {
            count += 1;
        }
        assert_eq!(count, ITEMS_MAX as i64);
        let mut large = Held::default();
        assert!(large.put(Item { bytes: BYTES_MAX, ..item(1, 1, 0) }).is_ok());
        assert!(large.put(item(2, 1, 0)).is_err());
    }
}
