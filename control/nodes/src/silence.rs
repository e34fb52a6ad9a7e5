//! Nodes that stopped reporting: marked Unknown, which the node lifecycle controller turns into taints and evictions.

use std::sync::Arc;
use std::time::Duration;

use control_api::resource::NODES;
use tokio::time::Instant;

use crate::nodes::Nodes;
use crate::{report, status};

/// As Kubernetes' node monitor has it: five heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(50);

/// Sleeps until the first node could be silent for too long, looks, and sleeps again.
pub async fn run(nodes: Arc<Nodes>) {
    loop {
        let now = Instant::now();
        let mut next = now + SILENCE_MAX;
        let mut silent = Vec::new();
        nodes.heard().retain(|node, seen| {
            let end = *seen + SILENCE_MAX;
            if end <= now {
                silent.push(node.clone());
            } else {
                next = next.min(end);
            }
            end > now
        });
        for node in silent {
            mark(&nodes, &node).await;
        }
        tokio::time::sleep_until(next).await;
    }
}

async fn mark(nodes: &Nodes, node: &str) {
    tracing::warn!(%node, "node stopped reporting");
    let now = jiff::Timestamp::now();
    let marked =
        report::change_status(&nodes.client, &NODES, ("", node), |object| status::silence(&object["status"], now))
            .await;
    if let Err(error) = marked {
        tracing::error!(%node, %error, "a silent node cannot be marked");
        // Heard again as of now, so that it is tried again.
        nodes.heard().entry(node.to_owned()).or_insert_with(Instant::now);
        return;
    }
    // After the mark: a heartbeat that finds it here takes the mark away.
    nodes.silent().insert(node.to_owned());
}
