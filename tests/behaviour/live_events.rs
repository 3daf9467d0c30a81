//! What encoders say beside the media: in its chunks, and in tracks of its own.

use headwater::content::live::receiver::{Event, Receiver};
use headwater::content::live::window::Source;
use headwater::formats::isobmff::boxes::{write_box, write_full_box};
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};

use crate::live::{Encoder, Studio, quick, run};
use crate::scene::NOW;

/// A splice_insert that leads out for 60.293567 s (ANSI/SCTE 35 §14.2), and what leads back.
const OUT: &str =
    "FC302F000000000000FFFFF014054800008F7FEFFE7369C02EFE0052CCF500000000000A0008435545490000013562DBA30A";
const IN: &str = "FC301B00000000000000FFF00A054800008F7F5F00000000000000000000";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// An `emsg` of version 1 at `ms`.
fn emsg(scheme: &str, ms: u64, id: u32, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_full_box(&mut out, b"emsg", 1, 0, |out| {
        out.extend_from_slice(&1000u32.to_be_bytes());
        out.extend_from_slice(&ms.to_be_bytes());
        out.extend_from_slice(&u32::MAX.to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(scheme.as_bytes());
        out.extend_from_slice(b"\0\0");
        out.extend_from_slice(data);
    });
    out
}

/// `ftyp` and `moov` of a track of events whose samples are boxes, in milliseconds.
fn init_of_events() -> Vec<u8> {
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
                            write_box(out, b"urim", |out| out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]));
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
    let samples = vec![RunSample { duration: 1000, size: sample.len() as u32, flags: 0, composition_offset: 0 }];
    let fragment = NewFragment {
        track_id: 1,
        description_index: 1,
        base_media_decode_time: ms,
        samples,
        ..NewFragment::default()
    };
    [fragment.write(), sample.to_vec()].concat()
}

fn push(studio: &Studio, track: &str, bytes: &[u8]) {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    receiver.push(bytes, &mut events).unwrap();
    let source = Source { push: 1, ..Source::default() };
    for event in events {
        studio.channels.for_push("tv").unwrap().take(track, event, source, studio.now).unwrap();
    }
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
        "#EXT-X-DATERANGE:ID=\"1207959695-{}\",START-DATE=\"2030-03-17T17:46:52.000Z\",PLANNED-DURATION=60.293567,SCTE35-OUT=0x{OUT}\n",
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
    let mpd = studio.text("/tv/manifest.mpd").await;
    let number = |after: &str| -> f64 { mpd.split_once(after).unwrap().1.split_once('"').unwrap().0.parse().unwrap() };
    assert!(mpd.contains("type=\"static\"") && mpd.contains("start=\"PT0S\""), "{mpd}");
    let begins_ms = number("presentationTimeOffset=\"") / 12.288;
    assert!(begins_ms > 30_000.0, "{mpd}");
    assert!((number("<Event presentationTime=\"") + begins_ms - 50_000.0).abs() < 1.0, "{mpd}");
}
