//! What is written of TLS, and what it comes to.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::config::quantity::Span;
use crate::config::{Error, bounded, set};
use crate::server::tls::{Certificate, Options};

/// The table `[tls]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// Address of a listener for TLS beside the plain one.
    pub listen: Option<SocketAddr>,
    /// Certificates, shown by the name that a client asks for.
    pub certificate: Vec<WrittenCertificate>,
    /// PEM file of the authorities whose clients alone are served.
    pub client_ca: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: Option<MinVersion>,
    /// Time for a handshake.
    pub handshake_timeout: Option<Span>,
    /// Handshakes under way; more are refused.
    pub handshakes_max: Option<usize>,
}

/// An entry `[[tls.certificate]]`.
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
    /// Its paths, relative to `folder`.
    pub fn below(mut self, folder: &Path) -> Written {
        for WrittenCertificate { cert, key } in &mut self.certificate {
            (*cert, *key) = (folder.join(&*cert), folder.join(&*key));
        }
        self.client_ca = self.client_ca.map(|path| folder.join(path));
        self
    }
}

/// What the table and the two options come to; `None`: plain HTTP.
pub(super) fn resolve(
    table: Option<Written>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<Options>, Error> {
    let first = match (cert, key) {
        (Some(chain), Some(key)) => Some(Certificate { chain, key }),
        (None, None) => None,
        (Some(_), None) => return Err(missing("tls-key", "tls-cert is given, its key is not")),
        (None, Some(_)) => return Err(missing("tls-cert", "tls-key is given, its certificate is not")),
    };
    if first.is_none() && table.is_none() {
        return Ok(None);
    }
    let Written { listen, certificate, client_ca, min_version, handshake_timeout, handshakes_max } =
        table.unwrap_or_default();
    let others = certificate.into_iter().map(|WrittenCertificate { cert: chain, key }| Certificate { chain, key });
    let certificates: Vec<Certificate> = first.into_iter().chain(others).collect();
    if certificates.is_empty() {
        return Err(missing("tls", "has no [[tls.certificate]] with `cert` and `key`"));
    }
    let mut options = Options { listen, client_ca, ..Options::new(certificates) };
    options.only_1_3 = min_version == Some(MinVersion::V1_3);
    let range = Duration::from_secs(1)..=Duration::from_secs(60);
    set("tls.handshake-timeout", &mut options.handshake_timeout, handshake_timeout, range)?;
    let handshakes = handshakes_max.unwrap_or(options.handshakes_max);
    options.handshakes_max = bounded("tls.handshakes-max", handshakes, 1..=1 << 16)?;
    Ok(Some(options))
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

            [[certificate]]
            cert = "a.pem"
            key = "/keys/a.key"
        "#;
        let written: Written = toml::from_str(text).unwrap();
        let options = resolve(Some(written.below(Path::new("conf"))), None, None).unwrap().unwrap();
        let certificate = Certificate { chain: "conf/a.pem".into(), key: "/keys/a.key".into() };
        let expected = Options {
            listen: Some(([0, 0, 0, 0], 443).into()),
            client_ca: Some("conf/cdn.pem".into()),
            only_1_3: true,
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 100,
            ..Options::new(vec![certificate])
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn half_a_certificate_is_none() {
        let error = |table, cert: Option<&str>, key: Option<&str>| {
            resolve(table, cert.map(PathBuf::from), key.map(PathBuf::from)).unwrap_err().to_string()
        };
        assert_eq!(error(None, Some("a"), None), "tls-key: tls-cert is given, its key is not");
        assert_eq!(error(None, None, Some("a")), "tls-cert: tls-key is given, its certificate is not");
        assert!(error(Some(Written::default()), None, None).starts_with("tls: has no [[tls.certificate]]"));
        assert_eq!(resolve(None, None, None).unwrap(), None);
        let first = resolve(None, Some("a".into()), Some("b".into())).unwrap().unwrap();
        assert_eq!(first, Options::new(vec![Certificate { chain: "a".into(), key: "b".into() }]));
    }
}
