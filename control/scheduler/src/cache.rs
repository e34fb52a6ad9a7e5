//! The nodes with what is placed on them, kept up by every change.

use std::collections::HashMap;

use control_api::image::Platform;
use control_client::Key;

use crate::node::NodeInfo;
use crate::pod::{HostPort, PodInfo};
use crate::resources::Resources;

/// A pod on a node, as far as it uses the node.
#[derive(Debug, Clone, PartialEq)]
struct Placed {
    uid: String,
    node: String,
    requests: Resources,
    ports: Vec<HostPort>,
}

/// Bounded by the store's pods and nodes.
#[derive(Debug, Default)]
pub struct Cache {
    nodes: Vec<NodeInfo>,
    position: HashMap<String, usize>,
    placed: HashMap<Key, Placed>,
    /// How many nodes are of each platform.
    platforms: HashMap<Platform, usize>,
}

impl Cache {
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// Whether nodes differ in what they run.
    pub fn is_mixed(&self) -> bool {
        self.platforms.len() > 1
    }

    fn count(&mut self, node: &NodeInfo) {
        if let Some(platform) = node.platform.clone() {
            *self.platforms.entry(platform).or_default() += 1;
        }
    }

    fn uncount(&mut self, platform: Option<Platform>) {
        let Some(platform) = platform else { return };
        let left = self.platforms.get(&platform).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            self.platforms.remove(&platform);
        } else {
            self.platforms.insert(platform, left);
        }
    }

    /// Takes a node's new state; whether it may now take pods that it did not take before.
    pub fn put_node(&mut self, mut node: NodeInfo) -> bool {
        self.count(&node);
        if let Some(at) = self.position.get(&node.name).copied() {
            self.uncount(self.nodes[at].platform.clone());
            let mixed = self.is_mixed();
            let known = &mut self.nodes[at];
            let changed = !known.is_like(&node) || (mixed && known.held != node.held);
            (node.used, node.ports) = (std::mem::take(&mut known.used), std::mem::take(&mut known.ports));
            *known = node;
            return changed;
        }
        let name = node.name.clone();
        for placed in self.placed.values().filter(|placed| placed.node == name) {
            node.place(&placed.requests, &placed.ports);
        }
        self.position.insert(node.name.clone(), self.nodes.len());
        self.nodes.push(node);
        true
    }

    /// The node is gone; its pods stay counted in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.position.remove(name) else { return };
        let gone = self.nodes.swap_remove(at);
        self.uncount(gone.platform);
        if let Some(moved) = self.nodes.get(at) {
            self.position.insert(moved.name.clone(), at);
        }
    }

    /// Counts a pod on a node, decided or seen; the same again changes nothing.
    pub fn place(&mut self, pod: &PodInfo, node: &str) {
        let placed = Placed {
            uid: pod.uid.clone(),
            node: node.to_owned(),
            requests: pod.requests.clone(),
            ports: pod.ports.clone(),
        };
        if self.placed.get(&pod.key) == Some(&placed) {
            return;
        }
        self.remove(&pod.key);
        if let Some(at) = self.position.get(node) {
            self.nodes[*at].place(&placed.requests, &placed.ports);
        }
        self.placed.insert(pod.key.clone(), placed);
    }

    /// The pod uses nothing any more; whether it did.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(placed) = self.placed.remove(key) else { return false };
        if let Some(at) = self.position.get(&placed.node) {
            self.nodes[*at].remove(&placed.requests, &placed.ports);
        }
        true
    }

    /// Whether this very pod is on a node, as far as we know or have decided.
    pub fn is_placed(&self, key: &Key, uid: &str) -> bool {
        self.placed.get(key).is_some_and(|placed| placed.uid == uid)
    }

    pub fn placed_keys(&self) -> Vec<Key> {
        self.placed.keys().cloned().collect()
    }

    pub fn node_names(&self) -> Vec<String> {
        self.position.keys().cloned().collect()
    }
}
