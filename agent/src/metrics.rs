//! `/metrics` of the agent on loopback, in Prometheus' text format.

use std::fmt::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::daemon::Node;

const REQUEST_BYTES_MAX: usize = 4096;
const REQUEST_SECONDS_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// An address that is taken is no reason to end: the agent goes on without metrics.
pub async fn serve(node: Node) {
    let Some(address) = node.config.metrics.clone() else { return };
    let listener = match TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::info!(address, %error, "metrics are not served");
            return;
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer(stream, node.clone());
            tokio::spawn(async { tokio::time::timeout(REQUEST_SECONDS_MAX, answer).await });
        }
    });
}

async fn answer(mut stream: TcpStream, node: Node) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        if stream.read_buf(&mut request).await? == 0 {
            break;
        }
    }
    let (code, body) = match request.starts_with(b"GET /metrics ") {
        true => ("200 OK", render(&node)),
        false => ("404 Not Found", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {code}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

pub fn render(node: &Node) -> String {
    let pods = node.fleet.list();
    let states = pods.iter().filter_map(|pod| node.fleet.state(pod.metadata.uid.as_deref()?));
    let (mut running, mut restarts) = (0_u64, 0_i64);
    for slot in states.flat_map(|state| state.slots) {
        running += u64::from(matches!(slot.phase, agent_pods::machine::Phase::Running { .. }));
        restarts += i64::from(slot.restart_count());
    }
    let images = node.images.list().map_or(0, |list| list.len());
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: i64| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    };
    gauge("process_resident_memory_bytes", "Resident memory of the agent.", resident_bytes());
    gauge("bramble_agent_pods", "Pods on the node.", i64::try_from(pods.len()).unwrap_or(i64::MAX));
    gauge("bramble_agent_containers_running", "Containers that run.", i64::try_from(running).unwrap_or(i64::MAX));
    gauge("bramble_agent_container_restarts", "Restarts of the containers of present pods.", restarts);
    gauge("bramble_agent_images", "Images on the node.", i64::try_from(images).unwrap_or(i64::MAX));
    let stalls = i64::try_from(node.shortage.stalls()).unwrap_or(i64::MAX);
    gauge("bramble_agent_memory_stalls", "Times that the kernel told of programs that wait for memory.", stalls);
    text
}

fn resident_bytes() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok()).unwrap_or(0) * 1024
}
