//! Media in a storage elsewhere: S3 and what speaks it, Google's and Azure's, or a web server.
//!
//! ```text
//!   shelf    a name -> the folder it may be, listed once and remembered -> an entry
//!   view     the folders that were listed for an entry: paths -> objects
//!   object   one object: its bytes by range, and what of it was read when it was opened
//!   index    that on disk
//!   listing  what was listed, beside it
//!   store    requests: bounded, repeated, hedged, counted
//! ```

pub mod connect;
pub mod index;
pub mod listing;
pub mod object;
pub mod shelf;
pub mod store;
pub mod tag;
pub mod view;
