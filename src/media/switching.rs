//! Which tracks a player may switch between, and the boundaries they share.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use crate::formats::isobmff::sample_entry::Media;
use crate::formats::language;
use crate::media::clip::{self, Cut, CutError};
use crate::media::presentation::SwitchingSet;
use crate::media::timeline;
use crate::media::track::{Kind, Role, Track};
use crate::time::{MediaTime, Rounding, Timescale};

/// The switching sets of one period, and what is odd about them.
#[derive(Debug, Default)]
pub struct Arranged {
    /// Video first, its main set first of all; then audio, then text.
    pub sets: Vec<SwitchingSet>,
    /// Where audio and text are cut, ascending.
    pub boundaries: Vec<MediaTime>,
    /// The ends of the clip as they came to be, if it is one.
    pub cut: Option<Cut>,
    /// Sentences for people.
    pub warnings: Vec<String>,
}

/// What tracks of one switching set have in common.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Debug)]
struct Likeness {
    kind: Kind,
    language: Option<String>,
    /// Of sound.
    label: Option<String>,
    roles: Vec<Role>,
    format: [u8; 4],
    channels: u16,
    sample_rate: u32,
    transfer: u8,
    scheme: Option<[u8; 4]>,
    timescale: u32,
}

impl Likeness {
    fn of(track: &Track) -> Likeness {
        let (channels, sample_rate, transfer) = match &track.entry.media {
            Media::Audio(audio) => (audio.channels, audio.sample_rate, 0),
            Media::Video(_) => (0, 0, track.transfer().map_or(1, sdr_as_one)),
            Media::Text => (0, 0, 0),
        };
        Likeness {
            kind: track.kind,
            language: track.language.clone(),
            label: track.label.clone().filter(|_| track.kind == Kind::Audio),
            roles: track.roles.clone(),
            format: track.entry.format.0,
            channels,
            sample_rate,
            transfer,
            scheme: track.entry.protection.as_ref().map(|protection| protection.scheme.0),
            timescale: track.timescale.get(),
        }
    }
}

/// The transfer characteristics of standard dynamic range look alike (ISO/IEC 23091-2 §8.2: 1, 6, 14 and 15 are one curve,
/// and "unspecified" is taken for it).
fn sdr_as_one(transfer: u8) -> u8 {
    if matches!(transfer, 2 | 6 | 14 | 15) { 1 } else { transfer }
}

/// Silence that is noticed at the end of a clip.
const AUDIBLE_MS: i64 = 100;

/// Whether two times lie so far apart that the sound between them is missed.
fn is_heard(from: MediaTime, until: MediaTime) -> bool {
    !from.is_within(until, MediaTime::new(AUDIBLE_MS, Timescale::MILLI))
}

/// Half a frame of `track`: as far as boundaries of one set may lie apart.
fn half_frame(track: &Track) -> MediaTime {
    let frame = track.samples.usual_duration().unwrap_or(0);
    MediaTime::new(i64::from(frame / 2), track.timescale)
}

/// Cuts `tracks` into segments of about `target` and arranges them in switching sets.
pub fn arrange(tracks: Vec<Track>, target: Duration) -> Arranged {
    arrange_part(tracks, target, None).expect("only a clip can be cut wrongly")
}

/// The same of the clip that `wanted` cuts out of them. It lasts as long as its main video.
pub fn arrange_clip(tracks: Vec<Track>, target: Duration, wanted: &Cut) -> Result<Arranged, CutError> {
    arrange_part(tracks, target, Some(wanted))
}

fn arrange_part(tracks: Vec<Track>, target: Duration, wanted: Option<&Cut>) -> Result<Arranged, CutError> {
    let (mut video, others): (Vec<Track>, Vec<Track>) = tracks.into_iter().partition(|track| track.kind == Kind::Video);
    let mut arranged = Arranged::default();
    video.sort_by(by_falling_quality);
    let mut others = others;
    tell_apart(&mut others, &mut arranged.warnings);
    let groups = groups(video, target);
    if let Some(wanted) = wanted {
        arranged.cut = Some(snapped(wanted, &groups, &others)?);
    }
    let mut boundaries = arranged.arrange_video(groups, target);
    let of_video = || arranged.sets.iter().flat_map(|set| &set.tracks);
    let video_start = of_video().map(|track| track.time(track.start())).min();
    let video_end = of_video().map(|track| track.time(track.end())).max();
    // A clip lasts as long as its pictures.
    if let (Some(cut), Some(start), Some(end)) = (arranged.cut, video_start, video_end) {
        arranged.warnings.extend(outside(&others, &cut, start, end));
        // What is presented before 0 is priming, and stays.
        arranged.cut = Some(Cut { from: Some(start).filter(|start| start.ticks > 0), until: Some(end) });
    }
    let end = others.iter().filter(|t| t.kind == Kind::Audio || boundaries.is_empty()).map(media_end).max();
    if let Some(end) = end.filter(|_| wanted.is_none() || video_end.is_none()) {
        let start = others.iter().map(|track| track.time(media_start(track))).min().unwrap_or(MediaTime::ZERO);
        // What goes on after the video is cut from there, unless it is too short for a segment of its own.
        let goes_on = video_end.filter(|&video_end| is_far(video_end, end, target));
        boundaries.extend(goes_on);
        boundaries.extend(timeline::grid(video_end.unwrap_or(start), end, target));
    }
    arranged.arrange_others(others, &boundaries, target);
    arranged.boundaries = boundaries;
    Ok(arranged)
}

/// What is heard of `others` before the pictures, from `start` to `end`, of a clip or after them, where nobody cut it there.
fn outside(others: &[Track], cut: &Cut, start: MediaTime, end: MediaTime) -> Vec<String> {
    let mut said = Vec::new();
    for track in others.iter().filter(|track| track.kind == Kind::Audio) {
        let mut left_out = |from: MediaTime, until: MediaTime, what: &str| {
            if from < until && is_heard(from, until) {
                let seconds = until.seconds() - from.seconds();
                said.push(format!("{}: {seconds:.3} s of it {what} picture of the clip are left out", track.name));
            }
        };
        if cut.from.is_none() {
            left_out(first_presented(track), start, "before the first");
        }
        if cut.until.is_none() {
            left_out(end, media_end(track), "after the last");
        }
    }
    said
}

/// The switching sets of tracks that are cut already, at the boundaries that they share, as an encoder cuts what it pushes. What they are called stays as
/// it was pushed, whichever there are besides: who is here in one Period and not in the next is to change no other.
pub fn group(tracks: Vec<Track>) -> Vec<SwitchingSet> {
    let rank = |track: &Track| {
        let pixels = track.video().map_or(0, |video| u32::from(video.width) * u32::from(video.height));
        (track.kind, std::cmp::Reverse(pixels))
    };
    let mut tracks = tracks;
    tracks.sort_by(|a, b| {
        rank(a).cmp(&rank(b)).then_with(|| a.language.cmp(&b.language)).then_with(|| a.name.cmp(&b.name))
    });
    let mut sets: Vec<SwitchingSet> = Vec::new();
    for track in tracks {
        let likeness = Likeness::of(&track);
        let fits = |set: &&mut SwitchingSet| track.kind != Kind::Text && Likeness::of(&set.tracks[0]) == likeness;
        match sets.iter_mut().find(fits) {
            Some(set) => set.tracks.push(track),
            None => sets.push(SwitchingSet {
                kind: track.kind,
                language: track.language.clone(),
                roles: track.roles.clone(),
                aligned: true,
                tracks: vec![track],
            }),
        }
    }
    sets
}

/// What tells the set that `track` is in from the others that [`group`] makes of a period: a hash that depends on nothing else, so that it is the same
/// whichever tracks there are besides, in every period and on every node.
pub fn identity(track: &Track) -> u64 {
    let likeness = Likeness::of(track);
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    // Each text is a set.
    let name = (track.kind == Kind::Text).then_some(track.name.as_str());
    add(track.kind.to_string().as_bytes());
    for optional in [likeness.language.as_deref(), likeness.label.as_deref(), name] {
        add(&[optional.is_some().into()]);
        add(optional.unwrap_or_default().as_bytes());
    }
    add(&(likeness.roles.len() as u64).to_be_bytes());
    likeness.roles.iter().for_each(|role| add(role.name().as_bytes()));
    add(&likeness.format);
    add(&likeness.channels.to_be_bytes());
    add(&likeness.sample_rate.to_be_bytes());
    add(&[likeness.transfer]);
    add(&likeness.scheme.unwrap_or_default());
    add(&likeness.timescale.to_be_bytes());
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first)
}

/// Tracks of video that are cut at the sync points they share.
struct Group {
    syncs: Vec<MediaTime>,
    /// Where it would be cut.
    boundaries: Vec<MediaTime>,
    tracks: Vec<Track>,
}

/// Where the clip that is `wanted` begins and ends: at sync points of the main video, or of the first track if there is none.
fn snapped(wanted: &Cut, groups: &[Group], others: &[Track]) -> Result<Cut, CutError> {
    if let Some(Group { syncs, tracks, .. }) = groups.first() {
        let end = tracks.iter().map(media_end).max().unwrap_or(MediaTime::ZERO);
        return wanted.snapped(syncs, end, half_frame(&tracks[0]));
    }
    let main = others.iter().find(|track| track.kind == Kind::Audio).or(others.first()).ok_or(CutError::NoTrack)?;
    let syncs = timeline::sync_times(&main.samples, main.media_time, main.timescale);
    wanted.snapped(&syncs, media_end(main), half_frame(main))
}

fn media_start(track: &Track) -> i64 {
    if track.samples.is_empty() { 0 } else { presented(track, 0).max(0) }
}

/// When sample `index` is presented, in ticks.
fn presented(track: &Track, index: u32) -> i64 {
    let sample = track.samples.get(index);
    sample.decode_time + i64::from(sample.composition_offset) - track.media_time
}

/// When the first sample of `track` is presented, not before 0.
pub fn first_presented(track: &Track) -> MediaTime {
    track.time(media_start(track))
}

fn media_end(track: &Track) -> MediaTime {
    track.time(track.samples.end().saturating_sub(track.media_time))
}

fn by_falling_quality(a: &Track, b: &Track) -> std::cmp::Ordering {
    let rank = |track: &Track| {
        let pixels = track.video().map_or(0, |video| u32::from(video.width) * u32::from(video.height));
        (pixels, rate_of(track))
    };
    rank(b).cmp(&rank(a)).then_with(|| a.name.cmp(&b.name))
}

/// Renditions of one sound differ in rate by a fifth at least: who encodes twice at one rate has two sounds.
const LADDER_STEP: (u64, u64) = (6, 5);

/// Names tracks of sound of one file that nothing tells apart, in their order there, those that are enabled first: those of rates that no ladder has are different sounds, a
/// commentary perhaps, and none is to be switched to in place of another. Files that have sound each are renditions of one.
fn tell_apart(tracks: &mut [Track], warnings: &mut Vec<String>) {
    // By likeness and file: for each sound the names and rates of its renditions.
    let mut known = BTreeMap::<(Likeness, Option<u32>), Vec<Vec<(String, u64)>>>::new();
    let mut sounds: Vec<&mut Track> =
        tracks.iter_mut().filter(|track| track.kind == Kind::Audio && !track.samples.is_empty()).collect();
    sounds.sort_by_key(|track| !track.is_enabled);
    for track in sounds {
        let rate = rate_of(track);
        let is_step = |other: u64| rate.max(other) * LADDER_STEP.1 >= rate.min(other) * LADDER_STEP.0;
        let file = track.samples.places(0..1).first().map(|place| place.file);
        let sounds = known.entry((Likeness::of(track), file)).or_default();
        let own =
            sounds.iter().position(|sound| sound.iter().all(|(_, other)| is_step(*other))).unwrap_or(sounds.len());
        if own == sounds.len() {
            sounds.push(Vec::new());
        }
        sounds[own].push((track.name.clone(), rate));
        if own == 0 {
            continue;
        }
        warnings.push(format!(
            "{}: nothing but its name tells it from {}, so it is offered as another sound: presentation.toml can say its language, label or roles",
            track.name, sounds[0][0].0,
        ));
        let called = track.label.clone().or_else(|| track.language.as_deref().map(language::name));
        track.label = Some(format!("{} {}", called.as_deref().unwrap_or("Audio"), own + 1));
        if track.roles.is_empty() {
            track.roles.push(Role::Alternate);
        }
    }
}

/// A track with a name that its encoder gave it.
#[derive(Debug)]
pub struct Named<'a> {
    /// What it carries.
    pub kind: Kind,
    /// BCP 47 tag.
    pub language: Option<String>,
    /// The name.
    pub label: &'a mut Option<String>,
}

impl Named<'_> {
    /// `track`, whose label is such a name.
    pub fn of(track: &mut Track) -> Named<'_> {
        Named { kind: track.kind, language: track.language.clone(), label: &mut track.label }
    }
}

/// Takes away names that tracks of several languages share: players would show them in place of the languages. Where a name tells tracks of
/// one language apart it stays, behind the language.
pub fn say_languages(tracks: Vec<Named<'_>>) {
    let mut languages = BTreeMap::<(Kind, String), BTreeSet<Option<String>>>::new();
    let mut labels = BTreeMap::<(Kind, Option<String>), BTreeSet<Option<String>>>::new();
    for Named { kind, language, label } in &tracks {
        if let Some(label) = label.as_ref() {
            languages.entry((*kind, label.clone())).or_default().insert(language.clone());
        }
        labels.entry((*kind, language.clone())).or_default().insert((*label).clone());
    }
    for Named { kind, language, label } in tracks {
        let Some(name) = label.take() else { continue };
        let tells_nothing = labels[&(kind, language.clone())].len() == 1;
        *label = match &languages[&(kind, name.clone())] {
            several if several.len() == 1 => Some(name),
            _ if tells_nothing => None,
            _ => Some(language.map_or(name.clone(), |tag| format!("{} ({name})", language::name(&tag)))),
        };
    }
}

/// Bits a second.
fn rate_of(track: &Track) -> u64 {
    let seconds = media_end(track).to(Timescale::MILLI, Rounding::Up).max(1) as u64;
    track.samples.size(0..track.samples.len()).saturating_mul(8000) / seconds
}

/// The most groups that a track is compared with. Each takes a look at every sync sample, of which a track may have millions.
const GROUPS_COMPARED_MAX: usize = 8;

/// Groups video by the sync samples it shares, the main group first.
fn groups(tracks: Vec<Track>, target: Duration) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for track in tracks {
        let syncs = timeline::sync_times(&track.samples, track.media_time, track.timescale);
        let end = media_end(&track);
        let tolerance = half_frame(&track);
        let boundaries = timeline::boundaries(&syncs, &[], target);
        let joined = groups.iter_mut().take(GROUPS_COMPARED_MAX).find_map(|group| {
            let both = timeline::common(&group.syncs, &syncs, tolerance);
            let limit = longest(&group.boundaries, end)
                .max(longest(&boundaries, end))
                .max(MediaTime::new(target.as_millis() as i64 * 2, Timescale::MILLI));
            let of_both = timeline::boundaries(&both, &[], target);
            let aligned = !both.is_empty() && longest(&of_both, end) <= limit;
            aligned.then_some((group, both, of_both))
        });
        match joined {
            Some((group, both, of_both)) => {
                (group.syncs, group.boundaries) = (both, of_both);
                group.tracks.push(track);
            }
            None => groups.push(Group { syncs, boundaries, tracks: vec![track] }),
        }
    }
    // The largest leads; of equal ones the better, which came first.
    groups.sort_by_key(|group| std::cmp::Reverse(group.tracks.len()));
    groups
}

impl Arranged {
    /// Cuts video and adds it; returns the boundaries of the main group.
    fn arrange_video(&mut self, groups: Vec<Group>, target: Duration) -> Vec<MediaTime> {
        let cut = self.cut.unwrap_or_default();
        let mut main = Vec::new();
        for (index, Group { mut syncs, tracks, .. }) in groups.into_iter().enumerate() {
            syncs
                .retain(|&sync| cut.from.is_none_or(|from| from <= sync) && cut.until.is_none_or(|until| sync < until));
            let boundaries = timeline::boundaries(&syncs, &rotations(&tracks, &syncs), target);
            if index > 0 {
                let names: Vec<&str> = tracks.iter().map(|track| track.name.as_str()).collect();
                let is_cut = cut.from.is_some() || cut.until.is_some();
                self.warnings.push(format!(
                    "{}: sync samples lie elsewhere than in the other renditions, so {}",
                    names.join(", "),
                    if is_cut {
                        "it can't be cut where they are, and is left out of the clip"
                    } else {
                        "it is a switching set of its own, and HLS leaves it out"
                    },
                ));
                if is_cut {
                    continue;
                }
            }
            for track in tracks {
                let tolerance = half_frame(&track);
                let played = clip::of_video(&track, &cut, tolerance);
                self.cut_and_place(track, played, &boundaries, tolerance, index == 0);
            }
            if index == 0 {
                main = boundaries;
            }
        }
        main
    }

    /// Cuts text that was made to be cut at `boundaries`, and adds it in its place.
    pub fn add_text(&mut self, tracks: Vec<Track>, target: Duration) {
        let boundaries = std::mem::take(&mut self.boundaries);
        self.arrange_others(tracks, &boundaries, target);
        self.boundaries = boundaries;
        let first = self.sets.partition_point(|set| set.kind != Kind::Text);
        self.sets[first..]
            .sort_by(|a, b| a.language.cmp(&b.language).then_with(|| a.tracks[0].name.cmp(&b.tracks[0].name)));
    }

    fn arrange_others(&mut self, tracks: Vec<Track>, boundaries: &[MediaTime], target: Duration) {
        let (mut audio, mut text): (Vec<Track>, Vec<Track>) = tracks.into_iter().partition(|t| t.kind == Kind::Audio);
        let is_alternate = |track: &Track| track.roles.contains(&Role::Alternate);
        let rank = |track: &Track| (track.language.clone(), is_alternate(track));
        audio.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| by_falling_quality(a, b)));
        text.sort_by(|a, b| a.language.cmp(&b.language).then_with(|| a.name.cmp(&b.name)));
        let mut forced = BTreeMap::<Likeness, Vec<MediaTime>>::new();
        for track in audio.iter().chain(&text).filter(|track| track.is_protected()) {
            let times = forced.entry(Likeness::of(track)).or_default();
            times.extend(track.rotations().map(|ticks| track.time(ticks)));
        }
        for times in forced.values_mut() {
            times.sort();
            times.dedup();
        }
        let cut = self.cut.unwrap_or_default();
        for mut track in audio.into_iter().chain(text) {
            if let Some(until) = cut.until.filter(|_| track.kind == Kind::Audio) {
                self.compare_ends(&track, until);
            }
            let played = clip::of_others(&mut track, &cut);
            if played.is_empty() {
                self.warnings.push(format!("{}: nothing of it lies in the clip, so it is left out", track.name));
                continue;
            }
            // A boundary soon after the track's start would cut off a sliver, of priming mostly.
            let start = track.time(presented(&track, played.start).max(0));
            let soon = boundaries.iter().take_while(|&&boundary| !is_far(start, boundary, target)).count();
            let forced = forced.get(&Likeness::of(&track)).map_or(&[][..], Vec::as_slice);
            let boundaries = timeline::with_forced(&boundaries[soon..], forced, target);
            self.cut_and_place(track, played, &boundaries, MediaTime::ZERO, true);
        }
    }

    /// Says where the sound of a clip, which ends at `until`, does not end with it.
    fn compare_ends(&mut self, track: &Track, until: MediaTime) {
        let end = media_end(track);
        if end < until && is_heard(end, until) {
            let missing = until.seconds() - end.seconds();
            self.warnings.push(format!("{}: it ends {missing:.3} s before the pictures of the clip", track.name));
        }
    }

    fn cut_and_place(
        &mut self,
        mut track: Track,
        played: Range<u32>,
        boundaries: &[MediaTime],
        tolerance: MediaTime,
        aligned: bool,
    ) {
        track.clip_end = Some(played.end).filter(|&end| end < track.samples.len());
        track.segments =
            timeline::cut(&track.samples, played, track.media_time, boundaries, track.timescale, tolerance);
        self.place(track, aligned);
    }

    /// Adds `track` to the set it belongs to, or begins one.
    fn place(&mut self, track: Track, aligned: bool) {
        let likeness = Likeness::of(&track);
        let fits = |set: &&mut SwitchingSet| {
            let first = &set.tracks[0];
            // Text is chosen, not switched: two texts in one language are two offers.
            set.aligned == aligned
                && track.kind != Kind::Text
                && Likeness::of(first) == likeness
                && same_boundaries(first, &track)
        };
        match self.sets.iter_mut().find(fits) {
            Some(set) => set.tracks.push(track),
            None => self.sets.push(SwitchingSet {
                kind: track.kind,
                language: track.language.clone(),
                roles: track.roles.clone(),
                aligned,
                tracks: vec![track],
            }),
        }
    }
}

/// Where a key of any of `tracks` begins to hold, of the sync samples that they share: an HLS segment has one key, so there a
/// segment begins.
fn rotations(tracks: &[Track], shared: &[MediaTime]) -> Vec<MediaTime> {
    let mut chosen = Vec::new();
    for track in tracks {
        let mut times: Vec<MediaTime> = track.rotations().map(|ticks| track.time(ticks)).collect();
        times.sort();
        chosen.extend(timeline::common(shared, &times, half_frame(track)));
    }
    chosen.sort();
    chosen.dedup();
    chosen
}

/// Whether more than half of `target` lies between `start` and `boundary`.
fn is_far(start: MediaTime, boundary: MediaTime, target: Duration) -> bool {
    let half = MediaTime::new(target.as_millis() as i64 / 2, Timescale::MILLI);
    boundary > start && !boundary.is_within(start, half)
}

fn longest(boundaries: &[MediaTime], end: MediaTime) -> MediaTime {
    let ms = |time: MediaTime| time.to(Timescale::MILLI, Rounding::Nearest);
    let ends = boundaries.iter().skip(1).copied().chain([end]);
    let longest = boundaries.iter().zip(ends).map(|(a, b)| ms(b) - ms(*a)).max();
    MediaTime::new(longest.unwrap_or(0), Timescale::MILLI)
}

fn same_boundaries(a: &Track, b: &Track) -> bool {
    let tolerance = half_frame(a);
    a.segments.len() == b.segments.len()
        && a.segments.iter().zip(&b.segments).all(|(x, y)| a.time(x.time).is_within(b.time(y.time), tolerance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::FourCc;
    use crate::formats::isobmff::groups::KeyGroups;
    use crate::formats::isobmff::sample_entry::{Audio, ChannelLayout, Protection, SampleEntry, Video};
    use crate::media::sample::{Sample, SampleFlags, SampleTable};
    use crate::media::track::KeyChange;

    /// An encrypted track of `count` samples of `duration` ticks, every `gop`th a sync sample; its key changes at each of
    /// `rotations`.
    fn track(name: &str, timescale: u32, samples: (u32, u32, u32), rotations: &[u32]) -> Track {
        let (count, duration, gop) = samples;
        let (kind, media) = if gop == 1 {
            let audio = Audio { channels: 2, sample_rate: timescale, layout: ChannelLayout::Cicp(2) };
            (Kind::Audio, Media::Audio(audio))
        } else {
            let video = Video {
                width: 16,
                height: 9,
                pixel_aspect: None,
                colour: None,
                bit_depth: None,
                nal_length_bytes: None,
            };
            (Kind::Video, Media::Video(video))
        };
        let mut table = SampleTable::default();
        for index in 0..count {
            let flags = if index % gop == 0 { SampleFlags::SYNC } else { SampleFlags::NON_SYNC };
            let decode_time = i64::from(index * duration);
            table.push(Sample { decode_time, duration, composition_offset: 0, size: 1, flags }, 0, index.into());
        }
        let key = |(number, &first_sample): (usize, &u32)| KeyChange {
            first_sample,
            kid: [number as u8; 16],
            pssh: [].into(),
        };
        let protection = Protection {
            scheme: FourCc(*b"cenc"),
            default_kid: [9; 16],
            is_protected: true,
            per_sample_iv_size: 8,
            pattern: (0, 0),
            constant_iv: Vec::new(),
            groups: KeyGroups::default(),
        };
        let entry = SampleEntry {
            format: FourCc(*b"encv"),
            codecs: String::new(),
            supplemental_codecs: None,
            media,
            protection: Some(protection),
        };
        Track {
            keys: [0].iter().chain(rotations).enumerate().map(key).collect(),
            samples: table,
            ..Track::new(name, kind, Timescale::new(timescale).expect("not zero"), entry)
        }
    }

    fn seconds(track: &Track) -> Vec<f64> {
        let ms =
            |segment: &crate::media::track::Segment| track.time(segment.time).to(Timescale::MILLI, Rounding::Nearest);
        track.segments.iter().map(|segment| ms(segment) as f64 / 1000.0).collect()
    }

    #[test]
    fn each_of_many_tracks_was_compared_with_all_the_others() {
        // Of some seconds each, and none a multiple of another.
        let gops = [101, 103, 107, 109, 113, 127, 131, 137, 139, 149];
        let mut tracks: Vec<Track> =
            ('a'..).zip(gops).map(|(name, gop)| track(&name.to_string(), 25, (2500, 1, gop), &[])).collect();
        tracks.push(track("y", 25, (2500, 1, gops[0]), &[]));
        tracks.push(track("z", 25, (2500, 1, gops[9]), &[]));
        let found = groups(tracks, Duration::from_secs(2));
        let names = |group: &Group| group.tracks.iter().map(|track| track.name.clone()).collect::<String>();
        let names: Vec<String> = found.iter().map(names).collect();
        assert_eq!(names, ["ay", "b", "c", "d", "e", "f", "g", "h", "i", "j", "z"]);
    }

    #[test]
    fn every_rendition_is_cut_where_a_key_of_any_changes() {
        // 24 s of 25 frames a second, GOPs of 2 s; sound in frames of 1/50 s that changes its key a frame before the picture.
        let video = [track("a", 25, (600, 1, 50), &[250]), track("b", 25, (600, 1, 50), &[250, 400])];
        let mut audio = [track("c", 48_000, (1200, 960, 1), &[100, 499]), track("d", 48_000, (1200, 960, 1), &[])];
        audio[0].samples = audio[0].samples.slice(0..1200, |_, sample| Sample { size: 2, ..sample });
        let arranged = arrange(video.into_iter().chain(audio).collect(), Duration::from_secs(6));
        let found: Vec<Vec<&str>> =
            arranged.sets.iter().map(|set| set.tracks.iter().map(|track| &*track.name).collect()).collect();
        assert_eq!(found, [["a", "b"], ["c", "d"]]);
        let [video, audio] = &arranged.sets[..] else { panic!("two sets") };
        for track in &video.tracks {
            assert_eq!(seconds(track), [0.0, 6.0, 10.0, 14.0, 16.0, 20.0], "{}", track.name);
        }
        for track in &audio.tracks {
            assert_eq!(seconds(track), [0.0, 2.0, 6.0, 9.98, 14.0, 16.0, 20.0], "{}", track.name);
        }
    }

    #[test]
    fn two_sounds_of_one_file_were_two_qualities_of_one() {
        // Bytes a frame, and whether it says what it is.
        let sound = |(name, size, label): (&str, u32, Option<&str>)| {
            let mut track = track(name, 48_000, (1200, 960, 1), &[]);
            track.samples = track.samples.slice(0..1200, |_, sample| Sample { size, ..sample });
            (track.language, track.label) = (Some("en".into()), label.map(Into::into));
            track
        };
        let check = |sounds: &[(&str, u32, Option<&str>)], expected: &[(&[&str], Option<&str>, &[Role])]| {
            let arranged = arrange(sounds.iter().copied().map(sound).collect(), Duration::from_secs(6));
            let of = |set: &SwitchingSet| -> (Vec<String>, Option<String>, Vec<Role>) {
                let names = set.tracks.iter().map(|track| track.name.clone()).collect();
                (names, set.tracks[0].label.clone(), set.roles.clone())
            };
            let expected: Vec<_> = expected
                .iter()
                .map(|(names, label, roles)| {
                    (names.iter().map(ToString::to_string).collect(), label.map(Into::into), roles.to_vec())
                })
                .collect();
            assert_eq!(arranged.sets.iter().map(of).collect::<Vec<_>>(), expected, "{sounds:?}");
            arranged.warnings
        };
        let said = check(
            &[("a", 200, None), ("b", 210, None)],
            &[(&["a"], None, &[]), (&["b"], Some("English 2"), &[Role::Alternate])],
        );
        assert!(
            said[0].starts_with("b: nothing but its name tells it from a, so it is offered as another sound"),
            "{said:?}"
        );
        // A ladder; and each of two with one.
        assert!(check(&[("a", 100, None), ("b", 200, None)], &[(&["b", "a"], None, &[])]).is_empty());
        check(
            &[("a", 100, None), ("b", 200, None), ("c", 100, None), ("d", 200, None)],
            &[(&["b", "a"], None, &[]), (&["d", "c"], Some("English 2"), &[Role::Alternate])],
        );
        let [mut first, second] = [("a", 200, None), ("b", 210, None)].map(sound);
        first.is_enabled = false;
        let arranged = arrange(vec![first, second], Duration::from_secs(6));
        let tracks = arranged.sets.iter().flat_map(|set| &set.tracks);
        let roles: Vec<_> = tracks.map(|track| (track.name.as_str(), track.roles.as_slice())).collect();
        assert_eq!(roles, [("b", &[][..]), ("a", &[Role::Alternate][..])], "what is not enabled is the other one");
        check(
            &[("a", 200, Some("Main")), ("b", 100, Some("Commentary"))],
            &[(&["a"], Some("Main"), &[]), (&["b"], Some("Commentary"), &[])],
        );
    }

    #[test]
    fn what_came_beside_a_track_changed_what_its_set_was_called() {
        let sound = |language: &str| {
            let (language, label) = (Some(language.to_owned()), Some("Radio".to_owned()));
            Track { language, label, ..track("a", 48_000, (120, 960, 1), &[]) }
        };
        let ids = |tracks: Vec<Track>| -> Vec<u64> {
            group(tracks)
                .iter()
                .filter(|set| set.language.as_deref() == Some("en"))
                .map(|set| identity(&set.tracks[0]))
                .collect()
        };
        assert_eq!(ids(vec![sound("en")]), ids(vec![sound("en"), sound("de")]));
    }

    #[test]
    fn names_of_several_languages_were_shown_in_place_of_them() {
        let check = |tracks: &[(Kind, &str, &str)], expected: &[Option<&str>]| {
            let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let mut labels: Vec<Option<String>> = tracks.iter().map(|(_, _, label)| said(label)).collect();
            let named = tracks.iter().zip(&mut labels);
            say_languages(named.map(|(&(kind, tag, _), label)| Named { kind, language: said(tag), label }).collect());
            assert_eq!(labels.iter().map(Option::as_deref).collect::<Vec<_>>(), expected, "{tracks:?}");
        };
        use Kind::{Audio, Text};
        check(&[(Audio, "en", "Film"), (Audio, "de", "Film"), (Text, "fr", "Film")], &[None, None, Some("Film")]);
        check(
            &[(Audio, "en", "Film"), (Audio, "en", "Film"), (Audio, "", "Talk")],
            &[Some("Film"), Some("Film"), Some("Talk")],
        );
        check(&[(Audio, "en", "Film"), (Audio, "", "Film")], &[None, None]);
        // One of two sounds in a language would be taken for the other.
        check(
            &[
                (Audio, "en", "Film"),
                (Audio, "en", "Talk"),
                (Audio, "de", "Film"),
                (Audio, "de", "Talk"),
                (Audio, "fr", "Film"),
            ],
            &[Some("English (Film)"), Some("English (Talk)"), Some("Deutsch (Film)"), Some("Deutsch (Talk)"), None],
        );
    }

    #[test]
    fn a_key_that_changes_between_sync_samples_cuts_nothing() {
        let arranged = arrange(vec![track("a", 25, (600, 1, 50), &[260])], Duration::from_secs(6));
        assert_eq!(seconds(&arranged.sets[0].tracks[0]), [0.0, 6.0, 12.0, 18.0]);
    }
}
