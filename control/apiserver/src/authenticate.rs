//! Who asks: a client certificate that TLS has verified, or a bearer token.

use control_api::{Reason, Status};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::api::Api;
use crate::bearer::{api_audiences, bearer};
use crate::call::User;

/// Knows bearer tokens; the server's bin fulfils it.
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
    Some(User { name, groups, ..User::default() })
}

/// Nobody in particular.
pub fn anonymous() -> User {
    User { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()], ..User::default() }
}

/// The user as a member of everyone who is somebody.
pub fn authenticated(mut user: User) -> User {
    if !user.in_group(AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

/// The request's user. A certificate wins over a token; a token that is not known is refused rather than anonymous.
pub fn authenticate(api: &Api, certificate: Option<&User>, headers: &HeaderMap) -> Result<User, Status> {
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
    let found = bearer(api, token).and_then(|found| {
        let meant = !found.meant_for(&api_audiences()).is_empty();
        meant.then_some(found.user).ok_or_else(|| "token is meant for others".to_owned())
    });
    match found {
        Ok(user) => Ok(authenticated(user)),
        Err(why) => {
            tracing::debug!(why, "a bearer token was refused");
            Err(Status::new(Reason::Unauthorized, "Unauthorized"))
        }
    }
}
