//! A whole file, from scanning to the segments of every track.
#![no_main]

use std::time::Duration;

use headwater::content::storage::Storage;
use headwater::content::vod::{self, Part, Said};
use headwater::media::trick;
use headwater::packager::cmaf::{self, Given, Step};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    let part = Part { name: "track".to_owned(), files: vec![file.path().to_path_buf()], said: Said::default() };
    let Ok(opened) = vod::open(&Storage::Local, &[part], Vec::new(), &[], Duration::from_secs(2)) else { return };
    for track in opened.presentation.tracks() {
        let segments = (0..track.segments.len().min(4)).map(|index| cmaf::segment(track, index, &Given::default()));
        let pictures = trick::frames(track).take(4).map(|frame| cmaf::trick(track, &frame, &Given::default()));
        for step in segments.chain(pictures) {
            if let Ok(Step::Ready(plan)) = step {
                let media = opened.source.read(&plan.reads()).expect("what was found in the file can be read");
                assert_eq!(plan.assemble(media).len(), plan.len());
            }
        }
    }
});
