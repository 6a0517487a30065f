//! What the benchmarks share.

pub mod meter;
