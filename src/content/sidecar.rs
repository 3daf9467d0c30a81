//! `presentation.toml`: what its author says of a folder that the files alone do not.
//!
//! ```toml
//! [[file]]
//! path = "v1080.mp4"
//!
//! [[file]]
//! path = "commentary.mp4"
//! name = "talk"
//! language = "en"
//! label = "Director's commentary"
//! roles = ["commentary"]
//! ```

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::content::vod::{Part, Said, role_named, track_name};

/// The name of the file.
pub const NAME: &str = "presentation.toml";
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
}

impl Sidecar {
    /// Reads the file at `path`; the error says what is wrong, and in which line.
    pub fn read(path: &Path) -> Result<Sidecar, String> {
        let size = std::fs::metadata(path).map_err(|e| format!("{NAME}: {e}"))?.len();
        if size > BYTES_MAX {
            return Err(format!("{NAME}: {size} bytes, at most {BYTES_MAX} are read"));
        }
        let text = std::fs::read_to_string(path).map_err(|e| format!("{NAME}: {e}"))?;
        Sidecar::parse(&text)
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Result<Sidecar, String> {
        toml::from_str(text).map_err(|e| format!("{NAME}: {}", e.to_string().trim_end()))
    }

    /// What says of `folder` that it is one presentation of `parts`, under the names they have; `None` if a file lies elsewhere.
    pub fn of(parts: &[Part], folder: &Path) -> Option<Sidecar> {
        let file = |part: &Part| {
            let relative = |path: &PathBuf| path.strip_prefix(folder).map(Path::to_path_buf).ok();
            let mut paths = part.files.iter().map(relative).collect::<Option<Vec<_>>>()?;
            let name =
                Some(part.name.clone()).filter(|name| paths.first().is_none_or(|first| *name != name_after(first)));
            let path = if paths.len() == 1 { paths.pop() } else { None };
            Some(File { path, paths, name, ..File::default() })
        };
        Some(Sidecar { file: parts.iter().map(file).collect::<Option<_>>()? })
    }

    /// Its text.
    pub fn text(&self) -> String {
        toml::to_string(self).expect("paths are UTF-8, since the library leaves out others, and the rest is plain")
    }

    /// The parts it names in `folder`.
    pub fn parts(&self, folder: &Path) -> Result<Vec<Part>, String> {
        if self.file.is_empty() {
            return Err(format!("{NAME}: no [[file]] in it"));
        }
        self.file.iter().map(|file| file.part(folder)).collect()
    }
}

impl File {
    fn part(&self, folder: &Path) -> Result<Part, String> {
        let paths: Vec<&PathBuf> = self.path.iter().chain(&self.paths).collect();
        if self.path.is_some() != self.paths.is_empty() {
            return Err(format!("{NAME}: a [[file]] has either `path` or `paths`"));
        }
        for path in &paths {
            // It may not lead out of its folder, and with that not out of the library.
            let stays =
                path.components().all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
            if !stays {
                return Err(format!("{NAME}: {} leads out of the folder", path.display()));
            }
            if !folder.join(path).is_file() {
                return Err(format!("{NAME}: {} is not there", path.display()));
            }
        }
        let roles =
            self.roles.iter().map(|role| role_named(role).ok_or_else(|| format!("{NAME}: no role is called {role:?}")));
        let mut roles = roles.collect::<Result<Vec<_>, String>>()?;
        roles.sort_unstable();
        roles.dedup();
        let label = match &self.label {
            Some(label) if label.contains('"') || label.chars().any(char::is_control) => {
                return Err(format!("{NAME}: the label {label:?} has a quote or a control character"));
            }
            label => label.clone(),
        };
        let language = match &self.language {
            Some(tag) if !is_language_tag(tag) => return Err(format!("{NAME}: {tag:?} is no BCP 47 tag")),
            tag => tag.clone(),
        };
        let name = match &self.name {
            Some(name) if name.is_empty() || *name != track_name(name) => {
                return Err(format!("{NAME}: the name {name:?} is not made of letters, digits, `_` and `-`"));
            }
            Some(name) => name.clone(),
            None => name_after(paths[0]),
        };
        let files = paths.iter().map(|path| folder.join(path)).collect();
        Ok(Part { name, files, said: Said { language, label, roles } })
    }
}

/// What tracks are named after if nothing is said: the first file they come from.
fn name_after(path: &Path) -> String {
    track_name(&path.with_extension("").to_string_lossy())
}

/// Whether `tag` has the shape of a BCP 47 tag (RFC 5646 §2.1).
fn is_language_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let primary = subtags.next().unwrap_or("");
    (2..=8).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
        && subtags.all(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(dir.path().join("a.mp4"), b"").expect("written");
        let result = Sidecar::parse(text).and_then(|sidecar| sidecar.parts(dir.path()));
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
        let sidecar = Sidecar::of(&parts, dir.path()).expect("all lie in the folder");
        assert_eq!(Sidecar::parse(&sidecar.text()).and_then(|read| read.parts(dir.path())), Ok(parts.clone()));
        assert!(Sidecar::of(&parts, &dir.path().join("v")).is_none());
    }
}
