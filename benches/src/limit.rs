//! The physical limit: what the kernel, and then the cryptography, leave to any implementation.
//!
//! The sender fills batches of equal packets that leave with one system call (GSO 45), the receiver takes them as one
//! batch (GRO). There is no protocol besides: a window and its acknowledgements, so that the socket's buffer suffices.

use std::{
    io::IoSliceMut,
    net::{SocketAddr, UdpSocket},
};

use anyhow::{Context, Result, bail, ensure};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic};

use gannet_benches::meter::{Cost, Meter};

use crate::workload::{self, Contender, DEADLINE, LIMIT, PACKET, Workload, two_threads};

/// Segments of a full batch: as many full packets as 65,507 bytes hold.
const BATCH: usize = 45;
/// Batches under way without an acknowledgement: 1 MiB.
const WINDOW: u64 = 16;
/// The receiver acknowledges after so many.
const ACK_EVERY: u64 = 4;
/// A short header with a connection ID of 8 bytes and a packet number of 4.
const HEADER: usize = 13;
const PN_OFFSET: usize = 9;
/// A small request: the stream frame and header fields of a GET fit.
const REQUEST: usize = 64;

/// What is done to each packet besides sending and receiving it.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Udp,
    /// One copy of the payload, AES-128-GCM in place, and the header's mask; and back.
    Sealed,
}

/// The limit as a contender.
#[derive(Debug)]
pub struct Limit(pub Work);

impl Contender for Limit {
    fn name(&self) -> &'static str {
        match self.0 {
            Work::Udp => "limit (a) UDP",
            Work::Sealed => LIMIT,
        }
    }

    fn can(&self, workload: Workload) -> bool {
        !matches!(workload, Workload::Datagrams { .. })
    }

    fn run(&self, workload: Workload) -> Result<Cost> {
        let work = self.0;
        two_threads(
            move |ready| {
                let mut link = Link::new(work)?;
                ready.send(link.socket.local_addr()?)?;
                link.receive()?;
                link.serve(workload.warm_up())?;
                link.receive()?;
                link.serve(workload)
            },
            move |server| {
                let mut link = Link::new(work)?;
                link.peer = Some(server);
                link.send(1, 1)?;
                link.fetch(workload.warm_up())?;
                link.send(1, 1)?;
                let meter = Meter::start();
                link.fetch(workload)?;
                Ok(meter.stop())
            },
        )
    }
}

struct Link {
    socket: UdpSocket,
    state: UdpSocketState,
    peer: Option<SocketAddr>,
    keys: Option<Keys>,
    sent: u32,
    out: Vec<u8>,
    inbox: Vec<u8>,
    plaintext: Vec<u8>,
}

impl Link {
    fn new(work: Work) -> Result<Self> {
        let socket = workload::socket()?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        ensure!(state.max_gso_segments() >= BATCH, "no segmentation offload here");
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        Ok(Self {
            socket,
            state,
            peer: None,
            keys: (work == Work::Sealed).then(Keys::new).transpose()?,
            sent: 0,
            out: Vec::with_capacity(65_536),
            inbox: vec![0; 65_536],
            plaintext: vec![0xa5; PACKET],
        })
    }

    /// Bytes of a packet that are not the application's.
    fn overhead(&self) -> usize {
        if self.keys.is_some() { HEADER + aead::AES_128_GCM.tag_len() } else { 0 }
    }

    fn serve(&mut self, workload: Workload) -> Result<()> {
        match workload {
            Workload::Download { bytes } => {
                let batches = batches(bytes, PACKET - self.overhead());
                let mut acknowledged = 0;
                for sent in 0..batches {
                    while sent - acknowledged >= WINDOW {
                        acknowledged += ACK_EVERY * self.receive()?;
                    }
                    self.send(BATCH, PACKET - self.overhead())?;
                }
                while acknowledged + ACK_EVERY <= batches {
                    acknowledged += ACK_EVERY * self.receive()?;
                }
            }
            Workload::Requests { count, response, .. } => {
                let mut served = 0;
                while served < count {
                    let requests = self.receive()?;
                    self.send(usize::try_from(requests)?, usize::try_from(response)?)?;
                    served += requests;
                }
            }
            Workload::Datagrams { .. } => bail!("nothing to compare with"),
        }
        Ok(())
    }

    fn fetch(&mut self, workload: Workload) -> Result<()> {
        match workload {
            Workload::Download { bytes } => {
                for batch in 1..=batches(bytes, PACKET - self.overhead()) {
                    let packets = self.receive()?;
                    ensure!(packets == BATCH as u64, "a batch came apart: {packets} packets");
                    if batch % ACK_EVERY == 0 {
                        self.send(1, 1)?;
                    }
                }
            }
            Workload::Requests { count, concurrent, .. } => {
                let mut done = 0;
                while done < count {
                    let burst = concurrent.min(count - done);
                    self.send(usize::try_from(burst)?, REQUEST)?;
                    let mut answered = 0;
                    while answered < burst {
                        answered += self.receive()?;
                    }
                    done += burst;
                }
            }
            Workload::Datagrams { .. } => bail!("nothing to compare with"),
        }
        Ok(())
    }

    /// Sends so many packets with so much payload each, in as few system calls as possible.
    fn send(&mut self, packets: usize, payload: usize) -> Result<()> {
        let destination = self.peer.context("nobody to send to yet")?;
        let size = payload + self.overhead();
        let most = (65_507 / size).min(64);
        let mut left = packets;
        while left > 0 {
            let batch = left.min(most);
            left -= batch;
            self.fill(batch, payload, size)?;
            let transmit = Transmit {
                destination,
                ecn: None,
                contents: &self.out,
                segment_size: Some(size),
                src_ip: None,
            };
            self.state.try_send(UdpSockRef::from(&self.socket), &transmit)?;
        }
        Ok(())
    }

    fn fill(&mut self, packets: usize, payload: usize, size: usize) -> Result<()> {
        let Some(keys) = &self.keys else {
            self.out.resize(packets * size, 0);
            return Ok(());
        };
        self.out.clear();
        for _ in 0..packets {
            let start = self.out.len();
            self.out.extend_from_slice(&[0x43, 1, 2, 3, 4, 5, 6, 7, 8]);
            self.out.extend_from_slice(&self.sent.to_be_bytes());
            self.out.extend_from_slice(&self.plaintext[..payload]);
            let tag = keys.seal(self.sent, &mut self.out[start..])?;
            self.out.extend_from_slice(tag.as_ref());
            self.sent += 1;
        }
        for packet in self.out.chunks_exact_mut(size) {
            keys.mask(packet)?;
        }
        Ok(())
    }

    /// Takes one batch in and opens it. Returns the number of packets.
    fn receive(&mut self) -> Result<u64> {
        let mut meta = [RecvMeta::default()];
        let socket = UdpSockRef::from(&self.socket);
        self.state.recv(socket, &mut [IoSliceMut::new(&mut self.inbox)], &mut meta)?;
        let [meta] = meta;
        self.peer = Some(meta.addr);
        if let Some(keys) = &self.keys {
            for packet in self.inbox[..meta.len].chunks_mut(meta.stride) {
                keys.mask(packet)?;
                keys.open(packet)?;
            }
        }
        Ok(meta.len.div_ceil(meta.stride) as u64)
    }
}

fn batches(bytes: u64, payload: usize) -> u64 {
    bytes.div_ceil((BATCH * payload) as u64).next_multiple_of(ACK_EVERY)
}

struct Keys {
    packet: LessSafeKey,
    header: quic::HeaderProtectionKey,
    iv: [u8; 12],
}

impl Keys {
    fn new() -> Result<Self> {
        Ok(Self {
            packet: LessSafeKey::new(UnboundKey::new(&aead::AES_128_GCM, &[7; 16])?),
            header: quic::HeaderProtectionKey::new(&quic::AES_128, &[8; 16])?,
            iv: [9; 12],
        })
    }

    fn nonce(&self, number: u32) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, number: u32, packet: &mut [u8]) -> Result<aead::Tag> {
        let (header, payload) = packet.split_at_mut(HEADER);
        Ok(self.packet.seal_in_place_separate_tag(self.nonce(number), Aad::from(header), payload)?)
    }

    fn open(&self, packet: &mut [u8]) -> Result<()> {
        let (header, payload) = packet.split_at_mut(HEADER);
        let mut number = [0; 4];
        number.copy_from_slice(&header[PN_OFFSET..]);
        let nonce = self.nonce(u32::from_be_bytes(number));
        self.packet.open_in_place(nonce, Aad::from(header), payload)?;
        Ok(())
    }

    /// Puts header protection on, or takes it off.
    fn mask(&self, packet: &mut [u8]) -> Result<()> {
        let mask = self.header.new_mask(&packet[HEADER..HEADER + 16])?;
        packet[0] ^= mask[0] & 0x1f;
        for (byte, mask) in packet[PN_OFFSET..HEADER].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        Ok(())
    }
}
