//! A spool that lies on disk: foreign, or written by a channel and then torn. What is read of a file is what whole records there say, from its
//! beginning on, and what is appended after that is read, too; a channel that nothing was torn of is again what it was.
#![no_main]

use std::fs;
use std::path::Path;
use std::time::Duration;

use headwater::content::live::channel::{Channel, Options};
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::spool::{Kind, Record, Spool, file_name, read_places};
use headwater::content::live::window::{self, Source};
use headwater::media::live::Broadcast;
use headwater::media::sample::SourceRange;
use headwater::time::Utc;
use headwater_fuzz::{BEGINS, Push, Step, Tape, script};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut tape = Tape(bytes);
    let dir = tempfile::tempdir().expect("a folder");
    match tape.byte() {
        Some(b'f') => foreign(&mut tape, dir.path()),
        Some(_) => torn(&mut tape, dir.path()),
        None => {}
    }
});

/// One or two files of whatever bytes.
fn foreign(tape: &mut Tape<'_>, dir: &Path) {
    let Some(first) = tape.counted() else { return };
    let (first, second) = if first.len() < 8 { (tape.0, None) } else { (first, Some(tape.0)) };
    for (number, bytes) in [Some(first), second].into_iter().flatten().enumerate() {
        fs::write(dir.join(file_name(number as u32 + 1)), bytes).expect("written");
    }
    is_read(dir);
    // Whatever its records say.
    open(dir, window::Options::default());
}

/// What the spool in `dir` has is what it says, and so is what is appended.
fn is_read(dir: &Path) {
    let Some((mut spool, records)) = read(dir) else { return };
    for (record, place) in &records {
        assert_eq!(read_places(dir, std::slice::from_ref(place)).expect("it is there"), record.payload);
    }
    let at = Utc(7);
    let last =
        Record { kind: Kind::End, at, track: "v".into(), source: Source::default(), payload: Default::default() };
    let place = spool.append(&last).expect("appended");
    drop(spool);
    let (_, again) = read(dir).expect("it was read");
    let expected: Vec<_> = records.into_iter().chain([(last, place)]).collect();
    assert_eq!(again, expected);
}

fn read(dir: &Path) -> Option<(Spool, Vec<(Record, SourceRange)>)> {
    let mut records = Vec::new();
    let spool = Spool::open(dir, 1 << 20, |_| Utc(0), |record, place| records.push((record, place)));
    spool.ok().map(|spool| (spool, records))
}

fn open(dir: &Path, options: window::Options) -> Channel {
    // However slow the disk of this machine is; another file after some chunks.
    let all = Options { spool_patience: Duration::from_secs(60), spool_file_bytes: 8000, ..Options::default() };
    Channel::open("tv", options, Some(dir), &all)
}

/// What a channel wrote, which is then torn or damaged at a place.
fn torn(tape: &mut Tape<'_>, dir: &Path) {
    let (Some(how), Some(high), Some(low)) = (tape.byte(), tape.byte(), tape.byte()) else { return };
    let Some((options, script)) = script(tape.0) else { return };
    let channel = open(dir, options.clone());
    let mut now = BEGINS;
    for step in script.take(12).flatten() {
        does(&channel, step, &mut now);
    }
    channel.tick(now);
    let before = channel.broadcast();
    drop(channel);
    let Some((_, records)) = read(dir) else { panic!("it was written") };
    let numbers: Vec<u32> = records.iter().map(|(_, place)| place.file).collect();
    let Some(&number) = numbers.get(usize::from(how >> 2) % numbers.len().max(1)) else { return };
    let path = dir.join(file_name(number));
    let mut bytes = fs::read(&path).expect("it is there");
    let at = (usize::from(high) << 8 | usize::from(low)) % bytes.len();
    match how & 3 {
        0 => {
            let channel = open(dir, options);
            channel.tick(now);
            assert_eq!(listed(&channel.broadcast()), listed(&before));
            return;
        }
        1 => bytes.truncate(at),
        _ => bytes[at] ^= 1 << (how & 7),
    }
    fs::write(&path, &bytes).expect("written");
    // The magic, or what makes it a file of this version.
    if let Some((_, found)) = read(dir).filter(|_| at >= 8) {
        let plain = |records: &[(Record, SourceRange)]| -> Vec<_> {
            // A checkpoint behind what is missing says so.
            let kind = |kind| if kind == Kind::Resumed { Kind::Checkpoint } else { kind };
            let of = |(record, place): &(Record, SourceRange)| {
                (Record { kind: kind(record.kind), ..record.clone() }, place.clone())
            };
            records.iter().map(of).collect()
        };
        let is_whole = |place: &SourceRange| place.file != number || place.range.end + 8 <= at as u64;
        let expected: Vec<_> = plain(&records).into_iter().filter(|(_, place)| is_whole(place)).collect();
        let expected_last = expected.last().map(|(_, place)| place.file);
        // A last file without its checkpoint is none.
        if expected_last == numbers.last().copied() {
            assert_eq!(plain(&found), expected);
        }
    }
    is_read(dir);
    open(dir, options);
}

fn does(channel: &Channel, step: Step, now: &mut Utc) {
    let source = |push: &Push| Source {
        encoder: push.encoder as u32 + 1,
        push: push.number,
        begins_segment: false,
        named_segments: push.named_segments,
    };
    match step {
        Step::Passes(duration) => {
            *now = now.after(duration);
            channel.tick(*now);
        }
        Step::Pushes(pushed) => {
            let (mut receiver, mut events) = (Receiver::default(), Vec::new());
            let _ = receiver.push(&pushed.bytes, &mut events);
            for event in events {
                let begins_segment = pushed.is_first && matches!(event, Event::Chunk(_));
                let source = Source { begins_segment, ..source(&pushed.push) };
                let _ = channel.take(pushed.push.track, event, source, *now);
            }
        }
        Step::Ends(push) => channel.push_ends(push.track, source(&push), *now),
        Step::Breaks(push) => channel.push_breaks(push.track, source(&push), *now),
    }
}

/// Of each track of each period: number, time, duration, whether it is a gap, and a hash, of each segment that is listed.
fn listed(live: &Broadcast) -> Vec<(u64, String, Vec<(u64, i64, i64, bool, u64)>)> {
    let tracks = live.periods.iter().flat_map(|period| period.tracks.iter().map(move |track| (period.number, track)));
    let of = |(period, track): (u64, &std::sync::Arc<headwater::media::live::LiveTrack>)| {
        let segments = track.listed().map(|s| (s.number, s.time, s.duration, s.is_gap, s.hash));
        (period, track.face.name.clone(), segments.collect())
    };
    tracks.map(of).collect()
}
