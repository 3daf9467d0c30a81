//! The one place where the media of a broadcast changes: chunks come in, states go out.
//!
//! ```text
//!   feed (what is pushed under a name)      period (a stretch on one timeline)
//!     chunk -> part -> segment                gathering: tracks come, nobody is told
//!     goes on, or jumps                       announced: its tracks and their order are fixed
//! ```
//!
//! A function of what it is given, in that order: `now` is an argument, so that the same pushes give the same broadcast when they are
//! read back after a restart. Nothing here waits, reads or writes.

mod anew;
mod bounds;
mod cadence;
mod checkpoint;
mod edge;
mod events;
mod expiry;
mod gathering;
mod given_up;
pub mod handover;
mod leaving;
mod missing;
mod names;
mod passing;
mod timeline;

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::content::live::cadence::{Cadence, Pace};
use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::receiver::RawChunk;
use crate::content::live::reorder::AHEAD_MAX;
use crate::content::live::requests::Requests;
use crate::content::live::window::gathering::Gathering;
use crate::content::live::window::given_up::{EventFeed, GivenUp};
use crate::media::event::{LiveEvent, Timeline};
use crate::media::live::{
    Broadcast, LivePeriod, LiveSegment, LiveTrack, OpenSegment, Part, Segments, Timing, first_u64,
};
use crate::media::sample::SourceRange;
use crate::media::track::{KeyChange, Kind, Track};
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

/// The most tracks that are pushed to a channel.
pub const TRACKS_MAX: usize = 64;
/// The most chunks of a segment: a minute of sound, each frame a chunk.
const SEGMENT_CHUNKS_MAX: usize = 4096;
/// The longest segment: who pushes no sync sample for longer is not followed.
const SEGMENT_MAX: Duration = Duration::from_secs(60);
/// Decode times of two chunks that follow one another may differ by so much from what durations say: clocks are rounded.
const JITTER_MS: i64 = 100;
/// A jump of decode times that differs by less from the time that passed is an outage; else it is another timeline. Segments may be sent
/// when they are whole, one after the next, and be held.
const OUTAGE_SLACK_MS: i64 = 10_000;
/// The longest outage that is listed as gaps, in segments.
const GAPS_MAX: i64 = 1_000;
/// Media times that lie so near to the time of day count from 1970 (DASH-IF Live Media Ingest §6: epoch-locked).
const EPOCH_SLACK_S: u64 = 3_600;
/// A track of which nothing comes is waited for until others are so much further, in target durations.
const TARGETS_BEHIND_MAX: u32 = 3;
/// Segments that have to be as long as they should be before one is announced when it begins.
const KEPT_AT_FIRST: u32 = 1;
/// Segments that are sent again after a reconnect, at most, in targets.
const REPEATED_TARGETS: u32 = 3;

/// How a channel behaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where a push does not say where its segments begin: at the sync sample, or for sound the chunk, after so much.
    pub target: Duration,
    /// Chunks are gathered to parts of up to so much.
    pub part_target: Duration,
    /// How long a segment is listed.
    pub window: Duration,
    /// The time for all tracks to come before the first of them are announced.
    pub gather: Duration,
    /// Whether the broadcast ends, and how long after media last came.
    pub end_after: Option<Duration>,
    /// How long segments exactly are, if that is declared; `target` is as long then.
    pub cadence: Option<Cadence>,
    /// What lies between media and its presentation at low latency; else it follows from chunks and parts.
    pub latency: Option<Duration>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            // Twice the usual second between sync points; what encoders for low latency use.
            target: Duration::from_secs(2),
            part_target: Duration::from_secs(1),
            window: Duration::from_secs(120),
            gather: Duration::from_secs(2),
            end_after: None,
            cadence: None,
            latency: None,
        }
    }
}

/// Where a chunk comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// Which encoder pushes it (`content::live::encoders`); 0 if that is not known.
    pub encoder: u32,
    /// One push, of which a feed has one at a time. A log has its last 32 bits.
    pub push: u64,
    /// Whether the chunk is the first of a request. Where requests are segments, one begins with it.
    pub begins_segment: bool,
    /// Whether requests are segments, so that nothing else begins one.
    pub named_segments: bool,
}

/// What became of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It is part of the broadcast.
    Added,
    /// It waits for what comes before it.
    Held,
    /// It came before, or cannot be decoded where it came.
    Dropped,
}

/// A broadcast under way.
#[derive(Debug)]
pub struct Window {
    options: Options,
    current: Arc<Broadcast>,
    timing: Option<Timing>,
    feeds: BTreeMap<String, Feed>,
    /// Tracks that are no media.
    event_tracks: BTreeMap<String, EventFeed>,
    events: Arc<Vec<Arc<LiveEvent>>>,
    /// The number of the next event.
    next_event: u64,
    /// The number of the period that gathers its tracks, and since when.
    gathering: Option<Gathering>,
    next_period: u64,
    /// What tracks had that made room for others.
    given_up: GivenUp,
    /// By period and track: what left the window. What a player has of a playlist he may ask for as long again.
    left: BTreeMap<(u64, String), Left>,
    /// How long what leaves the window stays, and until when that holds, where playlists were longer before.
    stays_longer: Option<(Duration, Utc)>,
    /// Whether records are missing before what it was restored from, of media that is still listed.
    is_resumed: bool,
    /// Whether there is a cadence, and media times count from 1970: numbers follow from times then.
    is_locked: bool,
    /// The furthest that media has come, in milliseconds after the broadcast's start. It is taken back where another encoder takes over, or
    /// another period begins; but what has left the window does not come back.
    edge_ms: i64,
}

/// What is past of a track.
#[derive(Debug, Default)]
struct Left {
    /// Which segments left the window, those below a number, and until when they stay.
    listed: VecDeque<(u64, Utc)>,
    /// Those below are not in memory, if the spool has them.
    cool: u64,
}

/// What is pushed under one name.
#[derive(Debug)]
struct Feed {
    init: Arc<Init>,
    /// Which second names its media.
    named_s: u64,
    /// Whose its media is.
    encoder: u32,
    /// Initialization segments of other encoders.
    others: Vec<(u32, Arc<Init>)>,
    /// Which period its media is in.
    period: Option<u64>,
    live: LiveTrack,
    /// When the last segment begins of which media came, where that is forgotten, in ticks.
    began: Option<i64>,
    /// When the first segment of this stretch begins, in ticks, and a hash of its first chunk.
    first_time: i64,
    first_hash: u64,
    /// When the next chunk is decoded, in ticks.
    decode_end: i64,
    /// How much later the open segment is presented than decoded, in ticks.
    shift: i64,
    last_at: Utc,
    /// When something last came for it, wanted or not.
    heard_at: Utc,
    /// When its last media ends, in ticks of decoding, if what follows is told to be missing: `decode_end` is behind that.
    stopped: Option<i64>,
    push: u64,
    /// The longest chunk so far, in ticks.
    chunk_max: i64,
    /// How long the last segment was that ended where it was to, in ticks.
    lasts: i64,
    ended: bool,
    peak: u64,
    bits: u64,
    ticks: i64,
    places: Vec<SourceRange>,
    /// From when until when a segment was whose beginning was lost.
    torn: Option<[i64; 2]>,
    /// Duration of a sample, in ticks.
    frame: i64,
    /// How late the last chunk came, in milliseconds between 1970 and 0 of its media time.
    late_ms: i64,
    /// How many segments in a row were as long as the cadence has them, and how many there have to be.
    kept: u32,
    wanted: u32,
    /// Where a segment ended otherwise than it was announced, in ticks.
    broken: Option<i64>,
    /// Since when no sync sample was where a segment may begin, in ticks.
    astray: Option<i64>,
    /// Since when its times are far from those of the tracks that it is to be played with.
    elsewhere: Option<Utc>,
    /// Whether its numbers are of another cadence, and say nothing.
    is_renumbered: bool,
    /// How its requests and its segments go together.
    requests: Requests,
}

impl Window {
    /// A broadcast before its first chunk.
    pub fn new(options: Options) -> Window {
        Window {
            options,
            current: Arc::default(),
            timing: None,
            feeds: BTreeMap::new(),
            event_tracks: BTreeMap::new(),
            events: Arc::default(),
            next_event: 0,
            gathering: None,
            next_period: 0,
            given_up: GivenUp::default(),
            left: BTreeMap::new(),
            stays_longer: None,
            is_resumed: false,
            is_locked: false,
            edge_ms: i64::MIN,
        }
    }

    /// How it behaves.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Since when what came is needed: all of every segment that is answered for, which may have taken long to come.
    pub fn needed_from(&self) -> Utc {
        let tracks = || self.current.periods.iter().flat_map(|period| &period.tracks);
        let is_answered = |segment: &&Arc<LiveSegment>| segment.lease.is_live() && !segment.is_gap;
        let whole = tracks().filter_map(|track| track.segments.iter().find(is_answered)).map(|segment| segment.begun);
        // Who never ends what was begun is not waited for without end.
        let stays = Duration::from_millis(2 * self.current.timing.window_ms);
        let is_young = |begun: &Utc| begun.after(stays) > self.current.media_at;
        let open = tracks().filter_map(|track| track.open.as_ref()).map(|open| open.begun).filter(is_young);
        whole.chain(open).min().unwrap_or_default()
    }

    /// What viewers see.
    pub fn broadcast(&self) -> &Arc<Broadcast> {
        &self.current
    }

    /// The initialization segment that is in force for `name`.
    pub fn init_of(&self, name: &str) -> Option<&Arc<Init>> {
        self.feeds.get(name).map(|feed| &feed.init).or(self.event_tracks.get(name).map(|own| &own.init))
    }

    /// Whether `chunk` of `name` may be before its time: it is a little ahead of what came, and another push may bring what is missing.
    pub fn is_ahead(&self, name: &str, chunk: &Chunk, source: &Source) -> bool {
        let Some(feed) = self.feeds.get(name).filter(|feed| feed.period.is_some()) else { return false };
        let ahead = JITTER_MS + 1..=AHEAD_MAX.as_millis() as i64;
        source.named_segments
            && source.push != feed.push
            && ahead.contains(&feed.init.ms(chunk.decode_time - feed.decode_end))
    }

    /// `raw`, a chunk of `encoder` for `name`, with the whole of its decode time, if the encoder has only 32 bits for it and they began anew.
    pub fn whole(&self, name: &str, encoder: u32, raw: RawChunk, now: Utc) -> Result<RawChunk, Refusal> {
        let (Some(feed), Some(init)) = (self.feeds.get(name), self.init_by(name, encoder)) else { return Ok(raw) };
        if feed.period.is_none() {
            return Ok(raw);
        }
        let timescale = init.face.timescale;
        let ticks = |ms| rescale(ms, Timescale::MILLI, timescale, Rounding::Nearest);
        // It goes on, or does so after an outage.
        let passed_ms = i64::try_from(now.0.saturating_sub(feed.last_at.0)).unwrap_or(i64::MAX);
        let end = rescale(feed.decode_end, feed.init.face.timescale, timescale, Rounding::Nearest);
        init.whole(raw, end.saturating_add(ticks(passed_ms)), ticks(AHEAD_MAX.as_millis() as i64))
    }

    /// When the next chunk of `name` is decoded, and how far from it that may be, in ticks.
    pub fn next_decode_time(&self, name: &str) -> Option<(i64, i64)> {
        let feed = self.feeds.get(name)?;
        Some((feed.decode_end, feed.ticks(Duration::from_millis(JITTER_MS as u64))))
    }

    /// The number of the segment of `name` that begins next.
    pub fn next_number(&self, name: &str) -> Option<u64> {
        self.feeds.get(name).map(|feed| feed.live.next_number)
    }

    /// The names of what is pushed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.feeds.keys().chain(self.event_tracks.keys()).map(String::as_str)
    }

    /// An initialization segment came, of `encoder`.
    pub fn init(&mut self, name: &str, init: Init, encoder: u32, now: Utc) -> Result<(), Refusal> {
        if init.events.is_some() {
            return self.init_events(name, init, now);
        }
        if self.event_tracks.contains_key(name) {
            return Err(Refusal::Conflict(format!("{name} was events, and is media now: use another name")));
        }
        let (pace, gathers) = (self.pace(), self.gathers());
        if let Some(feed) = self.feeds.get_mut(name) {
            if feed.init.face.kind != init.face.kind {
                let what =
                    format!("{name} was {}, and is {} now: use another name", feed.init.face.kind, init.face.kind);
                return Err(Refusal::Conflict(what));
            }
            if feed.is_of_another(encoder) {
                feed.remember(encoder, Arc::new(init));
            } else if feed.init.face.version != init.face.version {
                feed.close_before_another(now, pace);
                self.publish(now);
                let Some(feed) = self.feeds.get_mut(name) else { return Ok(()) };
                feed.init = Arc::new(init);
                feed.leave_period(gathers);
            }
            return Ok(());
        }
        if !self.has_room(now) {
            return Err(Refusal::TooMuch(format!("{TRACKS_MAX} tracks are pushed already, {name} is one too many")));
        }
        let mut feed = Feed { encoder, ..Feed::new(init, now) };
        (feed.live.next_number, feed.live.listed_from) = (self.given_up.next_number, self.given_up.next_number);
        self.feeds.insert(name.to_owned(), feed);
        Ok(())
    }

    /// A chunk came; `place` is where the spool has it.
    pub fn chunk(
        &mut self,
        name: &str,
        chunk: Chunk,
        source: Source,
        place: Option<SourceRange>,
        now: Utc,
    ) -> Result<Taken, Refusal> {
        if self.event_tracks.contains_key(name) {
            self.chunk_of_events(name, chunk, now)?;
            return Ok(Taken::Added);
        }
        if chunk.is_empty {
            if let Some(feed) = self.feeds.get_mut(name) {
                feed.heard_at = now;
            }
            return Ok(Taken::Dropped);
        }
        let handed_over_at = self.hand_over(name, &chunk, &source, now);
        let follows_an_end = self.follows_an_end(name, &chunk, &source, now);
        let handed_over_at = handed_over_at.filter(|_| !follows_an_end);
        let before = self.stands(name);
        let (course, is_boundary) = self.course(name, &chunk, &source, now)?;
        let is_wanted = self.follow(name, &chunk, course, is_boundary, handed_over_at, now)?
            && self.begin(name, &chunk, &source, is_boundary, now)?;
        if !is_wanted {
            return Ok(Taken::Dropped);
        }
        self.append(name, chunk, source, place, now)?;
        self.place_events(now);
        self.close_over(now);
        self.tell_missing(now);
        self.settle(now);
        self.publish(now);
        if before != self.stands(name) {
            // With every segment and what was gathered, so that no playlist becomes longer than what leaves it stays.
            self.expire(now);
        }
        Ok(Taken::Added)
    }

    /// Which segment of `name` is the last that is whole, and how many periods there are.
    fn stands(&self, name: &str) -> (Option<u64>, usize) {
        let last = self.feeds.get(name).and_then(|feed| feed.live.segments.last()).map(|last| last.number);
        (last, self.current.periods.len())
    }

    /// How `chunk` follows what came to `name`, if anything did, and whether a segment may begin with it.
    fn course(
        &mut self,
        name: &str,
        chunk: &Chunk,
        source: &Source,
        now: Utc,
    ) -> Result<(Option<Course>, bool), Refusal> {
        let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
        feed.heard_at = now;
        let feed = self.feeds.get(name).ok_or(Refusal::NoInit)?;
        let target = feed.ticks(self.options.target);
        let mut course = self.course_of(feed, chunk, source, now);
        let is_back = matches!(course, Some(Course::Gap | Course::Jumps)) && self.is_back(feed, chunk);
        if is_back && self.goes_back(name) {
            let feed = self.feeds.get(name).ok_or(Refusal::NoInit)?;
            course = self.course_of(feed, chunk, source, now);
        }
        let feed = self.feeds.get(name).ok_or(Refusal::NoInit)?;
        if matches!(course, Some(Course::Jumps) | None) && self.may_lock() {
            self.is_locked = self.options.cadence.is_some() && Window::is_of_epoch(&feed.init, chunk, now);
        }
        let is_boundary = self.is_boundary(feed, chunk);
        // Others went on without it: its next segment begins in another period, together with theirs.
        let may_begin = || feed.begins_segment(chunk, source, target, self.timing, self.options.cadence);
        let course = match course {
            Some(Course::Gap) if is_boundary && self.is_left_behind(feed) => Some(Course::Follows(None)),
            Some(Course::Goes) if is_boundary && self.is_left_behind(feed) && may_begin() => {
                Some(Course::Follows(Some(chunk.time)))
            }
            // What its number says is far from what came: listing all between would not end.
            Some(Course::Goes | Course::Gap) if self.is_far(feed, chunk) => Some(Course::Jumps),
            Some(Course::Jumps) | None if self.is_past(feed, chunk) => Some(Course::Repeats),
            course => course,
        };
        if matches!(course, Some(Course::Goes | Course::Gap)) {
            self.keeps_with_media(name, feed, chunk, now)?;
        }
        let is_asked = match course {
            Some(Course::Jumps) | None => true,
            Some(Course::Repeats) => !Window::is_of_epoch(&feed.init, chunk, feed.last_at),
            _ => false,
        };
        if self.is_locked && is_asked {
            Window::asked_of_epoch(name, feed, chunk, now)?;
        }
        if let Some(cadence) = self.locked() {
            let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
            feed.note_boundary(name, cadence, chunk, is_boundary)?;
        }
        Ok((course, is_boundary))
    }

    /// How `chunk` follows what came to `feed`, by its times.
    fn course_of(&self, feed: &Feed, chunk: &Chunk, source: &Source, now: Utc) -> Option<Course> {
        let again_max = feed.ticks(self.again_max());
        let gap_max = feed.ticks(self.options.target).max(1) * (self.gaps_max() + 1);
        feed.period.map(|_| feed.goes_on(chunk, source.named_segments, now, self.locked(), again_max, gap_max))
    }

    /// Has the track called `name` go on to `chunk` by `course`: what is missing before it is listed, or a period begins. Says whether the
    /// chunk is wanted there.
    fn follow(
        &mut self,
        name: &str,
        chunk: &Chunk,
        course: Option<Course>,
        is_boundary: bool,
        handed_over_at: Option<(MediaTime, MediaTime)>,
        now: Utc,
    ) -> Result<bool, Refusal> {
        let (locked, pace) = (self.locked(), self.pace());
        let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
        let next = match course {
            Some(Course::Goes) => return Ok(true),
            Some(Course::Repeats) => return Ok(false),
            Some(Course::Gap) if !is_boundary => {
                feed.finish(now, None, pace);
                self.publish(now);
                return Ok(false);
            }
            Some(Course::Gap) => {
                feed.close(now, locked.map(|_| chunk.time), pace);
                // Where it begins was told when it was.
                let from = if feed.stopped.take().is_some() { chunk.time } else { feed.cut_at(feed.live.next_time) };
                let hole = [from, chunk.time];
                match locked {
                    Some(cadence) => feed.fill_locked(cadence, chunk.time, now),
                    None => feed.fill(chunk.time, feed.ticks(self.options.target), now),
                }
                self.mend();
                self.cut(name, hole);
                return Ok(true);
            }
            Some(Course::Jumps) | None if !is_boundary => return Ok(false),
            Some(Course::Jumps) | None => None,
            Some(Course::Follows(next)) => next,
        };
        if next.is_some() {
            feed.close(now, next, pace);
        }
        if !self.keeps_time(name, chunk, now)? {
            self.publish(now);
            return Ok(false);
        }
        let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
        feed.close_before_another(now, pace);
        self.begin_period(name, chunk, now);
        let goes_on_at = handed_over_at.filter(|_| !self.would_step_back());
        if let (Some(gathering), Some(at)) = (&mut self.gathering, goes_on_at) {
            gathering.goes_on.get_or_insert(at);
        }
        Ok(true)
    }

    /// Ends the segment of `name` that is under way, if another one begins with `chunk`. Says whether the chunk is wanted.
    fn begin(
        &mut self,
        name: &str,
        chunk: &Chunk,
        source: &Source,
        is_boundary: bool,
        now: Utc,
    ) -> Result<bool, Refusal> {
        let (locked, pace) = (self.locked(), self.pace());
        let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
        let target = feed.ticks(self.options.target);
        let is_over = locked.is_some_and(|cadence| feed.is_over(cadence, chunk));
        let begins = is_over || feed.begins_segment(chunk, source, target, self.timing, self.options.cadence);
        let leaves_early = !begins && self.leaves_early(name, chunk, source);
        let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
        if begins || leaves_early {
            if locked.is_some_and(|cadence| !is_boundary || feed.has_had(cadence, chunk)) {
                // Numbers follow from times: what begins elsewhere is left out, until one begins where it should.
                feed.finish(now, Some(chunk.time), pace);
                self.publish(now);
                return Ok(false);
            }
            let lasts = Some(feed.lasts).filter(|_| leaves_early);
            feed.close(now, Some(chunk.time), pace);
            // One that was cut says nothing of those that follow.
            feed.lasts = lasts.unwrap_or(feed.lasts);
            self.move_on(name, chunk, now);
        }
        let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
        if let Some(cadence) = locked.filter(|_| feed.live.open.is_none()) {
            feed.fill_locked(cadence, chunk.time, now);
        }
        Ok(true)
    }

    /// Makes `chunk` part of the segment of `name` that is under way, and closes that if it is whole.
    fn append(
        &mut self,
        name: &str,
        mut chunk: Chunk,
        source: Source,
        place: Option<SourceRange>,
        now: Utc,
    ) -> Result<(), Refusal> {
        if let Some(kid) = chunk.other_key {
            self.rotates(name, kid);
        }
        let (cadence, pace) = (self.options.cadence, self.pace());
        let (part_target, timing) = (self.options.part_target, self.timing);
        let feed = self.feeds.get_mut(name).ok_or(Refusal::NoInit)?;
        let begins = feed.live.open.as_ref().map_or(chunk.time, |open| open.time);
        let begins = MediaTime::new(begins, feed.init.face.timescale);
        let said = (feed.period, std::mem::take(&mut chunk.events));
        feed.declare(&said.1);
        feed.note_lateness(&chunk, now);
        feed.append(chunk, source, place, part_target, timing, now);
        if let Some(open) = &feed.live.open {
            let due = open.due.or_else(|| feed.promise(cadence, open.time));
            let is_whole = due.is_some_and(|due| open.time + open.duration >= due);
            feed.announce_end(due);
            if is_whole {
                feed.close(now, None, pace);
            }
        }
        if let (Some(period), messages) = said {
            self.note_events(messages, Timeline::Period(period), begins, true);
        }
        Ok(())
    }

    /// Media of `name` is under another key than the initialization segment names.
    fn rotates(&mut self, name: &str, kid: [u8; 16]) {
        let Some(feed) = self.feeds.get_mut(name).filter(|feed| feed.live.face.keys.is_empty()) else { return };
        feed.live.face = Arc::new(Track { keys: rotated(kid), ..Track::clone(&feed.live.face) });
    }

    /// The feed called `name` begins on a timeline of its own, with `chunk`.
    fn begin_period(&mut self, name: &str, chunk: &Chunk, now: Utc) {
        let number = match &self.gathering {
            Some(gathering) => gathering.number,
            None => {
                let number = self.next_period;
                self.next_period += 1;
                self.gathering = Some(Gathering::new(number, now));
                number
            }
        };
        self.publish(now);
        let mut members = self.feeds.values().filter(|feed| feed.period == Some(number));
        let is_first_timed = members.all(|feed| feed.init.face.kind == Kind::Text);
        let Some(feed) = self.feeds.get_mut(name) else { return };
        // Who begins there again was in error before; and text may be sent ahead of what it is shown with.
        let is_timed = feed.init.face.kind != Kind::Text;
        if let Some(gathering) = &mut self.gathering
            && (gathering.anchor.is_none() || (is_timed && (is_first_timed || feed.period == Some(number))))
        {
            let length_ms = u64::try_from(feed.init.ms(chunk.end - chunk.time)).unwrap_or(0);
            let media = MediaTime::new(chunk.time, feed.init.face.timescale);
            gathering.anchor = Some((Utc(now.0.saturating_sub(length_ms)), media));
        }
        let locked = self.options.cadence.filter(|_| self.is_locked);
        // Who is locked to the epoch names its media by that, whenever it began. Others may begin twice within a second.
        let started_s = (now.0 / 1000).max(feed.named_s.max(self.given_up.named_s) + 1);
        let face = feed.init.face_from(locked.map_or(started_s, Cadence::as_u64));
        feed.named_s = if locked.is_some() { 0 } else { started_s };
        feed.forget_gathered(Some(number));
        let is_first = std::mem::take(&mut feed.is_renumbered) || self.timing.is_none();
        if let Some(cadence) = locked.filter(|_| !is_first) {
            self.fill_before(name, cadence, chunk, now);
        }
        let Some(feed) = self.feeds.get_mut(name) else { return };
        let has_had_none = feed.live.next_time == 0;
        feed.enter(number, face, chunk);
        feed.requests = Requests::default();
        if let Some(cadence) = locked {
            // Numbers of another cadence say nothing, and those of tracks that made room may be of one.
            let before = if is_first || has_had_none { 0 } else { feed.live.next_number };
            let number = before.max(feed.number_at(cadence, chunk.time));
            (feed.live.next_number, feed.live.listed_from) = (number, number);
        }
    }

    /// A segment of the feed called `name` begins with `chunk`: if another track waits to be announced, in a new period, it goes there.
    fn move_on(&mut self, name: &str, chunk: &Chunk, now: Utc) {
        if self.gathering.is_none() {
            return;
        }
        self.publish(now);
        // Who goes on where he was while others begin anew is not moved to their timeline.
        let is_elsewhere = self.elsewhere(name, chunk, None).is_some();
        let may_leave = self.may_leave(name, chunk, now);
        let Some(gathering) = &mut self.gathering else { return };
        let Some(period) = self.current.periods.last() else { return };
        let Some(feed) = self.feeds.get_mut(name).filter(|feed| feed.period == Some(period.number)) else { return };
        if !chunk.starts_with_sync || is_elsewhere || !may_leave {
            return;
        }
        let timescale = feed.init.face.timescale;
        let start = MediaTime::new(period.offset(chunk.time, timescale), timescale);
        gathering.is_left_for(feed.lasts_us(), (start, MediaTime::new(chunk.time, timescale)), now);
        let (face, first) = (Track::clone(&feed.live.face), (feed.first_time, feed.first_hash));
        let rate = feed.live.rate;
        feed.enter(gathering.number, face, chunk);
        ((feed.first_time, feed.first_hash), feed.live.rate) = (first, rate);
    }

    /// Announces the period that gathers its tracks, if they are all there.
    fn settle(&mut self, now: Utc) {
        let Some(gathering) = &self.gathering else { return };
        let is_late = now >= gathering.since.after(self.patience());
        if is_late {
            self.take_back(now);
        }
        let Some(gathering) = &self.gathering else { return };
        let number = gathering.number;
        let members = || self.feeds.values().filter(|feed| feed.period == Some(number));
        let waits_for = |feed: &Feed| {
            let is_missing = feed.period != Some(number) || !self.has_begun(feed, gathering, now);
            let is_coming = !is_late || self.will_be_there(feed, now) || self.will_leave(feed, now);
            self.is_active(feed, now) && is_missing && is_coming
        };
        let is_early = now < gathering.since.after(self.options.gather);
        let has_some = members().any(|feed| feed.live.segments.last().is_some());
        if !has_some || is_early || self.feeds.values().any(waits_for) {
            return;
        }
        let Some(gathering) = self.gathering.take() else { return };
        self.announce(&gathering, now);
    }

    fn announce(&mut self, gathering: &Gathering, now: Utc) {
        let ready = |feed: &&mut Feed| feed.period == Some(gathering.number);
        // Who has no segment by now waits for the next period.
        let members = self.feeds.iter().filter(|(_, feed)| feed.period == Some(gathering.number));
        let waits = members.filter(|(_, feed)| !self.has_begun(feed, gathering, now));
        for name in waits.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let Some(feed) = self.feeds.get_mut(&name) else { continue };
            feed.period = None;
            feed.live.open = None;
            feed.live.next_number = feed.live.listed_from;
        }
        let firsts = self.feeds.values_mut().filter(ready).filter_map(|feed| {
            let first = feed.live.segments.iter().next()?.time;
            Some(MediaTime::new(first, feed.init.face.timescale))
        });
        let Some(first) = firsts.min() else { return };
        let mut next = Broadcast::clone(&self.current);
        let (at, media) = gathering.anchor.unwrap_or((now, first));
        let ms = |time: MediaTime| time.to(Timescale::MILLI, Rounding::Nearest);
        let begun = at.0.saturating_add_signed(ms(first) - ms(media));
        let is_epoch = (ms(media).unsigned_abs() / 1000).abs_diff(at.0 / 1000) <= EPOCH_SLACK_S;
        if self.timing.is_none() {
            let started = if is_epoch || self.is_locked { Utc(0) } else { Utc(begun) };
            self.begins_anew(&mut next, started, now);
        }
        let after = self.listed_until(&next, gathering.number).unwrap_or(MediaTime::ZERO);
        let (start, origin) = match gathering.goes_on {
            // The same timeline, where the first went on: a track that comes late has begun a little before.
            Some(place) => place,
            None if self.is_locked && next.periods.is_empty() => (MediaTime::ZERO, MediaTime::ZERO),
            None if self.is_locked && next.started == Utc(0) => {
                let place = self.place_of(first, after, now);
                (place, place)
            }
            None if is_epoch && next.started == Utc(0) => {
                let is_near = after.to(Timescale::MICRO, Rounding::Nearest) - next.timing.near_us()
                    <= first.to(Timescale::MICRO, Rounding::Nearest);
                (if is_near { first } else { first.max(after) }, first)
            }
            None => {
                let begun = i64::try_from(begun.saturating_sub(next.started.0)).unwrap_or(0);
                (MediaTime::new(begun, Timescale::MILLI).max(after), first)
            }
        };
        if let Some(last) = next.periods.last_mut() {
            let mut closed = LivePeriod::clone(last);
            // What a track that stayed behind still has of its last segment makes it no longer.
            closed.end = Some(whole_end_of(last).unwrap_or(start).min(start));
            *last = Arc::new(closed);
        }
        if self.timing.is_none() {
            let ms = |time: MediaTime| time.to(Timescale::MILLI, Rounding::Nearest);
            let begins_ms = i64::try_from(next.started.0).unwrap_or(i64::MAX).saturating_add(ms(start) - ms(origin));
            self.timing = Some(self.timing_of(gathering.number, begins_ms));
        }
        self.allow_parts(self.gathered_part_ms(gathering.number));
        next.timing = self.timing.unwrap_or_default();
        next.periods.push(Arc::new(LivePeriod {
            number: gathering.number,
            start,
            origin,
            end: None,
            cuts: Vec::new(),
            tracks: Vec::new(),
        }));
        self.current = Arc::new(next);
        self.root_events();
        self.publish(now);
    }

    fn timing_of(&self, number: u64, begins_ms: i64) -> Timing {
        let members = || self.feeds.values().filter(|feed| feed.period == Some(number));
        let timed = || members().filter(|feed| feed.init.face.kind != Kind::Text);
        let whole_ms = members().flat_map(|feed| feed.live.segments.iter().map(|s| feed.init.ms(s.duration))).max();
        // The one under way is as long already.
        let open_ms = timed().filter_map(|feed| Some(feed.init.ms(feed.live.open.as_ref()?.duration))).max();
        let longest_ms = whole_ms.max(open_ms).unwrap_or(0).max(self.options.target.as_millis() as i64);
        let part_ms = self.options.part_target.as_millis() as i64;
        let chunk_ms = timed().map(|feed| feed.init.ms(feed.chunk_max)).max().unwrap_or(i64::MAX);
        // Of a cadence it follows from the longest chunk, so that it is the same wherever gathering began.
        let longest = |feed: &Feed| {
            let count = (part_ms * 21 / 20 / feed.init.ms_up(feed.chunk_max).max(1)).max(1);
            feed.init.ms_up(feed.chunk_max * count)
        };
        let part_target_ms = match self.options.cadence {
            Some(_) => timed().map(longest).max(),
            None => None,
        };
        // What was gathered before is listed, too.
        let part_target_ms = part_target_ms.max(self.gathered_part_ms(number));
        // With one chunk a segment parts would only say everything twice.
        let part_target_ms =
            part_target_ms.filter(|_| chunk_ms * 20 <= part_ms * 21).and_then(|ms| u64::try_from(ms).ok());
        Timing {
            target_s: ((longest_ms + 500) / 1000).max(1) as u64,
            part_target_ms,
            window_ms: self.options.window.as_millis() as u64,
            low_latency: self.low_latency(number, part_target_ms, begins_ms),
        }
    }

    /// Makes a new state of what the feeds have.
    fn publish(&mut self, now: Utc) {
        self.mend();
        if self.is_resumed {
            let torn = self.feeds.iter_mut().filter_map(|(name, feed)| Some((name.clone(), feed.torn.take()?)));
            let torn: Vec<(String, [i64; 2])> = torn.collect();
            torn.into_iter().for_each(|(name, hole)| self.cut(&name, hole));
        }
        let Some(period) = self.current.periods.last() else { return };
        let mut period = LivePeriod::clone(period);
        let behind = self.left_behind();
        let mut members: Vec<&Feed> = self.feeds.values().filter(|feed| feed.period == Some(period.number)).collect();
        members.sort_by(|a, b| a.live.face.name.cmp(&b.live.face.name));
        if period.tracks.is_empty() {
            period.tracks = members.iter().map(|feed| Arc::new(feed.live.clone())).collect();
        }
        for track in &mut period.tracks {
            let feed = members.iter().find(|feed| feed.live.face.name == track.face.name);
            if let Some(feed) = feed.filter(|feed| feed.differs(track)) {
                *track = Arc::new(feed.live.clone());
            }
        }
        let longest_ms = members.iter().filter_map(|feed| feed.longest_part_ms()).max();
        self.allow_parts(longest_ms);
        let media_at = self.feeds.values().map(|feed| feed.last_at).max().unwrap_or(now);
        let mut next = Broadcast {
            media_at,
            events: Arc::clone(&self.events),
            timing: self.timing.unwrap_or(self.current.timing),
            ..self.followed(self.has_ended(now), now)
        };
        if let Some(last) = next.periods.last_mut() {
            *last = Arc::new(period);
        }
        for (index, period) in behind {
            next.periods[index] = Arc::new(period);
        }
        self.current = Arc::new(next);
        self.edge_ms = self.edge_ms.max(self.edge_ms().unwrap_or(i64::MIN));
    }
}

/// When the last segment of `period` that is whole ends.
fn whole_end_of(period: &LivePeriod) -> Option<MediaTime> {
    let end = |track: &Arc<LiveTrack>| {
        let timescale = track.face.timescale;
        let whole = track.segments.iter().rev().find(|segment| !segment.is_gap).map(|last| last.end());
        let end = whole.or_else(|| track.segments.last().is_none().then_some(track.next_time))?;
        Some(MediaTime::new(period.offset(end, timescale), timescale))
    };
    period.tracks.iter().filter_map(end).max()
}

/// How a chunk follows those before it.
enum Course {
    /// As it should.
    Goes,
    /// It was there before.
    Repeats,
    /// After an outage, on the same timeline.
    Gap,
    /// On another timeline.
    Jumps,
    /// In a later period than the one that it was left behind in; where its segment begins, if nothing is missing before.
    Follows(Option<i64>),
}

impl Feed {
    fn new(init: Init, now: Utc) -> Feed {
        let live = LiveTrack::new(Arc::new(init.face.clone()));
        Feed {
            init: Arc::new(init),
            named_s: 0,
            encoder: 0,
            others: Vec::new(),
            period: None,
            live,
            began: None,
            first_time: 0,
            first_hash: 0,
            decode_end: 0,
            shift: 0,
            last_at: now,
            heard_at: now,
            stopped: None,
            push: 0,
            chunk_max: 0,
            lasts: 0,
            ended: false,
            peak: 0,
            bits: 0,
            ticks: 0,
            places: Vec::new(),
            torn: None,
            frame: 0,
            late_ms: i64::MIN,
            kept: 0,
            wanted: KEPT_AT_FIRST,
            broken: None,
            astray: None,
            elsewhere: None,
            is_renumbered: false,
            requests: Requests::default(),
        }
    }

    fn ticks(&self, duration: Duration) -> i64 {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        rescale(micros, Timescale::MICRO, self.init.face.timescale, Rounding::Nearest)
    }

    /// When the last segment begins of which media came, in ticks.
    fn begun(&self) -> Option<i64> {
        self.live.begun().or(self.began)
    }

    /// Whether what viewers see of it is not what it is.
    fn differs(&self, track: &LiveTrack) -> bool {
        let open = |track: &LiveTrack| {
            let open = track.open.as_ref();
            open.map(|own| (own.number, own.chunks.len(), own.due, own.is_torn, own.is_over))
        };
        track.next_number != self.live.next_number
            || open(track) != open(&self.live)
            || track.listed_from != self.live.listed_from
    }

    /// The longest of the parts that were whole last, if they are offered.
    fn longest_part_ms(&self) -> Option<i64> {
        // What is missing may be listed behind it already.
        let last = self.live.segments.iter().rev().find(|last| !last.is_gap).and_then(|last| last.parts.last());
        let open = self.live.open.iter().flat_map(|open| &open.parts);
        let longest = open.chain(last).map(|part| part.duration).max().filter(|_| self.init.face.kind != Kind::Text)?;
        Some(self.init.ms_up(longest))
    }

    /// Leaves what it has of the period `gathers`, which is not announced: that leaves no hole in the numbers, as playlists count from their
    /// first.
    fn forget_gathered(&mut self, gathers: Option<u64>) {
        if self.period.is_some() && self.period == gathers {
            self.live.next_number = self.live.listed_from;
        }
    }

    /// Waits for a period, with another initialization segment.
    fn leave_period(&mut self, gathers: Option<u64>) {
        self.forget_gathered(gathers);
        self.period = None;
        self.chunk_max = 0;
    }

    /// Begins in another period, with `chunk`.
    fn enter(&mut self, period: u64, face: Track, chunk: &Chunk) {
        let interval = (chunk.sample_duration > 0 && face.kind == Kind::Video)
            .then(|| crate::content::vod::reduce(face.timescale.get(), chunk.sample_duration));
        let face = Track { frame_rate: interval, events: Vec::new(), ..face };
        let next_number = self.live.next_number;
        self.live = LiveTrack {
            face: Arc::new(face),
            rate: (0, 0),
            segments: Segments::default(),
            listed_from: next_number,
            open: None,
            next_number,
            next_time: chunk.time,
            produced: chunk.produced,
        };
        self.frame = i64::from(chunk.sample_duration);
        self.late_ms = i64::MIN;
        self.period = Some(period);
        (self.first_time, self.first_hash, self.decode_end) = (chunk.time, hash(chunk), chunk.decode_time);
        self.began = None;
        (self.peak, self.bits, self.ticks) = (0, 0, 0);
        (self.ended, self.stopped) = (false, None);
    }

    fn goes_on(
        &self,
        chunk: &Chunk,
        named_segments: bool,
        now: Utc,
        locked: Option<Cadence>,
        again_max: i64,
        gap_max: i64,
    ) -> Course {
        // From where its media ends, though more may be told.
        let told = self.told().unwrap_or(0);
        let jump = chunk.decode_time - self.decode_end + told;
        let jump_ms = self.init.ms(jump);
        match self.stopped {
            None if jump_ms.abs() <= JITTER_MS => return Course::Goes,
            Some(_) if jump_ms >= -JITTER_MS && jump_ms < self.init.ms(told) - JITTER_MS => return Course::Repeats,
            _ => {}
        }
        if locked.is_some() {
            // There is one timeline, and nothing comes twice.
            return if jump < 0 {
                Course::Repeats
            } else if jump < gap_max {
                Course::Gap
            } else {
                Course::Jumps
            };
        }
        if jump < 0 {
            let first = self.first_time;
            let is_recent = -jump <= again_max;
            // Who begins anew begins where he began, and mostly otherwise. A file may have been overtaken by the first that came.
            let is_repeated = match chunk.time.cmp(&first) {
                Ordering::Less => named_segments,
                Ordering::Equal => hash(chunk) == self.first_hash,
                Ordering::Greater => true,
            };
            return if is_recent && is_repeated { Course::Repeats } else { Course::Jumps };
        }
        let passed_ms = i64::try_from(now.0.saturating_sub(self.last_at.0)).unwrap_or(i64::MAX);
        let is_outage = (jump_ms - passed_ms).abs() <= OUTAGE_SLACK_MS && jump < gap_max;
        if is_outage { Course::Gap } else { Course::Jumps }
    }

    /// Lists what is missing until `time`.
    fn fill(&mut self, time: i64, target: i64, now: Utc) {
        let mut from = self.live.next_time;
        while from < time {
            // None is longer than was announced; the last two share what is left.
            let until = match time - from {
                left if left <= target => time,
                left if left < 2 * target => from + left / 2,
                _ => from + target,
            };
            self.live.segments.push(Arc::new(LiveSegment::gap(self.live.next_number, from, until - from, now)));
            self.live.next_number += 1;
            from = until;
        }
        self.live.next_time = time;
    }

    fn begins_segment(
        &self,
        chunk: &Chunk,
        source: &Source,
        target: i64,
        timing: Option<Timing>,
        cadence: Option<Cadence>,
    ) -> bool {
        let Some(open) = self.live.open.as_ref().filter(|open| !open.is_over) else { return true };
        if source.named_segments && source.begins_segment {
            return true;
        }
        // No segment may round to more than what was announced; better one that begins without a sync sample.
        if chunk.end - open.time > self.ticks(Window::longest(timing)) || open.chunks.len() >= SEGMENT_CHUNKS_MAX {
            return true;
        }
        !source.named_segments && chunk.starts_with_sync && self.is_due_at(open.time, chunk.time, target, cadence)
    }

    /// Whether the segment after the one that `began` then may begin at `time`, both in ticks.
    fn is_due_at(&self, began: i64, time: i64, target: i64, cadence: Option<Cadence>) -> bool {
        if let Some(cadence) = cadence {
            return self.is_due(cadence, began, time);
        }
        let cell = |time: i64| time.div_euclid(target.max(1));
        let is_far = (time - began) * 2 >= target;
        is_far && (cell(time) != cell(began) || time - began >= target)
    }

    fn append(
        &mut self,
        chunk: Chunk,
        source: Source,
        place: Option<SourceRange>,
        part_target: Duration,
        timing: Option<Timing>,
        now: Utc,
    ) {
        let part_target = self.ticks(part_target);
        self.requests.note(source.begins_segment, chunk.starts_with_sync);
        // What is served is what the spool has, or is not read from there.
        let place = place.filter(|_| chunk.is_spooled);
        let mut open = match self.live.open.take() {
            Some(open) => Arc::unwrap_or_clone(open),
            None => {
                self.places.clear();
                self.shift = chunk.shift;
                OpenSegment {
                    number: self.live.next_number,
                    time: chunk.time.max(self.live.segments.last().map_or(0, |last| last.end())),
                    begun: now,
                    starts_with_sync: chunk.starts_with_sync,
                    parts: Vec::new(),
                    growing: None,
                    chunks: Vec::new(),
                    duration: 0,
                    is_torn: false,
                    is_over: false,
                    due: None,
                }
            }
        };
        self.live.next_number = open.number + 1;
        let (length, starts_with_sync) = (chunk.decode_end - chunk.decode_time, chunk.starts_with_sync);
        let bytes_before: u64 = open.chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let bytes_after = bytes_before + chunk.bytes.len() as u64;
        let part_at = open.time + open.duration;
        // By decode times: where pictures are reordered, the last to be presented of a chunk is not the last that came.
        open.duration = (chunk.decode_end + self.shift - open.time).max(open.duration + 1);
        open.chunks.push(chunk.bytes);
        let part_end = open.time + open.duration;
        // Parts hold whole chunks, and none may be longer than was announced.
        let part_max = timing
            .and_then(|timing| timing.part_target_ms)
            .map_or(part_target + part_target / 20, |ms| self.ticks(Duration::from_millis(ms)));
        if let Some(full) = open.growing.take_if(|part| part_end - part.time > part_max) {
            open.parts.push(full);
        }
        let part = match open.growing.take() {
            // Nobody is told of parts of what will be a gap.
            _ if open.is_torn => None,
            Some(part) => Some(Part { duration: part_end - part.time, bytes: part.bytes.start..bytes_after, ..part }),
            None => Some(Part {
                time: part_at,
                duration: part_end - part_at,
                is_independent: starts_with_sync,
                bytes: bytes_before..bytes_after,
            }),
        };
        // Whether another chunk like this one would be too much.
        match part {
            Some(part) if part.duration + length > part_max => open.parts.push(part),
            part => open.growing = part,
        }
        self.live.next_time = part_end;
        self.live.open = Some(Arc::new(open));
        self.places.extend(place);
        self.decode_end = chunk.decode_end;
        self.chunk_max = self.chunk_max.max(length);
        self.last_at = now;
        self.push = source.push;
        self.ended = false;
    }

    /// Says when the open segment ends.
    fn announce_end(&mut self, due: Option<i64>) {
        if let Some(open) = self.live.open.as_mut().filter(|open| open.due != due) {
            Arc::make_mut(open).due = due;
        }
    }

    /// Ends the open segment, where the next one begins if that is known.
    fn close(&mut self, now: Utc, next: Option<i64>, pace: Pace) {
        let Some(open) = self.live.open.take() else { return };
        self.requests.segment_ends();
        // Samples may be presented a little later or sooner than those before them last.
        let near = |next: &i64| (next - open.time - open.duration).abs() <= self.jitter();
        let duration = next.filter(near).map_or(open.duration, |next| next - open.time).max(1);
        let lacks_until = self.lacks_until(pace, open.number, open.time + duration, next);
        self.live.next_time = open.time + duration;
        let mut open = Arc::unwrap_or_clone(open);
        if self.period == pace.gathers {
            open.due = None;
        }
        if let Some(part) = open.growing.as_mut().or(open.parts.last_mut()) {
            part.duration = (open.time + duration - part.time).max(1);
        }
        let places = std::mem::take(&mut self.places);
        let places = if places.len() == open.chunks.len() { places } else { Vec::new() };
        let announced = open.due.map_or(duration, |due| due - open.time);
        self.lasts = duration;
        if open.is_torn {
            self.torn = Some([open.time, open.time + duration]);
            self.kept_or_not(pace, open.time, duration, announced);
            let gap = LiveSegment::gap(open.number, open.time, duration, now);
            self.live.segments.push(Arc::new(gap.lacking(lacks_until)));
            return;
        }
        let segment = LiveSegment::close(&open, duration, now, places).lacking(lacks_until);
        self.kept_or_not(pace, open.time, duration, announced);
        let scale = i64::from(self.init.face.timescale.get());
        let bits = segment.len * 8;
        let rate = u64::try_from(i128::from(bits) * i128::from(scale) / i128::from(duration)).unwrap_or(u64::MAX);
        if self.init.ms(duration) >= 500 || self.peak == 0 {
            self.peak = self.peak.max(rate);
        }
        self.bits += bits;
        self.ticks += duration;
        let average =
            u64::try_from(i128::from(self.bits) * i128::from(scale) / i128::from(self.ticks)).unwrap_or(u64::MAX);
        // In steps, so that what is said of a track does not change with every segment.
        self.live.rate = (step_up(self.peak), step_up(average).min(step_up(self.peak)));
        self.live.segments.push(Arc::new(segment));
    }
}

fn hash(chunk: &Chunk) -> u64 {
    first_u64(blake3::hash(&chunk.bytes).as_bytes())
}

/// What is known of the keys of a track whose media is under `kid`, too.
fn rotated(kid: [u8; 16]) -> Vec<KeyChange> {
    vec![KeyChange { first_sample: 0, kid, pssh: Arc::default() }]
}

/// `rate` rounded up to two digits.
fn step_up(rate: u64) -> u64 {
    let step = 10u64.pow(rate.checked_ilog10().unwrap_or(0).saturating_sub(1));
    rate.div_ceil(step) * step
}
