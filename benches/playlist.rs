//! Writing HLS playlists of an opened presentation of three tracks, 10 minutes and 2 hours long.

mod common;
#[path = "common/timed.rs"]
mod timed;

use common::{open, origin, synthetic};
use criterion::Throughput;
use headwater::packager::hls::rendition::Renditions;
use headwater::packager::{hls, rate};
use tempfile::TempDir;

fn main() {
    let mut criterion = timed::criterion();
    let folder = TempDir::new().expect("a folder");
    for (name, seconds) in [("10min", 600), ("2h", 7200)] {
        synthetic::write(&folder.path().join(name), &synthetic::TRACKS, seconds, 16);
    }
    let origin = origin(folder.path(), 1 << 20);
    let options = hls::Options::default();
    let mut group = criterion.benchmark_group("playlist");
    for name in ["10min", "2h"] {
        let presentation = open(&origin, name).presentation;
        let rates = rate::measure(&presentation);
        let renditions = Renditions::of(&presentation, &rates);
        let (_, track) = presentation.track("video-144p").expect("it was written");
        let rendition = renditions.find(&track.name, track.version).expect("HLS lists it");
        let media = || hls::media::playlist(&presentation, rendition, &options).expect("HLS can say it");
        group.throughput(Throughput::Elements(track.segments.len() as u64));
        group.bench_function(format!("media_{name}"), |bencher| bencher.iter(media));
        let multivariant =
            || hls::multivariant::playlist(&presentation, &renditions, &options).expect("HLS can say it");
        group.throughput(Throughput::Elements(synthetic::TRACKS.len() as u64));
        group.bench_function(format!("multivariant_{name}"), |bencher| bencher.iter(multivariant));
    }
    group.finish();
    criterion.final_summary();
}
