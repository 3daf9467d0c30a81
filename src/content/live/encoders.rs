//! The encoders of a channel, so that one may fail: every segment of a track is of one of them, and what the others push of it is held
//! until it is over.
//!
//! ```text
//!   a   |--4--|--5--|--6-x            its own: taken as it comes
//!   b   |--4--|--5--|--6--|--7--|     stands by: 4 and 5 are dropped when a's are whole
//!   =   |a 4--|a 5--|b 6--|b 7--|     if nothing of a's 6 was published; else the rest of it is missing, and b begins with 7
//! ```
//!
//! It is before the spool, as what is held for its order is: the log has what was taken, and whose it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::content::live::reorder::{AHEAD_MAX, Held, Item};
use crate::content::live::room::Room;
use crate::content::live::window::handover::Standing;
use crate::media::live::first_u64;
use crate::time::Utc;

/// The most encoders of a channel that are told apart: two, and those that they are replaced by. One more takes the place of the one that
/// was silent for the longest time.
pub const ENCODERS_MAX: usize = 4;
/// The most bytes that are held of what stands by, of all tracks of a channel: ten seconds of a ladder at 100 Mb/s.
const BYTES_MAX: usize = 128 << 20;
/// What is held of an encoder that was silent for so long is let go.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Times of two encoders that differ by less, in microseconds, are the same.
pub const SAME_US: i64 = 100_000;

/// When another encoder may take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// If it has any segment to begin with.
    Anything,
    /// If nothing is missing then.
    NoHole,
}

/// The encoders of a channel.
#[derive(Debug)]
pub struct Encoders<T> {
    /// The one that was heard last comes last.
    known: Vec<Known>,
    /// By track and encoder.
    seats: BTreeMap<(String, u32), Seat<T>>,
    takeovers: u64,
}

#[derive(Debug)]
struct Known {
    id: u32,
    name: String,
    heard: Utc,
    segments: u64,
}

/// An encoder, as it pushes one track.
#[derive(Debug)]
struct Seat<T> {
    heard: Utc,
    /// Its last push broke, or it said that this is the end.
    is_gone: bool,
    /// It said that nothing more comes.
    has_ended: bool,
    /// The push in which it said that a segment is the last, and when that is decoded, in microseconds.
    last: Option<(u64, i64)>,
    /// When its newest chunk is decoded, in microseconds.
    newest_us: i64,
    push: u64,
    held: Held<T>,
    /// Where its chunks lie, between two pushes.
    room: Room,
}

/// An encoder as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Figures {
    /// What it is called.
    pub name: String,
    /// When something of it came last.
    pub heard: Utc,
    /// Whether it pushes still.
    pub is_alive: bool,
    /// Segments that began with its media, since the server began.
    pub segments: u64,
    /// The tracks whose media is its own.
    pub active: Vec<String>,
    /// Those that it pushes, too, and stands by for.
    pub standby: Vec<String>,
}

impl<T> Default for Encoders<T> {
    fn default() -> Encoders<T> {
        Encoders { known: Vec::new(), seats: BTreeMap::new(), takeovers: 0 }
    }
}

impl<T> Default for Seat<T> {
    fn default() -> Seat<T> {
        Seat {
            heard: Utc(0),
            is_gone: false,
            has_ended: false,
            last: None,
            newest_us: 0,
            push: 0,
            held: Held::default(),
            room: Room::default(),
        }
    }
}

/// What an encoder called `name` is in the log; never 0.
fn id(name: &str) -> u32 {
    ((first_u64(blake3::hash(name.as_bytes()).as_bytes()) >> 32) as u32).max(1)
}

impl<T> Encoders<T> {
    /// The encoder called `name` begins to push.
    pub fn enter(&mut self, name: &str, now: Utc) -> u32 {
        let id = id(name);
        if self.known.iter().all(|known| known.id != id) {
            if self.known.len() >= ENCODERS_MAX {
                let gone = self.known.remove(0).id;
                self.seats.retain(|(_, encoder), _| *encoder != gone);
            }
            self.known.push(Known { id, name: name.to_owned(), heard: now, segments: 0 });
        }
        self.note(id, now);
        id
    }

    /// Something of `encoder` came.
    fn note(&mut self, encoder: u32, now: Utc) {
        if let Some(at) = self.known.iter().position(|known| known.id == encoder) {
            self.known[at].heard = now;
            self.known[at..].rotate_left(1);
        }
    }

    /// What `encoder` is called.
    pub fn name(&self, encoder: u32) -> &str {
        self.known.iter().find(|known| known.id == encoder).map_or("one that was before", |known| &known.name)
    }

    /// Something of `track` came, by `push` of `encoder`; whether it is the first of that.
    pub fn heard(&mut self, track: &str, encoder: u32, push: u64, now: Utc) -> bool {
        self.note(encoder, now);
        let count = self.seats.len();
        let seat = self.seats.entry((track.to_owned(), encoder)).or_default();
        (seat.heard, seat.push, seat.is_gone, seat.has_ended) = (now, push, false, false);
        self.seats.len() != count
    }

    /// A chunk of `push` came, decoded at `time_us`, which says that its segment is the last or not.
    pub fn says(&mut self, track: &str, encoder: u32, push: u64, time_us: i64, is_last: bool) {
        if let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)) {
            seat.newest_us = time_us;
            seat.last = if is_last { Some((push, time_us)) } else { seat.last };
        }
    }

    /// Whether `push` said that the segment that it is in is the last: who has gone on for longer than `silence` since then has meant another.
    pub fn said_last(&self, track: &str, encoder: u32, push: u64, silence: Duration) -> bool {
        let seat = self.seats.get(&(track.to_owned(), encoder)).filter(|seat| seat.is_in_last(silence));
        seat.and_then(|seat| seat.last).is_some_and(|(own, _)| own == push)
    }

    /// In `push`, the encoder said that nothing more of `track` comes.
    pub fn ends(&mut self, track: &str, encoder: u32, push: u64) {
        if let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)).filter(|seat| seat.push == push) {
            (seat.is_gone, seat.has_ended, seat.last) = (true, true, None);
        }
    }

    /// It is known that nothing more of `track` comes.
    pub fn end_is_told(&mut self, track: &str) {
        for (_, seat) in self.seats.range_mut((track.to_owned(), 0)..=(track.to_owned(), u32::MAX)) {
            (seat.has_ended, seat.last) = (false, None);
        }
    }

    /// The tracks that nobody pushes any more, and whose last encoder said that it is the end: with that one, and its push.
    pub fn over(&self, silence: Duration, now: Utc) -> Vec<(String, u32, u64)> {
        let is_newest = |track: &str, seat: &Seat<T>| self.of(track).all(|(_, other)| other.heard <= seat.heard);
        let is_deserted = |track: &str| !self.of(track).any(|(_, seat)| seat.is_alive(silence, now));
        let over = self
            .seats
            .iter()
            .filter(|((track, _), seat)| seat.is_over(silence, now) && is_newest(track, seat) && is_deserted(track));
        over.map(|((track, encoder), seat)| (track.clone(), *encoder, seat.push)).collect()
    }

    /// `push` of `track` broke.
    pub fn gone(&mut self, track: &str, encoder: u32, push: u64) {
        if let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)).filter(|seat| seat.push == push) {
            seat.is_gone = true;
        }
    }

    /// Whether the encoder that `track` stands with pushes still: it was heard within `silence`, and its push has not broken.
    pub fn is_alive(&self, track: &str, standing: &Standing, silence: Duration, now: Utc) -> bool {
        match self.seats.get(&(track.to_owned(), standing.encoder)) {
            Some(seat) => seat.is_alive(silence, now),
            // After a restart it may come back.
            None => now <= standing.last_at.after(silence),
        }
    }

    /// Whether another encoder than `encoder` pushes `track`, too.
    pub fn is_doubled(&self, track: &str, encoder: u32, silence: Duration, now: Utc) -> bool {
        self.of(track).any(|(other, seat)| other != encoder && seat.is_alive(silence, now))
    }

    fn of<'a>(&'a self, track: &'a str) -> impl Iterator<Item = (u32, &'a Seat<T>)> {
        self.seats
            .range((track.to_owned(), 0)..=(track.to_owned(), u32::MAX))
            .map(|((_, encoder), seat)| (*encoder, seat))
    }

    /// Those of which something of `track` is held.
    pub fn standing_by(&self, track: &str) -> Vec<u32> {
        self.of(track).filter(|(_, seat)| !seat.held.is_empty()).map(|(encoder, _)| encoder).collect()
    }

    /// Holds `item` of `track`, a chunk of `encoder` that begins with a sync sample or not: its times are in microseconds. Not, if the track
    /// has come that far.
    pub fn hold(&mut self, track: &str, encoder: u32, item: Item<T>, is_sync: bool, standing: &Standing) {
        let is_near = (item.time - standing.end_us).unsigned_abs() <= AHEAD_MAX.as_micros() as u64;
        if is_near && is_over(&item, standing) {
            return;
        }
        let others: usize = self.seats.values().map(|seat| seat.held.bytes()).sum();
        let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)) else { return };
        let is_too_much = others + item.bytes > BYTES_MAX;
        // Elsewhere in time only what may be begun with is of use.
        if is_too_much || (!is_near && is_sync) {
            seat.held = Held::default();
        }
        if !is_too_much && seat.held.put(item).is_err() {
            seat.held = Held::default();
        }
    }

    /// Holds `what`, the end of `push`, if something of that is held.
    pub fn hold_end(&mut self, track: &str, encoder: u32, push: u64, now: Utc, what: T) {
        if let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)) {
            let _ = seat.held.put_after(push, now, what);
        }
    }

    /// `track` went on: what is held of it and over is let go.
    pub fn let_go(&mut self, track: &str, standing: &Standing) {
        let held = self.seats.range_mut((track.to_owned(), 0)..=(track.to_owned(), u32::MAX));
        for (_, seat) in held {
            while seat.held.peek().is_some_and(|item| is_over(item, standing)) {
                seat.held.first();
            }
        }
    }

    /// Keeps of what is held of `track` and `encoder` what `is_wanted`.
    pub fn retain(&mut self, track: &str, encoder: u32, is_wanted: impl FnMut(&T) -> bool) {
        if let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)) {
            seat.held.retain(is_wanted);
        }
    }

    /// What is held of `track` and `encoder` from the first on that `may_begin`; nothing if none may.
    pub fn take_from(&mut self, track: &str, encoder: u32, may_begin: impl Fn(&T) -> bool) -> Vec<T> {
        let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)) else { return Vec::new() };
        let Some(at) = seat.held.position(may_begin) else { return Vec::new() };
        let held = std::mem::take(&mut seat.held);
        held.into_items().skip(at).map(|item| item.what).collect()
    }

    /// Where the chunks of `track` lie that `encoder` pushes: for one push at a time, another one has room of its own.
    pub fn room(&mut self, track: &str, encoder: u32) -> Room {
        self.seats.get_mut(&(track.to_owned(), encoder)).map(|seat| std::mem::take(&mut seat.room)).unwrap_or_default()
    }

    /// The push that the room was for is over: the next one has it.
    pub fn keep_room(&mut self, track: &str, encoder: u32, room: Room) {
        if let Some(seat) = self.seats.get_mut(&(track.to_owned(), encoder)) {
            seat.room = room;
        }
    }

    /// Time has passed: what is held of who is silent for long is let go. The tracks of which something is held.
    pub fn tick(&mut self, now: Utc) -> Vec<String> {
        for seat in self.seats.values_mut().filter(|seat| now > seat.heard.after(FORGOTTEN_AFTER)) {
            (seat.held, seat.room) = (Held::default(), Room::default());
        }
        let held = self.seats.iter().filter(|(_, seat)| !seat.held.is_empty());
        held.map(|((track, _), _)| track.clone()).collect()
    }

    /// Forgets tracks that `are_there` no more.
    pub fn forget_others(&mut self, are_there: impl Fn(&str) -> bool) {
        self.seats.retain(|(track, _), _| are_there(track));
    }

    /// A segment began with media of `encoder`.
    pub fn gave(&mut self, encoder: u32) {
        if let Some(known) = self.known.iter_mut().find(|known| known.id == encoder) {
            known.segments += 1;
        }
    }

    /// A track went on with another encoder.
    pub fn took_over(&mut self) {
        self.takeovers += 1;
    }

    /// How often a track went on with another encoder, since the server began.
    pub fn takeovers(&self) -> u64 {
        self.takeovers
    }

    /// All of them, by name; `active` says whose a track's media is.
    pub fn figures(&self, active: impl Fn(&str) -> Option<u32>, silence: Duration, now: Utc) -> Vec<Figures> {
        let of = |known: &Known| {
            let seats = || self.seats.iter().filter(|((_, encoder), _)| *encoder == known.id);
            let tracks = seats().map(|((track, _), _)| track.clone());
            let (active, standby) = tracks.partition(|track| active(track) == Some(known.id));
            let is_alive = seats().any(|(_, seat)| seat.is_alive(silence, now));
            let Known { name, heard, segments, .. } = known;
            Figures { name: name.clone(), heard: *heard, is_alive, segments: *segments, active, standby }
        };
        let mut all: Vec<Figures> = self.known.iter().map(of).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

impl<T> Seat<T> {
    /// Whether nothing more is to come: it said so, or it is silent in the segment that it said to be the last. Where requests are chunks
    /// no more can be known.
    fn is_over(&self, silence: Duration, now: Utc) -> bool {
        self.has_ended || (now > self.heard.after(silence) && self.is_in_last(silence))
    }

    /// Whether what came last is of the segment that it said to be the last.
    fn is_in_last(&self, silence: Duration) -> bool {
        let micros = i64::try_from(silence.as_micros()).unwrap_or(i64::MAX);
        self.last.is_some_and(|(_, from)| (0..micros).contains(&self.newest_us.saturating_sub(from)))
    }

    fn is_alive(&self, silence: Duration, now: Utc) -> bool {
        !self.is_gone && now <= self.heard.after(silence)
    }
}

/// Whether a track that stands there has what `item` is of.
fn is_over<T>(item: &Item<T>, standing: &Standing) -> bool {
    item.end <= standing.from_us + SAME_US && item.time < standing.from_us - SAME_US / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(3);

    /// A second of media, from `second` on.
    fn item(second: i64, bytes: usize) -> Item<i64> {
        let (time, end) = (second * 1_000_000, (second + 1) * 1_000_000);
        Item { time, end, push: 1, bytes, since: Utc(0), what: second }
    }

    fn standing(encoder: u32, from: i64, end: i64) -> Standing {
        Standing { encoder, last_at: Utc(0), from_us: from * 1_000_000, end_us: end * 1_000_000 }
    }

    #[test]
    fn what_stands_by_is_held_until_it_is_over_and_no_more_than_there_is_room_for() {
        let mut encoders = Encoders::default();
        let (a, b) = (encoders.enter("a", Utc(0)), encoders.enter("b", Utc(0)));
        assert!(
            encoders.heard("v", a, 1, Utc(0))
                && encoders.heard("v", b, 2, Utc(0))
                && !encoders.heard("v", b, 2, Utc(0))
        );
        let held = |encoders: &mut Encoders<i64>| encoders.take_from("v", b, |_| true);
        for second in 9..14 {
            encoders.hold("v", b, item(second, 10), second % 2 == 0, &standing(a, 10, 11));
        }
        assert_eq!(encoders.standing_by("v"), [b]);
        encoders.let_go("v", &standing(a, 12, 13));
        assert_eq!(encoders.take_from("v", b, |second| *second > 99), [0i64; 0], "none may begin, and all stays");
        assert_eq!(held(&mut encoders), [12, 13]);
        // Elsewhere in time it is what began last.
        for second in 1000..1004 {
            encoders.hold("v", b, item(second, 10), second % 2 == 0, &standing(a, 12, 13));
        }
        assert_eq!(held(&mut encoders), [1002, 1003]);
        // What would be too much makes room for what comes later.
        encoders.heard("w", b, 3, Utc(0));
        encoders.hold("w", b, item(13, BYTES_MAX / 2), true, &standing(a, 12, 13));
        for (second, bytes) in [(13, BYTES_MAX / 2 - 10), (14, 10), (15, 1), (16, 1)] {
            encoders.hold("v", b, item(second, bytes), true, &standing(a, 12, 13));
        }
        assert_eq!(held(&mut encoders), [16]);
        // Nobody is waited for without end.
        encoders.hold("v", b, item(13, 10), true, &standing(a, 12, 13));
        assert_eq!(encoders.tick(Utc(60_000)), ["v", "w"]);
        assert_eq!(encoders.tick(Utc(60_001)), [""; 0]);
    }

    #[test]
    fn chunks_of_a_push_lie_behind_those_of_the_one_before() {
        let mut encoders = Encoders::<i64>::default();
        let a = encoders.enter("a", Utc(0));
        encoders.heard("v", a, 1, Utc(0));
        let next = |room: &mut Room| room.of(100).as_ptr() as usize;
        let mut room = encoders.room("v", a);
        let last = (0..40).fold(0, |_, _| next(&mut room));
        encoders.keep_room("v", a, room);
        let mut room = encoders.room("v", a);
        assert_eq!(next(&mut room), last + 100);
        // Another push at the same time has room of its own, and who is silent for long keeps none.
        assert_ne!(next(&mut encoders.room("v", a)), last + 200);
        encoders.keep_room("v", a, room);
        encoders.tick(Utc(FORGOTTEN_AFTER.as_millis() as u64 + 1));
        assert_ne!(next(&mut encoders.room("v", a)), last + 200);
    }

    #[test]
    fn who_was_silent_the_longest_makes_room_for_another() {
        let mut encoders = Encoders::<i64>::default();
        let ids: Vec<u32> = ["a", "b", "c", "d"].iter().map(|name| encoders.enter(name, Utc(0))).collect();
        for (&id, second) in ids.iter().zip(1..) {
            encoders.heard("v", id, 1, Utc(second * 1000));
        }
        encoders.heard("v", ids[0], 1, Utc(5000));
        encoders.enter("e", Utc(6000));
        let figures = encoders.figures(|_| Some(ids[0]), SILENCE, Utc(6000));
        let names: Vec<(&str, bool)> = figures.iter().map(|own| (own.name.as_str(), own.is_alive)).collect();
        assert_eq!(names, [("a", true), ("c", true), ("d", true), ("e", false)]);
        assert_eq!(encoders.name(ids[1]), "one that was before");
    }

    #[test]
    fn who_broke_off_is_gone_and_who_came_back_is_not() {
        let mut encoders = Encoders::<i64>::default();
        let a = encoders.enter("a", Utc(0));
        let is_alive = |encoders: &Encoders<i64>, ms| encoders.is_alive("v", &standing(a, 0, 1), SILENCE, Utc(ms));
        assert!(is_alive(&encoders, 3000) && !is_alive(&encoders, 3001), "as the log has it");
        encoders.heard("v", a, 1, Utc(4000));
        encoders.heard("v", a, 2, Utc(5000));
        encoders.gone("v", a, 1);
        assert!(is_alive(&encoders, 8000) && !is_alive(&encoders, 8001), "another push of it goes on");
        encoders.gone("v", a, 2);
        assert!(!is_alive(&encoders, 5000));
    }
}
