//! Certificates: for development, made here; for everything else, read from PEM files.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

/// A server's certificate with its chain, and the key to it.
#[derive(Debug)]
pub struct Identity {
    /// The server's own certificate first, then what leads to a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the first.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads a chain and a key from PEM files.
    ///
    /// # Errors
    /// A file that cannot be read, or has no certificate or key in it.
    pub fn from_pem_files(chain: &Path, key: &Path) -> Result<Self> {
        let key = PrivateKeyDer::from_pem_file(key)
            .with_context(|| format!("no private key in {}", key.display()))?;
        Ok(Self { chain: read_certificates(chain)?, key })
    }
}

/// An authority that lives as long as this process, and a certificate it signed.
#[derive(Debug)]
pub struct Development {
    /// What clients have to trust, as PEM.
    pub authority: String,
    /// What the server shows.
    pub identity: Identity,
}

impl Development {
    /// Makes both for the given DNS names and IP addresses.
    ///
    /// # Errors
    /// A name that no certificate can carry.
    pub fn new(names: &[&str]) -> Result<Self> {
        let authority_key = KeyPair::generate()?;
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        authority.distinguished_name.push(DnType::CommonName, "Gannet development CA");
        let authority_pem = authority.self_signed(&authority_key)?.pem();

        let key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.distinguished_name.push(DnType::CommonName, "Gannet development server");
        let leaf = leaf.signed_by(&key, &Issuer::new(authority, authority_key))?;

        let identity = Identity {
            chain: vec![leaf.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        };
        Ok(Self { authority: authority_pem, identity })
    }
}

/// All certificates of a PEM file.
///
/// # Errors
/// A file that cannot be read, or has none in it.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "no certificate in {}", path.display());
    Ok(certificates)
}
