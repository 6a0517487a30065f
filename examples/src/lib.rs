//! What the programs share: certificates for development, TLS settings, and the folder a server hands out.

pub mod certificate;
pub mod content_type;
pub mod root;
pub mod tls;
