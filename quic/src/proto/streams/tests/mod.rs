//! Streams as a whole: two ends and a toy channel, or one end and a peer that does what it likes.

mod hostile;
mod receiving;
mod reset_at;
mod scale;
mod sending;
mod transfer;
mod unordered;
mod windows;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::packet::{Priority, TransportError, TransportErrorCode};
use crate::proto::space::Tokens;
use crate::proto::transmit::{FrameCounts, FrameWriter, PacketContent};
use crate::wire::frame::{Frame, Frames};

/// A packet as the sender remembers it and as the receiver sees it.
#[derive(Debug, Clone)]
struct Packet {
    frames: Vec<Frame>,
    tokens: Tokens,
}

/// Windows of 1000 bytes per stream and 3000 altogether, ten streams of each kind, both ways.
fn limits() -> StreamLimits {
    StreamLimits {
        receive_window: 3000,
        stream_window_bidi_local: 1000,
        stream_window_bidi_remote: 1000,
        stream_window_uni: 1000,
        max_receive_window: 3000,
        max_stream_window: 1000,
        max_concurrent_bidi: 10,
        max_concurrent_uni: 10,
    }
}

/// What the peer of an end with these limits is told.
fn as_peer_limits(limits: StreamLimits) -> PeerLimits {
    PeerLimits {
        initial_max_data: limits.receive_window,
        initial_max_stream_data_bidi_local: limits.stream_window_bidi_local,
        initial_max_stream_data_bidi_remote: limits.stream_window_bidi_remote,
        initial_max_stream_data_uni: limits.stream_window_uni,
        initial_max_streams_bidi: limits.max_concurrent_bidi,
        initial_max_streams_uni: limits.max_concurrent_uni,
        reset_stream_at: true,
    }
}

fn end(side: Side) -> Streams {
    let mut streams = Streams::new(side, limits());
    streams.set_peer_limits(as_peer_limits(limits()));
    assert_eq!(streams.poll_event(), Some(StreamEvent::Limit { dir: Dir::Bi, streams: 10 }));
    assert_eq!(streams.poll_event(), Some(StreamEvent::Limit { dir: Dir::Uni, streams: 10 }));
    assert_eq!(streams.poll_event(), None);
    streams
}

fn bi(side: Side, index: u64) -> StreamId {
    StreamId::new(side, Dir::Bi, index)
}

fn uni(side: Side, index: u64) -> StreamId {
    StreamId::new(side, Dir::Uni, index)
}

fn code(code: u32) -> VarInt {
    VarInt::from_u32(code)
}

/// When the tests begin.
#[expect(clippy::disallowed_methods, reason = "any moment will do")]
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Fills a packet of `size` bytes; `None` if nothing was written.
fn packet(streams: &mut Streams, size: usize) -> Option<Packet> {
    packet_at(streams, start(), size)
}

/// The same at some moment; a round trip takes 100 ms.
fn packet_at(streams: &mut Streams, now: Instant, size: usize) -> Option<Packet> {
    let (mut buf, mut content, mut counts) = (Vec::new(), PacketContent::default(), FrameCounts::default());
    let mut w = FrameWriter::new(&mut buf, size, &mut content, &mut counts);
    streams.write_control(now, Duration::from_millis(100), &mut w);
    streams.write_data(&mut w);
    assert!(buf.len() <= size);
    let mut frames = Frames::new(Bytes::from(buf));
    let frames: Vec<_> = std::iter::from_fn(|| frames.next().expect("what we write parses")).collect();
    (!frames.is_empty()).then_some(Packet { frames, tokens: content.tokens })
}

/// One packet, which must hold everything there is to send.
fn flush(streams: &mut Streams) -> Packet {
    let packet = packet(streams, 65_536).expect("something to send");
    assert!(!streams.wants_to_send());
    packet
}

fn assert_quiet(streams: &mut Streams) {
    assert!(!streams.wants_to_send());
    assert!(packet(streams, 65_536).is_none());
    assert_eq!(streams.poll_event(), None);
}

fn acked(streams: &mut Streams, packet: &Packet) {
    packet.tokens.iter().for_each(|token| streams.on_acked(token));
}

fn lost(streams: &mut Streams, packet: &Packet) {
    packet.tokens.iter().for_each(|token| streams.on_lost(token));
}

fn receive(streams: &mut Streams, frame: &Frame) -> Result<(), TransportError> {
    match frame.clone() {
        Frame::Stream(f) => streams.on_stream(f.id, f.offset, f.fin, f.data),
        Frame::ResetStream(f) => streams.on_reset_stream(f.id, f.error_code, f.final_size).map(drop),
        Frame::ResetStreamAt(f) => {
            streams.on_reset_stream_at(f.id, f.error_code, f.final_size, f.reliable_size).map(drop)
        }
        Frame::StopSending(f) => streams.on_stop_sending(f.id, f.error_code).map(drop),
        Frame::MaxData(f) => {
            streams.on_max_data(f.maximum);
            Ok(())
        }
        Frame::MaxStreamData(f) => streams.on_max_stream_data(f.id, f.maximum),
        Frame::MaxStreams(f) => streams.on_max_streams(f.dir, f.maximum),
        Frame::DataBlocked(f) => {
            streams.on_data_blocked(f.limit);
            Ok(())
        }
        Frame::StreamDataBlocked(f) => streams.on_stream_data_blocked(f.id, f.limit),
        Frame::StreamsBlocked(f) => streams.on_streams_blocked(f.dir, f.limit),
        Frame::Padding(_) => Ok(()),
        other => panic!("not ours: {other:?}"),
    }
}

fn deliver(packet: &Packet, to: &mut Streams) {
    for frame in &packet.frames {
        receive(to, frame).unwrap_or_else(|error| panic!("{frame:?}: {error}"));
    }
}

fn events(streams: &mut Streams) -> Vec<StreamEvent> {
    std::iter::from_fn(|| streams.poll_event()).collect()
}

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn zeroes(len: usize) -> Bytes {
    Bytes::from(vec![0; len])
}

/// STREAM frames of a packet: id, offset, length, fin.
fn stream_frames(packet: &Packet) -> Vec<(StreamId, u64, usize, bool)> {
    let stream = |frame: &Frame| match frame {
        Frame::Stream(f) => Some((f.id, f.offset, f.data.len(), f.fin)),
        _ => None,
    };
    packet.frames.iter().filter_map(stream).collect()
}
