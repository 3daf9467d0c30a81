//! Audio that several movies of a presentation repeat.

use std::ops::Range;

use crate::content::source::Source;
use crate::media::sample::SourceRange;
use crate::media::track::{Kind, Track};

/// Muxed renditions often carry the same audio each; it is listed once. Beside each track is a hash of what its files hold.
pub(crate) fn leave_out(tracks: &mut Vec<(Track, [u8; 32])>, source: &Source, warnings: &mut Vec<String>) {
    let mut index = 0;
    while index < tracks.len() {
        let (candidate, earlier) = (&tracks[index].0, &tracks[..index]);
        let twin = (candidate.kind == Kind::Audio)
            .then(|| earlier.iter().find(|(track, _)| same_media(track, candidate, source)))
            .flatten()
            .map(|(track, _)| track.name.clone());
        match twin {
            Some(twin) => {
                let (left_out, _) = tracks.remove(index);
                warnings.push(format!("{}: the same audio as {twin}, listed once", left_out.name));
            }
            None => index += 1,
        }
    }
}

/// How many samples of two tracks are compared byte by byte at either end, after every size and time has been found equal.
const COMPARED_SAMPLES: u32 = 32;
/// How many are in between, spread evenly: two programmes in one constant bit rate may begin and end in the same silence.
const COMPARED_PLACES: u32 = 16;
/// The most bytes that all of them may have. Sound has a tenth of it; a file may claim that each of its samples is all of it.
const COMPARED_BYTES_MAX: u64 = 8 << 20;

/// Whether two tracks hold the same samples at the same times.
fn same_media(a: &Track, b: &Track, source: &Source) -> bool {
    let (n, m) = (a.samples.len(), b.samples.len());
    let alike = a.kind == b.kind
        && a.entry == b.entry
        && a.language == b.language
        && a.roles == b.roles
        && a.timescale == b.timescale
        && n == m
        && a.samples.sizes(0..n) == b.samples.sizes(0..m)
        && a.samples.decode_time(0) - a.media_time == b.samples.decode_time(0) - b.media_time
        && a.samples.end() - a.media_time == b.samples.end() - b.media_time;
    if !alike {
        return false;
    }
    let between = (1..=COMPARED_PLACES).map(|place| {
        let sample = (u64::from(n) * u64::from(place) / u64::from(COMPARED_PLACES + 1)) as u32;
        sample..n.min(sample + 1)
    });
    let ends = [0..n.min(COMPARED_SAMPLES), n.saturating_sub(COMPARED_SAMPLES)..n];
    let compared: Vec<Range<u32>> = ends.into_iter().chain(between).collect();
    let bytes: u64 = compared.iter().map(|range| a.samples.size(range.clone())).sum();
    let read = |track: &Track| {
        let places: Vec<SourceRange> = compared.iter().flat_map(|range| track.samples.places(range.clone())).collect();
        source.read(&places).ok()
    };
    bytes <= COMPARED_BYTES_MAX && read(a).is_some_and(|of_a| read(b).is_some_and(|of_b| of_a == of_b))
}
