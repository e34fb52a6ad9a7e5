//! A guest as a machine of a lab: plugged into its LAN, and with a shell that a test speaks to while it runs.

use std::path::Path;
use std::process::{Child, Stdio};

use super::shell::{self, Shell};
use super::{Guest, QEMU};
use crate::lab::lan::{Cable, Lan};
use crate::program::{Said, built};

/// What the network card needs. Where a system runs, udev loads it.
const CARD: [&str; 2] = ["virtio_pci", "virtio_net"];
/// Before the shell.
const START: &str = r#"for module in CARD; do modprobe $module; done
hostname NAME
ip link set eth0 up
ip addr add ADDRESS/24 dev eth0
ip route add default via ROUTER dev eth0
"#;

/// Switched off when dropped.
pub struct GuestMachine {
    pub name: String,
    pub address: String,
    shell: Shell,
    qemu: Child,
    cable: Cable,
    guest: Guest,
}

impl GuestMachine {
    /// Boots the guest and gives it an address as [`Lan::plug`] does; `modules` are those that it may load.
    pub fn boot(guest: Guest, lan: &Lan, name: &str, address: &str, modules: &[&str]) -> Self {
        guest.install_modules(&[&CARD, modules].concat());
        let (network, host) = address.rsplit_once('.').expect("an address has dots");
        let script = START
            .replace("CARD", &CARD.join(" "))
            .replace("NAME", name)
            .replace("ADDRESS", address)
            .replace("ROUTER", &format!("{network}.254"))
            + shell::LOOP;
        let cable = lan.tap(address);
        let socket = guest.folder.path().join("shell");
        let mut command = lan.router().command(Path::new(QEMU));
        let host: u8 = host.parse().expect("an address ends with a number");
        command
            .args(["-netdev", &format!("tap,id=lan,ifname={},script=no,downscript=no", cable.port())])
            .args(["-device", &format!("virtio-net-pci,netdev=lan,romfile=,mac=52:54:00:00:00:{host:02x}")])
            .args(["-chardev", &format!("socket,id=shell,path={},server=on,wait=off", socket.display())])
            .args(["-device", "isa-serial,chardev=shell,index=1"])
            .stdout(Stdio::null());
        let mut qemu = guest.boot(&script, command);
        let shell = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Shell::reach(&socket, &mut qemu, || guest.shown())
        }));
        let shell = shell.unwrap_or_else(|panic| {
            drop(qemu.kill());
            drop(qemu.wait());
            std::panic::resume_unwind(panic)
        });
        Self { name: name.to_owned(), address: address.to_owned(), shell, qemu, cable, guest }
    }

    pub fn cable(&self) -> &Cable {
        &self.cable
    }

    /// A shell line in the guest; what it leaves in the background must have its output elsewhere.
    pub fn sh(&mut self, line: &str) -> Said {
        self.ask(line).unwrap_or_else(|error| panic!("{}: {line}: {error}\n{}", self.name, self.guest.shown()))
    }

    fn ask(&mut self, line: &str) -> std::io::Result<Said> {
        self.shell.ask(&self.name, line)
    }

    /// Starts the agent with further arguments, such as a token; [`Self::log`] is what it says.
    pub fn start_agent(&mut self, arguments: &str) {
        let agent = built("bramble-agent");
        let line = format!("{} --node-name {} {arguments} >>/tmp/agent.log 2>&1 &", agent.display(), self.name);
        self.sh(&line).ok();
    }

    /// Starts any other program, which goes on in the background.
    pub fn start(&mut self, line: &str) {
        self.sh(&format!("{line} >>/tmp/other.log 2>&1 &")).ok();
    }

    /// What its console has shown so far.
    pub fn console(&self) -> String {
        self.guest.shown()
    }

    /// A verb of `bramble-agent` in the guest.
    pub fn agent(&mut self, arguments: &str) -> Said {
        let agent = built("bramble-agent");
        self.sh(&format!("{} {arguments}", agent.display()))
    }

    pub fn log(&mut self) -> String {
        self.sh("cat /tmp/agent.log").out
    }
}

impl Drop for GuestMachine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self
                .ask("tail -n 60 /tmp/agent.log /tmp/other.log")
                .map_or_else(|error| error.to_string(), |said| said.out);
            eprintln!("---- the log of {}\n{log}\n---- its console\n{}", self.name, self.guest.shown());
        }
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}
