//! Opus: its specific box (Encapsulation of Opus in ISO Base Media File Format §4.3.2, `dOps`).
//!
//! ```text
//!   Version:8 OutputChannelCount:8 PreSkip:16 InputSampleRate:32 OutputGain:16 ChannelMappingFamily:8 […]
//! ```

use super::cicp;
use super::error::Malformed;
use super::fields::Fields;

/// Samples a second that every Opus decoder puts out in ISOBMFF, whatever was encoded (§4.3.1).
pub const SAMPLE_RATE: u32 = 48_000;

/// OpusSpecificBox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// OutputChannelCount, at least 1.
    pub channels: u16,
    /// ChannelConfiguration of ISO/IEC 23091-3, of mapping families 0 and 1 (RFC 7845 §5.1.1).
    pub configuration: Option<u8>,
}

impl Configuration {
    /// Reads the payload of a `dOps`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        let start = fields.offset();
        let version = fields.u8()?;
        if version != 0 {
            return Err(Malformed::new(format!("version {version}, not 0"), start));
        }
        let channels = u16::from(fields.u8()?);
        if channels == 0 {
            return Err(Malformed::new("OutputChannelCount 0", start));
        }
        fields.skip(2 + 4 + 2)?;
        let family = fields.u8()?;
        let configuration = match family {
            0 if channels <= 2 => cicp::xiph_configuration(channels),
            1 => cicp::xiph_configuration(channels),
            _ => None,
        };
        Ok(Configuration { channels, configuration })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        let parse = |channels, family| {
            let bytes = [0, channels, 0x01, 0x38, 0, 0, 0xbb, 0x80, 0, 0, family, 4, 2, 0, 1, 2, 3, 4, 5];
            Configuration::parse(Fields::new(&bytes, 0)).map(|opus| (opus.channels, opus.configuration))
        };
        assert_eq!(parse(2, 0), Ok((2, Some(2))));
        assert_eq!(parse(6, 1), Ok((6, Some(6))));
        assert_eq!(parse(8, 1), Ok((8, Some(12))));
        assert_eq!(parse(4, 255), Ok((4, None)));
        assert!(parse(0, 0).is_err());
    }
}
