//! Two encoders push the same, and one fails: every segment is of one of them, and what viewers were told holds.

use std::sync::Arc;
use std::time::Duration;

use headwater::content::live::channel::Options;
use headwater::content::live::encoders::Figures;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{self, Source};
use headwater::time::Utc;
use http::Method;

use crate::live::{Encoder, Studio, quick};
use crate::scene::{self, NOW};

/// An encoder of one track that is told from others: it marks what it makes.
struct Machine {
    name: &'static str,
    encoder: Encoder,
    /// What comes of a moment comes so much later.
    late_s: f64,
    /// One request a segment, instead of a long one.
    by_segment: bool,
    is_on: bool,
}

impl Machine {
    fn new(name: &'static str, late_s: f64) -> Machine {
        let encoder = Encoder { push: u64::from(name.as_bytes()[0]), ..Encoder::video("v") };
        Machine { name, encoder, late_s, by_segment: false, is_on: true }
    }

    /// Another process of the same machine.
    fn again(&mut self, seconds: f64) {
        self.is_on = true;
        self.encoder.push += 1000;
        self.encoder.sample = (seconds * 24.0) as u64 / 12 * 12;
    }

    fn source(&self, studio: &Studio) -> Source {
        let encoder = studio.channels.for_push("tv").unwrap().encoder(self.name, studio.now);
        let push =
            if self.by_segment { self.encoder.push * 1000 + self.encoder.sample / 48 } else { self.encoder.push };
        let begins_segment = self.by_segment && self.encoder.sample.is_multiple_of(48);
        Source { encoder, push, begins_segment, named_segments: self.by_segment }
    }

    fn push(&self, studio: &Studio, bytes: &[u8]) {
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        receiver.push(bytes, &mut events).unwrap();
        let channel = studio.channels.for_push("tv").unwrap();
        let source = self.source(studio);
        for event in events {
            channel.take("v", event, source, studio.now).unwrap();
        }
    }

    fn begin(&self, studio: &Studio) {
        self.push(studio, &self.encoder.init);
    }

    fn chunk_end(&self) -> f64 {
        self.encoder.seconds() + f64::from(self.encoder.chunk_samples) / 24.0 + self.late_s
    }

    fn next(&mut self, studio: &Studio) {
        let mut bytes = self.encoder.chunk(self.encoder.sample);
        let len = bytes.len();
        bytes[len - self.encoder.chunk_samples as usize * 50..].fill(self.name.as_bytes()[0]);
        self.push(studio, &bytes);
        let source = self.source(studio);
        self.encoder.sample += u64::from(self.encoder.chunk_samples);
        if self.by_segment && self.encoder.sample.is_multiple_of(48) {
            studio.channels.get("tv").unwrap().push_ends("v", source, studio.now);
        }
    }

    /// It is killed: its connection is closed.
    fn dies(&mut self, studio: &Studio) {
        self.is_on = false;
        studio.channels.get("tv").unwrap().push_breaks("v", self.source(studio), studio.now);
    }

    /// Nothing is heard of it any more.
    fn falls_silent(&mut self) {
        self.is_on = false;
    }
}

/// Those that are on push in real time until `seconds` after the begin; every half second something is done about who does not.
fn run(studio: &mut Studio, machines: &mut [&mut Machine], seconds: f64) {
    loop {
        let on = machines.iter_mut().filter(|machine| machine.is_on);
        let next = on.min_by(|a, b| a.chunk_end().total_cmp(&b.chunk_end())).filter(|next| next.chunk_end() <= seconds);
        let until = NOW.after(Duration::from_secs_f64(next.as_ref().map_or(seconds, |next| next.chunk_end())));
        while studio.now.0 / 500 < until.0 / 500 {
            studio.now = Utc((studio.now.0 / 500 + 1) * 500);
            studio.channels.tick(studio.now);
        }
        studio.now = studio.now.max(until);
        match next {
            Some(next) => next.next(studio),
            None => break,
        }
    }
}

/// What is listed of the track: from when until when, in seconds, and whose it is; `-` if it is missing.
fn listed(studio: &Studio) -> Vec<String> {
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    let tracks: Vec<_> = broadcast.tracks_called("v").map(|(_, track)| track.clone()).collect();
    let seconds = |ticks: i64| ticks as f64 / 12_288.0;
    let each = tracks.iter().flat_map(|track| track.listed()).map(|segment| {
        let mut whose: Vec<u8> = segment.body().map(|body| marks(&body.to_vec())).unwrap_or_else(|| b"-".to_vec());
        whose.dedup();
        let whose = String::from_utf8(whose).unwrap();
        format!("{}-{} {whose}", seconds(segment.time), seconds(segment.end()))
    });
    each.collect()
}

/// Whose each chunk of `body` is.
fn marks(body: &[u8]) -> Vec<u8> {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(body, &mut events).unwrap();
    let chunks = events.iter().filter_map(|event| match event {
        Event::Chunk(chunk) => chunk.bytes.last().copied(),
        _ => None,
    });
    chunks.collect()
}

/// What is listed is there, and parts are what their segment is.
async fn holds(studio: &Studio) {
    let text = studio.text("/tv/v/media.m3u8").await;
    let gaps: Vec<bool> = text
        .lines()
        .scan(false, |is_gap, line| {
            *is_gap |= line == "#EXT-X-GAP";
            Some((line.ends_with(".m4s") && !line.starts_with('#')).then(|| std::mem::take(is_gap)))
        })
        .flatten()
        .collect();
    let list = studio.playlist("v").await;
    assert_eq!(gaps.len(), list.segments.len());
    for ((url, _, parts), is_gap) in list.segments.iter().zip(gaps) {
        let whole = studio.get(url).await;
        assert_eq!(whole.status, if is_gap { 404 } else { 200 }, "{url}");
        let mut joined = Vec::new();
        for (part, _) in parts {
            joined.extend_from_slice(&studio.get(part).await.body);
        }
        assert!(parts.is_empty() || joined == whole.body, "{url}");
    }
    for (part, _) in &list.open {
        assert_eq!(studio.get(part).await.status, 200, "{part}");
    }
    for segment in studio.dash().await.iter().flat_map(|r| &r.segments) {
        assert_eq!(studio.get(&segment.url).await.status, 200, "{segment:?}");
    }
}

/// Chunks are too long for parts.
fn without_parts() -> window::Options {
    window::Options { part_target: Duration::from_millis(300), ..quick() }
}

fn figures(studio: &Studio) -> Vec<Figures> {
    studio.channels.get("tv").unwrap().encoders(studio.now).0
}

#[tokio::test]
async fn who_dies_in_a_segment_that_players_have_parts_of_leaves_it_as_it_is() {
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    assert_eq!(studio.playlist("v").await.open.len(), 1);
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 14.7);
    assert_eq!(listed(&studio), ["0-2 a", "2-4 a", "4-6 a", "6-8 a", "8-9 a", "9-10 -", "10-12 b", "12-14 b"]);
    assert!(!studio.text("/tv/v/media.m3u8").await.contains("#EXT-X-DISCONTINUITY\n"));
    holds(&studio).await;
    let [a, b] = &figures(&studio)[..] else { panic!("two of them") };
    let tracks = ["v".to_owned()];
    assert_eq!((a.name.as_str(), a.is_alive, a.segments, &a.standby[..]), ("a", false, 5, &tracks[..]));
    assert_eq!((b.name.as_str(), b.is_alive, b.segments, &b.active[..]), ("b", true, 3, &tracks[..]));
}

#[tokio::test]
async fn who_dies_in_a_segment_that_nobody_was_told_of_is_replaced_in_all_of_it() {
    let mut studio = Studio::with(without_parts());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    assert_eq!(studio.playlist("v").await.part_target_s, None);
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 12.7);
    assert_eq!(listed(&studio), ["0-2 a", "2-4 a", "4-6 a", "6-8 a", "8-10 b", "10-12 b"]);
    holds(&studio).await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_segment_that_nobody_was_told_of_gets_one_encoder_s() {
    let mut studio = Studio::with(without_parts());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    // By its time, since segments are as long as one another.
    let listed = studio.playlist("v").await.segments;
    let (folder, last) = listed.last().unwrap().0.rsplit_once('/').unwrap();
    let time: i64 = last.trim_end_matches(".m4s").parse().unwrap();
    let part = format!("{folder}/{}.part.m4s", time + 2 * 12_288);
    assert_eq!(studio.get(&part).await.status, 404, "nor of its parts");
    let (origin, now, path) = (Arc::clone(&studio.origin), studio.now, format!("{folder}/{}.m4s", time + 2 * 12_288));
    let asked = tokio::spawn(async move { scene::ask(&origin, now, Method::GET, &path, &[]).await });
    let channel = studio.channels.get("tv").unwrap();
    while channel.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    // What is sent at once is sent.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 12.7);
    let answer = asked.await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(String::from_utf8(marks(&answer.body)).unwrap(), "bbbb");
}

#[tokio::test]
async fn who_dies_between_segments_is_not_missed() {
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.2));
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 8.1);
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 12.7);
    assert_eq!(listed(&studio), ["0-2 a", "2-4 a", "4-6 a", "6-8 a", "8-10 b", "10-12 b"]);
    // Back again it stands by.
    a.again(12.5);
    a.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 16.7);
    assert_eq!(listed(&studio)[5..], ["10-12 b", "12-14 b", "14-16 b"]);
    b.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 20.7);
    assert_eq!(listed(&studio)[7..], ["14-16 b", "16-18 a", "18-20 a"]);
    holds(&studio).await;
}

#[tokio::test]
async fn who_is_silent_is_waited_for_a_segment_and_a_half() {
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    a.falls_silent();
    run(&mut studio, &mut [&mut a, &mut b], 11.9);
    assert_eq!(listed(&studio), ["0-2 a", "2-4 a", "4-6 a", "6-8 a"]);
    run(&mut studio, &mut [&mut a, &mut b], 12.7);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-9 a", "9-10 -", "10-12 b"]);
    holds(&studio).await;
    // Both: there is nobody to go on, until one is.
    b.falls_silent();
    run(&mut studio, &mut [&mut a, &mut b], 20.0);
    assert_eq!(listed(&studio).last().unwrap(), "10-12 b");
    a.again(20.0);
    a.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 24.1);
    assert_eq!(
        listed(&studio)[6..],
        ["12-12.5 b", "12.5-14.5 -", "14.5-16.5 -", "16.5-18.25 -", "18.25-20 -", "20-22 a"]
    );
    holds(&studio).await;
}

#[tokio::test]
async fn who_comes_late_takes_over_with_its_first_whole_segment() {
    let mut studio = Studio::with(without_parts());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    a.begin(&studio);
    run(&mut studio, &mut [&mut a], 8.7);
    b.again(8.5);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 14.7);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-9 a", "9-10 -", "10-12 b", "12-14 b"]);
    holds(&studio).await;
}

#[tokio::test]
async fn who_is_a_segment_behind_takes_over_with_the_next() {
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 2.1));
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 14.7);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-9 a", "9-10 -", "10-12 b"]);
    // And one that is ahead.
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 2.1), Machine::new("b", 0.0));
    a.begin(&studio);
    run(&mut studio, &mut [&mut a], 7.0);
    b.again(7.0);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 11.2);
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 12.6);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-9 a", "9-10 -", "10-12 b"]);
    holds(&studio).await;
}

/// The same in another language: another initialization segment.
pub(crate) fn in_german(init: &[u8]) -> Vec<u8> {
    let mut init = init.to_vec();
    let at = init.windows(4).position(|four| four == b"mdhd").unwrap() + 24;
    init[at..at + 2].copy_from_slice(&0x10b5_u16.to_be_bytes());
    init
}

#[tokio::test]
async fn who_has_another_initialization_segment_takes_over_with_a_discontinuity() {
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    b.encoder.init = in_german(&a.encoder.init);
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    let text = studio.text("/tv/v/media.m3u8").await;
    assert_eq!(text.matches("#EXT-X-MAP").count(), 1, "{text}");
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 18.7);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-9 a", "10-12 b", "12-14 b", "14-16 b", "16-18 b"]);
    let text = studio.text("/tv/v/media.m3u8").await;
    assert_eq!((text.matches("#EXT-X-MAP").count(), text.matches("#EXT-X-DISCONTINUITY\n").count()), (2, 1), "{text}");
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(
        mpd.matches("<Period ").count() == 2 && mpd.contains("start=\"PT10S\"") && mpd.contains("lang=\"de\""),
        "{mpd}"
    );
    holds(&studio).await;
}

#[tokio::test]
async fn who_sends_a_request_a_segment_is_taken_when_that_is_whole() {
    let mut studio = Studio::with(without_parts());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    for machine in [&mut a, &mut b] {
        machine.by_segment = true;
        machine.begin(&studio);
    }
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 14.7);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-10 b", "10-12 b", "12-14 b"]);
    holds(&studio).await;
    // One request does not come, and nobody waits for more than what is late.
    a.again(14.0);
    run(&mut studio, &mut [&mut a, &mut b], 16.3);
    b.encoder.sample += 48;
    run(&mut studio, &mut [&mut a, &mut b], 24.3);
    assert_eq!(listed(&studio)[6..8], ["14-16 b", "16-18 a"]);
    assert!(listed(&studio).iter().all(|segment| !segment.ends_with('-')), "{:?}", listed(&studio));
}

#[tokio::test]
async fn what_is_sent_again_is_not_another_encoder() {
    let mut studio = Studio::with(quick());
    let mut a = Machine::new("a", 0.0);
    a.begin(&studio);
    run(&mut studio, &mut [&mut a], 8.1);
    a.again(6.0);
    a.begin(&studio);
    run(&mut studio, &mut [&mut a], 12.1);
    assert_eq!(listed(&studio), ["0-2 a", "2-4 a", "4-6 a", "6-8 a", "8-10 a"]);
    assert_eq!(figures(&studio).len(), 1);
    assert_eq!(studio.channels.get("tv").unwrap().encoders(studio.now).1, 0, "nobody took over");
}

#[tokio::test]
async fn the_end_of_one_is_not_the_end_of_the_channel() {
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 8.2);
    let end = |machine: &mut Machine, studio: &Studio| {
        machine.is_on = false;
        let channel = studio.channels.get("tv").unwrap();
        channel.take("v", Event::End, machine.source(studio), studio.now).unwrap();
    };
    end(&mut a, &studio);
    run(&mut studio, &mut [&mut a, &mut b], 13.0);
    assert!(!studio.playlist("v").await.ended);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-10 b", "10-12 b"]);
    end(&mut b, &studio);
    assert!(studio.playlist("v").await.ended);
    assert_eq!(listed(&studio)[5..], ["10-12 b", "12-12.5 b"]);
}

#[tokio::test]
async fn a_restart_knows_whose_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let options = |every| Options { dir: Some(dir.path().to_path_buf()), every, open: true, ..Options::default() };
    let mut studio = Studio::of(options(without_parts()), NOW);
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    b.encoder.init = in_german(&a.encoder.init);
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    let before = studio.playlist("v").await;
    drop(studio);
    // Both come back in the middle of the segment, the other one first, and neither says again what it pushes.
    let mut studio = Studio::of(options(without_parts()), NOW.after(Duration::from_secs_f64(9.4)));
    assert_eq!(studio.playlist("v").await, before);
    run(&mut studio, &mut [&mut b, &mut a], 12.6);
    assert_eq!(listed(&studio)[3..], ["6-8 a", "8-10 a", "10-12 a"]);
    a.dies(&studio);
    run(&mut studio, &mut [&mut b, &mut a], 20.7);
    let before = studio.playlist("v").await;
    assert_eq!(listed(&studio)[5..], ["10-12 a", "12-14 b", "14-16 b", "16-18 b", "18-20 b"]);
    assert_eq!(studio.text("/tv/v/media.m3u8").await.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
    let studio = Studio::of(options(without_parts()), studio.now);
    assert_eq!(studio.playlist("v").await, before);
    holds(&studio).await;
}

#[tokio::test]
async fn a_channel_of_the_epoch_keeps_its_numbers() {
    let mut studio = Studio::with(window::Options { cadence: Some("2s".parse().unwrap()), ..quick() });
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.1));
    let origin = NOW.0 / 1000 * 12_288;
    for machine in [&mut a, &mut b] {
        machine.encoder.origin = origin;
        machine.begin(&studio);
    }
    run(&mut studio, &mut [&mut a, &mut b], 9.3);
    let promised = studio.dash().await.last().unwrap().segments.last().unwrap().clone();
    a.dies(&studio);
    run(&mut studio, &mut [&mut a, &mut b], 14.7);
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    assert_eq!(broadcast.periods.len(), 1);
    let all: Vec<(u64, i64, bool)> = (broadcast.periods[0].tracks[0].listed())
        .map(|segment| (segment.number, segment.time - origin as i64, segment.is_gap))
        .collect();
    let first = NOW.0 / 2000;
    let expected = (0..7).map(|n| (first + n, n as i64 * 24_576, false));
    assert_eq!(all, expected.collect::<Vec<_>>(), "the fifth is what came of it");
    let promised_file = promised.url.strip_prefix("/tv/v/").unwrap().to_owned();
    // HLS has its number for all of it, and says that the rest is missing.
    let text = studio.text("/tv/v/media.m3u8").await;
    assert_eq!(text.matches("#EXT-X-PROGRAM-DATE-TIME:").count(), 2, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let gap = lines.iter().position(|line| *line == "#EXT-X-GAP").unwrap();
    assert!(
        lines[gap - 1].starts_with("#EXT-X-PART:DURATION=1.000000,") && lines[gap - 1].ends_with(",GAP=YES"),
        "{text}"
    );
    assert_eq!((lines[gap + 1], lines[gap + 2]), ("#EXTINF:2.000000,", promised_file.as_str()), "{text}");
    // In DASH it is what it was announced as, and the next Period begins where the other encoder does.
    let found = studio.dash().await;
    let same = found.iter().flat_map(|r| &r.segments).find(|segment| segment.url == promised.url).unwrap();
    assert_eq!(same.duration, promised.duration);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(marks(&studio.get(&promised.url).await.body).iter().all(|mark| *mark == b'a'));
}

/// Numbers that are as good as any, and the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[tokio::test]
async fn whatever_happens_to_them_no_segment_is_of_two_and_no_name_has_two_contents() {
    for seed in (0..8).chain([42]) {
        let mut dice = Dice(seed);
        let cadence = (seed % 3 == 0).then(|| "2s".parse().unwrap());
        let every = if seed % 2 == 0 { quick() } else { without_parts() };
        let dir = tempfile::tempdir().unwrap();
        let options = || {
            let every = window::Options { cadence, ..every.clone() };
            Options { dir: Some(dir.path().to_path_buf()), every, open: true, ..Options::default() }
        };
        let mut studio = Studio::of(options(), NOW);
        let mut machines = [Machine::new("a", 0.0), Machine::new("b", 0.1 * dice.throw(30) as f64)];
        if seed % 6 == 0 {
            machines[1].encoder.init = in_german(&machines[0].encoder.init);
        }
        for machine in &mut machines {
            machine.encoder.origin = if seed % 3 == 0 { NOW.0 / 1000 * 12_288 } else { 0 };
            machine.by_segment = seed % 4 == 1;
            machine.begin(&studio);
        }
        let (mut known, mut last_msn) = (std::collections::BTreeMap::<String, Vec<u8>>::new(), 0);
        for step in 1..=100 {
            let seconds = f64::from(step) * 0.7;
            let [a, b] = &mut machines;
            run(&mut studio, &mut [a, b], seconds);
            let machine = &mut machines[dice.throw(2) as usize];
            match (dice.throw(12), machine.is_on) {
                (0, true) => machine.dies(&studio),
                (1, true) => machine.falls_silent(),
                (2, true) => machine.encoder.sample += 12 * dice.throw(6),
                (3..=6, false) => {
                    machine.again((seconds - machine.late_s).max(0.0));
                    machine.begin(&studio);
                }
                (11, _) => studio = Studio::of(options(), studio.now),
                _ => {}
            }
            let broadcast = studio.channels.get("tv").unwrap().broadcast();
            let now = studio.get("/tv/v/media.m3u8").await;
            if broadcast.periods.is_empty() || now.status == 503 {
                continue;
            }
            let list = studio.playlist("v").await;
            assert!(list.msn >= last_msn, "seed {seed}, step {step}: {list:?}");
            last_msn = list.msn;
            for (url, length, _) in &list.segments {
                assert!(
                    length.round() <= list.target_s,
                    "seed {seed}, step {step}: {url} of {length} s: {:?}",
                    listed(&studio)
                );
                let answer = studio.get(url).await;
                if answer.status == 404 {
                    continue;
                }
                assert_eq!(answer.status, 200, "seed {seed}, step {step}: {url}");
                let mut whose = marks(&answer.body);
                whose.dedup();
                assert_eq!(whose.len(), 1, "seed {seed}, step {step}: {url}");
                let before = known.entry(url.clone()).or_insert_with(|| answer.body.to_vec());
                assert!(*before == answer.body, "seed {seed}, step {step}: {url} has two contents");
            }
            let parts = list.open.iter().chain(list.segments.iter().flat_map(|(_, _, parts)| parts));
            for (part, _) in parts {
                let answer = studio.get(part).await;
                assert!(answer.status == 200 || answer.status == 404, "seed {seed}, step {step}: {part}");
                let before = known.entry(part.clone()).or_insert_with(|| answer.body.to_vec());
                assert!(
                    answer.status == 404 || *before == answer.body,
                    "seed {seed}, step {step}: {part} has two contents"
                );
            }
            let tracks: Vec<_> = broadcast.tracks_called("v").map(|(_, track)| track.clone()).collect();
            for track in tracks {
                let segments: Vec<_> = track.listed().collect();
                assert!(
                    segments
                        .windows(2)
                        .all(|pair| pair[0].number + 1 == pair[1].number && pair[0].end() <= pair[1].time)
                );
            }
        }
        assert!(
            known.len() > 10,
            "seed {seed}: hardly anything was broadcast: {:?} {:?}",
            listed(&studio),
            figures(&studio)
        );
    }
}

#[tokio::test]
async fn who_stood_by_before_anything_was_announced_took_over_with_chunks_longer_than_that() {
    let mut studio = Studio::with(quick());
    let (mut a, mut b) = (Machine::new("a", 0.0), Machine::new("b", 0.0));
    b.encoder = Encoder { chunk_samples: 120, gop: 120, ..b.encoder };
    a.begin(&studio);
    b.begin(&studio);
    run(&mut studio, &mut [&mut a], 0.7);
    // At once what it has of ten seconds, while it is not known how long segments are.
    b.next(&studio);
    b.next(&studio);
    run(&mut studio, &mut [&mut a], 4.9);
    assert_eq!(studio.playlist("v").await.target_s, 2.0);
    // Later ones it is told of.
    let refusal = b.encoder.chunk(b.encoder.sample);
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&refusal, &mut events).unwrap();
    let refusal = studio.channels.get("tv").unwrap().take("v", events.remove(0), b.source(&studio), studio.now);
    assert!(refusal.unwrap_err().to_string().contains("a chunk of 5.000 s"));
    a.dies(&studio);
    run(&mut studio, &mut [], 6.0);
    let (encoders, takeovers) = studio.channels.get("tv").unwrap().encoders(studio.now);
    assert_eq!((&encoders[0].active[..], &encoders[1].active[..], takeovers), (&["v".to_owned()][..], &[][..], 0));
    a.again(6.0);
    a.begin(&studio);
    run(&mut studio, &mut [&mut a], 10.6);
    assert_eq!(listed(&studio), ["0-2 a", "2-4 a", "4-4.5 a", "4.5-6 -", "6-8 a", "8-10 a"]);
    holds(&studio).await;
}
