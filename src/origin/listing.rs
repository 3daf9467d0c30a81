//! What the library holds, as the admin listener and the terminal show it.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::content::live::channel::Channel;
use crate::media::presentation::Period;
use crate::media::thumbnails::Thumbnails;
use crate::media::track::Track;
use crate::origin::address::encode;
use crate::origin::render::Render;
use crate::origin::serve::{Origin, being_opened};
use crate::time::Utc;

/// How long all that has to be opened of storages for one answer is waited for: a person looks at the page.
const STORAGES_WAIT: Duration = Duration::from_secs(3);

/// A presentation, summed up.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Its name: the first segments of its URLs.
    pub name: String,
    /// Whether it is live.
    pub live: bool,
    /// Seconds; `None` while live.
    pub duration_s: Option<f64>,
    /// Path of the HLS multivariant playlist on the media listener; `None` if HLS can't be offered.
    pub hls: Option<String>,
    /// Path of the DASH MPD on the media listener; `None` if DASH can't be offered.
    pub dash: Option<String>,
    /// Which rule made it one presentation, a short sentence.
    pub rule: String,
    /// The stretches that play one after another: clips, or one that is all.
    pub periods: Vec<PeriodListing>,
    /// Its tracks, by period.
    pub tracks: Vec<TrackListing>,
    /// Small pictures of it, many to a sheet, evenly spaced from the beginning on.
    pub thumbnails: Vec<ThumbnailsListing>,
    /// What was left out and what is odd, in sentences.
    pub warnings: Vec<String>,
}

/// A stretch of a presentation.
#[derive(Clone, Debug, Serialize)]
pub struct PeriodListing {
    /// Unique in the presentation: DASH Period@id.
    pub id: String,
    /// From the presentation's start.
    pub start_s: f64,
    /// Seconds.
    pub duration_s: f64,
}

/// A track, summed up.
#[derive(Clone, Debug, Serialize)]
pub struct TrackListing {
    /// Its name in URLs.
    pub name: String,
    /// The id of its period.
    pub period: String,
    /// `video`, `audio` or `text`.
    pub kind: String,
    /// RFC 6381.
    pub codec: String,
    /// BCP 47.
    pub language: Option<String>,
    /// Peak bits a second.
    pub bandwidth: u64,
    /// Number of segments.
    pub segments: usize,
    /// Pixels, of video.
    pub width: Option<u16>,
    /// Pixels, of video.
    pub height: Option<u16>,
    /// Frames a second, of video.
    pub frame_rate: Option<f64>,
    /// Of audio.
    pub channels: Option<u16>,
    /// Samples a second, of audio.
    pub sample_rate: Option<u32>,
    /// Common Encryption scheme, of protected tracks.
    pub protection: Option<String>,
    /// Captions in its pictures: `CC1`, `SERVICE1`; `None` if it is not known whether there are any.
    pub captions: Option<Vec<String>>,
}

/// Thumbnails, summed up. The first is at the upper left of the first sheet, the next to the right of it.
#[derive(Clone, Debug, Serialize)]
pub struct ThumbnailsListing {
    /// Their name in URLs.
    pub name: String,
    /// Path of a sheet on the media listener, where `{number}` stands for 1 to `count`.
    pub sheets: String,
    /// How many sheets there are something to show of.
    pub count: usize,
    /// Thumbnails side by side on a sheet.
    pub columns: u32,
    /// Thumbnails one below the other.
    pub rows: u32,
    /// Pixels of a thumbnail.
    pub width: u32,
    /// Pixels of a thumbnail.
    pub height: u32,
    /// Seconds from one to the next.
    pub interval_s: f64,
}

/// How full the cache is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Fill {
    /// Its instances.
    pub classes: Vec<ClassFill>,
}

/// How full one instance of the cache is.
#[derive(Clone, Debug, Serialize)]
pub struct ClassFill {
    /// `index`, `init`, `manifest` or `segment`.
    pub name: String,
    /// Bytes of memory it keeps.
    pub bytes: u64,
    /// Objects.
    pub entries: u64,
    /// Bytes of memory it may keep.
    pub ceiling: u64,
}

impl Origin {
    /// At most `limit` presentations whose names come after `after`, by name. Opens those that were not opened yet; of storages that do not answer
    /// soon some are told of without what only opening shows.
    pub async fn listings(&self, after: Option<&str>, limit: usize, now: Utc) -> Vec<Listing> {
        let mut listings = Vec::new();
        let until = Instant::now() + STORAGES_WAIT;
        for entry in self.library().listed(after, limit) {
            let name = entry.name();
            let rendered = match self.opened(&entry, now).await {
                Some(render) => Ok(render),
                None if entry.is_remote() => {
                    timeout_at(until, self.render_of(name, now)).await.unwrap_or_else(|_| Err(being_opened()))
                }
                None => self.render_of(name, now).await,
            };
            let listing = match rendered {
                Ok(render) => Listing::of(&render),
                Err(problem) => Listing::refused(name, problem.message()),
            };
            listings.push(Listing { rule: entry.group.rule.to_string(), ..listing });
        }
        let channels = self.channels().all();
        let later = channels.iter().filter(|channel| after.is_none_or(|after| channel.name() > after));
        listings.extend(later.take(limit).map(|channel| Listing::of_channel(channel)));
        listings.sort_by(|a, b| a.name.cmp(&b.name));
        listings.truncate(limit);
        listings
    }

    /// How full the cache is.
    pub fn fill(&self) -> Fill {
        let class = |(class, (bytes, entries, ceiling))| ClassFill {
            name: crate::telemetry::Label::value(class).to_owned(),
            bytes,
            entries,
            ceiling,
        };
        Fill { classes: self.fills().map(class).into() }
    }
}

impl PeriodListing {
    fn of(period: &Period) -> PeriodListing {
        PeriodListing { id: period.id.clone(), start_s: period.start.seconds(), duration_s: period.duration.seconds() }
    }
}

impl ThumbnailsListing {
    fn of(presentation: &str, thumbnails: &Thumbnails, duration_ms: u64) -> ThumbnailsListing {
        let Thumbnails { name, version, columns, rows, .. } = thumbnails;
        let (width, height) = thumbnails.size();
        let extension = thumbnails.format.extension();
        ThumbnailsListing {
            name: name.clone(),
            sheets: format!("/{}/{name}/{version}/{{number}}.{extension}", encode(presentation)),
            count: thumbnails.shown(duration_ms),
            columns: *columns,
            rows: *rows,
            width,
            height,
            interval_s: thumbnails.interval_ms as f64 / 1000.0,
        }
    }
}

impl TrackListing {
    fn of(period: &Period, track: &Track, bandwidth: u64) -> TrackListing {
        let (video, audio) = (track.video(), track.audio());
        TrackListing {
            name: track.name.clone(),
            period: period.id.clone(),
            kind: track.kind.to_string(),
            codec: track.entry.codecs.clone(),
            language: track.language.clone(),
            bandwidth,
            segments: track.segments.len(),
            width: video.map(|v| v.width),
            height: video.map(|v| v.height),
            frame_rate: track.frame_rate.map(|(n, d)| f64::from(n) / f64::from(d)),
            channels: audio.map(|a| a.channels),
            sample_rate: audio.map(|a| a.sample_rate),
            captions: track
                .captions
                .as_ref()
                .map(|captions| captions.iter().map(|caption| caption.service.to_string()).collect()),
            protection: track.entry.protection.as_ref().map(|p| p.scheme.to_string()),
        }
    }
}

impl Listing {
    fn of_channel(channel: &Channel) -> Listing {
        let (broadcast, name) = (channel.broadcast(), channel.name());
        let has_begun = !broadcast.periods.is_empty();
        let url = |file: &str| has_begun.then(|| format!("/{name}/{file}"));
        let periods = broadcast.presentation().periods;
        let tracks = periods.iter().flat_map(|period| period.tracks().map(move |track| (period, track)));
        let rate = |track: &Track| broadcast.track(&track.name, track.version).map_or(0, |(_, live)| live.rate.0);
        let warnings = match has_begun {
            true => Vec::new(),
            false => vec!["the broadcast has not begun: no track has a whole segment yet".to_owned()],
        };
        Listing {
            name: name.to_owned(),
            live: !broadcast.ended,
            duration_s: None,
            hls: url("master.m3u8"),
            dash: url("manifest.mpd"),
            rule: "a channel".to_owned(),
            tracks: tracks.map(|(period, track)| TrackListing::of(period, track, rate(track))).collect(),
            periods: periods.iter().map(PeriodListing::of).collect(),
            thumbnails: Vec::new(),
            warnings,
        }
    }

    fn refused(name: &str, why: &str) -> Listing {
        Listing {
            name: name.to_owned(),
            live: false,
            duration_s: None,
            hls: None,
            dash: None,
            rule: String::new(),
            periods: Vec::new(),
            tracks: Vec::new(),
            thumbnails: Vec::new(),
            warnings: vec![why.to_owned()],
        }
    }

    fn of(render: &Render) -> Listing {
        let presentation = &render.indexed.opened.presentation;
        let name = render.indexed.entry.name();
        let [hls, dash] = &render.indexed.refusals;
        let url = |refusal: &Option<String>, file: &str| refusal.is_none().then(|| format!("/{}/{file}", encode(name)));
        let periods = presentation.periods.iter().map(PeriodListing::of);
        let tracks = presentation.periods.iter().flat_map(|p| p.tracks().map(move |track| (p, track)));
        let tracks = tracks.map(|(period, track)| TrackListing::of(period, track, render.indexed.rates.of(track).peak));
        let duration_ms = presentation.duration_ms();
        let thumbnails = presentation.thumbnails.iter().map(|one| ThumbnailsListing::of(name, one, duration_ms));
        let refusals = [("HLS", hls), ("DASH", dash)];
        let refusals =
            refusals.into_iter().filter_map(|(what, why)| why.as_ref().map(|why| format!("no {what}: {why}")));
        Listing {
            name: name.to_owned(),
            live: false,
            duration_s: Some(presentation.duration().seconds()),
            hls: url(hls, "master.m3u8"),
            dash: url(dash, "manifest.mpd"),
            rule: String::new(),
            periods: periods.collect(),
            tracks: tracks.collect(),
            thumbnails: thumbnails.collect(),
            warnings: presentation
                .warnings
                .iter()
                .chain(&render.indexed.renditions.notes)
                .cloned()
                .chain(refusals)
                .collect(),
        }
    }
}
