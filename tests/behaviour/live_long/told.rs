//! What a channel is told to be: otherwise after some restarts.

use std::time::Duration;

use headwater::content::live::window;

use super::Dice;
use crate::live::quick;

/// As a configuration says it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Told {
    segment_s: u64,
    part_ms: u64,
    window_s: u64,
    latency_ms: Option<u64>,
    cadence: Option<&'static str>,
    end_after_s: Option<u64>,
}

impl Told {
    pub(super) fn new(cadence: Option<&'static str>) -> Told {
        Told { segment_s: 2, part_ms: 1000, window_s: 20, latency_ms: None, cadence, end_after_s: None }
    }

    pub(super) fn options(&self) -> window::Options {
        let cadence = self.cadence.map(|cadence| cadence.parse().unwrap());
        window::Options {
            target: cadence
                .map_or(Duration::from_secs(self.segment_s), |cadence: headwater::content::live::cadence::Cadence| {
                    cadence.duration()
                }),
            part_target: Duration::from_millis(self.part_ms),
            window: Duration::from_secs(self.window_s),
            latency: self.latency_ms.map(Duration::from_millis),
            cadence,
            end_after: self.end_after_s.map(Duration::from_secs),
            ..quick()
        }
    }

    /// The same, but for one thing.
    pub(super) fn otherwise(&self, dice: &mut Dice) -> Told {
        let mut one = |of: &[u64]| of[dice.below(of.len() as u64) as usize];
        match one(&[0, 1, 2, 3, 4, 5]) {
            0 => Told { segment_s: one(&[1, 2, 3, 4]), ..*self },
            1 => Told { part_ms: one(&[500, 1000, 1500]), ..*self },
            2 => Told { window_s: one(&[10, 20, 30]), ..*self },
            3 => Told { latency_ms: [None, Some(1500), Some(4000)][one(&[0, 1, 2]) as usize], ..*self },
            4 => Told { cadence: [None, Some("1s"), Some("2s"), Some("4s")][one(&[0, 1, 2, 3]) as usize], ..*self },
            _ => Told { end_after_s: [None, Some(12), Some(40)][one(&[0, 1, 2]) as usize], ..*self },
        }
    }

    pub(super) fn has_cadence(&self) -> bool {
        self.cadence.is_some()
    }

    /// Whether what comes is announced anew where the channel is told to be `other`, and whether with other numbers then.
    pub(super) fn begins_anew(&self, other: &Told) -> (bool, bool) {
        let fixed = |of: &Told| (of.options().target, of.part_ms, of.cadence);
        (fixed(self) != fixed(other), self.cadence != other.cadence)
    }
}
