//! A cluster whose pods and Services have other ranges than usual.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::cluster::{Cluster, DEMO};

#[test]
fn pods_services_and_names_follow_the_ranges_that_a_cluster_was_given() {
    let cluster = Cluster::configured("podRange: 10.52.0.0/16\nserviceRange: 10.53.0.0/20\n");
    cluster.kubectl(&["run", "client", &format!("--image={DEMO}")]).ok();
    cluster.k("wait pod client --for=condition=Ready --timeout=60s").ok();
    cluster.k("get pod client -o jsonpath={.status.podIP}").shows("10.52.0.");
    cluster.k("get service kubernetes -o jsonpath={.spec.clusterIP}").shows("10.53.0.1");
    cluster.k("exec client -- cat /etc/resolv.conf").shows("nameserver 10.53.0.10");
    let look = "nslookup kubernetes.default.svc.cluster.local";
    cluster.kubectl(&["exec", "client", "--", "sh", "-c", look]).shows("10.53.0.1");
}
