//! The end of a broadcast as encoders say it: a segment whose `styp` has the brand `lmsg`, or an `mfra`, by one of them or by two.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use headwater::content::live::channel::Options;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{self, Source};
use headwater::time::Utc;

use crate::live::{self, Encoder, Studio, quick};
use crate::live_long::{iso_us, lines};
use crate::live_requests::{Sender, WAYS, Way, listed, run};
use crate::scene::{self, NOW};

/// A second of media, in samples.
const SECOND: u64 = 24;

/// An encoder called `machine` whose last segment begins with the sample `last`.
fn sender(machine: &'static str, way: Way, last: Option<u64>) -> Sender {
    // Two have pushes of their own.
    let push = u64::from(machine.as_bytes()[0]) << 16;
    let encoder = Encoder { push, ..Encoder::video("v") };
    Sender { encoder, way, segment_s: 2.0, before: 0, machine: Some(machine), last }
}

/// The end of the request that is under way.
fn request_ends(studio: &Studio, sender: &Sender) {
    let channel = studio.channels.get("tv").unwrap();
    channel.push_ends("v", source(studio, sender), studio.now);
}

fn source(studio: &Studio, sender: &Sender) -> Source {
    let encoder = studio.channels.get("tv").unwrap().encoder(sender.machine.unwrap(), studio.now);
    Source { encoder, push: sender.before, named_segments: sender.way == Way::File, ..Source::default() }
}

fn begin(studio: &Studio, sender: &Sender) {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&sender.encoder.init, &mut events).unwrap();
    let channel = studio.channels.for_push("tv").unwrap();
    let encoder = channel.encoder(sender.machine.unwrap(), studio.now);
    channel.take("v", events.remove(0), Source { encoder, ..Source::default() }, studio.now).unwrap();
}

fn has_ended(studio: &Studio) -> bool {
    studio.channels.get("tv").unwrap().broadcast().ended
}

/// Nothing comes for so long.
fn pass(studio: &mut Studio, seconds: f64) {
    studio.now = studio.now.after(Duration::from_secs_f64(seconds));
    studio.channels.tick(studio.now);
}

#[tokio::test]
async fn a_last_segment_of_several_chunks_was_not_the_last() {
    for way in WAYS {
        for last_chunks in [4, 2] {
            let mut studio = Studio::with(quick());
            let mut senders = [sender("a", way, Some(10 * SECOND))];
            begin(&studio, &senders[0]);
            run(&mut studio, &mut senders, 10.5);
            assert!(!has_ended(&studio), "{way:?}: more of it is to come");
            run(&mut studio, &mut senders, 10.0 + 0.5 * f64::from(last_chunks));
            if way != Way::Chunk {
                request_ends(&studio, &senders[0]);
            } else {
                // No request says that it is the last, so it is waited for.
                pass(&mut studio, 2.9);
                assert!(!has_ended(&studio));
                pass(&mut studio, 0.2);
            }
            assert!(has_ended(&studio), "{way:?} of {last_chunks} chunks");
            let found = listed(&studio, "v");
            assert_eq!((found.len(), found[5].2), (6, 6_144 * i64::from(last_chunks)), "{way:?}: {found:?}");
            assert!(found.iter().all(|own| own.3 && !own.4), "{way:?}: {found:?}");
            assert!(studio.playlist("v").await.ended);
        }
    }
}

#[tokio::test]
async fn who_goes_on_after_what_was_said_to_be_the_last_is_followed() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Segment, Some(6 * SECOND))];
    begin(&studio, &senders[0]);
    run(&mut studio, &mut senders, 8.0);
    assert!(has_ended(&studio));
    run(&mut studio, &mut senders, 14.0);
    assert!(!has_ended(&studio) && listed(&studio, "v").len() == 7);
    pass(&mut studio, 10.0);
    assert!(!has_ended(&studio), "it is silent, and did not say so of this one");
}

/// One long push said so once, went on for long, and its connection ended: that was taken for the end.
#[tokio::test]
async fn a_request_that_ends_long_after_what_was_said_to_be_the_last_is_not_the_end() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Long, Some(6 * SECOND))];
    begin(&studio, &senders[0]);
    run(&mut studio, &mut senders, 20.0);
    request_ends(&studio, &senders[0]);
    pass(&mut studio, 3.1);
    assert!(!has_ended(&studio));
}

#[tokio::test]
async fn a_last_segment_of_one_of_two_encoders_is_not_the_end() {
    for way in WAYS {
        let mut studio = Studio::with(quick());
        let mut senders = [sender("a", way, Some(10 * SECOND)), sender("b", way, Some(12 * SECOND))];
        senders.iter().for_each(|sender| begin(&studio, sender));
        run(&mut studio, &mut senders, 12.0);
        // The one whose track it is has no more.
        let [a, b] = senders;
        if way == Way::Long {
            request_ends(&studio, &a);
        }
        assert!(!has_ended(&studio), "{way:?}: the other goes on");
        let mut b = [b];
        run(&mut studio, &mut b, 14.0);
        if way == Way::Long {
            request_ends(&studio, &b[0]);
        }
        if way == Way::Chunk {
            pass(&mut studio, 3.1);
        }
        assert!(has_ended(&studio), "{way:?}: {:?}", listed(&studio, "v"));
        let found = listed(&studio, "v");
        assert!(found.len() == 7 && found.iter().all(|own| own.2 == 24_576 && !own.4), "{way:?}: {found:?}");
    }
}

#[tokio::test]
async fn two_encoders_that_ended_at_once_left_the_channel_open() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Long, None), sender("b", Way::Long, None)];
    senders.iter().for_each(|sender| begin(&studio, sender));
    run(&mut studio, &mut senders, 8.0);
    let channel = studio.channels.get("tv").unwrap();
    for sender in &senders {
        assert!(!has_ended(&studio));
        channel.take("v", Event::End, source(&studio, sender), studio.now).unwrap();
        // The request ends behind it, which is no sign of life.
        request_ends(&studio, sender);
        pass(&mut studio, 0.1);
    }
    assert!(has_ended(&studio) && studio.now.0 < NOW.0 + 9_000);
}

#[tokio::test]
async fn who_ends_while_the_other_is_dead_but_not_missed_yet_ends_the_channel() {
    let mut studio = Studio::with(quick());
    let mut senders = [sender("a", Way::Long, None), sender("b", Way::Long, None)];
    senders.iter().for_each(|sender| begin(&studio, sender));
    run(&mut studio, &mut senders, 8.0);
    let [_, b] = senders;
    let mut b = [b];
    run(&mut studio, &mut b, 9.0);
    let channel = studio.channels.get("tv").unwrap();
    channel.take("v", Event::End, source(&studio, &b[0]), studio.now).unwrap();
    request_ends(&studio, &b[0]);
    assert!(!has_ended(&studio), "a may go on");
    pass(&mut studio, 3.1);
    assert!(has_ended(&studio));
}

/// How long the GOPs and the chunks of an encoder are, in samples, and the parts that are asked for, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    gop: u32,
    chunk: u32,
    part_ms: u64,
}

impl Lengths {
    fn channel(self, dir: &Path, cadence: Option<&str>) -> Options {
        let part_target = Duration::from_millis(self.part_ms);
        let cadence = cadence.map(|cadence| cadence.parse().unwrap());
        let every = window::Options { part_target, cadence, window: Duration::from_secs(60), ..quick() };
        Options { dir: Some(dir.to_path_buf()), every, open: true, spool_file_bytes: 5_000, ..Options::default() }
    }

    fn encoder(self, origin: u64, push: u64) -> Encoder {
        Encoder { gop: self.gop, chunk_samples: self.chunk, origin, push, ..Encoder::video("v") }
    }
}

/// What is said of lengths, in HLS and in DASH.
async fn said(studio: &Studio) -> [String; 5] {
    let (hls, mpd) = (studio.text("/tv/v/media.m3u8").await, studio.text("/tv/manifest.mpd").await);
    let after = |text: &str, what: &str, end: char| {
        let rest = text.split_once(what).map(|(_, rest)| rest.split(['\n', end]).next().unwrap().to_owned());
        rest.unwrap_or_else(|| "none".to_owned())
    };
    [
        after(&hls, "#EXT-X-TARGETDURATION:", ','),
        after(&hls, "PART-TARGET=", ','),
        after(&hls, ",HOLD-BACK=", ','),
        after(&mpd, "suggestedPresentationDelay=\"", '"'),
        after(&mpd, "minimumUpdatePeriod=\"", '"'),
    ]
}

/// What is listed of `v`, by URL.
async fn bodies(studio: &Studio) -> BTreeMap<String, Bytes> {
    let mut found = BTreeMap::new();
    for (url, ..) in studio.playlist("v").await.segments {
        let answer = studio.get(&url).await;
        assert_eq!(answer.status, 200, "{url}");
        found.insert(url, answer.body);
    }
    found
}

/// One broadcast ended, and the next one was held to its lengths: longer GOPs were refused, and shorter ones were announced as long.
#[tokio::test]
async fn what_follows_an_end_was_announced_by_the_lengths_of_what_had_ended() {
    let usual = Lengths { gop: 48, chunk: 12, part_ms: 1000 };
    let (long, short) = (Lengths { gop: 144, chunk: 144, ..usual }, Lengths { part_ms: 500, ..usual });
    let of_usual = ["2", "1.000000", "6.000000", "PT6S", "PT1S"];
    let of_long = ["6", "none", "18.000000", "PT18S", "PT3S"];
    let of_short = ["2", "0.500000", "6.000000", "PT6S", "PT1S"];
    for (first, of_first, next, of_next) in
        [(usual, of_usual, long, of_long), (long, of_long, usual, of_usual), (short, of_short, usual, of_usual)]
    {
        // It begins anew; it goes on by the time of day.
        for is_of_epoch in [false, true] {
            let what = format!("{first:?} {next:?} {is_of_epoch}");
            let origin = if is_of_epoch { NOW.0 / 1000 * 12_288 } else { 0 };
            let dir = tempfile::tempdir().unwrap();
            let mut studio = Studio::of(first.channel(dir.path(), None), NOW);
            let mut encoder = first.encoder(origin, 1);
            encoder.begin(&studio);
            live::run(&mut studio, &mut [&mut encoder], 36.0, NOW);
            assert_eq!(said(&studio).await, of_first, "{what}");
            encoder.end(&studio);
            assert!(studio.playlist("v").await.ended, "{what}");
            let (list_of_first, bodies_of_first) = (studio.playlist("v").await, bodies(&studio).await);
            drop(studio);

            let began = NOW.after(Duration::from_secs(60));
            let mut studio = Studio::of(next.channel(dir.path(), None), began);
            let mut encoder = next.encoder(origin + if is_of_epoch { 60 * 12_288 } else { 0 }, 2);
            encoder.begin(&studio);
            let mut announced = None;
            for second in 1..=30 {
                live::run(&mut studio, &mut [&mut encoder], f64::from(second), began);
                let list = studio.playlist("v").await;
                if list.ended {
                    assert_eq!(list, list_of_first, "{what}: until the next is announced");
                    continue;
                }
                announced.get_or_insert(second);
                assert_eq!(said(&studio).await, of_next, "{what}");
                // Numbers go on, and what has ended is not listed.
                assert_eq!(list.msn, list_of_first.msn + list_of_first.segments.len() as u64, "{what}");
                assert!(
                    list.gaps == 0 && list.segments.iter().all(|own| !bodies_of_first.contains_key(&own.0)),
                    "{what}"
                );
            }
            assert!((2..=12).contains(&announced.unwrap()), "{what}: {announced:?}");
            let text = studio.text("/tv/v/media.m3u8").await;
            assert!(text.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{text}");
            for (url, body) in &bodies_of_first {
                scene::same(&studio.get(url).await.body, body, url);
            }
            let found = (studio.playlist("v").await, said(&studio).await, bodies(&studio).await);
            let now = studio.now;
            drop(studio);
            let studio = Studio::of(next.channel(dir.path(), None), now);
            assert_eq!((studio.playlist("v").await, said(&studio).await, bodies(&studio).await), found, "{what}");
        }
    }
}

/// Where numbers follow from times, so do those of a broadcast that follows another one.
#[tokio::test]
async fn what_follows_an_end_is_as_on_a_node_that_has_nothing_of_before() {
    let first = Lengths { gop: 48, chunk: 12, part_ms: 500 };
    let (origin, began) = (NOW.0 / 1000 * 12_288, NOW.after(Duration::from_secs(60)));
    let mut found = Vec::new();
    for has_ended in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let mut studio = Studio::of(first.channel(dir.path(), Some("2s")), NOW);
        if has_ended {
            let mut encoder = first.encoder(origin, 1);
            encoder.begin(&studio);
            live::run(&mut studio, &mut [&mut encoder], 21.0, NOW);
            assert_eq!(said(&studio).await[..2], ["2", "0.500000"]);
            encoder.end(&studio);
        }
        // Chunks of a second are too long for parts.
        let mut encoder = Lengths { chunk: 24, ..first }.encoder(origin + 60 * 12_288, 2);
        studio.now = began;
        encoder.begin(&studio);
        live::run(&mut studio, &mut [&mut encoder], 21.0, began);
        found.push((studio.playlist("v").await, said(&studio).await, bodies(&studio).await));
    }
    assert_eq!(found[0], found[1]);
    assert_eq!((found[0].0.msn, found[0].0.segments.len()), (began.0 / 2000, 10));
    assert_eq!(found[0].1[..2], ["2", "none"]);
}

/// By HLS and by DASH: when what is listed first of `track` is presented, in milliseconds since 1970.
async fn presented_ms(studio: &Studio, track: &str) -> [u64; 2] {
    let (hls, mpd) = (studio.text(&format!("/tv/{track}/media.m3u8")).await, studio.text("/tv/manifest.mpd").await);
    let after = |text: &str, what: &str| text.split_once(what).unwrap().1.split('"').next().unwrap().to_owned();
    let begun_ms = after(&mpd, "availabilityStartTime=\"").parse::<Utc>().unwrap().0;
    let start_ms = iso_us(&after(mpd.split_once("<Period ").unwrap().1, "start=\"")) / 1000;
    let dash = studio.dash().await;
    let first = dash.iter().find(|own| own.id == track && !own.segments.is_empty()).unwrap();
    let into_ms = (first.segments[0].time - first.offset) * 1000 / first.timescale;
    [lines(&hls)[0].utc_ms, begun_ms + start_ms + into_ms]
}

/// One broadcast ends, and the next one counts time from elsewhere: from 1970, or from when it began.
async fn clocks_take_turns(cadence: Option<&str>) {
    let lengths = Lengths { gop: 48, chunk: 12, part_ms: 1000 };
    for is_of_epoch_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let open = |now: Utc| Studio::of(lengths.channel(dir.path(), cadence), now);
        let mut studio = open(NOW);
        for broadcast in 0..3 {
            let what = format!("from 1970 first: {is_of_epoch_first}, {broadcast}");
            let began = NOW.after(Duration::from_secs(60 * broadcast));
            let origin_s = if (broadcast % 2 == 0) == is_of_epoch_first { began.0 / 1000 } else { 0 };
            let push = broadcast + 1;
            let mut video = lengths.encoder(origin_s * 12_288, push);
            let mut audio = Encoder { origin: origin_s * 48_000, push, ..Encoder::audio("a") };
            studio.now = began;
            [&video, &audio].into_iter().for_each(|encoder| encoder.begin(&studio));
            live::run_for(&mut studio, &mut [&mut video, &mut audio], 0..20, began);
            for track in ["v", "a"] {
                assert!(!studio.playlist(track).await.ended, "{what}");
                let presented_ms = presented_ms(&studio, track).await;
                let is_near = |ms: &u64| ms.abs_diff(began.0) <= 2_000;
                assert!(presented_ms.iter().all(is_near), "{what}: {track} at {presented_ms:?}, began {began:?}");
                assert!(presented_ms[0].abs_diff(presented_ms[1]) <= 3, "{what}: {track} at {presented_ms:?}");
            }
            let before = (studio.playlist("v").await, studio.text("/tv/manifest.mpd").await);
            let now = studio.now;
            drop(studio);
            studio = open(now);
            assert_eq!((studio.playlist("v").await, studio.text("/tv/manifest.mpd").await), before, "{what}");
            [&video, &audio].into_iter().for_each(|encoder| encoder.end(&studio));
            assert!(studio.playlist("v").await.ended, "{what}");
        }
    }
}

/// The end of media that counts from 1970 was taken for where media begins that does not: its first Period was decades ahead.
#[tokio::test]
async fn what_follows_an_end_on_another_clock_was_placed_by_the_clock_of_before() {
    clocks_take_turns(None).await;
}

/// An encoder that was restarted after the end and counted from 0 was answered 200, and nothing of it was seen.
#[tokio::test]
async fn what_follows_an_end_where_numbers_follow_from_times_was_left_out_if_its_own_do_not() {
    clocks_take_turns(Some("2s")).await;
}

/// What an end leaves behind is read back as it was.
#[tokio::test]
async fn a_kill_while_what_follows_an_end_gathers_changes_nothing() {
    let usual = Lengths { gop: 48, chunk: 12, part_ms: 1000 };
    for is_of_epoch in [true, false] {
        let mut found = Vec::new();
        for kills in [vec![], vec![1, 13, 20], vec![30, 31, 32, 33, 34], vec![35, 38]] {
            let dir = tempfile::tempdir().unwrap();
            let open = |now: Utc| {
                let all = usual.channel(dir.path(), None);
                let every = window::Options { end_after: Some(Duration::from_secs(12)), ..all.every };
                Studio::of(Options { every, ..all }, now)
            };
            let origin_s = if is_of_epoch { NOW.0 / 1000 } else { 0 };
            let mut studio = open(NOW);
            let mut video = usual.encoder(origin_s * 12_288, 1);
            video.begin(&studio);
            live::run(&mut studio, &mut [&mut video], 10.0, NOW);
            // What was made meanwhile is lost, and GOPs are longer than they were.
            let mut next = Lengths { gop: 72, ..usual }.encoder(origin_s * 12_288, 2);
            next.sample = 30 * SECOND;
            let (mut states, mut announced) = (Vec::new(), None);
            for second in 10..60 {
                studio.now = NOW.after(Duration::from_secs(second));
                if second == 30 {
                    next.begin(&studio);
                }
                if kills.contains(&second) {
                    let now = studio.now;
                    drop(studio);
                    studio = open(now);
                    next.push += 1;
                    next.begin(&studio);
                }
                live::run(&mut studio, &mut [&mut next], second as f64, NOW);
                // Nothing is said while nothing comes, until it has ended.
                let (hls, mpd) = (studio.get("/tv/v/media.m3u8").await, studio.get("/tv/manifest.mpd").await);
                if hls.status == 200 {
                    let list = live::parsed("/tv/v/media.m3u8", &hls.text());
                    announced = announced.or((second > 30 && !list.ended).then_some(second));
                    assert_eq!(list.target_s, if announced.is_some() { 3.0 } else { 2.0 });
                    assert!(announced.is_none() || list.segments.iter().all(|(_, seconds, _)| *seconds == 3.0));
                }
                states.push([hls, mpd].map(|answer| (answer.status, answer.text())));
            }
            assert!(announced.is_some_and(|second| (33..40).contains(&second)), "{announced:?}");
            found.push(states);
        }
        for (states, kills) in found[1..].iter().zip(1..) {
            for (own, (state, expected)) in states.iter().zip(&found[0]).enumerate() {
                assert_eq!(state, expected, "{is_of_epoch}, {kills}, {} s", own + 10);
            }
        }
    }
}

/// The broadcast that follows is of another machine.
#[tokio::test]
async fn what_follows_an_end_may_be_of_another_encoder() {
    for (gop, origin) in [(48, 0), (144, 0), (144, 900_000_000)] {
        let mut studio = Studio::with(quick());
        let mut senders = [sender("a", Way::Long, None)];
        begin(&studio, &senders[0]);
        run(&mut studio, &mut senders, 40.0);
        let channel = studio.channels.get("tv").unwrap();
        channel.take("v", Event::End, source(&studio, &senders[0]), studio.now).unwrap();
        assert!(has_ended(&studio));
        let ended = studio.playlist("v").await;
        pass(&mut studio, 40.0);
        let (mut other, began) = (sender("b", Way::Long, None), studio.now);
        let chunk_samples = if gop == 144 { 144 } else { 12 };
        other.encoder = Encoder { gop, chunk_samples, origin, ..other.encoder };
        begin(&studio, &other);
        for chunk in 0..36 / (chunk_samples / 12) {
            let end_s = f64::from((chunk + 1) * chunk_samples) / 24.0;
            studio.now = studio.now.max(began.after(Duration::from_secs_f64(end_s)));
            other.next(&studio);
            studio.channels.tick(studio.now);
        }
        let list = studio.playlist("v").await;
        assert_eq!((list.ended, list.target_s), (false, f64::from(gop / 24)), "{gop} {origin}: {list:?}");
        assert_eq!(list.msn, ended.msn + ended.segments.len() as u64, "{gop} {origin}");
        assert!(list.gaps == 0 && list.segments.len() >= 2, "{gop} {origin}: {list:?}");
    }
}
