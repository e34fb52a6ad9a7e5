//! The API as programs in pods find it: by its Service, with the pod's own token, and with no more rights than given.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::lab::Lab;
use tests::program::eventually;

/// The host's curl and its libraries, since the demo's image speaks no TLS.
const CLIENT: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: n2
  serviceAccountName: reader
  terminationGracePeriodSeconds: 0
  containers:
    - name: client
      image: bramble.local/demo:1
      volumeMounts:
        - {name: usr, mountPath: /usr, readOnly: true}
        - {name: usr-lib, mountPath: /lib, readOnly: true}
        - {name: usr-lib64, mountPath: /lib64, readOnly: true}
  volumes:
    - {name: usr, hostPath: {path: /usr}}
    - {name: usr-lib, hostPath: {path: /usr/lib}}
    - {name: usr-lib64, hostPath: {path: /usr/lib64}}
"#;

const ASK: &str = "d=/var/run/secrets/kubernetes.io/serviceaccount; \
                   /usr/bin/curl -sS -m 5 --cacert $d/ca.crt -H \"Authorization: Bearer $(cat $d/token)\" ";

#[test]
fn a_pod_uses_the_api_with_its_own_token_and_no_more_rights_than_it_was_given() {
    let lab = Lab::start(2);
    lab.apply(CLIENT).ok();
    lab.k("wait pod client --for=condition=Ready --timeout=60s").ok();
    let ask = |path: &str| {
        let said = lab.in_pod("client", &format!("{ASK} https://kubernetes.default{path}"));
        assert_eq!(said.code, 0, "{}", said.err);
        said.out
    };
    assert!(ask("/api/v1/namespaces/default/pods").contains("\"client\""));
    let refused = ask("/api/v1/namespaces/default/secrets");
    assert!(
        refused.contains("User \\\"system:serviceaccount:default:reader\\\" cannot list resource \\\"secrets\\\""),
        "{refused}"
    );
    assert!(ask("/api/v1/namespaces/kube-system/pods").contains("\"code\":403"));
    // By its variables too, and its name is in its own namespace's file.
    let by_variables =
        lab.in_pod("client", &format!("{ASK} https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/version"));
    assert!(by_variables.ok().contains("bramble"));
    let namespace = lab.in_pod("client", "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace");
    assert_eq!(namespace.ok(), "default");
    // The token is bound to the pod: it ends with it.
    let token = lab.in_pod("client", "cat /var/run/secrets/kubernetes.io/serviceaccount/token").ok().to_owned();
    let url = "https://127.0.0.1:6443/api/v1/namespaces/default/pods";
    let line = format!("curl -sk -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {token}' {url}");
    assert_eq!(lab.server_network().sh(&line).ok(), "200");
    lab.k("delete pod client --wait").ok();
    eventually("the token of a pod that is gone is refused", 30, || lab.server_network().sh(&line).out == "401");
}

#[test]
fn a_nodes_identity_sees_and_changes_only_what_is_its_own() {
    let lab = Lab::start(2);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\nstringData: {a: b}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {nodeName: NODE, containers: [{name: c, image: 'bramble.local/demo:1', envFrom: [{secretRef: {name: NAME}}]}]}\n";
    lab.apply(&secret.replace("NAME", "one").replace("NODE", "n1")).ok();
    lab.apply(&secret.replace("NAME", "two").replace("NODE", "n2")).ok();
    let as_n1 = |line: &str| {
        let words = format!("{line} --as=system:node:n1 --as-group=system:nodes --as-group=system:authenticated");
        lab.k(&words)
    };
    as_n1("get secret one").ok();
    as_n1("get secret two").fails("forbidden");
    as_n1("get node n1").ok();
    as_n1("label node n2 a=b").fails("forbidden");
    as_n1("delete pod two").fails("forbidden");
    as_n1("get configmaps").fails("forbidden");
}
