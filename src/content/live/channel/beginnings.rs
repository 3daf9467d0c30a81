//! Where the segments of encoders begin: event messages of version 0 count from there (ISO/IEC 23009-1 §5.10.3.3.4), and ours may be cut otherwise.

use std::collections::{BTreeMap, VecDeque};

use crate::content::live::channel::{Input, State};
use crate::content::live::pushed::Chunk;
use crate::content::live::spool::Record;
use crate::formats::isobmff::emsg::EventTime;
use crate::time::MediaTime;

/// The most pushes of a track that are remembered: those that are under way, and a packager has a few.
const PUSHES_MAX: usize = 16;

/// By track and push: where the segment began that is under way.
#[derive(Debug, Default)]
pub(super) struct Beginnings(BTreeMap<String, VecDeque<(u64, MediaTime)>>);

impl Beginnings {
    fn note(&mut self, track: &str, push: u64, begins: MediaTime) {
        let own = self.0.entry(track.to_owned()).or_default();
        match own.iter_mut().find(|(other, _)| *other == push) {
            Some((_, known)) => *known = begins,
            None => own.push_back((push, begins)),
        }
        if own.len() > PUSHES_MAX {
            own.pop_front();
        }
    }

    fn of(&self, track: &str, push: u64) -> Option<MediaTime> {
        self.0.get(track)?.iter().find(|(other, _)| *other == push).map(|(_, begins)| *begins)
    }
}

impl State {
    /// `input` with messages that count from where media does, if they count from where its segment begins and the encoder says where that is.
    /// What is written is what is served.
    pub(super) fn count_from_media(&mut self, record: &mut Record, input: Input) -> Input {
        let Input::Chunk(chunk) = input else { return input };
        let Some(init) = self.window.init_by(&record.track, record.source.encoder) else { return Input::Chunk(chunk) };
        let (source, begins) = (record.source, MediaTime::new(chunk.time, init.face.timescale));
        let is_said = || !source.named_segments && chunk.is_said_to_begin();
        if init.events.is_none() && (source.begins_segment && source.named_segments || is_said()) {
            self.beginnings.note(&record.track, source.push, begins);
        }
        let is_relative = |chunk: &Chunk| chunk.events.iter().any(|event| matches!(event.time, EventTime::After(_)));
        let Some(begins) = self.beginnings.of(&record.track, source.push).filter(|_| is_relative(&chunk)) else {
            return Input::Chunk(chunk);
        };
        let chunk = chunk.counting_from_media(begins);
        record.payload = chunk.bytes.clone();
        Input::Chunk(chunk)
    }
}
