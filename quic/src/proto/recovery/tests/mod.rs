//! The behaviour that RFC 9002 asks for, one topic a file.

mod ack_requests;
mod congestion;
mod ecn;
mod loss;
mod pto;
mod reordering;
mod rtt;

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::{AckInfo, Fates, PathCc, PtoContext, Recovery, TimeoutOutcome};
use crate::packet::{CongestionControl, EcnCounts, PacketNumber, SpaceId, TransportError, epoch};
use crate::proto::space::{SentPacket, Spaces, Token};

const INITIAL_RTT: Duration = Duration::from_millis(333);
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
const DATAGRAM: u16 = 1200;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One end of a connection, as far as recovery sees it.
struct End {
    now: Instant,
    start: Instant,
    spaces: Spaces,
    recovery: Recovery,
    path: PathCc,
    context: PtoContext,
    fates: Fates,
}

impl End {
    /// After the handshake.
    fn new() -> Self {
        let now = epoch();
        Self {
            now,
            start: now,
            spaces: Spaces::new(MAX_ACK_DELAY),
            recovery: Recovery::default(),
            path: PathCc::new(now, &CongestionControl::NewReno, None, INITIAL_RTT, DATAGRAM, false, || 0),
            context: PtoContext {
                handshake_confirmed: true,
                has_handshake_keys: true,
                peer_completed_address_validation: true,
                amplification_limited: false,
                crypto_waits: [false; 2],
                max_ack_delay: MAX_ACK_DELAY,
            },
            fates: Fates::default(),
        }
    }

    /// Before the handshake, and nothing heard from the peer.
    fn client_at_start() -> Self {
        let mut end = Self::new();
        end.context.handshake_confirmed = false;
        end.context.has_handshake_keys = false;
        end.context.peer_completed_address_validation = false;
        end
    }

    fn wait(&mut self, millis: u64) {
        self.now += ms(millis);
    }

    fn send_packet(&mut self, id: SpaceId, packet: SentPacket) -> PacketNumber {
        let space = &mut self.spaces[id.index()];
        let pn = space.sent.next();
        self.recovery.on_packet_sent(space, packet, &[Token::NewConnectionId(pn)], &mut self.path);
        pn
    }

    fn packet(&self) -> SentPacket {
        SentPacket {
            time: self.now,
            size: DATAGRAM,
            path: self.path.id,
            ack_eliciting: true,
            in_flight: true,
            ect0: false,
            mtu_probe: false,
        }
    }

    fn send(&mut self) -> PacketNumber {
        self.send_in(SpaceId::Data)
    }

    fn send_in(&mut self, id: SpaceId) -> PacketNumber {
        self.send_packet(id, self.packet())
    }

    fn send_ack_only(&mut self) -> PacketNumber {
        self.send_packet(
            SpaceId::Data,
            SentPacket { ack_eliciting: false, in_flight: false, ..self.packet() },
        )
    }

    fn ack(&mut self, pn: PacketNumber) {
        self.ack_ranges(SpaceId::Data, &[pn..=pn], AckInfo::default()).unwrap();
    }

    fn ack_in(&mut self, id: SpaceId, pn: PacketNumber) {
        self.ack_ranges(id, &[pn..=pn], AckInfo::default()).unwrap();
    }

    fn ack_ecn(&mut self, range: RangeInclusive<PacketNumber>, ect0: u64, ce: u64) {
        let ecn = Some(EcnCounts { ect0, ect1: 0, ce });
        self.ack_ranges(SpaceId::Data, &[range], AckInfo { ecn, ..AckInfo::default() }).unwrap();
    }

    fn ack_ranges(
        &mut self,
        id: SpaceId,
        ranges: &[RangeInclusive<PacketNumber>],
        info: AckInfo,
    ) -> Result<(), TransportError> {
        let Self { now, spaces, recovery, path, context, fates, .. } = self;
        recovery.on_ack(*now, id, spaces, ranges.iter().cloned(), info, path, *context, fates)
    }

    /// The timer, as time from now.
    fn due(&self) -> Option<Duration> {
        let deadline = self.recovery.deadline(&self.spaces, &self.path, self.context);
        deadline.map(|at| at.saturating_duration_since(self.now))
    }

    /// Waits for the timer and lets it fire.
    fn fire(&mut self) -> TimeoutOutcome {
        self.now += self.due().expect("a timer is set");
        self.timeout()
    }

    fn timeout(&mut self) -> TimeoutOutcome {
        let Self { now, spaces, recovery, path, context, fates, .. } = self;
        recovery.on_timeout(*now, spaces, path, *context, fates)
    }

    fn acked(&mut self) -> Vec<PacketNumber> {
        numbers(&mut self.fates.acked)
    }

    fn lost(&mut self) -> Vec<PacketNumber> {
        numbers(&mut self.fates.lost)
    }

    /// Makes the RTT exactly this, with no variation to speak of.
    fn settle_rtt(&mut self, millis: u64) {
        for _ in 0..60 {
            let pn = self.send();
            self.wait(millis);
            self.ack(pn);
        }
        self.fates = Fates::default();
        assert_eq!(self.path.in_flight(), 0);
    }
}

fn numbers(tokens: &mut Vec<Token>) -> Vec<PacketNumber> {
    let number = |token| match token {
        Token::NewConnectionId(pn) => pn,
        _ => panic!("only such tokens are sent here"),
    };
    tokens.drain(..).map(number).collect()
}
