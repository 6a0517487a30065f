//! Clients that come in, and every way to decide about them, over a socket of the test's own.

mod limits;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::{configs, in_time};
use crate::config::{ClientConfig, EndpointConfig, RandomConnectionIds, RetryPolicy};
use crate::crypto::{ResetKey, initial_keys};
use crate::net::{RecvMeta, Socket, SocketFuture, Transmit};
use crate::packet::{Buffer, Burst, ConnectionId, FourTuple, Rng, Side, SocketId, TxBatch};
use crate::proto::{self, ClientArgs, EndpointShared, Output};
use crate::wire::frame::{CloseError, Frame, Frames};
use crate::wire::header::{ProtectedHeader, parse_greased as parse};
use crate::wire::packet_number;
use crate::{Connecting, Endpoint, Incoming, TransportErrorCode, VarInt};

/// A datagram, whom it comes from, and where it was sent to.
type Arrival = (SocketAddr, Option<IpAddr>, Vec<u8>);

/// A socket that receives what the test hands in, and keeps what is sent.
#[derive(Debug)]
struct Wire {
    arrived: Mutex<tokio::sync::mpsc::UnboundedReceiver<Arrival>>,
    sent: Mutex<Vec<(SocketAddr, Vec<u8>)>>,
}

impl Socket for Wire {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let arrived = self.arrived.lock().unwrap().poll_recv(cx);
        let Some((remote, local_ip, datagram)) = std::task::ready!(arrived) else { return Poll::Pending };
        buffers[0].as_mut()[..datagram.len()].copy_from_slice(&datagram);
        let (len, segment_size) = (datagram.len(), datagram.len());
        meta[0] = RecvMeta { remote, local_ip, len, segment_size, ..RecvMeta::default() };
        Poll::Ready(Ok(1))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let datagrams = transmit.contents.chunks(transmit.segment_size);
        self.sent.lock().unwrap().extend(datagrams.map(|datagram| (transmit.remote, datagram.to_vec())));
        Ok(())
    }

    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, 1).into())
    }
}

/// A server on such a socket.
struct Server {
    endpoint: Endpoint,
    wire: Arc<Wire>,
    arrive: tokio::sync::mpsc::UnboundedSender<Arrival>,
    client: ClientConfig,
    shared: EndpointShared,
    rng: Rng,
}

impl Server {
    fn new(config: EndpointConfig) -> Self {
        let (arrive, arrived) = tokio::sync::mpsc::unbounded_channel();
        let wire = Arc::new(Wire { arrived: Mutex::new(arrived), sent: Mutex::default() });
        let (client, server) = configs();
        let builder = Endpoint::builder().config(config).server(server.use_retry(RetryPolicy::Never));
        let endpoint = builder.socket(wire.clone()).unwrap();
        let shared = EndpointShared {
            connection_ids: Arc::new(RandomConnectionIds::default()),
            reset_key: Arc::new(ResetKey::new(&[1; 32])),
        };
        Self { endpoint, wire, arrive, client, shared, rng: Rng::from_u64(1) }
    }

    /// Hands in a datagram, lets everybody act, and returns what was sent to its sender.
    async fn deliver(&self, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.arrive.send((from, None, datagram.to_vec())).unwrap();
        self.settle(from).await
    }

    /// Lets everybody act: all tasks run in this thread, one after the other.
    async fn settle(&self, from: SocketAddr) -> Vec<Vec<u8>> {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let mut sent = self.wire.sent.lock().unwrap();
        let mine = sent.extract_if(.., |(to, _)| *to == from);
        mine.map(|(_, datagram)| datagram).collect()
    }

    fn next_incoming(&self) -> Option<Incoming> {
        match pin!(self.endpoint.accept()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(incoming) => incoming,
            Poll::Pending => None,
        }
    }

    fn client(&mut self) -> Client {
        let path = FourTuple { socket: SocketId(0), local_ip: None, remote: (Ipv4Addr::LOCALHOST, 1).into() };
        let args = ClientArgs {
            versions: &self.client.versions,
            first_flight: &self.client.first_flight,
            path,
            server_name: "localhost",
            tokens: None,
            tls: &self.client.tls,
            resumption: &self.client.resumption,
            config: self.client.transport.clone(),
            endpoint: &self.shared,
            rng: self.rng.fork(),
        };
        let connection = proto::Connection::client(crate::driver::now(), args).unwrap();
        let mut client = Client { connection, path, scid: ConnectionId::EMPTY, initials: Vec::new() };
        client.note_initial();
        client
    }
}

/// A client and its first Initials: the very first, and then the one after a Retry.
struct Client {
    connection: proto::Connection,
    path: FourTuple,
    scid: ConnectionId,
    initials: Vec<(ConnectionId, Vec<u8>)>,
}

impl Client {
    fn note_initial(&mut self) {
        let mut batch = TxBatch::new(10);
        loop {
            match self.connection.poll_output(crate::driver::now(), Some(&mut batch)) {
                Output::Transmit => {
                    let datagram = batch.bytes()[..batch.segment_size()].to_vec();
                    batch.clear();
                    match parse(&datagram, 8).unwrap().header {
                        ProtectedHeader::Initial { dcid, scid, .. } => {
                            self.scid = scid;
                            self.initials.push((dcid, datagram));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                Output::Timeout(_) => return,
                Output::Route(_) | Output::Event(_) => {}
            }
        }
    }

    /// Follows a Retry, unless it has followed one.
    fn on_retry(&mut self, datagram: &[u8]) {
        match parse(datagram, 8).unwrap().header {
            ProtectedHeader::Retry { dcid, .. } => assert_eq!(dcid, self.scid),
            other => panic!("{other:?}"),
        }
        let now = crate::driver::now();
        self.connection.handle_burst(now, Burst::single(now, self.path, None, datagram.to_vec()));
        self.note_initial();
    }

    /// The frames of an Initial that answers the one to `dcid`.
    fn open(&self, dcid: &ConnectionId, datagram: &[u8]) -> Vec<Frame> {
        let partial = parse(datagram, 8).unwrap();
        let ProtectedHeader::Initial { version, dcid: to, .. } = partial.header else {
            panic!("{partial:?}")
        };
        assert_eq!(to, self.scid);
        let keys = initial_keys(version, dcid, Side::Client);
        let mut packet = BytesMut::from(&datagram[..partial.len]);
        let (_, pn, pn_len) = keys.remote.header.unprotect(&mut packet, partial.pn_offset).unwrap();
        let (header, payload) = packet.split_at_mut(partial.pn_offset + pn_len);
        let pn = packet_number::decode(pn, pn_len, 0);
        let len = keys.remote.packet.open(pn, header, payload).expect("sealed for another Initial");
        let mut frames = Frames::new(Bytes::copy_from_slice(&payload[..len]));
        std::iter::from_fn(|| frames.next().unwrap()).collect()
    }

    fn assert_refused(&self, dcid: &ConnectionId, answers: &[Vec<u8>]) {
        assert_eq!(answers.len(), 1);
        let frames = self.open(dcid, &answers[0]);
        assert!(matches!(&frames[..], [Frame::ConnectionClose(close)] if close.error
            == CloseError::Transport { code: TransportErrorCode::CONNECTION_REFUSED, frame_type: None }));
    }
}

#[derive(Debug, Copy, Clone, PartialEq, Eq)]
enum Step {
    /// The client's very first Initial arrives, perhaps again.
    First,
    /// Its newest: the same before a Retry, and the one with the token after it.
    Newest,
    Accept,
    Retry,
    Refuse,
    Ignore,
    Drop,
}

const STEPS: [Step; 7] =
    [Step::First, Step::Newest, Step::Accept, Step::Retry, Step::Refuse, Step::Ignore, Step::Drop];

/// What has become of a destination ID.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
enum Fate {
    #[default]
    Free,
    Waiting,
    Accepted,
}

struct Story {
    client: Client,
    from: SocketAddr,
    fates: HashMap<ConnectionId, Fate>,
    waiting: VecDeque<(ConnectionId, Incoming)>,
    accepted: Vec<Connecting>,
}

impl Story {
    async fn step(&mut self, server: &Server, step: Step) {
        let initial = match step {
            Step::First => self.client.initials.first().cloned(),
            Step::Newest => self.client.initials.last().cloned(),
            _ => return self.decide(server, step).await,
        };
        let (dcid, datagram) = initial.unwrap();
        let answers = server.deliver(self.from, &datagram).await;
        let incoming = server.next_incoming();
        match self.fates.insert(dcid, Fate::Waiting).unwrap_or_default() {
            Fate::Free => {
                let incoming = incoming.expect("a client that nobody knows");
                assert!(answers.is_empty());
                assert_eq!(incoming.remote_address(), self.from);
                let followed_retry = dcid != self.client.initials[0].0;
                assert_eq!(
                    (incoming.is_validated(), incoming.may_retry()),
                    (followed_retry, !followed_retry)
                );
                self.waiting.push_back((dcid, incoming));
            }
            Fate::Waiting => assert!(incoming.is_none() && answers.is_empty()),
            Fate::Accepted => {
                assert!(incoming.is_none());
                self.fates.insert(dcid, Fate::Accepted);
            }
        }
    }

    async fn decide(&mut self, server: &Server, step: Step) {
        let Some((dcid, incoming)) = self.waiting.pop_front() else { return };
        self.fates.insert(dcid, if step == Step::Accept { Fate::Accepted } else { Fate::Free });
        match step {
            Step::Accept => {
                self.accepted.push(incoming.accept());
                let answers = server.settle(self.from).await;
                assert!(!answers.is_empty());
                let frames = self.client.open(&dcid, &answers[0]);
                assert!(frames.iter().any(|frame| matches!(frame, Frame::Crypto(_))));
            }
            Step::Retry if incoming.may_retry() => {
                incoming.retry().unwrap();
                let answers = server.settle(self.from).await;
                assert_eq!(answers.len(), 1);
                self.client.on_retry(&answers[0]);
                assert_eq!(
                    self.client.initials.len(),
                    2,
                    "one Retry is followed, and it was the first that came"
                );
            }
            Step::Retry => {
                let again = incoming.retry().unwrap_err().into_incoming();
                assert!(server.settle(self.from).await.is_empty());
                self.fates.insert(dcid, Fate::Waiting);
                self.waiting.push_front((dcid, again));
            }
            Step::Refuse | Step::Drop => {
                if step == Step::Refuse {
                    incoming.refuse();
                } else {
                    drop(incoming);
                }
                self.client.assert_refused(&dcid, &server.settle(self.from).await);
            }
            _ => {
                incoming.ignore();
                assert!(server.settle(self.from).await.is_empty());
            }
        }
    }
}

/// RUSTSEC-2024-0373: whatever is decided, in whatever order, and however often Initials arrive.
// covers: R9000-17.2.5.1-04 R9000-17.2.5.2-01 R9000-8.1.3-10
#[tokio::test(start_paused = true)]
async fn every_decision_in_every_order_with_duplicates() {
    const LEN: u32 = 4;
    let mut server = Server::new(EndpointConfig::default());
    for n in 0..STEPS.len().pow(LEN) {
        let steps = (0..LEN).map(|at| STEPS[n / STEPS.len().pow(at) % STEPS.len()]);
        let mut story = Story {
            client: server.client(),
            from: (Ipv4Addr::LOCALHOST, 2 + n as u16).into(),
            fates: HashMap::new(),
            waiting: VecDeque::new(),
            accepted: Vec::new(),
        };
        story.step(&server, Step::First).await;
        for step in steps {
            story.step(&server, step).await;
        }
        let from = story.from;
        drop(story);
        server.settle(from).await;
    }
    assert_eq!(server.endpoint.stats().unanswered, 0);
    in_time(server.endpoint.wait_idle()).await;
    in_time(async {
        // Closed connections are remembered for a while.
        while !server.endpoint.routes().is_empty() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_endpoint_refuses_no_more_often_than_it_answers_at_all() {
    let config = EndpointConfig::builder().stateless_answers_per_second(5).build().unwrap();
    let mut server = Server::new(config);
    drop(server.endpoint.close(VarInt::default(), b""));
    let mut refused = 0;
    for n in 0..100 {
        let client = server.client();
        let answers = server.deliver((Ipv4Addr::LOCALHOST, 2 + n).into(), &client.initials[0].1).await;
        if !answers.is_empty() {
            client.assert_refused(&client.initials[0].0, &answers);
            refused += 1;
        }
    }
    assert_eq!((refused, server.endpoint.stats().unanswered), (5, 95));
    assert!(server.endpoint.routes().is_empty());
}

/// A datagram to everybody would be answered by everybody, and one from everybody to them all.
#[tokio::test(start_paused = true)]
async fn what_concerns_a_group_is_dropped() {
    let mut server = Server::new(EndpointConfig::default());
    let one = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let to = |ip: &str| Some(ip.parse::<IpAddr>().unwrap());
    for (n, (from, local_ip, counts)) in [
        (one, to("224.0.0.251"), false),
        (one, to("255.255.255.255"), false),
        (one, to("ff02::1"), false),
        ("224.0.0.251:9".parse().unwrap(), None, false),
        ("255.255.255.255:9".parse().unwrap(), None, false),
        ("[ff02::1]:9".parse().unwrap(), None, false),
        ("0.0.0.0:9".parse().unwrap(), None, false),
        (one, to("192.0.2.1"), true),
    ]
    .into_iter()
    .enumerate()
    {
        let datagram = server.client().initials.remove(0).1;
        server.arrive.send((from, local_ip, datagram)).unwrap();
        assert!(server.settle(from).await.is_empty());
        assert_eq!(server.next_incoming().is_some(), counts, "{from} {local_ip:?}");
        assert_eq!(server.endpoint.stats().malformed, (n as u64 + 1).min(7));
    }
}
