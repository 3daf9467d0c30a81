//! Byte ranges (RFC 9110 §14).

use std::ops::Range;

/// More ranges than this in one request are answered with the whole: nobody who plays media needs them.
pub const RANGES_MAX: usize = 16;

/// What a Range header asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// All of it: there is no Range, or one that is to be ignored.
    Whole,
    /// These bytes.
    One(Range<u64>),
    /// These bytes, in this order; at least two.
    Several(Vec<Range<u64>>),
    /// Nothing that there is: 416.
    Unsatisfiable,
}

/// Reads the value of a Range header, of a representation of `len` bytes.
///
/// What is not `bytes`, or malformed, is ignored (§14.2); so are ranges so many or so overlapping that they can only mean
/// harm (§17.15).
pub fn parse(value: Option<&str>, len: u64) -> Asked {
    let Some((unit, set)) = value.and_then(|value| value.split_once('=')) else { return Asked::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    // One range is what is asked for nearly always, and it needs no list.
    let (mut first, mut more) = (None, Vec::new());
    let mut count = 0;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        count += 1;
        if count > RANGES_MAX {
            return Asked::Whole;
        }
        match one(spec, len) {
            Some(Some(range)) if first.is_none() => first = Some(range),
            Some(Some(range)) => more.push(range),
            Some(None) => {}
            None => return Asked::Whole,
        }
    }
    match first {
        None if count == 0 => Asked::Whole,
        None => Asked::Unsatisfiable,
        Some(first) if more.is_empty() => Asked::One(first),
        Some(first) => {
            more.insert(0, first);
            let total: u64 = more.iter().map(|range| range.end - range.start).sum();
            if total > len { Asked::Whole } else { Asked::Several(more) }
        }
    }
}

/// One range: `None` if malformed, `Some(None)` if it lies past the end.
fn one(spec: &str, len: u64) -> Option<Option<Range<u64>>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // What exceeds 64 bits lies past any end.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    if first.is_empty() {
        let suffix = number(last)?.min(len);
        return Some((suffix > 0).then(|| len - suffix..len));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < len).then(|| first..last.saturating_add(1).min(len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_asked() {
        let check = |value: &str, expected| assert_eq!(parse(Some(value), 100), expected, "{value}");
        check("bytes=0-9", Asked::One(0..10));
        check("bytes=90-", Asked::One(90..100));
        check("bytes=-10", Asked::One(90..100));
        check("bytes=-1000", Asked::One(0..100));
        check("bytes=0-1000", Asked::One(0..100));
        check("bytes=99-99", Asked::One(99..100));
        check("Bytes = 0-0", Asked::One(0..1));
        check("bytes=100-", Asked::Unsatisfiable);
        check("bytes=-0", Asked::Unsatisfiable);
        check("bytes=200-300, 400-", Asked::Unsatisfiable);
        check("bytes=0-1, 200-", Asked::One(0..2));
        check("bytes=0-1, 4-5", Asked::Several(vec![0..2, 4..6]));
        check("bytes=4-5,0-1", Asked::Several(vec![4..6, 0..2]));
        check("bytes=0-99999999999999999999999", Asked::One(0..100));
        for ignored in ["", "bytes", "bytes=", "bytes=a-b", "bytes=5-4", "bytes=-", "items=0-1", "bytes=0-80,20-99"] {
            check(ignored, Asked::Whole);
        }
        check(&format!("bytes={}", vec!["0-0"; RANGES_MAX + 1].join(",")), Asked::Whole);
        assert_eq!(parse(None, 100), Asked::Whole);
        assert_eq!(parse(Some("bytes=0-"), 0), Asked::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_lies_within(value in "bytes=[0-9, -]{0,30}", len in 0u64..1000) {
            match parse(Some(&value), len) {
                Asked::One(range) => prop_assert!(range.start < range.end && range.end <= len),
                Asked::Several(ranges) => prop_assert!(ranges.iter().all(|r| r.start < r.end && r.end <= len)),
                Asked::Whole | Asked::Unsatisfiable => {}
            }
        }
    }
}
