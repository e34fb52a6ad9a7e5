//! Which addresses are to be announced, and which nodes could serve each. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use control_api::view::core::Service;
use control_api::view::discovery::EndpointSlice;

/// Namespace and name.
pub type Key = (String, String);

/// Kubernetes' label of the Service that a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The class of load balancers that are ours; Services without a class are too.
pub const CLASS: &str = "bramble.dev/lan";

/// One Service with addresses on the LAN.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Balanced {
    addresses: BTreeSet<Ipv4Addr>,
    /// Only nodes with an endpoint of the Service can serve it.
    local: bool,
}

#[derive(Debug, Default)]
pub struct Model {
    services: BTreeMap<Key, Balanced>,
    /// By Service, then by slice: nodes with an endpoint that takes connections.
    slices: HashMap<Key, BTreeMap<String, BTreeSet<String>>>,
    owners: HashMap<Key, Key>,
}

impl Model {
    /// Whether anything changed.
    pub fn put_service(&mut self, service: &Service) -> bool {
        let key = key(&service.metadata);
        match balanced(service) {
            Some(balanced) => self.services.insert(key, balanced.clone()) != Some(balanced),
            None => self.services.remove(&key).is_some(),
        }
    }

    pub fn remove_service(&mut self, namespace: &str, name: &str) -> bool {
        self.services.remove(&(namespace.to_owned(), name.to_owned())).is_some()
    }

    pub fn put_slice(&mut self, slice: &EndpointSlice) {
        let (namespace, name) = key(&slice.metadata);
        self.remove_slice(&namespace, &name);
        let labels = slice.metadata.labels.as_ref();
        let Some(service) = labels.and_then(|labels| labels.get(SERVICE_LABEL)) else { return };
        let ready = |endpoint: &&control_api::view::discovery::Endpoint| {
            endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
        };
        let nodes = slice.endpoints.iter().filter(ready).filter_map(|endpoint| endpoint.node_name.clone()).collect();
        let owner = (namespace.clone(), service.clone());
        self.owners.insert((namespace, name.clone()), owner.clone());
        self.slices.entry(owner).or_default().insert(name, nodes);
    }

    pub fn remove_slice(&mut self, namespace: &str, name: &str) {
        let Some(owner) = self.owners.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        if let Some(slices) = self.slices.get_mut(&owner) {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(&owner);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Whether `node` could serve `address`: with the Local policy only where an endpoint is, else anywhere.
    pub fn can_serve(&self, address: Ipv4Addr, node: &str) -> bool {
        let mut of_address = self.services.iter().filter(|(_, balanced)| balanced.addresses.contains(&address));
        of_address.any(|(key, balanced)| {
            let slices = self.slices.get(key);
            !balanced.local || slices.into_iter().flat_map(BTreeMap::values).any(|nodes| nodes.contains(node))
        })
    }

    /// All addresses.
    pub fn all(&self) -> BTreeSet<Ipv4Addr> {
        self.services.values().flat_map(|balanced| balanced.addresses.iter().copied()).collect()
    }
}

fn key(meta: &control_api::view::meta::ObjectMeta) -> Key {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn balanced(service: &Service) -> Option<Balanced> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() != Some("LoadBalancer") || spec.load_balancer_class.as_deref().is_some_and(|c| c != CLASS)
    {
        return None;
    }
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    let ours = ingress.iter().filter(|entry| entry.ip_mode.as_deref() != Some("Proxy"));
    let addresses: BTreeSet<Ipv4Addr> = ours.filter_map(|entry| entry.ip.as_deref()?.parse().ok()).collect();
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    (!addresses.is_empty()).then_some(Balanced { addresses, local })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(policy: &str, address: &str) -> Service {
        let text = format!(
            r#"{{"metadata":{{"namespace":"default","name":"web"}},
                "spec":{{"type":"LoadBalancer","externalTrafficPolicy":"{policy}"}},
                "status":{{"loadBalancer":{{"ingress":[{{"ip":"{address}","ipMode":"VIP"}}]}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn slice(node: &str, ready: bool) -> EndpointSlice {
        let text = format!(
            r#"{{"metadata":{{"namespace":"default","name":"web-1","labels":{{"kubernetes.io/service-name":"web"}}}},
                "addressType":"IPv4","endpoints":[{{"addresses":["10.42.0.2"],"nodeName":"{node}","conditions":{{"ready":{ready}}}}}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_local_policy_wants_an_endpoint_on_the_node() {
        let address = Ipv4Addr::new(192, 168, 1, 240);
        let mut model = Model::default();
        assert!(model.put_service(&service("Local", "192.168.1.240")));
        assert!(!model.put_service(&service("Local", "192.168.1.240")), "nothing changed");
        assert!(!model.can_serve(address, "a"));
        model.put_slice(&slice("a", true));
        assert!(model.can_serve(address, "a") && !model.can_serve(address, "b"));
        model.put_slice(&slice("a", false));
        assert!(!model.can_serve(address, "a"));
        model.put_service(&service("Cluster", "192.168.1.240"));
        assert!(model.can_serve(address, "b"));
        model.remove_service("default", "web");
        assert!(model.is_empty() && !model.can_serve(address, "b"));
    }
}
