//! What bounds the pushes of a channel: how many there are at once, and how many bytes come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::content::live::pushed::Refusal;
use crate::content::live::window::TRACKS_MAX;
use crate::time::Utc;

/// The most pushes of a channel under way: each track has one, a packager one a file, and an encoder that comes back those of before.
pub const PUSHES_MAX: usize = 4 * TRACKS_MAX;
/// For so long a channel may be pushed at once what would be its whole allowance: encoders send what gathered while they were away.
const BURST_MS: u64 = 10_000;

/// The pushes of one channel.
#[derive(Debug)]
pub struct Intake {
    bytes_s_max: u64,
    under_way: Arc<AtomicUsize>,
    allowance: Mutex<Allowance>,
}

#[derive(Clone, Copy, Debug)]
struct Allowance {
    bytes: u64,
    at: Utc,
}

/// A push under way.
#[derive(Debug)]
pub struct Pushing(Arc<AtomicUsize>);

impl Drop for Pushing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Intake {
    /// Of a channel to which at most so many bytes a second are pushed.
    pub fn new(bytes_s_max: u64) -> Intake {
        let allowance = Mutex::new(Allowance { bytes: full(bytes_s_max), at: Utc(0) });
        Intake { bytes_s_max, under_way: Arc::default(), allowance }
    }

    /// A push begins.
    pub fn begins(&self) -> Result<Pushing, Refusal> {
        let pushing = Pushing(Arc::clone(&self.under_way));
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= PUSHES_MAX {
            return Err(Refusal::TooMuch(format!("{PUSHES_MAX} pushes to this channel are under way already")));
        }
        Ok(pushing)
    }

    /// Whether a push is under way.
    pub fn is_pushed_to(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// So many bytes came.
    pub fn takes(&self, bytes: usize, now: Utc) -> Result<(), Refusal> {
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let passed_ms = now.0.saturating_sub(allowance.at.0).min(BURST_MS);
        let earned = self.bytes_s_max.saturating_mul(passed_ms) / 1000;
        let has = allowance.bytes.saturating_add(earned).min(full(self.bytes_s_max));
        let left = has.checked_sub(bytes as u64).ok_or_else(|| {
            Refusal::TooMuch(format!(
                "more than {} bytes a second were pushed to this channel for {} s",
                self.bytes_s_max,
                BURST_MS / 1000
            ))
        })?;
        *allowance = Allowance { bytes: left, at: allowance.at.max(now) };
        Ok(())
    }
}

fn full(bytes_s_max: u64) -> u64 {
    bytes_s_max.saturating_mul(BURST_MS / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_taken_and_more_than_the_rate_is_not() {
        let intake = Intake::new(1000);
        let now = Utc(1_900_000_000_000);
        let after = |ms: u64| Utc(now.0 + ms);
        assert!(intake.takes(10_000, now).is_ok(), "what gathered for ten seconds");
        assert!(intake.takes(1, now).is_err());
        assert!(intake.takes(500, after(500)).is_ok() && intake.takes(1, after(500)).is_err());
        // Not more than a burst is saved up, and a clock that steps back gives nothing.
        assert!(intake.takes(10_001, after(3_600_000)).is_err() && intake.takes(10_000, after(3_600_000)).is_ok());
        assert!(intake.takes(1, now).is_err());
        let why = intake.takes(1, now).expect_err("too much").to_string();
        assert_eq!(why, "more than 1000 bytes a second were pushed to this channel for 10 s");
    }

    #[test]
    fn so_many_pushes_are_under_way_and_no_more() {
        let intake = Intake::new(1000);
        let mut all: Vec<Pushing> = (0..PUSHES_MAX).map(|_| intake.begins().expect("room")).collect();
        assert!(intake.begins().is_err());
        all.pop();
        assert!(intake.begins().is_ok());
    }
}
