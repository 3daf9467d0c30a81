//! What AVC and HEVC have in common: emulation prevention in NAL units, and the head of their video usability information.

use super::cicp::{self, Colour};
use super::error::Malformed;
use super::fields::Bits;

/// The raw byte sequence payload of a NAL unit: `00 00 03` becomes `00 00` (ISO/IEC 14496-10 §7.3.1, 23008-2 §7.3.1.1).
pub fn rbsp(nal_unit: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(nal_unit.len());
    let mut zeros = 0;
    for &byte in nal_unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        payload.push(byte);
    }
    payload
}

/// What a sequence parameter set says of the pictures' look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceParameters {
    /// Bits a luma sample.
    pub bit_depth: u8,
    /// From the head of its VUI, if it has one.
    pub vui: VuiHead,
}

/// The first fields of `vui_parameters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VuiHead {
    /// `sar_width:sar_height`, where it is said.
    pub pixel_aspect: Option<(u32, u32)>,
    /// Colour, where it is described.
    pub colour: Option<Colour>,
}

/// Reads the first fields of `vui_parameters` (ISO/IEC 14496-10 §E.1.1, 23008-2 §E.2.1: one syntax).
pub fn vui_head(bits: &mut Bits<'_>) -> Result<VuiHead, Malformed> {
    const EXTENDED_SAR: u8 = 255;
    let mut pixel_aspect = None;
    if bits.flag()? {
        pixel_aspect = match bits.read(8)? as u8 {
            EXTENDED_SAR => Some((bits.read(16)?, bits.read(16)?)).filter(|&(width, height)| width > 0 && height > 0),
            code => cicp::sample_aspect_ratio(code),
        };
    }
    if bits.flag()? {
        bits.skip(1)?; // overscan_appropriate_flag
    }
    let mut colour = None;
    if bits.flag()? {
        bits.skip(3)?; // video_format
        let full_range = bits.flag()?;
        let mut described = Colour::unspecified(full_range);
        if bits.flag()? {
            (described.primaries, described.transfer) = (bits.read(8)? as u8, bits.read(8)? as u8);
            described.matrix = bits.read(8)? as u8;
        }
        colour = described.if_specified();
    }
    Ok(VuiHead { pixel_aspect, colour })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_prevention_goes_and_other_threes_stay() {
        assert_eq!(rbsp(&[0, 0, 3, 1, 3, 0, 3, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 3, 0, 3, 0, 0, 0, 0]);
    }

    #[test]
    fn a_written_out_aspect_ratio_of_zero_is_none() {
        // aspect_ratio_info_present_flag, 255, 0:0, then no overscan, no signal type
        let bytes = [0b1111_1111, 0b1000_0000, 0, 0, 0, 0];
        assert_eq!(vui_head(&mut Bits::new(&bytes)), Ok(VuiHead::default()));
    }
}
