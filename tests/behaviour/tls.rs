//! Over TLS the very bytes come as without it, by HTTP/1.1 and HTTP/2, also to who reads slowly; and one server may speak both.

use std::sync::Arc;

use bytes::Bytes;
use headwater::server::run::Server;
use headwater::server::{IngestOptions, Options, tls};
use headwater::telemetry::{Handshake, Telemetry};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::scene::{Scene, same};

struct Running {
    scene: Scene,
    plain: String,
    secure: String,
    /// Where pushes go to, if anywhere.
    ingest: Option<String>,
    root: CertificateDer<'static>,
    _keys: tempfile::TempDir,
    _stop: tokio::sync::oneshot::Sender<()>,
}

fn start(beside: bool) -> Running {
    start_with(beside, false)
}

fn start_with(beside: bool, takes_pushes: bool) -> Running {
    let scene = Scene::of(&["tour", "muxed"]);
    let keys = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = tls::Certificate { chain: keys.path().join("site.pem"), key: keys.path().join("site.key") };
    std::fs::write(&certificate.chain, made.cert.pem()).unwrap();
    std::fs::write(&certificate.key, made.signing_key.serialize_pem()).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let tls =
        tls::Options { listen: beside.then_some(any), certificates: vec![certificate], ..tls::Options::default() };
    let ingest = IngestOptions { listen: takes_pushes.then_some(any), speaks_tls: true, ..IngestOptions::default() };
    let options = Options { listen: any, tls, admin: None, ingest, ..Options::default() };
    let server = Server::bind(options, Arc::clone(&scene.origin), Arc::clone(&scene.telemetry)).unwrap();
    let (scheme, plain) = server.media_url().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(scheme, if beside { "http" } else { "https" });
    let secure = server.tls_address().map_or(plain.clone(), |address| address.to_string());
    let ingest = server.ingest_url();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async { drop(stopped.await) }));
    Running { scene, plain, secure, ingest, root: made.cert.der().clone(), _keys: keys, _stop: stop }
}

impl Running {
    async fn connect(&self, stream: TcpStream, alpn: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }

    /// Every segment, and its bytes as they are without sockets.
    async fn segments(&self) -> Vec<(String, Bytes)> {
        let mut all = Vec::new();
        for name in ["tour", "muxed"] {
            for track in self.scene.dash(name).await {
                for segment in track.segments {
                    let body = self.scene.body(&segment.url).await;
                    all.push((segment.url, body));
                }
            }
        }
        all
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_over_tls_gives_the_very_bytes_also_to_a_slow_reader() {
    let running = start(false);
    let all = running.segments().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(running.secure.parse().unwrap()).await.unwrap();
    let mut stream = running.connect(stream, "http/1.1").await;
    let mut text = String::new();
    for (url, _) in &all {
        text += &format!("GET {url} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    text.truncate(text.len() - 2);
    stream.write_all((text + "Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    // Ends with a close_notify: without, this would be an error.
    stream.read_to_end(&mut answers).await.unwrap();
    let mut rest = &answers[..];
    for (url, expected) in &all {
        let head = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\n"), "{url}");
        same(&rest[head..head + expected.len()], expected, url);
        rest = &rest[head + expected.len()..];
    }
    assert!(rest.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_chosen_by_alpn_and_gives_the_very_bytes() {
    let running = start(true);
    let all = running.segments().await;
    let stream = TcpStream::connect(&running.secure).await.unwrap();
    let stream = running.connect(stream, "h2").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    for (url, expected) in &all {
        let request = http::Request::get(format!("https://localhost{url}")).body(()).unwrap();
        requests = requests.ready().await.unwrap();
        let answer = requests.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(answer.status(), 200);
        let (mut body, mut bytes) = (answer.into_body(), Vec::new());
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            bytes.extend_from_slice(&data);
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        same(&bytes, expected, url);
    }

    // Beside it, the same without TLS.
    let mut plain = TcpStream::connect(&running.plain).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_tls_is_not_served_where_it_is_spoken() {
    let running = start(false);
    let mut stream = TcpStream::connect(&running.secure).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let counted: &Telemetry = &running.scene.telemetry;
    // It is counted when the connection is closed, of which this end may hear before.
    while counted.tls_handshakes.at(Handshake::Failed).get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counted.requests.sum(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoders_push_over_tls_where_that_is_said() {
    let running = start_with(true, true);
    let url = running.ingest.as_deref().unwrap();
    let address = url.strip_prefix("https://").and_then(|rest| rest.strip_suffix("/ingest/")).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = running.connect(stream, "http/1.1").await;
    let request =
        b"PUT /ingest/tv/index.m3u8 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8\r\n\r\n#EXTM3U\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}
