//! How a server is told to end: once, for everybody.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Not begun, then begun for good.
#[derive(Debug, Default)]
pub struct Drain {
    begun: AtomicBool,
    notify: Notify,
}

impl Drain {
    /// Begins it; waking everybody who waits in [`Drain::begun`].
    pub fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Waits until it has begun. Dropping the future loses nothing.
    pub async fn begun(&self) {
        let notified = self.notify.notified();
        if !self.begun.load(Ordering::SeqCst) {
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_asks_before_and_after_hears_of_it() {
        let drain = Drain::default();
        let before = async {
            drain.begun().await;
            assert!(drain.has_begun());
        };
        let begin = async { drain.begin() };
        tokio::join!(before, begin);
        drain.begun().await;
    }
}
