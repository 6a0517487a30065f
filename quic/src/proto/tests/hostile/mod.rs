//! A peer with the right keys that sends what the RFCs forbid.
//!
//! A real handshake runs up to some [`Stage`]; then [`Hostile`] takes over the keys and packet numbers of one end and
//! writes packets by hand. What the other end, the victim, answers is opened with the same keys: a test asserts the
//! exact CONNECTION_CLOSE that the hostile peer sees.

mod ack_frequency;
mod ack_policy;
mod acks;
mod amplification;
mod cids;
mod crypto;
mod datagrams;
mod early;
mod extremes;
mod floods;
mod frames;
mod incoming;
mod keys;
mod levels;
mod noise;
mod packets;
mod params;
mod paths;
mod probes;
mod reset_at;
mod retry;
mod streams;
mod tolerated;
mod versions;

use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, Peer, Setup, tuple};
use crate::crypto::{HeaderKey, Keys, PacketKey, initial_keys};
use crate::error::{ClosedBy, ConnectionError};
use crate::packet::{
    Burst, ConnectionId, FourTuple, Level, MIN_DATAGRAM_SIZE, PacketNumber, Side, SpaceId,
    TransportErrorCode as Code, VERSION_1,
};
use crate::proto::connection::Connection;
use crate::wire::VarInt;
use crate::wire::frame::{CloseError, EncodeFrame, Frame, Frames};
use crate::wire::header::{self, Layout, LongHeader, LongType, ProtectedHeader, ShortHeader};
use crate::wire::packet_number;

const MS: Duration = Duration::from_millis(1);

/// How far the handshake went, in the eyes of the victim, when the other end turns hostile.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Stage {
    /// A server has answered the ClientHello and heard nothing since; a client has heard nothing at all.
    First,
    /// A client knows the ServerHello, and with it the Handshake keys, and no more.
    ServerHello,
    /// A client has completed the handshake and does not know whether the server has.
    Complete,
    /// The victim has confirmed the handshake.
    Confirmed,
}

/// The stages that a victim goes through.
pub fn stages(victim: Side) -> &'static [Stage] {
    match victim {
        Side::Server => &[Stage::First, Stage::Confirmed],
        Side::Client => &[Stage::First, Stage::ServerHello, Stage::Complete, Stage::Confirmed],
    }
}

/// A packet of the victim, opened.
#[derive(Debug)]
pub struct Heard {
    pub level: Level,
    pub pn: PacketNumber,
    pub frames: Vec<Frame>,
    /// Length of its datagram, bytes.
    pub datagram_len: usize,
    /// Where it went.
    pub path: FourTuple,
    pub dcid: ConnectionId,
}

/// The hostile peer, its victim, and what it heard from it.
pub struct Hostile {
    pub pair: Pair,
    pub victim_side: Side,
    pub heard: Vec<Heard>,
    /// Where the hostile datagrams come from.
    pub path: FourTuple,
    /// The next packet numbers.
    pub next: [PacketNumber; 3],
    pub header: Overrides,
    initial: Keys,
    /// The victim's next packet numbers.
    expected: [PacketNumber; 3],
}

/// What a hostile header says instead of the truth.
#[derive(Debug, Default, Clone)]
pub struct Overrides {
    pub dcid: Option<ConnectionId>,
    pub scid: Option<ConnectionId>,
    pub token: Vec<u8>,
    /// Or-ed into the first byte before it is protected.
    pub first_byte: u8,
    /// Taken out of it.
    pub first_byte_clear: u8,
}

impl Hostile {
    /// Runs a handshake up to `stage` of the victim.
    pub fn new(victim_side: Side, stage: Stage) -> Self {
        Self::with(Setup::default(), victim_side, stage)
    }

    pub fn with(setup: Setup, victim_side: Side, stage: Stage) -> Self {
        let mut pair = Pair::new(setup);
        match (victim_side, stage) {
            (_, Stage::Confirmed) => pair.run_for(200 * MS),
            // 10 ms one way: at 10 the server answers, at 20 the client completes, at 30 the server does.
            (Side::Client, Stage::First | Stage::ServerHello) => pair.run_for(15 * MS),
            _ => pair.run_for(25 * MS),
        }
        let mut hostile = Self::over(pair, victim_side);
        if (victim_side, stage) == (Side::Client, Stage::ServerHello) {
            let mut datagram = hostile.pair.client.inbox.pop_front().unwrap().1;
            datagram.truncate(header::parse_greased(&datagram, 8).unwrap().len);
            hostile.deliver(datagram);
            assert!(hostile.victim().connection.keys.handshake.is_some());
        }
        hostile.check(stage);
        hostile
    }

    /// Takes over one end of what goes on.
    pub fn over(pair: Pair, victim_side: Side) -> Self {
        let original = pair.client.connection.handshake.original_dcid;
        let initial_dcid = pair.client.connection.handshake.retry_scid.unwrap_or(original);
        let initial = initial_keys(VERSION_1, &initial_dcid, victim_side.peer());
        let path = tuple(if victim_side == Side::Client { 4433 } else { 5000 });
        let header = Overrides::default();
        let mut hostile = Self {
            pair,
            victim_side,
            heard: Vec::new(),
            path,
            next: [0; 3],
            header,
            initial,
            expected: [0; 3],
        };
        // Where a space was discarded nobody knows any more; that many packets were not sent in it.
        let next =
            |connection: &Connection, id| connection.spaces.get(id).map_or(100, |space| space.sent.next());
        hostile.expected = SpaceId::ALL.map(|id| next(&hostile.victim().connection, id));
        hostile.next = SpaceId::ALL.map(|id| next(hostile.hostile(), id));
        hostile
    }

    fn check(&mut self, stage: Stage) {
        let victim = &self.victim().connection;
        let state = (victim.is_handshake_complete(), victim.handshake.is_confirmed());
        let expected = match stage {
            Stage::First | Stage::ServerHello => (false, false),
            Stage::Complete => (true, false),
            Stage::Confirmed => (true, true),
        };
        assert_eq!(state, expected, "{stage:?}");
    }

    pub fn victim(&mut self) -> &mut Peer {
        match self.victim_side {
            Side::Client => &mut self.pair.client,
            Side::Server => self.pair.server(),
        }
    }

    /// The connection whose keys are used.
    pub fn hostile(&mut self) -> &mut Connection {
        match self.victim_side {
            Side::Client => &mut self.pair.server().connection,
            Side::Server => &mut self.pair.client.connection,
        }
    }

    /// True if there are keys to seal packets of this level.
    pub fn has_keys(&mut self, level: Level) -> bool {
        level == Level::Initial || self.hostile().keys.local(level).is_some()
    }

    /// Where hostile packets go, unless a test wants otherwise.
    pub fn dcid(&mut self) -> ConnectionId {
        self.hostile().paths.active.remote_cid.id
    }

    /// Seals `payload` in a packet with the next number.
    pub fn packet(&mut self, level: Level, payload: &[u8]) -> Vec<u8> {
        let index = level.space().index();
        let pn = self.next[index];
        self.next[index] += 1;
        self.packet_numbered(level, pn, payload)
    }

    /// Seals `payload` in a packet with any number.
    pub fn packet_numbered(&mut self, level: Level, pn: PacketNumber, payload: &[u8]) -> Vec<u8> {
        let key_phase = self.hostile().keys.one_rtt.as_ref().is_some_and(|keys| keys.phase);
        let (mut packet, layout) = self.plain(level, pn, key_phase, payload);
        let keys = match level {
            Level::Initial => &self.initial.local,
            _ => self.hostile().keys.local(level).expect("no keys"),
        };
        seal(&mut packet, &layout, pn, &keys.header, &keys.packet);
        packet
    }

    /// A packet that is not sealed yet, with room for the tag.
    pub fn plain(
        &mut self,
        level: Level,
        pn: PacketNumber,
        key_phase: bool,
        payload: &[u8],
    ) -> (Vec<u8>, Layout) {
        let Overrides { dcid, scid, token, first_byte, first_byte_clear } = self.header.clone();
        let dcid = dcid.unwrap_or_else(|| self.dcid());
        let scid = scid.unwrap_or_else(|| self.hostile().local_cids.initial());
        let mut packet = Vec::new();
        let ty = match level {
            Level::Initial => LongType::Initial,
            Level::Handshake => LongType::Handshake,
            Level::ZeroRtt => LongType::ZeroRtt,
            Level::OneRtt => LongType::Initial,
        };
        let layout = if level == Level::OneRtt {
            ShortHeader { dcid, spin: false, key_phase }.encode(&mut packet, pn, 4)
        } else {
            LongHeader { ty, version: VERSION_1, dcid, scid, token: &token }.encode(&mut packet, pn, 4)
        };
        packet[0] = packet[0] & !first_byte_clear | first_byte;
        packet.extend_from_slice(payload);
        packet.resize(packet.len() + PacketKey::TAG_LEN, 0);
        layout.fill_length(&mut packet);
        (packet, layout)
    }

    /// Hands the victim a datagram and opens what it answers.
    pub fn deliver(&mut self, datagram: impl Into<Vec<u8>>) {
        let (now, path) = (self.pair.now, self.path);
        self.victim().connection.handle_burst(now, Burst::single(now, path, None, datagram.into()));
        self.listen();
    }

    /// The same for several datagrams of one length in one burst.
    pub fn deliver_burst(&mut self, datagrams: &[Vec<u8>]) {
        let (now, path) = (self.pair.now, self.path);
        let burst = Burst {
            received: now,
            path,
            ecn: None,
            segment_size: datagrams[0].len(),
            buffer: datagrams.concat().into(),
        };
        self.victim().connection.handle_burst(now, burst);
        self.listen();
    }

    /// Sends frames in a packet of their own; Initials are padded.
    pub fn send(&mut self, level: Level, frames: &[Frame]) {
        let mut payload = encode(frames);
        if level == Level::Initial {
            payload.resize(payload.len().max(MIN_DATAGRAM_SIZE), 0);
        }
        let packet = self.packet(level, &payload);
        self.deliver(packet);
    }

    /// Sends frames in a datagram of full size.
    pub fn send_padded(&mut self, frames: &[Frame]) {
        let mut payload = encode(frames);
        payload.resize(payload.len().max(MIN_DATAGRAM_SIZE), 0);
        let packet = self.packet(Level::OneRtt, &payload);
        self.deliver(packet);
    }

    /// IDs of the victim that the hostile end has not used.
    pub fn spare_dcids(&mut self) -> Vec<ConnectionId> {
        let cids = &mut self.hostile().remote_cids;
        std::iter::from_fn(|| cids.take_unused()).map(|cid| cid.id).collect()
    }

    /// Lets time pass for the victim.
    pub fn wait(&mut self, time: Duration) {
        let until = self.pair.now + time;
        loop {
            self.listen();
            let Some(at) = self.victim().timeout.filter(|at| *at <= until) else { break };
            self.pair.now = self.pair.now.max(at);
            let now = self.pair.now;
            self.victim().connection.handle_timeout(now);
        }
        self.pair.now = until;
    }

    /// Opens what the victim has to say.
    pub fn listen(&mut self) {
        let now = self.pair.now;
        for (meta, datagram) in self.victim().drain_with_meta(now) {
            let datagram_len = datagram.len();
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let partial = header::parse_greased(rest, self.hostile().local_cids.cid_len()).unwrap();
                let (packet, after) = rest.split_at(partial.len);
                rest = after;
                let level = match partial.header {
                    ProtectedHeader::Initial { .. } => Level::Initial,
                    ProtectedHeader::Handshake { .. } => Level::Handshake,
                    ProtectedHeader::Short { .. } => Level::OneRtt,
                    other => panic!("{other:?}"),
                };
                if let Some((pn, frames)) = self.open(level, packet, partial.pn_offset) {
                    let dcid = *partial.header.dcid();
                    self.heard.push(Heard { level, pn, frames, datagram_len, path: meta.path, dcid });
                }
            }
        }
    }

    /// Opens a packet with the victim's own keys: those of the hostile end may be of another key phase by now.
    fn open(&mut self, level: Level, packet: &[u8], pn_offset: usize) -> Option<(PacketNumber, Vec<Frame>)> {
        let mut packet = packet.to_vec();
        let peer = match self.victim_side {
            Side::Client => &self.pair.client,
            Side::Server => self.pair.server.as_ref()?,
        };
        // A client that turns to the next level forgets the keys of the one before as it sends.
        let keys = match peer.connection.keys.local(level) {
            None if level == Level::Initial => &self.initial.remote,
            keys => keys?,
        };
        let (_, truncated, pn_len) = keys.header.unprotect(&mut packet, pn_offset)?;
        let expected = self.expected[level.space().index()];
        let pn = packet_number::decode(truncated, pn_len, expected);
        self.expected[level.space().index()] = expected.max(pn + 1);
        let (header, payload) = packet.split_at_mut(pn_offset + pn_len);
        let len = keys.packet.open(pn, header, payload).expect("sealed with another key");
        let mut frames = Frames::new(Bytes::copy_from_slice(&payload[..len]));
        Some((pn, std::iter::from_fn(|| frames.next().unwrap()).collect()))
    }

    /// The code and frame type of the CONNECTION_CLOSE that was heard.
    pub fn close(&self) -> Option<(Code, Option<u64>)> {
        self.heard.iter().flat_map(|packet| &packet.frames).find_map(|frame| match frame {
            Frame::ConnectionClose(close) => match close.error {
                CloseError::Transport { code, frame_type } => Some((code, frame_type)),
                CloseError::Application { .. } => panic!("an application close"),
            },
            _ => None,
        })
    }

    /// Asserts that the victim has closed with this code, blames this frame type, and tells both.
    #[track_caller]
    pub fn assert_closed(&mut self, code: Code, frame_type: Option<u64>) {
        let error = match self.victim().closed() {
            Some(ConnectionError::Transport { by: ClosedBy::Local, error }) => error.clone(),
            other => panic!("expected {code}, not {other:?}"),
        };
        assert_eq!((error.code, error.frame_type), (code, frame_type), "{}", error.reason);
        // Type 0 on the wire is PADDING, and stands for an unknown frame.
        assert_eq!(self.close(), Some((code, frame_type.filter(|ty| *ty != 0))), "{error}");
        assert!(self.victim().connection.tombstone().unwrap().close.is_some());
    }

    #[track_caller]
    pub fn assert_open(&mut self) {
        assert_eq!(self.victim().closed(), None);
    }

    /// All frames heard since the last call.
    pub fn frames(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.heard).into_iter().flat_map(|packet| packet.frames).collect()
    }
}

pub fn encode(frames: &[Frame]) -> Vec<u8> {
    let mut payload = Vec::new();
    frames.iter().for_each(|frame| frame.encode(&mut payload));
    payload
}

/// Seals a packet in place and protects its header.
pub fn seal(packet: &mut [u8], layout: &Layout, pn: PacketNumber, header: &HeaderKey, key: &PacketKey) {
    key.seal(pn, packet, layout.payload());
    header.protect(packet, layout.pn);
}

/// A number as a variable-length integer.
pub fn varint(value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    VarInt::from_u64(value).unwrap().encode(&mut out);
    out
}

/// An ACK frame of these ranges, newest first.
pub fn ack(ranges: &[std::ops::RangeInclusive<PacketNumber>]) -> Frame {
    let mut bytes = Vec::new();
    crate::wire::frame::encode_ack(ranges.iter().cloned(), 0, None, usize::MAX, &mut bytes);
    Frames::new(bytes.into()).next().unwrap().unwrap()
}
