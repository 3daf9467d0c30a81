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

/// The bytes that `text` is in hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
