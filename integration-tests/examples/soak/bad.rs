//! Strangers that do not behave.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use gannet::{Endpoint, Rng};

use crate::{localhost, now, report::Counts};

/// A pause after each round, so that the good ones get on.
const PAUSE: Duration = Duration::from_millis(10);

/// The same between handshakes that are not finished: few enough for a machine that has other things to do.
const BETWEEN: Duration = Duration::from_millis(50);

/// Datagrams of anything, from addresses that change.
pub async fn garbage(addr: SocketAddr, until: Instant, mut rng: Rng, counts: Arc<Counts>) {
    while now() < until {
        let socket = UdpSocket::bind(localhost()).unwrap();
        for _ in 0..100 {
            for _ in 0..5 {
                let mut datagram = vec![0; usize::try_from(rng.below(1500)).unwrap_or(0)];
                rng.fill(&mut datagram);
                // Half of them look like something: Initials of version 1, other versions, short headers.
                if let [first, a, b, c, d, ..] = &mut datagram[..] {
                    match rng.below(6) {
                        0 => (*first, *a, *b, *c, *d) = (*first | 0xc0, 0, 0, 0, 1),
                        1 => *first |= 0xc0,
                        2 => *first = *first & 0x3f | 0x40,
                        _ => {}
                    }
                }
                let _ = socket.send_to(&datagram, addr);
                Counts::add(&counts.garbage, 1);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// The first datagram of a client arrives, perhaps twice and from elsewhere, and then nothing more.
pub async fn half_handshakes(endpoint: Endpoint, addr: SocketAddr, until: Instant, counts: Arc<Counts>) {
    let relay = UdpSocket::bind(localhost()).unwrap();
    relay.set_nonblocking(true).unwrap();
    let here = relay.local_addr().unwrap();
    let mut buffer = [0; 65_535];
    while now() < until {
        let other = UdpSocket::bind(localhost()).unwrap();
        let attempt = endpoint.connect(here, "localhost").unwrap();
        tokio::time::sleep(BETWEEN).await;
        while let Ok(len) = relay.recv(&mut buffer) {
            let from = if len % 2 == 0 { &relay } else { &other };
            let _ = from.send_to(&buffer[..len], addr);
            let _ = other.send_to(&buffer[..len], addr);
            Counts::add(&counts.half, 1);
        }
        drop(attempt);
        tokio::time::sleep(BETWEEN).await;
    }
}
