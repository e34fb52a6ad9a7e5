//! Measures machines that look like one against their budgets: `scripts/bench lan`.
//!
//! Five machines in network namespaces on one LAN, with the programs of this build. In reading order: `options`; `rules`
//! and `dns` run parts of the agent alone, `idle` looks at the cluster's agents, `traffic` and `readiness` use two pods,
//! `join` more machines.
//!
//! Absent on purpose: a verdict, as in `cluster`.

#[allow(dead_code, reason = "shared with the bench of one machine")]
#[path = "cluster/client.rs"]
mod client;
#[path = "lan/dns.rs"]
mod dns;
#[path = "lan/idle.rs"]
mod idle;
#[path = "lan/join.rs"]
mod join;
#[path = "lan/options.rs"]
mod options;
#[path = "lan/readiness.rs"]
mod readiness;
#[path = "lan/rules.rs"]
mod rules;
#[allow(dead_code, reason = "shared with the bench of one machine")]
#[path = "cluster/samples.rs"]
mod samples;
#[allow(dead_code, reason = "shared with the bench of one machine")]
#[path = "cluster/table.rs"]
mod table;
#[path = "lan/traffic.rs"]
mod traffic;

use std::net::Ipv4Addr;

use anyhow::Result;
use hyper::Method;
use tests::lab::Lab;
use tests::program::eventually;

use crate::client::Access;
use crate::options::Options;
use crate::table::Table;

const MACHINES: usize = 5;
/// The condition that makes the second pod ready.
const GATE: &str = "bramble.dev/bench";

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "bramble.local/demo:1", command: [/bin/busybox, sleep, "1000000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: two, labels: {app: two}}
spec:
  nodeName: n2
  terminationGracePeriodSeconds: 0
  readinessGates: [{conditionType: bramble.dev/bench}]
  containers: [{name: c, image: "bramble.local/demo:1", command: [/bin/busybox, sleep, "1000000"]}]
---
apiVersion: v1
kind: Service
metadata: {name: two}
spec:
  selector: {app: two}
  ports: [{port: 8080}]
"#;

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut table = Table::default();
    let outcome = run(options, &mut table);
    println!("\n{table}\nload at the end: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    outcome
}

fn run(options: Options, table: &mut Table) -> Result<()> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    if options.wants("rules") {
        runtime()?.block_on(rules::measure(options, table))?;
    }
    if options.wants("dns") {
        dns::measure(options, table)?;
    }
    if !["idle", "traffic", "readiness", "join"].into_iter().any(|name| options.wants(name)) {
        return Ok(());
    }
    let mut lab = Lab::start(MACHINES);
    let access = Access::load(&lab.kubeconfig())?;
    // Before the first thread: all of them must reach the server.
    lab.server_network().enter();
    let runtime = runtime()?;
    let addresses = pods(&lab, &access, &runtime)?;
    if options.wants("idle") {
        idle::measure(&lab, options, table)?;
    }
    if options.wants("traffic") {
        traffic::measure(&lab, addresses, options, table)?;
    }
    if options.wants("readiness") {
        runtime.block_on(readiness::measure(&lab, &access, addresses[1], options, table))?;
    }
    if options.wants("join") {
        runtime.block_on(join::measure(&mut lab, &access, options, table))?;
    }
    Ok(())
}

/// Two pods on two machines, the second one's server and Service; their addresses.
fn pods(lab: &Lab, access: &Access, runtime: &tokio::runtime::Runtime) -> Result<[Ipv4Addr; 2]> {
    lab.apply(PODS).ok();
    for pod in ["one", "two"] {
        let words = format!("wait pod/{pod} --for=jsonpath={{.status.phase}}=Running --timeout=60s");
        lab.k(&words).ok();
    }
    traffic::serve(&traffic::of_pod(&lab.nodes[1])?)?;
    let ready = format!(r#"{{"status": {{"conditions": [{{"type": "{GATE}", "status": "True"}}]}}}}"#);
    runtime.block_on(async { access.connect().await?.call(Method::PATCH, TWO, ready.into()).await })?;
    let endpoints = "endpointslices -l kubernetes.io/service-name=two";
    eventually("the Service has its endpoint", 20, || {
        lab.field(endpoints, "{.items[*].endpoints[*].conditions.ready}") == "true"
    });
    Ok([lab.field("pod two", "{.status.podIP}").parse()?, lab.field("service two", "{.spec.clusterIP}").parse()?])
}

/// The second pod's status.
const TWO: &str = "/api/v1/namespaces/default/pods/two/status";
