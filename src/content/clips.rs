//! A presentation that is a sequence of clips: each a stretch of one or several files, which becomes a period.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::content::made::Text;
use crate::content::source::Source;
use crate::content::vod::{self, Content, OpenError, Opened, Part};
use crate::formats::cues::Cues;
use crate::media::clip::Cut;
use crate::media::presentation::{Period, Presentation};
use crate::media::track::{Kind, Role};
use crate::time::{MediaTime, Rounding, Timescale};

/// The most clips of a presentation: an evening's programme with its breaks.
pub const CLIPS_MAX: usize = 200;

/// A clip of a presentation.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Clip {
    /// Indices of the presentation's parts that it is made of; several are its renditions and languages.
    pub parts: Vec<usize>,
    /// Paths of the texts beside them.
    pub texts: Vec<PathBuf>,
    /// Where it begins and ends, counted as a player counts that shows the file alone.
    pub cut: Cut,
}

/// Opens the presentation that the `clips` of `parts` make one after another, with `texts` beside them. A file that several name is read
/// once. Blocks.
pub fn open(parts: &[Part], texts: &[Text], clips: &[Clip], target: Duration) -> Result<Opened, OpenError> {
    let mut warnings = Vec::new();
    let (mut source, read) = vod::read(parts, true, &mut warnings)?;
    let mut beside: Vec<Vec<Text>> = clips
        .iter()
        .map(|clip| texts.iter().filter(|text| clip.texts.contains(&text.path)).cloned().collect())
        .collect();
    fill_texts(clips, &read, &mut beside, &source);

    let mut periods: Vec<Period> = Vec::with_capacity(clips.len());
    let mut start = MediaTime::new(0, NANO);
    for (number, (clip, beside)) in (1..).zip(clips.iter().zip(beside)) {
        // A copy at a time: each keeps little of the tables that it begins with.
        let mut content = Content::default();
        clip.parts.iter().for_each(|&part| content.add(read[part].clone()));
        let names: Vec<&str> = clip.parts.iter().map(|&part| parts[part].name.as_str()).collect();
        let named = |what: String| format!("clip {number} ({}): {what}", names.join(", "));
        let mut said = Vec::new();
        let period = vod::period(content, beside, Some(&clip.cut), target, &mut source, &mut said);
        let period = period.map_err(|why| {
            let before = if warnings.is_empty() { String::new() } else { format!("{}; ", warnings.join("; ")) };
            OpenError::Nothing(format!("{before}{}", named(why)))
        })?;
        warnings.extend(said.into_iter().map(named));
        let duration = period.duration.to(NANO, Rounding::Nearest);
        periods.push(Period { id: number.to_string(), start, ..period });
        start = MediaTime::new(start.ticks.saturating_add(duration), NANO);
    }
    vod::shorten(&mut warnings);
    Ok(Opened { presentation: Presentation { periods, warnings }, source: Arc::new(source) })
}

/// Where periods start is said in nanoseconds: their durations may have timescales without a common multiple.
const NANO: Timescale = Timescale::NANO;

/// A text as far as players choose by it.
#[derive(Clone, PartialEq, Eq)]
struct Choice {
    language: Option<String>,
    roles: Vec<Role>,
}

/// Gives each clip that lacks a text of another an empty one beside it, so that subtitles go on over a trailer that has none.
fn fill_texts(clips: &[Clip], read: &[Content], beside: &mut [Vec<Text>], source: &Source) {
    let offered: Vec<Vec<(Choice, Option<Text>)>> =
        clips.iter().zip(&*beside).map(|(clip, beside)| offered(clip, read, beside, source)).collect();
    let mut all: Vec<(&Choice, &Option<Text>)> = Vec::new();
    for (choice, empty) in offered.iter().flatten() {
        match all.iter_mut().find(|(other, _)| *other == choice) {
            Some((_, known)) if known.is_some() => {}
            Some((_, known)) => *known = empty,
            None => all.push((choice, empty)),
        }
    }
    for (own, beside) in offered.iter().zip(beside) {
        let missing = all.iter().filter(|(choice, _)| own.iter().all(|(other, _)| other != *choice));
        beside.extend(missing.filter_map(|(_, empty)| (*empty).clone()));
    }
}

/// The texts of a clip, each with an empty one like it if there is such a thing: `stpp` has none.
fn offered(clip: &Clip, read: &[Content], beside: &[Text], source: &Source) -> Vec<(Choice, Option<Text>)> {
    let texts = clip.parts.iter().flat_map(|&part| &read[part].texts).chain(beside);
    let made = texts.map(|text| {
        let choice = Choice { language: text.tag(), roles: text.roles.clone() };
        let empty = Text { language: choice.language.clone(), cues: Cues::default(), ..text.clone() };
        (choice, Some(empty))
    });
    let tracks = clip.parts.iter().flat_map(|&part| &read[part].tracks).map(|(track, _)| track);
    let own = tracks.filter(|track| track.kind == Kind::Text).map(|track| {
        let choice = Choice { language: track.language.clone(), roles: track.roles.clone() };
        let empty = (track.entry.format.0 == *b"wvtt" && !track.is_protected()).then(|| Text {
            name: track.name.clone(),
            id: 1,
            path: source.path(0).to_path_buf(),
            stamp: source.stamp(0),
            language: track.language.clone(),
            label: track.label.clone(),
            roles: track.roles.clone(),
            counts_from_start: false,
            cues: Cues::default(),
        });
        (choice, empty)
    });
    made.chain(own).collect()
}
