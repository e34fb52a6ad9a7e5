//! The scheduler: which node a pod goes to.
//!
//! Called by the server's start through [`run`].

pub mod run;

pub use run::run;
