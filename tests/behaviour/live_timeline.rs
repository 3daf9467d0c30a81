//! The timeline that the tracks of a channel share: who counts time otherwise, who comes late, and who stayed behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{self, Source};
use headwater::media::live::LiveSegment;
use headwater::time::{MediaTime, Utc};

use crate::live::{Encoder, Studio, quick, run};
use crate::live_cadence::of_epoch;
use crate::live_encoders::in_german;
use crate::live_long::{iso_us, lines};
use crate::scene::NOW;

/// When each segment of `track` that is listed begins, in seconds after `NOW`.
async fn begins(studio: &Studio, track: &str) -> Vec<f64> {
    let lines = lines(&studio.text(&format!("/tv/{track}/media.m3u8")).await);
    lines.iter().filter(|line| !line.is_gap).map(|line| (line.utc_ms as f64 - NOW.0 as f64) / 1000.0).collect()
}

/// Periods in DASH, with the tracks of each.
async fn periods(studio: &Studio) -> Vec<Vec<String>> {
    let found = studio.dash().await;
    let tracks = found.chunk_by(|a, b| a.period == b.period);
    tracks.map(|period| period.iter().map(|representation| representation.id.clone()).collect()).collect()
}

/// Pushes the next chunk of `encoder`; why it was refused, if it was.
fn push(studio: &Studio, encoder: &mut Encoder) -> Option<String> {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&encoder.chunk(encoder.sample), &mut events).unwrap();
    encoder.sample += u64::from(encoder.chunk_samples);
    let source = Source { push: encoder.push, ..Source::default() };
    let channel = studio.channels.get("tv").unwrap();
    events
        .into_iter()
        .find_map(|event| channel.take(encoder.name, event, source, studio.now).err())
        .map(|e| e.to_string())
}

#[tokio::test]
async fn a_track_whose_times_are_far_from_those_of_the_others_is_refused() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    let mut audio = Encoder { origin: 1000 * 48_000, ..Encoder::audio("a") };
    video.begin(&studio);
    audio.begin(&studio);
    let mut refused = Vec::new();
    for step in 1..40 {
        run(&mut studio, &mut [&mut video], 0.5 * f64::from(step), NOW);
        refused.extend(push(&studio, &mut audio));
    }
    assert!((2..4).contains(&refused.len()), "once in a while: {refused:?}");
    let expected = "the media times of a are 99";
    let ends = " s after those of v: the tracks of a channel share a timeline";
    assert!(refused[0].starts_with(expected) && refused[0].ends_with(ends), "{refused:?}");
    assert_eq!(periods(&studio).await, [["v"]]);
    assert_eq!(begins(&studio, "v").await, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
    // Its encoder counts as the other does.
    let mut audio = Encoder { push: 2, ..Encoder::audio("a") };
    audio.sample = 20 * 48_000 / 1024;
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 34.0, NOW);
    assert_eq!(periods(&studio).await.last().unwrap(), &["v", "a"]);
    let sound = begins(&studio, "a").await;
    assert!(!sound.is_empty() && sound.iter().all(|at| (19.9..34.0).contains(at)), "{sound:?}");
}

/// A broadcast whose pictures are of a new process after `seconds`, `again`: the studio, its encoder, and that of sound, which is still the old
/// one's.
fn pictures_anew(options: window::Options, seconds: f64, again: Encoder) -> (Studio, Encoder, Encoder) {
    let mut studio = Studio::with(options);
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], seconds, NOW);
    again.begin(&studio);
    (studio, again, audio)
}

/// A process that counts from much further on.
fn from_elsewhere() -> Encoder {
    Encoder { push: 2, origin: 7_000 * 12_288, ..Encoder::video("v") }
}

/// A process that counts from zero, and sends longer chunks.
fn from_zero() -> Encoder {
    Encoder { push: 2, chunk_samples: 24, ..Encoder::video("v") }
}

/// A minute is listed.
fn long() -> window::Options {
    window::Options { window: Duration::from_secs(60), ..quick() }
}

#[tokio::test]
async fn what_begins_anew_one_after_the_other_begins_one_period() {
    let (mut studio, mut again, mut audio) = pictures_anew(quick(), 12.0, from_elsewhere());
    let began = studio.now;
    // For another three seconds.
    for step in 1..7 {
        run(&mut studio, &mut [&mut again], 0.5 * f64::from(step), began);
        assert_eq!(push(&studio, &mut audio), None);
    }
    let mut sound = Encoder { push: 2, origin: 7_000 * 48_000, ..Encoder::audio("a") };
    sound.sample = 3 * 48_000 / 1024;
    sound.begin(&studio);
    run(&mut studio, &mut [&mut again, &mut sound], 14.0, began);
    assert_eq!(periods(&studio).await, [["v", "a"], ["v", "a"]]);
    for track in ["v", "a"] {
        let found = begins(&studio, track).await;
        assert!(found.is_sorted() && found.iter().all(|at| (0.0..26.5).contains(at)), "{track}: {found:?}");
    }
}

#[tokio::test]
async fn the_id_of_a_set_changed_when_an_older_period_left() {
    let mut studio = Studio::with(quick());
    let (mut video, mut german) = (Encoder::video("v"), Encoder::audio("de"));
    german.init = in_german(&german.init);
    video.begin(&studio);
    german.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut german], 12.0, NOW);
    // In the order of languages it is before the other.
    let mut other = Encoder { sample: 12 * 48_000 / 1024, ..Encoder::audio("a") };
    other.begin(&studio);
    let mut said: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for seconds in 13..60 {
        run(&mut studio, &mut [&mut video, &mut german, &mut other], f64::from(seconds), NOW);
        for representation in studio.dash().await {
            said.entry((representation.period, representation.id)).or_default().insert(representation.set);
        }
    }
    assert_eq!(studio.dash().await[0].period, "1", "the first has left");
    assert_eq!(said.len(), 5, "{said:?}");
    assert!(said.values().all(|ids| ids.len() == 1), "{said:?}");
    let of = |period: &str, track: &str| &said[&(period.to_owned(), track.to_owned())];
    assert_eq!([of("0", "v"), of("0", "de")], [of("1", "v"), of("1", "de")], "a set goes on");
}

/// The AdaptationSet of pictures that is listed last.
async fn pictures(studio: &Studio) -> String {
    let mpd = studio.text("/tv/manifest.mpd").await;
    let set = mpd.split("<AdaptationSet ").filter(|set| set.contains("contentType=\"video\"")).last();
    set.unwrap().split('>').next().unwrap().to_owned()
}

#[tokio::test]
async fn segments_that_begin_without_a_sync_sample_were_said_to_be_independent() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    let said = async |studio: &Studio| {
        let mut said = Vec::new();
        for path in ["/tv/master.m3u8", "/tv/v/media.m3u8", "/tv/a/media.m3u8"] {
            said.push(studio.text(path).await.contains("#EXT-X-INDEPENDENT-SEGMENTS\n"));
        }
        said.push(pictures(studio).await.contains("startWithSAP"));
        said
    };
    run(&mut studio, &mut [&mut video, &mut audio], 12.0, NOW);
    assert_eq!(said(&studio).await, [true, true, true, true]);
    video.gop = 240;
    run(&mut studio, &mut [&mut video, &mut audio], 26.0, NOW);
    assert_eq!(said(&studio).await, [false, false, true, false]);
    video.gop = 48;
    run(&mut studio, &mut [&mut video, &mut audio], 60.0, NOW);
    assert_eq!(said(&studio).await, [true, true, true, true], "they have left");
}

#[tokio::test]
async fn renditions_whose_gops_differ_were_said_to_be_aligned() {
    for (gop, is_aligned) in [(48, true), (96, false)] {
        let mut studio = Studio::with(quick());
        let (mut video, mut other) = (Encoder::video("v"), Encoder { gop, ..Encoder::video("w") });
        video.begin(&studio);
        other.begin(&studio);
        for seconds in 1..40 {
            run(&mut studio, &mut [&mut video], f64::from(seconds), NOW);
            // It is a little behind.
            run(&mut studio, &mut [&mut other], f64::from(seconds) - 0.6, NOW);
            if seconds > 16 {
                let pictures = pictures(&studio).await;
                assert_eq!(pictures.contains("segmentAlignment=\"true\""), is_aligned, "{gop} {seconds}: {pictures}");
            }
        }
    }
}

#[tokio::test]
async fn who_goes_on_where_the_others_begin_anew_is_told() {
    let (mut studio, mut again, mut audio) = pictures_anew(quick(), 12.0, from_elsewhere());
    let began = studio.now;
    let mut refused = Vec::new();
    for step in 1..50 {
        run(&mut studio, &mut [&mut again], 0.5 * f64::from(step), began);
        refused.extend(push(&studio, &mut audio));
    }
    assert!(!refused.is_empty() && refused[0].contains(" s before those of v"), "{refused:?}");
    assert_eq!(periods(&studio).await.last().unwrap(), &["v"]);
    let found = begins(&studio, "v").await;
    assert!(found.is_sorted() && found.last().unwrap() > &30.0, "{found:?}");
    // What it pushed while the others began is where it was.
    let sound = begins(&studio, "a").await;
    assert!(sound.is_sorted() && sound.iter().all(|at| (0.0..20.5).contains(at)), "{sound:?}");
}

#[tokio::test]
async fn who_alone_begins_anew_soon_after_the_broadcast_began_goes_on_behind_what_he_had() {
    let (mut studio, mut again, mut audio) = pictures_anew(long(), 8.2, from_zero());
    let began = studio.now;
    for step in 1..50 {
        run(&mut studio, &mut [&mut again], 0.5 * f64::from(step), began);
        let _ = push(&studio, &mut audio);
        for track in ["v", "a"] {
            let found = begins(&studio, track).await;
            assert!(found.is_sorted(), "{track}, after {step} steps: {found:?}");
        }
    }
    // What is of times that were there was passed over.
    let found = begins(&studio, "v").await;
    let expected: Vec<f64> = (0..11).map(|index| 2.0 * f64::from(index)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn who_alone_begins_anew_from_long_ago_is_listed_again_and_the_others_are_told() {
    let (mut studio, mut again, mut audio) = pictures_anew(long(), 60.0, from_zero());
    let (began, mut refused) = (studio.now, Vec::new());
    for step in 1..50 {
        run(&mut studio, &mut [&mut again], 0.5 * f64::from(step), began);
        refused.extend(push(&studio, &mut audio));
    }
    let found = begins(&studio, "v").await;
    assert!(found.is_sorted() && found.last().unwrap() > &78.0, "{found:?}");
    assert!(!refused.is_empty() && refused[0].contains(" s after those of v"), "{refused:?}");
}

#[tokio::test]
async fn one_chunk_with_times_in_error_is_a_gap() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 8.0, NOW);
    studio.now = NOW.after(Duration::from_millis(8_500));
    video.push(&studio, &spoiled(&video));
    video.sample += u64::from(video.chunk_samples);
    run(&mut studio, &mut [&mut video, &mut audio], 30.0, NOW);
    // In DASH the next begins where the pictures are back.
    assert_eq!(periods(&studio).await, [["v", "a"], ["v", "a"]]);
    for track in ["v", "a"] {
        let lines = lines(&studio.text(&format!("/tv/{track}/media.m3u8")).await);
        let missing = lines.iter().filter(|line| line.is_gap).count();
        let found: Vec<f64> = lines.iter().map(|line| (line.utc_ms as f64 - NOW.0 as f64) / 1000.0).collect();
        assert!(lines.iter().all(|line| line.discontinuity == 0), "{track}");
        assert!(missing <= 1 && found.is_sorted() && found.last().unwrap() > &25.0, "{track}: {missing} of {found:?}");
    }
}

#[tokio::test]
async fn pictures_whose_gops_are_longer_than_others_are_waited_for_came_late_and_were_cut_anywhere() {
    for (gop_s, segment, cadence) in [(10, None, None), (4, Some(1), None), (3, Some(1), Some("1s"))] {
        let target = segment.map_or(window::Options::default().target, Duration::from_secs);
        let cadence = cadence.map(|own: &str| own.parse().unwrap());
        let mut studio = Studio::with(window::Options { target, cadence, ..quick() });
        let mut video = Encoder { gop: 24 * gop_s, ..Encoder::video("v") };
        let mut audio = Encoder::audio("a");
        video.begin(&studio);
        audio.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut audio], 60.0, NOW);
        assert_eq!(periods(&studio).await, [["v", "a"]], "GOPs of {gop_s} s");
        let list = studio.playlist("v").await;
        assert_eq!((list.target_s, list.segments[0].1), (f64::from(gop_s), f64::from(gop_s)), "{list:?}");
        assert_eq!(list.msn + list.segments.len() as u64, u64::from(59 / gop_s), "{list:?}");
    }
}

/// A chunk of `encoder` with one bit in error: version 0 of its `tfdt` has 32 bits for the time, which are the upper ones of version 1.
fn spoiled(encoder: &Encoder) -> Vec<u8> {
    let mut chunk = encoder.chunk(encoder.sample);
    let at = chunk.windows(4).position(|name| name == b"tfdt").unwrap() + 4;
    assert_eq!(std::mem::take(&mut chunk[at]), 1);
    chunk
}

#[tokio::test]
async fn what_one_chunk_in_error_said_of_the_time_does_not_hold_for_the_period_that_begins() {
    // The first of a broadcast, one within its first ten seconds, and one much later.
    for seconds in [0.0, 8.0, 100.0] {
        let mut studio = Studio::with(quick());
        let mut video = Encoder { origin: 1000 * 12_288, ..Encoder::video("v") };
        video.begin(&studio);
        run(&mut studio, &mut [&mut video], seconds, NOW);
        studio.now = NOW.after(Duration::from_millis(seconds as u64 * 1000 + 500));
        video.push(&studio, &spoiled(&video));
        video.sample += u64::from(video.chunk_samples);
        run(&mut studio, &mut [&mut video], seconds + 30.0, NOW);
        let lines = lines(&studio.text("/tv/v/media.m3u8").await);
        let last = lines.last().unwrap();
        let ends = (last.utc_ms as f64 - NOW.0 as f64) / 1000.0 + last.seconds;
        assert!((seconds + 27.0..seconds + 30.5).contains(&ends), "{ends} s after it began, at {seconds} s");
    }
}

#[tokio::test]
async fn media_that_counts_from_1970_and_steps_back_is_listed_after_what_was_there() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
    let mut video = Encoder { origin: NOW.0 / 1000 * 12_288, ..Encoder::video("v") };
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 30.0, NOW);
    // Another one, whose clock is behind by half a minute.
    let mut again = Encoder { push: 2, sample: 48, ..Encoder::video("v") };
    (again.origin, again.gop) = (video.origin, 24);
    again.begin(&studio);
    let began = Utc(NOW.0 + 28_000);
    run(&mut studio, &mut [&mut again], 30.0, began);
    let found = begins(&studio, "v").await;
    assert!(found.is_sorted() && found.last().unwrap() > &50.0, "{found:?}");
}

#[tokio::test]
async fn what_followed_media_that_counts_from_1970_was_said_to_be_decades_ahead() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder { origin: NOW.0 / 1000 * 12_288, ..Encoder::video("v") };
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 20.0, NOW);
    video.end(&studio);
    let began = Utc(NOW.0 + 100_000);
    studio.now = began;
    let mut next = Encoder { push: 2, ..Encoder::video("v") };
    next.begin(&studio);
    run(&mut studio, &mut [&mut next], 11.0, began);
    assert_eq!(begins(&studio, "v").await, [100.0, 102.0, 104.0, 106.0, 108.0]);
    let mpd = studio.text("/tv/manifest.mpd").await;
    let said = format!("availabilityStartTime=\"{began}\"");
    assert!(mpd.contains(&said) && mpd.contains("start=\"PT0S\""), "{mpd}");
}

#[tokio::test]
async fn a_track_that_stayed_behind_in_an_older_period_goes_on_in_the_next() {
    for pause in [9.0, 16.0] {
        let mut studio = Studio::with(quick());
        let (mut video, mut audio, mut other) = (Encoder::video("v"), Encoder::audio("a"), Encoder::audio("b"));
        video.begin(&studio);
        audio.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut audio], 12.2, NOW);
        // Sound stands still while a track comes that begins a period.
        other.begin(&studio);
        other.sample = 12 * 48_000 / 1024;
        run(&mut studio, &mut [&mut video, &mut other], 12.2 + pause, NOW);
        assert_eq!(periods(&studio).await.last().unwrap(), &["v", "b"], "after {pause} s");
        let before = studio.playlist("a").await;
        // It comes back with all that was made meanwhile.
        let mut numbers = Vec::new();
        for step in 0..20 {
            run(&mut studio, &mut [&mut video, &mut audio, &mut other], 12.2 + pause + f64::from(step), NOW);
            let list = studio.playlist("a").await;
            numbers.push(list.msn + list.segments.len() as u64);
            let next = studio.channels.get("tv").unwrap().broadcast();
            let edge = next.tracks_called("a").last().unwrap().1;
            let next = edge.open.as_ref().map_or(edge.next_number, |open| open.number);
            assert_eq!(next, *numbers.last().unwrap(), "numbers of a playlist have no hole: {list:?}");
        }
        assert!(numbers.is_sorted() && numbers[19] > before.msn + before.segments.len() as u64 + 5, "{numbers:?}");
        assert_eq!(periods(&studio).await.last().unwrap(), &["v", "a", "b"], "after {pause} s");
        let sound = begins(&studio, "a").await;
        assert!(sound.is_sorted() && sound.last().unwrap() > &(26.0 + pause), "{sound:?}");
    }
}

#[tokio::test]
async fn numbers_go_on_where_an_encoder_changes_its_initialization_segment() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 30.2, NOW);
    video.push = 2;
    video.init = in_german(&video.init);
    video.begin(&studio);
    let mut last = 0;
    for step in 0..12 {
        run(&mut studio, &mut [&mut video], 31.0 + f64::from(step), NOW);
        let list = studio.playlist("v").await;
        let broadcast = studio.channels.get("tv").unwrap().broadcast();
        let (_, track) = broadcast.tracks_called("v").last().unwrap();
        let next = track.open.as_ref().map_or(track.next_number, |open| open.number);
        assert_eq!(next, list.msn + list.segments.len() as u64, "{list:?}");
        assert!(next >= last, "{next} after {last}");
        last = next;
    }
    let end = Source { push: 2, ..Source::default() };
    studio.channels.get("tv").unwrap().take("v", Event::End, end, studio.now).unwrap();
    assert!(studio.text("/tv/v/media.m3u8").await.contains("#EXT-X-DISCONTINUITY\n"));
}

#[tokio::test]
async fn a_period_begins_where_no_track_is_behind_it_already() {
    for pictures_first in [true, false] {
        let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
        let (mut first, mut last) = (Encoder::video("v"), Encoder::audio("a"));
        if !pictures_first {
            (first, last) = (Encoder::audio("a"), Encoder::video("v"));
        }
        first.begin(&studio);
        last.begin(&studio);
        run(&mut studio, &mut [&mut first, &mut last], 12.2, NOW);
        // After an outage one is back, and has two segments; a track comes that was not there; and the other is back with what is older.
        let mut other = Encoder::video("w");
        let at = |seconds: u64, encoder: &Encoder| seconds * u64::from(encoder.timescale / encoder.sample_ticks);
        first.sample = at(20, &first).next_multiple_of(24);
        last.sample = at(18, &last).next_multiple_of(24);
        other.sample = at(24, &other);
        run(&mut studio, &mut [&mut first], 24.1, NOW);
        other.begin(&studio);
        run(&mut studio, &mut [&mut other], 24.6, NOW);
        run(&mut studio, &mut [&mut last], 24.6, NOW);
        run(&mut studio, &mut [&mut first, &mut last, &mut other], 40.2, NOW);
        assert_eq!(periods(&studio).await.last().unwrap().len(), 3);
        let broadcast = studio.channels.get("tv").unwrap().broadcast();
        let [before, after] = &broadcast.periods[..] else { panic!("{} periods", broadcast.periods.len()) };
        for track in &before.tracks {
            // Half a segment is near.
            let begun = track.begun().map(|ticks| before.offset(ticks, track.face.timescale)).unwrap();
            let begun = MediaTime::new(begun, track.face.timescale).seconds();
            let (name, cut) = (&track.face.name, after.start.seconds());
            assert!(
                begun <= cut - 1.0,
                "{name} begins a segment of the period before at {begun}, the next begins at {cut}"
            );
        }
        let in_dash: Vec<String> =
            studio.dash().await.into_iter().flat_map(|found| found.segments).map(|segment| segment.url).collect();
        for track in ["v", "a", "w"] {
            let list = studio.playlist(track).await;
            let lines = lines(&studio.text(&format!("/tv/{track}/media.m3u8")).await);
            let media = list.segments.iter().zip(&lines).filter(|(_, line)| !line.is_gap).map(|((url, ..), _)| url);
            let lacks: Vec<&String> = media.filter(|url| !in_dash.contains(url)).collect();
            assert!(lacks.is_empty(), "DASH lacks {lacks:?}");
        }
    }
}

#[tokio::test]
async fn a_hole_in_what_is_older_than_a_period_made_periods_that_overlapped() {
    for is_epoch in [false, true] {
        let cadence = is_epoch.then(|| "2s".parse().unwrap());
        let mut studio = Studio::with(window::Options { cadence, window: Duration::from_secs(60), ..quick() });
        let of = |encoder: Encoder| {
            let origin = if is_epoch { NOW.0 / 1000 * u64::from(encoder.timescale) } else { 0 };
            Encoder { origin, ..encoder }
        };
        let (mut video, mut audio, mut late) =
            (of(Encoder::video("v")), of(Encoder::audio("a")), of(Encoder::video("w")));
        video.begin(&studio);
        audio.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut audio], 12.2, NOW);
        // A Period begins without the sound, which is back then with what is older, and lacks some of that.
        late.sample = 14 * 24;
        late.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut late], 21.7, NOW);
        let at = |seconds: u64| (seconds * 48_000).div_ceil(1024);
        let mut push = |studio: &Studio, seconds: std::ops::Range<u64>| {
            audio.sample = at(seconds.start);
            while audio.sample < at(seconds.end) {
                audio.next(studio);
            }
        };
        push(&studio, 14..17);
        run(&mut studio, &mut [&mut video, &mut late], 25.2, NOW);
        let channel = studio.channels.get("tv").unwrap();
        let newest = Arc::clone(channel.broadcast().periods.last().unwrap());
        assert_eq!((newest.number, newest.tracks.len()), (2, 3), "it is there with the sound");
        push(&studio, 18..25);
        run(&mut studio, &mut [&mut video, &mut late], 30.2, NOW);
        let newest = Arc::clone(channel.broadcast().periods.last().unwrap());
        let sound = newest.track("a").unwrap();
        let is_hole = |segment: &Arc<LiveSegment>| segment.is_gap || segment.lacks_until.is_some();
        assert!(sound.segments.iter().any(is_hole), "{:?}", sound.segments);
        periods_ascend(&studio.text("/tv/manifest.mpd").await);
    }
}

/// No Period of `mpd` begins before the one before it ends.
fn periods_ascend(mpd: &str) {
    let attribute = |head: &str, name: &str| -> Option<u64> {
        head.split('>').next()?.split(&format!("{name}=\"")).nth(1)?.split('"').next().map(iso_us)
    };
    let mut end = 0;
    for head in mpd.split("<Period ").skip(1) {
        let start = attribute(head, "start").unwrap();
        assert!(start >= end, "a Period begins at {start}, before {end}: {mpd}");
        end = attribute(head, "duration").map_or(start, |duration| start + duration);
    }
    assert!(end > 0);
}

/// Seed 192: what others had meanwhile was in DASH no more.
#[tokio::test]
async fn what_a_track_had_of_before_a_period_began_a_period_before_that() {
    for sound in [Encoder::audio("a"), Encoder::video("a")] {
        let cadence = Some("2s".parse().unwrap());
        let mut studio = Studio::with(window::Options { cadence, window: Duration::from_secs(60), ..quick() });
        let (mut video, mut sound, mut late) =
            (of_epoch(Encoder::video("v")), of_epoch(sound), of_epoch(Encoder::video("w")));
        video.begin(&studio);
        sound.begin(&studio);
        run(&mut studio, &mut [&mut video, &mut sound], 12.2, NOW);
        // A Period begins without the pictures, and lacks some of what comes.
        late.sample = 14 * 24;
        late.begin(&studio);
        run(&mut studio, &mut [&mut sound, &mut late], 18.2, NOW);
        let skipped = u64::from(sound.timescale / sound.sample_ticks / sound.chunk_samples) * 2;
        sound.sample += skipped * u64::from(sound.chunk_samples);
        run(&mut studio, &mut [&mut sound, &mut late], 26.2, NOW);
        // They are back with what is older, and the others pause.
        while video.sample < 18 * 24 {
            video.next(&studio);
        }
        studio.now = studio.now.after(Duration::from_secs(5));
        studio.channels.tick(studio.now);
        let broadcast = studio.channels.get("tv").unwrap().broadcast();
        let newest = broadcast.periods.last().unwrap();
        assert_eq!((newest.number, newest.tracks.len()), (2, 1), "it begins alone");
        // All that it has was before it.
        let listed = broadcast.presentation().periods.pop().unwrap();
        assert_eq!((listed.id.as_str(), listed.duration), ("2", MediaTime::ZERO));
        // The others go on before the pictures have caught up.
        run(&mut studio, &mut [&mut sound, &mut late], 30.7, NOW);
        for seconds in [30.7, 38.2, 50.2] {
            run(&mut studio, &mut [&mut video, &mut sound, &mut late], seconds, NOW);
            periods_ascend(&studio.text("/tv/manifest.mpd").await);
            let in_dash: Vec<String> =
                studio.dash().await.into_iter().flat_map(|found| found.segments).map(|segment| segment.url).collect();
            let list = studio.playlist("a").await;
            let lines = lines(&studio.text("/tv/a/media.m3u8").await);
            let media = list.segments.iter().zip(&lines).filter(|(_, line)| !line.is_gap).map(|((url, ..), _)| url);
            let lacks: Vec<&String> = media.filter(|url| !in_dash.contains(url)).collect();
            assert!(lacks.is_empty(), "at {seconds} s DASH lacks {lacks:?}");
        }
    }
}

#[tokio::test]
async fn what_was_an_hour_ahead_does_not_put_what_comes_next_there() {
    let cadence = Some("2s".parse().unwrap());
    let mut studio = Studio::with(window::Options { cadence, ..quick() });
    let (mut video, mut audio, mut late) =
        (of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a")), of_epoch(Encoder::video("w")));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 12.2, NOW);
    video.origin += 3598 * 12_288;
    run(&mut studio, &mut [&mut video, &mut audio], 24.2, NOW);
    // Both are silent when another comes.
    late.sample = 30 * 24;
    late.begin(&studio);
    run(&mut studio, &mut [&mut late], 40.2, NOW);
    let channel = studio.channels.get("tv").unwrap();
    let newest = Arc::clone(channel.broadcast().periods.last().unwrap());
    let begins_s = newest.start.seconds() - NOW.0 as f64 / 1000.0;
    assert_eq!((newest.number, newest.tracks.len(), begins_s), (2, 1, 30.0));
}

/// They overflowed where they are compared in microseconds.
#[tokio::test]
async fn times_that_no_clock_has_were_reckoned_with() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 8.0, NOW);
    let mut late = Encoder { origin: i64::MAX as u64 / 8, ..Encoder::video("v") };
    let refused = push(&studio, &mut late).expect("it is refused");
    assert!(refused.contains("1152921504606853119 ticks after 0: that is more than 36558 years"), "{refused}");
    run(&mut studio, &mut [&mut video, &mut audio], 12.0, NOW);
    assert_eq!(begins(&studio, "v").await, [0.0, 2.0, 4.0, 6.0, 8.0]);
}

/// It was announced by those that were whole.
#[tokio::test]
async fn a_segment_under_way_was_longer_already_than_was_announced() {
    let mut studio = Studio::with(window::Options { gather: Duration::from_secs(5), ..quick() });
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 2.6, NOW);
    // No sync sample for long.
    video.gop = 4800;
    run(&mut studio, &mut [&mut video], 14.0, NOW);
    let list = studio.playlist("v").await;
    assert!(list.segments.len() > 1);
    for (url, seconds, _) in &list.segments {
        assert!(seconds.round() <= list.target_s, "{url} of {seconds} s, where {} s were announced", list.target_s);
    }
}
