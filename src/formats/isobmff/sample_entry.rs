//! Sample entries (ISO/IEC 14496-12 §8.5.2): what one says of its codec, and the RFC 6381 string for it.
//!
//! This only reads it: what is passed on is the entry itself, or what `quicktime.rs` makes of it.

use super::boxes::{BoxRef, Boxes, FourCc, find};
use super::groups::KeyGroups;
use crate::formats::cicp::Colour;
use crate::formats::dolby::{Ac3, Ac4, Vision};
use crate::formats::error::Malformed;
use crate::formats::fields::Fields;
use crate::formats::nal::{SequenceParameters, VuiHead};
use crate::formats::{aac, av1, avc, dts, flac, hevc, opus, vp9};

/// What a sample entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEntry {
    /// The entry's type; of an encrypted entry (`encv`, `enca`, `enct`) the original one, from `frma`.
    pub format: FourCc,
    /// RFC 6381 `codecs` parameter, exact: `avc1.64001f`, `mp4a.40.2`.
    pub codecs: String,
    /// What may be played instead by who can, HLS `SUPPLEMENTAL-CODECS` form: `dvh1.08.07/db4h`.
    pub supplemental_codecs: Option<String>,
    /// What is particular to the kind of media.
    pub media: Media,
    /// Common Encryption of the samples, if any.
    pub protection: Option<Protection>,
}

/// What is particular to a kind of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// Pictures.
    Video(Video),
    /// Sound.
    Audio(Audio),
    /// Timed text and subtitles.
    Text,
}

/// Pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Coded width in pixels.
    pub width: u16,
    /// Coded height in pixels.
    pub height: u16,
    /// `hSpacing:vSpacing` of `pasp`, or of the codec's configuration.
    pub pixel_aspect: Option<(u32, u32)>,
    /// From `colr` (`nclx`), else from the codec's configuration.
    pub colour: Option<Colour>,
    /// Bits a luma sample, where the configuration says.
    pub bit_depth: Option<u8>,
    /// Bytes of a NAL unit's length in samples, where they are made of NAL units.
    pub nal_length_bytes: Option<u8>,
}

/// Sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Channels a listener gets (after parametric stereo; of E-AC-3 with dependent substreams, of all of them).
    pub channels: u16,
    /// Samples a second that a decoder puts out (after spectral band replication).
    pub sample_rate: u32,
    /// How the channels lie.
    pub layout: ChannelLayout,
}

/// How channels lie, in the terms of the codec that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelLayout {
    /// ChannelConfiguration of ISO/IEC 23091-3 (MPEG codecs: AAC, xHE-AAC).
    Cicp(u8),
    /// The 16-bit mask of ETSI TS 102 366 table E.1.3 (`chanmap`), and the complexity index of Atmos in E-AC-3
    /// (TS 103 420), if it is there.
    Dolby {
        /// Channel map, bit 15 is L.
        map: u16,
        /// Joint object coding: its complexity index.
        joc_complexity: Option<u8>,
    },
    /// AC-4: the 24-bit presentation channel mask of ETSI TS 103 190-2 §E.10, and whether it is channel coded.
    Ac4 {
        /// `dsi_presentation_channel_mask_v1`; `None` for object audio.
        mask: Option<u32>,
    },
    /// Only their number is known.
    Count,
}

/// Common Encryption (ISO/IEC 23001-7 §8.2 `tenc`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// `cenc`, `cbcs`, …
    pub scheme: FourCc,
    /// default_KID.
    pub default_kid: [u8; 16],
    /// default_isProtected.
    pub is_protected: bool,
    /// default_Per_Sample_IV_Size in bytes: 0, 8 or 16.
    pub per_sample_iv_size: u8,
    /// default_crypt_byte_block and default_skip_byte_block.
    pub pattern: (u8, u8),
    /// default_constant_IV, empty if there is none.
    pub constant_iv: Vec<u8>,
    /// `seig` groups that the track's `stbl` describes.
    pub groups: KeyGroups,
}

/// Reads one entry of a `stsd`.
///
/// An entry of a type that is not understood is an error that says so, and so is one whose configuration cannot be read or
/// is not there.
pub fn parse(entry: BoxRef<'_>) -> Result<SampleEntry, Malformed> {
    read(entry).map_err(|e| e.within(entry.kind))
}

/// What an entry's fields are, before its boxes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Video,
    Audio,
    Text,
}

impl Kind {
    pub(super) fn of(format: FourCc) -> Option<Kind> {
        Some(match &format.0 {
            b"avc1" | b"avc3" | b"dva1" | b"dvav" | b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => Kind::Video,
            b"av01" | b"dav1" | b"vp09" | b"encv" => Kind::Video,
            b"mp4a" | b"ac-3" | b"ec-3" | b"ac-4" | b"Opus" | b"fLaC" | b"enca" => Kind::Audio,
            b"dtsc" | b"dtse" | b"dtsh" | b"dtsl" | b"dtsx" | b"dtsy" => Kind::Audio,
            b"wvtt" | b"stpp" | b"tx3g" | b"enct" => Kind::Text,
            _ => return None,
        })
    }
}

fn read(entry: BoxRef<'_>) -> Result<SampleEntry, Malformed> {
    let not_understood = |format| Malformed::new(format!("sample entry '{format}' is not understood"), entry.offset);
    let kind = Kind::of(entry.kind).ok_or_else(|| not_understood(entry.kind))?;
    let encrypted = matches!(&entry.kind.0, b"encv" | b"enca" | b"enct");
    let fields = EntryFields::parse(entry, kind)?;
    let (format, protection) = if encrypted {
        let (format, protection) = {
            let sinf = fields.required(b"sinf")?;
            protection(sinf).map_err(|e| e.within(sinf.kind))?
        };
        if Kind::of(format) != Some(kind) {
            return Err(not_understood(format));
        }
        (format, Some(protection))
    } else {
        (entry.kind, None)
    };
    let (codecs, supplemental_codecs, media) = match kind {
        Kind::Video => video(&fields, format)?,
        Kind::Audio => {
            let (codecs, audio) = audio(&fields, format)?;
            (codecs, None, Media::Audio(audio))
        }
        Kind::Text if format.0 == *b"stpp" => (fields.subtitle_codecs()?, None, Media::Text),
        Kind::Text => (format.to_string(), None, Media::Text),
    };
    Ok(SampleEntry { format, codecs, supplemental_codecs, media, protection })
}

/// The fields and boxes of an entry.
pub(super) struct EntryFields<'a> {
    entry: BoxRef<'a>,
    /// Without those that are QuickTime's alone.
    pub(super) boxes: Vec<BoxRef<'a>>,
    /// Whether it is laid out as in QuickTime, and as no entry of ISO/IEC 14496-12 is.
    pub(super) is_quicktime: bool,
    /// Of a VisualSampleEntry.
    size: (u16, u16),
    /// Of an AudioSampleEntry: channelcount.
    pub(super) channels: u16,
    /// Of an AudioSampleEntry: samplerate.
    pub(super) sample_rate: u32,
    /// Of an XMLSubtitleSampleEntry: namespace and schema_location.
    xml: [&'a [u8]; 2],
}

/// reserved and data_reference_index of every SampleEntry (ISO/IEC 14496-12 §8.5.2.2).
pub(super) const SAMPLE_ENTRY_BYTES: usize = 8;
/// A VisualSampleEntry's fields (§12.1.3.2).
pub(super) const VISUAL_BYTES: usize = SAMPLE_ENTRY_BYTES + 70;
/// An AudioSampleEntry's fields (§12.2.3.2).
const AUDIO_BYTES: usize = SAMPLE_ENTRY_BYTES + 20;
/// What version 1 of a QuickTime sound description adds (QuickTime File Format, "Sound Sample Description (Version 1)").
const QUICKTIME_1_BYTES: usize = 16;
/// What version 2 adds.
const QUICKTIME_2_BYTES: usize = 36;

impl<'a> EntryFields<'a> {
    pub(super) fn parse(entry: BoxRef<'a>, kind: Kind) -> Result<EntryFields<'a>, Malformed> {
        let mut parsed = EntryFields {
            entry,
            boxes: Vec::new(),
            is_quicktime: false,
            size: (0, 0),
            channels: 0,
            sample_rate: 0,
            xml: [&[]; 2],
        };
        let mut fields = entry.fields();
        fields.skip(SAMPLE_ENTRY_BYTES)?;
        match kind {
            Kind::Video => {
                fields.skip(16)?;
                parsed.size = (fields.u16()?, fields.u16()?);
                parsed.boxes = boxes_after(entry, VISUAL_BYTES)?;
                parsed.is_quicktime = !parsed.tiles(VISUAL_BYTES);
            }
            Kind::Audio => parsed.parse_audio(fields)?,
            Kind::Text => parsed.parse_text(fields)?,
        }
        Ok(parsed)
    }

    fn parse_audio(&mut self, mut fields: Fields<'a>) -> Result<(), Malformed> {
        let version = fields.u16()?;
        fields.skip(6)?;
        self.channels = fields.u16()?;
        fields.skip(6)?;
        self.sample_rate = fields.u32()? >> 16;
        let added_bytes = match version {
            1 if !self.is_iso_version_1() => QUICKTIME_1_BYTES,
            2 => {
                fields.skip(4)?; // sizeOfStructOnly
                let rate = f64::from_bits(fields.u64()?);
                self.sample_rate = rate as u32;
                let at = fields.offset();
                let channels = fields.u32()?;
                self.channels =
                    u16::try_from(channels).map_err(|_| Malformed::new(format!("{channels} channels"), at))?;
                QUICKTIME_2_BYTES
            }
            _ => 0,
        };
        self.boxes = boxes_after(self.entry, AUDIO_BYTES + added_bytes)?;
        let is_wave = |own: &BoxRef<'_>| own.kind.0 == *b"wave";
        self.is_quicktime = added_bytes > 0 || !self.tiles(AUDIO_BYTES + added_bytes) || self.boxes.iter().any(is_wave);
        if self.is_quicktime {
            self.boxes = iso_boxes(&self.boxes);
        }
        if let Some(srat) = self.first(b"srat") {
            let mut fields = srat.fields();
            fields.version_and_flags()?;
            self.sample_rate = fields.u32()?; // SamplingRateBox, §12.2.3.2
        }
        Ok(())
    }

    /// Whether an entry of version 1 is an AudioSampleEntryV1 (§12.2.3.2), which adds boxes alone. QuickTime has the number of bytes in a
    /// packet where that has the type of its first box, and four characters would be more than 500 MB.
    fn is_iso_version_1(&self) -> bool {
        let after = self.entry.payload().get(AUDIO_BYTES..).unwrap_or(&[]);
        after.get(4..8).is_none_or(|kind| kind.iter().all(|&b| b >= b' '))
    }

    /// Whether nothing is left after `skip` bytes of fields and the boxes.
    fn tiles(&self, skip: usize) -> bool {
        let boxes: usize = self.boxes.iter().map(|own| own.bytes().len()).sum();
        skip + boxes == self.entry.payload().len()
    }

    fn parse_text(&mut self, fields: Fields<'a>) -> Result<(), Malformed> {
        match &self.entry.kind.0 {
            b"wvtt" => self.boxes = boxes_after(self.entry, SAMPLE_ENTRY_BYTES)?,
            b"stpp" => self.parse_subtitle(fields)?,
            // The original type is in a box whose place depends on it.
            b"enct" => match boxes_after(self.entry, SAMPLE_ENTRY_BYTES) {
                Ok(boxes) if boxes.iter().any(|b| b.kind.0 == *b"sinf") => self.boxes = boxes,
                _ => self.parse_subtitle(fields)?,
            },
            _ => {}
        }
        Ok(())
    }

    /// XMLSubtitleSampleEntry (§12.6.3.2): namespace, schema_location, auxiliary_mime_types, each ending in a zero byte.
    fn parse_subtitle(&mut self, mut fields: Fields<'a>) -> Result<(), Malformed> {
        let bytes = fields.remaining();
        self.xml = [zero_terminated(&mut fields)?, zero_terminated(&mut fields)?];
        let after_two = SAMPLE_ENTRY_BYTES + bytes - fields.remaining();
        let after_three =
            zero_terminated(&mut fields).map(|_auxiliary| SAMPLE_ENTRY_BYTES + bytes - fields.remaining());
        self.boxes = match after_three.and_then(|skip| boxes_after(self.entry, skip)) {
            Ok(boxes) => boxes,
            // Shaka Packager (3.8.0, measured) leaves out the last string.
            Err(e) => boxes_after(self.entry, after_two).map_err(|_| e)?,
        };
        Ok(())
    }

    fn first(&self, kind: &[u8; 4]) -> Option<BoxRef<'a>> {
        self.boxes.iter().find(|b| b.kind.0 == *kind).copied()
    }

    fn required(&self, kind: &[u8; 4]) -> Result<BoxRef<'a>, Malformed> {
        self.first(kind).ok_or_else(|| Malformed::new(format!("no {} box", FourCc(*kind)), self.entry.offset))
    }

    /// What `parse` makes of the required box `kind`.
    fn configuration<T>(
        &self,
        kind: &[u8; 4],
        parse: impl FnOnce(Fields<'a>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let found = self.required(kind)?;
        parse(found.fields()).map_err(|e| e.within(found.kind))
    }

    /// The record of a Dolby Vision box, if there is one.
    fn dolby_vision(&self) -> Result<Option<Vision>, Malformed> {
        let Some(found) = [b"dvcC", b"dvvC", b"dvwC"].into_iter().find_map(|kind| self.first(kind)) else {
            return Ok(None);
        };
        Vision::parse(found.fields()).map(Some).map_err(|e| e.within(found.kind))
    }

    /// Colour of the first `colr` that gives code points (§12.1.5; `nclc` is QuickTime's, without a range).
    fn colour(&self) -> Result<Option<Colour>, Malformed> {
        for colr in self.boxes.iter().filter(|b| b.kind.0 == *b"colr") {
            let mut fields = colr.fields();
            let mut read = || {
                let colour_type = fields.take(4)?;
                if colour_type != b"nclx" && colour_type != b"nclc" {
                    return Ok(None);
                }
                let [primaries, transfer, matrix] = [fields.u16()?, fields.u16()?, fields.u16()?].map(code_point);
                let full_range = colour_type == b"nclx" && fields.u8()? & 0x80 != 0;
                Ok(Colour { primaries, transfer, matrix, full_range }.if_specified())
            };
            if let Some(colour) = read().map_err(|e: Malformed| e.within(colr.kind))? {
                return Ok(Some(colour));
            }
        }
        Ok(None)
    }

    /// `hSpacing:vSpacing` of `pasp` (§12.1.4).
    fn pixel_aspect(&self) -> Result<Option<(u32, u32)>, Malformed> {
        let Some(pasp) = self.first(b"pasp") else { return Ok(None) };
        let mut fields = pasp.fields();
        let mut read = || Ok((fields.u32()?, fields.u32()?));
        let (horizontal, vertical) = read().map_err(|e: Malformed| e.within(pasp.kind))?;
        Ok(Some((horizontal, vertical)).filter(|_| horizontal > 0 && vertical > 0))
    }

    /// RFC 6381 string of a subtitle track (ISO/IEC 14496-30 §5.8): `stpp.ttml.im1t` where the entry names the profile of
    /// TTML, by its MIME type box or by what it says of the documents' schema; else `stpp`, which every player takes to mean
    /// "look inside".
    fn subtitle_codecs(&self) -> Result<String, Malformed> {
        // The W3C's registry of TTML profiles, by the designators of IMSC 1.0.1 and 1.1
        const PROFILES: [(&[u8], &str); 4] = [
            (b"http://www.w3.org/ns/ttml/profile/imsc1/text", "im1t"),
            (b"http://www.w3.org/ns/ttml/profile/imsc1/image", "im1i"),
            (b"http://www.w3.org/ns/ttml/profile/imsc1.1/text", "im2t"),
            (b"http://www.w3.org/ns/ttml/profile/imsc1.1/image", "im2i"),
        ];
        if let Some(mime) = self.first(b"mime") {
            let mut fields = mime.fields();
            fields.version_and_flags().map_err(|e| e.within(mime.kind))?;
            if let Some(profile) = codecs_parameter(fields.rest()) {
                return Ok(format!("stpp.ttml.{profile}"));
            }
        }
        let named =
            self.xml.iter().flat_map(|list| list.split(|b| b.is_ascii_whitespace())).find_map(|uri| {
                PROFILES.iter().find(|(designator, _)| uri == *designator).map(|&(_, profile)| profile)
            });
        Ok(named.map_or_else(|| "stpp".to_owned(), |profile| format!("stpp.ttml.{profile}")))
    }
}

/// The boxes of `entry` after `skip` bytes of its payload. Fewer than eight bytes left at the end are none: QuickTime ends
/// an entry with four zero bytes.
fn boxes_after<'a>(entry: BoxRef<'a>, skip: usize) -> Result<Vec<BoxRef<'a>>, Malformed> {
    let payload = entry.payload();
    if payload.len() < skip {
        return Err(Malformed::new(format!("{skip} bytes of fields, {} there", payload.len()), entry.payload_offset()));
    }
    let mut boxes = Vec::new();
    let mut left = payload.len() - skip;
    for found in Boxes::new(&payload[skip..], entry.payload_offset() + skip as u64) {
        match found {
            Ok(found) => {
                left -= found.bytes().len();
                boxes.push(found);
            }
            Err(_) if left < 8 => break,
            Err(e) => return Err(e),
        }
    }
    Ok(boxes)
}

/// Boxes of a `wave` that mean the same outside of it: configurations, and what tells of protection.
const QUICKTIME_LIFTED: [&[u8; 4]; 8] = [b"esds", b"dac3", b"dec3", b"dac4", b"dOps", b"dfLa", b"ddts", b"sinf"];

/// What ISO/IEC 14496-12 has of the boxes of a sound description: without the `chan`, whose layout is QuickTime's, and the terminator; where a
/// `wave` is, what is to be lifted out of it.
fn iso_boxes<'a>(boxes: &[BoxRef<'a>]) -> Vec<BoxRef<'a>> {
    let mut kept: Vec<BoxRef<'a>> = Vec::with_capacity(boxes.len());
    for own in boxes {
        match &own.kind.0 {
            b"chan" | [0, 0, 0, 0] => {}
            b"wave" => {
                for inner in own.children().map_while(Result::ok) {
                    let is_there = |kind: FourCc| boxes.iter().chain(&kept).any(|other| other.kind == kind);
                    if QUICKTIME_LIFTED.contains(&&inner.kind.0) && !is_there(inner.kind) {
                        kept.push(inner);
                    }
                }
            }
            _ => kept.push(*own),
        }
    }
    kept
}

/// The bytes up to the next zero, which is passed over.
fn zero_terminated<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], Malformed> {
    let length = fields.rest().iter().position(|&b| b == 0);
    let length = length.ok_or_else(|| Malformed::new("a string without its end", fields.offset()))?;
    let string = fields.take(length)?;
    fields.skip(1)?;
    Ok(string)
}

/// A code point of `colr`, where it has 16 bits; those above the tables are as good as unspecified.
fn code_point(code: u16) -> u8 {
    const UNSPECIFIED: u8 = 2;
    u8::try_from(code).unwrap_or(UNSPECIFIED)
}

/// The longest `codecs` parameter that is repeated: every variant of a playlist has it.
const CODECS_BYTES_MAX: usize = 256;

/// The value of a MIME type's `codecs` parameter, if it is safe to repeat in a manifest.
fn codecs_parameter(mime: &[u8]) -> Option<&str> {
    let mime = mime.split(|&b| b == 0).next()?;
    let (_, value) = std::str::from_utf8(mime).ok()?.split_once("codecs=")?;
    let value = value.trim_start_matches('"');
    let value = &value[..value.find(['"', ';', ' ']).unwrap_or(value.len())];
    let value = value.strip_prefix("stpp.").unwrap_or(value);
    let value = value.strip_prefix("ttml.").unwrap_or(value);
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'|' | b'+' | b'-');
    ((1..=CODECS_BYTES_MAX).contains(&value.len()) && value.bytes().all(safe)).then_some(value)
}

/// Codec strings and pictures of an entry of `format`.
fn video(fields: &EntryFields<'_>, format: FourCc) -> Result<(String, Option<String>, Media), Malformed> {
    let sequence = |sequence: Option<SequenceParameters>, bit_depth: Option<u8>| {
        let vui = sequence.map_or(VuiHead::default(), |s| s.vui);
        (bit_depth.or(sequence.map(|s| s.bit_depth)), vui)
    };
    let mut nal_length_bytes = None;
    let (codecs, (bit_depth, coded)) = match &format.0 {
        b"avc1" | b"avc3" | b"dva1" | b"dvav" => {
            let avc = fields.configuration(b"avcC", avc::Configuration::parse)?;
            nal_length_bytes = Some(avc.length_bytes);
            (avc.codecs(format), sequence(avc.sequence, None))
        }
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => {
            let hevc = fields.configuration(b"hvcC", hevc::Configuration::parse)?;
            nal_length_bytes = Some(hevc.length_bytes);
            (hevc.codecs(format), sequence(hevc.sequence, Some(hevc.bit_depth)))
        }
        b"av01" | b"dav1" => {
            let av1 = fields.configuration(b"av1C", av1::Configuration::parse)?;
            (av1.codecs(format), (Some(av1.bit_depth), VuiHead { pixel_aspect: None, colour: av1.colour }))
        }
        _ => {
            let vp9 = fields.configuration(b"vpcC", vp9::Configuration::parse)?;
            (vp9.codecs(format), (Some(vp9.bit_depth), VuiHead { pixel_aspect: None, colour: vp9.colour }))
        }
    };
    let colour = fields.colour()?.or(coded.colour);
    let vision = fields.dolby_vision()?;
    // An entry of a Dolby type is named by its Dolby configuration alone (Dolby Vision Streams Within the HTTP Live Streaming
    // Format §4.2); any other by its base layer, with Dolby Vision beside it.
    let dolby_type = matches!(&format.0, b"dva1" | b"dvav" | b"dvh1" | b"dvhe" | b"dav1");
    let (codecs, supplemental_codecs) = match vision {
        Some(vision) if dolby_type => (vision.codecs(format), None),
        None if dolby_type => return Err(Malformed::new("no dvcC, dvvC or dvwC box", fields.entry.offset)),
        Some(vision) => (codecs, vision.supplemental_codecs(&format.0, colour.map(|c| c.transfer))),
        None => (codecs, None),
    };
    let (width, height) = fields.size;
    let pixel_aspect = fields.pixel_aspect()?.or(coded.pixel_aspect);
    let video = Video { width, height, pixel_aspect, colour, bit_depth, nal_length_bytes };
    Ok((codecs, supplemental_codecs, Media::Video(video)))
}

/// Codec string and sound of an entry of `format`.
///
/// The strings of Opus and FLAC are their four-character codes as they stand, `Opus` and `fLaC`: RFC 6381 §3.3 says that the
/// code is the element, and codes are case-sensitive. Safari's HLS knows FLAC by no other name, and Chromium takes both
/// spellings of both (156, measured).
fn audio(fields: &EntryFields<'_>, format: FourCc) -> Result<(String, Audio), Malformed> {
    let bare = format.to_string();
    let (codecs, audio) = match &format.0 {
        b"mp4a" => {
            let mpeg4 = fields.configuration(b"esds", aac::Configuration::parse)?;
            let audio = match mpeg4.specific {
                Some(aac) => Audio {
                    channels: aac.channels,
                    sample_rate: aac.sample_rate,
                    layout: cicp_layout(aac.configuration),
                },
                None => fields.counted(),
            };
            (mpeg4.codecs(format), audio)
        }
        b"ac-3" => (bare, fields.dolby(fields.configuration(b"dac3", Ac3::parse)?)),
        b"ec-3" => (bare, fields.dolby(fields.configuration(b"dec3", Ac3::parse_enhanced)?)),
        b"ac-4" => {
            let ac4 = fields.configuration(b"dac4", Ac4::parse)?;
            let layout =
                if ac4.versions.is_some() { ChannelLayout::Ac4 { mask: ac4.mask } } else { ChannelLayout::Count };
            let channels = ac4.channels().unwrap_or(fields.channels);
            (ac4.codecs(format), Audio { channels, sample_rate: ac4.sample_rate, layout })
        }
        b"Opus" => {
            let opus = fields.configuration(b"dOps", opus::Configuration::parse)?;
            let layout = cicp_layout(opus.configuration);
            (bare, Audio { channels: opus.channels, sample_rate: opus::SAMPLE_RATE, layout })
        }
        b"fLaC" => {
            let flac = fields.configuration(b"dfLa", flac::Configuration::parse)?;
            let layout = cicp_layout(flac.configuration);
            (bare, Audio { channels: flac.channels, sample_rate: flac.sample_rate, layout })
        }
        // dtsx and dtsy have another box (ETSI TS 103 491); RFC 6381 strings of DTS are the codes alone
        _ if fields.first(b"ddts").is_none() => (bare, fields.counted()),
        _ => {
            let dts = fields.configuration(b"ddts", dts::Configuration::parse)?;
            let counted = fields.counted();
            let channels = if dts.channels() > 0 { dts.channels() } else { counted.channels };
            let sample_rate = if dts.sample_rate > 0 { dts.sample_rate } else { counted.sample_rate };
            (bare, Audio { channels, sample_rate, ..counted })
        }
    };
    Ok((codecs, audio))
}

/// The layout of a ChannelConfiguration, where there is one.
fn cicp_layout(configuration: Option<u8>) -> ChannelLayout {
    configuration.map_or(ChannelLayout::Count, ChannelLayout::Cicp)
}

impl EntryFields<'_> {
    /// Sound as the entry's own fields count it.
    fn counted(&self) -> Audio {
        Audio { channels: self.channels, sample_rate: self.sample_rate, layout: ChannelLayout::Count }
    }

    fn dolby(&self, ac3: Ac3) -> Audio {
        Audio {
            channels: ac3.channels(),
            sample_rate: ac3.sample_rate.unwrap_or(self.sample_rate),
            layout: ChannelLayout::Dolby { map: ac3.map, joc_complexity: ac3.joc_complexity },
        }
    }
}

/// The original type and the protection that a `sinf` tells (ISO/IEC 14496-12 §8.12, 23001-7 §8.2).
fn protection(sinf: BoxRef<'_>) -> Result<(FourCc, Protection), Malformed> {
    let format = four_cc(&mut child(sinf, b"frma")?.fields())?;
    let mut schm = child(sinf, b"schm")?.fields();
    schm.version_and_flags()?;
    let scheme = four_cc(&mut schm)?;
    if !matches!(&scheme.0, b"cenc" | b"cbc1" | b"cens" | b"cbcs") {
        return Err(Malformed::new(format!("protection scheme '{scheme}' is not understood"), sinf.offset));
    }
    let schi = child(sinf, b"schi")?;
    let protection = child(schi, b"tenc")
        .and_then(|tenc| track_encryption(tenc.fields(), scheme).map_err(|e| e.within(tenc.kind)))
        .map_err(|e| e.within(schi.kind))?;
    Ok((format, protection))
}

/// The child `kind` of `parent`. The caller names the parent in errors.
fn child<'a>(parent: BoxRef<'a>, kind: &[u8; 4]) -> Result<BoxRef<'a>, Malformed> {
    find(parent.children(), kind)?.ok_or_else(|| Malformed::new(format!("no {} box", FourCc(*kind)), parent.offset))
}

/// TrackEncryptionBox, version 0 and 1.
fn track_encryption(mut fields: Fields<'_>, scheme: FourCc) -> Result<Protection, Malformed> {
    let start = fields.offset();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(1)?;
    let blocks = fields.u8()?;
    let pattern = if version == 0 { (0, 0) } else { (blocks >> 4, blocks & 0xf) };
    let is_protected = fields.u8()? == 1;
    let per_sample_iv_size = fields.u8()?;
    if !matches!(per_sample_iv_size, 0 | 8 | 16) {
        return Err(Malformed::new(
            format!("initialization vectors of {per_sample_iv_size} bytes, not 0, 8 or 16"),
            start,
        ));
    }
    let mut default_kid = [0; 16];
    default_kid.copy_from_slice(fields.take(16)?);
    let mut constant_iv = Vec::new();
    if is_protected && per_sample_iv_size == 0 {
        let size = fields.u8()?;
        if !matches!(size, 8 | 16) {
            return Err(Malformed::new(
                format!("a constant initialization vector of {size} bytes, not 8 or 16"),
                start,
            ));
        }
        constant_iv.extend_from_slice(fields.take(size.into())?);
    }
    let groups = KeyGroups::default();
    Ok(Protection { scheme, default_kid, is_protected, per_sample_iv_size, pattern, constant_iv, groups })
}

fn four_cc(fields: &mut Fields<'_>) -> Result<FourCc, Malformed> {
    let code = fields.take(4)?;
    Ok(FourCc([code[0], code[1], code[2], code[3]]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::isobmff::boxes::write_box;

    fn hex(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn entry(kind: &[u8; 4], fields: &[u8], boxes: &[(&[u8; 4], &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, kind, |out| {
            out.extend([0, 0, 0, 0, 0, 0, 0, 1]);
            out.extend(fields);
            for (kind, payload) in boxes {
                write_box(out, kind, |out| out.extend(hex(payload)));
            }
        });
        out
    }

    /// A VisualSampleEntry of 640x360.
    fn visual(kind: &[u8; 4], boxes: &[(&[u8; 4], &str)]) -> Vec<u8> {
        let mut fields = [0; 70];
        fields[16..20].copy_from_slice(&[0x02, 0x80, 0x01, 0x68]);
        entry(kind, &fields, boxes)
    }

    /// An AudioSampleEntry of 2 channels at 48 kHz.
    fn sound(kind: &[u8; 4], boxes: &[(&[u8; 4], &str)]) -> Vec<u8> {
        entry(kind, &sound_fields(0), boxes)
    }

    fn sound_fields(version: u8) -> [u8; 20] {
        [0, version, 0, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0, 0, 0, 0, 0xbb, 0x80, 0, 0]
    }

    fn parse_bytes(bytes: &[u8]) -> Result<SampleEntry, Malformed> {
        parse(Boxes::new(bytes, 0).next().expect("one box")?)
    }

    fn parsed(bytes: &[u8]) -> SampleEntry {
        parse_bytes(bytes).expect("well formed")
    }

    fn codecs_of(bytes: &[u8]) -> String {
        parsed(bytes).codecs
    }

    fn video_of(bytes: &[u8]) -> Video {
        match parsed(bytes).media {
            Media::Video(video) => video,
            other => panic!("{other:?}"),
        }
    }

    fn audio_of(bytes: &[u8]) -> (u16, u32, ChannelLayout) {
        match parsed(bytes).media {
            Media::Audio(audio) => (audio.channels, audio.sample_rate, audio.layout),
            other => panic!("{other:?}"),
        }
    }

    // High profile level 3.1 with BT.709 in its VUI
    const AVCC: &str = "0164001fffe1001a2764001fac52181a1ff93ff000100016a0202036d856bdef808001000528f94b098b";
    // Main 10, level 3, PQ in its VUI
    const HVCC: &str = "0102200000009000000000005af000fcfdfafa00000f03a00001001840010c01ffff02200000030090000003000003005a95
        9809a10001003742010102200000030090000003000003005aa005020169365959a4932bc05a848804f0800001f480007530300e6b3f00049
        3e000927c40a2000100074401c172a64624";
    // Main profile, level 2.0, no colour
    const AV1C: &str = "81000c000a0b000000043cffbdfff98040";
    const VPCC: &str = "010000000015800202020000";
    // Dolby Vision profile 8, level 1, SDR base layer
    const DVVC: &str = "0100100d20000000000000000000000000000000000000 00";
    // AAC-LC, 44.1 kHz, stereo
    const ESDS: &str = "000000000380808022000200048080801440150000000001ef620001ef5605808080021210068080800102";
    const DAC3: &str = "103de0";
    const DEC3: &str = "0600600400";
    const DAC4: &str = "20a6018096300000000ffffffff00112f9a800004800008e501000008f10995b8080";
    const DOPS: &str = "000201380000bb80000000";
    const DFLA: &str = "00000000800000221200120000001000238e0ac443700001d800753088112dd57a13e7f722d0ee56aea3";
    const DDTS: &str = "00005dc00002ee000002ee001002081ff0000200";
    // frma avc1; schm cbcs; schi with a tenc of version 1: pattern 1:9, constant IV
    const SINF_CBCS: &str = "0000000c66726d6161766331 000000147363686d000000006362637300010000
        0000003973636869 0000003174656e63 01000000 00 19 01 00 00000000000000000000000000000000 10
        cbe3327da85a1e7a74496db552dfe6d0";

    /// One entry of each kind, as files have them.
    fn entries() -> Vec<Vec<u8>> {
        vec![
            visual(b"avc1", &[(b"avcC", AVCC), (b"colr", "6e636c7800090012000900"), (b"pasp", "0000000400000003")]),
            visual(b"hvc1", &[(b"hvcC", HVCC), (b"dvvC", DVVC)]),
            visual(b"dvh1", &[(b"hvcC", HVCC), (b"dvcC", "01000a3500")]),
            visual(b"av01", &[(b"av1C", AV1C)]),
            visual(b"vp09", &[(b"vpcC", VPCC)]),
            visual(b"encv", &[(b"avcC", AVCC), (b"sinf", SINF_CBCS)]),
            sound(b"mp4a", &[(b"esds", ESDS)]),
            sound(b"ac-3", &[(b"dac3", DAC3)]),
            sound(b"ec-3", &[(b"dec3", DEC3)]),
            sound(b"ac-4", &[(b"dac4", DAC4)]),
            sound(b"Opus", &[(b"dOps", DOPS)]),
            sound(b"fLaC", &[(b"dfLa", DFLA)]),
            sound(b"dtsc", &[(b"ddts", DDTS)]),
            entry(b"wvtt", &[], &[(b"vttC", "574542565454")]),
            entry(b"stpp", b"http://www.w3.org/ns/ttml\0\0\0", &[(b"btrt", "000006380000084800000848")]),
            entry(b"tx3g", &[0; 38], &[]),
        ]
    }

    #[test]
    fn codec_strings() {
        let strings: Vec<String> = entries().iter().map(|e| codecs_of(e)).collect();
        let expected = [
            "avc1.64001f",
            "hvc1.2.4.L90.90",
            "dvh1.05.06",
            "av01.0.00M.08",
            "vp09.00.21.08",
            "avc1.64001f",
            "mp4a.40.2",
            "ac-3",
            "ec-3",
            "ac-4.02.01.01",
            "Opus",
            "fLaC",
            "dtsc",
            "wvtt",
            "stpp",
            "tx3g",
        ];
        assert_eq!(strings, expected);
    }

    #[test]
    fn the_type_of_the_entry_is_the_first_element() {
        assert_eq!(codecs_of(&visual(b"hev1", &[(b"hvcC", HVCC)])), "hev1.2.4.L90.90");
        assert_eq!(codecs_of(&visual(b"avc3", &[(b"avcC", AVCC)])), "avc3.64001f");
    }

    #[test]
    fn dolby_vision_beside_its_base_layer() {
        let entry = parsed(&visual(b"hvc1", &[(b"hvcC", HVCC), (b"dvvC", DVVC)]));
        assert_eq!(entry.codecs, "hvc1.2.4.L90.90");
        assert_eq!(entry.supplemental_codecs.as_deref(), Some("dvh1.08.01/db2g"));
    }

    #[test]
    fn a_dolby_vision_entry_without_its_box_is_an_error() {
        let error = parse_bytes(&visual(b"dvh1", &[(b"hvcC", HVCC)])).unwrap_err();
        assert_eq!(error.to_string(), "no dvcC, dvvC or dvwC box (dvh1 at 0x0)");
    }

    #[test]
    fn colour_of_the_container_goes_before_the_codecs() {
        let bytes = visual(b"hvc1", &[(b"hvcC", HVCC)]);
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        assert_eq!((video_of(&bytes).colour, video_of(&bytes).bit_depth), (Some(pq), Some(10)));
        let hlg = Colour { transfer: 18, ..pq };
        // an ICC profile is passed over; nclx that specifies nothing leaves the codec's word
        let bytes =
            visual(b"hvc1", &[(b"hvcC", HVCC), (b"colr", "70726f6600000000"), (b"colr", "6e636c7800090012000900")]);
        assert_eq!(video_of(&bytes).colour, Some(hlg));
        let bytes = visual(b"hvc1", &[(b"hvcC", HVCC), (b"colr", "6e636c7800020002000200")]);
        assert_eq!(video_of(&bytes).colour, Some(pq));
        let bytes = visual(b"avc1", &[(b"avcC", AVCC), (b"colr", "6e636c63000600010006")]);
        assert_eq!(video_of(&bytes).colour, Some(Colour { primaries: 6, transfer: 1, matrix: 6, full_range: false }));
    }

    #[test]
    fn size_and_aspect() {
        let video = video_of(&visual(b"avc1", &[(b"avcC", AVCC), (b"pasp", "0000000400000003")]));
        assert_eq!((video.width, video.height, video.pixel_aspect), (640, 360, Some((4, 3))));
        let video = video_of(&visual(b"vp09", &[(b"vpcC", VPCC), (b"pasp", "0000000000000001")]));
        assert_eq!(video.pixel_aspect, None);
    }

    #[test]
    fn sound_as_it_comes_out() {
        use crate::formats::dolby::channel_map::{C, L, LFE, LS, R, RS};
        let five_one = L | C | R | LS | RS | LFE;
        let expected = [
            (2, 44_100, ChannelLayout::Cicp(2)),
            (6, 48_000, ChannelLayout::Dolby { map: five_one, joc_complexity: None }),
            (2, 44_100, ChannelLayout::Dolby { map: L | R, joc_complexity: None }),
            (6, 48_000, ChannelLayout::Ac4 { mask: Some(0x47) }),
            (2, 48_000, ChannelLayout::Cicp(2)),
            (2, 44_100, ChannelLayout::Cicp(2)),
            (2, 24_000, ChannelLayout::Count),
        ];
        let sounds: Vec<_> = entries()[6..13].iter().map(|e| audio_of(e)).collect();
        assert_eq!(sounds, expected);
    }

    #[test]
    fn mp3_is_counted_by_the_entry() {
        let esds = "00000000 0312 000200 040d 6b 15 000000 0001f400 0001e30d";
        let bytes = sound(b"mp4a", &[(b"esds", esds)]);
        assert_eq!((codecs_of(&bytes).as_str(), audio_of(&bytes)), ("mp4a.6B", (2, 48_000, ChannelLayout::Count)));
    }

    #[test]
    fn quicktime_sound_versions() {
        // version 1: 16 more bytes, and the esds inside a wave
        let mut fields = sound_fields(1).to_vec();
        fields.extend(hex("00000400 00000000 00000000 00000002"));
        let esds = format!("0000000c66726d616d703461 {:08x} 65736473 {ESDS}", 8 + hex(ESDS).len());
        let bytes = entry(b"mp4a", &fields, &[(b"wave", esds.as_str())]);
        assert_eq!(audio_of(&bytes), (2, 44_100, ChannelLayout::Cicp(2)));
        // version 2: a rate in floating point, and a count of 32 bits
        let mut fields = sound_fields(2).to_vec();
        fields.extend(hex("00000048 40e7700000000000 00000006 7f000000 00000000 00000000 00000000 00000400"));
        let bytes = entry(b"dtsc", &fields, &[]);
        assert_eq!(audio_of(&bytes), (6, 48_000, ChannelLayout::Count));
    }

    #[test]
    fn version_1_of_an_iso_file_has_no_more_fields_but_a_rate_box() {
        let bytes = entry(b"dtsh", &sound_fields(1), &[(b"srat", "00000000 00017700")]);
        assert_eq!(audio_of(&bytes), (2, 96_000, ChannelLayout::Count));
    }

    #[test]
    fn four_zero_bytes_may_end_an_entry() {
        let mut bytes = visual(b"avc1", &[(b"avcC", AVCC)]);
        bytes.extend([0; 4]);
        let size = bytes.len() as u8;
        bytes[3] = size;
        assert_eq!(codecs_of(&bytes), "avc1.64001f");
    }

    #[test]
    fn protection_of_both_tenc_versions() {
        let cbcs = parsed(&visual(b"encv", &[(b"avcC", AVCC), (b"sinf", SINF_CBCS)]));
        assert_eq!(cbcs.format, FourCc(*b"avc1"));
        let expected = Protection {
            scheme: FourCc(*b"cbcs"),
            default_kid: [0; 16],
            is_protected: true,
            per_sample_iv_size: 0,
            pattern: (1, 9),
            constant_iv: hex("cbe3327da85a1e7a74496db552dfe6d0"),
            groups: KeyGroups::default(),
        };
        assert_eq!(cbcs.protection, Some(expected));
        let cenc = "0000000c66726d616d703461 000000147363686d0000000063656e6300010000
            0000002873636869 0000002074656e63 00000000 00 00 01 08 00112233445566778899aabbccddeeff";
        let protection = parsed(&sound(b"enca", &[(b"esds", ESDS), (b"sinf", cenc)])).protection.expect("encrypted");
        assert_eq!(
            (protection.scheme, protection.per_sample_iv_size, protection.pattern),
            (FourCc(*b"cenc"), 8, (0, 0))
        );
        assert_eq!(protection.default_kid[..], hex("00112233445566778899aabbccddeeff"));
    }

    #[test]
    fn protected_text_by_either_place_of_its_sinf() {
        let sinf = |format: &str| {
            format!(
                "0000000c66726d61{format} 000000147363686d0000000063656e6300010000
                0000002873636869 0000002074656e63 00000000 00 00 01 08 00112233445566778899aabbccddeeff"
            )
        };
        let (wvtt, stpp) = (sinf("77767474"), sinf("73747070"));
        assert_eq!(codecs_of(&entry(b"enct", &[], &[(b"vttC", "574542565454"), (b"sinf", &wvtt)])), "wvtt");
        assert_eq!(codecs_of(&entry(b"enct", b"http://www.w3.org/ns/ttml\0\0\0", &[(b"sinf", &stpp)])), "stpp");
    }

    #[test]
    fn protection_that_is_not_common_encryption_is_said() {
        let fairplay = "0000000c66726d6161766331 000000147363686d000000006974756e00000000";
        let error = parse_bytes(&visual(b"encv", &[(b"avcC", AVCC), (b"sinf", fairplay)])).unwrap_err();
        assert_eq!(error.to_string(), "protection scheme 'itun' is not understood (encv/sinf at 0x88)");
        let without_tenc = "0000000c66726d6161766331 000000147363686d0000000063656e6300010000 0000000873636869";
        let error = parse_bytes(&visual(b"encv", &[(b"avcC", AVCC), (b"sinf", without_tenc)])).unwrap_err();
        assert_eq!(error.to_string(), "no tenc box (encv/sinf/schi at 0xb0)");
    }

    #[test]
    fn subtitle_profiles() {
        let stpp = |strings: &[u8], boxes: &[(&[u8; 4], &str)]| codecs_of(&entry(b"stpp", strings, boxes));
        assert_eq!(stpp(b"http://www.w3.org/ns/ttml\0\0\0", &[]), "stpp");
        // the last string left out, with and without a box after it
        assert_eq!(stpp(b"http://www.w3.org/ns/ttml\0\0", &[]), "stpp");
        assert_eq!(stpp(b"http://www.w3.org/ns/ttml\0\0", &[(b"btrt", "000006380000084800000848")]), "stpp");
        let schema = b"http://www.w3.org/ns/ttml\0http://www.w3.org/ns/ttml/profile/imsc1/text\0\0";
        assert_eq!(stpp(schema, &[]), "stpp.ttml.im1t");
        let schema = b"http://www.w3.org/ns/ttml http://www.w3.org/ns/ttml/profile/imsc1/image\0\0image/png\0";
        assert_eq!(stpp(schema, &[]), "stpp.ttml.im1i");
        // application/ttml+xml;codecs=im1t|etd1
        let mime = "00000000 6170706c69636174696f6e2f74746d6c2b786d6c3b636f646563733d 696d31747c65746431 00";
        assert_eq!(stpp(b"http://www.w3.org/ns/ttml\0\0\0", &[(b"mime", mime)]), "stpp.ttml.im1t|etd1");
        // a quotation mark and a line feed never get into a manifest
        let mime = "00000000 6170706c69636174696f6e2f74746d6c2b786d6c3b636f646563733d 0a23 00";
        assert_eq!(stpp(b"http://www.w3.org/ns/ttml\0\0\0", &[(b"mime", mime)]), "stpp");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let error = parse_bytes(&entry(b"c608", &[], &[])).unwrap_err();
        assert_eq!(error.to_string(), "sample entry 'c608' is not understood (c608 at 0x0)");
        let sinf = SINF_CBCS.replacen("61766331", "6d703461", 1);
        let error = parse_bytes(&visual(b"encv", &[(b"avcC", AVCC), (b"sinf", &sinf)])).unwrap_err();
        assert_eq!(error.what, "sample entry 'mp4a' is not understood");
    }

    #[test]
    fn a_missing_configuration_is_named() {
        let error = parse_bytes(&visual(b"avc1", &[])).unwrap_err();
        assert_eq!(error.to_string(), "no avcC box (avc1 at 0x0)");
        let error = parse_bytes(&visual(b"hvc1", &[(b"hvcC", "0102")])).unwrap_err();
        assert_eq!(error.to_string(), "4 bytes wanted, 0 left (hvc1/hvcC at 0x60)");
    }

    proptest! {
        #[test]
        fn parse_never_panics(
            which in 0..16usize,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = entries().swap_remove(which);
            for (at, byte) in changes {
                // past the size and type, which the walker answers for
                let at = 8 + at.index(bytes.len() - 8);
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(8 + cut.index(bytes.len() - 8));
                let size = bytes.len() as u32;
                bytes[..4].copy_from_slice(&size.to_be_bytes());
            }
            let entry = Boxes::new(&bytes, 0).next().expect("one box").expect("a head that fits");
            let _ = parse(entry);
        }

        #[test]
        fn any_configuration_is_read_or_refused(which in 0..16usize, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let (kind, config): (&[u8; 4], &[u8; 4]) = [
                (b"avc1", b"avcC"), (b"hvc1", b"hvcC"), (b"dvh1", b"dvcC"), (b"av01", b"av1C"), (b"vp09", b"vpcC"),
                (b"encv", b"sinf"), (b"avc1", b"colr"), (b"avc1", b"pasp"), (b"mp4a", b"esds"), (b"ac-3", b"dac3"),
                (b"ec-3", b"dec3"), (b"ac-4", b"dac4"), (b"Opus", b"dOps"), (b"fLaC", b"dfLa"), (b"dtsc", b"ddts"),
                (b"stpp", b"mime"),
            ][which];
            let digits: String = payload.iter().map(|b| format!("{b:02x}")).collect();
            let bytes = match Kind::of(FourCc(*kind)) {
                Some(Kind::Video) => visual(kind, &[(config, digits.as_str()), (b"avcC", AVCC), (b"hvcC", HVCC)]),
                Some(Kind::Audio) => sound(kind, &[(config, digits.as_str())]),
                _ => entry(kind, &[0; 3], &[(config, digits.as_str())]),
            };
            if let Ok(entry) = parse_bytes(&bytes) {
                prop_assert!(entry.codecs.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b','));
            }
        }
    }
}
