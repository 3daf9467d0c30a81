//! A machine whose wall clock is set in the middle of a broadcast, and over a restart: what players see goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use headwater::content::live::channel::{Channels, Options};
use headwater::server::clock::{Clock, Readings};
use headwater::time::Utc;

use crate::live::{Encoder, Studio, parsed, quick};
use crate::live_long::lines;
use crate::scene::NOW;

const BEGAN: Readings = Readings { steady_us: 7_000_000_000, wall_us: NOW.0 * 1000 };
const HOUR_S: i64 = 3600;
const STEP_MS: u64 = 100;

/// A player that asks again and again, and what it was told.
#[derive(Default)]
struct Viewer {
    time: Utc,
    msn: u64,
    started: Option<String>,
    /// By URL: when a segment is, and what it holds.
    seen: BTreeMap<String, (u64, Bytes)>,
    /// How far the newest segment's end was ahead of the time, in milliseconds.
    ahead_ms: i64,
}

impl Viewer {
    async fn look(&mut self, studio: &Studio) {
        let time = studio.text("/time").await.parse().unwrap();
        assert!(time >= self.time, "the time ran back from {} to {time}", self.time);
        self.time = time;
        let mpd = studio.text("/tv/manifest.mpd").await;
        let (_, started) = mpd.split_once("availabilityStartTime=\"").unwrap();
        let started = started.split('"').next().unwrap().to_owned();
        assert_eq!(
            *self.started.get_or_insert_with(|| started.clone()),
            started,
            "the broadcast began at another time"
        );
        let path = "/tv/v/media.m3u8";
        let text = studio.text(path).await;
        let (list, lines) = (parsed(path, &text), lines(&text));
        assert!(list.msn >= self.msn, "the playlist stepped back: {text}");
        self.msn = list.msn;
        for ((url, ..), line) in list.segments.iter().zip(&lines) {
            if line.is_gap {
                continue;
            }
            let body = studio.get(url).await;
            assert_eq!(body.status, 200, "{url}");
            let (utc_ms, known) = self.seen.entry(url.clone()).or_insert_with(|| (line.utc_ms, body.body.clone()));
            assert_eq!((*utc_ms, &*known), (line.utc_ms, &body.body), "{url} is another one now");
        }
        let newest = lines.last().unwrap();
        self.ahead_ms = newest.utc_ms as i64 + (newest.seconds * 1000.0) as i64 - time.0 as i64;
    }
}

/// A machine, its clocks, and two encoders whose time is true.
struct Machine {
    readings: Readings,
    clock: Clock,
    studio: Studio,
    encoders: [Encoder; 2],
    viewer: Viewer,
}

fn due_us(encoder: &Encoder) -> u64 {
    let ticks = (encoder.sample + u64::from(encoder.chunk_samples)) * u64::from(encoder.sample_ticks);
    BEGAN.steady_us + ticks * 1_000_000 / u64::from(encoder.timescale)
}

impl Machine {
    fn new(options: Options) -> Machine {
        let encoders = [Encoder::video("v"), Encoder::audio("a")];
        let studio = Studio::of(options, NOW);
        encoders.iter().for_each(|encoder| encoder.begin(&studio));
        Machine { readings: BEGAN, clock: Clock::new(BEGAN), studio, encoders, viewer: Viewer::default() }
    }

    fn set(&mut self, step_s: i64) {
        self.readings.wall_us = self.readings.wall_us.saturating_add_signed(step_s * 1_000_000);
    }

    fn run_clocks(&mut self, ms: u64) {
        self.readings.steady_us += ms * 1000;
        self.readings.wall_us += ms * 1000;
    }

    /// Lets `seconds` pass; the server does what is to do about it, and somebody watches.
    async fn pass(&mut self, seconds: u64, is_watched: bool) {
        for step in 1..=seconds * 1000 / STEP_MS {
            self.run_clocks(STEP_MS);
            self.studio.now = self.clock.at(self.readings.steady_us).live;
            for encoder in &mut self.encoders {
                while due_us(encoder) <= self.readings.steady_us {
                    encoder.next(&self.studio);
                }
            }
            if step % 5 == 0 {
                self.studio.channels.tick(self.studio.now);
                self.clock.steer(self.readings, &self.studio.channels.under_way(self.studio.now));
            }
            if step % 20 == 0 && is_watched {
                self.viewer.look(&self.studio).await;
            }
        }
    }

    /// The server is killed, and begins again after `seconds`; `kept` of how its clock stood.
    fn restart(&mut self, dir: &Path, seconds: u64, kept: Option<i64>) {
        self.run_clocks(seconds * 1000);
        let channels = Channels::read_back(on_disk(dir)).unwrap();
        self.clock = Clock::resumed(self.readings, kept, |now| channels.under_way(now));
        let now = self.clock.at(self.readings.steady_us).live;
        channels.tick(now);
        self.studio = Studio::over(channels, now);
        for encoder in &mut self.encoders {
            encoder.push += 1;
            encoder.begin(&self.studio);
            // Nobody took it.
            while due_us(encoder) <= self.readings.steady_us {
                encoder.sample += u64::from(encoder.chunk_samples);
            }
        }
    }
}

fn on_disk(dir: &Path) -> Options {
    let spool_patience = Duration::from_secs(60);
    Options { dir: Some(dir.to_path_buf()), every: quick(), open: true, spool_patience, ..Options::default() }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_is_not_seen_by_players() {
    for step_s in [1, -1, HOUR_S, -HOUR_S] {
        let mut machine = Machine::new(Options { every: quick(), open: true, ..Options::default() });
        machine.pass(10, false).await;
        machine.pass(10, true).await;
        let before = machine.viewer.ahead_ms;
        machine.set(step_s);
        machine.pass(230, true).await;
        // What is listed stays where the time says that it is, but for the second that the clock is led.
        let led_ms = before - machine.viewer.ahead_ms;
        assert!((led_ms - step_s.signum() * 1000).abs() < 20, "{led_ms} after {step_s} s");
        let figures = machine.studio.origin.channel_figures(machine.studio.now).await;
        assert_eq!((figures[0].state, figures[0].gaps()), ("live", 0));
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_set_while_the_server_is_down_is_not_seen_by_players() {
    for step_s in [0, 1, -1, HOUR_S, -HOUR_S] {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = Machine::new(on_disk(dir.path()));
        machine.pass(10, false).await;
        machine.pass(10, true).await;
        let before = machine.viewer.ahead_ms;
        let kept = machine.clock.ahead_us(machine.readings.steady_us);
        machine.set(step_s);
        machine.restart(dir.path(), 4, Some(kept));
        machine.pass(6, false).await;
        machine.pass(20, true).await;
        let moved_ms = before - machine.viewer.ahead_ms;
        assert!((moved_ms - step_s.signum() * 130).abs() < 20, "{moved_ms} after {step_s} s");
    }
}

#[tokio::test]
async fn a_machine_that_begins_in_the_past_names_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = Machine::new(on_disk(dir.path()));
    machine.pass(10, false).await;
    machine.pass(10, true).await;
    let before = machine.viewer.ahead_ms;
    // Without a clock of its own, it counts from when its system was made.
    machine.set(-HOUR_S * 24 * 365);
    machine.restart(dir.path(), 4, None);
    assert!(machine.studio.now >= machine.viewer.time, "what was announced is not in the future");
    machine.pass(6, false).await;
    machine.pass(10, true).await;
    // It does not know of the four seconds: media is early by as much, and the clock was led back by a little more.
    let early_ms = machine.viewer.ahead_ms - before;
    assert!((3900..=4300).contains(&early_ms), "{early_ms}");
    // Somebody tells it the time.
    machine.set(HOUR_S * 24 * 365);
    machine.pass(100, true).await;
    let early_ms = machine.viewer.ahead_ms - before;
    assert!((3300..=3700).contains(&early_ms), "{early_ms}");
}

#[tokio::test]
async fn when_a_broadcast_has_ended_the_next_begins_by_the_wall_clock() {
    let every = headwater::content::live::window::Options { end_after: Some(Duration::from_secs(5)), ..quick() };
    let mut machine = Machine::new(Options { every, open: true, ..Options::default() });
    machine.pass(10, false).await;
    machine.set(HOUR_S);
    machine.pass(10, true).await;
    assert!(machine.studio.now.0 < machine.readings.wall_us / 1000 - 3_500_000);
    // Nobody pushes any more.
    for encoder in &mut machine.encoders {
        encoder.sample = u64::from(u32::MAX);
    }
    machine.pass(15, false).await;
    assert!(machine.studio.playlist("v").await.ended);
    assert_eq!(machine.studio.now.0, machine.readings.wall_us / 1000);
    for encoder in &mut machine.encoders {
        encoder.sample = 0;
        encoder.push += 1;
        encoder.begin(&machine.studio);
        while due_us(encoder) <= machine.readings.steady_us {
            encoder.sample += u64::from(encoder.chunk_samples);
        }
    }
    machine.pass(10, false).await;
    let text = machine.studio.text("/tv/v/media.m3u8").await;
    let newest = lines(&text).last().copied().unwrap();
    let end_ms = newest.utc_ms + (newest.seconds * 1000.0) as u64;
    assert!(end_ms.abs_diff(machine.readings.wall_us / 1000) < 3000, "{text}");
}
