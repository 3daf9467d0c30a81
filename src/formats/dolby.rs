//! Dolby: AC-3 and Enhanced AC-3 (ETSI TS 102 366 annex F; Atmos in it, TS 103 420), AC-4 (TS 103 190-2 annex E), and Dolby
//! Vision (Dolby Vision Streams Within the ISO Base Media File Format).
//!
//! ```text
//!   dac3  fscod:2 bsid:5 bsmod:3 acmod:3 lfeon:1 bit_rate_code:5 reserved:5
//!   dec3  data_rate:13 num_ind_sub:3 { fscod:2 bsid:5 0b asvc:1 bsmod:3 acmod:3 lfeon:1 000b num_dep_sub:4
//!         chan_loc:9 if num_dep_sub > 0, else 0b } [ 0000000b JOC:1 complexity_index:8 ]
//!   dac4  ac4_dsi_version:3 bitstream_version:7 fs_index:1 frame_rate_index:4 n_presentations:9 […] presentations
//!   dvcC  version:16 dv_profile:7 dv_level:6 rpu:1 el:1 bl:1 dv_bl_signal_compatibility_id:4 …
//! ```

use super::error::Malformed;
use super::fields::{Bits, Fields};

/// Channel map of TS 102 366 table E.1.3: bit 15 is L.
pub mod channel_map {
    /// Left.
    pub const L: u16 = 0x8000;
    /// Centre.
    pub const C: u16 = 0x4000;
    /// Right.
    pub const R: u16 = 0x2000;
    /// Left surround.
    pub const LS: u16 = 0x1000;
    /// Right surround.
    pub const RS: u16 = 0x0800;
    /// Centre surround.
    pub const CS: u16 = 0x0100;
    /// Second low-frequency channel.
    pub const LFE2: u16 = 0x0002;
    /// Low-frequency channel.
    pub const LFE: u16 = 0x0001;
    /// Bits that stand for two channels: Lc/Rc, Lrs/Rrs, Lsd/Rsd, Lw/Rw, Lvh/Rvh, Lts/Rts.
    pub const PAIRS: u16 = 0x0674;
}

/// What `dac3` and `dec3` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ac3 {
    /// Samples a second; `None` for the halved rates of E-AC-3, which the box does not name.
    pub sample_rate: Option<u32>,
    /// Channels of the first program, those of its dependent substreams included ([`channel_map`]).
    pub map: u16,
    /// complexity_index_type_a of joint object coding, if there is any.
    pub joc_complexity: Option<u8>,
}

impl Ac3 {
    /// Reads the payload of a `dac3`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Ac3, Malformed> {
        let at = fields.offset();
        let mut bits = Bits::new(fields.take(3)?);
        let mut read = || {
            let fscod = bits.read(2)?;
            bits.skip(5 + 3)?; // bsid, bsmod
            Ok(Ac3 { sample_rate: sample_rate(fscod), map: program_map(&mut bits)?, joc_complexity: None })
        };
        read().map_err(|e: Malformed| e.shifted(at))
    }

    /// Reads the payload of a `dec3`.
    pub fn parse_enhanced(fields: Fields<'_>) -> Result<Ac3, Malformed> {
        let mut bits = Bits::new(fields.rest());
        let mut read = || {
            bits.skip(13)?; // data_rate
            let more_programs = bits.read(3)?;
            let first = independent_substream(&mut bits)?;
            for _program in 0..more_programs {
                independent_substream(&mut bits)?;
            }
            // The extension is not there in files older than it: bytes that are not there say no.
            let mut joc_complexity = None;
            if bits.remaining() >= 16 {
                bits.skip(7)?;
                let present = bits.flag()?;
                joc_complexity = Some(bits.read(8)? as u8).filter(|_| present);
            }
            Ok(Ac3 { joc_complexity, ..first })
        };
        read().map_err(|e: Malformed| e.shifted(fields.offset()))
    }

    /// Channels of the map.
    pub fn channels(&self) -> u16 {
        (self.map.count_ones() + (self.map & channel_map::PAIRS).count_ones()) as u16
    }
}

/// Samples a second for `fscod` (TS 102 366 table 4.1).
fn sample_rate(fscod: u32) -> Option<u32> {
    [48_000, 44_100, 32_000].get(fscod as usize).copied()
}

/// Reads acmod and lfeon, and gives their channels (TS 102 366 annex E). Dual mono plays as L and R.
fn program_map(bits: &mut Bits<'_>) -> Result<u16, Malformed> {
    use channel_map::{C, CS, L, LFE, LS, R, RS};
    const CHANNELS: [u16; 8] =
        [L | R, C, L | R, L | C | R, L | R | CS, L | C | R | CS, L | R | LS | RS, L | C | R | LS | RS];
    let acmod = bits.read(3)?;
    let lfeon = bits.flag()?;
    Ok(CHANNELS[acmod as usize] | if lfeon { LFE } else { 0 })
}

/// Reads one independent substream of `dec3` (TS 102 366 §F.6).
fn independent_substream(bits: &mut Bits<'_>) -> Result<Ac3, Malformed> {
    let fscod = bits.read(2)?;
    bits.skip(5 + 1 + 1 + 3)?; // bsid, reserved, asvc, bsmod
    let mut map = program_map(bits)?;
    bits.skip(3)?;
    if bits.read(4)? > 0 {
        map |= located(bits.read(9)? as u16);
    } else {
        bits.skip(1)?;
    }
    Ok(Ac3 { sample_rate: sample_rate(fscod), map, joc_complexity: None })
}

/// `chan_loc` (TS 102 366 table F.6.1: bit 0 Lc/Rc, 1 Lrs/Rrs, 2 Cs, 3 Ts, 4 Lsd/Rsd, 5 Lw/Rw, 6 Lvh/Rvh, 7 Cvh, 8 LFE2) as a
/// channel map, where the same channels run from bit 10 down.
fn located(chan_loc: u16) -> u16 {
    let lfe2 = if chan_loc & 0x100 != 0 { channel_map::LFE2 } else { 0 };
    u16::from((chan_loc as u8).reverse_bits()) << 3 | lfe2
}

/// What a `dac4` says of the presentation that asks least of a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ac4 {
    /// Samples a second, of the base sampling frequency.
    pub sample_rate: u32,
    /// bitstream_version, presentation_version and mdcompat; `None` where the box is of version 0 or lists no presentation
    /// of a version known.
    pub versions: Option<[u8; 3]>,
    /// The presentation's 24-bit channel mask, bit 0 is L/R; `None` if it is not channel coded.
    pub mask: Option<u32>,
}

impl Ac4 {
    /// Reads the payload of a `dac4` (TS 103 190-2 §E.5, §E.6 `ac4_dsi_v1`).
    pub fn parse(fields: Fields<'_>) -> Result<Ac4, Malformed> {
        Ac4::read(fields.rest()).map_err(|e| e.shifted(fields.offset()))
    }

    fn read(dsi: &[u8]) -> Result<Ac4, Malformed> {
        let mut bits = Bits::new(dsi);
        let ac4_dsi_version = bits.read(3)?;
        let bitstream_version = bits.read(7)? as u8;
        let sample_rate = if bits.flag()? { 48_000 } else { 44_100 };
        bits.skip(4)?; // frame_rate_index
        let n_presentations = bits.read(9)?;
        let mut ac4 = Ac4 { sample_rate, versions: None, mask: None };
        if ac4_dsi_version != 1 {
            return Ok(ac4);
        }
        if bitstream_version > 1 && bits.flag()? {
            bits.skip(16)?; // short_program_id
            if bits.flag()? {
                bits.skip(16 * 8)?; // program_uuid
            }
        }
        bits.skip(2 + 32 + 32)?; // ac4_bitrate_dsi
        bits.skip(bits.remaining() % 8)?; // byte_align
        for _presentation in 0..n_presentations {
            let presentation_version = bits.read(8)? as u8;
            let mut pres_bytes = bits.read(8)? as usize;
            if pres_bytes == 255 {
                pres_bytes += bits.read(16)? as usize;
            }
            let mut body = bits;
            bits.skip(8 * pres_bytes)?;
            let Some((mdcompat, mask)) = presentation(&mut body, presentation_version)? else { continue };
            if ac4.versions.is_none_or(|[_, _, least]| mdcompat < least) {
                ac4.versions = Some([bitstream_version, presentation_version, mdcompat]);
                ac4.mask = mask;
            }
        }
        Ok(ac4)
    }

    /// TS 103 190-2 §E.13: `ac-4.02.01.03`, two hexadecimal digits a field. Of several presentations the one of the lowest
    /// mdcompat, the first among equals: what the elementary stream asks of a decoder to be of use at all.
    pub fn codecs(&self, format: impl std::fmt::Display) -> String {
        match self.versions {
            Some([bitstream, presentation, mdcompat]) => {
                format!("{format}.{bitstream:02x}.{presentation:02x}.{mdcompat:02x}")
            }
            None => format.to_string(),
        }
    }

    /// Channels of the mask (TS 103 190-2 table A.27, speaker groups); `None` if there is no mask.
    pub fn channels(&self) -> Option<u16> {
        // L/R, Ls/Rs, Lb/Rb, Tfl/Tfr, Tbl/Tbr, Tl/Tr, Tsl/Tsr, Bfl/Bfr, Lscr/Rscr, Lw/Rw, Vhl/Vhr
        const PAIRS: u32 = 0b111_0010_0001_1011_1101;
        self.mask.map(|mask| (mask.count_ones() + (mask & PAIRS).count_ones()) as u16)
    }
}

/// Reads the head of a presentation: mdcompat, and the channel mask if it is channel coded. `None` if its version is not
/// known, or it holds nothing to present.
fn presentation(bits: &mut Bits<'_>, version: u8) -> Result<Option<(u8, Option<u32>)>, Malformed> {
    const EMDF_ONLY: u32 = 6;
    if version > 2 || bits.read(5)? == EMDF_ONLY {
        return Ok(None);
    }
    let mdcompat = bits.read(3)? as u8;
    if bits.flag()? {
        bits.skip(5)?; // presentation_id
    }
    if version == 0 {
        bits.skip(2 + 5 + 10)?; // frame rate multiplier, EMDF version, key id
        return Ok(Some((mdcompat, Some(bits.read(24)?))));
    }
    bits.skip(2 + 2 + 5 + 10)?; // frame rate multiplier and fraction, EMDF version, key id
    let mut mask = None;
    if bits.flag()? {
        let ch_mode = bits.read(5)?;
        if (11..=14).contains(&ch_mode) {
            bits.skip(1 + 2)?; // pres_b_4_back_channels_present, pres_top_channel_pairs
        }
        mask = Some(bits.read(24)?);
    }
    Ok(Some((mdcompat, mask)))
}

/// DOVIDecoderConfigurationRecord, as far as it names the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vision {
    /// dv_profile.
    pub profile: u8,
    /// dv_level.
    pub level: u8,
    /// dv_bl_signal_compatibility_id: 0 none, 1 HDR10, 2 SDR, 4 HLG.
    pub compatibility: u8,
}

impl Vision {
    /// Reads the payload of a `dvcC`, `dvvC` or `dvwC`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Vision, Malformed> {
        fields.skip(2)?; // dv_version_major, dv_version_minor
        let (word, next) = (fields.u16()?, fields.u8()?);
        Ok(Vision { profile: (word >> 9) as u8, level: (word >> 3 & 0x3f) as u8, compatibility: next >> 4 })
    }

    /// `dvh1.08.07`, for a sample entry `format`.
    pub fn codecs(&self, format: impl std::fmt::Display) -> String {
        format!("{format}.{:02}.{:02}", self.profile, self.level)
    }

    /// What a base layer of sample entry `format` that others can play as it is offers beside it, in the form of HLS
    /// SUPPLEMENTAL-CODECS: `dvh1.08.07/db4h`. `transfer` is the base layer's TransferCharacteristics.
    ///
    /// `None` where the profile has no such base layer, or its kind has no brand.
    pub fn supplemental_codecs(&self, format: &[u8; 4], transfer: Option<u8>) -> Option<String> {
        const BT2020_10_BIT: u8 = 14;
        let dolby_format = match (format, self.profile) {
            (b"hvc1", 8) => "dvh1",
            (b"hev1", 8) => "dvhe",
            (b"avc1", 9) => "dva1",
            (b"avc3", 9) => "dvav",
            (b"av01", 10) => "dav1",
            _ => return None,
        };
        let brand = match (self.compatibility, transfer) {
            (1, _) => "db1p",
            (2, _) => "db2g",
            // HLG by an SEI message only, its VUI saying BT.2020
            (4, Some(BT2020_10_BIT)) => "db4g",
            (4, _) => "db4h",
            _ => return None,
        };
        Some(format!("{}/{brand}", self.codecs(dolby_format)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use channel_map::{C, CS, L, LFE, LFE2, LS, R, RS};

    fn fields(bytes: &[u8]) -> Fields<'_> {
        Fields::new(bytes, 0)
    }

    #[test]
    fn ac3_five_point_one() {
        let ac3 = Ac3::parse(fields(&[0x10, 0x3d, 0xe0])).expect("well formed");
        assert_eq!((ac3.sample_rate, ac3.map, ac3.channels()), (Some(48_000), L | C | R | LS | RS | LFE, 6));
    }

    #[test]
    fn ac3_one_surround_is_the_centre_surround() {
        let ac3 = Ac3::parse(fields(&[0x90, 0x20, 0x00])).expect("well formed");
        assert_eq!((ac3.sample_rate, ac3.map, ac3.channels()), (Some(32_000), L | R | CS, 3));
    }

    #[test]
    fn enhanced_stereo_of_a_box_without_extension() {
        let ec3 = Ac3::parse_enhanced(fields(&[0x06, 0x00, 0x60, 0x04, 0x00])).expect("well formed");
        assert_eq!(ec3, Ac3 { sample_rate: Some(44_100), map: L | R, joc_complexity: None });
    }

    #[test]
    fn joint_object_coding() {
        // 768 kbit/s, 5.1, no dependent substream; flag and complexity 16
        let ec3 = Ac3::parse_enhanced(fields(&[0x18, 0x00, 0x20, 0x0f, 0x00, 0x01, 0x10])).expect("well formed");
        assert_eq!((ec3.channels(), ec3.joc_complexity), (6, Some(16)));
        // the flag not set: the byte after it says nothing
        let ec3 = Ac3::parse_enhanced(fields(&[0x18, 0x00, 0x20, 0x0f, 0x00, 0x00, 0x10])).expect("well formed");
        assert_eq!(ec3.joc_complexity, None);
    }

    #[test]
    fn a_dependent_substream_adds_its_channels() {
        // num_dep_sub 1, chan_loc Lrs/Rrs: 7.1
        let ec3 = Ac3::parse_enhanced(fields(&[0x18, 0x00, 0x20, 0x0f, 0x02, 0x02])).expect("well formed");
        assert_eq!((ec3.map, ec3.channels()), (L | C | R | LS | RS | 0x0200 | LFE, 8));
        assert_eq!((located(1), located(0x80), located(0x100)), (0x0400, 0x0008, LFE2));
    }

    #[test]
    fn a_second_program_is_not_added_to_the_first() {
        // num_ind_sub 1: stereo, then 5.1
        let ec3 = Ac3::parse_enhanced(fields(&[0x06, 0x01, 0x20, 0x04, 0x00, 0x20, 0x0f, 0x00])).expect("well formed");
        assert_eq!(ec3.channels(), 2);
    }

    #[test]
    fn ac4_five_point_one() {
        let dsi = [
            0x20, 0xa6, 0x01, 0x80, 0x96, 0x30, 0x00, 0x00, 0x00, 0x0f, 0xff, 0xff, 0xff, 0xf0, 0x01, 0x12, 0xf9, 0xa8,
            0x00, 0x00, 0x48, 0x00, 0x00, 0x8e, 0x50, 0x10, 0x00, 0x00, 0x8f, 0x10, 0x99, 0x5b, 0x80, 0x80,
        ];
        let ac4 = Ac4::parse(fields(&dsi)).expect("well formed");
        assert_eq!((ac4.codecs("ac-4").as_str(), ac4.sample_rate), ("ac-4.02.01.01", 48_000));
        assert_eq!((ac4.mask, ac4.channels()), (Some(0x47), Some(6)));
    }

    #[test]
    fn ac4_immersive_stereo_comes_before_its_compatible_double() {
        let mut dsi = vec![0x20, 0xa4, 0x02, 0x40, 0, 0, 0, 0x1f, 0xff, 0xff, 0xff, 0xe0];
        // channel coded, stereo, mask L/R
        let body = [0xf8, 0x80, 0x00, 0x00, 0x42, 0x00, 0x00, 0x02, 0x50];
        for version in [2, 1] {
            dsi.extend([version, body.len() as u8]);
            dsi.extend(body);
        }
        let ac4 = Ac4::parse(fields(&dsi)).expect("well formed");
        assert_eq!((ac4.codecs("ac-4").as_str(), ac4.mask, ac4.channels()), ("ac-4.02.02.00", Some(1), Some(2)));
    }

    #[test]
    fn ac4_of_another_box_version_is_the_bare_code() {
        let ac4 = Ac4::parse(fields(&[0x00, 0x24, 0x01, 0x40])).expect("well formed");
        assert_eq!((ac4.codecs("ac-4").as_str(), ac4.mask), ("ac-4", None));
    }

    #[test]
    fn vision_profile_8_by_its_base_layer() {
        let mut record = [1, 0, 0x10, 0x0d, 0x20, 0, 0, 0];
        let vision = Vision::parse(fields(&record)).expect("well formed");
        assert_eq!(vision, Vision { profile: 8, level: 1, compatibility: 2 });
        assert_eq!(vision.supplemental_codecs(b"hvc1", Some(1)).as_deref(), Some("dvh1.08.01/db2g"));
        assert_eq!(vision.supplemental_codecs(b"av01", Some(1)), None);
        record[4] = 0x40;
        let hlg = Vision::parse(fields(&record)).expect("well formed");
        assert_eq!(hlg.supplemental_codecs(b"hev1", Some(18)).as_deref(), Some("dvhe.08.01/db4h"));
        assert_eq!(hlg.supplemental_codecs(b"hvc1", Some(14)).as_deref(), Some("dvh1.08.01/db4g"));
        record[4] = 0x10;
        let hdr10 = Vision::parse(fields(&record)).expect("well formed");
        assert_eq!(hdr10.supplemental_codecs(b"hvc1", Some(16)).as_deref(), Some("dvh1.08.01/db1p"));
    }

    #[test]
    fn vision_profile_5_has_no_base_layer_for_others() {
        let vision = Vision::parse(fields(&[1, 0, 0x0a, 0x35, 0x00])).expect("well formed");
        assert_eq!(vision.codecs("dvh1"), "dvh1.05.06");
        assert_eq!(vision.supplemental_codecs(b"hvc1", None), None);
    }
}
