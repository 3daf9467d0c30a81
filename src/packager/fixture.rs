//! Model values for tests, built in a line.

use crate::formats::captions::Service;
use crate::formats::cicp::Colour;
use crate::formats::image::Format;
use crate::formats::isobmff::boxes::FourCc;
use crate::formats::isobmff::groups::KeyGroups;
use crate::formats::isobmff::sample_entry::{Audio, ChannelLayout, Media, Protection, SampleEntry, Video};
use crate::media::presentation::{Period, Presentation, SwitchingSet};
use crate::media::sample::{Sample, SampleFlags, SourceRange};
use crate::media::thumbnails::Thumbnails;
use crate::media::track::{Caption, Fragment, KeyChange, Kind, Pssh, Role, Segment, Track, Version};
use crate::time::{MediaTime, Timescale};

pub(crate) struct Build(Track);

fn build(name: &str, kind: Kind, format: &[u8; 4], codecs: &str, media: Media, timescale: u32) -> Build {
    let entry = SampleEntry {
        format: FourCc(*format),
        codecs: codecs.into(),
        supplemental_codecs: None,
        media,
        protection: None,
    };
    let timescale = Timescale::new(timescale).expect("not zero");
    Build(Track {
        version: Version(0x0123_4567_89ab_cdef),
        frame_rate: (kind == Kind::Video).then_some((25, 1)),
        ..Track::new(name, kind, timescale, entry)
    })
}

/// 1280x720 at 25 frames a second, H.264, 12800 ticks a second; no segments yet.
pub(crate) fn video(name: &str) -> Build {
    let video = Video {
        width: 1280,
        height: 720,
        pixel_aspect: None,
        colour: None,
        bit_depth: Some(8),
        nal_length_bytes: Some(4),
    };
    let media = Media::Video(video);
    build(name, Kind::Video, b"avc1", "avc1.64001f", media, 12_800)
}

/// Stereo AAC at 48 kHz; no segments yet.
pub(crate) fn audio(name: &str) -> Build {
    let media = Media::Audio(Audio { channels: 2, sample_rate: 48_000, layout: ChannelLayout::Cicp(2) });
    build(name, Kind::Audio, b"mp4a", "mp4a.40.2", media, 48_000)
}

/// Three sheets of six in two rows, one every five seconds.
pub(crate) fn thumbnails(name: &str) -> Thumbnails {
    let sheet = |file| SourceRange { file, range: 0..20_000 };
    Thumbnails {
        name: name.into(),
        version: Version(0x0123_4567_89ab_cdef),
        format: Format::Jpeg,
        width: 480,
        height: 180,
        columns: 3,
        rows: 2,
        interval_ms: 5000,
        sheets: (1..4).map(sheet).collect(),
    }
}

/// `wvtt` or `stpp` at 1000 ticks a second; no segments yet.
pub(crate) fn text(name: &str, format: &[u8; 4]) -> Build {
    let codecs = if format == b"stpp" { "stpp.ttml.im1t" } else { "wvtt" };
    build(name, Kind::Text, format, codecs, Media::Text, 1000)
}

impl Build {
    pub(crate) fn timescale(mut self, ticks: u32) -> Build {
        self.0.timescale = Timescale::new(ticks).expect("not zero");
        self
    }

    /// Appends segments of one sample each: (bytes, ticks).
    pub(crate) fn cut(self, segments: &[(u32, u32)]) -> Build {
        segments.iter().fold(self, |build, &(bytes, ticks)| build.segment(&[(bytes, ticks)]))
    }

    /// Appends a segment of these samples: (bytes, ticks).
    pub(crate) fn segment(mut self, samples: &[(u32, u32)]) -> Build {
        let track = &mut self.0;
        let first_sample = track.samples.len();
        let time = if first_sample == 0 { track.segments.first().map_or(0, |s| s.time) } else { track.samples.end() };
        for (index, &(size, duration)) in samples.iter().enumerate() {
            let flags = if index == 0 { SampleFlags::SYNC } else { SampleFlags::NON_SYNC };
            let decode_time = if track.samples.is_empty() { track.media_time } else { track.samples.end() };
            track.samples.push(Sample { decode_time, duration, composition_offset: 0, size, flags }, 0, 0);
        }
        let duration = samples.iter().map(|&(_, ticks)| i64::from(ticks)).sum();
        track.segments.push(Segment { first_sample, time, duration, starts_with_sync: true });
        // Intact, so that a segment has the very bytes that the test gives its samples.
        let bytes = samples.iter().map(|&(size, _)| u64::from(size)).sum();
        let intact = Some(SourceRange { file: 0, range: 0..bytes });
        track.fragments.push(Fragment {
            first_sample,
            sequence_number: 1,
            description_index: 1,
            intact,
            moof: None,
            traf: 0,
            protection_bytes: 0,
            relative_events: 0,
        });
        self
    }

    /// `count` segments of 48 kbyte and six seconds.
    pub(crate) fn regular(self, count: usize) -> Build {
        let ticks = self.0.timescale.get() * 6;
        self.cut(&vec![(48_000, ticks); count])
    }

    pub(crate) fn language(mut self, tag: &str) -> Build {
        self.0.language = Some(tag.into());
        self
    }

    pub(crate) fn label(mut self, label: &str) -> Build {
        self.0.label = Some(label.into());
        self
    }

    pub(crate) fn role(mut self, role: Role) -> Build {
        self.0.roles.push(role);
        self
    }

    pub(crate) fn captions(mut self, captions: &[(Service, Option<&str>)]) -> Build {
        let caption = |&(service, tag): &(Service, Option<&str>)| Caption { service, language: tag.map(Into::into) };
        self.0.captions = Some(captions.iter().map(caption).collect());
        self
    }

    pub(crate) fn size(mut self, pixels: (u16, u16)) -> Build {
        if let Media::Video(video) = &mut self.0.entry.media {
            (video.width, video.height) = pixels;
        }
        self
    }

    pub(crate) fn codecs(mut self, format: &[u8; 4], codecs: &str) -> Build {
        self.0.entry.format = FourCc(*format);
        self.0.entry.codecs = codecs.into();
        self
    }

    pub(crate) fn colour(mut self, transfer: u8) -> Build {
        if let Media::Video(video) = &mut self.0.entry.media {
            video.colour = Some(Colour { primaries: 9, transfer, matrix: 9, full_range: false });
        }
        self
    }

    pub(crate) fn channels(mut self, channels: u16, layout: ChannelLayout) -> Build {
        if let Media::Audio(audio) = &mut self.0.entry.media {
            (audio.channels, audio.layout) = (channels, layout);
        }
        self
    }

    pub(crate) fn protected(mut self, scheme: &[u8; 4], kid: [u8; 16]) -> Build {
        self.0.entry.protection = Some(Protection {
            scheme: FourCc(*scheme),
            default_kid: kid,
            is_protected: true,
            per_sample_iv_size: 8,
            pattern: (0, 0),
            constant_iv: Vec::new(),
            groups: KeyGroups::default(),
        });
        self
    }

    pub(crate) fn pssh(mut self, system_id: [u8; 16], data: &[u8]) -> Build {
        self.0.pssh.push(pssh(system_id, data));
        self
    }

    /// From sample `first_sample` on another key.
    pub(crate) fn key(mut self, first_sample: u32, kid: [u8; 16]) -> Build {
        self.0.keys.push(KeyChange { first_sample, kid, pssh: [].into() });
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Track)) -> Build {
        change(&mut self.0);
        self
    }

    pub(crate) fn done(self) -> Track {
        self.0
    }
}

/// A version 0 `pssh` box.
pub(crate) fn pssh(system_id: [u8; 16], data: &[u8]) -> Pssh {
    let mut bytes = Vec::new();
    crate::formats::isobmff::boxes::write_full_box(&mut bytes, b"pssh", 0, 0, |out| {
        out.extend_from_slice(&system_id);
        out.extend_from_slice(&(data.len() as u32).to_be_bytes());
        out.extend_from_slice(data);
    });
    Pssh { system_id, bytes: bytes.into() }
}

/// A switching set of `tracks`, which has the language and the roles of the first.
pub(crate) fn set(tracks: Vec<Track>) -> SwitchingSet {
    let first = &tracks[0];
    let (kind, language, roles) = (first.kind, first.language.clone(), first.roles.clone());
    SwitchingSet { kind, language, roles, aligned: true, tracks }
}

/// One period of `sets`, as long as the longest track of video and audio.
pub(crate) fn presentation(sets: Vec<SwitchingSet>) -> Presentation {
    let ends = sets.iter().flat_map(|set| &set.tracks).map(|track| track.time(track.end()));
    let duration = ends.max().unwrap_or(MediaTime::ZERO);
    let period = Period { id: "0".into(), start: MediaTime::ZERO, duration, origin: MediaTime::ZERO, sets };
    Presentation { periods: vec![period], thumbnails: Vec::new(), warnings: Vec::new() }
}
