//! Two connections face to face, and over the virtual network.

mod endings;
mod handshake;
mod network;
mod pair;
