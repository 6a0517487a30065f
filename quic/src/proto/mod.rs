//! The sans-IO protocol core.

pub(crate) mod congestion;
pub(crate) mod recovery;
pub(crate) mod space;
pub(crate) mod streams;
pub(crate) mod transmit;
