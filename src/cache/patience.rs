//! Waiting for what may take long, or never end, and is only there to be quick: so much at once, so long and no longer, and while one is late
//! nothing more is begun.
//!
//! ```text
//!   wait(work) -> is one late? has every place one? -> not begun
//!              -> done in time                      -> what it came to
//!              -> not                               -> it goes on, keeps its place, and is late until it ends
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// So much, and so long.
#[derive(Debug)]
pub struct Patience {
    places: Arc<Semaphore>,
    wait: Duration,
    /// Work that was not done in time, and is not yet.
    late: Arc<AtomicUsize>,
}

impl Patience {
    /// For `at_once` at a time, of which each is waited for as long as `wait` says, its turn included.
    pub fn new(at_once: usize, wait: Duration) -> Patience {
        Patience { places: Arc::new(Semaphore::new(at_once)), wait, late: Arc::default() }
    }

    /// Whether something is late, so that nothing is begun.
    pub fn is_over(&self) -> bool {
        self.late.load(Ordering::Relaxed) > 0
    }

    /// What `work` comes to; `None` if that is not known in time. What is begun goes on all the same, also when the future is dropped.
    pub async fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        if self.is_over() {
            return None;
        }
        let deadline = Instant::now() + self.wait;
        let place = timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()?;
        let mut working = tokio::spawn(async move {
            let _place = place;
            work.await
        });
        match timeout_at(deadline, &mut working).await {
            Ok(done) => done.ok(),
            Err(_) => {
                let late = Arc::clone(&self.late);
                late.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let _ = working.await;
                    late.fetch_sub(1, Ordering::Relaxed);
                });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn what_is_late_is_waited_for_once_and_nothing_begins_before_it_ends() {
        let patience = Patience::new(2, Duration::from_secs(1));
        assert_eq!(patience.wait(async { 1 }).await, Some(1));
        let (end, ended) = oneshot::channel::<()>();
        let began = Instant::now();
        assert_eq!(patience.wait(async { ended.await.is_ok() }).await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert!(patience.is_over());
        // There is a place, and it is not given away.
        assert_eq!(patience.wait(async { 2 }).await, None);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        end.send(()).unwrap();
        while patience.is_over() {
            tokio::task::yield_now().await;
        }
        assert_eq!(patience.wait(async { 3 }).await, Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_begun_than_there_are_places() {
        let patience = Patience::new(2, Duration::from_secs(1));
        let began = Arc::new(AtomicUsize::new(0));
        let hangs = || {
            let began = Arc::clone(&began);
            patience.wait(async move {
                began.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            })
        };
        let all = futures_util::future::join_all((0..10).map(|_| hangs())).await;
        assert!(all.iter().all(Option::is_none));
        assert_eq!(began.load(Ordering::Relaxed), 2);
        assert_eq!(patience.late.load(Ordering::Relaxed), 2);
    }
}
