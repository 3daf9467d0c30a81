//! What came is written before anybody is told of it, unless the disk fails or is slow: then the channel goes on from memory, and says so.

use std::io;
use std::sync::Arc;

use crate::content::live::channel::{FORGETS_EVERY, State, TRIED_AGAIN, checkpoint};
use crate::content::live::disk::Disk;
use crate::content::live::spool::{Keep, Kind, Record};
use crate::media::live::Broadcast;
use crate::media::sample::SourceRange;
use crate::time::Utc;

impl State {
    /// What the archive has not been told of.
    fn unnoted(&self) -> Option<Arc<Broadcast>> {
        let broadcast = self.window.broadcast();
        (self.noted != broadcast.sequence).then(|| Arc::clone(broadcast))
    }

    /// Appends `record` to the spool, if there is one that works.
    pub(super) fn append(&mut self, channel: &str, record: &Record) -> Option<SourceRange> {
        self.disk.as_ref()?;
        if !is_time(self.failed, record.at) {
            return None;
        }
        // Reading back must not run over the hole: it goes on from where the window stands.
        let resumed = self.failed.map(|_| checkpoint(&self.window, Kind::Resumed, record.at));
        // A log that began while a period gathers could not repeat how it was announced.
        let may_roll = self.failed.is_none() && !self.window.is_gathering(record.at);
        let is_full = self.is_full && may_roll && is_time(self.unrolled, record.at);
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
            tracing::error!(channel, %error, "the spool can't be written: the channel goes on from memory");
        }
    }

    /// Time has passed: what became whole is noted in the archive, and the files of the spool go that are not to be kept any more.
    pub(super) fn keep_up(&mut self, channel: &str, now: Utc) {
        let is_due = now >= self.forgot_at.after(FORGETS_EVERY);
        let broadcast = self.unnoted();
        if self.failed.is_some() || (broadcast.is_none() && !is_due) {
            return;
        }
        let needed_from = self.window.needed_from();
        let kept_ms = u64::try_from(self.kept.kept.as_millis()).unwrap_or(u64::MAX);
        let wanted_from = Utc(now.0.saturating_sub(kept_ms)).min(needed_from);
        let keep = is_due.then_some(Keep { needed_from, wanted_from, bytes_max: self.kept.bytes_max });
        let sequence = self.window.broadcast().sequence;
        let Some(disk) = &mut self.disk else { return };
        let kept = disk.ask(move |disk| {
            let noted = disk.note(broadcast.as_deref());
            (noted, keep.map_or(Ok(false), |keep| disk.forget(&keep)))
        });
        match kept {
            Ok((noted, forgotten)) => {
                self.noted = sequence;
                if is_due {
                    self.forgot_at = now;
                }
                if let Err(error) = noted {
                    tracing::warn!(channel, %error, "the archive's index can't be written");
                }
                match forgotten {
                    Ok(false) => {}
                    Ok(true) => std::mem::take(&mut self.lease).end(now),
                    Err(error) => tracing::warn!(channel, %error, "old files of the spool can't be removed"),
                }
            }
            Err(error) => self.fails(channel, &error, now),
        }
    }
}

/// Whether to try to write, when that failed at `failed`.
fn is_time(failed: Option<Utc>, now: Utc) -> bool {
    failed.is_none_or(|failed| now >= failed.after(TRIED_AGAIN))
}
