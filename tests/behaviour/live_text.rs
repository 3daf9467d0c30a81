//! Text that is pushed, which is sent ahead of what it is shown with; and what a first chunk may be.

use std::time::Duration;

use headwater::content::live::window;
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::formats::isobmff::wvtt;
use headwater::time::Timescale;

use crate::live::{Encoder, Studio, quick, run, run_for};
use crate::scene::NOW;

/// A chunk of two seconds of text: a cue for one and a half, then nothing.
pub(crate) fn text_chunk(number: u64) -> Vec<u8> {
    text_chunk_of(number, 1500)
}

/// Likewise, the cue of `ticks` milliseconds.
fn text_chunk_of(number: u64, ticks: u32) -> Vec<u8> {
    let (mut cue, mut nothing) = (Vec::new(), Vec::new());
    let payload = format!("line {number}");
    wvtt::write_cue(&mut cue, &wvtt::CueBox { payload: &payload, ..wvtt::CueBox::default() }, None);
    wvtt::write_empty_cue(&mut nothing);
    let sample = |duration, bytes: &[u8]| RunSample {
        duration,
        size: bytes.len() as u32,
        flags: 0x0200_0000,
        composition_offset: 0,
    };
    let fragment = NewFragment {
        sequence_number: number as u32 + 1,
        track_id: 1,
        description_index: 1,
        base_media_decode_time: number * 2000,
        samples: vec![sample(ticks, &cue), sample(500, &nothing)],
        ..NewFragment::default()
    };
    [fragment.write(), cue, nothing].concat()
}

#[tokio::test]
async fn live_text_is_webvtt_in_hls_and_wvtt_in_dash() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    let text = Encoder::video("t");
    video.begin(&studio);
    let init = wvtt::write_init(1, Timescale::MILLI, Some("en"), &[], "WEBVTT");
    text.push(&studio, &init);
    for number in 0..8 {
        run(&mut studio, &mut [&mut video], 2.0 * (number + 1) as f64, NOW);
        text.push(&studio, &text_chunk(number));
    }
    let master = studio.text("/tv/master.m3u8").await;
    assert!(master.contains("TYPE=SUBTITLES") && master.contains("URI=\"t/media.m3u8\""), "{master}");
    let list = studio.text("/tv/t/media.m3u8").await;
    assert!(!list.contains("#EXT-X-MAP") && !list.contains("#EXT-X-PART") && list.contains(".vtt\n"), "{list}");
    let list = studio.playlist("t").await;
    assert_eq!(list.segments.len(), 7);
    let answer = studio.get(&list.segments[3].0).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/vtt"));
    let expected = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n00:00:06.000 --> 00:00:07.500\nline 3\n";
    assert!(answer.text().starts_with(expected), "{}", answer.text());
    let found = studio.dash().await;
    assert!(found.iter().any(|r| r.id == "t" && r.codecs == "wvtt" && r.segments.len() == 7), "{found:?}");
    // What is blocked for is a whole segment.
    let next = list.msn + list.segments.len() as u64;
    let waited = studio.get(&format!("/tv/t/media.m3u8?_HLS_msn={}&_HLS_part=0", next - 1)).await;
    assert_eq!(waited.status, 200);
}

#[tokio::test]
async fn text_that_had_nothing_to_say_ended_the_period_of_the_pictures() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    let text = texts(&studio);
    for number in 0..12 {
        run(&mut studio, &mut [&mut video], 2.0 * (number + 1) as f64, NOW);
        if !(4..8).contains(&number) {
            text.push(&studio, &text_chunk(number));
        }
    }
    let found = studio.dash().await;
    let of = |id: &str| -> Vec<(String, Vec<u64>)> {
        let tracks = found.iter().filter(|r| r.id == id);
        tracks.map(|r| (r.period.clone(), r.segments.iter().map(|s| s.time / r.timescale).collect())).collect()
    };
    let listed: Vec<u64> = of("v").into_iter().flat_map(|(_, times)| times).collect();
    let says = |time: &&u64| !(8..16).contains(*time) && **time < 22;
    assert_eq!(of("v").len(), 1, "{found:?}");
    assert_eq!(of("t"), [("0".to_owned(), listed.iter().filter(says).copied().collect::<Vec<_>>())]);
    let list = studio.playlist("t").await;
    assert_eq!(list.gaps, 4, "{list:?}");
}

#[tokio::test]
async fn text_that_led_went_where_nobody_could_follow() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(120), ..quick() });
    let (mut video, mut audio, mut late) = (Encoder::video("v"), Encoder::audio("a"), Encoder::audio("b"));
    video.begin(&studio);
    audio.begin(&studio);
    let text = texts(&studio);
    // Eight seconds ahead, and between the segments of the pictures.
    let mut next = 0;
    let mut shown = async |studio: &mut Studio, encoders: &mut [&mut Encoder], until: u32, step: u32| {
        for half in step..until {
            run(studio, encoders, f64::from(half) / 2.0 + 0.3, NOW);
            while next * 4 + 1 < u64::from(half) + 16 {
                text.push(studio, &text_chunk(next));
                next += 1;
            }
            if half > 20 {
                let master = studio.text("/tv/master.m3u8").await;
                assert!(master.contains("\nv/media.m3u8"), "at {half}: {master}");
            }
        }
    };
    shown(&mut studio, &mut [&mut video, &mut audio], 61, 1).await;
    late.begin(&studio);
    late.sample = (30.3 * 48_000.0 / 1024.0) as u64;
    shown(&mut studio, &mut [&mut video, &mut audio, &mut late], 150, 61).await;
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    let names = broadcast
        .periods
        .iter()
        .map(|period| -> String { period.tracks.iter().map(|track| track.face.name.as_str()).collect() });
    assert_eq!(names.collect::<Vec<_>>(), ["atv", "abtv"]);
}

/// Who pushes text.
pub(crate) fn texts(studio: &Studio) -> Encoder {
    let text = Encoder::video("t");
    text.push(studio, &wvtt::write_init(1, Timescale::MILLI, Some("en"), &[], "WEBVTT"));
    text
}

#[tokio::test]
async fn a_text_that_led_emptied_the_window_of_everything_else() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    let text = texts(&studio);
    text.push(&studio, &text_chunk(0));
    run_for(&mut studio, &mut [&mut video], 0..4, NOW);
    // Fourteen seconds ahead, then as fast as the picture.
    for number in 1..9 {
        text.push(&studio, &text_chunk(number));
    }
    for number in 9..24 {
        let begins = 4 + 2 * (number - 9);
        run_for(&mut studio, &mut [&mut video], begins..begins + 2, NOW);
        text.push(&studio, &text_chunk(u64::from(number)));
    }
    let list = studio.playlist("v").await;
    assert!(list.segments.len() >= 10, "{list:?}");
    let found = studio.dash().await;
    assert!(found.iter().any(|r| r.id == "v" && r.segments.len() >= 9), "{found:?}");
    // What it is ahead was told to be missing of the picture, once that stalled.
    studio.now = studio.now.after(Duration::from_secs(7));
    text.push(&studio, &text_chunk(24));
    let seconds = video.seconds() + 6.0;
    run(&mut studio, &mut [&mut video], seconds, NOW.after(Duration::from_secs(7)));
    let list = studio.playlist("v").await;
    assert_eq!(list.gaps, 0, "{list:?}");
}

#[tokio::test]
async fn a_text_that_is_sent_ahead_before_anything_else_does_not_say_when_it_began() {
    let mut studio = Studio::with(quick());
    let text = texts(&studio);
    // A cue at the beginning, and one after twelve seconds.
    text.push(&studio, &text_chunk(0));
    text.push(&studio, &text_chunk(6));
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 20.0, NOW);
    let list = studio.text("/tv/v/media.m3u8").await;
    let begins = crate::live_long::lines(&list).last().unwrap().utc_ms;
    assert!((NOW.0 + 15_000..NOW.0 + 19_000).contains(&begins), "{}: {list}", begins - NOW.0);
}

#[tokio::test]
async fn text_that_is_further_ahead_than_anything_is_listed_is_refused_until_media_is_there() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    let text = texts(&studio);
    for number in 0..4 {
        text.push(&studio, &text_chunk(number));
        run_for(&mut studio, &mut [&mut video], 2 * number as u32..2 * number as u32 + 2, NOW);
    }
    let first_refused = (4..60).find_map(|number| text.try_push(&studio, &text_chunk(number)).err().zip(Some(number)));
    let (refusal, number) = first_refused.expect("it is refused");
    assert_eq!(number, 14, "20 s ahead of 8 s");
    let expected = "t would be 22.0 s ahead of what it is shown with, where 20.0 s are listed";
    assert!(refusal.to_string().contains(expected), "{refusal}");
    // Nor one that leaves something out each time.
    text.try_push(&studio, &text_chunk(number + 2)).expect_err("it is refused");
    run_for(&mut studio, &mut [&mut video], 8..20, NOW);
    text.push(&studio, &text_chunk(number));
    // After an outage nobody is to wait for the others.
    studio.now = studio.now.after(Duration::from_secs(60));
    text.push(&studio, &text_chunk(number + 26));
    text.push(&studio, &text_chunk(number + 27));
}

#[tokio::test]
async fn a_first_chunk_of_any_length_was_what_was_announced() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    let text = texts(&studio);
    for (ticks, seconds) in [(u32::MAX, "4294967.795"), (29_500, "30.000")] {
        let refusal = text.try_push(&studio, &text_chunk_of(0, ticks)).unwrap_err().to_string();
        assert!(refusal.contains(&format!("a chunk of {seconds} s")), "{refusal}");
    }
    let stale = Encoder { sample_ticks: 12_288 * 600, chunk_samples: 1, ..Encoder::video("v") };
    let refusal = stale.try_push(&studio, &stale.chunk(0)).unwrap_err().to_string();
    assert!(refusal.contains("a chunk of 600.000 s, where a segment has 60 s at most"), "{refusal}");
    text.push(&studio, &text_chunk(0));
    run_for(&mut studio, &mut [&mut video], 0..4, NOW);
    assert_eq!(studio.playlist("v").await.target_s, 2.0);
    let refusal = text.try_push(&studio, &text_chunk_of(1, 3_500)).unwrap_err().to_string();
    assert!(refusal.contains("announced as 2 s at most"), "{refusal}");
}
