//! One encoding on one timescale: what it is, its samples, how they came, and the segments it is cut into.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::formats::captions::Service;
use crate::formats::isobmff::emsg::EventScheme;
use crate::formats::isobmff::sample_entry::{Media, SampleEntry};
use crate::media::sample::{SampleTable, SourceRange};
use crate::time::{MediaTime, Timescale};

/// What a track carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles and captions.
    Text,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Video => "video",
            Kind::Audio => "audio",
            Kind::Text => "text",
        })
    }
}

/// What a track is for (urn:mpeg:dash:role:2011, ISO/IEC 23009-1 §5.8.5.5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// The one to play if nothing else is asked for.
    Main,
    /// Another take of the main content.
    Alternate,
    /// Somebody talks about it.
    Commentary,
    /// Spoken description of the pictures.
    Description,
    /// A translation of the main audio.
    Dub,
    /// Transcribed dialogue and sounds, for who cannot hear.
    Caption,
    /// Translated or transcribed dialogue.
    Subtitle,
    /// Text to show though no subtitles were asked for.
    ForcedSubtitle,
}

impl Role {
    /// Its value in urn:mpeg:dash:role:2011.
    pub fn name(self) -> &'static str {
        match self {
            Role::Main => "main",
            Role::Alternate => "alternate",
            Role::Commentary => "commentary",
            Role::Description => "description",
            Role::Dub => "dub",
            Role::Caption => "caption",
            Role::Subtitle => "subtitle",
            Role::ForcedSubtitle => "forced-subtitle",
        }
    }
}

/// Which sound plays if nothing else is asked for: the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Precedence {
    /// What is said to be the main one.
    Main,
    /// What is for nothing else, and enabled.
    Enabled,
    /// What is for nothing else.
    Plain,
    /// What stands in for the main one.
    Substitute,
    /// What is heard or read beside it.
    Aside,
}

/// Counts up whenever the same source is cut, packaged or named otherwise than before, so that caches never mix the two.
pub const FORMAT_VERSION: u32 = 2;

/// Sixteen hexadecimal digits that name everything that shapes the bytes of a track.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// That of the same, where what is said of it depends on how long the presentation lasts.
    pub fn lasting(self, duration_ms: u64) -> Version {
        let hash = blake3::hash(&[self.0.to_be_bytes(), duration_ms.to_be_bytes()].concat());
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Version(u64::from_be_bytes(*first))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Version {
    type Err = ();

    /// Exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Version, ()> {
        let canonical = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if canonical { u64::from_str_radix(text, 16).map(Version).map_err(|_| ()) } else { Err(()) }
    }
}

/// A movie fragment of the source, as far as one track is concerned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// The first of its samples; it has those up to the first of the next fragment.
    pub first_sample: u32,
    /// mfhd sequence_number (ISO/IEC 14496-12 §8.8.5).
    pub sequence_number: u32,
    /// sample_description_index of its samples.
    pub description_index: u32,
    /// If the fragment may be sent as it is: everything from its first box (`prft`, `emsg` or `moof`) to the end of its
    /// `mdat`.
    pub intact: Option<SourceRange>,
    /// Its `moof`, for what is read from it when a fragment is rebuilt; `None` of samples that the `moov` lists.
    pub moof: Option<SourceRange>,
    /// Which of the `traf` boxes of that `moof` has its samples, from 0.
    pub traf: u32,
    /// What a new fragment of all its samples would hold for their protection, in bytes.
    pub protection_bytes: u32,
    /// How many event messages come before its `moof` that count from where its segment begins (version 0).
    pub relative_events: u32,
}

/// A segment: addressable, named by `time`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The first of its samples; it has those up to the first of the next segment.
    pub first_sample: u32,
    /// Earliest presentation time after edits, in ticks, not below 0: its name, and DASH `S@t`.
    pub time: i64,
    /// Ticks until the next segment's time, or until the end of the track.
    pub duration: i64,
    /// Whether its first sample is a sync sample (SAP type 1 or 2).
    pub starts_with_sync: bool,
}

/// A `pssh` box (ISO/IEC 23001-7 §8.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pssh {
    /// SystemID.
    pub system_id: [u8; 16],
    /// The whole box.
    pub bytes: Bytes,
}

/// From a sample on, samples are encrypted under this key, or in the clear among those that are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyChange {
    /// The first sample concerned.
    pub first_sample: u32,
    /// KID of the samples, from `seig` or `tenc`.
    pub kid: [u8; 16],
    /// `pssh` boxes that came with the fragments (in `moof`) for it; those of the `moov` are `Track::pssh`.
    pub pssh: Arc<[Pssh]>,
}

/// Captions in the pictures of a track.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caption {
    /// Which of them.
    pub service: Service,
    /// BCP 47 tag, if somebody says it: the pictures do not.
    pub language: Option<String>,
}

impl Caption {
    /// Those that any of `tracks` has, by service.
    pub fn of<'a>(tracks: impl Iterator<Item = &'a Track>) -> Vec<Caption> {
        let mut all: Vec<Caption> = Vec::new();
        for caption in tracks.flat_map(|track| track.captions.iter().flatten()) {
            match all.iter_mut().find(|other| other.service == caption.service) {
                Some(known) if known.language.is_none() => known.language.clone_from(&caption.language),
                Some(_) => {}
                None => all.push(caption.clone()),
            }
        }
        all.sort_by_key(|caption| caption.service);
        all
    }
}

/// One encoding.
#[derive(Clone, Debug)]
pub struct Track {
    /// The name in URLs: `[A-Za-z0-9_-]+`, unique in its presentation.
    pub name: String,
    /// What the name alone does not say: see [`Version`].
    pub version: Version,
    /// track_ID of the source, kept.
    pub id: u32,
    /// What it carries.
    pub kind: Kind,
    /// Ticks a second of all its times.
    pub timescale: Timescale,
    /// Codec and its parameters.
    pub entry: SampleEntry,
    /// BCP 47 tag, shortest form; `None` if undetermined.
    pub language: Option<String>,
    /// A name for people, without quotes and control characters.
    pub label: Option<String>,
    /// What it is for, sorted.
    pub roles: Vec<Role>,
    /// track_enabled of the source (ISO/IEC 14496-12 §8.3.2).
    pub is_enabled: bool,
    /// Its place in the source: the files in their order, in each the tracks as it has them. It says which plays first, and shapes no byte of media.
    pub place: u32,
    /// The track of the same text as IMSC, which says more of its look: DASH lists that one in its place, HLS both.
    pub as_imsc: Option<String>,
    /// Captions in its pictures, by service; `None` if it is not known whether there are any.
    pub captions: Option<Vec<Caption>>,
    /// Frames a second as a reduced fraction, of video.
    pub frame_rate: Option<(u32, u32)>,
    /// Ticks that the edit list takes off decode plus composition time (its `media_time`); what remains is presentation time.
    pub media_time: i64,
    /// The finished initialization segment (`ftyp`, `moov`).
    pub init: Bytes,
    /// `pssh` boxes of the `moov`.
    pub pssh: Vec<Pssh>,
    /// Keys and what tells of them, where either changes, from the first sample on; empty if the default key holds for the
    /// whole track.
    pub keys: Vec<KeyChange>,
    /// Schemes of the event messages that come with its fragments, sorted.
    pub events: Vec<EventScheme>,
    /// All samples, an initial delay added to their decode times.
    pub samples: SampleTable,
    /// The fragments they came in, by first sample.
    pub fragments: Vec<Fragment>,
    /// What it is cut into, by time; never empty.
    pub segments: Vec<Segment>,
    /// The first sample after those of the last segment, where a clip ends before the samples do.
    pub clip_end: Option<u32>,
}

impl Track {
    /// A track that is said nothing of but what it is.
    pub fn new(name: impl Into<String>, kind: Kind, timescale: Timescale, entry: SampleEntry) -> Track {
        Track {
            name: name.into(),
            version: Version(0),
            id: 1,
            kind,
            timescale,
            entry,
            language: None,
            label: None,
            roles: Vec::new(),
            is_enabled: true,
            place: 0,
            as_imsc: None,
            captions: None,
            frame_rate: None,
            media_time: 0,
            init: Bytes::new(),
            pssh: Vec::new(),
            keys: Vec::new(),
            events: Vec::new(),
            samples: SampleTable::default(),
            fragments: Vec::new(),
            segments: Vec::new(),
            clip_end: None,
        }
    }

    /// How soon it is what plays if nothing else is asked for; of equal ones that which comes first in the source.
    pub fn precedence(&self) -> Precedence {
        let has = |roles: &[Role]| roles.iter().any(|role| self.roles.contains(role));
        match () {
            _ if has(&[Role::Commentary, Role::Description, Role::ForcedSubtitle]) => Precedence::Aside,
            _ if has(&[Role::Main]) => Precedence::Main,
            _ if has(&[Role::Dub, Role::Alternate]) => Precedence::Substitute,
            _ if self.is_enabled => Precedence::Enabled,
            _ => Precedence::Plain,
        }
    }

    /// Samples of segment `index`.
    pub fn segment_samples(&self, index: usize) -> Range<u32> {
        let end = self.segments.get(index + 1).map_or(self.played_end(), |next| next.first_sample);
        self.segments[index].first_sample..end
    }

    /// The sample after the last that a segment has.
    pub fn played_end(&self) -> u32 {
        self.clip_end.unwrap_or(self.samples.len())
    }

    /// Forgets the samples before and after its segments. Fragments that a `moof` describes stay whole, since what is read from
    /// it counts all of theirs.
    pub fn forget_unplayed(&mut self) {
        let (Some(segment), last) = (self.segments.first(), self.played_end()) else { return };
        let first = segment.first_sample;
        let from = self.fragments.partition_point(|fragment| fragment.first_sample <= first).saturating_sub(1);
        let to = self.fragments.partition_point(|fragment| fragment.first_sample < last);
        let is_whole = |index: usize| self.fragments.get(index).is_some_and(|fragment| fragment.moof.is_some());
        let start = if is_whole(from) { self.fragments[from].first_sample } else { first };
        let end = if is_whole(to - 1) { self.fragment_samples(to - 1).end } else { last };
        if start == 0 && end == self.samples.len() {
            return;
        }
        self.samples = self.samples.slice(start..end, |_, sample| sample);
        self.fragments = self.fragments[from..to].to_vec();
        for fragment in &mut self.fragments {
            fragment.first_sample = fragment.first_sample.saturating_sub(start);
        }
        for segment in &mut self.segments {
            segment.first_sample -= start;
        }
        let gone = self.keys.partition_point(|key| key.first_sample <= start).saturating_sub(1);
        self.keys.drain(..gone);
        for key in &mut self.keys {
            key.first_sample = key.first_sample.saturating_sub(start);
        }
        self.keys.retain(|key| key.first_sample < end - start);
        self.clip_end = (last < end).then(|| last - start);
    }

    /// Samples of fragment `index`.
    pub fn fragment_samples(&self, index: usize) -> Range<u32> {
        let end = self.fragments.get(index + 1).map_or(self.samples.len(), |next| next.first_sample);
        self.fragments[index].first_sample..end
    }

    /// Index of the segment whose name is `time`.
    pub fn segment_at(&self, time: i64) -> Option<usize> {
        self.segments.binary_search_by_key(&time, |segment| segment.time).ok()
    }

    /// When its first segment is presented, in ticks.
    pub fn start(&self) -> i64 {
        self.segments.first().map_or(0, |segment| segment.time)
    }

    /// When its last segment ends, in ticks.
    pub fn end(&self) -> i64 {
        self.segments.last().map_or(0, |segment| segment.time + segment.duration)
    }

    /// Duration of its longest segment.
    pub fn longest_segment(&self) -> MediaTime {
        self.time(self.segments.iter().map(|segment| segment.duration).max().unwrap_or(0))
    }

    /// `ticks` of this track as a time.
    pub fn time(&self, ticks: i64) -> MediaTime {
        MediaTime::new(ticks, self.timescale)
    }

    /// Whether the samples are encrypted.
    pub fn is_protected(&self) -> bool {
        self.entry.protection.is_some()
    }

    /// When, after its first sample, another key begins to hold: presentation times after edits, in ticks.
    pub fn rotations(&self) -> impl Iterator<Item = i64> {
        self.keys.windows(2).filter(|pair| pair[0].kid != pair[1].kid).map(|pair| {
            let sample = self.samples.get(pair[1].first_sample);
            sample.decode_time.saturating_add(sample.composition_offset.into()).saturating_sub(self.media_time)
        })
    }

    /// Channels and sample rate, of audio.
    pub fn audio(&self) -> Option<&crate::formats::isobmff::sample_entry::Audio> {
        match &self.entry.media {
            Media::Audio(audio) => Some(audio),
            _ => None,
        }
    }

    /// Size and colour, of video.
    pub fn video(&self) -> Option<&crate::formats::isobmff::sample_entry::Video> {
        match &self.entry.media {
            Media::Video(video) => Some(video),
            _ => None,
        }
    }

    /// Code point of its transfer characteristics (ISO/IEC 23091-2 §8.2), of video that says them. Dolby Vision that has no base layer for
    /// others (profile 5, and 10 in a `dav1` entry) is PQ, which its coded pictures mostly do not say.
    pub fn transfer(&self) -> Option<u8> {
        const UNSPECIFIED: u8 = 2;
        const PQ: u8 = 16;
        let profile = self.entry.codecs.split('.').nth(1);
        let is_dolby_alone = match &self.entry.format.0 {
            b"dvh1" | b"dvhe" => profile == Some("05"),
            b"dav1" => profile == Some("10"),
            _ => false,
        };
        let said = self.video()?.colour.map(|colour| colour.transfer);
        if is_dolby_alone { said.filter(|&said| said != UNSPECIFIED).or(Some(PQ)) } else { said }
    }

    /// Bytes of memory that the track keeps.
    pub fn weight(&self) -> usize {
        let pssh = |list: &[Pssh]| list.iter().map(|pssh| size_of::<Pssh>() + pssh.bytes.len()).sum::<usize>();
        let shares = |index: usize| index > 0 && Arc::ptr_eq(&self.keys[index - 1].pssh, &self.keys[index].pssh);
        let of_keys = (0..self.keys.len()).filter(|&index| !shares(index)).map(|index| pssh(&self.keys[index].pssh));
        size_of::<Track>()
            + self.init.len()
            + pssh(&self.pssh)
            + of_keys.sum::<usize>()
            + self.samples.weight()
            + self.keys.capacity() * size_of::<KeyChange>()
            + self.fragments.capacity() * size_of::<Fragment>()
            + self.segments.capacity() * size_of::<Segment>()
    }
}
