//! What client and server have in common about a connection.
//!
//! ```text
//!   SendRequest, exchanges, bodies          driver (one future per connection)
//!         |  Lease                                |
//!         +------------> Shared <-----------------+
//!                 peer's settings, GOAWAY,        own control and QPACK streams,
//!                 why the connection failed       the peer's unidirectional streams
//! ```
//!
//! Requests and responses do not pass through the driver: each exchange reads and writes its own QUIC stream. The driver
//! handles what concerns them all, and is woken only for that.

mod driver;
mod given_up;
mod shared;

use crate::proto::settings::Settings;

pub(crate) use driver::{close, drive, random};
pub(crate) use shared::{Early, Lease, Shared};

/// Settings of this end, the same for both roles.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Largest field section we take, counted as RFC 9114 §4.2.2 says.
    pub(crate) max_field_section_size: u64,
    /// How many requests a server lets run at once.
    pub(crate) max_concurrent_requests: usize,
    /// How many requests a client may give up per second.
    pub(crate) max_given_up_requests_per_second: u32,
    /// Whether reserved frames and streams are sent.
    pub(crate) grease: bool,
}

impl Config {
    /// What the peer is told.
    pub(crate) fn settings(&self) -> Settings {
        Settings { max_field_section_size: Some(self.max_field_section_size), ..Settings::default() }
    }
}

impl Default for Config {
    fn default() -> Self {
        // More than servers of HTTP/1.1 let pass, and little enough to be held for each stream.
        Self {
            max_field_section_size: 64 << 10,
            max_concurrent_requests: 256,
            max_given_up_requests_per_second: 1000,
            grease: true,
        }
    }
}
