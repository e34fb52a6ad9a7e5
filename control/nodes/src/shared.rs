//! What every node is told, whatever runs on it: Services and where they lead, policies, namespaces,
//! volumes (a node finds among them those whose data it is to remove), and in short forms
//! the other nodes and, where there are policies, every pod's labels and address. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use control_api::resource::{ENDPOINT_SLICES, NAMESPACES, NETWORK_POLICIES, NODES, PERSISTENT_VOLUMES, SERVICES};
use control_api::{Resource, Scope};
use control_store::{Key, Object};
use serde_json::{Map, Value, json};

use crate::desired::{Effect, Reference};

/// Resources whose objects go to every node as they are.
pub static WHOLE: [&Resource; 5] = [&SERVICES, &ENDPOINT_SLICES, &NETWORK_POLICIES, &NAMESPACES, &PERSISTENT_VOLUMES];

/// A pod as other nodes' policies see it. Never stored, so it is in no table of kinds.
static PEERS: Resource = Resource {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "peers",
    singular: "peer",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
};

/// The short forms as they were last told.
#[derive(Default)]
pub struct Shared {
    nodes: HashMap<Arc<str>, Arc<Object>>,
    peers: HashMap<(Arc<str>, Arc<str>), Arc<Object>>,
    /// Without policies nobody needs to know of other nodes' pods.
    with_peers: bool,
}

impl Shared {
    /// The short forms of everything there is.
    pub fn new(nodes: &[Arc<Object>], pods: &[Arc<Object>], policies: usize) -> Self {
        let mut shared = Self { with_peers: policies > 0, ..Self::default() };
        for node in nodes {
            shared.node(node, false);
        }
        for pod in pods {
            shared.pod(pod, false);
        }
        shared
    }

    /// What changes for every node when a Node does.
    pub fn node(&mut self, object: &Arc<Object>, removed: bool) -> Option<Effect> {
        let name = object.key.name.clone();
        if removed {
            return self.nodes.remove(&name).map(|node| Effect::Drop(Reference::of(&node)));
        }
        let short = short_form(object, &NODES, node_form(object)?);
        put(&mut self.nodes, name, short)
    }

    /// What changes for every node when a pod does.
    pub fn pod(&mut self, object: &Arc<Object>, removed: bool) -> Option<Effect> {
        if !self.with_peers {
            return None;
        }
        let key = (object.key.namespace.clone(), object.key.name.clone());
        let form = if removed { None } else { peer_form(object) };
        match form {
            Some(form) => put(&mut self.peers, key, short_form(object, &PEERS, form)),
            None => self.peers.remove(&key).map(|peer| Effect::Drop(Reference::of(&peer))),
        }
    }

    /// The number of policies is now this: with the first, peers are told, and with the last forgotten.
    pub fn policies(&mut self, count: usize, pods: impl FnOnce() -> Vec<Arc<Object>>) -> Vec<Effect> {
        if self.with_peers == (count > 0) {
            return Vec::new();
        }
        self.with_peers = count > 0;
        if self.with_peers {
            pods().iter().filter_map(|pod| self.pod(pod, false)).collect()
        } else {
            self.peers.drain().map(|(_, peer)| Effect::Drop(Reference::of(&peer))).collect()
        }
    }

    /// All short forms.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.nodes.values().chain(self.peers.values())
    }
}

fn put<K: std::hash::Hash + Eq>(forms: &mut HashMap<K, Arc<Object>>, key: K, short: Arc<Object>) -> Option<Effect> {
    if forms.get(&key).is_some_and(|known| known.json == short.json) {
        return None;
    }
    forms.insert(key, short.clone());
    Some(Effect::Put(short))
}

fn short_form(object: &Object, resource: &'static Resource, form: Value) -> Arc<Object> {
    let key = Key { resource, namespace: object.key.namespace.clone(), name: object.key.name.clone() };
    let json = form.to_string().into();
    Arc::new(Object { key, revision: object.revision, json, meta: object.meta.clone() })
}

fn pick(from: &Value, fields: &[&str]) -> Value {
    let picked = fields.iter().filter_map(|field| Some(((*field).to_owned(), from.get(*field)?.clone())));
    Value::Object(picked.collect::<Map<_, _>>())
}

/// Where a node is, which pods it has, and whether it is Ready: what routes, announcers and people need.
fn node_form(object: &Object) -> Option<Value> {
    let node: Value = serde_json::from_slice(&object.json).ok()?;
    let ready = node["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Ready");
    let conditions: Vec<Value> = ready.map(|ready| pick(ready, &["type", "status"])).into_iter().collect();
    Some(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": pick(&node["metadata"], &["name", "uid", "labels", "annotations"]),
        "spec": pick(&node["spec"], &["podCIDR", "unschedulable"]),
        "status": {"addresses": node["status"]["addresses"], "conditions": conditions},
    }))
}

/// A pod with an address of its own that still runs; others match no policy's peers.
fn peer_form(object: &Object) -> Option<Value> {
    let pod: Value = serde_json::from_slice(&object.json).ok()?;
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let ended = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
    if ended || spec["hostNetwork"] == true || status["podIP"].as_str().is_none_or(str::is_empty) {
        return None;
    }
    let named = |container: &Value| {
        let ports = container["ports"].as_array().into_iter().flatten().filter(|port| port["name"].is_string());
        let ports: Vec<Value> = ports.map(|port| pick(port, &["name", "containerPort", "protocol"])).collect();
        (!ports.is_empty()).then(|| json!({"name": container["name"], "ports": ports}))
    };
    let containers: Vec<Value> = spec["containers"].as_array().into_iter().flatten().filter_map(named).collect();
    Some(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": pick(&pod["metadata"], &["name", "namespace", "uid", "labels"]),
        "spec": {"containers": containers},
        "status": pick(status, &["podIP"]),
    }))
}

#[cfg(test)]
mod tests {
    use control_api::resource::PODS;

    use super::*;

    fn object(resource: &'static Resource, name: &str, json: &Value) -> Arc<Object> {
        let key = Key::new(resource, if resource.namespaced() { "default" } else { "" }, name);
        let meta = control_api::Meta { name: name.to_owned(), ..control_api::Meta::default() };
        Arc::new(Object { key, revision: 7, json: json.to_string().into(), meta })
    }

    fn pod(address: &str) -> Arc<Object> {
        let json = json!({"metadata": {"name": "a", "namespace": "default", "labels": {"x": "y"}}, "spec": {"containers": [
            {"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}]},
        ]}, "status": {"podIP": address, "phase": "Running"}});
        object(&PODS, "a", &json)
    }

    #[test]
    fn a_nodes_heartbeat_is_no_news() {
        let node = |heartbeat: &str, ready: &str| {
            let condition = json!({"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat});
            let status = json!({"addresses": [], "conditions": [condition], "images": ["much"]});
            object(
                &NODES,
                "n",
                &json!({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.42.0.0/24"}, "status": status}),
            )
        };
        let mut shared = Shared::default();
        assert!(matches!(shared.node(&node("1", "True"), false), Some(Effect::Put(_))));
        assert!(shared.node(&node("2", "True"), false).is_none());
        assert!(matches!(shared.node(&node("2", "False"), false), Some(Effect::Put(_))));
        assert!(matches!(shared.node(&node("2", "False"), true), Some(Effect::Drop(_))));
    }

    #[test]
    fn pods_are_told_to_all_only_while_there_are_policies() {
        let mut shared = Shared::default();
        assert!(shared.pod(&pod("10.42.0.2"), false).is_none());
        let told = shared.policies(1, || vec![pod("10.42.0.2")]);
        let [Effect::Put(peer)] = told.as_slice() else { panic!("{told:?}") };
        let peer: Value = serde_json::from_slice(&peer.json).unwrap();
        assert_eq!(peer["spec"]["containers"][0]["ports"].as_array().map(Vec::len), Some(1));
        assert!(matches!(shared.pod(&pod(""), false), Some(Effect::Drop(reference)) if reference.plural == "peers"));
        shared.pod(&pod("10.42.0.3"), false);
        assert_eq!(shared.policies(0, Vec::new).len(), 1);
    }
}
