//! Live: what encoders push becomes broadcasts.
//!
//! ```text
//!   bytes -> receiver -> init | chunk -> channel: encoders, reorder, spool, then window -> Arc<Broadcast> -> who waits
//! ```

pub mod archive;
pub mod beginnings;
pub mod cadence;
pub mod channel;
pub mod clip;
pub mod continuity;
pub mod custody;
pub mod cut;
pub mod disk;
pub mod drift;
pub mod encoders;
pub mod hand;
pub mod intake;
pub mod kept;
pub mod published;
pub mod pushed;
pub mod receiver;
pub mod reorder;
pub mod requests;
pub mod retime;
pub mod room;
pub mod spool;
pub mod under_way;
pub mod window;
