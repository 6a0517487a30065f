//! What the fates of packets, and the system, say about the size of datagrams (RFC 9000 §14).

use std::sync::Arc;
use std::time::Instant;

use super::Connection;
use crate::config::TransportConfig;
use crate::packet::{FourTuple, TransportError, TransportErrorCode as Code};
use crate::proto::path::{BASE, SizeNews};

impl Connection {
    /// Learns from the fates of packets what sizes the path carries.
    pub(in crate::proto) fn learn_sizes(&mut self, now: Instant) {
        let report = std::mem::take(&mut self.fates.sizes);
        match self.paths.active.mtu.on_report(now, &report) {
            SizeNews::None => return,
            SizeNews::ProbeLost => self.stats.mtu_probes_lost += 1,
            SizeNews::BlackHole => self.stats.mtu_black_holes += 1,
            SizeNews::Larger => {}
        }
        self.paths.active.cc.set_max_datagram_size(self.paths.active.mtu.current());
    }

    /// No probes for larger datagrams are sent from now on: the socket might send them in fragments, and then they
    /// would show nothing.
    pub fn forbid_mtu_probes(&mut self) {
        let mut config = TransportConfig::clone(&self.config);
        config.mtu_upper_bound = None;
        self.config = Arc::new(config);
        self.paths.iter_mut().for_each(|path| path.mtu.forbid_probes());
    }

    /// The system refused to send a datagram of `size` bytes on `path`, as if it were too large for the network
    /// interface.
    ///
    /// What it held is sent again in smaller ones, as if it were lost. An interface too small for QUIC ends the
    /// connection (RFC 9000 §14.2), but only while nothing authenticated has come from the peer: an ICMP message that
    /// anybody can forge may look the same.
    pub fn on_datagram_refused(&mut self, now: Instant, path: FourTuple, size: usize) {
        if path != self.paths.active.tuple || !self.lifecycle.is_open() {
            return;
        }
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        if size <= BASE {
            if self.stats.packets_received > 0 {
                return;
            }
            let reason = "the network interface does not carry datagrams of 1200 bytes";
            return self.fail(now, TransportError::new(Code::NO_VIABLE_PATH, reason));
        }
        if self.paths.active.mtu.on_refused(size) {
            self.stats.mtu_black_holes += 1;
            self.paths.active.cc.set_max_datagram_size(self.paths.active.mtu.current());
        }
    }
}
