//! The model, in CMAF's words: a presentation of periods, of switching sets, of tracks, of segments, of samples. Values only;
//! where the bytes lie is said as ranges of numbered source files.

pub mod clip;
pub mod event;
pub mod live;
pub mod presentation;
pub mod sample;
pub mod shift;
pub mod switching;
pub mod text;
pub mod thumbnails;
pub mod timeline;
pub mod track;
pub mod trick;
