//! Media that came encrypted: passed on, and signalled.

use std::time::Duration;

use crate::scene::{Scene, WRITTEN, same, testdata, write};
use crate::{mp4, rotation};

const KID: &str = "10111213141516171819202122232425";

#[tokio::test]
async fn cbcs_is_offered_with_the_keys_that_its_pssh_name() {
    let scene = Scene::of(&["encrypted-cbcs"]);
    for playlist in scene.hls("encrypted-cbcs").await.playlists {
        let keys: Vec<&str> = playlist.text.lines().filter(|line| line.starts_with("#EXT-X-KEY:")).collect();
        for system in ["urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed", "com.microsoft.playready"] {
            let key =
                keys.iter().find(|key| key.contains(system)).unwrap_or_else(|| panic!("no key of {system}: {keys:?}"));
            assert!(key.contains("METHOD=SAMPLE-AES,") && key.contains("URI=\"data:"), "{key}");
        }
        // They precede what they decrypt.
        let at = |text: &str| playlist.text.find(text).unwrap();
        assert!(at("#EXT-X-KEY:") < at("#EXTINF:"));
    }
    let mpd = scene.text("/encrypted-cbcs/manifest.mpd").await;
    assert!(mpd.contains("urn:mpeg:dash:mp4protection:2011") && mpd.contains("value=\"cbcs\""), "{mpd}");
    assert!(mpd.to_lowercase().contains("urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"), "{mpd}");
    assert!(mpd.to_lowercase().contains("10111213-1415-1617-1819-202122232425"), "{mpd}");
}

#[tokio::test]
async fn cenc_without_any_key_uri_is_no_hls_and_says_why() {
    let scene = Scene::of(&["encrypted-cenc"]);
    let (code, message) = scene.get("/encrypted-cenc/master.m3u8").await.problem(404, "public, max-age=5");
    assert_eq!(code, "no_hls");
    assert!(message.contains("encrypted") && message.contains("key"), "{message}");
    let listing = &scene.origin.listings(None, 1, scene.now).await[0];
    assert!(listing.hls.is_none() && listing.dash.is_some(), "{listing:?}");
    assert!(listing.warnings.iter().any(|warning| warning.contains(&message)), "{listing:?}");
    // DASH plays.
    let mpd = scene.text("/encrypted-cenc/manifest.mpd").await;
    assert!(mpd.contains("value=\"cenc\""), "{mpd}");
    for track in scene.dash("encrypted-cenc").await {
        scene.whole(&track).await;
    }
}

#[tokio::test]
async fn a_configured_key_uri_makes_it_hls() {
    let scene = Scene::with(&["encrypted-cenc"], |_, options| {
        options.key_uri = Some("https://keys.example/{kid}?x".to_owned())
    });
    let hls = scene.hls("encrypted-cenc").await;
    assert!(!hls.playlists.is_empty());
    for playlist in hls.playlists {
        let key = playlist.text.lines().find(|line| line.starts_with("#EXT-X-KEY:")).unwrap();
        assert!(key.contains(&format!("URI=\"https://keys.example/{KID}?x\"")), "{key}");
        // SAMPLE-AES-CTR has no IV attribute.
        assert!(key.contains("METHOD=SAMPLE-AES-CTR") && !key.contains("IV="), "{key}");
    }
}

/// `tenc`, whole, wherever it lies in `bytes`.
fn found<'a>(bytes: &'a [u8], name: &[u8; 4]) -> Vec<&'a [u8]> {
    let at = |at: usize| &bytes[at - 4..at - 4 + mp4::u32(bytes, at - 4) as usize];
    bytes.windows(4).enumerate().filter(|(_, window)| window == name).map(|(index, _)| at(index)).collect()
}

/// The movie in `source`, of one track, with all samples in one fragment.
fn in_one_fragment(source: &[u8]) -> Vec<u8> {
    let track = mp4::read(source).into_values().next().unwrap();
    let atom = |name: &[u8; 4], parts: &[&[u8]]| {
        let body = parts.concat();
        [&(body.len() as u32 + 8).to_be_bytes()[..], name, &body].concat()
    };
    let count = (track.samples.len() as u32).to_be_bytes();
    let row = |sample: &mp4::Sample| {
        let flags: u32 = if sample.is_sync { 0x0200_0000 } else { 0x0101_0000 };
        [sample.duration, sample.bytes.len() as u32, flags, (sample.presented - sample.decode) as u32]
            .map(u32::to_be_bytes)
            .concat()
    };
    let rows: Vec<u8> = track.samples.iter().flat_map(row).collect();
    let entries: Vec<u8> = track.samples.iter().flat_map(|sample| sample.protection.clone()).collect();
    let sizes: Vec<u8> = track.samples.iter().map(|sample| sample.protection.len() as u8).collect();
    let moof = |data_offset: u32, saio: u32| {
        let tfhd = atom(b"tfhd", &[&0x02_0000u32.to_be_bytes(), &track.id.to_be_bytes()]);
        let tfdt = atom(b"tfdt", &[&0u32.to_be_bytes(), &(track.decode_times[0] as u32).to_be_bytes()]);
        let trun = atom(b"trun", &[&0x0100_0f01u32.to_be_bytes(), &count, &data_offset.to_be_bytes(), &rows]);
        let saiz = atom(b"saiz", &[&[0; 5], &count, &sizes]);
        let saio = atom(b"saio", &[&[0; 4], &1u32.to_be_bytes(), &saio.to_be_bytes()]);
        let senc = atom(b"senc", &[&2u32.to_be_bytes(), &count, &entries]);
        let traf = atom(b"traf", &[&tfhd, &tfdt, &trun, &saiz, &saio, &senc]);
        atom(b"moof", &[&atom(b"mfhd", &[&[0; 4], &1u32.to_be_bytes()]), &traf])
    };
    let len = moof(0, 0).len() as u32;
    let media: Vec<&[u8]> = track.samples.iter().map(|sample| &sample.bytes[..]).collect();
    let init = mp4::boxes(source, 0..source.len()).into_iter().filter(|top| [*b"ftyp", *b"moov"].contains(&top.name));
    let init: Vec<u8> = init.flat_map(|top| source[top.start..top.content.end].to_vec()).collect();
    [init, moof(len + 8, len - entries.len() as u32), atom(b"mdat", &media)].concat()
}

/// Requires that all that protects `source` is served with the very samples that it protects.
async fn check_protection(scene: &Scene, name: &str, sources: &[Vec<u8>], cut: &str) {
    for track in scene.dash(name).await {
        let init = scene.body(&track.init).await;
        let source =
            sources.iter().find(|source| found(&init, b"stsd") == found(source, b"stsd")).expect("stsd verbatim");
        assert_eq!(found(&init, b"tenc"), found(source, b"tenc"), "{name}");
        assert_eq!(found(&init, b"pssh"), found(source, b"pssh"), "{name}");
        let whole = scene.whole(&track).await;
        let served = mp4::read(&whole).into_values().next().unwrap();
        let original = mp4::read(source).into_values().next().unwrap();
        assert_eq!(original.samples.len(), served.samples.len());
        for (index, (a, b)) in original.samples.iter().zip(&served.samples).enumerate() {
            assert_eq!(a.protection, b.protection, "{name}/{}: senc of sample {index}", track.id);
            same(&b.bytes, &a.bytes, name);
        }
        if served.handler == *b"vide" {
            assert!(served.samples.iter().all(|sample| !sample.protection.is_empty()));
        }
        if track.id.starts_with(cut) {
            assert!(served.decode_times.len() > original.decode_times.len(), "{name}: fragments were cut");
        }
        auxiliary_information_is_where_it_is_said(&whole, &track.id);
    }
}

#[tokio::test]
async fn what_protects_is_carried_also_where_fragments_are_cut() {
    let read = |file: &str| std::fs::read(testdata(file)).unwrap();
    let short = |names: &[&str]| Scene::with(names, |library, _| library.segment_target = Duration::from_secs(1));
    let scene = short(&["encrypted-cenc", "encrypted-cbcs"]);
    check_protection(&scene, "encrypted-cenc", &[read("encrypted-cenc")], "nothing").await;
    let sources = ["video", "audio-eng"].map(|track| read(&format!("encrypted-cbcs/{track}.mp4")));
    check_protection(&scene, "encrypted-cbcs", &sources, "nothing").await;
    for file in ["encrypted-cenc", "encrypted-cbcs/video.mp4"] {
        let whole = in_one_fragment(&read(file));
        let scene = short(&[]);
        write(&scene.path("whole.mp4"), &whole, Duration::from_secs(1_899_000_000));
        scene.rescan();
        check_protection(&scene, "whole", &[whole], "video").await;
    }
}

/// `saio` points to the entries of `senc`, and `saiz` counts them, in every fragment (ISO/IEC 14496-12 §8.7.8, §8.7.9).
fn auxiliary_information_is_where_it_is_said(bytes: &[u8], name: &str) {
    let mut checked = 0;
    for moof in mp4::boxes(bytes, 0..bytes.len()).into_iter().filter(|top| &top.name == b"moof") {
        let traf = mp4::descend(bytes, &moof, &[b"traf"]).unwrap();
        let Some(senc) = mp4::descend(bytes, &traf, &[b"senc"]) else { continue };
        let count = mp4::u32(bytes, senc.content.start + 4);
        if count == 0 || senc.content.len() == 8 {
            continue;
        }
        let saio = mp4::descend(bytes, &traf, &[b"saio"]).expect("saio with senc");
        let saiz = mp4::descend(bytes, &traf, &[b"saiz"]).expect("saiz with senc");
        let after_type =
            |full: &mp4::Box| full.content.start + 4 + if mp4::u32(bytes, full.content.start) & 1 == 1 { 8 } else { 0 };
        let at = after_type(&saio);
        let offset = match bytes[saio.content.start] {
            0 => mp4::u32(bytes, at + 4) as usize,
            _ => mp4::u64(bytes, at + 4) as usize,
        };
        assert_eq!(mp4::u32(bytes, at), 1, "{name}");
        assert_eq!(moof.start + offset, senc.content.start + 8, "{name}: saio");
        let at = after_type(&saiz);
        assert_eq!(mp4::u32(bytes, at + 1), count, "{name}: saiz counts the samples");
        let sizes: usize = match bytes[at] {
            0 => bytes[at + 5..saiz.content.end].iter().map(|&size| usize::from(size)).sum(),
            size => usize::from(size) * count as usize,
        };
        assert_eq!(sizes, senc.content.len() - 8, "{name}: saiz adds up to senc");
        checked += 1;
    }
    assert!(checked > 0 || name.contains("audio"), "{name}: nothing to check");
}

#[tokio::test]
async fn a_pssh_of_a_megabyte_went_into_the_head_of_every_track_and_into_manifests() {
    let source = std::fs::read(testdata("encrypted-cenc")).unwrap();
    let large = rotation::atom(b"pssh", &[&[0; 4], &[7; 16], &(1u32 << 20).to_be_bytes(), &vec![7; 1 << 20]]);
    let mut movie = Vec::new();
    for top in mp4::boxes(&source, 0..source.len()) {
        let bytes = &source[top.start..top.content.end];
        match &top.name {
            b"moov" => movie.extend(rotation::with_child(bytes, &[], &large)),
            _ => movie.extend_from_slice(bytes),
        }
    }
    let scene = Scene::of(&[]);
    write(&scene.path("movie.mp4"), &movie, WRITTEN);
    scene.rescan();
    let track = &scene.dash("movie").await[0];
    assert!(scene.body(&track.init).await.len() < 1 << 16);
    assert!(scene.text("/movie/manifest.mpd").await.len() < 1 << 16);
    let warnings = scene.origin.listings(None, 1, scene.now).await.remove(0).warnings;
    assert!(warnings.iter().any(|warning| warning.contains("1 pssh boxes are left out")), "{warnings:?}");
    // It plays all the same.
    assert_eq!(scene.whole(track).await.len(), {
        let twin = Scene::of(&["encrypted-cenc"]);
        let track = &twin.dash("encrypted-cenc").await[0];
        twin.whole(track).await.len()
    });
}
