use std::path::PathBuf;

use agent_network::{Network, PortMapping, Protocol};
use agent_pods::ports::{BoxFuture, HostPort, PortResult};

use super::told;

pub struct PodNetworks(pub Network);

impl agent_pods::ports::Network for PodNetworks {
    fn attach(&self, uid: &str, netns: PathBuf, ports: Vec<HostPort>) -> BoxFuture<'_, PortResult<Vec<String>>> {
        let uid = uid.to_owned();
        let ports = ports.into_iter().map(|port| PortMapping {
            protocol: if port.udp { Protocol::Udp } else { Protocol::Tcp },
            host_ip: port.host_ip.filter(|ip| !ip.is_unspecified()),
            host_port: port.host_port,
            container_port: port.container_port,
        });
        let ports: Vec<PortMapping> = ports.collect();
        Box::pin(async move {
            let address = self.0.attach(&uid, &netns, &ports).await.map_err(told)?;
            Ok(vec![address.to_string()])
        })
    }

    fn detach(&self, uid: &str) -> BoxFuture<'_, PortResult<()>> {
        let uid = uid.to_owned();
        Box::pin(async move { self.0.detach(&uid).await.map_err(told) })
    }
}
