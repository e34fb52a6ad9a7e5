//! Services in network namespaces that each test makes: a node, its pods, and one that stands for the LAN.

#![allow(clippy::unwrap_used, reason = "a test ends at what is unexpected")]
mod changes;
mod cluster;
mod external;
mod objects;
mod scale;
mod site;
