//! Gannet: an async, Tokio-native QUIC endpoint in safe Rust.

#[cfg(feature = "tokio")]
mod api;
pub mod config;
mod crypto;
#[cfg(feature = "tokio")]
mod driver;
pub mod error;
#[cfg(any(feature = "tokio", test))]
pub mod net;
mod packet;
mod proto;
mod wire;

pub use error::{ClosedStream, ConnectError, ConnectionError, ReadError, WriteError};
pub use packet::{ConnectionId, Dir, Rng, Side, StreamId, TransportError, TransportErrorCode};
pub use wire::{VarInt, VarIntBoundsExceeded};
