//! From URL to object: what an address means, how its bytes are made once, and how they are answered.

pub mod address;
pub mod admission;
pub mod broadcasts;
pub mod channels;
pub mod clips;
pub mod conditional;
pub mod listing;
pub mod live;
pub mod object;
pub(crate) mod openings;
pub mod options;
pub mod range;
pub mod render;
pub mod serve;
pub mod shift;
pub(crate) mod waits;
pub mod written;
