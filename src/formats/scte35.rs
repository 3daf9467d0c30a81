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
    /// Of which event; `None` if it names none.
    pub of: Option<EventId>,
    /// Which way it leads.
    pub way: Way,
    /// Length of the break, in ticks of 90 kHz.
    pub duration: Option<u64>,
    /// Whether the break ends by itself after that (auto_return): nothing leads back from it.
    pub returns: bool,
}

/// What names an event: what leads back has the same as what leads out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventId {
    /// splice_event_id.
    Splice(u32),
    /// segmentation_event_id, and the segmentation_type_id of what begins the segment.
    Segment(u32, u8),
    /// segmentation_event_id: all segments that have it.
    Segments(u32),
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
    /// What was said of the event holds no more.
    Cancels,
}

impl EventId {
    /// What may name it: its own name, and that of all segments that have its id.
    pub fn names(self) -> impl Iterator<Item = EventId> {
        let all = match self {
            EventId::Segment(id, _) => Some(EventId::Segments(id)),
            EventId::Splice(_) | EventId::Segments(_) => None,
        };
        [self].into_iter().chain(all)
    }
}

/// The most descriptors that are looked at.
const DESCRIPTORS_MAX: usize = 32;

/// Reads a splice_info_section: a cue for each segmentation descriptor (rfc8216bis §4.4.5.1.1), or one of its command. Its CRC is not looked at:
/// whoever acts on it does.
pub fn cues(section: &[u8]) -> Result<Vec<Cue>, Malformed> {
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
    let nothing = vec![Cue { of: None, way: Way::Neither, duration: None, returns: false }];
    if is_encrypted {
        return Ok(nothing);
    }
    let kind = fields.u8()?;
    if kind == 5 {
        return Ok(vec![splice_insert(fields.rest())?]);
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
    let mut cues: Vec<Cue> = Vec::new();
    for _ in 0..DESCRIPTORS_MAX {
        if descriptors.remaining() < 2 {
            break;
        }
        let (tag, length) = (descriptors.u8()?, descriptors.u8()?);
        // One that is not whole says nothing, and takes nothing from what others say.
        let Ok(body) = descriptors.take(usize::from(length)) else { break };
        if tag == 2
            && let Ok(Some(cue)) = segmentation(body)
            && cues.iter().all(|known| (known.of, known.way) != (cue.of, cue.way))
        {
            cues.push(cue);
        }
    }
    Ok(if cues.is_empty() { nothing } else { cues })
}

fn time_signal_length(command: &[u8]) -> Result<usize, Malformed> {
    Ok(if Fields::new(command, 0).u8()? & 0x80 != 0 { 5 } else { 1 })
}

/// splice_insert (§9.7.3).
fn splice_insert(command: &[u8]) -> Result<Cue, Malformed> {
    let mut bits = Bits::new(command);
    let of = Some(EventId::Splice(bits.read(32)?));
    let is_cancelled = bits.flag()?;
    bits.skip(7)?;
    if is_cancelled {
        return Ok(Cue { of, way: Way::Cancels, duration: None, returns: false });
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
    let mut returns = false;
    let duration = if has_duration {
        returns = bits.flag()?;
        bits.skip(6)?;
        Some(ticks(&mut bits, 33)?)
    } else {
        None
    };
    Ok(Cue { of, way: if is_out { Way::Out } else { Way::In }, duration, returns })
}

fn splice_time(bits: &mut Bits<'_>) -> Result<(), Malformed> {
    let is_specified = bits.flag()?;
    bits.skip(if is_specified { 39 } else { 7 })
}

fn ticks(bits: &mut Bits<'_>, count: u32) -> Result<u64, Malformed> {
    let upper = u64::from(bits.read(count - 32)?);
    Ok(upper << 32 | u64::from(bits.read(32)?))
}

/// segmentation_descriptor (§10.3.3); `None` if it is another one's.
fn segmentation(body: &[u8]) -> Result<Option<Cue>, Malformed> {
    let mut bits = Bits::new(body);
    if bits.read(32)? != u32::from_be_bytes(*b"CUEI") {
        return Ok(None);
    }
    let event_id = bits.read(32)?;
    let is_cancelled = bits.flag()?;
    bits.skip(7)?;
    if is_cancelled {
        let of = Some(EventId::Segments(event_id));
        return Ok(Some(Cue { of, way: Way::Cancels, duration: None, returns: false }));
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
    let kind = bits.read(8)? as u8;
    let begins = kind & !1;
    let way = match begins {
        0x22 | 0x30..=0x3e | 0x44 | 0x46 if kind == begins => Way::Out,
        0x22 | 0x30..=0x3e | 0x44 | 0x46 => Way::In,
        _ => Way::Neither,
    };
    Ok(Some(Cue { of: Some(EventId::Segment(event_id, begins)), way, duration, returns: false }))
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

    const OUT_OF_PLACEMENT: EventId = EventId::Segment(0x4800_008e, 0x34);

    #[test]
    fn a_splice_insert_leads_out_for_so_long_and_back() {
        // splice_event_id 0x4800008f, out, program splice, duration 60.293567 s, auto_return: the example of SCTE 35 §14.2.
        let out = bytes(
            "fc302f000000000000fffff014054800008f7feffe7369c02efe0052ccf500000000000a0008435545490000013562dba30a",
        );
        let of = Some(EventId::Splice(0x4800_008f));
        let expected = Cue { of, way: Way::Out, duration: Some(0x0052_ccf5), returns: true };
        assert_eq!(cues(&out), Ok(vec![expected]));
        let back = section(5, &bytes("4800008f7f5f000000000000"), &[]);
        assert_eq!(cues(&back), Ok(vec![Cue { of, way: Way::In, duration: None, returns: false }]));
        let cancels = section(5, &bytes("4800008fff"), &[]);
        assert_eq!(cues(&cancels), Ok(vec![Cue { of, way: Way::Cancels, duration: None, returns: false }]));
    }

    #[test]
    fn a_time_signal_says_by_its_descriptor_what_begins_or_ends() {
        // The example of SCTE 35 §14.1: placement opportunity start, 307 s.
        let start = bytes(
            "fc3034000000000000fffff00506fe72bd0050001e021c435545494800008e7fcf0001a599b00808000000002ca0a18a3402009ac9d17e",
        );
        let of = Some(OUT_OF_PLACEMENT);
        let expected = Cue { of, way: Way::Out, duration: Some(0x01a5_99b0), returns: false };
        assert_eq!(cues(&start), Ok(vec![expected]));
        // Another that is not whole takes nothing from it.
        let good = "021c435545494800008e7fcf0001a599b00808000000002ca0a18a340200";
        for torn in ["0217", "0204435545", "020643554549abcd"] {
            let both = section(6, &bytes("fe72bd0050"), &bytes(&format!("{good}{torn}")));
            assert_eq!(cues(&both), Ok(vec![expected]), "{torn}");
        }
        let end = section(6, &bytes("fe72bd0050"), &bytes("0217435545494800008e7f9f0808000000002ca0a18a350200"));
        assert_eq!(cues(&end), Ok(vec![Cue { of, way: Way::In, duration: None, returns: false }]));
        let plain = section(6, &bytes("fe72bd0050"), &[]);
        assert_eq!(cues(&plain), Ok(vec![Cue { of: None, way: Way::Neither, duration: None, returns: false }]));
    }

    #[test]
    fn every_descriptor_of_a_time_signal_is_a_cue() {
        // A spot ends and the next begins; the second is said twice.
        let ends = bytes("0217435545494800008e7f9f0808000000002ca0a18a350200");
        let begins = bytes("0217435545494800009e7f9f0808000000002ca0a18a340200");
        let both = section(6, &bytes("fe72bd0050"), &[ends, begins.clone(), begins].concat());
        let found = cues(&both).map(|cues| cues.iter().map(|cue| (cue.of, cue.way)).collect::<Vec<_>>());
        let next = EventId::Segment(0x4800_009e, 0x34);
        assert_eq!(found, Ok(vec![(Some(OUT_OF_PLACEMENT), Way::In), (Some(next), Way::Out)]));
        // segmentation_event_cancel_indicator: there is no type.
        let cancels = section(6, &bytes("fe72bd0050"), &bytes("0209435545494800008eff"));
        let [Cue { of: Some(of), way: Way::Cancels, .. }] = cues(&cancels).expect("a section")[..] else { panic!() };
        let is_named = |event: EventId| event.names().any(|name| name == of);
        assert!(is_named(OUT_OF_PLACEMENT) && !is_named(next));
    }

    #[test]
    fn what_is_no_section_is_refused() {
        assert!(cues(b"").is_err() && cues(b"\x00\x01").is_err() && cues(&[0xfc]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = cues(&bytes);
            let _ = cues(&[&[0xfc][..], &bytes].concat());
        }
    }
}
