//! A moof: all its runs, sample by sample.
#![no_main]

use headwater::formats::isobmff::boxes::Boxes;
use headwater::formats::isobmff::cenc;
use headwater::formats::isobmff::fragment::MovieFragment;
use headwater::formats::isobmff::movie::TrackExtends;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for moof in Boxes::new(bytes, 0).map_while(Result::ok) {
        let Ok(fragment) = MovieFragment::parse(moof) else { continue };
        for traf in &fragment.trafs {
            for run in &traf.runs {
                let count = run.samples(traf.defaults(&TrackExtends::default())).count();
                assert_eq!(count, run.sample_count as usize);
            }
            let _ = cenc::sample_kids(&traf.protection, 100);
            let _ = cenc::weight(&traf.protection, 100);
            let _ = cenc::auxiliary_range(&traf.protection, 0);
        }
    }
});
