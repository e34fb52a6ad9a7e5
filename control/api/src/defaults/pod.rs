//! Defaults of pods and of pod templates.

use serde_json::{Map, Value, json};

use crate::object::{child, fill, flag, items_mut, text};
use crate::quantity::Quantity;

const TERMINATION_GRACE_SECONDS: i64 = 30;
/// `rw-r--r--`.
const VOLUME_MODE: i32 = 0o644;
const TOKEN_EXPIRATION_SECONDS: i64 = 3600;

/// Every list of containers in a pod spec.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A pod: its spec, and what a template leaves open.
pub(super) fn pod(object: &mut Value) {
    let Some(pod_spec) = child(object, "spec") else { return };
    spec(pod_spec);
    fill(pod_spec, "enableServiceLinks", true);
    let host_network = flag(pod_spec, "/hostNetwork");
    for key in CONTAINER_LISTS {
        for container in items_mut(pod_spec, key) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
}

/// A pod spec, in a pod or in a template.
pub(super) fn spec(spec: &mut Value) {
    fill(spec, "restartPolicy", "Always");
    fill(spec, "terminationGracePeriodSeconds", TERMINATION_GRACE_SECONDS);
    fill(spec, "dnsPolicy", "ClusterFirst");
    child(spec, "securityContext");
    fill(spec, "schedulerName", "default-scheduler");
    service_account_twin(spec);
    for key in CONTAINER_LISTS {
        items_mut(spec, key).for_each(container);
    }
    items_mut(spec, "volumes").for_each(volume);
    if let Some(overhead) = spec.get_mut("overhead") {
        canonical_amounts(overhead);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`: either gives both.
fn service_account_twin(spec: &mut Value) {
    let (new, old) = (text(spec, "/serviceAccountName"), text(spec, "/serviceAccount"));
    let name = if new.is_empty() { old } else { new }.to_owned();
    if !name.is_empty() {
        spec["serviceAccountName"] = Value::String(name.clone());
        spec["serviceAccount"] = Value::String(name);
    }
}

fn container(container: &mut Value) {
    if !container.is_object() {
        return;
    }
    let policy = if image_is_latest(text(container, "/image")) { "Always" } else { "IfNotPresent" };
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    items_mut(container, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    items_mut(container, "env").filter_map(|env| env.get_mut("valueFrom")).for_each(field_ref);
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = container.get_mut(key).filter(|probe| probe.is_object()) {
            probe(found);
        }
    }
    for key in ["postStart", "preStop"] {
        if let Some(hook) = container.pointer_mut(&format!("/lifecycle/{key}")) {
            http_get(hook);
        }
    }
    if let Some(resources) = child(container, "resources") {
        for key in ["limits", "requests"] {
            if let Some(amounts) = resources.get_mut(key) {
                canonical_amounts(amounts);
            }
        }
    }
}

/// Whether an image without a pull policy is pulled always: tagged `latest`, or without tag and digest.
fn image_is_latest(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest && !image.is_empty(),
    }
}

fn probe(probe: &mut Value) {
    // Kubernetes cannot tell a zero from an absent number here.
    for (key, default) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe.get(key).is_some_and(|value| value == &json!(0)) {
            probe[key] = Value::Null;
        }
        fill(probe, key, default);
    }
    http_get(probe);
    let grpc = probe.get_mut("grpc").and_then(Value::as_object_mut);
    if let Some(grpc) = grpc.filter(|grpc| grpc.get("service").is_none_or(Value::is_null)) {
        grpc.insert("service".to_owned(), json!(""));
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = handler.get_mut("httpGet") {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
}

fn field_ref(source: &mut Value) {
    if let Some(reference) = source.get_mut("fieldRef") {
        fill(reference, "apiVersion", "v1");
    }
    if let Some(reference) = source.get_mut("resourceFieldRef").filter(|reference| reference.is_object()) {
        let divisor = reference.get("divisor").and_then(amount_text).and_then(|text| Quantity::parse(&text).ok());
        if let Some(divisor) = divisor {
            reference["divisor"] = Value::String(divisor.to_string());
        } else if reference.get("divisor").is_none_or(Value::is_null) {
            reference["divisor"] = json!("0");
        }
    }
}

fn volume(volume: &mut Value) {
    let Some(fields) = volume.as_object_mut() else { return };
    if fields.iter().all(|(key, value)| key == "name" || value.is_null()) {
        fields.insert("emptyDir".to_owned(), Value::Object(Map::new()));
    }
    for key in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(key).filter(|source| source.is_object()) {
            fill(source, "defaultMode", VOLUME_MODE);
            items_mut(source, "items").for_each(field_ref);
            items_mut(source, "sources").for_each(projection);
        }
    }
    if let Some(path) = volume.get_mut("hostPath").filter(|path| path.is_object()) {
        fill(path, "type", "");
    }
    if let Some(limit) = volume.pointer_mut("/emptyDir/sizeLimit") {
        canonical_amount(limit);
    }
}

fn projection(source: &mut Value) {
    if let Some(token) = source.get_mut("serviceAccountToken").filter(|token| token.is_object()) {
        fill(token, "expirationSeconds", TOKEN_EXPIRATION_SECONDS);
    }
    if let Some(api) = source.get_mut("downwardAPI") {
        items_mut(api, "items").for_each(field_ref);
    }
}

/// A request that is not stated is the limit.
fn requests_from_limits(container: &mut Value) {
    let limits = container.pointer("/resources/limits").and_then(Value::as_object).cloned();
    let Some(limits) = limits.filter(|limits| !limits.is_empty()) else { return };
    let Some(resources) = child(container, "resources") else { return };
    let Some(requests) = child(resources, "requests") else { return };
    for (name, amount) in limits {
        fill(requests, &name, amount);
    }
}

/// On the host's network a container's port is the host's port.
fn host_ports(container: &mut Value) {
    for port in items_mut(container, "ports") {
        let number = port.get("containerPort").cloned().unwrap_or(Value::Null);
        if port.get("hostPort").is_none_or(|host| host.is_null() || host == &json!(0)) {
            port["hostPort"] = number;
        }
    }
}

/// Quantities may come as numbers.
fn amount_text(amount: &Value) -> Option<String> {
    match amount {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn canonical_amount(amount: &mut Value) {
    let parsed = amount_text(amount).and_then(|text| Quantity::parse(&text).ok());
    if let Some(quantity) = parsed {
        *amount = Value::String(quantity.round_up_to_milli().to_string());
    }
}

/// Rewrites each quantity of a resource list in its canonical form; what cannot be read stays for validation.
pub(super) fn canonical_amounts(amounts: &mut Value) {
    if let Some(amounts) = amounts.as_object_mut() {
        amounts.values_mut().for_each(canonical_amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_pod_gets_every_default() {
        let mut object = json!({"spec": {"containers": [{"name": "a", "image": "nginx"}]}});
        pod(&mut object);
        let wanted = json!({"spec": {
            "containers": [{
                "name": "a", "image": "nginx", "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {},
            }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true,
        }});
        assert_eq!(object, wanted);
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1", false),
            ("host:5000/nginx", true),
            ("host:5000/a/nginx:1", false),
            ("nginx@sha256:00", false),
            ("nginx:latest@sha256:00", true),
        ] {
            assert_eq!(image_is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn requests_come_from_limits_in_canonical_form() {
        let mut object = json!({"spec": {"containers": [
            {"name": "a", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": "0.1"}}},
        ]}});
        pod(&mut object);
        let wanted = json!({
            "limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"},
        });
        assert_eq!(object["spec"]["containers"][0]["resources"], wanted);
    }

    #[test]
    fn volumes_probes_and_references_are_completed() {
        let mut object = json!({"spec": {
            "hostNetwork": true,
            "containers": [{
                "name": "a", "image": "a:1",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
            }],
            "volumes": [
                {"name": "a"},
                {"name": "b", "configMap": {"name": "c"}},
                {"name": "c", "hostPath": {"path": "/x"}},
                {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            ],
        }});
        pod(&mut object);
        let container = &object["spec"]["containers"][0];
        assert_eq!(container["ports"][0], json!({"containerPort": 80, "protocol": "TCP", "hostPort": 80}));
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
        let probe = json!({
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
        });
        assert_eq!(container["readinessProbe"], probe);
        let volumes = json!([
            {"name": "a", "emptyDir": {}},
            {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
            {"name": "c", "hostPath": {"path": "/x", "type": ""}},
            {"name": "d", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}},
            ]}},
        ]);
        assert_eq!(object["spec"]["volumes"], volumes);
    }
}
