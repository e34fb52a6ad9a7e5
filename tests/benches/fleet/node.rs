//! One node that starts nothing: it joins, takes its desired state, calls its pods Running, and beats its heart.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use control_wire::{Hello, Identity, Link, NodeKey, PROTOCOL, Report, ReportStream, Sync, SyncStream};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::board::{Board, Mode};

/// As an agent's.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// As an agent's: longer means that the server is gone.
const ANSWER: Duration = Duration::from_secs(12);
const TIME: &str = "2026-01-01T00:00:00Z";

pub fn name(number: usize) -> String {
    format!("node-{number}")
}

/// Where the desired state was left off.
#[derive(Default)]
struct Position {
    revision: u64,
    epoch: u64,
    addresses: usize,
}

/// Runs for as long as the bench does.
pub async fn live(number: usize, board: Arc<Board>) {
    let key = NodeKey::generate().expect("the system has random numbers");
    let mut pause = Pause::new(number);
    let identity = loop {
        match Link::join(&board.token, &name(number), &key).await {
            Ok((identity, _)) => break identity,
            Err(error) => pause.take(&error).await,
        }
    };
    let mut position = Position::default();
    pause = Pause::new(number);
    loop {
        let mut generation = board.generation();
        let ended = tokio::select! {
            ended = session(number, &board, &identity, &mut position, &mut pause) => ended,
            _ = generation.changed() => Ok(()),
        };
        match ended {
            Ok(()) => pause.take(&"the bench cut the connection").await,
            Err(error) => pause.take(&error).await,
        }
    }
}

struct Pause {
    next: Duration,
    /// Between a half and one, as an agent's.
    jitter: f64,
}

impl Pause {
    fn new(number: usize) -> Self {
        Self { next: PAUSE_MIN, jitter: 0.5 + (number * 7919 % 1000) as f64 / 2000.0 }
    }

    async fn take(&mut self, reason: &impl ToString) {
        if std::env::var_os("FLEET_VERBOSE").is_some() {
            eprintln!("{}", reason.to_string());
        }
        tokio::time::sleep(self.next.mul_f64(self.jitter)).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
    }
}

async fn session(
    number: usize,
    board: &Board,
    identity: &Identity,
    position: &mut Position,
    pause: &mut Pause,
) -> Result<()> {
    let (link, _) = Link::connect(&identity.addresses, identity, hello(number)).await?;
    *pause = Pause::new(number);
    let mut reports = link.report().await?;
    let mut desired = link.sync(position.revision, position.epoch).await?;
    // Nodes that were started one after the other do not beat together.
    let mut beat = Instant::now() + HEARTBEAT.mul_f64((number * 7919 % 1000) as f64 / 1000.0);
    reports.send(&Report::NodeStatus { json: status(number).to_string().into_bytes() }).await?;
    loop {
        tokio::select! {
            told = next(&mut desired, position, board) => match told? {
                Told::Nothing => {}
                Told::Synced => board.node_synced(number),
                Told::Pod(pod) => running(number, position, board, &pod, &mut reports).await?,
            },
            () = tokio::time::sleep_until(beat) => {
                beat = Instant::now() + HEARTBEAT;
                if board.mode() == Mode::Beating {
                    reports.send(&Report::Heartbeat { time_ms: 0 }).await?;
                    tokio::time::timeout(ANSWER, reports.flushed()).await??;
                }
            }
        }
    }
}

enum Told {
    Nothing,
    Synced,
    Pod(Value),
}

/// Cancel-safe: all that it does after the one wait is done at once.
async fn next(desired: &mut SyncStream, position: &mut Position, board: &Board) -> Result<Told> {
    match desired.next().await? {
        None => bail!("the server ended the desired state"),
        Some(Sync::Put { resource, json, .. }) => {
            board.told(json.len());
            Ok(if resource == "pods" { Told::Pod(serde_json::from_slice(&json)?) } else { Told::Nothing })
        }
        Some(Sync::Synced { revision, epoch }) => {
            (position.revision, position.epoch) = (revision, epoch);
            Ok(Told::Synced)
        }
        Some(Sync::Reset { .. } | Sync::Delete { .. }) => Ok(Told::Nothing),
    }
}

/// Says that a pod runs that is not known to.
async fn running(
    number: usize,
    position: &mut Position,
    board: &Board,
    pod: &Value,
    reports: &mut ReportStream,
) -> Result<()> {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    board.pod_heard(&text("name"));
    if pod["status"]["phase"] == "Running" {
        return Ok(());
    }
    position.addresses += 1;
    let address = format!("10.{}.{}.{}", 64 + number / 256, number % 256, 1 + position.addresses % 250);
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": TIME});
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"].map(condition);
    let status = json!({
        "phase": "Running", "hostIP": address_of(number), "podIP": address, "podIPs": [{"ip": address}],
        "startTime": TIME,
        "conditions": conditions,
        "containerStatuses": [{
            "name": "c", "image": "bramble.local/demo:1", "imageID": "", "ready": true, "started": true,
            "restartCount": 0, "containerID": format!("bramble://{}", text("uid")),
            "state": {"running": {"startedAt": TIME}},
        }],
    });
    let json = status.to_string().into_bytes();
    let (namespace, name, uid) = (text("namespace"), text("name"), text("uid"));
    Ok(reports.send(&Report::PodStatus { namespace, name, uid, json }).await?)
}

fn address_of(number: usize) -> String {
    format!("192.168.{}.{}", 100 + number / 250, 1 + number % 250)
}

fn hello(number: usize) -> Hello {
    let labels = json!({
        "kubernetes.io/hostname": name(number), "kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64",
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "arm64",
    });
    let metadata = json!({"name": name(number), "labels": labels});
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status(number)});
    Hello {
        protocol: PROTOCOL,
        node_name: name(number),
        agent_version: "0.1.0".to_owned(),
        platform: "linux/arm64".to_owned(),
        node: node.to_string().into_bytes(),
    }
}

/// As an agent's on a Raspberry Pi.
fn status(number: usize) -> Value {
    let amounts = json!({"cpu": "4", "memory": "3884312Ki", "ephemeral-storage": "30371840Ki", "pods": "110"});
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "lastHeartbeatTime": TIME, "lastTransitionTime": TIME,
            "reason": format!("Kubelet{kind}"), "message": "kubelet is posting its status",
        })
    };
    json!({
        "capacity": amounts, "allocatable": amounts,
        "addresses": [{"type": "InternalIP", "address": address_of(number)}, {"type": "Hostname", "address": name(number)}],
        "conditions": [
            condition("MemoryPressure", "False"), condition("DiskPressure", "False"), condition("PIDPressure", "False"),
            condition("Ready", "True"),
        ],
        "nodeInfo": {
            "machineID": format!("{number:032x}"), "systemUUID": format!("{number:032x}"),
            "bootID": "6a204bd8-9b5a-4f8e-9e55-0b5cb4a4ef2e", "kernelVersion": "6.12.34+rpt-rpi-v8",
            "osImage": "Debian GNU/Linux 12 (bookworm)", "containerRuntimeVersion": "bramble://0.1.0",
            "kubeletVersion": "v1.35.0", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "arm64",
        },
        "images": [{"names": ["bramble.local/demo:1"], "sizeBytes": 4_000_000}],
    })
}
