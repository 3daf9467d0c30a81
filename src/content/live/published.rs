//! What viewers see of a channel, and whoever waits for the next state of it.
//!
//! ```text
//!   a push, on a thread of its own  ->  state  ->  relay, a task  ->  v, parts    |  all that wait for a part of v
//!                                                                     v, chunks   |  all that send what grows of v
//!                                                                     a, parts    |  nobody is woken who waits for another track
//! ```
//!
//! A thread that is none of the runtime's pays a system call for each task it wakes; a task that wakes another pays a place in a queue. Ten thousand
//! may wait for one state.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::media::live::{Broadcast, LiveTrack, OpenSegment};

/// The newest state of a broadcast.
#[derive(Debug)]
pub(super) struct Published {
    state: watch::Sender<Arc<Broadcast>>,
    awaited: Arc<Awaited>,
    has_relay: AtomicBool,
}

/// What is waited for now.
type Awaited = Mutex<Vec<Arc<Steps>>>;

/// What somebody waits for of a track. The end of the broadcast, and that something else holds of all of it, is one for everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A part or a segment that is whole, or the first that viewers are told of one.
    Part,
    /// Whatever comes.
    Chunk,
}

/// The steps of a track that somebody waits for.
#[derive(Debug)]
struct Steps {
    track: String,
    step: Step,
    state: watch::Sender<Arc<Broadcast>>,
}

impl Published {
    pub(super) fn new(first: &Arc<Broadcast>) -> Published {
        Published {
            state: watch::Sender::new(Arc::clone(first)),
            awaited: Arc::default(),
            has_relay: AtomicBool::new(false),
        }
    }

    pub(super) fn newest(&self) -> Arc<Broadcast> {
        Arc::clone(&self.state.borrow())
    }

    /// `state` follows, if it is a later one.
    pub(super) fn follow_with(&self, state: &Arc<Broadcast>) {
        pass_on(state, &self.state, |_| true);
    }

    /// Tells of every such `step` of the tracks called `track`, beginning with the newest state. What is there then may be a later one.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub(super) fn subscribe(&self, track: &str, step: Step) -> watch::Receiver<Arc<Broadcast>> {
        let (steps, subscribed) = {
            let mut awaited = lock(&self.awaited);
            let known = awaited.iter().find(|steps| steps.step == step && steps.track == track).map(Arc::clone);
            let steps = known.unwrap_or_else(|| {
                let steps = Arc::new(Steps { track: track.to_owned(), step, state: watch::Sender::new(self.newest()) });
                awaited.push(Arc::clone(&steps));
                steps
            });
            // Under the lock, else the relay may find that nobody waits.
            let subscribed = steps.state.subscribe();
            (steps, subscribed)
        };
        // The relay may be behind, or have looked before.
        steps.pass_on(&self.newest());
        if !self.has_relay.swap(true, Ordering::Relaxed) {
            tokio::spawn(relay(self.state.subscribe(), Arc::clone(&self.awaited)));
        }
        subscribed
    }

    /// How many have subscribed.
    pub(super) fn subscribed(&self) -> usize {
        lock(&self.awaited).iter().map(|steps| steps.state.receiver_count()).sum()
    }
}

/// Passes every state on, until there will be no other.
async fn relay(mut states: watch::Receiver<Arc<Broadcast>>, awaited: Arc<Awaited>) {
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        // Who comes while others are woken stands in no line.
        let still = {
            let mut awaited = lock(&awaited);
            awaited.retain(|steps| steps.state.receiver_count() > 0);
            awaited.clone()
        };
        still.iter().for_each(|steps| steps.pass_on(&state));
        drop((state, still));
        if states.changed().await.is_err() {
            return;
        }
    }
}

impl Steps {
    fn pass_on(&self, state: &Arc<Broadcast>) {
        pass_on(state, &self.state, |last| self.is_one(last, state));
    }

    /// Whether there is a step between `last` and `state`: whatever a wait goes by is looked at here.
    fn is_one(&self, last: &Broadcast, state: &Broadcast) -> bool {
        let is_of_all = last.ended != state.ended || last.timing != state.timing;
        is_of_all
            || match self.step {
                Step::Part => !self.is_same(last, state, |track| told(track)),
                Step::Chunk => !self.is_same(last, state, Arc::as_ptr),
            }
    }

    fn is_same<'a, T: PartialEq>(
        &self,
        last: &'a Broadcast,
        state: &'a Broadcast,
        of: impl Fn(&'a Arc<LiveTrack>) -> T,
    ) -> bool {
        let tracks = |broadcast: &'a Broadcast| broadcast.tracks_called(&self.track).map(|(_, track)| of(track));
        tracks(last).eq(tracks(state))
    }
}

/// What of `track` is another when a part or a segment of it has come.
fn told(track: &LiveTrack) -> impl PartialEq {
    let open = track.open.as_ref().map(|open| {
        let OpenSegment { number, time, due, is_torn, is_over, parts, .. } = &**open;
        (number, time, due, is_torn, is_over, parts)
    });
    let last = track.segments.last().map(Arc::as_ptr);
    (Arc::as_ptr(&track.face), last, track.next_number, track.next_part_time(), open)
}

/// Puts `state` in place of an earlier one; who waits is woken if `is_news`.
fn pass_on(state: &Arc<Broadcast>, to: &watch::Sender<Arc<Broadcast>>, is_news: impl FnOnce(&Broadcast) -> bool) {
    to.send_if_modified(|last| {
        let is_news = last.sequence < state.sequence && is_news(last);
        if last.sequence < state.sequence {
            *last = Arc::clone(state);
        }
        is_news
    });
}

fn lock(awaited: &Awaited) -> MutexGuard<'_, Vec<Arc<Steps>>> {
    awaited.lock().unwrap_or_else(PoisonError::into_inner)
}
