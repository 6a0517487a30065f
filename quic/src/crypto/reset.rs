//! Stateless reset tokens (RFC 9000 §10.3.2).

use std::fmt;

use ring::hmac;

use crate::packet::{ConnectionId, RESET_TOKEN_LEN, ResetToken};

/// Makes the reset tokens of an endpoint: the same key and connection ID give the same token, also after a restart.
#[derive(Clone)]
pub struct ResetKey(hmac::Key);

impl ResetKey {
    /// From a secret of the endpoint.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of one of our connection IDs.
    #[must_use]
    pub fn token(&self, cid: &ConnectionId) -> ResetToken {
        let mut context = hmac::Context::with_key(&self.0);
        // So that the secret may also serve for something else.
        context.update(b"gannet stateless reset");
        context.update(cid.as_slice());
        let tag = context.sign();
        let mut token = [0; RESET_TOKEN_LEN];
        token.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        ResetToken(token)
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: R9000-10.3.2-01 R9000-10.3.2-05
    #[test]
    fn a_token_belongs_to_one_key_and_one_connection_id() {
        let cids = [&[][..], &[0], &[0, 0], &[1, 2, 3, 4, 5, 6, 7, 8], &[9; 20]];
        let mut seen: Vec<ResetToken> = Vec::new();
        for secret in [[1; 32], [2; 32]] {
            for cid in cids {
                let cid = ConnectionId::try_from(cid).unwrap();
                let token = ResetKey::new(&secret).token(&cid);
                assert_eq!(token, ResetKey::new(&secret).token(&cid));
                assert!(!seen.contains(&token));
                seen.push(token);
            }
        }
    }

    /// A new release must be able to reset the connections of the one before.
    #[test]
    fn tokens_stay_what_they_are() {
        let cid = ConnectionId::try_from(&[1, 2, 3, 4, 5, 6, 7, 8][..]).unwrap();
        let token = ResetKey::new(&[7; 32]).token(&cid);
        assert_eq!(u128::from_be_bytes(token.0), 0xe33f_c629_5828_02d0_41f6_c1c5_3b4e_ac5f);
    }
}
