//! `headwater sign`: a URL with a token, for who may fetch what lies under it.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::machine::Machine;
use crate::config::quantity::Span;
use crate::config::written::Written;
use crate::config::{self};
use crate::origin::address::decode;
use crate::server::access::secret::Secret;
use crate::server::access::token::Key;
use crate::server::clock::utc;

/// What is signed, and with what.
#[derive(Args, Debug)]
pub struct Options {
    /// The URL, or its path: of a manifest, of a folder (ends with a slash), or of one object
    #[arg(value_name = "URL")]
    url: String,
    /// Configuration file with the keys of `access.tokens` [default: none]
    #[arg(long, value_name = "CONFIG.toml", required_unless_present = "secret_file")]
    config: Option<PathBuf>,
    /// File with the secret, instead of a configuration [default: none]
    #[arg(long, value_name = "FILE", conflicts_with = "config", requires = "key")]
    secret_file: Option<PathBuf>,
    /// Which key signs [default: the first of the configuration]
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// How long it is good for [default: 6h]
    #[arg(long, value_name = "DURATION", default_value = "6h", hide_default_value = true)]
    valid: Span,
    /// For how many segments of the path, with all below; 0: the whole path alone [default: a manifest's folder, or the object]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
}

/// Prints the signed URL.
pub fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { url, config, secret_file, key: id, valid: Span(valid), depth } = options;
    let key = match (secret_file, config) {
        (Some(path), _) => {
            let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let secret = Secret::new(&text).map_err(|why| format!("{}: {why}", path.display()))?;
            Key::new(id.unwrap_or_default(), secret)?
        }
        (None, Some(path)) => of_config(&path, id.as_deref())?,
        (None, None) => return Err("neither --config nor --secret-file is given".into()),
    };
    let expires_s = utc().after(valid).0 / 1000;
    let signed = signed(&url, &key, expires_s, depth)?;
    writeln!(io::stdout(), "{signed}")?;
    Ok(ExitCode::SUCCESS)
}

fn of_config(path: &Path, id: Option<&str>) -> Result<Key, Box<dyn Error>> {
    let config = config::load(path, Written::default(), Machine::read())?;
    let mut keys = config.server.access.tokens.into_iter();
    let found = keys.find(|key| id.is_none_or(|id| key.id == id));
    found.ok_or_else(|| match id {
        Some(id) => format!("{}: access.tokens has no key {id:?}", path.display()).into(),
        None => format!("{}: access.tokens has no key", path.display()).into(),
    })
}

/// `url` with a token of `key`.
fn signed(url: &str, key: &Key, expires_s: u64, depth: Option<usize>) -> Result<String, String> {
    let (base, rest) = match url.find("://") {
        Some(at) => {
            let path = url[at + 3..].find('/').ok_or_else(|| format!("{url}: no path"))?;
            url.split_at(at + 3 + path)
        }
        None => ("", url),
    };
    let (raw, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !raw.starts_with('/') {
        return Err(format!("{url}: a path begins with a slash"));
    }
    let path = decode(raw).ok_or_else(|| format!("{url}: its percent-encoding means nothing"))?;
    let depth = depth.unwrap_or_else(|| {
        let (folder, last) = path.rsplit_once('/').unwrap_or(("", &path));
        let with_all_below = last.is_empty() || matches!(last, "master.m3u8" | "manifest.mpd");
        if with_all_below { folder.matches('/').count() } else { 0 }
    });
    let token = key.sign(&path, depth, expires_s);
    let token = token.ok_or_else(|| format!("{url}: its path has not {depth} segments with something below"))?;
    let and = |query: &str| if query.is_empty() { String::new() } else { format!("&{query}") };
    Ok(match depth {
        0 => format!("{base}{raw}?t={token}{}", and(query)),
        _ if query.is_empty() => format!("{base}/~t={token}{raw}"),
        _ => format!("{base}/~t={token}{raw}?{query}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::token::verify;
    use crate::time::Utc;

    #[test]
    fn a_signed_url_has_a_token_where_its_kind_needs_it() {
        let secret = Secret::new(b"correct horse battery").unwrap();
        let key = Key::new("a".into(), secret).unwrap();
        let now = Utc(1_900_000_000_000);
        for (url, depth, before, after, opens) in [
            ("/tour/master.m3u8", None, "/~t=", "/tour/master.m3u8", "/tour/v/x/0.m4s"),
            ("https://cdn.example/a/b/manifest.mpd", None, "https://cdn.example/~t=", "/a/b/manifest.mpd", "/a/b/x"),
            ("http://h:1/tour/", None, "http://h:1/~t=", "/tour/", "/tour/master.m3u8"),
            ("/tour/v/x/0.m4s", None, "/tour/v/x/0.m4s?t=", "", "/tour/v/x/0.m4s"),
            ("/tour/v/x/0.m4s?a=b", None, "/tour/v/x/0.m4s?t=", "&a=b", "/tour/v/x/0.m4s"),
            ("/films/a%20b/master.m3u8?x", Some(1), "/~t=", "/films/a%20b/master.m3u8?x", "/films/other/x"),
        ] {
            let text = signed(url, &key, 1_900_000_010, depth).unwrap();
            let token = text.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).expect(&text);
            assert_eq!(verify(std::slice::from_ref(&key), token, opens, now), Ok(()), "{text}");
        }
        for (url, depth) in
            [("tour/master.m3u8", None), ("https://cdn.example", None), ("/tour/x", Some(2)), ("/%ff/", None)]
        {
            assert!(signed(url, &key, 1_900_000_010, depth).is_err(), "{url}");
        }
        assert_eq!(
            signed("/master.m3u8", &key, 9, None).unwrap().split('.').nth(2),
            Some("0"),
            "nothing stands above it"
        );
    }
}
