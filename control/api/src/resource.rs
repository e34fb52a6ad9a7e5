//! The table of kinds served: the one place where a kind's names, scope, verbs and subresources are stated.

/// Whether objects live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// One served resource. Compared and hashed by address where speed matters: rows are `'static`.
#[derive(Debug)]
pub struct Resource {
    /// Empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    /// `all` puts it into `kubectl get all`.
    pub categories: &'static [&'static str],
    pub scope: Scope,
    /// Subresources served, without the resource's own name: `status`, `scale`, `log`.
    pub subresources: &'static [&'static str],
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.group == other.group && self.plural == other.plural && self.version == other.version
    }
}

impl Eq for Resource {}

impl std::hash::Hash for Resource {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.plural.hash(state);
    }
}

impl Ord for Resource {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.group, self.plural, self.version).cmp(&(other.group, other.plural, other.version))
    }
}

impl PartialOrd for Resource {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods` or `deployments.apps`, as in messages; also the resource's name in the store.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

const NONE: &[&str] = &[];
const ALL: &[&str] = &["all"];

macro_rules! resource {
    ($name:ident, $group:expr, $version:expr, $kind:expr, $plural:expr, $singular:expr, $short:expr, $cat:expr, $scope:ident, $sub:expr) => {
        #[doc = concat!("`", $plural, "` of group `", $group, "`.")]
        pub static $name: Resource = Resource {
            group: $group,
            version: $version,
            kind: $kind,
            plural: $plural,
            singular: $singular,
            short_names: $short,
            categories: $cat,
            scope: Scope::$scope,
            subresources: $sub,
        };
    };
}

const POD_SUBRESOURCES: &[&str] =
    &["status", "log", "exec", "attach", "portforward", "proxy", "binding", "eviction", "ephemeralcontainers"];
const STATUS_PROXY: &[&str] = &["status", "proxy"];
const STATUS: &[&str] = &["status"];
const TOKEN: &[&str] = &["token"];
const STATUS_FINALIZE: &[&str] = &["status", "finalize"];
const STATUS_SCALE: &[&str] = &["status", "scale"];
const STATUS_APPROVAL: &[&str] = &["status", "approval"];

resource!(NAMESPACES, "", "v1", "Namespace", "namespaces", "namespace", &["ns"], NONE, Cluster, STATUS_FINALIZE);
resource!(NODES, "", "v1", "Node", "nodes", "node", &["no"], NONE, Cluster, STATUS_PROXY);
resource!(PODS, "", "v1", "Pod", "pods", "pod", &["po"], ALL, Namespaced, POD_SUBRESOURCES);
resource!(CONFIG_MAPS, "", "v1", "ConfigMap", "configmaps", "configmap", &["cm"], NONE, Namespaced, NONE);
resource!(SECRETS, "", "v1", "Secret", "secrets", "secret", NONE, NONE, Namespaced, NONE);
resource!(
    SERVICE_ACCOUNTS,
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    "serviceaccount",
    &["sa"],
    NONE,
    Namespaced,
    TOKEN
);
resource!(EVENTS, "", "v1", "Event", "events", "event", &["ev"], NONE, Namespaced, NONE);
resource!(
    DEPLOYMENTS,
    "apps",
    "v1",
    "Deployment",
    "deployments",
    "deployment",
    &["deploy"],
    ALL,
    Namespaced,
    STATUS_SCALE
);
resource!(
    REPLICA_SETS,
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    "replicaset",
    &["rs"],
    ALL,
    Namespaced,
    STATUS_SCALE
);
resource!(
    REPLICATION_CONTROLLERS,
    "",
    "v1",
    "ReplicationController",
    "replicationcontrollers",
    "replicationcontroller",
    &["rc"],
    ALL,
    Namespaced,
    STATUS_SCALE
);
resource!(SERVICES, "", "v1", "Service", "services", "service", &["svc"], ALL, Namespaced, STATUS_PROXY);
resource!(ENDPOINTS, "", "v1", "Endpoints", "endpoints", "endpoints", &["ep"], NONE, Namespaced, NONE);
resource!(
    PERSISTENT_VOLUMES,
    "",
    "v1",
    "PersistentVolume",
    "persistentvolumes",
    "persistentvolume",
    &["pv"],
    NONE,
    Cluster,
    STATUS
);
resource!(
    PERSISTENT_VOLUME_CLAIMS,
    "",
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    "persistentvolumeclaim",
    &["pvc"],
    NONE,
    Namespaced,
    STATUS
);
resource!(DAEMON_SETS, "apps", "v1", "DaemonSet", "daemonsets", "daemonset", &["ds"], ALL, Namespaced, STATUS);
resource!(
    CONTROLLER_REVISIONS,
    "apps",
    "v1",
    "ControllerRevision",
    "controllerrevisions",
    "controllerrevision",
    NONE,
    NONE,
    Namespaced,
    NONE
);
resource!(JOBS, "batch", "v1", "Job", "jobs", "job", NONE, ALL, Namespaced, STATUS);
resource!(
    ENDPOINT_SLICES,
    "discovery.k8s.io",
    "v1",
    "EndpointSlice",
    "endpointslices",
    "endpointslice",
    NONE,
    NONE,
    Namespaced,
    NONE
);
resource!(
    NETWORK_POLICIES,
    "networking.k8s.io",
    "v1",
    "NetworkPolicy",
    "networkpolicies",
    "networkpolicy",
    &["netpol"],
    NONE,
    Namespaced,
    NONE
);
resource!(ROLES, "rbac.authorization.k8s.io", "v1", "Role", "roles", "role", NONE, NONE, Namespaced, NONE);
resource!(
    ROLE_BINDINGS,
    "rbac.authorization.k8s.io",
    "v1",
    "RoleBinding",
    "rolebindings",
    "rolebinding",
    NONE,
    NONE,
    Namespaced,
    NONE
);
resource!(
    CLUSTER_ROLES,
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRole",
    "clusterroles",
    "clusterrole",
    NONE,
    NONE,
    Cluster,
    NONE
);
resource!(
    CLUSTER_ROLE_BINDINGS,
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    "clusterrolebinding",
    NONE,
    NONE,
    Cluster,
    NONE
);
resource!(
    STORAGE_CLASSES,
    "storage.k8s.io",
    "v1",
    "StorageClass",
    "storageclasses",
    "storageclass",
    &["sc"],
    NONE,
    Cluster,
    NONE
);
resource!(
    CERTIFICATE_SIGNING_REQUESTS,
    "certificates.k8s.io",
    "v1",
    "CertificateSigningRequest",
    "certificatesigningrequests",
    "certificatesigningrequest",
    &["csr"],
    NONE,
    Cluster,
    STATUS_APPROVAL
);
resource!(LEASES, "coordination.k8s.io", "v1", "Lease", "leases", "lease", NONE, NONE, Namespaced, NONE);

static TABLE: [&Resource; 26] = [
    &NAMESPACES,
    &NODES,
    &PODS,
    &CONFIG_MAPS,
    &SECRETS,
    &SERVICE_ACCOUNTS,
    &EVENTS,
    &SERVICES,
    &ENDPOINTS,
    &PERSISTENT_VOLUMES,
    &PERSISTENT_VOLUME_CLAIMS,
    &REPLICATION_CONTROLLERS,
    &DEPLOYMENTS,
    &REPLICA_SETS,
    &DAEMON_SETS,
    &CONTROLLER_REVISIONS,
    &JOBS,
    &CERTIFICATE_SIGNING_REQUESTS,
    &LEASES,
    &ENDPOINT_SLICES,
    &NETWORK_POLICIES,
    &ROLES,
    &ROLE_BINDINGS,
    &CLUSTER_ROLES,
    &CLUSTER_ROLE_BINDINGS,
    &STORAGE_CLASSES,
];

resource!(
    SELF_SUBJECT_REVIEWS,
    "authentication.k8s.io",
    "v1",
    "SelfSubjectReview",
    "selfsubjectreviews",
    "selfsubjectreview",
    NONE,
    NONE,
    Cluster,
    NONE
);
resource!(
    TOKEN_REVIEWS,
    "authentication.k8s.io",
    "v1",
    "TokenReview",
    "tokenreviews",
    "tokenreview",
    NONE,
    NONE,
    Cluster,
    NONE
);
resource!(
    LOCAL_SUBJECT_ACCESS_REVIEWS,
    "authorization.k8s.io",
    "v1",
    "LocalSubjectAccessReview",
    "localsubjectaccessreviews",
    "localsubjectaccessreview",
    NONE,
    NONE,
    Namespaced,
    NONE
);
resource!(
    SELF_SUBJECT_ACCESS_REVIEWS,
    "authorization.k8s.io",
    "v1",
    "SelfSubjectAccessReview",
    "selfsubjectaccessreviews",
    "selfsubjectaccessreview",
    NONE,
    NONE,
    Cluster,
    NONE
);
resource!(
    SELF_SUBJECT_RULES_REVIEWS,
    "authorization.k8s.io",
    "v1",
    "SelfSubjectRulesReview",
    "selfsubjectrulesreviews",
    "selfsubjectrulesreview",
    NONE,
    NONE,
    Cluster,
    NONE
);
resource!(
    SUBJECT_ACCESS_REVIEWS,
    "authorization.k8s.io",
    "v1",
    "SubjectAccessReview",
    "subjectaccessreviews",
    "subjectaccessreview",
    NONE,
    NONE,
    Cluster,
    NONE
);

/// Kinds that are answered and never stored.
static REVIEWS: [&Resource; 6] = [
    &SELF_SUBJECT_REVIEWS,
    &TOKEN_REVIEWS,
    &LOCAL_SUBJECT_ACCESS_REVIEWS,
    &SELF_SUBJECT_ACCESS_REVIEWS,
    &SELF_SUBJECT_RULES_REVIEWS,
    &SUBJECT_ACCESS_REVIEWS,
];

resource!(NODE_METRICS, "metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", "", NONE, NONE, Cluster, NONE);
resource!(POD_METRICS, "metrics.k8s.io", "v1beta1", "PodMetrics", "pods", "", NONE, NONE, Namespaced, NONE);

/// Kinds that are measured when they are read.
static MEASURED: [&Resource; 2] = [&NODE_METRICS, &POD_METRICS];

/// Every resource whose objects are stored.
pub fn all() -> &'static [&'static Resource] {
    &TABLE
}

/// Every resource that is served, reviews and what is measured too.
pub fn served() -> impl Iterator<Item = &'static Resource> {
    TABLE.iter().chain(&REVIEWS).chain(&MEASURED).copied()
}

/// Whether objects of this kind are answered and never stored: only a create is served.
pub fn is_review(resource: &Resource) -> bool {
    REVIEWS.contains(&resource)
}

/// Whether objects of this kind are measured when they are read: only get and list are served.
pub fn is_measured(resource: &Resource) -> bool {
    MEASURED.contains(&resource)
}

/// The resource at `/apis/GROUP/VERSION/PLURAL` (`group` empty for `/api/v1`) of all that are served.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    served().find(|row| row.group == group && row.version == version && row.plural == plural)
}

/// The resource of a body's `apiVersion` and `kind`.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    TABLE.iter().find(|row| row.group == group && row.version == version && row.kind == kind).copied()
}

/// The resource by its name in the store, `pods` or `deployments.apps`.
pub fn find_group_resource(name: &str) -> Option<&'static Resource> {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    TABLE.iter().find(|row| row.group == group && row.plural == plural).copied()
}
