//! 3GPP timed text (3GPP TS 26.245, `tx3g`), read into cue text of WebVTT.
//!
//! ```text
//!   entry  = displayFlags:u32 horizontal:i8 vertical:i8 background:4 BoxRecord StyleRecord boxes…
//!   sample = length:u16 text:length [styl] …          UTF-8, or UTF-16 if a byte order mark says so
//!   StyleRecord = startChar:u16 endChar:u16 font:u16 face:u8 size:u8 rgba:4
//! ```

use super::boxes::{BoxRef, Boxes, find};
use crate::formats::cues::{Look, Palette};
use crate::formats::error::Malformed;
use crate::formats::fields::Fields;

/// Records of one `styl` that are looked at: more than letters on a screen.
const STYLES_MAX: usize = 2048;
/// displayFlags of QuickTime's subtitles: all samples are to be shown though no subtitles were asked for.
const ALL_FORCED: u32 = 0x8000_0000;

/// A `tx3g` sample entry, as far as WebVTT has words for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextEntry {
    /// Whether all samples are forced.
    pub is_forced: bool,
    /// Where its text is shown, as WebVTT cue settings; empty of what WebVTT does anyway.
    pub settings: &'static str,
    look: Look,
}

impl TextEntry {
    /// Of the first `tx3g` entry of the track `id` in `moov`.
    pub fn of_track(moov: BoxRef<'_>, id: u32) -> Result<TextEntry, Malformed> {
        for trak in moov.children() {
            let trak = trak?;
            if trak.kind.0 != *b"trak" {
                continue;
            }
            let mut header = trak.required(b"tkhd")?.fields();
            let (version, _) = header.version_and_flags()?;
            header.skip(if version == 1 { 16 } else { 8 })?;
            if header.u32()? != id {
                continue;
            }
            let stbl = trak.required(b"mdia")?.required(b"minf")?.required(b"stbl")?;
            let stsd = stbl.required(b"stsd")?;
            if let Some(entry) = find(stsd.children_after(8), b"tx3g")? {
                return TextEntry::parse(entry).map_err(|error| error.within(entry.kind));
            }
        }
        Err(Malformed::new("no tx3g sample entry", moov.offset).within(moov.kind))
    }

    fn parse(entry: BoxRef<'_>) -> Result<TextEntry, Malformed> {
        let mut fields = entry.fields();
        fields.skip(8)?;
        let flags = fields.u32()?;
        let (horizontal, vertical) = (fields.u8()? as i8, fields.u8()? as i8);
        // background, default text box
        fields.skip(4 + 8)?;
        let (_, look) = style(&mut fields)?;
        // §5.16: 0 is left and top, 1 centred, -1 right and bottom. Cues of WebVTT are centred at the bottom; text that is
        // left at the top is what writers leave zero.
        let settings = match (horizontal, vertical) {
            (1, 0) => "line:0",
            (1, 1) => "line:50%,center",
            (0, -1) => "align:start",
            (-1, -1) => "align:end",
            (-1, 0) => "line:0 align:end",
            _ => "",
        };
        Ok(TextEntry { is_forced: flags & ALL_FORCED != 0, settings, look })
    }

    /// The cue text of a sample; empty if nothing is shown. Offsets in errors count from the sample's first byte.
    pub fn cue_text(&self, sample: &[u8], palette: &mut Palette) -> Result<String, Malformed> {
        if sample.is_empty() {
            return Ok(String::new());
        }
        let mut fields = Fields::new(sample, 0);
        let length = fields.u16()?;
        let text = decoded(fields.take(length.into())?);
        let mut looks = vec![self.look; text.len()];
        for modifier in Boxes::new(fields.rest(), fields.offset()) {
            // Some writers pad samples with zeros; what was said before is whole.
            let Ok(modifier) = modifier else { break };
            if modifier.kind.0 == *b"styl" {
                let mut fields = modifier.fields();
                for _ in 0..usize::from(fields.u16()?).min(STYLES_MAX) {
                    let (range, look) = style(&mut fields).map_err(|error| error.within(modifier.kind))?;
                    let end = range.end.min(looks.len());
                    looks[range.start.min(end)..end].fill(look);
                }
            }
        }
        let mut runs: Vec<(String, Look)> = Vec::new();
        for (c, look) in text.into_iter().zip(looks) {
            match runs.last_mut() {
                Some((run, last)) if *last == look => run.push(c),
                _ => runs.push((c.into(), look)),
            }
        }
        Ok(palette.cue_text(&runs))
    }
}

/// Characters, which are what style records count (§5.17.1.1); what can't be read becomes U+FFFD.
fn decoded(bytes: &[u8]) -> Vec<char> {
    let wide = |read: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xfe, 0xff, rest @ ..] => wide(u16::from_be_bytes, rest),
        [0xff, 0xfe, rest @ ..] => wide(u16::from_le_bytes, rest),
        bytes => String::from_utf8_lossy(bytes).chars().collect(),
    }
}

/// A StyleRecord (§5.16): which characters, and how they look.
fn style(fields: &mut Fields<'_>) -> Result<(std::ops::Range<usize>, Look), Malformed> {
    let (start, end) = (fields.u16()?, fields.u16()?);
    fields.skip(2)?;
    let face = fields.u8()?;
    fields.skip(1)?;
    let rgba = fields.take(4)?;
    let colour = [rgba[0], rgba[1], rgba[2]];
    let colour = (rgba[3] != 0 && colour != [255; 3]).then_some(colour);
    let look = Look { bold: face & 1 != 0, italic: face & 2 != 0, underline: face & 4 != 0, colour };
    Ok((start.into()..end.into(), look))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::write_box;
    use proptest::prelude::*;

    fn record(start: u16, end: u16, face: u8, rgba: [u8; 4]) -> Vec<u8> {
        [&start.to_be_bytes()[..], &end.to_be_bytes(), &[0, 1, face, 18], &rgba].concat()
    }

    fn entry(flags: u32, horizontal: u8, vertical: u8) -> TextEntry {
        let mut bytes = Vec::new();
        write_box(&mut bytes, b"tx3g", |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            out.extend_from_slice(&flags.to_be_bytes());
            out.extend_from_slice(&[horizontal, vertical, 0, 0, 0, 0]);
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&record(0, 0, 0, [255; 4]));
        });
        let entry = Boxes::new(&bytes, 0).next().expect("one").expect("well formed");
        TextEntry::parse(entry).expect("an entry")
    }

    fn sample(text: &[u8], styles: &[Vec<u8>]) -> Vec<u8> {
        let mut out = (text.len() as u16).to_be_bytes().to_vec();
        out.extend_from_slice(text);
        if !styles.is_empty() {
            write_box(&mut out, b"styl", |out| {
                out.extend_from_slice(&(styles.len() as u16).to_be_bytes());
                styles.iter().for_each(|style| out.extend_from_slice(style));
            });
        }
        out
    }

    #[test]
    fn styles_count_characters() {
        let mut palette = Palette::default();
        let styles = [record(0, 5, 2, [255; 4]), record(6, 7, 5, [255, 255, 0, 255]), record(50, 90, 1, [0; 4])];
        let text = entry(0, 1, 0xff).cue_text(&sample("Grüße &\nx".as_bytes(), &styles), &mut palette);
        assert_eq!(text.as_deref(), Ok("<i>Grüße</i> <c.yellow><b><u>&amp;</u></b></c>\nx"));
        let wide: Vec<u8> = [0xfeff, 0x48, 0xe4u16].iter().flat_map(|unit| unit.to_be_bytes()).collect();
        assert_eq!(entry(0, 1, 0xff).cue_text(&sample(&wide, &[]), &mut palette).as_deref(), Ok("Hä"));
    }

    #[test]
    fn nothing_shown() {
        let mut palette = Palette::default();
        for empty in [&[][..], &[0, 0], &[0, 1, b' ']] {
            assert_eq!(entry(0, 1, 0xff).cue_text(empty, &mut palette).as_deref(), Ok(""));
        }
        let error = entry(0, 1, 0xff).cue_text(&[0, 9, b'x'], &mut palette).expect_err("short");
        assert_eq!(error.to_string(), "9 bytes wanted, 1 left (at 0x2)");
    }

    #[test]
    fn flags_and_places() {
        assert!(entry(0x8000_0000, 1, 0xff).is_forced && !entry(0x4000_0000, 1, 0xff).is_forced);
        assert_eq!((entry(0, 1, 0xff).settings, entry(0, 1, 0).settings, entry(0, 0, 0).settings), ("", "line:0", ""));
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..120), length in 0u16..40) {
            let entry = entry(0, 1, 0xff);
            let _ = entry.cue_text(&bytes, &mut Palette::default());
            let _ = entry.cue_text(&[&length.to_be_bytes()[..], &bytes].concat(), &mut Palette::default());
        }
    }
}
