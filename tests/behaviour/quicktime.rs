//! QuickTime's sample descriptions are served as ISO/IEC 14496-12 has them: players read no others.

use crate::live::{Encoder, Studio, quick, run};
use crate::mp4::{self, Box};
use crate::scene::{NOW, Scene, WRITTEN, testdata, write};

/// What is made of the type and payload of a sample entry.
type Change<'a> = dyn Fn(&[u8; 4], &[u8]) -> Vec<u8> + 'a;

/// `bytes` with each sample entry as `change` makes it of its type and payload. The `moov` may lie last, or before fragments that count
/// from their `moof`: nothing that counts bytes is changed.
fn with_entries(bytes: &[u8], change: &Change<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    mp4::boxes(bytes, 0..bytes.len()).iter().for_each(|found| rewrite(bytes, found, change, &mut out));
    out
}

fn rewrite(bytes: &[u8], found: &Box, change: &Change<'_>, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    match &found.name {
        b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" => {
            mp4::boxes(bytes, found.content.clone())
                .iter()
                .for_each(|child| rewrite(bytes, child, change, &mut payload));
        }
        b"stsd" => {
            let entries = found.content.start + 8..found.content.end;
            payload.extend_from_slice(&bytes[found.content.start..entries.start]);
            for entry in mp4::boxes(bytes, entries) {
                payload.extend(boxed(&entry.name, &change(&entry.name, &bytes[entry.content.clone()])));
            }
        }
        _ => return out.extend_from_slice(&bytes[found.start..found.content.end]),
    }
    out.extend(boxed(&found.name, &payload));
}

fn boxed(name: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32 + 8).to_be_bytes(), &name[..], payload].concat()
}

/// The payload of a sound description of version 1 or 2, as QuickTime writes it, of that of an AudioSampleEntry.
fn quicktime_sound(version: u8, name: &[u8; 4], iso: &[u8]) -> Vec<u8> {
    let mut out = iso[..8].to_vec();
    out.extend([0, version, 0, 1]);
    out.extend(b"appl");
    let (channels, rate) = (&iso[16..18], &iso[24..28]);
    if version == 1 {
        out.extend_from_slice(channels);
        out.extend([0, 16, 0xff, 0xfe, 0, 0]);
        out.extend_from_slice(rate);
        out.extend([1024u32, 0, 0, 2].iter().flat_map(|field| field.to_be_bytes()));
    } else {
        out.extend([0, 3, 0, 16, 0xff, 0xfe, 0, 0, 0, 1, 0, 0, 0, 0, 0, 72]);
        out.extend(f64::from(u16::from_be_bytes([rate[0], rate[1]])).to_be_bytes());
        out.extend([0, 0]);
        out.extend_from_slice(channels);
        out.extend([0x7f00_0000u32, 0, 0, 0, 1024].iter().flat_map(|field| field.to_be_bytes()));
    }
    for child in mp4::boxes(iso, 28..iso.len()) {
        let bytes = &iso[child.start..child.content.end];
        if child.name == *b"esds" {
            let format = boxed(b"frma", if name == b"enca" { b"mp4a" } else { name });
            let wave = [&format[..], &boxed(b"mp4a", &[0; 4]), bytes, &boxed(&[0; 4], &[])].concat();
            out.extend(boxed(b"wave", &wave));
        } else {
            out.extend_from_slice(bytes);
        }
    }
    out.extend(boxed(b"chan", &[0; 16]));
    out.extend([0; 4]);
    out
}

fn quicktime(version: u8) -> impl Fn(&[u8; 4], &[u8]) -> Vec<u8> {
    move |name, payload| match name {
        b"mp4a" | b"enca" => quicktime_sound(version, name, payload),
        b"avc1" | b"encv" => [payload, &[0; 4]].concat(),
        _ => payload.to_vec(),
    }
}

#[tokio::test]
async fn sound_and_pictures_of_quicktime_are_described_as_those_of_mp4() {
    for (name, version) in [
        ("progressive", 1),
        ("progressive", 2),
        ("muxed", 1),
        ("encrypted-cbcs/audio-eng", 1),
        ("encrypted-cbcs/audio-eng", 2),
    ] {
        let movie = std::fs::read(testdata(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let changed = with_entries(&movie, &quicktime(version));
        assert!(changed.len() > movie.len() + 60);
        write(&dir.path().join("film.mov"), &changed, WRITTEN);
        let scene = Scene::at(dir, |_, _| {});
        let sources = mp4::read(&movie);
        let dash = scene.dash("film").await;
        assert_eq!(dash.len(), sources.len(), "{name}");
        let plain = Scene::of(&[name]).dash(name.rsplit('/').next().unwrap()).await;
        for (track, plain) in dash.iter().zip(plain) {
            let served = mp4::read(&scene.whole(track).await).into_values().next().unwrap();
            let source = &sources[&served.id];
            assert_eq!(served.stsd, source.stsd, "{name}/{}, version {version}", track.id);
            assert_eq!(served.samples.len(), source.samples.len(), "{name}/{}", track.id);
            assert_eq!(track.codecs, plain.codecs, "{name}/{}", track.id);
        }
    }
}

#[tokio::test]
async fn pushed_sound_of_quicktime_is_described_as_that_of_mp4() {
    for version in [1, 2] {
        let mut studio = Studio::with(quick());
        let mut encoder = Encoder::audio("a");
        let plain = mp4::read(&encoder.init).into_values().next().unwrap();
        encoder.init = with_entries(&encoder.init, &quicktime(version));
        encoder.begin(&studio);
        run(&mut studio, &mut [&mut encoder], 11.3, NOW);
        let init = studio.dash().await[0].init.clone();
        let served = mp4::read(&studio.get(&init).await.body).into_values().next().unwrap();
        assert_eq!(served.stsd, plain.stsd, "version {version}");
    }
}
