//! Loss detection in the order of the pseudocode of RFC 9002: what was sent, what the peer acknowledged, what that
//! makes of the rest, and what to do when nothing comes.
//!
//! Owned by the connection, which calls
//!
//! | when | what |
//! |---|---|
//! | a packet was sealed | [`Recovery::on_packet_sent`] |
//! | an ACK frame arrived | [`Recovery::on_ack`], then the tokens in [`Fates`]: **first** `acked`, **then** `lost` |
//! | it computes its timer | [`Recovery::deadline`], with the other deadlines |
//! | that time has come | [`Recovery::on_timeout`], then the tokens in [`Fates`], or the probes it asks for |
//! | keys are discarded | [`Recovery::discard_space`] |
//! | it wants to send | [`PathCc::allowance`] |
//!
//! What belongs to a path (round-trip time, congestion window, pacer, ECN) is in [`PathCc`]; what belongs to a packet
//! number space is in [`Space`](super::space::Space).

mod ack_requests;
mod ecn;
mod loss;
mod path_cc;
mod pto;
mod reordering;
mod rtt;

#[cfg(test)]
mod tests;

pub use ack_requests::AckRequests;
pub use ecn::{EcnReports, EcnValidation};
pub use loss::{AckInfo, Fates, Recovery};
pub use path_cc::{Allowance, PathCc, PathId, RoundEnd};
pub use pto::{PtoContext, TimeoutOutcome};
pub use rtt::RttEstimator;
