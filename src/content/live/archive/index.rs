//! The index of one file of the spool: its lines as they are written, and as they are read.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::content::live::kept::{hex, media_time, time, unhex};
use crate::content::live::pushed::Init;
use crate::formats::isobmff::emsg::EventScheme;
use crate::media::event::{self, LiveEvent, Timeline};
use crate::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack};
use crate::media::sample::SourceRange;
use crate::media::track::{Track, Version};
use crate::time::{MediaTime, Timescale, Utc};

/// The most bytes of an index that are read: far more than the segments of a spool file need.
pub(super) const INDEX_BYTES_MAX: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
pub(super) enum Line {
    Track(TrackLine),
    Segment(SegmentLine),
}

/// A track of a period: what the segments of this index with its `id` are of.
#[derive(Serialize, Deserialize)]
pub(super) struct TrackLine {
    pub(super) id: u32,
    pub(super) period: u64,
    /// Ticks and timescale.
    pub(super) start: (i64, u32),
    pub(super) origin: (i64, u32),
    pub(super) name: String,
    /// When the broadcast began, in milliseconds since 1970.
    pub(super) started: u64,
    pub(super) target_s: u64,
    /// The initialization segment, in hexadecimal digits.
    pub(super) init: String,
    pub(super) version: u64,
    pub(super) frame_rate: Option<(u32, u32)>,
    /// Schemes of the event messages in its segments: URI and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) schemes: Vec<(String, String)>,
}

/// What was said beside the media.
#[derive(Serialize, Deserialize)]
pub(super) struct EventLine {
    pub(super) number: u64,
    /// After the broadcast's start: ticks and timescale.
    pub(super) time: (i64, u32),
    pub(super) duration: Option<(i64, u32)>,
    /// URI and value.
    pub(super) scheme: (String, String),
    pub(super) id: u32,
    /// In hexadecimal digits.
    pub(super) data: String,
    pub(super) inband: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SegmentLine {
    pub(super) track: u32,
    pub(super) number: u64,
    pub(super) time: i64,
    pub(super) duration: i64,
    pub(super) sync: bool,
    pub(super) gap: bool,
    pub(super) hash: u64,
    pub(super) rate: (u64, u64),
    /// When it began, in milliseconds since 1970.
    pub(super) utc: u64,
    pub(super) closed: u64,
    /// When what it lacks ends, in ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lacks_until: Option<i64>,
    /// Spool file, and the bytes from one to another.
    pub(super) places: Vec<(u32, u64, u64)>,
    /// What was said since the segment before, of whatever track.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) events: Vec<EventLine>,
}

impl TrackLine {
    pub(super) fn of(id: u32, broadcast: &Broadcast, period: &LivePeriod, track: &LiveTrack) -> TrackLine {
        TrackLine {
            id,
            period: period.number,
            start: time(period.start),
            origin: time(period.origin),
            name: track.face.name.clone(),
            started: broadcast.started.0,
            target_s: broadcast.timing.target_s,
            init: hex(&track.face.init),
            version: track.face.version.0,
            frame_rate: track.face.frame_rate,
            schemes: track.face.events.iter().map(|scheme| (scheme.uri.clone(), scheme.value.clone())).collect(),
        }
    }

    pub(super) fn kept(self) -> Option<KeptTrack> {
        let Init { raw, face, .. } = Init::read(Bytes::from(unhex(&self.init)?), &self.name).ok()?;
        let events = self.schemes.into_iter().map(|(uri, value)| EventScheme { uri, value }).collect();
        let face = Track { version: Version(self.version), frame_rate: self.frame_rate, init: raw, events, ..face };
        let (start, origin) = (media_time(self.start)?, media_time(self.origin)?);
        let (started, target_s, face) = (Utc(self.started), self.target_s, Arc::new(face));
        Some(KeptTrack { period: self.period, start, origin, started, target_s, face })
    }
}

impl EventLine {
    /// `event`, if it has a place in `broadcast`.
    pub(super) fn of(event: &LiveEvent, broadcast: &Broadcast) -> Option<EventLine> {
        Some(EventLine {
            number: event.number,
            time: (broadcast.event_us(event)?, Timescale::MICRO.get()),
            duration: event.duration.map(time),
            scheme: (event.scheme.uri.clone(), event.scheme.value.clone()),
            id: event.id,
            data: hex(&event.data),
            inband: event.is_inband,
        })
    }

    pub(super) fn kept(self) -> Option<LiveEvent> {
        let (uri, value) = self.scheme;
        let (scheme, data) = (EventScheme { uri, value }, Bytes::from(unhex(&self.data)?));
        Some(LiveEvent {
            number: self.number,
            timeline: Timeline::Broadcast,
            time: media_time(self.time)?,
            duration: self.duration.and_then(media_time),
            cues: event::cues(&scheme, &data),
            scheme,
            id: self.id,
            data,
            is_inband: self.inband,
        })
    }
}

impl SegmentLine {
    pub(super) fn of(track: u32, segment: &LiveSegment, rate: (u64, u64), utc: u64) -> SegmentLine {
        SegmentLine {
            track,
            number: segment.number,
            time: segment.time,
            duration: segment.duration,
            sync: segment.starts_with_sync,
            gap: segment.is_gap,
            hash: segment.hash,
            rate,
            utc,
            closed: segment.closed.0,
            lacks_until: segment.lacks_until,
            places: segment.places.iter().map(|place| (place.file, place.range.start, place.range.end)).collect(),
            events: Vec::new(),
        }
    }
}

/// A track of a period, as an index has it.
#[derive(Debug)]
pub(super) struct KeptTrack {
    pub(super) period: u64,
    pub(super) start: MediaTime,
    pub(super) origin: MediaTime,
    pub(super) started: Utc,
    pub(super) target_s: u64,
    pub(super) face: Arc<Track>,
}

/// A segment, as an index has it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Which of the index's tracks it is of.
    pub(super) track: usize,
    pub(super) number: u64,
    pub(super) utc: Utc,
    pub(super) segment: Arc<LiveSegment>,
    pub(super) rate: (u64, u64),
}

/// The index of one file of the spool.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) tracks: Vec<KeptTrack>,
    pub(super) entries: Vec<Entry>,
    /// Each with when the broadcast began that it counts from.
    pub(super) events: Vec<(Utc, Arc<LiveEvent>)>,
}

impl Index {
    /// The index of file `number`. Blocks.
    pub(super) fn read(dir: &Path, number: u32) -> io::Result<Index> {
        let mut index = Index::default();
        let (mut ids, mut started) = (BTreeMap::new(), BTreeMap::new());
        for (_, line) in lines(&text(dir, number)?) {
            match line {
                Line::Track(track) => {
                    let id = track.id;
                    started.insert(id, Utc(track.started));
                    if let Some(track) = track.kept() {
                        ids.insert(id, index.tracks.len());
                        index.tracks.push(track);
                    }
                }
                Line::Segment(mut line) => {
                    let Some(&started) = started.get(&line.track) else { continue };
                    let events = std::mem::take(&mut line.events).into_iter().filter_map(EventLine::kept);
                    index.events.extend(events.map(|event| (started, Arc::new(event))));
                    let Some(&track) = ids.get(&line.track) else { continue };
                    index.entries.push(line.entry(track));
                }
            }
        }
        Ok(index)
    }

    /// Leaves out the segments of which something lies in a file of the spool before `first_file`: those files are gone. A file ends in the middle of
    /// segments, which are in the index of the next one.
    pub(super) fn leave_out_before(&mut self, first_file: u32) {
        self.entries.retain(|entry| entry.segment.places.iter().all(|place| place.file >= first_file));
    }

    pub(super) fn has_version(&self, name: &str, version: Version) -> Option<&KeptTrack> {
        self.tracks.iter().find(|track| track.face.version == version && track.face.name == name)
    }

    /// What it has; `None` if it has no segments.
    pub(super) fn span(&self) -> Option<Span> {
        let times = || self.entries.iter().map(|entry| entry.utc);
        let (first, last) = (times().min()?, times().max()?);
        let mut tracks: BTreeMap<usize, [i64; 2]> = BTreeMap::new();
        for entry in &self.entries {
            let time = entry.segment.time;
            let [first, last] = tracks.entry(entry.track).or_insert([time, time]);
            (*first, *last) = ((*first).min(time), (*last).max(time));
        }
        let tracks = tracks.into_iter().map(|(track, [first, last])| {
            let face = &self.tracks[track].face;
            TrackSpan { name: face.name.as_str().into(), version: face.version, first, last }
        });
        let places = self.entries.iter().flat_map(|entry| &entry.segment.places);
        let oldest_file = places.map(|place| place.file).min().unwrap_or(u32::MAX);
        Some(Span { first, last, oldest_file, tracks: tracks.collect() })
    }
}

impl SegmentLine {
    pub(super) fn entry(self, track: usize) -> Entry {
        let places = self.places.iter().map(|&(file, start, end)| SourceRange { file, range: start..end.max(start) });
        let places: Vec<SourceRange> = places.collect();
        let mut segment = LiveSegment::gap(self.number, self.time, self.duration.max(1), Utc(self.closed));
        segment.starts_with_sync = self.sync;
        segment.is_gap = self.gap || places.is_empty();
        segment.len = places.iter().map(SourceRange::len).sum();
        segment.hash = self.hash;
        segment.lacks_until = self.lacks_until;
        segment.places = places;
        Entry { track, number: self.number, utc: Utc(self.utc), segment: Arc::new(segment), rate: self.rate }
    }
}

/// What an index has: some hundred bytes for each file of the spool.
#[derive(Debug)]
pub(super) struct Span {
    /// When its first segment begins, and its last.
    pub(super) first: Utc,
    pub(super) last: Utc,
    /// The first file of the spool in which something of its segments lies.
    pub(super) oldest_file: u32,
    pub(super) tracks: Box<[TrackSpan]>,
}

/// What an index has of a track.
#[derive(Debug)]
pub(super) struct TrackSpan {
    pub(super) name: Box<str>,
    pub(super) version: Version,
    /// When its first segment begins, and its last, in ticks.
    pub(super) first: i64,
    pub(super) last: i64,
}

impl Span {
    pub(super) fn of(&self, name: &str, version: Version) -> Option<&TrackSpan> {
        self.tracks.iter().find(|track| track.version == version && *track.name == *name)
    }
}

pub(super) fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.index"))
}

/// The text of the index of file `number`. Blocks.
pub(super) fn text(dir: &Path, number: u32) -> io::Result<Vec<u8>> {
    let path = path(dir, number);
    if fs::metadata(&path)?.len() > INDEX_BYTES_MAX {
        return Err(io::Error::other(format!("{}: larger than an index is", path.display())));
    }
    fs::read(&path)
}

/// The lines of `text` up to the first that is not whole, each as it is written, too.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], Line)> {
    text.split_inclusive(|byte| *byte == b'\n')
        .map_while(|line| Some((line, serde_json::from_slice(line.strip_suffix(b"\n")?).ok()?)))
}

pub(super) fn push(text: &mut Vec<u8>, line: &Line) {
    text.extend_from_slice(&serde_json::to_vec(line).expect("numbers and strings"));
    text.push(b'\n');
}
