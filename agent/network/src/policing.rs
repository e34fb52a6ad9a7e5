//! Keeps the policies' table that of the newest policies, namespaces and pods.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use agent_nft::{Batch, Ruleset};
use control_api::view::networking::NetworkPolicy;

use crate::{
    fingerprint,
    netns::{failed, inside},
    network::{Error, Network, send},
    policy::{self, Change, Identity, Member, NamedPort, Policy, PolicyPod, World},
};

/// Policies of the whole cluster; more are refused, since half of them would be a false safety.
const POLICIES_MAX: usize = 5000;
const PODS_MAX: usize = 100_000;

#[derive(Default)]
pub(crate) struct Policing {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Absent until somebody told: what an earlier agent enforced stays meanwhile.
    policies: Option<Vec<Policy>>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    pods: BTreeMap<String, PolicyPod>,
    /// This node's pods as they were attached.
    local: BTreeMap<String, Identity>,
    /// What the kernel has; absent while that is not sure.
    applied: Option<(Option<Ruleset>, u64)>,
}

impl Policing {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn attached(&self, uid: &str, identity: &Identity) {
        self.known().local.insert(uid.to_owned(), identity.clone());
    }

    pub fn detached(&self, gone: impl Fn(&str) -> bool) {
        self.known().local.retain(|uid, _| !gone(uid));
    }
}

impl Network {
    /// All policies of the cluster. At a start: after its namespaces and pods, before any pod is attached.
    pub async fn set_policies(&self, policies: &[NetworkPolicy]) -> Result<(), Error> {
        if policies.len() > POLICIES_MAX {
            return Err(Error::TooMany { what: "network policies", count: policies.len(), max: POLICIES_MAX });
        }
        let _changing = self.shared.changing.lock().await;
        let mut parsed: Vec<Policy> = policies.iter().filter_map(policy::parse).collect();
        if parsed.len() < policies.len() {
            tracing::warn!(count = policies.len() - parsed.len(), "network policies cannot be read");
        }
        parsed.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        self.shared.policing.known().policies = Some(parsed);
        self.enforce().await
    }

    /// The labels of all namespaces.
    pub async fn set_namespaces(&self, labels: BTreeMap<String, BTreeMap<String, String>>) -> Result<(), Error> {
        let _changing = self.shared.changing.lock().await;
        self.shared.policing.known().namespaces = labels;
        self.enforce().await
    }

    /// The cluster's running pods with addresses of their own, of which this node's may be absent.
    pub async fn set_pods(&self, pods: Vec<PolicyPod>) -> Result<(), Error> {
        if pods.len() > PODS_MAX {
            return Err(Error::TooMany { what: "pods", count: pods.len(), max: PODS_MAX });
        }
        let _changing = self.shared.changing.lock().await;
        self.shared.policing.known().pods = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        self.enforce().await
    }

    /// Makes the kernel's table the one that follows from what is known. The caller holds `changing`.
    pub(crate) async fn enforce(&self) -> Result<(), Error> {
        let Some(world) = self.world() else { return Ok(()) };
        let node = &self.shared.config.node;
        let table = policy::table_name(node);
        let wanted = policy::render(node, &world);
        let had = self.shared.policing.known().applied.take();
        let change = match (&had, &wanted) {
            (Some((None, _)), None) => Change::Nothing,
            (Some((Some(had), _)), Some(wanted)) => policy::difference(had, wanted),
            _ => Change::Whole,
        };
        if let Change::Nothing = change {
            self.shared.policing.known().applied = had;
            return Ok(());
        }
        let ruleset = wanted.clone();
        let print = inside(self.shared.config.netns.as_deref(), move |_| async move {
            let whole = || ruleset.as_ref().map_or_else(|| Batch::remove(&table), Batch::replace);
            match change {
                // Somebody else may have changed the sets.
                Change::Elements(batch) => send(&table, batch).or_else(|_| send(&table, whole()))?,
                Change::Nothing | Change::Whole => send(&table, whole())?,
            }
            fingerprint::take(&table).map_err(failed(format!("read the table {table}")))
        });
        let print = print.await?;
        self.shared.policing.known().applied = Some((wanted, print));
        Ok(())
    }

    /// Puts back what somebody else took away. The caller holds `changing`.
    pub(crate) async fn check_policies(&self) -> Result<(), Error> {
        let applied = self.shared.policing.known().applied.as_ref().map(|(_, print)| *print);
        let table = policy::table_name(&self.shared.config.node);
        let print = inside(self.shared.config.netns.as_deref(), |_| async move {
            fingerprint::take(&table).map_err(failed(format!("read the table {table}")))
        });
        if applied != Some(print.await?) {
            self.shared.policing.known().applied = None;
            return self.enforce().await;
        }
        Ok(())
    }

    /// None until policies are known.
    fn world(&self) -> Option<World> {
        let (config, locals) = (&self.shared.config, self.shared.upkeep.locals());
        let leases: BTreeMap<String, Ipv4Addr> =
            self.leases().iter().map(|(uid, lease)| (uid.clone(), lease.address)).collect();
        let known = self.shared.policing.known();
        let policies = known.policies.clone()?;
        let local: Vec<Member> = leases
            .iter()
            .filter_map(|(uid, address)| {
                // Labels may have changed since the pod was attached.
                let identity = known.pods.get(uid).map(|pod| &pod.identity).or_else(|| known.local.get(uid))?;
                Some(Member { address: *address, identity: identity.clone() })
            })
            .collect();
        // Of its own range the node knows better who has which address.
        let elsewhere =
            |pod: &&PolicyPod| config.cluster_range.contains(pod.address) && !config.pod_range.contains(pod.address);
        let elsewhere = known.pods.values().filter(elsewhere);
        let elsewhere = elsewhere.map(|pod| Member { address: pod.address, identity: pod.identity.clone() });
        let dns: BTreeSet<Ipv4Addr> =
            locals.into_iter().filter(|address| config.service_range.contains(*address)).collect();
        let servers = dns.iter().map(|address| Member { address: *address, identity: dns_identity() });
        let all = local.iter().cloned().chain(elsewhere).chain(servers).collect();
        Some(World { policies, namespaces: known.namespaces.clone(), local, all, dns })
    }
}

/// What policies of other clusters expect DNS to be.
fn dns_identity() -> Identity {
    let port = |name: &str, protocol| NamedPort { name: name.into(), protocol, port: 53 };
    Identity {
        namespace: "kube-system".into(),
        labels: [("k8s-app".into(), "kube-dns".into())].into(),
        ports: vec![port("dns", 17), port("dns-tcp", 6)],
    }
}
