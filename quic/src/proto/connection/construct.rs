//! Making a connection, in either role.

use std::sync::Arc;
use std::time::Instant;

use super::first_flight::encode_params;
use super::floods::Floods;
use super::handshake::Handshake;
use super::idle::Idle;
use super::key_ring::KeyRing;
use super::lifecycle::Lifecycle;
use super::negotiation::{Negotiation, Restart};
use super::new_tokens::{NewTokens, TokenIssue};
use super::pending::Pending;
use super::{Connection, ConnectionStats, Outbox};
use crate::config::{
    ClientVersions, ConnectionIdGenerator, FirstFlight, ServerVersions, TokenIssuer, TokenStore,
    TransportConfig,
};
use crate::crypto::tls::{ClientResumption, ClientTls, ServerResumption, ServerTls, Session, TlsConfigError};
use crate::crypto::{ResetKey, initial_keys};
use crate::packet::{ConnectionId, FourTuple, PreferredAddress, Rng, Side};
use crate::proto::cids::{LocalCids, RemoteCid, RemoteCids};
use crate::proto::datagrams::Datagrams;
use crate::proto::endpoint::Incoming;
use crate::proto::path::{MtuDiscovery, Path, Paths, Role, SpinBit};
use crate::proto::receive::Parked;
use crate::proto::recovery::{Fates, PathCc, Recovery};
use crate::proto::space::Spaces;
use crate::proto::streams::{StreamLimits, Streams};
use crate::proto::transmit::FrameCounts;
use crate::wire::transport_parameters::{self as parameters, TransportParameters};

/// Destination IDs of a client's first Initials have at least 8 bytes (RFC 9000 §7.2).
const INITIAL_DCID_LEN: usize = 8;

/// What all connections of an endpoint share.
#[derive(Debug, Clone)]
pub struct EndpointShared {
    /// Makes our connection IDs.
    pub connection_ids: Arc<dyn ConnectionIdGenerator>,
    /// Derives stateless reset tokens.
    pub reset_key: Arc<ResetKey>,
}

/// What a client connection is made from.
#[derive(Debug)]
pub struct ClientArgs<'a> {
    /// The QUIC versions to begin with and to be taken to.
    pub versions: &'a ClientVersions,
    /// How the first packets look.
    pub first_flight: &'a FirstFlight,
    /// Our socket and the server's address.
    pub path: FourTuple,
    /// Whom the certificate must name.
    pub server_name: &'a str,
    /// Tokens of earlier connections (RFC 9000 §8.1.3).
    pub tokens: Option<&'a dyn TokenStore>,
    /// Makes the TLS session.
    pub tls: &'a Arc<dyn ClientTls>,
    /// Where sessions of earlier connections are.
    pub resumption: &'a ClientResumption,
    /// Windows, limits, timers.
    pub config: Arc<TransportConfig>,
    /// What the endpoint's connections share.
    pub endpoint: &'a EndpointShared,
    /// Randomness of this connection alone.
    pub rng: Rng,
}

/// What a server connection is made from, besides the [`Incoming`] it answers.
#[derive(Debug)]
pub struct ServerArgs<'a> {
    /// The QUIC versions that the client may be taken to.
    pub versions: &'a ServerVersions,
    /// Makes the TLS session.
    pub tls: &'a dyn ServerTls,
    /// What is done with sessions of earlier connections.
    pub resumption: &'a ServerResumption,
    /// Windows, limits, timers.
    pub config: Arc<TransportConfig>,
    /// What the endpoint's connections share.
    pub endpoint: &'a EndpointShared,
    /// Where else this server can be reached, and would rather be; ignored where our connection IDs are empty.
    pub preferred_address: Option<PreferredAddress>,
    /// Makes tokens for the client's next connections; `None` for none.
    pub new_tokens: Option<NewTokens>,
    /// Randomness of this connection alone.
    pub rng: Rng,
}

impl Connection {
    /// A client's connection: drain it, and its first Initial is there.
    ///
    /// # Errors
    /// If TLS cannot begin with this configuration and server name.
    pub fn client(now: Instant, args: ClientArgs<'_>) -> Result<Self, TlsConfigError> {
        let ClientArgs {
            versions,
            first_flight,
            path,
            server_name,
            tokens,
            tls,
            resumption,
            config,
            endpoint,
            mut rng,
        } = args;
        let scid = endpoint.connection_ids.generate(&mut rng);
        let dcid = random_dcid(&mut rng);
        let take_token = |version: u32| {
            let server_name = server_name.to_owned();
            tokens?.take(&TokenIssuer { server_name, address: path.remote, version })
        };
        // Sessions and tokens are of a version (RFC 9369 §5): a server that is known in one is met in it.
        let mut token = None;
        let is_known = |version: u32| {
            token = take_token(version);
            token.is_some() || tls.resumable(version, server_name, resumption)
        };
        let restart =
            Restart { tls: tls.clone(), server_name: server_name.to_owned(), resumption: resumption.clone() };
        let negotiation = Negotiation::client(versions.clone(), is_known, restart);
        let version = negotiation.original;
        let mut params = local_params(&config, scid);
        params.version_information = Some(negotiation.information(version, &mut rng));
        let encoded = encode_params(&params, first_flight, &mut rng);
        let session = tls.start(version, server_name, encoded, resumption)?;
        let mut connection = Self::new(
            now,
            NewConnection {
                side: Side::Client,
                version,
                path,
                validated: true,
                scid,
                dcid,
                original_dcid: dcid,
                negotiation,
            },
            session,
            config,
            endpoint,
            rng,
        );
        connection.begin_early_data();
        connection.handshake.token = token.unwrap_or_default();
        // A ClientHello is there from the start; nothing in it can be wrong yet.
        if let Err(error) = connection.pump_tls(now) {
            connection.fail(now, error);
        }
        connection.handshake.first_flight = Some(Box::new(first_flight.clone()));
        connection.handshake.plan_first_flight(&mut connection.rng);
        Ok(connection)
    }

    /// A server's connection, from the datagrams that asked for it. Drain it: it may be closed already.
    ///
    /// # Errors
    /// If TLS cannot begin with this configuration.
    pub fn server(now: Instant, incoming: Incoming, args: ServerArgs<'_>) -> Result<Self, TlsConfigError> {
        let ServerArgs {
            versions,
            tls,
            resumption,
            config,
            endpoint,
            preferred_address,
            new_tokens,
            mut rng,
        } = args;
        let scid = endpoint.connection_ids.generate(&mut rng);
        let mut params = local_params(&config, scid);
        params.original_destination_connection_id = Some(incoming.original_dcid());
        params.retry_source_connection_id = incoming.retry_scid();
        if !scid.is_empty() {
            params.stateless_reset_token = Some(endpoint.reset_key.token(&scid));
        }
        params.disable_active_migration = !config.migration;
        let preferred = preferred_address.filter(|_| !scid.is_empty());
        let preferred_cid = preferred.map(|_| endpoint.connection_ids.generate(&mut rng));
        params.preferred_address =
            preferred.zip(preferred_cid).map(|(PreferredAddress { v4, v6 }, connection_id)| {
                let stateless_reset_token = endpoint.reset_key.token(&connection_id);
                parameters::PreferredAddress { ipv4: v4, ipv6: v6, connection_id, stateless_reset_token }
            });
        let version = incoming.version();
        let negotiation = Negotiation::server(version, versions.clone(), params.clone());
        params.version_information = Some(negotiation.information(version, &mut rng));
        let mut encoded = Vec::new();
        params.encode(Side::Server, &mut rng, &mut encoded);
        let session = tls.start(version, encoded, resumption)?;
        let mut connection = Self::new(
            now,
            NewConnection {
                side: Side::Server,
                version,
                path: incoming.path(),
                validated: incoming.is_validated(),
                scid,
                dcid: incoming.scid(),
                original_dcid: incoming.dcid(),
                negotiation,
            },
            session,
            config,
            endpoint,
            rng,
        );
        if let Some(cid) = preferred_cid {
            connection.local_cids.add_preferred(cid, &mut connection.outbox.routes);
        }
        connection.handshake.peer_scid = Some(incoming.scid());
        connection.pending.new_tokens = TokenIssue::new(now, new_tokens);
        connection.receive_incoming(now, incoming);
        Ok(connection)
    }

    fn new(
        now: Instant,
        new: NewConnection,
        session: Box<dyn Session>,
        config: Arc<TransportConfig>,
        endpoint: &EndpointShared,
        mut rng: Rng,
    ) -> Self {
        let mut outbox = Outbox::default();
        let cc = PathCc::new(
            now,
            &config.congestion_control,
            config.initial_congestion_window,
            config.initial_rtt,
            config.initial_mtu,
            config.ecn,
            || rng.below(u64::MAX),
        );
        let remote_cid = RemoteCid { sequence: 0, id: new.dcid, reset_token: None };
        let mtu = MtuDiscovery::new(&config, &new.path);
        let spin = SpinBit::new(config.spin_bit, &mut rng);
        let mut path = Path::new(new.path, Role::Used, new.validated, cc, mtu, remote_cid, spin);
        path.local_cid = Some(new.scid);
        let ids = endpoint.connection_ids.clone();
        let local_cids = LocalCids::new(ids, endpoint.reset_key.clone(), new.scid, &mut outbox.routes);
        Self {
            side: new.side,
            version: new.version,
            lifecycle: Lifecycle::default(),
            handshake: Handshake::new(
                session,
                new.negotiation,
                new.original_dcid,
                now + config.handshake_timeout,
            ),
            keys: KeyRing {
                initial: Some(initial_keys(new.version, &new.original_dcid, new.side).into()),
                ..KeyRing::default()
            },
            spaces: Spaces::new(config.max_ack_delay),
            recovery: Recovery::default(),
            fates: Fates::default(),
            paths: Paths::new(path),
            streams: Streams::new(new.side, stream_limits(&config)),
            datagrams: Datagrams::new(&config),
            local_cids,
            remote_cids: RemoteCids::new(remote_cid, config.active_connection_id_limit),
            pending: Pending::default(),
            idle: Idle::new(now, config.max_idle_timeout, config.keep_alive_interval),
            parked: Parked::default(),
            outbox,
            floods: Floods::new(&config),
            stats: ConnectionStats::default(),
            frames_sent: FrameCounts::default(),
            rng,
            config,
        }
    }
}

/// The destination of a client's first Initial.
pub(super) fn random_dcid(rng: &mut Rng) -> ConnectionId {
    let bytes: [u8; INITIAL_DCID_LEN] = rng.array();
    ConnectionId::try_from(&bytes[..]).unwrap_or_default()
}

struct NewConnection {
    side: Side,
    version: u32,
    path: FourTuple,
    validated: bool,
    /// Ours.
    scid: ConnectionId,
    /// The peer's; for a client one that it chose at random.
    dcid: ConnectionId,
    /// What the Initial keys come from.
    original_dcid: ConnectionId,
    negotiation: Negotiation,
}

fn stream_limits(config: &TransportConfig) -> StreamLimits {
    StreamLimits {
        receive_window: config.receive_window,
        stream_window_bidi_local: config.stream_receive_window,
        stream_window_bidi_remote: config.stream_receive_window,
        stream_window_uni: config.stream_receive_window,
        max_receive_window: config.max_receive_window,
        max_stream_window: config.max_stream_receive_window,
        max_concurrent_bidi: config.max_concurrent_bidi_streams,
        max_concurrent_uni: config.max_concurrent_uni_streams,
    }
}

/// The transport parameters that both roles send.
pub(super) fn local_params(config: &TransportConfig, scid: ConnectionId) -> TransportParameters {
    TransportParameters {
        max_idle_timeout: config.max_idle_timeout,
        initial_max_data: config.receive_window,
        initial_max_stream_data_bidi_local: config.stream_receive_window,
        initial_max_stream_data_bidi_remote: config.stream_receive_window,
        initial_max_stream_data_uni: config.stream_receive_window,
        initial_max_streams_bidi: config.max_concurrent_bidi_streams,
        initial_max_streams_uni: config.max_concurrent_uni_streams,
        ack_delay_exponent: config.ack_delay_exponent,
        max_ack_delay: config.max_ack_delay,
        min_ack_delay: config.told_min_ack_delay(),
        active_connection_id_limit: config.active_connection_id_limit,
        initial_source_connection_id: Some(scid),
        max_datagram_frame_size: config.announced_datagram_frame_size(),
        grease_quic_bit: config.grease_quic_bit,
        reset_stream_at: config.reset_stream_at,
        ..TransportParameters::default()
    }
}
