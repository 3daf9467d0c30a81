//! What is noted of an answer, and what it says of itself: counts, the access log, CMCD, `Server-Timing`, the request's id.
//!
//! None of it shapes what is served. What a hit pays for is a count and the question whether a player says something of itself; the rest is
//! done for who asked for it.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use tracing::Span;
use tracing::field::Empty;

use crate::formats::cmcd::{self, Value};
use crate::origin::object::{Body, CACHE_STATUS, HIT};
use crate::server::access_log::{AccessLog, Entry, trace_id};
use crate::server::state::State;
use crate::telemetry::{CmcdObject, RequestClass, Status, Telemetry};
use crate::time::Utc;

/// Bytes of an id that a peer gives its request: a UUID, a trace, or both.
const ID_BYTES_MAX: usize = 128;
/// CTA-5004 §2.1.
const CMCD: [HeaderName; 4] = [
    HeaderName::from_static(cmcd::HEADERS[0]),
    HeaderName::from_static(cmcd::HEADERS[1]),
    HeaderName::from_static(cmcd::HEADERS[2]),
    HeaderName::from_static(cmcd::HEADERS[3]),
];
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The span of `request`, where spans are wanted: of the trace that it names, if it names one.
pub fn span(request: &Request<()>) -> Span {
    let span = tracing::trace_span!(
        target: "headwater::spans",
        "request",
        otel.kind = "server",
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        http.response.status_code = Empty,
        cache = Empty,
    );
    #[cfg(feature = "otel")]
    if !span.is_disabled() {
        adopt(&span, request.headers());
    }
    span
}

/// Notes in `span` what came of it.
pub fn end_span(span: &Span, response: &Response<Body>) {
    span.record("http.response.status_code", i64::from(response.status().as_u16()));
    if let Some(cache) = response.headers().get(CACHE_STATUS).and_then(|value| value.to_str().ok()) {
        span.record("cache", cache);
    }
}

/// Makes `span` one of the trace that `headers` name (W3C Trace Context).
#[cfg(feature = "otel")]
fn adopt(span: &Span, headers: &HeaderMap) {
    use opentelemetry::propagation::{Extractor, TextMapPropagator};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    struct Fields<'a>(&'a HeaderMap);
    impl Extractor for Fields<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }
    // A span that nobody sends has no parent to be given.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&Fields(headers)));
}

/// When an answer began to be made, if somebody wants to know how long that takes.
pub fn begin(state: &State) -> Option<Instant> {
    let is_wanted =
        state.access_log.is_some() || state.options.sends_timing || tracing::enabled!(tracing::Level::DEBUG);
    is_wanted.then(Instant::now)
}

/// Notes `response`, which is the answer to `request` of `peer` and whole.
pub fn end(
    state: &State,
    peer: SocketAddr,
    request: &Request<()>,
    response: &mut Response<Body>,
    now: Utc,
    began: Option<Instant>,
) {
    state.telemetry.requests.at(class(request.uri().path()), Status::of(response.status().as_u16())).inc();
    let has_cmcd = state.options.reads_cmcd && has_cmcd(request);
    if has_cmcd || began.is_some() {
        end_seen(state, peer, request, response, now, began, has_cmcd);
    }
}

/// The rest, for who asked for it or says something of itself.
#[cold]
fn end_seen(
    state: &State,
    peer: SocketAddr,
    request: &Request<()>,
    response: &mut Response<Body>,
    now: Utc,
    began: Option<Instant>,
    has_cmcd: bool,
) {
    let said = if has_cmcd { cmcd_of(request) } else { None };
    if let Some(said) = &said {
        count(&state.telemetry, said);
    }
    let Some(began) = began else { return };
    let (path, status) = (request.uri().path(), response.status().as_u16());
    let took = began.elapsed();
    if state.options.sends_timing {
        time(response.headers_mut(), took);
    }
    let bytes = response.body().len();
    tracing::debug!(%peer, method = %request.method(), path, status, bytes, duration_us = took.as_micros() as u64, "request");
    if let Some(log) = &state.access_log {
        let seen = Seen { at: now, peer, took, cmcd: said.unwrap_or_default() };
        write(log, seen, request, response);
    }
}

/// What an entry of the log has besides request and response.
struct Seen {
    at: Utc,
    peer: SocketAddr,
    took: Duration,
    cmcd: String,
}

fn write(log: &AccessLog, seen: Seen, request: &Request<()>, response: &mut Response<Body>) {
    let headers = request.headers();
    let traceparent =
        headers.get(TRACEPARENT).filter(|value| value.to_str().is_ok_and(|text| trace_id(text).is_some()));
    let id = id(headers, traceparent);
    response.headers_mut().insert(REQUEST_ID, id.clone());
    let Seen { at, peer, took, cmcd } = seen;
    // What is in line for the log is not to keep what the connection reads with.
    let copied = |value: &HeaderValue| HeaderValue::from_bytes(value.as_bytes()).expect("a value is one");
    log.write(Entry {
        at,
        peer,
        status: response.status().as_u16(),
        bytes: response.body().len(),
        took,
        id: copied(&id),
        traceparent: traceparent.map(copied),
        referer: headers.get(header::REFERER).map(copied),
        user_agent: headers.get(header::USER_AGENT).map(copied),
        cache: response.headers().get(CACHE_STATUS).cloned(),
        cmcd,
        method: request.method().clone(),
        path: request.uri().path().into(),
        version: request.version(),
    });
}

/// What the peer calls its request; else the trace that it belongs to; else a name that no other request is likely to have.
fn id(headers: &HeaderMap, traceparent: Option<&HeaderValue>) -> HeaderValue {
    let is_plain = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        !bytes.is_empty() && bytes.len() <= ID_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic)
    };
    if let Some(given) = headers.get(REQUEST_ID).filter(is_plain) {
        return given.clone();
    }
    if let Some(trace) = traceparent.and_then(|value| value.to_str().ok()).and_then(trace_id) {
        return HeaderValue::from_str(trace).expect("hexadecimal digits are ASCII");
    }
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    // The keys of a hash map are random.
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(0u8));
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    HeaderValue::try_from(format!("{process:016x}-{number:x}")).expect("hexadecimal digits are ASCII")
}

/// Server-Timing (W3C), of what was not at hand.
fn time(headers: &mut HeaderMap, took: Duration) {
    if headers.get(CACHE_STATUS) == Some(&HIT) {
        return;
    }
    let value = format!("origin;dur={:.3}", took.as_secs_f64() * 1e3);
    headers.insert(SERVER_TIMING, HeaderValue::try_from(value).expect("digits are ASCII"));
    headers.insert(TIMING_ALLOW_ORIGIN, HeaderValue::from_static("*"));
}

/// Whether a player may say something of itself: what waits for a part has a query, too. Requests have few headers, whose names are looked at
/// once.
fn has_cmcd(request: &Request<()>) -> bool {
    request.uri().query().is_some_and(|query| query.contains("CMCD="))
        || request.headers().keys().any(|name| name.as_str().starts_with("cmcd-"))
}

/// What a player says of itself, in the query or in headers.
fn cmcd_of(request: &Request<()>) -> Option<String> {
    let mut said = request.uri().query().and_then(cmcd::of_query).map(String::from);
    for line in CMCD.iter().filter_map(|name| request.headers().get(name)?.to_str().ok()) {
        let said = said.get_or_insert_default();
        if !said.is_empty() {
            said.push(',');
        }
        said.push_str(line);
    }
    said
}

fn count(telemetry: &Telemetry, said: &str) {
    let amount = |number: i64| u64::try_from(number).unwrap_or(0);
    let mut object = CmcdObject::Other;
    for pair in cmcd::pairs(said) {
        match pair {
            ("ot", Value::Text(token)) => object = CmcdObject::of(token),
            ("bs", Value::Flag(true)) => telemetry.cmcd_starvations.inc(),
            ("su", Value::Flag(true)) => telemetry.cmcd_startups.inc(),
            ("bl", Value::Number(millis)) => telemetry.cmcd_buffer_seconds.add(amount(millis)),
            ("ltc", Value::Number(millis)) => telemetry.cmcd_latency_seconds.add(amount(millis)),
            ("mtp", Value::Number(kilobits)) => telemetry.cmcd_throughput_bits.add(amount(kilobits)),
            _ => {}
        }
    }
    telemetry.cmcd_requests.at(object).inc();
}

fn class(path: &str) -> RequestClass {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("m4s" | "vtt") => RequestClass::Segment,
        Some("mp4") => RequestClass::Init,
        Some("m3u8") => RequestClass::Playlist,
        Some("mpd") => RequestClass::Mpd,
        _ => RequestClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, headers: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::builder().uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn what_players_say_in_query_and_headers_is_counted() {
        let telemetry = Telemetry::default();
        let query = request("/a.m4s?x=1&CMCD=bl%3D4000%2Cot%3Dv%2Cbs", &[]);
        let headers = request(
            "/a.m4s",
            &[("cmcd-request", "mtp=8000,su"), ("cmcd-object", "ot=a,d=4000"), ("cmcd-session", "sid=\"x\",v=2")],
        );
        for request in [&query, &headers] {
            count(&telemetry, &cmcd_of(request).unwrap());
        }
        assert_eq!(cmcd_of(&request("/a.m4s?x=CMCD", &[("user-agent", "x")])), None);
        let by = |object| telemetry.cmcd_requests.at(object).get();
        assert_eq!((by(CmcdObject::Video), by(CmcdObject::Audio), telemetry.cmcd_requests.sum()), (1, 1, 2));
        assert_eq!((telemetry.cmcd_starvations.get(), telemetry.cmcd_startups.get()), (1, 1));
        assert_eq!((telemetry.cmcd_buffer_seconds.sum(), telemetry.cmcd_throughput_bits.sum()), (4000, 8000));
    }

    #[test]
    fn a_request_has_the_id_it_came_with_or_its_trace_or_one_of_ours() {
        let id = |headers: &[(&'static str, &'static str)]| {
            let request = request("/", headers);
            id(request.headers(), request.headers().get(TRACEPARENT))
        };
        let trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(id(&[("x-request-id", "abc"), trace]), "abc");
        assert_eq!(id(&[trace]), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(id(&[("x-request-id", "a b"), trace]), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(id(&[]), id(&[]));
    }

    #[test]
    fn requests_are_counted_by_what_they_ask_for() {
        for (path, expected) in [
            ("/a/master.m3u8", RequestClass::Playlist),
            ("/a/manifest.mpd", RequestClass::Mpd),
            ("/a/v/0123456789abcdef/init.mp4", RequestClass::Init),
            ("/a/v/0123456789abcdef/180000.m4s", RequestClass::Segment),
            ("/a/v/0123456789abcdef/180000.part.m4s", RequestClass::Segment),
            ("/favicon.ico", RequestClass::Other),
            ("/", RequestClass::Other),
        ] {
            assert_eq!(class(path), expected, "{path}");
        }
    }
}
