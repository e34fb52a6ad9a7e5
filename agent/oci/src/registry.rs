//! The registry's HTTP API, as far as pulling goes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use control_api::image::Reference;
use http::{HeaderMap, StatusCode, Uri, header};
use hyper::body::Incoming;
use tokio::sync::Semaphore;

use crate::{
    credentials::{Credential, Credentials},
    error::OpenError,
    images::{Limits, RegistryConfig},
};

mod auth;
mod connect;
mod content;
mod download;

use auth::Authorization;
#[cfg(any(fuzzing, debug_assertions))]
pub(crate) use auth::fuzz_challenge;
use connect::Connector;
use content::Content;

const ATTEMPTS_MAX: u32 = 4;
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const REDIRECTS_MAX: usize = 5;
/// For a manifest or a configuration as a whole.
const DOCUMENT_WAIT: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("{0}: not found")]
    NotFound(String),
    #[error("pull access denied, repository does not exist or may require authorization: authorization failed: {0}")]
    Denied(String),
    #[error("unexpected status from GET request to {url}: {status}")]
    Status { url: String, status: StatusCode },
    #[error("failed to do request: Get \"{url}\"")]
    Request {
        url: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("{what} is above the limit of {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    #[error("unexpected digest of {what}: {actual}, expected {expected}")]
    Digest { what: String, expected: String, actual: String },
    #[error("refused a redirect from {from} to {to}")]
    Redirect { from: String, to: String },
    #[error("cannot write {0}")]
    Write(String, #[source] std::io::Error),
}

impl RegistryError {
    /// Whether the same request may do better soon.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        }
    }
}

/// How registries are reached and trusted, for all pulls.
pub(crate) struct Registries {
    config: RegistryConfig,
    connector: Connector,
    downloads: Semaphore,
    headers_wait: Duration,
    body_stall: Duration,
}

impl Registries {
    pub fn new(config: &RegistryConfig, limits: &Limits) -> Result<Self, OpenError> {
        let connector = Connector::new(&config.ca_files)?;
        let downloads = Semaphore::new(limits.downloads_max.max(1));
        let (headers_wait, body_stall) = (limits.headers_wait, limits.body_stall);
        Ok(Self { config: config.clone(), connector, downloads, headers_wait, body_stall })
    }

    fn content(&self, body: Incoming, url: &str) -> Content {
        Content::new(body, url, self.body_stall)
    }

    /// Where an image is asked for: its mirrors, then its own registry.
    fn endpoints(&self, reference: &Reference, credentials: &Credentials) -> Vec<Endpoint> {
        let mirrors = self.config.mirrors.get(&reference.registry).or_else(|| self.config.mirrors.get("*"));
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for base in mirrors.into_iter().flatten() {
            let host = base.split_once("://").map_or(base.as_str(), |(_, host)| host).trim_end_matches('/');
            let there = Reference { registry: host.to_owned(), ..reference.clone() };
            let base =
                if base.contains("://") { base.trim_end_matches('/').to_owned() } else { format!("https://{host}") };
            endpoints.push(Endpoint { base, credential: credentials.of(&there).cloned() });
        }
        let host = if reference.registry == "docker.io" { "registry-1.docker.io" } else { &reference.registry };
        let plain = self.config.insecure.contains(&reference.registry) || is_loopback(&reference.registry);
        let scheme = if plain { "http" } else { "https" };
        endpoints.push(Endpoint { base: format!("{scheme}://{host}"), credential: credentials.of(reference).cloned() });
        endpoints
    }

    /// Plain HTTP is for those that the configuration names so.
    fn may_be_plain(&self, uri: &Uri) -> bool {
        let Some(authority) = uri.authority() else { return false };
        self.config.insecure.iter().any(|host| host == authority.as_str())
            || is_loopback(authority.as_str())
            || self
                .config
                .mirrors
                .values()
                .flatten()
                .any(|base| base.trim_end_matches('/') == format!("http://{authority}"))
    }
}

struct Endpoint {
    base: String,
    credential: Option<Credential>,
}

/// One image's conversation with its registry: remembers which endpoint answered, and the token.
pub(crate) struct Repository {
    registries: Arc<crate::images::Shared>,
    reference: Reference,
    endpoints: Vec<Endpoint>,
    authorizations: Vec<Authorization>,
}

impl Repository {
    pub fn new(shared: &Arc<crate::images::Shared>, reference: &Reference, credentials: &Credentials) -> Self {
        let endpoints = shared.registries.endpoints(reference, credentials);
        let authorizations = endpoints.iter().map(|endpoint| Authorization::new(endpoint.credential.clone())).collect();
        Self { registries: shared.clone(), reference: reference.clone(), endpoints, authorizations }
    }

    fn registries(&self) -> &Registries {
        &self.registries.registries
    }

    /// A manifest or index by tag or digest, with its media type.
    pub async fn manifest(&self, target: &str, bytes_max: u64) -> Result<(Bytes, String), RegistryError> {
        let accept = [crate::manifest::INDEX_TYPES, crate::manifest::MANIFEST_TYPES].concat().join(", ");
        let what = format!("{}:{target}", self.reference.name());
        let shown = if target == self.reference.target() { self.reference.to_string() } else { what };
        let (headers, bytes) = self.small(&format!("manifests/{target}"), &accept, &shown, bytes_max).await?;
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        if target.starts_with("sha256:") {
            verify(&bytes, target, &shown)?;
        }
        Ok((bytes, media_type))
    }

    /// A blob that fits in memory.
    pub async fn blob(&self, digest: &str, bytes_max: u64) -> Result<Bytes, RegistryError> {
        let (_, bytes) = self.small(&format!("blobs/{digest}"), "*/*", digest, bytes_max).await?;
        verify(&bytes, digest, digest)?;
        Ok(bytes)
    }

    async fn small(
        &self,
        path: &str,
        accept: &str,
        what: &str,
        bytes_max: u64,
    ) -> Result<(HeaderMap, Bytes), RegistryError> {
        let mut attempt = 0;
        loop {
            let result = async {
                let response = self.get(path, accept, None, what).await?;
                let (parts, body) = response.into_parts();
                let bytes = self.registries().content(body, path).all(what, bytes_max).await?;
                Ok((parts.headers, Bytes::from(bytes)))
            };
            let slow = || {
                let source = format!("not answered within {DOCUMENT_WAIT:?}").into();
                RegistryError::Request { url: path.to_owned(), source }
            };
            let result = tokio::time::timeout(DOCUMENT_WAIT, result).await;
            match result.unwrap_or_else(|_| Err(slow())) {
                Err(error) if error.is_passing() && attempt + 1 < ATTEMPTS_MAX => back_off(&mut attempt, &error).await,
                other => return other,
            }
        }
    }

    /// Asks each endpoint once; the last one's answer counts.
    async fn get(
        &self,
        path: &str,
        accept: &str,
        from: Option<u64>,
        what: &str,
    ) -> Result<http::Response<Incoming>, RegistryError> {
        let mut last = RegistryError::NotFound(what.to_owned());
        for (endpoint, authorization) in self.endpoints.iter().zip(&self.authorizations) {
            let url = format!("{}/v2/{}/{path}", endpoint.base, self.reference.repository);
            match self.get_authorized(&url, authorization, accept, from, what).await {
                Ok(response) => return Ok(response),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn get_authorized(
        &self,
        url: &str,
        authorization: &Authorization,
        accept: &str,
        from: Option<u64>,
        what: &str,
    ) -> Result<http::Response<Incoming>, RegistryError> {
        let response = self.registries().follow(url, authorization.header().await, accept, from).await?;
        let response = if response.status() == StatusCode::UNAUTHORIZED {
            authorization.answer(self.registries(), response.headers(), &self.reference.repository).await?;
            self.registries().follow(url, authorization.header().await, accept, from).await?
        } else {
            response
        };
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound(what.to_owned())),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(RegistryError::Denied(status.to_string()))
            }
            status => Err(RegistryError::Status { url: url.to_owned(), status }),
        }
    }
}

impl Registries {
    /// One GET with its redirects. What authorizes us is for the first host only.
    async fn follow(
        &self,
        url: &str,
        authorization: Option<String>,
        accept: &str,
        from: Option<u64>,
    ) -> Result<http::Response<Incoming>, RegistryError> {
        let mut url = url.to_owned();
        let mut authorization = authorization;
        for _ in 0..=REDIRECTS_MAX {
            let failed =
                |source: Box<dyn std::error::Error + Send + Sync>| RegistryError::Request { url: url.clone(), source };
            let uri: Uri = url.parse().map_err(|e: http::uri::InvalidUri| failed(e.into()))?;
            if uri.scheme_str() != Some("https") && !self.may_be_plain(&uri) {
                return Err(failed("plain HTTP is not allowed for this host by the configuration".into()));
            }
            let mut request = http::Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
                .header(header::HOST, uri.authority().map_or("", |a| a.as_str()))
                .header(header::USER_AGENT, concat!("bramble/", env!("CARGO_PKG_VERSION")))
                .header(header::ACCEPT, accept);
            if let Some(value) = &authorization {
                request = request.header(header::AUTHORIZATION, value);
            }
            if let Some(from) = from.filter(|from| *from > 0) {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let request = request.body(http_body_util::Empty::<Bytes>::new()).map_err(|e| failed(e.into()))?;
            let sent = tokio::time::timeout(self.headers_wait, self.connector.send(&uri, request)).await;
            let silent = || failed(format!("no answer for {:?}", self.headers_wait).into());
            let response = sent.map_err(|_| silent())?.map_err(failed)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location =
                response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let to = absolute(&uri, location);
            let refused = || RegistryError::Redirect { from: url.clone(), to: to.clone() };
            let next: Uri = to.parse().map_err(|_| refused())?;
            if uri.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                return Err(refused());
            }
            if next.authority() != uri.authority() {
                authorization = None;
            }
            url = to;
        }
        Err(RegistryError::Redirect { from: url, to: "too many places".into() })
    }
}

/// Registries on this machine are plain by custom: nobody else sees what is said to them.
fn is_loopback(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn absolute(base: &Uri, location: &str) -> String {
    if location.starts_with('/') && !location.starts_with("//") {
        format!("{}://{}{location}", base.scheme_str().unwrap_or("https"), base.authority().map_or("", |a| a.as_str()))
    } else {
        location.to_owned()
    }
}

fn verify(bytes: &[u8], expected: &str, what: &str) -> Result<(), RegistryError> {
    let actual = crate::store::sha256(bytes);
    if actual == expected {
        return Ok(());
    }
    Err(RegistryError::Digest { what: what.to_owned(), expected: expected.to_owned(), actual })
}

async fn back_off(attempt: &mut u32, error: &RegistryError) {
    tracing::debug!(%error, "a registry is asked again");
    tokio::time::sleep(BACKOFF_FIRST * 2u32.pow(*attempt)).await;
    *attempt += 1;
}
