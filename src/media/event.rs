//! Events of a broadcast: what encoders say beside the media, such as where breaks begin.

use bytes::Bytes;

use crate::formats::isobmff::emsg::EventScheme;
use crate::time::{MediaTime, Timescale};

/// The most events that a broadcast keeps: one every seven seconds of a window of two hours.
pub const EVENTS_MAX: usize = 1024;

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveEvent {
    /// The number of the period on whose timeline it is.
    pub period: u64,
    /// When it begins.
    pub time: MediaTime,
    /// How long it lasts, if that is known.
    pub duration: Option<MediaTime>,
    /// What understands it.
    pub scheme: EventScheme,
    /// The same event has the same.
    pub id: u32,
    /// What it says.
    pub data: Bytes,
    /// Whether it is in the segments of a track, too.
    pub is_inband: bool,
}

impl LiveEvent {
    /// Whether `other` says the same again: encoders repeat what must not be missed, and put it into several tracks.
    pub fn is_again(&self, other: &LiveEvent) -> bool {
        (self.id, &self.scheme, &self.data) == (other.id, &other.scheme, &other.data)
            && self.period == other.period
            && self.time.is_within(other.time, MediaTime::new(1, Timescale::MILLI))
    }
}
