//! A presentation that the library holds: what it is made of, and how long that lasts.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::cache::Lease;
use crate::content::clips::{self, Clip};
use crate::content::file::Stamp;
use crate::content::library::folder::{Group, Rule};
use crate::content::storage::Storage;
use crate::content::subtitles::{self, TextFile};
use crate::content::thumbnails::ThumbnailFiles;
use crate::content::vod::{self, OpenError, Opened, Part};

/// A presentation that the library holds.
#[derive(Debug)]
pub struct Entry {
    /// Path under the root, `/` between its parts; of a file without its extension.
    pub name: String,
    /// Which rule made it one.
    pub rule: Rule,
    /// What it is made of; or why it can't be served.
    pub parts: Result<Vec<Part>, String>,
    /// Subtitles beside them.
    pub texts: Vec<TextFile>,
    /// The clips of them that play one after another; none: they are one whole.
    pub clips: Vec<Clip>,
    /// Sheets of thumbnails.
    pub thumbnails: Vec<ThumbnailFiles>,
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
        let Group { name, rule, parts, texts, clips, thumbnails } = group;
        let lease = Arc::default();
        Entry { name, rule, parts, texts, clips, thumbnails, lease, stamps, target, storage, refused: OnceLock::new() }
    }

    /// The same, but not to be served: it stands in the way of another one, made of files like `stamps` together with it.
    pub fn refused(self, why: String, stamps: Vec<(PathBuf, Stamp)>) -> Entry {
        Entry { parts: Err(why), stamps, ..self }
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
        let parts = self.parts.as_ref().map_err(|why| OpenError::Nothing(why.clone()))?;
        let mut warnings = Vec::new();
        let texts = subtitles::read_all(&self.storage, &self.texts, &mut warnings);
        let mut opened = match &self.clips[..] {
            [] => vod::open(&self.storage, parts, texts, &self.thumbnails, self.target)?,
            clips => clips::open(&self.storage, parts, &texts, clips, self.target)?,
        };
        opened.presentation.warnings.extend(warnings);
        Ok(opened)
    }

    /// Whether both are made of the same files in the same state.
    pub fn is_same(&self, other: &Entry) -> bool {
        let made_of = (&self.rule, &self.parts, &self.texts, &self.clips, &self.thumbnails);
        made_of == (&other.rule, &other.parts, &other.texts, &other.clips, &other.thumbnails)
            && self.stamps == other.stamps
    }
}
