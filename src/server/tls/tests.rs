//! Hands shaken in memory and over sockets, with certificates made for the test.

use super::*;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio_rustls::TlsConnector;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// An authority, a folder with certificates of it, and who trusts it.
struct Site {
    dir: TempDir,
    authority: Issuer,
}

impl Site {
    fn new() -> Site {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        Site { dir, authority }
    }

    /// Writes a certificate for `names` as `file`, and where it lies.
    fn certificate(&self, file: &str, names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.authority).unwrap();
        let (chain, key_path) = (self.path(&format!("{file}.pem")), self.path(&format!("{file}.key")));
        std::fs::write(&chain, certificate.pem()).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        Certificate { chain, key: key_path }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        roots
    }

    fn client(&self, alpn: &[&str]) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(self.roots());
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// The same, which shows a certificate.
    fn client_with(&self, certificate: &Certificate) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(self.roots());
        let key = PrivateKeyDer::from_pem_slice(&read(&certificate.key).unwrap()).unwrap();
        Arc::new(builder.with_client_auth_cert(certificates(&certificate.chain).unwrap(), key).unwrap())
    }
}

/// What a client came by.
struct Shaken {
    /// The first certificate that it was shown.
    certificate: Vec<u8>,
    alpn: Option<Vec<u8>>,
    is_resumed: bool,
    version: ProtocolVersion,
}

/// A client asks for `name`, sends a line and reads it back.
async fn visit(tls: &Tls, client: Arc<ClientConfig>, name: &str, telemetry: &Telemetry) -> io::Result<Shaken> {
    let (there, here) = duplex(16 * 1024);
    let serving = async {
        let Some(mut secured) = tls.handshake(here, telemetry).await else { return };
        let mut line = [0; 5];
        if secured.read_exact(&mut line).await.is_ok() {
            secured.write_all(&line).await.unwrap();
            secured.shutdown().await.unwrap();
        }
    };
    let asking = async {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = TlsConnector::from(client).connect(name, there).await?;
        stream.write_all(b"hello").await?;
        let mut back = Vec::new();
        stream.read_to_end(&mut back).await?;
        assert_eq!(back, b"hello");
        let session: &ClientConnection = stream.get_ref().1;
        Ok(Shaken {
            certificate: session.peer_certificates().unwrap()[0].to_vec(),
            alpn: session.alpn_protocol().map(<[u8]>::to_vec),
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            version: session.protocol_version().unwrap(),
        })
    };
    tokio::join!(serving, asking).1
}

fn der(certificate: &Certificate) -> Vec<u8> {
    certificates(&certificate.chain).unwrap()[0].to_vec()
}

#[tokio::test]
async fn each_name_is_shown_its_certificate_and_any_other_the_first() {
    let site = Site::new();
    let first = site.certificate("first", &["one.example", "localhost"]);
    let wild = site.certificate("wild", &["*.two.example"]);
    let exact = site.certificate("exact", &["Special.two.example"]);
    let tls =
        Tls::load(Options { certificates: vec![first.clone(), wild.clone(), exact.clone()], ..Options::default() })
            .unwrap();
    let telemetry = Telemetry::default();
    for (name, expected) in
        [("one.example", &first), ("a.two.example", &wild), ("special.two.example", &exact), ("localhost", &first)]
    {
        let shaken = visit(&tls, site.client(&[]), name, &telemetry).await.unwrap();
        assert!(shaken.certificate == der(expected), "{name}");
    }
    // None is for these; what they are shown is not for them either, which is theirs to say.
    for name in ["two.example", "a.b.two.example", "elsewhere.example"] {
        let error = visit(&tls, site.client(&[]), name, &telemetry).await.err().unwrap();
        assert!(error.to_string().contains("not valid for name"), "{name}: {error}");
    }
    assert_eq!(telemetry.tls_handshakes.at(Handshake::Full).get(), 4);
    assert_eq!(telemetry.tls_handshakes.at(Handshake::Failed).get(), 3);
    assert_eq!(telemetry.tls_handshakes_under_way.get(), 0);
}

#[tokio::test]
async fn both_protocols_are_offered_and_old_versions_only_if_wanted() {
    let site = Site::new();
    let certificate = site.certificate("site", &["localhost"]);
    let tls = Tls::load(Options { certificates: vec![certificate.clone()], ..Options::default() }).unwrap();
    let telemetry = Telemetry::default();
    for (offered, chosen) in [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)] {
        let shaken = visit(&tls, site.client(offered), "localhost", &telemetry).await.unwrap();
        assert_eq!(shaken.alpn.as_deref(), chosen.map(str::as_bytes));
        assert_eq!(shaken.version, ProtocolVersion::TLSv1_3);
    }
    // RFC 7301 §3.2.
    let error = visit(&tls, site.client(&["spdy/3"]), "localhost", &telemetry).await.err().unwrap();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");

    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let old = Arc::new(builder.with_root_certificates(site.roots()).with_no_client_auth());
    let shaken = visit(&tls, old.clone(), "localhost", &telemetry).await.unwrap();
    assert_eq!(shaken.version, ProtocolVersion::TLSv1_2);
    assert_eq!(telemetry.tls_sessions.at(TlsVersion::V1_2).get(), 1);
    assert_eq!(telemetry.tls_sessions.at(TlsVersion::V1_3).get(), 3);
    let strict = Tls::load(Options { only_1_3: true, certificates: vec![certificate], ..Options::default() }).unwrap();
    assert!(visit(&strict, old, "localhost", &telemetry).await.is_err());
}

#[tokio::test]
async fn a_client_comes_back_with_its_ticket_also_after_a_reload() {
    let site = Site::new();
    let certificate = site.certificate("site", &["localhost"]);
    let tls = Tls::load(Options { certificates: vec![certificate], ..Options::default() }).unwrap();
    let telemetry = Telemetry::default();
    let mut config = Arc::unwrap_or_clone(site.client(&[]));
    config.resumption = Resumption::in_memory_sessions(8);
    let client = Arc::new(config);
    assert!(!visit(&tls, client.clone(), "localhost", &telemetry).await.unwrap().is_resumed);
    assert!(visit(&tls, client.clone(), "localhost", &telemetry).await.unwrap().is_resumed);
    assert!(!tls.reload().unwrap(), "nothing has changed");
    site.certificate("site", &["localhost"]);
    assert!(tls.reload().unwrap());
    assert!(visit(&tls, client, "localhost", &telemetry).await.unwrap().is_resumed);
    assert_eq!(telemetry.tls_handshakes.at(Handshake::Resumed).get(), 2);
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_wrong_one_for_nobody() {
    let site = Site::new();
    let certificate = site.certificate("site", &["localhost"]);
    let tls = Tls::load(Options { certificates: vec![certificate.clone()], ..Options::default() }).unwrap();
    let telemetry = Telemetry::default();
    let old = der(&certificate);
    let (there, here) = duplex(16 * 1024);
    let connecting = TlsConnector::from(site.client(&[])).connect("localhost".try_into().unwrap(), there);
    let (secured, stream) = tokio::join!(tls.handshake(here, &telemetry), connecting);
    let (mut secured, mut stream) = (secured.unwrap(), stream.unwrap());

    // A key that does not belong to the certificate: half of a replacement.
    std::fs::write(&certificate.key, KeyPair::generate().unwrap().serialize_pem() + "\n").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    // A look later it is not taken for what was read.
    assert_eq!(tls.reload().unwrap_err().to_string(), error);
    assert!(error.contains("is not the key of") && !error.contains("BEGIN"), "{error}");
    assert!(visit(&tls, site.client(&[]), "localhost", &telemetry).await.unwrap().certificate == old);

    site.certificate("site", &["localhost"]);
    assert!(tls.reload().unwrap());
    let now = visit(&tls, site.client(&[]), "localhost", &telemetry).await.unwrap().certificate;
    assert!(now != old && now == der(&certificate));

    stream.write_all(b"still").await.unwrap();
    let mut line = [0; 5];
    secured.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"still");
}

#[tokio::test]
async fn clients_that_are_to_show_a_certificate_show_one_of_the_authority() {
    let (site, stranger) = (Site::new(), Site::new());
    let certificate = site.certificate("site", &["localhost"]);
    let options =
        Options { client_ca: Some(site.path("ca.pem")), certificates: vec![certificate], ..Options::default() };
    let tls = Tls::load(options).unwrap();
    let telemetry = Telemetry::default();
    let client = site.client_with(&site.certificate("cdn", &["cdn.example"]));
    assert!(visit(&tls, client, "localhost", &telemetry).await.is_ok());
    let client = site.client_with(&stranger.certificate("cdn", &["cdn.example"]));
    assert!(visit(&tls, client, "localhost", &telemetry).await.is_err());
    assert!(visit(&tls, site.client(&[]), "localhost", &telemetry).await.is_err());
    assert_eq!(telemetry.tls_handshakes.at(Handshake::Failed).get(), 2);
}

#[tokio::test(start_paused = true)]
async fn handshakes_have_a_deadline_and_are_only_so_many() {
    let site = Site::new();
    let options = Options {
        handshakes_max: 1,
        certificates: vec![site.certificate("site", &["localhost"])],
        ..Options::default()
    };
    let tls = Tls::load(options).unwrap();
    let telemetry = Telemetry::default();
    let (silent, here) = duplex(1024);
    let is_over = AtomicBool::new(false);
    let first = async {
        assert!(tls.handshake(here, &telemetry).await.is_none());
        is_over.store(true, Ordering::Relaxed);
    };
    let second = async {
        let (_there, here) = duplex(1024);
        assert!(tls.handshake(here, &telemetry).await.is_none());
        assert!(!is_over.load(Ordering::Relaxed), "refused at once");
    };
    let began = tokio::time::Instant::now();
    tokio::join!(first, second);
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(telemetry.tls_handshakes.at(Handshake::TimedOut).get(), 1);
    assert_eq!(telemetry.tls_handshakes.at(Handshake::Refused).get(), 1);
    drop(silent);
    // Then it is free again.
    assert!(visit(&tls, site.client(&[]), "localhost", &telemetry).await.is_ok());
}

#[test]
fn what_is_wrong_with_a_file_is_said_without_what_is_in_it() {
    let site = Site::new();
    let certificate = site.certificate("site", &["localhost"]);
    let error = |chain: &str, key: &str| {
        let certificate = Certificate { chain: site.path(chain), key: site.path(key) };
        Tls::load(Options { certificates: vec![certificate], ..Options::default() }).unwrap_err().to_string()
    };
    std::fs::write(site.path("text.pem"), "c2VjcmV0\n").unwrap();
    let broken = std::fs::read_to_string(&certificate.key).unwrap().replacen('A', "!", 1);
    std::fs::write(site.path("broken.key"), &broken).unwrap();
    for (chain, key, expected) in [
        ("nowhere.pem", "site.key", "nowhere.pem: No such file"),
        ("text.pem", "site.key", "text.pem: holds no PEM certificate"),
        ("site.pem", "text.pem", "text.pem: holds no PEM private key"),
        ("site.pem", "broken.key", "broken.key: holds no PEM private key"),
    ] {
        let error = error(chain, key);
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("c2Vj") && broken.lines().all(|line| !error.contains(line)), "{error}");
    }
}

/// A socket that notes what each write gives it.
struct Noting {
    io: DuplexStream,
    writes: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Stream for Noting {}

impl AsyncRead for Noting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = result {
            self.writes.lock().unwrap().push(bytes[..count].to_vec());
        }
        result
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Two ends with HTTP/2 agreed on, over a way that holds `space` bytes; and what the server's end writes.
async fn agreed(
    site: &Site,
    space: usize,
) -> (Secured<Noting>, tokio_rustls::client::TlsStream<DuplexStream>, Arc<Mutex<Vec<Vec<u8>>>>) {
    let certificate = site.certificate("site", &["localhost"]);
    let tls = Tls::load(Options { certificates: vec![certificate], ..Options::default() }).unwrap();
    let telemetry = Telemetry::default();
    let (there, here) = duplex(space);
    let writes = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let here = Noting { io: here, writes: Arc::clone(&writes) };
    let connecting = TlsConnector::from(site.client(&["h2"])).connect("localhost".try_into().unwrap(), there);
    let (secured, stream) = tokio::join!(tls.handshake(here, &telemetry), connecting);
    (secured.unwrap(), stream.unwrap(), writes)
}

/// Writes a frame as HTTP/2 does: its head and its body, and a flush.
async fn write_frame(secured: &mut Secured<Noting>, head: &[u8], body: &[u8]) {
    let mut sent = 0;
    while sent < head.len() + body.len() {
        let slices =
            [IoSlice::new(&head[sent.min(head.len())..]), IoSlice::new(&body[sent.saturating_sub(head.len())..])];
        sent += std::future::poll_fn(|cx| Pin::new(&mut *secured).poll_write_vectored(cx, &slices)).await.unwrap();
    }
    secured.flush().await.unwrap();
}

/// Reads once, whatever comes of it, as HTTP/2 does whenever it is polled.
async fn read_once(secured: &mut Secured<Noting>) {
    let mut space = [0; 8];
    let mut buf = ReadBuf::new(&mut space);
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *secured).poll_read(cx, &mut buf).is_ready())).await;
}

#[tokio::test]
async fn frames_of_http2_were_two_records_and_a_write_each() {
    const FRAMES: usize = 64;
    let (mut secured, mut stream, writes) = agreed(&Site::new(), 4 << 20).await;
    writes.lock().unwrap().clear();
    let body: Vec<u8> = (0..FRAMES * 16_384).map(|at| (at * 31 / 8) as u8).collect();
    let mut expected = Vec::new();
    for (number, frame) in body.chunks(16_384).enumerate() {
        let head = [number as u8; 9];
        write_frame(&mut secured, &head, frame).await;
        expected.extend_from_slice(&head);
        expected.extend_from_slice(frame);
    }
    read_once(&mut secured).await;
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert!(got == expected);
    let writes = writes.lock().unwrap();
    assert!(writes.len() <= FRAMES / 6, "{} writes for {FRAMES} frames", writes.len());
    // RFC 8446 §5.2: a whole record has a byte of its type and sixteen of its tag more than it holds.
    let (mut whole, mut others, all) = (0, 0, writes.concat());
    let mut rest = &all[..];
    while let [_, _, _, a, b, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*a, *b]));
        *(if len == 16_384 + 17 { &mut whole } else { &mut others }) += 1;
        rest = &after[len..];
    }
    assert_eq!((whole, others), (FRAMES, 1));
}

#[tokio::test]
async fn what_is_gathered_arrives_whatever_its_pieces_and_however_little_the_socket_takes() {
    for space in [700, 20_000, 1 << 20] {
        let (mut secured, mut stream, _) = agreed(&Site::new(), space).await;
        let sizes = [1, 8, 1015, 1024, 1025, 16_375, 16_384, 16_385, 3, 0, 60_000, 17, 300_000, 5];
        let bodies: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(at, len)| vec![at as u8; *len]).collect();
        let expected: Vec<u8> = bodies.iter().flat_map(|body| [b"head-of-9".to_vec(), body.clone()].concat()).collect();
        let writing = async {
            for body in &bodies {
                write_frame(&mut secured, b"head-of-9", body).await;
                read_once(&mut secured).await;
            }
            secured.shutdown().await.unwrap();
        };
        let reading = async {
            let mut got = Vec::new();
            stream.read_to_end(&mut got).await.unwrap();
            got
        };
        let ((), got) = tokio::join!(writing, reading);
        assert!(got == expected, "{} of {} bytes by {space}", got.len(), expected.len());
    }
}
