//! Which objects each node needs: its pods, and exactly the objects that those name. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use control_api::Resource;
use control_api::resource::{CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, SECRETS, SERVICE_ACCOUNTS};
use control_store::Object;
use serde::Deserialize;

/// An object that a pod names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    pub plural: &'static str,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Reference {
    pub fn of(object: &Object) -> Self {
        let key = &object.key;
        Self { plural: key.resource.plural, namespace: key.namespace.clone(), name: key.name.clone() }
    }

    pub fn resource(&self) -> &'static Resource {
        match self.plural {
            "configmaps" => &CONFIG_MAPS,
            "secrets" => &SECRETS,
            "persistentvolumeclaims" => &PERSISTENT_VOLUME_CLAIMS,
            _ => &SERVICE_ACCOUNTS,
        }
    }
}

/// What a change asks to be told to a node.
#[derive(Debug, Clone)]
pub enum Effect {
    Put(Arc<Object>),
    /// The node needs it from now on.
    Need(Reference),
    /// It is gone, or the node needs it no more.
    Drop(Reference),
}

struct Placed {
    node: Arc<str>,
    object: Arc<Object>,
    references: BTreeSet<Reference>,
}

/// Every pod that is bound, by node, and who needs what.
#[derive(Default)]
pub struct Desired {
    pods: HashMap<Reference, Placed>,
    by_node: HashMap<Arc<str>, BTreeSet<Reference>>,
    users: HashMap<Reference, HashMap<Arc<str>, usize>>,
}

impl Desired {
    /// Takes one version of a pod, or its removal; tells what changes for which node, in the order to be sent.
    pub fn pod(&mut self, object: &Arc<Object>, removed: bool) -> Vec<(Arc<str>, Effect)> {
        let key = Reference::of(object);
        let mut effects = Vec::new();
        let placed = if removed { None } else { place(object) };
        let old = self.pods.remove(&key);
        if let Some(placed) = &placed {
            for reference in &placed.references {
                let count = self.users.entry(reference.clone()).or_default().entry(placed.node.clone()).or_default();
                *count += 1;
                if *count == 1 {
                    effects.push((placed.node.clone(), Effect::Need(reference.clone())));
                }
            }
            self.by_node.entry(placed.node.clone()).or_default().insert(key.clone());
            effects.push((placed.node.clone(), Effect::Put(placed.object.clone())));
        }
        if let Some(old) = old {
            if placed.as_ref().is_none_or(|placed| placed.node != old.node) {
                if let Some(pods) = self.by_node.get_mut(&old.node) {
                    pods.remove(&key);
                }
                effects.push((old.node.clone(), Effect::Drop(key.clone())));
            }
            for reference in old.references {
                self.release(&old.node, reference, &mut effects);
            }
        }
        if let Some(placed) = placed {
            self.pods.insert(key, placed);
        }
        effects
    }

    fn release(&mut self, node: &Arc<str>, reference: Reference, effects: &mut Vec<(Arc<str>, Effect)>) {
        let Some(users) = self.users.get_mut(&reference) else { return };
        if let Some(count) = users.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                users.remove(node);
                effects.push((node.clone(), Effect::Drop(reference.clone())));
            }
        }
        if users.is_empty() {
            self.users.remove(&reference);
        }
    }

    /// The nodes that need an object.
    pub fn users(&self, reference: &Reference) -> impl Iterator<Item = &Arc<str>> {
        self.users.get(reference).into_iter().flat_map(HashMap::keys)
    }

    /// A node's pods.
    pub fn pods(&self, node: &str) -> impl Iterator<Item = &Arc<Object>> {
        let keys = self.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.pods.get(key)).map(|placed| &placed.object)
    }

    /// What a node's pods name.
    pub fn references(&self, node: &str) -> BTreeSet<Reference> {
        let keys = self.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.pods.get(key)).flat_map(|placed| placed.references.iter().cloned()).collect()
    }
}

fn place(object: &Arc<Object>) -> Option<Placed> {
    let (node, references) = references(object)?;
    Some(Placed { node, object: object.clone(), references })
}

/// The node a pod is bound to, and what the pod names; `None` where it is not bound.
pub fn references(pod: &Object) -> Option<(Arc<str>, BTreeSet<Reference>)> {
    let view: PodView = serde_json::from_slice(&pod.json).ok()?;
    if view.spec.node_name.is_empty() {
        return None;
    }
    let mut found = BTreeSet::new();
    let mut add = |plural, name: &str| {
        if !name.is_empty() {
            found.insert(Reference { plural, namespace: pod.key.namespace.clone(), name: name.into() });
        }
    };
    let spec = &view.spec;
    add(SERVICE_ACCOUNTS.plural, &spec.service_account_name);
    spec.image_pull_secrets.iter().for_each(|secret| add(SECRETS.plural, &secret.name));
    for volume in &spec.volumes {
        add(CONFIG_MAPS.plural, &volume.config_map.name);
        add(SECRETS.plural, &volume.secret.secret_name);
        add(PERSISTENT_VOLUME_CLAIMS.plural, &volume.persistent_volume_claim.claim_name);
        for source in &volume.projected.sources {
            add(CONFIG_MAPS.plural, &source.config_map.name);
            add(SECRETS.plural, &source.secret.name);
        }
    }
    for container in spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers) {
        for variable in &container.env {
            add(CONFIG_MAPS.plural, &variable.value_from.config_map_key_ref.name);
            add(SECRETS.plural, &variable.value_from.secret_key_ref.name);
        }
        for source in &container.env_from {
            add(CONFIG_MAPS.plural, &source.config_map_ref.name);
            add(SECRETS.plural, &source.secret_ref.name);
        }
    }
    Some((spec.node_name.as_str().into(), found))
}

macro_rules! view {
    ($($name:ident { $($field:ident: $ty:ty),* $(,)? })*) => {
        $(#[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct $name { $($field: $ty),* })*
    };
}

view! {
    PodView { spec: SpecView }
    SpecView {
        node_name: String,
        service_account_name: String,
        image_pull_secrets: Vec<Named>,
        volumes: Vec<VolumeView>,
        containers: Vec<ContainerView>,
        init_containers: Vec<ContainerView>,
        ephemeral_containers: Vec<ContainerView>,
    }
    Named { name: String }
    SecretVolume { secret_name: String }
    ClaimVolume { claim_name: String }
    VolumeView {
        config_map: Named,
        secret: SecretVolume,
        persistent_volume_claim: ClaimVolume,
        projected: Projected,
    }
    Projected { sources: Vec<ProjectedSource> }
    ProjectedSource { config_map: Named, secret: Named }
    ContainerView { env: Vec<Variable>, env_from: Vec<VariableSource> }
    Variable { value_from: ValueFrom }
    ValueFrom { config_map_key_ref: Named, secret_key_ref: Named }
    VariableSource { config_map_ref: Named, secret_ref: Named }
}
