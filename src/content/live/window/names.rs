//! The names of tracks: when there are as many as may be, one that is past makes room for another. An encoder that names its tracks anew
//! whenever it begins would else lock its channel for good.
//!
//! Nothing that was named so is named again: who comes back under such a name, or another one, goes on with higher numbers than any track
//! that made room had, and in a stretch that is called otherwise. It follows from the log alone, as all that a window does, so reading back
//! gives up the same names.

use std::time::Duration;

use crate::content::live::window::expiry::stays;
use crate::content::live::window::given_up::GivenUp;
use crate::content::live::window::{EPOCH_SLACK_S, Feed, TRACKS_MAX, Window};
use crate::time::{MediaTime, Rounding, Timescale, Utc};

/// A push of which nothing comes is ended after so long, so nobody pushes what was silent for longer.
const SILENT_MIN: Duration = Duration::from_secs(60);

impl Window {
    /// Whether another track may come. If there are as many as may be, the one that is past for the longest time makes room.
    pub(super) fn has_room(&mut self, now: Utc) -> bool {
        if self.feeds.len() < TRACKS_MAX {
            return true;
        }
        let past = self.feeds.iter().filter(|(_, feed)| self.makes_room(feed, now));
        let Some(name) = past.min_by_key(|(_, feed)| feed.heard_at).map(|(name, _)| name.clone()) else { return false };
        let Some(feed) = self.feeds.remove(&name) else { return false };
        let before = self.given_up;
        self.given_up = GivenUp {
            next_number: before.next_number.max(feed.live.next_number),
            named_s: before.named_s.max(feed.named_s),
        };
        true
    }

    /// The same for tracks of events, which name no media.
    pub(super) fn has_room_for_events(&mut self, now: Utc) -> bool {
        if self.event_tracks.len() < TRACKS_MAX {
            return true;
        }
        let silent = self.event_tracks.iter().filter(|(_, own)| now > own.heard_at.after(self.answered_for()));
        let oldest = silent.min_by_key(|(_, own)| own.heard_at).map(|(name, _)| name.clone());
        oldest.is_some_and(|name| self.event_tracks.remove(&name).is_some())
    }

    /// Whether nobody pushes `feed`, the newest period is without it, and its media has left the window and all that was answered after.
    fn makes_room(&self, feed: &Feed, now: Utc) -> bool {
        let is_silent = now > feed.heard_at.max(feed.last_at).after(self.answered_for());
        let is_left = feed.period.is_none() || self.is_left_behind(feed);
        // Its names follow from times alone: what begins has times that are near to now.
        let is_locked = feed.named_s == 0;
        let end_ms = MediaTime::new(feed.decode_end, feed.init.face.timescale).to(Timescale::MILLI, Rounding::Up);
        let is_old = i128::from(end_ms) + i128::from(EPOCH_SLACK_S) * 1000 < i128::from(now.0);
        is_silent && is_left && (!is_locked || is_old)
    }

    /// So long after it came media is answered for, at most, if others go on.
    fn answered_for(&self) -> Duration {
        SILENT_MIN.max(Duration::from_millis(self.listed_ms()) + stays(self.current.timing))
    }
}
