//! Transport parameters (RFC 9000 §18, RFC 9221 §3, RFC 9287 §3, RFC 9368 §3, and of drafts).

mod decode;
mod encode;

use std::net::{SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use crate::packet::{ConnectionId, ResetToken, TransportError, TransportErrorCode};
use crate::wire::draft;

/// What an end of a connection tells the other one about itself during the handshake.
///
/// The default is what holds for a peer that leaves everything out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportParameters {
    /// The first destination connection ID that the client chose. From servers.
    pub original_destination_connection_id: Option<ConnectionId>,
    /// After how long without packets the sender forgets the connection; `None` for never.
    pub max_idle_timeout: Option<Duration>,
    /// Recognises a stateless reset of packets to the connection ID of the handshake. From servers.
    pub stateless_reset_token: Option<ResetToken>,
    /// The longest datagram that the sender takes, bytes of UDP payload; at least 1200.
    pub max_udp_payload_size: u64,
    /// How many bytes the sender takes on all streams together.
    pub initial_max_data: u64,
    /// How many bytes the sender takes on a bidirectional stream that it opens itself.
    pub initial_max_stream_data_bidi_local: u64,
    /// How many bytes the sender takes on a bidirectional stream that the receiver opens.
    pub initial_max_stream_data_bidi_remote: u64,
    /// How many bytes the sender takes on a unidirectional stream.
    pub initial_max_stream_data_uni: u64,
    /// How many bidirectional streams the receiver may open; at most 2^60.
    pub initial_max_streams_bidi: u64,
    /// How many unidirectional streams the receiver may open; at most 2^60.
    pub initial_max_streams_uni: u64,
    /// The delay in ACK frames of the sender counts 2^exponent microseconds; at most 20.
    pub ack_delay_exponent: u8,
    /// How long the sender may hold acknowledgments back; below 2^14 milliseconds.
    pub max_ack_delay: Duration,
    /// The receiver keeps the address with which it began.
    pub disable_active_migration: bool,
    /// Where the server would rather be reached. From servers.
    pub preferred_address: Option<PreferredAddress>,
    /// How many connection IDs of the receiver the sender stores; at least 2.
    pub active_connection_id_limit: u64,
    /// The source connection ID of the sender's first Initial.
    pub initial_source_connection_id: Option<ConnectionId>,
    /// The source connection ID of the Retry. From servers that sent one.
    pub retry_source_connection_id: Option<ConnectionId>,
    /// The longest DATAGRAM frame that the sender takes, bytes with type and length; 0 for none.
    pub max_datagram_frame_size: u64,
    /// The sender takes packets whose QUIC bit is 0.
    pub grease_quic_bit: bool,
    /// The sender takes RESET_STREAM_AT frames.
    pub reset_stream_at: bool,
    /// Which versions the sender speaks.
    pub version_information: Option<VersionInformation>,
    /// The sender takes ACK_FREQUENCY and IMMEDIATE_ACK frames, and can hold acknowledgments back for times from this one
    /// on; at most `max_ack_delay`.
    pub min_ack_delay: Option<Duration>,
}

/// Which version a connection uses, and which it could (RFC 9368 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInformation {
    /// From a client, the version of the Initials that carry this; from a server, the version of the connection.
    pub chosen: u32,
    /// From a client, the versions that its first flight can be read as, best first, `chosen` among them. From a server,
    /// those that all of its kind speak; perhaps none.
    pub available: Vec<u32>,
}

/// Where a server would rather be reached (RFC 9000 §9.6); an address that cannot be used is `None`.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct PreferredAddress {
    /// Over IPv4.
    pub ipv4: Option<SocketAddrV4>,
    /// Over IPv6.
    pub ipv6: Option<SocketAddrV6>,
    /// The ID with sequence number 1, to be used there; 1 to 20 bytes.
    pub connection_id: ConnectionId,
    /// Belongs to `connection_id`.
    pub stateless_reset_token: ResetToken,
}

impl Default for TransportParameters {
    fn default() -> Self {
        Self {
            original_destination_connection_id: None,
            max_idle_timeout: None,
            stateless_reset_token: None,
            max_udp_payload_size: 65_527,
            initial_max_data: 0,
            initial_max_stream_data_bidi_local: 0,
            initial_max_stream_data_bidi_remote: 0,
            initial_max_stream_data_uni: 0,
            initial_max_streams_bidi: 0,
            initial_max_streams_uni: 0,
            ack_delay_exponent: 3,
            max_ack_delay: Duration::from_millis(25),
            disable_active_migration: false,
            preferred_address: None,
            active_connection_id_limit: 2,
            initial_source_connection_id: None,
            retry_source_connection_id: None,
            max_datagram_frame_size: 0,
            grease_quic_bit: false,
            reset_stream_at: false,
            version_information: None,
            min_ack_delay: None,
        }
    }
}

impl TransportParameters {
    /// True if early data that keeps to the limits of `earlier` keeps to these: none of them is lower (RFC 9000 §7.4.1,
    /// RFC 9221 §3), and no frame that was taken is not taken any longer.
    pub fn extends(&self, earlier: &Self) -> bool {
        let limits = |params: &Self| {
            [
                params.active_connection_id_limit,
                params.initial_max_data,
                params.initial_max_stream_data_bidi_local,
                params.initial_max_stream_data_bidi_remote,
                params.initial_max_stream_data_uni,
                params.initial_max_streams_bidi,
                params.initial_max_streams_uni,
                params.max_datagram_frame_size,
                params.reset_stream_at.into(),
            ]
        };
        limits(self).iter().zip(limits(earlier)).all(|(now, earlier)| *now >= earlier)
    }

    /// Checks a client's parameters against the source connection ID of its first Initial (RFC 9000 §7.3).
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR if they differ.
    pub fn check_client_ids(&self, initial_source: &ConnectionId) -> Result<(), TransportError> {
        same(INITIAL_SOURCE_CONNECTION_ID, self.initial_source_connection_id, Some(initial_source))
    }

    /// Checks a server's parameters against the connection IDs of the handshake (RFC 9000 §7.3): the source of its
    /// first Initial, the destination of our first Initial, and the source of the Retry, if there was one.
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR if they differ.
    pub fn check_server_ids(
        &self,
        initial_source: &ConnectionId,
        original_destination: &ConnectionId,
        retry_source: Option<&ConnectionId>,
    ) -> Result<(), TransportError> {
        let original = self.original_destination_connection_id;
        same(INITIAL_SOURCE_CONNECTION_ID, self.initial_source_connection_id, Some(initial_source))?;
        same(ORIGINAL_DESTINATION_CONNECTION_ID, original, Some(original_destination))?;
        same(RETRY_SOURCE_CONNECTION_ID, self.retry_source_connection_id, retry_source)
    }
}

fn same(
    id: u64,
    received: Option<ConnectionId>,
    expected: Option<&ConnectionId>,
) -> Result<(), TransportError> {
    if received.as_ref() == expected { Ok(()) } else { Err(invalid(id, "does not match the handshake")) }
}

#[cold]
fn invalid(id: u64, why: &str) -> TransportError {
    let reason = format!("transport parameter {id:#04x} {why}");
    TransportError::new(TransportErrorCode::TRANSPORT_PARAMETER_ERROR, reason)
}

const ORIGINAL_DESTINATION_CONNECTION_ID: u64 = 0x00;
const MAX_IDLE_TIMEOUT: u64 = 0x01;
const STATELESS_RESET_TOKEN: u64 = 0x02;
const MAX_UDP_PAYLOAD_SIZE: u64 = 0x03;
const INITIAL_MAX_DATA: u64 = 0x04;
const INITIAL_MAX_STREAM_DATA_BIDI_LOCAL: u64 = 0x05;
const INITIAL_MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
const INITIAL_MAX_STREAM_DATA_UNI: u64 = 0x07;
const INITIAL_MAX_STREAMS_BIDI: u64 = 0x08;
const INITIAL_MAX_STREAMS_UNI: u64 = 0x09;
const ACK_DELAY_EXPONENT: u64 = 0x0a;
const MAX_ACK_DELAY: u64 = 0x0b;
const DISABLE_ACTIVE_MIGRATION: u64 = 0x0c;
const PREFERRED_ADDRESS: u64 = 0x0d;
const ACTIVE_CONNECTION_ID_LIMIT: u64 = 0x0e;
const INITIAL_SOURCE_CONNECTION_ID: u64 = 0x0f;
const RETRY_SOURCE_CONNECTION_ID: u64 = 0x10;
const VERSION_INFORMATION: u64 = 0x11;
const MAX_DATAGRAM_FRAME_SIZE: u64 = 0x20;
const GREASE_QUIC_BIT: u64 = 0x2ab2;
const RESET_STREAM_AT: u64 = draft::RESET_STREAM_AT_PARAMETER;
const MIN_ACK_DELAY: u64 = draft::MIN_ACK_DELAY;

#[cfg(test)]
mod tests;
