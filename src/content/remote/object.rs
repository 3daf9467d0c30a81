//! One object of a storage: its bytes by range, and what was read of it while it was opened, so that this is read once.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;

use crate::content::file::{SourceError, Stamp};
use crate::content::remote::index::{IndexFolder, Pieces};
use crate::content::remote::store::Store;
use crate::content::remote::tag::Tag;

/// What one request asks for at most; more is asked for in several, some at once.
const PIECE_BYTES: u64 = 8 << 20;
/// Pieces of one read under way at once.
const PIECES_AT_ONCE: usize = 4;
/// What was read of an object while opening is kept until the opening ends, up to this: the index of a day of video. The rest is read again.
const KNOWN_BYTES_MAX: usize = 64 << 20;

/// One object in the state it was found in.
#[derive(Debug)]
pub struct Object {
    store: Arc<Store>,
    key: Key,
    path: PathBuf,
    stamp: Stamp,
    /// What the first answer said; all others must say the same.
    tag: OnceLock<Tag>,
    known: Mutex<Extents>,
    /// What it is called in the index on disk, if there is one.
    index: Option<(Arc<IndexFolder>, String)>,
    /// Why something could not be read while opening, if that says nothing of the object.
    failure: Mutex<Option<SourceError>>,
}

/// Pieces of an object, by where they begin.
#[derive(Clone, Debug, Default)]
pub struct Extents {
    pieces: Pieces,
    bytes: usize,
    /// Whether the index on disk was looked at.
    is_loaded: bool,
    /// Whether there is more than it has.
    is_more: bool,
}

impl Extents {
    /// Adds `bytes` at `offset`.
    fn add(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() || self.bytes + bytes.len() > KNOWN_BYTES_MAX {
            return;
        }
        // What goes on where a piece ends makes it longer: heads of boxes and what they hold are read one after another.
        if let Some((start, piece)) = self.pieces.range_mut(..=offset).next_back() {
            let end = start + piece.len() as u64;
            if offset <= end {
                let inside = (end - offset) as usize;
                if let Some(more) = bytes.get(inside..).filter(|more| !more.is_empty()) {
                    piece.extend_from_slice(more);
                    self.bytes += more.len();
                    self.is_more = true;
                }
                return;
            }
        }
        self.pieces.insert(offset, bytes.to_vec());
        self.bytes += bytes.len();
        self.is_more = true;
    }

    /// What is known from `offset` on.
    fn from(&self, offset: u64) -> &[u8] {
        let Some((start, piece)) = self.pieces.range(..=offset).next_back() else { return &[] };
        piece.get((offset - start) as usize..).unwrap_or_default()
    }
}

impl Object {
    /// The object with `key`, at `path`, as it was listed.
    pub fn new(store: Arc<Store>, key: Key, path: PathBuf, stamp: Stamp) -> Object {
        let index = store.index().map(|folder| {
            let name = IndexFolder::name(&format!("{}{}", store.url(), path.display()), &stamp);
            (Arc::clone(folder), name)
        });
        let (tag, known, failure) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Object { store, key, path, stamp, tag, known, index, failure }
    }

    /// What it was like when it was listed.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells its bytes from all others, if its storage says so, and something of it was read.
    pub fn strong_tag(&self) -> Option<&str> {
        self.tag.get().and_then(Tag::strong)
    }

    /// The bytes of `range`, which lies within it.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, SourceError> {
        if range.end - range.start <= PIECE_BYTES {
            return self.piece(range).await;
        }
        let pieces = (range.start..range.end).step_by(PIECE_BYTES as usize);
        let pieces = pieces.map(|start| self.piece(start..range.end.min(start + PIECE_BYTES)));
        let pieces: Vec<Bytes> = futures_util::stream::iter(pieces).buffered(PIECES_AT_ONCE).try_collect().await?;
        Ok(Bytes::from(pieces.concat()))
    }

    async fn piece(&self, range: Range<u64>) -> Result<Bytes, SourceError> {
        let (bytes, tag) = self.store.read(&self.key, self.stamp.len, self.tag.get(), range).await?;
        if *self.tag.get_or_init(|| tag.clone()) != tag {
            return Err(SourceError::Replaced { path: self.path.clone() });
        }
        Ok(bytes)
    }

    /// `read`, on a thread that may block, of what was read before without asking; it will be known to the next opening.
    pub fn read_blocking(&self, range: Range<u64>) -> Result<Bytes, SourceError> {
        let wanted = (range.end - range.start) as usize;
        if let Some(known) = self.known(range.start, wanted) {
            return Ok(Bytes::from(known).slice(..wanted));
        }
        let offset = range.start;
        let bytes = self.read_ahead(range)?;
        self.note(offset, &bytes);
        Ok(bytes)
    }

    /// `read`, on a thread that may block, of more than anybody may want.
    pub fn read_ahead(&self, range: Range<u64>) -> Result<Bytes, SourceError> {
        self.wait(self.read(range))
    }

    /// Waits for a read on a thread that may block.
    pub fn wait<T>(&self, read: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let read = self.store.wait(read);
        if let Some(failure) = read.as_ref().err().and_then(SourceError::of_the_moment) {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
        read
    }

    /// Why something could not be read since this was last asked.
    pub fn take_failure(&self) -> Option<SourceError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What was read before from `offset` on, if that is `wanted` bytes and more.
    pub fn known(&self, offset: u64, wanted: usize) -> Option<Vec<u8>> {
        let known = self.loaded();
        let found = known.from(offset);
        (found.len() >= wanted && wanted > 0).then(|| found.to_vec())
    }

    /// Keeps `bytes` at `offset`, which somebody wanted while opening.
    pub fn note(&self, offset: u64, bytes: &[u8]) {
        self.loaded().add(offset, bytes);
    }

    /// What was read, and what the index on disk has.
    fn loaded(&self) -> MutexGuard<'_, Extents> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.is_loaded {
            known.is_loaded = true;
            if let Some((folder, name)) = self.index.clone()
                && let reading = self.store.index_in_time(&folder, move |folder| folder.read(&name))
                && let Some((tag, pieces)) = reading.flatten()
                && *self.tag.get_or_init(|| tag.clone()) == tag
            {
                self.store.telemetry().storage_index_hits.inc();
                known.bytes = pieces.values().map(Vec::len).sum();
                known.pieces = pieces;
            }
        }
        known
    }

    /// Forgets what was read, and leaves it to the index on disk: the opening is over. Blocks.
    pub fn forget(&self) {
        let known = std::mem::take(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner));
        if let (Some((folder, name)), Some(tag), true) = (self.index.clone(), self.tag.get().cloned(), known.is_more) {
            match self.store.index_in_time(&folder, move |folder| folder.write(&name, &tag, &known.pieces)) {
                Some(Ok(())) => self.store.telemetry().storage_index_writes.inc(),
                Some(Err(error)) => {
                    tracing::warn!(path = %self.path.display(), %error, "its index can't be kept on disk");
                }
                None => {}
            }
        }
    }
}
