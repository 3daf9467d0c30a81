//! The body of an answer: an immutable list of shared slices.
//!
//! ```text
//!   Rope   [ moof made ][ media, a slice of the cached read ][ moof made ][ media ]
//!   slice(a..b)     ^------------------------^                 no byte is copied
//! ```
//!
//! A [`RopeBuf`] hands all slices to one vectored write, which is why their number is bounded.

use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

/// The most slices a rope may have: what hyper passes to one `writev`.
pub const SLICES_MAX: usize = 64;

/// An immutable list of shared, non-empty byte slices, at most [`SLICES_MAX`].
#[derive(Clone, Default)]
pub struct Rope {
    slices: Slices,
    len: u64,
}

/// One slice needs no list of its own: most bodies are a single read of the source.
#[derive(Clone, Default)]
enum Slices {
    #[default]
    None,
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Rope {
    /// A rope of the non-empty `slices`, in order.
    ///
    /// # Panics
    /// If more than [`SLICES_MAX`] of them are not empty: whoever builds a rope bounds its pieces first.
    pub fn new(slices: impl IntoIterator<Item = Bytes>) -> Rope {
        let slices: Vec<Bytes> = slices.into_iter().filter(|s| !s.is_empty()).collect();
        assert!(slices.len() <= SLICES_MAX, "a rope has at most {SLICES_MAX} slices, not {}", slices.len());
        let len = slices.iter().map(|s| s.len() as u64).sum();
        let slices = match <[Bytes; 1]>::try_from(slices) {
            Ok([one]) => Slices::One(one),
            Err(slices) if slices.is_empty() => Slices::None,
            Err(slices) => Slices::Many(slices.into()),
        };
        Rope { slices, len }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slices, none of them empty.
    pub fn slices(&self) -> &[Bytes] {
        match &self.slices {
            Slices::None => &[],
            Slices::One(one) => std::slice::from_ref(one),
            Slices::Many(many) => many,
        }
    }

    /// The bytes of `range`, sharing memory with this rope.
    ///
    /// # Panics
    /// If the range does not lie within the rope.
    pub fn slice(&self, range: Range<u64>) -> Rope {
        assert!(range.start <= range.end && range.end <= self.len, "slice {range:?} of {} bytes", self.len);
        if range == (0..self.len) {
            return self.clone();
        }
        if let Slices::One(one) = &self.slices {
            return Rope::from(one.slice(range.start as usize..range.end as usize));
        }
        let mut start = 0;
        Rope::new(self.slices().iter().filter_map(|slice| {
            let end = start + slice.len() as u64;
            let from = range.start.clamp(start, end) - start;
            let to = range.end.clamp(start, end) - start;
            start = end;
            (from < to).then(|| slice.slice(from as usize..to as usize))
        }))
    }

    /// A reader over all bytes that a vectored write can take at once.
    pub fn into_buf(self) -> RopeBuf {
        RopeBuf { remaining: self.len as usize, index: 0, offset: 0, rope: self }
    }

    /// All bytes in one new allocation: for tests and for bodies that are compressed.
    pub fn to_vec(&self) -> Vec<u8> {
        self.slices().concat()
    }
}

impl From<Bytes> for Rope {
    fn from(slice: Bytes) -> Rope {
        let len = slice.len() as u64;
        Rope { slices: if slice.is_empty() { Slices::None } else { Slices::One(slice) }, len }
    }
}

impl std::fmt::Debug for Rope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rope({} bytes in {} slices)", self.len, self.slices().len())
    }
}

/// A [`Rope`] being sent.
#[derive(Debug, Default)]
pub struct RopeBuf {
    rope: Rope,
    index: usize,
    offset: usize,
    remaining: usize,
}

impl Buf for RopeBuf {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.rope.slices().get(self.index).map_or(&[], |slice| &slice[self.offset..])
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        let rest = self.rope.slices().get(self.index..).unwrap_or(&[]);
        let mut filled = 0;
        for (slot, slice) in dst.iter_mut().zip(rest) {
            let from = if filled == 0 { self.offset } else { 0 };
            *slot = IoSlice::new(&slice[from..]);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "advance {count} of {}", self.remaining);
        self.remaining -= count;
        while count > 0 {
            let left = self.rope.slices()[self.index].len() - self.offset;
            if count < left {
                self.offset += count;
                return;
            }
            count -= left;
            self.index += 1;
            self.offset = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ropes() -> impl Strategy<Value = (Rope, Vec<u8>)> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..8).prop_map(|parts| {
            let whole = parts.concat();
            (Rope::new(parts.into_iter().map(Bytes::from)), whole)
        })
    }

    proptest! {
        #[test]
        fn a_slice_is_the_sum_of_its_parts((rope, whole) in ropes(), cuts in any::<[prop::sample::Index; 3]>()) {
            let mut at = cuts.map(|cut| cut.index(whole.len() + 1));
            at.sort_unstable();
            let [a, b, c] = at.map(|x| x as u64);
            let (left, right) = (rope.slice(a..b), rope.slice(b..c));
            prop_assert_eq!(rope.slice(a..c).to_vec(), [left.to_vec(), right.to_vec()].concat());
            prop_assert_eq!(rope.slice(a..c).to_vec(), &whole[a as usize..c as usize]);
        }

        #[test]
        fn a_buf_yields_every_byte_once_however_it_is_advanced((rope, whole) in ropes(), step in 1usize..7) {
            let mut buf = rope.into_buf();
            let mut seen = Vec::new();
            while buf.has_remaining() {
                let mut io = [IoSlice::new(&[]); SLICES_MAX];
                let filled = buf.chunks_vectored(&mut io);
                let all: Vec<u8> = io[..filled].iter().flat_map(|s| s.iter().copied()).collect();
                prop_assert_eq!(&all, &whole[seen.len()..]);
                let n = step.min(buf.remaining());
                seen.extend_from_slice(&all[..n]);
                buf.advance(n);
            }
            prop_assert_eq!(seen, whole);
        }
    }
}
