//! Datagrams between the handles of a connection and its task: a queue each way, and the fates of those sent.

mod fate;
mod incoming;
mod line;
mod outgoing;

pub use fate::{FateSender, FateWatch};
pub use incoming::Incoming;
pub use outgoing::{Item, Outgoing, Refused};
