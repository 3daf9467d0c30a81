//! Where media comes from: files of a library, read by ranges and understood as presentations.

pub mod captions;
pub mod clips;
pub(crate) mod edits;
pub mod file;
pub mod library;
pub mod line;
pub mod live;
pub mod made;
pub mod pieces;
pub mod remote;
mod repeated;
pub mod scan;
pub mod sidecar;
pub mod source;
pub mod storage;
pub mod subtitles;
pub mod thumbnails;
pub mod vod;
