//! Every async function is dropped at its await points, again and again: nothing may get lost.

#[path = "common/cancelling.rs"]
mod cancelling;
mod common;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use cancelling::cancelling;
use common::{Pair, in_time, pattern};
use gannet::config::TransportConfig;
use gannet::{ConnectionError, KeyUpdateError, VarInt};

fn narrow() -> Pair {
    let transport = TransportConfig::builder()
        .max_concurrent_bidi_streams(1)
        .max_concurrent_uni_streams(1)
        .stream_send_budget(10_000)
        .stream_receive_window(20_000)
        .build();
    Pair::with(transport.unwrap())
}

#[tokio::test]
async fn reading_and_writing() {
    let pair = narrow();
    let (client, server) = pair.connect().await;
    let data = pattern(300_000);
    let write = async {
        let mut send = cancelling(|| client.open_uni()).await.unwrap();
        let mut rest = &data[..];
        while !rest.is_empty() {
            // A place for the borrow of each attempt.
            let mut written = None;
            while written.is_none() {
                let attempt = pin!(send.write(rest));
                if let Poll::Ready(result) = attempt.poll(&mut Context::from_waker(Waker::noop())) {
                    written = Some(result.unwrap());
                } else {
                    tokio::task::yield_now().await;
                }
            }
            rest = &rest[written.unwrap()..];
        }
        for _ in 0..3 {
            drop(send.finish());
        }
        send.finish().await.unwrap();
    };
    let read = async {
        let mut recv = cancelling(|| server.accept_uni()).await.unwrap();
        let mut all = Vec::new();
        let mut buf = [0; 777];
        loop {
            let read = {
                let attempt = pin!(recv.read(&mut buf));
                attempt.poll(&mut Context::from_waker(Waker::noop()))
            };
            match read {
                Poll::Ready(Ok(Some(len))) => all.extend_from_slice(&buf[..len]),
                Poll::Ready(end) => break assert_eq!(end, Ok(None)),
                Poll::Pending => tokio::task::yield_now().await,
            }
        }
        assert!(all == data);
    };
    in_time(async { tokio::join!(write, read) }).await;
}

#[tokio::test]
async fn opening_takes_no_stream_that_nobody_has() {
    let pair = narrow();
    let (client, server) = pair.connect().await;
    for round in 0..20_u8 {
        let (mut send, mut recv) = in_time(cancelling(|| client.open_bi())).await.unwrap();
        assert!(client.try_open_bi().unwrap().is_none());
        send.write_all(&[round]).await.unwrap();
        drop(send.finish());
        let (mut back, mut forth) = in_time(cancelling(|| server.accept_bi())).await.unwrap();
        assert_eq!(in_time(forth.read_to_end(9)).await.unwrap(), [round]);
        drop(back.finish());
        assert_eq!(in_time(recv.read_to_end(9)).await.unwrap(), []);
        assert_eq!(send.id().index(), u64::from(round), "no index was skipped");
    }
}

#[tokio::test]
async fn those_who_give_up_do_not_hold_up_those_who_wait() {
    let pair = narrow();
    let (client, server) = pair.connect().await;
    let (mut send, recv) = client.open_bi().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let mut gives_up = Box::pin(client.open_bi());
    assert!(gives_up.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let waits = tokio::spawn({
        let client = client.clone();
        async move { client.open_bi().await.map(|_| ()) }
    });
    tokio::task::yield_now().await;
    drop(gives_up);
    drop((send, recv));
    drop(in_time(server.accept_bi()).await.unwrap());
    in_time(waits).await.unwrap().unwrap();
}

#[tokio::test]
async fn handshakes_and_endings() {
    let pair = narrow();
    let accept = async {
        let incoming = cancelling(|| pair.server.accept()).await.unwrap();
        let mut connecting = incoming.accept();
        loop {
            let mut attempt = pin!(connecting.handshake_data());
            if let Poll::Ready(data) = attempt.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                data.unwrap();
                break;
            }
            tokio::task::yield_now().await;
        }
        connecting.await.unwrap()
    };
    let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
    let (server, client) = in_time(async { tokio::join!(accept, connecting) }).await;
    let client = client.unwrap();
    in_time(cancelling(|| client.handshake_confirmed())).await.unwrap();
    // A cancelled request for key material is answered to nobody, and the next one is answered.
    for _ in 0..3 {
        let attempt = pin!(client.export_keying_material(8, b"a", b"b"));
        assert!(attempt.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    in_time(client.export_keying_material(8, b"a", b"b")).await.unwrap();

    // The update takes place all the same.
    {
        let attempt = pin!(client.update_keys());
        assert!(attempt.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let again = in_time(client.update_keys()).await.unwrap_err();
    assert!(matches!(again, KeyUpdateError::NotAcknowledged | KeyUpdateError::TooSoon(_)), "{again}");
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    recv.stop(5_u8.into()).unwrap();
    assert_eq!(in_time(cancelling(|| send.stopped())).await, Ok(Some(VarInt::from_u32(5))));
    drop(pair.client.close(VarInt::from_u32(3), b"bye"));
    let expected = ConnectionError::Application { code: 3_u8.into(), reason: "bye".into() };
    assert_eq!(in_time(cancelling(|| server.closed())).await, expected);
    drop(server);
    in_time(cancelling(|| pair.client.wait_idle())).await;
    in_time(pair.client.close(VarInt::default(), b"")).await;
}
