//! MPEG-DASH media presentation descriptions (ISO/IEC 23009-1), of presentations that have ended.
//!
//! ```text
//!   MPD > Period > AdaptationSet (a switching set) > Representation (a track)
//! ```
//! A two-hour presentation has thousands of segments, but few runs of equal ones: everything is pushed onto one buffer.

mod continuity;
mod events;
pub mod live;

use std::fmt;

use crate::formats::captions::Service;
use crate::formats::cicp::Colour;
use crate::formats::isobmff::sample_entry::ChannelLayout;
use crate::formats::language;
use crate::media::event::Beside;
use crate::media::live::Broadcast;
use crate::media::presentation::{Period, Presentation, SwitchingSet};
use crate::media::thumbnails::Thumbnails;
use crate::media::timeline::{self, Run};
use crate::media::track::{Caption, Kind, Pssh, Role, Segment, Track, Version};
use crate::media::trick;
use crate::packager::dash::continuity::{Ids, Place};
use crate::packager::push;
use crate::packager::rate::Rates;
use crate::time::{MediaTime, Rounding, Timescale};

/// Bytes of an MPD without its timelines, an AdaptationSet or a Representation.
const ELEMENT_BYTES: usize = 1536;
/// Bytes of an `S`, its time included.
const S_BYTES: usize = 56;
/// What ECMAScript players can count to exactly.
const MAX_TIME: i64 = 1 << 53;

/// Why something can't be had as DASH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoDash {
    /// There is no track.
    NoTrack,
    /// A segment's time is above 2^53: players, which count in doubles, would ask for another.
    Time {
        /// The track.
        track: String,
        /// The segment's time.
        time: i64,
    },
}

impl fmt::Display for NoDash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDash::NoTrack => f.write_str("no track for DASH"),
            NoDash::Time { track, time } => {
                write!(f, "track {track}: a segment at {time} ticks, above 2^53, which DASH players can't name")
            }
        }
    }
}

impl std::error::Error for NoDash {}

/// The MPD of `presentation`, whose rates are `rates`. Its URLs are relative to the presentation: BaseURL `{track}/{version}/`,
/// `init.mp4` and `$Time$.m4s` there.
pub fn mpd(presentation: &Presentation, rates: &Rates) -> Result<Vec<u8>, NoDash> {
    can_be_said(presentation)?;
    let segments: usize = presentation.tracks().map(|track| track.segments.len()).sum();
    let elements =
        1 + presentation.tracks().count() + presentation.periods.iter().map(|period| period.sets.len()).sum::<usize>();
    let out = Vec::with_capacity(elements * ELEMENT_BYTES + segments * S_BYTES);
    let mut mpd = Mpd {
        out,
        rates,
        thumbnails: &presentation.thumbnails,
        broadcast: None,
        told: Vec::new(),
        told_until_us: i64::MIN,
    };
    mpd.presentation(presentation);
    Ok(mpd.out)
}

/// Whether `presentation` can be said in an MPD.
fn can_be_said(presentation: &Presentation) -> Result<(), NoDash> {
    if presentation.tracks().next().is_none() {
        return Err(NoDash::NoTrack);
    }
    let mut ends = presentation.tracks().map(|track| (track, track.end()));
    match ends.find(|(_, end)| *end > MAX_TIME) {
        Some((track, time)) => Err(NoDash::Time { track: track.name.clone(), time }),
        None => Ok(()),
    }
}

struct Mpd<'a> {
    out: Vec<u8>,
    rates: &'a Rates,
    thumbnails: &'a [Thumbnails],
    /// What it is of, if that is live.
    broadcast: Option<&'a Broadcast>,
    /// The events that are told of beside its media.
    told: Vec<Beside<'a>>,
    /// Where the period before ended, in microseconds after the first begins: events before that are told.
    told_until_us: i64,
}

impl Mpd<'_> {
    fn presentation(&mut self, presentation: &Presentation) {
        self.raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"");
        if presentation.tracks().any(Track::is_protected) {
            self.raw(" xmlns:cenc=\"urn:mpeg:cenc:2013\"");
        }
        if presentation.tracks().any(|track| track.entry.supplemental_codecs.is_some()) {
            self.raw(" xmlns:scte214=\"urn:scte:dash:scte214-extensions\"");
        }
        // No CMAF profile: fragments go out as they came, and whether they are CMAF's (23000-19 §7) is not checked.
        self.raw(" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\" mediaPresentationDuration=\"");
        self.duration(presentation.duration());
        self.raw("\" minBufferTime=\"PT");
        // At `bandwidth`, the peak of whole segments, the longest segment comes within its own duration (ISO/IEC 23009-1 §5.3.5.2).
        let longest_s = presentation.target_duration_s();
        push::decimal(&mut self.out, longest_s);
        self.raw("S\">\n");
        // Where several follow one another, each ends at the microsecond at which the next begins.
        let ends = presentation.periods.iter().skip(1).map(|next| next.start).chain([presentation.duration()]);
        let places = continuity::places(presentation, Ids::Order);
        // Behind those of the sets themselves, and equal where theirs are.
        let trick_ids_from = places.iter().flatten().map(|place| place.id).max().unwrap_or(0);
        for ((period, end), places) in presentation.periods.iter().zip(ends).zip(places) {
            self.period(period, Some(end), &places, trick_ids_from);
        }
        self.raw("</MPD>\n");
    }

    /// A period until `end`, if that is known.
    fn period(&mut self, period: &Period, end: Option<MediaTime>, places: &[Place<'_>], trick_ids_from: u64) {
        self.raw(" <Period");
        self.attribute("id", &period.id);
        self.raw(" start=\"");
        self.duration(period.start);
        if let Some(end) = end {
            let micros = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
            self.raw("\" duration=\"");
            self.duration(MediaTime::new(micros(end) - micros(period.start), Timescale::MICRO));
        }
        self.raw("\">\n");
        self.event_streams_of(period, end.is_none());
        for (index, (set, place)) in period.sets.iter().zip(places).enumerate() {
            // A text once: as IMSC, where there is that.
            if set.tracks.iter().all(|track| track.as_imsc.is_some()) {
                continue;
            }
            self.adaptation_set(period, index, set, place);
        }
        for (set, place) in period.sets.iter().zip(places) {
            self.trick_set(period, set, place.id, trick_ids_from + place.id);
        }
        let thumbnails = self.thumbnails;
        for (thumbnails, id) in thumbnails.iter().zip(2 * trick_ids_from + 1..) {
            self.thumbnail_set(thumbnails, id);
        }
        self.raw(" </Period>\n");
    }

    /// Sheets of thumbnails (DASH-IF Interoperability Points §6.2.6), by number from the beginning on.
    fn thumbnail_set(&mut self, thumbnails: &Thumbnails, id: u64) {
        self.raw("  <AdaptationSet");
        self.number("id", id);
        self.attribute("contentType", "image");
        self.attribute("mimeType", thumbnails.format.media_type());
        self.raw(">\n   <SegmentTemplate");
        self.attribute("media", &format!("$Number$.{}", thumbnails.format.extension()));
        self.number("timescale", 1000);
        self.number("duration", thumbnails.sheet_ms());
        self.number("startNumber", 1);
        self.raw("/>\n   <Representation");
        self.attribute("id", &thumbnails.name);
        self.number("bandwidth", thumbnails.peak().min(u32::MAX.into()));
        self.number("width", thumbnails.width.into());
        self.number("height", thumbnails.height.into());
        self.raw(">\n");
        let tiles = format!("{}x{}", thumbnails.columns, thumbnails.rows);
        self.descriptor("    ", "EssentialProperty", "http://dashif.org/guidelines/thumbnail_tile", &tiles);
        self.base_url(&thumbnails.name, thumbnails.version);
        self.raw("   </Representation>\n  </AdaptationSet>\n");
    }

    /// The pictures of `set`, whose id is `main_id`, that need no other: for going through it quickly (DASH-IF Interoperability
    /// Points, trick modes; codingDependency and maxPlayoutRate: ISO/IEC 23009-1 §5.3.7.2).
    fn trick_set(&mut self, period: &Period, set: &SwitchingSet, main_id: u64, id: u64) {
        let rates = self.rates;
        let tracks = || set.tracks.iter().filter(|track| rates.of_trick(track).is_some());
        let Some(first) = tracks().next() else { return };
        let shown = |track| rates.of_trick(track).map_or(&[][..], |trick| &trick.shown[..]);
        // Where pictures come as often as frames do at normal speed: what decodes these decodes them.
        let speed = |track| rates.of_trick(track).map(|trick| u64::from(trick::played_samples(track)) / trick.pictures);
        let slowest = tracks().filter_map(speed).min().unwrap_or(1);
        let common_timeline =
            tracks().skip(1).all(|track| track.timescale == first.timescale && shown(track) == shown(first));
        let common_kid = tracks().all(|track| kid(track) == kid(first) && track.pssh == first.pssh);
        self.raw("  <AdaptationSet");
        self.number("id", id);
        self.raw(" contentType=\"video\" mimeType=\"video/mp4\"");
        if common_timeline {
            self.raw(" segmentAlignment=\"true\"");
        }
        self.raw(" startWithSAP=\"1\" codingDependency=\"false\"");
        self.number("maxPlayoutRate", slowest);
        self.raw(">\n");
        if common_kid {
            self.protection("   ", first);
        }
        let scheme = "http://dashif.org/guidelines/trickmode";
        self.descriptor("   ", "EssentialProperty", scheme, &main_id.to_string());
        let colour = |track: &Track| track.video().and_then(|video| video.colour);
        if let Some(common) = colour(first).filter(|own| tracks().all(|track| colour(track) == Some(*own))) {
            self.colour(period, common);
        }
        if common_timeline {
            self.timeline("   ", period, first, "$Time$.trick.m4s", shown(first).iter().copied());
        }
        for track in tracks() {
            self.raw("   <Representation");
            // No track's name has a dot.
            self.open("id");
            self.text(&track.name);
            self.raw(".trick\"");
            self.attribute("codecs", &track.entry.codecs);
            self.number(
                "bandwidth",
                rates.of_trick(track).map_or(1, |trick| trick.rate.peak).clamp(1, u32::MAX.into()),
            );
            self.picture(track);
            self.raw(">\n");
            if !common_kid {
                self.protection("    ", track);
            }
            self.base_url(&track.name, track.version);
            if !common_timeline {
                self.timeline("    ", period, track, "$Time$.trick.m4s", shown(track).iter().copied());
            }
            self.raw("   </Representation>\n");
        }
        self.raw("  </AdaptationSet>\n");
    }

    fn adaptation_set(&mut self, period: &Period, index: usize, set: &SwitchingSet, place: &Place<'_>) {
        let first = &set.tracks[0];
        self.raw("  <AdaptationSet");
        self.number("id", place.id);
        self.raw(match set.kind {
            Kind::Video => " contentType=\"video\" mimeType=\"video/mp4\"",
            Kind::Audio => " contentType=\"audio\" mimeType=\"audio/mp4\"",
            Kind::Text => " contentType=\"text\" mimeType=\"application/mp4\"",
        });
        self.language(set.language.as_deref());
        let same = |track: &Track| {
            let times = |segment: &Segment| (segment.time, segment.duration);
            track.timescale == first.timescale && track.segments.iter().map(times).eq(first.segments.iter().map(times))
        };
        let common_timeline = set.tracks.iter().skip(1).all(same);
        // On demand boundaries are equal in a switching set; of a broadcast they are what encoders make of them.
        let is_aligned = self.broadcast.is_none() || common_timeline;
        if is_aligned || set.tracks.iter().skip(1).all(|track| are_aligned(first, track)) {
            self.raw(" segmentAlignment=\"true\"");
        }
        if set.tracks.iter().flat_map(|track| &track.segments).all(|segment| segment.starts_with_sync) {
            // Type 1: all that follows the sync sample is presented after it. Where samples are reordered, leading ones may
            // precede it, which is type 2 (ISO/IEC 14496-12 Annex I).
            // Of live video nobody knows what will come.
            let may_reorder = |track: &Track| track.samples.is_empty() && track.kind == Kind::Video;
            let reordered =
                set.tracks.iter().any(|track| may_reorder(track) || track.samples.has_composition_offsets());
            self.number("startWithSAP", if reordered { 2 } else { 1 });
        }
        self.extents(set);
        self.raw(">\n");

        let common_kid = set.tracks.iter().all(|track| kid(track) == kid(first) && track.pssh == first.pssh);
        if set.kind == Kind::Audio && set.tracks.iter().all(|track| track.audio() == first.audio()) {
            self.channels("   ", first);
        }
        if common_kid {
            self.protection("   ", first);
        }
        if let Some(colour) = common(set, |track| track.video().and_then(|video| video.colour)).flatten() {
            self.colour(period, colour);
        }
        if set.kind == Kind::Audio && set.tracks.iter().all(|track| track.audio() == first.audio()) {
            self.joint_objects("   ", first);
        }
        if let Some((earlier, link)) = place.from {
            self.descriptor("   ", "SupplementalProperty", link.scheme(), earlier);
        }
        self.event_streams(set);
        if let Some(Some(label)) = common(set, |track| track.label.as_deref()) {
            self.raw("   <Label>");
            self.text(label);
            self.raw("</Label>\n");
        }
        self.producer_reference_time(set, place.id);
        self.roles(period, index, set);

        if common_timeline {
            self.segments("   ", period, first);
        }
        for track in &set.tracks {
            self.representation(period, set, track, !common_kid, !common_timeline);
        }
        self.raw("  </AdaptationSet>\n");
    }

    /// The schemes of the event messages that come in its segments (ISO/IEC 23009-1 §5.10.3.2).
    fn event_streams(&mut self, set: &SwitchingSet) {
        let mut schemes: Vec<_> = set.tracks.iter().flat_map(|track| &track.events).collect();
        schemes.sort_unstable();
        schemes.dedup();
        for scheme in schemes {
            self.raw("   <InbandEventStream");
            self.attribute("schemeIdUri", &scheme.uri);
            self.attribute("value", &scheme.value);
            self.raw("/>\n");
        }
    }

    /// The largest picture and frame rate, of several; the shape of the picture, if all share it.
    fn extents(&mut self, set: &SwitchingSet) {
        if set.kind != Kind::Video {
            return;
        }
        let sizes = || set.tracks.iter().filter_map(Track::video);
        if set.tracks.len() > 1 {
            self.number("maxWidth", sizes().map(|video| video.width.into()).max().unwrap_or(0));
            self.number("maxHeight", sizes().map(|video| video.height.into()).max().unwrap_or(0));
            let faster = |a: &(u32, u32), b: &(u32, u32)| {
                (u64::from(a.0) * u64::from(b.1)).cmp(&(u64::from(b.0) * u64::from(a.1)))
            };
            if let Some(rate) = set.tracks.iter().filter_map(|track| track.frame_rate).max_by(faster) {
                self.frame_rate("maxFrameRate", rate);
            }
        }
        let shape = |track: &Track| {
            let video = track.video()?;
            let (h, v) = video.pixel_aspect.unwrap_or((1, 1));
            let (width, height) = (u64::from(video.width) * u64::from(h), u64::from(video.height) * u64::from(v));
            let divisor = gcd(width, height);
            (divisor > 0).then(|| (width / divisor, height / divisor))
        };
        if let Some(Some((width, height))) = common(set, shape) {
            self.ratio("par", width, height);
        }
    }

    fn representation(
        &mut self,
        period: &Period,
        set: &SwitchingSet,
        track: &Track,
        own_protection: bool,
        own_timeline: bool,
    ) {
        self.raw("   <Representation");
        self.attribute("id", &track.name);
        self.attribute("codecs", &track.entry.codecs);
        self.number("bandwidth", self.rates.of(track).peak.clamp(1, u32::MAX.into()));
        self.picture(track);
        if let Some(rate) = track.frame_rate {
            self.frame_rate("frameRate", rate);
        }
        if let Some(audio) = track.audio() {
            self.number("audioSamplingRate", audio.sample_rate.into());
        }
        if let Some(supplemental) = &track.entry.supplemental_codecs {
            // SCTE 214-1: codecs and compatibility brands apart, which HLS joins with a slash.
            let (codecs, profiles) =
                supplemental.split_once('/').map_or((&supplemental[..], None), |(c, p)| (c, Some(p)));
            self.attribute("scte214:supplementalCodecs", codecs);
            if let Some(profiles) = profiles {
                self.attribute("scte214:supplementalProfiles", profiles);
            }
        }
        self.raw(">\n");
        let own_channels =
            set.kind == Kind::Audio && set.tracks.iter().any(|other| other.audio() != set.tracks[0].audio());
        if own_channels {
            self.channels("    ", track);
        }
        if own_protection {
            self.protection("    ", track);
        }
        if own_channels {
            self.joint_objects("    ", track);
        }
        self.base_url(&track.name, track.version);
        if own_timeline {
            self.segments("    ", period, track);
        }
        self.raw("   </Representation>\n");
    }

    /// Size and shape of the picture of `track`, if it has one.
    fn picture(&mut self, track: &Track) {
        let Some(video) = track.video() else { return };
        self.number("width", video.width.into());
        self.number("height", video.height.into());
        let (h, v) = video.pixel_aspect.unwrap_or((1, 1));
        self.ratio("sar", h.into(), v.into());
    }

    fn base_url(&mut self, name: &str, version: Version) {
        self.raw("    <BaseURL>");
        self.text(name);
        self.raw("/");
        push::hex(&mut self.out, &version.0.to_be_bytes());
        self.raw("/</BaseURL>\n");
    }

    fn segments(&mut self, indent: &str, period: &Period, track: &Track) {
        let segments = track.segments.iter().map(|segment| (segment.time, segment.duration));
        self.timeline(indent, period, track, "$Time$.m4s", timeline::runs(segments));
    }

    /// SegmentTemplate with SegmentTimeline (§5.3.9.6), of the segments that `runs` are: an `S` each.
    fn timeline(&mut self, indent: &str, period: &Period, track: &Track, media: &str, runs: impl Iterator<Item = Run>) {
        self.raw(indent);
        self.raw("<SegmentTemplate");
        self.attribute("media", media);
        self.attribute("initialization", "init.mp4");
        self.number("timescale", track.timescale.get().into());
        self.early(track);
        let origin = period.origin.to(track.timescale, Rounding::Nearest);
        if origin > 0 {
            self.number("presentationTimeOffset", origin as u64);
        }
        self.raw(">\n");
        self.raw(indent);
        self.raw(" <SegmentTimeline>\n");
        let mut next_time = None;
        for Run { time, duration, count } in runs {
            self.raw(indent);
            self.raw("  <S");
            if next_time != Some(time) {
                self.number("t", time as u64);
            }
            self.number("d", duration as u64);
            if count > 1 {
                self.number("r", count - 1);
            }
            self.raw("/>\n");
            next_time = Some(time.saturating_add(duration.saturating_mul(count as i64)));
        }
        self.raw(indent);
        self.raw(" </SegmentTimeline>\n");
        self.raw(indent);
        self.raw("</SegmentTemplate>\n");
    }

    /// Captions in the pictures (ANSI/SCTE 214-1 §7.2.2, §7.2.3), with languages as ISO 639-2 has them for libraries.
    fn captions(&mut self, set: &SwitchingSet) {
        let (mut line21, mut digital) = (Vec::new(), Vec::new());
        for Caption { service, language } in Caption::of(set.tracks.iter()) {
            let language = language.as_deref().and_then(language::bibliographic);
            let language = language.as_deref().unwrap_or("und");
            match service {
                Service::Line21(channel) => line21.push(format!("CC{channel}={language}")),
                Service::Digital(number) => digital.push(format!("{number}=lang:{language}")),
            }
        }
        for (scheme, services) in
            [("urn:scte:dash:cc:cea-608:2015", line21), ("urn:scte:dash:cc:cea-708:2015", digital)]
        {
            if !services.is_empty() {
                self.descriptor("   ", "Accessibility", scheme, &services.join(";"));
            }
        }
    }

    fn roles(&mut self, period: &Period, index: usize, set: &SwitchingSet) {
        const SCHEME: &str = "urn:mpeg:dash:role:2011";
        self.captions(set);
        for role in &set.roles {
            match role {
                Role::Caption => self.descriptor("   ", "Accessibility", SCHEME, "caption"),
                Role::Description => self.descriptor("   ", "Accessibility", SCHEME, "description"),
                _ => {}
            }
        }
        for role in &set.roles {
            self.descriptor("   ", "Role", SCHEME, role.name());
        }
        if set.roles.is_empty() {
            let of_kind = || period.sets.iter().enumerate().filter(|(_, other)| other.kind == set.kind);
            let plain = || of_kind().filter(|(_, other)| other.roles.is_empty());
            let rank = |set: &SwitchingSet| set.tracks.iter().map(|track| (track.precedence(), track.place)).min();
            // In every codec: a player may have one alone.
            let is_called = |set: &SwitchingSet| (set.language.clone(), set.tracks.first().map(|t| t.label.clone()));
            let is_first = match set.kind {
                Kind::Audio => {
                    let first = plain().min_by_key(|(_, other)| rank(other));
                    first.is_some_and(|(_, first)| is_called(first) == is_called(set))
                }
                Kind::Video | Kind::Text => plain().next().is_some_and(|(first, _)| first == index),
            };
            let no_main = !of_kind().any(|(_, other)| other.roles.contains(&Role::Main));
            match set.kind {
                Kind::Text => self.descriptor("   ", "Role", SCHEME, "subtitle"),
                _ if no_main && is_first => self.descriptor("   ", "Role", SCHEME, "main"),
                _ => {}
            }
        }
    }

    /// AudioChannelConfiguration (§5.8.5.4), in the scheme of the codec's owner.
    fn channels(&mut self, indent: &str, track: &Track) {
        const CICP: &str = "urn:mpeg:mpegB:cicp:ChannelConfiguration";
        let Some(audio) = track.audio() else { return };
        let counted = || match audio.channels {
            // ISO/IEC 23091-3: up to six the configuration is the number; 6.1 and 7.1 as Opus, FLAC and DTS lay them out.
            1..=6 => Some(audio.channels),
            7 => Some(11),
            8 => Some(12),
            _ => None,
        };
        let (scheme, value) = match audio.layout {
            ChannelLayout::Cicp(configuration) if configuration > 0 => (CICP, configuration.to_string()),
            ChannelLayout::Dolby { map, .. } => {
                ("tag:dolby.com,2014:dash:audio_channel_configuration:2011", format!("{map:04X}"))
            }
            // TS 103 190-2 annex G: bit 23 alone stands for objects.
            ChannelLayout::Ac4 { mask } => (
                "tag:dolby.com,2015:dash:audio_channel_configuration:2015",
                format!("{:06X}", mask.unwrap_or(0x80_0000)),
            ),
            ChannelLayout::Cicp(_) | ChannelLayout::Count => match counted() {
                Some(configuration) => (CICP, configuration.to_string()),
                None => ("urn:mpeg:dash:23003:3:audio_channel_configuration:2011", audio.channels.to_string()),
            },
        };
        self.descriptor(indent, "AudioChannelConfiguration", scheme, &value);
    }

    /// That E-AC-3 holds objects (ETSI TS 103 420 annex D).
    fn joint_objects(&mut self, indent: &str, track: &Track) {
        if let Some(ChannelLayout::Dolby { joc_complexity: Some(complexity), .. }) =
            track.audio().map(|audio| audio.layout)
        {
            self.descriptor(indent, "SupplementalProperty", "tag:dolby.com,2018:dash:EC3_ExtensionType:2018", "JOC");
            let scheme = "tag:dolby.com,2018:dash:EC3_ExtensionComplexityIndex:2018";
            self.descriptor(indent, "SupplementalProperty", scheme, &complexity.to_string());
        }
    }

    /// ISO/IEC 23091-2 code points. High dynamic range is essential where there is another set to fall back on; where there is
    /// none, a player that does not know the property should still play.
    fn colour(&mut self, period: &Period, colour: Colour) {
        let is_high = |transfer: u8| matches!(transfer, 16 | 18);
        let videos = || period.sets.iter().filter(|set| set.kind == Kind::Video).flat_map(|set| &set.tracks);
        let fallback = videos().any(|track| !track.transfer().is_some_and(is_high));
        let name = if is_high(colour.transfer) && fallback { "EssentialProperty" } else { "SupplementalProperty" };
        let points = [
            ("urn:mpeg:mpegB:cicp:ColourPrimaries", colour.primaries),
            ("urn:mpeg:mpegB:cicp:TransferCharacteristics", colour.transfer),
            ("urn:mpeg:mpegB:cicp:MatrixCoefficients", colour.matrix),
        ];
        for (scheme, value) in points {
            self.descriptor("   ", name, scheme, &value.to_string());
        }
    }

    /// ContentProtection (§5.8.4.1; ISO/IEC 23001-7 §11): the scheme and its key id, then every system that has a `pssh`.
    fn protection(&mut self, indent: &str, track: &Track) {
        let Some(protection) = &track.entry.protection else { return };
        self.raw(indent);
        self.raw("<ContentProtection schemeIdUri=\"urn:mpeg:dash:mp4protection:2011\"");
        self.attribute("value", std::str::from_utf8(&protection.scheme.0).unwrap_or("cenc"));
        self.raw(" cenc:default_KID=\"");
        push::uuid(&mut self.out, &protection.default_kid);
        self.raw("\"/>\n");
        let boxes: Vec<&Pssh> = match &track.pssh[..] {
            // Those of fragments are in band; the first let a player begin.
            [] => track.keys.first().map_or(Vec::new(), |key| key.pssh.iter().collect()),
            boxes => boxes.iter().collect(),
        };
        for (index, pssh) in boxes.iter().enumerate() {
            if boxes[..index].iter().any(|other| other.system_id == pssh.system_id) {
                continue;
            }
            self.raw(indent);
            self.raw("<ContentProtection schemeIdUri=\"urn:uuid:");
            push::uuid(&mut self.out, &pssh.system_id);
            self.raw("\">\n");
            for same in boxes[index..].iter().filter(|other| other.system_id == pssh.system_id) {
                self.raw(indent);
                self.raw(" <cenc:pssh>");
                push::base64(&mut self.out, &same.bytes);
                self.raw("</cenc:pssh>\n");
            }
            self.raw(indent);
            self.raw("</ContentProtection>\n");
        }
    }

    fn descriptor(&mut self, indent: &str, name: &str, scheme: &str, value: &str) {
        self.raw(indent);
        self.raw("<");
        self.raw(name);
        self.attribute("schemeIdUri", scheme);
        self.attribute("value", value);
        self.raw("/>\n");
    }

    /// `lang`, if it has the form that xs:language and BCP 47 share.
    fn language(&mut self, tag: Option<&str>) {
        let well_formed = |tag: &&str| {
            let mut parts = tag.split('-');
            let alphabetic = parts.next().is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_alphabetic()));
            alphabetic
                && tag
                    .split('-')
                    .all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        };
        if let Some(tag) = tag.filter(well_formed) {
            self.attribute("lang", tag);
        }
    }

    fn frame_rate(&mut self, name: &str, (num, den): (u32, u32)) {
        if den == 0 {
            return;
        }
        self.open(name);
        push::decimal(&mut self.out, num.into());
        if den != 1 {
            self.raw("/");
            push::decimal(&mut self.out, den.into());
        }
        self.raw("\"");
    }

    fn ratio(&mut self, name: &str, width: u64, height: u64) {
        self.open(name);
        push::decimal(&mut self.out, width);
        self.raw(":");
        push::decimal(&mut self.out, height);
        self.raw("\"");
    }

    fn number(&mut self, name: &str, value: u64) {
        self.open(name);
        push::decimal(&mut self.out, value);
        self.raw("\"");
    }

    fn attribute(&mut self, name: &str, value: &str) {
        self.open(name);
        self.text(value);
        self.raw("\"");
    }

    fn open(&mut self, name: &str) {
        self.raw(" ");
        self.raw(name);
        self.raw("=\"");
    }

    /// xs:duration in hours, minutes and seconds, to the microsecond: years and months have no length.
    fn duration(&mut self, time: MediaTime) {
        let micros = u64::try_from(time.to(Timescale::MICRO, Rounding::Nearest)).unwrap_or(0);
        let (hours, minutes, rest) = (micros / 3_600_000_000, micros / 60_000_000 % 60, micros % 60_000_000);
        self.raw("PT");
        for (count, unit) in [(hours, "H"), (minutes, "M")] {
            if count > 0 {
                push::decimal(&mut self.out, count);
                self.raw(unit);
            }
        }
        if rest > 0 || micros == 0 {
            push::seconds(&mut self.out, rest);
            while self.out.last() == Some(&b'0') {
                self.out.pop();
            }
            if self.out.last() == Some(&b'.') {
                self.out.pop();
            }
            self.raw("S");
        }
    }

    /// Character data or an attribute's value (XML 1.0 §2.4); control characters have no place in either.
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.raw("&amp;"),
                '<' => self.raw("&lt;"),
                '>' => self.raw("&gt;"),
                '"' => self.raw("&quot;"),
                '\u{fffe}' | '\u{ffff}' => {}
                c if c.is_control() => {}
                c => self.raw(c.encode_utf8(&mut [0; 4])),
            }
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Times that lie less apart are one boundary, in fractions of a second.
const TOGETHER: i64 = 1000;

/// Whether no segment of the one lasts over a boundary of the other, as far as both list any (ISO/IEC 23009-1 §5.3.3.2): the one may be ahead, and older
/// segments leave the one sooner. Both have one timescale.
fn are_aligned(a: &Track, b: &Track) -> bool {
    let together = i64::from(a.timescale.get()) / TOGETHER;
    let first = |track: &Track| track.segments.first().map_or(i64::MAX, |first| first.time);
    let (from, until) = (first(a).max(first(b)).saturating_add(together), a.end().min(b.end()) - together);
    let is_inside = |time: &i64| from < *time && *time < until;
    let mut times = [a, b].map(|track| track.segments.iter().map(|segment| segment.time).filter(is_inside));
    loop {
        match times.each_mut().map(Iterator::next) {
            [None, None] => return true,
            [Some(own), Some(other)] if (own - other).abs() <= together => {}
            _ => return false,
        }
    }
}

fn kid(track: &Track) -> Option<(&[u8; 16], [u8; 4])> {
    track.entry.protection.as_ref().map(|protection| (&protection.default_kid, protection.scheme.0))
}

/// What `of` says of every track of `set`, if it says the same of all.
fn common<'a, T: PartialEq>(set: &'a SwitchingSet, of: impl Fn(&'a Track) -> T) -> Option<T> {
    let first = of(&set.tracks[0]);
    set.tracks[1..].iter().all(|track| of(track) == first).then_some(first)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packager::{fixture, rate};
    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    fn written(presentation: &Presentation) -> String {
        let bytes = mpd(presentation, &rate::measure(presentation)).expect("DASH");
        String::from_utf8(bytes).expect("text")
    }

    fn one(build: fixture::Build) -> SwitchingSet {
        fixture::set(vec![build.done()])
    }

    #[test]
    fn the_main_sound_was_the_first_of_the_alphabet() {
        let sound = |tag: &str, place: u32, is_enabled: bool| {
            let build = fixture::audio(tag).regular(1).language(tag);
            build.with(|track| (track.place, track.is_enabled) = (place, is_enabled))
        };
        let check = |sounds: Vec<fixture::Build>, expected: &[&str]| {
            let text = written(&fixture::presentation(sounds.into_iter().map(one).collect()));
            let sets = text.split("<AdaptationSet").filter(|set| set.contains("value=\"main\""));
            let language = |set: &str| set.split("lang=\"").nth(1).and_then(|rest| rest.get(..2)).map(str::to_owned);
            assert_eq!(sets.filter_map(language).collect::<Vec<_>>(), expected, "{text}");
        };
        check(vec![sound("de", 1, true), sound("en", 0, true)], &["en"]);
        check(vec![sound("de", 0, false), sound("en", 1, true)], &["en"]);
        check(vec![sound("de", 0, true), sound("en", 1, true).role(Role::Main)], &["en"]);
        check(vec![sound("de", 0, true), sound("en", 0, true)], &["de"]);
        // In every codec that it has.
        let surround = sound("en", 0, true).with(|track| track.entry.codecs = "ac-3".to_owned());
        check(vec![sound("de", 2, true), surround, sound("en", 1, true)], &["en", "en"]);
    }

    #[test]
    fn ladder_with_two_languages_and_text() {
        let ladder = fixture::set(vec![
            fixture::video("v720").regular(3).cut(&[(9000, 25_600)]).done(),
            fixture::video("v360").size((640, 360)).regular(3).cut(&[(9000, 25_600)]).done(),
        ]);
        let aac = fixture::audio("en")
            .cut(&[(9, 288_768), (9, 287_744), (9, 287_744), (9, 95_744)])
            .language("en")
            .role(Role::Main);
        let sets = vec![
            ladder,
            one(aac),
            one(fixture::audio("de").regular(3).language("de").role(Role::Description)),
            one(fixture::text("cc", b"wvtt")
                .regular(3)
                .language("en")
                .role(Role::Caption)
                .label("English <CC> & \"more\"")),
            one(fixture::text("sub", b"stpp").regular(3).language("zh-Hant")),
        ];
        insta::assert_snapshot!(written(&fixture::presentation(sets)), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static" mediaPresentationDuration="PT20S" minBufferTime="PT6S">
         <Period id="0" start="PT0S" duration="PT20S">
          <AdaptationSet id="1" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1" maxWidth="1280" maxHeight="720" maxFrameRate="25" par="16:9">
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="12800">
            <SegmentTimeline>
             <S t="0" d="76800" r="2"/>
             <S d="25600"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="v720" codecs="avc1.64001f" bandwidth="64000" width="1280" height="720" sar="1:1" frameRate="25">
            <BaseURL>v720/0123456789abcdef/</BaseURL>
           </Representation>
           <Representation id="v360" codecs="avc1.64001f" bandwidth="64000" width="640" height="360" sar="1:1" frameRate="25">
            <BaseURL>v360/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
          <AdaptationSet id="2" contentType="audio" mimeType="audio/mp4" lang="en" segmentAlignment="true" startWithSAP="1">
           <AudioChannelConfiguration schemeIdUri="urn:mpeg:mpegB:cicp:ChannelConfiguration" value="2"/>
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="48000">
            <SegmentTimeline>
             <S t="0" d="288768"/>
             <S d="287744" r="1"/>
             <S d="95744"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="en" codecs="mp4a.40.2" bandwidth="19" audioSamplingRate="48000">
            <BaseURL>en/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
          <AdaptationSet id="3" contentType="audio" mimeType="audio/mp4" lang="de" segmentAlignment="true" startWithSAP="1">
           <AudioChannelConfiguration schemeIdUri="urn:mpeg:mpegB:cicp:ChannelConfiguration" value="2"/>
           <Accessibility schemeIdUri="urn:mpeg:dash:role:2011" value="description"/>
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="description"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="48000">
            <SegmentTimeline>
             <S t="0" d="288000" r="2"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="de" codecs="mp4a.40.2" bandwidth="64000" audioSamplingRate="48000">
            <BaseURL>de/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
          <AdaptationSet id="4" contentType="text" mimeType="application/mp4" lang="en" segmentAlignment="true" startWithSAP="1">
           <Label>English &lt;CC&gt; &amp; &quot;more&quot;</Label>
           <Accessibility schemeIdUri="urn:mpeg:dash:role:2011" value="caption"/>
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="caption"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="1000">
            <SegmentTimeline>
             <S t="0" d="6000" r="2"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="cc" codecs="wvtt" bandwidth="64000">
            <BaseURL>cc/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
          <AdaptationSet id="5" contentType="text" mimeType="application/mp4" lang="zh-Hant" segmentAlignment="true" startWithSAP="1">
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="subtitle"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="1000">
            <SegmentTimeline>
             <S t="0" d="6000" r="2"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="sub" codecs="stpp.ttml.im1t" bandwidth="64000">
            <BaseURL>sub/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
         </Period>
        </MPD>
        "#);
    }

    #[test]
    fn protection_colour_and_objects() {
        let kid = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef";
        let vision = fixture::video("hdr").codecs(b"hvc1", "hvc1.2.4.L153.B0").colour(16).regular(1).with(|track| {
            track.entry.supplemental_codecs = Some("dvh1.08.07/db1p".into());
            track.frame_rate = Some((60_000, 1001));
        });
        let surround = ChannelLayout::Dolby { map: 0xf801, joc_complexity: Some(16) };
        let sets = vec![
            one(vision
                .protected(b"cbcs", kid)
                .pssh([7; 16], b"system")
                .pssh([8; 16], b"other")
                .pssh([7; 16], b"again")),
            one(fixture::video("sdr").colour(1).regular(1)),
            fixture::set(vec![
                fixture::audio("a").protected(b"cenc", kid).regular(1).done(),
                fixture::audio("b").protected(b"cenc", [9; 16]).regular(1).done(),
            ]),
            one(fixture::audio("atmos").codecs(b"ec-3", "ec-3").channels(6, surround).regular(1)),
        ];
        insta::assert_snapshot!(written(&fixture::presentation(sets)), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:cenc="urn:mpeg:cenc:2013" xmlns:scte214="urn:scte:dash:scte214-extensions" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static" mediaPresentationDuration="PT6S" minBufferTime="PT6S">
         <Period id="0" start="PT0S" duration="PT6S">
          <AdaptationSet id="1" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1" par="16:9">
           <ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cbcs" cenc:default_KID="01234567-89ab-cdef-0123-456789abcdef"/>
           <ContentProtection schemeIdUri="urn:uuid:07070707-0707-0707-0707-070707070707">
            <cenc:pssh>AAAAJnBzc2gAAAAABwcHBwcHBwcHBwcHBwcHBwAAAAZzeXN0ZW0=</cenc:pssh>
            <cenc:pssh>AAAAJXBzc2gAAAAABwcHBwcHBwcHBwcHBwcHBwAAAAVhZ2Fpbg==</cenc:pssh>
           </ContentProtection>
           <ContentProtection schemeIdUri="urn:uuid:08080808-0808-0808-0808-080808080808">
            <cenc:pssh>AAAAJXBzc2gAAAAACAgICAgICAgICAgICAgICAAAAAVvdGhlcg==</cenc:pssh>
           </ContentProtection>
           <EssentialProperty schemeIdUri="urn:mpeg:mpegB:cicp:ColourPrimaries" value="9"/>
           <EssentialProperty schemeIdUri="urn:mpeg:mpegB:cicp:TransferCharacteristics" value="16"/>
           <EssentialProperty schemeIdUri="urn:mpeg:mpegB:cicp:MatrixCoefficients" value="9"/>
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="12800">
            <SegmentTimeline>
             <S t="0" d="76800"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="hdr" codecs="hvc1.2.4.L153.B0" bandwidth="64000" width="1280" height="720" sar="1:1" frameRate="60000/1001" scte214:supplementalCodecs="dvh1.08.07" scte214:supplementalProfiles="db1p">
            <BaseURL>hdr/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
          <AdaptationSet id="2" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1" par="16:9">
           <SupplementalProperty schemeIdUri="urn:mpeg:mpegB:cicp:ColourPrimaries" value="9"/>
           <SupplementalProperty schemeIdUri="urn:mpeg:mpegB:cicp:TransferCharacteristics" value="1"/>
           <SupplementalProperty schemeIdUri="urn:mpeg:mpegB:cicp:MatrixCoefficients" value="9"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="12800">
            <SegmentTimeline>
             <S t="0" d="76800"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="sdr" codecs="avc1.64001f" bandwidth="64000" width="1280" height="720" sar="1:1" frameRate="25">
            <BaseURL>sdr/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
          <AdaptationSet id="3" contentType="audio" mimeType="audio/mp4" segmentAlignment="true" startWithSAP="1">
           <AudioChannelConfiguration schemeIdUri="urn:mpeg:mpegB:cicp:ChannelConfiguration" value="2"/>
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="48000">
            <SegmentTimeline>
             <S t="0" d="288000"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="a" codecs="mp4a.40.2" bandwidth="64000" audioSamplingRate="48000">
            <ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc" cenc:default_KID="01234567-89ab-cdef-0123-456789abcdef"/>
            <BaseURL>a/0123456789abcdef/</BaseURL>
           </Representation>
           <Representation id="b" codecs="mp4a.40.2" bandwidth="64000" audioSamplingRate="48000">
            <ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc" cenc:default_KID="09090909-0909-0909-0909-090909090909"/>
            <BaseURL>b/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
          <AdaptationSet id="4" contentType="audio" mimeType="audio/mp4" segmentAlignment="true" startWithSAP="1">
           <AudioChannelConfiguration schemeIdUri="tag:dolby.com,2014:dash:audio_channel_configuration:2011" value="F801"/>
           <SupplementalProperty schemeIdUri="tag:dolby.com,2018:dash:EC3_ExtensionType:2018" value="JOC"/>
           <SupplementalProperty schemeIdUri="tag:dolby.com,2018:dash:EC3_ExtensionComplexityIndex:2018" value="16"/>
           <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"/>
           <SegmentTemplate media="$Time$.m4s" initialization="init.mp4" timescale="48000">
            <SegmentTimeline>
             <S t="0" d="288000"/>
            </SegmentTimeline>
           </SegmentTemplate>
           <Representation id="atmos" codecs="ec-3" bandwidth="64000" audioSamplingRate="48000">
            <BaseURL>atmos/0123456789abcdef/</BaseURL>
           </Representation>
          </AdaptationSet>
         </Period>
        </MPD>
        "#);
    }

    #[test]
    fn channels_in_the_scheme_of_the_codec() {
        let check = |channels, layout, expected: &str| {
            let text =
                written(&fixture::presentation(vec![one(fixture::audio("a").channels(channels, layout).regular(1))]));
            let line = text.lines().find(|line| line.contains("AudioChannelConfiguration")).expect("there");
            assert!(line.contains(expected), "{line}");
        };
        check(6, ChannelLayout::Cicp(6), "urn:mpeg:mpegB:cicp:ChannelConfiguration\" value=\"6\"");
        check(2, ChannelLayout::Cicp(0), "urn:mpeg:mpegB:cicp:ChannelConfiguration\" value=\"2\"");
        check(8, ChannelLayout::Count, "urn:mpeg:mpegB:cicp:ChannelConfiguration\" value=\"12\"");
        check(11, ChannelLayout::Count, "urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"11\"");
        check(
            2,
            ChannelLayout::Ac4 { mask: Some(1) },
            "tag:dolby.com,2015:dash:audio_channel_configuration:2015\" value=\"000001\"",
        );
        check(2, ChannelLayout::Ac4 { mask: None }, "value=\"800000\"");
    }

    #[test]
    fn high_dynamic_range_alone_is_not_essential() {
        let text = written(&fixture::presentation(vec![one(fixture::video("hdr").colour(16).regular(1))]));
        assert!(!text.contains("EssentialProperty") && text.contains("SupplementalProperty"), "{text}");
    }

    #[test]
    fn media_that_does_not_start_at_the_period() {
        let mut presentation = fixture::presentation(vec![one(fixture::video("v").regular(2))]);
        presentation.periods[0].origin = MediaTime::new(10, Timescale::new(1).expect("not zero"));
        for segment in &mut presentation.periods[0].sets[0].tracks[0].segments {
            segment.time += 128_000;
        }
        let text = written(&presentation);
        assert!(text.contains("timescale=\"12800\" presentationTimeOffset=\"128000\">"), "{text}");
        assert!(text.contains("<S t=\"128000\" d=\"76800\" r=\"1\"/>"), "{text}");
    }

    #[test]
    fn timelines_that_differ_are_each_their_own() {
        let set = fixture::set(vec![
            fixture::video("a").regular(2).done(),
            fixture::video("b").cut(&[(1, 76_801), (1, 76_799)]).done(),
        ]);
        let text = written(&fixture::presentation(vec![set]));
        let representation = text.find("<Representation").expect("there");
        assert_eq!(text.match_indices("<SegmentTimeline>").filter(|(at, _)| *at > representation).count(), 2);
    }

    #[test]
    fn pictures_to_go_through_it_quickly() {
        let gop = &[(900, 25_600), (100, 25_600), (100, 25_600)];
        let video = |name| fixture::video(name).segment(gop).segment(gop);
        let hdr = |name| video(name).colour(16).protected(b"cenc", [1; 16]);
        let sets = || {
            let ladder = fixture::set(vec![video("a").done(), video("b").size((640, 360)).done()]);
            vec![ladder, one(fixture::audio("s").regular(2)), fixture::set(vec![hdr("h").done()])]
        };
        let intra = vec![one(fixture::video("i").regular(2))];
        let periods = [("1", sets()), ("2", intra), ("3", sets())];
        let periods =
            periods.map(|(id, sets)| Period { id: id.into(), ..fixture::presentation(sets).periods.remove(0) });
        let text = written(&Presentation { periods: periods.into(), thumbnails: Vec::new(), warnings: Vec::new() });
        let tricks: Vec<&str> = text.split("  <AdaptationSet").filter(|set| set.contains("trickmode")).collect();
        assert_eq!(tricks.len(), 4, "{text}");
        assert_eq!(tricks[0], tricks[2], "the same id in both");
        insta::assert_snapshot!(format!("{}{}", tricks[0], tricks[1].split(" </Period>").next().expect("a part")), @r#"
        id="4" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1" codingDependency="false" maxPlayoutRate="3">
          <EssentialProperty schemeIdUri="http://dashif.org/guidelines/trickmode" value="1"/>
          <SegmentTemplate media="$Time$.trick.m4s" initialization="init.mp4" timescale="12800">
           <SegmentTimeline>
            <S t="0" d="76800" r="1"/>
           </SegmentTimeline>
          </SegmentTemplate>
          <Representation id="a.trick" codecs="avc1.64001f" bandwidth="1350" width="1280" height="720" sar="1:1">
           <BaseURL>a/0123456789abcdef/</BaseURL>
          </Representation>
          <Representation id="b.trick" codecs="avc1.64001f" bandwidth="1350" width="640" height="360" sar="1:1">
           <BaseURL>b/0123456789abcdef/</BaseURL>
          </Representation>
         </AdaptationSet>
        id="6" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1" codingDependency="false" maxPlayoutRate="3">
          <ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc" cenc:default_KID="01010101-0101-0101-0101-010101010101"/>
          <EssentialProperty schemeIdUri="http://dashif.org/guidelines/trickmode" value="3"/>
          <EssentialProperty schemeIdUri="urn:mpeg:mpegB:cicp:ColourPrimaries" value="9"/>
          <EssentialProperty schemeIdUri="urn:mpeg:mpegB:cicp:TransferCharacteristics" value="16"/>
          <EssentialProperty schemeIdUri="urn:mpeg:mpegB:cicp:MatrixCoefficients" value="9"/>
          <SegmentTemplate media="$Time$.trick.m4s" initialization="init.mp4" timescale="12800">
           <SegmentTimeline>
            <S t="0" d="76800" r="1"/>
           </SegmentTimeline>
          </SegmentTemplate>
          <Representation id="h.trick" codecs="avc1.64001f" bandwidth="1350" width="1280" height="720" sar="1:1">
           <BaseURL>h/0123456789abcdef/</BaseURL>
          </Representation>
         </AdaptationSet>
        "#);
    }

    #[test]
    fn pictures_that_lie_elsewhere_have_timelines_of_their_own() {
        let short = &[(900, 25_600), (100, 25_600)];
        let long = &[(900, 25_600), (100, 12_800), (100, 12_800)];
        let a = fixture::video("a").segment(short).segment(short).done();
        let b = fixture::video("b").segment(long).segment(long);
        let twice = b.with(|track| {
            let sync = |index, sample: crate::media::sample::Sample| {
                let flags = if index == 1 { crate::media::sample::SampleFlags::SYNC } else { sample.flags };
                crate::media::sample::Sample { flags, ..sample }
            };
            track.samples = track.samples.slice(0..6, sync);
        });
        let text = written(&fixture::presentation(vec![fixture::set(vec![a, twice.done()])]));
        let trick = text.split("  <AdaptationSet").find(|set| set.contains("trickmode")).expect("there");
        assert!(!trick.contains("segmentAlignment") && trick.matches("<SegmentTimeline>").count() == 2, "{trick}");
        assert!(trick.contains("maxPlayoutRate=\"2\""), "{trick}");
    }

    #[test]
    fn durations_have_hours_minutes_seconds() {
        let check = |ticks, timescale, expected: &str| {
            let mut mpd = Mpd {
                out: Vec::new(),
                rates: &Rates::default(),
                thumbnails: &[],
                broadcast: None,
                told: Vec::new(),
                told_until_us: i64::MIN,
            };
            mpd.duration(MediaTime::new(ticks, Timescale::new(timescale).expect("not zero")));
            assert_eq!(String::from_utf8(mpd.out).expect("text"), expected);
        };
        check(0, 1, "PT0S");
        check(10, 1, "PT10S");
        check(60, 1, "PT1M");
        check(93_784_500, 1000, "PT26H3M4.5S");
        check(1, 3, "PT0.333333S");
    }

    #[test]
    fn why_there_is_none() {
        let far = fixture::presentation(vec![one(fixture::video("v")
            .regular(1)
            .with(|track| track.segments[0].time = 1 << 53))]);
        let error = mpd(&far, &rate::measure(&far)).expect_err("too far").to_string();
        assert_eq!(error, "track v: a segment at 9007199254817792 ticks, above 2^53, which DASH players can't name");
        let empty = fixture::presentation(vec![]);
        assert_eq!(mpd(&empty, &Rates::default()), Err(NoDash::NoTrack));
    }

    proptest! {
        #[test]
        fn the_timeline_read_back_is_the_segments(
            start in 0i64..1 << 40,
            durations in prop::collection::vec(prop_oneof![Just(2000u32), Just(3000), 1u32..5000], 1..80),
            label in ".{0,12}",
        ) {
            let segments: Vec<_> = durations.iter().map(|&ticks| (1, ticks)).collect();
            let track = fixture::video("v").timescale(1000).cut(&segments).label(&label).with(|track| {
                track.segments.iter_mut().for_each(|segment| segment.time += start);
            });
            let presentation = fixture::presentation(vec![one(track)]);
            let text = written(&presentation);
            let mut reader = Reader::from_str(&text);
            let (mut read, mut next) = (Vec::new(), None);
            loop {
                match reader.read_event().expect("well formed") {
                    Event::Empty(element) if element.name().as_ref() == "S" => {
                        let number = |name: &str| -> Option<i64> {
                            let attribute = element.try_get_attribute(name).expect("well formed")?;
                            Some(attribute.value.parse().expect("a number"))
                        };
                        let mut time = number("t").or(next).expect("the first S has t");
                        for _ in 0..=number("r").unwrap_or(0) {
                            let duration = number("d").expect("d is required");
                            read.push((time, duration));
                            time += duration;
                        }
                        next = Some(time);
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            let track = &presentation.periods[0].sets[0].tracks[0];
            let expected: Vec<_> = track.segments.iter().map(|segment| (segment.time, segment.duration)).collect();
            prop_assert_eq!(read, expected);
        }
    }
}
