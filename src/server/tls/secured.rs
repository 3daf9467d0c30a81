//! A connection whose hands are shaken: what is read and written is in the clear.
//!
//! HTTP/1.1 writes much at once. HTTP/2 writes a frame at a time, nine bytes and 16 KiB, and flushes after each: that would be a record of 16 KiB, a
//! record of nine bytes and a system call for each frame. So of HTTP/2
//!
//! ```text
//!   frames   [9|16384][9|16384][9|16384]...
//!   records  [16384  ][16384  ][16384   ]...  + what is left, held until more comes or it is flushed
//!   writes   [                          ]     flushes are put off, until much is sealed or it reads again, which it does whenever it is polled
//! ```

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::server::conn::Stream;

/// Bytes of sealed records that wait for the socket. More records a system call are fewer calls; these stay in the processor's cache.
pub(super) const SEALED_BYTES_MAX: usize = 256 * 1024;
/// Bytes whose flush is put off: half of that, so that the next frame finds room.
const PUT_OFF_BYTES_MAX: usize = SEALED_BYTES_MAX / 2;
/// Bytes of a whole record (RFC 8446 §5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// Bytes that are held, and so copied, in the hope of a whole record: the heads of a hundred frames.
const HELD_BYTES_MAX: usize = 1024;

/// The socket below, which counts what goes out.
#[derive(Debug)]
pub struct Socket<S> {
    io: S,
    written: u64,
}

impl<S> Socket<S> {
    pub(super) fn new(io: S) -> Socket<S> {
        Socket { io, written: 0 }
    }

    fn has_written(&mut self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = result {
            self.written += *count as u64;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.has_written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.has_written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// A connection whose hands are shaken.
#[derive(Debug)]
pub struct Secured<S> {
    stream: TlsStream<Socket<S>>,
    /// Of HTTP/2: what is written is gathered.
    gathers: bool,
    /// What is not sealed yet, in the hope of more.
    held: Vec<u8>,
    /// Bytes written since the last flush that was none put off.
    unflushed: usize,
    /// Whether the socket took not all, and wakes who writes when it takes more.
    is_waiting: bool,
}

impl<S: Stream> Secured<S> {
    pub(super) fn new(stream: TlsStream<Socket<S>>) -> Secured<S> {
        let gathers = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Secured { stream, gathers, held: Vec::new(), unflushed: 0, is_waiting: false }
    }

    /// Seals what is held and `slices` in whole records, and holds what is left if that is little. Writes to the socket only what must
    /// make room.
    fn gather(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let left = (self.held.len() + offered) % RECORD_BYTES;
        let to_hold = if left <= HELD_BYTES_MAX { left } else { 0 };
        // What is held is shorter than a record. So either all is held, or all that was held is sealed.
        let Some(mut to_seal) = (self.held.len() + offered).checked_sub(to_hold).filter(|count| *count > 0) else {
            slices.iter().for_each(|slice| self.held.extend_from_slice(slice));
            self.unflushed += offered;
            return Poll::Ready(Ok(offered));
        };
        let of_offered = offered - to_hold;
        loop {
            let mut all = Vec::with_capacity(slices.len() + 1);
            all.push(IoSlice::new(&self.held));
            all.extend(first(slices, to_seal - self.held.len()));
            let count = self.stream.get_mut().1.writer().write_vectored(&all)?;
            if count == 0 {
                ready!(self.pass_on(cx))?;
                continue;
            }
            to_seal -= count;
            if count < self.held.len() {
                self.held.drain(..count);
                continue;
            }
            let count = count - self.held.len();
            self.held.clear();
            if count == of_offered {
                // The end of what was offered, which is not sealed.
                last(slices, to_hold).for_each(|slice| self.held.extend_from_slice(slice));
                self.unflushed += offered;
                return Poll::Ready(Ok(offered));
            }
            if count > 0 {
                self.unflushed += count;
                return Poll::Ready(Ok(count));
            }
        }
    }

    /// Seals what is held, and gives all that is sealed to the socket.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = self.stream.get_mut().1.writer().write(&self.held)?;
            self.held.drain(..count);
            if count == 0 {
                ready!(self.pass_on(cx))?;
            }
        }
        ready!(self.pass_on(cx))?;
        self.unflushed = 0;
        Poll::Ready(Ok(()))
    }

    fn pass_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.is_waiting = flushed.is_pending();
        flushed
    }
}

/// The first `count` bytes of `slices`.
fn first<'a>(slices: &'a [IoSlice<'_>], count: usize) -> impl Iterator<Item = IoSlice<'a>> {
    let mut left = count;
    slices.iter().map_while(move |slice| {
        let taken = slice.len().min(left);
        left -= taken;
        (taken > 0 || slice.is_empty()).then(|| IoSlice::new(&slice[..taken]))
    })
}

/// The last `count` bytes of `slices`.
fn last<'a>(slices: &'a [IoSlice<'_>], count: usize) -> impl Iterator<Item = &'a [u8]> {
    let mut to_skip = slices.iter().map(|slice| slice.len()).sum::<usize>() - count;
    slices.iter().map(move |slice| {
        let skipped = slice.len().min(to_skip);
        to_skip -= skipped;
        &slice[skipped..]
    })
}

impl<S: Stream> Stream for Secured<S> {
    fn unacknowledged(&self) -> Option<usize> {
        self.stream.get_ref().0.io.unacknowledged()
    }

    fn hold_unsent(&self, bytes: u32) {
        self.stream.get_ref().0.io.hold_unsent(bytes);
    }

    fn passed_on(&self) -> Option<u64> {
        Some(self.stream.get_ref().0.written)
    }
}

impl<S: Stream> AsyncRead for Secured<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What the socket does not take now goes when it does: this has asked to be woken for that.
        if self.unflushed > 0
            && let Poll::Ready(Err(error)) = self.flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            // Many clients leave without a close_notify. A request that is cut short is noticed without it (RFC 9112 §9.8).
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl<S: Stream> AsyncWrite for Secured<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.gathers {
            return self.gather(cx, &[IoSlice::new(bytes)]);
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gathers {
            return self.gather(cx, slices);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathers {
            return self.flush(cx);
        }
        if self.unflushed >= PUT_OFF_BYTES_MAX {
            ready!(self.pass_on(cx))?;
            self.unflushed = self.held.len();
        }
        if self.unflushed > 0 && !self.is_waiting {
            // So that it is polled, and reads, once all that can be written now is.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
