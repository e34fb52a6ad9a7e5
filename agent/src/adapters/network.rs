use std::path::PathBuf;

use agent_network::{Identity, NamedPort, Network, PodNetwork, PortMapping, Protocol};
use agent_pods::ports::{BoxFuture, HostPort, PortResult};
use agent_runtime::SandboxStatus;
use control_api::view::core::{ContainerPort, Pod};

use super::told;

pub struct PodNetworks(pub Network);

impl agent_pods::ports::Network for PodNetworks {
    fn attach(&self, pod: &Pod, netns: PathBuf, ports: Vec<HostPort>) -> BoxFuture<'_, PortResult<Vec<String>>> {
        let (uid, identity) = (pod.metadata.uid.clone().unwrap_or_default(), identity(pod));
        let ports = ports.into_iter().map(|port| PortMapping {
            protocol: if port.udp { Protocol::Udp } else { Protocol::Tcp },
            host_ip: port.host_ip.filter(|ip| !ip.is_unspecified()),
            host_port: port.host_port,
            container_port: port.container_port,
        });
        let pod = PodNetwork { uid, identity, netns, ports: ports.collect() };
        Box::pin(async move {
            let address = self.0.attach(&pod).await.map_err(told)?;
            Ok(vec![address.to_string()])
        })
    }

    fn detach(&self, uid: &str) -> BoxFuture<'_, PortResult<()>> {
        let uid = uid.to_owned();
        Box::pin(async move { self.0.detach(&uid).await.map_err(told) })
    }
}

/// How pods that outlived the agent are connected.
pub fn attached(sandboxes: &[SandboxStatus], pods: &[Pod]) -> Vec<PodNetwork> {
    let live = sandboxes.iter().filter(|sandbox| sandbox.alive);
    live.filter_map(|sandbox| {
        let uid = &sandbox.spec.uid;
        let pod = pods.iter().find(|pod| pod.metadata.uid.as_ref() == Some(uid))?;
        let netns = sandbox.sandbox.netns_path.clone()?;
        Some(PodNetwork { uid: uid.clone(), identity: identity(pod), netns, ports: Vec::new() })
    })
    .collect()
}

/// What network policies know a pod by.
pub fn identity(pod: &Pod) -> Identity {
    let containers = agent_pods::spec::lasting(pod);
    Identity {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        ports: containers.flat_map(|container| container.ports.iter().flatten()).filter_map(named).collect(),
    }
}

fn named(port: &ContainerPort) -> Option<NamedPort> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => 6,
        Some("UDP") => 17,
        Some("SCTP") => 132,
        Some(_) => return None,
    };
    Some(NamedPort { name: port.name.clone()?, protocol, port: u16::try_from(port.container_port).ok()? })
}
