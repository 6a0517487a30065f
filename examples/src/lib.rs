//! What the programs share: certificates for development, TLS settings, congestion controllers by name, connecting to a host by name, the folder that a
//! server hands out, and its answers.

pub mod body;
pub mod certificate;
pub mod congestion;
pub mod connect;
pub mod content_type;
pub mod root;
pub mod server;
pub mod service;
pub mod tls;

/// The programs of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
