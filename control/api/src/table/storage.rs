//! PersistentVolumes, claims on them, and StorageClasses.

use serde_json::{Value, json};

use crate::object::{flag, get, list, text};

use super::age::age;
use super::{AGE, Column, NAME, Printer, or};

const CLASS_ANNOTATION: &str = "/metadata/annotations/volume.beta.kubernetes.io~1storage-class";
const DEFAULT_CLASS: &str = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
const OLD_DEFAULT_CLASS: &str = "/metadata/annotations/storageclass.beta.kubernetes.io~1is-default-class";

const CAPACITY: Column = Column::string("Capacity", "The size of the volume.");
const ACCESS_MODES: Column = Column::string("Access Modes", "The ways that the volume can be mounted.");
const STORAGE_CLASS: Column = Column::string("StorageClass", "The name of the StorageClass.");
const ATTRIBUTES_CLASS: Column = Column::string("VolumeAttributesClass", "The name of the VolumeAttributesClass.");
const VOLUME_MODE: Column = Column::wide("VolumeMode", "Whether the volume is a file system or a raw block device.");

pub(super) static VOLUME: Printer = Printer {
    columns: &[
        NAME,
        CAPACITY,
        ACCESS_MODES,
        Column::string("Reclaim Policy", "What happens to the volume once it is released."),
        Column::string("Status", "The phase of the volume."),
        Column::string("Claim", "The claim that the volume is bound to."),
        STORAGE_CLASS,
        ATTRIBUTES_CLASS,
        Column::string("Reason", "Why the volume is in its phase."),
        AGE,
        VOLUME_MODE,
    ],
    cells: |object, now| {
        let (namespace, claim) = (text(object, "/spec/claimRef/namespace"), text(object, "/spec/claimRef/name"));
        let claim = if claim.is_empty() { String::new() } else { format!("{namespace}/{claim}") };
        vec![
            json!(text(object, "/metadata/name")),
            json!(text(object, "/spec/capacity/storage")),
            json!(modes(list(object, "/spec/accessModes"))),
            json!(text(object, "/spec/persistentVolumeReclaimPolicy")),
            json!(phase(object)),
            json!(claim),
            json!(class_of(object)),
            or(text(object, "/spec/volumeAttributesClassName"), "<unset>"),
            json!(text(object, "/status/reason")),
            age(object, now),
            or(text(object, "/spec/volumeMode"), "<unset>"),
        ]
    },
};

pub(super) static CLAIM: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Status", "The phase of the claim."),
        Column::string("Volume", "The volume that the claim is bound to."),
        CAPACITY,
        ACCESS_MODES,
        STORAGE_CLASS,
        ATTRIBUTES_CLASS,
        AGE,
        VOLUME_MODE,
    ],
    cells: |object, now| {
        let volume = text(object, "/spec/volumeName");
        let (capacity, granted) = match volume {
            "" => ("", String::new()),
            _ => (text(object, "/status/capacity/storage"), modes(list(object, "/status/accessModes"))),
        };
        vec![
            json!(text(object, "/metadata/name")),
            json!(phase(object)),
            json!(volume),
            json!(capacity),
            json!(granted),
            json!(class_of(object)),
            or(text(object, "/spec/volumeAttributesClassName"), "<unset>"),
            age(object, now),
            or(text(object, "/spec/volumeMode"), "<unset>"),
        ]
    },
};

pub(super) static CLASS: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Provisioner", "Who makes volumes of the class."),
        Column::string("ReclaimPolicy", "What happens to a volume once it is released."),
        Column::string("VolumeBindingMode", "When volumes are made and bound."),
        Column::new("AllowVolumeExpansion", "boolean", "Whether volumes can grow."),
        AGE,
    ],
    cells: |object, now| {
        let default = [DEFAULT_CLASS, OLD_DEFAULT_CLASS].iter().any(|pointer| text(object, pointer) == "true");
        let mark = if default { " (default)" } else { "" };
        vec![
            json!(format!("{}{mark}", text(object, "/metadata/name"))),
            json!(text(object, "/provisioner")),
            or(text(object, "/reclaimPolicy"), "Delete"),
            or(text(object, "/volumeBindingMode"), "Immediate"),
            json!(flag(object, "/allowVolumeExpansion")),
            age(object, now),
        ]
    },
};

fn modes(modes: &[Value]) -> String {
    let order =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let short = order.iter().filter(|(long, _)| modes.iter().any(|mode| mode == long)).map(|(_, short)| *short);
    short.collect::<Vec<_>>().join(",")
}

fn phase(object: &Value) -> &str {
    match get(object, "/metadata/deletionTimestamp") {
        Some(_) => "Terminating",
        None => text(object, "/status/phase"),
    }
}

fn class_of(object: &Value) -> &str {
    match text(object, CLASS_ANNOTATION) {
        "" => text(object, "/spec/storageClassName"),
        class => class,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_claims_show_each_other() {
        let metadata = json!({"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"});
        let now = "1970-01-01T00:00:07Z".parse().expect("a time");
        let volume = json!({
            "metadata": metadata, "status": {"phase": "Bound"},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Delete", "claimRef": {"namespace": "n", "name": "c"},
                "storageClassName": "local", "volumeMode": "Filesystem",
            },
        });
        let wanted =
            json!(["a", "1Gi", "RWO,RWX", "Delete", "Bound", "n/c", "local", "<unset>", "", "7s", "Filesystem",]);
        assert_eq!(json!((VOLUME.cells)(&volume, now)), wanted);
        let claim = json!({
            "metadata": metadata, "spec": {"volumeName": "v", "storageClassName": "local"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
        });
        let wanted = json!(["a", "Bound", "v", "1Gi", "RWO", "local", "<unset>", "7s", "<unset>"]);
        assert_eq!(json!((CLAIM.cells)(&claim, now)), wanted);
        let mut class = json!({"metadata": metadata, "provisioner": "p"});
        class["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        let wanted = json!(["a (default)", "p", "Delete", "Immediate", false, "7s"]);
        assert_eq!(json!((CLASS.cells)(&class, now)), wanted);
    }
}
