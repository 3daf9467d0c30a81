//! A cached segment: served with head and body ready, alone and through hyper on a kept connection in memory; whole, as a
//! range, and told "you have it".
//!
//! The connection takes slices as `writev` would, without copying them: what is measured is this program, not the kernel.

mod common;
#[path = "common/timed.rs"]
mod timed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Wire, connection, get, head, origin, paths, runtime, serve, server, testdata};
use criterion::{Criterion, Throughput};
use headwater::cache::{Cache, Weigh};
use headwater::server::clock::utc;

fn main() {
    let mut criterion = timed::criterion();
    hot_hit(&mut criterion);
    criterion.final_summary();
}

/// Something to look up.
struct Weighed;

impl Weigh for Weighed {
    fn weight(&self) -> u64 {
        1000
    }
}

/// How long it takes to `ask` `count` times, half of them on each of two threads, which it is told.
fn on_two_threads<T, F: Future<Output = T>>(count: u64, ask: impl Fn(usize) -> F + Sync) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (which, share) in [count / 2, count - count / 2].into_iter().enumerate() {
            let ask = &ask;
            scope.spawn(move || {
                runtime().block_on(async {
                    for _ in 0..share {
                        std::hint::black_box(ask(which).await);
                    }
                });
            });
        }
    });
    began.elapsed()
}

fn hot_hit(criterion: &mut Criterion) {
    let origin = origin(&testdata(), 256 << 20);
    let runtime = runtime();
    let tour = paths(&origin, "tour");
    let segments = &tour.iter().find(|paths| paths.track == "video-144p").expect("the tour has it").segments;
    let path = &segments[1];
    let response = runtime.block_on(serve(&origin, path));
    let etag = response.headers()["etag"].to_str().expect("ours").to_owned();
    let (state, segment_bytes) = (server(&origin), response.body().len());

    let mut group = criterion.benchmark_group("hot_hit");
    group.throughput(Throughput::Bytes(segment_bytes));
    let (request, now) = (get(path), utc());
    group.bench_function("serve", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let began = Instant::now();
                for _ in 0..count {
                    std::hint::black_box(origin.serve(&request, now).await);
                }
                began.elapsed()
            })
        });
    });
    // On two threads at once, half of the requests each: half of the time, if they share nothing that is written. Each asks for a segment of its
    // own; or both for one, whose counts of references both write.
    for (name, other) in [("serve_threads_2", &segments[2]), ("serve_threads_2_one_segment", path)] {
        runtime.block_on(serve(&origin, other));
        let (origin, requests) = (&origin, [get(path), get(other)]);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| on_two_threads(count, |which| origin.serve(&requests[which], now)));
        });
    }
    // What of that is the cache's lookup.
    let cache: Cache<Weighed, ()> = Cache::new(1 << 20);
    runtime.block_on(async {
        for path in [path, &segments[2]] {
            cache.insert(path, Arc::new(Weighed)).await;
        }
    });
    group.bench_function("lookup", |bencher| {
        bencher.iter_custom(|count| {
            runtime.block_on(async {
                let began = Instant::now();
                for _ in 0..count {
                    std::hint::black_box(cache.get(path).await);
                }
                began.elapsed()
            })
        });
    });
    let keys = [path.as_str(), &segments[2]];
    group.bench_function("lookup_threads_2", |bencher| {
        bencher.iter_custom(|count| on_two_threads(count, |which| cache.get(keys[which])));
    });
    let cases = [
        ("http1", path.as_str(), String::new(), segment_bytes),
        ("http1_range", path, "Range: bytes=1000-1999\r\n".to_owned(), 1000),
        ("http1_not_modified", path, format!("If-None-Match: {etag}\r\n"), 0),
        ("http1_playlist", "/tour/master.m3u8", "Accept-Encoding: gzip\r\n".to_owned(), 0),
    ];
    for (name, path, lines, bytes) in cases {
        let request = head(path, &lines);
        if bytes > 0 {
            group.throughput(Throughput::Bytes(bytes))
        } else {
            group.throughput(Throughput::Elements(1))
        };
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                let wire = Wire::new(std::iter::repeat_n(request.clone(), count as usize));
                let began = Instant::now();
                runtime.block_on(connection(state.clone(), wire));
                began.elapsed().max(Duration::from_nanos(1))
            });
        });
    }
    group.finish();
}
