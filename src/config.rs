//! Configuration in two steps: [`Written`] is what a person wrote, in a TOML file or as options of the command line, which
//! have the same names and override the file; [`Config`] is what it comes to on this machine, one set of options a module.

pub mod access;
pub mod access_log;
pub mod environment;
pub mod error;
pub mod keys;
pub mod live;
pub mod machine;
pub mod observe;
mod over;
pub mod quantity;
pub mod storage;
pub mod tls;
pub mod written;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::error::{Error, bounded, set};
use crate::config::machine::Machine;
use crate::config::quantity::{Share, Size, Span};
use crate::config::written::{AdminAddress, LogFormat, Written};
use crate::content::remote::connect::Place;
use crate::{content, origin, server};

/// Descriptors that are not for connections: one in this many, for sources.
const SOURCES_SHARE: usize = 4;
/// Of the memory the process may use; the page cache of the sources and the connections need the rest.
const CACHE_PERCENT: u8 = 25;
/// The smallest cache that holds a segment of every usual bit rate.
const CACHE_BYTES_MIN: u64 = 16 << 20;
/// What bodies may keep alive beside the cache at least: what it has not evicted yet after a burst (docs/adr/0009-overload.md).
const IN_FLIGHT_BYTES_MIN: u64 = 128 << 20;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The longest segment: what players buffer is a few of them.
const SEGMENT_MAX: Duration = Duration::from_secs(60);

/// What it comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// For the library.
    pub library: content::library::Options,
    /// Storages elsewhere.
    pub storage: storage::Options,
    /// For the origin.
    pub origin: origin::options::Options,
    /// For what is live.
    pub live: content::live::channel::Options,
    /// For the listeners.
    pub server: server::Options,
    /// For the access log.
    pub access_log: server::access_log::Options,
    /// Threads that serve, from 1.
    pub threads: usize,
    /// How the log is written.
    pub log_format: LogFormat,
    /// What is logged, as tracing-subscriber's `EnvFilter` has it.
    pub log: String,
    /// What it was resolved for.
    pub machine: Machine,
}

/// Reads the configuration for `target`, a folder, a media file or a configuration file; `options` override the latter.
pub fn load(target: &Path, options: Written, machine: Machine) -> Result<Config, Error> {
    if target.extension().is_none_or(|extension| extension != "toml") {
        return resolve(target.to_owned(), options, machine);
    }
    let text = std::fs::read_to_string(target).map_err(|cause| Error::Read { path: target.to_owned(), cause })?;
    let (source, written) = parse(target, &text)?;
    resolve(source, options.over(written), machine)
}

/// The source and the options that the file at `path` names, given its text.
fn parse(path: &Path, text: &str) -> Result<(PathBuf, Written), Error> {
    let error = |cause: toml::de::Error| {
        let at = cause.span().map_or(0, |span| span.start.min(text.len()));
        let line = 1 + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        Error::Parse { path: path.to_owned(), line, message: cause.message().trim_end().replace('\n', " ") }
    };
    let mut written: Written = toml::from_str(text).map_err(error)?;
    let wrong = |message: &str| Error::Parse { path: path.to_owned(), line: 1, message: message.into() };
    let folder = path.parent().unwrap_or(Path::new(""));
    let source = match (written.source.take(), &written.library) {
        (Some(source), None) if Place::parse(&source.to_string_lossy()).is_some() => source,
        (Some(source), None) => folder.join(source),
        (None, Some(_)) => folder.to_owned(),
        (Some(_), Some(_)) => return Err(wrong("either `source` or `[[library]]`, not both")),
        (None, None) => return Err(wrong("missing key `source`: the folder or file to serve, or a storage")),
    };
    written.tls = written.tls.below(folder);
    written.access = written.access.below(folder);
    Ok((source, written))
}

/// What `written` comes to on `machine`, serving `root`; or the libraries that are written, whose paths are relative to it.
fn resolve(root: PathBuf, mut written: Written, machine: Machine) -> Result<Config, Error> {
    let (libraries, folder) = match written.library.take() {
        Some(libraries) => (libraries, root),
        None => (vec![storage::one(root)], PathBuf::new()),
    };
    let mut library = content::library::Options::new(PathBuf::new());
    let mut origin = origin::options::Options::default();
    let mut server = server::Options::default();

    let cors_below = storage::cors_below(&libraries)?;
    let storage = storage::resolve(libraries, &folder, &written.storage, &mut library, &mut origin.open_wait)?;
    set(
        "segment-duration",
        &mut library.segment_target,
        written.segment_duration,
        Duration::from_millis(500)..=SEGMENT_MAX,
    )?;
    set("scan-interval", &mut library.scan_interval, written.scan_interval, Duration::from_millis(100)..=HOUR)?;
    library.grace = written.grace.map(|Span(grace)| grace);
    library.follow_symlinks = written.follow_symlinks.unwrap_or(library.follow_symlinks);

    let cache = written.cache_memory.unwrap_or(Share::Percent(CACHE_PERCENT)).of(machine.memory_bytes);
    origin.cache_bytes = bounded("cache-memory", cache, CACHE_BYTES_MIN..=machine.memory_bytes.max(CACHE_BYTES_MIN))?;
    let in_flight = written.in_flight_memory.map(|Size(bytes)| bytes);
    let in_flight = in_flight.unwrap_or((origin.cache_bytes / 2).max(IN_FLIGHT_BYTES_MIN));
    origin.in_flight_bytes =
        bounded("in-flight-memory", in_flight, 1 << 20..=machine.memory_bytes.max(IN_FLIGHT_BYTES_MIN))?;
    // The other half is for replaced files that are still played, and for what is open for a moment.
    origin.open_files_max = (machine.descriptors / SOURCES_SHARE / 2).max(1);
    origin.prefetch = bounded("prefetch", written.prefetch.unwrap_or(origin.prefetch), 0..=16)?;
    origin.flights_max = bounded("flights-max", written.flights_max.unwrap_or(origin.flights_max), 1..=1 << 16)?;
    origin.reads_max = bounded("reads-max", written.reads_max.unwrap_or(origin.reads_max), 1..=1024)?;
    set("manifest-max-age", &mut origin.manifest_max_age, written.manifest_max_age, Duration::from_secs(1)..=DAY)?;
    if written.key_uri.as_ref().is_some_and(|template| !template.contains("{kid}")) {
        return Err(Error::Value { option: "key-uri", message: "the template has no {kid}".into() });
    }
    origin.key_uri = written.key_uri;

    server.listen = written.listen.unwrap_or(server.listen);
    server.admin = match written.admin {
        Some(AdminAddress::At(address)) => Some(address),
        Some(AdminAddress::Off) => None,
        None => server.admin,
    };
    server.reuses_port = written.reuse_port.unwrap_or(server.reuses_port);
    server.tls = tls::resolve(written.tls)?;
    server.access = access::resolve(written.access, written.proxies)?;
    server.access.cors_below = cors_below;
    let connections_max = (machine.descriptors - machine.descriptors / SOURCES_SHARE).max(1);
    let connections = written.connections_max.unwrap_or(server.connections_max.min(connections_max));
    server.connections_max = bounded("connections-max", connections, 1..=connections_max)?;
    let of_peer = written.connections_peer_max;
    server.connections_peer_max =
        of_peer.map(|count| bounded("connections-peer-max", count, 1..=connections_max)).transpose()?;
    let requests = written.requests_max.unwrap_or(origin.requests_max);
    origin.requests_max = bounded("requests-max", requests, 1..=1 << 20)?;
    let size = |size: Option<Size>, default: usize| size.map_or(default, |Size(bytes)| bytes as usize);
    server.url_bytes_max = bounded("url-max", size(written.url_max, server.url_bytes_max), 256..=32 << 10)?;
    // hyper's smallest buffer.
    server.head_bytes_max = bounded("head-max", size(written.head_max, server.head_bytes_max), 8 << 10..=1 << 20)?;
    let second = Duration::from_secs(1);
    set("head-timeout", &mut server.head_timeout, written.head_timeout, second..=HOUR)?;
    set("idle-timeout", &mut server.idle_timeout, written.idle_timeout, second..=DAY)?;
    set("write-timeout", &mut server.write_timeout, written.write_timeout, second..=HOUR)?;
    set("drain-timeout", &mut server.drain_timeout, written.drain_timeout, Duration::ZERO..=HOUR)?;

    server.reads_cmcd = written.observe.cmcd.unwrap_or(server.reads_cmcd);
    server.sends_timing = written.observe.server_timing.unwrap_or(server.sends_timing);
    origin.sends_cmsd = written.observe.cmsd.unwrap_or(origin.sends_cmsd);
    let (live, ingest) = live::resolve(written.live)?;
    if ingest.speaks_tls && server.tls.certificates.is_empty() {
        return Err(Error::Value { option: "live.tls", message: "there is no certificate (tls.cert)".into() });
    }
    server.ingest = ingest;

    Ok(Config {
        library,
        storage,
        origin,
        live,
        server,
        access_log: written.access_log.resolve()?,
        threads: bounded("threads", written.threads.unwrap_or(machine.cores), 1..=1024)?,
        log_format: written.log_format.unwrap_or_default(),
        log: written.log.unwrap_or_else(|| "info".into()),
        machine,
    })
}

impl Config {
    /// This one, which is in use, with what a running server can take over from `new`: the keys that are marked so in
    /// `keys`.
    pub fn taking_over(&self, new: &Config) -> Config {
        let (old, server) = (&self.server, new.server.clone());
        Config {
            server: server::Options {
                listen: old.listen,
                tls: old.tls.clone(),
                admin: old.admin,
                ingest: server::IngestOptions {
                    listen: old.ingest.listen,
                    speaks_tls: old.ingest.speaks_tls,
                    ..server.ingest
                },
                connections_max: old.connections_max,
                reuses_port: old.reuses_port,
                connections_peer_max: old.connections_peer_max,
                ..server
            },
            log: new.log.clone(),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine { memory_bytes: 8 << 30, cores: 4, descriptors: 20_000 };

    fn error(text: &str) -> String {
        parse(Path::new("conf/site.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn nothing_written_comes_to_the_defaults_of_the_modules() {
        let config = resolve("media".into(), Written::default(), MACHINE).unwrap();
        assert_eq!(config.library, content::library::Options::new("media".into()));
        assert_eq!(config.server, server::Options { connections_max: 15_000, ..server::Options::default() });
        let origin = origin::options::Options {
            cache_bytes: 2 << 30,
            in_flight_bytes: 1 << 30,
            open_files_max: 2500,
            ..origin::options::Options::default()
        };
        assert_eq!(config.origin, origin);
        assert_eq!((config.threads, config.log_format), (4, LogFormat::Auto));
    }

    #[test]
    fn a_file_may_say_all_that_the_command_line_may() {
        let text = keys::tests::OTHER;
        let (source, written) = parse(Path::new("conf/site.toml"), text).unwrap();
        assert_eq!(source, Path::new("conf/other"));
        let options: Vec<String> = {
            use clap::CommandFactory;
            #[derive(clap::Parser)]
            struct Cli {
                #[command(flatten)]
                written: Written,
            }
            Cli::command().get_arguments().filter_map(|arg| arg.get_long()).map(String::from).collect()
        };
        for option in options.iter().filter(|option| *option != "help") {
            let key = option.strip_prefix("tls-").or_else(|| option.strip_prefix("storage-")).unwrap_or(option);
            assert!(text.contains(&format!("{key} = ")), "{option} is not in that file");
        }
        let config = resolve(source, written, MACHINE).unwrap();
        assert_eq!(config.server.admin, None);
        assert_eq!(config.server.tls.certificates[0].chain, Path::new("conf/site.pem"));
        assert_eq!(config.server.url_bytes_max, 1024);
        assert_eq!(config.library.grace, Some(Duration::from_secs(3600)));
        assert_eq!(config.origin.cache_bytes, 1 << 30);
        assert!(config.library.follow_symlinks);
        let (above, _) = parse(Path::new("conf/site.toml"), "source = \"../media\"").unwrap();
        assert_eq!(above, Path::new("conf/../media"));
    }

    #[test]
    fn options_override_the_file() {
        let (_, file) = parse(Path::new("site.toml"), "source = \"a\"\nprefetch = 1\nthreads = 2").unwrap();
        let options = Written { prefetch: Some(3), ..Written::default() };
        let config = resolve("a".into(), options.over(file), MACHINE).unwrap();
        assert_eq!((config.origin.prefetch, config.threads), (3, 2));
    }

    #[test]
    fn errors_name_file_and_line() {
        let unknown = error("source = \"a\"\n\nthread = 2\n");
        assert!(unknown.starts_with("conf/site.toml:3: unknown field `thread`"), "{unknown}");
        let value = error("source = \"a\"\ngrace = \"soon\"\n");
        assert!(value.starts_with("conf/site.toml:2: \"soon\" is no duration"), "{value}");
        assert!(error("source = \n").starts_with("conf/site.toml:1: "));
        assert!(error("threads = 1").starts_with("conf/site.toml:1: missing key `source`"));
    }

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let refusal = |written: Written| resolve("a".into(), written, MACHINE).unwrap_err().to_string();
        let written = Written { connections_max: Some(20_000), ..Written::default() };
        assert_eq!(refusal(written), "connections-max: 20000 is not between 1 and 15000");
        let written = Written { segment_duration: Some(Span(Duration::ZERO)), ..Written::default() };
        assert_eq!(refusal(written), "segment-duration: 0ns is not between 500ms and 60s");
        let written = Written { key_uri: Some("https://keys/".into()), ..Written::default() };
        assert_eq!(refusal(written), "key-uri: the template has no {kid}");
        assert!(refusal(Written { threads: Some(0), ..Written::default() }).starts_with("threads: "));
    }
}
