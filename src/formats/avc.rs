//! AVC (H.264, ISO/IEC 14496-10): its configuration record (ISO/IEC 14496-15 §5.3.3.1), and what a sequence parameter set
//! says of the pictures' look.
//!
//! ```text
//!   version:8 profile:8 compatibility:8 level:8 111111b lengthSizeMinusOne:2
//!   111b count:5 { length:16 SPS } count:8 { length:16 PPS } [ chroma, depths, SPS extensions ]
//! ```

use super::error::Malformed;
use super::fields::{Bits, Fields};
use super::nal::{self, SequenceParameters, VuiHead};

/// AVCDecoderConfigurationRecord, as far as it names the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// AVCProfileIndication, profile_compatibility, AVCLevelIndication.
    pub profile_compatibility_level: [u8; 3],
    /// Bytes of a NAL unit's length in samples: lengthSizeMinusOne and one.
    pub length_bytes: u8,
    /// Of the first sequence parameter set; `None` if there is none (`avc3`) or it cannot be read.
    pub sequence: Option<SequenceParameters>,
}

impl Configuration {
    /// Reads the payload of an `avcC`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        let start = fields.offset();
        let version = fields.u8()?;
        if version != 1 {
            return Err(Malformed::new(format!("configuration version {version}, not 1"), start));
        }
        let profile_compatibility_level = [fields.u8()?, fields.u8()?, fields.u8()?];
        let length_bytes = (fields.u8()? & 3) + 1;
        let sets = fields.u8()? & 0x1f;
        let mut sequence = None;
        if sets > 0 {
            let length = fields.u16()?;
            // What cannot be read here is for decoders to judge: it says nothing that packaging depends on.
            sequence = sequence_parameters(fields.take(length.into())?).ok();
        }
        Ok(Configuration { profile_compatibility_level, length_bytes, sequence })
    }

    /// RFC 6381 §3.3: `avc1.64001f`, for a sample entry `format`.
    pub fn codecs(&self, format: impl std::fmt::Display) -> String {
        let [profile, compatibility, level] = self.profile_compatibility_level;
        format!("{format}.{profile:02x}{compatibility:02x}{level:02x}")
    }
}

/// Reads a sequence parameter set NAL unit (ISO/IEC 14496-10 §7.3.2.1.1) up to the colour in its VUI.
fn sequence_parameters(nal_unit: &[u8]) -> Result<SequenceParameters, Malformed> {
    let rbsp = nal::rbsp(nal_unit);
    let mut bits = Bits::new(&rbsp);
    bits.skip(8)?; // NAL unit header
    let profile_idc = bits.read(8)?;
    bits.skip(16)?; // constraint_set flags, level_idc
    bits.ue()?; // seq_parameter_set_id
    let mut bit_depth = 8;
    if matches!(profile_idc, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        let chroma_format_idc = bits.ue()?;
        if chroma_format_idc == 3 {
            bits.skip(1)?; // separate_colour_plane_flag
        }
        bit_depth = match bits.ue()? {
            above_8 @ 0..=6 => 8 + above_8 as u8,
            more => return Err(Malformed::new(format!("bit_depth_luma_minus8 {more}, at most 6"), 0)),
        };
        bits.ue()?; // bit_depth_chroma_minus8
        bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
        if bits.flag()? {
            for list in 0..if chroma_format_idc == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?; // log2_max_frame_num_minus4
    match bits.ue()? {
        0 => {
            bits.ue()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.skip(1)?; // delta_pic_order_always_zero_flag
            bits.se()?; // offset_for_non_ref_pic
            bits.se()?; // offset_for_top_to_bottom_field
            for _ in 0..bits.ue()? {
                bits.se()?; // offset_for_ref_frame
            }
        }
        _ => {}
    }
    bits.ue()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    bits.ue()?; // pic_width_in_mbs_minus1
    bits.ue()?; // pic_height_in_map_units_minus1
    if !bits.flag()? {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
    bits.skip(1)?; // direct_8x8_inference_flag
    if bits.flag()? {
        for _crop in 0..4 {
            bits.ue()?;
        }
    }
    let vui = if bits.flag()? { nal::vui_head(&mut bits)? } else { VuiHead::default() };
    Ok(SequenceParameters { bit_depth, vui })
}

/// Passes over a scaling list (ISO/IEC 14496-10 §7.3.2.1.1.1).
fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<(), Malformed> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + i64::from(bits.se()?)).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::cicp::Colour;

    fn parse(bytes: &[u8]) -> Configuration {
        Configuration::parse(Fields::new(bytes, 0)).expect("well formed")
    }

    // High profile level 3.1, 416x234, VUI with colour BT.709
    const HIGH_WITH_COLOUR: &[u8] = &[
        0x01, 0x64, 0x00, 0x1f, 0xff, 0xe1, 0x00, 0x1a, 0x27, 0x64, 0x00, 0x1f, 0xac, 0x52, 0x18, 0x1a, 0x1f, 0xf9,
        0x3f, 0xf0, 0x00, 0x10, 0x00, 0x16, 0xa0, 0x20, 0x20, 0x36, 0xd8, 0x56, 0xbd, 0xef, 0x80, 0x80, 0x01, 0x00,
        0x05, 0x28, 0xf9, 0x4b, 0x09, 0x8b,
    ];

    // High 4:4:4 Predictive level 3, 640x360, VUI with a sample aspect ratio of 1:1 and no colour
    const HIGH_444: &[u8] = &[
        0x01, 0xf4, 0x00, 0x1e, 0xff, 0xe1, 0x00, 0x1b, 0x67, 0xf4, 0x00, 0x1e, 0x91, 0x9b, 0x28, 0x14, 0x05, 0xff,
        0x13, 0x80, 0x88, 0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x01, 0xe0, 0x78, 0xb1, 0x6c, 0xb0, 0x01,
        0x00, 0x06, 0x68, 0xeb, 0xe3, 0xc4, 0x48, 0x44, 0xff, 0xf8, 0xf8, 0x00,
    ];

    #[test]
    fn high_profile_with_colour() {
        let avc = parse(HIGH_WITH_COLOUR);
        assert_eq!(avc.codecs("avc1"), "avc1.64001f");
        let sequence = avc.sequence.expect("readable");
        assert_eq!((sequence.bit_depth, sequence.vui.colour), (8, Some(Colour::BT709)));
    }

    #[test]
    fn high_444_without_colour() {
        let avc = parse(HIGH_444);
        assert_eq!(avc.codecs("avc1"), "avc1.f4001e");
        assert_eq!(
            avc.sequence,
            Some(SequenceParameters { bit_depth: 8, vui: VuiHead { pixel_aspect: Some((1, 1)), colour: None } })
        );
    }

    #[test]
    fn without_parameter_sets_the_string_is_still_exact() {
        let avc = parse(&[1, 0x42, 0xc0, 0x1e, 0xff, 0xe0, 0]);
        assert_eq!((avc.codecs("avc3"), avc.sequence), ("avc3.42c01e".to_owned(), None));
    }

    #[test]
    fn a_parameter_set_that_runs_past_its_box_is_an_error() {
        let error = Configuration::parse(Fields::new(&HIGH_444[..20], 0)).unwrap_err();
        assert_eq!(error.to_string(), "27 bytes wanted, 12 left (at 0x8)");
    }
}
