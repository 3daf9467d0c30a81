//! The same media, however its requests are cut: segments are the same.

use std::time::Duration;

use headwater::content::live::receiver::Receiver;
use headwater::content::live::window::{self, Source};

use crate::live::{Encoder, Studio, quick};
use crate::scene::NOW;

/// How an encoder sends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Way {
    /// One request for all of it.
    Long,
    /// One a segment of its own, to the path of a track.
    Segment,
    /// One a chunk, likewise.
    Chunk,
    /// Files of segments.
    File,
}

pub(crate) const WAYS: [Way; 4] = [Way::Long, Way::Segment, Way::Chunk, Way::File];

/// An encoder, its requests, and how long its own segments are.
pub(crate) struct Sender {
    pub(crate) encoder: Encoder,
    pub(crate) way: Way,
    pub(crate) segment_s: f64,
    /// Its request before.
    pub(crate) before: u64,
    /// What it is called, if it is told from others.
    pub(crate) machine: Option<&'static str>,
    /// The segment that it says is the last begins with this sample.
    pub(crate) last: Option<u64>,
}

impl Sender {
    fn segment_of(&self, sample: u64) -> u64 {
        (sample as f64 * f64::from(self.encoder.sample_ticks) / f64::from(self.encoder.timescale) / self.segment_s)
            as u64
    }

    /// Which request the chunk that begins with `sample` is of.
    fn push_of(&self, sample: u64) -> u64 {
        match self.way {
            Way::Long => self.encoder.push,
            Way::Chunk => 1 + sample,
            Way::Segment | Way::File => 1 + self.segment_of(sample),
        }
    }

    pub(crate) fn end(&self) -> f64 {
        let encoder = &self.encoder;
        encoder.seconds() + f64::from(encoder.chunk_samples * encoder.sample_ticks) / f64::from(encoder.timescale)
    }

    /// Sends the next chunk, and ends the request if it is over.
    pub(crate) fn next(&mut self, studio: &Studio) {
        let encoder = &mut self.encoder;
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        if self.last == Some(encoder.sample) {
            receiver.push(b"\0\0\0\x18stypmsdh\0\0\0\0msdhlmsg", &mut events).unwrap();
        }
        receiver.push(&encoder.chunk(encoder.sample), &mut events).unwrap();
        let (name, own) = (encoder.name, encoder.sample);
        encoder.sample += u64::from(encoder.chunk_samples);
        let push = self.push_of(own);
        let (begins, ends) = (push != self.before, push != self.push_of(self.encoder.sample));
        self.before = push;
        let channel = studio.channels.for_push("tv").unwrap();
        let encoder = self.machine.map_or(0, |machine| channel.encoder(machine, studio.now));
        let source = Source { encoder, push, named_segments: self.way == Way::File, ..Source::default() };
        channel.take(name, events.remove(0), Source { begins_segment: begins, ..source }, studio.now).unwrap();
        if ends {
            channel.push_ends(name, source, studio.now);
        }
    }
}

pub(crate) fn run(studio: &mut Studio, senders: &mut [Sender], seconds: f64) {
    loop {
        let next = senders.iter_mut().min_by(|a, b| a.end().total_cmp(&b.end())).unwrap();
        if next.end() > seconds {
            break;
        }
        studio.now = studio.now.max(NOW.after(Duration::from_secs_f64(next.end())));
        next.next(studio);
    }
    studio.channels.tick(studio.now);
}

/// Number, time, length, whether it begins with a sync sample, and whether it is missing.
pub(crate) type Listed = Vec<(u64, i64, i64, bool, bool)>;

/// What is listed of `track`.
pub(crate) fn listed(studio: &Studio, track: &str) -> Listed {
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    assert!(broadcast.periods.len() <= 1 && broadcast.periods.iter().all(|period| period.cuts.is_empty()));
    let tracks: Vec<_> = broadcast.tracks_called(track).map(|(_, track)| track.clone()).collect();
    let segments = tracks.iter().flat_map(|track| track.listed());
    segments.map(|own| (own.number, own.time, own.duration, own.starts_with_sync, own.is_gap)).collect()
}

/// What is listed of pictures and of sound after `seconds`, sent in each way.
fn sent_in_each_way(
    every: &window::Options,
    [video, audio]: [fn() -> Encoder; 2],
    segment_s: f64,
    seconds: f64,
) -> Vec<[Listed; 2]> {
    let each = WAYS.into_iter().map(|way| {
        let mut studio = Studio::with(every.clone());
        let mut senders =
            [video(), audio()].map(|encoder| Sender { encoder, way, segment_s, before: 0, machine: None, last: None });
        senders.iter().for_each(|sender| sender.encoder.begin(&studio));
        run(&mut studio, &mut senders, seconds);
        ["v", "a"].map(|track| listed(&studio, track))
    });
    each.collect()
}

/// Whether they are cut in one way: of one the last may not be known to be whole.
#[track_caller]
fn same(one: &[Listed; 2], other: &[Listed; 2], what: &str) {
    for (one, other) in one.iter().zip(other) {
        assert!(
            one.len().abs_diff(other.len()) <= 1 && one.iter().zip(other).all(|(a, b)| a == b),
            "{what}: {one:?} {other:?}"
        );
    }
}

fn of_epoch(encoder: Encoder) -> Encoder {
    let origin = NOW.0 / 1000 * u64::from(encoder.timescale);
    Encoder { origin, ..encoder }
}

#[tokio::test]
async fn however_requests_are_cut_segments_are_the_same() {
    // Chunks of 0.5 s, of 0.25 s and of a second, in GOPs of two seconds.
    let shapes: [[fn() -> Encoder; 2]; 3] = [
        [|| Encoder::video("v"), || Encoder::audio("a")],
        [
            || Encoder { chunk_samples: 6, ..Encoder::video("v") },
            || Encoder { chunk_samples: 10, ..Encoder::audio("a") },
        ],
        [
            || Encoder { chunk_samples: 24, ..Encoder::video("v") },
            || Encoder { chunk_samples: 46, ..Encoder::audio("a") },
        ],
    ];
    for (index, shape) in shapes.into_iter().enumerate() {
        let found = sent_in_each_way(&quick(), shape, 2.0, 13.2);
        for (way, other) in WAYS.iter().zip(&found) {
            same(other, &found[0], &format!("{way:?} of shape {index}"));
        }
        let [video, audio] = &found[0];
        let times: Vec<(i64, i64)> = video.iter().map(|own| (own.1, own.2)).collect();
        assert_eq!(times, (0..6).map(|n| (n * 24_576, 24_576)).collect::<Vec<_>>());
        assert!(video.iter().chain(audio).all(|own| own.3 && !own.4) && audio.len() >= 5, "{found:?}");
    }
}

#[tokio::test]
async fn however_requests_are_cut_a_cadence_is_kept() {
    let every = window::Options { cadence: Some("2s".parse().unwrap()), ..quick() };
    let shapes: [[fn() -> Encoder; 2]; 2] = [
        [|| Encoder::video("v"), || Encoder::video("a")],
        [|| of_epoch(Encoder::video("v")), || of_epoch(Encoder { chunk_samples: 6, ..Encoder::video("a") })],
    ];
    for (index, shape) in shapes.into_iter().enumerate() {
        let found = sent_in_each_way(&every, shape, 2.0, 20.6);
        for (way, other) in WAYS.iter().zip(&found) {
            same(other, &found[0], &format!("{way:?} of shape {index}"));
            let [video, _] = other;
            assert!(
                video.len() == 10 && video.iter().all(|own| own.2 == 24_576 && own.3 && !own.4),
                "{way:?}: {video:?}"
            );
        }
    }
}

#[tokio::test]
async fn sound_that_is_sent_a_chunk_a_request_keeps_a_cadence() {
    let every = window::Options { cadence: Some("2s".parse().unwrap()), ..quick() };
    let sent = |way| {
        let mut studio = Studio::with(every.clone());
        let encoders = [of_epoch(Encoder::video("v")), of_epoch(Encoder::audio("a"))];
        let mut senders =
            encoders.map(|encoder| Sender { encoder, way, segment_s: 2.0, before: 0, machine: None, last: None });
        senders.iter().for_each(|sender| sender.encoder.begin(&studio));
        run(&mut studio, &mut senders, 20.6);
        ["v", "a"].map(|track| listed(&studio, track))
    };
    let found = sent(Way::Chunk);
    same(&found, &sent(Way::Long), "a request a chunk");
    assert!(found.iter().flatten().all(|own| own.3 && !own.4) && found[1].len() == 10, "{found:?}");
}

#[tokio::test]
async fn chunks_that_are_as_long_as_segments_are_to_be_end_none() {
    // A GOP of two seconds, a chunk and a request a second, and segments of a second are wanted.
    let every = window::Options { target: Duration::from_secs(1), ..quick() };
    let shape: [fn() -> Encoder; 2] = [|| Encoder { chunk_samples: 24, ..Encoder::video("v") }, || Encoder::audio("a")];
    let found = sent_in_each_way(&every, shape, 2.0, 12.6);
    for (way, found) in WAYS.iter().zip(&found).take(3) {
        let [video, audio] = found;
        assert!(video.iter().all(|own| own.2 == 24_576 && own.3), "{way:?}: {video:?}");
        assert!(audio.iter().all(|own| own.2 < 2 * 48_000), "{way:?}: {audio:?}");
    }
    same(&found[2], &found[0], "a request a chunk");
}

#[tokio::test]
async fn a_segment_that_a_request_holds_is_not_waited_for_until_the_next_comes() {
    let shape = || Encoder { chunk_samples: 48, ..Encoder::video("v") };
    let ends = |way| {
        let mut studio = Studio::with(quick());
        let mut sender = [Sender { encoder: shape(), way, segment_s: 2.0, before: 0, machine: None, last: None }];
        sender[0].encoder.begin(&studio);
        run(&mut studio, &mut sender, 10.0);
        listed(&studio, "v").len()
    };
    // It can't be known of chunks, and of requests when as many were alike.
    assert_eq!(WAYS.map(ends), [4, 5, 5, 5]);
}

#[tokio::test]
async fn a_request_that_ends_within_a_segment_ends_none() {
    let mut studio = Studio::with(quick());
    let mut sender =
        [Sender { encoder: Encoder::video("v"), way: Way::Long, segment_s: 2.0, before: 0, machine: None, last: None }];
    sender[0].encoder.begin(&studio);
    run(&mut studio, &mut sender, 9.6);
    // The encoder's connection is closed for a reason of its own, after three quarters of a segment, and it goes on by another one.
    let channel = studio.channels.get("tv").unwrap();
    channel.push_ends("v", Source { push: 1, ..Source::default() }, studio.now);
    sender[0].encoder.push = 2;
    run(&mut studio, &mut sender, 14.6);
    let found = listed(&studio, "v");
    assert!(found.len() == 7 && found.iter().all(|own| own.2 == 24_576 && own.3), "{found:?}");
}

/// What they had beyond the cadence was listed again, as missing, at times that there were already.
#[tokio::test]
async fn files_of_sound_that_are_longer_than_the_cadence_are_cut_to_it() {
    let mut studio = Studio::with(window::Options { cadence: Some("2s".parse().unwrap()), ..quick() });
    // Chunks of half a second: every file begins where a segment does.
    let encoder = of_epoch(Encoder { sample_ticks: 1000, ..Encoder::audio("a") });
    let mut sender = [Sender { encoder, way: Way::File, segment_s: 6.0, before: 0, machine: None, last: None }];
    sender[0].encoder.begin(&studio);
    run(&mut studio, &mut sender, 20.6);
    let found = listed(&studio, "a");
    assert!(found.len() >= 8 && found.iter().all(|own| !own.4), "{found:?}");
    for pair in found.windows(2) {
        assert_eq!((pair[0].0 + 1, pair[0].1 + pair[0].2), (pair[1].0, pair[1].1), "{found:?}");
    }
}
