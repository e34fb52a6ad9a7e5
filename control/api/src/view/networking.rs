//! `networking.k8s.io/v1`.

use super::IntOrString;
use super::meta::{LabelSelector, ObjectMeta};

view! {
    IPBlock {
        cidr: String = "cidr",
        except: Option<Vec<String>> = "except",
    }
    NetworkPolicy {
        metadata: ObjectMeta = "metadata",
        spec: Option<NetworkPolicySpec> = "spec",
    }
    NetworkPolicyEgressRule {
        ports: Option<Vec<NetworkPolicyPort>> = "ports",
        to: Option<Vec<NetworkPolicyPeer>> = "to",
    }
    NetworkPolicyIngressRule {
        from: Option<Vec<NetworkPolicyPeer>> = "from",
        ports: Option<Vec<NetworkPolicyPort>> = "ports",
    }
    NetworkPolicyPeer {
        ip_block: Option<IPBlock> = "ipBlock",
        namespace_selector: Option<LabelSelector> = "namespaceSelector",
        pod_selector: Option<LabelSelector> = "podSelector",
    }
    NetworkPolicyPort {
        end_port: Option<i32> = "endPort",
        port: Option<IntOrString> = "port",
        protocol: Option<String> = "protocol",
    }
    NetworkPolicySpec {
        egress: Option<Vec<NetworkPolicyEgressRule>> = "egress",
        ingress: Option<Vec<NetworkPolicyIngressRule>> = "ingress",
        pod_selector: Option<LabelSelector> = "podSelector",
        policy_types: Option<Vec<String>> = "policyTypes",
    }
}
