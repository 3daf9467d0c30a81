//! Heads of still pictures: how large a JPEG (ITU-T T.81 §B.2) or PNG (W3C PNG §11.2.2) is.
//!
//! ```text
//!   JPEG: FFD8 { FF marker:8 length:16 … } … FF C0…CF length:16 precision:8 height:16 width:16
//!   PNG:  89 "PNG" 0D0A1A0A  length:32 "IHDR" width:32 height:32
//! ```

use super::error::Malformed;
use super::fields::Fields;

/// What a picture is coded as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// `image/jpeg`.
    Jpeg,
    /// `image/png`.
    Png,
}

impl Format {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Jpeg => "image/jpeg",
            Format::Png => "image/png",
        }
    }

    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Jpeg => "jpg",
            Format::Png => "png",
        }
    }
}

/// The head of a picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// What it is coded as.
    pub format: Format,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Head {
    /// Reads the beginning of a file. The error says what is wrong with it, or that its frame header comes later.
    pub fn parse(bytes: &[u8]) -> Result<Head, Malformed> {
        let head = match bytes {
            [0xff, 0xd8, ..] => jpeg(Fields::new(&bytes[2..], 2))?,
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => png(Fields::new(&bytes[8..], 8))?,
            _ => return Err(Malformed::new("neither JPEG nor PNG", 0)),
        };
        match head {
            Head { width: 1.., height: 1.., .. } => Ok(head),
            Head { width, height, .. } => Err(Malformed::new(format!("{width}x{height} pixels"), 0)),
        }
    }
}

fn jpeg(mut fields: Fields<'_>) -> Result<Head, Malformed> {
    loop {
        let at = fields.offset();
        if fields.u8()? != 0xff {
            return Err(Malformed::new("no marker", at));
        }
        let mut marker = fields.u8()?;
        while marker == 0xff {
            marker = fields.u8()?; // fill bytes, §B.1.1.2
        }
        match marker {
            // TEM and RSTm stand alone.
            0x01 | 0xd0..=0xd7 => continue,
            0xd9 | 0xda => return Err(Malformed::new("no frame header before the scan", at)),
            _ => {}
        }
        let length = usize::from(fields.u16()?);
        let segment = fields.take(length.saturating_sub(2))?;
        // Frame headers but for DHT, JPG and DAC, which lie between them.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            let mut frame = Fields::new(segment, at + 4);
            frame.skip(1)?;
            let (height, width) = (frame.u16()?.into(), frame.u16()?.into());
            return Ok(Head { format: Format::Jpeg, width, height });
        }
    }
}

fn png(mut fields: Fields<'_>) -> Result<Head, Malformed> {
    fields.skip(4)?;
    if fields.take(4)? != b"IHDR" {
        return Err(Malformed::new("its first chunk is not IHDR", 12));
    }
    Ok(Head { format: Format::Png, width: fields.u32()?, height: fields.u32()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn heads_say_how_large_a_picture_is() {
        // SOI; APP0, skipped; a fill byte; DHT, which is no frame; SOF2
        let jpeg =
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc4\x00\x03x\xff\xc2\x00\x0b\x08\x00\x5a\x00\xa0\x01\x01\x11\x00";
        assert_eq!(Head::parse(jpeg), Ok(Head { format: Format::Jpeg, width: 160, height: 90 }));
        let png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x01\x40\x00\x00\x00\xb4\x08\x02\x00\x00\x00";
        assert_eq!(Head::parse(png), Ok(Head { format: Format::Png, width: 320, height: 180 }));
        let error = |bytes: &[u8]| Head::parse(bytes).expect_err("an error").to_string();
        assert!(error(b"GIF89a").contains("neither JPEG nor PNG"));
        assert!(error(&jpeg[..20]).contains("left"), "{}", error(&jpeg[..20]));
        assert!(error(b"\xff\xd8\xff\xda\x00\x04ab").contains("no frame header"));
        assert!(error(b"\xff\xd8\xff\xc0\x00\x08\x08\x00\x00\x00\x00\x01").contains("0x0"));
    }

    proptest! {
        #[test]
        fn no_head_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), jpeg in any::<bool>()) {
            let magic: &[u8] = if jpeg { b"\xff\xd8" } else { b"\x89PNG\r\n\x1a\n" };
            let _ = Head::parse(&[magic, &bytes].concat());
        }
    }
}
