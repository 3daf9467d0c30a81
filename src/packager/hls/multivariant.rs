//! The multivariant playlist (rfc8216bis §4.4.6): which renditions there are, and which go together.
//!
//! ```text
//!   variant = one video × one AUDIO group × one SUBTITLES group
//!   AUDIO group: one codec, channel layout and bit rate; a member a language ("slot")
//!   SUBTITLES group: one format; a member a language
//!   CLOSED-CAPTIONS group: the services in the pictures of any
//! ```

use std::cmp::Reverse;

use m3u8_rs::{
    AlternativeMedia, AlternativeMediaType, ClosedCaptionGroupId, InstreamId, MasterPlaylist, QuotedOrUnquoted,
    Resolution, VariantStream,
};

use crate::formats::captions::Service;
use crate::formats::isobmff::sample_entry::ChannelLayout;
use crate::formats::language;
use crate::media::presentation::Presentation;
use crate::media::track::{Caption, Kind, Role, Track};
use crate::packager::hls::images;
use crate::packager::hls::key::Keys;
use crate::packager::hls::rendition::{Rendition, Renditions, pixels};
use crate::packager::hls::{Form, NoHls, Options, is_independent};
use crate::packager::rate::Rate;

/// The playlist of `presentation`, whose renditions are `renditions`. Its URIs are relative to the presentation:
/// `{rendition}/{version}/media.m3u8`.
pub fn playlist(presentation: &Presentation, renditions: &Renditions, options: &Options) -> Result<Vec<u8>, NoHls> {
    let line = |rendition| Line::of(presentation, rendition, options.is_live);
    let lines: Vec<Line<'_>> = renditions.all()?.iter().map(line).collect();
    for track in lines.iter().flat_map(|line| &line.tracks) {
        Keys::of(track, options)?;
    }
    let of_kind = |kind| lines.iter().filter(move |line| line.kind == kind);
    let videos: Vec<&Line<'_>> = of_kind(Kind::Video).collect();
    let audio: Vec<Slot<'_>> = slots(of_kind(Kind::Audio));
    let text: Vec<Slot<'_>> = slots(of_kind(Kind::Text));
    if videos.is_empty() && audio.is_empty() {
        return Err(NoHls::NoMedia);
    }

    let mut text_groups: Vec<Option<Group<'_>>> = text_groups(&text).into_iter().map(Some).collect();
    if text_groups.is_empty() {
        text_groups.push(None);
    }
    let mut audio_groups: Vec<Option<Group<'_>>> = match &audio[..] {
        // Sound of one language alone: its renditions are the variants.
        [_] if videos.is_empty() => Vec::new(),
        _ => audio_groups(&audio).into_iter().map(Some).collect(),
    };
    if audio_groups.is_empty() {
        audio_groups.push(None);
    }

    let mut master = MasterPlaylist {
        version: Some(7),
        independent_segments: !options.lists_dependent
            && lines.iter().flat_map(|line| &line.tracks).all(|track| is_independent(track)),
        ..MasterPlaylist::default()
    };
    for group in audio_groups.iter().flatten() {
        master.alternatives.extend(alternatives(AlternativeMediaType::Audio, group, &audio));
    }
    for group in text_groups.iter().flatten() {
        master.alternatives.extend(alternatives(AlternativeMediaType::Subtitles, group, &text));
    }
    let (captions, closed_captions) = closed_captions(&videos);
    master.alternatives.extend(captions);
    for audio_group in &audio_groups {
        for text_group in &text_groups {
            let own: Vec<&Line<'_>> = match audio_group {
                _ if !videos.is_empty() => videos.clone(),
                Some(group) => vec![group.members[default_slot(&audio)]],
                None => audio[0].lines.clone(),
            };
            for line in own {
                let variant = variant(line, audio_group.as_ref(), text_group.as_ref());
                master.variants.push(VariantStream { closed_captions: closed_captions.clone(), ..variant });
            }
        }
    }
    begin_moderately(&mut master.variants);
    master.variants.extend(videos.iter().filter_map(|line| i_frame_variant(line)));
    let mut out = Vec::with_capacity(256 * (1 + master.alternatives.len() + 2 * master.variants.len()));
    master.write_to(&mut out).expect("writing to memory does not fail");
    presentation.thumbnails.iter().for_each(|thumbnails| out.extend_from_slice(images::stream(thumbnails).as_bytes()));
    Ok(out)
}

/// What the first variant takes of a connection at most, in bits a second, if any takes as little.
const FIRST_AVERAGE_MAX: u64 = 2_000_000;

/// Lists first what most connections carry: some players begin with the first variant, and hls.js 1.7 takes its BANDWIDTH for that of the
/// connection, up to 5 Mb/s; Apple's HLS Authoring Specification wants one of 2 Mb/s there. It is one of the first groups.
fn begin_moderately(variants: &mut [VariantStream]) {
    let Some(lead) = variants.first() else { return };
    let is_of_group = |variant: &&VariantStream| variant.audio == lead.audio && variant.subtitles == lead.subtitles;
    let group = variants.iter().take_while(is_of_group).enumerate();
    let rates: Vec<(usize, u64)> =
        group.map(|(index, variant)| (index, variant.average_bandwidth.unwrap_or(variant.bandwidth))).collect();
    let moderate =
        rates.iter().filter(|(_, average)| *average <= FIRST_AVERAGE_MAX).min_by_key(|(_, rate)| Reverse(rate));
    if let Some((first, _)) = moderate.or_else(|| rates.iter().min_by_key(|(_, rate)| rate)) {
        variants[..=*first].rotate_right(1);
    }
}

/// A rendition with its tracks. It is chosen as the one that it is made for.
struct Line<'a> {
    rendition: &'a Rendition,
    lead: &'a Track,
    /// One a period.
    tracks: Vec<&'a Track>,
    is_live: bool,
}

impl std::ops::Deref for Line<'_> {
    type Target = Track;

    fn deref(&self) -> &Track {
        self.lead
    }
}

impl<'a> Line<'a> {
    fn of(presentation: &'a Presentation, rendition: &'a Rendition, is_live: bool) -> Line<'a> {
        let tracks = rendition.tracks(presentation).map(|(_, track)| track).collect();
        Line { rendition, lead: rendition.lead(presentation), tracks, is_live }
    }

    fn rate(&self) -> Rate {
        self.rendition.rate
    }

    /// Whether a player may take `other` for this one: pictures always; sound unless its label alone says that it is another; text if it is the same in another form, or nobody
    /// says of which it is. Two texts of one language are two offers.
    fn stands_beside(&self, other: &Line<'_>) -> bool {
        if self.kind != Kind::Text {
            // Nothing but the label tells these apart.
            let is_encoded_like =
                self.lead.entry.codecs == other.lead.entry.codecs && self.lead.audio() == other.lead.audio();
            return self.kind != Kind::Audio || !is_encoded_like || self.lead.label == other.lead.label;
        }
        let pair = [&self.lead.as_imsc, &other.lead.as_imsc];
        let is_said = pair[0].as_deref() == Some(&*other.lead.name) || pair[1].as_deref() == Some(&*self.lead.name);
        self.rendition.form != other.rendition.form && (is_said || pair.iter().all(|name| name.is_none()))
    }

    /// What CODECS says of it, in the order of its periods.
    fn codecs(&self) -> impl Iterator<Item = &'a str> {
        self.tracks.iter().map(|track| text_codecs(track))
    }
}

/// Renditions among which a person does not choose: of one language, for one purpose; of text one a form.
struct Slot<'a> {
    name: String,
    language: Option<&'a str>,
    /// Without `Main`, which some encoders set on one codec and not on another.
    roles: Vec<Role>,
    lines: Vec<&'a Line<'a>>,
}

impl Slot<'_> {
    fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether nothing that a player chooses by tells them apart.
    fn is_chosen_like(&self, other: &Slot<'_>) -> bool {
        let forced = |slot: &Slot<'_>| slot.has(Role::ForcedSubtitle);
        self.language == other.language
            && self.characteristics() == other.characteristics()
            && forced(self) == forced(other)
    }

    /// Uniform type identifiers (rfc8216bis §4.4.6.1, CHARACTERISTICS).
    fn characteristics(&self) -> Option<&'static str> {
        match () {
            _ if self.has(Role::Description) => Some("public.accessibility.describes-video"),
            _ if self.has(Role::Caption) => {
                Some("public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound")
            }
            _ => None,
        }
    }
}

/// One member a slot, in the order of the slots.
struct Group<'a> {
    id: String,
    members: Vec<&'a Line<'a>>,
}

fn slots<'a>(lines: impl Iterator<Item = &'a Line<'a>>) -> Vec<Slot<'a>> {
    let mut slots: Vec<Slot<'a>> = Vec::new();
    for line in lines {
        let track = line.lead;
        let language = track.language.as_deref();
        let roles: Vec<Role> = track.roles.iter().copied().filter(|role| *role != Role::Main).collect();
        let fits = |slot: &&mut Slot<'_>| {
            slot.language == language && slot.roles == roles && slot.lines.iter().all(|other| other.stands_beside(line))
        };
        match slots.iter_mut().find(fits) {
            Some(slot) => slot.lines.push(line),
            None => slots.push(Slot { name: String::new(), language, roles, lines: vec![line] }),
        }
    }
    for index in 0..slots.len() {
        let wanted = slot_name(&slots[index]);
        let taken = |name: &str| slots[..index].iter().any(|other| other.name == name);
        let numbered = (2..).map(|number| format!("{wanted} {number}"));
        let name = [wanted.clone()].into_iter().chain(numbered).find(|name| !taken(name));
        slots[index].name = name.expect("there are more numbers than slots");
    }
    slots
}

fn slot_name(slot: &Slot<'_>) -> String {
    let first = slot.lines[0];
    if let Some(label) = first.label.as_deref().map(quotable).filter(|label| !label.trim().is_empty()) {
        return label;
    }
    let name = match (slot.language, first.kind) {
        (Some(tag), _) => quotable(&language::name(tag)),
        (None, Kind::Text) => "Subtitles".into(),
        (None, _) => "Audio".into(),
    };
    let purpose = [
        (Role::Commentary, "commentary"),
        (Role::Description, "description"),
        (Role::Caption, "captions"),
        (Role::ForcedSubtitle, "forced"),
    ];
    match purpose.iter().find(|(role, _)| slot.has(*role)) {
        Some((_, purpose)) => format!("{name} ({purpose})"),
        None => name,
    }
}

/// The slot that plays if nothing else is asked for: of equal ones that which comes first in the source, of several clips in the first
/// that tells them apart.
fn default_slot(slots: &[Slot<'_>]) -> usize {
    let of_line = |line: &&Line<'_>| {
        let places: Vec<u32> = line.tracks.iter().map(|track| track.place).collect();
        (line.lead.precedence(), places)
    };
    let of_slot = |slot: &Slot<'_>| slot.lines.iter().map(of_line).min();
    (0..slots.len()).min_by_key(|&index| of_slot(&slots[index])).unwrap_or(0)
}

/// Groups of sound: for every codec and channel layout, and each of its bit rates, one that holds every slot. The one that
/// most players can play is the first, since many begin with the first variant.
fn audio_groups<'a>(slots: &[Slot<'a>]) -> Vec<Group<'a>> {
    struct Class<'a> {
        codecs: &'a str,
        channels: String,
        average: u64,
        /// Slot and rendition.
        own: Vec<(usize, &'a Line<'a>)>,
    }
    let lines = slots.iter().enumerate().flat_map(|(slot, s)| s.lines.iter().map(move |&line| (slot, line)));
    let mut lines: Vec<(usize, &Line<'_>)> = lines.collect();
    // A stable sort: renditions of one rate stay in the order of the model.
    lines.sort_by_key(|(_, line)| line.rate().average);
    let mut classes: Vec<Class<'a>> = Vec::new();
    for (slot, line) in lines {
        let (codecs, channels, average) = (&line.lead.entry.codecs[..], channels(line), line.rate().average);
        // Languages encoded alike still differ in rate; a quarter more is another encoding.
        let fits = |class: &&mut Class<'a>| {
            let alike =
                class.codecs == codecs && class.channels == channels && average <= class.average + class.average / 4;
            alike && class.own.iter().all(|(other, _)| *other != slot)
        };
        match classes.iter_mut().find(fits) {
            Some(class) => class.own.push((slot, line)),
            None => classes.push(Class { codecs, channels, average, own: vec![(slot, line)] }),
        }
    }
    let is_aac = |class: &Class<'_>| class.codecs.starts_with("mp4a.40");
    let channel_count = |class: &Class<'_>| class.own[0].1.audio().map_or(0, |audio| audio.channels);
    classes.sort_by_key(|class| (!is_aac(class), channel_count(class), class.codecs, Reverse(class.average)));

    let mut groups: Vec<Group<'a>> = Vec::with_capacity(classes.len());
    for class in &classes {
        let nearest = |slot: &Slot<'a>| {
            let distance = |line: &Line<'_>| {
                let track = line.lead;
                let first = class.own[0].1;
                let channels = track.audio().map_or(0, |audio| audio.channels).abs_diff(channel_count(class));
                let rate = line.rate().average.abs_diff(class.average);
                (track.entry.codecs != class.codecs, track.entry.format != first.entry.format, channels, rate)
            };
            slot.lines.iter().copied().min_by_key(|line| distance(line)).expect("a slot has a rendition")
        };
        let member = |(index, slot): (usize, &Slot<'a>)| {
            let own = class.own.iter().find(|(other, _)| *other == index);
            own.map_or_else(|| nearest(slot), |(_, line)| *line)
        };
        let base = quotable(&format!("audio-{}-{}", class.codecs, class.channels));
        let same = groups.iter().filter(|group| group.id == base || group.id.starts_with(&format!("{base}_"))).count();
        let id = if same == 0 { base } else { format!("{base}_{}", same + 1) };
        groups.push(Group { id, members: slots.iter().enumerate().map(member).collect() });
    }
    groups
}

/// What CODECS says of text in `stpp`. IMSC is what HLS takes (rfc8216bis §3.1.3), under a name with its profile: hls.js 1.7.4
/// shows no cue of what is called `stpp` alone, as an entry without a `mime` box is (ISO/IEC 14496-30 §5.4).
fn text_codecs(track: &Track) -> &str {
    match &track.entry.codecs[..] {
        "stpp" => "stpp.ttml.im1t",
        codecs => codecs,
    }
}

/// Groups of text: one a format that all of it has. With both in one group, CODECS names `stpp` for all, and hls.js 1.7.4 and Shaka
/// Player 5.2.12 then show none of its WebVTT; but groups of one type must have the same members (rfc8216bis §4.4.6.1.1), so where no
/// format is common to all there is one group of WebVTT, and of what has no other form than IMSC.
fn text_groups<'a>(slots: &[Slot<'a>]) -> Vec<Group<'a>> {
    if slots.is_empty() {
        return Vec::new();
    }
    let in_form = |slot: &Slot<'a>, form: Form| slot.lines.iter().copied().find(|line| line.rendition.form == form);
    let group = |(form, id): (Form, &str)| {
        let members: Option<Vec<_>> = slots.iter().map(|slot| in_form(slot, form)).collect();
        members.map(|members| Group { id: id.into(), members })
    };
    let forms = [(Form::WebVtt, "text-vtt"), (Form::Fmp4, "text-imsc")];
    let mut groups: Vec<Group<'a>> = forms.into_iter().filter_map(group).collect();
    if groups.is_empty() {
        let member = |slot: &Slot<'a>| in_form(slot, Form::WebVtt).unwrap_or(slot.lines[0]);
        groups.push(Group { id: "text".into(), members: slots.iter().map(member).collect() });
    }
    groups
}

fn alternatives(media_type: AlternativeMediaType, group: &Group<'_>, slots: &[Slot<'_>]) -> Vec<AlternativeMedia> {
    let is_audio = media_type == AlternativeMediaType::Audio;
    // Subtitles are shown when asked for.
    let default = is_audio.then(|| default_slot(slots));
    let rendition = |(index, (slot, line)): (usize, (&Slot<'_>, &&Line<'_>))| {
        // Two that a player could choose by itself must differ in what it chooses by (rfc8216bis §4.4.6.1.1).
        let rival = |other: &Slot<'_>| !other.has(Role::Commentary) && other.is_chosen_like(slot);
        let shadowed = slots[..index].iter().any(rival) || default.is_some_and(|d| d > index && rival(&slots[d]));
        AlternativeMedia {
            media_type: media_type.clone(),
            uri: Some(uri(line)),
            group_id: group.id.clone(),
            language: slot.language.map(quotable),
            name: slot.name.clone(),
            default: default == Some(index),
            autoselect: default == Some(index) || (!slot.has(Role::Commentary) && !shadowed),
            forced: !is_audio && slot.has(Role::ForcedSubtitle),
            characteristics: slot.characteristics().map(Into::into),
            channels: is_audio.then(|| channels(line)),
            ..AlternativeMedia::default()
        }
    };
    slots.iter().zip(&group.members).enumerate().map(rendition).collect()
}

/// The group of the captions that any of `videos` has in its pictures, and what every variant says of it: NONE where all were looked
/// through and had none, so that players offer none (rfc8216bis §4.4.6.2: in all variants, or in none).
fn closed_captions(videos: &[&Line<'_>]) -> (Vec<AlternativeMedia>, Option<ClosedCaptionGroupId>) {
    const GROUP: &str = "cc";
    let tracks = || videos.iter().flat_map(|line| &line.tracks);
    let captions = Caption::of(tracks().copied());
    if captions.is_empty() {
        let is_known = !videos.is_empty() && tracks().all(|track| track.captions.is_some());
        return (Vec::new(), is_known.then_some(ClosedCaptionGroupId::None));
    }
    let mut members: Vec<AlternativeMedia> = Vec::with_capacity(captions.len());
    for Caption { service, language } in captions {
        let language = language.as_deref().map(quotable);
        let own = service.to_string();
        let name = language.as_deref().map_or(own.clone(), language::name);
        let is_taken = members.iter().any(|other| other.name == name);
        let is_shadowed = members.iter().any(|other| other.language == language);
        members.push(AlternativeMedia {
            media_type: AlternativeMediaType::ClosedCaptions,
            group_id: GROUP.into(),
            name: if is_taken { format!("{name} ({own})") } else { name },
            language,
            autoselect: !is_shadowed,
            instream_id: Some(match service {
                Service::Line21(channel) => InstreamId::CC(channel),
                Service::Digital(number) => InstreamId::Service(number),
            }),
            ..AlternativeMedia::default()
        });
    }
    (members, Some(ClosedCaptionGroupId::GroupId(GROUP.into())))
}

/// The variant whose own playlist is that of `line`.
fn variant(line: &Line<'_>, audio: Option<&Group<'_>>, text: Option<&Group<'_>>) -> VariantStream {
    let mut rate = line.rate();
    let mut codecs: Vec<&str> = line.codecs().collect();
    for group in [audio, text].into_iter().flatten() {
        // The largest sum of any playable combination; the variant's own playlist is not played beside itself.
        let others = || group.members.iter().filter(|member| member.rendition != line.rendition);
        let largest = |of: fn(Rate) -> u64| others().map(|member| of(member.rate())).max().unwrap_or(0);
        rate.peak += largest(|rate| rate.peak);
        rate.average += largest(|rate| rate.average);
        // WebVTT segments are no format that CODECS could name (`wvtt` is that of fragmented MP4).
        codecs.extend(others().filter(|member| member.entry.format.0 != *b"wvtt").flat_map(|member| member.codecs()));
    }
    let mut distinct: Vec<&str> = Vec::new();
    codecs.retain(|codec| {
        !distinct.contains(codec) && {
            distinct.push(codec);
            true
        }
    });

    // Of several clips the largest: what a player should be ready for.
    let largest = line.tracks.iter().max_by_key(|track| pixels(track)).and_then(|track| track.video());
    let faster =
        |a: &(u32, u32), b: &(u32, u32)| (u64::from(a.0) * u64::from(b.1)).cmp(&(u64::from(b.0) * u64::from(a.1)));
    let frame_rates = line.tracks.iter().filter_map(|track| track.frame_rate).filter(|(_, den)| *den > 0);
    VariantStream {
        uri: uri(line),
        bandwidth: rate.peak,
        average_bandwidth: Some(rate.average),
        codecs: Some(quotable(&distinct.join(","))),
        resolution: largest.map(|video| Resolution { width: video.width.into(), height: video.height.into() }),
        frame_rate: frame_rates.max_by(faster).map(|(num, den)| {
            let thousandths = (u64::from(num) * 1000 + u64::from(den) / 2) / u64::from(den);
            thousandths as f64 / 1000.0
        }),
        audio: audio.map(|group| group.id.clone()),
        subtitles: text.map(|group| group.id.clone()),
        other_attributes: further_attributes(line)
            .map(|(name, value)| [(name.into(), QuotedOrUnquoted::Unquoted(value))].into()),
        ..VariantStream::default()
    }
}

/// EXT-X-I-FRAME-STREAM-INF (rfc8216bis §4.4.6.3) of the pictures of `line` alone, if there is a playlist of them.
fn i_frame_variant(line: &Line<'_>) -> Option<VariantStream> {
    let rate = line.rendition.trick()?;
    let of_pictures = variant(line, None, None);
    Some(VariantStream {
        is_i_frame: true,
        uri: format!("{}/{}/trick.m3u8", line.rendition.name, line.rendition.version),
        bandwidth: rate.peak,
        average_bandwidth: Some(rate.average),
        frame_rate: None,
        ..of_pictures
    })
}

/// VIDEO-RANGE and SUPPLEMENTAL-CODECS. They are one entry, name and text, because the writer keeps its further attributes in
/// an unordered map, and every node must write the same bytes.
fn further_attributes(line: &Line<'_>) -> Option<(&'static str, String)> {
    line.video()?;
    // rfc8216bis §4.4.6.2: the code points that each value stands for, of several clips the highest; of others nothing is said.
    let range = |track: &&Track| match track.transfer() {
        None | Some(1 | 6 | 13 | 14 | 15) => Some(0),
        Some(18) => Some(1),
        Some(16) => Some(2),
        Some(_) => None,
    };
    let ranges: Option<Vec<usize>> = line.tracks.iter().map(range).collect();
    let range = ranges.and_then(|ranges| ranges.into_iter().max()).map(|range| ["SDR", "HLG", "PQ"][range]);
    let first = line.tracks[0].entry.supplemental_codecs.as_deref();
    let supplemental =
        first.filter(|_| line.tracks.iter().all(|track| track.entry.supplemental_codecs.as_deref() == first));
    let supplemental = supplemental.map(|codecs| format!("\"{}\"", quotable(codecs)));
    match (range, supplemental) {
        (Some(range), Some(codecs)) => Some(("VIDEO-RANGE", format!("{range},SUPPLEMENTAL-CODECS={codecs}"))),
        (Some(range), None) => Some(("VIDEO-RANGE", range.into())),
        (None, Some(codecs)) => Some(("SUPPLEMENTAL-CODECS", codecs)),
        (None, None) => None,
    }
}

/// CHANNELS: how many, and that they hold objects (`16/JOC`: Dolby Atmos in E-AC-3, by its complexity).
fn channels(line: &Line<'_>) -> String {
    let most = line.tracks.iter().max_by_key(|track| track.audio().map_or(0, |audio| audio.channels));
    match most.and_then(|track| track.audio()).map(|audio| (audio.channels, audio.layout)) {
        Some((_, ChannelLayout::Dolby { joc_complexity: Some(complexity), .. })) => format!("{complexity}/JOC"),
        Some((channels, _)) => channels.to_string(),
        None => "0".into(),
    }
}

fn uri(line: &Line<'_>) -> String {
    match line.is_live {
        true => format!("{}/media.m3u8", line.rendition.name),
        false => format!("{}/{}/media.m3u8", line.rendition.name, line.rendition.version),
    }
}

/// What of `text` may stand in a quoted-string (rfc8216bis §4.2).
fn quotable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && *c != '"').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::presentation::{Period, SwitchingSet};
    use crate::packager::{fixture, rate};

    fn written(presentation: &Presentation) -> Result<Vec<u8>, NoHls> {
        let renditions = Renditions::of(presentation, &rate::measure(presentation));
        playlist(presentation, &renditions, &Options::default())
    }

    fn check(sets: Vec<SwitchingSet>) -> String {
        let presentation = fixture::presentation(sets);
        let bytes = written(&presentation).expect("HLS");
        let (rest, read) = m3u8_rs::parse_master_playlist(&bytes).expect("well formed");
        assert!(rest.is_empty());
        assert_eq!(read.variants.len(), read.variants.iter().filter(|v| v.codecs.is_some()).count());
        String::from_utf8(bytes).expect("text")
    }

    fn one(build: fixture::Build) -> SwitchingSet {
        fixture::set(vec![build.done()])
    }

    #[test]
    fn ladder_with_two_languages_and_both_kinds_of_text() {
        let ladder = fixture::set(vec![
            fixture::video("v720").regular(3).colour(1).done(),
            fixture::video("v360").size((640, 360)).cut(&[(20_000, 76_800); 3]).colour(1).done(),
        ]);
        let mut irregular = one(fixture::video("v180").regular(1));
        irregular.aligned = false;
        let text = |name, format, tag| one(fixture::text(name, format).cut(&[(100, 6000); 3]).language(tag));
        let audio = |name, tag| one(fixture::audio(name).cut(&[(96_000, 288_000); 3]).language(tag));
        let sets = vec![
            ladder,
            irregular,
            audio("en", "en"),
            audio("de", "de"),
            text("sub_en", b"wvtt", "en"),
            text("sub_de", b"wvtt", "de"),
            text("ttml_en", b"stpp", "en"),
            text("ttml_de", b"stpp", "de"),
        ];
        insta::assert_snapshot!(check(sets), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=AUDIO,URI="en/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="de/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="de",NAME="Deutsch",AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=SUBTITLES,URI="sub_en/0123456789abcdef/media.m3u8",GROUP-ID="text-vtt",LANGUAGE="en",NAME="English",AUTOSELECT=YES
        #EXT-X-MEDIA:TYPE=SUBTITLES,URI="sub_de/0123456789abcdef/media.m3u8",GROUP-ID="text-vtt",LANGUAGE="de",NAME="Deutsch",AUTOSELECT=YES
        #EXT-X-MEDIA:TYPE=SUBTITLES,URI="ttml_en/0123456789abcdef/media.m3u8",GROUP-ID="text-imsc",LANGUAGE="en",NAME="English",AUTOSELECT=YES
        #EXT-X-MEDIA:TYPE=SUBTITLES,URI="ttml_de/0123456789abcdef/media.m3u8",GROUP-ID="text-imsc",LANGUAGE="de",NAME="Deutsch",AUTOSELECT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=192134,AVERAGE-BANDWIDTH=192134,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2",SUBTITLES="text-vtt"
        v720/0123456789abcdef/media.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=154801,AVERAGE-BANDWIDTH=154801,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2",SUBTITLES="text-vtt"
        v360/0123456789abcdef/media.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=192134,AVERAGE-BANDWIDTH=192134,CODECS="avc1.64001f,mp4a.40.2,stpp.ttml.im1t",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2",SUBTITLES="text-imsc"
        v720/0123456789abcdef/media.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=154801,AVERAGE-BANDWIDTH=154801,CODECS="avc1.64001f,mp4a.40.2,stpp.ttml.im1t",RESOLUTION=640x360,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2",SUBTITLES="text-imsc"
        v360/0123456789abcdef/media.m3u8
        "#);
    }

    #[test]
    fn a_language_that_lacks_a_codec_lends_its_nearest() {
        let surround = ChannelLayout::Dolby { map: 0xf801, joc_complexity: Some(16) };
        let atmos = fixture::audio("en_atmos").codecs(b"ec-3", "ec-3").channels(6, surround).language("en");
        let sets = vec![
            one(fixture::video("v").regular(2)),
            one(fixture::audio("en").cut(&[(96_000, 288_000); 2]).language("en").role(Role::Main)),
            one(atmos.cut(&[(480_000, 288_000); 2]).role(Role::Main)),
            one(fixture::audio("fr").cut(&[(100_000, 288_000); 2]).language("fr").role(Role::Main)),
        ];
        insta::assert_snapshot!(check(sets), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=AUDIO,URI="en/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="fr/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="fr",NAME="Français",AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="en_atmos/0123456789abcdef/media.m3u8",GROUP-ID="audio-ec-3-16/JOC",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="16/JOC"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="fr/0123456789abcdef/media.m3u8",GROUP-ID="audio-ec-3-16/JOC",LANGUAGE="fr",NAME="Français",AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-STREAM-INF:BANDWIDTH=197334,AVERAGE-BANDWIDTH=197334,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2"
        v/0123456789abcdef/media.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=704000,AVERAGE-BANDWIDTH=704000,CODECS="avc1.64001f,ec-3,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-ec-3-16/JOC"
        v/0123456789abcdef/media.m3u8
        "#);
    }

    #[test]
    fn bit_rates_of_one_codec_are_groups() {
        let audio = |name: &str, bytes| fixture::audio(name).cut(&[(bytes, 288_000); 2]);
        let sets = vec![
            one(fixture::video("v").regular(2)),
            fixture::set(vec![
                audio("en128", 96_000).language("en").done(),
                audio("en64", 48_000).language("en").done(),
            ]),
            one(audio("de120", 90_000).language("de")),
        ];
        insta::assert_snapshot!(check(sets), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=AUDIO,URI="en128/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="de120/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="de",NAME="Deutsch",AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="en64/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2_2",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="de120/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2_2",LANGUAGE="de",NAME="Deutsch",AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-STREAM-INF:BANDWIDTH=192000,AVERAGE-BANDWIDTH=192000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2"
        v/0123456789abcdef/media.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=184000,AVERAGE-BANDWIDTH=184000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2_2"
        v/0123456789abcdef/media.m3u8
        "#);
    }

    #[test]
    fn the_second_text_of_a_language_and_purpose_was_lost() {
        let text = |name, format: &[u8; 4]| fixture::text(name, format).regular(1).language("en");
        let with_imsc = |name, imsc: &str| one(text(name, b"wvtt").with(|track| track.as_imsc = Some(imsc.to_owned())));
        let members = |texts: Vec<SwitchingSet>| -> Vec<String> {
            let sets = [vec![one(fixture::video("v").regular(1))], texts].concat();
            let text = check(sets);
            let lines = text.lines().filter(|line| line.contains("TYPE=SUBTITLES"));
            let value = |line: &str, key: &str| {
                line.split_once(key)
                    .and_then(|(_, rest)| rest.split_once('"'))
                    .map_or("", |(value, _)| value)
                    .to_owned()
            };
            let mut members: Vec<String> = lines
                .map(|line| {
                    let uri = value(line, "URI=\"");
                    let track = uri.split('/').next().unwrap_or_default();
                    format!("{} {}: {track}", value(line, "GROUP-ID=\""), value(line, "NAME=\""))
                })
                .collect();
            members.sort();
            members
        };
        let two = vec![one(text("srt", b"wvtt")), one(text("tx3g", b"wvtt"))];
        assert_eq!(members(two), ["text-vtt English 2: tx3g", "text-vtt English: srt"]);
        // Each of two TTML files goes on as its own IMSC, whatever order they come in.
        let imsc = |name| one(text(name, b"stpp"));
        let pairs = vec![with_imsc("a", "a-imsc"), imsc("b-imsc"), imsc("a-imsc"), with_imsc("b", "b-imsc")];
        assert_eq!(
            members(pairs),
            [
                "text-imsc English 2: b-imsc",
                "text-imsc English: a-imsc",
                "text-vtt English 2: b",
                "text-vtt English: a"
            ]
        );
    }

    #[test]
    fn what_it_is_for_is_said() {
        let audio = |name: &str| fixture::audio(name).regular(1).language("en");
        let sets = vec![
            one(fixture::video("v").regular(1)),
            one(audio("talk").role(Role::Commentary)),
            one(audio("described").role(Role::Description).label("For the \"blind\"\n")),
            one(audio("main").role(Role::Main)),
            one(audio("other").role(Role::Alternate)),
            one(fixture::text("cc", b"wvtt").regular(1).language("en").role(Role::Caption)),
            one(fixture::text("forced", b"wvtt").regular(1).language("en").role(Role::ForcedSubtitle)),
            one(fixture::text("unknown", b"wvtt").regular(1)),
        ];
        insta::assert_snapshot!(check(sets), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=AUDIO,URI="talk/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="English (commentary)",CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="described/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="For the blind",AUTOSELECT=YES,CHARACTERISTICS="public.accessibility.describes-video",CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="main/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="other/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="English 2",CHANNELS="2"
        #EXT-X-MEDIA:TYPE=SUBTITLES,URI="cc/0123456789abcdef/media.m3u8",GROUP-ID="text-vtt",LANGUAGE="en",NAME="English (captions)",AUTOSELECT=YES,CHARACTERISTICS="public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"
        #EXT-X-MEDIA:TYPE=SUBTITLES,URI="forced/0123456789abcdef/media.m3u8",GROUP-ID="text-vtt",LANGUAGE="en",NAME="English (forced)",AUTOSELECT=YES,FORCED=YES
        #EXT-X-MEDIA:TYPE=SUBTITLES,URI="unknown/0123456789abcdef/media.m3u8",GROUP-ID="text-vtt",NAME="Subtitles",AUTOSELECT=YES
        #EXT-X-STREAM-INF:BANDWIDTH=192000,AVERAGE-BANDWIDTH=192000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,AUDIO="audio-mp4a.40.2-2",SUBTITLES="text-vtt"
        v/0123456789abcdef/media.m3u8
        "#);
    }

    #[test]
    fn the_default_sound_was_the_first_of_the_alphabet() {
        // In the order of output: name, place in the source, whether it is enabled, roles.
        type Sound<'a> = (&'a str, u32, bool, &'a [Role]);
        let check = |sounds: &[Sound<'_>], expected: &str| {
            let sound = |&(tag, place, is_enabled, roles): &Sound<'_>| {
                let build = fixture::audio(tag).regular(1).language(tag);
                one(build.with(|track| {
                    (track.place, track.is_enabled, track.roles) = (place, is_enabled, roles.to_vec());
                }))
            };
            let text =
                check([one(fixture::video("v").regular(1))].into_iter().chain(sounds.iter().map(sound)).collect());
            let defaults: Vec<&str> = text.lines().filter(|line| line.contains("DEFAULT=YES")).collect();
            assert!(
                defaults.len() == 1 && defaults[0].contains(&format!("LANGUAGE=\"{expected}\"")),
                "{sounds:?}: {text}"
            );
        };
        check(&[("de", 2, true, &[]), ("en", 1, true, &[])], "en");
        check(&[("de", 1, false, &[]), ("en", 2, true, &[])], "en");
        check(&[("de", 2, true, &[Role::Main]), ("en", 1, true, &[])], "de");
        for other in [Role::Commentary, Role::Description, Role::Dub, Role::Alternate] {
            check(&[("de", 2, false, &[]), ("en", 1, true, &[other])], "de");
        }
        check(&[("de", 2, true, &[Role::Dub]), ("en", 1, true, &[Role::Commentary])], "de");
        check(&[("de", 2, false, &[]), ("en", 1, false, &[])], "en");
        // Of what is pushed nobody knows the order.
        check(&[("de", 0, true, &[]), ("en", 0, true, &[])], "de");
    }

    #[test]
    fn captions_in_pictures_are_those_of_any_rendition() {
        use Service::{Digital, Line21};
        let video =
            |name, captions: &[(Service, Option<&str>)]| fixture::video(name).regular(2).captions(captions).done();
        let lines = |tracks: Vec<Track>| {
            let text = check(vec![fixture::set(tracks)]);
            text.lines().filter(|line| line.contains("CLOSED-CAPTIONS")).map(str::to_owned).collect::<Vec<_>>()
        };
        let spoken = [(Line21(1), Some("en")), (Line21(3), None), (Digital(1), Some("en")), (Digital(2), None)];
        insta::assert_snapshot!(lines(vec![video("a", &spoken), video("b", &[(Line21(3), Some("es"))])]).join("\n"), @r#"
        #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",LANGUAGE="en",NAME="English",AUTOSELECT=YES,INSTREAM-ID="CC1"
        #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",LANGUAGE="es",NAME="Español",AUTOSELECT=YES,INSTREAM-ID="CC3"
        #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",LANGUAGE="en",NAME="English (SERVICE1)",INSTREAM-ID="SERVICE1"
        #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="SERVICE2",AUTOSELECT=YES,INSTREAM-ID="SERVICE2"
        #EXT-X-STREAM-INF:BANDWIDTH=64000,AVERAGE-BANDWIDTH=64000,CODECS="avc1.64001f",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,CLOSED-CAPTIONS="cc"
        #EXT-X-STREAM-INF:BANDWIDTH=64000,AVERAGE-BANDWIDTH=64000,CODECS="avc1.64001f",RESOLUTION=1280x720,FRAME-RATE=25,VIDEO-RANGE=SDR,CLOSED-CAPTIONS="cc"
        "#);
        let none = lines(vec![video("a", &[]), video("b", &[])]);
        assert!(none.len() == 2 && none.iter().all(|line| line.contains(",CLOSED-CAPTIONS=NONE")), "{none:?}");
        let unknown = fixture::video("b").regular(2).done();
        assert_eq!(lines(vec![video("a", &[]), unknown]), [""; 0]);
    }

    #[test]
    fn the_first_variant_was_the_largest() {
        // Kilobytes of segments of six seconds each, and which is listed first of all; the others stay in their order.
        let check = |sizes: &[(&str, u32)], languages: &[&str], expected: &[&str]| {
            let videos =
                sizes.iter().map(|&(name, kbytes)| fixture::video(name).cut(&[(kbytes * 1000, 76_800); 2]).done());
            let audio = |&tag: &&str| one(fixture::audio(tag).cut(&[(96_000, 288_000); 2]).language(tag));
            let texts =
                [("vtt", b"wvtt"), ("imsc", b"stpp")].map(|(name, format)| one(fixture::text(name, format).regular(2)));
            let sets = [fixture::set(videos.collect())].into_iter().chain(languages.iter().map(audio)).chain(texts);
            let text = check(sets.collect());
            let named = |line: &str| line.strip_suffix("/0123456789abcdef/media.m3u8").map(str::to_owned);
            assert_eq!(text.lines().filter_map(named).collect::<Vec<_>>(), expected, "{sizes:?}");
            let first = text.lines().find(|line| line.starts_with("#EXT-X-STREAM-INF")).expect("there");
            assert!(first.contains("SUBTITLES=\"text-vtt\""), "{first}");
        };
        let ladder = [("v2160", 12_000), ("v1080", 4500), ("v720", 1350), ("v540", 900), ("v360", 450)];
        check(&ladder, &["en"], &["v720", "v2160", "v1080", "v540", "v360", "v2160", "v1080", "v720", "v540", "v360"]);
        // 1.95 Mb/s of pictures, and sound of 128 kb/s.
        check(&[("v720", 1463), ("v540", 900)], &["en"], &["v540", "v720", "v720", "v540"]);
        check(&ladder[..2], &["en"], &["v1080", "v2160", "v2160", "v1080"]);
        check(&ladder[3..], &[], &["v540", "v360", "v540", "v360"]);
    }

    #[test]
    fn sound_alone() {
        let sets = vec![fixture::set(vec![
            fixture::audio("high").cut(&[(96_000, 288_000); 2]).done(),
            fixture::audio("low").cut(&[(48_000, 288_000); 2]).done(),
        ])];
        insta::assert_snapshot!(check(sets), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-STREAM-INF:BANDWIDTH=128000,AVERAGE-BANDWIDTH=128000,CODECS="mp4a.40.2"
        high/0123456789abcdef/media.m3u8
        #EXT-X-STREAM-INF:BANDWIDTH=64000,AVERAGE-BANDWIDTH=64000,CODECS="mp4a.40.2"
        low/0123456789abcdef/media.m3u8
        "#);
        let sets = vec![
            one(fixture::audio("en").regular(2).language("en")),
            one(fixture::audio("pt").regular(2).language("pt-BR")),
        ];
        insta::assert_snapshot!(check(sets), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MEDIA:TYPE=AUDIO,URI="en/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="en",NAME="English",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-MEDIA:TYPE=AUDIO,URI="pt/0123456789abcdef/media.m3u8",GROUP-ID="audio-mp4a.40.2-2",LANGUAGE="pt-BR",NAME="Português (BR)",AUTOSELECT=YES,CHANNELS="2"
        #EXT-X-STREAM-INF:BANDWIDTH=128000,AVERAGE-BANDWIDTH=128000,CODECS="mp4a.40.2",AUDIO="audio-mp4a.40.2-2"
        en/0123456789abcdef/media.m3u8
        "#);
    }

    #[test]
    fn high_dynamic_range_and_dolby_vision() {
        let vision = fixture::video("v").codecs(b"hvc1", "hvc1.2.4.L153.B0").colour(18).regular(1);
        let vision = vision.with(|track| {
            track.entry.supplemental_codecs = Some("dvh1.08.07/db4h".into());
            track.frame_rate = Some((30_000, 1001));
        });
        insta::assert_snapshot!(check(vec![one(vision)]), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-STREAM-INF:BANDWIDTH=64000,AVERAGE-BANDWIDTH=64000,CODECS="hvc1.2.4.L153.B0",RESOLUTION=1280x720,FRAME-RATE=29.97,VIDEO-RANGE=HLG,SUPPLEMENTAL-CODECS="dvh1.08.07/db4h"
        v/0123456789abcdef/media.m3u8
        "#);
    }

    #[test]
    fn dolby_vision_that_says_no_colour_was_announced_as_standard_range() {
        let range = |codecs: &str| {
            let format: [u8; 4] = codecs.as_bytes()[..4].try_into().expect("four");
            let text = check(vec![one(fixture::video("v").codecs(&format, codecs).regular(1))]);
            text.split("VIDEO-RANGE=").nth(1).and_then(|rest| rest.split(['\n', ',']).next()).map(str::to_owned)
        };
        assert_eq!(range("dvh1.05.06").as_deref(), Some("PQ"));
        assert_eq!(range("dvhe.05.06").as_deref(), Some("PQ"));
        assert_eq!(range("dav1.10.06").as_deref(), Some("PQ"));
        assert_eq!(range("dvh1.08.06").as_deref(), Some("SDR"));
    }

    #[test]
    fn one_segment_without_a_sync_sample_takes_independence_away() {
        let dependent = fixture::video("v").regular(3).with(|track| track.segments[1].starts_with_sync = false);
        assert!(!check(vec![one(dependent)]).contains("INDEPENDENT"));
        assert!(check(vec![one(fixture::video("v").regular(3))]).contains("INDEPENDENT"));
    }

    #[test]
    fn why_there_is_none() {
        let why = |presentation: &Presentation| written(presentation).expect_err("none").to_string();
        let text = fixture::presentation(vec![one(fixture::text("t", b"wvtt").regular(1))]);
        assert_eq!(why(&text), "no video and no audio for HLS");
        let locked = fixture::presentation(vec![one(fixture::video("v").protected(b"cenc", [1; 16]).regular(1))]);
        let expected =
            "track v is encrypted: HLS needs a configured key URI, or a pssh box of Widevine or PlayReady in the media";
        assert_eq!(why(&locked), expected);
        let mut two = fixture::presentation(vec![one(fixture::video("v").regular(1))]);
        let audio = fixture::presentation(vec![one(fixture::audio("a").regular(1))]);
        two.periods.push(Period { id: "2".into(), ..audio.periods[0].clone() });
        assert_eq!(why(&two), "clip 2 has no video that could go on for v (avc1.64001f)");
    }
}
