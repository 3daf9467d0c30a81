//! What is said of a channel changes over a restart: what was announced of it before is over, and what comes next is announced anew.
//!
//! | what | from when on |
//! |---|---|
//! | window, latency, end-after | at once |
//! | segment, part, cadence | with the next segment: a stretch of its own, alone in its playlists, as their EXT-X-TARGETDURATION and EXT-X-PART-INF say of all that is listed (rfc8216bis §4.4.3.1) |
//!
//! The log has all of it, so that reading it back repeats what was done by what held then.

use std::sync::Arc;

use crate::content::live::window::{Options, Window};
use crate::media::event::Timeline;
use crate::media::live::Broadcast;
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
