//! Ends pods that take more of the node's disk than they may.

use std::time::Duration;

use agent_pods::storage::{is_limited, over_limit};
use tokio::time::Instant;

use super::{evict, measure};
use crate::daemon::Node;

/// Measuring may have one part of so many of a core.
const PART: u32 = 500;
/// However much that was, they are measured every ten minutes.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// When pods with such limits are measured next. Where there are none, nothing is.
#[derive(Debug, Default)]
pub struct Limits(Option<Instant>);

impl Limits {
    /// True where a pod had to go.
    pub async fn enforce(&mut self, node: &Node) -> bool {
        if self.0.is_some_and(|due| Instant::now() < due) {
            return false;
        }
        let (mut spent, mut over) = (Duration::ZERO, Vec::new());
        for pod in node.fleet.list() {
            if !is_limited(&pod) {
                continue;
            }
            let Some(state) = evict::running(node, &pod) else { continue };
            let (taken, took) = measure::of(node, &pod, &state).await;
            spent += took;
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            over.extend(over_limit(&pod, &taken).map(|message| (uid, message)));
        }
        self.0 = Some(Instant::now() + (spent * PART).min(PAUSE_MAX));
        for (uid, message) in &over {
            evict::end(node, uid, message, false).await;
        }
        !over.is_empty()
    }
}
