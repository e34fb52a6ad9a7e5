//! Events of nodes, about themselves and their pods; the same one again only counts up.

use std::collections::HashMap;

use control_api::resource::{EVENTS, PODS};
use control_api::{Reason, Status};
use control_client::{Client, Patch};
use serde_json::{Value, json};

use crate::status::seconds;

/// Events whose repetition is recognized; beyond it all are forgotten, and repetitions are new Events.
const REMEMBERED_MAX: usize = 512;

/// What was told so far in one session.
#[derive(Debug, Default)]
pub struct Recorder {
    /// By object, reason and message: the Event's namespace and name.
    told: HashMap<String, (String, String)>,
}

impl Recorder {
    pub async fn record(&mut self, client: &Client, node: &str, mut event: Value) -> Result<(), Status> {
        let about = event["involvedObject"].clone();
        if !owns(client, node, &about) {
            return Err(Status::new(Reason::Forbidden, "an event about an object of another node"));
        }
        let now = jiff::Timestamp::now();
        let key = format!("{about}{}{}{}", event["type"], event["reason"], event["message"]);
        if let Some((namespace, name)) = self.told.get(&key)
            && let Some(known) = client.get(&EVENTS, namespace, name)
        {
            let known: Value = serde_json::from_slice(&known.json).unwrap_or_default();
            let count = known["count"].as_i64().unwrap_or(1).saturating_add(1);
            let patch = json!({"count": count, "lastTimestamp": seconds(now)});
            return client.patch(&EVENTS, namespace, name, None, Patch::Merge(patch)).await.map(|_| ());
        }
        let namespace = about["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or("default").to_owned();
        let object_name = about["name"].as_str().unwrap_or(node);
        let name = format!("{object_name}.{:x}", now.as_nanosecond());
        event["apiVersion"] = json!("v1");
        event["kind"] = json!("Event");
        event["metadata"] = json!({"name": name, "namespace": namespace});
        event["source"] = json!({"component": "kubelet", "host": node});
        for (field, value) in
            [("firstTimestamp", json!(seconds(now))), ("lastTimestamp", json!(seconds(now))), ("count", json!(1))]
        {
            if event[field].is_null() {
                event[field] = value;
            }
        }
        client.create(&EVENTS, &namespace, event).await?;
        if self.told.len() >= REMEMBERED_MAX {
            self.told.clear();
        }
        self.told.insert(key, (namespace, name));
        Ok(())
    }
}

/// The node itself, or a pod bound to it.
fn owns(client: &Client, node: &str, about: &Value) -> bool {
    let text = |field: &str| about[field].as_str().unwrap_or_default().to_owned();
    match text("kind").as_str() {
        "Node" => text("name") == node,
        "Pod" => client
            .get(&PODS, &text("namespace"), &text("name"))
            .and_then(|pod| serde_json::from_slice::<Value>(&pod.json).ok())
            .is_some_and(|pod| pod["spec"]["nodeName"] == node && pod["metadata"]["uid"] == about["uid"]),
        _ => false,
    }
}
