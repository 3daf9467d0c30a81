//! What encoders say beside the media: kept as long as what it is of is listed, and once, however often it is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::window::given_up::EventFeed;
use crate::content::live::window::{Feed, OUTAGE_SLACK_MS, TRACKS_MAX, Window};
use crate::formats::isobmff::emsg::EventMessage;
use crate::media::event::{EVENTS_MAX, LiveEvent, Timeline, ranges};
use crate::media::track::Kind;
use crate::time::{MediaTime, Rounding, Timescale, Utc};

/// The most schemes of events that are declared of a track.
const SCHEMES_MAX: usize = 16;
/// A track of events may be so far ahead of media: splices are told at least four seconds before (DASH-IF Live Media Ingest §6.8).
const AHEAD_MAX_US: i64 = 60_000_000;
/// It may be so far behind, as every track.
const BEHIND_MAX_US: i64 = OUTAGE_SLACK_MS * 1000;

/// An event that begins later than so long after the newest media is not kept: breaks are announced minutes before, programmes hours.
const EVENT_AHEAD_MAX_US: i64 = 24 * 3600 * 1_000_000;

impl Window {
    /// The number of the next event.
    pub fn next_event(&self) -> u64 {
        self.next_event
    }

    /// The initialization segment of a track of events came: it is no media, so nobody waits for it.
    pub(super) fn init_events(&mut self, name: &str, init: Init, now: Utc) -> Result<(), Refusal> {
        if self.feeds.contains_key(name) {
            return Err(Refusal::Conflict(format!("{name} was media, and is events now: use another name")));
        }
        if !self.event_tracks.contains_key(name) && !self.has_room_for_events(now) {
            return Err(Refusal::TooMuch(format!("{TRACKS_MAX} tracks of events are pushed already")));
        }
        self.event_tracks.insert(name.to_owned(), EventFeed { init: Arc::new(init), heard_at: now });
        Ok(())
    }

    /// A chunk of the track of events called `name` came. What counts time as no media does that came waits for such media, and is refused when
    /// none comes.
    pub(super) fn chunk_of_events(&mut self, name: &str, chunk: Chunk, now: Utc) -> Result<(), Refusal> {
        let Some(own) = self.event_tracks.get_mut(name) else { return Ok(()) };
        own.heard_at = now;
        let timescale = own.init.face.timescale;
        if chunk.events.is_empty() {
            return Ok(());
        }
        let beside = MediaTime::new(chunk.time, timescale);
        let patience = self.patience();
        let timeline = match self.timeline_of(beside, now) {
            Ok(number) => Timeline::Period(number),
            Err(None) => Timeline::Unknown { beside, since: now },
            Err(Some((other, away_us))) => {
                let is_late = |event: &Arc<LiveEvent>| matches!(event.timeline, Timeline::Unknown { since, .. } if now >= since.after(patience));
                if self.events.iter().any(is_late) {
                    self.leave_out(|event| matches!(event.timeline, Timeline::Unknown { .. }));
                    let side = if away_us < 0 { "before" } else { "after" };
                    return Err(Refusal::Conflict(format!(
                        "the times of {name} are {:.3} s {side} those of {other}: events count time as the media does",
                        away_us.abs() as f64 / 1e6
                    )));
                }
                Timeline::Unknown { beside, since: now }
            }
        };
        if self.note_events(chunk.events, timeline, beside, false) {
            self.publish(now);
        }
        Ok(())
    }

    /// The number of the period whose media was near to `beside` when `now` was; else the nearest track, if any, and how far it is from it.
    fn timeline_of(&self, beside: MediaTime, now: Utc) -> Result<u64, Option<(String, i64)>> {
        let newest = self.current.periods.last().map(|period| period.number);
        let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        let away = |feed: &Feed| {
            let end_us = us(MediaTime::new(feed.decode_end, feed.init.face.timescale));
            let passed_us = i64::try_from(now.0.saturating_sub(feed.last_at.0)).unwrap_or(0).saturating_mul(1000);
            let beside_us = us(beside);
            (beside_us - end_us).min(0) + (beside_us - end_us.saturating_add(passed_us)).max(0)
        };
        let of = |number: Option<u64>| {
            let feeds = self.feeds.iter().filter(move |(_, feed)| feed.period.is_some() && feed.period == number);
            let timed = feeds.filter(|(_, feed)| feed.init.face.kind != Kind::Text);
            timed.map(move |(name, feed)| (number.unwrap_or(0), name, away(feed)))
        };
        let nearest = of(newest).chain(of(self.gathers())).min_by_key(|(_, _, away_us)| away_us.abs());
        match nearest {
            Some((number, _, away_us)) if (-BEHIND_MAX_US..=AHEAD_MAX_US).contains(&away_us) => Ok(number),
            Some((_, name, away_us)) => Err(Some((name.clone(), away_us))),
            None => Err(None),
        }
    }

    /// Media came: events that waited for it have a place.
    pub(super) fn place_events(&mut self, now: Utc) {
        let waits = |event: &Arc<LiveEvent>| matches!(event.timeline, Timeline::Unknown { .. });
        if !self.events.iter().any(waits) {
            return;
        }
        let (waiting, placed): (Vec<_>, Vec<_>) = self.events.iter().cloned().partition(waits);
        self.events = Arc::new(placed);
        for event in waiting {
            let Timeline::Unknown { beside, .. } = event.timeline else { continue };
            match self.timeline_of(beside, now) {
                Ok(number) => {
                    self.add_event(LiveEvent { timeline: Timeline::Period(number), ..LiveEvent::clone(&event) });
                }
                Err(_) => Arc::make_mut(&mut self.events).push(event),
            }
        }
    }

    /// Keeps `messages`, said on `timeline` by what begins at `begins`; whether any is new.
    pub(super) fn note_events(
        &mut self,
        messages: Vec<EventMessage>,
        timeline: Timeline,
        begins: MediaTime,
        is_inband: bool,
    ) -> bool {
        let mut is_any_new = false;
        for message in messages {
            is_any_new |= self.add_event(LiveEvent::of(message, timeline, begins, is_inband));
        }
        is_any_new
    }

    /// Keeps `event`, if it is new; whether it is.
    fn add_event(&mut self, event: LiveEvent) -> bool {
        let us = |event: &LiveEvent| self.current.event_us(event);
        if self.events.iter().rev().any(|other| other.is_again(&event, us)) {
            return false;
        }
        // What is told long before, or counts time otherwise, would stand in every playlist until then.
        let edge_us = self.edge_ms().map(|edge_ms| edge_ms.saturating_mul(1000));
        if let (Some(begins_us), Some(edge_us)) = (us(&event), edge_us)
            && begins_us.saturating_sub(edge_us) > EVENT_AHEAD_MAX_US
        {
            return false;
        }
        let events = Arc::make_mut(&mut self.events);
        if events.len() >= EVENTS_MAX {
            // Where a break began is wanted as long as it lasts.
            events.remove(events.iter().position(|event| !event.leads_out()).unwrap_or(0));
        }
        events.push(Arc::new(LiveEvent { number: self.next_event, ..event }));
        self.next_event += 1;
        true
    }

    /// Lets events of periods that are over count from where the broadcast began: periods are forgotten, and a break may go on in the next.
    pub(super) fn root_events(&mut self) {
        let goes_on = [self.current.periods.last().map(|period| period.number), self.gathers()];
        let over =
            |event: &LiveEvent| matches!(event.timeline, Timeline::Period(number) if !goes_on.contains(&Some(number)));
        if !self.events.iter().any(|event| over(event)) {
            return;
        }
        let rooted = |event: &Arc<LiveEvent>| match self.current.event_us(event).filter(|_| over(event)) {
            Some(us) => {
                let time = MediaTime::new(us, Timescale::MICRO);
                Arc::new(LiveEvent { timeline: Timeline::Broadcast, time, ..LiveEvent::clone(event) })
            }
            None => Arc::clone(event),
        };
        self.events = Arc::new(self.events.iter().map(rooted).collect());
    }

    /// Forgets what ended before `listed_ms` after the broadcast's start, as of `now`; whether anything did.
    pub(super) fn expire_events(&mut self, listed_ms: i64, now: Utc) -> bool {
        if self.events.is_empty() {
            return false;
        }
        self.root_events();
        let (gathered, window) = (self.gathers(), self.options.window);
        let listed_us = listed_ms.saturating_mul(1000);
        let us = |event: &LiveEvent| self.current.event_us(event);
        let mut told = BTreeSet::new();
        for range in ranges(&self.events, us).iter().filter(|range| range.ends_us() >= listed_us) {
            let others = range.back.map(|(back, _)| back).into_iter().chain(range.cancelled);
            told.extend([range.event].into_iter().chain(others).map(|event| event.number));
        }
        let is_kept = |event: &LiveEvent| match (event.timeline, us(event)) {
            (_, Some(begins_us)) => begins_us >= listed_us || told.contains(&event.number),
            (Timeline::Unknown { since, .. }, None) => now < since.after(window),
            (Timeline::Period(number), None) => Some(number) == gathered,
            (Timeline::Broadcast, None) => false,
        };
        let over: BTreeSet<u64> =
            self.events.iter().filter(|event| !is_kept(event)).map(|event| event.number).collect();
        self.leave_out(|event| over.contains(&event.number))
    }

    /// Forgets the events that `is_over` holds of; whether there were any.
    pub(super) fn leave_out(&mut self, is_over: impl Fn(&LiveEvent) -> bool) -> bool {
        if !self.events.iter().any(|event| is_over(event)) {
            return false;
        }
        self.events = Arc::new(self.events.iter().filter(|event| !is_over(event)).cloned().collect());
        true
    }
}

impl Feed {
    /// Declares the schemes of `messages`, if it does not yet.
    pub(super) fn declare(&mut self, messages: &[EventMessage]) {
        for message in messages {
            let face = &mut self.live.face;
            if face.events.len() < SCHEMES_MAX && !face.events.contains(&message.scheme) {
                Arc::make_mut(face).events.push(message.scheme.clone());
            }
        }
    }
}
