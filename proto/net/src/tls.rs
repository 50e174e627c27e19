//! Whose certificates are believed.
//!
//! The system's CA certificates, and those of one more file where that is given (`--ca`: a test
//! network, a company). Certificates are checked against the name in the URL; there is no way to
//! switch that off.

use std::path::Path;
use std::sync::Arc;

pub use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::Error;

/// The one crypto provider of all tools.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// How TLS is spoken with every host: TLS 1.2 or 1.3, the system's CA certificates and those of
/// the file `ca` (PEM, one or more).
///
/// # Errors
/// [`Error::CaFile`] and [`Error::CaEmpty`] about the file, [`Error::NoRoots`] when there is no
/// certificate at all.
pub fn client_config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots(ca)?);
    if store.is_empty() {
        return Err(Error::NoRoots);
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(store)
        .with_no_client_auth();
    // A session kept for each of ten thousand hosts costs more memory than the handshakes that it
    // saves are worth: hosts are joined once and held.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The CA certificates that are believed.
pub(crate) fn roots(ca: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Error> {
    // Some certificates of a system's store are often unreadable. What is left counts.
    let mut certificates = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = ca {
        let before = certificates.len();
        let failed = |source| Error::CaFile { path: path.into(), source };
        for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
            certificates.push(certificate.map_err(failed)?);
        }
        if certificates.len() == before {
            return Err(Error::CaEmpty { path: path.into() });
        }
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_certificates_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "nothing\n").unwrap();
        assert!(matches!(client_config(Some(&path)), Err(Error::CaEmpty { .. })));
        assert!(matches!(client_config(Some(&dir.path().join("no"))), Err(Error::CaFile { .. })));
    }

    #[test]
    fn a_ca_file_is_believed_beside_the_system_or_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key);
        std::fs::write(&path, certificate.unwrap().pem()).unwrap();
        assert!(client_config(Some(&path)).is_ok());
    }
}
