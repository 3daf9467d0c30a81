//! Sample entries (ISO/IEC 14496-12 §8.5.2): what one says of its codec, and the RFC 6381 string for it.
//!
//! The entry itself is carried verbatim; this only reads it.

use super::boxes::{BoxRef, FourCc};
use crate::formats::error::Malformed;

/// What a sample entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEntry {
    /// The entry's type; of an encrypted entry (`encv`, `enca`, `enct`) the original one, from `frma`.
    pub format: FourCc,
    /// RFC 6381 `codecs` parameter, exact: `avc1.64001f`, `mp4a.40.2`.
    pub codecs: String,
    /// What may be played instead by who can, HLS `SUPPLEMENTAL-CODECS` form: `dvh1.08.07/db4h`.
    pub supplemental_codecs: Option<String>,
    /// What is particular to the kind of media.
    pub media: Media,
    /// Common Encryption of the samples, if any.
    pub protection: Option<Protection>,
}

/// What is particular to a kind of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// Pictures.
    Video(Video),
    /// Sound.
    Audio(Audio),
    /// Timed text and subtitles.
    Text,
}

/// Pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Coded width in pixels.
    pub width: u16,
    /// Coded height in pixels.
    pub height: u16,
    /// `hSpacing:vSpacing` of `pasp`, or of the codec's configuration.
    pub pixel_aspect: Option<(u32, u32)>,
    /// From `colr` (`nclx`), else from the codec's configuration.
    pub colour: Option<Colour>,
    /// Bits a luma sample, where the configuration says.
    pub bit_depth: Option<u8>,
}

/// Colour as ISO/IEC 23091-2 numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// ColourPrimaries.
    pub primaries: u8,
    /// TransferCharacteristics.
    pub transfer: u8,
    /// MatrixCoefficients.
    pub matrix: u8,
    /// VideoFullRangeFlag.
    pub full_range: bool,
}

/// Sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Channels a listener gets (after parametric stereo; of E-AC-3 with dependent substreams, of all of them).
    pub channels: u16,
    /// Samples a second that a decoder puts out (after spectral band replication).
    pub sample_rate: u32,
    /// How the channels lie.
    pub layout: ChannelLayout,
}

/// How channels lie, in the terms of the codec that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelLayout {
    /// ChannelConfiguration of ISO/IEC 23091-3 (MPEG codecs: AAC, xHE-AAC).
    Cicp(u8),
    /// The 16-bit mask of ETSI TS 102 366 table E.1.3 (`chanmap`), and the complexity index of Atmos in E-AC-3
    /// (TS 103 420), if it is there.
    Dolby {
        /// Channel map, bit 15 is L.
        map: u16,
        /// Joint object coding: its complexity index.
        joc_complexity: Option<u8>,
    },
    /// AC-4: the 24-bit presentation channel mask of ETSI TS 103 190-2 §E.10, and whether it is channel coded.
    Ac4 {
        /// `dsi_presentation_channel_mask_v1`; `None` for object audio.
        mask: Option<u32>,
    },
    /// Only their number is known.
    Count,
}

/// Common Encryption (ISO/IEC 23001-7 §8.2 `tenc`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// `cenc`, `cbcs`, …
    pub scheme: FourCc,
    /// default_KID.
    pub default_kid: [u8; 16],
    /// default_isProtected.
    pub is_protected: bool,
    /// default_Per_Sample_IV_Size in bytes: 0, 8 or 16.
    pub per_sample_iv_size: u8,
    /// default_crypt_byte_block and default_skip_byte_block.
    pub pattern: (u8, u8),
    /// default_constant_IV, empty if there is none.
    pub constant_iv: Vec<u8>,
}

/// Reads one entry of a `stsd`.
pub fn parse(_entry: BoxRef<'_>) -> Result<SampleEntry, Malformed> {
    Err(Malformed::new("not written yet", 0))
}
