//! The frames of an opened packet, each handed to its owner (RFC 9000 §12.4).

use std::time::Instant;

use bytes::Bytes;

use super::PacketInfo;
use crate::packet::{Level, SpaceId, StreamId, TransportError, TransportErrorCode as Code};
use crate::proto::connection::Connection;
use crate::wire::frame::{EncodeFrame as _, Frame, Frames};

impl Connection {
    /// An authenticated packet: drops it if it is a duplicate, else hands out its frames.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        info: PacketInfo<'_>,
        payload: Bytes,
    ) -> Result<(), TransportError> {
        if !self.lifecycle.is_open() {
            return Ok(());
        }
        let space = info.level.space();
        let Some(received) = self.spaces.get(space).map(|space| &space.received) else { return Ok(()) };
        if received.is_duplicate(info.pn) {
            self.stats.packets_dropped += 1;
            return Ok(());
        }
        if payload.is_empty() {
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, "a packet without frames"));
        }
        let newest = received.largest().is_none_or(|largest| info.pn > largest);
        if let Some(tuple) = info.elsewhere {
            if self.came_to_old_address(tuple, newest) {
                self.stats.packets_dropped += 1;
                return Ok(());
            }
            self.admit(now, tuple, info.dcid);
        }
        self.stats.packets_received += 1;
        match info.level {
            Level::ZeroRtt => self.stats.early_packets_received += 1,
            Level::OneRtt => self.limit_early_keys(now),
            Level::Initial | Level::Handshake => {}
        }
        self.streams.set_early(info.level == Level::ZeroRtt);
        let (mut ack_eliciting, mut probing, mut frames_here) = (false, true, 0);
        let mut frames = Frames::new(payload);
        while let Some(frame) = frames.next()? {
            if !frame.allowed_in(info.level) || !frame.allowed_from(self.side.peer()) {
                let reason = "a frame that these packets of this peer must not carry";
                return Err(
                    TransportError::new(Code::PROTOCOL_VIOLATION, reason).in_frame(frame.frame_type())
                );
            }
            self.stats.frames_received += 1;
            frames_here += u32::from(!matches!(frame, Frame::Padding(_)));
            ack_eliciting |= frame.is_ack_eliciting();
            probing &= frame.is_probing();
            let frame_type = frame.frame_type();
            self.on_frame(now, &info, frame).map_err(|error| error.in_frame(frame_type))?;
            if !self.lifecycle.is_open() {
                return Ok(());
            }
        }
        self.check_idle_frames(now, frames_here)?;
        self.idle.on_received(now);
        if let Some(space) = self.spaces.get_mut(space) {
            space.received.on_packet(info.received, info.pn, info.ecn, ack_eliciting);
        }
        if newest && !probing && !self.paths.is_quiet() {
            self.on_non_probing(now, info.elsewhere);
        }
        if space == SpaceId::Initial && ack_eliciting {
            self.resend_flights(now);
        }
        Ok(())
    }

    /// The peer may give up a stream with a frame. What we have opened is another matter: that is as often as we like.
    fn count_reset(&mut self, now: Instant, id: StreamId, abandons: bool) -> Result<(), TransportError> {
        if abandons && id.initiator() != self.side { self.on_reset_of_peer(now) } else { Ok(()) }
    }

    fn on_frame(&mut self, now: Instant, info: &PacketInfo<'_>, frame: Frame) -> Result<(), TransportError> {
        match frame {
            Frame::Padding(_) => Ok(()),
            Frame::Ping => {
                self.floods.idle += 1;
                Ok(())
            }
            Frame::Stream(f) => self.streams.on_stream(f.id, f.offset, f.fin, f.data),
            Frame::Ack(ack) => self.on_ack(now, info, &ack),
            Frame::Crypto(f) => self.on_crypto(now, info.level, f.offset, &f.data),
            Frame::ResetStream(f) => {
                let abandons = self.streams.on_reset_stream(f.id, f.error_code, f.final_size)?;
                self.count_reset(now, f.id, abandons)
            }
            Frame::ResetStreamAt(f) if self.config.reset_stream_at => {
                let abandons =
                    self.streams.on_reset_stream_at(f.id, f.error_code, f.final_size, f.reliable_size)?;
                self.count_reset(now, f.id, abandons)
            }
            Frame::ResetStreamAt(_) => Err(TransportError::new(
                Code::FRAME_ENCODING_ERROR,
                "a frame that the peer was not told to be known",
            )),
            Frame::StopSending(f) => {
                let abandons = self.streams.on_stop_sending(f.id, f.error_code)?;
                self.count_reset(now, f.id, abandons)
            }
            Frame::MaxData(f) => {
                self.streams.on_max_data(f.maximum);
                Ok(())
            }
            Frame::MaxStreamData(f) => self.streams.on_max_stream_data(f.id, f.maximum),
            Frame::MaxStreams(f) => self.streams.on_max_streams(f.dir, f.maximum),
            Frame::DataBlocked(f) => {
                self.streams.on_data_blocked(f.limit);
                Ok(())
            }
            Frame::StreamsBlocked(f) => self.streams.on_streams_blocked(f.dir, f.limit),
            Frame::StreamDataBlocked(f) => self.streams.on_stream_data_blocked(f.id, f.limit),
            Frame::NewConnectionId(f) => self.on_new_connection_id(now, &f),
            Frame::RetireConnectionId(f) => self.on_retire_connection_id(now, info, f.sequence),
            Frame::PathChallenge(f) => {
                self.floods.idle += 1;
                self.on_path_challenge(info, f.data);
                Ok(())
            }
            Frame::PathResponse(f) => {
                self.floods.idle += 1;
                self.on_path_response(now, f.data);
                Ok(())
            }
            Frame::ConnectionClose(f) => {
                self.on_connection_close(now, &f);
                Ok(())
            }
            Frame::NewToken(f) => {
                self.floods.idle += 1;
                self.on_new_token(&f.token);
                Ok(())
            }
            Frame::HandshakeDone => {
                self.floods.idle += u32::from(self.handshake.is_confirmed());
                self.on_handshake_confirmed(now);
                Ok(())
            }
            Frame::Datagram(f) => self.datagrams.on_frame(f),
            Frame::ImmediateAck => self.on_immediate_ack(),
            Frame::AckFrequency(f) => self.on_ack_frequency(&f),
        }
    }
}
