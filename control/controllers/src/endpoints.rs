//! Endpoints of Services with a selector, for the clients that still read them: like slices, but one object a Service,
//! cut at a thousand addresses.

use std::collections::BTreeMap;

use control_api::resource::{ENDPOINTS, PODS, SERVICES};
use control_api::view::core::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use control_client::{Key, Object, Resource};
use serde_json::{Map, Value, json};

use crate::action::Action;
use crate::controller::{Change, Controller, Input};
use crate::endpoint_slice::maker::delete;
use crate::error::Error;
use crate::pod;
use crate::service;
use crate::world::{World, view};

mod capacity;

/// The label on Endpoints that are ours, and its value.
pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub(crate) const MANAGER: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

static OUTPUTS: [&Resource; 1] = [&ENDPOINTS];

pub struct EndpointsController;

impl Controller for EndpointsController {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input { resource: &SERVICES, keys: itself_or_what_it_left },
            Input { resource: &PODS, keys: service::concerned },
            Input { resource: &ENDPOINTS, keys: service_of },
        ]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn reconcile(&self, world: &World, key: &Key) -> Result<Vec<Action>, Error> {
        let endpoints = Key::new(&ENDPOINTS, &key.namespace, &key.name);
        let found = world.get(&endpoints);
        let ours = found.as_ref().is_some_and(|found| is_ours(found));
        let Some(object) = world.get(&Key::new(&SERVICES, &key.namespace, &key.name)) else {
            // Those that somebody wrote before the Service wait for it; those of a Service that was there go with it.
            let left = found.is_some() && (ours || *key.resource == ENDPOINTS);
            return Ok(if left { vec![delete(&endpoints)] } else { Vec::new() });
        };
        let service: Service = view(&object)?;
        let Some(selector) = service::selector(&service) else {
            return Ok(if ours { vec![delete(&endpoints)] } else { Vec::new() });
        };
        let mut subsets = subsets(world, &service, &key.namespace, selector)?;
        let over = capacity::cut(&mut subsets);
        let labels = labels(&object, &service);
        let Some(found) = found else { return Ok(vec![create(&endpoints, &labels, &subsets, over)]) };
        Ok(update(&found, &labels, subsets, over)?.into_iter().collect())
    }
}

/// A deleted Service's Endpoints are looked at under their own name: they go, whoever wrote them.
fn itself_or_what_it_left(_: &World, change: &Change<'_>) -> Vec<Key> {
    let key = &change.object.key;
    if change.deleted { vec![Key::new(&ENDPOINTS, &key.namespace, &key.name)] } else { vec![key.clone()] }
}

fn service_of(_: &World, change: &Change<'_>) -> Vec<Key> {
    vec![Key::new(&SERVICES, &change.object.key.namespace, &change.object.key.name)]
}

fn is_ours(object: &Object) -> bool {
    object.meta.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
}

fn labels(object: &Object, service: &Service) -> BTreeMap<String, String> {
    let mut labels = object.meta.labels.clone();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.remove(service::HEADLESS);
    if service::is_headless(service) {
        labels.insert(service::HEADLESS.to_owned(), String::new());
    }
    labels
}

fn create(key: &Key, labels: &BTreeMap<String, String>, subsets: &[EndpointSubset], over: bool) -> Action {
    let mut metadata = json!({"name": &*key.name, "namespace": &*key.namespace, "labels": labels});
    if over {
        metadata["annotations"] = json!({OVER_CAPACITY: "truncated"});
    }
    let object = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets});
    Action::Create { resource: &ENDPOINTS, namespace: key.namespace.to_string(), object, announce: None }
}

fn update(
    found: &Object,
    labels: &BTreeMap<String, String>,
    subsets: Vec<EndpointSubset>,
    over: bool,
) -> Result<Option<Action>, Error> {
    let endpoints: Endpoints = view(found)?;
    let marked = endpoints.metadata.annotations.is_some_and(|all| all.contains_key(OVER_CAPACITY));
    if endpoints.subsets.unwrap_or_default() == subsets && found.meta.labels == *labels && marked == over {
        return Ok(None);
    }
    let mut patched: Map<String, Value> = labels.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    for name in found.meta.labels.keys() {
        patched.entry(name).or_insert(Value::Null);
    }
    let annotations = json!({OVER_CAPACITY: over.then_some("truncated")});
    let patch = json!({"metadata": {"labels": patched, "annotations": annotations}, "subsets": subsets});
    Ok(Some(Action::merge(&found.key, patch)))
}

/// Pods that serve the same ports share a subset.
fn subsets(
    world: &World,
    service: &Service,
    namespace: &str,
    selector: &BTreeMap<String, String>,
) -> Result<Vec<EndpointSubset>, Error> {
    let mut subsets: Vec<EndpointSubset> = Vec::new();
    let all = service::publishes_all(service);
    let bare = service::ports(service).is_empty();
    for (_, pod) in service::pods(world, namespace, selector)? {
        let ports = ports(service, &pod);
        let ending = pod.metadata.deletion_timestamp.is_some();
        // Only a headless Service may have no ports at all.
        if (ending && !all) || (ports.is_none() && !(bare && service::is_headless(service))) {
            continue;
        }
        let at = subsets.iter().position(|subset| subset.ports == ports).unwrap_or_else(|| {
            subsets.push(EndpointSubset { ports, ..EndpointSubset::default() });
            subsets.len() - 1
        });
        let Some(address) = address(service, &pod) else { continue };
        let ready = all || pod::is_ready(&pod);
        let subset = &mut subsets[at];
        let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address);
    }
    for subset in &mut subsets {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            list.sort_by(|one, other| one.ip.cmp(&other.ip));
        }
    }
    Ok(subsets)
}

fn ports(service: &Service, pod: &Pod) -> Option<Vec<EndpointPort>> {
    let ports = service::ports(service).iter().filter_map(|port| {
        Some(EndpointPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: service::port_number(port, pod)?,
            protocol: Some(service::protocol(port.protocol.as_deref()).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    });
    let ports: Vec<EndpointPort> = ports.collect();
    (!ports.is_empty()).then_some(ports)
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    Some(EndpointAddress {
        ip: service::addresses(pod).into_iter().next()?,
        hostname: service::hostname(pod, service),
        node_name: pod::node_name(pod).map(str::to_owned),
        target_ref: Some(service::reference(pod)),
    })
}
