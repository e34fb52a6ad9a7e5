//! Everything of the cluster's trust, under one folder.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control_wire::durable::{self, FileError};
use control_wire::trust::{self, SERVER_NAME};

use crate::account_token::{AccountKey, AccountKeyError};
use crate::authority::{self, Authority, AuthorityError, SignError};
use crate::kubeconfig;
use crate::leaf::{Leaf, LeafError, Order};
use crate::members::{Members, MembersError};
use crate::request::{KeyUsage, Request, SignRequestError};
use crate::tls::{self, Shown, TlsError};
use crate::tokens::{Tokens, TokensError};

/// The names by which pods and people on the machine itself call the API, whatever its addresses.
const API_NAMES: [&str; 8] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
    "127.0.0.1",
    "::1",
    "10.43.0.1",
];
/// Names of one certificate.
const NAMES_MAX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot use the pki folder")]
    Folder(#[from] FileError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Leaf(#[from] LeafError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error(transparent)]
    AccountKey(#[from] AccountKeyError),
}

/// How long what is issued is good for.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// A node's certificate; nodes ask for a new one at two thirds of it.
    pub node: Duration,
    /// The server's own certificates and the administrator's.
    pub server: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { node: YEAR, server: 5 * YEAR }
    }
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The server's own certificates.
#[derive(Debug)]
struct Leaves {
    api: Leaf,
    link: Leaf,
    admin: Leaf,
}

impl Leaves {
    fn open(dir: &Path, authority: &Authority, names: &[String], life: Duration) -> Result<Self, PkiError> {
        let api =
            Order { file: "server", common_name: "kube-apiserver", organization: None, names: api_names(names), life };
        let link_names = vec![SERVER_NAME.to_owned()];
        let link = Order { file: "link", common_name: SERVER_NAME, organization: None, names: link_names, life };
        let admin = Order {
            file: "admin",
            common_name: "kubernetes-admin",
            organization: Some("system:masters"),
            names: Vec::new(),
            life,
        };
        Ok(Self {
            api: Leaf::open(dir, authority, &api)?,
            link: Leaf::open(dir, authority, &link)?,
            admin: Leaf::open(dir, authority, &admin)?,
        })
    }
}

/// The cluster CA and what it issued for this server.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    authority: Authority,
    lifetimes: Lifetimes,
    leaves: Mutex<Leaves>,
    tokens: Tokens,
    members: Members,
    account_key: Arc<AccountKey>,
    api_shown: Arc<Shown>,
    link_shown: Arc<Shown>,
    https: Arc<rustls::ServerConfig>,
    quic: Arc<rustls::ServerConfig>,
    quic_secret: [u8; 32],
}

impl Pki {
    /// Opens `dir`, making what is missing. `names` are this host's names and addresses, beside those that the API
    /// server's certificate always carries; when they change, it is issued anew.
    pub fn open(dir: &Path, names: &[String]) -> Result<Self, PkiError> {
        Self::open_with(dir, names, Lifetimes::default())
    }

    /// The same with other lifetimes.
    pub fn open_with(dir: &Path, names: &[String], lifetimes: Lifetimes) -> Result<Self, PkiError> {
        durable::private_folder(dir)?;
        let authority = Authority::open(dir)?;
        let leaves = Leaves::open(dir, &authority, names, lifetimes.server)?;
        let shown = |leaf: &Leaf| leaf.certified(&authority).map(Shown::new).map_err(TlsError::Certificate);
        let (api_shown, link_shown) = (shown(&leaves.api)?, shown(&leaves.link)?);
        let https = tls::https(&authority, api_shown.clone())?;
        let quic = tls::quic(&authority, link_shown.clone())?;
        let quic_secret = authority.derived("quic secret");
        let (tokens, members) = (Tokens::open(dir)?, Members::open(dir)?);
        let account_key = Arc::new(AccountKey::open(dir)?);
        let (dir, leaves) = (dir.to_owned(), Mutex::new(leaves));
        Ok(Self {
            dir,
            authority,
            lifetimes,
            leaves,
            tokens,
            members,
            account_key,
            api_shown,
            link_shown,
            https,
            quic,
            quic_secret,
        })
    }

    /// Issues anew what is near its end or for other names than `names`, and shows it from the next handshake on.
    /// True where the administrator's certificate changed: the kubeconfig is to be written again.
    pub fn refresh(&self, names: &[String]) -> Result<bool, PkiError> {
        let fresh = Leaves::open(&self.dir, &self.authority, names, self.lifetimes.server)?;
        let certified = |leaf: &Leaf| leaf.certified(&self.authority).map_err(TlsError::Certificate);
        self.api_shown.replace(certified(&fresh.api)?);
        self.link_shown.replace(certified(&fresh.link)?);
        let mut leaves = self.leaves();
        let changed = leaves.admin.certificate != fresh.admin.certificate;
        *leaves = fresh;
        Ok(changed)
    }

    fn leaves(&self) -> MutexGuard<'_, Leaves> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When what was issued for this server ends, by file, in seconds since 1970.
    pub fn ends(&self) -> [(&'static str, u64); 3] {
        let leaves = self.leaves();
        [("server", leaves.api.ends()), ("link", leaves.link.ends()), ("admin", leaves.admin.ends())]
    }

    /// For 6443/tcp: HTTP/2 and 1.1, client certificates verified where one is shown.
    pub fn https_config(&self) -> Arc<rustls::ServerConfig> {
        self.https.clone()
    }

    /// For 6443/udp.
    pub fn quic_config(&self) -> Arc<rustls::ServerConfig> {
        self.quic.clone()
    }

    /// What the port for agents keeps over restarts: derived from its key, known to nobody else.
    pub fn quic_secret(&self) -> [u8; 32] {
        self.quic_secret
    }

    /// What nodes of the cluster know each other's datagrams by; each of them is told.
    pub fn node_secret(&self) -> [u8; 32] {
        control_wire::trust::hash(format!("node secret {}", control_wire::trust::hex(&self.quic_secret)).as_bytes())
    }

    /// An administrator's kubeconfig with everything in it. It is a secret.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        kubeconfig::render(server_url, &self.ca_pem(), &self.leaves().admin)
    }

    /// The cluster's name among clusters.
    pub fn cluster(&self) -> String {
        self.authority.cluster()
    }

    /// SHA-256 of the CA's public key.
    pub fn ca_hash(&self) -> [u8; 32] {
        self.authority.hash()
    }

    /// DER.
    pub fn ca(&self) -> &[u8] {
        self.authority.certificate()
    }

    /// The CA as pods see it.
    pub fn ca_pem(&self) -> String {
        kubeconfig::pem("CERTIFICATE", self.authority.certificate())
    }

    /// A client certificate for a node, DER, from its PKCS#10 request.
    pub fn sign_node(&self, request: &[u8], node_name: &str) -> Result<Vec<u8>, SignError> {
        self.authority.sign_node(request, node_name, self.lifetimes.node)
    }

    /// A client certificate, PEM, as a request of the API asks for it.
    pub fn sign_client(&self, pem: &[u8], usage: KeyUsage, life: Duration) -> Result<String, SignRequestError> {
        let certificate = self.authority.sign_client(&Request::read(pem)?, usage, life)?;
        Ok(kubeconfig::pem("CERTIFICATE", &certificate))
    }

    /// SHA-256 of the public key of a node's request, whose signature is checked.
    pub fn request_key(&self, request: &[u8], node_name: &str) -> Result<[u8; 32], SignError> {
        authority::request(request, node_name)
            .map(|request| trust::hash(&rcgen::PublicKeyData::subject_public_key_info(&request.public_key)))
    }

    /// Signs and checks the tokens of ServiceAccounts.
    pub fn account_key(&self) -> Arc<AccountKey> {
        self.account_key.clone()
    }

    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The keys that were let in, and those that were shut out.
    pub fn members(&self) -> &Members {
        &self.members
    }
}

fn api_names(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = API_NAMES.iter().map(|name| (*name).to_owned()).collect();
    // Addresses in their one usual form, so that they compare with what a certificate holds.
    all.extend(names.iter().take(NAMES_MAX).map(|name| match name.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => name.clone(),
    }));
    all.sort();
    all.dedup();
    all
}
