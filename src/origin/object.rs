//! What is served: a head made ready, a body of shared slices, and how the two answer a request.

use std::borrow::Cow;
use std::io::Write;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_ENCODING,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED, RANGE, RETRY_AFTER, SERVER, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};

use crate::cache::{Lease, Weigh};
use crate::origin::conditional::{self, Coding, Verdict};
use crate::origin::range::{self, Asked};
use crate::rope::{Rope, RopeBuf, SLICES_MAX};
use crate::time::Utc;

/// What scripts of other origins may read.
pub(crate) const EXPOSED: HeaderValue =
    HeaderValue::from_static("Content-Length, Content-Range, Date, ETag, Retry-After");
/// Anybody may play what we serve.
pub(crate) const ANYBODY: HeaderValue = HeaderValue::from_static("*");

/// RFC 9211.
pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// What it says of an object that was in the cache: part of the head that is kept ready, so that a hit has nothing to do for it.
pub(crate) const HIT: HeaderValue = HeaderValue::from_static("headwater; hit");
/// Of what was made and kept.
pub(crate) const STORED: HeaderValue = HeaderValue::from_static("headwater; fwd=uri-miss; stored");
/// Of what was made once for several who asked.
pub(crate) const COLLAPSED: HeaderValue = HeaderValue::from_static("headwater; fwd=uri-miss; collapsed");
/// Of what nobody keeps.
pub(crate) const PASSED: HeaderValue = HeaderValue::from_static("headwater; fwd=uri-miss");
/// Seconds since media last came, in answers that are manifests of a channel: so that whoever is in front sees it falter before it is silent.
pub(crate) const MEDIA_AGE: HeaderName = HeaderName::from_static("headwater-media-age");
/// What it says to who waited for what came: part of the head, as above.
const NO_AGE: HeaderValue = HeaderValue::from_static("0.000");
/// CTA-5006.
const CMSD_STATIC: HeaderName = HeaderName::from_static("cmsd-static");
/// Likewise, where there is CMSD.
const EXPOSED_WITH_CMSD: HeaderValue =
    HeaderValue::from_static("Content-Length, Content-Range, Date, ETag, Retry-After, CMSD-Static");

/// Who answers.
pub(crate) const SERVED_BY: HeaderValue = HeaderValue::from_static("headwater");
/// Where the date of an answer goes: a head that has a place for it already is copied without growing. Who sends it fills it
/// in.
const NO_DATE: HeaderValue = HeaderValue::from_static("");
/// What the two heads of a representation take at most: up to 14 entries, each a name, a value and links of the map.
const HEADS_BYTES: u64 = 2 * 14 * 104;

/// A response body: one rope, sent as one frame; or what comes of a segment that grows.
#[derive(Debug, Default)]
pub struct Body {
    rope: Option<Rope>,
    growth: Option<Growth>,
    /// How long its reader may be behind; `None`: as long as he goes on.
    sent_within: Option<Duration>,
}

/// What is still to come of a body, piece by piece; `None` is the end. Without that the body is aborted.
pub type Growth = tokio::sync::mpsc::Receiver<Option<Rope>>;

/// What grew will not be whole: the connection is reset, so that nobody takes a part for the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the segment will never be whole")]
pub struct Aborted;

impl Body {
    /// A body of all of `rope`.
    pub fn new(rope: Rope) -> Body {
        Body { rope: (!rope.is_empty()).then_some(rope), growth: None, sent_within: None }
    }

    /// A body of what `growth` brings.
    pub fn growing(growth: Growth) -> Body {
        Body { rope: None, growth: Some(growth), sent_within: None }
    }

    /// No body.
    pub fn empty() -> Body {
        Body::default()
    }

    /// Ends who is behind with it for as long as `limit`: what is whole has to be taken within that.
    pub fn limit(&mut self, limit: Option<Duration>) {
        self.sent_within = limit;
    }

    /// How long its reader may be behind; `None`: as long as he goes on.
    pub fn sent_within(&self) -> Option<Duration> {
        self.sent_within
    }

    /// Bytes not yet taken, as far as they are there.
    pub fn len(&self) -> u64 {
        self.rope.as_ref().map_or(0, Rope::len)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rope.is_none() && self.growth.is_none()
    }
}

impl http_body::Body for Body {
    type Data = RopeBuf;
    type Error = Aborted;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<RopeBuf>, Aborted>>> {
        let Some(growth) = &mut self.growth else {
            return Poll::Ready(self.rope.take().map(|rope| Ok(Frame::data(rope.into_buf()))));
        };
        growth.poll_recv(cx).map(|piece| match piece {
            Some(Some(rope)) => Some(Ok(Frame::data(rope.into_buf()))),
            Some(None) => {
                self.growth = None;
                None
            }
            None => Some(Err(Aborted)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.growth.is_some() { SizeHint::default() } else { SizeHint::with_exact(self.len()) }
    }
}

/// What an object is made of, before its heads are.
#[derive(Debug)]
pub struct Recipe {
    /// Media type.
    pub content_type: &'static str,
    /// Entity tag without quotes; each content-coding gets one of its own from it.
    pub etag: String,
    /// Seconds since 1970 of the source's last modification; `None` of what may change without it, such as manifests, which
    /// also options and the absence of files shape.
    pub modified_s: Option<u64>,
    /// Cache-Control.
    pub cache_control: Cow<'static, str>,
    /// Bytes of the identity body.
    pub len: u64,
    /// The identity body; `None` if only its head is wanted.
    pub body: Option<Rope>,
    /// Whether it is offered in other codings, too.
    pub is_coded: bool,
    /// What it is, as CMSD-Static says it; `None` to say nothing.
    pub cmsd: Option<String>,
    /// Whether it says how old the media is.
    pub has_age: bool,
    /// Ends when the source changes.
    pub lease: Arc<Lease>,
    /// How long it may be served after that.
    pub grace: Duration,
    /// How long sending it may take, if nothing else counts what its readers keep alive.
    pub sent_within: Option<Duration>,
}

/// Something that can be served: its representations, each with a head ready.
#[derive(Debug)]
pub struct Object {
    identity: Representation,
    coded: Option<Coded>,
    modified_s: Option<u64>,
    lease: Arc<Lease>,
    grace: Duration,
    sent_within: Option<Duration>,
}

/// The other codings of a representation, each made for the first who asks for it: what somebody waits for is not to wait for one that nobody
/// takes.
#[derive(Debug, Default)]
struct Coded {
    gzip: OnceLock<Representation>,
    brotli: OnceLock<Representation>,
}

#[derive(Debug)]
struct Representation {
    /// The head of a 200.
    head: HeaderMap,
    /// The head of a 304, made for the first who has it already: most segments leave the cache before anybody says so.
    not_modified: OnceLock<HeaderMap>,
    /// The entity tag, with its quotes.
    etag: String,
    len: u64,
    body: Rope,
}

impl Object {
    /// Makes the heads.
    pub fn new(recipe: Recipe) -> Object {
        let Recipe { content_type, etag, modified_s, cache_control, len, body, is_coded, cmsd, .. } = recipe;
        let Recipe { has_age, lease, grace, sent_within, .. } = recipe;
        let etag = format!("\"{etag}\"");
        let mut head = HeaderMap::with_capacity(if has_age { 14 } else { 12 });
        head.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        head.insert(CONTENT_LENGTH, HeaderValue::from(len));
        head.insert(ETAG, HeaderValue::from_str(&etag).expect("entity tags are ours, and ASCII"));
        if let Some(seconds) = modified_s {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            head.insert(LAST_MODIFIED, HeaderValue::from_str(&date).expect("a date is ASCII"));
        }
        let cache_control = match cache_control {
            Cow::Borrowed(text) => HeaderValue::from_static(text),
            Cow::Owned(text) => HeaderValue::try_from(text).expect("Cache-Control is ours, and ASCII"),
        };
        head.insert(CACHE_CONTROL, cache_control);
        head.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
        let exposed = if cmsd.is_some() { EXPOSED_WITH_CMSD } else { EXPOSED };
        head.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        if let Some(cmsd) = cmsd {
            head.insert(CMSD_STATIC, HeaderValue::from_str(&cmsd).expect("CMSD is ours, and ASCII"));
        }
        head.insert(CACHE_STATUS, HIT);
        if has_age {
            head.insert(MEDIA_AGE, NO_AGE);
        }
        if is_coded {
            head.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        head.insert(DATE, NO_DATE);
        head.insert(SERVER, SERVED_BY);
        let identity = Representation::new(head, etag, len, body.unwrap_or_default());
        let coded = is_coded.then(Coded::default);
        Object { identity, coded, modified_s, lease, grace, sent_within }
    }

    /// The same, with every coding made: for what is weighed, and for who has time.
    pub fn coded(self) -> Object {
        if let Some(coded) = &self.coded {
            coded.get(Coding::Gzip, &self.identity);
            coded.get(Coding::Brotli, &self.identity);
        }
        self
    }

    /// Whether it may be served, as of `now`: its source is what it was, or changed no longer ago than its grace. What has none tells
    /// of the source as it is now, so somebody has looked lately.
    pub fn is_servable(&self, now: Utc) -> bool {
        match self.lease.ended() {
            None => !self.grace.is_zero() || self.lease.is_fresh(now),
            Some(ended) => now < ended.after(self.grace),
        }
    }

    /// The identity body.
    pub fn body(&self) -> &Rope {
        &self.identity.body
    }

    /// Answers a GET or HEAD: whole, in part, or not at all, as its headers ask.
    pub fn answer(&self, method: &Method, headers: &HeaderMap) -> Response<Body> {
        let mut response = self.unlimited(method, headers);
        response.body_mut().limit(self.sent_within);
        response
    }

    fn unlimited(&self, method: &Method, headers: &HeaderMap) -> Response<Body> {
        let chosen = self.choose(headers);
        let etag = chosen.etag.as_str();
        match conditional::judge(headers, etag, self.modified_s) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                return respond(StatusCode::NOT_MODIFIED, chosen.not_modified().clone(), Body::empty());
            }
            Verdict::PreconditionFailed => return Problem::precondition_failed().response(method),
        }
        if method == Method::HEAD {
            // Range has a meaning for GET alone (RFC 9110 §14.2).
            return respond(StatusCode::OK, chosen.head.clone(), Body::empty());
        }
        let Some(value) = headers.get(RANGE) else {
            return respond(StatusCode::OK, chosen.head.clone(), Body::new(chosen.body.clone()));
        };
        let value = value.to_str().ok().filter(|_| conditional::range_holds(headers, etag, self.modified_s));
        match range::parse(value, chosen.len) {
            Asked::Whole => respond(StatusCode::OK, chosen.head.clone(), Body::new(chosen.body.clone())),
            Asked::One(range) => chosen.part(range),
            Asked::Several(ranges) => chosen.parts(&ranges),
            Asked::Unsatisfiable => chosen.unsatisfiable(),
        }
    }

    fn choose(&self, headers: &HeaderMap) -> &Representation {
        match &self.coded {
            Some(coded) => coded.get(conditional::coding(headers), &self.identity),
            None => &self.identity,
        }
    }
}

impl Weigh for Object {
    fn weight(&self) -> u64 {
        let coded = self.coded.iter().flat_map(|coded| [coded.gzip.get(), coded.brotli.get()]).flatten();
        let heads = HEADS_BYTES * (1 + coded.clone().count() as u64);
        // Bodies are made whole, each of allocations of its own: what a rope shows is what it keeps alive. Those of live segments keep at most
        // a block at either end besides, which the window mostly keeps as well (`content::live::room`).
        coded.chain([&self.identity]).map(|r| r.body.len()).sum::<u64>() + heads + size_of::<Object>() as u64
    }
}

impl Coded {
    /// `identity` in this coding.
    fn get<'a>(&'a self, coding: Coding, identity: &'a Representation) -> &'a Representation {
        let text = || identity.body.to_vec();
        match coding {
            Coding::Identity => identity,
            Coding::Gzip => self.gzip.get_or_init(|| identity.coded("gzip", "-gz", gzip(&text()))),
            Coding::Brotli => self.brotli.get_or_init(|| identity.coded("br", "-br", brotli(&text()))),
        }
    }
}

fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(text.len() / 4), flate2::Compression::default());
    encoder.write_all(text).expect("a Vec takes all");
    Bytes::from(encoder.finish().expect("a Vec takes all"))
}

fn brotli(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len() / 4);
    let params = brotli::enc::BrotliEncoderParams { quality: 5, size_hint: text.len(), ..Default::default() };
    brotli::BrotliCompress(&mut &text[..], &mut out, &params).expect("a Vec takes all");
    Bytes::from(out)
}

impl Representation {
    fn new(head: HeaderMap, etag: String, len: u64, body: Rope) -> Representation {
        Representation { head, not_modified: OnceLock::new(), etag, len, body }
    }

    /// RFC 9110 §15.4.5: what a 200 would say of caching, and nothing of content.
    fn not_modified(&self) -> &HeaderMap {
        self.not_modified.get_or_init(|| {
            let mut head = self.head.clone();
            for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, LAST_MODIFIED, ACCEPT_RANGES] {
                head.remove(name);
            }
            head
        })
    }

    /// The same in the coding called `name`, in which it is `bytes`; `suffix` is what its entity tag has more.
    fn coded(&self, name: &'static str, suffix: &str, bytes: Bytes) -> Representation {
        let etag = format!("\"{}{suffix}\"", self.etag.trim_matches('"'));
        let mut head = self.head.clone();
        head.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        head.insert(ETAG, HeaderValue::from_str(&etag).expect("entity tags are ours, and ASCII"));
        head.insert(CONTENT_ENCODING, HeaderValue::from_static(name));
        Representation::new(head, etag, bytes.len() as u64, Rope::from(bytes))
    }

    fn part(&self, range: std::ops::Range<u64>) -> Response<Body> {
        let mut head = self.head.clone();
        let (first, last, len) = (range.start, range.end - 1, self.len);
        head.insert(CONTENT_LENGTH, of_numbers(format_args!("{}", range.end - range.start)));
        head.insert(CONTENT_RANGE, of_numbers(format_args!("bytes {first}-{last}/{len}")));
        respond(StatusCode::PARTIAL_CONTENT, head, Body::new(self.body.slice(range)))
    }

    /// RFC 9110 §14.6.
    fn parts(&self, ranges: &[std::ops::Range<u64>]) -> Response<Body> {
        // Any boundary will do that no part is likely to hold; the entity tag makes it the same on every node.
        let boundary = format!("headwater-{}", self.etag.trim_matches('"'));
        let content_type = self.head.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut slices = Vec::new();
        for (index, range) in ranges.iter().enumerate() {
            let before = if index == 0 { "" } else { "\r\n" };
            let (first, last, len) = (range.start, range.end - 1, self.len);
            let head = format!(
                "{before}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {first}-{last}/{len}\r\n\r\n"
            );
            slices.push(Bytes::from(head));
            slices.extend(self.body.slice(range.clone()).slices().iter().cloned());
        }
        slices.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
        if slices.len() > SLICES_MAX {
            return respond(StatusCode::OK, self.head.clone(), Body::new(self.body.clone()));
        }
        let body = Rope::new(slices);
        let mut head = self.head.clone();
        let multipart = format!("multipart/byteranges; boundary={boundary}");
        head.insert(CONTENT_TYPE, HeaderValue::from_str(&multipart).expect("boundaries are ours, and ASCII"));
        head.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        respond(StatusCode::PARTIAL_CONTENT, head, Body::new(body))
    }

    fn unsatisfiable(&self) -> Response<Body> {
        let mut response =
            Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "no byte of the range exists")
                .response(&Method::GET);
        let range = format!("bytes */{}", self.len);
        response.headers_mut().insert(CONTENT_RANGE, HeaderValue::from_str(&range).expect("digits are ASCII"));
        response
    }
}

/// A header value of up to three numbers, made in one allocation.
pub(crate) fn of_numbers(text: std::fmt::Arguments<'_>) -> HeaderValue {
    let mut space = [0; 80];
    let mut rest = space.as_mut_slice();
    rest.write_fmt(text).expect("three numbers of 64 bits have at most 60 digits");
    let left = rest.len();
    HeaderValue::from_bytes(&space[..space.len() - left]).expect("digits are ASCII")
}

fn respond(status: StatusCode, head: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = head;
    response
}

/// Why there is no object: an answer for a person and a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: Arc<str>,
    /// How long the answer may be used again; `None`: not at all.
    max_age: Option<Duration>,
    retry_after: bool,
}

/// How long what does not exist is remembered.
pub const NEGATIVE_MAX_AGE: Duration = Duration::from_secs(5);
/// The longest, however seldom one looks: a presentation that is there is to be found.
const NEGATIVE_MAX_AGE_MAX: Duration = Duration::from_secs(60);

impl Problem {
    /// An answer that may not be stored.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Arc<str>>) -> Problem {
        Problem { status, code, message: message.into(), max_age: None, retry_after: false }
    }

    /// 404, for five seconds.
    pub fn not_found(code: &'static str, message: impl Into<Arc<str>>) -> Problem {
        Problem { max_age: Some(NEGATIVE_MAX_AGE), ..Problem::new(StatusCode::NOT_FOUND, code, message) }
    }

    /// 503 for a second, with Retry-After.
    pub fn unavailable(code: &'static str, message: impl Into<Arc<str>>) -> Problem {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem { max_age: Some(Duration::from_secs(1)), retry_after: true, ..Problem::new(status, code, message) }
    }

    /// 404 of what may be there soon, for a second.
    pub fn not_yet(code: &'static str, message: impl Into<Arc<str>>) -> Problem {
        let max_age = Some(Duration::from_secs(1));
        Problem { max_age, ..Problem::new(StatusCode::NOT_FOUND, code, message) }
    }

    /// 410 of what was there and will not be again, for a minute.
    pub fn gone(code: &'static str, message: impl Into<Arc<str>>) -> Problem {
        let max_age = Some(Duration::from_secs(60));
        Problem { max_age, ..Problem::new(StatusCode::GONE, code, message) }
    }

    fn precondition_failed() -> Problem {
        Problem::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition_failed",
            "the object is not the one the request names",
        )
    }

    /// The same, to be remembered for `age` at least, within reason: it cannot become wrong before.
    pub fn at_least_for(mut self, age: Duration) -> Problem {
        self.max_age = self.max_age.map(|own| own.max(age.min(NEGATIVE_MAX_AGE_MAX)));
        self
    }

    /// Its name for machines.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// How long it may be remembered.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, in a sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The response.
    pub fn response(&self, method: &Method) -> Response<Body> {
        let text = serde_json::json!({ "error": self.code, "status": self.status.as_u16(), "message": &*self.message });
        let text = Bytes::from(format!("{text}\n"));
        let mut head = HeaderMap::with_capacity(8);
        head.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
        head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
        head.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        let cache_control = match self.max_age {
            Some(age) => HeaderValue::from_str(&format!("public, max-age={}", age.as_secs())).expect("ASCII"),
            None => HeaderValue::from_static("no-store"),
        };
        head.insert(CACHE_CONTROL, cache_control);
        if self.retry_after {
            head.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        let body = if method == Method::HEAD { Body::empty() } else { Body::new(Rope::from(text)) };
        respond(self.status, head, body)
    }
}

/// A problem that is remembered for a while.
#[derive(Debug)]
pub struct Remembered {
    /// What.
    pub problem: Problem,
    /// Until when.
    pub until: Utc,
    /// Of which state of the library.
    pub generation: u64,
}

impl Weigh for Remembered {
    fn weight(&self) -> u64 {
        self.problem.message.len() as u64 + size_of::<Remembered>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ACCEPT_ENCODING;

    #[test]
    fn a_coding_is_made_by_who_asks_for_it_first() {
        let text = Bytes::from("#EXTINF:2.0,\n".repeat(100));
        let object = Object::new(Recipe {
            content_type: "text/plain",
            etag: "a".to_owned(),
            modified_s: None,
            cache_control: "no-store".into(),
            len: text.len() as u64,
            body: Some(Rope::from(text)),
            is_coded: true,
            cmsd: None,
            has_age: false,
            lease: Arc::default(),
            grace: Duration::ZERO,
            sent_within: None,
        });
        let weight = object.weight();
        let ask = |coding| {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(coding))]);
            let answer = object.answer(&Method::GET, &headers);
            let coding = answer.headers().get(CONTENT_ENCODING).cloned();
            (
                coding,
                answer.headers()[ETAG].clone(),
                answer.headers()[CONTENT_LENGTH] == *answer.body().len().to_string(),
            )
        };
        assert_eq!(ask("identity"), (None, HeaderValue::from_static("\"a\""), true));
        assert_eq!(object.weight(), weight);
        assert_eq!(ask("gzip"), (Some(HeaderValue::from_static("gzip")), HeaderValue::from_static("\"a-gz\""), true));
        let coded = object.coded.as_ref().unwrap();
        assert!(coded.brotli.get().is_none() && object.weight() > weight);
        assert_eq!(ask("br"), (Some(HeaderValue::from_static("br")), HeaderValue::from_static("\"a-br\""), true));
    }
}
