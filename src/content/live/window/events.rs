//! What encoders say beside the media: kept as long as what it is of is listed, and once, however often it is said.

use std::sync::Arc;

use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::window::names::EventFeed;
use crate::content::live::window::{Feed, TRACKS_MAX, Window};
use crate::formats::isobmff::emsg::{EventMessage, EventTime};
use crate::formats::scte35::{self, Way};
use crate::media::event::{EVENTS_MAX, LiveEvent};
use crate::time::{MediaTime, Rounding, Timescale, Utc};

/// The most schemes of events that are declared of a track.
const SCHEMES_MAX: usize = 16;

impl Window {
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

    /// A chunk of the track of events called `name` came.
    pub(super) fn chunk_of_events(&mut self, name: &str, chunk: &Chunk, now: Utc) {
        if let Some(own) = self.event_tracks.get_mut(name) {
            own.heard_at = now;
        }
        let newest = self.current.periods.last().map(|period| period.number);
        let Some(period) = newest.or(self.gathers()) else { return };
        if self.note_events(&chunk.events, period, MediaTime::ZERO, false) {
            self.publish(now);
        }
    }

    /// Keeps `messages`, said in period number `period` by what begins at `begins`; whether any is new.
    pub(super) fn note_events(
        &mut self,
        messages: &[EventMessage],
        period: u64,
        begins: MediaTime,
        is_inband: bool,
    ) -> bool {
        let before = self.events.len();
        for message in messages {
            let ticks = match message.time {
                EventTime::At(ticks) => ticks,
                EventTime::After(delta) => begins.to(message.timescale, Rounding::Nearest).saturating_add(delta),
            };
            let event = LiveEvent {
                period,
                time: MediaTime::new(ticks, message.timescale),
                duration: length(message),
                scheme: message.scheme.clone(),
                id: message.id,
                data: message.data.clone(),
                is_inband,
            };
            if self.events.iter().rev().any(|other| other.is_again(&event)) {
                continue;
            }
            let events = Arc::make_mut(&mut self.events);
            if events.len() >= EVENTS_MAX {
                events.remove(0);
            }
            end_break(events, &event);
            events.push(Arc::new(event));
        }
        self.events.len() != before || before == EVENTS_MAX
    }

    /// Forgets what ended before `listed_ms` after the broadcast's start; whether anything did.
    pub(super) fn expire_events(&mut self, listed_ms: i64) -> bool {
        let gathered = self.gathers();
        let is_over = |event: &LiveEvent| match self.current.event_us(event) {
            Some((begins, ends)) => ends.unwrap_or(begins) / 1000 < listed_ms,
            None => Some(event.period) != gathered,
        };
        if !self.events.iter().any(|event| is_over(event)) {
            return false;
        }
        let kept = self.events.iter().filter(|event| !is_over(event)).cloned().collect();
        self.events = Arc::new(kept);
        true
    }
}

/// A break that `event` leads back from is over: it is not kept for as long as it was meant to last.
fn end_break(events: &mut [Arc<LiveEvent>], event: &LiveEvent) {
    let cue = |of: &LiveEvent| scte35::cue(&of.data).ok().filter(|_| of.scheme.uri == scte35::SCHEME);
    let Some(back) = cue(event).filter(|own| own.way == Way::In && own.event_id.is_some()) else { return };
    let leads_out = |of: &&mut Arc<LiveEvent>| {
        let own = cue(of).filter(|own| own.way == Way::Out && own.event_id == back.event_id);
        own.is_some() && of.period == event.period && of.time <= event.time
    };
    if let Some(out) = events.iter_mut().rev().find(leads_out) {
        let timescale = out.time.timescale;
        let length = event.time.to(timescale, Rounding::Nearest) - out.time.ticks;
        Arc::make_mut(out).duration = Some(MediaTime::new(length, timescale));
    }
}

/// How long the event lasts, by the message or by the cue that it carries: a break is kept until it is over.
fn length(message: &EventMessage) -> Option<MediaTime> {
    let said = message.duration.map(|ticks| MediaTime::new(ticks.into(), message.timescale));
    let of_cue = || {
        let cue = scte35::cue(&message.data).ok().filter(|_| message.scheme.uri == scte35::SCHEME)?;
        Some(MediaTime::new(i64::try_from(cue.duration?).ok()?, Timescale::new(scte35::TICKS_S)?))
    };
    said.or_else(of_cue)
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
