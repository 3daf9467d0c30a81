//! Coding-independent code points: colour and sample aspect ratio (ISO/IEC 23091-2, ITU-T H.273), and channel configurations
//! (ISO/IEC 23091-3), as the codecs number them in common.

/// Colour as ISO/IEC 23091-2 numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// ColourPrimaries.
    pub primaries: u8,
    /// TransferCharacteristics.
    pub transfer: u8,
    /// MatrixCoefficients.
    pub matrix: u8,
    /// VideoFullRangeFlag.
    pub full_range: bool,
}

/// The code point that says nothing, of primaries, transfer and matrix alike (ISO/IEC 23091-2 §8.1 to §8.3).
const UNSPECIFIED: u8 = 2;

impl Colour {
    /// ITU-R BT.709 in narrow range: what a short codec string of AV1 and VP9 implies.
    pub const BT709: Colour = Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false };

    /// Primaries, transfer and matrix unspecified.
    pub fn unspecified(full_range: bool) -> Colour {
        Colour { primaries: UNSPECIFIED, transfer: UNSPECIFIED, matrix: UNSPECIFIED, full_range }
    }

    /// The same, or `None` where it says nothing: nothing specified, and narrow range, which is what players take then.
    pub fn if_specified(self) -> Option<Colour> {
        (self != Colour::unspecified(false)).then_some(self)
    }
}

/// `width:height` of a sample for SampleAspectRatio 1 to 16 (ISO/IEC 23091-2 §8.6); `None` for the others.
pub fn sample_aspect_ratio(code: u8) -> Option<(u32, u32)> {
    const RATIOS: [(u32, u32); 16] = [
        (1, 1),
        (12, 11),
        (10, 11),
        (16, 11),
        (40, 33),
        (24, 11),
        (20, 11),
        (32, 11),
        (80, 33),
        (18, 11),
        (15, 11),
        (64, 33),
        (160, 99),
        (4, 3),
        (3, 2),
        (2, 1),
    ];
    RATIOS.get(usize::from(code).checked_sub(1)?).copied()
}

/// Channels of a ChannelConfiguration, low-frequency ones included (ISO/IEC 23091-3); `None` for 0 (said elsewhere)
/// and reserved ones.
pub fn channels(configuration: u8) -> Option<u16> {
    const CHANNELS: [u16; 21] = [0, 1, 2, 3, 4, 5, 6, 8, 0, 3, 4, 7, 8, 24, 8, 12, 10, 12, 14, 12, 14];
    CHANNELS.get(usize::from(configuration)).copied().filter(|&channels| channels > 0)
}

/// ChannelConfiguration of the layouts that Vorbis names, and Opus (RFC 7845 §5.1.1.2) and FLAC (RFC 9639 §9.1.3) after it.
pub fn xiph_configuration(channels: u16) -> Option<u8> {
    match channels {
        1..=3 | 5 | 6 => Some(channels as u8),
        4 => Some(10),
        7 => Some(11),
        8 => Some(12),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xiph_layouts_have_as_many_channels_as_asked() {
        for count in 1..=8 {
            assert_eq!(channels(xiph_configuration(count).expect("all eight are named")), Some(count));
        }
        assert_eq!((xiph_configuration(0), xiph_configuration(9)), (None, None));
    }

    #[test]
    fn full_range_alone_is_something_said() {
        assert_eq!(Colour::unspecified(false).if_specified(), None);
        assert_eq!(Colour::unspecified(true).if_specified(), Some(Colour::unspecified(true)));
    }

    #[test]
    fn codes_beyond_the_tables_are_none() {
        assert_eq!((channels(0), channels(8), channels(21)), (None, None, None));
        assert_eq!((sample_aspect_ratio(0), sample_aspect_ratio(17)), (None, None));
        assert_eq!((sample_aspect_ratio(1), sample_aspect_ratio(16)), (Some((1, 1)), Some((2, 1))));
    }
}
