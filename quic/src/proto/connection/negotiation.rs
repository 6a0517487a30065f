//! Which version the connection uses (RFC 9368), and how both ends make sure that nobody else had a say in it.
//!
//! A server chooses when it knows the whole ClientHello, before TLS reads it. Until then it answers in the version that the
//! client began with. A client learns of the choice from the first packet in another version that opens.

use super::Connection;
use super::handshake::Handshake;
use crate::config::{ClientVersions, ServerVersions};
use crate::crypto::{Keys, initial_keys};
use crate::packet::{
    Level, Rng, Side, TransportError, TransportErrorCode as Code, Version, reserved_version,
};
use crate::wire::transport_parameters::{TransportParameters, VersionInformation};

/// What is known about the version of a connection besides the one in use.
#[derive(Debug)]
pub struct Negotiation {
    /// The version of the client's first flight.
    pub original: u32,
    /// The version in use stays as it is.
    pub settled: bool,
    role: Role,
}

#[derive(Debug)]
enum Role {
    Client(ClientVersions),
    Server {
        versions: ServerVersions,
        /// What is to be sent, but for the version.
        params: Option<Box<TransportParameters>>,
    },
}

impl Negotiation {
    /// Of a client. It begins with the best version that `is_known` from earlier connections, if there is one.
    pub fn client(versions: ClientVersions, is_known: impl Fn(&u32) -> bool) -> Self {
        let known = versions.preferred().iter().map(|version| version.as_u32()).find(is_known);
        let original = known.unwrap_or(versions.first_flight().as_u32());
        Self { original, settled: false, role: Role::Client(versions) }
    }

    /// Of a server whose client began with `original`.
    pub fn server(original: u32, versions: ServerVersions, params: TransportParameters) -> Self {
        let params = Some(Box::new(params));
        Self { original, settled: false, role: Role::Server { versions, params } }
    }

    /// What we tell the peer when `chosen` is in use, with a version among it that nobody speaks.
    pub fn information(&self, chosen: u32, rng: &mut Rng) -> VersionInformation {
        let mut available: Vec<u32> = match &self.role {
            Role::Client(versions) => versions.preferred().iter().map(|version| version.as_u32()).collect(),
            Role::Server { versions, .. } => versions.deployment().collect(),
        };
        let at = rng.below(available.len() as u64 + 1);
        available.insert(usize::try_from(at).unwrap_or_default(), reserved_version(rng));
        VersionInformation { chosen, available }
    }

    /// True if the server may take our first flight to this version.
    fn offers(&self, version: u32) -> bool {
        match (&self.role, Version::from_u32(self.original), Version::from_u32(version)) {
            (Role::Client(versions), Some(original), Some(version)) => {
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
            (Role::Client(_), Some(theirs)) if theirs.chosen != version => {
                error("the server names another version than it uses")
            }
            (Role::Client(_), None) if version != self.original => {
                error("the server changed the version and does not say so")
            }
            _ => Ok(()),
        }
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
        self.keys.initial = Some(keys);
        self.handshake.negotiation.settled = true;
        self.handshake.change_version(version, None);
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
            self.keys.original_initial = self.keys.initial.replace(keys).map(|keys| keys.remote);
        }
    }
}
