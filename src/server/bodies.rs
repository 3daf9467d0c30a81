//! Answers under way on a connection. In HTTP/1 they say that it does not rest. In HTTP/2 the socket tells nothing of them: a peer
//! that opens no flow-control window (RFC 9113 §5.2), or one of a few bytes, takes next to nothing of an answer, though the socket takes every
//! frame that is written.
//!
//! ```text
//!   HTTP/1   request -> Share -> answer -> hyper            until it is made: then it is written at once
//!   HTTP/2   answer -> Watched<Body> -> hyper -> WatchedData -> h2's queue -> socket
//!                      a share of Bodies           the same share, and every byte taken is noted
//! ```

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

/// What a peer takes at least within the write deadline, or all that is left: less is no player's speed, and keeps bodies in memory.
pub const TAKEN_BYTES_MIN: u64 = 16 * 1024;

/// The answers of one connection that are under way.
#[derive(Debug, Default)]
pub struct Bodies {
    under_way: AtomicUsize,
    /// Whether the first of them began since somebody looked.
    has_begun: AtomicBool,
    /// Bytes that were taken since then, or since so many were as have to be.
    taken: AtomicU64,
}

// Counts are looked at by the connection's own timer, seconds later; they order nothing else.
impl Bodies {
    /// `body`, counted as under way while there is anything of it.
    pub fn watch<B: Body>(self: &Arc<Bodies>, body: B) -> Watched<B> {
        let share = (!body.is_end_stream()).then(|| Arc::new(self.begin()));
        Watched { body, share }
    }

    /// A share for an answer that is being made.
    pub fn begin(self: &Arc<Bodies>) -> Share {
        // More answers do not excuse that the first is not taken.
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            self.has_begun.store(true, Ordering::Relaxed);
        }
        Share(self.clone())
    }

    /// Whether there are any.
    pub fn are_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Whether some are under way, and neither all that were have ended nor [`TAKEN_BYTES_MIN`] were taken since the last call that said no.
    pub fn are_stuck(&self) -> bool {
        let have_begun = self.has_begun.swap(false, Ordering::Relaxed);
        let is_enough = self.taken.load(Ordering::Relaxed) >= TAKEN_BYTES_MIN;
        if have_begun || is_enough || !self.are_under_way() {
            self.taken.store(0, Ordering::Relaxed);
            return false;
        }
        true
    }
}

/// One answer's share in the count.
#[derive(Debug)]
pub struct Share(Arc<Bodies>);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that is counted until its last byte was taken.
#[derive(Debug)]
pub struct Watched<B> {
    body: B,
    share: Option<Arc<Share>>,
}

/// Data of a body that is counted.
#[derive(Debug)]
pub struct WatchedData<D> {
    data: D,
    share: Option<Arc<Share>>,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = WatchedData<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<WatchedData<B::Data>>, B::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let share = &self.share;
        frame.map_ok(|frame| frame.map_data(|data| WatchedData { data, share: share.clone() }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<D: Buf> Buf for WatchedData<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(dst)
    }

    fn advance(&mut self, count: usize) {
        if let Some(Share(bodies)) = self.share.as_deref() {
            bodies.taken.fetch_add(count as u64, Ordering::Relaxed);
        }
        self.data.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};

    #[tokio::test]
    async fn a_body_is_stuck_until_enough_is_taken_and_gone_with_its_data() {
        let enough = TAKEN_BYTES_MIN as usize;
        let bodies = Arc::<Bodies>::default();
        assert!(!bodies.are_stuck());
        let mut body = bodies.watch(Full::new(Bytes::from(vec![7; enough + 1])));
        assert!(!bodies.are_stuck(), "it has only begun");
        assert!(bodies.are_stuck());
        let mut data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        drop(body);
        assert!(bodies.are_stuck(), "its data still lie in a queue");
        let other = bodies.watch(Full::new(Bytes::from_static(b"more")));
        assert!(bodies.are_stuck(), "another one is no excuse");
        drop(other);
        data.advance(1);
        assert!(bodies.are_stuck(), "a byte is not enough");
        data.advance(enough - 1);
        assert!(!bodies.are_stuck());
        assert!(bodies.are_stuck());
        drop(data);
        assert!(!bodies.are_stuck());
        let _nothing = bodies.watch(Empty::<Bytes>::new());
        assert!(!bodies.are_stuck());
        assert!(!bodies.are_stuck());
    }
}
