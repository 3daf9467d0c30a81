//! Who leaves the newest period for the one that gathers its tracks, and when: from then on nothing of it is listed until that one is announced.
//!
//! ```text
//!   v   |-------------|-------------|-------------|
//!   a   |---|---|---|---|---|---|---|---|---|---|---|
//!   b             |---|---|---|---|---|---|---|---|      it comes late, and a period begins
//!                                  ^ v can leave, and a does so with it
//! ```
//!
//! Where the first leaves the period begins. What others have begun by then of a segment is not shown behind that, so the one with the longest
//! segments goes first: others would wait for it, listed nowhere, for as long as its segment still lasts.

use std::time::Duration;

use crate::content::live::pushed::Chunk;
use crate::content::live::window::gathering::Gathering;
use crate::content::live::window::timeline::begins_behind;
use crate::content::live::window::{Feed, OUTAGE_SLACK_MS, Source, Window};
use crate::media::live::{LivePeriod, after_start_us};
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc};

/// Whether segments of `one_us` are clearly longer than those of `other_us`: by more than encoders differ that are told the same.
fn is_longer(one_us: i64, other_us: i64) -> bool {
    other_us > 0 && one_us.saturating_mul(2) > other_us.saturating_mul(3)
}

impl Window {
    /// Whether the feed called `name` may leave the newest period for the one that gathers, with a segment that begins with `chunk`. The first to do
    /// so decides where that begins: not where another track is already, whose segment behind the cut nobody would be shown, nor before the
    /// newest period does. The others follow there, and not before.
    pub(super) fn may_leave(&self, name: &str, chunk: &Chunk, now: Utc) -> bool {
        let (Some(gathering), Some(feed)) = (&self.gathering, self.feeds.get(name)) else { return false };
        let Some(period) = self.current.periods.last() else { return false };
        let begins_us = after_start_us(period, &feed.live, chunk.time);
        if let Some((start, _)) = gathering.goes_on {
            return begins_us >= start.to(Timescale::MICRO, Rounding::Nearest) - self.near_us(feed);
        }
        if self.would_step_back() || !begins_behind(period, begins_us) {
            return false;
        }
        let is_late = now >= gathering.since.after(self.leaving());
        // Text may be far ahead, or behind.
        let others = self.feeds.iter().filter(|(other, feed)| {
            *other != name && feed.period == Some(period.number) && feed.init.face.kind != Kind::Text
        });
        // Where it would lead to nobody might follow in time.
        if feed.init.face.kind == Kind::Text && others.clone().any(|(_, other)| self.is_active(other, now)) {
            return false;
        }
        others.map(|(_, other)| other).all(|other| self.lets_leave(period, other, feed, begins_us, is_late, now))
    }

    /// Whether `feed` may be the first to leave `period`, with a segment that begins at `begins_us`, as far as `other` is concerned.
    fn lets_leave(
        &self,
        period: &LivePeriod,
        other: &Feed,
        feed: &Feed,
        begins_us: i64,
        is_late: bool,
        now: Utc,
    ) -> bool {
        let (own_us, lasts_us) = (feed.lasts_us(), other.lasts_us());
        let us = |ticks| after_start_us(period, &other.live, ticks);
        if !is_late && is_longer(own_us, lasts_us) {
            // What it has begun is short, and ends with what comes next.
            return us(other.live.end()) <= begins_us + lasts_us;
        }
        let is_waited_for = !is_late && is_longer(lasts_us, own_us) && self.is_active(other, now);
        if is_waited_for && !is_where_next_begins(&us, other, begins_us, own_us) {
            return false;
        }
        other.begun().is_none_or(|begun| us(begun) <= begins_us - self.near_us(other))
    }

    /// Half a segment of `feed`: what lies less apart is one place.
    fn near_us(&self, feed: &Feed) -> i64 {
        let near_us = self.current.timing.near_us();
        Some(feed.lasts_us() / 2).filter(|half| *half > 0).map_or(near_us, |half| half.min(near_us))
    }

    /// Whether the segment of `name` that is under way ends before `chunk`, since the period that gathers began with a track whose segments are
    /// longer: what is of the older one behind that is not shown.
    pub(super) fn leaves_early(&self, name: &str, chunk: &Chunk, source: &Source) -> bool {
        let Some(Gathering { goes_on: Some((start, _)), leader: Some(leader), .. }) = &self.gathering else {
            return false;
        };
        let (Some(feed), Some(period)) = (self.feeds.get(name), self.current.periods.last()) else { return false };
        // Each chunk of sound can be decoded alone. Where there is a cadence, or a file is a segment, segments end where they were said to.
        let may_be_cut = feed.init.face.kind == Kind::Audio && self.options.cadence.is_none() && !source.named_segments;
        let is_there = after_start_us(period, &feed.live, chunk.time) >= start.to(Timescale::MICRO, Rounding::Nearest);
        may_be_cut
            && is_there
            && chunk.starts_with_sync
            && feed.period == Some(period.number)
            && feed.live.open.as_ref().is_some_and(|open| open.time < chunk.time)
            && is_longer(leader.lasts_us, feed.lasts_us())
            && self.elsewhere(name, chunk, None).is_none()
    }

    /// Whether there is something to list of `feed`, which is in the period that `gathering` is of: a whole segment, or what grows of one that is
    /// longer than those of others, who would else stand still for as long. DASH waits for it.
    pub(super) fn has_begun(&self, feed: &Feed, gathering: &Gathering, now: Utc) -> bool {
        if feed.live.segments.last().is_some() {
            return true;
        }
        let is_member = |feed: &Feed| feed.period == Some(gathering.number);
        let is_shorter = |other: &Feed| {
            is_member(other)
                && other.init.face.kind != Kind::Text
                && other.live.segments.last().is_some()
                && is_longer(feed.lasts_us(), other.lasts_us())
        };
        // Who has left for it is known: what it is like need not be waited for.
        let has_left = gathering.goes_on.is_some() && feed.live.rate != (0, 0) && is_member(feed);
        let grows = feed.live.open.as_ref().is_some_and(|open| !open.is_torn && !open.is_over);
        has_left && grows && self.is_active(feed, now) && self.feeds.values().any(is_shorter)
    }

    /// The longest that it takes a track to leave the newest period, and to be whole in the next one.
    pub(super) fn leaving(&self) -> Duration {
        Window::longest(self.timing) + self.options.target
    }

    /// Whether segments are so long that others are waited for beyond the usual patience.
    fn is_patient(&self) -> bool {
        self.timing.is_some() && !self.current.periods.is_empty() && self.leaving() > self.patience()
    }

    /// Until when who has not left the newest period is waited for, or has to begin in the one that gathers.
    pub(super) fn waits_until(&self, gathering: &Gathering) -> Utc {
        let usual = gathering.since.after(self.patience());
        if !self.is_patient() {
            return usual;
        }
        let first = gathering.leader.map_or(gathering.since.after(self.leaving()), |leader| leader.at);
        usual.max(first.after(self.leaving()))
    }

    /// How long a period gathers at most, if something comes of it.
    pub(super) fn gathers_for(&self) -> Duration {
        let usual = 2 * self.patience() + Window::longest(self.timing);
        // Until the first leaves, until the last one does, and until that is whole.
        if self.is_patient() { usual.max(4 * self.leaving()) } else { usual }
    }

    /// Whether `feed`, which is in the newest period, is still to leave it for the one that gathers: its segments may be longer than anybody else is
    /// waited for.
    pub(super) fn will_leave(&self, feed: &Feed, now: Utc) -> bool {
        let Some(gathering) = self.gathering.as_ref().filter(|gathering| now < self.waits_until(gathering)) else {
            return false;
        };
        let newest = self.current.periods.last().map(|period| period.number);
        let is_timed = |feed: &Feed| feed.init.face.kind != Kind::Text;
        let is_near = |other: &Feed| {
            let away_ms = feed.end_ms().saturating_sub(other.end_ms());
            let lasts_ms = feed.lasts_us().max(other.lasts_us()) / 1000;
            away_ms.abs() <= OUTAGE_SLACK_MS.saturating_add(lasts_ms)
        };
        // Who counts from elsewhere is on another timeline, and does not follow. Of text that was asked before (`keeps_time`), and it may be ahead.
        let mut gathered = self.feeds.values().filter(|other| other.period == Some(gathering.number));
        feed.period.is_some()
            && feed.period == newest
            && is_timed(feed)
            && gathered.any(|other| !is_timed(other) || is_near(other))
    }
}

/// Whether `begins_us` is where a segment of `other` is to begin, as far as those before tell: by half of `near_us`. Of who is not behind that is
/// known when it does.
fn is_where_next_begins(us: &impl Fn(i64) -> i64, other: &Feed, begins_us: i64, own_us: i64) -> bool {
    let lasts_us = other.lasts_us().max(1);
    let (near_us, is_behind) = (own_us / 2, us(other.live.end()) + own_us / 2 < begins_us);
    if other.live.open.is_some() && !is_behind {
        return false;
    }
    let from = other.live.open.as_ref().map_or(other.live.next_time, |open| open.time);
    let after_us = begins_us - us(from) + near_us;
    after_us >= 0 && after_us % lasts_us <= 2 * near_us
}

impl Feed {
    /// How long its segments are, as far as is known.
    pub(super) fn lasts_us(&self) -> i64 {
        let open = self.live.open.as_ref().map_or(0, |open| open.duration);
        let ticks = self.lasts.max(open);
        MediaTime::new(ticks, self.init.face.timescale).to(Timescale::MICRO, Rounding::Nearest)
    }

    /// When its next chunk is decoded, in milliseconds of media time.
    fn end_ms(&self) -> i64 {
        self.init.ms(self.decode_end)
    }
}
