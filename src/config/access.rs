//! What is written of who may fetch (`[access]`) and of what stands in front (`[proxies]`), and what it comes to.

use std::fmt;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use http::header::HeaderName;
use serde::Deserialize;

use crate::config::error::Error;
use crate::config::over::over;
use crate::server::access::Options;
use crate::server::access::secret::{SECRET_BYTES_MAX, Secret};
use crate::server::access::token::Key;
use crate::server::network::Network;
use crate::server::proxied::ForwardedBy;

/// Entries of a list that each request is compared with, one by one.
const NETWORKS_MAX: usize = 1000;
/// Secrets that are good at the same time: rotation needs two.
const SECRETS_MAX: usize = 16;

/// The table `[access]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// Networks whose clients are served.
    pub allow: Option<Vec<String>>,
    /// Name of a header that has to hold a secret.
    pub header: Option<String>,
    /// Those secrets.
    pub header_secrets: Option<Vec<Source>>,
    /// Keys of tokens.
    pub tokens: Option<Vec<WrittenKey>>,
    /// Origins of pages that may read.
    pub cors_origins: Option<Vec<String>>,
    /// Token of admin calls that change something.
    pub admin: Option<Source>,
}

/// The table `[proxies]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Proxies {
    /// Networks whose peers are believed when they say for whom they ask.
    pub trusted: Option<Vec<String>>,
    /// Where they say it.
    pub header: Option<Header>,
    /// Whether connections begin with the PROXY protocol.
    pub protocol: Option<bool>,
}

/// A header that says for whom is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Header {
    /// What most proxies write.
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// Where a secret is: in quotes, or in a table that says where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// Here.
    Inline(Inline),
    /// There.
    Place(Place),
}

/// Where a secret is: exactly one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Place {
    /// Here.
    pub secret: Option<Inline>,
    /// A file, of whose last newline nothing is taken.
    pub file: Option<PathBuf>,
    /// A variable of the environment.
    pub env: Option<String>,
}

/// A key of tokens, and where its secret is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct WrittenKey {
    /// Its name in tokens.
    pub id: String,
    /// As in [`Place`].
    pub secret: Option<Inline>,
    /// As in [`Place`].
    pub file: Option<PathBuf>,
    /// As in [`Place`].
    pub env: Option<String>,
}

/// A secret as it was written, which shows nothing.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Inline(String);

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Written {
    /// These, and those of `under` where these say nothing.
    pub(crate) fn over(self, under: Written) -> Written {
        over!(self, under; allow, header, header_secrets, tokens, cors_origins, admin)
    }

    /// Its paths, relative to `folder`.
    pub(crate) fn below(mut self, folder: &Path) -> Written {
        let sources = self.header_secrets.iter_mut().flatten().chain(&mut self.admin);
        let files = sources.filter_map(|source| match source {
            Source::Inline(_) => None,
            Source::Place(place) => place.file.as_mut(),
        });
        for file in files.chain(self.tokens.iter_mut().flatten().filter_map(|key| key.file.as_mut())) {
            *file = folder.join(&*file);
        }
        self
    }
}

impl Proxies {
    /// These, and those of `under` where these say nothing.
    pub(crate) fn over(self, under: Proxies) -> Proxies {
        over!(self, under; trusted, header, protocol)
    }
}

fn wrong(option: &'static str, message: impl Into<String>) -> Error {
    Error::Value { option, message: message.into() }
}

fn networks(option: &'static str, written: Option<Vec<String>>) -> Result<Vec<Network>, Error> {
    let written = written.unwrap_or_default();
    if written.len() > NETWORKS_MAX {
        return Err(wrong(option, format!("{} networks, where there may be {NETWORKS_MAX}", written.len())));
    }
    written.iter().map(|text| text.parse().map_err(|message: String| wrong(option, message))).collect()
}

/// Reads a secret. What is wrong is said without it.
fn secret(option: &'static str, place: Place) -> Result<Secret, Error> {
    let wrong = |message: String| wrong(option, message);
    let text = match place {
        Place { secret: Some(Inline(text)), file: None, env: None } => text.into_bytes(),
        Place { secret: None, file: Some(path), env: None } => {
            use std::io::Read;
            let mut text = Vec::new();
            let opened = std::fs::File::open(&path);
            let read = opened.and_then(|file| file.take(SECRET_BYTES_MAX as u64 + 3).read_to_end(&mut text));
            read.map_err(|error| wrong(format!("{}: {error}", path.display())))?;
            text
        }
        Place { secret: None, file: None, env: Some(name) } => match std::env::var(&name) {
            Ok(text) => text.into_bytes(),
            Err(_) => return Err(wrong(format!("the environment has no variable {name} with text"))),
        },
        _ => return Err(wrong("a secret is one of `secret`, `file` and `env`".into())),
    };
    Secret::new(&text).map_err(wrong)
}

impl From<Source> for Place {
    fn from(source: Source) -> Place {
        match source {
            Source::Inline(secret) => Place { secret: Some(secret), ..Place::default() },
            Source::Place(place) => place,
        }
    }
}

/// What the two tables come to. Reads secrets from their files.
pub(super) fn resolve(written: Written, proxies: Proxies) -> Result<Options, Error> {
    let Written { allow, header, header_secrets, tokens, cors_origins, admin } = written;
    let mut options = Options { allow: networks("access.allow", allow)?, ..Options::default() };

    let secrets = header_secrets.unwrap_or_default().into_iter();
    let secrets: Result<Vec<Secret>, Error> =
        secrets.map(|source| secret("access.header-secrets", source.into())).collect();
    let secrets = secrets?;
    options.header = match header {
        Some(_) if secrets.is_empty() => return Err(wrong("access.header-secrets", "the header has none")),
        None if !secrets.is_empty() => return Err(wrong("access.header", "there are secrets, but no header's name")),
        None => None,
        Some(name) => {
            let name = HeaderName::try_from(&name)
                .map_err(|_| wrong("access.header", format!("{name:?} is no name of a header")))?;
            Some((name, secrets))
        }
    };

    for WrittenKey { id, secret: inline, file, env } in tokens.unwrap_or_default() {
        let secret = secret("access.tokens", Place { secret: inline, file, env })?;
        let key = Key::new(id, secret).map_err(|message| wrong("access.tokens", message))?;
        if options.tokens.iter().any(|other| other.id == key.id) {
            return Err(wrong("access.tokens", format!("two keys are called {:?}", key.id)));
        }
        options.tokens.push(key);
    }
    let counts = [options.tokens.len(), options.header.as_ref().map_or(0, |(_, secrets)| secrets.len())];
    for (option, count) in ["access.tokens", "access.header-secrets"].into_iter().zip(counts) {
        if count > SECRETS_MAX {
            return Err(wrong(option, format!("{count} secrets, where there may be {SECRETS_MAX}")));
        }
    }

    options.cors_origins = origins("access.cors-origins", cors_origins.unwrap_or_default())?;
    options.admin = admin.map(|source| secret("access.admin", source.into())).transpose()?;

    options.trusted = networks("proxies.trusted", proxies.trusted)?;
    options.forwarded_by = match proxies.header {
        None | Some(Header::XForwardedFor) => ForwardedBy::XForwardedFor,
        Some(Header::Forwarded) => ForwardedBy::Forwarded,
    };
    options.proxy_protocol = proxies.protocol.unwrap_or(false);
    if options.proxy_protocol && options.trusted.is_empty() {
        return Err(wrong("proxies.trusted", "names nobody, and with proxies.protocol nobody would be served"));
    }
    Ok(options)
}

/// Origins of pages, as their `Origin` header has them.
pub(crate) fn origins(option: &'static str, written: Vec<String>) -> Result<Vec<HeaderValue>, Error> {
    let parse = |origin: String| {
        let is_origin = origin.split_once("://").is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'));
        let value = HeaderValue::try_from(&origin).ok().filter(|_| is_origin);
        value.ok_or_else(|| wrong(option, format!("{origin:?} is no origin of a page: https://host")))
    };
    written.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Both {
        access: Written,
        proxies: Proxies,
    }

    fn resolved(text: &str, folder: &Path) -> Result<Options, String> {
        let both: Both = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        resolve(both.access.below(folder), both.proxies).map_err(|error| error.to_string())
    }

    #[test]
    fn secrets_come_from_files_the_environment_or_the_text() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("old.key"), "the secret of the file\n").unwrap();
        let text = r#"
            [access]
            tokens = [{ id = "new", secret = "a secret in the text" }, { id = "old", file = "old.key" }]
            header = "X-Origin-Auth"
            header-secrets = ["another secret here", { env = "PATH" }]
            admin = { secret = "what admins bring along" }
        "#;
        let options = resolved(text, dir.path()).unwrap();
        let key = |id: &str, secret: &str| Key::new(id.into(), Secret::new(secret.as_bytes()).unwrap()).unwrap();
        assert_eq!(options.tokens, [key("new", "a secret in the text"), key("old", "the secret of the file")]);
        let (name, secrets) = options.header.unwrap();
        assert_eq!(name, "x-origin-auth");
        assert!(secrets[1].is(std::env::var("PATH").unwrap().as_bytes()));
        assert!(options.admin.unwrap().is(b"what admins bring along"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for (text, expected) in [
            (
                "[access]\ntokens = [{ id = \"a b\", secret = \"sesame-sesame-sesame\" }]",
                "access.tokens: \"a b\" is no name",
            ),
            (
                "[access]\ntokens = [{ id = \"a\", secret = \"sesame\" }]",
                "access.tokens: a secret has 16 to 4096 bytes, not 6",
            ),
            ("[access]\ntokens = [{ id = \"a\" }]", "access.tokens: a secret is one of"),
            (
                "[access]\ntokens = [{ id = \"a\", secret = \"sesame-sesame-sesame\", file = \"x\" }]",
                "access.tokens: a secret is one of",
            ),
            ("[access]\nadmin = { file = \"nowhere\" }", "access.admin: conf/nowhere: No such file"),
            ("[access]\nadmin = { env = \"HEADWATER_NO_SUCH\" }", "access.admin: the environment has no variable"),
            ("[access]\nheader = \"x-a\"", "access.header-secrets: the header has none"),
            ("[access]\nheader-secrets = [\"sesame-sesame-sesame\"]", "access.header: there are secrets"),
            ("[access]\nallow = [\"10.0.0.1/8\"]", "access.allow: \"10.0.0.1/8\" has bits"),
            ("[access]\ncors-origins = [\"*\"]", "access.cors-origins: \"*\" is no origin"),
            ("[proxies]\nprotocol = true", "proxies.trusted: names nobody"),
            (
                "[access]\ntokens = [{ id = \"a\", secret = \"sesame-sesame-sesame\" }, { id = \"a\", secret = \"sesame-sesame-sesame\" }]",
                "access.tokens: two keys",
            ),
        ] {
            let error = resolved(text, Path::new("conf")).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
            assert!(!error.contains("sesame"), "{error}");
        }
        let both: Both = toml::from_str("[access]\nadmin = \"sesame-sesame-sesame\"").unwrap();
        assert!(!format!("{both:?}").contains("sesame"));
        let options = resolve(both.access, both.proxies).unwrap();
        assert!(!format!("{options:?}").contains("sesame"));
    }
}
