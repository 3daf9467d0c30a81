//! When a fragment was produced (ISO/IEC 14496-12 §8.16.5, `prft`).
//!
//! ```text
//!   version, flags:24   reference_track_ID:u32   ntp_timestamp:u64   media_time:u32 or u64
//! ```

use super::boxes::BoxRef;
use crate::formats::error::Malformed;
use crate::time::Utc;

/// Seconds from 1900, where NTP counts from, to 1970 (RFC 5905 §6).
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// A moment of the producer's clock, and the media time that it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Produced {
    /// When.
    pub at: Utc,
    /// Media time, in ticks of the track.
    pub media_time: u64,
    /// Whether it is when it was captured (flags 24), not when the encoder had it.
    pub is_captured: bool,
}

/// Reads a `prft`.
pub fn produced(prft: BoxRef<'_>) -> Result<Produced, Malformed> {
    let mut fields = prft.fields();
    let (version, flags) = fields.version_and_flags()?;
    fields.skip(4)?;
    let ntp = fields.u64()?;
    let media_time = fields.u32_or_u64(version == 1)?;
    // What lies before 1970 is of the era that begins in 2036.
    let seconds = (ntp >> 32).checked_sub(NTP_TO_UNIX_S).unwrap_or((ntp >> 32) + (1 << 32) - NTP_TO_UNIX_S);
    let ms = seconds * 1000 + (((ntp & 0xffff_ffff) * 1000) >> 32);
    Ok(Produced { at: Utc(ms), media_time, is_captured: flags == 24 })
}

#[cfg(test)]
mod tests {
    use super::super::boxes::{Boxes, write_full_box};
    use super::*;

    fn read(version: u8, flags: u32, ntp: u64, media_time: &[u8]) -> Result<Produced, Malformed> {
        let mut bytes = Vec::new();
        write_full_box(&mut bytes, b"prft", version, flags, |out| {
            out.extend_from_slice(&1u32.to_be_bytes());
            out.extend_from_slice(&ntp.to_be_bytes());
            out.extend_from_slice(media_time);
        });
        Boxes::new(&bytes, 0).next().expect("one").and_then(produced)
    }

    #[test]
    fn ntp_becomes_utc_in_both_eras() {
        let half = 1u64 << 31;
        let of_2020 = (NTP_TO_UNIX_S + 1_577_836_800) << 32 | half;
        let expected = Produced { at: Utc(1_577_836_800_500), media_time: 7, is_captured: true };
        assert_eq!(read(1, 24, of_2020, &7u64.to_be_bytes()), Ok(expected));
        assert_eq!(read(0, 24, of_2020, &7u32.to_be_bytes()), Ok(expected));
        let of_2040 = (NTP_TO_UNIX_S + 2_208_988_800 - (1 << 32)) << 32;
        assert_eq!(
            read(0, 0, of_2040, &[0; 4]).map(|read| (read.at, read.is_captured)),
            Ok((Utc(2_208_988_800_000), false))
        );
        assert!(read(1, 0, 0, &[0; 4]).is_err());
    }
}
