//! The admin listener: the page, the API behind it, and the metrics; and calls that change something, with a token.
//!
//! | path | what |
//! |---|---|
//! | `/` | the page |
//! | `/api/presentations?after=NAME` | JSON array of presentations, at most [`LISTINGS_MAX`] |
//! | `/api/status` | live figures as a JSON object |
//! | `/api/live` | how the channels are, as a JSON array |
//! | `/metrics` | OpenMetrics text |
//! | `POST /api/purge`, `POST /api/reload` | empties caches; reads the configuration again |
//! | `POST /api/clips` | makes a presentation of what was broadcast |
//! | `/healthz`, `/readyz` | as on the media listener |

mod live;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use crate::formats::uri::percent_decoded;
use crate::origin::channels::ChannelFigures;
use crate::origin::listing::{ClassFill, Listing, ThumbnailsListing};
use crate::origin::object::Body;
use crate::origin::serve::Purge;
use crate::server::access::token::Key;
use crate::server::clock::Now;
use crate::server::http::{self as server_http, Answer};
use crate::server::reload::NoReload;
use crate::server::state::State;
use crate::telemetry::{self, CacheClass, Label, RequestClass, Status, Telemetry, process};
use crate::time::Utc;

/// Presentations in one answer of the API.
pub const LISTINGS_MAX: usize = 100;
/// Tokens of the URLs in the API are good for one to two of these, and change once in one: a page that plays is not disturbed for long.
const TOKEN_SECONDS: u64 = 6 * 3600;

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const ICON: &str = include_str!("page/icon.svg");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Answers on the admin listener, for a media listener at the address.
#[derive(Clone, Copy, Debug)]
pub struct Admin {
    /// Where the media listener really listens.
    pub media: MediaBase,
    /// Where this one does.
    pub own: SocketAddr,
}

impl Answer for Admin {
    const IS_BEHIND_PROXIES: bool = false;

    async fn answer(self, state: Arc<State>, _: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let now = state.clock.now();
        let (request, body) = server_http::without_body(request).await;
        let base = self.media.url(request.headers().get(header::HOST));
        let mut response = match body {
            Ok(()) if self.own.ip().is_loopback() && !is_of_this_machine(request.headers().get(header::HOST)) => {
                server_http::error(
                    StatusCode::MISDIRECTED_REQUEST,
                    "misdirected",
                    "this listener is for localhost",
                    "no-store",
                )
            }
            Ok(()) => respond(&state, &base, self.own.ip().is_loopback(), &request, now).await,
            Err(refusal) => refusal,
        };
        protect(&mut response, &base);
        server_http::finish(&request, &mut response, now.wall);
        response
    }
}

/// Whether a Host header names this machine alone. A page of another name that was made to resolve to 127.0.0.1 could else read
/// what is here with a browser's help.
fn is_of_this_machine(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host.and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

async fn respond(state: &State, base: &str, is_local: bool, request: &Request<()>, now: Now) -> Response<Body> {
    if let Some(response) = server_http::common(state, request) {
        return response;
    }
    if request.uri().path() == "/api/purge" {
        return purge(state, request).await;
    }
    if request.uri().path() == "/api/clips" {
        return match may_not_change(state, request) {
            Some(refusal) => refusal,
            None => match live::clip(state, request).await {
                Ok(clip) => as_json(&clip),
                Err(refused) => refused.response(),
            },
        };
    }
    if request.uri().path() == "/api/reload" {
        return reload(state, request).await;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response =
            server_http::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET and HEAD", "no-store");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    // Who asks from elsewhere may look, and need not be one who may fetch.
    let access = &state.options.access;
    let may_play = is_local || access.may_change(request.headers());
    let key = access.tokens.first().filter(|_| may_play);
    match request.uri().path() {
        "/" => text("text/html; charset=utf-8", PAGE),
        "/page.css" => text("text/css; charset=utf-8", STYLE),
        "/page.js" => text("text/javascript; charset=utf-8", SCRIPT),
        "/api/presentations" => presentations(state, base, key, request.uri().query().unwrap_or(""), now).await,
        "/icon.svg" => text("image/svg+xml", ICON),
        "/api/status" => as_json(&status(state, base, now)),
        "/api/live" => as_json(&live::channels(state, base, key, token_expires_s(now.wall), now.live).await),
        "/metrics" => metrics(state, now.live).await,
        _ => server_http::error(StatusCode::NOT_FOUND, "no_such_page", "no such page", "no-store"),
    }
}

/// Empties caches: `POST /api/purge?presentation=NAME`, `?prefix=/films/` or `?all`.
async fn purge(state: &State, request: &Request<()>) -> Response<Body> {
    if let Some(refusal) = may_not_change(state, request) {
        return refusal;
    }
    let bad = |message| server_http::error(StatusCode::BAD_REQUEST, "bad_query", message, "no-store");
    let what = match request.uri().query().unwrap_or("").split_once('=') {
        None if request.uri().query() == Some("all") => Purge::All,
        Some(("presentation", name)) => match percent_decoded(name) {
            Some(name) => Purge::Presentation(name),
            None => return bad("`presentation` is not UTF-8"),
        },
        Some(("prefix", prefix)) => match percent_decoded(prefix).filter(|prefix| prefix.starts_with('/')) {
            Some(prefix) => Purge::Prefix(prefix),
            None => return bad("`prefix` is no path that begins with a slash"),
        },
        _ => return bad("the query is `presentation=NAME`, `prefix=/PATH` or `all`"),
    };
    let purged = state.origin.purge(&what).await;
    tracing::info!(?what, purged, "purged");
    as_json(&serde_json::json!({ "purged": purged }))
}

/// Reads the configuration again, as SIGHUP does: `POST /api/reload`.
async fn reload(state: &State, request: &Request<()>) -> Response<Body> {
    if let Some(refusal) = may_not_change(state, request) {
        return refusal;
    }
    let reloaded = match &state.reloader {
        Some(reloader) => reloader.reload().await,
        None => Err(NoReload::Nobody),
    };
    let refused = |status, code, message: &str| server_http::error(status, code, message, "no-store");
    match reloaded {
        Ok(reloaded) => as_json(&reloaded),
        Err(NoReload::Wrong(why)) => refused(StatusCode::UNPROCESSABLE_ENTITY, "configuration_refused", &why),
        Err(NoReload::Busy) => refused(StatusCode::SERVICE_UNAVAILABLE, "busy", "others wait for a reload; try again"),
        Err(NoReload::Nobody) => refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_configuration",
            "nobody reads a configuration here, or not now",
        ),
    }
}

/// The answer to a call that changes something, if it may not: only a POST with the token of `access.admin` may.
fn may_not_change(state: &State, request: &Request<()>) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        let message = "this changes something: POST";
        let mut response =
            server_http::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, "no-store");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    let access = &state.options.access;
    if access.may_change(request.headers()) {
        return None;
    }
    if access.admin.is_none() {
        let message = "access.admin is not configured, so nobody may change anything here";
        return Some(server_http::error(StatusCode::FORBIDDEN, "forbidden", message, "no-store"));
    }
    let message = "this needs the token of access.admin";
    let mut response = server_http::error(StatusCode::UNAUTHORIZED, "unauthorized", message, "no-store");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(response)
}

async fn presentations(state: &State, base: &str, key: Option<&Key>, query: &str, now: Now) -> Response<Body> {
    let mut after = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match (pair.split_once('='), after.is_some()) {
            (Some(("after", name)), false) => match percent_decoded(name) {
                Some(name) => after = Some(name),
                None => {
                    return server_http::error(
                        StatusCode::BAD_REQUEST,
                        "bad_query",
                        "`after` is not UTF-8",
                        "no-store",
                    );
                }
            },
            _ => {
                return server_http::error(
                    StatusCode::BAD_REQUEST,
                    "bad_query",
                    "the only parameter is `after`",
                    "no-store",
                );
            }
        }
    }
    let listings = state.origin.listings(after.as_deref(), LISTINGS_MAX, now.live).await;
    as_json(&listings.into_iter().map(|listing| playable(listing, base, key, now.wall)).collect::<Vec<_>>())
}

/// Until when tokens of the API's URLs are good, in seconds since 1970.
fn token_expires_s(now: Utc) -> u64 {
    (now.0 / 1000 / TOKEN_SECONDS + 2) * TOKEN_SECONDS
}

/// `listing` with URLs that a player can be given: absolute, and with a token of `key` for what lies under its name.
fn playable(listing: Listing, base: &str, key: Option<&Key>, now: Utc) -> Listing {
    let expires_s = token_expires_s(now);
    let depth = listing.name.matches('/').count() + 1;
    let token = key.and_then(|key| key.sign(&format!("/{}/", listing.name), depth, expires_s));
    let token = token.map(|token| format!("/~t={token}")).unwrap_or_default();
    let whole = |path: String| format!("{base}{token}/{}", path.trim_start_matches('/'));
    let sheets = |one: ThumbnailsListing| ThumbnailsListing { sheets: whole(one.sheets), ..one };
    Listing {
        hls: listing.hls.map(whole),
        dash: listing.dash.map(whole),
        thumbnails: listing.thumbnails.into_iter().map(sheets).collect(),
        ..listing
    }
}

/// The live figures.
#[derive(Debug, Serialize)]
struct Figures<'a> {
    version: &'static str,
    uptime_s: u64,
    /// How far the wall clock is ahead of the clock of what is live.
    clock_offset_s: f64,
    ready: bool,
    /// Where the media listener is.
    media: &'a str,
    requests: u64,
    requests_in_flight: i64,
    requests_refused: u64,
    /// Answers that say the server could not: 500 and 503.
    failures: u64,
    hits: u64,
    misses: u64,
    flights: i64,
    flights_started: u64,
    flights_joined: u64,
    /// Microseconds that all flights took together.
    flights_us: u64,
    negative_answers: u64,
    bytes_out: u64,
    source_reads: u64,
    source_read_bytes: u64,
    connections: u64,
    connections_open: i64,
    connections_refused: u64,
    connections_max: usize,
    /// Of the process, where the system says.
    resident_bytes: Option<i64>,
    descriptors: Option<i64>,
    cmcd_requests: u64,
    cmcd_starvations: u64,
    cache: Cache,
}

/// All instances of the cache, and each.
#[derive(Debug, Serialize)]
struct Cache {
    bytes: u64,
    entries: u64,
    ceiling: u64,
    classes: Vec<ClassFill>,
}

fn status<'a>(state: &State, base: &'a str, now: Now) -> Figures<'a> {
    let counted = &state.telemetry;
    let classes = state.origin.fill().classes;
    let sum = |of: fn(&ClassFill) -> u64| classes.iter().map(of).sum();
    let cache = Cache { bytes: sum(|c| c.bytes), entries: sum(|c| c.entries), ceiling: sum(|c| c.ceiling), classes };
    Figures {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: state.started.elapsed().as_secs(),
        clock_offset_s: (now.wall.0 as f64 - now.live.0 as f64) / 1000.0,
        ready: !state.drain.has_begun(),
        media: base,
        requests: counted.requests.sum(),
        requests_in_flight: counted.requests_in_flight.get(),
        requests_refused: counted.requests_refused.get(),
        failures: RequestClass::ALL.iter().map(|&class| failures(counted, class)).sum(),
        hits: counted.cache_hits.sum(),
        misses: counted.cache_misses.sum(),
        flights: counted.flights.get(),
        flights_started: counted.flights_started.get(),
        flights_joined: counted.flights_joined.get(),
        flights_us: counted.flight_seconds.sum(),
        negative_answers: counted.negative_answers.get(),
        bytes_out: counted.bytes_out.get(),
        source_reads: counted.source_reads.get(),
        source_read_bytes: counted.source_read_bytes.get(),
        connections: counted.connections.get(),
        connections_open: counted.connections_open.get(),
        connections_refused: counted.connections_refused.get(),
        connections_max: state.options.connections_max,
        resident_bytes: process::resident_bytes(),
        descriptors: process::descriptors(),
        cmcd_requests: counted.cmcd_requests.sum(),
        cmcd_starvations: counted.cmcd_starvations.get(),
        cache,
    }
}

fn failures(counted: &Telemetry, class: RequestClass) -> u64 {
    [Status::InternalServerError, Status::ServiceUnavailable]
        .map(|status| counted.requests.at(class, status).get())
        .iter()
        .sum()
}

/// What is known of the channels, counted together.
async fn count_channels(state: &State, now: Utc) {
    let (channels, counted) = (state.origin.channel_figures(now).await, &state.telemetry);
    let level = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    let running = || channels.iter().filter(|channel| matches!(channel.state, "live" | "silent"));
    counted.live_channels.set(level(channels.len()));
    counted.live_silent.set(level(running().filter(|channel| channel.state == "silent").count()));
    counted.live_gaps.set(level(channels.iter().map(ChannelFigures::gaps).sum()));
    counted.live_waiting.set(level(channels.iter().map(|channel| channel.waiting).sum()));
    let encoders = || channels.iter().flat_map(|channel| &channel.encoders);
    counted.live_encoders.set(level(encoders().filter(|encoder| encoder.state != "silent").count()));
    counted.live_takeovers.set(channels.iter().map(|channel| i64::try_from(channel.takeovers).unwrap_or(0)).sum());
    let oldest_s = running().map(|channel| channel.media_age_s).fold(0.0, f64::max);
    counted.live_media_age_seconds.set(oldest_s as i64);
    let ages = running().map(|channel| (channel.name.clone(), channel.media_age_s as i64));
    counted.live_channel_media_age_seconds.set(ages.collect());
}

async fn metrics(state: &State, now: Utc) -> Response<Body> {
    count_channels(state, now).await;
    for class in state.origin.fill().classes {
        if let Some(&which) = CacheClass::ALL.iter().find(|which| which.value() == class.name) {
            let level = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            state.telemetry.cache_bytes.at(which).set(level(class.bytes));
            state.telemetry.cache_entries.at(which).set(level(class.entries));
            state.telemetry.cache_ceiling_bytes.at(which).set(level(class.ceiling));
        }
    }
    let process = [
        (&state.telemetry.process_resident_bytes, process::resident_bytes()),
        (&state.telemetry.process_descriptors, process::descriptors()),
    ];
    for (level, value) in process {
        if let Some(value) = value {
            level.set(value);
        }
    }
    let content_type = HeaderValue::from_static(telemetry::CONTENT_TYPE);
    server_http::whole(StatusCode::OK, content_type, NO_STORE, Bytes::from(state.telemetry.encode()))
}

/// Where the URLs of a listener begin.
#[derive(Clone, Copy, Debug)]
pub struct MediaBase {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS alone.
    pub is_tls: bool,
}

impl MediaBase {
    /// Where the listener is for who reached us by `host`: `http://127.0.0.1:8080`. A listener on all addresses is at the host that the
    /// reader used.
    pub fn url(self, host: Option<&HeaderValue>) -> String {
        let (media, scheme) = (self.address, if self.is_tls { "https" } else { "http" });
        if !media.ip().is_unspecified() {
            return format!("{scheme}://{media}");
        }
        let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        // What becomes part of a policy and of links is a plain name or address, nothing else.
        let is_plain = |host: &str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-[]:".contains(&b));
        match host.as_ref().map(Authority::host).filter(|host| !host.is_empty() && is_plain(host)) {
            Some(host) => format!("{scheme}://{host}:{}", media.port()),
            None => format!("{scheme}://localhost:{}", media.port()),
        }
    }
}

fn text(content_type: &'static str, text: &'static str) -> Response<Body> {
    // The page belongs to the running program, so it is asked for again after an upgrade.
    let (content_type, cache_control) = (HeaderValue::from_static(content_type), HeaderValue::from_static("no-cache"));
    server_http::whole(StatusCode::OK, content_type, cache_control, Bytes::from_static(text.as_bytes()))
}

fn as_json(value: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(value).expect("our own values have string keys and finite numbers");
    server_http::json(StatusCode::OK, NO_STORE, text)
}

/// Lets the page load from here and play from the media listener, and nothing else.
fn protect(response: &mut Response<Body>, base: &str) {
    let policy = format!(
        "default-src 'self'; connect-src 'self' {base}; img-src 'self' {base}; media-src 'self' blob: {base}; object-src 'none'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy).expect("an address and plain host names are ASCII");
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { live: Utc(0), wall: Utc(0) };
    use crate::origin::listing::{PeriodListing, TrackListing};

    fn listing(name: &str) -> Listing {
        let track = TrackListing {
            name: "video-1".into(),
            period: "1".into(),
            kind: "video".into(),
            codec: "avc1.64001f".into(),
            language: None,
            bandwidth: 1_000_000,
            segments: 10,
            width: Some(1280),
            height: Some(720),
            frame_rate: Some(25.0),
            channels: None,
            sample_rate: None,
            protection: None,
            captions: Some(vec!["CC1".into()]),
        };
        Listing {
            name: name.into(),
            live: false,
            duration_s: Some(60.0),
            hls: Some(format!("/{name}/master.m3u8")),
            dash: None,
            rule: "a file of its own".into(),
            periods: vec![PeriodListing { id: "1".into(), start_s: 0.0, duration_s: 60.0 }],
            tracks: vec![track],
            thumbnails: vec![ThumbnailsListing {
                name: "thumbnails".into(),
                sheets: format!("/{name}/thumbnails/0123456789abcdef/{{number}}.jpg"),
                count: 2,
                columns: 3,
                rows: 2,
                width: 160,
                height: 90,
                interval_s: 5.0,
            }],
            warnings: vec!["audio: no language".into()],
        }
    }

    async fn get(path: &str, method: Method) -> Response<Body> {
        let state = State::for_tests();
        let request = Request::builder().method(method).uri(path).header(header::HOST, "localhost").body(()).unwrap();
        respond(&state, "http://127.0.0.1:8080", true, &request, NOW).await
    }

    async fn body(response: Response<Body>) -> String {
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_presentation_is_listed_with_absolute_urls_or_null() {
        let value = serde_json::to_value(playable(listing("film"), "http://127.0.0.1:8080", None, Utc(0))).unwrap();
        assert_eq!(value["hls"], "http://127.0.0.1:8080/film/master.m3u8");
        assert!(value["dash"].is_null());
        assert_eq!(value["duration_s"], 60.0);
        assert_eq!(value["live"], false);
        assert_eq!(value["tracks"][0]["codec"], "avc1.64001f");
        let sheets = "http://127.0.0.1:8080/film/thumbnails/0123456789abcdef/{number}.jpg";
        assert_eq!(value["thumbnails"][0]["sheets"], sheets);
        assert_eq!(value["tracks"][0]["bandwidth"], 1_000_000);
        assert_eq!(value["warnings"][0], "audio: no language");
    }

    #[test]
    fn where_tokens_are_needed_the_page_has_one_for_each_presentation() {
        use crate::server::access::secret::Secret;
        use crate::server::access::token::verify;
        let key = Key::new("a".into(), Secret::new(b"correct horse battery").unwrap()).unwrap();
        let now = Utc(1_900_000_000_000);
        let url = playable(listing("films/tour"), "http://127.0.0.1:8080", Some(&key), now).hls.unwrap();
        let token = url.strip_prefix("http://127.0.0.1:8080/~t=").and_then(|rest| rest.split_once('/')).unwrap().0;
        assert!(url.ends_with("/films/tour/master.m3u8"), "{url}");
        let keys = [key];
        let opens = |path: &str, hours: u64| verify(&keys, token, path, Utc(now.0 + hours * 3_600_000)).is_ok();
        assert!(opens("/films/tour/v/0123456789abcdef/0.m4s", 5) && !opens("/films/tour/master.m3u8", 13));
        assert!(!opens("/films/other/master.m3u8", 0));
    }

    #[test]
    fn another_name_for_this_machine_is_refused() {
        let check = |host: &'static str| is_of_this_machine(Some(&HeaderValue::from_static(host)));
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1:8081", "127.1.2.3", "[::1]:8081", "[::1]"] {
            assert!(check(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8081", "localhost.evil.example", "10.0.0.1:8081", "", "[::2]:8081"] {
            assert!(!check(host), "{host}");
        }
        assert!(is_of_this_machine(None));
    }

    #[tokio::test]
    async fn every_path_answers_in_its_own_format() {
        assert_eq!(body(get("/api/presentations?after=a%20b", Method::GET).await).await, "[]");
        let status: serde_json::Value =
            serde_json::from_str(&body(get("/api/status", Method::GET).await).await).unwrap();
        for key in ["requests", "hits", "misses", "flights", "bytes_out", "connections_open", "uptime_s"] {
            assert_eq!(status[key], 0, "{key}");
        }
        assert_eq!(status["media"], "http://127.0.0.1:8080");
        assert!(status["cache"]["classes"].is_array());
        assert!(body(get("/", Method::GET).await).await.starts_with("<!doctype html>"));
        assert!(body(get("/metrics", Method::GET).await).await.ends_with("# EOF\n"));
        assert_eq!(body(get("/healthz", Method::GET).await).await, "{\"status\":\"ok\"}");
        for (path, method, status) in [
            ("/api", Method::GET, 404),
            ("/page.css/", Method::GET, 404),
            ("/api/presentations?before=x", Method::GET, 400),
            ("/api/presentations?after=%ff", Method::GET, 400),
            ("/api/presentations?after=%f", Method::GET, 400),
            ("/", Method::POST, 405),
            ("/api/status", Method::DELETE, 405),
        ] {
            let response = get(path, method).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert!(response.headers().contains_key(header::CACHE_CONTROL));
        }
    }

    #[tokio::test]
    async fn only_who_brings_the_token_empties_caches_and_makes_clips() {
        let ask = |token: Option<&'static str>, is_set: bool, method: Method, query: &'static str| async move {
            let path = if query.starts_with("channel") { "clips" } else { "purge" };
            let mut state = State::for_tests();
            let secret = crate::server::access::secret::Secret::new(b"what admins bring along").unwrap();
            state.options.access.admin = is_set.then_some(secret);
            let mut request = Request::builder().method(method).uri(format!("/api/{path}?{query}"));
            request = request.header(header::HOST, "localhost");
            if let Some(token) = token {
                request = request.header(header::AUTHORIZATION, token);
            }
            respond(&state, "http://x", true, &request.body(()).unwrap(), NOW).await.status().as_u16()
        };
        let right = Some("Bearer what admins bring along");
        for query in ["all", "presentation=a%20b", "prefix=/films/"] {
            assert_eq!(ask(right, true, Method::POST, query).await, 200, "{query}");
        }
        for query in ["", "everything", "prefix=films", "presentation=%ff", "presentation"] {
            assert_eq!(ask(right, true, Method::POST, query).await, 400, "{query}");
        }
        assert_eq!(ask(None, true, Method::POST, "all").await, 401);
        assert_eq!(ask(Some("Bearer what admins bring"), true, Method::POST, "all").await, 401);
        assert_eq!(ask(right, false, Method::POST, "all").await, 403);
        assert_eq!(ask(right, true, Method::GET, "all").await, 405);
        for (query, status) in [
            ("channel=tv&presentation=a/b&from=1&to=2026-11-25T22:29:07Z", 404),
            ("channel=tv", 400),
            ("channel=tv&presentation=a&from=x", 400),
            ("channel=tv&presentation=a&from=2&to=1", 400),
            ("channel=tv&presentation=a&until=1", 400),
            ("channel=tv&presentation", 400),
        ] {
            assert_eq!(ask(right, true, Method::POST, query).await, status, "{query}");
        }
        assert_eq!(ask(None, true, Method::POST, "channel=tv&presentation=a").await, 401);
    }

    #[test]
    fn the_page_asks_no_outside_host() {
        for text in [PAGE, STYLE, SCRIPT, ICON] {
            let outside = text.match_indices("://").find(|(at, _)| {
                !text[..*at].ends_with("http") || {
                    let rest = &text[at + 3..];
                    !rest.starts_with("www.w3.org/")
                }
            });
            assert_eq!(outside, None);
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_where_the_reader_found_us() {
        let any: SocketAddr = "0.0.0.0:8080".parse().unwrap();
        let at = |address| MediaBase { address, is_tls: false };
        let url = |host: &'static str| at(any).url(Some(&HeaderValue::from_static(host)));
        assert_eq!(url("media.example:8081"), "http://media.example:8080");
        assert_eq!(url("[::1]:8081"), "http://[::1]:8080");
        assert_eq!(url("a;script-src *"), "http://localhost:8080");
        assert_eq!(url("user@host"), "http://host:8080");
        assert_eq!(at(any).url(None), "http://localhost:8080");
        assert_eq!(MediaBase { address: any, is_tls: true }.url(None), "https://localhost:8080");
        let one: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(at(one).url(Some(&HeaderValue::from_static("evil"))), "http://[::1]:80");
    }
}
