//! What clients of the API ask to have signed (PKCS#10 in PEM), read and checked; and the client certificate of it.
//!
//! The certificate is written here and not by rcgen, whose names hold one organization only: a user has as many groups
//! as their certificate has organizations.

use std::time::Duration;

use control_wire::trust;
use rcgen::{SigningKey, date_time_ymd};
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer, X509Certificate};
use yasna::models::{GeneralizedTime, ObjectIdentifier, UTCTime};
use yasna::{DERWriter, DERWriterSeq, Tag, construct_der};

use crate::authority::{Authority, NOT_BEFORE_YEAR};

/// PEM of one request, or of the chain that a signer leaves.
const PEM_BYTES_MAX: usize = 64 << 10;

/// A request that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    #[error("may not be more than {PEM_BYTES_MAX} bytes")]
    TooLong,
    #[error("is not a certificate request: {0}")]
    Read(String),
    #[error("the request's own signature is not of its key, or of a kind that is not supported")]
    Signature,
    #[error("the requested alternative names cannot be read")]
    Names,
}

/// A certificate that is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignRequestError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("certificate cannot be signed")]
    Sign(#[source] rcgen::Error),
    #[error("the CA's own certificate cannot be read")]
    Authority,
}

/// What a client certificate's key may be used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyUsage {
    pub digital_signature: bool,
    pub key_encipherment: bool,
}

/// A request whose signature is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// DER of the subject, as it came.
    subject: Vec<u8>,
    /// DER of the public key with its algorithm.
    key: Vec<u8>,
    /// The content of the alternative names that it asks for.
    names: Option<Vec<u8>>,
    organizations: Vec<String>,
}

impl Request {
    /// Reads the first request of a PEM text.
    pub fn read(pem: &[u8]) -> Result<Self, RequestError> {
        if pem.len() > PEM_BYTES_MAX {
            return Err(RequestError::TooLong);
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem).map_err(|_| RequestError::Pem)?;
        Self::from_der(&der)
    }

    /// Reads what a PEM text holds.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        let (rest, request) =
            X509CertificationRequest::from_der(der).map_err(|error| RequestError::Read(error.to_string()))?;
        if !rest.is_empty() {
            return Err(RequestError::Read("something follows it".to_owned()));
        }
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        let info = &request.certification_request_info;
        let organizations = info.subject.iter_organization().filter_map(|name| name.as_str().ok());
        Ok(Self {
            subject: info.subject.as_raw().to_vec(),
            key: info.subject_pki.raw.to_vec(),
            names: names(&request)?,
            organizations: organizations.map(str::to_owned).collect(),
        })
    }

    /// The groups that the request's subject names.
    pub fn organizations(&self) -> &[String] {
        &self.organizations
    }
}

fn names(request: &X509CertificationRequest<'_>) -> Result<Option<Vec<u8>>, RequestError> {
    for attribute in request.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else { continue };
        let found = asked.extensions.iter().find(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
        let Some(found) = found else { continue };
        return match found.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(_) => Ok(Some(found.value.to_vec())),
            _ => Err(RequestError::Names),
        };
    }
    Ok(None)
}

/// Why `pem` is not a chain of certificates and nothing else.
pub fn check_certificates(pem: &[u8]) -> Result<(), String> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(format!("may not be more than {PEM_BYTES_MAX} bytes"));
    }
    let mut count = 0;
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|error| error.to_string())?;
        if kind != SectionKind::Certificate {
            return Err("only CERTIFICATE PEM blocks are allowed".to_owned());
        }
        match X509Certificate::from_der(&der) {
            Ok(([], _)) => count += 1,
            _ => return Err("found a CERTIFICATE PEM block that is no certificate".to_owned()),
        }
    }
    if count == 0 { Err("must contain at least one CERTIFICATE PEM block".to_owned()) } else { Ok(()) }
}

/// When the first certificate of a PEM text ends, in seconds since 1970.
pub fn end_seconds(pem: &[u8]) -> Option<i64> {
    let der = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

impl Authority {
    /// A client certificate, DER, with the subject, the key and the alternative names of the request.
    pub(crate) fn sign_client(
        &self,
        request: &Request,
        usage: KeyUsage,
        life: Duration,
    ) -> Result<Vec<u8>, SignRequestError> {
        let own = X509Certificate::from_der(self.certificate()).map_err(|_| SignRequestError::Authority)?.1;
        let mut serial = [0; 16];
        getrandom::fill(&mut serial).expect("the kernel gives random bytes");
        // Positive, and of its full length.
        serial[0] = serial[0] & 0x7f | 0x40;
        // The CA's certificate is signed by its own key: what it says of its signature holds for this one too.
        let algorithm = self_algorithm(self.certificate()).ok_or(SignRequestError::Authority)?;
        let content = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
                writer.next().write_bigint_bytes(&serial, true);
                writer.next().write_der(algorithm);
                writer.next().write_der(own.subject().as_raw());
                writer.next().write_sequence(|writer| validity(writer, life));
                writer.next().write_der(&request.subject);
                writer.next().write_der(&request.key);
                writer.next().write_tagged(Tag::context(3), |writer| {
                    writer.write_sequence(|writer| extensions(writer, request, usage, &own));
                });
            });
        });
        let signature = self.key().sign(&content).map_err(SignRequestError::Sign)?;
        Ok(construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&content);
                writer.next().write_der(algorithm);
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        }))
    }
}

/// DER of the algorithm that a certificate was signed by: what follows the signed content.
fn self_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (_, outer) = x509_parser::asn1_rs::Any::from_der(certificate).ok()?;
    let (rest, _) = x509_parser::asn1_rs::Any::from_der(outer.data).ok()?;
    let (after, _) = x509_parser::asn1_rs::Any::from_der(rest).ok()?;
    Some(&rest[..rest.len() - after.len()])
}

fn validity(writer: &mut DERWriterSeq<'_>, life: Duration) {
    let end = date_time_ymd(1970, 1, 1) + Duration::from_secs(trust::now_seconds()) + life;
    moment(writer.next(), NOT_BEFORE_YEAR, "0101000000Z");
    let (month, day) = (u8::from(end.month()), end.day());
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", end.hour(), end.minute(), end.second());
    moment(writer.next(), end.year(), &rest);
}

/// Until 2049 with two digits of the year, then with four, as X.509 wants it.
fn moment(writer: DERWriter<'_>, year: i32, rest: &str) {
    if year < 2050 {
        let time = UTCTime::parse(format!("{:02}{rest}", year % 100).as_bytes());
        writer.write_utctime(&time.expect("a time from its parts is a time"));
    } else {
        let time = GeneralizedTime::parse(format!("{year}{rest}").as_bytes());
        writer.write_generalized_time(&time.expect("a time from its parts is a time"));
    }
}

const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
const CLIENT_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];

fn extensions(writer: &mut DERWriterSeq<'_>, request: &Request, usage: KeyUsage, own: &X509Certificate<'_>) {
    let bits = (u8::from(usage.digital_signature) << 7) | (u8::from(usage.key_encipherment) << 5);
    if bits != 0 {
        let length = 8 - bits.trailing_zeros() as usize;
        extension(writer, KEY_USAGE, true, &construct_der(|writer| writer.write_bitvec_bytes(&[bits], length)));
    }
    let purposes = construct_der(|writer| {
        writer.write_sequence(|writer| writer.next().write_oid(&ObjectIdentifier::from_slice(CLIENT_AUTH)));
    });
    extension(writer, EXTENDED_KEY_USAGE, false, &purposes);
    // No CA: the default, which is not written.
    extension(writer, BASIC_CONSTRAINTS, true, &construct_der(|writer| writer.write_sequence(|_| ())));
    let key = own.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
        _ => None,
    });
    if let Some(key) = key {
        let identifier = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(key));
            });
        });
        extension(writer, AUTHORITY_KEY, false, &identifier);
    }
    if let Some(names) = &request.names {
        extension(writer, ALTERNATIVE_NAMES, false, names);
    }
}

fn extension(writer: &mut DERWriterSeq<'_>, id: &[u64], critical: bool, value: &[u8]) {
    writer.next().write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(id));
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

#[cfg(test)]
mod tests;
