//! Renditions: what plays as one media playlist. Of one period a track is one; over several, a track of each, one after another.
//!
//! ```text
//!   period       1           2                 3
//!   v1080     trailer-720 -> film-1080  ->  trailer-720      each period lends its nearest
//!   v720      trailer-720 -> film-720   ->  trailer-720
//! ```
//!
//! The period with the most tracks of a kind leads: each of them is a rendition. What no rendition has then is one of its own.

use std::cmp::Reverse;

use crate::media::presentation::{Period, Presentation};
use crate::media::track::{Kind, Role, Track, Version};
use crate::packager::hls::{Form, NoHls, form};
use crate::packager::rate::{self, Rate, Rates};
use crate::time::Rounding;

/// What plays as one media playlist, whose URI is `{name}/{version}/media.m3u8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    /// That of the track that it is made for.
    pub name: String,
    /// Of one period that of its track; of several a hash of all that its playlist says.
    pub version: Version,
    pub(crate) form: Form,
    pub(crate) rate: Rate,
    /// That of its pictures to go through it quickly, if it has an I-frame playlist.
    trick: Option<Rate>,
    /// The period of the track that it is made for.
    lead: usize,
    /// Of each period, its set and its track there.
    members: Vec<(usize, usize)>,
}

impl Rendition {
    /// Its tracks, one a period, in the presentation that it was made of.
    pub fn tracks<'a>(&'a self, presentation: &'a Presentation) -> impl Iterator<Item = (&'a Period, &'a Track)> {
        let periods = presentation.periods.iter().zip(&self.members);
        periods.map(|(period, &(set, track))| (period, &period.sets[set].tracks[track]))
    }

    /// The rate of its I-frame playlist, if it has one.
    pub fn trick(&self) -> Option<Rate> {
        self.trick
    }

    /// The track that it is made for.
    pub(crate) fn lead<'a>(&'a self, presentation: &'a Presentation) -> &'a Track {
        self.tracks(presentation).nth(self.lead).expect("it has a track of each period").1
    }
}

/// All renditions of a presentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renditions {
    pub(crate) list: Vec<Rendition>,
    /// What is left out, and where another language stands in, in sentences for people.
    pub notes: Vec<String>,
    /// A kind of media of which a clip has nothing that could go on.
    gap: Option<NoHls>,
}

/// A track that may be part of a rendition.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    set: usize,
    index: usize,
    track: &'a Track,
    form: Form,
    average: u64,
}

impl Renditions {
    /// Those of `presentation`, whose rates are `rates`.
    pub fn of(presentation: &Presentation, rates: &Rates) -> Renditions {
        let mut renditions = Renditions::default();
        for kind in [Kind::Video, Kind::Audio, Kind::Text] {
            let periods: Vec<Vec<Candidate<'_>>> =
                presentation.periods.iter().map(|period| candidates(period, kind, rates)).collect();
            renditions.join(presentation, &periods, rates);
        }
        renditions
    }

    /// The one called `name`, of this version.
    pub fn find(&self, name: &str, version: Version) -> Option<&Rendition> {
        self.list.iter().find(|rendition| rendition.version == version && rendition.name == name)
    }

    /// All of them, or why there can be no playlist.
    pub(crate) fn all(&self) -> Result<&[Rendition], NoHls> {
        self.gap.clone().map_or(Ok(&self.list), Err)
    }

    /// Adds the renditions that the tracks of one kind make, by period.
    fn join(&mut self, presentation: &Presentation, periods: &[Vec<Candidate<'_>>], rates: &Rates) {
        let mut order: Vec<usize> = (0..periods.len()).collect();
        order.sort_by_key(|&index| Reverse(periods[index].len()));
        let mut used: Vec<Vec<bool>> = periods.iter().map(|period| vec![false; period.len()]).collect();
        let (mut joined, mut gap): (Vec<Rendition>, _) = (Vec::new(), None);
        for (rank, &lead) in order.iter().enumerate() {
            for at in 0..periods[lead].len() {
                if rank > 0 && used[lead][at] {
                    continue;
                }
                let own = &periods[lead][at];
                let found = (0..periods.len()).map(|other| match other == lead {
                    true => Ok(at),
                    false => like(&periods[lead], at, &periods[other]).ok_or(other),
                });
                match found.collect::<Result<Vec<usize>, usize>>() {
                    Ok(members) => {
                        for (period, &member) in members.iter().enumerate() {
                            used[period][member] = true;
                            let other = &periods[period][member];
                            self.note_language(own, other, &presentation.periods[period].id);
                        }
                        let at = |(period, &member): (usize, &usize)| {
                            (periods[period][member].set, periods[period][member].index)
                        };
                        let members: Vec<(usize, usize)> = members.iter().enumerate().map(at).collect();
                        joined.push(rendition(presentation, own, lead, members, rates));
                    }
                    Err(without) => {
                        let without = NoHls::Clip {
                            kind: own.track.kind,
                            track: own.track.name.clone(),
                            codecs: own.track.entry.codecs.clone(),
                            period: presentation.periods[without].id.clone(),
                        };
                        self.notes.push(format!("HLS leaves it out: {without}"));
                        gap = gap.or(Some(without));
                    }
                }
            }
        }
        // Without sound where there is some, or without pictures, it would be another programme.
        if joined.is_empty() && gap.as_ref().is_some_and(|gap| !matches!(gap, NoHls::Clip { kind: Kind::Text, .. })) {
            self.notes.clear();
            self.gap = self.gap.take().or(gap);
        }
        self.list.extend(joined);
    }

    fn note_language(&mut self, own: &Candidate<'_>, other: &Candidate<'_>, period: &str) {
        if let (Some(wanted), Some(found)) = (&own.track.language, &other.track.language)
            && wanted != found
        {
            self.notes.push(format!("HLS: clip {period} has no {} in {wanted}, {found} plays there", own.track.kind));
        }
    }
}

fn candidates<'a>(period: &'a Period, kind: Kind, rates: &Rates) -> Vec<Candidate<'a>> {
    let mut candidates = Vec::new();
    for (set_index, set) in period.sets.iter().enumerate().filter(|(_, set)| set.kind == kind) {
        for (index, track) in set.tracks.iter().enumerate() {
            if let Ok(form) = form(set, track) {
                candidates.push(Candidate { set: set_index, index, track, form, average: rates.of(track).average });
            }
        }
    }
    candidates
}

/// Which of `others`, the tracks of another period, goes on where `own[at]` ends.
fn like(own: &[Candidate<'_>], at: usize, others: &[Candidate<'_>]) -> Option<usize> {
    match own[at].track.kind {
        Kind::Video => like_video(own, at, others),
        Kind::Audio => like_audio(&own[at], others),
        Kind::Text => like_text(own, at, others),
    }
}

/// Of one codec and one dynamic range in the same place by quality, if there are as many; else the nearest of the codec.
fn like_video(own: &[Candidate<'_>], at: usize, others: &[Candidate<'_>]) -> Option<usize> {
    let ranked = |list: &[Candidate<'_>]| -> Vec<usize> {
        let class = |c: &Candidate<'_>| (family(c.track), transfer(c.track));
        let mut alike: Vec<usize> = (0..list.len()).filter(|&index| class(&list[index]) == class(&own[at])).collect();
        alike.sort_by_key(|&index| Reverse((pixels(list[index].track), list[index].average)));
        alike
    };
    let (mine, theirs) = (ranked(own), ranked(others));
    if mine.len() == theirs.len() {
        return mine.iter().position(|&index| index == at).map(|rank| theirs[rank]);
    }
    let wanted = &own[at];
    let distance = |other: &Candidate<'_>| {
        let size = pixels(other.track).abs_diff(pixels(wanted.track));
        (transfer(other.track) != transfer(wanted.track), size, other.average.abs_diff(wanted.average))
    };
    nearest(others, wanted, distance)
}

fn like_audio(wanted: &Candidate<'_>, others: &[Candidate<'_>]) -> Option<usize> {
    let language = |other: &Candidate<'_>| match (&wanted.track.language, &other.track.language) {
        (a, b) if a == b => 0,
        (Some(_), Some(_)) => 2,
        _ => 1,
    };
    let distance = |other: &Candidate<'_>| {
        let channels = |track: &Track| track.audio().map_or(0, |audio| audio.channels);
        let purpose = purpose(other.track) != purpose(wanted.track);
        // Who lacks the purpose lends what is plain, not another purpose.
        let is_odd = purpose && !purpose_is_plain(other.track);
        let is_called_otherwise = other.track.label != wanted.track.label;
        let encoding = (
            other.track.entry.codecs != wanted.track.entry.codecs,
            channels(other.track).abs_diff(channels(wanted.track)),
        );
        (is_odd, language(other), purpose, encoding, is_called_otherwise, other.average.abs_diff(wanted.average))
    };
    nearest(others, wanted, distance)
}

/// Text of another language, or for another purpose, is no text of this one.
fn like_text(own: &[Candidate<'_>], at: usize, others: &[Candidate<'_>]) -> Option<usize> {
    let wanted = &own[at];
    let is_alike = |other: &Candidate<'_>| {
        other.form == wanted.form
            && other.track.language == wanted.track.language
            && purpose(other.track) == purpose(wanted.track)
    };
    let before = own[..at].iter().filter(|other| is_alike(other)).count();
    (0..others.len()).filter(|&index| is_alike(&others[index])).nth(before)
}

fn nearest<D: Ord>(
    others: &[Candidate<'_>],
    wanted: &Candidate<'_>,
    distance: impl Fn(&Candidate<'_>) -> D,
) -> Option<usize> {
    let alike = (0..others.len()).filter(|&index| family(others[index].track) == family(wanted.track));
    alike.min_by_key(|&index| distance(&others[index]))
}

/// Sample entry types that one decoder takes: they differ in where parameter sets may be (ISO/IEC 14496-15 §5.4.2, §8.4.1).
fn family(track: &Track) -> [u8; 4] {
    match &track.entry.format.0 {
        b"avc3" => *b"avc1",
        b"hev1" => *b"hvc1",
        other => *other,
    }
}

fn transfer(track: &Track) -> u8 {
    let transfer = track.transfer().unwrap_or(0);
    if matches!(transfer, 16 | 18) { transfer } else { 0 }
}

pub(crate) fn pixels(track: &Track) -> u32 {
    track.video().map_or(0, |video| u32::from(video.width) * u32::from(video.height))
}

fn purpose(track: &Track) -> impl PartialEq + use<> {
    track.roles.iter().copied().filter(|role| *role != Role::Main).collect::<Vec<_>>()
}

fn purpose_is_plain(track: &Track) -> bool {
    track.roles.iter().all(|role| matches!(role, Role::Main | Role::Dub | Role::Alternate))
}

fn rendition(
    presentation: &Presentation,
    own: &Candidate<'_>,
    lead: usize,
    members: Vec<(usize, usize)>,
    rates: &Rates,
) -> Rendition {
    let name = own.track.name.clone();
    let (rate, trick) = (rates.of(own.track), rates.of_trick(own.track).map(|trick| trick.rate));
    let mut rendition = Rendition { name, version: own.track.version, form: own.form, rate, trick, lead, members };
    if presentation.periods.len() > 1 {
        let target_s = presentation.target_duration_s();
        let tracks: Vec<&Track> = rendition.tracks(presentation).map(|(_, track)| track).collect();
        (rendition.rate, rendition.trick) =
            (rate::of_sequence(&tracks, target_s), rate::of_trick_sequence(&tracks).map(|(rate, _)| rate));
        rendition.version = version(&rendition, presentation, target_s);
    }
    rendition
}

/// Everything that the playlist over several periods says.
fn version(rendition: &Rendition, presentation: &Presentation, target_s: u64) -> Version {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&target_s.to_be_bytes());
    for (period, track) in rendition.tracks(presentation) {
        hasher.update(&(track.name.len() as u64).to_be_bytes());
        hasher.update(track.name.as_bytes());
        hasher.update(&track.version.0.to_be_bytes());
        hasher.update(&period.origin.to(track.timescale, Rounding::Nearest).to_be_bytes());
    }
    let hash = hasher.finalize();
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
    Version(u64::from_be_bytes(*first))
}

/// Why the track of this name and version has no playlist; `None` if there is no such track, or nothing against it.
pub fn why_not(presentation: &Presentation, name: &str, version: Version) -> Option<NoHls> {
    let sets = presentation.periods.iter().flat_map(|period| &period.sets);
    let tracks = sets.flat_map(|set| set.tracks.iter().map(move |track| (set, track)));
    let mut found = tracks.filter(|(_, track)| track.name == name && track.version == version);
    found.find_map(|(set, track)| form(set, track).err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::presentation::SwitchingSet;
    use crate::packager::fixture::{self, Build};

    fn joined(periods: &[Vec<SwitchingSet>]) -> (Presentation, Renditions) {
        let period = |(index, sets): (usize, &Vec<SwitchingSet>)| {
            let mut period = fixture::presentation(sets.clone()).periods.remove(0);
            period.id = (index + 1).to_string();
            period
        };
        let periods = periods.iter().enumerate().map(period).collect();
        let presentation = Presentation { periods, thumbnails: Vec::new(), warnings: Vec::new() };
        let renditions = Renditions::of(&presentation, &rate::measure(&presentation));
        (presentation, renditions)
    }

    /// The tracks of each rendition, and what is said.
    fn check(periods: &[Vec<SwitchingSet>]) -> (Vec<String>, Vec<String>) {
        let (presentation, renditions) = joined(periods);
        let names = |rendition: &Rendition| {
            rendition.tracks(&presentation).map(|(_, track)| track.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        (renditions.list.iter().map(names).collect(), renditions.notes)
    }

    fn ladder(tracks: &[(&str, u16)]) -> SwitchingSet {
        let video =
            |&(name, height): &(&str, u16)| fixture::video(name).size((height * 16 / 9, height)).regular(2).done();
        fixture::set(tracks.iter().map(video).collect())
    }

    fn one(build: Build) -> SwitchingSet {
        fixture::set(vec![build.regular(2).done()])
    }

    fn audio(name: &str, tag: &str) -> SwitchingSet {
        one(fixture::audio(name).language(tag))
    }

    #[test]
    fn as_many_renditions_go_on_by_their_place_and_others_with_the_nearest() {
        let film = || vec![ladder(&[("f1080", 1080), ("f720", 720), ("f360", 360)])];
        let (names, notes) =
            check(&[vec![ladder(&[("t720", 720)])], film(), vec![ladder(&[("x900", 900), ("x300", 300)])]]);
        assert_eq!(names, ["t720 f1080 x900", "t720 f720 x900", "t720 f360 x300"]);
        assert_eq!(notes, [""; 0]);
        let (names, _) = check(&[film(), vec![ladder(&[("a", 720), ("b", 480), ("c", 240)])]]);
        assert_eq!(names, ["f1080 a", "f720 b", "f360 c"]);
    }

    #[test]
    fn every_language_is_one_and_what_lacks_it_lends_another() {
        let first = vec![audio("a-en", "en"), audio("a-fr", "fr")];
        let second = vec![audio("b-de", "de"), audio("b-en", "en")];
        let (names, notes) = check(&[first, second]);
        assert_eq!(names, ["a-en b-en", "a-fr b-de",]);
        assert_eq!(notes, ["HLS: clip 2 has no audio in fr, de plays there"]);
        let untold = || vec![one(fixture::audio("t"))];
        let (names, notes) = check(&[untold(), vec![audio("b-de", "de"), audio("b-en", "en")]]);
        assert_eq!((names, notes), (vec!["t b-de".to_owned(), "t b-en".to_owned()], Vec::new()));
    }

    #[test]
    fn commentary_is_never_lent_for_the_programme() {
        let talk = || one(fixture::audio("talk").language("en").role(Role::Commentary));
        let (names, _) = check(&[vec![audio("de", "de")], vec![talk(), audio("fr", "fr")]]);
        assert_eq!(names, ["de talk", "de fr"], "the commentary is a rendition of its own");
        let (names, _) = check(&[vec![audio("de", "de"), audio("en", "en")], vec![talk(), audio("fr", "fr")]]);
        assert_eq!(names, ["de fr", "en fr", "en talk"], "only the commentary's own goes on with it");
    }

    #[test]
    fn text_goes_on_with_its_equal_or_not_at_all() {
        let text = |name, tag| one(fixture::text(name, b"wvtt").language(tag));
        let (names, notes) = check(&[vec![text("en", "en"), text("de", "de")], vec![text("x", "en")]]);
        assert_eq!(names, ["en x"]);
        assert_eq!(notes, ["HLS leaves it out: clip 2 has no text that goes with de"]);
    }

    #[test]
    fn another_codec_is_no_continuation() {
        let hevc = |name| one(fixture::video(name).codecs(b"hvc1", "hvc1.1.6.L93.B0"));
        let (names, notes) = check(&[vec![ladder(&[("a", 720)]), hevc("h")], vec![ladder(&[("b", 720)])]]);
        assert_eq!(names, ["a b"]);
        assert_eq!(notes, ["HLS leaves it out: clip 2 has no video that could go on for h (hvc1.1.6.L93.B0)"]);
        let (_, renditions) =
            joined(&[vec![hevc("h"), audio("x", "en")], vec![ladder(&[("b", 720)]), audio("y", "en")]]);
        assert!(renditions.all().is_err());
        let in_band = one(fixture::video("i").codecs(b"avc3", "avc3.64001f"));
        assert_eq!(check(&[vec![ladder(&[("a", 720)])], vec![in_band]]).0, ["a i"]);
    }

    #[test]
    fn the_version_is_that_of_all_it_says() {
        let version = |names: [&str; 2]| {
            let (presentation, renditions) = joined(&names.map(|name| vec![ladder(&[(name, 720)])]));
            assert_ne!(renditions.list[0].version, presentation.tracks().next().expect("there").version);
            renditions.list[0].version
        };
        assert_eq!(version(["a", "b"]), version(["a", "b"]));
        assert_ne!(version(["a", "b"]), version(["a", "c"]));
        let (presentation, renditions) = joined(&[vec![ladder(&[("a", 720)])]]);
        assert_eq!(
            renditions.list[0].version,
            presentation.tracks().next().expect("there").version,
            "of one period its track's"
        );
    }
}
