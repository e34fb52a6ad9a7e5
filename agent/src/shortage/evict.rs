//! Ends pods for what the node lacks.

use std::time::Duration;

use agent_pods::admission::is_critical;
use agent_pods::eviction::{Candidate, Share, first_to_go, message};
use agent_pods::machine::{Phase, Role, Stage, State, container};
use agent_pods::pressure::{Room, Signal};
use agent_pods::resources::request;
use control_api::quantity::Quantity;
use control_api::view::core::Pod;

use super::measure;
use crate::daemon::Node;

/// As long as the kubelet waits for what an evicted pod took, before it looks whether that was enough.
const END: Duration = Duration::from_secs(30);

/// Ends one pod and waits until nothing of it is left; false where there is none that could go.
pub async fn one(node: &Node, signal: Signal, room: Room) -> bool {
    let Some(least) = node.config.thresholds.least(signal, room) else { return false };
    let mut candidates = Vec::new();
    for pod in node.fleet.list() {
        candidates.extend(candidate(node, &pod, signal).await);
    }
    let Some(gone) = first_to_go(&candidates) else { return false };
    let message = message(signal, &least, room, &shares(node, &gone.uid, signal).await);
    end(node, &gone.uid, &message, true).await;
    true
}

/// Returns when nothing of the pod is left, or when that takes too long.
pub async fn end(node: &Node, uid: &str, message: &str, disrupted: bool) {
    tracing::warn!(uid, message, "a pod is evicted");
    if tokio::time::timeout(END, node.fleet.evict(uid, message, disrupted)).await.is_err() {
        tracing::warn!(uid, "an evicted pod takes long to end");
    }
}

/// What is known of a pod that could be evicted: it runs, does not end already, and is not the node's or the system's own.
pub fn running(node: &Node, pod: &Pod) -> Option<State> {
    if is_critical(pod) {
        return None;
    }
    let state = node.fleet.state(pod.metadata.uid.as_deref()?)?;
    (state.stage == Stage::Up && state.stop.is_none()).then_some(state)
}

/// A pod as one that could make room; None where it takes none.
async fn candidate(node: &Node, pod: &Pod, signal: Signal) -> Option<Candidate> {
    let uid = pod.metadata.uid.clone()?;
    let state = running(node, pod)?;
    let stats = node.runtime.sandbox_stats(&uid).await.ok()?;
    let (used, requested) = match signal {
        Signal::Memory => (stats.memory_working_set_bytes, request(pod, "memory")),
        Signal::DiskSpace => (measure::of(node, pod, &state).await.0.total().bytes, request(pod, "ephemeral-storage")),
        Signal::Inodes => (measure::of(node, pod, &state).await.0.total().inodes, 0),
        Signal::Pids => (stats.pids, 0),
    };
    Some(Candidate { uid, priority: priority(pod), used, requested })
}

fn priority(pod: &Pod) -> i64 {
    i64::from(pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default())
}

/// What each container of the pod takes, where that is told.
async fn shares(node: &Node, uid: &str, signal: Signal) -> Vec<Share> {
    let pod = node.fleet.list().into_iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
    let (Some(pod), Some(state)) = (pod, node.fleet.state(uid)) else { return Vec::new() };
    let used: Vec<(String, u64)> = match signal {
        Signal::Memory => memory(node, uid, &state).await,
        Signal::DiskSpace => {
            let (storage, _) = measure::of(node, &pod, &state).await;
            storage.containers.into_iter().map(|(name, taken)| (name, taken.bytes)).collect()
        }
        Signal::Inodes | Signal::Pids => Vec::new(),
    };
    // Those that were added to look at the others have no requests, so that they would always be named.
    let lasts = |name: &str| state.slots.iter().any(|slot| slot.name == name && slot.role != Role::Ephemeral);
    let resource = signal.resource();
    let requested = |name: &str| {
        let resources = container(&pod, name)?.resources.as_ref()?;
        Quantity::parse(&resources.requests.as_ref()?.get(resource)?.0).ok()
    };
    let used = used.into_iter().filter(|(name, _)| lasts(name));
    used.map(|(name, used_bytes)| Share { requested: requested(&name), container: name, used_bytes }).collect()
}

async fn memory(node: &Node, uid: &str, state: &State) -> Vec<(String, u64)> {
    let mut used = Vec::new();
    for slot in &state.slots {
        let (Phase::Running { .. }, Some(id)) = (&slot.phase, &slot.container_id) else { continue };
        if let Ok(stats) = node.runtime.stats(uid, id).await {
            used.push((slot.name.clone(), stats.memory_working_set_bytes));
        }
    }
    used
}
