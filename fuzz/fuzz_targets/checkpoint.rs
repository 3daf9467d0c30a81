//! The kept state of a channel, as JSON that may say anything or as a script led to, and the index of an archive: what was read is written, and is
//! the same when it is read again.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use headwater::content::live::archive::recovered::Recovered;
use headwater::content::live::archive::{Archive, Shelf};
use headwater::content::live::pushed::{Init, Refusal};
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::{Options, Source, Window};
use headwater::media::live::Broadcast;
use headwater::media::shift::Shift;
use headwater::time::Utc;
use headwater_fuzz::{BEGINS, Push, Step, script};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((b'{', _)) => state(bytes),
        Some((b'\n', lines)) => index(lines),
        Some(_) => scripted(bytes),
        None => {}
    }
});

/// Returns the window that `bytes` say, if they say one.
fn state(bytes: &[u8]) {
    let window = Window::restored(Options::default(), bytes);
    let Some(window) = window else { return };
    assert!(Window::needed_by(bytes).is_some());
    is_kept(&window);
}

/// What `window` says is read as the same.
fn is_kept(window: &Window) {
    let written = window.checkpoint();
    let again = Window::restored(Options::default(), &written).expect("what was written is read");
    assert_eq!(again.options(), window.options());
    assert_eq!(Window::options_of(&written).as_ref(), Some(window.options()));
    assert!(again.names().eq(window.names()));
    let (left, right) = (again.checkpoint(), written);
    // Since when media is needed it says of what it has, which is no part of it.
    let but_media = |bytes: &[u8]| {
        let mut value: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        value.as_object_mut().expect("an object").remove("needed_from");
        value
    };
    assert_eq!(but_media(&left), but_media(&right));
}

/// A window that a script led to.
fn scripted(bytes: &[u8]) {
    let Some((options, script)) = script(bytes) else { return };
    let (mut window, mut now) = (Window::new(options), BEGINS);
    let mut receivers: BTreeMap<u64, Receiver> = BTreeMap::new();
    let source = |push: &Push| Source {
        encoder: push.encoder as u32 + 1,
        push: push.number,
        begins_segment: false,
        named_segments: push.named_segments,
    };
    for step in script.flatten() {
        match step {
            Step::Passes(duration) => {
                now = now.after(duration);
                window.tick(now);
            }
            Step::Pushes(pushed) => {
                let mut events = Vec::new();
                let receiver = receivers.entry(pushed.push.number).or_default();
                if receiver.push(&pushed.bytes, &mut events).is_err() {
                    receivers.remove(&pushed.push.number);
                }
                let source = Source { begins_segment: pushed.is_first, ..source(&pushed.push) };
                for event in events {
                    let _ = takes(&mut window, pushed.push.track, event, source, now);
                }
            }
            Step::Ends(push) => window.push_ends(push.track, source(&push), now),
            Step::Breaks(_) => {}
        }
    }
    is_kept(&window);
}

fn takes(window: &mut Window, track: &str, event: Event, source: Source, now: Utc) -> Result<(), Refusal> {
    match event {
        Event::Init(bytes) => window.init(track, Init::read(bytes, track)?, source.encoder, now)?,
        Event::End => window.end(track, now),
        Event::Chunk(raw) => {
            let init = window.init_by(track, source.encoder).ok_or(Refusal::NoInit)?;
            let chunk = init.chunk(raw)?;
            window.fits(track, init, &chunk, &source, now)?;
            window.chunk(track, chunk, source, None, now)?;
        }
    }
    Ok(())
}

/// Lines of an index: what is there is read as it was once what is torn was cut off, and once it was noted elsewhere.
fn index(lines: &[u8]) {
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let [dir, other] = folders.each_ref().map(|folder| folder.path());
    // What lies in a file below the first is left out.
    for dir in [dir, other] {
        std::fs::write(dir.join("00000001.spool"), b"").expect("written");
    }
    std::fs::write(dir.join("00000001.index"), lines).expect("written");
    let Some(all) = stretch(dir) else { return };
    let tracks = all.periods.iter().flat_map(|period| &period.tracks);
    let places = tracks.flat_map(|track| track.segments.iter().flat_map(|segment| &segment.places));
    let ends = places.map(|place| (place.file, u64::MAX)).chain([(1, u64::MAX)]).collect();
    let recovered = Recovered { ends: &ends, number: u32::MAX, broadcast: &all, next_event: u64::MAX };
    Archive::open(dir, &recovered).expect("it can be read");
    let left = stretch(dir).as_ref().map(listed);
    assert_eq!(left, Some(listed(&all)), "nothing is cut off that the spool has");
    let (mut noted, _) = Archive::open(other, &recovered).expect("there is nothing");
    noted.follow(&all, 1).expect("written");
    let again = stretch(other).unwrap_or_default();
    assert_eq!(listed(&again), listed(&all));
}

/// All that the indexes in `dir` have.
fn stretch(dir: &Path) -> Option<Broadcast> {
    Shelf::of(dir).stretch(&Shift { from: Utc(0), to: None }).ok().flatten()
}

/// Of each track of each period: number, time, duration, whether it is a gap, and a hash of each segment.
fn listed(live: &Broadcast) -> Vec<(u64, String, Vec<(u64, i64, i64, bool, u64)>)> {
    let tracks = live.periods.iter().flat_map(|period| period.tracks.iter().map(move |track| (period.number, track)));
    let of = |(period, track): (u64, &std::sync::Arc<headwater::media::live::LiveTrack>)| {
        let segments = track.segments.iter().map(|s| (s.number, s.time, s.duration, s.is_gap, s.hash));
        (period, track.face.name.clone(), segments.collect())
    };
    tracks.map(of).collect()
}
