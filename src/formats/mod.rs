//! One standard a file: boxes and codec configurations, from bytes to values and back. No I/O, no clock, no allocation by a
//! count that a file claims.

pub mod error;
pub mod fields;
pub mod isobmff;
pub mod webvtt;
