//! FLAC: its specific box (Encapsulation of FLAC in ISO Base Media File Format §3.3.2, `dfLa`) and STREAMINFO (RFC 9639
//! §8.2).
//!
//! ```text
//!   version:8 flags:24 { last:1 type:7 length:24 data… }      the first block is STREAMINFO:
//!   block sizes:32 frame sizes:48 sample rate:20 channels - 1:3 bits a sample - 1:5 samples:36 MD5:128
//! ```

use super::cicp;
use super::error::Malformed;
use super::fields::{Bits, Fields};

/// What STREAMINFO says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Channels, 1 to 8.
    pub channels: u16,
    /// Samples a second, at least 1.
    pub sample_rate: u32,
    /// ChannelConfiguration of ISO/IEC 23091-3 (RFC 9639 §9.1.3).
    pub configuration: Option<u8>,
}

impl Configuration {
    /// Reads the payload of a `dfLa`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        const STREAMINFO: u8 = 0;
        fields.version_and_flags()?;
        let start = fields.offset();
        let block_type = fields.u8()? & 0x7f;
        let length = fields.u24()?;
        if block_type != STREAMINFO {
            return Err(Malformed::new(
                format!("the first metadata block is of type {block_type}, not STREAMINFO"),
                start,
            ));
        }
        let stream_info_at = fields.offset();
        let mut bits = Bits::new(fields.take(length as usize)?);
        let mut read = || {
            bits.skip(32 + 48)?;
            Ok((bits.read(20)?, bits.read(3)? as u16 + 1))
        };
        let (sample_rate, channels) = read().map_err(|e: Malformed| e.shifted(stream_info_at))?;
        if sample_rate == 0 {
            return Err(Malformed::new("a sample rate of 0", stream_info_at));
        }
        Ok(Configuration { channels, sample_rate, configuration: cicp::xiph_configuration(channels) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // 44.1 kHz, stereo, 16 bits
    const STEREO: &[u8] = &[
        0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x22, 0x12, 0x00, 0x12, 0x00, 0x00, 0x00, 0x10, 0x00, 0x23, 0x8e,
        0x0a, 0xc4, 0x43, 0x70, 0x00, 0x01, 0xd8, 0x00, 0x75, 0x30, 0x88, 0x11, 0x2d, 0xd5, 0x7a, 0x13, 0xe7, 0xf7,
        0x22, 0xd0, 0xee, 0x56, 0xae, 0xa3,
    ];

    #[test]
    fn stereo() {
        let flac = Configuration::parse(Fields::new(STEREO, 0)).expect("well formed");
        assert_eq!((flac.channels, flac.sample_rate, flac.configuration), (2, 44_100, Some(2)));
    }

    #[test]
    fn a_block_cut_short_is_an_error() {
        let mut bytes = STEREO[..20].to_vec();
        bytes[7] = 12;
        let error = Configuration::parse(Fields::new(&bytes, 0x20)).unwrap_err();
        assert_eq!(error.to_string(), "20 bits wanted, 16 left (at 0x32)");
    }

    #[test]
    fn another_first_block_is_an_error() {
        assert!(Configuration::parse(Fields::new(&[0, 0, 0, 0, 0x84, 0, 0, 0], 0)).is_err());
    }
}
