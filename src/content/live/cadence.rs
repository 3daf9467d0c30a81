//! The cadence of a channel: segments are exactly so long, and begin at multiples of it. So where one ends is known when it begins, and
//! where a channel's media times count from 1970 so is its number, whoever takes it in and since when.
//!
//! ```text
//!   0        D        2D       3D
//!   |---0----|---1----|---2----|     number = round(start / D)
//!   |--0---|---1----|--2-----|       sound: the first frame at or after it
//! ```

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::time::Timescale;

/// How long segments are: a rational number of seconds, such as 60060/30000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Cadence {
    ticks: NonZeroU32,
    timescale: Timescale,
}

impl Cadence {
    /// `ticks` of `timescale`; `None` of nothing.
    pub fn new(ticks: u32, timescale: Timescale) -> Option<Cadence> {
        NonZeroU32::new(ticks).map(|ticks| Cadence { ticks, timescale })
    }

    /// To the nearest nanosecond below.
    pub fn duration(self) -> Duration {
        let nanos = u64::from(self.ticks.get()) * 1_000_000_000 / u64::from(self.timescale.get());
        Duration::from_nanos(nanos)
    }

    /// In ticks of `timescale`, if that is a whole number.
    pub fn exact(self, timescale: Timescale) -> Option<i64> {
        let (length, scale) = self.in_units(timescale);
        (length % scale == 0).then(|| i64::try_from(length / scale).ok()).flatten()
    }

    /// The first tick of `timescale` at or after `number` times it.
    pub fn start(self, number: i64, timescale: Timescale) -> i64 {
        let (length, scale) = self.in_units(timescale);
        let start = -(-(i128::from(number) * length)).div_euclid(scale);
        start.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    /// The number of the segment that begins at or about `ticks` of `timescale`.
    pub fn nearest(self, ticks: i64, timescale: Timescale) -> i64 {
        let (length, scale) = self.in_units(timescale);
        (2 * i128::from(ticks) * scale + length).div_euclid(2 * length) as i64
    }

    /// The number of the segment that `ticks` of `timescale` lies in.
    pub fn containing(self, ticks: i64, timescale: Timescale) -> i64 {
        let (length, scale) = self.in_units(timescale);
        (i128::from(ticks) * scale).div_euclid(length) as i64
    }

    /// Both numbers in one, for what is named by it: no time in seconds is as large.
    pub fn as_u64(self) -> u64 {
        u64::from(self.ticks.get()) << 32 | u64::from(self.timescale.get())
    }

    /// Its length, and a tick of `timescale`, in a unit in which both are whole.
    fn in_units(self, timescale: Timescale) -> (i128, i128) {
        (i128::from(self.ticks.get()) * i128::from(timescale.get()), i128::from(self.timescale.get()))
    }
}

/// `2s`, `1920ms`, or seconds as a fraction: `60060/30000`.
impl FromStr for Cadence {
    type Err = String;

    fn from_str(text: &str) -> Result<Cadence, String> {
        let parsed = if let Some((ticks, timescale)) = text.split_once('/') {
            ticks.trim().parse().ok().zip(timescale.trim().parse().ok().and_then(Timescale::new))
        } else if let Some(ms) = text.strip_suffix("ms") {
            ms.trim().parse().ok().zip(Some(Timescale::MILLI))
        } else {
            text.strip_suffix('s').and_then(|s| s.trim().parse().ok()).zip(Timescale::new(1))
        };
        parsed
            .and_then(|(ticks, timescale)| Cadence::new(ticks, timescale))
            .ok_or_else(|| format!("{text:?} is no cadence such as 2s, 1920ms or 60060/30000"))
    }
}

impl TryFrom<String> for Cadence {
    type Error = String;

    fn try_from(text: String) -> Result<Cadence, String> {
        text.parse()
    }
}

/// As it is written.
impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timescale.get() {
            1 => write!(f, "{}s", self.ticks),
            1000 => write!(f, "{}ms", self.ticks),
            timescale => write!(f, "{}/{timescale}", self.ticks),
        }
    }
}

/// What a channel's segments keep.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long they exactly are, if that is declared.
    pub cadence: Option<Cadence>,
    /// Whether numbers follow from times, too.
    pub is_locked: bool,
    /// The number of the period that gathers, of which nobody was told.
    pub gathers: Option<u64>,
}

impl Pace {
    /// The cadence, if numbers follow from times.
    pub fn locked(self) -> Option<Cadence> {
        self.cadence.filter(|_| self.is_locked)
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
    fn it_is_read_as_it_is_written() {
        for text in ["2s", "1920ms", "60060/30000"] {
            assert_eq!(text.parse::<Cadence>().map(|cadence| cadence.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "2", "0s", "1/0", "2.5s", "-1s", "60060/"] {
            assert!(text.parse::<Cadence>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_is_whole_is_exact() {
        let cadence: Cadence = "60060/30000".parse().expect("a cadence");
        assert_eq!(cadence.exact(scale(90_000)), Some(180_180));
        assert_eq!(cadence.exact(scale(48_000)), Some(96_096));
        assert_eq!(cadence.exact(scale(44_100)), None);
        assert_eq!(cadence.start(1, scale(44_100)), 88_289, "the first tick after 88288.2");
    }

    proptest! {
        #[test]
        fn a_segment_that_begins_where_it_should_has_its_number(
            ticks in 500u32..100_000, own in 1000u32..50_000, timescale in 1000u32..100_000, number in 0i64..1_000_000_000,
        ) {
            let (Some(cadence), timescale) = (Cadence::new(ticks.max(own / 2), scale(own)), scale(timescale)) else {
                return Ok(());
            };
            let start = cadence.start(number, timescale);
            prop_assert_eq!(cadence.nearest(start, timescale), number);
            prop_assert_eq!(cadence.containing(start, timescale), number);
            prop_assert_eq!(cadence.containing(start - 1, timescale), number - 1);
        }
    }
}
