//! Code points that are not final, each with the draft that it comes from.

/// Transport parameter reset_stream_at (draft-ietf-quic-reliable-stream-reset-10 §8.1).
pub const RESET_STREAM_AT_PARAMETER: u64 = 0x1d;

/// Frame type RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset-10 §8.2).
pub const RESET_STREAM_AT: u8 = 0x24;
