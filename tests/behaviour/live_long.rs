//! Broadcasts of minutes under a clock of our own: scripted encoders that are early, late, jittered, cut anywhere, sent twice or out of
//! order, silent, that come back or begin anew, and a server that is killed; what holds of every state that viewers see is checked at each.
//!
//! A seed is a broadcast: `HEADWATER_SEEDS=1000-1200 cargo test live_long` runs others than the usual ones, and says of each what happened.
#![expect(clippy::print_stdout, reason = "what happened, where a seed fails")]

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use headwater::content::live::channel::Options;
use headwater::content::live::pushed::Refusal;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::Source;
use headwater::media::live::Broadcast;
use headwater::media::presentation::Period;
use headwater::media::track::{Kind, Track};
use headwater::time::Utc;

use told::Told;

use crate::live::{Encoder, Playlist, Studio, parsed};
use crate::scene::{NOW, representations};

/// Half a second of a test each, without optimization; each of them found something once.
const SEEDS: [u64; 6] = [3, 9, 14, 29, 40, 46];
/// Of those in which tracks come late and stand still.
const LOOSE_SEEDS: [u64; 4] = [1, 19, 21, 33];
/// Of those in which encoders change the length of their segments, and the channel is told to be otherwise over a restart.
const CHANGING_SEEDS: [u64; 4] = [1, 2, 3, 4];
const SECONDS: u64 = 150;
const STEP_MS: u64 = 100;
/// After something happened nothing else does for so long.
const QUIET_MS: u64 = 12_000;
const TRACKS: [&str; 3] = ["v", "w", "a"];
/// The one that comes late, if one does.
const LATE: usize = 1;

/// splitmix64: the same numbers from the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Once in `count` times.
    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What a broadcast is like, by its seed.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Segments are files of their own.
    sends_files: bool,
    /// Clocks of encoders run so many millionths too fast.
    drift: i64,
    /// Media is sent so much before it should have been made.
    early_ms: u64,
    /// Chunks differ in length.
    jitters: bool,
    /// The channel declares a cadence.
    has_cadence: bool,
    /// Media times count from 1970.
    is_of_epoch: bool,
    /// Encoders say goodbye.
    ends: bool,
}

impl Manner {
    fn of(dice: &mut Dice) -> Manner {
        let has_cadence = dice.one_in(3);
        Manner {
            sends_files: dice.one_in(3),
            drift: if dice.one_in(3) { dice.below(400) as i64 - 200 } else { 0 },
            early_ms: if dice.one_in(3) { dice.below(1500) } else { 0 },
            jitters: dice.one_in(3),
            has_cadence,
            is_of_epoch: dice.one_in(if has_cadence { 2 } else { 6 }),
            ends: dice.one_in(2),
        }
    }
}

/// One track's encoder, with its moods.
struct Pusher {
    encoder: Encoder,
    manner: Manner,
    /// Samples of a chunk, mostly.
    usual: u32,
    /// Samples of a file of sound.
    file: u64,
    /// Samples of a GOP, or of a file of sound, from where both begin on.
    wanted: Option<u64>,
    /// Whether it may be told that it does not keep what the channel declares, and how often it was.
    may_be_refused: bool,
    refused: usize,
    /// Milliseconds after the broadcast's begin at which the next chunk is sent.
    due_ms: u64,
    /// When media of `encoder.sample` 0 was made.
    began_ms: u64,
    receiver: Receiver,
    /// What it sends again when it is not sure.
    sent: Vec<Vec<u8>>,
    /// A file that goes out after the one that follows it.
    put_off: Option<Vec<Vec<u8>>>,
    /// The file under way.
    under_way: Vec<Vec<u8>>,
    /// The one before, as it was sent.
    last_file: Vec<Vec<u8>>,
}

impl Pusher {
    fn new(mut encoder: Encoder, manner: Manner) -> Pusher {
        if manner.is_of_epoch {
            encoder.origin = NOW.0 / 1000 * u64::from(encoder.timescale);
        }
        Pusher {
            usual: encoder.chunk_samples,
            file: u64::from(encoder.chunk_samples) * 4,
            wanted: None,
            may_be_refused: false,
            refused: 0,
            encoder,
            manner,
            due_ms: 0,
            began_ms: 0,
            receiver: Receiver::default(),
            sent: Vec::new(),
            put_off: None,
            under_way: Vec::new(),
            last_file: Vec::new(),
        }
    }

    /// When the chunk at `sample` has been made, or is said to have been.
    fn made_ms(&self) -> u64 {
        let encoder = &self.encoder;
        let end = encoder.sample + u64::from(encoder.chunk_samples);
        let media_ms = (end * u64::from(encoder.sample_ticks) * 1000 / u64::from(encoder.timescale)) as i64;
        let made_ms = self.began_ms + (media_ms + media_ms * self.manner.drift / 1_000_000) as u64;
        made_ms.saturating_sub(self.manner.early_ms)
    }

    /// Sends what is due.
    fn send(&mut self, studio: &Studio, now_ms: u64, dice: &mut Dice) {
        while self.due_ms <= now_ms && self.made_ms() <= now_ms {
            let sample = self.encoder.sample;
            let bytes = self.encoder.chunk(sample);
            let begins_file = sample.is_multiple_of(self.file_samples());
            self.encoder.sample += u64::from(self.encoder.chunk_samples);
            self.turn();
            self.next_length(dice);
            if self.manner.sends_files {
                if begins_file && !self.under_way.is_empty() {
                    let file = std::mem::take(&mut self.under_way);
                    self.send_file(studio, file, dice);
                }
                self.under_way.push(bytes);
                continue;
            }
            self.take(studio, &bytes, false, dice);
            self.sent.push(bytes);
            if self.sent.len() > 12 {
                self.sent.remove(0);
            }
            if dice.one_in(60) {
                // Not sure what arrived: again, by another push.
                self.reconnect();
                self.send_again(studio, dice);
            }
            if dice.one_in(25) {
                self.due_ms = now_ms + dice.below(2500);
            }
        }
    }

    /// Sends the last chunks again, or the last file.
    fn send_again(&mut self, studio: &Studio, dice: &mut Dice) {
        if self.manner.sends_files {
            // The one whose media is the newest.
            let last = self.last_file.clone();
            return self.deliver(studio, &last, dice);
        }
        let count = 1 + dice.below(6) as usize;
        let last: Vec<Vec<u8>> = self.sent.iter().rev().take(count).rev().cloned().collect();
        for bytes in last {
            self.take(studio, &bytes, false, dice);
        }
    }

    /// Changes the length of segments, where the old and the new begin together.
    fn turn(&mut self) {
        let (sample, before) = (self.encoder.sample, self.file_samples());
        let may_turn = |wanted: &mut u64| sample.is_multiple_of(*wanted) && sample.is_multiple_of(before);
        let Some(wanted) = self.wanted.take_if(may_turn) else { return };
        match self.encoder.gop {
            1 => self.file = wanted,
            _ => self.encoder.gop = wanted as u32,
        }
    }

    /// Chunks end where a GOP or a file does.
    fn next_length(&mut self, dice: &mut Dice) {
        let jitter = if self.manner.jitters { dice.below(5) as u32 } else { 2 };
        let wanted = self.usual - 2 + jitter;
        let left = (self.file_samples() - self.encoder.sample % self.file_samples()) as u32;
        // No crumbs.
        self.encoder.chunk_samples = if left < wanted + 4 { left } else { wanted };
    }

    fn file_samples(&self) -> u64 {
        if self.encoder.gop > 1 { self.encoder.gop.into() } else { self.file }
    }

    fn send_file(&mut self, studio: &Studio, file: Vec<Vec<u8>>, dice: &mut Dice) {
        if self.put_off.is_none() && dice.one_in(6) {
            self.put_off = Some(file);
            return;
        }
        self.last_file.clone_from(&file);
        self.deliver(studio, &file, dice);
        if let Some(late) = self.put_off.take() {
            self.deliver(studio, &late, dice);
        }
    }

    /// Sends a file by a request of its own.
    fn deliver(&mut self, studio: &Studio, file: &[Vec<u8>], dice: &mut Dice) {
        self.reconnect();
        for (index, bytes) in file.iter().enumerate() {
            self.take(studio, bytes, index == 0, dice);
        }
        let source =
            Source { push: self.encoder.push, begins_segment: false, named_segments: true, ..Source::default() };
        studio.channels.for_push("tv").unwrap().push_ends(self.encoder.name, source, studio.now);
    }

    /// Hands over `bytes`, cut anywhere.
    fn take(&mut self, studio: &Studio, bytes: &[u8], begins_segment: bool, dice: &mut Dice) {
        let channel = studio.channels.for_push("tv").unwrap();
        let source = Source {
            push: self.encoder.push,
            begins_segment,
            named_segments: self.manner.sends_files,
            ..Source::default()
        };
        let cut = dice.below(bytes.len() as u64) as usize;
        let again = cut + dice.below((bytes.len() - cut) as u64) as usize;
        for piece in [&bytes[..cut], &bytes[cut..again], &bytes[again..]] {
            let mut events = Vec::new();
            self.receiver.push(piece, &mut events).unwrap();
            for event in events {
                let is_init = matches!(event, Event::Init(_));
                let source = Source { begins_segment: begins_segment && !is_init, ..source };
                match channel.take(self.encoder.name, event, source, studio.now) {
                    // Its GOPs are of another length than the cadence that the channel was told to have.
                    Err(Refusal::Conflict(why)) if self.may_be_refused && why.contains("cadence") => self.refused += 1,
                    other => drop(other.unwrap()),
                }
            }
        }
    }

    fn reconnect(&mut self) {
        self.encoder.push += 1;
        self.receiver = Receiver::default();
    }

    fn begin(&mut self, studio: &Studio, dice: &mut Dice) {
        let init = self.encoder.init.clone();
        self.take(studio, &init, false, dice);
    }

    /// Another timeline, which begins now.
    fn begin_anew(&mut self, studio: &Studio, now_ms: u64, origin_s: u64, dice: &mut Dice) {
        self.reconnect();
        self.sent.clear();
        (self.under_way, self.put_off) = (Vec::new(), None);
        self.encoder.origin = origin_s * u64::from(self.encoder.timescale);
        self.encoder.sample = 0;
        self.encoder.chunk_samples = self.usual;
        (self.began_ms, self.due_ms) = (now_ms, now_ms);
        self.begin(studio, dice);
    }

    /// What is made meanwhile is lost.
    fn miss(&mut self, until_ms: u64) {
        (self.under_way, self.put_off) = (Vec::new(), None);
        self.sent.clear();
        self.encoder.chunk_samples = 1;
        // Encoders go on with a sync sample.
        while self.made_ms() < until_ms || !self.encoder.sample.is_multiple_of(self.file_samples()) {
            self.encoder.sample += 1;
        }
        self.encoder.chunk_samples = self.usual;
        self.due_ms = until_ms;
        self.reconnect();
    }

    fn end(&self, studio: &Studio) {
        let source = Source {
            push: self.encoder.push,
            begins_segment: false,
            named_segments: self.manner.sends_files,
            ..Source::default()
        };
        studio.channels.for_push("tv").unwrap().take(self.encoder.name, Event::End, source, studio.now).unwrap();
    }
}

/// A segment or part that a viewer was told of, which binds whatever comes.
#[derive(Clone)]
struct Seen {
    hash: blake3::Hash,
    /// Its discontinuity sequence number, and when it is presented, in milliseconds since 1970.
    place: Option<(u64, u64)>,
}

/// What comes next is announced anew, alone in its playlists.
struct Anew {
    /// Behind the period with this number.
    after: u64,
    /// Whether numbers are others then.
    is_renumbered: bool,
    /// The tracks whose playlists were seen since.
    seen: BTreeSet<&'static str>,
}

/// What a viewer has seen.
#[derive(Default)]
struct Viewer {
    lists: BTreeMap<&'static str, Playlist>,
    segments: BTreeMap<String, Seen>,
    parts: BTreeMap<String, Vec<u8>>,
    /// What left its playlist when, and how long it has to stay.
    left: Vec<(u64, u64, String)>,
    /// By period and track: the times that were listed, with how long.
    timelines: BTreeMap<(String, String), BTreeMap<u64, u64>>,
    /// By period and URL of an initialization: the id of its AdaptationSet.
    sets: BTreeMap<(String, String), String>,
    /// By period: its start and its end, if it was said.
    periods: BTreeMap<String, (u64, Option<u64>)>,
    started: Option<String>,
    is_settled: bool,
    anew: Option<Anew>,
    states: usize,
    gaps: usize,
}

fn media_ms(list: &Playlist) -> u64 {
    list.segments.iter().map(|(_, seconds, _)| (seconds * 1000.0) as u64).sum()
}

/// What DASH leaves out: Periods of pictures without sound, or of sound without pictures, if those that are `listed` are otherwise.
fn left_out(broadcast: &Broadcast, listed: &BTreeSet<String>) -> BTreeSet<String> {
    let periods = broadcast.presentation().periods;
    let has = |period: &Period| [Kind::Video, Kind::Audio].map(|kind| period.sets.iter().any(|set| set.kind == kind));
    let urls = |period: &Period| -> Vec<String> {
        let of = |track: &Track| {
            let folder = format!("/tv/{}/{}", track.name, track.version);
            track.segments.iter().map(move |segment| format!("{folder}/{}.m4s", segment.time)).collect::<Vec<_>>()
        };
        period.tracks().flat_map(of).collect()
    };
    let kinds: BTreeSet<[bool; 2]> =
        periods.iter().filter(|period| urls(period).iter().any(|url| listed.contains(url))).map(has).collect();
    assert!(kinds.len() <= 1, "players can't go on from one of these to the other: {kinds:?}");
    periods.iter().filter(|period| !kinds.contains(&has(period))).flat_map(urls).collect()
}

impl Viewer {
    /// The channel behaves otherwise, now that `last` was the last period: what comes is announced anew, and has other numbers, if that is so.
    fn is_told(&mut self, (is_anew, is_renumbered): (bool, bool), last: Option<u64>) {
        let Some(after) = last.filter(|_| is_anew) else { return };
        // Another change may wait to be announced.
        let waits = self.anew.take().filter(|anew| anew.after == after);
        let is_renumbered = is_renumbered || waits.is_some_and(|anew| anew.is_renumbered);
        self.anew = Some(Anew { after, is_renumbered, seen: BTreeSet::new() });
    }

    async fn look(&mut self, studio: &Studio, manner: &Manner, now_ms: u64) {
        let master = studio.get("/tv/master.m3u8").await;
        if master.status == 503 {
            return;
        }
        assert_eq!(master.status, 200, "{}", master.text());
        self.states += 1;
        let mut hls = BTreeMap::new();
        for track in TRACKS {
            let path = format!("/tv/{track}/media.m3u8");
            let answer = studio.get(&path).await;
            if answer.status == 404 {
                // It waits for a period.
                assert!(!self.lists.contains_key(track), "{track} is not there any more: {} {}", now_ms, state(studio));
                continue;
            }
            let text = answer.text();
            let list = parsed(&path, &text);
            let lines = lines(&text);
            self.playlist(studio, track, &list, &lines, now_ms).await;
            for ((url, seconds, _), line) in list.segments.iter().zip(&lines) {
                if !line.is_gap {
                    hls.insert(url.clone(), ((seconds * 1e6).round() as u64, line.utc_ms));
                }
            }
            self.lists.insert(track, list);
        }
        self.mpd(studio, &hls, manner).await;
        self.what_left(studio, now_ms).await;
    }

    async fn playlist(&mut self, studio: &Studio, track: &'static str, list: &Playlist, lines: &[Line], now_ms: u64) {
        let end = |list: &Playlist| list.msn + list.segments.len() as u64;
        let listed = |list: &Playlist| -> BTreeSet<String> {
            let parts = list.segments.iter().flat_map(|(_, _, parts)| parts).chain(&list.open);
            parts.map(|(url, _)| url.clone()).collect()
        };
        let broadcast = studio.channels.get("tv").unwrap().broadcast();
        let newest = broadcast.periods.last().map(|period| period.number);
        let own = broadcast.tracks_called(track).last().map(|(period, _)| period.number);
        let is_anew = self.anew.as_mut().is_some_and(|anew| {
            let is_later = |number: Option<u64>| number.is_some_and(|number| number > anew.after);
            // Who is not there when it is announced comes later, and may have numbers of its own only then.
            let is_anew = is_later(newest) && !anew.seen.contains(track);
            anew.seen.extend(Some(track).filter(|_| is_later(if anew.is_renumbered { own } else { newest })));
            is_anew
        });
        if let Some(before) = self.lists.get(track).filter(|_| is_anew) {
            let is_renumbered = self.anew.as_ref().is_some_and(|anew| anew.is_renumbered);
            assert!(is_renumbered || list.msn >= end(before), "{track} steps back: {before:?} {list:?}");
            let stays_ms = media_ms(before);
            for (url, seconds, _) in &before.segments {
                assert!(
                    list.segments.iter().all(|new| new.0 != *url),
                    "{track}: {url} is not alone: {}",
                    state(studio)
                );
                self.left.push((now_ms, stays_ms + (seconds * 1000.0) as u64, url.clone()));
            }
            self.left.extend(listed(before).into_iter().map(|url| (now_ms, before.target_s as u64 * 3000, url)));
        } else if let Some(before) = self.lists.get(track) {
            assert!(list.msn >= before.msn && end(list) >= end(before), "{track} steps back: {before:?} {list:?}");
            assert_eq!(list.target_s, before.target_s, "{track}");
            // What was listed stays for its own length and that of the playlist (rfc8216bis §6.2.2), parts for three target durations.
            let stays_ms = media_ms(before);
            for (number, old) in (before.msn..).zip(&before.segments) {
                match number.checked_sub(list.msn) {
                    Some(index) => {
                        let new = &list.segments[index as usize];
                        let state = || state(studio);
                        assert_eq!((&new.0, new.1), (&old.0, old.1), "{track}: {number} is another: {}", state());
                    }
                    None => self.left.push((now_ms, stays_ms + (old.1 * 1000.0) as u64, old.0.clone())),
                }
            }
            let gone = &listed(before) - &listed(list);
            self.left.extend(gone.into_iter().map(|url| (now_ms, before.target_s as u64 * 3000, url)));
        }
        let longest = list.segments.iter().map(|(_, seconds, _)| seconds.round() as u64).max().unwrap_or(0);
        assert!(longest as f64 <= list.target_s, "{track}: a segment of {longest} s: {list:?}");
        // What is missing is listed: a segment begins where the one before it ends.
        for ((one, next), (url, seconds, _)) in lines.iter().zip(&lines[1.min(lines.len())..]).zip(&list.segments) {
            let end_ms = one.utc_ms + (seconds * 1000.0) as u64;
            let is_same = one.discontinuity == next.discontinuity;
            assert!(!is_same || end_ms.abs_diff(next.utc_ms) <= 110, "{track}: a hole after {url}: {}", state(studio));
            // Another period may begin half a segment earlier than what was listed of it ends.
            let near_ms = list.target_s as u64 * 500 + 110;
            assert!(next.utc_ms + near_ms >= end_ms, "{track}: time steps back after {url}: {}", state(studio));
        }
        self.gaps = self.gaps.max(lines.iter().filter(|line| line.is_gap).count());
        for ((url, seconds, parts), line) in list.segments.iter().zip(lines) {
            if line.is_gap {
                assert!(!self.segments.contains_key(url), "{url} was there, and is a gap");
                for (part, _) in parts {
                    self.part(studio, part).await;
                }
                continue;
            }
            if !self.segments.contains_key(url) {
                let answer = studio.get(url).await;
                assert_eq!(answer.status, 200, "{url}: {}", answer.text());
                let ms = lasts_ms(&answer.body, track);
                assert!((seconds * 1000.0 - ms).abs() < 150.0, "{url}: listed with {seconds} s, lasts {ms} ms");
                self.segments.insert(url.clone(), Seen { hash: blake3::hash(&answer.body), place: None });
            }
            let seen = self.segments.get_mut(url).unwrap();
            let place = *seen.place.get_or_insert((line.discontinuity, line.utc_ms));
            assert_eq!(place.0, line.discontinuity, "{url}: another discontinuity sequence number");
            assert!(place.1.abs_diff(line.utc_ms) <= 2, "{url} was at {}, is at {}", place.1, line.utc_ms);
            let hash = seen.hash;
            if !parts.is_empty() {
                let mut joined = Vec::new();
                for (part, part_seconds) in parts {
                    let most = list.part_target_s.expect("parts have a target");
                    assert!(*part_seconds <= most + 1e-6, "{part} lasts {part_seconds} s, {most} was said");
                    joined.extend(self.part(studio, part).await);
                }
                assert!(blake3::hash(&joined) == hash, "parts are not {url}: {list:?}");
            }
        }
        for (part, seconds) in &list.open {
            let most = list.part_target_s.expect("parts have a target");
            assert!(*seconds <= most + 1e-6, "{part} lasts {seconds} s, {most} was said");
            self.part(studio, part).await;
        }
    }

    async fn part(&mut self, studio: &Studio, url: &str) -> Vec<u8> {
        if let Some(known) = self.parts.get(url) {
            return known.clone();
        }
        let answer = studio.get(url).await;
        assert_eq!(answer.status, 200, "{url}: {}", answer.text());
        self.parts.insert(url.to_owned(), answer.body.to_vec());
        answer.body.to_vec()
    }

    async fn mpd(&mut self, studio: &Studio, hls: &BTreeMap<String, (u64, u64)>, manner: &Manner) {
        let text = studio.text("/tv/manifest.mpd").await;
        let started =
            text.split("availabilityStartTime=\"").nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        match (&self.started, &started) {
            (Some(before), Some(now)) => assert_eq!(before, now),
            _ => self.started = self.started.take().or(started.clone()),
        }
        let started_ms = self.started.as_deref().unwrap().parse::<Utc>().unwrap().0;
        let is_settled = studio.channels.get("tv").unwrap().broadcast().is_settled;
        if is_settled || self.is_settled {
            // It begins with what is still there, and has times of its own.
            self.periods.clear();
        }
        self.is_settled = is_settled;
        let mut last_end = 0;
        for period in text.split("<Period ").skip(1) {
            let attribute = |name: &str| -> Option<String> {
                let head = period.split('>').next().unwrap();
                head.split(&format!("{name}=\"")).nth(1).map(|rest| rest.split('"').next().unwrap().to_owned())
            };
            let id = attribute("id").unwrap();
            let start = attribute("start").as_deref().map(iso_us).unwrap();
            assert!(start >= last_end, "the period {id} begins at {start}, the one before ends at {last_end}: {text}");
            let end = attribute("duration").as_deref().map(|duration| start + iso_us(duration));
            last_end = end.unwrap_or(start);
            let known = self.periods.entry(id.clone()).or_insert((start, end));
            assert_eq!(known.0, start, "the period {id} moves");
            if let (Some(before), Some(end)) = (known.1, end) {
                // Where another hole is found in it, it ends earlier.
                assert!(end <= before, "the period {id} ended at {before}, now at {end}: {text}");
            }
            known.1 = end.or(known.1);
        }
        let found = representations(&text, "/tv/manifest.mpd");
        let (mut listed, mut begins_ms) = (BTreeSet::new(), None);
        for representation in &found {
            let of = (representation.period.clone(), representation.init.clone());
            let known = self.sets.entry(of).or_insert_with(|| representation.set.clone());
            assert_eq!(
                *known, representation.set,
                "{} of period {} is of another set: {text}",
                representation.id, representation.period
            );
            let id = (representation.period.clone(), representation.id.clone());
            let period_ms = started_ms + self.periods[&representation.period].0 / 1000;
            let known = self.timelines.entry(id).or_default();
            let scale = representation.timescale;
            let us = |ticks: u64| ((u128::from(ticks) * 1_000_000 + u128::from(scale / 2)) / u128::from(scale)) as u64;
            for segment in &representation.segments {
                let before = *known.entry(segment.time).or_insert(segment.duration);
                assert_eq!(before, segment.duration, "S@t={} of {} is another", segment.time, representation.id);
                assert!(listed.insert(segment.url.clone()), "{} is listed twice", segment.url);
                let Some((us_in_hls, utc_ms)) = hls.get(&segment.url) else {
                    assert!(manner.has_cadence, "{} is not in HLS", segment.url);
                    continue;
                };
                let us_in_dash = us(segment.time + segment.duration) - us(segment.time);
                // What was announced and came otherwise is as it was announced.
                assert!(us_in_dash == *us_in_hls || manner.has_cadence, "{}", segment.url);
                let after_ms =
                    (i128::from(segment.time) - i128::from(representation.offset)) * 1000 / i128::from(scale);
                // Sound may begin before the first picture, with which what has ended begins.
                let (ms_in_dash, utc_ms) = (period_ms as i64 + after_ms as i64, *utc_ms as i64);
                let begins_ms = *begins_ms.get_or_insert(if is_settled { utc_ms - ms_in_dash } else { 0 });
                let ms_in_dash = ms_in_dash + begins_ms;
                assert!(ms_in_dash.abs_diff(utc_ms) <= 3, "{}: at {utc_ms}, in DASH {ms_in_dash}", segment.url);
            }
        }
        // A Period waits for all its tracks, for a while.
        let broadcast = studio.channels.get("tv").unwrap().broadcast();
        let near_us = broadcast.timing.near_us();
        let waits_from =
            broadcast.periods.last().and_then(|period| period.cuts.last()).map(|cut| (cut - near_us) / 1000);
        let edge_ms = hls.values().map(|(_, utc_ms)| *utc_ms).max().unwrap_or(0);
        let waits_ms = 5 * broadcast.timing.target_s * 1000;
        let may_wait = |utc_ms: u64| {
            waits_from.is_some_and(|from| utc_ms + 3 >= started_ms.saturating_add_signed(from))
                && utc_ms + waits_ms >= edge_ms
        };
        let left_out = left_out(&broadcast, &listed);
        let missing = hls
            .iter()
            .filter(|(url, (_, utc_ms))| !listed.contains(*url) && !may_wait(*utc_ms) && !left_out.contains(*url));
        let missing: Vec<_> = missing.map(|(url, _)| url).collect();
        let cuts: Vec<&Vec<i64>> = broadcast.periods.iter().map(|period| &period.cuts).collect();
        assert!(missing.is_empty(), "DASH lacks {missing:?}, cut at {cuts:?}: {text}{}", state(studio));
    }

    /// What is not listed any more is there for a while, and what it was.
    async fn what_left(&mut self, studio: &Studio, now_ms: u64) {
        self.left.retain(|(left_ms, stays_ms, _)| now_ms < left_ms + stays_ms);
        for (left_ms, _, url) in &self.left {
            let expected = match (self.segments.get(url), self.parts.get(url)) {
                (Some(seen), _) => seen.hash,
                (_, Some(part)) => blake3::hash(part),
                _ => continue,
            };
            let answer = studio.get(url).await;
            let left_ms = now_ms - left_ms;
            assert_eq!(answer.status, 200, "{url} left {left_ms} ms ago: {}, {}", answer.text(), state(studio));
            assert!(blake3::hash(&answer.body) == expected, "{url} has two contents");
        }
    }

    /// All that is listed is what it was.
    async fn look_again(&self, studio: &Studio) {
        for (url, _, parts) in self.lists.values().flat_map(|list| &list.segments) {
            if let Some(seen) = self.segments.get(url) {
                let answer = studio.get(url).await;
                assert_eq!(answer.status, 200, "{url}: {}, {}", answer.text(), state(studio));
                assert!(blake3::hash(&answer.body) == seen.hash, "{url} has two contents");
            }
            for (part, _) in parts {
                let answer = studio.get(part).await;
                assert_eq!(answer.status, 200, "{part}: {}", answer.text());
                assert!(self.parts[part] == answer.body, "{part} has two contents");
            }
        }
    }
}

/// What the channel has: by period and track, numbers and times of segments, `-` for gaps, `!` for what is let go.
fn state(studio: &Studio) -> String {
    let broadcast = studio.channels.get("tv").unwrap().broadcast();
    let mut text = String::new();
    for (period, track) in broadcast.periods.iter().flat_map(|p| p.tracks.iter().map(move |track| (p, track))) {
        let start_s = period.start.seconds();
        let open = track.open.as_ref().map(|open| (open.number, open.time, open.is_torn, &open.parts));
        text += &format!(
            "\n{} at {start_s} {} {} from {} on, {open:?}:",
            period.number, track.face.name, track.face.version, track.listed_from
        );
        for segment in track.segments.iter() {
            let mark = match (segment.is_gap, segment.lease.is_live()) {
                (true, _) => "-",
                (false, true) => "",
                (false, false) => "!",
            };
            text += &format!(" {}@{}+{}/{}{mark}", segment.number, segment.time, segment.duration, segment.parts.len());
        }
    }
    text
}

/// What a playlist says of a segment besides what it is.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub(crate) struct Line {
    pub(crate) is_gap: bool,
    pub(crate) discontinuity: u64,
    pub(crate) utc_ms: u64,
    pub(crate) seconds: f64,
}

pub(crate) fn lines(text: &str) -> Vec<Line> {
    let (mut lines, mut line, mut at_us, mut lasts_us) = (Vec::new(), Line::default(), 0, 0);
    for own in text.lines() {
        let (tag, value) = own.split_once(':').unwrap_or((own, ""));
        match tag {
            "#EXT-X-DISCONTINUITY-SEQUENCE" => line.discontinuity = value.parse().unwrap(),
            "#EXT-X-DISCONTINUITY" => line.discontinuity += 1,
            "#EXT-X-PROGRAM-DATE-TIME" => at_us = value.parse::<Utc>().unwrap().0 * 1000,
            "#EXT-X-GAP" => line.is_gap = true,
            "#EXTINF" => lasts_us = (value.trim_end_matches(',').parse::<f64>().unwrap() * 1e6).round() as u64,
            _ if own.starts_with('#') => {}
            _ => {
                lines.push(Line { utc_ms: (at_us + 500) / 1000, seconds: lasts_us as f64 / 1e6, ..line });
                at_us += lasts_us;
                line.is_gap = false;
            }
        }
    }
    lines
}

/// `PT1M2.5S` in microseconds.
pub(crate) fn iso_us(text: &str) -> u64 {
    let (mut us, mut number) = (0.0, String::new());
    for c in text.trim_start_matches("PT").chars() {
        let unit = match c {
            'H' => 3.6e9,
            'M' => 6e7,
            'S' => 1e6,
            _ => {
                number.push(c);
                continue;
            }
        };
        us += number.parse::<f64>().unwrap() * unit;
        number.clear();
    }
    us.round() as u64
}

/// How long the samples of a segment last that an [`Encoder`] made: each has 50 bytes.
fn lasts_ms(body: &[u8], track: &str) -> f64 {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(body, &mut events).unwrap();
    assert!(receiver.is_at_rest());
    let samples = |event: &Event| match event {
        Event::Chunk(raw) => (raw.bytes.len() - raw.moof.end - 8) / 50,
        _ => panic!("no chunk"),
    };
    let samples: usize = events.iter().map(samples).sum();
    samples as f64 * if track == "a" { 1024.0 / 48.0 } else { 1000.0 / 24.0 }
}

/// What happens in a broadcast besides.
#[derive(Clone, Copy, PartialEq)]
enum Plot {
    Plain,
    /// A track comes late, and tracks stand still for longer than others wait.
    Loose,
    /// Encoders change the length of their segments, and the channel is told to be otherwise over a restart.
    Changing,
}

/// Of Plot::Changing: lengths of GOPs, of files of sound, in samples.
const GOPS: [u64; 4] = [24, 48, 72, 96];
const FILES: [u64; 4] = [48, 72, 96, 144];

async fn broadcast(seed: u64, dir: &Path, plot: Plot) {
    let is_loose = plot == Plot::Loose;
    let mut dice = Dice(seed);
    let mut manner = Manner::of(&mut dice);
    // Of its own, so that a seed of another plot stays what it is.
    let mut changes = Some(Dice(!seed)).filter(|_| plot == Plot::Changing);
    println!("seed {seed}: {manner:?}");
    let mut told = Told::new(manner.has_cadence.then_some("2s"));
    let options = |told: &Told| Options {
        dir: Some(dir.to_path_buf()),
        every: told.options(),
        open: true,
        spool_file_bytes: 20_000,
        ..Options::default()
    };
    let mut studio = Studio::of(options(&told), NOW);
    let encoders = [Encoder::video("v"), Encoder::video("w"), Encoder::audio("a")];
    let mut pushers: Vec<Pusher> = encoders.into_iter().map(|encoder| Pusher::new(encoder, manner)).collect();
    pushers.iter_mut().for_each(|pusher| pusher.may_be_refused = changes.is_some());
    let mut late_ms = is_loose.then(|| 20_000 + dice.below(40_000));
    for (index, pusher) in pushers.iter_mut().enumerate() {
        match late_ms.filter(|_| index == LATE) {
            Some(late_ms) => pusher.due_ms = late_ms,
            None => pusher.begin(&studio, &mut dice),
        }
    }
    let mut viewer = Viewer::default();
    let mut quiet_until = QUIET_MS;
    for now_ms in (STEP_MS..=SECONDS * 1000).step_by(STEP_MS as usize) {
        studio.now = Utc(NOW.0 + now_ms);
        if late_ms.is_some_and(|late_ms| now_ms >= late_ms) {
            println!("{now_ms} ms: {} comes", TRACKS[LATE]);
            late_ms = None;
            pushers[LATE].miss(now_ms);
            pushers[LATE].begin(&studio, &mut dice);
            if dice.one_in(2) {
                stand_still(&mut pushers, now_ms, &mut dice);
            }
            quiet_until = now_ms + QUIET_MS;
        }
        if let Some(late_ms) = late_ms {
            pushers[LATE].due_ms = pushers[LATE].due_ms.max(late_ms);
        }
        if let Some(changes) = &mut changes {
            change_lengths(&mut pushers, now_ms, changes);
        }
        for pusher in &mut pushers {
            pusher.send(&studio, now_ms, &mut dice);
        }
        if now_ms > quiet_until && dice.one_in(120) {
            quiet_until = now_ms + QUIET_MS;
            match dice.below(4) {
                _ if is_loose && dice.one_in(2) => stand_still(&mut pushers, now_ms, &mut dice),
                0 => {
                    // At times for so long that the channel is silent.
                    let lasts = if dice.one_in(4) { 9_000 + dice.below(20_000) } else { 2_000 + dice.below(6_000) };
                    println!("{now_ms} ms: an outage of {lasts} ms");
                    pushers.iter_mut().for_each(|pusher| pusher.miss(now_ms + lasts));
                    quiet_until += lasts;
                }
                1 if !manner.is_of_epoch && late_ms.is_none() => {
                    // Near the end of 32 bits at times.
                    let origin_s = if dice.one_in(2) { dice.below(1000) } else { (1 << 32) / 48_000 - 20 };
                    println!("{now_ms} ms: a timeline from {origin_s} s on");
                    pushers.iter_mut().for_each(|pusher| pusher.begin_anew(&studio, now_ms, origin_s, &mut dice));
                }
                2 => {
                    let (one, lasts) = (dice.below(3) as usize, 2_000 + dice.below(8_000));
                    println!("{now_ms} ms: an outage of {} of {lasts} ms", TRACKS[one]);
                    pushers[one].miss(now_ms + lasts);
                }
                _ => {
                    println!("{now_ms} ms: encoders connect again");
                    connect(&mut pushers, &studio, late_ms.is_some(), &mut dice);
                }
            }
        }
        if now_ms > QUIET_MS && dice.one_in(400) {
            println!("{now_ms} ms: a kill");
            // Nobody says goodbye.
            studio = Studio::of(options(&told), studio.now);
            connect(&mut pushers, &studio, late_ms.is_some(), &mut dice);
            viewer.look_again(&studio).await;
        }
        let is_told = now_ms > quiet_until && changes.as_mut().is_some_and(|changes| changes.one_in(150));
        if let Some(changes) = changes.as_mut().filter(|_| is_told) {
            quiet_until = now_ms + QUIET_MS;
            let other = told.otherwise(changes);
            println!("{now_ms} ms: a kill, and then {other:?}");
            let last = studio.channels.get("tv").unwrap().broadcast().periods.last().map(|period| period.number);
            viewer.is_told(told.begins_anew(&other), last);
            told = other;
            // Of what is listed, and for how long that is.
            manner.has_cadence |= told.has_cadence();
            studio = Studio::of(options(&told), studio.now);
            connect(&mut pushers, &studio, false, &mut dice);
            for pusher in pushers.iter_mut().filter(|_| changes.one_in(2)) {
                pusher.send_again(&studio, &mut dice);
            }
            viewer.look_again(&studio).await;
        }
        if now_ms % 1000 == 0 {
            studio.channels.tick(studio.now);
        }
        if now_ms % 500 == 0 {
            viewer.look(&studio, &manner, now_ms).await;
        }
    }
    viewer.look_again(&studio).await;
    if manner.ends {
        pushers.iter().for_each(|pusher| pusher.end(&studio));
        viewer.look(&studio, &manner, SECONDS * 1000).await;
        studio = Studio::of(options(&told), Utc(studio.now.0 + 60_000));
        viewer.look(&studio, &manner, SECONDS * 1000 + 60_000).await;
        viewer.look_again(&studio).await;
        assert!(viewer.lists.values().all(|list| list.ended), "{:?}", viewer.lists);
        assert!(studio.text("/tv/manifest.mpd").await.contains("type=\"static\""));
        studio.settle();
        viewer.look(&studio, &manner, SECONDS * 1000 + 180_000).await;
        assert!(viewer.is_settled || viewer.lists.is_empty());
    }
    let refused: usize = pushers.iter().map(|pusher| pusher.refused).sum();
    let segments = viewer.segments.len();
    println!("{} states, {segments} segments, {} gaps, {refused} refused", viewer.states, viewer.gaps);
    // Where GOPs are of another length than the cadence most of what is pushed is left out.
    assert!(viewer.states > 100 && segments > if plot == Plot::Changing { 20 } else { 100 });
}

/// Segments are to be of another length, of all pictures mostly.
fn change_lengths(pushers: &mut [Pusher], now_ms: u64, changes: &mut Dice) {
    if !changes.one_in(200) {
        return;
    }
    let which = changes.below(4) as usize;
    let lengths = if TRACKS.get(which) == Some(&"a") { FILES } else { GOPS };
    let wanted = lengths[changes.below(4) as usize];
    let are_meant = pushers
        .iter_mut()
        .enumerate()
        .filter(|(index, pusher)| *index == which || (which >= TRACKS.len() && pusher.encoder.gop > 1));
    for (_, pusher) in are_meant {
        println!("{now_ms} ms: {} goes over to segments of {wanted} samples", pusher.encoder.name);
        pusher.wanted = Some(wanted);
    }
}

/// A track stands still, and then sends what was made meanwhile.
fn stand_still(pushers: &mut [Pusher], now_ms: u64, dice: &mut Dice) {
    let (one, lasts) = (dice.below(3) as usize, 4_000 + dice.below(12_000));
    println!("{now_ms} ms: {} stands still for {lasts} ms", TRACKS[one]);
    pushers[one].due_ms = pushers[one].due_ms.max(now_ms + lasts);
}

/// All connect again, but who has not come yet.
fn connect(pushers: &mut [Pusher], studio: &Studio, one_is_late: bool, dice: &mut Dice) {
    for (index, pusher) in pushers.iter_mut().enumerate() {
        pusher.reconnect();
        if index != LATE || !one_is_late {
            pusher.begin(studio, dice);
        }
    }
}

fn seeds(usual: &[u64]) -> Vec<u64> {
    match std::env::var("HEADWATER_SEEDS") {
        Ok(range) => {
            let (from, until) = range.split_once('-').expect("FROM-UNTIL");
            (from.parse().unwrap()..until.parse().unwrap()).collect()
        }
        Err(_) => usual.to_vec(),
    }
}

/// The broadcasts of `plot` with the usual seeds, or those that are asked for.
async fn broadcasts(usual: &[u64], plot: Plot) {
    for seed in seeds(usual) {
        let dir = tempfile::tempdir().unwrap();
        broadcast(seed, dir.path(), plot).await;
    }
}

#[tokio::test]
async fn what_viewers_are_told_holds_whatever_encoders_do() {
    broadcasts(&SEEDS, Plot::Plain).await;
}

#[tokio::test]
async fn what_viewers_are_told_holds_when_tracks_come_late_and_stand_still() {
    broadcasts(&LOOSE_SEEDS, Plot::Loose).await;
}

#[tokio::test]
async fn what_viewers_are_told_holds_when_lengths_change_and_the_channel_is_told_to_be_otherwise() {
    broadcasts(&CHANGING_SEEDS, Plot::Changing).await;
}
