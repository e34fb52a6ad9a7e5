//! The Kubernetes API: decode -> route -> authenticate -> authorize -> admit -> store -> respond.
//!
//! Called over HTTPS by clients ([`serve`]), and through [`Api::call`] by `control/client`, which enters the same
//! pipeline after HTTP decoding. In reading order, as a request passes: [`server`] connections and TLS, [`pipeline`]
//! the stations, [`route`] and [`query`] what is asked, [`authenticate`] with [`bearer`] and
//! [`impersonate`], [`authorize`] with [`rbac`] and the [`node_rule`], [`decode`] bodies and
//! options, [`storage`] the verbs (with [`admit`], [`allocate`] and [`tier`] on the way of a write), [`list`] and [`watch`] the
//! reads, [`negotiate`] and [`table`] the shape of an answer, [`respond`] the only place where HTTP statuses are made.
//! Beside the objects: [`absent`] what is not served, [`review`] questions that are not kept, [`discovery`], [`openapi`], [`oidc`], [`health`], [`metrics`], [`log`], and what streams:
//! [`exec`] (attach with it) and [`forward`], over an [`upgrade`] to a WebSocket or to [`spdy`], or to it in a [`tunnel`];
//! [`proxy`] passes HTTP on to pods. What nodes and pods use is asked of the nodes: [`measured`] as `metrics.k8s.io`, [`node_proxy`] as a
//! kubelet has it.
//!
//! Absent on purpose: server-side apply and managedFields, webhooks; what every field means
//! (`control/api`), and where objects are kept (`control/store`).

pub mod absent;
pub mod admit;
pub mod allocate;
pub mod api;
pub mod authenticate;
pub mod authorize;
pub mod bearer;
pub mod bootstrap;
pub mod call;
pub mod clock;
pub mod decode;
pub mod discovery;
pub mod exec;
pub mod forward;
pub mod health;
pub mod impersonate;
pub mod list;
pub mod log;
pub mod measured;
pub mod metrics;
pub mod negotiate;
pub mod node;
pub mod node_proxy;
pub mod node_rule;
pub mod oidc;
pub mod openapi;
pub mod pipeline;
pub mod proxy;
pub mod query;
pub mod rbac;
pub mod respond;
pub mod review;
pub mod route;
pub mod selection;
pub mod server;
pub mod spdy;
pub mod storage;
pub mod table;
pub mod tier;
pub mod tunnel;
pub mod upgrade;
pub mod watch;

pub use api::Api;
pub use authenticate::Authenticator;
pub use call::{Call, DeleteOptions, PatchKind, Preconditions, Propagation, Reply, User, Verb, WriteOptions};
pub use node::{Duplex, ExecStreams, NodeStreams};
pub use server::serve;
