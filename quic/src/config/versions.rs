//! Which versions of QUIC an endpoint speaks, and which it would rather speak (RFC 9368).

use smallvec::SmallVec;

use super::{ConfigError, check};
pub use crate::packet::Version;

/// Versions, each once.
pub(crate) type VersionList = SmallVec<[Version; 4]>;

/// Which versions a client speaks, and which it begins with.
///
/// By default it speaks versions 2 and 1, likes version 2 better, and begins with version 1, which every server knows: a
/// server that speaks both takes the connection to version 2 without a round trip, and one that does not is not bothered
/// (RFC 9368 §2.5). With only one version in the list it is that version or none.
///
/// ```
/// use gannet::config::{ClientVersions, Version};
///
/// let only_version_1 = ClientVersions::new(&[Version::V1])?;
/// // For servers that are known to speak it.
/// let begins_with_2 = ClientVersions::new(&[Version::V2, Version::V1])?.first(Version::V2)?;
/// # Ok::<(), gannet::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientVersions {
    preferred: VersionList,
    first: Version,
}

impl ClientVersions {
    /// These versions, best first. It begins with version 1 if that is among them, else with the best.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(preferred: &[Version]) -> Result<Self, ConfigError> {
        let preferred = unique(preferred);
        let first = preferred.iter().copied().find(|version| *version == Version::V1);
        let first = first.or(preferred.first().copied());
        let first = first.ok_or(ConfigError { setting: "versions", problem: "are none" })?;
        Ok(Self { preferred, first })
    }

    /// The version of the first flight.
    ///
    /// # Errors
    /// If it is none of the client's versions.
    pub fn first(mut self, version: Version) -> Result<Self, ConfigError> {
        check(self.preferred.contains(&version), "first", "is none of the versions")?;
        self.first = version;
        Ok(self)
    }

    /// Best first.
    pub(crate) fn preferred(&self) -> &[Version] {
        &self.preferred
    }

    /// What to begin with.
    pub(crate) fn first_flight(&self) -> Version {
        self.first
    }

    /// The best of the versions that a server offers.
    pub(crate) fn best_of(&self, offered: &[u32]) -> Option<Version> {
        self.preferred.iter().copied().find(|version| offered.contains(&version.as_u32()))
    }
}

impl Default for ClientVersions {
    fn default() -> Self {
        Self { preferred: VersionList::from_slice(&[Version::V2, Version::V1]), first: Version::V1 }
    }
}

/// Which versions a server speaks.
///
/// By default it speaks versions 2 and 1 and takes a client that speaks both to version 2.
///
/// Where several servers share a name, a version is added to all of them in three steps, with a minute after each, so that
/// clients do not take the change for an attack: first the server accepts it, then it offers it, then it declares it
/// deployed. A version is given up in the reverse order (RFC 9368 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerVersions {
    acceptable: VersionList,
    offered: VersionList,
    deployed: VersionList,
}

impl ServerVersions {
    /// The server accepts, offers and has deployed these versions, best first.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(acceptable: &[Version]) -> Result<Self, ConfigError> {
        let acceptable = unique(acceptable);
        check(!acceptable.is_empty(), "versions", "are none")?;
        Ok(Self { offered: acceptable.clone(), deployed: acceptable.clone(), acceptable })
    }

    /// What Version Negotiation packets list.
    #[must_use]
    pub fn offered(mut self, versions: &[Version]) -> Self {
        self.offered = unique(versions);
        self
    }

    /// What all servers of the deployment accept: clients hold it against a forged Version Negotiation.
    #[must_use]
    pub fn deployed(mut self, versions: &[Version]) -> Self {
        self.deployed = unique(versions);
        self
    }

    /// The numbers that a client may begin with.
    pub fn acceptable(&self) -> impl Iterator<Item = u32> {
        self.acceptable.iter().map(|version| version.as_u32())
    }

    /// The numbers in Version Negotiation packets.
    pub fn offer(&self) -> impl Iterator<Item = u32> {
        self.offered.iter().map(|version| version.as_u32())
    }

    /// The numbers in version information.
    pub(crate) fn deployment(&self) -> impl Iterator<Item = u32> {
        self.deployed.iter().map(|version| version.as_u32())
    }

    /// The version for a client that began with `original` and can be taken to `available`.
    pub(crate) fn choose(&self, original: u32, available: &[u32]) -> u32 {
        let Some(began) = Version::from_u32(original) else { return original };
        let fits =
            |version: &&Version| available.contains(&version.as_u32()) && began.is_compatible_with(**version);
        self.acceptable.iter().find(fits).map_or(original, |version| version.as_u32())
    }
}

impl Default for ServerVersions {
    fn default() -> Self {
        let all = VersionList::from_slice(&[Version::V2, Version::V1]);
        Self { acceptable: all.clone(), offered: all.clone(), deployed: all }
    }
}

fn unique(versions: &[Version]) -> VersionList {
    let mut list = VersionList::new();
    for version in versions {
        if !list.contains(version) {
            list.push(*version);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{VERSION_1, VERSION_2};

    const RESERVED: u32 = 0x3a5a_7a9a;

    // covers: R9368-2.5-01, R9368-2.5-02
    #[test]
    fn a_client_begins_with_what_every_server_knows() {
        assert_eq!(ClientVersions::default(), ClientVersions::new(&[Version::V2, Version::V1]).unwrap());
        assert_eq!(ClientVersions::default().first_flight(), Version::V1);
        assert_eq!(ClientVersions::new(&[Version::V2]).unwrap().first_flight(), Version::V2);
        let twice = ClientVersions::new(&[Version::V2, Version::V2, Version::V1]).unwrap();
        assert_eq!(twice.preferred(), [Version::V2, Version::V1]);
        assert_eq!(twice.first(Version::V2).unwrap().first_flight(), Version::V2);
        assert_eq!(ClientVersions::new(&[]).unwrap_err().setting, "versions");
        let only = ClientVersions::new(&[Version::V1]).unwrap();
        assert_eq!(only.first(Version::V2).unwrap_err().setting, "first");
    }

    // covers: R9368-2.3-01, R9368-2.2-01
    #[test]
    fn a_server_takes_the_best_that_the_client_offers_too() {
        let server = ServerVersions::default();
        assert_eq!(server.choose(VERSION_1, &[RESERVED, VERSION_1, VERSION_2]), VERSION_2);
        assert_eq!(server.choose(VERSION_1, &[RESERVED, VERSION_1]), VERSION_1);
        assert_eq!(server.choose(VERSION_2, &[VERSION_2, VERSION_1]), VERSION_2);
        let likes_1 = ServerVersions::new(&[Version::V1, Version::V2]).unwrap();
        assert_eq!(likes_1.choose(VERSION_2, &[VERSION_2, VERSION_1]), VERSION_1);
        assert_eq!(likes_1.choose(VERSION_2, &[VERSION_2]), VERSION_2);
        // Nothing that was offered, or of a version nobody knows.
        assert_eq!(server.choose(VERSION_1, &[]), VERSION_1);
        assert_eq!(server.choose(RESERVED, &[VERSION_2]), RESERVED);
        let one = ServerVersions::new(&[Version::V1]).unwrap();
        assert_eq!(one.choose(VERSION_1, &[VERSION_2, VERSION_1]), VERSION_1);
        assert_eq!(one.acceptable().collect::<Vec<_>>(), [VERSION_1]);
    }

    #[test]
    fn the_three_lists_of_a_server_are_its_own() {
        let adding = ServerVersions::new(&[Version::V2, Version::V1]).unwrap();
        let adding = adding.offered(&[Version::V1]).deployed(&[]);
        assert!(adding.acceptable().any(|version| version == VERSION_2));
        assert_eq!(adding.offer().collect::<Vec<_>>(), [VERSION_1]);
        assert_eq!(adding.deployment().count(), 0);
        assert_eq!(ServerVersions::new(&[]).unwrap_err().setting, "versions");
    }
}
