//! A pod from a file of the node's: read, filled in, checked, and named as the kubelet names static pods. Pure.

use agent_pods::admission::SOURCE;
use control_api::resource::PODS;
use control_api::view::View;
use control_api::view::core::Pod;
use control_api::{decode, defaults, strategy, validate};
use serde_json::{Map, Value, json};

pub const HASH: &str = "kubernetes.io/config.hash";
/// On the API's copy of a static pod, which nobody runs.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
/// What a static pod cannot have: it starts before anybody could be asked for it.
const OBJECTS: [&str; 8] = [
    "configMap",
    "configMapKeyRef",
    "configMapRef",
    "persistentVolumeClaim",
    "secret",
    "secretKeyRef",
    "secretRef",
    "serviceAccountToken",
];
const DEPTH_MAX: usize = 64;

/// A pod that a file describes, and what the API is to show of it.
#[derive(Debug, Clone)]
pub struct StaticPod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub pod: Pod,
    pub mirror: Value,
}

/// `file` is part of the pod's identity: the same text in two files is two pods, of which one name is taken.
pub fn parse(text: &[u8], file: &str, node: &str) -> Result<StaticPod, String> {
    let decoded = decode::decode_yaml(text).map_err(|status| status.message)?;
    let mut object = decoded.value;
    if (object["apiVersion"].as_str(), object["kind"].as_str()) != (Some("v1"), Some("Pod")) {
        return Err("it is no v1 Pod".to_owned());
    }
    // A node of another name has other pods.
    let uid = uid(&[node.as_bytes(), file.as_bytes(), object.to_string().as_bytes()]);
    name(&mut object, node, &uid)?;
    if let Some(found) = reference(&object["spec"], 0) {
        return Err(format!("a static pod may not refer to objects of the API: it has {found}"));
    }
    defaults::apply(&PODS, &mut object);
    strategy::prepare_create(&PODS, &mut object);
    tolerate(&mut object);
    if let Some(wrong) = validate::create(&PODS, &object).first() {
        return Err(wrong.to_string());
    }
    object["metadata"]["annotations"][HASH] = json!(uid);
    object["metadata"]["annotations"][SOURCE] = json!("file");
    let pod = Pod::parse(object.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text("namespace"), text("name"));
    object["metadata"]["annotations"][MIRROR] = json!(uid);
    Ok(StaticPod { namespace, name, uid, pod, mirror: object })
}

fn name(object: &mut Value, node: &str, uid: &str) -> Result<(), String> {
    let metadata = object["metadata"].as_object().cloned().unwrap_or_default();
    let base = metadata.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let base = base.ok_or("it has no metadata.name")?;
    let mut named = Map::new();
    named.insert("name".to_owned(), json!(format!("{base}-{node}")));
    let namespace = metadata.get("namespace").and_then(Value::as_str).unwrap_or("default");
    named.insert("namespace".to_owned(), json!(namespace));
    named.insert("uid".to_owned(), json!(uid));
    for key in ["labels", "annotations"] {
        named.insert(key.to_owned(), metadata.get(key).filter(|map| map.is_object()).cloned().unwrap_or(json!({})));
    }
    object["metadata"] = named.into();
    if !object["spec"].is_object() {
        return Err("it has no spec".to_owned());
    }
    object["spec"]["nodeName"] = json!(node);
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    Ok(())
}

/// No taint puts it off its node.
fn tolerate(object: &mut Value) {
    let all = json!({"operator": "Exists", "effect": "NoExecute"});
    let mut tolerations = object["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    if !tolerations.contains(&all) {
        tolerations.push(all);
    }
    object["spec"]["tolerations"] = tolerations.into();
}

fn reference(value: &Value, depth: usize) -> Option<String> {
    if depth > DEPTH_MAX {
        return Some("too many levels".to_owned());
    }
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, inner)| {
            let used = OBJECTS.contains(&key.as_str()) && !inner.is_null();
            let account = matches!(key.as_str(), "serviceAccountName" | "serviceAccount") && inner != "";
            let pulled = key == "imagePullSecrets" && inner.as_array().is_some_and(|list| !list.is_empty());
            if used || account || pulled { Some(key.clone()) } else { reference(inner, depth + 1) }
        }),
        Value::Array(items) => items.iter().find_map(|item| reference(item, depth + 1)),
        _ => None,
    }
}

/// The same in every version and on every start: running containers are found by it. It keeps nothing secret.
fn uid(parts: &[&[u8]]) -> String {
    const BASES: [u64; 2] = [0xcbf2_9ce4_8422_2325, 0x6c62_272e_07bb_0142];
    let hash = |base: u64| {
        let bytes = parts.iter().flat_map(|part| part.iter().chain(&[0]));
        let sum = bytes.fold(base, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        // FNV's last bytes hardly reach its upper half.
        let mixed = (sum ^ (sum >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    };
    let [a, b] = BASES.map(hash);
    let text = format!("{a:016x}{b:016x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {a: b}}, spec: {containers: [{name: c, image: 'x:1'}]}}";

    #[test]
    fn a_file_becomes_a_pod_of_its_node_with_a_lasting_identity() {
        let one = parse(POD.as_bytes(), "web.yaml", "pi").unwrap();
        assert_eq!((one.namespace.as_str(), one.name.as_str(), one.uid.len()), ("default", "web-pi", 36));
        assert_eq!(one.mirror["metadata"]["annotations"][MIRROR], one.uid);
        assert_eq!(one.mirror["spec"]["nodeName"], "pi");
        assert!(!one.pod.metadata.annotations.as_ref().unwrap().contains_key(MIRROR));
        assert_eq!(parse(POD.as_bytes(), "web.yaml", "pi").unwrap().uid, one.uid);
        assert_ne!(parse(POD.replace("x:1", "x:2").as_bytes(), "web.yaml", "pi").unwrap().uid, one.uid);
        assert_ne!(parse(POD.as_bytes(), "other.yaml", "pi").unwrap().uid, one.uid);
    }

    #[test]
    fn what_cannot_start_without_a_server_is_refused() {
        let of = |from: &str, to: &str| parse(POD.replace(from, to).as_bytes(), "f", "pi").unwrap_err();
        assert!(of("spec: {", "spec: {volumes: [{name: v, secret: {secretName: s}}], ").ends_with("it has secret"));
        assert!(of("spec: {", "spec: {serviceAccountName: s, ").ends_with("it has serviceAccountName"));
        assert!(of("kind: Pod", "kind: Job").contains("no v1 Pod"));
        assert!(of("name: c,", "name: C,").contains("spec.containers[0].name"));
        assert!(of("name: web,", "").contains("no metadata.name"));
        assert!(parse(b"{", "f", "pi").is_err());
    }
}
