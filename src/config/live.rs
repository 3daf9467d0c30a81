//! What is said of live: `[live]`, and a `[[live.channel]]` for each channel that is to be otherwise than the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::config::error::{Error, bounded, set};
use crate::config::over::over;
use crate::config::quantity::{Size, Span};
use crate::content::live::archive;
use crate::content::live::cadence::Cadence;
use crate::content::live::channel::{self, is_name};
use crate::content::live::window;
use crate::server::IngestOptions;

/// Segments are as long as a GOP, and a window holds six.
const SEGMENT_MAX: Duration = Duration::from_secs(30);
/// The longest window that is listed: manifests grow with it.
const WINDOW_MAX: Duration = Duration::from_secs(6 * 3600);
/// Bytes a second: less is not even sound.
const RATE_MIN: u64 = 1000;
/// The longest archive.
const ARCHIVE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Whoever is further behind has no use for low latency.
const LATENCY_MAX: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a person wrote of live; what was left out is `None`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[group(id = "live")]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// Address of the ingest listener, to which encoders push [default: none]
    #[arg(long, value_name = "ADDRESS", help_heading = "Live")]
    pub ingest: Option<SocketAddr>,
    /// Whether the ingest listener speaks TLS.
    #[arg(skip)]
    pub tls: Option<bool>,
    /// Folder for what live has to remember: a restart then goes on where it was [default: none]
    #[arg(long, value_name = "DIR", help_heading = "Live")]
    pub data_dir: Option<PathBuf>,
    /// What a push has to know.
    #[arg(skip)]
    pub token: Option<String>,
    /// Whether a push may make a channel that is not listed.
    #[arg(skip)]
    pub open: Option<bool>,
    /// The most bytes a second that are pushed to a channel, over ten seconds.
    #[arg(skip)]
    pub rate_max: Option<Size>,
    /// How long a segment is listed.
    #[arg(skip)]
    pub window: Option<Span>,
    /// For how long media is kept for time shift, on disk.
    #[arg(skip)]
    pub archive: Option<Span>,
    /// The most bytes of it.
    #[arg(skip)]
    pub archive_max: Option<Size>,
    /// Length of segments where a push does not say where they begin.
    #[arg(skip)]
    pub segment: Option<Span>,
    /// Length of parts.
    #[arg(skip)]
    pub part: Option<Span>,
    /// How long after the last media a broadcast has ended.
    #[arg(skip)]
    pub end_after: Option<Span>,
    /// How long segments exactly are.
    #[arg(skip)]
    pub cadence: Option<Cadence>,
    /// What lies between media and its presentation at low latency.
    #[arg(skip)]
    pub latency: Option<Span>,
    /// Channels that are otherwise.
    #[arg(skip)]
    pub channel: Option<Vec<Channel>>,
}

/// A channel that is otherwise than the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Channel {
    /// In URLs.
    pub name: String,
    /// What a push has to know.
    pub token: Option<String>,
    /// How long a segment is listed.
    pub window: Option<Span>,
    /// For how long media is kept for time shift, on disk.
    pub archive: Option<Span>,
    /// The most bytes of it.
    pub archive_max: Option<Size>,
    /// Length of segments where a push does not say where they begin.
    pub segment: Option<Span>,
    /// Length of parts.
    pub part: Option<Span>,
    /// How long after the last media a broadcast has ended.
    pub end_after: Option<Span>,
    /// How long segments exactly are.
    pub cadence: Option<Cadence>,
    /// What lies between media and its presentation at low latency.
    pub latency: Option<Span>,
}

impl Written {
    /// These, and those of `under` where these say nothing.
    pub(crate) fn over(self, under: Written) -> Written {
        over!(self, under; ingest, tls, data_dir, token, open, rate_max, window, archive, archive_max, segment, part, end_after, cadence, latency, channel)
    }
}

/// What `written` comes to.
pub(crate) fn resolve(written: Written) -> Result<(channel::Options, IngestOptions), Error> {
    let mut every = window::Options::default();
    keep_time(&mut every, written.cadence, written.latency, written.segment)?;
    adjust(&mut every, written.window, written.segment, written.part, written.end_after)?;
    let mut archive = archive::Options::default();
    keep(&mut archive, written.archive, written.archive_max)?;
    let (mut named, mut tokens, mut archives) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for own in written.channel.unwrap_or_default() {
        if !is_name(&own.name) {
            let message = format!("{:?}: a channel's name has letters, digits, _ and -", own.name);
            return Err(Error::Value { option: "live.channel.name", message });
        }
        if named.contains_key(&own.name) {
            let message = format!("{} is said twice", own.name);
            return Err(Error::Value { option: "live.channel.name", message });
        }
        let mut options = every.clone();
        keep_time(&mut options, own.cadence, own.latency, own.segment)?;
        adjust(&mut options, own.window, own.segment, own.part, own.end_after)?;
        let mut kept = archive;
        keep(&mut kept, own.archive, own.archive_max)?;
        archives.insert(own.name.clone(), kept);
        tokens.extend(own.token.map(|token| (own.name.clone(), token)));
        named.insert(own.name, options);
    }
    let open = written.open.unwrap_or(named.is_empty());
    if [&written.token].into_iter().flatten().chain(tokens.values()).any(String::is_empty) {
        return Err(Error::Value { option: "live.token", message: "an empty token keeps nobody out".to_owned() });
    }
    let dir = written.data_dir.map(|dir| dir.join("live"));
    let is_kept = [&archive].into_iter().chain(archives.values()).any(|archive| !archive.kept.is_zero());
    if is_kept && dir.is_none() {
        let message = "an archive needs a folder (live.data-dir)".to_owned();
        return Err(Error::Value { option: "live.archive", message });
    }
    let mut channels = channel::Options { dir, every, named, archive, archives, open, ..channel::Options::default() };
    if let Some(Size(rate)) = written.rate_max {
        channels.bytes_s_max = bounded("live.rate-max", rate, RATE_MIN..=1 << 40)?;
    }
    let ingest =
        IngestOptions { listen: written.ingest, speaks_tls: written.tls == Some(true), token: written.token, tokens };
    guard(&channels, &ingest)?;
    Ok((channels, ingest))
}

/// Who can reach the listener could else broadcast to all viewers.
pub(crate) fn guard(channels: &channel::Options, ingest: &IngestOptions) -> Result<(), Error> {
    let is_guarded = ingest.token.is_some()
        || (!channels.open && channels.named.keys().all(|name| ingest.tokens.contains_key(name)));
    match ingest.listen.filter(|address| !address.ip().is_loopback() && !is_guarded) {
        Some(address) => {
            let message = format!("{address} can be reached from elsewhere: a push has to know a token (live.token)");
            Err(Error::Value { option: "live.ingest", message })
        }
        None => Ok(()),
    }
}

fn keep(options: &mut archive::Options, kept: Option<Span>, bytes_max: Option<Size>) -> Result<(), Error> {
    set("live.archive", &mut options.kept, kept, Duration::ZERO..=ARCHIVE_MAX)?;
    if let Some(Size(bytes)) = bytes_max {
        options.bytes_max = bounded("live.archive-max", bytes, 1 << 20..=1 << 60)?;
    }
    Ok(())
}

/// What is said of how exactly time is kept; before `adjust`, which knows how long segments are then.
fn keep_time(
    options: &mut window::Options,
    cadence: Option<Cadence>,
    latency: Option<Span>,
    segment: Option<Span>,
) -> Result<(), Error> {
    let ms = Duration::from_millis;
    // Who says anew how long segments are about says no cadence.
    options.cadence = cadence.or(options.cadence.filter(|_| segment.is_none()));
    if let Some(cadence) = options.cadence {
        set("live.cadence", &mut options.target, Some(Span(cadence.duration())), ms(500)..=SEGMENT_MAX)?;
        if segment.is_some_and(|Span(segment)| segment != cadence.duration()) {
            let message = format!("segments are {cadence} long, and live.segment says otherwise");
            return Err(Error::Value { option: "live.cadence", message });
        }
    }
    let mut limit = options.latency.unwrap_or(Duration::ZERO);
    set("live.latency", &mut limit, latency, Duration::ZERO..=LATENCY_MAX)?;
    options.latency = (!limit.is_zero()).then_some(limit);
    Ok(())
}

fn adjust(
    options: &mut window::Options,
    window: Option<Span>,
    segment: Option<Span>,
    part: Option<Span>,
    end_after: Option<Span>,
) -> Result<(), Error> {
    let ms = Duration::from_millis;
    set("live.segment", &mut options.target, segment, ms(500)..=SEGMENT_MAX)?;
    set("live.window", &mut options.window, window, options.target * 6..=WINDOW_MAX)?;
    // Short segments have short parts, if nothing is said of them.
    options.part_target = options.part_target.min(options.target);
    set("live.part", &mut options.part_target, part, ms(100)..=options.target)?;
    let mut limit = options.end_after.unwrap_or(Duration::ZERO);
    set("live.end-after", &mut limit, end_after, Duration::ZERO..=DAY)?;
    options.end_after = (!limit.is_zero()).then_some(limit);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<(channel::Options, IngestOptions), String> {
        let written = toml::from_str(text).map_err(|error| error.to_string())?;
        resolve(written).map_err(|error| error.to_string())
    }

    #[test]
    fn a_channel_has_what_holds_for_all_unless_it_says_otherwise() {
        let text = "ingest = \"127.0.0.1:9000\"\nwindow = \"1h\"\n[[channel]]\nname = \"news\"\npart = \"500ms\"\ntoken = \"t\"";
        let (channels, ingest) = resolved(text).unwrap();
        let news = &channels.named["news"];
        assert_eq!((news.window.as_secs(), news.part_target.as_millis()), (3600, 500));
        assert!(!channels.open, "what is listed is what there is");
        assert_eq!(ingest.tokens["news"], "t");
    }

    #[test]
    fn a_cadence_is_how_long_segments_are() {
        let text = "cadence = \"60060/30000\"\nlatency = \"3s\"\n[[channel]]\nname = \"a\"\n[[channel]]\nname = \"b\"\nsegment = \"4s\"";
        let (channels, _) = resolved(text).unwrap();
        let [a, b] = ["a", "b"].map(|name| &channels.named[name]);
        assert_eq!((a.target.as_millis(), a.latency), (2002, Some(Duration::from_secs(3))));
        assert!(a.cadence.is_some() && b.cadence.is_none() && b.target.as_secs() == 4);
        assert!(
            resolved("cadence = \"2s\"\nsegment = \"4s\"").unwrap_err().starts_with("live.cadence: segments are 2s")
        );
        assert!(resolved("cadence = \"0s\"").is_err() && resolved("cadence = \"1m\"").is_err());
    }

    #[test]
    fn a_listener_for_everybody_asks_for_a_token() {
        assert!(
            resolved("ingest = \"0.0.0.0:9000\"").unwrap_err().starts_with("live.ingest: 0.0.0.0:9000 can be reached")
        );
        assert!(resolved("ingest = \"0.0.0.0:9000\"\ntoken = \"secret\"").is_ok());
        assert!(resolved("ingest = \"0.0.0.0:9000\"\ntoken = \"\"").unwrap_err().starts_with("live.token: "));
        let named = "ingest = \"0.0.0.0:9000\"\n[[channel]]\nname = \"a\"\ntoken = \"secret\"";
        assert!(resolved(named).is_ok());
        let open = resolved(&format!("open = true\n{named}")).unwrap_err();
        assert!(open.starts_with("live.ingest: "), "any other name needs no token: {open}");
        assert!(resolved("[[channel]]\nname = \"a/b\"").unwrap_err().starts_with("live.channel.name: "));
        let twice = resolved("[[channel]]\nname = \"a\"\n[[channel]]\nname = \"a\"\nwindow = \"1h\"");
        assert_eq!(twice.unwrap_err(), "live.channel.name: a is said twice");
        let (channels, _) = resolved("segment = \"500ms\"").unwrap();
        assert_eq!(channels.every.part_target.as_millis(), 500, "a part was longer than its segment");
        assert!(resolved("archive = \"1h\"").unwrap_err().starts_with("live.archive: "));
        let (channels, _) =
            resolved("data-dir = \"d\"\narchive = \"24h\"\n[[channel]]\nname = \"a\"\narchive-max = \"1GiB\"").unwrap();
        assert_eq!((channels.archives["a"].kept.as_secs(), channels.archives["a"].bytes_max), (86_400, 1 << 30));
        assert!(resolved("window = \"2s\"").unwrap_err().starts_with("live.window: "));
    }
}
