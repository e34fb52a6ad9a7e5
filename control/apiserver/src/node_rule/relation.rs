//! What a node's pods name. Asked seldom, and so looked for in the pods themselves: a node of this cluster gets its
//! objects over its session, and only programs that use its certificate come this way.

use control_api::resource::{PERSISTENT_VOLUME_CLAIMS, PODS};
use control_store::{Key, Object, Page, Store};
use serde_json::Value;

/// What may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Secret,
    ConfigMap,
    Claim,
    Volume,
    Account,
}

/// Whether the pod is bound to the node.
pub fn is_bound(store: &dyn Store, node: &str, namespace: &str, name: &str) -> bool {
    let pod = store.get(&Key::new(&PODS, namespace, name));
    pod.is_some_and(|pod| read(&pod)["spec"]["nodeName"] == node)
}

/// Whether a pod of the node names the object.
pub fn exists(store: &dyn Store, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
    let namespace = (kind != Kind::Volume).then_some(namespace);
    store.list(&PODS, namespace, &Page::default()).items.iter().any(|pod| {
        // Most pods are other nodes': they are passed over without being parsed.
        let mentions = pod.json.windows(node.len()).any(|window| window == node.as_bytes());
        let value = if mentions { read(pod) } else { return false };
        value["spec"]["nodeName"] == node && names(store, &value, kind, name)
    })
}

fn read(object: &Object) -> Value {
    serde_json::from_slice(&object.json).unwrap_or_default()
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[field].as_array().into_iter().flatten()
}

fn names(store: &dyn Store, pod: &Value, kind: Kind, name: &str) -> bool {
    let spec = &pod["spec"];
    match kind {
        Kind::Account => spec["serviceAccountName"] == name,
        Kind::Claim => claims(pod).any(|claim| claim == name),
        Kind::Volume => {
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
            claims(pod).any(|claim| {
                let claim = store.get(&Key::new(&PERSISTENT_VOLUME_CLAIMS, namespace, claim));
                claim.is_some_and(|claim| read(&claim)["spec"]["volumeName"] == name)
            })
        }
        Kind::Secret => {
            items(spec, "imagePullSecrets").any(|secret| secret["name"] == name)
                || sources(spec)
                    .any(|source| source["secret"]["secretName"] == name || source["secret"]["name"] == name)
                || variables(spec).any(|from| from["secretKeyRef"]["name"] == name || from["secretRef"]["name"] == name)
        }
        Kind::ConfigMap => {
            sources(spec).any(|source| source["configMap"]["name"] == name)
                || variables(spec)
                    .any(|from| from["configMapKeyRef"]["name"] == name || from["configMapRef"]["name"] == name)
        }
    }
}

fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    items(&pod["spec"], "volumes").filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

/// Volumes and the parts of projected ones.
fn sources(spec: &Value) -> impl Iterator<Item = &Value> {
    items(spec, "volumes").chain(items(spec, "volumes").flat_map(|volume| items(&volume["projected"], "sources")))
}

/// Where containers' environments come from.
fn variables(spec: &Value) -> impl Iterator<Item = &Value> {
    let containers =
        ["containers", "initContainers", "ephemeralContainers"].into_iter().flat_map(|list| items(spec, list));
    containers.flat_map(|container| {
        items(container, "env").map(|variable| &variable["valueFrom"]).chain(items(container, "envFrom"))
    })
}
