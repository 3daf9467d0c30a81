//! AV1: its configuration record (AV1 in ISO Base Media File Format §2.3), and the colour in a sequence header (AV1
//! bitstream specification §5.5).
//!
//! ```text
//!   1b version:7 seq_profile:3 seq_level_idx_0:5
//!   seq_tier_0:1 high_bitdepth:1 twelve_bit:1 monochrome:1 subsampling_x:1 subsampling_y:1 sample_position:2
//!   000b delay_present:1 delay:4 configOBUs…
//! ```

use super::cicp::Colour;
use super::error::Malformed;
use super::fields::{Bits, Fields};

/// AV1CodecConfigurationRecord, as far as it names the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// seq_profile, 0 to 7.
    pub profile: u8,
    /// seq_level_idx_0, 0 to 31.
    pub level: u8,
    /// seq_tier_0: true is the High tier.
    pub high_tier: bool,
    /// Bits a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// mono_chrome.
    pub monochrome: bool,
    /// chroma_subsampling_x, chroma_subsampling_y.
    pub subsampling: (bool, bool),
    /// chroma_sample_position, 0 to 3.
    pub chroma_sample_position: u8,
    /// From the sequence header, if the record holds one that says something of it.
    pub colour: Option<Colour>,
}

impl Configuration {
    /// Reads the payload of an `av1C`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        let start = fields.offset();
        let marker_and_version = fields.u8()?;
        if marker_and_version != 0x81 {
            return Err(Malformed::new(format!("marker and version {marker_and_version:#04x}, not 0x81"), start));
        }
        let profile_and_level = fields.u8()?;
        let format = fields.u8()?;
        fields.skip(1)?;
        let bit = |at: u8| format >> at & 1 == 1;
        let profile = profile_and_level >> 5;
        let bit_depth = match (bit(6), bit(5)) {
            (false, _) => 8,
            (true, true) if profile == 2 => 12,
            (true, _) => 10,
        };
        // What cannot be read here is for decoders to judge: it says nothing that packaging depends on.
        let colour = colour_in_obus(fields.rest()).unwrap_or(None);
        Ok(Configuration {
            profile,
            level: profile_and_level & 0x1f,
            high_tier: bit(7),
            bit_depth,
            monochrome: bit(4),
            subsampling: (bit(3), bit(2)),
            chroma_sample_position: format & 3,
            colour,
        })
    }

    /// AV1 in ISO Base Media File Format §5: `av01.0.04M.08`, with the optional fields (all or none of them) only where
    /// their defaults are wrong: 4:2:0, BT.709, narrow range. Chroma position alone is no reason to write them.
    pub fn codecs(&self, format: impl std::fmt::Display) -> String {
        let tier = if self.high_tier { 'H' } else { 'M' };
        let short = format!("{format}.{}.{:02}{tier}.{:02}", self.profile, self.level, self.bit_depth);
        let colour = self.colour.unwrap_or(Colour::BT709);
        if !self.monochrome && self.subsampling == (true, true) && colour == Colour::BT709 {
            return short;
        }
        let (x, y) = self.subsampling;
        let position = if x && y { self.chroma_sample_position } else { 0 };
        let Colour { primaries, transfer, matrix, full_range } = colour;
        format!(
            "{short}.{}.{}{}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{}",
            u8::from(self.monochrome),
            u8::from(x),
            u8::from(y),
            u8::from(full_range),
        )
    }
}

/// obu_type of a sequence header (§6.2.2).
const OBU_SEQUENCE_HEADER: u8 = 1;

/// The colour of the first sequence header among `obus` (§5.3).
fn colour_in_obus(obus: &[u8]) -> Result<Option<Colour>, Malformed> {
    let mut fields = Fields::new(obus, 0);
    while fields.remaining() > 0 {
        let header = fields.u8()?;
        let (has_extension, has_size) = (header & 4 != 0, header & 2 != 0);
        if has_extension {
            fields.skip(1)?;
        }
        let size = if has_size { leb128(&mut fields)? } else { fields.remaining() };
        let payload = fields.take(size)?;
        if header >> 3 & 0xf == OBU_SEQUENCE_HEADER {
            return sequence_header_colour(payload);
        }
    }
    Ok(None)
}

/// `leb128()` (§4.10.5).
fn leb128(fields: &mut Fields<'_>) -> Result<usize, Malformed> {
    let mut value = 0u64;
    for byte in 0..8 {
        let next = fields.u8()?;
        value |= u64::from(next & 0x7f) << (7 * byte);
        if next & 0x80 == 0 {
            break;
        }
    }
    usize::try_from(value).map_err(|_| Malformed::new(format!("an OBU of {value} bytes"), fields.offset()))
}

/// Reads `sequence_header_obu` (§5.5.1) up to its colour.
fn sequence_header_colour(payload: &[u8]) -> Result<Option<Colour>, Malformed> {
    let mut bits = Bits::new(payload);
    let seq_profile = bits.read(3)?;
    bits.skip(1)?; // still_picture
    let reduced_still_picture_header = bits.flag()?;
    if reduced_still_picture_header {
        bits.skip(5)?; // seq_level_idx
    } else {
        skip_operating_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.read(4)? as usize + 1, bits.read(4)? as usize + 1);
    bits.skip(width_bits + height_bits)?;
    if !reduced_still_picture_header && bits.flag()? {
        bits.skip(4 + 3)?; // frame id lengths
    }
    bits.skip(3)?; // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    if !reduced_still_picture_header {
        bits.skip(4)?; // enable_interintra_compound to enable_dual_filter
        let enable_order_hint = bits.flag()?;
        if enable_order_hint {
            bits.skip(2)?; // enable_jnt_comp, enable_ref_frame_mvs
        }
        let seq_choose_screen_content_tools = bits.flag()?;
        let screen_content_tools = seq_choose_screen_content_tools || bits.flag()?;
        if screen_content_tools && !bits.flag()? {
            bits.skip(1)?; // seq_force_integer_mv
        }
        if enable_order_hint {
            bits.skip(3)?; // order_hint_bits_minus_1
        }
    }
    bits.skip(3)?; // enable_superres, enable_cdef, enable_restoration
    color_config(&mut bits, seq_profile)
}

/// Passes over timing, decoder model and operating points of `sequence_header_obu` (§5.5.1).
fn skip_operating_points(bits: &mut Bits<'_>) -> Result<(), Malformed> {
    let mut buffer_delay_bits = None;
    if bits.flag()? {
        bits.skip(32 + 32)?; // num_units_in_display_tick, time_scale
        if bits.flag()? {
            bits.ue()?; // num_ticks_per_picture_minus_1: uvlc(), which is ue(v)
        }
        if bits.flag()? {
            buffer_delay_bits = Some(bits.read(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?; // rest of decoder_model_info
        }
    }
    let initial_display_delay_present = bits.flag()?;
    for _operating_point in 0..=bits.read(5)? {
        bits.skip(12)?; // operating_point_idc
        let seq_level_idx = bits.read(5)?;
        if seq_level_idx > 7 {
            bits.skip(1)?; // seq_tier
        }
        if let Some(delay_bits) = buffer_delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits + 1)?; // operating_parameters_info
        }
        if initial_display_delay_present && bits.flag()? {
            bits.skip(4)?; // initial_display_delay_minus_1
        }
    }
    Ok(())
}

/// Reads `color_config` (§5.5.2); `None` where it does not describe the colour.
fn color_config(bits: &mut Bits<'_>, seq_profile: u32) -> Result<Option<Colour>, Malformed> {
    let high_bitdepth = bits.flag()?;
    if seq_profile == 2 && high_bitdepth {
        bits.skip(1)?; // twelve_bit
    }
    if seq_profile != 1 {
        bits.skip(1)?; // mono_chrome
    }
    let mut colour = Colour::unspecified(false);
    if bits.flag()? {
        (colour.primaries, colour.transfer) = (bits.read(8)? as u8, bits.read(8)? as u8);
        colour.matrix = bits.read(8)? as u8;
    }
    // sRGB with the identity matrix has no color_range: it is full
    colour.full_range = (colour.primaries, colour.transfer, colour.matrix) == (1, 13, 0) || bits.flag()?;
    Ok(colour.if_specified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Configuration {
        Configuration::parse(Fields::new(bytes, 0)).expect("well formed")
    }

    // Main profile, level 3.1, 1280x720, no colour described
    const MAIN: &[u8] =
        &[0x81, 0x05, 0x0c, 0x00, 0x0a, 0x0b, 0x00, 0x00, 0x00, 0x2d, 0x4c, 0xff, 0xb3, 0xc0, 0x2f, 0x80, 0x04];

    #[test]
    fn main_without_colour_is_the_short_form() {
        let av1 = parse(MAIN);
        assert_eq!((av1.codecs("av01"), av1.colour, av1.bit_depth), ("av01.0.05M.08".to_owned(), None, 8));
    }

    /// A record whose sequence header is that of MAIN up to color_config, then `color`, then zeros.
    fn with_color_config(format: u8, color: &[u8]) -> Configuration {
        const BEFORE_COLOR: usize = 77;
        let head = &MAIN[6..];
        let mut bits: Vec<u8> = (0..BEFORE_COLOR).map(|at| head[at / 8] >> (7 - at % 8) & 1).collect();
        bits.extend(color);
        bits.extend([0; 8]);
        let packed = bits.chunks(8).map(|byte| byte.iter().fold(0, |n, &bit| n << 1 | bit));
        let mut bytes = vec![0x81, 0x05, format, 0, 0x0a, packed.len() as u8];
        bytes.extend(packed);
        parse(&bytes)
    }

    #[test]
    fn ten_bit_perceptual_quantizer_is_the_long_form() {
        // high_bitdepth, not mono_chrome, color_description_present_flag, 9 16 9, narrow
        let mut color = vec![1u8, 0, 1];
        for code in [9u8, 16, 9] {
            color.extend((0..8).rev().map(|at| code >> at & 1));
        }
        let av1 = with_color_config(0x4c, &color);
        assert_eq!(av1.colour, Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false }));
        assert_eq!(av1.codecs("av01"), "av01.0.05M.10.0.110.09.16.09.0");
    }

    #[test]
    fn full_range_is_said_though_the_colour_is_not() {
        let av1 = with_color_config(0x0c, &[0, 0, 0, 1]);
        assert_eq!(av1.codecs("av01"), "av01.0.05M.08.0.110.02.02.02.1");
    }

    #[test]
    fn profile_high_tier_subsampling_and_twelve_bits() {
        // seq_profile 2, level 5.1, High tier, 12 bits, 4:2:2, no sequence header
        let av1 = parse(&[0x81, 2 << 5 | 13, 0b1110_1000, 0]);
        assert_eq!(av1.codecs("av01"), "av01.2.13H.12.0.100.01.01.01.0");
        let monochrome = parse(&[0x81, 0x04, 0b0001_1100, 0]);
        assert_eq!(monochrome.codecs("av01"), "av01.0.04M.08.1.110.01.01.01.0");
    }

    #[test]
    fn a_sequence_header_cut_short_says_nothing_of_colour() {
        for end in 4..MAIN.len() {
            assert_eq!(parse(&MAIN[..end]).colour, None);
        }
    }
}
