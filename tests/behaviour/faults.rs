//! Faults that were found and mended, each named for what went wrong.

use std::fs;
use std::time::Duration;

use crate::mp4;
use crate::scene::{NOW, Scene, copy, testdata, touch};

#[tokio::test]
async fn two_files_of_one_stem_gave_one_name_to_two_tracks() {
    let scene = Scene::of(&[]);
    copy(&testdata("tour/video-144p.mp4"), &scene.path("film/film.m4v"));
    copy(&testdata("tour/audio-eng.mp4"), &scene.path("film/film.m4a"));
    scene.rescan();
    let tracks = scene.dash("film").await;
    let mut names: Vec<&str> = tracks.iter().map(|track| track.id.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["film", "film-2"]);
    for track in &tracks {
        let found = mp4::read(&scene.whole(track).await);
        let kind = found.values().next().expect("a track").handler;
        assert!(found.len() == 1 && matches!(&kind, b"vide" | b"soun"), "{}", track.id);
    }
}

#[tokio::test]
async fn a_file_being_replaced_took_its_presentation_off_the_air() {
    let scene = Scene::of(&["tour", "muxed"]);
    let (film, tour) = (scene.text("/muxed/master.m3u8").await, scene.text("/tour/master.m3u8").await);
    for (from, to) in [("hybrid", "muxed.mp4"), ("tour/video-90p.mp4", "tour/video-144p.mp4")] {
        let next = scene.path(".next");
        copy(&testdata(from), &next);
        touch(&next, Duration::from_millis(NOW.0));
        fs::rename(&next, scene.path(to)).unwrap();
    }
    scene.rescan();
    assert_eq!(scene.text("/muxed/master.m3u8").await, film, "until it is known that the new file rests");
    assert_eq!(scene.text("/tour/master.m3u8").await, tour);
    let mut scene = scene;
    scene.pass(Duration::from_secs(3));
    scene.rescan();
    assert_ne!(scene.text("/muxed/master.m3u8").await, film);
}

#[cfg(unix)]
#[tokio::test]
async fn a_presentation_toml_led_out_of_the_library_by_a_link() {
    let scene = Scene::of(&[]);
    let elsewhere = tempfile::tempdir().unwrap();
    copy(&testdata("muxed"), &elsewhere.path().join("secret.mp4"));
    fs::create_dir(scene.path("film")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("secret.mp4"), scene.path("film/link.mp4")).unwrap();
    fs::write(scene.path("film/presentation.toml"), "[[file]]\npath = \"link.mp4\"\n").unwrap();
    scene.rescan();
    let (_, message) = scene.get("/film/master.m3u8").await.problem(404, "public, max-age=5");
    assert!(message.contains("a symbolic link leads to it"), "{message}");
}

#[tokio::test]
async fn media_that_ran_to_the_end_of_its_file_swallowed_what_was_sent_after_it() {
    let scene = Scene::of(&["packaging"]);
    let whole = Scene::of(&["packaging"]);
    let mut changed = 0;
    for folder in ["packaging/video", "packaging/audio"] {
        for entry in fs::read_dir(scene.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            // The last box of a segment is its mdat; a size of 0 says that it runs to the end (ISO/IEC 14496-12 §4.2).
            if let Some(at) = bytes.windows(4).rposition(|name| name == b"mdat") {
                bytes[at - 4..at].fill(0);
                fs::write(&path, bytes).unwrap();
                touch(&path, Duration::from_secs(1_899_000_000));
                changed += 1;
            }
        }
    }
    assert!(changed > 4);
    scene.rescan();
    let (now, before) = (scene.dash("packaging").await, whole.dash("packaging").await);
    assert_eq!(now.len(), before.len());
    for (now, before) in now.iter().zip(&before) {
        let (now, before) = (mp4::read(&scene.whole(now).await), mp4::read(&whole.whole(before).await));
        for (now, before) in now.values().zip(before.values()) {
            let bytes = |track: &mp4::Track| track.samples.iter().map(|s| s.bytes.clone()).collect::<Vec<_>>();
            assert_eq!(bytes(now), bytes(before));
        }
    }
}

#[tokio::test]
async fn what_could_not_be_served_was_read_again_for_every_request() {
    let scene = Scene::of(&["broken-not-mp4"]);
    let entry = scene.origin.library().entry("broken-not-mp4").expect("listed");
    assert!(!entry.is_refused());
    scene.get("/broken-not-mp4/master.m3u8").await.problem(404, "public, max-age=5");
    assert!(entry.is_refused(), "and it is remembered as long as the file is the same");
    scene.get("/broken-not-mp4/manifest.mpd").await.problem(404, "public, max-age=5");
}
