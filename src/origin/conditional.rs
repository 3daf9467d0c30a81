//! Conditional requests (RFC 9110 §13) and content negotiation (§12.5.3).

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

/// What a request's conditions make of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Judges the conditions in the order of RFC 9110 §13.2.2. `etag` with its quotes, `modified_s` in seconds since 1970 if
/// the representation has such a date; without one, dates are ignored (§13.1.3).
pub fn judge(headers: &HeaderMap, etag: &str, modified_s: Option<u64>) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        // Strong comparison (§13.1.1).
        if !lists(headers, &IF_MATCH, |candidate| candidate == etag) {
            return Verdict::PreconditionFailed;
        }
    } else if modified_s
        .is_some_and(|modified| date(headers, &IF_UNMODIFIED_SINCE).is_some_and(|since| modified > since))
    {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        // Weak comparison (§13.1.2).
        let matches =
            lists(headers, &IF_NONE_MATCH, |candidate| candidate.strip_prefix("W/").unwrap_or(candidate) == etag);
        return if matches { Verdict::NotModified } else { Verdict::Proceed };
    }
    let is_as_old = |modified| date(headers, &IF_MODIFIED_SINCE).is_some_and(|since| modified <= since);
    if modified_s.is_some_and(is_as_old) { Verdict::NotModified } else { Verdict::Proceed }
}

/// Whether a Range is to be honoured (§13.1.5): there is no If-Range, or it names just this representation.
pub fn range_holds(headers: &HeaderMap, etag: &str, modified_s: Option<u64>) -> bool {
    match headers.get(IF_RANGE) {
        None => true,
        Some(value) => match value.to_str() {
            // A weak validator never matches.
            Ok(text) if text.starts_with('"') => text == etag,
            Ok(_) => modified_s.is_some() && date(headers, &IF_RANGE) == modified_s,
            Err(_) => false,
        },
    }
}

fn date(headers: &HeaderMap, name: &http::HeaderName) -> Option<u64> {
    let time = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Whether any entity tag in the list satisfies `is_match`; `*` always does.
fn lists(headers: &HeaderMap, name: &http::HeaderName, is_match: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        let mut rest = list.trim_start_matches([' ', '\t', ',']);
        if rest.trim_end() == "*" {
            return true;
        }
        // An entity tag may hold commas, so the list is not split at them (§8.8.3).
        while !rest.is_empty() {
            let quoted = rest.strip_prefix("W/").unwrap_or(rest);
            let Some(end) = quoted.strip_prefix('"').and_then(|text| text.find('"')) else { return false };
            let length = rest.len() - quoted.len() + end + 2;
            if is_match(&rest[..length]) {
                return true;
            }
            rest = rest[length..].trim_start_matches([' ', '\t', ',']);
        }
        false
    })
}

/// A content-coding that a manifest is kept in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
}

/// The coding that serves a request best: by quality, and of equal ones the smaller.
pub fn coding(headers: &HeaderMap) -> Coding {
    let (mut gzip, mut brotli, mut any, mut identity) = (None, None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for item in value.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or("");
            let weight =
                parts.find_map(|p| p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="))).map_or(Some(1000), quality);
            let is = |coding: &str| name.eq_ignore_ascii_case(coding);
            let slot = if is("br") {
                &mut brotli
            } else if is("gzip") || is("x-gzip") {
                &mut gzip
            } else if is("identity") {
                &mut identity
            } else if is("*") {
                &mut any
            } else {
                continue;
            };
            *slot = weight;
        }
    }
    let of = |named: Option<u32>| named.or(any).unwrap_or(0);
    let (gzip, brotli) = (of(gzip), of(brotli));
    let best = gzip.max(brotli);
    if best == 0 || identity.is_some_and(|identity| identity > best) {
        Coding::Identity
    } else if brotli == best {
        Coding::Brotli
    } else {
        Coding::Gzip
    }
}

/// A qvalue in thousandths (§12.4.2); `None` of what is none.
fn quality(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|&(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    const DAY: &str = "Thu, 01 Jan 1970 00:01:40 GMT"; // 100 s

    #[test]
    fn conditions() {
        let check = |list: &[(&'static str, &'static str)], expected| {
            assert_eq!(judge(&headers(list), "\"a\"", Some(100)), expected, "{list:?}")
        };
        check(&[], Verdict::Proceed);
        check(&[("if-none-match", "\"a\"")], Verdict::NotModified);
        check(&[("if-none-match", "W/\"a\"")], Verdict::NotModified);
        check(&[("if-none-match", "\"x,y\", \"a\"")], Verdict::NotModified);
        check(&[("if-none-match", "*")], Verdict::NotModified);
        check(&[("if-none-match", "\"b\", \"c\"")], Verdict::Proceed);
        check(&[("if-none-match", "a")], Verdict::Proceed);
        check(&[("if-modified-since", DAY)], Verdict::NotModified);
        check(&[("if-modified-since", "Thu, 01 Jan 1970 00:01:39 GMT")], Verdict::Proceed);
        check(&[("if-modified-since", "yesterday")], Verdict::Proceed);
        // If-None-Match has the last word.
        check(&[("if-none-match", "\"b\""), ("if-modified-since", DAY)], Verdict::Proceed);
        assert_eq!(judge(&headers(&[("if-modified-since", DAY)]), "\"a\"", None), Verdict::Proceed);
        check(&[("if-match", "\"a\"")], Verdict::Proceed);
        check(&[("if-match", "W/\"a\"")], Verdict::PreconditionFailed);
        check(&[("if-match", "\"b\"")], Verdict::PreconditionFailed);
        check(&[("if-unmodified-since", "Thu, 01 Jan 1970 00:01:39 GMT")], Verdict::PreconditionFailed);
    }

    #[test]
    fn if_range() {
        let check = |value: &'static str, expected| {
            assert_eq!(range_holds(&headers(&[("if-range", value)]), "\"a\"", Some(100)), expected, "{value}")
        };
        check("\"a\"", true);
        check("\"b\"", false);
        check("W/\"a\"", false);
        check(DAY, true);
        check("Thu, 01 Jan 1970 00:01:41 GMT", false);
        assert!(range_holds(&headers(&[]), "\"a\"", Some(100)));
    }

    #[test]
    fn codings() {
        let check = |value: &'static str, expected| {
            assert_eq!(coding(&headers(&[("accept-encoding", value)])), expected, "{value}")
        };
        check("gzip, deflate, br", Coding::Brotli);
        check("gzip", Coding::Gzip);
        check("gzip;q=1.0, br;q=0.5", Coding::Gzip);
        check("br;q=0, *", Coding::Gzip);
        check("identity", Coding::Identity);
        check("identity, gzip;q=0.5", Coding::Identity);
        check("gzip;q=0", Coding::Identity);
        check("gzip;q=x", Coding::Identity);
        check("", Coding::Identity);
        assert_eq!(coding(&headers(&[])), Coding::Identity);
    }
}
