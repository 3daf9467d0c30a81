//! What the clock has to mind that the channels go by: whether something is under way, and how far media is from when it was announced to be.

use std::time::Duration;

use crate::content::live::channel::{Channel, Channels};
use crate::time::Utc;

/// A channel to which no media came for so long has no players any more that its times mean something to.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The channels, as far as it is the clock's to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnderWay {
    /// When something was last told of any of them: no later time was ever announced.
    pub newest: Utc,
    /// Whether any has players that go by its times.
    pub is_any: bool,
    /// By how much media came later than it was announced to, in milliseconds: of the channel where it is least, and where it is most.
    pub late_ms: Option<(i64, i64)>,
}

impl UnderWay {
    fn with(self, other: UnderWay) -> UnderWay {
        let late_ms = match (self.late_ms, other.late_ms) {
            (Some((least, most)), Some((own_least, own_most))) => Some((least.min(own_least), most.max(own_most))),
            (one, other) => one.or(other),
        };
        UnderWay { newest: self.newest.max(other.newest), is_any: self.is_any || other.is_any, late_ms }
    }
}

impl Channels {
    /// What is under way, as of `now`.
    pub fn under_way(&self, now: Utc) -> UnderWay {
        let each = self.all();
        each.iter().map(|channel| channel.under_way(now)).fold(UnderWay::default(), UnderWay::with)
    }
}

impl Channel {
    fn under_way(&self, now: Utc) -> UnderWay {
        let live = self.broadcast();
        let newest = live.media_at.max(live.published);
        let is_played = !live.ended && !live.periods.is_empty() && now < live.media_at.after(FORGOTTEN_AFTER);
        let is_any = is_played || self.intake().is_pushed_to();
        let edge_us = live.periods.last().filter(|_| is_played).and_then(|period| live.end_us(period));
        let late_ms = edge_us.map(|us| {
            let late_ms = live.media_at.0 as i64 - (us / 1000) as i64;
            (late_ms, late_ms)
        });
        UnderWay { newest, is_any, late_ms }
    }
}
