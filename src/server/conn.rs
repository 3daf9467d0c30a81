//! The one wrapper around a socket: it counts what goes out and keeps the deadlines.
//!
//! hyper has no deadline for a peer that stops reading, and its own for request heads also runs on idle connections and costs
//! a timer a request. Here a connection has one coarse timer for its whole life, which is polled only when the socket has
//! nothing to give or take:
//!
//! ```text
//!   waiting to read,  no byte of a head yet   -> idle deadline        (a clean end)
//!                     some bytes of a head    -> head deadline        (counted from its first byte)
//!   waiting to write                          -> write deadline       (for each 16 KiB that the peer takes of the kernel, or the rest)
//!   HTTP/2: either, answers under way          -> write deadline       (likewise, of each answer: its window may be shut; see bodies.rs)
//!   either, an answer of a live channel        -> its own limit        (for all of it)
//!   neither (an answer is being made)         -> none: who makes it has deadlines of its own
//! ```
//!
//! A deadline counts whole periods of the timer, so it fires between its limit and one period later.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::server::bodies::{Bodies, Look, Pace, TAKEN_BYTES_MIN};
use crate::server::drain::Drain;
use crate::sys;
use crate::telemetry::{Ending, Telemetry};

/// How long a connection may wait for its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadlines {
    /// From the first byte of a request head until it is whole.
    pub head: Duration,
    /// Without any byte of a request.
    pub idle: Duration,
    /// In which the peer takes [`TAKEN_BYTES_MIN`] while so many wait; over HTTP/2, of each answer.
    pub write: Duration,
    /// Whether requests have long bodies: who takes them bounds them, and a head's deadline begins anew with every byte.
    pub takes_bodies: bool,
}

/// The longest period of the timer: short against every deadline, long enough to cost nothing.
const PERIOD_MAX: Duration = Duration::from_secs(5);
/// The shortest period, so that a deadline of nearly nothing does not spin.
const PERIOD_MIN: Duration = Duration::from_millis(10);
/// What an HTTP/2 client with prior knowledge says first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that are looked at first: as many as nearly all heads of requests have.
const LOOK_BYTES: usize = 1024;
/// Bytes thrown away when closing, see `poll_shutdown`.
const DISCARD_BYTES_MAX: usize = 256 * 1024;

impl Deadlines {
    fn period(&self) -> Duration {
        (self.head.min(self.idle).min(self.write) / 2).clamp(PERIOD_MIN, PERIOD_MAX)
    }

    /// Periods after which `limit` has certainly passed: the first one may have been nearly over.
    fn periods(&self, limit: Duration) -> u32 {
        let periods = limit.as_nanos().div_ceil(self.period().as_nanos()) + 1;
        u32::try_from(periods).unwrap_or(u32::MAX)
    }
}

/// Unsent bytes the kernel may hold for a connection; it asks for more when half are sent. A grown send buffer takes megabytes,
/// and thousands of slow readers would make it hold gigabytes.
const UNSENT_BYTES_MAX: u32 = 256 * 1024;
/// The same for a peer that has shown to be fast: each wake-up less is worth it (docs/performance.md).
const UNSENT_BYTES_MAX_FAST: u32 = 4 * 1024 * 1024;
/// Who takes so much in a period of the timer is fast: a cache that fetches, not a player that plays.
const FAST_BYTES: usize = 8 * 1024 * 1024;

/// What HTTP/2 writes at least in a period of the timer if anything is answered: more than acknowledgements of a PING a second,
/// less than the smallest answer with its head.
const HTTP2_PROGRESS_BYTES: usize = 128;

/// What the peer speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// Which deadline has passed.
enum Overdue {
    Idle,
    Head,
    Write,
}

/// What a connection asks of its socket besides bytes. A socket that cannot say is taken as it is.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Bytes that were written and that the peer has not acknowledged.
    fn unacknowledged(&self) -> Option<usize> {
        None
    }

    /// Bytes that went to the kernel so far, if the stream holds some back itself: they go on while no write is taken. `None`: all that was written.
    fn passed_on(&self) -> Option<u64> {
        None
    }

    /// Lets the kernel hold at most about `bytes` that are not sent.
    fn hold_unsent(&self, _bytes: u32) {}
}

impl Stream for TcpStream {
    fn unacknowledged(&self) -> Option<usize> {
        sys::unacknowledged(self).ok()
    }

    fn hold_unsent(&self, bytes: u32) {
        // Not needed for right answers, so a socket that refuses is served all the same.
        let _ = SockRef::from(self).set_tcp_notsent_lowat(bytes);
    }
}

/// A socket with its deadlines and counts.
#[derive(Debug)]
pub struct Conn<S> {
    io: S,
    telemetry: Arc<Telemetry>,
    drain: Arc<Drain>,
    deadlines: Deadlines,
    timer: Pin<Box<Sleep>>,
    /// Periods of the timer that passed while waiting to read; `None` while not waiting.
    read_periods: Option<u32>,
    /// Likewise, to write.
    write_periods: Option<u32>,
    /// Whether bytes came since the last answer: of a head that is not whole, if a read has to wait.
    in_head: bool,
    /// Decides whether there are heads to wait for: HTTP/2 bounds them by frames.
    protocol: Protocol,
    /// Bytes written in this period of the timer.
    written: usize,
    /// And so far.
    sent: u64,
    /// Whether the kernel may hold more for this peer.
    is_fast: bool,
    /// What the peer had taken when the write deadline began, which is at the end of a period.
    taken: Option<i128>,
    /// Answers under way.
    bodies: Arc<Bodies>,
    /// How those that are watched were taken, when the timer looked last.
    pace: Pace,
    /// What was read already, to be read again.
    replay: Vec<u8>,
    /// Whether it has asked nothing for a period, with nothing under way.
    rests: Arc<AtomicBool>,
    ending: Ending,
}

impl<S: Stream> Conn<S> {
    /// Wraps `io`, and counts it as open until it is dropped.
    pub fn new(io: S, deadlines: Deadlines, telemetry: Arc<Telemetry>, drain: Arc<Drain>) -> Conn<S> {
        telemetry.connections.inc();
        telemetry.connections_open.inc();
        io.hold_unsent(UNSENT_BYTES_MAX);
        Conn {
            io,
            telemetry,
            drain,
            timer: Box::pin(sleep(deadlines.period())),
            deadlines,
            read_periods: None,
            write_periods: None,
            in_head: false,
            protocol: Protocol::Http1,
            written: 0,
            sent: 0,
            is_fast: false,
            taken: None,
            bodies: Arc::default(),
            pace: Pace::Fine,
            replay: Vec::new(),
            rests: Arc::default(),
            ending: Ending::Closed,
        }
    }

    /// Where answers are to be counted: so that the connection does not rest meanwhile, and that HTTP/2's have a write deadline.
    pub fn bodies(&self) -> Arc<Bodies> {
        self.bodies.clone()
    }

    /// How long its peer may take nothing.
    pub fn write_deadline(&self) -> Duration {
        self.deadlines.write
    }

    /// Becomes true when an HTTP/1 connection has asked nothing for a while and everything is written: then what is kept for
    /// its next request may as well be given back.
    pub fn rests(&self) -> Arc<AtomicBool> {
        self.rests.clone()
    }

    /// Takes back what was read and not used.
    pub fn give_back(&mut self, unread: &[u8]) {
        if !unread.is_empty() {
            // Of a head that came behind another request and has not become whole since.
            self.in_head = true;
            self.read_periods = None;
            self.replay.extend_from_slice(unread);
        }
    }

    /// Waits until a connection that rested asks again, or more; `false` when it has ended instead.
    pub async fn resume(&mut self) -> io::Result<bool> {
        if self.replay.is_empty() {
            self.replay = self.look().await?;
        }
        self.rests.store(false, Ordering::Relaxed);
        Ok(!self.replay.is_empty())
    }

    /// Tells the protocol by the first bytes, which will be read again; fails when they don't come in time.
    pub async fn sniff(&mut self) -> io::Result<Protocol> {
        let mut start = self.look().await?;
        while start.len() < PREFACE.len() && PREFACE.starts_with(&start) {
            let more = self.look().await?;
            if more.is_empty() {
                break;
            }
            start.extend_from_slice(&more);
        }
        if start.starts_with(PREFACE) {
            self.protocol = Protocol::Http2;
            self.in_head = false;
        }
        self.replay = start;
        Ok(self.protocol)
    }

    /// What comes next, a request's head if it is a common one: what hyper is given in two pieces makes it double its buffer.
    async fn look(&mut self) -> io::Result<Vec<u8>> {
        poll_fn(|cx| {
            let mut space = [0; LOOK_BYTES];
            let mut buf = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut *self).poll_read(cx, &mut buf))?;
            Poll::Ready(Ok(buf.filled().to_vec()))
        })
        .await
    }

    /// To be called when the socket has to wait; registers the timer to wake the task.
    fn wait(&mut self, to_write: bool, cx: &mut Context<'_>) -> Option<Overdue> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let next = Instant::now() + self.deadlines.period();
            self.timer.as_mut().reset(next);
            let written = std::mem::take(&mut self.written);
            self.pace = self.bodies.look(Look {
                period: self.deadlines.period(),
                write: self.deadlines.write,
                is_of_each: self.protocol == Protocol::Http2,
                was_full: written == 0 && self.write_periods.is_some(),
            });
            for periods in [&mut self.read_periods, &mut self.write_periods].into_iter().flatten() {
                *periods += 1;
            }
            if self.write_periods.is_some() {
                self.look_at_the_queue();
                if self.is_fast && written == 0 {
                    self.is_fast = false;
                    self.io.hold_unsent(UNSENT_BYTES_MAX);
                }
            }
        }
        if self.pace == Pace::Over {
            return Some(Overdue::Write);
        }
        let limits = &self.deadlines;
        if to_write {
            let periods = *self.write_periods.get_or_insert(0);
            return (periods >= limits.periods(limits.write)).then_some(Overdue::Write);
        }
        if self.deadlines.takes_bodies && self.bodies.are_under_way() {
            return None;
        }
        let periods = *self.read_periods.get_or_insert(0);
        let is_idle = periods > 0 && !self.in_head && self.write_periods.is_none() && !self.bodies.are_under_way();
        if is_idle && self.protocol == Protocol::Http1 {
            self.rests.store(true, Ordering::Relaxed);
        }
        let (limit, overdue) = if self.in_head { (limits.head, Overdue::Head) } else { (limits.idle, Overdue::Idle) };
        (periods >= limits.periods(limit)).then_some(overdue)
    }

    /// For a period not all was written that there was to write. What the peer took of it, the kernel knows.
    fn look_at_the_queue(&mut self) {
        let passed_on = self.io.passed_on().unwrap_or(self.sent);
        let taken = i128::from(passed_on) - self.io.unacknowledged().unwrap_or(0) as i128;
        match self.taken {
            None => self.taken = Some(taken),
            Some(before) if taken - before >= i128::from(TAKEN_BYTES_MIN) => {
                self.taken = Some(taken);
                self.write_periods = Some(0);
            }
            Some(_) => {}
        }
    }

    /// All is written that there was to write: what the peer takes of the kernel's is the kernel's concern.
    fn has_flushed(&mut self) {
        self.write_periods = None;
        self.taken = None;
    }

    fn has_written(&mut self, result: &io::Result<usize>) {
        match result {
            Ok(count) => {
                self.telemetry.bytes_out.add(*count as u64);
                self.sent += *count as u64;
                self.written = self.written.saturating_add(*count);
                if self.written >= FAST_BYTES && !self.is_fast {
                    self.is_fast = true;
                    self.io.hold_unsent(UNSENT_BYTES_MAX_FAST);
                }
                // An HTTP/2 peer whose windows are shut, or who only pings, takes nothing that it was answered.
                if self.protocol == Protocol::Http1 || self.written >= HTTP2_PROGRESS_BYTES {
                    self.read_periods = None;
                }
                self.in_head = false;
            }
            Err(_) => self.ending = Ending::Failed,
        }
    }

    fn wait_to_write<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        match self.wait(true, cx) {
            None => Poll::Pending,
            Some(_) => Poll::Ready(Err(self.stalled())),
        }
    }

    fn stalled(&mut self) -> io::Error {
        self.ending = Ending::WriteStalled;
        io::Error::new(io::ErrorKind::TimedOut, "the peer takes no more bytes")
    }
}

impl<S: Stream> AsyncRead for Conn<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() {
            let count = self.replay.len().min(buf.remaining());
            buf.put_slice(&self.replay[..count]);
            self.replay.drain(..count);
            if self.replay.is_empty() {
                self.replay = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > before && !self.in_head && self.protocol == Protocol::Http1 {
                    self.in_head = true;
                    self.read_periods = None;
                }
                if self.deadlines.takes_bodies {
                    self.read_periods = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                self.ending = Ending::Failed;
                Poll::Ready(Err(error))
            }
            Poll::Pending => match self.wait(false, cx) {
                None => Poll::Pending,
                Some(Overdue::Idle) => {
                    self.ending = Ending::Idle;
                    Poll::Ready(Ok(()))
                }
                Some(Overdue::Write) => Poll::Ready(Err(self.stalled())),
                Some(Overdue::Head) => {
                    self.ending = Ending::HeadTimeout;
                    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the request head takes too long")))
                }
            },
        }
    }
}

impl<S: Stream> AsyncWrite for Conn<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Ready(result) => {
                self.has_written(&result);
                Poll::Ready(result)
            }
            Poll::Pending => self.wait_to_write(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.io).poll_write_vectored(cx, slices) {
            Poll::Ready(result) => {
                self.has_written(&result);
                Poll::Ready(result)
            }
            Poll::Pending => self.wait_to_write(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Pending => self.wait_to_write(cx),
            done => {
                self.has_flushed();
                done
            }
        }
    }

    /// Ends the sending side, and throws away what has come meanwhile: closing a socket with unread bytes makes the kernel
    /// reset the connection, which can take the last answer (a 431, a 413) from a peer that has not read it yet.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(result) = Pin::new(&mut self.io).poll_shutdown(cx) else {
            return self.wait_to_write(cx);
        };
        let mut space = [0; 4096];
        let mut discarded = 0;
        while result.is_ok() && discarded < DISCARD_BYTES_MAX {
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => discarded += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(result)
    }
}

impl<S> Drop for Conn<S> {
    fn drop(&mut self) {
        let ending = match self.ending {
            Ending::Closed if self.drain.has_begun() => Ending::Drained,
            ending => ending,
        };
        self.telemetry.connections_open.dec();
        self.telemetry.connections_ended.at(ending).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const DEADLINES: Deadlines = Deadlines {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(600),
        write: Duration::from_secs(30),
        takes_bodies: false,
    };

    impl Stream for DuplexStream {}

    fn pair(buffer_bytes: usize) -> (Conn<DuplexStream>, DuplexStream, Arc<Telemetry>) {
        let (server, client) = duplex(buffer_bytes);
        let telemetry = Arc::<Telemetry>::default();
        (Conn::new(server, DEADLINES, telemetry.clone(), Arc::default()), client, telemetry)
    }

    /// A socket whose kernel took much: `acknowledges` bytes of it go to the peer a second, and it takes no more.
    struct Full {
        queued: usize,
        acknowledges: usize,
        /// Bytes a second that it passes on of what it held back, so that its queue stays as it is.
        passes_on: usize,
        since: Instant,
        held: Arc<AtomicU32>,
    }

    impl Full {
        fn conn(acknowledges: usize) -> (Conn<Full>, Arc<AtomicU32>) {
            let held = Arc::<AtomicU32>::default();
            let io = Full { queued: 4 << 20, acknowledges, passes_on: 0, since: Instant::now(), held: held.clone() };
            (Conn::new(io, DEADLINES, Arc::default(), Arc::default()), held)
        }
    }

    impl Stream for Full {
        fn unacknowledged(&self) -> Option<usize> {
            Some(self.queued.saturating_sub(self.acknowledges * self.since.elapsed().as_secs() as usize))
        }

        fn passed_on(&self) -> Option<u64> {
            // Until 100 s are over.
            Some(self.passes_on as u64 * self.since.elapsed().as_secs().min(100))
        }

        fn hold_unsent(&self, bytes: u32) {
            self.held.store(bytes, Ordering::Relaxed);
        }
    }

    impl AsyncRead for Full {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Full {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            // A write of one byte is one that has to wait.
            if bytes.len() == 1 { Poll::Pending } else { Poll::Ready(Ok(bytes.len())) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_empties_the_kernels_buffer_is_not_cut_off_until_it_stops() {
        let (mut stopped, _) = Full::conn(0);
        let start = Instant::now();
        stopped.write_all(b"x").await.unwrap_err();
        assert_about(start.elapsed(), DEADLINES.write);
        // 20 KB a second empty 4 MiB in 210 s, and then nothing is taken for 30 s.
        let (mut slow, _) = Full::conn(20_000);
        let start = Instant::now();
        slow.write_all(b"x").await.unwrap_err();
        assert_about(start.elapsed() - PERIOD_MAX, Duration::from_secs(210) + DEADLINES.write);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_dripped_was_kept_for_as_long_as_it_liked() {
        // 16 KiB in 30 s are 546 bytes a second.
        let (mut drips, _) = Full::conn(500);
        let start = Instant::now();
        drips.write_all(b"x").await.unwrap_err();
        assert_about(start.elapsed(), DEADLINES.write);
        // 600 a second empty 4 MiB in nearly two hours; the last 16 KiB are not whole.
        let (mut slow, _) = Full::conn(600);
        let start = Instant::now();
        slow.write_all(b"x").await.unwrap_err();
        let seconds = start.elapsed().as_secs();
        assert!((6990..7040).contains(&seconds), "{seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn records_that_tls_held_back_are_no_sign_of_a_peer_that_stopped() {
        // What is acknowledged is replaced by what was held back, so the kernel's queue does not become shorter.
        let io =
            Full { queued: 1 << 20, acknowledges: 0, passes_on: 4000, since: Instant::now(), held: Arc::default() };
        let mut conn = Conn::new(io, DEADLINES, Arc::default(), Arc::default());
        let start = Instant::now();
        conn.write_all(b"x").await.unwrap_err();
        assert_about(start.elapsed() - PERIOD_MAX, Duration::from_secs(100) + DEADLINES.write);
    }

    #[tokio::test(start_paused = true)]
    async fn the_kernel_may_hold_more_for_a_fast_peer_until_it_is_slow() {
        let (mut conn, held) = Full::conn(0);
        assert_eq!(held.load(Ordering::Relaxed), UNSENT_BYTES_MAX);
        conn.write_all(&vec![0; FAST_BYTES - 1]).await.unwrap();
        assert_eq!(held.load(Ordering::Relaxed), UNSENT_BYTES_MAX);
        conn.write_all(&[0; 2]).await.unwrap();
        assert_eq!(held.load(Ordering::Relaxed), UNSENT_BYTES_MAX_FAST);
        tokio::time::timeout(2 * PERIOD_MAX, conn.write_all(b"x")).await.unwrap_err();
        assert_eq!(held.load(Ordering::Relaxed), UNSENT_BYTES_MAX);
    }

    fn assert_about(elapsed: Duration, limit: Duration) {
        assert!(elapsed >= limit && elapsed <= limit + PERIOD_MAX, "{elapsed:?} for a limit of {limit:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_cleanly_at_the_idle_deadline() {
        let (mut conn, _client, telemetry) = pair(64);
        let start = Instant::now();
        assert_eq!(conn.read(&mut [0; 8]).await.unwrap(), 0);
        assert_about(start.elapsed(), DEADLINES.idle);
        drop(conn);
        assert_eq!(telemetry.connections_ended.at(Ending::Idle).get(), 1);
        assert_eq!(telemetry.connections_open.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_peer_that_only_pings_is_idle_all_the_same() {
        let (mut conn, mut client, telemetry) = pair(1 << 16);
        conn.protocol = Protocol::Http2;
        let pinging = tokio::spawn(async move {
            while client.write_all(&[0; 17]).await.is_ok() && client.read_exact(&mut [0; 17]).await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let start = Instant::now();
        while conn.read(&mut [0; 17]).await.unwrap() > 0 {
            conn.write_all(&[0; 17]).await.unwrap();
            assert!(start.elapsed() < 2 * DEADLINES.idle, "for ever");
        }
        assert_about(start.elapsed(), DEADLINES.idle);
        drop(conn);
        assert_eq!(telemetry.connections_ended.at(Ending::Idle).get(), 1);
        pinging.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut_off_though_every_read_succeeds() {
        let (mut conn, mut client, telemetry) = pair(64);
        sleep(Duration::from_secs(100)).await;
        let start = Instant::now();
        let dripping = tokio::spawn(async move {
            for _ in 0..100 {
                if client.write_all(b"G").await.is_err() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
        let error = loop {
            match conn.read(&mut [0; 8]).await {
                Ok(count) => assert_eq!(count, 1),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_about(start.elapsed(), DEADLINES.head);
        drop(conn);
        assert_eq!(telemetry.connections_ended.at(Ending::HeadTimeout).get(), 1);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_paused_for_longer_than_a_head_may_take_was_cut_off() {
        let (server, mut client) = duplex(4096);
        let deadlines = Deadlines { takes_bodies: true, ..DEADLINES };
        let mut conn = Conn::new(server, deadlines, Arc::default(), Arc::default());
        let mut space = [0; 64];
        client.write_all(b"PUT / HTTP/1.1\r\n\r\nsome").await.expect("there is room");
        assert_eq!(conn.read(&mut space).await.expect("it is there"), 22);
        let under_way = conn.bodies().begin();
        let more = async {
            sleep(Duration::from_secs(50)).await;
            client.write_all(b"more").await.expect("it is waited for");
        };
        let (read, ()) = tokio::join!(conn.read(&mut space), more);
        assert_eq!(read.expect("it is waited for"), 4);
        drop(under_way);
        assert_eq!(conn.read(&mut space).await.expect_err("too late").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_gives_the_next_head_its_own_time() {
        let (mut conn, mut client, _) = pair(64);
        client.write_all(b"head").await.unwrap();
        conn.read_exact(&mut [0; 4]).await.unwrap();
        // The answer takes far longer to make than a head may take to come.
        sleep(Duration::from_secs(100)).await;
        conn.write_all(b"answer").await.unwrap();
        let start = Instant::now();
        assert_eq!(conn.read(&mut [0; 8]).await.unwrap(), 0, "idle, not in a head");
        assert_about(start.elapsed(), DEADLINES.idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_reading_is_cut_off_and_one_that_reads_slowly_is_not() {
        let (mut conn, mut client, telemetry) = pair(20_000);
        let slow = tokio::spawn(async move {
            for _ in 0..10 {
                sleep(Duration::from_secs(25)).await;
                client.read_exact(&mut [0; 20_000]).await.unwrap();
            }
            let since = Instant::now();
            std::future::pending::<()>().await;
            (client, since)
        });
        let start = Instant::now();
        let error = conn.write_all(&[7; 1_000_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let after = start.elapsed() - Duration::from_secs(250);
        assert!(after >= DEADLINES.write && after <= DEADLINES.write + 2 * PERIOD_MAX, "{after:?}");
        assert_eq!(telemetry.bytes_out.get(), 220_000);
        drop(conn);
        assert_eq!(telemetry.connections_ended.at(Ending::WriteStalled).get(), 1);
        slow.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_protocol_is_told_by_the_first_bytes_and_they_are_read_again() {
        for (sent, protocol) in [
            (&PREFACE[..], Protocol::Http2),
            (b"GET / HTTP/1.1\r\n\r\n", Protocol::Http1),
            (b"PRI * HTTP/1.1\r\nabcdefgh", Protocol::Http1),
            (b"P", Protocol::Http1),
        ] {
            let (mut conn, mut client, _) = pair(64);
            let sending = tokio::spawn(async move {
                for byte in sent {
                    client.write_all(std::slice::from_ref(byte)).await.unwrap();
                    sleep(Duration::from_millis(1)).await;
                }
            });
            assert_eq!(conn.sniff().await.unwrap(), protocol);
            let mut all = Vec::new();
            conn.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, sent);
            sending.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_that_never_ends_is_cut_off() {
        let (mut conn, mut client, _) = pair(64);
        client.write_all(&PREFACE[..5]).await.unwrap();
        let start = Instant::now();
        assert_eq!(conn.sniff().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_about(start.elapsed(), DEADLINES.head);
    }
}
