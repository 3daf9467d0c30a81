//! A track of which nothing comes while others go on: players are told, and go on without it, or pass what lacks it.

use std::time::Duration;

use headwater::content::live::channel::Options;
use headwater::content::live::receiver::Event;
use headwater::content::live::window::{self, Source};

use crate::live::{Encoder, Studio, quick, run};
use crate::live_long::{Line, lines};
use crate::scene::NOW;

/// What is listed of `track`.
async fn listed(studio: &Studio, track: &str) -> Vec<Line> {
    lines(&studio.text(&format!("/tv/{track}/media.m3u8")).await)
}

/// When the last that is listed of `track` ends, in seconds after `NOW`.
async fn edge_s(studio: &Studio, track: &str) -> f64 {
    let last = listed(studio, track).await.pop().unwrap();
    (last.utc_ms as f64 - NOW.0 as f64) / 1000.0 + last.seconds
}

/// Periods in DASH, with the tracks of each.
async fn periods(studio: &Studio) -> Vec<Vec<String>> {
    let found = studio.dash().await;
    let tracks = found.chunk_by(|a, b| a.period == b.period);
    tracks.map(|period| period.iter().map(|representation| representation.id.clone()).collect()).collect()
}

/// Whose times count from 1970, if that is asked for.
fn of(encoder: Encoder, is_epoch: bool) -> Encoder {
    let origin = if is_epoch { NOW.0 / 1000 * u64::from(encoder.timescale) } else { 0 };
    Encoder { origin, ..encoder }
}

/// Has `encoder` lose what it would have made until `seconds` after it began.
fn skip(encoder: &mut Encoder, seconds: u64) {
    let sample = seconds * u64::from(encoder.timescale) / u64::from(encoder.sample_ticks);
    encoder.sample = sample.next_multiple_of(u64::from(encoder.chunk_samples));
}

fn options(dir: &std::path::Path, is_epoch: bool) -> Options {
    let cadence = is_epoch.then(|| "2s".parse().unwrap());
    let every = window::Options { cadence, window: Duration::from_secs(120), ..quick() };
    Options { dir: Some(dir.to_path_buf()), every, open: true, ..Options::default() }
}

#[tokio::test]
async fn what_a_track_lacks_that_stands_still_is_told_while_others_go_on() {
    for is_epoch in [false, true] {
        for stands_still in ["v", "a"] {
            let dir = tempfile::tempdir().unwrap();
            let mut studio = Studio::of(options(dir.path(), is_epoch), NOW);
            let (mut video, mut audio) = (of(Encoder::video("v"), is_epoch), of(Encoder::audio("a"), is_epoch));
            video.begin(&studio);
            audio.begin(&studio);
            run(&mut studio, &mut [&mut video, &mut audio], 12.7, NOW);
            let (goes_on, other) = match stands_still {
                "a" => (&mut video, &mut audio),
                _ => (&mut audio, &mut video),
            };
            let mut before = listed(&studio, other.name).await;
            for second in 13..40 {
                run(&mut studio, &mut [goes_on], f64::from(second), NOW);
                let now = listed(&studio, other.name).await;
                assert_eq!(now[..before.len()], before, "what was told stays: {stands_still} {second}");
                before = now;
                let lacks = f64::from(second) - edge_s(&studio, other.name).await;
                assert!(lacks < 3.0 * 2.0 + 2.0 + 0.6, "{stands_still} stands still: {lacks} s behind at {second} s");
            }
            let gaps = before.iter().filter(|line| line.is_gap).count();
            assert!((9..=11).contains(&gaps), "{gaps} gaps: {before:?}");
            // Players of DASH pass a hole, and not a Period that lacks pictures or sound.
            assert_eq!(periods(&studio).await, [["v", "a"]]);
            // A restart knows no less.
            let studio_again = Studio::of(options(dir.path(), is_epoch), studio.now);
            assert_eq!(listed(&studio_again, other.name).await, before);
            let mut studio = studio_again;
            // For so long that what goes on is what there is.
            run(&mut studio, &mut [goes_on], 52.0, NOW);
            assert_eq!(periods(&studio).await, [[goes_on.name]]);
            // It comes back with what is made then.
            skip(other, 52);
            run(&mut studio, &mut [goes_on, other], 72.0, NOW);
            let now = listed(&studio, other.name).await;
            assert_eq!(now[..before.len()], before, "what was told stays");
            let gaps = now.iter().filter(|line| line.is_gap).count();
            assert!((19..=21).contains(&gaps), "{gaps} gaps: {now:?}");
            assert!(!now.last().unwrap().is_gap && edge_s(&studio, other.name).await > 69.0, "{now:?}");
            assert_eq!(periods(&studio).await, [["v", "a"], ["v", "a"]]);
            for pair in now.windows(2) {
                let end_ms = pair[0].utc_ms as f64 + pair[0].seconds * 1000.0;
                assert!((end_ms - pair[1].utc_ms as f64).abs() < 3.0, "no hole in time: {pair:?}");
            }
        }
    }
}

#[tokio::test]
async fn media_of_a_time_that_was_told_to_be_missing_is_left_out_if_it_comes_after_all() {
    for is_epoch in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut studio = Studio::of(options(dir.path(), is_epoch), NOW);
        let (mut video, mut audio) = (of(Encoder::video("v"), is_epoch), of(Encoder::audio("a"), is_epoch));
        video.begin(&studio);
        audio.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut audio], 12.7, NOW);
        run(&mut studio, &mut [&mut audio], 32.0, NOW);
        let before = listed(&studio, "v").await;
        // All that it made meanwhile, at once.
        run(&mut studio, &mut [&mut video], 32.0, NOW);
        run(&mut studio, &mut [&mut video, &mut audio], 40.2, NOW);
        let now = listed(&studio, "v").await;
        assert_eq!(now[..before.len()], before);
        let media = now.iter().skip(before.len()).filter(|line| !line.is_gap).count();
        assert!(media >= 5 && edge_s(&studio, "v").await >= 38.0, "{now:?}");
        assert_eq!(periods(&studio).await, [["v", "a"], ["v", "a"]]);
    }
}

#[tokio::test]
async fn a_track_that_is_late_for_a_while_is_waited_for() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 12.7, NOW);
    run(&mut studio, &mut [&mut video], 17.9, NOW);
    run(&mut studio, &mut [&mut audio], 17.9, NOW);
    run(&mut studio, &mut [&mut video, &mut audio], 24.2, NOW);
    assert!(listed(&studio, "a").await.iter().all(|line| !line.is_gap));
    assert_eq!(periods(&studio).await, [["v", "a"]]);
}

#[tokio::test]
async fn a_hole_behind_the_beginning_of_an_announced_segment_is_one_hole() {
    for is_epoch in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let every = window::Options { cadence: "2s".parse().ok(), ..options(dir.path(), is_epoch).every };
        let mut studio = Studio::of(Options { every, ..options(dir.path(), is_epoch) }, NOW);
        let video = Encoder { chunk_samples: 6, ..Encoder::video("v") };
        let (mut video, mut audio) = (of(video, is_epoch), of(Encoder::audio("a"), is_epoch));
        video.begin(&studio);
        audio.begin(&studio);
        // A quarter of a second of a segment that is said to last for two.
        run(&mut studio, &mut [&mut video, &mut audio], 12.3, NOW);
        let broadcast = studio.channels.get("tv").unwrap().broadcast();
        assert!(broadcast.periods[0].track("v").unwrap().open.as_ref().unwrap().due.is_some(), "it is announced");
        video.sample = 16 * 24;
        run(&mut studio, &mut [&mut video, &mut audio], 24.2, NOW);
        assert_eq!(periods(&studio).await, [["v", "a"], ["v", "a"]]);
        let cuts = &studio.channels.get("tv").unwrap().broadcast().periods[0].cuts;
        assert_eq!(cuts.len(), 2, "{cuts:?}");
    }
}

#[tokio::test]
async fn what_has_ended_without_its_sound_is_listed_for_as_long_as_it_had_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(options(dir.path(), false), NOW);
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 60.0, NOW);
    run(&mut studio, &mut [&mut video], 100.0, NOW);
    assert_eq!(periods(&studio).await, [["v"]], "what is broadcast now");
    let channel = studio.channels.get("tv").unwrap();
    channel.take("v", Event::End, Source { push: 1, ..Source::default() }, studio.now).unwrap();
    assert!(channel.broadcast().ended);
    assert_eq!(periods(&studio).await, [["v"]], "who watches sees the end");
    studio.settle();
    assert_eq!(periods(&studio).await, [["v", "a"]]);
}

/// Of what is listed of `track` each segment begins where the one before it ends, but where a Period begins.
async fn is_without_holes(studio: &Studio, track: &str) -> Vec<Line> {
    let now = listed(studio, track).await;
    for pair in now.windows(2).filter(|pair| pair[0].discontinuity == pair[1].discontinuity) {
        let end_ms = pair[0].utc_ms as f64 + pair[0].seconds * 1000.0;
        assert!((end_ms - pair[1].utc_ms as f64).abs() < 3.0, "a hole in {track}: {pair:?}");
    }
    now
}

#[tokio::test]
async fn what_a_track_lacked_that_went_on_in_another_period_was_not_told() {
    // It stands still while a track comes late, and a Period begins without it; or its encoder is another one.
    for is_late in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut studio = Studio::of(options(dir.path(), true), NOW);
        let (mut video, mut audio) = (of(Encoder::video("v"), true), of(Encoder::audio("a"), true));
        video.begin(&studio);
        audio.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut audio], 12.7, NOW);
        let mut late = of(Encoder::video("w"), true);
        if is_late {
            late.sample = 14 * 24;
            late.begin(&studio);
            run(&mut studio, &mut [&mut video, &mut late], 19.2, NOW);
            assert_eq!(studio.channels.get("tv").unwrap().broadcast().periods.len(), 2, "it is not waited for");
        } else {
            run(&mut studio, &mut [&mut video], 17.2, NOW);
            audio.init = crate::live_encoders::in_german(&audio.init);
            audio.begin(&studio);
        }
        let from = if is_late { 20 } else { 18 };
        // The first frame that it sends is behind where the segment begins, which is missing for that.
        skip(&mut audio, from);
        // What is listed of sound by then, and what is when it is back.
        let mut before = is_without_holes(&studio, "a").await;
        for step in 0..20 {
            let until = f64::from(step).mul_add(0.5, from as f64);
            let mut all = [&mut video, &mut audio, &mut late];
            let count = if is_late { 3 } else { 2 };
            run(&mut studio, &mut all[..count], until, NOW);
            let now = is_without_holes(&studio, "a").await;
            assert_eq!(now[..before.len()], before, "what was told stays");
            before = now;
        }
        let begins_s = |line: &Line| (line.utc_ms - NOW.0) / 1000;
        let gaps: Vec<u64> = before.iter().filter(|line| line.is_gap).map(begins_s).collect();
        assert_eq!(gaps, (12..from + 2).step_by(2).collect::<Vec<_>>(), "{before:?}");
        assert!(before.iter().filter(|line| line.discontinuity > 0).count() >= 3, "{before:?}");
        let again = Studio::of(options(dir.path(), true), studio.now);
        assert_eq!(listed(&again, "a").await, before);
    }
}

/// `encoder` with `timescale` ticks a second, as its initialization segment says, which begins `seconds` before the latest decode time.
fn near_the_latest(encoder: Encoder, timescale: u32, seconds: u64) -> Encoder {
    let mut init = encoder.init;
    let mdhd = init.windows(4).position(|kind| kind == b"mdhd").unwrap() + 4;
    // version and flags, then two times
    let at = mdhd + if init[mdhd] == 0 { 12 } else { 20 };
    init[at..at + 4].copy_from_slice(&timescale.to_be_bytes());
    let origin = (i64::MAX as u64 / 4 / u64::from(timescale) - seconds) * u64::from(timescale);
    Encoder { init, timescale, sample_ticks: timescale / 20, chunk_samples: 10, gop: 40, origin, ..encoder }
}

#[tokio::test]
async fn ticks_that_come_to_their_end_are_refused_and_what_is_missing_there_is_told() {
    for timescale in [10_000_000, 4_000_000_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut studio = Studio::of(options(dir.path(), false), NOW);
        let mut video = near_the_latest(Encoder::video("v"), timescale, 14);
        let mut audio = Encoder::audio("a");
        audio.origin = video.origin / u64::from(timescale) * 48_000;
        video.begin(&studio);
        audio.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut audio], 12.1, NOW);
        run(&mut studio, &mut [&mut audio], 40.0, NOW);
        let before = listed(&studio, "v").await;
        let (media, gaps): (Vec<&Line>, Vec<&Line>) = before.iter().partition(|line| !line.is_gap);
        assert_eq!((media.len(), gaps.len()), (6, 2), "none begins later than a decode time can be: {before:?}");
        assert!(edge_s(&studio, "a").await > 37.0);
        // What may be decoded then is, and what may not is said.
        video.sample = 15 * 20;
        let refusal = video.try_push(&studio, &video.chunk(video.sample)).unwrap_err().to_string();
        assert!(refusal.contains("is the latest"), "{refusal}");
        studio.channels.tick(studio.now);
        let studio = Studio::of(options(dir.path(), false), studio.now);
        assert_eq!(listed(&studio, "v").await, before);
    }
}
