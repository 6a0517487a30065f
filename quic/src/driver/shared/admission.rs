//! How many clients are let in before they have shown who they are, and what they may cost.
//!
//! A client counts from its first Initial on until the handshake is complete, or comes to nothing. Anybody can send from a
//! forged address, so clients whose address is validated and others are counted apart: whoever fills the room of the others
//! keeps nobody out who answers a Retry.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::EndpointConfig;
use crate::driver::lock;
use crate::driver::sync::Mutex;

/// What a client costs beside the bytes that it sent: records and the state of TLS, roughly.
const BASE: usize = 4096;

/// Who has sent no more than this and keeps to it is not ended when memory is short, bytes: an ordinary client.
const MODEST: usize = 8192;

/// Who shares a limit: an IPv4 address, or an IPv6 network of 64 bits, as one customer has it.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Which limit keeps a client out.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Full {
    /// Handshakes of all clients.
    Handshakes,
    /// Handshakes of one address or network.
    Network,
    /// Memory of clients that have not completed the handshake.
    Memory,
}

/// Bytes of clients that are not validated, and of those that are.
#[derive(Debug, Default)]
struct Sums([AtomicUsize; 2]);

impl Sums {
    fn of(&self, validated: bool) -> &AtomicUsize {
        let [strangers, known] = &self.0;
        if validated { known } else { strangers }
    }

    fn all(&self) -> usize {
        self.0.iter().map(|sum| sum.load(Ordering::Relaxed)).sum()
    }

    /// Whether clients of this kind may have so much more. Strangers have half of `max` at most; those that are validated
    /// have the other half in any case, and what strangers leave of the first.
    fn have_room(&self, validated: bool, more: usize, max: usize) -> bool {
        let theirs = self.of(validated).load(Ordering::Relaxed).saturating_add(more);
        let fits = self.all().saturating_add(more) <= max;
        if validated { fits || theirs <= max - max / 2 } else { fits && theirs <= max / 2 }
    }
}

/// The account of an endpoint.
#[derive(Debug)]
pub struct Admission {
    max_handshakes: usize,
    max_per_network: usize,
    /// For what clients make us keep; and as much for datagrams that wait to be looked at.
    max_memory: usize,
    handshakes: AtomicUsize,
    kept: Sums,
    queued: Sums,
    /// How many there are, not validated and validated. The keys are the clients' choice.
    networks: Mutex<HashMap<Network, [usize; 2]>>,
}

impl Admission {
    /// Nobody is there.
    pub fn new(config: &EndpointConfig) -> Self {
        Self {
            max_handshakes: config.max_handshakes,
            max_per_network: config.max_handshakes_per_network,
            max_memory: config.unauthenticated_memory / 2,
            handshakes: AtomicUsize::new(0),
            kept: Sums::default(),
            queued: Sums::default(),
            networks: Mutex::default(),
        }
    }

    /// Handshakes under way.
    pub fn handshakes(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// What clients cost that have not completed the handshake, bytes.
    pub fn memory(&self) -> usize {
        self.kept.all() + self.queued.all()
    }

    /// Counts a handshake that begins with so many bytes.
    ///
    /// # Errors
    /// The first limit that does not allow it.
    pub fn begin(self: &Arc<Self>, ip: IpAddr, validated: bool, bytes: usize) -> Result<Handshaking, Full> {
        if self.handshakes() >= self.max_handshakes {
            return Err(Full::Handshakes);
        }
        let bytes = BASE + bytes;
        if !self.kept.have_room(validated, bytes, self.max_memory) {
            return Err(Full::Memory);
        }
        let network = Network::from(ip);
        {
            let mut networks = lock(&self.networks);
            let counts = networks.entry(network).or_default();
            let count = &mut counts[usize::from(validated)];
            // An entry that is made here has room: the limit is 1 at least.
            if *count >= self.max_per_network {
                return Err(Full::Network);
            }
            *count += 1;
        }
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        self.kept.of(validated).fetch_add(bytes, Ordering::Relaxed);
        Ok(Handshaking { admission: self.clone(), network, validated, bytes })
    }

    /// Counts bytes of datagrams that wait for a decision, or for a task. False, and nothing is counted, if there is no room.
    pub fn queue(&self, validated: bool, bytes: usize) -> bool {
        let room = self.queued.have_room(validated, bytes, self.max_memory);
        if room {
            self.queued.of(validated).fetch_add(bytes, Ordering::Relaxed);
        }
        room
    }

    /// They wait no longer.
    pub fn unqueue(&self, validated: bool, bytes: usize) {
        self.queued.of(validated).fetch_sub(bytes, Ordering::Relaxed);
    }

    fn end(&self, handshake: &Handshaking) {
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        self.kept.of(handshake.validated).fetch_sub(handshake.bytes, Ordering::Relaxed);
        let mut networks = lock(&self.networks);
        if let Some(counts) = networks.get_mut(&handshake.network) {
            let count = &mut counts[usize::from(handshake.validated)];
            *count = count.saturating_sub(1);
            if *counts == [0; 2] {
                networks.remove(&handshake.network);
            }
        }
    }
}

/// A handshake of a server, from the first Initial on; counted as under way until this is dropped.
#[derive(Debug)]
pub struct Handshaking {
    admission: Arc<Admission>,
    network: Network,
    validated: bool,
    bytes: usize,
}

impl Handshaking {
    /// So many bytes of the client are kept now. False if the clients of its kind make us keep too much, and this is not
    /// one of the modest ones.
    pub fn set_bytes(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.bytes, BASE + bytes);
        let Admission { kept: sums, max_memory, .. } = &*self.admission;
        let kept = sums.of(self.validated);
        if self.bytes <= before {
            kept.fetch_sub(before - self.bytes, Ordering::Relaxed);
        } else {
            kept.fetch_add(self.bytes - before, Ordering::Relaxed);
        }
        bytes <= MODEST || sums.have_room(self.validated, 0, *max_memory)
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        self.admission.end(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(handshakes: usize, per_network: usize, memory: usize) -> Arc<Admission> {
        let config = EndpointConfig::builder()
            .max_handshakes(handshakes)
            .max_handshakes_per_network(per_network)
            .unauthenticated_memory(memory)
            .build()
            .unwrap();
        Arc::new(Admission::new(&config))
    }

    fn ip(ip: &str) -> IpAddr {
        ip.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_network_share_a_limit_and_validated_clients_have_their_own() {
        let admission = admission(100, 2, 1 << 20);
        let begin = |from: &str, validated| admission.begin(ip(from), validated, 1200);
        let a = begin("2001:db8::1", false).unwrap();
        let _b = begin("2001:db8::2:1", false).unwrap();
        assert_eq!(begin("2001:db8::3", false).unwrap_err(), Full::Network);
        let _c = begin("2001:db8:0:1::3", false).unwrap();
        let _validated = [(); 2].map(|()| begin("2001:db8::4", true).unwrap());
        assert_eq!(begin("2001:db8::5", true).unwrap_err(), Full::Network);
        drop(a);
        let _d = begin("2001:db8::6", false).unwrap();
        let _e = [(); 2].map(|()| begin("192.0.2.1", false).unwrap());
        assert_eq!(begin("::ffff:192.0.2.1", false).unwrap_err(), Full::Network);
        let _f = begin("192.0.2.2", false).unwrap();
        assert_eq!(admission.handshakes(), 8);
    }

    #[test]
    fn what_ends_leaves_no_trace() {
        let admission = admission(3, 3, 1 << 20);
        let all: Vec<_> =
            (1..=3).map(|n| admission.begin([192, 0, 2, n].into(), n == 1, 1200).unwrap()).collect();
        assert_eq!(admission.begin([192, 0, 2, 9].into(), true, 0).unwrap_err(), Full::Handshakes);
        assert_eq!(admission.memory(), 3 * (BASE + 1200));
        drop(all);
        assert_eq!((admission.handshakes(), admission.memory()), (0, 0));
        assert!(lock(&admission.networks).is_empty());
    }

    #[test]
    fn half_of_the_memory_is_for_those_who_are_validated() {
        let admission = admission(100, 100, 128 << 10);
        let stranger = |bytes| admission.begin(ip("192.0.2.1"), false, bytes);
        let mut a = stranger(28 << 10).unwrap();
        assert_eq!(stranger(0).unwrap_err(), Full::Memory);
        let mut b = admission.begin(ip("192.0.2.1"), true, 20 << 10).unwrap();
        let c = admission.begin(ip("192.0.2.1"), true, 4 << 10).unwrap();
        assert!(!a.set_bytes((28 << 10) + 1) && b.set_bytes(MODEST) && a.set_bytes(28 << 10));
        drop((a, b, c));
        assert!(admission.queue(false, 32 << 10) && !admission.queue(false, 1));
        assert!(
            admission.queue(true, 32 << 10) && !admission.queue(true, 1),
            "what waits has room of its own"
        );
        for validated in [false, true] {
            admission.unqueue(validated, 32 << 10);
        }
        assert_eq!(admission.memory(), 0);
    }

    #[test]
    fn strangers_that_grow_do_not_take_what_is_for_those_who_are_validated() {
        let admission = admission(100, 100, 128 << 10);
        let mut strangers = [(); 3].map(|()| admission.begin(ip("192.0.2.1"), false, 0).unwrap());
        assert!(strangers[0].set_bytes(15 << 10));
        assert!(!strangers[1].set_bytes(15 << 10), "half of the memory is theirs");
        // Modest ones are not ended, and cost those who are validated nothing either.
        let mut crowd: Vec<_> =
            std::iter::from_fn(|| admission.begin(ip("192.0.2.1"), false, 0).ok()).collect();
        strangers[1].set_bytes(0);
        crowd.extend(std::iter::from_fn(|| admission.begin(ip("192.0.2.1"), false, 0).ok()));
        assert!(crowd.iter_mut().all(|stranger| stranger.set_bytes(MODEST)));
        assert!(admission.kept.of(false).load(Ordering::Relaxed) > 32 << 10);
        let mut known = admission.begin(ip("192.0.2.1"), true, 0).unwrap();
        assert!(known.set_bytes(28 << 10) && !known.set_bytes(29 << 10));
        // Those who are validated have all of it while nobody else is there.
        drop((strangers, crowd));
        assert!(known.set_bytes(60 << 10) && !known.set_bytes(61 << 10));
        assert_eq!(admission.begin(ip("192.0.2.1"), false, 0).unwrap_err(), Full::Memory);
    }
}
