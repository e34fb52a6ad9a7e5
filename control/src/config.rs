//! The server's configuration file: YAML, all of it optional.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use control_apiserver::allocate::{Ranges, ServiceRange};
use control_cli::token::duration;
use control_pki::Lifetimes;
use serde::Deserialize;

/// The largest file read.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where the API (tcp) and agents (udp) are served.
    pub listen: SocketAddr,
    /// Names and addresses, beside this machine's own, that clients may know the API by.
    pub names: Vec<String>,
    /// Pod addresses; each node gets a /24 of it.
    pub pod_range: String,
    /// Addresses of Services: the first is the API's, the tenth the cluster DNS's.
    pub service_range: String,
    /// Ports of every node that Services may have, first and last.
    pub node_port_range: String,
    /// Users with bearer tokens, a line each: `token,user,uid,"group1,group2"`.
    pub token_file: Option<PathBuf>,
    /// Addresses of the LAN for Services of type LoadBalancer: `192.168.1.240-192.168.1.250` or `192.168.1.64/28`.
    pub load_balancer_pool: Vec<String>,
    /// `external`: a cloud controller manager of its own initializes nodes and gives load balancers their addresses.
    pub cloud_provider: Option<CloudProvider>,
    pub certificate_lifetimes: CertificateLifetimes,
    /// Whether machines on the LAN can find this cluster by mDNS; they are let in by nothing but a token or an
    /// approval. Under `bramble up` only where this says so.
    pub discovery: Option<bool>,
}

/// How long certificates are good for: `365d`. Each is renewed before it ends, while its holder runs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CertificateLifetimes {
    /// Of nodes; 365d.
    pub node: Option<String>,
    /// Of the server itself and of the administrator's kubeconfig; 1825d.
    pub server: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudProvider {
    External,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 6443)),
            names: Vec::new(),
            pod_range: "10.42.0.0/16".to_owned(),
            service_range: "10.43.0.0/16".to_owned(),
            node_port_range: "30000-32767".to_owned(),
            token_file: None,
            load_balancer_pool: Vec::new(),
            cloud_provider: None,
            certificate_lifetimes: CertificateLifetimes::default(),
            discovery: None,
        }
    }
}

impl Config {
    /// Reads `path`; without one, the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let what = || format!("cannot read the configuration {}", path.display());
        let size = std::fs::metadata(path).with_context(what)?.len();
        anyhow::ensure!(size <= FILE_BYTES_MAX, "{} is larger than {FILE_BYTES_MAX} bytes", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        Self::parse(&text).with_context(what)
    }

    /// What Services are given; refused where the ranges cannot be.
    pub fn ranges(&self) -> Result<Ranges> {
        let services = ServiceRange::parse(&self.service_range, &self.pod_range)?;
        let ports = self.node_port_range.split_once('-').and_then(|(first, last)| {
            let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
            Some(port(first)?..=port(last)?)
        });
        let node_ports = ports.filter(|ports| !ports.is_empty()).with_context(|| {
            format!("nodePortRange \"{}\" is no range of ports, such as 30000-32767", self.node_port_range)
        })?;
        Ok(Ranges { services, node_ports })
    }

    /// What `certificateLifetimes` says, over the defaults.
    pub fn lifetimes(&self) -> Result<Lifetimes> {
        let (told, defaults) = (&self.certificate_lifetimes, Lifetimes::default());
        let read = |field: &str, text: &Option<String>, default| match text {
            Some(text) => duration(text).map_err(|error| anyhow::anyhow!("certificateLifetimes.{field}: {error}")),
            None => Ok(default),
        };
        Ok(Lifetimes {
            node: read("node", &told.node, defaults.node)?,
            server: read("server", &told.server, defaults.server)?,
        })
    }

    fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Ok(serde_saphyr::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_default() {
        let config = Config::parse("names: [pi.lan]\n").expect("parses");
        assert_eq!((config.listen.port(), config.names.len()), (6443, 1));
        assert_eq!(Config::parse("").expect("parses").pod_range, "10.42.0.0/16");
    }

    #[test]
    fn ranges_that_cannot_be_are_refused_by_name() {
        let refused = |text: &str| {
            let config = Config::parse(text).expect("parses");
            format!("{:#}", config.ranges().expect_err("is refused"))
        };
        assert!(refused("serviceRange: 10.42.128.0/20\n").contains("overlaps the pod range 10.42.0.0/16"));
        assert!(refused("podRange: 10.0.0.0/8\n").contains("overlaps the pod range 10.0.0.0/8"));
        assert!(refused("nodePortRange: 32767-30000\n").contains("nodePortRange \"32767-30000\""));
        let ranges = Config::parse("nodePortRange: 80-90\n").expect("parses").ranges().expect("ranges");
        assert_eq!(ranges.node_ports, 80..=90);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = format!("{:#}", Config::parse("lisen: 0.0.0.0:1\n").expect_err("is refused"));
        assert!(error.contains("lisen"), "{error}");
    }
}
