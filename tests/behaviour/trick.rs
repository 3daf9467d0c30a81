//! Going through pictures quickly: each that needs no other is served alone, once for HLS and DASH, and is the source's.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::mp4::{self, Sample};
use crate::scene::{CLEAR, ENCRYPTED, Representation, Scene, copy, same, testdata, write};

/// What plays and has more than one picture that needs no other.
fn all() -> Vec<&'static str> {
    CLEAR.iter().chain(ENCRYPTED).chain(&["clips"]).copied().collect()
}

fn with_keys(names: &[&str]) -> Scene {
    Scene::with(names, |_, options| options.key_uri = Some("https://keys.example/{kid}".to_owned()))
}

/// The sync samples of what `main` plays, read from its own segments.
async fn syncs(scene: &Scene, main: &Representation) -> Vec<Sample> {
    let whole = mp4::read(&scene.whole(main).await).into_values().next().unwrap();
    whole.samples.into_iter().filter(|sample| sample.is_sync).collect()
}

/// The one sample of the segment at `url`, which is one fragment.
async fn alone(scene: &Scene, init: &str, url: &str) -> Sample {
    let (init, bytes) = (scene.body(init).await, scene.body(url).await);
    let names: Vec<[u8; 4]> = mp4::boxes(&bytes, 0..bytes.len()).iter().map(|top| top.name).collect();
    assert_eq!(names, [*b"moof", *b"mdat"], "{url}");
    let track = mp4::read(&[&init[..], &bytes].concat()).into_values().next().unwrap();
    let [sample] = &track.samples[..] else { panic!("{url}: {} samples", track.samples.len()) };
    sample.clone()
}

#[tokio::test]
async fn every_sync_sample_is_served_alone_as_it_is_among_the_others() {
    let names = all();
    let scene = with_keys(&names);
    let mut encrypted = 0;
    for name in names {
        let (mains, tricks) = (scene.dash(name).await, scene.dash_trick(name).await);
        assert_eq!(tricks.len(), mains.iter().filter(|main| main.content_type == "video").count(), "{name}");
        for trick in tricks {
            let of = |main: &&Representation| main.period == trick.period && format!("{}.trick", main.id) == trick.id;
            let main = mains.iter().find(of).unwrap();
            assert_eq!(trick.trick_of.as_ref(), Some(&main.set), "{name}/{}", trick.id);
            assert_eq!((&trick.init, trick.timescale, trick.offset), (&main.init, main.timescale, main.offset));
            let syncs = syncs(&scene, main).await;
            assert_eq!(trick.segments.len(), syncs.len(), "{name}/{}", trick.id);
            for (index, (segment, sync)) in trick.segments.iter().zip(&syncs).enumerate() {
                let picture = alone(&scene, &trick.init, &segment.url).await;
                same(&picture.bytes, &sync.bytes, &segment.url);
                assert_eq!(picture.protection, sync.protection, "{}", segment.url);
                encrypted += usize::from(!picture.protection.is_empty());
                assert!(picture.is_sync, "{}", segment.url);
                assert_eq!(picture.presented, sync.presented, "{}", segment.url);
                assert_eq!(segment.time, u64::try_from(sync.presented).unwrap(), "{}", segment.url);
                let last = main.segments.last().map(|segment| segment.time + segment.duration);
                let next = syncs.get(index + 1).map(|next| next.presented as u64).or(last).unwrap();
                assert_eq!(segment.time + segment.duration, next, "{}", segment.url);
                assert_eq!(u64::from(picture.duration), segment.duration, "{}", segment.url);
            }
        }
    }
    assert!(encrypted >= 8, "{encrypted} encrypted pictures");
}

#[tokio::test]
async fn hls_lists_the_same_pictures_and_what_they_take() {
    let names = all();
    let scene = with_keys(&names);
    for name in names {
        let hls = scene.hls(name).await;
        let offered: BTreeSet<String> =
            scene.dash_trick(name).await.into_iter().flat_map(|r| r.segments).map(|segment| segment.url).collect();
        let listed: BTreeSet<String> = hls.tricks.iter().flat_map(|list| list.segments.clone()).collect();
        assert!(!listed.is_empty() && listed == offered, "{name}");
        let variants: Vec<_> = hls.master.variants.iter().filter(|variant| variant.is_i_frame).collect();
        for (list, variant) in hls.tricks.iter().zip(variants) {
            assert!(list.text.contains("\n#EXT-X-I-FRAMES-ONLY\n") && list.list.i_frames_only, "{}", list.url);
            assert!(variant.frame_rate.is_none() && variant.audio.is_none() && variant.subtitles.is_none());
            let main_url = list.url.replace("/trick.m3u8", "/media.m3u8");
            let main = hls.playlists.iter().find(|main| main.url == main_url).unwrap();
            assert_eq!(list.init, main.init);
            let total = |durations: &[u64]| durations.iter().sum::<u64>();
            assert_eq!(total(&list.durations_us), total(&main.durations_us), "{}", list.url);
            let keys = |text: &str| text.lines().filter(|line| line.starts_with("#EXT-X-KEY:")).count();
            assert_eq!(keys(&list.text), keys(&main.text), "{}", list.url);

            let mut bytes = 0;
            for url in &list.segments {
                bytes += scene.head(url).await.header("content-length").parse::<u64>().unwrap();
            }
            let average = (bytes * 8 * 1_000_000).div_ceil(total(&list.durations_us));
            let said = variant.average_bandwidth.unwrap();
            if ENCRYPTED.contains(&name) {
                // What a picture has of its fragment's senc is only known from reading.
                assert!(said.abs_diff(average) * 50 < average, "{}: {average} bit/s, {said} said", list.url);
            } else {
                assert!(said.abs_diff(average) <= 1, "{}: {average} bit/s, {said} said", list.url);
            }
            assert!(variant.bandwidth >= said, "{}", list.url);
        }
    }
}

#[tokio::test]
async fn length_and_tag_of_a_picture_are_known_before_it_is_read() {
    let scene = Scene::of(&["muxed"]);
    let trick = scene.dash_trick("muxed").await.remove(0);
    let url = &trick.segments[1].url;
    let read = scene.telemetry.source_read_bytes.get();
    let head = scene.head(url).await;
    assert_eq!(scene.telemetry.source_read_bytes.get(), read, "a HEAD reads no media");
    let whole = scene.get(url).await;
    for name in ["content-length", "etag", "content-type", "cache-control"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());
    assert_eq!(whole.header("content-type"), "video/mp4");
    assert!(whole.header("cache-control").contains("immutable"));
    // Beside a segment that has the same time it is another representation.
    let main = scene.dash("muxed").await.into_iter().find(|main| main.content_type == "video").unwrap();
    assert_eq!(main.segments[0].time, trick.segments[0].time);
    let (a, b) = (scene.get(&main.segments[0].url).await, scene.get(&trick.segments[0].url).await);
    assert_ne!(a.header("etag"), b.header("etag"));
}

#[tokio::test]
async fn what_is_no_picture_is_not_served_as_one() {
    let scene = Scene::of(&["tour"]);
    let (mains, tricks) = (scene.dash("tour").await, scene.dash_trick("tour").await);
    let picture = &tricks[0].segments[1];
    let (folder, _) = picture.url.rsplit_once('/').unwrap();
    scene.get(&format!("{folder}/{}.trick.m4s", picture.time + 1)).await.problem(404, "public, max-age=5");
    let audio = mains.iter().find(|main| main.content_type == "audio").unwrap();
    let (folder, _) = audio.segments[0].url.rsplit_once('/').unwrap();
    for name in ["0.trick.m4s", "trick.m3u8"] {
        scene.get(&format!("{folder}/{name}")).await.problem(404, "public, max-age=5");
    }
}

#[tokio::test]
async fn a_clip_has_the_pictures_that_it_plays() {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("tour/video-90p.mp4"), &dir.path().join("film/v.mp4"));
    let toml = b"[[clip]]\nfiles = ['v.mp4']\nin = 4\nout = 12\n[[clip]]\nfiles = ['v.mp4']\nin = 16\n";
    write(&dir.path().join("film/presentation.toml"), toml, Duration::from_secs(1_899_000_000));
    let scene = Scene::at(dir, |_, _| {});
    let tricks = scene.dash_trick("film").await;
    let seconds = |trick: &Representation| -> Vec<u64> {
        trick.segments.iter().map(|segment| segment.time / trick.timescale).collect()
    };
    assert_eq!(tricks.iter().map(seconds).collect::<Vec<_>>(), [vec![4, 6, 8, 10], vec![16, 18]]);
    let hls = scene.hls("film").await;
    assert_eq!(hls.tricks.len(), 1);
    assert_eq!(hls.tricks[0].durations_us, [2_000_000; 6]);
    assert_eq!(hls.tricks[0].text.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}
