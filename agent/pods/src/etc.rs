//! The files that every pod gets of its own: /etc/hosts, /etc/hostname and /etc/resolv.conf.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use control_api::view::core::Pod;

use crate::ports::Mount;

mod hosts;
mod resolv_conf;

/// What the kernel takes as a host name.
const HOSTNAME_BYTES_MAX: usize = 63;
/// And for a whole name, with its domain.
const FQDN_BYTES_MAX: usize = 64;
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved keeps the real servers; its stub listens on the host's loopback, which no pod reaches.
const HOST_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct EtcError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// The cluster's DNS as pods are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDns {
    /// None where there is no cluster DNS: then all pods have the host's.
    pub servers: Vec<String>,
    pub domain: String,
}

impl Default for ClusterDns {
    fn default() -> Self {
        Self { servers: Vec::new(), domain: "cluster.local".to_owned() }
    }
}

impl ClusterDns {
    pub fn new(server: &str, domain: &str) -> Self {
        Self { servers: vec![server.to_owned()], domain: domain.to_owned() }
    }
}

/// A pod that wants its whole name as its host name, but the kernel does not take it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({FQDN_BYTES_MAX} characters is \
     the max, {} characters requested)",
    fqdn.len()
)]
pub struct FqdnTooLong {
    pub fqdn: String,
}

/// `spec.hostname`, else the pod's name, cut to what the kernel takes.
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.hostname.clone()).or(pod.metadata.name.clone()).unwrap_or_default();
    let cut: String = name.chars().take(HOSTNAME_BYTES_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The pod's name in the cluster's DNS, where it has a subdomain.
fn fqdn(pod: &Pod, domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!("{}.{subdomain}.{namespace}.svc.{domain}", hostname(pod)))
}

/// What the kernel is told, and `HOSTNAME`: the whole name where the pod asks for it.
pub fn kernel_hostname(pod: &Pod, domain: &str) -> Result<String, FqdnTooLong> {
    let whole = pod.spec.as_ref().and_then(|spec| spec.set_hostname_as_fqdn) == Some(true);
    match fqdn(pod, domain).filter(|_| whole) {
        Some(fqdn) if fqdn.len() > FQDN_BYTES_MAX => Err(FqdnTooLong { fqdn }),
        Some(fqdn) => Ok(fqdn),
        None => Ok(hostname(pod)),
    }
}

/// Writes the three files into `dir`, and gives the mounts that bring them into a container.
pub fn apply(pod: &Pod, pod_ips: &[String], cluster: &ClusterDns, dir: &Path) -> Result<Vec<Mount>, EtcError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| EtcError { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let resolv = fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
    let stub = resolv.lines().any(|line| line.trim() == "nameserver 127.0.0.53");
    let resolv = if stub { fs::read_to_string(HOST_RESOLVED).unwrap_or(resolv) } else { resolv };
    let mut files = vec![("resolv.conf", resolv_conf::render(pod, cluster, &resolv))];
    let host_hosts = if host_network { fs::read_to_string("/etc/hosts").ok() } else { None };
    files.push(("hosts", hosts::render(pod, pod_ips, &cluster.domain, host_hosts)));
    if !host_network {
        // A pod whose name is too long has no sandbox, and so no container that would read this.
        let name = kernel_hostname(pod, &cluster.domain).unwrap_or_else(|error| error.fqdn);
        files.push(("hostname", format!("{name}\n")));
    }
    let mut mounts = Vec::new();
    for (name, content) in files {
        let path = dir.join(name);
        // Written in place: the file is bind-mounted into running containers by its inode.
        if fs::read_to_string(&path).ok().as_deref() != Some(&content) {
            fs::write(&path, content).map_err(failed(&path))?;
        }
        let container_path = Path::new("/etc").join(name);
        mounts.push(Mount { host_path: path, container_path, ..Mount::default() });
    }
    Ok(mounts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_asks_for_it_has_its_whole_name_as_its_host_name_if_the_kernel_takes_it() {
        let pod = |subdomain: &str| -> Pod {
            let spec = json!({"containers": [], "subdomain": subdomain, "setHostnameAsFQDN": true});
            serde_json::from_value(json!({"metadata": {"name": "db-0", "namespace": "shop"}, "spec": spec})).unwrap()
        };
        assert_eq!(kernel_hostname(&pod("db"), "cluster.local").unwrap(), "db-0.db.shop.svc.cluster.local");
        assert_eq!(kernel_hostname(&pod(""), "cluster.local").unwrap(), "db-0");
        let error = kernel_hostname(&pod(&"d".repeat(50)), "cluster.local").unwrap_err();
        assert!(error.to_string().ends_with("(64 characters is the max, 78 characters requested)"), "{error}");
    }
}
