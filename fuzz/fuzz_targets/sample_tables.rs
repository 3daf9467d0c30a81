//! The sample tables of every track of a moov, read twice.
#![no_main]

use headwater::formats::isobmff::movie::{Movie, find_moov};
use headwater::formats::isobmff::sample_tables;
use headwater::formats::isobmff::second_reading;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(moov)) = find_moov(bytes) else { return };
    let Ok(movie) = Movie::parse(moov) else { return };
    for track in &movie.tracks {
        // A count alone may claim 2^25 samples of one size, which takes a second and shows nothing.
        if track.sample_count < 1 << 16 {
            if let Ok(listed) = sample_tables::read(moov, track.id, 1 << 20) {
                let _ = second_reading::compare(moov, track.id, &listed);
            }
        }
    }
});
