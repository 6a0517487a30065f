//! HTTP/3 over [`gannet`].
