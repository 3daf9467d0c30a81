//! How bytes and times are written where they are kept as JSON.

use crate::time::{MediaTime, Timescale};

/// Ticks and timescale.
pub type Time = (i64, u32);

/// `time` as it is kept.
pub fn time(time: MediaTime) -> Time {
    (time.ticks, time.timescale.get())
}

/// The time that is kept so.
pub fn media_time((ticks, timescale): Time) -> Option<MediaTime> {
    Timescale::new(timescale).map(|timescale| MediaTime::new(ticks, timescale))
}

/// `bytes` in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that `text` is in hexadecimal digits, two of them each.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |own: u8| char::from(own).to_digit(16);
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(unhex(&hex(&[0, 15, 16, 255])), Some(vec![0, 15, 16, 255]));
        for text in ["0", "012", "+1", "-1", " 1", "0x", "é0"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
