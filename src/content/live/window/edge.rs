//! How far what came goes, and how far ahead of it text may be.

use std::sync::Arc;

use crate::content::live::pushed::{Chunk, Refusal};
use crate::content::live::window::{Feed, Window};
use crate::media::live::{LivePeriod, LiveTrack};
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

impl Window {
    /// When the last that came of `period` ends. Texts are sent ahead of what they are shown with.
    pub(super) fn end_of(&self, period: &LivePeriod) -> Option<MediaTime> {
        let end = |track: &Arc<LiveTrack>| {
            let timescale = track.face.timescale;
            MediaTime::new(period.offset(track.end(), timescale), timescale)
        };
        let (texts, others): (Vec<_>, Vec<_>) = period.tracks.iter().partition(|track| track.face.kind == Kind::Text);
        others.into_iter().map(end).max().or_else(|| texts.into_iter().map(end).max())
    }

    /// Where what came ends, in milliseconds after the broadcast's start.
    pub(super) fn edge_ms(&self) -> Option<i64> {
        let ends = self.current.periods.iter().filter_map(|period| self.end_of(period));
        ends.max().map(|edge| edge.to(Timescale::MILLI, Rounding::Down))
    }

    /// Refuses `chunk` of the text called `name`, which goes on in `feed`, if it is further ahead of the media that it is shown with than anything is
    /// listed: neither would it leave the window, nor memory.
    pub(super) fn keeps_with_media(&self, name: &str, feed: &Feed, chunk: &Chunk, now: Utc) -> Result<(), Refusal> {
        if feed.init.face.kind != Kind::Text {
            return Ok(());
        }
        let newest = self.current.periods.last().filter(|period| feed.period == Some(period.number));
        let is_going_on = |other: &&Feed| {
            let is_timed = other.init.face.kind != Kind::Text;
            is_timed && other.period == feed.period && !other.ended && self.is_heard(other, now)
        };
        let end_ms = |ticks: i64, of: &Feed| {
            let timescale = of.init.face.timescale;
            let ticks = newest.map_or(ticks, |period| period.offset(ticks, timescale));
            rescale(ticks, timescale, Timescale::MILLI, Rounding::Down)
        };
        let others = self.feeds.values().filter(is_going_on);
        let Some(edge_ms) = others.map(|other| end_ms(other.live.end(), other)).max() else {
            return Ok(());
        };
        let ahead_ms = end_ms(chunk.end, feed).saturating_sub(edge_ms);
        let listed_ms = self.listed_ms().max(self.options.window.as_millis() as u64);
        if ahead_ms <= listed_ms as i64 {
            return Ok(());
        }
        let (ahead_s, listed_s) = (ahead_ms as f64 / 1000.0, listed_ms as f64 / 1000.0);
        Err(Refusal::Conflict(format!(
            "{name} would be {ahead_s:.1} s ahead of what it is shown with, where {listed_s:.1} s are listed: push it as fast as it plays"
        )))
    }

    /// Whether something of `feed` came not long ago.
    pub(super) fn is_heard(&self, feed: &Feed, now: Utc) -> bool {
        now < feed.heard_at.after(self.patience())
    }
}
