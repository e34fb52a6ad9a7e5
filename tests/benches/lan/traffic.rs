//! TCP from a pod to a pod of another machine, straight and through a ClusterIP, against namespaces behind plain veths of
//! two machines on the same LAN that have no agent: the same links and hops without anything of ours. The ends are threads
//! of this process inside the network namespaces.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use tests::lab::Lab;
use tests::lab::machine::Machine;
use tests::namespace::Namespace;
use tests::process::Processes;

use crate::options::Options;
use crate::samples::Samples;
use crate::table::{Row, Table, Unit};

pub const PORT: u16 = 8080;
const PIECE_BYTES: usize = 64 << 10;
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// First byte of a connection: what its client wants.
const PUSH: u8 = 1;
const ECHO: u8 = 2;

/// Runs in a network namespace on a thread of its own.
pub fn inside<T: Send + 'static>(
    netns: &Path,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> JoinHandle<Result<T>> {
    let netns = netns.to_owned();
    std::thread::spawn(move || {
        let file = File::open(&netns).with_context(|| format!("no namespace {}", netns.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

pub fn joined<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}

fn of_namespace(namespace: &Namespace) -> PathBuf {
    Path::new("/run/netns").join(namespace.name())
}

pub fn of_machine(machine: &Machine) -> PathBuf {
    of_namespace(machine.network())
}

/// Two machines without an agent, each with one namespace behind a veth. Dropped in this order.
struct Bare {
    pods: [Namespace; 2],
    _machines: [Namespace; 2],
}

impl Bare {
    fn plug(lab: &Lab) -> Self {
        let machines = [1, 2].map(|number| {
            let machine = Namespace::bare();
            lab.lan.plug(&machine, &format!("192.168.78.20{number}"));
            machine.sh("echo 1 > /proc/sys/net/ipv4/ip_forward").ok();
            let other = 3 - number;
            machine.ip(&format!("route add 10.99.{other}.0/24 via 192.168.78.20{other}"));
            machine
        });
        let pods = [1, 2].map(|number| {
            let (machine, pod) = (&machines[number - 1], Namespace::bare());
            machine.ip(&format!("link add pod type veth peer name eth0 netns {}", pod.name()));
            machine.ip(&format!("addr add 10.99.{number}.1/24 dev pod"));
            machine.ip("link set pod up");
            pod.ip(&format!("addr add 10.99.{number}.2/24 dev eth0"));
            pod.ip("link set eth0 up");
            pod.ip(&format!("route add default via 10.99.{number}.1"));
            pod
        });
        Self { pods, _machines: machines }
    }
}

const BARE: Ipv4Addr = Ipv4Addr::new(10, 99, 2, 2);

/// The namespace of the one pod that a machine has.
pub fn of_pod(machine: &Machine) -> Result<PathBuf> {
    let processes = Processes::now();
    let data = machine.data().display().to_string();
    let pid = processes.iter().find(|(pid, _)| processes.descends(**pid, &data)).context("the pod has a process")?.0;
    Ok(PathBuf::from(format!("/proc/{pid}/ns/net")))
}

/// Serves until the bench ends: takes what is pushed, or gives back every byte.
pub fn serve(netns: &Path) -> Result<()> {
    let listener = joined(inside(netns, || Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?)))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away ends it.
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut piece = vec![0; PIECE_BYTES];
    stream.read_exact(&mut piece[..1])?;
    let echo = piece[0] == ECHO;
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) if echo => stream.write_all(&piece[..length])?,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn connect(target: SocketAddr, wanted: u8) -> Result<TcpStream> {
    let mut stream =
        TcpStream::connect_timeout(&target, CONNECT_MAX).with_context(|| format!("cannot reach {target}"))?;
    stream.set_nodelay(true)?;
    stream.write_all(&[wanted])?;
    Ok(stream)
}

/// Bytes a second.
fn push(target: SocketAddr, time: Duration) -> Result<f64> {
    let mut stream = connect(target, PUSH)?;
    let piece = vec![0; PIECE_BYTES];
    let (begun, mut bytes) = (Instant::now(), 0);
    while begun.elapsed() < time {
        stream.write_all(&piece)?;
        bytes += PIECE_BYTES;
    }
    Ok(bytes as f64 / begun.elapsed().as_secs_f64())
}

/// Of one byte there and back, in milliseconds.
fn round_trip(target: SocketAddr, time: Duration) -> Result<f64> {
    let mut stream = connect(target, ECHO)?;
    let (begun, mut samples) = (Instant::now(), Samples::default());
    while begun.elapsed() < time {
        let sent = Instant::now();
        stream.write_all(&[0])?;
        stream.read_exact(&mut [0])?;
        samples.add(sent.elapsed());
    }
    Ok(samples.percentile_ms(50))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Pods `one` on the first machine and `two` on the second, the latter behind a Service at `cluster_ip`.
pub fn measure(lab: &Lab, addresses: [Ipv4Addr; 2], options: Options, table: &mut Table) -> Result<()> {
    let [pod, cluster_ip] = addresses;
    let [first, second, ..] = lab.nodes.as_slice() else { return Err(anyhow!("two machines are needed")) };
    let bare = Bare::plug(lab);
    serve(&of_machine(second))?;
    serve(&of_namespace(&bare.pods[1]))?;
    let node: Ipv4Addr = second.address.parse()?;
    let from_pod = of_pod(first)?;
    let paths = [
        (of_machine(first), node),
        (of_namespace(&bare.pods[0]), BARE),
        (from_pod.clone(), pod),
        (from_pod, cluster_ip),
    ];
    let mut rates = [const { Vec::new() }; 4];
    let mut trips = [const { Vec::new() }; 4];
    let time = options.window;
    for _ in 0..options.rounds {
        for (index, (netns, address)) in paths.iter().enumerate() {
            let target = SocketAddr::from((*address, PORT));
            rates[index].push(joined(inside(netns, move || push(target, time)))?);
            trips[index].push(joined(inside(netns, move || round_trip(target, time)))?);
        }
    }
    let [machines, bare, direct, service] = rates.map(median);
    let [machines_trip, bare_trip, direct_trip, service_trip] = trips.map(median);
    let of = |what: &str| format!("{what}, median of {} rounds", options.rounds);
    let gigabits = |bytes: f64| bytes * 8.0 / 1e9;
    let speeds = |one: f64, other: f64| format!("{:.2} of {:.2} Gbit/s", gigabits(one), gigabits(other));
    let delays = |one: f64, other: f64| format!("{:.1} and {:.1} us", one * 1e3, other * 1e3);
    let ratio =
        |what: &str, value: f64, beside: String| Row::new(of(what), value, Unit::Ratio).at_least(0.95).beside(beside);
    let beside = format!("{}; machines {:.2}", speeds(direct, bare), gigabits(machines));
    table.push(ratio("pod to pod against bare veths: throughput", direct / bare, beside));
    let beside = format!("{}; machines {:.1}", delays(direct_trip, bare_trip), machines_trip * 1e3);
    table.push(ratio("pod to pod against bare veths: round trip", bare_trip / direct_trip, beside));
    table.push(ratio("ClusterIP against pod: throughput", service / direct, speeds(service, direct)));
    let beside = delays(service_trip, direct_trip);
    table.push(ratio("ClusterIP against pod: round trip", direct_trip / service_trip, beside));
    Ok(())
}
