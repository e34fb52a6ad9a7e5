//! Addresses on the LAN for Services of type LoadBalancer, out of a pool: `status.loadBalancer`. Nodes announce them.
//!
//! Off where an external cloud controller does it, and silent about Services of another `loadBalancerClass`.

mod pool;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use control_api::resource::SERVICES;
use control_client::{About, EventType, Key, Object, Resource};
use serde_json::{Value, json};

use crate::action::Action;
use crate::controller::{Change, Controller, Input};
use crate::error::Error;
use crate::world::{World, view};

pub use pool::{Pool, PoolError};

/// The class of ours; a Service without a class is ours too.
const CLASS: &str = "bramble.dev/lan";

static OUTPUTS: [&Resource; 1] = [&SERVICES];

pub struct LoadBalancerController {
    pool: Pool,
}

impl LoadBalancerController {
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }
}

impl Controller for LoadBalancerController {
    fn name(&self) -> &'static str {
        "service-controller"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![Input { resource: &SERVICES, keys: concerned }]
    }

    fn outputs(&self) -> &'static [&'static Resource] {
        &OUTPUTS
    }

    /// All Services at once, so that no two are given one address.
    fn reconcile(&self, world: &World, _: &Key) -> Result<Vec<Action>, Error> {
        let mut ours: Vec<(Arc<Object>, Value)> = Vec::new();
        for object in world.list(&SERVICES, None) {
            let service: Value = view(&object)?;
            if is_ours(&service) {
                ours.push((object, service));
            }
        }
        ours.sort_by(|(a, _), (b, _)| (&a.meta.creation_timestamp, &a.key).cmp(&(&b.meta.creation_timestamp, &b.key)));
        let mut taken: BTreeMap<Ipv4Addr, Key> = BTreeMap::new();
        for (object, service) in &ours {
            for address in addresses(service) {
                taken.entry(address).or_insert_with(|| object.key.clone());
            }
        }
        let mut actions = Vec::new();
        for (object, service) in &ours {
            if object.meta.deletion_timestamp.is_none() {
                self.serve(object, service, &mut taken, &mut actions);
            }
        }
        Ok(actions)
    }
}

impl LoadBalancerController {
    fn serve(&self, object: &Object, service: &Value, taken: &mut BTreeMap<Ipv4Addr, Key>, actions: &mut Vec<Action>) {
        let held = addresses(service);
        let others: BTreeSet<Ipv4Addr> =
            taken.iter().filter(|(_, holder)| **holder != object.key).map(|(address, _)| *address).collect();
        let wanted = service["spec"]["loadBalancerIP"].as_str().filter(|wanted| !wanted.is_empty());
        let chosen = match wanted {
            Some(wanted) => self.wanted(wanted, &others),
            None => self.pool.choose(&held, &others).map_err(|error| error.to_string()),
        };
        let key = object.key.clone();
        match chosen {
            Ok(address) if held == [address] => {}
            Ok(address) => {
                taken.insert(address, key.clone());
                let status = json!({"loadBalancer": {"ingress": [{"ip": address.to_string(), "ipMode": "VIP"}]}});
                actions.push(Action::UpdateStatus { key, status });
                actions.push(event(object, false, "IPAllocated", format!("Assigned IP {address}")));
            }
            Err(message) => {
                if !held.is_empty() {
                    actions.push(Action::UpdateStatus { key, status: json!({"loadBalancer": null}) });
                }
                actions.push(event(object, true, "AllocationFailed", message));
            }
        }
    }
}

impl LoadBalancerController {
    fn wanted(&self, wanted: &str, taken: &BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, String> {
        let address: Ipv4Addr =
            wanted.parse().map_err(|_| format!("spec.loadBalancerIP {wanted:?} is no IPv4 address"))?;
        if !self.pool.contains(address) {
            return Err(format!("spec.loadBalancerIP {address} is not in the pool {}", self.pool));
        }
        if taken.contains(&address) {
            return Err(format!("spec.loadBalancerIP {address} is taken by another Service"));
        }
        Ok(address)
    }
}

fn event(object: &Object, warning: bool, reason: &'static str, message: String) -> Action {
    let kind = if warning { EventType::Warning } else { EventType::Normal };
    Action::Event { about: About::from(object), kind, reason, message }
}

fn is_ours(service: &Value) -> bool {
    let class = service["spec"]["loadBalancerClass"].as_str();
    service["spec"]["type"] == "LoadBalancer" && class.is_none_or(|class| class == CLASS)
}

fn addresses(service: &Value) -> Vec<Ipv4Addr> {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    ingress.into_iter().flatten().filter_map(|entry| entry["ip"].as_str()?.parse().ok()).collect()
}

/// One key for all of them.
fn concerned(_: &World, change: &Change<'_>) -> Vec<Key> {
    let versions = [Some(change.object), change.previous].into_iter().flatten();
    let ours = versions.filter_map(|object| view::<Value>(object).ok()).any(|service| is_ours(&service));
    if ours { vec![Key::new(&SERVICES, "", "load-balancers")] } else { Vec::new() }
}
