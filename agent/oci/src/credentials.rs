use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use control_api::image::Reference;
use serde::Deserialize;

/// The longest `.dockerconfigjson` that is looked at: a Secret's own limit.
const DOCKER_CONFIG_BYTES_MAX: usize = 1 << 20;

/// A registry's user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    pub username: String,
    pub password: String,
}

/// What a pull may log in with, by registry or a path below it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    entries: BTreeMap<String, Credential>,
}

#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error("a docker config of {0} bytes is above the limit of {DOCKER_CONFIG_BYTES_MAX}")]
    TooLarge(usize),
    #[error("cannot read a docker config")]
    Json(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
}

#[derive(Deserialize)]
struct Auth {
    username: Option<String>,
    password: Option<String>,
    auth: Option<String>,
}

impl Credentials {
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds the content of a Secret of type kubernetes.io/dockerconfigjson (`dockercfg`: the older form without `auths`).
    pub fn add_docker_config(&mut self, json: &[u8]) -> Result<(), CredentialsError> {
        if json.len() > DOCKER_CONFIG_BYTES_MAX {
            return Err(CredentialsError::TooLarge(json.len()));
        }
        let auths = match serde_json::from_slice::<DockerConfig>(json) {
            Ok(config) => config.auths,
            Err(error) => serde_json::from_slice(json).map_err(|_| CredentialsError::Json(error))?,
        };
        for (server, auth) in auths {
            if let Some(credential) = credential_of(auth) {
                self.entries.entry(server_key(&server)).or_insert(credential);
            }
        }
        Ok(())
    }

    pub fn add(&mut self, registry: &str, username: &str, password: &str) {
        let credential = Credential { username: username.into(), password: password.into() };
        self.entries.insert(server_key(registry), credential);
    }

    /// The entry whose path is the longest that holds the image.
    pub fn of(&self, reference: &Reference) -> Option<&Credential> {
        let name = reference.name();
        self.entries
            .iter()
            .filter(|(key, _)| {
                name == **key || name.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('/'))
            })
            .max_by_key(|(key, _)| key.len())
            .map(|(_, credential)| credential)
    }
}

fn credential_of(auth: Auth) -> Option<Credential> {
    if let Some(decoded) = auth.auth.as_deref().and_then(|auth| STANDARD.decode(auth.trim()).ok()) {
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.split_once(':')?;
        return Some(Credential { username: username.into(), password: password.trim_end_matches('\0').into() });
    }
    Some(Credential { username: auth.username?, password: auth.password? })
}

/// `https://index.docker.io/v1/` is how Docker writes its own hub.
fn server_key(server: &str) -> String {
    let server = server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let server = server.strip_suffix("/v1").or(server.strip_suffix("/v2")).unwrap_or(server);
    match server {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        server => server.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_path_of_a_docker_config_wins() {
        let mut credentials = Credentials::none();
        let hub = STANDARD.encode("hub:p:w");
        let json = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{hub}"}},"r.io":{{"username":"a","password":"1"}},"r.io/team":{{"username":"b","password":"2"}}}}}}"#
        );
        credentials.add_docker_config(json.as_bytes()).unwrap();
        let user =
            |name: &str| credentials.of(&name.parse().unwrap()).map(|c| format!("{}/{}", c.username, c.password));
        assert_eq!(user("busybox").as_deref(), Some("hub/p:w"));
        assert_eq!(user("r.io/x").as_deref(), Some("a/1"));
        assert_eq!(user("r.io/team/x").as_deref(), Some("b/2"));
        assert_eq!(user("r.io/teams/x").as_deref(), Some("a/1"));
        assert_eq!(user("q.io/x"), None);
    }

    #[test]
    fn the_older_form_without_auths_is_read_too() {
        let mut credentials = Credentials::none();
        credentials.add_docker_config(br#"{"r.io":{"username":"a","password":"1"}}"#).unwrap();
        assert!(credentials.of(&"r.io/x".parse().unwrap()).is_some());
        assert!(credentials.add_docker_config(b"[]").is_err());
    }
}
