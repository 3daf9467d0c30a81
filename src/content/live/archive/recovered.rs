//! What the indexes say that the spool does not come to, after a restart.
//!
//! Neither is synced. A machine that loses power may have the one further on its disk than the other: an index then has segments of which the spool has
//! nothing, or not all. Where they were said to lie something else is written, and their numbers are given again; so they go before that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::content::live::archive::index::{EventLine, Line, SegmentLine, lines, path, push, text};
use crate::content::live::spool::numbers;
use crate::media::live::Broadcast;

/// What a channel's spool came to when it was read back.
#[derive(Debug)]
pub struct Recovered<'a> {
    /// Where the last record's payload ends of each file that was read. Those before them were not.
    pub ends: &'a BTreeMap<u32, u64>,
    /// The number of the file that is written.
    pub number: u32,
    /// What the channel is.
    pub broadcast: &'a Broadcast,
    /// The number of the next that is said beside the media.
    pub next_event: u64,
}

impl Recovered<'_> {
    /// Cuts out of the indexes in `dir` what it does not come to. Says which have the last segments of every track that goes on, and
    /// whether there was anything. Blocks.
    pub(super) fn cut(&self, dir: &Path) -> io::Result<(Vec<u32>, bool)> {
        let first_read = self.ends.keys().next().copied().unwrap_or(0);
        let (mut left, mut were_ahead) = (numbers(dir, "index")?, false);
        while let Some(number) = left.pop_if(|number| *number > self.number) {
            fs::remove_file(path(dir, number))?;
            were_ahead = true;
        }
        // What was read is in those from the first on; the last two are looked at in any case.
        let from = left.partition_point(|number| *number < first_read).min(left.len().saturating_sub(2));
        let last = left.split_off(from);
        for &number in &last {
            were_ahead |= self.cut_one(dir, number)?;
        }
        Ok((last, were_ahead))
    }

    fn cut_one(&self, dir: &Path, number: u32) -> io::Result<bool> {
        let text = text(dir, number)?;
        let (mut left, mut said, mut was_ahead) = (Vec::with_capacity(text.len()), Vec::<EventLine>::new(), false);
        let mut tracks = BTreeMap::new();
        for (written, line) in lines(&text) {
            let mut segment = match line {
                Line::Track(track) => {
                    left.extend_from_slice(written);
                    tracks.insert(track.id, (track.period, track.name));
                    continue;
                }
                Line::Segment(segment) => segment,
            };
            let count = segment.events.len();
            segment.events.retain(|event| event.number < self.next_event);
            was_ahead |= segment.events.len() < count;
            let is_there =
                tracks.get(&segment.track).is_none_or(|(period, name)| self.has_segment(*period, name, &segment));
            if !is_there {
                said.append(&mut segment.events);
                was_ahead = true;
                continue;
            }
            if segment.events.len() == count && said.is_empty() {
                left.extend_from_slice(written);
                continue;
            }
            // What was said stays, in the line of another segment.
            segment.events.splice(..0, said.drain(..));
            push(&mut left, &Line::Segment(segment));
        }
        if left != text {
            let same = left.iter().zip(&text).take_while(|(left, before)| left == before).count();
            let mut file = File::options().append(true).open(path(dir, number))?;
            file.set_len(same as u64)?;
            file.write_all(&left[same..])?;
            // The next loss of power must not bring it back, when the spool has something else there.
            file.sync_all()?;
        }
        Ok(was_ahead)
    }

    /// Whether the segment of `line`, of the track called `name` in `period`, became whole by what was read, and its bytes are there.
    fn has_segment(&self, period: u64, name: &str, line: &SegmentLine) -> bool {
        let periods = &self.broadcast.periods;
        let is_whole = match periods.iter().find(|known| known.number == period) {
            Some(known) => known.track(name).is_none_or(|track| {
                line.number < track.open.as_ref().map_or(track.next_number, |open| open.number.min(track.next_number))
            }),
            None => periods.last().is_some_and(|last| period < last.number),
        };
        is_whole && line.places.iter().all(|(file, _, end)| self.has_bytes(*file, *end))
    }

    /// Whether the spool's file `file` has what lies before `end`.
    fn has_bytes(&self, file: u32, end: u64) -> bool {
        let is_unread = self.ends.keys().next().is_some_and(|first| file < *first);
        is_unread || self.ends.get(&file).is_some_and(|last| end <= *last)
    }
}
