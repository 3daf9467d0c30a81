//! What a channel has on disk: its spool, and the index of its archive.

use std::io;

use crate::content::live::archive::Archive;
use crate::content::live::spool::{FORGOTTEN_MAX, Keep, Record, Spool};
use crate::media::live::Broadcast;
use crate::media::sample::SourceRange;

/// What a channel has on disk.
#[derive(Debug)]
pub struct Disk {
    /// What was pushed.
    pub spool: Spool,
    /// What of it has left the window, if that is kept.
    pub archive: Option<Archive>,
}

/// What came of writing a record.
#[derive(Debug)]
pub struct Written {
    /// Where its payload lies.
    pub place: io::Result<SourceRange>,
    /// Of beginning another file, if that was to be.
    pub rolled: Option<io::Result<()>>,
    /// Of noting in the archive what became whole.
    pub noted: io::Result<()>,
    /// Whether it is time for another file.
    pub is_full: bool,
}

/// What came of letting go of files.
#[derive(Debug)]
pub struct Forgotten {
    /// Whether an archive lacks what it had, however it ended.
    pub was_archived: bool,
    /// Whether there may be more to let go of.
    pub is_more: bool,
    /// How it ended.
    pub result: io::Result<()>,
}

impl Disk {
    /// Notes in the archive what became whole.
    pub fn note(&mut self, broadcast: Option<&Broadcast>) -> io::Result<()> {
        match (&mut self.archive, broadcast) {
            (Some(archive), Some(broadcast)) => archive.follow(broadcast, self.spool.number()),
            _ => Ok(()),
        }
    }

    /// Lets go of files that are not to be kept any more, of a few at once.
    pub fn forget(&mut self, keep: &Keep) -> Forgotten {
        let (archive, mut was_archived) = (self.archive.as_ref(), false);
        // No index is left of media that is gone, whatever happens in between.
        let gone = self.spool.forget(keep, |number| {
            let Some(archive) = archive else { return Ok(()) };
            archive.forget(number)?;
            was_archived = true;
            Ok(())
        });
        let is_more = gone.as_ref().is_ok_and(|gone| gone.len() == FORGOTTEN_MAX);
        Forgotten { was_archived, is_more, result: gone.map(drop) }
    }

    /// Appends `record`, after what stands for those that could not be written; before that, what `broadcast` has is noted, and another file
    /// begins with `next`, if it is time for one.
    pub fn write(
        &mut self,
        record: &Record,
        resumed: Option<&Record>,
        next: Option<&Record>,
        broadcast: Option<&Broadcast>,
    ) -> Written {
        let noted = self.note(broadcast);
        let rolled = next.map(|checkpoint| self.spool.roll(checkpoint));
        let resumed = resumed.map_or(Ok(()), |resumed| self.spool.append(resumed).map(|_| ()));
        let place = resumed.and_then(|()| self.spool.append(record));
        Written { place, rolled, noted, is_full: self.spool.is_full() }
    }
}
