//! Making objects: content says where bytes are, the packager how they are put together, and here they are.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tracing::Instrument;

use crate::cache::disk::{Disk, Name};
use crate::cache::{Lease, Weigh};
use crate::content::file::SourceError;
use crate::content::library::entry::Entry;
use crate::content::line::Line;
use crate::content::vod::{OpenError, Opened};
use crate::formats::error::Malformed;
use crate::formats::image::Format;
use crate::media::presentation::Period;
use crate::media::sample::SourceRange;
use crate::media::track::{Kind, Segment, Track, Version};
use crate::media::trick;
use crate::origin::address::TrackItem;
use crate::origin::admission::Memory;
use crate::origin::object::{Object, Problem, Recipe};
use crate::origin::options::Options;
use crate::packager::hls::rendition::{Renditions, why_not};
use crate::packager::plan::Plan;
use crate::packager::rate::{self, Rates};
use crate::packager::{cmaf, dash, hls, text};
use crate::rope::Rope;
use crate::telemetry::Telemetry;
use crate::time::{Rounding, Timescale, Utc, rescale};

/// Of what is named by its version.
pub(crate) const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// How long what is on demand may be used when nothing newer can be had (RFC 5861 §4): what it names was made already, and lies in the same
/// caches.
const STALE_IF_ERROR: Duration = Duration::from_secs(24 * 3600);
/// Why a body finds no room.
pub(crate) const MEMORY_FULL: &str = "memory_full";
/// A smaller manifest is not worth a coding of its own.
pub(crate) const CODED_MIN_BYTES: usize = 512;
/// The longest that an old version is served after its source was replaced, whatever its duration.
const GRACE_MAX: Duration = Duration::from_secs(6 * 3600);
/// A larger segment, of a file without sync samples, would take the memory of all others.
const SEGMENT_BYTES_MAX: u64 = 512 << 20;
/// The most bytes of cues that a WebVTT segment is made of, with those around it that it has to look at: half an hour of text is a tenth of a
/// megabyte, and samples may overlap.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// How often text may ask for more of its track: its window doubles each time.
const TEXT_ROUNDS_MAX: usize = 8;

/// A presentation that has been opened: all that is needed to make its objects.
#[derive(Debug)]
pub struct Indexed {
    /// Where it stands in the catalogue.
    pub entry: Arc<Entry>,
    /// The model and the files.
    pub opened: Opened,
    /// Bit rates of its tracks.
    pub rates: Rates,
    /// What HLS lists.
    pub renditions: Renditions,
    /// Why there is no HLS of it, and why no DASH.
    pub refusals: [Option<String>; 2],
    /// What each file that is kept open weighs.
    file_weight: u64,
}

impl Weigh for Indexed {
    fn weight(&self) -> u64 {
        let Opened { presentation, source } = &self.opened;
        (presentation.weight() + self.rates.weight() + source.weight()) as u64
            + source.open_files() as u64 * self.file_weight
    }
}

impl Indexed {
    /// Opens `entry`. Blocks.
    pub fn open(entry: Arc<Entry>, options: &Options, now: Utc) -> Result<Indexed, Problem> {
        let is_known = entry.is_refused();
        let opened = entry.open(now).map_err(|error| {
            if !is_known {
                tracing::warn!(presentation = entry.name(), %error, "can't be served");
            }
            match error {
                OpenError::Nothing(why) => {
                    Problem::not_found("not_servable", format!("{} can't be served: {why}", entry.name()))
                }
                OpenError::Source(error) => source_problem(&error),
            }
        })?;
        let rates = rate::measure(&opened.presentation);
        let renditions = Renditions::of(&opened.presentation, &rates);
        let hls = hls::multivariant::playlist(&opened.presentation, &renditions, &hls_options(options)).err();
        for warning in opened.presentation.warnings.iter().chain(&renditions.notes) {
            tracing::warn!(presentation = entry.name(), "{warning}");
        }
        let dash = dash::mpd(&opened.presentation, &rates).err();
        let refusals = [hls.map(|why| why.to_string()), dash.map(|why| why.to_string())];
        // So that a full cache holds no more files open than it may.
        let file_weight = options.index_bytes() / options.open_files_max.max(1) as u64;
        Ok(Indexed { entry, opened, rates, renditions, refusals, file_weight })
    }

    /// How long its objects are served after its source was replaced.
    pub fn grace(&self, configured: Option<Duration>, manifest_max_age: Duration) -> Duration {
        configured.unwrap_or_else(|| {
            let seconds = self.opened.presentation.duration().seconds().max(0.0);
            Duration::from_secs_f64(seconds.min(GRACE_MAX.as_secs_f64())) + manifest_max_age
        })
    }

    /// Whether a track or an HLS media playlist has this name and version.
    pub fn has(&self, name: &str, version: Version) -> bool {
        let Opened { presentation, .. } = &self.opened;
        presentation.track_version(name, version).is_some()
            || self.renditions.find(name, version).is_some()
            || presentation.thumbnails(name, version).is_some()
    }

    fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.entry.lease)
    }
}

fn hls_options(options: &Options) -> hls::Options {
    hls::Options { key_uri: options.key_uri.clone(), ..hls::Options::default() }
}

/// What it means for who asked that a source can't be read.
pub(crate) fn source_problem(error: &SourceError) -> Problem {
    match error {
        SourceError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
            Problem::not_found("source_gone", "the source file is not there any more")
        }
        SourceError::Replaced { .. } => Problem::unavailable("source_replaced", "the source file is being replaced"),
        SourceError::Short { .. } => {
            Problem::unavailable("source_short", "the source file ends before this part of it")
        }
        SourceError::Storage { .. } => Problem::unavailable(
            "storage_unavailable",
            "the storage that holds the source does not answer as it should",
        ),
        SourceError::Busy { .. } => {
            Problem::unavailable("reads_busy", "too many reads wait for what holds the source; try again")
        }
        SourceError::Io { .. } => Problem::unavailable("source_unreadable", "the source file can't be read"),
    }
}

/// Makes objects of one presentation.
#[derive(Clone, Debug)]
pub struct Render {
    /// Of this.
    pub indexed: Arc<Indexed>,
    /// How.
    pub options: Arc<Options>,
    /// As of when.
    pub now: Utc,
    /// How long objects outlive their source.
    pub grace: Duration,
    /// Where bodies find room.
    pub memory: Arc<Memory>,
    /// What is read is counted here.
    pub telemetry: Arc<Telemetry>,
    /// Where reads of local files wait for their turn.
    pub files: Arc<Line>,
    /// Where what was read of a storage is kept, too.
    pub disk: Option<Arc<Disk>>,
}

impl Render {
    fn recipe(
        &self,
        content_type: &'static str,
        etag: String,
        cache_control: impl Into<Cow<'static, str>>,
        body: Rope,
    ) -> Recipe {
        let source = &self.indexed.opened.source;
        Recipe {
            content_type,
            etag,
            modified_s: Some(source.modified_s()),
            cache_control: cache_control.into(),
            len: body.len(),
            body: Some(body),
            is_coded: false,
            cmsd: None,
            has_age: false,
            lease: self.indexed.lease(),
            grace: self.grace,
            // Its bytes are counted where they were read.
            sent_within: None,
        }
    }

    /// A manifest: hashed for its entity tag, and coded once for all who can take it.
    fn manifest(
        &self,
        content_type: &'static str,
        cache_control: Cow<'static, str>,
        grace: Duration,
        text: Vec<u8>,
    ) -> Object {
        let hash = blake3::hash(&text);
        let etag = hash.to_hex()[..16].to_owned();
        let is_coded = text.len() >= CODED_MIN_BYTES;
        let modified_s = Some(self.indexed.opened.source.modified_s()).filter(|_| cache_control == IMMUTABLE);
        let recipe = self.recipe(content_type, etag, cache_control, Rope::from(Bytes::from(text)));
        let cmsd = self.options.sends_cmsd.then(|| "ot=m,st=v".to_owned());
        Object::new(Recipe { is_coded, grace, modified_s, cmsd, ..recipe }).coded()
    }

    fn revalidated(&self) -> Cow<'static, str> {
        let Options { manifest_max_age, .. } = &*self.options;
        let [age, while_revalidate] = [*manifest_max_age, self.options.stale_while_revalidate()].map(|d| d.as_secs());
        let if_error = STALE_IF_ERROR.as_secs();
        format!("public, max-age={age}, stale-while-revalidate={while_revalidate}, stale-if-error={if_error}").into()
    }

    /// The HLS multivariant playlist.
    pub fn multivariant(&self) -> Result<Object, Problem> {
        let Indexed { opened, renditions, .. } = &*self.indexed;
        let text = hls::multivariant::playlist(&opened.presentation, renditions, &hls_options(&self.options))
            .map_err(no_hls)?;
        Ok(self.manifest(HLS, self.revalidated(), Duration::ZERO, text))
    }

    /// The DASH MPD.
    pub fn mpd(&self) -> Result<Object, Problem> {
        let Indexed { opened, rates, .. } = &*self.indexed;
        let text = dash::mpd(&opened.presentation, rates);
        let text = text.map_err(|why| Problem::not_found("no_dash", why.to_string()))?;
        Ok(self.manifest("application/dash+xml", self.revalidated(), Duration::ZERO, text))
    }

    /// The HLS playlist called `name`, of this version: of all its media, or the one of I-frames.
    fn playlist(&self, name: &str, version: Version, part: TrackItem) -> Result<Object, Problem> {
        let Indexed { opened: Opened { presentation, .. }, renditions, .. } = &*self.indexed;
        if let Some(thumbnails) = presentation.thumbnails(name, version).filter(|_| part == TrackItem::Playlist) {
            let text = hls::images::playlist(thumbnails, presentation.duration_ms());
            return Ok(self.manifest(HLS, IMMUTABLE.into(), self.grace, text));
        }
        let Some(rendition) = renditions.find(name, version) else {
            return Err(why_not(presentation, name, version).map_or_else(no_such_object, no_hls));
        };
        let options = hls_options(&self.options);
        let text = match part {
            TrackItem::TrickPlaylist if rendition.trick().is_none() => return Err(no_such_object()),
            TrackItem::TrickPlaylist => hls::iframes::playlist(presentation, rendition, &options),
            _ => hls::media::playlist(presentation, rendition, &options),
        };
        let text = text.map_err(no_hls)?;
        // Where keys are is configured, and no part of the version.
        let is_protected = rendition.tracks(presentation).any(|(_, track)| track.is_protected());
        let cache_control = if is_protected { self.revalidated() } else { IMMUTABLE.into() };
        Ok(self.manifest(HLS, cache_control, self.grace, text))
    }

    /// What `part` of this version of track `name` names; its head alone unless `with_media`, where media would have to be read for
    /// the body.
    pub async fn of_track(
        &self,
        name: &str,
        version: Version,
        part: TrackItem,
        with_media: bool,
    ) -> Result<Object, Problem> {
        if matches!(part, TrackItem::Playlist | TrackItem::TrickPlaylist) {
            return self.playlist(name, version, part);
        }
        if let TrackItem::Sheet(number, format) = part {
            return self.sheet(name, version, number, format, with_media).await;
        }
        let found = self.indexed.opened.presentation.track_version(name, version);
        let (period, track) = found.ok_or_else(no_such_object)?;
        match part {
            TrackItem::Playlist | TrackItem::TrickPlaylist | TrackItem::Sheet(..) => Err(no_such_object()),
            TrackItem::Init => {
                let etag = format!("{version}-init");
                let recipe = self.recipe(media_type(track), etag, IMMUTABLE, Rope::from(track.init.clone()));
                let cmsd = self.options.sends_cmsd.then(|| "ot=i,st=v".to_owned());
                Ok(Object::new(Recipe { cmsd, ..recipe }))
            }
            TrackItem::Segment(time) => {
                let index = track.segment_at(time).ok_or_else(no_such_object)?;
                let plan = self.plan(track, |given| cmaf::segment(track, index, given)).await?;
                let cmsd = self.options.sends_cmsd.then(|| self.cmsd(track, &track.segments[index], plan.len()));
                self.segment(track, format!("{version}-{time}"), &plan, cmsd, with_media).await
            }
            TrackItem::TrickFrame(time) => {
                let frame = trick::frame_at(track, time).ok_or_else(no_such_object)?;
                let plan = self.plan(track, |given| cmaf::trick(track, &frame, given)).await?;
                self.segment(track, format!("{version}-{time}-trick"), &plan, None, with_media).await
            }
            TrackItem::WebVtt(time) => {
                let index = track.segment_at(time).ok_or_else(no_such_object)?;
                if &track.entry.format.0 != b"wvtt" {
                    return Err(no_such_object());
                }
                let body = self.web_vtt(period, track, index).await?;
                Ok(Object::new(self.recipe("text/vtt", format!("{version}-{time}"), IMMUTABLE, Rope::from(body))))
            }
        }
    }

    /// Sheet `number` of these thumbnails; its head alone unless `with_media`.
    async fn sheet(
        &self,
        name: &str,
        version: Version,
        number: i64,
        format: Format,
        with_media: bool,
    ) -> Result<Object, Problem> {
        let presentation = &self.indexed.opened.presentation;
        let found = presentation.thumbnails(name, version).filter(|thumbnails| thumbnails.format == format);
        let thumbnails = found.ok_or_else(no_such_object)?;
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let sheet = index.filter(|&index| index < thumbnails.shown(presentation.duration_ms()));
        let sheet = sheet.map(|index| thumbnails.sheets[index].clone()).ok_or_else(no_such_object)?;
        let etag = format!("{version}-{number}");
        let mut recipe = self.recipe(format.media_type(), etag, IMMUTABLE, Rope::default());
        recipe.len = sheet.len();
        recipe.body = None;
        if with_media {
            let share = self.memory.reserve(sheet.len()).ok_or_else(memory_full)?;
            recipe.body = Some(Rope::from(share.hold(self.read((name, version), vec![sheet]).await?)));
        }
        Ok(Object::new(recipe))
    }

    /// The segment of `track` that `plan` makes; its head alone unless `with_media`.
    async fn segment(
        &self,
        track: &Track,
        etag: String,
        plan: &Plan,
        cmsd: Option<String>,
        with_media: bool,
    ) -> Result<Object, Problem> {
        if plan.len() > SEGMENT_BYTES_MAX {
            let what = format!("a segment of {} bytes, at most {SEGMENT_BYTES_MAX} are served", plan.len());
            return Err(broken(&track.name, &what));
        }
        let mut recipe = self.recipe(media_type(track), etag, IMMUTABLE, Rope::default());
        recipe.cmsd = cmsd;
        recipe.len = plan.len();
        recipe.body = None;
        if with_media {
            let reads = plan.reads();
            let len = reads.iter().map(SourceRange::len).sum();
            let share = self.memory.reserve(len).ok_or_else(memory_full)?;
            let read = self.read((&track.name, track.version), reads).await?;
            recipe.body = Some(plan.assemble(share.hold(read)));
        }
        Ok(Object::new(recipe))
    }

    /// CMSD-Static (CTA-5006) of a segment: its type, duration in milliseconds and bit rate in kilobits a second, on demand.
    fn cmsd(&self, track: &Track, segment: &Segment, bytes: u64) -> String {
        let kind = match track.kind {
            Kind::Video => "v",
            Kind::Audio => "a",
            Kind::Text => "c",
        };
        let millis =
            rescale(segment.duration, track.timescale, Timescale::new(1000).expect("not 0"), Rounding::Nearest).max(1);
        format!("ot={kind},st=v,d={millis},br={}", (bytes * 8).div_ceil(millis as u64))
    }

    /// What `planned` of `track` comes to, when it was given what it needs.
    async fn plan(
        &self,
        track: &Track,
        planned: impl Fn(&cmaf::Given) -> Result<cmaf::Step, Malformed> + Send,
    ) -> Result<Plan, Problem> {
        let mut given = cmaf::Given::default();
        for _ in 0..=cmaf::ROUNDS_MAX {
            match planned(&given).map_err(|error| broken(&track.name, &error))? {
                cmaf::Step::Ready(plan) => return Ok(plan),
                cmaf::Step::Need(ranges) => {
                    let bytes = self.read((&track.name, track.version), ranges.clone()).await?;
                    given.add(ranges, bytes);
                }
            }
        }
        Err(broken(&track.name, &"its protection can't be followed"))
    }

    async fn web_vtt(&self, period: &Period, track: &Track, index: usize) -> Result<Bytes, Problem> {
        let mut window = track.segment_samples(index);
        for _ in 0..TEXT_ROUNDS_MAX {
            let bytes = track.samples.size(window.clone());
            if bytes > TEXT_BYTES_MAX {
                let what = format!("{bytes} bytes of cues for a segment, at most {TEXT_BYTES_MAX} are read");
                return Err(broken(&track.name, &what));
            }
            let share = self.memory.reserve(bytes).ok_or_else(memory_full)?;
            let read = self.read((&track.name, track.version), track.samples.places(window.clone())).await?;
            let data = share.hold(read);
            match text::webvtt_segment(track, period.origin, index, window, &data)
                .map_err(|error| broken(&track.name, &error))?
            {
                text::Step::Ready(text) => return Ok(Bytes::from(text)),
                text::Step::Need(larger) => window = larger,
            }
        }
        Err(broken(&track.name, &"a cue that does not end"))
    }

    /// The bytes of `ranges`, of what has this name and version: from the disk if they were read of a storage before.
    fn read(
        &self,
        of: (&str, Version),
        ranges: Vec<SourceRange>,
    ) -> impl Future<Output = Result<Bytes, Problem>> + Send + '_ {
        let source = &self.indexed.opened.source;
        let kept = self.disk.as_deref().filter(|_| source.is_far(&ranges));
        let kept = kept.and_then(|disk| Some((disk, disk_name(disk, self.indexed.entry.name(), of, &ranges)?)));
        async move {
            if let Some((disk, name)) = &kept {
                let len: u64 = ranges.iter().map(SourceRange::len).sum();
                let span = tracing::trace_span!(target: "headwater::spans", "disk", bytes = len as i64);
                if let Some(bytes) = disk.get(name, len).instrument(span).await {
                    return Ok(bytes);
                }
            }
            self.telemetry.source_reads.add(ranges.len() as u64);
            let reading = self.telemetry.source_read_seconds.begin();
            let span = tracing::trace_span!(target: "headwater::spans", "read", ranges = ranges.len() as i64);
            let bytes = source.read_soon(ranges, &self.files).instrument(span).await.map_err(|error| {
                let entry = &self.indexed.entry;
                tracing::warn!(presentation = entry.name(), %error, "a read failed");
                if entry.end_if_replaced(&error, self.now) {
                    return Problem::not_found("source_gone", "this version is not served any more");
                }
                source_problem(&error)
            })?;
            self.telemetry.source_read_bytes.add(bytes.len() as u64);
            reading.end();
            if let Some((disk, name)) = kept {
                disk.put(name, bytes.clone());
            }
            Ok(bytes)
        }
    }
}

/// What the bytes of `ranges` are called on the disk: the name and version tell them from all others of this presentation.
fn disk_name(
    disk: &Disk,
    presentation: &str,
    (name, version): (&str, Version),
    ranges: &[SourceRange],
) -> Option<Name> {
    let mut hasher = blake3::Hasher::new();
    for SourceRange { file, range } in ranges {
        hasher.update(&file.to_be_bytes()).update(&range.start.to_be_bytes()).update(&range.end.to_be_bytes());
    }
    disk.name(&format!("/{presentation}/{name}/{version}/{}", &hasher.finalize().to_hex()[..32]))
}

pub(crate) const HLS: &str = "application/vnd.apple.mpegurl";

pub(crate) fn media_type(track: &Track) -> &'static str {
    match track.kind {
        Kind::Video => "video/mp4",
        Kind::Audio => "audio/mp4",
        Kind::Text => "application/mp4",
    }
}

/// Nothing bears this name, at least not now.
pub fn no_such_object() -> Problem {
    Problem::not_found("not_found", "nothing is served under this name")
}

/// No body finds room.
pub(crate) fn memory_full() -> Problem {
    Problem::unavailable(MEMORY_FULL, "what is being sent takes all memory there is for it; try again")
}

fn no_hls(why: hls::NoHls) -> Problem {
    Problem::not_found("no_hls", why.to_string())
}

fn broken(track: &str, error: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(track, %error, "a segment can't be made");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "broken_source",
        format!("the source of {track} is broken here: {error}"),
    )
}
