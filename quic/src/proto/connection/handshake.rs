//! The TLS handshake: CRYPTO data in and out, keys, transport parameters, confirmation (RFC 9001 §4).

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::early::Early;
use super::first_flight::Plan;
use super::negotiation::Negotiation;
use super::{Connection, CryptoRecv, CryptoSend};
use crate::config::{AckFrequency, FirstFlight};
use crate::crypto::tls::{HandshakeData, KeyChange, Session};
use crate::crypto::{ClientHello, MAX_CLIENT_HELLO_LEN};
use crate::packet::{
    ConnectionId, Level, PreferredAddress, Rng, Side, SpaceId, TransportError, TransportErrorCode as Code,
};
use crate::proto::Event;
use crate::proto::connection::key_ring::OneRtt;
use crate::proto::streams::PeerLimits;
use crate::wire::transport_parameters::TransportParameters;

/// The CRYPTO data of all spaces. Those of the handshake go with their keys: a connection that lives on has no room for
/// them.
#[derive(Debug)]
struct CryptoStreams {
    handshake: [Option<Box<CryptoStream>>; 2],
    data: CryptoStream,
}

/// The CRYPTO data of a space.
#[derive(Debug, Default)]
struct CryptoStream {
    send: CryptoSend,
    recv: CryptoRecv,
}

impl Default for CryptoStreams {
    fn default() -> Self {
        Self { handshake: [(); 2].map(|()| Some(Box::default())), data: CryptoStream::default() }
    }
}

impl CryptoStreams {
    fn get(&self, space: SpaceId) -> Option<&CryptoStream> {
        match space {
            SpaceId::Initial => self.handshake[0].as_deref(),
            SpaceId::Handshake => self.handshake[1].as_deref(),
            SpaceId::Data => Some(&self.data),
        }
    }

    fn get_mut(&mut self, space: SpaceId) -> Option<&mut CryptoStream> {
        match space {
            SpaceId::Initial => self.handshake[0].as_deref_mut(),
            SpaceId::Handshake => self.handshake[1].as_deref_mut(),
            SpaceId::Data => Some(&mut self.data),
        }
    }

    fn discard(&mut self, space: SpaceId) {
        if let Some(stream) = self.handshake.get_mut(space.index()) {
            *stream = None;
        }
    }
}

/// What the peer has said of itself that counts as long as the connection lives.
#[derive(Debug)]
struct Peer {
    is_known: bool,
    greases_quic_bit: bool,
    disables_migration: bool,
    ack_delay_exponent: u8,
    max_udp_payload: u64,
    datagram_frame_size: u64,
    preferred_address: Option<Box<PreferredAddress>>,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            is_known: false,
            greases_quic_bit: false,
            disables_migration: false,
            ack_delay_exponent: 3,
            max_udp_payload: u64::MAX,
            datagram_frame_size: 0,
            preferred_address: None,
        }
    }
}

impl From<&TransportParameters> for Peer {
    fn from(params: &TransportParameters) -> Self {
        let preferred = params.preferred_address.as_ref();
        Self {
            is_known: true,
            greases_quic_bit: params.grease_quic_bit,
            disables_migration: params.disable_active_migration,
            ack_delay_exponent: params.ack_delay_exponent,
            max_udp_payload: params.max_udp_payload_size,
            datagram_frame_size: params.max_datagram_frame_size,
            preferred_address: preferred
                .map(|preferred| Box::new(PreferredAddress { v4: preferred.ipv4, v6: preferred.ipv6 })),
        }
    }
}

/// The state of the handshake, and what was agreed in it.
pub struct Handshake {
    session: Box<dyn Session>,
    /// How the version is found.
    pub negotiation: Negotiation,
    /// On a client, until it sends Handshake packets: how its first flight looks, and what of it is to be sent.
    pub first_flight: Option<Box<FirstFlight>>,
    pub plan: Option<Box<Plan>>,
    crypto: CryptoStreams,
    /// The level that TLS writes at.
    write_level: Level,
    /// How often flights may still be repeated before their timer (RFC 9002 §6.2.3: a limited number of times).
    hurries: u8,
    /// The destination ID of the client's very first Initial.
    pub original_dcid: ConnectionId,
    /// The source ID of the Retry that the client followed.
    pub retry_scid: Option<ConnectionId>,
    /// What the client's Initials carry: from an earlier connection, or from a Retry.
    pub token: Bytes,
    /// The peer's source ID, once it is fixed by its first packet.
    pub peer_scid: Option<ConnectionId>,
    /// Data that came, or went, before the handshake.
    pub early: Early,
    /// When the attempt is given up.
    pub deadline: Instant,
    /// Until the handshake is complete.
    peer_params: Option<Box<TransportParameters>>,
    /// What of them counts for longer.
    peer: Peer,
    data_announced: bool,
    /// TLS is complete on this end.
    complete: bool,
    /// The peer is known to have completed it too.
    confirmed: bool,
    /// A Handshake packet or its acknowledgment arrived: the peer need not guess our address any more.
    pub peer_validated_us: bool,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { complete, confirmed, write_level, .. } = self;
        write!(
            f,
            "Handshake {{ complete: {complete}, confirmed: {confirmed}, write_level: {write_level:?}, .. }}"
        )
    }
}

impl Handshake {
    pub fn new(
        session: Box<dyn Session>,
        negotiation: Negotiation,
        original_dcid: ConnectionId,
        deadline: Instant,
    ) -> Self {
        Self {
            session,
            negotiation,
            first_flight: None,
            plan: None,
            crypto: CryptoStreams::default(),
            write_level: Level::Initial,
            hurries: 8,
            original_dcid,
            retry_scid: None,
            token: Bytes::new(),
            peer_scid: None,
            early: Early::default(),
            deadline,
            peer_params: None,
            peer: Peer::default(),
            data_announced: false,
            complete: false,
            confirmed: false,
            peer_validated_us: false,
        }
    }

    /// True once TLS is complete on this end (RFC 9001 §4.1.1).
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// True once both ends are known to have completed it (RFC 9001 §4.1.2).
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// The TLS session, for what it can tell the application.
    pub fn session(&self) -> &dyn Session {
        &*self.session
    }

    /// The keys that TLS makes from now on are of this version. `params`: what a server sends in it.
    pub fn change_version(&mut self, version: u32, params: Option<Vec<u8>>) {
        self.session.change_version(version, params);
    }

    /// A client begins anew, with Initials to this ID.
    pub fn restart(&mut self, session: Box<dyn Session>, original_dcid: ConnectionId) {
        self.session = session;
        self.original_dcid = original_dcid;
        // A token is good for the version that it was given in (RFC 9369 §5).
        self.token = Bytes::new();
        self.crypto = CryptoStreams::default();
        self.write_level = Level::Initial;
    }

    /// The ClientHello is to be sent from its beginning.
    pub fn plan_first_flight(&mut self, rng: &mut Rng) {
        let shape = self.first_flight.as_deref().cloned();
        let Some(initial) = self.crypto(SpaceId::Initial) else { return };
        initial.repeat();
        let hello = initial.bytes();
        self.plan = shape.map(|shape| Box::new(Plan::new(shape, hello, rng)));
    }

    /// How long the datagrams of a first flight are that is not sent yet, bytes.
    pub fn first_flight_size(&self) -> Option<u16> {
        self.plan.as_ref().map(|plan| plan.datagram_size())
    }

    /// The versions that the client can be taken to, none if it does not say; `None` while its ClientHello is incomplete.
    pub fn versions_of_client(&self) -> Option<Vec<u32>> {
        let initial = self.crypto.get(SpaceId::Initial)?.recv.peek();
        // What is wrong with it TLS will find.
        let hello = match ClientHello::parse(initial) {
            Ok(hello) => hello?,
            Err(_) => return Some(Vec::new()),
        };
        let params = hello.transport_parameters().unwrap_or_default();
        let params = TransportParameters::decode(Side::Client, params).ok();
        let information = params.and_then(|params| params.version_information);
        Some(information.map(|information| information.available).unwrap_or_default())
    }

    /// The TLS session.
    pub(super) fn session_mut(&mut self) -> &mut dyn Session {
        &mut *self.session
    }

    /// ALPN, server name and cipher suite, once known.
    pub fn data(&self) -> Option<HandshakeData> {
        self.session.handshake_data()
    }

    /// The peer takes packets whose QUIC bit is 0, and we know it from this connection.
    pub fn peer_greases_quic_bit(&self) -> bool {
        self.peer.greases_quic_bit
    }

    /// The factor of the delays in the peer's ACK frames of a space.
    pub fn peer_ack_delay_exponent(&self, space: SpaceId) -> u8 {
        if space == SpaceId::Data { self.peer.ack_delay_exponent } else { 3 }
    }

    /// The largest datagram that the peer takes, bytes.
    pub fn peer_max_udp_payload(&self) -> u64 {
        self.peer.max_udp_payload
    }

    /// The largest DATAGRAM frame that the peer takes, bytes; 0 if none.
    pub fn peer_datagram_frame_size(&self) -> u64 {
        self.peer.datagram_frame_size
    }

    /// True if the peer wants no packets from other addresses than that of the handshake (RFC 9000 §18.2).
    pub fn peer_disables_migration(&self) -> bool {
        self.peer.disables_migration
    }

    /// Where the server would rather be reached, in the family of this address of its.
    pub fn preferred_address(&self, like: SocketAddr) -> Option<SocketAddr> {
        let preferred = self.peer.preferred_address.as_ref()?;
        match like {
            SocketAddr::V4(_) => preferred.v4.map(SocketAddr::V4),
            SocketAddr::V6(_) => preferred.v6.map(SocketAddr::V6),
        }
    }

    /// True, a few times: flights may be repeated before their timer.
    pub fn may_hurry(&mut self) -> bool {
        let may = self.hurries > 0;
        self.hurries = self.hurries.saturating_sub(1);
        may
    }

    /// The outgoing CRYPTO data of a space that was not discarded.
    pub fn crypto(&mut self, space: SpaceId) -> Option<&mut CryptoSend> {
        Some(&mut self.crypto.get_mut(space)?.send)
    }

    /// True if a space has CRYPTO data to send.
    pub fn wants_to_send(&self, space: SpaceId) -> bool {
        self.crypto.get(space).is_some_and(|crypto| crypto.send.wants_to_send())
    }

    /// Bytes of the peer's TLS messages, read or not.
    pub fn held(&self) -> usize {
        SpaceId::ALL
            .into_iter()
            .filter_map(|space| self.crypto.get(space))
            .map(|crypto| crypto.recv.held())
            .sum()
    }

    fn recv(&mut self, space: SpaceId) -> Option<&mut CryptoRecv> {
        Some(&mut self.crypto.get_mut(space)?.recv)
    }
}

impl Connection {
    /// CRYPTO data arrived (RFC 9000 §19.6).
    pub(in crate::proto) fn on_crypto(
        &mut self,
        now: Instant,
        level: Level,
        offset: u64,
        data: &[u8],
    ) -> Result<(), TransportError> {
        let mut limit = self.config.crypto_buffer_size;
        if self.side.is_server() && level == Level::Initial {
            // It is kept until it is complete (RFC 9000 §7.5 wants room for the handshake).
            limit = limit.max(MAX_CLIENT_HELLO_LEN);
        }
        let read_level = self.handshake.session.read_level();
        let Some(recv) = self.handshake.recv(level.space()) else { return Ok(()) };
        self.floods.idle += u32::from(recv.knows(offset, data));
        recv.insert(offset, data, limit)?;
        if level < read_level && recv.has_unread() {
            let reason = "new TLS data at a level that is over";
            return Err(TransportError::new(Code::PROTOCOL_VIOLATION, reason));
        }
        if !self.handshake.negotiation.settled {
            match self.side {
                // Servers send TLS messages in the version that they chose (RFC 9369 §4.1).
                Side::Client => self.handshake.negotiation.settle(),
                Side::Server => self.choose_version(),
            }
            if !self.handshake.negotiation.settled {
                return Ok(());
            }
        }
        loop {
            let level = self.handshake.session.read_level();
            let Some(bytes) = self.handshake.recv(level.space()).and_then(CryptoRecv::read) else {
                return Ok(());
            };
            self.handshake.session.read(level, &bytes)?;
            self.pump_tls(now)?;
        }
    }

    /// Moves what TLS wrote into CRYPTO streams, installs the keys it made, and notices what became known.
    pub(in crate::proto) fn pump_tls(&mut self, now: Instant) -> Result<(), TransportError> {
        let mut out = Vec::new();
        loop {
            out.clear();
            let change = self.handshake.session.write(&mut out);
            let level = self.handshake.write_level;
            if let Some(crypto) = self.handshake.crypto(level.space()) {
                crypto.push(&out);
            }
            match change {
                Some(KeyChange::Handshake(keys)) => {
                    self.keys.handshake = Some(keys.into());
                    self.handshake.write_level = Level::Handshake;
                    self.parked.keys_changed();
                }
                Some(KeyChange::OneRtt(keys, secrets)) => {
                    let next_pn = self.spaces.data.sent.next();
                    self.keys.one_rtt = Some(OneRtt::new(keys, secrets, next_pn));
                    // RFC 9001 §4.9.3.
                    self.keys.early_local = None;
                    self.handshake.write_level = Level::OneRtt;
                    self.parked.keys_changed();
                }
                None if out.is_empty() => break,
                None => {}
            }
        }
        self.learn_from_tls(now)
    }

    fn learn_from_tls(&mut self, now: Instant) -> Result<(), TransportError> {
        self.learn_of_early_data(now);
        if !self.handshake.peer.is_known
            && let Some(bytes) = self.handshake.session.peer_transport_parameters()
        {
            let mut params = TransportParameters::decode(self.side.peer(), bytes)?;
            let source = self.handshake.peer_scid.unwrap_or_default();
            match self.side {
                Side::Server => params.check_client_ids(&source)?,
                Side::Client => {
                    let Handshake { original_dcid, retry_scid, .. } = &self.handshake;
                    params.check_server_ids(&source, original_dcid, retry_scid.as_ref())?;
                }
            }
            // It may be long, and is of no further use.
            let versions = params.version_information.take();
            self.handshake.negotiation.check(versions.as_ref(), self.version)?;
            self.check_remembered(&params)?;
            self.apply_peer_params(params)?;
        }
        if !self.handshake.data_announced && self.handshake.session.handshake_data().is_some() {
            self.handshake.data_announced = true;
            self.outbox.events.push_back(Event::HandshakeData);
        }
        if !self.handshake.complete && !self.handshake.session.is_handshaking() {
            self.on_handshake_complete(now)?;
        }
        Ok(())
    }

    fn apply_peer_params(&mut self, params: TransportParameters) -> Result<(), TransportError> {
        // Early data goes by what was remembered to its end (RFC 9000 §7.4.1).
        if !self.sends_early() {
            self.streams.set_peer_limits(PeerLimits::from(&params));
        }
        self.idle.negotiate(params.max_idle_timeout);
        if let Some(token) = params.stateless_reset_token {
            self.set_handshake_token(token);
        }
        if let Some(preferred) = &params.preferred_address {
            let (id, token) = (preferred.connection_id, preferred.stateless_reset_token);
            self.remote_cids.on_new(1, 0, id, token)?;
        }
        self.paths.active.limit_mtu(params.max_udp_payload_size);
        self.recovery.ack_requests.set_max_ack_delay(params.max_ack_delay);
        self.handshake.peer = Peer::from(&params);
        self.handshake.peer_params = Some(Box::new(params));
        Ok(())
    }

    fn on_handshake_complete(&mut self, now: Instant) -> Result<(), TransportError> {
        let Some(params) = self.handshake.peer_params.take() else {
            let reason = "the peer sent no transport parameters";
            return Err(TransportError::new(Code::crypto(109), reason));
        };
        let limit = params.active_connection_id_limit;
        self.recovery.ack_requests.enable(params.min_ack_delay);
        self.streams.set_peer_limits(PeerLimits::from(&*params));
        self.handshake.complete = true;
        if let AckFrequency::Fixed { .. } = self.config.ack_frequency {
            self.review_ack_frequency(now);
        }
        self.forget_remembered();
        self.local_cids.set_peer_limit(limit, &mut self.rng, &mut self.outbox.routes);
        self.outbox.events.push_back(Event::Connected);
        self.parked.keys_changed();
        if self.side == Side::Server {
            self.pending.handshake_done = true;
            self.on_handshake_confirmed(now);
        }
        Ok(())
    }

    /// Both ends have completed the handshake: its keys and its routes can go (RFC 9001 §4.9.2).
    pub(in crate::proto) fn on_handshake_confirmed(&mut self, now: Instant) {
        if std::mem::replace(&mut self.handshake.confirmed, true) {
            return;
        }
        self.handshake.peer_validated_us = true;
        self.discard_space(now, SpaceId::Initial);
        self.discard_space(now, SpaceId::Handshake);
        if self.side == Side::Server {
            self.outbox.routes.push_back(crate::proto::RouteChange::RemoveInitial);
            self.offer_tokens();
        }
        self.outbox.events.push_back(Event::HandshakeConfirmed);
        self.probe_preferred(now);
    }

    /// Forgets the keys, packets and timers of a space.
    pub(in crate::proto) fn discard_space(&mut self, now: Instant, space: SpaceId) {
        self.keys.discard(space);
        if space == SpaceId::Initial {
            (self.handshake.first_flight, self.handshake.plan) = (None, None);
        }
        self.pending.set_probes(space, 0);
        self.handshake.crypto.discard(space);
        if let Some(space) = self.spaces.discard(space) {
            self.recovery.discard_space(now, &space, &mut self.paths.active.cc);
        }
    }
}
