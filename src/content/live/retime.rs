//! The decode time of a chunk, changed where it stands; and times of 32 bits that began anew, as a clock does at midnight.
//!
//! ```text
//!   moof( mfhd traf( tfhd tfdt trun… saio ) ) mdat      a tfdt that grows moves the mdat: trun and saio count from the moof
//! ```

use bytes::Bytes;

use crate::content::live::receiver::RawChunk;
use crate::formats::error::Malformed;
use crate::formats::isobmff::boxes::{BoxRef, Boxes};

/// What a `tfdt` of version 0 can't hold (ISO/IEC 14496-12 §8.8.12).
const ROUND: i64 = 1 << 32;

/// Where the decode time of a chunk stands.
struct Tfdt<'a> {
    moof: BoxRef<'a>,
    traf: BoxRef<'a>,
    tfdt: BoxRef<'a>,
    time: u64,
    is_short: bool,
}

impl<'a> Tfdt<'a> {
    fn of(raw: &'a RawChunk) -> Result<Tfdt<'a>, Malformed> {
        let at = raw.moof.start as u64;
        let moof = Boxes::new(&raw.bytes[raw.moof.clone()], at).next();
        let moof = moof.unwrap_or_else(|| Err(Malformed::new("nothing", at)))?;
        let traf = moof.required(b"traf")?;
        let tfdt = traf.required(b"tfdt").map_err(|error| error.within("moof"))?;
        let mut fields = tfdt.fields();
        let (version, _) = fields.version_and_flags()?;
        let time = fields.u32_or_u64(version == 1)?;
        Ok(Tfdt { moof, traf, tfdt, time, is_short: version != 1 })
    }
}

/// `raw`, decoded `delay` ticks later.
pub fn later(raw: RawChunk, delay: i64) -> Result<RawChunk, Malformed> {
    let time = Tfdt::of(&raw)?.time.saturating_add_signed(delay);
    with_time(raw, time)
}

/// `raw`, if its decode time has 32 bits that began anew, with the whole of it: the time within `slack` ticks of `expected`.
pub fn whole(raw: RawChunk, expected: i64, slack: i64) -> Result<RawChunk, Malformed> {
    let Ok(Tfdt { time, is_short: true, .. }) = Tfdt::of(&raw) else { return Ok(raw) };
    let time = time as i64;
    let rounds = expected.saturating_sub(time).saturating_add(ROUND / 2).div_euclid(ROUND);
    let meant = time.saturating_add(rounds.saturating_mul(ROUND));
    if rounds < 1 || (meant - expected).abs() > slack {
        return Ok(raw);
    }
    with_time(raw, meant as u64)
}

/// `raw` with the decode time `time`, in 64 bits if it needs them.
fn with_time(raw: RawChunk, time: u64) -> Result<RawChunk, Malformed> {
    let Tfdt { moof, traf, tfdt, is_short, .. } = Tfdt::of(&raw)?;
    let at = tfdt.payload_offset() as usize + 4;
    let mut bytes = raw.bytes.to_vec();
    let short = u32::try_from(time).ok().filter(|_| is_short);
    if let Some(time) = short {
        bytes[at..at + 4].copy_from_slice(&time.to_be_bytes());
    } else if !is_short {
        bytes[at..at + 8].copy_from_slice(&time.to_be_bytes());
    } else {
        for of in [&moof, &traf, &tfdt] {
            if of.payload_offset() - of.offset != 8 {
                return Err(Malformed::new("a size of 64 bits, where 32 are enough", of.offset).within("moof"));
            }
            add(&mut bytes, of.offset as usize, 4);
        }
        bytes[at - 4] = 1;
        for child in traf.children() {
            grow(&mut bytes, &child?)?;
        }
        bytes.splice(at..at + 4, time.to_be_bytes());
    }
    let grown = bytes.len() - raw.bytes.len();
    Ok(RawChunk { bytes: Bytes::from(bytes), moof: raw.moof.start..raw.moof.end + grown, ..raw })
}

/// What counts bytes from the moof to its media, in `child` of a traf, counts four more.
fn grow(bytes: &mut [u8], child: &BoxRef<'_>) -> Result<(), Malformed> {
    let mut fields = child.fields();
    let at = child.payload_offset() as usize;
    match &child.kind.0 {
        b"trun" => {
            let (_, flags) = fields.version_and_flags()?;
            fields.u32()?;
            if flags & 1 != 0 {
                fields.u32()?;
                add(bytes, at + 8, 4);
            }
        }
        b"saio" => {
            let (version, flags) = fields.version_and_flags()?;
            let typed = if flags & 1 != 0 { 8 } else { 0 };
            fields.skip(typed)?;
            for entry in 0..fields.u32()? as usize {
                fields.u32_or_u64(version == 1)?;
                // The last four bytes of either: no chunk has 4 GiB.
                let width = if version == 1 { 8 } else { 4 };
                add(bytes, at + 8 + typed + entry * width + width - 4, 4);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Adds `more` to the 32 bits at `at`.
fn add(bytes: &mut [u8], at: usize, more: u32) {
    if let Some(word) = bytes.get_mut(at..at + 4) {
        let value = word.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
        word.copy_from_slice(&value.wrapping_add(more).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::live::receiver::{Event, Receiver};
    use crate::formats::isobmff::boxes::{write_box, write_full_box};
    use crate::formats::isobmff::fragment::MovieFragment;

    /// A chunk of one sample of five bytes, with the words that a `saio` has.
    fn chunk(time: u32, saio: &[u32]) -> RawChunk {
        let write = |data_offset: i32| {
            let mut out = Vec::new();
            write_box(&mut out, b"moof", |out| {
                write_full_box(out, b"mfhd", 0, 0, |out| out.extend_from_slice(&[0, 0, 0, 1]));
                write_box(out, b"traf", |out| {
                    write_full_box(out, b"tfhd", 0, 0x02_0000, |out| out.extend_from_slice(&[0, 0, 0, 1]));
                    write_full_box(out, b"tfdt", 0, 0, |out| out.extend_from_slice(&time.to_be_bytes()));
                    write_full_box(out, b"trun", 0, 0x301, |out| {
                        for word in [1, data_offset as u32, 1000, 5] {
                            out.extend_from_slice(&word.to_be_bytes());
                        }
                    });
                    write_full_box(out, b"saio", 0, 0, |out| {
                        out.extend_from_slice(&(saio.len() as u32).to_be_bytes());
                        saio.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
                    });
                });
            });
            out
        };
        let moof = write(write(0).len() as i32 + 8);
        let mut bytes = b"\0\0\0\x10styp\0\0\0\0msdh".to_vec();
        bytes.extend(moof);
        write_box(&mut bytes, b"mdat", |out| out.extend_from_slice(b"media"));
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        receiver.push(&bytes, &mut events).expect("a chunk");
        match events.remove(0) {
            Event::Chunk(raw) => raw,
            other => panic!("{other:?}"),
        }
    }

    fn time(raw: &RawChunk) -> u64 {
        Tfdt::of(raw).unwrap().time
    }

    #[test]
    fn a_time_that_began_anew_is_made_whole_and_everything_is_where_it_is_said() {
        let raw = chunk(500, &[90, 100]);
        let expected = ROUND + 400;
        let made = whole(raw.clone(), expected, 1000).unwrap();
        assert_eq!((time(&made), made.bytes.len()), (ROUND as u64 + 500, raw.bytes.len() + 4));
        // It is read as any other.
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        receiver.push(&made.bytes, &mut events).unwrap();
        assert_eq!(events, [Event::Chunk(made.clone())]);
        let moof = Boxes::new(&made.bytes[made.moof.clone()], 0).next().unwrap().unwrap();
        let fragment = MovieFragment::parse(moof).unwrap();
        let run = &fragment.trafs[0].runs[0];
        let at = made.moof.start + run.data_offset.unwrap() as usize;
        assert_eq!(&made.bytes[at..at + 5], b"media");
        let saio = made.bytes.windows(4).position(|four| four == b"saio").unwrap();
        assert_eq!(made.bytes[saio + 8..saio + 20], [0, 0, 0, 2, 0, 0, 0, 94, 0, 0, 0, 104]);
        // Twice around.
        assert_eq!(time(&whole(raw.clone(), 2 * ROUND, 1000).unwrap()), 2 * ROUND as u64 + 500);
        // It began anew because the encoder did.
        for expected in [400, ROUND / 3, ROUND - 600, ROUND + 1501] {
            assert_eq!(whole(raw.clone(), expected, 1000).unwrap(), raw, "{expected}");
        }
    }

    #[test]
    fn a_delay_is_added_in_as_many_bits_as_it_needs() {
        let raw = chunk(500, &[]);
        let made = later(raw.clone(), 1000).unwrap();
        assert_eq!((time(&made), made.bytes.len()), (1500, raw.bytes.len()));
        let grown = later(chunk(u32::MAX, &[]), 1000).unwrap();
        assert_eq!((time(&grown), grown.bytes.len()), (u64::from(u32::MAX) + 1000, raw.bytes.len() + 4));
        assert_eq!(time(&later(grown, 5).unwrap()), u64::from(u32::MAX) + 1005);
    }
}
