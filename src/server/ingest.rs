//! The ingest listener: what encoders push, by PUT or POST, goes to channels.
//!
//! | path | what |
//! |---|---|
//! | `/ingest/{channel}/{track}` | a track: one long request, or one a segment or chunk (DASH-IF Live Media Ingest, interface 1) |
//! | `/ingest/{channel}/Streams({track})` | likewise, as it was named before |
//! | `/ingest/{channel}/{file}`, `/ingest/{channel}/{track}/{file}` | a file of a packager: `init-stream0.m4s`, `chunk-stream0-00001.m4s`, … |
//!
//! Manifests that are pushed are taken and forgotten, and so is DELETE: what is listed, and how long, is decided here. Encoders that push
//! the same are told apart by `?encoder=NAME`, by the user of their credentials, or by the address that they push from.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::content::live::channel::{Channel, is_name};
use crate::content::live::pushed::Refusal;
use crate::content::live::receiver::{Event, Receiver};
use crate::content::live::window::Source;
use crate::formats::uri::percent_decoded;
use crate::origin::object::Body;
use crate::server::IngestOptions;
use crate::server::clock::Clock;
use crate::server::http::{self as server_http, Answer, Refused};
use crate::server::state::State;

/// Connections open at once on the ingest listener: each of a channel's tracks has one.
pub(crate) const CONNECTIONS_MAX: usize = 4096;
/// Without a byte of a push that has begun; encoders send several times a second.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// From the first byte of a chunk, or of an initialization segment, to its last: no chunk lasts longer.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(60);
/// Pushed manifests are read to their end, so that the connection may be used again, and no further.
const FORGOTTEN_BYTES_MAX: usize = 4 << 20;

/// Answers on the ingest listener.
#[derive(Clone, Copy, Debug)]
pub struct Ingest;

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let (status, code) = match &refusal {
            Refusal::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Refusal::Unsupported(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported"),
            // DASH-IF Live Media Ingest §6.2: media whose initialization is unknown.
            Refusal::NoInit => (StatusCode::PRECONDITION_FAILED, "no_init"),
            Refusal::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Refusal::TooMuch(_) => (StatusCode::TOO_MANY_REQUESTS, "too_much"),
            Refusal::Elsewhere => (StatusCode::SERVICE_UNAVAILABLE, "elsewhere"),
        };
        Refused::new(status, code, refusal.to_string())
    }
}

/// What a path on the ingest listener names.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Target {
    /// A track; requests are segments, or not.
    Track { name: String, named_segments: bool },
    /// A manifest.
    Manifest,
    /// Something that is not taken.
    TransportStream,
}

/// The channel and what of it `path` names.
fn target(path: &str) -> Option<(&str, Target)> {
    let (channel, rest) = path.strip_prefix("/ingest/")?.split_once('/')?;
    let channel = channel.strip_suffix(".isml").unwrap_or(channel);
    let (folder, file) = rest.rsplit_once('/').map_or((None, rest), |(folder, file)| (Some(folder), file));
    if !is_name(channel) || file.starts_with('.') {
        return None;
    }
    let track = |name: &str, named_segments: bool| {
        is_name(name).then(|| Target::Track { name: name.to_owned(), named_segments })
    };
    if let Some(name) = file.strip_prefix("Streams(").and_then(|rest| rest.strip_suffix(')')) {
        let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        return Some((channel, track(name, false)?));
    }
    let Some((stem, extension)) = file.rsplit_once('.') else { return Some((channel, track(file, false)?)) };
    let named_segments = matches!(extension, "m4s" | "m4f" | "m4v" | "m4a" | "dash");
    let target = match extension {
        "mpd" | "m3u8" => Target::Manifest,
        "ts" | "aac" | "vtt" => Target::TransportStream,
        _ => match folder {
            Some(folder) => track(folder, named_segments)?,
            None => track(&track_of(stem, named_segments), named_segments)?,
        },
    };
    Some((channel, target))
}

/// The track that a file belongs to, by its name without the extension: what is left of `init-stream0` and `chunk-stream0-00001`. The last
/// number of one of many segments is its own, the others are the track's, as in `init_0` and `out_0_00001`.
fn track_of(stem: &str, named_segments: bool) -> String {
    let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let is_of_init = |word: &str| matches!(word, "init" | "header");
    let is_of_segments = |word: &str| matches!(word, "chunk" | "seg" | "segment" | "media");
    let mut words: Vec<&str> = stem.split(['-', '_', '.']).collect();
    if named_segments && !words.iter().any(|word| is_of_init(word)) {
        words.iter().rposition(|word| is_number(word)).map(|own| words.remove(own));
    }
    words.retain(|word| !word.is_empty() && !is_of_init(word) && !is_of_segments(word));
    if words.iter().all(|word| is_number(word)) {
        words.insert(0, "main");
    }
    words.join("-")
}

/// `name`, or the track of those `known` that a packager means by it whose initialization segment is called otherwise: `out12` of `out`,
/// `out-1` of `main-1`, or of the only track that there is, unless that has another number.
fn known_name(known: &[String], name: String) -> String {
    let is_known = |name: &str| known.iter().any(|known| known == name);
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
    let number = |name: &str| {
        let (_, number) = name.rsplit_once('-')?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.to_owned())
    };
    let own = number(&name);
    // Only an initialization segment without a name may be of any.
    let is_alike = |known: &&String| own.is_some() && number(known) == own && known.starts_with("main-");
    let mut alike = known.iter().filter(is_alike);
    match (known, alike.next(), alike.next()) {
        _ if is_known(&name) => name,
        _ if is_known(stem) => stem.to_owned(),
        (_, Some(alike), None) => alike.clone(),
        ([only], ..) if own.is_none() || number(only).is_none() => only.clone(),
        _ => name,
    }
}

impl Answer for Ingest {
    const IS_BEHIND_PROXIES: bool = false;

    async fn answer(self, state: Arc<State>, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, ());
        let mut response = match respond(&state, peer, &request, body).await {
            Ok(()) => {
                let mut response = Response::new(Body::empty());
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(refused) => {
                let Refused { status, code, message } = &refused;
                tracing::warn!(%peer, path = request.uri().path(), status = status.as_u16(), code, message, "push_refused");
                let mut response = refused.response();
                if *status == StatusCode::UNAUTHORIZED {
                    let both = HeaderValue::from_static("Bearer, Basic realm=\"ingest\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, both);
                }
                response
            }
        };
        server_http::finish(&request, &mut response, state.clock.now().wall);
        response
    }

    fn takes_bodies(self) -> bool {
        true
    }
}

async fn respond(state: &State, peer: SocketAddr, request: &Request<()>, body: Incoming) -> Result<(), Refused> {
    let (channel, target) = target(request.uri().path())
        .ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "not_found", "a push goes to /ingest/{channel}/{track}"))?;
    authorize(&state.options.ingest, channel, request.headers())?;
    if request.method() == Method::DELETE {
        return Ok(());
    }
    if !matches!(*request.method(), Method::PUT | Method::POST) {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only PUT, POST and DELETE"));
    }
    match target {
        Target::Manifest => forget(body).await,
        Target::TransportStream => Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported",
            "segments are CMAF here: with ffmpeg, -hls_segment_type fmp4",
        )),
        Target::Track { name, named_segments } => {
            let encoder = encoder(request, peer)?;
            push(state, channel, name, named_segments, &encoder, body).await
        }
    }
}

/// What the encoder is called that pushes `request`, from `peer`.
fn encoder(request: &Request<()>, peer: SocketAddr) -> Result<String, Refused> {
    let pairs = request.uri().query().unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
    let said = pairs.filter(|(name, _)| *name == "encoder").map(|(_, value)| percent_decoded(value)).next();
    if let Some(said) = said {
        let bad = || {
            let what = "`encoder` is a name of letters, digits, _ and -";
            Refused::new(StatusCode::BAD_REQUEST, "bad_query", what)
        };
        return said.filter(|name| is_name(name)).ok_or_else(bad);
    }
    let user = credentials(request.headers()).and_then(|credentials| match credentials {
        Credentials::Basic { user, .. } => String::from_utf8(user).ok().filter(|user| is_name(user)),
        Credentials::Bearer(_) => None,
    });
    Ok(user.unwrap_or_else(|| peer.ip().to_canonical().to_string()))
}

/// Whether the push knows what it has to: the token as a bearer's (RFC 6750), or as a password (RFC 7617).
fn authorize(options: &IngestOptions, channel: &str, headers: &HeaderMap) -> Result<(), Refused> {
    let Some(expected) = options.tokens.get(channel).or(options.token.as_ref()) else { return Ok(()) };
    let given = credentials(headers).map(|credentials| match credentials {
        Credentials::Bearer(token) => token,
        Credentials::Basic { password, .. } => password,
    });
    // Hashes, so that how long comparing takes tells nothing.
    match given.is_some_and(|given| blake3::hash(&given) == blake3::hash(expected.as_bytes())) {
        true => Ok(()),
        false => Err(Refused::new(StatusCode::UNAUTHORIZED, "unauthorized", "this channel asks for its token")),
    }
}

/// What a push says of who it is.
enum Credentials {
    /// RFC 6750.
    Bearer(Vec<u8>),
    /// RFC 7617.
    Basic { user: Vec<u8>, password: Vec<u8> },
}

fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let (scheme, given) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credentials::Bearer(given.trim().as_bytes().to_vec()));
    }
    let both = base64_decoded(given.trim()).filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let colon = both.iter().position(|byte| *byte == b':')?;
    Some(Credentials::Basic { user: both[..colon].to_vec(), password: both[colon + 1..].to_vec() })
}

/// RFC 4648 §4.
fn base64_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (word, bits) = (word << 6 | u32::from(value), bits + 6);
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    Some(out)
}

/// A push that is under way; when it ends otherwise than well, whoever stands by is to know.
struct UnderWay {
    channel: Arc<Channel>,
    clock: Arc<Clock>,
    track: String,
    source: Source,
    has_ended: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (channel, track, source) = (Arc::clone(&self.channel), std::mem::take(&mut self.track), self.source);
        let clock = Arc::clone(&self.clock);
        // Dropped with the connection, too. Not here: it may wait for a disk.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || channel.push_breaks(&track, source, clock.now().live));
        }
    }
}

async fn push(
    state: &State,
    channel: &str,
    name: String,
    named_segments: bool,
    encoder: &str,
    body: Incoming,
) -> Result<(), Refused> {
    let (channels, clock) = (Arc::clone(state.origin.channels()), Arc::clone(&state.clock));
    let push = channels.next_push();
    if channels.get(channel).is_none() && state.origin.is_of_library(channel, clock.now().live).await {
        let message =
            format!("the library has a presentation called {channel}, or some below it: a channel would hide them");
        return Err(Refused::new(StatusCode::CONFLICT, "conflict", message));
    }
    let (wanted, called) = (channel.to_owned(), encoder.to_owned());
    let path = name.clone();
    let heard = clock.now().live;
    let (channel, encoder, room) = blocking(move || {
        let channel = channels.for_push(&wanted)?;
        let encoder = channel.encoder(&called, heard);
        let track = if named_segments { known_name(&channel.tracks(), path) } else { path };
        let room = channel.room(&track, encoder);
        Ok::<_, Refusal>((channel, encoder, room))
    })
    .await??;
    let source = Source { encoder, push, named_segments, ..Source::default() };
    let _pushing = channel.intake().begins()?;
    let (track, clock) = (name.clone(), Arc::clone(&clock));
    let mut under_way = UnderWay { channel: Arc::clone(&channel), clock, track, source, has_ended: false };
    let mut patience = Patience::from(Instant::now());
    let (mut receiver, mut events, mut body) = (Receiver::within(room), Vec::new(), Pin::from(Box::new(body)));
    let (mut target, mut begins_segment) = (name, true);
    loop {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        let Ok(frame) = tokio::time::timeout_at(patience.until(), frame).await else {
            return Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "silent", patience.why()));
        };
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "bad_body", "the body ended before its end"))?;
        let Ok(data) = frame.into_data() else { continue };
        channel.intake().takes(data.len(), state.clock.now().live)?;
        state.telemetry.live_ingest_bytes.add(data.len() as u64);
        let result = receiver.push(&data, &mut events);
        patience.came(Instant::now(), !events.is_empty(), receiver.is_at_rest());
        if !events.is_empty() {
            let now = state.clock.now().live;
            if named_segments && matches!(events[0], Event::Chunk(_)) {
                target = known_name(&channel.tracks(), target);
                under_way.track.clone_from(&target);
            }
            let (channel, track, taken) = (Arc::clone(&channel), target.clone(), std::mem::take(&mut events));
            blocking(move || {
                for event in taken {
                    let is_chunk = matches!(event, Event::Chunk(_));
                    channel.take(
                        &track,
                        event,
                        Source { begins_segment: is_chunk && begins_segment, ..source },
                        now,
                    )?;
                    begins_segment &= !is_chunk;
                }
                Ok::<bool, Refusal>(begins_segment)
            })
            .await?
            .map(|still| begins_segment = still)?;
        }
        result.map_err(Refusal::from)?;
    }
    if !receiver.is_at_rest() {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "cut_short", "the body ends inside a box"));
    }
    under_way.has_ended = true;
    let now = state.clock.now().live;
    blocking(move || {
        channel.keep_room(&target, encoder, receiver.into_room());
        channel.push_ends(&target, source, now);
    })
    .await
}

/// How long a push is waited for.
#[derive(Debug)]
struct Patience {
    /// When a byte came last.
    last: Instant,
    /// When what is under way began, if anything is.
    inside_since: Option<Instant>,
}

impl Patience {
    fn from(now: Instant) -> Patience {
        Patience { last: now, inside_since: None }
    }

    /// Bytes came, which may have completed something, and may have begun something that is not whole yet.
    fn came(&mut self, now: Instant, has_completed: bool, is_at_rest: bool) {
        self.last = now;
        self.inside_since = match self.inside_since {
            _ if is_at_rest => None,
            Some(since) if !has_completed => Some(since),
            _ => Some(now),
        };
    }

    fn until(&self) -> Instant {
        let silence = self.last + SILENCE_MAX;
        self.inside_since.map_or(silence, |since| silence.min(since + CHUNK_TIME_MAX))
    }

    /// Why it was not waited for any longer.
    fn why(&self) -> &'static str {
        if self.until() < self.last + SILENCE_MAX {
            "a chunk was under way for a minute and is not whole"
        } else {
            "no byte came for a minute"
        }
    }
}

/// Runs what may wait for a disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let lost = |_| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "lost", "what came could not be taken");
    tokio::task::spawn_blocking(work).await.map_err(lost)
}

/// Reads a manifest to its end.
async fn forget(body: Incoming) -> Result<(), Refused> {
    let (mut body, mut left) = (Pin::from(Box::new(body)), FORGOTTEN_BYTES_MAX);
    let until = Instant::now() + SILENCE_MAX;
    loop {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        match tokio::time::timeout_at(until, frame).await {
            Ok(Some(Ok(frame))) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len());
                left = left.checked_sub(bytes).ok_or_else(|| {
                    Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a manifest of more than 4 MiB")
                })?;
            }
            Ok(None) => return Ok(()),
            _ => return Err(Refused::new(StatusCode::BAD_REQUEST, "bad_body", "the body ended before its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn paths_name_tracks_as_encoders_write_them() {
        let check = |path: &str, name: &str, named: bool| {
            let expected = Target::Track { name: name.into(), named_segments: named };
            assert_eq!(target(path), Some(("c", expected)), "{path}");
        };
        check("/ingest/c/video", "video", false);
        check("/ingest/c/Streams(video)", "video", false);
        check("/ingest/c.isml/Streams(video-1.cmfv)", "video-1", false);
        check("/ingest/c/video.cmfv", "video", false);
        check("/ingest/c/video.mp4", "video", false);
        check("/ingest/c/init-stream0.m4s", "stream0", true);
        check("/ingest/c/chunk-stream0-00012.m4s", "stream0", true);
        check("/ingest/c/v720/init.mp4", "v720", false);
        check("/ingest/c/v720/seg_00001.m4s", "v720", true);
        check("/ingest/c/init.mp4", "main", false);
        check("/ingest/c/7.m4s", "main", true);
        check("/ingest/c/video-1.cmfv", "video-1", false);
        check("/ingest/c/seg_en_00007.m4s", "en", true);
        assert_eq!(target("/ingest/c/manifest.mpd"), Some(("c", Target::Manifest)));
        assert_eq!(target("/ingest/c/out0.ts"), Some(("c", Target::TransportStream)));
        for path in ["/ingest/c", "/ingest//v", "/ingest/../v", "/ingest/c/", "/ingest/c/..", "/c/v", "/ingest/c/a b"] {
            assert_eq!(target(path), None, "{path}");
        }
    }

    #[test]
    fn renditions_with_numbers_were_one_track() {
        let named = |path: &str| match target(path) {
            Some((_, Target::Track { name, .. })) => name,
            other => panic!("{path}: {other:?}"),
        };
        let inits = ["/ingest/c/init_0.mp4", "/ingest/c/init_1.mp4", "/ingest/c/video_720_init.mp4"];
        let known = inits.map(named);
        assert_eq!(known, ["main-0", "main-1", "video-720"]);
        let segment = |path: &str, known: &[String]| known_name(known, named(path));
        assert_eq!(segment("/ingest/c/out_0_00001.m4s", &known), "main-0");
        assert_eq!(segment("/ingest/c/out_1_00001.m4s", &known), "main-1");
        assert_eq!(segment("/ingest/c/video_720_00001.m4s", &known), "video-720");
        // Nothing tells whose it is: as a track of its own it has no initialization segment, and that is said.
        assert_eq!(segment("/ingest/c/out_10.m4s", &known), "out");
        let one = |name: &str| [name.to_owned()];
        assert_eq!(segment("/ingest/c/out_1_00001.m4s", &one("main-0")), "out-1", "another number is another track's");
        assert_eq!(segment("/ingest/c/audio_1_00001.m4s", &[one("video-1"), one("video-2")].concat()), "audio-1");
        assert_eq!(segment("/ingest/c/out12.m4s", &one("out")), "out");
        assert_eq!(segment("/ingest/c/out12.m4s", &one("main")), "main");
        assert_eq!(segment("/ingest/c/en_20261126_00001.m4s", &["en".to_owned(), "de".to_owned()]), "en");
    }

    #[test]
    fn who_drips_is_not_waited_for() {
        let now = Instant::now();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let mut patience = Patience::from(now);
        assert_eq!(patience.until(), at(60));
        // A byte every now and then, of one chunk.
        for seconds in [10, 30, 50, 69] {
            patience.came(at(seconds), false, false);
        }
        assert_eq!((patience.until(), patience.why()), (at(70), "a chunk was under way for a minute and is not whole"));
        // It is whole after all, and the next began with the same bytes.
        patience.came(at(69), true, false);
        assert_eq!(patience.until(), at(129));
        patience.came(at(70), true, true);
        assert_eq!((patience.until(), patience.why()), (at(130), "no byte came for a minute"));
    }

    #[test]
    fn an_encoder_is_known_by_what_it_says_or_by_where_it_is() {
        let check = |path: &str, authorization: &str, expected: Result<&str, StatusCode>| {
            let request = Request::put(path).header(header::AUTHORIZATION, authorization).body(()).expect("a request");
            let peer = "[::ffff:192.0.2.1]:4000".parse().expect("an address");
            let called = encoder(&request, peer).map_err(|refused| refused.status);
            assert_eq!(called, expected.map(str::to_owned), "{path}");
        };
        check("/ingest/c/v", "Bearer secret", Ok("192.0.2.1"));
        check("/ingest/c/v?x=y&encoder=b", "Basic YTpzZWNyZXQ=", Ok("b"));
        check("/ingest/c/v?encoder=%62", "", Ok("b"));
        // a:secret, and "a b:secret".
        check("/ingest/c/v", "Basic YTpzZWNyZXQ=", Ok("a"));
        check("/ingest/c/v", "Basic YSBiOnNlY3JldA==", Ok("192.0.2.1"));
        check("/ingest/c/v?encoder=", "", Err(StatusCode::BAD_REQUEST));
        check("/ingest/c/v?encoder=../b", "", Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn a_token_may_come_as_a_bearers_or_as_a_password() {
        let tokens = BTreeMap::from([("own".to_owned(), "secret2".to_owned())]);
        let options = IngestOptions { listen: None, speaks_tls: false, token: Some("secret".into()), tokens };
        let check = |channel: &str, value: &'static str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            authorize(&options, channel, &headers).is_ok()
        };
        assert!(check("c", "Bearer secret") && check("c", "bearer secret"));
        // user:secret
        assert!(check("c", "Basic dXNlcjpzZWNyZXQ="));
        assert!(check("own", "Bearer secret2") && !check("own", "Bearer secret"));
        for value in ["", "secret", "Bearer", "Bearer secret2", "Basic c2VjcmV0", "Basic ???"] {
            assert!(!check("c", value), "{value}");
        }
        assert!(authorize(&IngestOptions::default(), "c", &HeaderMap::new()).is_ok());
    }
}
