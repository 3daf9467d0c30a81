//! What is so without media: an encoder says that it ends, and time passes.

use std::sync::Arc;
use std::time::Duration;

use crate::content::live::window::{Feed, Window};
use crate::media::live::Broadcast;
use crate::time::Utc;

/// So long after its end everybody who watches has been told of it: a page in the background asks once a minute.
const SETTLES: Duration = Duration::from_secs(120);

impl Window {
    /// The encoder of `name` says that nothing more will come.
    pub fn end(&mut self, name: &str, now: Utc) {
        let pace = self.pace();
        let Some(feed) = self.feeds.get_mut(name) else { return };
        feed.finish(now, None, pace);
        feed.ended = true;
        self.close_over(now);
        self.settle(now);
        self.publish(now);
        self.expire(now);
    }

    /// Time has passed: the gathering may be over, and segments leave the window. Says whether anything is new that media did not bring.
    pub fn tick(&mut self, now: Utc) -> bool {
        let before = self.told();
        self.settle(now);
        if !self.current.ended && self.has_ended(now) {
            self.publish(now);
        }
        let is_silent = self
            .options
            .end_after
            .is_some_and(|limit| self.current.media_at.0 > 0 && now > self.current.media_at.after(limit));
        let goes_on = |feed: &Feed| !feed.ended || feed.live.open.is_some();
        if is_silent && !self.current.ended && self.feeds.values().any(goes_on) {
            let pace = self.pace();
            for feed in self.feeds.values_mut() {
                feed.close(now, None, pace);
                feed.ended = true;
            }
            self.publish(now);
        }
        let current = &self.current;
        if current.ended && !current.is_settled && now >= current.ended_at.after(SETTLES) {
            self.current = Arc::new(Broadcast { is_settled: true, ..self.followed(true, now) });
        }
        // Who is not heard of any more is not waited for, and that is told of.
        let has_left = self.expire(now);
        has_left || before != self.told()
    }

    /// The current state, as one that follows it at `now`, when it has `ended` or not.
    pub(super) fn followed(&self, ended: bool, now: Utc) -> Broadcast {
        let current = &self.current;
        Broadcast {
            sequence: current.sequence + 1,
            published: now,
            ended,
            ended_at: if ended && current.ended { current.ended_at } else { now },
            is_settled: ended && current.is_settled,
            ..Broadcast::clone(current)
        }
    }

    /// What time alone changes, but for what leaves the window.
    fn told(&self) -> impl PartialEq + use<> {
        let feeds = self.feeds.values().map(|feed| (feed.period, feed.ended, feed.live.open.is_some()));
        (
            self.current.periods.len(),
            self.current.ended,
            self.current.is_settled,
            self.gathers(),
            feeds.collect::<Vec<_>>(),
        )
    }
}
