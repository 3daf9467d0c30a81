//! Channels that declare a cadence: low latency in DASH, and numbers that follow from times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater::content::live::receiver::Receiver;
use headwater::content::live::window::{self, Source};
use headwater::time::Utc;
use http::Method;

use crate::live::{Encoder, Studio, quick, run};
use crate::scene::{self, NOW, Representation};

/// Segments of exactly two seconds.
fn even() -> window::Options {
    window::Options { cadence: Some("2s".parse().unwrap()), ..quick() }
}

/// An encoder whose times count from 1970.
fn of_epoch(encoder: Encoder) -> Encoder {
    let origin = NOW.0 / 1000 * u64::from(encoder.timescale);
    Encoder { origin, ..encoder }
}

fn last(found: &[Representation], id: &str) -> (String, u64, u64) {
    let segment = found.iter().rev().find(|r| r.id == id).and_then(|r| r.segments.last()).unwrap();
    (segment.url.clone(), segment.time, segment.duration)
}

#[tokio::test]
async fn a_segment_is_announced_when_its_first_chunk_is_there_and_never_otherwise() {
    let mut studio = Studio::with(even());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    let mut announced = BTreeMap::<String, u64>::new();
    for step in 0..60 {
        run(&mut studio, &mut [&mut video, &mut audio], 8.2 + 0.5 * f64::from(step), NOW);
        for segment in studio.dash().await.iter().flat_map(|r| &r.segments) {
            let before = announced.insert(segment.url.clone(), segment.duration);
            assert!(before.is_none_or(|before| before == segment.duration), "{segment:?} was {before:?}");
        }
    }
    // The end of what is announced is beyond the end of what has come.
    run(&mut studio, &mut [&mut video, &mut audio], 38.7, NOW);
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("availabilityTimeOffset=\"1.488000\" availabilityTimeComplete=\"false\""), "{mpd}");
    assert!(mpd.contains("<Latency target=\"") && mpd.contains("<PlaybackRate min=\"1.00\" max=\"1.04\"/>"), "{mpd}");
    assert_eq!(mpd.matches("<Period ").count(), 1, "{mpd}");
    let found = studio.dash().await;
    let (url, time, duration) = last(&found, "v");
    assert_eq!(((time + duration) / 12_288, duration), (40, 24_576));
    let answer = studio.get("/tv/manifest.mpd").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=0, s-maxage=1");
    // Who asks for it gets what there is and what comes.
    let (origin, now) = (Arc::clone(&studio.origin), studio.now);
    let growing = {
        let url = url.clone();
        tokio::spawn(async move { scene::ask(&origin, now, Method::GET, &url, &[]).await })
    };
    tokio::task::yield_now().await;
    run(&mut studio, &mut [&mut video, &mut audio], 40.1, NOW);
    let growing = growing.await.unwrap();
    assert_eq!(growing.header("etag"), "", "it was growing");
    scene::same(&growing.body, &studio.get(&url).await.body, &url);
    // Sound begins with the first frame in the segment of the pictures, whatever its chunks are.
    let audio = found.iter().find(|r| r.id == "a").unwrap();
    for segment in &audio.segments[1..] {
        assert_eq!(segment.time, segment.time.next_multiple_of(1024));
        assert!(segment.time % 96_000 < 1024, "{segment:?}");
    }
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    for segment in &audio.segments {
        if segment.url != last(&found, "a").0 {
            receiver.push(&studio.get(&segment.url).await.body, &mut events).unwrap();
        }
    }
    assert!(receiver.is_at_rest() && events.len() > 2 * audio.segments.len());
}

#[tokio::test]
async fn a_segment_that_ends_otherwise_ends_the_period() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..even() });
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 9.1, NOW);
    let promised = last(&studio.dash().await, "v");
    assert_eq!((promised.1, promised.2), (8 * 12_288, 24_576));
    // The encoder is away for four seconds, in the middle of it.
    video.sample += 5 * 24 - 12;
    while !video.sample.is_multiple_of(48) {
        video.sample += 12;
    }
    run(&mut studio, &mut [&mut video], 24.6, NOW);
    let found = studio.dash().await;
    let periods: Vec<(&str, u64)> =
        found.iter().map(|r| (r.period.as_str(), r.segments.last().unwrap().time)).collect();
    assert_eq!(periods[0], ("0", promised.1), "the last of the first period");
    let first = found[0].segments.last().unwrap();
    assert_eq!((first.url.clone(), first.duration), (promised.0.clone(), promised.2), "as it was announced");
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("start=\"PT0S\" duration=\"PT9") && periods.len() > 1, "{mpd}");
    // Who has broken a promise makes none for a while.
    let edge = found.last().unwrap().segments.last().unwrap();
    assert_eq!(edge.time + edge.duration, 24 * 12_288);
    assert_eq!(studio.playlist("v").await.gaps, 3);
}

#[tokio::test]
async fn two_nodes_agree_on_every_number_name_and_time() {
    // One is there from the beginning on, the other ten minutes later, in the middle of a segment.
    let mut first = Studio::with(even());
    let mut second = Studio::with(even());
    second.now = NOW;
    let encoders = || [of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a"))];
    let [mut video, mut audio] = encoders();
    video.begin(&first);
    audio.begin(&first);
    run(&mut first, &mut [&mut video, &mut audio], 640.3, NOW);
    let [mut video, mut audio] = encoders();
    let skip = |encoder: &mut Encoder| {
        let chunk = u64::from(encoder.chunk_samples);
        let samples = 600.7 * f64::from(encoder.timescale) / f64::from(encoder.sample_ticks);
        encoder.sample = (samples as u64).next_multiple_of(chunk);
    };
    second.now = NOW.after(Duration::from_secs_f64(600.7));
    skip(&mut video);
    skip(&mut audio);
    video.begin(&second);
    audio.begin(&second);
    run(&mut second, &mut [&mut video, &mut audio], 640.3, NOW);
    for track in ["v", "a"] {
        let path = format!("/tv/{track}/media.m3u8");
        let (a, b) = (first.text(&path).await, second.text(&path).await);
        assert_eq!(a, b, "every line of {track}");
        let number = (NOW.0 / 1000 + 618) / 2;
        assert!(a.contains(&format!("#EXT-X-MEDIA-SEQUENCE:{number}\n")), "{a}");
    }
    let (a, b) = (first.dash().await, second.dash().await);
    assert_eq!(a, b);
    let mpd = second.text("/tv/manifest.mpd").await;
    assert!(
        mpd.contains("availabilityStartTime=\"1970-01-01T00:00:00.000Z\"") && mpd.contains("start=\"PT0S\""),
        "{mpd}"
    );
    assert_eq!(a[0].segments.len(), 11, "ten whole, and one that grows");
    for segment in a.iter().flat_map(|r| &r.segments[..10]) {
        scene::same(&first.get(&segment.url).await.body, &second.get(&segment.url).await.body, &segment.url);
    }
}

#[tokio::test]
async fn what_is_absent_of_a_channel_of_the_epoch_is_a_gap_with_its_number() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..even() });
    let mut video = of_epoch(Encoder::video("v"));
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.1, NOW);
    // Away for a minute and a half, and back in the middle of a segment: another process, with other decode times but the same clock.
    video.sample += 24 * 91;
    video.sample -= video.sample % 12;
    run(&mut studio, &mut [&mut video], 120.1, NOW);
    let list = studio.playlist("v").await;
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    for segment in broadcast.periods.last().unwrap().tracks[0].segments.iter() {
        let number = (segment.time as u64).div_ceil(2 * 12_288);
        assert_eq!(segment.number, number, "round(start / D)");
    }
    assert!(list.gaps > 10 && broadcast.periods.len() == 1, "{list:?}");
    // A node that has its clock elsewhere is no part of it.
    let other = Encoder::video("w");
    other.begin(&studio);
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&other.chunk(0), &mut events).unwrap();
    let source = Source { push: 9, ..Source::default() };
    let channel = studio.channels.get("tv").unwrap();
    let refused = channel.take("w", events.remove(0), source, studio.now).unwrap_err().to_string();
    assert!(refused.starts_with("the media times of w do not count from 1970"), "{refused}");
}

#[tokio::test]
async fn an_encoder_that_never_keeps_the_cadence_of_its_channel_is_told() {
    let studio = Studio::with(even());
    // Half a second beside it.
    let video = Encoder { origin: (NOW.0 / 1000) * 12_288 + 6_144, ..Encoder::video("v") };
    video.begin(&studio);
    let channel = studio.channels.get("tv").unwrap();
    let mut refused = None;
    for chunk in 0..32 {
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        receiver.push(&video.chunk(chunk * 12), &mut events).unwrap();
        let source = Source { push: 1, ..Source::default() };
        let now = Utc(NOW.0 + 500 * chunk);
        refused = refused.or(channel.take("v", events.remove(0), source, now).err());
    }
    let message = refused.unwrap().to_string();
    let expected = "sync samples of v are 500 ms away from where a segment begins with a cadence of 2s";
    assert_eq!(message, expected);
}

#[tokio::test]
async fn when_it_was_produced_is_passed_on() {
    let mut studio = Studio::with(even());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    // The producer has each chunk 300 ms before it is here: prft, version 1, flags 24, track 1.
    while video.seconds() < 9.0 {
        let media_time = video.sample * 512 + 1024;
        let at_ms = NOW.0 + media_time * 1000 / 12_288 - 1024 * 1000 / 12_288 - 300;
        let ntp = ((at_ms / 1000 + 2_208_988_800) << 32) | (((at_ms % 1000) << 32) / 1000);
        let mut bytes = [&32u32.to_be_bytes()[..], b"prft", &[1, 0, 0, 24, 0, 0, 0, 1]].concat();
        bytes.extend(ntp.to_be_bytes());
        bytes.extend(media_time.to_be_bytes());
        bytes.extend(video.chunk(video.sample));
        studio.now = NOW.after(Duration::from_secs_f64(video.seconds() + 0.5));
        video.push(&studio, &bytes);
        video.sample += 12;
    }
    studio.channels.tick(studio.now);
    let mpd = studio.text("/tv/manifest.mpd").await;
    let expected =
        "<ProducerReferenceTime id=\"1\" inband=\"true\" type=\"captured\" wallClockTime=\"2030-03-17T17:46:39.";
    assert!(mpd.contains(expected) && mpd.contains("presentationTime=\"0\"/>"), "{mpd}");
    assert!(mpd.contains("<Latency referenceId=\"1\" target=\""), "{mpd}");
}
