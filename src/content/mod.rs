//! Where media comes from: files of a library, read by ranges and understood as presentations.

pub mod captions;
pub mod clips;
pub mod library;
pub mod live;
pub mod made;
pub mod scan;
pub mod sidecar;
pub mod source;
pub mod subtitles;
pub mod vod;
