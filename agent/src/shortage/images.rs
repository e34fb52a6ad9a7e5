//! Removes images that only take room.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use agent_oci::Images;
use agent_pods::status::phase;
use anyhow::Result;
use control_api::view::core::Pod;
use tokio::time::Instant;

use crate::daemon::Node;

/// Since when no pod names which image, by its id; kept only while the disk is full.
#[derive(Debug, Default)]
pub struct Unused(HashMap<String, Instant>);

impl Unused {
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Removes the images that no pod has named for this long; zero for at once.
    pub async fn remove(&mut self, node: &Node, age: Duration) {
        match self.collect(node, age).await {
            Ok(0) => {}
            Ok(freed_bytes) => tracing::info!(freed_bytes, "images that no pod names were removed: the disk is full"),
            Err(error) => tracing::warn!(error = format!("{error:#}"), "unused images cannot be removed"),
        }
    }

    async fn collect(&mut self, node: &Node, age: Duration) -> Result<u64> {
        let in_use = images_of(&unfinished(node), &node.images)?;
        let present: BTreeSet<String> = node.images.list()?.into_iter().map(|image| image.id).collect();
        self.0.retain(|id, _| present.contains(id) && !in_use.contains(id));
        for id in present.difference(&in_use) {
            self.0.entry(id.clone()).or_insert_with(Instant::now);
        }
        let is_due = |id: &&String| self.0.get(*id).is_some_and(|since| since.elapsed() >= age);
        if !present.iter().any(|id| is_due(&id)) {
            return Ok(0);
        }
        let kept = present.iter().filter(|id| !is_due(id)).cloned().collect();
        let pruned = node.images.prune(&kept).await?;
        tracing::debug!(names = ?pruned.names, layers = pruned.layers, "images removed");
        Ok(pruned.freed_bytes)
    }
}

/// What has run to its end needs its image no more.
fn unfinished(node: &Node) -> Vec<Pod> {
    let runs = |pod: &Pod| {
        let state = pod.metadata.uid.as_deref().and_then(|uid| node.fleet.state(uid));
        state.is_none_or(|state| !matches!(phase(pod, &state), "Succeeded" | "Failed"))
    };
    node.fleet.list().iter().filter(|pod| runs(pod)).map(|pod| Pod::clone(pod)).collect()
}

/// Ids of the images that pods name.
pub fn images_of(pods: &[Pod], images: &Images) -> Result<BTreeSet<String>> {
    let specs = pods.iter().filter_map(|pod| pod.spec.as_ref());
    let containers = specs.flat_map(|spec| {
        let others = spec.init_containers.iter().chain(&spec.ephemeral_containers).flatten();
        spec.containers.iter().chain(others)
    });
    let mut in_use = BTreeSet::new();
    for name in containers.filter_map(|container| container.image.as_deref()) {
        if let Some(image) = images.get(name)? {
            in_use.insert(image.id);
        }
    }
    Ok(in_use)
}
