//! Where media comes from: files of a library, read by ranges and understood as presentations.

pub mod scan;
pub mod vod;
pub mod source;
