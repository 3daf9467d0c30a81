//! The second tier: bytes that were far away, on a disk of this machine, behind memory. A name means the same bytes for ever, so nothing here goes
//! out of date; what a purge names gets other names, and what lies under the old ones is evicted in its turn.
//!
//! ```text
//!   DIR/lock         held by the one process that uses the folder
//!   DIR/names.json   the era, and what was purged in it: both are part of every name
//!   DIR/blocks/      foyer's files (docs/adr/0012-media-on-disk.md): filled one after another, evicted one at a time, a checksum an entry
//! ```
//!
//! All of it may be lost or wrong at any time: what can't be read as it was written is not there. What the disk does not give in time is not there
//! either, and until it does nothing more is asked of it.

use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy, Load,
    RecoverMode,
};
use serde::{Deserialize, Serialize};

use crate::cache::patience::Patience;
use crate::telemetry::Telemetry;

/// Blocks of a folder, at least: what is evicted at once is then less than a hundredth of it. Each is a file that is kept open.
const BLOCKS_MIN: u64 = 128;
/// A longer block is not made, since places in one are counted in 32 bits.
const BLOCK_BYTES_MAX: u64 = 2 << 30;
/// What a block's size is a multiple of: a page.
const ALIGNED_BYTES: u64 = 4096;
/// What is longer is not kept, nor what does not fit in a block: six seconds at 40 Mb/s. Two buffers of this size gather what is written together;
/// what comes when both are full is not kept.
const ENTRY_BYTES_MAX: u64 = 32 << 20;
/// What waits to be written; more is not kept. Memory's tier holds it as well, mostly.
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// Purges that are remembered one by one, since a name is compared with each. Then a new era begins, in which nothing of the old one is found.
const PURGES_MAX: usize = 1000;
/// Reads of the disk at once, each on a thread that may block: as many as keep it busy.
const READS_MAX: usize = 16;
/// How long a read is waited for, its turn included: a disk that is busy takes tenths of a second, and a storage that is asked instead as long as this,
/// at worst.
const READ_WAIT: Duration = Duration::from_secs(2);
/// How long the names are waited for to be written: who purges waits for that.
const NAMES_WAIT: Duration = Duration::from_secs(5);
/// Between two looks whether another process has left the folder.
const LOCKED_WAIT: Duration = Duration::from_secs(1);
/// How foyer names the file of a block, before its number.
const BLOCK_FILE: &str = "foyer-storage-direct-fs-";

/// A folder, or what will be one as soon as it is open.
pub struct Disk {
    folder: PathBuf,
    bytes_max: u64,
    telemetry: Arc<Telemetry>,
    names: Mutex<Names>,
    /// Held while names are written, so that the latest are what stays.
    writing: tokio::sync::Mutex<()>,
    reads: Patience,
    names_written: Patience,
    kept: OnceLock<Kept>,
}

/// What names are made of.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Names {
    era: String,
    /// Beginnings of paths, in the order in which they were purged.
    purged: Vec<String>,
}

struct Kept {
    medium: Medium,
    _lock: File,
}

/// What the bytes lie on.
#[derive(Clone)]
enum Medium {
    Blocks(HybridCache<String, Bytes>),
    /// A disk that does not answer before it is told to.
    #[cfg(test)]
    Hanging(Arc<tokio::sync::Semaphore>),
}

impl Medium {
    /// What is called `name`.
    async fn load(&self, name: String) -> foyer::Result<Option<Bytes>> {
        match self {
            Medium::Blocks(cache) => Ok(match cache.storage().load(&name).await? {
                Load::Entry { value, .. } => Some(value),
                Load::Piece { piece, .. } => Some(piece.value().clone()),
                Load::Miss | Load::Throttled => None,
            }),
            #[cfg(test)]
            Medium::Hanging(until) => {
                until.acquire().await.expect("nobody closes it").forget();
                Ok(Some(Bytes::from_static(b"late")))
            }
        }
    }

    fn insert(&self, name: String, bytes: Bytes) {
        match self {
            Medium::Blocks(cache) => {
                let _ = cache.storage_writer(name).force().insert(bytes);
            }
            #[cfg(test)]
            Medium::Hanging(_) => {}
        }
    }

    /// Waits until what was inserted is written.
    async fn settle(&self) {
        match self {
            Medium::Blocks(cache) => cache.storage().wait().await,
            #[cfg(test)]
            Medium::Hanging(_) => {}
        }
    }
}

/// What bytes are called on the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name(String);

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("folder", &self.folder).field("bytes_max", &self.bytes_max).finish_non_exhaustive()
    }
}

impl Disk {
    /// The folder at `folder`, which will hold up to `bytes_max`. Nothing is found in it, and nothing kept, before it is open.
    pub fn new(folder: PathBuf, bytes_max: u64, telemetry: Arc<Telemetry>) -> Disk {
        let (names, writing, kept) = (Mutex::default(), tokio::sync::Mutex::default(), OnceLock::new());
        let (reads, names_written) = (Patience::new(READS_MAX, READ_WAIT), Patience::new(1, NAMES_WAIT));
        Disk { folder, bytes_max, telemetry, names, writing, reads, names_written, kept }
    }

    /// Opens it, once no other process has it open.
    pub async fn open(&self) -> io::Result<()> {
        let lock = loop {
            let folder = self.folder.clone();
            match blocking(move || lock(&folder)).await? {
                Some(lock) => break lock,
                None => tokio::time::sleep(LOCKED_WAIT).await,
            }
        };
        let blocks = self.bytes_max.div_ceil(BLOCK_BYTES_MAX).max(BLOCKS_MIN);
        let block_bytes = (self.bytes_max / blocks / ALIGNED_BYTES).max(1) * ALIGNED_BYTES;
        let folder = self.folder.clone();
        let known = blocking(move || {
            remove_blocks_from(&folder.join("blocks"), blocks)?;
            Ok(Names::read(&folder))
        });
        let known = known.await?;
        let device = FsDeviceBuilder::new(self.folder.join("blocks")).with_capacity((block_bytes * blocks) as usize);
        let engine = BlockEngineConfig::new(device.build().map_err(io::Error::other)?)
            .with_block_size(block_bytes as usize)
            .with_buffer_pool_size(ENTRY_BYTES_MAX as usize)
            .with_submit_queue_size_threshold(QUEUE_BYTES_MAX);
        // Its memory holds nothing: what is put goes to the disk alone.
        let builder = HybridCacheBuilder::new()
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(1)
            .with_shards(1)
            .storage()
            .with_recover_mode(RecoverMode::Quiet)
            .with_engine_config(engine);
        let cache = builder.build().await.map_err(io::Error::other)?;
        {
            let mut names = self.names();
            let purged = std::mem::take(&mut names.purged);
            *names = known.unwrap_or_else(Names::of_new_era);
            purged.iter().for_each(|prefix| names.purge(prefix));
            // Under the lock of the names: a purge either came before and is among them, or finds it open.
            let _ = self.kept.set(Kept { medium: Medium::Blocks(cache), _lock: lock });
        }
        self.telemetry.disk_open.set(1);
        self.write_names().await
    }

    /// What the bytes that `path` means are called; `None` while it is not open. To be asked for before they are read.
    pub fn name(&self, path: &str) -> Option<Name> {
        self.kept.get()?;
        let names = self.names();
        let purges = names.purged.iter().rposition(|prefix| path.starts_with(prefix.as_str())).map_or(0, |at| at + 1);
        Some(Name(format!("{}.{purges}{path}", names.era)))
    }

    /// The `len` bytes called `name`, if they are there and the disk gives them in time.
    pub async fn get(&self, name: &Name, len: u64) -> Option<Bytes> {
        let (medium, name) = (self.kept.get()?.medium.clone(), name.0.clone());
        let found = match self.reads.wait(async move { medium.load(name).await }).await {
            Some(Ok(found)) => found,
            Some(Err(error)) => {
                self.telemetry.disk_failures.inc();
                tracing::warn!(folder = %self.folder.display(), %error, "media can't be read from the disk");
                None
            }
            None => {
                self.telemetry.disk_late.inc();
                return None;
            }
        };
        let found = found.filter(|bytes| bytes.len() as u64 == len);
        match &found {
            Some(_) => {
                self.telemetry.disk_hits.inc();
                self.telemetry.disk_read_bytes.add(len);
            }
            None => self.telemetry.disk_misses.inc(),
        }
        found
    }

    /// Keeps `bytes` under `name`, soon, if there is room in what waits to be written, and the disk answers.
    pub fn put(&self, name: Name, bytes: Bytes) {
        let fits = bytes.len() as u64 <= ENTRY_BYTES_MAX && !self.reads.is_over();
        if let Some(kept) = self.kept.get().filter(|_| fits) {
            self.telemetry.disk_puts.inc();
            kept.medium.insert(name.0, bytes);
        }
    }

    /// From now on finds nothing that was put under paths that begin with `prefix`.
    pub async fn purge(&self, prefix: &str) {
        let is_open = {
            let mut names = self.names();
            names.purge(prefix);
            self.kept.get().is_some()
        };
        // Else it is written when it is opened.
        if is_open && let Err(error) = self.write_names().await {
            tracing::error!(folder = %self.folder.display(), %error, "a purge can't be noted, and will be forgotten at the next start");
        }
    }

    /// Waits until what was put is written.
    pub async fn settle(&self) {
        if let Some(kept) = self.kept.get() {
            kept.medium.settle().await;
        }
    }

    async fn write_names(&self) -> io::Result<()> {
        let _one = self.writing.lock().await;
        let (folder, names) = (self.folder.clone(), self.names().clone());
        let written = self.names_written.wait(apart(move || names.write(&folder))).await;
        written.unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer")))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    /// Under which nothing was ever put.
    fn of_new_era() -> Names {
        Names { era: format!("{:016x}", RandomState::new().hash_one(std::process::id())), purged: Vec::new() }
    }

    fn purge(&mut self, prefix: &str) {
        if prefix == "/" || self.purged.len() >= PURGES_MAX {
            *self = Names::of_new_era();
        } else {
            self.purged.push(prefix.to_owned());
        }
    }

    fn read(folder: &Path) -> Option<Names> {
        let text = std::fs::read(folder.join("names.json")).ok()?;
        let names: Names = serde_json::from_slice(&text).ok()?;
        (!names.era.is_empty() && names.purged.len() <= PURGES_MAX).then_some(names)
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        let (new, path) = (folder.join("names.new"), folder.join("names.json"));
        std::fs::write(&new, text)?;
        File::open(&new)?.sync_all()?;
        std::fs::rename(new, path)
    }
}

/// The lock of the folder at `folder`, made if it is not there; `None` if another process has it.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    std::fs::create_dir_all(folder)?;
    let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes the files of blocks from the `count`th on, of a time when there were more.
fn remove_blocks_from(folder: &Path, count: u64) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix(BLOCK_FILE)?.parse::<u64>().ok());
        if number.is_some_and(|number| number >= count) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// On a thread of its own, of which there is one at a time: who purges waits for this disk, and for nothing that others wait for.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let named = std::thread::Builder::new().name("names of the disk".to_owned());
    named.spawn(move || drop(sender.send(work())))?;
    receiver.await.map_err(io::Error::other)?
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    const BYTES_MAX: u64 = 4 << 20;

    async fn opened(folder: &Path) -> Disk {
        let disk = Disk::new(folder.to_path_buf(), BYTES_MAX, Arc::default());
        disk.open().await.unwrap();
        disk
    }

    async fn put(disk: &Disk, path: &str, bytes: Vec<u8>) {
        disk.put(disk.name(path).unwrap(), Bytes::from(bytes));
        disk.settle().await;
    }

    async fn get(disk: &Disk, path: &str, len: u64) -> Option<Bytes> {
        disk.get(&disk.name(path).unwrap(), len).await
    }

    #[tokio::test]
    async fn what_was_put_is_there_after_a_restart_and_only_whole() {
        let dir = tempfile::tempdir().unwrap();
        let disk = opened(dir.path()).await;
        put(&disk, "/film/v/1", vec![7; 5000]).await;
        assert_eq!(get(&disk, "/film/v/1", 5000).await, Some(Bytes::from(vec![7; 5000])));
        assert_eq!(get(&disk, "/film/v/1", 4999).await, None, "another length is something else");
        assert_eq!(get(&disk, "/film/v/2", 5000).await, None);
        drop(disk);
        let disk = opened(dir.path()).await;
        assert_eq!(get(&disk, "/film/v/1", 5000).await, Some(Bytes::from(vec![7; 5000])));
        assert_eq!((disk.telemetry.disk_hits.get(), disk.telemetry.disk_read_bytes.get()), (1, 5000));
    }

    #[tokio::test]
    async fn a_flipped_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = opened(dir.path()).await;
        put(&disk, "/film/v/1", vec![7; 5000]).await;
        drop(disk);
        let flip = |path: PathBuf| {
            let mut bytes = std::fs::read(&path).unwrap();
            let Some(at) = bytes.windows(100).position(|window| window == [7; 100]) else { return 0 };
            bytes[at + 50] ^= 1;
            std::fs::write(path, bytes).unwrap();
            1
        };
        let blocks = std::fs::read_dir(dir.path().join("blocks")).unwrap();
        assert_eq!(blocks.map(|entry| flip(entry.unwrap().path())).sum::<i32>(), 1);
        let disk = opened(dir.path()).await;
        assert_eq!(get(&disk, "/film/v/1", 5000).await, None);
        put(&disk, "/film/v/1", vec![8; 5000]).await;
        assert_eq!(get(&disk, "/film/v/1", 5000).await, Some(Bytes::from(vec![8; 5000])));
    }

    #[tokio::test]
    async fn it_grows_to_its_bound_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let disk = opened(dir.path()).await;
        for number in 0..400 {
            put(&disk, &format!("/film/v/{number}"), vec![7; 20_000]).await;
        }
        assert!(get(&disk, "/film/v/399", 20_000).await.is_some());
        assert!(get(&disk, "/film/v/0", 20_000).await.is_none());
        let files = std::fs::read_dir(dir.path().join("blocks")).unwrap();
        let bytes: u64 = files.map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum();
        assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&bytes), "{bytes} bytes on disk");
        // With a lower bound no file of the higher one stays.
        drop(disk);
        remove_blocks_from(&dir.path().join("blocks"), 5).unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("blocks")).unwrap().count(), 5);
    }

    #[tokio::test]
    async fn what_is_purged_stays_so_after_a_restart_and_can_be_put_again() {
        let dir = tempfile::tempdir().unwrap();
        let disk = opened(dir.path()).await;
        put(&disk, "/film/v/1", vec![1; 100]).await;
        put(&disk, "/films/v/1", vec![2; 100]).await;
        let before = disk.name("/film/v/2").unwrap();
        disk.purge("/film/").await;
        disk.put(before, Bytes::from_static(b"old"));
        disk.settle().await;
        assert_eq!(get(&disk, "/film/v/1", 100).await, None);
        assert_eq!(get(&disk, "/film/v/2", 3).await, None, "what was read before the purge is not found after it");
        assert!(get(&disk, "/films/v/1", 100).await.is_some());
        drop(disk);
        let disk = opened(dir.path()).await;
        assert_eq!(get(&disk, "/film/v/1", 100).await, None);
        put(&disk, "/film/v/1", vec![3; 100]).await;
        assert_eq!(get(&disk, "/film/v/1", 100).await, Some(Bytes::from(vec![3; 100])));
        // Too many purges begin an era in which nothing is found that was put before.
        for _ in 0..PURGES_MAX {
            disk.names().purge("/other/");
        }
        assert_eq!(get(&disk, "/films/v/1", 100).await, None);
        put(&disk, "/films/v/1", vec![4; 100]).await;
        disk.purge("/").await;
        assert_eq!(get(&disk, "/films/v/1", 100).await, None);
    }

    /// Whoever asked waited for it without end.
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_held_up_who_asked() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path().to_path_buf(), BYTES_MAX, Arc::default());
        let until = Arc::new(tokio::sync::Semaphore::new(0));
        let lock = lock(dir.path()).unwrap().unwrap();
        assert!(disk.kept.set(Kept { medium: Medium::Hanging(Arc::clone(&until)), _lock: lock }).is_ok());
        let (counts, began) = (Arc::clone(&disk.telemetry), tokio::time::Instant::now());
        let counts = || [&counts.disk_hits, &counts.disk_misses, &counts.disk_late, &counts.disk_puts].map(|c| c.get());
        let all = futures_util::future::join_all((0..40).map(|_| get(&disk, "/film/v/1", 4))).await;
        assert!(all.iter().all(Option::is_none));
        assert_eq!((began.elapsed(), counts()), (READ_WAIT, [0, 0, 40, 0]));
        // As long as it does, nobody waits, and nothing gathers before it.
        assert_eq!(get(&disk, "/film/v/1", 4).await, None);
        put(&disk, "/film/v/2", vec![1; 100]).await;
        assert_eq!((began.elapsed(), counts()), (READ_WAIT, [0, 0, 41, 0]));
        until.add_permits(READS_MAX + 1);
        while disk.reads.is_over() {
            tokio::task::yield_now().await;
        }
        assert_eq!(get(&disk, "/film/v/1", 4).await, Some(Bytes::from_static(b"late")));
        put(&disk, "/film/v/2", vec![1; 100]).await;
        assert_eq!(counts(), [1, 0, 41, 1]);
    }

    #[tokio::test]
    async fn a_purge_before_it_is_open_counts() {
        let dir = tempfile::tempdir().unwrap();
        let disk = opened(dir.path()).await;
        put(&disk, "/film/v/1", vec![1; 100]).await;
        drop(disk);
        let disk = Disk::new(dir.path().to_path_buf(), BYTES_MAX, Arc::default());
        assert_eq!(disk.name("/film/v/1"), None);
        disk.purge("/film/").await;
        disk.open().await.unwrap();
        assert_eq!(get(&disk, "/film/v/1", 100).await, None);
    }

    #[tokio::test]
    async fn without_its_names_nothing_is_found_and_a_folder_that_cannot_be_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let disk = opened(dir.path()).await;
        put(&disk, "/film/v/1", vec![1; 100]).await;
        drop(disk);
        std::fs::write(dir.path().join("names.json"), b"{").unwrap();
        let disk = opened(dir.path()).await;
        assert_eq!(get(&disk, "/film/v/1", 100).await, None);
        let no_folder = dir.path().join("lock").join("below");
        assert!(Disk::new(no_folder, BYTES_MAX, Arc::default()).open().await.is_err());
    }
}
