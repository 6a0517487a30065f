//! 0-RTT over real sockets: taken, not taken, and what handles see of it.

#[expect(dead_code, reason = "not all of it is needed here")]
mod common;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use common::{configs, in_time, localhost, pattern};
use gannet::config::{
    ClientConfig, EarlyDataPolicy, RetryPolicy, ServerConfig, ServerVersions, TransportConfig, Version,
};
use gannet::error::ReadToEndError;
use gannet::net::{RecvMeta, Socket, SocketFuture, Transmit, UdpSocket};
use gannet::proto::Buffer;
use gannet::{Connection, Endpoint, ReadError, RecvStream, SendStream, VarInt, WriteError};

/// Answers each stream with what came on it, and says whether that came early.
async fn echo(connection: Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            let data = recv.read_to_end(1 << 20).await?;
            send.write_all(&[u8::from(recv.is_early())]).await.unwrap();
            send.write_all(&data).await.unwrap();
            send.finish().await.unwrap();
            Ok::<_, ReadToEndError>(())
        });
    }
}

fn serve(config: ServerConfig) -> Endpoint {
    let endpoint = Endpoint::server(config, localhost()).unwrap();
    let server = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let (connection, _) = incoming.accept().into_0rtt().unwrap();
            tokio::spawn(echo(connection));
        }
    });
    endpoint
}

async fn ask(connection: &Connection, question: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    send.write_all(question).await.unwrap();
    drop(send.finish());
    (send, recv)
}

/// The answer, and whether the question was early.
async fn answer(recv: &mut RecvStream) -> Result<(Vec<u8>, bool), ReadToEndError> {
    let mut answer = in_time(recv.read_to_end(1 << 20)).await?;
    let early = answer.remove(0) == 1;
    Ok((answer, early))
}

/// A first connection: tickets arrive with the answer.
async fn meet(client: &Endpoint, server: &Endpoint) {
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let connection = in_time(connecting).await.unwrap();
    let (_, mut recv) = ask(&connection, b"hello").await;
    assert_eq!(answer(&mut recv).await.unwrap(), (b"hello".to_vec(), false));
    connection.close(VarInt::default(), b"");
}

struct Setup {
    client: Endpoint,
    client_config: ClientConfig,
    server_config: ServerConfig,
}

fn setup() -> Setup {
    let (client_config, server_config) = configs(TransportConfig::default());
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config.clone());
    Setup { client, client_config, server_config: server_config.early_data(EarlyDataPolicy::new()) }
}

#[tokio::test]
async fn questions_are_answered_before_the_handshake_is_complete() {
    let Setup { client, server_config, .. } = setup();
    let server = serve(server_config);
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    drop(connecting.into_0rtt().expect_err("nothing is known yet"));
    meet(&client, &server).await;
    for _ in 0..3 {
        let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
        let (connection, accepted) = connecting.into_0rtt().unwrap();
        let questions: Vec<_> = (0..40).map(|n| pattern(100 * n)).collect();
        let mut asked = Vec::new();
        for question in &questions {
            asked.push(ask(&connection, question).await);
        }
        assert!(in_time(accepted).await);
        for ((_, recv), question) in asked.iter_mut().zip(&questions) {
            let (answer, early) = answer(recv).await.unwrap();
            assert!(answer == *question);
            // What did not fit the window of the first flight came later.
            assert!(early || question.len() > 1_000);
        }
        in_time(connection.handshake_completed()).await.unwrap();
        let stats = connection.stats();
        assert!(stats.early_packets_sent > 0 && connection.handshake_data().unwrap().resumed);
        let (_, mut recv) = ask(&connection, b"late").await;
        assert_eq!(answer(&mut recv).await.unwrap(), (b"late".to_vec(), false));
    }
}

#[tokio::test]
async fn handles_of_streams_that_were_rejected_say_so() {
    let Setup { client, server_config, .. } = setup();
    let server = serve(server_config.clone());
    meet(&client, &server).await;
    let addr = server.local_addr().unwrap();
    // The same sessions, but no early data any more.
    server.set_server_config(server_config.early_data(None)).unwrap();

    let (connection, accepted) = client.connect(addr, "localhost").unwrap().into_0rtt().unwrap();
    let (mut first, mut first_recv) = ask(&connection, b"early").await;
    let (mut second, mut second_recv) = connection.open_bi().await.unwrap();
    let mut third = connection.try_open_uni().unwrap().unwrap();
    second.write_all(&pattern(100_000)).await.unwrap();
    let finished = tokio::spawn(second.finish());
    let blocked = tokio::spawn(async move {
        let endless = pattern(1 << 20);
        loop {
            if let Err(error) = third.write_all(&endless).await {
                return (third, error);
            }
        }
    });
    let reading = tokio::spawn(async move { second_recv.read_to_end(10).await });
    assert!(!in_time(accepted).await);

    let rejected = ReadToEndError::Read(ReadError::ZeroRttRejected);
    assert_eq!(in_time(first_recv.read_to_end(10)).await, Err(rejected.clone()));
    assert_eq!(in_time(reading).await.unwrap(), Err(rejected));
    assert_eq!(in_time(first.finish()).await, Err(WriteError::ZeroRttRejected));
    assert_eq!(in_time(finished).await.unwrap(), Err(WriteError::ZeroRttRejected));
    let (mut third, error) = in_time(blocked).await.unwrap();
    assert_eq!(error, WriteError::ZeroRttRejected);
    assert_eq!(in_time(third.write_all(b"more")).await, Err(WriteError::ZeroRttRejected));
    assert_eq!(third.stopped().await, Ok(None));
    let error = std::io::Error::from(WriteError::ZeroRttRejected);
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    // The connection goes on, with numbers from the beginning.
    let (send, mut recv) = ask(&connection, b"again").await;
    assert_eq!(send.id(), first.id());
    assert_eq!(answer(&mut recv).await.unwrap(), (b"again".to_vec(), false));
    drop((first, second, third, first_recv));
    let (_, mut recv) = ask(&connection, &pattern(1 << 19)).await;
    assert!(answer(&mut recv).await.unwrap().0 == pattern(1 << 19), "no budget was lost");
}

#[tokio::test]
async fn strangers_and_changes_are_met_without_early_data() {
    let Setup { client, server_config, client_config } = setup();
    let server = serve(server_config.clone());
    let addr = server.local_addr().unwrap();
    let outcome = async |config: ServerConfig| {
        meet(&client, &server).await;
        server.set_server_config(config).unwrap();
        let (connection, accepted) = client.connect(addr, "localhost").unwrap().into_0rtt().unwrap();
        let (_send, mut recv) = ask(&connection, b"early").await;
        let accepted = in_time(accepted).await;
        server.set_server_config(server_config.clone()).unwrap();
        assert_eq!(answer(&mut recv).await.is_ok(), accepted);
        accepted
    };
    assert!(outcome(server_config.clone()).await);
    let smaller = TransportConfig::builder().max_concurrent_bidi_streams(1).build().unwrap();
    assert!(!outcome(server_config.clone().transport(smaller)).await);
    let other = EarlyDataPolicy::new().context("other settings");
    assert!(!outcome(server_config.clone().early_data(other)).await);
    let nobody = EarlyDataPolicy::new().max_per_second(0);
    assert!(!outcome(server_config.clone().early_data(nobody)).await);
    let other_sessions = rustls::server::ServerSessionMemoryCache::new(10);
    assert!(!outcome(server_config.clone().session_store(other_sessions)).await);
    assert!(outcome(server_config.clone().use_retry(RetryPolicy::Always)).await, "a Retry is no obstacle");

    // Another name, and a client that does not want to.
    meet(&client, &server).await;
    drop(client.connect(addr, "example.org").unwrap().into_0rtt().expect_err("another name"));
    client.set_client_config(client_config.early_data(false));
    let connecting = client.connect(addr, "localhost").unwrap().into_0rtt().expect_err("switched off");
    assert!(in_time(connecting).await.unwrap().handshake_data().unwrap().resumed);
}

#[tokio::test]
async fn a_server_may_wait_for_the_handshake() {
    let Setup { client, server_config, client_config } = setup();
    let server = serve(server_config.clone());
    meet(&client, &server).await;
    let addr = server.local_addr().unwrap();
    // Who awaits the connection gets early streams all the same, and later.
    let (connection, _) = client.connect(addr, "localhost").unwrap().into_0rtt().unwrap();
    let (_send, mut recv) = ask(&connection, b"early").await;
    assert_eq!(answer(&mut recv).await.unwrap(), (b"early".to_vec(), true));

    // Who has nothing to do with early data may still not want to wait.
    client.set_client_config(client_config.session_store(None));
    let server = Endpoint::server(server_config, localhost()).unwrap();
    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let serving = async {
        let (connection, taken) = server.accept().await.unwrap().accept().into_0rtt().unwrap();
        connection.handshake_completed().await.unwrap();
        (connection.handshake_data().unwrap(), taken.await)
    };
    let (client, (data, taken)) = in_time(async { tokio::join!(connecting, serving) }).await;
    assert!(client.is_ok() && !data.resumed && !taken);
}

#[tokio::test]
async fn early_handles_may_be_dropped_at_any_time() {
    let Setup { client, server_config, .. } = setup();
    let server = serve(server_config);
    let addr = server.local_addr().unwrap();
    for step in 0..6 {
        meet(&client, &server).await;
        let connecting = client.connect(addr, "localhost").unwrap();
        if step == 0 {
            continue;
        }
        let (connection, accepted) = connecting.into_0rtt().unwrap();
        if step == 1 {
            continue;
        }
        let (send, mut recv) = ask(&connection, b"early").await;
        match step {
            2 => drop((connection, accepted, send, recv)),
            3 => {
                // The streams hold the connection.
                drop((connection, accepted));
                assert_eq!(answer(&mut recv).await.unwrap().0, b"early");
            }
            4 => {
                drop((connection, send, recv));
                // Over before it was taken, or taken before it was over.
                in_time(accepted).await;
            }
            _ => {
                connection.close(VarInt::default(), b"");
                assert!(answer(&mut recv).await.is_err());
            }
        }
    }
    meet(&client, &server).await;
}

type Meanwhile = Box<dyn FnMut() + Send>;

/// A socket with something that happens between a datagram's arrival and the turn of the connection that it is for.
struct Meddled {
    inner: UdpSocket,
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Meddled {
    fn new() -> Arc<Self> {
        let inner = UdpSocket::new(UdpSocket::bind(localhost()).unwrap(), true).unwrap();
        Arc::new(Self { inner, meanwhile: Mutex::default() })
    }

    fn set(&self, meanwhile: Option<Meanwhile>) {
        *self.meanwhile.lock().unwrap() = meanwhile;
    }
}

impl fmt::Debug for Meddled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Socket for Meddled {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [Buffer],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, buffers, meta);
        if received.is_ready()
            && let Some(meanwhile) = &mut *self.meanwhile.lock().unwrap()
        {
            meanwhile();
        }
        received
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn writable(self: Arc<Self>) -> SocketFuture<io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// All that comes on the first streams of both kinds that a server sees, and on further ones, until the connection ends.
async fn hear(connection: Connection) -> Vec<(u64, Vec<u8>)> {
    let mut heard = Vec::new();
    loop {
        let mut recv = tokio::select! {
            Ok((_, recv)) = connection.accept_bi() => recv,
            Ok(recv) = connection.accept_uni() => recv,
            else => break,
        };
        let data = recv.read_to_end(100).await.unwrap_or_else(|error| error.to_string().into_bytes());
        heard.push((recv.id().as_u64(), data));
    }
    heard.sort();
    heard
}

/// New streams have the numbers of those that were rejected. What is done to these while the news is on its way is not done
/// to the others.
async fn meddle_with_rejected_streams(refusing: impl FnOnce(ServerConfig) -> ServerConfig) {
    let Setup { client_config, server_config, .. } = setup();
    let server_config = server_config.versions(ServerVersions::new(&[Version::V1]).unwrap());
    let socket = Meddled::new();
    let client = Endpoint::builder().socket(socket.clone()).unwrap();
    client.set_client_config(client_config);
    let server = Endpoint::server(server_config.clone(), localhost()).unwrap();
    let serving = async { echo(server.accept().await.unwrap().accept().await.unwrap()).await };
    in_time(async { tokio::join!(meet(&client, &server), serving) }).await;
    server.set_server_config(refusing(server_config)).unwrap();

    let connecting = client.connect(server.local_addr().unwrap(), "localhost").unwrap();
    let (connection, accepted) = connecting.into_0rtt().unwrap();
    let (mut written, _recv) = connection.open_bi().await.unwrap();
    written.write_all(b"early").await.unwrap();
    let (mut finished, mut dropped) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let mut send = connection.open_uni().await.unwrap();
        send.write_all(b"early").await.unwrap();
        finished.push(send);
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(b"early").await.unwrap();
        dropped.push((send, recv));
    }
    socket.set(Some(Box::new(move || {
        let mut cx = Context::from_waker(Waker::noop());
        let _ = pin!(written.write_all(b"tail")).poll(&mut cx);
        if let Some(mut send) = finished.pop() {
            drop(send.finish());
        }
        drop(dropped.pop());
    })));
    let hearing = async { hear(server.accept().await.unwrap().accept().await.unwrap()).await };
    let going_on = async {
        assert!(!accepted.await);
        for question in [b"first", b"other"] {
            let (mut send, _recv) = connection.open_bi().await.unwrap();
            send.write_all(question).await.unwrap();
            send.finish().await.unwrap();
            let mut send = connection.open_uni().await.unwrap();
            send.write_all(question).await.unwrap();
            send.finish().await.unwrap();
        }
        connection.close(VarInt::default(), b"");
    };
    let (heard, ()) = in_time(async { tokio::join!(hearing, going_on) }).await;
    socket.set(None);
    let expected = [(0, b"first"), (2, b"first"), (4, b"other"), (6, b"other")];
    assert_eq!(heard, expected.map(|(id, data)| (id, data.to_vec())));
}

// covers: R9001-4.6.2-03
#[tokio::test]
async fn what_is_done_to_rejected_streams_does_not_reach_new_ones() {
    meddle_with_rejected_streams(|config| config.early_data(None)).await;
}

// covers: R9001-4.6.2-03
#[tokio::test]
async fn what_is_done_to_streams_of_another_version_does_not_reach_new_ones() {
    meddle_with_rejected_streams(|config| config.versions(ServerVersions::new(&[Version::V2]).unwrap()))
        .await;
}
