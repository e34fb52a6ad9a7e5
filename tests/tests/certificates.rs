//! Certificates by request: made with openssl, sent, approved and denied with kubectl, and used.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tests::cluster::Cluster;
use tests::program::{Said, each_kubectl, eventually, kubectl};

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Makes a key and a request for a subject, and sends it under a name.
fn ask(cluster: &Cluster, name: &str, subject: &str, signer: &str) -> Said {
    let file = |ending: &str| cluster.path().join(format!("{name}.{ending}")).display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject]);
    Said::by(openssl.args(["-keyout", &file("key"), "-out", &file("csr")])).ok();
    let request = STANDARD.encode(std::fs::read(file("csr")).unwrap());
    cluster.apply(&format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\nspec:\n  \
         request: {request}\n  signerName: {signer}\n  expirationSeconds: 3600\n  usages: [digital signature, client auth]\n  \
         username: somebody-else\n"
    ))
}

fn certificate(cluster: &Cluster, name: &str) -> String {
    cluster.k(&format!("get csr {name} -o jsonpath={{.status.certificate}}")).ok().to_owned()
}

/// The administrator's kubeconfig with the certificate that was given in place of theirs.
fn as_user(cluster: &Cluster, program: &Path, name: &str, line: &str) -> Said {
    let key = STANDARD.encode(std::fs::read(cluster.path().join(format!("{name}.key"))).unwrap());
    let given = certificate(cluster, name);
    let admin = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let lines = admin.lines().map(|line| match line.trim_start().split_once(": ") {
        Some(("client-certificate-data", _)) => format!("    client-certificate-data: {given}\n"),
        Some(("client-key-data", _)) => format!("    client-key-data: {key}\n"),
        _ => format!("{line}\n"),
    });
    let path = cluster.path().join(format!("{name}.kubeconfig"));
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let path = path.display().to_string();
    let mut words = vec!["--kubeconfig", &path];
    words.extend(line.split_whitespace());
    Said::by(&mut cluster.kubectl_command(program, &words))
}

#[test]
fn a_certificate_that_was_asked_for_and_approved_is_its_users() {
    let cluster = Cluster::start();
    cluster.k("create rolebinding ops --clusterrole=view --group=ops").ok();
    for (number, program) in each_kubectl().iter().enumerate() {
        let name = format!("ann{number}");
        let run = |line: &str| Said::by(&mut cluster.kubectl_command(program, &line.split(' ').collect::<Vec<_>>()));
        ask(&cluster, &name, &format!("/O=team/O=ops/CN={name}"), SIGNER).ok();
        run(&format!("get csr {name} --no-headers")).shows("kubernetes-admin");
        run(&format!("get csr {name} --no-headers")).shows("60m");
        run(&format!("get csr {name} --no-headers")).shows("Pending");
        run(&format!("certificate approve {name}")).shows("approved");
        eventually("it is signed", 30, || !certificate(&cluster, &name).is_empty());
        run(&format!("get csr {name} --no-headers")).shows("Approved,Issued");
        run(&format!("describe csr {name}")).shows("Subject");
        // The user's name and every group of theirs count.
        as_user(&cluster, program, &name, "get pods").ok();
        as_user(&cluster, program, &name, "get secrets").fails(&format!("User \"{name}\" cannot list resource"));
        as_user(&cluster, program, &name, "get pods -n kube-system").fails("forbidden");
    }
    as_user(&cluster, &kubectl(), "ann0", "auth can-i list pods").shows("yes");
    assert_eq!(cluster.k("get csr --field-selector=spec.signerName=example.com/x").ok(), "");
}

#[test]
fn who_may_not_approve_is_told_so_and_a_denied_request_is_never_signed() {
    let cluster = Cluster::start();
    ask(&cluster, "eve", "/O=team/CN=eve", SIGNER).ok();
    // Nobody becomes an administrator by a request, nor a node.
    ask(&cluster, "root", "/O=system:masters/CN=root", SIGNER)
        .fails("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
    ask(&cluster, "node", "/O=system:nodes/CN=system:node:a", "kubernetes.io/kube-apiserver-client-kubelet")
        .fails("spec.signerName: Forbidden: nodes of this cluster get their certificates by joining");
    cluster.k("certificate approve eve --as=bob").fails("User \"bob\" cannot get resource");
    cluster
        .k("create clusterrole decider --verb=get,list,update --resource=csr,certificatesigningrequests/approval")
        .ok();
    cluster.k("create clusterrolebinding decider --clusterrole=decider --user=bob").ok();
    cluster
        .k("certificate approve eve --as=bob")
        .fails("user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"");
    let approver = "system:certificates.k8s.io:kube-apiserver-client-approver";
    cluster.k(&format!("create clusterrolebinding approver --clusterrole={approver} --user=bob")).ok();
    cluster.k("certificate deny eve --as=bob").shows("denied");
    cluster.k("get csr eve --no-headers").shows("Denied");
    cluster.k("certificate approve eve --as=bob").fails("already Denied");
    ask(&cluster, "joe", "/CN=joe", SIGNER).ok();
    cluster.k("certificate approve joe --as=bob").shows("approved");
    eventually("the other one is signed", 30, || !certificate(&cluster, "joe").is_empty());
    assert_eq!(certificate(&cluster, "eve"), "");
    // What was asked for does not change, and nobody signs without the right to.
    cluster.k(r#"patch csr eve -p {"spec":{"expirationSeconds":7200}}"#).shows("no change");
    let set = r#"patch csr eve --subresource=status --type=merge -p {"status":{"certificate":"eA=="}}"#;
    cluster.k(set).fails("status.certificate: Invalid value: \"<certificate data>\"");
    cluster.k("create clusterrole signer --verb=get,patch --resource=csr,csr/status").ok();
    cluster.k("create clusterrolebinding signer --clusterrole=signer --user=bob").ok();
    let chain = certificate(&cluster, "joe");
    let set = format!(r#"patch csr eve --subresource=status --type=merge -p {{"status":{{"certificate":"{chain}"}}}}"#);
    cluster.k(&format!("{set} --as=bob")).fails("user not permitted to sign requests with signerName");
}
