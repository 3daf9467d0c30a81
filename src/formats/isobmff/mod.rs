//! ISO base media file format (ISO/IEC 14496-12) and what CMAF (23000-19) and Common Encryption (23001-7) add to it.

pub mod boxes;
pub mod cenc;
pub mod emsg;
pub mod event_track;
pub mod fragment;
pub mod groups;
pub mod movie;
pub mod prft;
mod quicktime;
pub mod sample_entry;
pub mod sample_tables;
pub mod second_reading;
pub mod stpp;
mod text_init;
pub mod tx3g;
pub mod wvtt;
