//! Nodes whose Node object was deleted: the key is shut out, for good, and the session ends.

use std::sync::Arc;

use control_api::resource::NODES;
use control_store::{EventKind, Object};
use serde_json::Value;

use crate::nodes::Nodes;
use crate::registration;

/// Follows deletions. What is missed here is made up for at the node's next greeting.
pub async fn run(nodes: Arc<Nodes>) {
    loop {
        let listing = nodes.client.list(&NODES, None);
        for name in nodes.session_names() {
            if !listing.items.iter().any(|node| node.meta.name == name) {
                nodes.part_with(&name, None);
            }
        }
        let Ok(mut watch) = nodes.client.watch(&NODES, listing.revision) else { continue };
        while let Ok(events) = watch.next().await {
            for event in events.iter().filter(|event| event.kind == EventKind::Deleted) {
                nodes.part_with(&event.object.meta.name, key(&event.object));
            }
        }
    }
}

/// The key that a Node was registered with.
fn key(node: &Object) -> Option<[u8; 32]> {
    serde_json::from_slice::<Value>(&node.json).ok().as_ref().and_then(registration::key_of)
}

impl Nodes {
    fn part_with(&self, name: &str, key: Option<[u8; 32]>) {
        let session = self.session(name);
        let own = session.as_ref().and_then(control_wire::Session::key_hash);
        let Some(key) = key.or(own) else { return };
        tracing::info!(node = name, "node was removed; its key is refused from now on");
        if let Err(error) = self.pki.members().remove(key, name) {
            // Its next greeting finds a known key without a Node, and says the same.
            tracing::error!(node = name, %error, "the removal of a node's key cannot be recorded");
        }
        self.heard().remove(name);
        self.silent().remove(name);
        if let Some(session) = session.filter(|_| own == Some(key)) {
            session.close("this node was removed from the cluster");
        }
    }
}
