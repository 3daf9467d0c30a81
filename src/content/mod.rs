//! Where media comes from: the library.

pub mod library;
