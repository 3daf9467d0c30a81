//! Time shift: what was broadcast, under names that begin with when, which what a manifest names inherits.
//!
//! ```text
//!   /~from=1795645747/~to=2026-11-25T23:00:00Z/{channel}/master.m3u8      a stretch that is over: as on demand
//!   /~from=2026-11-25T22:00:00Z/{channel}/manifest.mpd                    from its beginning, while it goes on
//! ```

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::cache::Role;
use crate::content::live::channel::Channel;
use crate::media::live::{Broadcast, LiveSegment};
use crate::media::shift::Shift;
use crate::media::track::{Track, Version};
use crate::origin::address::Class;
use crate::origin::admission::Work;
use crate::origin::broadcasts::Manifest;
use crate::origin::object::{COLLAPSED, HIT, Object, Problem, STORED};
use crate::origin::serve::Origin;
use crate::origin::written::{Written, written};
use crate::time::{MediaTime, Utc};

/// The longest stretch: a day of segments of two seconds is a playlist of three megabytes.
pub(crate) const STRETCH_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a path is of that begins with when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shifted<'a> {
    pub(crate) shift: Shift,
    /// How many segments of the path say when.
    pub(crate) depth: usize,
    /// The path without them.
    pub(crate) rest: &'a str,
}

/// `key` without what says when.
pub(crate) fn without(key: &str) -> &str {
    let mut rest = key;
    while rest.starts_with("/~from=") || rest.starts_with("/~to=") {
        let Some(slash) = rest[1..].find('/') else { return rest };
        rest = &rest[slash + 1..];
    }
    rest
}

/// Reads when `key` is of; `None` if it does not say.
pub(crate) fn parse(key: &str) -> Option<Result<Shifted<'_>, Problem>> {
    (without(key).len() < key.len()).then(|| stretch(key))
}

fn stretch(key: &str) -> Result<Shifted<'_>, Problem> {
    let bad = |what: &str| Problem::new(StatusCode::BAD_REQUEST, "bad_stretch", what);
    let said = |rest: &'_ str, name: &str| -> Option<(String, usize)> {
        let value = rest.strip_prefix("/~")?.strip_prefix(name)?.strip_prefix('=')?.split('/').next()?;
        Some((value.to_owned(), rest[1..].find('/').map_or(rest.len(), |slash| slash + 1)))
    };
    let time = |text: &str| {
        let what = "a time is seconds since 1970, or as in 2026-11-25T22:29:07Z";
        text.parse::<Utc>().map_err(|()| bad(what))
    };
    let (from, end) = said(key, "from").ok_or_else(|| bad("~from= is missing"))?;
    let (from, mut rest, mut depth) = (time(&from)?, &key[end..], 1);
    let mut to = None;
    if let Some((text, end)) = said(rest, "to") {
        (to, rest, depth) = (Some(time(&text)?), &rest[end..], 2);
    }
    // Else one object had as many names as somebody makes up.
    if without(rest).len() < rest.len() {
        return Err(bad("a path says when once: ~from=, then perhaps ~to="));
    }
    if to.is_some_and(|to| to <= from) {
        return Err(bad("~to= is not after ~from="));
    }
    if to.is_some_and(|to| to > from.after(STRETCH_MAX)) {
        return Err(bad("a stretch has at most 24 hours"));
    }
    Ok(Shifted { shift: Shift { from, to }, depth, rest })
}

impl Origin {
    /// A manifest of the stretch of `channel` that `shifted` names, as of `live`; `key` is its path.
    pub(crate) async fn shifted_manifest(
        &self,
        channel: &Arc<Channel>,
        live: Arc<Broadcast>,
        shifted: &Shifted<'_>,
        manifest: Manifest,
        key: &str,
        now: Utc,
    ) -> Result<(Arc<Object>, HeaderValue), Problem> {
        let shift = shifted.shift;
        let is_over = shift.is_over(&live);
        let end = live.periods.last().and_then(|period| live.end_us(period)).map_or(live.media_at, |us| Utc(us / 1000));
        let until = if is_over { end } else { end.max(now) };
        if shift.to.is_none() && until > shift.from.after(STRETCH_MAX) {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_stretch", "a stretch has at most 24 hours"));
        }
        // What is over has one content as long as all of it is kept; what goes on, as long as the channel is what it is now.
        let is_final = shift.is_past(&live);
        let (key, lease) = match (&manifest, is_final) {
            (_, true) => (key.to_owned(), channel.lease()),
            (Manifest::Media { is_delta, was_waited_for, .. }, _) => {
                let lease = self.broadcasts.lease(channel, live.sequence, now);
                (format!("{key}?{is_delta}&{was_waited_for}"), lease)
            }
            (_, false) => (format!("{key}?"), self.broadcasts.lease(channel, live.sequence, now)),
        };
        let place = self.place_later(Work::Manifest);
        let (channel, options, stretches) =
            (Arc::clone(channel), Arc::clone(&self.options), Arc::clone(&self.stretches));
        let clock = format!("{}time", "../".repeat(shifted.depth + 1));
        let making = async move {
            let Some(_turn) = stretches.turn().await else {
                return Err(Problem::unavailable("reads_busy", "too many stretches wait to be made; try again"));
            };
            // Who waits has none: many stretches of one viewer leave the places to manifests that cost milliseconds.
            let _place = place()?;
            let work = move || {
                let broadcast = channel.shifted(&live, &shift).map_err(|error| unreadable(&error))?;
                if broadcast.periods.is_empty() {
                    return Err(Problem::not_found(
                        "nothing_there",
                        "nothing of this stretch is there, or not any more",
                    ));
                }
                let how = Written { clock: &clock, lease, has_age: false, is_final };
                written(&options, &broadcast, &manifest, how).map(|object| Arc::new(object.coded()))
            };
            tokio::task::spawn_blocking(work).await.map_err(|_| unreadable(&"lost"))?
        };
        let cache = self.cache(Class::Manifest);
        if let Some(known) = cache.get(&key).await.filter(|known| known.is_servable(now)) {
            return Ok((known, HIT));
        }
        let (role, result) = cache.make(&key, move |object| object.is_servable(now), making).await;
        let how = if role == Role::Joined { COLLAPSED } else { STORED };
        self.landed(role, result).map(|object| (object, how))
    }

    /// The segment of `name` at `time` that has left the window, if it is kept.
    pub(crate) async fn kept_segment(
        &self,
        channel: &Arc<Channel>,
        name: &str,
        version: Version,
        time: i64,
    ) -> Result<Option<Arc<LiveSegment>>, Problem> {
        if channel.shelf().is_none() {
            return Ok(None);
        }
        let (channel, name) = (Arc::clone(channel), name.to_owned());
        let _place = self.place(Work::Segment)?;
        let find = move || match channel.shelf() {
            Some(shelf) => shelf.segment(&name, version, time).map_err(|error| unreadable(&error)),
            None => Ok(None),
        };
        let found = tokio::task::spawn_blocking(find).await.map_err(|_| unreadable(&"lost"))??;
        Ok(found.filter(|segment| !segment.is_gap))
    }

    /// What `name` was in this `version`, if that is kept, and where its period began.
    pub(crate) async fn kept_face(
        &self,
        channel: &Arc<Channel>,
        name: &str,
        version: Version,
    ) -> Result<Option<(Arc<Track>, MediaTime)>, Problem> {
        if channel.shelf().is_none() {
            return Ok(None);
        }
        let (channel, name) = (Arc::clone(channel), name.to_owned());
        let _place = self.place(Work::Segment)?;
        let find = move || match channel.shelf() {
            Some(shelf) => shelf.face(&name, version).map_err(|error| unreadable(&error)),
            None => Ok(None),
        };
        tokio::task::spawn_blocking(find).await.map_err(|_| unreadable(&"lost"))?
    }
}

fn unreadable(why: &dyn std::fmt::Display) -> Problem {
    tracing::warn!(%why, "the archive can't be read");
    Problem::unavailable("source_unreadable", "the archive can't be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::library::{self, Library};
    use crate::content::live::channel::{self, Channels};
    use crate::origin::options::Options;
    use crate::telemetry::{ReadOf, Refused, Telemetry};

    #[tokio::test]
    async fn stretches_that_waited_for_their_turn_had_the_places_of_manifests_on_demand() {
        let now = Utc(1_900_000_000_000);
        let channels = Channels::open(channel::Options { open: true, ..channel::Options::default() }, now).unwrap();
        let channel = channels.for_push("tv").unwrap();
        let library = Arc::new(Library::new(library::Options::new("there-is-no-such-library".into())));
        let (options, telemetry) = (Options { flights_max: 16, ..Options::default() }, Arc::<Telemetry>::default());
        let origin = Arc::new(Origin::new(library, options, Arc::clone(&telemetry)));
        let mut turns = Vec::new();
        while telemetry.reads_under_way.at(ReadOf::Stretch).get() < 4 {
            turns.push(origin.stretches.turn().await.unwrap());
        }
        let asked: Vec<_> = (1..=40)
            .map(|from| {
                let (origin, channel) = (Arc::clone(&origin), Arc::clone(&channel));
                tokio::spawn(async move {
                    let key = format!("/~from={from}/tv/manifest.mpd");
                    let shifted = parse(&key).unwrap().unwrap();
                    let live = Arc::new(Broadcast { media_at: Utc(60_000), ended: true, ..Broadcast::default() });
                    origin.shifted_manifest(&channel, live, &shifted, Manifest::Mpd, &key, now).await.map(|_| ())
                })
            })
            .collect();
        let refused = || asked.iter().filter(|asked| asked.is_finished()).count();
        while refused() + (telemetry.reads_waiting.at(ReadOf::Stretch).get() as usize) < asked.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!((refused(), telemetry.work_refused.at(Refused::Manifest).get()), (0, 0));
        let places: Vec<_> = (0..15).map(|_| origin.place(Work::Manifest).is_ok()).collect();
        assert!(places.iter().all(|is_there| *is_there), "{places:?}");
        drop(turns);
        for asked in asked {
            assert_eq!(asked.await.unwrap().unwrap_err().status(), StatusCode::NOT_FOUND);
        }
    }

    #[test]
    fn a_path_may_begin_with_when() {
        let parsed = |key: &'static str| parse(key).map(|result| result.map(|s| (s.shift, s.depth, s.rest)));
        let shift = |from: u64, to: Option<u64>| Shift { from: Utc(from), to: to.map(Utc) };
        assert_eq!(parsed("/~from=10/tv/v/media.m3u8"), Some(Ok((shift(10_000, None), 1, "/tv/v/media.m3u8"))));
        let both = "/~from=2026-11-25T22:29:07Z/~to=1795645800.5/tv/master.m3u8";
        let expected = shift(1_795_645_747_000, Some(1_795_645_800_500));
        assert_eq!(parsed(both), Some(Ok((expected, 2, "/tv/master.m3u8"))));
        assert_eq!(parsed("/tv/master.m3u8"), None);
        for key in [
            "/~from=/tv/a",
            "/~from=x/tv/a",
            "/~from=10/~to=10/tv/a",
            "/~from=0/~to=86401/tv/a",
            "/~from=1/~to=/a",
            // Names that would all be of one object.
            "/~to=10/tv/a",
            "/~from=1/~from=2/tv/a",
            "/~from=1/~to=2/~to=3/tv/a",
            "/~from=1/~to=2/~from=3/tv/a",
        ] {
            assert_eq!(parsed(key).unwrap().unwrap_err().status(), StatusCode::BAD_REQUEST, "{key}");
        }
    }
}
