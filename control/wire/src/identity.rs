//! What makes a node itself: its key, and what the cluster gave it for it.

use std::fmt;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use serde::{Deserialize, Serialize};

use crate::durable::{self, FileError, MODE_PRIVATE};
use crate::trust;

const KEY_FILE: &str = "node.key";
/// In the folder of the agent's own files.
pub const IDENTITY_FILE: &str = "node.identity";

/// The node's private key, P-256. It never leaves the node, and the node is known by it.
#[derive(Clone)]
pub struct NodeKey {
    /// PKCS#8, DER.
    der: Vec<u8>,
    hash: [u8; 32],
}

/// Without the key.
impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.short())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot make a node key")]
    Generate(#[source] rcgen::Error),
    #[error("cannot keep the node key")]
    File(#[from] FileError),
    #[error("cannot make a certificate request for node {node}")]
    Request { node: String, source: rcgen::Error },
}

impl KeyError {
    /// The file that was read and made no sense.
    pub fn damaged(&self) -> Option<&Path> {
        match self {
            Self::File(error) if error.source.kind() == std::io::ErrorKind::InvalidData => Some(&error.path),
            _ => None,
        }
    }
}

impl NodeKey {
    pub fn generate() -> Result<Self, KeyError> {
        KeyPair::generate().map(|pair| Self::of(&pair)).map_err(KeyError::Generate)
    }

    /// The key in `dir`, made there at the first start.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeyError> {
        let path = dir.join(KEY_FILE);
        if let Some(pem) = durable::read(&path)? {
            let pair = String::from_utf8(pem).map_err(|error| FileError::damaged(&path, error))?;
            let pair = KeyPair::from_pem(&pair).map_err(|error| FileError::damaged(&path, error))?;
            return Ok(Self::of(&pair));
        }
        let pair = KeyPair::generate().map_err(KeyError::Generate)?;
        durable::private_folder(dir)?;
        durable::replace(&path, pair.serialize_pem().as_bytes(), MODE_PRIVATE)?;
        Ok(Self::of(&pair))
    }

    fn of(pair: &KeyPair) -> Self {
        Self { der: pair.serialize_der(), hash: trust::hash(&pair.subject_public_key_info()) }
    }

    /// SHA-256 of the public key.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Eight hex digits of the hash, for the names of cgroups and links.
    pub fn short(&self) -> String {
        trust::hex(&self.hash[..4])
    }

    /// PKCS#8, DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// A PKCS#10 request for `node_name`, DER.
    pub fn request(&self, node_name: &str) -> Result<Vec<u8>, KeyError> {
        let request = || {
            let pair = KeyPair::try_from(self.der.as_slice())?;
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            let subject = format!("{}{node_name}", trust::NODE_NAME_PREFIX);
            params.distinguished_name.push(rcgen::DnType::CommonName, subject);
            params.serialize_request(&pair).map(|request| request.der().to_vec())
        };
        request().map_err(|source| KeyError::Request { node: node_name.to_owned(), source })
    }
}

/// What a node that has joined holds.
#[derive(Debug, Clone)]
pub struct Identity {
    pub cluster: String,
    pub node_name: String,
    /// `host:port` of the servers' UDP ports.
    pub addresses: Vec<String>,
    /// DER.
    pub certificate: Vec<u8>,
    /// The cluster CA, DER.
    pub ca: Vec<u8>,
    /// When the certificate was issued, by the server's clock: seconds since 1970. It says itself from 2020 on.
    pub issued_seconds: u64,
    pub key: NodeKey,
}

/// `Identity` on disk, without the key, which has its own file.
#[derive(Serialize, Deserialize)]
struct Saved {
    cluster: String,
    node_name: String,
    addresses: Vec<String>,
    certificate: Vec<u8>,
    ca: Vec<u8>,
    issued_seconds: u64,
}

impl Identity {
    /// When a new certificate is to be asked for: at two thirds of this one's life, so that a node which is off for
    /// the last third still comes back with it.
    pub fn renew_at_seconds(&self) -> u64 {
        let end = trust::end_seconds(&self.certificate).unwrap_or(0);
        let life = end.saturating_sub(self.issued_seconds);
        self.issued_seconds.saturating_add(life / 3 * 2)
    }

    /// Whether `certificate` is of this node's key and of `ca`'s issuing, as far as a node can tell before it is used.
    pub(crate) fn fits(key: &NodeKey, certificate: &[u8]) -> bool {
        trust::key_hash(certificate) == Some(key.hash())
    }

    /// The identity in `dir`; `None` where the node has not joined yet, or with another key than the one there.
    pub fn load(dir: &Path) -> Result<Option<Self>, KeyError> {
        let path = dir.join(IDENTITY_FILE);
        let Some(bytes) = durable::read(&path)? else { return Ok(None) };
        let saved: Saved = postcard::from_bytes(&bytes)
            .or_else(|_| {
                // As earlier versions kept it, without the last field.
                let bytes: Vec<u8> = bytes.iter().copied().chain([0]).collect();
                postcard::from_bytes(&bytes)
            })
            .map_err(|error| FileError::damaged(&path, error))?;
        let key = NodeKey::load_or_create(dir)?;
        if trust::key_hash(&saved.certificate) != Some(key.hash()) {
            return Ok(None);
        }
        let Saved { cluster, node_name, addresses, certificate, ca, issued_seconds } = saved;
        Ok(Some(Self { cluster, node_name, addresses, certificate, ca, issued_seconds, key }))
    }

    /// Keeps it in `dir`, readable by its owner alone. The key is already there: `NodeKey::load_or_create` made it.
    pub fn save(&self, dir: &Path) -> Result<(), KeyError> {
        let Self { cluster, node_name, addresses, certificate, ca, issued_seconds, .. } = self.clone();
        let path = dir.join(IDENTITY_FILE);
        let saved = Saved { cluster, node_name, addresses, certificate, ca, issued_seconds };
        let bytes = postcard::to_stdvec(&saved).map_err(|error| FileError::damaged(&path, error))?;
        durable::private_folder(dir)?;
        Ok(durable::replace(&path, &bytes, MODE_PRIVATE)?)
    }
}
