//! Writing the DASH MPD of an opened presentation of three tracks, 10 minutes and 2 hours long.

mod common;
#[path = "common/timed.rs"]
mod timed;

use common::{open, origin, synthetic};
use criterion::Throughput;
use headwater::packager::{dash, rate};
use tempfile::TempDir;

fn main() {
    let mut criterion = timed::criterion();
    let folder = TempDir::new().expect("a folder");
    for (name, seconds) in [("10min", 600), ("2h", 7200)] {
        synthetic::write(&folder.path().join(name), &synthetic::TRACKS, seconds, 16);
    }
    let origin = origin(folder.path(), 1 << 20);
    let mut group = criterion.benchmark_group("mpd");
    for name in ["10min", "2h"] {
        let presentation = open(&origin, name).presentation;
        let segments: usize = presentation.tracks().map(|track| track.segments.len()).sum();
        group.throughput(Throughput::Elements(segments as u64));
        let rates = rate::measure(&presentation);
        group.bench_function(name, |bencher| {
            bencher.iter(|| dash::mpd(&presentation, &rates).expect("DASH can say it"))
        });
        // Bit rates are measured once, when a presentation is opened.
        group.bench_function(format!("rates_{name}"), |bencher| bencher.iter(|| rate::measure(&presentation)));
    }
    group.finish();
    criterion.final_summary();
}
