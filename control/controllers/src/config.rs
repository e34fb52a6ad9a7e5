//! What the controllers need to know beside the store.

/// Given by the server's start.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The cluster's CA certificate, PEM: published as ConfigMap `kube-root-ca.crt` in every namespace.
    pub ca_pem: String,
}
