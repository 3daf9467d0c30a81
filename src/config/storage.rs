//! What is served from where, and how storages elsewhere are asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http::HeaderValue;
use serde::Deserialize;

use crate::config::access;
use crate::config::error::{Error, bounded, set};
use crate::config::over::over;
use crate::config::quantity::{Size, Span};
use crate::content::library::{self, Root};
use crate::content::remote::connect::Place;
use crate::content::remote::store;

/// The most libraries: each is looked at on its own.
const LIBRARIES_MAX: usize = 256;
/// A hundred thousand films, at some tens of kilobytes to a megabyte each.
const CACHE_DIR_BYTES: u64 = 10 << 30;
/// Of media, that nobody fills a disk unawares: some hours at ten megabits.
const MEDIA_CACHE_BYTES: u64 = 10 << 30;
/// Segments of the usual bit rates fit in a block then, which is a hundred and twenty-eighth.
const MEDIA_CACHE_BYTES_MIN: u64 = 1 << 30;
/// It takes two thousand descriptors then.
const MEDIA_CACHE_BYTES_MAX: u64 = 4 << 40;
const HOUR: Duration = Duration::from_secs(3600);

/// In a file: one of several things to serve.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LibraryWritten {
    /// What it is called: letters, digits, `_`, `-`.
    pub name: String,
    /// A folder, a media file, or a storage: `s3://bucket/prefix`.
    pub url: String,
    /// What the names of its presentations begin with; the name, if nothing is said.
    pub prefix: Option<String>,
    /// Origins of pages that may read it, instead of those of `access.cors-origins`; an empty list: all.
    pub cors_origins: Option<Vec<String>>,
}

impl LibraryWritten {
    /// What the names of its presentations begin with.
    fn prefix(&self) -> &str {
        self.prefix.as_ref().unwrap_or(&self.name)
    }
}

/// How storages elsewhere are asked; in a file below `[storage]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StorageWritten {
    /// How long what was found in a storage is taken to be so; a replaced object is seen after that [default: 30s]
    #[arg(id = "storage-age", long = "storage-age", value_name = "DURATION", help_heading = "Remote storage")]
    pub age: Option<Span>,
    /// Time for one read or listing with all its attempts [default: 20s]
    #[arg(id = "storage-timeout", long = "storage-timeout", value_name = "DURATION", help_heading = "Remote storage")]
    pub timeout: Option<Span>,
    /// Time a storage may be silent before another attempt is made [default: 5s]
    #[arg(id = "storage-silence", long = "storage-silence", value_name = "DURATION", help_heading = "Remote storage")]
    pub silence: Option<Span>,
    /// Attempts at one read or listing [default: 4]
    #[arg(
        id = "storage-attempts-max",
        long = "storage-attempts-max",
        value_name = "N",
        help_heading = "Remote storage"
    )]
    pub attempts_max: Option<u32>,
    /// Requests to a storage at once [default: 64]
    #[arg(
        id = "storage-requests-max",
        long = "storage-requests-max",
        value_name = "N",
        help_heading = "Remote storage"
    )]
    pub requests_max: Option<usize>,
    /// Requests to a storage that wait for that; more are refused with 503 [default: 256]
    #[arg(id = "storage-waiting-max", long = "storage-waiting-max", value_name = "N", help_heading = "Remote storage")]
    pub waiting_max: Option<usize>,
    /// Send a request a second time that is later than this percentile of the latest ones [default: never]
    #[arg(id = "storage-hedge", long = "storage-hedge", value_name = "PERCENTILE", help_heading = "Remote storage")]
    pub hedge: Option<u8>,
    /// Folder for the indexes of remote presentations, so that a restart reads nothing; may be lost [default: none]
    #[arg(id = "storage-cache-dir", long = "storage-cache-dir", value_name = "DIR", help_heading = "Remote storage")]
    pub cache_dir: Option<PathBuf>,
    /// Size of that folder, from which the oldest indexes are removed [default: 10GiB]
    #[arg(
        id = "storage-cache-dir-max",
        long = "storage-cache-dir-max",
        value_name = "SIZE",
        help_heading = "Remote storage"
    )]
    pub cache_dir_max: Option<Size>,
    /// Folder for media read from storages, behind memory; may be lost [default: none]
    #[arg(
        id = "storage-media-cache-dir",
        long = "storage-media-cache-dir",
        value_name = "DIR",
        help_heading = "Remote storage"
    )]
    pub media_cache_dir: Option<PathBuf>,
    /// Size of that folder, from which what was read first is removed [default: 10GiB]
    #[arg(
        id = "storage-media-cache-max",
        long = "storage-media-cache-max",
        value_name = "SIZE",
        help_heading = "Remote storage"
    )]
    pub media_cache_max: Option<Size>,
    /// How long a request waits for a remote presentation to be opened, before 503 [default: 8s]
    #[arg(
        id = "storage-open-wait",
        long = "storage-open-wait",
        value_name = "DURATION",
        help_heading = "Remote storage"
    )]
    pub open_wait: Option<Span>,
}

impl StorageWritten {
    /// These, and those of `under` where these say nothing.
    pub(crate) fn over(self, under: StorageWritten) -> StorageWritten {
        over!(self, under; age, timeout, silence, attempts_max, requests_max, waiting_max, hedge, cache_dir, cache_dir_max,
            media_cache_dir, media_cache_max, open_wait)
    }
}

/// What it comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Storages elsewhere, each with what the names of its presentations begin with.
    pub places: Vec<(String, Place)>,
    /// How they are asked.
    pub requests: store::Options,
    /// How long what was found is taken to be so.
    pub age: Duration,
    /// Where indexes are kept.
    pub cache_dir: Option<PathBuf>,
    /// How many bytes of them.
    pub cache_dir_bytes: u64,
    /// Where media is kept.
    pub media_cache_dir: Option<PathBuf>,
    /// How many bytes of it.
    pub media_cache_bytes: u64,
}

/// What `libraries` and `written` come to: folders of this machine go into `library`. Paths are relative to `folder`.
pub fn resolve(
    libraries: Vec<LibraryWritten>,
    folder: &Path,
    written: &StorageWritten,
    library: &mut library::Options,
    open_wait: &mut Duration,
) -> Result<Options, Error> {
    let mut requests = store::Options::default();
    let mut age = Duration::from_secs(30);
    let second = Duration::from_secs(1);
    set("storage-age", &mut age, written.age, second..=HOUR)?;
    set("storage-timeout", &mut requests.timeout, written.timeout, second..=HOUR)?;
    set("storage-silence", &mut requests.silence, written.silence, Duration::from_millis(100)..=HOUR)?;
    set("storage-open-wait", open_wait, written.open_wait, second..=HOUR)?;
    let attempts = written.attempts_max.unwrap_or(requests.attempts_max);
    requests.attempts_max = bounded("storage-attempts-max", attempts, 1..=16)?;
    let at_once = written.requests_max.unwrap_or(requests.requests_max);
    requests.requests_max = bounded("storage-requests-max", at_once, 1..=4096)?;
    let waiting = written.waiting_max.unwrap_or(requests.waiting_max);
    requests.waiting_max = bounded("storage-waiting-max", waiting, 0..=1 << 16)?;
    requests.hedge = written.hedge.map(|percentile| bounded("storage-hedge", percentile, 50..=99)).transpose()?;
    let Size(most) = written.cache_dir_max.unwrap_or(Size(CACHE_DIR_BYTES));
    let cache_dir_bytes = bounded("storage-cache-dir-max", most, 1 << 20..=1 << 50)?;
    let cache_dir = written.cache_dir.clone();
    let media_cache_dir = written.media_cache_dir.clone();
    let Size(most) = written.media_cache_max.unwrap_or(Size(MEDIA_CACHE_BYTES));
    let media_cache_bytes = bounded("storage-media-cache-max", most, MEDIA_CACHE_BYTES_MIN..=MEDIA_CACHE_BYTES_MAX)?;
    let places = Vec::new();
    let mut options = Options { places, requests, age, cache_dir, cache_dir_bytes, media_cache_dir, media_cache_bytes };
    let wrong = |message: String| Error::Value { option: "library", message };
    if libraries.len() > LIBRARIES_MAX {
        return Err(wrong(format!("{} of them, at most {LIBRARIES_MAX} are served", libraries.len())));
    }
    library.roots.clear();
    for written in libraries {
        let prefix = written.prefix().to_owned();
        let LibraryWritten { name, url, .. } = written;
        let is_name =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !prefix.is_empty() && !prefix.split('/').all(is_name) {
            return Err(wrong(format!("{name:?}: the prefix {prefix:?} is not made of letters, digits, `_` and `-`")));
        }
        let mut taken =
            library.roots.iter().map(|root| &root.prefix).chain(options.places.iter().map(|(prefix, _)| prefix));
        if taken.any(|taken| *taken == prefix) {
            return Err(wrong(format!("{name:?}: another library has the prefix {prefix:?}")));
        }
        match Place::parse(&url) {
            Some(place) => {
                options.places.push((prefix, place.map_err(|why| wrong(format!("{name:?}: {url}: {why}")))?))
            }
            None => library.roots.push(Root { prefix, path: folder.join(url) }),
        }
    }
    Ok(options)
}

/// The origins of pages that may read `libraries`, where they say so themselves, by prefix, the longest first.
pub fn cors_below(libraries: &[LibraryWritten]) -> Result<Vec<(String, Vec<HeaderValue>)>, Error> {
    let own = |library: &LibraryWritten| Some((library.prefix().to_owned(), library.cors_origins.clone()?));
    let parsed = |(prefix, written)| Ok((prefix, access::origins("library.cors-origins", written)?));
    let mut below = libraries.iter().filter_map(own).map(parsed).collect::<Result<Vec<_>, Error>>()?;
    below.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
    Ok(below)
}

/// The one library that `source` is, without a prefix.
pub fn one(source: PathBuf) -> LibraryWritten {
    let url = source.to_string_lossy().into_owned();
    LibraryWritten { name: "source".to_owned(), url, prefix: Some(String::new()), cors_origins: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(libraries: &[(&str, &str, Option<&str>)]) -> Result<(library::Options, Options), String> {
        let written = |&(name, url, prefix): &(&str, &str, Option<&str>)| LibraryWritten {
            name: name.to_owned(),
            url: url.to_owned(),
            prefix: prefix.map(str::to_owned),
            cors_origins: None,
        };
        let mut library = library::Options::new(PathBuf::new());
        let libraries = libraries.iter().map(written).collect();
        let (folder, mut wait) = (Path::new("conf"), Duration::ZERO);
        let options = resolve(libraries, folder, &StorageWritten::default(), &mut library, &mut wait);
        options.map(|options| (library, options)).map_err(|error| error.to_string())
    }

    #[test]
    fn libraries_are_folders_and_storages_under_their_prefixes() {
        let (library, options) =
            resolved(&[("films", "s3://bucket/films", None), ("local", "../media", Some(""))]).unwrap();
        assert_eq!(library.roots, [Root { prefix: String::new(), path: "conf/../media".into() }]);
        assert_eq!(options.places.len(), 1);
        assert_eq!((&options.places[0].0[..], options.places[0].1.to_string()), ("films", "s3://bucket/films".into()));
    }

    #[test]
    fn a_library_that_cannot_be_is_refused_by_name() {
        let twice = resolved(&[("a", "s3://b", None), ("b", "media", Some("a"))]).unwrap_err();
        assert_eq!(twice, "library: \"b\": another library has the prefix \"a\"");
        assert!(resolved(&[("a b", "media", None)]).unwrap_err().contains("prefix \"a b\""));
        assert!(resolved(&[("a", "ftp://host/x", None)]).unwrap_err().contains("ftp:// is no storage"));
    }
}
