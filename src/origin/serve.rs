//! The way of a request, whole, from top to bottom.

use std::sync::Arc;

use http::{Request, Response};

use crate::origin::listing::{Fill, Listing};
use crate::origin::object::Body;
use crate::time::Utc;

/// Everything that answers requests on the media listener.
#[derive(Debug)]
pub struct Origin {}

impl Origin {
    /// Answers `request`, as of `now`. Dropping the future loses nothing: what it was making is made all the same.
    pub async fn serve(self: &Arc<Self>, request: &Request<()>, now: Utc) -> Response<Body> {
        let _ = (request, now);
        Response::new(Body::empty())
    }
}

impl Origin {
    /// At most `limit` presentations whose names come after `after`, by name.
    pub fn listings(&self, after: Option<&str>, limit: usize) -> Vec<Listing> {
        let _ = (after, limit);
        Vec::new()
    }

    /// How full the cache is.
    pub fn fill(&self) -> Fill {
        Fill::default()
    }
}
