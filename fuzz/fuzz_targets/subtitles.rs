//! A file of subtitles in any of its forms, and the samples that are made of it.
#![no_main]

use headwater::formats::{cues, srt, ttml, webvtt};
use headwater::media::text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = cues::decode(bytes) else { return };
    let of_ttml = ttml::parse(&read);
    if let Ok(document) = of_ttml.clone().and_then(|read| read.document.map_err(|why| cues::Fault::new(0, why)))
        && let Ok(made) = text::documents(&document, 1000, 0..100_000, &[6000, 12_000], 0, 1 << 20)
    {
        assert!(made.bytes.len() <= 1 << 20);
    }
    for cues in [webvtt::parse(&read), srt::parse(&read), of_ttml.map(|read| read.cues)].into_iter().flatten() {
        if let Ok(made) = text::samples(&cues.cues, 1000, 0..100_000, &[6000, 12_000], 0, 1 << 20) {
            assert_eq!(made.table.size(0..made.table.len()), made.bytes.len() as u64);
        }
    }
});
