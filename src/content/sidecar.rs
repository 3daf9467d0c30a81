//! `presentation.toml`: what its author says of a folder that the files alone do not.
//!
//! ```toml
//! [[file]]
//! path = "v1080.mp4"
//! captions = { CC1 = "en", SERVICE2 = "es" }
//!
//! [[file]]
//! path = "commentary.mp4"
//! name = "talk"
//! language = "en"
//! label = "Director's commentary"
//! roles = ["commentary"]
//!
//! [[text]]
//! path = "subtitles/english.srt"
//! language = "en"
//! roles = ["forced-subtitle"]
//! ```
//!
//! Thumbnails, on sheets:
//!
//! ```toml
//! [[thumbnails]]
//! pattern = "thumbs/{number:3}.jpg"
//! columns = 10
//! rows = 10
//! interval = 5
//! ```
//!
//! Or clips that play one after another; what else is said of their files is said as above.
//!
//! ```toml
//! [[clip]]
//! files = ["trailer.mp4"]
//!
//! [[clip]]
//! files = ["film-1080.mp4", "film-720.mp4", "film.en.srt"]
//! in = "00:01:00.000"
//! out = 210.5
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::content::clips::{CLIPS_MAX, Clip};
use crate::content::storage::Storage;
use crate::content::subtitles::{self, TextFile};
use crate::content::thumbnails::{SHEETS_MAX, TILES_MAX, ThumbnailFiles};
use crate::content::vod::{Part, Said, role_named, track_name};
use crate::formats::captions::Service;
use crate::formats::language;
use crate::media::clip::Cut;
use crate::time::{MediaTime, Timescale};

/// The name of the file.
pub const NAME: &str = "presentation.toml";
/// The most names of files in all clips: five for each.
const FILES_MAX: usize = 5 * CLIPS_MAX;
/// No file lasts longer than a year.
const SECONDS_MAX: f64 = 366.0 * 86_400.0;
/// A larger one was not written by people.
const BYTES_MAX: u64 = 1 << 20;

/// Whether `path` is one.
pub fn is_sidecar(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == NAME)
}

/// A `presentation.toml`.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sidecar {
    /// What the presentation is made of.
    #[serde(default)]
    pub file: Vec<File>,
    /// Subtitles beside the movies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<Text>,
    /// Small pictures of it, on sheets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thumbnails: Vec<Sheets>,
    /// What plays one after another; none: all files together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clip: Vec<Stretch>,
}

/// Sheets of thumbnails, evenly spaced from the beginning on.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sheets {
    /// JPEG or PNG files, under the folder of the `presentation.toml`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PathBuf>,
    /// Instead of `files`: their path, in which `{number}` stands for 1, 2 and so on, `{number:3}` for 001, 002.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Thumbnails side by side.
    pub columns: u32,
    /// Thumbnails one below the other.
    pub rows: u32,
    /// Seconds from one to the next.
    pub interval: f64,
}

/// A clip of some of the files.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Movies, which are its renditions and languages, and subtitles, under the folder of the `presentation.toml`.
    pub files: Vec<PathBuf>,
    /// Where it begins; else where the files do.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub from: Option<Point>,
    /// Where it ends; else where the video does.
    #[serde(default, rename = "out", skip_serializing_if = "Option::is_none")]
    pub until: Option<Point>,
}

/// A time in a file, counted as a player counts that shows it alone.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Point {
    /// In seconds.
    Seconds(f64),
    /// `hh:mm:ss.fff`, `mm:ss` or `ss.fff`.
    Written(String),
}

impl Point {
    /// To the nearest microsecond; `None` if it is no time, or more than a year.
    fn time(&self) -> Option<MediaTime> {
        let seconds = match self {
            Point::Seconds(seconds) => *seconds,
            Point::Written(text) => {
                let fields: Vec<&str> = text.split(':').collect();
                let (last, above) = fields.split_last()?;
                let is_plain =
                    |field: &str| !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                if above.len() > 2 || !is_plain(last) {
                    return None;
                }
                let above =
                    above.iter().try_fold(0, |sum: u32, field| sum.checked_mul(60)?.checked_add(field.parse().ok()?));
                f64::from(above?.checked_mul(60)?) + last.parse::<f64>().ok()?
            }
        };
        let micros = (seconds * 1e6).round();
        (0.0..SECONDS_MAX * 1e6).contains(&micros).then(|| MediaTime::new(micros as i64, Timescale::MICRO))
    }
}

/// What a `presentation.toml` comes to in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The movies.
    pub parts: Vec<Part>,
    /// The subtitles.
    pub texts: Vec<TextFile>,
    /// The clips of them; none: all is one.
    pub clips: Vec<Clip>,
    /// The thumbnails.
    pub thumbnails: Vec<ThumbnailFiles>,
}

/// A movie, and what is said of its tracks.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// One file, under the folder of the `presentation.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Instead of `path`: an initialization segment and its media segments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<PathBuf>,
    /// What its tracks are named after in URLs; else the first path is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Of urn:mpeg:dash:role:2011: `main`, `alternate`, `commentary`, `description`, `dub`, `caption`, `subtitle`,
    /// `forced-subtitle`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Languages (BCP 47) of captions in its pictures, by service: `CC1` to `CC4`, `SERVICE1` to `SERVICE63`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captions: BTreeMap<String, String>,
}

/// A file of subtitles, and what is said of it.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// A `.vtt`, `.srt`, `.ttml` or `.xml` file, under the folder of the `presentation.toml`.
    pub path: PathBuf,
    /// What its track is named in URLs; else the path is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// BCP 47 tag; else that in the file's name, or in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// As those of a [`File`]; else those in the file's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

impl Sidecar {
    /// Reads the file at `path`; the error says what is wrong, and in which line.
    pub fn read(storage: &Storage, path: &Path) -> Result<Sidecar, String> {
        let text = storage.read(path, BYTES_MAX).map_err(|e| format!("{NAME}: {e}"))?;
        let text = std::str::from_utf8(&text).map_err(|e| format!("{NAME}: {e}"))?;
        Sidecar::parse(text)
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Result<Sidecar, String> {
        toml::from_str(text).map_err(|e| format!("{NAME}: {}", e.to_string().trim_end()))
    }

    /// What says of `folder` that it is one presentation of `parts` and `texts`, under the names they have; `None` if a file lies
    /// elsewhere.
    pub fn of(parts: &[Part], texts: &[TextFile], folder: &Path) -> Option<Sidecar> {
        let file = |part: &Part| {
            let relative = |path: &PathBuf| path.strip_prefix(folder).map(Path::to_path_buf).ok();
            let mut paths = part.files.iter().map(relative).collect::<Option<Vec<_>>>()?;
            let name =
                Some(part.name.clone()).filter(|name| paths.first().is_none_or(|first| *name != name_after(first)));
            let path = if paths.len() == 1 { paths.pop() } else { None };
            Some(File { path, paths, name, ..File::default() })
        };
        let text = |text: &TextFile| {
            let path = text.path.strip_prefix(folder).ok()?.to_path_buf();
            let name = Some(text.name.clone()).filter(|name| *name != name_after(&path));
            let roles = text.said.roles.iter().map(|role| role.name().to_owned()).collect();
            Some(Text { name, language: text.said.language.clone(), label: text.said.label.clone(), roles, path })
        };
        Some(Sidecar {
            file: parts.iter().map(file).collect::<Option<_>>()?,
            text: texts.iter().map(text).collect::<Option<_>>()?,
            thumbnails: Vec::new(),
            clip: Vec::new(),
        })
    }

    /// Its text.
    pub fn text(&self) -> String {
        toml::to_string(self).expect("paths are UTF-8, since the library leaves out others, and the rest is plain")
    }

    /// The parts it names in `folder`.
    pub fn parts(&self, storage: &Storage, folder: &Path) -> Result<Vec<Part>, String> {
        if self.file.is_empty() {
            return Err(format!("{NAME}: no [[file]] in it"));
        }
        self.file.iter().map(|file| file.part(storage, folder)).collect()
    }
}

impl Sidecar {
    /// The texts it names in `folder`.
    pub fn texts(&self, storage: &Storage, folder: &Path) -> Result<Vec<TextFile>, String> {
        self.text.iter().map(|text| text.file(storage, folder)).collect()
    }

    /// All that it names in `folder`.
    pub fn named(&self, storage: &Storage, folder: &Path) -> Result<Named, String> {
        if self.clip.is_empty() {
            let thumbnails = self.thumbnails.iter().map(|sheets| sheets.named(storage, folder));
            return Ok(Named {
                parts: self.parts(storage, folder)?,
                texts: self.texts(storage, folder)?,
                clips: Vec::new(),
                thumbnails: thumbnails.collect::<Result<_, _>>()?,
            });
        }
        if !self.thumbnails.is_empty() {
            return Err(format!(
                "{NAME}: thumbnails of clips are not served, only of a presentation that is one whole"
            ));
        }
        if self.clip.len() > CLIPS_MAX {
            return Err(format!("{NAME}: {} clips, at most {CLIPS_MAX} are served", self.clip.len()));
        }
        let named: usize = self.clip.iter().map(|clip| clip.files.len()).sum();
        if named > FILES_MAX {
            return Err(format!("{NAME}: the clips name {named} files, at most {FILES_MAX} are served"));
        }
        let named: BTreeSet<&PathBuf> = self.clip.iter().flat_map(|clip| &clip.files).collect();
        let said = self.file.iter().filter_map(|file| Some((file.first()?, file))).collect::<BTreeMap<_, _>>();
        let mut unnamed = said.keys().copied().chain(self.text.iter().map(|text| &text.path));
        if let Some(path) = unnamed.find(|path| !named.contains(path)) {
            return Err(format!("{NAME}: {} is in no [[clip]]", path.display()));
        }
        let texts = self.text.iter().map(|text| (&text.path, text)).collect::<BTreeMap<_, _>>();
        let mut found = Found { said, said_of_texts: texts, parts: Vec::new(), texts: Vec::new() };
        let mut clips = Vec::with_capacity(self.clip.len());
        for (number, clip) in (1..).zip(&self.clip) {
            let clip = found.clip(clip, storage, folder);
            let inside =
                |why: String| format!("{NAME}: clip {number}: {}", why.trim_start_matches(&format!("{NAME}: ")));
            clips.push(clip.map_err(inside)?);
        }
        Ok(Named { parts: found.parts, texts: found.texts, clips, thumbnails: Vec::new() })
    }
}

/// What the clips so far are made of, each once.
struct Found<'a> {
    /// What is said of files, by the path that clips name.
    said: BTreeMap<&'a PathBuf, &'a File>,
    said_of_texts: BTreeMap<&'a PathBuf, &'a Text>,
    parts: Vec<Part>,
    texts: Vec<TextFile>,
}

impl Found<'_> {
    fn clip(&mut self, stretch: &Stretch, storage: &Storage, folder: &Path) -> Result<Clip, String> {
        let Stretch { files, from, until } = stretch;
        let mut clip = Clip::default();
        for (index, path) in files.iter().enumerate() {
            if files[..index].contains(path) {
                return Err(format!("it names {} twice", path.display()));
            }
            if subtitles::is_text(path) {
                let alone = Text { path: path.clone(), ..Text::default() };
                let text = self.said_of_texts.get(path).copied().unwrap_or(&alone).file(storage, folder)?;
                clip.texts.push(self.text(text));
            } else {
                let alone = File { path: Some(path.clone()), ..File::default() };
                let part = self.said.get(path).copied().unwrap_or(&alone).part(storage, folder)?;
                clip.parts.push(self.part(part));
            }
        }
        if clip.parts.is_empty() {
            return Err("there is no movie in its `files`".to_owned());
        }
        let point = |name: &str, point: &Option<Point>| match point {
            None => Ok(None),
            Some(point) => match point.time() {
                None => Err(format!("its `{name}` is no time: seconds, or \"hh:mm:ss.fff\"")),
                time => Ok(time),
            },
        };
        clip.cut = Cut { from: point("in", from)?, until: point("out", until)? };
        if let Cut { from: Some(from), until: Some(until) } = clip.cut
            && until <= from
        {
            return Err(format!("it ends at {} s and begins at {} s", until.seconds(), from.seconds()));
        }
        Ok(clip)
    }

    fn part(&mut self, part: Part) -> usize {
        self.parts.iter().position(|known| *known == part).unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        })
    }

    fn text(&mut self, text: TextFile) -> PathBuf {
        let path = text.path.clone();
        if !self.texts.contains(&text) {
            self.texts.push(text);
        }
        path
    }
}

impl Sheets {
    fn named(&self, storage: &Storage, folder: &Path) -> Result<ThumbnailFiles, String> {
        let &Sheets { columns, rows, interval, .. } = self;
        let wrong = |what: String| format!("{NAME}: [[thumbnails]]: {what}");
        if !(1..=TILES_MAX).contains(&columns) || !(1..=TILES_MAX).contains(&rows) {
            return Err(wrong(format!("`columns` and `rows` are 1 to {TILES_MAX}, not {columns} and {rows}")));
        }
        let interval_ms = (interval * 1000.0).round();
        if !(1.0..=86_400_000.0).contains(&interval_ms) {
            return Err(wrong(format!("an `interval` of {interval} s, between a millisecond and a day is served")));
        }
        let paths = match &self.pattern {
            Some(pattern) if self.files.is_empty() => numbered(pattern, storage, folder).map_err(wrong)?,
            None if !self.files.is_empty() => self.files.clone(),
            _ => return Err(wrong("either `files` or `pattern` says where they are".to_owned())),
        };
        if paths.len() > SHEETS_MAX {
            return Err(wrong(format!("{} sheets, at most {SHEETS_MAX} are served", paths.len())));
        }
        paths.iter().try_for_each(|path| is_there(storage, path, folder))?;
        let files = paths.iter().map(|path| folder.join(path)).collect();
        Ok(ThumbnailFiles { name: "thumbnails".to_owned(), files, columns, rows, interval_ms: interval_ms as u64 })
    }
}

/// The files in `folder` whose path is `pattern` with numbers from 1 on, as many as there are.
fn numbered(pattern: &str, storage: &Storage, folder: &Path) -> Result<Vec<PathBuf>, String> {
    let parts =
        pattern.split_once("{number").and_then(|(before, rest)| rest.split_once('}').map(|rest| (before, rest)));
    let (before, (width, after)) = parts.ok_or_else(|| format!("there is no {{number}} in the pattern {pattern:?}"))?;
    let width = match width.strip_prefix(':').map(str::parse::<usize>) {
        None if width.is_empty() => 1,
        Some(Ok(width @ 1..=9)) => width,
        _ => return Err(format!("{{number{width}}}: {{number}} or {{number:1}} to {{number:9}}")),
    };
    let path = |number: usize| PathBuf::from(format!("{before}{number:0width$}{after}"));
    let there = (1..=SHEETS_MAX + 1).map(path).take_while(|path| storage.is_file(&folder.join(path)));
    let paths: Vec<PathBuf> = there.collect();
    if paths.is_empty() { Err(format!("{} is not there", path(1).display())) } else { Ok(paths) }
}

impl File {
    /// What clips call it by.
    fn first(&self) -> Option<&PathBuf> {
        self.path.iter().chain(&self.paths).next()
    }

    fn part(&self, storage: &Storage, folder: &Path) -> Result<Part, String> {
        let paths: Vec<&PathBuf> = self.path.iter().chain(&self.paths).collect();
        if self.path.is_some() != self.paths.is_empty() {
            return Err(format!("{NAME}: a [[file]] has either `path` or `paths`"));
        }
        paths.iter().try_for_each(|path| is_there(storage, path, folder))?;
        let said = said(self.language.as_ref(), self.label.as_ref(), &self.roles)?;
        let said = Said { captions: captions(&self.captions)?, ..said };
        let name = name(self.name.as_ref(), paths[0])?;
        let files = paths.iter().map(|path| folder.join(path)).collect();
        Ok(Part { name, files, said })
    }
}

impl Text {
    fn file(&self, storage: &Storage, folder: &Path) -> Result<TextFile, String> {
        is_there(storage, &self.path, folder)?;
        if !subtitles::is_text(&self.path) {
            return Err(format!("{NAME}: {} is no .vtt, .srt, .ttml or .xml", self.path.display()));
        }
        let said = said(self.language.as_ref(), self.label.as_ref(), &self.roles)?;
        let of_name = subtitles::said_at_the_end(&self.path).unwrap_or_default();
        let roles = if self.roles.is_empty() { of_name.roles } else { said.roles };
        let said = Said { language: said.language.or(of_name.language), roles, ..said };
        Ok(TextFile { name: name(self.name.as_ref(), &self.path)?, path: folder.join(&self.path), said })
    }
}

/// A path may not lead out of its folder, and with that not out of the library.
fn is_there(storage: &Storage, path: &Path, folder: &Path) -> Result<(), String> {
    let stays = path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    if !stays {
        return Err(format!("{NAME}: {} leads out of the folder", path.display()));
    }
    if !storage.is_file(&folder.join(path)) {
        return Err(format!("{NAME}: {} is not there", path.display()));
    }
    Ok(())
}

fn said(language: Option<&String>, label: Option<&String>, roles: &[String]) -> Result<Said, String> {
    let roles = roles.iter().map(|role| role_named(role).ok_or_else(|| format!("{NAME}: no role is called {role:?}")));
    let mut roles = roles.collect::<Result<Vec<_>, String>>()?;
    roles.sort_unstable();
    roles.dedup();
    if let Some(label) = label.filter(|label| label.contains('"') || label.chars().any(char::is_control)) {
        return Err(format!("{NAME}: the label {label:?} has a quote or a control character"));
    }
    if let Some(tag) = language.filter(|tag| !language::is_tag(tag)) {
        return Err(format!("{NAME}: {tag:?} is no BCP 47 tag"));
    }
    Ok(Said { language: language.cloned(), label: label.cloned(), roles, captions: BTreeMap::new() })
}

/// The services that captions are said to be in, and their languages.
fn captions(said: &BTreeMap<String, String>) -> Result<BTreeMap<Service, String>, String> {
    let caption = |(name, tag): (&String, &String)| match name.parse() {
        Err(()) => Err(format!("{NAME}: no captions are called {name:?}: CC1 to CC4, SERVICE1 to SERVICE63")),
        Ok(_) if !language::is_tag(tag) => Err(format!("{NAME}: {tag:?} is no BCP 47 tag")),
        Ok(service) => Ok((service, tag.clone())),
    };
    said.iter().map(caption).collect()
}

/// The name that is given, or else that of the file at `path`.
fn name(given: Option<&String>, path: &Path) -> Result<String, String> {
    match given {
        Some(name) if name.is_empty() || *name != track_name(name) => {
            Err(format!("{NAME}: the name {name:?} is not made of letters, digits, `_` and `-`"))
        }
        Some(name) => Ok(name.clone()),
        None => Ok(name_after(path)),
    }
}

/// What tracks are named after if nothing is said: the first file they come from.
fn name_after(path: &Path) -> String {
    track_name(&path.with_extension("").to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::track::Role;

    fn check(text: &str, expected: &str) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("a.mp4"), b"").expect("written");
        let result = Sidecar::parse(text).and_then(|sidecar| sidecar.parts(&Storage::Local, dir.path()));
        let error = result.expect_err("an error");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("", "no [[file]]");
        check("[[file]]\npath = \"../a.mp4\"", "leads out of the folder");
        check("[[file]]\npath = \"/etc/passwd\"", "leads out of the folder");
        check("[[file]]\npath = \"b.mp4\"", "is not there");
        check("[[file]]\npath = \"a.mp4\"\nroles = [\"hero\"]", "no role is called \"hero\"");
        check("[[file]]\npath = \"a.mp4\"\nlanguage = \"english!\"", "no BCP 47 tag");
        check("[[file]]\npath = \"a.mp4\"\nlang = \"en\"", "line 3");
        check("[[file]]\npath = \"a.mp4\"\nname = \"a/b\"", "not made of letters");
    }

    #[test]
    fn points_are_seconds_or_written_like_a_clock() {
        let point = |text: &str| {
            let sidecar = Sidecar::parse(&format!("[[clip]]\nfiles = []\nin = {text}")).expect("well formed");
            sidecar.clip[0].from.as_ref().and_then(Point::time).map(|time| time.ticks)
        };
        assert_eq!(point("90"), Some(90_000_000));
        assert_eq!(point("90.5"), Some(90_500_000));
        assert_eq!(point("'00:01:30.500'"), Some(90_500_000));
        assert_eq!(point("'1:30'"), Some(90_000_000));
        assert_eq!(point("'90.0416667'"), Some(90_041_667));
        for wrong in ["-1", "nan", "inf", "1e30", "''", "'1:2:3:4'", "'-1'", "'1e3'", "':30'", "'1.5:30'", "'soon'"] {
            assert_eq!(point(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn clips_share_their_files_and_what_is_said_of_them() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["a.mp4", "b.mp4", "init.mp4", "1.m4s", "a.en.vtt"] {
            std::fs::write(dir.path().join(name), b"").expect("written");
        }
        let named = |text: &str| Sidecar::parse(text).and_then(|sidecar| sidecar.named(&Storage::Local, dir.path()));
        let text = "[[file]]\npath = 'b.mp4'\nlanguage = 'de'\n[[file]]\npaths = ['init.mp4', '1.m4s']\n\
            [[clip]]\nfiles = ['a.mp4', 'b.mp4', 'a.en.vtt']\n[[clip]]\nfiles = ['b.mp4', 'init.mp4']\n";
        let Named { parts, texts, clips, .. } = named(text).expect("all is there");
        assert_eq!(parts.iter().map(|part| part.files.len()).collect::<Vec<_>>(), [1, 1, 2]);
        assert_eq!((parts[1].said.language.as_deref(), texts[0].said.language.as_deref()), (Some("de"), Some("en")));
        assert_eq!(clips.iter().map(|clip| &clip.parts[..]).collect::<Vec<_>>(), [[0, 1], [1, 2]]);
        assert_eq!((clips[0].texts.len(), clips[1].texts.len()), (1, 0));
        assert!(
            named("[[clip]]\nfiles = ['a.mp4']\n[[text]]\npath = 'a.en.vtt'")
                .expect_err("unused")
                .contains("in no [[clip]]")
        );
        let many = "[[clip]]\nfiles = ['a.mp4']\n".repeat(CLIPS_MAX + 1);
        assert!(named(&many).expect_err("too many").contains("at most 200"));
    }

    #[test]
    fn what_is_written_reads_as_the_same_parts() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("v")).expect("made");
        let file = |name: &str| {
            std::fs::write(dir.path().join(name), b"").expect("written");
            dir.path().join(name)
        };
        let part = |name: &str, files: Vec<PathBuf>| Part { name: name.to_owned(), files, said: Said::default() };
        let parts = vec![
            part("my-film", vec![file("my film.mp4")]),
            part("v", vec![file("v/init.mp4"), file("v/1.m4s"), file("v/\"2\".m4s")]),
        ];
        let said =
            Said { language: Some("en".into()), label: None, roles: vec![Role::ForcedSubtitle], ..Said::default() };
        let texts = vec![TextFile { name: "t".into(), path: file("my film.en.srt"), said }];
        let sidecar = Sidecar::of(&parts, &texts, dir.path()).expect("all lie in the folder");
        let read = Sidecar::parse(&sidecar.text()).expect("what we write");
        assert_eq!(
            (read.parts(&Storage::Local, dir.path()), read.texts(&Storage::Local, dir.path())),
            (Ok(parts.clone()), Ok(texts))
        );
        assert!(Sidecar::of(&parts, &[], &dir.path().join("v")).is_none());
    }

    #[test]
    fn a_text_is_what_is_said_of_it_and_else_what_its_name_says() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("a.de.sdh.srt"), b"").expect("written");
        let texts = |text: &str| Sidecar::parse(text).and_then(|sidecar| sidecar.texts(&Storage::Local, dir.path()));
        let read = texts("[[text]]\npath = \"a.de.sdh.srt\"").expect("there");
        assert_eq!((&*read[0].name, read[0].said.language.as_deref()), ("a-de-sdh", Some("de")));
        assert_eq!(read[0].said.roles, [Role::Caption]);
        let read = texts(
            "[[text]]\npath = \"a.de.sdh.srt\"\nlanguage = \"fr\"\nlabel = \"L\"\nroles = [\"main\"]\nname = \"n\"",
        );
        let said =
            Said { language: Some("fr".into()), label: Some("L".into()), roles: vec![Role::Main], ..Said::default() };
        assert_eq!(read.expect("there")[0], TextFile { name: "n".into(), path: dir.path().join("a.de.sdh.srt"), said });
        let error = texts("[[text]]\npath = \"a.txt\"").expect_err("not there");
        assert!(error.contains("is not there"), "{error}");
    }
}
