//! A moof: all its runs, sample by sample.
#![no_main]

use headwater::formats::isobmff::boxes::{Boxes, FourCc};
use headwater::formats::isobmff::cenc;
use headwater::formats::isobmff::fragment::MovieFragment;
use headwater::formats::isobmff::groups::KeyGroups;
use headwater::formats::isobmff::movie::TrackExtends;
use headwater::formats::isobmff::sample_entry::Protection;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let default = Protection {
        scheme: FourCc(*b"cenc"),
        default_kid: [1; 16],
        is_protected: true,
        per_sample_iv_size: 8,
        pattern: (0, 0),
        constant_iv: Vec::new(),
        groups: KeyGroups::default(),
    };
    for moof in Boxes::new(bytes, 0).map_while(Result::ok) {
        let Ok(fragment) = MovieFragment::parse(moof) else { continue };
        for traf in &fragment.trafs {
            for run in &traf.runs {
                let count = run.samples(traf.defaults(&TrackExtends::default())).count();
                assert_eq!(count, run.sample_count as usize);
            }
            let kids = cenc::sample_kids(&traf.protection, &default, 100);
            assert_eq!(kids.iter().map(|(count, _)| count).sum::<u32>(), 100);
            let _ = cenc::weight(&traf.protection, 100);
            let runs: Vec<u32> = traf.runs.iter().map(|run| run.sample_count).collect();
            let _ = cenc::auxiliary_ranges(&traf.protection, &runs, 0);
            let _ = cenc::cut(&traf.protection, &default, Some(bytes), 10..90, 100);
        }
    }
});
