//! What was read of objects when they were opened, on disk: a restart then reads nothing of them. All of it may be lost or wrong at any
//! time; what its checksum does not confirm is not there, nor is what the disk does not give in time. What was listed lies in the same folder
//! (`listing.rs`), within the same bound.
//!
//! ```text
//!   "HWIX"  version u32                  one file an object in one state, named by a hash of both
//!   tag     length u32, bytes            length 2^32 - 1: the storage gave none
//!   count   u32, of  offset u64, length u32
//!   bytes of all pieces
//!   blake3 of all before
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::cache::patience::Patience;
use crate::content::file::Stamp;
use crate::content::remote::tag::Tag;
use crate::telemetry::Telemetry;

const MAGIC: &[u8; 4] = b"HWIX";
/// Another form has another one, and is made anew.
const FORMAT: u32 = 1;
const HASH_BYTES: usize = 32;
const NO_TEXT: u32 = u32::MAX;
/// How the names of its files end: of indexes,
const INDEX: &str = "hwix";
/// of listings,
pub(super) const LISTING: &str = "hwls";
/// and of either while they are being written.
const WRITTEN: &str = "new";
/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// What is left of the ceiling, in hundredths, when the oldest files were removed, so that this is not done at every write.
const KEPT_PERCENT: u64 = 90;

/// Files that are read or written at once, each on a thread that may block: as many as presentations are opened, and folders looked into.
pub const FILES_AT_ONCE: usize = 16;
/// How long one of them is waited for, its turn included: a disk takes milliseconds, a large index on one that is busy tenths of a second, and a
/// storage is there to be asked.
const FILE_WAIT: Duration = Duration::from_secs(2);

/// Pieces of an object, by where they begin.
pub type Pieces = BTreeMap<u64, Vec<u8>>;

/// A folder of them.
#[derive(Debug)]
pub struct IndexFolder {
    folder: PathBuf,
    bytes_max: u64,
    bytes: AtomicU64,
    /// Counts the files that were written.
    written: AtomicU64,
    /// With its disk.
    patience: Patience,
}

impl IndexFolder {
    /// The folder at `folder`, made if it is not there, which keeps up to `bytes_max`. Blocks.
    pub fn open(folder: PathBuf, bytes_max: u64) -> io::Result<IndexFolder> {
        std::fs::create_dir_all(&folder)?;
        let bytes = files(&folder)?.iter().map(|(_, _, bytes)| bytes).sum();
        let (bytes, written) = (AtomicU64::new(bytes), AtomicU64::new(0));
        Ok(IndexFolder { folder, bytes_max, bytes, written, patience: Patience::new(FILES_AT_ONCE, FILE_WAIT) })
    }

    /// What `work`, which blocks, comes to; `None` if the disk does not answer in time, or has not answered another one yet: who asks goes on
    /// without. What is begun goes on all the same.
    pub(super) async fn in_time<T: Send + 'static>(
        self: &Arc<IndexFolder>,
        telemetry: &Telemetry,
        work: impl FnOnce(&IndexFolder) -> T + Send + 'static,
    ) -> Option<T> {
        let (folder, was_late) = (Arc::clone(self), self.patience.is_over());
        let working = async move { tokio::task::spawn_blocking(move || work(&folder)).await };
        match self.patience.wait(working).await {
            Some(done) => done.ok(),
            None => {
                telemetry.storage_index_late.inc();
                if !was_late {
                    tracing::warn!(folder = %self.folder.display(), "the disk does not answer; the storage is asked until it does");
                }
                None
            }
        }
    }

    /// The name of what is kept of the object at `url`, when it was like `stamp`.
    pub fn name(url: &str, stamp: &Stamp) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(url.as_bytes()).update(&stamp.bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// What is kept under `name`. Blocks.
    pub fn read(&self, name: &str) -> Option<(Tag, Pieces)> {
        parse(&self.load(&file(name))?)
    }

    /// Keeps `tag` and `pieces` under `name`. Blocks.
    pub fn write(&self, name: &str, tag: &Tag, pieces: &Pieces) -> io::Result<()> {
        self.store(&file(name), form(tag, pieces))
    }

    /// What the file called `name` holds, if it is as it was written. Blocks.
    pub(super) fn load(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(name);
        if std::fs::metadata(&path).ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        unsealed(std::fs::read(path).ok()?)
    }

    /// Makes a file called `name` of `bytes`, or leaves it, if it would be too large. Blocks.
    pub(super) fn store(&self, name: &str, bytes: Vec<u8>) -> io::Result<()> {
        let bytes = sealed(bytes);
        let len = bytes.len() as u64;
        if len > FILE_BYTES_MAX.min(self.bytes_max) {
            return Ok(());
        }
        let path = self.folder.join(name);
        let before = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        // Two may write the same, of this process or the one after it.
        let (process, number) = (std::process::id(), self.written.fetch_add(1, Ordering::Relaxed));
        let written = path.with_extension(format!("{process}-{number}.{WRITTEN}"));
        // Not synced: what a crash takes is read again.
        std::fs::write(&written, bytes)?;
        std::fs::rename(written, path)?;
        let bytes = self.bytes.fetch_add(len, Ordering::Relaxed) + len;
        let bytes = bytes - self.bytes.fetch_sub(before, Ordering::Relaxed).min(before);
        if bytes > self.bytes_max { self.shrink() } else { Ok(()) }
    }

    /// Removes the file called `name`, if it is there. Blocks.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        let Ok(metadata) = std::fs::metadata(&path) else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => self.bytes.fetch_sub(metadata.len(), Ordering::Relaxed),
        };
        Ok(())
    }

    /// Removes the files that were written first.
    fn shrink(&self) -> io::Result<()> {
        let mut all = files(&self.folder)?;
        all.sort_by_key(|(_, written, _)| *written);
        let mut bytes: u64 = all.iter().map(|(_, _, bytes)| bytes).sum();
        for (path, _, len) in all {
            if bytes <= self.bytes_max / 100 * KEPT_PERCENT {
                break;
            }
            match std::fs::remove_file(path) {
                // Somebody else makes room, too.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes -= len,
            }
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn file(name: &str) -> String {
    format!("{name}.{INDEX}")
}

/// The folder's own files, when they were written, and their bytes. Whatever else lies there is somebody's.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, SystemTime, u64)>> {
    let file = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let path = entry.path();
        let is_own =
            path.extension().is_some_and(|extension| [INDEX, LISTING, WRITTEN].iter().any(|own| extension == *own));
        let metadata = entry.metadata().ok().filter(|metadata| is_own && metadata.is_file())?;
        Some((path, metadata.modified().ok()?, metadata.len()))
    };
    Ok(std::fs::read_dir(folder)?.filter_map(file).collect())
}

/// `bytes`, and what confirms them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    bytes
}

fn unsealed(mut file: Vec<u8>) -> Option<Vec<u8>> {
    let end = file.len().checked_sub(HASH_BYTES)?;
    let (bytes, hash) = file.split_at(end);
    if blake3::hash(bytes).as_bytes() != hash {
        return None;
    }
    file.truncate(end);
    Some(file)
}

/// What is left to be read of a file.
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A text, or that there is none.
    pub(super) fn text(&mut self) -> Option<Option<&'a str>> {
        match self.u32()? {
            NO_TEXT => Some(None),
            len => std::str::from_utf8(self.take(len as usize)?).ok().map(Some),
        }
    }
}

pub(super) fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    let len = text.map_or(NO_TEXT, |text| text.len() as u32);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

fn form(tag: &Tag, pieces: &Pieces) -> Vec<u8> {
    let total: usize = pieces.values().map(|piece| piece.len() + 12).sum();
    let mut out = Vec::with_capacity(total + 256);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_be_bytes());
    put_text(&mut out, tag.0.as_deref());
    out.extend_from_slice(&(pieces.len() as u32).to_be_bytes());
    for (offset, piece) in pieces {
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&(piece.len() as u32).to_be_bytes());
    }
    pieces.values().for_each(|piece| out.extend_from_slice(piece));
    out
}

fn parse(bytes: &[u8]) -> Option<(Tag, Pieces)> {
    let mut bytes = Rest(bytes);
    if bytes.take(4)? != MAGIC || bytes.u32()? != FORMAT {
        return None;
    }
    let tag = Tag(bytes.text()?.map(str::to_owned));
    let count = bytes.u32()? as usize;
    let mut heads = Rest(bytes.take(count.checked_mul(12)?)?);
    let mut pieces = Pieces::new();
    while let (Some(offset), Some(len)) = (heads.u64(), heads.u32()) {
        pieces.insert(offset, bytes.take(len as usize)?.to_vec());
    }
    Some((tag, pieces))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            tag in proptest::option::of("[a-z\"/]{0,40}"),
            pieces in proptest::collection::btree_map(any::<u64>(), proptest::collection::vec(any::<u8>(), 0..100), 0..20),
        ) {
            let tag = Tag(tag);
            prop_assert_eq!(parse(&form(&tag, &pieces)), Some((tag, pieces)));
        }

        #[test]
        fn what_was_changed_or_cut_is_not_there(at in 0usize..200, bit in 0u8..8, cut in 0usize..200) {
            let whole = sealed(form(&Tag(Some("tag".into())), &Pieces::from([(0, vec![7; 50]), (99, vec![8; 50])])));
            let mut changed = whole.clone();
            let at = at % whole.len();
            changed[at] ^= 1 << bit;
            prop_assert_eq!(unsealed(changed), None);
            prop_assert_eq!(unsealed(whole[..cut.min(whole.len() - 1)].to_vec()), None);
            prop_assert!(unsealed(whole).is_some_and(|bytes| parse(&bytes).is_some()));
        }
    }

    #[test]
    fn the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IndexFolder::open(dir.path().join("index"), 10_000).unwrap();
        let pieces = Pieces::from([(0, vec![1; 1000])]);
        for number in 0..30 {
            let name = format!("{number:02}");
            folder.write(&name, &Tag(None), &pieces).unwrap();
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
            std::fs::File::options()
                .write(true)
                .open(folder.folder.join(file(&name)))
                .unwrap()
                .set_modified(written)
                .unwrap();
        }
        let others = dir.path().join("index").join("access.log");
        std::fs::write(&others, vec![b'x'; 20_000]).unwrap();
        folder.shrink().unwrap();
        assert!(others.exists(), "it is not ours");
        let kept: u64 = files(&folder.folder).unwrap().iter().map(|(_, _, bytes)| bytes).sum();
        assert!((7_000..=10_000).contains(&kept), "{kept} bytes kept");
        assert_eq!(folder.read("29"), Some((Tag(None), pieces)));
        assert_eq!(folder.read("00"), None);
        let again = IndexFolder::open(dir.path().join("index"), 10_000).unwrap();
        assert_eq!(again.bytes.load(Ordering::Relaxed), kept);
    }

    /// Whoever opened a presentation waited for it without end.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_disk_that_hangs_held_up_who_opened() {
        use std::os::fd::AsRawFd;
        let dir = tempfile::tempdir().unwrap();
        let folder = IndexFolder::open(dir.path().to_path_buf(), 1 << 20).unwrap();
        let patience = Patience::new(FILES_AT_ONCE, Duration::from_millis(20));
        let folder = Arc::new(IndexFolder { patience, ..folder });
        let telemetry = Telemetry::default();
        let pieces = Pieces::from([(0, vec![1; 1000])]);
        folder.write("there", &Tag(None), &pieces).unwrap();
        let read = |name: &'static str| folder.in_time(&telemetry, move |folder| folder.read(name));
        // A pipe that nobody writes to answers no read.
        let (reading, writing) = io::pipe().unwrap();
        let pipe = format!("/proc/self/fd/{}", reading.as_raw_fd());
        std::os::unix::fs::symlink(pipe, folder.folder.join(file("hangs"))).unwrap();
        assert_eq!(read("hangs").await, None);
        assert_eq!(read("there").await, None, "nothing more is asked of it");
        assert_eq!(telemetry.storage_index_late.get(), 2);
        drop(writing);
        while folder.patience.is_over() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(read("there").await, Some(Some((Tag(None), pieces))));
        assert_eq!(telemetry.storage_index_late.get(), 2);
    }
}
