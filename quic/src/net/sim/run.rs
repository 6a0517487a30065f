//! The loop: peers send, time jumps to what happens next, peers receive.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Datagram, Network};

/// So many rounds without time passing are an endless loop.
const MAX_ROUNDS_AT_ONCE: u32 = 10_000;

/// A host of the network, or several behind one value.
pub trait Peer {
    /// Whether datagrams to this address are its own.
    fn has_address(&self, address: SocketAddr) -> bool;

    /// A datagram arrived.
    fn receive(&mut self, now: Instant, datagram: Datagram);

    /// Its own time has come: [`Peer::deadline`] has passed.
    fn timeout(&mut self, now: Instant);

    /// Does what it wants at this time, sends what it has to send, and says when it wants to be asked again.
    fn drive(&mut self, network: &mut Network) -> Option<Instant>;
}

/// How a run ended.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum End {
    /// The condition came true, this long after the beginning.
    Done(Duration),
    /// It did not within the time given.
    TooLate,
    /// Nothing was on its way any more, and nobody waited for anything.
    Silence(Duration),
    /// Time stood still while the peers kept each other busy.
    Livelock(Duration),
}

impl<P: Peer + ?Sized> Peer for Box<P> {
    fn has_address(&self, address: SocketAddr) -> bool {
        (**self).has_address(address)
    }

    fn receive(&mut self, now: Instant, datagram: Datagram) {
        (**self).receive(now, datagram);
    }

    fn timeout(&mut self, now: Instant) {
        (**self).timeout(now);
    }

    fn drive(&mut self, network: &mut Network) -> Option<Instant> {
        (**self).drive(network)
    }
}

/// Runs the peers until `done`, but no longer than `limit` from now.
pub fn run<P: Peer>(
    network: &mut Network,
    peers: &mut [P],
    limit: Duration,
    mut done: impl FnMut(&[P]) -> bool,
) -> End {
    let last = network.now() + limit;
    let mut rounds_at_once = 0;
    loop {
        let before = network.now();
        let deadlines: Vec<_> = peers.iter_mut().map(|peer| peer.drive(network)).collect();
        if done(peers) {
            return End::Done(network.elapsed());
        }
        let Some(next) = deadlines.iter().flatten().copied().min().or(network.next()) else {
            return End::Silence(network.elapsed());
        };
        let mut until = next.clamp(before, last);
        let mut arrived = false;
        while let Some(datagram) = network.advance(until) {
            // The others that arrive at the same time come along; for those that come later the peers may have news.
            (until, arrived) = (network.now(), true);
            if let Some(receiver) = peers.iter_mut().find(|peer| peer.has_address(datagram.to)) {
                receiver.receive(until, datagram);
            }
        }
        let now = network.now();
        if now >= last && !arrived && next > last {
            return End::TooLate;
        }
        for (peer, deadline) in peers.iter_mut().zip(deadlines) {
            if deadline.is_some_and(|at| at <= now) {
                peer.timeout(now);
            }
        }
        rounds_at_once = if now > before { 0 } else { rounds_at_once + 1 };
        if rounds_at_once > MAX_ROUNDS_AT_ONCE {
            return End::Livelock(network.elapsed());
        }
    }
}
