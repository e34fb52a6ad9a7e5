//! What containers cannot do, as they find out themselves, and pods that are refused for what cannot be enforced.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::Path;

use tests::cluster::{Cluster, DEMO};
use tests::isolation;
use tests::program::{Said, eventually, kubectl};

#[test]
fn init_containers_containers_and_execs_are_all_isolated() {
    let cluster = Cluster::start();
    cluster.apply(&isolation::manifest()).ok();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/strict", "pod/plain", "--timeout=60s"]).ok();
    for (line, said) in isolation::looks() {
        let line = line.replacen("kubectl", &kubectl().display().to_string(), 1);
        let looked = Said::by(&mut cluster.kubectl_command(Path::new("sh"), &["-c", &line]));
        assert_eq!(looked.ok(), said, "{line}");
    }
}

#[test]
fn a_pod_is_refused_for_isolation_that_cannot_be_had_and_its_status_says_why() {
    let cluster = Cluster::start();
    let pod = |name: &str, of_pod: &str, own: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  {of_pod}\n  containers:\n  - {{name: main, image: '{DEMO}', {own}}}\n"
        )
    };
    cluster
        .apply(&pod("users", "hostUsers: false", ""))
        .fails("spec.hostUsers: Forbidden: user namespaces are not supported yet");
    cluster.apply(&pod("typo", "", "securityContext: {capabilities: {drop: [NETRAW]}}")).ok();
    let waiting = "jsonpath={.status.containerStatuses[0].state.waiting}";
    let mut said = String::new();
    eventually("the container is refused", 30, || {
        said = cluster.kubectl(&["get", "pod", "typo", "-o", waiting]).out;
        said.contains("CreateContainerError")
    });
    assert!(said.contains("this node cannot enforce what container main asks for: there is no capability"), "{said}");
    cluster.k("get events --field-selector involvedObject.name=typo").shows("there is no capability");
}
