//! Scenes of a storage elsewhere: object_store's own store in memory, and one before it that counts and fails.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use headwater::cache::disk::Disk;
use headwater::content::library::{self, Library};
use headwater::content::remote::connect::Kind;
use headwater::content::remote::index::IndexFolder;
use headwater::content::remote::shelf::{self, JUDGED_AT_ONCE, Shelf};
use headwater::content::remote::store::{self, Store};
use headwater::origin::options::Options;
use headwater::origin::serve::{Origin, Purge};
use headwater::telemetry::{ReadOf, Telemetry};
use headwater::time::Utc;
use http::{Method, StatusCode};
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use tokio::sync::Notify;

use crate::scene::{Answer, NOW, Scene, ask, representations, testdata};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nothing yet.
    Not,
    /// An error of the server's.
    Error,
    /// The body ends early.
    Cut,
    /// Another entity tag than before.
    OtherTag,
}

/// Requests that have no answer.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Hanging {
    Reads,
    Lists,
}

/// A storage that notes what is read, and fails when it was told to.
#[derive(Debug, Default)]
struct Faulty {
    memory: InMemory,
    noted: Mutex<Noted>,
    /// Told when it hangs no more.
    goes_on: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    reads: Vec<(String, Range<u64>)>,
    lists: usize,
    faults: VecDeque<Fault>,
    is_down: bool,
    /// What has no answer.
    hangs: Option<Hanging>,
}

impl Faulty {
    fn noted(&self) -> std::sync::MutexGuard<'_, Noted> {
        self.noted.lock().unwrap()
    }

    /// Waits as long as such requests have no answer.
    async fn answered(&self, request: Hanging) {
        let mut goes_on = std::pin::pin!(self.goes_on.notified());
        goes_on.as_mut().enable();
        if self.noted().hangs == Some(request) {
            goes_on.await;
        }
    }

    fn hang(&self, hangs: Option<Hanging>) {
        self.noted().hangs = hangs;
        self.goes_on.notify_waiters();
    }

    fn down(&self) -> Result<()> {
        if self.noted().is_down { Err(broken()) } else { Ok(()) }
    }

    async fn put_file(&self, from: &Path, key: &str) {
        self.memory.put(&Key::from(key), std::fs::read(from).unwrap().into()).await.unwrap();
    }

    /// Puts what testdata has under `name`.
    async fn put_testdata(&self, name: &str) {
        let from = testdata(name);
        if from.is_file() {
            return self.put_file(&from, &from.file_name().unwrap().to_string_lossy()).await;
        }
        let mut folders = vec![from.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let key = format!("{name}/{}", path.strip_prefix(&from).unwrap().display());
                    self.put_file(&path, &key).await;
                }
            }
        }
    }
}

fn broken() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "on purpose".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.memory.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.down()?;
        let head = options.head;
        if !head {
            self.answered(Hanging::Reads).await;
        }
        let result = self.memory.get_opts(key, options).await;
        let fault = {
            let mut noted = self.noted();
            if let Ok(result) = &result
                && !head
            {
                noted.reads.push((key.to_string(), result.range.clone()));
            }
            noted.faults.pop_front()
        };
        let mut result = result?;
        match fault {
            None | Some(Fault::Not) => {}
            Some(Fault::Error) => return Err(broken()),
            Some(Fault::OtherTag) => result.meta.e_tag = Some("another".to_owned()),
            Some(Fault::Cut) => {
                let (meta, range, attributes, extensions) =
                    (result.meta.clone(), result.range.clone(), result.attributes.clone(), result.extensions.clone());
                let bytes = result.bytes().await?;
                let half = bytes.slice(..bytes.len() / 2);
                let stream = futures_util::stream::iter([Ok(half), Err(broken())]).boxed();
                return Ok(GetResult {
                    payload: GetResultPayload::Stream(stream),
                    meta,
                    range,
                    attributes,
                    extensions,
                });
            }
        }
        Ok(result)
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.memory.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Key>, offset: &Key) -> BoxStream<'static, Result<ObjectMeta>> {
        self.noted().lists += 1;
        match self.down() {
            Ok(()) => self.memory.list_with_offset(prefix, offset),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.noted().lists += 1;
        self.answered(Hanging::Lists).await;
        self.down()?;
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

/// A server of what lies in a storage.
struct Remote {
    storage: Arc<Faulty>,
    origin: Arc<Origin>,
    telemetry: Arc<Telemetry>,
    now: Utc,
}

impl Remote {
    async fn of(names: &[&str]) -> Remote {
        let storage = Arc::new(Faulty::default());
        for name in names {
            storage.put_testdata(name).await;
        }
        Remote::at(storage)
    }

    fn at(storage: Arc<Faulty>) -> Remote {
        Remote::with_index(storage, None)
    }

    fn with_index(storage: Arc<Faulty>, index: Option<Arc<IndexFolder>>) -> Remote {
        Remote::keeping(storage, index, None, Arc::default(), store::Options::default())
    }

    /// One that keeps indexes and media in `folder`.
    async fn with_disk(storage: Arc<Faulty>, folder: &Path) -> Remote {
        Remote::with_disk_asking(storage, folder, store::Options::default()).await
    }

    async fn with_disk_asking(storage: Arc<Faulty>, folder: &Path, requests: store::Options) -> Remote {
        let telemetry = Arc::<Telemetry>::default();
        let index = Arc::new(IndexFolder::open(folder.join("index"), 1 << 30).unwrap());
        let disk = Arc::new(Disk::new(folder.join("media"), 32 << 20, Arc::clone(&telemetry)));
        disk.open().await.unwrap();
        Remote::keeping(storage, Some(index), Some(disk), telemetry, requests)
    }

    fn keeping(
        storage: Arc<Faulty>,
        index: Option<Arc<IndexFolder>>,
        disk: Option<Arc<Disk>>,
        telemetry: Arc<Telemetry>,
        requests: store::Options,
    ) -> Remote {
        let store =
            Store::new(storage.clone(), Key::default(), "memory://".to_owned(), requests, Arc::clone(&telemetry))
                .with_index(index);
        let options = shelf::Options { age: Duration::from_secs(30), segment_target: Duration::from_secs(6) };
        let shelf = Shelf::new("", Arc::new(store), Kind::Listed, options, Arc::clone(&telemetry));
        let mut local = library::Options::new(std::path::PathBuf::new());
        local.roots.clear();
        let library = Library::with_shelves(local, vec![Arc::new(shelf)]);
        let origin = Origin::new(Arc::new(library), Options::default(), Arc::clone(&telemetry));
        let origin = Arc::new(origin.keeping(disk));
        Remote { storage, origin, telemetry, now: NOW }
    }

    async fn get(&self, path: &str) -> Answer {
        ask(&self.origin, self.now, Method::GET, path, &[]).await
    }

    #[track_caller]
    fn body(&self, path: &str) -> impl Future<Output = bytes::Bytes> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} asked for by {caller}: {}", answer.text());
            answer.body
        }
    }

    /// The URLs of all segments that the MPD of `presentation` names.
    async fn segments(&self, presentation: &str) -> Vec<String> {
        let path = format!("/{presentation}/manifest.mpd");
        let text = String::from_utf8(self.body(&path).await.to_vec()).unwrap();
        let found = representations(&text, &path).into_iter().filter(|own| own.trick_of.is_none());
        found.flat_map(|own| own.segments.into_iter().map(|segment| segment.url)).collect()
    }

    fn take_reads(&self) -> Vec<(String, Range<u64>)> {
        std::mem::take(&mut self.storage.noted().reads)
    }

    fn fail(&self, faults: &[Fault]) {
        self.storage.noted().faults.extend(faults);
    }
}

#[tokio::test]
async fn a_storage_is_served_as_a_folder_is() {
    const NAMES: &[&str] =
        &["tour", "packaging", "packaging-flat", "muxed", "hevc", "progressive", "hybrid", "encrypted-cbcs"];
    let (local, remote) = (Scene::of(NAMES), Remote::of(NAMES).await);
    for name in local.names() {
        let path = format!("/{name}/manifest.mpd");
        let shape = |text: &str| representations(text, &path);
        let (here, there) = (local.text(&path).await, remote.body(&path).await);
        let there = String::from_utf8(there.to_vec()).unwrap();
        let (here, there) = (shape(&here), shape(&there));
        assert_eq!(here.len(), there.len(), "{name}");
        for (here, there) in here.iter().zip(&there) {
            assert_eq!(here.segments.len(), there.segments.len(), "{name}");
            // Versions differ, since entity tags are part of them; bytes do not.
            for (here, there) in here.segments.iter().zip(&there.segments) {
                assert_eq!(local.body(&here.url).await, remote.body(&there.url).await, "{}", there.url);
            }
        }
        assert_eq!(remote.get(&format!("/{name}/master.m3u8")).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_segment_is_one_read_of_its_own_bytes_however_many_ask() {
    let remote = Remote::of(&["tour"]).await;
    for url in remote.segments("tour").await.iter().filter(|url| url.contains("/video")) {
        remote.take_reads();
        let bodies = futures_util::future::join_all((0..50).map(|_| remote.body(url))).await;
        let reads = remote.take_reads();
        assert_eq!(reads.len(), 1, "{url}: {reads:?}");
        let read = reads[0].1.end - reads[0].1.start;
        assert!(read <= bodies[0].len() as u64 * 105 / 100, "{read} bytes read for {}", bodies[0].len());
        assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[tokio::test]
async fn what_fails_is_asked_for_again_and_what_is_cut_is_read_on() {
    let remote = Remote::of(&["progressive"]).await;
    let segments = remote.segments("progressive").await;
    let whole = remote.body(&segments[0]).await;
    let again = Remote::at(Arc::clone(&remote.storage));
    assert_eq!(again.segments("progressive").await, segments);
    again.take_reads();
    again.fail(&[Fault::Error, Fault::Cut, Fault::Cut]);
    assert_eq!(again.body(&segments[0]).await, whole);
    let reads = again.take_reads();
    assert_eq!(reads.len(), 4);
    assert!(reads.windows(2).all(|pair| pair[0].1.start <= pair[1].1.start && pair[0].1.end == pair[1].1.end));
    assert!(reads[3].1.start > reads[0].1.start, "what came is not asked for again");
    assert_eq!(again.telemetry.storage_retries.get(), 3);
}

#[tokio::test]
async fn a_storage_that_keeps_failing_is_a_503_and_no_short_segment() {
    let remote = Remote::of(&["progressive"]).await;
    let segments = remote.segments("progressive").await;
    remote.fail(&[Fault::Cut, Fault::Error, Fault::Error, Fault::Error]);
    let answer = remote.get(&segments[0]).await;
    answer.problem(503, "public, max-age=1");
    assert_eq!(remote.telemetry.storage_failures.get(), 1);
    assert_eq!(remote.get(&segments[0]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_replaced_object_is_seen_when_a_read_says_so_and_else_after_a_while() {
    let mut remote = Remote::of(&["progressive"]).await;
    let old = remote.segments("progressive").await;
    remote.body(&old[0]).await;
    remote.storage.put_file(&testdata("av1"), "progressive.mp4").await;
    // Nobody has looked: what is cached is served.
    assert_eq!(remote.segments("progressive").await, old);
    // A read that says 412 ends that at once.
    remote.get(&old[1]).await.problem(503, "public, max-age=1");
    let new = remote.segments("progressive").await;
    assert_ne!(new, old);
    remote.body(&new[0]).await;
    assert_eq!(
        remote.get(&old[0]).await.status,
        StatusCode::OK,
        "what is cached of the old one is served for its grace"
    );
    remote.get(&old[1]).await.problem(404, "public, max-age=5");

    remote.storage.put_testdata("progressive").await;
    assert_eq!(remote.segments("progressive").await, new);
    remote.now = remote.now.after(Duration::from_secs(31));
    assert_ne!(remote.segments("progressive").await, new);
}

#[tokio::test]
async fn another_entity_tag_is_another_object() {
    let remote = Remote::of(&["progressive"]).await;
    let segments = remote.segments("progressive").await;
    remote.fail(&[Fault::OtherTag]);
    remote.get(&segments[0]).await.problem(503, "public, max-age=1");
    remote.body(&remote.segments("progressive").await[0]).await;
}

/// Tracks that could not be read because their object was another one just then were left out, and the others cut as if they were not there.
#[tokio::test]
async fn a_presentation_is_opened_whole_or_not_at_all() {
    for name in ["tour", "muxed", "packaging-flat"] {
        let path = format!("/{name}/master.m3u8");
        let names = |text: &[u8]| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            text.matches("media.m3u8").count()
        };
        let whole = Remote::of(&[name]).await;
        let listed = names(&whole.body(&path).await);
        let reads = whole.take_reads().len();
        for spoiled in 0..reads {
            let remote = Remote::of(&[name]).await;
            remote.fail(&vec![Fault::Not; spoiled]);
            remote.fail(&[Fault::OtherTag]);
            let answer = remote.get(&path).await;
            match answer.status {
                StatusCode::OK => assert_eq!(names(&answer.body), listed, "{name}, read {spoiled} of {reads}"),
                _ => _ = answer.problem(503, "public, max-age=1"),
            }
            assert_eq!(names(&remote.body(&path).await), listed, "{name}, read {spoiled} of {reads}");
        }
    }
}

#[tokio::test]
async fn a_storage_that_is_down_takes_nothing_off_the_air_that_is_cached() {
    let mut remote = Remote::of(&["progressive"]).await;
    let segments = remote.segments("progressive").await;
    remote.body(&segments[0]).await;
    remote.storage.noted().is_down = true;
    remote.now = remote.now.after(Duration::from_secs(3600));
    assert_eq!(remote.segments("progressive").await, segments);
    remote.body(&segments[0]).await;
    assert_eq!(remote.telemetry.storage_stale.get(), 1);
    remote.get(&segments[1]).await.problem(503, "public, max-age=1");
    remote.get("/unheard-of/master.m3u8").await.problem(503, "public, max-age=1");
    remote.storage.noted().is_down = false;
    remote.now = remote.now.after(Duration::from_secs(6));
    assert_eq!(remote.segments("progressive").await, segments);
    remote.body(&segments[1]).await;
    remote.get("/unheard-of/master.m3u8").await.problem(404, "public, max-age=5");
}

#[tokio::test]
async fn a_right_url_of_a_storage_that_is_down_is_not_unknown() {
    let known = Remote::of(&["progressive"]).await;
    let segments = known.segments("progressive").await;
    let storage = Arc::clone(&known.storage);
    // Another process, which has opened nothing yet.
    let mut remote = Remote::at(storage);
    remote.storage.noted().is_down = true;
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(ask(&remote.origin, remote.now, method, &segments[0], &[]).await.status, 503);
    }
    remote.storage.noted().is_down = false;
    remote.now = remote.now.after(Duration::from_secs(2));
    remote.body(&segments[0]).await;
}

#[tokio::test]
async fn looking_for_one_name_lists_its_folder_and_no_other() {
    let remote = Remote::of(&["progressive", "tour"]).await;
    for number in 0..100 {
        remote.storage.put_file(&testdata("av1"), &format!("film-{number}/film.mp4")).await;
    }
    remote.body("/film-7/film/master.m3u8").await;
    let before = remote.storage.noted().lists;
    assert!(before <= 2, "{before} listings for one name");
    remote.body("/film-7/film/master.m3u8").await;
    futures_util::future::join_all((0..20).map(|_| remote.body("/progressive/master.m3u8"))).await;
    assert!(remote.storage.noted().lists - before <= 2, "many who ask for one name look once");
}

#[tokio::test]
async fn what_was_opened_once_is_opened_without_a_read_after_a_restart() {
    const NAMES: &[&str] = &[
        "tour",
        "packaging",
        "muxed",
        "progressive",
        "hybrid",
        "encrypted-cbcs",
        "shape-mfra",
        "thumbnails",
        "shape-captions",
    ];
    let dir = tempfile::tempdir().unwrap();
    let index = || Some(Arc::new(IndexFolder::open(dir.path().join("index"), 1 << 30).unwrap()));
    let storage = Arc::new(Faulty::default());
    for name in NAMES {
        storage.put_testdata(name).await;
    }
    let first = Remote::with_index(Arc::clone(&storage), index());
    let mut manifests = Vec::new();
    for name in NAMES {
        manifests.push(first.body(&format!("/{name}/manifest.mpd")).await);
    }
    assert!(!first.take_reads().is_empty());
    let second = Remote::with_index(Arc::clone(&storage), index());
    for (name, manifest) in NAMES.iter().zip(&manifests) {
        assert_eq!(second.body(&format!("/{name}/manifest.mpd")).await, *manifest, "{name}");
    }
    assert_eq!(second.take_reads(), []);
    // Media is still read from where it is, and only in the state that was indexed.
    let segments = second.segments("progressive").await;
    second.body(&segments[0]).await;
    storage.put_file(&testdata("av1"), "progressive.mp4").await;
    second.get(&segments[1]).await.problem(503, "public, max-age=1");
    assert_ne!(second.segments("progressive").await, segments);
    // What is spoiled on disk is read again.
    for entry in std::fs::read_dir(dir.path().join("index")).unwrap() {
        std::fs::write(entry.unwrap().path(), b"HWIX").unwrap();
    }
    let third = Remote::with_index(Arc::clone(&storage), index());
    assert_eq!(third.body("/tour/manifest.mpd").await, manifests[0]);
    assert!(!third.take_reads().is_empty());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_opening_waited_without_end_for_a_disk_that_hangs() {
    use std::os::fd::AsRawFd;
    let dir = tempfile::tempdir().unwrap();
    let index = || Some(Arc::new(IndexFolder::open(dir.path().join("index"), 1 << 30).unwrap()));
    let storage = Arc::new(Faulty::default());
    storage.put_testdata("progressive").await;
    let first = Remote::with_index(Arc::clone(&storage), index());
    let manifest = first.body("/progressive/manifest.mpd").await;
    first.take_reads();
    // A pipe that nobody writes to answers no read. What was listed is there.
    let (reading, writing) = std::io::pipe().unwrap();
    for entry in std::fs::read_dir(dir.path().join("index")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "hwix") {
            std::fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(format!("/proc/self/fd/{}", reading.as_raw_fd()), path).unwrap();
        }
    }
    let second = Remote::with_index(Arc::clone(&storage), index());
    assert_eq!(second.body("/progressive/manifest.mpd").await, manifest);
    assert!(second.telemetry.storage_lists_kept.get() > 0 && second.telemetry.storage_index_late.get() > 0);
    assert!(!second.take_reads().is_empty(), "the storage was asked");
    drop(writing);
}

#[tokio::test]
async fn what_was_listed_by_a_clock_that_was_ahead_is_not_believed_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(Faulty::default());
    storage.put_testdata("progressive").await;
    let start = |now: Utc| {
        let index = Some(Arc::new(IndexFolder::open(dir.path().join("index"), 1 << 30).unwrap()));
        let requests = store::Options::default();
        Remote { now, ..Remote::keeping(Arc::clone(&storage), index, None, Arc::default(), requests) }
    };
    let url = "/progressive/manifest.mpd";
    let before = start(NOW.after(Duration::from_secs(86_400))).body(url).await;
    storage.put_file(&testdata("av1"), "progressive.mp4").await;
    // The clock was set right, and the server started again.
    let after = start(NOW).body(url).await;
    assert_ne!(after, before, "what was replaced is seen at once");
    std::mem::take(&mut storage.noted().lists);
    assert_eq!(start(NOW.after(Duration::from_secs(1))).body(url).await, after);
    assert_eq!(storage.noted().lists, 0, "what was listed then is kept by the right clock");
}

#[tokio::test]
async fn what_was_listed_before_a_restart_is_believed_and_asked_for_again() {
    const NAMES: &[&str] = &["progressive", "packaging", "a/b/film"];
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(Faulty::default());
    storage.put_testdata("progressive").await;
    storage.put_testdata("packaging").await;
    storage.put_file(&testdata("hevc"), "a/b/film.mp4").await;
    let start = |after: Duration| {
        let index = Some(Arc::new(IndexFolder::open(dir.path().join("index"), 1 << 30).unwrap()));
        let requests = store::Options { attempts_max: 1, ..store::Options::default() };
        Remote { now: NOW.after(after), ..Remote::keeping(Arc::clone(&storage), index, None, Arc::default(), requests) }
    };
    let url = |name: &str| format!("/{name}/manifest.mpd");
    let take_lists = || std::mem::take(&mut storage.noted().lists);
    let first = start(Duration::ZERO);
    let mut manifests = Vec::new();
    for name in NAMES {
        manifests.push(first.body(&url(name)).await);
    }
    assert!(take_lists() > 0 && !first.take_reads().is_empty());

    // As long as it is fresh nothing is asked.
    let fresh = start(Duration::from_secs(29));
    for (name, manifest) in NAMES.iter().zip(&manifests) {
        assert_eq!(fresh.body(&url(name)).await, manifest, "{name}");
    }
    assert_eq!((take_lists(), fresh.take_reads()), (0, Vec::new()));
    fresh.get("/packaging-flat/manifest.mpd").await.problem(404, "public, max-age=5");
    assert!(take_lists() > 0, "what is not there is asked for");

    // Later it is, while nobody waits for that; and what was replaced is seen.
    storage.put_file(&testdata("av1"), "progressive.mp4").await;
    storage.hang(Some(Hanging::Lists));
    let later = start(Duration::from_secs(60));
    for (name, manifest) in NAMES.iter().zip(&manifests) {
        assert_eq!(later.body(&url(name)).await, manifest, "{name}");
    }
    storage.hang(None);
    while later.body(&url("progressive")).await == manifests[0] {
        tokio::task::yield_now().await;
    }
    assert_eq!(later.telemetry.storage_stale.get(), 0);
    assert!(later.telemetry.storage_lists_kept.get() >= 3);

    // Much later the storage has the first word, unless it says nothing.
    take_lists();
    let much_later = start(Duration::from_secs(7200));
    assert_eq!(much_later.body(&url("a/b/film")).await, manifests[2]);
    assert!(take_lists() > 0);
    storage.noted().is_down = true;
    let down = start(Duration::from_secs(72_000));
    assert_eq!(down.body(&url("a/b/film")).await, manifests[2]);
    assert_eq!(down.telemetry.storage_stale.get(), 1);
}

#[tokio::test]
async fn a_film_at_the_top_of_a_storage_was_not_found_if_its_name_had_a_dot() {
    let storage = Arc::new(Faulty::default());
    storage.put_file(&testdata("av1"), "film.two.mp4").await;
    Remote::at(storage).body("/film.two/manifest.mpd").await;
}

#[tokio::test]
async fn a_film_among_many_was_found_by_a_look_at_each_of_them() {
    let storage = Arc::new(Faulty::default());
    for film in 0..100 {
        storage.put_file(&testdata("av1"), &format!("films/{film}.mp4")).await;
    }
    storage.put_file(&testdata("muxed").with_file_name("muxed.en.vtt"), "films/7.en.vtt").await;
    storage.put_file(&testdata("av1"), "films/8.m4v").await;
    let remote = Remote::at(Arc::clone(&storage));
    let manifest = remote.body("/films/7/manifest.mpd").await;
    assert!(String::from_utf8_lossy(&manifest).contains("lang=\"en\""), "its subtitles");
    let twins = remote.get("/films/8/manifest.mpd").await;
    assert!(twins.text().contains("two things are called films/8"), "{}", twins.text());
    let reads = remote.take_reads();
    assert!(reads.iter().all(|(key, _)| ["films/7.", "films/8."].iter().any(|own| key.starts_with(own))), "{reads:?}");
    // A packaging beside them is one all the same, and what belongs to it is nothing of its own.
    let mut segment = String::new();
    for entry in std::fs::read_dir(testdata("packaging-flat")).unwrap() {
        let path = entry.unwrap().path();
        storage.put_file(&path, &format!("films/{}", path.file_name().unwrap().to_string_lossy())).await;
        segment = path.file_stem().unwrap().to_string_lossy().into_owned();
    }
    let later = Remote::at(storage);
    assert_eq!(later.body("/films/7/manifest.mpd").await, manifest);
    later.body("/films/manifest.mpd").await;
    later.get(&format!("/films/{segment}/manifest.mpd")).await.problem(404, "public, max-age=5");
}

#[tokio::test]
async fn after_indexing_a_storage_is_asked_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let index = || Some(Arc::new(IndexFolder::open(dir.path().join("index"), 1 << 30).unwrap()));
    let storage = Arc::new(Faulty::default());
    for (name, key) in [("progressive", "film.mp4"), ("av1", "film.two.mp4"), ("hevc", "a/film.mp4")] {
        storage.put_file(&testdata(name), key).await;
    }
    storage.put_testdata("packaging").await;
    let first = Remote::with_index(Arc::clone(&storage), index());
    let shelf = &first.origin.library().shelves()[0];
    let mut folders = vec![std::path::PathBuf::from("/")];
    while let Some(folder) = folders.pop() {
        let (entries, below) = shelf.of_folder(&folder, NOW).await.unwrap();
        folders.extend(below);
        for entry in entries {
            tokio::task::spawn_blocking(move || entry.open(NOW).map(|_| ())).await.unwrap().unwrap();
        }
    }
    let second = Remote::with_index(Arc::clone(&storage), index());
    storage.noted().lists = 0;
    second.take_reads();
    for name in ["film", "film.two", "a/film", "packaging"] {
        second.body(&format!("/{name}/manifest.mpd")).await;
    }
    assert_eq!(second.take_reads(), []);
    assert_eq!(storage.noted().lists, 0);
}

#[tokio::test]
async fn media_that_was_read_once_is_read_from_disk_after_a_restart() {
    const NAMES: &[&str] = &["tour", "muxed", "progressive", "encrypted-cbcs"];
    let dir = tempfile::tempdir().unwrap();
    let storage = Arc::new(Faulty::default());
    for name in NAMES {
        storage.put_testdata(name).await;
    }
    let first = Remote::with_disk(Arc::clone(&storage), dir.path()).await;
    let mut bodies = Vec::new();
    for name in NAMES {
        for url in first.segments(name).await {
            let body = first.body(&url).await;
            bodies.push((url, body));
        }
    }
    assert_eq!(first.telemetry.disk_hits.get(), 0);
    first.origin.end().await;
    first.take_reads();
    drop(first);

    let second = Remote::with_disk(Arc::clone(&storage), dir.path()).await;
    for (url, body) in &bodies {
        assert_eq!(second.body(url).await, body, "{url}");
    }
    assert_eq!(second.take_reads(), []);
    assert_eq!((second.telemetry.disk_misses.get(), second.telemetry.storage_read_bytes.get()), (0, 0));
    assert!(second.telemetry.disk_hits.get() >= bodies.len() as u64);
    // What is purged is read anew, and nothing else.
    second.origin.purge(&Purge::Presentation("progressive".to_owned())).await;
    for (url, body) in &bodies {
        assert_eq!(second.body(url).await, body, "{url}");
        assert_eq!(!second.take_reads().is_empty(), url.starts_with("/progressive/"), "{url}");
    }
    second.origin.end().await;
    drop(second);

    // What is spoiled is as good as lost, which harms nobody.
    for entry in std::fs::read_dir(dir.path().join("media/blocks")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.iter_mut().skip(8192).step_by(1000).for_each(|byte| *byte ^= 0x10);
        std::fs::write(path, bytes).unwrap();
    }
    let third = Remote::with_disk(Arc::clone(&storage), dir.path()).await;
    for (url, body) in &bodies {
        assert_eq!(third.body(url).await, body, "{url}");
    }
    assert!(third.telemetry.disk_misses.get() > 0);
}

/// Asked so, a storage that does not answer is waited for as long as a test lasts.
fn patient() -> store::Options {
    let hour = Duration::from_secs(3600);
    store::Options { silence: hour, timeout: hour, ..store::Options::default() }
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// Every look into a folder kept a thread that may block while it waited for the storage, and there were as many looks as names that were asked for.
#[test]
fn a_purge_waited_for_a_storage_that_hangs() {
    const ASKED: usize = 40;
    let threads = JUDGED_AT_ONCE + 1;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(threads).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let storage = Arc::new(Faulty::default());
        for number in 0..ASKED {
            // What two files in one folder are shows in their heads.
            storage.put_file(&testdata("progressive.mp4"), &format!("{number}/a.mp4")).await;
            storage.put_file(&testdata("progressive.mp4"), &format!("{number}/b.mp4")).await;
        }
        let remote = Arc::new(Remote::with_disk_asking(Arc::clone(&storage), dir.path(), patient()).await);
        storage.hang(Some(Hanging::Reads));
        let asking = (0..ASKED).map(|number| {
            let remote = Arc::clone(&remote);
            tokio::spawn(async move { remote.get(&format!("/{number}/master.m3u8")).await.status })
        });
        let asking: Vec<_> = asking.collect();
        let waiting = remote.telemetry.reads_waiting.at(ReadOf::Folder);
        until(|| waiting.get() == (ASKED - JUDGED_AT_ONCE) as i64).await;
        assert_eq!(remote.telemetry.reads_under_way.at(ReadOf::Folder).get(), JUDGED_AT_ONCE as i64);
        // There is a thread for what waits for other things, and a purge needs none.
        let (over, wait) = std::sync::mpsc::channel::<()>();
        let last = tokio::task::spawn_blocking(move || wait.recv());
        remote.origin.purge(&Purge::Presentation("0".to_owned())).await;
        drop(over);
        last.await.unwrap().unwrap_err();
        storage.hang(None);
        for asked in asking {
            assert_eq!(asked.await.unwrap(), StatusCode::OK);
        }
    });
}

/// There was one line for the presentations of all storages that were to be opened.
#[tokio::test]
async fn a_storage_that_hangs_held_up_the_opening_of_what_lies_in_another() {
    const ASKED: usize = 8;
    let (hanging, other) = (Arc::new(Faulty::default()), Arc::new(Faulty::default()));
    for number in 0..ASKED {
        hanging.put_file(&testdata("progressive.mp4"), &format!("{number}.mp4")).await;
    }
    other.put_testdata("progressive").await;
    let telemetry = Arc::<Telemetry>::default();
    let shelf = |name: &str, storage: &Arc<Faulty>| {
        let (url, telemetry) = (format!("memory://{name}"), Arc::clone(&telemetry));
        let store = Store::new(storage.clone(), Key::default(), url, patient(), Arc::clone(&telemetry));
        let options = shelf::Options { age: Duration::from_secs(30), segment_target: Duration::from_secs(6) };
        Arc::new(Shelf::new(name, Arc::new(store), Kind::Listed, options, telemetry))
    };
    let mut local = library::Options::new(std::path::PathBuf::new());
    local.roots.clear();
    let library = Library::with_shelves(local, vec![shelf("hanging", &hanging), shelf("other", &other)]);
    let origin = Arc::new(Origin::new(Arc::new(library), Options::default(), Arc::clone(&telemetry)));
    hanging.hang(Some(Hanging::Reads));
    let asking = (0..ASKED).map(|number| {
        let origin = Arc::clone(&origin);
        let path = format!("/hanging/{number}/master.m3u8");
        tokio::spawn(async move { ask(&origin, NOW, Method::GET, &path, &[]).await.status })
    });
    let asking: Vec<_> = asking.collect();
    let (under_way, waiting) =
        (telemetry.reads_under_way.at(ReadOf::Opening), telemetry.reads_waiting.at(ReadOf::Opening));
    until(|| under_way.get() + waiting.get() == ASKED as i64).await;
    assert!(waiting.get() > 0, "{} are opened at once", under_way.get());
    let answer = ask(&origin, NOW, Method::GET, "/other/progressive/master.m3u8", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    hanging.hang(None);
    for asked in asking {
        assert_eq!(asked.await.unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn when_too_many_reads_wait_for_a_storage_the_next_is_refused_and_what_is_cached_is_not() {
    let remote = Remote::of(&["progressive"]).await;
    let segments = remote.segments("progressive").await;
    let requests = store::Options { requests_max: 1, waiting_max: 1, ..patient() };
    let remote = Remote::keeping(Arc::clone(&remote.storage), None, None, Arc::default(), requests);
    let remote = Arc::new(remote);
    remote.body(&segments[0]).await;
    remote.storage.hang(Some(Hanging::Reads));
    let asking: Vec<_> = segments[1..3]
        .iter()
        .map(|url| {
            let (remote, url) = (Arc::clone(&remote), url.clone());
            tokio::spawn(async move { remote.get(&url).await.status })
        })
        .collect();
    let telemetry = Arc::clone(&remote.telemetry);
    let count = |level: fn(&Telemetry) -> i64| level(&telemetry);
    until(|| count(|all| all.reads_waiting.at(ReadOf::Storage).get()) == 1).await;
    let (code, _) = remote.get(&segments[3]).await.problem(503, "public, max-age=1");
    assert_eq!(code, "reads_busy");
    assert_eq!(remote.telemetry.reads_refused.at(ReadOf::Storage).get(), 1);
    assert_eq!(remote.telemetry.storage_failures.get(), 0);
    remote.body(&segments[0]).await;
    remote.storage.hang(None);
    for asked in asking {
        assert_eq!(asked.await.unwrap(), StatusCode::OK);
    }
    remote.body(&segments[3]).await;
}

#[tokio::test(start_paused = true)]
async fn the_list_of_presentations_does_not_wait_for_a_storage_that_hangs() {
    let storage = Arc::new(Faulty::default());
    for name in ["progressive", "av1", "hevc"] {
        storage.put_testdata(name).await;
    }
    let mut remote = Remote::keeping(Arc::clone(&storage), None, None, Arc::default(), patient());
    remote.body("/progressive/master.m3u8").await;
    let listed = remote.origin.listings(None, 10, remote.now).await;
    assert_eq!((listed.len(), listed[0].tracks.len()), (1, 2));
    storage.hang(Some(Hanging::Lists));
    remote.now = remote.now.after(Duration::from_secs(3600));
    let listed = remote.origin.listings(None, 10, remote.now).await;
    assert_eq!(listed[0].tracks.len(), 2, "what is opened is told of without asking the storage");
    // Evicted: it has to be asked.
    remote.origin.purge(&Purge::All).await;
    let before = tokio::time::Instant::now();
    let listed = remote.origin.listings(None, 10, remote.now).await;
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!((listed.len(), listed[0].tracks.len(), listed[0].warnings.len()), (1, 0, 1));
    storage.hang(None);
    remote.body("/progressive/master.m3u8").await;
    assert_eq!(remote.origin.listings(None, 10, remote.now).await[0].tracks.len(), 2);
}

#[tokio::test]
async fn presentations_of_a_storage_that_hangs_took_the_places_of_all_others() {
    let storage = Arc::new(Faulty::default());
    for number in 0..100 {
        storage.put_file(&testdata("progressive.mp4"), &format!("{number}.mp4")).await;
    }
    let remote = Arc::new(Remote::keeping(Arc::clone(&storage), None, None, Arc::default(), patient()));
    storage.hang(Some(Hanging::Reads));
    let asking: Vec<_> = (0..100)
        .map(|number| {
            let remote = Arc::clone(&remote);
            tokio::spawn(async move { remote.get(&format!("/{number}/master.m3u8")).await })
        })
        .collect();
    let (refused, waiting) =
        (remote.telemetry.reads_refused.at(ReadOf::Opening), remote.telemetry.reads_waiting.at(ReadOf::Opening));
    until(|| refused.get() > 0 && refused.get() as i64 + waiting.get() + 8 == 100).await;
    // Half of 256 places are for openings.
    assert!(waiting.get() + 8 < 128 - 32, "{waiting:?} wait");
    storage.hang(None);
    let mut busy = 0;
    for asked in asking {
        let answer = asked.await.unwrap();
        if answer.status != StatusCode::OK {
            assert_eq!(answer.problem(503, "public, max-age=1").0, "busy");
            busy += 1;
        }
    }
    assert_eq!(busy, refused.get());
}
