//! Events that are in no segment, as EventStream (ISO/IEC 23009-1 §5.10.2).

use crate::formats::scte35;
use crate::media::event::told;
use crate::media::presentation::Period;
use crate::packager::dash::Mpd;
use crate::packager::push;
use crate::time::{Rounding, Timescale};

/// Sections of SCTE 35 in an MPD (ANSI/SCTE 214-1 §6.7.4).
const SCTE_IN_MPD: &str = "urn:scte:scte35:2014:xml+bin";

impl Mpd<'_> {
    /// The events of `period` that came in tracks of their own: a stream a scheme, times in milliseconds of the period. What began before it, where
    /// no period is listed, and lasts, is told at its beginning.
    pub(super) fn event_streams_of(&mut self, period: &Period, is_last: bool) {
        let us = |time: crate::time::MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        let (from, until) = (us(period.start), us(period.start.plus(period.duration)));
        let until = if is_last { i64::MAX } else { until };
        let before = std::mem::replace(&mut self.told_until_us, until);
        let told = told(&self.told, (before, from, until));
        let ms = |us: i64| u64::try_from(us / 1000).unwrap_or(0);
        let mut events: Vec<_> =
            told.iter().map(|told| (told.event, ms(told.begins_us), told.length_us.map(ms))).collect();
        events.sort_by(|a, b| a.0.scheme.cmp(&b.0.scheme).then(a.1.cmp(&b.1)));
        for stream in events.chunk_by(|a, b| a.0.scheme == b.0.scheme) {
            let scheme = &stream[0].0.scheme;
            let is_scte = scheme.uri == scte35::SCHEME;
            self.raw("  <EventStream");
            self.attribute("schemeIdUri", if is_scte { SCTE_IN_MPD } else { &scheme.uri });
            if !scheme.value.is_empty() {
                self.attribute("value", &scheme.value);
            }
            self.number("timescale", 1000);
            self.raw(">\n");
            for (event, time, length) in stream {
                self.raw("   <Event");
                self.number("presentationTime", *time);
                if let Some(length) = length {
                    self.number("duration", *length);
                }
                self.number("id", event.id.into());
                if !is_scte && !event.data.is_empty() {
                    self.attribute("contentEncoding", "base64");
                }
                self.raw(">");
                if is_scte {
                    self.raw("<Signal xmlns=\"http://www.scte.org/schemas/35/2016\"><Binary>");
                }
                push::base64(&mut self.out, &event.data);
                self.raw(if is_scte { "</Binary></Signal></Event>\n" } else { "</Event>\n" });
            }
            self.raw("  </EventStream>\n");
        }
    }
}
