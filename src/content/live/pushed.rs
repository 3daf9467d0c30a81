//! What was pushed, understood: an initialization segment becomes the face of a track, a chunk its times.

use bytes::Bytes;

use crate::content::edits::{self, Edits};
use crate::content::live::receiver::{Event, RawChunk, Receiver};
use crate::content::live::retime;
use crate::content::vod::{label, pssh, roles};
use crate::formats::error::Malformed;
use crate::formats::isobmff::boxes::{BoxRef, Boxes, FourCc};
use crate::formats::isobmff::cenc;
use crate::formats::isobmff::emsg::{EventMessage, counts_from_segment, event_message, write_version_1};
use crate::formats::isobmff::event_track::EventTrack;
use crate::formats::isobmff::fragment::{MovieFragment, NewFragment, RunSample, SampleDefaults, TrackRun};
use crate::formats::isobmff::movie::{Movie, TrackExtends, find_moov, write_init};
use crate::formats::isobmff::prft::{Produced, produced};
use crate::formats::isobmff::sample_entry::{Media, SampleEntry};
use crate::formats::language;
use crate::formats::scte35;
use crate::media::live::first_u64;
use crate::media::sample::{Sample, SampleFlags, SampleTable};
use crate::media::track::{FORMAT_VERSION, Kind, Segment, Track, Version};
use crate::time::{MediaTime, Rounding, Timescale};

/// The most samples of a chunk: ten seconds of the fastest sound.
const CHUNK_SAMPLES_MAX: u32 = 1 << 14;
/// The most event messages of a chunk that are looked at.
const EVENTS_MAX: usize = 64;

/// The latest media time, in microseconds, 36,000 years: sums of a few of them can be reckoned with.
const TIME_MAX_US: i64 = 1 << 60;

/// Why a push, or a part of one, is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not what they should be.
    #[error("{0}")]
    Malformed(Malformed),
    /// It is something that is not served live.
    #[error("{0}")]
    Unsupported(String),
    /// Media came, and nothing said before what it is.
    #[error("no initialization segment was pushed for this track: push ftyp and moov first")]
    NoInit,
    /// It contradicts what the channel has.
    #[error("{0}")]
    Conflict(String),
    /// A chunk that lasts longer than a segment may.
    #[error("{0}")]
    TooLong(String),
    /// More than a limit allows.
    #[error("{0}")]
    TooMuch(String),
    /// This process does not take it any more.
    #[error("another process goes on with the channels: push again")]
    Elsewhere,
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Refusal {
        Refusal::Malformed(error)
    }
}

/// An initialization segment.
#[derive(Clone, Debug)]
pub struct Init {
    /// As it came.
    pub raw: Bytes,
    /// What it says of its track: no samples, no segments. The version is that of the initialization segment alone.
    pub face: Track,
    /// What it is, if it is no media but events.
    pub events: Option<EventTrack>,
    trex: TrackExtends,
    /// Ticks that decode times are made later by, for an edit list that begins with an empty edit: CMAF has none (ISO/IEC 23000-19
    /// §7.5.13), and the initialization segment that is served has none either.
    delay: i64,
}

/// A chunk.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// All of it, as it is served.
    pub bytes: Bytes,
    /// Whether these are the bytes that a spool has of it.
    pub is_spooled: bool,
    /// In ticks.
    pub decode_time: i64,
    /// When the next chunk is decoded, if nothing is missing.
    pub decode_end: i64,
    /// Earliest presentation time after edits, in ticks, not below 0.
    pub time: i64,
    /// When its last sample has been presented.
    pub end: i64,
    /// How much later its first sample is presented than decoded, before times below 0 are cut off.
    pub shift: i64,
    /// Duration of its first sample.
    pub sample_duration: u32,
    /// Whether decoding may begin with it.
    pub starts_with_sync: bool,
    /// Whether the encoder says that the segment which it begins is the last.
    pub is_last: bool,
    /// The event messages in it.
    pub events: Vec<EventMessage>,
    /// Whether it has no samples: tracks that have something to say seldom may say so.
    pub is_empty: bool,
    /// A key that some of its samples are under instead of the one that the initialization segment names.
    pub other_key: Option<[u8; 16]>,
    /// When it was produced, if it says so.
    pub produced: Option<Produced>,
}

impl Init {
    /// Reads `ftyp` and `moov` of the track that is called `name`.
    pub fn read(raw: Bytes, name: &str) -> Result<Init, Refusal> {
        let moov = find_moov(&raw)?.ok_or_else(|| Malformed::new("no moov", 0))?;
        if let Some(track) = EventTrack::read(moov)? {
            return Ok(Init::of_events(raw, name, track));
        }
        let movie = Movie::parse(moov)?;
        if let Some((_, error)) = movie.rejected.first() {
            return Err(Refusal::Unsupported(error.to_string()));
        }
        let [header] = &movie.tracks[..] else {
            let what = format!("{} tracks in one push: push each to a path of its own", movie.tracks.len());
            return Err(Refusal::Unsupported(what));
        };
        let kind = match (&header.entry.media, &header.handler.0, &header.entry.format.0) {
            (Media::Video(_), b"vide", _) => Kind::Video,
            (Media::Audio(_), _, _) => Kind::Audio,
            (Media::Text, _, b"wvtt" | b"stpp") => Kind::Text,
            _ => {
                let what = format!("a {} track of {} is not served", header.handler, header.entry.format);
                return Err(Refusal::Unsupported(what));
            }
        };
        let Edits { delay, media_time, .. } =
            edits::read(&header.edits, movie.timescale, header.timescale, movie.is_fragmented, &mut Vec::new());
        let init = Bytes::from(write_init(moov, header.id, media_time)?);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&FORMAT_VERSION.to_be_bytes());
        hasher.update(&init);
        let face = Track {
            version: Version(first_u64(hasher.finalize().as_bytes())),
            id: header.id,
            language: header.extended_language.clone().or_else(|| language::bcp47(header.language)),
            label: label(&header.name),
            roles: roles(&header.kinds),
            is_enabled: header.is_enabled,
            media_time,
            init,
            pssh: movie.pssh.iter().cloned().filter_map(pssh).collect(),
            ..Track::new(name, kind, header.timescale, header.entry.clone())
        };
        Ok(Init { raw, face, events: None, trex: header.trex, delay })
    }

    /// That of a track of events, which nobody is offered.
    fn of_events(raw: Bytes, name: &str, track: EventTrack) -> Init {
        let entry = SampleEntry {
            format: FourCc(*b"evte"),
            codecs: "evte".to_owned(),
            supplemental_codecs: None,
            media: Media::Text,
            protection: None,
        };
        let face = Track { id: track.id, ..Track::new(name, Kind::Text, track.timescale, entry) };
        let trex = track.trex;
        Init { raw, face, events: Some(track), trex, delay: 0 }
    }

    /// The same track in a stretch that `named` names, the second since 1970 at which it began, or its cadence: with the version of that.
    pub fn face_from(&self, named: u64) -> Track {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.face.version.0.to_be_bytes());
        hasher.update(&named.to_be_bytes());
        Track { version: Version(first_u64(hasher.finalize().as_bytes())), ..self.face.clone() }
    }

    /// `duration` of its timescale in milliseconds, to the nearest.
    pub fn ms(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.face.timescale).to(Timescale::MILLI, Rounding::Nearest)
    }

    /// `duration` of its timescale in milliseconds, rounded up.
    pub fn ms_up(&self, ticks: i64) -> i64 {
        MediaTime::new(ticks, self.face.timescale).to(Timescale::MILLI, Rounding::Up)
    }

    /// Whether the bytes of its chunks are served as they came.
    pub fn is_verbatim(&self) -> bool {
        self.delay == 0
    }

    /// `raw` as it is served: with the times that it has after the edit.
    pub fn retimed(&self, raw: RawChunk) -> Result<RawChunk, Refusal> {
        Ok(retime::later(raw, self.delay)?)
    }

    /// `raw`, which is decoded within `slack` of `expected`, in ticks after the edit; with the whole of its time, if 32 bits of that began anew.
    pub fn whole(&self, raw: RawChunk, expected: i64, slack: i64) -> Result<RawChunk, Refusal> {
        Ok(retime::whole(raw, expected.saturating_sub(self.delay), slack)?)
    }

    /// The samples of `raw` and their bytes, if nothing but a plain run of them is in it.
    pub fn plain_run<'a>(&self, raw: &'a RawChunk) -> Option<(NewFragment, &'a [u8])> {
        let moof = one_box(&raw.bytes[raw.moof.clone()], raw.moof.start as u64).ok()?;
        let moof = MovieFragment::parse(moof).ok()?;
        let [traf] = &moof.trafs[..] else { return None };
        let [run] = &traf.runs[..] else { return None };
        let protection = &traf.protection;
        let is_plain = protection.senc.is_none()
            && protection.saiz.is_none()
            && protection.sgpd.is_none()
            && protection.sbgp.is_none()
            && protection.other_groups.is_empty()
            && moof.pssh.is_empty();
        let samples: Vec<RunSample> = run.samples(traf.defaults(&self.trex)).collect();
        let size: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
        let mdat = mdat_of(raw).ok().filter(|mdat| mdat.offset == raw.moof.end as u64)?;
        let begins_with_mdat = run.data_offset == i32::try_from(mdat.payload_offset() - raw.moof.start as u64).ok();
        let fragment = NewFragment {
            sequence_number: moof.sequence_number,
            track_id: traf.track_id,
            description_index: traf.description_index.unwrap_or(self.trex.description_index),
            base_media_decode_time: traf.base_media_decode_time?,
            samples,
            ..NewFragment::default()
        };
        (is_plain && begins_with_mdat && size == mdat.payload().len() as u64).then(|| (fragment, mdat.payload()))
    }

    /// Reads a chunk of the track, as it came.
    pub fn chunk(&self, raw: RawChunk) -> Result<Chunk, Refusal> {
        match self.is_verbatim() {
            true => self.served(raw),
            false => Ok(Chunk { is_spooled: false, ..self.served(self.retimed(raw)?)? }),
        }
    }

    /// Reads a chunk of the track, as it is served.
    pub fn served(&self, raw: RawChunk) -> Result<Chunk, Refusal> {
        let moof_box = one_box(&raw.bytes[raw.moof.clone()], raw.moof.start as u64)?;
        let moof = MovieFragment::parse(moof_box)?;
        let at = raw.moof.start as u64;
        let [traf] = &moof.trafs[..] else {
            return Err(Malformed::new(format!("{} trafs, where a chunk has one track", moof.trafs.len()), at)
                .within("moof")
                .into());
        };
        let malformed = |what: String| Refusal::Malformed(Malformed::new(what, at).within("moof/traf"));
        if traf.track_id != self.face.id {
            return Err(malformed(format!("track_ID {}, the moov has {}", traf.track_id, self.face.id)));
        }
        let base =
            traf.base_media_decode_time.ok_or_else(|| malformed("no tfdt, so nobody knows when it is".into()))?;
        if traf.base_data_offset.is_some() {
            return Err(malformed(
                "an explicit base_data_offset, which counts bytes of a file that is not there".into(),
            ));
        }
        let defaults = traf.defaults(&self.trex);
        let samples: u32 = traf.runs.iter().map(|run| run.sample_count).fold(0, u32::saturating_add);
        let may_be_empty = self.events.is_some() || self.face.kind == Kind::Text;
        if (samples == 0 && !may_be_empty) || samples > CHUNK_SAMPLES_MAX {
            return Err(malformed(format!("{samples} samples, a chunk has 1 to {CHUNK_SAMPLES_MAX}")));
        }
        let media = mdat_of(&raw)?;
        let (mut end, first) = (at, media.payload_offset());
        let beyond = first + media.payload().len() as u64;
        for run in &traf.runs {
            // Where the one before ends, if it does not say (ISO/IEC 14496-12 §8.8.8).
            let begin = run.data_offset.map_or(end, |offset| at.saturating_add_signed(offset.into()));
            end = begin.saturating_add(run.size(defaults));
            if end > begin && (begin < first || end > beyond) {
                let from_moof = |offset: u64| i128::from(offset) - i128::from(at);
                let [begin, end, first, beyond] = [begin, end, first, beyond].map(from_moof);
                return Err(malformed(format!(
                    "samples in the bytes from {begin} to {end} after the moof, where its mdat has those from {first} to {beyond}"
                )));
            }
        }
        let decode_time = base as i64;
        let mut decode_end = decode_time;
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let mut head = None;
        for sample in traf.runs.iter().flat_map(|run| run.samples(defaults)) {
            head.get_or_insert((sample.duration, SampleFlags(sample.flags).is_sync()));
            let presented =
                decode_end.saturating_add(sample.composition_offset.into()).saturating_sub(self.face.media_time);
            first = first.min(presented);
            last = last.max(presented.saturating_add(sample.duration.into()));
            decode_end += i64::from(sample.duration);
        }
        let ends_us = MediaTime::new(decode_end.max(last), self.face.timescale).to(Timescale::MICRO, Rounding::Up);
        if ends_us > TIME_MAX_US {
            let years = TIME_MAX_US / 1_000_000 / (365 * 24 * 3600);
            return Err(malformed(format!("it ends {decode_end} ticks after 0: that is more than {years} years")));
        }
        let (sample_duration, is_sync) = head.unwrap_or((0, false));
        if samples == 0 {
            (first, last) = (decode_time, decode_time);
        }
        let time = first.max(0);
        if last <= time && !may_be_empty {
            return Err(malformed("it lasts no time".into()));
        }
        let other_key = self.face.entry.protection.as_ref().and_then(|default| {
            let kids = cenc::sample_kids(&traf.protection, default, samples);
            kids.into_iter().find_map(|(_, kid)| kid.filter(|kid| *kid != default.default_kid))
        });
        let before = || Boxes::new(&raw.bytes[..raw.moof.start], 0).map_while(Result::ok);
        let prft = before().find(|b| b.kind.0 == *b"prft").filter(|_| self.is_verbatim());
        let produced = prft.and_then(|prft| produced(prft).ok());
        let messages = before().filter(|b| b.kind.0 == *b"emsg").take(EVENTS_MAX);
        let mut events: Vec<EventMessage> = messages.filter_map(|emsg| event_message(emsg).ok()).collect();
        if let Some(track) = &self.events {
            events.extend(self.in_samples(track, &raw, &traf.runs, defaults, decode_time)?);
            events.truncate(EVENTS_MAX);
        }
        Ok(Chunk {
            produced,
            bytes: raw.bytes,
            is_spooled: true,
            decode_time,
            decode_end,
            time,
            end: last,
            shift: first.saturating_sub(decode_time),
            sample_duration,
            starts_with_sync: is_sync || self.face.kind != Kind::Video,
            is_last: raw.is_last,
            events,
            is_empty: samples == 0,
            other_key,
        })
    }

    /// The events in the samples of `runs` in `raw`, which begin at `decode_time`: with their times on the timeline.
    fn in_samples(
        &self,
        track: &EventTrack,
        raw: &RawChunk,
        runs: &[TrackRun<'_>],
        defaults: SampleDefaults,
        decode_time: i64,
    ) -> Result<Vec<EventMessage>, Refusal> {
        let (mut found, mut decoded, mut at) = (Vec::new(), decode_time, raw.moof.end as u64 + 8);
        for run in runs {
            at = run.data_offset.map_or(at, |offset| (raw.moof.start as u64).saturating_add_signed(offset.into()));
            for sample in run.samples(defaults) {
                let end = at + u64::from(sample.size);
                let place = usize::try_from(at).ok().zip(usize::try_from(end).ok());
                let bytes = place.and_then(|(at, end)| raw.bytes.get(at..end));
                let bytes = bytes.ok_or_else(|| {
                    Malformed::new("samples that lie behind its end", raw.moof.start as u64).within("moof/traf/trun")
                })?;
                let presented = decoded.saturating_add(sample.composition_offset.into());
                let own = track.events(bytes).ok_or_else(|| {
                    let form = track.uri.as_deref().unwrap_or("a form that is not said");
                    Refusal::Unsupported(format!(
                        "samples of {form} are not read: push emib or emsg boxes, or sections of SCTE 35 as {}",
                        scte35::SCHEME
                    ))
                })?;
                let begins = MediaTime::new(presented, track.timescale);
                found.extend(own.into_iter().map(|event| event.counted_from(begins)));
                if found.len() >= EVENTS_MAX {
                    return Ok(found);
                }
                (decoded, at) = (decoded.saturating_add(sample.duration.into()), end);
            }
        }
        Ok(found)
    }
}

impl Chunk {
    /// Where the encoder's segment begins with it, by what precedes its `moof`.
    pub fn is_said_to_begin(&self) -> bool {
        let styp = before_moof(&self.bytes).find(|own| own.kind.0 == *b"styp");
        // ISO/IEC 23000-19 §7.3.4: chunks have a styp, too.
        let begins = |brand: &[u8; 4]| matches!(brand, b"msdh" | b"msix" | b"cmfs");
        styp.is_some_and(|styp| {
            let (brands, _) = styp.payload().as_chunks();
            brands.iter().enumerate().any(|(index, brand)| index != 1 && begins(brand))
        })
    }

    /// The same, whose messages count from where the media does: those of version 0 count from where the segment begins that carries them, which
    /// is at `begins` of the encoder's, and may be elsewhere of ours.
    pub fn counting_from_media(self, begins: MediaTime) -> Chunk {
        let mut head = Vec::new();
        let mut at = 0;
        for own in before_moof(&self.bytes) {
            let is_relative = own.kind.0 == *b"emsg" && counts_from_segment(own);
            let segment = |timescale| begins.to(timescale, Rounding::Nearest);
            if !is_relative || write_version_1(&mut head, own, segment).is_err() {
                head.extend_from_slice(own.bytes());
            }
            at += own.bytes().len();
        }
        let bytes = Bytes::from([&head, &self.bytes[at..]].concat());
        let events = self.events.into_iter().map(|event| event.counted_from(begins)).collect();
        Chunk { bytes, events, ..self }
    }
}

/// What precedes the `moof` of a chunk.
fn before_moof(chunk: &[u8]) -> impl Iterator<Item = BoxRef<'_>> {
    Boxes::new(chunk, 0).map_while(Result::ok).take_while(|own| own.kind.0 != *b"moof")
}

/// The track that `face` is of, with the samples of `segment`, whole chunks as they are served, and their bytes one after another.
pub fn segment_of(face: &Track, segment: &[u8]) -> Result<(Track, Vec<u8>), Refusal> {
    let init = Init::read(face.init.clone(), &face.name)?;
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(segment, &mut events)?;
    let (mut samples, mut data) = (SampleTable::default(), Vec::with_capacity(segment.len()));
    for event in events {
        let Event::Chunk(raw) = event else { continue };
        // It was taken, so it is understood.
        let chunk = init.chunk(raw.clone())?;
        let moof = MovieFragment::parse(one_box(&raw.bytes[raw.moof.clone()], raw.moof.start as u64)?)?;
        let Some(traf) = moof.trafs.first() else { continue };
        let defaults = traf.defaults(&init.trex);
        let (mut time, mut at) = (chunk.decode_time, raw.moof.end as u64 + 8);
        for run in &traf.runs {
            at = run.data_offset.map_or(at, |offset| (raw.moof.start as u64).saturating_add_signed(offset.into()));
            for RunSample { duration, size, flags, composition_offset } in run.samples(defaults) {
                let end = at.saturating_add(size.into());
                let bytes = usize::try_from(at).ok().zip(usize::try_from(end).ok());
                let bytes = bytes.and_then(|(from, until)| raw.bytes.get(from..until));
                let bytes = bytes.ok_or_else(|| Malformed::new("a sample outside of its chunk", at))?;
                let flags = SampleFlags(flags);
                samples.push(
                    Sample { decode_time: time, duration, composition_offset, size, flags },
                    0,
                    data.len() as u64,
                );
                data.extend_from_slice(bytes);
                (time, at) = (time + i64::from(duration), end);
            }
        }
    }
    let segments = vec![Segment { first_sample: 0, time: 0, duration: samples.end().max(1), starts_with_sync: true }];
    Ok((Track { samples, segments, ..face.clone() }, data))
}

/// The `mdat` of a chunk: the last of its boxes.
fn mdat_of(raw: &RawChunk) -> Result<BoxRef<'_>, Malformed> {
    let mut behind = Boxes::new(&raw.bytes[raw.moof.end..], raw.moof.end as u64).map_while(Result::ok);
    behind.find(|own| own.kind.0 == *b"mdat").ok_or_else(|| Malformed::new("no mdat", raw.moof.end as u64))
}

fn one_box(bytes: &[u8], offset: u64) -> Result<BoxRef<'_>, Malformed> {
    Boxes::new(bytes, offset).next().unwrap_or_else(|| Err(Malformed::new("nothing", offset)))
}
