//! ACK: what arrived, what was lost, and what follows from it (RFC 9000 §13.2, RFC 9002).

use std::time::{Duration, Instant};

use super::PacketInfo;
use crate::packet::{Level, SpaceId, TransportError};
use crate::proto::connection::Connection;
use crate::proto::recovery::AckInfo;
use crate::wire::frame::Ack;

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
        }
        self.pending.set_probes(space, 0);
        self.run_fates(space);
        self.learn_sizes(now);
        Ok(())
    }
}
