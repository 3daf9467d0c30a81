//! Event messages (ISO/IEC 23009-1 §5.10.3.3): which scheme one belongs to. The message itself is carried as it is.
//!
//! ```text
//!   version 0   scheme_id_uri\0 value\0 timescale presentation_time_delta …
//!   version 1   timescale presentation_time:u64 event_duration id scheme_id_uri\0 value\0 …
//! ```

use super::boxes::BoxRef;
use crate::formats::error::Malformed;
use crate::formats::fields::Fields;

/// A scheme of events.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EventScheme {
    /// scheme_id_uri.
    pub uri: String,
    /// value; may be empty.
    pub value: String,
}

/// The scheme of an `emsg`.
pub fn event_scheme(emsg: BoxRef<'_>) -> Result<EventScheme, Malformed> {
    let mut fields = emsg.fields();
    let (version, _) = fields.version_and_flags()?;
    if version == 1 {
        fields.skip(4 + 8 + 4 + 4)?;
    }
    let uri = string(&mut fields)?;
    Ok(EventScheme { uri, value: string(&mut fields)? })
}

/// A string that ends with a zero byte; what no manifest could carry is an error.
fn string(fields: &mut Fields<'_>) -> Result<String, Malformed> {
    let at = fields.offset();
    let rest = fields.rest();
    let length = rest.iter().position(|&b| b == 0).ok_or_else(|| Malformed::new("a string without an end", at))?;
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

    fn scheme(version: u8, payload: &[u8]) -> Result<EventScheme, Malformed> {
        let mut bytes = Vec::new();
        write_full_box(&mut bytes, b"emsg", version, 0, |out| out.extend_from_slice(payload));
        Boxes::new(&bytes, 0).next().expect("one").and_then(event_scheme)
    }

    #[test]
    fn both_versions_say_their_scheme() {
        let expected = EventScheme { uri: "urn:scte:scte35:2013:bin".into(), value: "1".into() };
        assert_eq!(scheme(0, b"urn:scte:scte35:2013:bin\x001\0\0\0\0\x01"), Ok(expected.clone()));
        assert_eq!(scheme(1, &[&[0; 20][..], b"urn:scte:scte35:2013:bin\x001\0"].concat()), Ok(expected));
        assert!(scheme(0, b"urn:without:end").is_err());
        assert!(scheme(1, &[0; 8]).is_err());
        assert!(scheme(0, b"\xff\0\0").is_err());
    }
}
