//! What needs a look behind the handles.

mod incoming;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::mpsc;

use super::lock;
use crate::config::{ClientConfig, EndpointConfig, ServerConfig};
use crate::net::{RecvMeta, Socket, SocketFuture, Transmit};
use crate::packet::Buffer;
use crate::{Connection, ConnectionError, Endpoint};

fn configs() -> (ClientConfig, ServerConfig) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let private = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let server = ServerConfig::with_single_cert(vec![cert.der().clone()], private, &[b"test"]).unwrap();
    (ClientConfig::with_roots(roots, &[b"test"]).unwrap(), server)
}

fn endpoints() -> (Endpoint, Endpoint) {
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let (client_config, server_config) = configs();
    let client = Endpoint::client(addr).unwrap();
    client.set_client_config(client_config);
    (client, Endpoint::server(server_config, addr).unwrap())
}

async fn connect(client: &Endpoint, server: &Endpoint) -> (Connection, Connection) {
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let accepting = async { server.accept().await.unwrap().accept().await.unwrap() };
    let (client, server) = tokio::join!(connecting, accepting);
    (client.unwrap(), server)
}

async fn in_time<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes too long")
}

#[tokio::test]
async fn a_panic_in_one_connections_task_leaves_the_others_running() {
    let (client, server) = endpoints();
    let (a, at_server) = in_time(connect(&client, &server)).await;
    let (b, other) = in_time(connect(&client, &server)).await;
    let (mut send, mut recv) = a.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    let (mut back, mut forth) = in_time(at_server.accept_bi()).await.unwrap();
    let reading = tokio::spawn(async move {
        forth.read_to_end(100).await.unwrap_err();
    });
    let opening = tokio::spawn({
        let connection = at_server.clone();
        async move { connection.accept_uni().await.unwrap_err() }
    });
    tokio::task::yield_now().await;

    at_server.shared().command(|commands| commands.panic = true);
    assert_eq!(in_time(at_server.closed()).await, ConnectionError::TaskLost);
    in_time(reading).await.unwrap();
    assert_eq!(in_time(opening).await.unwrap(), ConnectionError::TaskLost);
    assert!(back.write_all(b"x").await.is_err() && at_server.open_bi().await.is_err());

    let (mut send, _recv) = b.open_bi().await.unwrap();
    send.write_all(b"still here").await.unwrap();
    drop(send.finish());
    let (_back, mut forth) = in_time(other.accept_bi()).await.unwrap();
    assert_eq!(in_time(forth.read_to_end(100)).await.unwrap(), b"still here");
    let _third = in_time(connect(&client, &server)).await;

    // Its peer hears of it as soon as it sends something, were it an acknowledgment that was due.
    drop((back, send));
    if let Ok(mut send) = a.open_uni().await {
        drop(send.write_all(b"anybody?").await);
    }
    assert_eq!(in_time(a.closed()).await, ConnectionError::Reset);
    assert!(in_time(recv.read_chunk(9)).await.is_err());
}

#[tokio::test]
async fn a_closed_connection_leaves_no_trace() {
    let (client, server) = endpoints();
    let weak = {
        let (a, b) = in_time(connect(&client, &server)).await;
        let mut send = a.open_uni().await.unwrap();
        send.write_all(b"nobody accepts this").await.unwrap();
        let _unused = b.open_bi().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let weak = [&a, &b].map(|handle| std::sync::Arc::downgrade(handle.shared()));
        drop((send, a));
        in_time(b.closed()).await;
        weak
    };
    in_time(async { tokio::join!(client.wait_idle(), server.wait_idle()) }).await;
    for shared in weak {
        in_time(async {
            while shared.strong_count() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    let routes = || client.routes().is_empty() && server.routes().is_empty();
    in_time(async {
        while !routes() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A socket that receives what the test hands in, and keeps what is sent. Without anybody to hand something in it fails.
#[derive(Debug)]
struct Wire {
    arrived: Mutex<mpsc::UnboundedReceiver<(SocketAddr, Vec<u8>)>>,
    sent: Mutex<Vec<Vec<u8>>>,
    /// Where what arrives was sent to.
    local_ip: Option<IpAddr>,
}

impl Wire {
    fn new() -> (mpsc::UnboundedSender<(SocketAddr, Vec<u8>)>, Arc<Self>) {
        Self::at(None)
    }

    fn at(local_ip: Option<IpAddr>) -> (mpsc::UnboundedSender<(SocketAddr, Vec<u8>)>, Arc<Self>) {
        let (arrive, arrived) = mpsc::unbounded_channel();
        (arrive, Arc::new(Self { arrived: Mutex::new(arrived), sent: Mutex::default(), local_ip }))
    }

    fn sent(&self) -> usize {
        lock(&self.sent).len()
    }
}

impl Socket for Wire {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some((remote, datagram)) = std::task::ready!(lock(&self.arrived).poll_recv(cx)) else {
            return Poll::Ready(Err(io::ErrorKind::InvalidInput.into()));
        };
        buffers[0].as_mut()[..datagram.len()].copy_from_slice(&datagram);
        let (len, segment_size) = (datagram.len(), datagram.len());
        meta[0] = RecvMeta { remote, local_ip: self.local_ip, len, segment_size, ecn: None };
        Poll::Ready(Ok(1))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        lock(&self.sent).extend(transmit.contents.chunks(transmit.segment_size).map(<[u8]>::to_vec));
        Ok(())
    }

    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 1).into())
    }
}

#[tokio::test]
async fn port_zero_and_empty_datagrams_are_dropped_before_anything_looks_at_them() {
    let (arrive, wire) = Wire::new();
    let (_, server_config) = configs();
    let endpoint = Endpoint::builder().server(server_config).socket(wire.clone()).unwrap();
    // Of a version that nobody speaks: worth an answer, if it came from somewhere.
    let mut datagram = vec![0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 3, 1, 2, 3, 2, 8, 9];
    datagram.resize(1200, 0);
    arrive.send(((Ipv4Addr::LOCALHOST, 0).into(), datagram.clone())).unwrap();
    arrive.send(((Ipv4Addr::LOCALHOST, 9).into(), Vec::new())).unwrap();
    let settled = |malformed: u64, sent: usize| {
        let (endpoint, wire) = (&endpoint, &wire);
        in_time(async move {
            while endpoint.stats().malformed < malformed || wire.sent() < sent {
                tokio::task::yield_now().await;
            }
        })
    };
    settled(2, 0).await;
    assert_eq!(wire.sent(), 0);
    arrive.send(((Ipv4Addr::LOCALHOST, 9).into(), datagram)).unwrap();
    settled(2, 1).await;
    assert_eq!(endpoint.stats().malformed, 2);
}

/// A socket on which empty datagrams arrive without end, as fast as they are read.
#[derive(Debug, Default)]
struct Void {
    polls: std::sync::atomic::AtomicU64,
}

impl Socket for Void {
    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.polls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let filled = buffers.len().min(meta.len());
        for meta in &mut meta[..filled] {
            let remote = (Ipv4Addr::LOCALHOST, 9).into();
            *meta = RecvMeta { remote, local_ip: None, len: 0, segment_size: 1, ecn: None };
        }
        Poll::Ready(Ok(filled))
    }

    fn try_send(&self, _: &Transmit<'_>) -> io::Result<()> {
        Ok(())
    }

    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 1).into())
    }
}

/// CVE-2026-11352: an empty datagram is work like any other, so that others get their turn. All tasks share one thread.
#[tokio::test]
async fn empty_datagrams_without_end_leave_room_for_others() {
    let void = Arc::new(Void::default());
    let (_, server_config) = configs();
    let flooded = Endpoint::builder().server(server_config).socket(void.clone()).unwrap();
    let (client, server) = endpoints();
    let (a, b) = in_time(connect(&client, &server)).await;
    let mut send = a.open_uni().await.unwrap();
    send.write_all(b"in between").await.unwrap();
    drop(send.finish());
    let mut recv = in_time(b.accept_uni()).await.unwrap();
    assert_eq!(in_time(recv.read_to_end(100)).await.unwrap(), b"in between");
    let polls = void.polls.load(std::sync::atomic::Ordering::Relaxed);
    let counted = flooded.stats().malformed;
    assert!(polls > 1 && counted >= 32 * (polls - 1), "{counted} in {polls} turns");
}

/// The datagrams that a client begins with.
async fn first_flight(config: &ClientConfig) -> Vec<Vec<u8>> {
    let (_arrive, wire) = Wire::new();
    let client = Endpoint::builder().client(config.clone()).socket(wire.clone()).unwrap();
    let _connecting = client.connect((Ipv4Addr::LOCALHOST, 9).into(), "localhost").unwrap();
    in_time(async {
        while wire.sent() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    lock(&wire.sent).clone()
}

#[tokio::test]
async fn what_an_incoming_connection_has_looked_at_makes_room_for_more() {
    let (arrive, wire) = Wire::new();
    let (client_config, server_config) = configs();
    let config = EndpointConfig::builder().incoming_buffer_size(4096).build().unwrap();
    let endpoint = Endpoint::builder().config(config).server(server_config).socket(wire).unwrap();
    let initial = first_flight(&client_config).await[0].clone();
    let remote = (Ipv4Addr::LOCALHOST, 9).into();
    arrive.send((remote, initial.clone())).unwrap();
    let mut incoming = in_time(endpoint.accept()).await.unwrap();
    for _ in 0..10 {
        arrive.send((remote, initial.clone())).unwrap();
        arrive.send((remote, initial.clone())).unwrap();
        // An empty one is counted when those before it are in the queue.
        let counted = endpoint.stats().malformed;
        arrive.send((remote, Vec::new())).unwrap();
        in_time(async {
            while endpoint.stats().malformed == counted {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(endpoint.stats().overflowed, 0);
        let _ = incoming.client_hello();
    }
}

#[tokio::test]
async fn a_socket_that_fails_ends_all_connections_over_it() {
    let (arrive, wire) = Wire::new();
    let (client_config, server_config) = configs();
    let builder = Endpoint::builder().client(client_config).server(server_config);
    let endpoint = builder.socket(wire).unwrap();
    let remote: SocketAddr = (Ipv4Addr::LOCALHOST, 9).into();
    let connecting = endpoint.connect(remote, "localhost").unwrap();
    let accepting = tokio::spawn({
        let endpoint = endpoint.clone();
        async move { endpoint.accept().await.is_none() }
    });
    tokio::task::yield_now().await;
    drop(arrive);
    assert_eq!(in_time(connecting).await, Err(ConnectionError::TaskLost));
    assert!(in_time(accepting).await.unwrap());
    in_time(endpoint.wait_idle()).await;
    assert!(endpoint.connect(remote, "localhost").is_err());
}

#[tokio::test]
async fn what_is_sent_to_many_is_not_answered_and_one_client_on_two_sockets_is_one() {
    let (client_config, server_config) = configs();
    let remote: SocketAddr = (Ipv4Addr::LOCALHOST, 9).into();
    let initial = first_flight(&client_config).await[0].clone();
    for many in ["255.255.255.255", "224.0.0.1", "ff02::1"] {
        let (arrive, wire) = Wire::at(Some(many.parse().unwrap()));
        let builder = Endpoint::builder().server(server_config.clone());
        let endpoint = builder.socket(wire.clone()).unwrap();
        arrive.send((remote, initial.clone())).unwrap();
        in_time(async {
            while endpoint.stats().malformed == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!((endpoint.connections(), wire.sent()), (0, 0));
    }
    let (arrive, wire) = Wire::new();
    let (arrive_too, further) = Wire::new();
    let endpoint = Endpoint::builder().server(server_config).socket(wire.clone()).unwrap();
    endpoint.add_socket(further.clone() as Arc<dyn Socket>).unwrap();
    arrive.send((remote, initial.clone())).unwrap();
    arrive_too.send((remote, initial)).unwrap();
    // Counted when those before it are in the queue.
    arrive.send((remote, Vec::new())).unwrap();
    arrive_too.send((remote, Vec::new())).unwrap();
    in_time(async {
        while endpoint.stats().malformed < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    in_time(endpoint.accept()).await.unwrap().refuse();
    assert_eq!(wire.sent() + further.sent(), 1);
    let next = tokio::time::timeout(Duration::from_millis(20), endpoint.accept()).await;
    assert!(next.is_err(), "the other copy was of the same client");
}
