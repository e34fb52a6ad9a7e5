//! The QUIC protocol between server and agents: both sides of it, and the only user of quinn.
//!
//! An agent dials the server with mutual TLS and opens one stream of each kind in [`frame::Opening`]; the server opens
//! a stream per log, exec and forwarded connection, so a node listens on nothing. In reading order:
//! [`frame`] what travels, [`codec`] how it is cut into bytes, [`token`] the text that lets a node join,
//! [`trust`] who is believed (a CA by its hash, whatever the clock says), [`identity`] what a node keeps,
//! [`durable`] how small files reach the disk, [`addresses`] this machine's own, [`clock`] notice of its being set, [`discovery`] clusters on the LAN,
//! [`supervisor`] what systemd is told, [`transport`] limits and sockets.
//!
//! The agent's side: [`join`] with a token or [`pending`] without, then [`link`] (which looks at the `network` that it is told) with its [`sync`], [`report`] and [`incoming`] streams. The server's side:
//! [`listener`] accepts, [`petition`] asks for a certificate, [`session`] is one node's connection, [`request`] the streams it opens towards the node, [`platforms`] and [`usage`] two of them,
//! [`pipe`] those that end up as plain bytes.
//!
//! Absent on purpose: reconnecting (the agent decides when), issuing certificates (`control/pki`), and any meaning of
//! the objects carried.

pub mod account;
pub mod addresses;
pub mod clock;
pub mod codec;
pub mod discovery;
pub mod durable;
pub mod frame;
pub mod identity;
pub mod incoming;
pub mod join;
pub mod link;
pub mod listener;
pub(crate) mod network;
pub mod pending;
pub mod petition;
pub mod pipe;
pub mod platforms;
pub mod report;
pub mod request;
pub mod session;
pub mod supervisor;
pub mod sync;
pub mod token;
pub mod transport;
pub mod trust;
pub mod usage;

pub use account::{TokenAnswer, TokenReply, TokenRequest};
pub use codec::StreamError;
pub use frame::{Accepted, Hello, NodeNetwork, PROTOCOL, Report, Sync};
pub use identity::{IDENTITY_FILE, Identity, NodeKey};
pub use incoming::{ExecPipe, ForwardCall, Incoming, LogSink};
pub use join::JoinError;
pub use link::{ConnectError, Link};
pub use listener::{Arrival, Listener, NodeArrival};
pub use pending::{Applicant, Pending, fingerprint};
pub use petition::{Ask, Petition};
pub use pipe::BytePipe;
pub use platforms::PlatformsReply;
pub use report::{ReportSource, ReportStream};
pub use request::{ExecInputs, ExecOutputs, ForwardError, LogLines};
pub use session::{NodeStream, Session};
pub use sync::{SyncSink, SyncStream};
pub use token::JoinToken;
pub use usage::UsageReply;
