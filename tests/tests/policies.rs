//! NetworkPolicies across nodes, by real connections.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use tests::lab::Lab;
use tests::program::eventually;

fn pod(name: &str, node: &str, label: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {label}}}}}\nspec:\n  nodeName: {node}\n  \
         terminationGracePeriodSeconds: 0\n  containers: [{{name: web, image: 'bramble.local/demo:1', ports: [{{name: http, containerPort: 8080}}],\n    \
         readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}}}]\n"
    )
}

const DENY: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}
"#;

const ALLOW: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: friends}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: http}]}]
"#;

const EGRESS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: dns-only}
spec:
  podSelector: {matchLabels: {app: stranger}}
  policyTypes: [Egress]
  egress:
    - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
      ports: [{port: 53, protocol: UDP}]
"#;

#[test]
fn policies_let_through_what_they_name_and_nothing_else_from_the_first_packet_on() {
    let lab = Lab::start(2);
    let pods = [pod("web", "n1", "web"), pod("friend", "n2", "friend"), pod("stranger", "n2", "stranger")].concat();
    lab.apply(&pods).ok();
    lab.k("expose pod web --port=80 --target-port=8080").ok();
    lab.k("wait pod web friend stranger --for=condition=Ready --timeout=60s").ok();
    let reaches =
        |from: &str, url: &str| lab.in_pod(from, &format!("busybox timeout 2 wget -q -O /dev/null {url}")).code == 0;
    // Ready at the API is not yet in force on each node.
    for pod in ["friend", "stranger"] {
        eventually("everybody gets through", 30, || reaches(pod, "http://web/"));
    }

    lab.apply(DENY).ok();
    eventually("nobody gets through", 30, || !reaches("friend", "http://web/") && !reaches("stranger", "http://web/"));
    lab.apply(ALLOW).ok();
    eventually("the friend gets through", 30, || reaches("friend", "http://web/"));
    assert!(!reaches("stranger", "http://web/"));
    // Probes come from the node, and go on.
    lab.k("wait pod web --for=condition=Ready --timeout=30s").ok();
    assert_eq!(lab.field("pod web", "{.status.containerStatuses[0].restartCount}"), "0");

    // A label makes a friend, at once.
    lab.k("label pod stranger app=friend --overwrite").ok();
    eventually("the new friend gets through", 30, || reaches("stranger", "http://web/"));
    lab.k("label pod stranger app=stranger --overwrite").ok();
    eventually("and is none any more", 30, || !reaches("stranger", "http://web/"));

    // A pod that comes later is under the policy with its first packet: a stranger that asks all the time never gets
    // an answer from it.
    lab.k("delete pod web --wait").ok();
    lab.apply(&pod("web", "n1", "web")).ok();
    let mut answered = 0;
    for _ in 0..20 {
        answered += usize::from(lab.in_pod("stranger", "busybox timeout 1 wget -q -O /dev/null http://web/").code == 0);
        if lab.k("wait pod web --for=condition=Ready --timeout=0").code == 0 {
            break;
        }
    }
    assert_eq!(answered, 0);
    eventually("the friend finds the new pod", 30, || reaches("friend", "http://web/"));

    // Egress: names only.
    lab.apply(EGRESS).ok();
    let friend = lab.field("pod friend", "{.status.podIP}");
    eventually("nothing but names", 30, || !reaches("stranger", &format!("http://{friend}:8080/")));
    assert!(lab.in_pod("stranger", "nslookup web.default.svc.cluster.local").out.contains("10.43."));
    eventually("others are not meant", 30, || reaches("friend", &format!("http://{friend}:8080/")));
    lab.k("delete networkpolicy --all").ok();
    eventually("without policies all is open", 30, || reaches("stranger", &format!("http://{friend}:8080/")));
}
