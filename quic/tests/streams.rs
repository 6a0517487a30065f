//! Streams over loopback, end to end.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Pair, in_time, pattern};
use gannet::config::{TransportConfig, TransportConfigBuilder};
use gannet::error::{ReadError, ReadToEndError, WriteError};
use gannet::{ClosedStream, ConnectionError, ResetAtError, VarInt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Windows that take all that is sent before anybody reads.
fn roomy() -> TransportConfigBuilder {
    TransportConfig::builder().stream_receive_window(6 << 20).receive_window(16 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_comes_back_whole() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let echo = tokio::spawn(async move {
        let (mut send, mut recv) = server.accept_bi().await.unwrap();
        while let Some(chunk) = recv.read_chunk(usize::MAX).await.unwrap() {
            send.write_chunk(chunk).await.unwrap();
        }
        send.finish().await.unwrap();
        server
    });
    let data = pattern(3_000_000);
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    let writer = async {
        send.write_all(&data).await.unwrap();
        send.finish().await.unwrap();
    };
    let (_, received) = in_time(async { tokio::join!(writer, recv.read_to_end(data.len())) }).await;
    assert!(received.unwrap() == data);
    in_time(echo).await.unwrap();
}

#[tokio::test]
async fn many_streams_in_both_directions_at_once() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let serve = {
        let server = server.clone();
        tokio::spawn(async move {
            while let Ok((mut send, mut recv)) = server.accept_bi().await {
                tokio::spawn(async move {
                    let body = recv.read_to_end(1 << 20).await.unwrap();
                    send.write_all(&body).await.unwrap();
                    send.shutdown().await.unwrap();
                });
            }
        })
    };
    let mut requests = tokio::task::JoinSet::new();
    for i in 0..300 {
        let client = client.clone();
        requests.spawn(async move {
            let body = pattern(1 + i * 37);
            let (mut send, mut recv) = client.open_bi().await.unwrap();
            send.write_all(&body).await.unwrap();
            send.shutdown().await.unwrap();
            assert!(recv.read_to_end(1 << 20).await.unwrap() == body);
        });
    }
    while let Some(done) = in_time(requests.join_next()).await {
        done.unwrap();
    }
    client.close(7_u8.into(), b"done");
    let reason = in_time(server.closed()).await;
    assert_eq!(reason, ConnectionError::Application { code: 7_u8.into(), reason: "done".into() });
    in_time(serve).await.unwrap();
}

#[tokio::test]
async fn small_writes_and_reads_through_tokios_traits() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let mut send = client.open_uni().await.unwrap();
    let data = pattern(20_000);
    for part in data.chunks(7) {
        AsyncWriteExt::write_all(&mut send, part).await.unwrap();
    }
    send.shutdown().await.unwrap();
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    let mut received = Vec::new();
    in_time(AsyncReadExt::read_to_end(&mut recv, &mut received)).await.unwrap();
    assert!(received == data);
    assert_eq!(recv.read(&mut [0; 4]).await, Ok(None), "the end stays the end");
    assert_eq!(send.write(b"x").await, Err(WriteError::ClosedStream));
    in_time(send.finish()).await.unwrap();
}

#[tokio::test]
async fn a_reset_and_a_stop_carry_their_codes() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    let (mut back, mut forth) = in_time(server.accept_bi()).await.unwrap();
    let code = |n: u32| VarInt::from_u32(n);
    assert_eq!(in_time(forth.read_chunk(99)).await.unwrap(), Some(Bytes::from_static(b"hello")));
    send.reset(code(5)).unwrap();
    assert_eq!(in_time(forth.read_chunk(99)).await, Err(ReadError::Reset(code(5))));
    assert_eq!(send.reset(code(6)), Err(ClosedStream));
    recv.stop(code(9)).unwrap();
    assert_eq!(recv.read_chunk(9).await, Err(ReadError::ClosedStream));
    assert_eq!(in_time(back.stopped()).await, Ok(Some(code(9))));
    assert_eq!(back.write(b"x").await, Err(WriteError::Stopped(code(9))));
}

#[tokio::test]
async fn a_dropped_stream_is_reset_and_a_finished_one_is_not() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let mut kept = client.open_uni().await.unwrap();
    kept.write_all(b"kept").await.unwrap();
    kept.shutdown().await.unwrap();
    drop(kept);
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    assert_eq!(in_time(recv.read_to_end(10)).await.unwrap(), b"kept");
    let mut lost = client.open_uni().await.unwrap();
    lost.write_all(b"lost").await.unwrap();
    drop(lost);
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    let end = in_time(recv.read_to_end(10)).await;
    assert_eq!(end, Err(ReadToEndError::Read(ReadError::Reset(VarInt::default()))));
}

#[tokio::test]
async fn a_graceful_close_waits_for_finished_streams_and_no_longer() {
    let pair = Pair::with(roomy().build().unwrap());
    let (client, server) = pair.connect().await;
    let data = pattern(2_000_000);
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&data).await.unwrap();
    send.shutdown().await.unwrap();
    drop(send);
    let close = client.close_gracefully(1_u8.into(), b"", Duration::from_secs(20));
    let receive = async {
        let mut recv = server.accept_uni().await.unwrap();
        recv.read_to_end(data.len()).await.unwrap()
    };
    let ((), received) = in_time(async { tokio::join!(close, receive) }).await;
    assert!(received == data);
    in_time(server.closed()).await;

    let (client, _server) = pair.connect().await;
    let mut never_finished = client.open_uni().await.unwrap();
    never_finished.write_all(b"x").await.unwrap();
    in_time(client.close_gracefully(1_u8.into(), b"", Duration::from_secs(100))).await;
    assert_eq!(client.close_reason(), Some(ConnectionError::LocallyClosed));
}

#[tokio::test]
async fn a_graceful_close_refuses_new_streams_until_it_is_cancelled() {
    let config = TransportConfig::builder().max_concurrent_uni_streams(1).build().unwrap();
    let pair = Pair::with(config);
    let (client, server) = pair.connect().await;
    let mut unread = client.open_uni().await.unwrap();
    unread.write_all(&pattern(200_000)).await.unwrap();
    unread.shutdown().await.unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.open_uni().await.map(drop) }
    });
    tokio::task::yield_now().await;
    {
        let mut closing = std::pin::pin!(client.close_gracefully(1_u8.into(), b"", Duration::from_secs(100)));
        tokio::select! {
            () = &mut closing => panic!("nobody has read the stream"),
            refused = waiting => assert_eq!(refused.unwrap(), Err(ConnectionError::LocallyClosed)),
        }
        assert_eq!(client.try_open_bi().map(drop), Err(ConnectionError::LocallyClosed));
        assert_eq!(client.open_bi().await.map(drop), Err(ConnectionError::LocallyClosed));
        let (mut late, _) = server.open_bi().await.unwrap();
        late.write_all(b"late").await.unwrap();
        let accepted = async { client.accept_bi().await.unwrap() };
        tokio::select! {
            () = &mut closing => panic!("nobody has read the stream"),
            (mut back, mut forth) = accepted => {
                back.reset(7_u8.into()).unwrap();
                forth.stop(7_u8.into()).unwrap();
            }
        }
        assert_eq!(in_time(late.stopped()).await, Ok(Some(7_u8.into())));
    }
    assert_eq!(client.close_reason(), None);
    let (mut send, _recv) = client.open_bi().await.unwrap();
    send.write_all(b"goes on").await.unwrap();
    let (_, mut recv) = in_time(server.accept_bi()).await.unwrap();
    assert_eq!(in_time(recv.read_chunk(99)).await.unwrap(), Some(Bytes::from_static(b"goes on")));
}

#[tokio::test]
async fn what_has_arrived_can_be_read_after_the_connection_is_over() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"last words").await.unwrap();
    in_time(send.finish()).await.unwrap();
    client.close(VarInt::default(), b"");
    in_time(server.closed()).await;
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    assert_eq!(recv.read_to_end(100).await.unwrap(), b"last words");
    assert!(server.accept_uni().await.is_err() && server.open_uni().await.is_err());
}

/// More than is handed over at a time waits in the protocol; the peer's close must not take it along.
#[tokio::test]
async fn what_was_acknowledged_is_readable_after_the_peer_has_closed() {
    // The smallest datagrams: many pieces.
    let pair = Pair::with(roomy().mtu_upper_bound(None).build().unwrap());
    let (client, server) = pair.connect().await;
    let data = pattern(4_000_000);
    let (mut send, _) = server.open_bi().await.unwrap();
    send.write_all(&data).await.unwrap();
    in_time(send.finish()).await.unwrap();
    server.close(VarInt::from_u32(1), b"done");
    in_time(client.closed()).await;
    let (_, mut recv) = in_time(client.accept_bi()).await.unwrap();
    assert!(in_time(recv.read_to_end(data.len())).await.unwrap() == data);
}

#[tokio::test]
async fn a_reset_delivers_what_it_promises() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    assert!(client.supports_reset_at() && server.supports_reset_at());
    let data = pattern(1_000_000);
    let mut send = client.open_uni().await.unwrap();
    let reader = tokio::spawn(async move {
        let mut recv = server.accept_uni().await.unwrap();
        let mut all = Vec::new();
        loop {
            match recv.read_chunk(usize::MAX).await {
                Ok(chunk) => all.extend_from_slice(&chunk.expect("no end but the reset")),
                Err(error) => return (all, error, server),
            }
        }
    });
    send.write_all(&data).await.unwrap();
    send.reset_at(9_u8.into(), 900_000).unwrap();
    assert_eq!(send.reset_at(9_u8.into(), 900_000), Err(ClosedStream.into()), "that is no less");
    assert_eq!(send.write(b"more").await, Err(WriteError::ClosedStream));
    assert_eq!(in_time(send.stopped()).await, Ok(None), "the peer has acknowledged it");
    drop(send);
    let (all, error, _server) = in_time(reader).await.unwrap();
    assert_eq!(error, ReadError::Reset(9_u8.into()));
    assert!(all.len() >= 900_000 && all[..] == data[..all.len()], "{}", all.len());
}

#[tokio::test]
async fn a_peer_that_does_not_know_such_resets_is_named() {
    let transport = TransportConfig::builder().reset_stream_at(false).build().unwrap();
    let pair = Pair::with(transport);
    let (client, _server) = pair.connect().await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    assert!(!client.supports_reset_at());
    assert_eq!(send.reset_at(9_u8.into(), 5), Err(ResetAtError::Unsupported));
    send.write_all(b"and so on").await.unwrap();
}

#[tokio::test]
async fn a_stream_can_be_read_without_order() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let data = pattern(500_000);
    let mut send = client.open_uni().await.unwrap();
    let reader = tokio::spawn(async move {
        let mut recv = server.accept_uni().await.unwrap();
        let mut all = vec![0; 500_000];
        recv.read_exact(&mut all[..1_000]).await.unwrap();
        let (mut recv, mut read) = (recv.into_unordered(), 1_000);
        while let Some(chunk) = recv.read_chunk(5_000).await.unwrap() {
            assert!((1..=5_000).contains(&chunk.bytes.len()));
            let at = usize::try_from(chunk.offset).unwrap();
            all[at..at + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
            read += chunk.bytes.len();
        }
        assert_eq!(recv.read_chunk(1).await, Ok(None));
        (all, read, server)
    });
    send.write_all(&data).await.unwrap();
    send.finish().await.unwrap();
    let (all, read, server) = in_time(reader).await.unwrap();
    assert!(read == data.len() && all == data);
    // What is dropped before its end is stopped.
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&data).await.unwrap();
    let mut recv = server.accept_uni().await.unwrap().into_unordered();
    recv.read_chunk(10).await.unwrap().unwrap();
    drop(recv);
    assert_eq!(in_time(send.stopped()).await, Ok(Some(0_u8.into())));
}

#[tokio::test]
async fn a_read_of_nothing_takes_nothing() {
    let pair = Pair::with(TransportConfig::default());
    let (client, server) = pair.connect().await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"all of it").await.unwrap();
    drop(send.finish());
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    assert_eq!(in_time(recv.read_chunk(0)).await.unwrap(), Some(Bytes::new()));
    let mut recv = recv.into_unordered();
    for (max, offset, bytes) in [(0, 0, ""), (3, 0, "all"), (0, 3, ""), (9, 3, " of it")] {
        let chunk = in_time(recv.read_chunk(max)).await.unwrap().unwrap();
        assert_eq!((chunk.offset, &chunk.bytes[..]), (offset, bytes.as_bytes()));
    }
    assert_eq!(in_time(recv.read_chunk(0)).await.unwrap(), None);
}

#[tokio::test]
async fn ten_thousand_open_streams_each_read_a_little() {
    const STREAMS: u64 = 10_000;
    let transport = TransportConfig::builder()
        .max_concurrent_uni_streams(STREAMS)
        // Less than all of them have to say together.
        .receive_window(500_000)
        .stream_receive_window(100_000)
        .build()
        .unwrap();
    let pair = Pair::with(transport);
    let (client, server) = pair.connect().await;
    let reader = tokio::spawn(async move {
        let mut open = Vec::new();
        while open.len() < STREAMS as usize {
            let mut recv = server.accept_uni().await.unwrap();
            recv.read_exact(&mut [0; 100]).await.unwrap();
            open.push(recv);
        }
        // The last one goes on, among all the others; it is not always the last that was accepted.
        open.sort_by_key(gannet::RecvStream::id);
        let rest = open.last_mut().unwrap().read_to_end(1 << 20).await.unwrap();
        (open, rest.len(), server)
    });
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let mut send = client.open_uni().await.unwrap();
        send.write_all(&[7; 100]).await.unwrap();
        open.push(send);
    }
    let mut last = open.pop().unwrap();
    last.write_all(&pattern(1_000_000)).await.unwrap();
    last.shutdown().await.unwrap();
    let (streams, rest, _server) = in_time(reader).await.unwrap();
    assert_eq!((streams.len(), rest), (STREAMS as usize, 1_000_000));
}
