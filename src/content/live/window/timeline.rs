//! The timeline that the tracks of a period share: what belongs to it, what is left behind in a period that is over, and what counts time
//! from elsewhere.
//!
//! ```text
//!   v   |--period 0--|--period 1-----------|--period 2--
//!   a   |--period 0-----------|            |--period 2--    it stayed behind, and goes on in a period of its own, with all that go on
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::content::live::pushed::{Chunk, Refusal};
use crate::content::live::window::{Feed, OUTAGE_SLACK_MS, Window};
use crate::media::event::Timeline;
use crate::media::live::{Broadcast, LivePeriod, LiveTrack, after_start_us};
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

impl Window {
    /// The number of the period that gathers, if one does.
    pub(super) fn gathers(&self) -> Option<u64> {
        self.gathering.as_ref().map(|gathering| gathering.number)
    }

    /// Whether `feed` is in a period that is over, because nothing of it came when the next one was announced.
    pub(super) fn is_left_behind(&self, feed: &Feed) -> bool {
        let newest = self.current.periods.last().map(|period| period.number);
        feed.period.is_some_and(|own| Some(own) != self.gathers() && newest.is_some_and(|newest| own < newest))
    }

    /// By where they are: periods that are over in which something still came, with that.
    pub(super) fn left_behind(&self) -> Vec<(usize, LivePeriod)> {
        let mut changed: Vec<(usize, LivePeriod)> = Vec::new();
        for feed in self.feeds.values().filter(|feed| self.is_left_behind(feed)) {
            let is_its = |period: &Arc<LivePeriod>| Some(period.number) == feed.period;
            let Some(at) = self.current.periods.iter().position(is_its) else { continue };
            let known = changed.iter().position(|(index, _)| *index == at);
            let period = known.map_or(&*self.current.periods[at], |known| &changed[known].1);
            let name = &feed.live.face.name;
            let Some(track) = period.tracks.iter().position(|track| track.face.name == *name) else { continue };
            if !feed.differs(&period.tracks[track]) {
                continue;
            }
            let known = known.unwrap_or_else(|| {
                changed.push((at, LivePeriod::clone(&self.current.periods[at])));
                changed.len() - 1
            });
            changed[known].1.tracks[track] = Arc::new(feed.live.clone());
        }
        changed
    }

    /// Whether `chunk`, with which the feed called `name` begins in the period that gathers, counts time as the other tracks do. One that does
    /// not is left out as long as those may follow it, as when an encoder begins anew, and then its encoder is told.
    pub(super) fn keeps_time(&mut self, name: &str, chunk: &Chunk, now: Utc) -> Result<bool, Refusal> {
        let away = self.elsewhere(name, chunk, Some(now)).map(|(other, away_s)| (format!("those of {other}"), away_s));
        let found = away.or_else(|| Some(("the end of what came before".to_owned(), -self.steps_back_s(name, chunk)?)));
        let patience = self.patience();
        let Some(feed) = self.feeds.get_mut(name) else { return Ok(true) };
        let Some((other, away_s)) = found else {
            feed.elsewhere = None;
            return Ok(true);
        };
        let since = *feed.elsewhere.get_or_insert(now);
        if now < since.after(patience) {
            return Ok(false);
        }
        feed.elsewhere = None;
        let side = if away_s < 0.0 { "before" } else { "after" };
        Err(Refusal::Conflict(format!(
            "the media times of {name} are {:.3} s {side} {other}: the tracks of a channel share a timeline",
            away_s.abs()
        )))
    }

    /// Where what was published of the track called `name` ends, in microseconds after the broadcast's start.
    fn had_until_us(&self, name: &str) -> Option<i64> {
        let (period, track) = self.current.tracks_called(name).last()?;
        Some(after_start_us(period, track, track.end()))
    }

    /// Where what is told ends, of the newest period and of what the members of the period `number` had, in whatever period: the next one begins behind
    /// that. Text may be far ahead. Of what `next` has forgotten nothing is told: its times count from elsewhere.
    pub(super) fn listed_until(&self, next: &Broadcast, number: u64) -> Option<MediaTime> {
        let newest = self.end_of(next.periods.last()?);
        let members = self.feeds.iter().filter(|(_, feed)| feed.period == Some(number));
        let timed = members.filter(|(_, feed)| feed.init.face.kind != Kind::Text);
        let own = timed.filter_map(|(name, _)| self.had_until_us(name)).max();
        newest.max(own.map(|us| MediaTime::new(us, Timescale::MICRO)))
    }

    /// Where a period begins whose media begins at `first`, where numbers follow from times, so that there is one place for each: behind what is
    /// told, which ends at `after`, though the media be older. What is told of times that have not come was in error, and what is announced anew is
    /// listed alone.
    pub(super) fn place_of(&self, first: MediaTime, after: MediaTime, now: Utc) -> MediaTime {
        let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        let Some(newest) = self.current.periods.last().filter(|_| self.timing.is_some()) else { return first };
        let after_us = us(after).max(us(newest.start));
        let is_near =
            after_us.saturating_sub(self.current.timing.near_us()) <= us(first) && begins_behind(newest, us(first));
        let is_in_error =
            after_us > i64::try_from(now.0).unwrap_or(i64::MAX).saturating_add(OUTAGE_SLACK_MS).saturating_mul(1000);
        if is_near || is_in_error { first } else { first.max(MediaTime::new(after_us, Timescale::MICRO)) }
    }

    /// Whether one that gathers would be before what it had already, were it the newest period's timeline that goes on.
    pub(super) fn would_step_back(&self) -> bool {
        self.feeds.iter().any(|(name, feed)| self.back_us(name, feed).is_some())
    }

    /// By how much `feed`, which gathers, would be before what the track called `name` had already, if it is by more than what is one place.
    fn back_us(&self, name: &str, feed: &Feed) -> Option<i64> {
        let newest = self.current.periods.last()?;
        let gathers = self.gathers().filter(|number| feed.period == Some(*number));
        gathers
            .and_then(|_| self.had_until_us(name))
            .map(|end_us| end_us.saturating_sub(after_start_us(newest, &feed.live, feed.first_time)))
            .filter(|back_us| *back_us > self.current.timing.near_us())
    }

    /// Who began anew a little before, alone, goes on where he was while others still do, as of `now`: they share a timeline, and what is of a time
    /// that he had is passed over. From further back it is another timeline.
    pub(super) fn take_back(&mut self, now: Utc) {
        let newest = self.current.periods.last().map(|period| period.number);
        let goes_on = |feed: &Feed| {
            self.is_active(feed, now)
                && feed.period.is_some()
                && feed.period == newest
                && feed.init.face.kind != Kind::Text
        };
        if !self.feeds.values().any(goes_on) {
            return;
        }
        let is_little = |back_us: i64| back_us <= OUTAGE_SLACK_MS * 1000;
        let anew = self.feeds.iter().filter(|(name, feed)| self.back_us(name, feed).is_some_and(is_little));
        for name in anew.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.goes_back(&name);
        }
    }

    /// The feed called `name`, which gathers, goes on where it was before, if its initialization segment still is that. Says whether it does.
    pub(super) fn goes_back(&mut self, name: &str) -> bool {
        let Some((period, before)) = self.current.tracks_called(name).last() else { return false };
        let (number, live) = (period.number, LiveTrack::clone(before));
        let gathers = self.gathers();
        let is_same = |feed: &&mut Feed| feed.period == gathers && feed.init.face.init == live.face.init;
        let Some(feed) = self.feeds.get_mut(name).filter(is_same) else { return false };
        feed.decode_end = live.end() - feed.shift;
        feed.first_time = live.segments.iter().next().map_or(live.next_time, |first| first.time);
        (feed.period, feed.peak) = (Some(number), live.rate.0);
        feed.live = live;
        if let Some(gathered) = gathers.filter(|_| !self.feeds.values().any(|feed| feed.period == gathers)) {
            // Nobody was told of it.
            (self.gathering, self.next_period) = (None, gathered);
            self.leave_out(|event| event.timeline == Timeline::Period(gathered));
        }
        true
    }

    /// By how many seconds `chunk` would be before what the track called `name` had already, where the others go on, if it is by more than what
    /// lies less apart is one place.
    fn steps_back_s(&self, name: &str, chunk: &Chunk) -> Option<f64> {
        let (start, media) = self.gathering.as_ref()?.goes_on?;
        let feed = self.feeds.get(name).filter(|_| !self.is_locked)?;
        let begins_us = us(chunk.time, feed)
            .saturating_sub(media.to(Timescale::MICRO, Rounding::Nearest))
            .saturating_add(start.to(Timescale::MICRO, Rounding::Nearest));
        let back_us = self.had_until_us(name)?.saturating_sub(begins_us);
        (back_us > self.current.timing.near_us()).then_some(back_us as f64 / 1e6)
    }

    /// Whether `feed`, which has begun anew in the period that gathers, is where it was before with `chunk`: the media times between were in error.
    pub(super) fn is_back(&self, feed: &Feed, chunk: &Chunk) -> bool {
        let Some((_, before)) = self.current.tracks_called(&feed.live.face.name).last() else { return false };
        let gathers = self.gathers().is_some() && feed.period == self.gathers();
        let (from, to) = (before.face.timescale, feed.init.face.timescale);
        let end = rescale(before.end(), from, to, Rounding::Nearest);
        gathers && feed.live.next_time < end && end <= chunk.time.saturating_add(feed.jitter())
    }

    /// The track that the feed called `name` would be played with, and how many seconds before or after its media `chunk` begins, if that is
    /// far. As of a moment, those count of which something came shortly before.
    pub(super) fn elsewhere(&self, name: &str, chunk: &Chunk, now: Option<Utc>) -> Option<(&str, f64)> {
        let feed = self.feeds.get(name).filter(|_| !self.is_locked)?;
        let is_active = |other: &Feed| now.is_none_or(|now| now < other.last_at.after(self.options.target * 2));
        let of = |period: u64| {
            let others = self.feeds.iter().filter(move |(other, feed)| *other != name && feed.period == Some(period));
            others.filter(|(_, feed)| feed.init.face.kind != Kind::Text && is_active(feed))
        };
        let gathered = self.gathers().filter(|number| of(*number).next().is_some());
        // Who was in the newest period begins anew; who was not joins it.
        let joins = feed.named_s == 0 || self.is_left_behind(feed);
        let newest = self.current.periods.last().map(|period| period.number).filter(|_| joins);
        let begins_us = us(chunk.time, feed);
        let window_us = i64::try_from(self.options.window.as_micros()).unwrap_or(i64::MAX);
        let away_us = |other: &Feed| {
            let end = us(other.decode_end, other);
            // Whole files may be pushed one after another.
            let begin = us(other.first_time, other).max(end.saturating_sub(window_us)).min(end);
            let passed = now.map_or(Duration::ZERO, |now| Duration::from_millis(now.0.saturating_sub(other.last_at.0)));
            let end = end.saturating_add(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX));
            (begins_us - end).max(0) + (begins_us - begin).min(0)
        };
        let nearest = of(gathered.or(newest)?).map(|(other, feed)| (other.as_str(), away_us(feed)));
        let (other, away_us) = nearest.min_by_key(|(_, away_us)| away_us.abs())?;
        (away_us.abs() > OUTAGE_SLACK_MS * 1000).then_some((other, away_us as f64 / 1e6))
    }
}

/// Whether what begins then, in microseconds after the broadcast's start, begins behind `period`: Periods ascend (ISO/IEC 23009-1 §5.3.2.1).
pub(super) fn begins_behind(period: &LivePeriod, begins_us: i64) -> bool {
    begins_us > period.start.to(Timescale::MICRO, Rounding::Nearest)
}

/// `ticks` of `feed` in microseconds.
fn us(ticks: i64, feed: &Feed) -> i64 {
    MediaTime::new(ticks, feed.init.face.timescale).to(Timescale::MICRO, Rounding::Nearest)
}
