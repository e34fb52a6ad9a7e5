//! The QUIC protocol between server and agents: both sides of it, and the only user of quinn.
//!
//! An agent dials the server with mutual TLS and opens one stream of each kind in [`frame::Opening`]; the server opens
//! a stream per log and exec, so a node listens on nothing. In reading order:
//! [`frame`] what travels, [`codec`] how it is cut into bytes, [`token`] the text that lets a node join,
//! [`trust`] who is believed (a CA by its hash, whatever the clock says), [`identity`] what a node keeps,
//! [`durable`] how small files reach the disk, [`transport`] limits and sockets.
//!
//! The agent's side: [`join`], then [`link`] with its [`sync`], [`report`] and [`incoming`] streams. The server's side:
//! [`listener`] accepts, [`session`] is one node's connection, [`request`] the streams it opens towards the node.
//!
//! Absent on purpose: reconnecting (the agent decides when), issuing certificates (`control/pki`), and any meaning of
//! the objects carried.

pub mod codec;
pub mod durable;
pub mod frame;
pub mod identity;
pub mod incoming;
pub mod join;
pub mod link;
pub mod listener;
pub mod report;
pub mod request;
pub mod session;
pub mod sync;
pub mod token;
pub mod transport;
pub mod trust;

pub use codec::StreamError;
pub use frame::{Hello, PROTOCOL, Report, Sync};
pub use identity::{Identity, NodeKey};
pub use incoming::{ExecPipe, Incoming, LogSink};
pub use join::JoinError;
pub use link::{Accepted, ConnectError, Link};
pub use listener::{Arrival, JoinAttempt, Listener, NodeArrival};
pub use report::{ReportSource, ReportStream};
pub use request::{ExecInputs, ExecOutputs, LogLines};
pub use session::{NodeStream, Session};
pub use sync::{SyncSink, SyncStream};
pub use token::JoinToken;
