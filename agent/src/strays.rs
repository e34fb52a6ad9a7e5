//! What lies on the node of pods that nobody wants any more. An agent that was killed while it removed a pod whose object was
//! gone finds no object that would tell it to go on.

use std::path::Path;

use agent_pods::log_link;

use crate::adapters::chain;
use crate::daemon::Node;

/// Removes it all. Once the desired state is whole, and the pods that are in it have been taken up.
pub async fn remove(node: &Node) {
    for uid in node.fleet.take_strays() {
        tracing::info!(uid, "removing what is left of a pod that is gone");
        let errors = remove_one(node, &uid).await;
        if !errors.is_empty() {
            tracing::warn!(uid, errors = errors.join("; "), "what is left of a pod is not wholly removed");
        }
    }
}

/// Its record goes last and only when all else went, so that what failed is tried again after the next start.
async fn remove_one(node: &Node, uid: &str) -> Vec<String> {
    let mut errors = Vec::new();
    errors.extend(node.network.detach(uid).await.err().map(|error| chain(&error)));
    errors.extend(node.runtime.remove_sandbox(uid).await.err().map(|error| chain(&error)));
    let state = node.fleet.state(uid);
    for id in state.iter().flat_map(|state| state.container_ids()) {
        errors.extend(node.images.snapshots().remove(id).await.err().map(|error| chain(&error)));
    }
    errors.extend(log_link::remove_of_pod(&node.config.layout.log_links(), uid).err().map(|error| chain(&error)));
    let (volumes, logs, pod) = (node.volumes.clone(), node.config.layout.logs(), uid.to_owned());
    let blocking = tokio::task::spawn_blocking(move || {
        let unmounted = volumes.unmount(&pod).err().map(|error| error.in_words());
        unmounted.into_iter().chain(remove_logs(&logs, &pod).err().map(|error| chain(&error))).collect::<Vec<_>>()
    });
    errors.extend(blocking.await.unwrap_or_else(|error| vec![chain(&error)]));
    if errors.is_empty() {
        errors.extend(node.fleet.forget(uid).err().map(|error| chain(&error)));
    }
    errors
}

/// Of a pod whose name nobody knows any more: folders are called `NAMESPACE_NAME_UID`.
fn remove_logs(logs: &Path, uid: &str) -> std::io::Result<()> {
    let end = format!("_{uid}");
    for entry in std::fs::read_dir(logs).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(&end) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
