//! Initial keys (RFC 9001 §5.2).

use ring::hkdf::{HKDF_SHA256, Salt};

use super::hkdf::{Secret, expand_label};
use super::keys::{CipherSuite, Keys};
use super::version::constants;
use crate::packet::{ConnectionId, Side};

/// The Initial keys of a connection, as seen from `side`.
///
/// `client_dcid` is the destination connection ID of the client's first Initial; after a Retry, the ID that the Retry
/// brought. `version` is one that we speak.
#[must_use]
pub fn initial_keys(version: u32, client_dcid: &ConnectionId, side: Side) -> Keys {
    let [client, server] = initial_secrets(version, client_dcid);
    Keys::new(side, &client, &server)
}

/// The secrets of client and server.
fn initial_secrets(version: u32, client_dcid: &ConnectionId) -> [Secret; 2] {
    let initial = Salt::new(HKDF_SHA256, &constants(version).initial_salt).extract(client_dcid.as_slice());
    [&b"client in"[..], b"server in"].map(|label| {
        let prk = expand_label(&initial, label, HKDF_SHA256, |okm| okm.into());
        Secret::new(version, CipherSuite::Aes128Gcm, prk)
    })
}
