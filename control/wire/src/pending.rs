//! A machine without a token: it shows its key to a server and waits until an administrator lets it in.
//!
//! Nothing is believed of who answers: the approval arrives on the connection that this machine opened, from the CA that
//! it saw there, whose hash its console shows beside its own key's fingerprint. Without an approval it joins nothing.

use crate::codec::{FrameReader, FrameWriter, StreamError, words};
use crate::frame::{JoinAnswer, Opening, PROTOCOL, PendingRequest};
use crate::identity::{Identity, NodeKey};
use crate::join::{Certified, JoinError};
use crate::link::{ANSWER_SECONDS_MAX, ConnectError, Link, client_config};
use crate::trust::{self, Anchor};

/// Hex digits of a key that people compare.
const SHORT_DIGITS: usize = 12;

/// A key or CA hash in the form that people compare: `a1b2-c3d4-e5f6`.
pub fn fingerprint(hash: &[u8; 32]) -> String {
    let digits = trust::hex(hash);
    let groups: Vec<&str> = (0..SHORT_DIGITS).step_by(4).map(|at| &digits[at..at + 4]).collect();
    groups.join("-")
}

/// What a machine says of itself.
#[derive(Debug, Clone)]
pub struct Applicant {
    pub node_name: String,
    pub agent_version: String,
    pub platform: String,
    pub key: NodeKey,
}

/// A request that a server holds.
#[derive(Debug)]
pub struct Pending {
    link: Link,
    applicant: Applicant,
    address: String,
    ca: Vec<u8>,
    ca_hash: [u8; 32],
    _writer: FrameWriter,
    reader: FrameReader,
}

impl Pending {
    /// Shows the applicant's key to the server at `address` (`host:port`), if its CA is one that `anchor` allows.
    pub async fn ask(address: &str, anchor: Anchor, applicant: Applicant) -> Result<Self, JoinError> {
        let connect = |source| JoinError::Connect { cluster: "to be found".to_owned(), source };
        let config = client_config(anchor, None).map_err(connect)?;
        let link = Link::dial_name(address, &config).await.map_err(connect)?;
        let ca = link.authority().ok_or(connect(ConnectError::NoAddress))?;
        let ca_hash = trust::key_hash(&ca).ok_or(JoinError::WrongCertificate)?;
        let request = PendingRequest {
            protocol: PROTOCOL,
            node_name: applicant.node_name.clone(),
            agent_version: applicant.agent_version.clone(),
            platform: applicant.platform.clone(),
            csr: applicant.key.request(&applicant.node_name)?,
        };
        let (writer, mut reader) = link.open(&Opening::Pending(request)).await.map_err(JoinError::Stream)?;
        match reader.expect::<JoinAnswer>(ANSWER_SECONDS_MAX).await.map_err(JoinError::Stream)? {
            JoinAnswer::Waiting { .. } => {}
            JoinAnswer::Refused { message } => return Err(JoinError::Refused { message: words(&message) }),
            JoinAnswer::Admitted { .. } => {
                return Err(JoinError::Stream(StreamError::Unexpected("an admission before the wait for it")));
            }
        }
        Ok(Self { link, applicant, address: address.to_owned(), ca, ca_hash, _writer: writer, reader })
    }

    /// SHA-256 of the CA's public key, as the server showed it.
    pub fn ca_hash(&self) -> [u8; 32] {
        self.ca_hash
    }

    /// Waits for the administrator. The identity is of the CA seen at the start, or there is none. Cancel-safe.
    pub async fn approved(&mut self) -> Result<(Identity, i64), JoinError> {
        let answer = self.reader.next::<JoinAnswer>().await.and_then(|answer| answer.ok_or(StreamError::Closed));
        let certified = Certified::of(answer.map_err(JoinError::Stream)?, &self.applicant.key)?;
        if certified.ca != self.ca {
            return Err(JoinError::WrongCertificate);
        }
        let time = certified.server_time_ms;
        let cluster = trust::cluster(&self.ca_hash);
        let Applicant { node_name, key, .. } = &self.applicant;
        let identity = certified.identity(cluster, node_name, vec![self.address.clone()], key);
        self.link.close("approved").await;
        Ok((identity, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_twelve_digits_in_groups() {
        assert_eq!(fingerprint(&[0xab; 32]), "abab-abab-abab");
    }
}
