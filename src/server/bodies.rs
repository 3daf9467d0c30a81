//! Answers under way on a connection. In HTTP/1 they say that it does not rest. In HTTP/2 the socket tells nothing of them: a peer
//! that opens no flow-control window (RFC 9113 §5.2), or one of a few bytes, takes next to nothing of an answer, though the socket takes every
//! frame that is written, and frames of other answers.
//!
//! ```text
//!   HTTP/1   request -> Share -> answer -> hyper            until it is made: then it is written at once, and the socket tells how it is taken;
//!                                                           what has a limit of its own (live) goes as below, unless it is small
//!   HTTP/2   request -> Share -> answer -> Watched<Body> -> hyper -> WatchedData -> h2's queue -> socket
//!                                          an Answer        the same one, and every byte given and taken is noted
//! ```
//!
//! Of each answer that is watched the connection's timer notes two times, in periods:
//!
//! ```text
//!   waits    since all was taken that there was of it, or TAKEN_BYTES_MIN; not while the socket takes nothing of any
//!   behind   since all was taken that there was of it, or it began
//!
//!   waits for the write deadline (HTTP/2), or behind for its own limit     -> it is late: GOAWAY, others are finished, new requests go elsewhere
//!   late for the write deadline, or all that are under way are late        -> Over: the connection is closed
//! ```
//!
//! A stream can't be reset from here: its task in hyper waits for the window and asks for nothing else, and frames that are queued go with the
//! connection.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

use crate::origin::object;
use crate::rope::RopeBuf;

/// What a peer takes of an answer at least within the write deadline, or all that is left: less is no player's speed, and keeps bodies in memory.
pub const TAKEN_BYTES_MIN: u64 = 16 * 1024;

/// The answers of one connection that are under way.
#[derive(Debug, Default)]
pub struct Bodies {
    /// Those being made included.
    under_way: AtomicUsize,
    /// Of those that are watched. Locked once for each of them, and once a period of the timer.
    records: Mutex<Vec<Record>>,
    is_leaving: AtomicBool,
}

/// How a connection's peer takes what it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// Fast enough.
    Fine,
    /// An answer is late: the others are finished, and nothing more is to be asked for.
    Late,
    /// One is late for too long, or all are.
    Over,
}

/// What the timer goes by.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Since the last time.
    pub period: Duration,
    /// The write deadline.
    pub write: Duration,
    /// Whether each answer has it, because the socket does not tell of them: HTTP/2.
    pub is_of_each: bool,
    /// Whether the socket took nothing in this period, because it was full: that is no fault of any answer.
    pub was_full: bool,
}

/// What the timer knows of an answer.
#[derive(Debug)]
struct Record {
    answer: Weak<Answer>,
    /// Bytes that had been taken of it when it began to wait.
    taken: u64,
    /// For how many periods it has waited for its peer, and he has been behind; `None`: he took all that there was.
    times: Option<(u32, u32)>,
}

/// An answer whose body is watched, until the last byte of it was taken.
#[derive(Debug)]
struct Answer {
    /// Bytes that there are of it so far,
    given: AtomicU64,
    /// and of them those that were taken.
    taken: AtomicU64,
    /// How long its peer may be behind; `None`: as long as he goes on.
    within: Option<Duration>,
    _share: Share,
}

/// One answer's share in the count.
#[derive(Debug)]
pub struct Share(Arc<Bodies>);

// Counts are looked at by the connection's own timer, seconds later; they order nothing else.
impl Bodies {
    /// A share for an answer that is being made.
    pub fn begin(self: &Arc<Bodies>) -> Share {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Share(self.clone())
    }

    /// Whether there are any.
    pub fn are_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }

    /// Whether one was late, so that nothing more is to be asked for on the connection.
    pub fn are_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// How answers are taken, to be called each period of the timer.
    pub fn look(&self, look: Look) -> Pace {
        let (mut late, mut longest) = (0, Duration::ZERO);
        self.records().retain_mut(|record| {
            let Some(answer) = record.answer.upgrade() else { return false };
            if let Some(by) = record.late_by(&answer, look) {
                late += 1;
                longest = longest.max(by);
            }
            true
        });
        if late == 0 {
            return Pace::Fine;
        }
        if longest >= look.write || late >= self.under_way.load(Ordering::Relaxed) {
            return Pace::Over;
        }
        self.is_leaving.store(true, Ordering::Relaxed);
        Pace::Late
    }

    /// Keeps a record of `answer`. There are at most four times as many as answers under way, which h2 bounds.
    fn record(&self, answer: &Arc<Answer>) {
        let mut records = self.records();
        if records.len() == records.capacity() {
            records.retain(|record| record.answer.strong_count() > 0);
            let kept = records.len();
            records.reserve(kept + 1);
        }
        records.push(Record { answer: Arc::downgrade(answer), taken: 0, times: None });
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Counts one period more, or begins anew; by how much it is late.
    fn late_by(&mut self, answer: &Answer, look: Look) -> Option<Duration> {
        let given = answer.given.load(Ordering::Relaxed);
        let taken = answer.taken.load(Ordering::Relaxed);
        self.times = match self.times {
            // What has not come from an encoder yet can't be taken.
            _ if taken >= given => None,
            None => Some((0, 0)),
            Some((_, behind)) if taken - self.taken >= TAKEN_BYTES_MIN => Some((0, behind + 1)),
            Some((waits, behind)) => Some((waits + u32::from(!look.was_full), behind + 1)),
        };
        let (waits, behind) = self.times?;
        if waits == 0 {
            self.taken = taken;
        }
        let by = |periods, limit| (look.period * periods).checked_sub(limit);
        let by_write = look.is_of_each.then(|| by(waits, look.write)).flatten();
        by_write.max(answer.within.and_then(|within| by(behind, within)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// `body`, which is the answer's, under way while there is anything of it.
    pub fn watch(self, body: object::Body) -> Watched {
        let answer = (!body.is_end_stream()).then(|| {
            let bodies = self.0.clone();
            let (given, taken) = (AtomicU64::new(0), AtomicU64::new(0));
            let answer = Arc::new(Answer { given, taken, within: body.sent_within(), _share: self });
            bodies.record(&answer);
            answer
        });
        Watched { body, answer }
    }

    /// The same, if `body` has a limit of its own; else it is left to who sees the socket, and so is one of which all is to be taken within
    /// `write`, the write deadline, because it is small.
    pub fn watch_limited(self, body: object::Body, write: Duration) -> Watched {
        let is_small = body.size_hint().exact().is_some_and(|bytes| bytes <= TAKEN_BYTES_MIN);
        let has_own = body.sent_within().is_some_and(|within| !is_small || within < write);
        if has_own { self.watch(body) } else { Watched { body, answer: None } }
    }
}

/// A body that is counted until its last byte was taken.
#[derive(Debug)]
pub struct Watched {
    body: object::Body,
    answer: Option<Arc<Answer>>,
}

/// Data of a body that is counted.
#[derive(Debug)]
pub struct WatchedData {
    data: RopeBuf,
    answer: Option<Arc<Answer>>,
}

impl Body for Watched {
    type Data = WatchedData;
    type Error = object::Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<WatchedData>, object::Aborted>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let answer = &self.answer;
        frame.map_ok(|frame| {
            frame.map_data(|data| {
                if let Some(answer) = answer {
                    answer.given.fetch_add(data.remaining() as u64, Ordering::Relaxed);
                }
                WatchedData { data, answer: answer.clone() }
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Buf for WatchedData {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(dst)
    }

    fn advance(&mut self, count: usize) {
        if let Some(answer) = &self.answer {
            answer.taken.fetch_add(count as u64, Ordering::Relaxed);
        }
        self.data.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rope::Rope;
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    use Pace::{Fine, Late, Over};

    const ENOUGH: usize = TAKEN_BYTES_MIN as usize;
    const PERIOD: Duration = Duration::from_secs(5);
    /// Of an answer that is late after two periods.
    const LOOK: Look = Look { period: PERIOD, write: Duration::from_secs(10), is_of_each: true, was_full: false };

    fn body(bodies: &Arc<Bodies>, len: usize) -> Watched {
        bodies.begin().watch(object::Body::new(Rope::from(Bytes::from(vec![7; len]))))
    }

    /// What there is of `body`, to be taken.
    async fn data(body: &mut Watched) -> WatchedData {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    fn looks(bodies: &Bodies, count: usize) -> Vec<Pace> {
        (0..count).map(|_| bodies.look(LOOK)).collect()
    }

    #[tokio::test]
    async fn an_answer_is_late_until_enough_is_taken_and_gone_with_its_data() {
        let bodies = Arc::<Bodies>::default();
        let mut taken = data(&mut body(&bodies, ENOUGH + 1)).await;
        assert_eq!(looks(&bodies, 3), [Fine, Fine, Over], "it has only begun at the first look");
        taken.advance(1);
        assert_eq!(looks(&bodies, 1), [Over], "a byte is not enough");
        taken.advance(ENOUGH - 1);
        assert_eq!(looks(&bodies, 3), [Fine, Fine, Over]);
        drop(taken);
        assert_eq!(looks(&bodies, 3), [Fine; 3]);
        assert!(!bodies.are_under_way() && !bodies.are_leaving());
        let _nothing = bodies.begin().watch(object::Body::empty());
        assert!(!bodies.are_under_way());
    }

    #[tokio::test]
    async fn an_answer_that_was_taken_of_excused_all_others() {
        let bodies = Arc::<Bodies>::default();
        let (_stuck, mut taken) = (data(&mut body(&bodies, 1)).await, data(&mut body(&bodies, 10 * ENOUGH)).await);
        let mut paces = Vec::new();
        for _ in 0..5 {
            paces.push(bodies.look(LOOK));
            taken.advance(ENOUGH);
        }
        assert_eq!(paces, [Fine, Fine, Late, Late, Over]);
        assert!(bodies.are_leaving());
    }

    #[tokio::test]
    async fn late_answers_alone_are_not_waited_for_but_one_that_is_being_made_is() {
        let bodies = Arc::<Bodies>::default();
        let (_stuck, made) = (data(&mut body(&bodies, 1)).await, bodies.begin());
        assert_eq!(looks(&bodies, 3), [Fine, Fine, Late]);
        drop(made);
        assert_eq!(looks(&bodies, 1), [Over]);
    }

    #[tokio::test]
    async fn a_full_socket_is_no_fault_of_an_answer() {
        let bodies = Arc::<Bodies>::default();
        let _stuck = data(&mut body(&bodies, 1)).await;
        assert_eq!(looks(&bodies, 2), [Fine; 2]);
        assert!((0..9).all(|_| bodies.look(Look { was_full: true, ..LOOK }) == Fine));
        assert_eq!(looks(&bodies, 1), [Over]);
    }

    #[tokio::test]
    async fn a_limit_counts_while_something_is_taken_and_while_the_socket_is_full() {
        let limited = |bodies: &Arc<Bodies>| {
            let mut body = object::Body::new(Rope::from(Bytes::from(vec![7; 10 * ENOUGH])));
            body.limit(Some(4 * PERIOD));
            bodies.begin().watch_limited(body, LOOK.write)
        };
        for look in [LOOK, Look { is_of_each: false, was_full: true, ..LOOK }] {
            let bodies = Arc::<Bodies>::default();
            let (mut taken, made) = (data(&mut limited(&bodies)).await, bodies.begin());
            let paces = (0..7).map(|_| {
                taken.advance(ENOUGH);
                bodies.look(look)
            });
            assert_eq!(paces.collect::<Vec<_>>(), [Fine, Fine, Fine, Fine, Late, Late, Over]);
            drop(made);
        }
        let (bodies, whole) = (Arc::<Bodies>::default(), Bytes::from_static(b"on demand"));
        let _unlimited = bodies.begin().watch_limited(object::Body::new(Rope::from(whole.clone())), LOOK.write);
        let small = |within| {
            let mut body = object::Body::new(Rope::from(whole.clone()));
            body.limit(Some(within));
            bodies.begin().watch_limited(body, LOOK.write)
        };
        let _taken_by_then = small(LOOK.write);
        assert!(!bodies.are_under_way() && bodies.records().is_empty());
        let _sooner = small(LOOK.write - PERIOD);
        assert!(bodies.are_under_way());
    }

    #[tokio::test]
    async fn what_has_not_come_yet_is_not_missed() {
        let bodies = Arc::<Bodies>::default();
        let (give, given) = mpsc::channel(1);
        let mut growing = object::Body::growing(given);
        growing.limit(Some(2 * PERIOD));
        let mut growing = bodies.begin().watch(growing);
        for _ in 0..3 {
            assert_eq!(looks(&bodies, 9), [Fine; 9]);
            give.send(Some(Rope::from(Bytes::from_static(b"piece")))).await.unwrap();
            let mut piece = data(&mut growing).await;
            assert_eq!(looks(&bodies, 3), [Fine, Fine, Over]);
            piece.advance(5);
        }
    }

    #[test]
    fn records_of_answers_that_are_over_make_room() {
        let bodies = Arc::<Bodies>::default();
        let kept: Vec<_> = (0..10).map(|_| body(&bodies, 1)).collect();
        (0..10_000).for_each(|_| drop(body(&bodies, 1)));
        assert!(bodies.records().capacity() <= 64, "{}", bodies.records().capacity());
        drop(kept);
        bodies.look(LOOK);
        assert!(bodies.records().is_empty());
    }
}
