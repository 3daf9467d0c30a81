//! Everything of every presentation: it answers, it adds up, and what came in goes out.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;

use crate::mp4::{self, Track};
use crate::scene::{CLEAR, ENCRYPTED, Representation, Scene, WRITTEN, copy, testdata, write};

fn keyed(names: &[&str], target_s: u64) -> Scene {
    Scene::with(names, |library, options| {
        library.segment_target = Duration::from_secs(target_s);
        options.key_uri = Some("https://keys.example/{kid}".to_owned());
    })
}

fn all() -> Vec<&'static str> {
    CLEAR.iter().chain(ENCRYPTED).copied().collect()
}

/// The tracks that testdata has under `name`, by a reader that knows nothing of Headwater.
pub(crate) fn source_tracks(name: &str) -> Vec<Track> {
    let path = testdata(name);
    if path.is_file() {
        return mp4::read(&std::fs::read(path).unwrap()).into_values().collect();
    }
    let files = |folder: &std::path::Path| -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // `init…`, then the segments by number.
    let joined = |folder: &std::path::Path, is_of: &dyn Fn(&str) -> bool| {
        let mut names = files(folder);
        names.retain(|name| is_of(name));
        names.sort_by_key(|name| {
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            (!name.starts_with("init"), digits.len(), digits)
        });
        names.iter().flat_map(|name| std::fs::read(folder.join(name)).unwrap()).collect::<Vec<u8>>()
    };
    let movies: Vec<Vec<u8>> = match name {
        "packaging" => ["audio", "video"].map(|folder| joined(&path.join(folder), &|_| true)).into(),
        "packaging-flat" => ["stream0", "stream1"].map(|stream| joined(&path, &|name| name.contains(stream))).into(),
        _ => files(&path).iter().map(|name| std::fs::read(path.join(name)).unwrap()).collect(),
    };
    movies.iter().flat_map(|movie| mp4::read(movie).into_values()).collect()
}

#[tokio::test]
async fn everything_that_a_playlist_names_answers_and_adds_up() {
    let scene = keyed(&all(), 6);
    assert_eq!(scene.names().len(), all().len());
    for name in all() {
        let hls = scene.hls(name).await;
        assert!(!hls.master.variants.is_empty(), "{name}");
        assert_eq!(hls.master.alternatives.iter().filter(|media| media.uri.is_none()).count(), 0, "{name}");
        for playlist in &hls.playlists {
            let url = &playlist.url;
            assert!(playlist.list.end_list && !playlist.segments.is_empty(), "{url}");
            assert_eq!(playlist.segments.len(), playlist.durations_us.len(), "{url}");
            let longest = playlist.durations_us.iter().max().unwrap();
            assert!((longest + 500_000) / 1_000_000 <= playlist.list.target_duration, "{url}: {longest} us");
            let sum: u64 = playlist.durations_us.iter().sum();
            let Some(init) = &playlist.init else {
                for segment in &playlist.segments {
                    let answer = scene.get(segment).await;
                    assert_eq!(
                        (answer.status, answer.header("content-type")),
                        (StatusCode::OK, "text/vtt"),
                        "{segment}"
                    );
                }
                continue;
            };
            let mut bytes = scene.body(init).await.to_vec();
            for segment in &playlist.segments {
                let answer = scene.get(segment).await;
                assert_eq!(answer.status, StatusCode::OK, "{segment}");
                assert_eq!(answer.header("content-length"), answer.body.len().to_string(), "{segment}");
                assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable", "{segment}");
                bytes.extend_from_slice(&answer.body);
            }
            let tracks = mp4::read(&bytes);
            assert_eq!(tracks.len(), 1, "{url}: one track a segment");
            let track = tracks.values().next().unwrap();
            let media_us = (track.end() - track.start().max(0)) as u64 * 1_000_000 / u64::from(track.timescale);
            let rounding = playlist.segments.len() as u64;
            assert!(media_us.abs_diff(sum) <= rounding, "{url}: {sum} us listed, {media_us} us of media");
        }
    }
}

#[tokio::test]
async fn hls_and_dash_name_the_same_segments() {
    let scene = keyed(&all(), 6);
    for name in all() {
        let (hls, dash) = (scene.hls(name).await, scene.dash(name).await);
        for representation in &dash {
            let folder = representation.init.rsplit_once('/').unwrap().0;
            let playlist = hls.playlists.iter().find(|playlist| playlist.url.starts_with(&format!("{folder}/")));
            let playlist = playlist.unwrap_or_else(|| panic!("{} is not in HLS", representation.init));
            let urls: Vec<String> = representation.segments.iter().map(|segment| segment.url.clone()).collect();
            if representation.codecs == "wvtt" {
                let texts: Vec<String> = urls.iter().map(|url| url.replace(".m4s", ".vtt")).collect();
                assert_eq!(playlist.segments, texts);
            } else {
                assert_eq!((playlist.init.as_ref(), &playlist.segments), (Some(&representation.init), &urls));
            }
        }
        let in_dash: BTreeSet<_> = dash.iter().map(|r| r.init.rsplit_once('/').unwrap().0.to_owned()).collect();
        let in_hls: BTreeSet<_> = hls.playlists.iter().map(|p| p.url.rsplit_once('/').unwrap().0.to_owned()).collect();
        assert_eq!(in_dash, in_hls, "{name}");
    }
}

/// Requires that what is served of `name` is what testdata holds, sample for sample, and that segments are named by when they
/// begin.
async fn check_samples(scene: &Scene, name: &str) -> usize {
    let mut sources = source_tracks(name);
    let dash = scene.dash(name).await;
    assert_eq!(dash.len(), sources.len(), "{name}: {:?}", dash.iter().map(|r| &r.id).collect::<Vec<_>>());
    let mut fragments = 0;
    for representation in &dash {
        let bytes = scene.whole(representation).await;
        let served = mp4::read(&bytes).into_values().next().unwrap();
        fragments += served.decode_times.len();
        let is_source = |track: &Track| {
            let alike = track.handler == served.handler && track.samples.len() == served.samples.len();
            alike && track.samples.iter().zip(&served.samples).all(|(a, b)| a.bytes == b.bytes)
        };
        let id = &representation.id;
        let Some(at) = sources.iter().position(is_source) else {
            let counts: Vec<_> = sources.iter().map(|track| (track.id, track.samples.len())).collect();
            panic!(
                "{name}/{id}: {} samples served that no track of the source has; it has {counts:?}",
                served.samples.len()
            );
        };
        let source = sources.remove(at);
        assert_eq!((source.timescale, source.id), (served.timescale, served.id), "{name}/{id}");
        assert_eq!(source.stsd, served.stsd, "{name}/{id}: stsd is not verbatim");
        for (index, (a, b)) in source.samples.iter().zip(&served.samples).enumerate() {
            let of = |s: &mp4::Sample| (s.decode, s.presented, s.duration, s.is_sync, s.protection.clone());
            assert_eq!(of(a), of(b), "{name}/{id}: sample {index} (decode, presented, duration, sync, senc)");
        }
        // Decode times have no gap where the source has none, and segments tile.
        for (index, pair) in served.samples.windows(2).enumerate() {
            assert_eq!(
                pair[0].decode + i64::from(pair[0].duration),
                pair[1].decode,
                "{name}/{id}: after sample {index}"
            );
        }
        let init = scene.body(&representation.init).await;
        for (index, segment) in representation.segments.iter().enumerate() {
            let body = scene.body(&segment.url).await;
            let part = mp4::read(&[&init[..], &body[..]].concat()).into_values().next().unwrap();
            let start = part.start().max(0) as u64;
            assert_eq!(segment.time, start, "{}: named by its start", segment.url);
            let next = representation.segments.get(index + 1).map_or(served.end() as u64, |next| next.time);
            assert_eq!(segment.time + segment.duration, next, "{}: no gap, no overlap", segment.url);
        }
        assert_eq!(u64::from(served.timescale), representation.timescale, "{name}/{id}");
    }
    fragments
}

/// `bytes` with `more` at the end of the first box `name`, each of `around` as much larger.
fn extended(bytes: &[u8], name: &[u8; 4], around: &[&[u8; 4]], more: &[u8]) -> Vec<u8> {
    let find = |name: &[u8; 4]| bytes.windows(4).position(|kind| kind == name).unwrap() - 4;
    let mut out = bytes.to_vec();
    for name in around.iter().chain([&name]).copied() {
        let size = mp4::u32(bytes, find(name)) + more.len() as u32;
        out[find(name)..find(name) + 4].copy_from_slice(&size.to_be_bytes());
    }
    let end = find(name) + mp4::u32(bytes, find(name)) as usize;
    out.splice(end..end, more.iter().copied());
    out
}

#[tokio::test]
async fn later_chunks_of_a_progressive_file_were_decoded_with_the_first_parameter_sets() {
    let around = [b"moov", b"trak", b"mdia", b"minf", b"stbl"];
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>();
    let file = std::fs::read(testdata("progressive")).unwrap();
    // A second entry of the same codec, which describes the chunks from the 101st on.
    let stsd = file.windows(4).position(|kind| kind == b"stsd").unwrap() - 4;
    let end = stsd + mp4::u32(&file, stsd) as usize;
    let mut file = extended(&file, b"stsd", &around, &file[stsd + 16..end]);
    file[stsd + 15] = 2;
    let mut file = extended(&file, b"stsc", &around, &words(&[101, 1, 2]));
    let stsc = file.windows(4).position(|kind| kind == b"stsc").unwrap() - 4;
    file[stsc + 15] += 1;
    let scene = Scene::of(&[]);
    write(&scene.path("film.mp4"), &file, WRITTEN);
    scene.rescan();
    let track = scene.dash("film").await.into_iter().find(|track| track.content_type == "video").unwrap();
    let whole = scene.whole(&track).await;
    let (mut described, mut samples) = (Vec::new(), 0);
    for moof in mp4::boxes(&whole, 0..whole.len()).into_iter().filter(|top| &top.name == b"moof") {
        let tfhd = mp4::descend(&whole, &moof, &[b"traf", b"tfhd"]).unwrap().content.start;
        let trun = mp4::descend(&whole, &moof, &[b"traf", b"trun"]).unwrap().content.start;
        assert_eq!(mp4::u32(&whole, tfhd) & 3, 2, "its sample_description_index, and no base_data_offset");
        described.push((samples, mp4::u32(&whole, tfhd + 8)));
        samples += mp4::u32(&whole, trun + 4);
    }
    described.dedup_by_key(|(_, index)| *index);
    // The first chunk has two samples.
    assert_eq!(described, [(0, 1), (101, 2)]);
}

#[tokio::test]
async fn each_sample_arrives_once_at_its_time() {
    let scene = keyed(&all(), 6);
    for name in all() {
        check_samples(&scene, name).await;
    }
}

#[tokio::test]
async fn each_sample_arrives_once_when_segments_are_as_short_as_can_be() {
    let scene = keyed(&all(), 1);
    let mut cut = BTreeSet::new();
    for name in all() {
        let fragments: usize = source_tracks(name).iter().map(|track| track.decode_times.len()).sum();
        if check_samples(&scene, name).await > fragments {
            cut.insert(name);
        }
    }
    // Fragments were cut inside.
    for name in ["muxed", "shape-one-fragment", "packaging", "tour"] {
        assert!(cut.contains(name), "{name} was not cut inside its fragments: {cut:?}");
    }
}

#[tokio::test]
async fn boundaries_follow_the_video_whatever_the_target() {
    for (target_s, muxed_segments) in [(1, 12), (2, 6), (3, 4), (10, 2)] {
        let scene = keyed(&["tour", "muxed", "packaging-flat", "shape-empty-edit", "ac3"], target_s);
        for name in ["tour", "muxed", "packaging-flat", "shape-empty-edit", "ac3"] {
            let dash = scene.dash(name).await;
            let video = dash.iter().find(|r| r.content_type == "video").unwrap();
            if name == "muxed" {
                assert_eq!(video.segments.len(), muxed_segments, "{target_s} s");
            }
            for representation in &dash {
                let whole = scene.whole(representation).await;
                let track = mp4::read(&whole).into_values().next().unwrap();
                let times: Vec<u64> = representation.segments.iter().map(|segment| segment.time).collect();
                // The first frame at or after each boundary; what begins later than a boundary has its first there once.
                let mut expected: Vec<u64> = Vec::new();
                for boundary in &video.segments {
                    let is_after = |ticks: i64| {
                        i128::from(ticks.max(0)) * i128::from(video.timescale)
                            >= i128::from(boundary.time) * i128::from(track.timescale)
                    };
                    let first = track.samples.iter().map(|s| s.presented).filter(|&t| is_after(t)).min();
                    expected.extend(first.map(|t| t.max(0) as u64));
                }
                expected.dedup();
                assert_eq!(times, expected, "{name}/{} at {target_s} s", representation.id);
            }
            check_samples(&scene, name).await;
        }
    }
}

#[tokio::test]
async fn sound_that_goes_on_after_the_picture_is_cut_on() {
    for target_s in [1, 2, 3] {
        let scene = keyed(&[], target_s);
        copy(&testdata("hevc"), &scene.path("film/picture.mp4"));
        copy(&testdata("tour/audio-eng.mp4"), &scene.path("film/sound.mp4"));
        let toml = b"[[file]]\npath = \"picture.mp4\"\n[[file]]\npath = \"sound.mp4\"\n";
        write(&scene.path("film/presentation.toml"), toml, Duration::from_secs(1_899_000_000));
        scene.rescan();
        let dash = scene.dash("film").await;
        let [picture, sound] = &dash[..] else { panic!("{dash:?}") };
        let starts =
            |r: &Representation| r.segments.iter().map(|s| s.time as f64 / r.timescale as f64).collect::<Vec<_>>();
        let (picture, sound) = (starts(picture), starts(sound));
        let expected: Vec<f64> =
            picture.iter().copied().chain((6..20).step_by(target_s as usize).map(f64::from)).collect();
        assert_eq!(sound.len(), expected.len(), "{target_s} s: {sound:?} for {picture:?}");
        assert!(
            sound.iter().zip(&expected).all(|(a, b)| (0.0..0.022).contains(&(a - b))),
            "{sound:?}, {expected:?} wanted"
        );
    }
}

#[tokio::test]
async fn a_late_start_is_offset_in_dash_and_an_initial_delay_is_kept() {
    let scene = keyed(&["shape-late-start", "shape-empty-edit"], 6);
    let dash = scene.dash("shape-late-start").await;
    for representation in &dash {
        // The sound begins with its priming, a frame before the picture.
        let (offset, timescale) = (representation.offset, representation.timescale);
        assert!(offset.abs_diff(100 * timescale) < timescale / 40, "{representation:?}");
        assert!(representation.segments[0].time.abs_diff(representation.offset) < representation.timescale / 10);
    }
    let dash = scene.dash("shape-empty-edit").await;
    let starts: Vec<f64> = dash.iter().map(|r| r.segments[0].time as f64 / r.timescale as f64).collect();
    let delays: Vec<f64> =
        source_tracks("shape-empty-edit").iter().map(|t| t.start().max(0) as f64 / f64::from(t.timescale)).collect();
    assert_eq!(starts, delays);
    assert!((starts[1] - 0.08).abs() < 0.03, "{starts:?}");
}

#[tokio::test]
async fn events_of_version_0_were_late_where_fragments_were_joined() {
    let source = std::fs::read(testdata("shape-short-fragments")).unwrap();
    let atom = |kind: &[u8; 4], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat();
    // 100 ms after each fragment begins.
    let words = [1000u32, 100, 0, 7].map(u32::to_be_bytes).concat();
    let event = atom(b"emsg", &[&[0; 4][..], b"urn:example:event\0\0", &words, b"data"].concat());
    let mut movie = Vec::new();
    for top in mp4::boxes(&source, 0..source.len()) {
        if &top.name == b"moof" {
            movie.extend_from_slice(&event);
        }
        movie.extend_from_slice(&source[top.start..top.content.end]);
    }
    let scene = Scene::of(&[]);
    write(&scene.path("film.mp4"), &movie, WRITTEN);
    scene.rescan();
    let track = scene.dash("film").await.remove(0);
    let (mut found, mut versions) = (Vec::new(), BTreeSet::new());
    for segment in &track.segments {
        let bytes = scene.body(&segment.url).await;
        assert_eq!(scene.head(&segment.url).await.header("content-length"), bytes.len().to_string());
        for emsg in mp4::boxes(&bytes, 0..bytes.len()).into_iter().filter(|top| &top.name == b"emsg") {
            let content = &bytes[emsg.content.clone()];
            versions.insert(content[0]);
            let said = match content[0] {
                0 => segment.time as f64 / track.timescale as f64 * 1000.0 + 100.0,
                _ => mp4::u64(content, 8) as f64,
            };
            assert!(content.ends_with(b"data"));
            found.push(said.round() as i64);
        }
    }
    let original = mp4::read(&source).into_values().next().unwrap();
    let shift = original.decode_times[0] - original.samples[0].decode;
    let times: Vec<i64> = original.decode_times.iter().map(|time| time - shift).collect();
    let starts = times.iter().map(|time| {
        let fragment = original.samples.iter().filter(|sample| sample.decode >= *time);
        let ends = times.iter().find(|next| *next > time).copied().unwrap_or(i64::MAX);
        fragment.filter(|sample| sample.decode < ends).map(|sample| sample.presented).min().unwrap()
    });
    let expected: Vec<i64> =
        starts.map(|time| (time as f64 / f64::from(original.timescale) * 1000.0 + 100.0).round() as i64).collect();
    assert_eq!(found, expected);
    assert_eq!(versions, BTreeSet::from([0, 1]), "who begins a segment is sent as it is");
}
