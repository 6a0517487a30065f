//! Where a socket of an endpoint comes from.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Socket, UdpSocket};

/// Where a socket of an endpoint comes from: an address to bind, or a socket that is bound already.
///
/// What takes one takes `impl Into<SocketSource>`: an address or socket as it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum SocketSource {
    /// A new UDP socket bound to this address. An unspecified IPv6 address stands for IPv4 as well; where the system has
    /// no IPv6, the unspecified IPv4 address takes its place.
    Bind(SocketAddr),
    /// A UDP socket that is bound already.
    Udp(std::net::UdpSocket),
    /// Something else that carries datagrams.
    Custom(Arc<dyn Socket>),
}

impl From<SocketAddr> for SocketSource {
    fn from(addr: SocketAddr) -> Self {
        Self::Bind(addr)
    }
}

impl From<std::net::UdpSocket> for SocketSource {
    fn from(socket: std::net::UdpSocket) -> Self {
        Self::Udp(socket)
    }
}

impl From<Arc<dyn Socket>> for SocketSource {
    fn from(socket: Arc<dyn Socket>) -> Self {
        Self::Custom(socket)
    }
}

/// How UDP sockets are set up.
#[derive(Debug, Copy, Clone)]
pub(crate) struct UdpOptions {
    /// Whether several datagrams may leave in one system call.
    pub gso: bool,
    /// Asked of the system for datagrams that wait to be read, bytes.
    pub receive_buffer: usize,
    /// Asked of the system for datagrams that wait to be sent, bytes.
    pub send_buffer: usize,
}

impl SocketSource {
    /// The socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(self, options: UdpOptions) -> io::Result<Arc<dyn Socket>> {
        match self {
            Self::Bind(addr) => take_over(bind(addr)?, options),
            Self::Udp(socket) => take_over(socket, options),
            Self::Custom(socket) => Ok(socket),
        }
    }
}

fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    match UdpSocket::bind(addr) {
        Err(error) if addr.ip().is_unspecified() && addr.is_ipv6() => {
            tracing::debug!(%error, "no IPv6: IPv4 alone");
            UdpSocket::bind(([0, 0, 0, 0], addr.port()).into())
        }
        result => result,
    }
}

fn take_over(socket: std::net::UdpSocket, options: UdpOptions) -> io::Result<Arc<dyn Socket>> {
    let UdpOptions { gso, receive_buffer: receive, send_buffer: send } = options;
    let socket = UdpSocket::new(socket, gso)?;
    let granted = socket.enlarge_buffers(receive, send);
    tracing::info!(
        addr = ?socket.local_addr().ok(),
        receive_buffer = granted.receive,
        send_buffer = granted.send,
        segments = socket.max_send_segments(),
        "socket bound"
    );
    if granted.receive < receive || granted.send < send {
        tracing::warn!(
            receive,
            send,
            granted_receive = granted.receive,
            granted_send = granted.send,
            "the system grants smaller socket buffers than asked for; on Linux see net.core.rmem_max and wmem_max"
        );
    }
    Ok(Arc::new(socket))
}
