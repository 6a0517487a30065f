//! Code points that are not final, each with the draft that it comes from.

/// Transport parameter reset_stream_at (draft-ietf-quic-reliable-stream-reset-10 §8.1).
pub const RESET_STREAM_AT_PARAMETER: u64 = 0x1d;

/// Frame type RESET_STREAM_AT (draft-ietf-quic-reliable-stream-reset-10 §8.2).
pub const RESET_STREAM_AT: u8 = 0x24;

/// Transport parameter min_ack_delay (draft-ietf-quic-ack-frequency-12 §11.1, the same since -07).
pub const MIN_ACK_DELAY: u64 = 0xff04_de1b;

/// Frame type IMMEDIATE_ACK (draft-ietf-quic-ack-frequency-12 §11.2).
pub const IMMEDIATE_ACK: u64 = 0x1f;

/// Frame type ACK_FREQUENCY (draft-ietf-quic-ack-frequency-12 §11.2).
pub const ACK_FREQUENCY: u64 = 0xaf;
