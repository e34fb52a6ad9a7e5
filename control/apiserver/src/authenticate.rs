//! Who asks: a client certificate that TLS has verified, or a bearer token.

use control_api::{Reason, Status};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::call::User;

/// Knows bearer tokens; `control/pki` fulfils it.
pub trait Authenticator: Send + Sync + 'static {
    /// The user a token stands for; none for a forged, expired or unknown one.
    fn token(&self, token: &str) -> Option<User>;
}

const AUTHENTICATED: &str = "system:authenticated";

/// The user of a verified client certificate: CN is the name, each O a group.
pub fn certificate_user(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    Some(User { name, groups })
}

/// Nobody in particular.
pub fn anonymous() -> User {
    User { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
}

/// The request's user. A certificate wins over a token; a token that is not known is refused rather than anonymous.
pub fn authenticate(
    certificate: Option<&User>,
    headers: &HeaderMap,
    tokens: Option<&dyn Authenticator>,
) -> Result<User, Status> {
    if let Some(user) = certificate {
        return Ok(user.clone());
    }
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(anonymous()) };
    let token = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .and_then(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()));
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(anonymous()) };
    let Some(mut user) = tokens.and_then(|known| known.token(token)) else {
        return Err(Status::new(Reason::Unauthorized, "Unauthorized"));
    };
    if !user.groups.iter().any(|group| group == AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    Ok(user)
}
