//! Which process has the folder of what is live: one at a time, so that a spool has one writer.
//!
//! ```text
//!   first    .lock held ----------------------- SIGTERM: somebody waits? spools closed, .lock let go -- ends once .next is free
//!   second        .next held, waits for .lock ------------------------------- has .lock, reads back -- serves, .next let go
//! ```
//!
//! Both locks end with their process, however it ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Held by the process that writes. No channel is called so.
const LOCK: &str = ".lock";
/// Held by the process that will write next, until it serves.
const NEXT: &str = ".next";

/// The folder, held.
#[derive(Debug)]
pub struct Custody {
    dir: PathBuf,
    _lock: File,
}

/// The place of who has the folder next.
#[derive(Debug)]
pub struct Turn {
    dir: PathBuf,
    _next: File,
}

impl Turn {
    /// To have `dir` next, which is made if it is not there; `None` while another process is to. Blocks.
    pub fn take(dir: &Path) -> io::Result<Option<Turn>> {
        fs::create_dir_all(dir)?;
        Ok(locked(&dir.join(NEXT))?.map(|next| Turn { dir: dir.to_path_buf(), _next: next }))
    }

    /// The folder; `None` while another process has it. Blocks.
    pub fn custody(&self) -> io::Result<Option<Custody>> {
        Ok(locked(&self.dir.join(LOCK))?.map(|lock| Custody { dir: self.dir.clone(), _lock: lock }))
    }
}

impl Custody {
    /// Whether another process waits for the folder, or has it since and does not serve yet. Blocks.
    pub fn is_awaited(dir: &Path) -> io::Result<bool> {
        Ok(locked(&dir.join(NEXT))?.is_none())
    }

    /// What is held.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The file at `path`, locked; `None` if another process has it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    let lock = File::options().create(true).truncate(false).write(true).open(path)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_writer_and_one_who_is_next() {
        let dir = tempfile::tempdir().expect("a folder");
        let turn = || Turn::take(dir.path()).expect("a lock");
        let first = turn().expect("nobody is there");
        let custody = first.custody().expect("a lock").expect("nobody has it");
        assert!(turn().is_none(), "the first does not serve yet");
        drop(first);
        assert!(!Custody::is_awaited(custody.dir()).expect("a lock"));
        let second = turn().expect("it is next");
        assert!(turn().is_none(), "one after the other");
        assert!(second.custody().expect("a lock").is_none());
        assert!(Custody::is_awaited(custody.dir()).expect("a lock"));
        drop(custody);
        let custody = second.custody().expect("a lock");
        assert!(custody.is_some());
        assert!(Custody::is_awaited(dir.path()).expect("a lock"), "it does not serve yet");
        drop(second);
        assert!(!Custody::is_awaited(dir.path()).expect("a lock"));
    }
}
