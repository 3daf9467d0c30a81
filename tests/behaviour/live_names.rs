//! Names of tracks: an encoder may have others whenever it begins, and no name ever has two contents.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use headwater::content::live::channel::Options;
use headwater::content::live::pushed::Refusal;
use headwater::content::live::receiver::Event;
use headwater::content::live::window::{self, Source, TRACKS_MAX};
use headwater::time::Utc;

use crate::live::{Encoder, Studio, quick, run_for};
use crate::scene::NOW;

fn spooled(dir: &Path) -> Options {
    Options {
        dir: Some(dir.to_path_buf()),
        every: quick(),
        open: true,
        spool_file_bytes: 1 << 20,
        ..Options::default()
    }
}

/// A name that nobody had.
fn called(kind: &str, number: u32) -> &'static str {
    format!("{kind}{number}").leak()
}

/// Eight seconds of an encoder that begins at `began`, with names of its own.
fn begins(studio: &mut Studio, number: u32, began: Utc) {
    let mut video = Encoder { push: u64::from(number) + 1, ..Encoder::video(called("v", number)) };
    let mut audio = Encoder { push: u64::from(number) + 1, ..Encoder::audio(called("a", number)) };
    studio.now = studio.now.max(began);
    video.begin(studio);
    audio.begin(studio);
    run_for(studio, &mut [&mut video, &mut audio], 0..8, began);
}

/// What is listed of `track`, by URL.
async fn listed(studio: &Studio, track: &str) -> BTreeMap<String, Bytes> {
    let mut found = BTreeMap::new();
    for (url, ..) in studio.playlist(track).await.segments {
        let body = studio.get(&url).await.body;
        found.insert(url, body);
    }
    found
}

#[tokio::test]
async fn an_encoder_that_named_its_tracks_anew_locked_its_channel() {
    let dir = tempfile::tempdir().unwrap();
    let mut studio = Studio::of(spooled(dir.path()), NOW);
    let began = |number: u32| NOW.after(Duration::from_secs(8) * number);
    begins(&mut studio, 0, began(0));
    let (before, msn) = (listed(&studio, "v0").await, studio.playlist("v0").await.msn);
    assert!(before.len() >= 3);
    // Twice as many names as there may be.
    for number in 1..TRACKS_MAX as u32 {
        begins(&mut studio, number, began(number));
    }
    let newest = called("v", TRACKS_MAX as u32 - 1);
    assert!(listed(&studio, newest).await.len() >= 3);
    let channel = studio.channels.get("tv").unwrap();
    let tracks = channel.tracks();
    assert!(tracks.len() == TRACKS_MAX && tracks.contains(&newest.to_owned()) && !tracks.contains(&"v0".to_owned()));
    assert_eq!(studio.get("/tv/v0/media.m3u8").await.status, 404);
    // A name that comes back has higher numbers, and no name that was there before.
    begins(&mut studio, 0, began(TRACKS_MAX as u32));
    let after = listed(&studio, "v0").await;
    assert!(studio.playlist("v0").await.msn >= msn + before.len() as u64 && after.len() >= 3);
    assert!(after.keys().all(|url| !before.contains_key(url)));
    // Reading back gives up the same.
    let (tracks, state) = (studio.channels.get("tv").unwrap().tracks(), studio.playlist("v0").await);
    drop((channel, studio));
    let mut again = Studio::of(spooled(dir.path()), began(TRACKS_MAX as u32 + 1));
    assert_eq!(again.channels.get("tv").unwrap().tracks(), tracks);
    assert_eq!((again.playlist("v0").await, listed(&again, "v0").await), (state, after));
    begins(&mut again, 2000, began(TRACKS_MAX as u32 + 1));
}

/// Begins `names` more, of which nothing but an initialization segment comes.
fn init(studio: &Studio, mut names: std::ops::Range<usize>, of: &Encoder) -> Result<(), Refusal> {
    let channel = studio.channels.for_push("tv").unwrap();
    let init = || Event::Init(Bytes::from(of.init.clone()));
    let source = Source { push: 1, ..Source::default() };
    names.try_for_each(|name| channel.take(&format!("n{name}"), init(), source, studio.now).map(drop))
}

#[tokio::test]
async fn names_that_are_in_use_or_that_follow_from_times_make_no_room() {
    let cadence = window::Options { cadence: Some("2s".parse().unwrap()), ..quick() };
    let mut studio = Studio::with(cadence);
    let mut video = Encoder { origin: NOW.0 / 1000 * 12_288, ..Encoder::video("v") };
    let mut audio = Encoder { origin: NOW.0 / 1000 * 48_000, ..Encoder::audio("a") };
    video.begin(&studio);
    audio.begin(&studio);
    run_for(&mut studio, &mut [&mut video, &mut audio], 0..12, NOW);
    let others = TRACKS_MAX - 2;
    init(&studio, 0..others, &video).unwrap();
    let refused = init(&studio, others..others + 1, &video).unwrap_err().to_string();
    assert_eq!(refused, "64 tracks are pushed already, n62 is one too many");
    // A minute later nobody pushes them.
    run_for(&mut studio, &mut [&mut video, &mut audio], 12..75, NOW);
    init(&studio, others..2 * others, &video).unwrap();
    // Sound is pushed under another name, with the same times: that a name of before had those is not forgotten too soon.
    let mut other = Encoder { sample: audio.sample, origin: audio.origin, ..Encoder::audio("b") };
    run_for(&mut studio, &mut [&mut video], 75..140, NOW);
    while other.seconds() < 140.0 {
        other.sample += 24;
    }
    other.begin(&studio);
    run_for(&mut studio, &mut [&mut video, &mut other], 140..160, NOW);
    let tracks = || studio.channels.get("tv").unwrap().tracks();
    let has = |name: &str| tracks().contains(&name.to_owned());
    init(&studio, 2 * others..3 * others - 1, &video).unwrap();
    assert!(has("a") && has("b") && has("v") && tracks().len() == TRACKS_MAX);
    assert!(init(&studio, 3 * others..3 * others + 1, &video).is_err());
    assert!(video.seconds() > 159.0 && studio.playlist("v").await.segments.len() >= 9);
}
