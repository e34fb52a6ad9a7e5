//! What a pod's claims say about the node it can go to.

use control_api::resource::{PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES};
use control_api::view::core::{PersistentVolume, PersistentVolumeClaim};
use control_api::view::storage::StorageClass;
use control_client::volume::{self, NO_PROVISIONER, SELECTED_NODE, WAIT, annotation, is_free_for, reaches, suits};
use control_client::{Client, Key, view};

use crate::filter::Refusal;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// One claim of a pod.
#[derive(Debug, Clone)]
enum Demand {
    Bound(Box<PersistentVolume>),
    /// Its volume is found or made once a node is chosen.
    Waiting {
        claim: Key,
        selected: Option<String>,
        free: Vec<PersistentVolume>,
        /// A class that makes volumes makes one on any node.
        made: bool,
    },
}

/// All claims of a pod; empty for most.
#[derive(Debug, Clone, Default)]
pub struct Demands(Vec<Demand>);

impl Demands {
    /// Reads the claims as they are now; says in Kubernetes' words why the pod cannot go anywhere yet.
    pub fn read(client: &Client, pod: &PodInfo) -> Result<Self, String> {
        let one = |name: &String| demand(client, &pod.key.namespace, name);
        Ok(Self(pod.claims.iter().map(one).collect::<Result<_, _>>()?))
    }

    /// Why the node is out of the question for the pod's volumes.
    pub fn refusal(&self, node: &NodeInfo) -> Option<Refusal> {
        self.0.iter().find_map(|demand| match demand {
            Demand::Bound(volume) => (!reaches(volume, &node.name, &node.labels)).then_some(Refusal::VolumeElsewhere),
            Demand::Waiting { made: true, .. } => None,
            Demand::Waiting { free, .. } => {
                let reached = free.iter().any(|volume| reaches(volume, &node.name, &node.labels));
                (!reached).then_some(Refusal::NoVolumes)
            }
        })
    }

    /// The node chosen before, by this pod or by another one with the same claim.
    pub fn selected(&self) -> Option<&str> {
        self.0.iter().find_map(|demand| match demand {
            Demand::Waiting { selected, .. } => selected.as_deref(),
            Demand::Bound(_) => None,
        })
    }

    /// Whether a claim has to be bound before the pod is.
    pub fn wait(&self) -> bool {
        self.0.iter().any(|demand| matches!(demand, Demand::Waiting { .. }))
    }

    /// Claims that are yet to be told of `node`.
    pub fn untold(&self, node: &str) -> Vec<Key> {
        let untold = self.0.iter().filter_map(|demand| match demand {
            Demand::Waiting { claim, selected, .. } if selected.as_deref() != Some(node) => Some(claim.clone()),
            _ => None,
        });
        untold.collect()
    }
}

fn demand(client: &Client, namespace: &str, name: &str) -> Result<Demand, String> {
    let missing = || format!("persistentvolumeclaim \"{name}\" not found");
    let unbound = || "pod has unbound immediate PersistentVolumeClaims".to_owned();
    let object = client.get(&PERSISTENT_VOLUME_CLAIMS, namespace, name).ok_or_else(missing)?;
    if object.meta.deletion_timestamp.is_some() {
        return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
    }
    let claim: PersistentVolumeClaim = view(&object).map_err(|_| missing())?;
    if let Some(volume) = volume::volume_name(&claim) {
        if !volume::is_bound(&claim) {
            return Err(unbound());
        }
        let lost = || format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\"");
        let found = client.get(&PERSISTENT_VOLUMES, "", volume).ok_or_else(lost)?;
        return view(&found).map(|volume| Demand::Bound(Box::new(volume))).map_err(|_| lost());
    }
    let class = client.get(&STORAGE_CLASSES, "", volume::class(&claim));
    let class: StorageClass = class.and_then(|class| view(&class).ok()).ok_or_else(unbound)?;
    if class.volume_binding_mode.as_deref() != Some(WAIT) {
        return Err(unbound());
    }
    let volumes = client.list(&PERSISTENT_VOLUMES, None).items;
    let volumes = volumes.iter().filter_map(|found| view::<PersistentVolume>(found).ok());
    let free = volumes.filter(|volume| is_free_for(volume, &claim) && suits(volume, &claim)).collect();
    let selected = annotation(&claim, SELECTED_NODE).map(str::to_owned);
    Ok(Demand::Waiting { claim: object.key.clone(), selected, free, made: class.provisioner != NO_PROVISIONER })
}
