//! Whether the clock of an encoder runs as ours does: reported, and not followed.
//!
//! What comes is late by what lies between the encoder and here, now more and now less. The least of it in a minute says how the clocks
//! stand, and how that changes is the drift.

use std::time::Duration;

use crate::time::Utc;

/// Over so long the least is taken.
const MINUTE: Duration = Duration::from_secs(60);
/// The drift that is said first, in milliseconds: less is no trouble to anybody. Then twice that, and so on.
const SAID_FROM_MS: i64 = 500;
/// Lateness that changes by more from one chunk to the next is another timeline, or an outage, in milliseconds.
const JUMP_MS: i64 = 10_000;

/// How the clock of one track runs.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    minute: Option<Minute>,
    /// The least lateness of the first minute, in milliseconds.
    first: Option<i64>,
    /// Of the last one that is over.
    last: Option<i64>,
    /// Drift that was said.
    said_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Minute {
    since: Utc,
    least: i64,
    newest: i64,
}

impl Drift {
    /// Media that ends `end_ms` after 0 of its clock came. A drift that is to be said, in milliseconds: media comes so much later than it did.
    pub fn came(&mut self, end_ms: i64, now: Utc) -> Option<i64> {
        let late = i64::try_from(now.0).unwrap_or(i64::MAX).saturating_sub(end_ms);
        let fresh = Minute { since: now, least: late, newest: late };
        let Some(minute) = &mut self.minute else {
            self.minute = Some(fresh);
            return None;
        };
        if (late - minute.newest).abs() > JUMP_MS {
            *self = Drift { minute: Some(fresh), ..Drift::default() };
            return None;
        }
        (minute.least, minute.newest) = (minute.least.min(late), late);
        if now < minute.since.after(MINUTE) {
            return None;
        }
        let least = minute.least;
        self.minute = Some(fresh);
        self.last = Some(least);
        let drift = least - *self.first.get_or_insert(least);
        let is_news = drift.abs() >= SAID_FROM_MS.max(self.said_ms.saturating_mul(2));
        is_news.then(|| {
            self.said_ms = drift.abs();
            drift
        })
    }

    /// The drift since media began to come, in milliseconds: later, if it is more than 0. `None` within the first minutes.
    pub fn ms(&self) -> Option<i64> {
        Some(self.last? - self.first?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_900_000_000_000;

    /// An encoder that sends a chunk a second for `seconds`, `late_ms` of each later than it should be; what was said.
    fn run(drift: &mut Drift, seconds: std::ops::Range<i64>, late_ms: impl Fn(i64) -> i64) -> Vec<i64> {
        let came = |second: i64| {
            let now = Utc(NOW.saturating_add_signed(second * 1000 + late_ms(second)));
            drift.came(second * 1000, now)
        };
        seconds.filter_map(came).collect()
    }

    #[test]
    fn jitter_is_no_drift() {
        let mut drift = Drift::default();
        assert_eq!(run(&mut drift, 0..3600, |second| second * 7919 % 900), [0i64; 0]);
        assert!(drift.ms().is_some_and(|ms| ms.abs() < 50), "{drift:?}");
    }

    #[test]
    fn a_clock_that_is_slow_is_said_and_not_every_minute() {
        let mut drift = Drift::default();
        // 200 parts of a million, with jitter.
        let late = |second: i64| second / 5 + second * 7919 % 300;
        let said = run(&mut drift, 0..14_400, late);
        assert!(said.len() == 3 && said[0] >= 500 && said[1] >= 1000 && said[2] >= 2000, "{said:?}");
        assert!(drift.ms().is_some_and(|ms| (2700..2900).contains(&ms)), "{drift:?}");
        let said = run(&mut Drift::default(), 0..14_400, |second| -second / 5);
        assert!(said.len() == 3 && said[0] <= -500, "a fast one, too: {said:?}");
    }

    #[test]
    fn another_timeline_is_no_drift() {
        let mut drift = Drift::default();
        run(&mut drift, 0..300, |_| 100);
        assert_eq!(run(&mut drift, 300..600, |_| 60_000), [0i64; 0]);
        assert_eq!(drift.ms(), Some(0));
    }
}
