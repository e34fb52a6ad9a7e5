//! What the scheduler keeps of a pod.

use control_api::view::core::{Container, NodeSelectorTerm, Pod, PodSpec, PreferredSchedulingTerm, Toleration};
use control_client::{Key, Object};

use crate::image::{self, Image};
use crate::resources::Resources;

/// The scheduler that pods ask for when they ask for none.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// A port of the node itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    pub protocol: String,
    /// Empty for every address.
    pub address: String,
    pub port: i32,
}

/// Parsed once; compared to tell a change that matters from a report of status.
#[derive(Debug, Clone, PartialEq)]
pub struct PodInfo {
    pub key: Key,
    pub uid: String,
    pub node: Option<String>,
    /// Succeeded or failed: it uses nothing.
    pub finished: bool,
    pub deleting: bool,
    /// Of this scheduler, and without gates.
    pub ours: bool,
    pub requests: Resources,
    pub ports: Vec<HostPort>,
    pub node_selector: Vec<(String, String)>,
    pub required: Option<Vec<NodeSelectorTerm>>,
    pub preferred: Vec<PreferredSchedulingTerm>,
    pub tolerations: Vec<Toleration>,
    /// Names of the claims that it mounts.
    pub claims: Vec<String>,
    pub images: Vec<Image>,
    /// Names of the Secrets that its images are pulled with.
    pub pull_secrets: Vec<String>,
}

impl PodInfo {
    pub fn read(object: &Object) -> Result<Self, serde_json::Error> {
        let pod: Pod = control_client::view(object)?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let finished = matches!(phase, Some("Succeeded" | "Failed"));
        let spec = pod.spec.unwrap_or_default();
        let requests = requests(&spec);
        let ports = host_ports(&spec);
        let claims = spec.volumes.iter().flatten().filter_map(|volume| volume.persistent_volume_claim.as_ref());
        let claims = claims.map(|claim| claim.claim_name.clone()).collect();
        let images = image::of(&spec);
        let pull_secrets = spec.image_pull_secrets.unwrap_or_default().into_iter().map(|secret| secret.name).collect();
        let affinity = spec.affinity.and_then(|affinity| affinity.node_affinity).unwrap_or_default();
        let gated = spec.scheduling_gates.is_some_and(|gates| !gates.is_empty());
        let scheduler = spec.scheduler_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(SCHEDULER_NAME);
        Ok(Self {
            key: object.key.clone(),
            uid: object.meta.uid.clone(),
            node: spec.node_name.filter(|name| !name.is_empty()),
            finished,
            deleting: object.meta.deletion_timestamp.is_some(),
            ours: scheduler == SCHEDULER_NAME && !gated,
            requests,
            ports,
            node_selector: spec.node_selector.unwrap_or_default().into_iter().collect(),
            required: affinity
                .required_during_scheduling_ignored_during_execution
                .map(|selector| selector.node_selector_terms),
            preferred: affinity.preferred_during_scheduling_ignored_during_execution.unwrap_or_default(),
            tolerations: spec.tolerations.unwrap_or_default(),
            claims,
            images,
            pull_secrets,
        })
    }

    /// Waits for a node, from us.
    pub fn wants_node(&self) -> bool {
        self.ours && self.node.is_none() && !self.finished && !self.deleting
    }
}

fn of(container: &Container) -> Resources {
    Resources::read(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

/// Containers run together, init containers one after the other beside the sidecars started before them; the larger of
/// both phases counts, and the overhead on top.
fn requests(spec: &PodSpec) -> Resources {
    let mut running = Resources::default();
    for container in &spec.containers {
        running.add(&of(container));
    }
    let mut starting = Resources::default();
    let mut sidecars = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut phase = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&phase);
            phase = sidecars.clone();
        } else {
            phase.add(&sidecars);
        }
        starting.raise_to(&phase);
    }
    running.add(&sidecars);
    running.raise_to(&starting);
    running.add(&Resources::read(spec.overhead.as_ref()));
    running.pods = 1;
    running
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let host_network = spec.host_network.unwrap_or(false);
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let host = |port: &control_api::view::core::ContainerPort| {
        let number = port.host_port.or_else(|| host_network.then_some(port.container_port)).filter(|port| *port > 0)?;
        let address = port.host_ip.clone().filter(|address| address != "0.0.0.0").unwrap_or_default();
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some(HostPort { protocol, address, port: number })
    };
    ports.filter_map(host).collect()
}
