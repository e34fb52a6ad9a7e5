//! What can be done for a node whose agent does not run.

use std::time::Duration;

use agent_runtime::{ContainerState, Runtime};
use agent_volumes::Volumes;
use anyhow::{Context, Result};
use control_wire::NodeKey;

use crate::adapters::chain;
use crate::cache::Cache;
use crate::config::Config;
use crate::daemon::{images, remove_network};

/// The grace of a pod whose object is not at hand.
const GRACE_SECONDS: i64 = 30;
const SIGTERM: i32 = 15;

/// Ends all pods with their grace and removes what they had; errors are told, and the rest goes on.
pub async fn stop(config: &Config) -> Result<()> {
    if !config.layout.identity().exists() {
        return Ok(());
    }
    let key = NodeKey::load_or_create(&config.layout.identity()).context("cannot read the node's key")?;
    let runtime = agent_runtime::Config::new(&config.layout.root, format!("bramble-{}", key.short()));
    let runtime = Runtime::new(runtime).await.context("cannot open the runtime's state")?;
    let cache = Cache::open(config.layout.cache())?;
    let pods = cache.pods();
    let mut ends = tokio::task::JoinSet::new();
    for sandbox in runtime.adopt().await.context("cannot look for running pods")? {
        let uid = sandbox.spec.uid.clone();
        let pod = pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(&uid));
        let grace = pod.and_then(|pod| pod.spec.as_ref()?.termination_grace_period_seconds).unwrap_or(GRACE_SECONDS);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        for container in sandbox.containers {
            if matches!(container.state, ContainerState::Running { .. }) {
                let (runtime, uid, id) = (runtime.clone(), uid.clone(), container.spec.id);
                ends.spawn(async move { runtime.stop(&uid, &id, SIGTERM, grace).await });
            }
        }
    }
    while let Some(end) = ends.join_next().await {
        if let Ok(Err(error)) = end {
            eprintln!("bramble-agent: {}", chain(&error));
        }
    }
    runtime.remove_all().await.context("cannot remove every sandbox")?;
    remove_network(config, &key, &cache).await?;
    release(config).await
}

/// Roots, volumes and records of pods that no longer run.
async fn release(config: &Config) -> Result<()> {
    let snapshots = images(config)?.snapshots();
    for id in snapshots.list().unwrap_or_default() {
        if let Err(error) = snapshots.remove(&id).await {
            eprintln!("bramble-agent: {}", chain(&error));
        }
    }
    let volumes = Volumes::new(config.layout.pods(), config.layout.local_path());
    let Ok(folders) = std::fs::read_dir(config.layout.pods()) else { return Ok(()) };
    for uid in folders.flatten().filter_map(|folder| folder.file_name().into_string().ok()) {
        match volumes.unmount(&uid) {
            Err(error) => eprintln!("bramble-agent: {}", error.in_words()),
            // Only what is left of a pod's folder once nothing is mounted in it.
            Ok(()) => agent_pods::record::Records::new(config.layout.pods()).remove(&uid)?,
        }
    }
    Ok(())
}
