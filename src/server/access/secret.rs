//! What nobody is shown: it has no text, and is compared in the same time whatever it is compared with.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Bytes of a secret at least: what cannot be guessed.
pub const SECRET_BYTES_MIN: usize = 16;
/// At most: longer ones are a mistake, such as the wrong file.
pub const SECRET_BYTES_MAX: usize = 4096;

/// A secret.
#[derive(Clone)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// `text`, without the newline that ends a file; the error says what is wrong with its length.
    pub fn new(text: &[u8]) -> Result<Secret, String> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match text.len() {
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => Ok(Secret(text.into())),
            len => Err(format!("a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, not {len}")),
        }
    }

    /// Whether it is `other`. How long that takes tells the length of the secret at most.
    pub fn is(&self, other: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, other).is_ok()
    }

    /// What tells two secrets apart and shows neither.
    pub fn mark(&self) -> String {
        blake3::hash(&self.0).to_hex()[..16].to_owned()
    }

    /// For who signs with it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_it_is_and_shows_nothing() {
        let secret = Secret::new(b"correct horse battery\r\n").unwrap();
        assert!(secret.is(b"correct horse battery"));
        for other in ["", "correct horse batter", "correct horse batterz", "correct horse battery\n"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{secret:?}"), "(hidden)");
        assert_eq!(Secret::new(b"short\n").unwrap_err(), "a secret has 16 to 4096 bytes, not 5");
        assert!(Secret::new(&[b'a'; 5000]).is_err());
    }
}
