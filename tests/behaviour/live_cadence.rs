//! Channels that declare a cadence: low latency in DASH, and numbers that follow from times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use headwater::content::live::channel::Options;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{self, Source};
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::time::Utc;
use http::Method;

use crate::live::{Encoder, Studio, quick, run};
use crate::live_long::lines;
use crate::scene::{self, NOW, Representation};

/// Segments of exactly two seconds.
fn even() -> window::Options {
    window::Options { cadence: Some("2s".parse().unwrap()), ..quick() }
}

/// An encoder whose times count from 1970.
pub(crate) fn of_epoch(encoder: Encoder) -> Encoder {
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
    assert_eq!(answer.header("cache-control"), "public, max-age=0, s-maxage=1, must-revalidate");
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
async fn who_downloaded_what_ended_in_the_middle_waited_until_another_segment_began() {
    let mut studio = Studio::with(even());
    let (mut video, mut audio) = (of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a")));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 9.1, NOW);
    let (url, ..) = last(&studio.dash().await, "v");
    let (origin, now) = (Arc::clone(&studio.origin), studio.now);
    let growing = tokio::spawn(async move { scene::ask(&origin, now, Method::GET, &url, &[]).await });
    tokio::task::yield_now().await;
    video.end(&studio);
    let grown = tokio::time::timeout(Duration::from_secs(1), growing).await;
    assert!(!grown.expect("its end was told").unwrap().body.is_empty());
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
async fn what_ends_otherwise_before_its_period_is_announced_was_never_said_to_be_longer() {
    let mut studio = Studio::with(even());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 8.2, NOW);
    // It begins anew, and of its first segment a quarter comes.
    let mut again = Encoder { push: 2, origin: 7_000 * 12_288, ..Encoder::video("v") };
    again.begin(&studio);
    let began = studio.now;
    run(&mut studio, &mut [&mut again], 0.6, began);
    again.sample += 36;
    run(&mut studio, &mut [&mut again], 12.0, began);
    let found = studio.dash().await;
    let anew = found.iter().flat_map(|r| &r.segments).filter(|segment| segment.time >= 7_000 * 12_288);
    let lasts: Vec<u64> = anew.map(|segment| segment.duration).collect();
    assert_eq!((lasts[0], lasts[1]), (6_144, 24_576), "{lasts:?}");
}

#[tokio::test]
async fn a_period_is_announced_with_all_its_tracks() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..even() });
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 20.2, NOW);
    // Half a frame is missing: the segment of sound ends otherwise than it was announced, and the Period with it.
    audio.origin += 500;
    let mut known = BTreeMap::<String, Vec<String>>::new();
    for step in 0..60 {
        run(&mut studio, &mut [&mut video, &mut audio], 20.2 + 0.25 * f64::from(step), NOW);
        for period in studio.dash().await.chunk_by(|a, b| a.period == b.period) {
            let tracks: Vec<String> = period.iter().map(|track| track.id.clone()).collect();
            let first = known.entry(period[0].period.clone()).or_insert_with(|| tracks.clone());
            assert_eq!(*first, tracks, "Period {} at step {step}", period[0].period);
        }
    }
    assert_eq!(known.into_values().collect::<Vec<_>>(), [["v", "a"], ["v", "a"]]);
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
    // Nor is an encoder of it that counts from elsewhere when it comes back.
    let refused =
        Encoder { push: 10, ..Encoder::video("v") }.try_push(&studio, &other.chunk(0)).unwrap_err().to_string();
    assert!(refused.starts_with("the media times of v do not count from 1970"), "{refused}");
}

/// By number, what is listed of `track`: its URL and length, and whether it is a gap. Nothing that `before` has is otherwise, and nothing
/// is missing between one and the next.
async fn listed(
    studio: &Studio,
    track: &str,
    before: &BTreeMap<u64, (String, f64, bool)>,
) -> BTreeMap<u64, (String, f64, bool)> {
    let text = studio.text(&format!("/tv/{track}/media.m3u8")).await;
    let (list, lines) = (studio.playlist(track).await, lines(&text));
    for ((line, next), (url, seconds, _)) in lines.iter().zip(&lines[1..]).zip(&list.segments) {
        let ends_ms = line.utc_ms + (seconds * 1000.0).round() as u64;
        assert!(ends_ms.abs_diff(next.utc_ms) < 30, "a hole after {url}: {text}");
    }
    let numbered = (list.msn..).zip(list.segments.iter().zip(&lines));
    let now: BTreeMap<_, _> =
        numbered.map(|(number, ((url, s, _), line))| (number, (url.clone(), *s, line.is_gap))).collect();
    for (number, known) in before {
        assert!(now.get(number).is_none_or(|own| own == known), "{number} was {known:?}: {text}");
    }
    let part_target = list.part_target_s.unwrap_or(f64::MAX);
    for part in text.lines().filter_map(|line| line.strip_prefix("#EXT-X-PART:DURATION=")) {
        assert!(part.split(',').next().unwrap().parse::<f64>().unwrap() <= part_target, "{part}: {text}");
    }
    now
}

#[tokio::test]
async fn what_a_segment_lacks_is_told_when_it_is_first_listed() {
    let dir = tempfile::tempdir().unwrap();
    let every = window::Options { window: Duration::from_secs(60), ..even() };
    let options =
        || Options { dir: Some(dir.path().to_path_buf()), every: every.clone(), open: true, ..Options::default() };
    let mut studio = Studio::of(options(), NOW);
    let (mut video, mut audio) = (of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a")));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 11.3, NOW);
    // Sound is away from the middle of a segment on, and comes back in the middle of another.
    audio.sample += 24 * 6;
    let (mut seen, mut missing_parts) = (BTreeMap::new(), 0);
    for step in 0..30 {
        run(&mut studio, &mut [&mut video, &mut audio], 11.3 + 0.5 * f64::from(step), NOW);
        let now = listed(&studio, "a", &seen).await;
        seen.extend(now);
        let text = studio.text("/tv/a/media.m3u8").await;
        missing_parts = missing_parts.max(text.matches(",GAP=YES\n").count());
        if step % 10 == 9 {
            studio = Studio::of(options(), studio.now);
            listed(&studio, "a", &seen).await;
        }
    }
    let first = NOW.0 / 2000;
    let gaps: Vec<u64> = seen.iter().filter(|(_, (_, _, is_gap))| *is_gap).map(|(number, _)| number - first).collect();
    assert_eq!(gaps, [5, 6, 7], "from 10 to 16: {seen:?}");
    assert_eq!(missing_parts, 1, "what came of the first of them can be had by its parts");
    let found = studio.dash().await;
    let periods: Vec<Vec<&str>> = found
        .chunk_by(|a, b| a.period == b.period)
        .map(|period| period.iter().map(|representation| representation.id.as_str()).collect())
        .collect();
    assert_eq!(periods, [["v", "a"], ["v", "a"]], "what lacks the sound is a hole");
}

#[tokio::test]
async fn a_frame_that_is_cut_short_where_a_file_is_looped_costs_no_segment() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..even() });
    let (mut video, mut audio) = (of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a")));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 9.9, NOW);
    // The last frame of the file is the first of a segment, 256 ticks behind where that begins, and lasts a tick; ffmpeg has it so.
    let first = audio.sample;
    let durations: Vec<u32> = (first..first + 24).map(|sample| if sample == 469 { 1 } else { 1024 }).collect();
    assert!(durations.contains(&1));
    let fragment = NewFragment {
        track_id: 1,
        description_index: 1,
        base_media_decode_time: audio.origin + first * 1024,
        samples: durations
            .iter()
            .map(|duration| RunSample { duration: *duration, size: 50, flags: 0x0200_0000, composition_offset: 1024 })
            .collect(),
        ..NewFragment::default()
    };
    audio.push(&studio, &[fragment.write(), vec![7; 24 * 50]].concat());
    audio.sample += 24;
    audio.origin -= 1023;
    run(&mut studio, &mut [&mut video, &mut audio], 20.9, NOW);
    let list = listed(&studio, "a", &BTreeMap::new()).await;
    assert!(list.len() == 10 && list.values().all(|(_, _, is_gap)| !is_gap), "{list:?}");
}

#[tokio::test]
async fn what_everybody_ends_lacks_nothing_and_what_one_ends_lacks_the_rest() {
    let every = window::Options { window: Duration::from_secs(60), ..even() };
    let end = |studio: &Studio, name: &str| {
        let source = Source { push: 1, ..Source::default() };
        studio.channels.get("tv").unwrap().take(name, Event::End, source, studio.now).unwrap();
    };
    for both in [true, false] {
        let mut studio = Studio::with(every.clone());
        let (mut video, mut audio) = (of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a")));
        video.begin(&studio);
        audio.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut audio], 11.3, NOW);
        end(&studio, "a");
        let before = listed(&studio, "a", &BTreeMap::new()).await;
        if both {
            end(&studio, "v");
            for track in ["v", "a"] {
                let list = studio.playlist(track).await;
                assert!(list.ended && list.gaps == 0, "{list:?}");
                assert!((1.0..1.3).contains(&list.segments.last().unwrap().1), "as long as it is: {list:?}");
            }
            continue;
        }
        run(&mut studio, &mut [&mut video], 17.9, NOW);
        assert_eq!(listed(&studio, "a", &before).await, before, "more may come of it");
        run(&mut studio, &mut [&mut video], 20.9, NOW);
        let after = listed(&studio, "a", &before).await;
        // From 10, 12 and 14 on: the pictures are three segments further than where they begin.
        let told: Vec<_> =
            after.iter().filter(|(number, _)| !before.contains_key(number)).map(|(_, own)| own).collect();
        assert_eq!(told.len(), 3, "{after:?}");
        assert!(told.iter().all(|(_, seconds, is_gap)| (seconds - 2.0).abs() < 0.03 && *is_gap), "{after:?}");
        // It comes back.
        audio.sample = 26 * 48_000 / 1024;
        run(&mut studio, &mut [&mut video, &mut audio], 34.9, NOW);
        let back = listed(&studio, "a", &after).await;
        assert_eq!(back.values().filter(|(_, _, is_gap)| *is_gap).count(), 8, "from 10 to 26: {back:?}");
    }
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
async fn pictures_whose_gops_are_longer_than_the_cadence_ran_into_the_gaps_behind_them() {
    let every = || window::Options { window: Duration::from_secs(60), ..even() };
    for gop in [72, 96, 144] {
        let mut studio = Studio::with(every());
        let (mut video, mut audio) = (of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a")));
        video.begin(&studio);
        audio.begin(&studio);
        // From the first on, so that none was as long as it should be.
        video.gop = gop;
        run(&mut studio, &mut [&mut video, &mut audio], 40.2, NOW);
        let lines = lines(&studio.text("/tv/v/media.m3u8").await);
        for pair in lines.windows(2) {
            let end_ms = pair[0].utc_ms as f64 + pair[0].seconds * 1000.0;
            assert!((end_ms - pair[1].utc_ms as f64).abs() < 3.0, "GOPs of {gop} pictures: {pair:?}");
        }
        // Each sync sample that is where a segment begins has its two seconds, and the rest of the GOP is missing.
        let begins_s = |line: &&crate::live_long::Line| (line.utc_ms - NOW.0) / 1000;
        let found: Vec<u64> = lines.iter().filter(|line| !line.is_gap).map(|line| begins_s(&line)).collect();
        let gop_s = u64::from(gop) / 24;
        let expected = (0..38).step_by(2).filter(|at| at % gop_s == 0);
        assert_eq!(found, expected.collect::<Vec<_>>(), "GOPs of {gop} pictures: {lines:?}");
        assert!(lines.iter().all(|line| line.seconds < 2.01), "{lines:?}");
    }
}

/// Before anything is announced, too: it would stand for several numbers.
#[tokio::test]
async fn a_chunk_that_is_longer_than_the_cadence_is_refused() {
    let mut studio = Studio::with(even());
    let long = Encoder { gop: 144, chunk_samples: 144, ..of_epoch(Encoder::video("v")) };
    long.begin(&studio);
    let refused = |studio: &Studio, sample| long.try_push(studio, &long.chunk(sample)).unwrap_err().to_string();
    let said = refused(&studio, 0);
    assert!(said.starts_with("a chunk of 6.000 s, where a segment has 2.499 s at most"), "{said}");
    let mut video = of_epoch(Encoder::video("v"));
    run(&mut studio, &mut [&mut video], 12.0, NOW);
    assert_eq!(studio.playlist("v").await.target_s, 2.0);
    let said = refused(&studio, video.sample);
    assert!(said.starts_with("a chunk of 6.000 s, where segments of this channel were announced as 2 s"), "{said}");
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
    let id = &studio.dash().await[0].set;
    let expected = format!(
        "<ProducerReferenceTime id=\"{id}\" inband=\"true\" type=\"captured\" wallClockTime=\"2030-03-17T17:46:39."
    );
    assert!(mpd.contains(&expected) && mpd.contains("presentationTime=\"0\"/>"), "{mpd}");
    assert!(mpd.contains(&format!("<Latency referenceId=\"{id}\" target=\"")), "{mpd}");
}

#[tokio::test]
async fn players_of_long_segments_at_low_latency_asked_for_the_mpd_too_seldom() {
    let options = window::Options { cadence: Some("6s".parse().unwrap()), ..quick() };
    let mut studio =
        Studio::with(window::Options { target: Duration::from_secs(6), window: Duration::from_secs(60), ..options });
    let mut video = Encoder { gop: 144, ..Encoder::video("v") };
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 40.0, NOW);
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("<Latency target=\"") && mpd.contains("minimumUpdatePeriod=\"PT1S\""), "{mpd}");
}

#[tokio::test]
async fn times_that_players_of_dash_cannot_name_are_not_named() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder { origin: 1 << 53, ..Encoder::video("v") };
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    assert!(studio.playlist("v").await.segments.len() >= 4);
    let answer = studio.get("/tv/manifest.mpd").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.text().contains("track v: a segment at 90071992") && answer.text().contains("above 2^53"),
        "{}",
        answer.text()
    );
}

/// Only the last part of what was gathered was looked at, which may be shorter than the others.
#[tokio::test]
async fn parts_of_a_track_that_came_later_were_longer_than_was_announced() {
    let every =
        window::Options { part_target: Duration::from_millis(500), cadence: Some("2s".parse().unwrap()), ..quick() };
    let mut studio = Studio::with(every);
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    audio.begin(&studio);
    audio.sample = 480;
    let mut listed = 0;
    for step in 100..180 {
        run(&mut studio, &mut [&mut video, &mut audio], f64::from(step) / 10.0, NOW);
        if studio.get("/tv/a/media.m3u8").await.status != 200 {
            continue;
        }
        for track in ["v", "a"] {
            let list = studio.playlist(track).await;
            let most = list.part_target_s.unwrap();
            let parts = list.segments.iter().flat_map(|(_, _, parts)| parts).chain(&list.open);
            for (url, seconds) in parts {
                assert!(*seconds <= most, "{url} of {seconds} s, where {most} s were announced, at {step}");
                listed += 1;
            }
        }
    }
    assert!(listed > 100, "{listed} parts");
}
