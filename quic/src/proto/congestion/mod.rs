//! Congestion control and pacing (RFC 9002 §7).
