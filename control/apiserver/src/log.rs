//! `pods/log`: the container's choice in Kubernetes' words, then lines as the node sends them.

use std::sync::Arc;

use bytes::Bytes;
use control_api::stream::LogRequest;
use control_api::{Reason, Status};
use control_store::Key;
use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;

use crate::api::Api;
use crate::negotiate::parse;
use crate::query::Query;
use crate::respond::{self, Body};
use crate::route::ResourcePath;

pub async fn answer(api: &Arc<Api>, at: &ResourcePath, query: &Query) -> Result<Response<Body>, Status> {
    let pod = pod(api, at)?;
    let container = choose(&pod, &at.name, query.text("container"))?;
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
        // Kubernetes has nothing to say about a pod without a node, and says it with a 200.
        return Ok(respond::text_stream(respond::full(Bytes::new())));
    };
    let request = request(&pod, at, &container, query)?;
    has_log(&pod, &at.name, &container, request.previous)?;
    let nodes = api.nodes().ok_or_else(no_nodes)?;
    let lines = nodes.logs(node, request).await?;
    let state = (lines, Box::pin(api.closed()), api.metrics.watching());
    let pieces = stream::unfold(state, |(mut lines, mut closed, counted)| async move {
        let piece = tokio::select! {
            piece = lines.recv() => piece?,
            () = closed.as_mut() => return None,
        };
        Some((Ok::<_, std::convert::Infallible>(Frame::data(piece)), (lines, closed, counted)))
    });
    Ok(respond::text_stream(StreamBody::new(pieces).boxed_unsync()))
}

/// The pod an address names.
pub fn pod(api: &Api, at: &ResourcePath) -> Result<Value, Status> {
    let object = api.store().get(&Key::new(at.resource, &at.namespace, &at.name));
    parse(&*object.ok_or_else(|| Status::not_found(at.resource, &at.name))?)
}

pub fn no_nodes() -> Status {
    Status::new(Reason::ServiceUnavailable, "no node can be reached")
}

fn request(pod: &Value, at: &ResourcePath, container: &str, query: &Query) -> Result<LogRequest, Status> {
    let number = |name: &str| match query.get(name) {
        None | Some("") => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
            let message = format!(
                "PodLogOptions \"{}\" is invalid: {name}: Invalid value: {text}: must be greater than or equal to 0",
                at.name
            );
            Status::new(Reason::Invalid, message)
        }),
    };
    Ok(LogRequest {
        namespace: at.namespace.clone(),
        pod: at.name.clone(),
        pod_uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        container: container.to_owned(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: number("tailLines")?,
        since_seconds: number("sinceSeconds")?,
        since_time: query.get("sinceTime").filter(|time| !time.is_empty()).map(str::to_owned),
        limit_bytes: number("limitBytes")?,
    })
}

fn names(pod: &Value, field: &str) -> Vec<String> {
    let list = pod["spec"][field].as_array().into_iter().flatten();
    list.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
}

/// The container asked for, or the only one.
pub fn choose(pod: &Value, name: &str, wanted: &str) -> Result<String, Status> {
    let (containers, inits) = (names(pod, "containers"), names(pod, "initContainers"));
    if !wanted.is_empty() {
        let ephemeral = names(pod, "ephemeralContainers");
        let known = containers.iter().chain(&inits).chain(&ephemeral).any(|container| container == wanted);
        let missing = || Status::bad_request(format!("container {wanted} is not valid for pod {name}"));
        return known.then(|| wanted.to_owned()).ok_or_else(missing);
    }
    if let ([only], true) = (containers.as_slice(), inits.is_empty()) {
        return Ok(only.clone());
    }
    let mut message =
        format!("a container name must be specified for pod {name}, choose one of: [{}]", containers.join(" "));
    if !inits.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
    }
    Err(Status::bad_request(message))
}

/// A container that never started has no log; the words are the kubelet's.
fn has_log(pod: &Value, name: &str, container: &str, previous: bool) -> Result<(), Status> {
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let status = statuses.find(|status| status["name"] == container).unwrap_or(&Value::Null);
    let ended = status["lastState"]["terminated"].is_object();
    if previous && !ended {
        let message = format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
        return Err(Status::bad_request(message));
    }
    let started = status["state"]["running"].is_object() || status["state"]["terminated"].is_object();
    if started || ended {
        return Ok(());
    }
    let reason = status["state"]["waiting"]["reason"].as_str().unwrap_or("ContainerCreating");
    let message = status["state"]["waiting"]["message"].as_str().unwrap_or_default();
    let words = match reason {
        "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image".to_owned(),
        _ if message.is_empty() || reason == "PodInitializing" => reason.to_owned(),
        _ => reason.to_owned(),
    };
    Err(Status::bad_request(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {words}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_container_is_chosen_or_asked_for_in_kubernetes_words() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(choose(&pod, "p", "b"), Ok("b".to_owned()));
        let words = "a container name must be specified for pod p, choose one of: [a b] or one of the init \
                     containers: [i]";
        assert_eq!(choose(&pod, "p", "").expect_err("ambiguous").message, words);
        assert_eq!(choose(&pod, "p", "c").expect_err("unknown").message, "container c is not valid for pod p");
    }

    #[test]
    fn a_container_that_waits_has_no_log() {
        let pod = json!({"status": {"containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}]}});
        let status = has_log(&pod, "p", "a", false).expect_err("no log");
        assert_eq!(status.message, "container \"a\" in pod \"p\" is waiting to start: ContainerCreating");
        assert_eq!(status.code(), 400);
    }
}
