//! HTTP on sockets: listeners, connections and their limits, and the admin listener with its page.

pub mod access;
pub mod access_log;
pub mod admin;
pub mod bodies;
pub mod clock;
pub mod conn;
pub mod drain;
pub mod http;
pub mod http2;
pub mod ingest;
pub mod inherited;
pub mod network;
pub mod observe;
pub mod peers;
pub mod proxied;
pub mod reload;
pub mod run;
pub mod state;
pub mod tls;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the listeners behave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Address of the media listener. Loopback by default: a server is opened to the world on purpose.
    pub listen: SocketAddr,
    /// How TLS is spoken, if it has certificates.
    pub tls: tls::Options,
    /// Who may fetch, and who is believed.
    pub access: access::Options,
    /// Address of the admin listener; `None` to have none. Loopback by default: it shows what the library holds.
    pub admin: Option<SocketAddr>,
    /// The ingest listener.
    pub ingest: IngestOptions,
    /// Connections open at once on the media listener; each keeps a descriptor and about 21 KiB.
    pub connections_max: usize,
    /// Of them, those of one client; `None`: as many as there may be. What stands in front is one client too, unless it is trusted.
    pub connections_peer_max: Option<usize>,
    /// Bytes of a request's path and query. Our own URLs stay below 500; CDNs cap theirs at 8 KiB and more.
    pub url_bytes_max: usize,
    /// Bytes of a request head; what CDNs add (cookies and tokens included) fits. At least 8 KiB.
    pub head_bytes_max: usize,
    /// From the first byte of a head until it is whole.
    pub head_timeout: Duration,
    /// Without any byte of a request. Long, because CDNs keep connections to origins open and pay for new ones.
    pub idle_timeout: Duration,
    /// Without the peer taking a byte while some wait.
    pub write_timeout: Duration,
    /// For connections to finish once the server is told to stop.
    pub drain_timeout: Duration,
    /// Whether another process may listen at the same addresses (SO_REUSEPORT): the one that follows this one.
    pub reuses_port: bool,
    /// Whether what players say of themselves (CMCD) is read.
    pub reads_cmcd: bool,
    /// Whether answers that were not at hand say how long they took. Not by default: a cache in front repeats it with every hit.
    pub sends_timing: bool,
}

/// How the ingest listener behaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IngestOptions {
    /// Where it is; `None`: nothing is taken.
    pub listen: Option<SocketAddr>,
    /// Whether it speaks TLS, with the certificates of the media listener.
    pub speaks_tls: bool,
    /// What a push has to know of channels that have no token of their own; `None`: nothing.
    pub token: Option<String>,
    /// What a push to a channel has to know.
    pub tokens: BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: tls::Options::default(),
            access: access::Options::default(),
            admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081))),
            ingest: IngestOptions::default(),
            connections_max: 16 * 1024,
            connections_peer_max: None,
            url_bytes_max: 4096,
            head_bytes_max: 64 * 1024,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            reuses_port: false,
            reads_cmcd: true,
            sends_timing: false,
        }
    }
}
