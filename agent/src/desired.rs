//! The desired state as the server sends it: kept, and given to those whose it is.
//!
//! What is sent is looked at although the server is the cluster's own: what it got wrong must not cost more than itself.

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use control_api::local_path;
use control_api::view::{View, core::Pod};
use control_wire::{Sync, SyncStream};
use serde_json::Value;

use crate::cache::{Key, is_known, is_name, is_shared};
use crate::daemon::Node;
use crate::strays;

/// Where the desired state was left off.
#[derive(Default)]
pub struct Position {
    pub revision: u64,
    pub epoch: u64,
    /// After a reset: what was sent since. What is not in it when it ends is gone.
    seen: Option<HashSet<Key>>,
}

impl Position {
    /// A session begins: a reset that the last one left unfinished is begun anew by the server.
    pub fn begin(&mut self) {
        self.seen = None;
    }
}

/// Does what the server says until it ends the stream, or says what cannot be.
pub async fn follow(node: &Node, mut stream: SyncStream, position: &mut Position) -> Result<()> {
    while let Some(frame) = stream.next().await? {
        match frame {
            Sync::Reset { epoch } => {
                position.epoch = epoch;
                position.seen = Some(HashSet::new());
            }
            Sync::Put { resource, namespace, name, json, .. } => {
                let key = (resource, namespace, name);
                if !is_known(&key.0) {
                    tracing::debug!(?key, "an object of a kind that this agent does not know is passed over");
                    continue;
                }
                if !is_name(&key) {
                    tracing::error!(?key, "an object of the server's is not taken: it has no name");
                    continue;
                }
                if !node.cache.has_room(&key, json.len()) && !make_room(node, position, &key, json.len()).await {
                    // The next session is told everything, so that what has to go can be seen.
                    *position = Position::default();
                    bail!(
                        "the server tells of more than the {} MiB that this node keeps",
                        node.cache.bytes_max() >> 20
                    );
                }
                put(node, &key, &json).await;
                if let Some(seen) = &mut position.seen {
                    seen.insert(key);
                }
            }
            Sync::Delete { resource, namespace, name, .. } => remove(node, &(resource, namespace, name)).await,
            Sync::Synced { revision, epoch } => {
                (position.revision, position.epoch) = (revision, epoch);
                let everything = position.seen.take();
                if let Some(seen) = &everything {
                    forget_others(node, seen).await;
                }
                node.followers.flush().await;
                if everything.is_some() {
                    node.followers.synced();
                }
            }
        }
    }
    bail!("the server ended the desired state")
}

/// While everything is told anew, what was not named yet may be what nobody wants any more: pods last. False where what
/// was named is too much by itself.
async fn make_room(node: &Node, position: &Position, key: &Key, bytes: usize) -> bool {
    let Some(seen) = &position.seen else { return false };
    if !node.cache.would_hold(seen, key, bytes) {
        return false;
    }
    tracing::warn!("there is no room for all that the server tells; what it has not named yet goes");
    let (pods, others): (Vec<Key>, Vec<Key>) =
        node.cache.keys().into_iter().filter(|old| !seen.contains(old)).partition(|old| old.0 == "pods");
    for old in &others {
        remove(node, old).await;
    }
    for old in &pods {
        if node.cache.has_room(key, bytes) {
            break;
        }
        remove(node, old).await;
    }
    node.cache.has_room(key, bytes)
}

/// A pod that the node may act upon: its names become names of folders.
fn pod(key: &Key, json: &[u8]) -> Result<Pod> {
    let pod = Pod::parse(json)?;
    agent_pods::names::check(&pod)?;
    let named = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
    ensure!(named == (Some(&key.1), Some(&key.2)), "it is told under another name than its own");
    Ok(pod)
}

async fn put(node: &Node, key: &Key, json: &[u8]) {
    let pod = (key.0 == "pods").then(|| pod(key, json)).transpose();
    let pod = match pod {
        Ok(pod) => pod,
        Err(error) => {
            tracing::error!(?key, error = format!("{error:#}"), "a pod of the server's is not taken");
            return;
        }
    };
    let changed = node.cache.put(key, json).unwrap_or_else(|error| {
        tracing::warn!(?key, error = format!("{error:#}"), "an object is not kept on disk");
        true
    });
    if key.0 == "persistentvolumes" {
        reclaim(node, json);
    } else if is_shared(&key.0) {
        node.followers.put(key, json);
    } else if let Some(pod) = pod {
        if node.static_pods.take_mirror(&pod, &node.outbox) {
            return;
        }
        // Policies that came with it are in force before its first packet, and Services that were there before.
        node.followers.ready().await;
        node.fleet.put(pod).await;
    } else if changed {
        node.fleet.refresh(&key.1).await;
    }
}

/// Removes the data of a volume that is on its way out and lies here, and says so; asked again, it says so again.
fn reclaim(node: &Node, json: &[u8]) {
    let Ok(volume) = serde_json::from_slice::<Value>(json) else { return };
    if !local_path::is_to_be_removed(&volume) || local_path::hostname(&volume) != Some(&node.machine.name) {
        return;
    }
    let (volumes, outbox) = (node.volumes.clone(), node.outbox.clone());
    let name = volume["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let uid = volume["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    // Beside the stream: a folder of many files takes its time.
    tokio::task::spawn_blocking(move || match volumes.remove_data(&volume) {
        Ok(()) => {
            tracing::info!(name, "a volume's data is removed");
            outbox.volume_gone(&name, &uid);
        }
        Err(error) => tracing::error!(name, error = error.in_words(), "a volume's data cannot be removed"),
    });
}

async fn remove(node: &Node, key: &Key) {
    if let Err(error) = node.cache.remove(key) {
        tracing::warn!(?key, error = format!("{error:#}"), "an object is not removed from disk");
    }
    if is_shared(&key.0) {
        node.followers.remove(key);
    }
    if key.0 == "pods" && node.static_pods.mirror_is_gone(key, &node.outbox) {
        node.fleet.report().await;
    } else if key.0 == "pods" {
        node.fleet.remove(&key.1, &key.2).await;
    }
}

async fn forget_others(node: &Node, seen: &HashSet<Key>) {
    for key in node.cache.keys() {
        if !seen.contains(&key) {
            remove(node, &key).await;
        }
    }
    strays::remove(node).await;
}
