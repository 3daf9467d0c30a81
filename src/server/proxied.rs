//! Who a connection is from when something stands in front: the PROXY protocol, versions 1 and 2, at its begin; or `Forwarded` (RFC 7239)
//! and `X-Forwarded-For` in each request. Both are believed of trusted peers alone: anybody can write them.
//!
//! ```text
//!   version 1   PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n              at most 107 bytes
//!   version 2   signature:12  version and command:1  family:1  length:2  addresses and TLVs:length
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::server::network::Network;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The longest line of version 1, with its CR LF.
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of addresses and TLVs of version 2: certificates and names of a TLS client take hundreds.
const BLOCK_BYTES_MAX: usize = 4096;
/// Hops of a header that are looked at, from the nearest.
const HOPS_MAX: usize = 32;

/// Which header says who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, which most proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded`.
    Forwarded,
}

/// Reads the introduction that the PROXY protocol begins a connection with, and not a byte more. `None`: the peer speaks for itself.
pub async fn introduction(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if len > BLOCK_BYTES_MAX {
            return Err(wrong("a PROXY block that is too long"));
        }
        let mut block = vec![0; len];
        stream.read_exact(&mut block).await?;
        return version_2(head[0], head[1], &block).map_err(wrong);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(wrong("no PROXY protocol, where it is asked for"));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(wrong("a PROXY line that does not end"));
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line[..line.len() - 2]).map_err(wrong)
}

fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "a PROXY line that is no text")?;
    let fields: Vec<&str> = line.split(' ').collect();
    let (source, port) = match fields[..] {
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", "TCP4", source, _, port, _] => (source.parse::<Ipv4Addr>().map(IpAddr::V4), port),
        ["PROXY", "TCP6", source, _, port, _] => (source.parse::<Ipv6Addr>().map(IpAddr::V6), port),
        _ => return Err("a PROXY line of another form"),
    };
    match (source, port.parse()) {
        (Ok(source), Ok(port)) => Ok(Some(SocketAddr::new(source, port))),
        _ => Err("a PROXY line without an address"),
    }
}

fn version_2(version_and_command: u8, family: u8, block: &[u8]) -> Result<Option<SocketAddr>, &'static str> {
    match version_and_command {
        // LOCAL: a health check of the proxy's own.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err("a PROXY version or command that is not known"),
    }
    let port = |at: usize| block.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
    // Source address, destination address, source port, destination port; TCP or UDP is told by the lower half.
    let source = match family >> 4 {
        1 => block.first_chunk::<4>().map(|address| IpAddr::from(*address)).zip(port(8)),
        2 => block.first_chunk::<16>().map(|address| IpAddr::from(*address)).zip(port(32)),
        // Not said, or a Unix socket.
        _ => return Ok(None),
    };
    source.map(|(address, port)| Some(SocketAddr::new(address, port))).ok_or("a PROXY block without its address")
}

/// Who asks, when `peer` brought a request with these headers: the nearest hop that is not `trusted`.
pub fn client(peer: SocketAddr, headers: &HeaderMap, by: ForwardedBy, trusted: &[Network]) -> SocketAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer.ip()) {
        return peer;
    }
    let name = match by {
        ForwardedBy::XForwardedFor => X_FORWARDED_FOR,
        ForwardedBy::Forwarded => FORWARDED,
    };
    let mut nearest = peer;
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    // A quoted comma would be no separator; what stands in such a hop is no address, and ends the search.
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
    for hop in hops.take(HOPS_MAX) {
        // Any byte may stand in what the client wrote (RFC 9110 §5.5); that says nothing against the hops before it.
        let hop = std::str::from_utf8(hop).ok().and_then(|hop| match by {
            ForwardedBy::XForwardedFor => node(hop.trim()),
            ForwardedBy::Forwarded => hop.split(';').find_map(for_parameter).and_then(node),
        });
        // Unknown or hidden (RFC 7239 §6.2, §6.3): the last one who is known stands for all behind.
        let Some(hop) = hop else { return nearest };
        nearest = hop;
        if !is_trusted(hop.ip()) {
            return nearest;
        }
    }
    nearest
}

/// The value of `for=…` (RFC 7239 §4), without quotes.
fn for_parameter(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=')?;
    let value = value.trim();
    name.trim()
        .eq_ignore_ascii_case("for")
        .then(|| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address, perhaps in brackets, perhaps with a port.
fn node(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|address| SocketAddr::new(address, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rest = bytes;
        let said = runtime.block_on(introduction(&mut rest));
        (said, rest.to_vec())
    }

    fn block(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((block.len() as u16).to_be_bytes());
        bytes.extend(block);
        bytes
    }

    #[test]
    fn an_introduction_is_read_and_not_a_byte_more() {
        let v6 = {
            let mut addresses = Ipv6Addr::LOCALHOST.octets().to_vec();
            addresses.extend([0; 16]);
            addresses.extend([0x1f, 0x90, 0, 80]);
            // A TLV, which says nothing here.
            addresses.extend([0x04, 0, 1, 7]);
            addresses
        };
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(), Some("192.0.2.7:56324")),
            (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), Some("[2001:db8::7]:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff ee 1 2\r\n".to_vec(), None),
            (block(0x21, 0x11, &[192, 0, 2, 7, 1, 1, 1, 1, 0xdc, 4, 0, 80]), Some("192.0.2.7:56324")),
            (block(0x21, 0x21, &v6), Some("[::1]:8080")),
            (block(0x20, 0, &[]), None),
            (block(0x21, 0x31, &[0; 216]), None),
        ] {
            let (said, rest) = read(&[&bytes[..], b"GET / HTTP/1.1\r\n"].concat());
            assert_eq!(said.unwrap(), expected.map(|address| address.parse().unwrap()), "{bytes:?}");
            assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_introduction_is_an_error() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
            b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 192.0.2.8 70000 2\r\n".to_vec(),
            long,
            block(0x22, 0x11, &[0; 12]),
            block(0x11, 0x11, &[0; 12]),
            block(0x21, 0x11, &[0; 9]),
            block(0x21, 0x21, &[0; 12]),
            block(0x21, 0x11, &[0; BLOCK_BYTES_MAX + 1]),
            block(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ] {
            assert!(read(&bytes).0.is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(start in prop_oneof![Just(&b"PROXY "[..]), Just(&SIGNATURE[..])],
            bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&[start, &bytes].concat());
        }
    }

    fn asked(peer: &str, by: ForwardedBy, headers: &[(&'static str, &'static str)]) -> String {
        let trusted = ["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        client(peer.parse().unwrap(), &map, by, &trusted).to_string()
    }

    #[test]
    fn a_header_is_believed_of_trusted_peers_alone_and_from_the_nearest_hop_on() {
        let x = |peer, value| asked(peer, ForwardedBy::XForwardedFor, &[("x-forwarded-for", value)]);
        assert_eq!(x("203.0.113.9:5", "192.0.2.7"), "203.0.113.9:5", "anybody can say so");
        assert_eq!(x("10.0.0.1:5", "192.0.2.7"), "192.0.2.7:0");
        assert_eq!(x("10.0.0.1:5", "127.0.0.1, 192.0.2.7, 10.9.9.9"), "192.0.2.7:0", "what the client said itself");
        assert_eq!(x("10.0.0.1:5", "10.0.0.2,10.0.0.3"), "10.0.0.2:0");
        assert_eq!(x("10.0.0.1:5", "192.0.2.7, unknown"), "10.0.0.1:5");
        assert_eq!(x("10.0.0.1:5", "2001:db8::7"), "[2001:db8::7]:0");
        assert_eq!(asked("10.0.0.1:5", ForwardedBy::XForwardedFor, &[]), "10.0.0.1:5");
        assert_eq!(
            x("10.0.0.1:5", "\u{ff}, 192.0.2.7"),
            "192.0.2.7:0",
            "no byte of the client's hides the hop behind it"
        );
        // Several lines are one list (RFC 9110 §5.3).
        let lines = [("x-forwarded-for", "192.0.2.8"), ("x-forwarded-for", "10.0.0.7")];
        assert_eq!(asked("10.0.0.1:5", ForwardedBy::XForwardedFor, &lines), "192.0.2.8:0");
        let f =
            |value| asked("[::1]:5", ForwardedBy::Forwarded, &[("forwarded", value), ("x-forwarded-for", "1.1.1.1")]);
        assert_eq!(f("for=192.0.2.60;proto=http;by=203.0.113.43"), "192.0.2.60:0");
        assert_eq!(f("For=\"[2001:db8:cafe::17]:4711\""), "[2001:db8:cafe::17]:4711");
        assert_eq!(f("for=192.0.2.1, for=10.0.0.4"), "192.0.2.1:0");
        assert_eq!(f("for=_hidden, for=10.0.0.4"), "10.0.0.4:0");
        assert_eq!(f("proto=https"), "[::1]:5");
    }
}
