//! Every key of the configuration: what it is for, its default and why that is so, and what it came to. One table, from which
//! `headwater config` and the documentation are made, so that neither can say something else than the program does.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::config::Config;
use crate::config::written::LogFormat;
use crate::server::access::secret::Secret;
use crate::server::access::token;
use crate::server::access_log::Format;
use crate::server::proxied::ForwardedBy;
use crate::server::tls::Certificate;

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name, in its table.
    pub name: &'static str,
    /// Its default: a TOML value, or words where that depends on something.
    pub default: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
    /// Whether a running server takes a new value over; else it needs a restart.
    pub is_live: bool,
    /// Whether its value is shown to nobody.
    pub is_secret: bool,
    /// What it came to, as a TOML value; `None` if it is not set.
    pub value: fn(&Config) -> Option<String>,
}

/// A table of the file.
#[derive(Debug)]
pub struct Table {
    /// Its name; empty: the keys at the top of the file.
    pub name: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

const fn key(
    name: &'static str,
    default: &'static str,
    about: &'static str,
    reason: &'static str,
    value: fn(&Config) -> Option<String>,
) -> Key {
    Key { name, default, about, reason, is_live: false, is_secret: false, value }
}

impl Key {
    const fn live(self) -> Key {
        Key { is_live: true, ..self }
    }

    const fn secret(self) -> Key {
        Key { is_secret: true, ..self }
    }

    /// Whether [`Key::default`] is a value, and not words.
    pub fn has_value_as_default(&self) -> bool {
        self.default.starts_with(|first: char| first == '"' || first == '[' || first.is_ascii_digit())
            || matches!(self.default, "true" | "false")
    }
}

impl Table {
    /// The name of the environment variable for `key`.
    pub fn variable(&self, key: &Key) -> String {
        let name = if self.name.is_empty() { key.name.to_owned() } else { format!("{}-{}", self.name, key.name) };
        format!("HEADWATER_{}", name.replace(['-', '.'], "_").to_ascii_uppercase())
    }
}

/// All of them.
pub const TABLES: &[Table] = &[
    Table { name: "", keys: PLAIN },
    Table { name: "storage", keys: STORAGE },
    Table { name: "access-log", keys: ACCESS_LOG },
    Table { name: "observe", keys: OBSERVE },
    Table { name: "live", keys: LIVE },
    Table { name: "tls", keys: TLS },
    Table { name: "access", keys: ACCESS },
    Table { name: "proxies", keys: PROXIES },
];

const PLAIN: &[Key] = &[
    key(
        "source",
        "none: a configuration file has to say it",
        "The folder or media file to serve, relative to the file's own folder, or a storage: `s3://bucket/prefix`, `gs://`, `az://`, `https://`. Several are `[[library]]`.",
        "A file and the media beside it can be moved together.",
        |config| only(config).and_then(quoted),
    ),
    key(
        "listen",
        "\"127.0.0.1:8080\"",
        "Address of the media listener, for players and CDNs.",
        "A server is opened to the world on purpose.",
        |config| quoted(config.server.listen),
    ),
    key(
        "admin",
        "\"127.0.0.1:8081\"",
        "Address of the admin listener (page, API, metrics), or `off`.",
        "It shows what the library holds.",
        |config| config.server.admin.map_or_else(|| quoted("off"), quoted),
    ),
    key(
        "reuse-port",
        "false",
        "Let another process listen at the same addresses (SO_REUSEPORT), to take over from this one.",
        "A second server at an address is else a mistake, and said to be one.",
        |config| Some(config.server.reuses_port.to_string()),
    ),
    key(
        "segment-duration",
        "\"6s\"",
        "Length that segments are cut to, at the next sync point; 500ms to 60s.",
        "What Apple's authoring rules ask for.",
        |config| span(config.library.segment_target),
    ),
    key(
        "scan-interval",
        "\"2s\"",
        "Time between two looks for new, changed and gone files; 100ms to 1h.",
        "A look costs milliseconds; where it takes longer, it is done less often.",
        |config| span(config.library.scan_interval),
    ),
    key(
        "grace",
        "its duration, at most 6h, manifest-max-age, and at most 30s",
        "How long the old version of a replaced file is still answered.",
        "Who has begun to watch can watch to the end.",
        |config| config.library.grace.and_then(span),
    ),
    key(
        "follow-symlinks",
        "false",
        "Let symbolic links lead out of the folder.",
        "A link could lead anywhere on the machine.",
        |config| Some(config.library.follow_symlinks.to_string()),
    ),
    key(
        "cache-memory",
        "a quarter of the memory the process may use",
        "Memory for the cache: a percentage of what the process may use, or a size; at least 16MiB.",
        "The page cache of the sources and the connections need the rest.",
        |config| size(config.origin.cache_bytes),
    ),
    key(
        "in-flight-memory",
        "half of cache-memory, at least 128MiB",
        "Memory that bodies may keep beside the cache while they are read or sent; then 503 for what would have to be read.",
        "Slow readers hold what the cache has evicted.",
        |config| size(config.origin.in_flight_bytes),
    ),
    key(
        "prefetch",
        "0",
        "Segments made ahead of the one asked for; at most 16.",
        "A CDN asks for what its viewers watch, and reading ahead doubles what a disk gives to who jumps.",
        |config| Some(config.origin.prefetch.to_string()),
    ),
    key(
        "key-uri",
        "none",
        "URI of content keys in HLS, with {kid} for the key id; for sources that are already encrypted.",
        "Nothing in a source says where its keys are.",
        |config| config.origin.key_uri.as_ref().and_then(quoted),
    ),
    key(
        "manifest-max-age",
        "\"120s\"",
        "How long a playlist or MPD may be used without asking again; 1s to 24h.",
        "A replaced file is seen after that; asking again costs a 304.",
        |config| span(config.origin.manifest_max_age),
    ),
    key("threads", "one a core", "Threads that serve.", "More would wait for each other.", |config| {
        Some(config.threads.to_string())
    }),
    key(
        "connections-max",
        "three quarters of the descriptors, at most 16384",
        "Connections open at once; more are refused with 503.",
        "Each keeps a descriptor and memory; the other descriptors are for sources.",
        |config| Some(config.server.connections_max.to_string()),
    ),
    key(
        "connections-peer-max",
        "none: as many as there may be",
        "Connections of one client: an IPv4 address, or 64 bits of an IPv6 one; more are refused with 503. Trusted proxies may have all.",
        "A CDN or a proxy is one client, and has thousands.",
        |config| config.server.connections_peer_max.map(|count| count.to_string()),
    ),
    key(
        "requests-max",
        "4096",
        "Requests that wait for something to be made; more are refused with 503.",
        "What lies in the cache waits for nothing: so many mean that sources are too slow.",
        |config| Some(config.origin.requests_max.to_string()),
    ),
    key(
        "flights-max",
        "256",
        "Objects being made at once; more are refused with 503.",
        "Each keeps about a segment and one read of a source.",
        |config| Some(config.origin.flights_max.to_string()),
    ),
    key(
        "reads-max",
        "32",
        "Reads of local files at once that wait for a disk; four times as many wait for their turn, more are refused with 503. What memory has waits for none, and what is live has its own.",
        "It keeps disks and a network mount busy; each keeps a thread.",
        |config| Some(config.origin.reads_max.to_string()),
    ),
    key(
        "url-max",
        "\"4KiB\"",
        "Longest path and query of a request; longer ones are refused with 414.",
        "Our own URLs stay below 500 bytes; the rest is for what CDNs and players add.",
        |config| size(config.server.url_bytes_max as u64),
    )
    .live(),
    key(
        "head-max",
        "\"64KiB\"",
        "Largest request head; larger ones are refused with 431.",
        "What CDNs add fits, cookies and tokens included.",
        |config| size(config.server.head_bytes_max as u64),
    )
    .live(),
    key(
        "head-timeout",
        "\"10s\"",
        "Time for a request head to come, from its first byte.",
        "Nobody who means it takes longer.",
        |config| span(config.server.head_timeout),
    )
    .live(),
    key(
        "idle-timeout",
        "\"600s\"",
        "Time a connection may be kept without a request.",
        "CDNs keep connections to origins open and pay for new ones.",
        |config| span(config.server.idle_timeout),
    )
    .live(),
    key(
        "write-timeout",
        "\"30s\"",
        "Time a peer has for each 16 KiB of an answer, or for what is left of it. Over HTTP/2 one answer that is late ends new requests on its connection (GOAWAY); it is closed when no other answer is left, or after this time once more.",
        "A player that pauses for longer asks again; who takes less than 4.4 kb/s plays nothing, and keeps memory.",
        |config| span(config.server.write_timeout),
    )
    .live(),
    key(
        "drain-timeout",
        "\"30s\"",
        "Time for connections to finish after SIGTERM.",
        "The longest segment reaches a slow peer, and no service manager has lost patience.",
        |config| span(config.server.drain_timeout),
    )
    .live(),
    key(
        "log-format",
        "\"auto\"",
        "How the log, on the standard error stream, is written: auto, text or json.",
        "Auto is text in a terminal, for people, and JSON otherwise, for collectors.",
        |config| {
            quoted(match config.log_format {
                LogFormat::Auto => "auto",
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            })
        },
    ),
    key(
        "log",
        "\"info\"",
        "What is logged: error, warn, info, debug (every request) or trace, also by module.",
        "A line for what a person should know, none for a request.",
        |config| quoted(&config.log),
    )
    .live(),
];

const ACCESS_LOG: &[Key] = &[
    key(
        "path",
        "none: there is no access log",
        "A file that a line for each answer is appended to, or `-` for the standard output; SIGHUP opens it anew.",
        "A CDN has its own, and a hit pays for it.",
        |config| config.access_log.path.as_ref().and_then(|path| quoted(path.display())),
    ),
    key(
        "format",
        "\"json\"",
        "How a line looks: json or combined.",
        "JSON has room for the request's id, the cache and CMCD.",
        |config| {
            quoted(match config.access_log.format {
                Format::Json => "json",
                Format::Combined => "combined",
            })
        },
    ),
    key(
        "queue-max",
        "8192",
        "Lines that may wait to be written; more are dropped and counted.",
        "What comes in a tenth of a second of a busy server: a slow disk costs lines, never an answer.",
        |config| Some(config.access_log.queue_max.to_string()),
    ),
];

const OBSERVE: &[Key] = &[
    key(
        "cmcd",
        "true",
        "Read what players say of themselves (CMCD, in query or headers) into metrics and access log.",
        "It costs who sends none next to nothing, and is never part of a cache key.",
        |config| Some(config.server.reads_cmcd.to_string()),
    )
    .live(),
    key(
        "cmsd",
        "false",
        "Say in answers what they are: CMSD-Static, with type, duration and bit rate.",
        "Fifty bytes an answer, for CDNs and players that read it.",
        |config| Some(config.origin.sends_cmsd.to_string()),
    ),
    key(
        "server-timing",
        "false",
        "Say in answers that were not at hand how long they took: Server-Timing.",
        "A cache in front keeps it, and repeats it with every hit of its own.",
        |config| Some(config.server.sends_timing.to_string()),
    )
    .live(),
];

const LIVE: &[Key] = &[
    key(
        "ingest",
        "none",
        "Address of the ingest listener, to which encoders push.",
        "What is taken in is asked for on purpose. An address that others can reach needs a token.",
        |config| config.server.ingest.listen.and_then(quoted),
    ),
    key(
        "tls",
        "false",
        "Whether the ingest listener speaks TLS, with the certificates of `[tls]` (`tls.client-ca` is not for encoders).",
        "An encoder on the same machine needs none.",
        |config| Some(config.server.ingest.speaks_tls.to_string()),
    ),
    key(
        "data-dir",
        "none",
        "Folder for what live has to remember; a restart then goes on where it was.",
        "Nothing is written to a disk that nobody named.",
        |config| config.live.dir.as_ref().and_then(|dir| dir.parent()).and_then(|dir| quoted(dir.display())),
    ),
    key(
        "token",
        "none",
        "What a push has to know, as a bearer's token or as a password.",
        "On a loopback address there is nobody else.",
        |config| config.server.ingest.token.as_ref().and_then(quoted),
    )
    .live()
    .secret(),
    key(
        "open",
        "true, unless channels are listed",
        "Whether a push may make a channel that is not listed.",
        "Who lists channels means these.",
        |config| Some(config.live.open.to_string()),
    ),
    key(
        "rate-max",
        "\"48MiB\"",
        "The most bytes a second that are pushed to a channel, over ten seconds; more is refused.",
        "400 Mb/s: a ladder, or one track of production quality. A file that is pushed at once is no broadcast.",
        |config| size(config.live.bytes_s_max),
    ),
    key(
        "window",
        "\"120s\"",
        "How long a segment is listed; at most 6h.",
        "Twenty segments of six seconds, or sixty of two; it is kept in memory.",
        |config| span(config.live.every.window),
    ),
    key(
        "archive",
        "\"0s\"",
        "For how long media is kept on disk, for time shift and clips; up to 366 days (8784h). 0s: no longer than the window needs.",
        "A broadcast of 8 Mb/s is 86 GB a day.",
        |config| span(config.live.archive.kept),
    ),
    key(
        "archive-max",
        "\"100GiB\"",
        "The most bytes that are kept of a channel, but for those that the window needs; the oldest go.",
        "A day of 8 Mb/s.",
        |config| size(config.live.archive.bytes_max),
    ),
    key(
        "segment",
        "\"2s\"",
        "Length of segments where a push does not say where they begin; 500ms to 30s.",
        "The usual distance of sync points where latency matters.",
        |config| span(config.live.every.target),
    ),
    key(
        "part",
        "\"1s\"",
        "Length that chunks are gathered to, for low latency; 100ms to that of segments.",
        "Players ask for each: a third of a second costs three times the requests of a second.",
        |config| span(config.live.every.part_target),
    ),
    key(
        "end-after",
        "\"0s\"",
        "How long after the last media a broadcast has ended; 0s: when the encoder says so.",
        "An encoder that fails should be able to come back.",
        |config| span(config.live.every.end_after.unwrap_or_default()),
    ),
    key(
        "cadence",
        "none",
        "How long segments exactly are, such as 2s or 60060/30000: for low latency in DASH, and numbers that follow from times (docs/live.md).",
        "An S of a SegmentTimeline is never changed, so that of a segment that grows has to be known.",
        |config| config.live.every.cadence.and_then(quoted),
    ),
    key(
        "latency",
        "\"0s\"",
        "What lies between media and its presentation, in DASH with a cadence; at most 60s; 0s: as parts and chunks allow.",
        "Who watches several screens wants them alike.",
        |config| span(config.live.every.latency.unwrap_or_default()),
    ),
];

const ACCESS: &[Key] = &[
    key(
        "allow",
        "[]",
        "Networks whose clients are served; none: all (docs/access.md).",
        "A server for a CDN alone has a firewall in front.",
        |config| list(&config.server.access.allow),
    )
    .live(),
    key(
        "header",
        "none",
        "A header that has to hold one of the secrets below.",
        "Only a CDN can send one.",
        |config| config.server.access.header.as_ref().and_then(|(name, _)| quoted(name)),
    )
    .live(),
    key(
        "header-secrets",
        "none",
        "Those secrets: each text, or a table with `file` or `env`.",
        "Two are good while one is replaced.",
        |config| {
            let (_, secrets) = config.server.access.header.as_ref()?;
            Some(secrets.iter().map(Secret::mark).collect())
        },
    )
    .live()
    .secret(),
    key(
        "tokens",
        "none: no URL needs a token",
        "Keys of the tokens that every URL needs then: each a table with `id`, and `secret`, `file` or `env`.",
        "A URL that anybody may play needs none.",
        |config| {
            let marks: String = config.server.access.tokens.iter().map(token::Key::mark).collect();
            (!marks.is_empty()).then_some(marks)
        },
    )
    .live()
    .secret(),
    key(
        "cors-origins",
        "[]",
        "Origins of pages whose scripts may read answers; none: all.",
        "Who may fetch may read; a list costs caches in front a variant an origin.",
        |config| list(config.server.access.cors_origins.iter().filter_map(|origin| origin.to_str().ok())),
    )
    .live(),
    key(
        "admin",
        "none: nobody may",
        "What admin calls that change something bring as `Authorization: Bearer`: text, or a table with `file` or `env`.",
        "Who reaches the admin listener may look, and no more.",
        |config| config.server.access.admin.as_ref().map(Secret::mark),
    )
    .live()
    .secret(),
];

const PROXIES: &[Key] = &[
    key(
        "trusted",
        "[]",
        "Networks whose peers are believed when they say for whom they ask.",
        "Anybody can write a header.",
        |config| list(&config.server.access.trusted),
    )
    .live(),
    key(
        "header",
        "\"x-forwarded-for\"",
        "Where they say it: x-forwarded-for or forwarded (RFC 7239).",
        "Most proxies write it. Both would let a client write the one that its proxy does not.",
        |config| {
            quoted(match config.server.access.forwarded_by {
                ForwardedBy::XForwardedFor => "x-forwarded-for",
                ForwardedBy::Forwarded => "forwarded",
            })
        },
    )
    .live(),
    key(
        "protocol",
        "false",
        "Connections begin with the PROXY protocol, and come from trusted peers alone.",
        "Load balancers that forward TCP need it, and nothing else speaks it.",
        |config| Some(config.server.access.proxy_protocol.to_string()),
    )
    .live(),
];

const TLS: &[Key] = &[
    key(
        "cert",
        "none: plain HTTP",
        "PEM file of a certificate and those above it; TLS is spoken then (docs/tls.md).",
        "A certificate is for a name, which only you know.",
        |config| config.server.tls.certificates.first().and_then(|first| quoted(first.chain.display())),
    ),
    key("key", "none", "PEM file of its private key.", "As above.", |config| {
        config.server.tls.certificates.first().and_then(|first| quoted(first.key.display()))
    }),
    key(
        "certificates",
        "[]",
        "More certificates, each a table with `cert` and `key`, shown by the name that a client asks for.",
        "Most servers have one.",
        |config| {
            let pair = |pair: &Certificate| {
                Some(format!("{{ cert = {}, key = {} }}", quoted(pair.chain.display())?, quoted(pair.key.display())?))
            };
            let more: Vec<String> = config.server.tls.certificates.iter().skip(1).filter_map(pair).collect();
            Some(format!("[{}]", more.join(", ")))
        },
    ),
    key(
        "listen",
        "none: TLS is spoken at `listen`, and nothing else",
        "Address of a listener for TLS; `listen` stays plain then.",
        "One listener is enough for most.",
        |config| config.server.tls.listen.and_then(quoted),
    ),
    key(
        "client-ca",
        "none: clients show no certificate",
        "PEM file of the authorities whose clients alone are served.",
        "Players have no certificates; CDNs may.",
        |config| config.server.tls.client_ca.as_ref().and_then(|path| quoted(path.display())),
    ),
    key(
        "min-version",
        "\"1.2\"",
        "The oldest version that is spoken: 1.2 or 1.3.",
        "Old televisions speak no 1.3.",
        |config| quoted(if config.server.tls.only_1_3 { "1.3" } else { "1.2" }),
    ),
    key(
        "handshake-timeout",
        "\"10s\"",
        "Time for a handshake; 1s to 60s.",
        "Nobody who means it takes longer.",
        |config| span(config.server.tls.handshake_timeout),
    ),
    key(
        "handshakes-max",
        "1024",
        "Handshakes under way; more are closed.",
        "One takes about a millisecond of a core, and up to 64 KiB.",
        |config| Some(config.server.tls.handshakes_max.to_string()),
    ),
];

/// The keys of `[storage]`.
const STORAGE: &[Key] = &[
    key(
        "age",
        "\"30s\"",
        "How long what was found in a storage is taken to be so; 1s to 1h.",
        "A replaced object is seen after that, or when a read of it says so; each look is a listing.",
        |config| span(config.storage.age),
    ),
    key(
        "timeout",
        "\"20s\"",
        "Time for one read or listing with all its attempts.",
        "A player gives up after about as long.",
        |config| span(config.storage.requests.timeout),
    ),
    key(
        "silence",
        "\"5s\"",
        "Time a storage may be silent before another attempt is made.",
        "Slow answers begin within a second or two.",
        |config| span(config.storage.requests.silence),
    ),
    key(
        "attempts-max",
        "4",
        "Attempts at one read or listing.",
        "A storage that fails so often in a row is down, or too busy to be asked more.",
        |config| Some(config.storage.requests.attempts_max.to_string()),
    ),
    key(
        "requests-max",
        "64",
        "Requests to one storage at once.",
        "Some hundred megabits at usual round trips; others wait.",
        |config| Some(config.storage.requests.requests_max.to_string()),
    ),
    key(
        "waiting-max",
        "256",
        "Requests to one storage that wait for that; more are refused with 503.",
        "So many have their turn within `timeout` even if each takes all the silence that it may; more would wait in vain.",
        |config| Some(config.storage.requests.waiting_max.to_string()),
    ),
    key(
        "hedge",
        "none",
        "A request that is later than this percentile of the latest ones is sent a second time; 50 to 99.",
        "It shortens the longest waits, and costs requests.",
        |config| config.storage.requests.hedge.map(|percentile| percentile.to_string()),
    ),
    key(
        "cache-dir",
        "none",
        "Folder for the indexes of remote presentations, and what was listed; it may be lost at any time.",
        "Nothing is written where nobody said so. With it a restart reads no index again, and waits for no listing.",
        |config| config.storage.cache_dir.as_ref().and_then(|dir| quoted(dir.display())),
    ),
    key(
        "cache-dir-max",
        "\"10GiB\"",
        "Size of that folder, from which the oldest indexes are removed.",
        "A hundred thousand films, at some tens of kilobytes to a megabyte each.",
        |config| size(config.storage.cache_dir_bytes),
    ),
    key(
        "media-cache-dir",
        "none",
        "Folder for media read from storages, behind memory; it may be lost at any time. One process uses it at a time.",
        "Nothing is written where nobody said so. With it a restart reads no segment again, and a disk holds more than memory.",
        |config| config.storage.media_cache_dir.as_ref().and_then(|dir| quoted(dir.display())),
    ),
    key(
        "media-cache-max",
        "\"10GiB\"",
        "Size of that folder, from which what was read first is removed; 1GiB to 4TiB.",
        "Some hours at ten megabits; a disk for it alone may be filled.",
        |config| size(config.storage.media_cache_bytes),
    ),
    key(
        "open-wait",
        "\"8s\"",
        "How long a request waits for a remote presentation to be opened, before 503.",
        "Players wait about as long for a playlist; it is opened all the same.",
        |config| span(config.origin.open_wait),
    ),
];

/// What is served, if that is one thing without a prefix.
fn only(config: &Config) -> Option<String> {
    match (&config.library.roots[..], &config.storage.places[..]) {
        ([root], []) if root.prefix.is_empty() => Some(root.path.display().to_string()),
        ([], [(prefix, place)]) if prefix.is_empty() => Some(place.to_string()),
        _ => None,
    }
}

/// Several libraries as a file has them; nothing if there is one without a prefix.
fn several(config: &Config) -> String {
    if only(config).is_some() {
        return String::new();
    }
    let roots = config.library.roots.iter().map(|root| (&root.prefix, root.path.display().to_string()));
    let places = config.storage.places.iter().map(|(prefix, place)| (prefix, place.to_string()));
    let library = |(prefix, url): (&String, String)| {
        let below = config.server.access.cors_below.iter().find(|(own, _)| own == prefix);
        let cors = below.and_then(|(_, origins)| list(origins.iter().filter_map(|origin| origin.to_str().ok())));
        let cors = cors.map(|origins| format!("cors-origins = {origins}\n")).unwrap_or_default();
        let [prefix, url] = [prefix.clone(), url].map(toml::Value::String);
        format!("\n[[library]]\nname = {prefix}\nurl = {url}\nprefix = {prefix}\n{cors}")
    };
    roots.chain(places).map(library).collect()
}

fn quoted(text: impl fmt::Display) -> Option<String> {
    Some(toml::Value::String(text.to_string()).to_string())
}

fn list(items: impl IntoIterator<Item = impl fmt::Display>) -> Option<String> {
    let items: Vec<String> = items.into_iter().filter_map(quoted).collect();
    Some(format!("[{}]", items.join(", ")))
}

fn span(duration: Duration) -> Option<String> {
    let millis = duration.as_millis();
    quoted(if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") })
}

fn size(bytes: u64) -> Option<String> {
    let (power, unit) = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(power, _)| bytes > 0 && bytes.is_multiple_of(1 << power))
        .unwrap_or((0, "B"));
    quoted(format!("{}{unit}", bytes >> power))
}

/// What `config` came to, as a configuration file that comes to the same; secrets are hidden.
pub fn resolved(config: &Config) -> String {
    let mut text = String::new();
    for table in TABLES {
        head(&mut text, table);
        for key in table.keys {
            let line = match (key.value)(config) {
                None => format!("# {} is not set", key.name),
                Some(_) if key.is_secret => format!("{} = \"(hidden)\"", key.name),
                Some(value) if value == key.default => format!("{} = {value}  # default", key.name),
                Some(value) => format!("{} = {value}", key.name),
            };
            text += &line;
            text.push('\n');
        }
    }
    text + &several(config)
}

/// A configuration file with every key, its default and the reason for that.
pub fn example() -> String {
    let mut text = String::from(
        "# Every key of Headwater's configuration, with its default. `headwater config example` writes this, `headwater config check FILE`\n\
         # says whether a file is right, and `headwater config print FILE` what it comes to. A variable of the environment goes before the\n\
         # file, an option of the command line before both. A key marked \"live\" is taken over from a changed file on SIGHUP.\n\n\
         source = \"/srv/media\"\n",
    );
    for table in TABLES {
        head(&mut text, table);
        for key in table.keys.iter().filter(|key| (table.name, key.name) != ("", "source")) {
            let live = if key.is_live { " (live)" } else { "" };
            let Key { name, default, about, reason, .. } = key;
            let _ = writeln!(text, "\n# {about} {reason}{live}\n# {}", table.variable(key));
            let _ = match key.has_value_as_default() {
                true => writeln!(text, "# {name} = {default}"),
                false => writeln!(text, "# {name}: {default}"),
            };
        }
    }
    text
}

fn head(text: &mut String, table: &Table) {
    if !table.name.is_empty() {
        let _ = writeln!(text, "\n[{}]", table.name);
    }
}

/// A key whose value differs between two configurations.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Its table.
    pub table: &'static Table,
    /// The key.
    pub key: &'static Key,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.table.name {
            "" => f.write_str(self.key.name),
            table => write!(f, "{table}.{}", self.key.name),
        }
    }
}

/// The keys whose values differ.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let all = TABLES.iter().flat_map(|table| table.keys.iter().map(move |key| Change { table, key }));
    all.filter(|change| (change.key.value)(old) != (change.key.value)(new)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::load;
    use crate::config::machine::Machine;
    use crate::config::written::Written;
    use std::path::Path;

    const MACHINE: Machine = Machine { memory_bytes: 8 << 30, cores: 4, descriptors: 20_000 };

    fn config(options: Written) -> Config {
        load(Path::new("media"), options, MACHINE).unwrap()
    }

    fn all() -> impl Iterator<Item = (&'static Table, &'static Key)> {
        TABLES.iter().flat_map(|table| table.keys.iter().map(move |key| (table, key)))
    }

    /// `text`, as the file of the repository has it; `UPDATE_GOLDEN=1 cargo test` writes it there.
    fn check_file(name: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(file == text, "{name} does not say what the program does; UPDATE_GOLDEN=1 cargo test mends that");
    }

    #[test]
    fn the_table_has_every_key_that_a_file_may_have() {
        for table in TABLES {
            let head = if table.name.is_empty() { String::new() } else { format!("[{}]\n", table.name) };
            let error = toml::from_str::<Written>(&format!("{head}no-such-key = 1")).unwrap_err();
            let (_, expected) = error.message().split_once("expected").unwrap();
            let fields: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            let tables = TABLES.iter().map(|table| table.name).filter(|name| table.name.is_empty() && !name.is_empty());
            let mut known: Vec<&str> = table.keys.iter().map(|key| key.name).chain(tables).collect();
            known.sort_unstable();
            let mut fields: Vec<&str> = fields.into_iter().filter(|name| !DESCRIBED_ELSEWHERE.contains(name)).collect();
            fields.sort_unstable();
            assert_eq!(fields, known, "[{}]", table.name);
        }
    }

    #[test]
    fn defaults_are_what_nothing_written_comes_to() {
        let config = config(Written::default());
        for (table, key) in all().filter(|(_, key)| key.has_value_as_default()) {
            assert_eq!((key.value)(&config).as_deref(), Some(key.default), "[{}] {}", table.name, key.name);
        }
        let names: Vec<String> = all().map(|(table, key)| table.variable(key)).collect();
        assert!(names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1), "{names:?}");
    }

    #[test]
    fn the_help_names_the_same_defaults() {
        use clap::CommandFactory;
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            _written: Written,
        }
        let mut compared = 0;
        for argument in Cli::command().get_arguments() {
            let Some((option, help)) = argument.get_long().zip(argument.get_help()) else { continue };
            let help = help.to_string();
            let (Some((_, said)), Some((_, key))) = (
                help.rsplit_once("[default: "),
                all().find(|(table, key)| option == key.name || option == format!("{}-{}", table.name, key.name)),
            ) else {
                continue;
            };
            if key.has_value_as_default() {
                assert_eq!(said.trim_end_matches(']'), key.default.trim_matches('"'), "--{option}");
                compared += 1;
            }
        }
        assert!(compared > 20, "{compared} compared");
    }

    #[test]
    fn what_is_printed_comes_to_the_same() {
        let options = Written { prefetch: Some(2), key_uri: Some("skd://{kid}".into()), ..Written::default() };
        let config = config(options);
        let text = resolved(&config);
        let written: Written = toml::from_str(&text).unwrap();
        assert_eq!(written.source.as_deref(), Some(Path::new("media")));
        assert_eq!(
            super::super::resolve("media".into(), Written { source: None, ..written }, MACHINE).unwrap(),
            config
        );
        assert!(text.contains("prefetch = 2\n") && text.contains("segment-duration = \"6s\"  # default\n"), "{text}");
    }

    #[test]
    fn a_running_server_takes_over_what_is_marked_so_and_nothing_else() {
        let old = config(Written::default());
        let new: Written = toml::from_str(OTHER).unwrap();
        let new = super::super::resolve("other".into(), Written { source: None, ..new }, MACHINE).unwrap();
        let differ: Vec<String> = changes(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(differ.len(), all().count(), "all keys but those have another value: {differ:?}");
        let taken = old.taking_over(&new);
        for (table, key) in all() {
            let from = if key.is_live { &new } else { &old };
            assert_eq!((key.value)(&taken), (key.value)(from), "[{}] {}", table.name, key.name);
        }
        assert_eq!(changes(&taken, &new).len(), all().filter(|(_, key)| !key.is_live).count());
    }

    #[test]
    fn the_example_is_a_file_that_comes_to_the_defaults() {
        let text = example();
        check_file("ops/headwater.toml", &text);
        let plain: Written = toml::from_str(&text).unwrap();
        assert_eq!(plain, Written { source: Some("/srv/media".into()), ..Written::default() });
        // Every default that is a value can be uncommented as it stands.
        let uncommented: String = text
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let written: Written = toml::from_str(&uncommented).unwrap();
        let written = super::super::resolve("media".into(), Written { source: None, ..written }, MACHINE).unwrap();
        assert_eq!(written, config(Written::default()));
    }

    #[test]
    fn the_documentation_lists_every_key() {
        let name = "docs/configuration.md";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let file = std::fs::read_to_string(&path).unwrap();
        let (before, _) = file.split_once("\n## Keys\n").expect("the heading");
        let mut text = format!(
            "{before}\n## Keys\nWritten by `UPDATE_GOLDEN=1 cargo test`, from the table that the program uses.\n"
        );
        for table in TABLES {
            if !table.name.is_empty() {
                let _ = write!(text, "\n### [{}]\n", table.name);
            }
            text += "\n| key | default | | why | live |\n|---|---|---|---|---|\n";
            for key in table.keys {
                let default =
                    if key.has_value_as_default() { format!("`{}`", key.default) } else { key.default.to_owned() };
                let live = if key.is_live { "yes" } else { "" };
                let _ = writeln!(text, "| `{}` | {default} | {} | {} | {live} |", key.name, key.about, key.reason);
            }
        }
        check_file(name, &text);
    }

    /// Lists of tables, which are described where they are.
    const DESCRIBED_ELSEWHERE: &[&str] = &["library", "channel"];

    /// Every key with another value than its default.
    pub(in crate::config) const OTHER: &str = r#"
        source = "other"
        listen = "127.0.0.1:1"
        admin = "off"
        reuse-port = true
        segment-duration = "4s"
        scan-interval = "3s"
        grace = "1h"
        follow-symlinks = true
        cache-memory = "1GiB"
        in-flight-memory = "300MiB"
        prefetch = 2
        key-uri = "skd://{kid}"
        manifest-max-age = "10s"
        threads = 3
        connections-max = 100
        connections-peer-max = 20
        requests-max = 10
        flights-max = 5
        reads-max = 7
        url-max = "1KiB"
        head-max = "16KiB"
        head-timeout = "5s"
        idle-timeout = "60s"
        write-timeout = "20s"
        drain-timeout = "0s"
        log-format = "json"
        log = "debug"
        [storage]
        age = "1m"
        timeout = "10s"
        silence = "1s"
        attempts-max = 3
        requests-max = 32
        waiting-max = 100
        hedge = 95
        cache-dir = "cache"
        cache-dir-max = "1GiB"
        media-cache-dir = "media"
        media-cache-max = "2GiB"
        open-wait = "4s"

        [access-log]
        path = "access.log"
        format = "combined"
        queue-max = 10

        [observe]
        cmcd = false
        cmsd = true
        server-timing = true

        [live]
        ingest = "127.0.0.1:3"
        tls = true
        data-dir = "data"
        token = "secret"
        open = false
        rate-max = "10MB"
        window = "1h"
        archive = "24h"
        archive-max = "1GiB"
        segment = "1s"
        part = "500ms"
        end-after = "60s"
        cadence = "1s"
        latency = "2s"
        [tls]
        cert = "site.pem"
        key = "site.key"
        certificates = [{ cert = "b.pem", key = "b.key" }]
        listen = "127.0.0.1:2"
        client-ca = "ca.pem"
        min-version = "1.3"
        handshake-timeout = "5s"
        handshakes-max = 10
        [access]
        allow = ["10.0.0.0/8"]
        header = "x-origin-auth"
        header-secrets = ["0123456789abcdef"]
        tokens = [{ id = "a", secret = "0123456789abcdef" }]
        cors-origins = ["https://player.example"]
        admin = "0123456789abcdef"
        [proxies]
        trusted = ["10.0.0.0/8"]
        header = "forwarded"
        protocol = true
    "#;
}
