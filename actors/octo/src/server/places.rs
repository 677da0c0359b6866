//! Who may connect: so many at once in all, so many from one address, and nobody who is not there any more.
//!
//! A place is held as long as the socket lives, also after it has become a WebSocket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::ServerSettings;

/// Connections at once from one address, when nobody chose.
pub const PER_ADDRESS: usize = 1024;

/// How many may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// From one address of another machine.
    pub per_address: usize,
    /// From one address of this machine.
    pub per_local_address: usize,
    /// Patience with who does not read what was written, or does not say that it has arrived; then the kernel drops the connection.
    pub unread_for: Duration,
}

impl Limits {
    /// As configured, in a process that has room for `room` connections.
    #[must_use]
    pub fn new(settings: &ServerSettings, room: usize) -> Self {
        let any = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        let chosen = settings.max_connections_per_address.map(any);
        Self {
            total: settings.max_connections.min(room),
            per_address: chosen.unwrap_or(PER_ADDRESS),
            per_local_address: chosen.unwrap_or(usize::MAX),
            unread_for: settings.silent_for(),
        }
    }

    fn of(&self, network: IpAddr) -> usize {
        if network.is_loopback() { self.per_local_address } else { self.per_address }
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All are taken.
    #[error(
        "octo has {0} connections, and that is all it takes: try again in a moment, or raise server.max_connections and the limit of open files"
    )]
    Server(usize),
    /// This address has its share.
    #[error("there are {0} connections from your address already: close some, or raise server.max_connections_per_address")]
    Address(usize),
    /// There are no descriptors left.
    #[error("octo has no room for another connection now: try again in a moment, or raise the limit of open files")]
    Descriptors,
}

/// The places of one listener. Clones share them.
#[derive(Clone)]
pub struct Places {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    /// Only those that have some.
    by_network: HashMap<IpAddr, usize>,
}

/// One connection's place; given back on drop.
pub struct Place {
    network: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    /// All free.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    /// A place for a connection from `address`.
    ///
    /// # Errors
    /// [`Full`].
    pub fn take(&self, address: IpAddr) -> Result<Place, Full> {
        let network = network(address);
        let mut taken = lock(&self.taken);
        let limit = self.limits.of(network);
        if taken.by_network.get(&network).is_some_and(|n| *n >= limit) {
            return Err(Full::Address(limit));
        }
        if taken.total >= self.limits.total {
            return Err(Full::Server(self.limits.total));
        }
        taken.total += 1;
        *taken.by_network.entry(network).or_default() += 1;
        Ok(Place { network, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total -= 1;
        if let Some(count) = taken.by_network.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.by_network.remove(&self.network);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one address: whoever has one of IPv6 has a whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let s = v6.segments();
            IpAddr::from([s[0], s[1], s[2], s[3], 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_takes_more_than_their_share_and_all_together_not_more_than_there_are() {
        let places = Places::new(Limits { total: 5, per_address: 2, per_local_address: 4, unread_for: Duration::MAX });
        let _first = places.take(at("10.0.0.1")).unwrap();
        let second = places.take(at("::ffff:10.0.0.1")).unwrap();
        assert_eq!(places.take(at("10.0.0.1")).err(), Some(Full::Address(2)), "the same address, however it is written");
        let _v6 = places.take(at("2001:db8::1")).unwrap();
        let _same = places.take(at("2001:db8::ffff:1")).unwrap();
        assert_eq!(places.take(at("2001:db8::2")).err(), Some(Full::Address(2)), "one /64 is one address");
        let _local = places.take(at("127.0.0.1")).unwrap();
        assert_eq!(places.take(at("10.0.0.3")).err(), Some(Full::Server(5)));
        drop(second);
        let _third = places.take(at("10.0.0.1")).unwrap();
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let places = Places::new(Limits { total: 1000, per_address: 1, per_local_address: 1, unread_for: Duration::MAX });
        let held: Vec<_> = (0..200u8).map(|n| places.take(IpAddr::from([10, 0, 0, n])).unwrap()).collect();
        assert_eq!(lock(&places.taken).by_network.len(), 200);
        drop(held);
        let taken = lock(&places.taken);
        assert_eq!((taken.total, taken.by_network.len()), (0, 0));
    }
}
