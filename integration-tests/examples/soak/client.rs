//! Clients that behave: within the protocol they do whatever comes to their minds.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use gannet::{Connection, Endpoint, Rng, VarInt};

use crate::{localhost, now, report::Counts, server::Wish};

/// The longest stream, bytes.
const LONGEST: u32 = 1 << 20;

/// From one connection of a client to its next, at least: the load is the same whatever else the machine does.
const PACE: Duration = Duration::from_secs(2);

/// No single thing takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection after the other until the time is over.
pub async fn run(endpoint: Endpoint, addr: SocketAddr, until: Instant, mut rng: Rng, counts: Arc<Counts>) {
    let mut next = now();
    while now() < until {
        next = now().max(next + PACE);
        let Ok(Ok(connection)) =
            tokio::time::timeout(PATIENCE, endpoint.connect(addr, "localhost").unwrap()).await
        else {
            Counts::add(&counts.failed, 1);
            tokio::time::sleep(PACE).await;
            continue;
        };
        Counts::add(&counts.connections, 1);
        for _ in 0..rng.below(20) {
            if now() > until {
                break;
            }
            let act = act(&connection, &mut rng, &counts);
            if tokio::time::timeout(PATIENCE, act).await.is_err() {
                println!("something took longer than {PATIENCE:?}: {:?}", connection.close_reason());
                Counts::add(&counts.stuck, 1);
            }
        }
        match rng.below(4) {
            0 => connection.close(VarInt::from_u32(1), b"enough"),
            1 => connection.close_gracefully(VarInt::from_u32(2), b"", Duration::from_secs(2)).await,
            2 => {
                // Nobody does anything with it: its time runs out.
                let idle = connection.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    drop(idle);
                });
            }
            _ => {}
        }
        tokio::time::sleep(next.saturating_duration_since(now())).await;
    }
}

/// Small ones are the most frequent.
fn size(rng: &mut Rng) -> u32 {
    let scale = rng.below(21);
    u32::try_from(rng.below(1 << scale)).unwrap_or(LONGEST).min(LONGEST)
}

async fn act(connection: &Connection, rng: &mut Rng, counts: &Counts) {
    match rng.below(20) {
        0 => {
            let moved = connection.migrate(localhost()).await;
            Counts::add(if moved.is_ok() { &counts.moves } else { &counts.failed_moves }, 1);
        }
        1 => {
            let _ = connection.update_keys().await;
        }
        2 => connection.rotate_connection_ids(),
        3 => one_way(connection, rng, counts).await,
        4 => give_up(connection, rng).await,
        5 => tokio::time::sleep(Duration::from_millis(rng.below(100))).await,
        6 | 7 => datagrams(connection, rng, counts).await,
        8..11 => many(connection, rng, counts).await,
        _ => ask(connection, rng, counts).await,
    }
}

async fn one_way(connection: &Connection, rng: &mut Rng, counts: &Counts) {
    let size = size(rng);
    if let Ok(mut send) = connection.open_uni().await {
        let written = send.write_chunk(Bytes::from(vec![1; size as usize])).await;
        if written.is_ok() && send.finish().await.is_ok() {
            counts.stream(size.into());
        }
    }
}

/// Opens streams and lets go of them in every way.
async fn give_up(connection: &Connection, rng: &mut Rng) {
    for _ in 0..1 + rng.below(10) {
        let Ok((mut send, mut recv)) = connection.open_bi().await else { return };
        let _ = send.write_all(&Wish::Source.encode(size(rng))).await;
        let code = VarInt::from_u32(9);
        match rng.below(4) {
            0 => drop(send.reset(code)),
            1 => drop(recv.stop(code)),
            2 => {
                let _ = recv.read_chunk(100).await;
            }
            _ => {}
        }
    }
}

/// A handful of datagrams; the server sends them back, and whatever comes is read.
async fn datagrams(connection: &Connection, rng: &mut Rng, counts: &Counts) {
    for _ in 0..1 + rng.below(100) {
        let data = Bytes::from(vec![3; usize::try_from(rng.below(1000)).unwrap_or(0)]);
        if connection.send_datagram(data).is_err() {
            return;
        }
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    while let Ok(Some(_)) = connection.try_read_datagram() {
        Counts::add(&counts.datagrams, 1);
    }
}

/// Several at once.
async fn many(connection: &Connection, rng: &mut Rng, counts: &Counts) {
    let mut rngs: Vec<Rng> = (0..1 + rng.below(12)).map(|_| rng.fork()).collect();
    futures::future::join_all(rngs.iter_mut().map(|rng| ask(connection, rng, counts))).await;
}

async fn ask(connection: &Connection, rng: &mut Rng, counts: &Counts) {
    let (wish, size) = (Wish::ALL[usize::try_from(rng.below(4)).unwrap_or(0)], size(rng));
    let Ok((mut send, mut recv)) = connection.open_bi().await else { return };
    let write = async {
        send.write_all(&wish.encode(size)).await.ok()?;
        if matches!(wish, Wish::Echo | Wish::Stop) {
            send.write_chunk(Bytes::from(vec![size as u8; size as usize])).await.ok()?;
        }
        send.finish().await.ok()
    };
    let read = recv.read_to_end(LONGEST as usize);
    let (_, read) = futures::future::join(write, read).await;
    if let Ok(read) = read {
        let right = match wish {
            Wish::Echo => read.len() == size as usize && read.iter().all(|byte| *byte == size as u8),
            Wish::Source => read.len() == size as usize,
            Wish::Stop | Wish::Reset => false,
        };
        assert!(right, "{wish:?} of {size} bytes gave {}", read.len());
        counts.stream(u64::from(size));
    }
}
