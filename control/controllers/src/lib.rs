//! The controllers: what makes the cluster become what its objects say.
//!
//! Called by the server's start through [`run`]. In reading order: [`controller`] what a controller declares,
//! [`world`] what it reads, [`action`] what it asks for, [`runner`] the one loop that owns watches, queue, back-off and
//! execution; then one file or folder a controller: [`deployment`], [`replica_set`], [`daemon_set`], [`job`],
//! [`garbage`], [`namespace`], [`service_account`], [`cluster_role`], [`certificate`] (signs), [`node`] (taints),
//! [`eviction`] (pods of nodes that fell silent or are gone), [`event_ttl`], [`volume`], and what stands behind Services: [`endpoint_slice`],
//! [`endpoint_slice_mirroring`], [`endpoints`], [`api_endpoints`], [`load_balancer`], with [`service`] for what they
//! share; [`pod`] is what all of them ask of a pod.
//!
//! A controller is pure: `reconcile(&World, &Key) -> Vec<Action>`; tests build a world and look at the actions.
//!
//! Absent on purpose: informer caches and expectations. A `World` reads the store's memory, which holds every write as
//! soon as it is answered, and the runner finishes a key's actions before it looks at the key again; so a controller
//! never acts on a state from before its own writes, which is what expectations guard against in Kubernetes.
//! Also absent: leader election (one server), periodic resync (watches do not lose events).

pub mod action;
pub mod api_endpoints;
pub mod certificate;
pub mod cluster_role;
pub mod config;
pub mod controller;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoint_slice_mirroring;
pub mod endpoints;
pub mod error;
pub mod event_ttl;
pub mod eviction;
pub mod garbage;
pub mod job;
pub mod load_balancer;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod replica_set;
pub mod runner;
pub mod service;
pub mod service_account;
pub mod steps;
pub mod volume;
pub mod world;

pub use action::Action;
pub use certificate::{Signer, Usage};
pub use config::Config;
pub use controller::{Controller, Input};
pub use error::Error;
pub use load_balancer::{Pool, PoolError};
pub use runner::run;
pub use world::World;
