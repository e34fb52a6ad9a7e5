//! Defaults of volumes, of claims on them and of their classes.

use serde_json::Value;

use crate::object::{child, fill};

use super::pod::canonical_amounts;

pub(super) fn volume(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill(spec, "volumeMode", "Filesystem");
    if let Some(capacity) = spec.get_mut("capacity") {
        canonical_amounts(capacity);
    }
    if let Some(path) = spec.get_mut("hostPath").filter(|path| path.is_object()) {
        fill(path, "type", "");
    }
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Pending");
    }
}

pub(super) fn claim(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "volumeMode", "Filesystem");
    for key in ["requests", "limits"] {
        if let Some(amounts) = spec.pointer_mut(&format!("/resources/{key}")) {
            canonical_amounts(amounts);
        }
    }
    if let Some(capacity) = object.pointer_mut("/status/capacity") {
        canonical_amounts(capacity);
    }
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Pending");
    }
}

pub(super) fn class(object: &mut Value) {
    fill(object, "reclaimPolicy", "Delete");
    fill(object, "volumeBindingMode", "Immediate");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn volumes_stay_and_classes_delete() {
        let mut object = json!({"spec": {"capacity": {"storage": "1024Mi"}, "hostPath": {"path": "/x"}}});
        volume(&mut object);
        let spec = json!({
            "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x", "type": ""},
            "persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem",
        });
        assert_eq!(object, json!({"spec": spec, "status": {"phase": "Pending"}}));
        let mut object = json!({"spec": {"resources": {"requests": {"storage": 1073741824}}}});
        claim(&mut object);
        assert_eq!(object["spec"]["resources"]["requests"]["storage"], "1073741824");
        let mut object = json!({"provisioner": "a"});
        class(&mut object);
        let wanted = json!({"provisioner": "a", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"});
        assert_eq!(object, wanted);
    }
}
