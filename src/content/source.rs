//! Reading ranges of files, and noticing when a file is not the one that was looked at.
//!
//! Local files are read with `pread`, never mapped: a mapped file that shrinks ends the process (SIGBUS).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use crate::content::file::{SourceError, Stamp};
use crate::content::line::Line;
use crate::content::pieces::{self, Pieces};
use crate::content::remote::object::Object;
use crate::content::storage::{OpenFile, Storage};
use crate::media::sample::SourceRange;
use crate::sys::{self, Wait};

/// Up to so many files of a source are kept open, so that the bytes of a replaced file can still be read; the segment files
/// of an existing packaging are opened for each read.
const OPEN_FILES_MAX: usize = 32;

/// How long a read of a local file waits for its turn: a player gives up after about as long.
const TURN_WAIT: Duration = Duration::from_secs(20);

/// One file of a source.
#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    stamp: Stamp,
    bytes: FileBytes,
}

/// Where the bytes of a file are.
#[derive(Debug)]
enum FileBytes {
    /// In the file, which may be kept open.
    OnDisk(Option<File>),
    /// In memory: what was made of it.
    Made(Bytes),
    /// In other files, which the one on disk lists.
    Pieces(Pieces),
    /// In a storage elsewhere.
    Remote(Arc<Object>),
}

impl SourceFile {
    fn len(&self) -> u64 {
        match &self.bytes {
            FileBytes::OnDisk(_) | FileBytes::Remote(_) => self.stamp.len,
            FileBytes::Made(bytes) => bytes.len() as u64,
            FileBytes::Pieces(pieces) => pieces.len(),
        }
    }
}

/// The files that a presentation is made of, as they were when it was opened.
#[derive(Debug)]
pub struct Source {
    files: Vec<SourceFile>,
}

impl Source {
    /// Opens the files at `paths` in `storage`.
    pub fn open(storage: &Storage, paths: &[PathBuf]) -> Result<Source, SourceError> {
        let keep = paths.len() <= OPEN_FILES_MAX;
        let open = |path: &PathBuf| {
            let (stamp, opened) = storage.open(path)?;
            let bytes = match opened {
                OpenFile::Local(_) if pieces::is_list(path) => {
                    let failed = |error| SourceError::Io { path: path.clone(), error };
                    FileBytes::Pieces(Pieces::read(path).map_err(failed)?)
                }
                OpenFile::Local(file) => FileBytes::OnDisk(keep.then_some(file)),
                OpenFile::Remote(object) => FileBytes::Remote(object),
            };
            Ok(SourceFile { path: path.clone(), stamp, bytes })
        };
        Ok(Source { files: paths.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// The index that the next file will have.
    pub fn next_file(&self) -> u32 {
        self.files.len() as u32
    }

    /// Adds a file of which only `bytes`, made of what it held when `stamp` was taken, are ever read; returns its index.
    pub fn add_made(&mut self, path: PathBuf, stamp: Stamp, bytes: Bytes) -> u32 {
        self.files.push(SourceFile { path, stamp, bytes: FileBytes::Made(bytes) });
        self.files.len() as u32 - 1
    }

    /// Bytes of memory that it keeps, and a guess at what its open files cost.
    pub fn weight(&self) -> usize {
        // An open file costs the kernel about as much again as it does us.
        let made = |file: &SourceFile| match &file.bytes {
            FileBytes::OnDisk(_) | FileBytes::Remote(_) => 512,
            FileBytes::Pieces(pieces) => pieces.weight(),
            FileBytes::Made(bytes) => bytes.len() + 128,
        };
        self.files.iter().map(made).sum()
    }

    /// Bytes that were made, of all files.
    pub fn made_bytes(&self) -> usize {
        let made = |file: &SourceFile| match &file.bytes {
            FileBytes::OnDisk(_) | FileBytes::Remote(_) | FileBytes::Pieces(_) => 0,
            FileBytes::Made(bytes) => bytes.len(),
        };
        self.files.iter().map(made).sum()
    }

    /// How many of them are kept open.
    pub fn open_files(&self) -> usize {
        self.files.iter().filter(|file| matches!(file.bytes, FileBytes::OnDisk(Some(_)))).count()
    }

    /// Bytes of file `index`.
    pub fn file_len(&self, index: u32) -> u64 {
        self.files[index as usize].len()
    }

    /// What file `index` was like when it was opened.
    pub fn stamp(&self, index: u32) -> Stamp {
        self.files[index as usize].stamp
    }

    /// Path of file `index`.
    pub fn path(&self, index: u32) -> &Path {
        &self.files[index as usize].path
    }

    /// The latest modification of any file, in seconds since 1970.
    pub fn modified_s(&self) -> u64 {
        let latest = self.files.iter().map(|file| file.stamp.modified_ns).max().unwrap_or(0);
        u64::try_from(latest / 1_000_000_000).unwrap_or(0)
    }

    /// Whether the paths still lead to the very files that were opened.
    pub fn is_current(&self) -> bool {
        self.files.iter().all(|file| Stamp::at(&file.path).is_ok_and(|stamp| stamp == file.stamp))
    }

    /// The bytes of `ranges`, one after another, in one allocation. Blocks.
    pub fn read(&self, ranges: &[SourceRange]) -> Result<Bytes, SourceError> {
        match self.a_remote(ranges) {
            Some(object) => self.read_known(object, ranges),
            None => Ok(self.fill(ranges, Wait::Allowed)?.expect("a blocking read reads all or fails")),
        }
    }

    /// What the storage that holds file `index` says tells its bytes from all others, if it says so.
    pub fn tag(&self, index: u32) -> Option<&str> {
        match &self.files[index as usize].bytes {
            FileBytes::Remote(object) => object.strong_tag(),
            FileBytes::OnDisk(_) | FileBytes::Made(_) | FileBytes::Pieces(_) => None,
        }
    }

    /// The same if all of it lies in the page cache, at once and without blocking; `None` if the disk has to be asked.
    pub fn read_cached(&self, ranges: &[SourceRange]) -> Result<Option<Bytes>, SourceError> {
        self.fill(ranges, Wait::Forbidden)
    }

    /// `read`, by `read_cached` where that does and where not on a thread that may block, after those who came before in `line`.
    pub async fn read_soon(self: &Arc<Self>, ranges: Vec<SourceRange>, line: &Line) -> Result<Bytes, SourceError> {
        if self.a_remote(&ranges).is_some() {
            return self.read_remote(&ranges).await;
        }
        if let Some(bytes) = self.read_cached(&ranges)? {
            return Ok(bytes);
        }
        let Ok(Some(_turn)) = tokio::time::timeout(TURN_WAIT, line.turn()).await else {
            let file = ranges.first().map_or(0, |range| range.file);
            return Err(SourceError::Busy { path: self.path(file).to_path_buf() });
        };
        let source = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || source.read(&ranges));
        read.await.expect("reading does not panic, and the runtime outlives its requests")
    }

    /// Whether some of `ranges` lie in a storage elsewhere.
    pub fn is_far(&self, ranges: &[SourceRange]) -> bool {
        self.a_remote(ranges).is_some()
    }

    /// An object among the files of `ranges`.
    fn a_remote(&self, ranges: &[SourceRange]) -> Option<&Arc<Object>> {
        ranges.iter().find_map(|range| match &self.files[range.file as usize].bytes {
            FileBytes::Remote(object) => Some(object),
            FileBytes::OnDisk(_) | FileBytes::Made(_) | FileBytes::Pieces(_) => None,
        })
    }

    /// `read_remote` while opening, on a thread that may block: what was read by an earlier opening is known, and this will be.
    fn read_known(&self, object: &Object, ranges: &[SourceRange]) -> Result<Bytes, SourceError> {
        self.within(ranges)?;
        let known = |SourceRange { file, range }: &SourceRange| match &self.files[*file as usize].bytes {
            FileBytes::Remote(object) => object.known(range.start, (range.end - range.start) as usize),
            FileBytes::Made(bytes) => Some(bytes[range.start as usize..range.end as usize].to_vec()),
            FileBytes::OnDisk(_) | FileBytes::Pieces(_) => None,
        };
        if let Some(all) = ranges.iter().map(known).collect::<Option<Vec<_>>>() {
            let exactly = all.iter().zip(ranges).map(|(bytes, range)| &bytes[..range.len() as usize]);
            return Ok(Bytes::from(exactly.collect::<Vec<_>>().concat()));
        }
        let bytes = object.wait(self.read_remote(ranges))?;
        let mut from = 0;
        for range in ranges {
            let until = from + range.len() as usize;
            if let FileBytes::Remote(object) = &self.files[range.file as usize].bytes {
                object.note(range.range.start, &bytes[from..until]);
            }
            from = until;
        }
        Ok(bytes)
    }

    /// `read`, where files are in a storage: what lies near each other in one is asked for at once.
    async fn read_remote(&self, ranges: &[SourceRange]) -> Result<Bytes, SourceError> {
        self.within(ranges)?;
        let joined = join_near(ranges);
        let read = |wanted: SourceRange| async move {
            let SourceRange { file, range } = wanted;
            match &self.files[file as usize].bytes {
                FileBytes::Remote(object) => object.read(range).await,
                FileBytes::Made(bytes) => Ok(bytes.slice(range.start as usize..range.end as usize)),
                FileBytes::OnDisk(_) | FileBytes::Pieces(_) => {
                    unreachable!("the files of one source are in one storage")
                }
            }
        };
        let reads = futures_util::stream::iter(joined.iter().cloned().map(read)).buffered(READS_AT_ONCE);
        let read: Vec<Bytes> = reads.try_collect().await?;
        // One read of all that is wanted is shared, not copied.
        if let ([bytes], true) = (&read[..], joined == ranges) {
            return Ok(bytes.clone());
        }
        let mut buffer = Vec::with_capacity(ranges.iter().map(|range| range.len() as usize).sum());
        for wanted in ranges {
            let (file, start) = (wanted.file, wanted.range.start);
            let after = joined.partition_point(|joined| (joined.file, joined.range.start) <= (file, start));
            let at = after.checked_sub(1).expect("joined ranges hold those they were joined of");
            let start = (start - joined[at].range.start) as usize;
            buffer.extend_from_slice(&read[at][start..start + wanted.len() as usize]);
        }
        Ok(Bytes::from(buffer))
    }

    /// Reads file `index`, not one of those made, from front to back, a window at a time.
    pub fn window(&self, index: u32) -> Result<Window<'_>, SourceError> {
        let file = &self.files[index as usize];
        let failed = |error| SourceError::Io { path: file.path.clone(), error };
        let handle = match &file.bytes {
            FileBytes::OnDisk(Some(handle)) => Handle::Local(handle.try_clone().map_err(failed)?),
            FileBytes::OnDisk(None) | FileBytes::Made(_) => Handle::Local(File::open(&file.path).map_err(failed)?),
            FileBytes::Remote(object) => Handle::Remote(Arc::clone(object)),
            FileBytes::Pieces(_) => Handle::Pieces,
        };
        Ok(Window { file, handle, start: 0, filled: 0, bytes: Vec::new(), ahead: REMOTE_WINDOW_BYTES })
    }

    /// That no range ends after its file does.
    fn within(&self, ranges: &[SourceRange]) -> Result<(), SourceError> {
        for range in ranges {
            let file = &self.files[range.file as usize];
            if range.range.end > file.len() {
                let (offset, wanted) = (range.range.start, range.len());
                return Err(SourceError::Short { path: file.path.clone(), offset, wanted });
            }
        }
        Ok(())
    }

    fn fill(&self, ranges: &[SourceRange], wait: Wait) -> Result<Option<Bytes>, SourceError> {
        let total: u64 = ranges.iter().map(SourceRange::len).sum();
        self.within(ranges)?;
        // What is in memory already is shared, not copied.
        if let [SourceRange { file, range }] = ranges
            && let FileBytes::Made(bytes) = &self.files[*file as usize].bytes
        {
            return Ok(Some(bytes.slice(range.start as usize..range.end as usize)));
        }
        let mut buffer = Vec::with_capacity(total as usize);
        for of_file in ranges.chunk_by(|a, b| a.file == b.file) {
            let file = &self.files[of_file[0].file as usize];
            let opened;
            let handle = match &file.bytes {
                FileBytes::Made(bytes) => {
                    let made = |range: &SourceRange| &bytes[range.range.start as usize..range.range.end as usize];
                    of_file.iter().for_each(|range| buffer.extend_from_slice(made(range)));
                    continue;
                }
                FileBytes::Pieces(pieces) => {
                    for (path, range) in of_file.iter().flat_map(|range| pieces.places(range.range.clone())) {
                        let piece = File::open(path).map_err(|_| SourceError::Replaced { path: path.to_path_buf() })?;
                        if !append(&piece, &mut buffer, &range, wait, path)? {
                            return Ok(None);
                        }
                    }
                    // What is appended to a file changes none of its pieces: the list says what they are.
                    if Stamp::at(&file.path).ok() != Some(file.stamp) {
                        return Err(SourceError::Replaced { path: file.path.clone() });
                    }
                    continue;
                }
                FileBytes::Remote(_) => unreachable!("what has an object in it is read otherwise"),
                FileBytes::OnDisk(Some(handle)) => handle,
                FileBytes::OnDisk(None) => {
                    opened = File::open(&file.path).map_err(|_| SourceError::Replaced { path: file.path.clone() })?;
                    &opened
                }
            };
            for range in of_file {
                if !append(handle, &mut buffer, &range.range, wait, &file.path)? {
                    return Ok(None);
                }
            }
            // Looked at after reading: what changed meanwhile must not be served under the old name.
            let metadata = handle.metadata().map_err(|error| SourceError::Io { path: file.path.clone(), error })?;
            let now = Stamp::of(&metadata);
            if now != file.stamp {
                return Err(SourceError::Replaced { path: file.path.clone() });
            }
        }
        Ok(Some(Bytes::from(buffer)))
    }
}

/// Reads `range` behind what `buffer` holds; `false` if that takes waiting where none is allowed.
fn append(file: &File, buffer: &mut Vec<u8>, range: &Range<u64>, wait: Wait, path: &Path) -> Result<bool, SourceError> {
    let mut offset = range.start;
    while offset < range.end {
        match sys::append_at(file, buffer, (range.end - offset) as usize, offset, wait) {
            Ok(0) => {
                return Err(SourceError::Short { path: path.to_path_buf(), offset, wanted: range.end - offset });
            }
            Ok(count) => offset += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Not in memory, or a file system that cannot tell: to be asked in the ordinary way, which also says what is wrong.
            Err(_) if wait == Wait::Forbidden => return Ok(false),
            Err(error) => return Err(SourceError::Io { path: path.to_path_buf(), error }),
        }
    }
    Ok(true)
}

/// How much a [`Window`] reads at once: a `moof` of some seconds and the head after it, mostly.
const WINDOW_BYTES: usize = 8 * 1024;

/// What the first read of a [`Window`] into an object asks for: the head of a movie, and often all its `moov`.
const REMOTE_WINDOW_BYTES: u64 = 64 << 10;
/// What its reads grow to, each twice the one before: a hundred seconds of 5 Mb/s at once, and 32 MiB a core that opens.
const REMOTE_WINDOW_BYTES_MAX: u64 = 32 << 20;
/// A longer way to the next bytes that are wanted is not read, but passed over.
const REMOTE_JUMP_BYTES: u64 = 4 << 20;

/// Where a [`Window`] reads.
#[derive(Debug)]
enum Handle {
    Local(File),
    /// Those of the file itself.
    Pieces,
    Remote(Arc<Object>),
}

/// A file, seen through a buffer.
#[derive(Debug)]
pub struct Window<'a> {
    file: &'a SourceFile,
    handle: Handle,
    start: u64,
    /// Bytes of `bytes` that were read; the rest is of earlier reads.
    filled: usize,
    bytes: Vec<u8>,
    /// How much the next read of an object asks for, if it goes on where the last ended.
    ahead: u64,
}

impl Window<'_> {
    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.file.len()
    }

    /// Whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `wanted` bytes at `offset`, or as many as there are before the end of the file.
    pub fn at(&mut self, offset: u64, wanted: usize) -> Result<&[u8], SourceError> {
        let wanted = self.len().saturating_sub(offset).min(wanted as u64) as usize;
        if !self.holds(offset, wanted) {
            match &self.handle {
                Handle::Local(_) | Handle::Pieces => self.fill(offset, wanted)?,
                Handle::Remote(object) => {
                    let object = Arc::clone(object);
                    self.fill_remote(&object, offset, wanted)?;
                }
            }
        }
        let from = (offset - self.start).min(self.filled as u64) as usize;
        let found = &self.bytes[from..from + wanted];
        if let Handle::Remote(object) = &self.handle {
            object.note(offset, found);
        }
        Ok(found)
    }

    fn holds(&self, offset: u64, wanted: usize) -> bool {
        self.start <= offset && offset + wanted as u64 <= self.start + self.filled as u64
    }

    /// The same to keep. What is long is not read through the buffer.
    pub fn take(&mut self, offset: u64, wanted: usize) -> Result<Vec<u8>, SourceError> {
        let wanted = self.len().saturating_sub(offset).min(wanted as u64) as usize;
        let handle = match &self.handle {
            Handle::Local(handle) if !self.holds(offset, wanted) => handle,
            _ => return self.at(offset, wanted).map(<[u8]>::to_vec),
        };
        let mut bytes = Vec::with_capacity(wanted);
        match append(handle, &mut bytes, &(offset..offset + wanted as u64), Wait::Allowed, &self.file.path) {
            Ok(_) => Ok(bytes),
            // It ends sooner than it did when it was looked at.
            Err(SourceError::Short { path, .. }) => Err(SourceError::Replaced { path }),
            Err(error) => Err(error),
        }
    }

    fn fill(&mut self, offset: u64, wanted: usize) -> Result<(), SourceError> {
        let count = self.len().saturating_sub(offset).min(wanted.max(WINDOW_BYTES) as u64) as usize;
        if self.bytes.len() < count {
            self.bytes.resize(count, 0);
        }
        (self.start, self.filled) = (offset, 0);
        let space = &mut self.bytes[..count];
        let read = match (&self.handle, &self.file.bytes) {
            (Handle::Local(handle), _) => handle.read_exact_at(space, offset),
            (Handle::Pieces, FileBytes::Pieces(pieces)) => pieces.read_exact_at(space, offset),
            _ => Err(io::Error::other("read otherwise")),
        };
        read.map_err(|error| {
            let path = self.file.path.clone();
            match error.kind() {
                io::ErrorKind::UnexpectedEof => SourceError::Replaced { path },
                _ => SourceError::Io { path, error },
            }
        })?;
        self.filled = count;
        Ok(())
    }

    /// What was read by an earlier opening; else more the longer reading goes on: one request a fragment would be thousands, and all
    /// of a long film for the sake of its index is the other extreme.
    fn fill_remote(&mut self, object: &Object, offset: u64, wanted: usize) -> Result<(), SourceError> {
        if let Some(known) = object.known(offset, wanted) {
            (self.start, self.filled) = (offset, known.len());
            self.bytes = known;
            return Ok(());
        }
        let end = self.start + self.filled as u64;
        let goes_on =
            self.filled > 0 && (end.saturating_sub(REMOTE_JUMP_BYTES)..end + REMOTE_JUMP_BYTES).contains(&offset);
        self.ahead = if goes_on { (self.ahead * 2).min(REMOTE_WINDOW_BYTES_MAX) } else { REMOTE_WINDOW_BYTES };
        let count = self.len().saturating_sub(offset).min(self.ahead.max(wanted as u64));
        (self.start, self.filled) = (offset, 0);
        self.bytes = object.read_ahead(offset..offset + count)?.into();
        self.filled = self.bytes.len();
        Ok(())
    }
}

/// Ranges of one object are read at once if no more than this lies between them: what a request costs is worth as much (a round trip
/// of 10 ms at 100 Mb/s).
const GAP_BYTES: u64 = 128 << 10;
/// Reads of one segment under way at once.
const READS_AT_ONCE: usize = 4;

/// `ranges` in the order in which they lie, those joined that lie near each other in one file.
fn join_near(ranges: &[SourceRange]) -> Vec<SourceRange> {
    let mut sorted: Vec<SourceRange> = ranges.to_vec();
    sorted.sort_by_key(|range| (range.file, range.range.start));
    let mut joined: Vec<SourceRange> = Vec::with_capacity(ranges.len());
    for SourceRange { file, range } in sorted {
        match joined.last_mut() {
            Some(last) if last.file == file && range.start <= last.range.end + GAP_BYTES => {
                last.range.end = last.range.end.max(range.end);
            }
            _ => joined.push(SourceRange { file, range }),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn range(range: Range<u64>) -> SourceRange {
        SourceRange { file: 0, range }
    }

    #[test]
    fn a_read_is_whole_or_an_error() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        std::fs::write(&path, b"0123456789").expect("written");
        let source = Source::open(&Storage::Local, std::slice::from_ref(&path)).expect("opened");
        assert_eq!(source.read(&[range(2..4), range(8..10)]).expect("read"), &b"2389"[..]);
        assert_eq!(source.read_cached(&[range(0..3)]).expect("read"), Some(Bytes::from_static(b"012")));
        assert!(matches!(source.read(&[range(8..11)]), Err(SourceError::Short { .. })));

        // Renamed away and replaced: the old bytes can still be read, and the change is seen.
        let next = dir.path().join("b");
        std::fs::write(&next, b"abcdefghij").expect("written");
        std::fs::rename(&next, &path).expect("renamed");
        assert_eq!(source.read(&[range(0..2)]).expect("read"), &b"01"[..]);
        assert!(!source.is_current());

        // Written over in place: the old bytes are gone, and nothing is served in their stead.
        let source = Source::open(&Storage::Local, std::slice::from_ref(&path)).expect("opened");
        let mut file = File::options().write(true).open(&path).expect("opened");
        file.write_all(b"xy").expect("written");
        file.set_len(5).expect("cut");
        assert!(matches!(source.read(&[range(0..2)]), Err(SourceError::Replaced { .. })));
        assert!(matches!(source.read(&[range(6..8)]), Err(SourceError::Short { .. } | SourceError::Replaced { .. })));
    }

    #[tokio::test]
    async fn a_read_waits_in_line_only_where_the_disk_has_to_be_asked() {
        use crate::telemetry::{ReadOf, Telemetry};
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        let file = File::create(&path).expect("made");
        // A hole, of which no page is in memory.
        file.set_len(1 << 32).expect("made longer");
        (&file).write_all(b"0123456789").expect("written");
        drop(file);
        let source = Arc::new(Source::open(&Storage::Local, std::slice::from_ref(&path)).expect("opened"));
        let telemetry = Arc::<Telemetry>::default();
        let full = Line::new(ReadOf::File, 0, 0, Arc::clone(&telemetry));
        let at = |offset: u64| vec![range(offset..offset + 4)];
        assert_eq!(source.read_soon(at(0), &full).await.expect("read"), &b"0123"[..]);
        assert_eq!(telemetry.reads_refused.at(ReadOf::File).get(), 0);
        if source.read_cached(&at(1 << 30)).expect("read").is_some() {
            // A file system in memory, which is never waited for.
            return;
        }
        assert!(matches!(source.read_soon(at(2 << 30), &full).await, Err(SourceError::Busy { .. })));
        assert_eq!(telemetry.reads_refused.at(ReadOf::File).get(), 1);
        let free = Line::new(ReadOf::File, 1, 0, Arc::clone(&telemetry));
        assert_eq!(source.read_soon(at(3 << 30), &free).await.expect("read"), &[0; 4][..]);
    }

    #[test]
    fn ranges_near_each_other_are_joined_in_whatever_order_they_come() {
        let far = GAP_BYTES + 1;
        let of = |file, range| SourceRange { file, range };
        let joined = join_near(&[of(1, 5..9), of(0, 50..60), of(0, 0..10), of(0, 60 + far..70 + far), of(0, 8..20)]);
        assert_eq!(joined, [of(0, 0..60), of(0, 60 + far..70 + far), of(1, 5..9)]);
        assert_eq!(join_near(&[]), []);
    }

    #[test]
    fn made_bytes_are_read_like_a_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        std::fs::write(&path, b"0123456789").expect("written");
        let mut source = Source::open(&Storage::Local, std::slice::from_ref(&path)).expect("opened");
        let made = source.add_made(path.clone(), source.stamp(0), Bytes::from_static(b"abc"));
        let of = |range| SourceRange { file: made, range };
        assert_eq!((made, source.file_len(made)), (1, 3));
        assert_eq!(source.read(&[of(1..3)]).expect("read"), &b"bc"[..]);
        assert_eq!(source.read(&[of(0..1), range(8..10), of(2..3)]).expect("read"), &b"a89c"[..]);
        assert_eq!(source.read_cached(&[of(0..3)]).expect("read"), Some(Bytes::from_static(b"abc")));
        assert!(matches!(source.read(&[of(2..4)]), Err(SourceError::Short { .. })));
        // The file that they were made of is still watched.
        std::fs::write(&path, b"other").expect("written");
        assert!(!source.is_current());
        assert_eq!(source.read(&[of(0..3)]).expect("read"), &b"abc"[..]);
    }
}
