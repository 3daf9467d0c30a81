//! A stretch of a broadcast becomes a presentation of a library that is served, and the recording of one that has ended has a name.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::content::library::Root;
use crate::content::live::channel::{Channel, is_name};
use crate::media::live::{LivePeriod, LiveTrack};
use crate::media::shift::Shift;
use crate::origin::serve::Origin;
use crate::origin::shift::STRETCH_MAX;
use crate::time::Utc;

/// What was made.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Clip {
    /// The name of the presentation. It is served when its folder is looked at next.
    pub presentation: String,
    /// When its first media was broadcast.
    pub from: String,
    /// Seconds.
    pub duration_s: f64,
    /// Stretches without holes, each of which is a clip.
    pub clips: usize,
    /// Bytes of media that it refers to: none were copied.
    pub bytes: u64,
}

/// Why nothing was made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoClip {
    /// No channel is called so.
    #[error("there is no channel {0}")]
    NoChannel(String),
    /// Nothing can be called so, or no folder is served under it.
    #[error(
        "{0:?} is no name of a presentation in a folder that is served: letters, digits, _ and -, parted by slashes"
    )]
    BadName(String),
    /// A channel has the name, or one that it begins with: whoever asks for the clip would be answered by the channel.
    #[error("{0:?} would be hidden by the channel {1}")]
    Hidden(String, String),
    /// It can't be done.
    #[error("{0}")]
    Failed(String),
}

/// Where what has ended remains, from its first segment to its last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Recording {
    /// When it begins.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// The HLS multivariant playlist on the media listener.
    pub hls: String,
    /// The MPD.
    pub dash: String,
}

impl Origin {
    /// Makes the presentation called `name` of what was broadcast by `channel` in `shift`.
    pub async fn clip(&self, channel: &str, shift: Shift, name: &str) -> Result<Clip, NoClip> {
        let from = self.channels().get(channel).ok_or_else(|| NoClip::NoChannel(channel.to_owned()))?;
        let first = name.split('/').next().unwrap_or(name);
        if self.channels().get(first).is_some() {
            return Err(NoClip::Hidden(name.to_owned(), first.to_owned()));
        }
        let into = folder(&self.library().options().roots, name).ok_or_else(|| NoClip::BadName(name.to_owned()))?;
        let making = tokio::task::spawn_blocking(move || from.clip(&shift, &into));
        let failed = |why: &dyn std::fmt::Display| NoClip::Failed(why.to_string());
        let made = making.await.map_err(|why| failed(&why))?.map_err(|why| failed(&why))?;
        Ok(Clip {
            presentation: name.to_owned(),
            from: made.from.to_string(),
            duration_s: made.duration_ms as f64 / 1000.0,
            clips: made.stretches,
            bytes: made.bytes,
        })
    }
}

/// Where the presentation called `name` belongs; `None` if that can't be.
fn folder(roots: &[Root], name: &str) -> Option<PathBuf> {
    let below = |root: &Root| {
        let rest = match root.prefix.as_str() {
            "" => name,
            prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        let is_plain = rest.split('/').all(is_name) && root.path.is_dir();
        is_plain.then(|| (root.prefix.len(), root.path.join(rest)))
    };
    roots.iter().filter_map(below).max_by_key(|(prefix, _)| *prefix).map(|(_, path)| path)
}

/// What remains of the broadcast of `channel`, if it has ended and an archive is kept. Blocks.
pub(crate) fn recording(channel: &Arc<Channel>) -> Option<Recording> {
    let live = channel.broadcast();
    if !live.ended {
        return None;
    }
    let (first, last) = channel.shelf()?.span().ok()??;
    // The last begins before the end; it may be in no index yet.
    let last_of = |period: &Arc<LivePeriod>, track: &LiveTrack| {
        let last = track.segments.last()?;
        Some(Utc(live.utc_us(period, last.time, track.face.timescale) / 1000))
    };
    let newest = live.periods.last()?;
    let last = newest.tracks.iter().filter_map(|track| last_of(newest, track)).fold(last, Utc::max);
    let to = last.after(Duration::from_millis(1));
    let from = first.max(Utc(to.0.saturating_sub(STRETCH_MAX.as_millis() as u64)));
    let path = format!("/~from={from}/~to={to}/{}", channel.name());
    Some(Recording {
        from: from.to_string(),
        to: to.to_string(),
        hls: format!("{path}/master.m3u8"),
        dash: format!("{path}/manifest.mpd"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_lies_in_a_folder_that_is_served_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("film.mp4");
        std::fs::write(&file, b"").unwrap();
        let root = |prefix: &str, path: &std::path::Path| Root { prefix: prefix.into(), path: path.to_path_buf() };
        let news = dir.path().join("n");
        std::fs::create_dir(&news).unwrap();
        let roots = [root("", dir.path()), root("news", &news), root("film", &file)];
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(folder(&roots, name), expected.map(|path| dir.path().join(path)), "{name}");
        };
        check("monday", Some("monday"));
        check("a/monday", Some("a/monday"));
        check("news/monday", Some("n/monday"));
        for name in ["", "/etc", "..", "a/../../b", "a//b", ".hidden", "news/", "a b", "film/../x"] {
            check(name, None);
        }
        assert_eq!(folder(&roots[1..], "monday"), None);
        assert_eq!(folder(&roots[2..], "film/monday"), None, "that is a file");
    }
}
