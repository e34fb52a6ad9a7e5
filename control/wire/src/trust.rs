//! Who is believed: a server by the cluster's CA, pinned by hash or held whole, on a machine whose clock may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// The latest time that is known to be past, in seconds since 1970.
static PAST_SECONDS: AtomicU64 = AtomicU64::new(BUILD_TIME_SECONDS);

/// Says that it is `seconds` since 1970 or later, as a saved word of the cluster's server has it.
pub fn is_past(seconds: u64) {
    PAST_SECONDS.fetch_max(seconds, Ordering::Relaxed);
}

/// The time certificates are checked at.
pub fn now_seconds() -> u64 {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    clock.as_secs().max(PAST_SECONDS.load(Ordering::Relaxed))
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

/// The cluster's name, from its CA's hash: a server and a token agree on it without asking each other.
pub fn cluster(ca_hash: &[u8; 32]) -> String {
    hex(&ca_hash[..CLUSTER_DIGITS_MIN / 2])
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A hash from its 64 hex digits.
pub fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

/// The node a client certificate is for; the certificate was verified before.
pub fn node_name(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let common_name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    common_name.strip_prefix(NODE_NAME_PREFIX).map(str::to_owned)
}

/// A cluster's name is so many hex digits of its CA's hash: fewer could be met by chance or by trying.
pub const CLUSTER_DIGITS_MIN: usize = 16;

/// The CA in the chain that a server shows: the certificate behind its own.
pub(crate) fn authority<'a>(chain: &'a [CertificateDer<'a>]) -> Option<&'a CertificateDer<'a>> {
    chain.last()
}

/// The seconds since 1970 at which a certificate ends.
pub fn end_seconds(certificate: &[u8]) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}

/// What a server has to show.
#[derive(Debug, Clone)]
pub enum Anchor {
    /// A chain that ends in a CA with this hash: for a join, which has only the token.
    Hash([u8; 32]),
    /// A chain that ends in this CA.
    Certificate(Vec<u8>),
    /// A chain that ends in a CA whose hash begins with these hex digits, at least [`CLUSTER_DIGITS_MIN`] of them:
    /// for a machine that was told its cluster's name.
    Cluster(String),
    /// Any chain that ends in a CA: for a machine that was told nothing. It learns who answers, and nothing more.
    First,
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
        let fits = |hash: [u8; 32]| match &self.anchor {
            Anchor::Certificate(_) => false,
            Anchor::Hash(wanted) => hash == *wanted,
            Anchor::Cluster(name) => name.len() >= CLUSTER_DIGITS_MIN && hex(&hash).starts_with(name.as_str()),
            Anchor::First => true,
        };
        if let Anchor::Certificate(ca) = &self.anchor {
            return Ok(CertificateDer::from(ca.clone()));
        }
        authority(chain)
            .filter(|certificate| key_hash(certificate).is_some_and(fits))
            .map(|certificate| certificate.clone().into_owned())
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_back_from_its_text() {
        assert_eq!(parse_hash(&hex(&[0xa7; 32])), Some([0xa7; 32]));
        assert_eq!(parse_hash(&"\u{e4}".repeat(32)), None);
        assert_eq!(parse_hash("a7"), None);
    }
}
