//! Leases of nodes that were heard, renewed for many nodes at once: what a renewal costs is mostly the way to the store
//! and back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::nodes::Nodes;
use crate::registration;

/// Heartbeats of a fleet are gathered for so long a node, a second for a thousand.
const GATHER_A_NODE: Duration = Duration::from_millis(1);
/// Of fewer nodes each is renewed at once.
const FLEET_MIN: usize = 16;
/// Longer would show in a Lease of 40 s.
const GATHER_MAX: Duration = Duration::from_secs(2);
/// Renewals on their way to the store.
const RENEWALS_MAX: usize = 256;

/// Nodes heard since their Leases were last renewed; bounded by the nodes.
#[derive(Debug, Default)]
pub struct Heartbeats {
    heard: Mutex<HashMap<String, Timestamp>>,
    some: Notify,
}

impl Heartbeats {
    pub fn beat(&self, node: &str) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.is_empty() {
            self.some.notify_one();
        }
        heard.insert(node.to_owned(), Timestamp::now());
    }

    fn take(&self) -> HashMap<String, Timestamp> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Sleeps until a node is heard.
pub async fn run(nodes: Arc<Nodes>) {
    loop {
        nodes.heartbeats.some.notified().await;
        let count = nodes.session_count();
        if count >= FLEET_MIN {
            let gather = GATHER_A_NODE.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            tokio::time::sleep(gather.min(GATHER_MAX)).await;
        }
        let renew = |(node, time): (String, Timestamp)| {
            let client = nodes.client.clone();
            async move { registration::lease(&client, &node, time).await }
        };
        stream::iter(nodes.heartbeats.take()).for_each_concurrent(RENEWALS_MAX, renew).await;
    }
}
