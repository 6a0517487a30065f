//! One QUIC connection: its components, and the calls that mutate and drain it.
//!
//! What arrives is in [`receive`](super::receive), what leaves in [`transmit`](super::transmit); this folder holds
//! what lasts longer than a packet.

mod accessors;
mod construct;
mod crypto_stream;
mod datagrams;
mod early;
mod first_flight;
mod floods;
mod handshake;
mod idle;
mod key_ring;
mod key_update;
mod lifecycle;
mod mtu;
mod negotiation;
mod new_tokens;
mod pending;
mod stats;
mod timers;
mod tokens;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

pub use construct::{ClientArgs, EndpointShared, ServerArgs};
pub use crypto_stream::{CryptoRecv, CryptoSend};
pub use new_tokens::NewTokens;
pub use stats::ConnectionStats;

use self::floods::Floods;
use self::handshake::Handshake;
use self::idle::Idle;
use self::key_ring::KeyRing;
use self::lifecycle::Lifecycle;
use self::pending::Pending;
use super::cids::{LocalCids, RemoteCids};
use super::datagrams::Datagrams;
use super::path::Paths;
use super::receive::Parked;
use super::recovery::{Fates, Recovery};
use super::space::Spaces;
use super::streams::Streams;
use super::transmit::FrameCounts;
use super::{Event, Output, RouteChange};
use crate::config::TransportConfig;
use crate::error::ConnectionError;
use crate::packet::{Rng, Side, TxBatch};

/// A QUIC connection without input or output; see [the contract](super).
#[derive(Debug)]
pub struct Connection {
    pub(in crate::proto) side: Side,
    pub(in crate::proto) version: u32,
    pub(in crate::proto) config: Arc<TransportConfig>,
    pub(in crate::proto) lifecycle: Lifecycle,
    pub(in crate::proto) handshake: Handshake,
    pub(in crate::proto) keys: KeyRing,
    pub(in crate::proto) spaces: Spaces,
    pub(in crate::proto) recovery: Recovery,
    /// Kept so that no ACK allocates.
    pub(in crate::proto) fates: Fates,
    pub(in crate::proto) paths: Paths,
    pub(in crate::proto) streams: Streams,
    pub(in crate::proto) datagrams: Datagrams,
    pub(in crate::proto) local_cids: LocalCids,
    pub(in crate::proto) remote_cids: RemoteCids,
    pub(in crate::proto) pending: Pending,
    pub(in crate::proto) idle: Idle,
    /// Packets that came before their keys.
    pub(in crate::proto) parked: Parked,
    pub(in crate::proto) outbox: Outbox,
    pub(in crate::proto) floods: Floods,
    pub(in crate::proto) stats: ConnectionStats,
    pub(in crate::proto) frames_sent: FrameCounts,
    pub(in crate::proto) rng: Rng,
}

/// What waits to be drained, streams aside.
#[derive(Debug, Default)]
pub(in crate::proto) struct Outbox {
    pub routes: VecDeque<RouteChange>,
    pub events: VecDeque<Event>,
    /// Why the connection is over, until that is told: the last event.
    pub closed: Option<ConnectionError>,
}

impl Connection {
    /// The next thing for the caller to do; drain it down to [`Output::Timeout`].
    ///
    /// Packets are built only into a `batch`: without one (while the socket blocks) everything else still flows.
    pub fn poll_output(&mut self, now: Instant, batch: Option<&mut TxBatch>) -> Output {
        if let Some(output) = self.poll_news() {
            return output;
        }
        let can_send = batch.is_some();
        if let Some(batch) = batch {
            self.transmit(now, batch);
            if !batch.is_empty() {
                return Output::Transmit;
            }
            // A key that may protect no further packet ends the connection here.
            if let Some(output) = self.poll_news() {
                return output;
            }
        }
        Output::Timeout(self.timeout(now, can_send))
    }

    /// Lets go of memory that queues once needed and that is empty now. Worth its while on a connection that has become
    /// idle, and never wrong.
    pub fn release_spare(&mut self) {
        self.spaces.data.sent.release_spare();
        self.streams.release_spare();
        self.datagrams.release_spare();
        self.fates.release_spare();
        self.outbox.routes.shrink_to_fit();
        self.outbox.events.shrink_to_fit();
    }

    fn poll_news(&mut self) -> Option<Output> {
        if let Some(route) = self.outbox.routes.pop_front() {
            return Some(Output::Route(route));
        }
        if let Some(event) = self.outbox.events.pop_front() {
            return Some(Output::Event(event));
        }
        // What arrived before the peer's end is told before that.
        let hears =
            self.lifecycle.is_open() || (self.lifecycle.is_draining() && self.outbox.closed.is_some());
        if hears && let Some(event) = self.streams.poll_event() {
            return Some(Output::Event(Event::Stream(event)));
        }
        if hears && let Some(event) = self.datagrams.poll_event() {
            return Some(Output::Event(Event::Datagram(event)));
        }
        self.outbox.closed.take().map(|error| Output::Event(Event::Closed(error)))
    }

    /// The streams: what the application does with them.
    pub fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }
}
