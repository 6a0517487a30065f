//! ACK: what arrived, what was lost, and what follows from it (RFC 9000 §13.2, RFC 9002). And what the peer wants to hear
//! from us: ACK_FREQUENCY and IMMEDIATE_ACK (draft-ietf-quic-ack-frequency-12).

use std::time::{Duration, Instant};

use super::PacketInfo;
use crate::packet::{Level, SpaceId, TransportError, TransportErrorCode as Code};
use crate::proto::connection::Connection;
use crate::proto::recovery::AckInfo;
use crate::proto::space::AckPolicy;
use crate::wire::frame::{Ack, AckFrequency};

impl Connection {
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        info: &PacketInfo<'_>,
        ack: &Ack,
    ) -> Result<(), TransportError> {
        let space = info.level.space();
        self.check_early_ack(info.level, ack)?;
        if info.level == Level::Handshake {
            // The peer has our Handshake packets, and so our address (RFC 9002 §6.2.2.1).
            self.handshake.peer_validated_us = true;
        }
        let exponent = self.handshake.peer_ack_delay_exponent(space);
        let delay = Duration::from_micros(ack.delay.saturating_mul(1 << exponent.min(20)));
        let context = self.pto_context();
        self.recovery.on_ack(
            info.received.min(now),
            space,
            &mut self.spaces,
            ack.ranges.iter(),
            AckInfo { delay, ecn: ack.ecn },
            &mut self.paths.active.cc,
            context,
            &mut self.fates,
        )?;
        self.floods.idle += u32::from(!self.fates.news);
        if space == SpaceId::Data {
            self.settle_keys(now);
            self.review_ack_frequency(now);
        }
        self.pending.set_probes(space, 0);
        self.run_fates(space);
        self.learn_sizes(now);
        Ok(())
    }

    /// What this end wants to hear from the peer may have changed.
    pub(in crate::proto) fn review_ack_frequency(&mut self, now: Instant) {
        self.recovery.ack_requests.review(now, self.config.ack_frequency, &self.paths.active.cc);
    }

    pub(super) fn on_immediate_ack(&mut self) -> Result<(), TransportError> {
        self.min_ack_delay()?;
        self.floods.idle += 1;
        self.spaces.data.received.ack_at_once();
        Ok(())
    }

    pub(super) fn on_ack_frequency(&mut self, frame: &AckFrequency) -> Result<(), TransportError> {
        let shortest = self.min_ack_delay()?;
        self.floods.idle += 1;
        if !self.spaces.data.received.is_news(frame.sequence) {
            return Ok(());
        }
        let max_ack_delay = Duration::from_micros(frame.max_ack_delay);
        if max_ack_delay < shortest || max_ack_delay >= Duration::from_millis(1 << 14) {
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, "a delay that is out of bounds"));
        }
        let policy = AckPolicy {
            eliciting_threshold: frame.eliciting_threshold,
            max_ack_delay,
            reordering_threshold: frame.reordering_threshold,
        };
        self.spaces.data.received.set_policy(frame.sequence, policy);
        Ok(())
    }

    /// The shortest delay that the peer may ask for.
    ///
    /// # Errors
    /// Where we did not tell it, these frames do not exist.
    fn min_ack_delay(&self) -> Result<Duration, TransportError> {
        self.config
            .told_min_ack_delay()
            .ok_or_else(|| TransportError::new(Code::FRAME_ENCODING_ERROR, "unknown frame type"))
    }
}
