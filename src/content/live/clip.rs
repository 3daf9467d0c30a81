//! A presentation on demand of a stretch that was broadcast: a folder that refers to files of the spool, by hard links, and copies no
//! media.
//!
//! ```text
//!   presentation.toml     a clip for each stretch without holes
//!   v.mp4, v.pieces       of each track: its initialization segment, and which bytes of which file follow
//!   v.emsg                what came in tracks of events, as event messages that lie before the pieces of segments
//!   00000012.spool        hard links, so that the bytes stay when the archive lets them go
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::content::clips::CLIPS_MAX;
use crate::content::live::spool;
use crate::content::pieces;
use crate::content::sidecar::{self, File, Sidecar, Stretch};
use crate::formats::isobmff::emsg::{EventMessage, EventTime};
use crate::media::event::{Told, beside, told};
use crate::media::live::{Broadcast, LiveSegment};
use crate::media::presentation::Period;
use crate::media::track::Track;
use crate::time::{MediaTime, Rounding, Timescale, Utc, rescale};

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// When its first media was broadcast.
    pub from: Utc,
    /// In milliseconds.
    pub duration_ms: i64,
    /// Stretches without holes.
    pub stretches: usize,
    /// Bytes of media that it refers to.
    pub bytes: u64,
}

/// Makes the folder `into`, which is not there yet, of all of `broadcast`, whose spool lies in `spool`. Blocks.
pub fn make(broadcast: &Broadcast, spool: &Path, into: &Path) -> io::Result<Made> {
    let (Some(parent), Some(name)) = (into.parent(), into.file_name()) else {
        return Err(io::Error::other(format!("{} is no name of a folder", into.display())));
    };
    if into.exists() {
        return Err(io::Error::other(format!("{} is there already", into.display())));
    }
    let presentation = broadcast.presentation();
    if presentation.periods.is_empty() {
        return Err(io::Error::other("nothing of this stretch is there, or not any more"));
    }
    if presentation.periods.len() > CLIPS_MAX {
        let what = format!("{} stretches without holes, at most {CLIPS_MAX} are served", presentation.periods.len());
        return Err(io::Error::other(what));
    }
    // Under a name that no library looks at, until it is whole.
    let partial = parent.join(format!(".{}.partial", name.to_string_lossy()));
    let _making = begun(&partial)?;
    let made = fill(broadcast, &presentation.periods, spool, &partial).and_then(|bytes| {
        fs::rename(&partial, into)?;
        let duration_ms = presentation.duration_ms() as i64;
        Ok(Made { from: broadcast.started, duration_ms, stretches: presentation.periods.len(), bytes })
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    made
}

/// The folder `partial`, made and empty, and locked while it is filled. What a kill left of it is removed.
fn begun(partial: &Path) -> io::Result<fs::File> {
    let locked = || {
        let folder = fs::File::open(partial)?;
        match folder.try_lock() {
            Ok(()) => Ok(folder),
            Err(TryLockError::WouldBlock) => Err(io::Error::other(format!("{} is being made", partial.display()))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    };
    match fs::create_dir(partial) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let _left = locked()?;
            fs::remove_dir_all(partial)?;
            fs::create_dir(partial)?;
        }
        made => made?,
    }
    locked()
}

/// Writes what belongs into the folder `into`; says how many bytes of media it refers to.
fn fill(broadcast: &Broadcast, periods: &[Period], spool: &Path, into: &Path) -> io::Result<u64> {
    let by_name = segments(broadcast);
    let (mut sidecar, mut used, mut bytes) = (Sidecar::default(), BTreeSet::new(), 0);
    let mut told_until_us = i64::MIN;
    let events = beside(&broadcast.events, |event| broadcast.event_us(event));
    for (number, period) in (1..).zip(periods) {
        let mut stretch = Stretch::default();
        let us = |time: MediaTime| time.to(Timescale::MICRO, Rounding::Nearest);
        let (from, until) = (us(period.start), us(period.start.plus(period.duration)));
        let until = if number == periods.len() { i64::MAX } else { until };
        let told = told(&events, (told_until_us, from, until));
        told_until_us = until;
        // All that may be played for another tell the same.
        let telling = period.sets.first().map(|set| set.kind);
        for (set, track) in period.sets.iter().flat_map(|set| set.tracks.iter().map(move |track| (set, track))) {
            let base = if periods.len() == 1 { track.name.clone() } else { format!("{}-{number}", track.name) };
            let mut messages = match Some(set.kind) == telling {
                true => messages(&told, period, track),
                false => BTreeMap::new(),
            };
            let (emsg, mut boxes, mut named) = (format!("{base}.emsg"), Vec::new(), Vec::new());
            for (index, segment) in track.segments.iter().enumerate() {
                let key = (track.name.as_str(), track.version.0, segment.time);
                let Some(places) = by_name.get(&key).map(|segment| &segment.places) else { continue };
                used.extend(places.iter().map(|place| place.file));
                bytes += places.iter().map(|place| place.len()).sum::<u64>();
                let from = named.len();
                named.extend(places.iter().map(|place| (spool::file_name(place.file), place.range.clone())));
                if let (Some(own), Some((file, first))) = (messages.remove(&index), named.get(from).cloned()) {
                    // ISO/IEC 14496-12 §8.16.2: a styp is the first box of a segment.
                    let behind = first.start + styp_bytes(&spool.join(&file), &first)?;
                    let at = boxes.len() as u64;
                    boxes.extend_from_slice(&own);
                    let cut = [(file.clone(), first.start..behind), (emsg.clone(), at..boxes.len() as u64)];
                    named.splice(from..=from, cut.into_iter().chain([(file, behind..first.end)]));
                }
            }
            named.retain(|(_, range)| !range.is_empty());
            let list = pieces::written(named.iter().map(|(name, range)| (name.as_str(), range.clone())));
            let (init, list_name) = (format!("{base}.mp4"), format!("{base}.{}", pieces::EXTENSION));
            fs::write(into.join(&init), &track.init)?;
            fs::write(into.join(&list_name), list)?;
            if !boxes.is_empty() {
                fs::write(into.join(&emsg), boxes)?;
            }
            sidecar.file.push(file(track, init.clone().into(), list_name.into()));
            stretch.files.push(init.into());
        }
        sidecar.clip.push(stretch);
    }
    for number in used {
        let name = spool::file_name(number);
        fs::hard_link(spool.join(&name), into.join(&name)).map_err(|error| match error.kind() {
            io::ErrorKind::CrossesDevices => io::Error::other(
                "the folder lies in another file system than the archive: a clip refers to its files, and copies none",
            ),
            _ => io::Error::new(error.kind(), format!("{name}: {error}")),
        })?;
    }
    fs::write(into.join(sidecar::NAME), sidecar.text())?;
    Ok(bytes)
}

/// What `told` says in `period`, as event messages of `track`: by the index of the segment in which each begins.
fn messages(told: &[Told<'_>], period: &Period, track: &Track) -> BTreeMap<usize, Vec<u8>> {
    let mut messages: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let ticks = |us: i64| rescale(us, Timescale::MICRO, track.timescale, Rounding::Nearest);
    let origin = period.origin.to(track.timescale, Rounding::Nearest);
    let Some(first) = track.segments.first().map(|first| first.time) else { return messages };
    for Told { event, begins_us, length_us } in told {
        let time = origin.saturating_add(ticks(*begins_us)).max(first);
        let index = track.segments.partition_point(|segment| segment.time <= time).saturating_sub(1);
        let message = EventMessage {
            scheme: event.scheme.clone(),
            timescale: track.timescale,
            time: EventTime::At(time),
            // One that is too long for its field is not known.
            duration: length_us.and_then(|length| u32::try_from(ticks(length)).ok()),
            id: event.id,
            data: event.data.clone(),
        };
        message.write(messages.entry(index).or_default());
    }
    messages
}

/// How long the `styp` is with which `range` of `file` begins; 0 if it does not.
fn styp_bytes(file: &Path, range: &Range<u64>) -> io::Result<u64> {
    let mut head = [0; 8];
    if range.end.saturating_sub(range.start) < head.len() as u64 {
        return Ok(0);
    }
    fs::File::open(file)?.read_exact_at(&mut head, range.start)?;
    let (size, kind) = head.split_at(4);
    let size = size.try_into().map_or(0, u32::from_be_bytes).into();
    Ok(if kind == b"styp" && size <= range.end - range.start { size } else { 0 })
}

/// All segments, by track, version and name.
fn segments(broadcast: &Broadcast) -> BTreeMap<(&str, u64, i64), &LiveSegment> {
    let tracks = broadcast.periods.iter().flat_map(|period| &period.tracks);
    let named = tracks.flat_map(|track| {
        let face = &track.face;
        track.segments.iter().map(|s| ((face.name.as_str(), face.version.0, s.time), s.as_ref()))
    });
    named.collect()
}

fn file(track: &Track, init: PathBuf, list: PathBuf) -> File {
    File { paths: vec![init, list], name: Some(track.name.clone()), ..File::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_of_a_clip_is_in_nobodys_way() {
        let dir = tempfile::tempdir().expect("a folder");
        let partial = dir.path().join(".clip.partial");
        fs::create_dir(&partial).expect("made");
        fs::write(partial.join("v.mp4"), b"half").expect("written");
        let making = begun(&partial).expect("nobody makes it");
        assert_eq!(fs::read_dir(&partial).expect("a folder").count(), 0);
        assert!(begun(&partial).expect_err("it is being made").to_string().ends_with("is being made"));
        drop(making);
        begun(&partial).expect("nobody makes it");
    }
}
