//! Live: what encoders push becomes broadcasts.
//!
//! ```text
//!   bytes -> receiver -> init | chunk -> channel: spool, then window -> Arc<Broadcast> -> who waits
//! ```

pub mod cadence;
pub mod channel;
pub mod cut;
pub mod pushed;
pub mod receiver;
pub mod spool;
pub mod window;
