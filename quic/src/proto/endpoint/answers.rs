//! Answers that need no connection: Version Negotiation, Retry, refusal, stateless reset.

use std::time::SystemTime;

use super::Incoming;
use crate::config::ConnectionIdGenerator;
use crate::crypto::{Keys, PacketKey, ResetKey, TokenKey, TokenScope, retry_tag};
use crate::packet::{ConnectionId, RESET_TOKEN_LEN, Rng, TransportErrorCode as Code, reserved_version};
use crate::wire::frame::{CloseError, ConnectionClose, EncodeFrame as _};
use crate::wire::header::{self, LongHeader, LongType};

/// Datagrams up to this length are answered with a stateless reset one byte shorter (RFC 9000 §10.3).
const SHORT: usize = 43;

/// The longest stateless reset we send, bytes: it need not look like a large packet.
const MAX_RESET: usize = 64;

/// The shortest datagram that can hold a stateless reset (RFC 9000 §10.3).
const MIN_RESET: usize = 5 + RESET_TOKEN_LEN;

/// The versions we speak, and a reserved one so that clients stay used to unknown ones (RFC 9000 §6).
///
/// `dcid` and `scid` are those of the datagram that is answered; they change places.
#[must_use]
pub fn version_negotiation(dcid: &[u8], scid: &[u8], versions: &[u32], rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::with_capacity(7 + dcid.len() + scid.len() + 4 * versions.len() + 4);
    let [unused] = rng.array();
    let reserved = reserved_version(rng);
    header::encode_version_negotiation(
        &mut out,
        unused,
        scid,
        dcid,
        versions.iter().copied().chain([reserved]),
    );
    out
}

/// Asks the client to come again with a token that proves its address (RFC 9000 §8.1.2).
///
/// `None` if the client has done so already: a second Retry is not allowed.
#[must_use]
pub fn retry(
    incoming: &Incoming,
    now: SystemTime,
    tokens: &TokenKey,
    connection_ids: &dyn ConnectionIdGenerator,
    rng: &mut Rng,
) -> Option<Vec<u8>> {
    if !incoming.may_retry() {
        return None;
    }
    let scid = connection_ids.generate(rng);
    let scope = TokenScope { now, version: incoming.version(), client: incoming.path().remote };
    let token = tokens.seal_retry(rng, &scope, &incoming.original_dcid(), &scid);
    let mut out = Vec::with_capacity(128 + token.len());
    header::encode_retry(&mut out, incoming.version(), &incoming.scid(), &scid, &token);
    let tag = retry_tag(incoming.version(), &incoming.dcid(), &out);
    out.extend_from_slice(&tag);
    Some(out)
}

/// Tells the client that there will be no connection: CONNECTION_REFUSED (RFC 9000 §5.2.2).
#[must_use]
pub fn refuse(incoming: &Incoming) -> Vec<u8> {
    close(incoming.keys(), incoming.version(), incoming.scid(), incoming.dcid(), Code::CONNECTION_REFUSED)
}

/// An Initial with nothing but a CONNECTION_CLOSE.
pub(super) fn close(
    keys: &Keys,
    version: u32,
    dcid: ConnectionId,
    scid: ConnectionId,
    code: Code,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    let header = LongHeader { ty: LongType::Initial, version, dcid, scid, token: &[] };
    let layout = header.encode(&mut out, 0, 1);
    let error = CloseError::Transport { code, frame_type: None };
    ConnectionClose { error, reason: bytes::Bytes::new() }.encode(&mut out);
    out.resize(out.len() + PacketKey::TAG_LEN, 0);
    layout.fill_length(&mut out);
    keys.local.packet.seal(0, &mut out, layout.payload());
    keys.local.header.protect(&mut out, layout.pn);
    out
}

/// Tells a peer that its connection is unknown here (RFC 9000 §10.3).
///
/// `len` is the length of the datagram that is answered: the answer is shorter, so that two endpoints cannot keep
/// answering each other. `None` if there is no room for that.
#[must_use]
pub fn stateless_reset(dcid: &ConnectionId, len: usize, key: &ResetKey, rng: &mut Rng) -> Option<Vec<u8>> {
    let longest = MAX_RESET.min(len.checked_sub(1)?);
    if longest < MIN_RESET {
        return None;
    }
    let size = if len <= SHORT {
        longest
    } else {
        let spread = (longest - (SHORT - 1) + 1) as u64;
        SHORT - 1 + usize::try_from(rng.below(spread)).unwrap_or_default()
    };
    let mut out = vec![0; size];
    rng.fill(&mut out);
    if let Some(first) = out.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    if let Some(tail) = out.last_chunk_mut::<RESET_TOKEN_LEN>() {
        *tail = key.token(dcid).0;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: R9000-10.3-02 R9000-10.3-04 R9000-10.3-05 R9000-10.3-07 R9000-10.3.3-01
    #[test]
    fn a_reset_is_shorter_than_what_it_answers_and_ends_in_the_token() {
        let (key, mut rng) = (ResetKey::new(&[1; 32]), Rng::from_u64(1));
        let dcid = ConnectionId::try_from(&[1; 8][..]).unwrap();
        let mut seen = std::collections::HashSet::new();
        for len in 0..100 {
            let Some(reset) = stateless_reset(&dcid, len, &key, &mut rng) else {
                assert!(len <= MIN_RESET);
                continue;
            };
            assert!(reset.len() < len && reset.len() >= MIN_RESET);
            assert!(len > SHORT || reset.len() == len - 1);
            assert!(len <= SHORT || reset.len() >= SHORT - 1);
            assert_eq!(reset[0] & 0xc0, 0x40, "a short header with the fixed bit");
            assert!(reset.ends_with(&key.token(&dcid).0));
            assert!(seen.insert(reset[..5].to_vec()), "never the same bytes in front");
        }
    }

    /// Two endpoints that know nothing of each other do not keep each other busy.
    // covers: R9000-10.3.3-01
    #[test]
    fn resets_that_answer_resets_die_out() {
        let (ours, theirs) = (ResetKey::new(&[1; 32]), ResetKey::new(&[2; 32]));
        let dcid = ConnectionId::try_from(&[1; 8][..]).unwrap();
        for seed in 0..20 {
            let mut rng = Rng::from_u64(seed);
            let (mut len, mut answers) = (1200, 0);
            while let Some(reset) =
                stateless_reset(&dcid, len, if answers % 2 == 0 { &ours } else { &theirs }, &mut rng)
            {
                (len, answers) = (reset.len(), answers + 1);
            }
            assert!((2..=MAX_RESET - MIN_RESET + 1).contains(&answers), "{answers}");
        }
    }

    // covers: R9000-17.2.1-04 R9000-17.2.1-05 R8999-6-03 R8999-6-04
    #[test]
    fn version_negotiation_swaps_the_ids_and_offers_a_reserved_version() {
        let answer = version_negotiation(&[1; 9], &[2; 30], &[1], &mut Rng::from_u64(1));
        assert_eq!(answer[1..5], [0; 4]);
        assert_eq!(answer[5..36], [&[30][..], &[2; 30]].concat());
        assert_eq!(answer[36..46], [&[9][..], &[1; 9]].concat());
        let offered: Vec<_> =
            answer[46..].chunks(4).map(|v| u32::from_be_bytes(v.try_into().unwrap())).collect();
        assert_eq!((offered.len(), offered[0]), (2, 1));
        assert_eq!(offered[1] & 0x0f0f_0f0f, 0x0a0a_0a0a);
    }
}
