//! PersistentVolumes, claims and classes.

use super::*;
use crate::resource::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES};

fn volume() -> Value {
    json!({"metadata": {"name": "a"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
    }})
}

fn claim() -> Value {
    json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }})
}

#[test]
fn volumes_are_refused_in_kubernetes_words() {
    check(
        &PERSISTENT_VOLUMES,
        volume,
        &[
            ("/spec/capacity", json!({}), "spec.capacity: Required value"),
            (
                "/spec/capacity/storage",
                json!("0"),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than",
            ),
            ("/spec/accessModes", json!([]), "spec.accessModes: Required value: at least 1 access mode is required"),
            ("/spec/accessModes", json!(["Any"]), "spec.accessModes: Unsupported value: \"Any\""),
            (
                "/spec/accessModes",
                json!(["ReadWriteOnce", "ReadWriteOncePod"]),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            ("/spec/hostPath", Value::Null, "spec: Required value: must specify a volume type"),
            ("/spec/nfs", json!({"path": "/x"}), "spec.nfs: Forbidden: may not specify more than 1 volume type"),
            (
                "/spec/persistentVolumeReclaimPolicy",
                json!("Recycle"),
                "spec.persistentVolumeReclaimPolicy: Unsupported",
            ),
            ("/spec/volumeMode", json!("Block"), "spec.volumeMode: Forbidden: raw block volumes are not supported yet"),
        ],
    );
    let mut local = volume();
    local["spec"]["hostPath"] = Value::Null;
    local["spec"]["local"] = json!({"path": "/x"});
    let found = complaints(&PERSISTENT_VOLUMES, local);
    assert_eq!(found, ["spec.nodeAffinity: Required value: Local volume requires node affinity"]);
    let (old, mut new) = (volume(), volume());
    new["spec"]["hostPath"]["path"] = json!("/y");
    let wrong: Vec<String> = update(&PERSISTENT_VOLUMES, &new, &old).iter().map(ToString::to_string).collect();
    assert!(wrong.iter().any(|text| text.contains("spec.persistentvolumesource is immutable")), "{wrong:#?}");
}

#[test]
fn a_claim_is_bound_once_and_grows_only() {
    check(
        &PERSISTENT_VOLUME_CLAIMS,
        claim,
        &[
            ("/spec/resources", json!({}), "spec.resources[storage]: Required value"),
            ("/spec/accessModes", json!([]), "spec.accessModes: Required value"),
            ("/spec/storageClassName", json!("A"), "spec.storageClassName: Invalid value: \"A\""),
            ("/spec/storageClassName", json!(""), ""),
            ("/spec/dataSource", json!({"kind": "x", "name": "y"}), "spec.dataSource: Forbidden: volumes that begin"),
        ],
    );
    let wrong = |old: &Value, pointer: &str, value: Value| {
        let mut new = old.clone();
        set(&mut new, pointer, value);
        update(&PERSISTENT_VOLUME_CLAIMS, &new, old).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut old = claim();
    assert_eq!(wrong(&old, "/spec/volumeName", json!("v")), Vec::<String>::new());
    assert_eq!(wrong(&old, "/spec/storageClassName", json!("c")), Vec::<String>::new());
    assert_eq!(wrong(&old, "/spec/accessModes", json!(["ReadWriteMany"])).len(), 1);
    assert_eq!(wrong(&old, "/spec/resources/requests/storage", json!("2Gi")).len(), 1);
    old["spec"]["volumeName"] = json!("v");
    old["status"] = json!({"phase": "Bound"});
    assert_eq!(wrong(&old, "/spec/volumeName", json!("w")).len(), 1);
    assert_eq!(wrong(&old, "/spec/resources/requests/storage", json!("2Gi")), Vec::<String>::new());
    let smaller = wrong(&old, "/spec/resources/requests/storage", json!("1Mi"));
    assert_eq!(smaller, ["spec.resources.requests.storage: Forbidden: field can not be less than previous value"]);
}

#[test]
fn a_class_stays_as_it_is() {
    let class = || json!({"metadata": {"name": "a"}, "provisioner": "bramble.io/local-path"});
    check(
        &STORAGE_CLASSES,
        class,
        &[
            ("/provisioner", json!(""), "provisioner: Required value"),
            ("/provisioner", json!("a b"), "provisioner: Invalid value: \"a b\""),
            ("/reclaimPolicy", json!("Recycle"), "reclaimPolicy: Unsupported value: \"Recycle\""),
            ("/volumeBindingMode", json!("Later"), "volumeBindingMode: Unsupported value: \"Later\""),
        ],
    );
    let (mut old, mut new) = (class(), class());
    new["provisioner"] = json!("b");
    for object in [&mut old, &mut new] {
        defaults::apply(&STORAGE_CLASSES, object);
    }
    let wrong: Vec<String> = update(&STORAGE_CLASSES, &new, &old).iter().map(ToString::to_string).collect();
    assert_eq!(wrong, ["provisioner: Forbidden: updates to provisioner are forbidden."]);
}
