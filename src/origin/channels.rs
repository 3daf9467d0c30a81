//! How the channels are, for who watches over them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::content::live::channel::Channel;
use crate::media::live::{Broadcast, LivePeriod, LiveTrack};
use crate::origin::clips::{Recording, recording};
use crate::origin::serve::Origin;
use crate::time::Utc;

/// After so many target durations without media, manifests are not answered, so that a CDN takes another origin.
const SILENT_TARGETS: u64 = 3;

/// A channel as it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ChannelFigures {
    /// In URLs.
    pub name: String,
    /// `gathering`, `live`, `silent` or `ended`.
    pub state: &'static str,
    /// Seconds since media last came.
    pub media_age_s: f64,
    /// Seconds since what viewers are told last changed.
    pub manifest_age_s: f64,
    /// The longest segment, in seconds.
    pub target_s: u64,
    /// The longest part, in seconds, where there are parts.
    pub part_target_s: Option<f64>,
    /// How far from the live edge DASH is to be played, in seconds, where it may be at low latency.
    pub latency_s: Option<f64>,
    /// Requests that wait for what comes next.
    pub waiting: usize,
    /// Its tracks, each in the newest period that has it.
    pub tracks: Vec<TrackFigures>,
    /// The encoders that pushed to it, by name.
    pub encoders: Vec<EncoderFigures>,
    /// How often a track went on with another encoder, since the server began.
    pub takeovers: u64,
    /// Where what was broadcast remains, if it has ended and an archive is kept.
    pub recording: Option<Recording>,
}

/// An encoder of a channel as it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct EncoderFigures {
    /// What it calls itself, or the address that it pushes from.
    pub name: String,
    /// `active`, `standby` or `silent`.
    pub state: &'static str,
    /// Seconds since something of it came.
    pub heard_s: f64,
    /// Segments that began with its media, since the server began.
    pub segments: u64,
    /// Tracks whose media is its own.
    pub active: Vec<String>,
    /// Tracks that it stands by for.
    pub standby: Vec<String>,
}

/// A track of a channel as it is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TrackFigures {
    /// In URLs.
    pub name: String,
    /// `video`, `audio` or `text`.
    pub kind: String,
    /// `live`; `missing`, if others go on and nothing of it comes; `left`, if the newest period began without it.
    pub state: &'static str,
    /// The media sequence number of the segment that comes next, or grows.
    pub next_number: u64,
    /// How far its end is from now, in seconds.
    pub behind_s: f64,
    /// How much that has grown since media began to come, in seconds, because the encoder's clock is another: `null` within the first minutes.
    pub drift_s: Option<f64>,
    /// Segments that are listed.
    pub listed: usize,
    /// Those of them that are missing.
    pub gaps: usize,
}

impl ChannelFigures {
    fn of(channel: &Channel, now: Utc) -> ChannelFigures {
        let broadcast = channel.broadcast();
        let age_s = |at: Utc| if at.0 == 0 { 0.0 } else { now.0.saturating_sub(at.0) as f64 / 1000.0 };
        let state = match () {
            () if broadcast.ended => "ended",
            () if broadcast.periods.is_empty() => "gathering",
            () if is_silent(&broadcast, now) => "silent",
            () => "live",
        };
        let seconds = |ms: u64| ms as f64 / 1000.0;
        let (encoders, takeovers) = channel.encoders(now);
        let encoders = encoders.into_iter().map(|own| EncoderFigures {
            state: match () {
                () if !own.is_alive => "silent",
                () if own.active.is_empty() => "standby",
                () => "active",
            },
            heard_s: age_s(own.heard),
            name: own.name,
            segments: own.segments,
            active: own.active,
            standby: own.standby,
        });
        ChannelFigures {
            name: channel.name().to_owned(),
            state,
            media_age_s: age_s(broadcast.media_at),
            manifest_age_s: age_s(broadcast.published),
            target_s: broadcast.timing.target_s,
            part_target_s: broadcast.timing.part_target_ms.map(seconds),
            latency_s: broadcast.timing.low_latency.map(|own| seconds(own.target_ms)),
            waiting: channel.waiting(),
            tracks: tracks(channel, &broadcast, now),
            encoders: encoders.collect(),
            takeovers,
            recording: None,
        }
    }

    /// Segments that are listed as missing.
    pub fn gaps(&self) -> usize {
        self.tracks.iter().map(|track| track.gaps).sum()
    }
}

fn tracks(channel: &Channel, broadcast: &Broadcast, now: Utc) -> Vec<TrackFigures> {
    let newest = broadcast.periods.last().map(|period| period.number);
    let mut found: BTreeMap<&str, (&LivePeriod, &LiveTrack)> = BTreeMap::new();
    for period in &broadcast.periods {
        found.extend(period.tracks.iter().map(|track| (track.face.name.as_str(), (&**period, &**track))));
    }
    // Who left is shown for as long as something of it is listed.
    found.retain(|_, (period, track)| Some(period.number) == newest || track.listed().next().is_some());
    let figures = found.into_values().map(|(period, track)| {
        let end = track.end();
        let end_ms = broadcast.utc_us(period, end, track.face.timescale) / 1000;
        TrackFigures {
            name: track.face.name.clone(),
            kind: track.face.kind.to_string(),
            state: match () {
                () if Some(period.number) != newest => "left",
                () if track.open.is_none() && track.segments.last().is_some_and(|last| last.is_gap) => "missing",
                () => "live",
            },
            next_number: track.open.as_ref().map_or(track.next_number, |open| open.number),
            behind_s: (now.0 as f64 - end_ms as f64) / 1000.0,
            drift_s: channel.drift_ms(&track.face.name).map(|ms| ms as f64 / 1000.0),
            listed: track.listed().count(),
            gaps: track.listed().filter(|segment| segment.is_gap).count(),
        }
    });
    figures.collect()
}

/// Whether no media comes to `broadcast`, though it should.
pub(crate) fn is_silent(broadcast: &Broadcast, now: Utc) -> bool {
    !broadcast.ended && now > silent_at(broadcast)
}

/// Until when media has to come to `broadcast`.
pub(crate) fn silent_at(broadcast: &Broadcast) -> Utc {
    broadcast.media_at.after(Duration::from_secs(broadcast.timing.target_s * (SILENT_TARGETS + 1)))
}

impl Origin {
    /// Whether a presentation of the library would be hidden by a channel called `name`, as of `now`: its name is that, or begins with it. A
    /// storage that does not answer hides nothing.
    pub async fn is_of_library(&self, name: &str, now: Utc) -> bool {
        let folder = format!("{name}/");
        let is_below = || self.library().listed(Some(&folder), 1).iter().any(|entry| entry.name().starts_with(&folder));
        is_below() || self.library().find(name, now).await.is_ok_and(|entry| entry.is_some())
    }

    /// All channels, by name. Elsewhere, for a channel may wait for its disk meanwhile.
    pub async fn channel_figures(&self, now: Utc) -> Vec<ChannelFigures> {
        let all = self.channels().all();
        let figures = move || all.iter().map(|channel| ChannelFigures::of(channel, now)).collect();
        tokio::task::spawn_blocking(figures).await.unwrap_or_default()
    }

    /// The same, with what remains of those that have ended, which the disk says.
    pub async fn channels_listed(&self, now: Utc) -> Vec<ChannelFigures> {
        let all = self.channels().all();
        let listed = move || {
            let of = |channel| ChannelFigures { recording: recording(channel), ..ChannelFigures::of(channel, now) };
            all.iter().map(of).collect()
        };
        tokio::task::spawn_blocking(listed).await.unwrap_or_default()
    }
}
