//! What live costs: a whole server, encoders and players over sockets of this machine, and the window by itself.
//!
//! ```text
//!   fanout      10,000 players wait for one part: how soon do they all have the playlist, and what does one that waits keep?
//!   first-byte  a chunk is pushed, and a player waits for the part: how long until its first byte?
//!   channels    200 channels of 3 tracks, each watched: what of a processor does one take?
//!   publish     a chunk into a window of ten minutes, and of a day; bytes kept for each byte of media
//! ```
//!
//! `cargo bench --bench live` runs all, `… -- fanout` one. `WAITERS`, `ROUNDS`, `PARTS`, `CHANNELS` and `SECONDS` change the numbers. The server
//! has one thread; encoders and players, which are here, take another processor.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::content::live::pushed::Init;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{Options, Source, Window};
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::time::Utc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// That of the program: what is kept for each byte of media is a matter of the allocator, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    headwater::sys::keep_freed_memory_for(headwater::sys::FREED_MEMORY_KEPT_MS);
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let Some(index) = wanted.iter().position(|own| own == WINDOW).and_then(|at| wanted.get(at + 1)?.parse().ok()) {
        return window(index);
    }
    let scenes: [(&str, fn()); 4] =
        [("fanout", fanout), ("first-byte", first_byte), ("channels", channels), ("publish", publish)];
    for (name, scene) in scenes {
        if wanted.is_empty() || wanted.iter().any(|own| own == name) {
            println!("{name}");
            scene();
        }
    }
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn testdata(kind: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/packaging").join(kind).join("init.mp4");
    std::fs::read(path).expect("the initialization segment of testdata")
}

/// Chunks of half a second: of pictures, a sync sample every two seconds, or of sound.
struct Encoder {
    init: Vec<u8>,
    timescale: u32,
    ticks: u32,
    samples: u32,
    gop: u64,
    /// Bytes of a sample, on average: those of a chunk are between half as many and half as many again.
    size: u32,
    /// What the sizes follow from.
    seed: u64,
    sample: u64,
}

impl Encoder {
    fn video(bits_s: u32) -> Encoder {
        let init = testdata("video");
        Encoder { init, timescale: 12_288, ticks: 512, samples: 12, gop: 48, size: bits_s / 8 / 24, seed: 1, sample: 0 }
    }

    fn audio() -> Encoder {
        let init = testdata("audio");
        Encoder { init, timescale: 48_000, ticks: 1024, samples: 24, gop: 1, size: 341, seed: 1, sample: 0 }
    }

    fn chunk(&mut self) -> Vec<u8> {
        // Knuth's MMIX generator.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let size = self.size / 2 + (self.seed >> 33) as u32 % self.size.max(1);
        let samples = (self.sample..self.sample + u64::from(self.samples)).map(|index| {
            let flags = if index % self.gop == 0 { 0x0200_0000 } else { 0x0101_0000 };
            RunSample { duration: self.ticks, size, flags, composition_offset: 1024 }
        });
        let fragment = NewFragment {
            sequence_number: self.sample as u32 + 1,
            track_id: 1,
            description_index: 1,
            base_media_decode_time: self.sample * u64::from(self.ticks),
            samples: samples.collect(),
            ..NewFragment::default()
        };
        let mut bytes = fragment.write();
        bytes.resize(bytes.len() + (self.samples * size) as usize, self.sample as u8);
        self.sample += u64::from(self.samples);
        bytes
    }

    fn seconds(&self) -> f64 {
        self.sample as f64 * f64::from(self.ticks) / f64::from(self.timescale)
    }
}

/// A server in a process of its own.
struct Server {
    child: Child,
    media: SocketAddr,
    admin: SocketAddr,
    ingest: SocketAddr,
    _library: tempfile::TempDir,
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

impl Server {
    /// On one thread; with more than 4 KB of playlist.
    fn start() -> Server {
        Server::with_window("3m")
    }

    fn with_window(window: &str) -> Server {
        let library = tempfile::tempdir().expect("a folder");
        let [media, admin, ingest] = [free(), free(), free()];
        let child = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .arg("serve")
            .arg(library.path())
            .args(["--threads", "1", "--log", "warn", "--idle-timeout", "10m"])
            .args(["--listen", &media.to_string(), "--admin", &admin.to_string(), "--ingest", &ingest.to_string()])
            .env("HEADWATER_LIVE_WINDOW", window)
            .stdin(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Server { child, media, admin, ingest, _library: library };
        let limit = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(admin).is_err() {
            assert!(Instant::now() < limit, "the server does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// User and system time so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
        // USER_HZ is 100.
        Duration::from_millis(ticks * 10)
    }

    fn resident(&self) -> u64 {
        resident(&format!("/proc/{}/statm", self.child.id()))
    }

    /// What `/metrics` says of `name`.
    fn metric(&self, name: &str) -> f64 {
        let text = get(self.admin, "/metrics");
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resident(statm: &str) -> u64 {
    let statm = std::fs::read_to_string(statm).expect("it runs");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("resident pages") * 4096
}

/// The body of what `path` is.
fn get(server: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(server).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let text = String::from_utf8_lossy(&answer);
    text.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
}

/// A push under way.
struct Push(TcpStream);

impl Push {
    fn begin(server: &Server, channel: &str, track: &str, encoder: &Encoder) -> Push {
        let mut stream = TcpStream::connect(server.ingest).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        write!(stream, "PUT /ingest/{channel}/{track} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            .expect("it reads");
        let mut push = Push(stream);
        push.send(&encoder.init);
        push
    }

    fn send(&mut self, bytes: &[u8]) {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.0.write_all(&framed).expect("it reads");
    }
}

/// Waits until `holds`.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < limit, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `channel` is announced.
fn announced(server: &Server, channel: &str) {
    until("the channel", || get(server.media, &format!("/{channel}/master.m3u8")).starts_with("#EXTM3U"));
}

/// Of two seconds, each of two chunks of half a second.
const PARTS_OF_A_SEGMENT: u64 = 2;

/// The number of the segment that grows, and how many parts of it are listed.
fn edge(playlist: &str) -> (u64, u64) {
    let first = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    let first: u64 = first.and_then(|text| text.parse().ok()).expect("a media playlist");
    let count = playlist.lines().filter(|line| line.starts_with("#EXTINF")).count() as u64;
    let growing = playlist.lines().rev().take_while(|line| !line.starts_with("#EXTINF"));
    (first + count, growing.filter(|line| line.starts_with("#EXT-X-PART:")).count() as u64)
}

/// The part that is hinted at.
fn hint(playlist: &str) -> Option<&str> {
    let line = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-PRELOAD-HINT:"))?;
    line.split_once("URI=\"")?.1.split('"').next()
}

fn quantile(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

fn described(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let ms = |part| quantile(&times, part).as_secs_f64() * 1000.0;
    format!("p50 {:.2} ms, p99 {:.2} ms, last {:.2} ms", ms(0.5), ms(0.99), ms(1.0))
}

/// Reads an answer with Content-Length to its end; says its status, and how long its body is.
async fn answer(stream: &mut tokio::net::TcpStream, buffer: &mut Vec<u8>) -> (u16, usize) {
    buffer.clear();
    rest_of(stream, buffer).await
}

/// The same, where the first of it is in `buffer`.
async fn rest_of(stream: &mut tokio::net::TcpStream, buffer: &mut Vec<u8>) -> (u16, usize) {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.expect("a length");
            let status = head[9..12].parse().expect("a status");
            if buffer.len() >= end + 4 + length {
                return (status, length);
            }
        }
        assert!(stream.read_buf(buffer).await.expect("it answers") > 0, "it closed");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn fanout() {
    let waiters = number("WAITERS", 10_000);
    let server = Server::start();
    let mut encoder = Encoder::video(1_000_000);
    let mut push = Push::begin(&server, "tv", "v", &encoder);
    // More than the window, and the first part of a segment.
    while encoder.seconds() < 201.0 {
        push.send(&encoder.chunk());
        if encoder.seconds() == 8.0 {
            announced(&server, "tv");
        }
    }
    // All of it is taken, else what is asked for next may be there already, and nobody waits.
    let (mut playlist, whole) = (String::new(), (encoder.seconds() / 2.0) as u64);
    until("a playlist of 4 KB with all that was pushed", || {
        playlist = get(server.media, "/tv/v/media.m3u8");
        playlist.len() >= 4096 && edge(&playlist) == (whole, 1)
    });
    println!("  a playlist of {} bytes", playlist.len());
    runtime().block_on(async {
        let alone = server.resident();
        let mut streams = Vec::new();
        for _ in 0..waiters {
            streams.push(tokio::net::TcpStream::connect(server.media).await.expect("it listens"));
        }
        for round in 0..number("ROUNDS", 5) {
            // The next part of the segment that grows, or the first of the one after it.
            let (next, parts) = edge(&get(server.media, "/tv/v/media.m3u8"));
            let (msn, part) = if parts == PARTS_OF_A_SEGMENT { (next + 1, 0) } else { (next, parts) };
            let ask = format!("GET /tv/v/media.m3u8?_HLS_msn={msn}&_HLS_part={part} HTTP/1.1\r\nHost: h\r\n\r\n");
            // All but the last chunk of the part.
            push.send(&encoder.chunk());
            for stream in &mut streams {
                stream.write_all(ask.as_bytes()).await.expect("it reads");
            }
            while (server.metric("headwater_live_waiting") as usize) < waiters {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if round == 0 {
                let each = server.resident().saturating_sub(alone) / waiters as u64;
                println!("  {waiters} wait: {each} bytes each, with their connections");
            }
            let reading = streams.into_iter().map(|mut stream| {
                tokio::spawn(async move {
                    let mut buffer = Vec::with_capacity(16 << 10);
                    let (status, length) = answer(&mut stream, &mut buffer).await;
                    let read = Instant::now();
                    assert!(status == 200 && length >= 4096, "{status}, {length} bytes");
                    (stream, read)
                })
            });
            let reading: Vec<_> = reading.collect();
            // Each waits for its socket, and none is asleep: over loopback the server would pay for waking them.
            tokio::task::yield_now().await;
            let awake = tokio::spawn(async {
                loop {
                    tokio::task::yield_now().await;
                }
            });
            let last = encoder.chunk();
            let (cpu, sent) = (server.cpu(), Instant::now());
            push.send(&last);
            let (mut times, mut back) = (Vec::new(), Vec::new());
            for one in reading {
                let (stream, read) = one.await.expect("it answers");
                back.push(stream);
                times.push(read - sent);
            }
            awake.abort();
            streams = back;
            println!("  from the part to the last byte of the playlist: {}", described(times));
            println!("  server's processor time: {} ms", (server.cpu() - cpu).as_millis());
        }
    });
}

fn first_byte() {
    let server = Server::start();
    let mut encoder = Encoder::video(3_000_000);
    let mut push = Push::begin(&server, "tv", "v", &encoder);
    while encoder.seconds() < 8.0 {
        push.send(&encoder.chunk());
    }
    announced(&server, "tv");
    let mut times = Vec::new();
    runtime().block_on(async {
        let mut stream = tokio::net::TcpStream::connect(server.media).await.expect("it listens");
        let mut buffer = Vec::with_capacity(64 << 10);
        for _ in 0..number("PARTS", 500) {
            let path = format!("/tv/v/{}", hint(&get(server.media, "/tv/v/media.m3u8")).expect("a hint"));
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).await.expect("it reads");
            push.send(&encoder.chunk());
            // It is to be waiting by then.
            tokio::time::sleep(Duration::from_millis(4)).await;
            let last = encoder.chunk();
            let sent = Instant::now();
            push.send(&last);
            buffer.clear();
            stream.read_buf(&mut buffer).await.expect("it answers");
            times.push(sent.elapsed());
            let (status, _) = rest_of(&mut stream, &mut buffer).await;
            assert_eq!(status, 200, "{path}");
        }
    });
    println!("  from a chunk's last byte to the part's first: {}", described(times));
}

/// Short, so that it is soon full: what a channel costs while its window grows is for a third the kernel's, which clears new memory.
const CHANNELS_WINDOW: &str = "12s";
/// So long, and what is let go of is as much as what comes: what has left the window stays for as long as it was listed.
const CHANNELS_FULL: Duration = Duration::from_secs(45);

fn channels() {
    let count = number("CHANNELS", 200);
    let seconds = number("SECONDS", 20) as f64;
    let server = Server::with_window(CHANNELS_WINDOW);
    let began = Instant::now();
    let mut feeds: Vec<(Encoder, Push)> = Vec::new();
    for channel in 0..count {
        let tracks = [("v1", Encoder::video(1_000_000)), ("v2", Encoder::video(500_000)), ("a", Encoder::audio())];
        for (track, encoder) in tracks {
            let push = Push::begin(&server, &format!("c{channel}"), track, &encoder);
            feeds.push((encoder, push));
        }
    }
    let is_over = Arc::<AtomicBool>::default();
    let pushing = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || pushed_in_time(feeds, &is_over)
    });
    std::thread::sleep(CHANNELS_FULL);
    let (cpu, from) = (server.cpu(), Instant::now());
    let (media, until) = (server.media, from + Duration::from_secs_f64(seconds));
    let answers = runtime().block_on(async move {
        // One player a channel: it waits for each part, and takes it.
        let players: Vec<_> = (0..count)
            .map(|channel| {
                tokio::spawn(async move {
                    let mut stream = tokio::net::TcpStream::connect(media).await.expect("it listens");
                    let (mut buffer, mut count) = (Vec::new(), 0u64);
                    let folder = format!("/c{channel}/v1");
                    let mut path = format!("{folder}/media.m3u8");
                    while Instant::now() < until {
                        let ask = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
                        stream.write_all(ask.as_bytes()).await.expect("it reads");
                        let (status, length) = answer(&mut stream, &mut buffer).await;
                        assert_eq!(status, 200, "{path}");
                        count += 1;
                        if path.ends_with(".m4s") {
                            path = format!("{folder}/media.m3u8");
                            continue;
                        }
                        let text = String::from_utf8_lossy(&buffer[buffer.len() - length..]).into_owned();
                        path = hint(&text).map_or(path, |hint| format!("{folder}/{hint}"));
                    }
                    count
                })
            })
            .collect();
        let mut all = 0;
        for player in players {
            all += player.await.expect("it plays");
        }
        all
    });
    let (used, passed) = (server.cpu() - cpu, from.elapsed());
    let share = used.as_secs_f64() / passed.as_secs_f64();
    println!(
        "  {count} channels of 3 tracks, {answers} answers in {:.1} s after {:.1} s",
        passed.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    println!(
        "  {:.1} % of a processor in all, {:.3} % a channel; {} MiB resident",
        share * 100.0,
        share * 100.0 / count as f64,
        server.resident() >> 20
    );
    is_over.store(true, Ordering::Relaxed);
    println!("  encoders were late by {}", described(pushing.join().expect("it pushes")));
}

/// Pushes what each of `feeds` has when it is due, those of half a second evenly; says how late that was.
fn pushed_in_time(mut feeds: Vec<(Encoder, Push)>, is_over: &AtomicBool) -> Vec<Duration> {
    let began = Instant::now();
    let mut late = Vec::new();
    let first = |index: usize| Duration::from_millis(500).mul_f64(index as f64 / feeds.len() as f64);
    let firsts: Vec<Duration> = (0..feeds.len()).map(first).collect();
    let mut due: BinaryHeap<_> = firsts.iter().enumerate().map(|(index, at)| Reverse((*at, index))).collect();
    while let Some(Reverse((at, index))) = due.pop() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        late.push(began.elapsed().saturating_sub(at));
        let (encoder, push) = &mut feeds[index];
        push.send(&encoder.chunk());
        due.push(Reverse((firsts[index] + Duration::from_secs_f64(encoder.seconds()), index)));
    }
    late
}

/// Windows: how long, and bits a second. What is kept for each byte counts most where segments are small; a day of larger ones does not fit.
const WINDOWS: [(&str, u64, u32); 3] =
    [("ten minutes", 600, 100_000), ("a day", 86_400, 100_000), ("an hour of 1 Mb/s", 3600, 1_000_000)];
/// What measures one of them, by its place, is called so.
const WINDOW: &str = "window";

/// Each in a process of its own: what one has freed another one would use.
fn publish() {
    for index in 0..WINDOWS.len() {
        let own = std::env::current_exe().expect("this program");
        let status = Command::new(own).args([WINDOW, &index.to_string()]).status();
        assert!(status.expect("it starts").success());
    }
}

fn window(index: usize) {
    let (name, window_s, bits_s) = WINDOWS[index];
    let mut encoder = Encoder::video(bits_s);
    let mut window = Window::new(Options { window: Duration::from_secs(window_s), ..Options::default() });
    window.init("v", Init::read(encoder.init.clone().into(), "v").expect("an init"), 0, Utc(1)).expect("a track");
    let before = resident("/proc/self/statm");
    let source = Source { push: 1, ..Source::default() };
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    let mut next = |window: &mut Window| {
        // As it is read from a socket.
        encoder.chunk().chunks(16 << 10).for_each(|read| receiver.push(read, &mut events).expect("a chunk"));
        let Some(Event::Chunk(raw)) = events.pop() else { return Duration::ZERO };
        let chunk = window.init_of("v").expect("it was pushed").chunk(raw).expect("a chunk");
        let now = Utc((encoder.seconds() * 1000.0) as u64 + 1);
        let began = Instant::now();
        window.chunk("v", chunk, source, None, now).expect("it is taken");
        let passed = began.elapsed();
        window.tick(now);
        passed
    };
    // What has left the window stays for as long again.
    for _ in 0..window_s * 5 {
        next(&mut window);
    }
    let kept = resident("/proc/self/statm") - before;
    let alive = || {
        let tracks = window.broadcast().periods.iter().flat_map(|period| &period.tracks);
        tracks.flat_map(|track| track.segments.iter()).filter(|segment| segment.lease.is_live())
    };
    let (count, bytes) = (alive().count(), alive().map(|segment| segment.len).sum::<u64>());
    let times: Vec<Duration> = (0..4000).map(|_| next(&mut window)).collect();
    let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e6 / times.len() as f64;
    println!("  {name}: {count} segments are kept; a chunk takes {mean:.2} µs, {}", described(times));
    println!("  {kept} bytes resident for {bytes} of media: {:.3}", kept as f64 / bytes as f64);
}
