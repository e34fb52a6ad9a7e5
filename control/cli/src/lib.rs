//! The command line's verbs. The bin parses [`arguments::Arguments`] and calls one of them; `server` alone is its own.
//!
//! [`up`] supervises a whole one-machine cluster, [`token`] lets nodes in, [`kubeconfig`] hands out access.
//! [`status`], [`node`] and its [`drain`] ask a running server over the API: [`access`] is a kubeconfig, [`client`] the
//! connection, [`table`] what is printed. [`card`] builds SD cards. [`data_dir`] says where all of them look.

pub mod access;
pub mod addresses;
pub mod arguments;
pub mod card;
pub mod client;
pub mod data_dir;
pub mod drain;
pub mod kubeconfig;
pub mod node;
pub mod pidfile;
pub mod status;
pub mod table;
pub mod token;
pub mod up;

pub use arguments::{Arguments, Verb};
