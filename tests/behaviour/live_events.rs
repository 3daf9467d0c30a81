//! What encoders say beside the media: in its chunks, and in tracks of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::content::live::archive;
use headwater::content::live::channel::Options;
use headwater::content::live::pushed::Refusal;
use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::Source;
use headwater::formats::isobmff::boxes::{Boxes, write_box, write_full_box};
use headwater::formats::isobmff::emsg::{EventTime, event_message};
use headwater::media::shift::Shift;

use crate::live::{Encoder, Studio, quick, run, run_for};
use crate::scene::{NOW, Representation, Scene, WRITTEN, touch};

/// A splice_insert that leads out for 60.293567 s (ANSI/SCTE 35 §14.2), and what leads back.
const OUT: &str =
    "FC302F000000000000FFFFF014054800008F7FEFFE7369C02EFE0052CCF500000000000A0008435545490000013562DBA30A";
const IN: &str = "FC301B00000000000000FFF00A054800008F7F5F00000000000000000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A splice_info_section (ANSI/SCTE 35 §9.6).
fn section(kind: u8, command: &[u8], descriptors: &[u8]) -> Vec<u8> {
    let mut out = vec![0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, command.len() as u8, kind];
    out.extend_from_slice(command);
    out.extend_from_slice(&(descriptors.len() as u16).to_be_bytes());
    out.extend_from_slice(descriptors);
    out.extend_from_slice(&[7; 4]);
    out[2] = (out.len() - 3) as u8;
    out
}

/// A splice_insert at once (§9.7.3); what leads out may say for how many seconds.
fn splice(id: u32, is_out: bool, seconds: Option<u32>) -> Vec<u8> {
    let mut command = id.to_be_bytes().to_vec();
    command.extend_from_slice(&[0x7f, if is_out { 0x80 } else { 0 } | 0x5f | if seconds.is_some() { 0x20 } else { 0 }]);
    if let Some(seconds) = seconds {
        command.push(0x7e);
        command.extend_from_slice(&(seconds * 90_000).to_be_bytes());
    }
    command.extend_from_slice(&[0, 1, 0, 0]);
    section(5, &command, &[])
}

/// A time_signal with a segmentation_descriptor for each event and type (§10.3.3).
fn time_signal(segments: &[(u32, u8)]) -> Vec<u8> {
    let descriptor =
        |(id, kind): &(u32, u8)| [&[2, 15][..], b"CUEI", &id.to_be_bytes(), &[0x7f, 0xbf, 0, 0, *kind, 1, 1]].concat();
    section(6, &[0xfe, 0, 0, 0, 1], &segments.iter().map(descriptor).collect::<Vec<_>>().concat())
}

const SCTE: &str = "urn:scte:scte35:2013:bin";

/// An `emsg` of version 1 at `ms`.
fn emsg(scheme: &str, ms: u64, id: u32, data: &[u8]) -> Vec<u8> {
    emsg_of(1, scheme, ms, u32::MAX, id, data)
}

/// An `emsg`: of version 0 `ms` after its segment begins.
fn emsg_of(version: u8, scheme: &str, ms: u64, duration_ms: u32, id: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let strings = [scheme.as_bytes(), b"\0\0"].concat();
    write_full_box(&mut out, b"emsg", version, 0, |out| {
        let time = if version == 0 { (ms as u32).to_be_bytes().to_vec() } else { ms.to_be_bytes().to_vec() };
        let numbers = [&1000u32.to_be_bytes()[..], &time, &duration_ms.to_be_bytes(), &id.to_be_bytes()].concat();
        let parts = if version == 0 { [strings, numbers] } else { [numbers, strings] };
        out.extend(parts.concat());
        out.extend_from_slice(data);
    });
    out
}

/// What a player knows of EXT-X-DATERANGE: what is said once of a range holds (rfc8216bis §4.4.5.1).
#[derive(Default)]
struct Player {
    said: BTreeMap<String, BTreeMap<String, String>>,
}

impl Player {
    /// Reads the playlist of `v`; returns what it has, in order.
    async fn reads(&mut self, studio: &Studio) -> Vec<BTreeMap<String, String>> {
        let text = studio.text("/tv/v/media.m3u8").await;
        let ranges: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("#EXT-X-DATERANGE:")).map(attributes).collect();
        let mut listed = BTreeMap::new();
        for range in &ranges {
            assert!(listed.insert(range["ID"].clone(), ()).is_none(), "one tag a range: {text}");
            let known = self.said.entry(range["ID"].clone()).or_default();
            for (name, value) in range {
                let before = known.entry(name.clone()).or_insert_with(|| value.clone());
                assert_eq!(before, value, "{name} of {} changed", range["ID"]);
            }
        }
        ranges
    }
}

fn attributes(line: &str) -> BTreeMap<String, String> {
    let (mut found, mut rest) = (BTreeMap::new(), line);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap(),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        assert!(found.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice: {line}");
        rest = after.trim_start_matches(',');
    }
    found
}

/// `names` of each of `ranges`, `-` where it has none.
fn of(ranges: &[BTreeMap<String, String>], names: &[&str]) -> Vec<String> {
    let each = |range: &BTreeMap<String, String>| {
        names.iter().map(|name| range.get(*name).map_or("-", |value| value)).collect::<Vec<_>>().join(" ")
    };
    ranges.iter().map(each).collect()
}

fn hex(data: &[u8]) -> String {
    data.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02X}"))
}

/// `ftyp` and `moov` of a track of events whose samples are boxes, in milliseconds.
fn init_of_events() -> Vec<u8> {
    init_of(b"urim", None)
}

/// The same of samples of a kind: what `uri ` says of them.
fn init_of(entry: &[u8; 4], uri: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    write_box(&mut out, b"ftyp", |out| out.extend_from_slice(b"cmf2\0\0\0\0cmfc"));
    write_box(&mut out, b"moov", |out| {
        write_full_box(out, b"mvhd", 0, 0, |out| {
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&1000u32.to_be_bytes());
            out.extend_from_slice(&[0; 80]);
        });
        write_box(out, b"trak", |out| {
            write_full_box(out, b"tkhd", 0, 7, |out| {
                out.extend_from_slice(&[0; 8]);
                out.extend_from_slice(&1u32.to_be_bytes());
                out.extend_from_slice(&[0; 68]);
            });
            write_box(out, b"mdia", |out| {
                write_full_box(out, b"mdhd", 0, 0, |out| {
                    out.extend_from_slice(&[0; 8]);
                    out.extend_from_slice(&1000u32.to_be_bytes());
                    out.extend_from_slice(&[0; 8]);
                });
                write_full_box(out, b"hdlr", 0, 0, |out| {
                    out.extend_from_slice(b"\0\0\0\0meta\0\0\0\0\0\0\0\0\0\0\0\0\0")
                });
                write_box(out, b"minf", |out| {
                    write_box(out, b"stbl", |out| {
                        write_full_box(out, b"stsd", 0, 0, |out| {
                            out.extend_from_slice(&1u32.to_be_bytes());
                            write_box(out, entry, |out| {
                                out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
                                if let Some(uri) = uri {
                                    write_full_box(out, b"uri ", 0, 0, |out| {
                                        out.extend_from_slice(&[uri.as_bytes(), b"\0"].concat())
                                    });
                                }
                            });
                        });
                    });
                });
            });
        });
        write_box(out, b"mvex", |out| {
            write_full_box(out, b"trex", 0, 0, |out| {
                for value in [1u32, 1, 0, 0, 0] {
                    out.extend_from_slice(&value.to_be_bytes());
                }
            });
        });
    });
    out
}

/// A chunk of one sample at `ms`.
fn chunk_of_events(ms: u64, sample: &[u8]) -> Vec<u8> {
    chunk_of_runs(ms, &[sample])
}

/// A chunk at `ms` of samples of a second, each in a run of its own.
fn chunk_of_runs(ms: u64, samples: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    // mfhd, tfhd, tfdt, and 28 bytes each run.
    let mut at = 8 + 16 + 8 + 16 + 20 + 28 * samples.len() as u32 + 8;
    write_box(&mut out, b"moof", |out| {
        write_full_box(out, b"mfhd", 0, 0, |out| out.extend_from_slice(&1u32.to_be_bytes()));
        write_box(out, b"traf", |out| {
            write_full_box(out, b"tfhd", 0, 0x2_0000, |out| out.extend_from_slice(&1u32.to_be_bytes()));
            write_full_box(out, b"tfdt", 1, 0, |out| out.extend_from_slice(&ms.to_be_bytes()));
            for sample in samples {
                write_full_box(out, b"trun", 0, 0x301, |out| {
                    for value in [1, at, 1000, sample.len() as u32] {
                        out.extend_from_slice(&value.to_be_bytes());
                    }
                });
                at += sample.len() as u32;
            }
        });
    });
    write_box(&mut out, b"mdat", |out| out.extend(samples.concat()));
    out
}

fn push(studio: &Studio, track: &str, bytes: &[u8]) {
    push_by(studio, track, bytes, Source { push: 1, ..Source::default() }).unwrap();
}

fn push_by(studio: &Studio, track: &str, bytes: &[u8], source: Source) -> Result<(), Refusal> {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(bytes, &mut events).unwrap();
    for event in events {
        studio.channels.for_push("tv").unwrap().take(track, event, source, studio.now)?;
    }
    Ok(())
}

/// Pushes the next chunk of `video` behind `boxes`.
fn next_behind(studio: &Studio, video: &mut Encoder, boxes: &[u8]) {
    video.push(studio, &[boxes, &video.chunk(video.sample)].concat());
    video.sample += u64::from(video.chunk_samples);
}

#[tokio::test]
async fn a_break_is_one_date_range_and_stays_in_the_bytes() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    let out = emsg("urn:scte:scte35:2013:bin", 12_000, 7, &bytes(OUT));
    next_behind(&studio, &mut video, &out);
    // It is said again, which changes nothing.
    next_behind(&studio, &mut video, &out);
    let text = studio.text("/tv/v/media.m3u8").await;
    let expected = format!(
        "#EXT-X-DATERANGE:ID=\"scte35-1207959695-{}\",START-DATE=\"2030-03-17T17:46:52.000Z\",PLANNED-DURATION=60.293567,SCTE35-OUT=0x{OUT}\n",
        NOW.0 + 12_000
    );
    assert!(text.contains(&expected) && text.matches("DATERANGE").count() == 1, "{text}");
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("<InbandEventStream schemeIdUri=\"urn:scte:scte35:2013:bin\" value=\"\"/>"), "{mpd}");
    next_behind(&studio, &mut video, &emsg("urn:scte:scte35:2013:bin", 14_500, 8, &bytes(IN)));
    run(&mut studio, &mut [&mut video], 16.0, NOW);
    let text = studio.text("/tv/v/media.m3u8").await;
    let ended = format!(
        "START-DATE=\"2030-03-17T17:46:52.000Z\",DURATION=2.500000,PLANNED-DURATION=60.293567,SCTE35-OUT=0x{OUT},SCTE35-IN=0x{IN}\n"
    );
    assert!(text.contains(&ended) && text.matches("DATERANGE").count() == 1, "{text}");
    let list = studio.playlist("v").await;
    let body = studio.get(&list.segments[5].0).await.body;
    assert!(body.windows(out.len()).any(|window| window == out), "the message is where it was");
    // What left the window is not said any more.
    run(&mut studio, &mut [&mut video], 50.0, NOW);
    assert!(!studio.text("/tv/v/media.m3u8").await.contains("DATERANGE"));
}

/// It would stand in every playlist until then.
#[tokio::test]
async fn an_event_of_another_timeline_is_not_told() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    for (begins_ms, is_told) in [(NOW.0, false), (10_000 + 25 * 3600 * 1000, false), (10_000 + 23 * 3600 * 1000, true)]
    {
        next_behind(&studio, &mut video, &emsg("urn:scte:scte35:2013:bin", begins_ms, 7, &bytes(OUT)));
        let text = studio.text("/tv/v/media.m3u8").await;
        assert_eq!(text.contains("DATERANGE"), is_told, "{begins_ms}: {text}");
    }
}

#[tokio::test]
async fn a_track_of_events_is_waited_for_by_nobody_and_is_an_event_stream() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run(&mut studio, &mut [&mut video], 8.0, NOW);
    assert_eq!(studio.get("/tv/master.m3u8").await.status, 200, "nothing of the track of events has come");
    let cue = emsg("urn:scte:scte35:2013:bin", 9_000, 1, &bytes(OUT));
    push(&studio, "cues", &chunk_of_events(8_000, &cue));
    push(&studio, "cues", &chunk_of_events(8_500, &emsg("urn:example:score", 8_500, 2, b"2:1")));
    run(&mut studio, &mut [&mut video], 12.0, NOW);
    let mpd = studio.text("/tv/manifest.mpd").await;
    let stream = "<EventStream schemeIdUri=\"urn:scte:scte35:2014:xml+bin\" timescale=\"1000\">\n   <Event presentationTime=\"9000\" duration=\"60293\" id=\"1\"><Signal xmlns=\"http://www.scte.org/schemas/35/2016\"><Binary>/DAv";
    assert!(mpd.contains(stream), "{mpd}");
    assert!(mpd.contains("<Event presentationTime=\"8500\" id=\"2\" contentEncoding=\"base64\">Mjox</Event>"), "{mpd}");
    assert!(!mpd.contains("cues") && !mpd.contains("InbandEventStream"), "{mpd}");
    let text = studio.text("/tv/v/media.m3u8").await;
    assert!(
        text.contains(
            "CLASS=\"urn:example:score\",START-DATE=\"2030-03-17T17:46:48.500Z\",X-VALUE=\"\",X-MESSAGE=0x323A31\n"
        ),
        "{text}"
    );
    assert!(text.contains(&format!("SCTE35-OUT=0x{OUT}\n")), "{text}");
}

#[tokio::test]
async fn events_of_a_channel_that_has_ended_were_told_by_times_of_the_whole_broadcast() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run(&mut studio, &mut [&mut video], 50.0, NOW);
    push(&studio, "cues", &chunk_of_events(50_000, &emsg("urn:example:score", 50_000, 2, b"2:1")));
    run(&mut studio, &mut [&mut video], 60.0, NOW);
    let channel = studio.channels.get("tv").unwrap();
    channel.take("v", Event::End, Source { push: 1, ..Source::default() }, studio.now).unwrap();
    studio.settle();
    let mpd = studio.text("/tv/manifest.mpd").await;
    let number = |after: &str| -> f64 { mpd.split_once(after).unwrap().1.split_once('"').unwrap().0.parse().unwrap() };
    assert!(mpd.contains("type=\"static\"") && mpd.contains("start=\"PT0S\""), "{mpd}");
    let begins_ms = number("presentationTimeOffset=\"") / 12.288;
    assert!(begins_ms > 30_000.0, "{mpd}");
    assert!((number("<Event presentationTime=\"") + begins_ms - 50_000.0).abs() < 1.0, "{mpd}");
}

#[tokio::test]
async fn each_segment_that_a_time_signal_begins_or_ends_is_a_range() {
    let mut studio = Studio::with(quick());
    let (mut video, mut player) = (Encoder::video("v"), Player::default());
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 4.0, NOW);
    // A program and a break in it, of two spots, one after the other.
    let cues = [
        (4_000, time_signal(&[(1, 0x10), (2, 0x22)])),
        (4_500, time_signal(&[(10, 0x34)])),
        (5_500, time_signal(&[(10, 0x35), (11, 0x34)])),
        (6_500, time_signal(&[(11, 0x35), (2, 0x23)])),
    ];
    for (index, (ms, cue)) in cues.iter().enumerate() {
        run(&mut studio, &mut [&mut video], *ms as f64 / 1000.0, NOW);
        next_behind(&studio, &mut video, &emsg(SCTE, *ms, index as u32, cue));
        player.reads(&studio).await;
    }
    run(&mut studio, &mut [&mut video], 8.0, NOW);
    let ranges = player.reads(&studio).await;
    let [program, first, second, third] = cues.map(|(_, cue)| hex(&cue));
    assert_eq!(
        of(&ranges, &["DURATION", "SCTE35-CMD", "SCTE35-OUT", "SCTE35-IN"]),
        [
            format!("- {program} - -"),
            format!("2.500000 - {program} {third}"),
            format!("1.000000 - {first} {second}"),
            format!("1.000000 - {second} {third}"),
        ]
    );
}

#[tokio::test]
async fn a_break_is_told_until_it_is_over_however_long_it_is() {
    let mut studio = Studio::with(quick());
    let (mut video, mut player) = (Encoder::video("v"), Player::default());
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run(&mut studio, &mut [&mut video], 4.0, NOW);
    // Of unknown length; of one that it overruns; and of one that it keeps, as it says itself (auto_return).
    let (endless, long, short) = (splice(1, true, None), splice(2, true, Some(5)), bytes(OUT));
    for (id, cue) in [(1, &endless), (2, &long), (3, &short)] {
        push(&studio, "cues", &chunk_of_events(4_000, &emsg(SCTE, 4_000, id, cue)));
    }
    for seconds in 5..80 {
        run(&mut studio, &mut [&mut video], f64::from(seconds), NOW);
        player.reads(&studio).await;
    }
    let open = player.reads(&studio).await;
    let expected =
        [format!("- - {}", hex(&endless)), format!("5.000000 - {}", hex(&long)), format!("60.293567 - {OUT}")];
    assert_eq!(of(&open, &["PLANNED-DURATION", "DURATION", "SCTE35-OUT"])[..2], expected[..2]);
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("<Event presentationTime=\"4000\" id=\"1\">"), "{mpd}");
    assert!(mpd.contains("<Event presentationTime=\"4000\" duration=\"5000\" id=\"2\">"), "{mpd}");
    for (id, cue) in [(4, splice(1, false, None)), (5, splice(2, false, None))] {
        push(&studio, "cues", &chunk_of_events(79_000, &emsg(SCTE, 79_500, id, &cue)));
    }
    let ended = player.reads(&studio).await;
    assert_eq!(of(&ended, &["DURATION"])[..2], ["75.500000", "75.500000"]);
    assert_eq!(of(&ended, &["ID"])[..2], of(&open, &["ID"])[..2]);
    // What led back is part of it, and goes with it.
    for seconds in 80..90 {
        run(&mut studio, &mut [&mut video], f64::from(seconds), NOW);
        player.reads(&studio).await;
    }
    run(&mut studio, &mut [&mut video], 110.0, NOW);
    assert_eq!(player.reads(&studio).await.len(), 0);
    assert!(!studio.text("/tv/manifest.mpd").await.contains("<Event"));
}

#[tokio::test]
async fn what_a_cue_says_of_its_length_counts_and_never_changes() {
    let mut studio = Studio::with(quick());
    let (mut video, mut player) = (Encoder::video("v"), Player::default());
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run(&mut studio, &mut [&mut video], 4.0, NOW);
    // A message that lasts no time, of a break that does; and a message that says for how long, of a break that does not.
    let sample = [
        emsg_of(1, SCTE, 4_000, 0, 1, &splice(1, true, Some(120))),
        emsg_of(1, SCTE, 4_000, 30_000, 2, &splice(2, true, None)),
    ];
    push(&studio, "cues", &chunk_of_events(4_000, &sample.concat()));
    let planned = ["120.000000", "30.000000"];
    assert_eq!(of(&player.reads(&studio).await, &["PLANNED-DURATION"]), planned);
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert!(mpd.contains("duration=\"120000\" id=\"1\"") && mpd.contains("duration=\"30000\" id=\"2\""), "{mpd}");
    run(&mut studio, &mut [&mut video], 24.0, NOW);
    push(&studio, "cues", &chunk_of_events(24_000, &emsg(SCTE, 24_000, 3, &splice(2, false, None))));
    let ranges = player.reads(&studio).await;
    assert_eq!(of(&ranges, &["PLANNED-DURATION", "DURATION"]), ["120.000000 -", "30.000000 20.000000"]);
    run(&mut studio, &mut [&mut video], 90.0, NOW);
    assert_eq!(of(&player.reads(&studio).await, &["PLANNED-DURATION"]), planned[..1]);
}

#[tokio::test]
async fn ids_are_of_one_scheme_and_ranges_of_a_playlist() {
    let mut studio = Studio::with(quick());
    let (mut video, mut player) = (Encoder::video("v"), Player::default());
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run(&mut studio, &mut [&mut video], 4.0, NOW);
    let sample = [
        emsg("urn:example:score", 4_000, 7, b"2:1"),
        emsg("urn:example:chapter", 4_000, 7, b"2"),
        emsg(SCTE, 4_000, 7, &splice(7, true, None)),
        emsg(SCTE, 4_000, 8, &time_signal(&[(7, 0x34), (7, 0x36), (7, 0x10)])),
        // splice_null, and time_signal without a descriptor.
        emsg(SCTE, 4_000, 9, &section(0, &[], &[])),
        emsg(SCTE, 4_000, 10, &section(6, &[0xfe, 0, 0, 0, 1], &[])),
        // What leads back from nothing that is known.
        emsg(SCTE, 4_000, 11, &splice(99, false, None)),
    ];
    push(&studio, "cues", &chunk_of_events(4_000, &sample.concat()));
    // Again, with ids of another encoder's own; and once more by the same.
    let other = Source { push: 2, encoder: 2, ..Source::default() };
    push_by(&studio, "others", &init_of_events(), other).unwrap();
    let again = [emsg(SCTE, 4_000, 70, &splice(7, true, None)), emsg("urn:example:score", 4_000, 71, b"2:1")].concat();
    push_by(&studio, "others", &chunk_of_events(4_000, &again), other).unwrap();
    push(&studio, "cues", &chunk_of_events(4_500, &sample.concat()));
    let ranges = player.reads(&studio).await;
    let attribute = |range: &BTreeMap<String, String>| {
        let mut names = range.keys().filter(|name| name.starts_with("SCTE35-") || *name == "CLASS");
        names.next().map(|name| if name == "CLASS" { range[name].clone() } else { name.clone() }).unwrap()
    };
    assert_eq!(
        ranges.iter().map(attribute).collect::<Vec<_>>(),
        [
            "urn:example:score",
            "urn:example:chapter",
            "SCTE35-OUT",
            "SCTE35-OUT",
            "SCTE35-OUT",
            "SCTE35-CMD",
            "SCTE35-CMD",
            "SCTE35-CMD",
            "SCTE35-IN"
        ]
    );
    let mpd = studio.text("/tv/manifest.mpd").await;
    assert_eq!(mpd.matches("<Event ").count(), 7, "{mpd}");
}

#[tokio::test]
async fn a_break_that_is_cancelled_is_not_told() {
    let mut studio = Studio::with(quick());
    let (mut video, mut player) = (Encoder::video("v"), Player::default());
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 4.0, NOW);
    next_behind(&studio, &mut video, &emsg(SCTE, 9_000, 1, &splice(7, true, Some(30))));
    assert_eq!(player.reads(&studio).await.len(), 1);
    next_behind(&studio, &mut video, &emsg(SCTE, 4_500, 2, &section(5, &[0, 0, 0, 7, 0xff], &[])));
    for seconds in 6..60 {
        run(&mut studio, &mut [&mut video], f64::from(seconds), NOW);
        assert_eq!(player.reads(&studio).await.len(), 0, "{seconds}");
    }
}

#[tokio::test]
async fn messages_of_version_0_count_from_where_the_encoder_s_segment_begins() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { dir: Some(dir.path().into()), every: quick(), open: true, ..Options::default() };
    let mut studio = Studio::of(options(), NOW);
    let mut video = Encoder::video("v");
    video.begin(&studio);
    // Segments of a second in one long request, of which ours are two.
    let mut styp = Vec::new();
    write_box(&mut styp, b"styp", |out| out.extend_from_slice(b"msdh\0\0\0\0msixcmfs"));
    for chunk in 0..20 {
        studio.now = NOW.after(Duration::from_millis(500 * (chunk + 1)));
        let mut boxes = if chunk % 2 == 0 { styp.clone() } else { Vec::new() };
        if chunk == 11 {
            boxes.extend(emsg_of(0, SCTE, 300, u32::MAX, 7, &splice(7, true, None)));
        }
        next_behind(&studio, &mut video, &boxes);
    }
    let check = async |studio: &Studio| {
        let ranges = Player::default().reads(studio).await;
        assert_eq!(of(&ranges, &["START-DATE"]), [NOW.after(Duration::from_millis(5_300)).to_string()]);
        let list = studio.playlist("v").await;
        assert_eq!(list.segments.iter().map(|(_, length, _)| *length).collect::<Vec<_>>(), [2.0; 4]);
        let body = studio.get(&list.segments[2].0).await.body;
        let absolute = emsg(SCTE, 5_300, 7, &splice(7, true, None));
        assert!(body.windows(absolute.len()).any(|window| window == absolute), "in the segment that begins at 4 s");
        text_of(studio).await
    };
    let before = check(&studio).await;
    assert_eq!(check(&Studio::of(options(), studio.now)).await, before);
    // A request that is a segment: of half a second.
    let source = |begins_segment| Source { push: 5, named_segments: true, begins_segment, ..Source::default() };
    for (index, begins) in [(0, true), (1, false)] {
        let relative = emsg_of(0, SCTE, 100, u32::MAX, 20 + index, &splice(20 + index, true, None));
        push_by(&studio, "v", &[relative, video.chunk(video.sample)].concat(), source(begins)).unwrap();
        video.sample += 12;
    }
    run(&mut studio, &mut [&mut video], 14.0, NOW);
    let ranges = Player::default().reads(&studio).await;
    let date = NOW.after(Duration::from_millis(10_100)).to_string();
    assert_eq!(of(&ranges, &["START-DATE"])[1..], [date.clone(), date]);
}

async fn text_of(studio: &Studio) -> [String; 2] {
    [studio.text("/tv/v/media.m3u8").await, studio.text("/tv/manifest.mpd").await]
}

#[tokio::test]
async fn events_wait_for_the_media_that_they_are_of() {
    let mut studio = Studio::with(quick());
    let mut player = Player::default();
    push(&studio, "cues", &init_of_events());
    push(&studio, "cues", &chunk_of_events(1_000_000, &emsg(SCTE, 1_003_000, 1, &splice(1, true, Some(5)))));
    let mut video = Encoder::video("v");
    video.origin = 1000 * 12_288;
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    let dates = |seconds: u64| NOW.after(Duration::from_secs(seconds)).to_string();
    assert_eq!(of(&player.reads(&studio).await, &["START-DATE"]), [dates(3)]);
    // The encoder begins anew: its cues come first.
    studio.now = NOW.after(Duration::from_secs(20));
    push(&studio, "cues", &chunk_of_events(500, &emsg(SCTE, 1_000, 2, &splice(2, true, Some(5)))));
    let mut anew = Encoder::video("v");
    anew.push = 2;
    anew.begin(&studio);
    run(&mut studio, &mut [&mut anew], 8.0, NOW.after(Duration::from_secs(20)));
    let ranges = player.reads(&studio).await;
    assert_eq!(of(&ranges, &["START-DATE"]), [dates(3), dates(21)]);
    // One that never comes is told so.
    let elsewhere = |ms| chunk_of_events(ms, &emsg(SCTE, ms, 3, &splice(3, true, Some(5))));
    let source = Source { push: 9, ..Source::default() };
    assert_eq!(push_by(&studio, "cues", &elsewhere(5_000_000), source), Ok(()));
    run(&mut studio, &mut [&mut anew], 16.0, NOW.after(Duration::from_secs(20)));
    let refused = push_by(&studio, "cues", &elsewhere(5_008_000), source).unwrap_err().to_string();
    assert_eq!(refused, "the times of cues are 4992.000 s after those of v: events count time as the media does");
    assert_eq!(of(&player.reads(&studio).await, &["START-DATE"]).last(), Some(&dates(21)));
}

#[tokio::test]
async fn every_form_of_a_track_of_events_is_read() {
    let mut studio = Studio::with(quick());
    let (mut video, mut player) = (Encoder::video("v"), Player::default());
    video.begin(&studio);
    run(&mut studio, &mut [&mut video], 4.0, NOW);
    // An event message track (ISO/IEC 23001-18): what goes on is said again in the next sample, and where nothing is on there is a filler.
    let emib = |delta_ms: i64, data: &[u8]| {
        let mut out = Vec::new();
        write_full_box(&mut out, b"emib", 0, 0, |out| {
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&delta_ms.to_be_bytes());
            out.extend_from_slice(&2_000u32.to_be_bytes());
            out.extend_from_slice(&5u32.to_be_bytes());
            out.extend_from_slice(&[SCTE.as_bytes(), b"\0\0", data].concat());
        });
        out
    };
    push(&studio, "evte", &init_of(b"evte", None));
    let (cue, filler) = (splice(1, true, Some(2)), [0, 0, 0, 8, b'e', b'm', b'e', b'b']);
    push(&studio, "evte", &chunk_of_runs(4_000, &[&emib(500, &cue), &emib(-500, &cue), &filler]));
    // Nothing, and a message of version 0, which counts from its sample.
    push(&studio, "urim", &init_of(b"urim", Some("urn:mpeg:dash:event:2012")));
    push(&studio, "urim", &chunk_of_runs(3_000, &[]));
    push(&studio, "urim", &chunk_of_runs(4_000, &[&[], &emsg_of(0, "urn:example:score", 250, 0, 1, b"2:1")]));
    // Sections by themselves.
    push(&studio, "raw", &init_of(b"urim", Some(SCTE)));
    push(&studio, "raw", &chunk_of_runs(4_000, &[&time_signal(&[(3, 0x30)]), &time_signal(&[(3, 0x31)])]));
    run(&mut studio, &mut [&mut video], 6.0, NOW);
    let date = |ms: u64| NOW.after(Duration::from_millis(ms)).to_string();
    assert_eq!(
        of(&player.reads(&studio).await, &["START-DATE", "DURATION", "PLANNED-DURATION", "X-MESSAGE"]),
        [
            format!("{} - 2.000000 -", date(4_500)),
            format!("{} - 0.000000 0x323A31", date(5_250)),
            format!("{} 1.000000 - -", date(4_000)),
        ]
    );
    assert_eq!(studio.text("/tv/manifest.mpd").await.matches("<Event ").count(), 4);
    // What nobody here understands is not taken for nothing.
    push(&studio, "id3", &init_of(b"urim", Some("urn:example:id3")));
    let source = Source { push: 1, ..Source::default() };
    let refused = push_by(&studio, "id3", &chunk_of_events(6_000, b"ID3\x04 tags"), source).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "samples of urn:example:id3 are not read: push emib or emsg boxes, or sections of SCTE 35 as urn:scte:scte35:2013:bin"
    );
    assert!(matches!(refused, Refusal::Unsupported(_)));
}

#[tokio::test]
async fn a_break_goes_on_over_restarts_of_server_and_encoder() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        dir: Some(dir.path().into()),
        every: quick(),
        open: true,
        spool_file_bytes: 10_000,
        ..Options::default()
    };
    let mut studio = Studio::of(options(), NOW);
    let (mut video, mut player) = (Encoder::video("v"), Player::default());
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run(&mut studio, &mut [&mut video], 4.0, NOW);
    next_behind(&studio, &mut video, &emsg(SCTE, 4_000, 1, &splice(1, true, None)));
    push(&studio, "cues", &chunk_of_events(4_500, &emsg(SCTE, 5_000, 2, &splice(2, true, None))));
    run_for(&mut studio, &mut [&mut video], 4..40, NOW);
    let open = player.reads(&studio).await;
    assert_eq!(open.len(), 2);
    let before = text_of(&studio).await;
    let mut studio = Studio::of(options(), studio.now);
    assert_eq!(text_of(&studio).await, before);
    // On another timeline, until nothing of the first is listed; and the server again.
    let began = NOW.after(Duration::from_secs(45));
    let mut anew = Encoder::video("v");
    anew.push = 2;
    anew.begin(&studio);
    for seconds in 0..60 {
        run_for(&mut studio, &mut [&mut anew], seconds..seconds + 1, began);
        assert_eq!(of(&player.reads(&studio).await, &["ID"]), of(&open, &["ID"]), "{seconds}");
    }
    let before = text_of(&studio).await;
    assert!(
        !before[1].contains("<Period id=\"0\"") && before[1].contains("<Event presentationTime=\"0\" id=\"2\">"),
        "{}",
        before[1]
    );
    let mut studio = Studio::of(options(), studio.now);
    assert_eq!(text_of(&studio).await, before);
    for id in [1, 2] {
        push(&studio, "cues", &chunk_of_events(60_000, &emsg(SCTE, 60_000, 10 + id, &splice(id, false, None))));
    }
    let ended = player.reads(&studio).await;
    assert_eq!(of(&ended, &["ID", "SCTE35-OUT"]), of(&open, &["ID", "SCTE35-OUT"]));
    assert!(ended.iter().all(|range| range.contains_key("SCTE35-IN") && range.contains_key("DURATION")), "{ended:?}");
    run_for(&mut studio, &mut [&mut anew], 60..100, began);
    assert_eq!(player.reads(&studio).await.len(), 0);
}

#[tokio::test]
async fn a_stretch_tells_of_what_was_said_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        dir: Some(dir.path().into()),
        every: quick(),
        open: true,
        // Some four seconds.
        spool_file_bytes: 10_000,
        archive: archive::Options { kept: Duration::from_secs(3600), bytes_max: 1 << 30 },
        ..Options::default()
    };
    let mut studio = Studio::of(options(), NOW);
    let mut video = Encoder::video("v");
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run_for(&mut studio, &mut [&mut video], 0..30, NOW);
    next_behind(&studio, &mut video, &emsg(SCTE, 30_000, 1, &splice(1, true, None)));
    push(&studio, "cues", &chunk_of_events(30_000, &emsg(SCTE, 32_000, 2, &bytes(OUT))));
    run_for(&mut studio, &mut [&mut video], 30..40, NOW);
    next_behind(&studio, &mut video, &emsg(SCTE, 40_000, 3, &splice(1, false, None)));
    run_for(&mut studio, &mut [&mut video], 40..70, NOW);
    push(&studio, "cues", &chunk_of_events(70_000, &emsg("urn:example:score", 70_000, 4, b"2:1")));
    run_for(&mut studio, &mut [&mut video], 70..130, NOW);
    let at = |seconds: u64| NOW.0 / 1000 + seconds;
    let told = async |studio: &Studio, base: &str| {
        let text = studio.text(&format!("{base}/v/media.m3u8")).await;
        let mpd = studio.text(&format!("{base}/manifest.mpd")).await;
        assert!(mpd.contains("<InbandEventStream schemeIdUri=\"urn:scte:scte35:2013:bin\" value=\"\"/>"), "{mpd}");
        let ranges: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("#EXT-X-DATERANGE:")).map(attributes).collect();
        let events = mpd.split("<Event ").skip(1).map(|event| event.split_once('>').unwrap().0.to_owned());
        (of(&ranges, &["ID", "DURATION", "X-MESSAGE"]), events.collect::<Vec<_>>())
    };
    let id = |name: &str, seconds: u64| format!("{name}-{}", NOW.0 + seconds * 1000);
    let endless = format!("{} 10.000000 -", id("scte35-1", 30));
    let long = format!("{} - -", id("scte35-1207959695", 32));
    let score = format!("{} urn:example:score  - 0x323A31", id("4", 70));
    let stretches = [
        (
            format!("/~from={}/~to={}/tv", at(21), at(50)),
            vec![endless.clone(), long.clone()],
            vec!["presentationTime=\"12000\" duration=\"60293\" id=\"2\"".to_owned()],
        ),
        // A break goes on that began before.
        (
            format!("/~from={}/~to={}/tv", at(61), at(80)),
            vec![long.clone(), score.clone()],
            vec![
                "presentationTime=\"0\" duration=\"32293\" id=\"2\"".to_owned(),
                "presentationTime=\"10000\" id=\"4\" contentEncoding=\"base64\"".to_owned(),
            ],
        ),
        (
            format!("/~from={}/tv", at(21)),
            vec![endless, long, score],
            vec![
                "presentationTime=\"32000\" duration=\"60293\" id=\"2\"".to_owned(),
                "presentationTime=\"70000\" id=\"4\" contentEncoding=\"base64\"".to_owned(),
            ],
        ),
    ];
    for _ in 0..2 {
        for (base, ranges, events) in &stretches {
            let (found, mut of_mpd) = told(&studio, base).await;
            // By scheme, of which there are two.
            of_mpd.sort_by_key(|event| event.contains("id=\"4\""));
            assert_eq!((&found, &of_mpd), (ranges, events), "{base}");
        }
        // The same after a restart.
        studio = Studio::of(options(), studio.now);
    }
}

#[tokio::test]
async fn a_break_that_was_under_way_at_an_end_was_told_of_in_the_broadcast_that_followed() {
    let mut studio = Studio::with(quick());
    let mut video = Encoder::video("v");
    video.begin(&studio);
    push(&studio, "cues", &init_of_events());
    run(&mut studio, &mut [&mut video], 10.0, NOW);
    push(&studio, "cues", &chunk_of_events(10_000, &emsg(SCTE, 10_000, 1, &splice(1, true, None))));
    run(&mut studio, &mut [&mut video], 20.0, NOW);
    video.end(&studio);
    let told = async |studio: &Studio| {
        let hls = studio.text("/tv/v/media.m3u8").await;
        let mpd = studio.text("/tv/manifest.mpd").await;
        (hls.contains("#EXT-X-ENDLIST"), hls.matches("#EXT-X-DATERANGE:").count(), mpd.matches("<Event ").count())
    };
    assert_eq!(told(&studio).await, (true, 1, 1));
    let began = NOW.after(Duration::from_secs(60));
    let mut next = Encoder { push: 2, origin: 900_000_000, ..Encoder::video("v") };
    studio.now = began;
    next.begin(&studio);
    run(&mut studio, &mut [&mut next], 1.0, began);
    assert_eq!(told(&studio).await, (true, 1, 1), "until another is announced");
    run(&mut studio, &mut [&mut next], 10.0, began);
    assert_eq!(told(&studio).await, (false, 0, 0));
    // What it says itself is told.
    let ms = 900_000_000 * 1000 / 12_288 + 10_000;
    push(&studio, "cues", &chunk_of_events(ms, &emsg(SCTE, ms, 2, &splice(2, true, None))));
    run(&mut studio, &mut [&mut next], 20.0, began);
    assert_eq!(told(&studio).await, (false, 1, 1));
}

/// `init` whose edit begins at 0.
fn without_edit(init: &[u8]) -> Vec<u8> {
    let mut init = init.to_vec();
    let at = init.windows(4).position(|window| window == b"elst").unwrap() + 4;
    // Version and flags, how many, and how long the first is.
    assert_eq!(init[at..at + 8], [0, 0, 0, 0, 0, 0, 0, 1]);
    init[at + 12..at + 16].fill(0);
    init
}

/// A clip of each of `stretches` of a broadcast whose pictures have the initialization segment `init`, in a library.
fn clips(init: &[u8], stretches: &[(&str, f64, f64)]) -> Scene {
    let (data, library) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = archive::Options { kept: Duration::from_secs(3600), bytes_max: 1 << 30 };
    let dir = Some(data.path().into());
    let mut studio = Studio::of(Options { dir, every: quick(), open: true, archive, ..Options::default() }, NOW);
    let of_pictures = |name| Encoder { init: init.to_vec(), ..Encoder::video(name) };
    let (mut video, mut other, mut audio) = (of_pictures("v"), of_pictures("w"), Encoder::audio("a"));
    for encoder in [&video, &other, &audio] {
        encoder.begin(&studio);
    }
    push(&studio, "cues", &init_of_events());
    let score = |ms: u64, id: u32| chunk_of_events(ms, &emsg_of(1, "urn:example:score", ms, 1500, id, b"2:1"));
    run_for(&mut studio, &mut [&mut video, &mut other, &mut audio], 0..14, NOW);
    push(&studio, "cues", &chunk_of_events(14_000, &emsg(SCTE, 14_000, 2, &bytes(OUT))));
    push(&studio, "cues", &score(15_000, 7));
    run_for(&mut studio, &mut [&mut video, &mut other, &mut audio], 14..28, NOW);
    // A segment that begins with a styp.
    next_behind(&studio, &mut video, b"\0\0\0\x10styp\0\0\0\0msdh");
    run_for(&mut studio, &mut [&mut video, &mut other, &mut audio], 28..30, NOW);
    push(&studio, "cues", &score(29_000, 8));
    push(&studio, "cues", &score(31_300, 9));
    run_for(&mut studio, &mut [&mut video, &mut other, &mut audio], 30..40, NOW);
    // Ten seconds are lost.
    for (encoder, samples) in [(&mut video, 240), (&mut other, 240), (&mut audio, 480)] {
        encoder.sample += samples;
    }
    run_for(&mut studio, &mut [&mut video, &mut other, &mut audio], 40..54, NOW);
    push(&studio, "cues", &score(53_000, 10));
    run_for(&mut studio, &mut [&mut video, &mut other, &mut audio], 54..80, NOW);
    let channel = studio.channels.get("tv").unwrap();
    for (name, from, to) in stretches {
        let at = |seconds: f64| NOW.after(Duration::from_secs_f64(seconds));
        channel.clip(&Shift { from: at(*from), to: Some(at(*to)) }, &library.path().join(name)).unwrap();
        for file in std::fs::read_dir(library.path().join(name)).unwrap() {
            touch(&file.unwrap().path(), WRITTEN);
        }
    }
    Scene::at(library, |_, _| {})
}

/// Of a period: when each event begins on the timeline of the media, its id, and how long it lasts from there; both in seconds.
type Said = Vec<(f64, u32, Option<f64>)>;

/// What the event messages say that are in the segments of `track`, each in the one in which it begins.
async fn said_in(scene: &Scene, track: &Representation) -> Said {
    let mut said = Vec::new();
    for segment in &track.segments {
        let body = scene.body(&segment.url).await;
        for emsg in Boxes::new(&body, 0).map(Result::unwrap).filter(|own| own.kind.0 == *b"emsg") {
            let message = event_message(emsg).unwrap();
            let EventTime::At(time) = message.time else { panic!("{message:?}") };
            assert_eq!(u64::from(message.timescale.get()), track.timescale);
            let is_in_it = (segment.time..segment.time + segment.duration).contains(&(time as u64));
            assert!(is_in_it, "{time} in {segment:?}");
            let seconds = |ticks: f64| (ticks / track.timescale as f64 * 1000.0).round() / 1000.0;
            said.push((seconds(time as f64), message.id, message.duration.map(|ticks| seconds(ticks.into()))));
        }
    }
    said
}

/// Clips had nothing of what came in tracks of events.
#[tokio::test]
async fn a_clip_has_what_came_in_tracks_of_events_as_event_messages() {
    let stretches = [("one", 20.5, 39.5), ("two", 20.5, 59.5), ("late", 62.5, 69.5)];
    let init = Encoder::video("v").init;
    // Pictures are shown by so much later where no edit takes that off.
    for (init, later, is_edited) in [(init.clone(), 0.0, true), (without_edit(&init), 1024.0 / 12_288.0, false)] {
        let ms = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        // What began before and lasts is told where the clip begins.
        let lasting = |at: f64| {
            let begins = ((at + later) * 1000.0).floor() / 1000.0;
            (begins, 2, Some(ms(14.0 + 60.293_567 - begins)))
        };
        let first = vec![lasting(20.0), (29.0, 8, Some(1.5)), (31.3, 9, Some(1.5))];
        // It is told once.
        let second = vec![(53.0, 10, Some(1.5))];
        let expected =
            [("one", vec![first.clone()]), ("two", vec![first, second]), ("late", vec![vec![lasting(62.0)]])];
        let scene = clips(&init, &stretches);
        for (name, expected) in expected {
            let mpd = scene.text(&format!("/{name}/manifest.mpd")).await;
            // Fragments of tracks with such an edit are made anew in clips, and leave messages behind.
            let schemes = expected.iter().map(|said| said.len().min(2)).filter(|_| !is_edited).sum::<usize>();
            assert_eq!(mpd.matches("<InbandEventStream ").count(), schemes, "{mpd}");
            let tracks = scene.dash(name).await;
            for id in ["v", "w", "a"] {
                let found: Vec<_> = tracks.iter().filter(|track| track.id == id).collect();
                assert_eq!(found.len(), expected.len(), "{name} {id}");
                for (track, expected) in found.iter().zip(&expected) {
                    let expected = if id == "a" || is_edited { &Said::new() } else { expected };
                    assert_eq!(said_in(&scene, track).await, *expected, "{name} {id} {is_edited}");
                }
            }
        }
    }
}
