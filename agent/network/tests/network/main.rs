//! Pods' networks, in namespaces that each test makes.

#![allow(clippy::unwrap_used, reason = "a test ends at what is unexpected")]

mod netns;
mod nodes;
mod pods;
mod policies;
mod speed;
mod world;
