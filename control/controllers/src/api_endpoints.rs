//! Endpoints and EndpointSlice `kubernetes` of the default namespace: where Service `kubernetes` leads, that is, to the
//! servers themselves.

use std::net::IpAddr;

use control_api::resource::{ENDPOINT_SLICES, ENDPOINTS};
use control_client::{Key, Object, Resource};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::action::Action;
use crate::controller::{Change, Controller, Input};
use crate::endpoint_slice_mirroring::SKIP;
use crate::error::Error;
use crate::world::{World, view};

const NAMESPACE: &str = "default";
const NAME: &str = "kubernetes";
const PORT_NAME: &str = "https";

static OUTPUTS: [&Resource; 2] = [&ENDPOINTS, &ENDPOINT_SLICES];

pub struct ApiEndpointsController {
    addresses: watch::Receiver<Vec<IpAddr>>,
    port: u16,
}

impl ApiEndpointsController {
    pub fn new(addresses: watch::Receiver<Vec<IpAddr>>, port: u16) -> Self {
        Self { addresses, port }
    }
}

impl Controller for ApiEndpointsController {
    fn name(&self) -> &'static str {
        "api-endpoint-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &ENDPOINTS, keys: the_api }, Input { resource: &ENDPOINT_SLICES, keys: the_api }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    fn initial(&self) -> Vec<Key> {
        vec![Key::new(&ENDPOINTS, NAMESPACE, NAME)]
    }

    fn reconcile(&self, world: &World, _: &Key) -> Result<Vec<Action>, Error> {
        let mut addresses: Vec<IpAddr> = self.addresses.borrow().iter().copied().filter(IpAddr::is_ipv4).collect();
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        let ports = json!([{"name": PORT_NAME, "port": self.port, "protocol": "TCP"}]);
        let ips: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
        let endpoints = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {SKIP: "true"}},
            "subsets": [{"addresses": ips, "ports": ports}],
        });
        let one = |ip: &IpAddr| json!({"addresses": [ip.to_string()], "conditions": {"ready": true}});
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": NAME}},
            "addressType": "IPv4", "endpoints": addresses.iter().map(one).collect::<Vec<_>>(), "ports": ports,
        });
        let mut actions = Vec::new();
        for (resource, object) in [(&ENDPOINTS, endpoints), (&ENDPOINT_SLICES, slice)] {
            let found = world.get(&Key::new(resource, NAMESPACE, NAME));
            actions.extend(ensure(resource, found.as_deref(), object)?);
        }
        Ok(actions)
    }
}

fn the_api(_: &World, change: &Change<'_>) -> Vec<Key> {
    let key = &change.object.key;
    let is_it = &*key.namespace == NAMESPACE && &*key.name == NAME;
    if is_it { vec![Key::new(&ENDPOINTS, NAMESPACE, NAME)] } else { Vec::new() }
}

fn ensure(resource: &'static Resource, found: Option<&Object>, object: Value) -> Result<Option<Action>, Error> {
    let Some(found) = found else {
        let namespace = NAMESPACE.to_owned();
        return Ok(Some(Action::Create { resource, namespace, object, announce: None }));
    };
    let raw: Value = view(found)?;
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    let labelled = labels.into_iter().all(|(name, value)| raw["metadata"]["labels"][name] == *value);
    let right = ["subsets", "endpoints", "ports"].iter().all(|field| raw[*field] == object[*field]);
    Ok((!right || !labelled).then(|| Action::merge(&found.key, object)))
}
