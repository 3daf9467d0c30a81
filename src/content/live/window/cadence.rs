//! What a declared cadence changes: segments end where they have to, and where that is may be told when they begin.
//!
//! A promise that is not kept costs a Period in DASH, where what was announced of a segment is never announced otherwise. So none is
//! made before a segment was as long as it should be; and after a broken one, before many were.

use std::sync::Arc;
use std::time::Duration;

use crate::content::live::cadence::{Cadence, Pace};
use crate::content::live::cut;
use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::receiver::RawChunk;
use crate::content::live::window::{
    EPOCH_SLACK_S, Feed, GAPS_MAX, JITTER_MS, KEPT_AT_FIRST, TARGETS_BEHIND_MAX, Window,
};
use crate::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack, LowLatency};
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

/// Segments that have to be as long as they should be before one is announced again, after one was not.
const KEPT_AFTER_BREAK: u32 = 10;
/// The most pieces that a chunk is cut into: those that last longer than segments are no chunks.
const PIECES_MAX: usize = 8;
/// A player learns of a segment by asking for the MPD, once a second (dash.js 5.2 asks no sooner); a cache between keeps one for
/// another.
const LEARNT_MS: u64 = 2_000;
/// How long an encoder may have no sync sample where a segment begins, in segments.
const ASTRAY_SEGMENTS: i64 = 3;
/// The most that is believed of how late an encoder is.
const LATE_MS_MAX: i64 = 60_000;

impl Window {
    pub(super) fn pace(&self) -> Pace {
        Pace { cadence: self.options.cadence, is_locked: self.is_locked, gathers: self.gathers() }
    }

    /// Closes segments of which nothing more comes, where it was not known what follows: nothing follows what everybody has ended, and
    /// what others have long passed lacks its end.
    pub(super) fn close_over(&mut self, now: Utc) {
        let Some(cadence) = self.locked() else { return };
        let pace = self.pace();
        let has_ended = self.feeds.values().filter(|feed| feed.period.is_some()).all(|feed| feed.ended);
        let edge_ms = self.edge_ms().unwrap_or(i64::MIN);
        let passed_ms = (self.options.target * TARGETS_BEHIND_MAX).as_millis() as i64;
        let period = self.current.periods.last().cloned();
        let mut holes = Vec::new();
        for (name, feed) in &mut self.feeds {
            let Some(open) = feed.live.open.as_ref().filter(|open| open.is_over) else { continue };
            if has_ended {
                feed.close(now, None, pace);
                continue;
            }
            let Some(period) = period.as_ref().filter(|period| feed.period == Some(period.number)) else { continue };
            let (end, until) = (open.time + open.duration, feed.start(cadence, open.number + 1));
            let timescale = feed.init.face.timescale;
            let until_ms = rescale(period.offset(until, timescale), timescale, Timescale::MILLI, Rounding::Down);
            if edge_ms >= until_ms.saturating_add(passed_ms) {
                feed.close(now, Some(until), pace);
                let cut = feed.cut_at(end);
                holes.push((name.clone(), [cut, cut]));
            }
        }
        holes.into_iter().for_each(|(name, hole)| self.cut(&name, hole));
    }

    /// The cadence, if media times count from 1970 as well: segments then have the numbers that follow from it.
    pub(super) fn locked(&self) -> Option<Cadence> {
        self.options.cadence.filter(|_| self.is_locked)
    }

    /// Whether the next chunk decides if the channel is locked: nothing has come yet.
    pub(super) fn may_lock(&self) -> bool {
        self.timing.is_none() && self.gathering.is_none()
    }

    /// Whether the segment of `feed` that may begin with `chunk` has a number further from the last than segments are listed as missing.
    pub(super) fn is_far(&self, feed: &Feed, chunk: &Chunk) -> bool {
        let Some(cadence) = self.locked() else { return false };
        feed.number_at(cadence, chunk.time).saturating_sub(feed.live.next_number) > self.gaps_max().unsigned_abs() + 1
    }

    /// Whether `chunk` is of a time at which `feed` was before it left its period: where numbers follow from times there is one timeline, and
    /// what is sent again after a restart or with another initialization segment would have a number or a name that is taken.
    pub(super) fn is_past(&self, feed: &Feed, chunk: &Chunk) -> bool {
        let Some(cadence) = self.locked() else { return false };
        let next = rescale(feed.live.next_time, feed.live.face.timescale, feed.init.face.timescale, Rounding::Nearest);
        let has_its_names = feed.init.face_from(cadence.as_u64()).version == feed.live.face.version;
        chunk.time < if has_its_names { next } else { next - feed.jitter() }
    }

    /// Whether a segment of a channel whose numbers are locked may begin with `chunk`.
    pub(super) fn is_boundary(&self, feed: &Feed, chunk: &Chunk) -> bool {
        let Some(cadence) = self.locked() else { return chunk.starts_with_sync };
        let timescale = feed.init.face.timescale;
        let start = cadence.start(cadence.nearest(chunk.time, timescale), timescale);
        chunk.starts_with_sync && (chunk.time - start).abs() <= feed.slack(chunk)
    }

    /// Whether the media time of `chunk`, which is of `init`, counts from 1970.
    pub(super) fn is_of_epoch(init: &Init, chunk: &Chunk, now: Utc) -> bool {
        let seconds = MediaTime::new(chunk.time, init.face.timescale).seconds() as u64;
        seconds.abs_diff(now.0 / 1000) <= EPOCH_SLACK_S
    }

    /// What is pushed to a channel whose numbers are locked counts from 1970, too.
    pub(super) fn asked_of_epoch(name: &str, feed: &Feed, chunk: &Chunk, now: Utc) -> Result<(), Refusal> {
        if Window::is_of_epoch(&feed.init, chunk, now) {
            return Ok(());
        }
        let what = format!("the media times of {name} do not count from 1970, as those that the channel began with do");
        Err(Refusal::Conflict(what))
    }

    /// `raw`, cut where segments begin if it is sound, which may be cut at every frame.
    pub fn pieces(&self, name: &str, encoder: u32, raw: RawChunk) -> Result<Vec<RawChunk>, Refusal> {
        let (Some(cadence), Some(init)) = (self.options.cadence, self.init_by(name, encoder)) else {
            return Ok(vec![raw]);
        };
        if init.face.kind != Kind::Audio || !init.is_verbatim() {
            return Ok(vec![raw]);
        }
        let (mut pieces, mut rest) = (Vec::new(), raw);
        while pieces.len() < PIECES_MAX {
            let chunk = init.chunk(rest.clone())?;
            let timescale = init.face.timescale;
            let next = cadence.containing(chunk.time, timescale) + 1;
            match cut::at(init, &rest, cadence.start(next, timescale)) {
                Some((before, after)) => {
                    pieces.push(before);
                    rest = after;
                }
                None => break,
            }
        }
        pieces.push(rest);
        Ok(pieces)
    }

    /// The most segments that are listed as missing, after an outage.
    pub(super) fn gaps_max(&self) -> i64 {
        let target_ms = self.options.target.as_millis().max(1);
        let in_window = i64::try_from(self.options.window.as_millis() / target_ms).unwrap_or(GAPS_MAX);
        if self.is_locked { GAPS_MAX.max(in_window) } else { GAPS_MAX }
    }

    /// Lists as missing, in the last period that the track called `name` was in, what has numbers before that of a segment that begins with
    /// `chunk` in another one: a playlist has all numbers.
    pub(super) fn fill_before(&mut self, name: &str, cadence: Cadence, chunk: &Chunk, now: Utc) {
        let Some(feed) = self.feeds.get(name) else { return };
        let number = feed.number_at(cadence, chunk.time);
        let mut next = Broadcast::clone(&self.current);
        let has_it = |period: &&mut Arc<LivePeriod>| period.track(name).is_some();
        let Some(period) = next.periods.iter_mut().rev().find(has_it) else { return };
        let Some(at) = period.tracks.iter().position(|track| track.face.name == name) else { return };
        let mut track = LiveTrack::clone(&period.tracks[at]);
        let missing = number.saturating_sub(track.next_number);
        if missing == 0 || missing > self.gaps_max().unsigned_abs() {
            return;
        }
        let time = rescale(chunk.time, feed.init.face.timescale, track.face.timescale, Rounding::Nearest);
        fill(&mut track, cadence, number, time, now);
        Arc::make_mut(period).tracks[at] = Arc::new(track);
        self.current = Arc::new(next);
    }

    /// Ends the Period in DASH where a segment ended otherwise than was announced.
    pub(super) fn mend(&mut self) {
        let broken: Vec<(String, i64)> = (self.feeds.iter_mut())
            .filter_map(|(name, feed)| feed.broken.take().map(|ticks| (name.clone(), ticks)))
            .collect();
        for (name, ticks) in broken {
            self.cut(&name, [ticks, ticks]);
        }
    }

    /// How near to the live edge the members of period `number` may be played. Their media time 0 is `begins_ms` after 1970.
    pub(super) fn low_latency(&self, number: u64, part_target_ms: Option<u64>, begins_ms: i64) -> Option<LowLatency> {
        let segment_ms = u64::try_from(self.options.cadence?.duration().as_millis()).ok()?;
        let timed = || {
            let members = self.feeds.values().filter(|feed| feed.period == Some(number));
            members.filter(|feed| feed.init.face.kind != Kind::Text)
        };
        let chunk_ms = timed().map(|feed| feed.init.ms_up(feed.chunk_max)).max()?;
        let chunk_ms = u64::try_from(chunk_ms).ok().filter(|ms| ms * 2 <= segment_ms)?;
        let late_ms = timed().map(|feed| feed.late_ms).max()? - begins_ms;
        let late_ms = late_ms.clamp(0, LATE_MS_MAX) as u64;
        let usual = late_ms + (chunk_ms + LEARNT_MS).max(3 * part_target_ms.unwrap_or(0));
        let target_ms = self.options.latency.map_or(usual, |latency| latency.as_millis() as u64);
        Some(LowLatency { chunk_ms, segment_ms, target_ms })
    }
}

/// No frame of sound is longer: 2048 samples of 16 kHz are an eighth of a second. What claims to be would have gaps before it that are longer than a
/// segment.
const FRAME_MAX: Duration = Duration::from_millis(250);

impl Feed {
    /// How far from where it should begin a segment may begin: sound begins with a frame, and pictures that are shown before the sync
    /// sample belong to it.
    fn slack(&self, chunk: &Chunk) -> i64 {
        match self.init.face.kind {
            // A file that is looped ends with a frame as short as the file's length wants it.
            Kind::Audio => i64::from(chunk.sample_duration).max(self.frame).min(self.ticks(FRAME_MAX)),
            _ => self.jitter(),
        }
    }

    pub(super) fn jitter(&self) -> i64 {
        self.ticks(Duration::from_millis(JITTER_MS as u64))
    }

    /// When a segment that begins at `time` ends if it keeps `cadence`; `None` if ticks can't say it.
    pub(super) fn due(&self, cadence: Cadence, time: i64) -> Option<i64> {
        let timescale = self.init.face.timescale;
        match self.init.face.kind {
            Kind::Video => cadence.exact(timescale).map(|length| time + length),
            Kind::Audio if self.frame > 0 => {
                let number = cadence.nearest(time, timescale);
                // Some begin with the frame that a boundary lies in, not with the first behind it.
                let early = if time < cadence.start(number, timescale) { self.frame } else { 0 };
                let left = cadence.start(number + 1, timescale) - early - time;
                Some(time + (left + self.frame - 1).div_euclid(self.frame) * self.frame).filter(|due| *due > time)
            }
            _ => None,
        }
    }

    /// Whether the segment after the one that `began` then may begin at `time`.
    pub(super) fn is_due(&self, cadence: Cadence, began: i64, time: i64) -> bool {
        let early = if self.init.face.kind == Kind::Audio { self.frame - 1 } else { self.jitter() };
        let due = self.due(cadence, began).unwrap_or_else(|| began + self.ticks(cadence.duration()));
        time + early.max(0) >= due
    }

    /// Whether media was to go on with another segment before `chunk` ends, where numbers follow from times: what the number of the open
    /// segment stands for is over, whatever the encoder's requests are.
    pub(super) fn is_over(&self, cadence: Cadence, chunk: &Chunk) -> bool {
        let Some(open) = self.live.open.as_ref().filter(|_| self.init.face.kind != Kind::Text) else { return false };
        let next = self.start(cadence, open.number + 1);
        // One that comes a little late is in a chunk behind those before it.
        chunk.time >= next && chunk.end > next + self.jitter()
    }

    /// An encoder none of whose sync samples are where `cadence` has them is told so.
    pub(super) fn note_boundary(
        &mut self,
        name: &str,
        cadence: Cadence,
        chunk: &Chunk,
        is_boundary: bool,
    ) -> Result<(), Refusal> {
        if is_boundary {
            self.astray = None;
        }
        if is_boundary || !chunk.starts_with_sync || self.init.face.kind != Kind::Video {
            return Ok(());
        }
        let since = *self.astray.get_or_insert(chunk.time);
        if chunk.time - since <= ASTRAY_SEGMENTS * self.ticks(cadence.duration()) {
            return Ok(());
        }
        self.astray = None;
        let timescale = self.init.face.timescale;
        let start = cadence.start(cadence.nearest(chunk.time, timescale), timescale);
        let away_ms = self.init.ms(chunk.time - start);
        Err(Refusal::Conflict(format!(
            "sync samples of {name} are {away_ms} ms away from where a segment begins with a cadence of {cadence}"
        )))
    }

    /// When the segment that begins at `time` is said to end, if that is said.
    pub(super) fn promise(&self, cadence: Option<Cadence>, time: i64) -> Option<i64> {
        let due = self.due(cadence?, time)?;
        (self.kept >= self.wanted).then_some(due)
    }

    /// What came of the open segment is all of it; what follows begins at `next`, if anything is known of it. If numbers follow from times
    /// and its end is missing it stays open, so that it is listed once it is known what follows.
    pub(super) fn finish(&mut self, now: Utc, next: Option<i64>, pace: Pace) {
        let Some(mut open) = self.live.open.take() else { return };
        let (number, end) = (open.number, open.time + open.duration);
        let is_short = pace.locked().is_some_and(|cadence| self.is_short(cadence, number, end));
        if is_short {
            Arc::make_mut(&mut open).is_over = true;
        }
        self.live.open = Some(open);
        if !is_short {
            self.close(now, next, pace);
        }
    }

    /// What came of the open segment is all of it, and the track goes on in another period: where numbers follow from times that is with the
    /// next number at the soonest, so that the rest is missing. It is told before it is known which number that is: what lies between is listed behind it.
    pub(super) fn close_before_another(&mut self, now: Utc, pace: Pace) {
        let next =
            pace.locked().zip(self.live.open.as_ref()).map(|(cadence, open)| self.start(cadence, open.number + 1));
        self.close(now, next, pace);
    }

    /// Whether the segment with this `number`, which ends at `end`, lacks its end.
    fn is_short(&self, cadence: Cadence, number: u64, end: i64) -> bool {
        self.start(cadence, number + 1) - end > self.jitter()
    }

    /// When what the segment with this `number` lacks ends, in ticks, where it ends at `end` and what follows begins at `next`.
    pub(super) fn lacks_until(&self, pace: Pace, number: u64, end: i64, next: Option<i64>) -> Option<i64> {
        let cadence = pace.locked()?;
        next.filter(|_| self.is_short(cadence, number, end)).map(|next| next.min(self.start(cadence, number + 1)))
    }

    /// When the segment with this `number` begins, in ticks.
    pub(super) fn start(&self, cadence: Cadence, number: u64) -> i64 {
        start(cadence, number, self.init.face.timescale)
    }

    /// A segment that began at `time` ended, and was announced with another duration or the same: was it as long as it should be?
    pub(super) fn kept_or_not(&mut self, pace: Pace, time: i64, duration: i64, announced: i64) {
        let end = time + duration;
        let Some(cadence) = pace.cadence else { return };
        let Some(due) = self.due(cadence, time) else { return };
        if end == due {
            self.kept = self.kept.saturating_add(1);
            return;
        }
        self.kept = 0;
        if announced != duration {
            // Who only stumbled, by no more than clocks are rounded by, is believed again soon.
            let has_stumbled = (end - due).abs() <= self.jitter();
            self.wanted = if has_stumbled { KEPT_AT_FIRST } else { KEPT_AFTER_BREAK };
            // Not in its first half, so that the segment itself stays where it was announced; and no further than half a segment behind its end, so
            // that what follows does not: it would begin before the end that was announced.
            let near = self.ticks(cadence.duration()) / 2 - self.ticks(Duration::from_millis(1));
            self.broken = Some(end.max((time + announced / 4 * 3).min(end + near)));
        }
    }

    /// Where the Period ends whose media ends at `end`, in ticks: where that of a broken promise does, if one was broken there.
    pub(super) fn cut_at(&self, end: i64) -> i64 {
        self.broken.unwrap_or(end)
    }

    /// Lists as missing what has numbers before that of a segment that begins at `time`.
    pub(super) fn fill_locked(&mut self, cadence: Cadence, time: i64, now: Utc) {
        let number = self.number_at(cadence, time);
        fill(&mut self.live, cadence, number, time, now);
        self.live.next_number = self.live.next_number.max(number);
    }

    /// Lists as missing what has numbers below this `number`.
    pub(super) fn fill_until(&mut self, cadence: Cadence, number: u64, now: Utc) {
        let time = self.start(cadence, number);
        fill(&mut self.live, cadence, number, time, now);
    }

    /// The number of the segment that begins at `time`.
    pub(super) fn number_at(&self, cadence: Cadence, time: i64) -> u64 {
        u64::try_from(cadence.nearest(time, self.init.face.timescale)).unwrap_or(0)
    }

    /// Whether the segment that begins with `chunk` was there already, all of it: one that ended at once ends hardly later than it begins.
    pub(super) fn has_had(&self, cadence: Cadence, chunk: &Chunk) -> bool {
        let is_passed = chunk.time < self.live.next_time && self.live.open.is_none();
        is_passed && self.number_at(cadence, chunk.time) < self.live.next_number
    }

    /// How late `chunk` came, on its own media clock.
    pub(super) fn note_lateness(&mut self, chunk: &Chunk, now: Utc) {
        let end = MediaTime::new(chunk.end, self.init.face.timescale).to(Timescale::MILLI, Rounding::Down);
        // The last, not the worst: who connects sends at first what gathered.
        self.late_ms = i64::try_from(now.0).unwrap_or(i64::MAX).saturating_sub(end);
    }
}

/// When the segment with this `number` begins, in ticks of `timescale`.
fn start(cadence: Cadence, number: u64, timescale: Timescale) -> i64 {
    cadence.start(i64::try_from(number).unwrap_or(i64::MAX), timescale)
}

/// Lists as missing what `live` lacks before the segment with this `number`, which begins at `time`.
fn fill(live: &mut LiveTrack, cadence: Cadence, number: u64, time: i64, now: Utc) {
    let timescale = live.face.timescale;
    // `Window::is_far`, `Window::fill_before`
    debug_assert!(number.saturating_sub(live.next_number) <= 1 << 20);
    while live.next_number < number {
        let own = live.next_number;
        let until = if own + 1 == number { time } else { start(cadence, own + 1, timescale).min(time) };
        // What a segment lacks that was cut short has no number.
        let from = live.next_time.max(start(cadence, own, timescale)).min(until - 1);
        live.segments.push(Arc::new(LiveSegment::gap(own, from, until - from, now)));
        live.next_number += 1;
        live.next_time = until;
    }
}
