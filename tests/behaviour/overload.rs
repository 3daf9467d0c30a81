//! When too much is wanted: what is cached is answered, what is not is refused before anything grows, and a purge renames nothing.

use std::sync::Arc;
use std::time::Duration;

use headwater::content::library::{self, Library};
use headwater::content::live::receiver::Receiver;
use headwater::content::live::window::{self, Source};
use headwater::origin::options::Options;
use headwater::origin::serve::{Origin, Purge};
use headwater::telemetry::Refused;
use http::{Method, Request};

use crate::live::{Encoder, Studio, quick, run};
use crate::scene::{NOW, Scene, same};

/// The segments of all tracks of the tour.
async fn segments(scene: &Scene) -> Vec<String> {
    scene.dash("tour").await.into_iter().flat_map(|track| track.segments).map(|segment| segment.url).collect()
}

#[tokio::test]
async fn what_is_cached_is_answered_while_slow_readers_hold_all_memory() {
    // Next to nothing stays in the cache, so that every body that is held is memory beside it.
    let scene = Scene::with(&["tour"], |_, options| {
        options.cache_bytes = 100 << 10;
        options.in_flight_bytes = 100 << 10;
    });
    let all = segments(&scene).await;
    let master = "/tour/master.m3u8";
    let mut held = Vec::new();
    let mut refused = 0;
    for url in &all {
        let request = Request::get(url).body(()).unwrap();
        let answer = scene.origin.serve(&request, scene.now).await;
        match answer.status().as_u16() {
            200 => held.push(answer),
            503 => {
                assert_eq!(answer.headers()["retry-after"], "1");
                assert_eq!(answer.headers()["cache-control"], "public, max-age=1");
                refused += 1;
            }
            status => panic!("{status} for {url}"),
        }
    }
    assert!(refused > 0 && !held.is_empty(), "{refused} of {} refused", all.len());
    let kept: u64 = held.iter().map(|answer| answer.body().len()).sum();
    assert!(kept < (400 << 10), "{kept} bytes are held");
    assert!(scene.telemetry.work_refused.at(Refused::Memory).get() >= refused);
    // Neither playlists nor heads need that memory.
    scene.body(master).await;
    assert_eq!(scene.head(&all[all.len() - 1]).await.status, 200);
    drop(held);
    scene.origin.settle(scene.now).await;
    let twin = Scene::of(&["tour"]);
    for url in &all {
        same(&scene.body(url).await, &twin.body(url).await, url);
        scene.origin.settle(scene.now).await;
    }
}

#[tokio::test]
async fn a_request_for_what_is_cached_is_not_refused_for_the_sake_of_what_is_not() {
    let scene = Scene::with(&["tour", "muxed"], |_, options| {
        options.requests_max = 1;
        options.flights_max = 1;
    });
    let all = segments(&scene).await;
    scene.body(&all[0]).await;
    // As if a cold request waited for storage that does not answer.
    let waiting = scene.telemetry.requests_in_flight.enter();
    assert_eq!(scene.get(&all[0]).await.status, 200);
    assert_eq!(scene.ask(Method::GET, &all[0], &[("range", "bytes=0-9")]).await.status, 206);
    assert_eq!(scene.get("/tour/manifest.mpd").await.status, 200);
    let (code, _) = scene.get(&all[1]).await.problem(503, "public, max-age=1");
    assert_eq!(code, "too_many_requests");
    assert_eq!(scene.telemetry.requests_refused.get(), 1);
    drop(waiting);
    scene.body(&all[1]).await;
}

#[tokio::test]
async fn a_purge_empties_and_renames_nothing() {
    let scene = Scene::of(&["tour", "muxed", "progressive"]);
    let mut before = Vec::new();
    for name in ["tour", "muxed", "progressive"] {
        let master = format!("/{name}/master.m3u8");
        let segment = scene.first_segment(name, "video").await;
        for url in [master, segment] {
            before.push((url.clone(), scene.get(&url).await));
        }
    }
    let flights = || scene.telemetry.flights_started.get();
    let asked = |of: &'static str| {
        let (scene, before) = (&scene, &before);
        async move {
            let begun = flights();
            for (url, answer) in before.iter().filter(|(url, _)| url.starts_with(of)) {
                let now = scene.get(url).await;
                assert!(now == *answer, "{url} changed");
            }
            flights() - begun
        }
    };
    assert_eq!(asked("/").await, 0);
    assert!(scene.origin.purge(&Purge::Presentation("tour".into())).await >= 3);
    assert_eq!((asked("/muxed/").await, asked("/progressive/").await), (0, 0));
    assert_eq!(asked("/tour/").await, 2);
    assert!(scene.origin.purge(&Purge::Prefix("/mux".into())).await >= 3);
    assert_eq!((asked("/tour/").await, asked("/muxed/").await), (0, 2));
    assert_eq!(scene.origin.purge(&Purge::Presentation("tou".into())).await, 0);
    scene.origin.purge(&Purge::All).await;
    assert_eq!(asked("/").await, 6);
    let twin: Arc<_> = Scene::of(&["tour"]).origin;
    assert_eq!(twin.purge(&Purge::All).await, 0);
}

#[tokio::test]
async fn slow_readers_kept_what_had_left_the_window_and_nothing_counted_it() {
    let mut studio = Studio::with(window::Options { cadence: Some("2s".parse().unwrap()), ..quick() });
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 15.3, NOW);
    let playlist = studio.playlist("v").await;
    let dash = studio.dash().await;
    let (whole, growing) = (&playlist.segments[1].0, &dash[0].segments.last().unwrap().url);
    let part = &playlist.open[0].0;
    let within = async |url: &str| {
        let answer = studio.origin.serve(&Request::get(url).body(()).unwrap(), studio.now).await;
        assert_eq!(answer.status(), 200, "{url}");
        (answer.body().sent_within(), answer.headers()["cache-status"].to_str().unwrap().to_owned())
    };
    // The second time it comes from the cache.
    for (url, how) in [(whole, "stored"), (whole, "hit"), (part, "fwd=uri-miss")] {
        let (limit, status) = within(url).await;
        assert_eq!(limit, Some(Duration::from_secs(60)), "{url}");
        assert!(status.contains(how), "{url}: {status}");
    }
    let answer = studio.origin.serve(&Request::get(growing).body(()).unwrap(), studio.now).await;
    assert!(!answer.headers().contains_key("content-length"), "it grows");
    assert_eq!(answer.body().sent_within(), Some(Duration::from_secs(60)));
    let scene = Scene::of(&["tour"]);
    for url in &segments(&scene).await[..1] {
        let answer = scene.origin.serve(&Request::get(url).body(()).unwrap(), scene.now).await;
        assert_eq!(answer.body().sent_within(), None, "{url}: its bytes are counted");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_one_channel_shut_out_who_did_not_wait_and_other_channels() {
    let mut studio = Studio::with(window::Options { cadence: Some("2s".parse().unwrap()), ..quick() });
    let library = Library::new(library::Options::new("there-is-no-such-library".into()));
    let origin = Origin::new(Arc::new(library), Options { waits_max: 8, ..Options::default() }, Arc::default());
    studio.origin = Arc::new(origin.broadcasting(Arc::clone(&studio.channels)));
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 15.3, NOW);
    // The same is pushed to another channel.
    let radio = studio.channels.for_push("radio").unwrap();
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&video.init, &mut events).unwrap();
    (0..video.sample / 12).for_each(|chunk| receiver.push(&video.chunk(chunk * 12), &mut events).unwrap());
    for (index, event) in events.into_iter().enumerate() {
        radio
            .take(
                "v",
                event,
                Source { push: 1, ..Source::default() },
                NOW.after(Duration::from_millis(500 * index as u64)),
            )
            .unwrap();
    }
    let list = studio.playlist("v").await;
    let (msn, part) = (list.msn + list.segments.len() as u64, list.open.len());
    let of = |channel: &str| format!("/{channel}/v/media.m3u8?_HLS_msn={msn}&_HLS_part={part}");
    let growing = studio.dash().await[0].segments.last().unwrap().url.clone();
    let (origin, now) = (Arc::clone(&studio.origin), studio.now);
    let ask = |url: String| {
        let origin = Arc::clone(&origin);
        tokio::spawn(async move { crate::scene::ask(&origin, now, Method::GET, &url, &[]).await })
    };
    let channels = Arc::clone(&studio.channels);
    let waiting = async |channel: &str, count: usize| {
        while channels.get(channel).unwrap().waiting() < count {
            tokio::task::yield_now().await;
        }
    };
    // Half of all places.
    let blocked: Vec<_> = (0..3).map(|_| ask(of("tv"))).collect();
    let grows = ask(growing.clone());
    waiting("tv", 4).await;
    let hint = list.hint.clone().unwrap();
    for url in [of("tv"), growing.clone(), hint.clone()] {
        let answer = studio.get(&url).await;
        assert_eq!(answer.problem(503, "public, max-age=1").0, "too_many_wait", "{url}");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(origin.telemetry().work_refused.at(Refused::Waiting).get(), 3);
    // What is there is answered: to who names it, too.
    let before = format!("/tv/v/media.m3u8?_HLS_msn={}", msn - 1);
    for url in [&before, "/tv/v/media.m3u8", "/tv/master.m3u8", &list.segments[0].0, &list.open[0].0] {
        assert_eq!(studio.get(url).await.status, 200, "{url}");
    }
    let head = crate::scene::ask(&origin, now, Method::HEAD, &growing, &[]).await;
    assert_eq!(head.status, 200, "nobody waits for the head of what grows");
    // Another channel has places of its own.
    let others: Vec<_> = (0..2).map(|_| ask(of("radio"))).collect();
    waiting("radio", 2).await;
    assert_eq!(studio.get(&of("radio")).await.problem(503, "public, max-age=1").0, "too_many_wait");
    // Who waited is answered when it comes, and his place is the next one's.
    run(&mut studio, &mut [&mut video], 16.3, NOW);
    for answer in blocked.into_iter().chain([grows]) {
        assert_eq!(answer.await.unwrap().status, 200);
    }
    assert!(others.iter().all(|other| !other.is_finished()));
    let next = ask(format!("/tv/v/media.m3u8?_HLS_msn={}", msn + 1));
    waiting("tv", 1).await;
    assert!(!next.is_finished());
}
