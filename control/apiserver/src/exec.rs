//! `pods/exec` and `pods/attach`: a process in a container, a new one or its own, in Kubernetes' channel protocols over
//! a WebSocket or over SPDY.

mod channel;
mod ending;
mod streams;

use std::sync::Arc;

use control_api::Status;
use control_api::stream::{AttachRequest, ExecRequest};
use http::Response;
use hyper_util::rt::TokioIo;

use crate::api::Api;
use crate::log;
use crate::node::ExecStreams;
use crate::pipeline::Incomer;
use crate::query::Query;
use crate::respond::Body;
use crate::route::ResourcePath;
use crate::upgrade::{self, Agreed, Served, Transport};

/// Arguments of one command, in bytes.
const COMMAND_BYTES_MAX: usize = 128 << 10;

/// Newest first. Without v4 a process' exit code is lost, and v1 to v3 are no more than history.
const PROTOCOLS: Served =
    Served { websocket: &["v5.channel.k8s.io", "v4.channel.k8s.io"], spdy: &["v4.channel.k8s.io"] };

/// The streams that a client asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Wanted {
    fn of(query: &Query, tty: bool) -> Self {
        let (stdin, stdout, stderr) = (query.flag("stdin"), query.flag("stdout"), query.flag("stderr"));
        // A terminal has one output.
        Self { stdin, stdout, stderr: stderr && !tty, tty }
    }

    fn check(self) -> Result<(), Status> {
        let any = self.stdin || self.stdout || self.stderr;
        any.then_some(()).ok_or_else(|| Status::bad_request("you must specify at least one of stdin, stdout, stderr"))
    }
}

/// A door for the fuzz target to what a client sends on its channels: how many bytes of input came of it.
#[cfg(any(fuzzing, debug_assertions))]
pub async fn fuzz_channels<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(io: S) -> usize {
    use control_api::stream::ExecInput;
    let (input, mut inputs) = tokio::sync::mpsc::channel(1);
    let (process, output) = tokio::sync::mpsc::channel(1);
    let wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: true };
    let read = async {
        let mut bytes = 0;
        while let Some(input) = inputs.recv().await {
            bytes += if let ExecInput::Stdin(data) = input { data.len() } else { 0 };
        }
        bytes
    };
    let ((), bytes) = tokio::join!(channel::join(io, ExecStreams { input, output }, wanted), read);
    drop(process);
    bytes
}

/// `pods/exec`.
pub async fn answer(api: &Arc<Api>, at: &ResourcePath, incomer: Incomer) -> Result<Response<Body>, Status> {
    let pod = log::pod(api, at)?;
    let request = request(&pod, at, &incomer.query)?;
    let agreed = upgrade::agree(incomer.http.headers(), &PROTOCOLS)?;
    let node = live_host(&pod, at, "exec into")?;
    let wanted = Wanted::of(&incomer.query, request.tty);
    let streams = api.nodes().ok_or_else(log::no_nodes)?.exec(node, request).await?;
    Ok(hand_over(api, incomer, agreed, streams, wanted))
}

/// `pods/attach`.
pub async fn attach(api: &Arc<Api>, at: &ResourcePath, incomer: Incomer) -> Result<Response<Body>, Status> {
    let pod = log::pod(api, at)?;
    let container = log::choose(&pod, &at.name, incomer.query.text("container"))?;
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let mut specs = lists.iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    let spec = specs.find(|spec| spec["name"] == container.as_str()).unwrap_or(&serde_json::Value::Null);
    let (tty, stdin_once) = (spec["tty"] == true, spec["stdinOnce"] == true);
    let wanted = Wanted::of(&incomer.query, incomer.query.flag("tty"));
    wanted.check()?;
    if wanted.stdin && spec["stdin"] != true {
        return Err(Status::bad_request(format!("container {container} does not have stdin: true, it has no input")));
    }
    let agreed = upgrade::agree(incomer.http.headers(), &PROTOCOLS)?;
    let node = live_host(&pod, at, "attach")?;
    let request = AttachRequest {
        namespace: at.namespace.clone(),
        pod: at.name.clone(),
        pod_uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        container,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        tty,
        stdin_once,
    };
    let streams = api.nodes().ok_or_else(log::no_nodes)?.attach(node, request).await?;
    Ok(hand_over(api, incomer, agreed, streams, wanted))
}

/// The node of a pod that has one.
pub fn host<'a>(pod: &'a serde_json::Value, at: &ResourcePath) -> Result<&'a str, Status> {
    let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
    node.ok_or_else(|| Status::bad_request(format!("pod {} does not have a host assigned", at.name)))
}

fn live_host<'a>(pod: &'a serde_json::Value, at: &ResourcePath, what: &str) -> Result<&'a str, Status> {
    let node = host(pod, at)?;
    match pod["status"]["phase"].as_str() {
        Some(phase @ ("Succeeded" | "Failed")) => {
            Err(Status::bad_request(format!("cannot {what} a container in a completed pod; current phase is {phase}")))
        }
        _ => Ok(node),
    }
}

/// Switches the connection to what was agreed upon, and carries the streams over it.
fn hand_over(
    api: &Arc<Api>,
    mut incomer: Incomer,
    agreed: Agreed,
    streams: ExecStreams,
    wanted: Wanted,
) -> Response<Body> {
    let upgrading = hyper::upgrade::on(&mut incomer.http);
    let (closed, counted, transport) = (api.closed(), api.metrics.watching(), agreed.transport);
    tokio::spawn(async move {
        let Ok(connection) = upgrading.await else { return };
        let io = TokioIo::new(connection);
        let carry = async {
            match transport {
                Transport::WebSocket => channel::join(io, streams, wanted).await,
                Transport::Spdy => streams::join(io, streams, wanted).await,
            }
        };
        tokio::select! {
            () = carry => {}
            () = closed => {}
        }
        drop(counted);
    });
    agreed.switching()
}

fn request(pod: &serde_json::Value, at: &ResourcePath, query: &Query) -> Result<ExecRequest, Status> {
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    if command.iter().map(String::len).sum::<usize>() > COMMAND_BYTES_MAX {
        return Err(Status::bad_request(format!("the command is longer than {COMMAND_BYTES_MAX} bytes")));
    }
    let tty = query.flag("tty");
    let wanted = Wanted::of(query, tty);
    wanted.check()?;
    Ok(ExecRequest {
        namespace: at.namespace.clone(),
        pod: at.name.clone(),
        pod_uid: pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        container: log::choose(pod, &at.name, query.text("container"))?,
        command,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        tty,
    })
}
