//! Who is believed: a server by the cluster's CA, pinned by hash or held whole, on a machine whose clock may be wrong.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The name that only the QUIC server's certificate carries: a node's or an API client's never passes for it.
pub const SERVER_NAME: &str = "bramble-server";
/// The subject of a node's certificate is this and the node's name, as Kubernetes' node authorizer wants it.
pub const NODE_NAME_PREFIX: &str = "system:node:";
/// The application protocol of the QUIC handshake.
pub const ALPN: &[u8] = b"bramble";

/// No clock is believed that shows an earlier time than this build knows of: 2026-11-01. A Pi without a battery starts
/// in 1970 and would refuse every certificate.
const BUILD_TIME_SECONDS: u64 = 1_793_491_200;

/// The time certificates are checked at.
pub fn now_seconds() -> u64 {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    clock.as_secs().max(BUILD_TIME_SECONDS)
}

/// [`now_seconds`] for rustls.
#[derive(Debug)]
pub struct NeverBeforeBuild;

impl TimeProvider for NeverBeforeBuild {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(now_seconds())))
    }
}

/// The cryptography used everywhere.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo: what a token pins a CA by, and a node is known by.
pub fn key_hash(certificate: &[u8]) -> Option<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(hash(certificate.tbs_certificate.subject_pki.raw))
}

/// SHA-256.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The node a client certificate is for; the certificate was verified before.
pub fn node_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common_name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    common_name.strip_prefix(NODE_NAME_PREFIX).map(str::to_owned)
}

/// What a server has to show.
#[derive(Debug, Clone)]
pub enum Anchor {
    /// A chain that ends in a CA with this hash: for a join, which has only the token.
    Hash([u8; 32]),
    /// A chain that ends in this CA.
    Certificate(Vec<u8>),
}

/// Believes the cluster's server and nothing else.
#[derive(Debug)]
pub struct ClusterVerifier {
    anchor: Anchor,
    provider: Arc<CryptoProvider>,
}

impl ClusterVerifier {
    pub fn new(anchor: Anchor) -> Arc<Self> {
        Arc::new(Self { anchor, provider: provider() })
    }

    fn root(&self, chain: &[CertificateDer<'_>]) -> Result<CertificateDer<'static>, Error> {
        match &self.anchor {
            Anchor::Certificate(ca) => Ok(CertificateDer::from(ca.clone())),
            Anchor::Hash(wanted) => chain
                .iter()
                .find(|certificate| key_hash(certificate).as_ref() == Some(wanted))
                .map(|certificate| certificate.clone().into_owned())
                .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }
}

impl ServerCertVerifier for ClusterVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let mut roots = RootCertStore::empty();
        roots.add(self.root(intermediates)?)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_seconds()));
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], now, algorithms)?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
