//! The API as its clients meet it: over HTTPS, by unmodified kubectl and by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod accounts;
mod client;
mod commands;
mod hostile;
mod kinds;
mod kubectl;
mod rbac;
mod semantics;
mod server;
mod services;
mod wire;
