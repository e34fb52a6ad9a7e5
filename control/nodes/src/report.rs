//! Status on its way in. A node's word counts for itself and for the pods bound to it, and for nothing else.

use std::sync::Arc;

use control_api::local_path;
use control_api::resource::{NODES, PERSISTENT_VOLUMES, PODS};
use control_api::{Reason, Status};
use control_client::{Client, DeleteOptions, Patch, Preconditions};
use control_wire::{Report, ReportSource, Session};
use serde_json::{Value, json};

use crate::event::Recorder;
use crate::nodes::Nodes;
use crate::{mirror, registration, status};

/// A status that others write at the same moment is merged again so often.
const ATTEMPTS_MAX: usize = 5;

/// Takes one session's reports until the node ends them.
pub async fn take(nodes: Arc<Nodes>, session: Session, mut source: ReportSource) {
    let mut reporter = Reporter {
        nodes: nodes.clone(),
        node: session.node_name().to_owned(),
        last_status: None,
        recorder: Recorder::default(),
    };
    loop {
        let report = match source.next().await {
            Ok(Some(report)) => report,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(node = %reporter.node, %error, "a node's reports were cut off");
                return;
            }
        };
        nodes.hear(&reporter.node);
        if let Err(error) = reporter.handle(report).await {
            tracing::warn!(node = %reporter.node, %error, "a node's report was not taken");
        }
        if source.taken().await.is_err() {
            return;
        }
    }
}

struct Reporter {
    nodes: Arc<Nodes>,
    node: String,
    /// What to say again when the node is heard after a silence.
    last_status: Option<Value>,
    recorder: Recorder,
}

impl Reporter {
    async fn handle(&mut self, report: Report) -> Result<(), Status> {
        let client = &self.nodes.client;
        match report {
            Report::Heartbeat { .. } => self.heartbeat().await,
            Report::NodeStatus { json } => {
                let told = parse(&json)?;
                node_status(&self.nodes, &self.node, &told).await?;
                self.last_status = Some(told);
                Ok(())
            }
            Report::PodStatus { namespace, name, uid, json } => {
                pod_status(client, &self.node, (&namespace, &name, &uid), &parse(&json)?).await
            }
            Report::PodGone { namespace, name, uid } => pod_gone(client, &self.node, (&namespace, &name, &uid)).await,
            Report::Mirror { uid, json } => mirror::show(client, &self.node, &uid, parse(&json)?).await,
            Report::VolumeGone { name, uid } => volume_gone(client, &self.node, &name, &uid).await,
            Report::Event { json } => self.recorder.record(client, &self.node, parse(&json)?).await,
        }
    }

    async fn heartbeat(&mut self) -> Result<(), Status> {
        self.nodes.heartbeats.beat(&self.node);
        let Some(told) = &self.last_status else { return Ok(()) };
        if !self.nodes.silent().remove(&self.node) {
            return Ok(());
        }
        let spoken = node_status(&self.nodes, &self.node, told).await;
        if spoken.is_err() {
            self.nodes.silent().insert(self.node.clone());
        }
        spoken
    }
}

fn parse(json: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(json).map_err(|error| Status::bad_request(format!("report cannot be read: {error}")))
}

/// Merges a node's status into its Node. A node that a cloud controller manager has initialized has the addresses that
/// it found.
pub async fn node_status(nodes: &Nodes, node: &str, told: &Value) -> Result<(), Status> {
    change_status(&nodes.client, &NODES, ("", node), |object| {
        let mut told = told.clone();
        if nodes.config.external_cloud && !registration::is_uninitialized(object) {
            told["addresses"] = object["status"]["addresses"].clone();
        }
        let new = status::merge_node(&object["status"], &told);
        (!status::same_node(&object["status"], &new)).then_some(new)
    })
    .await
}

/// Namespace, name and uid.
type PodId<'a> = (&'a str, &'a str, &'a str);

async fn pod_status(client: &Client, node: &str, pod: PodId<'_>, told: &Value) -> Result<(), Status> {
    let (namespace, name, uid) = pod;
    change_status(client, &PODS, (namespace, name), |object| {
        // A pod that was replaced or moved is another one; the node will hear so.
        if object["metadata"]["uid"] != uid || object["spec"]["nodeName"] != node {
            return None;
        }
        let new = status::merge_pod(&object["status"], told);
        (new != object["status"]).then_some(new)
    })
    .await
}

async fn pod_gone(client: &Client, node: &str, pod: PodId<'_>) -> Result<(), Status> {
    let (namespace, name, uid) = pod;
    let Some(object) = client.get(&PODS, namespace, name) else { return Ok(()) };
    let value = parse(&object.json)?;
    let own = value["metadata"]["uid"] == uid && value["spec"]["nodeName"] == node;
    // A mirror only shows what the node runs by itself.
    if !own || (object.meta.deletion_timestamp.is_none() && !mirror::is_one(&value)) {
        return Ok(());
    }
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() },
        ..DeleteOptions::default()
    };
    match client.delete(&PODS, namespace, name, options).await {
        Err(error) if error.reason == Reason::NotFound => Ok(()),
        done => done,
    }
}

/// Lets a volume go whose data its node has removed.
async fn volume_gone(client: &Client, node: &str, name: &str, uid: &str) -> Result<(), Status> {
    let Some(object) = client.get(&PERSISTENT_VOLUMES, "", name) else { return Ok(()) };
    let volume = parse(&object.json)?;
    let hostname = client.get(&NODES, "", node).and_then(|node| node.meta.labels.get(local_path::HOSTNAME).cloned());
    let own = hostname.is_some() && local_path::hostname(&volume) == hostname.as_deref();
    if object.meta.uid != uid || !own || !local_path::is_to_be_removed(&volume) {
        return Ok(());
    }
    let patch = json!({"metadata": {"resourceVersion": object.revision.to_string(), "finalizers": null}});
    match client.patch(&PERSISTENT_VOLUMES, "", name, None, Patch::Merge(patch)).await {
        Err(error) if error.reason != Reason::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Replaces an object's status by what `change` makes of the object; again where another writer was first.
pub async fn change_status(
    client: &Client,
    resource: &'static control_api::Resource,
    (namespace, name): (&str, &str),
    change: impl Fn(&Value) -> Option<Value>,
) -> Result<(), Status> {
    for _ in 0..ATTEMPTS_MAX {
        let Some(current) = client.get(resource, namespace, name) else { return Ok(()) };
        let Some(status) = change(&parse(&current.json)?) else { return Ok(()) };
        let patch = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": current.revision.to_string()},
            {"op": "add", "path": "/status", "value": status},
        ]);
        match client.patch(resource, namespace, name, Some("status"), Patch::Json(patch)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.reason == Reason::Conflict => {}
            Err(error) if error.reason == Reason::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(Status::modified(resource, name))
}
