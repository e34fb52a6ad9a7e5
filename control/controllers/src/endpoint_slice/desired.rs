//! The endpoints that a Service should have, grouped by the ports that their pods serve it on.

use std::collections::BTreeMap;

use control_api::view::core::{Pod, Service, ServicePort};
use control_api::view::discovery::{Endpoint, EndpointConditions, EndpointPort};

use super::pack::Group;
use super::zone_of;
use crate::error::Error;
use crate::pod;
use crate::service;
use crate::world::World;

/// A pod that is ending stays, marked as terminating, until it is gone: a proxy may have nothing better.
pub(super) fn desired(
    world: &World,
    service: &Service,
    namespace: &str,
    selector: &BTreeMap<String, String>,
) -> Result<Vec<Group>, Error> {
    let mut groups: Vec<Group> = Vec::new();
    for (_, pod) in service::pods(world, namespace, selector)? {
        let ports = ports(service, &pod);
        let endpoint = endpoint(world, service, &pod);
        match groups.iter_mut().find(|group| group.ports == ports) {
            Some(group) => group.endpoints.push(endpoint),
            None => groups.push(Group { ports, endpoints: vec![endpoint], ..Group::default() }),
        }
    }
    Ok(groups)
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let one = |port: &ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(service::port_number(port, pod)?),
            protocol: Some(service::protocol(port.protocol.as_deref()).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    };
    service::ports(service).iter().filter_map(one).collect()
}

fn endpoint(world: &World, service: &Service, pod: &Pod) -> Endpoint {
    let serving = pod::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = service::publishes_all(service) || (serving && !terminating);
    Endpoint {
        addresses: service::addresses(pod),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: service::hostname(pod, service),
        node_name: pod::node_name(pod).map(str::to_owned),
        target_ref: Some(service::reference(pod)),
        zone: zone_of(world, pod),
        ..Endpoint::default()
    }
}
