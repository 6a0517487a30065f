//! Parsers: whatever parses can be written, and what was written parses the same.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::input::Input;
use crate::crypto::{ClientHello, TokenKey, TokenLifetimes, initial_keys};
use crate::packet::{
    Burst, ConnectionId, FourTuple, MIN_DATAGRAM_SIZE, Rng, Side, SocketId, VERSION_1, VERSION_2, epoch,
};
use crate::proto::endpoint::{AddressValidation, Class, Incoming, classify, stateless_reset};
use crate::wire::frame::{EncodeFrame, Frames};
use crate::wire::header::{self, LongHeader, LongType};
use crate::wire::transport_parameters::TransportParameters;

/// For how long tokens are good.
pub(super) const LIFETIMES: TokenLifetimes =
    TokenLifetimes { retry: Duration::from_secs(15), new_token: Duration::from_secs(3600) };

/// A decrypted payload.
pub fn frames(input: &[u8]) {
    let mut frames = Frames::new(Bytes::copy_from_slice(input));
    let mut count = 0;
    while let Ok(Some(frame)) = frames.next() {
        count += 1;
        assert!(count <= input.len(), "frames without bytes");
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        assert_eq!(encoded.len(), frame.size(), "{frame:?}");
        let mut again = Frames::new(encoded.into());
        assert_eq!(again.next().unwrap().as_ref(), Some(&frame));
        assert_eq!(again.next().unwrap(), None);
    }
}

/// The headers of a datagram; the first byte is the length of our connection IDs.
pub fn packets(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    let cid_len = usize::from(first % 21);
    let _ = classify(rest, cid_len, &[VERSION_1, VERSION_2]);
    let _ = header::parse(rest, cid_len);
    while let Ok(packet) = header::parse_greased(rest, cid_len) {
        assert!(packet.len > 0 && packet.len <= rest.len() && packet.pn_offset <= packet.len);
        let _ = packet.header.versions(rest).count();
        rest = &rest[packet.len..];
    }
}

/// Transport parameters; the first byte says whose.
pub fn transport_parameters(input: &[u8]) {
    let Some((first, rest)) = input.split_first() else { return };
    let side = if first & 1 == 0 { Side::Client } else { Side::Server };
    let Ok(params) = TransportParameters::decode(side, rest) else { return };
    let mut encoded = Vec::new();
    params.encode(side, &mut Rng::from_u64(u64::from(*first)), &mut encoded);
    assert_eq!(TransportParameters::decode(side, &encoded).as_ref(), Ok(&params));
}

/// A TLS message that may be a ClientHello, byte by byte.
pub fn client_hello(input: &[u8]) {
    let whole = ClientHello::parse(input);
    let step = (input.len() / 16).max(1);
    for end in (0..input.len()).step_by(step) {
        match ClientHello::parse(&input[..end]) {
            Ok(None) => {}
            early => assert_eq!(early, whole, "more bytes do not change what is known"),
        }
    }
    if let Ok(Some(hello)) = whole {
        let _ = format!("{hello:?}");
        let _ = hello.transport_parameters().map(|params| TransportParameters::decode(Side::Client, params));
    }
}

/// Datagrams that reach a server out of nowhere: raw ones, and Initials that open.
pub fn endpoint(input: &[u8]) {
    let mut input = Input(input);
    let path = FourTuple { socket: SocketId(0), local_ip: None, remote: ([10, 0, 0, 1], 4433).into() };
    let key = TokenKey::new(&[3; 32], Duration::from_secs(3600));
    let validation = AddressValidation { key: &key, lifetimes: LIFETIMES, log: None };
    let mut rng = Rng::from_u64(1);
    let mut known: Option<Incoming> = None;
    for _ in 0..16 {
        if input.is_empty() {
            break;
        }
        let (kind, len) = (input.byte(), input.short());
        let bytes = input.take(len.into());
        let datagram = if kind & 1 == 0 { bytes.to_vec() } else { initial(kind, bytes) };
        if let Class::Short { dcid } = classify(&datagram, 8, &[VERSION_1, VERSION_2]) {
            let reset =
                stateless_reset(&dcid, datagram.len(), &crate::crypto::ResetKey::new(&[1; 32]), &mut rng);
            assert!(reset.is_none_or(|reset| reset.len() < datagram.len()));
        }
        if let Some(incoming) = &mut known {
            incoming.absorb(Burst::single(epoch(), path, None, datagram));
            let _ = incoming.client_hello();
        } else {
            known = Incoming::open(epoch(), SystemTime::UNIX_EPOCH, path, None, &datagram, validation).ok();
        }
    }
}

/// A sealed Initial of a client with this payload.
fn initial(kind: u8, payload: &[u8]) -> Vec<u8> {
    let version = if kind & 2 == 0 { VERSION_1 } else { VERSION_2 };
    let dcid = ConnectionId::try_from(&[7; 8][..]).unwrap_or_default();
    let keys = initial_keys(version, &dcid, Side::Client);
    let mut packet = Vec::new();
    let pn = u64::from(kind >> 4);
    let header = LongHeader { ty: LongType::Initial, version, dcid, scid: dcid, token: &[] };
    let layout = header.encode(&mut packet, pn, 1);
    packet.extend_from_slice(payload);
    packet.resize(packet.len().clamp(MIN_DATAGRAM_SIZE - 16, 16_000), 0);
    packet.extend_from_slice(&[0; 16]);
    layout.fill_length(&mut packet);
    keys.local.packet.seal(pn, &mut packet, layout.payload());
    keys.local.header.protect(&mut packet, layout.pn);
    packet
}
