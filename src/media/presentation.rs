//! What a viewer plays: an ordered list of periods, each with its switching sets.

use crate::media::sample::SourceRange;
use crate::media::thumbnails::Thumbnails;
use crate::media::track::{Kind, Role, Track, Version};
use crate::time::{MediaTime, Rounding, Timescale};

/// A presentation as it stands: all of it on demand, a window of it while live.
#[derive(Clone, Debug)]
pub struct Presentation {
    /// In order; at least one.
    pub periods: Vec<Period>,
    /// Small pictures of it, for who looks for a place.
    pub thumbnails: Vec<Thumbnails>,
    /// What was left out and what is odd, in sentences for people.
    pub warnings: Vec<String>,
}

/// The target duration of `sets` in seconds, at least 1: the longest segment of their video and audio (of their text, if there is
/// nothing else), rounded to the nearest (rfc8216bis §4.4.3.1). Video that is not aligned has no say: where a target duration
/// matters it is not listed.
pub fn target_duration_s<'a>(sets: impl Iterator<Item = &'a SwitchingSet> + Clone) -> u64 {
    let mut timed = sets.clone().filter(|set| set.kind != Kind::Text && set.aligned).peekable();
    let longest = match timed.peek() {
        Some(_) => timed.flat_map(|set| &set.tracks).map(Track::longest_segment).max(),
        None => sets.flat_map(|set| &set.tracks).map(Track::longest_segment).max(),
    };
    longest.map_or(1, rounded_s)
}

/// Seconds to the nearest, at least 1. Manifests write microseconds, and a difference of two rounded positions may be the
/// duration rounded up: it is that which must not round above.
pub fn rounded_s(duration: MediaTime) -> u64 {
    let timescale = u128::from(duration.timescale.get());
    let micros = (u128::try_from(duration.ticks).unwrap_or(0) * 1_000_000).div_ceil(timescale);
    u64::try_from((micros + 500_000) / 1_000_000).unwrap_or(u64::MAX).max(1)
}

/// A stretch on one timeline: a clip, or live between discontinuities.
#[derive(Clone, Debug)]
pub struct Period {
    /// Unique in the presentation, and stable.
    pub id: String,
    /// From the presentation's start.
    pub start: MediaTime,
    /// Until its last video or audio ends.
    pub duration: MediaTime,
    /// The media time of all its tracks at `start` (DASH presentationTimeOffset).
    pub origin: MediaTime,
    /// In a stable order: video, audio, text; the first video set is the main one, whose boundaries the others follow.
    pub sets: Vec<SwitchingSet>,
}

/// Tracks a player may switch between at any segment boundary: of equal kind, sample-entry type, language, roles, channels,
/// sample rate, transfer characteristics, protection scheme and timescale, with equal boundaries.
#[derive(Clone, Debug)]
pub struct SwitchingSet {
    /// What all its tracks carry.
    pub kind: Kind,
    /// BCP 47 tag of all its tracks.
    pub language: Option<String>,
    /// Roles of all its tracks.
    pub roles: Vec<Role>,
    /// Whether its boundaries are those of the main video set (always so for audio and text). A video set that is not
    /// aligned cannot be switched to, so HLS leaves it out.
    pub aligned: bool,
    /// By falling size of picture and bit rate; at least one.
    pub tracks: Vec<Track>,
}

impl Presentation {
    /// The first track called `name`, with its period.
    pub fn track(&self, name: &str) -> Option<(&Period, &Track)> {
        self.periods
            .iter()
            .find_map(|period| period.tracks().find(|track| track.name == name).map(|track| (period, track)))
    }

    /// The track of this name and version, with its period. Clips of one file share the name.
    pub fn track_version(&self, name: &str, version: Version) -> Option<(&Period, &Track)> {
        let mut tracks = self.periods.iter().flat_map(|period| period.tracks().map(move |track| (period, track)));
        tracks.find(|(_, track)| track.version == version && track.name == name)
    }

    /// The thumbnails of this name and version.
    pub fn thumbnails(&self, name: &str, version: Version) -> Option<&Thumbnails> {
        self.thumbnails.iter().find(|thumbnails| thumbnails.version == version && thumbnails.name == name)
    }

    /// Its length in milliseconds, rounded up.
    pub fn duration_ms(&self) -> u64 {
        u64::try_from(self.duration().to(Timescale::MILLI, Rounding::Up)).unwrap_or(0)
    }

    /// Its target duration in seconds: that of all its sets.
    pub fn target_duration_s(&self) -> u64 {
        target_duration_s(self.periods.iter().flat_map(|period| &period.sets))
    }

    /// All tracks of all periods.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.periods.iter().flat_map(Period::tracks)
    }

    /// Length of the whole.
    pub fn duration(&self) -> MediaTime {
        let last = self.periods.last().expect("a presentation has at least one period");
        if last.start == MediaTime::ZERO { last.duration } else { last.start.plus(last.duration) }
    }

    /// Bytes of memory it keeps.
    pub fn weight(&self) -> usize {
        let sheets = |thumbnails: &Thumbnails| thumbnails.sheets.capacity() * size_of::<SourceRange>();
        self.tracks().map(Track::weight).chain(self.thumbnails.iter().map(sheets)).sum()
    }
}

impl Period {
    /// All tracks of all sets.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.sets.iter().flat_map(|set| &set.tracks)
    }
}
