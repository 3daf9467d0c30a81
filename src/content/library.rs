//! A folder of files as presentations: which files belong together, and noticing when they change.
//!
//! A file directly in the root is a presentation of its own. In a folder below, media files make one together when a
//! `presentation.toml` says so, when they are an existing packaging, or on proof; else each is one of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::cache::Lease;
use crate::content::clips::{self, Clip};
use crate::content::scan::{self, Looks};
use crate::content::sidecar::{self, Named, Sidecar};
use crate::content::source::{Source, Stamp};
use crate::content::subtitles::{self, TextFile};
use crate::content::thumbnails::ThumbnailFiles;
use crate::content::vod::{self, OpenError, Opened, Part, Said, track_name};
use crate::media::presentation::Presentation;
use crate::media::track::Kind;
use crate::time::{MediaTime, Timescale, Utc};

/// How a library is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The folder, or the one file.
    pub root: PathBuf,
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
            root,
            segment_target: Duration::from_secs(6),
            follow_symlinks: false,
            scan_interval: Duration::from_secs(2),
            grace: None,
        }
    }
}

/// Folders below folders below folders: deeper is a loop, or not a library.
const DEPTH_MAX: usize = 16;
/// The most files of a library that are looked at.
const FILES_MAX: usize = 1_000_000;
/// A file modified less than this ago may still grow, and is left alone until it rests.
pub const REST: Duration = Duration::from_secs(2);
/// Files that proof finds to belong together: as many as a rich ladder with all its languages has.
const PROOF_FILES_MAX: usize = 64;

/// Which rule made files one presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A file of its own.
    File,
    /// `presentation.toml` says so.
    Said,
    /// Initialization segments and media segments.
    Packaging,
    /// Single tracks, of equal length.
    EqualTracks,
    /// Muxed files with the same audio.
    SharedAudio,
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rule::File => "a file of its own",
            Rule::Said => "presentation.toml says so",
            Rule::Packaging => "an existing packaging: initialization and media segments",
            Rule::EqualTracks => "single tracks whose durations are within a second of each other",
            Rule::SharedAudio => "muxed files that share the same audio",
        })
    }
}

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
    stamps: Vec<(PathBuf, Stamp)>,
    target: Duration,
    /// Why nothing of it can be served, once that was found: these files will say the same again.
    refused: OnceLock<String>,
}

impl Entry {
    /// Opens it. Blocks, unless it is known already that nothing of it can be served.
    pub fn open(&self) -> Result<Opened, OpenError> {
        if let Some(why) = self.refused.get() {
            return Err(OpenError::Nothing(why.clone()));
        }
        let opened = self.read();
        if let Err(OpenError::Nothing(why)) = &opened {
            // Who lost a race found the same.
            let _ = self.refused.set(why.clone());
        }
        opened
    }

    /// Whether it is known that nothing of it can be served.
    pub fn is_refused(&self) -> bool {
        self.refused.get().is_some()
    }

    fn read(&self) -> Result<Opened, OpenError> {
        let parts = self.parts.as_ref().map_err(|why| OpenError::Nothing(why.clone()))?;
        let mut warnings = Vec::new();
        let texts = subtitles::read_all(&self.texts, &mut warnings);
        let mut opened = match &self.clips[..] {
            [] => vod::open(parts, texts, &self.thumbnails, self.target)?,
            clips => clips::open(parts, &texts, clips, self.target)?,
        };
        opened.presentation.warnings.extend(warnings);
        Ok(opened)
    }

    fn is_same(&self, other: &Entry) -> bool {
        let made_of = (&self.rule, &self.parts, &self.texts, &self.clips, &self.thumbnails);
        made_of == (&other.rule, &other.parts, &other.texts, &other.clips, &other.thumbnails)
            && self.stamps == other.stamps
    }
}

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

/// A folder of presentations.
#[derive(Debug)]
pub struct Library {
    options: Options,
    catalog: ArcSwap<Catalog>,
    /// Counts the changes of the catalogue.
    generation: AtomicU64,
    /// Folders whose files have not changed since they were judged, and the judgement.
    judged: Mutex<BTreeMap<PathBuf, Judged>>,
}

#[derive(Debug, Clone)]
struct Judged {
    stamps: Vec<(PathBuf, Stamp)>,
    groups: Vec<Group>,
}

/// Files that are one presentation.
#[derive(Debug, Clone)]
struct Group {
    name: String,
    rule: Rule,
    parts: Result<Vec<Part>, String>,
    texts: Vec<TextFile>,
    clips: Vec<Clip>,
    thumbnails: Vec<ThumbnailFiles>,
}

impl Library {
    /// A library that has not been looked at yet.
    pub fn new(options: Options) -> Library {
        Library { options, catalog: ArcSwap::default(), generation: AtomicU64::new(0), judged: Mutex::default() }
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

    /// The presentation called `name`.
    pub fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.catalog.load().entries.get(name).cloned()
    }

    /// Looks at all files, ends the leases of what changed, and publishes what there is now. Blocks.
    pub fn rescan(&self, now: Utc) -> std::io::Result<()> {
        let mut walk = Walk {
            options: &self.options,
            now,
            folders: Vec::new(),
            files: 0,
            warnings: Vec::new(),
            unsettled: BTreeSet::new(),
            unread: Vec::new(),
        };
        let root = self.options.root.canonicalize()?;
        let groups = if root.is_file() {
            let mut stamps = vec![(root.clone(), Stamp::at(&root)?)];
            let mut groups = vec![lone(&root, Path::new(""))];
            let found = walk.texts_beside(&root);
            attach(&mut groups, &found, None);
            stamps.extend(found.into_iter().filter(|(path, _)| groups[0].texts.iter().any(|text| text.path == *path)));
            groups.into_iter().map(|group| (group, stamps.clone())).collect()
        } else {
            walk.folder(&root, 0);
            let mut groups = Vec::new();
            let taken = self.judge_all(&walk.folders, &root, &mut groups);
            *self.judged.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = taken;
            groups
        };
        let is_unsettled = !walk.unsettled.is_empty();
        let mut catalog = Catalog { entries: BTreeMap::new(), warnings: walk.warnings, is_unsettled };
        let old = self.catalog.load();
        // A file that is being replaced, or that can't be looked at just now, takes nothing off the air: what was found before
        // is kept as it was until it shows what it is.
        let in_doubt = |(path, _): &(PathBuf, Stamp)| {
            walk.unsettled.contains(path) || walk.unread.iter().any(|above| path.starts_with(above))
        };
        let held = old.entries.values().filter(|entry| entry.lease.is_live() && entry.stamps.iter().any(in_doubt));
        let mut taken = BTreeSet::new();
        for entry in held {
            taken.extend(entry.stamps.iter().map(|(path, _)| path));
            catalog.entries.insert(entry.name.clone(), Arc::clone(entry));
        }
        let target = self.options.segment_target;
        for (group, stamps) in groups {
            if stamps.iter().any(|(path, _)| taken.contains(path)) {
                continue;
            }
            let Group { name, rule, parts, texts, clips, thumbnails } = group;
            let lease = Arc::default();
            let entry = Entry {
                name: name.clone(),
                rule,
                parts,
                texts,
                clips,
                thumbnails,
                lease,
                stamps,
                target,
                refused: OnceLock::new(),
            };
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
        groups: &mut Vec<(Group, Vec<(PathBuf, Stamp)>)>,
    ) -> BTreeMap<PathBuf, Judged> {
        let before = std::mem::take(&mut *self.judged.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
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
            let judgement = match before.get(&folder.path) {
                Some(old) if old.stamps == stamps => old.clone(),
                _ => Judged { groups: judge(folder, &below, root, self.options.follow_symlinks), stamps },
            };
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
            let by_path: BTreeMap<&PathBuf, &Stamp> =
                judgement.stamps.iter().map(|(path, stamp)| (path, stamp)).collect();
            let sidecar = folder.sidecar.iter().map(|(path, _)| path);
            for group in &judgement.groups {
                let files = group.parts.iter().flatten().flat_map(|part| &part.files);
                let files = files.chain(group.texts.iter().map(|text| &text.path)).chain(sidecar.clone());
                let made_of: BTreeMap<&PathBuf, &Stamp> =
                    files.filter_map(|path| by_path.get(path).map(|stamp| (path, *stamp))).collect();
                let mut made_of: Vec<(PathBuf, Stamp)> =
                    made_of.into_iter().map(|(path, stamp)| (path.clone(), *stamp)).collect();
                // Pictures are not looked for, so these are asked for by name.
                let sheets = group.thumbnails.iter().flat_map(|thumbnails| &thumbnails.files);
                made_of.extend(sheets.filter_map(|path| Some((path.clone(), Stamp::at(path).ok()?))));
                groups.push((group.clone(), made_of));
            }
            // A judgement over files that could not be read is made again next time.
            let was_known = before.get(&folder.path).is_some_and(|old| old.stamps == judgement.stamps);
            let sees_all =
                was_known || is_root || judgement.stamps.iter().all(|(path, _)| std::fs::File::open(path).is_ok());
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
    let why = format!("two things are called {}: {} and {}", a.name, files(a), files(&b));
    let stamps = a.stamps.iter().chain(&b.stamps).cloned().collect();
    Entry { parts: Err(why), stamps, ..b }
}

/// A folder as it was found.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Media files that rest, by name.
    media: Vec<(PathBuf, Stamp)>,
    /// Files of subtitles that rest, by name.
    texts: Vec<(PathBuf, Stamp)>,
    /// `presentation.toml`, if it is there.
    sidecar: Option<(PathBuf, Stamp)>,
    has_manifest: bool,
}

impl Folder {
    fn all_stamps(&self) -> Vec<(PathBuf, Stamp)> {
        self.media.iter().chain(&self.texts).chain(&self.sidecar).cloned().collect()
    }
}

struct Walk<'a> {
    options: &'a Options,
    now: Utc,
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
        let mut names: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        names.sort();
        let mut folder = Folder {
            path: path.to_path_buf(),
            media: Vec::new(),
            texts: Vec::new(),
            sidecar: None,
            has_manifest: false,
        };
        let mut below = Vec::new();
        for path in names {
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
            let Ok(kind) = std::fs::symlink_metadata(&path).map(|m| m.file_type()) else { continue };
            if kind.is_symlink() && !self.options.follow_symlinks {
                if is_media(name) || path.is_dir() {
                    self.warnings
                        .push(format!("{}: a symbolic link, left out (see --follow-symlinks)", path.display()));
                }
                continue;
            }
            if path.is_dir() {
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
        let age_ns = i128::from(self.now.0) * 1_000_000 - stamp.modified_ns;
        // A clock that is ahead (a copy that kept its times from elsewhere) is no sign of growth.
        if (0..REST.as_nanos() as i128).contains(&age_ns) {
            self.unsettled.insert(path.to_path_buf());
            return None;
        }
        Some(stamp)
    }
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    extensions.iter().any(|e| extension.eq_ignore_ascii_case(e))
}

/// Whether a file is taken for MP4 by its name.
pub fn is_media(name: &str) -> bool {
    has_extension(
        name,
        &["mp4", "m4v", "m4a", "m4s", "m4f", "mov", "cmfv", "cmfa", "cmft", "cmfm", "fmp4", "ismv", "isma", "f4v"],
    )
}

/// The name of what lies at `path`, under `root`.
fn name_of(path: &Path, root: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    relative.to_string_lossy().into_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn lone(path: &Path, root: &Path) -> Group {
    let name = if root.as_os_str().is_empty() { stem(path) } else { name_of(&path.with_extension(""), root) };
    let part = Part { name: track_name(&stem(path)), files: vec![path.to_path_buf()], said: Said::default() };
    Group {
        name,
        rule: Rule::File,
        parts: Ok(vec![part]),
        texts: Vec::new(),
        clips: Vec::new(),
        thumbnails: Vec::new(),
    }
}

/// The most files of subtitles of one presentation.
const TEXTS_MAX: usize = 150;

/// Gives each of `texts` to the presentation that its name speaks of: of `groups` in one folder, the file whose name it begins
/// with; else all of the `folder` if that is one presentation.
fn attach(groups: &mut [Group], texts: &[(PathBuf, Stamp)], folder: Option<&Path>) {
    let mut files: BTreeMap<String, usize> = BTreeMap::new();
    let mut members: BTreeSet<String> = BTreeSet::new();
    let mut whole = None;
    for (index, group) in groups.iter().enumerate() {
        let stems = group.parts.iter().flatten().flat_map(|part| &part.files).map(|file| stem(file));
        match group.rule {
            Rule::File => files.extend(stems.map(|stem| (stem, index))),
            Rule::Said => {}
            Rule::Packaging | Rule::EqualTracks | Rule::SharedAudio => {
                members.extend(stems.chain(folder.map(stem)));
                whole = Some(index);
            }
        }
    }
    if let [Group { rule: Rule::File, .. }] = groups {
        whole = folder.map(|_| 0);
    }
    for (path, _) in texts {
        let stem = stem(path);
        // `film.de.vtt` belongs to `film.de.mp4`, if that is there, and not to `film.mp4`.
        let beginnings =
            || std::iter::successors(Some(&stem[..]), |name| name.rsplit_once('.').map(|(beginning, _)| beginning));
        let of_file = beginnings().find_map(|name| Some((*files.get(name)?, subtitles::beside(path, name)?)));
        let of_whole = || {
            let of_member = || beginnings().find_map(|name| subtitles::beside(path, members.get(name)?));
            Some((whole?, subtitles::in_folder(path).or_else(of_member)?))
        };
        if let Some((index, text)) = of_file.or_else(of_whole)
            && groups[index].texts.len() < TEXTS_MAX
        {
            groups[index].texts.push(text);
        }
    }
}

/// Which presentations the files of `folder` are, with their subtitles.
fn judge(folder: &Folder, below: &[&Folder], root: &Path, follow_symlinks: bool) -> Vec<Group> {
    let mut groups = media_groups(folder, below, root, follow_symlinks);
    attach(&mut groups, &folder.texts, (folder.path != root).then_some(&folder.path));
    groups
}

/// Which presentations the files of `folder` are (and those of the folders `below`, if they are the tracks of a packaging).
fn media_groups(folder: &Folder, below: &[&Folder], root: &Path, follow_symlinks: bool) -> Vec<Group> {
    let name = name_of(&folder.path, root);
    let each = || folder.media.iter().map(|(path, _)| lone(path, root)).collect::<Vec<_>>();
    if folder.path == root {
        return each();
    }
    if let Some((path, _)) = &folder.sidecar {
        let read = Sidecar::read(path).and_then(|sidecar| sidecar.named(&folder.path));
        let read = read.and_then(|named| {
            let Named { parts, texts, thumbnails, .. } = &named;
            let files = parts.iter().flat_map(|part| &part.files).chain(texts.iter().map(|text| &text.path));
            let mut files = files.chain(thumbnails.iter().flat_map(|thumbnails| &thumbnails.files));
            match files.find(|file| !follow_symlinks && is_linked(file, &folder.path)) {
                Some(file) => {
                    Err(format!("{}: a symbolic link leads to it (see --follow-symlinks)", name_of(file, root)))
                }
                None => Ok(named),
            }
        });
        return vec![match read {
            Ok(Named { parts, texts, clips, thumbnails }) => {
                Group { name, rule: Rule::Said, parts: Ok(parts), texts, clips, thumbnails }
            }
            Err(why) => Group {
                name,
                rule: Rule::Said,
                parts: Err(why),
                texts: Vec::new(),
                clips: Vec::new(),
                thumbnails: Vec::new(),
            },
        }];
    }
    if let Some(Packaging { parts, movies }) = packaging(folder, below) {
        let packaged =
            Group { name, rule: Rule::Packaging, parts, texts: Vec::new(), clips: Vec::new(), thumbnails: Vec::new() };
        return [packaged].into_iter().chain(movies.iter().map(|path| lone(path, root))).collect();
    }
    if (2..=PROOF_FILES_MAX).contains(&folder.media.len())
        && let Some((rule, parts)) = proof(&folder.media)
    {
        return vec![Group {
            name,
            rule,
            parts: Ok(parts),
            texts: Vec::new(),
            clips: Vec::new(),
            thumbnails: Vec::new(),
        }];
    }
    each()
}

/// Whether a symbolic link lies on the way from `folder` to `file`.
fn is_linked(file: &Path, folder: &Path) -> bool {
    let way = file.ancestors().take_while(|above| *above != folder);
    way.into_iter().any(Path::is_symlink)
}

/// What the files of a folder look like; by index.
fn looks_of(media: &[(PathBuf, Stamp)]) -> Vec<Looks> {
    let look = |(path, _): &(PathBuf, Stamp)| {
        let source = Source::open(std::slice::from_ref(path)).ok()?;
        scan::looks(&source, 0).ok()
    };
    media.iter().map(|file| look(file).unwrap_or(Looks::Other)).collect()
}

/// An existing packaging.
struct Packaging {
    parts: Result<Vec<Part>, String>,
    /// Whole movies that lie beside it.
    movies: Vec<PathBuf>,
}

/// The packaging that a folder holds, flat or one folder a track.
fn packaging(folder: &Folder, below: &[&Folder]) -> Option<Packaging> {
    if !folder.media.is_empty() {
        let looks = looks_of(&folder.media);
        let files = folder.media.iter().zip(&looks);
        let movies = files.filter(|(_, look)| **look == Looks::Movie).map(|((path, _), _)| path.clone()).collect();
        return flat(&folder.media, &looks).map(|parts| Packaging { parts, movies });
    }
    // One folder a track; deeper only where a manifest says that this is the top.
    let tracks: Vec<&&Folder> = below.iter().filter(|f| !f.media.is_empty()).collect();
    let is_near = |f: &&&Folder| f.path.parent() == Some(&folder.path);
    if tracks.is_empty() || !(folder.has_manifest || tracks.iter().all(is_near)) {
        return None;
    }
    let mut parts = Vec::new();
    for track in tracks {
        let looks = looks_of(&track.media);
        if looks.contains(&Looks::Movie) {
            return None;
        }
        let Some(Ok(found)) = flat(&track.media, &looks) else { return None };
        let prefix = track_name(&track.path.strip_prefix(&folder.path).unwrap_or(&track.path).to_string_lossy());
        let several = found.len() > 1;
        parts.extend(found.into_iter().map(|part| Part {
            name: if several { format!("{prefix}-{}", part.name) } else { prefix.clone() },
            ..part
        }));
    }
    Some(Packaging { parts: Ok(parts), movies: Vec::new() })
}

/// The tracks of a packaging whose files lie in one folder; `None` if it is no packaging.
fn flat(media: &[(PathBuf, Stamp)], looks: &[Looks]) -> Option<Result<Vec<Part>, String>> {
    let of =
        |wanted: Looks| media.iter().zip(looks).filter(move |(_, l)| **l == wanted).map(|((path, _), _)| path.clone());
    let inits: Vec<PathBuf> = of(Looks::Init).collect();
    let segments: Vec<PathBuf> = of(Looks::Segment).collect();
    if segments.is_empty() {
        return None;
    }
    if inits.is_empty() {
        let first = segments[0].file_name().unwrap_or_default().to_string_lossy();
        return Some(Err(format!("{first}: a media segment, but there is no initialization segment")));
    }
    let mut parts: Vec<Part> = inits
        .iter()
        .map(|init| Part { name: track_name(&stem(init)), files: vec![init.clone()], said: Said::default() })
        .collect();
    let ids: Vec<Vec<u32>> = inits.iter().map(|path| track_ids(path)).collect();
    let distinct =
        ids.iter().enumerate().all(|(i, a)| ids.iter().skip(i + 1).all(|b| a.iter().all(|id| !b.contains(id))));
    for segment in segments {
        let index = if inits.len() == 1 {
            Some(0)
        } else if distinct {
            let found = track_ids(&segment);
            ids.iter().position(|ids| found.iter().any(|id| ids.contains(id)))
        } else {
            nearest_name(&segment, &inits)
        };
        match index {
            Some(index) => parts[index].files.push(segment),
            None => {
                let name = segment.file_name().unwrap_or_default().to_string_lossy();
                return Some(Err(format!("{name}: it can't be told which initialization segment it belongs to")));
            }
        }
    }
    parts.retain(|part| part.files.len() > 1);
    Some(Ok(parts))
}

/// Which of `inits` has the longest beginning of its name in common with `segment`, if one alone has.
fn nearest_name(segment: &Path, inits: &[PathBuf]) -> Option<usize> {
    let (own, names) = (stem(segment), inits.iter().map(|init| stem(init)));
    // `init-v1` and `v1-00001`, `video_init` and `video_3`: what matters is the words they share.
    let words = |name: &str| {
        name.split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let own = words(&own);
    let shared: Vec<usize> = names.map(|name| words(&name).iter().filter(|word| own.contains(word)).count()).collect();
    let best = *shared.iter().max()?;
    let mut winners = shared.iter().enumerate().filter(|(_, count)| **count == best && best > 0);
    let winner = winners.next()?.0;
    winners.next().is_none().then_some(winner)
}

/// The track_IDs that an initialization or media segment speaks of.
fn track_ids(path: &Path) -> Vec<u32> {
    let source = match Source::open(&[path.to_path_buf()]) {
        Ok(source) => source,
        Err(_) => return Vec::new(),
    };
    scan::track_ids(&source, 0).unwrap_or_default()
}

/// Whether files are one presentation on proof: all of single tracks and of one length, or muxed with the same audio.
fn proof(media: &[(PathBuf, Stamp)]) -> Option<(Rule, Vec<Part>)> {
    let part =
        |path: &Path| Part { name: track_name(&stem(path)), files: vec![path.to_path_buf()], said: Said::default() };
    // Segment boundaries do not matter here; any target will do.
    let open = |(path, _): &(PathBuf, Stamp)| vod::open(&[part(path)], Vec::new(), &[], Duration::from_secs(6)).ok();
    let opened: Vec<Opened> = media.iter().map(open).collect::<Option<_>>()?;
    let parts: Vec<Part> = media.iter().map(|(path, _)| part(path)).collect();
    let single = opened.iter().all(|o| o.presentation.tracks().count() == 1);
    let end = |p: &Presentation| p.tracks().map(|t| t.time(t.end())).max().unwrap_or(MediaTime::ZERO);
    let ends: Vec<MediaTime> = opened.iter().map(|o| end(&o.presentation)).collect();
    let second = MediaTime::new(1000, Timescale::MILLI);
    let (first, last) = (ends.iter().min()?, ends.iter().max()?);
    if single && first.is_within(*last, second) {
        return Some((Rule::EqualTracks, parts));
    }
    let audio = |o: &Opened| {
        o.presentation.tracks().find(|t| t.kind == Kind::Audio).map(|t| t.samples.sizes(0..t.samples.len()).to_vec())
    };
    let firsts: Vec<Vec<u32>> = opened.iter().map(audio).collect::<Option<_>>()?;
    let muxed = opened.iter().all(|o| o.presentation.tracks().any(|t| t.kind == Kind::Video));
    let alike = muxed && firsts.windows(2).all(|pair| pair[0] == pair[1]) && shares_audio(&parts, opened.len());
    alike.then_some((Rule::SharedAudio, parts))
}

/// Whether opening `parts` together finds the audio of all but one to be the same, byte for byte.
fn shares_audio(parts: &[Part], files: usize) -> bool {
    let Ok(together) = vod::open(parts, Vec::new(), &[], Duration::from_secs(6)) else { return false };
    let audio = together.presentation.tracks().filter(|t| t.kind == Kind::Audio).count();
    let video = together.presentation.tracks().filter(|t| t.kind == Kind::Video).count();
    video >= files && audio < files
}
