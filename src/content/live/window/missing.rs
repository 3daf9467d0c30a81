//! A track of which nothing comes while others go on: what it lacks by then is told, so that players go on without it.
//!
//! ```text
//!   v   |--7--|--8--|--9--|--10-|--11-|--12-|
//!   a   |--7--|-8                                what follows is not known, and nobody is told of anything
//!   a   |--7--|-8|~~9~~|                         others are so far ahead: 9 is missing, whatever comes
//!   a   |--7--|-8|~~9~~|           |--12-|       it comes back: what is missing between is told then
//! ```
//!
//! What was told stays: media of a time that is missing is left out if it comes after all (ADR 0015).

use std::time::Duration;

use crate::content::live::window::{Feed, TARGETS_BEHIND_MAX, Window};
use crate::media::live::LiveSegment;
use crate::media::track::Kind;
use crate::time::{Rounding, Timescale, Utc, rescale};

impl Window {
    /// Tells what the tracks of the newest period lack of which nothing came for long, while others went on.
    pub(super) fn tell_missing(&mut self, now: Utc) {
        let (Some(edge_ms), Some(period)) = (self.edge_ms(), self.current.periods.last().cloned()) else { return };
        let announced = Duration::from_secs(self.current.timing.target_s);
        let limit = self.options.target.max(announced) * TARGETS_BEHIND_MAX;
        let until_ms = edge_ms.saturating_sub(limit.as_millis() as i64);
        let (locked, pace) = (self.locked(), self.pace());
        let mut stopped = Vec::new();
        for (name, feed) in &mut self.feeds {
            let is_member = feed.period == Some(period.number) && period.track(name).is_some();
            if !is_member || feed.init.face.kind == Kind::Text || now < feed.heard_at.after(limit) {
                continue;
            }
            let timescale = feed.init.face.timescale;
            let ms = |ticks| rescale(period.offset(ticks, timescale), timescale, Timescale::MILLI, Rounding::Down);
            let next = match (&feed.live.open, locked) {
                // Where numbers follow from times, the rest of what its number stands for is missing, too.
                (Some(open), Some(cadence)) => feed.start(cadence, open.number + 1),
                _ => feed.live.end().unwrap_or(feed.live.next_time),
            };
            if ms(next) > until_ms {
                continue;
            }
            let end = feed.live.end().unwrap_or(next);
            feed.close(now, locked.map(|_| next), pace);
            if feed.stopped.is_none() {
                feed.stopped = Some(feed.decode_end);
                // Where a segment ends otherwise than was announced the Period ends for that.
                if feed.broken.is_none() {
                    stopped.push((name.clone(), [end, end]));
                }
            }
            match locked {
                Some(cadence) => {
                    while ms(feed.start(cadence, feed.live.next_number)) <= until_ms {
                        let number = feed.live.next_number + 1;
                        feed.fill_until(cadence, number, now);
                    }
                }
                None => {
                    let target = feed.ticks(self.options.target).max(1);
                    while ms(feed.live.next_time) <= until_ms {
                        let (number, from) = (feed.live.next_number, feed.live.next_time);
                        feed.live.segments.push(LiveSegment::gap(number, from, target, now).into());
                        (feed.live.next_number, feed.live.next_time) = (number + 1, from + target);
                    }
                }
            }
            feed.decode_end = feed.decode_end.max(feed.live.next_time - feed.shift);
        }
        self.mend();
        stopped.into_iter().for_each(|(name, hole)| self.cut(&name, hole));
    }
}

impl Feed {
    /// How much of what follows the last media was told to be missing, in ticks.
    pub(super) fn told(&self) -> Option<i64> {
        self.stopped.map(|stopped| self.decode_end - stopped)
    }
}
