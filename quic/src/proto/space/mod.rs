//! Packet number spaces: what was received, what was sent, and the tokens that recovery hands back.

mod token;

pub use token::{Token, Tokens};
