//! From the model to what is sent: pure functions of their arguments.

pub mod cmaf;
pub mod dash;
#[cfg(test)]
pub(crate) mod fixture;
pub mod hls;
pub mod plan;
mod push;
pub mod rate;
pub mod text;
