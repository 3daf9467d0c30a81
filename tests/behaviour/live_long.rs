//! Broadcasts of minutes under a clock of our own: scripted encoders that are late, early, cut anywhere, sent twice or out of order, silent,
//! that come back or begin anew, and a server that is killed; what holds of every state that viewers see is checked at each.
//!
//! A seed is a broadcast: `HEADWATER_SEEDS=1000-1200 cargo test live_long` runs others than the usual ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use headwater::content::live::channel::Options;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::Source;
use headwater::time::Utc;

use crate::live::{Encoder, Playlist, Studio, parsed, quick};
use crate::scene::{NOW, representations};

const SEEDS: std::ops::Range<u64> = 0..16;
const SECONDS: u64 = 150;
const STEP_MS: u64 = 100;

/// splitmix64: the same numbers from the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Once in `count` times.
    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// One track's encoder, with its moods.
struct Pusher {
    encoder: Encoder,
    /// Segments are files of their own.
    sends_files: bool,
    /// Milliseconds after the broadcast's begin at which the next chunk is sent.
    due_ms: u64,
    /// When media of `encoder.sample` 0 was made.
    began_ms: u64,
    /// Its clock runs so many millionths too fast.
    drift: i64,
    receiver: Receiver,
    /// What it sends again when it is not sure.
    sent: Vec<(u64, Vec<u8>)>,
    /// A file that goes out after the one that follows it.
    put_off: Option<Vec<Vec<u8>>>,
    /// The file under way.
    file: Vec<Vec<u8>>,
}

impl Pusher {
    fn new(encoder: Encoder, sends_files: bool, drift: i64) -> Pusher {
        Pusher {
            encoder,
            sends_files,
            due_ms: 0,
            began_ms: 0,
            drift,
            receiver: Receiver::default(),
            sent: Vec::new(),
            put_off: None,
            file: Vec::new(),
        }
    }

    /// When the chunk at `sample` has been made.
    fn made_ms(&self) -> u64 {
        let encoder = &self.encoder;
        let end = encoder.sample + u64::from(encoder.chunk_samples);
        let media_ms = (end * u64::from(encoder.sample_ticks) * 1000 / u64::from(encoder.timescale)) as i64;
        self.began_ms + (media_ms + media_ms * self.drift / 1_000_000) as u64
    }

    /// Sends what is due.
    fn send(&mut self, studio: &Studio, now_ms: u64, dice: &mut Dice) {
        while self.due_ms <= now_ms && self.made_ms() <= now_ms {
            let sample = self.encoder.sample;
            let bytes = self.encoder.chunk(sample);
            self.encoder.sample += u64::from(self.encoder.chunk_samples);
            if self.sends_files {
                if sample % u64::from(self.file_samples()) == 0 && !self.file.is_empty() {
                    let file = std::mem::take(&mut self.file);
                    self.send_file(studio, file, dice);
                }
                self.file.push(bytes);
                continue;
            }
            self.push_bytes(studio, &bytes, dice);
            self.sent.push((sample, bytes));
            if self.sent.len() > 12 {
                self.sent.remove(0);
            }
            if dice.one_in(60) {
                // Not sure what arrived: again, by another push.
                self.reconnect();
                let again = self.sent.len().saturating_sub(1 + dice.below(6) as usize);
                for (_, bytes) in self.sent[again..].to_vec() {
                    self.push_bytes(studio, &bytes, dice);
                }
            }
            if dice.one_in(25) {
                self.due_ms = now_ms + dice.below(2500);
            }
        }
    }

    fn file_samples(&self) -> u32 {
        if self.encoder.gop > 1 { self.encoder.gop } else { self.encoder.chunk_samples * 4 }
    }

    fn send_file(&mut self, studio: &Studio, file: Vec<Vec<u8>>, dice: &mut Dice) {
        if self.put_off.is_none() && dice.one_in(6) {
            self.put_off = Some(file);
            return;
        }
        self.deliver(studio, &file, dice);
        if let Some(late) = self.put_off.take() {
            self.deliver(studio, &late, dice);
        }
    }

    /// Sends a file by a request of its own.
    fn deliver(&mut self, studio: &Studio, file: &[Vec<u8>], dice: &mut Dice) {
        self.reconnect();
        for (index, bytes) in file.iter().enumerate() {
            self.take(studio, bytes, index == 0, dice);
        }
        let source = Source { push: self.encoder.push, begins_segment: false, named_segments: true };
        studio.channels.for_push("tv").unwrap().push_ends(self.encoder.name, source, studio.now);
    }

    fn push_bytes(&mut self, studio: &Studio, bytes: &[u8], dice: &mut Dice) {
        self.take(studio, bytes, false, dice);
    }

    /// Hands over `bytes`, cut anywhere.
    fn take(&mut self, studio: &Studio, bytes: &[u8], begins_segment: bool, dice: &mut Dice) {
        let channel = studio.channels.for_push("tv").unwrap();
        let source = Source { push: self.encoder.push, begins_segment, named_segments: self.sends_files };
        let cut = dice.below(bytes.len() as u64) as usize;
        for piece in [&bytes[..cut], &bytes[cut..]] {
            let mut events = Vec::new();
            self.receiver.push(piece, &mut events).unwrap();
            for event in events {
                let is_init = matches!(event, Event::Init(_));
                let source = Source { begins_segment: begins_segment && !is_init, ..source };
                channel.take(self.encoder.name, event, source, studio.now).unwrap();
            }
        }
    }

    fn reconnect(&mut self) {
        self.encoder.push += 1;
        self.receiver = Receiver::default();
    }

    fn begin(&mut self, studio: &Studio, dice: &mut Dice) {
        let init = self.encoder.init.clone();
        self.take(studio, &init, false, dice);
    }

    /// Another timeline, which begins now.
    fn begin_anew(&mut self, studio: &Studio, now_ms: u64, origin_s: u64, dice: &mut Dice) {
        self.reconnect();
        self.sent.clear();
        (self.file, self.put_off) = (Vec::new(), None);
        self.encoder.origin = origin_s * u64::from(self.encoder.timescale);
        self.encoder.sample = 0;
        (self.began_ms, self.due_ms) = (now_ms, now_ms);
        self.begin(studio, dice);
    }

    /// What is made meanwhile is lost.
    fn miss(&mut self, until_ms: u64) {
        (self.file, self.put_off) = (Vec::new(), None);
        self.sent.clear();
        // Encoders go on with a sync sample.
        while self.made_ms() < until_ms || self.encoder.sample % u64::from(self.file_samples()) != 0 {
            self.encoder.sample += u64::from(self.encoder.chunk_samples);
        }
        self.reconnect();
    }
}

/// What a viewer has seen, which binds whatever comes.
#[derive(Default)]
struct Viewer {
    lists: BTreeMap<&'static str, Playlist>,
    /// By URL: a hash of the body, and when it left its playlist.
    segments: BTreeMap<String, Seen>,
    parts: BTreeMap<String, Vec<u8>>,
    left: Vec<(u64, String)>,
    /// By period and track: the times that were listed, with how long.
    timelines: BTreeMap<(String, String), BTreeMap<u64, u64>>,
    /// By period: its start and its end, if it was said.
    periods: BTreeMap<String, (u64, Option<u64>)>,
    started: Option<String>,
    states: usize,
}

#[derive(Clone)]
struct Seen {
    hash: blake3::Hash,
}

fn media_ms(list: &Playlist) -> u64 {
    list.segments.iter().map(|(_, seconds, _)| (seconds * 1000.0) as u64).sum()
}

impl Viewer {
    async fn look(&mut self, studio: &Studio, tracks: &[&'static str], now_ms: u64) {
        let master = studio.get("/tv/master.m3u8").await;
        if master.status == 503 {
            return;
        }
        assert_eq!(master.status, 200, "{}", master.text());
        self.states += 1;
        let mut hls = BTreeSet::new();
        for &track in tracks {
            let path = format!("/tv/{track}/media.m3u8");
            let answer = studio.get(&path).await;
            if answer.status == 404 {
                // It waits for a period.
                assert!(!self.lists.contains_key(track), "{track} is not there any more");
                continue;
            }
            let text = answer.text();
            let list = parsed(&path, &text);
            self.playlist(studio, track, &list, &text, now_ms).await;
            let gaps = gaps(&text);
            let whole = list.segments.iter().enumerate().filter(|(index, _)| !gaps.contains(index));
            hls.extend(whole.map(|(_, (url, seconds, _))| (url.clone(), (seconds * 1e6).round() as u64)));
            self.lists.insert(track, list);
        }
        self.mpd(studio, &hls).await;
        self.what_left(studio, now_ms).await;
    }

    async fn playlist(&mut self, studio: &Studio, track: &'static str, list: &Playlist, text: &str, now_ms: u64) {
        let gaps = gaps(text);
        if let Some(before) = self.lists.get(track) {
            let end = |list: &Playlist| list.msn + list.segments.len() as u64;
            assert!(list.msn >= before.msn && end(list) >= end(before), "{track} steps back: {before:?} {text}");
            assert_eq!(list.target_s, before.target_s, "{track}");
            for (number, old) in (before.msn..).zip(&before.segments) {
                match number.checked_sub(list.msn) {
                    Some(index) => {
                        let new = &list.segments[index as usize];
                        assert_eq!((&new.0, new.1), (&old.0, old.1), "{track}: segment {number} is another");
                    }
                    None => self.left.push((now_ms, old.0.clone())),
                }
            }
        }
        let longest = list.segments.iter().map(|(_, seconds, _)| seconds.round() as u64).max().unwrap_or(0);
        assert!(longest as f64 <= list.target_s, "{track}: a segment of {longest} s: {text}");
        for (index, (url, seconds, parts)) in list.segments.iter().enumerate() {
            if gaps.contains(&index) {
                assert!(!self.segments.contains_key(url), "{url} was there");
                continue;
            }
            if !self.segments.contains_key(url) {
                let answer = studio.get(url).await;
                assert_eq!(answer.status, 200, "{url}: {}", answer.text());
                let ms = lasts_ms(&answer.body);
                assert!((seconds * 1000.0 - ms).abs() < 150.0, "{url}: listed with {seconds} s, lasts {ms} ms");
                self.segments.insert(url.clone(), Seen { hash: blake3::hash(&answer.body) });
            }
            if !parts.is_empty() {
                let mut joined = Vec::new();
                for (part, _) in parts {
                    joined.extend(self.part(studio, part).await);
                }
                assert!(blake3::hash(&joined) == self.segments[url].hash, "parts are not {url}: {text}");
            }
        }
        for (part, seconds) in &list.open {
            let most = list.part_target_s.expect("parts have a target");
            assert!(*seconds <= most + 1e-6, "{part} lasts {seconds} s, {most} was said");
            self.part(studio, part).await;
        }
    }

    async fn part(&mut self, studio: &Studio, url: &str) -> Vec<u8> {
        if let Some(known) = self.parts.get(url) {
            return known.clone();
        }
        let answer = studio.get(url).await;
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        self.parts.insert(url.to_owned(), answer.body.to_vec());
        answer.body.to_vec()
    }

    async fn mpd(&mut self, studio: &Studio, hls: &BTreeSet<(String, u64)>) {
        let text = studio.text("/tv/manifest.mpd").await;
        let started =
            text.split("availabilityStartTime=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        match (&self.started, &started) {
            (Some(before), Some(now)) => assert_eq!(before, now),
            _ => self.started = self.started.take().or(started),
        }
        for period in text.split("<Period ").skip(1) {
            let attribute = |name: &str| -> Option<String> {
                let head = period.split('>').next().unwrap();
                head.split(&format!("{name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap().to_owned())
            };
            let start = attribute("start").as_deref().map(iso_ms).unwrap();
            let end = attribute("duration").as_deref().map(|duration| start + iso_ms(duration));
            let known = self.periods.entry(attribute("id").unwrap()).or_insert((start, end));
            assert_eq!(known.0, start, "the period {:?} moves", attribute("id"));
            if let (Some(before), Some(end)) = (known.1, end) {
                // Sound that came before the outage may be announced after the pictures that come back.
                assert!(
                    before.abs_diff(end) <= 1000,
                    "the period {:?} ended at {before}, now at {end}",
                    attribute("id")
                );
            }
            known.1 = known.1.or(end);
        }
        let found = representations(&text, "/tv/manifest.mpd");
        let mut dash = BTreeSet::new();
        for representation in &found {
            let known = self.timelines.entry((representation.period.clone(), representation.id.clone())).or_default();
            for segment in &representation.segments {
                let before = *known.entry(segment.time).or_insert(segment.duration);
                assert_eq!(before, segment.duration, "S@t={} of {} is another", segment.time, representation.id);
                let scale = representation.timescale;
                let us = |ticks: u64| (ticks * 1_000_000 + scale / 2) / scale;
                dash.insert((segment.url.clone(), us(segment.time + segment.duration) - us(segment.time)));
            }
        }
        assert_eq!(&dash, hls, "HLS and DASH list the same, with the same lengths");
    }

    /// What was listed stays for its own length and that of the playlist (rfc8216bis §6.2.2).
    async fn what_left(&mut self, studio: &Studio, now_ms: u64) {
        let stays_ms = self.lists.values().map(media_ms).max().unwrap_or(0).min(20_000);
        for (left_ms, url) in &self.left {
            if now_ms < left_ms + stays_ms
                && let Some(seen) = self.segments.get(url)
            {
                let answer = studio.get(url).await;
                assert_eq!(answer.status, 200, "{url} left {} ms ago", now_ms - left_ms);
                assert!(blake3::hash(&answer.body) == seen.hash, "{url} has two contents");
            }
        }
        self.left.retain(|(left_ms, _)| now_ms < left_ms + stays_ms);
    }
}

/// Which segments of a playlist are gaps.
fn gaps(text: &str) -> BTreeSet<usize> {
    let (mut index, mut gaps, mut is_gap) = (0, BTreeSet::new(), false);
    for line in text.lines() {
        is_gap |= line == "#EXT-X-GAP";
        if !line.starts_with('#') {
            if std::mem::take(&mut is_gap) {
                gaps.insert(index);
            }
            index += 1;
        }
    }
    gaps
}

/// `PT1M2.5S` in milliseconds.
fn iso_ms(text: &str) -> u64 {
    let (mut ms, mut number) = (0.0, String::new());
    for c in text.trim_start_matches("PT").chars() {
        let unit = match c {
            'H' => 3_600_000.0,
            'M' => 60_000.0,
            'S' => 1000.0,
            _ => {
                number.push(c);
                continue;
            }
        };
        ms += number.parse::<f64>().unwrap() * unit;
        number.clear();
    }
    ms.round() as u64
}

/// How long the samples of a segment last that an [`Encoder`] made.
fn lasts_ms(body: &[u8]) -> f64 {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(body, &mut events).unwrap();
    assert!(receiver.is_at_rest());
    // An audio chunk has 24 samples of 1024 at 48 kHz, a video chunk 12 of 512 at 12288.
    let chunk = |event: &Event| match event {
        Event::Chunk(raw) if raw.bytes.len() - raw.moof.end == 8 + 24 * 50 => 512.0,
        Event::Chunk(_) => 500.0,
        _ => panic!("no chunk"),
    };
    events.iter().map(chunk).sum()
}

async fn broadcast(seed: u64, dir: &Path) {
    let mut dice = Dice(seed);
    let options = || Options {
        dir: Some(dir.to_path_buf()),
        every: quick(),
        open: true,
        spool_file_bytes: 20_000,
        ..Options::default()
    };
    let mut studio = Studio::of(options(), NOW);
    let sends_files = dice.one_in(3);
    let drift = if dice.one_in(3) { dice.below(400) as i64 - 200 } else { 0 };
    let mut pushers = vec![
        Pusher::new(Encoder::video("v"), sends_files, drift),
        Pusher::new(Encoder::video("w"), sends_files, drift),
        Pusher::new(Encoder::audio("a"), sends_files, drift),
    ];
    pushers.iter_mut().for_each(|pusher| pusher.begin(&studio, &mut dice));
    let mut viewer = Viewer::default();
    let mut quiet_until = 12_000;
    for now_ms in (STEP_MS..=SECONDS * 1000).step_by(STEP_MS as usize) {
        studio.now = Utc(NOW.0 + now_ms);
        for pusher in &mut pushers {
            pusher.send(&studio, now_ms, &mut dice);
        }
        if now_ms > quiet_until && dice.one_in(120) {
            quiet_until = now_ms + 12_000;
            let what = dice.below(4);
            println!(
                "{now_ms} ms: {}",
                ["an outage", "another timeline", "one track's outage", "a kill"][what as usize]
            );
            match what {
                0 => {
                    let until = now_ms + 2_000 + dice.below(6_000);
                    pushers.iter_mut().for_each(|pusher| {
                        pusher.miss(until);
                        pusher.due_ms = until;
                    });
                }
                1 => {
                    // Near the end of 32 bits at times.
                    let origin_s = if dice.one_in(2) { dice.below(1000) } else { (1 << 32) / 48_000 - 20 };
                    pushers.iter_mut().for_each(|pusher| pusher.begin_anew(&studio, now_ms, origin_s, &mut dice));
                }
                2 => {
                    let one = dice.below(3) as usize;
                    let until = now_ms + 2_000 + dice.below(4_000);
                    pushers[one].miss(until);
                    pushers[one].due_ms = until;
                }
                _ => {
                    // Nobody says goodbye.
                    studio = Studio::of(options(), studio.now);
                    pushers.iter_mut().for_each(|pusher| {
                        pusher.reconnect();
                        pusher.begin(&studio, &mut dice);
                    });
                }
            }
        }
        if now_ms % 1000 == 0 {
            studio.channels.tick(studio.now);
        }
        if now_ms % 500 == 0 {
            viewer.look(&studio, &["v", "w", "a"], now_ms).await;
        }
    }
    assert!(viewer.states > 100, "{} states", viewer.states);
    assert!(viewer.segments.len() > 100, "{} segments", viewer.segments.len());
}

#[tokio::test]
async fn what_viewers_are_told_holds_whatever_encoders_do() {
    let seeds = match std::env::var("HEADWATER_SEEDS") {
        Ok(range) => {
            let (from, until) = range.split_once('-').expect("FROM-UNTIL");
            from.parse().unwrap()..until.parse().unwrap()
        }
        Err(_) => SEEDS,
    };
    for seed in seeds {
        let dir = tempfile::tempdir().unwrap();
        let run = std::panic::AssertUnwindSafe(broadcast(seed, dir.path()));
        if let Err(panic) = futures_util::FutureExt::catch_unwind(run).await {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
