//! The library: what lies below a folder.

use std::path::PathBuf;
use std::time::Duration;

/// How a library is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// The folder, or the one file.
    pub root: PathBuf,
    /// What segments are cut to. Six seconds is what Apple's authoring rules recommend, and few enough objects.
    pub segment_target: Duration,
    /// Whether symbolic links may lead out of the root. Off: who may write a link there could otherwise show any file.
    pub follow_symlinks: bool,
    /// Between two looks for new, changed and gone files.
    pub scan_interval: Duration,
    /// How long the old version of a replaced source is still answered; `None` for its duration plus the manifest's
    /// lifetime, at most 6 h: until who plays it has seen its end.
    pub grace: Option<Duration>,
}

impl Options {
    /// The defaults, for `root`.
    pub fn new(root: PathBuf) -> Options {
        Options {
            root,
            segment_target: Duration::from_secs(6),
            follow_symlinks: false,
            scan_interval: Duration::from_secs(2),
            grace: None,
        }
    }
}
