//! Headwater: an edge packager and origin. See ARCHITECTURE.md for the map; below are the floors, from the top down.
pub mod cache;
pub mod cli;
pub mod config;
pub mod content;
pub mod formats;
pub mod media;
pub mod origin;
pub mod packager;
pub mod rope;
pub mod server;
pub mod sys;
pub mod telemetry;
pub mod time;
