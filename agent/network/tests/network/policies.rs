//! NetworkPolicies on real packets: pods of two nodes and a machine beside them.

use std::net::Ipv4Addr;

use crate::netns::Netns;
use crate::world::{A, B, D, World, address, end, peers, until};
use agent_network::{Identity, NamedPort, Network, PodNetwork, PolicyPod, PortMapping, Protocol};
use control_api::view::networking::NetworkPolicy;
use serde_json::{Value, json};

struct Pod {
    netns: Netns,
    address: Ipv4Addr,
    uid: String,
    identity: Identity,
    node: usize,
}

fn identity(namespace: &str, app: &str) -> Identity {
    Identity {
        namespace: namespace.into(),
        labels: [("app".to_owned(), app.to_owned())].into(),
        ports: vec![NamedPort { name: "web".into(), protocol: 6, port: 80 }],
    }
}

async fn start(networks: &[Network], node: usize, namespace: &str, app: &str) -> Pod {
    let netns = Netns::new();
    netns.serve(80);
    netns.serve(81);
    let (uid, identity) = (format!("{node}-{namespace}-{app}"), identity(namespace, app));
    let pod = PodNetwork { uid: uid.clone(), identity: identity.clone(), netns: netns.path(), ports: vec![] };
    let address = networks[node].attach(&pod).await.unwrap();
    Pod { netns, address, uid, identity, node }
}

impl Pod {
    /// Has time for it, since a busy machine answers late.
    fn reaches(&self, to: &Self, port: u16) -> bool {
        self.netns.ask_patiently(to.address, port).is_ok()
    }

    /// Not for a while, that is: what is dropped says nothing.
    fn misses(&self, to: &Self, port: u16) -> bool {
        self.netns.ask_briefly(to.address, port).is_err()
    }

    fn policy_pod(&self) -> PolicyPod {
        PolicyPod { uid: self.uid.clone(), address: self.address, identity: self.identity.clone() }
    }
}

/// What each node is told: all pods, and all policies.
async fn tell(networks: &[Network], pods: &[&Pod], policies: &[Value]) {
    let policies: Vec<NetworkPolicy> = policies
        .iter()
        .enumerate()
        .map(|(number, spec)| {
            let metadata = json!({"name": format!("p{number}"), "namespace": "default"});
            let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec});
            serde_json::from_value(object).unwrap()
        })
        .collect();
    let labels = |name: &str| [("kubernetes.io/metadata.name".to_owned(), name.to_owned())].into();
    for network in networks {
        let namespaces = ["default", "tools", "kube-system"].map(|name| (name.to_owned(), labels(name)));
        network.set_namespaces(namespaces.into()).await.unwrap();
        network.set_pods(pods.iter().map(|pod| pod.policy_pod()).collect()).await.unwrap();
        network.set_policies(&policies).await.unwrap();
    }
}

fn app(name: &str) -> Value {
    json!({"matchLabels": {"app": name}})
}

#[tokio::test]
async fn ingress_lets_in_whom_a_policy_names_and_nobody_else() {
    let world = World::new();
    let networks = world.networks().await;
    let web = start(&networks, A, "default", "web").await;
    let near = start(&networks, A, "default", "client").await;
    let far = start(&networks, B, "default", "client").await;
    let over = start(&networks, D, "default", "client").await;
    let stranger = start(&networks, A, "default", "stranger").await;
    let foreign = start(&networks, B, "tools", "client").await;
    let pods = [&web, &near, &far, &over, &stranger, &foreign];
    tell(&networks, &pods, &[]).await;
    assert!(pods.iter().all(|pod| pod.reaches(&web, 80)));

    tell(&networks, &pods, &[json!({"podSelector": app("web")})]).await;
    for pod in &pods[1..] {
        assert!(pod.misses(&web, 80), "{} is kept out", pod.uid);
        assert!(web.reaches(pod, 80), "outward nothing is said, and replies come in");
    }
    assert!(web.reaches(&web, 80), "a pod reaches itself");
    assert!(world.nodes[A].netns.ask(web.address, 80).is_ok(), "the node reaches its pods");
    assert!(stranger.reaches(&near, 80), "pods that no policy selects are open");

    let rule = json!({"from": [{"podSelector": app("client")}], "ports": [{"port": "web"}]});
    tell(&networks, &pods, &[json!({"podSelector": app("web"), "ingress": [rule]})]).await;
    for pod in [&near, &far, &over] {
        assert!(pod.reaches(&web, 80) && pod.misses(&web, 81), "{} on one port", pod.uid);
    }
    assert!(stranger.misses(&web, 80) && foreign.misses(&web, 80));

    let ops = json!({"matchLabels": {"kubernetes.io/metadata.name": "tools"}});
    let rule = json!({"from": [{"namespaceSelector": ops}], "ports": [{"port": 79, "endPort": 81}]});
    tell(&networks, &pods, &[json!({"podSelector": {}, "ingress": [rule]})]).await;
    assert!(foreign.reaches(&web, 80) && foreign.reaches(&web, 81));
    assert!(near.misses(&web, 80) && far.misses(&over, 80));

    tell(&networks, &pods, &[]).await;
    assert!(pods.iter().all(|pod| pod.reaches(&web, 80)));
    assert!(!world.nodes[A].netns.nft().contains("policy-"), "without policies there is no table");
}

#[tokio::test]
async fn egress_lets_out_to_whom_a_policy_names_and_to_dns_only_where_it_says_so() {
    let world = World::new();
    let networks = world.networks().await;
    let dns = Ipv4Addr::new(10, 43, 0, 10);
    for network in &networks {
        network.add_local(dns).await.unwrap();
    }
    let node = &world.nodes[A].netns;
    for port in [53, 81] {
        node.serve(port);
    }
    world.router.serve(80);
    let web = start(&networks, A, "default", "web").await;
    let friend = start(&networks, B, "default", "friend").await;
    let other = start(&networks, A, "default", "other").await;
    let pods = [&web, &friend, &other];
    let router = Ipv4Addr::new(192, 0, 2, 254);
    let asks = |address: Ipv4Addr, port: u16| web.netns.ask_patiently(address, port).is_ok();
    let fails = |address: Ipv4Addr, port: u16| web.netns.ask_briefly(address, port).is_err();

    tell(&networks, &pods, &[json!({"podSelector": app("web"), "policyTypes": ["Egress"]})]).await;
    assert!(web.misses(&friend, 80) && web.misses(&other, 80) && fails(router, 80) && fails(dns, 53));
    assert!(asks(address(1), 81), "a pod reaches its node");
    assert!(friend.reaches(&web, 80), "inward nothing is said");

    let system = json!({"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}});
    let to_dns = json!({"to": [{"namespaceSelector": system, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]});
    let to_friend = json!({"to": [{"podSelector": app("friend")}], "ports": [{"port": "web"}]});
    let rules = json!([to_dns, to_friend]);
    tell(&networks, &pods, &[json!({"podSelector": app("web"), "policyTypes": ["Egress"], "egress": rules})]).await;
    assert!(asks(dns, 53) && web.reaches(&friend, 80));
    assert!(web.misses(&friend, 81) && web.misses(&other, 80) && fails(router, 80));

    let block = json!({"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.42.0.0/16"]}}]});
    tell(&networks, &pods, &[json!({"podSelector": app("web"), "policyTypes": ["Egress"], "egress": [block]})]).await;
    assert!(asks(router, 80) && web.misses(&friend, 80));
}

#[tokio::test]
async fn an_accepted_way_out_still_meets_the_others_policy() {
    let world = World::new();
    let networks = world.networks().await;
    let web = start(&networks, A, "default", "web").await;
    let client = start(&networks, A, "default", "client").await;
    let out = json!({"podSelector": app("client"), "policyTypes": ["Egress"], "egress": [{}]});
    tell(&networks, &[&web, &client], &[out.clone(), json!({"podSelector": app("web")})]).await;
    assert!(client.misses(&web, 80));
    tell(&networks, &[&web, &client], &[out, json!({"podSelector": app("web"), "ingress": [{}]})]).await;
    assert!(client.reaches(&web, 80));
}

#[tokio::test]
async fn a_policy_holds_before_a_pods_first_packet_and_not_for_the_next_at_its_address() {
    let world = World::new();
    let networks = world.networks().await;
    let client = start(&networks, B, "default", "client").await;
    let network = &networks[A];
    tell(&networks, &[&client], &[json!({"podSelector": app("web")})]).await;
    // The node was not told of this pod: it knows by what it attached.
    let web = start(&networks, A, "default", "web").await;
    assert!(client.misses(&web, 80));
    network.detach(&web.uid).await.unwrap();
    let listed = world.nodes[A].netns.nft();
    assert!(!listed.contains(&web.address.to_string()), "{listed}");
    let open = start(&networks, A, "default", "open").await;
    assert!(client.reaches(&open, 80));
    // A label that changes while the pod runs.
    let relabelled = PolicyPod { identity: identity("default", "web"), ..open.policy_pod() };
    network.set_pods(vec![client.policy_pod(), relabelled]).await.unwrap();
    assert!(client.misses(&open, 80));
}

#[tokio::test]
async fn policies_outlive_the_agent_and_a_flush_by_hand() {
    let world = World::new();
    let mut networks = world.networks().await;
    let web = start(&networks, A, "default", "web").await;
    let client = start(&networks, B, "default", "client").await;
    let policies = [json!({"podSelector": app("web")})];
    tell(&networks, &[&web, &client], &policies).await;
    let node = &world.nodes[A];
    let rules = node.netns.nft();
    node.netns.run(&["nft", "flush", "ruleset"]);
    until("it is back", async || node.netns.nft() == rules).await;
    assert!(client.misses(&web, 80));
    drop(networks.remove(A));
    assert!(client.misses(&web, 80), "without an agent");
    networks.insert(A, node.network().await);
    assert!(client.misses(&web, 80), "before the agent knows the policies again");
    networks[A].set_peers(peers()).await.unwrap();
    tell(&networks, &[&web, &client], &policies).await;
    assert_eq!(node.netns.nft(), rules);
    end(networks.remove(A)).await;
    Network::teardown(&node.config()).await.unwrap();
    assert_eq!(node.netns.nft(), "");
}

#[tokio::test]
async fn a_host_port_is_judged_by_who_really_asks() {
    let world = World::new();
    let networks = world.networks().await;
    let netns = Netns::new();
    netns.serve(80);
    let ports = vec![PortMapping { protocol: Protocol::Tcp, host_ip: None, host_port: 8080, container_port: 80 }];
    let pod = PodNetwork { uid: "web".into(), identity: identity("default", "web"), netns: netns.path(), ports };
    networks[A].attach(&pod).await.unwrap();
    let client = start(&networks, B, "default", "client").await;
    assert_eq!(client.node, B);
    let router = world.router.name();
    let block = json!({"from": [{"ipBlock": {"cidr": "192.0.2.254/32"}}], "ports": [{"port": 80}]});
    tell(&networks, &[&client], &[json!({"podSelector": app("web"), "ingress": [block]})]).await;
    assert!(world.router.ask(address(1), 8080).is_ok(), "{router} may");
    assert!(world.nodes[B].netns.ask_briefly(address(1), 8080).is_err());
    assert!(world.nodes[A].netns.ask(address(1), 8080).is_ok(), "the node itself may");
}
