//! Measures cards in emulated ARM machines: `scripts/bench arm`. `--quick` boots the smallest memories no more.
//!
//! Absent on purpose: boards. An emulated processor is slower than any of them, so what holds here holds there.

#[allow(dead_code, reason = "shared with the bench of one machine")]
#[path = "cluster/table.rs"]
mod table;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tests::guest::arch::Arch;
use tests::guest::card::{CardMachine, MEMORY_MIB};
use tests::lab::Lab;
use tests::lab::dhcp::Dhcp;
use tests::registry::{Registry, demo_index};

use crate::table::{Row, Table, Unit};

const ROUTER: &str = "192.168.78.254";
const AGENT: &str = "192.168.78.31";
const SERVER: &str = "192.168.78.41";
const START_SECONDS_MAX: u64 = 300;
/// What an agent needs to settle after its start.
const IDLE: Duration = Duration::from_secs(30);
/// A first start grows a file system and makes keys; what it leaves in the page cache is written within this.
const FIRST_START: Duration = Duration::from_secs(120);
/// What is written then is taken for a day's share.
const IDLE_WRITES: Duration = Duration::from_secs(300);
/// Memories to try, from what surely does.
const MEMORIES_MIB: [u32; 7] = [256, 192, 160, 144, 128, 112, 96];

const PODS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: three}
spec:
  replicas: 3
  selector: {matchLabels: {app: three}}
  template:
    metadata: {labels: {app: three}}
    spec:
      containers:
        - name: web
          image: IMAGE
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2}
"#;

fn main() -> Result<()> {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let mut table = Table::default();
    let outcome = [Arch::Aarch64, Arch::Armv7].into_iter().try_for_each(|arch| agent(arch, quick, &mut table));
    let outcome = outcome.and_then(|()| server(&mut table));
    println!("\n{table}\nload at the end: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    outcome
}

/// Waits without looking more often than the emulator can bear.
fn until(what: &str, seconds: u64, mut check: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !check() {
        if Instant::now() > deadline {
            bail!("not within {seconds} s: {what}");
        }
        std::thread::park_timeout(Duration::from_millis(200));
    }
    Ok(())
}

/// RSS and PSS of a program in the machine, in MiB.
fn memory(card: &CardMachine, lab: &Lab, program: &str) -> Result<(f64, f64)> {
    // By its pid file: `bramble-agent card console` has the agent's name too.
    let file = if program == "bramble" { "server" } else { "agent" };
    let line = format!("cat /proc/$(cat /var/lib/bramble/{file}.pid)/smaps_rollup");
    let said = card.ssh(&lab.lan, &line);
    let field = |name: &str| -> Result<f64> {
        let line = said.out.lines().find(|line| line.starts_with(name));
        let line = line.with_context(|| format!("{program} is not there: {}{}", said.out, said.err))?;
        let kib: f64 = line.split_whitespace().nth(1).context("a line has a number")?.parse()?;
        Ok(kib / 1024.0)
    };
    Ok((field("Rss:")?, field("Pss:")?))
}

fn report(table: &mut Table, card: &CardMachine, lab: &Lab, program: &str, budget: f64) -> Result<()> {
    let (rss, pss) = memory(card, lab, program)?;
    let what = format!("{program} idle, {}, PSS", card.arch.machine());
    table.push(Row::new(what, pss, Unit::Mebibytes).at_most(budget).beside(format!("RSS {rss:.1} MiB")));
    Ok(())
}

/// Bytes that each process has written to the card, as its kernel counts them.
fn writers(card: &CardMachine, lab: &Lab) -> String {
    let line = "for p in /proc/[0-9]*; do b=$(sed -n 's/^write_bytes: //p' $p/io 2>/dev/null); [ \"${b:-0}\" = 0 ] || echo \"$(cat $p/comm) $b\"; done; cat /proc/diskstats | grep vda";
    card.ssh(&lab.lan, line).out
}

/// A card that joins an x86 server.
fn agent(arch: Arch, quick: bool, table: &mut Table) -> Result<()> {
    let lab = Lab::prepare("");
    let registry = Registry::start_at(lab.lan.router(), ROUTER);
    let image = demo_index(&registry, lab.lan.router(), &[arch], "three:1");
    let _dhcp = Dhcp::start(&lab.lan, &[AGENT]);
    let settings = format!(
        "role = \"agent\"\nhostname = \"pi\"\njoin = \"{}\"\n[agent.registries]\ninsecure = [\"{ROUTER}:5000\"]\n",
        lab.token(&[])
    );
    let mut card = CardMachine::flash(&lab.lan, arch, AGENT, &settings);
    card.power_on(&lab.lan);
    let ready = |lab: &Lab| {
        let said =
            lab.kubectl(&["get", "node", "pi", "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"]);
        said.code == 0 && said.out == "True"
    };
    until("the node is Ready", START_SECONDS_MAX, || ready(&lab))?;
    let seconds = card.switched_on().elapsed().as_secs_f64();
    let what = format!("first power on to Ready, {}, {MEMORY_MIB} MiB", arch.machine());
    table.push(Row::new(what, seconds, Unit::Seconds).at_most(60.0));
    std::thread::park_timeout(FIRST_START);
    let before = (card.disk().written_bytes(), writers(&card, &lab));
    std::thread::park_timeout(IDLE_WRITES);
    let written = card.disk().written_bytes() - before.0;
    println!(
        "{}: {written} bytes written in {IDLE_WRITES:?}\nbefore:\n{}\nafter:\n{}",
        arch.machine(),
        before.1,
        writers(&card, &lab)
    );
    let written = written as f64 / 1e6 * (86_400.0 / IDLE_WRITES.as_secs_f64());
    table.push(
        Row::new(format!("written to the card at idle, a day, {}", arch.machine()), written, Unit::Megabytes)
            .at_most(10.0),
    );
    report(table, &card, &lab, "bramble-agent", 12.0)?;
    lab.apply(&PODS.replace("IMAGE", &image)).ok();
    until("three pods are ready", START_SECONDS_MAX, || {
        lab.field("deployment three", "{.status.readyReplicas}") == "3"
    })?;
    report(table, &card, &lab, "bramble-agent", 15.0)?;
    if quick {
        return Ok(());
    }
    let smallest = smallest_memory(&mut card, &lab);
    let what = format!("smallest memory for a node with three pods, {}", arch.machine());
    table.push(Row::new(what, f64::from(smallest), Unit::Mebibytes).at_most(128.0));
    Ok(())
}

/// Starts it again with less and less, until its three pods do not come back.
fn smallest_memory(card: &mut CardMachine, lab: &Lab) -> u32 {
    let mut smallest = MEMORY_MIB;
    for mebibytes in MEMORIES_MIB {
        card.power_cut();
        // The server's word on them is from before until it notices.
        let gone = until("the server misses the node", 120, || {
            lab.field("deployment three", "{.status.readyReplicas}") != "3"
        });
        card.memory_mib = mebibytes;
        card.power_on(&lab.lan);
        let back =
            until("three pods are ready", 240, || lab.field("deployment three", "{.status.readyReplicas}") == "3");
        let free =
            card.ssh(&lab.lan, "grep -E 'MemAvailable|MemTotal' /proc/meminfo; dmesg | grep -c 'Out of memory'").out;
        println!("{mebibytes} MiB: gone {}, back {}; {}", gone.is_ok(), back.is_ok(), free.replace('\n', " "));
        if gone.is_err() || back.is_err() {
            break;
        }
        smallest = mebibytes;
    }
    smallest
}

/// A card that is the whole cluster.
fn server(table: &mut Table) -> Result<()> {
    let lab = Lab::prepare("");
    let _dhcp = Dhcp::start(&lab.lan, &[SERVER]);
    let mut card = CardMachine::flash(&lab.lan, Arch::Aarch64, SERVER, "role = \"server\"\nhostname = \"home\"\n");
    card.power_on(&lab.lan);
    until("the card's own node is Ready", START_SECONDS_MAX, || {
        let said = card.ssh(&lab.lan, "bramble node list");
        said.out.lines().any(|line| line.starts_with("home") && line.contains("Ready") && !line.contains("NotReady"))
    })?;
    let seconds = card.switched_on().elapsed().as_secs_f64();
    table.push(Row::new("first power on of a server to Ready, aarch64", seconds, Unit::Seconds));
    std::thread::park_timeout(IDLE);
    report(table, &card, &lab, "bramble", 23.0)?;
    report(table, &card, &lab, "bramble-agent", 12.0)
}
