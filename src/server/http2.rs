//! HTTP/2 on one connection (RFC 9113), and what bounds a peer that means no good (§10.5).
//!
//! | what it does | what stops it |
//! |---|---|
//! | opens many streams | `STREAMS_MAX` |
//! | resets them at once | h2, after `RESETS_PENDING_MAX` that nobody has looked at |
//! | resets them while they are answered | `Resets`: such a connection is closed |
//! | sends header fields that never end | h2: the size of the list, and the CONTINUATION frames that such a list can need |
//! | sends PING or SETTINGS and reads nothing | nothing more is read from it until its answers are taken; then the write deadline |
//! | opens no window, or a tiny one | `Bodies`: each answer has the write deadline; frames refer to the body, so what waits is not copied |
//! | takes some answers, so that others may wait | likewise: no more requests (GOAWAY), and the end after the write deadline once more |
//! | sends bodies | windows of `WINDOW_BYTES`, and what is read of a body that nobody wants |

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;

use crate::origin::object::Body;
use crate::server::conn::{Conn, Stream};
use crate::server::drain::{Drain, Peer, until_over};

/// Streams open at once on a connection: what RFC 9113 §6.5.2 recommends at least.
const STREAMS_MAX: u32 = 128;
/// Streams that a peer may have reset before we have looked at them (the "rapid reset" attack).
const RESETS_PENDING_MAX: usize = 20;
/// Streams that we have to reset because of what the peer sends on them.
const ERRORS_MAX: usize = 128;
/// Bytes a stream may have queued between body and socket; frames refer to the body, they do not copy it.
const STREAM_BUFFER_BYTES: usize = 1024 * 1024;
/// Bytes of request bodies that a stream, and a connection, may have on the way: the least that every peer may assume.
const WINDOW_BYTES: u32 = 65_535;
/// Streams that a peer may reset before they are answered, at once and by the second. Players that jump and viewers that leave do so
/// now and then, a cache that stands for thousands more often; each may have begun work that nobody wants.
const RESETS_MAX: f64 = 1000.0;
const RESETS_A_SECOND: f64 = 33.0;

/// Serves `conn` to its end; when `drain` begins it finishes what is under way and closes.
pub(super) async fn serve<I, S>(conn: Conn<I>, drain: &Drain, head_bytes_max: usize, service: S) -> Result<(), String>
where
    I: Stream + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    let (bodies, rests) = (conn.bodies(), conn.rests());
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(STREAM_BUFFER_BYTES);
    let resets = Arc::new(Resets::new());
    let service = service_fn(|request| {
        let (share, answering) = (bodies.begin(), resets.answering());
        let answer = service.call(request);
        async move {
            let answer = answer.await;
            answering.finish();
            answer.map(|answer| answer.map(|body| share.watch(body)))
        }
    });
    let serving = pin!(builder.serve_connection(TokioIo::new(conn), service));
    let peer = || match (resets.are_too_many(), bodies.are_leaving()) {
        (true, _) => Peer::Unwelcome,
        (false, true) => Peer::Leaves,
        (false, false) => Peer::Welcome,
    };
    until_over(serving, drain, |conn| conn.graceful_shutdown(), &rests, peer).await.map(|_| ())
}

/// How many streams were reset before they were answered: a bucket that fills by the second and is emptied by resets.
#[derive(Debug)]
struct Resets(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

/// An answer that is being made; dropped before it is over when its stream is reset.
#[derive(Debug)]
struct Answering(Option<Arc<Resets>>);

impl Resets {
    fn new() -> Resets {
        Resets(Mutex::new(Bucket { left: RESETS_MAX, at: Instant::now() }))
    }

    fn answering(self: &Arc<Resets>) -> Answering {
        Answering(Some(Arc::clone(self)))
    }

    fn count(&self) {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since: Duration = now - bucket.at;
        bucket.left = (bucket.left + since.as_secs_f64() * RESETS_A_SECOND).min(RESETS_MAX) - 1.0;
        bucket.at = now;
    }

    fn are_too_many(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).left < 0.0
    }
}

impl Answering {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(resets) = &self.0 {
            resets.count();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rope::Rope;
    use crate::server::conn::Deadlines;
    use crate::telemetry::{Ending, Telemetry};
    use bytes::Bytes;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, WriteHalf, duplex};
    use tokio::task::JoinHandle;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    const WINDOW_UPDATE: u8 = 8;
    const CONTINUATION: u8 = 9;
    const END_STREAM: u8 = 1;
    const ACK: u8 = 1;
    const END_HEADERS: u8 = 4;
    const ENHANCE_YOUR_CALM: u32 = 11;

    /// RFC 9113 §4.1.
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// `GET /`, by the static table of HPACK (RFC 7541): :method GET, :scheme http, :path /, :authority x.
    const FIELDS: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'x'];

    fn get(stream: u32) -> Vec<u8> {
        frame(HEADERS, END_STREAM | END_HEADERS, stream, FIELDS)
    }

    fn reset(stream: u32) -> Vec<u8> {
        frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
    }

    fn opening() -> Vec<u8> {
        [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
    }

    struct Peer {
        client: DuplexStream,
        asked: Arc<AtomicUsize>,
        telemetry: Arc<Telemetry>,
        served: JoinHandle<Result<(), String>>,
    }

    /// A connection whose requests are answered with `body`, or never.
    fn peer(body: Option<&'static [u8]>) -> Peer {
        peer_within(None, body)
    }

    /// The same; the answers have to be taken within `limit`.
    fn peer_within(limit: Option<Duration>, body: Option<&'static [u8]>) -> Peer {
        let (server, client) = duplex(4096);
        let deadlines = Deadlines {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            write: Duration::from_secs(30),
            takes_bodies: false,
        };
        let telemetry = Arc::<Telemetry>::default();
        let mut conn = Conn::new(server, deadlines, telemetry.clone(), Arc::default());
        let asked = Arc::<AtomicUsize>::default();
        let counted = asked.clone();
        let served = tokio::spawn(async move {
            conn.sniff().await.map_err(|error| error.to_string())?;
            let service = service_fn(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                async move {
                    let Some(body) = body else { return std::future::pending().await };
                    let mut body = Body::new(Rope::from(Bytes::from_static(body)));
                    body.limit(limit);
                    Ok(Response::new(body))
                }
            });
            serve(conn, &Drain::default(), 64 * 1024, service).await
        });
        Peer { client, asked, telemetry, served }
    }

    /// The next frame: its kind, flags, stream and payload. `None` if the connection ends.
    async fn next_frame(client: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        client.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        client.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// Reads frames until one of `kind` comes: its stream and payload. `None` if the connection ends before.
    async fn next(client: &mut DuplexStream, kind: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            let (found, _, stream, payload) = next_frame(client).await?;
            if found == kind {
                return Some((stream, payload));
            }
        }
    }

    /// The error code of the GOAWAY that ends the connection.
    async fn goodbye(client: &mut DuplexStream) -> Option<u32> {
        let (_, payload) = next(client, GOAWAY).await?;
        Some(u32::from_be_bytes([payload[4], payload[5], payload[6], payload[7]]))
    }

    #[tokio::test]
    async fn streams_that_are_reset_at_once_end_the_connection() {
        let Peer { client, asked, served, .. } = peer(None);
        let (mut reading, mut writing) = tokio::io::split(client);
        let flood = tokio::spawn(async move {
            let mut all = opening();
            for stream in (1..2000).step_by(2) {
                all.extend([get(stream), reset(stream)].concat());
            }
            let _ = writing.write_all(&all).await;
            writing
        });
        let mut said = Vec::new();
        reading.read_to_end(&mut said).await.unwrap();
        let goodbye = frame(GOAWAY, 0, 0, &[])[3..9].to_vec();
        let at = said.windows(6).position(|six| six == goodbye).expect("a GOAWAY");
        assert_eq!(said[at + 10..at + 14], ENHANCE_YOUR_CALM.to_be_bytes());
        assert!(served.await.unwrap().is_err());
        drop(flood.await);
        assert!(asked.load(Ordering::Relaxed) < 200, "{asked:?} of 1000 were answered");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_reset_while_they_are_answered_end_the_connection_too() {
        let Peer { client, asked, served, .. } = peer(None);
        let (mut reading, mut writing) = tokio::io::split(client);
        tokio::spawn(async move { while reading.read(&mut [0; 256]).await.is_ok_and(|count| count > 0) {} });
        writing.write_all(&opening()).await.unwrap();
        let mut sent: u32 = 0;
        while sent < 2000 && writing.write_all(&get(2 * sent + 1)).await.is_ok() {
            sent += 1;
            while asked.load(Ordering::Relaxed) < sent as usize && !served.is_finished() {
                tokio::task::yield_now().await;
            }
            if writing.write_all(&reset(2 * sent - 1)).await.is_err() {
                break;
            }
        }
        assert!((1000..1100).contains(&sent), "{sent} were let through");
        assert!(served.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn header_fields_that_never_end_end_the_connection() {
        let Peer { client, asked, served, .. } = peer(Some(b"ok"));
        let (mut reading, mut writing) = tokio::io::split(client);
        let flood = tokio::spawn(async move {
            let begin = frame(HEADERS, END_STREAM, 1, FIELDS);
            let mut all = [opening(), begin].concat();
            for _ in 0..10_000 {
                all.extend(frame(CONTINUATION, 0, 1, &[]));
            }
            let _ = writing.write_all(&all).await;
            writing
        });
        let mut said = Vec::new();
        reading.read_to_end(&mut said).await.unwrap();
        assert!(served.await.unwrap().is_err());
        drop(flood.await);
        assert_eq!(asked.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_pings_and_reads_nothing_is_not_read_on_and_ends_at_the_write_deadline() {
        for flood in [frame(PING, 0, 0, b"12345678"), frame(SETTINGS, 0, 0, &[])] {
            let Peer { mut client, telemetry, served, .. } = peer(Some(b"ok"));
            client.write_all(&opening()).await.unwrap();
            let began = Instant::now();
            let mut sent = 0;
            while client.write_all(&flood).await.is_ok() {
                sent += flood.len();
                assert!(sent < 256 * 1024, "it reads on and on");
            }
            assert!(served.await.unwrap().is_err());
            assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
            assert_eq!(telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
        }
    }

    #[tokio::test]
    async fn a_window_of_one_byte_gives_the_body_byte_by_byte() {
        const BODY: &[u8] = b"all the bytes of a body, one after another";
        let Peer { mut client, .. } = peer(Some(BODY));
        // SETTINGS_INITIAL_WINDOW_SIZE = 1.
        let narrow = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
        client.write_all(&[PREFACE, &narrow, &get(1)].concat()).await.unwrap();
        let mut body = Vec::new();
        while body.len() < BODY.len() {
            let (stream, payload) = next(&mut client, DATA).await.unwrap();
            assert_eq!((stream, payload.len()), (1, 1));
            body.extend(payload);
            client.write_all(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())).await.unwrap();
        }
        assert_eq!(body, BODY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_that_stays_shut_ends_at_the_write_deadline() {
        let Peer { mut client, telemetry, served, .. } = peer(Some(b"never taken"));
        let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        client.write_all(&[PREFACE, &shut, &get(1)].concat()).await.unwrap();
        let began = Instant::now();
        assert!(served.await.unwrap().is_err());
        assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
        assert_eq!(telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
    }

    /// A client that reads everything at once, answers PINGs, and opens windows as it is told to.
    struct Taking {
        writing: Arc<tokio::sync::Mutex<WriteHalf<DuplexStream>>>,
        seen: Arc<Mutex<Seen>>,
        began: Instant,
        telemetry: Arc<Telemetry>,
        served: JoinHandle<Result<(), String>>,
    }

    #[derive(Default)]
    struct Seen {
        /// Bytes of each stream.
        taken: BTreeMap<u32, u32>,
        whole: Vec<u32>,
        /// When it was told to ask for nothing more.
        told_at: Option<Duration>,
    }

    impl Taking {
        /// Asks for `len` bytes on each of `streams`, whose windows are shut.
        async fn new(len: usize, streams: &[u32]) -> Taking {
            Taking::within(None, len, streams).await
        }

        /// The same; answers have to be taken within `limit`.
        async fn within(limit: Option<Duration>, len: usize, streams: &[u32]) -> Taking {
            let Peer { client, telemetry, served, .. } = peer_within(limit, Some(vec![7; len].leak()));
            let (mut reading, mut writing) = tokio::io::split(client);
            let shut = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
            let asked = streams.iter().flat_map(|stream| get(*stream)).collect();
            writing.write_all(&[PREFACE.to_vec(), shut, asked].concat()).await.unwrap();
            let writing = Arc::new(tokio::sync::Mutex::new(writing));
            let (seen, began) = (Arc::<Mutex<Seen>>::default(), Instant::now());
            let (noted, acknowledging) = (Arc::clone(&seen), Arc::clone(&writing));
            tokio::spawn(async move {
                while let Some((kind, flags, stream, payload)) = next_frame(&mut reading).await {
                    if kind == PING && flags & ACK == 0 {
                        let _ = acknowledging.lock().await.write_all(&frame(PING, ACK, 0, &payload)).await;
                    }
                    let mut seen = noted.lock().unwrap();
                    match kind {
                        GOAWAY => _ = seen.told_at.get_or_insert(began.elapsed()),
                        DATA => *seen.taken.entry(stream).or_default() += payload.len() as u32,
                        _ => {}
                    }
                    if kind == DATA && flags & END_STREAM != 0 {
                        seen.whole.push(stream);
                    }
                }
            });
            Taking { writing, seen, began, telemetry, served }
        }

        /// Takes `bytes` of `stream`.
        async fn take(&self, stream: u32, bytes: u32) {
            let bytes = bytes.to_be_bytes();
            let opened = [frame(WINDOW_UPDATE, 0, stream, &bytes), frame(WINDOW_UPDATE, 0, 0, &bytes)].concat();
            // It may have ended.
            let _ = self.writing.lock().await.write_all(&opened).await;
        }

        /// Takes `bytes` of `stream` every second until the connection ends, and says when it did, in seconds.
        async fn take_on(&self, stream: u32, bytes: u32) -> u64 {
            while !self.served.is_finished() {
                self.take(stream, bytes).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(self.began.elapsed() < Duration::from_secs(300), "it goes on and on");
            }
            self.began.elapsed().as_secs()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_was_taken_of_kept_the_bodies_of_all_others() {
        let taking = Taking::new(4 << 20, &[1, 3]).await;
        let over = taking.take_on(3, 8192).await;
        let seen = taking.seen.lock().unwrap();
        let told = seen.told_at.expect("a GOAWAY").as_secs();
        assert!((30..=36).contains(&told), "told after {told} s");
        assert!((60..=66).contains(&over), "closed after {over} s");
        assert_eq!(seen.taken.get(&1), None);
        assert!(seen.taken[&3] > 60 * 8192, "{:?}", seen.taken);
        assert_eq!(taking.telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_are_finished_and_then_late_ones_are_not_waited_for() {
        let taking = Taking::new(45 * 8192, &[1, 3]).await;
        let over = taking.take_on(3, 8192).await;
        let seen = taking.seen.lock().unwrap();
        let told = seen.told_at.expect("a GOAWAY").as_secs();
        assert!((30..=36).contains(&told), "told after {told} s");
        assert_eq!(seen.whole, [3]);
        assert!((44..=51).contains(&over), "closed after {over} s");
        assert_eq!(taking.telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_that_is_taken_after_all_ends_the_connection_in_peace() {
        const LEN: u32 = 1 << 20;
        let taking = Taking::new(LEN as usize, &[1, 3]).await;
        while taking.seen.lock().unwrap().told_at.is_none() {
            taking.take(3, 1024).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // A new request is not looked at any more.
        taking.writing.lock().await.write_all(&get(5)).await.unwrap();
        taking.take(1, LEN).await;
        taking.take(3, LEN).await;
        taking.served.await.unwrap().unwrap();
        let mut whole = taking.seen.lock().unwrap().whole.clone();
        whole.sort_unstable();
        assert_eq!(whole, [1, 3]);
        assert_eq!(taking.telemetry.connections_ended.at(Ending::Closed).get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_slow_and_steady_are_not_late() {
        let taking = Taking::new(10 * 16 * 1024, &[1, 3, 5]).await;
        for _ in 0..10 {
            for stream in [1, 3, 5] {
                taking.take(stream, 16 * 1024).await;
            }
            tokio::time::sleep(Duration::from_secs(25)).await;
        }
        let seen = taking.seen.lock().unwrap();
        assert_eq!(seen.told_at, None);
        assert_eq!(seen.whole.len(), 3, "{:?}", seen.taken);
        assert_eq!(taking.telemetry.connections_open.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_live_was_kept_as_long_as_he_took_a_little() {
        let taking = Taking::within(Some(Duration::from_secs(60)), 1 << 20, &[1]).await;
        let over = taking.take_on(1, 1024).await;
        assert!((60..=67).contains(&over), "closed after {over} s");
        assert!(taking.seen.lock().unwrap().taken[&1] >= 60 * 1024);
        assert_eq!(taking.telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
    }

    #[tokio::test]
    async fn what_breaks_the_protocol_is_answered_with_its_error() {
        for (what, bytes) in [
            ("DATA on no stream", frame(DATA, 0, 0, b"x")),
            ("HEADERS on an even stream", get(2)),
            ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, b"")),
            ("a PING of 7 bytes", frame(PING, 0, 0, b"1234567")),
            ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, b"12345")),
            ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[])),
            ("a window beyond 2^31-1", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
            ("a window that runs over", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
            ("an index that HPACK has not", frame(HEADERS, 5, 1, &[0xff, 0xff, 0x7f])),
            ("a frame that is too long", [0x40, 0x01, 0x00, DATA, 0, 0, 0, 0, 1].to_vec()),
        ] {
            let Peer { mut client, served, .. } = peer(Some(b"ok"));
            client.write_all(&[opening(), bytes].concat()).await.unwrap();
            let _ = client.shutdown().await;
            let code = goodbye(&mut client).await;
            assert!(code.is_some_and(|code| code != 0), "{what}: {code:?}");
            assert!(served.await.unwrap().is_err(), "{what}");
        }
    }
}
