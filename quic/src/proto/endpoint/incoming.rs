//! A client that wants a connection: its first Initial, opened.

use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::config::TokenLog;
use crate::crypto::{
    ClientHello, Keys, TokenError, TokenKey, TokenLifetimes, TokenScope, ValidToken, initial_keys,
};
use crate::packet::{
    Burst, ConnectionId, Ecn, FourTuple, MIN_DATAGRAM_SIZE, PacketNumber, Side, TransportError,
    TransportErrorCode as Code,
};
use crate::proto::connection::CryptoRecv;
use crate::wire::frame::{Frame, Frames};
use crate::wire::header::{self, PartialPacket, ProtectedHeader};
use crate::wire::packet_number;

/// Bytes of TLS data that are looked at for the ClientHello.
const MAX_HELLO: usize = 16 << 10;

/// Datagrams that are kept until somebody decides; a ClientHello of the largest size fits.
const MAX_WAITING: usize = 32;

/// Bytes of datagrams, and of the buffers that they keep alive, up to which another is kept.
const MAX_WAITING_BYTES: usize = 128 << 10;

/// Destination IDs of first Initials have at least 8 bytes (RFC 9000 §7.2).
const MIN_DCID_LEN: usize = 8;

/// Why a datagram does not begin a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// Not a genuine Initial: no answer.
    Drop,
    /// Its Retry token is invalid: the answer to send (RFC 9000 §8.1.2).
    InvalidToken(Vec<u8>),
}

/// How the tokens of clients are checked (RFC 9000 §8.1).
#[derive(Debug, Copy, Clone)]
pub struct AddressValidation<'a> {
    /// Opens them.
    pub key: &'a TokenKey,
    /// For how long they are good.
    pub lifetimes: TokenLifetimes,
    /// Where those of NEW_TOKEN frames are entered as used; without it none of them counts.
    pub log: Option<&'a dyn TokenLog>,
}

/// What the client's token says of its address.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum Validated {
    No,
    /// With the token of an earlier connection.
    Before,
    /// By following a Retry: the destination ID of the Initial before it.
    Retry(ConnectionId),
}

impl AddressValidation<'_> {
    /// Fails with a token for which the attempt is to be ended.
    fn check(&self, token: &[u8], scope: &TokenScope, dcid: &ConnectionId) -> Result<Validated, TokenError> {
        if token.is_empty() {
            return Ok(Validated::No);
        }
        match self.key.open(token, scope, dcid, self.lifetimes) {
            Ok(ValidToken::Retry { original_dcid }) => Ok(Validated::Retry(original_dcid)),
            Ok(ValidToken::NewToken { id }) => {
                let new = self.log.is_some_and(|log| log.enter(id, scope.now, self.lifetimes.new_token));
                Ok(if new { Validated::Before } else { Validated::No })
            }
            Err(error) if error.is_fatal() => Err(error),
            Err(_) => Ok(Validated::No),
        }
    }
}

/// A first Initial that opened, and the datagrams that followed it before anybody decided.
#[derive(Debug)]
pub struct Incoming {
    path: FourTuple,
    version: u32,
    /// The client's destination ID in this Initial: what its keys come from.
    dcid: ConnectionId,
    scid: ConnectionId,
    validated: Validated,
    keys: Keys,
    first: FirstPacket,
    hello: CryptoRecv,
    rest: Vec<Burst>,
    /// Datagrams in `rest`.
    waiting: usize,
}

/// The opened Initial, and what was coalesced with it.
#[derive(Debug)]
pub struct FirstPacket {
    pub received: Instant,
    pub ecn: Option<Ecn>,
    pub pn: PacketNumber,
    pub dcid: ConnectionId,
    /// The first byte, without protection.
    first_byte: u8,
    pub payload: Bytes,
    pub coalesced: BytesMut,
    /// Length of the whole datagram, bytes.
    pub datagram_len: usize,
}

impl FirstPacket {
    /// The check that is due once a packet is genuine (RFC 9000 §17.2).
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION.
    pub fn check_reserved_bits(&self) -> Result<(), TransportError> {
        if self.first_byte & header::LONG_RESERVED == 0 {
            return Ok(());
        }
        Err(TransportError::new(Code::PROTOCOL_VIOLATION, "reserved bits of the header are set"))
    }
}

impl Incoming {
    /// Opens the first Initial of a datagram that [`classify`](super::classify()) says may begin a connection.
    ///
    /// `now` is for the age of tokens.
    ///
    /// # Errors
    /// [`Rejected`], if it does not.
    pub fn open(
        received: Instant,
        now: SystemTime,
        path: FourTuple,
        ecn: Option<Ecn>,
        datagram: &[u8],
        tokens: AddressValidation<'_>,
    ) -> Result<Self, Rejected> {
        // The length of our own IDs does not matter: the header is a long one.
        let partial = header::parse_greased(datagram, 0).map_err(|_| Rejected::Drop)?;
        let ProtectedHeader::Initial { version, dcid, scid, token } = &partial.header else {
            return Err(Rejected::Drop);
        };
        let (version, dcid, scid) = (*version, *dcid, *scid);
        if datagram.len() < MIN_DATAGRAM_SIZE {
            return Err(Rejected::Drop);
        }
        let keys = initial_keys(version, &dcid, Side::Server);
        let token = datagram.get(token.clone()).unwrap_or_default();
        let mut bytes = BytesMut::from(datagram);
        let mut packet = bytes.split_to(partial.len.min(datagram.len()));
        let (first_byte, pn, payload) = open_packet(&keys, &partial, &mut packet).ok_or(Rejected::Drop)?;
        let mut hello = CryptoRecv::default();
        // A first Initial carries TLS data (RFC 9000 §17.2.2); the last words of somebody we refused do not.
        if !read_hello(&mut hello, &payload) {
            return Err(Rejected::Drop);
        }
        let scope = TokenScope { now, version, client: path.remote };
        let Ok(validated) = tokens.check(token, &scope, &dcid) else {
            let answer = super::answers::close(&keys, version, scid, dcid, Code::INVALID_TOKEN);
            return Err(Rejected::InvalidToken(answer));
        };
        if !matches!(validated, Validated::Retry(_)) && dcid.len() < MIN_DCID_LEN {
            return Err(Rejected::Drop);
        }
        let datagram_len = datagram.len();
        let first = FirstPacket {
            received,
            ecn,
            pn,
            dcid,
            first_byte,
            payload,
            coalesced: BytesMut::new(),
            datagram_len,
        };
        let mut incoming =
            Self { path, version, dcid, scid, validated, keys, first, hello, rest: Vec::new(), waiting: 0 };
        incoming.look_into(&bytes);
        incoming.first.coalesced = bytes;
        Ok(incoming)
    }

    /// Further datagrams to the same original destination ID. False if too many wait already: then they are dropped.
    pub fn absorb(&mut self, burst: Burst) -> bool {
        let datagrams = burst.datagrams();
        if self.waiting + datagrams > MAX_WAITING || self.waiting_bytes() >= MAX_WAITING_BYTES {
            return false;
        }
        self.waiting += datagrams;
        let segment_size = burst.segment_size.max(1);
        for datagram in burst.buffer.as_ref().chunks(segment_size) {
            // The connection drops Initials in smaller ones (RFC 9000 §14.1).
            if datagram.len() >= MIN_DATAGRAM_SIZE && burst.path.remote == self.path.remote {
                self.look_into(datagram);
            }
        }
        self.rest.push(burst);
        true
    }

    fn waiting_bytes(&self) -> usize {
        self.rest.iter().map(|burst| burst.buffer.capacity()).sum()
    }

    /// What the client has sent so far and is kept, bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.first.datagram_len + self.hello.held() + self.waiting_bytes()
    }

    /// Looks for the ClientHello in the Initials of a datagram that the connection will accept.
    fn look_into(&mut self, mut rest: &[u8]) {
        while let Ok(partial) = header::parse_greased(rest, 0) {
            let Some((packet, after)) = rest.split_at_checked(partial.len) else { return };
            rest = after;
            match &partial.header {
                ProtectedHeader::Initial { version, dcid, scid, .. }
                    if (*version, *dcid, *scid) == (self.version, self.dcid, self.scid) =>
                {
                    let opened = open_packet(&self.keys, &partial, &mut BytesMut::from(packet));
                    if let Some((_, _, payload)) = opened {
                        read_hello(&mut self.hello, &payload);
                    }
                }
                _ => {}
            }
        }
    }

    /// What the client asks for, once the whole ClientHello is there.
    #[must_use]
    pub fn client_hello(&self) -> Option<ClientHello> {
        ClientHello::parse(self.hello.peek()).ok().flatten()
    }

    /// Our socket and the client's address.
    #[must_use]
    pub fn path(&self) -> FourTuple {
        self.path
    }

    /// The QUIC version of the Initial.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The destination ID of the Initial.
    #[must_use]
    pub fn dcid(&self) -> ConnectionId {
        self.dcid
    }

    /// The client's own ID.
    #[must_use]
    pub fn scid(&self) -> ConnectionId {
        self.scid
    }

    /// The destination ID of the very first Initial, before any Retry.
    #[must_use]
    pub fn original_dcid(&self) -> ConnectionId {
        match self.validated {
            Validated::Retry(original) => original,
            Validated::No | Validated::Before => self.dcid,
        }
    }

    /// The source ID of the Retry that the client followed.
    #[must_use]
    pub fn retry_scid(&self) -> Option<ConnectionId> {
        matches!(self.validated, Validated::Retry(_)).then_some(self.dcid)
    }

    /// Whether the client is known to receive at its address.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.validated != Validated::No
    }

    /// Whether the client may be asked to come again: it takes one Retry, and has not had it (RFC 9000 §17.2.5.2).
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.retry_scid().is_none()
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The opened packet and the datagrams that came after it.
    pub(in crate::proto) fn into_parts(self) -> (FirstPacket, Vec<Burst>) {
        (self.first, self.rest)
    }
}

/// Opens an Initial of the client: its first byte without protection, its number and its payload.
fn open_packet(
    keys: &Keys,
    partial: &PartialPacket,
    packet: &mut BytesMut,
) -> Option<(u8, PacketNumber, Bytes)> {
    let (first, truncated, pn_len) = keys.remote.header.unprotect(packet, partial.pn_offset)?;
    let pn = packet_number::decode(truncated, pn_len, 0);
    let header_len = partial.pn_offset + pn_len;
    let (header, payload) = packet.split_at_mut_checked(header_len)?;
    let len = keys.remote.packet.open(pn, header, payload)?;
    let bytes = packet.split().freeze();
    Some((first, pn, bytes.slice(header_len..header_len + len)))
}

/// Collects the CRYPTO data of a packet; what is wrong with it the connection will find. False if there is none.
fn read_hello(hello: &mut CryptoRecv, payload: &Bytes) -> bool {
    let mut found = false;
    let mut frames = Frames::new(payload.clone());
    while let Ok(Some(frame)) = frames.next() {
        if let Frame::Crypto(crypto) = frame {
            found = true;
            if hello.insert(crypto.offset, &crypto.data, MAX_HELLO).is_err() {
                break;
            }
        }
    }
    found
}
