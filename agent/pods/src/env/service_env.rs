//! Variables by which a container finds Services, as the kubelet makes them.

use std::collections::BTreeMap;

use control_api::view::core::{Pod, Service};

use super::Environment;
use crate::ports::Objects;

/// The namespace and name of the Service that every pod is told of: the API.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// What a pod's own variables may refer to, and replace.
pub(super) fn set(pod: &Pod, objects: &dyn Objects, environment: &mut Environment) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let named = |service: Service| (service.metadata.name.clone().unwrap_or_default(), service);
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    services.extend(objects.services(MASTER.0).into_iter().map(named).filter(|(name, _)| name == MASTER.1));
    if links {
        services.extend(objects.services(namespace).into_iter().filter(|one| address(one).is_some()).map(named));
    }
    for (name, service) in &services {
        if let Some(address) = address(service) {
            set_service(&variable(name), address, service, environment);
        }
    }
}

/// A Service without an address of its own, headless or external, has no variables.
fn address(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None")
}

fn set_service(prefix: &str, address: &str, service: &Service, environment: &mut Environment) {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    environment.set(&format!("{prefix}_SERVICE_HOST"), address.to_owned());
    for (index, port) in ports.enumerate() {
        let number = port.port;
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{}", protocol.to_lowercase(), authority(address, number));
        if index == 0 {
            environment.set(&format!("{prefix}_SERVICE_PORT"), number.to_string());
            environment.set(&format!("{prefix}_PORT"), url.clone());
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            environment.set(&format!("{prefix}_SERVICE_PORT_{}", variable(name)), number.to_string());
        }
        let prefix = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        environment.set(&prefix, url);
        environment.set(&format!("{prefix}_PROTO"), protocol.to_lowercase());
        environment.set(&format!("{prefix}_PORT"), number.to_string());
        environment.set(&format!("{prefix}_ADDR"), address.to_owned());
    }
}

fn authority(address: &str, port: i32) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn variable(name: &str) -> String {
    let name = name.replace(['.', '-'], "_").to_uppercase();
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use control_api::view::core::{ConfigMap, Secret};
    use serde_json::{Value, json};

    use super::*;

    struct World(Value);

    impl Objects for World {
        fn config_map(&self, _: &str, _: &str) -> Option<ConfigMap> {
            None
        }
        fn secret(&self, _: &str, _: &str) -> Option<Secret> {
            None
        }
        fn services(&self, namespace: &str) -> Vec<Service> {
            serde_json::from_value(self.0[namespace].clone()).unwrap_or_default()
        }
    }

    fn variables(spec: Value) -> Vec<String> {
        let world = World(json!({
            "default": [
                {"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "10.43.0.1",
                    "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}},
                {"metadata": {"name": "other"}, "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 1}]}}],
            "n": [
                {"metadata": {"name": "2-redis.x"}, "spec": {"clusterIP": "10.43.0.7", "ports": [
                    {"port": 6379}, {"name": "m-x", "port": 53, "protocol": "UDP"}]}},
                {"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}],
        }));
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})).expect("a pod");
        let mut environment = Environment::default();
        set(&pod, &world, &mut environment);
        environment.into_strings()
    }

    const MASTER: [&str; 8] = [
        "KUBERNETES_SERVICE_HOST=10.43.0.1",
        "KUBERNETES_SERVICE_PORT=443",
        "KUBERNETES_PORT=tcp://10.43.0.1:443",
        "KUBERNETES_SERVICE_PORT_HTTPS=443",
        "KUBERNETES_PORT_443_TCP=tcp://10.43.0.1:443",
        "KUBERNETES_PORT_443_TCP_PROTO=tcp",
        "KUBERNETES_PORT_443_TCP_PORT=443",
        "KUBERNETES_PORT_443_TCP_ADDR=10.43.0.1",
    ];

    #[test]
    fn a_pod_without_links_is_told_of_the_api_alone() {
        assert_eq!(variables(json!({"containers": [], "enableServiceLinks": false})), MASTER);
    }

    #[test]
    fn services_of_the_pods_namespace_are_linked_as_the_kubelet_does() {
        let all = variables(json!({"containers": []}));
        let redis = [
            "_2_REDIS_X_SERVICE_HOST=10.43.0.7",
            "_2_REDIS_X_SERVICE_PORT=6379",
            "_2_REDIS_X_PORT=tcp://10.43.0.7:6379",
            "_2_REDIS_X_PORT_6379_TCP=tcp://10.43.0.7:6379",
            "_2_REDIS_X_PORT_6379_TCP_PROTO=tcp",
            "_2_REDIS_X_PORT_6379_TCP_PORT=6379",
            "_2_REDIS_X_PORT_6379_TCP_ADDR=10.43.0.7",
            "_2_REDIS_X_SERVICE_PORT_M_X=53",
            "_2_REDIS_X_PORT_53_UDP=udp://10.43.0.7:53",
            "_2_REDIS_X_PORT_53_UDP_PROTO=udp",
            "_2_REDIS_X_PORT_53_UDP_PORT=53",
            "_2_REDIS_X_PORT_53_UDP_ADDR=10.43.0.7",
        ];
        assert_eq!(all, [redis.as_slice(), MASTER.as_slice()].concat());
    }
}
