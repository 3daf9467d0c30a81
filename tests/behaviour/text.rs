//! Subtitles: every cue of the source, whole, in every segment that it touches.

use std::time::Duration;

use crate::scene::Scene;

/// The cues of `tour/text-eng.mp4`, as `testdata/make-text.py` writes them: start, end (ms), identifier, text.
fn cues() -> Vec<(u64, u64, u64, String)> {
    let mut found = Vec::new();
    let (mut start, mut number) = (500, 1);
    while start < 18_000 {
        let end = start + if number % 3 == 0 { 3_400 } else { 1_700 };
        let text = format!("Cue {number} from {:?} s to {:?} s", start as f64 / 1000.0, end as f64 / 1000.0);
        found.push((start, end, number, text));
        (start, number) = (start + 2_300, number + 1);
    }
    found
}

/// The cues of a WebVTT text (identifier, timing line, payload).
fn read(text: &str) -> Vec<(u64, u64, String, String)> {
    let mut blocks = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let head = blocks.next().unwrap();
    assert!(head.starts_with("WEBVTT"), "{text}");
    assert!(head.contains("X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000"), "{head}");
    let ms = |clock: &str| {
        let (rest, ms) = clock.split_once('.').unwrap();
        let seconds = rest.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
        seconds * 1000 + ms.parse::<u64>().unwrap()
    };
    blocks
        .map(|block| {
            let mut lines = block.lines();
            let id = lines.next().unwrap().to_owned();
            let (start, end) = lines.next().unwrap().split_once(" --> ").unwrap();
            (ms(start), ms(end.split(' ').next().unwrap()), id, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

#[tokio::test]
async fn every_cue_is_whole_in_every_segment_it_touches() {
    for target_s in [1, 2, 6, 10] {
        let scene = Scene::with(&["tour"], |library, _| library.segment_target = Duration::from_secs(target_s));
        let hls = scene.hls("tour").await;
        let playlist = hls.playlists.iter().find(|playlist| playlist.url.contains("/text-eng/")).unwrap();
        assert!(playlist.init.is_none() && playlist.segments.len() > 1);
        let (mut from, mut seen) = (0, Vec::new());
        for (url, duration) in playlist.segments.iter().zip(&playlist.durations_us) {
            let to = from + duration / 1000;
            let touching = |(start, end, _, _): &(u64, u64, u64, String)| *start < to && *end > from;
            let expected: Vec<_> = cues()
                .into_iter()
                .filter(touching)
                .map(|(start, end, number, text)| (start, end, number.to_string(), text))
                .collect();
            let found = read(&scene.text(url).await);
            assert_eq!(found, expected, "{url}: {from} to {to} ms at {target_s} s");
            seen.extend(found);
            from = to;
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), cues().len(), "no cue is lost");
        assert_eq!(from, 20_000);
    }
}

#[tokio::test]
async fn stpp_is_the_same_segment_in_both() {
    let scene = Scene::of(&["tour"]);
    let dash = scene.dash("tour").await;
    let text = dash.iter().find(|track| track.id == "text-deu").unwrap();
    assert!(text.codecs.starts_with("stpp"), "{}", text.codecs);
    let track = crate::mp4::read(&scene.whole(text).await).into_values().next().unwrap();
    let documents: Vec<String> = track.samples.iter().map(|s| String::from_utf8(s.bytes.clone()).unwrap()).collect();
    assert!(documents.len() == 10 && documents.iter().all(|document| document.contains("<tt ")), "{}", documents.len());
    assert!(documents.iter().any(|document| document.contains("äöüß")));
    // A time of a text track that is not wvtt is no WebVTT.
    scene.get(&text.segments[0].url.replace(".m4s", ".vtt")).await.problem(404, "public, max-age=5");
}
