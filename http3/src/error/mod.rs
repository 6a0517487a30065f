//! Errors: the codes of the registry, what closes a connection, and the public enums, one per operation.

mod code;
mod violation;

pub use code::Code;
pub(crate) use violation::Violation;
