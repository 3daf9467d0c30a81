//! Pushes through real sockets: what is not taken says what and where, and harms no channel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater::content::live::window;
use headwater::server::run::Server;
use headwater::server::{IngestOptions, Options};
use headwater::telemetry::Telemetry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::live::{Encoder, Studio, quick};

struct Running {
    studio: Studio,
    address: String,
    _stop: tokio::sync::oneshot::Sender<()>,
}

fn start(token: Option<&str>, tokens: &[(&str, &str)]) -> Running {
    let studio = Studio::with(window::Options { gather: Duration::ZERO, ..quick() });
    let tokens: BTreeMap<String, String> =
        tokens.iter().map(|(name, token)| ((*name).to_owned(), (*token).to_owned())).collect();
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let ingest = IngestOptions { listen, token: token.map(str::to_owned), tokens, ..IngestOptions::default() };
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), admin: None, ingest, ..Options::default() };
    let server = Server::bind(options, Arc::clone(&studio.origin), Arc::<Telemetry>::default()).unwrap();
    let url = server.ingest_url().unwrap();
    let address = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async { drop(stopped.await) }));
    Running { studio, address, _stop: stop }
}

impl Running {
    /// The status of the answer, and all of it.
    async fn send(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let len = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n{lines}\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    #[track_caller]
    fn put(&self, path: &str, body: &[u8], status: u16, said: [&str; 2]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let (found, answer) = self.send("PUT", path, "", body).await;
            assert_eq!(found, status, "{path} by {caller}: {answer}");
            assert!(said.iter().all(|what| answer.contains(what)), "{path} by {caller}: {said:?} in {answer}");
        }
    }
}

/// The segment called `number`.
fn segment(encoder: &Encoder, number: u64) -> Vec<u8> {
    (0..4).flat_map(|chunk| encoder.chunk(number * 48 + chunk * 12)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_says_what_and_where_and_the_channel_goes_on() {
    let running = start(None, &[]);
    let (video, audio) = (Encoder::video("v"), Encoder::audio("a"));
    let taken = ["200 OK", ""];
    running.put("/ingest/tv/v", &segment(&video, 0), 412, ["no_init", "push ftyp and moov first"]).await;
    running.put("/ingest/tv/v", &video.init, 200, taken).await;
    let mut number = 0;
    // After each of them a segment is taken.
    let mut goes_on = async || {
        running.put("/ingest/tv/v", &segment(&video, number), 200, taken).await;
        number += 1;
    };
    goes_on().await;
    running.put("/ingest/tv/v", &audio.init, 409, ["conflict", "v was video, and is audio now"]).await;
    goes_on().await;
    let garbage = [&video.init[..], &b"GET / HTTP/1.1\r\n\r\n"[..]].concat();
    let at = format!("at {:#x}", video.init.len());
    running.put("/ingest/tv/v", &garbage, 400, ["malformed", &at]).await;
    goes_on().await;
    running.put("/ingest/tv/v", &segment(&video, 9)[..500], 400, ["cut_short", "the body ends inside a box"]).await;
    goes_on().await;
    running.put("/ingest/tv/out0.ts", b"G", 415, ["unsupported", "-hls_segment_type fmp4"]).await;
    running.put("/ingest/tv/a/b/1.m4s", b"", 404, ["not_found", "/ingest/{channel}/{track}"]).await;
    running.put("/ingest/tv/v?encoder=../b", b"", 400, ["bad_query", "`encoder` is a name"]).await;
    let (status, _) = running.send("GET", "/ingest/tv/v", "", b"").await;
    assert_eq!(status, 405);
    goes_on().await;
    for index in 1..64 {
        running.put(&format!("/ingest/tv/t{index}"), &video.init, 200, taken).await;
    }
    running.put("/ingest/tv/t64", &video.init, 429, ["too_much", "64 tracks are pushed already"]).await;
    goes_on().await;
    let broadcast = running.studio.channels.get("tv").unwrap().broadcast();
    let tracks: Vec<_> = broadcast.tracks_called("v").map(|(_, track)| track.clone()).collect();
    let found: Vec<(i64, bool)> =
        tracks.iter().flat_map(|track| track.listed()).map(|own| (own.time / 24_576, own.is_gap)).collect();
    assert_eq!(found, (0..6).map(|number| (number, false)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publishing_point_says_whether_it_may_be_pushed_to_and_delete_and_manifests_are_taken() {
    let running = start(None, &[]);
    for path in ["/ingest/tv", "/ingest/tv/", "/ingest/tv.isml"] {
        assert_eq!(running.send("POST", path, "", b"").await.0, 200, "{path}");
    }
    assert!(running.studio.channels.get("tv").is_none(), "nobody has pushed anything");
    running.put("/ingest/tv/", b"media", 404, ["not_found", "/ingest/{channel}/{track}"]).await;
    for path in ["/ingest/tv/v", "/ingest/tv/a/b/1.m4s", "/ingest/tv/"] {
        assert_eq!(running.send("DELETE", path, "", b"").await.0, 200, "{path}");
    }
    for path in ["/ingest/tv/manifest.mpd", "/ingest/tv/a/b/index.m3u8"] {
        running.put(path, b"#EXTM3U", 200, ["200 OK", ""]).await;
    }
    assert_eq!(running.send("DELETE", "/ingest/..", "", b"").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_pushed_says_whose_a_segment_is_where_names_do_not() {
    let running = start(None, &[]);
    let (low, high) = (Encoder::video("low"), Encoder::video("high"));
    running.put("/ingest/tv/low.mp4", &low.init, 200, ["", ""]).await;
    running.put("/ingest/tv/high.mp4", &high.init, 200, ["", ""]).await;
    running.put("/ingest/tv/x/y/p0.m4s", &segment(&low, 0), 404, ["not_found", ""]).await;
    running.put("/ingest/tv/q0.m4s", &segment(&high, 0), 412, ["no_init", ""]).await;
    let list = |init: &str, segment: &str| {
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"{init}\"\n#EXTINF:1.92,\n{segment}\n").into_bytes()
    };
    running.put("/ingest/tv/x/low.m3u8", &list("../low.mp4", "y/p0.m4s"), 200, ["", ""]).await;
    running.put("/ingest/tv/high.m3u8", &list("high.mp4", "q0.m4s"), 200, ["", ""]).await;
    running.put("/ingest/tv/other.m3u8", &list("other.mp4", "r0.m4s"), 200, ["", ""]).await;
    for number in 1..4 {
        running.put(&format!("/ingest/tv/x/y/p{number}.m4s"), &segment(&low, number), 200, ["", ""]).await;
        running.put(&format!("/ingest/tv/q{number}.m4s"), &segment(&high, number), 200, ["", ""]).await;
    }
    running.put("/ingest/tv/r1.m4s", &segment(&high, 4), 412, ["no_init", ""]).await;
    let broadcast = running.studio.channels.get("tv").unwrap().broadcast();
    for name in ["low", "high"] {
        let listed =
            broadcast.tracks_called(name).flat_map(|(_, track)| track.listed()).filter(|own| !own.is_gap).count();
        assert!(listed >= 2, "{name} has {listed} segments");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_was_taken_for_pictures_until_its_playlist_came() {
    let running = start(None, &[]);
    let (first, second) = (Encoder::video("0"), Encoder::video("1"));
    let list = |variant: u64, numbers: std::ops::RangeInclusive<u64>| {
        let listed: String = numbers.map(|number| format!("#EXTINF:1.92,\ns_{variant}{number}.m4s\n")).collect();
        format!(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-MAP:URI=\"init_{variant}.mp4\"\n{listed}"
        )
        .into_bytes()
    };
    let (taken, refused) = (["200 OK", ""], ["no_init", "push ftyp and moov first"]);
    running.put("/ingest/tv/init_0.mp4", &first.init, 200, taken).await;
    running.put("/ingest/tv/s_00.m4s", &segment(&first, 0), 200, taken).await;
    running.put("/ingest/tv/s_10.m4s", &segment(&second, 0), 412, refused).await;
    running.put("/ingest/tv/0.m3u8", &list(0, 0..=0), 200, taken).await;
    // Its initialization segment is on its way, and then its playlist.
    running.put("/ingest/tv/s_10.m4s", &segment(&second, 0), 412, refused).await;
    running.put("/ingest/tv/init_1.mp4", &second.init, 200, taken).await;
    running.put("/ingest/tv/s_10.m4s", &segment(&second, 0), 412, refused).await;
    running.put("/ingest/tv/1.m3u8", &list(1, 0..=0), 200, taken).await;
    for number in 1..12 {
        running.put(&format!("/ingest/tv/s_0{number}.m4s"), &segment(&first, number), 200, taken).await;
        running.put("/ingest/tv/0.m3u8", &list(0, 0..=number), 200, taken).await;
        running.put(&format!("/ingest/tv/s_1{number}.m4s"), &segment(&second, number), 200, taken).await;
        running.put("/ingest/tv/1.m3u8", &list(1, 0..=number), 200, taken).await;
    }
    let channel = running.studio.channels.get("tv").unwrap();
    assert_eq!(channel.tracks(), ["main-0", "main-1"]);
    assert_eq!(running.send("DELETE", "/ingest/tv/1.m3u8", "", b"").await.0, 200);
    running.put("/ingest/tv/s_112.m4s", &segment(&second, 12), 412, refused).await;
    running.put("/ingest/tv/s_012.m4s", &segment(&first, 12), 200, taken).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_knows_the_token_of_its_channel() {
    let running = start(Some("secret"), &[("own", "secret2")]);
    let init = Encoder::video("v").init;
    // user:secret and user:secret2.
    let (basic, own_basic) = ("Basic dXNlcjpzZWNyZXQ=", "Basic dXNlcjpzZWNyZXQy");
    for (channel, authorization, status) in [
        ("tv", "", 401),
        ("tv", "Bearer secret2", 401),
        ("tv", own_basic, 401),
        ("tv", "Bearer secret", 200),
        ("tv", basic, 200),
        ("own", "Bearer secret", 401),
        ("own", basic, 401),
        ("own", "Bearer secret2", 200),
        ("own", own_basic, 200),
    ] {
        let lines =
            if authorization.is_empty() { String::new() } else { format!("Authorization: {authorization}\r\n") };
        for (method, path, body) in [("PUT", "/v", &init[..]), ("POST", "/", b""), ("DELETE", "/v", b"")] {
            let (found, answer) = running.send(method, &format!("/ingest/{channel}{path}"), &lines, body).await;
            assert_eq!(found, status, "{method} {channel}{path} with {authorization:?}: {answer}");
            let asks = answer.to_ascii_lowercase().contains("www-authenticate: bearer, basic realm=\"ingest\"");
            assert_eq!(asks, status == 401, "{answer}");
        }
    }
    assert!(running.studio.channels.get("own").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_are_named_as_encoders_name_them_are_of_one_track() {
    let running = start(None, &[]);
    let video = Encoder::video("v");
    type Name = fn(u64) -> String;
    let ways: [(&str, &str, Name); 3] = [
        ("x-y", "Streams(x.y.cmfv)/InitializationSegment", |number| format!("Streams(x.y.cmfv)/Segment({number})")),
        ("flat", "flat-init.cmfv", |number| format!("flat-{number:05}.cmfv")),
        ("folder", "folder/init.mp4", |number| format!("folder/index_{number:05}.mp4")),
    ];
    for (name, init, path) in ways {
        running.put(&format!("/ingest/{name}/{init}"), &video.init, 200, ["200 OK", ""]).await;
        // Longer than `live.segment`, and still a segment each.
        for number in 0..3 {
            let body = [segment(&video, 2 * number), segment(&video, 2 * number + 1)].concat();
            running.put(&format!("/ingest/{name}/{}", path(number)), &body, 200, ["200 OK", ""]).await;
        }
        let broadcast = running.studio.channels.get(name).unwrap().broadcast();
        let tracks: Vec<_> = broadcast.tracks_called(name).map(|(_, track)| track.clone()).collect();
        let found: Vec<i64> = tracks.iter().flat_map(|track| track.listed()).map(|own| own.duration).collect();
        assert_eq!(found, [49_152; 3], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_stood_still_ended_the_push_of_hours() {
    let running = start(None, &[]);
    let video = Encoder::video("v");
    // Ten seconds in a chunk, where two were announced.
    let long = Encoder { chunk_samples: 240, ..Encoder::video("v") };
    let before = [video.init.clone(), segment(&video, 0), segment(&video, 1), segment(&video, 2)].concat();
    let whole = [before, long.chunk(144), segment(&video, 8), segment(&video, 9)].concat();
    running.put("/ingest/tv/v", &whole, 200, ["200 OK", ""]).await;
    let broadcast = running.studio.channels.get("tv").unwrap().broadcast();
    let listed =
        broadcast.tracks_called("v").flat_map(|(_, track)| track.listed().map(|own| (own.time / 24_576, own.is_gap)));
    let listed: Vec<(i64, bool)> = listed.collect();
    // Segment 9 is under way.
    let missing = (3..8).map(|number| (number, true));
    let expected: Vec<_> = (0..3).map(|number| (number, false)).chain(missing).chain([(8, false)]).collect();
    assert_eq!(listed, expected);
    // Who goes on so, or has nothing else to say, is told.
    let said = ["too_long", "a chunk of 10.000 s, where segments of this channel were announced as 2 s"];
    let twice = [segment(&video, 10), long.chunk(528), long.chunk(768), segment(&video, 21)].concat();
    running.put("/ingest/tv/v", &twice, 409, said).await;
    running.put("/ingest/tv/v", &long.chunk(528), 409, said).await;
}
