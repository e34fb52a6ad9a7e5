//! The CA: one key, one certificate, and what it signs.

use std::path::Path;
use std::time::Duration;

use control_wire::durable::{self, FileError, MODE_PRIVATE, MODE_PUBLIC};
use control_wire::trust;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, date_time_ymd,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

const KEY_FILE: &str = "ca.key";
const CERTIFICATE_FILE: &str = "ca.crt";
/// Before any clock that a certificate may meet: a machine whose clock is behind must not refuse it as not yet valid.
pub(crate) const NOT_BEFORE_YEAR: i32 = 1970;
const CA_LIFE: Duration = Duration::from_secs(50 * 365 * 86_400);
/// A request is a key and a name.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Kubernetes' limit of an object's name.
const NODE_NAME_BYTES_MAX: usize = 253;

/// The CA cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("cannot keep the cluster CA")]
    File(#[from] FileError),
    #[error("cannot make the cluster CA")]
    Make(#[source] rcgen::Error),
    #[error(
        "the CA's certificate is there but its key {0} is not: restore it, or remove the certificate to start a new cluster"
    )]
    KeyMissing(String),
}

/// A request that is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("node name {0:?} is not a valid name: lower case letters, digits, '-' and '.'")]
    Name(String),
    #[error("certificate request is not valid")]
    Request(#[source] rcgen::Error),
    #[error("certificate request is longer than {REQUEST_BYTES_MAX} bytes")]
    TooLong,
    #[error("certificate cannot be signed")]
    Sign(#[source] rcgen::Error),
}

/// The cluster's CA.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    hash: [u8; 32],
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.cluster())
    }
}

impl Authority {
    /// The CA in `dir`, made there at the first start.
    pub fn open(dir: &Path) -> Result<Self, AuthorityError> {
        let (key_path, certificate_path) = (dir.join(KEY_FILE), dir.join(CERTIFICATE_FILE));
        let key = durable::read(&key_path)?;
        let certificate = read_certificate(dir)?;
        let key = match (&key, &certificate) {
            (Some(pem), _) => parse_key(&key_path, pem)?,
            (None, Some(_)) => return Err(AuthorityError::KeyMissing(key_path.display().to_string())),
            (None, None) => {
                let key = KeyPair::generate().map_err(AuthorityError::Make)?;
                durable::replace(&key_path, key.serialize_pem().as_bytes(), MODE_PRIVATE)?;
                key
            }
        };
        let certificate = match certificate {
            Some(certificate) => certificate,
            None => {
                let made = self_signed(&key).map_err(AuthorityError::Make)?;
                durable::replace(&certificate_path, made.pem().as_bytes(), MODE_PUBLIC)?;
                made.der().clone()
            }
        };
        let hash = trust::hash(&key.subject_public_key_info());
        if trust::key_hash(&certificate) != Some(hash) {
            return Err(FileError::damaged(&certificate_path, "it is not of the key beside it").into());
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Make)?;
        Ok(Self { issuer, certificate, hash })
    }

    /// A secret of the CA's, known to nobody else; the same for as long as the CA is.
    pub(crate) fn derived(&self, purpose: &str) -> [u8; 32] {
        trust::hash(format!("{purpose} {}", self.issuer.key().serialize_pem()).as_bytes())
    }

    /// DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// SHA-256 of the public key.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The cluster's name among clusters.
    pub fn cluster(&self) -> String {
        cluster(&self.hash)
    }

    /// Signs a leaf for `key`.
    pub fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        life: Duration,
    ) -> Result<rcgen::Certificate, rcgen::Error> {
        set_validity(&mut params, life);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(key, &self.issuer)
    }

    /// Signs a node's request. Its signature is checked; what it asks to be called is not heard.
    pub fn sign_node(&self, request: &[u8], node_name: &str, life: Duration) -> Result<Vec<u8>, SignError> {
        let request = self::request(request, node_name)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&format!("{}{node_name}", trust::NODE_NAME_PREFIX), Some("system:nodes"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = self.sign(params, &request.public_key, life).map_err(SignError::Sign)?;
        Ok(certificate.der().to_vec())
    }
}

/// A node's request, read within limits; its signature is checked.
pub(crate) fn request(request: &[u8], node_name: &str) -> Result<CertificateSigningRequestParams, SignError> {
    if !is_node_name(node_name) {
        return Err(SignError::Name(node_name.to_owned()));
    }
    if request.len() > REQUEST_BYTES_MAX {
        return Err(SignError::TooLong);
    }
    let request = CertificateSigningRequestDer::from(request.to_vec());
    CertificateSigningRequestParams::from_der(&request).map_err(SignError::Request)
}

/// The CA's certificate in `dir`; `None` before the first start.
pub fn read_certificate(dir: &Path) -> Result<Option<CertificateDer<'static>>, FileError> {
    let path = dir.join(CERTIFICATE_FILE);
    let Some(pem) = durable::read(&path)? else { return Ok(None) };
    CertificateDer::from_pem_slice(&pem).map(Some).map_err(|error| FileError::damaged(&path, error.to_string()))
}

/// The cluster's name, from its CA's hash: a server and a token agree on it without asking each other.
pub fn cluster(ca_hash: &[u8; 32]) -> String {
    trust::cluster(ca_hash)
}

pub(crate) fn parse_key(path: &Path, pem: &[u8]) -> Result<KeyPair, FileError> {
    let text = std::str::from_utf8(pem).map_err(|error| FileError::damaged(path, error))?;
    KeyPair::from_pem(text).map_err(|error| FileError::damaged(path, error))
}

pub(crate) fn subject(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn set_validity(params: &mut CertificateParams, life: Duration) {
    params.not_before = date_time_ymd(NOT_BEFORE_YEAR, 1, 1);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(trust::now_seconds()) + life;
}

fn self_signed(key: &KeyPair) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = CertificateParams::default();
    // The name holds the key's hash: a leaf of a CA that was replaced is told by its issuer.
    let hash = trust::hash(&key.subject_public_key_info());
    params.distinguished_name = subject(&format!("bramble-ca-{}", cluster(&hash)), None);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, CA_LIFE);
    params.self_signed(key)
}

/// A DNS subdomain, as Kubernetes wants a Node's name.
fn is_node_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    name.len() <= NODE_NAME_BYTES_MAX && name.split('.').all(label)
}
