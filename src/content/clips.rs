//! A presentation that is a sequence of clips: each a stretch of one or several files, which becomes a period.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::content::made::Text;
use crate::content::source::Source;
use crate::content::storage::Storage;
use crate::content::vod::{self, Content, OpenError, Opened, Part};
use crate::formats::cues::Cues;
use crate::formats::ttml::document::Document;
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

impl Clip {
    /// Those of `texts` that lie beside it.
    fn texts_of<'a>(&'a self, texts: &'a [Text]) -> impl Iterator<Item = &'a Text> {
        texts.iter().filter(|text| self.texts.contains(&text.path))
    }
}

/// Opens the presentation that the `clips` of `parts` make one after another, with `texts` beside them. A file that several name is read
/// once. Blocks.
pub fn open(
    storage: &Storage,
    parts: &[Part],
    texts: &[Text],
    clips: &[Clip],
    target: Duration,
) -> Result<Opened, OpenError> {
    let mut warnings = Vec::new();
    let (mut source, read) = vod::read(storage, parts, [].iter(), true, &mut warnings)?;
    let missing = missing_texts(clips, texts, &read, &source);
    let mut periods: Vec<Period> = Vec::with_capacity(clips.len());
    // In nanoseconds: durations may have timescales without a common multiple.
    let mut start = MediaTime::new(0, Timescale::NANO);
    for (number, (clip, missing)) in (1..).zip(clips.iter().zip(missing)) {
        // A copy at a time: each keeps little of the tables and cues that it begins with.
        let mut content = Content::default();
        clip.parts.iter().for_each(|&part| content.add(read[part].clone()));
        let beside = clip.texts_of(texts).cloned().chain(missing).collect();
        let names: Vec<&str> = clip.parts.iter().map(|&part| parts[part].name.as_str()).collect();
        let named = |what: String| format!("clip {number} ({}): {what}", names.join(", "));
        let mut said = Vec::new();
        let period = vod::period(content, beside, Some(&clip.cut), target, &mut source, &mut said);
        let period = period.map_err(|why| {
            let before = if warnings.is_empty() { String::new() } else { format!("{}; ", warnings.join("; ")) };
            OpenError::Nothing(format!("{before}{}", named(why)))
        })?;
        warnings.extend(said.into_iter().map(named));
        let duration = period.duration.to(Timescale::NANO, Rounding::Nearest);
        periods.push(Period { id: number.to_string(), start, ..period });
        start = MediaTime::new(start.ticks.saturating_add(duration), Timescale::NANO);
    }
    vod::shorten(&mut warnings);
    Ok(Opened { presentation: Presentation { periods, thumbnails: Vec::new(), warnings }, source: Arc::new(source) })
}

/// A text as far as players choose by it.
#[derive(Clone, PartialEq, Eq)]
struct Choice {
    language: Option<String>,
    roles: Vec<Role>,
}

/// Of each clip, an empty text for each that only another has, so that subtitles go on over a trailer that has none.
fn missing_texts(clips: &[Clip], texts: &[Text], read: &[Content], source: &Source) -> Vec<Vec<Text>> {
    let offered: Vec<Vec<(Choice, Option<Text>)>> =
        clips.iter().map(|clip| offered(clip, texts, read, source)).collect();
    let mut all: Vec<(&Choice, &Option<Text>)> = Vec::new();
    for (choice, empty) in offered.iter().flatten() {
        match all.iter_mut().find(|(other, _)| *other == choice) {
            Some((_, known)) if known.is_some() => {}
            Some((_, known)) => *known = empty,
            None => all.push((choice, empty)),
        }
    }
    let missing = |own: &Vec<(Choice, Option<Text>)>| {
        let missing = all.iter().filter(|(choice, _)| own.iter().all(|(other, _)| other != *choice));
        missing.filter_map(|(_, empty)| (*empty).clone()).collect()
    };
    offered.iter().map(missing).collect()
}

/// The texts of a clip, each with an empty one like it if there is such a thing: `stpp` has none.
fn offered(clip: &Clip, texts: &[Text], read: &[Content], source: &Source) -> Vec<(Choice, Option<Text>)> {
    let texts = clip.parts.iter().flat_map(|&part| &read[part].texts).chain(clip.texts_of(texts));
    let made = texts.map(|text| {
        let choice = Choice { language: text.tag(), roles: text.roles.clone() };
        let mut cues = Cues::default();
        cues.head.clone_from(&text.cues.head);
        let empty = Text {
            name: text.name.clone(),
            id: text.id,
            path: text.path.clone(),
            stamp: text.stamp,
            language: choice.language.clone(),
            label: text.label.clone(),
            roles: text.roles.clone(),
            counts_from_start: text.counts_from_start,
            cues,
            document: text.document.as_ref().map(Document::emptied),
        };
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
            document: None,
        });
        (choice, empty)
    });
    made.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::vod::Said;
    use std::path::Path;

    fn opened(clips: &[Clip]) -> Opened {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tour/video-90p.mp4");
        let part = Part { name: "film".into(), files: vec![file], said: Said::default() };
        open(&Storage::Local, &[part], &[], clips, Duration::from_secs(6)).expect("opened")
    }

    fn clip(from_s: i64, until_s: i64) -> Clip {
        let at = |seconds: i64| Some(MediaTime::new(seconds * 1000, Timescale::MILLI));
        Clip { parts: vec![0], texts: Vec::new(), cut: Cut { from: at(from_s), until: at(until_s) } }
    }

    #[test]
    fn periods_follow_one_another() {
        let presentation = opened(&[clip(2, 6), clip(0, 20), clip(18, 30)]).presentation;
        let seconds = |period: &Period| (period.start.seconds(), period.duration.seconds(), period.origin.seconds());
        let periods: Vec<_> = presentation.periods.iter().map(seconds).collect();
        assert_eq!(periods, [(0.0, 4.0, 2.0), (4.0, 20.0, 0.0), (24.0, 2.0, 18.0)]);
        assert_eq!(presentation.duration().seconds(), 26.0);
        let ids: Vec<&str> = presentation.periods.iter().map(|period| period.id.as_str()).collect();
        assert_eq!(ids, ["1", "2", "3"]);
    }

    #[test]
    fn every_clip_of_a_file_kept_the_tables_of_all_of_it() {
        let whole = opened(&[clip(0, 20)]);
        let parts = opened(&[clip(0, 2), clip(6, 8), clip(18, 20)]);
        for period in &parts.presentation.periods {
            let track = period.tracks().next().expect("there");
            assert_eq!((track.samples.len(), track.segments.len()), (48, 1), "two seconds of 24 frames");
            assert_eq!((track.segments[0].first_sample, track.fragments.len()), (0, 1));
        }
        let samples = |opened: &Opened| opened.presentation.tracks().map(|track| track.samples.weight()).sum::<usize>();
        assert!(samples(&parts) < samples(&whole) / 2, "{} of {}", samples(&parts), samples(&whole));
        assert_eq!(parts.source.open_files(), 1);
    }
}
