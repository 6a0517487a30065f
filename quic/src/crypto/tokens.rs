//! Address validation tokens of Retry packets (RFC 9000 §8.1.2, §8.1.4).
//!
//! A token is its kind, a salt, and sealed: the time of issue, the client's address, the destination connection ID of
//! its first Initial, and the source connection ID of the Retry. Each token has a key of its own, derived from the salt:
//! no number of tokens wears the endpoint's key out.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

use crate::packet::{ConnectionId, MAX_CID_LEN, Rng};

/// The kind of a token, its first byte (RFC 9000 §8.1.1).
const RETRY: u8 = 1;

const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// Time, IP address, port, length of the first ID, both IDs.
const MAX_SEALED_LEN: usize = 8 + 16 + 2 + 1 + 2 * MAX_CID_LEN + TAG_LEN;

/// Seals and opens the tokens of an endpoint, or of several that share a secret.
#[derive(Clone)]
pub struct TokenKey(Prk);

/// Why a token does not validate an address.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody with our key made it: the client is to be treated as if it had sent none (RFC 9000 §8.1.3).
    #[error("a token that is not ours")]
    NotOurs,
    /// We made it for another address.
    #[error("a Retry token of another address")]
    WrongAddress,
    /// We made it for another connection.
    #[error("a Retry token of another connection")]
    WrongConnection,
    /// It is too old.
    #[error("a Retry token that has expired")]
    Expired,
}

impl TokenError {
    /// True if it is a token that we made, and so a connection without hope: a client takes no second Retry, and is
    /// told INVALID_TOKEN (RFC 9000 §8.1.2).
    #[must_use]
    pub fn is_ours(self) -> bool {
        self != Self::NotOurs
    }
}

impl TokenKey {
    /// From a secret of the endpoint.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Salt::new(HKDF_SHA256, b"gannet address validation tokens").extract(secret))
    }

    /// The token of a Retry packet to `client`.
    ///
    /// `original_dcid` is the destination connection ID of the Initial that the Retry answers; `retry_scid` is the source
    /// connection ID of the Retry, which the client will use as its destination.
    #[must_use]
    pub fn seal_retry(
        &self,
        rng: &mut Rng,
        now: SystemTime,
        client: SocketAddr,
        original_dcid: &ConnectionId,
        retry_scid: &ConnectionId,
    ) -> Vec<u8> {
        let salt: [u8; SALT_LEN] = rng.array();
        let mut sealed = Vec::with_capacity(MAX_SEALED_LEN);
        sealed.extend(millis(now).to_be_bytes());
        sealed.extend(address_bytes(client));
        sealed.extend(u8::try_from(original_dcid.len()));
        sealed.extend_from_slice(original_dcid.as_slice());
        sealed.extend_from_slice(retry_scid.as_slice());

        // Neither step can fail: HKDF gives 32 bytes, and AES-GCM takes some hundred.
        let tag = self.key(&salt).and_then(|key| {
            key.seal_in_place_separate_tag(nonce(), Aad::from(RETRY.to_be_bytes()), &mut sealed).ok()
        });
        let mut token = Vec::with_capacity(1 + SALT_LEN + sealed.len() + TAG_LEN);
        if let Some(tag) = tag {
            token.push(RETRY);
            token.extend(salt);
            token.extend(sealed);
            token.extend(tag.as_ref());
        }
        token
    }

    /// Checks the token of a client's Initial and returns the destination connection ID of its first Initial.
    ///
    /// `dcid` is the destination connection ID of the Initial with the token: that of the Retry.
    ///
    /// # Errors
    /// [`TokenError`]; for a token of ours that does not fit see [`TokenError::is_ours`].
    pub fn open_retry(
        &self,
        token: &[u8],
        now: SystemTime,
        lifetime: Duration,
        client: SocketAddr,
        dcid: &ConnectionId,
    ) -> Result<ConnectionId, TokenError> {
        let mut buffer = [0; MAX_SEALED_LEN];
        let token = self.open(token, &mut buffer).ok_or(TokenError::NotOurs)?;
        if token.address != address_bytes(client) {
            return Err(TokenError::WrongAddress);
        }
        if token.retry_scid != *dcid {
            return Err(TokenError::WrongConnection);
        }
        // Clocks of endpoints that share a secret may differ.
        if u128::from(token.issued.abs_diff(millis(now))) > lifetime.as_millis() {
            return Err(TokenError::Expired);
        }
        Ok(token.original_dcid)
    }

    fn open(&self, token: &[u8], buffer: &mut [u8; MAX_SEALED_LEN]) -> Option<RetryToken> {
        let (&[kind], token) = token.split_first_chunk()?;
        let (salt, sealed) = token.split_first_chunk()?;
        let buffer = buffer.get_mut(..sealed.len())?;
        if kind != RETRY {
            return None;
        }
        buffer.copy_from_slice(sealed);
        let plain: &[u8] = self.key(salt)?.open_in_place(nonce(), Aad::from([kind]), buffer).ok()?;

        let (issued, plain) = plain.split_first_chunk()?;
        let (address, plain) = plain.split_first_chunk()?;
        let (&[original_len], plain) = plain.split_first_chunk()?;
        let (original_dcid, retry_scid) = plain.split_at_checked(original_len.into())?;
        Some(RetryToken {
            issued: u64::from_be_bytes(*issued),
            address: *address,
            original_dcid: original_dcid.try_into().ok()?,
            retry_scid: retry_scid.try_into().ok()?,
        })
    }

    /// The key of the one token with this salt.
    fn key(&self, salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
        let info: [&[u8]; 2] = [b"token", salt];
        let key = self.0.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// What a Retry token says.
struct RetryToken {
    issued: u64,
    address: [u8; 18],
    original_dcid: ConnectionId,
    retry_scid: ConnectionId,
}

/// Each key seals one thing.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// IPv4 addresses are the same whether a socket shows them as such or mapped into IPv6.
fn address_bytes(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    let all = ip.octets().into_iter().chain(address.port().to_be_bytes());
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(15);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn client() -> SocketAddr {
        "192.0.2.1:4433".parse().unwrap()
    }

    fn cid(bytes: &[u8]) -> ConnectionId {
        ConnectionId::try_from(bytes).unwrap()
    }

    fn key() -> TokenKey {
        TokenKey::new(&[5; 32])
    }

    fn token() -> Vec<u8> {
        key().seal_retry(&mut Rng::from_u64(1), now(), client(), &cid(b"original"), &cid(b"retry"))
    }

    fn open(token: &[u8]) -> Result<ConnectionId, TokenError> {
        key().open_retry(token, now(), LIFETIME, client(), &cid(b"retry"))
    }

    // covers: R9000-8.1.4-03 R9000-8.1.4-07 R9000-8.1.3-03
    #[test]
    fn a_token_holds_for_one_address_one_connection_and_some_time() {
        let token = token();
        assert_eq!(open(&token), Ok(cid(b"original")));
        let check = |now, client: &str, dcid| {
            key().open_retry(&token, now, LIFETIME, client.parse().unwrap(), &cid(dcid)).unwrap_err()
        };
        assert_eq!(check(now(), "192.0.2.1:4434", b"retry"), TokenError::WrongAddress);
        assert_eq!(check(now(), "192.0.2.2:4433", b"retry"), TokenError::WrongAddress);
        assert_eq!(check(now(), "192.0.2.1:4433", b"other"), TokenError::WrongConnection);
        let millisecond = Duration::from_millis(1);
        for late in [now() + LIFETIME + millisecond, now() - LIFETIME - millisecond, SystemTime::UNIX_EPOCH] {
            assert_eq!(check(late, "192.0.2.1:4433", b"retry"), TokenError::Expired);
        }
        assert!(check(now(), "192.0.2.2:4433", b"retry").is_ours() && !TokenError::NotOurs.is_ours());
        for in_time in [now() + LIFETIME, now() - LIFETIME] {
            assert!(key().open_retry(&token, in_time, LIFETIME, client(), &cid(b"retry")).is_ok());
        }
        let mapped = "[::ffff:192.0.2.1]:4433".parse().unwrap();
        assert!(key().open_retry(&token, now(), LIFETIME, mapped, &cid(b"retry")).is_ok());
    }

    #[test]
    fn connection_ids_of_every_length_fit() {
        let mut rng = Rng::from_u64(2);
        for original in 0..=MAX_CID_LEN {
            for retry in 0..=MAX_CID_LEN {
                let (original, retry) = (cid(&[1; 20][..original]), cid(&[2; 20][..retry]));
                let address = "[2001:db8::1]:1".parse().unwrap();
                let token = key().seal_retry(&mut rng, now(), address, &original, &retry);
                assert_eq!(key().open_retry(&token, now(), LIFETIME, address, &retry), Ok(original));
            }
        }
    }

    // covers: R9000-8.1.1-01 R9000-8.1.4-01 R9000-8.1.4-02
    #[test]
    fn any_change_and_any_other_key_make_it_a_token_that_is_not_ours() {
        let mut token = token();
        for i in 0..token.len() {
            for bit in 0..8 {
                token[i] ^= 1 << bit;
                assert_eq!(open(&token), Err(TokenError::NotOurs), "byte {i}");
                token[i] ^= 1 << bit;
            }
            assert_eq!(open(&token[..i]), Err(TokenError::NotOurs));
        }
        let other = TokenKey::new(&[6; 32]);
        let result = other.open_retry(&token, now(), LIFETIME, client(), &cid(b"retry"));
        assert_eq!(result, Err(TokenError::NotOurs));
        token.push(0);
        assert_eq!(open(&token), Err(TokenError::NotOurs));
    }

    #[test]
    fn two_tokens_of_one_client_differ() {
        let mut rng = Rng::from_u64(3);
        let mut seal = || key().seal_retry(&mut rng, now(), client(), &cid(b"original"), &cid(b"retry"));
        let (a, b) = (seal(), seal());
        assert!(a.iter().skip(1).zip(b.iter().skip(1)).filter(|(a, b)| a == b).count() < 10);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(token in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(open(&token), Err(TokenError::NotOurs));
            prop_assert_eq!(open(&[&[RETRY], &token[..]].concat()), Err(TokenError::NotOurs));
        }
    }
}
