//! What viewers see of a channel, and whoever waits for the next state of it.
//!
//! ```text
//!   a push, on a thread of its own  ->  state  ->  relay, a task  ->  all that wait
//! ```
//!
//! A thread that is none of the runtime's pays a system call for each task it wakes; a task that wakes another pays a place in a queue. Ten thousand
//! may wait for one state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::media::live::Broadcast;

/// The newest state of a broadcast.
#[derive(Debug)]
pub(super) struct Published {
    state: watch::Sender<Arc<Broadcast>>,
    relayed: Arc<watch::Sender<Arc<Broadcast>>>,
    has_relay: AtomicBool,
}

impl Published {
    pub(super) fn new(first: &Arc<Broadcast>) -> Published {
        Published {
            state: watch::Sender::new(Arc::clone(first)),
            relayed: Arc::new(watch::Sender::new(Arc::clone(first))),
            has_relay: AtomicBool::new(false),
        }
    }

    pub(super) fn newest(&self) -> Arc<Broadcast> {
        Arc::clone(&self.state.borrow())
    }

    /// `state` follows, if it is a later one.
    pub(super) fn follow_with(&self, state: &Arc<Broadcast>) {
        pass_on(state, &self.state);
    }

    /// Tells of every new state, beginning with the newest.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Broadcast>> {
        pass_on(&self.newest(), &self.relayed);
        let subscribed = self.relayed.subscribe();
        if !self.has_relay.swap(true, Ordering::Relaxed) {
            tokio::spawn(relay(self.state.subscribe(), Arc::clone(&self.relayed)));
        }
        subscribed
    }

    /// How many have subscribed.
    pub(super) fn subscribed(&self) -> usize {
        self.relayed.receiver_count()
    }
}

/// Passes every state on, until there will be no other.
async fn relay(mut states: watch::Receiver<Arc<Broadcast>>, relayed: Arc<watch::Sender<Arc<Broadcast>>>) {
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        pass_on(&state, &relayed);
        if states.changed().await.is_err() {
            return;
        }
    }
}

fn pass_on(state: &Arc<Broadcast>, to: &watch::Sender<Arc<Broadcast>>) {
    to.send_if_modified(|last| {
        let is_later = last.sequence < state.sequence;
        if is_later {
            *last = Arc::clone(state);
        }
        is_later
    });
}
