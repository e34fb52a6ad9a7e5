//! rustls settings of the server's two ports.

use std::sync::Arc;

use control_wire::trust::{ALPN, NeverBeforeBuild, provider};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::authority::Authority;
use crate::leaf::Leaf;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot verify clients by the cluster CA")]
    Verifier(#[source] VerifierBuilderError),
    #[error("cannot serve tls with the issued certificate")]
    Certificate(#[source] rustls::Error),
}

pub(crate) fn https(authority: &Authority, leaf: &Leaf) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = config(authority, leaf, rustls::ALL_VERSIONS)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn quic(authority: &Authority, leaf: &Leaf) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = config(authority, leaf, &[&rustls::version::TLS13])?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A node's connection lasts for weeks: tickets for a next one only cost memory on both sides.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn config(
    authority: &Authority,
    leaf: &Leaf,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(TlsError::Certificate)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    // The CA goes along, so that a node which knows only its hash can check the chain.
    let chain = vec![leaf.certificate.clone(), authority.certificate().clone()];
    ServerConfig::builder_with_details(provider(), Arc::new(NeverBeforeBuild))
        .with_protocol_versions(versions)
        .map_err(TlsError::Certificate)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, leaf.key())
        .map_err(TlsError::Certificate)
}
