//! /etc/resolv.conf by `dnsPolicy` and `dnsConfig`.

use std::collections::BTreeSet;

use control_api::view::core::Pod;

use super::ClusterDns;

/// What the C library takes, and Kubernetes with it; what is beyond is left out.
const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;
/// Names with fewer dots are looked for in the cluster first, as Kubernetes has it.
const CLUSTER_OPTION: &str = "ndots:5";

#[derive(Debug, Default)]
struct Settings {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

enum Base {
    Cluster,
    Host,
    Nothing,
}

/// `host` is the host's own file.
pub(super) fn render(pod: &Pod, cluster: &ClusterDns, host: &str) -> String {
    let mut settings = match base(pod, cluster) {
        Base::Cluster => cluster_first(pod, cluster, parse(host)),
        Base::Host => parse(host),
        Base::Nothing => Settings::default(),
    };
    add_config(pod, &mut settings);
    let mut text = String::new();
    let searches = fitting(unique(settings.searches));
    if !searches.is_empty() {
        text.push_str(&format!("search {}\n", searches.join(" ")));
    }
    for server in unique(settings.servers).iter().take(SERVERS_MAX) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !settings.options.is_empty() {
        text.push_str(&format!("options {}\n", settings.options.join(" ")));
    }
    text
}

/// A pod on the host's network has the cluster's DNS only if it insists; without a cluster DNS nobody has.
fn base(pod: &Pod, cluster: &ClusterDns) -> Base {
    let spec = pod.spec.as_ref();
    let on_host = spec.and_then(|spec| spec.host_network) == Some(true);
    match spec.and_then(|spec| spec.dns_policy.as_deref()).unwrap_or("ClusterFirst") {
        "None" => Base::Nothing,
        "Default" => Base::Host,
        "ClusterFirst" if on_host => Base::Host,
        _ if cluster.servers.is_empty() => Base::Host,
        _ => Base::Cluster,
    }
}

fn cluster_first(pod: &Pod, cluster: &ClusterDns, host: Settings) -> Settings {
    let (domain, namespace) = (&cluster.domain, pod.metadata.namespace.as_deref().unwrap_or("default"));
    let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    Settings {
        servers: cluster.servers.clone(),
        searches: own.into_iter().chain(host.searches).collect(),
        options: vec![CLUSTER_OPTION.to_owned()],
    }
}

fn parse(text: &str) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => settings.servers.extend(words.next()),
            Some("search") => {
                let trimmed = |word: String| word.strip_suffix('.').map(str::to_owned).unwrap_or(word);
                settings.searches = words.map(trimmed).filter(|word| !word.is_empty()).collect();
            }
            Some("options") => settings.options = words.collect(),
            _ => {}
        }
    }
    settings
}

/// What the pod adds; an option that it names replaces the one that is there.
fn add_config(pod: &Pod, settings: &mut Settings) {
    let Some(config) = pod.spec.as_ref().and_then(|spec| spec.dns_config.as_ref()) else { return };
    settings.servers.extend(config.nameservers.iter().flatten().cloned());
    settings.searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        settings.options.retain(|one| one.split(':').next() != Some(&name));
        settings.options.push(match &option.value {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name,
        });
    }
}

fn fitting(searches: Vec<String>) -> Vec<String> {
    let mut bytes = 0;
    let fits = |word: &String| {
        bytes += word.len() + 1;
        bytes <= SEARCH_BYTES_MAX + 1
    };
    searches.into_iter().take(SEARCHES_MAX).take_while(fits).collect()
}

fn unique(words: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    words.into_iter().filter(|word| seen.insert(word.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const HOST: &str = "# x\nsearch lan. lan\nnameserver 192.168.1.1\noptions ndots:1 rotate\n";

    fn rendered(mut spec: Value) -> String {
        spec["containers"] = json!([]);
        let pod = serde_json::from_value(json!({"metadata": {"namespace": "shop"}, "spec": spec})).unwrap();
        render(&pod, &ClusterDns::new("10.43.0.10", "cluster.local"), HOST)
    }

    #[test]
    fn pods_ask_the_cluster_first_and_search_their_own_namespace() {
        let expected = "search shop.svc.cluster.local svc.cluster.local cluster.local lan\nnameserver 10.43.0.10\n\
                        options ndots:5\n";
        assert_eq!(rendered(json!({})), expected);
        assert_eq!(rendered(json!({"dnsPolicy": "ClusterFirst"})), expected);
        assert_eq!(rendered(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true})), expected);
    }

    #[test]
    fn pods_on_the_hosts_network_and_those_that_ask_for_it_have_the_hosts_servers() {
        let expected = "search lan\nnameserver 192.168.1.1\noptions ndots:1 rotate\n";
        assert_eq!(rendered(json!({"dnsPolicy": "Default"})), expected);
        assert_eq!(rendered(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true})), expected);
        let pod = serde_json::from_value(json!({"spec": {"containers": []}})).unwrap();
        assert_eq!(render(&pod, &ClusterDns::default(), HOST), expected, "there is no cluster DNS");
    }

    #[test]
    fn dns_config_adds_to_the_policys_settings_or_stands_alone() {
        let config = json!({"nameservers": ["9.9.9.9"], "searches": ["a.b"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        let with = |policy: &str| rendered(json!({"dnsPolicy": policy, "dnsConfig": config}));
        assert_eq!(
            with("Default"),
            "search lan a.b\nnameserver 192.168.1.1\nnameserver 9.9.9.9\noptions rotate ndots:2 edns0\n"
        );
        assert_eq!(with("None"), "search a.b\nnameserver 9.9.9.9\noptions ndots:2 edns0\n");
        assert!(with("ClusterFirst").ends_with("nameserver 10.43.0.10\nnameserver 9.9.9.9\noptions ndots:2 edns0\n"));
    }

    #[test]
    fn what_the_c_library_would_not_read_is_left_out() {
        let many: Vec<String> = (0..40).map(|n| format!("d{n}.example")).collect();
        let servers = ["1.1.1.1", "2.2.2.2", "3.3.3.3"];
        let text = rendered(json!({"dnsConfig": {"searches": many, "nameservers": servers}}));
        assert_eq!(text.lines().filter(|line| line.starts_with("nameserver")).count(), SERVERS_MAX);
        assert_eq!(text.lines().next().unwrap().split(' ').count(), 1 + SEARCHES_MAX);
    }
}
