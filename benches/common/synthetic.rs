//! Long movies: fragmented ones, made by repeating the first samples of a track of testdata, and progressive ones of tables alone; what
//! the samples hold is zeros.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use headwater::formats::isobmff::boxes::{BoxRef, write_box, write_full_box};
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::formats::isobmff::movie::find_moov;
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

/// A track of a progressive movie to be made.
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    /// Whether it is pictures, at 30 a second, three of four presented at another time than decoded; else sound, AAC at 48 kHz.
    pub(crate) is_video: bool,
    /// Samples a chunk: what an interleaving writer puts side by side.
    pub(crate) samples_per_chunk: u32,
}

/// A picture and a sound, chunks of a few samples in turns: two hours of it have a `moov` of about 6 MB.
pub(crate) const FILM: [Listed; 2] =
    [Listed { is_video: true, samples_per_chunk: 2 }, Listed { is_video: false, samples_per_chunk: 3 }];

/// Writes a progressive movie of `tracks`, `seconds` long: a `moov` with all tables in full, and after it a hole for media, 16 bytes a
/// sample. Sample entries are those of testdata's progressive file. Returns the bytes of the `moov`.
pub(crate) fn write_progressive(path: &Path, tracks: &[Listed], seconds: u32) -> u64 {
    let donor = std::fs::read(testdata().join("progressive.mp4")).expect("testdata is there");
    let donor = find_moov(&donor).expect("well formed").expect("it has one");
    let mut moov = moov(donor, tracks, seconds, 0);
    // As long again with the offsets that its length makes.
    moov = self::moov(donor, tracks, seconds, moov.len() as u64 + 16);
    let media = tracks.iter().map(|track| u64::from(track.samples(seconds)) * LISTED_BYTES).sum::<u64>();
    let mut file = File::create(path).expect("a file can be made");
    file.write_all(&moov).expect("the file can be written");
    file.write_all(&[0, 0, 0, 1]).expect("the file can be written");
    file.write_all(b"mdat").expect("the file can be written");
    file.write_all(&(media + 16).to_be_bytes()).expect("the file can be written");
    file.set_len(moov.len() as u64 + 16 + media).expect("the file can grow");
    moov.len() as u64
}

/// Bytes of a sample of a progressive movie.
const LISTED_BYTES: u64 = 16;

impl Listed {
    fn samples(self, seconds: u32) -> u32 {
        if self.is_video { seconds * 30 } else { (u64::from(seconds) * 48_000 / 1024) as u32 }
    }
}

fn moov(donor: BoxRef<'_>, tracks: &[Listed], seconds: u32, media_at: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut media_at = media_at;
    write_box(&mut out, b"moov", |out| {
        out.extend_from_slice(donor.required(b"mvhd").expect("it has one").bytes());
        for (id, track) in (1..).zip(tracks) {
            let handler: &[u8; 4] = if track.is_video { b"vide" } else { b"soun" };
            let is_like = |trak: &BoxRef<'_>| {
                let hdlr = trak.required(b"mdia").and_then(|mdia| mdia.required(b"hdlr"));
                hdlr.is_ok_and(|hdlr| &hdlr.payload()[8..12] == handler)
            };
            let trak = donor.children().map_while(Result::ok).filter(|b| b.kind.0 == *b"trak").find(is_like);
            write_trak(out, trak.expect("testdata has both"), id, *track, seconds, media_at);
            media_at += u64::from(track.samples(seconds)) * LISTED_BYTES;
        }
    });
    out
}

fn write_trak(out: &mut Vec<u8>, donor: BoxRef<'_>, id: u32, track: Listed, seconds: u32, media_at: u64) {
    let mdia = donor.required(b"mdia").expect("it has one");
    let minf = mdia.required(b"minf").expect("it has one");
    let stsd = minf.required(b"stbl").and_then(|stbl| stbl.required(b"stsd")).expect("it has one");
    let count = track.samples(seconds);
    let (timescale, duration) = if track.is_video { (30u32, 1u32) } else { (48_000, 1024) };
    let put = |out: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| out.extend_from_slice(&v.to_be_bytes()));
    write_box(out, b"trak", |out| {
        let at = out.len();
        out.extend_from_slice(donor.required(b"tkhd").expect("it has one").bytes());
        out[at + 20..at + 24].copy_from_slice(&id.to_be_bytes());
        write_box(out, b"mdia", |out| {
            let at = out.len();
            out.extend_from_slice(mdia.required(b"mdhd").expect("it has one").bytes());
            out[at + 20..at + 24].copy_from_slice(&timescale.to_be_bytes());
            // A language of its own, or equal sounds would be listed once.
            out[at + 28..at + 30].copy_from_slice(&(0x15c0 + id as u16).to_be_bytes());
            out.extend_from_slice(mdia.required(b"hdlr").expect("it has one").bytes());
            write_box(out, b"minf", |out| {
                for child in minf.children().map_while(Result::ok).filter(|b| b.kind.0 != *b"stbl") {
                    out.extend_from_slice(child.bytes());
                }
                write_box(out, b"stbl", |out| {
                    out.extend_from_slice(stsd.bytes());
                    write_full_box(out, b"stts", 0, 0, |out| put(out, &[1, count, duration]));
                    if track.is_video {
                        // I b b P, decoded as I P b b: one entry a sample, as writers do.
                        write_full_box(out, b"ctts", 0, 0, |out| {
                            put(out, &[count]);
                            (0..count).for_each(|n| put(out, &[1, [2, 4, 1, 1][n as usize % 4]]));
                        });
                        write_full_box(out, b"stss", 0, 0, |out| {
                            put(out, &[count.div_ceil(60)]);
                            (0..count).step_by(60).for_each(|n| put(out, &[n + 1]));
                        });
                    }
                    write_full_box(out, b"stsz", 0, 0, |out| {
                        put(out, &[0, count]);
                        (0..count).for_each(|_| put(out, &[LISTED_BYTES as u32]));
                    });
                    let each = track.samples_per_chunk;
                    write_full_box(out, b"stsc", 0, 0, |out| put(out, &[1, 1, each, 1]));
                    // Chunks from the last to the first: no two follow one another, as in a file that is interleaved.
                    let chunks = count.div_ceil(each);
                    write_full_box(out, b"co64", 0, 0, |out| {
                        put(out, &[chunks]);
                        for chunk in (0..chunks).rev() {
                            let first = chunk * each;
                            let end = media_at + u64::from(count) * LISTED_BYTES;
                            let offset = media_at + u64::from(first) * LISTED_BYTES;
                            let room = end - u64::from(each.min(count)) * LISTED_BYTES;
                            out.extend_from_slice(&offset.min(room).to_be_bytes());
                        }
                    });
                });
            });
        });
    });
}
