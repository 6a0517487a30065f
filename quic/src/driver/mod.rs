//! The tasks, and the only locks.
