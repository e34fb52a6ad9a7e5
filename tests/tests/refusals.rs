//! Bad input: a clear error that names the field, and nothing changed.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::cluster::{Cluster, DEMO};
use tests::program::eventually;

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let cluster = Cluster::start();
    // What the cluster itself makes in each namespace is there before.
    eventually("every namespace is filled", 30, || {
        let count = |what: &str| cluster.k(what).ok().lines().count();
        count("get configmaps -A -o name --field-selector metadata.name=kube-root-ca.crt")
            == count("get namespaces -o name")
    });
    let before = state(&cluster);
    let pod = |spec: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: bad}}\nspec: {spec}\n");
    let cases = [
        (pod("{containers: []}"), "spec.containers: Required value"),
        (pod("{containers: [{name: A_B, image: x}]}"), "spec.containers[0].name: Invalid value"),
        (pod("{containers: [{name: a}]}"), "spec.containers[0].image: Required value"),
        (pod("{containers: [{name: a, image: x, imagge: y}]}"), "unknown field \"spec.containers[0].imagge\""),
        (pod("{containers: [{name: a, image: x, resources: {limits: {memory: lots}}}]}"), "quantit"),
        (pod("{containers: [{name: a, image: x, resources: {requests: {cpu: 2}, limits: {cpu: 1}}}]}"), "must be less than or equal to cpu limit"),
        (pod("{containers: [{name: a, image: x, volumeMounts: [{name: none, mountPath: /a}]}]}"), "volumeMounts[0].name: Not found"),
        (pod("{containers: [{name: a, image: x}], restartPolicy: Maybe}"), "spec.restartPolicy: Unsupported value: \"Maybe\""),
        (pod("{containers: [{name: a, image: x}], volumes: [{name: v, nfs: {server: a, path: /b}}]}"), "spec.volumes[0]"),
        (pod("{containers: [{name: a, image: x, ports: [{containerPort: 99999}]}]}"), "ports[0].containerPort: Invalid value: 99999"),
        ("apiVersion: v1\nkind: Gadget\nmetadata: {name: a}\n".to_owned(), "no matches for kind \"Gadget\" in version \"v1\""),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n".to_owned(), "metadata.name: Invalid value"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: nowhere}\n".to_owned(), "namespaces \"nowhere\" not found"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: many, selector: {matchLabels: {a: b}}, template: {}}\n".to_owned(), "replicas"),
        (
            format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{selector: {{matchLabels: {{a: b}}}}, template: {{metadata: {{labels: {{a: c}}}}, spec: {{containers: [{{name: a, image: '{DEMO}'}}]}}}}}}\n"),
            "`selector` does not match template `labels`",
        ),
    ];
    for (manifest, words) in &cases {
        let said = cluster.apply(manifest);
        assert_ne!(said.code, 0, "accepted: {manifest}");
        assert!(said.err.contains(words), "wanted: {words}\nsaid: {}\nfor: {manifest}", said.err);
    }
    assert_eq!(state(&cluster), before);
}

#[test]
fn oversized_and_malformed_bodies_are_refused() {
    let cluster = Cluster::start();
    let big = cluster.path().join("big");
    std::fs::write(&big, vec![b'a'; 2 << 20]).unwrap();
    cluster.kubectl(&["create", "configmap", "big", &format!("--from-file={}", big.display())]).fails("");
    std::fs::write(&big, vec![b'a'; 8 << 20]).unwrap();
    cluster.kubectl(&["create", "configmap", "big", &format!("--from-file={}", big.display())]).fails("");
    cluster.k("get configmap big").fails("not found");
    std::fs::write(&big, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",").unwrap();
    let path = big.display().to_string();
    cluster.kubectl(&["create", "--raw", "/api/v1/namespaces/default/configmaps", "-f", &path]).fails("");
    cluster.kubectl(&["get", "--raw", "/api/v1/nothing"]).fails("could not find the requested resource");
    cluster.k("get --raw /readyz").shows("ok");
}

#[test]
fn an_archive_that_climbs_out_is_refused() {
    let cluster = Cluster::start();
    let work = cluster.path().join("evil");
    std::fs::create_dir(&work).unwrap();
    let script = "set -e; cd \"$1\"; echo bad > payload; tar -cf layer.tar --transform='s,payload,../../../../../../tmp/bramble-escaped,' -P payload
digest=$(sha256sum layer.tar | cut -d' ' -f1)
printf '{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}' \"$digest\" > config.json
printf '[{\"Config\":\"config.json\",\"RepoTags\":[\"evil:1\"],\"Layers\":[\"layer.tar\"]}]' > manifest.json
tar -cf evil.tar manifest.json config.json layer.tar";
    tests::program::Said::by(std::process::Command::new("sh").args(["-c", script, "sh"]).arg(&work)).ok();
    let archive = work.join("evil.tar").display().to_string();
    cluster.agent(&["image", "import", &archive]).fails("..");
    assert!(!std::path::Path::new("/tmp/bramble-escaped").exists());
    assert!(!cluster.agent(&["image", "list"]).ok().contains("evil"));
}

#[test]
fn nobody_gets_in_without_a_certificate() {
    let cluster = Cluster::start();
    let curl = |path: &str| {
        let mut command = cluster.namespace.command(std::path::Path::new("curl"));
        tests::program::Said::by(command.args(["-sk", "-m", "5", &format!("https://127.0.0.1:6443{path}")]))
    };
    curl("/readyz").shows("ok");
    curl("/api/v1/namespaces/default/secrets").shows("\"reason\":\"Forbidden\"");
    curl("/api/v1/namespaces/default/secrets")
        .shows("User \\\"system:anonymous\\\" cannot list resource \\\"secrets\\\"");
}

#[test]
fn a_bearer_token_is_its_user() {
    let cluster = Cluster::configured("tokenFile: DIR/tokens\n");
    let with = |token: &str| {
        let kubeconfig = cluster.path().join("none");
        let mut command = cluster.namespace.command(&tests::program::kubectl());
        command.env("KUBECONFIG", kubeconfig).args(["--server=https://127.0.0.1:6443", "--insecure-skip-tls-verify"]);
        tests::program::Said::by(command.arg(format!("--token={token}")).args(["get", "secrets"]))
    };
    with("an-administrators-token").ok();
    with("somebody-elses-token").fails("User \"bob\" cannot list resource \"secrets\"");
    with("nobodys-token").fails("Unauthorized");
}

/// Everything that a refused request could have changed.
fn state(cluster: &Cluster) -> String {
    cluster.k("get pods,deployments,configmaps,secrets -A -o name").ok().to_owned()
}
