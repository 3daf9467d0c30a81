//! The clock: what is live goes by a steady one, which never jumps while something is under way, and is led to the wall clock; what is
//! told by the wall clock elsewhere goes by that (docs/adr/0017-clock.md).
//!
//! ```text
//!   CLOCK_BOOTTIME -- course ---- live: arrival, ticks, waits, time shift, /time, leases
//!                       |  \----- wall: tokens, Date, the log, times of files
//!   wall clock -- steer, twice a second
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustix::time::{ClockId, clock_gettime};

use crate::content::live::under_way::UnderWay;
use crate::time::Utc;

/// The clock is led by one part of so many: 5 ms a second. Players are asked to hurry by eight times as much, and one that asks for the time
/// every half minute finds it 150 ms from where it thought, at most.
const LED_BY_PARTS: u64 = 200;
/// It is led no further than media is from when it was announced to be, in milliseconds: a player keeps more than that between itself and the
/// newest media, so it never asks for what is not there.
const APART_MS_MAX: i64 = 1000;
/// Less is how far apart two clocks are read, in microseconds.
const NOTICED_US: u64 = 2_000;
/// A difference of so much is said, in microseconds: none comes of a clock that is kept by NTP.
pub const SAID_FROM_US: u64 = 1_000_000;
/// Attempts to read both clocks at once.
const READINGS: usize = 3;

/// Both clocks of the machine, read at once, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Readings {
    /// Since the machine began, suspended or not.
    pub steady_us: u64,
    /// Since 1970, as somebody set it.
    pub wall_us: u64,
}

impl Readings {
    /// Of this machine, now.
    pub fn take() -> Readings {
        let attempts = (0..READINGS).map(|_| {
            let (before, wall_us, after) = (steady_us(), wall_us(), steady_us());
            let width = after.saturating_sub(before);
            (width, Readings { steady_us: before + width / 2, wall_us })
        });
        // Who is put aside between them has read them apart.
        let closest = attempts.min_by_key(|(width, _)| *width);
        closest.map_or(Readings { steady_us: steady_us(), wall_us: wall_us() }, |(_, readings)| readings)
    }
}

/// The time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// By the clock of what is live.
    pub live: Utc,
    /// By the wall clock.
    pub wall: Utc,
}

/// How times follow from the steady clock, until it is steered again.
#[derive(Clone, Copy, Debug)]
struct Course {
    /// On the steady clock.
    from_us: u64,
    /// The time of what is live then.
    live_us: u64,
    /// What it is led by from then on, at most.
    gap_us: i64,
    /// The wall clock, less the steady one.
    wall_ahead_us: i64,
}

impl Course {
    fn live_us(&self, steady_us: u64) -> u64 {
        let passed_us = steady_us.saturating_sub(self.from_us);
        let led_us = (passed_us / LED_BY_PARTS).min(self.gap_us.unsigned_abs());
        let straight = self.live_us + passed_us;
        if self.gap_us < 0 { straight - led_us } else { straight + led_us }
    }

    fn at(&self, steady_us: u64) -> Now {
        let wall_us = steady_us.saturating_add_signed(self.wall_ahead_us);
        Now { live: Utc(self.live_us(steady_us) / 1000), wall: Utc(wall_us / 1000) }
    }
}

/// The clock, shared by all who ask for the time.
#[derive(Debug)]
pub struct Clock {
    course: ArcSwap<Course>,
    /// Whether the difference was said.
    is_said: AtomicBool,
}

impl Clock {
    /// One that begins as the wall clock is.
    pub fn new(readings: Readings) -> Clock {
        Clock::resumed(readings, None, |_| UnderWay::default())
    }

    /// One that goes on `ahead_us` ahead of the steady clock, as it was kept by the process before it, if something is `under_way` then. Else
    /// it begins as the wall clock is, and not before what was announced.
    pub fn resumed(readings: Readings, ahead_us: Option<i64>, under_way: impl Fn(Utc) -> UnderWay) -> Clock {
        let goes_on = ahead_us.map(|ahead_us| readings.steady_us.saturating_add_signed(ahead_us));
        let goes_on = goes_on.filter(|live_us| under_way(Utc(live_us / 1000)).is_any);
        let live_us = goes_on.unwrap_or(readings.wall_us);
        let newest = under_way(Utc(live_us / 1000)).newest;
        let course = Course {
            from_us: readings.steady_us,
            live_us: live_us.max(newest.0.saturating_mul(1000)),
            gap_us: 0,
            wall_ahead_us: difference(readings.wall_us, readings.steady_us),
        };
        Clock { course: ArcSwap::from_pointee(course), is_said: AtomicBool::new(false) }
    }

    /// The time, at the top of whatever is asked or done. No system call.
    pub fn now(&self) -> Now {
        self.course.load().at(steady_us())
    }

    /// The time when the steady clock was at `steady_us`, not long ago.
    pub fn at(&self, steady_us: u64) -> Now {
        self.course.load().at(steady_us)
    }

    /// How far the clock of what is live is ahead of the steady one, in microseconds: for [`Clock::resumed`].
    pub fn ahead_us(&self, steady_us: u64) -> i64 {
        difference(self.course.load().live_us(steady_us), steady_us)
    }

    /// Follows the wall clock as far as what is `under_way` allows. To be called every second or so, by one. Returns how far the wall clock is
    /// ahead of the clock of what is live, in microseconds.
    pub fn steer(&self, readings: Readings, under_way: &UnderWay) -> i64 {
        let Readings { steady_us, wall_us } = readings;
        let live_us = self.course.load().live_us(steady_us);
        let apart_us = difference(wall_us, live_us);
        let is_noticed = apart_us.unsigned_abs() >= NOTICED_US;
        let (least_ms, most_ms) = under_way.late_ms.unwrap_or((0, 0));
        let wall_ahead_us = difference(wall_us, steady_us);
        let straight = Course { from_us: steady_us, live_us, gap_us: 0, wall_ahead_us };
        let course = match () {
            () if !is_noticed => straight,
            // Nobody goes by it.
            () if !under_way.is_any && wall_us / 1000 >= under_way.newest.0 => Course { live_us: wall_us, ..straight },
            () if apart_us > 0 && most_ms < APART_MS_MAX => Course { gap_us: apart_us, ..straight },
            () if apart_us < 0 && least_ms > -APART_MS_MAX => Course { gap_us: apart_us, ..straight },
            () => straight,
        };
        self.course.store(std::sync::Arc::new(course));
        let apart_us = difference(wall_us, course.live_us);
        self.say(apart_us);
        apart_us
    }

    /// Says a difference that is worth it, once.
    fn say(&self, apart_us: i64) {
        let apart_s = apart_us as f64 / 1e6;
        let size_us = apart_us.unsigned_abs();
        if size_us >= SAID_FROM_US && !self.is_said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                apart_s,
                "the wall clock was set while channels are under way: they go on by the clock they had, which is led to the wall clock by 5 ms a second \
                 at most, and no further than their media allows. See that the machine's time is right and kept by NTP (docs/live.md#the-clock)"
            );
        }
        // Half, so that it is not said again and again of what stays where it is.
        if size_us < SAID_FROM_US / 2 && self.is_said.swap(false, Ordering::Relaxed) {
            tracing::info!(apart_s, "the clock of what is live agrees with the wall clock again");
        }
    }
}

/// The wall clock, for what is done and over.
pub fn utc() -> Utc {
    Utc(wall_us() / 1000)
}

fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// CLOCK_BOOTTIME, which the kernel lets be read without a call (vdso(7)).
fn steady_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is negative of a clock that began at 0 (clock_gettime(2)).
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// `a - b`; times are far from the ends of `i64`.
fn difference(a: u64, b: u64) -> i64 {
    a as i64 - b as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Readings = Readings { steady_us: 5_000_000_000, wall_us: 1_900_000_000_000_000 };
    const HOUR_S: i64 = 3600;

    /// A machine whose wall clock is set, and a clock that is steered on it twice a second.
    struct Machine {
        clock: Clock,
        readings: Readings,
        under_way: UnderWay,
        /// The clock of media that came in time at first, less the wall clock at first.
        is_played: bool,
    }

    impl Machine {
        fn new(is_played: bool) -> Machine {
            let under_way = UnderWay { newest: Utc(0), is_any: is_played, late_ms: is_played.then_some((0, 0)) };
            Machine { clock: Clock::new(BEGAN), readings: BEGAN, under_way, is_played }
        }

        fn step(&mut self, step_s: f64) {
            self.readings.wall_us = self.readings.wall_us.saturating_add_signed((step_s * 1e6) as i64);
        }

        fn live_us(&self) -> u64 {
            self.clock.course.load().live_us(self.readings.steady_us)
        }

        /// How far the time of what is live is from what it were if nobody had led it.
        fn led_us(&self) -> i64 {
            let passed = self.readings.steady_us - BEGAN.steady_us;
            difference(self.live_us(), BEGAN.wall_us + passed)
        }

        /// Lets `seconds` pass; what was said in between never runs back, nor away.
        fn pass(&mut self, seconds: u64) {
            for _ in 0..seconds * 20 {
                let before = self.clock.at(self.readings.steady_us).live;
                let exactly = self.live_us();
                (self.readings.steady_us, self.readings.wall_us) =
                    (self.readings.steady_us + 50_000, self.readings.wall_us + 50_000);
                assert!(self.clock.at(self.readings.steady_us).live >= before);
                let passed = self.live_us() - exactly;
                assert!((49_750..=50_250).contains(&passed), "{passed} microseconds in 50 milliseconds");
                if self.readings.steady_us.is_multiple_of(500_000) {
                    if self.is_played {
                        // Media comes as the steady clock runs, and was announced by what the clock said at first.
                        let late_ms = self.led_us() / 1000;
                        self.under_way.late_ms = Some((late_ms, late_ms));
                        self.under_way.newest = Utc(self.live_us() / 1000);
                    }
                    self.clock.steer(self.readings, &self.under_way);
                }
            }
        }
    }

    #[test]
    fn a_step_of_a_second_is_led_back_in_minutes() {
        for step_s in [1.0, -1.0] {
            let mut machine = Machine::new(true);
            machine.pass(10);
            assert_eq!(machine.led_us(), 0);
            machine.step(step_s);
            let before = machine.live_us();
            assert_eq!(machine.clock.steer(machine.readings, &machine.under_way), (step_s * 1e6) as i64);
            assert_eq!(machine.live_us(), before, "it is not felt at once");
            machine.pass(100);
            assert!((machine.led_us().abs() - 500_000).abs() < 5000, "{}", machine.led_us());
            machine.pass(110);
            assert!((machine.led_us() - (step_s * 1e6) as i64).abs() < 5000, "{}", machine.led_us());
            let now = machine.clock.at(machine.readings.steady_us);
            assert!(now.live.0.abs_diff(now.wall.0) <= 3, "{now:?}");
        }
    }

    #[test]
    fn a_step_of_an_hour_is_followed_as_far_as_media_allows() {
        for sign in [1, -1] {
            let mut machine = Machine::new(true);
            machine.pass(10);
            machine.step((sign * HOUR_S) as f64);
            machine.pass(600);
            let led_ms = machine.led_us() / 1000;
            assert!((led_ms - sign * 1000).abs() <= 5, "{led_ms}");
            let wall = machine.clock.at(machine.readings.steady_us).wall;
            assert_eq!(wall.0, machine.readings.wall_us / 1000, "tokens and Date go by the wall clock");
            // Whoever set it sees what he did, and sets it back.
            machine.step((-sign * HOUR_S) as f64);
            machine.pass(300);
            assert!(machine.led_us().abs() < 5000, "{}", machine.led_us());
        }
    }

    #[test]
    fn what_is_early_since_the_machine_stood_still_lets_the_clock_catch_up() {
        let mut machine = Machine::new(true);
        machine.pass(10);
        // A machine that its host put aside for half a minute, and whose steady clock stood still meanwhile.
        machine.step(30.0);
        machine.is_played = false;
        for minute in 0..100 {
            let late_ms = machine.led_us() / 1000 - 30_000;
            machine.under_way.late_ms = Some((late_ms, late_ms));
            machine.pass(60);
            assert!(machine.led_us() >= (minute + 1) * 295_000, "{}", machine.led_us());
        }
        machine.pass(60);
        assert!((machine.led_us() - 30_000_000).abs() < 5000, "{}", machine.led_us());
    }

    #[test]
    fn where_nothing_is_under_way_the_wall_clock_holds_at_once() {
        let mut machine = Machine::new(false);
        machine.under_way.newest = Utc(BEGAN.wall_us / 1000);
        machine.step(3600.0);
        assert_eq!(machine.clock.steer(machine.readings, &machine.under_way), 0);
        assert_eq!(machine.led_us(), 3_600_000_000);
        machine.step(-1800.0);
        machine.clock.steer(machine.readings, &machine.under_way);
        assert_eq!(machine.led_us(), 1_800_000_000);
        // But not before what was announced already: there it runs on, and is led.
        machine.step(-1801.0);
        assert_eq!(machine.clock.steer(machine.readings, &machine.under_way), -1_801_000_000);
        machine.readings.steady_us += 10_000_000;
        machine.readings.wall_us += 10_000_000;
        assert_eq!(machine.clock.at(machine.readings.steady_us).live.0, BEGAN.wall_us / 1000 + 1_810_000 - 50);
    }

    #[test]
    fn a_process_that_goes_on_has_the_clock_of_the_one_before() {
        let newest = Utc(BEGAN.wall_us / 1000);
        let live = |wall_s: i64, ahead_us: Option<i64>, is_any: bool| {
            let wall_us = BEGAN.wall_us.saturating_add_signed(wall_s * 1_000_000);
            let readings = Readings { wall_us, steady_us: BEGAN.steady_us + 20_000_000 };
            let clock = Clock::resumed(readings, ahead_us, |_| UnderWay { newest, is_any, late_ms: None });
            (clock.live_s(readings) - newest.0 as f64 / 1000.0).round() as i64
        };
        let kept = Some(difference(BEGAN.wall_us, BEGAN.steady_us));
        for wall_s in [20, HOUR_S, -HOUR_S] {
            assert_eq!(live(wall_s, kept, true), 20, "the wall clock was set meanwhile");
        }
        assert_eq!(live(HOUR_S, kept, false), HOUR_S, "nothing is under way");
        assert_eq!(live(HOUR_S, None, true), HOUR_S, "the machine was started again");
        assert_eq!(live(-50 * 365 * 24 * HOUR_S, None, true), 0, "without a clock of its own: nothing is named twice");
        assert_eq!(live(-HOUR_S, kept, false), 0);
    }

    #[test]
    fn a_step_is_said_once() {
        let clock = Clock::new(BEGAN);
        let under_way = UnderWay { is_any: true, late_ms: Some((0, 0)), ..UnderWay::default() };
        let ahead = |us: u64| Readings { wall_us: BEGAN.wall_us + us, ..BEGAN };
        let is_said = || clock.is_said.load(Ordering::Relaxed);
        for (us, expected) in [(0, false), (999_999, false), (1_000_000, true), (600_000, true), (400_000, false)] {
            clock.steer(ahead(us), &under_way);
            assert_eq!(is_said(), expected, "{us}");
        }
    }

    #[test]
    fn this_machine_has_both_clocks() {
        let before = utc();
        let readings = Readings::take();
        let clock = Clock::new(readings);
        let (first, second) = (clock.now(), clock.now());
        assert!(second.live >= first.live && first.live.0 >= readings.wall_us / 1000);
        assert!(before.0 <= readings.wall_us / 1000 + 1);
        assert!(Readings::take().steady_us >= readings.steady_us);
    }

    impl Clock {
        fn live_s(&self, readings: Readings) -> f64 {
            self.course.load().live_us(readings.steady_us) as f64 / 1e6
        }
    }
}
