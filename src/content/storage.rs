//! Where the files of a library are: on this machine, or in a storage whose folders were listed. Everything here blocks.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::content::file::{SourceError, Stamp};
use crate::content::remote::object::Object;
use crate::content::remote::view::View;

/// Where paths lead.
#[derive(Clone, Debug)]
pub enum Storage {
    /// To files of this machine.
    Local,
    /// To objects, as they were listed.
    Remote(Arc<View>),
}

/// A file that was opened.
#[derive(Debug)]
pub enum OpenFile {
    /// Of this machine.
    Local(File),
    /// An object.
    Remote(Arc<Object>),
}

impl Storage {
    /// Opens the file at `path`.
    pub fn open(&self, path: &Path) -> Result<(Stamp, OpenFile), SourceError> {
        let failed = |error| SourceError::Io { path: path.to_path_buf(), error };
        match self {
            Storage::Local => {
                let file = File::open(path).map_err(failed)?;
                let metadata = file.metadata().map_err(failed)?;
                if !metadata.is_file() {
                    return Err(failed(io::Error::other("not a file")));
                }
                Ok((Stamp::of(&metadata), OpenFile::Local(file)))
            }
            Storage::Remote(view) => {
                let object = view.object(path)?;
                Ok((object.stamp(), OpenFile::Remote(object)))
            }
        }
    }

    /// Whether there is a file at `path`.
    pub fn is_file(&self, path: &Path) -> bool {
        match self {
            Storage::Local => path.is_file(),
            Storage::Remote(view) => view.object(path).is_ok(),
        }
    }

    /// What the file at `path` is like, if it can be said.
    pub fn stamp(&self, path: &Path) -> Option<Stamp> {
        match self {
            Storage::Local => Stamp::at(path).ok(),
            Storage::Remote(view) => view.object(path).ok().map(|object| object.stamp()),
        }
    }

    /// All of the file at `path`, if it is not longer than `bytes_max`; else an error that says so.
    pub fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Bytes> {
        let too_long = |len: u64| io::Error::other(format!("{len} bytes, at most {bytes_max} are read"));
        match self {
            Storage::Local => match std::fs::metadata(path)?.len() {
                len if len > bytes_max => Err(too_long(len)),
                _ => std::fs::read(path).map(Bytes::from),
            },
            Storage::Remote(view) => {
                let object = view.object(path).map_err(io::Error::other)?;
                match object.stamp().len {
                    len if len > bytes_max => Err(too_long(len)),
                    len => object.read_blocking(0..len).map_err(io::Error::other),
                }
            }
        }
    }

    /// Ends an opening: what was read is put where the next one finds it. An error is why a file could not be read meanwhile, for
    /// who takes a file that can't be read for one that is not there.
    pub fn settle(&self) -> Result<(), SourceError> {
        match self {
            Storage::Local => Ok(()),
            Storage::Remote(view) => view.settle(),
        }
    }
}
