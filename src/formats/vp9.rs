//! VP9: its configuration record (VP Codec ISO Media File Format Binding, `vpcC`).
//!
//! ```text
//!   version:8 flags:24 profile:8 level:8 bitDepth:4 chromaSubsampling:3 fullRange:1
//!   primaries:8 transfer:8 matrix:8 initDataSize:16
//! ```

use super::cicp::Colour;
use super::error::Malformed;
use super::fields::Fields;

/// VPCodecConfigurationRecord.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Profile, 0 to 3.
    pub profile: u8,
    /// Ten times the level; 0 where it is not known.
    pub level: u8,
    /// Bits a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// chromaSubsampling: 0 and 1 are 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    pub chroma_subsampling: u8,
    /// Colour, where it is specified. Version 0 of the box numbers it in a way of its own, and it is passed over there.
    pub colour: Option<Colour>,
}

impl Configuration {
    /// Reads the payload of a `vpcC`, version 0 or 1.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        let start = fields.offset();
        let (version, _) = fields.version_and_flags()?;
        let (profile, level, depth) = (fields.u8()?, fields.u8()?, fields.u8()?);
        let bit_depth = depth >> 4;
        match version {
            0 => {
                let chroma_subsampling = fields.u8()? >> 4;
                Ok(Configuration { profile, level, bit_depth, chroma_subsampling, colour: None })
            }
            1 => {
                let (primaries, transfer, matrix) = (fields.u8()?, fields.u8()?, fields.u8()?);
                let colour = Colour { primaries, transfer, matrix, full_range: depth & 1 == 1 }.if_specified();
                Ok(Configuration { profile, level, bit_depth, chroma_subsampling: depth >> 1 & 7, colour })
            }
            version => Err(Malformed::new(format!("version {version}, not 0 or 1"), start)),
        }
    }

    /// VP Codec ISO Media File Format Binding, "Codecs Parameter String": `vp09.02.51.10`, with the optional fields (all or
    /// none of them) only where their defaults are wrong: 4:2:0, BT.709, narrow range.
    pub fn codecs(&self, format: impl std::fmt::Display) -> String {
        let short = format!("{format}.{:02}.{:02}.{:02}", self.profile, self.level, self.bit_depth);
        let colour = self.colour.unwrap_or(Colour::BT709);
        if self.chroma_subsampling <= 1 && colour == Colour::BT709 {
            return short;
        }
        let Colour { primaries, transfer, matrix, full_range } = colour;
        format!(
            "{short}.{:02}.{primaries:02}.{transfer:02}.{matrix:02}.{:02}",
            self.chroma_subsampling,
            u8::from(full_range)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Configuration {
        Configuration::parse(Fields::new(bytes, 0)).expect("well formed")
    }

    #[test]
    fn profile_0_of_unspecified_colour_is_the_short_form() {
        let vp9 = parse(&[1, 0, 0, 0, 0, 0x15, 0x80, 2, 2, 2, 0, 0]);
        assert_eq!((vp9.codecs("vp09"), vp9.colour), ("vp09.00.21.08".to_owned(), None));
    }

    #[test]
    fn profile_2_perceptual_quantizer_is_the_long_form() {
        // The example of the binding: profile 2, level 1, 10 bits, 4:2:0, BT.2020, PQ, full range
        let vp9 = parse(&[1, 0, 0, 0, 2, 10, 0xa3, 9, 16, 9, 0, 0]);
        assert_eq!(vp9.codecs("vp09"), "vp09.02.10.10.01.09.16.09.01");
        assert_eq!(vp9.colour, Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: true }));
    }

    #[test]
    fn a_profile_of_444_names_its_subsampling() {
        let vp9 = parse(&[1, 0, 0, 0, 1, 31, 0x86, 2, 2, 2, 0, 0]);
        assert_eq!(vp9.codecs("vp09"), "vp09.01.31.08.03.01.01.01.00");
    }

    #[test]
    fn version_0_keeps_the_depth_in_the_same_place() {
        // bitDepth 8, colorSpace 2, chroma 1
        assert_eq!(parse(&[0, 0, 0, 0, 0, 31, 0x82, 0x10, 0, 0]).codecs("vp09"), "vp09.00.31.08");
    }

    #[test]
    fn another_version_is_an_error() {
        let error = Configuration::parse(Fields::new(&[2, 0, 0, 0, 0, 0, 0x80, 2, 2, 2, 0, 0], 8)).unwrap_err();
        assert_eq!(error.to_string(), "version 2, not 0 or 1 (at 0x8)");
    }
}
