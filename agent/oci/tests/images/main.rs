//! Images as they come: from registries and archives, honest and evil ones, through cuts of the power.

#![allow(clippy::unwrap_used, reason = "a test ends at what is unexpected")]

mod archive;
mod hostile;
mod login;
mod power;
mod registry;
mod support;
