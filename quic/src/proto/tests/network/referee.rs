//! Watches the senders: opens every packet with its sender's keys, and holds it against what a sender must and must not do.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use bytes::Bytes;

use crate::crypto::{DirectionKeys, initial_keys};
use crate::packet::{
    ConnectionId, Dir, Level, MIN_DATAGRAM_SIZE, PacketNumber, ResetToken, Side, SpaceId, StreamId,
};
use crate::proto::connection::Connection;
use crate::wire::frame::*;
use crate::wire::header::{self, KEY_PHASE, LONG_RESERVED, PartialPacket, QUIC_BIT, SHORT_RESERVED};
use crate::wire::packet_number;

/// How much of each stream is remembered, to compare what is sent again, bytes.
const REMEMBERED: u64 = 64 * 1024;

/// One run: a client, and the connections that its Initials made at the server, each known by its first ID.
#[derive(Default)]
pub(super) struct Referee {
    client: Option<End>,
    servers: Vec<(ConnectionId, End)>,
    /// What the Initial keys come from: the client's first destination ID, then the source ID of a Retry.
    initial_dcids: Vec<ConnectionId>,
    /// Who has used the keys after the first ones.
    updated: [bool; 2],
    /// Packets that were looked at.
    pub(super) packets: u64,
}

/// What one end has said so far.
struct End {
    /// The next packet number at the earliest.
    next: [PacketNumber; 3],
    /// Numbers that it left out.
    skipped: [BTreeSet<PacketNumber>; 3],
    crypto: [Pieces; 3],
    streams: BTreeMap<StreamId, Sending>,
    /// Bytes of streams, by the highest offset of each.
    total: u64,
    issued: BTreeMap<u64, (ConnectionId, ResetToken)>,
    granted: Granted,
    sent_handshake: bool,
    /// The highest space with TLS data.
    highest: usize,
}

/// What one end allows the other one to send.
struct Granted {
    data: u64,
    streams: [u64; 2],
    /// On streams that the other end opens, by direction, and on bidirectional ones of its own.
    initial: [u64; 3],
    stream_data: BTreeMap<StreamId, u64>,
}

#[derive(Default)]
struct Sending {
    pieces: Pieces,
    highest: u64,
    final_size: Option<u64>,
    reset: Option<ResetStream>,
    reset_at: Option<ResetStreamAt>,
}

/// The first bytes of a stream, and which of them are known.
#[derive(Default)]
struct Pieces(Vec<Option<u8>>);

impl Pieces {
    /// The same offset never has another byte.
    fn add(&mut self, offset: u64, data: &[u8]) {
        let end = (offset + data.len() as u64).min(REMEMBERED) as usize;
        self.0.resize(self.0.len().max(end), None);
        for (old, new) in self.0.iter_mut().skip(offset as usize).zip(data) {
            assert_eq!(old.get_or_insert(*new), new, "other data at the same offset");
        }
    }
}

impl Pieces {
    /// The types of the TLS messages that these are.
    fn messages(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.0.iter().map_while(|byte| *byte).collect();
        let (mut types, mut rest) = (Vec::new(), &bytes[..]);
        while let [ty, a, b, c, ..] = rest {
            types.push(*ty);
            let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            rest = rest.get(4 + len..).unwrap_or_default();
        }
        types
    }
}

impl End {
    fn new(connection: &Connection) -> Self {
        let config = &connection.config;
        let window = config.stream_receive_window;
        Self {
            next: [0; 3],
            skipped: Default::default(),
            crypto: Default::default(),
            streams: BTreeMap::new(),
            total: 0,
            issued: BTreeMap::from([(0, (connection.local_cids.initial(), ResetToken([0; 16])))]),
            granted: Granted {
                data: config.receive_window,
                streams: [config.max_concurrent_bidi_streams, config.max_concurrent_uni_streams],
                initial: [window; 3],
                stream_data: BTreeMap::new(),
            },
            sent_handshake: false,
            highest: 0,
        }
    }
}

/// A packet that was opened.
struct Packet {
    level: Level,
    frames: Vec<Frame>,
}

impl Referee {
    /// `sender` sends this datagram. Nothing has come in since it wrote it.
    pub(super) fn look(&mut self, sender: &Connection, datagram: &[u8]) {
        let cid_len = sender.paths.active.remote_cid.id.len();
        let mut rest = datagram;
        let mut dcids = HashSet::new();
        let mut packets = Vec::new();
        while !rest.is_empty() {
            let partial =
                header::parse_greased(rest, cid_len).expect("a packet that we would not read ourselves");
            let (packet, after) = rest.split_at(partial.len);
            rest = after;
            dcids.insert(*partial.header.dcid());
            packets.extend(self.open(sender, &partial, packet));
        }
        assert_eq!(dcids.len(), 1, "coalesced packets to different IDs");
        self.packets += packets.len() as u64;
        Self::judge_size(sender, datagram.len(), &packets);
        for packet in packets {
            for frame in packet.frames {
                self.judge_frame(sender, packet.level, frame);
            }
        }
    }

    fn end(&mut self, of: &Connection) -> &mut End {
        if of.side().is_client() {
            return self.client.get_or_insert_with(|| End::new(of));
        }
        let id = of.local_cids.initial();
        let known = self.servers.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
            self.servers.push((id, End::new(of)));
            self.servers.len() - 1
        });
        &mut self.servers[known].1
    }

    /// Those whom this end may be talking to.
    fn peers(&self, side: Side) -> Vec<&End> {
        match side {
            Side::Client => self.servers.iter().map(|(_, end)| end).collect(),
            Side::Server => self.client.iter().collect(),
        }
    }

    /// `None` for packets whose keys nobody kept.
    fn open(&mut self, sender: &Connection, partial: &PartialPacket, packet: &[u8]) -> Option<Packet> {
        // RFC 9287 §3.1
        assert!(packet[0] & QUIC_BIT != 0 || sender.handshake.peer_greases_quic_bit());
        let level = partial.header.level().unwrap_or(Level::OneRtt);
        // RFC 9369 §4.1: but for Initials and 0-RTT, all is of the version in use.
        assert!(level != Level::Handshake || partial.header.version() == Some(sender.version()));
        // A client drops them as it sends its first Handshake packet.
        let kept = sender.side().is_client() || sender.keys.initial.is_some();
        assert!(level != Level::Initial || kept, "an Initial without keys");
        let (first, pn, payload) = if level == Level::Initial {
            let dcid = *partial.header.dcid();
            if sender.side().is_client() && !self.initial_dcids.contains(&dcid) {
                self.initial_dcids.push(dcid);
            }
            let version = partial.header.version().unwrap();
            let next = self.end(sender).next[0];
            self.initial_dcids.iter().find_map(|dcid| {
                let keys = initial_keys(version, dcid, sender.side());
                unseal(&keys.local, partial, packet, next)
            })
        } else {
            let keys = sender.keys.local(level);
            assert!(keys.is_some() || level == Level::ZeroRtt, "a packet without keys");
            let next = self.end(sender).next[level.space().index()];
            Some(unseal(keys?, partial, packet, next).expect("sealed with other keys"))
        }
        .expect("an Initial with unknown keys");

        let reserved = if level == Level::OneRtt { SHORT_RESERVED } else { LONG_RESERVED };
        assert_eq!(first & reserved, 0, "reserved bits");
        if level == Level::OneRtt && first & KEY_PHASE != 0 {
            // Who has not confirmed the handshake may follow an update and not begin one.
            let may_update = sender.handshake.is_confirmed() || self.updated[sender.side().peer() as usize];
            assert!(may_update, "a key update before the handshake is confirmed");
            self.updated[sender.side() as usize] = true;
        }
        assert!(!payload.is_empty(), "a packet without frames");
        let end = self.end(sender);
        let index = level.space().index();
        assert!(pn >= end.next[index], "{level:?} packet number {pn} after {}", end.next[index]);
        end.skipped[index].extend(end.next[index]..pn);
        end.next[index] = pn + 1;
        end.sent_handshake |= level == Level::Handshake;
        assert!(level != Level::Initial || sender.side().is_server() || !end.sent_handshake);
        if sender.handshake.is_confirmed() {
            assert_eq!(level, Level::OneRtt, "the handshake is confirmed");
        }
        let mut frames = Frames::new(payload);
        Some(Packet { level, frames: std::iter::from_fn(|| frames.next().unwrap()).collect() })
    }

    fn judge_size(sender: &Connection, len: usize, packets: &[Packet]) {
        for packet in packets.iter().filter(|packet| packet.level == Level::Initial) {
            let eliciting = packet.frames.iter().any(Frame::is_ack_eliciting);
            assert!(len >= MIN_DATAGRAM_SIZE || (sender.side().is_server() && !eliciting), "{len} bytes");
        }
    }

    fn judge_frame(&mut self, sender: &Connection, level: Level, frame: Frame) {
        assert!(frame.allowed_in(level) && frame.allowed_from(sender.side()), "{frame:?} at {level:?}");
        let space = level.space().index();
        match frame {
            Frame::Ack(ack) => self.judge_ack(sender.side(), level.space(), &ack),
            Frame::Crypto(f) => {
                let end = self.end(sender);
                let known = end.crypto[space].0.len() as u64;
                if f.offset + f.data.len() as u64 > known {
                    assert!(space >= end.highest, "new TLS data at {level:?}, and there was some above it");
                    end.highest = space;
                }
                end.crypto[space].add(f.offset, &f.data);
            }
            Frame::HandshakeDone => assert!(sender.is_handshake_complete()),
            Frame::Stream(f) => {
                let end = f.offset + f.data.len() as u64;
                self.judge_stream(sender, f.id, f.offset..end, f.fin.then_some(end));
                let stream = self.end(sender).streams.get_mut(&f.id).unwrap();
                assert_eq!(stream.reset, None, "data of a stream that was reset");
                stream.pieces.add(f.offset, &f.data);
            }
            Frame::ResetStream(f) => {
                self.judge_stream(sender, f.id, f.final_size..f.final_size, Some(f.final_size));
                let stream = self.end(sender).streams.get_mut(&f.id).unwrap();
                assert_eq!(*stream.reset.get_or_insert(f), f, "another RESET_STREAM");
            }
            Frame::ResetStreamAt(f) => {
                self.judge_stream(sender, f.id, f.final_size..f.final_size, Some(f.final_size));
                let stream = self.end(sender).streams.get_mut(&f.id).unwrap();
                assert_eq!(stream.reset, None, "RESET_STREAM_AT of a stream that was reset");
                let before = stream.reset_at.replace(f).unwrap_or(f);
                assert!(before.error_code == f.error_code && before.reliable_size >= f.reliable_size);
            }
            Frame::StopSending(f) => assert!(receives(sender.side(), f.id)),
            Frame::MaxStreamData(f) => {
                assert!(receives(sender.side(), f.id));
                self.end(sender).granted.stream_data.insert(f.id, f.maximum);
            }
            Frame::MaxData(f) => {
                let data = &mut self.end(sender).granted.data;
                *data = f.maximum.max(*data);
            }
            Frame::MaxStreams(f) => {
                let streams = &mut self.end(sender).granted.streams[f.dir.index()];
                *streams = f.maximum.max(*streams);
            }
            Frame::NewConnectionId(f) => {
                assert!(f.retire_prior_to <= f.sequence);
                let issued = &mut self.end(sender).issued;
                let next = issued.last_key_value().map_or(0, |(last, _)| last + 1);
                assert!(f.sequence <= next, "number {} and not {next}", f.sequence);
                let known = issued.entry(f.sequence).or_insert((f.id, f.reset_token));
                assert_eq!(*known, (f.id, f.reset_token), "number {} again", f.sequence);
                let ids: HashSet<_> = issued.values().map(|(id, _)| *id).collect();
                assert_eq!(ids.len(), issued.len(), "an ID with two numbers");
            }
            _ => {}
        }
    }

    /// The run is over: the handshakes consist of the messages that QUIC allows at each level.
    pub(super) fn judge_handshakes(&self) {
        let ends = self.client.iter().map(|end| (Side::Client, end));
        for (side, end) in ends.chain(self.servers.iter().map(|(_, end)| (Side::Server, end))) {
            for (pieces, level) in end.crypto.iter().zip([Level::Initial, Level::Handshake, Level::OneRtt]) {
                let allowed: &[u8] = match (side, level) {
                    (_, Level::Initial) => &[1, 2],
                    // EncryptedExtensions, CertificateRequest, Certificate, CertificateVerify, Finished
                    (Side::Server, Level::Handshake) => &[8, 13, 11, 15, 20],
                    (Side::Client, Level::Handshake) => &[11, 15, 20],
                    (Side::Server, _) => &[4],
                    (Side::Client, _) => &[],
                };
                let message =
                    |ty: &u8| assert!(allowed.contains(ty), "message {ty} of {side:?} at {level:?}");
                pieces.messages().iter().for_each(message);
            }
        }
    }

    /// Acknowledges only what was sent, in the same space.
    fn judge_ack(&mut self, sender: Side, space: SpaceId, ack: &Ack) {
        let ends = self.peers(sender);
        let index = space.index();
        for range in ack.ranges.iter() {
            let sent = |end: &&End| {
                *range.end() < end.next[index] && end.skipped[index].range(range.clone()).next().is_none()
            };
            assert!(ends.iter().any(sent), "{space:?} acknowledges {range:?}, which was never sent");
        }
    }

    /// Stays within the limits that the other end announced, and within the final size.
    fn judge_stream(&mut self, sender: &Connection, id: StreamId, range: Range<u64>, last: Option<u64>) {
        let side = sender.side();
        assert!(receives(side.peer(), id), "{id:?} from the wrong end");
        let peers = self.peers(side);
        let most = |of: &dyn Fn(&End) -> u64| peers.iter().map(|end| of(end)).max().unwrap_or(u64::MAX);
        let kind = if id.initiator() == side.peer() { 2 } else { id.dir().index() };
        let limit = most(&|end| *end.granted.stream_data.get(&id).unwrap_or(&end.granted.initial[kind]));
        let data = most(&|end| end.granted.data);
        let streams = most(&|end| end.granted.streams[id.dir().index()]);
        assert!(id.initiator() == side.peer() || id.index() < streams, "{id:?}, and {streams} are allowed");
        assert!(range.end <= limit, "{range:?} of {id:?}, and {limit} are allowed");
        let end = self.end(sender);
        let stream = end.streams.entry(id).or_default();
        end.total += range.end.saturating_sub(stream.highest);
        stream.highest = stream.highest.max(range.end);
        assert!(end.total <= data, "{} bytes, and {data} are allowed", end.total);
        if let Some(last) = last {
            assert_eq!(*stream.final_size.get_or_insert(last), last, "another final size of {id:?}");
        }
        assert!(stream.final_size.is_none_or(|size| stream.highest <= size), "data behind the end of {id:?}");
    }
}

/// Whether this end takes data on a stream.
fn receives(side: Side, id: StreamId) -> bool {
    id.dir() == Dir::Bi || id.initiator() == side.peer()
}

/// The first byte, the number and the payload of a packet, if these are its keys.
fn unseal(
    keys: &DirectionKeys,
    partial: &PartialPacket,
    packet: &[u8],
    next: PacketNumber,
) -> Option<(u8, PacketNumber, Bytes)> {
    let mut packet = packet.to_vec();
    let (first, truncated, pn_len) = keys.header.unprotect(&mut packet, partial.pn_offset)?;
    let pn = packet_number::decode(truncated, pn_len, next);
    let (header, payload) = packet.split_at_mut(partial.pn_offset + pn_len);
    let len = keys.packet.open(pn, header, payload)?;
    Some((first, pn, Bytes::copy_from_slice(&payload[..len])))
}

/// A referee that finds nothing might be asleep.
#[test]
fn foul_play_is_found() {
    use crate::error::TransportError;
    use crate::proto::tests::pair::{Pair, Setup};
    use crate::wire::VarInt;

    let mut pair = Pair::new(Setup::default());
    let first = pair.client.drain(pair.now).remove(0);
    let (client, young) = (&pair.client.connection, Pair::new(Setup::default()));
    let mut honest = Referee::default();
    honest.look(client, &first);
    assert_eq!(honest.packets, 1);

    let id = StreamId::new(Side::Client, Dir::Uni, 0);
    let stream = |offset: u64, fin: bool, data: &'static [u8]| -> Frame {
        Stream { id, offset, fin, data: Bytes::from_static(data) }.into()
    };
    let reset = |error_code: u32, final_size: u64| -> Frame {
        ResetStream { id, error_code: VarInt::from_u32(error_code), final_size }.into()
    };
    let reset_at = |error_code: u32, reliable_size: u64| -> Frame {
        ResetStreamAt { id, error_code: VarInt::from_u32(error_code), final_size: 0, reliable_size }.into()
    };
    let ack = |n: u64| -> Result<Option<Frame>, TransportError> {
        let mut bytes = Vec::new();
        encode_ack([n..=n], 0, None, usize::MAX, &mut bytes);
        Frames::new(bytes.into()).next()
    };
    let new_id = |sequence: u64, id: u8| -> Frame {
        let reset_token = ResetToken([id; 16]);
        let id = ConnectionId::try_from(&[id; 8][..]).unwrap();
        NewConnectionId { sequence, retire_prior_to: 0, id, reset_token }.into()
    };
    let fouls: Vec<Vec<Frame>> = vec![
        vec![stream(0, false, b"abc"), stream(1, false, b"x")],
        vec![stream(0, true, b"abc"), stream(3, false, b"d")],
        vec![stream(0, true, b"abc"), stream(0, true, b"ab")],
        vec![reset(1, 0), reset(2, 0)],
        vec![reset(1, 0), reset_at(1, 0)],
        vec![reset_at(1, 0), reset_at(2, 0)],
        vec![reset_at(1, 0), reset_at(1, 1)],
        vec![reset(1, 0), stream(0, false, b"abc")],
        vec![new_id(1, 1), new_id(2, 1)],
        vec![new_id(1, 1), new_id(1, 2)],
        vec![new_id(7, 1)],
        vec![ack(5).unwrap().unwrap()],
        vec![Frame::HandshakeDone],
        vec![NewToken { token: Bytes::from_static(b"t") }.into()],
        vec![StopSending { id, error_code: VarInt::from_u32(1) }.into()],
    ];
    for frames in fouls {
        let context = format!("{frames:?}");
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut referee = Referee::default();
            frames
                .into_iter()
                .for_each(|frame| referee.judge_frame(&young.client.connection, Level::OneRtt, frame));
        }));
        assert!(found.is_err(), "{context}");
    }
    let twice = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| honest.look(client, &first)));
    assert!(twice.is_err(), "a packet number was used again");
}
