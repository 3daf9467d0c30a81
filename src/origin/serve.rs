//! The way of a request, whole, from top to bottom.
//!
//! ```text
//!   path -> class -> one lookup -> Arc<Object> -> its answer: 200, 206, 304 …          a hit ends here
//!              miss -> address -> index -> what is asked for, made in one flight -> cache -> the same answer
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ALLOW, CACHE_CONTROL, IF_NONE_MATCH,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tracing::Instrument;

use crate::cache::disk::Disk;
use crate::cache::{Cache, FlightError, Role, Weigh};
use crate::content::library::Library;
use crate::content::library::entry::Entry;
use crate::content::line::Line;
use crate::content::live::channel::Channels;
use crate::media::track::Version;
use crate::origin::address::{Address, Class, Item, TrackItem, decode};
use crate::origin::admission::{Admission, Memory, Place, Work};
use crate::origin::broadcasts::{self, Broadcasts};
use crate::origin::object::{ANYBODY, Body, CACHE_STATUS, COLLAPSED, Object, PASSED, Problem, Remembered, STORED};
use crate::origin::openings::Openings;
use crate::origin::options::{INDEX_SHARE, Options};
use crate::origin::render::{Indexed, MEMORY_FULL, Render, memory_full, no_such_object, source_problem};
use crate::origin::waits::Waits;
use crate::telemetry::{CacheClass, ReadOf, Refused, Telemetry};
use crate::time::Utc;

/// The classes of the cache, each with its share of the budget in hundredths.
const SHARES: [(CacheClass, u64); 4] =
    [(CacheClass::Index, INDEX_SHARE), (CacheClass::Init, 2), (CacheClass::Manifest, 8), (CacheClass::Segment, 70)];
/// What is left of the budget remembers what does not exist.
const REMEMBERED_SHARE: u64 = 1;
/// The most old versions that are kept for who still plays them.
const RETIRED_MAX: usize = 64;
/// Segments of channels that are read of their spool at once: they wait for no other read, and the spool is a disk of this machine.
const SPOOL_READS_MAX: usize = 16;
/// Manifests of stretches that are made at once: one of a day takes tens of megabytes and a core meanwhile.
const STRETCHES_MAX: usize = 4;
/// How many more wait for their turn.
const STRETCHES_WAITING_MAX: usize = 64;
/// How many times as many reads wait for their turn as have it.
const WAITING_READS: usize = 4;
/// What they may take beside the cache: the budget of indexes, divided by this.
const RETIRED_SHARE: u64 = 4;
/// How often an index is opened anew because its source changed meanwhile, before the request is told to come again.
const REOPENED_MAX: usize = 3;

/// What is purged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purge {
    /// All there is.
    All,
    /// The presentation of this name.
    Presentation(String),
    /// What lies under paths that begin so; percent-encoding is resolved.
    Prefix(String),
}

/// Everything that answers requests on the media listener.
#[derive(Debug)]
pub struct Origin {
    library: Arc<Library>,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) options: Arc<Options>,
    telemetry: Arc<Telemetry>,
    index: Cache<Indexed, Problem>,
    inits: Cache<Object, Problem>,
    manifests: Cache<Object, Problem>,
    segments: Cache<Object, Problem>,
    /// What was found not to be, for a while.
    remembered: Cache<Remembered, Problem>,
    /// Presentations whose source was replaced, for who still plays them.
    retired: Mutex<Vec<Arc<Indexed>>>,
    /// Bounds what is made at once.
    admission: Arc<Admission>,
    /// Bounds who waits for what is live.
    pub(crate) waits: Arc<Waits>,
    /// Bounds what bodies keep alive.
    memory: Arc<Memory>,
    /// Bounds how many presentations are opened at once.
    openings: Arc<Openings>,
    /// Where reads of local files wait for their turn.
    files: Arc<Line>,
    /// Where reads of what is live do, which is no line of others'.
    pub(crate) spool: Arc<Line>,
    /// Where stretches of what was broadcast wait to be made.
    pub(crate) stretches: Arc<Line>,
    /// Keeps what is read of storages, behind memory.
    disk: Option<Arc<Disk>>,
}

impl Origin {
    /// An origin of what `library` holds.
    pub fn new(library: Arc<Library>, options: Options, telemetry: Arc<Telemetry>) -> Origin {
        let line = |of, at_once, waiting_max| Arc::new(Line::new(of, at_once, waiting_max, Arc::clone(&telemetry)));
        let openings = Arc::new(Openings::of(&library, &telemetry));
        let files = line(ReadOf::File, options.reads_max, options.reads_max * WAITING_READS);
        let spool = line(ReadOf::Spool, SPOOL_READS_MAX, SPOOL_READS_MAX * WAITING_READS);
        let stretches = line(ReadOf::Stretch, STRETCHES_MAX, STRETCHES_WAITING_MAX);
        let [index, init, manifest, segment] = SHARES.map(|(_, share)| options.cache_bytes / 100 * share);
        Origin {
            library,
            broadcasts: Broadcasts::default(),
            telemetry,
            index: Cache::new(index),
            inits: Cache::new(init),
            manifests: Cache::new(manifest),
            segments: Cache::new(segment),
            remembered: Cache::new(options.cache_bytes / 100 * REMEMBERED_SHARE),
            retired: Mutex::default(),
            admission: Arc::new(Admission::new(options.flights_max)),
            waits: Arc::new(Waits::new(options.waits_max)),
            memory: Arc::new(Memory::new(segment + options.in_flight_bytes)),
            openings,
            files,
            spool,
            stretches,
            disk: None,
            options: Arc::new(options),
        }
    }

    /// The same, with what is pushed to `channels`.
    pub fn broadcasting(self, channels: Arc<Channels>) -> Origin {
        Origin { broadcasts: Broadcasts::of(channels), ..self }
    }

    /// The same, keeping on `disk` what is read of storages.
    pub fn keeping(self, disk: Option<Arc<Disk>>) -> Origin {
        Origin { disk, ..self }
    }

    /// Answers `request`, as of `now`. Dropping the future loses nothing: what it was making is made all the same.
    pub async fn serve(self: &Arc<Self>, request: &Request<()>, now: Utc) -> Response<Body> {
        let method = request.method();
        if method != Method::GET && method != Method::HEAD {
            return if method == Method::OPTIONS { preflight() } else { not_allowed(method) };
        }
        // A query is no part of any name that is on demand, so it is dropped, and the path is the key.
        let Some(key) = decode(request.uri().path()) else { return no_such_object().response(method) };
        let Some(class) = Class::of(&key) else { return self.without_class(&key, method, now) };
        let hit = self.cache(class).get(&key).await.filter(|object| object.is_servable(now));
        let object = match hit {
            Some(object) => {
                self.telemetry.cache_hits.at(cache_class(class)).inc();
                if self.options.prefetch > 0 && class == Class::Segment {
                    self.prefetch_after_hit(&key, now);
                }
                object
            }
            None => {
                if let Some((channel, rest)) = self.channel_of(&key) {
                    return Box::pin(self.live(&channel, &key, rest, request, now)).await;
                }
                self.telemetry.cache_misses.at(cache_class(class)).inc();
                // In a box, so that the future of a hit is small: hyper moves it about.
                return match Box::pin(self.miss(&key, class, request, now)).await {
                    Ok((object, how)) => {
                        let mut response = object.answer(method, request.headers());
                        response.headers_mut().insert(CACHE_STATUS, how);
                        response
                    }
                    Err(problem) => problem.response(method),
                };
            }
        };
        object.answer(method, request.headers())
    }

    /// What has no extension.
    fn without_class(&self, key: &str, method: &Method, now: Utc) -> Response<Body> {
        if key == "/time" { broadcasts::time(method, now) } else { no_such_object().response(method) }
    }

    pub(crate) fn cache(&self, class: Class) -> &Cache<Object, Problem> {
        match class {
            Class::Manifest => &self.manifests,
            Class::Init => &self.inits,
            Class::Segment => &self.segments,
        }
    }

    /// What `key` names, from where it must be made, and how that came about (RFC 9211).
    async fn miss(
        self: &Arc<Self>,
        key: &str,
        class: Class,
        request: &Request<()>,
        now: Utc,
    ) -> Result<(Arc<Object>, HeaderValue), Problem> {
        if let Some(known) = self.remembered.get(key).await.filter(|known| self.is_still_so(known, now)) {
            self.telemetry.negative_answers.inc();
            return Err(known.problem.clone());
        }
        let _waiting = self.telemetry.requests_in_flight.enter();
        if self.telemetry.requests_in_flight.get() > self.options.requests_max as i64 {
            self.telemetry.requests_refused.inc();
            return Err(Problem::unavailable("too_many_requests", "too many requests wait for something to be made"));
        }
        // Of the state that is searched, and not of one that comes meanwhile.
        let generation = self.library.generation();
        let made = self.find(key, class, request, now).await;
        if let Err(problem) = &made
            && problem.status() == StatusCode::NOT_FOUND
            && let Some(age) = problem.max_age()
        {
            let remembered = Remembered { problem: problem.clone(), until: now.after(age), generation };
            self.remembered.insert(key, Arc::new(remembered)).await;
        }
        made
    }

    /// What did not exist may do so as soon as the library changes.
    fn is_still_so(&self, known: &Remembered, now: Utc) -> bool {
        now < known.until && known.generation == self.library.generation()
    }

    async fn find(
        self: &Arc<Self>,
        key: &str,
        class: Class,
        request: &Request<()>,
        now: Utc,
    ) -> Result<(Arc<Object>, HeaderValue), Problem> {
        let Address { presentation, item } = Address::parse(key).ok_or_else(no_such_object)?;
        let render = match &item {
            Item::Multivariant | Item::Mpd => self.render(self.current(&presentation, now).await?, now),
            Item::Of { track, version, .. } => {
                self.render(self.version(&presentation, track, *version, now).await?, now)
            }
        };
        // A head alone costs no media, nor does telling somebody that he has it already.
        let head_only = request.method() == Method::HEAD || request.headers().contains_key(IF_NONE_MATCH);
        if head_only
            && let Item::Of {
                track,
                version,
                part: part @ (TrackItem::Segment(_) | TrackItem::TrickFrame(_) | TrackItem::Sheet(..)),
            } = &item
        {
            // What protects a fragment is read for its head, too.
            let _place = self.place(Work::Segment)?;
            let head = render.of_track(track, *version, *part, false).await?;
            let known = head.answer(&Method::HEAD, request.headers()).status() != StatusCode::OK;
            if request.method() == Method::HEAD || known {
                return Ok((Arc::new(head), PASSED));
            }
        }
        let (role, object) = self.fly(key, class, render.clone(), item.clone(), None, now).await?;
        if class == Class::Segment && self.options.prefetch > 0 {
            self.prefetch(key, &render, &item, now);
        }
        Ok((object, if role == Role::Joined { COLLAPSED } else { STORED }))
    }

    /// Makes what `item` names in one flight, however many ask; in `place`, if there is one already.
    async fn fly(
        &self,
        key: &str,
        class: Class,
        render: Render,
        item: Item,
        place: Option<Place>,
        now: Utc,
    ) -> Result<(Role, Arc<Object>), Problem> {
        let (admission, segments) = (Arc::clone(&self.admission), self.segments.clone());
        let telemetry = Arc::clone(&self.telemetry);
        let work = match class {
            Class::Manifest | Class::Init => Work::Manifest,
            Class::Segment => Work::Segment,
        };
        let shown = key.to_owned();
        let making = async move {
            let _place = match place {
                Some(place) => place,
                None => admission.enter(work).ok_or_else(|| busy(&telemetry, work))?,
            };
            telemetry.flights_started.inc();
            let _aloft = telemetry.flights.enter();
            let make = || async {
                match &item {
                    Item::Multivariant => render.multivariant(),
                    Item::Mpd => render.mpd(),
                    Item::Of { track, version, part } => render.of_track(track, *version, *part, true).await,
                }
            };
            let flight = telemetry.flight_seconds.begin();
            let span = tracing::trace_span!(target: "headwater::spans", "make", key = shown);
            let mut made = make().instrument(span).await;
            if made.as_ref().is_err_and(|problem| problem.code() == MEMORY_FULL) {
                // What a burst has put above the ceiling may not have been evicted yet.
                segments.settle().await;
                made = make().await;
            }
            if made.as_ref().is_err_and(|problem| problem.code() == MEMORY_FULL) {
                telemetry.work_refused.at(Refused::Memory).inc();
            }
            flight.end();
            made.map(Arc::new)
        };
        let (role, result) = self.cache(class).make(key, move |object| object.is_servable(now), making).await;
        self.landed(role, result).map(|object| (role, object))
    }

    /// A place for `work`, if there is one.
    pub(crate) fn place(&self, work: Work) -> Result<Place, Problem> {
        self.admission.enter(work).ok_or_else(|| busy(&self.telemetry, work))
    }

    /// What gives a place for `work` when that is begun, if there is one then.
    pub(crate) fn place_later(&self, work: Work) -> impl FnOnce() -> Result<Place, Problem> + Send + use<> {
        let (admission, telemetry) = (Arc::clone(&self.admission), Arc::clone(&self.telemetry));
        move || admission.enter(work).ok_or_else(|| busy(&telemetry, work))
    }

    /// The segment of a channel at `key`, which `reading` reads: its `len` bytes are `made` an object in one flight, however many ask.
    pub(crate) async fn fly_live(
        &self,
        key: &str,
        len: u64,
        reading: impl Future<Output = Result<Bytes, Problem>> + Send + 'static,
        made: impl FnOnce(Bytes) -> Object + Send + 'static,
        now: Utc,
    ) -> Result<(Role, Arc<Object>), Problem> {
        let (admission, memory) = (Arc::clone(&self.admission), Arc::clone(&self.memory));
        let telemetry = Arc::clone(&self.telemetry);
        let making = async move {
            let _place = admission.enter(Work::Live).ok_or_else(|| busy(&telemetry, Work::Live))?;
            let Some(share) = memory.reserve(len) else {
                telemetry.work_refused.at(Refused::Memory).inc();
                return Err(memory_full());
            };
            telemetry.flights_started.inc();
            let _aloft = telemetry.flights.enter();
            Ok(Arc::new(made(share.hold(reading.await?))))
        };
        let (role, result) = self.segments.make(key, move |object| object.is_servable(now), making).await;
        self.landed(role, result).map(|object| (role, object))
    }

    pub(crate) fn landed<V>(
        &self,
        role: Role,
        result: Result<Arc<V>, FlightError<Problem>>,
    ) -> Result<Arc<V>, Problem> {
        if role == Role::Joined {
            self.telemetry.flights_joined.inc();
        }
        result.map_err(|error| match error {
            FlightError::Failed(problem) => problem,
            FlightError::Lost => Problem::unavailable("lost", "what was asked for could not be made; try again"),
        })
    }

    /// The same where the segment itself was there: its presentation has to be found first.
    fn prefetch_after_hit(self: &Arc<Self>, key: &str, now: Utc) {
        let (origin, key) = (Arc::clone(self), key.to_owned());
        tokio::spawn(async move {
            let Some(Address { presentation, item }) = Address::parse(&key) else { return };
            let Item::Of { track, version, .. } = &item else { return };
            if let Ok(indexed) = origin.version(&presentation, track, *version, now).await {
                origin.prefetch(&key, &origin.render(indexed, now), &item, now);
            }
        });
    }

    /// Makes the segments after the one at `key`, for who asks next.
    fn prefetch(self: &Arc<Self>, key: &str, render: &Render, item: &Item, now: Utc) {
        let Item::Of { track: name, version, part: TrackItem::Segment(time) } = item else { return };
        let Some((_, track)) = render.indexed.opened.presentation.track_version(name, *version) else { return };
        let Some((folder, index)) = key.rsplit_once('/').map(|(folder, _)| folder).zip(track.segment_at(*time)) else {
            return;
        };
        for segment in track.segments.iter().skip(index + 1).take(self.options.prefetch as usize) {
            let key = format!("{folder}/{}.m4s", segment.time);
            let part = TrackItem::Segment(segment.time);
            let (origin, render, item) =
                (Arc::clone(self), render.clone(), Item::Of { track: name.clone(), version: *version, part });
            tokio::spawn(async move {
                if origin.segments.get(&key).await.is_some() {
                    return;
                }
                // Before it boards: who asks for the same meanwhile is not to be told that there was no place for this.
                let Some(place) = origin.admission.enter(Work::Ahead) else {
                    return origin.telemetry.work_refused.at(Refused::Ahead).inc();
                };
                // Nobody waits for it, so nobody is told why it could not be made.
                let _ = origin.fly(&key, Class::Segment, render, item, Some(place), now).await;
            });
        }
    }

    fn render(&self, indexed: Arc<Indexed>, now: Utc) -> Render {
        let grace = self.grace(&indexed);
        let (options, memory) = (Arc::clone(&self.options), Arc::clone(&self.memory));
        let (telemetry, files, disk) = (Arc::clone(&self.telemetry), Arc::clone(&self.files), self.disk.clone());
        Render { indexed, grace, now, options, memory, telemetry, files, disk }
    }

    fn grace(&self, indexed: &Indexed) -> Duration {
        let manifest_age = self.options.manifest_max_age + self.options.stale_while_revalidate();
        indexed.grace(self.library.options().grace, manifest_age)
    }

    /// The presentation as it is now.
    pub(crate) async fn current(&self, name: &str, now: Utc) -> Result<Arc<Indexed>, Problem> {
        for _ in 0..REOPENED_MAX {
            let found = self.library.find(name, now).await.map_err(|error| {
                tracing::warn!(presentation = name, %error, "can't be looked for");
                source_problem(&error)
            })?;
            let entry = found.ok_or_else(|| self.no_such_presentation())?;
            if let Some(known) = self.index.get(name).await {
                if Arc::ptr_eq(&known.entry, &entry) {
                    self.telemetry.cache_hits.at(CacheClass::Index).inc();
                    return Ok(known);
                }
                self.retire(known, now);
            }
            self.telemetry.cache_misses.at(CacheClass::Index).inc();
            // Opened all the same if it takes longer, for who comes again.
            let opening = self.open(Arc::clone(&entry), now);
            let indexed = match entry.is_remote() {
                false => opening.await?,
                true => tokio::time::timeout(self.options.open_wait, opening).await.map_err(|_| being_opened())??,
            };
            if Arc::ptr_eq(&indexed.entry, &entry) {
                return Ok(indexed);
            }
        }
        Err(Problem::unavailable("source_replaced", "the source is being replaced"))
    }

    async fn open(&self, entry: Arc<Entry>, now: Utc) -> Result<Arc<Indexed>, Problem> {
        let name = entry.name().to_owned();
        let (admission, telemetry) = (Arc::clone(&self.admission), Arc::clone(&self.telemetry));
        let wanted = Arc::clone(&entry);
        let (openings, options) = (Arc::clone(&self.openings), Arc::clone(&self.options));
        let opening = async move {
            let _place = admission.enter(Work::Opening).ok_or_else(|| busy(&telemetry, Work::Opening))?;
            let turn = openings.line(&entry).turn().await;
            let _turn = turn.ok_or_else(|| {
                tracing::warn!(library = entry.library(), "too many presentations wait to be opened");
                busy(&telemetry, Work::Opening)
            })?;
            let span = tracing::trace_span!(target: "headwater::spans", "open", presentation = entry.name());
            let opening = tokio::task::spawn_blocking(move || span.in_scope(|| Indexed::open(entry, &options, now)));
            let opened = opening
                .await
                .map_err(|_| Problem::unavailable("lost", "opening the presentation failed; try again"))?;
            opened.map(Arc::new)
        };
        let (role, result) = self.index.make(&name, move |known| Arc::ptr_eq(&known.entry, &wanted), opening).await;
        self.landed(role, result)
    }

    /// The presentation called `name` in the state that gave `track` this `version`: the current one, or a replaced one whose
    /// grace lasts.
    async fn version(&self, name: &str, track: &str, version: Version, now: Utc) -> Result<Arc<Indexed>, Problem> {
        let has = |indexed: &Indexed| indexed.has(track, version);
        let within_grace =
            |indexed: &Indexed| indexed.entry.lease.ended().is_none_or(|ended| now < ended.after(self.grace(indexed)));
        // A replaced one may still lie in the cache, when nobody has asked for the new one yet.
        if let Some(known) = self.index.get(name).await.filter(|known| has(known) && within_grace(known)) {
            return Ok(known);
        }
        let current = self.current(name, now).await;
        if let Ok(current) = &current
            && has(current)
        {
            return Ok(Arc::clone(current));
        }
        let retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        let found = retired.iter().rev().find(|old| old.entry.name() == name && has(old) && within_grace(old));
        found.cloned().ok_or_else(|| match current {
            // Perhaps it is the one that is there: nobody knows before it was opened.
            Err(problem) if problem.status() != StatusCode::NOT_FOUND => problem,
            _ => Problem::not_found("unknown_version", "this version is not served, or not any more"),
        })
    }

    /// Keeps a replaced presentation, whose files are still open, for who plays it.
    fn retire(&self, indexed: Arc<Indexed>, now: Utc) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|old| old.entry.lease.ended().is_none_or(|ended| now < ended.after(self.grace(old))));
        if retired.iter().any(|old| Arc::ptr_eq(old, &indexed)) {
            return;
        }
        retired.push(indexed);
        let weight = |retired: &[Arc<Indexed>]| retired.iter().map(|old| old.weight()).sum::<u64>();
        // The newest stays whatever it weighs.
        while retired.len() > 1
            && (retired.len() > RETIRED_MAX || weight(&retired) > self.options.index_bytes() / RETIRED_SHARE)
        {
            retired.remove(0);
        }
    }

    /// Forgets what `what` names: it is made anew, under the same names, when it is asked for. What is being sent is sent. Says how many
    /// objects and opened presentations were forgotten.
    pub async fn purge(&self, what: &Purge) -> u64 {
        let of_path = |path: &str| match what {
            Purge::All => true,
            Purge::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Purge::Presentation(name) => Address::parse(path).is_some_and(|address| address.presentation == *name),
        };
        let of_name = |name: &str| match what {
            Purge::All => true,
            Purge::Prefix(prefix) => format!("/{name}/").starts_with(prefix.as_str()),
            Purge::Presentation(wanted) => name == wanted,
        };
        // From the ground up, so that nothing is made of what goes. On the disk, what lies below a presentation goes with it.
        if let Some(disk) = &self.disk {
            match what {
                Purge::All => disk.purge("/").await,
                Purge::Prefix(prefix) => disk.purge(prefix).await,
                Purge::Presentation(name) => disk.purge(&format!("/{name}/")).await,
            }
        }
        let mut count = self.index.purge(of_name).await;
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).retain(|old| !of_name(old.entry.name()));
        self.remembered.purge(of_path).await;
        for cache in [&self.inits, &self.manifests, &self.segments] {
            count += cache.purge(of_path).await;
        }
        count
    }

    /// Not before the library is looked at again.
    fn no_such_presentation(&self) -> Problem {
        let interval = self.library.options().scan_interval;
        Problem::not_found("not_found", "no presentation has this name").at_least_for(interval)
    }

    /// The library.
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// What is counted.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Renders of `entry`, if it is opened already.
    pub(crate) async fn opened(&self, entry: &Arc<Entry>, now: Utc) -> Option<Render> {
        let known = self.index.get(entry.name()).await.filter(|known| Arc::ptr_eq(&known.entry, entry))?;
        Some(self.render(known, now))
    }

    /// Renders of the presentation called `name`, as of `now`.
    pub(crate) async fn render_of(&self, name: &str, now: Utc) -> Result<Render, Problem> {
        self.current(name, now).await.map(|indexed| self.render(indexed, now))
    }

    /// Threads that an origin with these `options` may have waiting at once for `roots` folders, spool and `storages` that may never answer.
    pub fn waiting_threads_max(options: &Options, roots: usize, storages: usize) -> usize {
        options.reads_max + SPOOL_READS_MAX + STRETCHES_MAX + Openings::threads_max(roots, storages)
    }

    /// Waits until what is to be kept on disk is written. To be called at the end.
    pub async fn end(&self) {
        if let Some(disk) = &self.disk {
            disk.settle().await;
        }
    }

    /// Lets the caches evict what is above their ceilings, and forgets old versions whose grace is over. To be called now and
    /// then.
    pub async fn settle(&self, now: Utc) {
        // Also what nobody asked for since it changed: it holds files open, and their space on disk.
        self.index.forget(|old| old.entry.lease.ended().is_some_and(|ended| now >= ended.after(self.grace(old)))).await;
        self.index.settle().await;
        self.inits.settle().await;
        self.manifests.settle().await;
        self.segments.settle().await;
        self.remembered.settle().await;
        self.telemetry.body_bytes.set(i64::try_from(self.memory.alive_bytes()).unwrap_or(i64::MAX));
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.retain(|old| old.entry.lease.ended().is_none_or(|ended| now < ended.after(self.grace(old))));
    }

    /// Bytes, entries and ceiling of each cache class.
    pub(crate) fn fills(&self) -> [(CacheClass, (u64, u64, u64)); 4] {
        let [a, b, c, d] = SHARES.map(|(class, _)| class);
        [(a, self.index.fill()), (b, self.inits.fill()), (c, self.manifests.fill()), (d, self.segments.fill())]
    }
}

fn cache_class(class: Class) -> CacheClass {
    match class {
        Class::Manifest => CacheClass::Manifest,
        Class::Init => CacheClass::Init,
        Class::Segment => CacheClass::Segment,
    }
}

pub(crate) fn being_opened() -> Problem {
    Problem::unavailable("being_opened", "the presentation is being opened; try again")
}

fn busy(telemetry: &Telemetry, work: Work) -> Problem {
    let refused = match work {
        Work::Live => Refused::Live,
        Work::Manifest => Refused::Manifest,
        Work::Segment => Refused::Segment,
        Work::Opening => Refused::Opening,
        Work::Ahead => Refused::Ahead,
    };
    telemetry.work_refused.at(refused).inc();
    Problem::unavailable("busy", "too much is being made at once; try again")
}

/// CORS (Fetch standard, "CORS-preflight request"): anybody may read, with the headers that players send.
fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let head = response.headers_mut();
    head.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    head.insert(ACCESS_CONTROL_ALLOW_ORIGIN, ANYBODY);
    head.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    head.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    head.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    response
}

fn not_allowed(method: &Method) -> Response<Body> {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET, HEAD and OPTIONS");
    let mut response = problem.response(method);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}
