//! The cluster's certificate authority, what it signs, and the tokens that let nodes join.
//!
//! Called by the server at its start, by `control/nodes` for joins, and by the command line for tokens. In reading
//! order: [`pki`] everything under one folder, [`authority`] the CA and its signatures, [`leaf`] a certificate with
//! its key on disk, [`tls`] what rustls makes of them, [`kubeconfig`], [`tokens`].
//!
//! Absent on purpose: revocation lists (a node is shut out by its Node object's key), renewal while running
//! (certificates are looked at at each start, years before they end), and anything of the network.

pub mod authority;
pub mod kubeconfig;
pub mod leaf;
pub mod pki;
pub mod tls;
pub mod tokens;

pub use authority::SignError;
pub use pki::{Pki, PkiError};
pub use tokens::{TokenInfo, TokenLimits, TokenRefusal, Tokens, TokensError};
