//! Streams: states, buffers, flow control, scheduling (RFC 9000 §2 to §4).
