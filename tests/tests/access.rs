//! Pods speak to the API as their accounts.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::cluster::{Cluster, DEMO};
use tests::program::eventually;

const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn token(cluster: &Cluster, pod: &str) -> String {
    cluster.k(&format!("exec {pod} -- cat {FOLDER}/token")).ok().to_owned()
}

#[test]
fn a_pod_has_its_accounts_token_and_keeps_it_while_the_server_is_away() {
    let cluster = Cluster::start();
    cluster.k("create rolebinding view --clusterrole=view --serviceaccount=default:default").ok();
    cluster.kubectl(&["run", "worker", &format!("--image={DEMO}")]).ok();
    cluster
        .kubectl(&[
            "run",
            "bare",
            &format!("--image={DEMO}"),
            "--overrides={\"spec\":{\"automountServiceAccountToken\":false}}",
        ])
        .ok();
    cluster.k("wait pod worker bare --for=condition=Ready --timeout=60s").ok();
    assert_eq!(cluster.k(&format!("exec worker -- cat {FOLDER}/namespace")).ok(), "default");
    cluster.k(&format!("exec worker -- cat {FOLDER}/ca.crt")).shows("BEGIN CERTIFICATE");
    assert_ne!(cluster.k(&format!("exec bare -- cat {FOLDER}/token")).code, 0);
    let first = token(&cluster, "worker");
    // kubectl prefers the administrator's certificate: the token goes by hand.
    let port = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let url = port.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap().to_owned();
    let ask = |token: &str, path: &str| {
        let mut curl = cluster.namespace.command(std::path::Path::new("curl"));
        let header = format!("Authorization: Bearer {token}");
        tests::program::Said::by(curl.args(["-sk", "-m", "5", "-H", &header, &format!("{url}{path}")]))
    };
    ask(&first, "/api/v1/namespaces/default/pods").shows("\"kind\":\"PodList\"");
    ask(&first, "/api/v1/namespaces/default/secrets").shows("system:serviceaccount:default:default");
    // The server goes and the agent starts anew: the token stays in its file.
    let up = cluster.pid("up").unwrap();
    nix::sys::signal::kill(up, nix::sys::signal::Signal::SIGSTOP).unwrap();
    cluster.kill_9("server");
    cluster.kill_9("agent");
    nix::sys::signal::kill(up, nix::sys::signal::Signal::SIGCONT).unwrap();
    eventually("the pod can be reached again", 60, || cluster.k("exec worker -- true").code == 0);
    let kept = token(&cluster, "worker");
    ask(&kept, "/api/v1/namespaces/default/pods").shows("\"kind\":\"PodList\"");
    // A pod that is gone takes its token with it.
    cluster.k("delete pod worker --grace-period=0 --force").ok();
    eventually("the token is dead", 30, || ask(&kept, "/api/v1/namespaces/default/pods").out.contains("Unauthorized"));
}
