//! What the library holds, as the admin listener and the terminal show it.

use serde::Serialize;

/// A presentation, summed up.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Its name: the first segments of its URLs.
    pub name: String,
    /// Whether it is live.
    pub live: bool,
    /// Seconds; `None` while live.
    pub duration_s: Option<f64>,
    /// Path of the HLS multivariant playlist on the media listener; `None` if HLS can't be offered.
    pub hls: Option<String>,
    /// Path of the DASH MPD on the media listener; `None` if DASH can't be offered.
    pub dash: Option<String>,
    /// Which rule made it one presentation, a short sentence.
    pub rule: String,
    /// Its tracks.
    pub tracks: Vec<TrackListing>,
    /// What was left out and what is odd, in sentences.
    pub warnings: Vec<String>,
}

/// A track, summed up.
#[derive(Clone, Debug, Serialize)]
pub struct TrackListing {
    /// Its name in URLs.
    pub name: String,
    /// `video`, `audio` or `text`.
    pub kind: String,
    /// RFC 6381.
    pub codec: String,
    /// BCP 47.
    pub language: Option<String>,
    /// Peak bits a second.
    pub bandwidth: u64,
    /// Number of segments.
    pub segments: usize,
    /// Pixels, of video.
    pub width: Option<u16>,
    /// Pixels, of video.
    pub height: Option<u16>,
    /// Frames a second, of video.
    pub frame_rate: Option<f64>,
    /// Of audio.
    pub channels: Option<u16>,
    /// Samples a second, of audio.
    pub sample_rate: Option<u32>,
    /// Common Encryption scheme, of protected tracks.
    pub protection: Option<String>,
}

/// How full the cache is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fill {
    /// Its instances.
    pub classes: Vec<ClassFill>,
}

/// How full one instance of the cache is.
#[derive(Clone, Debug, Serialize)]
pub struct ClassFill {
    /// `index`, `init`, `manifest` or `segment`.
    pub name: String,
    /// Bytes of memory it keeps.
    pub bytes: u64,
    /// Objects.
    pub entries: u64,
    /// Bytes of memory it may keep.
    pub ceiling: u64,
}
