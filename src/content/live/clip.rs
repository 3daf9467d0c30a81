//! A presentation on demand of a stretch that was broadcast: a folder that refers to files of the spool, by hard links, and copies no
//! media.
//!
//! ```text
//!   presentation.toml     a clip for each stretch without holes
//!   v.mp4, v.pieces       of each track: its initialization segment, and which bytes of which file follow
//!   00000012.spool        hard links, so that the bytes stay when the archive lets them go
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::content::clips::CLIPS_MAX;
use crate::content::live::spool;
use crate::content::pieces;
use crate::content::sidecar::{self, File, Sidecar, Stretch};
use crate::media::live::{Broadcast, LiveSegment};
use crate::media::track::Track;
use crate::time::Utc;

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
fn fill(
    broadcast: &Broadcast,
    periods: &[crate::media::presentation::Period],
    spool: &Path,
    into: &Path,
) -> io::Result<u64> {
    let by_name = segments(broadcast);
    let (mut sidecar, mut used, mut bytes) = (Sidecar::default(), BTreeSet::new(), 0);
    for (number, period) in (1..).zip(periods) {
        let mut stretch = Stretch::default();
        for track in period.sets.iter().flat_map(|set| &set.tracks) {
            let base = if periods.len() == 1 { track.name.clone() } else { format!("{}-{number}", track.name) };
            let places = track.segments.iter().filter_map(|segment| {
                let key = (track.name.as_str(), track.version.0, segment.time);
                by_name.get(&key).map(|segment| &segment.places)
            });
            let places: Vec<_> = places.flatten().collect();
            used.extend(places.iter().map(|place| place.file));
            bytes += places.iter().map(|place| place.len()).sum::<u64>();
            let named: Vec<_> =
                places.iter().map(|place| (spool::file_name(place.file), place.range.clone())).collect();
            let list = pieces::written(named.iter().map(|(name, range)| (name.as_str(), range.clone())));
            let (init, list_name) = (format!("{base}.mp4"), format!("{base}.{}", pieces::EXTENSION));
            fs::write(into.join(&init), &track.init)?;
            fs::write(into.join(&list_name), list)?;
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
