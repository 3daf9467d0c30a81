//! Segments that a packager sends by requests of their own, several at once: they come in any order.

use std::time::Duration;

use headwater::content::live::channel::Options;
use headwater::content::live::receiver::Receiver;
use headwater::content::live::window::{Source, Taken};

use crate::live::{Encoder, Studio, quick};
use crate::scene::NOW;

impl Encoder {
    /// Sends the segment called `number` by a request of its own, or its first chunks only.
    fn send(&self, studio: &Studio, number: u64, chunks: std::ops::Range<u64>) -> Vec<Taken> {
        let channel = studio.channels.for_push("tv").unwrap();
        let each = u64::from(self.chunk_samples);
        let mut taken = Vec::new();
        for index in chunks.clone() {
            let (mut receiver, mut events) = (Receiver::default(), Vec::new());
            receiver.push(&self.chunk(number * u64::from(self.gop) + index * each), &mut events).unwrap();
            let source =
                Source { push: 10 + number, begins_segment: index == 0, named_segments: true, ..Source::default() };
            taken.push(channel.take(self.name, events.remove(0), source, studio.now).unwrap());
        }
        if chunks.end == u64::from(self.gop) / each {
            let source = Source { push: 10 + number, begins_segment: false, named_segments: true, ..Source::default() };
            channel.push_ends(self.name, source, studio.now);
        }
        taken
    }
}

fn after(studio: &mut Studio, seconds: f64) {
    studio.now = NOW.after(Duration::from_secs_f64(seconds));
    studio.channels.tick(studio.now);
}

#[tokio::test]
async fn a_first_segment_that_the_second_overtook_begins_no_other_timeline() {
    let mut studio = Studio::with(quick());
    let video = Encoder::video("v");
    video.begin(&studio);
    for (number, seconds) in [(1, 4.0), (0, 4.1), (2, 6.0), (3, 8.0), (4, 10.0)] {
        after(&mut studio, seconds);
        video.send(&studio, number, 0..4);
    }
    let text = studio.text("/tv/v/media.m3u8").await;
    let list = studio.playlist("v").await;
    assert_eq!((list.segments.len(), list.gaps, text.contains("DISCONTINUITY\n")), (4, 0, false), "{text}");
}

#[tokio::test]
async fn a_segment_that_a_second_connection_brings_late_is_no_gap() {
    let mut studio = Studio::with(quick());
    let video = Encoder::video("v");
    video.begin(&studio);
    for number in 0..4 {
        after(&mut studio, 2.0 * (number + 1) as f64);
        video.send(&studio, number, 0..4);
    }
    // The fifth is under way when the sixth and the seventh come, whole.
    after(&mut studio, 10.0);
    video.send(&studio, 4, 0..2);
    after(&mut studio, 11.0);
    assert_eq!(video.send(&studio, 6, 0..4), [Taken::Held; 4]);
    assert_eq!(video.send(&studio, 5, 0..4), [Taken::Held; 4]);
    assert_eq!(studio.playlist("v").await.segments.len(), 4);
    assert_eq!(video.send(&studio, 4, 2..4), [Taken::Added; 2]);
    let list = studio.playlist("v").await;
    assert_eq!((list.segments.len(), list.gaps), (7, 0), "{list:?}");
    for (number, (url, seconds, _)) in list.segments.iter().enumerate() {
        let expected: Vec<u8> = (0..4).flat_map(|index| video.chunk(number as u64 * 48 + index * 12)).collect();
        crate::scene::same(&studio.get(url).await.body, &expected, url);
        assert!((seconds - 2.0).abs() < 1e-6);
    }
    // One comes when the next is whole already: its end closes nothing but itself.
    after(&mut studio, 16.0);
    video.send(&studio, 7, 0..3);
    assert_eq!(video.send(&studio, 8, 0..2), [Taken::Held; 2]);
    video.send(&studio, 7, 3..4);
    video.send(&studio, 8, 2..4);
    let list = studio.playlist("v").await;
    assert_eq!((list.segments.len(), list.gaps), (9, 0), "{list:?}");
}

#[tokio::test]
async fn what_does_not_come_in_time_is_a_gap_and_is_dropped_when_it_comes() {
    let mut studio = Studio::with(quick());
    let video = Encoder::video("v");
    video.begin(&studio);
    for number in (0..4).chain([5]) {
        after(&mut studio, 2.0 * (number + 1) as f64);
        video.send(&studio, number, 0..4);
    }
    after(&mut studio, 13.9);
    assert_eq!(studio.playlist("v").await.segments.len(), 4, "it may still come");
    after(&mut studio, 14.0);
    let list = studio.playlist("v").await;
    assert_eq!((list.segments.len(), list.gaps), (6, 1), "{list:?}");
    assert_eq!(video.send(&studio, 4, 0..4), [Taken::Dropped; 4]);
    assert_eq!(video.send(&studio, 6, 0..4), [Taken::Added; 4]);
    assert_eq!(studio.playlist("v").await.segments.len(), 7);
}

#[tokio::test]
async fn a_restart_reads_back_what_was_held_in_the_order_of_the_media() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { dir: Some(dir.path().to_path_buf()), every: quick(), open: true, ..Options::default() };
    let mut studio = Studio::of(options(), NOW);
    let video = Encoder::video("v");
    video.begin(&studio);
    for (at, number) in [(2, 0), (4, 1), (6, 3), (7, 2), (10, 5), (10, 4), (12, 6)] {
        after(&mut studio, f64::from(at));
        video.send(&studio, number, 0..4);
    }
    let before = studio.playlist("v").await;
    assert_eq!((before.segments.len(), before.gaps), (7, 0), "{before:?}");
    let studio = Studio::of(options(), studio.now);
    assert_eq!(studio.playlist("v").await, before);
}

#[tokio::test]
async fn an_initialization_segment_that_each_request_begins_with_let_go_of_what_was_held() {
    let mut studio = Studio::with(quick());
    let video = Encoder::video("v");
    for (number, seconds) in [(0, 2.0), (1, 4.0), (2, 6.0), (3, 8.0)] {
        after(&mut studio, seconds);
        video.begin(&studio);
        video.send(&studio, number, 0..4);
    }
    after(&mut studio, 11.0);
    video.begin(&studio);
    assert_eq!(video.send(&studio, 5, 0..4), [Taken::Held; 4]);
    video.begin(&studio);
    assert_eq!(video.send(&studio, 4, 0..4), [Taken::Added; 4]);
    let list = studio.playlist("v").await;
    assert_eq!((list.segments.len(), list.gaps), (6, 0), "{list:?}");
}
