//! Which of several encoders a track goes on with: what the others push is held, and taken when the one whose track it is has gone.

use std::time::Duration;

use bytes::Bytes;

use crate::content::live::channel::{Input, State, Waiting, fits};
use crate::content::live::encoders::{Need, SAME_US};
use crate::content::live::reorder::Item;
use crate::content::live::spool::{Kind, Record};
use crate::content::live::window::Source;
use crate::time::{Rounding, Timescale, Utc, rescale};

impl State {
    /// Gives back what is to be taken now, because it is of the encoder that its track is of, or of all.
    pub(super) fn stand_by(&mut self, channel: &str, waiting: Waiting, now: Utc) -> Option<Waiting> {
        let (track, source) = (waiting.record.track.clone(), waiting.record.source);
        if source.encoder == 0 || self.window.next_number(&track).is_none() {
            return Some(waiting);
        }
        let silence = self.window.silence();
        // The end of a request is no sign of life.
        if !matches!(waiting.input, Input::Nothing)
            && self.encoders.heard(&track, source.encoder, source.push, now)
            && self.encoders.is_doubled(&track, source.encoder, silence, now)
        {
            let encoder = self.encoders.name(source.encoder);
            tracing::info!(channel, track, encoder, "another encoder pushes this track, too");
        }
        if let Some((time_us, is_last)) = self.says(&waiting) {
            self.encoders.says(&track, source.encoder, source.push, time_us, is_last);
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
                Some(waiting)
            }
            Input::Chunk(_) => {
                self.put_by(waiting, now);
                self.relieve(channel, &track, silence, now);
                None
            }
            Input::Nothing if waiting.record.kind == Kind::End => {
                self.ends(channel, &track, source, now).then_some(waiting)
            }
            Input::Nothing if !is_own && waiting.record.kind == Kind::PushEnds => {
                let was_last = self.was_last(&track, source);
                let end = Record { kind: Kind::End, ..waiting.record.clone() };
                self.encoders.hold_end(&track, source.encoder, source.push, now, waiting);
                let is_end = was_last && self.ends(channel, &track, source, now);
                is_end.then_some(Waiting { record: end, input: Input::Nothing })
            }
            Input::Nothing => Some(waiting),
        }
    }

    /// When `waiting` is decoded, in microseconds, and whether it says that its segment is the last, if it is a chunk.
    fn says(&self, waiting: &Waiting) -> Option<(i64, bool)> {
        let Input::Chunk(chunk) = &waiting.input else { return None };
        let timescale = self.window.init_by(&waiting.record.track, waiting.record.source.encoder)?.face.timescale;
        Some((rescale(chunk.decode_time, timescale, Timescale::MICRO, Rounding::Nearest), chunk.is_last))
    }

    /// Whether the push of `source`, which ended well, had the whole of the last segment of `track`.
    pub(super) fn was_last(&self, track: &str, source: Source) -> bool {
        self.encoders.said_last(track, source.encoder, source.push, self.window.silence())
            && self.window.requests_are_whole(track)
    }

    /// The encoder of `source` says that nothing more of `track` comes; whether that is the end of it, as nobody else goes on.
    pub(super) fn ends(&mut self, channel: &str, track: &str, source: Source, now: Utc) -> bool {
        let silence = self.window.silence();
        let is_doubled = self.encoders.is_doubled(track, source.encoder, silence, now);
        self.encoders.ends(track, source.encoder, source.push);
        self.relieve(channel, track, silence, now);
        if !is_doubled {
            self.encoders.end_is_told(track);
        }
        !is_doubled
    }

    /// Nothing more of `track` comes.
    pub(super) fn end(&mut self, channel: &str, track: &str, source: Source, now: Utc) {
        let record = Record { kind: Kind::End, at: now, track: track.to_owned(), source, payload: Bytes::new() };
        self.take_held(channel, Waiting { record, input: Input::Nothing }, now);
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
            self.let_go_of_unfit(channel, track, encoder, now);
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

    /// Lets go of what is held of `track` and `encoder` and can't be part of what was announced since it came.
    fn let_go_of_unfit(&mut self, channel: &str, track: &str, encoder: u32, now: Utc) {
        let (window, mut refusal) = (&self.window, None);
        self.encoders.retain(track, encoder, |waiting| {
            let fits = fits(window, &waiting.record, &waiting.input, now);
            fits.map_err(|error| refusal = Some(error)).is_ok()
        });
        if let Some(error) = refusal {
            let encoder = self.encoders.name(encoder);
            tracing::warn!(channel, track, encoder, %error, "what was held of an encoder that stands by is not taken");
        }
    }

    /// A push of `track` broke.
    pub(super) fn breaks(&mut self, channel: &str, track: &str, source: Source, now: Utc) {
        self.encoders.gone(track, source.encoder, source.push);
        self.relieve(channel, track, self.window.silence(), now);
    }

    /// Time has passed: who is silent is stood in for, and what all have said to be over has ended.
    pub(super) fn stand_in(&mut self, channel: &str, now: Utc) {
        for track in self.encoders.tick(now) {
            self.relieve(channel, &track, self.window.silence(), now);
        }
        for (track, encoder, push) in self.encoders.over(self.window.silence(), now) {
            self.encoders.end_is_told(&track);
            self.end(channel, &track, Source { encoder, push, ..Source::default() }, now);
        }
    }
}
