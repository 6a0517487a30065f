//! Early data: 0-RTT packets of a client, before the server has said anything (RFC 9001 §4.6, RFC 9000 §7.4.1).
//!
//! A client sends them with keys, limits and streams that go by what it remembers of the server. If the server takes them,
//! all that goes on; if not, the streams begin anew as if nothing had been sent. A server opens them, and nothing else is
//! special about them: it answers in 1-RTT packets.

use std::time::Instant;

use super::Connection;
use crate::crypto::tls::EarlyData;
use crate::packet::{
    DatagramFate, Level, PacketNumber, Side, SpaceId, TransportError, TransportErrorCode as Code,
};
use crate::proto::Event;
use crate::proto::space::Token;
use crate::proto::streams::PeerLimits;
use crate::wire::frame::Ack;
use crate::wire::transport_parameters::TransportParameters;

/// What is known of early data besides its keys.
#[derive(Debug, Default)]
pub struct Early {
    /// What became of it.
    state: EarlyData,
    /// On a client that may send it: the server's transport parameters of an earlier connection.
    remembered: Option<Box<TransportParameters>>,
    /// On a client: our packets below this one are not known to the server.
    rejected_below: PacketNumber,
    /// On a server: when its keys go.
    pub keys_until: Option<Instant>,
}

impl Early {
    /// The largest DATAGRAM frame that the server took before, bytes; 0 if none.
    pub fn datagram_frame_size(&self) -> u64 {
        self.remembered.as_ref().map_or(0, |params| params.max_datagram_frame_size)
    }
}

impl Connection {
    /// What became of early data.
    #[must_use]
    pub fn early_data(&self) -> EarlyData {
        self.handshake.early.state
    }

    /// True if this end has keys to send early data with.
    pub(in crate::proto) fn sends_early(&self) -> bool {
        self.keys.early_local.is_some() && self.keys.one_rtt.is_none()
    }

    /// A client may send early data from the start, if it remembers how.
    pub(super) fn begin_early_data(&mut self) {
        let Some(keys) = self.handshake.session_mut().early_keys() else { return };
        let Some(remembered) = self.handshake.session().remembered() else { return };
        // What does not decode now was fine when it came; without it, nothing is sent.
        let Ok(mut params) = TransportParameters::decode(Side::Server, &remembered.params) else { return };
        // That is not to be remembered (draft-ietf-quic-ack-frequency-12 §3).
        params.min_ack_delay = None;
        self.streams.set_peer_limits(PeerLimits::from(&params));
        self.paths.active.limit_mtu(params.max_udp_payload_size);
        self.keys.early_local = Some(keys.into());
        self.handshake.early.state = EarlyData::Offered;
        self.handshake.early.remembered = Some(Box::new(params));
    }

    /// TLS may have learned whether early data is taken.
    pub(super) fn learn_of_early_data(&mut self, now: Instant) {
        if self.side.is_server()
            && let Some(keys) = self.handshake.session_mut().early_keys()
        {
            self.keys.early_remote = Some(keys.into());
            self.parked.keys_changed();
        }
        let (before, state) = (self.handshake.early.state, self.handshake.session().early_data());
        // A client that could not make use of the offer has nothing to learn.
        let offered = self.side.is_server() || before == EarlyData::Offered;
        if !offered || state == before || !matches!(state, EarlyData::Accepted | EarlyData::Rejected) {
            return;
        }
        self.handshake.early.state = state;
        if self.side.is_client() && state == EarlyData::Rejected {
            self.retract_early_data(now);
        }
        self.outbox.events.push_back(Event::EarlyData { accepted: state == EarlyData::Accepted });
    }

    /// The server cannot have taken early data, and has not said so.
    pub(super) fn give_up_early_data(&mut self, now: Instant) {
        if self.handshake.early.state == EarlyData::Offered {
            self.handshake.early.state = EarlyData::Rejected;
            self.retract_early_data(now);
            self.outbox.events.push_back(Event::EarlyData { accepted: false });
        }
    }

    /// The server has none of what was sent: streams begin anew, packet numbers go on (RFC 9001 §4.6.2).
    fn retract_early_data(&mut self, now: Instant) {
        self.keys.early_local = None;
        self.handshake.early.remembered = None;
        let data = &mut self.spaces.data;
        self.handshake.early.rejected_below = data.sent.next();
        self.recovery.retract_space(now, data, &mut self.paths.active.cc, &mut self.fates);
        for token in self.fates.lost.drain(..) {
            if let Token::Datagram(track) = token {
                self.datagrams.on_fate(track, DatagramFate::Lost);
            }
        }
        self.pending.set_probes(SpaceId::Data, 0);
        self.streams.restart();
    }

    /// The client begins anew in another version: the server took nothing, and will not be offered it again.
    pub(super) fn abandon_early_data(&mut self, now: Instant) {
        if self.handshake.early.state == EarlyData::Offered {
            self.handshake.early.state = EarlyData::Rejected;
            self.retract_early_data(now);
            self.outbox.events.push_back(Event::EarlyData { accepted: false });
        }
    }

    /// The server will not remember the client either: what it sent early is sent again.
    pub(in crate::proto) fn repeat_early_data(&mut self, now: Instant) {
        if self.sends_early() {
            let data = &mut self.spaces.data;
            self.recovery.retract_space(now, data, &mut self.paths.active.cc, &mut self.fates);
            self.run_fates(SpaceId::Data);
        }
    }

    /// Holds the server's parameters against those that early data went by.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if the server took early data and has lowered a limit (RFC 9000 §7.4.1).
    pub(super) fn check_remembered(&self, params: &TransportParameters) -> Result<(), TransportError> {
        let Early { state, remembered, .. } = &self.handshake.early;
        match remembered {
            Some(remembered) if *state == EarlyData::Accepted && !params.extends(remembered) => {
                let reason = "the server took early data and lowers limits that it was sent under";
                Err(TransportError::new(Code::PROTOCOL_VIOLATION, reason))
            }
            _ => Ok(()),
        }
    }

    /// What was remembered has done its service.
    pub(super) fn forget_remembered(&mut self) {
        self.handshake.early.remembered = None;
    }

    /// Holds an acknowledgment against what the server said of early data.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if it is for a packet that the server did not take (RFC 9001 §4.6.2).
    pub(in crate::proto) fn check_early_ack(&self, level: Level, ack: &Ack) -> Result<(), TransportError> {
        let rejected_below = self.handshake.early.rejected_below;
        if level == Level::OneRtt
            && rejected_below > 0
            && ack.ranges.iter().any(|range| *range.start() < rejected_below)
        {
            let reason = "the server acknowledges early data that it did not take";
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, reason));
        }
        Ok(())
    }

    /// A server heard a 1-RTT packet: what is left of early data arrives soon or never (RFC 9001 §4.9.3).
    pub(in crate::proto) fn limit_early_keys(&mut self, now: Instant) {
        if self.keys.early_remote.is_some() && self.handshake.early.keys_until.is_none() {
            self.handshake.early.keys_until = Some(now + 3 * self.pto());
        }
    }

    /// Forgets the keys of early data when their time is over.
    pub(super) fn expire_early_keys(&mut self, now: Instant) {
        if self.handshake.early.keys_until.is_some_and(|until| now >= until) {
            self.handshake.early.keys_until = None;
            self.keys.early_remote = None;
        }
    }

    /// True if a packet of early data may be opened later: the server does not know yet whether it takes any.
    pub(in crate::proto) fn awaits_early_keys(&self) -> bool {
        self.side.is_server()
            && self.keys.early_remote.is_none()
            && self.handshake.early.state == EarlyData::None
            && self.handshake.session().read_level() == Level::Initial
    }
}
