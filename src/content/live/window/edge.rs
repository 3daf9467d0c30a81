//! How far what came goes.

use std::sync::Arc;

use crate::content::live::window::{Feed, Window};
use crate::media::live::{LivePeriod, LiveTrack};
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc};

impl Window {
    /// When the last that came of `period` ends. Texts are sent ahead of what they are shown with.
    pub(super) fn end_of(&self, period: &LivePeriod) -> Option<MediaTime> {
        let end = |track: &Arc<LiveTrack>| {
            let timescale = track.face.timescale;
            track.end().map(|end| MediaTime::new(period.offset(end, timescale), timescale))
        };
        let (texts, others): (Vec<_>, Vec<_>) = period.tracks.iter().partition(|track| track.face.kind == Kind::Text);
        others.into_iter().filter_map(end).max().or_else(|| texts.into_iter().filter_map(end).max())
    }

    /// Where what came ends, in milliseconds after the broadcast's start.
    pub(super) fn edge_ms(&self) -> Option<i64> {
        let ends = self.current.periods.iter().filter_map(|period| self.end_of(period));
        ends.max().map(|edge| edge.to(Timescale::MILLI, Rounding::Down))
    }

    /// Whether something of `feed` came not long ago.
    pub(super) fn is_heard(&self, feed: &Feed, now: Utc) -> bool {
        now < feed.heard_at.after(self.patience())
    }
}
