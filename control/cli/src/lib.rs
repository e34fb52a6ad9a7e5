//! The command line's verbs. The bin parses [`arguments::Arguments`] and calls one of them; `server` alone is its own.
//!
//! [`up`] supervises a whole one-machine cluster, [`token`] lets nodes in, [`kubeconfig`] hands out access.
//! [`data_dir`] says where all of them look, [`notify`] how a program tells its supervisor that it is ready.

pub mod addresses;
pub mod arguments;
pub mod data_dir;
pub mod kubeconfig;
pub mod notify;
pub mod pidfile;
pub mod token;
pub mod up;

pub use arguments::{Arguments, Verb};
