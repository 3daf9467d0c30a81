//! What the admin listener says of live, and does for it: the channels, and clips of them.

use http::{Request, StatusCode};

use crate::formats::uri::percent_decoded;
use crate::media::shift::Shift;
use crate::origin::channels::ChannelFigures;
use crate::origin::clips::{Clip, NoClip, Recording};
use crate::server::access::token::Key;
use crate::server::http::Refused;
use crate::server::state::State;
use crate::time::Utc;

/// How the channels are; URLs are absolute, and with a token of `key` that is good until `expires_s`.
pub(super) async fn channels(
    state: &State,
    base: &str,
    key: Option<&Key>,
    expires_s: u64,
    now: Utc,
) -> Vec<ChannelFigures> {
    let listed = state.origin.channels_listed(now).await.into_iter().map(|channel| {
        let recording = channel.recording.map(|own| {
            // It is for what lies under the channel, in this stretch alone.
            let token = key.and_then(|key| key.sign(&own.hls, 3, expires_s));
            let token = token.map(|token| format!("/~t={token}")).unwrap_or_default();
            let whole = |path: &str| format!("{base}{token}{path}");
            Recording { hls: whole(&own.hls), dash: whole(&own.dash), ..own }
        });
        ChannelFigures { recording, ..channel }
    });
    listed.collect()
}

/// Makes a presentation of what was broadcast: `POST /api/clips?channel=NAME&presentation=NAME`, with `from=TIME` and `to=TIME`, or of all
/// that is kept.
pub(super) async fn clip(state: &State, request: &Request<()>) -> Result<Clip, Refused> {
    let bad = |message: &str| Err(Refused::new(StatusCode::BAD_REQUEST, "bad_query", message));
    let (mut channel, mut presentation, mut from, mut to) = (None, None, Utc(0), None);
    for pair in request.uri().query().unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=').and_then(|(name, value)| Some((name, percent_decoded(value)?)))
        else {
            return bad("the query is `channel=NAME&presentation=NAME&from=TIME&to=TIME`");
        };
        let time = value.parse::<Utc>();
        match (name, time) {
            ("channel", _) => channel = Some(value),
            ("presentation", _) => presentation = Some(value),
            ("from", Ok(time)) => from = time,
            ("to", Ok(time)) => to = Some(time),
            ("from" | "to", Err(())) => return bad("a time is seconds since 1970, or as in 2026-11-25T22:29:07Z"),
            _ => return bad("what is asked for is `channel`, `presentation`, `from` and `to`"),
        }
    }
    let (Some(channel), Some(presentation)) = (channel, presentation) else {
        return bad("`channel` and `presentation` have to be said");
    };
    if to.is_some_and(|to| to <= from) {
        return bad("`to` is not after `from`");
    }
    match state.origin.clip(&channel, Shift { from, to }, &presentation).await {
        Ok(clip) => {
            tracing::info!(channel, presentation, from = clip.from, duration_s = clip.duration_s, "clip_made");
            Ok(clip)
        }
        Err(why) => {
            let (status, code) = match why {
                NoClip::NoChannel(_) => (StatusCode::NOT_FOUND, "no_such_channel"),
                NoClip::BadName(_) => (StatusCode::BAD_REQUEST, "bad_query"),
                NoClip::Hidden(..) | NoClip::Failed(_) => (StatusCode::CONFLICT, "not_made"),
            };
            Err(Refused::new(status, code, why.to_string()))
        }
    }
}
