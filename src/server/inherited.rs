//! Listening sockets that a service manager opened before this process began (`sd_listen_fds(3)`): connections wait in them while the
//! server is restarted, and none is refused.

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// What was passed.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For the media listener.
    pub media: Option<TcpListener>,
    /// For the admin listener.
    pub admin: Option<TcpListener>,
    /// For TLS, where that has a listener of its own.
    pub tls: Option<TcpListener>,
    /// For encoders.
    pub ingest: Option<TcpListener>,
}

/// Whose a socket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Listener {
    Media,
    Admin,
    Tls,
    Ingest,
}

impl Inherited {
    /// Takes them; later calls find none.
    pub fn take() -> io::Result<Inherited> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for (place, listener) in listeners(&names, passed.len()).into_iter().enumerate() {
            let socket = match listener {
                Some(Listener::Media) => &mut inherited.media,
                Some(Listener::Admin) => &mut inherited.admin,
                Some(Listener::Tls) => &mut inherited.tls,
                Some(Listener::Ingest) => &mut inherited.ingest,
                None => continue,
            };
            *socket = passed.take_tcp_listener(place)?;
        }
        Ok(inherited)
    }
}

/// Whose each of `count` sockets is: by its name (`FileDescriptorName=`, systemd.socket(5)); the others are the media listener's, the admin listener's
/// and that of TLS, in the order of the manager's configuration.
fn listeners(names: &str, count: usize) -> Vec<Option<Listener>> {
    let named = |name: &str| match name {
        "media" => Some(Listener::Media),
        "admin" => Some(Listener::Admin),
        "tls" => Some(Listener::Tls),
        "ingest" => Some(Listener::Ingest),
        _ => None,
    };
    let mut names: Vec<Option<Listener>> =
        names.split(':').map(named).chain(std::iter::repeat(None)).take(count).collect();
    for place in 1..names.len() {
        // A unit of two sockets gives both its name.
        if names[..place].contains(&names[place]) {
            names[place] = None;
        }
    }
    let in_order = [Listener::Media, Listener::Admin, Listener::Tls];
    let mut left = in_order.into_iter().filter(|listener| !names.contains(&Some(*listener)));
    names.iter().map(|named| named.or_else(|| left.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_told_apart_by_name_or_else_by_their_order() {
        use Listener::{Admin, Ingest, Media, Tls};
        let check = |names: &str, count: usize, expected: &[Option<Listener>]| {
            assert_eq!(listeners(names, count), expected, "{names:?}, {count}");
        };
        check("", 0, &[]);
        check("", 2, &[Some(Media), Some(Admin)]);
        check("headwater.socket:headwater.socket:headwater.socket", 3, &[Some(Media), Some(Admin), Some(Tls)]);
        // Which unit comes first is the manager's.
        check("ingest:headwater.socket:headwater.socket", 3, &[Some(Ingest), Some(Media), Some(Admin)]);
        check("headwater.socket:headwater.socket:ingest", 3, &[Some(Media), Some(Admin), Some(Ingest)]);
        check("media:media", 2, &[Some(Media), Some(Admin)]);
        check("admin:unknown", 2, &[Some(Admin), Some(Media)]);
        check("a:b:c:d", 4, &[Some(Media), Some(Admin), Some(Tls), None]);
    }
}
