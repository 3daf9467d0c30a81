//! Opening a presentation of two hours: in fragments of two seconds, where every `moof` is read, and progressive, where the `moov` has it
//! all; and the model made of them. Beside it what the `mp4` crate alone takes to read that `moov` from memory.
//! The files lie in the kernel's page cache.

mod common;
#[path = "common/timed.rs"]
mod timed;

use std::io::Cursor;
use std::time::Duration;

use common::{open, origin, synthetic};
use criterion::{Criterion, Throughput};
use mp4::{BoxHeader, MoovBox, ReadBox};
use tempfile::TempDir;

fn main() {
    let mut criterion = timed::criterion();
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
    progressive(&mut criterion);
    criterion.final_summary();
}

/// A picture and a sound of two hours, chunks of a few samples in turns: a `moov` of about 6 MB.
fn progressive(criterion: &mut Criterion) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("film.mp4");
    let moov_bytes = synthetic::write_progressive(&path, &synthetic::FILM, 7200);
    let origin = origin(folder.path(), 1 << 20);
    let mut group = criterion.benchmark_group("open");
    group.sample_size(20).measurement_time(Duration::from_secs(3)).throughput(Throughput::Bytes(moov_bytes));
    group.bench_function("2h_progressive", |bencher| bencher.iter(|| open(&origin, "film")));
    let moov = std::fs::read(&path).expect("it was written")[..moov_bytes as usize].to_vec();
    group.bench_function("2h_progressive_mp4_crate", |bencher| bencher.iter(|| read_with_crate(&moov)));
    group.finish();
}

/// What the `mp4` crate makes of `moov`, by itself.
fn read_with_crate(moov: &[u8]) -> MoovBox {
    let mut reader = Cursor::new(moov);
    let header = BoxHeader::read(&mut reader).expect("a head");
    MoovBox::read_box(&mut reader, header.size).expect("it can be read")
}
