//! Translators of addresses in front of hosts: others see a host at another address, which changes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The first port that a translator gives out.
const FIRST_PORT: u16 = 40_000;

#[derive(Debug, Default)]
pub(super) struct Nats {
    planned: Vec<Planned>,
    /// Where others see each of these hosts.
    outside: BTreeMap<IpAddr, IpAddr>,
    /// From a socket to where others see it, and back.
    outward: BTreeMap<SocketAddr, SocketAddr>,
    inward: BTreeMap<SocketAddr, SocketAddr>,
    /// How many ports were given out.
    given: u16,
}

/// A socket whose address outside is known beforehand.
#[derive(Debug)]
struct Planned {
    inside: SocketAddr,
    /// From when on the host has which address outside, ascending.
    outside: Vec<(Duration, SocketAddr)>,
}

impl Planned {
    fn outside(&self, now: Duration) -> SocketAddr {
        let mut begun = self.outside.iter().rev().filter(|(from, _)| *from <= now);
        begun.next().map_or(self.inside, |(_, address)| *address)
    }

    fn has_had(&self, address: SocketAddr) -> bool {
        self.outside.iter().any(|(_, outside)| *outside == address)
    }
}

impl Nats {
    #[cfg(test)]
    pub(super) fn plan(&mut self, inside: SocketAddr, outside: Vec<(Duration, SocketAddr)>) {
        self.planned.retain(|planned| planned.inside != inside);
        self.planned.push(Planned { inside, outside });
    }

    /// Others see a host at this address from now on, each of its sockets at a port that it has not had before.
    #[cfg(feature = "sim")]
    pub(super) fn place(&mut self, inside: IpAddr, outside: IpAddr) {
        self.outside.insert(inside, outside);
        self.outward.retain(|socket, _| socket.ip() != inside);
        self.inward.retain(|_, socket| socket.ip() != inside);
    }

    /// Whose address this is; `None` if it is that of a translator, and leads nowhere now.
    pub(super) fn inward(&self, now: Duration, to: SocketAddr) -> Option<SocketAddr> {
        if let Some(planned) = self.planned.iter().find(|planned| planned.has_had(to)) {
            return (planned.outside(now) == to).then_some(planned.inside);
        }
        if self.outside.values().any(|outside| *outside == to.ip()) {
            return self.inward.get(&to).copied();
        }
        Some(to)
    }

    /// Where others see this socket.
    pub(super) fn outward(&mut self, now: Duration, from: SocketAddr) -> SocketAddr {
        if let Some(planned) = self.planned.iter().find(|planned| planned.inside == from) {
            return planned.outside(now);
        }
        let Some(ip) = self.outside.get(&from.ip()) else { return from };
        *self.outward.entry(from).or_insert_with(|| {
            let seen = SocketAddr::new(*ip, FIRST_PORT.wrapping_add(self.given).max(1024));
            self.given = self.given.wrapping_add(1);
            self.inward.insert(seen, from);
            seen
        })
    }
}
