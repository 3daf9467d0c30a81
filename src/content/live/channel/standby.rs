//! Which of several encoders a track goes on with: what the others push is held, and taken when the one whose track it is has gone.

use std::time::Duration;

use crate::content::live::channel::{Input, State, Waiting};
use crate::content::live::encoders::{Need, SAME_US};
use crate::content::live::reorder::Item;
use crate::content::live::spool::Kind;
use crate::content::live::window::Source;
use crate::time::{Rounding, Timescale, Utc, rescale};

impl State {
    /// Gives back what is to be taken now, because it is of the encoder that its track is of, or of all.
    pub(super) fn stand_by(&mut self, channel: &str, mut waiting: Waiting, now: Utc) -> Option<Waiting> {
        let (track, source) = (waiting.record.track.clone(), waiting.record.source);
        if source.encoder == 0 || self.window.next_number(&track).is_none() {
            return Some(waiting);
        }
        let silence = self.window.silence();
        let is_new = self.encoders.heard(&track, source.encoder, source.push, now);
        let is_doubled = self.encoders.is_doubled(&track, source.encoder, silence, now);
        if is_new && is_doubled {
            let encoder = self.encoders.name(source.encoder);
            tracing::info!(channel, track, encoder, "another encoder pushes this track, too");
        }
        let Some(standing) = self.window.standing(&track) else { return Some(waiting) };
        let is_own = standing.encoder == source.encoder || standing.encoder == 0;
        match &waiting.input {
            Input::Init(_) => Some(waiting),
            Input::Chunk(chunk) if is_own => {
                let timescale = self.window.init_by(&track, source.encoder)?.face.timescale;
                let us = rescale(chunk.decode_time, timescale, Timescale::MICRO, Rounding::Nearest);
                let has_hole = us > standing.end_us + SAME_US;
                // It goes on, with less than others have.
                if has_hole && !source.named_segments && self.hand_over(channel, &track, Need::NoHole, now) {
                    return self.stand_by(channel, waiting, now);
                }
                waiting.record.source.is_doubled = is_doubled;
                Some(waiting)
            }
            Input::Chunk(_) => {
                self.put_by(waiting, now);
                self.relieve(channel, &track, silence, now);
                None
            }
            Input::Nothing if waiting.record.kind == Kind::End => {
                self.encoders.gone(&track, source.encoder, source.push);
                self.relieve(channel, &track, silence, now);
                // The others go on.
                if is_doubled { None } else { Some(waiting) }
            }
            Input::Nothing if !is_own && waiting.record.kind == Kind::PushEnds => {
                self.encoders.hold_end(&track, source.encoder, source.push, now, waiting);
                None
            }
            Input::Nothing => Some(waiting),
        }
    }

    /// Holds `waiting`, a chunk of an encoder that its track is not of.
    fn put_by(&mut self, waiting: Waiting, now: Utc) {
        let Input::Chunk(chunk) = &waiting.input else { return };
        let (track, source) = (waiting.record.track.clone(), waiting.record.source);
        let Some(standing) = self.window.standing(&track) else { return };
        let Some(init) = self.window.init_by(&track, source.encoder) else { return };
        let us = |ticks| rescale(ticks, init.face.timescale, Timescale::MICRO, Rounding::Nearest);
        let (time, end) = (us(chunk.decode_time), us(chunk.decode_end));
        let (bytes, is_sync) = (chunk.bytes.len(), chunk.starts_with_sync);
        let item = Item { time, end, push: source.push, bytes, since: now, what: waiting };
        self.encoders.hold(&track, source.encoder, item, is_sync, &standing);
    }

    /// Has another encoder go on with `track`, if the one that it is of has gone.
    fn relieve(&mut self, channel: &str, track: &str, silence: Duration, now: Utc) {
        let Some(standing) = self.window.standing(track) else { return };
        if !self.encoders.is_alive(track, &standing, silence, now) {
            self.hand_over(channel, track, Need::Anything, now);
        }
    }

    /// Has another encoder go on with `track`; whether one does.
    pub(super) fn hand_over(&mut self, channel: &str, track: &str, need: Need, now: Utc) -> bool {
        let Some(standing) = self.window.standing(track) else { return false };
        for encoder in self.encoders.standing_by(track).into_iter().filter(|&other| other != standing.encoder) {
            let window = &self.window;
            let may_begin = |waiting: &Waiting| match &waiting.input {
                Input::Chunk(chunk) => window.may_begin(track, chunk, &waiting.record.source, need == Need::NoHole),
                _ => false,
            };
            let found = self.encoders.take_from(track, encoder, may_begin);
            if found.is_empty() {
                continue;
            }
            let (from, to) = (self.encoders.name(standing.encoder), self.encoders.name(encoder));
            tracing::warn!(channel, track, from, to, "another encoder takes over");
            self.encoders.took_over();
            // Another clock.
            self.drifts.remove(track);
            let before = self.held.remove(track);
            for waiting in found {
                self.take_held(channel, waiting, now);
            }
            // What was early of the other one may be wanted yet.
            for item in before.into_iter().flat_map(|held| held.into_items()) {
                self.put_by(item.what, now);
            }
            return true;
        }
        false
    }

    /// A push of `track` broke.
    pub(super) fn breaks(&mut self, channel: &str, track: &str, source: Source, now: Utc) {
        self.encoders.gone(track, source.encoder, source.push);
        self.relieve(channel, track, self.window.silence(), now);
    }

    /// Time has passed: who is silent is stood in for.
    pub(super) fn stand_in(&mut self, channel: &str, now: Utc) {
        for track in self.encoders.tick(now) {
            self.relieve(channel, &track, self.window.silence(), now);
        }
    }
}
