//! Gannet: an async, Tokio-native QUIC endpoint in safe Rust.

#[cfg(feature = "tokio")]
mod api;
pub mod config;
mod crypto;
#[cfg(feature = "tokio")]
mod driver;
mod error;
#[cfg(feature = "tokio")]
mod net;
mod packet;
mod proto;
mod wire;
