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

mod header_protection;
mod hkdf;
mod initial;
mod keys;
mod retry;
mod version;

#[cfg(test)]
mod vectors;

pub use header_protection::HeaderKey;
pub use initial::initial_keys;
pub use keys::{CipherSuite, DirectionKeys, Keys, OneRttSecrets, PacketKey};
pub use retry::{retry_tag, verify_retry_tag};
pub use version::VERSION_2;
