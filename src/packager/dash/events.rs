//! Events that are in no segment, as EventStream (ISO/IEC 23009-1 §5.10.2).

use std::collections::BTreeMap;

use crate::formats::scte35;
use crate::media::event::{LiveEvent, ranges};
use crate::media::live::Broadcast;
use crate::media::presentation::Period;
use crate::packager::dash::{Mpd, Told};
use crate::packager::push;
use crate::time::{Rounding, Timescale};

/// Sections of SCTE 35 in an MPD (ANSI/SCTE 214-1 §6.7.4).
const SCTE_IN_MPD: &str = "urn:scte:scte35:2014:xml+bin";

/// The events of `broadcast` that came in tracks of their own, where the first Period begins so much later than that does.
pub(super) fn told(broadcast: &Broadcast, left_us: i64) -> Vec<Told<'_>> {
    let mut lasts = BTreeMap::new();
    for range in ranges(&broadcast.events, |event| broadcast.event_us(event)) {
        let ends = lasts.entry(range.event.number).or_insert(i64::MIN);
        *ends = range.ends_us().max(*ends);
    }
    let told = |event: &'_ std::sync::Arc<LiveEvent>| {
        let begins_us = broadcast.event_us(event)?.saturating_sub(left_us);
        let ends_us = lasts.get(&event.number).map_or(i64::MIN, |ends| ends.saturating_sub(left_us));
        Some((begins_us, ends_us))
    };
    let own = broadcast.events.iter().filter(|event| !event.is_inband);
    own.filter_map(|event| told(event).map(|(begins_us, ends_us)| Told { event, begins_us, ends_us })).collect()
}

impl Mpd<'_> {
    /// The events of `period` that came in tracks of their own: a stream a scheme, times in milliseconds of the period. What began before it, where
    /// no period is listed, and lasts, is told at its beginning.
    pub(super) fn event_streams_of(&mut self, period: &Period, is_last: bool) {
        let us = |time: crate::time::MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        let (from, until) = (us(period.start), us(period.start.plus(period.duration)));
        let before = std::mem::replace(&mut self.told_until_us, if is_last { i64::MAX } else { until });
        let mut events: Vec<(&LiveEvent, u64, Option<u64>)> = Vec::new();
        for &Told { event, begins_us: begins, ends_us } in &self.told {
            if (begins >= until && !is_last) || (begins < from && (begins < before || ends_us <= from)) {
                continue;
            }
            let length = event.duration.map(|length| us(length).saturating_sub(from.saturating_sub(begins).max(0)));
            let length = length.map(|length| u64::try_from(length / 1000).unwrap_or(0));
            events.push((event, u64::try_from(begins.saturating_sub(from) / 1000).unwrap_or(0), length));
        }
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
