//! HEVC (H.265, ISO/IEC 23008-2): its configuration record (ISO/IEC 14496-15 §8.3.3.1), and what a sequence parameter set
//! says of the pictures' look.
//!
//! ```text
//!   version:8 profile_space:2 tier:1 profile:5 compatibility:32 constraints:48 level:8
//!   1111b:4 segmentation:12 111111b:6 parallelism:2 111111b:6 chroma:2 11111b:5 luma depth:3 11111b:5 chroma depth:3
//!   frame rate:16 flags:8 arrays:8 { completeness:1 0b:1 NAL type:6 count:16 { length:16 NAL unit } }
//! ```

use super::error::Malformed;
use super::fields::{Bits, Fields};
use super::nal::{self, SequenceParameters, VuiHead};

/// HEVCDecoderConfigurationRecord, as far as it names the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// general_profile_space, 0 to 3.
    pub profile_space: u8,
    /// general_tier_flag: true is the High tier.
    pub high_tier: bool,
    /// general_profile_idc, 0 to 31.
    pub profile: u8,
    /// general_profile_compatibility_flags, flag 0 the most significant bit.
    pub compatibility: u32,
    /// general_constraint_indicator_flags.
    pub constraints: [u8; 6],
    /// general_level_idc: 30 times the level.
    pub level: u8,
    /// Bits a luma sample.
    pub bit_depth: u8,
    /// Bytes of a NAL unit's length in samples: lengthSizeMinusOne and one.
    pub length_bytes: u8,
    /// Of the base layer's first sequence parameter set; `None` if there is none (`hev1`) or it cannot be read.
    pub sequence: Option<SequenceParameters>,
}

impl Configuration {
    /// Reads the payload of an `hvcC`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        fields.skip(1)?; // configurationVersion: 1; 0 in files older than the standard
        let general = fields.u8()?;
        let compatibility = fields.u32()?;
        let mut constraints = [0; 6];
        constraints.copy_from_slice(fields.take(6)?);
        let level = fields.u8()?;
        fields.skip(4)?;
        let bit_depth = 8 + (fields.u8()? & 7);
        fields.skip(3)?;
        let length_bytes = (fields.u8()? & 3) + 1;
        let mut sequence = None;
        for _array in 0..fields.u8()? {
            let nal_unit_type = fields.u8()? & 0x3f;
            for _nal_unit in 0..fields.u16()? {
                let length = fields.u16()?;
                let nal_unit = fields.take(length.into())?;
                if nal_unit_type == SPS_NUT && sequence.is_none() && is_base_layer(nal_unit) {
                    // What cannot be read here is for decoders to judge: it says nothing that packaging depends on.
                    sequence = sequence_parameters(nal_unit).ok();
                }
            }
        }
        Ok(Configuration {
            profile_space: general >> 6,
            high_tier: general & 0x20 != 0,
            profile: general & 0x1f,
            compatibility,
            constraints,
            level,
            bit_depth,
            length_bytes,
            sequence,
        })
    }

    /// ISO/IEC 14496-15 §E.3: `hvc1.2.4.L153.B0`, for a sample entry `format`.
    pub fn codecs(&self, format: impl std::fmt::Display) -> String {
        let space = ["", "A", "B", "C"][usize::from(self.profile_space & 3)];
        let tier = if self.high_tier { 'H' } else { 'L' };
        // "in reverse bit order": flag 31 first
        let compatibility = self.compatibility.reverse_bits();
        let mut codecs = format!("{format}.{space}{}.{compatibility:X}.{tier}{}", self.profile, self.level);
        let trailing_zeros = self.constraints.iter().rev().take_while(|&&byte| byte == 0).count();
        for byte in &self.constraints[..self.constraints.len() - trailing_zeros] {
            codecs.push_str(&format!(".{byte:X}"));
        }
        codecs
    }
}

/// nal_unit_type of a sequence parameter set (ISO/IEC 23008-2 table 7-1).
const SPS_NUT: u8 = 33;

/// Is nuh_layer_id 0? Parameter sets of other layers (MV-HEVC) have another syntax.
fn is_base_layer(nal_unit: &[u8]) -> bool {
    matches!(nal_unit, [first, second, ..] if first & 1 == 0 && second >> 3 == 0)
}

/// Reads a sequence parameter set NAL unit (ISO/IEC 23008-2 §7.3.2.2.1) up to the colour in its VUI.
fn sequence_parameters(nal_unit: &[u8]) -> Result<SequenceParameters, Malformed> {
    let rbsp = nal::rbsp(nal_unit);
    let mut bits = Bits::new(&rbsp);
    bits.skip(16 + 4)?; // NAL unit header, sps_video_parameter_set_id
    let max_sub_layers_minus1 = bits.read(3)?;
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut bits, max_sub_layers_minus1)?;
    bits.ue()?; // sps_seq_parameter_set_id
    if bits.ue()? == 3 {
        bits.skip(1)?; // separate_colour_plane_flag
    }
    bits.ue()?; // pic_width_in_luma_samples
    bits.ue()?; // pic_height_in_luma_samples
    if bits.flag()? {
        for _window_offset in 0..4 {
            bits.ue()?;
        }
    }
    let bit_depth = match bits.ue()? {
        above_8 @ 0..=8 => 8 + above_8 as u8,
        more => return Err(Malformed::new(format!("bit_depth_luma_minus8 {more}, at most 8"), 0)),
    };
    bits.ue()?; // bit_depth_chroma_minus8
    let pic_order_cnt_lsb_bits = match bits.ue()? {
        above_4 @ 0..=12 => 4 + above_4 as usize,
        more => return Err(Malformed::new(format!("log2_max_pic_order_cnt_lsb_minus4 {more}, at most 12"), 0)),
    };
    let all_sub_layers = bits.flag()?;
    for _sub_layer in if all_sub_layers { 0 } else { max_sub_layers_minus1 }..=max_sub_layers_minus1 {
        for _ordering_info in 0..3 {
            bits.ue()?;
        }
    }
    for _block_size in 0..6 {
        bits.ue()?;
    }
    if bits.flag()? && bits.flag()? {
        skip_scaling_list_data(&mut bits)?;
    }
    bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag()? {
        bits.skip(8)?; // pcm sample bit depths
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?; // pcm_loop_filter_disabled_flag
    }
    skip_short_term_ref_pic_sets(&mut bits)?;
    if bits.flag()? {
        for _ in 0..bits.ue()? {
            bits.skip(pic_order_cnt_lsb_bits + 1)?; // lt_ref_pic_poc_lsb_sps, used_by_curr_pic_lt_sps_flag
        }
    }
    bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    let vui = if bits.flag()? { nal::vui_head(&mut bits)? } else { VuiHead::default() };
    Ok(SequenceParameters { bit_depth, vui })
}

/// Passes over `profile_tier_level(1, max_sub_layers_minus1)` (ISO/IEC 23008-2 §7.3.3).
fn skip_profile_tier_level(bits: &mut Bits<'_>, max_sub_layers_minus1: u32) -> Result<(), Malformed> {
    const PROFILE_BITS: usize = 88;
    const LEVEL_BITS: usize = 8;
    bits.skip(PROFILE_BITS + LEVEL_BITS)?;
    if max_sub_layers_minus1 == 0 {
        return Ok(());
    }
    let mut sub_layer_bits = 0;
    for _sub_layer in 0..max_sub_layers_minus1 {
        sub_layer_bits += if bits.flag()? { PROFILE_BITS } else { 0 };
        sub_layer_bits += if bits.flag()? { LEVEL_BITS } else { 0 };
    }
    let reserved = 2 * (8 - max_sub_layers_minus1 as usize);
    bits.skip(reserved + sub_layer_bits)
}

/// Passes over `scaling_list_data` (ISO/IEC 23008-2 §7.3.4).
fn skip_scaling_list_data(bits: &mut Bits<'_>) -> Result<(), Malformed> {
    for size_id in 0..4u32 {
        for _matrix in 0..if size_id == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.ue()?; // scaling_list_pred_matrix_id_delta
                continue;
            }
            if size_id > 1 {
                bits.se()?; // scaling_list_dc_coef_minus8
            }
            for _coefficient in 0..64.min(1 << (4 + 2 * size_id)) {
                bits.se()?;
            }
        }
    }
    Ok(())
}

/// Passes over the count of short-term reference picture sets and the sets (ISO/IEC 23008-2 §7.3.7).
fn skip_short_term_ref_pic_sets(bits: &mut Bits<'_>) -> Result<(), Malformed> {
    let mut num_delta_pocs = 0;
    for set in 0..bits.ue()? {
        if set > 0 && bits.flag()? {
            bits.skip(1)?; // delta_rps_sign
            bits.ue()?; // abs_delta_rps_minus1
            let mut kept = 0;
            for _picture in 0..=num_delta_pocs {
                let used_by_curr_pic = bits.flag()?;
                if used_by_curr_pic || bits.flag()? {
                    kept += 1;
                }
            }
            num_delta_pocs = kept;
        } else {
            let (negative, positive) = (bits.ue()?, bits.ue()?);
            // sps_max_dec_pic_buffering_minus1 bounds both, and is itself below 16
            if negative > 16 || positive > 16 {
                return Err(Malformed::new(format!("{negative} and {positive} reference pictures, at most 16"), 0));
            }
            for _picture in 0..negative + positive {
                bits.ue()?; // delta_poc_minus1
                bits.skip(1)?; // used_by_curr_pic_flag
            }
            num_delta_pocs = negative + positive;
        }
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

    // Main 10, level 3, with VPS, SPS (BT.2020, PQ) and PPS
    const MAIN_10: &[u8] = &[
        0x01, 0x02, 0x20, 0x00, 0x00, 0x00, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x5a, 0xf0, 0x00, 0xfc, 0xfd, 0xfa,
        0xfa, 0x00, 0x00, 0x0f, 0x03, 0xa0, 0x00, 0x01, 0x00, 0x18, 0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x02, 0x20,
        0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5a, 0x95, 0x98, 0x09, 0xa1, 0x00,
        0x01, 0x00, 0x37, 0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x03, 0x00, 0x5a, 0xa0, 0x05, 0x02, 0x01, 0x69, 0x36, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x84, 0x88,
        0x04, 0xf0, 0x80, 0x00, 0x01, 0xf4, 0x80, 0x00, 0x75, 0x30, 0x30, 0x0e, 0x6b, 0x3f, 0x00, 0x04, 0x93, 0xe0,
        0x00, 0x92, 0x7c, 0x40, 0xa2, 0x00, 0x01, 0x00, 0x07, 0x44, 0x01, 0xc1, 0x72, 0xa6, 0x46, 0x24,
    ];

    // The sequence parameter set of an HDR10 stream: BT.2020, PQ
    const HDR10_SPS: &[u8] = &[
        0x42, 0x01, 0x01, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f,
        0xa0, 0x05, 0x02, 0x01, 0x69, 0x36, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0, 0x5a, 0x84, 0x88, 0x04, 0x82, 0x00,
        0x00, 0x07, 0xd2, 0x00, 0x00, 0xea, 0x60, 0x10,
    ];

    // The sequence parameter set of an 8-bit stream whose VUI says nothing of colour
    const MAIN_SPS: &[u8] = &[
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f,
        0xa0, 0x05, 0x02, 0x01, 0x69, 0x65, 0x99, 0x9a, 0x49, 0x32, 0xbc, 0x04, 0x04, 0x00, 0x00, 0x0f, 0xa4, 0x00,
        0x01, 0xd4, 0xc0, 0x20,
    ];

    #[test]
    fn main_10() {
        let hevc = parse(MAIN_10);
        assert_eq!(hevc.codecs("hvc1"), "hvc1.2.4.L90.90");
        assert_eq!(hevc.bit_depth, 10);
        let colour = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        assert_eq!(hevc.sequence.expect("readable").vui.colour, Some(colour));
    }

    #[test]
    fn perceptual_quantizer_is_read_from_the_sequence_parameter_set() {
        let sequence = sequence_parameters(HDR10_SPS).expect("readable");
        let colour = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        assert_eq!((sequence.bit_depth, sequence.vui.colour), (10, Some(colour)));
    }

    #[test]
    fn a_sequence_parameter_set_without_colour() {
        let sequence = sequence_parameters(MAIN_SPS).expect("readable");
        assert_eq!((sequence.bit_depth, sequence.vui.colour), (8, None));
    }

    #[test]
    fn profile_space_high_tier_and_every_constraint_byte_are_written() {
        // an example of ISO/IEC 14496-15 §E.3
        let mut bytes = MAIN_10.to_vec();
        bytes[1] = 1 << 6 | 1 << 5 | 4;
        bytes[2..6].copy_from_slice(&0x41u32.reverse_bits().to_be_bytes());
        bytes[6..12].copy_from_slice(&[0xb0, 0x23, 0, 0, 0, 0]);
        bytes[12] = 120;
        assert_eq!(parse(&bytes).codecs("hev1"), "hev1.A4.41.H120.B0.23");
        bytes[6..12].copy_from_slice(&[0xb0, 0, 0x0a, 0, 0, 1]);
        assert_eq!(parse(&bytes).codecs("hev1"), "hev1.A4.41.H120.B0.0.A.0.0.1");
        bytes[6..12].fill(0);
        assert_eq!(parse(&bytes).codecs("hev1"), "hev1.A4.41.H120");
    }

    #[test]
    fn parameter_sets_of_another_layer_are_passed_over() {
        let mut bytes = MAIN_10.to_vec();
        bytes[58] = 1 << 3 | 1; // nuh_layer_id 1 in the SPS
        assert_eq!(parse(&bytes).sequence, None);
    }
}
