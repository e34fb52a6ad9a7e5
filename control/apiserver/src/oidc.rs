//! The two documents by which others check the tokens of ServiceAccounts.

use control_api::{Reason, Status};
use control_pki::account_token::discovery_document;
use http::Response;

use crate::api::Api;
use crate::respond::{self, Body};

/// `/.well-known/openid-configuration`.
pub fn discovery() -> Response<Body> {
    respond::value(&discovery_document())
}

/// `/openid/v1/jwks`.
pub fn keys(api: &Api) -> Result<Response<Body>, Status> {
    let key = api.account_key().ok_or_else(|| Status::new(Reason::NotFound, "no key signs tokens here"))?;
    Ok(respond::document("application/jwk-set+json", key.key_set().to_string()))
}
