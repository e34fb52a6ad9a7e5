//! `pods/exec` over a WebSocket, in Kubernetes' channel protocols v5 and v4.

mod channel;

use std::sync::Arc;

use control_api::stream::ExecRequest;
use control_api::{Reason, Status};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Response};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::api::Api;
use crate::log;
use crate::pipeline::Incomer;
use crate::query::Query;
use crate::respond::{self, Body};
use crate::route::ResourcePath;

/// Bytes of one message from a client, and of its buffers.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
const BUFFER_BYTES: usize = 8 << 10;
/// Arguments of one command, in bytes.
const COMMAND_BYTES_MAX: usize = 128 << 10;

/// Newest first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

pub async fn answer(api: &Arc<Api>, at: &ResourcePath, mut incomer: Incomer) -> Result<Response<Body>, Status> {
    let pod = log::pod(api, at)?;
    let request = request(&pod, at, &incomer.query)?;
    let (key, protocol) = handshake(incomer.http.headers())?;
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", at.name)));
    };
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        let message = format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(Status::bad_request(message));
    }
    let with_stdin = request.stdin;
    let streams = api.nodes().ok_or_else(log::no_nodes)?.exec(node, request).await?;
    let upgrade = hyper::upgrade::on(&mut incomer.http);
    let (closed, counted) = (api.closed(), api.metrics.watching());
    tokio::spawn(async move {
        let Ok(connection) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(BUFFER_BYTES)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
        tokio::select! {
            () = channel::join(socket, streams, with_stdin) => {}
            () = closed => {}
        }
        drop(counted);
    });
    Ok(respond::switching([
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, HeaderValue::try_from(key).map_err(|_| Status::bad_request("bad handshake key"))?),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol)),
    ]))
}

/// The accept key and the protocol, or why there is no WebSocket.
fn handshake(headers: &HeaderMap) -> Result<(String, &'static str), Status> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let upgrade = text(UPGRADE);
    if !upgrade.eq_ignore_ascii_case("websocket") {
        let why = if upgrade.is_empty() {
            "Upgrade request required"
        } else {
            "unable to upgrade: only websocket is served, not SPDY; use kubectl 1.30 or newer"
        };
        return Err(Status::new(Reason::BadRequest, why));
    }
    let offers: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let protocol = PROTOCOLS.into_iter().find(|protocol| offers.contains(protocol)).ok_or_else(|| {
        Status::bad_request(format!("none of the protocols {offers:?} is served; served are {PROTOCOLS:?}"))
    })?;
    let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| Status::bad_request("Sec-WebSocket-Key is missing"))?;
    Ok((derive_accept_key(key.as_bytes()), protocol))
}

fn request(pod: &serde_json::Value, at: &ResourcePath, query: &Query) -> Result<ExecRequest, Status> {
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    if command.iter().map(String::len).sum::<usize>() > COMMAND_BYTES_MAX {
        return Err(Status::bad_request(format!("the command is longer than {COMMAND_BYTES_MAX} bytes")));
    }
    let (stdin, stdout, stderr) = (query.flag("stdin"), query.flag("stdout"), query.flag("stderr"));
    if !stdin && !stdout && !stderr {
        return Err(Status::bad_request("you must specify at least one of stdin, stdout, stderr"));
    }
    let tty = query.flag("tty");
    Ok(ExecRequest {
        namespace: at.namespace.clone(),
        pod: at.name.clone(),
        pod_uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        container: log::choose(pod, &at.name, query.text("container"))?,
        command,
        stdin,
        stdout,
        // A terminal has one output.
        stderr: stderr && !tty,
        tty,
    })
}
