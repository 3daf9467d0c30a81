//! A file of TTML, and the samples that are made of it.
#![no_main]

use headwater::formats::{cues, ttml};
use headwater::media::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = cues::decode(bytes) else { return };
    let Ok(ttml::Read { cues, document }) = ttml::parse(&read) else { return };
    if let Ok(made) = document.map(|document| text::documents(&document, 1000, 0..100_000, &[6000, 12_000], 0, 1 << 20)) {
        assert!(made.is_err() || made.is_ok_and(|made| made.bytes.len() <= 1 << 20));
    }
    assert!(cues.cues.iter().all(|cue| cue.start_ms < cue.end_ms));
    if let Ok(made) = text::samples(&cues.cues, 1000, 0..100_000, &[6000, 12_000], 0, 1 << 20) {
        assert_eq!(made.table.size(0..made.table.len()), made.bytes.len() as u64);
    }
});
