//! Whoever waits for what comes next of a track: woken by that and by the end, and by nothing of other tracks.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater::content::live::channel::Channel;
use headwater::content::live::published::Step;
use headwater::media::live::{Broadcast, Part};
use headwater::packager::hls;
use http::Method;
use tokio::task::JoinHandle;

use crate::live::{Encoder, Playlist, Studio, quick, run};
use crate::scene::{self, Answer, NOW};

/// Somebody who asked, and how often he was polled.
struct Asked {
    answer: JoinHandle<Answer>,
    polls: Arc<AtomicUsize>,
}

impl Asked {
    fn polls(&self) -> usize {
        self.polls.load(Ordering::Relaxed)
    }
}

fn ask(studio: &Studio, url: &str) -> Asked {
    let (origin, now, url) = (Arc::clone(&studio.origin), studio.now, url.to_owned());
    let polls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&polls);
    let answer = tokio::spawn(async move {
        let mut answer: Pin<Box<dyn Future<Output = Answer> + Send>> =
            Box::pin(async move { scene::ask(&origin, now, Method::GET, &url, &[]).await });
        poll_fn(move |context| {
            counted.fetch_add(1, Ordering::Relaxed);
            answer.as_mut().poll(context)
        })
        .await
    });
    Asked { answer, polls }
}

/// What is to be woken has been.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn waiting(channel: &Channel, count: usize) {
    settle().await;
    assert_eq!(channel.waiting(), count, "who was answered at once does not wait");
}

/// The next chunk of `encoder`, half a second later.
async fn next(studio: &mut Studio, encoder: &mut Encoder) {
    studio.now = studio.now.after(Duration::from_millis(500));
    encoder.next(studio);
    settle().await;
}

/// A channel of pictures and sound, of which the first part of a segment has come: its playlists say what comes next.
async fn begun() -> (Studio, Encoder, Encoder, Playlist) {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    video.begin(&studio);
    audio.begin(&studio);
    run(&mut studio, &mut [&mut video, &mut audio], 9.05, NOW);
    let list = studio.playlist("v").await;
    assert_eq!(list.open.len(), 1, "the next chunk is half of a part");
    (studio, video, audio, list)
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_his_own_part_alone() {
    let (mut studio, mut video, mut audio, list) = begun().await;
    let next_msn = list.msn + list.segments.len() as u64;
    let (folder, hint) = list.hint.as_ref().unwrap().rsplit_once('/').unwrap();
    let at: i64 = hint.strip_suffix(".part.m4s").unwrap().parse().unwrap();
    let urls = [
        format!("/tv/v/media.m3u8?_HLS_msn={next_msn}&_HLS_part=1"),
        format!("{folder}/{hint}"),
        // A whole segment: of which two parts are there then, and it is not.
        format!("/tv/v/media.m3u8?_HLS_msn={next_msn}"),
        // And who waits for what is not announced yet.
        format!("{folder}/{}.m4s", at + 12_288),
    ];
    let asked = urls.each_ref().map(|url| ask(&studio, url));
    let channel = studio.channels.get("tv").unwrap();
    waiting(&channel, asked.len()).await;
    let polls = || asked.each_ref().map(Asked::polls);
    let before = polls();
    for _ in 0..4 {
        next(&mut studio, &mut audio).await;
    }
    next(&mut studio, &mut video).await;
    assert_eq!(polls(), before, "sound, and half of a part");
    next(&mut studio, &mut video).await;
    assert_eq!(polls(), before.map(|polls| polls + 1), "the part");
    let [playlist, part, segment, later] = asked;
    for asked in [playlist, part] {
        assert!(asked.answer.is_finished());
        assert_eq!(asked.answer.await.unwrap().status, 200);
    }
    for _ in 0..2 {
        next(&mut studio, &mut video).await;
    }
    assert!(segment.answer.is_finished());
    assert_eq!(segment.answer.await.unwrap().status, 200);
    // It grows.
    assert!(later.polls() > before[3] + 1 && channel.waiting() == 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_the_end_of_the_broadcast() {
    let (mut studio, video, mut audio, list) = begun().await;
    let next_msn = list.msn + list.segments.len() as u64;
    let asked = [
        ask(&studio, &format!("/tv/v/media.m3u8?_HLS_msn={}", next_msn + 1)),
        ask(&studio, &format!("/tv/a/media.m3u8?_HLS_msn={}", next_msn + 1)),
    ];
    let channel = studio.channels.get("tv").unwrap();
    waiting(&channel, 2).await;
    let before = asked.each_ref().map(Asked::polls);
    video.end(&studio);
    settle().await;
    next(&mut studio, &mut audio).await;
    assert!(!asked[1].answer.is_finished());
    audio.end(&studio);
    settle().await;
    for (asked, before) in asked.into_iter().zip(before) {
        assert!((before + 1..before + 4).contains(&asked.polls()), "{}", asked.polls());
        assert!(asked.answer.is_finished());
        let answer = asked.answer.await.unwrap();
        assert!(answer.text().contains("#EXT-X-ENDLIST"), "{}", answer.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_grows_is_told_of_every_chunk_of_its_track_alone() {
    let (mut studio, mut video, mut audio, _) = begun().await;
    let channel = studio.channels.get("tv").unwrap();
    let mut chunks = channel.subscribe("v", Step::Chunk);
    chunks.mark_unchanged();
    for _ in 0..4 {
        next(&mut studio, &mut audio).await;
        assert!(!chunks.has_changed().unwrap());
        assert_eq!(chunks.borrow().sequence, channel.broadcast().sequence, "who looks sees what is newest");
        next(&mut studio, &mut video).await;
        assert!(chunks.has_changed().unwrap());
        chunks.mark_unchanged();
    }
    // As URLs have it: all of it, although sound comes between.
    let list = studio.playlist("v").await;
    // Its first part has its name.
    let url = list.open[0].0.replace(".part.m4s", ".m4s");
    let asked = ask(&studio, &url);
    waiting(&channel, 2).await;
    for _ in 0..4 {
        next(&mut studio, &mut audio).await;
        next(&mut studio, &mut video).await;
    }
    let grown = asked.answer.await.unwrap();
    scene::same(&grown.body, &studio.get(&url).await.body, &url);
    // A channel that goes ends it.
    drop((channel, studio));
    settle().await;
    assert!(chunks.has_changed().is_err());
}

/// All that a wait for a part or a segment of the tracks called `name` goes by.
type Seen = (bool, Option<u64>, Option<(u64, usize)>, Vec<(Option<(u64, Vec<Part>)>, Vec<(bool, Vec<Part>)>)>);

fn seen(broadcast: &Broadcast, name: &str) -> Seen {
    let of_track = broadcast.tracks_called(name).map(|(_, track)| {
        let last = track.segments.last().map(|last| (last.number, last.parts.clone()));
        let open = track.open.iter().map(|open| (broadcast.timing.tells_of(open), open.parts.clone()));
        (last, open.collect())
    });
    let edge = hls::live::edge(broadcast, name);
    (broadcast.ended, broadcast.timing.part_target_ms, edge, of_track.collect())
}

#[tokio::test]
async fn nobody_misses_a_step() {
    let mut studio = Studio::with(quick());
    let (mut video, mut audio) = (Encoder::video("v"), Encoder::audio("a"));
    let mut late = Encoder::audio("late");
    video.begin(&studio);
    audio.begin(&studio);
    let channel = studio.channels.get("tv").unwrap();
    let mut waits = ["v", "a", "late"].map(|name| {
        let states = channel.subscribe(name, Step::Part);
        (name, states, seen(&channel.broadcast(), name), 0)
    });
    let (mut states, mut last) = (0, 0);
    let mut step = async |studio: &mut Studio, what: &str, encoder: &mut Encoder| {
        encoder.next(studio);
        settle().await;
        let broadcast = channel.broadcast();
        states += usize::from(std::mem::replace(&mut last, broadcast.sequence) < broadcast.sequence);
        for (name, states, before, woken) in &mut waits {
            let now = seen(&broadcast, name);
            let is_woken = states.has_changed().unwrap();
            assert!(is_woken || now == *before, "{name} missed something while {what}, at {}", encoder.seconds());
            *woken += usize::from(is_woken);
            *before = now;
            states.mark_unchanged();
        }
    };
    let mut all = async |studio: &mut Studio, what: &str, encoders: &mut [&mut Encoder], chunks: u64| {
        for _ in 0..chunks {
            studio.now = studio.now.after(Duration::from_millis(500));
            for encoder in &mut *encoders {
                step(studio, what, encoder).await;
            }
            studio.channels.tick(studio.now);
        }
    };
    all(&mut studio, "gathering", &mut [&mut video, &mut audio], 40).await;
    late.sample = audio.sample;
    late.begin(&studio);
    all(&mut studio, "another comes", &mut [&mut video, &mut audio, &mut late], 40).await;
    all(&mut studio, "it is gone", &mut [&mut video, &mut audio], 40).await;
    let mut video = Encoder { push: 2, origin: 7_000 * 12_288, ..Encoder::video("v") };
    let mut audio = Encoder { push: 2, origin: 7_000 * 48_000, ..Encoder::audio("a") };
    video.begin(&studio);
    audio.begin(&studio);
    all(&mut studio, "a period begins", &mut [&mut video, &mut audio], 40).await;
    assert!(channel.broadcast().periods.len() > 1);
    let woken = waits.map(|(_, _, _, woken)| woken);
    assert!(states > 300 && woken.iter().all(|woken| (30..states / 2).contains(woken)), "{states} states: {woken:?}");
}
