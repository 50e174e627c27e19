//! A certificate authority of the network's own, and the certificates of its hosts.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};
use tokio_rustls::TlsAcceptor;

/// An authority that is made anew with each run.
pub struct Authority {
    issuer: Arc<Issuer<'static, KeyPair>>,
    pem: String,
}

impl Authority {
    /// A new authority with a key of its own.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "pds-sim authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Arc::new(Issuer::new(params, key)), pem })
    }

    /// Its certificate, for clients to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What a server at these addresses accepts connections with.
    pub fn acceptor(&self, addresses: &BTreeSet<IpAddr>) -> Result<TlsAcceptor> {
        Ok(TlsAcceptor::from(self.config(addresses)?))
    }

    /// What a server at these addresses says in its handshakes. One certificate serves them all,
    /// so that thousands of hosts cost one; the name of an account gets one when a client asks
    /// for it.
    pub fn config(&self, addresses: &BTreeSet<IpAddr>) -> Result<Arc<ServerConfig>> {
        let key = KeyPair::generate()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let signer = provider
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
        let names = addresses.iter().copied().map(SanType::IpAddress).collect();
        let addresses = certified(&self.issuer, &key, &signer, "localhost", names)?;
        let certificates =
            Certificates { issuer: Arc::clone(&self.issuer), key, signer, addresses };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        Ok(Arc::new(config))
    }
}

/// The certificates of a server.
struct Certificates {
    issuer: Arc<Issuer<'static, KeyPair>>,
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    addresses: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name().filter(|name| name.ends_with(".test")) {
            Some(name) => certified(&self.issuer, &self.key, &self.signer, name, Vec::new()).ok(),
            None => Some(Arc::clone(&self.addresses)),
        }
    }
}

fn certified(
    issuer: &Issuer<'static, KeyPair>,
    key: &KeyPair,
    signer: &Arc<dyn SigningKey>,
    name: &str,
    more: Vec<SanType>,
) -> Result<Arc<CertifiedKey>> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.subject_alt_names.extend(more);
    params.distinguished_name.push(DnType::CommonName, "pds-sim host");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = CertificateDer::from(params.signed_by(key, issuer)?);
    Ok(Arc::new(CertifiedKey::new(vec![certificate], Arc::clone(signer))))
}
