//! What a channel is after a restart: what it was, and what it is told anew to be.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::content::live::channel::tests::{NOW, PUSH, at, chunk, init, listed};
use crate::content::live::channel::{Channel, Options};
use crate::content::live::receiver::{Event, RawChunk, Receiver};
use crate::content::live::spool::{self, Kind, Record, Spool};
use crate::content::live::window::Source;
use crate::content::live::{archive, window};
use crate::formats::isobmff::fragment::{NewFragment, RunSample};
use crate::formats::isobmff::wvtt;
use crate::media::sample::SourceRange;
use crate::media::shift::Shift;
use crate::time::{Timescale, Utc};

/// Half seconds from 1970 to the tests' now.
const EPOCH: u64 = NOW.0 / 500;
/// Ticks of two seconds.
const TWO_S: i64 = 48 * 512;

fn options() -> window::Options {
    window::Options { window: Duration::from_secs(12), ..window::Options::default() }
}

fn keeping(cadence: &str) -> window::Options {
    let cadence = cadence.parse().expect("a cadence");
    window::Options { cadence: Some(cadence), target: cadence.duration(), ..options() }
}

/// The channel whose files hold a few seconds each, so that reading back begins with a checkpoint.
fn open(dir: &Path, options: window::Options) -> Channel {
    let all = Options {
        spool_file_bytes: 5000,
        spool_patience: Duration::from_secs(60),
        archive: archive::Options { kept: Duration::from_secs(3600), ..archive::Options::default() },
        ..Options::default()
    };
    Channel::open("tv", options, Some(dir), &all)
}

/// Half seconds `from` until `until` after now, of media that counts from 1970.
fn push_of_epoch(channel: &Channel, from: u64, until: u64) {
    for index in from..until {
        channel.take("v", chunk(EPOCH + index), PUSH, at(index)).expect("taken");
        channel.tick(at(index));
    }
}

fn push(channel: &Channel, from: u64, until: u64) {
    for index in from..until {
        channel.take("v", chunk(index), PUSH, at(index)).expect("taken");
        channel.tick(at(index));
    }
}

/// That of every segment, listed or not, the name and the bytes.
fn kept(channel: &Channel) -> Vec<(u64, i64, Bytes)> {
    let broadcast = channel.broadcast();
    let tracks = broadcast.tracks_called("v").map(|(_, track)| (track.face.version.0, track.segments.clone()));
    let segments = tracks.flat_map(|(version, segments)| {
        let segments: Vec<_> = segments.iter().filter(|segment| !segment.places.is_empty()).cloned().collect();
        segments.into_iter().map(move |segment| (version, segment))
    });
    segments.map(|(version, s)| (version, s.time, channel.read(&s).expect("it is in the spool"))).collect()
}

#[test]
fn a_cadence_that_changed_over_a_restart_begins_a_stretch_with_numbers_of_its_own() {
    for (cadence, number) in [("4s", EPOCH / 8), ("1s", EPOCH / 2)] {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = open(dir.path(), keeping("2s"));
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push_of_epoch(&channel, 0, 81);
        let before = listed(&channel);
        assert_eq!(before.last().map(|(number, ..)| *number), Some(EPOCH / 4 + 19));
        let names = kept(&channel);
        drop(channel);

        let channel = open(dir.path(), keeping(cadence));
        assert_eq!(channel.broadcast().timing.target_s, 2, "what was announced is there until the other is");
        push_of_epoch(&channel, 81, 130);
        assert_eq!(channel.broadcast().timing.target_s, if cadence == "4s" { 4 } else { 1 });
        let after = listed(&channel);
        assert!(after.len() >= 3, "{after:?}");
        let length = if cadence == "4s" { 4 } else { 1 };
        for (at, (number, time, _)) in after.iter().enumerate() {
            assert_eq!(*number, after[0].0 + at as u64, "{after:?}");
            assert_eq!(*time / (TWO_S / 2), *number as i64 * length, "{after:?}");
        }
        assert!(after[0].0 > number && after[0].0 < number + 130, "{after:?}");
        assert_eq!(after.iter().filter(|(.., is_gap)| *is_gap).count() > 0, cadence == "1s", "a sync sample every 2 s");
        for (version, time, bytes) in kept(&channel) {
            let known = names.iter().find(|(v, t, _)| (*v, *t) == (version, time));
            assert!(known.is_none_or(|(_, _, known)| *known == bytes), "one name has two contents: {time}");
        }
        drop(channel);
        // Reading back repeats the change.
        assert_eq!(listed(&open(dir.path(), keeping(cadence))), after);
    }
}

#[test]
fn a_window_and_segments_that_changed_hold_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let channel = open(dir.path(), options());
    channel.take("v", init(), PUSH, NOW).expect("taken");
    push(&channel, 0, 81);
    assert_eq!(listed(&channel).iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [14, 15, 16, 17, 18, 19]);
    drop(channel);

    let channel = open(dir.path(), window::Options { window: Duration::from_secs(16), ..options() });
    assert_eq!(channel.broadcast().timing.window_ms, 16_000);
    push(&channel, 81, 97);
    assert_eq!(listed(&channel).iter().map(|(number, ..)| *number).collect::<Vec<_>>(), (16..24).collect::<Vec<_>>());
    drop(channel);

    let longer = || window::Options { target: Duration::from_secs(4), ..options() };
    let channel = open(dir.path(), longer());
    assert_eq!(listed(&channel).len(), 9, "with what was under way, until the other is announced");
    push(&channel, 97, 129);
    let timing = channel.broadcast().timing;
    assert_eq!((timing.target_s, timing.window_ms), (4, 12_000));
    let after = listed(&channel);
    // What was under way has ended where the server did; and so has, for lack of a sync sample, what came until the next.
    let times = after.iter().map(|(number, time, is_gap)| (*number, *time / TWO_S, *is_gap)).collect::<Vec<_>>();
    assert_eq!(times[0].0, 25, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{times:?}");
    assert!(times[1..].windows(2).all(|pair| pair[1].1 == pair[0].1 + 2), "{times:?}");
    drop(channel);
    assert_eq!(listed(&open(dir.path(), longer())), after);
}

#[test]
fn what_time_alone_closed_before_its_period_was_announced_is_closed_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = || window::Options { end_after: Some(Duration::from_secs(60)), ..options() };
    let channel = open(dir.path(), options());
    channel.take("v", init(), PUSH, NOW).expect("taken");
    push(&channel, 0, 20);
    // It begins anew, and half a segment is all that comes of that.
    for index in [20, 21] {
        channel.take("v", chunk(4000 + index), PUSH, at(index)).expect("taken");
    }
    for seconds in 55..70 {
        channel.tick(at(21).after(Duration::from_secs(seconds)));
    }
    let told = |channel: &Channel| (channel.broadcast().periods.len(), channel.broadcast().ended, listed(channel));
    let before = told(&channel);
    assert_eq!((before.0, before.1, before.2.len()), (2, true, 6));
    drop(channel);
    assert_eq!(told(&open(dir.path(), options())), before);
}

#[test]
fn what_was_closed_for_a_change_is_not_open_again_once_that_is_taken_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let channel = open(dir.path(), options());
    channel.take("v", init(), PUSH, NOW).expect("taken");
    push(&channel, 0, 23);
    drop(channel);
    let longer = open(dir.path(), window::Options { target: Duration::from_secs(4), ..options() });
    let lengths = |channel: &Channel| {
        let broadcast = channel.broadcast();
        let segments =
            broadcast.tracks_called("v").flat_map(|(_, track)| track.segments.iter().cloned().collect::<Vec<_>>());
        segments.map(|segment| (segment.number, segment.duration)).collect::<Vec<_>>()
    };
    let told = lengths(&longer);
    assert_eq!(told.last(), Some(&(5, TWO_S / 4 * 3)), "it was under way");
    drop(longer);
    let channel = open(dir.path(), options());
    push(&channel, 23, 40);
    assert_eq!(lengths(&channel)[..told.len()], told);
}

#[test]
fn a_latency_alone_that_changed_holds_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let with = |latency_ms: Option<u64>| {
        let latency = latency_ms.map(Duration::from_millis);
        open(dir.path(), window::Options { latency, ..keeping("2s") })
    };
    let target_ms = |channel: &Channel| channel.broadcast().timing.low_latency.map(|own| own.target_ms);
    let channel = with(None);
    channel.take("v", init(), PUSH, NOW).expect("taken");
    push_of_epoch(&channel, 0, 30);
    // The longest chunk, or three parts: three seconds, and what the encoder is late by.
    assert_eq!(target_ms(&channel), Some(3000));
    let before = channel.broadcast();
    drop(channel);
    let mut next = 30;
    for latency in [Some(1500), Some(4000), None] {
        let channel = with(latency);
        assert_eq!(target_ms(&channel), Some(latency.unwrap_or(3000)));
        push_of_epoch(&channel, next, next + 7);
        next += 7;
        let after = channel.broadcast();
        assert_eq!(target_ms(&channel), Some(latency.unwrap_or(3000)));
        assert_eq!((after.periods.len(), after.started), (1, before.started));
        let timing = |of: &crate::media::live::Timing| (of.target_s, of.part_target_ms, of.window_ms);
        assert_eq!(timing(&after.timing), timing(&before.timing), "nothing else");
        let numbers = listed(&channel).iter().map(|(number, _, is_gap)| (*number, *is_gap)).collect::<Vec<_>>();
        assert!(numbers.windows(2).all(|pair| pair[1] == (pair[0].0 + 1, false)), "{numbers:?}");
    }
}

#[test]
fn parts_alone_that_changed_begin_a_stretch_in_which_no_name_comes_twice() {
    for is_of_epoch in [false, true] {
        let dir = tempfile::tempdir().expect("a folder");
        let with = |part_ms| {
            let options = if is_of_epoch { keeping("2s") } else { options() };
            open(dir.path(), window::Options { part_target: Duration::from_millis(part_ms), ..options })
        };
        let push = |channel: &Channel, from, until| match is_of_epoch {
            true => push_of_epoch(channel, from, until),
            false => push(channel, from, until),
        };
        let channel = with(1000);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, 42);
        let (before, names) = (listed(&channel), kept(&channel));
        assert_eq!(channel.broadcast().timing.part_target_ms, Some(1000));
        drop(channel);

        let channel = with(500);
        channel.tick(at(41));
        assert_eq!(listed(&channel)[..before.len()], before, "with what was under way, until the other is announced");
        let cut_short = listed(&channel).last().map(|(number, time, _)| (*number, *time)).expect("a segment");
        let names = [names, kept(&channel)].concat();
        // Not sure what arrived: the segment that was under way again, from its beginning.
        push(&channel, 40, 60);
        let broadcast = channel.broadcast();
        assert_eq!((broadcast.timing.part_target_ms, broadcast.periods.len()), (Some(500), 2));
        let after = listed(&channel);
        assert!(after.len() >= 3 && after[0].0 == cut_short.0 + 1, "{cut_short:?}: {after:?}");
        for (version, time, bytes) in kept(&channel) {
            let known = names.iter().find(|(v, t, _)| (*v, *t) == (version, time));
            assert!(known.is_none_or(|(_, _, known)| *known == bytes), "one name has two contents: {time}");
        }
        if is_of_epoch {
            assert!(after.iter().all(|(number, time, _)| *time / TWO_S == *number as i64), "{after:?}");
        }
        drop(channel);
        assert_eq!(listed(&with(500)), after);
    }
}

#[test]
fn an_end_alone_that_changed_holds_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let with = |end_after_s: Option<u64>| {
        open(dir.path(), window::Options { end_after: end_after_s.map(Duration::from_secs), ..options() })
    };
    let channel = with(None);
    channel.take("v", init(), PUSH, NOW).expect("taken");
    push(&channel, 0, 20);
    let before = listed(&channel);
    channel.tick(at(200));
    assert!(!channel.broadcast().ended, "nobody said when");
    drop(channel);
    let channel = with(Some(100));
    channel.tick(at(200));
    assert!(!channel.broadcast().ended, "90 s after media came last");
    assert_eq!(listed(&channel), before);
    drop(channel);
    let channel = with(Some(60));
    channel.tick(at(200));
    assert!(channel.broadcast().ended);
    let after = listed(&channel);
    assert_eq!(after[..before.len()], before);
    drop(channel);
    // What was told stays so.
    for end_after in [None, Some(1000)] {
        let channel = with(end_after);
        channel.tick(at(201));
        assert!(channel.broadcast().ended);
        assert_eq!((listed(&channel), channel.broadcast().periods.len()), (after.clone(), 1));
    }
}

#[test]
fn what_left_a_window_that_was_longer_stays_as_long_as_that_was() {
    // Nothing had left it before; some had, behind which all others wait.
    for before in [100, 200] {
        let dir = tempfile::tempdir().expect("a folder");
        let with = |seconds| open(dir.path(), window::Options { window: Duration::from_secs(seconds), ..options() });
        let channel = with(60);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, before);
        let list_of_before = listed(&channel);
        assert_eq!(list_of_before[0].0 > 0, before > 120);
        assert!(list_of_before.len() >= 24);
        drop(channel);
        // Who has a playlist of a minute may ask for all of it for a minute, and longer.
        let mut channel = with(12);
        let mut next = before;
        while next < before + 118 {
            push(&channel, next, next + 1);
            next += 1;
            if next == before + 30 {
                drop(channel);
                channel = with(12);
            }
            let broadcast = channel.broadcast();
            let tracks: Vec<_> = broadcast.tracks_called("v").map(|(_, track)| track).collect();
            for (number, time, _) in &list_of_before {
                let found = tracks.iter().find_map(|track| track.segments.at(*time));
                let is_there = found.is_some_and(|s| s.lease.is_live());
                assert!(is_there, "{number} of {before} is gone after {} half seconds", next - before);
            }
        }
        assert!(listed(&channel).len() <= 7);
        push(&channel, next, next + 162);
        let broadcast = channel.broadcast();
        let segments = broadcast.tracks_called("v").flat_map(|(_, track)| track.segments.iter());
        assert!(segments.filter(|s| s.lease.is_live()).count() < 20, "and is gone then");
    }
}

#[test]
fn what_has_ended_stays_so_when_segments_are_to_be_otherwise() {
    let dir = tempfile::tempdir().expect("a folder");
    let channel = open(dir.path(), options());
    channel.take("v", init(), PUSH, NOW).expect("taken");
    push(&channel, 0, 20);
    channel.take("v", Event::End, PUSH, at(20)).expect("taken");
    assert!(channel.broadcast().ended);
    drop(channel);
    for end_after in [None, Some(Duration::from_secs(1))] {
        let channel = open(dir.path(), window::Options { target: Duration::from_secs(4), end_after, ..options() });
        channel.tick(at(40));
        assert!(channel.broadcast().ended);
    }
}

/// `init()`, with an edit list whose first edit is empty, half a second long.
fn init_that_begins_late() -> Event {
    let Event::Init(init) = init() else { unreachable!("it is one") };
    let mut bytes = init.to_vec();
    let find = |bytes: &[u8], kind: &[u8]| bytes.windows(4).position(|window| window == kind).expect("it is there");
    for kind in [b"moov", b"trak", b"edts", b"elst"] {
        let at = find(&bytes, kind) - 4;
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four")) + 12;
        bytes[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }
    // version and flags, then how many edits
    let at = find(&bytes, b"elst") + 8;
    bytes[at + 3] = 2;
    let empty = [500u32.to_be_bytes(), (-1i32).to_be_bytes(), 0x0001_0000u32.to_be_bytes()].concat();
    bytes.splice(at + 4..at + 4, empty);
    Event::Init(Bytes::from(bytes))
}

#[test]
fn a_track_with_an_empty_edit_is_in_the_archive_and_in_clips() {
    let dir = tempfile::tempdir().expect("a folder");
    let channel = open(dir.path(), options());
    channel.take("v", init_that_begins_late(), PUSH, NOW).expect("taken");
    push(&channel, 0, 41);
    let before = listed(&channel);
    assert_eq!(before.last().map(|(_, time, _)| *time), Some(9 * TWO_S + TWO_S / 4));
    let in_memory = |channel: &Channel| {
        let broadcast = channel.broadcast();
        let track = broadcast.tracks_called("v").last().map(|(_, track)| track.segments.clone()).expect("a track");
        let segments = track.iter().filter_map(|s| Some((s.clone(), s.body()?.to_vec())));
        segments.collect::<Vec<_>>()
    };
    let segments = in_memory(&channel);
    assert!(segments.len() >= 5);
    for (segment, bytes) in &segments {
        assert_eq!(channel.read(segment).expect("it is in the spool"), bytes, "the spool has what is served");
    }
    let all = Shift { from: Utc(0), to: None };
    let library = tempfile::tempdir().expect("a folder");
    let made = channel.clip(&all, &library.path().join("clip")).expect("a clip");
    assert_eq!((made.duration_ms, made.stretches), (20_000, 1));
    drop(channel);
    let channel = open(dir.path(), options());
    assert_eq!(listed(&channel), before);
    let again = in_memory(&channel);
    let (last, bytes) = again.last().expect("a segment");
    assert_eq!(channel.read(last).expect("it is in the spool"), bytes);
    push(&channel, 41, 45);
    assert_eq!(listed(&channel).last().map(|(number, ..)| *number), Some(10));
}

/// Writes what the spool in `from` has into `to`, as it was before its files were of version 2: a log began without a checkpoint, and a checkpoint
/// did not say how the channel behaved.
fn as_version_1(from: &Path, to: &Path) {
    let mut records: Vec<(Record, SourceRange)> = Vec::new();
    drop(Spool::open(from, 1 << 20, |_| Utc(0), |record, place| records.push((record, place))).expect("it is read"));
    let mut old = Spool::open(to, 1 << 20, |_| Utc(0), |_, _| {}).expect("a folder");
    for (record, place) in records.into_iter().skip_while(|(record, _)| record.kind == Kind::Checkpoint) {
        if record.kind != Kind::Checkpoint {
            old.append(&record).expect("written");
            continue;
        }
        let mut said: serde_json::Value = serde_json::from_slice(&record.payload).expect("JSON");
        let fields = said.as_object_mut().expect("an object");
        let since = ["options", "is_anew", "events", "event_tracks_heard", "given_up", "next_event"];
        since.into_iter().for_each(|name| drop(fields.remove(name).expect("it is said now")));
        let payload = Bytes::from(serde_json::to_vec(&said).expect("JSON"));
        old.roll(&Record { payload, ..record }).expect("begun");
        assert_eq!(old.number(), place.file);
    }
    for number in spool::numbers(to, "spool").expect("a folder") {
        let path = to.join(spool::file_name(number));
        let mut bytes = std::fs::read(&path).expect("a file");
        bytes[7] = b'1';
        std::fs::write(&path, bytes).expect("a file");
    }
}

fn versions(dir: &Path) -> Vec<u8> {
    let numbers = spool::numbers(dir, "spool").expect("a folder");
    numbers.into_iter().map(|number| std::fs::read(dir.join(spool::file_name(number))).expect("a file")[7]).collect()
}

#[test]
fn a_broadcast_that_a_build_before_version_2_wrote_goes_on() {
    for seconds in [81, 9] {
        let (now, before) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let channel = open(now.path(), options());
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, seconds);
        let (was, names) = (listed(&channel), kept(&channel));
        drop(channel);
        as_version_1(now.path(), before.path());
        assert!(versions(before.path()).iter().all(|version| *version == b'1'));

        let channel = open(before.path(), options());
        assert_eq!(listed(&channel), was);
        let again = kept(&channel);
        assert!(again.len() > 1 && names.ends_with(&again), "the same names with the same bytes");
        push(&channel, seconds, seconds + 8);
        let after = listed(&channel);
        assert_eq!(after.last().map(|(number, ..)| *number), was.last().map(|(number, ..)| number + 2));
        assert!(after.iter().all(|(.., is_gap)| !is_gap));
        drop(channel);
        // Nothing more is written to what is of before.
        let found = versions(before.path());
        assert_eq!((found[0], found[found.len() - 1]), (b'1', b'2'));
        assert!(found.is_sorted(), "{found:?}");
        assert_eq!(listed(&open(before.path(), options())), after);
    }
}

#[test]
fn chunks_of_text_that_a_build_before_took_were_lost_as_they_are_longer_than_was_announced() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut spool = Spool::open(dir.path(), 1 << 20, |_| Utc(0), |_, _| {}).expect("a folder");
    let mut append = |kind, track: &str, at, payload| {
        let source = Source { named_segments: track == "t", begins_segment: track == "t", ..PUSH };
        spool.append(&Record { kind, at, track: track.to_owned(), source, payload }).expect("written");
    };
    let (Event::Init(video), text) = (init(), wvtt::write_init(1, Timescale::MILLI, Some("en"), &[], "WEBVTT")) else {
        unreachable!("it is one")
    };
    append(Kind::Init, "v", NOW, video);
    for index in 0..48 {
        let Event::Chunk(RawChunk { bytes, .. }) = chunk(index) else { unreachable!("it is one") };
        append(Kind::Chunk, "v", at(index), bytes);
        // It comes late, when segments of two seconds are announced, and its chunks last for six.
        match index {
            10 => append(Kind::Init, "t", at(index), Bytes::from(text.clone())),
            12 | 24 | 36 => {
                append(Kind::Chunk, "t", at(index), six_seconds_of_text(index / 12));
                append(Kind::PushEnds, "t", at(index), Bytes::new());
            }
            _ => {}
        }
    }
    drop(spool);
    let channel = open(dir.path(), options());
    let broadcast = channel.broadcast();
    assert_eq!(broadcast.timing.target_s, 2);
    let (_, track) = broadcast.tracks_called("t").last().expect("a track");
    let listed: Vec<_> = track.listed().map(|segment| (segment.number, segment.time, segment.is_gap)).collect();
    assert_eq!((listed, track.next_number), (vec![(0, 6_000, false), (1, 12_000, false), (2, 18_000, false)], 3));
    // What comes now is another matter.
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(&six_seconds_of_text(4), &mut events).expect("a chunk");
    let refusal = channel.take("t", events.remove(0), PUSH, at(48)).expect_err("too long").to_string();
    assert!(refusal.contains("a chunk of 6.000 s"), "{refusal}");
}

/// A chunk of text with one cue, which begins at `number` times six seconds.
fn six_seconds_of_text(number: u64) -> Bytes {
    let mut cue = Vec::new();
    wvtt::write_cue(&mut cue, &wvtt::CueBox { payload: "line", ..wvtt::CueBox::default() }, None);
    let fragment = NewFragment {
        sequence_number: number as u32 + 1,
        track_id: 1,
        description_index: 1,
        base_media_decode_time: number * 6000,
        samples: vec![RunSample { duration: 6000, size: cue.len() as u32, flags: 0x0200_0000, composition_offset: 0 }],
        ..NewFragment::default()
    };
    Bytes::from([fragment.write(), cue].concat())
}

/// The bytes of half a second, as they were pushed.
fn pushed(index: u64) -> Bytes {
    let Event::Chunk(raw) = chunk(index) else { unreachable!("it is one") };
    raw.bytes
}

/// Of every segment that the archive has: version, time, and bytes.
fn archived(channel: &Channel) -> Vec<(u64, i64, Bytes)> {
    let shelf = channel.shelf().expect("an archive");
    let Some(stretch) = shelf.stretch(&Shift { from: Utc(0), to: None }).expect("it is read") else {
        return Vec::new();
    };
    let tracks = stretch.tracks_called("v").map(|(_, track)| (track.face.version.0, track.segments.clone()));
    let segments = tracks.flat_map(|(version, segments)| {
        let segments: Vec<_> = segments.iter().filter(|segment| !segment.is_gap).cloned().collect();
        segments.into_iter().map(move |segment| (version, segment))
    });
    segments.map(|(version, s)| (version, s.time, channel.read(&s).expect("it is in the spool"))).collect()
}

/// Cuts `bytes` off the end of the spool in `dir`, and what is empty then goes: a machine without power takes with it what was not on its disk.
fn lose(dir: &Path, mut bytes: u64) {
    for number in spool::numbers(dir, "spool").expect("a folder").into_iter().rev() {
        let path = dir.join(spool::file_name(number));
        let len = std::fs::metadata(&path).expect("a file").len();
        if len > bytes {
            std::fs::File::options().write(true).open(path).expect("a file").set_len(len - bytes).expect("cut");
            return;
        }
        std::fs::remove_file(path).expect("removed");
        bytes -= len;
    }
}

#[test]
fn after_a_loss_of_power_the_archive_had_bytes_of_something_else() {
    // In the middle of the last segments, and of the file before the last.
    for lost in [700, 1500, 2500, 4000, 6000, 8000] {
        let dir = tempfile::tempdir().expect("a folder");
        let channel = open(dir.path(), options());
        channel.take("v", init(), PUSH, NOW).expect("taken");
        push(&channel, 0, 85);
        let names = [archived(&channel), kept(&channel)].concat();
        drop(channel);
        lose(dir.path(), lost);

        // The machine is there again after a minute, through which the encoder went on.
        let channel = open(dir.path(), options());
        for (version, time, bytes) in archived(&channel) {
            assert!(names.contains(&(version, time, bytes)), "{lost}: {time} is something else");
        }
        push(&channel, 201, 290);
        let check = |channel: &Channel| {
            let now = archived(channel);
            for (version, time, bytes) in [now.clone(), kept(channel)].concat() {
                let known = names.iter().find(|(v, t, _)| (*v, *t) == (version, time));
                assert!(known.is_none_or(|(_, _, known)| *known == bytes), "{lost}: one name has two contents: {time}");
                let first = time as u64 / (12 * 512);
                let until = if first < 204 && first > 200 { 204 } else { first + 4 };
                let media: Vec<Bytes> = (first..until).map(pushed).collect();
                assert_eq!(bytes, media.concat(), "{lost}: {time}");
            }
            // All that came since is there.
            let times: Vec<i64> = now.iter().map(|(_, time, _)| *time / TWO_S).filter(|time| *time > 50).collect();
            assert_eq!(times, (51..72).collect::<Vec<_>>(), "{lost}");
            now
        };
        let after = check(&channel);
        assert!(after.len() > 26, "and most of what came before");
        drop(channel);
        // Nor is it otherwise after the next restart.
        assert_eq!(check(&open(dir.path(), options())), after);
    }
}
