//! From the cache to the socket no media byte is copied: every byte that is written lies where it lies in the cached object.
//!
//! The real origin serves a copy of testdata through hyper on a connection in memory, which records the address of every byte
//! handed to it. That a body is right is then two statements: its bytes are the object's, and they are at the object's
//! addresses.

#[path = "../benches/common/mod.rs"]
mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::{Taken, Wire, connection, copy, head, open, origin, paths, runtime, serve, server, slices, testdata};
use headwater::origin::serve::Origin;
use headwater::server::state::State;
use tempfile::TempDir;

/// A body as the cache keeps it: its bytes, and where each of them lies.
struct Cached {
    path: String,
    bytes: Vec<u8>,
    addresses: Vec<usize>,
    slices: usize,
}

/// An answer as it came out.
struct Answer {
    head: String,
    body: Vec<u8>,
    addresses: Vec<usize>,
}

struct Scene {
    state: Arc<State>,
    origin: Arc<Origin>,
    _folder: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let folder = TempDir::new().unwrap();
        copy(&testdata(), folder.path());
        let origin = origin(folder.path(), 256 << 20);
        Scene { state: server(&origin), origin, _folder: folder }
    }

    /// Serves `path` once, so that it lies in the cache, and looks where.
    async fn cached(&self, path: &str) -> Cached {
        let mut cached = Cached { path: path.to_owned(), bytes: Vec::new(), addresses: Vec::new(), slices: 0 };
        for (start, bytes) in slices(serve(&self.origin, path).await.into_body()).await {
            cached.addresses.extend(start..start + bytes.len());
            cached.bytes.extend(bytes);
            cached.slices += 1;
        }
        assert!(!cached.bytes.is_empty());
        cached
    }

    /// The second segment of `track` of `presentation`: the first one may have made parts that others have not.
    async fn segment(&self, presentation: &str, track: &str) -> Cached {
        let paths = paths(&self.origin, presentation);
        let track = paths.iter().find(|paths| paths.track == track).expect("the track is there");
        self.cached(track.segments.get(1).unwrap_or(&track.segments[0])).await
    }

    /// What comes out of `wire`, answer by answer; nothing was made afresh for it, and nothing was flattened.
    async fn answers(&self, wire: Wire) -> Vec<Answer> {
        let flights = self.origin.telemetry().flights_started.get();
        let taken = wire.taken();
        connection(self.state.clone(), wire.recorded()).await;
        assert_eq!(self.origin.telemetry().flights_started.get(), flights, "these were to be hits");
        let taken = std::mem::take(&mut *taken.lock().unwrap());
        assert_eq!(taken.flattened, 0, "bytes of answers were put in one buffer");
        split(&taken)
    }
}

/// Answers by their Content-Length.
fn split(taken: &Taken) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut at = 0;
    while at < taken.bytes.len() {
        let end =
            at + 4 + taken.bytes[at..].windows(4).position(|four| four == b"\r\n\r\n").expect("a head has an end");
        let head = String::from_utf8(taken.bytes[at..end].to_vec()).unwrap();
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        let body = end..end + length.expect("every body has a length").parse::<usize>().unwrap();
        answers.push(Answer {
            head,
            body: taken.bytes[body.clone()].to_vec(),
            addresses: taken.addresses[body.clone()].to_vec(),
        });
        at = body.end;
    }
    answers
}

#[track_caller]
fn check_shared(answer: &Answer, body_from: usize, cached: &Cached, range: std::ops::Range<usize>) {
    let place = body_from..body_from + range.len();
    assert!(
        answer.body[place.clone()] == cached.bytes[range.clone()],
        "the bytes of {range:?} of {} are wrong",
        cached.path
    );
    assert!(answer.addresses[place] == cached.addresses[range.clone()], "{range:?} of {} was copied", cached.path);
}

#[track_caller]
fn check_whole(answer: &Answer, cached: &Cached) {
    assert!(answer.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", answer.head);
    assert_eq!(answer.body.len(), cached.bytes.len());
    check_shared(answer, 0, cached, 0..cached.bytes.len());
}

fn each(requests: impl IntoIterator<Item = Bytes>) -> Wire {
    Wire::new(requests.into_iter().collect::<Vec<_>>().into_iter())
}

#[test]
fn a_hit_is_sent_from_where_the_cache_keeps_it() {
    runtime().block_on(async {
        let scene = Scene::new();
        // A fragment as it is, one rebuilt around its media, encrypted ones, an existing packaging.
        for (presentation, track) in [
            ("tour", "video-144p"),
            ("muxed", "video1"),
            ("muxed", "audio1"),
            ("encrypted-cenc", "video1"),
            ("packaging", "video"),
        ] {
            let cached = scene.segment(presentation, track).await;
            let answers = scene.answers(each([head(&cached.path, ""), head(&cached.path, "")])).await;
            assert_eq!(answers.len(), 2);
            answers.iter().for_each(|answer| check_whole(answer, &cached));
        }
    });
}

#[test]
fn every_segment_of_the_tour_and_its_initialization_is_shared() {
    runtime().block_on(async {
        let scene = Scene::new();
        for track in paths(&scene.origin, "tour") {
            for path in track.segments.iter().chain([&track.init]) {
                let cached = scene.cached(path).await;
                let answers = scene.answers(each([head(path, "")])).await;
                check_whole(&answers[0], &cached);
            }
        }
    });
}

#[test]
fn a_rebuilt_segment_refers_to_its_media() {
    runtime().block_on(async {
        let scene = Scene::new();
        let cached = scene.segment("muxed", "video1").await;
        assert!(cached.slices > 1, "made heads and media are slices of their own");
        let ladder = open(&scene.origin, "muxed");
        let (_, track) = ladder.presentation.track("video1").unwrap();
        let media = track.samples.size(track.segment_samples(track.segments.len().min(2) - 1));
        assert!(media * 10 > cached.bytes.len() as u64 * 9, "most of it is media");
    });
}

#[test]
fn a_picture_alone_refers_to_its_media() {
    runtime().block_on(async {
        let scene = Scene::new();
        for (presentation, track) in [("tour", "video-144p"), ("muxed", "video1"), ("encrypted-cenc", "video1")] {
            let paths = paths(&scene.origin, presentation);
            let segment = &paths.iter().find(|paths| paths.track == track).expect("the track is there").segments[1];
            let cached = scene.cached(&segment.replace(".m4s", ".trick.m4s")).await;
            assert_eq!(cached.slices, 2, "{}: a made head, and the picture", cached.path);
            let answers =
                scene.answers(each([head(&cached.path, ""), head(&cached.path, "Range: bytes=9-99\r\n")])).await;
            check_whole(&answers[0], &cached);
            check_shared(&answers[1], 0, &cached, 9..100);
        }
    });
}

#[test]
fn a_range_is_a_slice_of_the_cached_object() {
    runtime().block_on(async {
        let scene = Scene::new();
        for track in ["video1", "audio1"] {
            let cached = scene.segment("muxed", track).await;
            let len = cached.bytes.len();
            for range in [0..1, 0..len / 2, len / 3..len / 2, 10..len - 10, len - 1..len] {
                let line = format!("Range: bytes={}-{}\r\n", range.start, range.end - 1);
                let answers = scene.answers(each([head(&cached.path, &line)])).await;
                assert!(answers[0].head.starts_with("HTTP/1.1 206 "), "{}", answers[0].head);
                assert_eq!(answers[0].body.len(), range.len());
                check_shared(&answers[0], 0, &cached, range);
            }
        }
    });
}

#[test]
fn several_ranges_are_slices_between_their_heads() {
    runtime().block_on(async {
        let scene = Scene::new();
        let cached = scene.segment("muxed", "video1").await;
        let len = cached.bytes.len();
        let ranges = [10..len / 4, len / 3..len / 2, len - 100..len];
        let specs: Vec<String> = ranges.iter().map(|range| format!("{}-{}", range.start, range.end - 1)).collect();
        let answers = scene.answers(each([head(&cached.path, &format!("Range: bytes={}\r\n", specs.join(",")))])).await;
        let answer = &answers[0];
        assert!(answer.head.starts_with("HTTP/1.1 206 "), "{}", answer.head);
        let mut at = 0;
        for (range, spec) in ranges.iter().zip(&specs) {
            let blank =
                at + answer.body[at..].windows(4).position(|four| four == b"\r\n\r\n").expect("a part has a head") + 4;
            let part_head = String::from_utf8_lossy(&answer.body[at..blank]);
            assert!(part_head.contains(&format!("Content-Range: bytes {spec}/{len}\r\n")), "{part_head}");
            check_shared(answer, blank, &cached, range.clone());
            at = blank + range.len();
        }
        assert!(answer.body[at..].starts_with(b"\r\n--") && answer.body.ends_with(b"--\r\n"));
    });
}

#[test]
fn pipelined_answers_are_shared_too() {
    runtime().block_on(async {
        let scene = Scene::new();
        let (video, audio) = (scene.segment("muxed", "video1").await, scene.segment("tour", "audio-eng").await);
        let mut all = Vec::new();
        for cached in [&video, &audio, &video] {
            all.extend_from_slice(&head(&cached.path, ""));
        }
        all.extend_from_slice(&head(&video.path, "Range: bytes=100-299\r\n"));
        let answers = scene.answers(each([Bytes::from(all)])).await;
        assert_eq!(answers.len(), 4);
        for (answer, cached) in answers.iter().zip([&video, &audio, &video]) {
            check_whole(answer, cached);
        }
        check_shared(&answers[3], 0, &video, 100..300);
    });
}

#[test]
fn a_slow_reader_is_sent_the_same_bytes_from_the_same_place() {
    runtime().block_on(async {
        let scene = Scene::new();
        let cached = scene.segment("muxed", "video1").await;
        for write_bytes_max in [7, 1000] {
            let wire =
                each([head(&cached.path, ""), head(&cached.path, "Range: bytes=5-1004\r\n")]).slow(write_bytes_max);
            let answers = scene.answers(wire).await;
            check_whole(&answers[0], &cached);
            check_shared(&answers[1], 0, &cached, 5..1005);
        }
    });
}

#[test]
fn a_copy_would_be_seen() {
    runtime().block_on(async {
        let scene = Scene::new();
        let cached = scene.segment("muxed", "video1").await;
        let wire = each([head(&cached.path, "")]).recorded().flattening();
        let taken = wire.taken();
        connection(scene.state.clone(), wire).await;
        let taken = taken.lock().unwrap();
        let answer = &split(&taken)[0];
        assert!(taken.flattened as usize > cached.bytes.len());
        assert!(answer.body == cached.bytes && answer.addresses != cached.addresses);
    });
}
