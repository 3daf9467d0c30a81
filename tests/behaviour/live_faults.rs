//! What once went wrong in broadcasts of minutes, found by `live_long`: each by itself.

use std::time::Duration;

use headwater::content::live::channel::Options;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{self, Source};

use crate::live::{Encoder, Studio, quick, run, run_for};
use crate::live_long::lines;
use crate::scene::NOW;

/// Files of the spool have some two seconds.
fn spooled(dir: &std::path::Path) -> Options {
    Options { dir: Some(dir.to_path_buf()), every: quick(), open: true, spool_file_bytes: 5_000, ..Options::default() }
}

fn begun(studio: &Studio) -> (Encoder, Encoder) {
    let (video, audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(studio);
    audio.begin(studio);
    (video, audio)
}

#[tokio::test]
async fn a_segment_that_took_long_to_come_is_no_gap_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(spooled(dir.path()), NOW);
    let (mut video, mut audio) = begun(&studio);
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..20, NOW);
    // A segment begins, and ends eight seconds later, when the encoder is back.
    run(&mut studio, &mut [&mut video, &mut audio], 20.6, NOW);
    run_for(&mut studio, &mut [&mut audio], 20..28, NOW);
    video.sample = 28 * 24;
    let mut answered = 0;
    for second in 28..75 {
        run_for(&mut studio, &mut [&mut video, &mut audio], second..second + 1, NOW);
        let list = studio.playlist("v").await;
        let url = format!("{}/{}.m4s", list.segments[0].0.rsplit_once('/').unwrap().0, 20 * 12_288);
        let again = Studio::of(spooled(dir.path()), studio.now);
        let (before, after) = (studio.get(&url).await, again.get(&url).await);
        assert!(before.status != 200 || after.status == 200, "after {second} s: {}", after.text());
        answered += usize::from(before.status == 200);
    }
    assert!(answered > 20);
}

#[tokio::test]
async fn what_is_sent_again_after_a_checkpoint_begins_no_other_timeline() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(spooled(dir.path()), NOW);
    let (mut video, mut audio) = begun(&studio);
    for second in 0..70 {
        run_for(&mut studio, &mut [&mut video, &mut audio], second..second + 1, NOW);
        for encoder in [&mut video, &mut audio] {
            // Not sure what arrived: the last two seconds again, by another push.
            encoder.push += 1;
            encoder.begin(&studio);
            let each = u64::from(encoder.chunk_samples);
            for back in (1..=4).rev().filter(|back| encoder.sample >= back * each) {
                encoder.push(&studio, &encoder.chunk(encoder.sample - back * each));
            }
        }
    }
    let mut left = Vec::new();
    for second in 70..76 {
        left.push(studio.playlist("v").await.segments[0].0.clone());
        run_for(&mut studio, &mut [&mut video, &mut audio], second..second + 1, NOW);
    }
    let before = (studio.playlist("v").await, studio.playlist("a").await);
    let studio = Studio::of(spooled(dir.path()), studio.now);
    assert_eq!((studio.playlist("v").await, studio.playlist("a").await), before);
    for url in left {
        assert_eq!(studio.get(&url).await.status, 200, "{url} left before the restart");
    }
}

#[tokio::test]
async fn what_is_sent_again_from_the_very_beginning_begins_no_other_timeline() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 5.0, NOW);
    video.push += 1;
    video.begin(&studio);
    (0..10).for_each(|chunk| video.push(&studio, &video.chunk(chunk * 12)));
    run(&mut studio, &mut [&mut video], 12.0, NOW);
    let text = studio.text("/tv/v/media.m3u8").await;
    assert!(!text.contains("DISCONTINUITY\n") && studio.playlist("v").await.segments.len() == 5, "{text}");
}

#[tokio::test]
async fn who_begins_twice_within_a_second_has_two_names() {
    let mut studio = Studio::with(window::Options { gather: Duration::ZERO, ..quick() });
    let other = Encoder::video("w");
    // A whole segment at once, which is announced at once, and the same times again with something else.
    for push in [1, 2] {
        studio.now = studio.now.after(Duration::from_millis(200));
        let other = Encoder { push, init: other.init.clone(), ..Encoder::video("w") };
        other.begin(&studio);
        for chunk in 0..5 {
            let mut bytes = other.chunk(chunk * 12);
            *bytes.last_mut().unwrap() ^= push as u8;
            other.push(&studio, &bytes);
        }
    }
    let mut other = Encoder { push: 2, sample: 5 * 12, ..other };
    run(&mut studio, &mut [&mut other], 14.0, NOW);
    let text = studio.text("/tv/w/media.m3u8").await;
    let mut maps: Vec<&str> = text.lines().filter(|line| line.starts_with("#EXT-X-MAP")).collect();
    let count = maps.len();
    maps.dedup();
    assert!(count >= 2 && maps.len() == count, "{text}");
}

#[tokio::test]
async fn parts_that_an_outage_made_old_are_read_from_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(Options { spool_file_bytes: 1 << 20, ..spooled(dir.path()) }, NOW);
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 11.6, NOW);
    let list = studio.playlist("v").await;
    let parts: Vec<String> =
        list.segments.iter().flat_map(|own| &own.2).chain(&list.open).map(|p| p.0.clone()).collect();
    let mut before = Vec::new();
    for part in &parts {
        before.push(studio.get(part).await.body);
    }
    video.sample += 32 * 24;
    run(&mut studio, &mut [&mut video], 46.0, NOW);
    assert!(parts.len() >= 4);
    for (part, before) in parts.iter().zip(before) {
        let answer = studio.get(part).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &before), "{part}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_longer_than_all_before_is_no_longer_than_what_is_said_of_parts() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    let said = studio.playlist("v").await.part_target_s.unwrap();
    video.chunk_samples = 36;
    run(&mut studio, &mut [&mut video], 11.5, NOW);
    video.chunk_samples = 12;
    run(&mut studio, &mut [&mut video], 12.6, NOW);
    let list = studio.playlist("v").await;
    let longest = list.segments.iter().flat_map(|own| &own.2).map(|part| part.1).fold(0.0, f64::max);
    assert!(longest > said && longest <= list.part_target_s.unwrap(), "{said}, {longest}: {list:?}");
}

#[tokio::test]
async fn a_part_that_grew_where_an_outage_begins_was_longer_than_what_is_said_of_parts() {
    let mut studio = Studio::with(window::Options { cadence: "2s".parse().ok(), ..quick() });
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    for encoder in [&mut video, &mut audio] {
        encoder.origin = NOW.0 / 1000 * u64::from(encoder.timescale);
        encoder.begin(&studio);
    }
    // Sound ends 32 ms before a segment does, which its last part is longer by then; and what follows is told to be missing at once.
    run(&mut studio, &mut [&mut video, &mut audio], 19.97, NOW);
    assert_eq!(audio.sample * 1024, 19_968 * 48);
    let mut longest = 0.0;
    for step in 0..24 {
        run(&mut studio, &mut [&mut video], 20.0 + 0.5 * f64::from(step), NOW);
        let list = studio.playlist("a").await;
        let parts = list.segments.iter().flat_map(|own| &own.2).chain(&list.open);
        longest = parts.map(|part| part.1).fold(longest, f64::max);
        assert!(longest <= list.part_target_s.unwrap(), "{longest}: {list:?}");
    }
    assert!(longest > 1.05, "{longest}");
}

#[tokio::test]
async fn a_track_that_missed_a_period_counts_its_discontinuity_all_the_same() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
    let (mut video, mut audio) = begun(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 8.0, NOW);
    let anew = |encoder: Encoder, origin_s: u64, push| {
        let origin = origin_s * u64::from(encoder.timescale);
        Encoder { origin, push, ..encoder }
    };
    let mut video = anew(Encoder::video("v"), 500, 2);
    video.begin(&studio);
    let began = studio.now;
    run(&mut studio, &mut [&mut video], 8.0, began);
    let (mut video, mut audio) = (anew(Encoder::video("v"), 900, 3), anew(Encoder::audio("a"), 900, 3));
    video.begin(&studio);
    audio.begin(&studio);
    let began = studio.now;
    run(&mut studio, &mut [&mut video, &mut audio], 8.0, began);
    let numbers = |text: &str| lines(text).into_iter().map(|line| line.discontinuity).collect::<Vec<_>>();
    let of_video = numbers(&studio.text("/tv/v/media.m3u8").await);
    let of_audio = numbers(&studio.text("/tv/a/media.m3u8").await);
    assert_eq!((of_video.first(), of_video.last(), of_audio.last()), (Some(&0), Some(&2), Some(&2)));
    assert!(of_audio.iter().all(|number| *number != 1), "{of_audio:?}");
}

#[tokio::test]
async fn a_period_that_ended_does_not_end_later() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
    let (mut video, mut audio) = begun(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 10.3, NOW);
    (video.sample, audio.sample) = (16 * 24, 750);
    // Pictures come back first: the last segment of sound is not whole for anybody yet.
    let duration = |text: &str| {
        text.split("<Period ").nth(1).and_then(|p| p.split("duration=\"").nth(1)?.split('"').next().map(str::to_owned))
    };
    run(&mut studio, &mut [&mut video], 18.6, NOW);
    run(&mut studio, &mut [&mut video, &mut audio], 22.0, NOW);
    let first = duration(&studio.text("/tv/manifest.mpd").await);
    run(&mut studio, &mut [&mut video, &mut audio], 26.0, NOW);
    let then = duration(&studio.text("/tv/manifest.mpd").await);
    assert!(first.is_some());
    assert_eq!(first, then);
}

#[tokio::test]
async fn a_playlist_of_which_all_has_left_goes_on_with_the_number_of_what_grows() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = begun(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 10.6, NOW);
    // Sound stands still while a track begins that has others begin a period with it.
    let mut other = Encoder::audio("b");
    other.begin(&studio);
    (other.sample, audio.sample) = (11 * 48_000 / 1024, 36 * 48_000 / 1024);
    run(&mut studio, &mut [&mut video, &mut other], 36.0, NOW);
    let empty = studio.playlist("a").await;
    assert!(empty.segments.is_empty() && !empty.open.is_empty(), "{empty:?}");
    run(&mut studio, &mut [&mut video, &mut audio, &mut other], 46.0, NOW);
    let list = studio.playlist("a").await;
    assert!(list.segments[0].0.rsplit_once('/').unwrap().1 != "0.m4s" && list.msn >= empty.msn, "{empty:?} {list:?}");
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    let first = broadcast.tracks_called("a").find_map(|(_, track)| track.listed().next().map(|s| s.number));
    assert_eq!(Some(list.msn), first);
}

#[tokio::test]
async fn a_broadcast_one_of_whose_tracks_had_died_never_ended() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = begun(&studio);
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..20, NOW);
    // The sound is killed, and the pictures go on, and end well.
    run_for(&mut studio, &mut [&mut video], 20..40, NOW);
    let channel = studio.channels.get("tv").unwrap();
    channel.take("v", Event::End, Source { push: 1, ..Source::default() }, studio.now).unwrap();
    studio.channels.tick(studio.now);
    assert!(channel.broadcast().ended);
    studio.now = studio.now.after(Duration::from_secs(3600));
    assert!(studio.playlist("v").await.ended && studio.playlist("a").await.ended);
    assert!(studio.text("/tv/manifest.mpd").await.contains("type=\"static\""));
}

#[tokio::test]
async fn a_chunk_that_is_longer_than_what_was_announced_is_refused_and_the_channel_goes_on() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = begun(&studio);
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..12, NOW);
    let channel = studio.channels.get("tv").unwrap();
    let target_s = channel.broadcast().timing.target_s;
    // Ten seconds in one chunk, which nobody could cut.
    let long = Encoder { chunk_samples: 240, ..Encoder::video("v") };
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&long.chunk(video.sample), &mut events).unwrap();
    let refused = channel.take("v", events.remove(0), Source { push: 1, ..Source::default() }, studio.now).unwrap_err();
    let said = refused.to_string();
    assert!(said.starts_with("a chunk of 10.000 s, where segments of this channel were announced as 2 s"), "{said}");
    run_for(&mut studio, &mut [&mut video, &mut audio], 12..20, NOW);
    let list = studio.playlist("v").await;
    assert!(list.gaps == 0 && list.segments.iter().all(|segment| segment.1.round() as u64 <= target_s), "{list:?}");
}

#[tokio::test]
async fn names_of_channels_were_never_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(spooled(dir.path()), NOW);
    let (mut video, mut audio) = begun(&studio);
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..12, NOW);
    for track in ["v", "a"] {
        let channel = studio.channels.get("tv").unwrap();
        channel.take(track, Event::End, Source { push: 1, ..Source::default() }, studio.now).unwrap();
    }
    assert!(studio.playlist("v").await.ended);
    // Somebody's push was refused before it said anything.
    studio.channels.for_push("typo").unwrap();
    let held = studio.channels.get("tv");
    let day = Duration::from_secs(24 * 3600);
    studio.channels.tick(studio.now.after(day));
    assert!(studio.channels.get("typo").is_none() && !dir.path().join("typo").exists());
    assert!(studio.playlist("v").await.ended, "it stays for a day, and as long as it was kept");
    let later = studio.now.after(day + Duration::from_secs(60));
    studio.channels.tick(later);
    assert!(studio.channels.get("tv").is_some(), "somebody has it in hand");
    drop(held);
    studio.channels.tick(later);
    assert!(studio.channels.get("tv").is_none() && !dir.path().join("tv").exists());
    // The name is free: another broadcast has numbers of its own.
    studio.now = later;
    let (mut video, mut audio) = begun(&studio);
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..8, later);
    assert_eq!(studio.playlist("v").await.msn, 0);
}

#[tokio::test]
async fn a_start_removed_folders_that_it_could_not_read_or_that_were_none_of_a_channel() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(spooled(dir.path()), NOW);
    let (mut video, mut audio) = begun(&studio);
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..12, NOW);
    drop(studio);
    std::fs::create_dir(dir.path().join("certs")).unwrap();
    std::fs::write(dir.path().join("certs/key.pem"), "key").unwrap();
    // What can't be read: a folder in place of a file, and one whose first record is damaged.
    let names = || std::fs::read_dir(dir.path().join("tv")).unwrap().map(|entry| entry.unwrap().path());
    let first = names().filter(|path| path.extension().is_some_and(|e| e == "spool")).min().unwrap();
    std::fs::create_dir(dir.path().join("radio")).unwrap();
    std::fs::create_dir(dir.path().join("radio/00000001.spool")).unwrap();
    std::fs::create_dir(dir.path().join("old")).unwrap();
    std::fs::write(dir.path().join("old/00000001.spool"), [&b"HWSPOOL2"[..], &[7; 60]].concat()).unwrap();
    let day = Duration::from_secs(24 * 3600);
    let again = Studio::of(spooled(dir.path()), NOW.after(30 * day));
    again.channels.tick(NOW.after(60 * day));
    assert!(first.is_file() && dir.path().join("radio/00000001.spool").is_dir());
    assert_eq!(std::fs::read(dir.path().join("certs/key.pem")).unwrap(), b"key");
    assert!(dir.path().join("old/00000001.spool").is_file());
    assert!(again.channels.get("certs").is_none(), "a folder without a spool is no channel");
}

/// `chunk` with a box of its own between `moof` and `mdat`, and what it says of where its media is so much further.
fn with_a_box_between(chunk: &[u8], further: u32) -> Vec<u8> {
    let mut bytes = chunk.to_vec();
    let mdat = bytes.windows(4).position(|four| four == b"mdat").unwrap() - 4;
    let trun = bytes.windows(4).position(|four| four == b"trun").unwrap();
    // Version and flags, sample_count, data_offset.
    let offset = u32::try_from(mdat + 8).unwrap();
    assert_eq!(bytes[trun + 12..trun + 16], offset.to_be_bytes());
    bytes[trun + 12..trun + 16].copy_from_slice(&(offset + further).to_be_bytes());
    bytes.splice(mdat..mdat, *b"\0\0\0\x0cfreebox!");
    bytes
}

#[tokio::test]
async fn media_behind_a_box_between_moof_and_mdat_was_served_from_elsewhere() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    let mut sent = Vec::new();
    while video.seconds() < 4.5 {
        let chunk = with_a_box_between(&video.chunk(video.sample), 12);
        studio.now = NOW.after(Duration::from_secs_f64(video.seconds() + 0.5));
        video.push(&studio, &chunk);
        sent.extend((video.sample < 48).then_some(chunk));
        video.sample += 12;
    }
    let list = studio.playlist("v").await;
    crate::scene::same(&studio.get(&list.segments[0].0).await.body, &sent.concat(), "as it came");
    // What does not lie in the mdat is refused.
    let channel = studio.channels.get("tv").unwrap();
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&with_a_box_between(&video.chunk(video.sample), 0), &mut events).unwrap();
    let refused = channel.take("v", events.remove(0), Source { push: 1, ..Source::default() }, studio.now).unwrap_err();
    let said = refused.to_string();
    assert!(said.starts_with("samples in the bytes from ") && said.ends_with("(moof/traf at 0x0)"), "{said}");
    run(&mut studio, &mut [&mut video], 8.5, NOW);
    assert_eq!(studio.playlist("v").await.segments.len(), 4);
}

/// What may come again was reckoned by `live.segment`, however long segments were announced to be.
#[tokio::test]
async fn files_of_six_seconds_that_were_sent_again_began_another_timeline() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
    let video = Encoder { gop: 144, ..Encoder::video("v") };
    video.begin(&studio);
    // Files of twelve chunks; a connection breaks, and the last two are sent again, as nobody knows what arrived.
    for (request, file) in (1..).zip([0, 1, 2, 3, 4, 3, 4, 5, 6, 7]) {
        let channel = studio.channels.get("tv").unwrap();
        studio.now = studio.now.max(NOW.after(Duration::from_secs(6) * (file + 1)));
        let source = Source { push: request, named_segments: true, ..Source::default() };
        for chunk in 0..12 {
            let (mut receiver, mut events) = (Receiver::default(), Vec::new());
            receiver.push(&video.chunk(u64::from(file) * 144 + chunk * 12), &mut events).unwrap();
            let source = Source { begins_segment: chunk == 0, ..source };
            channel.take("v", events.remove(0), source, studio.now).unwrap();
        }
        channel.push_ends("v", source, studio.now);
        channel.tick(studio.now);
    }
    let text = studio.text("/tv/v/media.m3u8").await;
    assert!(text.contains("#EXT-X-TARGETDURATION:6\n") && !text.contains("#EXT-X-DISCONTINUITY\n"), "{text}");
    let list = studio.playlist("v").await;
    assert!(list.segments.len() == 8 && list.gaps == 0 && list.segments.iter().all(|own| own.1 == 6.0), "{list:?}");
}
