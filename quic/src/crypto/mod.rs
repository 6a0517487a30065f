//! TLS behind our own trait, packet keys, and the other uses of cryptography (RFC 9001).
//!
//! | file | what |
//! |---|---|
//! | `version` | salts, labels and Retry keys of each QUIC version, as data |
//! | `hkdf` | HKDF-Expand-Label, and a traffic secret with everything that is derived from it |
//! | `keys` | packet protection keys; the hot path of the library |
//! | `header_protection` | header keys, and how they hide and reveal packet numbers |
//! | `initial` | the keys that anybody can derive from a connection ID |
//! | `retry` | the integrity tag of Retry packets |
//! | `tokens` | the tokens of Retry packets |
//! | `reset` | stateless reset tokens |
//! | `tls` | our own traits of a TLS session, and rustls behind them |
//! | `client_hello` | our own reader of what a client asks for |

mod client_hello;
mod header_protection;
mod hkdf;
mod initial;
mod keys;
mod reset;
mod retry;
pub mod tls;
mod tokens;
mod version;

#[cfg(test)]
mod vectors;

pub use client_hello::{ClientHello, InvalidClientHello, MAX_CLIENT_HELLO_LEN};
pub use header_protection::HeaderKey;
pub use initial::initial_keys;
pub use keys::{AeadLimits, CipherSuite, DirectionKeys, Keys, OneRttSecrets, PacketKey};
pub use reset::ResetKey;
pub use retry::{retry_tag, verify_retry_tag};
pub use tokens::{TokenError, TokenKey, TokenLifetimes, TokenScope, ValidToken};
