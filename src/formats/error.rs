//! What is wrong with bytes from outside: what, and where.

use std::borrow::Cow;
use std::fmt;

/// Bytes that are not what their format says: a sentence, the box path, and the offset where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong, in numbers where there are any.
    pub what: Cow<'static, str>,
    /// Path of boxes, outermost first, `moof/traf/trun`; empty where no box is meant.
    pub path: String,
    /// Offset of the innermost box named, in bytes from the start of what was parsed.
    pub offset: u64,
}

impl Malformed {
    /// `what` is wrong at `offset`.
    pub fn new(what: impl Into<Cow<'static, str>>, offset: u64) -> Malformed {
        Malformed { what: what.into(), path: String::new(), offset }
    }

    /// The same, seen from the box around it: `name` comes before the path, and the offset is that of the inner box.
    pub fn within(mut self, name: impl fmt::Display) -> Malformed {
        self.path = if self.path.is_empty() { name.to_string() } else { format!("{name}/{}", self.path) };
        self
    }

    /// The same, where the bytes parsed began `offset` bytes into something larger.
    pub fn shifted(mut self, offset: u64) -> Malformed {
        self.offset += offset;
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.what)?;
        if !self.path.is_empty() {
            write!(f, "{} ", self.path)?;
        }
        write!(f, "at {:#x})", self.offset)
    }
}

impl std::error::Error for Malformed {}
