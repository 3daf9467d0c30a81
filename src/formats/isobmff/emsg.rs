//! Event messages (ISO/IEC 23009-1 §5.10.3.3): which scheme one belongs to, when it is, and what it says. In media it is carried as it is.
//!
//! ```text
//!   version 0   scheme_id_uri\0 value\0 timescale presentation_time_delta event_duration id message_data
//!   version 1   timescale presentation_time:u64 event_duration id scheme_id_uri\0 value\0 message_data
//! ```

use bytes::Bytes;

use super::boxes::{BoxRef, write_full_box};
use crate::formats::error::Malformed;
use crate::formats::fields::Fields;
use crate::time::{MediaTime, Rounding, Timescale};

/// The longest message that is looked at: a section of SCTE 35 has at most 4 KiB.
const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// The longest scheme_id_uri or value that is read: it goes into manifests.
const STRING_BYTES_MAX: usize = 1024;

/// A scheme of events.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EventScheme {
    /// scheme_id_uri.
    pub uri: String,
    /// value; may be empty.
    pub value: String,
}

/// When an event begins, in ticks of its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventTime {
    /// After what carries it begins.
    After(i64),
    /// On the timeline of the media.
    At(i64),
}

/// An event message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventMessage {
    /// What understands it.
    pub scheme: EventScheme,
    /// Of its time and duration.
    pub timescale: Timescale,
    /// When it begins.
    pub time: EventTime,
    /// How long it lasts, if that is known.
    pub duration: Option<u32>,
    /// The same event has the same.
    pub id: u32,
    /// What it says.
    pub data: Bytes,
}

impl EventMessage {
    /// The same, at its time on the timeline of the media, on which what carries it begins at `begins`.
    pub fn counted_from(self, begins: MediaTime) -> EventMessage {
        EventMessage { time: EventTime::At(self.begins(begins).ticks), ..self }
    }

    /// Appends it as an `emsg` of version 1, if its time is one of the media, from 0 on.
    pub fn write(&self, out: &mut Vec<u8>) {
        let EventTime::At(time) = self.time else { return };
        let Ok(time) = u64::try_from(time) else { return };
        write_full_box(out, b"emsg", 1, 0, |out| {
            out.extend_from_slice(&self.timescale.get().to_be_bytes());
            out.extend_from_slice(&time.to_be_bytes());
            out.extend_from_slice(&self.duration.unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(&self.id.to_be_bytes());
            for string in [&self.scheme.uri, &self.scheme.value] {
                out.extend_from_slice(string.as_bytes());
                out.push(0);
            }
            out.extend_from_slice(&self.data);
        });
    }

    /// When it begins on the timeline of the media, on which what carries it does at `begins`.
    pub fn begins(&self, begins: MediaTime) -> MediaTime {
        let ticks = match self.time {
            EventTime::After(delta) => begins.to(self.timescale, Rounding::Nearest).saturating_add(delta),
            EventTime::At(ticks) => ticks,
        };
        MediaTime::new(ticks, self.timescale)
    }
}

/// The scheme of an `emsg`.
pub fn event_scheme(emsg: BoxRef<'_>) -> Result<EventScheme, Malformed> {
    let mut fields = emsg.fields();
    if version(&mut fields)? == 1 {
        fields.skip(4 + 8 + 4 + 4)?;
    }
    scheme(&mut fields)
}

/// Whether an `emsg` says its time from where its segment begins (version 0), so that it is another one elsewhere.
pub fn counts_from_segment(emsg: BoxRef<'_>) -> bool {
    Relative::read(emsg).is_ok()
}

/// How much longer a message of version 0 is once it is one of version 1: its time has 64 bits.
pub const VERSION_1_LONGER_BYTES: u64 = 4;

/// Appends an `emsg` of version 0 as one of version 1: at the same time, counted from where the media does. `segment` says when the
/// segment that carries it begins.
pub fn write_version_1(
    out: &mut Vec<u8>,
    emsg: BoxRef<'_>,
    segment: impl Fn(Timescale) -> i64,
) -> Result<(), Malformed> {
    let Relative { flags, strings, timescale, delta, duration, id, data } = Relative::read(emsg)?;
    let time = segment(timescale).saturating_add(delta.into());
    write_full_box(out, b"emsg", 1, flags, |out| {
        out.extend_from_slice(&timescale.get().to_be_bytes());
        out.extend_from_slice(&u64::try_from(time).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&duration.to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(strings);
        out.extend_from_slice(data);
    });
    Ok(())
}

/// An `emsg` of version 0.
struct Relative<'a> {
    flags: u32,
    /// scheme_id_uri and value, each with its zero.
    strings: &'a [u8],
    timescale: Timescale,
    /// presentation_time_delta.
    delta: u32,
    duration: u32,
    id: u32,
    data: &'a [u8],
}

impl<'a> Relative<'a> {
    fn read(emsg: BoxRef<'a>) -> Result<Relative<'a>, Malformed> {
        let mut fields = emsg.fields();
        let at = fields.offset();
        let (version, flags) = fields.version_and_flags()?;
        if version != 0 {
            return Err(Malformed::new(format!("version {version} does not count from its segment"), at));
        }
        let strings = fields.rest();
        scheme(&mut fields)?;
        let strings = &strings[..strings.len() - fields.rest().len()];
        let timescale = timescale(&mut fields)?;
        let (delta, duration, id) = (fields.u32()?, fields.u32()?, fields.u32()?);
        Ok(Relative { flags, strings, timescale, delta, duration, id, data: fields.rest() })
    }
}

/// Reads an `emsg`.
pub fn event_message(emsg: BoxRef<'_>) -> Result<EventMessage, Malformed> {
    let mut fields = emsg.fields();
    let version = version(&mut fields)?;
    let first = if version == 0 { Some(scheme(&mut fields)?) } else { None };
    let timescale = timescale(&mut fields)?;
    let time = match version {
        0 => EventTime::After(fields.u32()?.into()),
        _ => EventTime::At(signed(fields.u64()?)),
    };
    let (duration, id) = (duration(fields.u32()?), fields.u32()?);
    let scheme = match first {
        Some(scheme) => scheme,
        None => scheme(&mut fields)?,
    };
    Ok(EventMessage { scheme, timescale, time, duration, id, data: data(&fields)? })
}

/// Reads an `emib`, an event in a sample of an event message track (ISO/IEC 23001-18 §6.1), whose ticks are of `timescale`.
pub fn event_instance(emib: BoxRef<'_>, timescale: Timescale) -> Result<EventMessage, Malformed> {
    let mut fields = emib.fields();
    fields.version_and_flags()?;
    fields.skip(4)?;
    let time = EventTime::After(fields.u64()? as i64);
    let (duration, id) = (duration(fields.u32()?), fields.u32()?);
    let scheme = scheme(&mut fields)?;
    Ok(EventMessage { scheme, timescale, time, duration, id, data: data(&fields)? })
}

/// Of an `emsg`; what a later one looks like nobody knows.
fn version(fields: &mut Fields<'_>) -> Result<u8, Malformed> {
    let at = fields.offset();
    match fields.version_and_flags()? {
        (version @ 0..=1, _) => Ok(version),
        (version, _) => Err(Malformed::new(format!("a message of version {version}: 0 and 1 are read"), at)),
    }
}

fn timescale(fields: &mut Fields<'_>) -> Result<Timescale, Malformed> {
    let at = fields.offset();
    Timescale::new(fields.u32()?).ok_or_else(|| Malformed::new("a timescale of 0", at))
}

fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// 0xFFFFFFFF: not known.
fn duration(ticks: u32) -> Option<u32> {
    (ticks != u32::MAX).then_some(ticks)
}

fn data(fields: &Fields<'_>) -> Result<Bytes, Malformed> {
    let rest = fields.rest();
    if rest.len() > MESSAGE_BYTES_MAX {
        let what = format!("a message of {} bytes, at most {MESSAGE_BYTES_MAX} are read", rest.len());
        return Err(Malformed::new(what, fields.offset()));
    }
    Ok(Bytes::copy_from_slice(rest))
}

fn scheme(fields: &mut Fields<'_>) -> Result<EventScheme, Malformed> {
    let uri = string(fields)?;
    Ok(EventScheme { uri, value: string(fields)? })
}

/// A string that ends with a zero byte; what no manifest could carry is an error.
fn string(fields: &mut Fields<'_>) -> Result<String, Malformed> {
    let at = fields.offset();
    let rest = fields.rest();
    let length = rest.iter().position(|&b| b == 0).ok_or_else(|| Malformed::new("a string without an end", at))?;
    if length > STRING_BYTES_MAX {
        return Err(Malformed::new(format!("a string of {length} bytes, at most {STRING_BYTES_MAX} are read"), at));
    }
    let bytes = fields.take(length)?;
    fields.skip(1)?;
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("a string that is not UTF-8", at))?;
    if text.chars().any(char::is_control) {
        return Err(Malformed::new("a string with control characters", at));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::boxes::{Boxes, write_full_box};
    use super::*;

    fn read<T>(version: u8, payload: &[u8], read: impl Fn(BoxRef<'_>) -> Result<T, Malformed>) -> Result<T, Malformed> {
        let mut bytes = Vec::new();
        write_full_box(&mut bytes, b"emsg", version, 0, |out| out.extend_from_slice(payload));
        Boxes::new(&bytes, 0).next().expect("one").and_then(read)
    }

    fn scte() -> EventScheme {
        EventScheme { uri: "urn:scte:scte35:2013:bin".into(), value: "1".into() }
    }

    #[test]
    fn both_versions_say_their_scheme() {
        let scheme = |version, payload: &[u8]| read(version, payload, event_scheme);
        assert_eq!(scheme(0, b"urn:scte:scte35:2013:bin\x001\0\0\0\0\x01"), Ok(scte()));
        assert_eq!(scheme(1, &[&[0; 20][..], b"urn:scte:scte35:2013:bin\x001\0"].concat()), Ok(scte()));
        assert!(scheme(0, b"urn:without:end").is_err());
        assert!(scheme(0, &[&[b'x'; 1025][..], b"\0\0"].concat()).is_err(), "longer than any manifest should repeat");
        assert!(scheme(1, &[0; 8]).is_err());
        assert!(scheme(0, b"\xff\0\0").is_err());
    }

    #[test]
    fn both_versions_say_when_and_what() {
        let numbers = [90_000u32, 45_000, u32::MAX, 7].map(u32::to_be_bytes).concat();
        let first = read(0, &[b"urn:scte:scte35:2013:bin\x001\0", &numbers[..], b"cue"].concat(), event_message);
        let expected = EventMessage {
            scheme: scte(),
            timescale: Timescale::new(90_000).expect("not zero"),
            time: EventTime::After(45_000),
            duration: None,
            id: 7,
            data: Bytes::from_static(b"cue"),
        };
        assert_eq!(first, Ok(expected.clone()));
        let numbers = [90_000u32, 0, 45_000, 900, 7].map(u32::to_be_bytes).concat();
        let second = read(1, &[&numbers[..], b"urn:scte:scte35:2013:bin\x001\0cue"].concat(), event_message);
        assert_eq!(second, Ok(EventMessage { time: EventTime::At(45_000), duration: Some(900), ..expected.clone() }));
        for message in [second.expect("read"), EventMessage { time: EventTime::At(1), ..expected.clone() }] {
            let mut bytes = Vec::new();
            message.write(&mut bytes);
            assert_eq!(Boxes::new(&bytes, 0).next().expect("one").and_then(event_message), Ok(message));
        }
        let numbers = [0u32, u32::MAX, -45_000i32 as u32, 900, 7].map(u32::to_be_bytes).concat();
        let instance = read(0, &[&numbers[..], b"urn:scte:scte35:2013:bin\x001\0cue"].concat(), |emib| {
            event_instance(emib, expected.timescale)
        });
        assert_eq!(instance, Ok(EventMessage { time: EventTime::After(-45_000), duration: Some(900), ..expected }));
        assert!(read(1, &[0; 24], event_message).is_err(), "a timescale of 0");
    }

    #[test]
    fn messages_of_a_later_version_were_read_as_others() {
        let numbers = [90_000u32, 0, 45_000, 900, 7].map(u32::to_be_bytes).concat();
        let later = [&numbers[..], b"urn:scte:scte35:2013:bin\x001\0cue"].concat();
        assert!(read(2, &later, event_message).is_err());
        assert!(read(2, b"urn:scte:scte35:2013:bin\x001\0\0\0\0\x01", event_scheme).is_err());
    }

    #[test]
    fn what_cannot_be_counted_otherwise_counts_from_no_segment() {
        let counts = |version, payload: &[u8]| read(version, payload, |emsg| Ok(counts_from_segment(emsg)));
        let message = |timescale: u32| {
            let numbers = [timescale, 45_000, 900, 7].map(u32::to_be_bytes).concat();
            [b"urn:scte:scte35:2013:bin\x001\0", &numbers[..], b"cue"].concat()
        };
        assert_eq!(counts(0, &message(90_000)), Ok(true));
        assert_eq!((counts(0, &message(0)), counts(1, &message(90_000))), (Ok(false), Ok(false)));
        assert_eq!(counts(0, &message(90_000)[..34]), Ok(false));
    }
}
