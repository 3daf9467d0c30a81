//! The media playlist of a broadcast (rfc8216bis §4.4.3), with parts where chunks come often enough.
//!
//! It depends on the state of the broadcast alone: how long somebody waited for it, or when he asked, changes nothing.

use std::sync::Arc;

use crate::media::live::{Broadcast, LivePeriod, LiveSegment, LiveTrack, Part};
use crate::media::track::{Kind, Track};
use crate::packager::hls::dateranges;
use crate::packager::hls::key::Keys;
use crate::packager::hls::media::micros;
use crate::packager::hls::{NoHls, Options};
use crate::packager::push;
use crate::time::{Rounding, Timescale, Utc, rescale};

/// Bytes that a segment takes, with its name.
const SEGMENT_BYTES: usize = 64;
/// Parts are listed as long as they may be asked for: three target durations from the end (rfc8216bis §4.4.4.9).
const PARTS_TARGETS: u64 = 3;
/// A delta update may leave out what is older than so many target durations (rfc8216bis §4.4.3.8: at least six).
const SKIP_TARGETS: u64 = 6;

/// Where a playlist ends: the media sequence number of the segment that is next, and how many of its parts are listed.
pub fn edge(broadcast: &Broadcast, name: &str) -> Option<(u64, usize)> {
    let (_, track) = broadcast.tracks_called(name).last()?;
    let parts = track.open.as_ref().filter(|_| has_parts(broadcast, &track.face));
    Some((track.open.as_ref().map_or(track.next_number, |open| open.number), parts.map_or(0, |open| open.parts.len())))
}

/// Whether `track` is listed by parts, too: text comes seldom, and WebVTT is made of whole segments.
pub fn has_parts(broadcast: &Broadcast, track: &Track) -> bool {
    broadcast.timing.part_target_ms.is_some() && track.kind != Kind::Text
}

/// Whether segments of `track` are offered as WebVTT: players take no `wvtt` in fragmented MP4.
pub fn is_web_vtt(track: &Track) -> bool {
    track.entry.format.0 == *b"wvtt"
}

/// Whether each segment of `track` that is listed, or that grows, can be decoded without the one before it (EXT-X-INDEPENDENT-SEGMENTS).
pub fn is_independent(track: &LiveTrack) -> bool {
    track.listed().all(|segment| segment.starts_with_sync)
        && track.open.as_ref().is_none_or(|open| open.starts_with_sync)
}

/// The playlist of the tracks called `name`; a delta update of it, if that is asked for and worth it. Its URIs are relative to where it
/// is: `{version}/init.mp4`, `{version}/{time}.m4s`, `{version}/{time}.part.m4s`, `{version}/{time}.vtt`. `None` if no track has this name.
pub fn playlist(
    broadcast: &Broadcast,
    name: &str,
    is_delta: bool,
    options: &Options,
) -> Result<Option<Vec<u8>>, NoHls> {
    let tracks: Vec<(&Arc<LivePeriod>, &Arc<LiveTrack>)> = broadcast.tracks_called(name).collect();
    let Some(&(edge_period, newest)) = tracks.last() else { return Ok(None) };
    let timing = &broadcast.timing;
    let part_target_ms = timing.part_target_ms.filter(|_| !broadcast.ended);
    let listed =
        || tracks.iter().flat_map(|(period, track)| track.listed().map(move |segment| (*period, *track, segment)));
    let first = listed().next();
    let end_us = listed().last().map_or(0, |(period, track, last)| after_start_us(period, track, last.end()));
    let count = listed().count() as u64;
    let skipped = match is_delta && !broadcast.ended {
        true => skippable(listed(), end_us.saturating_sub(SKIP_TARGETS * timing.target_s * 1_000_000)),
        false => 0,
    };
    let mut out = Vec::with_capacity(1024 + (count - skipped) as usize * SEGMENT_BYTES);
    // 9: EXT-X-SKIP (rfc8216bis §8).
    out.extend_from_slice(b"#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:");
    push::decimal(&mut out, timing.target_s);
    out.push(b'\n');
    if !broadcast.ended {
        server_control(&mut out, timing.target_s, part_target_ms, has_parts(broadcast, &newest.face));
    }
    if broadcast.starts_over {
        out.extend_from_slice(b"#EXT-X-START:TIME-OFFSET=0\n");
    }
    out.extend_from_slice(b"#EXT-X-MEDIA-SEQUENCE:");
    // Where nothing is listed: of the segment that comes next, or grows.
    let next = newest.open.as_ref().map_or(newest.next_number, |open| open.number);
    push::decimal(&mut out, first.map_or(next, |(_, _, segment)| segment.number));
    out.extend_from_slice(b"\n#EXT-X-DISCONTINUITY-SEQUENCE:");
    push::decimal(&mut out, first.map_or(edge_period.number, |(period, _, _)| period.number));
    out.push(b'\n');
    if tracks.iter().all(|(_, track)| is_independent(track)) {
        out.extend_from_slice(b"#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    if skipped > 0 {
        out.extend_from_slice(b"#EXT-X-SKIP:SKIPPED-SEGMENTS=");
        push::decimal(&mut out, skipped);
        out.push(b'\n');
    }
    if !broadcast.events.is_empty() {
        let from_us = first.map_or(0, |(period, track, segment)| after_start_us(period, track, segment.time));
        dateranges::push(&mut out, broadcast, i64::try_from(from_us).unwrap_or(i64::MAX));
    }
    let mut list = List { out, broadcast, options, period: None, is_locked: false, end: None };
    let is_parted = !broadcast.ended && has_parts(broadcast, &newest.face);
    let parts_from_us = end_us.saturating_sub(PARTS_TARGETS * timing.target_s * 1_000_000);
    for (index, (period, track, segment)) in listed().enumerate() {
        if (index as u64) < skipped {
            (list.period, list.is_locked) = (Some(period.number), Keys::of(&track.face, options)?.is_some());
            continue;
        }
        let has_parts = is_parted && after_start_us(period, track, segment.end()) > parts_from_us;
        list.segment(period, track, segment, has_parts)?;
    }
    if is_parted {
        list.growing(edge_period, newest)?;
    }
    if part_target_ms.is_some() {
        list.reports(name);
    }
    let mut out = list.out;
    if broadcast.ended {
        out.extend_from_slice(b"#EXT-X-ENDLIST\n");
    }
    Ok(Some(out))
}

/// How many of `listed` end before `until_us`.
fn skippable<'a>(
    listed: impl Iterator<Item = (&'a Arc<LivePeriod>, &'a Arc<LiveTrack>, &'a Arc<LiveSegment>)>,
    until_us: u64,
) -> u64 {
    listed.take_while(|(period, track, segment)| after_start_us(period, track, segment.end()) < until_us).count() as u64
}

/// rfc8216bis §4.4.3.8: hold-backs of three parts and three target durations.
fn server_control(out: &mut Vec<u8>, target_s: u64, part_target_ms: Option<u64>, has_parts: bool) {
    out.extend_from_slice(b"#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=");
    push::seconds(out, SKIP_TARGETS * target_s * 1_000_000);
    out.extend_from_slice(b",HOLD-BACK=");
    push::seconds(out, 3 * target_s * 1_000_000);
    if let Some(part_target_ms) = part_target_ms {
        out.extend_from_slice(b",PART-HOLD-BACK=");
        push::seconds(out, 3 * part_target_ms * 1000);
    }
    if let Some(part_target_ms) = part_target_ms.filter(|_| has_parts) {
        out.extend_from_slice(b"\n#EXT-X-PART-INF:PART-TARGET=");
        push::seconds(out, part_target_ms * 1000);
    }
    out.push(b'\n');
}

/// `ticks` of `track` in microseconds after the broadcast's start.
fn after_start_us(period: &LivePeriod, track: &LiveTrack, ticks: i64) -> u64 {
    let timescale = track.face.timescale;
    micros(period.offset(ticks, timescale), timescale)
}

/// A playlist under way.
struct List<'a> {
    out: Vec<u8>,
    broadcast: &'a Broadcast,
    options: &'a Options,
    /// Whether an EXT-X-KEY is in force.
    is_locked: bool,
    /// The number of the period that the last segment is in.
    period: Option<u64>,
    /// When the last segment ended that has media, in ticks.
    end: Option<i64>,
}

impl List<'_> {
    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// What comes before the first part or segment that begins at `time`.
    fn before(&mut self, period: &LivePeriod, track: &LiveTrack, time: i64) -> Result<(), NoHls> {
        if self.period != Some(period.number) {
            // One for each period that began since, of which this track may have nothing: a discontinuity sequence number is that of the
            // first segment and a tag each (rfc8216bis §4.4.3.3), and the same in every playlist.
            for _ in self.period.unwrap_or(period.number)..period.number {
                self.text("#EXT-X-DISCONTINUITY\n");
            }
            self.period = Some(period.number);
            self.end = None;
            let keys = Keys::of(&track.face, self.options)?;
            match &keys {
                Some(keys) => keys.segments().enumerate().for_each(|(change, _)| keys.write(&mut self.out, change)),
                None if self.is_locked => self.text("#EXT-X-KEY:METHOD=NONE\n"),
                None => {}
            }
            self.is_locked = keys.is_some();
            // After the KEY: it holds for the MAPs that follow it, too.
            if !is_web_vtt(&track.face) {
                self.text("#EXT-X-MAP:URI=\"");
                self.folder(track);
                self.text("init.mp4\"\n");
            }
        }
        // Where a segment does not go on where the last one ended.
        if self.end != Some(time) {
            let us = self.broadcast.utc_us(period, time, track.face.timescale);
            self.text("#EXT-X-PROGRAM-DATE-TIME:");
            self.text(&Utc((us + 500) / 1000).to_string());
            self.text("\n");
        }
        Ok(())
    }

    fn folder(&mut self, track: &LiveTrack) {
        push::hex(&mut self.out, &track.face.version.0.to_be_bytes());
        self.text("/");
    }

    /// A segment of which the end is missing is a gap, too, and its parts stay: it has one number for both.
    fn segment(
        &mut self,
        period: &LivePeriod,
        track: &LiveTrack,
        segment: &LiveSegment,
        has_parts: bool,
    ) -> Result<(), NoHls> {
        self.before(period, track, segment.time)?;
        if has_parts {
            segment.parts.iter().for_each(|part| self.part(track, part));
            if let Some(until) = segment.lacks_until.filter(|_| !segment.parts.is_empty()) {
                self.missing_parts(track, segment.end(), until);
            }
        }
        let is_gap = segment.is_gap || segment.lacks_until.is_some();
        if is_gap {
            self.text("#EXT-X-GAP\n");
        }
        self.end = Some(segment.end()).filter(|_| !is_gap);
        self.text("#EXTINF:");
        self.length(segment.time, segment.lacks_until.unwrap_or(segment.end()), track.face.timescale);
        self.text(",\n");
        self.folder(track);
        push::decimal(&mut self.out, u64::try_from(segment.time).unwrap_or(0));
        self.text(if is_web_vtt(&track.face) { ".vtt\n" } else { ".m4s\n" });
        Ok(())
    }

    fn part(&mut self, track: &LiveTrack, part: &Part) {
        let end = part.time + part.duration;
        self.part_of(track, part.time, end, if part.is_independent { ",INDEPENDENT=YES" } else { "" });
    }

    /// Parts that never came, none longer than was announced.
    fn missing_parts(&mut self, track: &LiveTrack, mut from: i64, until: i64) {
        let timescale = track.face.timescale;
        let most_ms = self.broadcast.timing.part_target_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(i64::MAX);
        let most = rescale(most_ms, Timescale::MILLI, timescale, Rounding::Down).max(1);
        while from < until {
            let end = until.min(from.saturating_add(most));
            self.part_of(track, from, end, ",GAP=YES");
            from = end;
        }
    }

    fn part_of(&mut self, track: &LiveTrack, time: i64, end: i64, what: &str) {
        self.text("#EXT-X-PART:DURATION=");
        self.length(time, end, track.face.timescale);
        self.text(",URI=\"");
        self.folder(track);
        push::decimal(&mut self.out, u64::try_from(time).unwrap_or(0));
        self.text(".part.m4s\"");
        self.text(what);
        self.text("\n");
    }

    /// The difference of positions, each rounded by itself: what lengths add up to never drifts.
    fn length(&mut self, from: i64, to: i64, timescale: Timescale) {
        push::seconds(&mut self.out, micros(to, timescale).saturating_sub(micros(from, timescale)));
    }

    /// The parts of the segment that grows, and the one that comes next.
    fn growing(&mut self, period: &LivePeriod, track: &LiveTrack) -> Result<(), NoHls> {
        if let Some(open) = track.open.as_ref().filter(|open| !open.parts.is_empty()) {
            self.before(period, track, open.time)?;
            open.parts.iter().for_each(|part| self.part(track, part));
        }
        // A MAP for it may be missing yet: what is hinted at then belongs to a period of which nothing is listed.
        if self.period == Some(period.number) {
            self.text("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"");
            self.folder(track);
            push::decimal(&mut self.out, u64::try_from(track.next_part_time()).unwrap_or(0));
            self.text(".part.m4s\"\n");
        }
        Ok(())
    }

    /// Where the other playlists end (rfc8216bis §4.4.5.4).
    fn reports(&mut self, own: &str) {
        let Some(period) = self.broadcast.periods.last() else { return };
        for track in period.tracks.iter().filter(|track| track.face.name != own) {
            let Some((number, parts)) = edge(self.broadcast, &track.face.name) else { continue };
            let (msn, part) = match (parts.checked_sub(1), track.segments.last()) {
                (Some(part), _) => (number, Some(part)),
                (None, Some(last)) => {
                    let parts = if has_parts(self.broadcast, &track.face) { last.parts.len() } else { 0 };
                    (last.number, parts.checked_sub(1))
                }
                (None, None) => continue,
            };
            self.text("#EXT-X-RENDITION-REPORT:URI=\"../");
            self.text(&track.face.name);
            self.text("/media.m3u8\",LAST-MSN=");
            push::decimal(&mut self.out, msn);
            if let Some(part) = part {
                self.text(",LAST-PART=");
                push::decimal(&mut self.out, part as u64);
            }
            self.text("\n");
        }
    }
}
