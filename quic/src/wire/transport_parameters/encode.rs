//! From the values to the TLS extension.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use super::*;
use crate::packet::{Rng, Side};
use crate::wire::{VarInt, varint};

/// What [`TransportParameters::encode`] may write, and one place for a reserved parameter.
const ALL: [u64; 23] = [
    ORIGINAL_DESTINATION_CONNECTION_ID,
    MAX_IDLE_TIMEOUT,
    STATELESS_RESET_TOKEN,
    MAX_UDP_PAYLOAD_SIZE,
    INITIAL_MAX_DATA,
    INITIAL_MAX_STREAM_DATA_BIDI_LOCAL,
    INITIAL_MAX_STREAM_DATA_BIDI_REMOTE,
    INITIAL_MAX_STREAM_DATA_UNI,
    INITIAL_MAX_STREAMS_BIDI,
    INITIAL_MAX_STREAMS_UNI,
    ACK_DELAY_EXPONENT,
    MAX_ACK_DELAY,
    DISABLE_ACTIVE_MIGRATION,
    PREFERRED_ADDRESS,
    ACTIVE_CONNECTION_ID_LIMIT,
    INITIAL_SOURCE_CONNECTION_ID,
    RETRY_SOURCE_CONNECTION_ID,
    VERSION_INFORMATION,
    RESET_STREAM_AT,
    MAX_DATAGRAM_FRAME_SIZE,
    GREASE_QUIC_BIT,
    MIN_ACK_DELAY,
    RESERVED,
];

/// The first of the reserved IDs, 31 * n + 27 (RFC 9000 §18.1).
const RESERVED: u64 = 27;

impl TransportParameters {
    /// Appends the parameters that `side` sends, as far as they differ from the defaults, in random order and with a
    /// reserved one among them, so that no peer comes to rely on what is not promised.
    pub fn encode(&self, side: Side, rng: &mut Rng, out: &mut Vec<u8>) {
        let len = rng.below(17);
        self.encode_as(side, true, &[len], rng, out);
    }

    /// Appends them in random order or by their numbers, with reserved ones of these lengths, in one place.
    pub fn encode_as(&self, side: Side, shuffled: bool, reserved: &[u64], rng: &mut Rng, out: &mut Vec<u8>) {
        let mut order = ALL;
        for last in (1..order.len()).rev().filter(|_| shuffled) {
            #[expect(clippy::cast_possible_truncation, reason = "an index into a small array")]
            order.swap(last, rng.below(last as u64 + 1) as usize);
        }
        for id in order {
            if id == RESERVED {
                reserved.iter().for_each(|len| put_reserved(*len, rng, out));
            } else {
                self.put(side, id, out);
            }
        }
    }

    fn put(&self, side: Side, id: u64, out: &mut Vec<u8>) {
        let default = Self::default();
        let server = side.is_server();
        let mut integer = |value: u64, default: u64| {
            if value != default {
                put_integer(id, value, out);
            }
        };
        match id {
            MAX_IDLE_TIMEOUT => integer(self.max_idle_timeout.map_or(0, milliseconds), 0),
            MAX_UDP_PAYLOAD_SIZE => integer(self.max_udp_payload_size, default.max_udp_payload_size),
            INITIAL_MAX_DATA => integer(self.initial_max_data, 0),
            INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => integer(self.initial_max_stream_data_bidi_local, 0),
            INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => integer(self.initial_max_stream_data_bidi_remote, 0),
            INITIAL_MAX_STREAM_DATA_UNI => integer(self.initial_max_stream_data_uni, 0),
            INITIAL_MAX_STREAMS_BIDI => integer(self.initial_max_streams_bidi, 0),
            INITIAL_MAX_STREAMS_UNI => integer(self.initial_max_streams_uni, 0),
            ACK_DELAY_EXPONENT => integer(self.ack_delay_exponent.into(), default.ack_delay_exponent.into()),
            MAX_ACK_DELAY => integer(milliseconds(self.max_ack_delay), milliseconds(default.max_ack_delay)),
            ACTIVE_CONNECTION_ID_LIMIT => {
                integer(self.active_connection_id_limit, default.active_connection_id_limit);
            }
            MAX_DATAGRAM_FRAME_SIZE => integer(self.max_datagram_frame_size, 0),
            DISABLE_ACTIVE_MIGRATION if self.disable_active_migration => put_bytes(id, &[], out),
            GREASE_QUIC_BIT if self.grease_quic_bit => put_bytes(id, &[], out),
            RESET_STREAM_AT if self.reset_stream_at => put_bytes(id, &[], out),
            INITIAL_SOURCE_CONNECTION_ID => put_connection_id(id, self.initial_source_connection_id, out),
            ORIGINAL_DESTINATION_CONNECTION_ID if server => {
                put_connection_id(id, self.original_destination_connection_id, out);
            }
            RETRY_SOURCE_CONNECTION_ID if server => {
                put_connection_id(id, self.retry_source_connection_id, out);
            }
            STATELESS_RESET_TOKEN if server => {
                if let Some(token) = &self.stateless_reset_token {
                    put_bytes(id, &token.0, out);
                }
            }
            MIN_ACK_DELAY => {
                if let Some(delay) = self.min_ack_delay {
                    put_integer(id, u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), out);
                }
            }
            VERSION_INFORMATION => {
                if let Some(information) = &self.version_information {
                    let versions =
                        [information.chosen].into_iter().chain(information.available.iter().copied());
                    let bytes: Vec<u8> = versions.flat_map(u32::to_be_bytes).collect();
                    put_bytes(id, &bytes, out);
                }
            }
            PREFERRED_ADDRESS if server => {
                if let Some(address) = &self.preferred_address {
                    put_bytes(id, &preferred_address(address), out);
                }
            }
            _ => {}
        }
    }
}

/// Rounded up: a short time must not become 0, which means none.
fn milliseconds(time: Duration) -> u64 {
    let max = VarInt::MAX.into_inner();
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).map_or(max, |ms| ms.min(max))
}

fn put_integer(id: u64, value: u64, out: &mut Vec<u8>) {
    varint::encode(id, out);
    varint::encode(varint::size(value) as u64, out);
    varint::encode(value, out);
}

fn put_bytes(id: u64, value: &[u8], out: &mut Vec<u8>) {
    varint::encode(id, out);
    varint::encode(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn put_connection_id(id: u64, value: Option<ConnectionId>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        put_bytes(id, value.as_slice(), out);
    }
}

fn put_reserved(len: u64, rng: &mut Rng, out: &mut Vec<u8>) {
    let largest_n = (VarInt::MAX.into_inner() - RESERVED) / 31;
    let id = 31 * rng.below(largest_n + 1) + RESERVED;
    let value: [u8; 255] = rng.array();
    let len = usize::try_from(len).unwrap_or_default();
    put_bytes(id, value.get(..len).unwrap_or(&value), out);
}

fn preferred_address(address: &PreferredAddress) -> Vec<u8> {
    let ipv4 = address.ipv4.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let ipv6 = address.ipv6.unwrap_or(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
    let mut value = Vec::with_capacity(61);
    value.extend_from_slice(&ipv4.ip().octets());
    value.extend_from_slice(&ipv4.port().to_be_bytes());
    value.extend_from_slice(&ipv6.ip().octets());
    value.extend_from_slice(&ipv6.port().to_be_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "at most 20")]
    value.push(address.connection_id.len() as u8);
    value.extend_from_slice(address.connection_id.as_slice());
    value.extend_from_slice(&address.stateless_reset_token.0);
    value
}
