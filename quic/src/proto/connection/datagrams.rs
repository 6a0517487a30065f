//! What the rest of the connection means for datagrams: how large they may be, and where they go.

use super::Connection;
use crate::crypto::PacketKey;
use crate::error::SendDatagramError;
use crate::packet::DatagramPolicy;
use crate::proto::datagrams::{Datagrams, OutgoingDatagram};
use crate::wire::frame::DatagramHeader;
use crate::wire::packet_number;

/// A packet number takes no more bytes.
const PN_LEN: usize = 4;

impl Connection {
    /// The datagrams that wait to be read or sent.
    pub fn datagrams(&mut self) -> &mut Datagrams {
        &mut self.datagrams
    }

    /// How large a datagram may be now, bytes; `None` if the peer takes none, or nothing is known of that yet.
    ///
    /// It grows and shrinks with what the path carries (RFC 9221 §5). What waits to be sent and has become too large is
    /// dropped.
    #[must_use]
    pub fn max_datagram_size(&self) -> Option<usize> {
        let by_peer = usize::try_from(DatagramHeader::largest_within(self.peer_datagram_frame_size())?)
            .unwrap_or(usize::MAX);
        let mtu = self.paths.active.mtu.current();
        let datagram = self.handshake.first_flight_size().map_or(mtu, |size| size.min(mtu));
        let dcid = self.paths.active.remote_cid.id.len();
        let header = if self.sends_early() {
            // Type, version, both IDs with their lengths, Length.
            1 + 4 + 1 + dcid + 1 + self.local_cids.initial().len() + 2
        } else {
            1 + dcid
        };
        // The last frame of a packet says no length.
        let by_path = usize::from(datagram).saturating_sub(header + PN_LEN + PacketKey::TAG_LEN + 1);
        Some(by_peer.min(by_path))
    }

    /// What the peer says of the datagrams that it takes; a client that sends early data goes by what it remembers
    /// (RFC 9221 §3).
    fn peer_datagram_frame_size(&self) -> u64 {
        if self.sends_early() {
            self.handshake.early.datagram_frame_size()
        } else {
            self.handshake.peer_datagram_frame_size()
        }
    }

    /// True if the next thing to send is a datagram that goes into a packet of so many bytes, as far as can be told.
    pub(in crate::proto) fn next_datagram_fits(&self, packet: usize) -> bool {
        let Some(len) = self.datagrams.next_len().filter(|_| !self.sends_early()) else { return false };
        let space = &self.spaces.data;
        let pn_len = packet_number::encode_len(space.sent.next(), space.largest_acked);
        1 + self.paths.active.remote_cid.id.len() + pn_len + 1 + len + PacketKey::TAG_LEN <= packet
    }

    /// Sends a datagram as soon as congestion control and pacing let it, behind those that wait already (RFC 9221 §5).
    ///
    /// # Errors
    /// If it cannot be sent at all, or `policy` would rather drop it than others; then nothing is told of its fate.
    pub fn send_datagram(
        &mut self,
        datagram: OutgoingDatagram,
        policy: DatagramPolicy,
    ) -> Result<(), SendDatagramError> {
        if self.config.datagram_send_buffer_size == 0 {
            return Err(SendDatagramError::Disabled);
        }
        let max = self.max_datagram_size().ok_or(SendDatagramError::UnsupportedByPeer)?;
        if datagram.data.len() > max {
            return Err(SendDatagramError::TooLarge { max });
        }
        self.datagrams.send(datagram, policy)
    }
}
