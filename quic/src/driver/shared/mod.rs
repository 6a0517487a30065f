//! What a handle of the application and the task of its connection share: small parts, each behind its own short lock.

pub mod accepted;
pub mod admission;
pub mod budget;
pub mod chunks;
pub mod connection;
pub mod datagrams;
pub mod endpoint;
pub mod open_credit;
pub mod ready;
pub mod recv;
pub mod send;
pub mod send_pool;
pub mod signal;
pub mod sockets;
pub mod stream;
pub mod waiters;
