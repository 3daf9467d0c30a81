//! One standard a file: boxes and codec configurations, from bytes to values and back. No I/O, no clock, no allocation by a
//! count that a file claims.

pub mod aac;
pub mod av1;
pub mod avc;
pub mod captions;
pub mod cicp;
pub mod cmcd;
pub mod cues;
pub mod dolby;
pub mod dts;
pub mod error;
pub mod fields;
pub mod flac;
pub mod hevc;
pub mod image;
pub mod isobmff;
pub mod language;
pub mod nal;
pub mod opus;
pub mod scte35;
pub mod srt;
pub mod ttml;
pub mod uri;
pub mod vp9;
pub mod webvtt;
