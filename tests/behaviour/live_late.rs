//! A track that comes late where segments of some tracks are much longer than those of others: who waits for whom, and what is listed meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use headwater::content::live::channel::Options;
use headwater::content::live::window;

use crate::live::{Encoder, Studio, parsed, quick};
use crate::live_long::{iso_us, lines};
use crate::live_text::{text_chunk, texts};
use crate::scene::{NOW, representations};

/// Seconds of a GOP of pictures; sound has segments of two.
const GOP_S: u32 = 10;
/// What is listed comes with whole chunks, and is looked at twice a second.
const SLACK_S: f64 = 1.1;

/// What encoders push, each so many seconds later than it was made.
struct Scene {
    studio: Studio,
    encoders: Vec<(Encoder, f64)>,
}

impl Scene {
    /// Pictures that come `late_s` late, and sound.
    fn with(options: Options, late_s: f64) -> Scene {
        let studio = Studio::of(Options { open: true, ..options }, NOW);
        let encoders = vec![(Encoder { gop: 24 * GOP_S, ..Encoder::video("v") }, late_s), (Encoder::audio("a"), 0.0)];
        encoders.iter().for_each(|(encoder, _)| encoder.begin(&studio));
        Scene { studio, encoders }
    }

    fn new(late_s: f64) -> Scene {
        Scene::with(Options { every: listing(), ..Options::default() }, late_s)
    }

    /// Sound called `name` begins.
    fn comes(&mut self, name: &'static str) {
        let mut encoder = Encoder::audio(name);
        encoder.sample = (self.now_s() * 48_000.0 / 1024.0) as u64;
        encoder.begin(&self.studio);
        self.encoders.push((encoder, 0.0));
    }

    fn now_s(&self) -> f64 {
        (self.studio.now.0 - NOW.0) as f64 / 1000.0
    }

    fn run(&mut self, until_s: f64) {
        let due_s = |(encoder, late_s): &(Encoder, f64)| {
            let chunk = f64::from(encoder.chunk_samples * encoder.sample_ticks) / f64::from(encoder.timescale);
            encoder.seconds() + chunk + late_s
        };
        let at = |seconds: f64| NOW.after(Duration::from_secs_f64(seconds));
        loop {
            let next = self.encoders.iter_mut().min_by(|a, b| due_s(a).total_cmp(&due_s(b))).unwrap();
            let due_s = due_s(next);
            if due_s > until_s {
                break;
            }
            self.studio.now = self.studio.now.max(at(due_s));
            next.0.next(&self.studio);
        }
        self.studio.now = self.studio.now.max(at(until_s));
        self.studio.channels.tick(self.studio.now);
    }

    /// The tracks of each period.
    fn periods(&self) -> Vec<String> {
        let broadcast = self.studio.channels.get("tv").unwrap().broadcast();
        let names = |period: &headwater::media::live::LivePeriod| -> String {
            period.tracks.iter().map(|track| track.face.name.as_str()).collect()
        };
        broadcast.periods.iter().map(|period| names(period)).collect()
    }
}

/// All of it stays listed.
fn listing() -> window::Options {
    window::Options { window: Duration::from_secs(160), ..quick() }
}

/// By track, when each segment begins and ends that the MPD lists, in seconds after `NOW`, as far as its Period shows it.
async fn shown(studio: &Studio) -> BTreeMap<String, Vec<(f64, f64)>> {
    let text = studio.text("/tv/manifest.mpd").await;
    let starts = text.split("<Period ").skip(1).map(|period| {
        let value = |name: &str| period.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
        (value("id"), iso_us(value("start")) as f64 / 1e6)
    });
    let starts: Vec<(&str, f64)> = starts.collect();
    let mut tracks: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for own in representations(&text, "/tv/manifest.mpd") {
        let index = starts.iter().position(|(id, _)| *id == own.period).unwrap();
        let (start, end) = (starts[index].1, starts.get(index + 1).map_or(f64::INFINITY, |next| next.1));
        let at = |ticks: u64| start + (ticks as f64 - own.offset as f64) / own.timescale as f64;
        let segments = own.segments.iter().map(|s| (at(s.time).max(start), at(s.time + s.duration).min(end)));
        tracks.entry(own.id.clone()).or_default().extend(segments.filter(|(begins, ends)| begins < ends));
    }
    tracks
}

/// By track, how far behind now what is listed ends: in HLS, and in DASH.
async fn behind(scene: &Scene) -> BTreeMap<&'static str, (f64, Option<f64>)> {
    let shown = shown(&scene.studio).await;
    let mut found = BTreeMap::new();
    for (encoder, late_s) in &scene.encoders {
        let path = format!("/tv/{}/media.m3u8", encoder.name);
        let answer = scene.studio.get(&path).await;
        if answer.status != 200 {
            continue;
        }
        let text = answer.text();
        let last = *lines(&text).last().unwrap();
        let parts_s: f64 = parsed(&path, &text).open.iter().map(|(_, seconds)| seconds).sum();
        let until_s = (last.utc_ms as f64 - NOW.0 as f64) / 1000.0 + last.seconds + parts_s;
        let own_s = scene.now_s() - late_s;
        let in_dash = shown.get(encoder.name).and_then(|own| own.last()).map(|(_, ends)| own_s - ends);
        found.insert(encoder.name, (own_s - until_s, in_dash));
    }
    found
}

/// The longest hole in what is shown of a track.
fn longest_hole(segments: &[(f64, f64)]) -> f64 {
    segments.windows(2).map(|pair| pair[1].0 - pair[0].1).fold(0.0, f64::max)
}

/// From `from_s` on sound comes that was not there, in a channel whose pictures are late. In DASH, which takes no track later, nobody's listing may
/// stand still for longer than pictures' segments are, and in HLS for hardly longer than those of sound.
async fn comes_late(mut scene: Scene, from_s: f64, also_s: Option<f64>) -> Scene {
    let late_s = scene.encoders[0].1;
    scene.run(from_s);
    scene.comes("b");
    let mut also_s = also_s;
    for step in 1..90 {
        scene.run(from_s + 0.5 * f64::from(step));
        if also_s.take_if(|also_s| scene.now_s() >= *also_s).is_some() {
            scene.comes("c");
        }
        for (track, (in_hls, in_dash)) in behind(&scene).await {
            let waits_s = if track == "v" { 0.0 } else { late_s };
            let most = f64::from(GOP_S) + SLACK_S + waits_s;
            // Until sound is whole that went over.
            let most_in_hls = 2.0 + 2.0 * SLACK_S + waits_s;
            let what = format!("{track} at {}, another came at {from_s}", scene.now_s());
            assert!((-0.1..most_in_hls).contains(&in_hls), "{what}: {in_hls} s behind in HLS");
            assert!(
                in_dash.is_none_or(|in_dash| (-0.1..most).contains(&in_dash)),
                "{what}: {in_dash:?} s behind in DASH"
            );
        }
    }
    scene
}

#[tokio::test]
async fn pictures_with_long_gops_were_not_in_the_period_of_a_track_that_came_late() {
    for late_s in [0.0, 0.7, 3.0] {
        for from_s in [31.3, 36.1, 39.9] {
            let scene = comes_late(Scene::new(late_s), from_s, None).await;
            assert_eq!(scene.periods(), ["av", "abv"], "from {from_s} on");
            let shown = shown(&scene.studio).await;
            let holes = ["v", "a", "b"].map(|track| longest_hole(&shown[track]));
            // Of pictures next to nothing is missing, of sound what came before the pictures did, and the chunk under way.
            assert!(holes[0] < 0.5 && holes[1] < 1.3 && holes[2] < 0.01, "from {from_s} on, {late_s} late: {holes:?}");
        }
    }
}

#[tokio::test]
async fn text_that_came_late_to_pictures_with_long_gops_was_announced_alone() {
    for from_s in [31.3, 36.1, 39.9] {
        let mut scene = Scene::new(0.0);
        scene.run(from_s);
        let text = texts(&scene.studio);
        let mut next = (from_s / 2.0) as u64;
        for step in 1..90 {
            scene.run(from_s + 0.5 * f64::from(step));
            while 2.0 * (next + 1) as f64 <= scene.now_s() {
                text.push(&scene.studio, &text_chunk(next));
                next += 1;
            }
            let master = scene.studio.text("/tv/master.m3u8").await;
            assert!(master.contains("\nv/media.m3u8") && master.contains("a/media.m3u8"), "{master}");
            for (track, (in_hls, _)) in behind(&scene).await {
                let what = format!("{track} at {}, text came at {from_s}", scene.now_s());
                assert!((-0.1..4.3).contains(&in_hls), "{what}: {in_hls} s behind in HLS");
            }
        }
        assert_eq!(scene.periods(), ["av", "atv"], "from {from_s} on");
    }
}

#[tokio::test]
async fn who_comes_while_another_is_waited_for_is_announced_with_it() {
    for (also_s, periods) in [(36.0, vec!["av", "abcv"]), (41.0, vec!["av", "abcv"]), (44.0, vec!["av", "abv", "abcv"])]
    {
        let scene = comes_late(Scene::new(0.0), 33.2, Some(also_s)).await;
        assert_eq!(scene.periods(), periods, "another at {also_s}");
        let shown = shown(&scene.studio).await;
        assert!(longest_hole(&shown["v"]) < 0.01 && longest_hole(&shown["a"]) < 0.6, "{shown:?}");
    }
}

#[tokio::test]
async fn a_track_that_falls_silent_while_it_is_waited_for_holds_nobody_up() {
    // Before it could leave, and after.
    for (silent_s, periods) in [(36.2, ["av", "ab", "abv"].as_slice()), (42.2, &["av", "abv"])] {
        let mut scene = Scene::new(0.0);
        scene.run(33.2);
        scene.comes("b");
        scene.run(silent_s);
        let pictures = scene.encoders.remove(0);
        for step in 1..60 {
            scene.run(silent_s + 0.5 * f64::from(step));
            let in_hls = behind(&scene).await["a"].0;
            assert!((-0.1..8.0).contains(&in_hls), "at {}: {in_hls} s behind", scene.now_s());
        }
        assert_eq!(scene.periods(), periods[..2]);
        // It comes back.
        scene.encoders.push(pictures);
        let last = scene.encoders.last_mut().unwrap();
        last.0.sample = 80 * 24;
        let until_s = scene.now_s() + 50.0;
        scene.run(until_s);
        assert_eq!(scene.periods(), periods);
        for (track, (in_hls, _)) in behind(&scene).await {
            assert!((-0.1..11.0).contains(&in_hls), "{track}: {in_hls} s behind");
        }
    }
}

#[tokio::test]
async fn a_restart_while_a_track_is_waited_for_changes_nothing() {
    let options = |dir: &Path| Options {
        dir: Some(dir.to_path_buf()),
        every: listing(),
        open: true,
        spool_file_bytes: 20_000,
        ..Options::default()
    };
    let text = async |killed_s: &[f64]| {
        let dir = tempfile::tempdir().unwrap();
        let mut scene = Scene::with(options(dir.path()), 0.0);
        scene.run(33.2);
        scene.comes("b");
        for killed_s in killed_s {
            scene.run(*killed_s);
            scene.studio = Studio::of(options(dir.path()), scene.studio.now);
            scene.encoders.iter().for_each(|(encoder, _)| encoder.begin(&scene.studio));
        }
        scene.run(60.0);
        let mut text = scene.periods().join(" ");
        for track in ["v", "a", "b"] {
            text += &scene.studio.text(&format!("/tv/{track}/media.m3u8")).await;
        }
        text
    };
    let expected = text(&[]).await;
    assert!(expected.starts_with("av abv"), "{expected}");
    for killed_s in [&[36.2][..], &[40.2], &[40.7], &[34.2, 42.2, 49.9], &[52.0]] {
        assert_eq!(text(killed_s).await, expected, "killed at {killed_s:?}");
    }
}
