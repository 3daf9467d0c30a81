//! The ingest listener: what encoders push, by PUT or POST, goes to channels.
//!
//! | path | what |
//! |---|---|
//! | `/ingest/{channel}/{track}` | a track: one long request, or one a segment or chunk (DASH-IF Live Media Ingest, interface 1) |
//! | `/ingest/{channel}/Streams({track})`, and what follows it | likewise, as it was named before, and a segment of it |
//! | `/ingest/{channel}` | nothing: whether it may be pushed to |
//! | `/ingest/{channel}/{file}`, `/ingest/{channel}/{track}/{file}` | a file of a packager: `init-stream0.m4s`, `chunk-stream0-00001.m4s`, … |
//!
//! Manifests that are pushed are read for which files belong together, and no further; DELETE of one has it forgotten, and any other is
//! taken and does nothing: what is listed, and how long, is decided here. Encoders that push the same are told apart by `?encoder=NAME`, by the user of their credentials, or by the address that they push from.

pub(super) mod manifests;
pub mod paths;

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
use crate::origin::object::Body;
use crate::server::IngestOptions;
use crate::server::clock::Clock;
use crate::server::http::{self as server_http, Answer, Refused};
use crate::server::ingest::manifests::Said;
use crate::server::ingest::paths::{Named, Target, encoder_of, target};
use crate::server::state::State;
use crate::time::Utc;

/// Connections open at once on the ingest listener: each of a channel's tracks has one.
pub(crate) const CONNECTIONS_MAX: usize = 4096;
/// Without a byte of a push that has begun; encoders send several times a second.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// From the first byte of a chunk, or of an initialization segment, to its last: no chunk lasts longer.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(60);
/// What a push goes on with is said of it once in so long.
const SAID_EVERY: Duration = Duration::from_secs(60);
/// Pushed manifests are read to their end, so that the connection may be used again.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

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
            Refusal::TooLong(_) => (StatusCode::CONFLICT, "too_long"),
            Refusal::TooMuch(_) => (StatusCode::TOO_MANY_REQUESTS, "too_much"),
            Refusal::Elsewhere => (StatusCode::SERVICE_UNAVAILABLE, "elsewhere"),
        };
        Refused::new(status, code, refusal.to_string())
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
    let (channel, target) = target(request.uri().path()).ok_or_else(nowhere)?;
    authorize(&state.options.ingest, &channel, request.headers())?;
    if request.method() == Method::DELETE {
        state.manifests.forget(&channel, request.uri().path());
        return Ok(());
    }
    if !matches!(*request.method(), Method::PUT | Method::POST) {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only PUT, POST and DELETE"));
    }
    let target = as_manifests_say(state, &channel, request.uri().path(), target);
    match target {
        Target::Point => {
            is_none_of_library(state, &channel).await?;
            state.origin.channels().takes(&channel)?;
            read(body, 0, nowhere).await.map(drop)
        }
        Target::Unknown => Err(nowhere()),
        Target::Manifest => manifest(state, channel, request.uri().path(), body).await,
        Target::TransportStream => Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported",
            "segments are CMAF here: with ffmpeg, -hls_segment_type fmp4",
        )),
        Target::Track(named) => {
            let encoder = encoder(request, peer)?;
            push(state, &channel, named, &encoder, body).await
        }
    }
}

fn nowhere() -> Refused {
    let what = "a push goes to /ingest/{channel}/{track}: names are of letters, digits, _ and -";
    Refused::new(StatusCode::NOT_FOUND, "not_found", what)
}

/// A channel that is not there yet hides no presentation.
async fn is_none_of_library(state: &State, channel: &str) -> Result<(), Refused> {
    let is_there = state.origin.channels().get(channel).is_some();
    if is_there || !state.origin.is_of_library(channel, state.clock.now().live).await {
        return Ok(());
    }
    let message =
        format!("the library has a presentation called {channel}, or some below it: a channel would hide them");
    Err(Refused::new(StatusCode::CONFLICT, "conflict", message))
}

/// What the encoder is called that pushes `request`, from `peer`.
fn encoder(request: &Request<()>, peer: SocketAddr) -> Result<String, Refused> {
    if let Some(said) = encoder_of(request.uri().query().unwrap_or("")) {
        let bad = || {
            let what = "`encoder` is a name of letters, digits, _ and -";
            Refused::new(StatusCode::BAD_REQUEST, "bad_query", what)
        };
        return said.ok_or_else(bad);
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

async fn push(state: &State, channel: &str, mut named: Named, encoder: &str, body: Incoming) -> Result<(), Refused> {
    let (channels, clock) = (Arc::clone(state.origin.channels()), Arc::clone(&state.clock));
    let push = channels.next_push();
    is_none_of_library(state, channel).await?;
    let (wanted, called) = (channel.to_owned(), encoder.to_owned());
    let path = named.clone();
    let heard = clock.now().live;
    let (channel, encoder, room) = blocking(move || {
        let channel = channels.for_push(&wanted)?;
        let encoder = channel.encoder(&called, heard);
        let room = channel.room(&path.of_media(&channel.tracks()).name, encoder);
        Ok::<_, Refusal>((channel, encoder, room))
    })
    .await??;
    let mut source = Source { encoder, push, named_segments: named.is_segment, ..Source::default() };
    let _pushing = channel.intake().begins()?;
    let (track, clock) = (named.name.clone(), Arc::clone(&clock));
    let mut under_way = UnderWay { channel: Arc::clone(&channel), clock, track, source, has_ended: false };
    let mut patience = Patience::from(Instant::now());
    let (mut receiver, mut events, mut body) = (Receiver::within(room), Vec::new(), Pin::from(Box::new(body)));
    let (mut is_first, mut progress) = (true, Progress { begins_segment: true, fitted: false, said: None });
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
            if std::mem::take(&mut is_first) && matches!(events[0], Event::Chunk(_)) {
                named = named.of_media(&channel.tracks());
                source.named_segments = named.is_segment;
                under_way.track.clone_from(&named.name);
                under_way.source = source;
            }
            let (channel, track, taken) = (Arc::clone(&channel), named.name.clone(), std::mem::take(&mut events));
            progress = blocking(move || {
                taken
                    .into_iter()
                    .try_fold(progress, |progress, event| progress.take(&channel, &track, event, source, now))
            })
            .await??;
        }
        result.map_err(Refusal::from)?;
    }
    if !receiver.is_at_rest() {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "cut_short", "the body ends inside a box"));
    }
    under_way.has_ended = true;
    let now = state.clock.now().live;
    blocking(move || {
        channel.keep_room(&named.name, encoder, receiver.into_room());
        channel.push_ends(&named.name, source, now);
    })
    .await
}

/// How far a push has come.
#[derive(Clone, Copy, Debug)]
struct Progress {
    /// No chunk came yet.
    begins_segment: bool,
    /// The last chunk was not too long.
    fitted: bool,
    /// When it was said last that one was.
    said: Option<Utc>,
}

impl Progress {
    /// Has `channel` take `event`. A chunk that is too long behind one that was not is left out, and the push goes on: where a source stood
    /// still, encoders let the last sample before it last until the first one after it, and many end when a push does.
    fn take(self, channel: &Channel, track: &str, event: Event, source: Source, now: Utc) -> Result<Progress, Refusal> {
        if !matches!(event, Event::Chunk(_)) {
            return channel.take(track, event, source, now).map(|_| self);
        }
        let mut said = self.said;
        let fitted = match channel.take(track, event, Source { begins_segment: self.begins_segment, ..source }, now) {
            Ok(_) => true,
            Err(Refusal::TooLong(message)) if self.fitted => {
                if said.is_none_or(|said| now >= said.after(SAID_EVERY)) {
                    tracing::warn!(channel = channel.name(), track, message, "chunk_left_out");
                    said = Some(now);
                }
                false
            }
            Err(other) => return Err(other),
        };
        Ok(Progress { begins_segment: false, fitted, said })
    }
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

/// What `path` names of `channel`, which is `target` by its own.
fn as_manifests_say(state: &State, channel: &str, path: &str, target: Target) -> Target {
    let known = state.origin.channels().get(channel).map(|channel| channel.tracks()).unwrap_or_default();
    match (state.manifests.said(channel, path, &known), target) {
        (Said::Segment(named), _) if known.contains(&named.name) => Target::Track(named),
        (Said::Segment(_) | Said::OfAnother, Target::Track(named)) => Target::Track(named.by_name_alone()),
        (_, target) => target,
    }
}

/// Takes a manifest, to its end.
async fn manifest(state: &State, channel: String, path: &str, body: Incoming) -> Result<(), Refused> {
    let too_large = || Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a manifest of more than 4 MiB");
    let body = read(body, MANIFEST_BYTES_MAX, too_large).await?;
    let (manifests, channels, path) =
        (Arc::clone(&state.manifests), Arc::clone(state.origin.channels()), path.to_owned());
    blocking(move || manifests.take(&channel, &path, &body, |name| channels.get(name).is_some())).await
}

/// Reads a body of at most `most` bytes to its end, or says that it is `more`. Its beginning is what is given.
async fn read(body: Incoming, most: usize, more: impl Fn() -> Refused) -> Result<Vec<u8>, Refused> {
    let (mut body, mut left, mut begin) = (Pin::from(Box::new(body)), most, Vec::new());
    let until = Instant::now() + SILENCE_MAX;
    loop {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        match tokio::time::timeout_at(until, frame).await {
            Ok(Some(Ok(frame))) => {
                let data = frame.data_ref().map_or(&[][..], |data| &data[..]);
                left = left.checked_sub(data.len()).ok_or_else(&more)?;
                begin.extend_from_slice(&data[..data.len().min(manifests::BYTES_READ - begin.len())]);
            }
            Ok(None) => return Ok(begin),
            _ => return Err(Refused::new(StatusCode::BAD_REQUEST, "bad_body", "the body ended before its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

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
