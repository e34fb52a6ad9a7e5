//! What the scheduler keeps of a node, and what is placed on it.

use std::collections::BTreeMap;

use control_api::image::Platform;
use control_api::view::core::{Node, Taint};
use control_client::Object;

use crate::image::Held;
use crate::pod::{HostPort, PodInfo};
use crate::resources::Resources;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Parsed once; compared to tell a change that matters from a heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub allocatable: Resources,
    /// `None` where it does not say.
    pub platform: Option<Platform>,
    pub held: Held,
    pub used: Resources,
    pub ports: Vec<HostPort>,
}

impl NodeInfo {
    /// A node with nothing on it.
    pub fn read(object: &Object) -> Result<Self, serde_json::Error> {
        let node: Node = control_client::view(object)?;
        let spec = node.spec.unwrap_or_default();
        let status = node.status.unwrap_or_default();
        let ready = status.conditions.iter().flatten().any(|found| found.type_ == "Ready" && found.status == "True");
        let mut taints = spec.taints.unwrap_or_default();
        if !ready && !taints.iter().any(|taint| taint.effect == "NoSchedule" && is_about_readiness(taint)) {
            // The node controller will say so in a moment; a pod must not slip in before.
            let (key, effect) = (NOT_READY.to_owned(), "NoSchedule".to_owned());
            taints.push(Taint { key, effect, ..Taint::default() });
        }
        Ok(Self {
            name: object.key.name.to_string(),
            labels: object.meta.labels.clone(),
            taints,
            unschedulable: spec.unschedulable.unwrap_or(false),
            allocatable: Resources::read(status.allocatable.as_ref().or(status.capacity.as_ref())),
            platform: status.node_info.and_then(|info| platform(&info.operating_system, &info.architecture)).or_else(
                || {
                    let label = |name: &str| object.meta.labels.get(name).map(String::as_str).unwrap_or_default();
                    platform(label("kubernetes.io/os"), label("kubernetes.io/arch"))
                },
            ),
            held: Held::read(status.images.as_deref().unwrap_or_default()),
            used: Resources::default(),
            ports: Vec::new(),
        })
    }

    pub fn place(&mut self, requests: &Resources, ports: &[HostPort]) {
        self.used.add(requests);
        self.ports.extend_from_slice(ports);
    }

    pub fn remove(&mut self, requests: &Resources, ports: &[HostPort]) {
        self.used.subtract(requests);
        for port in ports {
            if let Some(at) = self.ports.iter().position(|found| found == port) {
                self.ports.swap_remove(at);
            }
        }
    }

    /// Whether any of the pod's host ports is taken.
    pub fn ports_clash(&self, pod: &PodInfo) -> bool {
        let clash = |a: &HostPort, b: &HostPort| {
            let same_address = a.address.is_empty() || b.address.is_empty() || a.address == b.address;
            a.port == b.port && a.protocol == b.protocol && same_address
        };
        pod.ports.iter().any(|wanted| self.ports.iter().any(|taken| clash(wanted, taken)))
    }

    /// Whether the same node, apart from what is placed on it and the images it holds.
    pub fn is_like(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.taints == other.taints
            && self.unschedulable == other.unschedulable
            && self.allocatable == other.allocatable
            && self.platform == other.platform
    }
}

/// In Go's words; an arm machine without a variant is taken as v7, the least that an agent is built for.
fn platform(os: &str, architecture: &str) -> Option<Platform> {
    let os = if os.is_empty() { "linux" } else { os };
    (!architecture.is_empty()).then(|| Platform { os: os.to_owned(), ..Platform::new(architecture, None) })
}

fn is_about_readiness(taint: &Taint) -> bool {
    taint.key == NOT_READY || taint.key == "node.kubernetes.io/unreachable"
}
