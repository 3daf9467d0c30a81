//! `headwater inspect`: what a media file holds, and what would be served of it.
//!
//! Two readings side by side: what the `moov` says of each track, which even a file that can't be served may have; and what
//! the server makes of it, by the same code that serves.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::config::quantity::readable_bytes;
use crate::content::edits::{self, Edits};
use crate::content::scan::{self, Looks, ScannedMovie};
use crate::content::sidecar;
use crate::content::source::Source;
use crate::content::storage::Storage;
use crate::content::subtitles::{self, TextFile};
use crate::content::vod::{self, Opened, Part, Said, track_name};
use crate::formats::isobmff::boxes::Boxes;
use crate::formats::isobmff::fragment::{MovieFragment, TrackFragment};
use crate::formats::isobmff::movie::{Movie, TrackHeader};
use crate::formats::isobmff::sample_entry::{Media, Protection};
use crate::formats::isobmff::sample_tables;
use crate::formats::isobmff::second_reading::{self, SecondReading};
use crate::formats::language;
use crate::media::timeline;
use crate::media::track::Track;
use crate::packager::rate::{self, Rates};
use crate::time::MediaTime;

/// The segments that are shown are those the server cuts unless it is told otherwise.
const TARGET: Duration = Duration::from_secs(6);
/// Sync points that are listed; the others are counted.
const SYNCS_SHOWN_MAX: usize = 5;

/// Prints what `file` holds, as text or JSON. Fails, after printing what could be read, if it can't be served.
pub fn run(file: &Path, json: bool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    if file.is_dir() {
        return Err(format!("{} is a folder; `headwater check` says what is in it", file.display()).into());
    }
    let report = Report::of(file);
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else if !report.tracks.is_empty() || report.text.is_some() {
        report.write(&mut out)?;
    }
    out.flush()?;
    match report.error {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(why.into()),
    }
}

/// A file.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    size_bytes: u64,
    /// Why it can't be served; `None` if it would be.
    error: Option<String>,
    duration_s: Option<f64>,
    segment_target_s: f64,
    tracks: Vec<TrackReport>,
    /// Of a file of subtitles.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<TextReport>,
    warnings: Vec<String>,
}

/// A file of subtitles: what its name says, and what is shown of it, beside media.
#[derive(Debug, Serialize)]
struct TextReport {
    language: Option<String>,
    roles: Vec<&'static str>,
    cues: usize,
    first_s: f64,
    last_s: f64,
}

/// A track: what its header says, and what is served of it.
#[derive(Debug, Serialize)]
struct TrackReport {
    id: u32,
    kind: &'static str,
    sample_entry: String,
    codec: String,
    supplemental_codec: Option<String>,
    language: Option<String>,
    timescale: u32,
    picture: Option<Picture>,
    sound: Option<Sound>,
    protection: Option<ProtectionReport>,
    /// The edit list as it stands in the file.
    edit_list: Vec<EditReport>,
    /// Samples that the `moov` itself lists.
    samples_in_moov: u32,
    /// Whether another reader makes the same of these: `agrees`, or the first difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_reading: Option<String>,
    /// `None` of a track that is left out.
    served: Option<Served>,
}

#[derive(Debug, Serialize)]
struct Picture {
    width: u16,
    height: u16,
    /// `4:3`, of one pixel.
    pixel_aspect: Option<String>,
    bit_depth: Option<u8>,
    /// Code points of ISO/IEC 23091-2.
    colour: Option<ColourReport>,
}

#[derive(Debug, Serialize)]
struct ColourReport {
    primaries: u8,
    transfer: u8,
    matrix: u8,
    full_range: bool,
}

#[derive(Debug, Serialize)]
struct Sound {
    channels: u16,
    sample_rate: u32,
}

#[derive(Debug, Serialize)]
struct ProtectionReport {
    scheme: String,
    default_kid: String,
    /// Encrypted and clear blocks of 16 bytes in turns; both 0 where all is encrypted.
    pattern: [u8; 2],
    per_sample_iv_bytes: u8,
    systems: Vec<System>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct System {
    id: String,
    name: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct EditReport {
    /// In the movie's timescale.
    segment_duration: u64,
    /// In the track's timescale; -1 for an empty edit.
    media_time: i64,
}

/// What is served of a track. Ticks are those of its timescale.
#[derive(Debug, Serialize)]
struct Served {
    name: String,
    label: Option<String>,
    roles: Vec<&'static str>,
    start_ticks: i64,
    start_s: f64,
    duration_ticks: i64,
    duration_s: f64,
    /// `24000/1001`
    frame_rate: Option<String>,
    frames_per_second: Option<f64>,
    /// What the edit list takes off the media's start.
    media_time_ticks: i64,
    /// What empty edits add before it.
    delay_ticks: i64,
    samples: u32,
    sync_points: SyncPoints,
    fragments: Fragments,
    segments: Segments,
    bandwidth: u64,
    average_bandwidth: u64,
    /// How often another key begins to hold.
    key_changes: usize,
    /// Captions in its pictures; null if it is not known whether there are any.
    captions: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct SyncPoints {
    count: usize,
    /// Whether decoding may start at every sample.
    all: bool,
    first_s: Vec<f64>,
    /// Seconds from one to the next, and from the last to the end.
    gop_min_s: f64,
    gop_median_s: f64,
    gop_max_s: f64,
}

#[derive(Debug, Serialize)]
struct Fragments {
    count: usize,
    /// Sent as they are.
    intact: usize,
    /// Would be sent as they are, if no segment began inside.
    cut: usize,
    /// Made anew around the same media, and why.
    rebuilt: usize,
    rebuilt_because: BTreeMap<&'static str, usize>,
}

#[derive(Debug, Serialize)]
struct Segments {
    count: usize,
    shortest_s: f64,
    longest_s: f64,
}

impl Report {
    fn of(file: &Path) -> Report {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut report = Report {
            file: file.display().to_string(),
            size_bytes: std::fs::metadata(file).map_or(0, |metadata| metadata.len()),
            error: None,
            duration_s: None,
            segment_target_s: TARGET.as_secs_f64(),
            tracks: Vec::new(),
            text: None,
            warnings: Vec::new(),
        };
        if subtitles::is_text(file) {
            report.read_text(file);
            return report;
        }
        let movie = headers(file);
        let part = Part { name: track_name(&stem), files: vec![file.to_path_buf()], said: Said::default() };
        let opened = match vod::open(&Storage::Local, &[part], Vec::new(), &[], TARGET) {
            Ok(opened) => Some(opened),
            Err(error) => {
                let why = part_of_a_packaging(file).map_or_else(|| error.to_string(), str::to_owned);
                report.error = Some(if why.contains(&name) { why } else { format!("{}: {why}", report.file) });
                None
            }
        };
        let rates = opened.as_ref().map(|opened| rate::measure(&opened.presentation));
        if let Some(movie) = &movie {
            report.tracks = movie
                .tracks
                .iter()
                .map(|header| TrackReport::of(header, movie, opened.as_ref().zip(rates.as_ref())))
                .collect();
            report.read_again(file);
        }
        if let Some(Opened { presentation, .. }) = opened {
            report.duration_s = Some(presentation.duration().seconds());
            report.warnings = presentation.warnings;
        }
        report
    }

    /// Has the samples that the `moov` lists read by another reader too.
    fn read_again(&mut self, file: &Path) {
        let Some(movie) = scanned(file) else { return };
        let Some(Ok(moov)) = Boxes::new(&movie.moov, movie.moov_offset).next() else { return };
        for track in self.tracks.iter_mut().filter(|track| track.samples_in_moov > 0) {
            let Ok(listed) = sample_tables::read(moov, track.id, self.size_bytes) else { continue };
            let said = match second_reading::compare(moov, track.id, &listed) {
                Ok(SecondReading::Agrees) => "agrees".to_owned(),
                Ok(SecondReading::Differs(how)) => how,
                Err(error) => error.to_string(),
            };
            track.second_reading = Some(said);
        }
    }

    /// Of a file of subtitles, which is served beside media or not at all.
    fn read_text(&mut self, file: &Path) {
        let said = subtitles::said_at_the_end(file).unwrap_or_default();
        let texts = [TextFile { name: "text".to_owned(), path: file.to_path_buf(), said }];
        match subtitles::read_all(&Storage::Local, &texts, &mut self.warnings).pop() {
            Some(text) => {
                let ends = text.cues.cues.iter().map(|cue| cue.end_ms).max().unwrap_or(0);
                let starts = text.cues.cues.iter().map(|cue| cue.start_ms).min().unwrap_or(0);
                self.text = Some(TextReport {
                    language: text.language.or(text.cues.language),
                    roles: text.roles.iter().map(|role| role.name()).collect(),
                    cues: text.cues.cues.len(),
                    first_s: starts as f64 / 1000.0,
                    last_s: ends as f64 / 1000.0,
                });
            }
            None => {
                let why = if self.warnings.is_empty() { "it is no text".to_owned() } else { self.warnings.join("; ") };
                self.error = Some(format!("{}: {why}", self.file));
            }
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        if let Some(text) = &self.text {
            let (size, plural) = (readable_bytes(self.size_bytes), if text.cues == 1 { "" } else { "s" });
            write!(out, "{}: {size}, subtitles, {} cue{plural}", self.file, text.cues)?;
            writeln!(out, " from {:.3} to {:.3} s; they are served beside media", text.first_s, text.last_s)?;
            if let Some(language) = &text.language {
                writeln!(out, "  Language    {language}")?;
            }
            if !text.roles.is_empty() {
                writeln!(out, "  Roles       {}", text.roles.join(", "))?;
            }
            return self.write_warnings(out);
        }
        let plural = if self.tracks.len() == 1 { "" } else { "s" };
        write!(out, "{}: {}, {} track{plural}", self.file, readable_bytes(self.size_bytes), self.tracks.len())?;
        match self.duration_s {
            Some(seconds) => writeln!(out, ", {seconds:.3} s")?,
            None => writeln!(out)?,
        }
        for track in &self.tracks {
            track.write(out, self.segment_target_s)?;
        }
        self.write_warnings(out)
    }

    fn write_warnings(&self, out: &mut impl Write) -> io::Result<()> {
        if !self.warnings.is_empty() {
            writeln!(out, "\nWarnings")?;
        }
        for warning in &self.warnings {
            writeln!(out, "  {warning}")?;
        }
        Ok(())
    }
}

/// What the `moov` of `file` says, if it can be read; why not, [`vod::open`] tells.
fn headers(file: &Path) -> Option<Movie> {
    let scanned = scanned(file)?;
    Movie::parse(Boxes::new(&scanned.moov, scanned.moov_offset).next()?.ok()?).ok()
}

fn scanned(file: &Path) -> Option<ScannedMovie> {
    let source = Source::open(&Storage::Local, &[file.to_path_buf()]).ok()?;
    scan::scan(&source, 0..1).ok()
}

/// What to say of a file that holds no movie of its own.
fn part_of_a_packaging(file: &Path) -> Option<&'static str> {
    if sidecar::is_sidecar(file) {
        return Some("it says what a presentation is made of; `headwater check` reads it with its folder");
    }
    if file.extension().is_some_and(|e| e.eq_ignore_ascii_case("mpd") || e.eq_ignore_ascii_case("m3u8")) {
        return Some("a manifest, which is not read: what it says follows from the media");
    }
    let source = Source::open(&Storage::Local, &[file.to_path_buf()]).ok()?;
    match scan::looks(&source, 0).ok()? {
        Looks::Init => {
            Some("an initialization segment: its media lies in other files (`headwater check` looks at folders)")
        }
        Looks::Segment => {
            Some("a media segment: its initialization segment is another file (`headwater check` looks at folders)")
        }
        Looks::Movie | Looks::Other => None,
    }
}

impl TrackReport {
    fn of(header: &TrackHeader, movie: &Movie, served: Option<(&Opened, &Rates)>) -> TrackReport {
        let entry = &header.entry;
        let served = served.and_then(|(opened, rates)| {
            let track = opened.presentation.tracks().find(|track| track.id == header.id)?;
            Some((opened, rates, track))
        });
        let pssh: Vec<&[u8]> = match served {
            Some((_, _, track)) => track
                .pssh
                .iter()
                .chain(track.keys.iter().flat_map(|key| key.pssh.iter()))
                .map(|pssh| &pssh.bytes[..])
                .collect(),
            None => movie.pssh.iter().map(|pssh| &pssh[..]).collect(),
        };
        let (kind, picture, sound) = match &entry.media {
            Media::Video(video) => {
                let colour = video.colour.map(|c| ColourReport {
                    primaries: c.primaries,
                    transfer: c.transfer,
                    matrix: c.matrix,
                    full_range: c.full_range,
                });
                let pixel_aspect = video.pixel_aspect.map(|(h, v)| format!("{h}:{v}"));
                let (width, height) = (video.width, video.height);
                ("video", Some(Picture { width, height, pixel_aspect, bit_depth: video.bit_depth, colour }), None)
            }
            Media::Audio(audio) => {
                ("audio", None, Some(Sound { channels: audio.channels, sample_rate: audio.sample_rate }))
            }
            Media::Text => ("text", None, None),
        };
        let of_file = || header.extended_language.clone().or_else(|| language::bcp47(header.language));
        TrackReport {
            id: header.id,
            kind,
            sample_entry: entry.format.to_string(),
            codec: entry.codecs.clone(),
            supplemental_codec: entry.supplemental_codecs.clone(),
            language: served.map_or_else(of_file, |(_, _, track)| track.language.clone()),
            timescale: header.timescale.get(),
            picture,
            sound,
            protection: entry.protection.as_ref().map(|protection| ProtectionReport::of(protection, &pssh)),
            edit_list: (header.edits.iter())
                .map(|e| EditReport { segment_duration: e.segment_duration, media_time: e.media_time })
                .collect(),
            samples_in_moov: header.sample_count,
            second_reading: None,
            served: served.map(|(opened, rates, track)| Served::of(header, movie, opened, rates, track)),
        }
    }

    fn write(&self, out: &mut impl Write, target_s: f64) -> io::Result<()> {
        write!(out, "\nTrack {}", self.id)?;
        if let Some(served) = &self.served {
            write!(out, "  {}", served.name)?;
        }
        write!(out, "  {}  {}", self.kind, self.codec)?;
        if let Some(supplemental) = &self.supplemental_codec {
            write!(out, " ({supplemental})")?;
        }
        writeln!(out, "{}", if self.served.is_none() { "  not served" } else { "" })?;
        let mut line = |name: &str, text: String| match text.is_empty() {
            true => Ok(()),
            false => writeln!(out, "  {name:<11} {text}"),
        };
        if let Some(picture) = &self.picture {
            line("Picture", picture.sentence(self.served.as_ref()))?;
        }
        if let Some(Sound { channels, sample_rate }) = self.sound {
            line("Sound", format!("{channels} channel{}, {sample_rate} Hz", if channels == 1 { "" } else { "s" }))?;
        }
        line("Language", self.language.clone().unwrap_or_default())?;
        if let Some(protection) = &self.protection {
            line("Protection", protection.sentence())?;
        }
        let edits = self.edit_list.iter().map(|e| format!("{} from {}", e.segment_duration, e.media_time));
        let edits = edits.take(SYNCS_SHOWN_MAX).collect::<Vec<_>>().join(", ");
        let Some(served) = &self.served else {
            line("Edit list", edits)?;
            line("Timescale", self.timescale.to_string())?;
            let samples = self.samples_in_moov;
            line("Read again", self.second_reading.clone().unwrap_or_default())?;
            return line("Samples", if samples > 0 { format!("{samples} in the moov") } else { String::new() });
        };
        line("Label", served.label.clone().unwrap_or_default())?;
        line("Roles", served.roles.join(", "))?;
        line(
            "Time",
            format!("{:.3} s from {:.3} s on, timescale {}", served.duration_s, served.start_s, self.timescale),
        )?;
        if !edits.is_empty() {
            let applied = match (served.media_time_ticks, served.delay_ticks) {
                (0, 0) => "nothing to apply".to_owned(),
                (media_time, 0) => format!("{media_time} ticks are taken off"),
                (0, delay) => format!("{delay} ticks of delay are added"),
                (media_time, delay) => format!("{media_time} ticks are taken off, {delay} of delay added"),
            };
            line("Edit list", format!("{edits}: {applied}"))?;
        }
        line("Samples", served.sync_points.sentence(served.samples))?;
        line("Read again", self.second_reading.clone().unwrap_or_default())?;
        line("Fragments", served.fragments.sentence())?;
        let Segments { count, shortest_s, longest_s } = served.segments;
        line("Segments", format!("{count} at a target of {target_s} s, {shortest_s:.3} to {longest_s:.3} s long"))?;
        line("Bit rate", format!("{} peak, {} average", bits(served.bandwidth), bits(served.average_bandwidth)))?;
        line("Captions", served.captions.iter().flatten().cloned().collect::<Vec<_>>().join(", "))?;
        match served.key_changes {
            0 => Ok(()),
            1 => line("Keys", "they change once".to_owned()),
            changes => line("Keys", format!("they change {changes} times")),
        }
    }
}

fn bits(rate: u64) -> String {
    match rate {
        ..1_000_000 => format!("{} kb/s", rate.div_ceil(1000)),
        _ => format!("{:.2} Mb/s", rate as f64 / 1e6),
    }
}

impl Picture {
    fn sentence(&self, served: Option<&Served>) -> String {
        let mut text = format!("{}x{}", self.width, self.height);
        if let Some(aspect) = self.pixel_aspect.as_ref().filter(|aspect| *aspect != "1:1") {
            text += &format!(", pixels {aspect}");
        }
        if let Some(rate) = served.and_then(|served| served.frames_per_second) {
            let rate = format!("{rate:.3}");
            text += &format!(", {} fps", rate.trim_end_matches('0').trim_end_matches('.'));
        }
        if let Some(depth) = self.bit_depth {
            text += &format!(", {depth} bit");
        }
        if let Some(ColourReport { primaries, transfer, matrix, full_range }) = self.colour {
            // The two curves of high dynamic range (ISO/IEC 23091-2 §8.2).
            let curve = match transfer {
                16 => " (PQ)",
                18 => " (HLG)",
                _ => "",
            };
            let range = if full_range { ", full range" } else { "" };
            text += &format!(", colour {primaries}/{transfer}/{matrix}{curve}{range}");
        }
        text
    }
}

impl ProtectionReport {
    fn of(protection: &Protection, pssh: &[&[u8]]) -> ProtectionReport {
        let mut systems: Vec<System> = pssh.iter().filter_map(|bytes| System::of(bytes)).collect();
        systems.sort();
        systems.dedup();
        ProtectionReport {
            scheme: protection.scheme.to_string(),
            default_kid: uuid(&protection.default_kid),
            pattern: protection.pattern.into(),
            per_sample_iv_bytes: protection.per_sample_iv_size,
            systems,
        }
    }

    fn sentence(&self) -> String {
        let mut text = format!("{}, KID {}", self.scheme, self.default_kid);
        let names: Vec<&str> = self.systems.iter().map(|s| s.name.unwrap_or(s.id.as_str())).collect();
        if !names.is_empty() {
            text += &format!(", pssh of {}", names.join(", "));
        }
        text
    }
}

impl System {
    /// The system of a `pssh` box (ISO/IEC 23001-7 §8.1).
    fn of(pssh: &[u8]) -> Option<System> {
        let id = uuid(pssh.get(12..28)?.try_into().ok()?);
        let name = match id.as_str() {
            "1077efec-c0b2-4d02-ace3-3c1e52e2fb4b" => Some("the common system"),
            "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed" => Some("Widevine"),
            "9a04f079-9840-4286-ab92-e65be0885f95" => Some("PlayReady"),
            "94ce86fb-07ff-4f43-adb8-93d2fa968ca2" => Some("FairPlay"),
            _ => None,
        };
        Some(System { id, name })
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

impl Served {
    fn of(header: &TrackHeader, movie: &Movie, opened: &Opened, rates: &Rates, track: &Track) -> Served {
        let Edits { delay, media_time, .. } =
            edits::read(&header.edits, movie.timescale, header.timescale, movie.is_fragmented, &mut Vec::new());
        let rate = rates.of(track);
        let seconds = |ticks: i64| track.time(ticks).seconds();
        let durations = || track.segments.iter().map(|segment| segment.duration);
        Served {
            name: track.name.clone(),
            label: track.label.clone(),
            roles: track.roles.iter().map(|role| role.name()).collect(),
            start_ticks: track.start(),
            start_s: seconds(track.start()),
            duration_ticks: track.end() - track.start(),
            duration_s: seconds(track.end() - track.start()),
            frame_rate: track.frame_rate.map(|(n, d)| if d == 1 { n.to_string() } else { format!("{n}/{d}") }),
            frames_per_second: track.frame_rate.map(|(n, d)| f64::from(n) / f64::from(d)),
            media_time_ticks: media_time,
            delay_ticks: delay,
            samples: track.samples.len(),
            sync_points: SyncPoints::of(track),
            fragments: Fragments::of(track, &opened.source),
            segments: Segments {
                count: track.segments.len(),
                shortest_s: seconds(durations().min().unwrap_or(0)),
                longest_s: seconds(durations().max().unwrap_or(0)),
            },
            bandwidth: rate.peak,
            average_bandwidth: rate.average,
            key_changes: track.rotations().count(),
            captions: track
                .captions
                .as_ref()
                .map(|captions| captions.iter().map(|caption| caption.service.to_string()).collect()),
        }
    }
}

impl SyncPoints {
    fn of(track: &Track) -> SyncPoints {
        let times = timeline::sync_times(&track.samples, track.media_time, track.timescale);
        let mut gops: Vec<i64> = times.windows(2).map(|pair| pair[1].ticks - pair[0].ticks).collect();
        if let Some(last) = times.last() {
            gops.push((track.end() - last.ticks).max(0));
        }
        gops.sort_unstable();
        let seconds = |ticks: Option<&i64>| track.time(ticks.copied().unwrap_or(0)).seconds();
        SyncPoints {
            count: times.len(),
            all: track.samples.all_sync(),
            first_s: times.iter().take(SYNCS_SHOWN_MAX).map(|time: &MediaTime| time.seconds()).collect(),
            gop_min_s: seconds(gops.first()),
            gop_median_s: seconds(gops.get(gops.len() / 2)),
            gop_max_s: seconds(gops.last()),
        }
    }

    fn sentence(&self, samples: u32) -> String {
        if self.all {
            return format!("{samples}, each a sync point");
        }
        let first: Vec<String> = self.first_s.iter().map(|seconds| format!("{seconds:.3}")).collect();
        let more = if self.count > first.len() { " ..." } else { "" };
        let SyncPoints { count, gop_min_s, gop_median_s, gop_max_s, .. } = self;
        let at = if first.is_empty() { String::new() } else { format!(" at {}{more} s", first.join(" ")) };
        let gops = format!("GOPs of {gop_min_s:.3} to {gop_max_s:.3} s, median {gop_median_s:.3} s");
        format!("{samples}, {count} sync point{}{at}; {gops}", if *count == 1 { "" } else { "s" })
    }
}

impl Fragments {
    fn of(track: &Track, source: &Source) -> Fragments {
        let firsts = |index: usize| {
            let samples = track.fragment_samples(index);
            let next = track.segments.partition_point(|segment| segment.first_sample <= samples.start);
            (samples.end, track.segments.get(next).map_or(u32::MAX, |segment| segment.first_sample))
        };
        let mut count =
            Fragments { count: track.fragments.len(), intact: 0, cut: 0, rebuilt: 0, rebuilt_because: BTreeMap::new() };
        for (index, fragment) in track.fragments.iter().enumerate() {
            let (end, next_segment) = firsts(index);
            match &fragment.intact {
                Some(_) if next_segment < end => count.cut += 1,
                Some(_) => count.intact += 1,
                None => {
                    count.rebuilt += 1;
                    let read = fragment.moof.as_ref().map(|moof| (moof, source.read(std::slice::from_ref(moof))));
                    let why = match &read {
                        None => "its samples are listed in the moov",
                        Some((moof, Ok(bytes))) => why_rebuilt(bytes, moof.range.start, track.id),
                        Some((_, Err(_))) => "it can't be read",
                    };
                    *count.rebuilt_because.entry(why).or_default() += 1;
                }
            }
        }
        count
    }

    fn sentence(&self) -> String {
        let mut parts = Vec::new();
        for (count, what) in [(self.intact, "sent unchanged"), (self.cut, "cut where a segment begins")] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.extend(self.rebuilt_because.iter().map(|(why, count)| format!("{count} rebuilt: {why}")));
        format!("{}: {}", self.count, parts.join("; "))
    }
}

/// Why the fragment of track `id` in `moof`, which lies at `offset`, does not pass as it is.
fn why_rebuilt(moof: &[u8], offset: u64, id: u32) -> &'static str {
    let parsed = Boxes::new(moof, offset).next().and_then(Result::ok).map(MovieFragment::parse);
    let Some(Ok(fragment)) = parsed else { return "its moof can't be read" };
    let of_track = |traf: &&TrackFragment<'_>| traf.track_id == id;
    let Some(traf) = fragment.trafs.iter().find(of_track) else { return "its moof can't be read" };
    if fragment.trafs.len() > 1 {
        "it came with other tracks"
    } else if traf.base_data_offset.is_some() || !traf.default_base_is_moof {
        "its data is not counted from the moof"
    } else if traf.base_media_decode_time.is_none() {
        "it says no decode time"
    } else {
        "an initial delay is added, or its samples do not lie in the mdat that follows"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str) -> Report {
        Report::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name))
    }

    fn fragments(name: &str) -> Vec<String> {
        report(name).tracks.iter().flat_map(|track| &track.served).map(|served| served.fragments.sentence()).collect()
    }

    #[test]
    fn why_fragments_are_rebuilt() {
        for (name, expected) in [
            ("shape-mfra.mp4", "4: 4 sent unchanged"),
            ("muxed.mp4", "3: 3 rebuilt: it came with other tracks"),
            ("shape-one-fragment.mp4", "1: 1 rebuilt: it came with other tracks"),
            ("hybrid.mp4", "8: 7 rebuilt: it came with other tracks; 1 rebuilt: its samples are listed in the moov"),
        ] {
            assert_eq!(fragments(name)[0], expected, "{name}");
        }
    }

    #[test]
    fn a_report_without_tracks_has_a_reason() {
        let report = report("broken-empty.mp4");
        assert!(report.tracks.is_empty());
        assert_eq!(report.error.as_deref(), Some("broken-empty.mp4: the file is empty (at 0x0)"));
    }

    #[test]
    fn systems_are_named() {
        let report = report("encrypted-cbcs/video.mp4");
        let protection = report.tracks[0].protection.as_ref().map(ProtectionReport::sentence);
        assert_eq!(
            protection.as_deref(),
            Some("cbcs, KID 10111213-1415-1617-1819-202122232425, pssh of the common system, PlayReady, Widevine")
        );
    }
}
