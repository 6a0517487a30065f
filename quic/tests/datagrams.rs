//! Datagrams over real sockets, and what handles see of them.

#[path = "common/cancelling.rs"]
mod cancelling;
#[expect(dead_code, reason = "not all of it is needed here")]
mod common;

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cancelling::cancelling;
use common::{Pair, configs, in_time, localhost};
use gannet::config::{DatagramPolicy, EarlyDataPolicy, TransportConfig, TransportConfigBuilder};
use gannet::{
    Connection, ConnectionError, DatagramFate, DatagramOptions, Endpoint, SendDatagramError, VarInt,
};

/// What a queue counts for each datagram besides its bytes.
const OVERHEAD: usize = 64;
const LEN: usize = 200;

async fn connect(config: TransportConfigBuilder) -> (Pair, Connection, Connection) {
    let pair = Pair::with(config.build().unwrap());
    let (client, server) = pair.connect().await;
    (pair, client, server)
}

/// Room for four datagrams of [`LEN`] bytes each way.
fn narrow() -> TransportConfigBuilder {
    TransportConfig::builder()
        .datagram_send_buffer_size(4 * (LEN + OVERHEAD))
        .datagram_receive_buffer_size(4 * (LEN + OVERHEAD))
}

fn numbered(number: u32) -> Bytes {
    number.to_be_bytes().repeat(LEN / 4).into()
}

fn number(data: &[u8]) -> u32 {
    u32::from_be_bytes(data[..4].try_into().unwrap())
}

async fn read(connection: &Connection) -> u32 {
    number(&in_time(connection.read_datagram()).await.unwrap())
}

#[tokio::test]
async fn there_and_back() {
    let (_pair, client, server) = connect(TransportConfig::builder()).await;
    assert_eq!(client.try_read_datagram(), Ok(None));
    let max = client.max_datagram_size().unwrap();
    assert!(max > 1100);
    for len in [0, 1, 1100, max] {
        client.send_datagram(vec![7; len].into()).unwrap();
        let data = in_time(server.read_datagram()).await.unwrap();
        assert_eq!(data, vec![7; len]);
        server.send_datagram(data).unwrap();
        assert_eq!(in_time(client.read_datagram()).await.unwrap().len(), len);
    }
    let mut many: Vec<Bytes> = (0..50).map(numbered).collect();
    client.send_datagrams(&mut many).unwrap();
    assert!(many.is_empty());
    while many.len() < 50 {
        assert!(in_time(server.read_datagrams(&mut many, 7)).await.unwrap() <= 7);
    }
    assert!(many.iter().map(|data| number(data)).eq(0..50));
    assert_eq!(in_time(server.read_datagrams(&mut many, 0)).await, Ok(0));
    assert_eq!(client.stats().datagrams_unsent, 0);
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let (_pair, client, server) = connect(TransportConfig::builder().max_datagram_frame_size(100)).await;
    assert_eq!(client.max_datagram_size(), Some(97));
    let too_large = Err(SendDatagramError::TooLarge { max: 97 });
    assert_eq!(client.send_datagram(vec![0; 98].into()), too_large);
    assert_eq!(client.send_datagram_wait(vec![0; 98].into()).await, too_large);
    let mut many = vec![Bytes::from_static(b"fits"), vec![0; 98].into(), Bytes::from_static(b"fits too")];
    client.send_datagrams(&mut many).unwrap();
    assert_eq!((many.len(), client.send_datagrams(&mut many)), (2, too_large));
    assert_eq!(in_time(server.read_datagram()).await.unwrap(), "fits");
    client.close(VarInt::from(7_u8), b"enough");
    let lost = Err(SendDatagramError::ConnectionLost(ConnectionError::LocallyClosed));
    assert_eq!(client.send_datagram(Bytes::new()), lost);
    assert_eq!(client.send_datagram_wait(Bytes::new()).await, lost);
    assert_eq!(client.read_datagram().await, Err(ConnectionError::LocallyClosed));
    assert_eq!(client.try_read_datagram(), Err(ConnectionError::LocallyClosed));
    let closed = in_time(server.read_datagram()).await;
    assert!(matches!(closed, Err(ConnectionError::Application { .. })), "{closed:?}");

    let (_pair, client, _server) = connect(TransportConfig::builder().max_datagram_frame_size(0)).await;
    assert_eq!((client.max_datagram_size(), client.datagram_send_buffer_space() > 0), (None, true));
    assert_eq!(client.send_datagram(Bytes::new()), Err(SendDatagramError::UnsupportedByPeer));
    let (_pair, client, _server) = connect(TransportConfig::builder().datagram_send_buffer_size(0)).await;
    assert_eq!((client.max_datagram_size(), client.datagram_send_buffer_space()), (None, 0));
    assert_eq!(client.send_datagram(Bytes::new()), Err(SendDatagramError::Disabled));
}

/// On one thread the task does not run between two calls: the queue is as full as it seems.
#[tokio::test]
async fn a_full_queue_drops_by_its_policy() {
    let (_pair, client, server) = connect(narrow()).await;
    let newest = DatagramOptions::new().policy(DatagramPolicy::DropNewest);
    assert_eq!(client.datagram_send_buffer_space(), 4 * LEN + 3 * OVERHEAD);
    let mut trackers = Vec::new();
    for n in 0..10 {
        let sent = client.send_datagram_tracked(numbered(n), DatagramOptions::new());
        trackers.push(sent.unwrap());
    }
    assert_eq!(client.datagram_send_buffer_space(), 0);
    assert_eq!(client.send_datagram_with(numbered(10), newest), Err(SendDatagramError::Full));
    let dropped = trackers.iter().filter(|tracker| tracker.fate() == DatagramFate::Dropped);
    assert_eq!(dropped.count(), 6);
    for n in 6..10 {
        assert_eq!(read(&server).await, n);
    }
    for tracker in &mut trackers[6..] {
        assert_ne!(in_time(tracker.sent()).await, DatagramFate::Queued);
        assert_eq!(in_time(tracker.settled()).await, DatagramFate::Acknowledged);
    }
    assert_eq!(client.datagram_send_buffer_space(), 4 * LEN + 3 * OVERHEAD);
    for n in 20..24 {
        client.send_datagram_with(numbered(n), newest).unwrap();
    }
    assert_eq!(client.send_datagram_with(numbered(24), newest), Err(SendDatagramError::Full));
    let mut rest = vec![numbered(25); 2];
    client.send_datagrams(&mut rest).unwrap();
    assert!(rest.is_empty());
    for n in [22, 23, 25, 25] {
        assert_eq!(read(&server).await, n);
    }
}

#[tokio::test]
async fn senders_that_wait_lose_nothing_and_keep_their_order() {
    let server = TransportConfig::builder().datagram_send_buffer_size(4 * (LEN + OVERHEAD));
    let (_pair, client, server) = connect(server).await;
    let send = |from: u32| {
        let client = client.clone();
        async move {
            for n in from..from + 300 {
                client.send_datagram_wait(numbered(n)).await.unwrap();
            }
            let mut many: Vec<Bytes> = (from + 300..from + 600).map(numbered).collect();
            client.send_datagrams_wait(&mut many).await.unwrap();
            assert!(many.is_empty());
        }
    };
    let receive = async {
        let mut next = [0, 1000];
        while next != [600, 1600] {
            let n = read(&server).await;
            let of = usize::from(n >= 1000);
            assert_eq!(n, next[of]);
            next[of] += 1;
        }
    };
    in_time(async { tokio::join!(send(0), send(1000), receive) }).await;
    assert_eq!(client.stats().datagrams_unsent, 0);
}

#[tokio::test]
async fn calls_that_are_dropped_lose_nothing() {
    let config = TransportConfig::builder().datagram_send_buffer_size(4 * (LEN + OVERHEAD));
    let (_pair, client, server) = connect(config).await;
    let send = async {
        for n in 0..200 {
            cancelling(|| client.send_datagram_wait(numbered(n))).await.unwrap();
        }
        let mut many: Vec<Bytes> = (200..400).map(numbered).collect();
        while !many.is_empty() {
            let attempt = {
                let future = pin!(client.send_datagrams_wait(&mut many));
                future.poll(&mut Context::from_waker(Waker::noop()))
            };
            match attempt {
                Poll::Ready(sent) => sent.unwrap(),
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
    };
    let receive = async {
        for n in 0..300 {
            assert_eq!(number(&cancelling(|| server.read_datagram()).await.unwrap()), n);
        }
        let mut many = Vec::new();
        while many.len() < 100 {
            let attempt = {
                let future = pin!(server.read_datagrams(&mut many, 3));
                future.poll(&mut Context::from_waker(Waker::noop()))
            };
            match attempt {
                Poll::Ready(read) => assert!(read.unwrap() > 0),
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        assert!(many.iter().map(|data| number(data)).eq(300..400));
    };
    in_time(async { tokio::join!(send, receive) }).await;
    let options = DatagramOptions::new();
    let mut tracker = client.send_datagram_tracked(numbered(0), options).unwrap();
    let fate = loop {
        let polled = {
            let future = pin!(tracker.settled());
            future.poll(&mut Context::from_waker(Waker::noop()))
        };
        match polled {
            Poll::Ready(fate) => break fate,
            Poll::Pending => tokio::task::yield_now().await,
        }
    };
    assert_eq!(fate, DatagramFate::Acknowledged);
}

#[tokio::test]
async fn what_is_too_old_is_not_sent() {
    let (_pair, client, server) = connect(TransportConfig::builder()).await;
    let old = DatagramOptions::new().max_age(Duration::ZERO);
    let mut tracker = client.send_datagram_tracked(numbered(1), old).unwrap();
    let fresh = DatagramOptions::new().max_age(Duration::from_secs(60));
    client.send_datagram_with(numbered(2), fresh).unwrap();
    assert_eq!(in_time(tracker.settled()).await, DatagramFate::Expired);
    assert_eq!(read(&server).await, 2);
}

#[tokio::test]
async fn a_reader_that_stalls_finds_what_its_policy_left() {
    for policy in [DatagramPolicy::DropOldest, DatagramPolicy::DropNewest] {
        let config = TransportConfig::builder()
            .datagram_receive_buffer_size(4 * (LEN + OVERHEAD))
            .datagram_receive_policy(policy);
        let (_pair, client, server) = connect(config).await;
        for n in 0..20 {
            let options = DatagramOptions::new();
            let mut tracker = client.send_datagram_tracked(numbered(n), options).unwrap();
            assert_eq!(in_time(tracker.settled()).await, DatagramFate::Acknowledged);
        }
        let kept = if policy == DatagramPolicy::DropOldest { 16..20 } else { 0..4 };
        for n in kept {
            assert_eq!(read(&server).await, n);
        }
        assert_eq!(server.try_read_datagram(), Ok(None));
        assert_eq!(server.stats().datagrams_unread, 16);
    }
}

#[tokio::test]
async fn what_came_before_the_end_is_read_and_what_did_not_leave_is_told() {
    let (_pair, client, server) = connect(TransportConfig::builder()).await;
    let mut tracker = client.send_datagram_tracked(numbered(1), DatagramOptions::new()).unwrap();
    assert_eq!(in_time(tracker.settled()).await, DatagramFate::Acknowledged);
    let mut late = server.send_datagram_tracked(numbered(2), DatagramOptions::new()).unwrap();
    client.close(VarInt::from(0_u8), b"");
    let mut never = in_time(async {
        in_time(server.closed()).await;
        late.settled().await
    })
    .await;
    assert!(never.is_final());
    assert_eq!(read(&server).await, 1);
    assert!(in_time(server.read_datagram()).await.is_err());
    let (_pair, client, _server) = connect(TransportConfig::builder()).await;
    let mut tracker = client.send_datagram_tracked(numbered(1), DatagramOptions::new()).unwrap();
    client.close(VarInt::from(0_u8), b"");
    never = in_time(tracker.settled()).await;
    assert_eq!(never, DatagramFate::Unknown);
}

/// A client that remembers the server sends datagrams before the handshake.
#[tokio::test]
async fn early_datagrams() {
    let (client_config, server_config) = configs(TransportConfig::default());
    let server =
        Endpoint::server(server_config.early_data(Some(EarlyDataPolicy::new())), localhost()).unwrap();
    let addr = server.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let (connection, _) = incoming.accept().into_0rtt().unwrap();
            while let Ok(data) = connection.read_datagram().await {
                connection.send_datagram(data).unwrap();
            }
        }
    });
    let client = Endpoint::client(localhost()).unwrap();
    client.set_client_config(client_config);
    let first = in_time(client.connect(addr, "localhost").unwrap()).await.unwrap();
    first.send_datagram("late".into()).unwrap();
    assert_eq!(in_time(first.read_datagram()).await.unwrap(), "late");
    first.close(VarInt::from(0_u8), b"");
    let connecting = client.connect(addr, "localhost").unwrap();
    let (again, accepted) = connecting.into_0rtt().expect("the server is known");
    assert!(again.max_datagram_size().is_some() && !again.is_handshake_complete());
    again.send_datagram("early".into()).unwrap();
    assert_eq!(in_time(again.read_datagram()).await.unwrap(), "early");
    assert!(in_time(accepted).await && again.stats().early_packets_sent > 0);
    echo.abort();
}
