//! TLS behind our own trait, packet keys, and the other uses of cryptography (RFC 9001).
