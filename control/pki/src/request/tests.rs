use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::UnixTime;
use rustls::server::WebPkiClientVerifier;
use x509_parser::x509::X509Version;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn asked(change: impl FnOnce(&mut CertificateParams)) -> String {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "ann");
    // Two organizations: rcgen can only write them under two names of the one type.
    params.distinguished_name.push(DnType::OrganizationName, "team");
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "ops");
    change(&mut params);
    params.serialize_request(&key).unwrap().pem().unwrap()
}

#[test]
fn a_certificate_has_the_subject_and_the_names_of_its_request_and_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path()).unwrap();
    let pem = asked(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("ann.example".try_into().unwrap())];
    });
    let request = Request::read(pem.as_bytes()).unwrap();
    assert_eq!(request.organizations(), ["team", "ops"]);
    let usage = KeyUsage { digital_signature: true, key_encipherment: true };
    let der = authority.sign_client(&request, usage, HOUR).unwrap();
    let (rest, certificate) = X509Certificate::from_der(&der).unwrap();
    assert!(rest.is_empty());
    let groups: Vec<&str> = certificate.subject().iter_organization().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(groups, ["team", "ops"]);
    assert!(!certificate.is_ca() && certificate.version() == X509Version::V3);
    let found = certificate.key_usage().unwrap().unwrap().value;
    assert!(found.digital_signature() && found.key_encipherment() && !found.key_cert_sign());
    let purposes = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.client_auth && !purposes.server_auth);
    assert!(certificate.subject_alternative_name().unwrap().is_some());
    let left = certificate.validity().not_after.timestamp() - i64::try_from(trust::now_seconds()).unwrap();
    assert!((3590..=3600).contains(&left), "{left}");
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), trust::provider()).build().unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(trust::now_seconds()));
    verifier.verify_client_cert(&CertificateDer::from(der), &[], now).unwrap();
}

#[test]
fn a_life_beyond_2049_is_written_with_a_whole_year() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path()).unwrap();
    let request = Request::read(asked(|_| {}).as_bytes()).unwrap();
    let der = authority.sign_client(&request, KeyUsage::default(), HOUR * 24 * 365 * 30).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert!(certificate.validity().not_after.to_datetime().year() >= 2055);
    assert!(certificate.key_usage().unwrap().is_none());
}

#[test]
fn what_is_no_request_or_of_another_key_is_refused() {
    let pem = asked(|_| {});
    let refused = |pem: &str| Request::read(pem.as_bytes()).unwrap_err().to_string();
    assert_eq!(refused("x"), "PEM block type must be CERTIFICATE REQUEST");
    assert_eq!(refused(&pem.replace("REQUEST", "OTHER")), "PEM block type must be CERTIFICATE REQUEST");
    assert_eq!(refused(&"x".repeat(PEM_BYTES_MAX + 1)), "may not be more than 65536 bytes");
    let mut der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap().as_ref().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let broken = crate::kubeconfig::pem("CERTIFICATE REQUEST", &der);
    assert!(refused(&broken).starts_with("the request's own signature"));
    let cut = crate::kubeconfig::pem("CERTIFICATE REQUEST", &der[..100]);
    assert!(refused(&cut).starts_with("is not a certificate request"));
}

#[test]
fn a_chain_is_certificates_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::open(folder.path()).unwrap();
    let own = crate::kubeconfig::pem("CERTIFICATE", authority.certificate());
    check_certificates(format!("{own}{own}").as_bytes()).unwrap();
    assert!(end_seconds(own.as_bytes()).is_some());
    assert_eq!(check_certificates(b"x").unwrap_err(), "must contain at least one CERTIFICATE PEM block");
    let mixed = format!("{own}{}", asked(|_| {}));
    assert_eq!(check_certificates(mixed.as_bytes()).unwrap_err(), "only CERTIFICATE PEM blocks are allowed");
    let broken = crate::kubeconfig::pem("CERTIFICATE", b"nonsense");
    assert!(check_certificates(broken.as_bytes()).unwrap_err().contains("no certificate"));
}
