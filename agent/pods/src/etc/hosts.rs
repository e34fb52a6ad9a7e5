//! /etc/hosts: the pod's own names, and those that it asks for.

use control_api::view::core::Pod;

use super::{fqdn, hostname};

const LOCAL: &str = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
                     ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n\
                     fe00::2\tip6-allrouters\n";

/// `host` is the host's own file, for pods on its network.
pub(super) fn render(pod: &Pod, pod_ips: &[String], domain: &str, host: Option<String>) -> String {
    let mut text = match host {
        Some(host) => format!("# Kubernetes-managed hosts file (host network).\n{host}"),
        None => {
            let name = hostname(pod);
            let names = fqdn(pod, domain).map_or_else(|| name.clone(), |fqdn| format!("{fqdn}\t{name}"));
            let own: String = pod_ips.iter().map(|ip| format!("{ip}\t{names}\n")).collect();
            format!("{LOCAL}{own}")
        }
    };
    let aliases: Vec<_> = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()).collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        text.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec})).unwrap()
    }

    #[test]
    fn the_hosts_file_names_the_pod_and_its_aliases() {
        let pod = pod(json!({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
        let text = render(&pod, &["10.42.0.5".to_owned()], "cluster.local", None);
        assert!(text.contains("\n10.42.0.5\tweb\n"), "{text}");
        assert!(text.ends_with("1.2.3.4\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_pod_with_a_subdomain_has_its_whole_name_first() {
        let pod = pod(json!({"hostname": "db-0", "subdomain": "db"}));
        let text = render(&pod, &["10.42.0.5".to_owned()], "home.arpa", None);
        assert!(text.ends_with("\n10.42.0.5\tdb-0.db.shop.svc.home.arpa\tdb-0\n"), "{text}");
    }

    #[test]
    fn a_pod_on_the_hosts_network_has_the_hosts_file() {
        let text = render(&pod(json!({})), &[], "cluster.local", Some("127.0.0.1\tpi\n".to_owned()));
        assert_eq!(text, "# Kubernetes-managed hosts file (host network).\n127.0.0.1\tpi\n");
    }
}
