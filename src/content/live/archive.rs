//! What was broadcast and has left the window, on disk: an index beside the spool that says which segments its files hold.
//!
//! ```text
//!   00000007.spool   records, with media         00000007.index   a line of JSON each: a track of a period, or a segment of one
//! ```
//!
//! An index is written when segments become whole, may be read without reading media, and goes with its file of the spool. What was said beside the
//! media is in the line of the segment that became whole next. A line that is
//! not whole, as a kill leaves it, is cut off, and so is what the spool does not come to; the segments that were read back from that then come again.

mod index;
pub mod recovered;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::content::live::archive::index::{Entry, EventLine, Index, Line, SegmentLine, Span, TrackLine, path, push};
use crate::content::live::archive::recovered::Recovered;
use crate::content::live::spool::numbers_of_each;
use crate::media::event::{LiveEvent, Timeline};
use crate::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack, Segments, Timing};
use crate::media::shift::{Shift, shifted};
use crate::media::track::{Track, Version};
use crate::time::{MediaTime, Rounding, Timescale, Utc};

/// Indexes that are kept in memory once they were read: hours of a channel, some ten kilobytes each.
const KEPT_INDEXES_MAX: usize = 256;
/// A segment begins so much before it ends, at most.
const SLACK_MS: u64 = 120_000;

/// How much of a channel is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// For how long after it came; zero: what the window needs, and no index.
    pub kept: Duration,
    /// So many bytes of the spool, at most; what the window needs is kept all the same.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { kept: Duration::ZERO, bytes_max: 100 << 30 }
    }
}

/// Writes the index of a channel.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    /// The index that is open.
    open: Option<Open>,
    /// Tracks that this index has named, and how many schemes of events they had.
    ids: BTreeMap<(u64, String), (u32, usize)>,
    /// How many it has named.
    named: u32,
    /// The first segment of each track that is in no index yet.
    next: BTreeMap<(u64, String), u64>,
    /// The first event that is in no index yet.
    next_event: u64,
}

#[derive(Debug)]
struct Open {
    number: u32,
    file: File,
    len: u64,
}

impl Archive {
    /// Goes on with the indexes in `dir`, where the spool came to what `recovered` says; whether they said more than that. Blocks.
    pub fn open(dir: &Path, recovered: &Recovered<'_>) -> io::Result<(Archive, bool)> {
        let mut archive = Archive {
            dir: dir.to_path_buf(),
            open: None,
            ids: BTreeMap::new(),
            named: 0,
            next: BTreeMap::new(),
            next_event: 0,
        };
        let (numbers, were_ahead) = recovered.cut(dir)?;
        for number in numbers {
            let index = Index::read(dir, number)?;
            for entry in &index.entries {
                let track = &index.tracks[entry.track];
                let next = archive.next.entry((track.period, track.face.name.clone())).or_default();
                *next = (*next).max(entry.number + 1);
            }
            let last = index.events.iter().map(|(_, event)| event.number + 1).max();
            archive.next_event = archive.next_event.max(last.unwrap_or(0));
        }
        Ok((archive, were_ahead))
    }

    /// Notes the segments of `broadcast` that became whole, in the index of the spool's file `number`.
    pub fn follow(&mut self, broadcast: &Broadcast, number: u32) -> io::Result<()> {
        let (mut text, mut noted) = (Vec::new(), Vec::new());
        let (mut said, next_event) = self.unsaid(broadcast);
        for (period, track) in broadcast.periods.iter().flat_map(|p| p.tracks.iter().map(move |track| (p, track))) {
            let key = (period.number, track.face.name.clone());
            let next = self.next.get(&key).copied().unwrap_or(0);
            if track.segments.last().is_none_or(|last| last.number < next) {
                continue;
            }
            if self.open.as_ref().is_none_or(|open| open.number != number) {
                self.begin(number)?;
            }
            let schemes = track.face.events.len();
            let known = self.ids.get(&key).filter(|(_, known)| *known == schemes).map(|(id, _)| *id);
            let id = known.unwrap_or_else(|| {
                let id = self.named;
                push(&mut text, &Line::Track(TrackLine::of(id, broadcast, period, track)));
                self.ids.insert(key.clone(), (id, schemes));
                self.named += 1;
                id
            });
            for segment in track.segments.from(next).filter(|s| s.is_gap || !s.places.is_empty()) {
                let utc_us = broadcast.utc_us(period, segment.time, track.face.timescale);
                let mut line = SegmentLine::of(id, segment, track.rate, utc_us / 1000);
                line.events = std::mem::take(&mut said);
                push(&mut text, &Line::Segment(line));
            }
            noted.push((key, track.segments.last().map_or(next, |last| last.number + 1)));
        }
        if let Some(open) = self.open.as_mut().filter(|_| !text.is_empty()) {
            if let Err(error) = open.file.write_all(&text) {
                // Half a line would hide those after it; what is missing comes again.
                let _ = open.file.set_len(open.len);
                self.open = None;
                return Err(error);
            }
            open.len += text.len() as u64;
        }
        if said.is_empty() {
            self.next_event = next_event;
        }
        self.next.extend(noted);
        // Periods that are no more do not come again.
        if let Some(first) = broadcast.periods.first() {
            self.next.retain(|(period, _), _| *period >= first.number);
        }
        Ok(())
    }

    /// What `broadcast` has of what was said that is in no index, and the number of the event behind it.
    fn unsaid(&self, broadcast: &Broadcast) -> (Vec<EventLine>, u64) {
        // Those that have no place yet get another number when they do; those of a period that gathers have one soon.
        let has_place = |event: &&Arc<LiveEvent>| !matches!(event.timeline, Timeline::Unknown { .. });
        let new = broadcast.events.iter().filter(has_place).filter(|event| event.number >= self.next_event);
        let lines: Vec<EventLine> = new.map_while(|event| EventLine::of(event, broadcast)).collect();
        let next = lines.last().map_or(self.next_event, |last| last.number + 1);
        (lines, next)
    }

    /// Removes the index of the spool's file `number`.
    pub fn forget(&self, number: u32) -> io::Result<()> {
        match fs::remove_file(path(&self.dir, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Opens the index of the spool's file `number`.
    fn begin(&mut self, number: u32) -> io::Result<()> {
        let file = File::options().create(true).append(true).open(path(&self.dir, number))?;
        let len = file.metadata()?.len();
        self.open = Some(Open { number, file, len });
        (self.ids, self.named) = (BTreeMap::new(), 0);
        Ok(())
    }
}

/// Reads the indexes of a channel. What it read of those that are complete it remembers.
#[derive(Debug)]
pub struct Shelf {
    dir: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    spans: BTreeMap<u32, Span>,
    indexes: BTreeMap<u32, Arc<Index>>,
}

impl Known {
    /// Keeps what is known of the indexes called `numbers`, unless it has segments of which something lay in a file before `first_file`.
    fn retain(&mut self, numbers: &[u32], first_file: u32) {
        let is_there = |number: &u32| numbers.binary_search(number).is_ok();
        self.spans.retain(|number, span| is_there(number) && span.oldest_file >= first_file);
        let Known { spans, indexes } = self;
        indexes.retain(|number, _| spans.contains_key(number));
    }
}

impl Shelf {
    /// Of what is in `dir`.
    pub fn of(dir: &Path) -> Shelf {
        Shelf { dir: dir.to_path_buf(), known: Mutex::default() }
    }

    /// All that `live` has, and what the archive has of the stretch that `shift` names, as one broadcast. Blocks.
    pub fn with(&self, live: &Broadcast, shift: &Shift) -> io::Result<Broadcast> {
        let from = Utc(shift.from.0.saturating_sub(SLACK_MS));
        let to = shift.to.unwrap_or(Utc(u64::MAX));
        let indexes = self.indexes(usize::MAX, |span| span.first < to && span.last >= from)?;
        Ok(joined(live, &indexes))
    }

    /// The stretch that `shift` names, of what is kept alone; `None` if nothing is kept. Blocks.
    pub fn stretch(&self, shift: &Shift) -> io::Result<Option<Broadcast>> {
        let indexes = self.indexes(usize::MAX, |_| true)?;
        let Some(track) = indexes.iter().flat_map(|index| &index.tracks).next_back() else { return Ok(None) };
        let timing = Timing { target_s: track.target_s, ..Timing::default() };
        let nothing = Broadcast { started: track.started, timing, ..Broadcast::default() };
        Ok(Some(shifted(&joined(&nothing, &indexes), shift, true)))
    }

    /// The segment of `name` in this `version` that begins at `time`. Blocks.
    pub fn segment(&self, name: &str, version: Version, time: i64) -> io::Result<Option<Arc<LiveSegment>>> {
        let has_it = |span: &Span| span.of(name, version).is_some_and(|own| own.first <= time && time <= own.last);
        for index in self.indexes(usize::MAX, has_it)?.iter().rev() {
            let is_it = |entry: &&Entry| {
                let face = &index.tracks[entry.track].face;
                entry.segment.time == time && face.version == version && face.name == name
            };
            if let Some(entry) = index.entries.iter().find(is_it) {
                return Ok(Some(Arc::clone(&entry.segment)));
            }
        }
        Ok(None)
    }

    /// What `name` is in this `version`, and the media time at which its period begins. Blocks.
    pub fn face(&self, name: &str, version: Version) -> io::Result<Option<(Arc<Track>, MediaTime)>> {
        let indexes = self.indexes(1, |span| span.of(name, version).is_some())?;
        Ok(indexes
            .iter()
            .find_map(|index| index.has_version(name, version))
            .map(|track| (Arc::clone(&track.face), track.origin)))
    }

    /// When the oldest segment begins and the newest does, that are kept. Blocks.
    pub fn span(&self) -> io::Result<Option<(Utc, Utc)>> {
        let indexes = self.indexes(usize::MAX, |_| false)?;
        debug_assert!(indexes.is_empty());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let first = known.spans.values().map(|span| span.first).min();
        Ok(first.zip(known.spans.values().map(|span| span.last).max()))
    }

    /// The first `most` that `are_wanted`, by what they have, in order. Of which that is not known yet are read, once.
    fn indexes(&self, most: usize, are_wanted: impl Fn(&Span) -> bool) -> io::Result<Vec<Arc<Index>>> {
        // Ascending.
        let [files, numbers] = numbers_of_each(&self.dir, ["spool", "index"])?;
        let first_file = files.first().copied().unwrap_or(u32::MAX);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(&numbers, first_file);
        let Known { spans, indexes } = &mut *known;
        let mut wanted = Vec::new();
        for &number in &numbers {
            // The last grows.
            let grows = numbers.last() == Some(&number);
            if wanted.len() >= most || spans.get(&number).is_some_and(|span| !grows && !are_wanted(span)) {
                continue;
            }
            let index = match indexes.get(&number) {
                Some(index) => Arc::clone(index),
                None => match Index::read(&self.dir, number) {
                    Ok(mut index) => {
                        index.leave_out_before(first_file);
                        Arc::new(index)
                    }
                    // It went meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                },
            };
            let Some(span) = index.span() else { continue };
            if are_wanted(&span) {
                wanted.push(Arc::clone(&index));
            }
            spans.insert(number, span);
            if !grows {
                indexes.insert(number, index);
            }
        }
        while indexes.len() > KEPT_INDEXES_MAX {
            indexes.pop_first();
        }
        Ok(wanted)
    }
}

/// A track of a period that is put together.
struct Joined {
    face: Arc<Track>,
    rate: (u64, u64),
    segments: BTreeMap<u64, Arc<LiveSegment>>,
}

/// What `live` has and what is in `indexes`, each segment once, in times of `live`: a broadcast that counts from 1970 and one that does not may follow
/// each other.
fn joined(live: &Broadcast, indexes: &[Arc<Index>]) -> Broadcast {
    let mut periods: BTreeMap<u64, (MediaTime, MediaTime, BTreeMap<String, Joined>)> = BTreeMap::new();
    for (index, entry) in indexes.iter().flat_map(|index| index.entries.iter().map(move |entry| (index, entry))) {
        let track = &index.tracks[entry.track];
        let since = |time| as_of(time, track.started, live.started);
        let (_, _, tracks) =
            periods.entry(track.period).or_insert_with(|| (since(track.start), track.origin, BTreeMap::new()));
        let joined = tracks.entry(track.face.name.clone()).or_insert_with(|| Joined {
            face: Arc::clone(&track.face),
            rate: entry.rate,
            segments: BTreeMap::new(),
        });
        joined.rate = (joined.rate.0.max(entry.rate.0), entry.rate.1);
        joined.declare(&track.face);
        joined.segments.insert(entry.number, Arc::clone(&entry.segment));
    }
    for period in &live.periods {
        let (_, _, tracks) =
            periods.entry(period.number).or_insert_with(|| (period.start, period.origin, BTreeMap::new()));
        for track in &period.tracks {
            let joined = tracks.entry(track.face.name.clone()).or_insert_with(|| Joined {
                face: Arc::clone(&track.face),
                rate: track.rate,
                segments: BTreeMap::new(),
            });
            joined.rate = track.rate;
            joined.declare(&track.face);
            // What was let go of in memory may be in the archive; what never was there is in memory alone.
            for segment in track.segments.iter().filter(|segment| segment.lease.is_live()) {
                joined.segments.insert(segment.number, Arc::clone(segment));
            }
        }
    }
    let in_indexes = indexes.iter().flat_map(|index| &index.events).map(|(started, event)| {
        let time = as_of(event.time, *started, live.started);
        if time == event.time { Arc::clone(event) } else { Arc::new(LiveEvent { time, ..LiveEvent::clone(event) }) }
    });
    let kept: BTreeMap<u64, Arc<LiveEvent>> =
        in_indexes.chain(live.events.iter().cloned()).map(|event| (event.number, event)).collect();
    let events = Arc::new(kept.into_values().collect());
    let mut out = Broadcast { periods: Vec::new(), events, ..live.clone() };
    for (number, (start, origin, tracks)) in periods {
        let known = live.periods.iter().find(|period| period.number == number);
        let cuts = known.map_or(Vec::new(), |known| known.cuts.clone());
        let mut period = LivePeriod { number, start, origin, end: None, cuts, tracks: Vec::new() };
        for (name, joined) in tracks {
            let live = known.and_then(|known| known.track(&name));
            let track = joined.track(live);
            holes(&track).for_each(|hole| period.cut(&track, hole, out.timing.near_us()));
            period.tracks.push(Arc::new(track));
        }
        period.end = known.and_then(|known| known.end);
        if let Some(before) = out.periods.last_mut() {
            let ended = LivePeriod { end: before.end.or(Some(start)), ..LivePeriod::clone(before) };
            *before = Arc::new(ended);
        }
        out.periods.push(Arc::new(period));
    }
    out
}

/// `time` after `started`, as a time after `live`.
fn as_of(time: MediaTime, started: Utc, live: Utc) -> MediaTime {
    if started == live {
        return time;
    }
    let ms = |utc: Utc| i64::try_from(utc.0).unwrap_or(i64::MAX);
    let later_us = ms(started).saturating_sub(ms(live)).saturating_mul(1000);
    let us = time.to(Timescale::MICRO, Rounding::Nearest).saturating_add(later_us);
    MediaTime::new(us, Timescale::MICRO)
}

impl Joined {
    /// Its segments have the event messages that `face` declares, too (ISO/IEC 23009-1 §5.10.3.2).
    fn declare(&mut self, face: &Track) {
        for scheme in &face.events {
            if !self.face.events.contains(scheme) {
                Arc::make_mut(&mut self.face).events.push(scheme.clone());
            }
        }
    }

    /// As a track, with what `live` has besides.
    fn track(self, live: Option<&Arc<LiveTrack>>) -> LiveTrack {
        let mut segments = Segments::default();
        for segment in self.segments.into_values() {
            // What no index has, as when a disk was full, is missing; numbers go on without a hole.
            if let Some(last) = segments.last().cloned() {
                let missing = i64::try_from(segment.number - last.number - 1).unwrap_or(0);
                let span = segment.time - last.end();
                for index in 0..missing.min(span.max(0)) {
                    let (from, until) =
                        (last.end() + span * index / missing, last.end() + span * (index + 1) / missing);
                    let number = last.number + 1 + index as u64;
                    segments.push(Arc::new(LiveSegment::gap(number, from, until - from, segment.closed)));
                }
            }
            segments.push(segment);
        }
        let first = segments.iter().next().map_or(0, |first| first.number);
        let next_number = segments.last().map_or(0, |last| last.number + 1);
        let next_time = segments.last().map_or(0, |last| last.end());
        LiveTrack {
            face: self.face,
            rate: self.rate,
            segments,
            listed_from: first,
            open: live.and_then(|live| live.open.clone()),
            next_number: live.map_or(next_number, |live| live.next_number),
            next_time: live.map_or(next_time, |live| live.next_time),
            produced: live.and_then(|live| live.produced),
        }
    }
}

/// Where media is missing, in ticks.
fn holes(track: &LiveTrack) -> impl Iterator<Item = [i64; 2]> {
    let mut holes: Vec<[i64; 2]> = Vec::new();
    for segment in track.segments.iter() {
        let until = segment.lacks_until.unwrap_or(segment.end());
        let from = if segment.is_gap { segment.time } else { segment.end() };
        match holes.last_mut().filter(|hole| hole[1] == from) {
            Some(hole) => hole[1] = until,
            None if from < until => holes.push([from, until]),
            None => {}
        }
    }
    holes.into_iter()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::content::live::archive::index::{INDEX_BYTES_MAX, lines};
    use crate::content::live::pushed::Init;
    use crate::content::live::spool::file_name;
    use crate::media::sample::SourceRange;

    /// An archive in `dir` of two tracks with the same initialization segment, `files` files of ten segments of two seconds.
    fn archive(dir: &Path, files: u32) -> Version {
        let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/packaging/video/init.mp4");
        let init = Init::read(Bytes::from(fs::read(init).unwrap()), "v").unwrap();
        let face = Arc::new(init.face_from(1));
        for file in 1..=files {
            let mut text = Vec::new();
            for (id, name) in [(0, "v"), (1, "w")] {
                let track = LiveTrack {
                    rate: (1, 1),
                    ..LiveTrack::new(Arc::new(Track { name: name.to_owned(), ..Track::clone(&face) }))
                };
                let (start, origin) = (MediaTime::ZERO, MediaTime::ZERO);
                let period = LivePeriod { number: 0, start, origin, end: None, cuts: Vec::new(), tracks: Vec::new() };
                push(&mut text, &Line::Track(TrackLine::of(id, &Broadcast::default(), &period, &track)));
                for number in u64::from(file) * 10..u64::from(file) * 10 + 10 {
                    let mut segment = LiveSegment::gap(number, number as i64 * 2, 2, Utc(number * 2000 + 2000));
                    segment.is_gap = false;
                    let start = u64::from(id) * 1000 + number;
                    segment.places = vec![SourceRange { file, range: start..start + 1 }];
                    push(&mut text, &Line::Segment(SegmentLine::of(id, &segment, (1, 1), number * 2000)));
                }
            }
            fs::write(path(dir, file), text).unwrap();
            File::create(dir.join(file_name(file))).unwrap();
        }
        face.version
    }

    #[test]
    fn what_was_said_of_a_broadcast_that_counted_otherwise_was_said_of_another_time() {
        let dir = tempfile::tempdir().unwrap();
        archive(dir.path(), 1);
        // That one counts from 1970; the second from a minute after it.
        for (file, started_s) in [(1, 0), (2, 60)] {
            let mut text = Vec::new();
            for (_, line) in lines(&fs::read(path(dir.path(), 1)).unwrap()) {
                match line {
                    Line::Track(track) => {
                        let period = u64::from(file);
                        push(&mut text, &Line::Track(TrackLine { period, started: started_s * 1000, ..track }));
                    }
                    Line::Segment(mut line) if line.number == 10 && line.track == 0 => {
                        (line.time, line.duration) = (20 * 12_288, 2 * 12_288);
                        line.places = vec![(file, 0, 1)];
                        line.events = vec![EventLine {
                            number: u64::from(file),
                            time: (20, 1),
                            duration: None,
                            scheme: ("urn:x".to_owned(), String::new()),
                            id: file,
                            data: String::new(),
                            inband: true,
                        }];
                        push(&mut text, &Line::Segment(line));
                    }
                    Line::Segment(_) => {}
                }
            }
            fs::write(dir.path().join(format!("{file}.new")), text).unwrap();
        }
        for file in [1, 2] {
            fs::rename(dir.path().join(format!("{file}.new")), path(dir.path(), file)).unwrap();
            File::create(dir.path().join(file_name(file))).unwrap();
        }
        let shelf = Shelf::of(dir.path());
        let begins = |all: &Broadcast| -> Vec<i64> {
            let since_us = (all.started.0 * 1000) as i64;
            all.events.iter().map(|event| (since_us + all.event_us(event).unwrap()) / 1_000_000).collect()
        };
        let from = |second: u64| Shift { from: Utc(second * 1000), to: None };
        assert_eq!(begins(&shelf.stretch(&from(0)).unwrap().unwrap()), [20, 80]);
        for started in [0, 60_000, 90_000] {
            let live = Broadcast { started: Utc(started), ..Broadcast::default() };
            let all = shelf.with(&live, &from(0)).unwrap();
            assert_eq!(begins(&all), [20, 80], "{started}");
            let open = shifted(&all, &from(0), false);
            assert_eq!(begins(&open), [20, 80], "{started}");
            assert!(open.periods.iter().all(|period| period.start >= MediaTime::ZERO), "{open:?}");
        }
    }

    #[test]
    fn a_segment_costs_the_index_that_has_it_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let files = KEPT_INDEXES_MAX as u32 + 20;
        let version = archive(dir.path(), files);
        let shelf = Shelf::of(dir.path());
        let place = |name: &str, number: i64| {
            let found = shelf.segment(name, version, number * 2).unwrap();
            found.map(|segment| (segment.places[0].file, segment.places[0].range.start))
        };
        assert_eq!(place("v", 105), Some((10, 105)));
        // Those that are not in memory any more can't be read.
        for number in (1..=19).filter(|&number| number != 10) {
            File::create(path(dir.path(), number)).unwrap().set_len(INDEX_BYTES_MAX + 1).unwrap();
        }
        assert_eq!(place("v", 106), Some((10, 106)));
        assert_eq!(place("w", 106), Some((10, 1106)), "another track of the same version");
        assert_eq!(place("v", i64::from(files) * 10 + 9), Some((files, u64::from(files) * 10 + 9)));
        assert_eq!(shelf.segment("v", version, 211).unwrap().map(|segment| segment.number), None, "between two");
        assert_eq!(shelf.segment("v", version, 1 << 40).unwrap().map(|segment| segment.number), None);
        assert_eq!(shelf.segment("x", version, 210).unwrap().map(|segment| segment.number), None);
        assert!(shelf.segment("v", version, 22).is_err(), "it is in one that can't be read");
        // What a track is the first says that has it.
        archive(dir.path(), 1);
        assert!(shelf.face("w", version).unwrap().is_some());
    }
}
