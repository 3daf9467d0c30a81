//! What many ask for is made once; and what is too much is refused.

use std::sync::Arc;

use http::{Method, StatusCode};

use headwater::telemetry::CacheClass;

use crate::scene::{CLEAR, Scene, ask, same};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_requests_for_a_cold_segment_read_it_once() {
    let scene =
        Scene::with(&["tour", "muxed"], |library, _| library.segment_target = std::time::Duration::from_secs(1));
    let twin = Scene::with(&["tour", "muxed"], |library, _| library.segment_target = std::time::Duration::from_secs(1));
    for (name, track) in [("tour", "video-144p"), ("tour", "audio-eng"), ("muxed", "video")] {
        let representation = scene.dash(name).await.into_iter().find(|r| r.id.starts_with(track)).unwrap();
        for segment in representation.segments {
            let url = segment.url;
            let before = twin.telemetry.source_reads.get();
            let expected = twin.body(&url).await;
            let reads = twin.telemetry.source_reads.get() - before;
            let before = scene.telemetry.source_reads.get();
            let all: Vec<_> = (0..100)
                .map(|_| {
                    let (origin, url, now) = (Arc::clone(&scene.origin), url.clone(), scene.now);
                    tokio::spawn(async move { ask(&origin, now, Method::GET, &url, &[]).await })
                })
                .collect();
            for one in all {
                let answer = one.await.unwrap();
                assert_eq!(answer.status, StatusCode::OK, "{url}");
                same(&answer.body, &expected, &url);
            }
            assert_eq!(scene.telemetry.source_reads.get() - before, reads, "{url} was read more than once");
        }
    }
    assert_eq!(scene.telemetry.flights.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_for_a_cold_presentation_open_it_once() {
    for _ in 0..20 {
        let scene = Scene::of(&["tour"]);
        let all: Vec<_> = (0..100)
            .map(|index| {
                let (origin, now) = (Arc::clone(&scene.origin), scene.now);
                let url = ["/tour/master.m3u8", "/tour/manifest.mpd"][index % 2];
                tokio::spawn(async move { ask(&origin, now, Method::GET, url, &[]).await })
            })
            .collect();
        let mut how = Vec::new();
        for one in all {
            let answer = one.await.unwrap();
            assert_eq!(answer.status, StatusCode::OK);
            how.push(answer.how);
        }
        let count = |text: &str| how.iter().filter(|how| *how == text).count();
        let (stored, joined) = (count("headwater; fwd=uri-miss; stored"), count("headwater; fwd=uri-miss; collapsed"));
        assert_eq!(stored + joined + count("headwater; hit"), 100, "{how:?}");
        assert!(stored >= 2, "{how:?}");
        assert_eq!(scene.telemetry.flights_started.get(), 2, "one flight a manifest");
    }
}

#[tokio::test]
async fn a_first_requester_who_leaves_takes_nothing_with_him() {
    let scene = Scene::of(&["tour"]);
    let url = scene.first_segment("tour", "video-144p").await;
    let expected = Scene::of(&["tour"]).body(&url).await;
    let before = scene.telemetry.source_reads.get();
    {
        // Polled until it has begun its flight, and dropped.
        let leaving = scene.get(&url);
        tokio::pin!(leaving);
        let started = scene.telemetry.flights_joined.get();
        let polled = answered_at_once(leaving.as_mut()).await;
        assert!(polled.is_none(), "it waits for its flight");
        assert_eq!(scene.telemetry.flights_joined.get(), started);
    }
    let joining: Vec<_> = (0..100)
        .map(|_| {
            let (origin, url, now) = (Arc::clone(&scene.origin), url.clone(), scene.now);
            tokio::spawn(async move { ask(&origin, now, Method::GET, &url, &[]).await })
        })
        .collect();
    for one in joining {
        same(&one.await.unwrap().body, &expected, &url);
    }
    assert_eq!(scene.telemetry.source_reads.get() - before, 1);
}

/// What a future answers at once.
async fn answered_at_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn too_much_at_once_is_refused_and_what_is_cached_is_served() {
    let scene = Scene::with(CLEAR, |_, options| options.flights_max = 1);
    let cached = scene.first_segment("tour", "video-144p").await;
    let expected = scene.body(&cached).await;
    // Opening a presentation takes a turn of a thread that may block; meanwhile there is no flight left for the others.
    let all: Vec<_> = CLEAR
        .iter()
        .filter(|name| **name != "tour")
        .flat_map(|name| [format!("/{name}/master.m3u8"), cached.clone()])
        .map(|url| {
            let (origin, now) = (Arc::clone(&scene.origin), scene.now);
            tokio::spawn(async move { (ask(&origin, now, Method::GET, &url, &[]).await, url) })
        })
        .collect();
    let mut refused = Vec::new();
    for one in all {
        let (answer, url) = one.await.unwrap();
        if url == cached {
            same(&answer.body, &expected, &url);
        } else if answer.status != StatusCode::OK {
            let (code, _) = answer.problem(503, "public, max-age=1");
            assert_eq!((&code[..], answer.header("retry-after")), ("busy", "1"));
            refused.push(url);
        }
    }
    assert!(!refused.is_empty() && refused.len() < CLEAR.len() - 1, "{} were refused", refused.len());
    // Not remembered: who comes again is served.
    for url in refused {
        scene.body(&url).await;
    }
    assert_eq!(scene.telemetry.negative_answers.get(), 0);
}

#[tokio::test]
async fn prefetch_makes_what_is_asked_for_next() {
    let scene = Scene::with(&["tour"], |_, options| options.prefetch = 1);
    let representation = scene.dash("tour").await.into_iter().next().unwrap();
    let twin = Scene::of(&["tour"]);
    scene.body(&representation.segments[0].url).await;
    while scene.telemetry.flights.get() > 0 || scene.telemetry.flights_started.get() < 3 {
        tokio::task::yield_now().await;
    }
    let misses = || scene.telemetry.cache_misses.at(CacheClass::Segment).get();
    let before = misses();
    let next = &representation.segments[1].url;
    same(&scene.body(next).await, &twin.body(next).await, next);
    assert_eq!(misses(), before, "it was there already");
    // A hit goes on: the one after is made meanwhile.
    while scene.telemetry.flights.get() > 0 || scene.telemetry.flights_started.get() < 4 {
        tokio::task::yield_now().await;
    }
    let after = &representation.segments[2].url;
    same(&scene.body(after).await, &twin.body(after).await, after);
    assert_eq!(misses(), before, "so was the next");
}
