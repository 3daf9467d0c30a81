//! Numbers and bytes as text, pushed onto a buffer: manifests are thousands of them, and each of these costs no allocation.

/// The two digits of every number below a hundred: half as many divisions, which is what numbers cost.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < pairs.len() {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// Writes the digits of `value` before `end` of `digits`; returns where they begin.
fn write_before(digits: &mut [u8], end: usize, mut value: u64) -> usize {
    let mut at = end;
    while value >= 100 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    let pair = PAIRS[value as usize];
    let count = if value < 10 { 1 } else { 2 };
    at -= count;
    digits[at..at + count].copy_from_slice(&pair[2 - count..]);
    at
}

/// Appends `value` in decimal.
pub(crate) fn decimal(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let at = write_before(&mut digits, 20, value);
    out.extend_from_slice(&digits[at..]);
}

/// Appends `micros` microseconds as seconds with six decimals: `6.000000`.
pub(crate) fn seconds(out: &mut Vec<u8>, micros: u64) {
    let mut digits = [0; 27];
    let fraction = micros % 1_000_000;
    for (at, pair) in [(21, fraction / 10_000), (23, fraction / 100 % 100), (25, fraction % 100)] {
        digits[at..at + 2].copy_from_slice(&PAIRS[pair as usize]);
    }
    digits[20] = b'.';
    let at = write_before(&mut digits, 20, micros / 1_000_000);
    out.extend_from_slice(&digits[at..]);
}

/// Appends `bytes` in lower-case hexadecimal.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Appends `id` as a UUID (RFC 9562 §4): `edef8ba9-79d6-4ace-a3c8-27dcd51d21ed`.
pub(crate) fn uuid(out: &mut Vec<u8>, id: &[u8; 16]) {
    hex(out, &id[..4]);
    for part in [&id[4..6], &id[6..8], &id[8..10], &id[10..]] {
        out.push(b'-');
        hex(out, part);
    }
}

/// Appends `bytes` in base64 with padding (RFC 4648 §4).
pub(crate) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        let mut four = [18, 12, 6, 0].map(|shift| ALPHABET[(word >> shift & 63) as usize]);
        four[group.len() + 1..].fill(b'=');
        out.extend_from_slice(&four);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pushed(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn base64_as_in_rfc_4648() {
        // RFC 4648 §10
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(pushed(|out| base64(out, bytes.as_bytes())), text);
        }
    }

    #[test]
    fn uuids_have_their_hyphens() {
        let id = *b"\xed\xef\x8b\xa9\x79\xd6\x4a\xce\xa3\xc8\x27\xdc\xd5\x1d\x21\xed";
        assert_eq!(pushed(|out| uuid(out, &id)), "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_library_writes_them(value in any::<u64>()) {
            prop_assert_eq!(pushed(|out| decimal(out, value)), value.to_string());
            let expected = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
            prop_assert_eq!(pushed(|out| seconds(out, value)), expected);
        }
    }
}
