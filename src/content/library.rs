//! A folder of files as presentations: which files belong together, and noticing when they change.
//!
//! A file directly in the root is a presentation of its own. In a folder below, media files make one together when a
//! `presentation.toml` says so, when they are an existing packaging, or on proof; else each is one of its own.

pub mod entry;
pub mod folder;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::content::file::{SourceError, Stamp};
use crate::content::library::entry::Entry;
use crate::content::library::folder::{Folder, Group, Rule, Shelf, attach, has_extension, is_media, lone, stem};
use crate::content::remote;
use crate::content::sidecar;
use crate::content::storage::Storage;
use crate::content::subtitles;
use crate::time::Utc;

/// How a library is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Folders, or files.
    pub roots: Vec<Root>,
    /// How long segments should be: 6 s, Apple's recommendation, a compromise of start-up time and number of requests.
    pub segment_target: Duration,
    /// Whether symbolic links below the root are followed: no, since they may lead out of it.
    pub follow_symlinks: bool,
    /// How often files are looked at for changes: 2 s. Polled, since network file systems tell nobody of changes.
    pub scan_interval: Duration,
    /// How long the old version of a replaced presentation is served; `None`: as long as it plays plus the lifetime of a
    /// manifest, its duration counting for 6 h at most.
    pub grace: Option<Duration>,
}

impl Options {
    /// The defaults for a library at `root`.
    pub fn new(root: PathBuf) -> Options {
        Options {
            roots: vec![Root { prefix: String::new(), path: root }],
            segment_target: Duration::from_secs(6),
            follow_symlinks: false,
            scan_interval: Duration::from_secs(2),
            grace: None,
        }
    }
}

/// A folder, or a file, of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// What the names of its presentations begin with, and a slash; or nothing.
    pub prefix: String,
    /// Where it is.
    pub path: PathBuf,
}

impl Root {
    /// What tells it from all others.
    pub fn name(&self) -> Arc<str> {
        Arc::from(self.path.to_string_lossy())
    }
}

/// Folders below folders below folders: deeper is a loop, or not a library.
const DEPTH_MAX: usize = 16;
/// The most files of a library that are looked at.
const FILES_MAX: usize = 1_000_000;
/// A file modified less than this ago may still grow, and is left alone until it rests.
pub const REST: Duration = Duration::from_secs(2);
/// What the library holds at one time.
#[derive(Debug, Default)]
pub struct Catalog {
    /// By name.
    pub entries: BTreeMap<String, Arc<Entry>>,
    /// What is odd about the library itself.
    pub warnings: Vec<String>,
    /// Whether files were left out because they may still grow.
    pub is_unsettled: bool,
}

/// Folders of presentations, of this machine and elsewhere.
#[derive(Debug)]
pub struct Library {
    options: Options,
    /// Storages, those with longer prefixes first.
    shelves: Vec<Arc<remote::shelf::Shelf>>,
    catalog: ArcSwap<Catalog>,
    /// Counts the changes of the catalogue.
    generation: AtomicU64,
    /// Of each root, folders whose files have not changed since they were judged, and the judgement.
    judged: Mutex<Vec<BTreeMap<PathBuf, Judged>>>,
}

#[derive(Debug)]
struct Judged {
    stamps: Vec<(PathBuf, Stamp)>,
    groups: Vec<Arc<Group>>,
}

/// Files that are one presentation, and what they and the others that matter to it are like.
type Found = (Arc<Group>, Vec<(PathBuf, Stamp)>);

impl Library {
    /// A library that has not been looked at yet.
    pub fn new(options: Options) -> Library {
        Library::with_shelves(options, Vec::new())
    }

    /// The same, and what lies in storages elsewhere.
    pub fn with_shelves(options: Options, mut shelves: Vec<Arc<remote::shelf::Shelf>>) -> Library {
        shelves.sort_by_key(|shelf| std::cmp::Reverse(shelf.prefix().len()));
        Library {
            options,
            shelves,
            catalog: ArcSwap::default(),
            generation: AtomicU64::new(0),
            judged: Mutex::default(),
        }
    }

    /// How it is read.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What it holds.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.load_full()
    }

    /// Changes whenever the catalogue does.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The storages.
    pub fn shelves(&self) -> &[Arc<remote::shelf::Shelf>] {
        &self.shelves
    }

    /// The presentation called `name`, wherever it is, as of `now`. What lies in a storage may have to be looked for.
    pub async fn find(&self, name: &str, now: Utc) -> Result<Option<Arc<Entry>>, SourceError> {
        if let Some(entry) = self.entry(name) {
            return Ok(Some(entry));
        }
        match self.shelves.iter().find(|shelf| name.starts_with(shelf.prefix())) {
            Some(shelf) => shelf.entry(name, now).await,
            None => Ok(None),
        }
    }

    /// At most `limit` presentations whose names come after `after`, by name: of this machine, and those of storages that somebody
    /// asked for.
    pub fn listed(&self, after: Option<&str>, limit: usize) -> Vec<Arc<Entry>> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let catalog = self.catalog.load();
        let local = catalog.entries.range::<str, _>((from, Unbounded)).take(limit).map(|(_, entry)| Arc::clone(entry));
        let remote = self.shelves.iter().flat_map(|shelf| shelf.known());
        let remote = remote.filter(|entry| after.is_none_or(|after| entry.name() > after));
        let mut all: Vec<Arc<Entry>> = local.chain(remote).collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all.dedup_by(|a, b| a.name() == b.name());
        all.truncate(limit);
        all
    }

    /// The presentation called `name` that lies on this machine.
    pub fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.catalog.load().entries.get(name).cloned()
    }

    /// The same where one clock says the time of both.
    pub fn rescan(&self, now: Utc) -> std::io::Result<()> {
        self.rescan_at(now, now)
    }

    /// Looks at all files, ends the leases of what changed as of `now`, and publishes what there is; how old a file is `wall` says, which is
    /// the clock that its times are of. Blocks.
    pub fn rescan_at(&self, now: Utc, wall: Utc) -> std::io::Result<()> {
        let mut walk = Walk {
            options: &self.options,
            wall,
            folders: Vec::new(),
            files: 0,
            warnings: Vec::new(),
            unsettled: BTreeSet::new(),
            unread: Vec::new(),
        };
        let before = std::mem::take(&mut *self.judged.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let mut before = before.into_iter();
        let mut judged = Vec::new();
        let mut groups = Vec::new();
        let mut failures = Vec::new();
        for root in &self.options.roots {
            let (Root { prefix, path }, library) = (root, root.name());
            let before = before.next().unwrap_or_default();
            let found = path.canonicalize().and_then(|root| {
                let alone = root.is_file().then(|| Stamp::at(&root)).transpose()?;
                Ok((root, alone))
            });
            let (root, alone) = match found {
                Ok(found) => found,
                // Others are looked at all the same.
                Err(error) => {
                    judged.push(before);
                    failures.push((library, std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))));
                    continue;
                }
            };
            let mut judged_here = BTreeMap::new();
            if let Some(stamp) = alone {
                let mut stamps = vec![(root.clone(), stamp)];
                let mut alone = vec![lone(&root, Path::new(""))];
                let found = walk.texts_beside(&root);
                attach(&mut alone, &found, None);
                let texts = found.into_iter().filter(|(path, _)| alone[0].texts.iter().any(|text| text.path == *path));
                stamps.extend(texts);
                let alone = alone.into_iter().map(|group| (Arc::new(group.below(prefix)), stamps.clone()));
                groups.extend(alone.map(|(group, stamps)| (group, stamps, Arc::clone(&library))));
            } else {
                walk.folders.clear();
                walk.folder(&root, 0);
                let mut found = Vec::new();
                judged_here = self.judge_all(&walk.folders, &root, prefix, before, &mut found);
                groups.extend(found.into_iter().map(|(group, stamps)| (group, stamps, Arc::clone(&library))));
            }
            judged.push(judged_here);
        }
        *self.judged.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = judged;
        if failures.len() == self.options.roots.len()
            && let Some((_, error)) = failures.pop()
        {
            return Err(error);
        }
        walk.warnings.extend(failures.iter().map(|(_, error)| format!("{error}: what was found there before is kept")));
        let is_unsettled = !walk.unsettled.is_empty();
        let mut catalog = Catalog { entries: BTreeMap::new(), warnings: walk.warnings, is_unsettled };
        let old = self.catalog.load();
        // A file that is being replaced, or that can't be looked at just now, takes nothing off the air: what was found before
        // is kept as it was until it shows what it is.
        let in_doubt = |(path, _): &(PathBuf, Stamp)| {
            walk.unsettled.contains(path) || walk.unread.iter().any(|above| path.starts_with(above))
        };
        let is_held = |entry: &Entry| {
            entry.stamps.iter().any(in_doubt) || failures.iter().any(|(library, _)| **library == *entry.library())
        };
        let held = old.entries.values().filter(|entry| entry.lease.is_live() && is_held(entry));
        let mut taken = BTreeSet::new();
        for entry in held {
            taken.extend(entry.stamps.iter().map(|(path, _)| path));
            catalog.entries.insert(entry.name().to_owned(), Arc::clone(entry));
        }
        let target = self.options.segment_target;
        for (group, stamps, library) in groups {
            if stamps.iter().any(|(path, _)| taken.contains(path)) {
                continue;
            }
            let name = group.name.clone();
            let entry = Entry::new(group, stamps, library, target, Storage::Local);
            let entry = match catalog.entries.get(&name) {
                Some(twin) => clash(twin, entry),
                None => entry,
            };
            let kept = old.entries.get(&name).filter(|old| old.is_same(&entry) && old.lease.is_live());
            let entry = kept.cloned().unwrap_or_else(|| Arc::new(entry));
            catalog.entries.insert(name, entry);
        }
        for (name, entry) in &old.entries {
            if !catalog.entries.get(name).is_some_and(|new| Arc::ptr_eq(new, entry)) {
                entry.lease.end(now);
            }
        }
        let pairs = old.entries.values().zip(catalog.entries.values());
        let is_changed =
            old.entries.len() != catalog.entries.len() || !pairs.into_iter().all(|(a, b)| Arc::ptr_eq(a, b));
        drop(old);
        self.catalog.store(Arc::new(catalog));
        if is_changed {
            self.generation.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Judges each folder, or remembers how it was judged.
    fn judge_all(
        &self,
        folders: &[Folder],
        root: &Path,
        prefix: &str,
        mut before: BTreeMap<PathBuf, Judged>,
        groups: &mut Vec<Found>,
    ) -> BTreeMap<PathBuf, Judged> {
        let shelf = Shelf { storage: &Storage::Local, root, follow_symlinks: self.options.follow_symlinks };
        let mut judged = BTreeMap::new();
        let mut claimed: BTreeSet<PathBuf> = BTreeSet::new();
        for (index, folder) in folders.iter().enumerate() {
            if folder.path.ancestors().any(|above| claimed.contains(above)) {
                continue;
            }
            let is_root = folder.path == root;
            // The walk goes down before it goes on, so the folders below follow.
            let after = if is_root { &[] } else { &folders[index + 1..] };
            let below: Vec<&Folder> = after.iter().take_while(|f| f.path.starts_with(&folder.path)).collect();
            let mut stamps = folder.all_stamps();
            stamps.extend(below.iter().flat_map(|f| f.all_stamps()));
            let (known, old) = match before.remove(&folder.path) {
                Some(old) if old.stamps == stamps => (Some(old), None),
                old => (None, old),
            };
            // Files that were each one of their own are no segments, so what came to them is looked at, and they are not.
            let apart = old.filter(|old| old.groups.iter().all(|group| group.rule == Rule::File));
            let apart = apart.map(|old| old.stamps).unwrap_or_default();
            let apart = folder::by_path(&apart);
            let was_known = known.is_some();
            let judgement = known.unwrap_or_else(|| {
                let groups = shelf.judge_again(folder, &below, &apart);
                let groups = groups.into_iter().map(|group| Arc::new(group.below(prefix)));
                Judged { groups: groups.collect(), stamps }
            });
            let of_several = judgement.groups.iter().filter(|g| matches!(g.rule, Rule::Packaging | Rule::Said));
            for group in of_several {
                if folder.media.is_empty() {
                    claimed.insert(folder.path.clone());
                }
                // Folders below whose files it has are no presentations of their own.
                let folders =
                    group.parts.iter().flatten().flat_map(|part| &part.files).filter_map(|file| file.parent());
                claimed.extend(folders.filter(|below| *below != folder.path).map(Path::to_path_buf));
            }
            let by_path = folder::by_path(&judgement.stamps);
            for group in &judgement.groups {
                groups.push((Arc::clone(group), folder.stamps_of(shelf.storage, group, &by_path)));
            }
            // A judgement over files that could not be read is made again next time.
            let is_seen = |(path, stamp): &(PathBuf, Stamp)| {
                apart.get(path.as_path()) == Some(stamp) || std::fs::File::open(path).is_ok()
            };
            let sees_all = was_known || is_root || judgement.stamps.iter().all(is_seen);
            if sees_all {
                judged.insert(folder.path.clone(), judgement);
            }
        }
        judged
    }
}

/// Two things with one name: neither is served, and both are named.
fn clash(a: &Entry, b: Entry) -> Entry {
    let files = |entry: &Entry| {
        let first =
            entry.stamps.first().map(|(path, _)| path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        first.unwrap_or_default()
    };
    let why = format!("two things are called {}: {} and {}", a.name(), files(a), files(&b));
    let stamps = a.stamps.iter().chain(&b.stamps).cloned().collect();
    b.refused(why, stamps)
}

struct Walk<'a> {
    options: &'a Options,
    wall: Utc,
    folders: Vec<Folder>,
    files: usize,
    warnings: Vec<String>,
    /// Files that may still grow.
    unsettled: BTreeSet<PathBuf>,
    /// Folders and files that can't be looked at.
    unread: Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, depth: usize) {
        if depth > DEPTH_MAX {
            self.warnings.push(format!("{}: more than {DEPTH_MAX} folders deep, left out", path.display()));
            return;
        }
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                self.warnings.push(format!("{}: {error}", path.display()));
                self.unread.push(path.to_path_buf());
                return;
            }
        };
        // What a name is, the folder says itself, mostly: a question a file less.
        let found = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.ok()?;
            Some((entry.path(), entry.file_type().ok()?))
        };
        let mut names: Vec<_> = entries.filter_map(found).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let mut folder = Folder {
            path: path.to_path_buf(),
            media: Vec::new(),
            texts: Vec::new(),
            sidecar: None,
            has_manifest: false,
        };
        let mut below = Vec::new();
        for (path, kind) in names {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                self.warnings.push(format!("{}: a name that is not UTF-8, left out", path.display()));
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            if name.contains(char::is_control) {
                self.warnings.push(format!("{path:?}: a name with control characters, left out"));
                continue;
            }
            if kind.is_symlink() && !self.options.follow_symlinks {
                if is_media(name) || path.is_dir() {
                    self.warnings
                        .push(format!("{}: a symbolic link, left out (see --follow-symlinks)", path.display()));
                }
                continue;
            }
            if kind.is_dir() || kind.is_symlink() && path.is_dir() {
                below.push(path);
                continue;
            }
            self.files += 1;
            if self.files == FILES_MAX {
                self.warnings.push(format!("more than {FILES_MAX} files, the rest is left out"));
            }
            if self.files >= FILES_MAX {
                continue;
            }
            folder.has_manifest |= has_extension(name, &["mpd", "m3u8"]);
            if sidecar::is_sidecar(&path) {
                folder.sidecar = Stamp::at(&path).ok().map(|stamp| (path, stamp));
            } else if let Some(files) = match (is_media(name), subtitles::is_text(&path)) {
                (true, _) => Some(&mut folder.media),
                (false, true) => Some(&mut folder.texts),
                (false, false) => None,
            } && let Some(stamp) = self.resting(&path)
            {
                files.push((path, stamp));
            }
        }
        self.folders.push(folder);
        for path in below {
            self.folder(&path, depth + 1);
        }
    }

    /// Files of subtitles that may belong to the file at `media`: they rest, and their names begin as its does.
    fn texts_beside(&mut self, media: &Path) -> Vec<(PathBuf, Stamp)> {
        let stem = stem(media);
        let Some(Ok(entries)) = media.parent().map(std::fs::read_dir) else { return Vec::new() };
        let mut found = Vec::new();
        for path in entries.take(FILES_MAX).filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&stem));
            let is_file =
                || std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_file() || self.options.follow_symlinks);
            if named
                && subtitles::is_text(&path)
                && is_file()
                && let Some(stamp) = self.resting(&path)
            {
                found.push((path, stamp));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// What the file at `path` is like, if it rests; that it may still grow, or can't be looked at, is noted.
    fn resting(&mut self, path: &Path) -> Option<Stamp> {
        let stamp = match Stamp::at(path) {
            Ok(stamp) => stamp,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(_) => {
                self.unread.push(path.to_path_buf());
                return None;
            }
        };
        let age_ns = i128::from(self.wall.0) * 1_000_000 - stamp.modified_ns;
        // A clock that is ahead (a copy that kept its times from elsewhere) is no sign of growth.
        if (0..REST.as_nanos() as i128).contains(&age_ns) {
            self.unsettled.insert(path.to_path_buf());
            return None;
        }
        Some(stamp)
    }
}
