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

use std::sync::Arc;
use std::time::Duration;

use crate::content::live::cadence::Cadence;
use crate::content::live::window::{Feed, TARGETS_BEHIND_MAX, Window};
use crate::formats::isobmff::fragment::DECODE_TIME_MAX;
use crate::media::live::{Broadcast, LiveSegment};
use crate::media::track::Kind;
use crate::time::{Rounding, Timescale, Utc, rescale};

impl Window {
    /// Tells what the tracks of the newest period lack of which nothing came for long, while others went on.
    pub(super) fn tell_missing(&mut self, now: Utc) {
        let (Some(edge_ms), Some(period)) = (self.edge_ms(), self.current.periods.last().cloned()) else { return };
        let announced = Duration::from_secs(self.current.timing.target_s);
        let limit = self.options.target.max(announced) * TARGETS_BEHIND_MAX;
        let until_ms = edge_ms.saturating_sub(limit.as_millis() as i64);
        let (locked, pace, gaps_max) = (self.locked(), self.pace(), self.gaps_max());
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
                _ => feed.live.end(),
            };
            if ms(next) > until_ms {
                continue;
            }
            let end = feed.live.end();
            feed.close(now, locked.map(|_| next), pace);
            if feed.stopped.is_none() {
                feed.stopped = Some(feed.decode_end);
                // Where a segment ends otherwise than was announced the Period ends for that.
                if feed.broken.is_none() {
                    stopped.push((name.clone(), [end, end]));
                }
            }
            let target = feed.ticks(self.options.target).max(1);
            feed.lacks(gaps_max, target, locked, |ticks| ms(ticks) <= until_ms, now);
            feed.decode_end = feed.decode_end.max(feed.live.next_time - feed.shift);
        }
        self.mend();
        stopped.into_iter().for_each(|(name, hole)| self.cut(&name, hole));
    }

    /// Media of the feed called `name` is missing from the one time until the other, in ticks.
    pub(super) fn cut(&mut self, name: &str, hole: [i64; 2]) {
        let Some(feed) = self.feeds.get(name) else { return };
        let mut next = Broadcast::clone(&self.current);
        let Some(last) = next.periods.last_mut().filter(|last| feed.period == Some(last.number)) else { return };
        let period = Arc::make_mut(last);
        period.cut(&feed.live, hole, next.timing.near_us());
        self.current = Arc::new(next);
    }
}

impl Feed {
    /// Lists as missing, segment after segment, what begins when `is_passed`: `most` at once, so that whatever the times are nobody waits for long; what
    /// is left comes with the next chunk of others. Nothing of it can come that is decoded later than a chunk can say, and such ticks have no sums.
    fn lacks(&mut self, most: i64, target: i64, locked: Option<Cadence>, is_passed: impl Fn(i64) -> bool, now: Utc) {
        for _ in 0..most {
            let (number, time) = (self.live.next_number, self.live.next_time);
            let begins = locked.map_or(time, |cadence| self.start(cadence, number));
            if begins > DECODE_TIME_MAX || !is_passed(begins) {
                return;
            }
            match locked {
                Some(cadence) => self.fill_until(cadence, number + 1, now),
                None => {
                    self.live.segments.push(LiveSegment::gap(number, time, target, now).into());
                    (self.live.next_number, self.live.next_time) = (number + 1, time + target);
                }
            }
        }
    }

    /// How much of what follows the last media was told to be missing, in ticks.
    pub(super) fn told(&self) -> Option<i64> {
        self.stopped.map(|stopped| self.decode_end - stopped)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::content::live::pushed::Init;

    #[test]
    fn what_a_track_lacks_is_told_as_far_as_ticks_go_and_not_without_end() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/packaging/video/init.mp4");
        let init = Init::read(Bytes::from(std::fs::read(file).expect("a file")), "v").expect("it is read");
        let (now, cadence) = (Utc(0), "2s".parse::<Cadence>().expect("a cadence"));
        let two_s = 2 * 12_288;
        for locked in [None, Some(cadence)] {
            let mut feed = Feed::new(init.clone(), now);
            feed.lacks(1000, two_s, locked, |_| true, now);
            assert_eq!((feed.live.next_number, feed.live.next_time), (1000, 1000 * two_s));
            feed.lacks(1000, two_s, locked, |ticks| ticks <= 1002 * two_s, now);
            assert_eq!((feed.live.next_number, feed.live.next_time), (1003, 1003 * two_s));
            let last = DECODE_TIME_MAX / two_s;
            for ahead in [-1, 1, 3 * last] {
                let number = last + ahead;
                (feed.live.next_number, feed.live.next_time) = (number as u64, number * two_s);
                feed.lacks(1000, two_s, locked, |_| true, now);
                assert_eq!(feed.live.next_number as i64, number.max(last + 1));
            }
        }
    }
}
