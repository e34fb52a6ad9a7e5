//! Join tokens: one file each, so that the command line and the running server need not talk to each other.
//!
//! A file holds a hash of the secret, the limits, and who used it; the secret itself is in the token's text alone.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use control_wire::JoinToken;
use control_wire::durable::{self, FileError, MODE_PRIVATE};
use control_wire::trust;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::authority;

const FOLDER: &str = "tokens";
const LOCK_FILE: &str = "lock";
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 4;
/// Tokens at one time; those that no longer let anyone in make room.
const TOKENS_MAX: usize = 1000;
/// The last keys that a token let in: a node that lost the answer may ask again without using the token twice.
const USED_BY_MAX: usize = 64;

/// How long and how often a token works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenLimits {
    /// `None` never expires.
    pub seconds: Option<u64>,
    /// `None` lets any number of nodes in.
    pub uses: Option<u32>,
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    pub expires: Option<u64>,
    pub uses_max: Option<u32>,
    pub uses: u32,
    /// Kept until others need its place, so that its bearer is told so.
    pub revoked: bool,
}

impl TokenInfo {
    fn spent(&self, now: u64) -> Option<TokenRefusal> {
        if self.revoked {
            Some(TokenRefusal::Revoked)
        } else if self.expires.is_some_and(|end| now >= end) {
            Some(TokenRefusal::Expired)
        } else if self.uses_max.is_some_and(|max| self.uses >= max) {
            Some(TokenRefusal::UsedUp)
        } else {
            None
        }
    }
}

/// Why a token does not let its bearer in; these words reach the node's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    #[error("join token is of another cluster")]
    OtherCluster,
    #[error("join token is forged: no such token was made here, or not with this secret")]
    Forged,
    #[error("join token was revoked")]
    Revoked,
    #[error("join token has expired")]
    Expired,
    #[error("join token is used up")]
    UsedUp,
}

#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error("cannot keep join tokens")]
    File(#[from] FileError),
    #[error("this folder holds no cluster yet: start the server first")]
    NoCluster,
    #[error("there are {TOKENS_MAX} join tokens already: revoke some")]
    TooMany,
    #[error("system has no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("no join token {0}")]
    Unknown(String),
}

/// Why a join by token did not go through: the token, or the disk.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    #[error(transparent)]
    Refused(#[from] TokenRefusal),
    #[error(transparent)]
    Kept(#[from] TokensError),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    secret_hash: String,
    created: u64,
    expires: Option<u64>,
    uses_max: Option<u32>,
    uses: u32,
    used_by: Vec<String>,
    #[serde(default)]
    revoked: bool,
}

impl Record {
    fn info(&self, id: &str) -> TokenInfo {
        let Self { created, expires, uses_max, uses, revoked, .. } = *self;
        TokenInfo { id: id.to_owned(), created, expires, uses_max, uses, revoked }
    }
}

/// The tokens of one cluster.
#[derive(Debug)]
pub struct Tokens {
    folder: PathBuf,
    ca_hash: [u8; 32],
}

impl Tokens {
    /// The tokens beside the CA in `dir`; changes nothing there but the folder of tokens.
    pub fn open(dir: &Path) -> Result<Self, TokensError> {
        let ca = authority::read_certificate(dir)?.ok_or(TokensError::NoCluster)?;
        let ca_hash = trust::key_hash(&ca).ok_or(TokensError::NoCluster)?;
        let folder = dir.join(FOLDER);
        durable::private_folder(&folder)?;
        Ok(Self { folder, ca_hash })
    }

    /// A new token that names `addresses` (`host:port`, udp). Its text is the only place of its secret.
    pub fn create(&self, addresses: Vec<String>, limits: TokenLimits) -> Result<JoinToken, TokensError> {
        let _lock = self.lock()?;
        let now = trust::now_seconds();
        let tokens = self.records()?;
        if tokens.len() >= TOKENS_MAX {
            let spent: Vec<&String> =
                tokens.iter().filter(|(id, record)| record.info(id).spent(now).is_some()).map(|(id, _)| id).collect();
            if spent.is_empty() {
                return Err(TokensError::TooMany);
            }
            for id in spent {
                self.remove(id)?;
            }
        }
        let id = random_hex::<ID_BYTES>()?;
        let secret = random_hex::<SECRET_BYTES>()?;
        let record = Record {
            secret_hash: trust::hex(&trust::hash(secret.as_bytes())),
            created: now,
            expires: limits.seconds.map(|seconds| now.saturating_add(seconds)),
            uses_max: limits.uses,
            uses: 0,
            used_by: Vec::new(),
            revoked: false,
        };
        self.save(&id, &record)?;
        Ok(JoinToken { cluster: authority::cluster(&self.ca_hash), addresses, ca_hash: self.ca_hash, id, secret })
    }

    /// Every token, spent ones too, by id.
    pub fn list(&self) -> Result<Vec<TokenInfo>, TokensError> {
        Ok(self.records()?.iter().map(|(id, record)| record.info(id)).collect())
    }

    /// From now on the token lets no one in. Nodes that joined by it stay.
    pub fn revoke(&self, id: &str) -> Result<(), TokensError> {
        let _lock = self.lock()?;
        let mut record = self.load(id)?.ok_or_else(|| TokensError::Unknown(id.to_owned()))?;
        record.revoked = true;
        self.save(id, &record)
    }

    /// Uses the token once for the node key with this hash; on disk before it returns.
    pub fn use_once(&self, cluster: &str, id: &str, secret: &str, key_hash: [u8; 32]) -> Result<(), UseError> {
        if cluster != authority::cluster(&self.ca_hash) {
            return Err(TokenRefusal::OtherCluster.into());
        }
        let _lock = self.lock()?;
        // An unknown id and a wrong secret are told alike, and take a comparison each.
        let record = self.load(id)?;
        let wanted = record.as_ref().map_or("", |record| record.secret_hash.as_str());
        let offered = trust::hex(&trust::hash(secret.as_bytes()));
        let same = equal(wanted.as_bytes(), offered.as_bytes());
        let Some(mut record) = record.filter(|_| same) else { return Err(TokenRefusal::Forged.into()) };
        let key = trust::hex(&key_hash);
        match record.info(id).spent(trust::now_seconds()) {
            Some(TokenRefusal::UsedUp) | None if record.used_by.contains(&key) => return Ok(()),
            Some(refusal) => return Err(refusal.into()),
            None => {}
        }
        record.uses = record.uses.saturating_add(1);
        if record.used_by.len() >= USED_BY_MAX {
            record.used_by.remove(0);
        }
        record.used_by.push(key);
        Ok(self.save(id, &record)?)
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        let plain = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| self.folder.join(format!("{id}.json")))
    }

    fn load(&self, id: &str) -> Result<Option<Record>, TokensError> {
        let Some(path) = self.path(id) else { return Ok(None) };
        let Some(bytes) = durable::read(&path)? else { return Ok(None) };
        let record = serde_json::from_slice(&bytes).map_err(|error| FileError::damaged(&path, error))?;
        Ok(Some(record))
    }

    fn save(&self, id: &str, record: &Record) -> Result<(), TokensError> {
        let path = self.path(id).ok_or_else(|| TokensError::Unknown(id.to_owned()))?;
        let bytes = serde_json::to_vec(record).map_err(|error| FileError::damaged(&path, error))?;
        Ok(durable::replace(&path, &bytes, MODE_PRIVATE)?)
    }

    fn remove(&self, id: &str) -> Result<(), TokensError> {
        let path = self.path(id).ok_or_else(|| TokensError::Unknown(id.to_owned()))?;
        Ok(durable::remove(&path)?)
    }

    fn records(&self) -> Result<BTreeMap<String, Record>, TokensError> {
        let mut records = BTreeMap::new();
        for name in durable::names(&self.folder)? {
            let Some(id) = name.strip_suffix(".json") else { continue };
            if let Some(record) = self.load(id)? {
                records.insert(id.to_owned(), record);
            }
        }
        Ok(records)
    }

    /// One process at a time changes tokens: the server counts a use while the command line revokes.
    fn lock(&self) -> Result<Flock<File>, TokensError> {
        let path = self.folder.join(LOCK_FILE);
        let lock = || {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| std::io::Error::from(errno))
        };
        lock().map_err(|source| FileError { action: "lock", path: path.clone(), source }.into())
    }
}

fn random_hex<const BYTES: usize>() -> Result<String, TokensError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(TokensError::Random)?;
    Ok(trust::hex(&bytes))
}

/// Takes as long for a nearly right secret as for a wrong one.
fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |seen, (left, right)| seen | (left ^ right)) == 0
}
