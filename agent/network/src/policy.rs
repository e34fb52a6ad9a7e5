//! NetworkPolicies as they are enforced on this node's pods.
//!
//! `parse` reads the objects once; `render` (pure) makes a table of them and of who has which address; `diff`
//! finds what has to change of it: elements of sets where pods came and went, the whole table, in one
//! transaction, where policies did.
//!
//! A packet is judged where it is forwarded, with the addresses that pods have: those of Services are translated
//! before. The node itself reaches its pods and is reached by them, whatever policies say, as Kubernetes has it;
//! only the node's own DNS address counts as a pod, kube-system's `k8s-app: kube-dns`.

mod diff;
mod parse;
mod ranges;
mod render;

use std::{collections::BTreeMap, net::Ipv4Addr};

pub(crate) use diff::{Change, difference};
pub(crate) use parse::{Policy, parse};
pub(crate) use render::{Member, World, render, table_name};

/// What policies know a pod by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub namespace: String,
    pub labels: BTreeMap<String, String>,
    /// The ports of its containers that have names.
    pub ports: Vec<NamedPort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    /// IP's number of it: 6, 17 or 132.
    pub protocol: u8,
    pub port: u16,
}

/// A running pod somewhere in the cluster, with an address of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPod {
    pub uid: String,
    pub address: Ipv4Addr,
    pub identity: Identity,
}

#[cfg(test)]
mod tests;
