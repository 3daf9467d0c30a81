//! Opening presentations keeps threads, and of a storage large windows of media are read for it: so many at a time. Each library has a line of its
//! own, so that a mount or a storage that hangs keeps nobody from opening what lies in another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::content::library::Library;
use crate::content::library::entry::Entry;
use crate::content::line::Line;
use crate::telemetry::{ReadOf, Telemetry};

/// Presentations of storages that are opened at once: each may hold 64 MiB of windows.
const REMOTE_AT_ONCE: usize = 8;
/// Presentations of this machine that are: enough for a disk.
const LOCAL_AT_ONCE: usize = 16;
/// Presentations of storages that wait for that. Those of all libraries together leave places among what is made at once.
const REMOTE_WAITING_MAX: usize = 64;
/// And of this machine.
const LOCAL_WAITING_MAX: usize = 32;
/// Where libraries share that, each has so many at once, that one which is slow does not wait for itself alone.
const AT_ONCE_MIN: usize = 2;
/// And so many that wait.
const WAITING_MIN: usize = 4;

/// The lines of all libraries, by the name of the library.
#[derive(Debug)]
pub(crate) struct Openings(BTreeMap<Arc<str>, Line>);

impl Openings {
    /// One for each library that `library` consists of.
    pub(crate) fn of(library: &Library, telemetry: &Arc<Telemetry>) -> Openings {
        let (roots, shelves) = (&library.options().roots, library.shelves());
        let line = |at_once, waiting_max| Line::new(ReadOf::Opening, at_once, waiting_max, Arc::clone(telemetry));
        let local = roots.iter().map(|root| {
            let waiting_max = share(LOCAL_WAITING_MAX, roots.len(), WAITING_MIN);
            (root.name(), line(local_at_once(roots.len()), waiting_max))
        });
        let remote = shelves.iter().map(|shelf| {
            let waiting_max = share(REMOTE_WAITING_MAX, shelves.len(), WAITING_MIN);
            (Arc::from(shelf.url()), line(remote_at_once(shelves.len()), waiting_max))
        });
        Openings(local.chain(remote).collect())
    }

    /// Where `entry` waits to be opened.
    pub(crate) fn line(&self, entry: &Entry) -> &Line {
        self.0.get(entry.library()).expect("every library of an entry has a line")
    }

    /// Threads that opening may keep, of so many folders of this machine and so many storages.
    pub(crate) fn threads_max(roots: usize, storages: usize) -> usize {
        roots * local_at_once(roots) + storages * remote_at_once(storages)
    }
}

fn local_at_once(roots: usize) -> usize {
    share(LOCAL_AT_ONCE, roots, AT_ONCE_MIN)
}

fn remote_at_once(storages: usize) -> usize {
    share(REMOTE_AT_ONCE, storages, AT_ONCE_MIN)
}

fn share(all: usize, among: usize, least: usize) -> usize {
    (all / among.max(1)).max(least)
}
