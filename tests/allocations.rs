//! What a hot hit allocates, and that eviction gives memory back; counted by the allocator itself.
//!
//! Counts are printed by `cargo test --test allocations -- --nocapture`.

#![expect(clippy::print_stdout, reason = "the counts are worth reading")]

#[path = "../benches/common/mod.rs"]
mod common;
mod counted;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Wire, connection, copy, get, head, open, origin, paths, runtime, serve, server, synthetic, testdata};
use counted::{alone, live_bytes, made};
use headwater::content::library::{self, Library};
use headwater::content::live::channel::{self, Channels};
use headwater::content::live::pushed::Init;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{self, Source, Window};
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::origin::options;
use headwater::origin::serve::Origin;
use headwater::packager::hls::rendition::Renditions;
use headwater::packager::{dash, hls, rate};
use headwater::server::Options;
use headwater::server::clock::utc;
use headwater::server::run::Server;
use headwater::telemetry::{RequestClass, Status};
use headwater::time::Utc;
use http::StatusCode;
use tempfile::TempDir;

/// Allocations of a hot hit at most, hyper included.
const HIT_ALLOCATIONS_MAX: f64 = 3.0;
/// Of a range: it has two header values of its own, and a header more than what was kept ready.
const RANGE_ALLOCATIONS_MAX: f64 = 6.0;
/// Of an answer that was waited for, from when what it waits for comes until its connection is closed.
const WOKEN_ALLOCATIONS_MAX: f64 = 4.0;
/// Of a manifest, however long: one for its text, the others for what the tracks differ in.
const MANIFEST_ALLOCATIONS_MAX: u64 = 10;

/// Bytes that are allocated for each byte of live media that is kept, at most: blocks that are not full, and what is known of segments.
const KEPT_MAX: f64 = 1.1;

/// Holds `each` to `max`: one more for each fails, but not what is made once a second for all, which falls to some runs alone.
#[track_caller]
fn at_most(each: f64, max: f64) {
    assert!(each < max + 0.5, "{each} allocations");
}

/// Allocations of one request of `lines` on a connection that is kept, hyper included: the difference between 2,000 requests
/// and 1,000.
fn per_request(path: &str, lines: &str) -> f64 {
    const COUNT: usize = 1000;
    let state = server(&origin(&testdata(), 256 << 20));
    let request = head(path, lines);
    runtime().block_on(async {
        let run = async |count: usize| {
            let wire = Wire::new(std::iter::repeat_n(request.clone(), count));
            let before = made();
            connection(state.clone(), wire).await;
            made() - before
        };
        // Who has it already is told so without making it: what is measured has to lie in the cache.
        connection(state.clone(), Wire::new(std::iter::once(head(path, "")))).await;
        run(COUNT).await;
        let (short, long) = (run(COUNT).await, run(2 * COUNT).await);
        assert_eq!(state.origin.telemetry().flights_started.get(), 1, "all but the first were hits");
        (long - short) as f64 / COUNT as f64
    })
}

fn segment() -> String {
    let paths = paths(&origin(&testdata(), 1 << 20), "tour");
    paths.iter().find(|paths| paths.track == "video-144p").unwrap().segments[1].clone()
}

#[test]
fn a_hot_hit_makes_at_most_three_allocations() {
    let _alone = alone();
    let path = segment();
    let whole = per_request(&path, "");
    let range = per_request(&path, "Range: bytes=100-999\r\n");
    let playlist = per_request("/tour/master.m3u8", "Accept-Encoding: gzip, br\r\n");
    let not_modified = per_request(&path, "If-None-Match: *\r\n");
    println!(
        "allocations a request, hyper included: segment {whole:.2}, range {range:.2}, playlist {playlist:.2}, 304 {not_modified:.2}"
    );
    at_most(whole, HIT_ALLOCATIONS_MAX);
    at_most(playlist, HIT_ALLOCATIONS_MAX);
    at_most(not_modified, HIT_ALLOCATIONS_MAX);
    at_most(range, RANGE_ALLOCATIONS_MAX);
}

#[test]
fn who_was_woken_makes_at_most_four_allocations() {
    const COUNT: usize = 500;
    let _alone = alone();
    let began = utc();
    let channels = Channels::open(channel::Options { open: true, ..channel::Options::default() }, began).unwrap();
    let (channels, library) = (Arc::new(channels), Library::new(library::Options::new("none".into())));
    let origin = Origin::new(Arc::new(library), options::Options::default(), Arc::default());
    let state = server(&Arc::new(origin.broadcasting(Arc::clone(&channels))));
    let channel = channels.for_push("tv").unwrap();
    let push = |event: Event, at: Utc| {
        channel.take("v", event, Source { push: 1, ..Source::default() }, at).unwrap();
    };
    push(Event::Init(std::fs::read(testdata().join("packaging/video/init.mp4")).unwrap().into()), began);
    let mut chunks = (0..).map(|index| push(chunk(index, 50), Utc(began.0 + 500 * index)));
    (&mut chunks).take(18).for_each(drop);
    let runtime = runtime();
    let mut woken = |count: usize| {
        let (number, parts) = hls::live::edge(&channel.broadcast(), "v").unwrap();
        let request = head(&format!("/tv/v/media.m3u8?_HLS_msn={number}&_HLS_part={parts}"), "");
        runtime.block_on(async {
            let wires = (0..count).map(|_| Wire::new(std::iter::once(request.clone())));
            let asked: Vec<_> = wires.map(|wire| tokio::spawn(connection(state.clone(), wire))).collect();
            while channel.waiting() < count {
                tokio::task::yield_now().await;
            }
            let before = made();
            // Beyond the last part of a segment the first of the next is waited for.
            (&mut chunks).take(4).for_each(drop);
            for asked in asked {
                asked.await.unwrap();
            }
            made() - before
        })
    };
    woken(COUNT);
    let (few, many) = (woken(COUNT), woken(2 * COUNT));
    let each = (many - few) as f64 / COUNT as f64;
    let answered = state.telemetry.requests.at(RequestClass::Playlist, Status::of(200)).get();
    assert_eq!(answered, 4 * COUNT as u64, "none in vain");
    println!("allocations of an answer that was waited for, once it comes, hyper included: {each:.2}");
    at_most(each, WOKEN_ALLOCATIONS_MAX);
}

#[test]
fn the_manifests_of_two_hours_make_at_most_ten_allocations() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    synthetic::write(&folder.path().join("film"), &synthetic::TRACKS, 7200, 16);
    let presentation = open(&origin(folder.path(), 1 << 20), "film").presentation;
    let rates = rate::measure(&presentation);
    let renditions = Renditions::of(&presentation, &rates);
    let (_, track) = presentation.track("video-144p").unwrap();
    let rendition = renditions.find(&track.name, track.version).unwrap();
    let before = made();
    let playlist = hls::media::playlist(&presentation, rendition, &hls::Options::default()).unwrap();
    let of_playlist = made() - before;
    let mpd = dash::mpd(&presentation, &rates).unwrap();
    let of_mpd = made() - before - of_playlist;
    println!("allocations: playlist {of_playlist} ({} bytes), MPD {of_mpd} ({} bytes)", playlist.len(), mpd.len());
    assert!(of_playlist <= MANIFEST_ALLOCATIONS_MAX, "{of_playlist} allocations");
    assert!(of_mpd <= MANIFEST_ALLOCATIONS_MAX, "{of_mpd} allocations");
}

/// What the index of two hours takes at most: two renditions at 30 frames a second and three sounds, in chunks of half a second.
const INDEX_BYTES_MAX: i64 = 12 << 20;

#[test]
fn the_index_of_two_hours_and_five_tracks_stays_below_12_mib() {
    let _alone = alone();
    let opened_bytes = |video_chunk: u32, audio_chunk: u32| {
        let folder = TempDir::new().unwrap();
        let video = synthetic::Listed { is_video: true, samples_per_chunk: video_chunk };
        let audio = synthetic::Listed { is_video: false, samples_per_chunk: audio_chunk };
        synthetic::write_progressive(&folder.path().join("film.mp4"), &[video, video, audio, audio, audio], 7200);
        let origin = origin(folder.path(), 1 << 20);
        let before = live_bytes();
        let opened = open(&origin, "film");
        let bytes = live_bytes() - before;
        let samples: u32 = opened.presentation.tracks().map(|track| track.samples.len()).sum();
        assert_eq!(opened.presentation.tracks().count(), 5);
        println!(
            "index of {samples} samples in chunks of {video_chunk} and {audio_chunk}: {bytes} bytes, {:.1} a sample",
            bytes as f64 / f64::from(samples)
        );
        bytes
    };
    let usual = opened_bytes(15, 24);
    assert!(usual < INDEX_BYTES_MAX, "{usual} bytes");
    // A chunk a sample, which is the worst that a file can do, costs 16 bytes more each.
    let worst = opened_bytes(1, 1);
    assert!(worst < 3 * INDEX_BYTES_MAX, "{worst} bytes");
}

/// Bytes that a connection which asks nothing may keep at most, the server's end alone.
const RESTING_BYTES_MAX: i64 = 12 * 1024;

/// Half a second of video, the `index`th: twelve samples of `size` bytes.
fn chunk(index: u64, size: u32) -> Event {
    let sample = |at| {
        let flags = if at % 48 == 0 { 0x0200_0000 } else { 0x0101_0000 };
        RunSample { duration: 512, size, flags, composition_offset: 1024 }
    };
    let fragment = NewFragment {
        track_id: 1,
        description_index: 1,
        base_media_decode_time: index * 12 * 512,
        samples: (index * 12..index * 12 + 12).map(sample).collect(),
        ..NewFragment::default()
    };
    let mut bytes = fragment.write();
    bytes.resize(bytes.len() + 12 * size as usize, index as u8);
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&bytes, &mut events).unwrap();
    events.pop().unwrap()
}

#[test]
fn live_media_costs_a_tenth_more_than_its_bytes() {
    let _alone = alone();
    let init = std::fs::read(testdata().join("packaging/video/init.mp4")).unwrap();
    let every = window::Options { window: Duration::from_secs(600), ..window::Options::default() };
    let mut window = Window::new(every);
    window.init("v", Init::read(init.into(), "v").unwrap(), 0, Utc(1)).unwrap();
    let before = live_bytes();
    // Chunks of half a second of some 100 kb/s, for longer than it is until the first are forgotten.
    for index in 0..3000u64 {
        let size = 260 + (index * 7919 % 520) as u32;
        let Event::Chunk(raw) = chunk(index, size) else { panic!("a chunk") };
        let chunk = window.init_of("v").unwrap().chunk(raw).unwrap();
        let (source, now) = (Source { push: 1, ..Source::default() }, Utc((index + 1) * 500));
        window.chunk("v", chunk, source, None, now).unwrap();
        window.tick(now);
    }
    let kept = live_bytes() - before;
    let tracks = || window.broadcast().periods.iter().flat_map(|period| &period.tracks);
    let alive = tracks().flat_map(|track| track.segments.iter()).filter(|segment| segment.lease.is_live());
    let bytes: u64 = alive.map(|segment| segment.len).sum();
    assert!(bytes > 10 << 20, "{bytes} bytes of media");
    let ratio = kept as f64 / bytes as f64;
    println!("{kept} bytes for {bytes} of media: {ratio:.3}");
    assert!(ratio < KEPT_MAX, "{ratio:.3} bytes for each of media");
}

#[test]
fn a_connection_that_asks_nothing_gives_back_what_it_read_with() {
    const CONNECTIONS: usize = 100;
    let _alone = alone();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let origin = origin(&testdata(), 1 << 26);
    // A period of the connections' timer is half of the shortest deadline.
    let options = Options { listen: (Ipv4Addr::LOCALHOST, 0).into(), admin: None, ..Options::default() };
    let options = Options { write_timeout: Duration::from_secs(2), ..options };
    let server = Server::bind(options, origin.clone(), origin.telemetry().clone()).unwrap();
    let address: SocketAddr = server.media_url().strip_prefix("http://").unwrap().parse().unwrap();
    runtime.spawn(server.run(std::future::pending()));
    let ask = || {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_ne!(client.read(&mut [0; 1024]).unwrap(), 0);
        client
    };
    // The first one pays for what all share.
    let _first = ask();
    let before = live_bytes();
    let _clients: Vec<_> = (0..CONNECTIONS).map(|_| ask()).collect();
    let each = || (live_bytes() - before) / CONNECTIONS as i64;
    let busy = each();
    // They rest when their timers say so, which a busy machine hears late.
    let began = Instant::now();
    while each() > RESTING_BYTES_MAX && began.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let resting = each();
    println!("bytes of a connection: {busy} after its answer, {resting} when it rests");
    assert!(resting <= RESTING_BYTES_MAX, "{resting} bytes");
}

#[test]
fn serving_a_hit_copies_its_head_and_nothing_else() {
    let _alone = alone();
    let path = segment();
    let origin = origin(&testdata(), 256 << 20);
    runtime().block_on(async {
        let (request, now) = (get(&path), utc());
        assert_eq!(origin.serve(&request, now).await.status(), StatusCode::OK);
        let before = made();
        for _ in 0..1000 {
            assert_eq!(origin.serve(&request, now).await.status(), StatusCode::OK);
        }
        let each = (made() - before) as f64 / 1000.0;
        println!("allocations of serve() alone: {each:.2}");
        at_most(each, HIT_ALLOCATIONS_MAX);
    });
}

#[test]
fn eviction_gives_memory_back() {
    let _alone = alone();
    const CACHE_BYTES: u64 = 4 << 20;
    let folder = TempDir::new().unwrap();
    // Some hundred segments of 20 KiB and more, several times what the cache may keep.
    for copied in 0..64 {
        copy(&testdata().join("muxed.mp4"), &folder.path().join(format!("muxed{copied}.mp4")));
        copy(&testdata().join("vp9.mp4"), &folder.path().join(format!("vp9-{copied}.mp4")));
    }
    runtime().block_on(async {
        let origin = origin(folder.path(), CACHE_BYTES);
        let names: Vec<String> = origin.library().catalog().entries.keys().cloned().collect();
        let paths: Vec<String> =
            names.iter().flat_map(|name| paths(&origin, name)).flat_map(|paths| paths.segments).collect();
        let before = live_bytes();
        let mut served = 0;
        for path in &paths {
            served += serve(&origin, path).await.body().len() as i64;
        }
        // moka frees what it evicted when no reader can be left, which its own turns find out.
        for _ in 0..100 {
            origin.settle(utc()).await;
        }
        let kept = live_bytes() - before;
        println!("{served} bytes served through a cache of {CACHE_BYTES}; {kept} are alive");
        assert!(served > 2 * CACHE_BYTES as i64, "{served} bytes served are too few to evict anything");
        assert!(kept < CACHE_BYTES as i64 * 5 / 4, "{kept} bytes are alive under a ceiling of {CACHE_BYTES}");
    });
}
