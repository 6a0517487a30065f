//! UDP sockets of the operating system, with segmentation offload, receive offload and ECN where it has them.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};

use quinn_udp::{EcnCodepoint, TransportErrorPayload, UdpSocketState};
use smallvec::SmallVec;
use tokio::io::Interest;

use super::{RecvMeta, Socket, SocketFuture, Transmit, Unreachable};
use crate::packet::{Buffer, Ecn};

/// So often a datagram is given to the system until it is believed that the error is about this one.
const MAX_ATTEMPTS: u32 = 3;

/// A UDP socket that tokio watches.
pub struct UdpSocket {
    io: tokio::net::UdpSocket,
    /// Replaced by a fresh one when an error has switched offload off in it: it never switches it on again.
    state: RwLock<Arc<UdpSocketState>>,
    /// What the system could do when the socket was made.
    offers_gso: bool,
    gso: bool,
    is_ipv6: bool,
}

/// What the system granted of the buffers that were asked for.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct GrantedBuffers {
    /// Bytes for datagrams that wait to be read.
    pub receive: usize,
    /// Bytes for datagrams that wait to be sent.
    pub send: usize,
}

impl UdpSocket {
    /// A socket bound to `addr`; bound to an unspecified IPv6 address it speaks IPv4 as well.
    ///
    /// # Errors
    /// The system's.
    pub fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if addr.is_ipv6() {
            let dual_stack = addr.ip().is_unspecified();
            if let Err(error) = socket.set_only_v6(!dual_stack) {
                tracing::debug!(%error, dual_stack, "IPV6_V6ONLY cannot be set");
            }
        }
        socket.bind(&addr.into())?;
        Ok(socket.into())
    }

    /// Takes over a bound socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system's.
    pub fn new(socket: std::net::UdpSocket, gso: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        without_timestamps(&socket);
        if let Err(error) = state.enable_transport_errors((&socket).into()) {
            tracing::debug!(%error, "unreachable peers will only be found by timeout");
        }
        let is_ipv6 = socket.local_addr()?.is_ipv6();
        Ok(Self {
            io: tokio::net::UdpSocket::from_std(socket)?,
            offers_gso: state.max_gso_segments() > 1,
            state: RwLock::new(Arc::new(state)),
            gso,
            is_ipv6,
        })
    }

    /// Asks for larger socket buffers and returns what the system has granted; never makes them smaller.
    pub fn enlarge_buffers(&self, receive: usize, send: usize) -> GrantedBuffers {
        let socket = socket2::SockRef::from(&self.io);
        // Linux reports twice what was asked for, its own bookkeeping included.
        let unit = if cfg!(any(target_os = "linux", target_os = "android")) { 2 } else { 1 };
        let granted = |size: io::Result<usize>| size.unwrap_or(0) / unit;
        if granted(socket.recv_buffer_size()) < receive {
            drop(socket.set_recv_buffer_size(receive));
        }
        if granted(socket.send_buffer_size()) < send {
            drop(socket.set_send_buffer_size(send));
        }
        GrantedBuffers {
            receive: granted(socket.recv_buffer_size()),
            send: granted(socket.send_buffer_size()),
        }
    }

    fn state(&self) -> Arc<UdpSocketState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn receive(&self, buffers: &mut [Buffer], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let mut slices: SmallVec<[IoSliceMut<'_>; quinn_udp::BATCH_SIZE]> = buffers
            .iter_mut()
            .take(quinn_udp::BATCH_SIZE.min(meta.len()))
            .map(|buffer| IoSliceMut::new(buffer.as_mut()))
            .collect();
        let mut infos = [quinn_udp::RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let filled = self.state().recv((&self.io).into(), &mut slices, &mut infos)?;
        for (meta, info) in meta.iter_mut().zip(infos.iter().take(filled)) {
            *meta = RecvMeta {
                remote: canonical(info.addr),
                local_ip: info.dst_ip.map(|ip| ip.to_canonical()),
                ecn: info.ecn.and_then(|ecn| Ecn::from_bits(ecn as u8)),
                len: info.len,
                segment_size: info.stride.max(1),
            };
        }
        Ok(filled)
    }

    fn send(&self, transmit: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        let state = self.state();
        self.io.try_io(Interest::WRITABLE, || {
            let mut attempts = 0;
            loop {
                attempts += 1;
                match state.try_send((&self.io).into(), transmit) {
                    // Perhaps a report about an earlier datagram, to somebody else, or forged: this one was not sent yet.
                    Err(error)
                        if attempts < MAX_ATTEMPTS
                            && (is_unreachable(error.kind()) || is_too_long(&error)) => {}
                    result => return result,
                }
            }
        })
    }

    /// The address as this socket's family writes it.
    fn map(&self, ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V4(v4) if self.is_ipv6 => v4.to_ipv6_mapped().into(),
            ip => ip,
        }
    }
}

impl Socket for UdpSocket {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // An error of an earlier send can come up here, once per report: bounded, because anybody can cause it.
        for _ in 0..16 {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.io.try_io(Interest::READABLE, || self.receive(buffers, meta)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_transient(&error) => {}
                result => return Poll::Ready(result),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut destination = transmit.remote;
        if self.is_ipv6 && destination.is_ipv4() {
            destination = SocketAddr::new(self.map(destination.ip()), destination.port());
        }
        self.send(&quinn_udp::Transmit {
            destination,
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents: transmit.contents,
            segment_size: (transmit.contents.len() > transmit.segment_size).then_some(transmit.segment_size),
            src_ip: transmit.local_ip.map(|ip| self.map(ip)),
        })
    }

    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
        Box::pin(async move { self.io.writable().await })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_send_segments(&self) -> usize {
        if self.gso && self.offers_gso { self.state().max_gso_segments() } else { 1 }
    }

    fn may_fragment(&self) -> bool {
        self.state().may_fragment()
    }

    fn receive_buffer_size(&self) -> usize {
        // Without offload a buffer holds one datagram, and none larger than this comes by.
        if self.state().gro_segments() > 1 { 65_535 } else { 9 << 10 }
    }

    fn unreachable(self: Arc<Self>) -> SocketFuture<Unreachable> {
        Box::pin(async move {
            loop {
                if self.io.ready(Interest::ERROR).await.is_err() {
                    return std::future::pending().await;
                }
                let report = self.io.try_io(Interest::ERROR, || {
                    self.state()
                        .recv_transport_error((&self.io).into())?
                        .ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))
                });
                if let Ok(report) = report
                    && matches!(report.payload, TransportErrorPayload::Unreachable)
                {
                    let kind = io::Error::from_raw_os_error(report.raw_errno).kind();
                    let reporter = report.addr.map(|addr| addr.ip().to_canonical());
                    return Unreachable { reporter, kind };
                }
            }
        })
    }

    fn recover(&self) {
        if !self.offers_gso || self.state().max_gso_segments() > 1 {
            return;
        }
        match UdpSocketState::new((&self.io).into()) {
            Ok(fresh) => {
                without_timestamps(&self.io);
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
            }
            Err(error) => tracing::debug!(%error, "segmentation offload stays off"),
        }
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("local_addr", &self.io.local_addr().ok()).finish_non_exhaustive()
    }
}

/// Without the IPv6 form of an IPv4 address, and without the flow label and scope that come with it.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match (addr, addr.ip().to_canonical()) {
        (SocketAddr::V6(_), ip @ IpAddr::V4(_)) => SocketAddr::new(ip, addr.port()),
        _ => addr,
    }
}

/// Turns off the receive timestamps that quinn-udp turns on: together with GRO its buffer for control messages is too
/// short for them, and what the kernel cuts off is the ECN mark.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn without_timestamps(socket: &impl std::os::fd::AsFd) {
    if let Err(error) =
        nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::ReceiveTimestampns, &false)
    {
        tracing::debug!(%error, "receive timestamps stay on: ECN marks may get lost");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn without_timestamps<T>(_: &T) {}

/// Errors that the system reports about a peer, not about the socket.
pub(crate) fn is_unreachable(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable
    )
}

/// True if the system takes no datagram, or batch, as long as that.
pub(crate) fn is_too_long(error: &io::Error) -> bool {
    quinn_udp::is_msg_size_err(error)
}

/// Errors of receiving after which receiving goes on: nearly all. A forged ICMP message can make the system report many
/// kinds of error for a packet that was sent; only the use of a socket that cannot receive is the end.
fn is_transient(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use crate::packet::BufferPool;

    async fn socket(addr: impl Into<IpAddr>) -> Arc<UdpSocket> {
        let bound = UdpSocket::bind(SocketAddr::new(addr.into(), 0)).unwrap();
        let socket = Arc::new(UdpSocket::new(bound, true).unwrap());
        socket.clone().writable().await.unwrap();
        socket
    }

    // covers: R9000-14-02 R9000-14-03 R9000-14.2.1-01 R9000-14.2.1-06
    /// On Linux the state sets IP_PMTUDISC_PROBE: the DF bit, and no heed to what the kernel makes of ICMP.
    #[tokio::test]
    async fn datagrams_are_never_sent_in_fragments() {
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let Ok(bound) = UdpSocket::bind(SocketAddr::new(ip, 0)) else { continue };
            let a = UdpSocket::new(bound, true).unwrap();
            assert!(!a.may_fragment());
            a.recover();
            assert!(!a.may_fragment());
        }
    }

    #[tokio::test]
    async fn a_datagram_as_large_as_udp_allows_crosses_loopback_and_a_larger_one_is_too_long() {
        let (a, b) = (socket(Ipv4Addr::LOCALHOST).await, socket(Ipv4Addr::LOCALHOST).await);
        let remote = b.local_addr().unwrap();
        let contents = vec![7; 65_508];
        let transmit = |len: usize| Transmit {
            remote,
            local_ip: None,
            ecn: None,
            contents: &contents[..len],
            segment_size: len,
        };
        a.try_send(&transmit(65_507)).unwrap();
        assert_eq!(receive(&b, 1).await[0].0.len, 65_507);
        assert!(is_too_long(&a.try_send(&transmit(65_508)).unwrap_err()));
    }

    async fn receive(socket: &UdpSocket, datagrams: usize) -> Vec<(RecvMeta, Vec<u8>)> {
        let pool = BufferPool::new(socket.receive_buffer_size(), 4);
        let mut received: Vec<(RecvMeta, Vec<u8>)> = Vec::new();
        let count = |received: &[(RecvMeta, Vec<u8>)]| -> usize {
            received.iter().map(|(meta, _)| meta.len.div_ceil(meta.segment_size)).sum()
        };
        while count(&received) < datagrams {
            let mut buffers: Vec<Buffer> = (0..4).map(|_| pool.take()).collect();
            let mut meta = [RecvMeta::default(); 4];
            let filled =
                std::future::poll_fn(|cx| socket.poll_recv(cx, &mut buffers, &mut meta)).await.unwrap();
            for (meta, buffer) in meta.iter().zip(&buffers).take(filled) {
                received.push((*meta, buffer.as_ref()[..meta.len].to_vec()));
            }
        }
        received
    }

    #[tokio::test]
    async fn a_batch_crosses_loopback_with_its_ecn_mark() {
        let (a, b) = (socket(Ipv4Addr::LOCALHOST).await, socket(Ipv4Addr::LOCALHOST).await);
        let contents: Vec<u8> = (0..10_u32 * 1200 + 700).map(|i| (i / 1200) as u8).collect();
        let segments = a.max_send_segments();
        let step = if segments > 1 { contents.len() } else { 1200 };
        for part in contents.chunks(step) {
            let remote = b.local_addr().unwrap();
            a.try_send(&Transmit {
                remote,
                local_ip: None,
                ecn: Some(Ecn::Ect0),
                contents: part,
                segment_size: 1200,
            })
            .unwrap();
        }
        let received = receive(&b, 11).await;
        assert!(received.iter().all(|(meta, _)| meta.ecn == Some(Ecn::Ect0)));
        assert!(received.iter().all(|(meta, _)| meta.remote == a.local_addr().unwrap()));
        let bytes: Vec<u8> = received.into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(bytes, contents);
    }

    #[tokio::test]
    async fn a_dual_stack_socket_shows_ipv4_peers_as_ipv4() {
        let v4 = socket(Ipv4Addr::LOCALHOST).await;
        let Ok(bound) = UdpSocket::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))) else { return };
        let dual = Arc::new(UdpSocket::new(bound, true).unwrap());
        dual.clone().writable().await.unwrap();
        let transmit = |remote, local_ip, contents| Transmit {
            remote,
            local_ip,
            ecn: Some(Ecn::Ect0),
            contents,
            segment_size: 1200,
        };
        let port = dual.local_addr().unwrap().port();
        v4.try_send(&transmit((Ipv4Addr::LOCALHOST, port).into(), None, b"to")).unwrap();
        let (meta, _) = receive(&dual, 1).await.remove(0);
        assert_eq!(meta.remote, v4.local_addr().unwrap());
        assert_eq!(meta.local_ip, Some(Ipv4Addr::LOCALHOST.into()));
        dual.try_send(&transmit(meta.remote, meta.local_ip, b"fro")).unwrap();
        let (meta, bytes) = receive(&v4, 1).await.remove(0);
        assert_eq!((meta.remote.port(), &bytes[..], meta.ecn), (port, &b"fro"[..], Some(Ecn::Ect0)));
    }

    #[tokio::test]
    async fn an_error_about_one_peer_costs_no_datagram_to_another() {
        let (a, b) = (socket(Ipv4Addr::LOCALHOST).await, socket(Ipv4Addr::LOCALHOST).await);
        let nobody = {
            let gone = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            gone.local_addr().unwrap()
        };
        let transmit =
            |remote| Transmit { remote, local_ip: None, ecn: None, contents: b"x", segment_size: 1200 };
        for _ in 0..20 {
            a.try_send(&transmit(nobody)).unwrap();
            a.try_send(&transmit(b.local_addr().unwrap())).unwrap();
        }
        assert_eq!(receive(&b, 20).await.iter().map(|(meta, _)| meta.len).sum::<usize>(), 20);
        if cfg!(target_os = "linux") {
            let report = tokio::time::timeout(Duration::from_secs(5), a.clone().unreachable()).await.unwrap();
            assert_eq!(report.reporter, Some(Ipv4Addr::LOCALHOST.into()));
            assert_eq!(report.kind, io::ErrorKind::ConnectionRefused);
        }
        b.try_send(&transmit(a.local_addr().unwrap())).unwrap();
        assert_eq!(receive(&a, 1).await.len(), 1, "receiving goes on as well");
    }

    /// What an ICMP message that anybody can forge makes of a datagram sent before (Linux: `icmp_err_convert`, `icmpv6`).
    #[cfg(target_os = "linux")]
    #[test]
    fn no_report_about_a_peer_is_the_end_of_a_socket() {
        use nix::errno::Errno::*;
        for errno in [
            ENETUNREACH,
            EHOSTUNREACH,
            ENOPROTOOPT,
            ECONNREFUSED,
            EMSGSIZE,
            EOPNOTSUPP,
            EHOSTDOWN,
            ENONET,
            EPROTO,
            EACCES,
            ECONNRESET,
            EPERM,
            ENETDOWN,
            ENOMEM,
            ENOBUFS,
        ] {
            assert!(is_transient(&io::Error::from_raw_os_error(errno as i32)), "{errno}");
        }
        assert!(!is_transient(&io::Error::from_raw_os_error(EINVAL as i32)));
    }

    /// Addresses that nothing else uses: the kernel itself believes the message, and tells others for ten minutes.
    #[cfg(target_os = "linux")]
    const FOOLED: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 53, 76, 1), Ipv4Addr::new(127, 53, 76, 2)];

    /// An ICMP message that says that a datagram from one address to another was too long for a router.
    #[cfg(target_os = "linux")]
    fn too_big(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
        let mut message = vec![3, 4, 0, 0, 0, 0, 0x02, 0x40];
        message.extend([0x45, 0, 0x05, 0xc8, 0, 1, 0x40, 0, 64, 17, 0, 0]);
        message.extend([FOOLED[0].octets(), FOOLED[1].octets()].concat());
        message.extend([from.port().to_be_bytes(), to.port().to_be_bytes(), [0x05, 0xb4], [0, 0]].concat());
        let words = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum: u32 = words.sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        message
    }

    /// CVE-2024-53259: the message may be forged, and is about another datagram anyway. The kernel reports it to whoever
    /// sends next.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_forged_message_about_the_mtu_changes_nothing() {
        let icmp = (socket2::Type::from(3), Some(socket2::Protocol::ICMPV4));
        // Only root may; the kernel is the same for others.
        let Ok(forger) = socket2::Socket::new(socket2::Domain::IPV4, icmp.0, icmp.1) else { return };
        let (a, b) = (socket(FOOLED[0]).await, socket(FOOLED[1]).await);
        let (ours, remote) = (a.local_addr().unwrap(), b.local_addr().unwrap());
        let contents = vec![7; 1400];
        let transmit =
            Transmit { remote, local_ip: None, ecn: None, contents: &contents, segment_size: contents.len() };
        for _ in 0..20 {
            forger.send_to(&too_big(ours, remote), &SocketAddr::from((FOOLED[0], 0)).into()).unwrap();
            a.try_send(&transmit).unwrap();
        }
        let received = receive(&b, 20).await;
        assert_eq!(received.iter().map(|(meta, _)| meta.len).sum::<usize>(), 20 * 1400);
    }

    #[tokio::test]
    async fn one_bad_destination_does_not_switch_offload_off_for_good() {
        let a = socket(Ipv4Addr::LOCALHOST).await;
        let before = a.max_send_segments();
        let transmit = Transmit {
            remote: (Ipv4Addr::LOCALHOST, 0).into(),
            local_ip: None,
            ecn: Some(Ecn::Ect0),
            contents: b"x",
            segment_size: 1200,
        };
        a.try_send(&transmit).unwrap_err();
        a.recover();
        assert_eq!(a.max_send_segments(), before);
    }

    #[tokio::test]
    async fn buffers_are_enlarged_and_the_grant_is_told() {
        let a = socket(Ipv4Addr::LOCALHOST).await;
        let granted = a.enlarge_buffers(300_000, 300_000);
        assert!(granted.receive > 0 && granted.send > 0);
        let again = a.enlarge_buffers(1000, 1000);
        assert_eq!(granted, again, "never made smaller");
    }
}
