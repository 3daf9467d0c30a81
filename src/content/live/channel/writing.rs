//! What came is written before anybody is told of it, unless the disk fails or is slow: then the channel goes on from memory, and says so.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::content::live::channel::{FORGETS_EVERY, State, checkpoint};
use crate::content::live::disk::{Disk, Forgotten};
use crate::content::live::spool::{Keep, Kind, Record};
use crate::media::live::Broadcast;
use crate::media::sample::SourceRange;
use crate::time::Utc;

/// What failed is tried again so often.
const TRIED_AGAIN: Duration = Duration::from_secs(1);
/// What fails again soon after, twice as seldom each time, up to this.
const TRIED_AGAIN_MAX: Duration = Duration::from_secs(60);

impl State {
    /// What the archive has not been told of.
    fn unnoted(&self) -> Option<Arc<Broadcast>> {
        let broadcast = self.window.broadcast();
        (self.noted != broadcast.sequence).then(|| Arc::clone(broadcast))
    }

    /// Appends `record` to the spool, if there is one that works.
    pub(super) fn append(&mut self, channel: &str, record: &Record) -> Option<SourceRange> {
        let is_rested = self.disk.as_ref()?.is_rested();
        if self.failed.is_some_and(|failed| !is_rested || record.at < failed.after(self.tried_every)) {
            return None;
        }
        // What goes on from a checkpoint made while a period gathers could not repeat how it was announced.
        let is_gathering = self.window.is_gathering(record.at);
        if self.failed.is_some() && is_gathering {
            return None;
        }
        // Reading back must not run over the hole: it goes on from where the window stands.
        let resumed = self.failed.map(|_| checkpoint(&self.window, Kind::Resumed, record.at));
        let may_roll = self.failed.is_none() && !is_gathering;
        let is_full = self.is_full && may_roll && self.unrolled.is_none_or(|at| record.at >= at.after(TRIED_AGAIN));
        let next = is_full.then(|| checkpoint(&self.window, Kind::Checkpoint, record.at));
        let (owned, broadcast) = (record.clone(), self.unnoted());
        let write = move |disk: &mut Disk| disk.write(&owned, resumed.as_ref(), next.as_ref(), broadcast.as_deref());
        let sequence = self.window.broadcast().sequence;
        let written = match self.disk.as_mut()?.ask(write) {
            Ok(written) => written,
            Err(error) => {
                self.fails(channel, &error, record.at);
                return None;
            }
        };
        self.noted = sequence;
        self.end_owed(record.at);
        // A file that is to begin for another reason than its length is not forgotten where that was put off.
        self.is_full = written.is_full || (self.is_full && !matches!(written.rolled, Some(Ok(()))));
        if let Err(error) = written.noted {
            tracing::warn!(channel, %error, "the archive's index can't be written");
        }
        match written.rolled {
            None => {}
            Some(Ok(())) => (self.unrolled, self.forgot_at) = (None, Utc(0)),
            Some(Err(error)) => self.can_not_roll(channel, &error, record.at),
        }
        match written.place {
            Ok(place) => {
                if self.failed.take().is_some() {
                    self.healed = record.at;
                    tracing::info!(channel, "the spool is written again");
                }
                Some(place)
            }
            Err(error) => {
                self.fails(channel, &error, record.at);
                None
            }
        }
    }

    fn can_not_roll(&mut self, channel: &str, error: &io::Error, now: Utc) {
        if self.unrolled.replace(now).is_none() {
            tracing::error!(channel, %error, "the spool can't begin another file: the one that is full goes on");
        }
    }

    fn fails(&mut self, channel: &str, error: &io::Error, now: Utc) {
        if self.failed.replace(now).is_none() {
            // Each time again costs a checkpoint and two lines of the log.
            self.tried_every = match now < self.healed.after(self.tried_every * 10) {
                true => TRIED_AGAIN_MAX.min(self.tried_every * 2),
                false => TRIED_AGAIN,
            };
            tracing::error!(channel, %error, "the spool can't be written: the channel goes on from memory");
        }
    }

    /// The disk has done what it was asked before: if files went by that, or may have, what was made of them holds no more.
    fn end_owed(&mut self, now: Utc) {
        if std::mem::take(&mut self.owes_end) {
            std::mem::take(&mut self.lease).end(now);
        }
    }

    /// Time has passed: what became whole is noted in the archive, and the files of the spool go that are not to be kept any more; those also
    /// while writing fails, since nothing else makes room on a disk that is full.
    pub(super) fn keep_up(&mut self, channel: &str, now: Utc) {
        let is_due = now >= self.forgot_at.after(FORGETS_EVERY);
        let broadcast = self.unnoted().filter(|_| self.failed.is_none());
        if broadcast.is_none() && !is_due {
            return;
        }
        let needed_from = self.window.needed_from();
        let kept_ms = u64::try_from(self.kept.kept.as_millis()).unwrap_or(u64::MAX);
        let wanted_from = Utc(now.0.saturating_sub(kept_ms)).min(needed_from);
        let keep = is_due.then_some(Keep { needed_from, wanted_from, bytes_max: self.kept.bytes_max });
        let noted = broadcast.as_ref().map_or(self.noted, |broadcast| broadcast.sequence);
        let Some(disk) = &mut self.disk else { return };
        let kept = disk.ask_briefly(move |disk| {
            let written = disk.note(broadcast.as_deref());
            (written, keep.map(|keep| disk.forget(&keep)))
        });
        match kept {
            Ok((written, forgotten)) => {
                (self.noted, self.is_behind) = (noted, false);
                // What there is more of goes next time.
                if is_due && !matches!(forgotten, Some(Forgotten { is_more: true, .. })) {
                    self.forgot_at = now;
                }
                self.owes_end |= matches!(forgotten, Some(Forgotten { was_archived: true, .. }));
                self.end_owed(now);
                if let Err(error) = written {
                    tracing::warn!(channel, %error, "the archive's index can't be written");
                }
                if let Some(Forgotten { result: Err(error), .. }) = forgotten {
                    tracing::warn!(channel, %error, "old files of the spool can't be removed");
                }
            }
            // Nothing that came is missing by that, and it is done yet, or asked for again.
            Err(error) => {
                self.owes_end |= is_due;
                if !std::mem::replace(&mut self.is_behind, true) && self.failed.is_none() {
                    tracing::warn!(channel, %error, "letting go of old files of the spool takes long, or the archive's index does");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;

    use super::*;
    use crate::content::live::channel::tests::{NOW, PUSH, at, chunk, init, listed, on_a_disk};
    use crate::content::live::channel::{Channel, Options, lock};
    use crate::content::live::hand::Hand;
    use crate::content::live::spool::{FORGOTTEN_MAX, numbers};
    use crate::content::live::{archive, window};

    /// The channel whose files hold a few seconds each, and whose window is as short as it gets.
    fn open(dir: &Path, archive_s: u64) -> Channel {
        let all = Options {
            spool_file_bytes: 5000,
            spool_patience: Duration::from_secs(60),
            archive: archive::Options { kept: Duration::from_secs(archive_s), ..archive::Options::default() },
            ..Options::default()
        };
        let options = window::Options { window: Duration::from_secs(12), ..window::Options::default() };
        Channel::open("tv", options, Some(dir), &all)
    }

    fn push(channel: &Channel, from: u64, until: u64) {
        for index in from..until {
            channel.take("v", chunk(index), PUSH, at(index)).expect("taken");
            channel.tick(at(index));
        }
    }

    fn files(dir: &Path, extension: &str) -> BTreeSet<u32> {
        numbers(dir, extension).expect("a folder").into_iter().collect()
    }

    /// Of the newest segment whether it is in the spool.
    fn is_written(channel: &Channel) -> bool {
        let broadcast = channel.broadcast();
        let (_, track) = broadcast.tracks_called("v").last().expect("a track");
        track.segments.last().is_some_and(|segment| !segment.places.is_empty())
    }

    #[test]
    fn many_files_that_go_at_once_held_writing_up() {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = open(dir.path(), 3600);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, 401);
        let before = files(dir.path(), "spool").len();
        drop(channel);
        // An hour was kept, and a minute is from now on.
        let channel = open(dir.path(), 60);
        let mut left = vec![before];
        for second in 0..60 {
            channel.tick(Utc(at(400).0 + second * 1000));
            let spools = files(dir.path(), "spool");
            assert!(files(dir.path(), "index").is_subset(&spools), "an index without its media");
            left.push(spools.len());
        }
        let gone: Vec<usize> = left.windows(2).map(|pair| pair[0] - pair[1]).collect();
        let at_once = gone.iter().take_while(|gone| **gone == FORGOTTEN_MAX).count();
        assert!(at_once >= 3 && gone.iter().all(|gone| *gone <= FORGOTTEN_MAX), "second by second: {gone:?}");
        assert!(left[at_once + 1] < before / 2, "the rest waits for its time: {left:?}");
    }

    #[test]
    fn what_goes_slowly_is_no_disk_that_can_not_be_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = open(dir.path(), 3600);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, 40);
        // The disk is at something else when it is asked to let go of files, and done with it before the next chunk comes.
        let (go, held) = mpsc::channel::<()>();
        {
            let mut state = lock(&channel.state);
            let disk = state.disk.as_mut().expect("a spool");
            disk.wait(Duration::from_millis(1));
            disk.ask(move |_| held.recv()).expect_err("it is held");
        }
        channel.tick(Utc(at(39).0 + 11_000));
        go.send(()).expect("it waits");
        {
            let mut state = lock(&channel.state);
            let disk = state.disk.as_mut().expect("a spool");
            disk.settle();
            disk.wait(Duration::from_secs(60));
            assert_eq!((state.failed, state.is_behind), (None, true));
        }
        for index in 40..45 {
            let now = Utc(at(index).0 + 11_000);
            channel.take("v", chunk(index), PUSH, now).expect("taken");
            channel.tick(now);
            assert!(is_written(&channel), "{index}");
        }
        assert!(!lock(&channel.state).is_behind);
    }

    /// A channel with files that are to go at once when it is open again, and that channel.
    fn with_old_files(dir: &Path) -> Channel {
        let channel = open(dir, 3600);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, 241);
        drop(channel);
        open(dir, 1)
    }

    #[test]
    fn what_was_made_of_files_that_went_late_was_held_to_be_good() {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = with_old_files(dir.path());
        let disk = |work: fn(&mut Hand<Disk>)| work(lock(&channel.state).disk.as_mut().expect("a spool"));
        // Mostly the first time: a disk may be as fast as who asks it.
        let lease = loop {
            let (lease, before) = (channel.lease(), files(dir.path(), "spool").len());
            disk(|disk| disk.wait(Duration::ZERO));
            channel.tick(at(240));
            disk(|disk| {
                disk.settle();
                disk.wait(Duration::from_secs(60));
            });
            if lock(&channel.state).is_behind {
                break lease;
            }
            if files(dir.path(), "spool").len() == before {
                return;
            }
        };
        // The next that it is asked for is to write what comes.
        channel.take("v", chunk(241), PUSH, at(241)).expect("taken");
        assert!(!lease.is_live() && channel.lease().is_live());
    }

    #[test]
    fn what_was_made_of_files_that_went_before_one_that_could_not_was_held_to_be_good() {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = with_old_files(dir.path());
        let (lease, before) = (channel.lease(), files(dir.path(), "spool"));
        let second = *before.iter().nth(1).expect("files");
        // Nobody removes it as a file.
        let index = dir.path().join(format!("{second:08}.index"));
        std::fs::remove_file(&index).expect("it was there");
        std::fs::create_dir(&index).expect("a folder");
        channel.tick(at(240));
        assert_eq!(files(dir.path(), "spool"), before.into_iter().skip(1).collect());
        assert!(!lease.is_live() && channel.lease().is_live());
    }

    #[test]
    fn a_disk_that_was_full_stayed_full() {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = open(dir.path(), 60);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, 241);
        let is_full = on_a_disk(&channel);
        let before = files(dir.path(), "spool");
        let (mut was_missing, mut healed) = (false, None);
        for index in 241..400 {
            // Until a file goes there is no room for anything.
            is_full.store(files(dir.path(), "spool").is_superset(&before), Ordering::Relaxed);
            push(&channel, index, index + 1);
            let broadcast = channel.broadcast();
            for segment in broadcast.tracks_called("v").flat_map(|(_, track)| track.segments.iter()) {
                if segment.lease.is_live() && !segment.is_gap && !segment.places.is_empty() {
                    channel.read(segment).expect("what is answered for is there");
                }
            }
            was_missing |= !is_written(&channel);
            if was_missing && is_written(&channel) {
                healed = healed.or(Some(index));
            }
            assert!(files(dir.path(), "index").is_subset(&files(dir.path(), "spool")), "an index without its media");
        }
        assert!(was_missing);
        assert!(healed.is_some_and(|index| index < 241 + 60), "half seconds: {healed:?}");
        assert!(lock(&channel.state).failed.is_none() && is_written(&channel));
        let before = listed(&channel);
        assert!(before.len() >= 6, "{before:?}");
        drop(channel);
        assert_eq!(listed(&open(dir.path(), 60)), before);
    }

    #[test]
    fn a_server_that_is_killed_while_old_files_go_and_nothing_is_written_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = open(dir.path(), 1);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, 241);
        let next =
            |channel: &Channel| channel.broadcast().tracks_called("v").last().map(|(_, track)| track.next_number);
        let written = next(&channel);
        on_a_disk(&channel).store(true, Ordering::Relaxed);
        let before = files(dir.path(), "spool");
        push(&channel, 241, 500);
        let left = files(dir.path(), "spool");
        assert!(before.len() > 5 && left.len() == 2 && left.is_subset(&before), "{before:?}: {left:?}");
        drop(channel);
        let channel = open(dir.path(), 1);
        assert!(written.is_some() && next(&channel) == written);
        push(&channel, 500, 540);
        assert!(is_written(&channel) && next(&channel) > written);
    }
}
