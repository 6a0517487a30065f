//! A virtual network: links that delay, queue, lose, reorder, duplicate and corrupt, and a time that jumps.
//!
//! A run is a function of its seed. The fate of a datagram hashes the seed, the link and the datagram's position on
//! it, never its content: a run does not change because a key, a certificate or a log line did. Nothing here knows
//! QUIC, a runtime or a clock; the protocol core's tests and whole applications run over the same links.
//!
//! | part | does |
//! |---|---|
//! | [`Node`] | one thing that happens to datagrams on a link; a link is a list of them |
//! | [`Network`] | the links, what is on its way, the time |
//! | `Peer`, `run` | for the core's tests: hosts without sockets, and the loop that lets time pass between them |

mod fate;
mod link;
mod log;
mod nat;
mod network;
mod node;
#[cfg(test)]
mod run;

#[cfg(test)]
mod tests;

pub use link::LinkStats;
pub use network::{Datagram, Network};
pub use node::Node;
#[cfg(test)]
pub use run::{End, Peer, run};
#[cfg(feature = "sim")]
pub use {
    link::LinkEnd,
    log::{Event, EventKind},
    node::SharedNode,
};
