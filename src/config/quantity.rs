//! Durations and sizes as people write them: `6s`, `500ms`, `1.5s`, `10m`; `512MiB`, `2GiB`, `25%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A duration: a number and one of `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// Bytes: a number and one of `B`, `KiB`, `MiB`, `GiB`, `TiB`, or `kB`, `MB`, `GB`, `TB` for powers of 1000.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// A part of memory: a [`Size`], or a percentage of what the process may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum Share {
    /// So many bytes.
    Size(Size),
    /// 1 to 100.
    Percent(u8),
}

impl Share {
    /// Bytes, of `whole`.
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Share::Size(Size(bytes)) => bytes,
            Share::Percent(percent) => (u128::from(whole) * u128::from(percent) / 100) as u64,
        }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        const UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let millis =
            scaled(text, UNITS).ok_or_else(|| format!("{text:?} is no duration such as 6s, 500ms, 1.5s or 10m"))?;
        Ok(Span(Duration::from_millis(millis)))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        const UNITS: &[(&str, u64)] = &[
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
            ("B", 1),
        ];
        scaled(text, UNITS).map(Size).ok_or_else(|| format!("{text:?} is no size such as 512MiB, 1.5GiB or 64KiB"))
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let Some(percent) = text.strip_suffix('%') else {
            let message = |_| format!("{text:?} is no part of memory such as 25%, 512MiB or 2GiB");
            return text.parse().map(Share::Size).map_err(message);
        };
        match percent.trim_end().parse() {
            Ok(percent @ 1..=100) => Ok(Share::Percent(percent)),
            _ => Err(format!("{text:?} is no percentage from 1% to 100%")),
        }
    }
}

macro_rules! try_from_string {
    ($($name:ty),+) => {
        $(impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<$name, String> {
                text.parse()
            }
        })+
    };
}
try_from_string!(Span, Size, Share);

/// A decimal number times its unit, exactly, or `None`: at most nine digits behind the point, and nothing left over.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, unit) = text.split_at(digits);
    let unit = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || part.is_empty() || part.len() > 9 {
        return None;
    }
    let part_units = u128::from(part.parse::<u64>().ok()?) * u128::from(unit);
    let part_scale = 10u128.pow(part.len() as u32);
    if part_units % part_scale != 0 && unit < 1000 {
        return None;
    }
    let value = u128::from(whole.parse::<u64>().ok()?) * u128::from(unit) + part_units / part_scale;
    u64::try_from(value).ok()
}

/// `bytes` for people: `1.9 GiB`.
pub fn readable_bytes(bytes: u64) -> impl fmt::Display {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let Some(power) = (1..=units.len()).rev().find(|power| bytes >> (10 * power) > 0) else {
        return format!("{bytes} B");
    };
    format!("{:.1} {}", bytes as f64 / (1u64 << (10 * power)) as f64, units[power - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let millis = |text: &str| text.parse::<Span>().ok().map(|span| span.0.as_millis());
        for (text, expected) in [
            ("6s", Some(6000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1500)),
            ("1.001s", Some(1001)),
            ("10 m", Some(600_000)),
            ("6h", Some(21_600_000)),
            ("0s", Some(0)),
            ("6", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.s", None),
            (".5s", None),
            ("1.2.3s", None),
            ("0.5ms", None),
            ("6sec", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(millis(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_and_shares() {
        let bytes = |text: &str| text.parse::<Share>().ok().map(|share| share.of(1000));
        for (text, expected) in [
            ("512MiB", Some(512 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("2 GB", Some(2_000_000_000)),
            ("100B", Some(100)),
            ("25%", Some(250)),
            ("100%", Some(1000)),
            ("0%", None),
            ("101%", None),
            ("2.5%", None),
            ("512", None),
            ("512mb", None),
            ("GiB", None),
            ("16777216TiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text:?}");
        }
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (5 << 40, "5.0 TiB")]
        {
            assert_eq!(readable_bytes(bytes).to_string(), text);
        }
    }
}
