//! Thumbnails: sheets beside the media, in both formats, named by what they hold.

use std::fs;
use std::time::Duration;

use crate::scene::{Scene, WRITTEN, copy, same, testdata, write};

/// The folder of the sheets, as the multivariant playlist names it.
async fn sheets(scene: &Scene) -> String {
    let master = scene.text("/thumbnails/master.m3u8").await;
    let line = master.lines().find(|line| line.starts_with("#EXT-X-IMAGE-STREAM-INF")).unwrap();
    assert!(line.contains(r#"RESOLUTION=80x46,CODECS="jpeg",URI=""#), "{line}");
    let (_, uri) = line.split_once("URI=\"").unwrap();
    format!("/thumbnails/{}", uri.trim_end_matches("media.m3u8\""))
}

#[tokio::test]
async fn sheets_are_served_as_they_are_and_listed_in_both_formats() {
    let scene = Scene::of(&["thumbnails"]);
    let folder = sheets(&scene).await;
    let playlist = scene.text(&format!("{folder}media.m3u8")).await;
    let tiles = "#EXT-X-TILES:RESOLUTION=80x46,LAYOUT=2x2,DURATION=1.000\n";
    for (number, seconds) in [(1, "4.000"), (2, "4.000"), (3, "1.000")] {
        assert!(playlist.contains(&format!("#EXTINF:{seconds},\n{tiles}{number}.jpg\n")), "{playlist}");
        let url = format!("{folder}{number}.jpg");
        let file = fs::read(testdata("thumbnails").join(format!("sheets/0{number}.jpg"))).unwrap();
        let head = scene.head(&url).await;
        assert_eq!(head.header("content-length"), file.len().to_string());
        let answer = scene.get(&url).await;
        assert_eq!(answer.header("content-type"), "image/jpeg");
        assert!(answer.header("cache-control").contains("immutable"));
        assert_eq!(answer.header("etag"), head.header("etag"));
        same(&answer.body, &file, &url);
    }
    let mpd = scene.text("/thumbnails/manifest.mpd").await;
    let (_, set) = mpd.split_once("contentType=\"image\"").unwrap();
    assert!(set.contains("media=\"$Number$.jpg\" timescale=\"1000\" duration=\"4000\" startNumber=\"1\""), "{set}");
    assert!(set.contains("width=\"160\" height=\"92\""), "{set}");
    assert!(set.contains("thumbnail_tile\" value=\"2x2\""), "{set}");
    let base = folder.strip_prefix("/thumbnails/").unwrap();
    assert!(set.contains(&format!("<BaseURL>{base}</BaseURL>")), "{set}");
    let listed = &scene.origin.listings(None, 1, scene.now).await[0].thumbnails[0];
    assert_eq!(listed.sheets, format!("{folder}{{number}}.jpg"));
    assert_eq!((listed.count, listed.columns, listed.rows), (3, 2, 2));
    assert_eq!((listed.width, listed.height, listed.interval_s), (80, 46, 1.0));
    for nothing in ["0.jpg", "4.jpg", "1.png", "trick.m3u8", "init.mp4", "0.m4s"] {
        assert_eq!(scene.get(&format!("{folder}{nothing}")).await.status, 404, "{nothing}");
    }
}

#[tokio::test]
async fn a_sheet_that_changes_is_another_version() {
    let scene = Scene::of(&["thumbnails"]);
    let before = sheets(&scene).await;
    let first = scene.body(&format!("{before}1.jpg")).await;
    let second = fs::read(scene.path("thumbnails/sheets/02.jpg")).unwrap();
    write(&scene.path("thumbnails/sheets/01.jpg"), &second, WRITTEN + Duration::from_secs(60));
    scene.rescan();
    let after = sheets(&scene).await;
    assert_ne!(before, after);
    same(&scene.body(&format!("{after}1.jpg")).await, &second, "the new sheet");
    same(&scene.body(&format!("{before}1.jpg")).await, &first, "the old one, from the cache, for who has its playlist");
}

#[tokio::test]
async fn what_is_wrong_with_sheets_is_said_and_costs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("thumbnails"), &dir.path().join("thumbnails"));
    let scene = Scene::at(dir, |_, _| {});
    let mut later = WRITTEN;
    let mut offered = async |toml: &str| {
        let toml = format!("[[file]]\npath = \"film.mp4\"\n[[thumbnails]]\n{toml}\n");
        later += Duration::from_secs(10);
        write(&scene.path("thumbnails/presentation.toml"), toml.as_bytes(), later);
        scene.rescan();
        let listing = scene.origin.listings(None, 1, scene.now).await.remove(0);
        (listing.hls.is_some(), listing.warnings.join("\n"))
    };
    let tiles = "columns = 2\nrows = 2\ninterval = 1";
    let (plays, said) = offered(&format!("files = [\"sheets/01.jpg\", \"film.mp4\"]\n{tiles}")).await;
    assert!(plays && said.contains("film.mp4: neither JPEG nor PNG (at 0x0); no thumbnails are offered"), "{said}");
    let (plays, said) = offered("files = [\"sheets/01.jpg\"]\ncolumns = 100\nrows = 100\ninterval = 1").await;
    assert!(plays && said.contains("160x92 pixels hold no 100x100 thumbnails"), "{said}");
    let (plays, said) = offered(&format!("files = [\"sheets/01.jpg\"]\n{tiles}")).await;
    assert!(plays && said.contains("the thumbnails end at 4 s, before the presentation does at 9"), "{said}");
    for (toml, expected) in [
        ("files = [\"sheets/01.jpg\"]\ncolumns = 0\nrows = 2\ninterval = 1", "`columns` and `rows` are 1 to 100"),
        ("files = [\"sheets/01.jpg\"]\ncolumns = 2\nrows = 2\ninterval = 0", "an `interval` of 0 s"),
        ("columns = 2\nrows = 2\ninterval = 1", "either `files` or `pattern`"),
        ("pattern = \"sheets/1.jpg\"\ncolumns = 2\nrows = 2\ninterval = 1", "there is no {number}"),
        ("pattern = \"sheets/{number}.jpg\"\ncolumns = 2\nrows = 2\ninterval = 1", "sheets/1.jpg is not there"),
        ("files = [\"../film.mp4\"]\ncolumns = 2\nrows = 2\ninterval = 1", "leads out of the folder"),
    ] {
        let (plays, said) = offered(toml).await;
        assert!(!plays && said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn a_film_that_lasts_otherwise_kept_the_version_of_its_thumbnails() {
    let scene = Scene::of(&["thumbnails"]);
    let before = sheets(&scene).await;
    let playlist = scene.text(&format!("{before}media.m3u8")).await;
    let film = fs::read(testdata("muxed")).unwrap();
    write(&scene.path("thumbnails/film.mp4"), &film, WRITTEN + Duration::from_secs(60));
    scene.rescan();
    let after = sheets(&scene).await;
    assert_ne!(scene.text(&format!("{after}media.m3u8")).await, playlist);
    assert_ne!(before, after, "two playlists under one name");
}
