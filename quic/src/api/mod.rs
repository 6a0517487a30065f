//! The handles an application holds. They hold no protocol: each call works on a small shared part, and the tasks of the
//! driver do the rest.

mod bi_stream;
mod connecting;
mod connection;
mod early;
mod endpoint;
mod endpoint_stats;
mod incoming;
mod recv_stream;
mod send_stream;
mod unordered;
mod wait;

pub use bi_stream::BiStream;
pub use connecting::Connecting;
pub use connection::{Connection, ConnectionStats, DatagramOptions, DatagramTracker, PathChanges};
pub use early::ZeroRttAccepted;
pub use endpoint::{Endpoint, EndpointBuilder, IncomingConnections};
pub use endpoint_stats::{EndpointStats, TurnedAwayBy};
pub use incoming::{Incoming, RetryError};
pub use recv_stream::RecvStream;
pub use send_stream::SendStream;
pub use unordered::{Chunk, UnorderedRecvStream};

/// Handles go wherever the application likes.
const _: () = {
    const fn shared<T: Send + Sync + 'static>() {}
    shared::<Endpoint>();
    shared::<Incoming>();
    shared::<Connecting>();
    shared::<Connection>();
    shared::<ZeroRttAccepted>();
    shared::<PathChanges>();
    shared::<DatagramTracker>();
    shared::<BiStream>();
    shared::<SendStream>();
    shared::<RecvStream>();
    shared::<UnorderedRecvStream>();
};
