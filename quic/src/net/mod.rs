//! Sockets: what the driver needs of one, and the UDP sockets of the operating system.
//!
//! | who | calls |
//! |---|---|
//! | the endpoint task, alone | [`Socket::poll_recv`], [`Socket::unreachable`], [`Socket::recover`] |
//! | every task | [`Socket::try_send`], [`Socket::writable`] |

#[cfg(any(test, feature = "sim"))]
pub(crate) mod sim;
#[cfg(feature = "tokio")]
mod source;
#[cfg(feature = "tokio")]
mod udp;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::packet::{Buffer, Ecn};
#[cfg(feature = "tokio")]
pub use source::SocketSource;
#[cfg(feature = "tokio")]
pub(crate) use source::UdpOptions;
#[cfg(feature = "tokio")]
pub use udp::{GrantedBuffers, UdpSocket};
#[cfg(feature = "tokio")]
pub(crate) use udp::{is_too_long, is_unreachable};

/// A future that a socket hands out.
pub type SocketFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sends and receives datagrams for an endpoint.
///
/// The system's UDP sockets come with the crate; another implementation can carry datagrams over something else, for
/// example the simulated network of the feature `sim`. Give it to an endpoint with `EndpointBuilder::socket`.
pub trait Socket: fmt::Debug + Send + Sync + 'static {
    /// Receives into the first buffers, says in `meta` what each holds, and returns how many were filled: at
    /// least one. The buffers keep their length; those of [`Socket::receive_buffer_size`] are long enough.
    ///
    /// # Errors
    /// Only those after which the socket is of no use any more.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>>;

    /// Sends, or fails, at once.
    ///
    /// # Errors
    /// `WouldBlock` if the socket's buffer is full: wait for [`Socket::writable`]. Any other error means that nothing
    /// was sent.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()>;

    /// Resolves when it is worth trying to send again. Any number of tasks may wait.
    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>>;

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// The system's.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// How many datagrams [`Socket::try_send`] takes at once, at present.
    fn max_send_segments(&self) -> usize {
        1
    }

    /// True if datagrams may be sent in fragments: QUIC then keeps to the size it begins with (RFC 9000 §14).
    fn may_fragment(&self) -> bool {
        false
    }

    /// How long the buffers for [`Socket::poll_recv`] need to be, bytes.
    fn receive_buffer_size(&self) -> usize {
        65_535
    }

    /// Resolves with the next address that the system reports unreachable. It is a hint: anybody can forge it.
    fn unreachable(self: Arc<Self>) -> SocketFuture<Unreachable> {
        Box::pin(std::future::pending())
    }

    /// Tries again what errors switched off. Called at most once a minute.
    fn recover(&self) {}
}

/// What one filled buffer holds: one or more datagrams from one peer.
#[derive(Debug, Copy, Clone)]
pub struct RecvMeta {
    /// Where they came from. IPv4 addresses are never mapped to IPv6.
    pub remote: SocketAddr,
    /// The address they were sent to, where the system tells it.
    pub local_ip: Option<IpAddr>,
    /// The ECN mark of all of them.
    pub ecn: Option<Ecn>,
    /// Bytes in the buffer.
    pub len: usize,
    /// Length of each datagram but perhaps the last, bytes.
    pub segment_size: usize,
}

impl Default for RecvMeta {
    fn default() -> Self {
        let remote = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { remote, local_ip: None, ecn: None, len: 0, segment_size: 0 }
    }
}

/// Datagrams to send to one peer.
#[derive(Debug, Copy, Clone)]
pub struct Transmit<'a> {
    /// Where they go.
    pub remote: SocketAddr,
    /// The address they leave from, if not the system's choice.
    pub local_ip: Option<IpAddr>,
    /// The ECN mark to leave with.
    pub ecn: Option<Ecn>,
    /// The datagrams, one after the other.
    pub contents: &'a [u8],
    /// Length of each datagram but perhaps the last, bytes.
    pub segment_size: usize,
}

/// The system says that datagrams do not reach this address.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// The host that says so: the peer, or a router on the way.
    pub reporter: Option<IpAddr>,
    /// What is wrong.
    pub kind: io::ErrorKind,
}
