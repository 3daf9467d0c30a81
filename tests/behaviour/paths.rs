//! Paths, as they come from strangers, and names, as they come from disks.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use http::StatusCode;

use crate::scene::{Scene, copy, testdata};

#[tokio::test]
async fn a_path_leads_nowhere_but_to_what_is_listed() {
    let scene = Scene::of(&["hevc"]);
    let inner = scene.path("inner");
    copy(&testdata("muxed"), &inner.join("film.mp4"));
    copy(&testdata("muxed"), &scene.path(".hidden/film.mp4"));
    copy(&testdata("muxed"), &scene.path(".film.mp4"));
    scene.rescan();
    let segment = scene.first_segment("hevc", "video").await;
    let (folder, name) = segment.rsplit_once('/').unwrap();
    let mut paths = vec![
        "/",
        "/hevc",
        "/hevc/",
        "/hevc.mp4",
        "/master.m3u8",
        "//master.m3u8",
        "//hevc/master.m3u8",
        "/hevc//master.m3u8",
        "/hevc/master.m3u8/",
        "/inner/../hevc/master.m3u8",
        "/./hevc/master.m3u8",
        "/hevc/./master.m3u8",
        "/../hevc/master.m3u8",
        "/%2e%2e/hevc/master.m3u8",
        "/inner/%2e%2e/hevc/master.m3u8",
        "/inner%2ffilm/master.m3u8",
        "/inner%2Ffilm/master.m3u8",
        "/inner\\film/master.m3u8",
        "/inner%5cfilm/master.m3u8",
        "/hevc%00/master.m3u8",
        "/hevc/master.m3u8%00",
        "/hev%ff/master.m3u8",
        "/%c0%af/master.m3u8",
        "/hevc%2/master.m3u8",
        "/hevc%/master.m3u8",
        "/hevc%zz/master.m3u8",
        "/HEVC/master.m3u8",
        "/hevc/MASTER.m3u8",
        "/.film/master.m3u8",
        "/.hidden/film/master.m3u8",
        "/etc/passwd",
        "/hevc.mp4/master.m3u8",
        "/inner/film.mp4/master.m3u8",
        "/hevc/master.m3u8.gz",
        "/hevc%252e/master.m3u8",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    for odd in [
        "1.m4s",
        "-1.m4s",
        "00.m4s",
        "+0.m4s",
        "0.vtt",
        "0.mp4",
        "0.part.m4s",
        "18446744073709551616.m4s",
        "0x0.m4s",
        "0%20.m4s",
    ] {
        paths.push(format!("{folder}/{odd}"));
    }
    let (of_track, version) = folder.rsplit_once('/').unwrap();
    paths.push(format!("{of_track}/0123456789abcdef/{name}"));
    paths.push(format!("{of_track}/{}/{name}", version.to_uppercase() + "A"));
    paths.push(format!("{of_track}/{}/{name}", &version[1..]));
    paths.push(format!("{of_track}/media.m3u8"));
    paths.push(format!("/inner/film/video1/{version}/{name}"));
    paths.push(format!("/{}/master.m3u8", "a/".repeat(2000)));
    for path in paths {
        let answer = scene.get(&path).await;
        answer.problem(404, "public, max-age=5");
    }
    // Encoded where it need not be, it is the same.
    assert_eq!(scene.get("/%68evc/master%2Em3u8").await, scene.get("/hevc/master.m3u8").await);
    scene.body("/inner/film/master.m3u8").await;
}

#[tokio::test]
async fn names_of_all_letters_play() {
    let scene = Scene::of(&[]);
    let names = [
        "a film",
        "Фильм",
        "été/großes kino",
        "50% off",
        "a&b <c>",
        "quote\"d",
        "plus+and=;,",
        "so#it?is",
        "日本/映画/一",
    ];
    for name in names {
        copy(&testdata("muxed"), &scene.path(&format!("{name}.mp4")));
    }
    scene.rescan();
    let mut expected = names.map(str::to_owned);
    expected.sort();
    assert_eq!(scene.names(), expected);
    for listing in scene.origin.listings(None, 100, scene.now).await {
        // The path as the listing gives it; all below is relative.
        let master = listing.hls.unwrap();
        let name = master.trim_matches('/').strip_suffix("/master.m3u8").unwrap();
        assert!(name.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>?#".contains(&b)), "{name}");
        for track in scene.dash(name).await {
            scene.whole(&track).await;
        }
        assert_eq!(scene.hls(name).await.cmaf().count(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_utf8_is_left_out_and_said() {
    let scene = Scene::of(&["hevc"]);
    copy(&testdata("muxed"), &scene.path(".").join(OsStr::from_bytes(b"fil\xff.mp4")));
    scene.rescan();
    assert_eq!(scene.names(), ["hevc"]);
    let warnings = &scene.origin.library().catalog().warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("not UTF-8"), "{warnings:?}");
}

#[tokio::test]
async fn symbolic_links_are_followed_only_where_that_is_allowed() {
    let outside = tempfile::tempdir().unwrap();
    copy(&testdata("muxed"), &outside.path().join("secret.mp4"));
    copy(&testdata("packaging"), &outside.path().join("more"));
    for allowed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        copy(&testdata("hevc"), &dir.path().join("hevc.mp4"));
        symlink(outside.path().join("secret.mp4"), dir.path().join("film.mp4")).unwrap();
        symlink(outside.path().join("more"), dir.path().join("folder")).unwrap();
        symlink(dir.path(), dir.path().join("loop")).unwrap();
        symlink(dir.path().join("nowhere.mp4"), dir.path().join("dangling.mp4")).unwrap();
        let scene = Scene::at(dir, |library, _| library.follow_symlinks = allowed);
        let names = scene.names();
        let warnings = scene.origin.library().catalog().warnings.join("\n");
        if allowed {
            for name in ["film", "folder", "hevc"] {
                assert!(names.iter().any(|n| n == name), "{names:?}");
                scene.hls(name).await;
            }
            // A loop ends, and is told.
            assert!(warnings.contains("folders deep"), "{warnings}");
        } else {
            assert_eq!(names, ["hevc"]);
            assert_eq!(scene.get("/film/master.m3u8").await.status, StatusCode::NOT_FOUND);
            assert!(warnings.contains("film.mp4: a symbolic link"), "{warnings}");
            assert!(warnings.contains("folder: a symbolic link"), "{warnings}");
        }
    }
}

#[tokio::test]
async fn two_things_with_one_name_are_an_error_that_names_both() {
    let scene = Scene::of(&["tour", "hevc"]);
    copy(&testdata("muxed"), &scene.path("film.mp4"));
    copy(&testdata("av1"), &scene.path("film.m4v"));
    copy(&testdata("muxed"), &scene.path("tour.mp4"));
    scene.rescan();
    for (name, files) in [("film", ["film.mp4", "film.m4v"]), ("tour", ["tour.mp4", "tour"])] {
        let (code, message) = scene.get(&format!("/{name}/master.m3u8")).await.problem(404, "public, max-age=5");
        assert_eq!(code, "not_servable");
        for file in files {
            assert!(message.contains(file), "{message}");
        }
        let listings = scene.origin.listings(None, 100, scene.now).await;
        let listing = listings.iter().find(|listing| listing.name == name).unwrap();
        assert!(listing.hls.is_none() && listing.warnings[0].contains("two things"), "{listing:?}");
    }
    scene.hls("hevc").await;
    // One of them gone, the other is served.
    std::fs::remove_file(scene.path("film.m4v")).unwrap();
    scene.rescan();
    let mut scene = scene;
    scene.pass(std::time::Duration::from_secs(5));
    scene.hls("film").await;
}
