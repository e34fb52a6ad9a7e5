//! Services, Endpoints and EndpointSlices.

use serde_json::{Value, json};

use crate::object::{get, integer, list, text};

use super::age::age;
use super::{AGE, Column, NAME, Printer, labels, or};

/// Items shown of a list before `+ 2 more...`.
const SHOWN: usize = 3;

pub(super) static SERVICE: Printer = Printer {
    columns: &[
        NAME,
        Column::string("Type", "How the Service is exposed."),
        Column::string("Cluster-IP", "The address of the Service inside the cluster."),
        Column::string("External-IP", "Addresses of the Service outside of the cluster."),
        Column::string("Port(s)", "The ports that the Service exposes."),
        AGE,
        Column::wide("Selector", "Labels of the pods that traffic goes to."),
    ],
    cells: |object, now| {
        let address = list(object, "/spec/clusterIPs").first().and_then(Value::as_str).unwrap_or("");
        vec![
            json!(text(object, "/metadata/name")),
            json!(text(object, "/spec/type")),
            or(address, "<none>"),
            json!(external(object)),
            or(&service_ports(object), "<none>"),
            age(object, now),
            or(&labels(object, "/spec/selector"), "<none>"),
        ]
    },
};

fn words(items: &[Value]) -> String {
    items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

fn external(object: &Value) -> String {
    let own = words(list(object, "/spec/externalIPs"));
    let own_or = |placeholder: &str| if own.is_empty() { placeholder.to_owned() } else { own.clone() };
    match text(object, "/spec/type") {
        "ClusterIP" | "NodePort" => own_or("<none>"),
        "LoadBalancer" => {
            let ingress = list(object, "/status/loadBalancer/ingress").iter();
            let given = ingress.map(|ingress| match text(ingress, "/ip") {
                "" => text(ingress, "/hostname"),
                address => address,
            });
            let mut given: Vec<&str> = given.filter(|given| !given.is_empty()).collect();
            given.sort_unstable();
            given.dedup();
            match (given.is_empty(), own.is_empty()) {
                (true, _) => own_or("<pending>"),
                (false, true) => given.join(","),
                (false, false) => format!("{},{own}", given.join(",")),
            }
        }
        "ExternalName" => text(object, "/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn service_ports(object: &Value) -> String {
    let ports = list(object, "/spec/ports").iter().map(|port| {
        let (number, protocol) = (integer(port, "/port").unwrap_or(0), text(port, "/protocol"));
        match integer(port, "/nodePort").unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    });
    ports.collect::<Vec<_>>().join(",")
}

pub(super) static ENDPOINTS: Printer = Printer {
    columns: &[NAME, Column::string("Endpoints", "Addresses and ports that traffic goes to."), AGE],
    cells: |object, now| {
        let mut all = Vec::new();
        for subset in list(object, "/subsets") {
            let addresses = list(subset, "/addresses").iter().map(|address| text(address, "/ip"));
            let ports = list(subset, "/ports");
            if ports.is_empty() {
                all.extend(addresses.map(str::to_owned));
                continue;
            }
            for port in ports {
                let number = integer(port, "/port").unwrap_or(0);
                all.extend(list(subset, "/addresses").iter().map(|address| with_port(text(address, "/ip"), number)));
            }
        }
        vec![json!(text(object, "/metadata/name")), or(&shortened(&all), "<none>"), age(object, now)]
    },
};

fn with_port(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn shortened(items: &[String]) -> String {
    match items.len().saturating_sub(SHOWN) {
        0 => items.join(","),
        more => format!("{} + {more} more...", items[..SHOWN].join(",")),
    }
}

pub(super) static ENDPOINT_SLICE: Printer = Printer {
    columns: &[
        NAME,
        Column::string("AddressType", "The type of the slice's addresses."),
        Column::string("Ports", "Ports of every endpoint of the slice."),
        Column::string("Endpoints", "The slice's endpoints."),
        AGE,
    ],
    cells: |object, now| {
        let ports = list(object, "/ports").iter().map(|port| match integer(port, "/port") {
            Some(number) => number.to_string(),
            None => get(port, "/name").and_then(Value::as_str).unwrap_or("*").to_owned(),
        });
        let ports: Vec<String> = ports.collect();
        let addresses = list(object, "/endpoints").iter().flat_map(|endpoint| list(endpoint, "/addresses"));
        let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
        vec![
            json!(text(object, "/metadata/name")),
            json!(text(object, "/addressType")),
            or(&shortened(&ports), "<unset>"),
            or(&shortened(&addresses), "<unset>"),
            age(object, now),
        ]
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> jiff::Timestamp {
        "1970-01-01T00:00:07Z".parse().expect("a time")
    }

    fn named(mut object: Value) -> Value {
        object["metadata"] = json!({"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"});
        object
    }

    #[test]
    fn services_show_where_they_are_reached() {
        let ports = json!([{"port": 80, "nodePort": 30001, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
        for (spec, status, wanted) in [
            (
                json!({"type": "ClusterIP", "clusterIPs": ["10.43.0.9"], "selector": {"b": "2", "a": "1"}, "ports": ports}),
                json!({}),
                json!(["a", "ClusterIP", "10.43.0.9", "<none>", "80:30001/TCP,53/UDP", "7s", "a=1,b=2"]),
            ),
            (
                json!({"type": "LoadBalancer", "clusterIPs": ["10.43.0.9"]}),
                json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}, {"hostname": "x.y"}]}}),
                json!(["a", "LoadBalancer", "10.43.0.9", "10.0.0.9,x.y", "<none>", "7s", "<none>"]),
            ),
            (
                json!({"type": "LoadBalancer", "clusterIPs": ["10.43.0.9"]}),
                json!({}),
                json!(["a", "LoadBalancer", "10.43.0.9", "<pending>", "<none>", "7s", "<none>"]),
            ),
            (
                json!({"type": "ClusterIP", "clusterIPs": ["None"], "externalIPs": ["10.0.0.3"]}),
                json!({}),
                json!(["a", "ClusterIP", "None", "10.0.0.3", "<none>", "7s", "<none>"]),
            ),
            (
                json!({"type": "ExternalName", "externalName": "x.y"}),
                json!({}),
                json!(["a", "ExternalName", "<none>", "x.y", "<none>", "7s", "<none>"]),
            ),
        ] {
            let object = named(json!({"spec": spec, "status": status}));
            assert_eq!(json!((SERVICE.cells)(&object, now())), wanted);
        }
    }

    #[test]
    fn many_endpoints_are_counted() {
        let addresses: Vec<Value> = (1..=4).map(|last| json!({"ip": format!("10.0.0.{last}")})).collect();
        let object = named(json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}));
        let wanted = json!(["a", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...", "7s"]);
        assert_eq!(json!((ENDPOINTS.cells)(&object, now())), wanted);
        assert_eq!((ENDPOINTS.cells)(&named(json!({})), now())[1], "<none>");
        let object = named(json!({
            "addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}], "endpoints": [{"addresses": ["10.0.0.1"]}],
        }));
        let wanted = json!(["a", "IPv4", "80,x", "10.0.0.1", "7s"]);
        assert_eq!(json!((ENDPOINT_SLICE.cells)(&object, now())), wanted);
        let wanted = json!(["a", "", "<unset>", "<unset>", "7s"]);
        assert_eq!(json!((ENDPOINT_SLICE.cells)(&named(json!({})), now())), wanted);
    }
}
