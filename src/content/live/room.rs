//! Where the chunks of a track lie in memory: many share a block, one after another.
//!
//! ```text
//!   | chunk | chunk | chunk |  chunk  | chunk |---|     a block, and what of it is too short for the next chunk
//!                                             | chunk | chunk | …
//! ```
//!
//! An allocator has few sizes: an allocation a chunk costs a sixth of what is kept. A block is a power of two, of which the allocator's own
//! pages hold a whole number. It stays until the last chunk in it is let go of; as a window lets go in order, that costs a block at its
//! beginning, and the one that is being filled at its end.

use bytes::BytesMut;

/// The largest block: all that is kept for the sake of something else is at most so much, and it is the largest of which the allocator
/// (mimalloc 3) puts several into one page.
const BLOCK_BYTES_MAX: usize = 512 << 10;
/// A block is for so many of the largest chunks that came, or half as many: what is left over at its end, half a chunk, is little of it, and
/// a track that is slow keeps no more than a few seconds with it.
const BLOCK_CHUNKS: usize = 16;
/// Who would take more than one in so many of a block has an allocation of its own, of exactly its size.
const SHARE: usize = 4;
/// What is allocated for a chunk of its own before its bytes have come.
pub const ALLOCATED_AHEAD_MAX: usize = 1 << 20;

/// Room for the chunks of a track, as one encoder pushes it: two encoders that shared it would keep what is dropped of the one.
#[derive(Debug, Default)]
pub struct Room {
    /// What is free of the block that is being filled.
    rest: BytesMut,
    /// The largest chunk that shared the block.
    largest: usize,
    /// Bytes of the chunks that there was room for: a block is no larger, so that nothing is allocated for what has not come.
    taken: usize,
}

impl Room {
    /// Room for a chunk of `len` bytes. It is as large as that, or holds the first [`ALLOCATED_AHEAD_MAX`] of a larger one.
    pub fn of(&mut self, len: usize) -> BytesMut {
        let before = self.taken;
        self.taken = self.taken.saturating_add(len);
        if len > self.rest.capacity() {
            let wanted = BLOCK_CHUNKS * self.largest.max(len);
            let block = below(wanted.min(before).min(BLOCK_BYTES_MAX));
            if len > block / SHARE {
                return BytesMut::with_capacity(len.min(ALLOCATED_AHEAD_MAX));
            }
            (self.rest, self.largest) = (BytesMut::with_capacity(block), 0);
        }
        self.largest = self.largest.max(len);
        let rest = self.rest.split_off(len);
        std::mem::replace(&mut self.rest, rest)
    }
}

/// The largest power of two that is no larger than `bytes`.
fn below(bytes: usize) -> usize {
    bytes.checked_ilog2().map_or(0, |log| 1 << log)
}

/// Appends `bytes` to `piece`, which will hold no more than `whole`: it grows with what came, and ends at exactly that.
pub fn append(piece: &mut BytesMut, bytes: &[u8], whole: usize) {
    let wanted = piece.len() + bytes.len();
    if wanted > piece.capacity() {
        let mut larger = BytesMut::with_capacity((2 * piece.capacity()).min(whole).max(wanted));
        larger.extend_from_slice(piece);
        *piece = larger;
    }
    piece.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// Chunks of these `lens`, one after another.
    fn filled(room: &mut Room, lens: &[usize]) -> Vec<Bytes> {
        let fill = |len: &usize| {
            let mut piece = room.of(*len);
            append(&mut piece, &vec![*len as u8; *len], *len);
            piece.freeze()
        };
        lens.iter().map(fill).collect()
    }

    /// Of these chunks, which lie right behind the one before.
    fn shared(chunks: &[Bytes]) -> usize {
        chunks.windows(2).filter(|pair| pair[0].as_ptr_range().end == pair[1].as_ptr()).count()
    }

    #[test]
    fn chunks_lie_one_after_another_once_some_have_come() {
        let mut room = Room::default();
        let lens: Vec<usize> = (0..400).map(|index| 700 + index * 37 % 500).collect();
        let chunks = filled(&mut room, &lens);
        assert!(chunks.iter().zip(&lens).all(|(chunk, len)| chunk[..] == vec![*len as u8; *len]));
        // Sixteen of 1,199 bytes are 19 KB, of which the power below is 16 KiB: some seventeen of these chunks.
        let later = &chunks[100..];
        let blocks = later.len() - shared(later);
        assert!((300 / 19..=300 / 15).contains(&blocks), "{blocks} blocks");
    }

    #[test]
    fn nothing_is_allocated_for_what_has_not_come() {
        let mut room = Room::default();
        assert_eq!(room.of(5 << 30).capacity(), ALLOCATED_AHEAD_MAX, "only claimed");
        let mut room = Room::default();
        let mut came = 0;
        for len in [3_000; 100] {
            let before = room.rest.capacity();
            assert_eq!(room.of(len).capacity(), len);
            let left = room.rest.capacity();
            assert!(left <= before || left + len <= came, "a block of {} bytes after {came}", left + len);
            came += len;
        }
        assert!(room.rest.capacity() > 0, "blocks there are");
    }

    #[test]
    fn a_chunk_that_is_large_stands_alone_and_the_block_goes_on() {
        let mut room = Room::default();
        let chunks = filled(&mut room, &[1000; 40]);
        let left = room.rest.capacity();
        filled(&mut room, &[300_000]);
        assert_eq!(room.rest.capacity(), left);
        let more = filled(&mut room, &[500]);
        assert_eq!(chunks[39].as_ptr_range().end, more[0].as_ptr());
    }

    #[test]
    fn a_piece_grows_with_what_came_and_to_no_more_than_it_will_hold() {
        let whole = 5 * ALLOCATED_AHEAD_MAX / 2;
        let mut piece = Room::default().of(whole);
        for step in vec![7; whole / 50_000].iter().map(|byte| [*byte; 50_000]) {
            append(&mut piece, &step, whole);
            assert!(piece.capacity() <= (2 * piece.len()).max(ALLOCATED_AHEAD_MAX).min(whole));
        }
        append(&mut piece, &vec![7; whole % 50_000], whole);
        assert_eq!((piece.len(), piece.capacity()), (whole, whole));
    }
}
