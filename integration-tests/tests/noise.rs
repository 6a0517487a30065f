//! Garbage at a serving socket: a running transfer does not notice.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use gannet::config::{ClientConfig, ServerConfig};
use gannet::{Connection, Endpoint, Rng};
use rcgen::{CertificateParams, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use socket2::{Domain, Protocol, Socket, Type};

const DATAGRAMS: usize = 10_000;
const SIZE: usize = 20_000_000;

fn endpoints() -> (Endpoint, Endpoint) {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let localhost = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = ServerConfig::with_single_cert(vec![cert.der().clone()], key.into(), &[b"noise"]).unwrap();
    let server = Endpoint::server(config, localhost).unwrap();
    let client = Endpoint::client(localhost).unwrap();
    client.set_client_config(ClientConfig::with_roots(roots, &[b"noise"]).unwrap());
    (client, server)
}

/// Sends back what arrives on each stream.
async fn echo(server: Endpoint) {
    while let Some(incoming) = server.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.accept().await else { return };
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX).await {
                        if send.write_chunk(chunk).await.is_err() {
                            return;
                        }
                    }
                    drop(send.finish().await);
                });
            }
        });
    }
}

async fn transfer(connection: &Connection) {
    let data: Vec<u8> = (0..SIZE).map(|i| (i / 7) as u8).collect();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    let expected = data.clone();
    let writing = tokio::spawn(async move {
        send.write_all(&data).await.unwrap();
        send.finish().await.unwrap();
    });
    assert!(recv.read_to_end(SIZE).await.unwrap() == expected);
    writing.await.unwrap();
}

/// Random bytes, and what begins like packets of all kinds, cut off anywhere.
fn garbage(rng: &mut Rng) -> Vec<u8> {
    const HEADS: [&[u8]; 5] = [
        &[],
        &[0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0x44, 0x9e],
        &[0xe0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8],
        &[0x80, 0, 0, 0, 0, 20],
        &[0xc3, 0xba, 0xba, 0xba, 0xba, 255],
    ];
    let mut bytes = vec![0; rng.below(1500) as usize];
    rng.fill(&mut bytes);
    let head = HEADS[rng.below(5) as usize];
    let len = head.len().min(bytes.len());
    bytes[..len].copy_from_slice(&head[..len]);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_datagrams_of_garbage_change_nothing() {
    let (client, server) = endpoints();
    let addr = server.local_addr().unwrap();
    tokio::spawn(echo(server.clone()));
    let connection = client.connect(addr, "localhost").unwrap().await.unwrap();
    let noise = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut rng = Rng::from_u64(1);
        for count in 0..DATAGRAMS {
            socket.send_to(&garbage(&mut rng), addr).unwrap();
            if count % 100 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    transfer(&connection).await;
    noise.await.unwrap();
    transfer(&connection).await;
    let stats = server.stats();
    assert!(stats.malformed + stats.unknown > DATAGRAMS as u64 / 2, "{stats:?}");
    assert!(client.connect(addr, "localhost").unwrap().await.is_ok());
}

/// A datagram from port 0 makes some systems refuse to send at all, and with that, offload is switched off.
#[expect(clippy::print_stderr, reason = "says why nothing was tested")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_from_port_0_change_nothing() {
    let Ok(raw) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)) else {
        return eprintln!("not allowed to open a raw socket: nothing tested");
    };
    let (client, server) = endpoints();
    let addr = server.local_addr().unwrap();
    tokio::spawn(echo(server.clone()));
    let connection = client.connect(addr, "localhost").unwrap().await.unwrap();
    // A long header of a version nobody speaks would be answered.
    let mut datagram = vec![0; 8 + 1200];
    let len = (datagram.len() as u16).to_be_bytes();
    datagram[2..4].copy_from_slice(&addr.port().to_be_bytes());
    datagram[4..6].copy_from_slice(&len);
    datagram[8..16].copy_from_slice(&[0xc0, 0xba, 0xba, 0xba, 0xba, 0, 0, 0]);
    let before = server.stats().malformed;
    for _ in 0..100 {
        raw.send_to(&datagram, &addr.into()).unwrap();
    }
    transfer(&connection).await;
    assert!(server.stats().malformed >= before + 100, "{:?}", server.stats());
    assert!(client.connect(addr, "localhost").unwrap().await.is_ok());
}

/// However many packets it holds, and nothing but an answer is sent back for it.
// covers: R9000-17.2.1-07
#[tokio::test]
async fn a_datagram_gets_one_version_negotiation() {
    let (_, server) = endpoints();
    let addr = server.local_addr().unwrap();
    let answers = tokio::task::spawn_blocking(move || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let unknown = |scid: u8| {
            [&[0xc0, 0xba, 0xba, 0xba, 0xba, 4, 1, 2, 3, 4, 4][..], &[scid; 4], &[0; 385]].concat()
        };
        socket.send_to(&[unknown(1), unknown(2), unknown(3)].concat(), addr).unwrap();
        socket.send_to(&[unknown(4), unknown(5), unknown(6)].concat(), addr).unwrap();
        let mut buf = [0; 1500];
        let mut receive = || {
            let len = socket.recv(&mut buf).unwrap();
            buf[..len].to_vec()
        };
        [receive(), receive()]
    });
    let [first, second] = answers.await.unwrap();
    for (answer, scid) in [(first, 1), (second, 4)] {
        assert!(answer.len() < 100 && answer[0] & 0x80 != 0 && answer[1..5] == [0; 4], "{answer:x?}");
        assert_eq!(answer[5..15], [4, scid, scid, scid, scid, 4, 1, 2, 3, 4]);
    }
}
