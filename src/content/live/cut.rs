//! Cuts a chunk of sound at a frame, so that segments of sound begin where those of pictures do, whatever the encoder's chunks are.

use bytes::Bytes;

use crate::content::live::pushed::Init;
use crate::content::live::receiver::RawChunk;
use crate::formats::isobmff::fragment::{NewFragment, RunSample};

/// `raw`, a chunk of the track that `init` begins, as what is presented before `time`, in ticks, and the rest. `None` if it has nothing
/// before or nothing after, or is of a form that is not cut: encrypted, grouped, or its bytes elsewhere than one after another.
pub fn at(init: &Init, raw: &RawChunk, time: i64) -> Option<(RawChunk, RawChunk)> {
    let (fragment, media) = init.plain_run(raw)?;
    let mut decoded = fragment.base_media_decode_time as i64 - init.face.media_time;
    let (mut count, mut bytes) = (0, 0);
    for sample in &fragment.samples {
        if decoded.saturating_add(sample.composition_offset.into()) >= time {
            break;
        }
        decoded = decoded.saturating_add(sample.duration.into());
        bytes += sample.size as usize;
        count += 1;
    }
    if count == 0 || count == fragment.samples.len() || bytes > media.len() {
        return None;
    }
    let (before, after) = fragment.samples.split_at(count);
    let passed: u64 = before.iter().map(|sample| u64::from(sample.duration)).sum();
    let piece = |samples: &[RunSample], base: u64| NewFragment {
        samples: samples.to_vec(),
        base_media_decode_time: base,
        ..fragment.clone()
    };
    let first = piece(before, fragment.base_media_decode_time);
    let second = piece(after, fragment.base_media_decode_time + passed);
    // What precedes the moof, events for one, comes before what it speaks of.
    let head = &raw.bytes[..raw.moof.start];
    let first = written(head, &first, &media[..bytes]);
    let second = written(&[], &second, &media[bytes..]);
    Some((RawChunk { is_last: false, ..first }, RawChunk { is_last: raw.is_last, ..second }))
}

fn written(head: &[u8], fragment: &NewFragment, media: &[u8]) -> RawChunk {
    // It ends with the head of the mdat, of 8 bytes: no chunk has 4 GiB.
    let boxes = fragment.write();
    let moof = head.len()..head.len() + boxes.len() - 8;
    let bytes = Bytes::from([head, &boxes, media].concat());
    RawChunk { bytes, moof, is_last: false }
}
