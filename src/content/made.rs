//! Tracks that are made: a text, whatever form it came in, as the `wvtt` track that it is served from. Its samples lie in memory,
//! as a file of the source.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::content::source::{Source, Stamp};
use crate::formats::cues::Cues;
use crate::formats::isobmff::boxes::FourCc;
use crate::formats::isobmff::sample_entry::{Media, SampleEntry};
use crate::formats::isobmff::wvtt;
use crate::formats::language;
use crate::media::sample::SourceRange;
use crate::media::switching::Arranged;
use crate::media::text::{self, TextSamples};
use crate::media::timeline;
use crate::media::track::{Fragment, Kind, Role, Track, Version};
use crate::time::{MediaTime, Rounding, Timescale};

/// A text that a track is to be made of.
#[derive(Clone, Debug)]
pub struct Text {
    /// What its track is called, unless that is taken.
    pub name: String,
    /// track_ID.
    pub id: u32,
    /// The file that it comes from.
    pub path: PathBuf,
    /// What the file was like.
    pub stamp: Stamp,
    /// BCP 47, over what the text says itself.
    pub language: Option<String>,
    /// A name for people.
    pub label: Option<String>,
    /// What it is for, sorted.
    pub roles: Vec<Role>,
    /// Whether its times count from where the media begins; else from where the media counts.
    pub counts_from_start: bool,
    /// What it shows.
    pub cues: Cues,
}

impl Text {
    /// BCP 47 tag, shortest form: what is said of it, else what it says itself.
    pub fn tag(&self) -> Option<String> {
        let own = || self.cues.language.as_ref().filter(|tag| language::is_tag(tag)).map(|tag| language::shortest(tag));
        self.language.clone().or_else(own).filter(|tag| tag != "und")
    }
}

/// When there is something to show text with.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// The earliest presentation time of all.
    pub origin: MediaTime,
    /// When the last ends.
    pub end: MediaTime,
}

/// The most bytes that all texts of a presentation come to as samples: they are kept in memory.
const BYTES_MAX: usize = 64 << 20;

/// Makes tracks of `texts`, cut where the others are, and adds them to `arranged`; with a hash of the samples of each. The times of
/// what was written beside the media count from `zero`. What is left out is a warning.
pub fn add(
    texts: Vec<Text>,
    extent: Option<Extent>,
    zero: MediaTime,
    arranged: &mut Arranged,
    source: &mut Source,
    target: Duration,
) -> Vec<(String, [u8; 32])> {
    let latest = texts.iter().flat_map(|text| &text.cues.cues).map(|cue| cue.end_ms as i64).max().unwrap_or(0);
    let latest = MediaTime::new(latest, Timescale::MILLI);
    let alone = Extent { origin: MediaTime::ZERO, end: latest };
    let extent = extent.unwrap_or(alone);
    if arranged.boundaries.is_empty() {
        arranged.boundaries = timeline::grid(extent.origin, extent.end, target);
    }
    let ms = |time: MediaTime, rounding| time.to(Timescale::MILLI, rounding);
    let span = ms(extent.origin, Rounding::Nearest)..ms(extent.end, Rounding::Nearest);
    let cuts: Vec<i64> = arranged.boundaries.iter().map(|&boundary| ms(boundary, Rounding::Up)).collect();
    let offset_ms = ms(zero, Rounding::Nearest);
    let mut taken: BTreeSet<String> =
        arranged.sets.iter().flat_map(|set| &set.tracks).map(|track| track.name.clone()).collect();
    let mut left = BYTES_MAX.saturating_sub(source.made_bytes());
    let (mut tracks, mut hashes) = (Vec::new(), Vec::new());
    for text in texts {
        let offset_ms = if text.counts_from_start { offset_ms } else { 0 };
        let file_name = text.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = source.next_file();
        match text::samples(&text.cues.cues, offset_ms, span.clone(), &cuts, file, left) {
            Ok(made) => {
                // A clip leaves out what the rest of its file shows.
                if made.left_out > 0 && arranged.cut.is_none() {
                    let what = "cues are left out: they lie outside the media, or too many are shown at once";
                    arranged.warnings.push(format!("{file_name}: {} {what}", made.left_out));
                }
                left -= made.bytes.len();
                let name = free_name(&text.name, &taken);
                taken.insert(name.clone());
                hashes.push((name.clone(), *blake3::hash(&made.bytes).as_bytes()));
                tracks.push(track(text, name, made, file, source));
            }
            Err(why) => arranged.warnings.push(format!("{file_name}: it is left out: {why}")),
        }
    }
    arranged.add_text(tracks, target);
    hashes
}

/// `name`, or with a number if it is taken.
fn free_name(name: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = [name.to_owned()].into_iter().chain(numbered);
    names.find(|name| !taken.contains(name)).expect("there are more numbers than tracks")
}

fn track(text: Text, name: String, made: TextSamples, file: u32, source: &mut Source) -> Track {
    let TextSamples { bytes, table, .. } = made;
    let tag = text.tag();
    let roles: Vec<&str> = text.roles.iter().map(|role| role.name()).collect();
    let init = wvtt::write_init(text.id, Timescale::MILLI, tag.as_deref(), &roles, &text.cues.head);
    let place = SourceRange { file, range: 0..bytes.len() as u64 };
    debug_assert_eq!(table.places(0..table.len()), [place]);
    source.add_made(text.path, text.stamp, Bytes::from(bytes));
    Track {
        name,
        version: Version(0),
        id: text.id,
        kind: Kind::Text,
        timescale: Timescale::MILLI,
        entry: SampleEntry {
            format: FourCc(*b"wvtt"),
            codecs: "wvtt".to_owned(),
            supplemental_codecs: None,
            media: Media::Text,
            protection: None,
        },
        language: tag,
        label: text.label,
        roles: text.roles,
        captions: None,
        frame_rate: None,
        media_time: 0,
        init: Bytes::from(init),
        pssh: Vec::new(),
        keys: Vec::new(),
        events: Vec::new(),
        samples: table,
        // All of them are to be put in fragments.
        fragments: vec![Fragment {
            first_sample: 0,
            sequence_number: 0,
            description_index: 1,
            intact: None,
            moof: None,
            protection_bytes: 0,
        }],
        segments: Vec::new(),
        clip_end: None,
    }
}
