//! Long fragmented movies, made by repeating the first samples of a track of testdata; what the samples hold is zeros.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::media::sample::Sample;
use headwater::media::track::Track;

use super::{open, origin, testdata};

/// Seconds a fragment: the usual length of a group of pictures.
pub(crate) const FRAGMENT_S: u64 = 2;

/// The tracks of testdata that long presentations are made of: two renditions and a sound.
pub(crate) const TRACKS: [&str; 3] = ["video-144p", "video-90p", "audio-eng"];

/// Writes `track.mp4` in `folder` for each of `tracks`, `seconds` long, in fragments of two seconds. Each sample has
/// `sample_bytes` bytes.
pub(crate) fn write(folder: &Path, tracks: &[&str], seconds: u64, sample_bytes: u32) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let tour = open(&origin(&testdata(), 1 << 20), "tour");
    for name in tracks {
        let (_, track) = tour.presentation.track(name).expect("the tour has it");
        let file = File::create(folder.join(format!("{name}.mp4"))).expect("a file can be made");
        write_track(&mut BufWriter::new(file), track, seconds, sample_bytes).expect("the file can be written");
    }
}

fn write_track(out: &mut impl Write, track: &Track, seconds: u64, sample_bytes: u32) -> std::io::Result<()> {
    let ticks = u64::from(track.timescale.get());
    let start = track.samples.decode_time(0);
    // Every fragment repeats the same samples: those of the first two seconds.
    let span = start + (FRAGMENT_S * ticks) as i64;
    let samples: Vec<RunSample> = track
        .samples
        .iter(0..track.samples.len())
        .take_while(|sample| sample.decode_time < span)
        .map(|Sample { duration, composition_offset, flags, .. }| RunSample {
            duration,
            size: sample_bytes,
            flags: flags.0,
            composition_offset,
        })
        .collect();
    let duration: u64 = samples.iter().map(|sample| u64::from(sample.duration)).sum();
    let media = vec![0; samples.len() * sample_bytes as usize];
    out.write_all(&track.init)?;
    let mut fragment = NewFragment {
        track_id: track.id,
        description_index: 1,
        base_media_decode_time: start as u64,
        samples,
        ..NewFragment::default()
    };
    for _ in 0..seconds * ticks / duration {
        fragment.sequence_number += 1;
        out.write_all(&fragment.write())?;
        out.write_all(&media)?;
        fragment.base_media_decode_time += duration;
    }
    out.flush()
}
