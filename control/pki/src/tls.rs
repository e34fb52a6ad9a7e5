//! rustls settings of the server's two ports. Certificates are looked up at each handshake, so that a renewed one is
//! shown without a restart.

use std::sync::{Arc, PoisonError, RwLock};

use control_wire::trust::{ALPN, NeverBeforeBuild, provider};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::authority::Authority;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot verify clients by the cluster CA")]
    Verifier(#[source] VerifierBuilderError),
    #[error("cannot serve tls with the issued certificate")]
    Certificate(#[source] rustls::Error),
}

/// The certificate that one port shows.
#[derive(Debug)]
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    pub(crate) fn new(certificate: Arc<CertifiedKey>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(certificate)))
    }

    /// Handshakes from now on show `certificate`.
    pub(crate) fn replace(&self, certificate: Arc<CertifiedKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

pub(crate) fn https(authority: &Authority, shown: Arc<Shown>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = config(authority, shown, rustls::ALL_VERSIONS)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn quic(authority: &Authority, shown: Arc<Shown>) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = config(authority, shown, &[&rustls::version::TLS13])?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A node's connection lasts for weeks: tickets for a next one only cost memory on both sides.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn config(
    authority: &Authority,
    shown: Arc<Shown>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(TlsError::Certificate)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    Ok(ServerConfig::builder_with_details(provider(), Arc::new(NeverBeforeBuild))
        .with_protocol_versions(versions)
        .map_err(TlsError::Certificate)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(shown))
}
