//! Requests to a storage: how many at once, for how long, and how often again. An answer is whole or an error.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ListResult, ObjectMeta, ObjectStore};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Instrument;

use crate::content::file::SourceError;
use crate::content::line::Line;
use crate::content::remote::index::IndexFolder;
use crate::content::remote::tag::Tag;
use crate::telemetry::{ReadOf, StorageOutcome, Telemetry};

/// How a storage is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Requests under way at once: a few hundred megabits at usual round trips. Others wait, and their time counts.
    pub requests_max: usize,
    /// Requests that wait for that: as many as would have their turn within `timeout` if each took all the time it may be silent. More would wait in
    /// vain, and are refused at once.
    pub waiting_max: usize,
    /// How often one thing is asked for: a storage that fails three times in a row is down or too busy to be asked more.
    pub attempts_max: u32,
    /// Until an answer begins, and between two pieces of it: longer than a slow request takes, short enough for another attempt.
    pub silence: Duration,
    /// For one read or listing, with all attempts: a player gives up after that.
    pub timeout: Duration,
    /// A request that has no answer after this percentile of the latest ones is sent a second time, and the first answer counts;
    /// `None`: never, since it costs requests.
    pub hedge: Option<u8>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            requests_max: 64,
            waiting_max: 256,
            attempts_max: 4,
            silence: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
            hedge: None,
        }
    }
}

/// The wait before a second attempt, twice as long before each further one, of which each waits a random part.
const BACKOFF: Duration = Duration::from_millis(50);
/// Its end.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Objects and folders of one listing: more is no folder of media that anybody looks after.
const LISTED_MAX: usize = 100_000;

/// A storage, or what lies in it under a prefix.
#[derive(Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    /// What all keys begin with.
    prefix: Path,
    /// Where it is, for people: no credentials are in it.
    url: String,
    options: Options,
    line: Line,
    latencies: Latencies,
    telemetry: Arc<Telemetry>,
    runtime: Handle,
    index: Option<Arc<IndexFolder>>,
}

/// A read under way: what came of it so far, and the tag that it had.
struct Reading {
    got: Vec<u8>,
    tag: Option<Tag>,
}

/// Why an attempt brought nothing.
enum Failure {
    /// Another one may.
    Passing(String),
    /// None will.
    Lasting(SourceError),
}

impl Store {
    /// What lies under `prefix` in `objects`, called `url`. To be called within a runtime, which does the waiting.
    pub fn new(
        objects: Arc<dyn ObjectStore>,
        prefix: Path,
        url: String,
        options: Options,
        telemetry: Arc<Telemetry>,
    ) -> Store {
        let line = Line::new(ReadOf::Storage, options.requests_max, options.waiting_max, Arc::clone(&telemetry));
        let runtime = Handle::current();
        Store { objects, prefix, url, options, line, latencies: Latencies::default(), telemetry, runtime, index: None }
    }

    /// The same, keeping in `index` what is read of objects when they are opened.
    pub fn with_index(self, index: Option<Arc<IndexFolder>>) -> Store {
        Store { index, ..self }
    }

    /// Where what is read of objects when they are opened is kept.
    pub fn index(&self) -> Option<&Arc<IndexFolder>> {
        self.index.as_ref()
    }

    /// What `work` with the folder of indexes comes to, waited for on a thread that may block; `None` if its disk does not answer in time.
    pub fn index_in_time<T: Send + 'static>(
        &self,
        folder: &Arc<IndexFolder>,
        work: impl FnOnce(&IndexFolder) -> T + Send + 'static,
    ) -> Option<T> {
        self.wait(folder.in_time(&self.telemetry, work))
    }

    /// What is counted.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Where it is, for people.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits for `future` on a thread that may block.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The key of what lies at `path`, which begins with `/`.
    pub fn key(&self, path: &std::path::Path) -> Path {
        let path = path.to_string_lossy();
        let parts = path.split('/').filter(|part| !part.is_empty());
        self.prefix.parts().chain(parts.map(Into::into)).collect()
    }

    /// The path of what has `key`; `None` if that is not below the prefix.
    pub fn path(&self, key: &Path) -> Option<PathBuf> {
        let rest: Vec<String> = key.prefix_match(&self.prefix)?.map(|part| part.as_ref().to_owned()).collect();
        Some(PathBuf::from(format!("/{}", rest.join("/"))))
    }

    /// The bytes of `range` of the object at `key`, which has `len` of them and the tag `wanted`, if that is known already; and the
    /// tag that it has.
    pub async fn read(
        &self,
        key: &Path,
        len: u64,
        wanted: Option<&Tag>,
        range: Range<u64>,
    ) -> Result<(Bytes, Tag), SourceError> {
        let got = Vec::with_capacity((range.end - range.start) as usize);
        // One attempt after the other: nobody ever waits for it.
        let reading = tokio::sync::Mutex::new(Reading { got, tag: wanted.cloned() });
        self.again(key, || async { self.read_on(key, len, &range, &mut *reading.lock().await).await }).await?;
        let Reading { got, tag } = reading.into_inner();
        Ok((Bytes::from(got), tag.expect("an answer had one")))
    }

    /// Reads on behind what was got of `range`.
    async fn read_on(
        &self,
        key: &Path,
        len: u64,
        range: &Range<u64>,
        Reading { got, tag }: &mut Reading,
    ) -> Result<(), Failure> {
        let rest = range.start + got.len() as u64..range.end;
        let options = GetOptions {
            range: Some(GetRange::Bounded(rest.clone())),
            if_match: tag.as_ref().and_then(Tag::strong).map(str::to_owned),
            ..GetOptions::default()
        };
        let result = self.first(|| self.objects.get_opts(key, options.clone())).await;
        let result = self.judged(key, result)?;
        // What If-Match should have said, for storages that do not understand it.
        let found = Tag(result.meta.e_tag.clone());
        if result.meta.size != len || tag.as_ref().is_some_and(|tag| *tag != found) {
            self.telemetry.storage_answers.at(StorageOutcome::Replaced).inc();
            return Err(Failure::Lasting(SourceError::Replaced { path: self.shown(key) }));
        }
        if result.range != rest {
            return Err(self.passing(format!("asked for {rest:?}, and got {:?}", result.range)));
        }
        *tag = Some(found);
        let mut stream = result.into_stream();
        loop {
            match timeout(self.options.silence, stream.next()).await {
                Err(_) => return Err(self.passing(format!("silent for {:?}", self.options.silence))),
                Ok(Some(Ok(piece))) => {
                    self.telemetry.storage_read_bytes.add(piece.len() as u64);
                    let left = (range.end - range.start) as usize - got.len();
                    if piece.len() > left {
                        return Err(self.passing("more bytes came than were asked for".to_owned()));
                    }
                    got.extend_from_slice(&piece);
                }
                Ok(Some(Err(error))) => return Err(self.passing(chain(&error))),
                Ok(None) if got.len() as u64 == range.end - range.start => {
                    self.telemetry.storage_answers.at(StorageOutcome::Ok).inc();
                    return Ok(());
                }
                Ok(None) => return Err(self.passing("the answer ended early".to_owned())),
            }
        }
    }

    /// The state of the object at `key`; `None` if there is none.
    pub async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, SourceError> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let asked = || async {
            let result = self.first(|| self.objects.get_opts(key, options.clone())).await;
            match self.judged(key, result) {
                Ok(result) => Ok(Some(result.meta)),
                Err(Failure::Lasting(SourceError::Replaced { .. })) => Ok(None),
                Err(failure) => Err(failure),
            }
        };
        self.again(key, asked).await
    }

    /// What lies directly in the folder at `path`.
    pub async fn list(&self, path: &std::path::Path) -> Result<ListResult, SourceError> {
        let key = self.key(path);
        let under = Some(&key).filter(|key| !key.as_ref().is_empty());
        let asked = || async {
            self.telemetry.storage_lists.inc();
            let listed = self.first(|| self.objects.list_with_delimiter(under)).await;
            self.judged(&key, listed)
        };
        let listed = self.again(&key, asked).await?;
        if listed.objects.len() + listed.common_prefixes.len() > LISTED_MAX {
            let why = format!("more than {LISTED_MAX} objects in one folder");
            return Err(SourceError::Storage { path: self.shown(&key), why });
        }
        Ok(listed)
    }

    /// Up to `count` objects whose keys come after that of `path`, in the order of keys, wherever below the prefix; those that
    /// `while_so` refuses end the listing.
    pub async fn list_after(
        &self,
        path: &std::path::Path,
        count: usize,
        while_so: impl Fn(&ObjectMeta) -> bool,
    ) -> Result<Vec<ObjectMeta>, SourceError> {
        let offset = self.key(path);
        let under = Some(&self.prefix).filter(|prefix| !prefix.as_ref().is_empty());
        let asked = || async {
            self.telemetry.storage_lists.inc();
            let mut stream = self.objects.list_with_offset(under, &offset);
            let mut found = Vec::new();
            while found.len() < count {
                match timeout(self.options.silence, stream.next()).await {
                    Err(_) => return Err(self.passing(format!("silent for {:?}", self.options.silence))),
                    Ok(Some(meta)) => match self.judged(&offset, meta)? {
                        meta if while_so(&meta) => found.push(meta),
                        _ => break,
                    },
                    Ok(None) => break,
                }
            }
            Ok(found)
        };
        self.again(&offset, asked).await
    }

    /// Asks until there is an answer, it is clear that none comes, or the time is over.
    async fn again<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        key: &Path,
        asked: impl Fn() -> F,
    ) -> Result<T, SourceError> {
        let deadline = Instant::now() + self.options.timeout;
        let mut why = String::new();
        for attempt in 0..self.options.attempts_max {
            if attempt > 0 {
                self.telemetry.storage_retries.inc();
                if timeout_at(deadline, sleep(backoff(attempt))).await.is_err() {
                    break;
                }
            }
            let permitted = async {
                match self.line.turn().await {
                    Some(_turn) => asked().await,
                    None => Err(Failure::Lasting(SourceError::Busy { path: self.shown(key) })),
                }
            };
            let span =
                tracing::trace_span!(target: "headwater::spans", "storage", key = %key, attempt = i64::from(attempt));
            match timeout_at(deadline, permitted.instrument(span)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::Passing(passing))) => why = passing,
                Ok(Err(Failure::Lasting(error))) => return Err(error),
                Err(_) => {
                    why = format!("no whole answer within {:?}{}", self.options.timeout, after(&why));
                    break;
                }
            }
        }
        self.telemetry.storage_failures.inc();
        Err(SourceError::Storage { path: self.shown(key), why })
    }

    /// The first answer to a request, sent a second time if it is late. An answer is late after the silence that is allowed.
    async fn first<T, F>(&self, send: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let sent = || {
            self.telemetry.storage_requests.inc();
            timeout(self.options.silence, send())
        };
        let late = self.options.hedge.and_then(|percentile| self.latencies.percentile(percentile));
        let answer = match late {
            None => sent().await,
            Some(late) => {
                let mut one = std::pin::pin!(sent());
                match timeout(late, one.as_mut()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        self.telemetry.storage_hedges.inc();
                        let other = sent();
                        // A failure of one is no answer while the other may have one.
                        let mut other = std::pin::pin!(other);
                        tokio::select! {
                            answer = one.as_mut() => match answer {
                                Ok(Ok(answer)) => Ok(Ok(answer)),
                                _ => other.await,
                            },
                            answer = other.as_mut() => match answer {
                                Ok(Ok(answer)) => Ok(Ok(answer)),
                                _ => one.await,
                            },
                        }
                    }
                }
            }
        };
        match answer {
            Ok(answer) => {
                self.latencies.note(began.elapsed());
                answer
            }
            Err(_) => Err(Error::Generic {
                store: "storage",
                source: format!("no answer within {:?}", self.options.silence).into(),
            }),
        }
    }

    /// What an answer means.
    fn judged<T>(&self, key: &Path, result: Result<T, Error>) -> Result<T, Failure> {
        match result {
            Ok(answer) => Ok(answer),
            Err(Error::NotFound { .. } | Error::Precondition { .. } | Error::NotModified { .. }) => {
                self.telemetry.storage_answers.at(StorageOutcome::Replaced).inc();
                Err(Failure::Lasting(SourceError::Replaced { path: self.shown(key) }))
            }
            Err(
                error @ (Error::PermissionDenied { .. }
                | Error::Unauthenticated { .. }
                | Error::NotSupported { .. }
                | Error::NotImplemented { .. }
                | Error::InvalidPath { .. }
                | Error::UnknownConfigurationKey { .. }),
            ) => {
                self.telemetry.storage_answers.at(StorageOutcome::Refused).inc();
                Err(Failure::Lasting(SourceError::Storage { path: self.shown(key), why: chain(&error) }))
            }
            Err(error) => Err(self.passing(chain(&error))),
        }
    }

    fn passing(&self, why: String) -> Failure {
        self.telemetry.storage_answers.at(StorageOutcome::Failed).inc();
        Failure::Passing(why)
    }

    fn shown(&self, key: &Path) -> PathBuf {
        self.path(key).map_or_else(
            || PathBuf::from(key.as_ref()),
            |path| PathBuf::from(format!("{}{}", self.url, path.display())),
        )
    }
}

fn after(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!("; before that: {why}") }
}

/// An error with its causes. Those of requests hold URLs, but no credentials: these go in headers.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// How long the `attempt`th one waits, from 1: a random part of what doubles, so that many do not come again at once.
fn backoff(attempt: u32) -> Duration {
    let most = BACKOFF.saturating_mul(1 << attempt.min(16)).min(BACKOFF_MAX);
    most.mul_f64((RandomState::new().hash_one(attempt) % 1024) as f64 / 1024.0)
}

/// How many of the latest answers a percentile is taken of.
const LATENCIES: usize = 256;
/// With fewer there is none.
const LATENCIES_MIN: usize = 32;

/// How long the latest answers took to begin.
#[derive(Debug, Default)]
struct Latencies(Mutex<(Vec<Duration>, usize)>);

impl Latencies {
    fn note(&self, latency: Duration) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (latest, next) = &mut *noted;
        match latest.get_mut(*next) {
            Some(oldest) => *oldest = latency,
            None => latest.push(latency),
        }
        *next = (*next + 1) % LATENCIES;
    }

    fn percentile(&self, percentile: u8) -> Option<Duration> {
        let mut latest = self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        if latest.len() < LATENCIES_MIN {
            return None;
        }
        let at = (latest.len() * usize::from(percentile) / 100).min(latest.len() - 1);
        Some(*latest.select_nth_unstable(at).1)
    }
}
