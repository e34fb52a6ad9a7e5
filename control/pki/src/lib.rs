//! The cluster's certificate authority, what it signs, and the tokens that let nodes join.
//!
//! Called by the server at its start, by `control/nodes` for joins, and by the command line for tokens. In reading
//! order: [`pki`] everything under one folder, [`authority`] the CA and its signatures, [`leaf`] a certificate with
//! its key on disk, [`request`] what clients of the API have signed, [`tls`] what rustls makes of them, [`kubeconfig`],
//! [`tokens`] that let nodes join,
//! [`members`] whose keys were let in or shut out, [`account_token`] tokens of ServiceAccounts.
//!
//! Absent on purpose: revocation lists in X.509's form (a node is shut out by its key), timers (the server calls
//! [`Pki::refresh`]), and anything of the network.

pub mod account_token;
pub mod authority;
pub mod kubeconfig;
pub mod leaf;
pub mod members;
pub mod pki;
pub mod request;
pub mod tls;
pub mod tokens;

pub use account_token::AccountKey;
pub use authority::SignError;
pub use members::{Members, MembersError, Standing};
pub use pki::{Lifetimes, Pki, PkiError};
pub use request::{KeyUsage, Request, RequestError, SignRequestError};
pub use tokens::{TokenInfo, TokenLimits, TokenRefusal, Tokens, TokensError};
