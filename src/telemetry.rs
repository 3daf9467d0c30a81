//! Counters and gauges: plain atomics in fixed arrays, so that counting costs one addition and no lookup, and their text in
//! the OpenMetrics format.
//!
//! All of them stand in one table, [`Telemetry`], each with the sentence that explains it to who reads `/metrics`.

pub mod process;
pub mod spread;
pub mod striped;

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::telemetry::spread::{Latency, Playing, Spread, Steps, Throughput};
use crate::telemetry::striped::Striped;

/// What [`Telemetry::encode`] writes, for the Content-Type of who serves it.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label with a closed set of values.
pub trait Label: Copy + fmt::Debug + Send + Sync + 'static {
    /// The label's name.
    const KEY: &'static str;
    /// Its values, by [`Label::index`].
    const VALUES: &'static [&'static str];

    /// Which of [`Label::VALUES`] this is.
    fn index(self) -> usize;

    /// The value as it is written.
    fn value(self) -> &'static str {
        Self::VALUES[self.index()]
    }
}

/// Declares an enum that is a [`Label`].
macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $key:literal: $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
        }

        impl Label for $name {
            const KEY: &'static str = $key;
            const VALUES: &'static [&'static str] = &[$($value),+];

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// What a request asks for.
    RequestClass, "class":
    /// A media segment.
    Segment = "segment",
    /// An initialization segment.
    Init = "init",
    /// An HLS playlist.
    Playlist = "playlist",
    /// A DASH MPD.
    Mpd = "mpd",
    /// Anything else.
    Other = "other",
}

label! {
    /// The status of an answer; those that are never sent on purpose share one value.
    Status, "status":
    /// 200.
    Ok = "200",
    /// 204.
    NoContent = "204",
    /// 206.
    PartialContent = "206",
    /// 304.
    NotModified = "304",
    /// 400.
    BadRequest = "400",
    /// 403.
    Forbidden = "403",
    /// 404.
    NotFound = "404",
    /// 405.
    MethodNotAllowed = "405",
    /// 410.
    Gone = "410",
    /// 412.
    PreconditionFailed = "412",
    /// 413.
    ContentTooLarge = "413",
    /// 414.
    UriTooLong = "414",
    /// 416.
    RangeNotSatisfiable = "416",
    /// 500.
    InternalServerError = "500",
    /// 503.
    ServiceUnavailable = "503",
    /// Any other.
    Other = "other",
}

impl Status {
    /// The status with this code.
    pub fn of(code: u16) -> Status {
        match code {
            200 => Status::Ok,
            204 => Status::NoContent,
            206 => Status::PartialContent,
            304 => Status::NotModified,
            400 => Status::BadRequest,
            403 => Status::Forbidden,
            404 => Status::NotFound,
            405 => Status::MethodNotAllowed,
            410 => Status::Gone,
            412 => Status::PreconditionFailed,
            413 => Status::ContentTooLarge,
            414 => Status::UriTooLong,
            416 => Status::RangeNotSatisfiable,
            500 => Status::InternalServerError,
            503 => Status::ServiceUnavailable,
            _ => Status::Other,
        }
    }
}

label! {
    /// The instances of the cache.
    CacheClass, "cache":
    /// Parsed sources.
    Index = "index",
    /// Initialization segments.
    Init = "init",
    /// Playlists and MPDs.
    Manifest = "manifest",
    /// Media segments.
    Segment = "segment",
}

label! {
    /// How a storage answered a request.
    StorageOutcome, "outcome":
    /// As it should.
    Ok = "ok",
    /// The object is another one now, or none.
    Replaced = "replaced",
    /// It may not be read.
    Refused = "refused",
    /// An error, too late, or not whole: another attempt may help.
    Failed = "failed",
}

label! {
    /// What reads wait in line for.
    ReadOf, "of":
    /// Local files, where the disk has to be asked.
    File = "file",
    /// Segments of channels that memory has no more.
    Spool = "spool",
    /// Stretches of what was broadcast, whose manifests are made.
    Stretch = "stretch",
    /// Requests to a storage.
    Storage = "storage",
    /// Folders of a storage that are looked into, to see what their files are.
    Folder = "folder",
    /// Names of a storage that are looked at again because what was listed before a start was believed.
    Again = "again",
    /// Presentations that are opened.
    Opening = "opening",
}

label! {
    /// What a player asks for, as it says (CMCD's `ot`).
    CmcdObject, "object":
    /// `m`: text file, such as a manifest or playlist.
    Manifest = "manifest",
    /// `a`.
    Audio = "audio",
    /// `v`.
    Video = "video",
    /// `av`: muxed.
    Muxed = "muxed",
    /// `i`: initialization segment.
    Init = "init",
    /// `c` or `tt`: caption or subtitle.
    Text = "text",
    /// `k`, `o` or not said.
    Other = "other",
}

impl CmcdObject {
    /// The type with this token.
    pub fn of(token: &str) -> CmcdObject {
        match token {
            "m" => CmcdObject::Manifest,
            "a" => CmcdObject::Audio,
            "v" => CmcdObject::Video,
            "av" => CmcdObject::Muxed,
            "i" => CmcdObject::Init,
            "c" | "tt" => CmcdObject::Text,
            _ => CmcdObject::Other,
        }
    }
}

label! {
    /// Why a connection ended.
    Ending, "reason":
    /// The peer closed it, or asked for that.
    Closed = "closed",
    /// No request came for the idle time.
    Idle = "idle",
    /// A request head did not become whole in time.
    HeadTimeout = "head_timeout",
    /// The peer accepted no byte for too long while data waited.
    WriteStalled = "write_stalled",
    /// The server drained.
    Drained = "drained",
    /// The socket failed, or what came was not HTTP.
    Failed = "failed",
}

label! {
    /// What was refused because too much was wanted.
    Refused, "work":
    /// A segment of a channel.
    Live = "live",
    /// What has not come yet of a channel, and somebody would wait for.
    Waiting = "waiting",
    /// A playlist or MPD.
    Manifest = "manifest",
    /// A segment.
    Segment = "segment",
    /// Opening a presentation.
    Opening = "opening",
    /// A segment that nobody had asked for.
    Ahead = "ahead",
    /// A body for which there was no memory.
    Memory = "memory",
}

label! {
    /// Why a request may not be answered.
    Denial, "reason":
    /// Its client is of no network that is served.
    Network = "network",
    /// The header of a CDN is missing or wrong.
    Header = "header",
    /// Its URL has no token.
    TokenMissing = "token_missing",
    /// The token is not for this URL.
    TokenWrong = "token_wrong",
    /// The token is over.
    TokenExpired = "token_expired",
}

label! {
    /// What came of a TLS handshake.
    Handshake, "result":
    /// A whole one.
    Full = "full",
    /// Short, with a ticket of an earlier one.
    Resumed = "resumed",
    /// The two did not agree, or the peer left.
    Failed = "failed",
    /// It took too long.
    TimedOut = "timed_out",
    /// Too many were under way.
    Refused = "refused",
}

label! {
    /// What TLS is spoken.
    TlsVersion, "version":
    /// RFC 5246.
    V1_2 = "1.2",
    /// RFC 8446.
    V1_3 = "1.3",
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// So far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Level(AtomicI64);

impl Level {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// One less.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// `n` more, or less if negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// From now on `value`.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Now.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One more until the guard is dropped.
    pub fn enter(&self) -> Inside<'_> {
        self.inc();
        Inside(self)
    }
}

/// Seconds that go up and down, to the millisecond.
#[derive(Debug, Default)]
pub struct Seconds(AtomicI64);

impl Seconds {
    /// From now on so many milliseconds.
    pub fn set_ms(&self, value_ms: i64) {
        self.0.store(value_ms, Ordering::Relaxed);
    }
}

/// Keeps a [`Level`] one higher while it lives.
#[derive(Debug)]
pub struct Inside<'a>(&'a Level);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One `T` for each value of `L`.
#[derive(Debug)]
pub struct By<L, T> {
    cells: Box<[T]>,
    label: PhantomData<L>,
}

impl<L: Label, T: Default> Default for By<L, T> {
    fn default() -> By<L, T> {
        By { cells: L::VALUES.iter().map(|_| T::default()).collect(), label: PhantomData }
    }
}

impl<L: Label, T> By<L, T> {
    /// The one for `label`.
    pub fn at(&self, label: L) -> &T {
        &self.cells[label.index()]
    }
}

impl<L: Label, T: Sum> By<L, T> {
    /// The sum over all values.
    pub fn sum(&self) -> u64 {
        self.cells.iter().map(Sum::sum).sum()
    }
}

/// One `T` for each pair of values of two labels.
#[derive(Debug)]
pub struct Grid<A, B, T> {
    rows: By<A, By<B, T>>,
}

impl<A: Label, B: Label, T: Default> Default for Grid<A, B, T> {
    fn default() -> Grid<A, B, T> {
        Grid { rows: By::default() }
    }
}

impl<A: Label, B: Label, T> Grid<A, B, T> {
    /// The one for `a` and `b`.
    pub fn at(&self, a: A, b: B) -> &T {
        self.rows.at(a).at(b)
    }
}

impl<A: Label, B: Label, T: Sum> Grid<A, B, T> {
    /// The sum over all pairs.
    pub fn sum(&self) -> u64 {
        self.rows.cells.iter().map(By::sum).sum()
    }
}

/// A level for each channel, named by who pushes; there are 1024 at most.
#[derive(Debug, Default)]
pub struct PerChannel(Mutex<Vec<(String, i64)>>);

impl PerChannel {
    /// From now on these, by name, and no others.
    pub fn set(&self, levels: Vec<(String, i64)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = levels;
    }
}

impl Family for PerChannel {
    const TYPE: MetricType = MetricType::Gauge;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (channel, level) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            encoder.encode_family(&[("channel", channel.as_str())])?.encode_gauge(level)?;
        }
        Ok(())
    }
}

/// What adds up to one number.
pub trait Sum {
    /// That number.
    fn sum(&self) -> u64;
}

impl Sum for Count {
    fn sum(&self) -> u64 {
        self.get()
    }
}

impl Sum for Striped {
    fn sum(&self) -> u64 {
        self.get()
    }
}

/// What can be written as one metric family.
trait Family {
    const TYPE: MetricType;

    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result;
}

impl<T: Sum> Family for T {
    const TYPE: MetricType = MetricType::Counter;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_counter::<[(&str, &str); 0], _, u64>(&self.sum(), None)
    }
}

impl Family for Level {
    const TYPE: MetricType = MetricType::Gauge;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.get())
    }
}

impl Family for Seconds {
    const TYPE: MetricType = MetricType::Gauge;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&(self.0.load(Ordering::Relaxed) as f64 / 1000.0))
    }
}

impl<S: Steps> Family for Spread<S> {
    const TYPE: MetricType = MetricType::Histogram;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let (sum, count) = (self.sum() as f64 / S::SCALE, self.count());
        encoder.encode_histogram::<NoLabelSet>(sum, count, &self.buckets(), None)
    }
}

impl<L: Label, T: Family> Family for By<L, T> {
    const TYPE: MetricType = T::TYPE;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (cell, value) in self.cells.iter().zip(L::VALUES) {
            cell.encode(encoder.encode_family(&[(L::KEY, *value)])?)?;
        }
        Ok(())
    }
}

impl<A: Label, B: Label, T: Family> Family for Grid<A, B, T> {
    const TYPE: MetricType = T::TYPE;

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (row, a) in self.rows.cells.iter().zip(A::VALUES) {
            for (cell, b) in row.cells.iter().zip(B::VALUES) {
                cell.encode(encoder.encode_family(&[(A::KEY, *a), (B::KEY, *b)])?)?;
            }
        }
        Ok(())
    }
}

/// Declares the table: the field, its type, its name (without the `_total` that a counter is given) and its sentence.
macro_rules! table {
    ($($field:ident: $type:ty, $name:literal, $help:literal;)+) => {
        /// Everything that is counted; shared by `Arc`.
        #[derive(Debug, Default)]
        pub struct Telemetry {
            $(#[doc = $help] pub $field: $type,)+
        }

        impl Collector for Telemetry {
            fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
                $(
                    self.$field.encode(encoder.encode_descriptor($name, $help, None, <$type>::TYPE)?)?;
                )+
                Ok(())
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$($name),+];
    };
}

table! {
    requests: Grid<RequestClass, Status, Striped>, "requests", "Requests answered on the media listener.";
    requests_in_flight: Level, "requests_in_flight", "Requests that wait for something to be made.";
    requests_refused: Count, "requests_refused", "Requests refused because too many waited.";
    cache_hits: By<CacheClass, Striped>, "cache_hits", "Cache lookups that found the object.";
    cache_misses: By<CacheClass, Count>, "cache_misses", "Cache lookups that did not find the object.";
    cache_bytes: By<CacheClass, Level>, "cache_bytes", "Bytes of memory that the cache keeps.";
    cache_entries: By<CacheClass, Level>, "cache_entries", "Objects in the cache.";
    cache_ceiling_bytes: By<CacheClass, Level>, "cache_ceiling_bytes", "Bytes of memory that the cache may keep.";
    flights_started: Count, "flights_started", "Objects that were begun to be made.";
    flights_joined: Count, "flights_joined", "Requests that waited for an object somebody else was making.";
    flights: Level, "flights", "Objects being made.";
    negative_answers: Count, "negative_answers", "Requests answered from the memory of what does not exist.";
    source_reads: Count, "source_reads", "Reads of sources.";
    source_read_bytes: Count, "source_read_bytes", "Bytes read from sources.";
    reads_under_way: By<ReadOf, Level>, "reads_under_way", "Reads that have their turn, by what is read.";
    reads_waiting: By<ReadOf, Level>, "reads_waiting", "Reads that wait for it.";
    reads_refused: By<ReadOf, Count>, "reads_refused", "Reads refused because too many waited.";
    storage_requests: Count, "storage_requests", "Requests sent to remote storage, listings and second attempts too.";
    storage_lists: Count, "storage_lists", "Listings among them.";
    storage_lists_kept: Count, "storage_lists_kept", "Listings of remote storage that were found on disk.";
    storage_retries: Count, "storage_retries", "Attempts after one that failed.";
    storage_hedges: Count, "storage_hedges", "Requests sent a second time because the first was late.";
    storage_answers: By<StorageOutcome, Count>, "storage_answers", "Answers of remote storage, by what came of them.";
    storage_read_bytes: Count, "storage_read_bytes", "Bytes read from remote storage.";
    storage_index_hits: Count, "storage_index_hits", "Objects of remote storage whose index was found on disk.";
    storage_index_writes: Count, "storage_index_writes", "Objects of remote storage whose index was put on disk.";
    storage_index_late: Count, "storage_index_late", "Indexes and listings that were not waited for, since the disk did not answer in time, or still did not; remote storage was asked.";
    disk_open: Level, "disk_open", "1 while media of remote storage is kept on disk.";
    disk_hits: Count, "disk_hits", "Reads of remote media that the disk answered.";
    disk_misses: Count, "disk_misses", "Reads of remote media that it did not have.";
    disk_failures: Count, "disk_failures", "Reads of the disk that failed; remote storage was asked.";
    disk_late: Count, "disk_late", "Reads of the disk that were not waited for, since it did not answer in time, or still did not; remote storage was asked.";
    disk_puts: Count, "disk_puts", "Reads of remote media that were given to the disk.";
    disk_read_bytes: Count, "disk_read_bytes", "Bytes of remote media read from the disk.";
    storage_failures: Count, "storage_failures", "Reads and listings given up after all attempts.";
    storage_stale: Count, "storage_stale", "Looks at remote presentations that failed, so that they are served as they were.";
    source_read_seconds: Spread<Latency>, "source_read_seconds", "How long what was read at once from a source took.";
    flight_seconds: Spread<Latency>, "flight_seconds", "How long objects took to be made.";
    bytes_out: Striped, "out_bytes", "Bytes given to the sockets of the media listener.";
    connections: Count, "connections", "Connections accepted on the media listener.";
    connections_open: Level, "connections_open", "Connections open on the media listener.";
    connections_refused: Count, "connections_refused", "Connections refused because too many were open.";
    connections_ended: By<Ending, Count>, "connections_ended", "Connections that ended, by the reason.";
    access_log_lines: Count, "access_log_lines", "Lines written to the access log.";
    access_log_dropped: Count, "access_log_dropped", "Lines of the access log lost because its queue was full or it could not be written.";
    cmcd_requests: By<CmcdObject, Count>, "cmcd_requests", "Requests in which a player says something of itself (CMCD), by what it asks for.";
    cmcd_starvations: Count, "cmcd_starvations", "Requests after the player's buffer ran dry (bs).";
    cmcd_startups: Count, "cmcd_startups", "Requests that a player needs to start, seek or recover (su).";
    cmcd_buffer_seconds: Spread<Playing>, "cmcd_buffer_seconds", "Media that players have ahead, as they say (bl).";
    cmcd_latency_seconds: Spread<Playing>, "cmcd_latency_seconds", "How far players are behind the live edge, as they say (ltc).";
    cmcd_throughput_bits: Spread<Throughput>, "cmcd_throughput_bits", "Bits a second that players measured (mtp).";
    process_resident_bytes: Level, "process_resident_bytes", "Memory that the process has in use.";
    process_descriptors: Level, "process_descriptors", "Descriptors that the process has open.";
    clock_offset_seconds: Seconds, "clock_offset_seconds", "How far the wall clock is ahead of the clock of what is live.";
    config_reloads: Count, "config_reloads", "Times that the configuration was read again and taken over.";
    config_reloads_refused: Count, "config_reloads_refused", "Times that it was wrong, and the old one stayed in use.";
    work_refused: By<Refused, Count>, "work_refused", "Objects that were not made because too much was, by what they are.";
    body_bytes: Level, "body_bytes", "Bytes that bodies keep alive: in the cache, being read, or held by readers.";
    requests_denied: By<Denial, Count>, "requests_denied", "Requests of who may not fetch, by the reason.";
    proxy_introductions_refused: Count, "proxy_introductions_refused", "Connections closed for want of a PROXY protocol header.";
    tls_handshakes: By<Handshake, Count>, "tls_handshakes", "TLS handshakes, by what came of them.";
    tls_handshakes_under_way: Level, "tls_handshakes_under_way", "TLS handshakes under way.";
    live_ingest_bytes: Count, "live_ingest_bytes", "Bytes that encoders pushed.";
    live_channels: Level, "live_channels", "Channels to which something was pushed, ended ones too.";
    live_silent: Level, "live_silent", "Channels to which no media comes, though they have not ended.";
    live_media_age_seconds: Level, "live_media_age_seconds", "Seconds since media last came to the channel that waits longest for it.";
    live_channel_media_age_seconds: PerChannel, "live_channel_media_age_seconds", "Seconds since media last came, by channel, while it has not ended.";
    live_gaps: Level, "live_gaps", "Segments that are listed as missing.";
    live_waiting: Level, "live_waiting", "Requests that wait for what comes next.";
    live_encoders: Level, "live_encoders", "Encoders that push now, those that stand by too.";
    live_takeovers: Level, "live_takeovers", "How often a track went on with another encoder, since the server began.";
    tls_sessions: By<TlsVersion, Count>, "tls_sessions", "TLS connections by version.";
}

impl Telemetry {
    /// All of it in the OpenMetrics text format, as [`CONTENT_TYPE`].
    pub fn encode(self: &Arc<Telemetry>) -> String {
        let mut registry = Registry::with_prefix("headwater");
        registry.register_collector(Box::new(Arc::clone(self)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a String takes any text");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_described_once_and_ends_as_openmetrics_wants() {
        let telemetry = Arc::new(Telemetry::default());
        telemetry.requests.at(RequestClass::Segment, Status::of(206)).add(7);
        telemetry.bytes_out.add(1 << 40);
        telemetry.cache_bytes.at(CacheClass::Segment).set(123);
        let text = telemetry.encode();
        assert!(text.contains("headwater_requests_total{class=\"segment\",status=\"206\"} 7\n"), "{text}");
        assert!(text.contains("headwater_out_bytes_total 1099511627776\n"), "{text}");
        assert!(text.contains("headwater_cache_bytes{cache=\"segment\"} 123\n"), "{text}");
        assert!(text.contains("# HELP headwater_flights Objects being made.\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        for name in NAMES {
            assert_eq!(text.matches(&format!("# TYPE headwater_{name} ")).count(), 1, "{name}");
        }
    }

    #[test]
    fn every_status_is_counted_under_its_own_code() {
        for (status, value) in Status::VALUES.iter().enumerate().filter(|(_, value)| **value != "other") {
            let code = value.parse().unwrap();
            assert_eq!(Status::of(code).index(), status);
        }
        assert_eq!(Status::of(418), Status::Other);
    }

    #[test]
    fn a_level_falls_when_its_guard_is_dropped() {
        let telemetry = Telemetry::default();
        {
            let _one = telemetry.requests_in_flight.enter();
            assert_eq!(telemetry.requests_in_flight.get(), 1);
        }
        assert_eq!(telemetry.requests_in_flight.get(), 0);
    }

    /// Name, type, labels and sentence of each family.
    fn families() -> Vec<[String; 4]> {
        let telemetry = Arc::<Telemetry>::default();
        telemetry.live_channel_media_age_seconds.set(vec![("tv".to_owned(), 0)]);
        let text = telemetry.encode();
        let mut families: Vec<[String; 4]> = Vec::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                families.push([name.into(), String::new(), String::new(), help.into()]);
            } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                families.last_mut().unwrap()[1] = kind.into();
            } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.contains("le=\"")) {
                let names: Vec<&str> = labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0)).collect();
                families.last_mut().unwrap()[2] = names.join(", ");
            }
        }
        families
    }

    #[test]
    fn the_documentation_lists_every_metric() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let file = std::fs::read_to_string(&path).unwrap();
        let (before, _) = file.split_once("\n## All of them\n").expect("the heading");
        let mut text = format!(
            "{before}\n## All of them\nWritten by `UPDATE_GOLDEN=1 cargo test`, from the table that the program counts in.\n\n\
             | metric | type | labels | |\n|---|---|---|---|\n"
        );
        for [name, kind, labels, help] in families() {
            let suffix = if kind == "counter" { "_total" } else { "" };
            text += &format!("| `{name}{suffix}` | {kind} | {labels} | {help} |\n");
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap();
        assert!(file == text, "docs/metrics.md is not what is counted; UPDATE_GOLDEN=1 cargo test mends that");
    }

    #[test]
    fn the_dashboard_shows_only_what_is_counted() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("ops/grafana.json");
        let text = std::fs::read_to_string(&path).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let used: Vec<&str> = text.split(|c| !is_name(c)).filter(|word| word.starts_with("headwater_")).collect();
        let counted: Vec<String> = families()
            .iter()
            .flat_map(|[name, kind, ..]| match kind.as_str() {
                "counter" => vec![format!("{name}_total")],
                "histogram" => ["_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")).to_vec(),
                _ => vec![name.clone()],
            })
            .collect();
        for name in &used {
            assert!(counted.iter().any(|one| one == name), "{name} is not counted");
        }
        assert!(used.len() > 20, "{used:?}");
    }
}
