//! The files that every pod gets of its own: /etc/hosts, /etc/hostname and /etc/resolv.conf.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::ports::Mount;

/// What the kernel takes as a host name.
const HOSTNAME_BYTES_MAX: usize = 63;
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

/// `spec.hostname`, else the pod's name, cut to what the kernel takes.
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let name = spec.and_then(|spec| spec.hostname.clone()).or(pod.metadata.name.clone()).unwrap_or_default();
    let cut: String = name.chars().take(HOSTNAME_BYTES_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// Writes the three files into `dir`, and gives the mounts that bring them into a container.
pub fn apply(pod: &Pod, pod_ips: &[String], dir: &Path) -> Result<Vec<Mount>, EtcError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| EtcError { path, source }
    };
    fs::create_dir_all(dir).map_err(failed(dir))?;
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let resolv = fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
    let stub = resolv.lines().any(|line| line.trim() == "nameserver 127.0.0.53");
    let resolv = if stub { fs::read_to_string(HOST_RESOLVED).unwrap_or(resolv) } else { resolv };
    let mut files = vec![("resolv.conf", render_resolv_conf(pod, &resolv))];
    let host_hosts = if host_network { fs::read_to_string("/etc/hosts").ok() } else { None };
    files.push(("hosts", render_hosts(pod, pod_ips, host_hosts)));
    if !host_network {
        files.push(("hostname", format!("{}\n", hostname(pod))));
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

fn render_hosts(pod: &Pod, pod_ips: &[String], host: Option<String>) -> String {
    let spec = pod.spec.as_ref();
    let mut text = match host {
        Some(host) => format!("# Kubernetes-managed hosts file (host network).\n{host}"),
        None => {
            let mut text =
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
                    .to_owned();
            let name = hostname(pod);
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
            let subdomain = spec.and_then(|spec| spec.subdomain.as_deref()).filter(|name| !name.is_empty());
            for ip in pod_ips {
                match subdomain {
                    Some(sub) => text.push_str(&format!("{ip}\t{name}.{sub}.{namespace}.svc.cluster.local\t{name}\n")),
                    None => text.push_str(&format!("{ip}\t{name}\n")),
                }
            }
            text
        }
    };
    let aliases: Vec<_> = spec.and_then(|spec| spec.host_aliases.as_ref()).into_iter().flatten().collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

/// The host's file (there is no cluster DNS yet), or nothing for dnsPolicy None, with dnsConfig on top.
fn render_resolv_conf(pod: &Pod, host: &str) -> String {
    let spec = pod.spec.as_ref();
    let none = spec.and_then(|spec| spec.dns_policy.as_deref()) == Some("None");
    let config = spec.and_then(|spec| spec.dns_config.as_ref());
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    for line in if none { "" } else { host }.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => servers.extend(words.next()),
            Some("search") => searches = words.collect(),
            Some("options") => options.extend(words),
            _ => {}
        }
    }
    if let Some(config) = config {
        servers.extend(config.nameservers.iter().flatten().cloned());
        searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.retain(|one: &String| one.split(':').next() != Some(&name));
            options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", unique(searches).join(" ")));
    }
    for server in unique(servers) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    text
}

fn unique(words: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    words.into_iter().filter(|word| seen.insert(word.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dns_config_adds_to_the_hosts_file_or_stands_alone() {
        let pod = |policy: &str| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": [], "dnsPolicy": policy, "dnsConfig": {
                "nameservers": ["9.9.9.9"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]}}}))
            .unwrap()
        };
        let host = "# x\nsearch lan\nnameserver 192.168.1.1\noptions ndots:1 rotate\n";
        assert_eq!(
            render_resolv_conf(&pod("Default"), host),
            "search lan a.b\nnameserver 192.168.1.1\nnameserver 9.9.9.9\noptions rotate ndots:2\n"
        );
        assert_eq!(render_resolv_conf(&pod("None"), host), "search a.b\nnameserver 9.9.9.9\noptions ndots:2\n");
    }

    #[test]
    fn the_hosts_file_names_the_pod_and_its_aliases() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {"containers": [],
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}}))
        .unwrap();
        let text = render_hosts(&pod, &["10.42.0.5".to_owned()], None);
        assert!(text.contains("\n10.42.0.5\tweb\n"), "{text}");
        assert!(text.ends_with("1.2.3.4\ta\tb\n"), "{text}");
    }
}
