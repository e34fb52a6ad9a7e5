//! Measures one server with a thousand nodes: `scripts/bench fleet`.
//!
//! The nodes are this process: each has a key, a token's certificate, its own QUIC connection over loopback and the
//! streams of an agent, reports its pods Running and beats its heart; none starts anything. In reading order: `node` is
//! one of them, `board` what they tell this bench, `server` the measured process out of /proc, `load` what is put on it.
//!
//! Absent on purpose: a verdict, as in `cluster`.

#[path = "fleet/board.rs"]
mod board;
#[allow(dead_code, reason = "shared with the bench of one machine")]
#[path = "cluster/client.rs"]
mod client;
#[path = "fleet/load.rs"]
mod load;
#[path = "fleet/node.rs"]
mod node;
#[allow(dead_code, reason = "shared with the bench of one machine")]
#[path = "cluster/samples.rs"]
mod samples;
#[path = "fleet/server.rs"]
mod server;
#[allow(dead_code, reason = "shared with the bench of one machine")]
#[path = "cluster/table.rs"]
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tests::lab::Lab;

use crate::board::{Board, Mode};
use crate::client::Access;
use crate::server::Server;
use crate::table::{Row, Table, Unit};

/// A /24 for each of a thousand nodes.
const CONFIG: &str = "podRange: 10.64.0.0/10\nserviceRange: 10.43.0.0/16\n";
/// Status reports, lazy writes, what controllers do about new pods.
const SETTLE: Duration = Duration::from_secs(20);
/// Under the 50 s after which a silent node is NotReady.
const SILENT_WINDOW: Duration = Duration::from_secs(30);
const PHASE_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    nodes: usize,
    pods: usize,
    services: usize,
    bindings: usize,
    idle: Duration,
}

impl Sizes {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut sizes = Self { nodes: 1000, pods: 5000, services: 50, bindings: 200, idle: Duration::from_secs(60) };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let number = |value: Option<String>| -> Result<usize> {
                value.and_then(|value| value.parse().ok()).with_context(|| format!("{argument} needs a number"))
            };
            match argument.as_str() {
                "--quick" => {
                    (sizes.nodes, sizes.pods, sizes.services, sizes.bindings) = (100, 500, 10, 50);
                    sizes.idle = Duration::from_secs(20);
                }
                "--nodes" => sizes.nodes = number(arguments.next())?,
                "--pods" => sizes.pods = number(arguments.next())?,
                // What cargo itself passes to every bench.
                "--bench" => {}
                other => bail!("{other}: not one of --quick, --nodes NUMBER, --pods NUMBER"),
            }
        }
        Ok(sizes)
    }
}

fn main() -> Result<()> {
    let sizes = Sizes::parse(std::env::args().skip(1))?;
    // Each node has a socket.
    let (_, files_max) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, files_max, files_max)?;
    let lab = Lab::prepare(CONFIG);
    let uses = sizes.nodes.to_string();
    let token = lab.token(&["--uses", &uses]).parse()?;
    let server = Server::find(&lab.data())?;
    let access = Access::load(&lab.kubeconfig())?;
    // Before the first thread: all of them must reach the server.
    lab.server_network().enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut table = Table::default();
    let mut bench = Bench { sizes, lab, server, access, board: Arc::new(Board::new(token)) };
    let done = runtime.block_on(async {
        tokio::select! {
            done = bench.run(&mut table) => done,
            // So that what was made is taken away.
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    });
    println!("\n{table}\nload at the end: {}", std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    if done.is_err() {
        let log = bench.lab.log();
        log.lines().rev().take(40).for_each(|line| eprintln!("{line}"));
    }
    done
}

struct Bench {
    sizes: Sizes,
    lab: Lab,
    server: Server,
    access: Access,
    board: Arc<Board>,
}

impl Bench {
    async fn run(&mut self, table: &mut Table) -> Result<()> {
        let empty = self.server.pss_mib()?;
        self.join(table).await?;
        let joined = self.server.pss_mib()?;
        let each = (joined - empty) * 1024.0 / self.sizes.nodes as f64;
        table.push(
            Row::new(format!("server PSS, {} nodes joined", self.sizes.nodes), joined, Unit::Mebibytes)
                .beside(format!("{empty:.1} MiB without nodes, {each:.1} KiB a node")),
        );
        self.fill(table).await?;
        self.idle(table).await?;
        load::bindings(&self.access, &self.board, self.sizes, table).await?;
        self.come_back("all connections lost", table, |bench| {
            bench.board.reconnect();
            Ok(())
        })
        .await?;
        self.come_back("server killed and started", table, |bench| {
            bench.lab.stop_server(nix::sys::signal::Signal::SIGKILL);
            bench.lab.start_server();
            Ok(())
        })
        .await
    }

    async fn join(&mut self, table: &mut Table) -> Result<()> {
        let (begun, cpu) = (Instant::now(), self.server.cpu()?);
        for number in 0..self.sizes.nodes {
            tokio::spawn(node::live(number, self.board.clone()));
        }
        in_time("all nodes Ready", load::ready_nodes(&self.access, self.sizes.nodes)).await??;
        let spent = self.server.cpu()? - cpu;
        let row = Row::new(
            format!("{} nodes join, all Ready", self.sizes.nodes),
            begun.elapsed().as_secs_f64(),
            Unit::Seconds,
        );
        table.push(row.beside(format!("{:.1} s of the server's CPU", spent.as_secs_f64())));
        in_time("all nodes synced", self.board.synced(self.sizes.nodes)).await
    }

    async fn fill(&mut self, table: &mut Table) -> Result<()> {
        let (begun, cpu, bytes) = (Instant::now(), self.server.cpu()?, self.board.bytes());
        in_time("pods and Services are made", load::fill(&self.access, self.sizes)).await??;
        let made = begun.elapsed();
        in_time("pods Running", load::running_pods(&self.access, self.sizes.pods)).await??;
        let (spent, sent) = (self.server.cpu()? - cpu, self.board.bytes() - bytes);
        let Sizes { pods, services, .. } = self.sizes;
        let what = format!("{pods} pods of {services} Services bound, all Running");
        table.push(Row::new(what, begun.elapsed().as_secs_f64(), Unit::Seconds).beside(format!(
            "made in {:.1} s; {:.1} s of the server's CPU; {:.0} MB told to nodes",
            made.as_secs_f64(),
            spent.as_secs_f64(),
            sent as f64 / 1e6
        )));
        table.push(Row::new("server peak RSS meanwhile", self.server.peak_mib()?, Unit::Mebibytes));
        Ok(())
    }

    async fn idle(&mut self, table: &mut Table) -> Result<()> {
        tokio::time::sleep(SETTLE).await;
        let Sizes { nodes, pods, idle, .. } = self.sizes;
        let what = format!("server PSS, {nodes} nodes, {pods} pods");
        table.push(Row::new(what, self.server.pss_mib()?, Unit::Mebibytes).at_most(100.0).peers("933 MiB;"));
        let share = |spent: Duration, window: Duration| 100.0 * spent.as_secs_f64() / window.as_secs_f64();
        let (cpu, told) = (self.server.cpu()?, self.board.bytes());
        tokio::time::sleep(idle).await;
        let spent = self.server.cpu()? - cpu;
        let what = format!("idle CPU of a core with heartbeats, over {} s", idle.as_secs());
        let each = spent.as_secs_f64() * 1e6 / (idle.as_secs_f64() * nodes as f64 / node::HEARTBEAT.as_secs_f64());
        let told = self.board.bytes() - told;
        table.push(
            Row::new(what, share(spent, idle), Unit::Percent)
                .beside(format!("{each:.0} us a heartbeat; {told} bytes told to nodes")),
        );
        self.board.set(Mode::Silent);
        let cpu = self.server.cpu()?;
        tokio::time::sleep(SILENT_WINDOW).await;
        let spent = self.server.cpu()? - cpu;
        self.board.set(Mode::Beating);
        let what = format!("idle CPU of a core, connections alone, over {} s", SILENT_WINDOW.as_secs());
        table.push(Row::new(what, share(spent, SILENT_WINDOW), Unit::Percent).at_most(0.13));
        Ok(())
    }

    /// Until every node has its whole desired state again and has told of its pods.
    async fn come_back(
        &mut self,
        what: &str,
        table: &mut Table,
        cut: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        tokio::time::sleep(SETTLE).await;
        self.server.forget_peak()?;
        let (before, bytes) = (self.server.pss_mib()?, self.board.bytes());
        self.board.forget_synced();
        let begun = Instant::now();
        cut(self)?;
        in_time(what, self.board.synced(self.sizes.nodes)).await?;
        let took = begun.elapsed();
        self.server = Server::find(&self.lab.data())?;
        let nodes = self.sizes.nodes;
        table.push(
            Row::new(format!("{what}: {nodes} nodes back"), took.as_secs_f64(), Unit::Seconds)
                .beside(format!("{:.1} MB told to nodes", (self.board.bytes() - bytes) as f64 / 1e6)),
        );
        tokio::time::sleep(SETTLE).await;
        table.push(
            Row::new(format!("{what}: server peak RSS"), self.server.peak_mib()?, Unit::Mebibytes)
                .beside(format!("PSS {before:.1} MiB before, {:.1} MiB after", self.server.pss_mib()?)),
        );
        Ok(())
    }
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PHASE_MAX, work).await.with_context(|| format!("{what}: not within {} s", PHASE_MAX.as_secs()))
}
