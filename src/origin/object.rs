//! What is served: a head made ready, and a body of shared slices.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Frame, SizeHint};

use crate::rope::{Rope, RopeBuf};

/// A response body: one rope, sent as one frame.
#[derive(Debug, Default)]
pub struct Body {
    rope: Option<Rope>,
}

impl Body {
    /// A body of all of `rope`.
    pub fn new(rope: Rope) -> Body {
        Body { rope: (!rope.is_empty()).then_some(rope) }
    }

    /// No body.
    pub fn empty() -> Body {
        Body::default()
    }

    /// Bytes not yet taken.
    pub fn len(&self) -> u64 {
        self.rope.as_ref().map_or(0, Rope::len)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rope.is_none()
    }
}

impl http_body::Body for Body {
    type Data = RopeBuf;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<RopeBuf>, Infallible>>> {
        Poll::Ready(self.rope.take().map(|rope| Ok(Frame::data(rope.into_buf()))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}
