//! What was broadcast is played later: stretches under names that begin with when, from disk.

use std::sync::Arc;
use std::time::Duration;

use headwater::content::library::{self, Library};
use headwater::content::live::archive::{self, Shelf};
use headwater::content::live::channel::Options;
use headwater::content::live::clip;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::Source;
use headwater::media::shift::Shift;
use headwater::origin::clips::NoClip;
use headwater::origin::options::Options as OriginOptions;
use headwater::origin::serve::Origin;
use headwater::time::Utc;

use crate::live::{Encoder, Studio, parsed, quick, run, run_for};
use crate::live_long::{iso_us, lines};
use crate::live_text::{text_chunk, texts};
use crate::scene::{self, NOW, Scene, representations};

fn options(dir: &std::path::Path) -> Options {
    Options {
        dir: Some(dir.to_path_buf()),
        every: quick(),
        open: true,
        // Some four seconds.
        spool_file_bytes: 10_000,
        archive: archive::Options { kept: Duration::from_secs(3600), bytes_max: 1 << 30 },
        ..Options::default()
    }
}

fn seconds(at: u64) -> u64 {
    NOW.0 / 1000 + at
}

fn studio(options: Options) -> (Studio, Encoder, Encoder) {
    let studio = Studio::of(options, NOW);
    let (video, audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    (studio, video, audio)
}

#[tokio::test]
async fn a_stretch_that_is_over_is_as_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 120.0, NOW);
    let base = format!("/~from={}/~to={}/tv", seconds(21), seconds(40));
    let (path, mpd_path) = (format!("{base}/v/media.m3u8"), format!("{base}/manifest.mpd"));
    let text = studio.text(&path).await;
    let list = parsed(&path, &text);
    assert!(list.ended && list.part_target_s.is_none(), "{text}");
    assert_eq!((list.msn, list.segments.len()), (10, 10), "from 20 to 40: {text}");
    assert!(text.contains(&format!("#EXT-X-PROGRAM-DATE-TIME:{}", NOW.after(Duration::from_secs(20)))), "{text}");
    for (index, (url, length, _)) in list.segments.iter().enumerate() {
        let whole: Vec<u8> =
            (0..4).flat_map(|chunk| Encoder::video("v").chunk((10 + index as u64) * 48 + chunk * 12)).collect();
        let answer = studio.get(url).await;
        assert_eq!((answer.status.as_u16(), *length), (200, 2.0), "{url}");
        scene::same(&answer.body, &whole, url);
        // One object, whatever its path begins with.
        let plain = url.strip_prefix(&base.replace("/tv", "")).unwrap();
        scene::same(&studio.get(plain).await.body, &whole, plain);
    }
    let mpd = studio.text(&mpd_path).await;
    assert!(mpd.contains("type=\"static\"") && mpd.contains("<Period id=\"0\" start=\"PT0S\""), "{mpd}");
    let found = representations(&mpd, &mpd_path);
    let dash = found.iter().find(|r| r.id == "v").unwrap();
    assert_eq!(
        dash.segments.iter().map(|s| &s.url).collect::<Vec<_>>(),
        list.segments.iter().map(|s| &s.0).collect::<Vec<_>>()
    );
    for url in found.iter().flat_map(|r| r.segments.iter().map(|s| &s.url).chain([&r.init])) {
        assert_eq!(studio.get(url).await.status, 200, "{url}");
    }
    assert!(studio.text(&format!("{base}/master.m3u8")).await.contains("\nv/media.m3u8\n"));
    // The same after a restart, which reads little of it back.
    let before = (text, mpd);
    let studio = Studio::of(options(dir.path()), studio.now);
    assert_eq!((studio.text(&path).await, studio.text(&mpd_path).await), before);
    assert_eq!(studio.get(&list.segments[0].0).await.status, 200);
    let (code, _) = studio.get("/~from=1/~to=2/tv/v/media.m3u8").await.problem(404, "public, max-age=5");
    assert_eq!(code, "nothing_there");
    studio.get("/~from=5/~to=2/tv/v/media.m3u8").await.problem(400, "no-store");
}

#[tokio::test]
async fn who_starts_over_has_all_from_there_to_now() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 80.0, NOW);
    let base = format!("/~from={}/tv", seconds(10));
    let path = format!("{base}/v/media.m3u8");
    let text = studio.text(&path).await;
    assert!(text.contains("#EXT-X-START:TIME-OFFSET=0\n"), "{text}");
    let (early, live) = (parsed(&path, &text), studio.playlist("v").await);
    assert!(!early.ended && early.msn == 5 && live.msn > 20, "{early:?}");
    // The one from 78 on is under way.
    assert_eq!(early.segments.len(), 34);
    run(&mut studio, &mut [&mut video, &mut audio], 90.0, NOW);
    let later = parsed(&path, &studio.text(&path).await);
    assert_eq!((later.msn, later.segments.len()), (5, 39));
    assert_eq!(later.segments[..30], early.segments[..30]);
    let mpd = studio.text(&format!("{base}/manifest.mpd")).await;
    assert!(mpd.contains("type=\"dynamic\"") && mpd.contains("value=\"../../time\""), "{mpd}");
    let found = representations(&mpd, &format!("{base}/manifest.mpd"));
    assert_eq!(found.iter().find(|r| r.id == "v").unwrap().segments.len(), 39);
}

#[tokio::test]
async fn a_stretch_whose_end_passes_goes_over_to_what_is_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    let path = format!("/~from={}/~to={}/tv/v/media.m3u8", seconds(4), seconds(12));
    let mut ended = Vec::new();
    for until in [8, 11, 13, 60] {
        run(&mut studio, &mut [&mut video, &mut audio], f64::from(until), NOW);
        let list = parsed(&path, &studio.text(&path).await);
        ended.push((list.ended, list.segments.len()));
    }
    assert_eq!(ended, [(false, 1), (false, 3), (true, 4), (true, 4)]);
}

#[tokio::test]
async fn a_recording_goes_on_where_the_encoder_came_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 30.0, NOW);
    // Ten seconds are lost.
    video.sample += 240;
    audio.sample += 480;
    run(&mut studio, &mut [&mut video, &mut audio], 60.0, NOW);
    for name in ["v", "a"] {
        let end = Source { push: 1, ..Source::default() };
        studio.channels.get("tv").unwrap().take(name, Event::End, end, studio.now).unwrap();
    }
    let whole = format!("/~from={}/tv", seconds(0));
    let list = parsed("/x", &studio.text(&format!("{whole}/v/media.m3u8")).await);
    assert!(list.ended && list.gaps == 5 && list.msn == 0, "{list:?}");
    // It comes back on another timeline: the same name is not over any more.
    let began = studio.now;
    let mut other = Encoder { push: 2, origin: 900_000_000, ..Encoder::video("v") };
    other.begin(&studio);
    run(&mut studio, &mut [&mut other], 20.0, began);
    let text = studio.text(&format!("{whole}/v/media.m3u8")).await;
    assert!(!text.contains("ENDLIST") && text.matches("#EXT-X-DISCONTINUITY\n").count() == 1, "{text}");
    let found = representations(&studio.text(&format!("{whole}/manifest.mpd")).await, &format!("{whole}/manifest.mpd"));
    let periods: Vec<&str> = found.iter().filter(|r| r.id == "v").map(|r| r.period.as_str()).collect();
    // What came on the other timeline has no sound yet.
    assert_eq!(periods.len(), 2, "{periods:?}");
    for url in found.iter().flat_map(|r| r.segments.iter().map(|s| &s.url)) {
        assert_eq!(studio.get(url).await.status, 200, "{url}");
    }
}

/// The media of all segments that `encoder` makes of these samples.
fn media(encoder: &Encoder, samples: std::ops::Range<u64>) -> Vec<u8> {
    samples.step_by(encoder.chunk_samples as usize).flat_map(|sample| payloads(&encoder.chunk(sample))).collect()
}

/// What is in the `mdat` of each chunk of `bytes`.
fn payloads(bytes: &[u8]) -> Vec<u8> {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(bytes, &mut events).unwrap();
    let payload = |event: Event| match event {
        Event::Chunk(raw) => raw.bytes[raw.moof.end + 8..].to_vec(),
        _ => Vec::new(),
    };
    events.into_iter().flat_map(payload).collect()
}

#[tokio::test]
async fn a_clip_is_on_demand_and_stays_when_the_archive_goes() {
    let (data, library) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut studio, mut video, mut audio) = studio(options(data.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 60.0, NOW);
    video.sample += 240;
    audio.sample += 480;
    run(&mut studio, &mut [&mut video, &mut audio], 120.0, NOW);
    let shelf = Shelf::of(&data.path().join("tv"));
    let shift = |from: u64, to: u64| Shift { from: Utc(seconds(from) * 1000), to: Some(Utc(seconds(to) * 1000)) };
    for (name, from, to, stretches) in [("monday", 20, 40, 1), ("gap", 50, 90, 2)] {
        let broadcast = shelf.stretch(&shift(from, to)).unwrap().unwrap();
        let made = clip::make(&broadcast, &data.path().join("tv"), &library.path().join(name)).unwrap();
        // The sound's segments are a little longer than the video's.
        let early_ms = seconds(from) * 1000 - made.from.0;
        assert!(early_ms < 2048 && made.stretches == stretches, "{name}: {made:?}");
        assert!(clip::make(&broadcast, &data.path().join("tv"), &library.path().join(name)).is_err(), "it is there");
    }
    let spool = std::fs::read_dir(data.path().join("tv")).unwrap();
    spool.for_each(|file| std::fs::remove_file(file.unwrap().path()).unwrap());
    // Rested, as the scan of a library asks for.
    for folder in std::fs::read_dir(library.path()).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            scene::touch(&file.unwrap().path(), scene::WRITTEN);
        }
    }
    let scene = Scene::at(library, |_, _| {});
    assert_eq!(scene.names(), ["gap", "monday"]);
    let found = scene.dash("monday").await;
    assert_eq!(found.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["v", "a"]);
    let whole = scene.whole(&found[0]).await;
    scene::same(&payloads(&whole), &media(&Encoder::video("v"), 480..960), "video");
    let mpd = scene.text("/monday/manifest.mpd").await;
    assert!(mpd.contains("mediaPresentationDuration=\"PT20S\""), "{mpd}");
    assert_eq!(scene.hls("monday").await.playlists.len(), 2);
    let found = scene.dash("gap").await;
    assert_eq!(
        found.iter().map(|r| (r.period.as_str(), r.id.as_str())).collect::<Vec<_>>(),
        [("1", "v"), ("1", "a"), ("2", "v"), ("2", "a")]
    );
    scene::same(&payloads(&scene.whole(&found[2]).await), &media(&Encoder::video("v"), 1680..2160), "after the gap");
}

#[tokio::test]
async fn text_that_had_nothing_to_say_made_clips_of_what_was_shown_with_it() {
    let (data, library) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut studio, mut video, mut audio) = studio(options(data.path()));
    let text = texts(&studio);
    for number in 0..60u32 {
        run(&mut studio, &mut [&mut video, &mut audio], 2.0 * f64::from(number + 1), NOW);
        if !(10..15).contains(&number) {
            text.push(&studio, &text_chunk(number.into()));
        }
    }
    let mpd = studio.text(&format!("/~from={}/tv/manifest.mpd", seconds(4))).await;
    assert_eq!(mpd.matches("<Period ").count(), 1, "{mpd}");
    let shelf = Shelf::of(&data.path().join("tv"));
    let shift = Shift { from: Utc(seconds(4) * 1000), to: Some(Utc(seconds(60) * 1000)) };
    let broadcast = shelf.stretch(&shift).unwrap().unwrap();
    let made = clip::make(&broadcast, &data.path().join("tv"), &library.path().join("film")).unwrap();
    assert_eq!(made.stretches, 1);
    for file in std::fs::read_dir(library.path().join("film")).unwrap() {
        scene::touch(&file.unwrap().path(), scene::WRITTEN);
    }
    let scene = Scene::at(library, |_, _| {});
    let found = scene.dash("film").await;
    let cues = found.iter().find(|track| track.id == "t").unwrap();
    let whole = String::from_utf8_lossy(&scene.whole(cues).await).into_owned();
    assert!(whole.contains("line 9") && whole.contains("line 15") && !whole.contains("line 12"), "{whole}");
    scene.hls("film").await;
}

#[tokio::test]
async fn what_has_ended_has_a_url_and_becomes_a_presentation_when_asked_to() {
    let (data, library) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut studio, mut video, mut audio) = studio(options(data.path()));
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..60, NOW);
    let recording = |studio: &Studio| {
        let (origin, now) = (Arc::clone(&studio.origin), studio.now);
        async move { origin.channels_listed(now).await.remove(0).recording }
    };
    assert_eq!(recording(&studio).await, None, "it goes on");
    for name in ["v", "a"] {
        let end = Source { push: 1, ..Source::default() };
        studio.channels.get("tv").unwrap().take(name, Event::End, end, studio.now).unwrap();
    }
    assert!(studio.playlist("v").await.segments.len() < 15, "the last window");
    let found = recording(&studio).await.unwrap();
    let path = found.hls.replace("master.m3u8", "v/media.m3u8");
    let list = parsed(&path, &studio.text(&path).await);
    assert!(list.ended && list.segments.len() == 30, "all of it: {list:?}");
    let mpd = studio.text(&found.dash).await;
    assert!(mpd.contains("type=\"static\"") && mpd.contains("mediaPresentationDuration=\"PT1M\""), "{mpd}");
    // In a library that is served.
    let here = Library::new(library::Options::new(library.path().to_path_buf()));
    let origin = Origin::new(Arc::new(here), OriginOptions::default(), Arc::default());
    let origin = origin.broadcasting(Arc::clone(&studio.channels));
    let shift = Shift { from: Utc(seconds(20) * 1000), to: Some(Utc(seconds(40) * 1000)) };
    let made = origin.clip("tv", shift, "monday").await.unwrap();
    assert_eq!((made.presentation.as_str(), made.clips), ("monday", 1));
    assert!(library.path().join("monday/presentation.toml").is_file());
    assert!(
        matches!(origin.clip("tv", shift, "monday").await, Err(NoClip::Failed(why)) if why.contains("is there already"))
    );
    assert!(matches!(origin.clip("radio", shift, "tuesday").await, Err(NoClip::NoChannel(_))));
    assert!(matches!(origin.clip("tv", shift, "../tuesday").await, Err(NoClip::BadName(_))));
    for name in ["tv", "tv/tuesday"] {
        assert!(
            matches!(origin.clip("tv", shift, name).await, Err(NoClip::Hidden(..))),
            "the channel answers for {name}"
        );
    }
}

#[tokio::test]
async fn a_channel_that_would_hide_a_presentation_was_made() {
    let library = tempfile::tempdir().unwrap();
    let copy = |to: &str| std::fs::copy(scene::testdata("muxed.mp4"), library.path().join(to)).unwrap();
    copy("film.mp4");
    std::fs::create_dir(library.path().join("series")).unwrap();
    copy("series/one.mp4");
    copy("series-two.mp4");
    let here = Library::new(library::Options::new(library.path().to_path_buf()));
    here.rescan(NOW).unwrap();
    let origin = Origin::new(Arc::new(here), OriginOptions::default(), Arc::default());
    for (name, is_taken) in [("film", true), ("series", true), ("serie", false), ("series-two", true), ("news", false)]
    {
        assert_eq!(origin.is_of_library(name, NOW).await, is_taken, "{name}");
    }
}

#[tokio::test]
async fn an_archive_is_no_longer_and_no_larger_than_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let kept = archive::Options { kept: Duration::from_secs(100), bytes_max: 1 << 30 };
    let (mut studio, mut video, mut audio) = studio(Options { archive: kept, ..options(dir.path()) });
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..300, NOW);
    let oldest = |studio: &Studio| {
        let channel = studio.channels.get("tv").unwrap();
        let (first, _) = channel.shelf().unwrap().span().unwrap().unwrap();
        (first.0 - NOW.0) / 1000
    };
    assert!((180..205).contains(&oldest(&studio)), "{} s", oldest(&studio));
    let files = |extension: &str| {
        let all = std::fs::read_dir(dir.path().join("tv")).unwrap();
        all.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == extension)).count()
    };
    // One goes with the other; some have no end of a segment.
    assert!((files("spool") / 2..=files("spool")).contains(&files("index")));
    let stretch = format!("/~from={}/~to={}/tv/v/media.m3u8", seconds(10), seconds(100));
    studio.get(&stretch).await.problem(404, "public, max-age=5");
    // Less room than the window needs: that is kept.
    let small = archive::Options { bytes_max: 1, ..kept };
    let before = studio.playlist("v").await;
    let mut studio = Studio::of(Options { archive: small, ..options(dir.path()) }, studio.now);
    run_for(&mut studio, &mut [&mut video, &mut audio], 300..310, NOW);
    assert!((240..=266).contains(&oldest(&studio)), "{} s", oldest(&studio));
    for (url, _, _) in &before.segments {
        assert_eq!(studio.get(url).await.status, 200, "{url}");
    }
}

#[tokio::test]
async fn the_oldest_segments_of_an_archive_could_not_be_read() {
    let (data, library) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kept = archive::Options { kept: Duration::from_secs(100), bytes_max: 1 << 30 };
    let (mut studio, mut video, mut audio) = studio(Options { archive: kept, ..options(data.path()) });
    let here = Library::new(library::Options::new(library.path().to_path_buf()));
    let maker = Origin::new(Arc::new(here), OriginOptions::default(), Arc::default());
    let maker = maker.broadcasting(Arc::clone(&studio.channels));
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..200, NOW);
    // Wherever in a segment the oldest file begins.
    for second in (200..300).step_by(10) {
        run_for(&mut studio, &mut [&mut video, &mut audio], second..second + 10, NOW);
        let made = maker.clip("tv", Shift { from: Utc(0), to: None }, &format!("all-{second}")).await;
        assert_eq!(made.map(|made| made.clips), Ok(1), "{second}");
        let (first, _) = studio.channels.get("tv").unwrap().shelf().unwrap().span().unwrap().unwrap();
        let base = format!("/~from={}/~to={}/tv", first.0 as f64 / 1000.0, seconds(240));
        for track in ["v", "a"] {
            let path = format!("{base}/{track}/media.m3u8");
            let list = parsed(&path, &studio.text(&path).await);
            assert_eq!(list.gaps, 0, "{list:?}");
            for (url, ..) in &list.segments {
                assert_eq!(studio.get(url).await.status, 200, "{second}: {url}");
            }
        }
    }
}

/// All encoders say that this is the end.
fn end(studio: &Studio) {
    for name in ["v", "a"] {
        let end = Source { push: 1, ..Source::default() };
        studio.channels.get("tv").unwrap().take(name, Event::End, end, studio.now).unwrap();
    }
}

#[tokio::test]
async fn what_has_ended_may_go_on_and_is_asked_for_as_what_is_live() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 40.0, NOW);
    end(&studio);
    let list = studio.playlist("v").await;
    let next = list.msn + list.segments.len() as u64;
    let cached = |path: String| {
        let studio = &studio;
        async move {
            let answer = studio.get(&path).await;
            assert_eq!(answer.status, 200, "{path}");
            answer.header("cache-control").to_owned()
        }
    };
    let bases = [
        "/tv".to_owned(),
        format!("/~from={}/tv", seconds(4)),
        format!("/~from={}/~to={}/tv", seconds(4), seconds(60)),
    ];
    for base in &bases {
        for file in ["master.m3u8", "manifest.mpd", "v/media.m3u8"] {
            let path = format!("{base}/{file}");
            assert_eq!(cached(path.clone()).await, "public, max-age=2, must-revalidate", "{path}");
        }
    }
    // By the number of a segment that may come yet.
    let waited_for = format!("/tv/v/media.m3u8?_HLS_msn={next}");
    assert_eq!(cached(waited_for).await, "public, max-age=2, must-revalidate");
    // Nothing comes to what is past.
    for file in ["master.m3u8", "manifest.mpd", "v/media.m3u8"] {
        let past = format!("/~from={}/~to={}/tv/{file}", seconds(4), seconds(12));
        assert_eq!(cached(past.clone()).await, "public, max-age=120", "{past}");
    }
}

#[tokio::test]
async fn a_stretch_of_what_has_ended_has_at_most_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 20.0, NOW);
    end(&studio);
    studio.now = studio.now.after(Duration::from_secs(2 * 24 * 3600));
    for file in ["master.m3u8", "manifest.mpd", "v/media.m3u8"] {
        let from = |second: u64| format!("/~from={}/tv/{file}", seconds(second) - 24 * 3600);
        // Sound ends a frame or so before 20 s.
        assert_eq!(studio.get(&from(20)).await.status, 200, "{file}");
        assert_eq!(studio.get(&from(19)).await.problem(400, "no-store").0, "bad_stretch");
    }
}

#[tokio::test]
async fn so_many_stretches_wait_to_be_made_and_others_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 20.0, NOW);
    let paths: Vec<String> = (0..200).map(|n| format!("/~from={}.{n:03}/tv/v/media.m3u8", seconds(0))).collect();
    let answers = futures_util::future::join_all(paths.iter().map(|path| studio.get(path))).await;
    let (refused, made): (Vec<_>, Vec<_>) = paths.iter().zip(answers).partition(|(_, answer)| answer.status == 503);
    assert!(made.len() >= 4 && !refused.is_empty(), "{} made, {} refused", made.len(), refused.len());
    assert!(made.iter().all(|(_, answer)| answer.status == 200), "{made:?}");
    let (path, answer) = &refused[0];
    assert_eq!(answer.problem(503, "public, max-age=1").0, "reads_busy");
    assert_eq!(studio.get(path).await.status, 200, "in its turn");
}

/// How long `track` of the stretch under `base` is in HLS, in seconds, and how many gaps it has.
async fn lasts(studio: &Studio, base: &str, track: &str) -> (f64, usize) {
    let path = format!("{base}/{track}/media.m3u8");
    let list = parsed(&path, &studio.text(&path).await);
    assert!(list.ended, "{list:?}");
    (list.segments.iter().map(|(_, seconds, _)| seconds).sum(), list.gaps)
}

#[tokio::test]
async fn a_stretch_that_ends_where_the_server_was_killed_ends_in_sound_as_in_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 29.6, NOW);
    // The pictures are a segment further when it happens, and nobody comes back.
    run(&mut studio, &mut [&mut video], 30.6, NOW);
    let studio = Studio::of(options(dir.path()), studio.now.after(Duration::from_secs(20)));
    let base = format!("/~from={}/~to={}/tv", seconds(10), seconds(40));
    let ((pictures, _), (sound, gaps)) = (lasts(&studio, &base, "v").await, lasts(&studio, &base, "a").await);
    assert_eq!((pictures, gaps), (18.0, 0));
    assert!((pictures - sound).abs() < 0.5, "pictures {pictures} s, sound {sound} s");
    let mpd = studio.text(&format!("{base}/manifest.mpd")).await;
    assert!(mpd.contains("mediaPresentationDuration=\"PT18") && mpd.matches("<Period ").count() == 1, "{mpd}");
}

#[tokio::test]
async fn sound_that_a_stretch_lacks_at_its_end_is_a_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 30.6, NOW);
    run(&mut studio, &mut [&mut video], 62.6, NOW);
    let base = format!("/~from={}/~to={}/tv", seconds(10), seconds(50));
    let ((pictures, _), (sound, gaps)) = (lasts(&studio, &base, "v").await, lasts(&studio, &base, "a").await);
    assert!(
        pictures == 40.0 && (pictures - sound).abs() < 0.5 && (10..=11).contains(&gaps),
        "{pictures} s, {sound} s, {gaps} gaps"
    );
    let path = format!("{base}/manifest.mpd");
    let found = representations(&studio.text(&path).await, &path);
    assert_eq!(found.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["v", "a"], "DASH ends with the sound");
}

#[tokio::test]
async fn a_stretch_begins_and_ends_in_sound_as_in_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let (mut studio, mut video, mut audio) = studio(options(dir.path()));
    run(&mut studio, &mut [&mut video, &mut audio], 80.0, NOW);
    for (from, to) in [(10, 40), (20, 22), (32, 64)] {
        let base = format!("/~from={}/~to={}/tv", seconds(from), seconds(to));
        let mut begins = Vec::new();
        for track in ["v", "a"] {
            let path = format!("{base}/{track}/media.m3u8");
            begins.push(lines(&studio.text(&path).await)[0].utc_ms);
        }
        assert!(begins[0].abs_diff(begins[1]) < 500, "{from}: {begins:?}");
        let (pictures, sound) = (lasts(&studio, &base, "v").await.0, lasts(&studio, &base, "a").await.0);
        assert!((pictures - sound).abs() < 0.5, "to {to}: pictures {pictures} s, sound {sound} s");
    }
}

#[tokio::test]
async fn a_stretch_begins_with_its_pictures_though_sound_begins_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(options(dir.path()), NOW);
    let (mut video, mut audio) = (Encoder { origin: 12_288 * 3 / 10, ..Encoder::video("v") }, Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 80.0, NOW);
    let path = format!("/~from={}/~to={}/tv/manifest.mpd", seconds(10), seconds(40));
    let found = representations(&studio.text(&path).await, &path);
    let begins = |id: &str| {
        let own = found.iter().find(|r| r.id == id).unwrap();
        (own.segments[0].time as f64 - own.offset as f64) / own.timescale as f64
    };
    let (pictures, sound) = (begins("v"), begins("a"));
    assert!(pictures.abs() < 0.002 && (-0.5..-0.03).contains(&sound), "pictures {pictures}, sound {sound}");
}

#[tokio::test]
async fn a_stretch_of_what_has_ended_was_announced_by_the_lengths_of_what_followed() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(options(dir.path()), NOW);
    let mut video = Encoder { gop: 144, ..Encoder::video("v") };
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 36.0, NOW);
    video.end(&studio);
    let began = NOW.after(Duration::from_secs(60));
    let mut next = Encoder { push: 2, origin: 900_000_000, ..Encoder::video("v") };
    studio.now = began;
    next.begin(&studio);
    run(&mut studio, &mut [&mut next], 20.0, began);
    assert_eq!(studio.playlist("v").await.target_s, 2.0);
    for (base, count) in
        [(format!("/~from={}/~to={}", seconds(0), seconds(40)), 6), (format!("/~from={}", seconds(0)), 15)]
    {
        let path = format!("{base}/tv/v/media.m3u8");
        let list = parsed(&path, &studio.text(&path).await);
        assert_eq!((list.target_s, list.segments.len()), (6.0, count), "{list:?}");
    }
}

/// When each segment of pictures under `base` begins, in seconds after `NOW`: in HLS, and in DASH, which is `None` where it says nothing of the
/// time of day.
async fn begins(studio: &Studio, base: &str) -> (Vec<f64>, Option<Vec<f64>>) {
    let after_now = |utc_us: f64| ((utc_us / 1e3 - NOW.0 as f64).round()) / 1000.0;
    let lines = lines(&studio.text(&format!("{base}/v/media.m3u8")).await);
    let in_hls = lines.iter().filter(|line| !line.is_gap).map(|line| after_now(line.utc_ms as f64 * 1e3)).collect();
    let path = format!("{base}/manifest.mpd");
    let mpd = studio.text(&path).await;
    let attribute = |text: &str, name: &str| Some(text.split_once(name)?.1.split('"').next()?.to_owned());
    let Some(since) = attribute(&mpd, "availabilityStartTime=\"") else { return (in_hls, None) };
    let since_us = since.parse::<Utc>().unwrap().0 as f64 * 1e3;
    let starts: Vec<(String, f64)> = mpd
        .split("<Period ")
        .skip(1)
        .map(|period| {
            let start = iso_us(&attribute(period, "start=\"").unwrap());
            (attribute(period, "id=\"").unwrap(), since_us + start as f64)
        })
        .collect();
    let mut in_dash = Vec::new();
    for own in representations(&mpd, &path).iter().filter(|own| own.id == "v") {
        let (_, start_us) = starts.iter().find(|(id, _)| *id == own.period).unwrap();
        let us = |time: u64| (time as f64 - own.offset as f64) / own.timescale as f64 * 1e6;
        in_dash.extend(own.segments.iter().map(|segment| after_now(start_us + us(segment.time))));
    }
    (in_hls, Some(in_dash))
}

#[tokio::test]
async fn of_broadcasts_that_count_time_otherwise_an_archive_had_those_that_count_as_the_last() {
    // Three broadcasts of half a minute, a hundred seconds apart.
    for count_from_1970 in [[false, true, false], [true, false, true]] {
        let (data, library) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut studio = Studio::of(options(data.path()), NOW);
        let starts = |count: usize| -> Vec<f64> {
            (0..count).flat_map(|at| (0..15).map(move |segment| 100.0 * at as f64 + 2.0 * f64::from(segment))).collect()
        };
        let mut recordings: Vec<(String, Vec<f64>)> = Vec::new();
        for (at, is_epoch) in (0..).zip(count_from_1970) {
            let began = NOW.after(Duration::from_secs(100 * at));
            studio.now = began;
            let origin = if is_epoch { began.0 / 1000 } else { 0 };
            let with =
                |encoder: Encoder| Encoder { push: at + 1, origin: origin * u64::from(encoder.timescale), ..encoder };
            let (mut video, mut audio) = (with(Encoder::video("v")), with(Encoder::audio("a")));
            video.begin(&studio);
            audio.begin(&studio);
            run(&mut studio, &mut [&mut video, &mut audio], 20.0, began);
            let at = at as usize;
            // While it goes on: all, and it alone. Its last segment is under way.
            let all = starts(at + 1);
            let told = begins(&studio, &format!("/~from={}/tv", seconds(0))).await;
            let until = 15 * at + 9;
            assert_eq!(told, (all[..until].to_vec(), Some(all[..until].to_vec())), "{count_from_1970:?}, {at}");
            let told = begins(&studio, &format!("/~from={}/tv", began.0 / 1000)).await;
            assert_eq!(told, (all[15 * at..until].to_vec(), Some(all[15 * at..until].to_vec())), "{at} alone");
            run(&mut studio, &mut [&mut video, &mut audio], 30.0, began);
            video.end(&studio);
            audio.end(&studio);
            studio.channels.tick(studio.now);
            let listed = studio.origin.channels_listed(studio.now).await.remove(0).recording.unwrap();
            let base = listed.hls.strip_suffix("/master.m3u8").unwrap().to_owned();
            recordings.push((base, all));
            let alone = format!("/~from={}/~to={}/tv", began.0 / 1000, began.0 / 1000 + 30);
            recordings.push((alone, starts(at + 1)[15 * at..].to_vec()));
            // What was recorded before is what it was.
            for (base, expected) in &recordings {
                assert_eq!(begins(&studio, base).await, (expected.clone(), None), "{count_from_1970:?}, {at}: {base}");
            }
        }
        let mpd = studio.text(&format!("{}/manifest.mpd", recordings[4].0)).await;
        assert!(mpd.contains("mediaPresentationDuration=\"PT3M50S\"") && mpd.matches("<Period ").count() == 3, "{mpd}");
        let before = studio.text(&format!("{}/v/media.m3u8", recordings[4].0)).await;
        let studio = Studio::of(options(data.path()), studio.now);
        assert_eq!(studio.text(&format!("{}/v/media.m3u8", recordings[4].0)).await, before, "after a restart");
        let channel = studio.channels.get("tv").unwrap();
        let made = channel.clip(&Shift { from: Utc(0), to: None }, &library.path().join("all")).unwrap();
        assert_eq!((made.from, made.stretches), (NOW, 3), "{made:?}");
        assert!((229_000..231_000).contains(&made.duration_ms), "{made:?}");
    }
}
