//! What targets of live have in common: encoders, and a clock, that do what the fuzzer's bytes say.
//!
//! ```text
//!   options:u8 operation…        operation: what:4 track:3 encoder:1, then what it takes
//! ```

use headwater::content::live::window::Options;
use headwater::formats::isobmff::boxes::{Boxes, write_box, write_full_box};
use headwater::formats::isobmff::fragment::{NewFragment, RunSample};
use headwater::formats::scte35;
use headwater::time::Utc;
use std::time::Duration;

/// When scripts begin.
pub const BEGINS: Utc = Utc(1_900_000_000_000);
/// The names of the tracks that are pushed.
pub const NAMES: [&str; 5] = ["v", "w", "a", "t", "cues"];
const VIDEO: &[u8] = include_bytes!("../../testdata/packaging/video/init.mp4");
const AUDIO: &[u8] = include_bytes!("../../testdata/packaging/audio/init.mp4");
const TEXT: &[u8] = include_bytes!("../../testdata/tour/text-eng.mp4");
/// Minutes of a broadcast, and no more than is run in a moment.
const OPERATIONS_MAX: usize = 24;

/// The fuzzer's bytes, one after another.
#[derive(Clone, Debug)]
pub struct Tape<'a>(pub &'a [u8]);

impl<'a> Tape<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next `len` bytes, or as many as are left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (own, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        own
    }

    /// As many bytes as the next one says.
    pub fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        Some(self.bytes(len.into()))
    }
}

/// What is done.
#[derive(Debug)]
pub enum Step {
    /// Time passes.
    Passes(Duration),
    /// Bytes come of a push.
    Pushes(Pushed),
    /// A push ends well.
    Ends(Push),
    /// A push ends otherwise.
    Breaks(Push),
}

/// A push.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// Of which track.
    pub track: &'static str,
    /// By which encoder: 0 or 1.
    pub encoder: usize,
    /// Which one it is.
    pub number: u64,
    /// Whether requests are segments.
    pub named_segments: bool,
}

/// What comes of a push at once.
#[derive(Debug)]
pub struct Pushed {
    /// Of which.
    pub push: Push,
    /// Whether these are its first.
    pub is_first: bool,
    /// Boxes, or not.
    pub bytes: Vec<u8>,
}

/// What encoders do.
#[derive(Debug)]
pub struct Script<'a> {
    tape: Tape<'a>,
    lanes: Vec<Lane>,
    pushes: u64,
    operations: usize,
}

/// What an encoder pushes of a track.
#[derive(Debug)]
struct Lane {
    push: Push,
    is_active: bool,
    is_first: bool,
    /// When its next sample is decoded, in ticks, and which one that is.
    time: u64,
    sample: u64,
    /// Ticks of a sample, samples of a chunk, and samples from one sync sample to the next.
    ticks: u32,
    samples: u8,
    gop: u8,
}

/// How the channel behaves, and what encoders do.
pub fn script(bytes: &[u8]) -> Option<(Options, Script<'_>)> {
    let mut tape = Tape(bytes);
    let said = tape.byte()?;
    let has = |bit: u8| said >> bit & 1 != 0;
    let seconds = Duration::from_secs;
    let target = seconds(if has(7) { 1 } else { 2 });
    let options = Options {
        target,
        part_target: if has(4) { Duration::from_millis(500) } else { seconds(1) },
        window: if has(5) { seconds(10) } else { seconds(30) },
        gather: if has(3) { Duration::ZERO } else { seconds(2) },
        end_after: has(2).then(|| seconds(30)),
        cadence: has(0).then(|| if has(7) { "1s".parse() } else { "2s".parse() }.expect("a cadence")),
        latency: has(6).then(|| seconds(3)),
    };
    let lanes = (0..2).flat_map(|encoder| (0..NAMES.len()).map(move |track| Lane::of(track, encoder, has(1))));
    Some((options, Script { tape, lanes: lanes.collect(), pushes: 1, operations: 0 }))
}

impl Iterator for Script<'_> {
    type Item = Vec<Step>;

    /// The next operation, as the steps that it takes.
    fn next(&mut self) -> Option<Vec<Step>> {
        self.operations += 1;
        let what = self.tape.byte().filter(|_| self.operations <= OPERATIONS_MAX)?;
        let at = usize::from(what >> 4 & 7) % NAMES.len() + usize::from(what >> 7) * NAMES.len();
        let tape = &mut self.tape;
        let lane = &mut self.lanes[at];
        Some(match what & 15 {
            // All go on for so many half seconds.
            0 => {
                let mut steps = Vec::new();
                for _ in 0..=tape.byte()? % 16 {
                    steps.push(Step::Passes(Duration::from_millis(500)));
                    for lane in self.lanes.iter_mut().filter(|lane| lane.is_active && !lane.is_of_events()) {
                        let chunk = lane.chunk();
                        steps.push(lane.pushes(chunk));
                    }
                }
                steps
            }
            1 => {
                let chunk = lane.chunk();
                vec![lane.pushes(chunk)]
            }
            // Its times go on elsewhere.
            2 => {
                let (by, is_back) = (tape.byte()?, tape.byte()? & 1 != 0);
                let second = u64::from(TIMESCALES[lane.track()]);
                let by = match by % 12 {
                    0 => 1,
                    1 => second / 20,
                    2 => second / 5,
                    3 => second,
                    4 => 2 * second,
                    5 => 7 * second,
                    6 => 30 * second,
                    7 => 3600 * second,
                    8 => 1 << 32,
                    9 => 1_900_000_000 * second,
                    10 => i64::MAX as u64 / 8,
                    _ => u64::from(lane.ticks),
                };
                let time = if is_back { lane.time.saturating_sub(by) } else { lane.time.saturating_add(by) };
                lane.time = time;
                Vec::new()
            }
            3 => {
                let ms = [10, 100, 500, 1000, 2000, 3000, 5000, 11_000, 40_000, 130_000, 3_700_000, 90_000_000];
                vec![Step::Passes(Duration::from_millis(ms[usize::from(tape.byte()?) % ms.len()]))]
            }
            4 => {
                let mut init = init(lane.track());
                // Another one of the same track, which says of its language otherwise.
                if tape.byte()? & 1 != 0
                    && let Some(mdhd) = init.windows(4).position(|kind| kind == b"mdhd")
                {
                    init[mdhd + 4 + 4 + 16] ^= 4;
                }
                lane.is_active = true;
                vec![lane.pushes(init)]
            }
            5 | 6 => {
                let push = lane.push;
                self.pushes += 1;
                (lane.push.number, lane.is_first) = (self.pushes, true);
                vec![if what & 15 == 5 { Step::Ends(push) } else { Step::Breaks(push) }]
            }
            7 => {
                lane.is_active = false;
                vec![lane.pushes(vec![0, 0, 0, 8, b'm', b'f', b'r', b'a'])]
            }
            8 => {
                let bytes = tape.counted()?.to_vec();
                vec![lane.pushes(bytes)]
            }
            // Some of what precedes its media is otherwise.
            9 => {
                let mut chunk = lane.chunk();
                for _ in 0..=tape.byte()? % 4 {
                    let (at, with) = (tape.byte()?, tape.byte()?);
                    if let Some(byte) = chunk.get_mut(usize::from(at)) {
                        *byte ^= with;
                    }
                }
                vec![lane.pushes(chunk)]
            }
            10 => {
                let time = lane.time;
                let emsg = event_message(tape, TIMESCALES[lane.track()], time)?;
                let chunk = [emsg, lane.chunk()].concat();
                vec![lane.pushes(chunk)]
            }
            11 => {
                lane.push.named_segments ^= true;
                Vec::new()
            }
            12 => {
                let (ticks, samples, gop) = (tape.byte()?, tape.byte()?, tape.byte()?);
                lane.ticks = (TIMESCALES[lane.track()] / 200 * u32::from(ticks)).max(1);
                (lane.samples, lane.gop) = (samples % 64, gop.max(1));
                Vec::new()
            }
            // A sample of a track of events.
            13 => {
                let lane = &mut self.lanes[NAMES.len() - 1];
                let sample = match tape.byte()? % 3 {
                    0 => tape.counted()?.to_vec(),
                    1 => event_message(tape, 1000, lane.time)?,
                    _ => section(tape)?,
                };
                let chunk = lane.chunk_of(&[sample.len() as u32], &sample, 1000, 0);
                vec![lane.pushes(chunk)]
            }
            // What precedes its moof.
            14 => {
                let brand = [b"lmsg", b"msdh", b"cmfs"][usize::from(tape.byte()?) % 3];
                let mut head = Vec::new();
                write_box(&mut head, b"styp", |out| out.extend_from_slice(&[&brand[..], &[0; 4], b"cmfc"].concat()));
                let chunk = [head, lane.chunk()].concat();
                vec![lane.pushes(chunk)]
            }
            // It is lost.
            _ => {
                lane.chunk();
                Vec::new()
            }
        })
    }
}

/// Ticks a second of the tracks, as their initialization segments say.
const TIMESCALES: [u32; 5] = [12_288, 12_288, 48_000, 1000, 1000];

impl Lane {
    fn of(track: usize, encoder: usize, is_of_epoch: bool) -> Lane {
        let (ticks, samples, gop) = [(512, 12, 48), (512, 12, 48), (1024, 24, 1), (500, 1, 1), (500, 1, 1)][track];
        let number = (encoder * NAMES.len() + track) as u64 + 1000;
        Lane {
            push: Push { track: NAMES[track], encoder, number, named_segments: false },
            is_active: false,
            is_first: true,
            time: if is_of_epoch { BEGINS.0 / 1000 * u64::from(TIMESCALES[track]) } else { 0 },
            sample: 0,
            ticks,
            samples,
            gop,
        }
    }

    fn track(&self) -> usize {
        NAMES.iter().position(|name| *name == self.push.track).expect("one of them")
    }

    fn is_of_events(&self) -> bool {
        self.track() == NAMES.len() - 1
    }

    fn pushes(&mut self, bytes: Vec<u8>) -> Step {
        let is_first = std::mem::take(&mut self.is_first);
        Step::Pushes(Pushed { push: self.push, is_first, bytes })
    }

    /// The next chunk.
    fn chunk(&mut self) -> Vec<u8> {
        let (count, first) = (u64::from(self.samples), self.sample);
        if self.push.track == "t" {
            let cue = b"\0\0\0\x11vttc\0\0\0\x09payla";
            return self.chunk_of(&vec![cue.len() as u32; count as usize], &cue.repeat(count as usize), self.ticks, 0);
        }
        let offset = if self.is_of_events() { 0 } else { 1024 };
        let chunk = self.chunk_of(&vec![3; count as usize], &vec![first as u8; 3 * count as usize], self.ticks, offset);
        self.sample = first + count;
        chunk
    }

    fn chunk_of(&mut self, sizes: &[u32], media: &[u8], duration: u32, offset: i32) -> Vec<u8> {
        let samples = sizes.iter().zip(self.sample..).map(|(&size, index)| {
            let is_sync = index.is_multiple_of(self.gop.into());
            let flags = if is_sync { 0x0200_0000 } else { 0x0101_0000 };
            // The edit of testdata's tracks begins at 1024.
            RunSample { duration, size, flags, composition_offset: offset }
        });
        let fragment = NewFragment {
            sequence_number: 1,
            track_id: 1,
            description_index: 1,
            base_media_decode_time: self.time,
            samples: samples.collect(),
            ..NewFragment::default()
        };
        self.time = self.time.saturating_add(u64::from(duration) * sizes.len() as u64);
        [fragment.write(), media.to_vec()].concat()
    }
}

/// An `emsg`, near to `time`.
fn event_message(tape: &mut Tape<'_>, timescale: u32, time: u64) -> Option<Vec<u8>> {
    let said = tape.byte()?;
    let (later, lasts, id) = (tape.byte()?, tape.byte()?, tape.byte()?);
    let is_cue = said & 2 == 0;
    let data = if is_cue { section(tape)? } else { tape.counted()?.to_vec() };
    let uri = if is_cue { scte35::SCHEME } else { "urn:example:<score>&" };
    let strings = [uri.as_bytes(), b"\0", &[b'0' + (said >> 2 & 1)], b"\0"].concat();
    let later = u64::from(later) * u64::from(timescale) / 4;
    let lasts = if lasts == 255 { u32::MAX } else { u32::from(lasts) * timescale / 4 };
    let mut out = Vec::new();
    write_full_box(&mut out, b"emsg", said & 1, 0, |out| {
        let times = match said & 1 {
            0 => (later as u32).to_be_bytes().to_vec(),
            _ => time.saturating_add(later).to_be_bytes().to_vec(),
        };
        let numbers = [&timescale.to_be_bytes()[..], &times, &lasts.to_be_bytes(), &u32::from(id).to_be_bytes()];
        let parts = if said & 1 == 0 { [strings, numbers.concat()] } else { [numbers.concat(), strings] };
        out.extend(parts.concat());
        out.extend(data);
    });
    Some(out)
}

/// A splice_info_section (ANSI/SCTE 35 §9.6).
fn section(tape: &mut Tape<'_>) -> Option<Vec<u8>> {
    let (said, id) = (tape.byte()?, u32::from(tape.byte()? % 4));
    let is_signal = said & 1 != 0;
    let (command, descriptors) = match is_signal {
        // A segmentation_descriptor (§10.3.3).
        true => {
            let descriptor =
                [&[2, 15][..], b"CUEI", &id.to_be_bytes(), &[0x7f, 0xbf, 0, 0, tape.byte()?, 1, 1]].concat();
            (vec![0xfe, 0, 0, 0, 1], descriptor)
        }
        // A splice_insert at once (§9.7.3).
        false => {
            let mut command =
                [&id.to_be_bytes()[..], &[0x7f | said & 0x80, 0x5f | (said & 2) << 6 | (said & 4) << 3]].concat();
            if said & 4 != 0 {
                command.extend_from_slice(&[0x7e | said & 0x80, 0, 9, tape.byte()?, 0]);
            }
            command.extend_from_slice(&[0, 1, 0, 0]);
            (command, Vec::new())
        }
    };
    let mut out =
        vec![0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, command.len() as u8, if is_signal { 6 } else { 5 }];
    out.extend(command);
    out.extend_from_slice(&(descriptors.len() as u16).to_be_bytes());
    out.extend(descriptors);
    out.extend_from_slice(&[7; 4]);
    out[2] = (out.len() - 3) as u8;
    Some(out)
}

/// The initialization segment of one of the tracks.
pub fn init(track: usize) -> Vec<u8> {
    match track {
        0 | 1 => VIDEO.to_vec(),
        2 => AUDIO.to_vec(),
        3 => {
            let boxes = Boxes::new(TEXT, 0).map_while(Result::ok);
            boxes.take_while(|own| own.kind.0 != *b"moof").flat_map(|own| own.bytes().to_vec()).collect()
        }
        _ => init_of_events(b"urim", None),
    }
}

/// `ftyp` and `moov` of a track of events in milliseconds, whose samples are what `uri` says.
pub fn init_of_events(entry: &[u8; 4], uri: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    write_box(&mut out, b"ftyp", |out| out.extend_from_slice(b"cmf2\0\0\0\0cmfc"));
    write_box(&mut out, b"moov", |out| {
        let milli = 1000u32.to_be_bytes();
        let one = 1u32.to_be_bytes();
        write_full_box(out, b"mvhd", 0, 0, |out| out.extend([&[0; 8][..], &milli, &[0; 80]].concat()));
        write_box(out, b"trak", |out| {
            write_full_box(out, b"tkhd", 0, 7, |out| out.extend([&[0; 8][..], &one, &[0; 68]].concat()));
            write_box(out, b"mdia", |out| {
                write_full_box(out, b"mdhd", 0, 0, |out| out.extend([&[0; 8][..], &milli, &[0; 8]].concat()));
                write_full_box(out, b"hdlr", 0, 0, |out| out.extend([&[0; 4][..], b"meta", &[0; 13]].concat()));
                write_box(out, b"minf", |out| {
                    write_box(out, b"stbl", |out| {
                        write_full_box(out, b"stsd", 0, 0, |out| {
                            out.extend_from_slice(&one);
                            write_box(out, entry, |out| {
                                out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
                                if let Some(uri) = uri {
                                    write_full_box(out, b"uri ", 0, 0, |out| {
                                        out.extend([uri.as_bytes(), b"\0"].concat())
                                    });
                                }
                            });
                        });
                    });
                });
            });
        });
        write_box(out, b"mvex", |out| {
            write_full_box(out, b"trex", 0, 0, |out| out.extend([1u32, 1, 0, 0, 0].map(u32::to_be_bytes).concat()));
        });
    });
    out
}
