//! A channel from its pushes to its playlists and its MPD, under a clock that the script has: what was listed stays what it was, numbers never step
//! back, and what is listed is there.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater::content::live::channel::{Channel, Options};
use headwater::content::live::receiver::Receiver;
use headwater::content::live::window::Source;
use headwater::media::live::{Broadcast, Found, LiveTrack};
use headwater::media::presentation::Presentation;
use headwater::media::switching;
use headwater::media::track::{Kind, Version};
use headwater::packager::hls::rendition::Renditions;
use headwater::packager::{dash, hls, rate};
use headwater::time::Utc;
use headwater_fuzz::{BEGINS, NAMES, Push, Step, script};
use libfuzzer_sys::fuzz_target;
use m3u8_rs::{MediaPlaylist, parse_master_playlist_res, parse_media_playlist_res};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event as Xml};

fuzz_target!(|bytes: &[u8]| {
    let Some((options, script)) = script(bytes) else { return };
    let channel = Channel::open("tv", options, None, &Options::default());
    let mut studio = Studio { channel, now: BEGINS, receivers: BTreeMap::new() };
    let mut player = Player::default();
    for steps in script {
        for step in steps {
            studio.does(step);
            player.has_ended |= studio.channel.broadcast().ended;
        }
        let live = studio.channel.broadcast();
        if live.sequence != player.sequence && !live.periods.is_empty() {
            player.reads(&live);
        }
    }
});

/// Times of chunks that follow one another may differ by so much from what they last.
const JITTER_MS: u64 = 100;

/// A channel, and who pushes to it.
struct Studio {
    channel: Channel,
    now: Utc,
    /// By push: how far it came, and whether its first chunk came.
    receivers: BTreeMap<u64, (Receiver, bool)>,
}

impl Studio {
    fn does(&mut self, step: Step) {
        let encoders = ["a", "b"].map(|name| self.channel.encoder(name, self.now));
        let source = |push: &Push| Source {
            encoder: encoders[push.encoder],
            push: push.number,
            begins_segment: false,
            named_segments: push.named_segments,
        };
        match step {
            Step::Passes(duration) => {
                self.now = self.now.after(duration);
                self.channel.tick(self.now);
            }
            Step::Pushes(pushed) => {
                let (push, mut events) = (pushed.push, Vec::new());
                let (receiver, has_begun) = self.receivers.entry(push.number).or_default();
                let result = receiver.push(&pushed.bytes, &mut events);
                let mut is_refused = result.is_err();
                for event in events {
                    let is_chunk = matches!(event, headwater::content::live::receiver::Event::Chunk(_));
                    let source = Source { begins_segment: is_chunk && !*has_begun, ..source(&push) };
                    *has_begun |= is_chunk;
                    is_refused |= self.channel.take(push.track, event, source, self.now).is_err();
                }
                if is_refused {
                    self.receivers.remove(&push.number);
                    self.channel.push_breaks(push.track, source(&push), self.now);
                }
            }
            Step::Ends(push) => self.channel.push_ends(push.track, source(&push), self.now),
            Step::Breaks(push) => self.channel.push_breaks(push.track, source(&push), self.now),
        }
    }
}

/// What was told so far.
#[derive(Default)]
struct Player {
    sequence: u64,
    /// Until the broadcast ends: the next one is announced anew.
    target_s: Option<u64>,
    has_ended: bool,
    /// The number of the newest period.
    period: u64,
    /// By track.
    tracks: BTreeMap<&'static str, Told>,
}

#[derive(Default)]
struct Told {
    /// The first number, that of the first period, and the number that comes next.
    first: (u64, u64, u64),
    /// By number: its URI, its length, and whether it is a gap.
    segments: BTreeMap<u64, (String, String, bool)>,
}

impl Player {
    fn reads(&mut self, live: &Broadcast) {
        self.sequence = live.sequence;
        let newest = live.periods.last().expect("it has begun").number;
        assert!(newest >= self.period, "periods go on");
        if self.has_ended && newest > self.period {
            self.target_s = None;
        }
        (self.period, self.has_ended) = (newest, live.ended);
        assert_eq!(*self.target_s.get_or_insert(live.timing.target_s), live.timing.target_s, "as it was announced");
        for name in NAMES {
            let playlist = |is_delta| {
                let text = hls::live::playlist(live, name, is_delta, &hls_options()).expect("what testdata has");
                text.map(|text| String::from_utf8(text).expect("text"))
            };
            let Some(text) = playlist(false) else { continue };
            let delta = playlist(true).expect("there is one");
            let list = parse_media_playlist_res(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {text}"));
            let told = self.tracks.entry(name).or_default();
            told.reads(live, name, &text, &list);
            is_end_of(&text, &delta);
        }
        let rates = || live.periods.iter().flat_map(|period| &period.tracks).map(|track| (&*track.face, track.rate));
        if let Ok(mpd) = dash::live::mpd(live, &rate::so_far(rates()), "../time") {
            reads_mpd(live, &String::from_utf8(mpd).expect("text"));
        }
        if let Some(text) = multivariant(live) {
            let text = String::from_utf8(text).expect("text");
            let list = parse_master_playlist_res(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {text}"));
            let is_there = |uri: &str| {
                let name = uri.strip_suffix("/media.m3u8").expect("a track's playlist");
                assert!(live.tracks_called(name).next().is_some(), "{text}");
            };
            list.variants.iter().for_each(|variant| is_there(&variant.uri));
            list.alternatives.iter().filter_map(|media| media.uri.as_deref()).for_each(is_there);
        }
    }
}

impl Told {
    fn reads(&mut self, live: &Broadcast, name: &str, text: &str, list: &MediaPlaylist) {
        let first = list.media_sequence;
        let next = first + list.segments.len() as u64;
        let now = (first, list.discontinuity_sequence, next);
        let (first_before, period_before, next_before) = self.first;
        assert!(first >= first_before, "the first stepped back from {first_before}: {text}");
        assert!(now.1 >= period_before, "discontinuities stepped back from {period_before}: {text}");
        assert!(next >= next_before, "the last stepped back from {next_before}: {text}");
        self.first = now;
        let edge = hls::live::edge(live, name).expect("a track of it");
        assert!(edge.0 >= next, "what comes next has been there: {text}");
        assert_eq!(list.target_duration, live.timing.target_s);
        let is_timed = live.tracks_called(name).all(|(_, track)| track.face.kind != Kind::Text);
        let (mut number, mut length, mut is_gap, mut part_target) = (first, "", false, f64::INFINITY);
        // When the last one ended, in milliseconds since 1970.
        let mut end_ms = 0;
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let attribute = |name: &str| value.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            match tag {
                "#EXTINF" => length = value.trim_end_matches(','),
                "#EXT-X-GAP" => is_gap = true,
                "#EXT-X-PROGRAM-DATE-TIME" => {
                    let begins_ms = value.parse::<Utc>().expect("a time").0;
                    // Another period may begin half a segment earlier than what was listed of it ends.
                    let near_ms = live.timing.target_s * 500 + JITTER_MS;
                    assert!(!is_timed || begins_ms + near_ms >= end_ms, "time steps back to {value}: {text}");
                    end_ms = begins_ms;
                }
                "#EXT-X-MAP" => {
                    let uri = attribute("URI").expect("a URI").trim_matches('"');
                    let (version, file) = uri.split_once('/').expect("a folder");
                    assert!(file == "init.mp4" && live.track(name, version_of(version)).is_some(), "{text}");
                }
                "#EXT-X-PART-INF" => part_target = seconds(attribute("PART-TARGET").expect("a target")),
                "#EXT-X-PART" => {
                    // Both have microseconds.
                    let length = seconds(attribute("DURATION").expect("a length"));
                    assert!(length <= part_target + 1e-6, "a part of {length} s: {text}");
                    let uri = attribute("URI").expect("a URI").trim_matches('"');
                    let is_there = |time, track: &Arc<LiveTrack>| track.part(time).is_some();
                    assert!(
                        value.contains("GAP=YES") || finds(live, name, uri, ".part.m4s", is_there),
                        "{uri}: {text}"
                    );
                }
                _ if line.starts_with('#') || line.is_empty() => {}
                uri => {
                    let told = (uri.to_owned(), length.to_owned(), is_gap);
                    let rounded = (seconds(length) + 0.5).floor();
                    assert!(!is_timed || rounded <= live.timing.target_s as f64, "{length} s: {text}");
                    let is_there = |time, track: &Arc<LiveTrack>| match track.segment(time) {
                        Some(Found::Whole(segment)) => {
                            segment.number == number
                                && (segment.is_gap || segment.body().is_some_and(|body| body.len() == segment.len))
                        }
                        _ => false,
                    };
                    let extension = if uri.ends_with(".vtt") { ".vtt" } else { ".m4s" };
                    assert!(finds(live, name, uri, extension, is_there), "{uri} is not there: {text}");
                    let before = self.segments.entry(number).or_insert_with(|| told.clone());
                    assert_eq!(*before, told, "number {number} was something else: {text}");
                    end_ms += (seconds(length) * 1e3).round() as u64;
                    (number, is_gap) = (number + 1, false);
                }
            }
        }
        assert_eq!(number, next, "{text}");
    }
}

fn hls_options() -> hls::Options {
    hls::Options { is_live: true, ..hls::Options::default() }
}

fn seconds(text: &str) -> f64 {
    text.parse().expect("a number")
}

fn version_of(text: &str) -> Version {
    text.parse().expect("a version")
}

/// Whether `is_there` holds of the time that `uri` names, in a track called `name` of its version.
fn finds(
    live: &Broadcast,
    name: &str,
    uri: &str,
    extension: &str,
    is_there: impl Fn(i64, &Arc<LiveTrack>) -> bool,
) -> bool {
    let (version, file) = uri.split_once('/').expect("a folder");
    let time = file.strip_suffix(extension).expect("a name").parse().expect("a time");
    live.versions(name, version_of(version)).any(|track| is_there(time, track))
}

/// A delta update is the head of the playlist, and the end of it.
fn is_end_of(text: &str, delta: &str) {
    match delta.split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=") {
        None => assert_eq!(delta, text),
        Some((_, after)) => {
            let (count, after) = after.split_once('\n').expect("a line");
            let left = |text: &str| text.lines().filter(|line| line.starts_with("#EXTINF")).count();
            let count: usize = count.parse().expect("a number");
            assert_eq!(left(after) + count, left(text), "{delta}\n{text}");
            let last = after.lines().skip_while(|line| !line.starts_with("#EXTINF"));
            assert!(text.ends_with(&last.flat_map(|line| [line, "\n"]).collect::<String>()), "{delta}\n{text}");
        }
    }
}

/// As `origin::written` has it.
fn multivariant(live: &Broadcast) -> Option<Vec<u8>> {
    let newest = live.periods.last()?;
    let offered = newest.tracks.iter().map(|track| track.face.as_ref().clone());
    let mut period = live.presentation().periods.pop()?;
    period.sets = switching::group(offered.collect());
    let presentation = Presentation { periods: vec![period], thumbnails: Vec::new(), warnings: Vec::new() };
    let rates = rate::so_far(newest.tracks.iter().map(|track| (track.face.as_ref(), track.rate)));
    hls::multivariant::playlist(&presentation, &Renditions::of(&presentation, &rates), &hls_options()).ok()
}

/// Every segment that an MPD lists is there, or grows, and none begins before the one before it ends, but for the tenth of a second by which times
/// of chunks that follow one another may differ from what they last.
fn reads_mpd(live: &Broadcast, text: &str) {
    let mut reader = Reader::from_str(text);
    // Of the SegmentTimeline that holds: that of a set comes before its Representations, that of one of them in it.
    let (mut times, mut ends, mut is_base, mut base, mut jitter) = (Vec::new(), 0, false, String::new(), 0);
    loop {
        let attribute = |own: &BytesStart<'_>, name: &str| {
            let found = own.attributes().map(|one| one.expect("an attribute")).find(|one| one.key.as_ref() == name);
            found.map(|one| one.value.into_owned())
        };
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {text}")) {
            Xml::Start(own) if own.name().as_ref() == "SegmentTimeline" => (times, ends) = (Vec::new(), 0),
            Xml::Start(own) if own.name().as_ref() == "SegmentTemplate" => {
                let timescale = attribute(&own, "timescale").expect("one");
                jitter = timescale.parse::<i64>().expect("a number") * JITTER_MS as i64 / 1000;
            }
            Xml::Start(own) => is_base = own.name().as_ref() == "BaseURL",
            Xml::Empty(own) if own.name().as_ref() == "S" => {
                let number = |name: &str| attribute(&own, name).map(|value| value.parse::<i64>().expect("a number"));
                let (begins, lasts) = (number("t").unwrap_or(ends), number("d").expect("a length"));
                assert!(begins >= ends - jitter && lasts > 0, "{text}");
                let count = number("r").unwrap_or(0) + 1;
                times.extend((0..count).map(|index| begins + index * lasts));
                ends = begins + count * lasts;
            }
            Xml::Text(own) if is_base => base = own.trim().to_owned(),
            Xml::End(own) if own.name().as_ref() == "Representation" => {
                let (name, version) = base.trim_end_matches('/').split_once('/').expect("a folder");
                for time in &times {
                    let mut tracks = live.versions(name, version_of(version));
                    assert!(tracks.any(|track| track.segment(*time).is_some()), "{time} of {name}: {text}");
                }
            }
            Xml::End(_) => is_base = false,
            Xml::Eof => break,
            _ => {}
        }
    }
}
