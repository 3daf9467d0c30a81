//! Listening sockets that a service manager opened before this process began (`sd_listen_fds(3)`): connections wait in them while the
//! server is restarted, and none is refused.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// What was passed, in the order of the manager's configuration.
#[derive(Debug, Default)]
pub struct Inherited {
    /// The first: for the media listener.
    pub media: Option<TcpListener>,
    /// The second: for the admin listener.
    pub admin: Option<TcpListener>,
    /// The third: for TLS, where that has a listener of its own.
    pub tls: Option<TcpListener>,
}

impl Inherited {
    /// Takes them; later calls find none.
    pub fn take() -> io::Result<Inherited> {
        let mut passed = ListenFd::from_env();
        let mut next = |place| if place < passed.len() { passed.take_tcp_listener(place) } else { Ok(None) };
        Ok(Inherited { media: next(0)?, admin: next(1)?, tls: next(2)? })
    }
}
