//! Address validation tokens: of Retry packets, and of NEW_TOKEN frames (RFC 9000 §8.1).
//!
//! A token is one byte, a salt, and sealed: the time of issue, and whom it is for. That is the client's address, the
//! destination connection ID of its first Initial and the source connection ID of the Retry; or, with NEW_TOKEN, the
//! client's IP address alone. The first byte tells the kind, and which of the endpoint's keys sealed it: these follow one
//! another in time, all of them derived from one secret, so that endpoints that share the secret share the keys. Each
//! token has a key of its own, derived from that and the salt: no number of tokens wears a key out.

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

/// The kind of a token (RFC 9000 §8.1.1): its first byte without the lowest two bits, which tell the key.
const RETRY: u8 = 1 << 2;
const NEW_TOKEN: u8 = 2 << 2;
const KEY_BITS: u8 = 3;

const SALT_LEN: usize = 16;
const TAG_LEN: usize = 16;

/// Time, IP address, port, length of the first ID, both IDs.
const MAX_SEALED_LEN: usize = 8 + 16 + 2 + 1 + 2 * MAX_CID_LEN + TAG_LEN;

/// Seals and opens the tokens of an endpoint, or of several that share a secret.
#[derive(Clone)]
pub struct TokenKey {
    secret: Prk,
    /// For how long a key seals, milliseconds.
    period: u64,
}

/// Whom a token is for, and when.
#[derive(Debug, Copy, Clone)]
pub struct TokenScope {
    /// The time of day.
    pub now: SystemTime,
    /// The QUIC version in use: tokens do not cross versions (RFC 9369 §5).
    pub version: u32,
    /// The client's address.
    pub client: SocketAddr,
}

/// For how long tokens are good.
#[derive(Debug, Copy, Clone)]
pub struct TokenLifetimes {
    /// Those of Retry packets.
    pub retry: Duration,
    /// Those of NEW_TOKEN frames.
    pub new_token: Duration,
}

/// A token that validates its client's address.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum ValidToken {
    /// Of a Retry packet.
    Retry {
        /// The destination connection ID of the Initial that the Retry answered.
        original_dcid: ConnectionId,
    },
    /// Of a NEW_TOKEN frame. It is good for one connection: whoever opens it keeps book of that.
    NewToken {
        /// No other token has this number.
        id: u128,
    },
}

/// Why a token does not validate an address.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Nobody with our keys made it, or too long ago: the client is to be treated as if it had sent none
    /// (RFC 9000 §8.1.3).
    #[error("a token that is not ours")]
    NotOurs,
    /// It came in a NEW_TOKEN frame, has expired or is of another address: as good as none (RFC 9000 §8.1.3).
    #[error("a token of a NEW_TOKEN frame that does not hold any more")]
    Stale,
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
    /// True if it came in a Retry packet of ours, and so for a connection without hope: a client takes no second Retry,
    /// and is told INVALID_TOKEN (RFC 9000 §8.1.2).
    #[must_use]
    pub fn is_fatal(self) -> bool {
        !matches!(self, Self::NotOurs | Self::Stale)
    }
}

impl TokenKey {
    /// From a secret of the endpoint. The keys derived from it seal for one `period` each, and open for one more.
    ///
    /// Endpoints that share the secret must share the period; it has at least a second.
    #[must_use]
    pub fn new(secret: &[u8; 32], period: Duration) -> Self {
        let secret = Salt::new(HKDF_SHA256, b"gannet address validation tokens").extract(secret);
        let period = u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1000);
        Self { secret, period }
    }

    /// The token of a Retry packet.
    ///
    /// `original_dcid` is the destination connection ID of the Initial that the Retry answers; `retry_scid` is the source
    /// connection ID of the Retry, which the client will use as its destination.
    #[must_use]
    pub fn seal_retry(
        &self,
        rng: &mut Rng,
        scope: &TokenScope,
        original_dcid: &ConnectionId,
        retry_scid: &ConnectionId,
    ) -> Vec<u8> {
        let mut plain = Vec::with_capacity(MAX_SEALED_LEN);
        plain.extend(millis(scope.now).to_be_bytes());
        plain.extend(ip_bytes(scope.client.ip()));
        plain.extend(scope.client.port().to_be_bytes());
        plain.extend(u8::try_from(original_dcid.len()));
        plain.extend_from_slice(original_dcid.as_slice());
        plain.extend_from_slice(retry_scid.as_slice());
        self.seal(rng, RETRY, scope, plain)
    }

    /// The token of a NEW_TOKEN frame. It says nothing that others could read, and never the same thing twice.
    #[must_use]
    pub fn seal_new_token(&self, rng: &mut Rng, scope: &TokenScope) -> Vec<u8> {
        let mut plain = Vec::with_capacity(MAX_SEALED_LEN);
        plain.extend(millis(scope.now).to_be_bytes());
        plain.extend(ip_bytes(scope.client.ip()));
        self.seal(rng, NEW_TOKEN, scope, plain)
    }

    fn seal(&self, rng: &mut Rng, kind: u8, scope: &TokenScope, mut plain: Vec<u8>) -> Vec<u8> {
        let epoch = self.epoch(scope.now);
        let first = kind | (epoch.to_be_bytes()[7] & KEY_BITS);
        let salt: [u8; SALT_LEN] = rng.array();
        // Neither step can fail: HKDF gives 32 bytes, and AES-GCM takes some hundred.
        let tag = self.key(epoch, &salt).and_then(|key| {
            key.seal_in_place_separate_tag(nonce(), Aad::from(aad(first, scope.version)), &mut plain).ok()
        });
        let mut token = Vec::with_capacity(1 + SALT_LEN + plain.len() + TAG_LEN);
        if let Some(tag) = tag {
            token.push(first);
            token.extend(salt);
            token.extend(plain);
            token.extend(tag.as_ref());
        }
        token
    }

    /// Checks the token of a client's Initial.
    ///
    /// `dcid` is the destination connection ID of that Initial: that of the Retry, if it follows one.
    ///
    /// # Errors
    /// [`TokenError`]; for a Retry token of ours that does not fit see [`TokenError::is_fatal`].
    pub fn open(
        &self,
        token: &[u8],
        scope: &TokenScope,
        dcid: &ConnectionId,
        lifetimes: TokenLifetimes,
    ) -> Result<ValidToken, TokenError> {
        let mut buffer = [0; MAX_SEALED_LEN];
        let Opened { kind, id, issued, ip, rest } =
            self.unseal(token, scope, &mut buffer).ok_or(TokenError::NotOurs)?;
        let same_ip = ip == ip_bytes(scope.client.ip());
        let now = millis(scope.now);
        let age = u128::from(now.saturating_sub(issued));
        // Clocks of endpoints that share a secret may differ a little.
        let ahead = u128::from(issued.saturating_sub(now));
        if kind == NEW_TOKEN {
            let in_time = age <= lifetimes.new_token.as_millis() && ahead <= lifetimes.retry.as_millis();
            let holds = same_ip && in_time;
            return if holds { Ok(ValidToken::NewToken { id }) } else { Err(TokenError::Stale) };
        }
        let RetryToken { port, original_dcid, retry_scid } =
            RetryToken::parse(rest).ok_or(TokenError::NotOurs)?;
        if !same_ip || port != scope.client.port() {
            return Err(TokenError::WrongAddress);
        }
        if retry_scid != *dcid {
            return Err(TokenError::WrongConnection);
        }
        if age.max(ahead) > lifetimes.retry.as_millis() {
            return Err(TokenError::Expired);
        }
        Ok(ValidToken::Retry { original_dcid })
    }

    fn unseal<'a>(
        &self,
        token: &[u8],
        scope: &TokenScope,
        buffer: &'a mut [u8; MAX_SEALED_LEN],
    ) -> Option<Opened<'a>> {
        let (&[first], token) = token.split_first_chunk()?;
        let (salt, sealed) = token.split_first_chunk()?;
        let buffer = buffer.get_mut(..sealed.len())?;
        let kind = first & !KEY_BITS;
        if kind != RETRY && kind != NEW_TOKEN {
            return None;
        }
        buffer.copy_from_slice(sealed);
        let aad = Aad::from(aad(first, scope.version));
        let key = self.key(self.epoch_of(first & KEY_BITS, scope.now)?, salt)?;
        let plain: &[u8] = key.open_in_place(nonce(), aad, buffer).ok()?;
        let (issued, plain) = plain.split_first_chunk()?;
        let (ip, rest) = plain.split_first_chunk()?;
        let issued = u64::from_be_bytes(*issued);
        Some(Opened { kind, id: u128::from_be_bytes(*salt), issued, ip: *ip, rest })
    }

    /// Which key seals at this time: the keys are numbered.
    fn epoch(&self, now: SystemTime) -> u64 {
        millis(now) / self.period
    }

    /// The key whose number ends in these bits: the present one, that before, or, where clocks differ, the next.
    fn epoch_of(&self, bits: u8, now: SystemTime) -> Option<u64> {
        let now = self.epoch(now);
        (now.saturating_sub(1)..=now.saturating_add(1))
            .find(|epoch| epoch.to_be_bytes()[7] & KEY_BITS == bits)
    }

    /// The key of the one token with this salt.
    fn key(&self, epoch: u64, salt: &[u8; SALT_LEN]) -> Option<LessSafeKey> {
        let epoch = epoch.to_be_bytes();
        let info: [&[u8]; 3] = [b"token", &epoch, salt];
        let key = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(key)))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

/// A token that we made.
struct Opened<'a> {
    kind: u8,
    id: u128,
    issued: u64,
    ip: [u8; 16],
    rest: &'a [u8],
}

/// What a Retry token says besides.
struct RetryToken {
    port: u16,
    original_dcid: ConnectionId,
    retry_scid: ConnectionId,
}

impl RetryToken {
    fn parse(plain: &[u8]) -> Option<Self> {
        let (port, plain) = plain.split_first_chunk()?;
        let (&[original_len], plain) = plain.split_first_chunk()?;
        let (original_dcid, retry_scid) = plain.split_at_checked(original_len.into())?;
        Some(Self {
            port: u16::from_be_bytes(*port),
            original_dcid: original_dcid.try_into().ok()?,
            retry_scid: retry_scid.try_into().ok()?,
        })
    }
}

/// Each key seals one thing.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn aad(first: u8, version: u32) -> [u8; 5] {
    let [a, b, c, d] = version.to_be_bytes();
    [first, a, b, c, d]
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// IPv4 addresses are the same whether a socket shows them as such or mapped into IPv6.
fn ip_bytes(ip: IpAddr) -> [u8; 16] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::packet::VERSION_1;

    const HOUR: Duration = Duration::from_secs(3600);
    const LIFETIMES: TokenLifetimes =
        TokenLifetimes { retry: Duration::from_secs(15), new_token: Duration::from_secs(36 * 3600) };

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    /// The client of most tests, at some time.
    fn at(now: SystemTime) -> TokenScope {
        TokenScope { now, version: VERSION_1, client: "192.0.2.1:4433".parse().unwrap() }
    }

    fn client(address: &str) -> TokenScope {
        TokenScope { client: address.parse().unwrap(), ..at(now()) }
    }

    fn cid(bytes: &[u8]) -> ConnectionId {
        ConnectionId::try_from(bytes).unwrap()
    }

    fn key() -> TokenKey {
        TokenKey::new(&[5; 32], 24 * HOUR)
    }

    fn token() -> Vec<u8> {
        key().seal_retry(&mut Rng::from_u64(1), &at(now()), &cid(b"original"), &cid(b"retry"))
    }

    fn new_token() -> Vec<u8> {
        key().seal_new_token(&mut Rng::from_u64(1), &at(now()))
    }

    fn open(token: &[u8], scope: TokenScope) -> Result<ValidToken, TokenError> {
        key().open(token, &scope, &cid(b"retry"), LIFETIMES)
    }

    // covers: R9000-8.1.4-03 R9000-8.1.4-07 R9000-8.1.3-03
    #[test]
    fn a_retry_token_holds_for_one_address_one_connection_and_some_time() {
        let token = token();
        assert_eq!(open(&token, at(now())), Ok(ValidToken::Retry { original_dcid: cid(b"original") }));
        assert_eq!(open(&token, client("192.0.2.1:4434")), Err(TokenError::WrongAddress));
        assert_eq!(open(&token, client("192.0.2.2:4433")), Err(TokenError::WrongAddress));
        let other = key().open(&token, &at(now()), &cid(b"other"), LIFETIMES);
        assert_eq!(other, Err(TokenError::WrongConnection));
        let millisecond = Duration::from_millis(1);
        for late in [now() + LIFETIMES.retry + millisecond, now() - LIFETIMES.retry - millisecond] {
            assert_eq!(open(&token, at(late)), Err(TokenError::Expired));
        }
        assert!(TokenError::WrongAddress.is_fatal() && !TokenError::NotOurs.is_fatal());
        for in_time in [now() + LIFETIMES.retry, now() - LIFETIMES.retry] {
            assert!(open(&token, at(in_time)).is_ok());
        }
        assert!(open(&token, client("[::ffff:192.0.2.1]:4433")).is_ok());
    }

    // covers: R9000-8.1.1-01 R9000-8.1.3-03 R9000-8.1.4-04
    #[test]
    fn a_new_token_holds_for_one_ip_address_and_longer() {
        let token = new_token();
        for (scope, holds) in [
            (at(now()), true),
            (client("192.0.2.1:1"), true),
            (client("[::ffff:192.0.2.1]:4433"), true),
            (client("192.0.2.2:4433"), false),
            (at(now() + HOUR), true),
            (at(now() + LIFETIMES.new_token + Duration::from_millis(1)), false),
        ] {
            match open(&token, scope) {
                Ok(valid) => assert!(holds && matches!(valid, ValidToken::NewToken { .. }), "{scope:?}"),
                Err(error) => assert!(!holds && !error.is_fatal(), "{scope:?}"),
            }
        }
        // Whatever the destination ID is.
        assert!(key().open(&token, &at(now()), &cid(b"any"), LIFETIMES).is_ok());
    }

    #[test]
    fn keys_follow_one_another_and_the_last_one_still_opens() {
        let (key, scid) = (TokenKey::new(&[5; 32], HOUR), cid(b"retry"));
        let mut rng = Rng::from_u64(1);
        for offset in [0, 1, 1800, 3599] {
            let issued = SystemTime::UNIX_EPOCH + 1_000 * HOUR + Duration::from_secs(offset);
            let token = key.seal_new_token(&mut rng, &at(issued));
            let epoch = |time: SystemTime| key.epoch(time);
            for minutes in 0..300_u64 {
                let later = issued + Duration::from_secs(60 * minutes);
                let opened = key.open(&token, &at(later), &scid, LIFETIMES);
                assert_eq!(opened.is_ok(), epoch(later) - epoch(issued) <= 1, "{offset} s, {minutes} min");
            }
            // One whose clock is late.
            assert!(key.open(&token, &at(issued - Duration::from_secs(10)), &scid, LIFETIMES).is_ok());
            assert!(key.open(&token, &at(issued - HOUR), &scid, LIFETIMES).is_err());
        }
        assert!(TokenKey::new(&[5; 32], Duration::ZERO).epoch(now()) > 0);
    }

    #[test]
    fn a_token_does_not_cross_versions() {
        let other = TokenScope { version: 0x6b33_43cf, ..at(now()) };
        assert_eq!(open(&token(), other), Err(TokenError::NotOurs));
        assert_eq!(open(&new_token(), other), Err(TokenError::NotOurs));
    }

    #[test]
    fn connection_ids_of_every_length_fit() {
        let mut rng = Rng::from_u64(2);
        for original in 0..=MAX_CID_LEN {
            for retry in 0..=MAX_CID_LEN {
                let (original_dcid, retry) = (cid(&[1; 20][..original]), cid(&[2; 20][..retry]));
                let scope = client("[2001:db8::1]:1");
                let token = key().seal_retry(&mut rng, &scope, &original_dcid, &retry);
                let opened = key().open(&token, &scope, &retry, LIFETIMES);
                assert_eq!(opened, Ok(ValidToken::Retry { original_dcid }));
            }
        }
    }

    // covers: R9000-8.1.1-01 R9000-8.1.4-01 R9000-8.1.4-02
    #[test]
    fn any_change_and_any_other_key_make_it_a_token_that_is_not_ours() {
        for mut token in [token(), new_token()] {
            for i in 0..token.len() {
                for bit in 0..8 {
                    token[i] ^= 1 << bit;
                    assert_eq!(open(&token, at(now())), Err(TokenError::NotOurs), "byte {i}");
                    token[i] ^= 1 << bit;
                }
                assert_eq!(open(&token[..i], at(now())), Err(TokenError::NotOurs));
            }
            let other = TokenKey::new(&[6; 32], 24 * HOUR);
            let result = other.open(&token, &at(now()), &cid(b"retry"), LIFETIMES);
            assert_eq!(result, Err(TokenError::NotOurs));
            token.push(0);
            assert_eq!(open(&token, at(now())), Err(TokenError::NotOurs));
        }
    }

    // covers: R9000-8.1.3-04 R9000-8.1.3-05
    #[test]
    fn two_tokens_of_one_client_have_nothing_in_common_but_their_kind() {
        let mut rng = Rng::from_u64(3);
        let mut pair = || {
            let retry = key().seal_retry(&mut rng, &at(now()), &cid(b"original"), &cid(b"retry"));
            [retry, key().seal_new_token(&mut rng, &at(now()))]
        };
        for (a, b) in pair().into_iter().zip(pair()) {
            assert_eq!(a[0], b[0]);
            assert!(a.iter().skip(1).zip(b.iter().skip(1)).filter(|(a, b)| a == b).count() < 5);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(first: u8, token in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(open(&token, at(now())), Err(TokenError::NotOurs));
            prop_assert_eq!(open(&[&[first & 0xf], &token[..]].concat(), at(now())), Err(TokenError::NotOurs));
        }
    }
}
