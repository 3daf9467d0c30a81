//! A presentation that the library holds: what it is made of, and how long that lasts.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::cache::Lease;
use crate::content::clips;
use crate::content::file::{SourceError, Stamp};
use crate::content::library::folder::Group;
use crate::content::storage::Storage;
use crate::content::subtitles;
use crate::content::vod::{self, OpenError, Opened};
use crate::time::Utc;

/// A presentation that the library holds.
#[derive(Debug)]
pub struct Entry {
    /// What it is called, and made of.
    pub group: Arc<Group>,
    /// Ends when its files change.
    pub lease: Arc<Lease>,
    /// The files and what they were like.
    pub stamps: Vec<(PathBuf, Stamp)>,
    /// The folder or storage that it lies in.
    library: Arc<str>,
    target: Duration,
    /// Where its paths lead.
    storage: Storage,
    /// Why nothing of it can be served, once that was found: these files will say the same again.
    refused: OnceLock<String>,
}

impl Entry {
    /// What `group`, found in `library`, is, made of files like `stamps` in `storage`, to be cut into segments of about `target`.
    pub fn new(
        group: Arc<Group>,
        stamps: Vec<(PathBuf, Stamp)>,
        library: Arc<str>,
        target: Duration,
        storage: Storage,
    ) -> Entry {
        Entry { group, lease: Arc::default(), stamps, library, target, storage, refused: OnceLock::new() }
    }

    /// Path under the root, `/` between its parts; of a file without its extension.
    pub fn name(&self) -> &str {
        &self.group.name
    }

    /// The same, but not to be served: it stands in the way of another one, made of files like `stamps` together with it.
    pub fn refused(self, why: String, stamps: Vec<(PathBuf, Stamp)>) -> Entry {
        let group = Arc::unwrap_or_clone(self.group);
        Entry { group: Arc::new(Group { parts: Err(why), ..group }), stamps, ..self }
    }

    /// The folder or storage that it lies in, as a name that no other one has.
    pub fn library(&self) -> &str {
        &self.library
    }

    /// Opens it, as of `now`. Blocks, unless it is known already that nothing of it can be served.
    pub fn open(&self, now: Utc) -> Result<Opened, OpenError> {
        if let Some(why) = self.refused.get() {
            return Err(OpenError::Nothing(why.clone()));
        }
        let opened = self.read();
        // A file that could not be read is no file that says nothing.
        let opened = self.storage.settle().map_err(OpenError::Source).and(opened);
        if let Err(OpenError::Source(error)) = &opened {
            self.end_if_replaced(error, now);
        }
        if let Err(OpenError::Nothing(why)) = &opened {
            // Who lost a race found the same.
            let _ = self.refused.set(why.clone());
        }
        opened
    }

    /// Ends it as of `now` if `error`, of a read, says that it was replaced in a storage: nobody watches one, so this is how that is seen. Says
    /// whether it had ended before, so that its bytes are gone.
    pub fn end_if_replaced(&self, error: &SourceError, now: Utc) -> bool {
        let is_replaced = self.is_remote() && matches!(error, SourceError::Replaced { .. });
        let had_ended = !self.lease.is_live();
        if is_replaced {
            self.lease.end(now);
        }
        is_replaced && had_ended
    }

    /// Whether its files are in a storage elsewhere.
    pub fn is_remote(&self) -> bool {
        matches!(self.storage, Storage::Remote(_))
    }

    /// Whether it is known that nothing of it can be served.
    pub fn is_refused(&self) -> bool {
        self.refused.get().is_some()
    }

    fn read(&self) -> Result<Opened, OpenError> {
        let Group { parts, texts, clips, thumbnails, .. } = &*self.group;
        let parts = parts.as_ref().map_err(|why| OpenError::Nothing(why.clone()))?;
        let mut warnings = Vec::new();
        let texts = subtitles::read_all(&self.storage, texts, &mut warnings);
        let mut opened = match &clips[..] {
            [] => vod::open(&self.storage, parts, texts, thumbnails, self.target)?,
            clips => clips::open(&self.storage, parts, &texts, clips, self.target)?,
        };
        opened.presentation.warnings.extend(warnings);
        Ok(opened)
    }

    /// Whether both, of one name, are made of the same files in the same state.
    pub fn is_same(&self, other: &Entry) -> bool {
        self.stamps == other.stamps && self.group == other.group
    }
}
