//! Actions become writes.

use control_client::{Client, EventType, Patch, Reason, Recorder, Resource, Status};
use tokio::task::JoinSet;

use crate::action::{Action, Announce};

/// The largest batch of creates that are in flight together.
const CREATES_MAX: usize = 64;

/// The write that ended the execution; what came after it was not tried.
#[derive(Debug)]
pub(super) struct Failed {
    pub what: String,
    pub status: Status,
}

/// Executes in order, creates that follow each other in growing batches.
pub(super) async fn execute(
    client: &Client,
    recorder: &Recorder,
    outputs: &[&'static Resource],
    actions: Vec<Action>,
) -> Result<(), Failed> {
    let mut creates = Vec::new();
    for action in actions {
        if let Some(resource) = action.output() {
            assert!(outputs.contains(&resource), "{} is not among the controller's outputs", resource.plural);
        }
        if matches!(action, Action::Create { .. }) {
            creates.push(action);
            continue;
        }
        create_all(client, recorder, std::mem::take(&mut creates)).await?;
        one(client, recorder, action).await?;
    }
    create_all(client, recorder, creates).await
}

async fn create_all(client: &Client, recorder: &Recorder, creates: Vec<Action>) -> Result<(), Failed> {
    let mut creates = creates.into_iter().peekable();
    let mut batch = 1;
    while creates.peek().is_some() {
        let mut running = JoinSet::new();
        for action in creates.by_ref().take(batch) {
            let Action::Create { resource, namespace, object, announce } = action else { continue };
            let client = client.clone();
            running.spawn(async move { (client.create(resource, &namespace, object).await, resource, announce) });
        }
        let mut failed = None;
        while let Some(done) = running.join_next().await {
            let Ok((result, resource, announce)) = done else { continue };
            if let Some(announce) = announce {
                let outcome = result.as_ref().map(|object| object.key.name.to_string());
                tell(recorder, &announce, "Created", "creating", outcome).await;
            }
            match result {
                // Someone made it between the look and the write: the next look sees it.
                Err(status) if gone_by(&status) => {}
                Err(status) => failed = Some(Failed { what: format!("create {}", resource.plural), status }),
                Ok(_) => {}
            }
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
        batch = (batch * 2).min(CREATES_MAX);
    }
    Ok(())
}

/// A namespace that ends takes no new objects; waiting for it to be able to would be for ever.
fn gone_by(status: &Status) -> bool {
    status.reason == Reason::AlreadyExists
        || (status.reason == Reason::Forbidden && status.message.contains("being terminated"))
}

async fn one(client: &Client, recorder: &Recorder, action: Action) -> Result<(), Failed> {
    let (what, result) = match action {
        Action::Patch { key, patch } => (
            format!("patch {}", key.resource.plural),
            client.patch(key.resource, &key.namespace, &key.name, None, patch).await.map(drop),
        ),
        Action::UpdateStatus { key, status } => {
            let patch = Patch::Merge(serde_json::json!({"status": status}));
            let done = client.patch(key.resource, &key.namespace, &key.name, Some("status"), patch).await.map(drop);
            (format!("patch {}/status", key.resource.plural), done)
        }
        Action::PatchStatus { key, patch } => {
            let patch = Patch::Strategic(serde_json::json!({"status": patch}));
            let done = client.patch(key.resource, &key.namespace, &key.name, Some("status"), patch).await.map(drop);
            (format!("patch {}/status", key.resource.plural), done)
        }
        Action::Delete { key, options, announce } => {
            let result = client.delete(key.resource, &key.namespace, &key.name, options).await;
            if let Some(announce) = announce {
                let outcome = result.as_ref().map(|()| key.name.to_string());
                tell(recorder, &announce, "Deleted", "deleting", outcome).await;
            }
            (format!("delete {}", key.resource.plural), result)
        }
        Action::Finalize { key, object } => (
            format!("finalize {}", key.resource.plural),
            client.update_subresource(key.resource, &key.namespace, &key.name, "finalize", object).await.map(drop),
        ),
        Action::Event { about, kind, reason, message } => {
            recorder.record(&about, kind, reason, &message).await;
            return Ok(());
        }
        Action::RequeueAfter(_) | Action::Create { .. } => return Ok(()),
    };
    match result {
        // Deleted meanwhile: nothing is left to be done to it.
        Err(status) if status.reason == Reason::NotFound => Ok(()),
        Err(status) => Err(Failed { what, status }),
        Ok(()) => Ok(()),
    }
}

async fn tell(recorder: &Recorder, announce: &Announce, did: &str, doing: &str, outcome: Result<String, &Status>) {
    let noun = announce.noun;
    match outcome {
        Ok(name) => {
            let message = format!("{did} {noun}: {name}");
            recorder.record(&announce.about, EventType::Normal, announce.done, &message).await;
        }
        Err(status) if gone_by(status) || status.reason == Reason::NotFound => {}
        Err(status) => {
            let message = format!("Error {doing}: {status}");
            recorder.record(&announce.about, EventType::Warning, announce.failed, &message).await;
        }
    }
}
