//! MPEG-4 audio: the elementary stream descriptor (`esds`, ISO/IEC 14496-14 §6.7.2, 14496-1 §7.2.6.5) and the
//! AudioSpecificConfig in it (ISO/IEC 14496-3 §1.6.2.1; xHE-AAC's ISO/IEC 23003-3 §5.2).
//!
//! ```text
//!   esds     version:8 flags:24 ES_Descriptor
//!   0x03     ES_ID:16 flags:8 […]                                 ES_Descriptor
//!     0x04   objectTypeIndication:8 …:96                          DecoderConfigDescriptor
//!       0x05 AudioSpecificConfig                                  DecoderSpecificInfo
//! ```

use super::cicp;
use super::error::Malformed;
use super::fields::{Bits, Fields};

/// What an `esds` says of the sound in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// objectTypeIndication (ISO/IEC 14496-1 table 5): 0x40 is MPEG-4 audio, 0x69 and 0x6b are MP3.
    pub object_type: u8,
    /// Of AAC in all its forms; `None` for other object types.
    pub specific: Option<AudioSpecificConfig>,
}

/// MPEG-4 audio.
const MPEG_4_AUDIO: u8 = 0x40;
/// MPEG-2 AAC: Main, LC, SSR; the DecoderSpecificInfo is an AudioSpecificConfig too.
const MPEG_2_AAC: [u8; 3] = [0x66, 0x67, 0x68];

impl Configuration {
    /// Reads the payload of an `esds`.
    pub fn parse(mut fields: Fields<'_>) -> Result<Configuration, Malformed> {
        const ES_DESCRIPTOR: u8 = 3;
        const DECODER_CONFIG_DESCRIPTOR: u8 = 4;
        const DECODER_SPECIFIC_INFO: u8 = 5;
        fields.version_and_flags()?;
        let mut es = descriptor(&mut fields, ES_DESCRIPTOR)?;
        es.skip(2)?; // ES_ID
        let flags = es.u8()?;
        if flags & 0x80 != 0 {
            es.skip(2)?; // dependsOn_ES_ID
        }
        if flags & 0x40 != 0 {
            let url_length = es.u8()?;
            es.skip(url_length.into())?;
        }
        if flags & 0x20 != 0 {
            es.skip(2)?; // OCR_ES_Id
        }
        let mut decoder = descriptor(&mut es, DECODER_CONFIG_DESCRIPTOR)?;
        let object_type = decoder.u8()?;
        let mut specific = None;
        if object_type == MPEG_4_AUDIO || MPEG_2_AAC.contains(&object_type) {
            decoder.skip(12)?; // streamType to avgBitrate
            let info = descriptor(&mut decoder, DECODER_SPECIFIC_INFO)?;
            let at = info.offset();
            specific = Some(AudioSpecificConfig::parse(info.rest()).map_err(|e| e.shifted(at))?);
        }
        Ok(Configuration { object_type, specific })
    }

    /// RFC 6381 §3.3: `mp4a.40.2`; the object type alone where it says all, `mp4a.6B`.
    ///
    /// The audio object type is the one that AudioSpecificConfig begins with. So HE-AAC signalled compatibly (AAC-LC first,
    /// SBR in the extension that old decoders do not read, ISO/IEC 14496-3 §1.6.5.2) is `mp4a.40.2`, which every decoder
    /// that can play it knows; signalled hierarchically it is `mp4a.40.5` or `mp4a.40.29`.
    pub fn codecs(&self, format: impl std::fmt::Display) -> String {
        match &self.specific {
            Some(specific) if self.object_type == MPEG_4_AUDIO => format!("{format}.40.{}", specific.audio_object_type),
            _ => format!("{format}.{:02X}", self.object_type),
        }
    }
}

/// Reads the descriptor at `fields`, whose tag must be `tag`: a cursor over its body (ISO/IEC 14496-1 §8.3.3).
fn descriptor<'a>(fields: &mut Fields<'a>, tag: u8) -> Result<Fields<'a>, Malformed> {
    let start = fields.offset();
    let found = fields.u8()?;
    if found != tag {
        return Err(Malformed::new(format!("a descriptor of tag {found:#04x}, not {tag:#04x}"), start));
    }
    let mut size = 0usize;
    for _byte in 0..4 {
        let next = fields.u8()?;
        size = size << 7 | usize::from(next & 0x7f);
        if next & 0x80 == 0 {
            break;
        }
    }
    let body = fields.offset();
    Ok(Fields::new(fields.take(size)?, body))
}

/// AudioSpecificConfig: what is decoded, and what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// The first audioObjectType: 2 AAC-LC, 5 SBR, 29 PS, 42 USAC.
    pub audio_object_type: u8,
    /// Samples a second that a decoder puts out, SBR included.
    pub sample_rate: u32,
    /// Channels that a decoder puts out, parametric stereo included.
    pub channels: u16,
    /// ChannelConfiguration of what comes out; `None` where a program config element or an own list says.
    pub configuration: Option<u8>,
}

const AAC_SCALABLE: u8 = 6;
const SBR: u8 = 5;
const ER_AAC_SCALABLE: u8 = 20;
const ER_BSAC: u8 = 22;
const PS: u8 = 29;
const USAC: u8 = 42;

impl AudioSpecificConfig {
    /// Reads what a DecoderSpecificInfo holds.
    pub fn parse(bytes: &[u8]) -> Result<AudioSpecificConfig, Malformed> {
        let mut bits = Bits::new(bytes);
        let audio_object_type = object_type(&mut bits)?;
        let mut sample_rate = sampling_frequency(&mut bits)?;
        let mut channel_configuration = bits.read(4)? as u8;
        let mut core_object_type = audio_object_type;
        let mut parametric_stereo = audio_object_type == PS;
        let hierarchical = matches!(audio_object_type, SBR | PS);
        if hierarchical {
            sample_rate = sampling_frequency(&mut bits)?;
            core_object_type = object_type(&mut bits)?;
            if core_object_type == ER_BSAC {
                channel_configuration = bits.read(4)? as u8;
            }
        }
        if core_object_type == USAC {
            return usac(&mut bits, audio_object_type);
        }
        let mut own_channels = None;
        if is_general_audio(core_object_type) {
            own_channels = general_audio(&mut bits, core_object_type, channel_configuration)?;
            // What follows is optional, and files end it anywhere: a field that is not there says no.
            if !hierarchical
                && !is_error_resilient(core_object_type)
                && let Ok(extension) = compatible_extension(&mut bits)
            {
                sample_rate = extension.sample_rate.unwrap_or(sample_rate);
                parametric_stereo = extension.parametric_stereo;
            }
        }
        let configuration = match channel_configuration {
            1 if parametric_stereo => Some(2),
            0 => None,
            given => Some(given),
        };
        let channels = match configuration {
            Some(given) => cicp::channels(given)
                .ok_or_else(|| Malformed::new(format!("channelConfiguration {given}, which is reserved"), 0))?,
            None => own_channels.ok_or_else(|| Malformed::new("channelConfiguration 0 and no channels listed", 0))?,
        };
        Ok(AudioSpecificConfig { audio_object_type, sample_rate, channels, configuration })
    }
}

/// GetAudioObjectType (§1.6.2.1 table 1.17).
fn object_type(bits: &mut Bits<'_>) -> Result<u8, Malformed> {
    const ESCAPE: u8 = 31;
    match bits.read(5)? as u8 {
        ESCAPE => Ok(32 + bits.read(6)? as u8),
        object_type => Ok(object_type),
    }
}

/// samplingFrequencyIndex 0 to 12 (§1.6.3.4), and those that ISO/IEC 23003-3 table 67 adds from 15 on.
const SAMPLING_FREQUENCIES: [u32; 28] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350, 0, 0, 57_600,
    51_200, 40_000, 38_400, 34_150, 28_800, 25_600, 20_000, 19_200, 17_075, 14_400, 12_800, 9_600,
];

/// samplingFrequencyIndex, and samplingFrequency if it is the escape.
fn sampling_frequency(bits: &mut Bits<'_>) -> Result<u32, Malformed> {
    indexed_frequency(bits, 4)
}

fn indexed_frequency(bits: &mut Bits<'_>, index_bits: u32) -> Result<u32, Malformed> {
    let index = bits.read(index_bits)?;
    let escape = (1 << index_bits) - 1;
    let frequency =
        if index == escape { bits.read(24)? } else { *SAMPLING_FREQUENCIES.get(index as usize).unwrap_or(&0) };
    if frequency == 0 {
        return Err(Malformed::new(format!("sampling frequency index {index} gives no frequency"), 0));
    }
    Ok(frequency)
}

/// The object types whose configuration is GASpecificConfig.
fn is_general_audio(object_type: u8) -> bool {
    matches!(object_type, 1..=4 | AAC_SCALABLE | 7 | 17 | 19..=23)
}

/// The object types that an epConfig follows.
fn is_error_resilient(object_type: u8) -> bool {
    matches!(object_type, 17 | 19..=27 | 39)
}

/// Passes over GASpecificConfig (§4.4.1): the channels of its program config element, if it has one.
fn general_audio(bits: &mut Bits<'_>, object_type: u8, channel_configuration: u8) -> Result<Option<u16>, Malformed> {
    bits.skip(1)?; // frameLengthFlag
    if bits.flag()? {
        bits.skip(14)?; // coreCoderDelay
    }
    let extension_flag = bits.flag()?;
    let channels = if channel_configuration == 0 { Some(program_config_element(bits)?) } else { None };
    if matches!(object_type, AAC_SCALABLE | ER_AAC_SCALABLE) {
        bits.skip(3)?; // layerNr
    }
    if extension_flag {
        bits.skip(match object_type {
            ER_BSAC => 5 + 11,
            17 | 19 | 20 | 23 => 3,
            _ => 0,
        })?;
        bits.skip(1)?; // extensionFlag3
    }
    Ok(channels)
}

/// Passes over program_config_element (§4.4.1.1), comment included: the channels it lists.
fn program_config_element(bits: &mut Bits<'_>) -> Result<u16, Malformed> {
    bits.skip(4 + 2 + 4)?; // element_instance_tag, object_type, sampling_frequency_index
    let speaker_elements = bits.read(4)? + bits.read(4)? + bits.read(4)?;
    let lfe_elements = bits.read(2)?;
    let data_elements = bits.read(3)?;
    let coupling_elements = bits.read(4)?;
    for mixdown_bits in [4, 4, 3] {
        if bits.flag()? {
            bits.skip(mixdown_bits)?;
        }
    }
    let mut channels = lfe_elements as u16;
    for _element in 0..speaker_elements {
        channels += if bits.flag()? { 2 } else { 1 };
        bits.skip(4)?; // element tag
    }
    bits.skip(4 * (lfe_elements + data_elements) as usize + 5 * coupling_elements as usize)?;
    bits.skip(bits.remaining() % 8)?; // byte_alignment
    let comment_bytes = bits.read(8)?;
    bits.skip(8 * comment_bytes as usize)?;
    Ok(channels)
}

/// What follows the core's configuration in backward compatible signalling.
struct Extension {
    sample_rate: Option<u32>,
    parametric_stereo: bool,
}

/// Reads syncExtensionType 0x2b7 and 0x548 (§1.6.2.1).
fn compatible_extension(bits: &mut Bits<'_>) -> Result<Extension, Malformed> {
    let mut extension = Extension { sample_rate: None, parametric_stereo: false };
    if bits.remaining() < 16 || bits.read(11)? != 0x2b7 || object_type(bits)? != SBR || !bits.flag()? {
        return Ok(extension);
    }
    extension.sample_rate = Some(sampling_frequency(bits)?);
    if bits.remaining() >= 12 && bits.read(11)? == 0x548 {
        extension.parametric_stereo = bits.flag()?;
    }
    Ok(extension)
}

/// Reads the head of UsacConfig (ISO/IEC 23003-3 §5.2). Its frequency is that of the output.
fn usac(bits: &mut Bits<'_>, audio_object_type: u8) -> Result<AudioSpecificConfig, Malformed> {
    let sample_rate = indexed_frequency(bits, 5)?;
    bits.skip(3)?; // coreSbrFrameLengthIndex
    let index = bits.read(5)? as u8;
    if index == 0 {
        let channels = escaped_value(bits, [5, 8, 16])?;
        let channels = u16::try_from(channels)
            .map_err(|_| Malformed::new(format!("numOutChannels {channels}, more than any layout has"), 0))?;
        return Ok(AudioSpecificConfig { audio_object_type, sample_rate, channels, configuration: None });
    }
    let channels = cicp::channels(index)
        .ok_or_else(|| Malformed::new(format!("channelConfigurationIndex {index}, which is reserved"), 0))?;
    // Index 8 would be two independent channels, which is no layout: it is reserved in ISO/IEC 23091-3
    Ok(AudioSpecificConfig { audio_object_type, sample_rate, channels, configuration: Some(index) })
}

/// escapedValue (ISO/IEC 23003-3 §5.2).
fn escaped_value(bits: &mut Bits<'_>, widths: [u32; 3]) -> Result<u32, Malformed> {
    let mut value = 0;
    for width in widths {
        let part = bits.read(width)?;
        value += part;
        if part != (1 << width) - 1 {
            break;
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asc(bytes: &[u8]) -> (u8, u32, u16, Option<u8>) {
        let asc = AudioSpecificConfig::parse(bytes).expect("well formed");
        (asc.audio_object_type, asc.sample_rate, asc.channels, asc.configuration)
    }

    #[test]
    fn low_complexity() {
        assert_eq!(asc(&[0x12, 0x10]), (2, 44_100, 2, Some(2)));
        assert_eq!(asc(&[0x11, 0xb0]), (2, 48_000, 6, Some(6)));
        // with an extension that says sbrPresentFlag 0
        assert_eq!(asc(&[0x12, 0x10, 0x56, 0xe5, 0x00]), (2, 44_100, 2, Some(2)));
    }

    #[test]
    fn high_efficiency_doubles_the_rate_and_parametric_stereo_the_channels() {
        // hierarchical: SBR over LC at 22.05 kHz; PS over SBR over mono at 24 kHz
        assert_eq!(asc(&[0x2b, 0x92, 0x08, 0x00]), (5, 44_100, 2, Some(2)));
        assert_eq!(asc(&[0xeb, 0x09, 0x88, 0x00]), (29, 48_000, 2, Some(2)));
        // compatible: LC at 24 kHz, SBR to 48 kHz in the extension; the same of mono with PS
        assert_eq!(asc(&[0x13, 0x10, 0x56, 0xe5, 0x98]), (2, 48_000, 2, Some(2)));
        assert_eq!(asc(&[0x13, 0x08, 0x56, 0xe5, 0x9d, 0x48, 0x80]), (2, 48_000, 2, Some(2)));
    }

    #[test]
    fn extended_high_efficiency() {
        // object type 42 by escape, 48 kHz (as 14496-3 has it), channels 2; UsacConfig: 48 kHz, frame length 1, index 2
        let bits = "11111 001010 0011 0010 00011 001 00010 000000";
        assert_eq!(asc(&pack(bits)), (42, 48_000, 2, Some(2)));
        // 25.6 kHz, index 0 and 3 channels listed
        let bits = "11111 001010 0110 0000 10101 001 00000 00011 000000";
        assert_eq!(asc(&pack(bits)), (42, 25_600, 3, None));
    }

    #[test]
    fn a_program_config_element_lists_the_channels() {
        // LC, 48 kHz, configuration 0; front: one and a pair, back: a pair, one LFE; no comment
        let bits = "00010 0011 0000 0 0 0  0000 01 0011 0010 0000 0001 01 000 0000 0 0 0  0 0000 1 0000 1 0001 0000";
        let mut bytes = pack(bits);
        bytes.push(0);
        assert_eq!(asc(&bytes), (2, 48_000, 6, None));
    }

    #[test]
    fn reserved_values_are_errors() {
        for bits in ["00010 1101 0010 000", "00010 0011 1000 000", "00010 1111 000000000000000000000000 0010 000"] {
            assert!(AudioSpecificConfig::parse(&pack(bits)).is_err(), "{bits}");
        }
    }

    #[test]
    fn descriptors_with_long_and_short_lengths() {
        let long = [
            0, 0, 0, 0, 0x03, 0x80, 0x80, 0x80, 0x22, 0, 2, 0, 0x04, 0x80, 0x80, 0x80, 0x14, 0x40, 0x15, 0, 0, 0, 0, 1,
            0xf4, 0, 0, 1, 0xe3, 0x0d, 0x05, 0x80, 0x80, 0x80, 0x02, 0x12, 0x10, 0x06, 0x80, 0x80, 0x80, 0x01, 0x02,
        ];
        let parse = |bytes: &[u8]| Configuration::parse(Fields::new(bytes, 0));
        assert_eq!(parse(&long).expect("well formed").codecs("mp4a"), "mp4a.40.2");
        let mp3 = [0, 0, 0, 0, 0x03, 0x12, 0, 2, 0, 0x04, 0x0d, 0x6b, 0x15, 0, 0, 0, 0, 1, 0xf4, 0, 0, 1, 0xe3, 0x0d];
        assert_eq!(parse(&mp3).expect("well formed").codecs("mp4a"), "mp4a.6B");
        let error = parse(&long[..30]).unwrap_err();
        assert_eq!(error.to_string(), "34 bytes wanted, 21 left (at 0x9)");
    }

    fn pack(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |n, (at, &bit)| n | bit << (7 - at))).collect()
    }
}
