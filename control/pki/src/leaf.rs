//! A certificate with its key, on disk, issued anew when it no longer says what it should.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use control_wire::durable::{self, FileError, MODE_PRIVATE, MODE_PUBLIC};
use control_wire::trust;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::authority::{Authority, parse_key, subject};

/// What a certificate is to say.
pub(crate) struct Order<'a> {
    /// Of the files `NAME.crt` and `NAME.key`.
    pub file: &'a str,
    pub common_name: &'a str,
    pub organization: Option<&'a str>,
    /// Host names and addresses; none makes it a client's.
    pub names: Vec<String>,
    /// It is issued anew when a third of this is left.
    pub life: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    #[error("cannot keep certificate {name}")]
    File { name: String, source: FileError },
    #[error("cannot issue certificate {name}")]
    Issue { name: String, source: rcgen::Error },
}

/// A certificate and its key.
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    key: KeyPair,
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaf").field("certificate", &self.certificate_pem).finish_non_exhaustive()
    }
}

impl Leaf {
    /// The leaf in `dir`, issued if it is missing, of another CA, near its end, or for other names.
    pub(crate) fn open(dir: &Path, authority: &Authority, order: &Order) -> Result<Self, LeafError> {
        let file = |source| LeafError::File { name: order.file.to_owned(), source };
        let key_path = dir.join(format!("{}.key", order.file));
        let certificate_path = dir.join(format!("{}.crt", order.file));
        let key = match durable::read(&key_path).map_err(file)? {
            Some(pem) => parse_key(&key_path, &pem).ok(),
            None => None,
        };
        let certificate = durable::read(&certificate_path).map_err(file)?;
        if let (Some(key), Some(pem)) = (key, certificate)
            && let Some(leaf) = Self::fitting(key, pem, authority, order)
        {
            return Ok(leaf);
        }
        let issue = |source| LeafError::Issue { name: order.file.to_owned(), source };
        let leaf = Self::issue(authority, order).map_err(issue)?;
        durable::replace(&key_path, leaf.key.serialize_pem().as_bytes(), MODE_PRIVATE).map_err(file)?;
        durable::replace(&certificate_path, leaf.certificate_pem.as_bytes(), MODE_PUBLIC).map_err(file)?;
        Ok(leaf)
    }

    fn issue(authority: &Authority, order: &Order) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(order.names.clone())?;
        params.distinguished_name = subject(order.common_name, order.organization);
        let usage = match order.names.is_empty() {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::ServerAuth,
        };
        params.extended_key_usages = vec![usage];
        let issued = authority.sign(params, &key, order.life)?;
        Ok(Self { certificate: issued.der().clone(), certificate_pem: issued.pem(), key })
    }

    fn fitting(key: KeyPair, pem: Vec<u8>, authority: &Authority, order: &Order) -> Option<Self> {
        let certificate = CertificateDer::from_pem_slice(&pem).ok()?;
        let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
        let (_, ca) = X509Certificate::from_der(authority.certificate()).ok()?;
        let end = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
        let lasts = end > trust::now_seconds() + order.life.as_secs() / 3;
        let of_key = parsed.tbs_certificate.subject_pki.raw == rcgen::PublicKeyData::subject_public_key_info(&key);
        let of_ca = parsed.issuer().as_raw() == ca.subject().as_raw();
        let mut wanted = order.names.clone();
        wanted.sort();
        let fits = lasts && of_key && of_ca && names(&parsed) == wanted;
        fits.then(|| Self { certificate, certificate_pem: String::from_utf8_lossy(&pem).into_owned(), key })
    }

    /// PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The leaf and its CA's certificate with the key to sign by, for rustls. The CA goes along, so that a node which
    /// knows only its hash can check the chain.
    pub(crate) fn certified(&self, authority: &Authority) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let chain = vec![self.certificate.clone(), authority.certificate().clone()];
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &trust::provider())?))
    }

    /// Seconds since 1970.
    pub(crate) fn ends(&self) -> u64 {
        trust::end_seconds(&self.certificate).unwrap_or(0)
    }
}

/// The subject's alternative names, in order.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let mut names: Vec<String> = extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            },
            _ => None,
        })
        .collect();
    names.sort();
    names
}
