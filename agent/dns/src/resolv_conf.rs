//! Who the upstreams are: `nameserver` lines of the node's resolv.conf, read again when the file changed.
//!
//! The file is looked at when an upstream is needed, which costs one system call; nobody has to watch it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// More are not read; the C library takes three.
const UPSTREAMS_MAX: usize = 6;
const FILE_BYTES_MAX: u64 = 64 << 10;
const PORT: u16 = 53;

/// What tells one version of the file from another.
type Stamp = (u64, i64, i64, u64);

#[derive(Debug)]
pub struct ResolvConf {
    path: PathBuf,
    own: Vec<IpAddr>,
    listen: Vec<SocketAddr>,
    read: Mutex<(Option<Stamp>, Arc<Vec<SocketAddr>>)>,
}

impl ResolvConf {
    /// Addresses in `own`, and those we `listen` on, are never upstreams: a question would go round in circles.
    pub fn new(path: PathBuf, own: Vec<IpAddr>, listen: Vec<SocketAddr>) -> Self {
        Self { path, own, listen, read: Mutex::default() }
    }

    /// In the file's order; empty where there is no file.
    pub fn upstreams(&self) -> Arc<Vec<SocketAddr>> {
        let stamp =
            fs::metadata(&self.path).ok().map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.size()));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != stamp {
            let readable = stamp.is_some_and(|(.., size)| size <= FILE_BYTES_MAX);
            let text = if readable { fs::read_to_string(&self.path).unwrap_or_default() } else { String::new() };
            let found = self.parse(&text);
            if found.is_empty() {
                tracing::warn!(path = %self.path.display(), "no upstream DNS server is named");
            }
            *read = (stamp, Arc::new(found));
        }
        read.1.clone()
    }

    fn parse(&self, text: &str) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let Some(address) = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next()) else {
                continue;
            };
            let Ok(ip) = address.parse::<IpAddr>() else { continue };
            let address = SocketAddr::new(ip, PORT);
            let any = |own: &SocketAddr| own.ip().is_unspecified() && ip.is_loopback() && own.port() == PORT;
            let ours = self.own.contains(&ip) || self.listen.iter().any(|own| *own == address || any(own));
            if !ours && !found.contains(&address) && found.len() < UPSTREAMS_MAX {
                found.push(address);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_addresses_are_no_upstreams() {
        let own = SocketAddr::from(([10, 43, 0, 10], 53));
        let conf = ResolvConf::new(PathBuf::from("/none"), vec![own.ip()], vec![own]);
        let text = "# x\nsearch lan\nnameserver 10.43.0.10\nnameserver 192.168.1.1\nnameserver fd00::1\nnameserver bad\n\
                    nameserver 192.168.1.1\n";
        let found: Vec<String> = conf.parse(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["192.168.1.1:53", "[fd00::1]:53"]);
        assert!(conf.upstreams().is_empty());
    }
}
