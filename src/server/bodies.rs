//! Answers under way on a connection. In HTTP/1 they say that it does not rest. In HTTP/2 the socket tells nothing of them: a peer
//! that opens no flow-control window (RFC 9113 §5.2), or one of a few bytes, takes next to nothing of an answer, though the socket takes every
//! frame that is written, and frames of other answers.
//!
//! ```text
//!   HTTP/1   request -> Share -> answer -> hyper            until it is made: then it is written at once
//!   HTTP/2   request -> Share -> answer -> Watched<Body> -> hyper -> WatchedData -> h2's queue -> socket
//!                                          an Answer        the same one, and every byte given and taken is noted
//! ```
//!
//! Of each answer the connection's timer notes how many periods the peer has taken too little of it:
//!
//! ```text
//!   all that there was of it, or TAKEN_BYTES_MIN since the first of them   -> none
//!   neither, though the socket took something, or could have               -> one more
//!
//!   one answer is late: so many periods as the write deadline has          -> Late: GOAWAY; the others are finished, new requests go elsewhere
//!   ... twice as many, or all that are under way are late                  -> Over: the connection is closed
//! ```
//!
//! A stream can't be reset from here: its task in hyper waits for the window and asks for nothing else, and frames that are queued go with the
//! connection.

use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};

/// What a peer takes of an answer at least within the write deadline, or all that is left: less is no player's speed, and keeps bodies in memory.
pub const TAKEN_BYTES_MIN: u64 = 16 * 1024;

/// The answers of one connection that are under way.
#[derive(Debug, Default)]
pub struct Bodies {
    /// Those being made included.
    under_way: AtomicUsize,
    /// Of those that are watched. Locked once an answer, and once a period of the timer.
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

/// What the timer knows of an answer.
#[derive(Debug)]
struct Record {
    answer: Weak<Answer>,
    /// Bytes that had been taken of it when its deadline began.
    taken: u64,
    /// Periods that have passed since; `None`: it has not begun.
    periods: Option<u32>,
}

/// An answer whose body is watched, until the last byte of it was taken.
#[derive(Debug)]
struct Answer {
    /// Bytes that there are of it so far,
    given: AtomicU64,
    /// and of them those that were taken.
    taken: AtomicU64,
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

    /// To be called each period of the timer: how answers are taken of which each is late after `periods_max` of them, not counting this one
    /// if the socket took nothing of any because it was full (`was_full`).
    pub fn look(&self, periods_max: u32, was_full: bool) -> Pace {
        let (mut late, mut longest) = (0, 0);
        self.records().retain_mut(|record| {
            let Some(answer) = record.answer.upgrade() else { return false };
            let periods = record.look(&answer, was_full);
            late += usize::from(periods >= periods_max);
            longest = longest.max(periods);
            true
        });
        if late == 0 {
            return Pace::Fine;
        }
        if longest >= periods_max.saturating_mul(2) || late >= self.under_way.load(Ordering::Relaxed) {
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
        records.push(Record { answer: Arc::downgrade(answer), taken: 0, periods: None });
    }

    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    /// Counts one period more, or begins anew.
    fn look(&mut self, answer: &Answer, was_full: bool) -> u32 {
        let given = answer.given.load(Ordering::Relaxed);
        let taken = answer.taken.load(Ordering::Relaxed);
        self.periods = match self.periods {
            // What has not come from an encoder yet can't be taken.
            _ if taken >= given => None,
            Some(_) if taken - self.taken >= TAKEN_BYTES_MIN => Some(0),
            Some(periods) => Some(periods + u32::from(!was_full)),
            None => Some(0),
        };
        let Some(periods @ 1..) = self.periods else {
            self.taken = taken;
            return 0;
        };
        periods
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// `body`, which is the answer's, under way while there is anything of it.
    pub fn watch<B: Body>(self, body: B) -> Watched<B> {
        let answer = (!body.is_end_stream()).then(|| {
            let bodies = self.0.clone();
            let answer = Arc::new(Answer { given: AtomicU64::new(0), taken: AtomicU64::new(0), _share: self });
            bodies.record(&answer);
            answer
        });
        Watched { body, answer }
    }
}

/// A body that is counted until its last byte was taken.
#[derive(Debug)]
pub struct Watched<B> {
    body: B,
    answer: Option<Arc<Answer>>,
}

/// Data of a body that is counted.
#[derive(Debug)]
pub struct WatchedData<D> {
    data: D,
    answer: Option<Arc<Answer>>,
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = WatchedData<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<WatchedData<B::Data>>, B::Error>>> {
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

impl<D: Buf> Buf for WatchedData<D> {
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
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};

    const ENOUGH: usize = TAKEN_BYTES_MIN as usize;

    fn body(bodies: &Arc<Bodies>, len: usize) -> Watched<Full<Bytes>> {
        bodies.begin().watch(Full::new(Bytes::from(vec![7; len])))
    }

    /// All of `body`, to be taken.
    async fn data(mut body: Watched<Full<Bytes>>) -> WatchedData<Bytes> {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    fn looks(bodies: &Bodies, count: usize) -> Vec<Pace> {
        (0..count).map(|_| bodies.look(2, false)).collect()
    }

    use Pace::{Fine, Late, Over};

    #[tokio::test]
    async fn an_answer_is_late_until_enough_is_taken_and_gone_with_its_data() {
        let bodies = Arc::<Bodies>::default();
        let mut taken = data(body(&bodies, ENOUGH + 1)).await;
        assert_eq!(looks(&bodies, 3), [Fine, Fine, Over], "it has only begun at the first look");
        taken.advance(1);
        assert_eq!(looks(&bodies, 1), [Over], "a byte is not enough");
        taken.advance(ENOUGH - 1);
        assert_eq!(looks(&bodies, 3), [Fine, Fine, Over]);
        drop(taken);
        assert_eq!(looks(&bodies, 3), [Fine; 3]);
        assert!(!bodies.are_under_way() && !bodies.are_leaving());
        let _nothing = bodies.begin().watch(Empty::<Bytes>::new());
        assert!(!bodies.are_under_way());
    }

    #[tokio::test]
    async fn an_answer_that_was_taken_of_excused_all_others() {
        let bodies = Arc::<Bodies>::default();
        let (_stuck, mut taken) = (data(body(&bodies, 1)).await, data(body(&bodies, 10 * ENOUGH)).await);
        let mut paces = Vec::new();
        for _ in 0..5 {
            paces.push(bodies.look(2, false));
            taken.advance(ENOUGH);
        }
        assert_eq!(paces, [Fine, Fine, Late, Late, Over]);
        assert!(bodies.are_leaving());
    }

    #[tokio::test]
    async fn late_answers_alone_are_not_waited_for_but_one_that_is_being_made_is() {
        let bodies = Arc::<Bodies>::default();
        let (_stuck, made) = (data(body(&bodies, 1)).await, bodies.begin());
        assert_eq!(looks(&bodies, 3), [Fine, Fine, Late]);
        drop(made);
        assert_eq!(looks(&bodies, 1), [Over]);
    }

    #[tokio::test]
    async fn a_full_socket_is_no_fault_of_an_answer() {
        let bodies = Arc::<Bodies>::default();
        let _stuck = data(body(&bodies, 1)).await;
        assert_eq!(looks(&bodies, 2), [Fine; 2]);
        assert!((0..9).all(|_| bodies.look(2, true) == Fine));
        assert_eq!(looks(&bodies, 1), [Over]);
    }

    #[tokio::test]
    async fn what_has_not_come_yet_is_not_missed() {
        let bodies = Arc::<Bodies>::default();
        let (give, given) = tokio::sync::mpsc::channel(1);
        let mut growing = bodies.begin().watch(crate::origin::object::Body::growing(given));
        assert_eq!(looks(&bodies, 9), [Fine; 9]);
        give.send(Some(crate::rope::Rope::from(Bytes::from_static(b"piece")))).await.unwrap();
        let mut piece = growing.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(looks(&bodies, 3), [Fine, Fine, Over]);
        piece.advance(5);
        assert_eq!(looks(&bodies, 9), [Fine; 9]);
    }

    #[test]
    fn records_of_answers_that_are_over_make_room() {
        let bodies = Arc::<Bodies>::default();
        let kept: Vec<_> = (0..10).map(|_| body(&bodies, 1)).collect();
        (0..10_000).for_each(|_| drop(body(&bodies, 1)));
        assert!(bodies.records().capacity() <= 64, "{}", bodies.records().capacity());
        drop(kept);
        bodies.look(1, false);
        assert!(bodies.records().is_empty());
    }
}
