//! TTML in ISO base media files (ISO/IEC 14496-30 §5): a sample is a document, the sample entry says of which profile.
//!
//! ```text
//!   stsd > stpp: namespace 00, schema_location 00, auxiliary_mime_types 00 > mime: application/ttml+xml;codecs=im1t
//! ```

use super::boxes::{write_box, write_full_box};
use super::text_init;
use crate::time::Timescale;

/// The initialization segment of an `stpp` track of `timescale` whose documents are of `profile` in the W3C's registry (`im1t`); `roles`
/// are its kinds in urn:mpeg:dash:role:2011.
pub fn write_init(id: u32, timescale: Timescale, tag: Option<&str>, roles: &[&str], profile: &str) -> Vec<u8> {
    text_init::write(id, timescale, tag, roles, [b"subt", b"sthd"], |out| {
        write_box(out, b"stpp", |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            out.extend_from_slice(b"http://www.w3.org/ns/ttml\0\0\0");
            write_full_box(out, b"mime", 0, 0, |out| {
                out.extend_from_slice(format!("application/ttml+xml;codecs={profile}\0").as_bytes());
            });
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::Boxes;
    use crate::formats::isobmff::movie::Movie;

    #[test]
    fn what_is_written_is_read_back() {
        let init = write_init(3, Timescale::MILLI, Some("de"), &["caption"], "im1t");
        let moov = Boxes::new(&init, 0).nth(1).expect("a moov").expect("well formed");
        let movie = Movie::parse(moov).expect("a movie");
        let track = &movie.tracks[0];
        assert_eq!((track.id, &track.entry.codecs[..], track.handler.0), (3, "stpp.ttml.im1t", *b"subt"));
        assert_eq!(track.extended_language.as_deref(), Some("de"));
    }
}
