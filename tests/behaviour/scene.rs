//! The actors of the scenes: a library in a folder of its own, an origin that serves it, a clock that is told the time, and what
//! is answered.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use headwater::content::library::{self, Library};
use headwater::origin::options::Options;
use headwater::origin::serve::Origin;
use headwater::telemetry::Telemetry;
use headwater::time::Utc;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use quick_xml::events::Event;

/// When every scene begins.
pub(crate) const NOW: Utc = Utc(1_900_000_000_000);
/// When its files were written: long enough ago that they rest.
pub(crate) const WRITTEN: Duration = Duration::from_secs(1_899_000_000);

/// What testdata holds that plays whole, in the clear.
pub(crate) const CLEAR: &[&str] = &[
    "ac3",
    "av1",
    "hevc",
    "hevc-hdr10",
    "hybrid",
    "progressive",
    "muxed",
    "packaging",
    "packaging-flat",
    "shape-64-bit-sizes",
    "shape-alternating",
    "shape-base-data-offset",
    "shape-boxes-between",
    "shape-empty-edit",
    "shape-late-start",
    "shape-many-truns",
    "shape-mfra",
    "shape-no-base-no-tfdt",
    "shape-one-fragment",
    "shape-short-fragments",
    "shape-sidx-each",
    "shape-signed-offsets",
    "shape-tfdt-v0",
    "shape-trex-defaults",
    "tour",
    "vp9",
];
/// What plays encrypted.
pub(crate) const ENCRYPTED: &[&str] = &["encrypted-cbcs", "encrypted-cenc"];

/// Where `name` lies in testdata: a folder, or a file.
pub(crate) fn testdata(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let folder = root.join(name);
    if folder.exists() { folder } else { root.join(format!("{name}.mp4")) }
}

/// Copies a file, or a folder with all below it.
pub(crate) fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
        return;
    }
    write(to, &fs::read(from).unwrap(), WRITTEN);
}

/// Writes a file as if it had been written at `modified` since 1970.
pub(crate) fn write(path: &Path, bytes: &[u8], modified: Duration) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(path, bytes).unwrap();
    touch(path, modified);
}

/// Makes a file last modified at `modified` since 1970.
pub(crate) fn touch(path: &Path, modified: Duration) {
    fs::File::options().write(true).open(path).unwrap().set_modified(UNIX_EPOCH + modified).unwrap();
}

/// A server without sockets.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    pub(crate) origin: Arc<Origin>,
    pub(crate) telemetry: Arc<Telemetry>,
    /// The time that requests and rescans are told.
    pub(crate) now: Utc,
}

impl Scene {
    /// Serves copies of what testdata holds under `names`.
    pub(crate) fn of(names: &[&str]) -> Scene {
        Scene::with(names, |_, _| {})
    }

    /// The same, with other options.
    pub(crate) fn with(names: &[&str], set: impl FnOnce(&mut library::Options, &mut Options)) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let from = testdata(name);
            copy(&from, &dir.path().join(from.file_name().unwrap()));
        }
        Scene::at(dir, set)
    }

    /// Serves what lies in `dir`.
    pub(crate) fn at(dir: tempfile::TempDir, set: impl FnOnce(&mut library::Options, &mut Options)) -> Scene {
        let mut library = library::Options::new(dir.path().to_path_buf());
        let mut options = Options::default();
        set(&mut library, &mut options);
        let telemetry = Arc::<Telemetry>::default();
        let library = Arc::new(Library::new(library));
        library.rescan(NOW).unwrap();
        let origin = Arc::new(Origin::new(library, options, Arc::clone(&telemetry)));
        Scene { dir, origin, telemetry, now: NOW }
    }

    /// Where `name` lies in the library.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Looks at the library again.
    pub(crate) fn rescan(&self) {
        self.origin.library().rescan(self.now).unwrap();
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
    }

    /// The names of all presentations.
    pub(crate) fn names(&self) -> Vec<String> {
        self.origin.library().catalog().entries.keys().cloned().collect()
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.origin, self.now, method, path, headers).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[]).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.ask(Method::HEAD, path, &[]).await
    }

    /// The body of what must be there.
    #[track_caller]
    pub(crate) fn body(&self, path: &str) -> impl Future<Output = Bytes> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} asked for by {caller}: {}", answer.text());
            answer.body
        }
    }

    /// The text of what must be there.
    pub(crate) async fn text(&self, path: &str) -> String {
        String::from_utf8(self.body(path).await.to_vec()).unwrap()
    }

    /// What the multivariant playlist of `presentation` leads to.
    pub(crate) async fn hls(&self, presentation: &str) -> Hls {
        let master = format!("/{presentation}/master.m3u8");
        Hls::read(self, &master).await
    }

    /// What the MPD of `presentation` leads to.
    pub(crate) async fn dash(&self, presentation: &str) -> Vec<Representation> {
        self.representations(presentation).await.into_iter().filter(|own| own.trick_of.is_none()).collect()
    }

    /// What the MPD of `presentation` offers to go through it quickly.
    pub(crate) async fn dash_trick(&self, presentation: &str) -> Vec<Representation> {
        self.representations(presentation).await.into_iter().filter(|own| own.trick_of.is_some()).collect()
    }

    async fn representations(&self, presentation: &str) -> Vec<Representation> {
        let path = format!("/{presentation}/manifest.mpd");
        representations(&self.text(&path).await, &path)
    }

    /// The URL of the first segment of the track whose name begins with `track`.
    pub(crate) async fn first_segment(&self, presentation: &str, track: &str) -> String {
        let found = self.dash(presentation).await;
        let found = found.iter().find(|r| r.id.starts_with(track)).expect("a track of this name");
        found.segments[0].url.clone()
    }

    /// The initialization segment and all media segments of a track, one after another.
    pub(crate) async fn whole(&self, track: &Representation) -> Vec<u8> {
        let mut bytes = self.body(&track.init).await.to_vec();
        for segment in &track.segments {
            bytes.extend_from_slice(&self.body(&segment.url).await);
        }
        bytes
    }
}

/// Asks `origin`.
pub(crate) async fn ask(
    origin: &Arc<Origin>,
    now: Utc,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = origin.serve(&request.body(()).unwrap(), now).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (mut headers, status) = (head.headers, head.status);
    let how = headers.remove("cache-status").map(|how| how.to_str().unwrap().to_owned()).unwrap_or_default();
    Answer { status, headers, body, how }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How the cache came by it (RFC 9211).
    pub(crate) how: String,
}

/// The same answer, however the cache came by it.
impl PartialEq for Answer {
    fn eq(&self, other: &Answer) -> bool {
        (self.status, &self.headers, &self.body) == (other.status, &other.headers, &other.body)
    }
}

impl Answer {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Requires an error as all errors are: JSON that names the status, and a Cache-Control. Returns its code and message.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, cache_control: &str) -> (String, String) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), cache_control);
        assert_eq!(self.header("content-length"), self.body.len().to_string());
        assert_eq!(self.header("access-control-allow-origin"), "*");
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(json["status"], status);
        (json["error"].as_str().unwrap().to_owned(), json["message"].as_str().unwrap().to_owned())
    }
}

/// Requires that bytes are equal, and does not print them.
#[track_caller]
pub(crate) fn same(found: &[u8], expected: &[u8], what: &str) {
    let first = found.iter().zip(expected).position(|(a, b)| a != b);
    assert!(
        found == expected,
        "{what}: {} bytes, {} expected, the first that differs: {first:?}",
        found.len(),
        expected.len()
    );
}

/// A relative reference in the document at `base`, resolved (RFC 3986 §5.2, for the plain references that manifests have).
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    let (mut folder, _) = base.rsplit_once('/').unwrap();
    let mut rest = reference;
    while let Some(above) = rest.strip_prefix("../") {
        (folder, rest) = (folder.rsplit_once('/').unwrap().0, above);
    }
    assert!(!rest.starts_with('/') && !rest.contains(':') && !rest.contains(".."), "not plainly relative: {reference}");
    format!("{folder}/{rest}")
}

/// What HLS offers.
pub(crate) struct Hls {
    pub(crate) master: m3u8_rs::MasterPlaylist,
    pub(crate) playlists: Vec<MediaPlaylist>,
    /// Those of I-frames.
    pub(crate) tricks: Vec<MediaPlaylist>,
}

/// A media playlist.
pub(crate) struct MediaPlaylist {
    pub(crate) url: String,
    pub(crate) text: String,
    pub(crate) list: m3u8_rs::MediaPlaylist,
    pub(crate) init: Option<String>,
    pub(crate) segments: Vec<String>,
    /// EXTINF by segment, in microseconds.
    pub(crate) durations_us: Vec<u64>,
}

impl Hls {
    async fn read(scene: &Scene, url: &str) -> Hls {
        let text = scene.body(url).await;
        let (rest, master) = m3u8_rs::parse_master_playlist(&text).unwrap();
        assert!(rest.is_empty());
        let renditions = master.alternatives.iter().filter_map(|media| media.uri.clone());
        let mut urls: Vec<String> = master
            .variants
            .iter()
            .filter(|variant| !variant.is_i_frame)
            .map(|variant| variant.uri.clone())
            .chain(renditions)
            .map(|uri| resolve(url, &uri))
            .collect();
        urls.sort();
        urls.dedup();
        let mut playlists = Vec::new();
        for url in urls {
            playlists.push(MediaPlaylist::read(scene, url).await);
        }
        let mut tricks = Vec::new();
        for variant in master.variants.iter().filter(|variant| variant.is_i_frame) {
            tricks.push(MediaPlaylist::read(scene, resolve(url, &variant.uri)).await);
        }
        Hls { master, playlists, tricks }
    }

    /// The playlists whose segments are fragmented MP4.
    pub(crate) fn cmaf(&self) -> impl Iterator<Item = &MediaPlaylist> {
        self.playlists.iter().filter(|playlist| playlist.init.is_some())
    }
}

impl MediaPlaylist {
    async fn read(scene: &Scene, url: String) -> MediaPlaylist {
        let text = scene.text(&url).await;
        let (rest, list) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
        assert!(rest.is_empty());
        let init = list.segments.iter().find_map(|segment| segment.map.as_ref()).map(|map| resolve(&url, &map.uri));
        let segments = list.segments.iter().map(|segment| resolve(&url, &segment.uri)).collect();
        // m3u8-rs reads durations as f32, which is too coarse for sums.
        let microseconds = |text: &str| {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            whole.parse::<u64>().unwrap() * 1_000_000 + format!("{fraction:0<6}").parse::<u64>().unwrap()
        };
        let durations = text.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
        let durations_us = durations.map(|rest| microseconds(rest.split(',').next().unwrap())).collect();
        MediaPlaylist { url, text, list, init, segments, durations_us }
    }
}

/// A Representation of an MPD, with its segments.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Representation {
    /// The id of its Period.
    pub(crate) period: String,
    /// The id of its AdaptationSet, and of the one that it is to go through quickly.
    pub(crate) set: String,
    pub(crate) trick_of: Option<String>,
    pub(crate) id: String,
    pub(crate) content_type: String,
    pub(crate) codecs: String,
    pub(crate) init: String,
    pub(crate) timescale: u64,
    /// presentationTimeOffset in ticks.
    pub(crate) offset: u64,
    pub(crate) segments: Vec<TimelineSegment>,
}

/// A segment of a SegmentTimeline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimelineSegment {
    pub(crate) url: String,
    pub(crate) time: u64,
    pub(crate) duration: u64,
}

/// The Representations of the MPD in `text`, at `path`.
pub(crate) fn representations(text: &str, path: &str) -> Vec<Representation> {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut found: Vec<Representation> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let (mut content_type, mut template, mut timeline) = (String::new(), Vec::new(), Vec::<(u64, u64)>::new());
    let (mut base, mut period, mut set, mut trick_of) = (String::new(), String::new(), String::new(), None);
    let get =
        |attributes: &[(String, String)], key: &str| attributes.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    let number =
        |attributes: &[(String, String)], key: &str| get(attributes, key).map(|value| value.parse::<u64>().unwrap());
    let mut representation = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => break,
            Event::Start(start) => {
                let name = start.name().as_ref().to_owned();
                let attributes: Vec<(String, String)> = start
                    .attributes()
                    .map(|attribute| {
                        let attribute = attribute.unwrap();
                        (attribute.key.as_ref().to_owned(), attribute.value.into_owned())
                    })
                    .collect();
                match name.as_str() {
                    "Period" => period = get(&attributes, "id").unwrap(),
                    "AdaptationSet" => {
                        content_type = get(&attributes, "contentType").unwrap();
                        (set, trick_of) = (get(&attributes, "id").unwrap(), None);
                    }
                    "EssentialProperty"
                        if get(&attributes, "schemeIdUri").unwrap() == "http://dashif.org/guidelines/trickmode" =>
                    {
                        trick_of = get(&attributes, "value");
                    }
                    "SegmentTemplate" => (template, timeline) = (attributes, Vec::new()),
                    "S" => {
                        let mut time =
                            number(&attributes, "t").unwrap_or_else(|| timeline.last().map_or(0, |(t, d)| t + d));
                        let duration = number(&attributes, "d").unwrap();
                        for _ in 0..=number(&attributes, "r").unwrap_or(0) {
                            timeline.push((time, duration));
                            time += duration;
                        }
                    }
                    "Representation" => (representation, base) = (attributes, String::new()),
                    _ => {}
                }
                open.push(name);
            }
            Event::Text(text) if open.last().is_some_and(|name| name == "BaseURL") => {
                base.push_str(&text);
            }
            Event::End(_) => {
                if open.pop().as_deref() != Some("Representation") {
                    continue;
                }

                let id = get(&representation, "id").unwrap();
                let url = |reference: &str| {
                    let reference = reference.replace("$RepresentationID$", &id);
                    resolve(&resolve(path, &base), &reference)
                };
                let media = get(&template, "media").unwrap();
                let segment = |&(time, duration): &(u64, u64)| TimelineSegment {
                    url: url(&media.replace("$Time$", &time.to_string())),
                    time,
                    duration,
                };
                found.push(Representation {
                    period: period.clone(),
                    set: set.clone(),
                    trick_of: trick_of.clone(),
                    content_type: content_type.clone(),
                    codecs: get(&representation, "codecs").unwrap(),
                    init: url(&get(&template, "initialization").unwrap()),
                    timescale: number(&template, "timescale").unwrap(),
                    offset: number(&template, "presentationTimeOffset").unwrap_or(0),
                    segments: timeline.iter().map(segment).collect(),
                    id,
                });
            }
            _ => {}
        }
    }
    found
}
