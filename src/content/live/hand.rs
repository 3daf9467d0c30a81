//! What a disk is asked to do is waited for, but not without end: live goes on without it.
//!
//! ```text
//!   ask(job) -> thread: job(what) -> what comes back: the answer
//!            -> what does not come back in time: an error, and one for whoever asks before it does
//! ```
//!
//! So at most one job is under way, and nothing gathers behind it. Nor is a disk waited for all the time that is never late by itself: who has waited half
//! of the time for a while waits no more until it is less.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A thing that a thread works on.
#[derive(Debug)]
pub struct Hand<T> {
    /// While nothing is done with it.
    here: Option<T>,
    jobs: Sender<(T, Job<T>)>,
    back: Receiver<T>,
    patience: Duration,
    /// How long it was waited for, as of `counted`, less half of the time that has passed.
    waited: Duration,
    counted: Instant,
}

impl<T: Send + 'static> Hand<T> {
    /// Of `what`; jobs are waited for as long as `patience` says.
    pub fn of(what: T, patience: Duration) -> io::Result<Hand<T>> {
        let (jobs, coming) = mpsc::channel::<(T, Job<T>)>();
        let (done, back) = mpsc::channel();
        let work = move || {
            for (mut what, job) in coming {
                job(&mut what);
                if done.send(what).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("spool".to_owned()).spawn(work)?;
        Ok(Hand { here: Some(what), jobs, back, patience, waited: Duration::ZERO, counted: Instant::now() })
    }

    /// Has `job` done. An error: it was not in time, which it may be yet; or the one before was not, and it was not begun.
    pub fn ask<R: Send + 'static>(&mut self, job: impl FnOnce(&mut T) -> R + Send + 'static) -> io::Result<R> {
        self.ask_within(self.patience, job)
    }

    /// Likewise, which is waited for an eighth as long: there are others to be asked.
    pub fn ask_briefly<R: Send + 'static>(&mut self, job: impl FnOnce(&mut T) -> R + Send + 'static) -> io::Result<R> {
        self.ask_within(self.patience / 8, job)
    }

    fn ask_within<R: Send + 'static>(
        &mut self,
        most: Duration,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> io::Result<R> {
        let began = Instant::now();
        self.waited = self.waited.saturating_sub(began.duration_since(self.counted) / 2);
        self.counted = began;
        let patience = self.patience.saturating_sub(self.waited).min(most);
        let done = self.have_done(began + patience, job);
        self.waited += began.elapsed();
        done
    }

    fn have_done<R: Send + 'static>(
        &mut self,
        until: Instant,
        job: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> io::Result<R> {
        let late = |what| io::Error::new(io::ErrorKind::TimedOut, what);
        let left = || until.saturating_duration_since(Instant::now());
        let what = self.here.take().or_else(|| self.back.recv_timeout(left()).ok());
        let what = what.ok_or_else(|| late("what was asked before is not done yet"))?;
        let (say, said) = mpsc::sync_channel(1);
        let job: Job<T> = Box::new(move |what| {
            // Nobody listens any more to who is late.
            let _ = say.send(job(what));
        });
        let ended = || io::Error::other("the thread that does it has ended");
        self.jobs.send((what, job)).map_err(|_| ended())?;
        let what = self.back.recv_timeout(left());
        self.here = Some(what.map_err(|_| late("it took too long"))?);
        said.recv().map_err(|_| ended())
    }

    /// Whether it was waited for so little lately that it may be trusted again.
    pub fn is_rested(&self) -> bool {
        self.waited.saturating_sub(self.counted.elapsed() / 2) <= self.patience / 2
    }

    /// Ends it, once what is under way is done; whether that was in time. Else it goes on.
    pub fn end(&mut self) -> bool {
        self.here = self.here.take().or_else(|| self.back.recv_timeout(self.patience).ok());
        self.here.is_some()
    }

    /// Works on what `change` makes of it.
    #[cfg(test)]
    pub fn map(&mut self, change: impl FnOnce(T) -> T) {
        self.here = self.here.take().map(change);
    }

    /// Waits for jobs so long from now on.
    #[cfg(test)]
    pub fn wait(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Waits for what is under way.
    #[cfg(test)]
    pub fn settle(&mut self) {
        self.here = self.here.take().or_else(|| self.back.recv().ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_never_late_and_never_done_was_waited_for_all_the_time() {
        let mut hand = Hand::of((), Duration::from_secs(60)).expect("a thread");
        hand.ask(|()| thread::sleep(Duration::from_millis(20))).expect("it is waited for");
        assert!(hand.waited >= Duration::from_millis(20) && hand.is_rested());
        // As long as it is waited for at most, and none of it is forgotten yet.
        (hand.waited, hand.counted) = (Duration::from_secs(120), Instant::now());
        let (go, held) = mpsc::channel::<()>();
        let late = hand.ask(move |()| held.recv()).expect_err("it is waited for no more");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert!(!hand.is_rested());
        drop(go);
        hand.waited = Duration::from_secs(30);
        assert!(hand.is_rested());
    }

    #[test]
    fn who_is_late_is_not_waited_for_and_nothing_gathers_behind_him() {
        let mut hand = Hand::of(Vec::new(), Duration::from_secs(60)).expect("a thread");
        let push = |number: i32| {
            move |list: &mut Vec<i32>| {
                list.push(number);
                list.clone()
            }
        };
        assert_eq!(hand.ask(push(1)).expect("done"), [1]);
        hand.wait(Duration::from_millis(1));
        let (go, held) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel::<()>();
        let late = hand.ask(move |list| {
            let _ = held.recv();
            list.push(2);
            let _ = end.send(());
        });
        assert_eq!(late.expect_err("held").kind(), io::ErrorKind::TimedOut);
        assert_eq!(hand.ask(push(3)).expect_err("not begun").to_string(), "what was asked before is not done yet");
        go.send(()).expect("it waits");
        ended.recv().expect("it went on");
        hand.wait(Duration::from_secs(60));
        hand.settle();
        assert_eq!(hand.ask(push(4)).expect("done"), [1, 2, 4]);
    }
}
