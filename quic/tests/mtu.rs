//! Larger datagrams over real sockets, of which some are narrower than they are.

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use common::{Pair, configs, in_time, localhost, pattern};
use gannet::config::TransportConfig;
use gannet::net::{RecvMeta, Socket, SocketFuture, Transmit, UdpSocket};
use gannet::proto::Buffer;
use gannet::{Connection, Endpoint};

/// A socket on an interface, and on a path, that carry only so much.
#[derive(Debug)]
struct Narrow {
    inner: UdpSocket,
    /// Larger datagrams are refused: EMSGSIZE.
    interface: AtomicUsize,
    /// Larger datagrams are swallowed.
    path: AtomicUsize,
    may_fragment: bool,
    refused: AtomicUsize,
}

impl Narrow {
    fn new(may_fragment: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: UdpSocket::new(UdpSocket::bind(localhost()).unwrap(), true).unwrap(),
            interface: AtomicUsize::new(usize::MAX),
            path: AtomicUsize::new(usize::MAX),
            may_fragment,
            refused: AtomicUsize::new(0),
        })
    }
}

impl Socket for Narrow {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, buffers, meta)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let largest = transmit.segment_size.min(transmit.contents.len());
        if largest > self.interface.load(Ordering::Relaxed) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(io::Error::from_raw_os_error(nix::errno::Errno::EMSGSIZE as i32));
        }
        if largest > self.path.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.try_send(transmit)
    }

    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
        Box::pin(async move {
            std::future::ready(()).await;
            Ok(())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_send_segments(&self) -> usize {
        self.inner.max_send_segments()
    }

    fn may_fragment(&self) -> bool {
        self.may_fragment
    }
}

/// A client on a narrow socket, its connection, and the server's end.
async fn connect(socket: &Arc<Narrow>, bound: u16) -> (Connection, Connection, [Endpoint; 2]) {
    let transport = TransportConfig::builder().loopback_mtu_upper_bound(bound).build().unwrap();
    let (client_config, server_config) = configs(transport);
    let client = Endpoint::builder().socket(socket.clone()).unwrap();
    client.set_client_config(client_config);
    let server = Endpoint::server(server_config, localhost()).unwrap();
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().await.unwrap() };
    let (connection, accepted) = in_time(async { tokio::join!(connecting, accepting) }).await;
    (connection.unwrap(), accepted, [client, server])
}

/// Sends so much and has the other end compare it.
async fn upload(from: &Connection, to: &Connection, len: usize) {
    let data = pattern(len);
    let sending = async {
        let mut stream = from.open_uni().await.unwrap();
        stream.write_all(&data).await.unwrap();
        stream.finish().await.unwrap();
    };
    let receiving = async { to.accept_uni().await.unwrap().read_to_end(len).await.unwrap() };
    let ((), received) = in_time(async { tokio::join!(sending, receiving) }).await;
    assert!(received == data);
}

#[tokio::test]
async fn on_loopback_datagrams_become_as_large_as_udp_allows() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    upload(&client, &server, 4_000_000).await;
    let stats = client.stats();
    assert!(stats.mtu > 1452, "{stats:?}");
}

#[tokio::test]
async fn an_interface_that_shrinks_costs_no_data_and_no_connection() {
    let socket = Narrow::new(false);
    let (client, server, _endpoints) = connect(&socket, 1452).await;
    upload(&client, &server, 100_000).await;
    assert_eq!(client.stats().mtu, 1452);
    socket.interface.store(1300, Ordering::Relaxed);
    upload(&client, &server, 1_000_000).await;
    let stats = client.stats();
    assert!((1200..=1300).contains(&stats.mtu), "{stats:?}");
    assert!(socket.refused.load(Ordering::Relaxed) > 0);
    assert_eq!(client.close_reason(), None);
}

#[tokio::test]
async fn a_probe_that_the_interface_refuses_is_a_lost_probe() {
    let socket = Narrow::new(false);
    socket.interface.store(1400, Ordering::Relaxed);
    let (client, server, _endpoints) = connect(&socket, 1452).await;
    upload(&client, &server, 1_000_000).await;
    let stats = client.stats();
    assert!((1380..=1400).contains(&stats.mtu), "{stats:?}");
    assert_eq!(stats.mtu_black_holes, 0);
}

// covers: R9000-14.2-03
#[tokio::test]
async fn a_path_that_shrinks_costs_no_data_and_no_connection() {
    let socket = Narrow::new(false);
    let (client, server, _endpoints) = connect(&socket, 1452).await;
    upload(&client, &server, 100_000).await;
    socket.path.store(1300, Ordering::Relaxed);
    upload(&client, &server, 300_000).await;
    let stats = client.stats();
    assert!(stats.mtu_black_holes == 1 && stats.mtu <= 1300, "{stats:?}");
}

// covers: R9000-14-02 R9000-14.2-02
#[tokio::test]
async fn a_socket_that_may_fragment_is_not_probed() {
    let (client, server, _endpoints) = connect(&Narrow::new(true), 9000).await;
    upload(&client, &server, 100_000).await;
    let stats = client.stats();
    assert_eq!((stats.mtu, stats.mtu_probes_sent), (1200, 0));
}

#[tokio::test]
async fn a_socket_that_takes_the_place_of_another_is_considered_as_well() {
    for rebind in [true, false] {
        let (client, server, [endpoint, _other]) = connect(&Narrow::new(false), 9000).await;
        in_time(client.handshake_confirmed()).await.unwrap();
        upload(&client, &server, 100_000).await;
        let before = client.stats();
        assert!(before.mtu_probes_sent > 0);
        if rebind {
            endpoint.rebind(Narrow::new(true) as Arc<dyn Socket>).unwrap();
        } else {
            in_time(client.migrate(Narrow::new(true) as Arc<dyn Socket>)).await.unwrap();
        }
        upload(&client, &server, 100_000).await;
        let stats = client.stats();
        assert_eq!((stats.mtu, stats.mtu_probes_sent), (1200, before.mtu_probes_sent));
    }
}
