//! Subtitles: every cue of the source, whole, in every segment that it touches.

use std::time::Duration;

use crate::scene::{Representation, Scene, WRITTEN, copy, testdata, write};

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
    let ms = |clock: &str| {
        let (rest, ms) = clock.split_once('.').unwrap();
        let seconds = rest.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
        seconds * 1000 + ms.parse::<u64>().unwrap()
    };
    // Every time is that of the media.
    let map = head.lines().find_map(|line| line.strip_prefix("X-TIMESTAMP-MAP=MPEGTS:")).unwrap();
    let (media, local) = map.split_once(",LOCAL:").unwrap();
    assert_eq!(media.parse::<u64>().unwrap(), ms(local) * 90, "{head}");
    blocks
        .filter(|block| block.contains("-->"))
        .map(|block| {
            let mut lines = block.lines();
            let first = lines.next().unwrap();
            let (id, timing) = if first.contains("-->") { ("", first) } else { (first, lines.next().unwrap()) };
            let (start, end) = timing.split_once(" --> ").unwrap();
            (ms(start), ms(end.split(' ').next().unwrap()), id.to_owned(), lines.collect::<Vec<_>>().join("\n"))
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

/// What is shown: start, end (ms), cue text.
type Shown = (u64, u64, String);

/// `testdata/muxed.mp4`, 12 s, with files of these names and contents beside it.
fn muxed_with(files: &[(&str, &[u8])], target_s: u64) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("muxed"), &dir.path().join("muxed.mp4"));
    for (name, bytes) in files {
        write(&dir.path().join(name), bytes, WRITTEN);
    }
    Scene::at(dir, |library, _| library.segment_target = Duration::from_secs(target_s))
}

/// The cues of a track in HLS, each once; every segment must show whole, and show alone, what touches it.
async fn in_hls(scene: &Scene, presentation: &str, track: &str) -> Vec<Shown> {
    let hls = scene.hls(presentation).await;
    let part = format!("/{track}/");
    let playlist = hls.playlists.iter().find(|playlist| playlist.url.contains(&part)).unwrap();
    let mut segments = Vec::new();
    for (url, duration) in playlist.segments.iter().zip(&playlist.durations_us) {
        segments.push((read(&scene.text(url).await), *duration / 1000, url));
    }
    let mut all: Vec<Shown> =
        segments.iter().flat_map(|(cues, ..)| cues.iter().map(|(a, b, _, text)| (*a, *b, text.clone()))).collect();
    all.sort();
    all.dedup();
    // The first segment's name is when it begins.
    let name = segments[0].2.rsplit('/').next().unwrap();
    let mut from: u64 = name.strip_suffix(".vtt").unwrap().parse().unwrap();
    for (cues, duration, url) in &segments {
        let to = from + duration;
        let expected: Vec<&Shown> = all.iter().filter(|cue| cue.0 < to && cue.1 > from).collect();
        let mut found: Vec<Shown> = cues.iter().map(|(a, b, _, text)| (*a, *b, text.clone())).collect();
        found.sort();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{url}: {from} to {to} ms");
        from = to;
    }
    all
}

/// The cues of a track in DASH, put together again from the samples that they last over.
async fn in_dash(scene: &Scene, presentation: &str, track: &str) -> Vec<Shown> {
    let dash = scene.dash(presentation).await;
    let found = dash.iter().find(|representation| representation.id == track).unwrap();
    assert_eq!((&*found.codecs, found.timescale), ("wvtt", 1000));
    let media = crate::mp4::read(&scene.whole(found).await).into_values().next().unwrap();
    assert_eq!(&media.handler, b"text");
    // One fragment a segment, and the samples follow one another without a gap.
    assert_eq!(media.decode_times.len(), found.segments.len());
    let times: Vec<i64> = found.segments.iter().map(|segment| segment.time as i64).collect();
    assert_eq!(media.decode_times, times);
    for pair in media.samples.windows(2) {
        assert_eq!(pair[0].decode + i64::from(pair[0].duration), pair[1].decode);
    }
    let mut cues: Vec<(u32, Shown)> = Vec::new();
    for sample in &media.samples {
        assert!(sample.is_sync);
        let (start, end) = (sample.presented as u64, sample.presented as u64 + u64::from(sample.duration));
        let boxes = crate::mp4::boxes(&sample.bytes, 0..sample.bytes.len());
        assert!(!boxes.is_empty(), "a gap is a vtte box");
        for cue in boxes.iter().filter(|found| found.name == *b"vttc") {
            let part = |name| crate::mp4::children(&sample.bytes, cue, name).next().unwrap().content;
            let id = crate::mp4::u32(&sample.bytes, part(b"vsid").start);
            let text = String::from_utf8(sample.bytes[part(b"payl")].to_vec()).unwrap();
            match cues.iter_mut().find(|(known, _)| *known == id) {
                Some((_, shown)) => {
                    assert_eq!((shown.1, &shown.2), (start, &text), "a cue goes on where it was, and is the same");
                    shown.1 = end;
                }
                None => cues.push((id, (start, end, text))),
            }
        }
    }
    let mut cues: Vec<Shown> = cues.into_iter().map(|(_, shown)| shown).collect();
    cues.sort();
    cues
}

fn shown(list: &[(u64, u64, &str)]) -> Vec<Shown> {
    list.iter().map(|(start, end, text)| (*start, *end, (*text).to_owned())).collect()
}

#[tokio::test]
async fn sidecars_of_all_forms_show_the_same_in_hls_and_dash() {
    let names = ["muxed.en.vtt", "muxed.en.forced.srt", "muxed.de.sdh.ttml"];
    let files = names.map(|name| (name, std::fs::read(testdata("muxed").with_file_name(name)).unwrap()));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
    let expected = [
        (
            "text-en",
            shown(&[
                (500, 2000, "Hello &amp; welcome"),
                (1500, 4250, "<i>Above</i>, to the left"),
                (5000, 7500, "Over the boundary,\non <c.quiet>two lines</c>"),
                (7500, 8500, "The next at once"),
                // It ends with the media.
                (11_000, 12_000, "Longer than the pictures"),
            ]),
        ),
        (
            "text-en-forced",
            shown(&[(3000, 4000, "<c.yellow>[A sign: Ausgang]</c>"), (5900, 6100, "<i>Exit</i> &amp; <b>way out</b>")]),
        ),
        (
            "text-de-sdh",
            shown(&[
                (400, 2000, "<c.cyan><i>(Schritte)</i></c>\nGrüße &amp; Küsse"),
                (5500, 6500, "<c.cyan>Über die Grenze</c>"),
                (8000, 9000, "Eins"),
                (9000, 10_000, "Eins, zwei"),
            ]),
        ),
    ];
    for target_s in [1, 2, 6, 30] {
        let scene = muxed_with(&files, target_s);
        let video = scene.dash("muxed").await.into_iter().find(|track| track.content_type == "video").unwrap();
        for (track, expected) in &expected {
            assert_eq!(&in_hls(&scene, "muxed", track).await, expected, "{track} at {target_s} s");
            let dash = scene.dash("muxed").await;
            // Of TTML the MPD has IMSC.
            let is_ttml = *track == "text-de-sdh";
            let id = if is_ttml { format!("{track}-imsc") } else { (*track).to_owned() };
            if !is_ttml {
                assert_eq!(&in_dash(&scene, "muxed", track).await, expected, "{track} at {target_s} s");
            }
            assert_eq!(dash.iter().any(|found| found.id == *track), !is_ttml);
            let text = dash.iter().find(|found| found.id == id).unwrap();
            let ms = |time: u64, timescale: u64| time * 1000 / timescale;
            let cuts: Vec<u64> = text.segments.iter().map(|segment| segment.time).collect();
            let of_video: Vec<u64> = video.segments.iter().map(|segment| ms(segment.time, video.timescale)).collect();
            assert_eq!(cuts, of_video, "text is cut where the video is");
        }
        let master = scene.text("/muxed/master.m3u8").await;
        let line = |track: &str| master.lines().find(|line| line.contains(&format!("\"{track}/"))).unwrap().to_owned();
        assert!(line("text-en").contains("LANGUAGE=\"en\"") && !line("text-en").contains("FORCED"));
        assert!(line("text-en-forced").contains("FORCED=YES"));
        assert!(line("text-de-sdh").contains("public.accessibility.transcribes-spoken-dialog"));
        let mpd = scene.text("/muxed/manifest.mpd").await;
        assert!(mpd.contains("value=\"forced-subtitle\"") && mpd.contains("value=\"caption\""));
        let hls = scene.hls("muxed").await;
        let playlist = hls.playlists.iter().find(|playlist| playlist.url.contains("/text-en/")).unwrap();
        let mut texts = String::new();
        for url in &playlist.segments {
            let text = scene.text(url).await;
            assert!(text.contains("\nSTYLE\n::cue(.quiet) {"), "{text}");
            texts.push_str(&text);
        }
        assert!(texts.contains("00:00:04.250 line:0 align:start\n"), "{texts}");
    }
}

#[tokio::test]
async fn ttml_beside_a_film_is_offered_as_it_is_written() {
    let ttml = std::fs::read_to_string(testdata("muxed").with_file_name("muxed.de.sdh.ttml")).unwrap();
    let scene = muxed_with(&[("muxed.de.sdh.ttml", ttml.as_bytes())], 6);
    let mpd = scene.text("/muxed/manifest.mpd").await;
    assert!(mpd.contains("<Representation id=\"text-de-sdh-imsc\" codecs=\"stpp.ttml.im1t\""), "{mpd}");
    assert!(!mpd.contains("wvtt"), "a text is listed once");
    let dash = scene.dash("muxed").await;
    let track = dash.iter().find(|found| found.id == "text-de-sdh-imsc").unwrap();
    let media = crate::mp4::read(&scene.whole(track).await).into_values().next().unwrap();
    let documents: Vec<&str> = media.samples.iter().map(|sample| std::str::from_utf8(&sample.bytes).unwrap()).collect();
    assert_eq!(documents.len(), 2, "one a segment");
    let paragraphs = |document: &str| -> Vec<String> {
        let of = |part: &str| format!("<p{}", part.split_inclusive("</p>").next().unwrap());
        document.split("<p").skip(1).map(of).collect()
    };
    let source = paragraphs(&ttml);
    assert_eq!(paragraphs(documents[0]), source[..2], "as they are written, times and all");
    assert_eq!(paragraphs(documents[1]), source[1..], "what crosses the boundary is in both");
    let head = &ttml[ttml.find("<head>").unwrap()..ttml.find("<body").unwrap()];
    assert!(documents.iter().all(|document| document.contains(head)));

    // HLS has both.
    let master = scene.text("/muxed/master.m3u8").await;
    assert!(master.contains("\"text-de-sdh/") && master.contains("\"text-de-sdh-imsc/"), "{master}");
    assert!(master.contains("stpp.ttml.im1t\"") && master.contains("SUBTITLES=\"text-vtt\""), "{master}");
    let hls = scene.hls("muxed").await;
    let playlist = hls.playlists.iter().find(|playlist| playlist.url.contains("/text-de-sdh-imsc/")).unwrap();
    assert_eq!(playlist.segments, track.segments.iter().map(|segment| segment.url.clone()).collect::<Vec<_>>());

    // With a text beside it that is WebVTT alone, players would show none of that in a group with IMSC.
    let srt = "1\n00:00:01,000 --> 00:00:02,000\nDéjà\n".as_bytes();
    let scene = muxed_with(&[("muxed.de.sdh.ttml", ttml.as_bytes()), ("muxed.fr.srt", srt)], 6);
    let master = scene.text("/muxed/master.m3u8").await;
    assert!(master.contains("\"text-de-sdh/") && master.contains("\"text-fr/"), "{master}");
    assert!(!master.contains("imsc") && !master.contains("stpp"), "{master}");

    // Where times follow one another, nothing can be left out.
    let in_turn = ttml.replace("<div>", "<div timeContainer=\"seq\">");
    let scene = muxed_with(&[("muxed.de.sdh.ttml", in_turn.as_bytes())], 6);
    assert!(scene.text("/muxed/manifest.mpd").await.contains("<Representation id=\"text-de-sdh\" codecs=\"wvtt\""));
}

#[tokio::test]
async fn timed_text_of_a_movie_is_served_in_both() {
    let scene = Scene::with(&["timed-text"], |library, _| library.segment_target = Duration::from_secs(1));
    let expected = shown(&[(500, 2000, "<i>Slanted</i> and <b>heavy</b>"), (2500, 4500, "Grüße,\nin two lines")]);
    assert_eq!(in_hls(&scene, "timed-text", "text1").await, expected);
    assert_eq!(in_dash(&scene, "timed-text", "text1").await, expected);
    assert!(scene.text("/timed-text/master.m3u8").await.contains("TYPE=SUBTITLES"));
}

#[tokio::test]
async fn a_sidecar_comes_changes_and_goes() {
    let mut scene = muxed_with(&[], 6);
    let video = scene.first_segment("muxed", "video").await;
    assert!(!scene.text("/muxed/master.m3u8").await.contains("SUBTITLES"));

    let path = scene.path("muxed.fr.srt");
    write(&path, "1\n00:00:01,000 --> 00:00:02,000\nDéjà\n".as_bytes(), WRITTEN);
    scene.pass(Duration::from_secs(2));
    scene.rescan();
    assert_eq!(in_hls(&scene, "muxed", "text-fr").await, shown(&[(1000, 2000, "Déjà")]));
    assert_eq!(scene.first_segment("muxed", "video").await, video, "the video is what it was");
    let before = scene.first_segment("muxed", "text-fr").await;

    write(&path, "1\n00:00:01,000 --> 00:00:02,000\nAutre\n".as_bytes(), WRITTEN);
    scene.pass(Duration::from_secs(2));
    scene.rescan();
    assert_eq!(in_dash(&scene, "muxed", "text-fr").await, shown(&[(1000, 2000, "Autre")]));
    assert_ne!(scene.first_segment("muxed", "text-fr").await, before);
    assert!(!scene.body(&before).await.is_empty(), "who still plays the old one gets it");

    std::fs::remove_file(&path).unwrap();
    scene.pass(Duration::from_secs(2));
    scene.rescan();
    assert!(!scene.text("/muxed/master.m3u8").await.contains("SUBTITLES"));
}

#[tokio::test]
async fn what_is_wrong_with_a_sidecar_is_said_and_costs_nothing_else() {
    let files: [(&str, &[u8]); 5] = [
        ("muxed.en.vtt", b"no signature\n"),
        ("muxed.de.srt", b"1\n00:00:01,000 --> soon\nbad\n\n2\n00:00:03,000 --> 00:00:04,000\ngood\n"),
        ("muxed.fr.ttml", b"<tt>\n<body>\n</p></tt>"),
        ("muxed.it.srt", b"1\n00:00:01,000 --> 00:00:02,000\n\xe0\n"),
        ("muxed.xml", b"<project/>"),
    ];
    let scene = muxed_with(&files, 6);
    assert_eq!(in_dash(&scene, "muxed", "text-de").await, shown(&[(3000, 4000, "good")]));
    let listing = scene.origin.listings(None, 10, scene.now).await.remove(0);
    let tracks: Vec<&str> = listing.tracks.iter().map(|track| &*track.name).collect();
    assert_eq!(tracks, ["video1", "audio1", "text-de"]);
    let warnings = listing.warnings.join("\n");
    for expected in [
        "muxed.en.vtt, line 1: no WEBVTT at its start",
        "muxed.de.srt, line 2: times that can't be read",
        "muxed.fr.ttml, line 3: not well-formed",
        "muxed.it.srt, line 3: text that is not UTF-8",
    ] {
        assert!(warnings.contains(expected), "{expected}: {warnings}");
    }
    assert_eq!(listing.warnings.len(), 4, "an XML file that is no TTML is none of our business: {warnings}");
}

#[tokio::test]
async fn a_folder_that_is_one_presentation_has_its_texts_too() {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("tour"), &dir.path().join("tour"));
    let srt = |text: &str| format!("1\n00:00:05,500 --> 00:00:06,500\n{text}\n").into_bytes();
    write(&dir.path().join("tour/subs.fr.srt"), &srt("one"), WRITTEN);
    write(&dir.path().join("tour/tour.forced.srt"), &srt("two"), WRITTEN);
    write(&dir.path().join("tour/notes.srt"), &srt("of nobody"), WRITTEN);
    let scene = Scene::at(dir, |_, _| {});
    assert_eq!(in_hls(&scene, "tour", "subs-fr").await, shown(&[(5500, 6500, "one")]));
    assert_eq!(in_dash(&scene, "tour", "text-forced").await, shown(&[(5500, 6500, "two")]));
    let names: Vec<String> = scene.dash("tour").await.into_iter().map(|track| track.id).collect();
    assert_eq!(names.len(), 8, "{names:?}");

    // What is said goes before what the names say.
    let said = "[[file]]\npath = \"video-90p.mp4\"\n[[text]]\npath = \"notes.srt\"\nname = \"n\"\nlanguage = \"eo\"\nlabel = \"Notes\"\n";
    write(&scene.path("tour/presentation.toml"), said.as_bytes(), WRITTEN);
    scene.rescan();
    assert_eq!(in_dash(&scene, "tour", "n").await, shown(&[(5500, 6500, "of nobody")]));
    assert_eq!(scene.dash("tour").await.len(), 2);
    let master = scene.text("/tour/master.m3u8").await;
    assert!(master.contains("LANGUAGE=\"eo\",NAME=\"Notes\""), "{master}");
}

#[tokio::test]
async fn a_sidecar_counts_from_where_the_media_begins() {
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("shape-late-start"), &dir.path().join("late.mp4"));
    write(&dir.path().join("late.vtt"), b"WEBVTT\n\n00:01.000 --> 00:02.000\n<00:01.500>x\n", WRITTEN);
    let scene = Scene::at(dir, |_, _| {});
    // Its video begins at 100 s.
    let expected = shown(&[(101_000, 102_000, "<00:01:41.500>x")]);
    assert_eq!(in_dash(&scene, "late", "text").await, expected);
    assert_eq!(in_hls(&scene, "late", "text").await, expected);
}

/// The text of `muxed` in DASH: its segments, and the media playlist of it.
async fn text_and_playlist(scene: &Scene) -> (Representation, Vec<u8>, String) {
    let text = scene.dash("muxed").await.into_iter().find(|track| track.id == "text-en").unwrap();
    let whole = scene.whole(&text).await;
    let hls = scene.hls("muxed").await;
    let playlist = hls.playlists.into_iter().find(|playlist| playlist.url.contains("/text-en/")).unwrap();
    (text, whole, playlist.text)
}

#[tokio::test]
async fn a_cue_that_moved_within_its_segment_kept_its_version() {
    let srt = |start: &str, end: &str| format!("1\n00:00:0{start} --> 00:00:0{end}\nhello\n").into_bytes();
    let scene = muxed_with(&[("muxed.en.srt", &srt("1,000", "3,000"))], 6);
    let (before, bytes, _) = text_and_playlist(&scene).await;
    write(&scene.path("muxed.en.srt"), &srt("1,500", "3,500"), WRITTEN + Duration::from_secs(60));
    scene.rescan();
    let (after, other, _) = text_and_playlist(&scene).await;
    assert_ne!(bytes, other);
    assert_ne!(before.segments[0].url, after.segments[0].url, "two bodies under one name");
}

#[tokio::test]
async fn text_that_ends_later_with_its_video_kept_its_version() {
    let srt = b"1\n00:00:01,000 --> 00:00:03,000\nhello\n";
    let scene = muxed_with(&[("muxed.en.srt", srt)], 8);
    let (before, _, playlist) = text_and_playlist(&scene).await;
    let mut film = std::fs::read(testdata("muxed")).unwrap();
    // The pictures of the last fragment last a quarter longer: default_sample_duration of its first tfhd.
    let at = film.windows(4).enumerate().filter(|(_, kind)| kind == b"tfhd").map(|(at, _)| at).nth(4).unwrap() + 12;
    assert_eq!(film[at..at + 4], 512u32.to_be_bytes());
    film[at..at + 4].copy_from_slice(&640u32.to_be_bytes());
    write(&scene.path("muxed.mp4"), &film, WRITTEN + Duration::from_secs(60));
    scene.rescan();
    let (after, _, other) = text_and_playlist(&scene).await;
    assert_ne!(playlist, other);
    assert_ne!(before.segments[0].url, after.segments[0].url, "two playlists under one name");
}

#[tokio::test]
async fn hls_dropped_the_second_text_of_a_language() {
    let srt = b"1\n00:00:01,000 --> 00:00:03,000\nfrom a file\n";
    let dir = tempfile::tempdir().unwrap();
    copy(&testdata("timed-text"), &dir.path().join("film.mp4"));
    let scene = Scene::at(dir, |_, _| {});
    let languages = async |scene: &Scene| {
        let hls = scene.hls("film").await;
        let texts = hls.master.alternatives.into_iter().filter(|media| media.group_id == "text-vtt");
        texts.map(|media| (media.language, media.name)).collect::<Vec<_>>()
    };
    let before = languages(&scene).await;
    let tag = before[0].0.clone().unwrap();
    write(&scene.path(&format!("film.{tag}.srt")), srt, WRITTEN);
    scene.rescan();
    let after = languages(&scene).await;
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    let own: Vec<&String> = after.iter().filter(|(of, _)| of.as_ref() == Some(&tag)).map(|(_, name)| name).collect();
    assert!(own.len() == 2 && own[0] != own[1], "{after:?}");
}

/// A `wvtt` track of `count` samples that all name the same `size` bytes, each shown for 10 ms.
fn repeated_text(count: u32, size: u32) -> Vec<u8> {
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let atom = |kind: &[u8; 4], body: &[u8]| [&words(&[body.len() as u32 + 8])[..], kind, body].concat();
    let mut file = std::fs::read(testdata("tour").join("text-eng.mp4")).unwrap();
    file.truncate(file.windows(4).position(|kind| kind == b"moof").unwrap() - 4);
    let moof = |offset: u32| {
        let run = atom(b"trun", &words(&[0x301, 1, offset, 10, size]));
        let head = [atom(b"tfhd", &words(&[0x2_0000, 1])), atom(b"tfdt", &words(&[0, 0]))].concat();
        let traf = atom(b"traf", &[&head[..], &run.repeat(count as usize)].concat());
        atom(b"moof", &[&atom(b"mfhd", &words(&[0, 1]))[..], &traf].concat())
    };
    file.extend(moof(moof(0).len() as u32 + 8));
    let cue = atom(b"vttc", &atom(b"payl", &vec![b'x'; size as usize - 16]));
    file.extend(atom(b"mdat", &cue));
    file
}

#[tokio::test]
async fn a_small_file_made_a_webvtt_segment_read_gigabytes() {
    let scene = Scene::of(&[]);
    write(&scene.path("small.mp4"), &repeated_text(3, 4096), WRITTEN);
    write(&scene.path("large.mp4"), &repeated_text(100, 1 << 20), WRITTEN);
    scene.rescan();
    let url = async |name: &str| scene.dash(name).await[0].segments[0].url.replace(".m4s", ".vtt");
    assert!(scene.text(&url("small").await).await.contains("xxx"));
    let answer = scene.get(&url("large").await).await;
    assert!(!answer.status.is_success(), "{} bytes of text", answer.body.len());
    let (code, message) = answer.problem(500, "no-store");
    assert_eq!(code, "broken_source");
    assert!(message.contains("104857600 bytes of cues"), "{message}");
    assert_eq!(scene.telemetry.source_read_bytes.get(), 3 * 4096);
}
