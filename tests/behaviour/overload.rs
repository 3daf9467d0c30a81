//! When too much is wanted: what is cached is answered, what is not is refused before anything grows, and a purge renames nothing.

use std::sync::Arc;
use std::time::Duration;

use headwater::content::live::window;
use headwater::origin::serve::Purge;
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
