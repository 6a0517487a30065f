//! Connections that never come about leave nothing behind: no descriptor, no task, no memory. Alone in its file, and so in
//! its process, because it looks at that.

mod common;

use std::net::UdpSocket;
use std::time::Duration;

use common::{Pair, in_time, localhost, pattern};
use gannet::ConnectionError;
use gannet::config::TransportConfig;

const ATTEMPTS: usize = 10_000;
const AT_ONCE: usize = 250;

/// Open descriptors and resident memory in bytes, where the system tells.
fn footprint() -> Option<(usize, usize)> {
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some((descriptors, pages * 4096))
}

/// Time is virtual: it jumps to the next timeout whenever all tasks wait.
#[tokio::test(start_paused = true)]
async fn ten_thousand_failed_attempts_leave_nothing_behind() {
    let quick = TransportConfig::builder().handshake_timeout(Duration::from_secs(3)).build().unwrap();
    let pair = Pair::with(quick);
    // It never reads: its buffer fills, and the system drops the rest.
    let silent = UdpSocket::bind(localhost()).unwrap();
    let addr = silent.local_addr().unwrap();
    let fail = async |attempts: usize, pair: &Pair| {
        for round in 0..attempts / AT_ONCE {
            let attempts: Vec<_> =
                (0..AT_ONCE).map(|_| pair.client.connect(addr, "localhost").unwrap()).collect();
            if round % 2 == 0 {
                for attempt in attempts {
                    assert_eq!(attempt.await, Err(ConnectionError::HandshakeTimeout));
                }
            } else {
                // Dropped, some of them before their task has run.
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(attempts);
                drop(pair.client.connect(addr, "localhost").unwrap());
            }
            in_time(pair.client.wait_idle()).await;
        }
        // Time for what is left of those that were closed.
        tokio::time::sleep(Duration::from_secs(60)).await;
        footprint()
    };
    let warm = fail(ATTEMPTS / 5, &pair).await;
    let done = fail(ATTEMPTS - ATTEMPTS / 5, &pair).await;
    assert_eq!(pair.client.connections(), 0);
    if let (Some((descriptors, memory)), Some((descriptors_done, memory_done))) = (warm, done) {
        assert_eq!(descriptors_done, descriptors);
        let grown = memory_done.saturating_sub(memory);
        assert!(grown < 4 << 20, "{grown} bytes more after {ATTEMPTS} attempts than after a fifth of them");
    }
    tokio::time::resume();
    // And the endpoint is as good as new.
    let (client, server) = pair.connect().await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&pattern(1000)).await.unwrap();
    drop(send.finish());
    let mut recv = in_time(server.accept_uni()).await.unwrap();
    assert_eq!(in_time(recv.read_to_end(1000)).await.unwrap(), pattern(1000));
}
