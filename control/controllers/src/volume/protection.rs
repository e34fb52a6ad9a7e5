//! A claim stays while a pod uses it, a volume while it is bound.

use control_api::resource::PERSISTENT_VOLUME_CLAIMS;
use control_api::view::core::Pod;
use control_client::{Key, Object};

use crate::controller::Change;
use crate::pod;
use crate::world::{World, view};

pub(super) const CLAIM: &str = "kubernetes.io/pvc-protection";
pub(super) const VOLUME: &str = "kubernetes.io/pv-protection";

/// Claims whose deletion a pod's end may have held up. Most of the time nothing is being deleted, and no pod is read.
pub(super) fn claims_of_pod(world: &World, change: &Change<'_>) -> Vec<Key> {
    let namespace = &change.object.key.namespace;
    let claims = world.list(&PERSISTENT_VOLUME_CLAIMS, Some(namespace));
    let leaving: Vec<Key> =
        claims.iter().filter(|claim| claim.meta.deletion_timestamp.is_some()).map(|claim| claim.key.clone()).collect();
    if leaving.is_empty() {
        return leaving;
    }
    let Ok(pod) = view::<Pod>(change.object) else { return Vec::new() };
    if !change.deleted && !pod::is_finished(&pod) {
        return Vec::new();
    }
    leaving.into_iter().filter(|key| mounts(&pod, &key.name)).collect()
}

fn mounts(pod: &Pod, claim: &str) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter_map(|volume| volume.persistent_volume_claim.as_ref()).any(|found| found.claim_name == claim)
}

/// Whether a pod uses the claim that has not ended. One without a node will not get it any more.
pub(super) fn is_used(world: &World, claim: &Object) -> bool {
    let pods = world.index().pods_with_claim(&claim.key.namespace, &claim.key.name);
    pods.iter()
        .filter_map(|object| view::<Pod>(object).ok())
        .any(|pod| !pod::is_finished(&pod) && pod::node_name(&pod).is_some())
}
