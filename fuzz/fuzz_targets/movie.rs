//! A moov: its tracks, and the initialization segment written for each, which must be read again.
#![no_main]

use headwater::formats::isobmff::movie::{Movie, find_moov, write_init};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(moov)) = find_moov(bytes) else { return };
    let Ok(movie) = Movie::parse(moov) else { return };
    for track in &movie.tracks {
        let Ok(init) = write_init(moov, track.id, 1024) else { continue };
        let again = find_moov(&init).expect("well formed").expect("a moov");
        Movie::parse(again).expect("what we write can be read");
    }
});
