//! Histograms: how often a value was at most so large, in fixed steps; counting costs two additions.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The steps of a histogram.
pub trait Steps: fmt::Debug + Send + Sync + 'static {
    /// Upper bounds, rising, in the unit of the family's name.
    const UPPER: &'static [f64];
    /// Counted units in one of those: 1000 if milliseconds are counted and the name says seconds.
    const SCALE: f64;
}

/// Microseconds to be made, shown as seconds: from what lies in the page cache to what storage gives up on.
#[derive(Debug)]
pub struct Latency;

impl Steps for Latency {
    const UPPER: &'static [f64] =
        &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
    const SCALE: f64 = 1e6;
}

/// Milliseconds that players have ahead or are behind, shown as seconds.
#[derive(Debug)]
pub struct Playing;

impl Steps for Playing {
    const UPPER: &'static [f64] = &[0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0];
    const SCALE: f64 = 1e3;
}

/// Kilobits a second that players measured, shown as bits.
#[derive(Debug)]
pub struct Throughput;

impl Steps for Throughput {
    const UPPER: &'static [f64] = &[5e5, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6, 256e6];
    const SCALE: f64 = 1e-3;
}

/// A histogram.
#[derive(Debug)]
pub struct Spread<S> {
    /// One a step, and one for what is larger than all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    steps: PhantomData<S>,
}

impl<S: Steps> Default for Spread<S> {
    fn default() -> Spread<S> {
        let counts = (0..=S::UPPER.len()).map(|_| AtomicU64::new(0)).collect();
        Spread { counts, sum: AtomicU64::new(0), steps: PhantomData }
    }
}

impl<S: Steps> Spread<S> {
    /// Counts `value`, in counted units.
    pub fn add(&self, value: u64) {
        let shown = value as f64 / S::SCALE;
        let step = S::UPPER.partition_point(|upper| *upper < shown);
        self.counts[step].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Values counted so far.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Upper bounds and how many values were counted in each step.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let uppers = S::UPPER.iter().copied().chain([f64::MAX]);
        uppers.zip(&self.counts).map(|(upper, count)| (upper, count.load(Ordering::Relaxed))).collect()
    }

    /// Their sum, in counted units.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// Something that takes time, which is counted when it is over.
#[derive(Debug)]
pub struct Timed<'a> {
    spread: &'a Spread<Latency>,
    began: Instant,
}

impl Spread<Latency> {
    /// Something begins. What never ends is not counted.
    pub fn begin(&self) -> Timed<'_> {
        Timed { spread: self, began: Instant::now() }
    }
}

impl Timed<'_> {
    /// It is over.
    pub fn end(self) {
        self.spread.add(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_first_step_that_holds_it() {
        let spread = Spread::<Latency>::default();
        for micros in [100, 101, 2_000_000, 60_000_000] {
            spread.add(micros);
        }
        let counts: Vec<u64> = spread.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!((counts[0], counts[1], counts[13], counts[17]), (1, 1, 1, 1));
        assert_eq!((spread.count(), spread.sum()), (4, 62_000_201));
    }
}
