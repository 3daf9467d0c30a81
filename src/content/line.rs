//! A line before what may be slow, or never answer: so many are let in at once, so many more wait for their turn, and whoever comes then is told so.
//!
//! ```text
//!   turn()  ->  room?  no: refused
//!               yes    ->  a place, at once or when one is free  ->  Turn: both are given back when it is dropped
//! ```

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::telemetry::{Inside, ReadOf, Telemetry};

/// A line of its own for each thing that is waited for, so that nobody waits for what he does not ask for.
#[derive(Debug)]
pub struct Line {
    of: ReadOf,
    places: Semaphore,
    /// For those who have a place and those who wait.
    room: Semaphore,
    telemetry: Arc<Telemetry>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    _place: SemaphorePermit<'a>,
    _room: SemaphorePermit<'a>,
    _under_way: Inside<'a>,
}

impl Line {
    /// Lets `at_once` in, and `waiting_max` wait.
    pub fn new(of: ReadOf, at_once: usize, waiting_max: usize, telemetry: Arc<Telemetry>) -> Line {
        Line { of, places: Semaphore::new(at_once), room: Semaphore::new(at_once + waiting_max), telemetry }
    }

    /// A place, after those who came before; `None` if too many wait. Dropping the future leaves the line.
    pub async fn turn(&self) -> Option<Turn<'_>> {
        let Ok(room) = self.room.try_acquire() else {
            self.telemetry.reads_refused.at(self.of).inc();
            return None;
        };
        let place = match self.places.try_acquire() {
            Ok(place) => place,
            Err(_) => {
                let _waiting = self.telemetry.reads_waiting.at(self.of).enter();
                self.places.acquire().await.ok()?
            }
        };
        let under_way = self.telemetry.reads_under_way.at(self.of).enter();
        Some(Turn { _place: place, _room: room, _under_way: under_way })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn so_many_are_let_in_so_many_wait_and_the_next_is_refused() {
        let telemetry = Arc::<Telemetry>::default();
        let line = Arc::new(Line::new(ReadOf::File, 2, 1, Arc::clone(&telemetry)));
        let counts = || {
            let of = ReadOf::File;
            (
                telemetry.reads_under_way.at(of).get(),
                telemetry.reads_waiting.at(of).get(),
                telemetry.reads_refused.at(of).get(),
            )
        };
        let first = line.turn().await.unwrap();
        let _second = line.turn().await.unwrap();
        let third = {
            let line = Arc::clone(&line);
            tokio::spawn(async move { line.turn().await.is_some() })
        };
        while counts().1 == 0 {
            tokio::task::yield_now().await;
        }
        assert!(line.turn().await.is_none());
        assert_eq!(counts(), (2, 1, 1));
        drop(first);
        assert!(third.await.unwrap());
        assert_eq!(counts(), (1, 0, 1));
        // Who leaves the line makes room in it.
        let _again = line.turn().await.unwrap();
        for _ in 0..3 {
            let mut waiting = Box::pin(line.turn());
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            assert_eq!(counts(), (2, 1, 1));
        }
        assert_eq!(counts(), (2, 0, 1));
    }
}
