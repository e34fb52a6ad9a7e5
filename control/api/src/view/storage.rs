//! `storage.k8s.io/v1`.

use std::collections::BTreeMap;

use super::meta::ObjectMeta;

view! {
    StorageClass {
        metadata: ObjectMeta = "metadata",
        parameters: Option<BTreeMap<String, String>> = "parameters",
        provisioner: String = "provisioner",
        reclaim_policy: Option<String> = "reclaimPolicy",
        volume_binding_mode: Option<String> = "volumeBindingMode",
    }
}
