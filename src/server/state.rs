//! What all connections share.

use std::sync::Arc;
use std::time::Instant;

use crate::origin::serve::Origin;
use crate::server::Options;
use crate::server::drain::Drain;
use crate::telemetry::Telemetry;

/// A server as its connections see it.
#[derive(Debug)]
pub struct State {
    /// Who answers.
    pub origin: Arc<Origin>,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// How listeners behave.
    pub options: Options,
    /// Whether it is ending.
    pub drain: Arc<Drain>,
    /// When it began.
    pub started: Instant,
}

impl State {
    /// A server that begins now.
    pub fn new(origin: Arc<Origin>, telemetry: Arc<Telemetry>, options: Options) -> State {
        State { origin, telemetry, options, drain: Arc::default(), started: Instant::now() }
    }
}

#[cfg(test)]
use crate::content::library::Library;

#[cfg(test)]
impl State {
    /// A server without a library.
    pub fn for_tests() -> State {
        let nowhere = std::env::temp_dir().join("headwater-library-that-is-not-there");
        let library = Arc::new(Library::new(crate::content::library::Options::new(nowhere)));
        let telemetry = Arc::<Telemetry>::default();
        let origin = Origin::new(library, crate::origin::options::Options::default(), Arc::clone(&telemetry));
        State::new(Arc::new(origin), telemetry, Options::default())
    }
}
