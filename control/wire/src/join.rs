//! The agent's side of joining: a token and a key in, an identity out; and of renewing what was given then.

use crate::codec::{StreamError, words};
use crate::frame::{JoinAnswer, JoinRequest, Opening, PROTOCOL, RenewRequest};
use crate::identity::{Identity, KeyError, NodeKey};
use crate::link::{ANSWER_SECONDS_MAX, ConnectError, Link, client_config};
use crate::token::JoinToken;
use crate::trust::{Anchor, key_hash};

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("cannot reach a server of cluster {cluster}")]
    Connect { cluster: String, source: ConnectError },
    #[error("the server that answers is not of cluster {cluster}, which the join token is for: create a token there")]
    WrongCluster { cluster: String, source: ConnectError },
    #[error("cannot ask for a certificate")]
    Key(#[from] KeyError),
    #[error("server did not answer the join")]
    Stream(#[source] StreamError),
    /// The server's words: forged, revoked, expired, used up, of another cluster, or a name that is taken.
    #[error("server refused the join: {message}")]
    Refused { message: String },
    #[error("server answered with a certificate of another cluster or key")]
    WrongCertificate,
}

impl JoinError {
    /// Whether trying again soon may help.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Stream(_))
    }
}

impl Link {
    /// Asks the cluster of `token` to admit `key` as `node_name`. The CA is known by the token's hash alone, so the
    /// answer can be believed whatever this machine's clock says.
    pub async fn join(token: &JoinToken, node_name: &str, key: &NodeKey) -> Result<(Identity, i64), JoinError> {
        let cluster = || token.cluster.clone();
        let connect = |source| JoinError::Connect { cluster: cluster(), source };
        let config = client_config(Anchor::Hash(token.ca_hash), None).map_err(connect)?;
        let request = JoinRequest {
            protocol: PROTOCOL,
            cluster: token.cluster.clone(),
            token_id: token.id.clone(),
            token_secret: token.secret.clone(),
            node_name: node_name.to_owned(),
            csr: key.request(node_name)?,
        };
        let mut failures = Vec::new();
        for address in &token.addresses {
            match Link::dial_name(address, &config).await {
                Ok(link) => {
                    let certified = link.certified(&Opening::Join(request), key).await?;
                    if key_hash(&certified.ca) != Some(token.ca_hash) {
                        return Err(JoinError::WrongCertificate);
                    }
                    let (time, addresses) = (certified.server_time_ms, token.addresses.clone());
                    return Ok((certified.identity(cluster(), node_name, addresses, key), time));
                }
                Err(error) => failures.push(error),
            }
        }
        let wrong = |error: &ConnectError| matches!(error, ConnectError::WrongCluster { .. });
        // One address that another cluster took may be beside others that come back.
        let hopeless = failures.iter().all(wrong);
        match failures.pop() {
            Some(source) if hopeless => Err(JoinError::WrongCluster { cluster: cluster(), source }),
            failure => Err(connect(failure.unwrap_or(ConnectError::NoAddress))),
        }
    }

    async fn certified(self, opening: &Opening, key: &NodeKey) -> Result<Certified, JoinError> {
        let certified = self.certificate(opening, key).await?;
        self.close("certificate received").await;
        Ok(certified)
    }

    /// One request for a certificate and its answer.
    async fn certificate(&self, opening: &Opening, key: &NodeKey) -> Result<Certified, JoinError> {
        let answer = async {
            let (_, mut reader) = self.open(opening).await?;
            reader.expect::<JoinAnswer>(ANSWER_SECONDS_MAX).await
        };
        Certified::of(answer.await.map_err(JoinError::Stream)?, key)
    }

    /// A new certificate for `identity`, over this session.
    pub async fn renew(&self, identity: &Identity) -> Result<Identity, JoinError> {
        let opening = renewal(identity)?;
        renewed(self.certificate(&opening, &identity.key).await?, identity)
    }

    /// A new certificate for `identity`, whose own has ended: over a connection that shows none.
    pub async fn renew_ended(identity: &Identity) -> Result<Identity, JoinError> {
        let connect = |source| JoinError::Connect { cluster: identity.cluster.clone(), source };
        let config = client_config(Anchor::Certificate(identity.ca.clone()), None).map_err(connect)?;
        let link = Link::dial_any(&identity.addresses, &config).await.map_err(connect)?;
        renewed(link.certified(&renewal(identity)?, &identity.key).await?, identity)
    }
}

fn renewal(identity: &Identity) -> Result<Opening, JoinError> {
    let csr = identity.key.request(&identity.node_name)?;
    Ok(Opening::Renew(RenewRequest { node_name: identity.node_name.clone(), csr }))
}

fn renewed(certified: Certified, old: &Identity) -> Result<Identity, JoinError> {
    if certified.ca != old.ca {
        return Err(JoinError::WrongCertificate);
    }
    Ok(certified.identity(old.cluster.clone(), &old.node_name, old.addresses.clone(), &old.key))
}

/// What a server answers to a request that it grants.
pub(crate) struct Certified {
    pub certificate: Vec<u8>,
    pub ca: Vec<u8>,
    pub server_time_ms: i64,
}

impl Certified {
    pub(crate) fn of(answer: JoinAnswer, key: &NodeKey) -> Result<Self, JoinError> {
        match answer {
            JoinAnswer::Refused { message } => Err(JoinError::Refused { message: words(&message) }),
            JoinAnswer::Waiting { .. } => Err(JoinError::Stream(StreamError::Unexpected("to wait for an approval"))),
            JoinAnswer::Admitted { certificate, .. } if !Identity::fits(key, &certificate) => {
                Err(JoinError::WrongCertificate)
            }
            JoinAnswer::Admitted { certificate, ca, server_time_ms } => Ok(Self { certificate, ca, server_time_ms }),
        }
    }

    pub(crate) fn identity(self, cluster: String, node_name: &str, addresses: Vec<String>, key: &NodeKey) -> Identity {
        let Self { certificate, ca, server_time_ms } = self;
        let issued_seconds = u64::try_from(server_time_ms / 1000).unwrap_or(0);
        Identity {
            cluster,
            node_name: node_name.to_owned(),
            addresses,
            certificate,
            ca,
            issued_seconds,
            key: key.clone(),
        }
    }
}
