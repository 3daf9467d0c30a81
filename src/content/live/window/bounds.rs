//! What a broadcast may not go beyond: how long it waits, how long a segment is, and its end.

use std::time::Duration;

use crate::content::live::cadence::Cadence;
use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::window::{Feed, REPEATED_TARGETS, SEGMENT_MAX, Source, Window};
use crate::media::live::Timing;
use crate::media::track::Kind;
use crate::time::Utc;

impl Window {
    /// Whether what is to be announced next follows from records that a log would lack which began with a checkpoint of `now`. After a
    /// while nothing comes of it.
    pub fn is_gathering(&self, now: Utc) -> bool {
        let most = self.gathers_for();
        self.gathering.as_ref().is_some_and(|gathering| now < gathering.since.after(most))
    }

    /// The longest that a segment gets.
    pub(super) fn longest(timing: Option<Timing>) -> Duration {
        timing.map_or(SEGMENT_MAX, |timing| Duration::from_millis(timing.target_s * 1000 + 499))
    }

    /// Whether media of `feed` goes on.
    pub(super) fn is_active(&self, feed: &Feed, now: Utc) -> bool {
        !feed.ended && now < feed.last_at.after(self.options.target * 2)
    }

    /// Whether `feed` is on its way to its first segment in the period that gathers, and began it in time: it is as good as there, however long that
    /// gets. GOPs may be longer than anybody else is waited for.
    pub(super) fn will_be_there(&self, feed: &Feed, now: Utc) -> bool {
        let Some(gathering) = self.gathering.as_ref().filter(|own| feed.period == Some(own.number)) else {
            return false;
        };
        let open = feed.live.open.as_ref().filter(|_| feed.live.segments.last().is_none());
        let most = self.leaving();
        open.is_some_and(|own| own.begun < self.waits_until(gathering) && now < own.begun.after(most))
    }

    /// How long what is there waits for what is not.
    pub(super) fn patience(&self) -> Duration {
        self.options.gather.max(self.options.target * 3)
    }

    /// How far before the end of what came that may begin which is sent again: encoders send files again, which are as long as was announced.
    pub(super) fn again_max(&self) -> Duration {
        let announced = Duration::from_secs(self.current.timing.target_s);
        self.options.target.max(announced) * REPEATED_TARGETS
    }

    /// How long an encoder is waited for before another one takes its place: half as long again as its segments are.
    pub fn silence(&self) -> Duration {
        let announced = Duration::from_secs(self.current.timing.target_s);
        self.options.target.max(announced) * 3 / 2
    }

    /// Whether `chunk`, which `source` has of `init` for `name`, can be a segment: none is longer than was announced (rfc8216bis §4.4.3.1), and
    /// chunks are not cut. What is announced follows from the first, which are not to be of any length either.
    pub fn fits(&self, name: &str, init: &Init, chunk: &Chunk, source: &Source, now: Utc) -> Result<(), Refusal> {
        if init.events.is_some() {
            return Ok(());
        }
        let ms = u64::try_from(init.ms(chunk.decode_end - chunk.decode_time)).unwrap_or(0);
        let seconds = ms as f64 / 1000.0;
        let announced = self.timing.filter(|_| !self.begins_another(name, init, chunk, source, now));
        let seconds_of = |cadence: Cadence| ((cadence.duration().as_millis() as u64 + 500) / 1000).max(1);
        let Some(Timing { target_s, .. }) = announced else {
            let most = if init.face.kind == Kind::Text { self.patience().min(SEGMENT_MAX) } else { SEGMENT_MAX };
            let will_be_locked = self.options.cadence.filter(|_| Window::is_of_epoch(init, chunk, now));
            let of_cadence = will_be_locked.map(|cadence| Duration::from_millis(seconds_of(cadence) * 1000 + 499));
            let most = of_cadence.map_or(most, |of_cadence| most.min(of_cadence));
            if u128::from(ms) <= most.as_millis() {
                return Ok(());
            }
            let most = most.as_secs_f64();
            return Err(Refusal::TooLong(format!(
                "a chunk of {seconds:.3} s, where a segment has {most} s at most: push shorter chunks"
            )));
        };
        // Where numbers follow from times none stands for more than the cadence, whatever is announced.
        let target_s = self.locked().map_or(target_s, |cadence| target_s.min(seconds_of(cadence)));
        if (ms + 500) / 1000 <= target_s {
            return Ok(());
        }
        Err(Refusal::TooLong(format!(
            "a chunk of {seconds:.3} s, where segments of this channel were announced as {target_s} s at most: push shorter chunks, with a key frame \
             every {target_s} s, or say live.segment"
        )))
    }

    /// The longest part of what was gathered of period `number`, in milliseconds.
    pub(super) fn gathered_part_ms(&self, number: u64) -> Option<i64> {
        let members = self.feeds.values().filter(|feed| feed.period == Some(number));
        let timed = members.filter(|feed| feed.init.face.kind != Kind::Text);
        let parts = timed.flat_map(|feed| {
            feed.live.segments.iter().flat_map(|s| &s.parts).map(|part| feed.init.ms_up(part.duration))
        });
        parts.max()
    }

    /// A part of `longest_ms` is to be listed: a chunk that is longer than any before is a part, too.
    pub(super) fn allow_parts(&mut self, longest_ms: Option<i64>) {
        let longest_ms = longest_ms.and_then(|ms| u64::try_from(ms).ok());
        if let Some(most_ms) = self.timing.as_mut().and_then(|timing| timing.part_target_ms.as_mut()) {
            *most_ms = longest_ms.map_or(*most_ms, |ms| ms.max(*most_ms));
        }
    }

    /// A push of `name` ended well: what came of the open segment is all of it, if requests are segments, or the next one begins here.
    pub fn push_ends(&mut self, name: &str, source: Source, now: Utc) {
        let (pace, cadence) = (self.pace(), self.options.cadence);
        let Some(feed) = self.feeds.get_mut(name).filter(|feed| feed.push == source.push) else { return };
        let target = feed.ticks(self.options.target);
        let Some(open) = &feed.live.open else { return };
        if source.named_segments || feed.ends_by_request(open.time, open.time + open.duration, target, cadence) {
            feed.finish(now, None, pace);
            self.settle(now);
            self.publish(now);
            self.expire(now);
        }
    }

    /// Whether a request of `name` has the whole of the segment that it ends in, as far as those before tell.
    pub fn requests_are_whole(&self, name: &str) -> bool {
        self.feeds.get(name).is_none_or(|feed| feed.requests.are_whole())
    }

    /// Whether nothing follows: what has not ended is told to be missing, or is no part of the newest period, or text, and nothing of it came for long.
    pub(super) fn has_ended(&self, now: Utc) -> bool {
        if self.timing.is_none() {
            // What is over because another is to be announced has ended when all have, and stays so until that is.
            let mut feeds = self.feeds.values();
            let have_all = !self.feeds.is_empty() && feeds.all(|feed| feed.ended) && self.gathering.is_none();
            return self.current.ended || have_all;
        }
        let Some(newest) = self.current.periods.last().map(|period| period.number) else { return false };
        let is_over = |feed: &Feed| {
            let is_waited_for = feed.period == Some(newest) && feed.init.face.kind != Kind::Text;
            feed.ended || feed.stopped.is_some() || (!is_waited_for && now >= feed.heard_at.after(self.patience()))
        };
        let mut feeds = self.feeds.values().filter(|feed| feed.period.is_some());
        let any = self.feeds.values().any(|feed| feed.ended && feed.period == Some(newest));
        any && feeds.all(is_over) && self.gathering.is_none()
    }
}

impl Feed {
    /// Whether the segment that `began` then is whole, as a request ends that ends at `end`.
    fn ends_by_request(&self, began: i64, end: i64, target: i64, cadence: Option<Cadence>) -> bool {
        let is_next_sync = self.init.face.kind != Kind::Video || self.requests.begin_with_sync();
        is_next_sync && self.is_due_at(began, end, target, cadence)
    }
}
