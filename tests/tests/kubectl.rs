//! What a kubectl user does in a day, with old clients and new ones.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use tests::cluster::{Cluster, DEMO};
use tests::program::{Said, each_kubectl, eventually, kubectl_of};

fn deployment(name: &str, replicas: u32, extra: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {DEMO}
        {extra}
"
    )
}

#[test]
fn each_kubectl_drives_a_deployment_from_apply_to_delete() {
    let cluster = Cluster::start();
    for kubectl in each_kubectl() {
        let run = |line: &str| Said::by(&mut cluster.kubectl_command(&kubectl, &line.split(' ').collect::<Vec<_>>()));
        let file = cluster.path().join("web.yaml");
        std::fs::write(&file, deployment("web", 2, "")).unwrap();
        let file = file.display();
        let diff = run(&format!("diff -f {file}"));
        assert_eq!(diff.code, 1, "{}", diff.err);
        assert!(diff.out.contains("+kind: Deployment"), "{}", diff.out);
        run(&format!("apply -f {file}")).shows("deployment.apps/web created");
        run(&format!("apply -f {file}")).shows("deployment.apps/web unchanged");
        run("rollout status deployment/web --timeout=60s").shows("successfully rolled out");
        run("get deployment web").shows("2/2");
        run("get pods -l app=web -o wide").shows("Running");
        run("get pods -o name").shows("pod/web-");
        run("get deployment web -o yaml").shows("kind: Deployment");
        run("get deployment web -o json").shows("\"kind\": \"Deployment\"");
        assert_eq!(run("get deployment web -o jsonpath={.spec.replicas}").ok(), "2");
        run("describe deployment web").shows("NewReplicaSetAvailable");
        run("describe pods -l app=web").shows("Started");
        run("scale deployment web --replicas=3").shows("scaled");
        run("rollout status deployment/web --timeout=60s").ok();
        run("set image deployment/web web=127.0.0.1:1/none:1").shows("image updated");
        eventually("the new pods wait for their image", 60, || run("get pods").out.contains("ImagePull"));
        run("rollout undo deployment/web").shows("rolled back");
        run("rollout status deployment/web --timeout=60s").ok();
        run("set env deployment/web A=1").shows("env updated");
        run("rollout status deployment/web --timeout=60s").ok();
        run("rollout history deployment/web").shows("4");
        run("rollout undo deployment/web").shows("rolled back");
        run("rollout status deployment/web --timeout=60s").ok();
        assert_eq!(run("get deployment web -o jsonpath={.spec.template.spec.containers[0].env}").ok(), "");
        run("label deployment web tier=front").shows("labeled");
        run("annotate deployment web note=hello").shows("deployment.apps/web annotate");
        run("get deployment -l tier=front -o name").shows("deployment.apps/web");
        run(r#"patch deployment web -p {"spec":{"minReadySeconds":0}}"#).shows("patched");
        run(r#"patch deployment web --type=merge -p {"metadata":{"labels":{"tier":null}}}"#).shows("patched");
        run(r#"patch deployment web --type=json -p [{"op":"replace","path":"/spec/replicas","value":1}]"#)
            .shows("patched");
        run("wait deployment web --for=jsonpath={.status.replicas}=1 --timeout=60s").shows("condition met");
        run("delete deployment web --timeout=60s").shows("deleted");
        eventually("the pods are gone", 60, || run("get pods -o name").out.is_empty());
        run("get deployment web").fails("deployments.apps \"web\" not found");
        run("api-resources").shows("deployments");
        run("api-versions").shows("apps/v1");
        run("explain pod.spec.containers.image").shows("image");
        run("version").shows("v1.35.0+bramble");
    }
}

#[test]
fn kubectl_creates_by_protobuf() {
    let cluster = Cluster::start();
    for (index, kubectl) in each_kubectl().iter().enumerate() {
        let run = |line: &str| Said::by(&mut cluster.kubectl_command(kubectl, &line.split(' ').collect::<Vec<_>>()));
        run(&format!("create namespace team{index}")).shows("created");
        run(&format!("create configmap settings --from-literal=a=1 -n team{index}")).shows("created");
        run(&format!("create secret generic keys --from-literal=p=s3cret -n team{index}")).shows("created");
        run(&format!("create deployment web --image={DEMO} --replicas=1 -n team{index}")).shows("created");
        run(&format!("create serviceaccount robot -n team{index}")).shows("created");
        assert_eq!(run(&format!("get cm settings -n team{index} -o jsonpath={{.data.a}}")).ok(), "1");
        assert_eq!(run(&format!("get secret keys -n team{index} -o jsonpath={{.data.p}}")).ok(), "czNjcmV0");
        run(&format!("rollout status deployment/web -n team{index} --timeout=60s")).ok();
        run(&format!("delete namespace team{index} --timeout=60s")).shows("deleted");
        run(&format!("get namespace team{index}")).fails("not found");
    }
}

#[test]
fn logs_follow_and_exec_talks_to_the_process() {
    let cluster = Cluster::start();
    let command = r#"command: ["sh","-c","echo one; echo two >&2; sleep 2; echo three; sleep 3600"]"#;
    cluster.apply(&deployment("talk", 1, command)).ok();
    cluster.k("rollout status deployment/talk --timeout=60s").ok();
    for kubectl in each_kubectl() {
        let run = |words: &[&str]| Said::by(&mut cluster.kubectl_command(&kubectl, words));
        let mut follow = cluster
            .kubectl_command(&kubectl, &["logs", "-f", "deployment/talk"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: Vec<String> =
            BufReader::new(follow.stdout.take().unwrap()).lines().take(3).map(Result::unwrap).collect();
        follow.kill().unwrap();
        follow.wait().unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(run(&["logs", "deployment/talk", "--tail=1"]).ok(), "three\n");
        run(&["logs", "deployment/talk", "--timestamps", "--tail=1"]).shows("Z three");
    }
    let links: Vec<_> = std::fs::read_dir(cluster.data().join("log-links")).unwrap().flatten().collect();
    assert_eq!(links.len(), 1, "a running container's log is linked");
    assert!(std::fs::read_to_string(links[0].path()).unwrap().contains("stdout F three"));
    // A log that is followed ends by itself when its container does.
    let line = "echo first; until test -e /tmp/end; do sleep 0.1; done; echo last";
    let image = format!("--image={DEMO}");
    cluster.kubectl(&["run", "brief", &image, "--restart=Never", "--command", "--", "sh", "-c", line]).ok();
    cluster.k("wait pod brief --for=condition=Ready --timeout=60s").ok();
    let kubectl = tests::program::kubectl();
    let words = ["60", kubectl.to_str().unwrap(), "logs", "-f", "brief"];
    let mut follow = cluster.kubectl_command(Path::new("timeout"), &words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("first"));
    cluster.k("exec brief -- touch /tmp/end").ok();
    assert_eq!(lines.collect::<Vec<_>>(), ["last"]);
    assert!(follow.wait().unwrap().success());
    for kubectl in &each_kubectl() {
        let run = |words: &[&str]| {
            Said::by(cluster.kubectl_command(kubectl, words).env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true"))
        };
        assert_eq!(run(&["exec", "deployment/talk", "--", "echo", "hello"]).ok(), "hello\n");
        run(&["exec", "deployment/talk", "--", "sh", "-c", "exit 7"]).fails("exit code 7");
        assert_eq!(run(&["exec", "deployment/talk", "--", "sh", "-c", "exit 7"]).code, 7);
        run(&["exec", "deployment/talk", "--", "nothing-here"]).fails("nothing-here");
        let mut cat = cluster
            .kubectl_command(kubectl, &["exec", "-i", "deployment/talk", "--", "cat"])
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut cat.stdin.take().unwrap(), b"through and back").unwrap();
        let output = cat.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"through and back");
        // `script` lends kubectl a terminal.
        let line = format!("{} exec -it deployment/talk -- sh -c 'test -t 0 && echo terminal'", kubectl.display());
        let mut script = cluster.kubectl_command(Path::new("script"), &["-qec", &line, "/dev/null"]);
        Said::by(script.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")).shows("terminal");
    }
}

#[test]
fn a_watch_shows_each_change() {
    let cluster = Cluster::start();
    for version in ["1.30", "newest"] {
        watch_with(&cluster, &kubectl_of(version));
    }
}

fn watch_with(cluster: &Cluster, kubectl: &Path) {
    cluster.k("create configmap seen --from-literal=a=1").ok();
    let mut watch = cluster
        .kubectl_command(kubectl, &["get", "configmap", "seen", "-w", "-o", "jsonpath={.data.a} "])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = watch.stdout.take().unwrap();
    let mut text = String::new();
    let mut read = |text: &mut String, until: &str| {
        let mut buffer = [0; 64];
        while !text.contains(until) {
            let count = std::io::Read::read(&mut out, &mut buffer).unwrap();
            assert!(count > 0, "the watch ended early: {text}");
            text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    };
    read(&mut text, "1 ");
    for value in 2..6 {
        let patch = format!(r#"{{"data":{{"a":"{value}"}}}}"#);
        cluster.kubectl(&["patch", "configmap", "seen", "--type=merge", "-p", &patch]).ok();
        read(&mut text, &format!("{value} "));
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert_eq!(text, "1 2 3 4 5 ");
    cluster.k("delete configmap seen").ok();
}

#[test]
fn a_node_is_cordoned_tainted_and_drained() {
    let cluster = Cluster::start();
    let node = cluster.k("get nodes -o jsonpath={.items[0].metadata.name}").ok().to_owned();
    cluster.apply(&deployment("web", 1, "")).ok();
    cluster.k("rollout status deployment/web --timeout=60s").ok();
    cluster.k(&format!("cordon {node}")).shows("cordoned");
    cluster.k("get nodes").shows("SchedulingDisabled");
    cluster.k("scale deployment web --replicas=2").ok();
    eventually("the scheduler says why", 60, || cluster.k("get events").out.contains("were unschedulable"));
    cluster.k(&format!("uncordon {node}")).shows("uncordoned");
    cluster.k("rollout status deployment/web --timeout=60s").ok();
    cluster.k(&format!("drain {node} --ignore-daemonsets --timeout=60s")).shows("drained");
    eventually("drained pods wait", 60, || {
        let out = cluster.k("get pods").out;
        out.matches("Pending").count() == 2 && !out.contains("Running")
    });
    cluster.k(&format!("uncordon {node}")).ok();
    cluster.k("rollout status deployment/web --timeout=60s").ok();
    cluster.k(&format!("taint nodes {node} dedicated=db:NoSchedule")).shows("tainted");
    cluster.k("rollout restart deployment/web").ok();
    eventually("the taint is named", 60, || {
        cluster.k("get events").out.contains("untolerated taint {dedicated: db}")
            || cluster.k("get events").out.contains("untolerated taint(s)")
    });
    cluster.k(&format!("taint nodes {node} dedicated-")).shows("untainted");
    cluster.k("rollout status deployment/web --timeout=60s").ok();
    cluster.k(&format!("describe node {node}")).shows("web-");
}
