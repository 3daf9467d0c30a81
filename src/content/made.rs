//! Tracks that are made: a text, whatever form it came in, as the `wvtt` track that it is served from, and TTML as an `stpp` track beside it.
//! Their samples lie in memory, as files of the source.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::content::file::Stamp;
use crate::content::source::Source;
use crate::formats::cues::Cues;
use crate::formats::isobmff::boxes::FourCc;
use crate::formats::isobmff::sample_entry::{Media, SampleEntry};
use crate::formats::isobmff::{stpp, wvtt};
use crate::formats::language;
use crate::formats::ttml::document::Document;
use crate::media::switching::Arranged;
use crate::media::text::{self, TextSamples};
use crate::media::timeline;
use crate::media::track::{Fragment, Kind, Role, Track};
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
    /// The same as it was written, if it is TTML that can be taken apart.
    pub document: Option<Document>,
}

impl Text {
    fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

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

/// The most bytes that one text comes to as IMSC. Each of its documents repeats styles and layout: 3 KB of them every six seconds are 4 MiB in
/// two hours.
const IMSC_BYTES_MAX: usize = 16 << 20;

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
    let (mut tracks, mut hashes): (Vec<Track>, Vec<(String, [u8; 32])>) = Default::default();
    for text in &texts {
        let offset_ms = if text.counts_from_start { offset_ms } else { 0 };
        match text::samples(&text.cues.cues, offset_ms, span.clone(), &cuts, source.next_file(), left) {
            Ok(made) => {
                // A clip leaves out what the rest of its file shows.
                if made.left_out > 0 && arranged.cut.is_none() {
                    let what = "cues are left out: they lie outside the media, or too many are shown at once";
                    arranged.warnings.push(format!("{}: {} {what}", text.file_name(), made.left_out));
                }
                left -= made.bytes.len();
                let name = free_name(&text.name, &taken);
                taken.insert(name.clone());
                hashes.push((name.clone(), fingerprint(&made)));
                tracks.push(track(text, name, Form::WebVtt, made, source));
            }
            Err(why) => arranged.warnings.push(format!("{}: it is left out: {why}", text.file_name())),
        }
    }
    // After all of those, so that none lacks the room.
    for text in &texts {
        let Some(document) = &text.document else { continue };
        let Some(of_cues) = tracks.iter().position(|track| track.name == text.name) else { continue };
        let offset_ms = if text.counts_from_start { offset_ms } else { 0 };
        match text::documents(document, offset_ms, span.clone(), &cuts, source.next_file(), left.min(IMSC_BYTES_MAX)) {
            Ok(made) => {
                left -= made.bytes.len();
                let name = free_name(&format!("{}-imsc", text.name), &taken);
                taken.insert(name.clone());
                hashes.push((name.clone(), fingerprint(&made)));
                tracks[of_cues].as_imsc = Some(name.clone());
                tracks.push(track(text, name, Form::Imsc(document.profile()), made, source));
            }
            Err(why) => arranged.warnings.push(format!("{}: it is offered as WebVTT alone: {why}", text.file_name())),
        }
    }
    arranged.add_text(tracks, target);
    hashes
}

/// A hash of the samples that were made: what they hold, and when.
fn fingerprint(made: &TextSamples) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&made.bytes);
    for sample in made.table.iter(0..made.table.len()) {
        hasher.update(&sample.decode_time.to_be_bytes());
        hasher.update(&sample.duration.to_be_bytes());
        hasher.update(&sample.size.to_be_bytes());
    }
    for place in made.table.places(0..made.table.len()) {
        hasher.update(&place.range.start.to_be_bytes());
        hasher.update(&place.range.end.to_be_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// `name`, or with a number if it is taken.
fn free_name(name: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = [name.to_owned()].into_iter().chain(numbered);
    names.find(|name| !taken.contains(name)).expect("there are more numbers than tracks")
}

/// What the samples of a made track are.
#[derive(Clone, Copy)]
enum Form {
    WebVtt,
    /// Of this profile.
    Imsc(&'static str),
}

fn track(text: &Text, name: String, form: Form, made: TextSamples, source: &mut Source) -> Track {
    let TextSamples { bytes, table, .. } = made;
    let tag = text.tag();
    let roles: Vec<&str> = text.roles.iter().map(|role| role.name()).collect();
    let scale = Timescale::MILLI;
    let (format, codecs, init) = match form {
        Form::WebVtt => {
            (*b"wvtt", "wvtt".to_owned(), wvtt::write_init(text.id, scale, tag.as_deref(), &roles, &text.cues.head))
        }
        Form::Imsc(profile) => {
            let init = stpp::write_init(text.id, scale, tag.as_deref(), &roles, profile);
            (*b"stpp", format!("stpp.ttml.{profile}"), init)
        }
    };
    source.add_made(text.path.clone(), text.stamp, Bytes::from(bytes));
    let entry =
        SampleEntry { format: FourCc(format), codecs, supplemental_codecs: None, media: Media::Text, protection: None };
    Track {
        id: text.id,
        language: tag,
        label: text.label.clone(),
        roles: text.roles.clone(),
        init: Bytes::from(init),
        samples: table,
        // All of them are to be put in fragments.
        fragments: vec![Fragment {
            first_sample: 0,
            sequence_number: 0,
            description_index: 1,
            intact: None,
            moof: None,
            traf: 0,
            protection_bytes: 0,
            relative_events: 0,
        }],
        ..Track::new(name, Kind::Text, scale, entry)
    }
}
