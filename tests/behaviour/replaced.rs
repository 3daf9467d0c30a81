//! Files that change while they are served.

use std::fs;
use std::time::Duration;

use http::StatusCode;

use crate::scene::{Answer, Scene, copy, same, testdata, touch, write};

const LATER: Duration = Duration::from_secs(1_899_500_000);
/// The film's 12 s, the two minutes that a manifest may be kept, and the half in which it may be used while it is asked for again.
const GRACE: Duration = Duration::from_secs(12 + 120 + 30);

fn film() -> Scene {
    let scene = Scene::of(&["hevc"]);
    copy(&testdata("muxed"), &scene.path("film.mp4"));
    scene.rescan();
    scene
}

fn replace(scene: &Scene, with: &str) {
    let next = scene.path("film.mp4.part");
    fs::copy(testdata(with), &next).unwrap();
    touch(&next, LATER);
    fs::rename(&next, scene.path("film.mp4")).unwrap();
}

#[tokio::test]
async fn a_file_replaced_in_the_middle_of_playback_does_not_stop_it() {
    let mut scene = film();
    // What the old version is, from a twin that nobody disturbs.
    let twin = film();
    let old = twin.dash("film").await;
    assert_eq!(scene.dash("film").await, old);
    scene.body(&old[0].init).await;
    let first = scene.body(&old[0].segments[0].url).await;

    replace(&scene, "av1");
    scene.pass(Duration::from_secs(1));
    // Not seen yet: all is as it was.
    assert_eq!(scene.dash("film").await, old);
    scene.rescan();

    let new = scene.dash("film").await;
    assert_ne!(new, old);
    let expected = {
        let twin = Scene::of(&[]);
        copy(&testdata("av1"), &twin.path("film.mp4"));
        twin.rescan();
        let dash = twin.dash("film").await;
        let mut bodies = Vec::new();
        for track in &dash {
            bodies.push(twin.whole(track).await);
        }
        assert_eq!(new, dash);
        bodies
    };
    for seconds in [0, 60, 131] {
        let replaced = scene.now;
        scene.pass(Duration::from_secs(seconds));
        // Who plays the old one goes on, to its end, cached or not.
        same(&scene.body(&old[0].segments[0].url).await, &first, "the first segment");
        for track in &old {
            same(&scene.whole(track).await, &twin.whole(track).await, &format!("after {seconds} s"));
        }
        // Who begins now gets the new one, and nothing else.
        let hls = scene.hls("film").await;
        for playlist in &hls.playlists {
            assert!(new.iter().any(|track| Some(&track.init) == playlist.init.as_ref()), "{} mixes", playlist.url);
        }
        for (track, expected) in new.iter().zip(&expected) {
            same(&scene.whole(track).await, expected, "the new version");
        }
        scene.now = replaced;
    }
    scene.pass(GRACE);
    for url in [&old[0].init, &old[0].segments[0].url, &old[1].segments[1].url] {
        let (code, _) = scene.get(url).await.problem(404, "public, max-age=5");
        assert_eq!(code, "unknown_version", "{url}");
    }
    scene.body(&new[0].segments[0].url).await;
    scene.origin.settle(scene.now).await;
    scene.body(&new[0].segments[0].url).await;
}

#[tokio::test]
async fn a_revalidated_manifest_is_another_one_after_the_replacement() {
    let scene = film();
    let before = scene.get("/film/master.m3u8").await;
    replace(&scene, "av1");
    scene.rescan();
    let etag = before.header("etag").to_owned();
    let answer = scene.ask(http::Method::GET, "/film/master.m3u8", &[("if-none-match", &etag)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_ne!(answer.header("etag"), etag);
    assert_ne!(answer.body, before.body);
}

#[tokio::test]
async fn the_same_file_put_back_brings_its_names_back() {
    let mut scene = film();
    let old = scene.dash("film").await;
    replace(&scene, "av1");
    scene.rescan();
    scene.dash("film").await;
    scene.pass(Duration::from_secs(3600));
    scene.get(&old[0].segments[1].url).await.problem(404, "public, max-age=5");
    replace(&scene, "muxed");
    scene.rescan();
    assert_eq!(scene.dash("film").await, old);
    scene.pass(Duration::from_secs(5));
    scene.body(&old[0].segments[1].url).await;
}

/// An answer about a file that was spoiled: never a short 200.
fn check_spoiled(answer: &Answer, whole: &[u8], url: &str) {
    match answer.status.as_u16() {
        200 => same(&answer.body, whole, url),
        404 => drop(answer.problem(404, "public, max-age=5")),
        _ => {
            answer.problem(503, "public, max-age=1");
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
}

#[tokio::test]
async fn a_file_spoiled_while_it_is_served_never_makes_a_short_answer() {
    type Spoil<'a> = &'a dyn Fn(&Scene);
    let spoilt: &[(&str, Spoil)] = &[
        ("overwritten in place", &|scene| write(&scene.path("film.mp4"), &fs::read(testdata("hevc")).unwrap(), LATER)),
        ("filled with nothing", &|scene| {
            let len = fs::metadata(scene.path("film.mp4")).unwrap().len() as usize;
            write(&scene.path("film.mp4"), &vec![0; len], LATER);
        }),
        ("truncated", &|scene| {
            let file = fs::File::options().write(true).open(scene.path("film.mp4")).unwrap();
            file.set_len(40_000).unwrap();
            drop(file);
            touch(&scene.path("film.mp4"), LATER);
        }),
        ("emptied", &|scene| write(&scene.path("film.mp4"), b"", LATER)),
        ("deleted", &|scene| fs::remove_file(scene.path("film.mp4")).unwrap()),
    ];
    let twin = film();
    let tracks = twin.dash("film").await;
    for (how, spoil) in spoilt {
        let mut scene = film();
        scene.dash("film").await;
        let cached = &tracks[0].segments[0].url;
        scene.body(cached).await;
        spoil(&scene);
        for rescanned in [false, true] {
            if rescanned {
                scene.pass(Duration::from_secs(3));
                scene.rescan();
            }
            let mut refused = 0;
            for track in &tracks {
                for url in track.segments.iter().map(|segment| &segment.url) {
                    let whole = twin.body(url).await;
                    let answer = scene.get(url).await;
                    check_spoiled(&answer, &whole, &format!("{how}: {url}"));
                    refused += usize::from(answer.status != StatusCode::OK);
                    let ranged = scene.ask(http::Method::GET, url, &[("range", "bytes=0-99")]).await;
                    assert!(
                        ranged.status != StatusCode::PARTIAL_CONTENT || ranged.body == whole[..100],
                        "{how}: {url}"
                    );
                }
            }
            // Deleted, its bytes can still be read; else all but what lies in the cache is gone.
            let all = tracks.iter().map(|track| track.segments.len()).sum::<usize>();
            assert_eq!(refused, if *how == "deleted" { 0 } else { all - 1 }, "{how}, rescanned: {rescanned}");
            // The neighbour plays.
            for track in scene.dash("hevc").await {
                scene.whole(&track).await;
            }
        }
        let master = scene.get("/film/master.m3u8").await;
        match *how {
            // What there is now is a film too, or the beginning of one.
            "overwritten in place" | "truncated" => assert_eq!(master.status, StatusCode::OK),
            _ => drop(master.problem(404, "public, max-age=5")),
        }
        scene.pass(GRACE);
        scene.get(cached).await.problem(404, "public, max-age=5");
    }
}
