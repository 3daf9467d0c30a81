//! What tells one state of an object from another (RFC 9110 §8.8.3).

/// What a read must find, and what tells it from another state of the object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag(pub Option<String>);

impl Tag {
    /// The entity tag if equal bytes alone have it (RFC 9110 §8.8.1).
    pub fn strong(&self) -> Option<&str> {
        self.0.as_deref().filter(|tag| !tag.starts_with("W/"))
    }
}
