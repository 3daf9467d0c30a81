//! What a broadcast may not go beyond: how long it waits, how long a segment is, and its end.

use std::time::Duration;

use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::window::{Feed, REPEATED_TARGETS, Window};
use crate::media::live::Timing;
use crate::media::track::Kind;
use crate::time::Utc;

impl Window {
    /// Whether what is to be announced next follows from records that a log would lack which began with a checkpoint of `now`. After a
    /// while nothing comes of it.
    pub fn is_gathering(&self, now: Utc) -> bool {
        self.gathering.as_ref().is_some_and(|gathering| now < gathering.since.after(2 * self.patience()))
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

    /// Whether `chunk` of `init` can be a segment: none is longer than was announced (rfc8216bis §4.4.3.1), and chunks are not cut.
    pub fn fits(&self, init: &Init, chunk: &Chunk) -> Result<(), Refusal> {
        let ms = u64::try_from(init.ms(chunk.decode_end - chunk.decode_time)).unwrap_or(0);
        let Some(Timing { target_s, .. }) = self.timing.filter(|_| init.face.kind != Kind::Text) else { return Ok(()) };
        // Where numbers follow from times none stands for more than the cadence, whatever is announced.
        let of_cadence = self.locked().map(|cadence| (cadence.duration().as_millis() as u64 + 500) / 1000);
        let target_s = of_cadence.map_or(target_s, |of_cadence| target_s.min(of_cadence.max(1)));
        if (ms + 500) / 1000 <= target_s {
            return Ok(());
        }
        let seconds = ms as f64 / 1000.0;
        Err(Refusal::Conflict(format!(
            "a chunk of {seconds:.3} s, where segments of this channel were announced as {target_s} s at most: push shorter chunks, with a key frame \
             every {target_s} s, or say live.segment"
        )))
    }

    /// Whether nothing follows: what has not ended is told to be missing, or is no part of the newest period, or text, and nothing of it came for long.
    pub(super) fn has_ended(&self, now: Utc) -> bool {
        if self.timing.is_none() {
            // What is over because another is to be announced has ended when all have.
            let mut feeds = self.feeds.values();
            return !self.feeds.is_empty() && feeds.all(|feed| feed.ended) && self.gathering.is_none();
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
