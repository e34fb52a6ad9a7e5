//! What Kubernetes' ServiceAccount admission gives a new pod: its account's pull secrets, and the volume with the
//! account's token, the cluster's CA and the namespace.

use control_api::Status;
use control_api::resource::{PODS, SERVICE_ACCOUNTS};
use control_store::{Key, Store};
use serde_json::{Value, json};

use crate::clock;
use crate::negotiate::parse;

const VOLUME_PREFIX: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ROOT_CA: &str = "kube-root-ca.crt";
/// A token that every pod gets; the odd number tells it from those that were asked for on purpose.
const TOKEN_SECONDS: u64 = 3607;
const MODE: u32 = 0o644;

/// Applies the pod's account, which must be there. Changes nothing the second time.
pub fn apply(store: &dyn Store, namespace: &str, name: &str, pod: &mut Value) -> Result<(), Status> {
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let Some(found) = store.get(&Key::new(&SERVICE_ACCOUNTS, namespace, account)) else {
        let why =
            format!("error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found");
        return Err(Status::forbidden(&PODS, name, &why));
    };
    let account = parse(&found)?;
    pull_secrets(pod, &account);
    if automounts(pod, &account) {
        mount_token(pod);
    }
    Ok(())
}

fn pull_secrets(pod: &mut Value, account: &Value) {
    let own = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|list| !list.is_empty());
    let given = account["imagePullSecrets"].as_array().filter(|list| !list.is_empty());
    if let (false, Some(given)) = (own, given) {
        pod["spec"]["imagePullSecrets"] = json!(given);
    }
}

/// The pod says, else the account, else it is mounted.
fn automounts(pod: &Value, account: &Value) -> bool {
    let own = pod["spec"]["automountServiceAccountToken"].as_bool();
    own.or(account["automountServiceAccountToken"].as_bool()).unwrap_or(true)
}

fn mount_token(pod: &mut Value) {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let known = volumes.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with(VOLUME_PREFIX));
    let known = known.map(str::to_owned);
    let volume = known.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", clock::name_ending()));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            used |= mount_into(container, &volume);
        }
    }
    if !used || known.is_some() {
        return;
    }
    let sources = json!([
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]);
    let volume = json!({"name": volume, "projected": {"defaultMode": MODE, "sources": sources}});
    match pod["spec"].get_mut("volumes").and_then(Value::as_array_mut) {
        Some(volumes) => volumes.push(volume),
        None => pod["spec"]["volumes"] = json!([volume]),
    }
}

/// Whether the container needed it: something of its own in that place wins.
fn mount_into(container: &mut Value, volume: &str) -> bool {
    if !container.is_object() {
        return false;
    }
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    if mounts.clone().any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    match container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
        Some(mounts) => mounts.push(mount),
        None => container["volumeMounts"] = json!([mount]),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_sees_the_token_and_a_second_time_changes_nothing() {
        let mut pod = json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}]}],
        }});
        mount_token(&mut pod);
        let spec = &pod["spec"];
        let name = spec["volumes"][0]["name"].as_str().expect("has a name");
        assert!(name.starts_with(VOLUME_PREFIX) && name.len() == VOLUME_PREFIX.len() + 5);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], name);
        assert_eq!(spec["initContainers"][0]["volumeMounts"][0]["name"], name);
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().map(Vec::len), Some(1));
        let once = pod.clone();
        mount_token(&mut pod);
        assert_eq!(pod, once);
    }

    #[test]
    fn the_pod_decides_before_its_account() {
        let says = |value: Option<bool>| match value {
            Some(value) => json!({"spec": {"automountServiceAccountToken": value}}),
            None => json!({"spec": {}}),
        };
        let account = json!({"automountServiceAccountToken": false});
        assert!(automounts(&says(Some(true)), &account));
        assert!(!automounts(&says(None), &account));
        assert!(automounts(&says(None), &json!({})));
        assert!(!automounts(&says(Some(false)), &json!({})));
    }
}
