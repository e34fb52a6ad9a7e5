//! The QUIC protocol between server and agents: both sides of it, and the only user of quinn.
//!
//! [`frame`] is what travels. An agent dials the server with mutual TLS and opens one stream of each kind in
//! [`frame::Opening`]; the server opens a stream per log and exec.

pub mod frame;
