//! The Kubernetes API: decode -> route -> authenticate -> authorize -> admit -> store -> respond.
//!
//! Called over HTTPS by clients ([`serve`]), and through [`Api::call`] by `control/client`, which enters the same
//! pipeline after HTTP decoding. In reading order, as a request passes: [`server`] connections and TLS, [`pipeline`]
//! the stations, [`route`] and [`query`] what is asked, [`authenticate`], [`authorize`], [`decode`] bodies and
//! options, [`storage`] the verbs (with [`admit`] and [`tier`] on the way of a write), [`list`] and [`watch`] the
//! reads, [`negotiate`] and [`table`] the shape of an answer, [`respond`] the only place where HTTP statuses are made.
//! Beside the objects: [`discovery`], [`openapi`], [`health`], [`metrics`], [`log`], [`exec`].
//!
//! Absent on purpose: RBAC, server-side apply and managedFields, webhooks, SPDY; what every field means
//! (`control/api`), and where objects are kept (`control/store`).

pub mod admit;
pub mod api;
pub mod authenticate;
pub mod authorize;
pub mod bootstrap;
pub mod call;
pub mod clock;
pub mod decode;
pub mod discovery;
pub mod exec;
pub mod health;
pub mod list;
pub mod log;
pub mod metrics;
pub mod negotiate;
pub mod node;
pub mod openapi;
pub mod pipeline;
pub mod query;
pub mod respond;
pub mod route;
pub mod selection;
pub mod server;
pub mod storage;
pub mod table;
pub mod tier;
pub mod watch;

pub use api::Api;
pub use authenticate::Authenticator;
pub use call::{Call, DeleteOptions, PatchKind, Preconditions, Propagation, Reply, User, Verb, WriteOptions};
pub use node::{ExecStreams, NodeStreams};
pub use server::serve;
