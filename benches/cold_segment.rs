//! A segment that is not in the cache, through `serve()`: flight, plan, reading (from the kernel's page cache) and assembling.
//! Fragments that pass through as they are, segments rebuilt around the media of a muxed or a progressive file, and segments of a megabyte.

mod common;
#[path = "common/timed.rs"]
mod timed;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{copy, origin, paths, runtime, serve, synthetic, testdata};
use criterion::{Criterion, Throughput};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Copies of a presentation in a library: so many more segments until the cache must be emptied.
const COPIES: usize = 32;
/// Room for all of a library, so that nothing is evicted while it is measured.
const CACHE_BYTES: u64 = 1 << 30;

fn main() {
    let mut criterion = timed::criterion();
    let runtime = runtime();
    let (passed, rebuilt, large) = (library("tour"), library("muxed.mp4"), TempDir::new().expect("a folder"));
    // 24 frames a second and 6 s a segment: about 1 MB.
    synthetic::write(&large.path().join("large"), &["video-144p"], 300, 7000);
    bench(&mut criterion, &runtime, "passed_through", passed.path(), "video-144p");
    let progressive = library("progressive.mp4");
    bench(&mut criterion, &runtime, "progressive", progressive.path(), "video1");
    bench(&mut criterion, &runtime, "rebuilt", rebuilt.path(), "video1");
    bench(&mut criterion, &runtime, "passed_through_1mb", large.path(), "video1");
    criterion.final_summary();
}

/// A folder of copies of `presentation` of testdata.
fn library(presentation: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for copied in 0..COPIES {
        copy(&testdata().join(presentation), &folder.path().join(format!("{copied}-{presentation}")));
    }
    folder
}

fn bench(criterion: &mut Criterion, runtime: &Runtime, name: &str, root: &Path, track: &str) {
    let fresh = origin(root, CACHE_BYTES);
    let names: Vec<String> = fresh.library().catalog().entries.keys().cloned().collect();
    let tracks =
        names.iter().flat_map(|name| paths(&fresh, name)).filter(|paths| paths.track == track).collect::<Vec<_>>();
    // The last segment of a presentation is shorter than the others.
    let segments: Vec<&str> =
        tracks.iter().flat_map(|paths| &paths.segments[..paths.segments.len() - 1]).map(String::as_str).collect();
    let total: u64 = runtime.block_on(async {
        let mut total = 0;
        for path in &segments {
            total += serve(&fresh, path).await.body().len();
        }
        total
    });
    // The cache is emptied by taking a new one, whose indices are opened before the clock starts.
    let cold = |count: u64| {
        let origin = origin(root, CACHE_BYTES);
        runtime.block_on(async {
            for paths in &tracks {
                serve(&origin, &paths.init).await;
            }
            let began = Instant::now();
            for path in &segments[..count as usize] {
                std::hint::black_box(serve(&origin, path).await);
            }
            let took = began.elapsed();
            let flights = origin.telemetry().flights_started.get();
            assert_eq!(flights, count + tracks.len() as u64, "every segment was to be made");
            took
        })
    };
    let mut group = criterion.benchmark_group("cold_segment");
    group.throughput(Throughput::Bytes(total / segments.len() as u64));
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let rounds = (0..count).step_by(segments.len());
            rounds.map(|done| cold((count - done).min(segments.len() as u64))).sum()
        });
    });
    group.finish();
}
