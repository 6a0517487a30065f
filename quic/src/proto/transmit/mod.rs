//! A packet's way out, a file per step.
//!
//! [`profile`] decides what may leave at all; [`batch`] fills one GSO batch with datagrams; [`datagram`] coalesces
//! packets and pads; [`mtu_probe`] sends what is larger than the path is known to carry; [`probe`] does without most of
//! this for path validation; [`packet`] writes a header and seals; [`schedule`] says which frames go in and in which
//! order;
//! [`mod@write`] is the one funnel that every frame passes.

mod batch;
mod close;
mod datagram;
mod mtu_probe;
mod packet;
mod probe;
mod profile;
mod schedule;
mod write;

pub use write::{FrameCounts, FrameWriter};

#[cfg(test)]
pub use write::PacketContent;
