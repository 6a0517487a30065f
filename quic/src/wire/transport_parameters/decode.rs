//! From the TLS extension to the values, with every rule that a single side's parameters can break.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use super::*;
use crate::packet::{MIN_DATAGRAM_SIZE, RESET_TOKEN_LEN, Side};
use crate::wire::varint;

const MAX_STREAM_COUNT: u64 = 1 << 60;

/// 34 years: longer than any connection, and short enough to be added to any clock.
const LONGEST_IDLE_TIMEOUT_MS: u64 = 1 << 40;

impl TransportParameters {
    /// Reads the parameters that `from` sent.
    ///
    /// # Errors
    /// TRANSPORT_PARAMETER_ERROR for values that are malformed, out of bounds, given twice, not for this side to
    /// send, or missing (RFC 9000 §7.3, §7.4, §18.2).
    pub fn decode(from: Side, mut input: &[u8]) -> Result<Self, TransportError> {
        let mut parameters = Self::default();
        let mut seen = Seen::default();
        while !input.is_empty() {
            let (id, value) = next(&mut input).ok_or_else(|| {
                let reason = "transport parameters are cut off";
                TransportError::new(TransportErrorCode::TRANSPORT_PARAMETER_ERROR, reason)
            })?;
            if !seen.insert(id) {
                return Err(invalid(id, "is given twice"));
            }
            parameters.set(from, id, value).map_err(|why| invalid(id, why))?;
        }
        parameters.check(from)?;
        Ok(parameters)
    }

    fn set(&mut self, from: Side, id: u64, value: &[u8]) -> Result<(), &'static str> {
        match id {
            ORIGINAL_DESTINATION_CONNECTION_ID
            | STATELESS_RESET_TOKEN
            | PREFERRED_ADDRESS
            | RETRY_SOURCE_CONNECTION_ID
                if from.is_client() =>
            {
                return Err("is for servers to send");
            }
            ORIGINAL_DESTINATION_CONNECTION_ID => {
                self.original_destination_connection_id = Some(connection_id(value)?);
            }
            MAX_IDLE_TIMEOUT => self.max_idle_timeout = idle_timeout(integer(value)?),
            STATELESS_RESET_TOKEN => self.stateless_reset_token = Some(reset_token(value)?),
            MAX_UDP_PAYLOAD_SIZE => {
                self.max_udp_payload_size = at_least(integer(value)?, MIN_DATAGRAM_SIZE as u64)?;
            }
            INITIAL_MAX_DATA => self.initial_max_data = integer(value)?,
            INITIAL_MAX_STREAM_DATA_BIDI_LOCAL => self.initial_max_stream_data_bidi_local = integer(value)?,
            INITIAL_MAX_STREAM_DATA_BIDI_REMOTE => self.initial_max_stream_data_bidi_remote = integer(value)?,
            INITIAL_MAX_STREAM_DATA_UNI => self.initial_max_stream_data_uni = integer(value)?,
            INITIAL_MAX_STREAMS_BIDI => {
                self.initial_max_streams_bidi = at_most(integer(value)?, MAX_STREAM_COUNT)?;
            }
            INITIAL_MAX_STREAMS_UNI => {
                self.initial_max_streams_uni = at_most(integer(value)?, MAX_STREAM_COUNT)?;
            }
            ACK_DELAY_EXPONENT => {
                #[expect(clippy::cast_possible_truncation, reason = "at most 20")]
                let exponent = at_most(integer(value)?, 20)? as u8;
                self.ack_delay_exponent = exponent;
            }
            MAX_ACK_DELAY => {
                self.max_ack_delay = Duration::from_millis(at_most(integer(value)?, (1 << 14) - 1)?);
            }
            DISABLE_ACTIVE_MIGRATION => self.disable_active_migration = flag(value)?,
            PREFERRED_ADDRESS => self.preferred_address = Some(preferred_address(value)?),
            ACTIVE_CONNECTION_ID_LIMIT => self.active_connection_id_limit = at_least(integer(value)?, 2)?,
            INITIAL_SOURCE_CONNECTION_ID => self.initial_source_connection_id = Some(connection_id(value)?),
            RETRY_SOURCE_CONNECTION_ID => self.retry_source_connection_id = Some(connection_id(value)?),
            VERSION_INFORMATION => self.version_information = Some(version_information(from, value)?),
            MAX_DATAGRAM_FRAME_SIZE => self.max_datagram_frame_size = integer(value)?,
            GREASE_QUIC_BIT => self.grease_quic_bit = flag(value)?,
            RESET_STREAM_AT => self.reset_stream_at = flag(value)?,
            MIN_ACK_DELAY => self.min_ack_delay = Some(Duration::from_micros(integer(value)?)),
            // Unknown ones are ignored.
            _ => {}
        }
        Ok(())
    }

    /// The rules about several parameters.
    fn check(&self, from: Side) -> Result<(), TransportError> {
        let Some(source) = self.initial_source_connection_id else {
            return Err(invalid(INITIAL_SOURCE_CONNECTION_ID, "is missing"));
        };
        if from.is_server() && self.original_destination_connection_id.is_none() {
            return Err(invalid(ORIGINAL_DESTINATION_CONNECTION_ID, "is missing"));
        }
        if self.min_ack_delay.is_some_and(|min| min > self.max_ack_delay) {
            return Err(invalid(MIN_ACK_DELAY, "is above max_ack_delay"));
        }
        if self.preferred_address.is_some() && source.is_empty() {
            return Err(invalid(PREFERRED_ADDRESS, "from a server without connection IDs"));
        }
        Ok(())
    }
}

/// Takes an ID and a value; `None` if they are cut off.
fn next<'a>(input: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let id = varint::decode(input)?;
    let len = usize::try_from(varint::decode(input)?).ok()?;
    let (value, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some((id, value))
}

/// The IDs so far: all that we know, and as many others as have room. More than that we need not notice.
#[derive(Default)]
struct Seen {
    /// IDs below 64, and bits above for those that are known and larger.
    small: u128,
    others: [u64; 32],
    count: usize,
}

impl Seen {
    /// False if it was there already.
    fn insert(&mut self, id: u64) -> bool {
        let bit = match id {
            0..64 => 1 << id,
            GREASE_QUIC_BIT => 1 << 64,
            MIN_ACK_DELAY => 1 << 65,
            _ => return self.insert_other(id),
        };
        let new = self.small & bit == 0;
        self.small |= bit;
        new
    }

    fn insert_other(&mut self, id: u64) -> bool {
        if self.others.iter().take(self.count).any(|other| *other == id) {
            return false;
        }
        if let Some(place) = self.others.get_mut(self.count) {
            *place = id;
            self.count += 1;
        }
        true
    }
}

fn integer(mut value: &[u8]) -> Result<u64, &'static str> {
    varint::decode(&mut value).filter(|_| value.is_empty()).ok_or("is not an integer")
}

fn at_least(value: u64, min: u64) -> Result<u64, &'static str> {
    if value >= min { Ok(value) } else { Err("is too small") }
}

fn at_most(value: u64, max: u64) -> Result<u64, &'static str> {
    if value <= max { Ok(value) } else { Err("is too large") }
}

fn idle_timeout(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms.min(LONGEST_IDLE_TIMEOUT_MS)))
}

fn flag(value: &[u8]) -> Result<bool, &'static str> {
    if value.is_empty() { Ok(true) } else { Err("has a value") }
}

/// RFC 9368 §4. A peer may list as many versions as a ClientHello has room for.
fn version_information(from: Side, value: &[u8]) -> Result<VersionInformation, &'static str> {
    let mut versions = value.chunks(4).map(|chunk| chunk.try_into().map(u32::from_be_bytes));
    let Some(Ok(chosen)) = versions.next() else { return Err("is cut off") };
    let available: Vec<u32> = versions.collect::<Result<_, _>>().map_err(|_| "is cut off")?;
    if chosen == 0 || available.contains(&0) {
        return Err("names version 0");
    }
    if from.is_client() && !available.contains(&chosen) {
        return Err("does not list the chosen version");
    }
    Ok(VersionInformation { chosen, available })
}

fn connection_id(value: &[u8]) -> Result<ConnectionId, &'static str> {
    ConnectionId::try_from(value).map_err(|_| "has more than 20 bytes")
}

fn reset_token(value: &[u8]) -> Result<ResetToken, &'static str> {
    value.try_into().map(ResetToken).map_err(|_| "does not have 16 bytes")
}

fn preferred_address(value: &[u8]) -> Result<PreferredAddress, &'static str> {
    const MALFORMED: &str = "is malformed";
    let (ipv4, rest) = value.split_first_chunk::<4>().ok_or(MALFORMED)?;
    let (port4, rest) = rest.split_first_chunk::<2>().ok_or(MALFORMED)?;
    let (ipv6, rest) = rest.split_first_chunk::<16>().ok_or(MALFORMED)?;
    let (port6, rest) = rest.split_first_chunk::<2>().ok_or(MALFORMED)?;
    let (len, rest) = rest.split_first().ok_or(MALFORMED)?;
    let (id, token) = rest.split_at_checked(usize::from(*len)).ok_or(MALFORMED)?;
    if token.len() != RESET_TOKEN_LEN {
        return Err(MALFORMED);
    }
    let connection_id = ConnectionId::try_from(id).map_err(|_| MALFORMED)?;
    if connection_id.is_empty() {
        return Err("has an empty connection ID");
    }
    let ipv4 = SocketAddrV4::new(Ipv4Addr::from(*ipv4), u16::from_be_bytes(*port4));
    let ipv6 = SocketAddrV6::new(Ipv6Addr::from(*ipv6), u16::from_be_bytes(*port6), 0, 0);
    Ok(PreferredAddress {
        ipv4: (!ipv4.ip().is_unspecified() && ipv4.port() != 0).then_some(ipv4),
        ipv6: (!ipv6.ip().is_unspecified() && ipv6.port() != 0).then_some(ipv6),
        connection_id,
        stateless_reset_token: reset_token(token)?,
    })
}
