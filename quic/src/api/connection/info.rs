//! What a connection can tell, and what can be changed about it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::oneshot;

use super::Connection;
use crate::api::wait::wait;
use crate::crypto::tls::{ExportError, HandshakeData};
use crate::driver::shared::connection::Export;
use crate::error::{ConnectionError, KeyUpdateError};
use crate::packet::{Dir, Side, Version};
pub use crate::proto::ConnectionStats;

impl Connection {
    /// Which end this is.
    #[must_use]
    pub fn side(&self) -> Side {
        self.shared.side
    }

    /// Tells connections of this process apart; never used again for another.
    #[must_use]
    pub fn stable_id(&self) -> u64 {
        self.shared.stable_id
    }

    /// The version of QUIC in use. During the handshake it may still change (RFC 9368 §2.3).
    #[must_use]
    pub fn version(&self) -> Version {
        self.shared.snapshot().version
    }

    /// The smoothed round-trip time.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.shared.snapshot().rtt
    }

    /// After how long without a packet the connection is given up; `None` if never.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.shared.snapshot().idle_timeout
    }

    /// Counters, and the state of the path.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.shared.snapshot().stats
    }

    /// What the handshake has agreed on.
    #[must_use]
    pub fn handshake_data(&self) -> Option<HandshakeData> {
        self.shared.progress(|progress| progress.handshake_data.clone())
    }

    /// The certificates that the peer has shown, its own first; `None` if it showed none.
    #[must_use]
    pub fn peer_identity(&self) -> Option<Arc<Vec<CertificateDer<'static>>>> {
        self.shared.progress(|progress| progress.peer_identity.clone())
    }

    /// Whether early data was taken; `None` if there was none, or that is not known yet. See
    /// [`ZeroRttAccepted`](crate::ZeroRttAccepted).
    #[must_use]
    pub fn early_data_accepted(&self) -> Option<bool> {
        self.shared.progress(|progress| progress.early_data)
    }

    /// Whether the handshake is complete on this end; see [`Connection::handshake_completed`].
    #[must_use]
    pub fn is_handshake_complete(&self) -> bool {
        self.shared.progress(|progress| progress.connected)
    }

    /// Waits until the handshake is complete on this end. It is, unless the connection came from
    /// [`Connecting::into_0rtt`](crate::Connecting::into_0rtt). A server knows from then on that nothing of what the client
    /// sent is a replay.
    ///
    /// # Errors
    /// If the connection ends before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn handshake_completed(&self) -> Result<(), ConnectionError> {
        let shared = &self.shared;
        wait(
            |ticket, cx| shared.poll_progress(ticket, cx, |progress| progress.connected.then_some(())),
            |ticket| shared.cancel_progress(ticket),
        )
        .await
    }

    /// Waits until the peer is known to have completed the handshake as well (RFC 9001 §4.1.2).
    ///
    /// # Errors
    /// If the connection ends before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn handshake_confirmed(&self) -> Result<(), ConnectionError> {
        let shared = &self.shared;
        wait(
            |ticket, cx| shared.poll_progress(ticket, cx, |progress| progress.confirmed.then_some(())),
            |ticket| shared.cancel_progress(ticket),
        )
        .await
    }

    /// `len` bytes of key material that both ends can compute and nobody else (RFC 8446 §7.5). The task of the connection
    /// computes them.
    ///
    /// # Errors
    /// If the connection is over, or the length is impossible.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn export_keying_material(
        &self,
        len: usize,
        label: &[u8],
        context: &[u8],
    ) -> Result<Vec<u8>, ExportError> {
        let (answer, answered) = oneshot::channel();
        let export = Export { len, label: label.to_vec(), context: context.to_vec(), answer };
        self.shared.command(|commands| commands.exports.push(export));
        // Whoever closes sets the mark and then drops the requests: one of the two is seen.
        if self.close_reason().is_some() {
            return Err(ExportError);
        }
        answered.await.unwrap_or(Err(ExportError))
    }

    /// Updates the keys of the connection now (RFC 9001 §6): what is sent from here on is protected with new ones, and
    /// the peer follows.
    ///
    /// There is no need to call it: keys are updated before they are worn. Resolves when the update has begun, which the
    /// peer learns of at once; [`ConnectionStats::key_updates`] counts it.
    ///
    /// # Errors
    /// [`KeyUpdateError::NotConfirmed`] before [`Connection::handshake_confirmed`];
    /// [`KeyUpdateError::NotAcknowledged`] and [`KeyUpdateError::TooSoon`] while the last update is not settled, whoever
    /// began it; [`KeyUpdateError::Closed`].
    ///
    /// # Cancel safety
    /// Once polled, the update takes place or not, whether or not anybody waits to hear of it.
    pub async fn update_keys(&self) -> Result<(), KeyUpdateError> {
        let (answer, answered) = oneshot::channel();
        self.shared.command(|commands| commands.key_updates.push(answer));
        // Whoever closes sets the mark and then drops the requests: one of the two is seen.
        if self.close_reason().is_some() {
            return Err(KeyUpdateError::Closed);
        }
        answered.await.unwrap_or(Err(KeyUpdateError::Closed))
    }

    /// Gives the peer new connection IDs and asks it to retire all that it has (RFC 9000 §5.1.2).
    ///
    /// It is of use where the IDs mean something that has changed, as in a new configuration of load balancers
    /// ([`QuicLbConnectionIds`](crate::config::QuicLbConnectionIds)). The old IDs go on working until the peer has retired
    /// them; while it has not done so after the last call, and before the handshake is complete, this waits.
    pub fn rotate_connection_ids(&self) {
        self.shared.command(|commands| commands.rotate_ids = true);
    }

    /// Whether the peer supports [`SendStream::reset_at`](crate::SendStream::reset_at). Known as soon as streams can be
    /// opened; before that it is false.
    #[must_use]
    pub fn supports_reset_at(&self) -> bool {
        self.shared.resets_at()
    }

    /// How many bidirectional streams the peer may have open at once, from now on.
    pub fn set_max_concurrent_bidi_streams(&self, streams: u64) {
        self.shared.command(|commands| commands.max_concurrent[Dir::Bi.index()] = Some(streams));
    }

    /// How many unidirectional streams the peer may have open at once, from now on.
    pub fn set_max_concurrent_uni_streams(&self, streams: u64) {
        self.shared.command(|commands| commands.max_concurrent[Dir::Uni.index()] = Some(streams));
    }

    /// How many bytes of all streams together the peer may send before the application reads them, from now on.
    pub fn set_receive_window(&self, bytes: u64) {
        self.shared.command(|commands| commands.receive_window = Some(bytes));
    }
}
