//! Files that mean harm: every file of testdata with boxes resized, renamed, cut, doubled or taken out, tables cut or longer than
//! they are, and with counts and times pushed to the ends of their ranges, through the whole origin. Nothing may panic, hang or
//! take more memory than the file is worth, and whatever is answered is well formed.
//!
//! `HOSTILE_ROUNDS=500 cargo test --release --test hostile` looks longer; a failure names the file and the seed that rerun it.

#![expect(clippy::print_stdout, reason = "the figures are worth reading")]

mod counted;

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use counted::{alone, peak_of};
use headwater::content::library::{self, Library};
use headwater::content::vod::{self, Opened, Part, Said};
use headwater::origin::options::Options;
use headwater::origin::serve::Origin;
use headwater::time::Utc;
use http::{Request, StatusCode};
use http_body_util::BodyExt;

/// Mutations of each file, unless HOSTILE_ROUNDS says otherwise: what a test run can spare.
const ROUNDS: u64 = 30;
/// Longer than any of these tiny files takes, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Segments asked for of each playlist.
const SEGMENTS: usize = 4;

/// What serving one file of these, all that it has and one request after another, may take at its peak: sixteen times the largest, a
/// cache that keeps all of it, and what a runtime has. What a count claims without anything written down for each comes to more only
/// where there is a hole of media for it, which none of these has.
const PEAK_BYTES_MAX: i64 = 24 << 20;
/// What a sample takes at most while its track is read, if nothing but a count speaks of it: its size and its composition offset, and a share of
/// what opening takes besides.
const CLAIMED_SAMPLE_BYTES_MAX: i64 = 12;
/// How many of those a movie may have: the limit that `content::vod` names.
const CLAIMED_SAMPLES_MAX: u32 = 1 << 22;

/// A small generator of its own, so that a seed names the same mutation for ever (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides.max(1)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }
}

const CONTAINERS: &[&[u8; 4]] = &[
    b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf", b"udta", b"sinf", b"schi", b"dinf",
];

/// All boxes below `within`, those that hold boxes included.
fn boxes(bytes: &[u8], within: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut at = within.start;
    while at + 8 <= within.end {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if size < 8 || at + size > within.end {
            return;
        }
        found.push(at..at + size);
        let kind: &[u8; 4] = bytes[at + 4..at + 8].try_into().unwrap();
        if CONTAINERS.contains(&kind) {
            boxes(bytes, at + 8..at + size, found);
        } else if kind == b"stsd" && size > 16 {
            boxes(bytes, at + 16..at + size, found);
        }
        at += size;
    }
}

/// Boxes with a count, where it stands in the payload, and the bytes of what is counted (0: they differ).
const TABLES: &[(&[u8; 4], usize, usize)] = &[
    (b"stts", 4, 8),
    (b"ctts", 4, 8),
    (b"stsc", 4, 12),
    (b"stco", 4, 4),
    (b"co64", 4, 8),
    (b"stss", 4, 4),
    (b"stsz", 8, 4),
    (b"elst", 4, 12),
    (b"stsd", 4, 0),
    (b"trun", 4, 0),
    (b"senc", 4, 0),
    (b"saiz", 5, 1),
    (b"saio", 4, 4),
    (b"sgpd", 8, 0),
    (b"sbgp", 8, 8),
    (b"pssh", 28, 1),
];

/// Boxes with times or scales of time, and where in the payload.
const TIMES: &[(&[u8; 4], &[usize])] = &[
    (b"mvhd", &[12, 16]),
    (b"mdhd", &[12, 16]),
    (b"tkhd", &[20]),
    (b"elst", &[8, 12]),
    (b"stts", &[8, 12]),
    (b"ctts", &[8, 12]),
    (b"tfdt", &[4, 8]),
    (b"tfhd", &[8, 12]),
    (b"trex", &[12, 16]),
    (b"trun", &[12, 16, 20, 24]),
    (b"emsg", &[8, 12, 16]),
];

/// Times at the ends of what their fields hold, signed and unsigned, and a little off.
const TIME_EXTREMES: &[u32] =
    &[0, 1, 0x7fff_ffff, 0x7fff_fffe, 0x8000_0000, 0x8000_0001, 0xffff_ffff, 0xffff_fffe, 0x3fff_ffff, 90_000];

/// Cuts `range` out of the box `hit`, and takes its length off that of every box around it: a table that ends too early, in a file that is
/// well formed.
fn cut_out(bytes: &mut Vec<u8>, all: &[Range<usize>], hit: &Range<usize>, range: Range<usize>) {
    for around in all.iter().filter(|b| b.start <= hit.start && hit.end <= b.end) {
        let size = (around.len() - range.len()) as u32;
        bytes[around.start..around.start + 4].copy_from_slice(&size.to_be_bytes());
    }
    bytes.drain(range);
}

/// Does harm to one of the boxes of `all` that `of` finds something in, if there is one: what is found, and the box.
fn one_of<T>(
    bytes: &[u8],
    all: &[Range<usize>],
    dice: &mut Dice,
    of: impl Fn(&[u8]) -> Option<T>,
) -> Option<(T, Range<usize>)> {
    let fit: Vec<&Range<usize>> = all.iter().filter(|b| of(&bytes[b.start + 4..b.start + 8]).is_some()).collect();
    let hit = fit.get(dice.roll(fit.len()))?;
    Some((of(&bytes[hit.start + 4..hit.start + 8])?, (*hit).clone()))
}

const EXTREMES: &[u32] = &[0, 1, 2, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff, 0x0100_0000, 0x0001_0000];

/// Does harm to `bytes`, once or a few times.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..1 + dice.roll(3) {
        let mut all = Vec::new();
        boxes(bytes, 0..bytes.len(), &mut all);
        // Media is none of the index: it is hit seldom.
        all.retain(|b| &bytes[b.start + 4..b.start + 8] != b"mdat" || b.len() < 9);
        if all.is_empty() {
            return;
        }
        let hit = all[dice.roll(all.len())].clone();
        let payload = hit.start + 8..hit.end;
        let words = payload.len() / 4;
        match dice.roll(12) {
            0 => {
                let size = dice.pick(EXTREMES).wrapping_add(dice.roll(32) as u32);
                bytes[hit.start..hit.start + 4].copy_from_slice(&size.to_be_bytes());
            }
            1 => {
                let size = (hit.len() as i64 + dice.roll(33) as i64 - 16).max(0) as u32;
                bytes[hit.start..hit.start + 4].copy_from_slice(&size.to_be_bytes());
            }
            2 => {
                let kind = dice
                    .pick(&[b"free", b"moof", b"traf", b"trun", b"tfdt", b"stsd", b"stts", b"elst", b"senc", b"uuid"]);
                bytes[hit.start + 4..hit.start + 8].copy_from_slice(kind);
            }
            3 if words > 0 => {
                for _ in 0..1 + dice.roll(4) {
                    let at = payload.start + 4 * dice.roll(words);
                    bytes[at..at + 4].copy_from_slice(&dice.pick(EXTREMES).to_be_bytes());
                }
            }
            4 if !payload.is_empty() => {
                for _ in 0..8 {
                    let at = payload.start + dice.roll(payload.len());
                    bytes[at] = dice.roll(256) as u8;
                }
            }
            5 => drop(bytes.drain(hit)),
            6 => {
                let copy = bytes[hit.clone()].to_vec();
                bytes.splice(hit.end..hit.end, copy);
            }
            7 | 8 => {
                let table = |kind: &[u8]| TABLES.iter().find(|(name, ..)| *name == kind);
                let Some((&(_, at, _), hit)) = one_of(bytes, &all, dice, table) else { continue };
                let at = hit.start + 8 + at;
                let Some(&written) = bytes.get(at..at + 4).and_then(|b| b.first_chunk::<4>()) else { continue };
                let written = u32::from_be_bytes(written);
                let more = [written.wrapping_add(1), written.wrapping_sub(1), written.wrapping_mul(2), 0x1000, 1 << 20];
                let count = if dice.roll(2) == 0 { dice.pick(&more) } else { dice.pick(EXTREMES) };
                bytes[at..at + 4].copy_from_slice(&count.to_be_bytes());
            }
            9 => {
                let table = |kind: &[u8]| TABLES.iter().find(|(name, ..)| *name == kind);
                let Some((&(_, _, each), hit)) = one_of(bytes, &all, dice, table) else { continue };
                let each = each.max(4);
                let entries = hit.len().saturating_sub(24) / each;
                if entries > 0 {
                    let from = hit.end - each * (1 + dice.roll(entries));
                    cut_out(bytes, &all, &hit, from..hit.end);
                }
            }
            10 => {
                let time = |kind: &[u8]| TIMES.iter().find(|(name, _)| *name == kind);
                let Some((&(_, places), hit)) = one_of(bytes, &all, dice, time) else { continue };
                let at = hit.start + 8 + dice.pick(places);
                if at + 4 <= hit.end {
                    bytes[at..at + 4].copy_from_slice(&dice.pick(TIME_EXTREMES).to_be_bytes());
                }
            }
            _ => {
                let at = dice.roll(bytes.len());
                bytes.truncate(at);
            }
        }
    }
}

fn media_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            media_files(&path, found);
        } else if path.extension().is_some_and(|e| e == "mp4") {
            found.push(path);
        }
    }
    found.sort();
}

const NOW: Utc = Utc(1_900_000_000_000);

/// Asks for everything that `path`, served alone, leads to; says whether any of it was there.
async fn ask_for_all(path: &Path) -> bool {
    let mut options = library::Options::new(path.to_path_buf());
    options.segment_target = Duration::from_secs(2);
    let library = Arc::new(Library::new(options));
    library.rescan(NOW).unwrap();
    let options = Options { key_uri: Some("https://keys.example/{kid}".to_owned()), ..Options::default() };
    let origin = Arc::new(Origin::new(library, options, Arc::default()));
    let name = path.file_stem().unwrap().to_str().unwrap();
    if let Some(master) = get(&origin, &format!("/{name}/master.m3u8")).await {
        for line in uris(&master) {
            let playlist = format!("/{name}/{line}");
            let Some(text) = get(&origin, &playlist).await else { continue };
            let folder = playlist.rsplit_once('/').unwrap().0;
            for part in uris(&text).into_iter().take(SEGMENTS).chain(["init.mp4".to_owned()]) {
                get(&origin, &format!("{folder}/{part}")).await;
            }
        }
    }
    origin.listings(None, 10, NOW).await;
    get(&origin, &format!("/{name}/manifest.mpd")).await.is_some()
}

fn uris(playlist: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(playlist).expect("playlists are UTF-8");
    let quoted = text
        .lines()
        .filter(|l| l.starts_with("#EXT-X-MEDIA:") || l.starts_with("#EXT-X-I-FRAME-STREAM-INF:"))
        .filter_map(|l| Some(l.split_once("URI=\"")?.1.split_once('"')?.0));
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).chain(quoted).map(str::to_owned).collect()
}

/// The body of a 200; what else is answered must be an error as they all are.
async fn get(origin: &Arc<Origin>, path: &str) -> Option<Vec<u8>> {
    let request = Request::builder().uri(path).body(()).unwrap();
    let response = origin.serve(&request, NOW).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(head.headers["content-length"], body.len().to_string(), "{path}");
    assert!(head.headers.contains_key("cache-control"), "{path}");
    if head.status == StatusCode::OK {
        return Some(body.to_vec());
    }
    let said: serde_json::Value = serde_json::from_slice(&body).expect("errors are JSON");
    assert_ne!(said["error"], "lost", "{path}: the making panicked");
    assert!(matches!(head.status.as_u16(), 404 | 500 | 503), "{path}: {}", head.status);
    None
}

#[test]
fn mutated_files_neither_panic_nor_hang() {
    let rounds = std::env::var("HOSTILE_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut files = Vec::new();
    media_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata"), &mut files);
    assert!(files.len() > 20, "testdata is there");
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut served, mut refused) = (0, 0);
    let mut most = 0;
    let _alone = alone();
    for (index, file) in files.iter().enumerate() {
        let whole = std::fs::read(file).unwrap();
        for round in 0..rounds {
            let seed = (index as u64 + 1) << 32 | (round + 1);
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut Dice(seed));
            let path = folder.path().join("mutant.mp4");
            std::fs::write(&path, &bytes).unwrap();
            let (done, peak) = peak_of(|| {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    runtime.block_on(async { tokio::time::timeout(PATIENCE, ask_for_all(&path)).await })
                }))
            });
            assert!(peak <= PEAK_BYTES_MAX, "{} with seed {seed:#x} took {peak} bytes", file.display());
            most = most.max(peak);
            match done {
                Ok(Ok(true)) => served += 1,
                Ok(Ok(false)) => refused += 1,
                _ => panic!("{} with seed {seed:#x}: it panicked or hung", file.display()),
            }
        }
    }
    println!("{served} mutants were served, {refused} refused; serving one took {most} bytes at most");
    // Harm that is never noticed, or always, would show nothing.
    assert!(served > files.len() && refused > files.len(), "{served} mutants were served, {refused} refused");
}

/// A movie whose first track claims `count` samples of a byte each, and has a hole of as many bytes.
fn write_claim(path: &Path, count: u32) {
    let mut moov = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/progressive.mp4")).unwrap();
    let at = moov.windows(4).rposition(|kind| kind == b"moov").unwrap() - 4;
    moov.drain(..at);
    let mut all = Vec::new();
    boxes(&moov, 0..moov.len(), &mut all);
    let find = |kind: &[u8; 4]| all.iter().find(|b| &moov[b.start + 4..b.start + 8] == kind).cloned().unwrap();
    let (stsz, stsc, stco, elst) = (find(b"stsz"), find(b"stsc"), find(b"stco"), find(b"elst"));
    let mut put = |at: usize, values: &[u32]| {
        for (at, value) in (at..).step_by(4).zip(values) {
            moov[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
    };
    put(stsz.start + 12, &[1, count]);
    // One chunk, at the beginning of the mdat; what the second track names lies somewhere in it.
    put(stsc.start + 12, &[1, 1, count, 1]);
    put(stco.start + 12, &[1, 16]);
    put(elst.start + 16, &[0]);
    let head = [&[0, 0, 0, 1][..], b"mdat", &(u64::from(count) + 16).to_be_bytes()].concat();
    let file = std::fs::File::create(path).unwrap();
    file.write_all_at(&head, 0).unwrap();
    file.write_all_at(&moov, u64::from(count) + 16).unwrap();
}

#[test]
fn a_count_alone_takes_no_more_than_its_limit() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let open = |count: u32| {
        let path = folder.path().join("claim.mp4");
        write_claim(&path, count);
        let part = Part { name: "claim".to_owned(), files: vec![path], said: Said::default() };
        peak_of(|| {
            vod::open(&headwater::content::storage::Storage::Local, &[part], Vec::new(), &[], Duration::from_secs(2))
        })
    };
    let samples = |opened: &Opened| opened.presentation.tracks().map(|track| track.samples.len()).collect::<Vec<_>>();
    let claimed = 1 << 20;
    let (opened, peak) = open(claimed);
    let all = samples(&opened.unwrap());
    assert_eq!(all.len(), 2);
    assert!(all.contains(&claimed), "{all:?}");
    println!("{claimed} claimed samples took {peak} bytes at the peak");
    assert!(peak < i64::from(claimed) * CLAIMED_SAMPLE_BYTES_MAX, "{peak} bytes");
    let (opened, peak) = open(CLAIMED_SAMPLES_MAX + 1);
    let opened = opened.unwrap();
    assert_eq!(samples(&opened).len(), 1, "the sound is served");
    let warnings = &opened.presentation.warnings;
    assert!(warnings.iter().any(|warning| warning.contains("samples of the movie are claimed")), "{warnings:?}");
    assert!(peak < 1 << 20, "{peak} bytes");
}
