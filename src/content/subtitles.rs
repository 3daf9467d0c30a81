//! Subtitles beside the media: what their names say, and reading them.
//!
//! ```text
//!   film.mp4  film.vtt  film.en.vtt  film.en.forced.srt  film.de.sdh.ttml
//! ```

use std::path::{Path, PathBuf};

use crate::content::file::{SourceError, Stamp};
use crate::content::made::Text;
use crate::content::source::Source;
use crate::content::storage::Storage;
use crate::content::vod::{Said, track_name};
use crate::formats::cues::{self, Cues, FILE_BYTES_MAX};
use crate::formats::ttml::document::Document;
use crate::formats::{language, srt, ttml, webvtt};
use crate::media::sample::SourceRange;
use crate::media::track::Role;

/// A file of subtitles, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFile {
    /// What its track is named.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What its name or `presentation.toml` says, over what the file says.
    pub said: Said,
}

/// The forms that text comes in, by extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    WebVtt,
    SubRip,
    Ttml,
    /// TTML if its root is `tt`.
    Xml,
}

impl Form {
    fn of(path: &Path) -> Option<Form> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "vtt" => Form::WebVtt,
            "srt" => Form::SubRip,
            "ttml" => Form::Ttml,
            "xml" => Form::Xml,
            _ => return None,
        })
    }
}

/// Whether a file is taken for subtitles by its name.
pub fn is_text(path: &Path) -> bool {
    Form::of(path).is_some()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The text at `path`, if its name makes it one of the media file called `media`, extension left off: nothing, or a language
/// and purposes, stand between.
pub fn beside(path: &Path, media: &str) -> Option<TextFile> {
    let stem = stem(path);
    let rest = stem.strip_prefix(media)?;
    let words: Vec<&str> = match rest.strip_prefix('.') {
        Some(words) => words.split('.').collect(),
        None if rest.is_empty() => Vec::new(),
        None => return None,
    };
    let said = said_by(&words)?;
    let name = ["text"].into_iter().chain(words).collect::<Vec<_>>().join("-");
    Some(TextFile { name: track_name(&name), path: path.to_path_buf(), said })
}

/// The text at `path` in a folder that is one presentation, if the name ends with a language.
pub fn in_folder(path: &Path) -> Option<TextFile> {
    let said = said_at_the_end(path).filter(|said| said.language.is_some() && Form::of(path) != Some(Form::Xml))?;
    Some(TextFile { name: track_name(&stem(path)), path: path.to_path_buf(), said })
}

/// What the last words of a name say, as many as are understood.
pub fn said_at_the_end(path: &Path) -> Option<Said> {
    let stem = stem(path);
    let words: Vec<&str> = stem.split('.').collect();
    (0..words.len()).find_map(|first| said_by(&words[first..]))
}

/// What `words` say, if all of them say something: a language at most, and purposes.
fn said_by(words: &[&str]) -> Option<Said> {
    let mut said = Said::default();
    for word in words {
        let role = match word.to_ascii_lowercase().as_str() {
            "forced" => Some(Role::ForcedSubtitle),
            "sdh" | "cc" => Some(Role::Caption),
            "commentary" => Some(Role::Commentary),
            _ => None,
        };
        match role {
            Some(role) => said.roles.push(role),
            None => {
                let tag = word.replace('_', "-");
                let primary = tag.split('-').next().unwrap_or_default().len();
                if said.language.is_some() || !language::is_tag(&tag) || primary > 3 {
                    return None;
                }
                said.language = Some(language::shortest(&tag));
            }
        }
    }
    said.roles.sort_unstable();
    said.roles.dedup();
    Some(said)
}

/// The most bytes of the cues of all texts of a presentation.
const CUES_BYTES_MAX: usize = 64 << 20;

/// Reads `files`. What is wrong with them are `warnings`. Blocks.
pub fn read_all(storage: &Storage, files: &[TextFile], warnings: &mut Vec<String>) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::new();
    let mut bytes = 0;
    for (index, file) in files.iter().enumerate() {
        if bytes > CUES_BYTES_MAX {
            let left = files.len() - index;
            warnings.push(format!("{left} texts are left out: the others have more than {CUES_BYTES_MAX} bytes"));
            break;
        }
        if let Some(text) = read(storage, file, warnings) {
            bytes += text.cues.len_bytes();
            texts.push(text);
        }
    }
    texts
}

/// Reads `file`. What is wrong with it, whole or in part, are `warnings`; `None` if nothing of it can be shown. Blocks.
fn read(storage: &Storage, file: &TextFile, warnings: &mut Vec<String>) -> Option<Text> {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match read_text(storage, &file.path) {
        Ok(None) => None,
        Ok(Some((cues, document, stamp))) => {
            warnings.extend(cues.faults.first.iter().map(|fault| format!("{name}, {fault}; it is left out")));
            if cues.faults.more > 0 {
                warnings.push(format!("{name}: {} more faults", cues.faults.more));
            }
            if cues.cues.is_empty() {
                warnings.push(format!("{name}: it is left out: there is no cue in it"));
                return None;
            }
            let Said { language, label, roles, .. } = file.said.clone();
            let document = document.transpose().unwrap_or_else(|why| {
                warnings.push(format!("{name}: it is offered as WebVTT alone: {why}"));
                None
            });
            let (name, path) = (file.name.clone(), file.path.clone());
            Some(Text { name, id: 1, path, stamp, language, label, roles, counts_from_start: true, cues, document })
        }
        Err(why) => {
            warnings.push(format!("{name}{why}"));
            None
        }
    }
}

/// What a file of text holds: cues; of TTML the document too, or why it can't be taken apart; and what the file was like.
type Parsed = (Cues, Option<Result<Document, &'static str>>, Stamp);

/// The text of the file at `path`; `None` if it is not meant to be text.
fn read_text(storage: &Storage, path: &Path) -> Result<Option<Parsed>, String> {
    let unread = |error: SourceError| format!(": it is left out: {error}");
    let source = Source::open(storage, &[path.to_path_buf()]).map_err(unread)?;
    let len = source.file_len(0);
    if len > FILE_BYTES_MAX {
        return Err(format!(": it is left out: {len} bytes, at most {FILE_BYTES_MAX} are read"));
    }
    let bytes = source.read(&[SourceRange { file: 0, range: 0..len }]).map_err(unread)?;
    let form = Form::of(path).unwrap_or(Form::Xml);
    let of_ttml = |text: &str| ttml::parse(text).map(|read| (read.cues, Some(read.document)));
    let read = cues::decode(&bytes).and_then(|text| match form {
        Form::WebVtt => webvtt::parse(&text).map(|cues| (cues, None)),
        Form::SubRip => srt::parse(&text).map(|cues| (cues, None)),
        Form::Ttml => of_ttml(&text),
        Form::Xml if !ttml::is_ttml(&text) => Ok((Cues::default(), None)),
        Form::Xml => of_ttml(&text),
    });
    match read {
        Ok((cues, _)) if form == Form::Xml && cues == Cues::default() => Ok(None),
        Ok((cues, document)) => Ok(Some((cues, document, source.stamp(0)))),
        Err(_) if form == Form::Xml => Ok(None),
        Err(fault) => Err(format!(", {fault}; the file is left out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(file: Option<TextFile>) -> Option<(String, Option<String>, Vec<Role>)> {
        file.map(|file| (file.name, file.said.language, file.said.roles))
    }

    #[test]
    fn names_beside_a_file_say_language_and_purpose() {
        let told = |name: &str| told(beside(Path::new(name), "my film"));
        let is = |name: &str, tag: Option<&str>, roles: &[Role]| {
            Some((name.to_owned(), tag.map(str::to_owned), roles.to_vec()))
        };
        assert_eq!(told("my film.vtt"), is("text", None, &[]));
        assert_eq!(told("my film.eng.srt"), is("text-eng", Some("en"), &[]));
        assert_eq!(told("my film.pt_BR.forced.srt"), is("text-pt_BR-forced", Some("pt-BR"), &[Role::ForcedSubtitle]));
        assert_eq!(told("my film.de.SDH.ttml"), is("text-de-SDH", Some("de"), &[Role::Caption]));
        assert_eq!(told("my film.forced.en.xml"), is("text-forced-en", Some("en"), &[Role::ForcedSubtitle]));
        for other in ["my film 2.vtt", "my film.part1.vtt", "my film.en.de.vtt", "my.vtt", "my film.english.vtt"] {
            assert_eq!(told(other), None, "{other}");
        }
    }

    #[test]
    fn names_in_a_folder_end_with_a_language() {
        let told = |name: &str| told(in_folder(Path::new(name))).map(|(name, tag, _)| (name, tag.expect("one")));
        assert_eq!(told("subs.en.vtt"), Some(("subs-en".into(), "en".into())));
        assert_eq!(told("en.srt"), Some(("en".into(), "en".into())));
        assert_eq!(told("a.in.de.forced.ttml"), Some(("a-in-de-forced".into(), "de".into())));
        assert_eq!((told("subs.vtt"), told("segment-1.vtt"), told("notes.en.xml")), (None, None, None));
    }
}
