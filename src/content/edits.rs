//! Edit lists (ISO/IEC 14496-12 §8.6.6): a delay, then one stretch of the media, which is what init segments and decode times can say.
//!
//! ```text
//!   empty   10 s to 20 s of the media   20 s to 25 s        two that follow one another are one: a delay, then 10 s to 25 s
//! ```

use std::ops::Range;

use crate::formats::isobmff::fragment::DECODE_TIME_MAX;
use crate::formats::isobmff::movie::Edit;
use crate::media::sample::SampleTable;
use crate::time::{MediaTime, Rounding, Timescale, rescale};

/// What a track's edit list comes to, in ticks of the track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edits {
    /// How much later it begins.
    pub(crate) delay: i64,
    /// The media time at which presentation begins.
    pub(crate) media_time: i64,
    /// The media time at which it ends, if the list says so.
    pub(crate) end: Option<i64>,
}

/// Reads the edits of a track of timescale `media` in a movie of timescale `movie`, whose fragments are served to their end if it
/// `is_fragmented`. What can't be said of the track otherwise are `notes`.
pub(crate) fn read(
    edits: &[Edit],
    movie: Timescale,
    media: Timescale,
    is_fragmented: bool,
    notes: &mut Vec<String>,
) -> Edits {
    let ticks = |duration: u64, rounding| rescale(i64::try_from(duration).unwrap_or(i64::MAX), movie, media, rounding);
    let is_empty = |edit: &&Edit| edit.media_time < 0;
    let empty = edits.iter().take_while(is_empty).map(|edit| edit.segment_duration).fold(0, u64::saturating_add);
    let mut read = Edits { delay: ticks(empty, Rounding::Nearest), ..Edits::default() };
    // A day of delay is a fault in the edit, not in the programme.
    let day = 86_400 * i64::from(media.get());
    if read.delay > day {
        notes.push(format!("an initial delay of {} ticks is ignored", read.delay));
        read.delay = 0;
    }
    let stretches = stretches(edits, movie, media);
    if let Some(first) = stretches.first() {
        read.media_time = first.start;
        read.end = (first.end < i64::MAX).then_some(first.end);
    }
    if stretches.len() > 1 {
        let seconds = |ticks: i64| match ticks {
            i64::MAX => "the end".to_owned(),
            ticks => format!("{:.3} s", MediaTime::new(ticks, media).seconds()),
        };
        let said = |stretch: &Range<i64>| format!("{} to {}", seconds(stretch.start), seconds(stretch.end));
        const SAID_MAX: usize = 3;
        let mut left_out: Vec<String> = stretches[1..].iter().take(SAID_MAX).map(said).collect();
        if stretches.len() > 1 + SAID_MAX {
            left_out.push(format!("{} more", stretches.len() - 1 - SAID_MAX));
        }
        let served = match is_fragmented {
            true => format!("what is served is the media from {} on", seconds(read.media_time)),
            false => format!("what is served is the first, {}", said(&stretches[0])),
        };
        notes.push(format!(
            "its edit list plays {} stretches of the media that do not follow one another: {served}, without {} after it",
            stretches.len(),
            left_out.join(", ")
        ));
    }
    read
}

/// The stretches of the media that `edits` play, in order; those that follow one another are one. Empty edits after the first stretch
/// part what would follow, and are none themselves.
fn stretches(edits: &[Edit], movie: Timescale, media: Timescale) -> Vec<Range<i64>> {
    // A duration counts in ticks of the movie, which may be longer than those of the media.
    let tick = rescale(1, movie, media, Rounding::Up);
    let mut all: Vec<Range<i64>> = Vec::new();
    let mut parted = false;
    for edit in edits {
        if edit.media_time < 0 {
            parted |= edit.segment_duration > 0;
            continue;
        }
        // As far as decode times go, so that sums of both stay within 64 bits.
        let start = edit.media_time.min(DECODE_TIME_MAX);
        let duration = i64::try_from(edit.segment_duration).unwrap_or(i64::MAX);
        let end = match duration {
            0 => i64::MAX,
            _ => start.saturating_add(rescale(duration, movie, media, Rounding::Up)),
        };
        match all.last_mut() {
            Some(last) if !parted && last.end.abs_diff(start) <= tick.unsigned_abs() => last.end = end,
            _ => all.push(start..end),
        }
        parted = false;
    }
    all
}

/// What is to be said of pictures, `samples`, that are presented from `begins` on, if that lies between sync samples: browsers drop the
/// sync sample before it, and with that whatever is decoded from it (W3C Media Source Extensions, coded frame processing).
pub(crate) fn hidden_sync(samples: &SampleTable, begins: i64, timescale: Timescale) -> Option<String> {
    let (_, first) = samples.syncs().next()?;
    if first >= begins {
        return None;
    }
    let seconds = |ticks: i64| MediaTime::new(ticks, timescale).seconds();
    let shown = match samples.sync_from(0, begins) {
        Some((_, next)) => format!("no picture of its first {:.3} s", seconds(next - begins)),
        None => "no picture of it".to_owned(),
    };
    let hidden = seconds(begins - first);
    Some(format!(
        "its edit list begins {hidden:.3} s after the picture that the first ones are decoded from: browsers show {shown}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sample::{Sample, SampleFlags};

    /// Edits (milliseconds, ticks of 48 kHz) of a progressive file: what they come to, and what is said.
    fn check(edits: &[(u64, i64)]) -> ((i64, i64, Option<i64>), Vec<String>) {
        let edit = |&(segment_duration, media_time): &(u64, i64)| Edit { segment_duration, media_time };
        let edits: Vec<Edit> = edits.iter().map(edit).collect();
        let mut notes = Vec::new();
        let media = Timescale::new(48_000).expect("not zero");
        let Edits { delay, media_time, end } = read(&edits, Timescale::MILLI, media, false, &mut notes);
        ((delay, media_time, end), notes)
    }

    #[test]
    fn edits_that_follow_one_another_are_one() {
        let nothing: Vec<String> = Vec::new();
        assert_eq!(check(&[]), ((0, 0, None), nothing.clone()));
        assert_eq!(check(&[(0, 1024)]), ((0, 1024, None), nothing.clone()));
        assert_eq!(check(&[(500, -1), (1000, 1024)]), ((24_000, 1024, Some(49_024)), nothing.clone()));
        let three = [(1000, 1024), (2000, 49_024), (500, 145_000)];
        assert_eq!(check(&three), ((0, 1024, Some(169_000)), nothing.clone()), "to within a tick of the movie");
        assert_eq!(check(&[(1000, 0), (0, 48_000)]), ((0, 0, None), nothing.clone()));
        assert_eq!(check(&[(1000, 0), (500, -1)]), ((0, 0, Some(48_000)), nothing), "nothing is shown at its end");
    }

    #[test]
    fn a_beginning_between_sync_samples_is_said() {
        let mut pictures = SampleTable::default();
        for index in 0..4 {
            let flags = if index % 2 == 0 { SampleFlags::SYNC } else { SampleFlags::NON_SYNC };
            pictures.push(
                Sample { decode_time: index * 40, duration: 40, size: 1, flags, composition_offset: 10 },
                0,
                0,
            );
        }
        let said = |begins| hidden_sync(&pictures, begins, Timescale::MILLI);
        assert_eq!([said(0), said(10)], [None, None]);
        let what =
            "its edit list begins 0.040 s after the picture that the first ones are decoded from: browsers show ";
        assert_eq!(said(50), Some(format!("{what}no picture of its first 0.040 s")));
        let what =
            "its edit list begins 0.120 s after the picture that the first ones are decoded from: browsers show ";
        assert_eq!(said(130), Some(format!("{what}no picture of it")));
    }

    #[test]
    fn what_is_left_out_of_several_stretches_is_said() {
        let (read, notes) = check(&[(1000, 48_000), (2000, 480_000), (500, -1), (0, 576_000)]);
        assert_eq!(read, (0, 48_000, Some(96_000)));
        assert_eq!(
            notes,
            [
                "its edit list plays 3 stretches of the media that do not follow one another: what is served is the first, \
              1.000 s to 2.000 s, without 10.000 s to 12.000 s, 12.000 s to the end after it"
            ]
        );
        assert_eq!(check(&[(1000, 0), (1000, 0)]).1.len(), 1, "one that is played twice is two");
        assert_eq!(
            check(&[(u64::MAX, -1), (u64::MAX, i64::MAX)]).1,
            ["an initial delay of 9223372036854775807 ticks is ignored"]
        );
    }
}
