//! `bramble node drain`, as kubectl does it: no new pods, then each of its pods evicted, and waited for.

use std::time::Duration;

use anyhow::{Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::arguments::Drain;
use crate::client::{Client, Refusal};
use crate::node::{items, path_word, text};

const MERGE_PATCH: &str = "application/merge-patch+json";
/// A budget that forbids an eviction is asked again after this, as kubectl does.
const AGAIN: Duration = Duration::from_secs(5);
/// Between looks at pods that end.
const LOOK: Duration = Duration::from_millis(500);
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is to be done with one pod.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Evict,
    /// Runs on every node, or belongs to the node itself.
    Stay(&'static str),
    /// Would be lost, or lose data; the flag that allows it.
    Refuse(&'static str),
}

/// Cordons the node and moves its pods away.
pub async fn run(client: &mut Client, options: &Drain) -> Result<()> {
    let name = path_word(&options.name)?;
    let end = Instant::now() + options.timeout;
    let path = format!("/api/v1/nodes/{name}");
    client.send(Method::PATCH, &path, Some((MERGE_PATCH, json!({"spec": {"unschedulable": true}})))).await?;
    println!("node/{name} takes no new pods");
    let pods = client.get(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{name}")).await?;
    let mut refused = Vec::new();
    let mut going = Vec::new();
    for pod in items(&pods) {
        let title = format!("{}/{}", text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        match fate(pod, options) {
            Fate::Evict => going.push(pod),
            Fate::Stay(why) => println!("pod {title} stays: {why}"),
            Fate::Refuse(why) => refused.push(format!("pod {title}: {why}")),
        }
    }
    if !refused.is_empty() {
        bail!("node {name} is not drained, and no pod was moved:\n  {}", refused.join("\n  "));
    }
    for pod in &going {
        evict(client, pod, end).await?;
    }
    for pod in &going {
        gone(client, pod, end).await?;
    }
    println!("node/{name} is drained; `kubectl uncordon {name}` lets pods come again");
    Ok(())
}

fn fate(pod: &Value, options: &Drain) -> Fate {
    let meta = &pod["metadata"];
    let owner = meta["ownerReferences"].as_array().into_iter().flatten().find(|owner| owner["controller"] == true);
    let finished = matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed");
    let scratch = pod["spec"]["volumes"].as_array().into_iter().flatten().any(|volume| !volume["emptyDir"].is_null());
    if !meta["annotations"][MIRROR].is_null() {
        return Fate::Stay("it belongs to the node itself");
    }
    match owner {
        Some(owner) if owner["kind"] == "DaemonSet" => Fate::Stay("a DaemonSet keeps one on each node"),
        None if !options.force_pods && !finished => {
            Fate::Refuse("nothing starts it again elsewhere; --force-pods ends it all the same")
        }
        _ if scratch && !finished && !options.delete_emptydir_data => {
            Fate::Refuse("its emptyDir volumes would be lost; --delete-emptydir-data allows that")
        }
        _ => Fate::Evict,
    }
}

fn path(pod: &Value) -> String {
    let meta = &pod["metadata"];
    format!("/api/v1/namespaces/{}/pods/{}", text(&meta["namespace"]), text(&meta["name"]))
}

async fn evict(client: &mut Client, pod: &Value, end: Instant) -> Result<()> {
    let meta = &pod["metadata"];
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
    });
    let title = format!("{}/{}", text(&meta["namespace"]), text(&meta["name"]));
    loop {
        let path = format!("{}/eviction", path(pod));
        let error = match client.send(Method::POST, &path, Some(("application/json", body.clone()))).await {
            Ok(_) => {
                println!("pod {title} is evicted");
                return Ok(());
            }
            Err(error) => error,
        };
        match error.downcast_ref::<Refusal>().map(|refusal| refusal.code) {
            // Gone already, or replaced by another of its name.
            Some(404 | 409) => return Ok(()),
            Some(429) if Instant::now() + AGAIN < end => println!("pod {title} waits: {error}"),
            _ => return Err(error.context(format!("pod {title} cannot be evicted"))),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn gone(client: &mut Client, pod: &Value, end: Instant) -> Result<()> {
    let title = format!("{}/{}", text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
    loop {
        match client.get(&path(pod)).await {
            Ok(now) if now["metadata"]["uid"] != pod["metadata"]["uid"] => break,
            Ok(_) => {}
            Err(error) if error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.code == 404) => break,
            Err(error) => return Err(error),
        }
        if Instant::now() >= end {
            bail!("pod {title} has not ended in time: --timeout says how long to wait");
        }
        tokio::time::sleep(LOOK).await;
    }
    println!("pod {title} has ended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(force_pods: bool, delete_emptydir_data: bool) -> Drain {
        Drain { name: "pi".to_owned(), force_pods, delete_emptydir_data, timeout: Duration::from_secs(1) }
    }

    #[test]
    fn what_would_be_lost_is_refused_unless_it_is_allowed() {
        let owned = |kind: &str, spec: Value| json!({"metadata": {"ownerReferences": [{"kind": kind, "controller": true}]}, "spec": spec});
        let scratch = json!({"volumes": [{"name": "a", "emptyDir": {}}]});
        assert_eq!(fate(&owned("ReplicaSet", json!({})), &options(false, false)), Fate::Evict);
        assert!(matches!(fate(&owned("DaemonSet", scratch.clone()), &options(false, false)), Fate::Stay(_)));
        assert!(matches!(fate(&owned("ReplicaSet", scratch.clone()), &options(false, false)), Fate::Refuse(_)));
        assert_eq!(fate(&owned("ReplicaSet", scratch), &options(false, true)), Fate::Evict);
        let bare = json!({"metadata": {}, "spec": {}});
        assert!(matches!(fate(&bare, &options(false, false)), Fate::Refuse(_)));
        assert_eq!(fate(&bare, &options(true, false)), Fate::Evict);
    }
}
