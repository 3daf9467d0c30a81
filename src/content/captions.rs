//! Looking for captions in pictures, when a presentation is opened.
//!
//! ```text
//!   first    32 places × 4 pictures, spread evenly: are captions carried at all?
//!   if so    16 places × 128 pictures: which services speak?
//! ```
//! Of each picture its first 2 KiB are read, where messages stand: 256 KiB a track that carries none, 4 MiB more of one that does.

use std::ops::Range;

use bytes::Bytes;

use crate::content::file::SourceError;
use crate::content::source::Source;
use crate::formats::captions::Services;
use crate::formats::nal::Codec;
use crate::media::sample::SourceRange;
use crate::media::track::{Caption, Track};

/// Places and pictures that are looked at to see whether captions are carried: encoders that carry them do so in nearly every picture.
const CARRIED: (u32, u32) = (32, 4);
/// Places and pictures that are looked at for services: 128 pictures are two to five seconds, and captions begin every few seconds
/// while somebody speaks.
const SERVICES: (u32, u32) = (16, 128);
/// Bytes of a picture that are read. Captions have 110 at most, and stand before the picture, behind parameter sets.
const HEAD_BYTES: u64 = 2048;

/// Pictures that are asked for at once: one by one a storage far away would answer for a minute. What lies between near ones is read of a
/// storage too, so that more would take memory.
const AT_ONCE: u32 = 256;

/// The captions in the pictures of `track`. `None` if that can't be told: of encrypted pictures, of codecs in which captions have no usual
/// place, and where they are carried but nobody speaks in what was read. Blocks.
pub fn look(source: &Source, track: &Track) -> Option<Vec<Caption>> {
    let codec = Codec::of(&track.entry.format.0).filter(|_| !track.is_protected())?;
    let length_bytes = track.video()?.nal_length_bytes?;
    let read = |(places, pictures)| {
        let mut services = Services::default();
        for some in stretches(track.samples.len(), places, pictures).chunks((AT_ONCE / pictures) as usize) {
            for heads in heads(source, track, some)? {
                services.leap();
                heads.iter().for_each(|head| services.read(codec, length_bytes, head));
            }
        }
        Ok::<_, SourceError>(services)
    };
    // What can't be read now will be said when somebody asks for it.
    if !read(CARRIED).ok()?.is_carried() {
        return Some(Vec::new());
    }
    let found = read(SERVICES).ok()?.found();
    let captions = found.into_iter().map(|service| Caption { service, language: None }).collect();
    Some(captions).filter(|captions: &Vec<Caption>| !captions.is_empty())
}

/// At most `places` stretches of `each` samples, spread evenly over `count`.
fn stretches(count: u32, places: u32, each: u32) -> Vec<Range<u32>> {
    if count <= places * each {
        return std::iter::once(0..count).collect();
    }
    let last = u64::from(count - each);
    let first = |place: u32| (last * u64::from(place) / u64::from(places - 1)) as u32;
    (0..places).map(|place| first(place)..first(place) + each).collect()
}

/// The beginnings of the pictures of each of `stretches`, in the order in which they are shown.
fn heads(source: &Source, track: &Track, stretches: &[Range<u32>]) -> Result<Vec<Vec<Bytes>>, SourceError> {
    let of_stretch = |stretch: &Range<u32>| {
        let mut places: Vec<(i64, SourceRange)> = Vec::with_capacity(stretch.len());
        for (index, sample) in stretch.clone().zip(track.samples.iter(stretch.clone())) {
            if let Some(SourceRange { file, range }) = track.samples.places(index..index + 1).pop() {
                let head = range.start..range.end.min(range.start + HEAD_BYTES);
                let shown = sample.decode_time.saturating_add(sample.composition_offset.into());
                places.push((shown, SourceRange { file, range: head }));
            }
        }
        places.sort_by_key(|(shown, _)| *shown);
        places.into_iter().map(|(_, range)| range).collect::<Vec<SourceRange>>()
    };
    let all: Vec<Vec<SourceRange>> = stretches.iter().map(of_stretch).collect();
    let mut bytes = source.read(&all.concat())?;
    let mut split = |ranges: Vec<SourceRange>| {
        ranges.iter().map(|range| bytes.split_to(range.len() as usize)).collect::<Vec<Bytes>>()
    };
    Ok(all.into_iter().map(&mut split).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_lie_apart_and_end_with_the_track() {
        let of = |count| -> Vec<(u32, u32)> { stretches(count, 32, 4).iter().map(|s| (s.start, s.end)).collect() };
        assert_eq!((of(128), of(0)), (vec![(0, 128)], vec![(0, 0)]));
        let far = of(1_000_000);
        assert_eq!((far.len(), far[0], far[31]), (32, (0, 4), (999_996, 1_000_000)));
        for count in [129, 130, 200, 5000] {
            assert!(of(count).windows(2).all(|pair| pair[0].0 <= pair[1].0), "{count}");
            assert!(of(count).iter().all(|stretch| stretch.1 <= count), "{count}");
        }
    }
}
