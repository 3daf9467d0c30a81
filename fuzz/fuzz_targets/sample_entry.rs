//! A sample entry of any codec.
#![no_main]

use headwater::formats::isobmff::boxes::Boxes;
use headwater::formats::isobmff::sample_entry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(Ok(entry)) = Boxes::new(bytes, 0).next() {
        let _ = sample_entry::parse(entry);
    }
});
