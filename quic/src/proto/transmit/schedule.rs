//! Which frames go into a packet, and in which order.

use std::time::{Duration, Instant};

use super::write::FrameWriter;
use crate::packet::SpaceId;
use crate::proto::connection::Connection;
use crate::proto::space::Token;
use crate::wire::frame::{
    HandshakeDone, ImmediateAck, NewConnectionId, PathResponse, Ping, RetireConnectionId,
};

/// An ACK frame takes about so many bytes, unless much was lost.
const ROOM_FOR_ACK: usize = 48;

impl Connection {
    /// Fills a packet. `ack`: with an ACK frame first; `eliciting`: with everything else that waits.
    pub(super) fn write_frames(
        &mut self,
        now: Instant,
        writer: &mut FrameWriter<'_>,
        space: SpaceId,
        ack: bool,
        eliciting: bool,
    ) {
        let waits = ack && eliciting && space == SpaceId::Data;
        if ack && !(waits && self.datagram_needs_room(now, writer.remaining())) {
            let exponent = self.config.ack_delay_exponent;
            let Some(received) = self.spaces.get(space).map(|space| &space.received) else { return };
            // The delay counts in the data space only; elsewhere it is not scaled by what we announced.
            let delay = if space == SpaceId::Data { received.ack_delay(now) } else { Duration::ZERO };
            let delay = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX) >> exponent;
            writer.ack(received.ranges(), delay, received.ecn_counts());
        }
        if !eliciting {
            // Now and then an ACK asks for one itself, so that the ranges to report stay few (RFC 9000 §13.2.4).
            if ack && self.spaces.get(space).is_some_and(|space| space.sent.should_elicit()) {
                writer.frame(&Ping, Some(Token::Ping));
            }
            return;
        }
        if space == SpaceId::Initial && self.write_first_flight(writer) {
            return;
        }
        self.write_crypto(writer, space);
        if space == SpaceId::Data {
            if self.pending.probes(space) > 0 && self.recovery.ack_requests.are_taken() {
                // So that the answer to a probe does not wait.
                writer.frame(&ImmediateAck, None);
            }
            let room = writer.remaining();
            self.write_data_frames(now, writer);
            if writer.content().ack_eliciting && writer.remaining() == room {
                self.one_probe_is_enough(space);
            }
        }
        if self.pending.probes(space) > 0 && !writer.content().ack_eliciting && space != SpaceId::Data {
            // The probe before took all there was. If that is lost, a PING does not bring the handshake on.
            if let Some(crypto) = self.handshake.crypto(space) {
                crypto.repeat();
            }
            self.write_crypto(writer, space);
        }
        let ping = self.pending.probes(space) > 0 || (space == SpaceId::Data && self.pending.ping);
        if ping && !writer.content().ack_eliciting {
            writer.frame(&Ping, Some(Token::Ping));
            self.one_probe_is_enough(space);
        }
        if space == SpaceId::Data {
            self.pending.ping &= !writer.content().ack_eliciting;
        }
    }

    /// There is nothing to send: more probes say no more (RFC 9002 §6.2.4).
    fn one_probe_is_enough(&mut self, space: SpaceId) {
        self.pending.set_probes(space, self.pending.probes(space).min(1));
    }

    /// Writes a client's first flight as it was planned. False if nothing of the plan is left, or a timer has other plans.
    fn write_first_flight(&mut self, writer: &mut FrameWriter<'_>) -> bool {
        let Some(mut plan) = self.handshake.plan.take() else { return false };
        if self.pending.probes(SpaceId::Initial) > 0 {
            return false;
        }
        let alone = !self.space_wants_to_send(SpaceId::Data);
        let Some(crypto) = self.handshake.crypto(SpaceId::Initial) else { return false };
        plan.write(writer, crypto, alone, &mut self.rng);
        let written = writer.content().ack_eliciting;
        self.handshake.plan = Some(plan).filter(|plan| written && !plan.is_done());
        written
    }

    fn write_crypto(&mut self, writer: &mut FrameWriter<'_>, space: SpaceId) {
        let Some(crypto) = self.handshake.crypto(space) else { return };
        while let Some((offset, bytes)) = crypto.next() {
            let fill =
                |out: &mut Vec<u8>, len: usize| out.extend_from_slice(bytes.get(..len).unwrap_or_default());
            let Some(written) = writer.crypto(offset, bytes.len(), fill) else { break };
            crypto.sent(written);
        }
    }

    fn write_ack_frequency(&mut self, writer: &mut FrameWriter<'_>) {
        let requests = &mut self.recovery.ack_requests;
        if let Some(frame) = requests.next_frame()
            && writer.frame(&frame, Some(Token::AckFrequency(frame.sequence)))
        {
            requests.on_sent();
        }
    }

    fn write_data_frames(&mut self, now: Instant, writer: &mut FrameWriter<'_>) {
        if self.pending.handshake_done && writer.frame(&HandshakeDone, Some(Token::HandshakeDone)) {
            self.pending.handshake_done = false;
        }
        while let Some(data) = self.paths.active.responses.next() {
            if !writer.frame(&PathResponse { data }, None) {
                break;
            }
            self.paths.active.responses.sent();
        }
        while let Some(sequence) = self.remote_cids.next_to_retire() {
            let token = Token::RetireConnectionId(sequence);
            if !writer.frame(&RetireConnectionId { sequence }, Some(token)) {
                break;
            }
            self.remote_cids.retire_sent();
        }
        if self.handshake.is_complete() {
            while let Some((sequence, id, reset_token)) = self.local_cids.next_to_announce() {
                let retire_prior_to = self.local_cids.retire_prior_to(sequence);
                let frame = NewConnectionId { sequence, retire_prior_to, id, reset_token };
                if !writer.frame(&frame, Some(Token::NewConnectionId(sequence))) {
                    break;
                }
                self.local_cids.announced();
            }
        }
        if self.recovery.ack_requests.is_due() {
            self.write_ack_frequency(writer);
        }
        self.streams.write_control(now, self.paths.active.cc.rtt.smoothed(), writer);
        if self.pending.new_tokens.is_due() {
            self.write_new_tokens(now, writer);
        }
        // In turns, if they are of one level: what fills the packet first leaves little room for the other.
        if self.datagrams_go_first() {
            if self.write_datagrams(now, writer) && self.streams.wants_to_send() {
                self.datagrams.set_first(false);
            }
            self.streams.write_data(writer);
        } else {
            self.streams.write_data(writer);
            self.write_datagrams(now, writer);
            self.datagrams.set_first(true);
        }
    }

    /// The higher level goes first, and of equals the one whose turn it is.
    fn datagrams_go_first(&self) -> bool {
        let (Some(level), of_streams) = (self.datagrams.level(), self.streams.level()) else { return false };
        of_streams
            .is_none_or(|of_streams| level > of_streams || (level == of_streams && self.datagrams.go_first()))
    }

    /// Writes datagrams, oldest first, as long as there is room for the next. True if there was for one.
    fn write_datagrams(&mut self, now: Instant, writer: &mut FrameWriter<'_>) -> bool {
        let mut written = false;
        if self.datagrams.wants_to_send() {
            let max = self.max_datagram_size();
            while let Some(next) = self.datagrams.next(now, max) {
                if !writer.datagram(&next.data, next.track.map(Token::Datagram)) {
                    break;
                }
                self.datagrams.on_sent();
                written = true;
            }
        }
        written
    }

    /// True if an acknowledgment that can wait would take the room that the next datagram needs.
    pub(super) fn datagram_needs_room(&mut self, now: Instant, room: usize) -> bool {
        let first = self.datagrams.wants_to_send() && self.datagrams_go_first();
        if !first || self.must_ack(SpaceId::Data, now) {
            return false;
        }
        let max = self.max_datagram_size();
        self.datagrams.next(now, max).is_some_and(|next| next.data.len() + ROOM_FOR_ACK > room)
    }
}
