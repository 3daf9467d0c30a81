//! Telling a service manager how far the server is (`sd_notify(3)`): a datagram to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// It takes requests.
pub const READY: &str = "READY=1";
/// It drains.
pub const STOPPING: &str = "STOPPING=1";

/// Says `state` to who wants to know; nobody is no error.
pub fn notify(state: &str) {
    if let Err(error) = send(state) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}

fn send(state: &str) -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.as_bytes() {
        // A name that is no file (unix(7), "abstract").
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}
