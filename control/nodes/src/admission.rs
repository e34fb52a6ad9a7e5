//! Certificates for nodes: by a token, by an administrator's word, and anew for keys that the cluster knows.

use std::sync::Arc;

use control_pki::tokens::UseError;
use control_pki::{MembersError, Standing};
use control_wire::frame::{JoinAnswer, JoinRequest, PROTOCOL};
use control_wire::{Ask, Petition, trust};

use crate::nodes::Nodes;
use crate::{pending, registration};

/// What a machine hears whose Node was deleted.
pub const REMOVED: &str = "this node was removed from the cluster: run `bramble-agent reset` on it, then start it with a new token \
                           (`bramble token create`) or approve it (`bramble node approve`)";
/// What a machine hears whose certificate is the cluster's and whose key nobody remembers.
pub const UNKNOWN: &str = "this cluster does not know this node's key, or not any more: run `bramble-agent reset` on it, then start it \
                           with a new token (`bramble token create`) or approve it (`bramble node approve`)";

impl Nodes {
    /// Answers a machine that asks for a certificate, at once or when an administrator has decided.
    pub(crate) async fn petition(self: Arc<Self>, petition: Petition) {
        let address = petition.remote_address();
        let (node, granted) = match &petition.ask {
            Ask::Approval(_) => return pending::hold(&self, petition).await,
            Ask::Join(request) => (request.node_name.clone(), self.admit(request)),
            Ask::Renewal(request) => (request.node_name.clone(), self.renew(&request.csr, &request.node_name, None)),
        };
        let answer = self.answer(granted);
        match &answer {
            JoinAnswer::Refused { message } => tracing::warn!(%node, %address, %message, "a certificate was refused"),
            _ => tracing::info!(%node, %address, "a certificate was given"),
        }
        if let Err(error) = petition.answer(&answer).await {
            tracing::debug!(%node, %error, "the answer to a request for a certificate did not arrive");
        }
    }

    pub(crate) fn answer(&self, granted: Result<Vec<u8>, String>) -> JoinAnswer {
        match granted {
            Ok(certificate) => {
                let server_time_ms = jiff::Timestamp::now().as_millisecond();
                JoinAnswer::Admitted { certificate, ca: self.pki.ca().to_vec(), server_time_ms }
            }
            Err(message) => JoinAnswer::Refused { message },
        }
    }

    fn admit(&self, request: &JoinRequest) -> Result<Vec<u8>, String> {
        check_protocol(request.protocol)?;
        let key = self.request_key(&request.csr, &request.node_name)?;
        // The token before the name: who has none learns nothing of the names in use.
        self.pki.tokens().use_once(&request.cluster, &request.token_id, &request.token_secret, key).map_err(
            |error| match error {
                UseError::Refused(refusal) => refusal.to_string(),
                UseError::Kept(error) => {
                    tracing::error!(%error, "the use of a join token cannot be recorded");
                    "server cannot record the use of the join token".to_owned()
                }
            },
        )?;
        self.issue(&request.csr, &request.node_name, key)
    }

    /// A new certificate for a key that the cluster knows under that name; `session` is the key that the asking session
    /// belongs to. Without one the request's signature alone shows that the key's holder made it, which is enough: the
    /// certificate is of use to nobody else.
    pub(crate) fn renew(&self, csr: &[u8], node_name: &str, session: Option<[u8; 32]>) -> Result<Vec<u8>, String> {
        let key = self.request_key(csr, node_name)?;
        if session.is_some_and(|session| session != key) {
            return Err("a session renews the certificate of its own key only".to_owned());
        }
        registration::check_standing(self, node_name, key)?;
        self.issue(csr, node_name, key)
    }

    /// Whether the key was let in under that name, though its machine may never have heard of it.
    pub(crate) fn has_let_in(&self, key: &[u8; 32], node_name: &str) -> bool {
        self.pki.members().node(key).is_some_and(|known| known == node_name)
    }

    /// The key of a request, unless it was shut out.
    pub(crate) fn request_key(&self, csr: &[u8], node_name: &str) -> Result<[u8; 32], String> {
        let key = self.pki.request_key(csr, node_name).map_err(|error| error.to_string())?;
        match self.pki.members().standing(&key) {
            Some(Standing::Removed) => Err(REMOVED.to_owned()),
            _ => Ok(key),
        }
    }

    /// Signs, and remembers the key first.
    pub(crate) fn issue(&self, csr: &[u8], node_name: &str, key: [u8; 32]) -> Result<Vec<u8>, String> {
        registration::check_key(&self.client, node_name, key)?;
        let certificate = self.pki.sign_node(csr, node_name).map_err(|error| error.to_string())?;
        let ends = trust::end_seconds(&certificate).ok_or("the certificate cannot be read")?;
        self.pki.members().admit(key, node_name, ends).map_err(|error| match error {
            MembersError::TooMany => error.to_string(),
            MembersError::File(_) => {
                tracing::error!(%error, "a node's key cannot be recorded");
                "server cannot record the node's key".to_owned()
            }
        })?;
        Ok(certificate)
    }
}

pub(crate) fn check_protocol(protocol: u32) -> Result<(), String> {
    match protocol == PROTOCOL {
        true => Ok(()),
        false => {
            Err(format!("agent speaks protocol {protocol}, this server speaks {PROTOCOL}: bring both to one version"))
        }
    }
}
