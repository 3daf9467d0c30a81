//! What leaves the window, and when: a segment is listed, then kept for as long again as anybody may ask for it, then forgotten.
//!
//! ```text
//!   forgotten | kept, for who has an older playlist | listed | what grows
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::content::live::window::Window;
use crate::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack, Timing};
use crate::time::{Rounding, Timescale, Utc, rescale};

/// Segments this old are read from the spool, if they are asked for: players at the live edge ask for younger ones.
const HOT_MS: i64 = 30_000;

/// What holds of a segment that ended before, in milliseconds after the broadcast's start.
struct Limits {
    /// It is not listed.
    listed: i64,
    /// What it was part of is over.
    kept: i64,
    /// It is not kept in memory, if the spool has it.
    hot: i64,
}

/// When `segment` of `track` ended, in milliseconds after the broadcast's start.
fn ended_ms(period: &LivePeriod, track: &LiveTrack, segment: &LiveSegment) -> i64 {
    milliseconds(period, track, segment.end())
}

/// `ticks` of `track`, in milliseconds after the broadcast's start.
fn milliseconds(period: &LivePeriod, track: &LiveTrack, ticks: i64) -> i64 {
    let timescale = track.face.timescale;
    rescale(period.offset(ticks, timescale), timescale, Timescale::MILLI, Rounding::Down)
}

/// How long a segment stays that left a playlist of `timing`: as long as the longest that had it, which has all of the segment that the window
/// begins in, and its own length (rfc8216bis §6.2.2).
pub(super) fn stays(timing: Timing) -> Duration {
    let target_ms = timing.target_s * 1000;
    Duration::from_millis(timing.window_ms.max(6 * target_ms) + 2 * (target_ms + 499))
}

impl Window {
    /// How long what leaves the window now stays.
    pub(super) fn stays(&self, now: Utc) -> Duration {
        let longer = self.stays_longer.filter(|(_, until)| now < *until).map(|(stays, _)| stays);
        stays(self.current.timing).max(longer.unwrap_or_default())
    }

    /// Playlists of `before` may be longer than those of now on.
    pub(super) fn stays_as_before(&mut self, before: Timing, now: Utc) {
        let stays = stays(before).max(self.stays(now));
        self.stays_longer = Some((stays, now.after(stays)));
    }

    /// How long a segment is listed, in milliseconds.
    pub(super) fn listed_ms(&self) -> u64 {
        self.current.timing.window_ms.max(self.current.timing.target_s * 6000)
    }

    /// Lets segments leave the window, and those that left it long ago be forgotten. Says whether one left.
    pub(super) fn expire(&mut self, now: Utc) -> bool {
        let Some(edge) = self.edge_ms().map(|edge| edge.max(self.edge_ms)) else { return false };
        let window = self.listed_ms() as i64;
        let target = self.current.timing.target_s as i64 * 1000;
        let stays = self.stays(now);
        let kept = edge - window - stays.as_millis() as i64;
        let limits = Limits { listed: edge - window, kept, hot: edge - HOT_MS.max(6 * target) };
        // Another that leads takes nothing away from what goes on, be it in the newest period or still on the way there.
        let newest = self.current.periods.last().map(|period| period.number);
        let goes_on = self.feeds.iter().filter(|(_, feed)| match feed.period {
            Some(own) if Some(own) == newest => self.is_heard(feed, now),
            own => own.is_some() && now < feed.last_at.after(self.patience()),
        });
        let behind = goes_on.filter_map(|(name, _)| {
            let (period, track) = self.current.tracks_called(name).last()?;
            let listed = milliseconds(period, track, track.end()) + 2 * target - window;
            (listed < limits.listed).then(|| (name.clone(), listed))
        });
        let behind: BTreeMap<String, i64> = behind.collect();
        let last = behind.values().copied().min().unwrap_or(limits.listed);
        let mut changed = self.expire_events(last, now);
        let mut has_left = false;
        let mut next = Broadcast { events: Arc::clone(&self.events), ..Broadcast::clone(&self.current) };
        for period in &mut next.periods {
            // The last of those that are over stays: what is listed is in the stretch that began there.
            let over_us = (last - stays.as_millis() as i64).saturating_mul(1000);
            let over = period.cuts.partition_point(|cut| *cut < over_us).saturating_sub(1);
            if over > 0 {
                Arc::make_mut(period).cuts.drain(..over);
                changed = true;
            }
            for index in 0..period.tracks.len() {
                let number = period.number;
                let track = &period.tracks[index];
                let listed = behind.get(&track.face.name).copied().unwrap_or(limits.listed);
                let listed_from = listed_from(period, track, listed);
                // By when it left, not by when it ended: after an outage many leave at once.
                let left = self.left.entry((number, track.face.name.clone())).or_default();
                let is_cool = |segment: &&Arc<LiveSegment>| ended_ms(period, track, segment) < limits.hot;
                for segment in track.segments.from(left.cool).take_while(is_cool) {
                    segment.cool();
                    left.cool = segment.number + 1;
                }
                if listed_from != track.listed_from {
                    has_left = true;
                    left.listed.push_back((listed_from, now.after(stays)));
                }
                let over = left.listed.iter().take_while(|(_, until)| now >= *until).count();
                let gone = left.listed.drain(..over).next_back().map(|(below, _)| below);
                if listed_from == track.listed_from && gone.is_none() {
                    continue;
                }
                changed = true;
                let track = Arc::make_mut(&mut Arc::make_mut(period).tracks[index]);
                leave(track, listed_from, gone, now);
                let feed = self.feeds.get_mut(&track.face.name).filter(|feed| feed.period == Some(number));
                if let Some(feed) = feed {
                    // It may have more than is published.
                    leave(&mut feed.live, listed_from, gone, now);
                }
            }
        }
        let is_over = |period: &Arc<LivePeriod>| {
            let is_old = period.end.is_some_and(|end| end.to(Timescale::MILLI, Rounding::Up) < limits.kept);
            let mut segments = period.tracks.iter().flat_map(|track| track.segments.iter());
            is_old && segments.all(|segment| !segment.lease.is_live())
        };
        let before = next.periods.len();
        next.periods.retain(|period| !is_over(period));
        self.left.retain(|(number, _), _| next.periods.iter().any(|period| period.number == *number));
        if changed || next.periods.len() != before {
            next.sequence += 1;
            next.published = now;
            self.current = Arc::new(next);
        }
        has_left
    }
}

/// Which segment of `track` is the first to be listed, of those that ended `listed` or later.
fn listed_from(period: &LivePeriod, track: &LiveTrack, listed: i64) -> u64 {
    let listed = track.segments.from(track.listed_from).find(|s| ended_ms(period, track, s) >= listed);
    // Or the one that grows, when it is whole.
    let next = track.open.as_ref().map_or(track.next_number, |open| open.number);
    listed.map_or(next, |s| s.number)
}

/// The first that is listed is number `listed_from`; those below `gone` are forgotten.
fn leave(track: &mut LiveTrack, listed_from: u64, gone: Option<u64>, now: Utc) {
    track.listed_from = listed_from;
    let Some(gone) = gone else { return };
    track.segments.iter().take_while(|s| s.number < gone).filter(|s| s.lease.is_live()).for_each(|s| s.release(now));
    track.segments.forget(|s| !s.lease.is_live() && s.number < listed_from);
}
