//! The cache: key to shared value, weighed by the bytes it keeps alive; and flights, so that what many ask for is made once.
//! It knows no media.
//!
//! Lookup, eviction and flight are three things. Lookup and eviction are moka's. A flight is spawned: who asked first may
//! leave, and what was begun is made all the same, for the others and for the cache.

pub mod disk;
pub mod patience;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing::Instrument;

use crate::time::Utc;

/// What an entry costs beside what it holds: key, map slots, the policy's records.
const ENTRY_BYTES: u64 = 512;

/// A value that knows how many bytes of memory it keeps alive.
pub trait Weigh {
    /// Bytes kept alive, not bytes shown.
    fn weight(&self) -> u64;
}

/// Whether what was read is still so. One atomic, shared by all that was made of one source; whoever watches the source ends
/// it, and whoever serves looks at it once.
#[derive(Debug)]
pub struct Lease {
    ended: AtomicU64,
    /// Until when nobody has to look whether it should end.
    fresh_until: AtomicU64,
}

impl Default for Lease {
    fn default() -> Lease {
        Lease { ended: AtomicU64::new(u64::MAX), fresh_until: AtomicU64::new(u64::MAX) }
    }
}

impl Lease {
    /// Ends the lease, as of `now`; the first end counts.
    pub fn end(&self, now: Utc) {
        let _ = self.ended.compare_exchange(u64::MAX, now.0.min(u64::MAX - 1), Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Since when the source is another one; `None` while the lease lasts.
    pub fn ended(&self) -> Option<Utc> {
        let at = self.ended.load(Ordering::Relaxed);
        (at != u64::MAX).then_some(Utc(at))
    }

    /// Says that the source was what it was, and need not be looked at before `until`. One that nobody renews is watched all the time.
    pub fn renew(&self, until: Utc) {
        self.fresh_until.store(until.0, Ordering::Relaxed);
    }

    /// Whether the source need not be looked at, as of `now`.
    pub fn is_fresh(&self, now: Utc) -> bool {
        now.0 < self.fresh_until.load(Ordering::Relaxed)
    }

    /// Whether the source is what it was.
    pub fn is_live(&self) -> bool {
        self.ended().is_none()
    }
}

/// Why a flight brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlightError<E> {
    /// It ended with this.
    Failed(E),
    /// It was lost: the making panicked, or the runtime shut down.
    Lost,
}

type Landing<V, E> = watch::Receiver<Option<Result<Arc<V>, E>>>;
type Flights<V, E> = Arc<Mutex<HashMap<Arc<str>, Landing<V, E>>>>;

/// One class of objects: a map with a ceiling, and its flights.
pub struct Cache<V, E> {
    map: moka::future::Cache<Arc<str>, Arc<V>>,
    flights: Flights<V, E>,
    /// How often something was purged: what was begun before is not kept.
    purges: Arc<AtomicU64>,
    ceiling_bytes: u64,
}

impl<V, E> Clone for Cache<V, E> {
    /// The same cache.
    fn clone(&self) -> Cache<V, E> {
        let Cache { map, flights, purges, ceiling_bytes } = self;
        Cache { map: map.clone(), flights: flights.clone(), purges: purges.clone(), ceiling_bytes: *ceiling_bytes }
    }
}

impl<V, E> std::fmt::Debug for Cache<V, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("ceiling_bytes", &self.ceiling_bytes).finish_non_exhaustive()
    }
}

/// How a request came by its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It began the flight.
    Leader,
    /// It waited for one that was under way.
    Joined,
}

impl<V, E> Cache<V, E>
where
    V: Weigh + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    /// A cache that keeps up to `ceiling_bytes` alive.
    pub fn new(ceiling_bytes: u64) -> Cache<V, E> {
        let map = moka::future::Cache::builder()
            .max_capacity(ceiling_bytes)
            // moka weighs in u32: an object of 4 GiB and more is not kept at all by any ceiling that is not vast.
            .weigher(|key: &Arc<str>, value: &Arc<V>| {
                let bytes = value.weight() + key.len() as u64 + ENTRY_BYTES;
                u32::try_from(bytes).unwrap_or(u32::MAX)
            })
            .build();
        Cache { map, flights: Arc::default(), purges: Arc::default(), ceiling_bytes }
    }

    /// The value under `key`, if it is there.
    pub async fn get(&self, key: &str) -> Option<Arc<V>> {
        self.map.get(key).await
    }

    /// Puts `value` under `key`.
    pub async fn insert(&self, key: &str, value: Arc<V>) {
        self.map.insert(key.into(), value).await;
    }

    /// Makes the value of `key` by `making`, unless it is being made: then waits for that. What comes of it is kept. Nothing is
    /// made if a value that `will_do` lies there by now: a flight may have landed since the caller looked.
    ///
    /// Dropping the future leaves the flight under way.
    pub async fn make(
        &self,
        key: &str,
        will_do: impl FnOnce(&V) -> bool + Send + 'static,
        making: impl Future<Output = Result<Arc<V>, E>> + Send + 'static,
    ) -> (Role, Result<Arc<V>, FlightError<E>>) {
        let (role, mut landing) = self.board(key, will_do, making);
        let result = match landing.wait_for(Option::is_some).await {
            Ok(result) => result.clone().expect("waited for").map_err(FlightError::Failed),
            Err(_) => Err(FlightError::Lost),
        };
        (role, result)
    }

    fn board(
        &self,
        key: &str,
        will_do: impl FnOnce(&V) -> bool + Send + 'static,
        making: impl Future<Output = Result<Arc<V>, E>> + Send + 'static,
    ) -> (Role, Landing<V, E>) {
        let mut flights = lock(&self.flights);
        if let Some(landing) = flights.get(key) {
            return (Role::Joined, landing.clone());
        }
        let key: Arc<str> = key.into();
        let (sender, landing) = watch::channel(None);
        flights.insert(Arc::clone(&key), landing.clone());
        let ended = Ended { flights: Arc::clone(&self.flights), key: Arc::clone(&key) };
        let (map, purges) = (self.map.clone(), Arc::clone(&self.purges));
        let begun_at = purges.load(Ordering::SeqCst);
        let flight = async move {
            let result = match map.get(&key).await.filter(|value| will_do(value)) {
                Some(value) => Ok(value),
                None => {
                    let made = making.await;
                    if let Ok(value) = &made {
                        map.insert(Arc::clone(&key), Arc::clone(value)).await;
                        // A purge either finds it or is seen here.
                        if purges.load(Ordering::SeqCst) != begun_at {
                            map.invalidate(&key).await;
                        }
                    }
                    made
                }
            };
            // Off the board before it lands, so that who comes now finds the cache and not a flight that is over.
            drop(ended);
            let _ = sender.send(Some(result));
        };
        // In the trace of who asked first.
        tokio::spawn(flight.in_current_span());
        (Role::Leader, landing)
    }

    /// Forgets the values that are over.
    pub async fn forget(&self, is_over: impl Fn(&V) -> bool) {
        let over: Vec<Arc<Arc<str>>> =
            self.map.iter().filter(|(_, value)| is_over(value)).map(|(key, _)| key).collect();
        for key in over {
            self.map.invalidate(&**key).await;
        }
    }

    /// The values that are kept, in no order.
    pub fn values(&self) -> Vec<Arc<V>> {
        self.map.iter().map(|(_, value)| value).collect()
    }

    /// Forgets the values whose keys `matches`, also those that are being made; says how many were there.
    pub async fn purge(&self, matches: impl Fn(&str) -> bool) -> u64 {
        self.purges.fetch_add(1, Ordering::SeqCst);
        let keys: Vec<Arc<Arc<str>>> = self.map.iter().map(|(key, _)| key).filter(|key| matches(key)).collect();
        for key in &keys {
            self.map.invalidate(&***key).await;
        }
        keys.len() as u64
    }

    /// Number of flights under way.
    pub fn flights(&self) -> usize {
        lock(&self.flights).len()
    }

    /// Bytes and entries kept, as far as the policy has counted, and the ceiling in bytes.
    pub fn fill(&self) -> (u64, u64, u64) {
        (self.map.weighted_size(), self.map.entry_count(), self.ceiling_bytes)
    }

    /// Lets the policy catch up: evicts what a burst has put above the ceiling. To be called now and then.
    pub async fn settle(&self) {
        self.map.run_pending_tasks().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A map of flights is whole between any two statements, whoever panicked elsewhere.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a flight off the board when it ends, also by a panic.
struct Ended<V, E> {
    flights: Flights<V, E>,
    key: Arc<str>,
}

impl<V, E> Drop for Ended<V, E> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Notify;

    impl Weigh for Vec<u8> {
        fn weight(&self) -> u64 {
            self.capacity() as u64
        }
    }

    type Bytes = Cache<Vec<u8>, &'static str>;

    #[tokio::test]
    async fn many_ask_and_it_is_made_once_though_the_first_leaves() {
        let cache = Arc::new(Bytes::new(1 << 20));
        let made = Arc::new(AtomicUsize::new(0));
        let go = Arc::new(Notify::new());
        let ask = || {
            let (made, go, cache) = (Arc::clone(&made), Arc::clone(&go), Arc::clone(&cache));
            tokio::spawn(async move {
                let making = async move {
                    made.fetch_add(1, Ordering::Relaxed);
                    go.notified().await;
                    Ok(Arc::new(vec![1, 2, 3]))
                };
                cache.make("key", |_| true, making).await
            })
        };
        let first = ask();
        while made.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..20).map(|_| ask()).collect();
        first.abort();
        while !first.is_finished() {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for other in others {
            let (role, result) = other.await.expect("not aborted");
            // Who asked after the landing would begin anew; here all asked before.
            assert_eq!((role, result.expect("made").as_slice()), (Role::Joined, &[1, 2, 3][..]));
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert_eq!(cache.get("key").await.expect("kept").as_slice(), [1, 2, 3]);
        assert_eq!(cache.flights(), 0);
    }

    #[tokio::test]
    async fn a_failure_reaches_who_waited_and_is_not_kept() {
        let cache = Bytes::new(1 << 20);
        let (_, result) = cache.make("key", |_| true, async { Err("no") }).await;
        assert_eq!(result, Err(FlightError::Failed("no")));
        assert!(cache.get("key").await.is_none());
        let (_, result) = cache.make("key", |_| true, async { panic!("on purpose") }).await;
        assert_eq!(result, Err(FlightError::Lost));
        assert_eq!(cache.flights(), 0);
        let (_, result) = cache.make("key", |_| true, async { Ok(Arc::new(vec![7])) }).await;
        assert_eq!(result.expect("made").as_slice(), [7]);
    }

    #[tokio::test]
    async fn who_looked_before_a_landing_and_boards_after_it_makes_nothing() {
        let cache = Bytes::new(1 << 20);
        assert!(cache.get("key").await.is_none());
        cache.insert("key", Arc::new(vec![1])).await;
        let (_, result) = cache.make("key", |_| true, async { panic!("made again") }).await;
        assert_eq!(result.expect("there").as_slice(), [1]);
        let (_, result) = cache.make("key", |value| value[0] == 2, async { Ok(Arc::new(vec![2])) }).await;
        assert_eq!(result.expect("made").as_slice(), [2]);
        assert_eq!(cache.get("key").await.expect("kept").as_slice(), [2]);
    }

    #[tokio::test]
    async fn what_is_above_the_ceiling_is_evicted_and_its_memory_given_back() {
        let cache = Bytes::new(100 * 1024);
        let values: Vec<_> = (0..200).map(|_| Arc::new(vec![0; 1024])).collect();
        let weak: Vec<_> = values.iter().map(Arc::downgrade).collect();
        for (index, value) in values.into_iter().enumerate() {
            cache.insert(&index.to_string(), value).await;
        }
        let alive = || weak.iter().filter(|value| value.strong_count() > 0).count();
        // moka gives memory back when no reader can be left, which its own turns find out.
        for _ in 0..100 {
            cache.settle().await;
            if alive() <= 66 {
                break;
            }
            cache.insert("another", Arc::new(Vec::new())).await;
        }
        let alive = alive();
        assert!((40..=66).contains(&alive), "{alive} values of 1.5 KiB alive under a ceiling of 100 KiB");
        assert!(cache.fill().0 <= 100 * 1024);
    }

    #[tokio::test]
    async fn what_was_begun_before_a_purge_is_delivered_and_not_kept() {
        let cache = Bytes::new(1 << 20);
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        cache.insert("/a/1", Arc::new(vec![1])).await;
        cache.insert("/b/1", Arc::new(vec![2])).await;
        let making = {
            let (cache, began, go) = (cache.clone(), began.clone(), go.clone());
            tokio::spawn(async move {
                let making = async move {
                    began.notify_one();
                    go.notified().await;
                    Ok(Arc::new(vec![3]))
                };
                cache.make("/a/2", |_| true, making).await.1
            })
        };
        began.notified().await;
        assert_eq!(cache.purge(|key| key.starts_with("/a/")).await, 1);
        go.notify_one();
        assert_eq!(making.await.unwrap().expect("made").as_slice(), [3]);
        assert!(cache.get("/a/1").await.is_none() && cache.get("/a/2").await.is_none());
        assert_eq!(cache.get("/b/1").await.expect("of no concern").as_slice(), [2]);
        let (_, again) = cache.make("/a/2", |_| true, async { Ok(Arc::new(vec![4])) }).await;
        assert_eq!(again.expect("made").as_slice(), [4]);
        assert!(cache.get("/a/2").await.is_some());
    }

    #[test]
    fn a_lease_ends_once() {
        let lease = Lease::default();
        assert!(lease.is_live());
        lease.end(Utc(5));
        lease.end(Utc(9));
        assert_eq!(lease.ended(), Some(Utc(5)));
    }
}
