//! HTTP/3 over [`gannet`].

pub mod body;
pub mod client;
mod connection;
pub mod error;
mod proto;
mod qpack;
pub mod server;

pub use body::RecvBody;
pub use error::{Code, ConnectionError, StreamError};
