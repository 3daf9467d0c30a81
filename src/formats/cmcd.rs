//! Common Media Client Data: what a player says of itself with a request (CTA-5004, and version 2, CTA-5004-A).
//!
//! ```text
//!   query    ?CMCD=bl%3D4000%2Cbr%3D3200%2Cbs%2Cot%3Dv%2Csid%3D%22a1%22
//!   header   CMCD-Request: bl=4000,mtp=25400        and CMCD-Object, CMCD-Session, CMCD-Status
//! ```
//!
//! A list of `key` (true), `key=value` or, in version 2, `key=(value;parameter value)`. Values are integers, decimals, tokens,
//! `true`, `false` or quoted strings (RFC 8941). Keys that are not known here are kept as they are; what cannot be read is left out.

use std::borrow::Cow;

use crate::formats::uri::percent_decoded;

/// Bytes of it that are read: what CTA-5004 §2.4 says of headers, and a query is bounded by the URL.
pub const BYTES_MAX: usize = 8 * 1024;
/// Keys that are read: twice what both versions define.
pub const KEYS_MAX: usize = 96;
/// Bytes of a key, with what makes it a custom one (reverse DNS).
const KEY_BYTES_MAX: usize = 64;

/// The header lines it comes in (CTA-5004 §2.1).
pub const HEADERS: [&str; 4] = ["cmcd-request", "cmcd-object", "cmcd-status", "cmcd-session"];

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// `key` alone, or `key=?1`, `true`, `false`.
    Flag(bool),
    /// An integer; decimals are cut.
    Number(i64),
    /// A token, or the inside of a quoted string, its escapes as they are.
    Text(&'a str),
}

/// The pairs of `text`, which is not percent-encoded any more.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, Value<'_>)> {
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    Items { rest: text }.filter_map(pair).take(KEYS_MAX)
}

/// What stands between commas that are neither in quotes nor in parentheses.
struct Items<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut in_quotes, mut is_escaped, mut depth) = (false, false, 0u32);
        for (at, byte) in self.rest.bytes().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_quotes => is_escaped = true,
                b'"' => in_quotes = !in_quotes,
                b'(' if !in_quotes => depth += 1,
                b')' if !in_quotes => depth = depth.saturating_sub(1),
                b',' if !in_quotes && depth == 0 => {
                    let item = &self.rest[..at];
                    self.rest = &self.rest[at + 1..];
                    return Some(item.trim());
                }
                _ => {}
            }
        }
        Some(std::mem::take(&mut self.rest).trim())
    }
}

fn pair(item: &str) -> Option<(&str, Value<'_>)> {
    let (key, value) = match item.split_once('=') {
        None => (item, Value::Flag(true)),
        Some((key, value)) => (key, self::value(value)?),
    };
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'*');
    let is_known = !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.bytes().all(is_key);
    is_known.then_some((key, value))
}

fn value(text: &str) -> Option<Value<'_>> {
    let text = text.trim();
    if let Some(inside) = text.strip_prefix('"') {
        return inside.strip_suffix('"').filter(|text| is_shown(text)).map(Value::Text);
    }
    // Of a list, as version 2 has one for each kind of media, the first; of an item, what stands before its parameters.
    let first = text.trim_start_matches('(').split([' ', ';', ')']).next().unwrap_or_default();
    match first {
        "true" | "?1" => return Some(Value::Flag(true)),
        "false" | "?0" => return Some(Value::Flag(false)),
        _ => {}
    }
    if let Some(inside) = first.strip_prefix('"') {
        return inside.strip_suffix('"').filter(|text| is_shown(text)).map(Value::Text);
    }
    let whole = first.split_once('.').map_or(first, |(whole, _)| whole);
    match whole.parse() {
        Ok(number) => Some(Value::Number(number)),
        Err(_) => (!first.is_empty() && is_shown(first)).then_some(Value::Text(first)),
    }
}

fn is_shown(text: &str) -> bool {
    text.chars().all(|c| !c.is_control())
}

/// The value of the parameter `CMCD` of a query, percent-decoded; `None` if there is none, or it is no UTF-8.
pub fn of_query(query: &str) -> Option<Cow<'_, str>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("CMCD="))?;
    let value = value.get(..BYTES_MAX.min(value.len()))?;
    if !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    percent_decoded(value).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(&str, Value<'_>)> {
        pairs(text).collect()
    }

    #[test]
    fn version_1_as_its_examples_have_it() {
        let query = "a=1&CMCD=br%3D3200%2Cbs%2Cd%3D4004%2Cmtp%3D25400%2Cot%3Dv%2Cpr%3D1.08%2Csid%3D%226e2fb550-c457%22%2Ctb%3D6000";
        let text = of_query(query).unwrap();
        let expected = [
            ("br", Value::Number(3200)),
            ("bs", Value::Flag(true)),
            ("d", Value::Number(4004)),
            ("mtp", Value::Number(25400)),
            ("ot", Value::Text("v")),
            ("pr", Value::Number(1)),
            ("sid", Value::Text("6e2fb550-c457")),
            ("tb", Value::Number(6000)),
        ];
        assert_eq!(read(&text), expected);
        assert_eq!(of_query("CMCDX=1&x=CMCD=2"), None);
    }

    #[test]
    fn version_2_lists_give_their_first_item() {
        let text = "v=2,br=(5000;v 128;a),bl=(4000;v),nor=(\"../a,b.m4s\" \"c\"),su=?0,com.example-x=\"a,b\"";
        let expected = [
            ("v", Value::Number(2)),
            ("br", Value::Number(5000)),
            ("bl", Value::Number(4000)),
            ("nor", Value::Text("../a,b.m4s")),
            ("su", Value::Flag(false)),
            ("com.example-x", Value::Text("a,b")),
        ];
        assert_eq!(read(text), expected);
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(read("bl=,=3,,sid=\"open,ot=v"), []);
        assert_eq!(read("a b=1,ot=v"), [("ot", Value::Text("v"))]);
        assert_eq!(of_query("CMCD=%zz"), None);
        assert_eq!(of_query("CMCD=%ff"), None);
        assert_eq!(read(&"k,".repeat(1000)).len(), KEYS_MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_left_out(text in "\\PC{0,200}", query in "(CMCD=)?[%0-9a-f\\PC]{0,60}") {
            prop_assert!(pairs(&text).count() <= KEYS_MAX);
            if let Some(text) = of_query(&query) {
                pairs(&text).for_each(drop);
            }
        }
    }
}
