//! EndpointSlices of Services without a selector: a mirror of the Endpoints that somebody wrote for them, since
//! everything that follows Services reads slices.

use std::net::IpAddr;

use control_api::resource::{ENDPOINT_SLICES, ENDPOINTS, SERVICES};
use control_api::view::core::{EndpointAddress, EndpointSubset, Endpoints, Service};
use control_api::view::discovery::{Endpoint, EndpointConditions, EndpointPort};
use control_client::{Key, Resource};

use crate::action::Action;
use crate::controller::{self, Change, Controller, Input};
use crate::endpoint_slice::maker::{self, Maker};
use crate::endpoint_slice::pack::{self, Group};
use crate::endpoints;
use crate::error::Error;
use crate::service;
use crate::world::{World, view};

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// On Endpoints that have slices of their own.
pub(crate) const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints were once used to elect leaders; such have no addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const NOT_MIRRORED: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];
/// Addresses taken of each subset, as in Kubernetes.
const ADDRESSES_MAX: usize = 1000;

static OUTPUTS: [&Resource; 1] = [&ENDPOINT_SLICES];

pub struct MirroringController;

impl Controller for MirroringController {
    fn name(&self) -> &'static str {
        "endpoint-slice-mirroring-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input { resource: &ENDPOINTS, keys: controller::itself },
            Input { resource: &SERVICES, keys: endpoints_of },
            Input { resource: &ENDPOINT_SLICES, keys: mirrored_by },
        ]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        // Mirrors of Endpoints that are gone are garbage: they name them as their owner.
        let Some(object) = world.get(key) else { return Ok(Vec::new()) };
        let existing = maker::owned(world, &object, MANAGER);
        let endpoints: Endpoints = view(&object)?;
        if !is_mirrored(world, key, &endpoints)? {
            return Ok(existing.iter().map(|slice| maker::delete(&slice.key)).collect());
        }
        let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|name, _| !NOT_MIRRORED.contains(&name.as_str()));
        let headless = object.meta.labels.contains_key(service::HEADLESS).then_some(service::HEADLESS);
        let maker = Maker::new(&object, MANAGER, headless).annotated(annotations);
        let mut groups = Vec::new();
        for subset in endpoints.subsets.iter().flatten() {
            mirror(subset, &mut groups);
        }
        pack::pack(&maker, &existing, groups)
    }
}

fn endpoints_of(_: &World, change: &Change<'_>) -> Vec<Key> {
    vec![Key::new(&ENDPOINTS, &change.object.key.namespace, &change.object.key.name)]
}

fn mirrored_by(_: &World, change: &Change<'_>) -> Vec<Key> {
    maker::named_by(change, MANAGER).map(|name| Key::new(&ENDPOINTS, &change.object.key.namespace, name)).collect()
}

fn is_mirrored(world: &World, key: &Key, endpoints: &Endpoints) -> Result<bool, Error> {
    let Some(service) = world.get(&Key::new(&SERVICES, &key.namespace, &key.name)) else { return Ok(false) };
    let service: Service = view(&service)?;
    let selects = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).is_some_and(|all| !all.is_empty());
    let label = |name: &str| endpoints.metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
    let elects = endpoints.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LEADER));
    let ours = label(endpoints::MANAGED_BY) == Some(endpoints::MANAGER);
    Ok(!selects && !elects && !ours && label(SKIP) != Some("true"))
}

fn mirror(subset: &EndpointSubset, groups: &mut Vec<Group>) {
    let ports: Vec<EndpointPort> = subset
        .ports
        .iter()
        .flatten()
        .map(|port| EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(port.port),
            protocol: Some(service::protocol(port.protocol.as_deref()).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect();
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    for (address, ready) in ready.chain(not_ready).take(ADDRESSES_MAX) {
        let Some((address_type, endpoint)) = endpoint(address, ready) else { continue };
        match groups.iter_mut().find(|group| group.address_type == address_type && group.ports == ports) {
            Some(group) => group.endpoints.push(endpoint),
            None => groups.push(Group { address_type, ports: ports.clone(), endpoints: vec![endpoint] }),
        }
    }
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Option<(&'static str, Endpoint)> {
    let ip: IpAddr = address.ip.parse().ok()?;
    let endpoint = Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    };
    Some((if ip.is_ipv4() { "IPv4" } else { "IPv6" }, endpoint))
}
