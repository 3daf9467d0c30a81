//! From files to a presentation: what each movie holds, track by track, exactly as it is presented.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::content::captions;
use crate::content::edits::{self, Edits};
use crate::content::file::SourceError;
use crate::content::made::{self, Extent, Text};
use crate::content::repeated;
use crate::content::scan::{ScanError, ScannedFragment, ScannedMovie, scan};
use crate::content::source::Source;
use crate::content::storage::Storage;
use crate::content::thumbnails::ThumbnailFiles;
use crate::formats::captions::Service;
use crate::formats::cues::{CUES_MAX, Cue, Cues, FILE_BYTES_MAX, HEAD_BYTES_MAX, Palette};
use crate::formats::error::Malformed;
use crate::formats::isobmff::boxes::{BoxRef, Boxes};
use crate::formats::isobmff::cenc;
use crate::formats::isobmff::emsg::EventScheme;
use crate::formats::isobmff::fragment::{MovieFragment, RunSample, SampleDefaults, TrackFragment, TrackRun};
use crate::formats::isobmff::movie::{Movie, TrackHeader, write_init};
use crate::formats::isobmff::sample_entry::Media;
use crate::formats::isobmff::sample_tables::{self, Listed, SAMPLES_MAX};
use crate::formats::isobmff::tx3g::TextEntry;
use crate::formats::isobmff::wvtt;
use crate::formats::language;
use crate::media::clip::{Cut, CutError};
use crate::media::presentation::{Period, Presentation, target_duration_s};
use crate::media::sample::{Sample, SampleFlags, SampleTable, SourceRange};
use crate::media::switching::{Arranged, Named, arrange, arrange_clip, first_presented, say_languages};
use crate::media::thumbnails::Thumbnails;
use crate::media::track::{Caption, FORMAT_VERSION, Fragment, KeyChange, Kind, Pssh, Role, Track, Version};
use crate::time::{MediaTime, Rounding, Timescale, rescale};

/// The most tracks of a presentation.
const TRACKS_MAX: usize = 200;

/// The most changes of keys that a track may have: a day of one every ten seconds, and their `pssh` twice as often.
const KEYS_MAX: usize = 1 << 15;

/// The most track fragments with samples of a movie, and the most runs of all of them: each takes some hundred bytes, and some eighty, until
/// its samples are in a table.
const TRAFS_MAX: usize = 1 << 20;
const RUNS_MAX: usize = 1 << 22;

/// The most samples without bytes that a track may have.
const EMPTY_SAMPLES_MAX: u64 = 1 << 16;

/// The most changes of sample descriptions among the samples that a `moov` lists: each begins a fragment.
const DESCRIPTIONS_MAX: usize = 1 << 16;

/// The most samples of all tracks of a movie together: a day and a half of picture and four sounds. Each takes 4 to 48 bytes as long as
/// its presentation is open, and up to 24 more while its track is read.
const MOVIE_SAMPLES_MAX: u64 = SAMPLES_MAX as u64;
/// The most of those whose number is only claimed, with nothing written down for each: a day and a half of AC-3. A file of a few hundred
/// bytes, and a hole of as many megabytes, can claim them.
const CLAIMED_SAMPLES_MAX: u64 = 1 << 22;
/// The most warnings of one kind of thing; more say how many they are.
const WARNINGS_MAX: usize = 50;

/// A point that is moved by less is where it was said to be, as far as a person sees.
const MOVED_S: f64 = 0.0005;

/// The most schemes of event messages that a track is said to carry.
const EVENT_SCHEMES_MAX: usize = 16;

/// A movie that a presentation is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What its tracks are named after, where there are several movies.
    pub name: String,
    /// One file; or an initialization segment, and after it its media segments in any order.
    pub files: Vec<PathBuf>,
    /// What `presentation.toml` says of its tracks, over what the file says.
    pub said: Said,
}

/// What a file's name gives a track: letters, digits, `_` and `-` stay.
pub fn track_name(stem: &str) -> String {
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    if name.is_empty() { "track".to_owned() } else { name }
}

/// What is said of the tracks of a movie from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// BCP 47.
    pub language: Option<String>,
    /// A name for people.
    pub label: Option<String>,
    /// What they are for.
    pub roles: Vec<Role>,
    /// The languages of captions in pictures: that there are such is thereby said, too.
    pub captions: BTreeMap<Service, String>,
}

/// A presentation, and where its bytes are.
#[derive(Debug)]
pub struct Opened {
    /// The model.
    pub presentation: Presentation,
    /// Its files.
    pub source: Arc<Source>,
}

/// Why a presentation can't be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Nothing in it can be served; why.
    #[error("{0}")]
    Nothing(String),
}

/// Opens the presentation that `parts` make, with `texts` and `thumbnails` beside them, cut into segments of about `target`. Blocks.
pub fn open(
    storage: &Storage,
    parts: &[Part],
    texts: Vec<Text>,
    thumbnails: &[ThumbnailFiles],
    target: Duration,
) -> Result<Opened, OpenError> {
    let mut warnings = Vec::new();
    let beside = thumbnails.iter().flat_map(|thumbnails| &thumbnails.files);
    let (mut source, read) = read(storage, parts, beside, false, &mut warnings)?;
    let first_sheet = parts.iter().map(|part| part.files.len() as u32).sum();
    let mut thumbnails = sheets(thumbnails, &source, first_sheet, &mut warnings);
    let mut media = Content::default();
    read.into_iter().for_each(|part| media.add(part));
    let period = period(media, texts, None, target, &mut source, &mut warnings).map_err(OpenError::Nothing)?;
    shorten(&mut warnings);
    let mut presentation = Presentation { periods: vec![period], thumbnails: Vec::new(), warnings };
    for (index, thumbnails) in thumbnails.iter_mut().enumerate() {
        if presentation.tracks().any(|track| track.name == thumbnails.name) || index > 0 {
            thumbnails.name = format!("{}-sheets{}", thumbnails.name, index + 1);
        }
    }
    let end_ms = presentation.duration_ms();
    thumbnails.iter_mut().for_each(|thumbnails| thumbnails.version = thumbnails.version.lasting(end_ms));
    for thumbnails in
        thumbnails.iter().filter(|thumbnails| thumbnails.sheets.len() as u64 * thumbnails.sheet_ms() < end_ms)
    {
        let sheets_end_s = thumbnails.sheets.len() as f64 * thumbnails.sheet_ms() as f64 / 1000.0;
        let end_s = end_ms as f64 / 1000.0;
        presentation
            .warnings
            .push(format!("the thumbnails end at {sheets_end_s} s, before the presentation does at {end_s} s"));
    }
    presentation.thumbnails = thumbnails;
    Ok(Opened { presentation, source: Arc::new(source) })
}

/// The thumbnails of `all`, whose sheets are the files of `source` from `first` on. What is wrong with some are `warnings`. Blocks.
fn sheets(all: &[ThumbnailFiles], source: &Source, mut first: u32, warnings: &mut Vec<String>) -> Vec<Thumbnails> {
    let mut read = Vec::with_capacity(all.len());
    for thumbnails in all {
        let files = first..first + thumbnails.files.len() as u32;
        first = files.end;
        match thumbnails.read(source, files) {
            Ok(thumbnails) => read.push(thumbnails),
            Err(why) => warnings.push(why),
        }
    }
    read
}

/// What was read of one or several movies: tracks, and text that is served in another form.
#[derive(Clone, Default)]
pub(crate) struct Content {
    /// Not cut yet.
    pub(crate) tracks: Vec<(Track, Fingerprint)>,
    /// Not made yet.
    pub(crate) texts: Vec<Text>,
}

impl Content {
    /// Adds what was read of another movie.
    pub(crate) fn add(&mut self, other: Content) {
        self.tracks.extend(other.tracks);
        self.texts.extend(other.texts);
    }

    fn named(&mut self) -> impl Iterator<Item = Named<'_>> {
        let tracks = self.tracks.iter_mut().map(|(track, _)| Named::of(track));
        let texts =
            self.texts.iter_mut().map(|text| Named { kind: Kind::Text, language: text.tag(), label: &mut text.label });
        tracks.chain(texts)
    }
}

/// Opens the files of `parts`, and those `beside` them, and reads what each part holds, as `clips` need it or not. What is wrong with one
/// are `warnings`.
pub(crate) fn read<'a>(
    storage: &Storage,
    parts: &'a [Part],
    beside: impl Iterator<Item = &'a PathBuf>,
    clips: bool,
    warnings: &mut Vec<String>,
) -> Result<(Source, Vec<Content>), OpenError> {
    let paths: Vec<PathBuf> = parts.iter().flat_map(|part| &part.files).chain(beside).cloned().collect();
    let source = Source::open(storage, &paths)?;
    let mut all = Vec::with_capacity(parts.len());
    let mut first_file = 0;
    for part in parts {
        let files = first_file..first_file + part.files.len() as u32;
        first_file = files.end;
        match PartReader::read(&source, files, part, parts.len() > 1, clips) {
            Ok(read) => {
                warnings.extend(read.warnings);
                all.push(Content { tracks: read.tracks, texts: read.texts });
            }
            Err(ScanError::Source(error)) => return Err(error.into()),
            Err(error) => {
                warnings.push(error.to_string());
                all.push(Content::default());
            }
        }
    }
    // What somebody chose to say stays.
    let of_handlers = all.iter_mut().zip(parts).filter(|(_, part)| part.said.label.is_none());
    say_languages(of_handlers.flat_map(|(content, _)| content.named()).collect());
    Ok((source, all))
}

/// Leaves as many warnings as are read.
pub(crate) fn shorten(warnings: &mut Vec<String>) {
    if warnings.len() > WARNINGS_MAX {
        let more = warnings.len() - WARNINGS_MAX;
        warnings.truncate(WARNINGS_MAX);
        warnings.push(format!("and {more} more"));
    }
}

/// The period that `media` and the `texts` beside it make, or the `clip` of it; the first, until somebody says otherwise. The error
/// says why there is none.
pub(crate) fn period(
    media: Content,
    beside: Vec<Text>,
    clip: Option<&Cut>,
    target: Duration,
    source: &mut Source,
    warnings: &mut Vec<String>,
) -> Result<Period, String> {
    let Content { mut tracks, mut texts } = media;
    repeated::leave_out(&mut tracks, source, warnings);
    (0..).zip(&mut tracks).for_each(|(place, (track, _))| track.place = place);
    give_each_a_name(&mut tracks, warnings);
    if tracks.len() > TRACKS_MAX {
        warnings.push(format!("{} tracks, only {TRACKS_MAX} are served", tracks.len()));
        tracks.truncate(TRACKS_MAX);
    }
    // Text beside what can't be served does not make it something to play.
    if !(tracks.is_empty() && texts.is_empty()) {
        texts.extend(beside);
    }
    if texts.len() > TRACKS_MAX - tracks.len() {
        warnings.push(format!("{} texts beside {} tracks, only {TRACKS_MAX} are served", texts.len(), tracks.len()));
        texts.truncate(TRACKS_MAX - tracks.len());
    }
    if tracks.is_empty() && texts.is_empty() {
        warnings.truncate(WARNINGS_MAX);
        return Err(if warnings.is_empty() { "there is no track in it".to_owned() } else { warnings.join("; ") });
    }
    let (tracks, fingerprints): (Vec<Track>, Vec<Fingerprint>) = tracks.into_iter().unzip();
    let mut fingerprints: BTreeMap<String, Fingerprint> =
        tracks.iter().map(|t| t.name.clone()).zip(fingerprints).collect();
    let zero = zero(&tracks);
    let mut arranged = match clip {
        None => arrange(tracks, target),
        Some(wanted) => {
            let cut = Cut { from: wanted.from.map(|t| zero.plus(t)), until: wanted.until.map(|t| zero.plus(t)) };
            arrange_clip(tracks, target, &cut).map_err(|error| match error {
                CutError::Empty { from } => {
                    format!("{error}: both mean the one at {:.3} s", from.seconds() - zero.seconds())
                }
                CutError::AfterEnd { end } => format!("{error}, {:.3} s", end.seconds() - zero.seconds()),
                CutError::NoTrack => error.to_string(),
            })?
        }
    };
    let made = made::add(texts, extent(&arranged), zero, &mut arranged, source, target);
    fingerprints.extend(made);
    let Some(Extent { origin, end, .. }) = extent(&arranged) else {
        warnings.append(&mut arranged.warnings);
        return Err(warnings.join("; "));
    };
    warnings.append(&mut arranged.warnings);
    if let (Some(wanted), Some(cut)) = (clip, arranged.cut) {
        warnings.extend(moved(wanted, &cut, zero, end));
    }
    let mut sets = arranged.sets;
    for track in sets.iter().flat_map(|set| &set.tracks) {
        let longest = track.longest_segment();
        if track.kind != Kind::Text && longest.seconds() > 4.0 * target.as_secs_f64() {
            warnings.push(format!(
                "{}: a segment of {:.1} s, since no sync sample comes sooner",
                track.name,
                longest.seconds()
            ));
        }
        let over = track.segments.iter().filter(|s| !s.starts_with_sync).count();
        if over > 0 {
            warnings.push(format!("{}: {over} segments do not begin with a sync sample", track.name));
        }
    }
    let duration = MediaTime::new(end.ticks - origin.to(end.timescale, Rounding::Nearest), end.timescale);
    let target_s = target_duration_s(sets.iter());
    for track in sets.iter_mut().flat_map(|set| &mut set.tracks) {
        track.version = version(track, &fingerprints[&track.name], origin, target_s);
        track.forget_unplayed();
    }
    Ok(Period { id: "1".to_owned(), start: MediaTime::ZERO, duration, origin, sets })
}

/// What is counted from: where media begin later than at 0 without an edit that says so, as a recording does, their video's start.
fn zero(tracks: &[Track]) -> MediaTime {
    let start = |of: &dyn Fn(Kind) -> bool| tracks.iter().filter(|track| of(track.kind)).map(first_presented).min();
    match start(&|kind| kind != Kind::Text) {
        Some(origin) if origin.ticks > 0 => start(&|kind| kind == Kind::Video).unwrap_or(origin),
        _ => MediaTime::ZERO,
    }
}

/// What moved the ends of a clip, which ends at `end` if nothing cuts it: a sync point elsewhere. Times count from `zero`.
fn moved(wanted: &Cut, cut: &Cut, zero: MediaTime, end: MediaTime) -> Vec<String> {
    let mut said = Vec::new();
    let points = [("in", wanted.from, cut.from.unwrap_or(zero)), ("out", wanted.until, cut.until.unwrap_or(end))];
    for (name, wanted, came) in points {
        let Some(wanted) = wanted else { continue };
        let (written, came) = (wanted.seconds(), came.seconds() - zero.seconds());
        if (written - came).abs() > MOVED_S {
            said.push(format!(
                "the {name} point {written:.3} s is moved to {came:.3} s, where the pictures can be cut"
            ));
        }
    }
    said
}

/// Files of different names may give one name to their tracks (`film.m4v` and `film.m4a`): the later gets a number.
fn give_each_a_name(tracks: &mut [(Track, Fingerprint)], warnings: &mut Vec<String>) {
    let mut taken: BTreeSet<String> = tracks.iter().map(|(track, _)| track.name.clone()).collect();
    let mut seen = BTreeSet::new();
    for (track, _) in tracks {
        if !seen.insert(track.name.clone()) {
            let free = (2..).map(|number| format!("{}-{number}", track.name)).find(|name| !taken.contains(name));
            let free = free.expect("numbers do not end");
            warnings.push(format!("two tracks are called {}: one of them is {free}", track.name));
            taken.insert(free.clone());
            seen.insert(free.clone());
            track.name = free;
        }
    }
}

/// From where to where video and audio go, or text if there is nothing else; `None` if there is not even that. A clip ends with its
/// pictures.
fn extent(arranged: &Arranged) -> Option<Extent> {
    let tracks = |of: &dyn Fn(Kind) -> bool| -> Vec<&Track> {
        arranged.sets.iter().filter(|set| of(set.kind)).flat_map(|set| &set.tracks).collect()
    };
    let (timed, video) = (tracks(&|kind| kind != Kind::Text), tracks(&|kind| kind == Kind::Video));
    let start = |tracks: &[&Track]| tracks.iter().map(|track| track.time(track.start())).min();
    let end = |tracks: &[&Track]| tracks.iter().map(|track| track.time(track.end())).max();
    let of_clip = arranged.cut.and_then(|cut| cut.until).filter(|_| !video.is_empty());
    let end = of_clip.or_else(|| end(&timed)).or_else(|| end(&tracks(&|_| true)))?;
    Some(Extent { origin: start(&timed).unwrap_or(MediaTime::ZERO), end })
}

/// A hash of what the files of a movie hold.
pub(crate) type Fingerprint = [u8; 32];

/// Everything that shapes the bytes: what came in, how it is cut, and by which version of this program's formats. A media playlist
/// has the target duration of all, and text begins at `origin`, where the period does.
fn version(track: &Track, fingerprint: &Fingerprint, origin: MediaTime, target_s: u64) -> Version {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&FORMAT_VERSION.to_be_bytes());
    hasher.update(fingerprint);
    hasher.update(&track.id.to_be_bytes());
    hasher.update(&track.init);
    hasher.update(&origin.ticks.to_be_bytes());
    hasher.update(&origin.timescale.get().to_be_bytes());
    hasher.update(&target_s.to_be_bytes());
    let mut cuts = Vec::with_capacity(track.segments.len() * 12);
    for segment in &track.segments {
        cuts.extend_from_slice(&segment.first_sample.to_be_bytes());
        cuts.extend_from_slice(&segment.time.to_be_bytes());
    }
    hasher.update(&cuts);
    hasher.update(&track.played_end().to_be_bytes());
    hasher.update(&track.end().to_be_bytes());
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    Version(u64::from_be_bytes(*first))
}

struct PartReader {
    tracks: Vec<(Track, Fingerprint)>,
    /// Text that is served in another form.
    texts: Vec<Text>,
    warnings: Vec<String>,
}

impl PartReader {
    fn read(
        source: &Source,
        files: Range<u32>,
        part: &Part,
        several: bool,
        clips: bool,
    ) -> Result<PartReader, ScanError> {
        let mut scanned = scan(source, files.clone())?;
        let file_name = source.path(files.start).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let malformed = |error| ScanError::Malformed { file: file_name.clone(), error };
        let moov_bytes = std::mem::take(&mut scanned.moov);
        let moov = first_box(&moov_bytes, scanned.moov_offset).map_err(malformed)?;
        let movie = Movie::parse(moov).map_err(malformed)?;
        let mut reader =
            PartReader { tracks: Vec::new(), texts: Vec::new(), warnings: std::mem::take(&mut scanned.warnings) };
        for (id, error) in &movie.rejected {
            let track = id.map_or("a track".to_owned(), |id| format!("track {id}"));
            reader.warnings.push(format!("{file_name}: {track} is left out: {error}"));
        }
        if movie.pssh_left_out > 0 {
            let what = "pssh boxes are left out: above 64 KiB, or more than 64 or 256 KiB in all";
            reader.warnings.push(format!("{file_name}: {} {what}", movie.pssh_left_out));
        }
        let mut collected = collect(source, &scanned, &movie, &file_name, &mut reader.warnings);
        let mut budget = Budget { samples: MOVIE_SAMPLES_MAX, claimed: CLAIMED_SAMPLES_MAX };
        let mut numbers = BTreeMap::<Kind, u32>::new();
        let count = movie.tracks.len();
        for header in &movie.tracks {
            let mut left_out =
                |why: String| reader.warnings.push(format!("{file_name}: track {} is left out: {why}", header.id));
            let kind = match (&header.entry.media, &header.handler.0) {
                (Media::Video(_), b"vide") => Kind::Video,
                (Media::Audio(_), _) => Kind::Audio,
                (Media::Text, _) => Kind::Text,
                _ => {
                    left_out(format!("its handler is {}", header.handler));
                    continue;
                }
            };
            let is_timed_text = header.entry.format.0 == *b"tx3g";
            if kind == Kind::Text && !is_timed_text && !matches!(&header.entry.format.0, b"wvtt" | b"stpp") {
                left_out(format!("text as {} is not served so far, only wvtt, stpp and tx3g", header.entry.format));
                continue;
            }
            if movie.tracks.iter().any(|track| track.chapters.contains(&header.id)) {
                left_out("it lists chapters".to_owned());
                continue;
            }
            let fragments = collected.remove(&header.id).unwrap_or_default();
            let number = numbers.entry(kind).or_insert(0);
            *number += 1;
            let name = match (several, count) {
                (false, _) => format!("{kind}{number}"),
                (true, 1) => part.name.clone(),
                (true, _) => format!("{}-{kind}{number}", part.name),
            };
            match build(source, &scanned, &movie, moov, header, fragments, name, kind, files.start, clips, &mut budget)
            {
                Ok((mut track, fingerprint, notes)) => {
                    reader
                        .warnings
                        .extend(notes.into_iter().map(|note| format!("{file_name}: track {}: {note}", header.id)));
                    track.captions = captions::look(source, &track);
                    part.said.apply(&mut track);
                    if is_timed_text {
                        reader.texts.extend(timed_text(source, files.start, moov, track, &mut reader.warnings));
                        continue;
                    }
                    reader.tracks.push((track, fingerprint));
                }
                Err(why) => left_out(why),
            }
        }
        Ok(reader)
    }
}

/// The text of a `tx3g` track, if it can be read.
fn timed_text(source: &Source, file: u32, moov: BoxRef<'_>, track: Track, warnings: &mut Vec<String>) -> Option<Text> {
    let file_name = source.path(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let id = track.id;
    match read_timed_text(source, file, moov, track) {
        Ok(text) => {
            let faults = text.cues.faults.first.iter();
            warnings.extend(faults.map(|f| format!("{file_name}: track {id}: sample {}: {}", f.line, f.what)));
            Some(text)
        }
        Err(why) => {
            warnings.push(format!("{file_name}: track {id} is left out: {why}"));
            None
        }
    }
}

/// The text of a `tx3g` track. Its faults count samples from 1.
fn read_timed_text(source: &Source, file: u32, moov: BoxRef<'_>, track: Track) -> Result<Text, String> {
    if track.is_protected() {
        return Err("it is encrypted, and its text has to be read".to_owned());
    }
    let count = track.samples.len();
    let bytes = track.samples.size(0..count);
    // As many gaps as there are cues may lie between them.
    if bytes > FILE_BYTES_MAX || count as usize > 2 * CUES_MAX + 1 {
        return Err(format!("{count} samples of {bytes} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    let entry = TextEntry::of_track(moov, track.id).map_err(|error| error.to_string())?;
    let data = source.read(&track.samples.places(0..count)).map_err(|error| error.to_string())?;
    let mut rest = &data[..];
    let (mut cues, mut palette) = (Cues::default(), Palette::default());
    for (number, sample) in (1..).zip(track.samples.iter(0..count)) {
        let (bytes, after) = rest.split_at(sample.size as usize);
        rest = after;
        let start =
            sample.decode_time.saturating_add(sample.composition_offset.into()).saturating_sub(track.media_time);
        let ms =
            |ticks| u64::try_from(rescale(ticks, track.timescale, Timescale::MILLI, Rounding::Nearest)).unwrap_or(0);
        let (start_ms, end_ms) = (ms(start), ms(start.saturating_add(sample.duration.into())));
        match entry.cue_text(bytes, &mut palette) {
            Ok(payload) if payload.is_empty() || end_ms <= start_ms => {}
            Ok(payload) => {
                let cue = Cue { id: String::new(), start_ms, end_ms, settings: entry.settings.to_owned(), payload };
                cues.push(cue, number);
            }
            Err(error) => cues.faults.push(number, error.to_string()),
        }
    }
    cues.head = palette.head();
    cues.sort();
    if cues.cues.is_empty() {
        return Err("there is no text in it".to_owned());
    }
    let mut roles = track.roles;
    if entry.is_forced && !roles.contains(&Role::ForcedSubtitle) {
        roles.push(Role::ForcedSubtitle);
        roles.sort_unstable();
    }
    Ok(Text {
        name: track.name,
        id: track.id,
        path: source.path(file).to_path_buf(),
        stamp: source.stamp(file),
        language: track.language,
        label: track.label,
        roles,
        counts_from_start: false,
        cues,
        document: None,
    })
}

impl Said {
    fn apply(&self, track: &mut Track) {
        if let Some(language) = &self.language {
            track.language = Some(language.clone());
        }
        if let Some(label) = &self.label {
            track.label = Some(label.clone());
        }
        if !self.roles.is_empty() {
            track.roles.clone_from(&self.roles);
        }
        if track.kind == Kind::Video && !self.captions.is_empty() {
            let captions = track.captions.get_or_insert_default();
            for (&service, language) in &self.captions {
                let language = Some(language.clone());
                match captions.iter_mut().find(|caption| caption.service == service) {
                    Some(found) => found.language = language,
                    None => captions.push(Caption { service, language }),
                }
            }
            captions.sort_by_key(|caption| caption.service);
        }
    }
}

fn first_box(bytes: &[u8], offset: u64) -> Result<BoxRef<'_>, Malformed> {
    Boxes::new(bytes, offset).next().unwrap_or_else(|| Err(Malformed::new("nothing", offset)))
}

/// The samples of one track in one fragment, or in the `moov`.
struct Collected<'a> {
    file: u32,
    decode_time: Option<i64>,
    sequence_number: u32,
    description_index: u32,
    samples: Samples<'a>,
    intact: Option<SourceRange>,
    moof: Option<SourceRange>,
    traf: u32,
    /// KIDs of its samples, run by run (number of samples, KID; `None` of those in the clear), if the track is protected; and
    /// the `pssh` of its `moof`.
    kids: Vec<(u32, Option<[u8; 16]>)>,
    pssh: Arc<[Pssh]>,
    /// What a new fragment of all its samples would hold for their protection, in bytes.
    protection_bytes: u32,
    /// Schemes of the event messages that come with it.
    events: Vec<EventScheme>,
    relative_events: u32,
}

/// Samples where they are written down: what two hours of them say is read once, into the table, and not stored in between.
enum Samples<'a> {
    /// In the runs of a fragment; the bytes of each lie together, in `places`.
    Runs { runs: Vec<TrackRun<'a>>, defaults: SampleDefaults, places: Vec<Range<u64>> },
    /// In the `moov`.
    Listed(Listed),
}

impl Samples<'_> {
    fn count(&self) -> u64 {
        match self {
            Samples::Runs { runs, .. } => runs.iter().map(|run| u64::from(run.sample_count)).sum(),
            Samples::Listed(listed) => listed.sizes.len() as u64,
        }
    }
}

/// The fragments of each track, in the order of their decode times.
fn collect<'a>(
    source: &Source,
    scanned: &'a ScannedMovie,
    movie: &Movie,
    file_name: &str,
    warnings: &mut Vec<String>,
) -> BTreeMap<u32, Vec<Collected<'a>>> {
    let mut tracks = BTreeMap::<u32, Vec<Collected<'a>>>::new();
    let (mut unknown, mut trafs, mut runs) = (0, 0, 0);
    let no_pssh: Arc<[Pssh]> = [].into();
    'fragments: for fragment in &scanned.fragments {
        let moof = match first_box(scanned.moof(fragment), fragment.moof.start).and_then(MovieFragment::parse) {
            Ok(moof) => moof,
            Err(error) => {
                let file = source.path(fragment.file).file_name().unwrap_or_default().to_string_lossy().into_owned();
                warnings.push(format!("{file}: a fragment is left out: {error}"));
                continue;
            }
        };
        let moof_pssh = match &moof.pssh[..] {
            [] => Arc::clone(&no_pssh),
            boxes => boxes.iter().filter_map(|bytes| pssh(Bytes::copy_from_slice(bytes))).collect(),
        };
        let mut data_end = fragment.moof.start;
        for (index, traf) in moof.trafs.iter().enumerate() {
            let Some(header) = movie.tracks.iter().find(|track| track.id == traf.track_id) else {
                unknown += u32::from(movie.rejected.iter().all(|(id, _)| *id != Some(traf.track_id)));
                continue;
            };
            let defaults = traf.defaults(&header.trex);
            let base = match traf.base_data_offset {
                Some(base) => base,
                None if traf.default_base_is_moof || index == 0 => fragment.moof.start,
                // ISO/IEC 14496-12 §8.8.7.1: where the data of the traf before end. Some writers count from the moof all the
                // same, without the flag that says so; what lies in the mdat tells.
                None if lies_within(fragment, traf, defaults, data_end)
                    || !lies_within(fragment, traf, defaults, fragment.moof.start) =>
                {
                    data_end
                }
                None => fragment.moof.start,
            };
            if traf.runs.iter().all(|run| run.sample_count == 0) {
                continue;
            }
            (trafs, runs) = (trafs + 1, runs + traf.runs.len());
            if trafs > TRAFS_MAX || runs > RUNS_MAX {
                let what = format!("more than {TRAFS_MAX} track fragments, or {RUNS_MAX} runs");
                warnings.push(format!("{file_name}: {what}; what follows is left out"));
                break 'fragments;
            }
            let read = collect_traf(fragment, &moof, index, header, base, &mut data_end, &moof_pssh);
            tracks.entry(traf.track_id).or_default().push(read);
        }
    }
    if unknown > 0 {
        warnings
            .push(format!("{file_name}: {unknown} track fragments belong to no track of the moov and are left out"));
    }
    // Files of a packaging come in any order; within one file the order is that of the file.
    let several = scanned.fragments.iter().any(|f| f.file != scanned.fragments[0].file);
    if several {
        for fragments in tracks.values_mut() {
            fragments.sort_by_key(|fragment| (fragment.decode_time, fragment.sequence_number, fragment.file));
        }
    }
    tracks
}

/// Whether the data of `traf`, counted from `base`, lies in the `mdat` after its `moof`.
fn lies_within(fragment: &ScannedFragment, traf: &TrackFragment<'_>, defaults: SampleDefaults, base: u64) -> bool {
    let Some(mdat) = &fragment.mdat else { return false };
    let mut position = base;
    traf.runs.iter().all(|run| {
        if let Some(offset) = run.data_offset {
            position = base.saturating_add_signed(offset.into());
        }
        let start = position;
        position = position.saturating_add(run.size(defaults));
        mdat.start <= start && position <= mdat.end
    })
}

fn collect_traf<'a>(
    fragment: &ScannedFragment,
    moof: &MovieFragment<'a>,
    index: usize,
    header: &TrackHeader,
    base: u64,
    data_end: &mut u64,
    moof_pssh: &Arc<[Pssh]>,
) -> Collected<'a> {
    let place = |range: Range<u64>| SourceRange { file: fragment.file, range };
    let traf = &moof.trafs[index];
    let defaults = traf.defaults(&header.trex);
    let (mut places, mut runs) = (Vec::new(), Vec::new());
    let mut position = base;
    let mut inside = fragment.mdat.is_some();
    let mut unsigned = false;
    for run in &traf.runs {
        if let Some(offset) = run.data_offset {
            position = base.saturating_add_signed(offset.into());
        }
        if run.sample_count == 0 {
            // It may point anywhere.
            continue;
        }
        let start = position;
        position = position.saturating_add(run.size(defaults));
        places.push(start..position);
        runs.push(*run);
        unsigned |= run.has_unsigned_negatives();
        inside &= fragment.mdat.as_ref().is_some_and(|mdat| mdat.start <= start && position <= mdat.end);
    }
    *data_end = position;
    let alone = moof.trafs.len() == 1 && traf.default_base_is_moof && traf.base_data_offset.is_none();
    let intact = match &fragment.mdat {
        Some(mdat) if alone && inside && !unsigned && fragment.is_sized && traf.base_media_decode_time.is_some() => {
            Some(place(fragment.start..mdat.end))
        }
        _ => None,
    };
    let sample_count = traf.runs.iter().map(|run| run.sample_count).fold(0, u32::saturating_add);
    let kids = match &header.entry.protection {
        Some(default) => cenc::sample_kids(&traf.protection, default, sample_count),
        None => Vec::new(),
    };
    let pssh_bytes: usize = moof.pssh.iter().map(|bytes| bytes.len()).sum();
    let protection_bytes = (cenc::weight(&traf.protection, sample_count) + pssh_bytes) as u32;
    Collected {
        file: fragment.file,
        decode_time: traf.base_media_decode_time.map(|time| time as i64),
        sequence_number: moof.sequence_number,
        description_index: traf.description_index.unwrap_or(header.trex.description_index),
        samples: Samples::Runs { runs, defaults, places },
        intact,
        moof: Some(place(fragment.moof.clone())),
        traf: index as u32,
        kids,
        pssh: Arc::clone(moof_pssh),
        protection_bytes,
        events: fragment.events.clone(),
        relative_events: fragment.relative_events,
    }
}

pub(crate) fn pssh(bytes: Bytes) -> Option<Pssh> {
    let system_id = bytes.get(12..28)?.try_into().ok()?;
    Some(Pssh { system_id, bytes })
}

/// A track of what was collected, with what its version says of the files; and what is odd about it. The error is why it is left out.
#[expect(clippy::too_many_arguments, reason = "one caller, and a struct would only rename them")]
fn build(
    source: &Source,
    scanned: &ScannedMovie,
    movie: &Movie,
    moov: BoxRef<'_>,
    header: &TrackHeader,
    fragments: Vec<Collected<'_>>,
    name: String,
    kind: Kind,
    moov_file: u32,
    clips: bool,
    budget: &mut Budget,
) -> Result<(Track, Fingerprint, Vec<String>), String> {
    let mut notes = Vec::new();
    // Sound and text need none before them but in xHE-AAC, which has some: where none is said to be one, writers forgot it
    // (an stss of no entries, ISO/IEC 14496-12 §8.6.2, or flags of §8.8.3.1 that were meant for pictures).
    let mut is_made_sync = false;
    let of_list = edits::read(&header.edits, movie.timescale, header.timescale, movie.is_fragmented, &mut notes);
    let Edits { delay, mut media_time, end } = of_list;
    let mut all = Vec::new();
    if header.sample_count > 0 {
        if header.entry.protection.is_some() {
            return Err(
                "it is encrypted, and samples that the moov lists have their keys elsewhere than is read".to_owned()
            );
        }
        let count = u64::from(header.sample_count);
        budget.take(count, if header.sample_size.is_some() { count } else { 0 })?;
        let media_bytes = scanned.mdats.iter().map(|(_, mdat)| mdat.end - mdat.start).sum();
        let mut listed = sample_tables::read(moov, header.id, media_bytes).map_err(|e| e.to_string())?;
        if header.entry_count == 1 {
            // There is nothing else that an index could mean.
            listed.descriptions = vec![(0, 1)];
        }
        if let Some((_, index)) = listed.descriptions.iter().find(|(_, i)| !(1..=header.entry_count).contains(i)) {
            return Err(format!("its stsc names sample entry {index}, and there are {}", header.entry_count));
        }
        if listed.descriptions.len() > DESCRIPTIONS_MAX {
            return Err(format!("more than {DESCRIPTIONS_MAX} changes of sample entries"));
        }
        if !movie.is_fragmented {
            is_made_sync = kind != Kind::Video && listed.make_sync_if_none_is();
            // As if the file began there: what comes before is neither shown nor needed.
            let skipped = listed.begin_at(media_time, lead(kind, header.timescale));
            media_time -= skipped;
            // ISO/IEC 14496-12 §8.6.6: what is decoded after the last sample that is presented.
            let late = end.map_or(0, |end| listed.end_before(end - skipped));
            if late > 0 && kind == Kind::Video {
                notes.push(format!(
                    "{late} pictures after the end of its edit list are shown: others are decoded from them"
                ));
            }
        }
        all.push(Collected {
            file: moov_file,
            decode_time: Some(0),
            sequence_number: 0,
            description_index: 1,
            samples: Samples::Listed(listed),
            intact: None,
            moof: None,
            traf: 0,
            kids: Vec::new(),
            pssh: [].into(),
            protection_bytes: 0,
            events: Vec::new(),
            relative_events: 0,
        });
    }
    all.extend(fragments);
    let fragments = Vec::with_capacity(all.len());
    let mut builder = Builder {
        table: SampleTable::default(),
        fragments,
        keys: Vec::new(),
        end: 0,
        empty_samples: 0,
        mdat: 0,
        budget,
    };
    // Messages go with the fragments that pass as they are; those of rebuilt ones are left behind.
    let passing = all.iter().filter(|collected| collected.intact.is_some() && delay == 0);
    let events: BTreeSet<EventScheme> = passing.flat_map(|collected| collected.events.iter().cloned()).collect();
    let mut events: Vec<EventScheme> = events.into_iter().take(EVENT_SCHEMES_MAX).collect();
    for collected in all {
        let at = collected.moof.as_ref().map_or(scanned.moov_offset, |moof| moof.range.start);
        if let Err(why) = builder.push(collected, delay, source, scanned) {
            notes.push(format!("{why} (at {at:#x}); what follows is left out"));
            break;
        }
    }
    let Builder { mut table, mut fragments, mut keys, .. } = builder;
    if table.is_empty() {
        return Err(notes.pop().unwrap_or_else(|| "it has no samples".to_owned()));
    }
    if let Some(protection) = &header.entry.protection
        && keys.iter().all(|key| key.kid == protection.default_kid && key.pssh.is_empty())
    {
        keys.clear();
    }
    is_made_sync |= kind != Kind::Video && table.make_sync_if_none_is();
    let mut fingerprint = scanned.fingerprint;
    if is_made_sync {
        notes.push("no sample is said to be a sync sample: all are taken for one".to_owned());
        // Builds that did not made other fragments of it, of the same name where it is one segment all the same.
        fingerprint = *blake3::hash(&[&fingerprint[..], b"sync"].concat()).as_bytes();
    }
    table.shrink_to_fit();
    fragments.shrink_to_fit();
    if kind == Kind::Video {
        notes.extend(edits::hidden_sync(&table, media_time.saturating_add(delay), header.timescale));
    }
    if clips && kind == Kind::Video && is_shift(&table, media_time) {
        let without_edit = |_, mut sample: Sample| {
            sample.composition_offset = sample.composition_offset.saturating_sub(media_time as i32);
            sample
        };
        table = table.slice(0..table.len(), without_edit);
        fragments.iter_mut().for_each(|fragment| fragment.intact = None);
        (media_time, events) = (0, Vec::new());
    }
    let init = write_init(moov, header.id, media_time).map_err(|e| e.to_string())?;
    // Every WebVTT segment repeats it.
    let head_bytes = if header.entry.format.0 == *b"wvtt" { wvtt::head(&init).map_or(0, str::len) } else { 0 };
    if head_bytes > HEAD_BYTES_MAX {
        return Err(format!("a WebVTT head of {head_bytes} bytes, at most {HEAD_BYTES_MAX} are served"));
    }
    let frame_rate = match kind {
        Kind::Video => table.usual_interval().map(|interval| reduce(header.timescale.get(), interval)),
        _ => None,
    };
    let track = Track {
        name,
        version: Version(0),
        id: header.id,
        kind,
        timescale: header.timescale,
        entry: header.entry.clone(),
        language: header.extended_language.clone().or_else(|| language::bcp47(header.language)),
        label: label(&header.name),
        roles: roles(&header.kinds),
        is_enabled: header.is_enabled,
        place: 0,
        as_imsc: None,
        captions: None,
        frame_rate,
        media_time,
        init: Bytes::from(init),
        pssh: movie.pssh.iter().cloned().filter_map(pssh).collect(),
        keys,
        events,
        samples: table,
        fragments,
        segments: Vec::new(),
        clip_end: None,
    };
    Ok((track, fingerprint, notes))
}

/// How much before its first sample that is presented a track begins, besides what that is decoded from, in ticks: sound has to settle. An
/// encoder's priming is less than half a second.
fn lead(kind: Kind, timescale: Timescale) -> i64 {
    match kind {
        Kind::Audio => i64::from(timescale.get()) / 2,
        Kind::Video | Kind::Text => 0,
    }
}

/// Whether an edit takes off what composition offsets add, and no picture with it: signed offsets say the same without an edit. hls.js
/// 1.7.4 reads no edit lists, and where one clip follows another leaves a hole as wide as the edit.
fn is_shift(table: &SampleTable, media_time: i64) -> bool {
    let first = table.get(0);
    let presented = first.decode_time + i64::from(first.composition_offset);
    (1..=i64::from(i32::MAX / 2)).contains(&media_time) && presented >= media_time
}

/// How many samples the tracks of a movie may still have.
struct Budget {
    samples: u64,
    /// Of those, how many may be claimed by a count alone.
    claimed: u64,
}

impl Budget {
    /// Takes `samples`, of which `claimed` are claimed; the error says what would be more.
    fn take(&mut self, samples: u64, claimed: u64) -> Result<(), String> {
        self.claimed = self.claimed.checked_sub(claimed).ok_or_else(|| {
            format!(
                "more than {CLAIMED_SAMPLES_MAX} samples of the movie are claimed, with nothing written down for each"
            )
        })?;
        self.samples = (self.samples.checked_sub(samples))
            .ok_or_else(|| format!("more than {MOVIE_SAMPLES_MAX} samples in the movie"))?;
        Ok(())
    }
}

struct Builder<'a> {
    table: SampleTable,
    fragments: Vec<Fragment>,
    keys: Vec<KeyChange>,
    end: i64,
    /// Samples without bytes so far, which a few bytes of a run can claim by the million.
    empty_samples: u64,
    /// The `mdat` that was found last: what comes next lies in it, or in the one after it.
    mdat: usize,
    budget: &'a mut Budget,
}

impl Builder<'_> {
    fn push(
        &mut self,
        collected: Collected<'_>,
        delay: i64,
        source: &Source,
        scanned: &ScannedMovie,
    ) -> Result<(), String> {
        let first_sample = self.table.len();
        let start = collected.decode_time.unwrap_or(self.end);
        if start < self.end && first_sample > 0 {
            // Rounding of another clock may cost a little; more is another timeline or the same segment twice.
            let back = self.end - start;
            let last = i64::from(self.table.get(first_sample - 1).duration.max(1));
            if back > last {
                return Err(format!("decode time goes back from {} to {start}", self.end));
            }
        }
        let sample_count = collected.samples.count();
        // What the moov lists was taken before it was read.
        if let Samples::Runs { runs, .. } = &collected.samples {
            let claimed = runs.iter().filter(|run| run.is_claimed()).map(|run| u64::from(run.sample_count)).sum();
            self.budget.take(sample_count, claimed)?;
        }
        let has_bytes = match &collected.samples {
            Samples::Runs { places, .. } => self.check(collected.file, places.iter(), source, scanned)?,
            Samples::Listed(listed) => {
                self.check(collected.file, listed.stretches.iter().map(|stretch| &stretch.bytes), source, scanned)?
            }
        };
        if !has_bytes {
            self.empty_samples += sample_count;
            if self.empty_samples > EMPTY_SAMPLES_MAX {
                return Err(format!("more than {EMPTY_SAMPLES_MAX} samples without bytes"));
            }
        }
        let keys = self.key_changes(first_sample, &collected);
        if self.keys.len() + keys.len() > KEYS_MAX {
            return Err(format!("more than {KEYS_MAX} changes of keys"));
        }
        self.keys.extend(keys);
        // No sum here leaves 64 bits: a tfdt is below 2^61, all samples together last less than 2^57, and a delay is at most
        // a day.
        let mut descriptions = vec![(0, collected.description_index)];
        match collected.samples {
            Samples::Runs { runs, defaults, places } => {
                let mut time = start;
                let mut timed = |sample: RunSample| {
                    let RunSample { duration, size, flags, composition_offset } = sample;
                    let decode_time = time + delay;
                    time += i64::from(duration);
                    Sample { decode_time, duration, composition_offset, size, flags: SampleFlags(flags) }
                };
                for (run, place) in runs.iter().zip(&places) {
                    self.table.extend(run.samples(defaults).map(&mut timed), collected.file, place.start);
                }
                self.end = time;
            }
            Samples::Listed(mut listed) => {
                debug_assert!(self.table.is_empty(), "what the moov lists comes before any fragment");
                descriptions = std::mem::take(&mut listed.descriptions);
                self.table = SampleTable::of_listed(listed, collected.file, start + delay);
                self.end = self.table.end() - delay;
            }
        }
        let intact = collected.intact.filter(|_| delay == 0);
        // What the moov lists may change its description on the way.
        for (first, description_index) in descriptions.into_iter().filter(|_| sample_count > 0) {
            self.fragments.push(Fragment {
                first_sample: first_sample + first,
                sequence_number: collected.sequence_number,
                description_index,
                intact: intact.clone(),
                moof: collected.moof.clone(),
                traf: collected.traf,
                protection_bytes: collected.protection_bytes,
                relative_events: collected.relative_events,
            });
        }
        Ok(())
    }

    /// What `collected`, whose first sample is `first_sample`, adds to the keys.
    fn key_changes(&self, first_sample: u32, collected: &Collected<'_>) -> Vec<KeyChange> {
        let mut changes: Vec<KeyChange> = Vec::new();
        let mut first = first_sample;
        for &(count, kid) in &collected.kids {
            let last = changes.last().or(self.keys.last());
            if let Some(kid) = kid
                && last.is_none_or(|last| last.kid != kid || last.pssh != collected.pssh)
            {
                // A clear beginning is announced under the key that comes first, so that players have it in time.
                let first_sample = if last.is_none() { 0 } else { first };
                changes.push(KeyChange { first_sample, kid, pssh: Arc::clone(&collected.pssh) });
            }
            first += count;
        }
        changes
    }

    /// Checks that there is media at each of `places`, all of it in one `mdat`: neighbours in two have a head between them. Says whether there is
    /// any byte.
    fn check<'p>(
        &mut self,
        file: u32,
        places: impl Iterator<Item = &'p Range<u64>>,
        source: &Source,
        scanned: &ScannedMovie,
    ) -> Result<bool, String> {
        let holds = |mdat: &Range<u64>, place: &Range<u64>| mdat.start <= place.start && place.end <= mdat.end;
        let of_file = |mdat: usize| scanned.mdats.get(mdat).filter(|(other, _)| *other == file).map(|(_, mdat)| mdat);
        let mut mdat = of_file(self.mdat).cloned().unwrap_or(0..0);
        let mut has_bytes = false;
        for place in places {
            has_bytes |= !place.is_empty();
            if holds(&mdat, place) {
                continue;
            }
            if place.end > source.file_len(file) {
                return Err(format!("sample data at {:#x} run past the end of the file", place.start));
            }
            let after = scanned.mdats.partition_point(|(other, mdat)| (*other, mdat.start) <= (file, place.start));
            self.mdat = after.saturating_sub(1);
            mdat = of_file(self.mdat).cloned().unwrap_or(0..0);
            if !place.is_empty() && !holds(&mdat, place) {
                return Err(format!("sample data at {:#x} lie outside any mdat", place.start));
            }
        }
        Ok(has_bytes)
    }
}

pub(crate) fn reduce(a: u32, b: u32) -> (u32, u32) {
    let gcd = |mut a: u32, mut b: u32| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a.max(1)
    };
    let divisor = gcd(a, b);
    (a / divisor, b / divisor)
}

/// A handler's name, where somebody chose it.
pub(crate) fn label(name: &str) -> Option<String> {
    let name: String = name.chars().filter(|c| !c.is_control() && *c != '"').collect();
    let name = name.trim();
    let stock = [
        "handler",
        "soundhandle",
        "videohandle",
        "core media",
        "iso media",
        "gpac",
        "bento4",
        "l-smash",
        "shaka",
        "mainconcept",
        "apple ",
    ];
    // In a longer name they may say something: "Audio description".
    let generic = ["audio", "video", "subtitle", "subtitles", "text", "stereo", "mono"];
    let lower = name.to_lowercase();
    let is_stock = generic.contains(&&*lower) || stock.iter().any(|word| lower.contains(word));
    let chosen = !name.is_empty() && name.len() <= 100 && !is_stock;
    chosen.then(|| name.to_owned())
}

pub(crate) fn roles(kinds: &[(String, String)]) -> Vec<Role> {
    let role = |(scheme, value): &(String, String)| match (scheme.as_str(), value.as_str()) {
        ("urn:mpeg:dash:role:2011", value) => role_named(value),
        _ => None,
    };
    let mut roles: Vec<Role> = kinds.iter().filter_map(role).collect();
    roles.sort_unstable();
    roles.dedup();
    roles
}

/// The role called `name` in urn:mpeg:dash:role:2011.
pub fn role_named(name: &str) -> Option<Role> {
    Some(match name {
        "main" => Role::Main,
        "alternate" => Role::Alternate,
        "commentary" => Role::Commentary,
        "description" => Role::Description,
        "dub" => Role::Dub,
        "caption" => Role::Caption,
        "subtitle" => Role::Subtitle,
        "forced-subtitle" | "forced_subtitle" => Role::ForcedSubtitle,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_writers_call_every_track_is_no_label() {
        for name in ["SoundHandle", "Subtitles", "STEREO", " mono ", "Text", "ISO Media file produced by Google Inc."] {
            assert_eq!(super::label(name), None, "{name}");
        }
        for name in ["Audio description", "Stereo, director", "Signs & songs"] {
            assert_eq!(super::label(name).as_deref(), Some(name));
        }
    }
}
