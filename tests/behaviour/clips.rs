//! Sequences of clips: what of the files is shown, when, and what is said where it can't be.

use std::collections::BTreeSet;

use crate::mp4::{self, Track};
use crate::scene::{MediaPlaylist, NOW, Representation, Scene, WRITTEN, copy, resolve, testdata, write};

/// A presentation called `film` of copies of testdata (what they are called here, and what there) and what `toml` says of them.
fn scene(files: &[(&str, &str)], toml: &str) -> Scene {
    scene_with(files, &[], toml)
}

/// The same with texts beside them.
fn scene_with(files: &[(&str, &str)], texts: &[(&str, &str)], toml: &str) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    for (name, from) in files {
        copy(&testdata(from), &dir.path().join("film").join(name));
    }
    for (name, text) in texts {
        write(&dir.path().join("film").join(name), text.as_bytes(), WRITTEN);
    }
    write(&dir.path().join("film/presentation.toml"), toml.as_bytes(), WRITTEN);
    Scene::at(dir, |_, options| options.key_uri = Some("https://keys.example/{kid}".to_owned()))
}

/// What the API says of it.
async fn listing(scene: &Scene) -> headwater::origin::listing::Listing {
    scene.origin.listings(None, 1, NOW).await.remove(0)
}

fn sources(name: &str) -> Vec<Track> {
    mp4::read(&std::fs::read(testdata(name)).unwrap()).into_values().collect()
}

async fn served(scene: &Scene, representation: &Representation) -> Track {
    mp4::read(&scene.whole(representation).await).into_values().next().unwrap()
}

/// The samples of `source` whose presentation time, in seconds, is in `range`, as (presented, bytes).
fn within(source: &Track, from_s: i64, until_s: i64) -> Vec<(i64, &[u8])> {
    let scale = i64::from(source.timescale);
    let shown = source.samples.iter().filter(|s| (from_s * scale..until_s * scale).contains(&s.presented));
    shown.map(|s| (s.presented, &s.bytes[..])).collect()
}

fn all(track: &Track) -> Vec<(i64, &[u8])> {
    track.samples.iter().map(|s| (s.presented, &s.bytes[..])).collect()
}

#[tokio::test]
async fn what_is_cut_in_two_has_every_sample_once_at_its_time() {
    let toml = "[[clip]]\nfiles = ['v.mp4', 'a.mp4']\nout = 8\n[[clip]]\nfiles = ['v.mp4', 'a.mp4']\nin = 8\n";
    let scene = scene(&[("v.mp4", "tour/video-90p.mp4"), ("a.mp4", "tour/audio-eng.mp4")], toml);
    let dash = scene.dash("film").await;
    for (id, from) in [("v", "tour/video-90p.mp4"), ("a", "tour/audio-eng.mp4")] {
        let source = sources(from).remove(0);
        let clips: Vec<&Representation> = dash.iter().filter(|track| track.id == id).collect();
        let [first, second] = clips[..] else { panic!("{} clips", clips.len()) };
        assert_eq!((first.offset, second.offset), (0, 8 * second.timescale), "presentation goes on at 8 s");
        let (one, two) = (served(&scene, first).await, served(&scene, second).await);
        assert_eq!([all(&one), all(&two)].concat(), all(&source), "{id}");
        assert!(one.samples.iter().all(|s| s.presented < 8 * i64::from(one.timescale)), "{id}");
        assert_eq!(two.start(), source.samples[one.samples.len()..].iter().map(|s| s.presented).min().unwrap());
        assert_eq!(second.segments[0].time as i64, two.start());
    }
    let mpd = scene.text("/film/manifest.mpd").await;
    assert_eq!(mpd.matches("urn:mpeg:dash:period-continuity:2015\" value=\"1\"").count(), 2);
    assert!(mpd.contains("mediaPresentationDuration=\"PT20S\""), "{mpd}");
}

#[tokio::test]
async fn clips_of_every_kind_of_source_are_what_lies_between_their_points() {
    // Progressive; muxed and cut inside its fragments; of an initial delay; of 100 s.
    for (name, from, until, zero) in
        [("progressive", 2, 5, 0), ("muxed", 5, 11, 0), ("hybrid", 0, 3, 0), ("shape-late-start", 1, 3, 100)]
    {
        let toml = format!("[[clip]]\nfiles = ['x.mp4']\nin = {from}\nout = '00:00:{until:02}.000'\n");
        let scene = scene(&[("x.mp4", name)], &toml);
        assert_eq!(listing(&scene).await.warnings, [""; 0], "{name}");
        let tracks = sources(name);
        let dash = scene.dash("film").await;
        assert_eq!(dash.len(), tracks.len(), "{name}");
        for representation in &dash {
            let track = served(&scene, representation).await;
            let source = tracks.iter().find(|source| source.handler == track.handler).unwrap();
            let mut expected = within(source, zero + from, zero + until);
            if from == 0 {
                // What is decoded before the start is priming, and belongs to it.
                let before = source.samples.iter().filter(|s| s.presented < 0);
                expected.splice(0..0, before.map(|s| (s.presented, &s.bytes[..])));
            }
            let found = all(&track);
            assert!(
                found == expected,
                "{name}/{}: {} samples, {} expected",
                representation.id,
                found.len(),
                expected.len()
            );
        }
    }
}

#[tokio::test]
async fn the_same_segments_in_hls_and_dash_and_all_answer() {
    let scene = Scene::of(&["clips"]);
    let (hls, dash) = (scene.hls("clips").await, scene.dash("clips").await);
    let mut in_hls = BTreeSet::new();
    for playlist in &hls.playlists {
        assert_eq!(playlist.text.matches("#EXT-X-DISCONTINUITY\n").count(), 3, "{}", playlist.url);
        in_hls.extend(playlist.segments.iter().cloned());
        for url in playlist.segments.iter().chain(&maps(playlist)) {
            scene.body(url).await;
        }
        let sum: u64 = playlist.durations_us.iter().sum();
        assert!(sum.abs_diff(24_000_000) < 25_000, "{}: {sum} us", playlist.url);
    }
    let in_dash: BTreeSet<String> = dash.iter().flat_map(|r| r.segments.iter().map(|s| s.url.clone())).collect();
    assert_eq!(in_hls, in_dash);
    let inits: BTreeSet<String> = dash.iter().map(|r| r.init.clone()).collect();
    assert_eq!(hls.playlists.iter().flat_map(maps).collect::<BTreeSet<_>>(), inits);
    let variants = hls.master.variants.iter().filter(|variant| !variant.is_i_frame);
    assert_eq!(variants.count(), 2, "the film's renditions; the trailer's one stands in for both");
}

/// What the EXT-X-MAPs of a playlist name.
fn maps(playlist: &MediaPlaylist) -> Vec<String> {
    let named = playlist.text.lines().filter_map(|line| line.strip_prefix("#EXT-X-MAP:URI=\"")?.strip_suffix('"'));
    named.map(|uri| resolve(&playlist.url, uri)).collect()
}

#[tokio::test]
async fn the_same_clip_twice_has_the_same_urls_and_another_clip_of_the_file_has_others() {
    let clip = |from: u32, until: u32| format!("[[clip]]\nfiles = ['x.mp4']\nin = {from}\nout = {until}\n");
    let scene = scene(&[("x.mp4", "progressive")], &[clip(2, 4), clip(4, 6), clip(2, 4), clip(2, 5)].concat());
    let dash = scene.dash("film").await;
    let inits: Vec<&str> = dash.iter().filter(|r| r.content_type == "video").map(|r| r.init.as_str()).collect();
    assert_eq!(inits[0], inits[2]);
    assert_eq!(inits.iter().collect::<BTreeSet<_>>().len(), 3);
    let hls = scene.hls("film").await;
    assert!(hls.playlists.iter().all(|p| p.segments[0] == p.segments[2] && p.segments.len() == 4), "a segment a clip");
}

#[tokio::test]
async fn cues_are_cut_with_their_clip_and_a_clip_without_text_has_none() {
    let vtt = "WEBVTT\n\n00:01.000 --> 00:03.000\none\n\n00:07.000 --> 00:09.000\nover the break\n\n00:18.000 --> 00:25.000\nend\n";
    let film = "files = ['v.mp4', 'v.en.vtt']";
    let toml = format!("[[clip]]\n{film}\nout = 8\n[[clip]]\nfiles = ['t.mp4']\n[[clip]]\n{film}\nin = 8\n");
    let files = [("v.mp4", "tour/video-90p.mp4"), ("t.mp4", "shape-mfra")];
    let scene = scene_with(&files, &[("v.en.vtt", vtt)], &toml);
    assert_eq!(listing(&scene).await.warnings, [""; 0]);
    let hls = scene.hls("film").await;
    let text = hls.playlists.iter().find(|playlist| playlist.init.is_none()).unwrap();
    let (mut cues, mut maps) = (Vec::new(), Vec::new());
    for url in &text.segments {
        let body = scene.text(url).await;
        maps.push(body.lines().nth(1).unwrap().to_owned());
        cues.push(body.lines().filter(|line| line.contains("-->")).map(str::to_owned).collect::<Vec<_>>());
    }
    let cue = |timing: &str| vec![timing.to_owned()];
    // Times are those of the media of each clip.
    let expected = [
        cue("00:00:01.000 --> 00:00:03.000"),
        cue("00:00:07.000 --> 00:00:08.000"),
        vec![],
        cue("00:00:08.000 --> 00:00:09.000"),
        vec![],
        cue("00:00:18.000 --> 00:00:20.000"),
    ];
    assert_eq!(cues, expected);
    let map = |start: &str| format!("X-TIMESTAMP-MAP={start}");
    let (zero, half) = (map("MPEGTS:0,LOCAL:00:00:00.000"), map("MPEGTS:720000,LOCAL:00:00:08.000"));
    assert_eq!(maps.iter().collect::<Vec<_>>(), [&zero, &zero, &zero, &half, &half, &half]);
    assert_eq!(text.durations_us, [6_000_000, 2_000_000, 4_000_000, 4_000_000, 6_000_000, 2_000_000]);
    let dash = scene.dash("film").await;
    assert_eq!(dash.iter().filter(|track| track.codecs == "wvtt").count(), 3);
}

#[tokio::test]
async fn text_in_a_movie_is_cut_where_the_pictures_are() {
    let toml = "[[clip]]\nfiles = ['v.mp4', 'en.mp4', 'de.mp4']\nin = 2\nout = 14\n";
    let files = [("v.mp4", "tour/video-90p.mp4"), ("en.mp4", "tour/text-eng.mp4"), ("de.mp4", "tour/text-deu.mp4")];
    let scene = scene(&files, toml);
    let dash = scene.dash("film").await;
    for id in ["en", "de"] {
        let representation = dash.iter().find(|track| track.id == id).unwrap();
        let track = served(&scene, representation).await;
        assert_eq!((track.start(), track.end()), (2000, 14_000), "{id}");
        assert_eq!(representation.segments[0].time, 2000);
    }
}

#[tokio::test]
async fn an_encrypted_clip_keeps_what_each_sample_has_of_its_protection() {
    let toml = "[[clip]]\nfiles = ['v.mp4', 'a.mp4']\nin = 2\nout = 6\n[[clip]]\nfiles = ['t.mp4']\n";
    let files =
        [("v.mp4", "encrypted-cbcs/video.mp4"), ("a.mp4", "encrypted-cbcs/audio-eng.mp4"), ("t.mp4", "progressive")];
    let scene = scene(&files, toml);
    let dash = scene.dash("film").await;
    for (id, from) in [("v", "encrypted-cbcs/video.mp4"), ("a", "encrypted-cbcs/audio-eng.mp4")] {
        let source = sources(from).remove(0);
        let track = served(&scene, dash.iter().find(|track| track.id == id).unwrap()).await;
        assert_eq!(all(&track), within(&source, 2, 6), "{id}");
        let first = source.samples.iter().position(|s| s.presented == track.samples[0].presented).unwrap();
        let protection = |samples: &[mp4::Sample]| samples.iter().map(|s| s.protection.clone()).collect::<Vec<_>>();
        assert_eq!(protection(&track.samples), protection(&source.samples[first..first + track.samples.len()]), "{id}");
    }
    for playlist in &scene.hls("film").await.playlists {
        let tags: Vec<&str> = playlist.text.lines().filter(|line| line.starts_with("#EXT-X-")).skip(5).collect();
        let clear = tags.iter().position(|tag| *tag == "#EXT-X-KEY:METHOD=NONE").expect("the trailer is in the clear");
        assert_eq!(tags[clear - 1], "#EXT-X-DISCONTINUITY");
        assert!(tags[clear + 1].starts_with("#EXT-X-MAP:"), "{tags:?}");
        assert!(tags[0].starts_with("#EXT-X-KEY:METHOD=SAMPLE-AES,"), "{tags:?}");
    }
}

#[tokio::test]
async fn a_point_between_sync_points_moves_to_the_one_before_and_says_so() {
    let toml = "[[clip]]\nfiles = ['v.mp4']\nin = 3.5\nout = '00:00:13.900'\n";
    let scene = scene(&[("v.mp4", "tour/video-90p.mp4")], toml);
    let listing = listing(&scene).await;
    assert_eq!(listing.duration_s, Some(10.0));
    assert_eq!(
        listing.warnings,
        [
            "clip 1 (v): the in point 3.500 s is moved to 2.000 s, where the pictures can be cut",
            "clip 1 (v): the out point 13.900 s is moved to 12.000 s, where the pictures can be cut",
        ]
    );
}

/// Why nothing is served of what `toml` says.
async fn refused(toml: &str) -> String {
    let scene = scene(&[("v.mp4", "tour/video-90p.mp4"), ("x.mp4", "broken-not-mp4")], toml);
    let listing = listing(&scene).await;
    assert!(listing.hls.is_none() && listing.dash.is_none());
    listing.warnings.join("; ")
}

#[tokio::test]
async fn what_is_wrong_with_a_clip_is_said_with_its_number_and_its_files() {
    for (clip, why) in [
        ("files = ['w.mp4']", "clip 2: w.mp4 is not there"),
        ("files = []", "clip 2: there is no movie in its `files`"),
        ("files = ['v.mp4', 'v.mp4']", "clip 2: it names v.mp4 twice"),
        ("files = ['../v.mp4']", "clip 2: ../v.mp4 leads out of the folder"),
        ("files = ['v.mp4']\nin = 'soon'", "clip 2: its `in` is no time: seconds, or \"hh:mm:ss.fff\""),
        ("files = ['v.mp4']\nout = -1", "clip 2: its `out` is no time"),
        ("files = ['v.mp4']\nin = 5\nout = 5", "clip 2: it ends at 5 s and begins at 5 s"),
        ("files = ['v.mp4']\nin = 20", "clip 2 (v): the in point lies behind the end, 20.000 s"),
        (
            "files = ['v.mp4']\nin = 2.5\nout = 3.5",
            "clip 2 (v): no sync point lies between the in point and the out point: both mean the one at 2.000 s",
        ),
        ("files = ['x.mp4']", "clip 2 (x): there is no track in it"),
        ("files = ['v.mp4']\n[[file]]\npath = 'x.mp4'", "x.mp4 is in no [[clip]]"),
        ("file = 'v.mp4'", "unknown field `file`"),
    ] {
        let said = refused(&format!("[[clip]]\nfiles = ['v.mp4']\n[[clip]]\n{clip}\n")).await;
        assert!(said.contains(why), "{clip}: {said}");
    }
}

#[tokio::test]
async fn a_clip_without_sound_leaves_no_hls_and_dash_goes_on() {
    let toml = "[[clip]]\nfiles = ['x.mp4']\n[[clip]]\nfiles = ['v.mp4']\n";
    let scene = scene(&[("x.mp4", "progressive"), ("v.mp4", "tour/video-90p.mp4")], toml);
    let listing = listing(&scene).await;
    assert_eq!((listing.hls, listing.dash.is_some()), (None, true));
    let why = "no HLS: clip 2 has no audio that could go on for x-audio1 (mp4a.40.2)";
    assert_eq!(listing.warnings, [why]);
    let (_, message) = scene.get("/film/master.m3u8").await.problem(404, "public, max-age=5");
    assert!(message.contains("clip 2 has no audio"), "{message}");
    assert_eq!(scene.dash("film").await.len(), 3);
}

#[tokio::test]
async fn a_rendition_of_another_codec_is_left_out_of_hls_and_a_missing_language_is_lent() {
    // E-AC-3 in English and AC-3 in German; then E-AC-3 is missing, and German.
    let toml = "[[clip]]\nfiles = ['v.mp4', 'en.mp4', 'de.mp4']\n[[clip]]\nfiles = ['x.mp4']\n";
    let files = [
        ("v.mp4", "tour/video-90p.mp4"),
        ("en.mp4", "tour/audio-eng.mp4"),
        ("de.mp4", "tour/audio-deu.mp4"),
        ("x.mp4", "progressive"),
    ];
    let scene = scene(&files, toml);
    assert_eq!(listing(&scene).await.warnings, ["HLS: clip 2 has no audio in de, en plays there"]);
    assert_eq!(scene.hls("film").await.master.alternatives.len(), 2);

    let toml = "[[clip]]\nfiles = ['v.mp4']\n[[clip]]\nfiles = ['h.mp4', 'v.mp4']\n";
    let scene = self::scene(&[("v.mp4", "tour/video-90p.mp4"), ("h.mp4", "hevc")], toml);
    let warnings = listing(&scene).await.warnings;
    assert!(
        warnings.iter().any(|w| w.starts_with("HLS leaves it out: clip 1 has no video that could go on for h (hvc1.")),
        "{warnings:?}"
    );
    assert_eq!(scene.hls("film").await.playlists.len(), 1);
}
