//! Connection IDs: those we issue and those the peer issued (RFC 9000 §5.1).

mod local;
mod remote;

pub use local::LocalCids;
pub use remote::{RemoteCid, RemoteCids};
