//! A DHCP server on a lab's LAN (Debian's busybox), for machines that come with no address of their own.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use super::lan::Lan;

/// Stopped when dropped.
#[derive(Debug)]
pub struct Dhcp {
    server: Child,
    _folder: tempfile::TempDir,
}

impl Dhcp {
    /// The network card that is given this address, such as 192.168.78.31.
    pub fn card_of(address: &str) -> String {
        let last = address.rsplit('.').next().and_then(|part| part.parse::<u8>().ok());
        format!("52:54:00:00:00:{:02x}", last.expect("an address ends with a number"))
    }

    /// Gives each of these addresses to the network card of [`Self::card_of`], and others from .200 on to strangers.
    pub fn start(lan: &Lan, addresses: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for DHCP");
        let at = folder.path().display();
        // A lease is short, so that renewals happen within a test.
        let mut config = format!(
            "interface lan\nstart 192.168.78.200\nend 192.168.78.220\nmax_leases 20\nlease_file {at}/leases\npidfile {at}/pid\n\
             option subnet 255.255.255.0\noption router 192.168.78.254\noption dns 192.168.78.254\noption lease 600\n"
        );
        for address in addresses {
            config += &format!("static_lease {} {address}\n", Self::card_of(address));
        }
        let file = folder.path().join("udhcpd.conf");
        fs::write(&file, config).expect("a configuration");
        fs::write(folder.path().join("leases"), "").expect("a file for leases");
        let mut command = lan.router().command(Path::new("busybox"));
        command.args(["udhcpd", "-f"]).arg(&file);
        let server = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { server: server.expect("busybox-static is installed"), _folder: folder }
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
