//! Questions a second about a cluster's own names; beside it dnsmasq with as many, where there is one (`DNSMASQ` or PATH).

use std::ffi::OsString;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_dns::{Config, Dns};
use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::options::Options;
use crate::table::{Row, Table, Unit};

/// Questions under way, so that neither side waits for the other.
const WINDOW: usize = 64;
const ANSWER_MAX: Duration = Duration::from_secs(2);
const PEER_PORT: u16 = 5399;
const PEER_START_MAX: Duration = Duration::from_secs(5);

pub fn measure(options: Options, table: &mut Table) -> Result<()> {
    let count = options.services;
    let own = ours(count)?;
    let peer = match Peer::start(count) {
        Ok(peer) => Some(peer),
        Err(error) => {
            eprintln!("  no dnsmasq beside it: {error:#}");
            None
        }
    };
    let peer_at = SocketAddr::from(([127, 0, 0, 1], PEER_PORT));
    if peer.is_some() {
        let begun = Instant::now();
        while ask(peer_at, Duration::from_millis(10)).is_err() {
            ensure!(begun.elapsed() < PEER_START_MAX, "dnsmasq does not answer");
        }
    }
    let (mut rates, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        rates.push(ask(own, options.window)?);
        if peer.is_some() {
            peers.push(ask(peer_at, options.window)?);
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    };
    let rate = median(rates).context("there is a round")?;
    let row = Row::new(format!("DNS: questions about {count} own names, one core"), rate, Unit::PerSecond);
    table.push(match median(peers) {
        Some(peer) => row.beside(format!("dnsmasq {peer:.0} /s, ratio {:.2}", rate / peer)),
        None => row,
    });
    Ok(())
}

/// The node's DNS on a thread of its own; ends with the bench.
fn ours(count: usize) -> Result<SocketAddr> {
    let (sender, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let config = Config { listen: vec!["127.0.0.1:0".parse()?], ..Config::default() };
            let dns = Dns::start(config)?;
            for number in 0..count {
                let object = json!({"metadata": {"name": format!("s{number}"), "namespace": "default"},
                    "spec": {"clusterIP": address_of(number)}});
                dns.put_service(&serde_json::from_value(object)?);
            }
            sender.send(dns.addresses()[0])?;
            std::future::pending::<Result<()>>().await
        })
    });
    Ok(address.recv()?)
}

fn address_of(number: usize) -> String {
    format!("10.43.{}.{}", number / 250, number % 250)
}

struct Peer {
    process: Child,
    _names: tempfile::NamedTempFile,
}

impl Peer {
    fn start(count: usize) -> Result<Self> {
        let names = tempfile::NamedTempFile::new()?;
        let lines: Vec<String> =
            (0..count).map(|number| format!("{} s{number}.default.svc.cluster.local\n", address_of(number))).collect();
        std::fs::write(names.path(), lines.concat())?;
        let program = std::env::var_os("DNSMASQ").unwrap_or_else(|| OsString::from("dnsmasq"));
        let mut command = Command::new(program);
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
        command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file="]);
        command.arg(format!("--port={PEER_PORT}")).arg("--addn-hosts").arg(names.path());
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { process, _names: names })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// One question again and again; how many were answered a second.
fn ask(server: SocketAddr, time: Duration) -> Result<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    let question = question("s321.default.svc.cluster.local");
    let mut buffer = [0; 512];
    for _ in 0..WINDOW {
        socket.send(&question)?;
    }
    let (begun, mut answered) = (Instant::now(), 0_u64);
    while begun.elapsed() < time {
        let length = socket.recv(&mut buffer).context("no answer")?;
        // Bytes 6 and 7 count the answers.
        ensure!(length > question.len() && buffer[7] == 1, "not an answer");
        answered += 1;
        socket.send(&question)?;
    }
    Ok(answered as f64 / begun.elapsed().as_secs_f64())
}

/// For an A record, as RFC 1035 has it.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}
