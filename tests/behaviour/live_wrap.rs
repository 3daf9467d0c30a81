//! An encoder that has only 32 bits for its decode times: they begin anew in the middle of a broadcast, and nobody notices.

use std::time::Duration;

use headwater::content::live::channel::Options;
use headwater::content::live::window;

use crate::live::{Encoder, Studio, quick, run};
use crate::scene::{self, NOW};

/// The same chunk with a `tfdt` of version 0.
fn short(chunk: &[u8]) -> Vec<u8> {
    let mut bytes = chunk.to_vec();
    let at = |kind: &[u8; 4]| chunk.windows(4).position(|four| four == kind).unwrap();
    let mut less = |at: usize, by: i32| {
        let value = i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) - by;
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    };
    for kind in [b"moof", b"traf", b"tfdt"] {
        less(at(kind) - 4, 4);
    }
    // Of the trun: version and flags, sample_count, data_offset.
    less(at(b"trun") + 12, 4);
    let tfdt = at(b"tfdt") + 4;
    bytes[tfdt] = 0;
    bytes.drain(tfdt + 4..tfdt + 8);
    bytes
}

/// Pushes video with short times, sound with long ones, until `seconds` after the begin.
fn run_short(studio: &mut Studio, video: &mut Encoder, audio: &mut Encoder, seconds: f64) {
    while video.seconds() + 0.5 <= seconds {
        let due = video.seconds() + 0.5;
        run(studio, &mut [audio], due, NOW);
        studio.now = NOW.after(Duration::from_secs_f64(due));
        let chunk = short(&video.chunk(video.sample));
        video.push(studio, &chunk);
        video.sample += 12;
    }
    studio.channels.tick(studio.now);
}

#[tokio::test]
async fn times_of_32_bits_that_begin_anew_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let every = window::Options { window: Duration::from_secs(60), ..quick() };
    let options =
        || Options { dir: Some(dir.path().to_path_buf()), every: every.clone(), open: true, ..Options::default() };
    let mut studio = Studio::of(options(), NOW);
    // Ten seconds before.
    let began = ((1_u64 << 32) / 12_288 - 10) / 2 * 2;
    let mut video = Encoder { origin: began * 12_288, ..Encoder::video("v") };
    let mut audio = Encoder { origin: began * 48_000, ..Encoder::audio("a") };
    video.begin(&studio);
    audio.begin(&studio);
    run_short(&mut studio, &mut video, &mut audio, 20.0);
    // Away for four seconds, and back.
    video.sample += 96;
    audio.sample += 8 * 24;
    run_short(&mut studio, &mut video, &mut audio, 32.5);
    let list = studio.playlist("v").await;
    assert_eq!((list.segments.len(), list.gaps), (16, 2), "{list:?}");
    assert!(!studio.text("/tv/v/media.m3u8").await.contains("#EXT-X-DISCONTINUITY\n"));
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    let track = broadcast.tracks_called("v").next().unwrap().1.clone();
    let segments: Vec<_> = track.segments.iter().collect();
    assert!(segments.windows(2).all(|pair| pair[0].end() == pair[1].time));
    for (number, segment) in segments.iter().enumerate().filter(|(_, segment)| !segment.is_gap) {
        assert_eq!(segment.time as u64, (began + 2 * number as u64) * 12_288);
        let (url, _, _) = &list.segments[number];
        // What is served says so, too: as if the encoder had 64 bits.
        let chunks: Vec<u8> = (0..4)
            .flat_map(|index| {
                let long = video.chunk(number as u64 * 48 + index * 12);
                if segment.time + (index as i64 * 12 * 512) < 1 << 32 { short(&long) } else { long }
            })
            .collect();
        scene::same(&studio.get(url).await.body, &chunks, url);
    }
    let studio = Studio::of(options(), studio.now);
    assert_eq!(studio.playlist("v").await, list);
}
