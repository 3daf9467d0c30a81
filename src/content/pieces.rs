//! A file that is put together of ranges of others, which are not copied for it.
//!
//! ```text
//!   headwater pieces 1
//!   00000012.spool 4096 80000        file in the same folder, first byte, byte after the last
//!   00000012.spool 81000 90000
//! ```

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The first line.
const HEAD: &str = "headwater pieces 1";
/// The extension of such files.
pub const EXTENSION: &str = "pieces";
/// A longer list was not written by us: a day of chunks of a fifth of a second.
const BYTES_MAX: u64 = 32 << 20;
/// Bytes of all pieces together: offsets stay far from the end of their type.
const LEN_MAX: u64 = 1 << 48;

/// Ranges of files, one after another.
#[derive(Debug)]
pub struct Pieces {
    files: Vec<PathBuf>,
    pieces: Vec<Piece>,
    len: u64,
}

#[derive(Debug)]
struct Piece {
    /// Where it begins in the whole.
    start: u64,
    file: u32,
    range: Range<u64>,
}

/// Whether `path` is a list of pieces.
pub fn is_list(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

/// Writes the list of `pieces`: names of files in its folder, and bytes of each.
pub fn written<'a>(pieces: impl IntoIterator<Item = (&'a str, Range<u64>)>) -> String {
    let lines = pieces.into_iter().map(|(name, range)| format!("{name} {} {}\n", range.start, range.end));
    std::iter::once(format!("{HEAD}\n")).chain(lines).collect()
}

impl Pieces {
    /// Reads the list at `path`. Blocks.
    pub fn read(path: &Path) -> io::Result<Pieces> {
        let len = std::fs::metadata(path)?.len();
        if len > BYTES_MAX {
            return Err(io::Error::other(format!("a list of {len} bytes, at most {BYTES_MAX} are read")));
        }
        let text = std::fs::read_to_string(path)?;
        Pieces::parse(&text, path.parent().unwrap_or(Path::new(""))).map_err(io::Error::other)
    }

    fn parse(text: &str, folder: &Path) -> Result<Pieces, String> {
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(format!("it does not begin with {HEAD:?}"));
        }
        let mut all = Pieces { files: Vec::new(), pieces: Vec::new(), len: 0 };
        for (number, line) in (2..).zip(lines) {
            let wrong = |what: &str| format!("line {number}: {what}");
            let fields: Vec<&str> = line.split(' ').collect();
            let [name, from, until] = fields[..] else { return Err(wrong("a name and two numbers are wanted")) };
            if name.is_empty() || name.starts_with('.') || name.contains('/') {
                return Err(wrong("the file has to lie in the same folder"));
            }
            let offset = |text: &str| text.parse::<u64>().map_err(|_| wrong("an offset is a number of bytes"));
            let range = offset(from)?..offset(until)?;
            let len = range.end.checked_sub(range.start).ok_or_else(|| wrong("it ends before it begins"))?;
            let path = folder.join(name);
            // The last is the likeliest.
            let file = all.files.iter().rposition(|file| *file == path).unwrap_or_else(|| {
                all.files.push(path);
                all.files.len() - 1
            });
            all.pieces.push(Piece { start: all.len, file: file as u32, range });
            all.len += len;
            if all.len > LEN_MAX {
                return Err(wrong("more bytes than a disk has"));
            }
        }
        Ok(all)
    }

    /// Bytes of all of them.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of memory that it keeps.
    pub fn weight(&self) -> usize {
        self.pieces.capacity() * size_of::<Piece>() + self.files.len() * 256
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the bytes of `range` lie: files, and ranges of them.
    pub fn places(&self, range: Range<u64>) -> impl Iterator<Item = (&Path, Range<u64>)> {
        let first = self.pieces.partition_point(|piece| piece.start <= range.start).saturating_sub(1);
        let inside =
            self.pieces[first.min(self.pieces.len())..].iter().take_while(move |piece| piece.start < range.end);
        inside.filter_map(move |piece| {
            let from = piece.range.start + range.start.saturating_sub(piece.start);
            let until = piece.range.end.min(piece.range.start.saturating_add(range.end - piece.start));
            (from < until).then(|| (self.files[piece.file as usize].as_path(), from..until))
        })
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut rest = buffer;
        let mut open: Option<(&Path, File)> = None;
        for (path, range) in self.places(offset..offset + rest.len() as u64) {
            let (own, after) = rest.split_at_mut((range.end - range.start) as usize);
            if open.as_ref().is_none_or(|(known, _)| *known != path) {
                open = Some((path, File::open(path)?));
            }
            if let Some((_, file)) = &open {
                file.read_exact_at(own, range.start)?;
            }
            rest = after;
        }
        if rest.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_like_one_file() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("a"), b"0123456789").expect("written");
        std::fs::write(dir.path().join("b"), b"abcdef").expect("written");
        let list = dir.path().join("x.pieces");
        std::fs::write(&list, written([("a", 2..5), ("b", 1..1), ("b", 3..6), ("a", 9..10)])).expect("written");
        let pieces = Pieces::read(&list).expect("read");
        let whole = b"234def9";
        assert_eq!(pieces.len(), whole.len() as u64);
        for from in 0..=whole.len() {
            for until in from..=whole.len() {
                let mut buffer = vec![0; until - from];
                pieces.read_exact_at(&mut buffer, from as u64).expect("inside");
                assert_eq!(buffer, whole[from..until], "{from}..{until}");
            }
        }
        assert!(pieces.read_exact_at(&mut [0; 2], 6).is_err());
    }

    #[test]
    fn what_is_no_list_says_where() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Pieces::parse(text, Path::new("")).expect_err("no list"), expected);
        };
        check("", "it does not begin with \"headwater pieces 1\"");
        check("headwater pieces 1\na 1", "line 2: a name and two numbers are wanted");
        check("headwater pieces 1\na 1 2\n../b 1 2", "line 3: the file has to lie in the same folder");
        check("headwater pieces 1\na x 2", "line 2: an offset is a number of bytes");
        check("headwater pieces 1\na 3 2", "line 2: it ends before it begins");
        check("headwater pieces 1\na 0 18446744073709551615", "line 2: more bytes than a disk has");
    }
}
