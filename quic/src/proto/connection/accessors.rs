//! What a connection can tell.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::key_ring::OneRtt;
use super::{Connection, ConnectionStats};
use crate::crypto::tls::{ExportError, HandshakeData};
use crate::packet::{FourTuple, Side};
use crate::proto::transmit::FrameCounts;

impl Connection {
    /// Which end this is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// The QUIC version in use.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The socket and both addresses in use.
    #[must_use]
    pub fn path(&self) -> FourTuple {
        self.paths.active.tuple
    }

    /// True once the TLS handshake is complete on this end.
    #[must_use]
    pub fn is_handshake_complete(&self) -> bool {
        self.handshake.is_complete()
    }

    /// True once the connection is over, whoever ended it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.lifecycle.is_open()
    }

    /// ALPN, server name and cipher suite, once known.
    #[must_use]
    pub fn handshake_data(&self) -> Option<HandshakeData> {
        self.handshake.data()
    }

    /// The peer's certificates, its own first; `None` if it showed none.
    #[must_use]
    pub fn peer_identity(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.handshake.session().peer_identity()
    }

    /// Key material that both ends can derive and nobody else (RFC 8446 §7.5).
    ///
    /// # Errors
    /// Before the handshake is complete, and for impossible lengths.
    pub fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportError> {
        self.handshake.session().export_keying_material(out, label, context)
    }

    /// The smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.paths.active.cc.rtt.smoothed()
    }

    /// The congestion window, bytes.
    #[must_use]
    pub fn congestion_window(&self) -> u64 {
        self.paths.active.cc.window()
    }

    /// The idle timeout in force; `None` if there is none (RFC 9000 §10.1).
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle.timeout()
    }

    /// How many frames of each type were sent.
    #[must_use]
    pub fn frames_sent(&self) -> &FrameCounts {
        &self.frames_sent
    }

    /// Counters, and the state of the path.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        let recovery = &self.recovery.stats;
        let datagrams = self.datagrams.counts();
        ConnectionStats {
            packets_sent: recovery.packets_sent,
            packets_lost: recovery.packets_lost,
            bytes_lost: recovery.bytes_lost,
            spurious_losses: recovery.spurious_losses,
            spurious_congestions: recovery.spurious_congestions,
            persistent_congestions: recovery.persistent_congestions,
            probe_timeouts: recovery.probe_timeouts,
            congestion_events: recovery.congestion_events,
            congestion_window: self.paths.active.cc.window(),
            bytes_in_flight: self.paths.active.cc.in_flight(),
            pto_count: self.recovery.pto_count(),
            key_updates: self.keys.one_rtt.as_ref().map_or(0, OneRtt::updates),
            ecn_capable: self.paths.active.cc.ecn.is_capable(),
            rtt: self.rtt(),
            mtu: self.paths.active.mtu.current().into(),
            datagram_frames_sent: datagrams.sent,
            datagram_frames_received: datagrams.received,
            datagrams_unsent: datagrams.unsent,
            datagrams_expired: datagrams.expired,
            datagrams_unread: datagrams.unread,
            ..self.stats
        }
    }
}
