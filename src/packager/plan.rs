//! A recipe of a body: bytes made here, and ranges of the source to put between them. Its length is known before any media is
//! read.

use bytes::Bytes;

use crate::media::sample::SourceRange;
use crate::rope::{Rope, SLICES_MAX};

/// One piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that were made.
    Made(Bytes),
    /// Bytes of the source, as they are.
    Source(SourceRange),
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Piece::Made(bytes) => bytes.len() as u64,
            Piece::Source(range) => range.len(),
        }
    }
}

/// The pieces of a body, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pieces: Vec<Piece>,
}

impl Plan {
    /// Appends made bytes.
    pub fn made(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pieces.push(Piece::Made(bytes));
        }
    }

    /// Appends bytes of the source; joined with what precedes if they follow it there.
    pub fn source(&mut self, range: SourceRange) {
        match self.pieces.last_mut() {
            _ if range.is_empty() => {}
            Some(Piece::Source(last)) if last.file == range.file && last.range.end == range.range.start => {
                last.range.end = range.range.end;
            }
            _ => self.pieces.push(Piece::Source(range)),
        }
    }

    /// The pieces.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Length of the body in bytes.
    pub fn len(&self) -> u64 {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// Whether the body is empty.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What must be read, in the order in which [`Plan::assemble`] wants it.
    pub fn reads(&self) -> Vec<SourceRange> {
        let source = |piece: &Piece| match piece {
            Piece::Source(range) => Some(range.clone()),
            Piece::Made(_) => None,
        };
        self.pieces.iter().filter_map(source).collect()
    }

    /// The body, where `media` holds the bytes of all [`Plan::reads`] one after another. Nothing is copied, unless there are
    /// more pieces than a rope has slices; then all of them are, once.
    ///
    /// # Panics
    /// If `media` is not exactly as long as the reads are: a short read is an error before it comes here.
    pub fn assemble(&self, mut media: Bytes) -> Rope {
        let mut slices = Vec::with_capacity(self.pieces.len());
        let mut run = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Source(range) => run += range.len() as usize,
                Piece::Made(bytes) => {
                    slices.push(media.split_to(run));
                    slices.push(bytes.clone());
                    run = 0;
                }
            }
        }
        slices.push(media.split_to(run));
        assert!(media.is_empty(), "{} bytes of media more than were planned", media.len());
        slices.retain(|slice| !slice.is_empty());
        if slices.len() > SLICES_MAX {
            return Rope::from(Bytes::from(slices.concat()));
        }
        Rope::new(slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_body_is_its_pieces_in_order(pieces in prop::collection::vec((any::<bool>(), 0u64..5), 0..150)) {
            let mut plan = Plan::default();
            let (mut expected, mut media, mut at) = (Vec::new(), Vec::new(), 0);
            for (index, (made, len)) in pieces.into_iter().enumerate() {
                let bytes = vec![index as u8; len as usize];
                expected.extend_from_slice(&bytes);
                if made {
                    plan.made(Bytes::from(bytes));
                } else {
                    plan.source(SourceRange { file: 0, range: at..at + len });
                    at += len + index as u64 % 2;
                    media.extend_from_slice(&bytes);
                }
            }
            prop_assert_eq!(plan.len(), expected.len() as u64);
            let read: u64 = plan.reads().iter().map(SourceRange::len).sum();
            prop_assert_eq!(read, media.len() as u64);
            prop_assert_eq!(plan.assemble(Bytes::from(media)).to_vec(), expected);
        }
    }
}
