//! From the model to what is sent: pure functions of their arguments.

pub mod cmaf;
pub mod dash;
pub mod hls;
pub mod plan;
pub mod rate;
