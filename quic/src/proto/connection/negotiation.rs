//! Which version the connection uses (RFC 9368), and how both ends make sure that nobody else had a say in it.
//!
//! A server chooses when it knows the whole ClientHello, before TLS reads it. Until then it answers in the version that the
//! client began with. A client learns of the choice from the first packet in another version that opens.
//!
//! A server that cannot read the first flight says so with Version Negotiation: then the client begins anew, once, in
//! another version. Nothing protects that packet; what it did is held against what the server says in the handshake.

use std::sync::Arc;
use std::time::Instant;

use super::Connection;
use super::construct::{local_params, random_dcid};
use super::first_flight::encode_params;
use super::handshake::Handshake;
use crate::config::{ClientVersions, ServerVersions};
use crate::crypto::tls::{ClientResumption, ClientTls};
use crate::crypto::{Keys, initial_keys};
use crate::packet::{
    Level, Rng, Side, SpaceId, TransportError, TransportErrorCode as Code, VERSION_1, Version,
    reserved_version,
};
use crate::wire::transport_parameters::{TransportParameters, VersionInformation};

/// What is known about the version of a connection besides the one in use.
#[derive(Debug)]
pub struct Negotiation {
    /// The version of the client's first flight.
    pub original: u32,
    /// The version in use stays as it is.
    pub settled: bool,
    /// A Version Negotiation packet made the client begin with `original`.
    restarted: bool,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Client {
        versions: ClientVersions,
        /// Until the server has answered.
        restart: Option<Box<Restart>>,
    },
    Server {
        versions: ServerVersions,
        /// What is to be sent, but for the version.
        params: Option<Box<TransportParameters>>,
    },
}

/// What it takes to begin a handshake in another version.
#[derive(Debug)]
pub struct Restart {
    pub tls: Arc<dyn ClientTls>,
    pub server_name: String,
    pub resumption: ClientResumption,
}

impl Negotiation {
    /// Of a client. It begins with the best version that `is_known` from earlier connections, if there is one.
    pub fn client(versions: ClientVersions, mut is_known: impl FnMut(u32) -> bool, restart: Restart) -> Self {
        let known =
            versions.preferred().iter().map(|version| version.as_u32()).find(|version| is_known(*version));
        let original = known.unwrap_or(versions.first_flight().as_u32());
        // There is nothing to turn to with one version.
        let restart = (versions.preferred().len() > 1).then(|| Box::new(restart));
        Self { original, settled: false, restarted: false, role: Role::Client { versions, restart } }
    }

    /// Of a server whose client began with `original`.
    pub fn server(original: u32, versions: ServerVersions, params: TransportParameters) -> Self {
        let params = Some(Box::new(params));
        Self { original, settled: false, restarted: false, role: Role::Server { versions, params } }
    }

    /// Nothing changes the version any more.
    pub fn settle(&mut self) {
        self.settled = true;
        if let Role::Client { restart, .. } = &mut self.role {
            *restart = None;
        }
    }

    /// What we tell the peer when `chosen` is in use, with a version among it that nobody speaks. A server that has
    /// deployed none says nothing else.
    pub fn information(&self, chosen: u32, rng: &mut Rng) -> VersionInformation {
        let mut available: Vec<u32> = match &self.role {
            Role::Client { versions, .. } => {
                versions.preferred().iter().map(|version| version.as_u32()).collect()
            }
            Role::Server { versions, .. } => versions.deployment().collect(),
        };
        if !available.is_empty() {
            let at = rng.below(available.len() as u64 + 1);
            available.insert(usize::try_from(at).unwrap_or_default(), reserved_version(rng));
        }
        VersionInformation { chosen, available }
    }

    /// True if the server may take our first flight to this version.
    fn offers(&self, version: u32) -> bool {
        match (&self.role, Version::from_u32(self.original), Version::from_u32(version)) {
            (Role::Client { versions, .. }, Some(original), Some(version)) => {
                versions.preferred().contains(&version) && original.is_compatible_with(version)
            }
            _ => false,
        }
    }

    /// Holds what the peer says about versions against what happened; `version` is the one in use.
    ///
    /// # Errors
    /// VERSION_NEGOTIATION_ERROR (RFC 9368 §4).
    pub fn check(&self, theirs: Option<&VersionInformation>, version: u32) -> Result<(), TransportError> {
        let error = |reason| Err(TransportError::new(Code::VERSION_NEGOTIATION_ERROR, reason));
        match (&self.role, theirs) {
            (Role::Server { .. }, Some(theirs)) if theirs.chosen != self.original => {
                error("the client did not begin with the version that it names")
            }
            (Role::Client { .. }, Some(theirs)) if theirs.chosen != version => {
                error("the server names another version than it uses")
            }
            (Role::Client { .. }, None) if version != self.original => {
                error("the server changed the version and does not say so")
            }
            (Role::Client { versions, .. }, theirs) if self.restarted => match theirs {
                Some(theirs) if self.would_restart(versions, theirs, version) => Ok(()),
                // Who speaks version 1 alone need not know of RFC 9368 (§8).
                None if version == VERSION_1 => Ok(()),
                _ => error("the server did not send that Version Negotiation"),
            },
            _ => Ok(()),
        }
    }

    /// Whether the client would have made the same attempt, had the Version Negotiation listed what the server says now.
    fn would_restart(&self, versions: &ClientVersions, theirs: &VersionInformation, version: u32) -> bool {
        let offered: Vec<u32> = theirs.available.iter().copied().chain([version]).collect();
        let attempt = versions.best_of(&offered).map(Version::as_u32);
        !theirs.available.is_empty() && attempt == Some(self.original)
    }
}

impl Connection {
    /// Whether packets of a level may come in this version (RFC 9369 §4.1).
    pub(in crate::proto) fn accepts_version(&self, level: Level, version: u32) -> bool {
        let negotiation = &self.handshake.negotiation;
        match (level, self.side) {
            (Level::ZeroRtt, _) => version == negotiation.original,
            (Level::Initial, Side::Server) => version == self.version || version == negotiation.original,
            (_, Side::Client) if !negotiation.settled => {
                version == self.version || negotiation.offers(version)
            }
            _ => version == self.version,
        }
    }

    /// The Initial keys of a version that the server may have chosen, if `version` is that.
    pub(in crate::proto) fn candidate_keys(&self, level: Level, version: Option<u32>) -> Option<Keys> {
        let version = version.filter(|version| *version != self.version)?;
        let may_be = level == Level::Initial && self.side.is_client() && self.keys.initial.is_some();
        may_be.then(|| self.initial_keys_of(version))
    }

    fn initial_keys_of(&self, version: u32) -> Keys {
        let Handshake { original_dcid, retry_scid, .. } = &self.handshake;
        initial_keys(version, retry_scid.as_ref().unwrap_or(original_dcid), self.side)
    }

    /// The server chose this version: a packet with these keys opened.
    pub(in crate::proto) fn follow_version(&mut self, version: u32, keys: Keys) {
        self.version = version;
        self.keys.initial = Some(keys.into());
        self.handshake.negotiation.settle();
        self.handshake.change_version(version, None);
    }

    /// The server speaks none of the version that we began with, but others: begins anew with the best of them, once. The
    /// answer is false if there is none.
    pub(in crate::proto) fn restart(&mut self, now: Instant, offered: &[u32]) -> bool {
        let negotiation = &mut self.handshake.negotiation;
        let Role::Client { versions, restart } = &mut negotiation.role else { return false };
        let (Some(version), Some(Restart { tls, server_name, resumption })) =
            (versions.best_of(offered).map(Version::as_u32), restart.take().map(|restart| *restart))
        else {
            return false;
        };
        negotiation.original = version;
        negotiation.restarted = true;
        self.give_up_early_data(now);
        let resumption = ClientResumption { early_data: false, ..resumption };
        let encoded = self.client_params(version);
        let session = match tls.start(version, &server_name, encoded, &resumption) {
            Ok(session) => session,
            Err(error) => {
                let reason = format!("TLS: {error}");
                self.fail(now, TransportError::new(Code::INTERNAL_ERROR, reason));
                return true;
            }
        };
        // As after a Retry: what was sent is gone, and says nothing about congestion.
        if let Some(initial) = self.spaces.get_mut(SpaceId::Initial) {
            self.recovery.retract_space(now, initial, &mut self.paths.active.cc, &mut self.fates);
        }
        self.run_fates(SpaceId::Initial);
        self.abandon_early_data(now);
        let dcid = random_dcid(&mut self.rng);
        self.set_handshake_cid(dcid);
        self.version = version;
        self.handshake.restart(session, dcid);
        self.keys.initial = Some(self.initial_keys_of(version).into());
        if let Err(error) = self.pump_tls(now) {
            self.fail(now, error);
        }
        self.handshake.plan_first_flight(&mut self.rng);
        true
    }

    /// A client's transport parameters, encoded, for an attempt in this version.
    fn client_params(&mut self, version: u32) -> Vec<u8> {
        let mut params = local_params(&self.config, self.local_cids.initial());
        params.version_information = Some(self.handshake.negotiation.information(version, &mut self.rng));
        let shape = self.handshake.first_flight.as_deref().cloned().unwrap_or_default();
        encode_params(&params, &shape, &mut self.rng)
    }

    /// True if this connection began anew after Version Negotiation.
    pub(in crate::proto) fn is_restarted(&self) -> bool {
        self.handshake.negotiation.restarted
    }

    /// Chooses the version, if the whole ClientHello is there. What the client says in it TLS reads afterwards.
    pub(in crate::proto) fn choose_version(&mut self) {
        let Some(available) = self.handshake.versions_of_client() else { return };
        let negotiation = &mut self.handshake.negotiation;
        let Role::Server { versions, params } = &mut negotiation.role else { return };
        let chosen = versions.choose(negotiation.original, &available);
        let params = params.take();
        negotiation.settled = true;
        if let Some(mut params) = params.filter(|_| chosen != self.version) {
            params.version_information = Some(negotiation.information(chosen, &mut self.rng));
            let mut encoded = Vec::new();
            params.encode(Side::Server, &mut self.rng, &mut encoded);
            self.handshake.change_version(chosen, Some(encoded));
            self.version = chosen;
            let keys = self.initial_keys_of(chosen);
            // What the client has under way, and what it sends until it learns of this, is of the original version.
            self.keys.original_initial =
                self.keys.initial.replace(keys.into()).map(|keys| Box::new(keys.remote));
        }
    }
}
