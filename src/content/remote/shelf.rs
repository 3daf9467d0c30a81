//! What a storage holds, found by name: the folder that may be meant is listed, once for all who ask, and remembered for a while.
//!
//! ```text
//!   a/b/film   ->  list a/b/film/    files in it that are one presentation
//!              ->  list a/b/         film.mp4 in it, if the files of a/b are not one presentation themselves
//!   film       ->  list film/, and what comes after `film.` at the top, which may hold a million others
//! ```
//!
//! What was listed stays on disk, if there is a folder for it: the first who asks for a name after a start is answered from there, and the storage is
//! asked behind his back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectMeta;

use crate::cache::{Cache, FlightError, Weigh};
use crate::content::file::{SourceError, Stamp};
use crate::content::library::entry::Entry;
use crate::content::library::folder::{self, Folder, Group, has_extension, is_media, lone, stem};
use crate::content::line::Line;
use crate::content::remote::connect::Kind;
use crate::content::remote::listing::{Listing, Of};
use crate::content::remote::store::Store;
use crate::content::remote::view::{View, stamp};
use crate::content::sidecar;
use crate::content::storage::Storage;
use crate::content::subtitles;
use crate::telemetry::{ReadOf, Telemetry};
use crate::time::Utc;

/// How a storage is looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long what was found is taken to be so: 30 s. A replaced object is noticed after that, or when a read of it says so.
    pub age: Duration,
    /// How long segments should be.
    pub segment_target: Duration,
}

/// For how long what could not be looked at again is taken to be what it was: the storage is not asked by every request meanwhile.
const STALE: Duration = Duration::from_secs(5);
/// For how long what is on disk is believed before the storage was asked: an update of this program, or of the machine, takes minutes. Later it
/// counts only if the storage does not answer.
const KEPT_MAX: Duration = Duration::from_secs(3600);
/// Names that are looked at again at once because what is on disk was believed: they leave most of the storage to those who wait for it.
const AGAIN_AT_ONCE: usize = 8;
/// And that wait for that, at a kilobyte each. Of more, who asks next looks himself.
const AGAIN_WAITING_MAX: usize = 16_384;
/// Memory for what was found: some tens of thousands of names.
const FOUND_BYTES_MAX: u64 = 64 << 20;
/// Folders below one without media that are looked into for the tracks of a packaging: beyond, it holds presentations.
const BELOW_MAX: usize = 64;
/// Objects that begin with a name and may belong to it: its media, and its subtitles in many languages.
const BESIDE_MAX: usize = 256;
/// Folders of one storage that are looked into at once. Each keeps a thread that waits for the storage, so that one which hangs leaves threads for
/// all others.
pub const JUDGED_AT_ONCE: usize = 4;
/// Folders that wait for that: as many as a storage may have requests waiting.
const JUDGED_WAITING_MAX: usize = 256;
/// The extensions that are tried of a file on a web server, which can't be listed.
const TRIED: [&str; 4] = ["mp4", "m4v", "mov", "m4a"];

/// A storage as a place of presentations.
#[derive(Debug)]
pub struct Shelf {
    /// What the names of its presentations begin with, and a slash; or nothing.
    prefix: String,
    store: Arc<Store>,
    kind: Kind,
    options: Options,
    found: Cache<Found, Arc<str>>,
    judging: Line,
    /// Where names wait to be looked at again.
    again: Line,
    telemetry: Arc<Telemetry>,
}

/// A look at a storage.
struct Look {
    lists: Lists,
    /// When it is.
    now: Utc,
    /// When what was listed was so: of several listings, the earliest.
    as_of: Utc,
}

/// Where it lists from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lists {
    Storage,
    Disk,
}

/// What was found under a name.
#[derive(Debug)]
struct Found {
    entry: Option<Arc<Entry>>,
    fresh_until: Utc,
}

impl Weigh for Found {
    fn weight(&self) -> u64 {
        let files = self.entry.iter().map(|entry| entry.stamps.len()).sum::<usize>();
        256 + 512 * files as u64
    }
}

impl Found {
    fn is_fresh(&self, now: Utc) -> bool {
        now < self.fresh_until && self.entry.as_ref().is_none_or(|entry| entry.lease.is_live())
    }
}

impl Shelf {
    /// What `store` holds, under names that begin with `prefix` and a slash, or as they are if it is empty.
    pub fn new(prefix: &str, store: Arc<Store>, kind: Kind, options: Options, telemetry: Arc<Telemetry>) -> Shelf {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let judging = Line::new(ReadOf::Folder, JUDGED_AT_ONCE, JUDGED_WAITING_MAX, Arc::clone(&telemetry));
        let again = Line::new(ReadOf::Again, AGAIN_AT_ONCE, AGAIN_WAITING_MAX, Arc::clone(&telemetry));
        Shelf { prefix, store, kind, options, found: Cache::new(FOUND_BYTES_MAX), judging, again, telemetry }
    }

    /// What all its names begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// The presentation called `name`, which begins with the prefix, as of `now`.
    pub async fn entry(self: &Arc<Self>, name: &str, now: Utc) -> Result<Option<Arc<Entry>>, SourceError> {
        let known = self.found.get(name).await;
        if let Some(found) = &known
            && found.is_fresh(now)
        {
            return Ok(found.entry.clone());
        }
        let looking = {
            let (shelf, name, known) = (Arc::clone(self), name.to_owned(), known.clone());
            async move {
                shelf
                    .look(&name, known.as_deref(), now)
                    .await
                    .map(Arc::new)
                    .map_err(|error| Arc::from(error.to_string()))
            }
        };
        let (_, result) = self.found.make(name, move |found| found.is_fresh(now), looking).await;
        let why = match result {
            Ok(found) => return Ok(found.entry.clone()),
            Err(FlightError::Failed(why)) => why,
            Err(FlightError::Lost) => Arc::from("looking at it failed"),
        };
        match known.and_then(|known| known.entry.clone()).filter(|entry| entry.lease.is_live()) {
            // A storage that is down takes nothing off the air.
            Some(entry) => {
                tracing::warn!(presentation = name, why = &*why, "can't be looked at; served as it was");
                self.telemetry.storage_stale.inc();
                entry.lease.renew(now.after(STALE));
                let found = Found { entry: Some(Arc::clone(&entry)), fresh_until: now.after(STALE) };
                self.found.insert(name, Arc::new(found)).await;
                Ok(Some(entry))
            }
            None => Err(SourceError::Storage { path: PathBuf::from(self.url()), why: why.to_string() }),
        }
    }

    /// The presentations that were found so far and are still remembered.
    pub fn known(&self) -> Vec<Arc<Entry>> {
        self.found.values().iter().filter_map(|found| found.entry.clone()).collect()
    }

    async fn look(self: &Arc<Self>, name: &str, known: Option<&Found>, now: Utc) -> Result<Found, SourceError> {
        if known.is_none()
            && let Some((entry, as_of)) = self.kept(name, now).await
            && now < as_of.after(KEPT_MAX)
        {
            let fresh_until = as_of.after(self.options.age);
            if now < fresh_until {
                entry.lease.renew(fresh_until);
                return Ok(Found { entry: Some(entry), fresh_until });
            }
            self.look_again_soon(name, &entry, now);
            return Ok(self.as_it_was(entry, now));
        }
        match self.look_again(name, known, now).await {
            // A storage that is down keeps nothing from coming on air that is known: what is not read of the disk can't be had.
            Err(error) if known.is_none() => match self.kept(name, now).await {
                Some((entry, _)) => {
                    tracing::warn!(presentation = name, %error, "can't be looked at; served as it was listed last");
                    self.telemetry.storage_stale.inc();
                    Ok(self.as_it_was(entry, now))
                }
                None => Err(error),
            },
            found => found,
        }
    }

    /// `entry`, which could not be looked at yet.
    fn as_it_was(&self, entry: Arc<Entry>, now: Utc) -> Found {
        let fresh_until = now.after(STALE);
        entry.lease.renew(fresh_until);
        Found { entry: Some(entry), fresh_until }
    }

    /// What the listings on disk say is called `name`, and when they were made.
    async fn kept(self: &Arc<Self>, name: &str, now: Utc) -> Option<(Arc<Entry>, Utc)> {
        self.store.index()?;
        let mut look = Look { lists: Lists::Disk, now, as_of: now };
        let entry = self.find(name, &mut look).await.ok()??;
        Some((Arc::new(entry), look.as_of))
    }

    /// Has the storage asked whether what is called `name` still is `entry`, and waits for nothing.
    fn look_again_soon(self: &Arc<Self>, name: &str, entry: &Arc<Entry>, now: Utc) {
        let (shelf, name) = (Arc::clone(self), name.to_owned());
        let known = Found { entry: Some(Arc::clone(entry)), fresh_until: now };
        tokio::spawn(async move {
            let Some(_turn) = shelf.again.turn().await else { return };
            let is_later = |found: &Arc<Found>| found.fresh_until > now.after(STALE);
            if shelf.found.get(&name).await.is_some_and(|found| is_later(&found)) {
                return;
            }
            match shelf.look_again(&name, Some(&known), now).await {
                Ok(found) => shelf.found.insert(&name, Arc::new(found)).await,
                // Who asks next looks himself, and is told.
                Err(error) => tracing::debug!(presentation = name, %error, "can't be looked at"),
            }
        });
    }

    async fn look_again(self: &Arc<Self>, name: &str, known: Option<&Found>, now: Utc) -> Result<Found, SourceError> {
        let fresh_until = now.after(self.options.age);
        let found = self.find(name, &mut Look { lists: Lists::Storage, now, as_of: now }).await?;
        let known = known.and_then(|known| known.entry.as_ref()).filter(|known| known.lease.is_live());
        let entry = match (known, found) {
            (Some(known), Some(found)) if known.is_same(&found) => Some(Arc::clone(known)),
            (known, found) => {
                if let Some(known) = known {
                    known.lease.end(now);
                }
                found.map(Arc::new)
            }
        };
        if let Some(entry) = &entry {
            entry.lease.renew(fresh_until);
        }
        Ok(Found { entry, fresh_until })
    }

    /// What is called `name`.
    async fn find(self: &Arc<Self>, name: &str, look: &mut Look) -> Result<Option<Entry>, SourceError> {
        let own = &name[self.prefix.len()..];
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(char::is_control);
        if !own.split('/').all(is_plain) {
            return Ok(None);
        }
        let path = PathBuf::from(format!("/{own}"));
        let parent = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        if self.kind == Kind::Web {
            return match look.lists {
                Lists::Storage => self.find_on_web(&path).await,
                Lists::Disk => Ok(None),
            };
        }
        let mut listed = BTreeMap::new();
        let folders = self.folders(&path, look, &mut listed, &mut Vec::new()).await?;
        if let Some(found) = self.judged(folders, listed, own).await? {
            return Ok(Some(found));
        }
        if parent == Path::new("/") {
            return self.at_the_top(own, look, &path).await;
        }
        let mut listed = BTreeMap::new();
        let folders = self.folders(&parent, look, &mut listed, &mut Vec::new()).await?;
        self.judged(folders, listed, own).await
    }

    /// What there is: in the storage, and then it is kept on disk; or there.
    async fn list(&self, of: Of<'_>, look: &mut Look) -> Result<Listing, SourceError> {
        if look.lists == Lists::Disk {
            return match self.listed(of, look).await {
                Some(listing) => Ok(listing),
                None if self.is_empty(of, look).await => Ok(Listing::default()),
                None => {
                    let why = "it was not listed before".to_owned();
                    Err(SourceError::Storage { path: PathBuf::from(self.url()), why })
                }
            };
        }
        let listing = match of {
            Of::Folder(path) => Listing::from(self.store.list(path).await?),
            Of::Beginning(begins) => {
                let is_beside = |meta: &ObjectMeta| {
                    let path = self.store.path(&meta.location);
                    path.is_some_and(|path| path.to_string_lossy().starts_with(begins))
                };
                let objects = self.store.list_after(Path::new(begins), BESIDE_MAX, is_beside).await?;
                Listing { objects, folders: Vec::new() }
            }
        };
        // The top may hold a million films, and is never asked for as a folder.
        if of != Of::Folder(Path::new("/")) {
            self.keep(of, &listing, look.as_of).await;
        }
        Ok(listing)
    }

    /// Whether the disk says that there is nothing. Of a folder that is empty nothing is kept: what it lies in has no such folder.
    async fn is_empty(&self, of: Of<'_>, look: &mut Look) -> bool {
        let Of::Folder(path) = of else { return false };
        match path.parent().filter(|parent| *parent != Path::new("/")) {
            None => self.listed(Of::Beginning(&format!("{}.", path.display())), look).await.is_some(),
            Some(parent) => {
                let above = self.listed(Of::Folder(parent), look).await;
                above.is_some_and(|above| !above.folders.contains(&self.store.key(path)))
            }
        }
    }

    /// What is on disk of what was listed.
    async fn listed(&self, of: Of<'_>, look: &mut Look) -> Option<Listing> {
        let (file, folder) = (of.file(self.url()), self.store.index()?);
        let reading = folder.in_time(&self.telemetry, move |folder| Listing::read(folder, &file));
        let (listing, as_of) = reading.await??;
        self.telemetry.storage_lists_kept.inc();
        // What is of a time to come was listed by a clock that was wrong, and is as old as it may be.
        look.as_of = if as_of <= look.now { look.as_of.min(as_of) } else { Utc(0) };
        Some(listing)
    }

    /// Puts on disk what was listed, as of `now`; that it is what it was, not all the time.
    async fn keep(&self, of: Of<'_>, listing: &Listing, now: Utc) {
        let Some(folder) = self.store.index() else { return };
        let (file, listing, again) = (of.file(self.url()), listing.clone(), self.options.age / 2);
        let writing = folder.in_time(&self.telemetry, move |folder| match Listing::read(folder, &file) {
            Some((known, as_of)) if known == listing && as_of <= now && now < as_of.after(again) => Ok(()),
            _ => listing.write(folder, &file, now),
        });
        if let Some(Err(error)) = writing.await {
            tracing::warn!(url = self.url(), %error, "what was listed can't be kept on disk");
        }
    }

    /// The file at the top that is called `own`, with its subtitles.
    async fn at_the_top(&self, own: &str, look: &mut Look, path: &Path) -> Result<Option<Entry>, SourceError> {
        let found = self.list(Of::Beginning(&format!("/{own}.")), look).await?;
        let objects = found.objects.into_iter().filter(|meta| {
            let file = self.store.path(&meta.location).unwrap_or_default();
            file.parent() == Some(Path::new("/")) && (file.with_extension("") == *path || subtitles::is_text(&file))
        });
        let mut listed = BTreeMap::new();
        let folder = self.folder(Path::new("/"), objects.collect(), &mut listed);
        let media = folder.media.iter().filter(|(file, _)| file.with_extension("") == *path).cloned().collect();
        self.judged(vec![Folder { media, ..folder }], listed, own).await
    }

    /// The folder at `path`, and if no media lies in it those below that may be its tracks. What is in them is `listed`, and
    /// all folders below are given.
    async fn folders(
        &self,
        path: &Path,
        look: &mut Look,
        listed: &mut BTreeMap<PathBuf, ObjectMeta>,
        all_below: &mut Vec<PathBuf>,
    ) -> Result<Vec<Folder>, SourceError> {
        let Listing { objects, folders: named } = self.list(Of::Folder(path), look).await?;
        all_below.extend(named.iter().filter_map(|folder| self.store.path(folder)));
        let top = self.folder(path, objects, listed);
        let mut folders = vec![top];
        if folders[0].media.is_empty() && named.len() <= BELOW_MAX && path != Path::new("/") {
            for below in all_below.iter() {
                let found = self.list(Of::Folder(below), look).await?;
                folders.push(self.folder(below, found.objects, listed));
            }
        }
        Ok(folders)
    }

    /// What `objects`, directly in the folder at `path`, are; they are `listed`.
    fn folder(&self, path: &Path, objects: Vec<ObjectMeta>, listed: &mut BTreeMap<PathBuf, ObjectMeta>) -> Folder {
        let mut folder = Folder { path: path.to_path_buf(), ..Folder::default() };
        for meta in objects {
            let Some(path) = self.store.path(&meta.location) else { continue };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with('.') || name.contains(char::is_control) {
                continue;
            }
            folder.has_manifest |= has_extension(&name, &["mpd", "m3u8"]);
            let found: (PathBuf, Stamp) = (path.clone(), stamp(&meta));
            if sidecar::is_sidecar(&path) {
                folder.sidecar = Some(found);
            } else if is_media(&name) {
                folder.media.push(found);
            } else if subtitles::is_text(&path) {
                folder.texts.push(found);
            }
            listed.insert(path, meta);
        }
        folder.media.sort_by(|a, b| a.0.cmp(&b.0));
        folder.texts.sort_by(|a, b| a.0.cmp(&b.0));
        folder
    }

    /// The presentation called `own` among those that the files of the first of `folders` are.
    async fn judged(
        &self,
        folders: Vec<Folder>,
        listed: BTreeMap<PathBuf, ObjectMeta>,
        own: &str,
    ) -> Result<Option<Entry>, SourceError> {
        let all = self.judge(folders, listed, Some(own)).await?;
        let mut named = all.into_iter().filter(|entry| entry.name()[self.prefix.len()..] == *own);
        let found = named.next();
        Ok(match named.next() {
            None => found,
            Some(twin) => {
                let why = format!("two things are called {own}");
                found.map(|entry| entry.refused(why, twin.stamps))
            }
        })
    }

    /// The presentations that the files of the first of `folders` are; of many, if it can be told apart, those that are called `own`.
    async fn judge(
        &self,
        folders: Vec<Folder>,
        listed: BTreeMap<PathBuf, ObjectMeta>,
        own: Option<&str>,
    ) -> Result<Vec<Entry>, SourceError> {
        if folders.iter().all(|folder| folder.media.is_empty() && folder.sidecar.is_none()) {
            return Ok(Vec::new());
        }
        let storage = Storage::Remote(Arc::new(View::new(Arc::clone(&self.store), listed)));
        let Some(_turn) = self.judging.turn().await else {
            return Err(SourceError::Busy { path: PathBuf::from(self.url()) });
        };
        let judging = {
            let (storage, own) = (storage.clone(), own.map(str::to_owned));
            // It may read the heads of files.
            tokio::task::spawn_blocking(move || {
                let shelf = folder::Shelf { storage: &storage, root: Path::new("/"), follow_symlinks: true };
                let (folder, below) = folders.split_first().expect("there is a folder");
                let named = own.and_then(|own| shelf.judge_named(folder, &own));
                let groups = named.unwrap_or_else(|| shelf.judge(folder, &below.iter().collect::<Vec<_>>()));
                let stamps: Vec<_> = folders.iter().flat_map(Folder::all_stamps).collect();
                let by_path = folder::by_path(&stamps);
                let with_stamps = groups.into_iter().map(|group| {
                    let stamps = folder.stamps_of(&storage, &group, &by_path);
                    (group, stamps)
                });
                let with_stamps: Vec<_> = with_stamps.collect();
                storage.settle()?;
                Ok::<_, SourceError>(with_stamps)
            })
        };
        let judged = judging.await.map_err(|_| SourceError::Storage {
            path: PathBuf::from(self.url()),
            why: "the folder could not be judged".to_owned(),
        })?;
        Ok(judged?.into_iter().map(|(group, stamps)| self.made(group, stamps, storage.clone())).collect())
    }

    /// The presentations directly in the folder at `path`, and the folders below it that may hold others.
    pub async fn of_folder(&self, path: &Path, now: Utc) -> Result<(Vec<Entry>, Vec<PathBuf>), SourceError> {
        let mut listed = BTreeMap::new();
        let mut below: Vec<PathBuf> = Vec::new();
        let mut look = Look { lists: Lists::Storage, now, as_of: now };
        let folders = self.folders(path, &mut look, &mut listed, &mut below).await?;
        if path == Path::new("/") {
            self.keep_beginnings(&folders[0], &listed, now).await;
        }
        let entries = self.judge(folders, listed, None).await?;
        // Folders whose files belong to a presentation here are none of their own.
        let files = |entry: &Entry| {
            entry.stamps.iter().filter_map(|(file, _)| file.parent().map(Path::to_path_buf)).collect::<Vec<_>>()
        };
        let taken: Vec<PathBuf> = entries.iter().flat_map(files).collect();
        below.retain(|below| {
            let name = below.file_name().unwrap_or_default().to_string_lossy();
            !name.starts_with('.') && !taken.iter().any(|taken| taken.starts_with(below))
        });
        Ok((entries, below))
    }

    /// Puts on disk what a look for each film at the top would have listed, as of `now`.
    async fn keep_beginnings(&self, top: &Folder, listed: &BTreeMap<PathBuf, ObjectMeta>, now: Utc) {
        for (film, _) in &top.media {
            let begins = format!("/{}.", stem(film));
            let beside = listed.range(PathBuf::from(&begins)..).map(|(path, meta)| (path.to_string_lossy(), meta));
            let beside = beside.take_while(|(path, _)| path.starts_with(&begins)).take(BESIDE_MAX);
            let objects = beside.map(|(_, meta)| meta.clone()).collect();
            self.keep(Of::Beginning(&begins), &Listing { objects, folders: Vec::new() }, now).await;
        }
    }

    fn made(&self, group: Group, stamps: Vec<(PathBuf, Stamp)>, storage: Storage) -> Entry {
        let group = group.below(self.prefix.trim_end_matches('/'));
        Entry::new(Arc::new(group), stamps, Arc::from(self.url()), self.options.segment_target, storage)
    }

    /// What a web server has under the name: a file with one of the usual extensions, or a folder with a `presentation.toml`.
    async fn find_on_web(&self, path: &Path) -> Result<Option<Entry>, SourceError> {
        let mut listed = BTreeMap::new();
        let own = path.to_string_lossy()[1..].to_owned();
        let mut there = async |path: PathBuf| -> Result<Option<(PathBuf, Stamp)>, SourceError> {
            let Some(meta) = self.store.head(&self.store.key(&path)).await? else { return Ok(None) };
            let found = (path.clone(), stamp(&meta));
            listed.insert(path, meta);
            Ok(Some(found))
        };
        let mut media = None;
        for extension in TRIED {
            media = there(PathBuf::from(format!("{}.{extension}", path.display()))).await?;
            if media.is_some() {
                break;
            }
        }
        if let Some((file, stamp)) = media {
            let storage = Storage::Remote(Arc::new(View::new(Arc::clone(&self.store), listed)));
            let group = lone(&file, Path::new("/"));
            return Ok(Some(self.made(group, vec![(file, stamp)], storage)));
        }
        match there(path.join(sidecar::NAME)).await? {
            Some(sidecar) => {
                let folder = Folder { path: path.to_path_buf(), sidecar: Some(sidecar), ..Folder::default() };
                self.judged(vec![folder], listed, &own).await
            }
            None => Ok(None),
        }
    }
}
