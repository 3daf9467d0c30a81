//! CMAF segments (ISO/IEC 23000-19 §7.3): fragments passed through as they came, or rebuilt around the same media.

use crate::media::track::Track;

/// Bytes of segment `index` of `track` as it is sent.
pub fn segment_len(track: &Track, index: usize) -> u64 {
    track.samples.size(track.segment_samples(index))
}
