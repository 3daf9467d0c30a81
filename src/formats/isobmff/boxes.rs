//! Walking boxes (ISO/IEC 14496-12 §4.2), and writing them.
//!
//! ```text
//!   size:u32 type:4cc [largesize:u64 if size = 1] [usertype:16 if type = uuid] payload…
//! ```

use std::fmt;

use crate::formats::error::Malformed;
use crate::formats::fields::Fields;

/// A four-character code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&b| match b {
            b' '..=b'~' => write!(f, "{}", b as char),
            _ => write!(f, "\\x{b:02x}"),
        })
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

/// The head of a box: enough to pass over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BoxHead {
    /// The box's type.
    pub kind: FourCc,
    /// Bytes of the head itself: 8 or 16.
    pub head_len: u8,
    /// Bytes of the whole box, head included; `None` if it runs to the end of the file (`size` = 0).
    pub size: Option<u64>,
}

/// Bytes that the longest head takes.
pub const HEAD_MAX: usize = 16;

impl BoxHead {
    /// Reads the head that `bytes` begin with; `Ok(None)` if more bytes are needed, an error if the size cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Option<BoxHead>, Malformed> {
        let mut fields = Fields::new(bytes, 0);
        let (Ok(size), Ok(kind)) = (fields.u32(), fields.take(4)) else { return Ok(None) };
        let kind = FourCc([kind[0], kind[1], kind[2], kind[3]]);
        let (head_len, size) = match size {
            0 => (8, None),
            1 => match fields.u64() {
                Ok(size) => (16, Some(size)),
                Err(_) => return Ok(None),
            },
            size => (8, Some(u64::from(size))),
        };
        match size {
            Some(size) if size < u64::from(head_len) => {
                Err(Malformed::new(format!("a box of {size} bytes is smaller than its own head"), 0).within(kind))
            }
            _ => Ok(Some(BoxHead { kind, head_len, size })),
        }
    }
}

/// A box that lies whole in memory.
#[derive(Clone, Copy, Debug)]
pub struct BoxRef<'a> {
    /// The box's type.
    pub kind: FourCc,
    /// Where the box begins, as errors count.
    pub offset: u64,
    head_len: usize,
    bytes: &'a [u8],
}

impl<'a> BoxRef<'a> {
    /// The whole box, head included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the head.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.head_len..]
    }

    /// Offset of the payload, as errors count.
    pub fn payload_offset(&self) -> u64 {
        self.offset + self.head_len as u64
    }

    /// A cursor over the payload.
    pub fn fields(&self) -> Fields<'a> {
        Fields::new(self.payload(), self.payload_offset())
    }

    /// The boxes in the payload.
    pub fn children(&self) -> Boxes<'a> {
        self.children_after(0)
    }

    /// The boxes in the payload after `skip` bytes of fields; none if the payload is shorter.
    pub fn children_after(&self, skip: usize) -> Boxes<'a> {
        let payload = self.payload();
        let skip = skip.min(payload.len());
        Boxes::new(&payload[skip..], self.payload_offset() + skip as u64)
    }

    /// The first child of type `kind`.
    pub fn child(&self, kind: &[u8; 4]) -> Result<Option<BoxRef<'a>>, Malformed> {
        find(self.children(), kind).map_err(|e| e.within(self.kind))
    }

    /// The first child of type `kind`, or an error that names it.
    pub fn required(&self, kind: &[u8; 4]) -> Result<BoxRef<'a>, Malformed> {
        self.child(kind)?
            .ok_or_else(|| Malformed::new(format!("no {} box", FourCc(*kind)), self.offset).within(self.kind))
    }
}

/// The first box of type `kind` among `boxes`.
pub fn find<'a>(boxes: Boxes<'a>, kind: &[u8; 4]) -> Result<Option<BoxRef<'a>>, Malformed> {
    for b in boxes {
        let b = b?;
        if b.kind.0 == *kind {
            return Ok(Some(b));
        }
    }
    Ok(None)
}

/// The boxes that tile a slice, in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Boxes<'a> {
    rest: &'a [u8],
    offset: u64,
}

impl<'a> Boxes<'a> {
    /// The boxes of `bytes`, which begin at `offset` of what errors count from.
    pub fn new(bytes: &'a [u8], offset: u64) -> Boxes<'a> {
        Boxes { rest: bytes, offset }
    }

    fn step(&mut self) -> Result<BoxRef<'a>, Malformed> {
        let left = self.rest.len();
        let head = BoxHead::parse(self.rest)?
            .ok_or_else(|| Malformed::new(format!("{left} stray bytes, too few for a box"), 0))?;
        let size = head.size.unwrap_or(left as u64);
        if size > left as u64 {
            return Err(
                Malformed::new(format!("a box of {size} bytes, {left} left in what holds it"), 0).within(head.kind)
            );
        }
        let (bytes, rest) = self.rest.split_at(size as usize);
        let found = BoxRef { kind: head.kind, offset: self.offset, head_len: head.head_len.into(), bytes };
        self.rest = rest;
        self.offset += size;
        Ok(found)
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<BoxRef<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.step().map_err(|error| {
            self.rest = &[];
            error.shifted(self.offset)
        }))
    }
}

/// Appends a box of type `kind` whose payload `write` appends; its size is filled in afterwards.
pub fn write_box(out: &mut Vec<u8>, kind: &[u8; 4], write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    write(out);
    let size = u32::try_from(out.len() - start).expect("boxes we write hold no media and stay below 4 GiB");
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

/// Appends a FullBox.
pub fn write_full_box(out: &mut Vec<u8>, kind: &[u8; 4], version: u8, flags: u32, write: impl FnOnce(&mut Vec<u8>)) {
    write_box(out, kind, |out| {
        out.extend_from_slice(&(u32::from(version) << 24 | flags).to_be_bytes());
        write(out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A box, and either its bytes or the boxes in it.
    #[derive(Clone, Debug, PartialEq)]
    enum Tree {
        Leaf([u8; 4], Vec<u8>),
        Node([u8; 4], Vec<Tree>),
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let kind = prop::array::uniform4(b'a'..=b'z');
        let leaf =
            (kind.clone(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(k, bytes)| Tree::Leaf(k, bytes));
        leaf.prop_recursive(4, 40, 6, move |inner| {
            (kind.clone(), prop::collection::vec(inner, 0..6)).prop_map(|(k, trees)| Tree::Node(k, trees))
        })
    }

    fn write(out: &mut Vec<u8>, tree: &Tree) {
        match tree {
            Tree::Leaf(kind, bytes) => write_box(out, kind, |out| out.extend_from_slice(bytes)),
            Tree::Node(kind, trees) => write_box(out, kind, |out| trees.iter().for_each(|tree| write(out, tree))),
        }
    }

    /// What lies in `b`, read as `like` is.
    fn read(b: BoxRef<'_>, like: &Tree) -> Tree {
        match like {
            Tree::Leaf(..) => Tree::Leaf(b.kind.0, b.payload().to_vec()),
            Tree::Node(_, trees) => {
                let children: Vec<_> = b.children().map(|child| child.expect("well formed")).collect();
                assert_eq!(children.len(), trees.len());
                Tree::Node(b.kind.0, children.into_iter().zip(trees).map(|(child, tree)| read(child, tree)).collect())
            }
        }
    }

    proptest! {
        #[test]
        fn any_tree_that_is_written_is_walked(tree in trees()) {
            let mut out = Vec::new();
            write(&mut out, &tree);
            let mut boxes = Boxes::new(&out, 0);
            let root = boxes.next().expect("one").expect("well formed");
            prop_assert_eq!(root.bytes().len(), out.len());
            prop_assert!(boxes.next().is_none());
            prop_assert_eq!(read(root, &tree), tree);
        }
    }

    #[test]
    fn what_is_written_is_walked() {
        let mut out = Vec::new();
        write_box(&mut out, b"moof", |out| {
            write_full_box(out, b"mfhd", 0, 0, |out| out.extend_from_slice(&7u32.to_be_bytes()));
        });
        let moof = find(Boxes::new(&out, 0), b"moof").expect("well formed").expect("there");
        let mut mfhd = moof.required(b"mfhd").expect("there").fields();
        assert_eq!(mfhd.version_and_flags(), Ok((0, 0)));
        assert_eq!(mfhd.u32(), Ok(7));
        assert_eq!(moof.required(b"traf").unwrap_err().to_string(), "no traf box (moof at 0x0)");
    }

    #[test]
    fn sizes_that_cannot_be() {
        let too_small = [0, 0, 0, 7, b'f', b'r', b'e', b'e'];
        let error = Boxes::new(&too_small, 16).next().expect("an error").expect_err("too small");
        assert_eq!(error.to_string(), "a box of 7 bytes is smaller than its own head (free at 0x10)");
        let too_large = [0, 0, 0, 9, b'f', b'r', b'e', b'e'];
        let error = Boxes::new(&too_large, 0).next().expect("an error").expect_err("too large");
        assert_eq!(error.to_string(), "a box of 9 bytes, 8 left in what holds it (free at 0x0)");
        let mut stray = Boxes::new(&[0; 3], 0);
        assert!(stray.next().expect("an error").is_err());
        assert!(stray.next().is_none());
    }

    #[test]
    fn a_box_of_size_zero_runs_to_the_end() {
        let bytes = [0, 0, 0, 0, b'm', b'd', b'a', b't', 1, 2];
        let mdat = Boxes::new(&bytes, 0).next().expect("one").expect("well formed");
        assert_eq!(mdat.payload(), [1, 2]);
    }
}
