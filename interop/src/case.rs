//! The test cases of the interop runner that are supported, by the names it gives them in `TESTCASE`.

use std::time::Duration;

/// For both ends. Some cases lose a third of all packets, or delay them by more than a second.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(60);

/// What a run is about.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum TestCase {
    /// One connection, all files at once. Most cases differ in the network only.
    Transfer,
    /// The same, with nothing but ChaCha20-Poly1305 offered.
    ChaCha20,
    /// The same, the server asking for address validation first.
    Retry,
    /// The same over HTTP/3; all others speak HTTP/0.9.
    Http3,
    /// From version 1 to version 2 without a round trip; all other cases are about version 1 alone.
    V2,
    /// A connection for each file, one after the other.
    Multiconnect,
    /// The same, the client updating the keys of the connection.
    KeyUpdate,
    /// The first file over one connection, the others over a second one that resumes it.
    Resumption,
    /// The same, the second one asking with its first datagrams.
    ZeroRtt,
    /// The server asks the client to continue at another address.
    ConnectionMigration,
}

impl TestCase {
    /// The case of this name, if it is supported.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "handshake" | "longrtt" | "transfer" | "transferloss" | "transfercorruption" | "multiplexing"
            | "blackhole" | "ipv6" | "amplificationlimit" | "ecn" => Self::Transfer,
            "chacha20" => Self::ChaCha20,
            "retry" => Self::Retry,
            "http3" => Self::Http3,
            "v2" => Self::V2,
            "zerortt" => Self::ZeroRtt,
            "connectionmigration" => Self::ConnectionMigration,
            "resumption" => Self::Resumption,
            "keyupdate" => Self::KeyUpdate,
            "multiconnect" | "handshakeloss" | "handshakecorruption" => Self::Multiconnect,
            _ => return None,
        })
    }

    /// The application protocol of the case.
    pub fn alpn(self) -> &'static str {
        if self == Self::Http3 { "h3" } else { "hq-interop" }
    }
}
