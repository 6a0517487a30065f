//! The handles an application holds.
