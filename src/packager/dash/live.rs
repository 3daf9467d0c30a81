//! The MPD of a broadcast: dynamic while it lasts, static when it has ended.
//!
//! Who watches sees the end only if what is static says it on the timeline that was there: dash.js 5.2.1 and Shaka Player 5.2.12 keep where they put a
//! Period, and where presentationTimeOffset changes they look for what is left beyond the end (2026-11-27). What is static for long begins at 0.

use crate::formats::isobmff::prft::Produced;
use crate::media::event::beside;
use crate::media::live::{Broadcast, LowLatency};
use crate::media::presentation::{Period, Presentation, SwitchingSet};
use crate::media::track::{Kind, Track};
use crate::packager::dash::continuity::{Ids, Place};
use crate::packager::dash::{ELEMENT_BYTES, Mpd, NoDash, can_be_said, continuity};
use crate::packager::push;
use crate::packager::rate::Rates;
use crate::time::{MediaTime, Rounding, Timescale};

/// What lies between the live edge and a player that asks for nothing else, in target durations.
const DELAY_TARGETS: u64 = 3;
/// How often players are to ask at low latency, at least: what they are asked to be behind counts on it.
const UPDATE_LOW_LATENCY_MS: u64 = 1_000;

/// The MPD of `broadcast`. Its URLs are relative to the presentation, as those of presentations on demand are; `clock` is where the time
/// of day is, relative to it too.
pub fn mpd(broadcast: &Broadcast, rates: &Rates, clock: &str) -> Result<Vec<u8>, NoDash> {
    let mut presentation = broadcast.presentation();
    leave_out_what_lacks(&mut presentation, broadcast.is_settled);
    let left_us = if broadcast.is_settled { begin_with_media(&mut presentation) } else { 0 };
    can_be_said(&presentation)?;
    let segments: usize = presentation.tracks().map(|track| track.segments.len()).sum();
    let mut mpd = Mpd {
        out: Vec::with_capacity(ELEMENT_BYTES * (2 + presentation.tracks().count()) + segments * 8),
        rates,
        thumbnails: &[],
        broadcast: Some(broadcast),
        told: beside(&broadcast.events, |event| Some(broadcast.event_us(event)?.saturating_sub(left_us))),
        told_until_us: i64::MIN,
    };
    let timing = broadcast.timing;
    let low_latency = timing.low_latency.filter(|_| !broadcast.ended);
    mpd.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"");
    if presentation.tracks().any(Track::is_protected) {
        mpd.raw(" xmlns:cenc=\"urn:mpeg:cenc:2013\"");
    }
    if presentation.tracks().any(|track| track.entry.supplemental_codecs.is_some()) {
        mpd.raw(" xmlns:scte214=\"urn:scte:dash:scte214-extensions\"");
    }
    mpd.raw(" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\"");
    let ms = |ms: u64| MediaTime::new(i64::try_from(ms).unwrap_or(i64::MAX), Timescale::MILLI);
    if broadcast.ended {
        mpd.raw(" type=\"static\"");
        mpd.timed("mediaPresentationDuration", presentation.duration());
    } else {
        mpd.raw(" type=\"dynamic\"");
        mpd.attribute("availabilityStartTime", &broadcast.started.to_string());
        mpd.attribute("publishTime", &broadcast.published.to_string());
        // Twice a segment: a player learns of a segment half of one late at most. At low latency that would be too late of a long one.
        let update_ms = timing.target_s * 500;
        mpd.timed("minimumUpdatePeriod", ms(low_latency.map_or(update_ms, |_| update_ms.min(UPDATE_LOW_LATENCY_MS))));
        mpd.timed("timeShiftBufferDepth", ms(timing.window_ms.max(timing.target_s * 6000)));
        let usual = timing.target_s * 1000 * DELAY_TARGETS;
        mpd.timed("suggestedPresentationDelay", ms(low_latency.map_or(usual, LowLatency::delay_ms)));
    }
    mpd.timed("minBufferTime", ms(low_latency.map_or(timing.target_s * 1000, |own| own.target_ms / 2)));
    mpd.raw(">\n");
    let places = continuity::places(&presentation, Ids::Set);
    if let Some(low_latency) = low_latency {
        mpd.service_description(&presentation, &places, low_latency);
    }
    let ended = broadcast.ended.then(|| presentation.duration());
    // Before a hole a period ends earlier than the next begins.
    let end = |pair: &[Period]| Some(pair[1].start.min(pair[0].start.plus(pair[0].duration)));
    let ends = presentation.periods.windows(2).map(end).chain([ended]);
    for ((period, end), places) in presentation.periods.iter().zip(ends).zip(&places) {
        mpd.period(period, end, places, 0);
    }
    if !broadcast.ended {
        mpd.raw(" <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\"");
        mpd.attribute("value", clock);
        mpd.raw("/>\n");
    }
    mpd.raw("</MPD>\n");
    Ok(mpd.out)
}

/// Pictures without sound, or sound without pictures, that go on for so long are what is broadcast now.
const LACKS_MAX: MediaTime = MediaTime { ticks: 30_000, timescale: Timescale::MILLI };

/// Leaves out the Periods that lack pictures or sound where others have both. No player goes on from one kind of them to the other: Shaka Player 5.2
/// refuses the MPD (PERIOD_FLATTENING_FAILED), dash.js 5.2 waits for what does not come. A hole they pass. What lacks something for long is
/// listed after all, in place of what came before it, until what it lacks is back. Of what has ended for long that is listed which has most pictures and sound
/// together.
fn leave_out_what_lacks(presentation: &mut Presentation, is_settled: bool) {
    let has = |period: &Period| [Kind::Video, Kind::Audio].map(|kind| period.sets.iter().any(|set| set.kind == kind));
    let ms = |period: &Period| period.duration.to(Timescale::MILLI, Rounding::Nearest);
    let mut wanted = [false; 2];
    if is_settled {
        let of = |kinds: [bool; 2]| presentation.periods.iter().filter(|p| has(p) == kinds).map(ms).sum::<i64>();
        let all = presentation.periods.iter().map(has);
        let count = |kinds: [bool; 2]| kinds.into_iter().filter(|has| *has).count() as i64;
        wanted = all.max_by_key(|kinds| (of(*kinds) * count(*kinds), *kinds)).unwrap_or(wanted);
    } else {
        for period in &presentation.periods {
            let own = has(period);
            let lacks = own.iter().zip(wanted).any(|(own, wanted)| wanted && !own);
            if !lacks || period.duration >= LACKS_MAX {
                wanted = own;
            }
        }
    }
    presentation.periods.retain(|period| has(period) == wanted);
}

/// Lets `presentation` begin with its first pictures, or with its first media if it has none. While a broadcast is watched its Periods stay where they
/// began, though media leaves them; what is static is played from its beginning, and as long as it says (ISO/IEC 23009-1 §5.3.1.2). Returns how much earlier all begins,
/// in microseconds.
fn begin_with_media(presentation: &mut Presentation) -> i64 {
    let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
    let micros = |us: i64| MediaTime::new(us, Timescale::MICRO);
    let Some(first) = presentation.periods.first() else { return 0 };
    let begin = |is_asked: fn(Kind) -> bool| {
        let tracks = first.tracks().filter(|track| is_asked(track.kind));
        tracks.filter_map(|track| track.segments.first().map(|segment| us(track.time(segment.time)))).min()
    };
    let begin = begin(|kind| kind == Kind::Video).or_else(|| begin(|_| true)).unwrap_or(0);
    let left_us = us(first.start) + (begin - us(first.origin)).max(0);
    for period in &mut presentation.periods {
        let start = us(period.start) - left_us;
        if start < 0 {
            period.origin = micros(us(period.origin) - start);
            period.duration = micros(us(period.duration) + start);
        }
        period.start = micros(start.max(0));
    }
    left_us
}

/// The moment that a producer named, and the clock that it was on, are believed if they are so near to when media came.
const PRODUCER_SLACK_MS: i64 = 10_000;
/// Who has fallen behind catches up by so much.
const CATCH_UP: &str = "1.04";

impl Mpd<'_> {
    /// How far from the live edge it is to be played (ISO/IEC 23009-1 Annex K). Nobody is to be slower than it: Shaka 5.2, which counts
    /// the target from where it begins, would fall back.
    fn service_description(&mut self, presentation: &Presentation, places: &[Vec<Place<'_>>], low_latency: LowLatency) {
        let newest = presentation.periods.last().zip(places.last());
        let sets = newest.into_iter().flat_map(|(period, places)| period.sets.iter().zip(places));
        let reference = sets.filter_map(|(set, place)| Some((place.id, self.produced(set)?.1))).next();
        self.raw(" <ServiceDescription id=\"0\">\n  <Latency");
        // Where a producer's clock is named, latency counts from that.
        let mut target = low_latency.target_ms;
        if let Some((id, late_ms)) = reference {
            self.number("referenceId", id);
            target = target.saturating_add_signed(late_ms);
        }
        self.number("target", target);
        self.number("min", target / 2);
        self.number("max", target * 2);
        self.raw("/>\n  <PlaybackRate");
        self.attribute("min", "1.00");
        self.attribute("max", CATCH_UP);
        self.raw("/>\n </ServiceDescription>\n");
    }

    /// Segments of `track` may be asked for when their first chunk is there, and end when the last is (ISO/IEC 23009-1 §5.3.9.5.3).
    pub(super) fn early(&mut self, track: &Track) {
        let timing = self.broadcast.filter(|broadcast| !broadcast.ended).map(|broadcast| broadcast.timing);
        let Some(low_latency) = timing.and_then(|timing| timing.low_latency) else { return };
        if track.kind == Kind::Text {
            return;
        }
        self.open("availabilityTimeOffset");
        push::seconds(&mut self.out, (low_latency.segment_ms - low_latency.chunk_ms) * 1000);
        self.raw("\"");
        self.attribute("availabilityTimeComplete", "false");
    }

    /// What a producer said of the tracks of `set`, which has this id: a moment and its media time (ISO/IEC 23009-1 §5.12).
    pub(super) fn producer_reference_time(&mut self, set: &SwitchingSet, id: u64) {
        let Some((produced, _)) = self.produced(set) else { return };
        let presented = i64::try_from(produced.media_time).unwrap_or(i64::MAX) - set.tracks[0].media_time;
        self.raw("   <ProducerReferenceTime");
        self.number("id", id);
        self.attribute("inband", "true");
        self.attribute("type", if produced.is_captured { "captured" } else { "encoder" });
        self.attribute("wallClockTime", &produced.at.to_string());
        self.number("presentationTime", u64::try_from(presented).unwrap_or(0));
        self.raw("/>\n");
    }

    /// What a producer said of the first track of `set`, and how much earlier that was than media came; `None` if its clock is another.
    fn produced(&self, set: &SwitchingSet) -> Option<(Produced, i64)> {
        let track = set.tracks.first()?;
        let broadcast = self.broadcast?;
        let (period, live) = broadcast.track(&track.name, track.version)?;
        let produced = live.produced?;
        let presented = i64::try_from(produced.media_time).ok()? - track.media_time;
        let came_ms = i64::try_from(broadcast.utc_us(period, presented, track.timescale) / 1000).ok()?;
        let late_ms = came_ms - i64::try_from(produced.at.0).ok()?;
        (late_ms.abs() <= PRODUCER_SLACK_MS).then_some((produced, late_ms))
    }

    fn timed(&mut self, name: &str, time: MediaTime) {
        self.open(name);
        self.duration(time);
        self.raw("\"");
    }
}
