//! Tokens: who has one may fetch what lies under a path, until a time.
//!
//! ```text
//!   /~t={expires}.{depth}.{key}.{signature}/films/tour/master.m3u8      what a manifest names inherits it
//!   /films/tour/…/0.m4s?t={expires}.{depth}.{key}.{signature}           this object alone
//!
//!   expires     seconds since 1970
//!   depth       how many segments of the path that follows it is for, with all below; 0: the whole path and nothing else
//!   key         which secret: 1 to 32 letters, digits, _ and -
//!   signature   base64url without padding (RFC 4648 §5) of HMAC-SHA256(secret, "headwater-1\n{expires}\n{path}")
//!   path        "/films/tour/" for depth 2, the whole path for depth 0; percent-encoding resolved
//! ```

use aws_lc_rs::hmac;

use crate::server::access::secret::Secret;
use crate::time::Utc;

/// Segments of a path that a token may be for.
const DEPTH_MAX: usize = 32;
/// What is signed begins with this, so that no other use of the same secret signs the same.
const CONTEXT: &str = "headwater-1";
/// Characters of a key's name.
const KEY_CHARS_MAX: usize = 32;
/// Characters of a signature: 32 bytes.
const SIGNATURE_CHARS: usize = 43;

/// A secret with its name.
#[derive(Clone)]
pub struct Key {
    /// Its name in tokens.
    pub id: String,
    secret: Secret,
    key: hmac::Key,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.id == other.id && self.secret == other.secret
    }
}

impl Eq for Key {}

/// Why a token does not open a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is malformed, of a key that is not known, or signs something else.
    Wrong,
    /// It was right.
    Expired,
}

impl Key {
    /// A key called `id`; the error says what is wrong with the name.
    pub fn new(id: String, secret: Secret) -> Result<Key, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if id.is_empty() || id.len() > KEY_CHARS_MAX || !id.bytes().all(is_plain) {
            return Err(format!("{id:?} is no name of 1 to {KEY_CHARS_MAX} letters, digits, _ and -"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.bytes());
        Ok(Key { id, secret, key })
    }

    /// What tells two keys apart and shows neither.
    pub fn mark(&self) -> String {
        format!("{}:{}", self.id, self.secret.mark())
    }

    /// A token for the first `depth` segments of `path`, or with 0 for all of it, whose percent-encoding is resolved; `None` if it has not so
    /// many with something below.
    pub fn sign(&self, path: &str, depth: usize, expires_s: u64) -> Option<String> {
        let signed = covered(path, depth)?;
        let tag = hmac::sign(&self.key, message(expires_s, signed).as_bytes());
        Some(format!("{expires_s}.{depth}.{}.{}", self.id, base64url(tag.as_ref())))
    }
}

/// Whether `token` opens `path`, as of `now`, with one of `keys`.
pub fn verify(keys: &[Key], token: &str, path: &str, now: Utc) -> Result<(), Refusal> {
    let mut fields = token.split('.');
    let [Some(expires), Some(depth), Some(id), Some(signature), None] = [(); 5].map(|()| fields.next()) else {
        return Err(Refusal::Wrong);
    };
    let expires_s: u64 = canonical(expires).ok_or(Refusal::Wrong)?;
    let depth = canonical(depth).and_then(|depth| usize::try_from(depth).ok()).ok_or(Refusal::Wrong)?;
    let signed = covered(path, depth).ok_or(Refusal::Wrong)?;
    let tag = tag(signature).ok_or(Refusal::Wrong)?;
    let key = keys.iter().find(|key| key.id == id).ok_or(Refusal::Wrong)?;
    // In the same time whatever the tag is.
    hmac::verify(&key.key, message(expires_s, signed).as_bytes(), &tag).map_err(|_| Refusal::Wrong)?;
    if now.0 / 1000 < expires_s { Ok(()) } else { Err(Refusal::Expired) }
}

fn message(expires_s: u64, signed: &str) -> String {
    format!("{CONTEXT}\n{expires_s}\n{signed}")
}

/// What of `path` a token of this depth is for.
fn covered(path: &str, depth: usize) -> Option<&str> {
    if !path.starts_with('/') || depth > DEPTH_MAX {
        return None;
    }
    if depth == 0 {
        return Some(path);
    }
    let (slash, _) = path.match_indices('/').nth(depth)?;
    Some(&path[..=slash])
}

/// One spelling a number.
fn canonical(digits: &str) -> Option<u64> {
    let is_canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if is_canonical { digits.parse().ok() } else { None }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// RFC 4648 §5, without padding.
fn base64url(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

/// The tag that a signature spells, in its one spelling.
fn tag(text: &str) -> Option<[u8; 32]> {
    if text.len() != SIGNATURE_CHARS {
        return None;
    }
    let mut tag = [0; 32];
    let (mut bits, mut count, mut at) = (0_u32, 0, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            tag[at] = (bits >> count) as u8;
            at += 1;
            bits &= (1 << count) - 1;
        }
    }
    // 43 characters are 258 bits: the last two are of no byte.
    (bits == 0).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Utc = Utc(1_900_000_000_000);

    fn key(id: &str, secret: &str) -> Key {
        Key::new(id.to_owned(), Secret::new(secret.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_token_is_what_the_documentation_says() {
        // printf 'headwater-1\n1900003600\n/films/tour/' | openssl dgst -sha256 -hmac 'correct horse battery' -binary |
        //   basenc --base64url | tr -d =
        let key = key("a", "correct horse battery");
        let token = key.sign("/films/tour/master.m3u8", 2, 1_900_003_600).unwrap();
        assert_eq!(token, "1900003600.2.a.pK9TPWsqG8KTIF7UPsNVQZQoGrsnyy3Kq5qNLAblnJk");
    }

    #[test]
    fn a_token_opens_what_lies_below_its_path_until_its_time() {
        let keys = [key("old", "an older secret, still good"), key("new", "the secret that signs now")];
        let token = keys[0].sign("/films/tour/master.m3u8", 2, 1_900_000_010).unwrap();
        let check = |token: &str, path: &str, now: Utc| verify(&keys, token, path, now);
        for path in ["/films/tour/master.m3u8", "/films/tour/v/0123456789abcdef/0.m4s", "/films/tour/x"] {
            assert_eq!(check(&token, path, NOW), Ok(()), "{path}");
        }
        for path in ["/films/tours/master.m3u8", "/films/tour", "/films/other/master.m3u8", "/tour/master.m3u8", ""] {
            assert_eq!(check(&token, path, NOW), Err(Refusal::Wrong), "{path}");
        }
        assert_eq!(check(&token, "/films/tour/x", Utc(1_900_000_009_999)), Ok(()));
        assert_eq!(check(&token, "/films/tour/x", Utc(1_900_000_010_000)), Err(Refusal::Expired));
        // Rotation: what the old key signed is good as long as the key is listed.
        assert_eq!(verify(&keys[1..], &token, "/films/tour/x", NOW), Err(Refusal::Wrong));
        let alone = keys[1].sign("/films/tour/v/0123456789abcdef/0.m4s", 0, 1_900_000_010).unwrap();
        assert_eq!(check(&alone, "/films/tour/v/0123456789abcdef/0.m4s", NOW), Ok(()));
        assert_eq!(check(&alone, "/films/tour/v/0123456789abcdef/1.m4s", NOW), Err(Refusal::Wrong));
        assert_eq!(keys[0].sign("/films/tour", 2, 0), None);
    }

    #[test]
    fn no_other_spelling_of_a_token_is_one() {
        let keys = [key("a", "correct horse battery")];
        let token = keys[0].sign("/tour/master.m3u8", 1, 1_900_000_010).unwrap();
        assert_eq!(verify(&keys, &token, "/tour/x", NOW), Ok(()));
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            let other = String::from_utf8(other).unwrap();
            assert!(verify(&keys, &other, "/tour/x", NOW).is_err(), "{other}");
        }
        for other in [
            format!("0{token}"),
            format!("+{token}"),
            format!("{token}="),
            format!("{token}."),
            token.replacen(".1.", ".01.", 1),
            token.replacen(".1.", ".", 1),
            token[..token.len() - 1].to_owned(),
            String::new(),
            ".......".to_owned(),
        ] {
            assert_eq!(verify(&keys, &other, "/tour/x", NOW), Err(Refusal::Wrong), "{other}");
        }
        // The last character has two bits that are of no byte.
        let last = token.bytes().last().unwrap();
        let value = ALPHABET.iter().position(|byte| *byte == last).unwrap();
        assert_eq!(value % 4, 0);
        let twin = format!("{}{}", &token[..token.len() - 1], char::from(ALPHABET[value + 1]));
        assert_eq!(verify(&keys, &twin, "/tour/x", NOW), Err(Refusal::Wrong));
    }

    proptest! {
        #[test]
        fn what_is_signed_opens_and_nothing_panics(path in "(/[a-zé.]{1,4}){1,6}", depth in 0_usize..8, other in "[0-9a-z.~_-]{0,70}") {
            let keys = [key("k", "correct horse battery")];
            if let Some(token) = keys[0].sign(&path, depth, 1_900_000_010) {
                prop_assert_eq!(verify(&keys, &token, &path, NOW), Ok(()));
            }
            prop_assert_eq!(verify(&keys, &other, &path, NOW), Err(Refusal::Wrong));
        }
    }
}
