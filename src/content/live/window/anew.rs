//! What is said of a channel changes over a restart, or its broadcast has ended: what was announced of it before is over, and what comes next is
//! announced anew.
//!
//! | what | from when on |
//! |---|---|
//! | window, latency, end-after | at once |
//! | segment, part, cadence | with the next segment: a stretch of its own, alone in its playlists, as their EXT-X-TARGETDURATION and EXT-X-PART-INF say of all that is listed (rfc8216bis §4.4.3.1) |
//!
//! What follows an end is such a stretch, too, however long its segments and chunks are: who saw the end asks for nothing more
//! (rfc8216bis §4.4.3.4). What only goes on, without a hole, was not over.
//!
//! The log has all of it, so that reading it back repeats what was done by what held then.

use std::sync::Arc;

use crate::content::live::pushed::{Chunk, Init};
use crate::content::live::window::{Course, Options, Source, Window};
use crate::media::event::Timeline;
use crate::media::live::Broadcast;
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc};

impl Window {
    /// Behaves as `options` say, from now on. Whether what comes next is announced anew.
    pub fn adopt(&mut self, options: Options, now: Utc) -> bool {
        let fixed = |of: &Options| (of.target, of.part_target, of.cadence);
        let is_anew = fixed(&self.options) != fixed(&options) && self.next_period > 0;
        let is_renumbered = is_anew && self.is_locked && self.options.cadence != options.cadence;
        if is_anew {
            self.ends_what_was_announced(now);
        }
        self.feeds.values_mut().for_each(|feed| feed.is_renumbered |= is_renumbered);
        let latency = std::mem::replace(&mut self.options, options).latency;
        let Some(mut timing) = self.timing else { return is_anew };
        timing.window_ms = u64::try_from(self.options.window.as_millis()).unwrap_or(u64::MAX);
        if let Some(period) = self.current.periods.last().filter(|_| latency != self.options.latency) {
            let ms = |time: MediaTime| time.to(Timescale::MILLI, Rounding::Nearest);
            let started = i64::try_from(self.current.started.0).unwrap_or(i64::MAX);
            let begins_ms = started.saturating_add(ms(period.start) - ms(period.origin));
            let found = self.low_latency(period.number, timing.part_target_ms, begins_ms);
            timing.low_latency = timing.low_latency.and(found).or(timing.low_latency);
        }
        if self.timing.replace(timing) != Some(timing) {
            self.stays_as_before(self.current.timing, now);
            self.publish(now);
        }
        is_anew
    }

    /// Whether another broadcast begins with `chunk`, which `source` has of `init` for `name`: what was there has ended, and does not go on with it.
    pub(super) fn begins_another(&self, name: &str, init: &Init, chunk: &Chunk, source: &Source, now: Utc) -> bool {
        let Some(feed) = self.feeds.get(name).filter(|_| self.current.ended && self.timing.is_some()) else {
            return false;
        };
        // Text has holes, and may be late.
        let has_holes = feed.init.face.kind == Kind::Text && now < self.current.media_at.after(self.patience());
        let is_another = || match feed.period {
            Some(_) if init.face.version == feed.init.face.version => match self.course_of(feed, chunk, source, now) {
                Some(Course::Gap) => !has_holes,
                course => matches!(course, Some(Course::Jumps)),
            },
            _ => !self.is_past(feed, chunk),
        };
        // Where numbers follow from times all of before has come already, and nothing begins but where a segment does: what counts time from
        // elsewhere is not of those times.
        let is_of_epoch = |at: Utc| Window::is_of_epoch(init, chunk, at);
        let is_elsewhere = self.is_locked && !is_of_epoch(now) && !is_of_epoch(feed.last_at);
        if is_elsewhere { chunk.starts_with_sync } else { self.is_boundary(feed, chunk) && is_another() }
    }

    /// Whether `chunk`, which `source` has for `name`, is of another broadcast than the one that has ended: that is over then.
    pub(super) fn follows_an_end(&mut self, name: &str, chunk: &Chunk, source: &Source, now: Utc) -> bool {
        let Some(init) = self.init_of(name).cloned() else { return false };
        let is_another = self.begins_another(name, &init, chunk, source, now);
        if is_another {
            self.ends_what_was_announced(now);
        }
        is_another
    }

    /// What came of each track is all of it; all wait for a period.
    fn ends_what_was_announced(&mut self, now: Utc) {
        let (pace, gathers) = (self.pace(), self.gathers());
        self.feeds.values_mut().for_each(|feed| feed.close(now, None, pace));
        self.publish(now);
        self.feeds.values_mut().for_each(|feed| feed.leave_period(gathers));
        (self.gathering, self.timing, self.is_locked) = (None, None, false);
    }

    /// `next` is announced for the first time, or anew: what is listed of before leaves its playlists, and stays as long as it has to.
    pub(super) fn begins_anew(&mut self, next: &mut Broadcast, started: Utc, now: Utc) {
        if next.periods.is_empty() {
            next.started = started;
            return;
        }
        // A broadcast that did not count from 1970, and does not, goes on.
        if next.started != started && (next.started == Utc(0) || started == Utc(0)) {
            // Times count from elsewhere: nothing of before can be said in them.
            let tracks = next.periods.iter().flat_map(|period| &period.tracks);
            tracks.flat_map(|track| track.segments.iter()).for_each(|segment| segment.release(now));
            next.periods.clear();
            self.leave_out(|event| event.timeline == Timeline::Broadcast);
            (next.started, self.edge_ms) = (started, i64::MIN);
            return;
        }
        if next.ended {
            // A break that was under way is over with its broadcast, and nothing leads back from it.
            let (before, end_ms) = (Arc::clone(&self.current), self.edge_ms().unwrap_or(i64::MIN));
            let end_us = end_ms.saturating_mul(1000);
            self.leave_out(|event| before.event_us(event).is_some_and(|begins_us| begins_us < end_us));
        }
        let until = now.after(self.stays(now));
        for period in &mut next.periods {
            let number = period.number;
            for track in &mut Arc::make_mut(period).tracks {
                let from = track.next_number;
                if track.listed_from < from {
                    self.left.entry((number, track.face.name.clone())).or_default().listed.push_back((from, until));
                    Arc::make_mut(track).listed_from = from;
                }
            }
        }
    }
}
