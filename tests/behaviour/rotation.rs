//! Keys that change, and protection that is described in the rarer places: groups in the moov, auxiliary information by run.

use std::ops::Range;
use std::time::Duration;

use crate::mp4;
use crate::scene::{Scene, same, testdata, write};

const DEFAULT: &str = "10111213141516171819202122232425";
const WRITTEN: Duration = Duration::from_secs(1_899_000_000);
/// A GOP of the source, which has four of two seconds.
const GOP: usize = 48;

/// A `seig` group: the size of its initialization vectors, and what its KID is made of; a KID of zeros is in the clear.
type Group = (u8, u8);

/// How `encrypted-cenc.mp4` is written again.
#[derive(Clone)]
struct Shape {
    /// Samples of each fragment.
    fragments: Vec<usize>,
    /// Runs of each fragment.
    runs: usize,
    /// `seig` groups that stbl describes, and its default index.
    in_moov: (Vec<Group>, u32),
    /// Those that every traf describes.
    local: Vec<Group>,
    /// What samples are mapped to.
    mapping: fn(usize) -> Option<u32>,
    /// Where auxiliary information is.
    auxiliary: Auxiliary,
    /// What data_offset and saio count from.
    base: Base,
    /// Tracks, all alike.
    tracks: u32,
    /// Whether each fragment has its samples in two trafs of the one track.
    halves: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Auxiliary {
    Senc,
    /// In the mdat, with one offset, or with one for every run.
    Offset,
    OffsetEachRun,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Base {
    Moof,
    Explicit,
    Neither,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            fragments: vec![96, 96],
            runs: 1,
            in_moov: (Vec::new(), 0),
            local: Vec::new(),
            mapping: |_| None,
            auxiliary: Auxiliary::Senc,
            base: Base::Moof,
            tracks: 1,
            halves: false,
        }
    }
}

pub(crate) fn atom(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(body.len() as u32 + 8).to_be_bytes()[..], name, &body].concat()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// `parent`, a whole box, with `child` at the end of what `path` leads to.
pub(crate) fn with_child(parent: &[u8], path: &[&[u8; 4]], child: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for inner in mp4::boxes(parent, 8..parent.len()) {
        let bytes = &parent[inner.start..inner.content.end];
        match path.split_first() {
            Some((name, rest)) if inner.name == **name => content.extend(with_child(bytes, rest, child)),
            _ => content.extend_from_slice(bytes),
        }
    }
    if path.is_empty() {
        content.extend_from_slice(child);
    }
    atom(parent[4..8].try_into().unwrap(), &[&content])
}

fn described(groups: &[Group], default_index: u32) -> Vec<u8> {
    let entry = |&(iv_size, kid): &Group| {
        let head = [0, 0, u8::from(kid > 0), iv_size];
        [&words(&[20])[..], &head, &[kid; 16]].concat()
    };
    let entries: Vec<u8> = groups.iter().flat_map(entry).collect();
    let head = words(&[0x0200_0000, u32::from_be_bytes(*b"seig"), 0, default_index, groups.len() as u32]);
    atom(b"sgpd", &[&head, &entries])
}

impl Shape {
    fn group(&self, sample: usize) -> Option<Group> {
        match (self.mapping)(sample).unwrap_or(self.in_moov.1) {
            0 => None,
            index if index > 0x10000 => Some(self.local[index as usize - 0x10001]),
            index => Some(self.in_moov.0[index as usize - 1]),
        }
    }

    /// What the source says of a sample, with an initialization vector as wide as that of its group.
    fn entry(&self, index: usize, sample: &mp4::Sample) -> Vec<u8> {
        let (iv, subsamples) = sample.protection.split_at(8);
        match self.group(index) {
            None | Some((8, 1..)) => sample.protection.clone(),
            // Counter blocks are equal: an IV of 8 bytes is one of 16 whose rest is zero (ISO/IEC 23001-7 §9.3).
            Some((16, 1..)) => [iv, &[0; 8], subsamples].concat(),
            Some(_) if self.auxiliary == Auxiliary::Senc => vec![0, 0],
            Some(_) => Vec::new(),
        }
    }

    /// The movie, and the sample auxiliary information of each of its samples.
    fn write(&self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let source = std::fs::read(testdata("encrypted-cenc")).unwrap();
        let track = mp4::read(&source).into_values().next().unwrap();
        let mut out = Vec::new();
        for top in mp4::boxes(&source, 0..source.len()) {
            let bytes = &source[top.start..top.content.end];
            match &top.name {
                b"ftyp" => out.extend_from_slice(bytes),
                b"moov" => out.extend(self.moov(bytes)),
                _ => {}
            }
        }
        let entries: Vec<Vec<u8>> = track.samples.iter().enumerate().map(|(i, sample)| self.entry(i, sample)).collect();
        let mut first = 0;
        for &count in &self.fragments {
            let fragment = self.fragment(out.len(), first..first + count, &track.samples, &entries);
            out.extend(fragment);
            first += count;
        }
        assert_eq!(first, track.samples.len());
        (out, entries)
    }

    fn moov(&self, moov: &[u8]) -> Vec<u8> {
        let mut moov = moov.to_vec();
        if !self.in_moov.0.is_empty() {
            let sgpd = described(&self.in_moov.0, self.in_moov.1);
            moov = with_child(&moov, &[b"trak", b"mdia", b"minf", b"stbl"], &sgpd);
        }
        let whole = mp4::boxes(&moov, 0..moov.len()).remove(0);
        let trak = mp4::descend(&moov, &whole, &[b"trak"]).unwrap();
        let tkhd = mp4::descend(&moov, &trak, &[b"tkhd"]).unwrap();
        let mut copy = moov[trak.start..trak.content.end].to_vec();
        for id in 2..=self.tracks {
            let at = tkhd.content.start - trak.start + 12;
            copy[at..at + 4].copy_from_slice(&id.to_be_bytes());
            moov = with_child(&moov, &[], &copy);
            moov = with_child(&moov, &[b"mvex"], &atom(b"trex", &[&words(&[0, id, 1, 0, 0, 0])]));
        }
        moov
    }

    fn fragment(&self, start: usize, range: Range<usize>, samples: &[mp4::Sample], entries: &[Vec<u8>]) -> Vec<u8> {
        let middle = range.start + range.len() / 2;
        let trafs = match self.halves {
            true => vec![(1, range.start..middle), (1, middle..range.end)],
            false => (1..=self.tracks).map(|track| (track, range.clone())).collect(),
        };
        let media_of = |range: &Range<usize>| -> Vec<u8> {
            samples[range.clone()].iter().flat_map(|sample| sample.bytes.clone()).collect()
        };
        let media: Vec<u8> = trafs.iter().flat_map(|(_, range)| media_of(range)).collect();
        let information: Vec<u8> = trafs.iter().flat_map(|(_, range)| entries[range.clone()].concat()).collect();
        let traf = |index: usize, moof_len: usize| {
            let (track, range) = trafs[index].clone();
            let runs: Vec<_> = (0..self.runs)
                .map(|run| {
                    let at = |run| range.start + range.len() * run / self.runs;
                    at(run)..at(run + 1)
                })
                .collect();
            // The data of all tracks, then the auxiliary information of all.
            let before = &trafs[..index];
            let data = start + moof_len + 8 + before.iter().map(|(_, range)| media_of(range).len()).sum::<usize>();
            let mut auxiliary = start
                + moof_len
                + 8
                + media.len()
                + before.iter().map(|(_, range)| entries[range.clone()].concat().len()).sum::<usize>();
            let (base, flags, explicit) = match self.base {
                Base::Moof => (start, 0x02_0000, Vec::new()),
                Base::Explicit => (start / 2, 1, ((start / 2) as u64).to_be_bytes().to_vec()),
                Base::Neither if track == 1 => (start, 0, Vec::new()),
                Base::Neither => (data, 0, Vec::new()),
            };
            let mut parts = vec![
                atom(b"tfhd", &[&words(&[flags, track]), &explicit]),
                atom(b"tfdt", &[&words(&[0, samples[..range.start].iter().map(|s| s.duration).sum()])]),
            ];
            let (mut position, mut offsets) = (data, Vec::new());
            for run in &runs {
                let row = |sample: &mp4::Sample| {
                    let flags: u32 = if sample.is_sync { 0x0200_0000 } else { 0x0101_0000 };
                    let offset = (sample.presented - sample.decode) as u32;
                    words(&[sample.duration, sample.bytes.len() as u32, flags, offset])
                };
                let rows: Vec<u8> = samples[run.clone()].iter().flat_map(row).collect();
                let head = words(&[0x0100_0f01, run.len() as u32, (position - base) as u32]);
                parts.push(atom(b"trun", &[&head, &rows]));
                position += samples[run.clone()].iter().map(|sample| sample.bytes.len()).sum::<usize>();
                offsets.push((auxiliary - base) as u32);
                auxiliary += entries[run.clone()].concat().len();
            }
            let count = range.len() as u32;
            let sizes: Vec<u8> = entries[range.clone()].iter().map(|entry| entry.len() as u8).collect();
            parts.push(atom(b"saiz", &[&[0; 5], &words(&[count]), &sizes]));
            match self.auxiliary {
                // Heads of moof and traf, mfhd and the boxes so far; then saio itself and the head of the senc.
                Auxiliary::Senc => offsets = vec![(8 + 16 + 8 + parts.concat().len() + 20 + 16) as u32],
                Auxiliary::Offset => offsets.truncate(1),
                Auxiliary::OffsetEachRun => {}
            }
            parts.push(atom(b"saio", &[&words(&[0, offsets.len() as u32]), &words(&offsets)]));
            if self.auxiliary == Auxiliary::Senc {
                parts.push(atom(b"senc", &[&words(&[2, count]), &entries[range.clone()].concat()]));
            }
            if !self.local.is_empty() {
                parts.push(described(&self.local, 0));
            }
            let mapping: Vec<u32> = range.clone().map_while(self.mapping).flat_map(|index| [1, index]).collect();
            if !mapping.is_empty() {
                let head = [0, u32::from_be_bytes(*b"seig"), mapping.len() as u32 / 2];
                parts.push(atom(b"sbgp", &[&words(&head), &words(&mapping)]));
            }
            // Groups that say nothing of keys: every second sample rolls.
            let roll = u32::from_be_bytes(*b"roll");
            let rolls: Vec<u32> = range.clone().flat_map(|sample| [1, 0x10001 * (sample as u32 % 2)]).collect();
            parts.push(atom(b"sgpd", &[&words(&[0x0100_0000, roll, 2, 1]), &[0xff, 0xff]]));
            parts.push(atom(b"sbgp", &[&words(&[0, roll, count]), &words(&rolls)]));
            atom(b"traf", &[&parts.concat()])
        };
        let moof = |len: usize| {
            let trafs: Vec<u8> = (0..trafs.len()).flat_map(|index| traf(index, len)).collect();
            atom(b"moof", &[&atom(b"mfhd", &[&words(&[0, 1])]), &trafs])
        };
        let auxiliary = if self.auxiliary == Auxiliary::Senc { Vec::new() } else { information };
        // A moof is as long whatever it points to.
        [moof(moof(1 << 20).len()), atom(b"mdat", &[&media, &auxiliary])].concat()
    }
}

/// Serves `shape`, and requires that every sample comes with what is said of it, and every cut fragment with its groups.
async fn serve(shape: &Shape, target_s: u64) -> Scene {
    let scene = Scene::with(&[], |library, options| {
        library.segment_target = Duration::from_secs(target_s);
        options.key_uri = Some("https://keys.example/{kid}".to_owned());
    });
    let (movie, entries) = shape.write();
    write(&scene.path("movie.mp4"), &movie, WRITTEN);
    scene.rescan();
    let source = std::fs::read(testdata("encrypted-cenc")).unwrap();
    let original = mp4::read(&source).into_values().next().unwrap();
    let tracks = scene.dash("movie").await;
    assert_eq!(tracks.len(), shape.tracks as usize);
    for track in tracks {
        let whole = scene.whole(&track).await;
        let served = mp4::read(&whole).into_values().next().unwrap();
        assert_eq!(served.samples.len(), original.samples.len());
        for (index, (served, original)) in served.samples.iter().zip(&original.samples).enumerate() {
            same(&served.bytes, &original.bytes, "media");
            let said = &entries[index];
            // A senc has a count of subsamples for every sample, also where the source needed none.
            let expected = if said.is_empty() { &[0, 0] } else { &said[..] };
            assert_eq!(served.protection, expected, "sample {index} of {}", track.id);
        }
        let mut mapped = [Vec::new(), Vec::new()];
        for moof in mp4::boxes(&whole, 0..whole.len()).into_iter().filter(|top| &top.name == b"moof") {
            let traf = mp4::descend(&whole, &moof, &[b"traf"]).unwrap();
            let count: usize = mp4::children(&whole, &traf, b"trun")
                .map(|trun| mp4::u32(&whole, trun.content.start + 4) as usize)
                .sum();
            for (mapped, kind) in mapped.iter_mut().zip([b"seig", b"roll"]) {
                let until = mapped.len() + count;
                for sbgp in mp4::children(&whole, &traf, b"sbgp") {
                    let at = sbgp.content.start;
                    if &whole[at + 4..at + 8] != kind {
                        continue;
                    }
                    for run in 0..mp4::u32(&whole, at + 8) as usize {
                        let (length, index) =
                            (mp4::u32(&whole, at + 12 + run * 8), mp4::u32(&whole, at + 16 + run * 8));
                        mapped.extend(std::iter::repeat_n(Some(index), length as usize));
                    }
                }
                assert!(mapped.len() <= until, "more samples mapped than there are");
                mapped.resize(until, None);
            }
        }
        let [keys, rolls] = mapped;
        assert_eq!(keys, (0..original.samples.len()).map(shape.mapping).collect::<Vec<_>>());
        assert_eq!(rolls, (0..original.samples.len()).map(|n| Some(0x10001 * (n as u32 % 2))).collect::<Vec<_>>());
    }
    scene
}

/// The media playlist's segments with the KIDs of the KEYs before them.
async fn keys(scene: &Scene) -> Vec<String> {
    let playlist = &scene.hls("movie").await.playlists[0];
    let mut found = Vec::new();
    for line in playlist.text.lines() {
        if let Some((_, rest)) = line.split_once("URI=\"https://keys.example/") {
            let kid = rest[..32].to_owned();
            if found.last() != Some(&kid) {
                found.push(kid);
            }
        } else if line.ends_with(".m4s") {
            found.push(line.to_owned());
        }
    }
    found
}

fn kid(byte: u8) -> String {
    format!("{byte:02x}").repeat(16)
}

#[tokio::test]
async fn groups_that_the_moov_describes_name_keys_and_widths() {
    // Explicitly none, two groups, and beyond the runs the default one.
    let mapping = |sample: usize| match sample / GOP {
        0 => Some(0),
        1 => Some(1),
        2 => Some(2),
        _ => None,
    };
    let shape = Shape { in_moov: (vec![(16, 0xa1), (8, 0xa2)], 1), mapping, ..Shape::default() };
    for target_s in [1, 6] {
        let scene = serve(&shape, target_s).await;
        let names = ["0.m4s", "24576.m4s", "49152.m4s", "73728.m4s"];
        let expected: Vec<String> = [DEFAULT, &kid(0xa1), &kid(0xa2), &kid(0xa1)]
            .iter()
            .zip(names)
            .flat_map(|(kid, name)| [(*kid).to_owned(), name.to_owned()])
            .collect();
        assert_eq!(keys(&scene).await, expected, "target {target_s} s");
    }
}

#[tokio::test]
async fn a_default_group_of_the_moov_holds_where_a_fragment_has_no_groups() {
    let shape = Shape { in_moov: (vec![(16, 0xa1)], 1), ..Shape::default() };
    let scene = serve(&shape, 2).await;
    let keys = keys(&scene).await;
    assert_eq!(keys.iter().filter(|line| !line.ends_with(".m4s")).collect::<Vec<_>>(), [&kid(0xa1)]);
}

#[tokio::test]
async fn a_key_that_changes_inside_a_source_fragment_begins_a_segment() {
    let mapping = |sample: usize| Some(if sample < 3 * GOP { 0x10001 } else { 0x10002 });
    let shape = Shape { fragments: vec![192], local: vec![(8, 0xb1), (16, 0xb2)], mapping, ..Shape::default() };
    let scene = serve(&shape, 8).await;
    assert_eq!(keys(&scene).await, [kid(0xb1), "0.m4s".to_owned(), kid(0xb2), "73728.m4s".to_owned()]);
}

#[tokio::test]
async fn a_clear_stretch_changes_no_key() {
    // In the clear, a key, in the clear, another key.
    let mapping = |sample: usize| Some([0x10003, 0x10001, 0x10003, 0x10002][sample / GOP]);
    for auxiliary in [Auxiliary::Senc, Auxiliary::OffsetEachRun] {
        let local = vec![(8, 0xb1), (8, 0xb2), (0, 0)];
        let shape = Shape { local, mapping, auxiliary, ..Shape::default() };
        let scene = serve(&shape, 2).await;
        let expected = [&kid(0xb1), "0.m4s", "24576.m4s", "49152.m4s", &kid(0xb2), "73728.m4s"];
        assert_eq!(keys(&scene).await, expected);
    }
}

#[tokio::test]
async fn a_key_that_changes_between_sync_samples_is_no_hls_and_says_why() {
    let mapping = |sample: usize| Some(if sample < GOP + 7 { 0x10001 } else { 0x10002 });
    let shape = Shape { local: vec![(8, 0xb1), (8, 0xb2)], mapping, ..Shape::default() };
    let scene = serve(&shape, 2).await;
    let (code, message) = scene.get("/movie/master.m3u8").await.problem(404, "public, max-age=5");
    assert_eq!(code, "no_hls");
    assert!(message.contains("its key changes inside segment 24576"), "{message}");
    let listing = &scene.origin.listings(None, 1, scene.now).await[0];
    assert!(listing.hls.is_none() && listing.dash.is_some(), "{listing:?}");
}

#[tokio::test]
async fn auxiliary_information_has_one_offset_or_one_a_run_from_wherever_data_count() {
    for auxiliary in [Auxiliary::Offset, Auxiliary::OffsetEachRun] {
        for (base, tracks) in [(Base::Moof, 1), (Base::Explicit, 1), (Base::Neither, 2)] {
            for runs in [1, 5] {
                let shape = Shape { auxiliary, base, tracks, runs, ..Shape::default() };
                serve(&shape, 2).await;
            }
        }
    }
}

#[tokio::test]
async fn the_second_of_two_equal_trafs_of_a_track_had_the_initialization_vectors_of_the_first() {
    for auxiliary in [Auxiliary::Senc, Auxiliary::OffsetEachRun] {
        let shape = Shape { halves: true, auxiliary, ..Shape::default() };
        serve(&shape, 2).await;
    }
}

#[tokio::test]
async fn a_clip_begins_with_the_key_that_holds_there_and_names_none_of_what_it_leaves_out() {
    // The second key in the middle of the first fragment, the third in the middle of the second: 2 s to 6 s have one key.
    let mapping = |sample: usize| Some([0x10001, 0x10002, 0x10002, 0x10003][sample / GOP]);
    let local = vec![(8, 0xb1), (8, 0xb2), (8, 0xb3)];
    let (movie, entries) = Shape { local, mapping, ..Shape::default() }.write();
    let toml = "[[clip]]\nfiles = ['x.mp4']\nin = 2\nout = 6\n[[clip]]\nfiles = ['x.mp4']\nin = 4\n";
    let scene = Scene::with(&[], |library, options| {
        library.segment_target = Duration::from_secs(2);
        options.key_uri = Some("https://keys.example/{kid}".to_owned());
    });
    write(&scene.path("movie/x.mp4"), &movie, WRITTEN);
    write(&scene.path("movie/presentation.toml"), toml.as_bytes(), WRITTEN);
    scene.rescan();
    let named: Vec<String> =
        keys(&scene).await.into_iter().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
    let [b2, b3] = [0xb2, 0xb3].map(kid);
    // Each clip names its keys anew.
    let expected = [&b2, "24576.m4s", "49152.m4s", &b2, "49152.m4s", &b3, "73728.m4s"];
    assert_eq!(named, expected);
    let mpd = scene.dash("movie").await;
    for (clip, samples) in mpd.iter().zip([GOP..3 * GOP, 2 * GOP..4 * GOP]) {
        let served = mp4::read(&scene.whole(clip).await).into_values().next().unwrap();
        let said: Vec<_> = served.samples.iter().map(|sample| &sample.protection).collect();
        assert_eq!(said, entries[samples].iter().collect::<Vec<_>>());
    }
}
