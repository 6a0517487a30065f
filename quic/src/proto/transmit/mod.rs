//! Follow a packet out.

mod write;

pub use write::{FrameCounts, FrameWriter, PacketContent, StreamWritten};
