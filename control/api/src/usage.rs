//! What a node, its pods and their containers use, as an agent tells it when it is asked.

use serde::{Deserialize, Serialize};

/// The question. Travels as postcard, so fields are only ever appended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRequest {
    /// Cores in use are wanted too, for which the node looks twice.
    pub rates: bool,
}

/// A node's answer. Travels as JSON, so that either side may know more fields than the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeUsage {
    /// Milliseconds since 1970, by the node's clock.
    pub time_ms: i64,
    /// Between the two looks that `cpu_nanocores` come from.
    pub window_ms: u64,
    pub booted_ms: i64,
    pub memory_capacity_bytes: u64,
    pub usage: Usage,
    /// The disk of the agent's data, images included.
    pub disk: Disk,
    pub network: Option<Network>,
    pub pods: Vec<PodUsage>,
    /// The agent's own metrics, in Prometheus' text format.
    pub agent_metrics: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodUsage {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub started_ms: i64,
    pub usage: Usage,
    /// None of a pod with the machine's own network.
    pub network: Option<Network>,
    /// Those that run.
    pub containers: Vec<ContainerUsage>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerUsage {
    pub name: String,
    pub id: String,
    pub image: String,
    pub started_ms: i64,
    pub usage: Usage,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Of a core, since the start.
    pub cpu_ns: u64,
    /// Billionths of a core in the window; none where there was no earlier look.
    pub cpu_nanocores: Option<u64>,
    pub memory_usage_bytes: u64,
    /// Without inactive file pages.
    pub memory_working_set_bytes: u64,
    pub memory_rss_bytes: u64,
    pub pids: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    pub capacity_bytes: u64,
    pub available_bytes: u64,
    pub used_bytes: u64,
    pub inodes: u64,
    pub inodes_free: u64,
}

/// Since the link was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    pub interface: String,
    pub received_bytes: u64,
    pub receive_errors: u64,
    pub sent_bytes: u64,
    pub send_errors: u64,
}
