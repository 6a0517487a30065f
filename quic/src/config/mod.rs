//! Configuration: builders, checked when built.
