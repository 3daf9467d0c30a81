//! Digital program insertion cues (ANSI/SCTE 35 §9): what of a splice_info_section tells who inserts. It is carried as it is.
//!
//! ```text
//!   table_id 0xFC … splice_command_type command … descriptors
//!   splice_insert: event, out or in, break duration        time_signal + segmentation_descriptor: event, type, duration
//! ```

use crate::formats::error::Malformed;
use crate::formats::fields::{Bits, Fields};

/// scheme_id_uri of sections as they are, in event messages (ANSI/SCTE 214-3).
pub const SCHEME: &str = "urn:scte:scte35:2013:bin";

/// Ticks of its clock a second.
pub const TICKS_S: u32 = 90_000;

/// What a cue says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cue {
    /// splice_event_id or segmentation_event_id.
    pub event_id: Option<u32>,
    /// Which way it leads.
    pub way: Way,
    /// Length of the break, in ticks of 90 kHz.
    pub duration: Option<u64>,
}

/// Which way a cue leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Out of the network: a break begins.
    Out,
    /// Back.
    In,
    /// Neither, or it is not known.
    Neither,
}

/// The most descriptors that are looked at.
const DESCRIPTORS_MAX: usize = 32;

/// Reads a splice_info_section. Its CRC is not looked at: whoever acts on it does.
pub fn cue(section: &[u8]) -> Result<Cue, Malformed> {
    let mut fields = Fields::new(section, 0);
    if fields.u8()? != 0xfc {
        return Err(Malformed::new("no splice_info_section", 0));
    }
    // section_syntax_indicator … section_length, protocol_version.
    fields.skip(3)?;
    let is_encrypted = fields.u8()? & 0x80 != 0;
    // The rest of pts_adjustment, cw_index, tier and the upper bits of splice_command_length.
    fields.skip(4 + 1 + 1)?;
    let command_length = usize::from(fields.u16()? & 0xfff);
    let nothing = Cue { event_id: None, way: Way::Neither, duration: None };
    if is_encrypted {
        return Ok(nothing);
    }
    let kind = fields.u8()?;
    if kind == 5 {
        return splice_insert(fields.rest());
    }
    // An older form does not say how long the command is.
    let length = match (command_length, kind) {
        (0xfff, 6) => time_signal_length(fields.rest())?,
        (0xfff, 0 | 7) => 0,
        (0xfff, _) => return Ok(nothing),
        (known, _) => known,
    };
    fields.skip(length)?;
    let loop_length = usize::from(fields.u16()?);
    let mut descriptors = Fields::new(fields.take(loop_length)?, fields.offset());
    for _ in 0..DESCRIPTORS_MAX {
        if descriptors.remaining() < 2 {
            break;
        }
        let (tag, length) = (descriptors.u8()?, descriptors.u8()?);
        let body = descriptors.take(usize::from(length))?;
        if tag == 2
            && let Some(cue) = segmentation(body)?
        {
            return Ok(cue);
        }
    }
    Ok(nothing)
}

fn time_signal_length(command: &[u8]) -> Result<usize, Malformed> {
    Ok(if Fields::new(command, 0).u8()? & 0x80 != 0 { 5 } else { 1 })
}

/// splice_insert (§9.7.3).
fn splice_insert(command: &[u8]) -> Result<Cue, Malformed> {
    let mut bits = Bits::new(command);
    let event_id = Some(bits.read(32)?);
    let is_cancelled = bits.flag()?;
    bits.skip(7)?;
    if is_cancelled {
        return Ok(Cue { event_id, way: Way::Neither, duration: None });
    }
    let [is_out, is_program, has_duration, is_immediate] = [bits.flag()?, bits.flag()?, bits.flag()?, bits.flag()?];
    bits.skip(4)?;
    if is_program && !is_immediate {
        splice_time(&mut bits)?;
    }
    if !is_program {
        for _ in 0..bits.read(8)? {
            bits.skip(8)?;
            if !is_immediate {
                splice_time(&mut bits)?;
            }
        }
    }
    let duration = if has_duration {
        bits.skip(7)?;
        Some(ticks(&mut bits, 33)?)
    } else {
        None
    };
    Ok(Cue { event_id, way: if is_out { Way::Out } else { Way::In }, duration })
}

fn splice_time(bits: &mut Bits<'_>) -> Result<(), Malformed> {
    let is_specified = bits.flag()?;
    bits.skip(if is_specified { 39 } else { 7 })
}

fn ticks(bits: &mut Bits<'_>, count: u32) -> Result<u64, Malformed> {
    let upper = u64::from(bits.read(count - 32)?);
    Ok(upper << 32 | u64::from(bits.read(32)?))
}

/// segmentation_descriptor (§10.3.3); `None` if it is another one's, or cancels.
fn segmentation(body: &[u8]) -> Result<Option<Cue>, Malformed> {
    let mut bits = Bits::new(body);
    if bits.read(32)? != u32::from_be_bytes(*b"CUEI") {
        return Ok(None);
    }
    let event_id = Some(bits.read(32)?);
    let is_cancelled = bits.flag()?;
    bits.skip(7)?;
    if is_cancelled {
        return Ok(None);
    }
    let [is_program, has_duration] = [bits.flag()?, bits.flag()?];
    bits.skip(6)?;
    if !is_program {
        let components = bits.read(8)?;
        bits.skip(components as usize * 48)?;
    }
    let duration = if has_duration { Some(ticks(&mut bits, 40)?) } else { None };
    bits.skip(8)?;
    let upid_length = bits.read(8)?;
    bits.skip(upid_length as usize * 8)?;
    // Table 23: what begins has even numbers, what ends the odd ones behind them.
    let way = match bits.read(8)? {
        0x22 | 0x30 | 0x32 | 0x34 | 0x36 | 0x38 | 0x3a | 0x3c | 0x3e | 0x44 | 0x46 => Way::Out,
        0x23 | 0x31 | 0x33 | 0x35 | 0x37 | 0x39 | 0x3b | 0x3d | 0x3f | 0x45 | 0x47 => Way::In,
        _ => Way::Neither,
    };
    Ok(Some(Cue { event_id, way, duration }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks_exact(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    /// A section around `command` and `descriptors`.
    fn section(kind: u8, command: &[u8], descriptors: &[u8]) -> Vec<u8> {
        let mut out =
            vec![0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0 | (command.len() >> 8) as u8, command.len() as u8];
        out.push(kind);
        out.extend_from_slice(command);
        out.extend_from_slice(&(descriptors.len() as u16).to_be_bytes());
        out.extend_from_slice(descriptors);
        out.extend_from_slice(&[0; 4]);
        let length = (out.len() - 3) as u16 | 0x3000;
        out[1..3].copy_from_slice(&length.to_be_bytes());
        out
    }

    #[test]
    fn a_splice_insert_leads_out_for_so_long_and_back() {
        // splice_event_id 0x4800008f, out, program splice, duration 60.293567 s: the example of SCTE 35 §14.2.
        let out = bytes(
            "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
        );
        let expected = Cue { event_id: Some(0x4800_008f), way: Way::Out, duration: Some(0x0052_ccf5) };
        assert_eq!(cue(&out), Ok(expected));
        let back = section(5, &bytes("4800008f7f5f000000000000"), &[]);
        assert_eq!(cue(&back).map(|cue| (cue.event_id, cue.way)), Ok((Some(0x4800_008f), Way::In)));
    }

    #[test]
    fn a_time_signal_says_by_its_descriptor_what_begins_or_ends() {
        // The example of SCTE 35 §14.1: placement opportunity start, 307 s.
        let start = bytes(
            "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e",
        );
        let expected = Cue { event_id: Some(0x4800_008e), way: Way::Out, duration: Some(0x01a5_99b0) };
        assert_eq!(cue(&start), Ok(expected));
        let end = section(6, &bytes("fe72bd0050"), &bytes("0217435545494800008e7f9f0808000000002ca0a18a350200"));
        assert_eq!(cue(&end).map(|cue| (cue.way, cue.duration)), Ok((Way::In, None)));
        let plain = section(6, &bytes("fe72bd0050"), &[]);
        assert_eq!(cue(&plain), Ok(Cue { event_id: None, way: Way::Neither, duration: None }));
    }

    #[test]
    fn what_is_no_section_is_refused() {
        assert!(cue(b"").is_err() && cue(b"\x00\x01").is_err() && cue(&[0xfc]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = cue(&bytes);
            let _ = cue(&[&[0xfc][..], &bytes].concat());
        }
    }
}
