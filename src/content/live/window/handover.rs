//! One encoder goes on with a track where another one was: from a segment on, so that every segment is of one of them.
//!
//! ```text
//!   a   |--4--|--5-x            5 was not published: b's 5 takes its place
//!   b         |--5--|--6--|     it was: 5 stays as long as it is, what it lacks is missing, and b's 6 comes next
//! ```

use std::sync::Arc;

use crate::content::live::pushed::{Chunk, Init};
use crate::content::live::reorder::AHEAD_MAX;
use crate::content::live::window::{Feed, JITTER_MS, Source, Window};
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

/// The most initialization segments of other encoders that are remembered of a track.
const OTHERS_MAX: usize = 4;

/// Where a track stands, for who decides which encoder goes on with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Whose its media is.
    pub encoder: u32,
    /// When that last came.
    pub last_at: Utc,
    /// Decode time in microseconds at which the segment begins that is not whole yet, or the next one.
    pub from_us: i64,
    /// Decode time in microseconds at which the next chunk goes on.
    pub end_us: i64,
}

impl Window {
    /// Where the track called `name` stands; `None` if it has no media.
    pub fn standing(&self, name: &str) -> Option<Standing> {
        let feed = self.feeds.get(name).filter(|feed| feed.period.is_some())?;
        let us = |ticks| rescale(ticks, feed.init.face.timescale, Timescale::MICRO, Rounding::Nearest);
        let from = feed.open_decode_time().unwrap_or(feed.decode_end);
        Some(Standing { encoder: feed.encoder, last_at: feed.last_at, from_us: us(from), end_us: us(feed.decode_end) })
    }

    /// Whether the media of the track called `name` is of another encoder than `encoder`.
    pub fn is_of_another(&self, name: &str, encoder: u32) -> bool {
        self.feeds.get(name).is_some_and(|feed| feed.is_of_another(encoder))
    }

    /// The initialization segment that holds for what `encoder` pushes to `name`: its own, or the one that is in force.
    pub fn init_by(&self, name: &str, encoder: u32) -> Option<&Arc<Init>> {
        let own = self.feeds.get(name).and_then(|feed| feed.others.iter().find(|(other, _)| *other == encoder));
        own.map(|(_, init)| init).or_else(|| self.init_of(name))
    }

    /// Whether `chunk` of another encoder than the one of `name` may be where that goes on; `without_hole`: and nothing is missing then.
    pub fn may_begin(&self, name: &str, chunk: &Chunk, source: &Source, without_hole: bool) -> bool {
        let (Some(feed), Some(init)) = (self.feeds.get(name), self.init_by(name, source.encoder)) else { return false };
        let timescale = feed.init.face.timescale;
        let own = |ticks| rescale(ticks, init.face.timescale, timescale, Rounding::Nearest);
        let (from, slack) = (own(chunk.decode_time), feed.jitter());
        let is_same = init.face.version == feed.init.face.version;
        if !chunk.starts_with_sync || (is_same && !self.is_boundary(feed, chunk)) {
            return false;
        }
        let ahead = from - feed.decode_end;
        if without_hole && ahead > slack {
            return false;
        }
        let behind_max = feed.ticks(self.again_max());
        let is_elsewhere = ahead > feed.ticks(AHEAD_MAX) || (self.locked().is_none() && -ahead > behind_max);
        if is_elsewhere {
            return !without_hole;
        }
        let replaces = |begin: i64| !self.is_published(feed) && (from - begin).abs() <= slack;
        match (&feed.live.open, feed.open_decode_time()) {
            (Some(_), Some(begin)) if replaces(begin) => true,
            (Some(open), _) => {
                let target = feed.ticks(self.options.target);
                let is_next = || feed.begins_segment(chunk, source, target, self.timing, self.options.cadence);
                ahead >= -slack && own(chunk.time) > open.time && (!is_same || is_next())
            }
            (None, _) => ahead >= -slack,
        }
    }

    /// Whether viewers were told of something of the segment of `feed` that is not whole.
    fn is_published(&self, feed: &Feed) -> bool {
        let is_announced = self.current.periods.iter().any(|period| feed.period == Some(period.number));
        feed.live.open.as_ref().filter(|_| is_announced).is_some_and(|open| self.current.timing.tells_of(open))
    }

    /// `chunk`, the next of `name`, is of `source`: if that is another encoder than before, its initialization segment holds from now on, and
    /// what it replaces is gone. Says where the timeline goes on if that is another initialization segment: when, and at which media time.
    pub(super) fn hand_over(
        &mut self,
        name: &str,
        chunk: &Chunk,
        source: &Source,
        now: Utc,
    ) -> Option<(MediaTime, MediaTime)> {
        let feed = self.feeds.get(name)?;
        if !feed.is_of_another(source.encoder) {
            self.feeds.get_mut(name)?.encoder = source.encoder;
            return None;
        }
        let is_published = self.is_published(feed);
        let init = Arc::clone(self.init_by(name, source.encoder)?);
        let period = self.current.periods.last().filter(|period| feed.period == Some(period.number)).cloned();
        let (pace, gathers) = (self.pace(), self.gathers());
        let feed = self.feeds.get_mut(name)?;
        let before = std::mem::replace(&mut feed.encoder, source.encoder);
        let timescale = init.face.timescale;
        let from = rescale(chunk.decode_time, timescale, feed.init.face.timescale, Rounding::Nearest);
        let ahead_ms = feed.init.ms(from - feed.decode_end);
        let replaces =
            !is_published && feed.open_decode_time().is_some_and(|begin| feed.init.ms(from - begin).abs() <= JITTER_MS);
        if replaces {
            feed.withdraw();
        }
        let is_same = init.face.version == feed.init.face.version;
        if !is_same {
            feed.close_before_another(now, pace);
        }
        let others = &mut feed.others;
        others.retain(|(encoder, _)| *encoder != source.encoder);
        let ours = std::mem::replace(&mut feed.init, init);
        feed.remember(before, ours);
        if replaces || !is_same {
            self.publish(now);
        }
        let feed = self.feeds.get_mut(name).filter(|_| !is_same)?;
        feed.leave_period(gathers);
        let is_near = ahead_ms.unsigned_abs() <= AHEAD_MAX.as_millis() as u64;
        let period = period.filter(|_| is_near)?;
        Some((MediaTime::new(period.offset(chunk.time, timescale), timescale), MediaTime::new(chunk.time, timescale)))
    }
}

impl Feed {
    /// Whether its media is of another encoder than `encoder`.
    pub(super) fn is_of_another(&self, encoder: u32) -> bool {
        self.encoder != 0 && encoder != 0 && self.encoder != encoder
    }

    /// Remembers the initialization segment of an encoder that its media is not of.
    pub(super) fn remember(&mut self, encoder: u32, init: Arc<Init>) {
        self.others.retain(|(other, _)| *other != encoder);
        if self.others.len() >= OTHERS_MAX {
            self.others.remove(0);
        }
        let is_same = init.face.version == self.init.face.version;
        self.others.push((encoder, if is_same { Arc::clone(&self.init) } else { init }));
    }

    /// When the first sample of the segment that is not whole is decoded, in ticks.
    fn open_decode_time(&self) -> Option<i64> {
        self.live.open.as_ref().map(|open| open.time - self.shift)
    }

    /// Takes back the segment that is not whole.
    fn withdraw(&mut self) {
        let (Some(begin), Some(open)) = (self.open_decode_time(), self.live.open.take()) else { return };
        self.decode_end = begin;
        self.live.next_number = open.number;
        self.live.next_time = open.time;
        self.places.clear();
        self.requests.segment_ends();
    }
}
