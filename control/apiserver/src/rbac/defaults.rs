//! The roles and bindings that Kubernetes has in every cluster, as far as they mean something here.

use control_api::resource::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES};
use serde_json::{Map, Value, json};

use super::rule::Rule;

const GROUP: &str = "rbac.authorization.k8s.io";
/// Kubernetes' mark of an object that a start may mend; `false` leaves it alone.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const READ_WRITE: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];

const CORE: &[&str] = &[""];
const APPS: &[&str] = &["apps"];
const BATCH: &[&str] = &["batch"];
const DISCOVERY: &[&str] = &["discovery.k8s.io"];
const NETWORKING: &[&str] = &["networking.k8s.io"];
const POLICY: &[&str] = &["policy"];
const STORAGE: &[&str] = &["storage.k8s.io"];
const AUTHENTICATION: &[&str] = &["authentication.k8s.io"];
const AUTHORIZATION: &[&str] = &["authorization.k8s.io"];
const COORDINATION: &[&str] = &["coordination.k8s.io"];
const EVENTS: &[&str] = &["", "events.k8s.io"];

/// One rule: on resources of groups, or, without a group, on paths.
struct Grant {
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    on: &'static [&'static str],
    /// Of these names only; of all where empty.
    names: &'static [&'static str],
}

const fn may(verbs: &'static [&'static str], groups: &'static [&'static str], on: &'static [&'static str]) -> Grant {
    Grant { verbs, groups, on, names: &[] }
}

/// One ClusterRole and whom it is bound to.
struct Role {
    name: &'static str,
    grants: &'static [Grant],
    /// The role whose aggregation takes this one in: `view`, `edit`, `admin`.
    part_of: &'static str,
    /// The rules are those of all roles that are part of this one.
    aggregates: bool,
    groups: &'static [&'static str],
    users: &'static [&'static str],
    /// Bound even though to nobody, so that the binding is there to be filled.
    unbound: bool,
}

const PLAIN: Role =
    Role { name: "", grants: &[], part_of: "", aggregates: false, groups: &[], users: &[], unbound: false };

const WRITE_EVENTS: Grant = may(&["create", "patch", "update"], EVENTS, &["events"]);

const VIEW: &[Grant] = &[
    may(
        READ,
        CORE,
        &[
            "configmaps",
            "endpoints",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "serviceaccounts",
            "services",
            "services/status",
        ],
    ),
    may(
        READ,
        CORE,
        &[
            "bindings",
            "events",
            "limitranges",
            "namespaces/status",
            "pods/log",
            "pods/status",
            "replicationcontrollers/status",
            "resourcequotas",
            "resourcequotas/status",
        ],
    ),
    may(READ, CORE, &["namespaces"]),
    may(READ, DISCOVERY, &["endpointslices"]),
    may(
        READ,
        APPS,
        &[
            "controllerrevisions",
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "replicasets",
            "replicasets/scale",
            "replicasets/status",
            "statefulsets",
            "statefulsets/scale",
            "statefulsets/status",
        ],
    ),
    may(READ, &["autoscaling"], &["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
    may(READ, BATCH, &["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
    may(READ, POLICY, &["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    may(READ, NETWORKING, &["ingresses", "ingresses/status", "networkpolicies"]),
];

const EDIT: &[Grant] = &[
    may(READ, CORE, &["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"]),
    may(&["impersonate"], CORE, &["serviceaccounts"]),
    may(WRITE, CORE, &["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"]),
    may(CREATE, CORE, &["pods/eviction"]),
    may(
        WRITE,
        CORE,
        &[
            "configmaps",
            "events",
            "persistentvolumeclaims",
            "replicationcontrollers",
            "replicationcontrollers/scale",
            "secrets",
            "serviceaccounts",
            "services",
            "services/proxy",
        ],
    ),
    may(CREATE, CORE, &["serviceaccounts/token"]),
    may(
        WRITE,
        APPS,
        &[
            "daemonsets",
            "deployments",
            "deployments/rollback",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
        ],
    ),
    may(WRITE, &["autoscaling"], &["horizontalpodautoscalers"]),
    may(WRITE, BATCH, &["cronjobs", "jobs"]),
    may(WRITE, POLICY, &["poddisruptionbudgets"]),
    may(WRITE, NETWORKING, &["ingresses", "networkpolicies"]),
    may(READ_WRITE, COORDINATION, &["leases"]),
];

const ADMIN: &[Grant] = &[
    may(CREATE, AUTHORIZATION, &["localsubjectaccessreviews"]),
    may(READ_WRITE, &[GROUP], &["rolebindings", "roles"]),
];

/// What the node rule allows beyond what it checks by name; as a role it is bound to nobody.
const NODE: &[Grant] = &[
    may(CREATE, AUTHENTICATION, &["tokenreviews"]),
    may(CREATE, AUTHORIZATION, &["localsubjectaccessreviews", "subjectaccessreviews"]),
    may(READ, CORE, &["services"]),
    may(&["create", "get", "list", "patch", "update", "watch"], CORE, &["nodes"]),
    may(&["patch", "update"], CORE, &["nodes/status"]),
    may(&["create", "patch", "update"], CORE, &["events"]),
    may(&["create", "delete", "get", "list", "watch"], CORE, &["pods"]),
    may(&["patch", "update"], CORE, &["pods/status"]),
    may(CREATE, CORE, &["pods/eviction"]),
    may(READ, CORE, &["configmaps", "secrets"]),
    may(&["get"], CORE, &["persistentvolumeclaims", "persistentvolumes"]),
    may(&["get"], CORE, &["endpoints"]),
    may(CREATE, CORE, &["serviceaccounts/token"]),
    may(&["create", "delete", "get", "patch", "update"], COORDINATION, &["leases"]),
];

const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];
const EVERYONE: &[&str] = &["system:authenticated"];

const ROLES: &[Role] = &[
    Role {
        name: "cluster-admin",
        grants: &[may(&["*"], &["*"], &["*"]), may(&["*"], &[], &["*"])],
        groups: &["system:masters"],
        ..PLAIN
    },
    Role {
        name: "system:discovery",
        grants: &[may(
            &["get"],
            &[],
            &[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ],
        )],
        groups: EVERYONE,
        ..PLAIN
    },
    Role {
        name: "system:public-info-viewer",
        grants: &[may(&["get"], &[], HEALTH)],
        groups: &["system:authenticated", "system:unauthenticated"],
        ..PLAIN
    },
    Role {
        name: "system:basic-user",
        grants: &[
            may(CREATE, AUTHORIZATION, &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
            may(CREATE, AUTHENTICATION, &["selfsubjectreviews"]),
        ],
        groups: EVERYONE,
        ..PLAIN
    },
    Role {
        name: "system:monitoring",
        grants: &[may(
            &["get"],
            &[],
            &["/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*"],
        )],
        groups: &["system:monitoring"],
        ..PLAIN
    },
    Role {
        name: "system:service-account-issuer-discovery",
        grants: &[may(
            &["get"],
            &[],
            &[
                "/.well-known/openid-configuration",
                "/.well-known/openid-configuration/",
                "/openid/v1/jwks",
                "/openid/v1/jwks/",
            ],
        )],
        groups: &["system:serviceaccounts"],
        ..PLAIN
    },
    Role { name: "admin", aggregates: true, ..PLAIN },
    Role { name: "edit", aggregates: true, part_of: "admin", ..PLAIN },
    Role { name: "view", aggregates: true, part_of: "edit", ..PLAIN },
    Role { name: "system:aggregate-to-admin", grants: ADMIN, part_of: "admin", ..PLAIN },
    Role { name: "system:aggregate-to-edit", grants: EDIT, part_of: "edit", ..PLAIN },
    Role { name: "system:aggregate-to-view", grants: VIEW, part_of: "view", ..PLAIN },
    Role { name: "system:node", grants: NODE, unbound: true, ..PLAIN },
    Role {
        name: "system:node-problem-detector",
        grants: &[may(&["get"], CORE, &["nodes"]), may(&["patch"], CORE, &["nodes/status"]), WRITE_EVENTS],
        ..PLAIN
    },
    Role {
        name: "system:node-proxier",
        grants: &[
            may(&["list", "watch"], CORE, &["endpoints", "services"]),
            may(READ, CORE, &["nodes"]),
            may(&["list", "watch"], DISCOVERY, &["endpointslices"]),
            WRITE_EVENTS,
        ],
        users: &["system:kube-proxy"],
        ..PLAIN
    },
    Role {
        name: "system:auth-delegator",
        grants: &[
            may(CREATE, AUTHENTICATION, &["tokenreviews"]),
            may(CREATE, AUTHORIZATION, &["subjectaccessreviews"]),
        ],
        ..PLAIN
    },
    Role {
        name: "system:certificates.k8s.io:kube-apiserver-client-approver",
        grants: &[Grant {
            names: &["kubernetes.io/kube-apiserver-client"],
            ..may(&["approve"], &["certificates.k8s.io"], &["signers"])
        }],
        ..PLAIN
    },
    Role {
        name: "system:aggregated-metrics-reader",
        grants: &[may(READ, &["metrics.k8s.io"], &["nodes", "pods"])],
        part_of: "view",
        ..PLAIN
    },
    Role { name: "system:kube-dns", grants: &[may(&["list", "watch"], CORE, &["endpoints", "services"])], ..PLAIN },
    Role {
        name: "system:persistent-volume-provisioner",
        grants: &[
            may(&["create", "delete", "get", "list", "watch"], CORE, &["persistentvolumes"]),
            may(&["get", "list", "update", "watch"], CORE, &["persistentvolumeclaims"]),
            may(READ, STORAGE, &["storageclasses"]),
            may(&["watch"], CORE, &["events"]),
            WRITE_EVENTS,
        ],
        ..PLAIN
    },
    Role {
        name: "system:kube-scheduler",
        grants: &[
            WRITE_EVENTS,
            may(&["create"], COORDINATION, &["leases"]),
            may(READ, CORE, &["nodes"]),
            may(&["delete", "get", "list", "watch"], CORE, &["pods"]),
            may(CREATE, CORE, &["bindings", "pods/binding"]),
            may(&["patch", "update"], CORE, &["pods/status"]),
            may(READ, CORE, &["replicationcontrollers", "services"]),
            may(READ, APPS, &["replicasets", "statefulsets"]),
            may(READ, POLICY, &["poddisruptionbudgets"]),
            may(READ, CORE, &["persistentvolumeclaims", "persistentvolumes"]),
            may(READ, STORAGE, &["storageclasses"]),
        ],
        users: &["system:kube-scheduler"],
        ..PLAIN
    },
];

fn rules(grants: &[Grant]) -> Vec<Rule> {
    let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
    let rule = |grant: &Grant| {
        let (verbs, on) = (owned(grant.verbs), owned(grant.on));
        match grant.groups {
            [] => Rule { verbs, non_resource_urls: on, ..Rule::default() },
            groups => {
                let (api_groups, resource_names) = (owned(groups), owned(grant.names));
                Rule { verbs, api_groups, resources: on, resource_names, ..Rule::default() }
            }
        }
    };
    grants.iter().map(rule).collect()
}

/// The rules of the node role; the node rule falls back on them.
pub fn node_rules() -> Vec<Rule> {
    rules(NODE)
}

/// What an aggregating role holds: in the order of names, as the aggregation leaves it.
fn aggregated(name: &str) -> Vec<Rule> {
    let mut parts: Vec<&Role> = ROLES.iter().filter(|role| role.part_of == name).collect();
    parts.sort_by_key(|role| role.name);
    let mut all: Vec<Rule> = Vec::new();
    for rule in parts.iter().flat_map(|part| if part.aggregates { aggregated(part.name) } else { rules(part.grants) }) {
        if !all.contains(&rule) {
            all.push(rule);
        }
    }
    all
}

fn aggregation_label(name: &str) -> String {
    format!("{GROUP}/aggregate-to-{name}")
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "annotations": {AUTOUPDATE: "true"}, "labels": {BOOTSTRAPPING: "rbac-defaults"}})
}

/// Every ClusterRole.
pub fn cluster_roles() -> Vec<Value> {
    ROLES.iter().map(cluster_role).collect()
}

fn cluster_role(role: &Role) -> Value {
    let mut metadata = metadata(role.name);
    if !role.part_of.is_empty() {
        metadata["labels"][aggregation_label(role.part_of)] = json!("true");
    }
    let rules = if role.aggregates { aggregated(role.name) } else { rules(role.grants) };
    let mut value = json!({
        "apiVersion": CLUSTER_ROLES.api_version(), "kind": CLUSTER_ROLES.kind, "metadata": metadata, "rules": rules,
    });
    if role.aggregates {
        let labels = json!({aggregation_label(role.name): "true"});
        value["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
    }
    value
}

/// Every ClusterRoleBinding.
pub fn cluster_role_bindings() -> Vec<Value> {
    let bound = |role: &&Role| role.unbound || !role.groups.is_empty() || !role.users.is_empty();
    ROLES.iter().filter(bound).map(cluster_role_binding).collect()
}

fn cluster_role_binding(role: &Role) -> Value {
    let subject = |kind: &str, name: &&str| json!({"apiGroup": GROUP, "kind": kind, "name": name});
    let groups = role.groups.iter().map(|name| subject("Group", name));
    let subjects: Vec<Value> = groups.chain(role.users.iter().map(|name| subject("User", name))).collect();
    let mut binding = Map::new();
    binding.insert("apiVersion".to_owned(), json!(CLUSTER_ROLE_BINDINGS.api_version()));
    binding.insert("kind".to_owned(), json!(CLUSTER_ROLE_BINDINGS.kind));
    binding.insert("metadata".to_owned(), metadata(role.name));
    binding.insert("roleRef".to_owned(), json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role.name}));
    if !subjects.is_empty() {
        binding.insert("subjects".to_owned(), subjects.into());
    }
    Value::Object(binding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_holds_what_edit_and_view_hold() {
        let (admin, edit, view) = (aggregated("admin"), aggregated("edit"), aggregated("view"));
        assert!(super::super::cover::missing(&admin, &edit).is_empty());
        assert!(super::super::cover::missing(&edit, &view).is_empty());
        assert!(!super::super::cover::missing(&view, &edit).is_empty());
    }

    #[test]
    fn nobody_who_may_only_view_sees_secrets() {
        let secrets = |rules: &[Rule]| rules.iter().any(|rule| rule.resources.iter().any(|name| name == "secrets"));
        assert!(!secrets(&aggregated("view")));
        assert!(secrets(&aggregated("edit")));
    }

    #[test]
    fn the_node_role_is_bound_to_nobody() {
        let bindings = cluster_role_bindings();
        let node = bindings.iter().find(|binding| binding["metadata"]["name"] == "system:node").expect("is there");
        assert!(node["subjects"].is_null());
    }
}
