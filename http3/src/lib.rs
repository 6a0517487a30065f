//! HTTP/3 over [`gannet`].

pub mod error;
mod proto;
mod qpack;
