//! What is pushed is broadcast: scripted encoders under a clock that is told the time, and players that ask by full URLs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::content::library::{self, Library};
use headwater::content::live::channel::{Channels, Options};
use headwater::content::live::pushed::Refusal;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{self, Source};
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::origin::options::Options as OriginOptions;
use headwater::origin::serve::Origin;
use headwater::telemetry::Telemetry;
use headwater::time::Utc;
use http::Method;

use crate::scene::{self, Answer, NOW, Representation, representations, resolve, testdata};

/// An origin to which encoders push.
pub(crate) struct Studio {
    pub(crate) channels: Arc<Channels>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) now: Utc,
}

impl Studio {
    pub(crate) fn with(options: window::Options) -> Studio {
        Studio::of(Options { every: options, open: true, ..Options::default() }, NOW)
    }

    pub(crate) fn of(options: Options, now: Utc) -> Studio {
        // However slow the disk of this machine is.
        let options = Options { spool_patience: Duration::from_secs(60), ..options };
        Studio::over(Channels::open(options, now).unwrap(), now)
    }

    /// The same, of `channels` that are open.
    pub(crate) fn over(channels: Channels, now: Utc) -> Studio {
        let channels = Arc::new(channels);
        let library = Library::new(library::Options::new("there-is-no-such-library".into()));
        let telemetry = Arc::<Telemetry>::default();
        let origin = Origin::new(Arc::new(library), OriginOptions::default(), telemetry);
        Studio { origin: Arc::new(origin.broadcasting(Arc::clone(&channels))), channels, now }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        scene::ask(&self.origin, self.now, Method::GET, path, &[]).await
    }

    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.get(path).await;
            assert_eq!(answer.status, 200, "{path} asked for by {caller}: {}", answer.text());
            answer.text()
        }
    }

    pub(crate) async fn dash(&self) -> Vec<Representation> {
        representations(&self.text("/tv/manifest.mpd").await, "/tv/manifest.mpd")
    }
}

/// What pushes one track: chunks of a number of samples, all alike.
pub(crate) struct Encoder {
    pub(crate) name: &'static str,
    pub(crate) init: Vec<u8>,
    pub(crate) track_id: u32,
    pub(crate) timescale: u32,
    pub(crate) sample_ticks: u32,
    pub(crate) chunk_samples: u32,
    /// A sync sample every so many.
    pub(crate) gop: u32,
    /// Samples so far, since `origin`.
    pub(crate) sample: u64,
    pub(crate) origin: u64,
    pub(crate) push: u64,
}

impl Encoder {
    /// 24 frames a second, a GOP of two seconds, chunks of half a second.
    pub(crate) fn video(name: &'static str) -> Encoder {
        Encoder::new(name, "video", (12_288, 512, 12, 48))
    }

    /// 48 kHz, frames of 1024, chunks of 24.
    pub(crate) fn audio(name: &'static str) -> Encoder {
        Encoder::new(name, "audio", (48_000, 1024, 24, 1))
    }

    pub(crate) fn new(
        name: &'static str,
        kind: &str,
        (timescale, sample_ticks, chunk_samples, gop): (u32, u32, u32, u32),
    ) -> Encoder {
        let init = std::fs::read(testdata("packaging").join(kind).join("init.mp4")).unwrap();
        Encoder { name, init, track_id: 1, timescale, sample_ticks, chunk_samples, gop, sample: 0, origin: 0, push: 1 }
    }

    /// Media time of the next sample, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        (self.sample * u64::from(self.sample_ticks)) as f64 / f64::from(self.timescale)
    }

    pub(crate) fn chunk(&self, sample: u64) -> Vec<u8> {
        let samples = (sample..sample + u64::from(self.chunk_samples)).map(|index| {
            let flags = if index % u64::from(self.gop) == 0 { 0x0200_0000 } else { 0x0101_0000 };
            // The edit of testdata's tracks begins at 1024.
            RunSample { duration: self.sample_ticks, size: 50, flags, composition_offset: 1024 }
        });
        let fragment = NewFragment {
            sequence_number: sample as u32 + 1,
            track_id: self.track_id,
            description_index: 1,
            base_media_decode_time: self.origin + sample * u64::from(self.sample_ticks),
            samples: samples.collect(),
            ..NewFragment::default()
        };
        let mut bytes = fragment.write();
        bytes.extend((0..self.chunk_samples * 50).map(|at| (at as u64 * 7 + sample) as u8));
        bytes
    }

    pub(crate) fn push(&self, studio: &Studio, bytes: &[u8]) {
        self.try_push(studio, bytes).unwrap();
    }

    /// Pushes `bytes`, which may be refused.
    pub(crate) fn try_push(&self, studio: &Studio, bytes: &[u8]) -> Result<(), Refusal> {
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        receiver.push(bytes, &mut events).unwrap();
        let channel = studio.channels.for_push("tv").unwrap();
        let source = Source { push: self.push, ..Source::default() };
        events.into_iter().try_for_each(|event| channel.take(self.name, event, source, studio.now).map(drop))
    }

    pub(crate) fn begin(&self, studio: &Studio) {
        self.push(studio, &self.init);
    }

    /// Says that nothing more comes.
    pub(crate) fn end(&self, studio: &Studio) {
        let source = Source { push: self.push, ..Source::default() };
        studio.channels.get("tv").unwrap().take(self.name, Event::End, source, studio.now).unwrap();
    }

    /// Pushes the next chunk.
    pub(crate) fn next(&mut self, studio: &Studio) {
        self.push(studio, &self.chunk(self.sample));
        self.sample += u64::from(self.chunk_samples);
    }
}

/// Everybody pushes in real time until `seconds` after they began.
pub(crate) fn run(studio: &mut Studio, encoders: &mut [&mut Encoder], seconds: f64, began: Utc) {
    loop {
        let chunk_end = |encoder: &Encoder| {
            encoder.seconds() + f64::from(encoder.chunk_samples * encoder.sample_ticks) / f64::from(encoder.timescale)
        };
        let next = encoders.iter_mut().min_by(|a, b| chunk_end(a).total_cmp(&chunk_end(b))).unwrap();
        let due = chunk_end(next);
        if due > seconds {
            break;
        }
        studio.now = studio.now.max(began.after(Duration::from_secs_f64(due)));
        next.next(studio);
    }
    studio.channels.tick(studio.now);
}

/// The same, and every second something is done about what is old, as a server does.
pub(crate) fn run_for(studio: &mut Studio, encoders: &mut [&mut Encoder], seconds: std::ops::Range<u32>, began: Utc) {
    for second in seconds {
        run(studio, encoders, f64::from(second + 1), began);
    }
}

/// A media playlist, as a player sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Playlist {
    pub(crate) msn: u64,
    pub(crate) target_s: f64,
    pub(crate) part_target_s: Option<f64>,
    /// URL, seconds, the parts before it.
    pub(crate) segments: Vec<(String, f64, Vec<ListedPart>)>,
    pub(crate) open: Vec<ListedPart>,
    pub(crate) hint: Option<String>,
    pub(crate) ended: bool,
    pub(crate) gaps: usize,
}

/// URL and seconds.
pub(crate) type ListedPart = (String, f64);

pub(crate) fn parsed(path: &str, text: &str) -> Playlist {
    let attribute = |line: &str, name: &str| -> Option<String> {
        let (_, rest) = line.split_once(&format!("{name}="))?;
        Some(rest.trim_start_matches('"').split(['"', ',']).next().unwrap().to_owned())
    };
    let mut list = Playlist {
        msn: 0,
        target_s: 0.0,
        part_target_s: None,
        segments: Vec::new(),
        open: Vec::new(),
        hint: None,
        ended: false,
        gaps: 0,
    };
    let mut duration = 0.0;
    for line in text.lines() {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-MEDIA-SEQUENCE" => list.msn = value.parse().unwrap(),
            "#EXT-X-TARGETDURATION" => list.target_s = value.parse().unwrap(),
            "#EXT-X-PART-INF" => list.part_target_s = attribute(value, "PART-TARGET").map(|s| s.parse().unwrap()),
            "#EXTINF" => duration = value.trim_end_matches(',').parse().unwrap(),
            "#EXT-X-PART" if value.ends_with(",GAP=YES") => {}
            "#EXT-X-PART" => {
                let url = resolve(path, &attribute(value, "URI").unwrap());
                list.open.push((url, attribute(value, "DURATION").unwrap().parse().unwrap()));
            }
            "#EXT-X-PRELOAD-HINT" => list.hint = attribute(value, "URI").map(|uri| resolve(path, &uri)),
            "#EXT-X-ENDLIST" => list.ended = true,
            "#EXT-X-GAP" => list.gaps += 1,
            _ if line.starts_with('#') => {}
            _ => list.segments.push((resolve(path, line), duration, std::mem::take(&mut list.open))),
        }
    }
    list
}

impl Studio {
    /// It has ended, and everybody knows by now.
    pub(crate) fn settle(&mut self) {
        // What leaves meanwhile changes nothing of that.
        for _ in 0..120 {
            self.now = self.now.after(Duration::from_secs(1));
            self.channels.tick(self.now);
        }
    }

    pub(crate) async fn playlist(&self, track: &str) -> Playlist {
        let path = format!("/tv/{track}/media.m3u8");
        let text = self.text(&path).await;
        parsed(&path, &text)
    }
}

pub(crate) fn quick() -> window::Options {
    window::Options { window: Duration::from_secs(20), ..window::Options::default() }
}

#[tokio::test]
async fn every_listed_url_answers_and_parts_are_their_segment() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    assert_eq!(studio.get("/tv/master.m3u8").await.status, 503, "nothing has come");
    run(&mut studio, &mut [&mut video, &mut audio], 11.3, NOW);
    let master = studio.text("/tv/master.m3u8").await;
    assert!(master.contains("\nv/media.m3u8\n") && master.contains("URI=\"a/media.m3u8\""), "{master}");
    let representations = studio.dash().await;
    for track in ["v", "a"] {
        let list = studio.playlist(track).await;
        assert!(list.segments.len() >= 4 && list.part_target_s.is_some(), "{list:?}");
        let dash = representations.iter().find(|r| r.id == track).unwrap();
        let of_dash: Vec<&str> = dash.segments.iter().map(|segment| segment.url.as_str()).collect();
        let of_hls: Vec<&str> = list.segments.iter().map(|(url, _, _)| url.as_str()).collect();
        assert_eq!(of_dash, of_hls, "one URL a segment for both");
        assert!(studio.get(&dash.init).await.status == 200);
        for ((url, seconds, parts), segment) in list.segments.iter().zip(&dash.segments) {
            assert!((seconds - segment.duration as f64 / dash.timescale as f64).abs() < 1e-6);
            let whole = studio.get(url).await;
            assert_eq!(
                (whole.status.as_u16(), whole.header("cache-control")),
                (200, "public, max-age=31536000, immutable")
            );
            let mut joined = Vec::new();
            for (part, part_seconds) in parts {
                assert!(*part_seconds <= list.part_target_s.unwrap() + 1e-6);
                joined.extend_from_slice(&studio.get(part).await.body);
            }
            if !parts.is_empty() {
                scene::same(&joined, &whole.body, url);
                let sum: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
                assert!((sum - seconds).abs() < 1e-5, "{url}");
            }
        }
        for (part, _) in &list.open {
            assert_eq!(studio.get(part).await.status, 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_state_that_he_asked_for_and_all_the_same_bytes() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 8.5, NOW);
    let list = studio.playlist("v").await;
    let next = list.msn + list.segments.len() as u64;
    let (origin, now) = (Arc::clone(&studio.origin), studio.now);
    let ask = |directives: String| {
        let origin = Arc::clone(&origin);
        tokio::spawn(async move {
            scene::ask(&origin, now, Method::GET, &format!("/tv/v/media.m3u8?{directives}"), &[]).await
        })
    };
    let made = studio.origin.telemetry().flights_started.get();
    let waiting: Vec<_> = (0..50).map(|_| ask(format!("_HLS_msn={next}&_HLS_part=0"))).collect();
    let hinted = {
        let (origin, now, hint) = (Arc::clone(&studio.origin), studio.now, list.hint.clone().unwrap());
        tokio::spawn(async move { scene::ask(&origin, now, Method::GET, &hint, &[]).await })
    };
    let channel = studio.channels.get("tv").unwrap();
    while channel.waiting() < 51 {
        tokio::task::yield_now().await;
    }
    // One chunk is half of a part; two are one.
    run(&mut studio, &mut [&mut video], 9.0, NOW);
    let first = parsed("/tv/v/media.m3u8", &studio.text("/tv/v/media.m3u8").await);
    assert_eq!(first.open.len(), 1);
    let mut bodies = Vec::new();
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.header("cache-control")),
            (200, "public, max-age=2, must-revalidate")
        );
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(parsed("/tv/v/media.m3u8", std::str::from_utf8(&bodies[0]).unwrap()), first);
    assert!(studio.origin.telemetry().flights_started.get() <= made + 2, "written once for those who waited");
    let part = hinted.await.unwrap();
    assert_eq!((part.status.as_u16(), part.body), (200, studio.get(&first.open[0].0).await.body));
    // What does not come is not waited for without end.
    assert_eq!(ask(format!("_HLS_msn={}", next + 1)).await.unwrap().status, 503);
    for (directives, status) in [
        (format!("_HLS_msn={}", next + 3), 400),
        (format!("_HLS_msn={next}&_HLS_part=9"), 400),
        ("_HLS_part=1".to_owned(), 400),
        ("_HLS_msn=x".to_owned(), 400),
        ("_HLS_msn=0".to_owned(), 200),
    ] {
        assert_eq!(ask(directives.clone()).await.unwrap().status, status, "{directives}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_further_on_hints_at_is_waited_for() {
    // The same comes to both, to one of them half a second later.
    let (mut ahead, mut behind) = (Studio::with(quick()), Studio::with(quick()));
    let (mut first, mut second) = (Encoder::video("v"), Encoder::video("v"));
    first.begin(&ahead);
    second.begin(&behind);
    run(&mut ahead, &mut [&mut first], 9.0, NOW);
    run(&mut behind, &mut [&mut second], 8.5, NOW);
    let hint = ahead.playlist("v").await.hint.unwrap();
    assert_ne!(behind.playlist("v").await.hint.unwrap(), hint);
    let (origin, now) = (Arc::clone(&behind.origin), behind.now);
    let ask = |path: &str| {
        let (origin, path) = (Arc::clone(&origin), path.to_owned());
        tokio::spawn(async move { scene::ask(&origin, now, Method::GET, &path, &[]).await })
    };
    let channel = behind.channels.get("tv").unwrap();
    let asked = ask(&hint);
    while channel.waiting() < 1 && !asked.is_finished() {
        tokio::task::yield_now().await;
    }
    run(&mut ahead, &mut [&mut first], 10.0, NOW);
    run(&mut behind, &mut [&mut second], 10.0, NOW);
    let (answer, other) = (asked.await.unwrap(), ahead.get(&hint).await);
    assert_eq!((answer.status.as_u16(), other.status.as_u16()), (200, 200));
    scene::same(&answer.body, &other.body, &hint);
    // Two target durations from the next one on, which begins at 10 s.
    let (folder, _) = hint.rsplit_once('/').unwrap();
    let at = |ticks: i64| format!("{folder}/{ticks}.part.m4s");
    let next = behind.playlist("v").await.hint.unwrap();
    let next: i64 = next.rsplit_once('/').unwrap().1.trim_end_matches(".part.m4s").parse().unwrap();
    ask(&at(next + 4 * 12_288 + 1)).await.unwrap().problem(404, "public, max-age=5");
    // What turns out to be no part is known as soon as what comes has passed it.
    let (begun, none) = (tokio::time::Instant::now(), ask(&at(next + 6_144)));
    while channel.waiting() < 1 && !none.is_finished() {
        tokio::task::yield_now().await;
    }
    run(&mut behind, &mut [&mut second], 11.0, NOW);
    none.await.unwrap().problem(404, "public, max-age=1");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_media_is_that_of_when_a_playlist_is_answered() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 8.5, NOW);
    // The encoder hiccups.
    studio.now = studio.now.after(Duration::from_millis(1500));
    let age = |answer: &Answer| answer.header("headwater-media-age").to_owned();
    let answer = studio.get("/tv/v/media.m3u8").await;
    assert_eq!(age(&answer), "1.500");
    let list = parsed("/tv/v/media.m3u8", &answer.text());
    let next = list.msn + list.segments.len() as u64;
    let (origin, now) = (Arc::clone(&studio.origin), studio.now);
    let asked = tokio::spawn(async move {
        let path = format!("/tv/v/media.m3u8?_HLS_msn={next}&_HLS_part=0");
        scene::ask(&origin, now, Method::GET, &path, &[]).await
    });
    while studio.channels.get("tv").unwrap().waiting() < 1 {
        tokio::task::yield_now().await;
    }
    run(&mut studio, &mut [&mut video], 9.0, NOW);
    let answer = asked.await.unwrap();
    assert_eq!((answer.status.as_u16(), age(&answer).as_str()), (200, "0.000"));
}

#[tokio::test]
async fn playlists_never_step_back_and_what_leaves_them_stays_for_a_while() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    let (mut last, mut listed) = (None::<Playlist>, BTreeMap::<String, f64>::new());
    for seconds in 4..90 {
        run(&mut studio, &mut [&mut video], f64::from(seconds), NOW);
        let list = studio.playlist("v").await;
        let end = |list: &Playlist| list.msn + list.segments.len() as u64;
        if let Some(last) = last {
            assert!(list.msn >= last.msn && end(&list) >= end(&last));
            for (index, segment) in list.segments.iter().enumerate() {
                let number = list.msn + index as u64;
                if number < end(&last) {
                    assert_eq!(segment.0, last.segments[(number - last.msn) as usize].0);
                }
            }
        }
        let sum: f64 = list.segments.iter().map(|(_, seconds, _)| seconds).sum();
        assert!(sum <= 22.5, "the window is 20 s");
        for (url, _, _) in &list.segments {
            listed.insert(url.clone(), f64::from(seconds));
        }
        last = Some(list);
    }
    for (url, seconds) in listed {
        let status = studio.get(&url).await.status.as_u16();
        // For its own length and the longest playlist that had it.
        match 89.0 - seconds {
            ..22.0 => assert_eq!(status, 200, "{url} left {} s ago", 89.0 - seconds),
            28.0.. => assert_eq!(status, 410, "{url} left {} s ago", 89.0 - seconds),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_killed_server_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { dir: Some(dir.path().to_path_buf()), every: quick(), open: true, ..Options::default() };
    let mut studio = Studio::of(options(), NOW);
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 41.5, NOW);
    let before = (studio.playlist("v").await, studio.playlist("a").await, studio.text("/tv/manifest.mpd").await);
    // Nobody says goodbye.
    let mut studio = Studio::of(options(), studio.now);
    assert_eq!((studio.playlist("v").await, studio.playlist("a").await, studio.text("/tv/manifest.mpd").await), before);
    for (url, _, _) in before.0.segments.iter().chain(&before.1.segments) {
        assert_eq!(studio.get(url).await.status, 200, "{url}");
    }
    // The encoders come back, push again what they are not sure of, and go on.
    (video.push, audio.push) = (2, 2);
    video.begin(&studio);
    video.sample -= 12;
    run(&mut studio, &mut [&mut video, &mut audio], 50.0, NOW);
    let after = studio.playlist("v").await;
    let common = before.0.segments.iter().filter(|old| after.segments.iter().any(|new| new.0 == old.0)).count();
    assert!(common > 3 && after.msn > before.0.msn && after.gaps == 0, "{after:?}");
    assert_eq!(studio.text("/tv/v/media.m3u8").await.matches("DISCONTINUITY\n").count(), 0);
}

#[tokio::test]
async fn a_long_broadcast_is_read_back_from_its_last_files() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        dir: Some(dir.path().to_path_buf()),
        every: quick(),
        open: true,
        // Some four seconds.
        spool_file_bytes: 10_000,
        ..Options::default()
    };
    let mut studio = Studio::of(options(), NOW);
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    let files = || std::fs::read_dir(dir.path().join("tv")).unwrap().count();
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..100, NOW);
    let then = files();
    run_for(&mut studio, &mut [&mut video, &mut audio], 100..201, NOW);
    run(&mut studio, &mut [&mut video, &mut audio], 201.3, NOW);
    assert!((10..40).contains(&then) && files().abs_diff(then) < 4, "{then} files, then {}", files());
    let before = (studio.playlist("v").await, studio.playlist("a").await);
    assert!(before.0.msn > 80);
    for again in 0..2 {
        studio = Studio::of(options(), studio.now);
        assert_eq!((studio.playlist("v").await, studio.playlist("a").await), before, "{again}");
    }
    let dash = studio.dash().await;
    for (url, _, _) in before.0.segments.iter().chain(&before.1.segments) {
        assert_eq!(studio.get(url).await.status, 200, "{url}");
    }
    assert!(dash.iter().flat_map(|r| &r.segments).any(|segment| segment.url == before.0.segments[0].0));
}

#[tokio::test]
async fn what_is_not_in_memory_any_more_comes_from_the_spool() {
    let dir = tempfile::tempdir().unwrap();
    let every = window::Options { window: Duration::from_secs(120), ..quick() };
    let options = Options { dir: Some(dir.path().to_path_buf()), every, open: true, ..Options::default() };
    let mut studio = Studio::of(options, NOW);
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    let url = studio.playlist("v").await.segments[0].0.clone();
    let channel = studio.channels.get("tv").unwrap();
    let is_in_memory = || {
        let broadcast = channel.broadcast();
        broadcast.periods[0].tracks[0].segments.iter().next().unwrap().body().is_some()
    };
    assert!(is_in_memory());
    let expected: Vec<u8> = (0..4).flat_map(|chunk| Encoder::video("v").chunk(chunk * 12)).collect();
    run(&mut studio, &mut [&mut video], 60.0, NOW);
    assert!(!is_in_memory());
    let answers = futures_util::future::join_all((0..20).map(|_| studio.get(&url))).await;
    for answer in answers {
        scene::same(&answer.body, &expected, &url);
    }
    assert_eq!(studio.origin.telemetry().source_reads.get(), 1, "many who ask read it once");
}

#[tokio::test]
async fn an_encoder_that_comes_back_goes_on_or_begins_anew() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    let url_before = studio.playlist("v").await.segments[0].0.clone();
    // Six seconds are lost, the timeline is the same.
    video.sample += 6 * 24;
    run(&mut studio, &mut [&mut video], 24.0, NOW);
    let list = studio.playlist("v").await;
    assert_eq!((list.gaps, list.segments.len()), (3, 11));
    let gap = studio.get(&list.segments[5].0).await;
    assert_eq!(gap.status, 404, "a gap has no media");
    // DASH has no holes: what comes after one is another Period, on the same timeline.
    let found = studio.dash().await;
    let whole: Vec<(&str, usize, u64)> =
        found.iter().map(|r| (r.period.as_str(), r.segments.len(), r.segments[0].time - r.offset)).collect();
    assert_eq!(whole, [("0", 5, 0), ("0.16000", 3, 0)]);
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("start=\"PT0S\" duration=\"PT10S\"") && mpd.contains("start=\"PT16S\""), "{mpd}");
    // Another encoder, whose time begins at 0.
    let mut other = Encoder::video("v");
    other.push = 2;
    other.begin(&studio);
    let began = studio.now;
    run(&mut studio, &mut [&mut other], 10.0, began);
    let text = studio.text("/tv/v/media.m3u8").await;
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{text}");
    assert_eq!(text.matches("#EXT-X-MAP:").count(), 2);
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert_eq!(mpd.matches("<Period ").count(), 3, "{mpd}");
    assert!(mpd.contains("<Period id=\"1\" start=\"PT24S\">"), "{mpd}");
    // One name never has two contents.
    let list = studio.playlist("v").await;
    assert_eq!(list.segments.iter().filter(|segment| segment.0 == url_before).count(), 1);
}

#[tokio::test]
async fn a_timeline_that_nobody_was_told_of_leaves_no_hole_in_the_numbers() {
    let mut studio = Studio::with(window::Options { window: Duration::from_secs(60), ..quick() });
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    // Twice another timeline, the first for less than a segment.
    for (push, seconds, origin) in [(2, 1.5, 900_000_000), (3, 10.0, 500_000_000)] {
        let mut other = Encoder { push, origin, ..Encoder::video("v") };
        let began = studio.now;
        other.begin(&studio);
        run(&mut studio, &mut [&mut other], seconds, began);
    }
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    let segments = broadcast.tracks_called("v").flat_map(|(_, track)| track.segments.iter());
    let numbers: Vec<u64> = segments.map(|segment| segment.number).collect();
    assert!(numbers.len() >= 8 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[tokio::test]
async fn the_end_closes_the_playlist_and_the_mpd() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 9.0, NOW);
    assert!(studio.text("/tv/manifest.mpd").await.contains("type=\"dynamic\""));
    let channel = studio.channels.get("tv").unwrap();
    channel.take("v", Event::End, Source { push: 1, ..Source::default() }, studio.now).unwrap();
    let list = studio.playlist("v").await;
    assert!(list.ended && list.hint.is_none());
    assert_eq!(list.segments.len(), 5, "what was begun is whole now");
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("type=\"static\"") && mpd.contains("mediaPresentationDuration=\"PT9S\""), "{mpd}");
    assert!(!mpd.contains("minimumUpdatePeriod"));
    // Under names that are none's nothing is kept: what does not change would keep it for ever.
    for name in ["w", "v%2e", "never-there"] {
        let (code, _) = studio.get(&format!("/tv/{name}/media.m3u8")).await.problem(404, "public, max-age=5");
        assert_eq!(code, "not_found");
    }
    // An ended broadcast is not a silent one.
    studio.now = studio.now.after(Duration::from_secs(3600));
    assert_eq!(studio.get("/tv/v/media.m3u8").await.status, 200);
}

#[tokio::test]
async fn an_ended_mpd_was_as_long_as_the_broadcast_though_media_had_left_the_window() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 120.0, NOW);
    let channel = studio.channels.get("tv").unwrap();
    for track in ["v", "a"] {
        channel.take(track, Event::End, Source { push: 1, ..Source::default() }, studio.now).unwrap();
    }
    studio.settle();
    let list = studio.playlist("v").await;
    let listed_s: f64 = list.segments.iter().map(|segment| segment.1).sum();
    assert!(list.ended && listed_s < 60.0, "{listed_s} s are listed");
    let mpd = studio.text("/tv/manifest.mpd").await;
    let said = mpd.split_once("mediaPresentationDuration=\"PT").unwrap().1.split_once("S\"").unwrap().0;
    let said: f64 = said.parse().unwrap_or_else(|_| panic!("{mpd}"));
    assert!((said - listed_s).abs() < 0.1, "{said} s are promised, {listed_s} s are there: {mpd}");
    assert!(mpd.contains("start=\"PT0S\""), "{mpd}");
    let first = mpd.split_once("<S t=\"").unwrap().1.split_once('"').unwrap().0;
    let offset = mpd.split_once("presentationTimeOffset=\"").unwrap().1.split_once('"').unwrap().0;
    assert_eq!(first, offset, "it begins with its pictures: {mpd}");
}

#[tokio::test]
async fn who_watched_the_end_was_told_of_it_on_another_timeline() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { dir: Some(dir.path().to_path_buf()), every: quick(), open: true, ..Options::default() };
    let mut studio = Studio::of(options.clone(), NOW);
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 50.0, NOW);
    // Where it puts each segment, in ticks after the presentation begins.
    let places = |found: &[Representation]| -> BTreeMap<String, u64> {
        let of = |r: &Representation| r.segments.iter().map(|s| (s.url.clone(), s.time - r.offset)).collect::<Vec<_>>();
        found.iter().flat_map(of).collect()
    };
    let before = places(&studio.dash().await);
    video.end(&studio);
    audio.end(&studio);
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("type=\"static\"") && mpd.contains("mediaPresentationDuration=\"PT50S\""), "{mpd}");
    assert!(mpd.contains("<Period id=\"0\" start=\"PT0S\" duration=\"PT50S\""), "{mpd}");
    let ended = places(&studio.dash().await);
    let stays = before.iter().filter(|(url, _)| ended.contains_key(*url));
    assert!(stays.clone().count() > 10 && stays.into_iter().all(|(url, at)| ended[url] == *at), "{before:?} {ended:?}");
    // Of an open stretch, too.
    let stretch = format!("/~from={}/tv/manifest.mpd", NOW.0 / 1000 + 35);
    let text = studio.text(&stretch).await;
    assert!(text.contains("type=\"static\"") && text.contains("mediaPresentationDuration=\"PT50S\""), "{text}");
    // A restart knows no less; and who comes later is to begin at the beginning.
    studio = Studio::of(options.clone(), studio.now);
    assert_eq!(studio.text("/tv/manifest.mpd").await, mpd);
    studio.settle();
    let settled = studio.text("/tv/manifest.mpd").await;
    assert!(settled.contains("presentationTimeOffset") && !settled.contains("=\"PT50S\""), "{settled}");
    assert!(!studio.text(&stretch).await.contains("=\"PT50S\""));
    assert_eq!(Studio::of(options, studio.now).text("/tv/manifest.mpd").await, settled);
}

#[tokio::test]
async fn a_silent_encoder_is_told_to_caches() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 9.0, NOW);
    studio.now = studio.now.after(Duration::from_secs(9));
    for path in ["/tv/master.m3u8", "/tv/manifest.mpd", "/tv/v/media.m3u8"] {
        let (code, _) = studio.get(path).await.problem(503, "public, max-age=1");
        assert_eq!(code, "silent");
    }
    video.sample += 9 * 24;
    run(&mut studio, &mut [&mut video], 22.0, NOW);
    assert_eq!(studio.get("/tv/v/media.m3u8").await.status, 200);
}

#[tokio::test]
async fn a_late_track_is_announced_with_a_new_period() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 8.0, NOW);
    let master = studio.text("/tv/master.m3u8").await;
    assert!(!master.contains("TYPE=AUDIO"));
    audio.begin(&studio);
    while audio.seconds() < 8.0 {
        audio.sample += 24;
    }
    run(&mut studio, &mut [&mut video, &mut audio], 20.0, NOW);
    let master = studio.text("/tv/master.m3u8").await;
    assert!(master.contains("URI=\"a/media.m3u8\""), "{master}");
    let found = studio.dash().await;
    let periods: Vec<(&str, &str)> = found.iter().map(|r| (r.period.as_str(), r.id.as_str())).collect();
    // Players of DASH can't go on from pictures alone to pictures with sound.
    assert_eq!(periods, [("1", "v"), ("1", "a")]);
    for segment in found.iter().flat_map(|r| &r.segments) {
        assert_eq!(studio.get(&segment.url).await.status, 200);
    }
    let body: Bytes = studio.get(&found[0].segments[0].url).await.body;
    assert!(!body.is_empty());
}

#[tokio::test]
async fn encrypted_live_hls_has_its_keys() {
    let mut studio = Studio::with(quick());
    let file = std::fs::read(testdata("encrypted-cbcs").join("video.mp4")).unwrap();
    let encoder = Encoder { init: file, ..Encoder::video("v") };
    encoder.begin(&studio);
    studio.now = studio.now.after(Duration::from_secs(3));
    studio.channels.tick(studio.now);
    assert!(studio.text("/tv/manifest.mpd").await.contains("ContentProtection"));
    assert!(studio.text("/tv/master.m3u8").await.contains("\nv/media.m3u8\n"));
    let text = studio.text("/tv/v/media.m3u8").await;
    let tags: Vec<&str> =
        text.lines().filter(|line| line.contains("EXT-X-KEY") || line.contains("EXT-X-MAP")).collect();
    assert!(tags.len() >= 2 && tags[0].starts_with("#EXT-X-KEY:METHOD=SAMPLE-AES,"), "{text}");
    assert!(tags.last().unwrap().starts_with("#EXT-X-MAP:"), "a KEY holds for the MAP that follows it: {text}");
}

#[tokio::test]
async fn no_gap_is_longer_than_what_was_announced() {
    let mut studio = Studio::with(quick());
    let mut audio = Encoder::audio("a");
    audio.begin(&studio);
    run(&mut studio, &mut [&mut audio], 10.0, NOW);
    // Two and a half seconds are lost: less than two segments.
    audio.sample += 5 * 24;
    run(&mut studio, &mut [&mut audio], 24.0, NOW);
    let list = studio.playlist("a").await;
    assert_eq!(list.gaps, 2, "{list:?}");
    assert!(list.segments.iter().all(|(_, seconds, _)| seconds.round() <= list.target_s), "{list:?}");
}

#[tokio::test]
async fn what_an_outage_lets_leave_at_once_stays_as_long_as_a_playlist() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 30.0, NOW);
    let listed = studio.playlist("v").await.segments;
    video.sample += 16 * 24;
    for seconds in 47..=66 {
        run(&mut studio, &mut [&mut video], f64::from(seconds), NOW);
    }
    for (url, _, _) in &listed {
        assert_eq!(studio.get(url).await.status, 200, "{url} left with the others 19 s ago");
    }
}
