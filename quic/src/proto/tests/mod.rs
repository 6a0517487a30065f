//! Two connections face to face, and over the virtual network.

mod acknowledgments;
mod endings;
mod handshake;
mod network;
mod pair;
