//! Two connections face to face, and over the virtual network; then one of them turns hostile.

mod ack_frequency;
mod acknowledgments;
mod closing;
mod datagrams;
pub(super) mod early;
mod endings;
mod first_flight;
mod flow;
mod handshake;
mod hostile;
mod idle;
mod key_update;
mod mtu;
mod network;
mod operations;
mod pair;
mod paths;
mod quic_bit;
mod resumption;
mod tls;
mod tokens;
mod versions;
mod window;
