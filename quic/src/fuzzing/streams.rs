//! The stream state machines and the reassembly of their data, without packets.

use bytes::Bytes;

use super::input::Input;
use crate::packet::{Dir, Side, StreamId};
use crate::proto::streams::assembler::Assembler;
use crate::proto::streams::{PeerLimits, RecvChunk, StreamLimits, Streams};
use crate::wire::VarInt;

/// The byte at an offset of every stream.
#[expect(clippy::cast_possible_truncation, reason = "a pattern")]
pub(super) fn pattern(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9) >> 16) as u8
}

/// `len` bytes of a stream from an offset on.
pub(super) fn piece(offset: u64, len: usize) -> Bytes {
    (offset..).take(len).map(pattern).collect()
}

/// Pieces in any order come out in order, each byte once.
pub fn assembler(input: &[u8]) {
    let mut input = Input(input);
    let mut assembler = Assembler::default();
    let (mut read, mut end) = (0, 0);
    while !input.is_empty() {
        let (control, offset, len) =
            (input.byte(), u64::from(input.short()), usize::from(input.short() % 5000));
        end = end.max(offset + len as u64);
        assembler.insert(offset, piece(offset, len), control & 1 == 0);
        if control & 2 == 0 {
            while let Some(bytes) = assembler.read() {
                assert!(!bytes.is_empty());
                assert_eq!(bytes, piece(read, bytes.len()));
                read += bytes.len() as u64;
            }
            assert_eq!(read, assembler.received());
        }
        assert!(assembler.received() <= end);
    }
}

/// Frames of a peer and calls of an application in any order: proper errors, and flow control holds.
pub fn streams(input: &[u8]) {
    let mut input = Input(input);
    let side = if input.byte() & 1 == 0 { Side::Client } else { Side::Server };
    let limits = StreamLimits {
        receive_window: 20_000,
        stream_window_bidi_local: 10_000,
        stream_window_bidi_remote: 10_000,
        stream_window_uni: 10_000,
        max_receive_window: 80_000,
        max_stream_window: 40_000,
        max_concurrent_bidi: 10,
        max_concurrent_uni: 10,
    };
    let mut streams = Streams::new(side, limits);
    streams.set_peer_limits(PeerLimits {
        initial_max_data: 20_000,
        initial_max_stream_data_bidi_local: 10_000,
        initial_max_stream_data_bidi_remote: 10_000,
        initial_max_stream_data_uni: 10_000,
        initial_max_streams_bidi: 10,
        initial_max_streams_uni: 10,
        reset_stream_at: true,
    });
    streams.begin_burst(1 << 16);
    let mut released = Vec::new();
    while !input.is_empty() {
        let (op, which) = (input.byte(), input.byte());
        let id = StreamId::new(
            if which & 1 == 0 { Side::Client } else { Side::Server },
            if which & 2 == 0 { Dir::Bi } else { Dir::Uni },
            u64::from(which >> 2),
        );
        let code = VarInt::from(u32::from(op));
        let result = match op % 16 {
            0..=3 => {
                let (offset, len) = (input.number(), usize::from(input.short() % 2000));
                let data = piece(offset, len);
                streams.on_stream(id, offset, op & 16 != 0, data)
            }
            4 if op & 16 == 0 => streams.on_reset_stream(id, code, input.number()).map(drop),
            4 => {
                let final_size = input.number();
                streams.on_reset_stream_at(id, code, final_size, input.number().min(final_size)).map(drop)
            }
            5 => streams.on_stop_sending(id, code).map(drop),
            6 => {
                streams.on_max_data(input.number());
                Ok(())
            }
            7 => streams.on_max_stream_data(id, input.number()),
            8 => streams.on_max_streams(id.dir(), input.number()),
            9 => streams.on_streams_blocked(id.dir(), input.number()),
            10 => streams.on_stream_data_blocked(id, input.number()),
            _ => {
                // The application uses what it may: its own streams within the limit, the peer's once they are open.
                let ours = id.initiator() == side;
                if ours && id.index() < streams.local_limit(id.dir()) && !released.contains(&id) {
                    use_stream(&mut streams, id, op, &mut input, &mut released);
                } else {
                    read(&mut streams, id);
                }
                Ok(())
            }
        };
        for _ in 0..1000 {
            if streams.poll_event().is_none() {
                break;
            }
        }
        assert!(streams.len() <= 200, "{} streams", streams.len());
        if result.is_err() {
            // The connection would close.
            return;
        }
    }
}

fn use_stream(
    streams: &mut Streams,
    id: StreamId,
    op: u8,
    input: &mut Input<'_>,
    released: &mut Vec<StreamId>,
) {
    match op % 16 {
        11 => streams.write(id, piece(0, usize::from(input.short() % 3000))),
        12 => streams.finish(id),
        13 if op & 16 == 0 => streams.reset(id, VarInt::from(7u32)),
        13 => assert!(streams.reset_at(id, VarInt::from(7u32), input.short().into())),
        14 if id.dir() == Dir::Bi => streams.stop(id, VarInt::from(8u32)),
        _ => {
            streams.release(id);
            released.push(id);
        }
    }
}

fn read(streams: &mut Streams, id: StreamId) {
    // Some in any order; the order of these is lost for good.
    let next = |streams: &mut Streams| match id.index() % 4 {
        3 => streams.read_unordered(id),
        _ => streams.read(id).map(|chunk| (0, chunk)),
    };
    while let Some((_, chunk)) = next(streams) {
        let RecvChunk::Data(bytes) = chunk else { return };
        streams.consumed(id, bytes.len() as u64);
    }
}
