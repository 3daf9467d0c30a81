//! Which files are one presentation, which are left alone, and which harm nothing.

use std::fs;
use std::time::Duration;

use headwater::content::library::folder::Rule;
use headwater::content::library::{REST, Root};

use crate::scene::{Scene, copy, same, testdata, touch, write};

fn rules(scene: &Scene) -> Vec<(String, Rule)> {
    scene
        .origin
        .library()
        .catalog()
        .entries
        .iter()
        .map(|(name, entry)| (name.clone(), entry.group.rule.clone()))
        .collect()
}

fn check(lay: impl Fn(&dyn Fn(&str, &str)), expected: &[(&str, Rule)]) -> Scene {
    let scene = Scene::of(&[]);
    lay(&|from, to| copy(&testdata(from), &scene.path(to)));
    scene.rescan();
    let expected: Vec<_> = expected.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect();
    assert_eq!(rules(&scene), expected);
    scene
}

async fn tracks(scene: &Scene, name: &str) -> Vec<String> {
    scene.dash(name).await.into_iter().map(|track| track.id).collect()
}

#[tokio::test]
async fn a_file_in_the_root_is_one_of_its_own() {
    // Also where in a folder they would belong together.
    check(
        |lay| {
            lay("tour/video-144p.mp4", "a.mp4");
            lay("tour/audio-eng.mp4", "b.m4a");
            lay("tour/text-eng.mp4", "c.cmft");
        },
        &[("a", Rule::File), ("b", Rule::File), ("c", Rule::File)],
    );
}

#[tokio::test]
async fn single_tracks_of_one_length_belong_together() {
    let scene = check(|lay| lay("tour", "films/tour"), &[("films/tour", Rule::EqualTracks)]);
    assert_eq!(
        tracks(&scene, "films/tour").await,
        ["video-144p", "video-90p", "audio-deu", "audio-eng", "text-deu", "text-eng"]
    );
    let lengths_differ = |lay: &dyn Fn(&str, &str)| {
        lay("tour/video-144p.mp4", "x/a.mp4");
        lay("encrypted-cbcs/audio-eng.mp4", "x/b.mp4");
    };
    check(lengths_differ, &[("x/a", Rule::File), ("x/b", Rule::File)]);
}

#[tokio::test]
async fn muxed_files_with_the_same_sound_belong_together_and_it_is_listed_once() {
    let scene = check(
        |lay| {
            lay("muxed", "film/high.mp4");
            lay("muxed", "film/low.mp4");
        },
        &[("film", Rule::SharedAudio)],
    );
    let tracks = tracks(&scene, "film").await;
    assert_eq!(tracks.len(), 3, "{tracks:?}");
    let warnings = &scene.origin.listings(None, 9, scene.now).await[0].warnings;
    assert!(warnings.iter().any(|warning| warning.contains("the same audio")), "{warnings:?}");
}

#[tokio::test]
async fn sound_that_differed_only_in_its_middle_was_taken_for_the_same() {
    let scene = Scene::of(&[]);
    copy(&testdata("muxed"), &scene.path("film/high.mp4"));
    let mut low = fs::read(testdata("muxed")).unwrap();
    let sound = crate::mp4::read(&low).remove(&2).unwrap();
    let mut from = 0;
    for sample in &sound.samples[40..sound.samples.len() - 40] {
        let found = low[from..].windows(sample.bytes.len()).position(|bytes| bytes == sample.bytes);
        // The sound of a fragment lies behind its pictures, in order.
        from += found.unwrap() + sample.bytes.len();
        low[from - 1] ^= 1;
    }
    write(&scene.path("film/low.mp4"), &low, Duration::from_secs(1_899_000_000));
    scene.rescan();
    assert_eq!(rules(&scene), [("film/high".to_owned(), Rule::File), ("film/low".to_owned(), Rule::File)]);
}

#[tokio::test]
async fn episodes_stay_episodes() {
    check(
        |lay| {
            lay("muxed", "series/s1/e1.mp4");
            lay("av1", "series/s1/e2.mp4");
            lay("vp9", "series/s1/e3.mp4");
            lay("hevc", "series/s2/e1.mp4");
        },
        &[
            ("series/s1/e1", Rule::File),
            ("series/s1/e2", Rule::File),
            ("series/s1/e3", Rule::File),
            ("series/s2/e1", Rule::File),
        ],
    );
}

#[tokio::test]
async fn a_presentation_toml_has_the_last_word() {
    let scene = Scene::of(&["tour"]);
    let toml = "[[file]]\npath = \"video-90p.mp4\"\n\n[[file]]\npath = \"audio-eng.mp4\"\nlanguage = \"fr-CA\"\n\
        label = \"Les Arpents verts\"\nroles = [\"commentary\"]\n";
    let path = scene.path("tour/presentation.toml");
    write(&path, toml.as_bytes(), Duration::from_secs(1_899_000_000));
    scene.rescan();
    assert_eq!(rules(&scene), [("tour".to_owned(), Rule::Said)]);
    let hls = scene.hls("tour").await;
    assert_eq!(hls.playlists.len(), 2);
    let sound = &hls.master.alternatives[0];
    assert_eq!((sound.language.as_deref(), &sound.name[..]), (Some("fr-CA"), "Les Arpents verts"));
    let mpd = scene.text("/tour/manifest.mpd").await;
    assert!(mpd.contains("lang=\"fr-CA\"") && mpd.contains("value=\"commentary\""), "{mpd}");
    // Wrong, it says so, and nothing else of the library suffers.
    copy(&testdata("hevc"), &scene.path("hevc.mp4"));
    write(&path, b"[[file]]\npath = \"../hevc.mp4\"\n", Duration::from_secs(1_899_000_001));
    scene.rescan();
    let (_, message) = scene.get("/tour/master.m3u8").await.problem(404, "public, max-age=5");
    assert!(message.contains("leads out of the folder"), "{message}");
    scene.hls("hevc").await;
}

#[tokio::test]
async fn packagings() {
    let scene = check(
        |lay| {
            lay("packaging-flat", "flat");
            lay("packaging", "near");
            // Without its manifests it is one all the same.
            lay("packaging/video", "bare/video");
            lay("packaging/audio", "bare/audio");
            // Deeper, because a manifest says where the top is.
            lay("packaging/manifest.mpd", "deep/manifest.mpd");
            lay("packaging/video", "deep/media/video/1");
            lay("packaging/audio", "deep/media/audio/1");
        },
        &[("bare", Rule::Packaging), ("deep", Rule::Packaging), ("flat", Rule::Packaging), ("near", Rule::Packaging)],
    );
    let twin = scene.dash("near").await;
    for name in ["bare", "deep", "near"] {
        let dash = scene.dash(name).await;
        assert_eq!(dash.len(), 2, "{name}");
        for (track, twin) in dash.iter().zip(&twin) {
            same(&scene.whole(track).await, &scene.whole(twin).await, name);
        }
    }
    assert_eq!(tracks(&scene, "near").await, ["video", "audio"]);
    assert_eq!(tracks(&scene, "flat").await.len(), 2);
}

#[tokio::test]
async fn a_packaging_that_lacks_its_initialization_says_so() {
    let scene = Scene::of(&["packaging-flat", "hevc"]);
    for init in ["init-stream0.m4s", "init-stream1.m4s"] {
        fs::remove_file(scene.path("packaging-flat").join(init)).unwrap();
    }
    scene.rescan();
    let (_, message) = scene.get("/packaging-flat/manifest.mpd").await.problem(404, "public, max-age=5");
    assert!(message.contains("no initialization segment"), "{message}");
    scene.hls("hevc").await;
}

#[tokio::test]
async fn files_that_grow_are_left_alone_until_they_rest() {
    let mut scene = Scene::of(&["hevc"]);
    let whole = fs::read(testdata("muxed")).unwrap();
    let written = |scene: &Scene, ago: Duration| Duration::from_millis(scene.now.0) - ago;
    let path = scene.path("film.mp4");
    for part in [whole.len() / 3, whole.len() / 2, whole.len()] {
        write(&path, &whole[..part], written(&scene, Duration::from_millis(100)));
        scene.rescan();
        assert_eq!(scene.names(), ["hevc"]);
        assert!(scene.origin.library().catalog().is_unsettled);
        scene.pass(Duration::from_secs(1));
    }
    scene.pass(REST);
    scene.rescan();
    assert!(!scene.origin.library().catalog().is_unsettled);
    assert_eq!(scene.names(), ["film", "hevc"]);
    for track in scene.dash("film").await {
        scene.whole(&track).await;
    }
    // A file that is copied from a place whose clock is ahead does not wait for that time.
    touch(&path, written(&scene, Duration::ZERO) + Duration::from_secs(3600));
    scene.rescan();
    assert_eq!(scene.names(), ["film", "hevc"]);
}

#[tokio::test]
async fn what_comes_and_goes_is_noticed() {
    let mut scene = Scene::of(&["tour", "hevc"]);
    let lease = scene.origin.library().entry("hevc").unwrap();
    scene.rescan();
    assert!(std::sync::Arc::ptr_eq(&lease, &scene.origin.library().entry("hevc").unwrap()), "nothing changed");
    // A language more.
    let before = scene.dash("tour").await;
    copy(&testdata("tour/audio-eng.mp4"), &scene.path("tour/audio-more.mp4"));
    scene.pass(Duration::from_secs(10));
    scene.rescan();
    let after = scene.dash("tour").await;
    assert!(before.iter().all(|track| after.contains(track)), "the names of what stayed stay");
    fs::remove_dir_all(scene.path("tour")).unwrap();
    scene.rescan();
    assert_eq!(scene.names(), ["hevc"]);
    scene.get("/tour/master.m3u8").await.problem(404, "public, max-age=5");
    assert!(lease.lease.is_live());
}

#[tokio::test]
async fn a_folder_that_was_gone_kept_all_others_from_being_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("muxed"), &dir.path().join("films/film.mp4"));
    fs::create_dir(dir.path().join("news")).unwrap();
    let mut scene = Scene::at(dir, |library, _| {
        let root = library.roots.remove(0);
        library.roots = ["films", "news"].map(|name| Root { path: root.path.join(name), ..root.clone() }).into();
    });
    fs::rename(scene.path("films"), scene.path("away")).unwrap();
    copy(&testdata("muxed"), &scene.path("news/today.mp4"));
    scene.pass(Duration::from_secs(10));
    scene.rescan();
    assert_eq!(scene.names(), ["film", "today"]);
    let warnings = &scene.origin.library().catalog().warnings;
    assert!(matches!(&warnings[..], [only] if only.contains("films") && only.contains("is kept")), "{warnings:?}");
    fs::rename(scene.path("news"), scene.path("elsewhere")).unwrap();
    assert!(scene.origin.library().rescan(scene.now).is_err(), "nothing is there");
    assert_eq!(scene.names(), ["film", "today"]);
    fs::create_dir(scene.path("films")).unwrap();
    scene.rescan();
    assert_eq!(scene.names(), ["today"]);
}

#[tokio::test]
async fn a_file_more_had_all_others_in_its_folder_looked_into_again() {
    let scene = check(
        |lay| {
            lay("av1.mp4", "films/a.mp4");
            lay("hevc.mp4", "films/b.mp4");
        },
        &[("films/a", Rule::File), ("films/b", Rule::File)],
    );
    // A segment now, of which nothing is seen but by looking into it.
    let a = scene.path("films/a.mp4");
    let was = fs::metadata(&a).unwrap();
    let mut segment = fs::read(testdata("packaging-flat/chunk-stream0-1.m4s")).unwrap();
    segment.resize(was.len() as usize, 0);
    fs::write(&a, segment).unwrap();
    fs::File::options().write(true).open(&a).unwrap().set_modified(was.modified().unwrap()).unwrap();
    copy(&testdata("vp9.mp4"), &scene.path("films/c.mp4"));
    scene.rescan();
    let files = ["films/a", "films/b", "films/c"].map(|name| (name.to_owned(), Rule::File));
    assert_eq!(rules(&scene), files);
    // What changes is looked into, and so is all, where a segment is found.
    touch(&a, Duration::from_secs(1_700_000_000));
    scene.rescan();
    let packaging = ("films".to_owned(), Rule::Packaging);
    assert_eq!(rules(&scene), [&[packaging], &files[1..]].concat());
}

#[tokio::test]
async fn broken_files_say_where_they_are_broken_and_harm_nothing() {
    let broken = ["broken-empty", "broken-not-mp4", "broken-truncated", "broken-huge-claim", "broken-tiny-child"];
    let scene = Scene::of(&[&broken[..], &["hevc", "tour"]].concat());
    let listings = scene.origin.listings(None, 100, scene.now).await;
    for (name, atom, is_served) in [
        ("broken-empty", "empty", false),
        ("broken-not-mp4", "box", false),
        ("broken-truncated", "moof", true),
        ("broken-huge-claim", "trun", true),
        ("broken-tiny-child", "mvhd", false),
    ] {
        let listing = listings.iter().find(|listing| listing.name == name).unwrap();
        let warnings = listing.warnings.join("\n");
        for part in [&format!("{name}.mp4"), atom, "at 0x"] {
            assert!(warnings.contains(part), "{name}: {part} is not in {warnings:?}");
        }
        assert_eq!(listing.dash.is_some(), is_served, "{name}: {warnings}");
        if is_served {
            // What is whole of it plays.
            for track in scene.dash(name).await {
                assert!(crate::mp4::read(&scene.whole(&track).await).into_values().next().unwrap().samples.len() > 10);
            }
        } else {
            let (code, message) = scene.get(&format!("/{name}/manifest.mpd")).await.problem(404, "public, max-age=5");
            assert_eq!(code, "not_servable");
            assert!(message.contains(&format!("{name}.mp4")), "{message}");
        }
    }
    for name in ["hevc", "tour"] {
        let listing = listings.iter().find(|listing| listing.name == name).unwrap();
        assert_eq!(listing.warnings, [""; 0]);
        scene.hls(name).await;
    }
    // One broken file in a folder is no reason to leave out what is whole.
    let scene = Scene::of(&[]);
    for file in ["broken-not-mp4", "muxed"] {
        copy(&testdata(file), &scene.path(&format!("folder/{file}.mp4")));
    }
    scene.rescan();
    scene.hls("folder/muxed").await;
}

#[tokio::test]
async fn one_file_is_a_library_too() {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("muxed"), &dir.path().join("film.mp4"));
    let scene = Scene::at(dir, |library, _| library.roots[0].path.push("film.mp4"));
    assert_eq!(rules(&scene), [("film".to_owned(), Rule::File)]);
    scene.hls("film").await;
}
