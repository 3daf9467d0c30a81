//! From the bytes of a push to what they hold: initialization segments and chunks. It does no I/O, and however the bytes are split, the
//! events are the same.
//!
//! ```text
//!   ftyp moov | [styp] [prft] [emsg…] moof mdat | [styp] … moof mdat | mfra
//!   Init        Chunk                             Chunk                End
//! ```
//!
//! A chunk is kept as it came, with what precedes its `moof`, and what is between that and its `mdat`, since the `moof` counts bytes to
//! its media. `sidx` and `mfra` are dropped: they count bytes of a file that is not there. Nothing is allocated by a size that is only claimed (`room.rs`).

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::content::live::room::{self, Room};
use crate::formats::error::Malformed;
use crate::formats::isobmff::boxes::{BoxHead, Boxes, FourCc, HEAD_MAX};

/// The largest initialization segment: a few kilobytes, and what `pssh` of many systems add.
const INIT_BYTES_MAX: u64 = 1 << 20;
/// The largest of what a chunk has before its `mdat`.
const HEAD_BYTES_MAX: u64 = 1 << 20;
/// The largest chunk: ten seconds at 100 Mb/s.
pub const CHUNK_BYTES_MAX: u64 = 128 << 20;
/// The bit of default-base-is-moof, in the first byte of the flags of a `tfhd`.
const BASE_IS_MOOF: u8 = 0x02;
/// The largest box that is dropped; more is no `sidx` but garbage, or another format.
const DROPPED_BYTES_MAX: u64 = 1 << 20;

/// What came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// `ftyp` and `moov`.
    Init(Bytes),
    /// A `moof` and its `mdat`, with what precedes them.
    Chunk(RawChunk),
    /// An `mfra`: the encoder says that this is the end.
    End,
}

/// A chunk as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawChunk {
    /// All of it.
    pub bytes: Bytes,
    /// Where its `moof` is.
    pub moof: Range<usize>,
    /// Whether a `styp` before it says that the segment which it begins is the last (brand `lmsg`, ISO/IEC 23009-1 §7.3.1).
    pub is_last: bool,
}

/// Where a push stands.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Bytes that came of all boxes before `buffer`.
    taken: u64,
    /// What is being gathered: boxes that belong together, the last of them perhaps not whole.
    buffer: BytesMut,
    /// Where chunks lie, from their `mdat` on.
    room: Room,
    /// Where the box that is under way begins in `buffer`.
    box_at: usize,
    /// Bytes of the box under way that are to be dropped.
    dropping: u64,
    /// Where the `moof` of the chunk is.
    moof: Option<Range<usize>>,
    is_last: bool,
}

impl Receiver {
    /// Of a push whose chunks lie in `room`.
    pub fn within(room: Room) -> Receiver {
        Receiver { room, ..Receiver::default() }
    }

    /// Where its chunks lay, for the next push.
    pub fn into_room(self) -> Room {
        self.room
    }

    /// Takes `bytes`; what they complete is appended to `events`. After an error nothing more is to be pushed.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Malformed> {
        while !bytes.is_empty() {
            if self.dropping > 0 {
                let count = usize::try_from(self.dropping).unwrap_or(usize::MAX).min(bytes.len());
                self.dropping -= count as u64;
                self.taken += count as u64;
                bytes = &bytes[count..];
                continue;
            }
            // The head first, so that its size tells how much to take.
            let Some(head) = self.head()? else {
                let count = (HEAD_MAX - (self.buffer.len() - self.box_at)).min(bytes.len()).min(self.head_wants());
                room::append(&mut self.buffer, &bytes[..count], self.box_at + HEAD_MAX);
                bytes = &bytes[count..];
                if self.head()?.is_some() {
                    self.has_head(events)?;
                }
                continue;
            };
            let size = head.size.unwrap_or(0);
            let have = (self.buffer.len() - self.box_at) as u64;
            let count = usize::try_from(size - have).unwrap_or(usize::MAX).min(bytes.len());
            // Its size was looked at when its head came.
            room::append(&mut self.buffer, &bytes[..count], self.box_at + size as usize);
            bytes = &bytes[count..];
            if have + count as u64 == size {
                self.has_box(head, events)?;
            }
        }
        Ok(())
    }

    /// Whether a push may end here: nothing is under way.
    pub fn is_at_rest(&self) -> bool {
        self.buffer.is_empty() && self.dropping == 0
    }

    /// The head of the box under way, once it is whole.
    fn head(&self) -> Result<Option<BoxHead>, Malformed> {
        BoxHead::parse(&self.buffer[self.box_at..]).map_err(|error| error.shifted(self.offset()))
    }

    /// Bytes that the head needs before more can be said.
    fn head_wants(&self) -> usize {
        let have = self.buffer.len() - self.box_at;
        if have < 8 { 8 - have } else { HEAD_MAX - have }
    }

    /// Offset of the box under way, in bytes of the push.
    fn offset(&self) -> u64 {
        self.taken + self.box_at as u64
    }

    fn malformed(&self, kind: FourCc, what: impl Into<String>) -> Malformed {
        Malformed::new(what.into(), self.offset()).within(kind)
    }

    /// The head of a box came: is the box welcome?
    fn has_head(&mut self, events: &mut Vec<Event>) -> Result<(), Malformed> {
        let Some(head) = self.head()? else { return Ok(()) };
        let Some(size) = head.size else {
            return Err(self.malformed(head.kind, "a box without a size, which would never end"));
        };
        let end = (self.box_at as u64).saturating_add(size);
        let bounded = |max: u64| {
            let too_large =
                || self.malformed(head.kind, format!("{end} bytes gathered with it, at most {max} are taken"));
            if end > max { Err(too_large()) } else { Ok(()) }
        };
        let misplaced = || {
            let what = "it does not belong here: a moof is followed by its mdat, an ftyp by its moov";
            self.malformed(head.kind, what)
        };
        match &head.kind.0 {
            b"ftyp" if self.box_at == 0 => bounded(INIT_BYTES_MAX)?,
            b"moov" if self.moof.is_none() => bounded(INIT_BYTES_MAX)?,
            b"styp" | b"prft" | b"emsg" | b"moof" if self.moof.is_none() && !self.begins_with_ftyp() => {
                bounded(HEAD_BYTES_MAX)?
            }
            b"mdat" if self.moof.is_some() => {
                bounded(CHUNK_BYTES_MAX)?;
                let mut piece = self.room.of(end as usize);
                piece.extend_from_slice(&self.buffer);
                self.buffer = piece;
            }
            b"mdat" => return Err(self.malformed(head.kind, "media without a moof before it")),
            b"ftyp" | b"moov" | b"moof" | b"styp" => return Err(misplaced()),
            b"mfra" if self.moof.is_some() => return Err(misplaced()),
            _ if self.moof.is_some() => bounded(HEAD_BYTES_MAX)?,
            _ if size > DROPPED_BYTES_MAX => {
                return Err(self.malformed(head.kind, format!("a box of {size} bytes that no CMAF track has")));
            }
            kind => {
                if kind == b"mfra" {
                    events.push(Event::End);
                }
                let have = (self.buffer.len() - self.box_at) as u64;
                self.buffer.truncate(self.box_at);
                self.taken += have;
                self.dropping = size - have;
                return Ok(());
            }
        }
        if size == (self.buffer.len() - self.box_at) as u64 {
            self.has_box(head, events)?;
        }
        Ok(())
    }

    fn begins_with_ftyp(&self) -> bool {
        self.box_at > 0 && self.buffer.get(4..8) == Some(b"ftyp")
    }

    /// A box is whole.
    fn has_box(&mut self, head: BoxHead, events: &mut Vec<Event>) -> Result<(), Malformed> {
        let whole = self.box_at..self.buffer.len();
        match &head.kind.0 {
            b"moov" => {
                // It is kept for longer than chunks: of exactly its size.
                let bytes = Bytes::copy_from_slice(&self.take());
                events.push(Event::Init(bytes));
                return Ok(());
            }
            b"mdat" => {
                let moof =
                    self.moof.take().ok_or_else(|| self.malformed(head.kind, "media without a moof before it"))?;
                let is_last = std::mem::take(&mut self.is_last);
                let bytes = self.take();
                events.push(Event::Chunk(RawChunk { bytes, moof, is_last }));
                return Ok(());
            }
            b"moof" => {
                if let Some(flags) = flags_without_base(&self.buffer[whole.clone()]) {
                    self.buffer[whole.start + flags] |= BASE_IS_MOOF;
                }
                self.moof = Some(whole.clone());
            }
            b"styp" => {
                // major_brand, minor_version, compatible_brands.
                let (brands, _) = self.buffer[whole.start + usize::from(head.head_len)..].as_chunks::<4>();
                self.is_last |= brands.iter().enumerate().any(|(index, brand)| index != 1 && brand == b"lmsg");
            }
            _ => {}
        }
        self.box_at = whole.end;
        Ok(())
    }

    fn take(&mut self) -> Bytes {
        self.taken += self.buffer.len() as u64;
        self.box_at = 0;
        std::mem::take(&mut self.buffer).freeze()
    }
}

/// Of `moof`, whose only track fragment says of no base, where the first byte of its `tfhd`'s flags stands: offsets count from the `moof` then as
/// if [`BASE_IS_MOOF`] were there (ISO/IEC 14496-12 §8.8.7.1), which DASH asks for (ISO/IEC 23009-1 §6.3.4.2).
fn flags_without_base(moof: &[u8]) -> Option<usize> {
    let moof = Boxes::new(moof, 0).next()?.ok()?;
    let mut trafs = moof.children().filter_map(Result::ok).filter(|child| child.kind.0 == *b"traf");
    let traf = trafs.next().filter(|_| trafs.next().is_none())?;
    let tfhd = traf.children().find_map(|child| child.ok().filter(|child| child.kind.0 == *b"tfhd"))?;
    let (_, flags) = tfhd.fields().version_and_flags().ok()?;
    const BASE_DATA_OFFSET: u32 = 1;
    let says_none = flags & (u32::from(BASE_IS_MOOF) << 16 | BASE_DATA_OFFSET) == 0;
    says_none.then_some(tfhd.payload_offset() as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::write_box;
    use proptest::prelude::*;

    fn of_box(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, kind, |out| out.extend_from_slice(payload));
        out
    }

    fn received(pieces: &[&[u8]]) -> (Vec<Event>, Result<(), Malformed>, bool) {
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        for piece in pieces {
            if let Err(error) = receiver.push(piece, &mut events) {
                return (events, Err(error), false);
            }
        }
        (events, Ok(()), receiver.is_at_rest())
    }

    fn push() -> Vec<u8> {
        [
            of_box(b"ftyp", b"iso6\0\0\0\0cmfc"),
            of_box(b"moov", &[1; 40]),
            of_box(b"sidx", &[2; 30]),
            of_box(b"styp", b"msdh\0\0\0\0msix"),
            of_box(b"prft", &[3; 24]),
            of_box(b"moof", &[4; 9]),
            of_box(b"mdat", &[5; 100]),
            of_box(b"styp", b"msdh\0\0\0\0lmsg"),
            of_box(b"moof", &[]),
            // A size of 64 bits.
            [&[0, 0, 0, 1][..], b"mdat", &[0, 0, 0, 0, 0, 0, 0, 20], &[6; 4]].concat(),
            of_box(b"mfra", &[7; 16]),
        ]
        .concat()
    }

    #[test]
    fn a_push_is_an_init_and_chunks_as_they_came() {
        let whole = push();
        let (events, result, rests) = received(&[&whole]);
        assert_eq!((result, rests), (Ok(()), true));
        let [Event::Init(init), Event::Chunk(first), Event::Chunk(second), Event::End] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(init.len(), 20 + 48);
        assert_eq!(&first.bytes[first.moof.clone()][4..8], b"moof");
        assert_eq!(first.bytes[..8], [0, 0, 0, 20, b's', b't', b'y', b'p']);
        assert!(!first.is_last && second.is_last);
        assert_eq!(second.bytes.len(), 20 + 8 + 20);
    }

    #[test]
    fn what_lay_between_a_moof_and_its_mdat_was_dropped_and_its_media_moved() {
        let between = [of_box(b"moof", &[4; 9]), of_box(b"free", &[0; 5]), of_box(b"mdat", &[5; 10])].concat();
        let pushed = [of_box(b"free", &[0; 7]), between.clone()].concat();
        let (events, result, rests) = received(&[&pushed]);
        assert_eq!((result, rests), (Ok(()), true));
        let [Event::Chunk(chunk)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((&chunk.bytes[..], chunk.moof.clone()), (&between[..], 0..17));
    }

    #[test]
    fn a_size_near_the_largest_was_taken_for_a_small_one_and_gathered_without_end() {
        for size in [u64::MAX, u64::MAX - 40] {
            let head = [&[0, 0, 0, 1][..], b"moov", &size.to_be_bytes()].concat();
            let (events, result, _) = received(&[&of_box(b"ftyp", b"iso6\0\0\0\0cmfc"), &head, &[7; 100]]);
            let said = result.expect_err("nobody takes so much").to_string();
            assert!(events.is_empty() && said.contains("bytes gathered with it"), "{said}");
        }
    }

    /// As GStreamer's mp4mux writes them.
    #[test]
    fn offsets_count_from_the_moof_and_a_chunk_that_does_not_say_so_is_made_to() {
        let chunk = |flags: [u8; 3], trafs: usize| {
            let tfhd = of_box(b"tfhd", &[&[0][..], &flags, &[0; 12]].concat());
            let traf = of_box(b"traf", &tfhd);
            [of_box(b"moof", &[of_box(b"mfhd", &[0; 8]), traf.repeat(trafs)].concat()), of_box(b"mdat", &[5; 10])]
                .concat()
        };
        let check = |flags: [u8; 3], trafs: usize, expected: [u8; 3]| {
            let (events, result, _) = received(&[&chunk(flags, trafs)]);
            let [Event::Chunk(taken)] = &events[..] else { panic!("{result:?}") };
            assert_eq!(taken.bytes, chunk(expected, trafs));
        };
        check([0, 0, 0x38], 1, [2, 0, 0x38]);
        check([2, 0, 0x38], 1, [2, 0, 0x38]);
        check([0, 0, 0x01], 1, [0, 0, 0x01]);
        check([0, 0, 0x38], 2, [0, 0, 0x38]);
    }

    #[test]
    fn what_does_not_belong_says_where() {
        let check = |bytes: Vec<u8>, expected: &str| {
            let (_, result, _) = received(&[&bytes]);
            assert_eq!(result.expect_err("refused").to_string(), expected);
        };
        check(of_box(b"mdat", &[0; 8]), "media without a moof before it (mdat at 0x0)");
        check(
            [of_box(b"styp", b"msdh\0\0\0\0"), of_box(b"moof", &[0; 4]), of_box(b"moof", &[])].concat(),
            "it does not belong here: a moof is followed by its mdat, an ftyp by its moov (moof at 0x1c)",
        );
        check(
            [of_box(b"moof", &[0; 4]), of_box(b"mfra", &[])].concat(),
            "it does not belong here: a moof is followed by its mdat, an ftyp by its moov (mfra at 0xc)",
        );
        check([0, 0, 0, 0, b'm', b'o', b'o', b'f'].into(), "a box without a size, which would never end (moof at 0x0)");
        check(
            [0xff, 0, 0, 0, b'm', b'o', b'o', b'v'].into(),
            "4278190080 bytes gathered with it, at most 1048576 are taken (moov at 0x0)",
        );
        check(b"GET / HTTP/1.1\r\n\r\n".to_vec(), "a box of 1195725856 bytes that no CMAF track has (/ HT at 0x0)");
    }

    proptest! {
        #[test]
        fn however_it_is_split_the_events_are_the_same(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
            let whole = push();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            at.extend([0, whole.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            prop_assert_eq!(received(&pieces), received(&[&whole]));
        }

        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>()) {
            let at = cut.index(bytes.len() + 1);
            prop_assert_eq!(received(&[&bytes[..at], &bytes[at..]]), received(&[&bytes]));
        }
    }
}
