//! Range and conditional headers.
#![no_main]

use headwater::origin::conditional;
use headwater::origin::range::{self, Asked};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u64, Vec<u8>, Vec<u8>)| {
    let (len, range, condition) = input;
    if let Ok(text) = std::str::from_utf8(&range) {
        match range::parse(Some(text), len) {
            Asked::One(range) => assert!(range.start < range.end && range.end <= len),
            Asked::Several(ranges) => assert!(ranges.iter().all(|r| r.start < r.end && r.end <= len)),
            Asked::Whole | Asked::Unsatisfiable => {}
        }
    }
    let Ok(value) = HeaderValue::from_bytes(&condition) else { return };
    for name in ["if-none-match", "if-match", "if-modified-since", "if-unmodified-since", "if-range", "accept-encoding"]
    {
        let headers: HeaderMap = [(name.parse().expect("a name"), value.clone())].into_iter().collect();
        let _ = conditional::judge(&headers, "\"tag\"", Some(1_000_000));
        let _ = conditional::range_holds(&headers, "\"tag\"", Some(1_000_000));
        let _ = conditional::coding(&headers);
    }
});
