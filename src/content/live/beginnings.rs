//! Where the segments of encoders begin: event messages of version 0 count from there (ISO/IEC 23009-1 §5.10.3.3.4), and ours may be cut otherwise.

use std::collections::{BTreeMap, VecDeque};

use crate::content::live::pushed::{Chunk, Init};
use crate::content::live::window::Source;
use crate::formats::isobmff::emsg::EventTime;
use crate::time::MediaTime;

/// The most pushes of a track that are remembered: those that are under way, and a packager has a few.
const PUSHES_MAX: usize = 16;

/// By track and push: where the segment began that is under way.
#[derive(Debug, Default)]
pub struct Beginnings(BTreeMap<String, VecDeque<(u64, MediaTime)>>);

impl Beginnings {
    /// `chunk` of `track`, which comes from `source` and is of what `init` begins, with messages that count from where the media does, if they count from
    /// where its segment begins and the encoder says where that is.
    pub fn counting(&mut self, track: &str, init: &Init, source: &Source, chunk: Chunk) -> Chunk {
        if init.events.is_some() {
            return chunk;
        }
        let begins = match source.named_segments {
            true => source.begins_segment,
            false => chunk.is_said_to_begin(),
        };
        if begins {
            self.note(track, source.push, MediaTime::new(chunk.time, init.face.timescale));
        }
        let is_relative = chunk.events.iter().any(|event| matches!(event.time, EventTime::After(_)));
        match self.of(track, source.push).filter(|_| is_relative) {
            Some(begins) => chunk.counting_from_media(begins),
            None => chunk,
        }
    }

    /// Only tracks that `is_known` are remembered.
    pub fn forget_others(&mut self, is_known: impl Fn(&str) -> bool) {
        self.0.retain(|track, _| is_known(track));
    }

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
