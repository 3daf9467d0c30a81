//! What is offered to who has chosen nothing yet: which sound plays, and what it is called.

use crate::scene::{Scene, WRITTEN, testdata, write};

/// A library with the files of the tour under other names, each as `change` leaves it.
fn film(files: &[(&str, &str)], change: impl Fn(&str, &mut Vec<u8>)) -> Scene {
    let scene = Scene::of(&[]);
    for (from, to) in files {
        let mut bytes = std::fs::read(testdata("tour").join(from)).unwrap();
        change(to, &mut bytes);
        write(&scene.path(&format!("film/{to}")), &bytes, WRITTEN);
    }
    scene.rescan();
    scene
}

/// The value of attribute `name` in `line`.
fn value<'a>(line: &'a str, name: &str) -> &'a str {
    let quoted = line.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    quoted.map_or("", |(value, _)| value)
}

#[tokio::test]
async fn the_default_sound_was_the_first_of_the_alphabet() {
    let versions = async |scene: &Scene, name: &str| {
        let master = scene.text(&format!("/{name}/master.m3u8")).await;
        let audio = master.lines().filter(|line| line.contains("TYPE=AUDIO"));
        let version = |line: &str| value(line, "URI").split('/').nth(1).unwrap().to_owned();
        audio.map(|line| (value(line, "LANGUAGE").to_owned(), version(line), line.contains("DEFAULT=YES"))).collect()
    };
    let tour: Vec<(String, String, bool)> = versions(&Scene::of(&["tour"]), "tour").await;
    assert!(tour[0].0 == "de" && tour[0].2 && tour[1].0 == "en", "{tour:?}");
    // In the order of the files, which shapes no version.
    let files = [("video-90p.mp4", "v.mp4"), ("audio-eng.mp4", "a.mp4"), ("audio-deu.mp4", "b.mp4")];
    let film = film(&files, |_, _| {});
    let swapped: Vec<(String, String, bool)> = versions(&film, "film").await;
    let named = |all: &[(String, String, bool)]| -> Vec<(String, String)> {
        all.iter().map(|(language, version, _)| (language.clone(), version.clone())).collect()
    };
    assert_eq!(named(&swapped), named(&tour));
    assert_eq!([swapped[0].2, swapped[1].2], [false, true]);
    let mpd = film.text("/film/manifest.mpd").await;
    let main = mpd.split("<AdaptationSet").filter(|set| set.contains("value=\"main\"") && set.contains("lang="));
    assert_eq!(main.map(|set| value(set, "lang")).collect::<Vec<_>>(), ["en"]);
}

#[tokio::test]
async fn a_track_that_is_not_enabled_is_not_the_default() {
    let files = [("video-90p.mp4", "v.mp4"), ("audio-deu.mp4", "a.mp4"), ("audio-eng.mp4", "b.mp4")];
    let disabled = film(&files, |name, bytes| {
        let tkhd = bytes.windows(4).position(|kind| kind == b"tkhd").unwrap();
        bytes[tkhd + 7] &= if name == "a.mp4" { !1 } else { !0 };
    });
    let master = disabled.text("/film/master.m3u8").await;
    let default = master.lines().find(|line| line.contains("DEFAULT=YES")).unwrap();
    assert_eq!(value(default, "LANGUAGE"), "en", "{master}");
}

#[tokio::test]
async fn what_a_handler_is_called_hid_the_language() {
    let names = async |handler: [&[u8; 9]; 2]| {
        let files = [("video-90p.mp4", "v.mp4"), ("text-deu.mp4", "de.mp4"), ("text-eng.mp4", "en.mp4")];
        let scene = film(&files, |name, bytes| {
            let place = bytes.windows(9).position(|name| name == b"Subtitles");
            if let Some(place) = place {
                bytes[place..place + 9].copy_from_slice(handler[usize::from(name == "en.mp4")]);
            }
        });
        let master = scene.text("/film/master.m3u8").await;
        let mpd = scene.text("/film/manifest.mpd").await;
        let texts = master.lines().filter(|line| line.contains("TYPE=SUBTITLES"));
        let labels = mpd.lines().filter(|line| line.contains("<Label>")).count();
        (texts.map(|line| value(line, "NAME").to_owned()).collect::<Vec<_>>(), labels)
    };
    assert_eq!(names([b"Subtitles"; 2]).await, (vec!["Deutsch".to_owned(), "English".to_owned()], 0));
    assert_eq!(names([b"Studio XY"; 2]).await, (vec!["Deutsch".to_owned(), "English".to_owned()], 0));
    assert_eq!(names([b"Studio XY", b"Studio ZZ"]).await, (vec!["Studio XY".to_owned(), "Studio ZZ".to_owned()], 2));
}
