//! A file of WebVTT, and the samples that are made of it.
#![no_main]

use headwater::formats::{cues, webvtt};
use headwater::media::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = cues::decode(bytes) else { return };
    let Ok(cues) = webvtt::parse(&read) else { return };
    assert!(cues.cues.iter().all(|cue| cue.start_ms < cue.end_ms));
    if let Ok(made) = text::samples(&cues.cues, 1000, 0..100_000, &[6000, 12_000], 0, 1 << 20) {
        assert_eq!(made.table.size(0..made.table.len()), made.bytes.len() as u64);
    }
});
