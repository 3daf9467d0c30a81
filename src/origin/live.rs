//! What is live: names that change, waits that end, and bodies that grow.
//!
//! ```text
//!   /{channel}/master.m3u8, manifest.mpd            /{channel}/{track}/media.m3u8?_HLS_msn=273&_HLS_part=2&_HLS_skip=YES
//!   /{channel}/{track}/{version}/init.mp4, {time}.m4s, {time}.part.m4s, {time}.vtt
//! ```
//!
//! Whoever waits, waits for a state of the broadcast; what a state looks like is written once, for all of them. Segments that are whole go
//! to the cache like any other, and end there with their lease.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::sync::{mpsc, watch};

use crate::cache::Role;
use crate::content::live::channel::{Channel, Channels};
use crate::content::live::published::Step;
use crate::media::live::{Broadcast, Found, FoundPart, LiveSegment, OpenSegment, rope_from};
use crate::media::track::Version;
use crate::origin::address::Class;
use crate::origin::broadcasts::Manifest;
use crate::origin::channels::{is_silent, silent_at};
use crate::origin::object::{
    ANYBODY, Body, CACHE_STATUS, COLLAPSED, EXPOSED, HIT, MEDIA_AGE, Object, PASSED, Problem, Recipe, STORED,
    of_numbers,
};
use crate::origin::render::{IMMUTABLE, media_type, no_such_object};
use crate::origin::serve::Origin;
use crate::origin::shift::{self, Shifted};
use crate::origin::waits::Waiting;
use crate::origin::written::{Written, object, recipe, web_vtt, written};
use crate::packager::hls;
use crate::rope::Rope;
use crate::telemetry::Refused;
use crate::time::Utc;

/// A playlist that somebody waits for comes within so many target durations, or not (rfc8216bis §6.2.5.2).
const WAIT_TARGETS: u32 = 3;
/// Who asks for a segment a little early waits so long.
const EARLY: Duration = Duration::from_secs(1);
/// How far beyond the end of the playlist may be asked for, in segments (rfc8216bis §6.2.5.2).
const AHEAD_SEGMENTS: u64 = 2;
/// How far beyond the next part one is waited for: another node, of which a cache has the playlist, may be so much further on.
const AHEAD_TARGETS: u64 = 2;
/// Pieces of a growing segment that wait for a reader.
const PIECES_MAX: usize = 16;
/// An answer has so many target durations for all of it: who takes a segment ten times slower than it plays does not play it. What has left the
/// window is kept by its readers alone, and all of them share it; so they keep at most what comes in that time.
const SENT_TARGETS: u32 = 10;
/// And so long at least: a player with a bad connection gets what is small, and no memory is worth more haste.
const SENT_MIN: Duration = Duration::from_secs(60);

/// What a player asks of a media playlist (rfc8216bis §6.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Directives {
    msn: Option<u64>,
    part: Option<u64>,
    skip: bool,
}

impl Directives {
    fn parse(query: Option<&str>) -> Result<Directives, Problem> {
        let bad = |what: &str| Problem::new(StatusCode::BAD_REQUEST, "bad_directive", what);
        let mut directives = Directives::default();
        for (name, value) in query.unwrap_or("").split('&').filter_map(|pair| pair.split_once('=')) {
            let number = || value.parse::<u64>().map_err(|_| bad(&format!("{name} is no number")));
            match name {
                "_HLS_msn" => directives.msn = Some(number()?),
                "_HLS_part" => directives.part = Some(number()?),
                "_HLS_skip" => directives.skip = matches!(value, "YES" | "v2"),
                _ => {}
            }
        }
        match directives {
            Directives { msn: None, part: Some(_), .. } => Err(bad("_HLS_part without _HLS_msn")),
            _ => Ok(directives),
        }
    }
}

impl Origin {
    /// The channels.
    pub fn channels(&self) -> &Arc<Channels> {
        self.broadcasts.channels()
    }

    /// The channel that `key` is of, if it is of one, and what of it.
    pub(crate) fn channel_of<'a>(&self, key: &'a str) -> Option<(Arc<Channel>, &'a str)> {
        let (channel, rest) = shift::without(key).strip_prefix('/')?.split_once('/')?;
        Some((self.channels().get(channel)?, rest))
    }

    /// The answer to `request` for `key`, which is `rest` of `channel`.
    pub(crate) async fn live(
        &self,
        channel: &Arc<Channel>,
        key: &str,
        rest: &str,
        request: &Request<()>,
        now: Utc,
    ) -> Response<Body> {
        let answer = match shift::parse(key) {
            None => self.of_channel(channel, key, rest, request, now).await,
            Some(Ok(shifted)) => self.of_stretch(channel, key, rest, &shifted, request, now).await,
            Some(Err(problem)) => Err(problem),
        };
        let mut response = answer.unwrap_or_else(|problem| problem.response(request.method()));
        response.body_mut().limit(Some(sent_within(channel)));
        response
    }

    /// What is asked for of a stretch of `channel`: manifests of its own, and the media of all.
    async fn of_stretch(
        &self,
        channel: &Arc<Channel>,
        key: &str,
        rest: &str,
        shifted: &Shifted<'_>,
        request: &Request<()>,
        now: Utc,
    ) -> Result<Response<Body>, Problem> {
        let parts: Vec<&str> = rest.split('/').collect();
        let (live, manifest) = match parts[..] {
            ["master.m3u8"] => (channel.broadcast(), Manifest::Multivariant),
            ["manifest.mpd"] => (channel.broadcast(), Manifest::Mpd),
            [track, "media.m3u8"] => {
                let directives = Directives::parse(request.uri().query())?;
                let live = channel.broadcast();
                let is_over = shifted.shift.is_over(&live);
                let live = if is_over { live } else { awaited(self, channel, track, directives, now).await? };
                let was_waited_for = directives.msn.is_some() && !is_over;
                let is_delta = directives.skip && !is_over;
                (live, Manifest::Media { track: track.to_owned(), is_delta, was_waited_for })
            }
            [_, _, _] => {
                let class = Class::of(shifted.rest).ok_or_else(no_such_object)?;
                let known = self.cache(class).get(shifted.rest).await.filter(|object| object.is_servable(now));
                return match known {
                    Some(object) => Ok(answer(&object, HIT, request)),
                    None => self.of_channel(channel, shifted.rest, rest, request, now).await,
                };
            }
            _ => return Err(no_such_object()),
        };
        let (object, how) = self.shifted_manifest(channel, live, shifted, manifest, key, now).await?;
        Ok(answer(&object, how, request))
    }

    async fn of_channel(
        &self,
        channel: &Arc<Channel>,
        key: &str,
        rest: &str,
        request: &Request<()>,
        now: Utc,
    ) -> Result<Response<Body>, Problem> {
        let mut parts = rest.split('/');
        let (broadcast, manifest) = match [(); 4].map(|()| parts.next()) {
            [Some("master.m3u8"), None, ..] => (channel.broadcast(), Manifest::Multivariant),
            [Some("manifest.mpd"), None, ..] => (channel.broadcast(), Manifest::Mpd),
            [Some(track), Some("media.m3u8"), None, _] => {
                let directives = Directives::parse(request.uri().query())?;
                let broadcast = awaited(self, channel, track, directives, now).await?;
                let was_waited_for = directives.msn.is_some() && !broadcast.ended;
                let is_delta = directives.skip && !broadcast.ended;
                (broadcast, Manifest::Media { track: track.to_owned(), is_delta, was_waited_for })
            }
            [Some(track), Some(version), Some(file), None] => {
                let version = version.parse().map_err(|()| no_such_object())?;
                return self.of_track(channel, key, track, version, file, request, now).await;
            }
            _ => return Err(no_such_object()),
        };
        // What was waited for came after `now`, and has no age.
        let media_age_ms = now.0.saturating_sub(broadcast.media_at.0);
        let (object, how) = self.manifest(channel, broadcast, manifest, now)?;
        let mut response = answer(&object, how, request);
        if media_age_ms > 0 {
            let age = of_numbers(format_args!("{}.{:03}", media_age_ms / 1000, media_age_ms % 1000));
            response.headers_mut().insert(MEDIA_AGE, age);
        }
        Ok(response)
    }

    /// A manifest of `broadcast`, or of a later state.
    fn manifest(
        &self,
        channel: &Channel,
        broadcast: Arc<Broadcast>,
        manifest: Manifest,
        now: Utc,
    ) -> Result<(Arc<Object>, HeaderValue), Problem> {
        if broadcast.periods.is_empty() {
            return Err(Problem::unavailable("not_begun", "the broadcast has not begun"));
        }
        if is_silent(&broadcast, now) {
            return Err(silent());
        }
        // Nothing is kept under a name that somebody made up.
        if let Manifest::Media { track, .. } = &manifest
            && broadcast.tracks_called(track).next().is_none()
        {
            return Err(no_such_object());
        }
        let (broadcast, cell) = self.broadcasts.written(channel, broadcast, &manifest);
        let mut how = HIT;
        let written_once = cell.get_or_init(|| {
            how = STORED;
            self.telemetry().flights_started.inc();
            let what = Written { clock: "../time", lease: Arc::default(), has_age: true, is_final: false };
            written(&self.options, &broadcast, &manifest, what).map(Arc::new)
        });
        written_once.clone().map(|object| (object, how))
    }

    #[expect(clippy::too_many_arguments, reason = "what a URL names, who asks and when")]
    async fn of_track(
        &self,
        channel: &Arc<Channel>,
        key: &str,
        name: &str,
        version: Version,
        file: &str,
        request: &Request<()>,
        now: Utc,
    ) -> Result<Response<Body>, Problem> {
        let answered = |object: &Object, how| answer(object, how, request);
        let (stem, extension) = file.split_once('.').ok_or_else(no_such_object)?;
        let broadcast = channel.broadcast();
        let (face, origin) = match broadcast.track(name, version) {
            Some((period, track)) => (Arc::clone(&track.face), period.origin),
            None => self.kept_face(channel, name, version).await?.ok_or_else(no_such_object)?,
        };
        if file == "init.mp4" {
            let init = Rope::from(face.init.clone());
            let etag = format!("{version}-init");
            return Ok(answered(&object(media_type(&face), etag, IMMUTABLE, init), PASSED));
        }
        let canonical = |text: &str| text.parse().ok().filter(|time: &i64| time.to_string() == text && *time >= 0);
        let time = canonical(stem).ok_or_else(no_such_object)?;
        match extension {
            "part.m4s" => {
                let part = match part(self, channel, &broadcast, name, version, time).await? {
                    Located::Here(part) => part,
                    Located::Of(segment, bytes) => {
                        // After an outage what is young is old: a moment of it is read as all of it is.
                        let (folder, _) = key.rsplit_once('/').ok_or_else(no_such_object)?;
                        let whole = format!("{folder}/{}.m4s", segment.time);
                        let (cold, _) = self.cold(channel, &whole, &segment, media_type(&face), now).await?;
                        cold.body().slice(bytes)
                    }
                };
                // Its name has one content, for good.
                let etag = format!("{version}-{time}-{:x}", part.len());
                let cache_control = format!("public, max-age={}", broadcast.timing.target_s * 3);
                Ok(answered(&object(media_type(&face), etag, cache_control, part), PASSED))
            }
            "m4s" => match self.segment(channel, &broadcast, name, version, time).await? {
                Waited::Whole(segment) => {
                    let content_type = media_type(&face);
                    let Some(body) = segment.body() else {
                        let (cold, how) = self.cold(channel, key, &segment, content_type, now).await?;
                        return Ok(answered(&cold, how));
                    };
                    let object = Arc::new(whole(channel, &segment, content_type, body));
                    self.cache(Class::Segment).insert(key, Arc::clone(&object)).await;
                    Ok(answered(&object, STORED))
                }
                Waited::Never => Err(never_came()),
                Waited::Open => growing(self, channel, request, name.to_owned(), version, time, media_type(&face)),
            },
            "vtt" if hls::live::is_web_vtt(&face) && !face.is_protected() => {
                // A segment that grows is not made to WebVTT: it has cues whose end nobody knows.
                let Waited::Whole(segment) = self.segment(channel, &broadcast, name, version, time).await? else {
                    return Err(Problem::not_yet("not_yet", "this segment is not whole yet"));
                };
                let body = match segment.body() {
                    Some(body) => body,
                    None => {
                        let whole = format!("{}m4s", key.strip_suffix("vtt").ok_or_else(no_such_object)?);
                        let (cold, _) = self.cold(channel, &whole, &segment, media_type(&face), now).await?;
                        cold.body().clone()
                    }
                };
                let text = web_vtt(&face, origin, &body.to_vec()).map_err(|why| {
                    tracing::warn!(channel = channel.name(), track = name, why, "text can't be read");
                    Problem::unavailable("source_unreadable", "the text can't be read")
                })?;
                let etag = format!("{:016x}-vtt", segment.hash);
                let body = Rope::from(Bytes::from(text));
                let object = Arc::new(Object::new(Recipe {
                    lease: Arc::clone(&segment.lease),
                    sent_within: Some(sent_within(channel)),
                    ..recipe("text/vtt", etag, IMMUTABLE, body)
                }));
                self.cache(Class::Segment).insert(key, Arc::clone(&object)).await;
                Ok(answered(&object, STORED))
            }
            _ => Err(no_such_object()),
        }
    }
}

impl Origin {
    /// The segment of `name` at `time`, wherever it is.
    async fn segment(
        &self,
        channel: &Arc<Channel>,
        broadcast: &Broadcast,
        name: &str,
        version: Version,
        time: i64,
    ) -> Result<Waited, Problem> {
        match segment(self, channel, broadcast, name, version, time).await {
            // It was let go of in memory, and what is beside it not yet.
            Ok(Waited::Whole(segment)) if !segment.lease.is_live() => {
                let kept = self.kept_segment(channel, name, version, time).await?;
                kept.map(Waited::Whole).ok_or_else(gone)
            }
            Err(problem) if matches!(problem.status(), StatusCode::NOT_FOUND | StatusCode::GONE) => {
                let kept = self.kept_segment(channel, name, version, time).await?;
                kept.map(Waited::Whole).ok_or(problem)
            }
            result => result,
        }
    }

    /// `segment`, from the spool.
    async fn cold(
        &self,
        channel: &Arc<Channel>,
        key: &str,
        segment: &Arc<LiveSegment>,
        content_type: &'static str,
        now: Utc,
    ) -> Result<(Arc<Object>, HeaderValue), Problem> {
        if segment.places.is_empty() || !segment.lease.is_live() {
            return Err(gone());
        }
        let (channel, of) = (Arc::clone(channel), Arc::clone(channel));
        let (from, segment) = (Arc::clone(segment), Arc::clone(segment));
        let (telemetry, spool) = (Arc::clone(self.telemetry()), Arc::clone(&self.spool));
        let reading = async move {
            let Some(_turn) = spool.turn().await else {
                return Err(Problem::unavailable("reads_busy", "too many reads wait for the spool; try again"));
            };
            telemetry.source_reads.inc();
            match tokio::task::spawn_blocking(move || channel.read(&from)).await {
                Ok(Ok(bytes)) => {
                    telemetry.source_read_bytes.add(bytes.len() as u64);
                    Ok(bytes)
                }
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Err(gone()),
                failed => {
                    tracing::warn!(?failed, "a segment can't be read from the spool");
                    Err(Problem::unavailable("source_unreadable", "the segment can't be read"))
                }
            }
        };
        let len = segment.len;
        let made = move |bytes| whole(&of, &segment, content_type, Rope::from(bytes));
        let (role, object) = self.fly_live(key, len, reading, made, now).await?;
        Ok((object, if role == Role::Joined { COLLAPSED } else { STORED }))
    }
}

/// The answer of `object`, which came about so (RFC 9211).
fn answer(object: &Object, how: HeaderValue, request: &Request<()>) -> Response<Body> {
    let mut response = object.answer(request.method(), request.headers());
    // That is what its head says.
    if how != HIT {
        response.headers_mut().insert(CACHE_STATUS, how);
    }
    response
}

/// How long an answer of `channel` may take to be sent.
fn sent_within(channel: &Channel) -> Duration {
    SENT_MIN.max(Duration::from_secs(channel.broadcast().timing.target_s) * SENT_TARGETS)
}

/// The object of a whole segment of `channel`.
fn whole(channel: &Channel, segment: &LiveSegment, content_type: &'static str, body: Rope) -> Object {
    let etag = format!("{:016x}", segment.hash);
    Object::new(Recipe {
        lease: Arc::clone(&segment.lease),
        sent_within: Some(sent_within(channel)),
        ..recipe(content_type, etag, IMMUTABLE, body)
    })
}

fn silent() -> Problem {
    Problem::unavailable("silent", "no media comes from the encoder")
}

fn never_came() -> Problem {
    Problem::not_found("gap", "this segment never came")
}

fn gone() -> Problem {
    Problem::gone("expired", "this has left the window")
}

/// The first state of `channel` in which what `directives` ask for is there.
async fn awaited(
    origin: &Origin,
    channel: &Channel,
    track: &str,
    directives: Directives,
    now: Utc,
) -> Result<Arc<Broadcast>, Problem> {
    let broadcast = channel.broadcast();
    let Some(msn) = directives.msn else { return Ok(broadcast) };
    let Some((number, parts)) = hls::live::edge(&broadcast, track) else { return Ok(broadcast) };
    let has_come = |broadcast: &Arc<Broadcast>| broadcast.ended || reaches(broadcast, track, msn, directives.part);
    if has_come(&broadcast) {
        return Ok(broadcast);
    }
    // Every reload has a URL of its own: a cache that was told of silence asks again, and is to be told again.
    if is_silent(&broadcast, now) {
        return Err(silent());
    }
    let (timing, silent_at) = (broadcast.timing, silent_at(&broadcast));
    // Who waits keeps nothing of what was.
    drop(broadcast);
    // As many parts ahead as three seconds hold, at least three.
    let parts_ahead = timing.part_target_ms.map_or(0, |ms| 3000 / ms.clamp(1, 1000));
    let part_is_far = number == msn && directives.part.is_some_and(|part| part > parts as u64 + parts_ahead);
    if msn > number + AHEAD_SEGMENTS || part_is_far {
        let what = format!("the playlist ends at segment {number}, part {parts}: that is too far ahead");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "too_far_ahead", what));
    }
    let limit = Duration::from_secs(timing.target_s) * WAIT_TARGETS;
    let limit = limit.min(Duration::from_millis(silent_at.0.saturating_sub(now.0)));
    let came = wait(origin, channel, track, limit, has_come).await?;
    came.ok_or_else(|| Problem::unavailable("not_in_time", "what was asked for did not come in time"))
}

/// Whether the playlist of `track` has the part, or the whole segment if none is named.
fn reaches(broadcast: &Broadcast, track: &str, msn: u64, part: Option<u64>) -> bool {
    let Some((number, parts)) = hls::live::edge(broadcast, track) else { return true };
    let newest = broadcast.tracks_called(track).last();
    let has_parts = newest.is_some_and(|(_, track)| hls::live::has_parts(broadcast, &track.face));
    let Some(part) = part.filter(|_| has_parts) else { return number > msn };
    if number <= msn {
        return number == msn && parts as u64 > part;
    }
    // Beyond the last part of a segment is the first of the next (rfc8216bis §6.2.5.2).
    let had =
        newest.and_then(|(_, track)| track.segments.from(msn).next()).map_or(0, |segment| segment.parts.len() as u64);
    part < had || number > msn + 1 || parts > 0
}

/// The first state of `channel` for which `has_come` holds that did not a moment ago, or nothing within `limit`: it goes by parts and segments of the tracks called
/// `track`, and by what holds of all of the broadcast. Who has to wait for it needs a place.
async fn wait(
    origin: &Origin,
    channel: &Channel,
    track: &str,
    limit: Duration,
    has_come: impl Fn(&Arc<Broadcast>) -> bool,
) -> Result<Option<Arc<Broadcast>>, Problem> {
    let _place = place(origin, channel)?;
    let mut states = channel.subscribe(track, Step::Part);
    let waited = tokio::time::timeout(limit, states.wait_for(has_come)).await;
    Ok(waited.ok().and_then(Result::ok).map(|broadcast| Arc::clone(&broadcast)))
}

/// A place for who waits for `channel`.
fn place(origin: &Origin, channel: &Channel) -> Result<Waiting, Problem> {
    origin.waits.enter(channel.waiting()).ok_or_else(|| {
        origin.telemetry().work_refused.at(Refused::Waiting).inc();
        Problem::unavailable("too_many_wait", "too many wait for what comes next; what is there is answered")
    })
}

/// Where a part is.
enum Located {
    Here(Rope),
    /// In a segment that has to be read.
    Of(Arc<LiveSegment>, std::ops::Range<u64>),
}

async fn part(
    origin: &Origin,
    channel: &Channel,
    broadcast: &Broadcast,
    name: &str,
    version: Version,
    time: i64,
) -> Result<Located, Problem> {
    let found = |broadcast: &Broadcast| {
        // As of segments: nobody was told of parts of what may be another encoder's in the end.
        let is_told = |open: &Arc<OpenSegment>| time < open.time || broadcast.timing.tells_of(open);
        let mut told = broadcast.versions(name, version).filter(|track| track.open.as_ref().is_none_or(is_told));
        told.find_map(|track| match track.part(time)? {
            FoundPart::Here(part) => Some(Located::Here(part)),
            FoundPart::Of(segment, part) => Some(Located::Of(Arc::clone(segment), part.bytes.clone())),
        })
    };
    if let Some(part) = found(broadcast) {
        return Ok(part);
    }
    let newest = |broadcast: &Broadcast| {
        let track = broadcast.versions(name, version).next()?;
        Some((track.next_part_time(), i64::from(track.face.timescale.get())))
    };
    let ahead_s = i64::try_from(broadcast.timing.target_s * AHEAD_TARGETS).unwrap_or(i64::MAX);
    let is_coming = newest(broadcast).is_some_and(|(next, timescale)| {
        (next..=next.saturating_add(ahead_s.saturating_mul(timescale))).contains(&time)
    });
    if !is_coming || broadcast.ended {
        return Err(no_such_object());
    }
    // Hinted at, here or by another node: not a byte before all of it is there (rfc8216bis §6.2.6).
    let limit = Duration::from_secs(broadcast.timing.target_s) * WAIT_TARGETS;
    let is_passed = |later: &Broadcast| newest(later).is_some_and(|(next, _)| next > time);
    let is_known = |later: &Arc<Broadcast>| later.ended || found(later).is_some() || is_passed(later);
    let later = wait(origin, channel, name, limit, is_known).await?;
    later.and_then(|later| found(&later)).ok_or_else(|| Problem::not_yet("not_yet", "this part did not come"))
}

/// A segment that somebody may have waited a moment for.
enum Waited {
    Whole(Arc<LiveSegment>),
    Open,
    Never,
}

async fn segment(
    origin: &Origin,
    channel: &Channel,
    broadcast: &Broadcast,
    name: &str,
    version: Version,
    time: i64,
) -> Result<Waited, Problem> {
    let found = |broadcast: &Broadcast| {
        broadcast.versions(name, version).find_map(|track| match track.segment(time)? {
            Found::Whole(segment) => Some(Waited::Whole(Arc::clone(segment))),
            Found::Open(open) if open.is_torn => Some(Waited::Never),
            // Another encoder's may take its place as long as nobody was told of it.
            Found::Open(open) => broadcast.timing.tells_of(open).then_some(Waited::Open),
        })
    };
    let is_gap = |found: &Waited| match found {
        Waited::Whole(segment) => segment.is_gap,
        Waited::Open => false,
        Waited::Never => true,
    };
    if let Some(found) = found(broadcast) {
        return if is_gap(&found) { Err(never_came()) } else { Ok(found) };
    }
    let track = broadcast.versions(name, version).next().ok_or_else(no_such_object)?;
    let is_open = track.open.as_ref().is_some_and(|open| open.time == time);
    if time < track.next_time && !is_open {
        let first = track.segments.iter().next().map_or(track.next_time, |first| first.time);
        return Err(if time < first { gone() } else { no_such_object() });
    }
    if broadcast.ended {
        return Err(no_such_object());
    }
    let later = wait(origin, channel, name, EARLY, |later| later.ended || found(later).is_some()).await?;
    later.and_then(|later| found(&later)).ok_or_else(|| Problem::not_yet("not_yet", "this segment has not come yet"))
}

/// The segment at `time`, which grows: what there is of it, and what comes.
fn growing(
    origin: &Origin,
    channel: &Channel,
    request: &Request<()>,
    name: String,
    version: Version,
    time: i64,
    content_type: &'static str,
) -> Result<Response<Body>, Problem> {
    let mut response = Response::new(Body::empty());
    let head = response.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=1"));
    head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    head.insert(http::header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    if request.method() != Method::HEAD {
        let place = place(origin, channel)?;
        let (pieces, growth) = mpsc::channel(PIECES_MAX);
        let states = channel.subscribe(&name, Step::Chunk);
        tokio::spawn(follow(place, states, pieces, name, version, time));
        *response.body_mut() = Body::growing(growth);
    }
    Ok(response)
}

/// Hands over what comes of a segment, until it is whole; it ends without the end if it never will be, or nobody reads any more.
async fn follow(
    _place: Waiting,
    mut states: watch::Receiver<Arc<Broadcast>>,
    pieces: mpsc::Sender<Option<Rope>>,
    name: String,
    version: Version,
    time: i64,
) {
    let mut sent = 0;
    loop {
        let broadcast = Arc::clone(&states.borrow_and_update());
        let (piece, is_whole) = match broadcast.versions(&name, version).find_map(|track| track.segment(time)) {
            Some(Found::Whole(segment)) => match segment.body() {
                Some(body) => (body.slice(sent..body.len()), true),
                None => return,
            },
            Some(Found::Open(open)) => (rope_from(&open.chunks, sent), open.is_over),
            None => return,
        };
        if !piece.is_empty() {
            sent += piece.len();
            if pieces.send(Some(piece)).await.is_err() {
                return;
            }
            // There may be more than are sent at once.
            continue;
        }
        if is_whole {
            let _ = pieces.send(None).await;
            return;
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = pieces.closed() => return,
        }
    }
}
