//! Events of a broadcast: what encoders say beside the media, such as where breaks begin, and the ranges that follow from it.
//!
//! ```text
//!   out ----------- in           one range: a break, its end known when what leads back has come
//!   out - - - - - - - - …        likewise, under way
//!        what else is said       a range of its own
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::formats::isobmff::emsg::{EventMessage, EventScheme};
use crate::formats::scte35::{self, Cue, EventId, Way};
use crate::time::{MediaTime, Rounding, Timescale, Utc};

/// The most events that a broadcast keeps: one every seven seconds of a window of two hours.
pub const EVENTS_MAX: usize = 1024;
/// A break that should be over is waited for so long: some encoders never lead back.
const OVERRUN_MAX_US: i64 = 600_000_000;
/// A break of unknown length is waited for so long: as long as the longest window.
const UNKNOWN_MAX_US: i64 = 6 * 3600 * 1_000_000;
/// Times of one moment may be rounded to ticks of several clocks.
const SAME_US: i64 = 1000;

/// What an event's time counts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeline {
    /// That of the media in the period of this number.
    Period(u64),
    /// From where the broadcast began.
    Broadcast,
    /// That of media which has not come yet.
    Unknown {
        /// Media time of what the event came in.
        beside: MediaTime,
        /// When it came.
        since: Utc,
    },
}

/// An event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveEvent {
    /// In the order in which they were placed.
    pub number: u64,
    /// What `time` counts on.
    pub timeline: Timeline,
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
    /// What it says as a section of SCTE 35; empty if it is none.
    pub cues: Vec<Cue>,
}

/// What an event, or one of its cues, tells of: from when until when.
#[derive(Clone, Debug)]
pub struct Range<'a> {
    /// What began it.
    pub event: &'a LiveEvent,
    /// As which of its cues.
    pub cue: Option<Cue>,
    /// In microseconds after the broadcast's start.
    pub begins_us: i64,
    /// How long it is meant to last, in microseconds, if that is known.
    pub planned_us: Option<i64>,
    /// What leads back, and when.
    pub back: Option<(&'a LiveEvent, i64)>,
    /// What cancels it.
    pub cancelled: Option<&'a LiveEvent>,
    /// Whether what leads back may still come.
    pub is_open: bool,
}

impl LiveEvent {
    /// What `message` says, which came in what begins at `begins` of `timeline`.
    pub fn of(message: EventMessage, timeline: Timeline, begins: MediaTime, is_inband: bool) -> LiveEvent {
        let time = message.begins(begins);
        let EventMessage { scheme, timescale, duration, id, data, .. } = message;
        let cues = cues(&scheme, &data);
        let said = duration.map(|ticks| MediaTime::new(ticks.into(), timescale));
        let duration = match cues.is_empty() {
            true => said,
            // A break is as long as its cue says; an event of it that lasts no time does not say.
            false => cues.iter().find_map(length).or(said.filter(|said| said.ticks > 0)),
        };
        LiveEvent { number: 0, timeline, time, duration, scheme, id, data, is_inband, cues }
    }

    /// Whether a break begins with it.
    pub fn leads_out(&self) -> bool {
        self.cues.iter().any(|cue| cue.way == Way::Out)
    }

    /// Whether `other`, which came later, says the same again: encoders repeat what must not be missed, put it into several tracks, and there may be two
    /// of them. `us` says when an event is, if that is known.
    pub fn is_again(&self, other: &LiveEvent, us: impl Fn(&LiveEvent) -> Option<i64>) -> bool {
        let is_cue = !self.cues.is_empty() && !other.cues.is_empty();
        if self.scheme.uri != other.scheme.uri || (!is_cue && self.scheme.value != other.scheme.value) {
            return false;
        }
        let Some(later_us) = self.until(other, us) else { return false };
        let lasts_us = self.duration.map_or(0, |length| length.to(Timescale::MICRO, Rounding::Up));
        let is_at_once = later_us.unsigned_abs() <= SAME_US.unsigned_abs();
        let (same_id, same_data) = (self.id == other.id, self.data == other.data);
        // ISO/IEC 23009-1 §5.10.3.3.4: the id tells; but of cues there may be several with one.
        let said = |event: &LiveEvent| event.cues.iter().map(|cue| (cue.of, cue.way)).collect::<Vec<_>>();
        let is_named = self.cues.iter().any(|cue| cue.of.is_some());
        let is_same = if is_cue && is_named { said(self) == said(other) } else { same_id };
        (is_at_once && ((same_data && !self.data.is_empty()) || is_same))
            || (same_id && same_data && (0..=lasts_us).contains(&later_us))
    }

    /// Microseconds from it to `other`.
    fn until(&self, other: &LiveEvent, us: impl Fn(&LiveEvent) -> Option<i64>) -> Option<i64> {
        let plain = |event: &LiveEvent| event.time.to(Timescale::MICRO, Rounding::Nearest);
        match (self.timeline, other.timeline) {
            (own, others) if own == others => Some(plain(other).saturating_sub(plain(self))),
            (Timeline::Unknown { .. }, Timeline::Unknown { .. }) => Some(plain(other).saturating_sub(plain(self))),
            _ => Some(us(other)?.saturating_sub(us(self)?)),
        }
    }
}

/// What `data` of `scheme` says as a section of SCTE 35.
pub fn cues(scheme: &EventScheme, data: &[u8]) -> Vec<Cue> {
    if scheme.uri == scte35::SCHEME { scte35::cues(data).unwrap_or_default() } else { Vec::new() }
}

/// How long the break is that `cue` begins.
fn length(cue: &Cue) -> Option<MediaTime> {
    Some(MediaTime::new(i64::try_from(cue.duration?).ok()?, Timescale::new(scte35::TICKS_S)?))
}

/// What `events` tell of, in the order in which it came; `us` says when an event is, if that is known. What leads back, or cancels, is part of what
/// it ends.
pub fn ranges<'a>(events: &'a [Arc<LiveEvent>], us: impl Fn(&LiveEvent) -> Option<i64>) -> Vec<Range<'a>> {
    let mut ranges: Vec<Range<'a>> = Vec::new();
    let mut breaks = Breaks::default();
    for (place, event) in events.iter().map(|event| &**event).enumerate() {
        let Some(begins_us) = us(event) else { continue };
        let micros = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        // That of an event is that of a cue of it, where one says so.
        let is_of_event = event.cues.iter().all(|cue| length(cue).is_none());
        let of_event = event.duration.map(micros).filter(|_| is_of_event);
        let range = |cue: Option<Cue>, planned_us: Option<i64>, is_open: bool| Range {
            event,
            cue,
            begins_us,
            planned_us,
            back: None,
            cancelled: None,
            is_open,
        };
        if event.cues.is_empty() {
            ranges.push(range(None, of_event, false));
        }
        // What ends comes before what begins with the same section.
        let (ends, begins): (Vec<Cue>, Vec<Cue>) =
            event.cues.iter().partition(|cue| matches!(cue.way, Way::In | Way::Cancels));
        for cue in ends {
            if cue.way == Way::Cancels {
                breaks.cancel(&cue, Cancel { place, event, before: ranges.len() });
                continue;
            }
            match breaks.began(&cue, begins_us) {
                Some(at) if ranges[at].back.is_none() => {
                    // What cancels it from now on comes too late.
                    ranges[at].cancelled = breaks.cancelled(&ranges[at], at);
                    ranges[at].back = Some((event, begins_us));
                }
                // It is over already.
                Some(_) => {}
                None => ranges.push(range(Some(cue), None, false)),
            }
        }
        for cue in begins {
            let is_out = cue.way == Way::Out;
            if is_out {
                breaks.begin(&cue, begins_us, ranges.len());
            }
            let planned_us = length(&cue).map(micros).or(of_event.filter(|_| is_out && cue.duration.is_none()));
            ranges.push(range(Some(cue), planned_us, is_out && cue.of.is_some() && !cue.returns));
        }
    }
    for (at, range) in ranges.iter_mut().enumerate() {
        if range.back.is_none() {
            range.cancelled = breaks.cancelled(range, at);
        }
        let goes_on = range.back.is_none() && range.cancelled.is_none();
        range.is_open = range.is_open && goes_on && breaks.is_newest(range, at);
    }
    ranges
}

/// An event that came in a track of its own.
#[derive(Clone, Copy, Debug)]
pub struct Beside<'a> {
    /// The event.
    pub event: &'a LiveEvent,
    /// When it begins, in microseconds.
    pub begins_us: i64,
    /// Until when it is told of, in microseconds.
    pub ends_us: i64,
}

/// Those of `events` that came in tracks of their own. `us` says when an event is, if that is known, in microseconds.
pub fn beside<'a>(events: &'a [Arc<LiveEvent>], us: impl Fn(&LiveEvent) -> Option<i64>) -> Vec<Beside<'a>> {
    let mut lasts = BTreeMap::new();
    for range in ranges(events, &us) {
        let ends = lasts.entry(range.event.number).or_insert(i64::MIN);
        *ends = range.ends_us().max(*ends);
    }
    let own = events.iter().filter(|event| !event.is_inband);
    let beside = own.filter_map(|event| {
        let ends_us = lasts.get(&event.number).copied().unwrap_or(i64::MIN);
        Some(Beside { event, begins_us: us(event)?, ends_us })
    });
    beside.collect()
}

/// An event that is told of in a stretch.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// The event.
    pub event: &'a LiveEvent,
    /// When it begins, in microseconds after the stretch does: where that is before, at its beginning.
    pub begins_us: i64,
    /// How long it lasts from then on, in microseconds, if that is known.
    pub length_us: Option<i64>,
}

/// Those of `events` that are told of in the stretch that runs `from` until `until`, where the one before it was over at `before`: what began
/// in it, or between the two, and lasts. All in microseconds.
pub fn told<'a>(events: &[Beside<'a>], (before, from, until): (i64, i64, i64)) -> Vec<Told<'a>> {
    let told = events.iter().filter_map(|&Beside { event, begins_us: begins, ends_us }| {
        if begins >= until || (begins < from && (begins < before || ends_us <= from)) {
            return None;
        }
        let length = event.duration.map(|length| length.to(Timescale::MICRO, Rounding::Nearest));
        Some(Told {
            event,
            begins_us: begins.saturating_sub(from).max(0),
            length_us: length.map(|length| length.saturating_sub(from.saturating_sub(begins).max(0)).max(0)),
        })
    });
    told.collect()
}

/// What was said of breaks, by what named them. Who has one id for all of them, as many do, has as many as there are events, so nothing goes over them
/// one after another.
#[derive(Default)]
struct Breaks<'a>(BTreeMap<EventId, Said<'a>>);

/// What was said by a name.
#[derive(Default)]
struct Said<'a> {
    /// When breaks that it names begin, and which ranges they are: those that no later one began as soon as. Both ascend.
    begins: Vec<(i64, usize)>,
    /// The newest range that was said by it.
    newest: usize,
    /// What last cancelled them.
    cancel: Option<Cancel<'a>>,
}

/// What cancels breaks.
#[derive(Clone, Copy)]
struct Cancel<'a> {
    /// Its place among the events.
    place: usize,
    event: &'a LiveEvent,
    /// How many ranges came before it.
    before: usize,
}

impl<'a> Breaks<'a> {
    /// Notes the break that range `at` will be.
    fn begin(&mut self, cue: &Cue, begins_us: i64, at: usize) {
        let Some(of) = cue.of else { return };
        for name in of.names() {
            let begins = &mut self.0.entry(name).or_default().begins;
            begins.truncate(begins.partition_point(|(earlier_us, _)| *earlier_us < begins_us));
            begins.push((begins_us, at));
        }
        self.0.entry(of).or_default().newest = at;
    }

    fn cancel(&mut self, cue: &Cue, cancel: Cancel<'a>) {
        let Some(of) = cue.of else { return };
        self.0.entry(of).or_default().cancel = Some(cancel);
    }

    /// The newest range that `cue` names of those that begin at `us` or before.
    fn began(&self, cue: &Cue, us: i64) -> Option<usize> {
        let begins = &self.0.get(&cue.of?)?.begins;
        let after = begins.partition_point(|(begins_us, _)| *begins_us <= us);
        begins.get(after.checked_sub(1)?).map(|(_, at)| *at)
    }

    /// What last cancelled range `at`.
    fn cancelled(&self, range: &Range<'_>, at: usize) -> Option<&'a LiveEvent> {
        let cancels = self.of(range).filter_map(|said| said.cancel).filter(|cancel| cancel.before > at);
        cancels.max_by_key(|cancel| cancel.place).map(|cancel| cancel.event)
    }

    /// Whether range `at` was not said anew, for another time: what was said before is not waited for.
    fn is_newest(&self, range: &Range<'_>, at: usize) -> bool {
        self.of(range).all(|said| said.newest <= at)
    }

    /// What was said by each name of `range`, if it is a break.
    fn of(&self, range: &Range<'_>) -> impl Iterator<Item = &Said<'a>> {
        let of = range.cue.filter(|cue| cue.way == Way::Out).and_then(|cue| cue.of);
        of.into_iter().flat_map(EventId::names).filter_map(|name| self.0.get(&name))
    }
}

impl Range<'_> {
    /// Until when it is told of, in microseconds after the broadcast's start.
    pub fn ends_us(&self) -> i64 {
        let awaited_us = match self.planned_us {
            _ if !self.is_open => 0,
            Some(_) => OVERRUN_MAX_US,
            None => UNKNOWN_MAX_US,
        };
        let planned = self.begins_us.saturating_add(self.planned_us.unwrap_or(0)).saturating_add(awaited_us);
        self.back.map_or(planned, |(_, ends_us)| ends_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Whether `range` is a break that `cue` names.
    fn is_named_by(range: &Range<'_>, cue: &Cue) -> bool {
        let includes = |of: EventId, own: EventId| {
            of == own || matches!((of, own), (EventId::Segments(id), EventId::Segment(other, _)) if id == other)
        };
        let is_named = |own: EventId| cue.of.is_some_and(|of| includes(of, own));
        range.cue.is_some_and(|own| own.way == Way::Out && own.of.is_some_and(is_named))
    }

    /// The same as [`ranges`], where each cue goes over all ranges.
    fn looked_through<'a>(events: &'a [Arc<LiveEvent>], us: impl Fn(&LiveEvent) -> Option<i64>) -> Vec<Range<'a>> {
        let mut found: Vec<Range<'a>> = Vec::new();
        for event in events.iter().map(|event| &**event) {
            let Some(begins_us) = us(event) else { continue };
            let micros = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
            let is_said = event.cues.iter().any(|cue| length(cue).is_some());
            let of_event = event.duration.map(micros).filter(|_| !is_said);
            let (back, cancelled) = (None, None);
            let range =
                |cue, planned_us, is_open| Range { event, cue, begins_us, planned_us, back, cancelled, is_open };
            if event.cues.is_empty() {
                found.push(range(None, of_event, false));
            }
            let is_end = |cue: &&Cue| matches!(cue.way, Way::In | Way::Cancels);
            for cue in event.cues.iter().filter(is_end) {
                if cue.way == Way::Cancels {
                    for range in found.iter_mut().filter(|range| is_named_by(range, cue) && range.back.is_none()) {
                        (range.cancelled, range.is_open) = (Some(event), false);
                    }
                    continue;
                }
                let began = |range: &&mut Range<'_>| is_named_by(range, cue) && range.begins_us <= begins_us;
                match found.iter_mut().rev().find(began) {
                    Some(open) if open.back.is_none() => (open.back, open.is_open) = (Some((event, begins_us)), false),
                    Some(_) => {}
                    None => found.push(range(Some(*cue), None, false)),
                }
            }
            for cue in event.cues.iter().filter(|cue| !is_end(cue)) {
                let is_out = cue.way == Way::Out;
                if is_out {
                    found.iter_mut().filter(|range| is_named_by(range, cue)).for_each(|range| range.is_open = false);
                }
                let planned_us = length(cue).map(micros).or(of_event.filter(|_| is_out && cue.duration.is_none()));
                found.push(range(Some(*cue), planned_us, is_out && cue.of.is_some() && !cue.returns));
            }
        }
        found
    }

    fn cue() -> impl Strategy<Value = Cue> {
        // Few names, so that they come again.
        let of = prop_oneof![
            (0u32..2).prop_map(EventId::Splice),
            (0u32..2, 0u8..3).prop_map(|(id, kind)| EventId::Segment(id, kind)),
            (0u32..2).prop_map(EventId::Segments),
        ];
        let way =
            prop_oneof![4 => Just(Way::Out), 4 => Just(Way::In), 1 => Just(Way::Neither), 1 => Just(Way::Cancels)];
        let duration = prop::option::weighted(0.3, 0u64..5_000_000);
        (prop::option::weighted(0.9, of), way, duration, prop::bool::weighted(0.2))
            .prop_map(|(of, way, duration, returns)| Cue { of, way, duration, returns })
    }

    /// At one of a few moments, or at none that is known.
    fn event() -> impl Strategy<Value = LiveEvent> {
        let cues = prop::collection::vec(cue(), 0..4);
        (0i64..25, prop::option::weighted(0.9, 0i64..20), cues).prop_map(|(at, lasts, cues)| {
            let seconds = |s: i64| MediaTime::new(s, Timescale::new(1).expect("not zero"));
            let timeline = if at < 20 { Timeline::Broadcast } else { Timeline::Period(1) };
            let scheme = EventScheme { uri: scte35::SCHEME.into(), value: String::new() };
            let (time, duration) = (seconds(at), lasts.map(seconds));
            LiveEvent { number: 0, timeline, time, duration, scheme, id: 0, data: Bytes::new(), is_inband: false, cues }
        })
    }

    proptest! {
        #[test]
        fn ranges_are_what_a_look_through_all_of_them_finds(events in prop::collection::vec(event(), 0..60)) {
            let number = |(number, event): (u64, LiveEvent)| Arc::new(LiveEvent { number, ..event });
            let events: Vec<Arc<LiveEvent>> = (0..).zip(events).map(number).collect();
            let us = |event: &LiveEvent| {
                (event.timeline == Timeline::Broadcast).then(|| event.time.to(Timescale::MICRO, Rounding::Nearest))
            };
            let said = |ranges: Vec<Range<'_>>| ranges.iter().map(|range| format!("{range:?}")).collect::<Vec<_>>();
            prop_assert_eq!(said(ranges(&events, us)), said(looked_through(&events, us)));
        }
    }
}
