//! Which pod has which address and host ports, written down so that a restarted agent goes on with them.
//!
//! One line a pod: `uid address [tcp|udp:host address:host port:container port]...`

use std::{
    collections::BTreeMap,
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use control_api::Ipv4Range;

use crate::{
    netns::failed,
    network::{Error, PortMapping, Protocol},
    pod_range,
};

const FILE: &str = "addresses";
const FILE_BYTES_MAX: u64 = 16 << 20;
const UID_BYTES_MAX: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub address: Ipv4Addr,
    pub ports: Vec<PortMapping>,
}

#[derive(Debug)]
pub(crate) struct Leases {
    path: PathBuf,
    range: Ipv4Range,
    leases: BTreeMap<String, Lease>,
    /// The one given out last: a freed address rests before it is given to another pod.
    last: Option<Ipv4Addr>,
}

impl Leases {
    pub fn load(folder: &Path, range: Ipv4Range) -> Result<Self, Error> {
        let path = folder.join(FILE);
        fs::create_dir_all(folder).map_err(failed(format!("create {}", folder.display())))?;
        let text = match fs::metadata(&path) {
            Ok(meta) if meta.len() <= FILE_BYTES_MAX => {
                fs::read(&path).map_err(failed(format!("read {}", path.display())))?
            }
            _ => Vec::new(),
        };
        // A line that a power cut spoiled costs its pod the address, nothing else.
        let leases: BTreeMap<String, Lease> = String::from_utf8_lossy(&text)
            .split_inclusive('\n')
            // The first digits of an address are one, too: a line counts with its end.
            .filter_map(|line| decode(line.strip_suffix('\n')?))
            .filter(|(_, lease)| range.contains(lease.address))
            .collect();
        let last = leases.values().map(|lease| lease.address).max();
        Ok(Self { path, range, leases, last })
    }

    pub fn get(&self, uid: &str) -> Option<&Lease> {
        self.leases.get(uid)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Lease)> {
        self.leases.iter()
    }

    /// The pod's address, a new one where it has none; its ports are replaced.
    pub fn take(&mut self, uid: &str, ports: &[PortMapping]) -> Result<Ipv4Addr, Error> {
        if uid.is_empty() || uid.len() > UID_BYTES_MAX || uid.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::Uid(uid.to_owned()));
        }
        for port in ports {
            let holder =
                self.leases.iter().find(|(other, lease)| *other != uid && lease.ports.iter().any(|p| p.collides(port)));
            if let Some((holder, _)) = holder {
                return Err(Error::PortTaken { port: port.host_port, protocol: port.protocol, holder: holder.clone() });
            }
        }
        let address = match self.leases.get(uid) {
            Some(lease) => lease.address,
            None => self.free().ok_or(Error::NoAddress(self.range))?,
        };
        let lease = Lease { address, ports: ports.to_vec() };
        if self.leases.get(uid) != Some(&lease) {
            self.leases.insert(uid.to_owned(), lease);
            self.last = Some(address);
            self.save()?;
        }
        Ok(address)
    }

    fn free(&self) -> Option<Ipv4Addr> {
        let taken: std::collections::BTreeSet<Ipv4Addr> = self.leases.values().map(|lease| lease.address).collect();
        let after = pod_range::addresses(self.range).filter(|address| Some(*address) > self.last);
        let before = pod_range::addresses(self.range).filter(|address| Some(*address) <= self.last);
        after.chain(before).find(|address| !taken.contains(address))
    }

    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> Result<(), Error> {
        let before = self.leases.len();
        self.leases.retain(|uid, _| keep(uid));
        if self.leases.len() == before { Ok(()) } else { self.save() }
    }

    fn save(&self) -> Result<(), Error> {
        let new = self.path.with_extension("new");
        let text: String = self.leases.iter().map(|(uid, lease)| encode(uid, lease)).collect();
        // Without a sync: after a power cut no pod is left that would hold an address.
        let write = || -> io::Result<()> {
            fs::write(&new, text)?;
            fs::rename(&new, &self.path)
        };
        write().map_err(failed(format!("write {}", self.path.display())))
    }

    pub fn erase(folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }
}

fn encode(uid: &str, lease: &Lease) -> String {
    let mut line = format!("{uid} {}", lease.address);
    for port in &lease.ports {
        let protocol = match port.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        let host_ip = port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        line.push_str(&format!(" {protocol}:{host_ip}:{}:{}", port.host_port, port.container_port));
    }
    line.push('\n');
    line
}

fn decode(line: &str) -> Option<(String, Lease)> {
    let mut words = line.split(' ');
    let uid = words.next().filter(|uid| !uid.is_empty() && uid.len() <= UID_BYTES_MAX)?;
    let address = words.next()?.parse().ok()?;
    let port = |word: &str| {
        let fields: Vec<&str> = word.split(':').collect();
        let [protocol, host_ip, host_port, container_port] = fields.as_slice() else { return None };
        let protocol = match *protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return None,
        };
        let host_ip: Ipv4Addr = host_ip.parse().ok()?;
        Some(PortMapping {
            protocol,
            host_ip: Some(host_ip).filter(|ip| !ip.is_unspecified()),
            host_port: host_port.parse().ok()?,
            container_port: container_port.parse().ok()?,
        })
    };
    let ports = words.map(port).collect::<Option<Vec<_>>>()?;
    Some((uid.to_owned(), Lease { address, ports }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn port(host_ip: Option<[u8; 4]>, host_port: u16) -> PortMapping {
        PortMapping { protocol: Protocol::Tcp, host_ip: host_ip.map(Into::into), host_port, container_port: 80 }
    }

    #[test]
    fn an_address_outlives_a_restart_and_a_freed_one_rests() {
        let dir = tempfile::tempdir().unwrap();
        let range: Ipv4Range = "10.9.0.0/29".parse().unwrap();
        let mut leases = Leases::load(dir.path(), range).unwrap();
        let a = leases.take("a", &[port(None, 8080)]).unwrap();
        let b = leases.take("b", &[]).unwrap();
        let mut leases = Leases::load(dir.path(), range).unwrap();
        assert_eq!(leases.take("a", &[port(None, 8080)]).unwrap(), a);
        leases.retain(|uid| uid != "b").unwrap();
        let c = leases.take("c", &[]).unwrap();
        assert!(c != a && c != b);
        for uid in ["d", "e", "f"] {
            leases.take(uid, &[]).unwrap();
        }
        assert!(matches!(leases.take("g", &[]), Err(Error::NoAddress(_))));
    }

    #[test]
    fn a_line_that_a_power_cut_left_half_of_gives_nobody_the_address_that_it_begins_with() {
        let (dir, range) = (tempfile::tempdir().unwrap(), "10.9.0.0/24".parse().unwrap());
        fs::write(dir.path().join(FILE), "a 10.9.0.1\nb 10.9.0.1").unwrap();
        let leases = Leases::load(dir.path(), range).unwrap();
        assert_eq!(leases.iter().map(|(uid, _)| uid.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_host_port_has_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let mut leases = Leases::load(dir.path(), "10.9.0.0/24".parse().unwrap()).unwrap();
        leases.take("a", &[port(Some([127, 0, 0, 1]), 80), port(None, 81)]).unwrap();
        leases.take("b", &[port(Some([127, 0, 0, 2]), 80)]).unwrap();
        assert!(matches!(leases.take("c", &[port(None, 80)]), Err(Error::PortTaken { .. })));
        assert!(matches!(leases.take("c", &[port(Some([127, 0, 0, 9]), 81)]), Err(Error::PortTaken { .. })));
        assert!(leases.get("c").is_none());
        assert!(leases.take("../ x", &[]).is_err());
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_a_panic(text in "[a-z0-9 .:\n]{0,200}") {
            let _: Vec<_> = text.lines().filter_map(decode).collect();
        }
    }
}
