//! What a person wrote: in a file, in the environment, or as options of the command line, which all have the same names.
//!
//! Plain keys stand at the top of the file. What belongs to one module only may have a table of its own (`[tls]`): a submodule of
//! `config` with a struct like [`Written`], all of whose fields may be left out, its `over`, and a field here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::config::access;
use crate::config::live;
use crate::config::over::over;
use crate::config::quantity::{Share, Size, Span};
use crate::config::storage::{LibraryWritten, StorageWritten};
use crate::config::{access_log, observe, tls};

/// What a person wrote; what was left out is `None`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// In a file: the folder or media file to serve, relative to the file's own folder, or a storage.
    #[arg(skip)]
    pub source: Option<PathBuf>,
    /// In a file, instead of `source`: several.
    #[arg(skip)]
    pub library: Option<Vec<LibraryWritten>>,

    /// Address of the media listener, for players and CDNs [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", help_heading = "Listeners")]
    pub listen: Option<SocketAddr>,
    /// Address of the admin listener (page, API, metrics), or `off` [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS|off", help_heading = "Listeners")]
    pub admin: Option<AdminAddress>,

    /// Let another process listen at the same addresses, to take over from this one [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Listeners")]
    pub reuse_port: Option<bool>,
    /// What is said of live.
    #[command(flatten)]
    pub live: live::Written,
    /// More of TLS, in a table.
    #[command(flatten)]
    pub tls: tls::Written,
    /// Who may fetch, in a table.
    #[arg(skip)]
    pub access: access::Written,
    /// What stands in front, in a table.
    #[arg(skip)]
    pub proxies: access::Proxies,

    /// Length that segments are cut to, at the next sync point [default: 6s]
    #[arg(long, value_name = "DURATION", help_heading = "Library")]
    pub segment_duration: Option<Span>,
    /// Time between two looks for new, changed and gone files [default: 2s]
    #[arg(long, value_name = "DURATION", help_heading = "Library")]
    pub scan_interval: Option<Span>,
    /// How long the old version of a replaced file is still answered [default: its duration, at most 6h, manifest-max-age, and at most 30s]
    #[arg(long, value_name = "DURATION", help_heading = "Library")]
    pub grace: Option<Span>,
    /// Let symbolic links lead out of the folder [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "Library")]
    pub follow_symlinks: Option<bool>,

    /// How storages elsewhere are asked.
    #[command(flatten)]
    pub storage: StorageWritten,

    /// Memory for the cache: a percentage of what the process may use, or a size such as 512MiB [default: 25%]
    #[arg(long, value_name = "SHARE", help_heading = "Making")]
    pub cache_memory: Option<Share>,
    /// Memory that bodies may keep beside the cache while they are read or sent [default: half of cache-memory, at least 128MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Making")]
    pub in_flight_memory: Option<Size>,
    /// Segments made ahead of the one asked for [default: 0]
    #[arg(long, value_name = "N", help_heading = "Making")]
    pub prefetch: Option<u32>,
    /// URI of content keys in HLS, with {kid} for the key id; for sources that are already encrypted [default: none]
    #[arg(long, value_name = "TEMPLATE", help_heading = "Making")]
    pub key_uri: Option<String>,
    /// How long a playlist or MPD may be used without asking again [default: 120s]
    #[arg(long, value_name = "DURATION", help_heading = "Making")]
    pub manifest_max_age: Option<Span>,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N", help_heading = "Making")]
    pub threads: Option<usize>,

    /// Connections open at once; more are refused with 503 [default: 16384, or three quarters of the descriptors]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub connections_max: Option<usize>,
    /// Of these, connections of one client [default: as many as there may be]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub connections_peer_max: Option<usize>,
    /// Requests that wait for something to be made; more are refused with 503 [default: 4096]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub requests_max: Option<usize>,
    /// Requests that wait for what is live; more are refused with 503 [default: 65536]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub waits_max: Option<usize>,
    /// Objects being made at once; more are refused with 503 [default: 256]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub flights_max: Option<usize>,
    /// Reads of local files at once that wait for a disk; four times as many wait for their turn, more are refused with 503 [default: 32]
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub reads_max: Option<usize>,
    /// Longest path and query of a request; longer ones are refused with 414 [default: 4KiB]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub url_max: Option<Size>,
    /// Largest request head; larger ones are refused with 431 [default: 64KiB]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub head_max: Option<Size>,
    /// Time for a request head to come, from its first byte [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = "Limits")]
    pub head_timeout: Option<Span>,
    /// Time a connection may be kept without a request [default: 600s]
    #[arg(long, value_name = "DURATION", help_heading = "Limits")]
    pub idle_timeout: Option<Span>,
    /// Time a peer has for each 16 KiB of an answer, or for what is left of it [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = "Limits")]
    pub write_timeout: Option<Span>,
    /// Time for connections to finish after SIGTERM [default: 30s]
    #[arg(long, value_name = "DURATION", help_heading = "Limits")]
    pub drain_timeout: Option<Span>,

    /// In a file: `[access-log]`.
    #[arg(skip)]
    pub access_log: access_log::Written,
    /// In a file: `[observe]`.
    #[arg(skip)]
    pub observe: observe::Written,

    /// How the log, on the standard error stream, is written; auto is text in a terminal and json otherwise [default: auto]
    #[arg(long, value_name = "FORMAT", help_heading = "Log")]
    pub log_format: Option<LogFormat>,
    /// What is logged: error, warn, info, debug (every request) or trace, also by module [default: info]
    #[arg(long, value_name = "FILTER", help_heading = "Log")]
    pub log: Option<String>,
}

/// Where the admin listener is, if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum AdminAddress {
    /// There.
    At(SocketAddr),
    /// Nowhere.
    Off,
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<AdminAddress, String> {
        match text {
            "off" => Ok(AdminAddress::Off),
            _ => text
                .parse()
                .map(AdminAddress::At)
                .map_err(|_| format!("{text:?} is neither `off` nor an address and port")),
        }
    }
}

impl TryFrom<String> for AdminAddress {
    type Error = String;

    fn try_from(text: String) -> Result<AdminAddress, String> {
        text.parse()
    }
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text in a terminal, JSON otherwise.
    #[default]
    Auto,
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Written {
    /// These, and those of `under` where these say nothing.
    pub(crate) fn over(self, under: Written) -> Written {
        over!(self, under; source,
            library,
            listen,
            admin,
            reuse_port,
            segment_duration,
            scan_interval,
            grace,
            follow_symlinks,
            cache_memory,
            in_flight_memory,
            prefetch,
            key_uri,
            manifest_max_age,
            threads,
            connections_max,
            connections_peer_max,
            requests_max,
            waits_max,
            flights_max,
            reads_max,
            url_max,
            head_max,
            head_timeout,
            idle_timeout,
            write_timeout,
            drain_timeout,
            log_format,
            log;
            tables storage, live, access_log, observe, tls, access, proxies
        )
    }
}
