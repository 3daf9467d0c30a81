//! Opening a presentation of two hours in fragments of two seconds: reading every `moof`, and the model made of them.
//! The files lie in the kernel's page cache.

mod common;

use std::time::Duration;

use common::{open, origin, synthetic};
use criterion::{Criterion, Throughput};
use tempfile::TempDir;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let folder = TempDir::new().expect("a folder");
    synthetic::write(&folder.path().join("video"), &synthetic::TRACKS[..1], 7200, 16);
    synthetic::write(&folder.path().join("three"), &synthetic::TRACKS, 7200, 16);
    let origin = origin(folder.path(), 1 << 20);
    let mut group = criterion.benchmark_group("open");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    for entry in origin.library().catalog().entries.keys() {
        let fragments: usize = open(&origin, entry).presentation.tracks().map(|track| track.fragments.len()).sum();
        group.throughput(Throughput::Elements(fragments as u64));
        let tracks = open(&origin, entry).presentation.tracks().count();
        group.bench_function(format!("2h_tracks_{tracks}"), |bencher| bencher.iter(|| open(&origin, entry)));
    }
    group.finish();
    criterion.final_summary();
}
