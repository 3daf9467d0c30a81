//! One case of work, so many times, for counting its instructions under callgrind: `instructions CASE`. `.ci/instructions`
//! runs all of them and compares.
//!
//! One thread, one order, no clock that decides anything: the count differs by next to nothing from run to run. Preparation
//! runs outside the function `measured`, which alone is counted (`--toggle-collect`).

#![expect(clippy::print_stdout, reason = "the list of cases is what it is asked for")]

mod common;

use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use common::{Wire, connection, copy, head, open, origin, paths, runtime, serve, server, synthetic, testdata};
use headwater::origin::serve::Origin;
use headwater::packager::hls::rendition::Renditions;
use headwater::packager::{dash, hls, rate, text};
use mp4::{BoxHeader, MoovBox, ReadBox};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Each case and how many times its work is done.
const CASES: [(&str, u64); 13] = [
    ("hot_hit", 1000),
    ("playlist_hit", 1000),
    ("not_modified", 1000),
    ("range", 1000),
    ("cold_segment", 100),
    ("cold_progressive", 100),
    ("webvtt_segment", 100),
    ("playlist_2h", 10),
    ("mpd_2h", 10),
    ("rates_2h", 10),
    ("open_2h", 5),
    ("open_2h_progressive", 5),
    ("mp4_crate_2h_progressive", 5),
];

fn main() {
    // `cargo bench` and `cargo test --benches` add options of their own.
    let asked = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let Some((case, count)) = CASES.into_iter().find(|(case, _)| asked.as_deref() == Some(case)) else {
        CASES.iter().for_each(|(case, count)| println!("{case} {count}"));
        return;
    };
    let count = count as usize;
    let runtime = runtime();
    match case {
        "cold_segment" => cold_segment(&runtime, "muxed.mp4", count),
        "cold_progressive" => cold_segment(&runtime, "progressive.mp4", count),
        "webvtt_segment" => webvtt_segment(count),
        "open_2h_progressive" | "mp4_crate_2h_progressive" => progressive(case, count),
        "playlist_2h" | "mpd_2h" | "rates_2h" | "open_2h" => two_hours(case, count),
        _ => hit(&runtime, case, count),
    }
}

/// What is counted.
#[inline(never)]
fn measured(work: impl FnOnce()) {
    work();
}

fn hit(runtime: &Runtime, case: &str, count: usize) {
    let origin = origin(&testdata(), 256 << 20);
    let tour = paths(&origin, "tour");
    let segment = &tour.iter().find(|paths| paths.track == "video-144p").expect("the tour has it").segments[1];
    let etag = runtime.block_on(serve(&origin, segment)).headers()["etag"].to_str().expect("ours").to_owned();
    let request = match case {
        "hot_hit" => head(segment, ""),
        "playlist_hit" => head("/tour/master.m3u8", "Accept-Encoding: gzip\r\n"),
        "not_modified" => head(segment, &format!("If-None-Match: {etag}\r\n")),
        _ => head(segment, "Range: bytes=1000-1999\r\n"),
    };
    let state = server(&origin);
    let run = |request: Bytes, count| {
        runtime.block_on(connection(state.clone(), Wire::new(std::iter::repeat_n(request, count))));
    };
    // Puts what is asked for in the cache.
    run(request.clone(), 10);
    measured(|| run(request, count));
}

fn cold_segment(runtime: &Runtime, file: &str, count: usize) {
    let folder = TempDir::new().expect("a folder");
    let copied = |copied: usize| format!("copy{copied:03}");
    (0..count).for_each(|n| copy(&testdata().join(file), &folder.path().join(copied(n) + ".mp4")));
    let origin: Arc<Origin> = origin(folder.path(), 1 << 30);
    let all: Vec<_> = (0..count).map(|n| paths(&origin, &copied(n)).swap_remove(0)).collect();
    runtime.block_on(async {
        for paths in &all {
            serve(&origin, &paths.init).await;
        }
    });
    let segments: Vec<String> = all.into_iter().map(|mut paths| paths.segments.swap_remove(0)).collect();
    measured(|| {
        runtime.block_on(async {
            for path in &segments {
                black_box(serve(&origin, path).await);
            }
        });
    });
}

fn two_hours(case: &str, count: usize) {
    let folder = TempDir::new().expect("a folder");
    let tracks = if case == "open_2h" { &synthetic::TRACKS[..1] } else { &synthetic::TRACKS[..] };
    synthetic::write(&folder.path().join("film"), tracks, 7200, 16);
    let origin = origin(folder.path(), 1 << 20);
    let name = origin.library().catalog().entries.keys().next().expect("it was written").clone();
    let presentation = open(&origin, &name).presentation;
    let rates = rate::measure(&presentation);
    let renditions = Renditions::of(&presentation, &rates);
    let track = presentation.tracks().next().expect("it was written");
    let rendition = renditions.find(&track.name, track.version).expect("HLS lists it");
    let options = hls::Options::default();
    measured(|| {
        for _ in 0..count {
            match case {
                "playlist_2h" => drop(black_box(hls::media::playlist(&presentation, rendition, &options))),
                "mpd_2h" => drop(black_box(dash::mpd(&presentation, &rates))),
                "rates_2h" => drop(black_box(rate::measure(&presentation))),
                _ => drop(black_box(open(&origin, &name))),
            }
        }
    });
}

/// A WebVTT segment of a `wvtt` track, from its samples.
fn webvtt_segment(count: usize) {
    let opened = open(&origin(&testdata(), 1 << 20), "tour");
    let (_, track) = opened.presentation.track("text-eng").expect("the tour has it");
    let window = 0..track.samples.len();
    let data = opened.source.read(&track.samples.places(window.clone())).expect("it can be read");
    let start = track.time(track.start());
    measured(|| {
        for _ in 0..count {
            drop(black_box(text::webvtt_segment(track, start, 1, window.clone(), &data)));
        }
    });
}

/// Opening a progressive film, or what the `mp4` crate alone takes to read its `moov` from memory.
fn progressive(case: &str, count: usize) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("film.mp4");
    let moov_bytes = synthetic::write_progressive(&path, &synthetic::FILM, 7200);
    let origin = origin(folder.path(), 1 << 20);
    let moov = std::fs::read(&path).expect("it was written")[..moov_bytes as usize].to_vec();
    measured(|| {
        for _ in 0..count {
            if case == "open_2h_progressive" {
                drop(black_box(open(&origin, "film")));
            } else {
                let mut reader = Cursor::new(&moov[..]);
                let header = BoxHeader::read(&mut reader).expect("a head");
                drop(black_box(MoovBox::read_box(&mut reader, header.size).expect("it can be read")));
            }
        }
    });
}
