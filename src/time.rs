//! Media time: integers, each with its timescale, and rescaling with stated rounding; and how UTC is written.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;

/// Ticks a second (ISO/IEC 14496-12 §8.4.2.3 `timescale`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timescale(NonZeroU32);

impl Timescale {
    /// Milliseconds.
    pub const MILLI: Timescale = Timescale(NonZeroU32::new(1000).expect("not zero"));
    /// Microseconds.
    pub const MICRO: Timescale = Timescale(NonZeroU32::new(1_000_000).expect("not zero"));
    /// Nanoseconds.
    pub const NANO: Timescale = Timescale(NonZeroU32::new(1_000_000_000).expect("not zero"));

    /// `None` for a timescale of zero, which no file may have.
    pub fn new(ticks_per_second: u32) -> Option<Timescale> {
        NonZeroU32::new(ticks_per_second).map(Timescale)
    }

    /// Ticks a second.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Timescale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which integer a value between two ticks becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// Toward minus infinity.
    Down,
    /// Toward plus infinity.
    Up,
    /// To the nearest, halves up.
    Nearest,
}

/// `ticks` of timescale `from`, expressed in timescale `to`; saturates at the ends of `i64`.
pub fn rescale(ticks: i64, from: Timescale, to: Timescale, rounding: Rounding) -> i64 {
    if from == to {
        return ticks;
    }
    let (num, den) = (i128::from(ticks) * i128::from(to.get()), i128::from(from.get()));
    let value = match rounding {
        Rounding::Down => floor(num, den),
        Rounding::Up => -floor(-num, den),
        Rounding::Nearest => floor(2 * num + den, 2 * den),
    };
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// `num / den` toward minus infinity. `den` is positive.
fn floor(num: i128, den: i128) -> i128 {
    // Times that occur fit in 64 bits, and a division of 128 takes several times as long.
    match (i64::try_from(num), i64::try_from(den)) {
        (Ok(num), Ok(den)) => num.div_euclid(den).into(),
        _ => num.div_euclid(den),
    }
}

/// A moment or a length on a media timeline: exact, comparable across timescales.
#[derive(Clone, Copy, Debug)]
pub struct MediaTime {
    /// May be negative before an edit list has been applied.
    pub ticks: i64,
    /// Ticks a second.
    pub timescale: Timescale,
}

impl MediaTime {
    /// `ticks` in `timescale`.
    pub fn new(ticks: i64, timescale: Timescale) -> MediaTime {
        MediaTime { ticks, timescale }
    }

    /// Zero.
    pub const ZERO: MediaTime = MediaTime { ticks: 0, timescale: Timescale::MILLI };

    /// Later by `other`, to the nearest tick of the finer timescale.
    pub fn plus(self, other: MediaTime) -> MediaTime {
        let timescale = if self.scale() < other.scale() { other.timescale } else { self.timescale };
        let ticks = |time: MediaTime| time.to(timescale, Rounding::Nearest);
        MediaTime { ticks: ticks(self).saturating_add(ticks(other)), timescale }
    }

    /// The same time in another timescale.
    pub fn to(self, timescale: Timescale, rounding: Rounding) -> i64 {
        rescale(self.ticks, self.timescale, timescale, rounding)
    }

    /// Seconds, for display and for ratios that need no exactness.
    pub fn seconds(self) -> f64 {
        self.ticks as f64 / f64::from(self.timescale.get())
    }

    /// `|self - other|` compared with `tolerance`, exactly.
    pub fn is_within(self, other: MediaTime, tolerance: MediaTime) -> bool {
        let (a, b, c) = (self.scale(), other.scale(), tolerance.scale());
        let difference = (i128::from(self.ticks) * b - i128::from(other.ticks) * a).abs();
        difference * c <= i128::from(tolerance.ticks) * a * b
    }

    fn scale(self) -> i128 {
        i128::from(self.timescale.get())
    }
}

impl PartialEq for MediaTime {
    fn eq(&self, other: &MediaTime) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MediaTime {}

impl PartialOrd for MediaTime {
    fn partial_cmp(&self, other: &MediaTime) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MediaTime {
    fn cmp(&self, other: &MediaTime) -> Ordering {
        if self.timescale == other.timescale {
            return self.ticks.cmp(&other.ticks);
        }
        (i128::from(self.ticks) * other.scale()).cmp(&(i128::from(other.ticks) * self.scale()))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted: the one clock, read by who is at the top and passed
/// down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Utc(pub u64);

impl Utc {
    /// `duration` later.
    pub fn after(self, duration: std::time::Duration) -> Utc {
        Utc(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Seconds since 1970, or a moment of UTC as RFC 3339 has it; either with up to three digits after the point.
impl std::str::FromStr for Utc {
    type Err = ();

    fn from_str(text: &str) -> Result<Utc, ()> {
        let digits = |text: &str, count: usize| -> Result<u64, ()> {
            let is_plain = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
            if is_plain { text.parse().map_err(|_| ()) } else { Err(()) }
        };
        let (whole, ms) = match text.trim_end_matches('Z').split_once('.') {
            None => (text.trim_end_matches('Z'), 0),
            Some((whole, fraction @ ("" | "0" | "00" | "000"))) => {
                (whole, if fraction.is_empty() { return Err(()) } else { 0 })
            }
            Some((whole, fraction)) => {
                (whole, digits(fraction, fraction.len().min(3))? * [100, 10, 1][fraction.len().clamp(1, 3) - 1])
            }
        };
        let Some((date, time)) = whole.split_once('T') else {
            // Fifteen digits of milliseconds are far beyond any calendar.
            let seconds = digits(whole, whole.len().clamp(1, 12))?;
            return if text.ends_with('Z') { Err(()) } else { Ok(Utc(seconds * 1000 + ms)) };
        };
        let fields = |text: &str, separator: char, lengths: [usize; 3]| -> Result<[u64; 3], ()> {
            let mut fields = text.split(separator);
            let mut next = |count: usize| digits(fields.next().ok_or(())?, count);
            let all = [next(lengths[0])?, next(lengths[1])?, next(lengths[2])?];
            if fields.next().is_some() { Err(()) } else { Ok(all) }
        };
        let [year, month, day] = fields(date, '-', [4, 2, 2])?;
        let [hour, minute, second] = fields(time, ':', [2, 2, 2])?;
        let is_sound = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if !text.ends_with('Z') || text.ends_with("ZZ") || !is_sound || hour > 23 || minute > 59 || second > 60 {
            return Err(());
        }
        // Days from the calendar, the other way round than below.
        let year = year - u64::from(month <= 2);
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (era * 146_097 + day_of_era).checked_sub(719_468).ok_or(())?;
        Ok(Utc((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms))
    }
}

/// As RFC 3339 and xs:dateTime have it, to the millisecond: `2026-11-25T22:29:07.123Z`.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = ((self.0 / 86_400_000) as i64, self.0 % 86_400_000);
        // The Gregorian calendar from days: years begin in March, so that the leap day is the last of a year; an era has 400 years.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scale(ticks: u32) -> Timescale {
        Timescale::new(ticks).expect("not zero")
    }

    #[test]
    fn rounding_is_as_stated() {
        let (ms, s) = (scale(1000), scale(1));
        assert_eq!(rescale(1500, ms, s, Rounding::Down), 1);
        assert_eq!(rescale(1500, ms, s, Rounding::Up), 2);
        assert_eq!(rescale(1500, ms, s, Rounding::Nearest), 2);
        assert_eq!(rescale(-1500, ms, s, Rounding::Down), -2);
        assert_eq!(rescale(-1500, ms, s, Rounding::Up), -1);
        assert_eq!(rescale(-1500, ms, s, Rounding::Nearest), -1);
    }

    #[test]
    fn utc_is_written_as_rfc_3339_has_it() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (1_795_645_747_123, "2026-11-25T22:29:07.123Z"),
        ] {
            assert_eq!(Utc(ms).to_string(), text);
            assert_eq!(text.parse(), Ok(Utc(ms)));
        }
    }

    #[test]
    fn a_moment_is_read_in_either_form() {
        for (text, ms) in
            [("0", 0), ("1795645747", 1_795_645_747_000), ("1795645747.5", 1_795_645_747_500), ("7.000", 7_000)]
        {
            assert_eq!(text.parse(), Ok(Utc(ms)), "{text}");
        }
        assert_eq!("2026-11-25T22:29:07Z".parse(), Ok(Utc(1_795_645_747_000)));
        for text in [
            "",
            "-1",
            "x",
            "1.",
            ".5",
            "1.0000",
            "1Z",
            "2026-11-25",
            "2026-11-25T22:29:07",
            "2026-13-25T22:29:07Z",
            "2026-11-25T22:29Z",
            "2026-11-25T22:29:07ZZ",
            "1969-12-31T23:59:59Z",
            "99999999999999",
        ] {
            assert_eq!(text.parse::<Utc>(), Err(()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_finer_scale_loses_nothing(ticks in -1_000_000_000i64..1_000_000_000, from in 1u32..100_000, factor in 1u32..1000) {
            let fine = rescale(ticks, scale(from), scale(from * factor), Rounding::Down);
            prop_assert_eq!(rescale(fine, scale(from * factor), scale(from), Rounding::Nearest), ticks);
        }

        #[test]
        fn order_does_not_depend_on_the_scale(a in any::<i32>(), b in any::<i32>(), factor in 1u32..1000) {
            let coarse = |t: i32| MediaTime::new(i64::from(t), scale(90));
            let fine = |t: i32| MediaTime::new(i64::from(t) * i64::from(factor), scale(90 * factor));
            prop_assert_eq!(coarse(a).cmp(&fine(b)), a.cmp(&b));
            prop_assert!(coarse(a).is_within(fine(b), coarse(a.abs_diff(b).min(i32::MAX as u32) as i32)) || a.abs_diff(b) > i32::MAX as u32);
        }
    }
}
