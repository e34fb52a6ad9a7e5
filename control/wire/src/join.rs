//! The agent's side of joining: a token and a key in, an identity out.

use crate::codec::StreamError;
use crate::frame::{JoinAnswer, JoinRequest, Opening, PROTOCOL};
use crate::identity::{Identity, KeyError, NodeKey};
use crate::link::{ANSWER_SECONDS_MAX, ConnectError, Link, client_config};
use crate::token::JoinToken;
use crate::trust::{Anchor, key_hash};

/// Why a node did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("cannot reach a server of cluster {cluster}")]
    Connect { cluster: String, source: ConnectError },
    #[error("cannot ask for a certificate")]
    Key(#[from] KeyError),
    #[error("server did not answer the join")]
    Stream(#[source] StreamError),
    /// The server's words: forged, expired, used up, of another cluster, or a name that is taken.
    #[error("server refused the join: {message}")]
    Refused { message: String },
    #[error("server answered with a certificate of another cluster or key")]
    WrongCertificate,
}

impl Link {
    /// Asks the cluster of `token` to admit `key` as `node_name`. The CA is known by the token's hash alone, so the
    /// answer can be believed whatever this machine's clock says.
    pub async fn join(token: &JoinToken, node_name: &str, key: &NodeKey) -> Result<(Identity, i64), JoinError> {
        let connect = |source| JoinError::Connect { cluster: token.cluster.clone(), source };
        let config = client_config(Anchor::Hash(token.ca_hash), None).map_err(connect)?;
        let request = JoinRequest {
            protocol: PROTOCOL,
            cluster: token.cluster.clone(),
            token_id: token.id.clone(),
            token_secret: token.secret.clone(),
            node_name: node_name.to_owned(),
            csr: key.request(node_name)?,
        };
        let mut failure = ConnectError::NoAddress;
        for address in &token.addresses {
            match Link::dial_name(address, &config).await {
                Ok(link) => return link.ask(request, token, key).await,
                Err(error) => failure = error,
            }
        }
        Err(connect(failure))
    }

    async fn ask(self, request: JoinRequest, token: &JoinToken, key: &NodeKey) -> Result<(Identity, i64), JoinError> {
        let node_name = request.node_name.clone();
        let answer = async {
            let (_, mut reader) = self.open(&Opening::Join(request)).await?;
            reader.expect::<JoinAnswer>(ANSWER_SECONDS_MAX).await
        };
        match answer.await.map_err(JoinError::Stream)? {
            JoinAnswer::Refused { message } => Err(JoinError::Refused { message }),
            JoinAnswer::Admitted { certificate, ca, server_time_ms } => {
                self.close("joined").await;
                if key_hash(&ca) != Some(token.ca_hash) || key_hash(&certificate) != Some(key.hash()) {
                    return Err(JoinError::WrongCertificate);
                }
                let cluster = token.cluster.clone();
                let addresses = token.addresses.clone();
                Ok((Identity { cluster, node_name, addresses, certificate, ca, key: key.clone() }, server_time_ms))
            }
        }
    }
}
