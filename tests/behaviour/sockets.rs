//! Through real sockets: what pipelines, what dawdles, and HTTP/2 by prior knowledge get the very bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::server::Options;
use headwater::server::run::Server;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::scene::{Scene, same};

struct Running {
    scene: Scene,
    address: String,
    _stop: tokio::sync::oneshot::Sender<()>,
}

fn start() -> Running {
    let scene = Scene::of(&["tour", "muxed"]);
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), admin: None, ..Options::default() };
    let server = Server::bind(options, Arc::clone(&scene.origin), Arc::clone(&scene.telemetry)).unwrap();
    let address = server.media_url().strip_prefix("http://").unwrap().to_owned();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async { drop(stopped.await) }));
    Running { scene, address, _stop: stop }
}

/// All segments of the library, and what a twin without sockets says they are.
async fn segments(scene: &Scene) -> Vec<(String, Bytes)> {
    let twin = Scene::of(&["tour", "muxed"]);
    let mut all = Vec::new();
    for name in ["tour", "muxed"] {
        for track in scene.dash(name).await {
            for segment in track.segments {
                let body = twin.body(&segment.url).await;
                all.push((segment.url, body));
            }
        }
    }
    all
}

/// Reads a response: its status, its head, its body.
async fn response(stream: &mut BufReader<TcpStream>, has_body: bool) -> (u16, String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).await.unwrap(), 0, "closed after {head:?}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let lower = head.to_ascii_lowercase();
    let length =
        lower.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; if has_body { length } else { 0 }];
    stream.read_exact(&mut body).await.unwrap();
    (status, head, body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order_each_with_its_bytes() {
    let running = start();
    let all = segments(&running.scene).await;
    let mut stream = BufReader::new(TcpStream::connect(&running.address).await.unwrap());
    let mut text = String::new();
    for (url, expected) in &all {
        assert!(expected.len() > 120, "{url}");
        text += &format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n");
        text += &format!("HEAD {url} HTTP/1.1\r\nHost: x\r\n\r\n");
        text += &format!("GET {url} HTTP/1.1\r\nHost: x\r\nRange: bytes=100-119\r\n\r\n");
        text += &format!("GET {url}x HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    stream.get_mut().write_all(text.as_bytes()).await.unwrap();
    for (url, expected) in &all {
        same(&response(&mut stream, true).await.2, expected, url);
        assert_eq!(response(&mut stream, false).await.0, 200);
        let (status, _, part) = response(&mut stream, true).await;
        assert_eq!((status, &part[..]), (206, &expected[100..120]), "{url}");
        assert_eq!(response(&mut stream, true).await.0, 404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_gets_every_byte() {
    let running = start();
    let all = segments(&running.scene).await;
    // A receive buffer so small that the server must wait for its reader, again and again.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(running.address.parse().unwrap()).await.unwrap();
    let mut stream = BufReader::with_capacity(700, stream);
    for round in 0..3 {
        for (url, _) in &all {
            let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.get_mut().write_all(request.as_bytes()).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        for (index, (url, expected)) in all.iter().enumerate() {
            if index % 8 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            same(&response(&mut stream, true).await.2, expected, &format!("{url} in round {round}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_by_prior_knowledge_carries_many_streams() {
    let running = start();
    let all = segments(&running.scene).await;
    let stream = TcpStream::connect(&running.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut asked = Vec::new();
    for (url, expected) in all {
        let mut client = client.clone().ready().await.unwrap();
        let request = http::Request::get(format!("http://x{url}")).body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        asked.push(tokio::spawn(async move {
            let (head, mut body) = response.await.unwrap().into_parts();
            assert_eq!(head.status, 200, "{url}");
            assert_eq!(head.headers["content-length"], expected.len().to_string());
            let mut bytes = Vec::new();
            while let Some(frame) = body.data().await {
                let frame = frame.unwrap();
                body.flow_control().release_capacity(frame.len()).unwrap();
                bytes.extend_from_slice(&frame);
            }
            same(&bytes, &expected, &url);
        }));
    }
    assert!(asked.len() > 20);
    for one in asked {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_in_the_middle_harms_nobody() {
    let running = start();
    let all = segments(&running.scene).await;
    for (url, expected) in &all {
        let mut leaving = TcpStream::connect(&running.address).await.unwrap();
        leaving.write_all(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        drop(leaving);
        let mut staying = BufReader::new(TcpStream::connect(&running.address).await.unwrap());
        staying.get_mut().write_all(format!("GET {url} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        same(&response(&mut staying, true).await.2, expected, url);
    }
}
