//! How a server is told to end: once, for everybody.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

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

/// Why a connection is not being served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pause {
    /// It has ended.
    Over,
    /// Nothing has been asked for a while.
    Rests,
}

/// How a peer is to be treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// As it asks.
    Welcome,
    /// What it has asked for is finished, as when a drain begins.
    Leaves,
    /// It is left.
    Unwelcome,
}

/// Serves `conn` until it is over or rests; `shut` makes it finish what is under way, when `drain` begins or the `peer` leaves.
pub(super) async fn until_over<C, E>(
    mut conn: Pin<&mut C>,
    drain: &Drain,
    shut: impl Fn(Pin<&mut C>),
    rests: &AtomicBool,
    peer: impl Fn() -> Peer,
) -> Result<Pause, String>
where
    C: Future<Output = Result<(), E>>,
    E: std::error::Error,
{
    let over = |result: Result<(), E>| result.map(|()| Pause::Over).map_err(|error| error.to_string());
    let mut begun = pin!(drain.begun());
    let (mut is_waiting, mut is_told) = (false, false);
    poll_fn(|cx| {
        if let Poll::Ready(result) = conn.as_mut().poll(cx) {
            return Poll::Ready(over(result));
        }
        if rests.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(Pause::Rests));
        }
        match peer() {
            Peer::Welcome => {}
            Peer::Leaves if is_told => {}
            Peer::Leaves => {
                is_told = true;
                shut(conn.as_mut());
                return conn.as_mut().poll(cx).map(over);
            }
            // Without a goodbye: who means no good would not heed it.
            Peer::Unwelcome => return Poll::Ready(Err("the peer is not welcome any more".into())),
        }
        // A task's waker stays the same, so it is enough to register it once: polling again would take a lock a request.
        if !is_told && (!is_waiting || drain.has_begun()) {
            is_waiting = true;
            if begun.as_mut().poll(cx).is_ready() {
                is_told = true;
                shut(conn.as_mut());
                return conn.as_mut().poll(cx).map(over);
            }
        }
        Poll::Pending
    })
    .await
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
