//! The largest datagram that a path carries (RFC 9000 §14, RFC 8899).
//!
//! Owned by the [`Path`](super::Path). Sizes are bytes of UDP payload.

use crate::config::TransportConfig;
use crate::packet::MIN_DATAGRAM_SIZE;

/// The least that a path must carry (RFC 9000 §14): BASE_PLPMTU.
const BASE: u16 = MIN_DATAGRAM_SIZE as u16;

/// How large datagrams may be on one path.
#[derive(Debug, Clone)]
pub struct MtuDiscovery {
    current: u16,
}

impl MtuDiscovery {
    /// For a path that nothing was sent on yet.
    #[must_use]
    pub fn new(config: &TransportConfig) -> Self {
        Self { current: config.initial_mtu.max(BASE) }
    }

    /// The size of the largest datagrams that may be sent.
    #[must_use]
    pub fn current(&self) -> u16 {
        self.current
    }

    /// The peer takes no larger datagrams than this.
    pub fn limit(&mut self, largest: u64) {
        let largest = u16::try_from(largest).unwrap_or(u16::MAX).max(BASE);
        self.current = self.current.min(largest);
    }
}
