//! A LAN in a namespace: a switch that machines plug into, a second one behind a router, and an outsider on the router.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::namespace::Namespace;
use crate::program::Said;

/// Machines plugged in so far, for names of cables.
static CABLES: AtomicU32 = AtomicU32::new(0);

/// Gone when dropped. The router has `.254` on both LANs, and stands for a person's laptop too.
#[derive(Debug)]
pub struct Lan {
    router: Namespace,
}

/// One machine's end of its cable.
#[derive(Debug)]
pub struct Cable {
    /// The switch's end.
    port: String,
}

impl Cable {
    /// The name of the switch's end, in the router's namespace.
    pub fn port(&self) -> &str {
        &self.port
    }
}

fn next_port() -> String {
    format!("p{}", CABLES.fetch_add(1, Ordering::Relaxed))
}

fn bridge(address: &str) -> &'static str {
    if address.starts_with("192.168.79.") { "far" } else { "lan" }
}

impl Lan {
    pub fn create() -> Self {
        let router = Namespace::bare();
        for (bridge, address) in [("lan", "192.168.78.254/24"), ("far", "192.168.79.254/24")] {
            router.ip(&format!("link add {bridge} type bridge"));
            router.ip(&format!("addr add {address} dev {bridge}"));
            router.ip(&format!("link set {bridge} up"));
        }
        router.sh("echo 1 > /proc/sys/net/ipv4/ip_forward").ok();
        Self { router }
    }

    /// Gives a namespace `eth0` with an address such as 192.168.78.11 and the router as the way to everywhere.
    pub fn plug(&self, machine: &Namespace, address: &str) -> Cable {
        let (port, bridge) = (next_port(), bridge(address));
        let line = format!("link add {port} type veth peer name eth0 netns {}", machine.name());
        self.router.ip(&line);
        self.router.ip(&format!("link set {port} master {bridge}"));
        self.router.ip(&format!("link set {port} up"));
        machine.ip("link set eth0 up");
        readdress(machine, None, address);
        Cable { port }
    }

    /// The same for a machine that is no namespace: a tap, which gives up its name to an emulator in the router's.
    pub fn tap(&self, address: &str) -> Cable {
        let port = next_port();
        self.router.ip(&format!("tuntap add dev {port} mode tap"));
        self.router.ip(&format!("link set {port} master {} up", bridge(address)));
        Cable { port }
    }

    /// Nothing goes through the cable until it is mended.
    pub fn cut(&self, cable: &Cable) {
        self.router.ip(&format!("link set {} down", cable.port));
    }

    pub fn mend(&self, cable: &Cable) {
        self.router.ip(&format!("link set {} up", cable.port));
    }

    /// A command of somebody on the LAN who is no node.
    pub fn outsider(&self, line: &str) -> Said {
        self.router.sh(line)
    }

    /// An HTTP body as somebody on the LAN gets it.
    pub fn http(&self, url: &str) -> Said {
        Said::by(self.router.command(Path::new("curl")).args(["-sS", "-f", "-m", "5", url]))
    }

    pub fn router(&self) -> &Namespace {
        &self.router
    }
}

/// Replaces a machine's address, as another DHCP lease would.
pub fn readdress(machine: &Namespace, old: Option<&str>, new: &str) {
    if let Some(old) = old {
        machine.ip(&format!("addr del {old}/24 dev eth0"));
    }
    machine.ip(&format!("addr add {new}/24 dev eth0"));
    let (network, _) = new.rsplit_once('.').expect("an address has dots");
    machine.ip(&format!("route replace default via {network}.254 dev eth0"));
}
