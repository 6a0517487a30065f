//! First packets of clients that never come: whatever they are, nothing of them is kept.
//!
//! Memory is the resident set of this process, and so these tests run one after the other, in a binary of their own.
#![cfg(target_os = "linux")]

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt;
use gannet::{
    Endpoint, Rng,
    config::{RandomConnectionIds, RetryPolicy, ServerConfig},
    proto::{
        AddressValidation, Class, FourTuple, Incoming, Rejected, ResetKey, SocketId, TokenKey,
        TokenLifetimes, classify, refuse, retry, stateless_reset, version_negotiation,
    },
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256, pki_types::PrivatePkcs8KeyDer, quic};

const VERSION_1: u32 = 1;
const SIZE: usize = 1200;
const CID_LEN: usize = 8;

/// How much the resident set may grow from the first tenth of a run to its end, bytes.
const SLACK: usize = 4 << 20;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Bytes of this process in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// An Initial that opens: sealed with the keys that anybody can make, with this payload.
fn initial(dcid: &[u8], token: &[u8], payload: &[u8]) -> Vec<u8> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    let keys =
        quic::Keys::initial(quic::Version::V1, suite, suite.quic.unwrap(), dcid, rustls::Side::Client).local;
    let mut packet = vec![0xc3, 0, 0, 0, 1, dcid.len() as u8];
    packet.extend(dcid);
    packet.extend([8, 9, 9, 9, 9, 9, 9, 9, 9]);
    packet.extend((0x4000 | token.len() as u16).to_be_bytes());
    packet.extend(token);
    let body = SIZE - packet.len() - 2;
    packet.extend((0x4000 | body as u16).to_be_bytes());
    let number = packet.len();
    packet.extend([0; 4]);
    let header = packet.clone();
    packet.extend(payload);
    packet.resize(SIZE - keys.packet.tag_len(), 0);
    let tag = keys.packet.encrypt_in_place(0, &header, &mut packet[number + 4..]).unwrap();
    packet.extend(tag.as_ref());
    let sample = packet[number + 4..][..keys.header.sample_len()].to_vec();
    let (first, rest) = packet.split_at_mut(1);
    keys.header.encrypt_in_place(&sample, &mut first[0], &mut rest[number - 1..number + 3]).unwrap();
    packet
}

/// Another datagram each time; many of them open.
fn bogus(rng: &mut Rng) -> Vec<u8> {
    let dcid: [u8; 8] = rng.array();
    // The head of a CRYPTO frame with more to come than there is, at an offset that may lie far ahead.
    let offset = [0, 1, 4000, 16_000][rng.below(4) as usize];
    let mut crypto = vec![0x06, 0x40 | (offset >> 8) as u8, offset as u8, 0x41, 0x00, 1, 0, 0x40];
    crypto.extend(rng.array::<256>());
    crypto.truncate(5 + 256);
    match rng.below(8) {
        0..3 => initial(&dcid, &[], &crypto),
        3 => initial(&dcid, &rng.array::<64>(), &crypto),
        4 => initial(&dcid, &[], &[1]),
        5 => {
            let mut forged = initial(&dcid, &[], &crypto);
            forged[SIZE - 1] ^= 1;
            forged
        }
        6 => {
            let mut other = initial(&dcid, &[], &crypto);
            other[1..5].copy_from_slice(&rng.array::<4>());
            other
        }
        _ => {
            let mut short = vec![0; 30 + rng.below(1000) as usize];
            rng.fill(&mut short);
            short[0] &= 0x7f;
            short
        }
    }
}

/// An endpoint without its sockets: what comes is looked at, answered, and forgotten.
struct Door {
    rng: Rng,
    tokens: TokenKey,
    resets: ResetKey,
    ids: RandomConnectionIds,
    opened: u64,
    answers: u64,
}

impl Door {
    fn new() -> Self {
        let (tokens, resets) = (TokenKey::new(&[1; 32], Duration::from_secs(3600)), ResetKey::new(&[2; 32]));
        let ids = RandomConnectionIds::new(CID_LEN);
        Self { rng: Rng::from_u64(2), tokens, resets, ids, opened: 0, answers: 0 }
    }

    fn knock(&mut self, now: Instant, datagram: &[u8]) {
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 1024 + self.rng.below(60_000) as u16));
        let path = FourTuple { socket: SocketId(0), local_ip: None, remote };
        let wall = SystemTime::UNIX_EPOCH;
        let life = Duration::from_secs(10);
        let lifetimes = TokenLifetimes { retry: life, new_token: life };
        let validation = AddressValidation { key: &self.tokens, lifetimes, log: None };
        let answer = match classify(datagram, CID_LEN, &[VERSION_1]) {
            Class::Short { dcid } => stateless_reset(&dcid, datagram.len(), &self.resets, &mut self.rng),
            Class::UnsupportedVersion { dcid, scid, .. } => {
                Some(version_negotiation(&datagram[dcid], &datagram[scid], &[VERSION_1], &mut self.rng))
            }
            Class::Long { may_begin: true, .. } => {
                match Incoming::open(now, wall, path, None, datagram, validation) {
                    Ok(incoming) => {
                        self.opened += 1;
                        match self.rng.below(3) {
                            0 => Some(refuse(&incoming)),
                            1 => retry(&incoming, wall, &self.tokens, &self.ids, &mut self.rng),
                            _ => None,
                        }
                    }
                    Err(Rejected::InvalidToken(answer)) => Some(answer),
                    Err(Rejected::Drop) => None,
                }
            }
            Class::Long { .. } | Class::Drop => None,
        };
        self.answers += u64::from(answer.is_some_and(|answer| !answer.is_empty()));
    }
}

#[expect(clippy::disallowed_methods, reason = "a program reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn knock_on_the_door(count: usize) -> usize {
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (mut door, mut rng, now) = (Door::new(), Rng::from_u64(1), now());
    let mut before = 0;
    for n in 0..count {
        if n == count / 10 {
            before = resident();
        }
        door.knock(now, &bogus(&mut rng));
    }
    let growth = resident().saturating_sub(before);
    assert!(door.opened > count as u64 / 4 && door.answers > count as u64 / 4);
    assert!(growth < SLACK, "{growth} bytes for {count} Initials");
    growth
}

#[test]
fn ten_thousand_bogus_initials_leave_nothing_behind() {
    knock_on_the_door(10_000);
}

/// `cargo test --release -p gannet-integration-tests --test bogus_initials -- --ignored --nocapture`
#[test]
#[ignore = "takes a minute"]
#[expect(clippy::print_stderr, reason = "the figure")]
fn a_million_bogus_initials_leave_nothing_behind() {
    let started = now();
    let growth = knock_on_the_door(1_000_000);
    let (time, mib) = (started.elapsed(), growth as f64 / f64::from(1 << 20));
    eprintln!("1,000,000 bogus Initials: {mib:.2} MiB more in memory, {time:.1?}");
}

/// The same at the socket of a server that accepts nobody: what waits for it is bounded, the rest is refused or dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_accepts_nobody_stays_small() {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = ServerConfig::with_single_cert(vec![cert.der().clone()], key.into(), &[b"test"]).unwrap();
    // With Retry as well none would be turned away: nobody comes back with a token.
    let config = config.use_retry(RetryPolicy::Never);
    let server = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let addr = server.local_addr().unwrap();
    let flooded = server.clone();
    let growth = tokio::task::spawn_blocking(move || {
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut rng = Rng::from_u64(3);
        let mut before = 0;
        // Several sockets, as if they were many clients.
        let sockets: Vec<_> = (0..16).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for n in 0..100_000 {
            let turned_away = flooded.stats().turned_away;
            if before == 0 && turned_away > 100 {
                before = resident();
            }
            if turned_away > 2_000 {
                return resident() - before.min(resident());
            }
            sockets[n % sockets.len()].send_to(&bogus(&mut rng), addr).unwrap();
        }
        panic!("{:?}", flooded.stats());
    })
    .await
    .unwrap();
    assert!(growth < SLACK, "{growth} bytes");
    assert_eq!(server.connections(), 0);
    let waiting = std::iter::from_fn(|| server.accept().now_or_never().flatten()).count();
    // Whoever is taken makes room for one that was still in the socket.
    assert!(waiting > 0 && waiting <= 2 * 1024, "{waiting}");
}
