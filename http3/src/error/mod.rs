//! Errors: the codes of the registry, what closes a connection, and what ends a single exchange (RFC 9114 §8).

mod code;
mod connection;
mod stream;
mod violation;

pub use code::Code;
pub use connection::ConnectionError;
pub use stream::{BoxError, StreamError};
pub(crate) use violation::Violation;

pub use crate::proto::headers::{Malformed, Unsendable};
