use control_store::{Change, MemoryStore, Precondition, Tier, Write};

use super::*;

struct Shop {
    store: MemoryStore,
    allocator: Allocator,
}

impl Shop {
    fn new(services: &str, node_ports: RangeInclusive<u16>) -> Self {
        let services = ServiceRange::parse(services, "10.42.0.0/16").expect("a range");
        Self { store: MemoryStore::default(), allocator: Allocator::new(Ranges { services, node_ports }) }
    }

    fn ask(&self, name: &str, spec: Value) -> Result<(Value, Option<Reservation>), Status> {
        let mut service = json!({"metadata": {"name": name, "namespace": "d"}, "spec": spec});
        let key = Key::new(&SERVICES, "d", name);
        let held = self.allocator.allocate(&self.store, &key, &mut service, None, false)?;
        Ok((service, held))
    }

    async fn create(&self, name: &str, spec: Value) -> Result<Value, Status> {
        let (service, _held) = self.ask(name, spec)?;
        let draft = control_api::Draft::new(&service).expect("a draft");
        let (key, tier) = (Key::new(&SERVICES, "d", name), Tier::Durable);
        let write = Write { key, tier, precondition: Precondition::Absent, change: Change::Put(draft) };
        self.store.write(write).await.expect("is written");
        Ok(service)
    }
}

fn plain() -> Value {
    json!({"type": "ClusterIP"})
}

#[tokio::test]
async fn a_full_range_says_so_and_the_reserved_addresses_are_never_given() {
    let shop = Shop::new("10.43.0.0/28", 30000..=30001);
    let mut given = std::collections::BTreeSet::new();
    for number in 0..12 {
        let service = shop.create(&format!("s{number}"), plain()).await.expect("an address is free");
        assert!(given.insert(service["spec"]["clusterIP"].as_str().expect("an address").to_owned()));
    }
    assert!(!given.contains("10.43.0.1") && !given.contains("10.43.0.10"), "{given:?}");
    let status = shop.create("last", plain()).await.expect_err("nothing is left");
    assert!(status.message.contains("failed to allocate a serviceIP: range is full"), "{}", status.message);
    let ports = json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}, {"port": 2}]});
    shop.create("ports", ports.clone()).await.expect("two ports are free");
    let status = shop.create("more", ports).await.expect_err("no port is left");
    assert!(status.message.contains("failed to allocate a nodePort: range is full"), "{}", status.message);
}

#[tokio::test]
async fn a_reservation_holds_until_its_write_is_answered() {
    let shop = Shop::new("10.43.0.0/16", 30000..=32767);
    let wanted = json!({"type": "NodePort", "clusterIP": "10.43.7.7", "clusterIPs": ["10.43.7.7"],
        "ports": [{"port": 80, "nodePort": 30080}]});
    let (_, held) = shop.ask("a", wanted.clone()).expect("is free");
    let status = shop.ask("b", wanted.clone()).err().expect("is reserved");
    assert!(status.message.contains("failed to allocate IP 10.43.7.7: provided IP is already allocated"));
    let port = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    let status = shop.ask("b", port).err().expect("is reserved");
    assert!(
        status.message.contains("spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated")
    );
    // The same name is the same Service: only one of its writes can win.
    assert!(shop.ask("a", wanted.clone()).is_ok());
    drop(held);
    assert!(shop.ask("b", wanted).is_ok());
}

#[tokio::test]
async fn what_is_asked_for_outside_of_the_ranges_is_refused() {
    let shop = Shop::new("10.43.0.0/16", 30000..=32767);
    let refused = |spec: Value| shop.ask("a", spec).err().expect("is refused").message;
    let address = |address: &str| json!({"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address]});
    assert!(refused(address("10.44.0.1")).contains("The range of valid IPs is 10.43.0.0/16"));
    assert!(refused(address("10.43.0.10")).contains("already allocated"));
    let port = |port: i64| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    for number in [80, 32768, 99999, -1] {
        assert!(refused(port(number)).contains("The range of valid ports is 30000-32767"), "{number}");
    }
}

#[tokio::test]
async fn ports_of_one_number_share_a_node_port_and_a_health_check_has_its_own() {
    let shop = Shop::new("10.43.0.0/16", 30000..=32767);
    let ports = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"port": 80}]);
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": ports});
    let service = shop.create("a", spec).await.expect("is free");
    let number = |at: usize| service["spec"]["ports"][at]["nodePort"].as_u64().expect("a port");
    assert_eq!(number(0), number(1));
    assert_ne!(number(0), number(2));
    let check = service["spec"]["healthCheckNodePort"].as_u64().expect("a port");
    assert!(check != number(0) && check != number(2));
    let none = json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]});
    let service = shop.create("b", none).await.expect("is free");
    assert_eq!(service["spec"]["ports"][0].get("nodePort"), None);
}
