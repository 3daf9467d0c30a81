//! Trick play: the pictures of a track that need no other to be decoded, each a segment of its own.
//!
//! ```text
//!   samples    I p b b p b b I p b b p b b I p b b
//!   segments   |---------------------------|------     what is played
//!   trick      I-------------I-------------I------     each lasts until the next
//! ```

use crate::media::track::{Kind, Track};

/// A picture that is shown by itself, named by `time`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrickFrame {
    /// Its sample, a sync sample.
    pub sample: u32,
    /// When it is presented, edits applied, in ticks; not before the track begins.
    pub time: i64,
    /// Ticks until the next one, or until the end of the track.
    pub duration: i64,
}

/// The pictures of `track` to go through it quickly, their times rising; none if it is no video.
pub fn frames(track: &Track) -> impl Iterator<Item = TrickFrame> + '_ {
    let played = match track.segments.first() {
        Some(first) if track.kind == Kind::Video => first.first_sample..track.played_end(),
        _ => 0..0,
    };
    let (start, end) = (track.start(), track.end());
    let syncs = track.samples.syncs().filter(move |(sample, _)| played.contains(sample));
    // One without bytes is no picture.
    let syncs = syncs.filter(|&(sample, _)| track.samples.size(sample..sample + 1) > 0);
    let times = syncs.map(move |(sample, time)| (sample, time.saturating_sub(track.media_time).max(start)));
    let mut times = times.filter(move |&(_, time)| time < end).peekable();
    std::iter::from_fn(move || {
        let (mut sample, time) = times.next()?;
        // Where times run back a name would not tell which; and before the track begins only the last is seen, at its begin.
        while let Some((later, next)) = times.next_if(|&(_, next)| next <= time) {
            sample = if next == time { later } else { sample };
        }
        let next = times.peek().map_or(end, |&(_, next)| next);
        Some(TrickFrame { sample, time, duration: next - time })
    })
}

/// The picture of `track` whose name is `time`. Costs a look at every sync sample before it.
pub fn frame_at(track: &Track, time: i64) -> Option<TrickFrame> {
    frames(track).find(|frame| frame.time >= time).filter(|frame| frame.time == time)
}

/// Samples that `track` plays.
pub fn played_samples(track: &Track) -> u32 {
    track.segments.first().map_or(0, |first| track.played_end().saturating_sub(first.first_sample))
}
