//! The machine around the kernel: clock, disk, ports, addresses.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::SystemTime;

use control_api::Ipv4Range;
use control_wire::trust;
use nix::fcntl::{Flock, FlockArg};

use super::Finding;
use crate::config::Config;

const FREE_BYTES_MIN: u64 = 200 << 20;
const FREE_BYTES_WANTED: u64 = 2 << 30;
/// Of agents among themselves.
const PEERS_PORT: u16 = 6444;
const SERVER_PORT: u16 = 6443;
/// Addresses that pods and Services get unless a cluster says otherwise.
const RANGES: [(&str, Ipv4Range); 2] = [
    ("pods", Ipv4Range::new(Ipv4Addr::new(10, 42, 0, 0), 16)),
    ("Services", Ipv4Range::new(Ipv4Addr::new(10, 43, 0, 0), 16)),
];
const OWN_LINK_PREFIX: &str = "br";

pub fn check(config: &Config) -> Vec<Finding> {
    let agent_runs = runs(&config.layout.pid_file());
    let mut findings = vec![clock(), disk(&config.layout.root)];
    findings.extend(ports(config, agent_runs));
    findings.extend(ranges());
    findings
}

/// Whether a process holds the file.
fn runs(pid_file: &Path) -> bool {
    let Ok(file) = fs::OpenOptions::new().read(true).write(true).open(pid_file) else { return false };
    Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
}

fn clock() -> Finding {
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    match clock >= trust::now_seconds() {
        true => Finding::good("clock", "not behind this program's build"),
        false => Finding::doubtful(
            "clock",
            "it is behind this program's build, as on a machine without a battery: the node joins all the same, but \
             times in logs are wrong until it is set (timedatectl set-ntp true)",
        ),
    }
}

fn disk(root: &Path) -> Finding {
    let there = root.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let Ok(disk) = nix::sys::statvfs::statvfs(there) else {
        return Finding::doubtful("disk", format!("the file system of {} cannot be read", there.display()));
    };
    #[allow(clippy::unnecessary_cast, reason = "both are 32 bits wide on armv7")]
    let free = disk.blocks_available() as u64 * disk.fragment_size() as u64;
    let words = format!("{} MiB free for {}", free >> 20, root.display());
    if disk.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return Finding::missing("disk", format!("{} is on a read-only file system", root.display()));
    }
    match free {
        FREE_BYTES_WANTED.. => Finding::good("disk", words),
        FREE_BYTES_MIN.. => Finding::doubtful("disk", format!("{words}: images need more before long")),
        _ => Finding::missing("disk", format!("{words}: make room, at least {} MiB", FREE_BYTES_MIN >> 20)),
    }
}

fn ports(config: &Config, agent_runs: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let taken = |result: std::io::Result<()>| matches!(result, Err(error) if error.kind() == ErrorKind::AddrInUse);
    let listener = |address: (Ipv4Addr, u16)| TcpListener::bind(address).map(drop);
    if agent_runs {
        findings.push(Finding::good("ports", "an agent runs here and holds its own"));
    } else {
        let peers = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PEERS_PORT)).map(drop);
        findings.push(match taken(peers) {
            true => Finding::doubtful(
                "port 6444/udp",
                "taken by another program: load balancers are not announced from here",
            ),
            false => Finding::good("port 6444/udp", "free"),
        });
        if let Some(address) = &config.metrics {
            findings.push(match taken(TcpListener::bind(address).map(drop)) {
                true => Finding::doubtful(format!("metrics {address}"), "taken by another program: give `metrics: HOST:PORT` in the agent's configuration, or `metrics: off`"),
                false => Finding::good(format!("metrics {address}"), "free"),
            });
        }
    }
    findings.push(match taken(listener((Ipv4Addr::UNSPECIFIED, SERVER_PORT))) {
        true if runs(&config.layout.root.join("server.pid")) => {
            Finding::good("port 6443", "a server of Bramble runs here")
        }
        true => Finding::doubtful(
            "port 6443",
            "taken by another program: a server here needs `listen: 0.0.0.0:PORT`; a node alone does not",
        ),
        false => Finding::good("port 6443", "free for a server"),
    });
    findings
}

fn ranges() -> Vec<Finding> {
    let table = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let finding = |(what, range): (&str, Ipv4Range)| {
        let name = format!("{range} for {what}");
        match overlap(&table, range) {
            None => Finding::good(name, "no other route leads there"),
            Some((link, other)) => Finding::missing(
                name,
                format!(
                    "this machine's own network {other} on {link} overlaps it: give the cluster another range (podRange in the server's configuration)"
                ),
            ),
        }
    };
    RANGES.into_iter().map(finding).collect()
}

/// The route of another program that overlaps `range`: its link and its destination.
fn overlap(table: &str, range: Ipv4Range) -> Option<(String, Ipv4Range)> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Numbers are in the network's byte order, printed as this machine's.
        let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::from_be);
        let (link, destination, mask) = (*fields.first()?, number(1)?, number(7)?);
        let other = Ipv4Range::new(destination.into(), u8::try_from(mask.count_ones()).ok()?);
        let hits = mask != 0 && other.overlaps(range) && !link.starts_with(OWN_LINK_PREFIX);
        hits.then(|| (link.to_owned(), other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lan_in_the_pods_range_is_named_and_a_default_route_is_none() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\n\
                     eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t0000FFFF\n\
                     brdeadbeef\t00002A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
                     wlan0\t00072A0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        let [pods, services] = RANGES.map(|(_, range)| overlap(table, range));
        assert_eq!(pods, Some(("wlan0".to_owned(), "10.42.7.0/24".parse().unwrap())));
        assert_eq!(services, None);
    }
}
