//! DTS: its specific box (ETSI TS 102 114 §E.2.2.3, `ddts`).
//!
//! ```text
//!   DTSSamplingFrequency:32 maxBitrate:32 avgBitrate:32 pcmSampleDepth:8
//!   FrameDuration:2 StreamConstruction:5 CoreLFEPresent:1 CoreLayout:6 CoreSize:14 StereoDownmix:1 RepresentationType:3
//!   ChannelLayout:16 MultiAssetFlag:1 LBRDurationMod:1 ReservedBoxPresent:1 reserved:5
//! ```

use super::error::Malformed;
use super::fields::{Bits, Fields};

/// DTSSpecificBox, as far as it describes what comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// DTSSamplingFrequency: the highest in the stream; 0 where it is not said.
    pub sample_rate: u32,
    /// ChannelLayout: a bit a loudspeaker or pair of them, bit 0 is C.
    pub channel_layout: u16,
}

impl Configuration {
    /// Reads the payload of a `ddts`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        let sample_rate = fields.u32()?;
        fields.skip(4 + 4 + 1)?;
        let at = fields.offset();
        let mut bits = Bits::new(fields.take(7)?);
        let mut layout = || {
            bits.skip(2 + 5 + 1 + 6 + 14 + 1 + 3)?;
            bits.read(16)
        };
        let channel_layout = layout().map_err(|e| e.shifted(at))? as u16;
        Ok(Configuration { sample_rate, channel_layout })
    }

    /// Channels of the layout; 0 where it names none.
    pub fn channels(&self) -> u16 {
        // L/R, Ls/Rs, Lh/Rh, Lsr/Rsr, Lc/Rc, Lw/Rw, Lss/Rss, Lhs/Rhs, Lhr/Rhr
        const PAIRS: u16 = 0b1010_1110_0110_0110;
        (self.channel_layout.count_ones() + (self.channel_layout & PAIRS).count_ones()) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stereo_at_24_khz_whatever_the_sample_entry_says() {
        let bytes = [
            0x00, 0x00, 0x5d, 0xc0, 0x00, 0x02, 0xee, 0x00, 0x00, 0x02, 0xee, 0x00, 0x10, 0x02, 0x08, 0x1f, 0xf0, 0x00,
            0x02, 0x00,
        ];
        let dts = Configuration::parse(Fields::new(&bytes, 0)).expect("well formed");
        assert_eq!((dts.sample_rate, dts.channel_layout, dts.channels()), (24_000, 2, 2));
    }

    #[test]
    fn pairs_count_twice() {
        let channels = |channel_layout| Configuration { sample_rate: 0, channel_layout }.channels();
        assert_eq!(channels(0x000f), 6); // C, L/R, Ls/Rs, LFE: 5.1
        assert_eq!(channels(0x080f), 8); // with Lss/Rss: 7.1
        assert_eq!(channels(0), 0);
        assert_eq!(channels(0xffff), 16 + 9);
    }
}
