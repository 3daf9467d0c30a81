//! Headwater: an edge packager and origin. See ARCHITECTURE.md for the map; below are the floors, from the top down.
pub mod cli;
pub mod config;
pub mod server;
pub mod origin;
pub mod packager;
pub mod content;
pub mod media;
pub mod formats;
pub mod cache;
pub mod rope;
pub mod time;
pub mod telemetry;
