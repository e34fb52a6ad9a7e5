use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{Registries, RegistryError};
use crate::credentials::Credential;

const TOKEN_BYTES_MAX: u64 = 256 << 10;
const PARAMETERS_MAX: usize = 16;

/// How one endpoint wants to be asked, as far as it has told.
pub(super) struct Authorization {
    credential: Option<Credential>,
    header: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Authorization {
    pub fn new(credential: Option<Credential>) -> Self {
        Self { credential, header: Mutex::new(None) }
    }

    pub async fn header(&self) -> Option<String> {
        self.header.lock().await.clone()
    }

    fn basic(&self) -> Option<String> {
        let credential = self.credential.as_ref()?;
        Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", credential.username, credential.password))))
    }

    /// Does what a 401 asks for.
    pub async fn answer(
        &self,
        registries: &Registries,
        headers: &HeaderMap,
        repository: &str,
    ) -> Result<(), RegistryError> {
        let challenges: Vec<Challenge> = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .collect();
        let named = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        let header = if let Some(bearer) = named("bearer") {
            Some(format!("Bearer {}", self.token(registries, bearer, repository).await?))
        } else if named("basic").is_some() {
            self.basic()
        } else {
            return Err(RegistryError::Denied("the registry names no way to log in that is known".into()));
        };
        let header = header.ok_or_else(|| RegistryError::Denied("no basic auth credentials".into()))?;
        *self.header.lock().await = Some(header);
        Ok(())
    }

    async fn token(
        &self,
        registries: &Registries,
        challenge: &Challenge,
        repository: &str,
    ) -> Result<String, RegistryError> {
        let realm = challenge.get("realm").ok_or_else(|| RegistryError::Denied("the challenge has no realm".into()))?;
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let scope = challenge.get("scope").map_or_else(|| format!("repository:{repository}:pull"), str::to_owned);
        let separator = if realm.contains('?') { '&' } else { '?' };
        let mut url = format!("{realm}{separator}scope={}", encode(&scope));
        if let Some(service) = challenge.get("service") {
            url.push_str(&format!("&service={}", encode(service)));
        }
        let response = registries.follow(&url, self.basic(), "application/json", None).await?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(RegistryError::Status { url, status });
        }
        if !status.is_success() {
            return Err(RegistryError::Denied(format!("failed to fetch oauth token: {status}")));
        }
        let bytes = registries.content(response.into_body(), &url).all("a token", TOKEN_BYTES_MAX).await?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        token
            .and_then(|token| token.token.or(token.access_token))
            .ok_or_else(|| RegistryError::Denied("the token server's answer holds no token".into()))
    }
}

#[cfg(any(fuzzing, debug_assertions))]
pub(crate) fn fuzz_challenge(text: &str) {
    let _ = Challenge::parse(text);
}

#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// `Bearer realm="https://auth.example/token",service="registry"`
    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut parameters = Vec::new();
        while parameters.len() < PARAMETERS_MAX {
            rest = rest.trim_start_matches([' ', ',']);
            let Some((key, after)) = rest.split_once('=') else { break };
            let value = if let Some(quoted) = after.strip_prefix('"') {
                let (value, after) = quoted.split_once('"')?;
                rest = after;
                value
            } else {
                let end = after.find(',').unwrap_or(after.len());
                rest = &after[end..];
                after[..end].trim()
            };
            parameters.push((key.trim().to_ascii_lowercase(), value.to_owned()));
        }
        (!scheme.is_empty()).then(|| Self { scheme: scheme.to_owned(), parameters })
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_challenge_is_taken_apart() {
        let challenge =
            Challenge::parse(r#"Bearer realm="https://a/t",service=reg,scope="repository:x:pull,push""#).unwrap();
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.get("realm"), Some("https://a/t"));
        assert_eq!(challenge.get("service"), Some("reg"));
        assert_eq!(challenge.get("scope"), Some("repository:x:pull,push"));
    }

    proptest! {
        #[test]
        fn no_challenge_makes_it_panic(text in r#"[a-zB=", é]{0,80}"#) {
            let _ = Challenge::parse(&text);
        }
    }
}
