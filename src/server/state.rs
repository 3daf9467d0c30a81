//! What all connections share.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::origin::serve::Origin;
use crate::server::Options;
use crate::server::access_log::AccessLog;
use crate::server::clock::Clock;
use crate::server::drain::Drain;
use crate::server::ingest::manifests::Manifests;
use crate::server::reload::Reloader;
use crate::telemetry::Telemetry;

/// A server as a request sees it. One that was given other options is another state, which requests see that begin then.
#[derive(Clone, Debug)]
pub struct State {
    /// Who answers.
    pub origin: Arc<Origin>,
    /// What is counted.
    pub telemetry: Arc<Telemetry>,
    /// What time it is.
    pub clock: Arc<Clock>,
    /// How listeners behave.
    pub options: Options,
    /// Where answers are logged.
    pub access_log: Option<Arc<AccessLog>>,
    /// Who reads the configuration again.
    pub reloader: Option<Reloader>,
    /// What packagers that push say of their files.
    pub manifests: Arc<Manifests>,
    /// Whether it is ending.
    pub drain: Arc<Drain>,
    /// When it began.
    pub started: Instant,
}

impl State {
    /// A server that begins now.
    pub fn new(origin: Arc<Origin>, telemetry: Arc<Telemetry>, clock: Arc<Clock>, options: Options) -> State {
        let (access_log, reloader) = (None, None);
        State {
            origin,
            telemetry,
            clock,
            options,
            access_log,
            reloader,
            manifests: Arc::default(),
            drain: Arc::default(),
            started: Instant::now(),
        }
    }
}

/// The state for requests that begin now.
#[derive(Debug)]
pub struct Current(ArcSwap<State>);

impl Current {
    /// Beginning with `state`.
    pub fn new(state: State) -> Current {
        Current(ArcSwap::from_pointee(state))
    }

    /// The state now.
    pub fn get(&self) -> Arc<State> {
        self.0.load_full()
    }

    /// From now on with this access log, or none.
    pub fn set_access_log(&self, access_log: Option<Arc<AccessLog>>) {
        let state = State { access_log, ..State::clone(&self.get()) };
        self.0.store(Arc::new(state));
    }

    /// From now on with who reads the configuration again when an admin call asks for it.
    pub fn set_reloader(&self, reloader: Reloader) {
        let state = State { reloader: Some(reloader), ..State::clone(&self.get()) };
        self.0.store(Arc::new(state));
    }

    /// From now on with `options`. Those that say where to listen, and for how many, were used at the start.
    pub fn set_options(&self, options: Options) {
        let state = State { options, ..State::clone(&self.get()) };
        self.0.store(Arc::new(state));
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
        let clock = Arc::new(Clock::new(crate::server::clock::Readings::take()));
        State::new(Arc::new(origin), telemetry, clock, Options::default())
    }
}
