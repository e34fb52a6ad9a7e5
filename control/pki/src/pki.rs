//! Everything of the cluster's trust, under one folder.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use control_wire::durable::{self, FileError};
use control_wire::trust::SERVER_NAME;

use crate::authority::{Authority, AuthorityError, SignError};
use crate::kubeconfig;
use crate::leaf::{Leaf, LeafError, Order};
use crate::tls::{self, TlsError};
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
}

/// The cluster CA and what it issued for this server.
#[derive(Debug)]
pub struct Pki {
    authority: Authority,
    admin: Leaf,
    tokens: Tokens,
    https: Arc<rustls::ServerConfig>,
    quic: Arc<rustls::ServerConfig>,
    quic_secret: [u8; 32],
}

impl Pki {
    /// Opens `dir`, making what is missing. `names` are this host's names and addresses, beside those that the API
    /// server's certificate always carries; when they change, it is issued anew.
    pub fn open(dir: &Path, names: &[String]) -> Result<Self, PkiError> {
        durable::private_folder(dir)?;
        let authority = Authority::open(dir)?;
        let server =
            Order { file: "server", common_name: "kube-apiserver", organization: None, names: api_names(names) };
        let server = Leaf::open(dir, &authority, &server)?;
        let link =
            Order { file: "link", common_name: SERVER_NAME, organization: None, names: vec![SERVER_NAME.to_owned()] };
        let link = Leaf::open(dir, &authority, &link)?;
        let admin = Order {
            file: "admin",
            common_name: "kubernetes-admin",
            organization: Some("system:masters"),
            names: Vec::new(),
        };
        let admin = Leaf::open(dir, &authority, &admin)?;
        let https = tls::https(&authority, &server)?;
        let quic = tls::quic(&authority, &link)?;
        let quic_secret = control_wire::trust::hash(format!("quic secret {}", link.key_pem()).as_bytes());
        let tokens = Tokens::open(dir)?;
        Ok(Self { authority, admin, tokens, https, quic, quic_secret })
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

    /// An administrator's kubeconfig with everything in it. It is a secret.
    pub fn kubeconfig(&self, server_url: &str) -> String {
        kubeconfig::render(server_url, &self.ca_pem(), &self.admin)
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
        self.authority.sign_node(request, node_name)
    }

    pub fn tokens(&self) -> &Tokens {
        &self.tokens
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
