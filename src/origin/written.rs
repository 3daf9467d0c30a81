//! What is written of a broadcast: its manifests, each of one state, and segments in another form.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::Lease;
use crate::content::live::pushed;
use crate::media::live::{Broadcast, LivePeriod, LiveTrack};
use crate::media::presentation::{Period, Presentation};
use crate::media::track::{Kind, Track};
use crate::origin::broadcasts::Manifest;
use crate::origin::object::{Object, Problem, Recipe};
use crate::origin::options::Options;
use crate::origin::render::{CODED_MIN_BYTES, HLS, no_such_object};
use crate::packager::hls::rendition::Renditions;
use crate::packager::{dash, hls, rate, text};
use crate::rope::Rope;
use crate::time::MediaTime;

/// What a manifest needs besides the broadcast.
pub(crate) struct Written<'a> {
    /// Where the time of day is, relative to the MPD.
    pub(crate) clock: &'a str,
    /// How long it is what it is.
    pub(crate) lease: Arc<Lease>,
    /// Whether it says how old the media is.
    pub(crate) has_age: bool,
    /// Whether nothing can come that changes it. A broadcast that has ended may go on under the same URL.
    pub(crate) is_final: bool,
}

/// A manifest of `broadcast`.
pub(crate) fn written(
    options: &Options,
    broadcast: &Broadcast,
    manifest: &Manifest,
    how: Written<'_>,
) -> Result<Object, Problem> {
    let newest = broadcast.periods.last().ok_or_else(no_such_object)?;
    let hls_options = hls::Options { key_uri: options.key_uri.clone(), is_live: true, lists_dependent: false };
    let (content_type, max_age_s, text) = match manifest {
        Manifest::Multivariant => {
            let offered = newest.tracks.iter().filter(|track| is_offered_in_hls(track));
            let sets = crate::media::switching::group(offered.map(|track| track.face.as_ref().clone()).collect());
            if !broadcast.lists_media() {
                return Err(Problem::unavailable("not_begun", "nothing is listed yet"));
            }
            // It says which tracks there are, not of which segments.
            let LivePeriod { number, start, origin, .. } = **newest;
            let period = Period { id: number.to_string(), start, duration: MediaTime::ZERO, origin, sets };
            let presentation = Presentation { periods: vec![period], thumbnails: Vec::new(), warnings: Vec::new() };
            let rates = rate::so_far(newest.tracks.iter().map(|track| (track.face.as_ref(), track.rate)));
            let renditions = Renditions::of(&presentation, &rates);
            let has_playlist =
                |track: &LiveTrack| newest.track(&track.face.name).is_some_and(|own| is_offered_in_hls(own));
            let tracks = || broadcast.periods.iter().flat_map(|period| &period.tracks);
            // The tag here is said of every segment of every playlist (rfc8216bis §4.4.2.1).
            let lists_dependent = tracks().any(|track| has_playlist(track) && !hls::live::is_independent(track));
            let hls_options = hls::Options { lists_dependent, ..hls_options };
            let text = hls::multivariant::playlist(&presentation, &renditions, &hls_options);
            (HLS, 1, text.map_err(|why| Problem::not_found("no_hls", why.to_string()))?)
        }
        Manifest::Mpd => {
            let tracks = broadcast.periods.iter().flat_map(|period| &period.tracks);
            let rates = rate::so_far(tracks.map(|track| (track.face.as_ref(), track.rate)));
            let text = dash::live::mpd(broadcast, &rates, how.clock);
            ("application/dash+xml", 1, text.map_err(|why| Problem::not_found("no_dash", why.to_string()))?)
        }
        Manifest::Media { track, is_delta, was_waited_for } => {
            let text = hls::live::playlist(broadcast, track, *is_delta, &hls_options);
            let text = text.map_err(|why| Problem::not_found("no_hls", why.to_string()))?;
            let text = text.ok_or_else(no_such_object)?;
            // Who waited asked for a state by its name, so that it is the same for all who ask for it a little later.
            (HLS, if *was_waited_for { broadcast.timing.target_s } else { 1 }, text)
        }
    };
    let max_age_s = if broadcast.ended { broadcast.timing.target_s } else { max_age_s };
    let is_early = matches!(manifest, Manifest::Mpd) && broadcast.timing.low_latency.is_some() && !broadcast.ended;
    let is_coded = text.len() >= CODED_MIN_BYTES;
    let etag = blake3::hash(&text).to_hex()[..16].to_owned();
    // A player that asks every second for what is new is not to be told by its own cache. And no cache may answer with what was, when the channel is
    // silent or the origin gone (RFC 9111 §5.2.2.2): it would hide that from who could go elsewhere.
    let cache_control = match () {
        () if how.is_final => format!("public, max-age={}", options.manifest_max_age.as_secs()),
        () if is_early => format!("public, max-age=0, s-maxage={max_age_s}, must-revalidate"),
        () => format!("public, max-age={max_age_s}, must-revalidate"),
    };
    let body = Rope::from(Bytes::from(text));
    let Written { lease, has_age, .. } = how;
    Ok(Object::new(Recipe { lease, has_age, is_coded, ..recipe(content_type, etag, cache_control, body) }))
}

/// What is kept as long as its lease lasts, and no longer.
pub(crate) fn recipe(
    content_type: &'static str,
    etag: String,
    cache_control: impl Into<Cow<'static, str>>,
    body: Rope,
) -> Recipe {
    Recipe {
        content_type,
        etag,
        modified_s: None,
        cache_control: cache_control.into(),
        len: body.len(),
        body: Some(body),
        is_coded: false,
        cmsd: None,
        has_age: false,
        lease: Arc::default(),
        grace: Duration::ZERO,
        sent_within: None,
    }
}

/// The same, as an object.
pub(crate) fn object(
    content_type: &'static str,
    etag: String,
    cache_control: impl Into<Cow<'static, str>>,
    body: Rope,
) -> Object {
    Object::new(recipe(content_type, etag, cache_control, body))
}

/// HLS takes no `wvtt` in fragmented MP4, and what is encrypted can't be made to WebVTT.
fn is_offered_in_hls(track: &LiveTrack) -> bool {
    let face = &track.face;
    face.kind != Kind::Text || face.entry.format.0 == *b"stpp" || (hls::live::is_web_vtt(face) && !face.is_protected())
}

/// The cues of a segment of `wvtt`, as WebVTT. One that goes on in the next segment is in both, each with the extent that it has there.
pub(crate) fn web_vtt(face: &Track, origin: MediaTime, body: &[u8]) -> Result<Vec<u8>, String> {
    let (track, samples) = pushed::segment_of(face, body).map_err(|why| why.to_string())?;
    let window = 0..track.samples.len();
    match text::webvtt_segment(&track, origin, 0, window, &samples).map_err(|why| why.to_string())? {
        text::Step::Ready(text) => Ok(text),
        text::Step::Need(_) => Err("a segment that wants another".to_owned()),
    }
}
