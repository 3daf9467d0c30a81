//! What is written of TLS, and what it comes to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::config::error::{Error, bounded, set};
use crate::config::over::over;
use crate::config::quantity::Span;
use crate::server::tls::{Certificate, Options};

/// The table `[tls]`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[group(skip)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// PEM file of a certificate and those above it: TLS is spoken on the media listener then [default: plain HTTP]
    #[arg(id = "tls_cert", long = "tls-cert", value_name = "FILE", help_heading = "Listeners")]
    pub cert: Option<PathBuf>,
    /// PEM file of its private key [default: none]
    #[arg(id = "tls_key", long = "tls-key", value_name = "FILE", help_heading = "Listeners")]
    pub key: Option<PathBuf>,
    /// More of them, shown by the name that a client asks for.
    #[arg(skip)]
    pub certificates: Option<Vec<WrittenCertificate>>,
    /// Address of a listener for TLS beside the plain one.
    #[arg(skip)]
    pub listen: Option<SocketAddr>,
    /// PEM file of the authorities whose clients alone are served.
    #[arg(skip)]
    pub client_ca: Option<PathBuf>,
    /// The oldest version that is spoken.
    #[arg(skip)]
    pub min_version: Option<MinVersion>,
    /// Time for a handshake.
    #[arg(skip)]
    pub handshake_timeout: Option<Span>,
    /// Handshakes under way; more are refused.
    #[arg(skip)]
    pub handshakes_max: Option<usize>,
}

/// An entry `[[tls.certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WrittenCertificate {
    /// PEM file of the certificate and those above it.
    pub cert: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MinVersion {
    /// RFC 5246.
    #[serde(rename = "1.2")]
    V1_2,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    V1_3,
}

impl Written {
    /// These, and those of `under` where these say nothing.
    pub(crate) fn over(self, under: Written) -> Written {
        over!(self, under; cert, key, certificates, listen, client_ca, min_version, handshake_timeout, handshakes_max)
    }

    /// Its paths, relative to `folder`.
    pub(crate) fn below(mut self, folder: &Path) -> Written {
        for WrittenCertificate { cert, key } in self.certificates.iter_mut().flatten() {
            (*cert, *key) = (folder.join(&*cert), folder.join(&*key));
        }
        for path in [&mut self.cert, &mut self.key, &mut self.client_ca].into_iter().flatten() {
            *path = folder.join(&*path);
        }
        self
    }
}

/// What it comes to; without certificates: plain HTTP.
pub(super) fn resolve(written: Written) -> Result<Options, Error> {
    let Written { cert, key, certificates, listen, client_ca, min_version, handshake_timeout, handshakes_max } =
        written;
    let first = match (cert, key) {
        (Some(chain), Some(key)) => Some(Certificate { chain, key }),
        (None, None) => None,
        (Some(_), None) => return Err(missing("tls.key", "tls.cert is given, its key is not")),
        (None, Some(_)) => return Err(missing("tls.cert", "tls.key is given, its certificate is not")),
    };
    let others = certificates.unwrap_or_default().into_iter();
    let others = others.map(|WrittenCertificate { cert: chain, key }| Certificate { chain, key });
    let certificates: Vec<Certificate> = first.into_iter().chain(others).collect();
    if certificates.is_empty() && (listen.is_some() || client_ca.is_some()) {
        return Err(missing("tls.cert", "is not given, but other keys of TLS are"));
    }
    let mut options = Options { listen, certificates, client_ca, ..Options::default() };
    options.only_1_3 = min_version == Some(MinVersion::V1_3);
    let range = Duration::from_secs(1)..=Duration::from_secs(60);
    set("tls.handshake-timeout", &mut options.handshake_timeout, handshake_timeout, range)?;
    let handshakes = handshakes_max.unwrap_or(options.handshakes_max);
    options.handshakes_max = bounded("tls.handshakes-max", handshakes, 1..=1 << 16)?;
    Ok(options)
}

fn missing(option: &'static str, message: &str) -> Error {
    Error::Value { option, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_lie_beside_the_file_that_names_them() {
        let text = r#"
            listen = "0.0.0.0:443"
            client-ca = "cdn.pem"
            min-version = "1.3"
            handshake-timeout = "5s"
            handshakes-max = 100

            [[certificates]]
            cert = "a.pem"
            key = "/keys/a.key"
        "#;
        let written: Written = toml::from_str(text).unwrap();
        let options = resolve(written.below(Path::new("conf"))).unwrap();
        let certificate = Certificate { chain: "conf/a.pem".into(), key: "/keys/a.key".into() };
        let expected = Options {
            listen: Some(([0, 0, 0, 0], 443).into()),
            client_ca: Some("conf/cdn.pem".into()),
            only_1_3: true,
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 100,
            only_http1: false,
            certificates: vec![certificate],
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn half_a_certificate_is_none() {
        let written = |cert: Option<&str>, key: Option<&str>| Written {
            cert: cert.map(PathBuf::from),
            key: key.map(PathBuf::from),
            ..Written::default()
        };
        let error = |written| resolve(written).unwrap_err().to_string();
        assert_eq!(error(written(Some("a"), None)), "tls.key: tls.cert is given, its key is not");
        assert_eq!(error(written(None, Some("a"))), "tls.cert: tls.key is given, its certificate is not");
        let alone = Written { client_ca: Some("ca.pem".into()), ..Written::default() };
        assert!(error(alone).starts_with("tls.cert: is not given"));
        assert_eq!(resolve(Written::default()).unwrap(), Options::default());
        let first = resolve(written(Some("a"), Some("b"))).unwrap();
        assert_eq!(first.certificates, [Certificate { chain: "a".into(), key: "b".into() }]);
    }
}
