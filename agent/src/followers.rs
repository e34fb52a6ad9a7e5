//! The parts of the node that follow what every node is told: routes to other nodes, Services, names, announcements.
//!
//! They are fed from the node's cache before a server is looked for, so that all of it works without one.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_announce::{Announcer, NodeInfo};
use agent_dns::Dns;
use agent_network::{Network, Peer, PolicyPod};
use agent_proxy::Proxy;
use anyhow::{Context, Result};
use control_api::view::View;
use control_api::view::core::{Namespace, Node, Pod, Service};
use control_api::view::discovery::EndpointSlice;
use control_api::view::networking::NetworkPolicy;
use control_wire::NodeNetwork;
use tokio::sync::watch;

use crate::adapters::{chain, identity};
use crate::cache::{Cache, Key};
use crate::config::Config;

/// Where nodes hear of each other, UDP.
const NODES_PORT: u16 = 6444;
const DNS_PORT: u16 = 53;
/// The rules of five thousand Services take a tenth of a second.
const RULES_SECONDS_MAX: Duration = Duration::from_secs(5);
/// Kubernetes' label of a node that takes no traffic of load balancers.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Cheap to clone.
#[derive(Clone)]
pub struct Followers(Arc<Parts>);

struct Parts {
    node_name: String,
    network: Network,
    proxy: Proxy,
    dns: Dns,
    announcer: Option<Announcer>,
    known: Mutex<Known>,
    /// The proxy is no longer held back.
    released: AtomicBool,
}

/// What is acted upon all at once; each with whether it changed since then.
#[derive(Default)]
struct Known {
    nodes: Changing<String, Node>,
    namespaces: Changing<String, Labels>,
    policies: Changing<(String, String), NetworkPolicy>,
    peers: Changing<(String, String), PolicyPod>,
}

type Labels = BTreeMap<String, String>;

struct Changing<K, V> {
    all: BTreeMap<K, V>,
    changed: bool,
}

impl<K, V> Default for Changing<K, V> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), changed: false }
    }
}

impl<K: Ord + Clone, V: Clone> Changing<K, V> {
    fn set(&mut self, key: K, value: Option<V>) {
        self.changed = true;
        match value {
            Some(value) => self.all.insert(key, value),
            None => self.all.remove(&key),
        };
    }

    /// Everything, if anything changed since this was asked last.
    fn take(&mut self) -> Option<BTreeMap<K, V>> {
        std::mem::take(&mut self.changed).then(|| self.all.clone())
    }
}

pub fn proxy_config(node: &str, node_name: &str, network: &NodeNetwork) -> Result<agent_proxy::Config> {
    Ok(agent_proxy::Config {
        node: node.to_owned(),
        node_name: node_name.to_owned(),
        cluster_range: network.cluster_range.parse().context("the cluster's pod range")?,
        service_range: network.service_range.parse().context("the range of Services")?,
        local_services: vec![dns_address(network)?],
        netns: None,
    })
}

fn dns_address(network: &NodeNetwork) -> Result<Ipv4Addr> {
    network.dns.parse().context("the address of the cluster's DNS")
}

fn dns_config(config: &Config, network: &NodeNetwork) -> Result<agent_dns::Config> {
    let address = dns_address(network)?;
    Ok(agent_dns::Config {
        listen: vec![(address, DNS_PORT).into()],
        domain: network.domain.clone(),
        service_range: network.service_range.parse().context("the range of Services")?,
        pod_range: network.cluster_range.parse().context("the cluster's pod range")?,
        resolv_conf: config.resolv_conf.clone(),
        own: vec![address.into()],
    })
}

impl Followers {
    /// Starts the parts and feeds them what the node was told before it ended last. The proxy's rules of before stay in
    /// force until then.
    pub async fn start(
        config: &Config,
        (node, node_name): (&str, &str),
        network: &Network,
        cache: &Cache,
    ) -> Result<Self> {
        let told = cache.network().context("the cluster's network is not known yet")?;
        network.add_local(dns_address(&told)?).await.context("cannot have the address of the cluster's DNS")?;
        let proxy = Proxy::start(proxy_config(node, node_name, &told)?).context("cannot start the proxy")?;
        proxy.hold();
        let dns = Dns::start(dns_config(config, &told)?).context("cannot start the DNS")?;
        let announcer = config.announce.then(|| {
            let (node_name, secret) = (node_name.to_owned(), told.secret);
            Announcer::start(agent_announce::Config { node_name, secret, port: NODES_PORT })
        });
        let followers = Self(Arc::new(Parts {
            node_name: node_name.to_owned(),
            network: network.clone(),
            proxy,
            dns,
            announcer,
            known: Mutex::default(),
            released: AtomicBool::new(false),
        }));
        tokio::spawn(followers.clone().follow_addresses(network.changes()));
        let known = cache.shared();
        for (key, json) in &known {
            followers.put(key, json);
        }
        // A node that was never told anything waits for the server's word.
        if !known.is_empty() {
            followers.ready().await;
        }
        Ok(followers)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put(&self, key: &Key, json: &[u8]) {
        let Parts { proxy, dns, announcer, .. } = &*self.0;
        match key.0.as_str() {
            "services" => {
                let Some(service) = parse::<Service>(key, json) else { return };
                proxy.put_service(&service);
                dns.put_service(&service);
                announcer.iter().for_each(|announcer| announcer.put_service(&service));
            }
            "endpointslices" => {
                let Some(slice) = parse::<EndpointSlice>(key, json) else { return };
                proxy.put_slice(&slice);
                dns.put_slice(&slice);
                announcer.iter().for_each(|announcer| announcer.put_slice(&slice));
            }
            "namespaces" => {
                let Some(namespace) = parse::<Namespace>(key, json) else { return };
                dns.put_namespace(&key.2);
                self.known().namespaces.set(key.2.clone(), Some(namespace.metadata.labels.unwrap_or_default()));
            }
            "nodes" => {
                let Some(node) = parse::<Node>(key, json) else { return };
                self.known().nodes.set(key.2.clone(), Some(node));
            }
            "networkpolicies" => {
                let Some(policy) = parse::<NetworkPolicy>(key, json) else { return };
                self.known().policies.set((key.1.clone(), key.2.clone()), Some(policy));
            }
            "peers" => {
                let Some(pod) = parse::<Pod>(key, json) else { return };
                self.known().peers.set((key.1.clone(), key.2.clone()), policy_pod(&pod));
            }
            _ => {}
        }
    }

    pub fn remove(&self, key: &Key) {
        let Parts { proxy, dns, announcer, .. } = &*self.0;
        let (resource, namespace, name) = key;
        match resource.as_str() {
            "services" => {
                proxy.remove_service(namespace, name);
                dns.remove_service(namespace, name);
                announcer.iter().for_each(|announcer| announcer.remove_service(namespace, name));
            }
            "endpointslices" => {
                proxy.remove_slice(namespace, name);
                dns.remove_slice(namespace, name);
                announcer.iter().for_each(|announcer| announcer.remove_slice(namespace, name));
            }
            "namespaces" => {
                dns.remove_namespace(name);
                self.known().namespaces.set(name.clone(), None);
            }
            "nodes" => self.known().nodes.set(name.clone(), None),
            "networkpolicies" => self.known().policies.set((namespace.clone(), name.clone()), None),
            "peers" => self.known().peers.set((namespace.clone(), name.clone()), None),
            _ => {}
        }
    }

    /// What was put and removed until now belongs together: acted upon once, policies before anything can flow.
    pub async fn flush(&self) {
        let (namespaces, peers, policies, nodes) = {
            let mut known = self.known();
            (known.namespaces.take(), known.peers.take(), known.policies.take(), known.nodes.take())
        };
        let network = &self.0.network;
        if let Some(namespaces) = namespaces {
            tell(network.set_namespaces(namespaces).await, "namespaces are not known to policies");
        }
        if let Some(peers) = peers {
            tell(network.set_pods(peers.into_values().collect()).await, "policies do not know every pod");
        }
        if let Some(policies) = policies {
            let policies: Vec<NetworkPolicy> = policies.into_values().collect();
            tell(network.set_policies(&policies).await, "policies are not all in force");
        }
        if let Some(nodes) = nodes {
            if let Some(announcer) = &self.0.announcer {
                announcer.set_nodes(nodes.iter().map(|(name, node)| info(name, node)).collect());
            }
            let others = nodes.iter().filter(|(name, _)| **name != self.0.node_name);
            let peers = others.filter_map(|(name, node)| peer(name, node)).collect();
            tell(network.set_peers(peers).await, "routes to other nodes are not as they have to be");
        }
    }

    /// Everything that the server knows was told: the proxy may take away what it was not told of.
    pub fn synced(&self) {
        self.0.proxy.release();
        self.0.released.store(true, Ordering::Relaxed);
    }

    /// Returns when the node's first pods find Services as every later one does: what every node is told comes before
    /// them. A kernel that refuses the rules does not hold pods up for longer than [`RULES_SECONDS_MAX`].
    pub async fn ready(&self) {
        self.flush().await;
        if !self.0.released.load(Ordering::Relaxed) {
            self.synced();
            if tokio::time::timeout(RULES_SECONDS_MAX, self.0.proxy.settled()).await.is_err() {
                tracing::error!("pods start without rules for Services");
            }
        }
    }

    /// Before the network is taken away, which the proxy would put right again.
    pub fn stop(&self) {
        self.0.proxy.stop();
    }

    /// Tells of other addresses of the node than before, for as long as the agent runs.
    async fn follow_addresses(self, mut changes: watch::Receiver<u64>) {
        while changes.changed().await.is_ok() {
            self.0.announcer.iter().for_each(Announcer::addresses_changed);
        }
    }
}

fn parse<T: View>(key: &Key, json: &[u8]) -> Option<T> {
    let parsed = T::parse(json);
    parsed.map_err(|error| tracing::error!(?key, %error, "an object cannot be read")).ok()
}

fn tell(done: Result<(), agent_network::Error>, what: &str) {
    if let Err(error) = done {
        tracing::error!(error = chain(&error), "{what}");
    }
}

fn policy_pod(pod: &Pod) -> Option<PolicyPod> {
    let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    Some(PolicyPod { uid: pod.metadata.uid.clone()?, address, identity: identity(pod) })
}

fn addresses(node: &Node) -> Vec<Ipv4Addr> {
    let addresses = node.status.iter().filter_map(|status| status.addresses.as_ref()).flatten();
    let internal = addresses.filter(|address| address.type_ == "InternalIP");
    internal.filter_map(|address| address.address.parse().ok()).collect()
}

fn peer(name: &str, node: &Node) -> Option<Peer> {
    let pod_range = node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()?;
    Some(Peer { name: name.to_owned(), pod_range, addresses: addresses(node) })
}

fn info(name: &str, node: &Node) -> NodeInfo {
    let excluded = node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED));
    NodeInfo { name: name.to_owned(), addresses: addresses(node), excluded }
}
