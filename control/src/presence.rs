//! Where this server is, as its addresses change, and what follows from that: the names in its certificate, the
//! endpoint that pods know it by, and the addresses that nodes keep.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use control_api::Cidr;
use control_cli::addresses::with_port;
use control_pki::Pki;
use control_wire::{addresses, clock, discovery};
use tokio::sync::watch;

use crate::config::Config;
use crate::server::{local_url, write_private};

/// Certificates are looked at so often; they last for years.
const LOOK_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Of a lifetime: a look this often comes well within its last third.
const LOOKS_A_LIFETIME: u32 = 10;

/// What others of the server follow.
pub struct Presence {
    machine: watch::Receiver<Vec<IpAddr>>,
    clock: watch::Receiver<u64>,
    config: Config,
    endpoints: watch::Sender<Vec<IpAddr>>,
    servers: watch::Sender<Vec<String>>,
}

impl Presence {
    pub fn new(config: &Config) -> Result<Self> {
        let machine = addresses::follow().context("cannot follow this machine's addresses")?;
        let clock = clock::follow().context("cannot follow this machine's clock")?;
        let now = machine.borrow().clone();
        Ok(Self {
            machine,
            clock,
            config: config.clone(),
            endpoints: watch::Sender::new(endpoints(config, &now)),
            servers: watch::Sender::new(servers(config, &now)),
        })
    }

    /// Where pods and other nodes reach this server's API; empty on a machine that has only its loopback.
    pub fn endpoints(&self) -> watch::Receiver<Vec<IpAddr>> {
        self.endpoints.subscribe()
    }

    /// `HOST:PORT` for agents.
    pub fn servers(&self) -> watch::Receiver<Vec<String>> {
        self.servers.subscribe()
    }

    /// What the API's certificate is good for, beside the names that every cluster's has.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> =
            lan_addresses(&self.config, &self.machine.borrow()).iter().map(IpAddr::to_string).collect();
        let hostname = nix::unistd::gethostname().context("cannot read the hostname")?;
        names.extend(hostname.into_string().ok().filter(|name| !name.is_empty()));
        names.extend(self.config.names.iter().cloned());
        Ok(names)
    }

    /// Answers machines on the LAN that look for a cluster, until the server stops.
    pub fn announce(
        &self,
        ca_hash: [u8; 32],
        port: u16,
        mut stopping: watch::Receiver<bool>,
    ) -> impl Future<Output = ()> + use<> {
        let machine = self.machine.clone();
        async move {
            tokio::select! {
                answered = discovery::answer(ca_hash, port, machine) => match answered {
                    Ok(()) => {}
                    Err(error) => tracing::warn!(%error, "machines on the LAN cannot find this cluster by themselves"),
                },
                _ = stopping.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Follows changes until dropped. Sleeps but for them and a look a day at the certificates, which a clock that is set
    /// may have outlived.
    pub async fn follow(mut self, pki: Arc<Pki>, kubeconfig: PathBuf, address: SocketAddr) {
        let look_every =
            LOOK_EVERY.min(self.config.lifetimes().map_or(LOOK_EVERY, |one| one.server / LOOKS_A_LIFETIME));
        loop {
            tokio::select! {
                changed = self.machine.changed() => if changed.is_err() { return },
                Ok(()) = self.clock.changed() => {}
                () = tokio::time::sleep(look_every) => {}
            }
            let now = self.machine.borrow_and_update().clone();
            let (endpoints, servers) = (endpoints(&self.config, &now), servers(&self.config, &now));
            if *self.servers.borrow() != servers {
                tracing::info!(?servers, "this server's addresses changed");
            }
            if let Err(error) = self.refresh(&pki, &kubeconfig, address) {
                tracing::error!(error = format!("{error:#}"), "the server's certificates cannot be renewed");
            }
            // Told after the certificate is good for them.
            self.endpoints.send_if_modified(|old| std::mem::replace(old, endpoints.clone()) != endpoints);
            self.servers.send_if_modified(|old| std::mem::replace(old, servers.clone()) != servers);
        }
    }

    fn refresh(&self, pki: &Pki, kubeconfig: &std::path::Path, address: SocketAddr) -> Result<()> {
        if pki.refresh(&self.names()?)? {
            write_private(kubeconfig, &pki.kubeconfig(&local_url(address)))?;
            tracing::info!(kubeconfig = %kubeconfig.display(), "the administrator's certificate was renewed");
        }
        Ok(())
    }
}

/// Without those of pods and Services, which this machine may hold as a node.
fn lan_addresses(config: &Config, machine: &[IpAddr]) -> Vec<IpAddr> {
    let inner = [&config.pod_range, &config.service_range].map(|range| Cidr::parse(range));
    let is_inner = |address: &IpAddr| inner.iter().flatten().any(|range| range.contains(*address));
    machine.iter().copied().filter(|address| !is_inner(address)).collect()
}

fn endpoints(config: &Config, machine: &[IpAddr]) -> Vec<IpAddr> {
    let listens = config.listen.ip();
    match listens.is_unspecified() || listens.is_loopback() {
        true => lan_addresses(config, machine).into_iter().take(1).collect(),
        false => vec![listens],
    }
}

fn servers(config: &Config, machine: &[IpAddr]) -> Vec<String> {
    let listens = config.listen.ip();
    let own = if listens.is_unspecified() { lan_addresses(config, machine) } else { vec![listens] };
    let names = config.names.iter().cloned();
    own.iter().map(IpAddr::to_string).chain(names).map(|host| with_port(&host, config.listen.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_own_pods_are_no_addresses_of_it() {
        let machine: Vec<IpAddr> = ["10.42.0.1", "10.43.0.10", "192.168.1.4", "fd00::4"]
            .map(|text| text.parse().expect("an address"))
            .to_vec();
        let config = Config { names: vec!["pi.lan".to_owned()], ..Config::default() };
        assert_eq!(endpoints(&config, &machine), [machine[2]]);
        assert_eq!(servers(&config, &machine), ["192.168.1.4:6443", "[fd00::4]:6443", "pi.lan:6443"]);
        let one = Config { listen: "127.0.0.1:7443".parse().expect("an address"), ..Config::default() };
        assert_eq!(servers(&one, &machine), ["127.0.0.1:7443"]);
    }
}
