//! Sound and text of which nothing is said to be a sync sample: every sample is one, as of all such codecs.

use headwater::formats::isobmff::fragment::{NewFragment, RunSample};

use crate::mp4;
use crate::scene::{Scene, WRITTEN, testdata, write};

const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

/// The `ftyp` and `moov` of a fragmented file.
fn init_of(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(testdata(name)).unwrap();
    let kept = mp4::boxes(&bytes, 0..bytes.len()).into_iter().filter(|found| matches!(&found.name, b"ftyp" | b"moov"));
    kept.flat_map(|found| bytes[found.start..found.content.end].to_vec()).collect()
}

/// A file of 480 samples in fragments of 240, which `flags` says of each.
fn fragmented(init: &[u8], ticks: u32, flags: impl Fn(u32) -> u32) -> Vec<u8> {
    let track_id = *mp4::read(init).keys().next().unwrap();
    let mut bytes = init.to_vec();
    for first in [0, 240] {
        let samples = first..first + 240;
        let sample = |index| RunSample { duration: ticks, size: 8, flags: flags(index), composition_offset: 0 };
        let fragment = NewFragment {
            sequence_number: first + 1,
            track_id,
            description_index: 1,
            base_media_decode_time: u64::from(first) * u64::from(ticks),
            samples: samples.map(sample).collect(),
            ..NewFragment::default()
        };
        bytes.extend(fragment.write());
        bytes.extend((0..240).flat_map(|_| *b"\0\0\0\x08vtte"));
    }
    bytes
}

fn scene_of(bytes: &[u8]) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("film.mp4"), bytes, WRITTEN);
    Scene::at(dir, |library, _| library.segment_target = std::time::Duration::from_secs(2))
}

/// How many segments there are of the track of this content type, the longest in milliseconds, and which samples are sync samples.
async fn served(scene: &Scene, content_type: &str) -> (usize, u64, Vec<bool>) {
    let dash = scene.dash("film").await;
    let track = dash.iter().find(|track| track.content_type == content_type).unwrap();
    let longest = track.segments.iter().map(|segment| segment.duration * 1000 / track.timescale).max().unwrap();
    let read = mp4::read(&scene.whole(track).await).into_values().next().unwrap();
    (track.segments.len(), longest, read.samples.iter().map(|sample| sample.is_sync).collect())
}

#[tokio::test]
async fn sound_and_text_of_fragments_without_a_sync_sample_were_one_segment() {
    let audio = std::fs::read(testdata("packaging").join("audio/init.mp4")).unwrap();
    for (content_type, init) in [("audio", audio), ("text", init_of("tour/text-eng.mp4"))] {
        let timescale = mp4::read(&init).values().next().unwrap().timescale;
        let scene = scene_of(&fragmented(&init, timescale / 48, |_| NON_SYNC));
        let (count, longest_ms, syncs) = served(&scene, content_type).await;
        assert_eq!((count, syncs.len()), (5, 480), "{content_type}");
        assert!(longest_ms < 2500, "{content_type}: {longest_ms} ms");
        assert!(syncs.iter().all(|&is_sync| is_sync), "{content_type}");
    }
}

#[tokio::test]
async fn sound_that_has_sync_samples_is_cut_at_them_alone() {
    let audio = std::fs::read(testdata("packaging").join("audio/init.mp4")).unwrap();
    let scene = scene_of(&fragmented(&audio, 1000, |index| if index % 192 == 0 { SYNC } else { NON_SYNC }));
    let (count, longest_ms, syncs) = served(&scene, "audio").await;
    assert_eq!((count, longest_ms), (3, 4000));
    assert!((0..480).zip(syncs).all(|(index, is_sync)| is_sync == (index % 192 == 0)));
}

#[tokio::test]
async fn sound_with_an_empty_stss_was_one_segment() {
    let movie = std::fs::read(testdata("progressive")).unwrap();
    let plain = served(&scene_of(&movie), "audio").await;
    // Into the sound's stbl; the moov lies last, so nothing moves.
    let at = |name: &[u8; 4]| movie.windows(4).rposition(|kind| kind == name).unwrap() - 4;
    let end = at(b"stbl") + mp4::u32(&movie, at(b"stbl")) as usize;
    let mut changed = movie.clone();
    for name in [b"moov", b"trak", b"mdia", b"minf", b"stbl"] {
        let size = mp4::u32(&movie, at(name)) + 16;
        changed[at(name)..at(name) + 4].copy_from_slice(&size.to_be_bytes());
    }
    changed.splice(end..end, *b"\0\0\0\x10stss\0\0\0\0\0\0\0\0");
    assert!(plain.0 > 2);
    assert_eq!(served(&scene_of(&changed), "audio").await, plain);
}
