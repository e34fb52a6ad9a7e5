//! From the start of `bramble up` to an API, a Ready node and a Running pod.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::cluster::Cluster;

use crate::client::{Access, Connection};
use crate::pod;
use crate::table::{Row, Table, Unit};

const START_MAX: Duration = Duration::from_secs(60);
/// Between two tries to reach an API that is not there yet; also the figure's error.
const RETRY: Duration = Duration::from_millis(2);

/// Starts the cluster, whose image is imported, and leaves one pod running.
pub async fn measure(cluster: &mut Cluster, kind: &str, table: &mut Table) -> Result<()> {
    let begun = Instant::now();
    cluster.up();
    let (api, node, running) = tokio::time::timeout(START_MAX, milestones(cluster, kind, begun))
        .await
        .with_context(|| format!("no pod within {} s; the log:\n{}", START_MAX.as_secs(), cluster.log()))??;
    let row =
        |what: &str, value: Duration| Row::new(format!("{kind} start to {what}"), value.as_secs_f64(), Unit::Seconds);
    table.push(row("/readyz", api).at_most(0.1).peers("2.8; 4 s"));
    table.push(row("node Ready", node).at_most(0.5).peers("3.6; 18 s"));
    table.push(row("first pod Running", running).at_most(0.7).peers("9.1; 19 s"));
    Ok(())
}

async fn milestones(cluster: &Cluster, kind: &str, begun: Instant) -> Result<(Duration, Duration, Duration)> {
    let access = ready(cluster).await;
    let api = begun.elapsed();
    let node = async {
        let mut nodes = access.connect().await?.watch("/api/v1/nodes?watch=1").await?;
        loop {
            let event = nodes.next().await?;
            let conditions = event["object"]["status"]["conditions"].as_array().into_iter().flatten();
            if conditions.into_iter().any(|found| found["type"] == "Ready" && found["status"] == "True") {
                return anyhow::Ok(begun.elapsed());
            }
        }
    };
    let running = async {
        let mut pods = pod::watch(&access, "first").await?;
        let mut connection = access.connect().await?;
        // Until its default ServiceAccount exists, a namespace takes no pods.
        while pod::create(&mut connection, &format!("first-{kind}"), "first").await.is_err() {
            tokio::time::sleep(RETRY).await;
        }
        loop {
            if pod::running(&pods.next().await?).is_some_and(|name| name.ends_with(kind)) {
                return anyhow::Ok(begun.elapsed());
            }
        }
    };
    let (node, running) = tokio::try_join!(node, running)?;
    Ok((api, node, running))
}

/// Waits for /readyz to say ok.
pub async fn ready(cluster: &Cluster) -> Access {
    loop {
        if let Ok(access) = Access::load(&cluster.kubeconfig())
            && let Ok(mut connection) = access.connect().await
            && is_ready(&mut connection).await
        {
            return access;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn is_ready(connection: &mut Connection) -> bool {
    connection.get("/readyz").await.is_ok()
}
