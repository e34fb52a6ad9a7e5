//! A cluster of several platforms. One node is real; the other is a session that says it is an arm64 machine, since it
//! is the server that decides here.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::fs;
use std::thread::JoinHandle;

use control_wire::{Hello, JoinToken, Link, NodeKey, PROTOCOL, Report};
use serde_json::{Value, json};
use tests::lab::Lab;
use tests::program::eventually;
use tests::registry::{Registry, demo_archive};
use tokio::sync::oneshot;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const DAEMON: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: all}
spec:
  selector: {matchLabels: {app: all}}
  template:
    metadata: {labels: {app: all}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "IMAGE"}]}
"#;

/// An arm64 node that runs nothing and has no registry; gone when dropped.
struct Board {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Board {
    fn join(lab: &Lab, name: &'static str) -> Self {
        let token: JoinToken = lab.token(&[]).parse().unwrap();
        let network = lab.server_network().name().to_owned();
        let (stop, stopped) = oneshot::channel();
        let enter = fs::File::open(format!("/run/netns/{network}")).unwrap();
        let thread = std::thread::spawn(move || {
            nix::sched::setns(enter, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = live(&token, name) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn node() -> Value {
    let amounts = json!({"cpu": "4", "memory": "4Gi", "pods": "110"});
    json!({
        "metadata": {"labels": {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux"}},
        "status": {
            "capacity": amounts, "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "m"}],
            "nodeInfo": {
                "architecture": "arm64", "operatingSystem": "linux", "bootID": "", "containerRuntimeVersion": "",
                "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "osImage": "",
                "systemUUID": "",
            },
        },
    })
}

async fn live(token: &JoinToken, name: &str) {
    let (identity, _) = Link::join(token, name, &NodeKey::generate().unwrap()).await.unwrap();
    let node = node();
    let hello = Hello {
        protocol: PROTOCOL,
        node_name: name.to_owned(),
        agent_version: "0".to_owned(),
        platform: "linux/arm64".to_owned(),
        node: node.to_string().into_bytes(),
    };
    let (link, _) = Link::connect(&identity.addresses, &identity, hello).await.unwrap();
    let mut reports = link.report().await.unwrap();
    reports.send(&Report::NodeStatus { json: node["status"].to_string().into_bytes() }).await.unwrap();
    // What it is asked it leaves unanswered.
    while link.accept().await.is_ok() {}
}

/// Says of an image in the registry that it is for `architectures`, whatever is in it.
fn push_index(lab: &Lab, registry: &Registry, architectures: &[&str]) {
    let network = lab.nodes[0].network();
    let url = format!("http://{}/v2/pc/manifests/1", registry.address);
    let file = lab.path().join("manifest.json");
    network.sh(&format!("curl -sf -H 'Accept: {MANIFEST}' {url} > {}", file.display())).ok();
    let digest =
        network.sh(&format!("sha256sum < {}", file.display())).ok().split_whitespace().next().unwrap().to_owned();
    let size = fs::metadata(&file).unwrap().len();
    let entry = |architecture: &&str| {
        json!({
            "mediaType": MANIFEST, "digest": format!("sha256:{digest}"), "size": size,
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": architectures.iter().map(entry).collect::<Vec<_>>(),
    });
    fs::write(&file, index.to_string()).unwrap();
    let url = format!("http://{}/v2/pc/manifests/both", registry.address);
    network.sh(&format!("curl -sf -X PUT -H 'Content-Type: {INDEX}' --data-binary @{} {url}", file.display())).ok();
}

#[test]
fn an_image_goes_only_to_nodes_of_its_platforms_and_the_pods_events_say_why() {
    let lab = Lab::start(1);
    let registry = Registry::start(lab.nodes[0].network());
    let pc = registry.push(lab.nodes[0].network(), &demo_archive(lab.path(), "pc:1"), "pc:1");
    push_index(&lab, &registry, &["amd64", "arm64"]);
    let _board = Board::join(&lab, "pi");
    lab.wait_ready(2);

    lab.k(&format!("create deployment pc --image={pc} --replicas=6")).ok();
    lab.k("rollout status deployment/pc --timeout=60s").ok();
    let nodes = lab.field("pods -l app=pc", "{.items[*].spec.nodeName}");
    assert_eq!(nodes, ["n1"; 6].join(" "));

    // An empty node that could take it gets its share.
    let both = format!("{}/pc:both", registry.address);
    lab.k(&format!("create deployment both --image={both} --replicas=6")).ok();
    eventually("some are bound to the board", 30, || {
        lab.field("pods -l app=both", "{.items[*].spec.nodeName}").contains("pi")
    });

    lab.apply(&DAEMON.replace("IMAGE", &pc)).ok();
    let told = format!("1 node(s) do not run a platform of image \"{pc}\" (linux/amd64).");
    let pending = || lab.field("pods -l app=all --field-selector status.phase=Pending", "{.items[*].metadata.name}");
    eventually("the board's daemon pod is told why it has no node", 60, || {
        lab.k(&format!("describe pod {}", pending())).out.contains(&told)
    });
    eventually("the other one runs", 60, || {
        lab.field("pods -l app=all --field-selector status.phase=Running", "{.items[*].spec.nodeName}") == "n1"
    });

    // Any node may say that there is no such image.
    lab.k(&format!("run lost --image={}/none:1", registry.address)).ok();
    eventually("it has a node", 30, || !lab.field("pod lost", "{.spec.nodeName}").is_empty());
    let address = registry.address.clone();
    drop(registry);
    lab.k(&format!("run unknown --image={address}/other:1")).ok();
    eventually("it waits, and says what for", 60, || {
        let said = lab.k("describe pod unknown").out;
        said.contains(&format!("2 node(s) may not run image \"{address}/other:1\", whose platforms are not known: "))
    });
}
