//! What the node, its pods and their containers use, read from cgroups and `/proc` when the server asks for it, and only then.
//!
//! Cores in use need two looks. The second look of one question is the first of the next, where that comes soon enough;
//! else the node looks twice, a second apart.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use agent_pods::machine::Phase;
use agent_runtime::{ContainerState, Stats};
use control_api::usage::{ContainerUsage, Disk, Network, NodeUsage, PodUsage, Usage, UsageRequest};
use control_wire::UsageReply;
use tokio::sync::Mutex;

use crate::adapters::chain;
use crate::daemon::Node;
use crate::metrics;

/// A window under this shows noise, one over the other what was long ago.
const WINDOW_MIN: Duration = Duration::from_secs(1);
const WINDOW_MAX: Duration = Duration::from_secs(60);
/// Of `/proc/stat`, on every architecture of Linux.
const TICK_NS: u64 = 10_000_000;

/// The last look. Whoever asks meanwhile waits, and then has it for the first of his two.
#[derive(Debug, Default)]
pub struct Sampler(Mutex<Option<Look>>);

#[derive(Debug)]
struct Look {
    at: Instant,
    /// By the pod's uid, and the container's id where it is one's; the machine's by nothing.
    cpu_ns: HashMap<(String, String), u64>,
}

pub async fn answer(node: Node, request: UsageRequest, reply: UsageReply) {
    let usage = if request.rates { with_rates(&node).await } else { look(&node).await };
    if let Err(error) = reply.answer(&usage).await {
        tracing::debug!(error = chain(&error), "nobody waits any more for what this node uses");
    }
}

async fn with_rates(node: &Node) -> NodeUsage {
    let mut last = node.sampler.0.lock().await;
    let usable = |look: &Look| (WINDOW_MIN..WINDOW_MAX).contains(&look.at.elapsed());
    let before = match last.take().filter(usable) {
        Some(look) => look,
        None => {
            let first = remember(&look(node).await);
            tokio::time::sleep(WINDOW_MIN).await;
            first
        }
    };
    let mut usage = look(node).await;
    let after = remember(&usage);
    let window = after.at.duration_since(before.at);
    usage.window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    every(&mut usage, |key, usage| {
        // What is new since the first look has used all its time in the window.
        let used = usage.cpu_ns.saturating_sub(before.cpu_ns.get(&key).copied().unwrap_or(0));
        usage.cpu_nanocores = Some((used as f64 / window.as_secs_f64()) as u64);
    });
    *last = Some(after);
    usage
}

fn remember(usage: &NodeUsage) -> Look {
    let mut cpu_ns = HashMap::new();
    every(&mut usage.clone(), |key, usage| {
        cpu_ns.insert(key, usage.cpu_ns);
    });
    Look { at: Instant::now(), cpu_ns }
}

fn every(usage: &mut NodeUsage, mut take: impl FnMut((String, String), &mut Usage)) {
    take(Default::default(), &mut usage.usage);
    for pod in &mut usage.pods {
        take((pod.uid.clone(), String::new()), &mut pod.usage);
        for container in &mut pod.containers {
            take((pod.uid.clone(), container.id.clone()), &mut container.usage);
        }
    }
}

async fn look(node: &Node) -> NodeUsage {
    let mut pods = Vec::new();
    let mut processes = HashMap::new();
    for sandbox in node.runtime.list().await.unwrap_or_default() {
        let pids = sandbox.containers.iter().filter_map(|container| match container.state {
            ContainerState::Running { pid, .. } => Some(pid),
            _ => None,
        });
        let own_network = sandbox.sandbox.netns_path.is_some();
        if let Some(pid) = pids.into_iter().next().filter(|_| own_network) {
            processes.insert(sandbox.spec.uid.clone(), pid);
        }
    }
    for pod in node.fleet.list() {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let Some(state) = node.fleet.state(&uid) else { continue };
        // Its sandbox is not made yet, or already gone.
        let Ok(stats) = node.runtime.sandbox_stats(&uid).await else { continue };
        let mut told = PodUsage {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            started_ms: state.started.as_millisecond(),
            usage: usage(stats),
            network: processes.get(&uid).and_then(|pid| network(&format!("/proc/{pid}/net/dev"), "eth0")),
            ..PodUsage::default()
        };
        for slot in state.slots {
            let (Phase::Running { since }, Some(id)) = (&slot.phase, slot.container_id) else { continue };
            let Ok(stats) = node.runtime.stats(&uid, &id).await else { continue };
            let started_ms = since.as_millisecond();
            told.containers.push(ContainerUsage {
                name: slot.name,
                id,
                image: slot.image,
                started_ms,
                usage: usage(stats),
            });
        }
        told.uid = uid;
        pods.push(told);
    }
    let mut own = machine(&node.config.layout.root);
    own.agent_metrics = metrics::render(node);
    own.pods = pods;
    own
}

fn usage(stats: Stats) -> Usage {
    Usage {
        cpu_ns: stats.cpu_usage_ns,
        cpu_nanocores: None,
        memory_usage_bytes: stats.memory_usage_bytes,
        memory_working_set_bytes: stats.memory_working_set_bytes,
        memory_rss_bytes: stats.memory_rss_bytes,
        pids: stats.pids,
    }
}

/// The whole machine, other programs included.
fn machine(data: &std::path::Path) -> NodeUsage {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let used = kib("MemTotal").saturating_sub(kib("MemFree"));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    // `0.1 0.2 0.3 1/234 5678`: of 234 threads 1 runs.
    let threads = load.split_whitespace().nth(3).and_then(|field| field.split_once('/')?.1.parse().ok());
    NodeUsage {
        time_ms: jiff::Timestamp::now().as_millisecond(),
        booted_ms: field(&stat, "btime").first().copied().unwrap_or(0).cast_signed() * 1000,
        memory_capacity_bytes: kib("MemTotal"),
        usage: Usage {
            cpu_ns: busy_ticks(&field(&stat, "cpu")) * TICK_NS,
            cpu_nanocores: None,
            memory_usage_bytes: used,
            memory_working_set_bytes: used.saturating_sub(kib("Inactive(file)")),
            memory_rss_bytes: kib("AnonPages"),
            pids: threads.unwrap_or(0),
        },
        disk: disk(data),
        network: default_link().and_then(|link| network("/proc/net/dev", &link)),
        ..NodeUsage::default()
    }
}

fn field(stat: &str, name: &str) -> Vec<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in user's already.
fn busy_ticks(cpu: &[u64]) -> u64 {
    cpu.iter().enumerate().filter(|(index, _)| !matches!(index, 3 | 4) && *index < 8).map(|(_, ticks)| ticks).sum()
}

fn disk(path: &std::path::Path) -> Disk {
    let Ok(disk) = nix::sys::statvfs::statvfs(path) else { return Disk::default() };
    // These are 32 bits wide on some of the platforms.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "their width differs by platform")]
    let (unit, blocks, free, available) =
        (disk.fragment_size() as u64, disk.blocks() as u64, disk.blocks_free() as u64, disk.blocks_available() as u64);
    #[allow(clippy::unnecessary_cast, reason = "their width differs by platform")]
    let (inodes, inodes_free) = (disk.files() as u64, disk.files_free() as u64);
    Disk {
        capacity_bytes: blocks * unit,
        available_bytes: available * unit,
        used_bytes: blocks.saturating_sub(free) * unit,
        inodes,
        inodes_free,
    }
}

/// The link of the route to everywhere.
fn default_link() -> Option<String> {
    let routes = fs::read_to_string("/proc/net/route").ok()?;
    let mut fields = routes.lines().skip(1).map(|line| line.split_whitespace());
    fields.find_map(|mut fields| {
        let link = fields.next()?;
        (fields.next()? == "00000000").then(|| link.to_owned())
    })
}

/// One link's line of a `net/dev`.
fn network(path: &str, link: &str) -> Option<Network> {
    parse_network(&fs::read_to_string(path).ok()?, link)
}

fn parse_network(text: &str, link: &str) -> Option<Network> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(link)?.strip_prefix(':'))?;
    let figures: Vec<u64> = line.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    Some(Network {
        interface: link.to_owned(),
        received_bytes: *figures.first()?,
        receive_errors: *figures.get(2)?,
        sent_bytes: *figures.get(8)?,
        send_errors: *figures.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_that_of_guests_counts_as_no_use() {
        let stat = "cpu  10 1 20 1000 500 2 3 4 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nbtime 1700000000\n";
        assert_eq!(busy_ticks(&field(stat, "cpu")), 40);
        assert_eq!(field(stat, "btime"), [1_700_000_000]);
    }

    #[test]
    fn a_link_is_found_among_others_by_its_whole_name() {
        let text = "Inter-|   Receive\n face |bytes\n  eth01: 9 9 9 0 0 0 0 0 9 9 9 0 0 0 0 0\n  eth0: 5 6 7 0 0 0 0 0 8 9 1 0 0 0 0 0\n";
        let network = parse_network(text, "eth0").unwrap();
        assert_eq!((network.received_bytes, network.receive_errors), (5, 7));
        assert_eq!((network.sent_bytes, network.send_errors), (8, 1));
    }
}
