//! The names by which the control plane and the nodes agree on `local-path` volumes: folders of a node that live as long
//! as their PersistentVolume.

use serde_json::Value;

use crate::object::{list, text};

/// Of the StorageClass, and of the volumes made for it.
pub const PROVISIONER: &str = "bramble.dev/local-path";
/// The StorageClass that is there from the start.
pub const CLASS: &str = "local-path";
/// Holds a volume that is deleted until its node has removed the data.
pub const FINALIZER: &str = "bramble.dev/local-path";
/// Who made a volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// The label by which a volume names its node.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Where volumes lie on a node with the usual data folder; another node keeps the last part under its own.
pub const ROOT: &str = "/var/lib/bramble/local-path";

/// Whether a PersistentVolume is one of ours.
pub fn is_ours(volume: &Value) -> bool {
    volume["metadata"]["annotations"][PROVISIONED_BY] == PROVISIONER
}

/// The hostname of the node that a volume of ours lies on.
pub fn hostname(volume: &Value) -> Option<&str> {
    let terms = list(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");
    let expressions = terms.iter().flat_map(|term| list(term, "/matchExpressions"));
    expressions.into_iter().find(|one| one["key"] == HOSTNAME).and_then(|one| one["values"][0].as_str())
}

/// Its folder's name under the node's root for such volumes.
pub fn folder(volume: &Value) -> Option<&str> {
    let path = text(volume, "/spec/hostPath/path");
    path.strip_prefix(ROOT)?.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'))
}

/// Whether the node has to remove the data: the volume is on its way out, nobody uses it, and its policy says so.
pub fn is_to_be_removed(volume: &Value) -> bool {
    let finalizers = list(volume, "/metadata/finalizers");
    is_ours(volume)
        && volume["metadata"]["deletionTimestamp"].is_string()
        && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        && volume["status"]["phase"] != "Bound"
        && finalizers.len() == 1
        && finalizers[0] == FINALIZER
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_names_its_node_and_its_folder_and_goes_only_when_it_is_free() {
        let expression = json!({"key": HOSTNAME, "operator": "In", "values": ["pi"]});
        let mut volume = json!({
            "metadata": {"annotations": {PROVISIONED_BY: PROVISIONER}, "deletionTimestamp": "t", "finalizers": [FINALIZER]},
            "spec": {
                "hostPath": {"path": format!("{ROOT}/pv_default_data")}, "persistentVolumeReclaimPolicy": "Delete",
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
            },
            "status": {"phase": "Released"},
        });
        assert_eq!((hostname(&volume), folder(&volume)), (Some("pi"), Some("pv_default_data")));
        assert!(is_to_be_removed(&volume));
        volume["metadata"]["finalizers"] = json!(["kubernetes.io/pv-protection", FINALIZER]);
        assert!(!is_to_be_removed(&volume));
        volume["spec"]["hostPath"]["path"] = json!("/etc/passwd");
        assert_eq!(folder(&volume), None);
        volume["spec"]["hostPath"]["path"] = json!(format!("{ROOT}/a/../b"));
        assert_eq!(folder(&volume), None);
    }
}
