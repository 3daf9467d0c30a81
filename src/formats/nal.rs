//! What AVC and HEVC have in common: NAL units in samples, emulation prevention in them, messages of supplemental enhancement
//! information, and the head of their video usability information.

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

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
}

/// What a NAL unit is, as far as supplemental enhancement information is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of the picture itself.
    Slice,
    /// Of messages that come before it.
    SupplementalInformation,
    /// Anything else.
    Other,
}

impl Codec {
    /// The codec of the sample entry type `format`.
    pub fn of(format: &[u8; 4]) -> Option<Codec> {
        Some(match format {
            b"avc1" | b"avc3" | b"dva1" | b"dvav" => Codec::Avc,
            b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => Codec::Hevc,
            _ => return None,
        })
    }

    /// By nal_unit_type (ISO/IEC 14496-10 table 7-1, 23008-2 table 7-1).
    pub fn class(self, unit: &[u8]) -> Class {
        let Some(&first) = unit.first() else { return Class::Other };
        match (self, first & 0x1f, first >> 1 & 0x3f) {
            (Codec::Avc, 1..=5, _) | (Codec::Hevc, _, 0..=31) => Class::Slice,
            (Codec::Avc, 6, _) | (Codec::Hevc, _, 39) => Class::SupplementalInformation,
            _ => Class::Other,
        }
    }

    /// `unit` without its header.
    pub fn payload(self, unit: &[u8]) -> &[u8] {
        let header = match self {
            Codec::Avc => 1,
            Codec::Hevc => 2,
        };
        unit.get(header..).unwrap_or_default()
    }
}

/// The NAL units of a sample, each after `length_bytes` of length (ISO/IEC 14496-15 §5.3.4.2); of the last as much as is there.
pub fn units(sample: &[u8], length_bytes: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_at_checked(length_bytes.into())?;
        let length = length.iter().fold(0, |length: usize, &byte| length << 8 | usize::from(byte));
        let unit;
        (unit, rest) = after.split_at(length.min(after.len()));
        // Neither lengths nor units, and so no end.
        (length_bytes > 0).then_some(unit)
    })
}

/// The messages of `payload` (a raw byte sequence payload of supplemental enhancement information), by payloadType: ISO/IEC 14496-10
/// §7.3.2.3.1, 23008-2 §7.3.5. What is not there whole is left out.
pub fn messages(payload: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    fn number(bytes: &mut &[u8]) -> Option<u32> {
        let mut sum = 0u32;
        loop {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            sum = sum.checked_add(byte.into())?;
            if byte != 0xff {
                return Some(sum);
            }
        }
    }
    let mut rest = payload;
    std::iter::from_fn(move || {
        let (kind, size) = (number(&mut rest)?, number(&mut rest)?);
        let message;
        (message, rest) = rest.split_at_checked(size as usize)?;
        Some((kind, message))
    })
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
    fn units_end_with_the_bytes_that_are_there() {
        let all = |bytes: &'static [u8], length_bytes| units(bytes, length_bytes).collect::<Vec<_>>();
        assert_eq!(all(&[0, 2, 7, 8, 0, 0, 0, 9, 5], 2), [&[7, 8][..], &[], &[5]]);
        assert_eq!(all(&[1, 7, 1], 1), [&[7][..], &[]]);
        assert_eq!(all(&[1, 7], 4), [&[0u8; 0]; 0]);
        assert_eq!(all(&[1, 7], 0), [&[0u8; 0]; 0]);
    }

    #[test]
    fn messages_have_long_types_and_sizes() {
        let mut payload = vec![0xff, 1, 0xff, 2];
        payload.extend([9; 257]);
        payload.extend([4, 1, 3, 5, 200, 1, 0x80]);
        let read: Vec<(u32, usize)> = messages(&payload).map(|(kind, message)| (kind, message.len())).collect();
        assert_eq!(read, [(256, 257), (4, 1)]);
    }

    #[test]
    fn a_written_out_aspect_ratio_of_zero_is_none() {
        // aspect_ratio_info_present_flag, 255, 0:0, then no overscan, no signal type
        let bytes = [0b1111_1111, 0b1000_0000, 0, 0, 0, 0];
        assert_eq!(vui_head(&mut Bits::new(&bytes)), Ok(VuiHead::default()));
    }
}
