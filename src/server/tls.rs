//! TLS 1.3 and 1.2 on the media and ingest listeners (RFC 8446, RFC 5246): which certificate is shown to whom, how certificates are read again
//! while connections go on, and within what limits hands are shaken.
//!
//! ```text
//!   TcpStream -> handshake -> Secured -> Conn -> hyper
//!                  |             hyper's slices -> records of up to 16 KiB, sealed where they lie -> one writev
//!                  the state of the certificates now; a later one is for later connections
//! ```

pub mod secured;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::server::conn::Stream;
use crate::server::tls::secured::{SEALED_BYTES_MAX, Secured, Socket};
use crate::telemetry::{Handshake, Telemetry, TlsVersion};

/// Bytes of a file of certificates or of a key; a chain takes a few thousand, a bundle of authorities some hundred thousand.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Certificates that one server shows: each is parsed at every reload.
const CERTIFICATES_MAX: usize = 1000;
/// Between two looks at the files: certificates last weeks, and who replaces them waits this long.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// How TLS is spoken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Address of a listener for TLS alone; without one, the media listener speaks TLS and nothing else.
    pub listen: Option<SocketAddr>,
    /// None: TLS is not spoken. The first is shown to who names no server, or one that none is for.
    pub certificates: Vec<Certificate>,
    /// Authorities whose clients alone are served; without, clients show no certificate.
    pub client_ca: Option<PathBuf>,
    /// Refuses TLS 1.2.
    pub only_1_3: bool,
    /// From the first byte to the last of a handshake.
    pub handshake_timeout: Duration,
    /// Whether HTTP/2 is not offered.
    pub only_http1: bool,
    /// Handshakes under way. One takes about a millisecond of a core, so more would only wait; and up to 64 KiB of what a client has sent.
    pub handshakes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: None,
            certificates: Vec::new(),
            client_ca: None,
            only_1_3: false,
            handshake_timeout: Duration::from_secs(10),
            only_http1: false,
            handshakes_max: 1024,
        }
    }
}

/// Where a certificate lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// PEM: the certificate, then those that lead to its authority.
    pub chain: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
}

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// What the files hold does not go together.
    #[error("tls: {0}")]
    Setup(String),
}

/// TLS as the listeners have it: one state of the certificates at a time.
pub struct Tls {
    options: Options,
    provider: Arc<CryptoProvider>,
    state: ArcSwap<ServerConfig>,
    /// What the files were when they were last read.
    seen: Mutex<Vec<Option<Fingerprint>>>,
    /// Keys of session tickets: they outlive a reload, so that clients need no whole handshake after it.
    ticketer: Arc<dyn ProducesTickets>,
    handshakes: Semaphore,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("options", &self.options).finish_non_exhaustive()
    }
}

/// By what a replaced file is known.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Fingerprint {
    len: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

impl Tls {
    /// Reads all that `options` name. Blocks.
    pub fn load(options: Options) -> Result<Tls, Error> {
        if options.certificates.is_empty() || options.certificates.len() > CERTIFICATES_MAX {
            let count = options.certificates.len();
            return Err(Error::Setup(format!("{count} certificates, where there are to be 1 to {CERTIFICATES_MAX}")));
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let ticketer = aws_lc_rs::Ticketer::new().map_err(setup)?;
        let seen = fingerprints(&options);
        let state = build(&options, &provider, &ticketer)?;
        Ok(Tls {
            handshakes: Semaphore::new(options.handshakes_max),
            options,
            provider,
            state: ArcSwap::from_pointee(state),
            seen: Mutex::new(seen),
            ticketer,
        })
    }

    /// How it is spoken.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Reads the files again if one of them has changed; says whether. What was read before goes on if they are wrong now. Blocks.
    pub fn reload(&self) -> Result<bool, Error> {
        let reloaded = self.reload_changed();
        if reloaded.is_err() {
            // They may be well before anything shows it, as where only their owner was wrong.
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        reloaded
    }

    fn reload_changed(&self) -> Result<bool, Error> {
        let now = fingerprints(&self.options);
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return Ok(false);
            }
            // Before they are read: what changes meanwhile is looked at once more.
            *seen = now;
        }
        let ticketer = match self.options.client_ca {
            None => Arc::clone(&self.ticketer),
            // A ticket says that its client was vouched for: by authorities that may be other ones now.
            Some(_) => aws_lc_rs::Ticketer::new().map_err(setup)?,
        };
        self.state.store(Arc::new(build(&self.options, &self.provider, &ticketer)?));
        Ok(true)
    }

    /// Reloads whatever changes, for good.
    pub async fn watch(self: Arc<Tls>) {
        let mut said = None;
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || tls.reload()).await {
                Ok(Ok(false)) | Err(_) => {}
                Ok(Ok(true)) => {
                    said = None;
                    tracing::info!("certificates_reloaded");
                }
                Ok(Err(error)) => {
                    let error = error.to_string();
                    if said.as_ref() != Some(&error) {
                        tracing::error!(error, "certificates_not_reloaded");
                    }
                    said = Some(error);
                }
            }
        }
    }

    /// Shakes hands over `io`; `None` if that came to nothing, which is counted. Dropping the future gives it up.
    pub async fn handshake<S>(&self, io: S, telemetry: &Telemetry) -> Option<Secured<S>>
    where
        S: Stream,
    {
        let outcome = |outcome| telemetry.tls_handshakes.at(outcome).inc();
        let Ok(_permit) = self.handshakes.try_acquire() else {
            outcome(Handshake::Refused);
            return None;
        };
        let _under_way = telemetry.tls_handshakes_under_way.enter();
        let acceptor = TlsAcceptor::from(self.state.load_full());
        let io = Socket::new(io);
        let shaking = acceptor.accept_with(io, |session| session.set_buffer_limit(Some(SEALED_BYTES_MAX)));
        match tokio::time::timeout(self.options.handshake_timeout, shaking).await {
            Err(_) => {
                outcome(Handshake::TimedOut);
                None
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "handshake_failed");
                outcome(Handshake::Failed);
                None
            }
            Ok(Ok(stream)) => {
                let session = stream.get_ref().1;
                outcome(match session.handshake_kind() {
                    Some(HandshakeKind::Resumed) => Handshake::Resumed,
                    _ => Handshake::Full,
                });
                telemetry.tls_sessions.at(version(session.protocol_version())).inc();
                Some(Secured::new(stream))
            }
        }
    }
}

fn version(version: Option<ProtocolVersion>) -> TlsVersion {
    match version {
        Some(ProtocolVersion::TLSv1_2) => TlsVersion::V1_2,
        _ => TlsVersion::V1_3,
    }
}

fn setup(error: rustls::Error) -> Error {
    Error::Setup(error.to_string())
}

fn fingerprints(options: &Options) -> Vec<Option<Fingerprint>> {
    let files = options.certificates.iter().flat_map(|certificate| [&certificate.chain, &certificate.key]);
    files
        .chain(&options.client_ca)
        .map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some(Fingerprint { len: metadata.len(), modified: metadata.modified().ok(), inode: metadata.ino() })
        })
        .collect()
}

/// What the files come to now.
fn build(
    options: &Options,
    provider: &Arc<CryptoProvider>,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<ServerConfig, Error> {
    let versions: &[&rustls::SupportedProtocolVersion] = match options.only_1_3 {
        true => &[&rustls::version::TLS13],
        false => &[&rustls::version::TLS13, &rustls::version::TLS12],
    };
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(versions).map_err(setup)?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots.add(authority).map_err(|error| unsuited(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unsuited(path, &error))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Shown::load(&options.certificates, provider)?));
    let http2 = (!options.only_http1).then(|| b"h2".to_vec());
    config.alpn_protocols = http2.into_iter().chain([b"http/1.1".to_vec()]).collect();
    // Tickets alone (RFC 8446 §2.2, RFC 5077): nothing is kept here for a client that may never come back.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::clone(ticketer);
    Ok(config)
}

fn unsuited(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), message: error.to_string() }
}

/// The bytes of a file that is not large. What is wrong with it is said without a byte of it: it may be a key.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unsuited(path, &"too large for a file of certificates or a key"));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(unsuited(path, &"holds no PEM certificate")),
        Err(_) => Err(unsuited(path, &"is no sound PEM file")),
    }
}

/// Which certificate is shown to whom.
#[derive(Debug)]
struct Shown {
    /// By names in lower case; `*.example.com` stands as `.example.com`.
    names: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Arc<CertifiedKey>,
}

impl Shown {
    fn load(all: &[Certificate], provider: &CryptoProvider) -> Result<Shown, Error> {
        let mut names: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        let mut first = None;
        for Certificate { chain: path, key: key_path } in all {
            let chain = certificates(path)?;
            let key = PrivateKeyDer::from_pem_slice(&read(key_path)?)
                .map_err(|_| unsuited(key_path, &"holds no PEM private key"))?;
            let key = provider
                .key_provider
                .load_private_key(key)
                .map_err(|_| unsuited(key_path, &"a private key that is not understood"))?;
            let end_entity = webpki::EndEntityCert::try_from(&chain[0]).map_err(|error| unsuited(path, &error))?;
            let own: Vec<String> = end_entity.valid_dns_names().map(str::to_ascii_lowercase).collect();
            let certified = Arc::new(CertifiedKey::new(chain, key));
            certified.keys_match().map_err(|_| unsuited(key_path, &format!("is not the key of {}", path.display())))?;
            for name in own {
                let name = name.strip_prefix('*').map_or(name.clone(), str::to_owned);
                names.entry(name).or_default().push(Arc::clone(&certified));
            }
            first.get_or_insert(certified);
        }
        let first = first.ok_or_else(|| Error::Setup("no certificate".into()))?;
        Ok(Shown { names, first })
    }
}

impl ResolvesServerCert for Shown {
    /// RFC 6066 §3: by the name the client says. Of several for one name, the first whose key the client can check.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| {
            let wildcard = || name.find('.').and_then(|dot| self.names.get(&name[dot..]));
            self.names.get(name).or_else(wildcard)
        });
        let Some(found) = found else { return Some(Arc::clone(&self.first)) };
        let can_check = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        found.iter().find(can_check).or(found.first()).cloned()
    }
}

#[cfg(test)]
mod tests;
