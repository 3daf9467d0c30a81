//! Which files of a folder are one presentation: by what `presentation.toml` says, by what they are, or on proof.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::content::clips::Clip;
use crate::content::file::Stamp;
use crate::content::scan::{self, Looks};
use crate::content::sidecar::{Named, Sidecar};
use crate::content::source::Source;
use crate::content::storage::Storage;
use crate::content::subtitles::{self, TextFile};
use crate::content::thumbnails::ThumbnailFiles;
use crate::content::vod::{self, Opened, Part, Said, track_name};
use crate::media::presentation::Presentation;
use crate::media::track::Kind;
use crate::time::{MediaTime, Timescale};

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

/// Files that are one presentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Path under the root, `/` between its parts; of a file without its extension.
    pub name: String,
    /// Which rule made them one.
    pub rule: Rule,
    /// What it is made of; or why it can't be served.
    pub parts: Result<Vec<Part>, String>,
    /// Subtitles beside them.
    pub texts: Vec<TextFile>,
    /// The clips of them that play one after another; none: they are one whole.
    pub clips: Vec<Clip>,
    /// Sheets of thumbnails.
    pub thumbnails: Vec<ThumbnailFiles>,
}

impl Group {
    /// Files that are one presentation called `name` by `rule`, with nothing beside them.
    fn of(name: String, rule: Rule, parts: Result<Vec<Part>, String>) -> Group {
        Group { name, rule, parts, texts: Vec::new(), clips: Vec::new(), thumbnails: Vec::new() }
    }

    /// The same under a name that begins with `prefix` and a slash, unless that is empty.
    pub fn below(self, prefix: &str) -> Group {
        if prefix.is_empty() { self } else { Group { name: format!("{prefix}/{}", self.name), ..self } }
    }
}

/// A folder as it was found.
#[derive(Debug, Default)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// Media files that rest, by name.
    pub media: Vec<(PathBuf, Stamp)>,
    /// Files of subtitles that rest, by name.
    pub texts: Vec<(PathBuf, Stamp)>,
    /// `presentation.toml`, if it is there.
    pub sidecar: Option<(PathBuf, Stamp)>,
    /// Whether a manifest lies in it.
    pub has_manifest: bool,
}

impl Folder {
    /// What all that matters in it is like.
    pub fn all_stamps(&self) -> Vec<(PathBuf, Stamp)> {
        self.media.iter().chain(&self.texts).chain(&self.sidecar).cloned().collect()
    }

    /// Of `stamps`, those of the files that `group`, found here in `storage`, is made of, in the order of their paths. Blocks.
    pub fn stamps_of(&self, storage: &Storage, group: &Group, stamps: &HashMap<&Path, Stamp>) -> Vec<(PathBuf, Stamp)> {
        let files = group.parts.iter().flatten().flat_map(|part| &part.files);
        let files = files.chain(group.texts.iter().map(|text| &text.path));
        let files: BTreeSet<&PathBuf> = files.chain(self.sidecar.iter().map(|(path, _)| path)).collect();
        let made_of = files.into_iter().filter_map(|path| Some((path.clone(), *stamps.get(path.as_path())?)));
        // Pictures are not looked for, so these are asked for by name.
        let sheets = group.thumbnails.iter().flat_map(|thumbnails| &thumbnails.files);
        made_of.chain(sheets.filter_map(|path| Some((path.clone(), storage.stamp(path)?)))).collect()
    }
}

/// `stamps` by path.
pub fn by_path(stamps: &[(PathBuf, Stamp)]) -> HashMap<&Path, Stamp> {
    stamps.iter().map(|(path, stamp)| (path.as_path(), *stamp)).collect()
}

/// Where folders are judged.
#[derive(Clone, Copy, Debug)]
pub struct Shelf<'a> {
    /// Where paths lead.
    pub storage: &'a Storage,
    /// The folder that names are told from.
    pub root: &'a Path,
    /// Whether symbolic links are followed.
    pub follow_symlinks: bool,
}

/// Whether a name ends with one of `extensions`.
pub fn has_extension(name: &str, extensions: &[&str]) -> bool {
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

/// The name of what lies at `path`, without its extension.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file at `path`, under `root`, as a presentation of its own.
pub fn lone(path: &Path, root: &Path) -> Group {
    let name = if root.as_os_str().is_empty() { stem(path) } else { name_of(&path.with_extension(""), root) };
    let part = Part { name: track_name(&stem(path)), files: vec![path.to_path_buf()], said: Said::default() };
    Group::of(name, Rule::File, Ok(vec![part]))
}

/// The most files of subtitles of one presentation.
const TEXTS_MAX: usize = 150;

/// Gives each of `texts` to the presentation that its name speaks of: of `groups` in one folder, the file whose name it begins
/// with; else all of the `folder` if that is one presentation.
pub fn attach(groups: &mut [Group], texts: &[(PathBuf, Stamp)], folder: Option<&Path>) {
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

/// Whether a symbolic link lies on the way from `folder` to `file`.
fn is_linked(file: &Path, folder: &Path) -> bool {
    let way = file.ancestors().take_while(|above| *above != folder);
    way.into_iter().any(Path::is_symlink)
}

/// An existing packaging.
struct Packaging {
    parts: Result<Vec<Part>, String>,
    /// Whole movies that lie beside it.
    movies: Vec<PathBuf>,
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

impl Shelf<'_> {
    /// Which presentations the files of `folder` are, with their subtitles.
    pub fn judge(&self, folder: &Folder, below: &[&Folder]) -> Vec<Group> {
        self.judge_again(folder, below, &HashMap::new())
    }

    /// The same, where files in `apart`, by what they were like, are known to be no segments: only those that are not are looked at for that.
    pub fn judge_again(&self, folder: &Folder, below: &[&Folder], apart: &HashMap<&Path, Stamp>) -> Vec<Group> {
        let is_new = |(path, stamp): &&(PathBuf, Stamp)| apart.get(path.as_path()) != Some(stamp);
        let new: Vec<(PathBuf, Stamp)> = folder.media.iter().filter(is_new).cloned().collect();
        let is_no_packaging = new.len() < folder.media.len() && !self.looks_of(&new).contains(&Looks::Segment);
        let mut groups = self.media_groups(folder, below, is_no_packaging);
        attach(&mut groups, &folder.texts, (folder.path != self.root).then_some(&folder.path));
        groups
    }

    /// Those of them that are called `name`, by a look at the files of that name alone; `None` if more has to be looked at.
    pub fn judge_named(&self, folder: &Folder, name: &str) -> Option<Vec<Group>> {
        // Fewer may belong together on proof, and what is said is said of all.
        if folder.path == self.root || folder.sidecar.is_some() || folder.media.len() <= PROOF_FILES_MAX {
            return None;
        }
        let mut groups: Vec<Group> = folder.media.iter().map(|(path, _)| lone(path, self.root)).collect();
        let is_named = |group: &Group| group.name == name;
        let files = folder.media.iter().zip(&groups).filter(|(_, group)| is_named(group));
        let files: Vec<(PathBuf, Stamp)> = files.map(|(file, _)| file.clone()).collect();
        // A movie is a presentation of its own, beside a packaging too. What else is there may be part of one.
        let are_movies = self.looks_of(&files).iter().all(|looks| *looks == Looks::Movie);
        if files.is_empty() || !are_movies {
            return None;
        }
        attach(&mut groups, &folder.texts, Some(&folder.path));
        Some(groups.into_iter().filter(is_named).collect())
    }

    /// Which presentations the files of `folder` are (and those of the folders `below`, if they are the tracks of a packaging).
    fn media_groups(&self, folder: &Folder, below: &[&Folder], is_no_packaging: bool) -> Vec<Group> {
        let Shelf { storage, root, follow_symlinks } = *self;
        let name = name_of(&folder.path, root);
        let each = || folder.media.iter().map(|(path, _)| lone(path, root)).collect::<Vec<_>>();
        if folder.path == root {
            return each();
        }
        if let Some((path, _)) = &folder.sidecar {
            let read = Sidecar::read(storage, path).and_then(|sidecar| sidecar.named(storage, &folder.path));
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
                Err(why) => Group::of(name, Rule::Said, Err(why)),
            }];
        }
        if !is_no_packaging && let Some(Packaging { parts, movies }) = self.packaging(folder, below) {
            let packaged = Group::of(name, Rule::Packaging, parts);
            return [packaged].into_iter().chain(movies.iter().map(|path| lone(path, root))).collect();
        }
        if (2..=PROOF_FILES_MAX).contains(&folder.media.len())
            && let Some((rule, parts)) = self.proof(&folder.media)
        {
            return vec![Group::of(name, rule, Ok(parts))];
        }
        each()
    }

    /// What the files of a folder look like; by index.
    fn looks_of(&self, media: &[(PathBuf, Stamp)]) -> Vec<Looks> {
        let look = |(path, _): &(PathBuf, Stamp)| {
            let source = Source::open(self.storage, std::slice::from_ref(path)).ok()?;
            scan::looks(&source, 0).ok()
        };
        media.iter().map(|file| look(file).unwrap_or(Looks::Other)).collect()
    }

    /// The packaging that a folder holds, flat or one folder a track.
    fn packaging(&self, folder: &Folder, below: &[&Folder]) -> Option<Packaging> {
        if !folder.media.is_empty() {
            let looks = self.looks_of(&folder.media);
            let files = folder.media.iter().zip(&looks);
            let movies = files.filter(|(_, look)| **look == Looks::Movie).map(|((path, _), _)| path.clone()).collect();
            return self.flat(&folder.media, &looks).map(|parts| Packaging { parts, movies });
        }
        // One folder a track; deeper only where a manifest says that this is the top.
        let tracks: Vec<&&Folder> = below.iter().filter(|f| !f.media.is_empty()).collect();
        let is_near = |f: &&&Folder| f.path.parent() == Some(&folder.path);
        if tracks.is_empty() || !(folder.has_manifest || tracks.iter().all(is_near)) {
            return None;
        }
        let mut parts = Vec::new();
        for track in tracks {
            let looks = self.looks_of(&track.media);
            if looks.contains(&Looks::Movie) {
                return None;
            }
            let Some(Ok(found)) = self.flat(&track.media, &looks) else { return None };
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
    fn flat(&self, media: &[(PathBuf, Stamp)], looks: &[Looks]) -> Option<Result<Vec<Part>, String>> {
        let of = |wanted: Looks| {
            media.iter().zip(looks).filter(move |(_, l)| **l == wanted).map(|((path, _), _)| path.clone())
        };
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
        let ids: Vec<Vec<u32>> = inits.iter().map(|path| self.track_ids(path)).collect();
        let distinct =
            ids.iter().enumerate().all(|(i, a)| ids.iter().skip(i + 1).all(|b| a.iter().all(|id| !b.contains(id))));
        for segment in segments {
            let index = if inits.len() == 1 {
                Some(0)
            } else if distinct {
                let found = self.track_ids(&segment);
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

    /// The track_IDs that an initialization or media segment speaks of.
    fn track_ids(&self, path: &Path) -> Vec<u32> {
        let source = match Source::open(self.storage, &[path.to_path_buf()]) {
            Ok(source) => source,
            Err(_) => return Vec::new(),
        };
        scan::track_ids(&source, 0).unwrap_or_default()
    }

    /// Whether files are one presentation on proof: all of single tracks and of one length, or muxed with the same audio.
    fn proof(&self, media: &[(PathBuf, Stamp)]) -> Option<(Rule, Vec<Part>)> {
        let part = |path: &Path| Part {
            name: track_name(&stem(path)),
            files: vec![path.to_path_buf()],
            said: Said::default(),
        };
        // Segment boundaries do not matter here; any target will do.
        let open = |(path, _): &(PathBuf, Stamp)| {
            vod::open(self.storage, &[part(path)], Vec::new(), &[], Duration::from_secs(6)).ok()
        };
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
            o.presentation
                .tracks()
                .find(|t| t.kind == Kind::Audio)
                .map(|t| t.samples.sizes(0..t.samples.len()).to_vec())
        };
        let firsts: Vec<Vec<u32>> = opened.iter().map(audio).collect::<Option<_>>()?;
        let muxed = opened.iter().all(|o| o.presentation.tracks().any(|t| t.kind == Kind::Video));
        let alike =
            muxed && firsts.windows(2).all(|pair| pair[0] == pair[1]) && self.shares_audio(&parts, opened.len());
        alike.then_some((Rule::SharedAudio, parts))
    }

    /// Whether opening `parts` together finds the audio of all but one to be the same, byte for byte.
    fn shares_audio(&self, parts: &[Part], files: usize) -> bool {
        let Ok(together) = vod::open(self.storage, parts, Vec::new(), &[], Duration::from_secs(6)) else {
            return false;
        };
        let audio = together.presentation.tracks().filter(|t| t.kind == Kind::Audio).count();
        let video = together.presentation.tracks().filter(|t| t.kind == Kind::Video).count();
        video >= files && audio < files
    }
}
