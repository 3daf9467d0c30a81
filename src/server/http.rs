//! HTTP/1.1 and HTTP/2, by prior knowledge or ALPN, on TCP or TLS: from the listener to the origin and back.
//!
//! ```text
//!   accept -> (TLS) -> Conn -> sniff -> hyper http1 | http2 -> answer -> origin.serve -> hyper -> writev
//! ```

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use tracing::Instrument;

use crate::origin::object::{ANYBODY, Body, EXPOSED, SERVED_BY};
use crate::rope::Rope;
use crate::server::Options;
use crate::server::access;
use crate::server::bodies::Watched;
use crate::server::conn::{Conn, Deadlines, Protocol, Stream};
use crate::server::drain::{Drain, Pause, Peer, until_over};
use crate::server::http2;
use crate::server::observe;
use crate::server::peers::Peers;
use crate::server::proxied::introduction;
use crate::server::state::{Current, State};
use crate::server::tls::Tls;
use crate::server::tls::secured::Secured;
use crate::telemetry::Telemetry;
use crate::time::Utc;

/// Connections the kernel may complete before we accept them: a CDN's burst after a restart.
const BACKLOG: i32 = 4096;
/// Bytes of a request body that are read to keep the connection. No request we answer needs one.
const BODY_BYTES_MAX: u64 = 16 * 1024;
/// Frames that such a body may come in: empty ones would be bytes that never count.
const BODY_FRAMES_MAX: usize = 256;
/// A pause after accept fails, as it does while descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// What is said to a connection too many, before it has asked anything.
const TOO_MANY_CONNECTIONS: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nServer: headwater\r\nContent-Type: application/json\r\n\
    Cache-Control: public, max-age=1\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 83\r\n\r\n\
    {\"error\":\"too_many_connections\",\"status\":503,\"message\":\"too many open connections\"}";

/// A listener and what bounds it.
#[derive(Debug)]
pub struct Door {
    /// Where connections come in.
    pub listener: TcpListener,
    /// How TLS is spoken to them; `None`: not at all.
    pub tls: Option<Arc<Tls>>,
    /// As many connections may be open as it has permits.
    pub slots: Arc<Semaphore>,
    /// Bounds those of one client, if they are bounded.
    pub peers: Option<Arc<Peers>>,
    /// Where its connections are counted.
    pub telemetry: Arc<Telemetry>,
    /// Ends accepting, and each connection once it has nothing under way.
    pub drain: Arc<Drain>,
}

/// Listens at `address`, together with other processes if `reuses_port`; to be called inside a runtime.
pub fn listen(address: SocketAddr, reuses_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuses_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections at `door` until it drains, and serves each in its own task.
pub async fn accept<A: Answer>(door: Door, current: Arc<Current>, serve: A) {
    let Door { listener, tls, slots, peers, telemetry, drain } = door;
    loop {
        let accepted = tokio::select! {
            biased;
            () = drain.begun() => return,
            accepted = listener.accept() => accepted,
        };
        let (mut stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "accept_failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            telemetry.connections_refused.inc();
            refuse(stream, tls.is_some());
            continue;
        };
        prepare(&stream);
        let state = current.get();
        let deadlines = Deadlines { takes_bodies: serve.takes_bodies(), ..deadlines(&state.options) };
        let (tls, telemetry, drain) = (tls.clone(), telemetry.clone(), drain.clone());
        let (peers, current) = (peers.clone(), current.clone());
        tokio::spawn(async move {
            let peer = match A::IS_BEHIND_PROXIES && state.options.access.proxy_protocol {
                false => peer,
                true => match Box::pin(introduced(&mut stream, peer, &state.options, &drain)).await {
                    Some(peer) => peer,
                    None => return telemetry.proxy_introductions_refused.inc(),
                },
            };
            let is_trusted = || state.options.access.trusted.iter().any(|network| network.contains(peer.ip()));
            let guest = match peers.filter(|_| !is_trusted()).map(|peers| peers.enter(peer.ip())) {
                Some(None) => {
                    telemetry.connections_refused.inc();
                    return refuse(stream, tls.is_some());
                }
                guest => guest.flatten(),
            };
            let service = service_fn(|request| {
                // Not in an async block, which would keep room for the answer's future twice: hyper moves it about. By the options of
                // now: a CDN keeps its connections for days, and a key that was withdrawn opens nothing on them either.
                serve.answer(current.get(), peer, request).map(Ok)
            });
            let head_bytes_max = state.options.head_bytes_max;
            let served = match tls {
                None => {
                    let conn = Conn::new(stream, deadlines, telemetry, drain.clone());
                    converse(conn, &drain, head_bytes_max, service).await
                }
                // In a box: without TLS nobody is to keep room for it.
                Some(tls) => {
                    Box::pin(async {
                        let Some(secured) = shake(&tls, stream, &telemetry, &drain).await else { return Ok(()) };
                        let conn = Conn::new(secured, deadlines, telemetry.clone(), drain.clone());
                        converse(conn, &drain, head_bytes_max, service).await
                    })
                    .await
                }
            };
            if let Err(error) = served {
                tracing::debug!(%peer, error, "connection_failed");
            }
            drop((slot, guest));
        });
    }
}

/// Who a connection is from that begins with the PROXY protocol; `None` if it does not, or is not from who may say so.
async fn introduced(stream: &mut TcpStream, peer: SocketAddr, options: &Options, drain: &Drain) -> Option<SocketAddr> {
    if !options.access.trusted.iter().any(|network| network.contains(peer.ip())) {
        return None;
    }
    tokio::select! {
        biased;
        () = drain.begun() => None,
        said = tokio::time::timeout(options.head_timeout, introduction(stream)) => match said {
            Ok(Ok(client)) => Some(client.unwrap_or(peer)),
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "introduction_refused");
                None
            }
            Err(_) => None,
        },
    }
}

/// A drain gives a handshake up: nothing was asked yet.
async fn shake(tls: &Tls, stream: TcpStream, telemetry: &Telemetry, drain: &Drain) -> Option<Secured<TcpStream>> {
    tokio::select! {
        biased;
        () = drain.begun() => None,
        secured = tls.handshake(stream, telemetry) => secured,
    }
}

/// What answers the requests of one listener.
pub trait Answer: Copy + Send + Sync + 'static {
    /// Whether its connections begin with the PROXY protocol where that is spoken.
    const IS_BEHIND_PROXIES: bool;

    /// Answers `request`, which `peer` sent.
    fn answer(
        self,
        state: Arc<State>,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static;

    /// Whether requests have bodies that last.
    fn takes_bodies(self) -> bool {
        false
    }
}

fn deadlines(options: &Options) -> Deadlines {
    Deadlines {
        head: options.head_timeout,
        idle: options.idle_timeout,
        write: options.write_timeout,
        takes_bodies: false,
    }
}

/// Whether accept failed because of the connection it was about, not because of us (accept(2), "Error handling").
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn prepare(stream: &TcpStream) {
    // Not needed for right answers, so a socket that refuses it is served all the same.
    let _ = stream.set_nodelay(true);
}

/// Says why, as far as that is possible without waiting, and closes.
fn refuse(stream: TcpStream, speaks_tls: bool) {
    if !speaks_tls {
        let _ = stream.try_write(TOO_MANY_CONNECTIONS);
    }
    let _ = SockRef::from(&stream).shutdown(std::net::Shutdown::Write);
}

/// Serves one connection to its end; when `drain` begins it finishes what is under way and closes.
pub async fn converse<I, S>(mut conn: Conn<I>, drain: &Drain, head_bytes_max: usize, service: S) -> Result<(), String>
where
    I: Stream + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let protocol = tokio::select! {
        biased;
        protocol = conn.sniff() => protocol.map_err(|error| error.to_string())?,
        () = drain.begun() => return Ok(()),
    };
    match protocol {
        Protocol::Http1 => http1(conn, drain, head_bytes_max, service).await,
        Protocol::Http2 => Box::pin(http2::serve(conn, drain, head_bytes_max, service)).await,
    }
}

/// RFC 9112. Nothing here may make hyper copy bodies: no `pipeline_flush`, and an I/O type that is write-vectored.
async fn http1<I, S>(mut conn: Conn<I>, drain: &Drain, head_bytes_max: usize, service: S) -> Result<(), String>
where
    I: Stream,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
{
    let (bodies, write) = (conn.bodies(), conn.write_deadline());
    let service = service_fn(|request| {
        let share = bodies.begin();
        // What is answered is at hand, and written at once: from here on the connection sees by itself that it is busy.
        service
            .call(request)
            .map(move |answer| answer.map(|answer| answer.map(|body| share.watch_limited(body, write))))
    });
    loop {
        // What a busy connection needs (some 30 KiB) goes when it rests: who asks nothing for seconds asks nothing for minutes.
        let Some(rested) = Box::pin(http1_until_rest(conn, drain, head_bytes_max, &service)).await? else {
            return Ok(());
        };
        conn = rested;
        let resumed = tokio::select! {
            biased;
            resumed = conn.resume() => resumed.map_err(|error| error.to_string())?,
            () = drain.begun() => false,
        };
        if !resumed {
            return conn.shutdown().await.map_err(|error| error.to_string());
        }
    }
}

/// Serves requests until the connection is over or rests; then it is given back.
async fn http1_until_rest<I, S>(
    conn: Conn<I>,
    drain: &Drain,
    head_bytes_max: usize,
    service: &S,
) -> Result<Option<Conn<I>>, String>
where
    I: Stream,
    S: Service<Request<Incoming>, Response = Response<Watched>, Error = Infallible>,
{
    let rests = conn.rests();
    let mut builder = hyper::server::conn::http1::Builder::new();
    // At most 100 header lines, which is hyper's own limit: saying so would make it clear room for as many a request.
    builder.auto_date_header(false).half_close(true).max_buf_size(head_bytes_max);
    let mut serving = builder.serve_connection(TokioIo::new(conn), service);
    let welcome = || Peer::Welcome;
    if let Pause::Over =
        until_over(Pin::new(&mut serving), drain, |conn| conn.graceful_shutdown(), &rests, welcome).await?
    {
        return Ok(None);
    }
    let parts = serving.into_parts();
    let mut conn = parts.io.into_inner();
    conn.give_back(&parts.read_buf);
    Ok(Some(conn))
}

/// Answers on the media listener.
#[derive(Clone, Copy, Debug)]
pub struct Media;

impl Answer for Media {
    const IS_BEHIND_PROXIES: bool = true;

    async fn answer(self, state: Arc<State>, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        // Read once a request.
        let now = state.clock.now();
        let began = observe::begin(&state);
        let (mut request, body) = without_body(request).await;
        let access = &state.options.access;
        let peer = access.client(peer, &request);
        let admitted = access.admit(&mut request, peer.ip(), now.wall);
        let mut response = match (body, admitted) {
            (Ok(()), Ok(())) => {
                let span = observe::span(&request);
                if span.is_disabled() {
                    respond(&state, &request, now.live).await
                } else {
                    let response = Box::pin(respond(&state, &request, now.live)).instrument(span.clone()).await;
                    observe::end_span(&span, &response);
                    response
                }
            }
            (Ok(()), Err(denial)) => {
                state.telemetry.requests_denied.at(denial).inc();
                access::denied(denial, request.method())
            }
            (Err(refusal), _) => refusal,
        };
        if !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            // A player in a page can only tell its user about an error that it may read.
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
            response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        access.share(&request, &mut response);
        finish(&request, &mut response, now.wall);
        observe::end(&state, peer, &request, &mut response, now.wall, began);
        response
    }
}

async fn respond(state: &State, request: &Request<()>, now: Utc) -> Response<Body> {
    let options = &state.options;
    if request.uri().path_and_query().is_some_and(|url| url.as_str().len() > options.url_bytes_max) {
        return error(StatusCode::URI_TOO_LONG, "url_too_long", "the URL is too long", "public, max-age=60");
    }
    if let Some(response) = common(state, request) {
        return response;
    }
    state.origin.serve(request, now).await
}

/// What both listeners answer alike.
pub fn common(state: &State, request: &Request<()>) -> Option<Response<Body>> {
    if request.version() == Version::HTTP_11 && !has_one_host(request.headers()) {
        return Some(error(StatusCode::BAD_REQUEST, "bad_host", "an HTTP/1.1 request has one valid Host", "no-store"));
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/healthz" if is_read => Some(json(StatusCode::OK, NO_STORE, "{\"status\":\"ok\"}".into())),
        "/readyz" if is_read && state.drain.has_begun() => {
            Some(error(StatusCode::SERVICE_UNAVAILABLE, "draining", "the server is ending", "no-store"))
        }
        "/readyz" if is_read => Some(json(StatusCode::OK, NO_STORE, "{\"status\":\"ready\"}".into())),
        // RFC 9110 §9.3.7.
        "*" if request.method() == Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
            Some(response)
        }
        "*" => Some(error(StatusCode::BAD_REQUEST, "bad_target", "`*` is a target of OPTIONS alone", "no-store")),
        _ if request.method() == Method::CONNECT => {
            let message = "this is no proxy";
            let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, "no-store");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            Some(response)
        }
        _ => None,
    }
}

/// RFC 9112 §3.2: one Host, of a host and perhaps a port, or empty.
fn has_one_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    // What nearly all ask with needs no parser; the rest is for it.
    host.as_bytes().iter().all(is_plain)
        || Authority::try_from(host.as_bytes()).is_ok_and(|host| !host.as_str().contains('@'))
}

/// Reads and forgets a small request body; the error is the answer to a large or malformed one.
pub async fn without_body<B>(request: Request<B>) -> (Request<()>, Result<(), Response<Body>>)
where
    B: http_body::Body,
{
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    if body.is_end_stream() {
        return (request, Ok(()));
    }
    // The head deadline of the connection has ended with a `100 Continue`, and HTTP/2 has none.
    let forgotten = Box::pin(tokio::time::timeout(Duration::from_secs(10), forget(body)));
    let forgotten = forgotten.await.unwrap_or(Forgotten::TooMuch);
    let mut response = match forgotten {
        Forgotten::All => return (request, Ok(())),
        Forgotten::Malformed => error(StatusCode::BAD_REQUEST, "bad_body", "the request body is malformed", "no-store"),
        Forgotten::TooMuch => {
            error(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "requests have no body here", "no-store")
        }
    };
    if request.version() < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    (request, Err(response))
}

/// How far reading a body came.
enum Forgotten {
    All,
    TooMuch,
    Malformed,
}

async fn forget(body: impl http_body::Body) -> Forgotten {
    let (mut body, mut left) = (pin!(body), BODY_BYTES_MAX);
    if body.size_hint().lower() > left {
        return Forgotten::TooMuch;
    }
    let mut frames = 0;
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else { return Forgotten::Malformed };
        frames += 1;
        if frames > BODY_FRAMES_MAX {
            return Forgotten::TooMuch;
        }
        let bytes = frame.data_ref().map_or(0, |data| bytes::Buf::remaining(data) as u64);
        let Some(rest) = left.checked_sub(bytes) else { return Forgotten::TooMuch };
        left = rest;
    }
    Forgotten::All
}

/// Adds what every response has, and takes the body off an answer to HEAD (RFC 9110 §9.3.2).
pub fn finish(request: &Request<()>, response: &mut Response<Body>, now: Utc) {
    if request.method() == Method::HEAD && !response.body().is_empty() {
        let length = response.body().len();
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    // An insertion would make the copy of a head that was kept ready grow, so that has a place for the date.
    match headers.get_mut(header::DATE) {
        Some(place) => *place = date(now),
        None => {
            headers.insert(header::DATE, date(now));
            headers.insert(header::SERVER, SERVED_BY);
        }
    }
}

/// `now` as an IMF-fixdate (RFC 9110 §5.6.7), formatted once a second and thread.
fn date(now: Utc) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
    }
    let second = now.0 / 1000;
    LAST.with_borrow_mut(|(last, value)| {
        if *last != second {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *value = HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is ASCII");
            *last = second;
        }
        value.clone()
    })
}

/// Why something that was asked for is not done, as it is answered.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Of the answer.
    pub(crate) status: StatusCode,
    /// For programs.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refused {
        Refused { status, code, message: message.into() }
    }

    /// As an answer, which nobody keeps.
    pub(crate) fn response(&self) -> Response<Body> {
        error(self.status, self.code, &self.message, "no-store")
    }
}

/// An error as the origin says it too: `{"error":"no_such_page","status":404,"message":"no such page"}`.
pub fn error(status: StatusCode, code: &str, message: &str, cache_control: &'static str) -> Response<Body> {
    let body = serde_json::json!({ "error": code, "status": status.as_u16(), "message": message });
    json(status, HeaderValue::from_static(cache_control), format!("{body}\n"))
}

/// A JSON response.
pub fn json(status: StatusCode, cache_control: HeaderValue, text: String) -> Response<Body> {
    whole(status, JSON, cache_control, Bytes::from(text))
}

/// A response with a body that is at hand.
pub fn whole(status: StatusCode, content_type: HeaderValue, cache_control: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Rope::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, cache_control);
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Ending;
    use http_body_util::BodyExt;
    use std::io::IoSlice;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll};
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
    use tokio::task::JoinHandle;

    const DEADLINES: Deadlines = Deadlines {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(600),
        write: Duration::from_secs(30),
        takes_bodies: false,
    };

    fn conn<I: Stream>(io: I) -> Conn<I> {
        Conn::new(io, DEADLINES, Arc::default(), Arc::default())
    }

    /// Address and length of each slice of a write.
    type Places = Vec<(usize, usize)>;

    /// Gives one request and records where the bytes of each write lie.
    struct Recorder {
        request: &'static [u8],
        writes: Arc<Mutex<Vec<Places>>>,
        write_bytes_max: usize,
    }

    impl AsyncRead for Recorder {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let (now, rest) = self.request.split_at(self.request.len().min(buf.remaining()));
            buf.put_slice(now);
            self.request = rest;
            Poll::Ready(Ok(()))
        }
    }

    impl Stream for Recorder {}

    impl AsyncWrite for Recorder {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let mut left = self.write_bytes_max;
            let mut places = Vec::new();
            for slice in slices.iter().filter(|slice| !slice.is_empty()) {
                let len = slice.len().min(left);
                if len > 0 {
                    places.push((slice.as_ptr() as usize, len));
                }
                left -= len;
            }
            self.writes.lock().unwrap().push(places);
            Poll::Ready(Ok(self.write_bytes_max - left))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The writes that `request` leads to when each answer is a rope of `slices`.
    async fn writes(request: &'static [u8], slices: &[Bytes], write_bytes_max: usize) -> Vec<Places> {
        let writes = Arc::<Mutex<Vec<_>>>::default();
        let io = Recorder { request, writes: writes.clone(), write_bytes_max };
        let slices = slices.to_vec();
        let service = service_fn(move |_| {
            let body = Body::new(Rope::new(slices.clone()));
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        converse(conn(io), &Drain::default(), 64 * 1024, service).await.unwrap();
        let writes = writes.lock().unwrap();
        writes.clone()
    }

    fn places(slices: &[Bytes]) -> Places {
        slices.iter().map(|slice| (slice.as_ptr() as usize, slice.len())).collect()
    }

    #[tokio::test]
    async fn the_wrapper_is_write_vectored_when_the_socket_is() {
        let io = Recorder { request: b"", writes: Arc::default(), write_bytes_max: 1 };
        assert!(hyper::rt::Write::is_write_vectored(&TokioIo::new(conn(io))));
    }

    #[tokio::test]
    async fn head_and_body_leave_in_one_vectored_write_without_a_copy() {
        // Small slices too: what a buffer of hyper's could take must not be flattened into it.
        let slices = [vec![1; 24], vec![2; 500_000], vec![3; 7], vec![4; 70_000]].map(Bytes::from);
        let writes = writes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &slices, usize::MAX).await;
        assert_eq!(writes.len(), 1, "{writes:?}");
        assert_eq!(writes[0][1..], places(&slices));
    }

    #[tokio::test]
    async fn pipelined_answers_are_not_copied_either() {
        let slices = [vec![1; 24], vec![2; 3000]].map(Bytes::from);
        let request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n";
        let writes = writes(request, &slices, usize::MAX).await.concat();
        let bodies: Vec<_> = writes.into_iter().filter(|place| places(&slices).contains(place)).collect();
        assert_eq!(bodies, [places(&slices), places(&slices)].concat());
    }

    #[tokio::test]
    async fn a_socket_that_takes_a_little_at_a_time_is_given_the_same_memory() {
        let slices = [vec![1; 2400], vec![2; 30_000]].map(Bytes::from);
        let writes = writes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &slices, 1000).await;
        let inside = |(at, len): (usize, usize)| {
            places(&slices).iter().any(|&(start, size)| start <= at && at + len <= start + size)
        };
        let body_bytes: usize = writes.concat().into_iter().filter(|&place| inside(place)).map(|(_, len)| len).sum();
        assert_eq!(body_bytes, 32_400);
    }

    #[tokio::test]
    async fn a_slow_reader_is_served_though_the_kernel_buffers_megabytes() {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        prepare(&stream);
        let deadlines = Deadlines { write: Duration::from_millis(600), ..DEADLINES };
        let telemetry = Arc::<Telemetry>::default();
        let conn = Conn::new(stream, deadlines, telemetry.clone(), Arc::default());
        let body = Bytes::from(vec![7; 64 << 20]);
        let service = service_fn(move |_| {
            let body = Body::new(Rope::from(body.clone()));
            async move { Ok(Response::new(body)) }
        });
        tokio::spawn(async move { converse(conn, &Drain::default(), 64 * 1024, service).await });
        // A receive buffer that has grown is told to the sender in leaps of its own, which are not what is tried here.
        SockRef::from(&client).set_recv_buffer_size(256 << 10).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut space = vec![0; 256 << 10];
        // Fast at first, so that the kernel's buffers grow, then slowly.
        for _ in 0..64 {
            client.read_exact(&mut space).await.unwrap();
        }
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            client.read_exact(&mut space[..64 << 10]).await.unwrap();
        }
        assert_eq!(telemetry.connections_open.get(), 1, "it was cut off");
    }

    /// A connection in memory whose answers have `len` bytes, and which holds few of them.
    fn http1_client(len: usize) -> (DuplexStream, Arc<Telemetry>, JoinHandle<Result<(), String>>) {
        let (server, client) = duplex(64);
        let telemetry = Arc::<Telemetry>::default();
        let conn = Conn::new(server, DEADLINES, telemetry.clone(), Arc::default());
        let service =
            service_fn(move |_| async move { Ok(Response::new(Body::new(Rope::from(Bytes::from(vec![7; len]))))) });
        let over = tokio::spawn(async move { converse(conn, &Drain::default(), 64 * 1024, service).await });
        (client, telemetry, over)
    }

    #[tokio::test(start_paused = true)]
    async fn an_http1_reader_that_drips_was_kept_for_as_long_as_it_liked() {
        let (mut client, telemetry, over) = http1_client(100_000);
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let start = tokio::time::Instant::now();
        while client.read_exact(&mut [0; 100]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        over.await.unwrap().unwrap_err();
        assert!(start.elapsed() <= DEADLINES.write + Duration::from_secs(6), "{:?}", start.elapsed());
        assert_eq!(telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_little_because_little_is_left_is_not_cut_off() {
        let (mut client, telemetry, _over) = http1_client(1000);
        for _ in 0..20 {
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(&[7; 1000]) {
                let mut some = [0; 100];
                let count = client.read(&mut some).await.unwrap();
                assert!(count > 0, "it was cut off");
                answer.extend_from_slice(&some[..count]);
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        assert_eq!(telemetry.connections_open.get(), 1);
    }

    /// A connection whose HTTP/2 client opens each stream's window by `window` bytes; its answers have 100 000.
    async fn http2_client(window: u32) -> (h2::client::SendRequest<Bytes>, Arc<Telemetry>, JoinHandle<()>) {
        let (server, client) = duplex(1 << 20);
        let telemetry = Arc::<Telemetry>::default();
        let conn = Conn::new(server, DEADLINES, telemetry.clone(), Arc::default());
        let service = service_fn(|_| async { Ok(Response::new(Body::new(Rope::from(Bytes::from(vec![7; 100_000]))))) });
        tokio::spawn(async move { converse(conn, &Drain::default(), 64 * 1024, service).await });
        let (requests, mut connection) =
            h2::client::Builder::new().initial_window_size(window).handshake(client).await.unwrap();
        let mut pings = connection.ping_pong().unwrap();
        tokio::spawn(async move {
            // Who pings is not idle, and no reader for that.
            while pings.ping(h2::Ping::opaque()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let over = tokio::spawn(async move { drop(connection.await) });
        (requests, telemetry, over)
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_reader_that_opens_no_window_was_kept_for_the_idle_time() {
        // With a few bytes of window all of the answer lies in the queue of frames, and hyper holds no body any more.
        for window in [0, 10] {
            let (requests, telemetry, over) = http2_client(window).await;
            let mut requests = requests.ready().await.unwrap();
            let request = || Request::get("http://x/").body(()).unwrap();
            let (answer, _) = requests.send_request(request(), true).unwrap();
            let _answer = answer.await.unwrap();
            let start = tokio::time::Instant::now();
            tokio::time::sleep(Duration::from_secs(20)).await;
            let other = if window == 0 {
                // That answer is not taken either, so asking for it is no progress.
                Some(requests.send_request(request(), true).unwrap().0.await.unwrap())
            } else {
                None
            };
            over.await.unwrap();
            drop(other);
            // Until the other one is late as well.
            let limit = DEADLINES.write + Duration::from_secs(if window == 0 { 20 } else { 0 });
            let elapsed = start.elapsed();
            assert!(elapsed >= limit && elapsed <= limit + Duration::from_secs(6), "{elapsed:?}");
            assert_eq!(telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_reader_that_drips_was_kept_for_as_long_as_it_liked() {
        let (requests, telemetry, over) = http2_client(10).await;
        let mut requests = requests.ready().await.unwrap();
        let (answer, _) = requests.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let start = tokio::time::Instant::now();
        while let Some(Ok(data)) = body.data().await {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if body.flow_control().release_capacity(data.len()).is_err() {
                break;
            }
        }
        over.await.unwrap();
        assert!(start.elapsed() <= DEADLINES.write + Duration::from_secs(6), "{:?}", start.elapsed());
        assert_eq!(telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_reader_that_is_slow_is_kept_and_then_may_be_idle() {
        let (requests, telemetry, over) = http2_client(20_000).await;
        let mut requests = requests.ready().await.unwrap();
        let (answer, _) = requests.send_request(Request::get("http://x/").body(()).unwrap(), true).unwrap();
        let mut body = answer.await.unwrap().into_body();
        let (mut read, mut held) = (0, 0);
        while read < 100_000 {
            let data = body.data().await.unwrap().unwrap();
            read += data.len();
            held += data.len();
            if held >= 20_000 && read < 100_000 {
                tokio::time::sleep(Duration::from_secs(25)).await;
                body.flow_control().release_capacity(held).unwrap();
                held = 0;
            }
        }
        let start = tokio::time::Instant::now();
        over.await.unwrap();
        assert!(start.elapsed() >= DEADLINES.idle, "{:?}", start.elapsed());
        assert_eq!(telemetry.connections_ended.at(Ending::Idle).get(), 1);
    }

    /// A connection in memory with a client of HTTP/1 whose answers are what `bodies` gives.
    fn limited_client(
        bodies: impl Fn() -> Body + Send + Sync + 'static,
    ) -> (DuplexStream, JoinHandle<Result<(), String>>) {
        let (server, client) = duplex(512);
        let service = service_fn(move |_| {
            let body = bodies();
            async move { Ok(Response::new(body)) }
        });
        let over = tokio::spawn(async move { converse(conn(server), &Drain::default(), 64 * 1024, service).await });
        (client, over)
    }

    const LIMIT: Duration = Duration::from_secs(60);

    fn within_limit(len: usize) -> Body {
        let mut body = Body::new(Rope::from(Bytes::from(vec![7; len])));
        body.limit(Some(LIMIT));
        body
    }

    #[tokio::test(start_paused = true)]
    async fn an_http1_reader_of_live_was_kept_as_long_as_he_took_a_little() {
        // The second request comes with the first one, and is no excuse.
        let count = std::sync::atomic::AtomicUsize::new(0);
        let (mut client, over) = limited_client(move || match count.fetch_add(1, Ordering::Relaxed) {
            0 => within_limit(1_000_000),
            _ => Body::new(Rope::from(Bytes::from_static(b"on demand"))),
        });
        client.write_all(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2)).await.unwrap();
        let (start, mut taken) = (tokio::time::Instant::now(), 0);
        while client.read_exact(&mut [0; 1000]).await.is_ok() {
            taken += 1000;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        over.await.unwrap().unwrap_err();
        assert!(
            start.elapsed() >= LIMIT && start.elapsed() <= LIMIT + Duration::from_secs(11),
            "{:?}",
            start.elapsed()
        );
        assert!(taken > 50_000, "it was the write deadline");
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_up_with_what_grows_has_all_the_time_that_it_grows() {
        let (give, given) = tokio::sync::mpsc::channel(1);
        let given = Mutex::new(Some(given));
        let (mut client, _over) = limited_client(move || {
            let mut body = Body::growing(given.lock().unwrap().take().unwrap());
            body.limit(Some(LIMIT));
            body
        });
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        tokio::spawn(async move {
            // Its pieces come faster than they are taken, but for a while.
            for piece in 0..30 {
                give.send(Some(Rope::from(Bytes::from(vec![7; 1000])))).await.unwrap();
                tokio::time::sleep(Duration::from_secs(if piece % 10 == 0 { 30 } else { 1 })).await;
            }
            give.send(None).await.unwrap();
        });
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            let mut some = [0; 400];
            let count = client.read(&mut some).await.unwrap();
            assert!(count > 0, "it was cut off");
            answer.extend_from_slice(&some[..count]);
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(answer.iter().filter(|byte| **byte == 7).count(), 30_000);
    }

    struct Slow {
        client: DuplexStream,
        rests: Arc<AtomicBool>,
        drain: Arc<Drain>,
        served: JoinHandle<Result<(), String>>,
    }

    /// A connection in memory with a peer, whose every answer is `ok` after the seconds that the path names.
    fn slow_server() -> Slow {
        let (server, client) = duplex(4096);
        let conn = conn(server);
        let (rests, drain) = (conn.rests(), Arc::<Drain>::default());
        let ending = drain.clone();
        let service = service_fn(|request: Request<Incoming>| async move {
            let seconds = request.uri().path()[1..].parse().unwrap();
            request.into_body().collect().await.unwrap();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            Ok(Response::new(Body::new(Rope::from(Bytes::from_static(b"ok")))))
        });
        let served = tokio::spawn(async move { converse(conn, &ending, 64 * 1024, service).await });
        Slow { client, rests, drain, served }
    }

    async fn answers(client: &mut DuplexStream, count: usize) {
        let mut all = String::new();
        while all.matches("\r\n\r\nok").count() < count {
            let mut space = [0; 512];
            let read = client.read(&mut space).await.unwrap();
            assert_ne!(read, 0, "closed after {all:?}");
            all.push_str(std::str::from_utf8(&space[..read]).unwrap());
        }
        assert_eq!(all.matches("HTTP/1.1 200 OK").count(), count, "{all}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rests_goes_on_where_it_was() {
        let Slow { mut client, rests, drain, served } = slow_server();
        client.write_all(b"GET /0 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        answers(&mut client, 1).await;
        assert!(!rests.load(Ordering::Relaxed));
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert!(rests.load(Ordering::Relaxed));
            client.write_all(b"GET /0 HTTP/1.1\r\nHo").await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!rests.load(Ordering::Relaxed));
            client.write_all(b"st: x\r\n\r\n").await.unwrap();
            answers(&mut client, 1).await;
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        drain.begin();
        tokio::time::timeout(Duration::from_secs(1), served).await.expect("it ends at once").unwrap().unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rests_has_the_idle_deadline_still() {
        let Slow { mut client, served, .. } = slow_server();
        client.write_all(b"GET /0 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        answers(&mut client, 1).await;
        let began = tokio::time::Instant::now();
        served.await.unwrap().unwrap();
        let took = began.elapsed();
        assert!(took >= DEADLINES.idle && took < DEADLINES.idle + Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_does_not_rest_while_an_answer_is_being_made() {
        // The second request came with the first: no byte is read after the first answer, and none is written for a minute.
        let Slow { mut client, .. } = slow_server();
        client.write_all(b"GET /0 HTTP/1.1\r\nHost: x\r\n\r\nGET /60 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        answers(&mut client, 2).await;
        // Here `100 Continue` is written, and then a minute is waited for the body.
        let head = b"POST /0 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        client.write_all(head).await.unwrap();
        client.read_exact(&mut [0; 25]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        client.write_all(b"GET /").await.unwrap();
        answers(&mut client, 1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_began_behind_another_request_has_the_head_deadline() {
        let Slow { mut client, served, .. } = slow_server();
        client.write_all(b"GET /0 HTTP/1.1\r\nHost: x\r\n\r\nGET /0 HTTP/1.1\r\nHo").await.unwrap();
        answers(&mut client, 1).await;
        let began = tokio::time::Instant::now();
        assert!(served.await.unwrap().is_err());
        let took = began.elapsed();
        assert!(took < DEADLINES.head + Duration::from_secs(20), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_lets_an_answer_finish_and_then_closes() {
        let (server, mut client) = duplex(4096);
        let drain = Arc::<Drain>::default();
        let begin = drain.clone();
        let served = tokio::spawn(async move {
            let service = service_fn(|_| async {
                tokio::time::sleep(Duration::from_secs(20)).await;
                Ok(Response::new(Body::new(Rope::from(Bytes::from_static(b"late")))))
            });
            converse(conn(server), &drain, 64 * 1024, service).await
        });
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        begin.begin();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
        assert!(answer.ends_with("late"));
        served.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_closes_connections_that_ask_nothing() {
        for asked in [false, true] {
            let (server, mut client) = duplex(4096);
            let drain = Arc::<Drain>::default();
            let begin = drain.clone();
            let service = service_fn(|_| async { Ok(Response::new(Body::empty())) });
            let served = tokio::spawn(async move { converse(conn(server), &drain, 64 * 1024, service).await });
            if asked {
                client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            begin.begin();
            tokio::time::timeout(Duration::from_secs(1), served).await.expect("it ends at once").unwrap().unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer.matches("HTTP/1.1 200").count(), usize::from(asked));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_or_endless_request_body_is_refused_and_a_small_one_forgotten() {
        let refusal = |body: Bytes| async {
            let request = Request::new(http_body_util::Full::new(body));
            without_body(request).await.1.err().map(|response| response.status().as_u16())
        };
        assert_eq!(refusal(Bytes::new()).await, None);
        assert_eq!(refusal(Bytes::from(vec![0; BODY_BYTES_MAX as usize])).await, None);
        assert_eq!(refusal(Bytes::from(vec![0; BODY_BYTES_MAX as usize + 1])).await, Some(413));

        struct Silent;
        impl http_body::Body for Silent {
            type Data = Bytes;
            type Error = Infallible;
            fn poll_frame(
                self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
                Poll::Pending
            }
        }
        let (_, body) = without_body(Request::new(Silent)).await;
        assert_eq!(body.unwrap_err().status(), 413);
    }

    #[test]
    fn the_date_follows_the_clock() {
        assert_eq!(date(Utc(784_111_777_999)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(Utc(784_111_778_000)), "Sun, 06 Nov 1994 08:49:38 GMT");
    }

    #[test]
    fn a_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(TOO_MANY_CONNECTIONS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
