//! What the programs share: certificates for development, TLS settings, the folder a server hands out, and its answers.

pub mod body;
pub mod certificate;
pub mod content_type;
pub mod root;
pub mod service;
pub mod tls;
