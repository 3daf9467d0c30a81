//! A presentation that the library holds: what it is made of, and how long that lasts.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::cache::Lease;
use crate::content::clips;
use crate::content::file::Stamp;
use crate::content::library::folder::Group;
use crate::content::storage::Storage;
use crate::content::subtitles;
use crate::content::vod::{self, OpenError, Opened};

/// A presentation that the library holds.
#[derive(Debug)]
pub struct Entry {
    /// What it is called, and made of.
    pub group: Group,
    /// Ends when its files change.
    pub lease: Arc<Lease>,
    /// The files and what they were like.
    pub stamps: Vec<(PathBuf, Stamp)>,
    target: Duration,
    /// Where its paths lead.
    storage: Storage,
    /// Why nothing of it can be served, once that was found: these files will say the same again.
    refused: OnceLock<String>,
}

impl Entry {
    /// What `group` is, made of files like `stamps` in `storage`, to be cut into segments of about `target`.
    pub fn new(group: Group, stamps: Vec<(PathBuf, Stamp)>, target: Duration, storage: Storage) -> Entry {
        Entry { group, lease: Arc::default(), stamps, target, storage, refused: OnceLock::new() }
    }

    /// Path under the root, `/` between its parts; of a file without its extension.
    pub fn name(&self) -> &str {
        &self.group.name
    }

    /// The same, but not to be served: it stands in the way of another one, made of files like `stamps` together with it.
    pub fn refused(self, why: String, stamps: Vec<(PathBuf, Stamp)>) -> Entry {
        Entry { group: Group { parts: Err(why), ..self.group }, stamps, ..self }
    }

    /// Opens it. Blocks, unless it is known already that nothing of it can be served.
    pub fn open(&self) -> Result<Opened, OpenError> {
        if let Some(why) = self.refused.get() {
            return Err(OpenError::Nothing(why.clone()));
        }
        let opened = self.read();
        // A file that could not be read is no file that says nothing.
        self.storage.settle()?;
        if let Err(OpenError::Nothing(why)) = &opened {
            // Who lost a race found the same.
            let _ = self.refused.set(why.clone());
        }
        opened
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
        let Group { parts, texts, clips, thumbnails, .. } = &self.group;
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
