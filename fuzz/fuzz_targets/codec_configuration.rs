//! The configuration of a codec, and the RFC 6381 string that is made of it. The first byte says which.
#![no_main]

use headwater::formats::dolby::{Ac3, Ac4, Vision};
use headwater::formats::error::Malformed;
use headwater::formats::fields::Fields;
use headwater::formats::{aac, av1, avc, dts, flac, hevc, opus, vp9};
use libfuzzer_sys::fuzz_target;

/// What may stand in a codecs parameter (RFC 6381 §3.2), unquoted.
fn is_well_formed(codecs: &str) -> bool {
    !codecs.is_empty() && codecs.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

fn codecs(kind: u8, fields: Fields<'_>) -> Result<Option<String>, Malformed> {
    Ok(match kind {
        0 => Some(avc::Configuration::parse(fields)?.codecs("avc1")),
        1 => Some(hevc::Configuration::parse(fields)?.codecs("hvc1")),
        2 => Some(av1::Configuration::parse(fields)?.codecs("av01")),
        3 => Some(vp9::Configuration::parse(fields)?.codecs("vp09")),
        4 => Some(aac::Configuration::parse(fields)?.codecs("mp4a")),
        5 => {
            let _ = aac::AudioSpecificConfig::parse(fields.rest())?;
            None
        }
        6 => {
            let _ = opus::Configuration::parse(fields)?;
            None
        }
        7 => {
            let _ = flac::Configuration::parse(fields)?;
            None
        }
        8 => {
            let _ = Ac3::parse(fields)?.channels();
            None
        }
        9 => {
            let _ = Ac3::parse_enhanced(fields)?.channels();
            None
        }
        10 => {
            let ac4 = Ac4::parse(fields)?;
            let _ = ac4.channels();
            Some(ac4.codecs("ac-4"))
        }
        11 => {
            let _ = dts::Configuration::parse(fields)?.channels();
            None
        }
        12 => {
            let vision = Vision::parse(fields)?;
            for (format, transfer) in [(b"hvc1", Some(16)), (b"avc1", Some(1)), (b"av01", Some(18)), (b"hev1", None)] {
                if let Some(supplemental) = vision.supplemental_codecs(format, transfer) {
                    assert!(supplemental.split('/').all(is_well_formed), "{supplemental}");
                }
            }
            Some(vision.codecs("dvh1"))
        }
        _ => None,
    })
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, record)) = bytes.split_first() else { return };
    if let Ok(Some(codecs)) = codecs(kind % 13, Fields::new(record, 0)) {
        assert!(is_well_formed(&codecs), "{codecs}");
    }
});
