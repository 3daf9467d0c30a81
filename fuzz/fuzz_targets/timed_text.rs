//! Samples of `wvtt` and `tx3g`: their cues, and what is written of them is read again.
#![no_main]

use headwater::formats::cues::Palette;
use headwater::formats::isobmff::movie::find_moov;
use headwater::formats::isobmff::tx3g::TextEntry;
use headwater::formats::isobmff::wvtt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(cues) = wvtt::cues(bytes) {
        let mut written = Vec::new();
        cues.iter().for_each(|cue| wvtt::write_cue(&mut written, cue, None));
        let again = wvtt::cues(&written).expect("what we write can be read");
        assert!(cues.iter().map(|cue| cue.payload).eq(again.iter().map(|cue| cue.payload)));
    }
    let _ = wvtt::head(bytes);
    // A moov, and after it a sample of one of its tracks.
    let Ok(Some(moov)) = find_moov(bytes) else { return };
    let sample = bytes.get(moov.bytes().len()..).unwrap_or_default();
    for entry in (1..4).filter_map(|id| TextEntry::of_track(moov, id).ok()) {
        let mut palette = Palette::default();
        let _ = entry.cue_text(sample, &mut palette);
        let _ = palette.head();
    }
});
