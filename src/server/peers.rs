//! How many connections one client may have open: an address of IPv4, 64 bits of IPv6, which is what one customer is given.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The clients that have connections open; no more of them than there may be connections.
#[derive(Debug)]
pub struct Peers {
    max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client, until it is dropped.
#[derive(Debug)]
pub struct Guest {
    peers: Arc<Peers>,
    of: IpAddr,
}

impl Peers {
    /// `max` connections a client.
    pub fn new(max: usize) -> Peers {
        Peers { max, open: Mutex::default() }
    }

    /// Counts one more connection from `address`, if there may be one more.
    pub fn enter(self: &Arc<Peers>, address: IpAddr) -> Option<Guest> {
        let of = match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(of).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Guest { peers: Arc::clone(self), of })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut open = self.peers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_connections_and_leaves_nothing_behind() {
        let peers = Arc::new(Peers::new(2));
        let enter = |address: &str| peers.enter(address.parse().unwrap());
        let mut first = vec![enter("192.0.2.7").unwrap(), enter("::ffff:192.0.2.7").unwrap()];
        assert!(enter("192.0.2.7").is_none());
        let others = [enter("192.0.2.8").unwrap(), enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert!(enter("2001:db8::3").is_none(), "of the same 64 bits");
        assert!(enter("2001:db8:0:1::3").is_some());
        first.pop();
        let again = enter("192.0.2.7").unwrap();
        drop((first, others, again));
        assert!(peers.open.lock().unwrap().is_empty());
    }
}
