//! What is known of a file without reading it, wherever it is, and why it could not be read.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why bytes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not there any more, or is another one now.
    #[error("{path}: the file was replaced or removed")]
    Replaced {
        /// Which file.
        path: PathBuf,
    },
    /// The file ends before the range does.
    #[error("{path}: {wanted} bytes wanted at {offset:#x}, the file ends before")]
    Short {
        /// Which file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How many.
        wanted: u64,
    },
    /// The system says why.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// The storage it is in says why, or does not answer.
    #[error("{path}: {why}")]
    Storage {
        /// Which object.
        path: PathBuf,
        /// What was wrong, after how many attempts.
        why: String,
    },
    /// Too many others wait to be read.
    #[error("{path}: too many reads wait in line")]
    Busy {
        /// Which file or object.
        path: PathBuf,
    },
}

impl SourceError {
    /// The same, if the object as it was listed is not to blame: its storage did not give it, or has another one by now.
    pub fn of_the_moment(&self) -> Option<SourceError> {
        match self {
            SourceError::Storage { path, why } => Some(SourceError::Storage { path: path.clone(), why: why.clone() }),
            SourceError::Busy { path } => Some(SourceError::Busy { path: path.clone() }),
            SourceError::Replaced { path } => Some(SourceError::Replaced { path: path.clone() }),
            SourceError::Short { .. } | SourceError::Io { .. } => None,
        }
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Bytes.
    pub len: u64,
    /// Nanoseconds since 1970, of the last modification.
    pub modified_ns: i128,
    /// Device and inode; of an object, a hash of its entity tag.
    identity: [u64; 2],
}

impl Stamp {
    /// What the system says of a local file.
    pub fn of(metadata: &Metadata) -> Stamp {
        let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Stamp { len: metadata.len(), modified_ns, identity: [metadata.dev(), metadata.ino()] }
    }

    /// The stamp of the local file at `path` now.
    pub fn at(path: &Path) -> io::Result<Stamp> {
        let metadata = std::fs::metadata(path)?;
        if metadata.is_file() { Ok(Stamp::of(&metadata)) } else { Err(io::Error::other("not a file")) }
    }

    /// What a storage says of an object: its length, modification and `tag`.
    pub fn of_object(len: u64, modified_ns: i128, tag: Option<&str>) -> Stamp {
        let hash = blake3::hash(tag.unwrap_or_default().as_bytes());
        let word = |at: usize| {
            let bytes = hash.as_bytes()[at..].first_chunk().expect("a hash has 32 bytes");
            u64::from_be_bytes(*bytes)
        };
        Stamp { len, modified_ns, identity: [word(0), word(8)] }
    }

    /// All of it as bytes, for what is named by it.
    pub fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&self.len.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.modified_ns.to_be_bytes());
        bytes[24..32].copy_from_slice(&self.identity[0].to_be_bytes());
        bytes[32..].copy_from_slice(&self.identity[1].to_be_bytes());
        bytes
    }
}
