//! The MPD of a broadcast: dynamic while it lasts, static when it has ended.

use crate::media::live::Broadcast;
use crate::media::presentation::Period;
use crate::media::track::Track;
use crate::packager::dash::{ELEMENT_BYTES, Mpd, NoDash, continuity};
use crate::packager::push;
use crate::packager::rate::Rates;
use crate::time::{MediaTime, Timescale};

/// What lies between the live edge and a player that asks for nothing else, in target durations.
const DELAY_TARGETS: u64 = 3;

/// The MPD of `broadcast`. Its URLs are relative to the presentation, as those of presentations on demand are; `clock` is where the time
/// of day is, relative to it too.
pub fn mpd(broadcast: &Broadcast, rates: &Rates, clock: &str) -> Result<Vec<u8>, NoDash> {
    let presentation = broadcast.presentation();
    if presentation.tracks().next().is_none() {
        return Err(NoDash::NoTrack);
    }
    let segments: usize = presentation.tracks().map(|track| track.segments.len()).sum();
    let mut mpd = Mpd {
        out: Vec::with_capacity(ELEMENT_BYTES * (2 + presentation.tracks().count()) + segments * 8),
        rates,
        thumbnails: &[],
    };
    let timing = broadcast.timing;
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
        // Twice a segment: a player learns of a segment half of one late at most.
        mpd.timed("minimumUpdatePeriod", ms(timing.target_s * 500));
        mpd.timed("timeShiftBufferDepth", ms(timing.window_ms.max(timing.target_s * 6000)));
        mpd.timed("suggestedPresentationDelay", ms(timing.target_s * 1000 * DELAY_TARGETS));
    }
    mpd.raw(" minBufferTime=\"PT");
    push::decimal(&mut mpd.out, timing.target_s);
    mpd.raw("S\">\n");
    let places = continuity::places(&presentation);
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

impl Mpd<'_> {
    fn timed(&mut self, name: &str, time: MediaTime) {
        self.open(name);
        self.duration(time);
        self.raw("\"");
    }
}
