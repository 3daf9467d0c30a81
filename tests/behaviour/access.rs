//! Who may fetch, through real sockets: tokens that children inherit, a proxy that says for whom it asks, and what is never said.

use std::sync::Arc;

use headwater::server::Options;
use headwater::server::access;
use headwater::server::access::secret::Secret;
use headwater::server::access::token::Key;
use headwater::server::run::Server;
use headwater::telemetry::Denial;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::{Scene, resolve, same};

struct Running {
    scene: Scene,
    address: String,
    _stop: tokio::sync::oneshot::Sender<()>,
}

fn start(access: access::Options) -> Running {
    let scene = Scene::of(&["tour"]);
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), access, admin: None, ..Options::default() };
    let server = Server::bind(options, Arc::clone(&scene.origin), Arc::clone(&scene.telemetry)).unwrap();
    let address = server.media_url().strip_prefix("http://").unwrap().to_owned();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async { drop(stopped.await) }));
    Running { scene, address, _stop: stop }
}

impl Running {
    /// Sends `introduction` and a GET with more header lines; head and body of the answer.
    async fn get_after(&self, introduction: &str, path: &str, lines: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("{introduction}GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        let body = answer.split_off(end);
        (String::from_utf8(answer).unwrap(), body)
    }

    async fn get(&self, path: &str) -> (String, Vec<u8>) {
        self.get_after("", path, "").await
    }

    fn denied(&self, denial: Denial) -> u64 {
        self.scene.telemetry.requests_denied.at(denial).get()
    }
}

fn key() -> Key {
    Key::new("a".into(), Secret::new(b"correct horse battery").unwrap()).unwrap()
}

/// A time that is far enough away.
const LATER_S: u64 = 32_503_680_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_a_signed_manifest_names_is_fetched_with_its_token_and_nothing_else_is() {
    let running = start(access::Options { tokens: vec![key()], ..access::Options::default() });
    let token = key().sign("/tour/master.m3u8", 1, LATER_S).unwrap();
    let master = format!("/~t={token}/tour/master.m3u8");
    let (head, text) = running.get(&master).await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let (_, list) = m3u8_rs::parse_master_playlist(&text).unwrap();
    let mut fetched = 0;
    for variant in &list.variants {
        let media = resolve(&master, &variant.uri);
        let (head, text) = running.get(&media).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{media}: {head}");
        let (_, list) = m3u8_rs::parse_media_playlist(&text).unwrap();
        for segment in &list.segments {
            let path = resolve(&media, &segment.uri);
            let bare = path.strip_prefix(&format!("/~t={token}")).expect("inherited").to_owned();
            let (head, body) = running.get(&path).await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
            same(&body, &running.scene.body(&bare).await, &bare);
            fetched += 1;
        }
    }
    assert!(fetched > 4);
    for path in ["/tour/master.m3u8", "/tour/video-90p/0000000000000000/0.m4s", "/nothing/master.m3u8"] {
        let (head, body) = running.get(path).await;
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n") && head.contains("no-store"), "{head}");
        assert!(String::from_utf8(body).unwrap().contains("token_missing"));
    }
    let (head, body) = running.get(&format!("/~t={token}/tours/master.m3u8")).await;
    assert!(head.starts_with("HTTP/1.1 403 ") && String::from_utf8(body).unwrap().contains("token_wrong"));
    let old = key().sign("/tour/master.m3u8", 1, 1_700_000_000).unwrap();
    let (head, body) = running.get(&format!("/~t={old}/tour/master.m3u8")).await;
    assert!(head.starts_with("HTTP/1.1 403 ") && String::from_utf8(body).unwrap().contains("token_expired"));
    assert!(running.get("/healthz").await.0.starts_with("HTTP/1.1 200 "));
    assert_eq!(
        [Denial::TokenMissing, Denial::TokenWrong, Denial::TokenExpired].map(|denial| running.denied(denial)),
        [3, 1, 1]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tokens_fetch_one_object_of_the_cache() {
    let running = start(access::Options { tokens: vec![key()], ..access::Options::default() });
    let path = running.scene.first_segment("tour", "video").await;
    let flights = || running.scene.telemetry.flights_started.get();
    let before = flights();
    for (depth, expires) in [(1, LATER_S), (2, LATER_S + 1), (0, LATER_S + 2)] {
        let token = key().sign(&path, depth, expires).unwrap();
        let (head, _) = running.get(&format!("{path}?t={token}")).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    assert_eq!(flights() - before, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_networks_holds_for_whom_a_trusted_proxy_asks() {
    let access = access::Options {
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        trusted: vec!["127.0.0.0/8".parse().unwrap()],
        ..access::Options::default()
    };
    let running = start(access.clone());
    let path = "/tour/master.m3u8";
    for (lines, status) in [
        ("X-Forwarded-For: 192.0.2.7\r\n", "200"),
        ("X-Forwarded-For: 203.0.113.9\r\n", "403"),
        ("X-Forwarded-For: 192.0.2.7, 203.0.113.9\r\n", "403"),
        ("Forwarded: for=192.0.2.7\r\n", "403"),
        ("", "403"),
    ] {
        let (head, _) = running.get_after("", path, lines).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{lines}: {head}");
    }
    assert_eq!(running.denied(Denial::Network), 4);

    let behind = start(access::Options { proxy_protocol: true, ..access });
    for (introduction, status) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1 80\r\n", "HTTP/1.1 200 "),
        ("PROXY TCP4 203.0.113.9 198.51.100.1 1 80\r\n", "HTTP/1.1 403 "),
        ("", ""),
        ("PROXY nonsense\r\n", ""),
    ] {
        let (head, _) = behind.get_after(introduction, path, "").await;
        assert!(head.starts_with(status) && head.is_empty() == status.is_empty(), "{introduction}: {head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_named_pages_may_read_answers_of_any_kind() {
    let access = access::Options {
        cors_origins: vec![http::HeaderValue::from_static("https://player.example")],
        ..access::Options::default()
    };
    let running = start(access);
    for path in ["/tour/master.m3u8", "/nothing/master.m3u8", "/healthz"] {
        let (head, _) = running.get_after("", path, "Origin: https://player.example\r\n").await;
        let head = head.to_ascii_lowercase();
        assert!(head.contains("access-control-allow-origin: https://player.example\r\n"), "{head}");
        assert!(head.contains("vary: origin\r\n"), "{head}");
        let (head, _) = running.get_after("", path, "Origin: https://other.example\r\n").await;
        assert!(!head.to_ascii_lowercase().contains("access-control"), "{head}");
    }
}
